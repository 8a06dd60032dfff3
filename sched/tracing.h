/* SPDX-License-Identifier: MIT
 *
 * Looking at one actor. Its trace (weft_trace): what it is given and what it sends, as events for
 * the log hook. And what weft_inspect shows of it that only its runner knows: how much memory hangs
 * on it, how many messages it has put aside.
 *
 * While nobody is traced this costs nothing. What arrives is looked at in branches that are there
 * for rare actors anyway, whose masks WEFT__LIFE_TRACED has joined. What is sent goes the way of
 * the messages that are sampled: the scheduler counts down to those, and a traced actor's turn sets
 * the count so that all are.
 *
 * Each message is told of once, when it is given to the actor's own code (a process: when it
 * receives it; replies: when they come), or when it is dropped. The hook may need much stack: it is
 * called on the scheduler's, also for what a process sends. All of it runs on the actor's runner.
 */
#ifndef WEFT_SCHED_TRACING_H
#define WEFT_SCHED_TRACING_H

#include "sched/actor.h"

/* What cannot be read any more when a message has been pushed. */
struct weft__posted {
    uint64_t target;
    uint64_t reference;
    uint32_t tag;
    uint32_t size;
    int status;
    uint8_t kind;
};

WEFT_INLINE bool weft__is_traced(const struct weft_ctx *ctx) {
    return (ctx->life & WEFT__LIFE_TRACED) != 0;
}

/* WEFT__SIGNAL_TRACE [borrow] arrived. */
void weft__trace_switch(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
/* A traced actor's turn has begun. */
WEFT_INLINE void weft__trace_turn(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    s->sample = weft__is_traced(ctx) ? 1 : s->sample;
}

/* These are for traced actors only. A message [borrow] is about to be given to the actor;
 * reference: of the call, if it is a REPLY. */
void weft__trace_receive(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg,
                         uint64_t reference);
/* The same for a signal that is about to be handled, if it is one to tell of here. */
void weft__trace_signal(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
/* The actor will never see it. */
void weft__trace_drop(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg,
                      int why);
/* What is about to be pushed, and what came of it: as the push answers, WEFT_E_OVERLOAD for what a
 * policy drops. */
void weft__trace_post(const weft_msg *msg, uint64_t target, struct weft__posted *ret_posted);
void weft__trace_posted(struct weft__scheduler *s, const struct weft__posted *posted, int result);
/* Something was not even pushed. */
void weft__trace_refused(struct weft_ctx *ctx, const struct weft__draft *draft, weft_pid target,
                         int result);
/* The actor has ended. */
void weft__trace_end(struct weft__scheduler *s, struct weft_ctx *ctx);

/* For all actors. */
WEFT_INLINE void weft__trace_dropped(struct weft__scheduler *s, struct weft_ctx *ctx,
                                     const weft_msg *msg, int why) {
    if (weft_unlikely(weft__is_traced(ctx))) {
        weft__trace_drop(s, ctx, msg, why);
    }
}
/* The same for what goes to receive at once; a process's says itself what it does with it. */
WEFT_INLINE void weft__trace_given(struct weft__scheduler *s, struct weft_ctx *ctx,
                                   const weft_msg *msg, uint64_t reference) {
    if (weft_unlikely((ctx->life & (WEFT__LIFE_TRACED | WEFT__LIFE_PROCESS)) ==
                      WEFT__LIFE_TRACED)) {
        weft__trace_receive(s, ctx, msg, reference);
    }
}

/* ---- for inspection ------------------------------------------------------------------------ */

/* What others may see of the tenant of a slot, beside the slot: most actors touch none of it. */
struct weft__look {
    /* The runner writes, anybody reads; 0 where there is no tenant. Advisory. */
    weft_atomic_u32 memory;    /* on the heap and of its stack, in units of 64 bytes */
    weft_atomic_u32 sent_high; /* upper half of what it has sent; with WEFT__TRAIT_SENT_MUCH */
};

/* NULL: no address space was left for it. */
WEFT_INLINE struct weft__look *weft__look_at(const weft_runtime *runtime, uint32_t slot) {
    uint64_t offset = (uint64_t)slot * sizeof(struct weft__look);
    if (weft_unlikely(offset + sizeof(struct weft__look) > runtime->looks.bytes)) {
        return NULL;
    }
    return (struct weft__look *)(void *)(runtime->looks.base + offset);
}

/* Something was got or freed that belongs to an actor: shows how much that is now. O(1). */
void weft__memory_show(const weft_runtime *runtime, const struct weft_ctx *ctx);
/* All of it was freed. */
void weft__memory_gone(const weft_runtime *runtime, const struct weft_ctx *ctx);
/* The lower half of what an actor has sent is about to wrap. */
void weft__sent_wrap(const weft_runtime *runtime, struct weft_ctx *ctx);
/* The actor has sent so many messages more. */
WEFT_INLINE void weft__sent_add(const weft_runtime *runtime, struct weft_ctx *ctx, uint32_t sent) {
    uint32_t sum = weft_load32_relaxed(&ctx->mailbox.sent) + sent;
    if (weft_unlikely(sum < sent)) {
        weft__sent_wrap(runtime, ctx);
    }
    weft_store32_relaxed(&ctx->mailbox.sent, sum);
}

#endif
