/* SPDX-License-Identifier: MIT
 *
 * What an actor has besides its slot, and the functions its parts share: messages (message.c),
 * sending (send.c), calls (call.c), timers (timer.c), life (life.c), running (run.c). All of it
 * runs on the scheduler that runs the actor, under its runner.
 */
#ifndef WEFT_SCHED_ACTOR_H
#define WEFT_SCHED_ACTOR_H

#include "core/buf.h"
#include "core/map.h"
#include "sched/calls.h"
#include "sched/scheduler.h"
#include <string.h>

/* One timer: 24 bytes, beside 32 of its wheel entry. */
struct weft__timer {
    uint64_t token;           /* or a struct weft__timer_extra *, with EXTRA */
    struct weft__armed armed; /* free: entry is the next free record plus one */
    uint32_t tag;
    uint32_t seq_flags; /* sequence in the upper 24 bits, flags in the lower 8 */
};
_Static_assert(sizeof(struct weft__timer) == 24, "a pending timer must stay small");

enum { WEFT__TIMER_LIVE = 1, WEFT__TIMER_EXTRA = 2, WEFT__TIMER_FLAGS = 0xff };

/* What repeating and forwarding timers need more. */
struct weft__timer_extra {
    uint64_t interval_ns; /* 0: once */
    uint64_t due_ns;
    uint64_t token;
    weft_pid target; /* none: the actor itself */
    weft_msg *msg;   /* for target; owned */
};

/* Records in chunks that never move: 4, 8, ... 1024, then 1024 each. */
struct weft__timers {
    struct weft__timer **chunks;
    uint32_t chunk_count;
    uint32_t chunk_capacity;
    uint32_t used;
    uint32_t count;
    uint32_t free_head; /* index plus one */
    uint32_t extras;    /* of the pending ones */
};

struct weft__cleanup {
    weft_cleanup_fn fn;
    void *arg;
};

/* Requests that were cancelled and may be in the batch still: see scope.c. */
struct weft__cancel {
    uint64_t from; /* 0: free */
    uint64_t reference;
};
struct weft__cancels {
    struct weft__cancel *pairs;
    uint32_t groups;
    uint32_t evicted;
    uint32_t unswept; /* signals since what the actor holds was looked through */
};

enum { WEFT__CALLS_FIRST = 2 };

/* The idle time of a service; it waits for it only with WEFT__LIFE_IDLE. */
struct weft__idle_wait {
    weft_timer timer;  /* the one that is armed, or 0 */
    uint64_t due_ns;   /* when that fires, or before */
    uint64_t until_ns; /* when idle is due */
};

struct weft__ext {
    /* what every call touches, in cache lines of its own */
    alignas(WEFT_CACHELINE) struct weft__calls calls;
    struct weft__armed call_alarm; /* the wheel entry for the earliest deadline */
    uint64_t call_alarm_ns;
    uint32_t first_heap[WEFT__CALLS_FIRST];
    alignas(WEFT_CACHELINE) struct weft__call first_records[WEFT__CALLS_FIRST];

    struct weft__timers timers;
    struct weft__cleanup *cleanups;
    uint32_t cleanup_count;
    uint32_t cleanup_capacity;
    uint64_t *busy; /* actors that owe us a READY: slot and generation */
    uint32_t busy_count;
    uint32_t busy_capacity;
    uint32_t stash; /* user messages a serial actor holds back, oldest first */
    uint32_t stash_last;
    uint32_t stash_count;
    struct weft__attachment *attachment; /* what an upper layer hangs on it, or NULL */
    uint32_t jobs;                       /* blocking work under way that DONE will follow */
    struct weft__bonds *bonds;           /* links and monitors, or NULL: see bonds.h */
    struct weft__process *process;       /* its stack and what it waits for, or NULL */
    struct weft__idle_wait idle;
    struct weft__cancels cancels;
    struct weft__map jobs_started; /* reference of a pending call: cell to kill that job; job.h */
};

/* The actor's ext, made on first use; NULL: out of memory. */
struct weft__ext *weft__ext_of(struct weft_ctx *ctx);
struct weft__ext *weft__ext_make(struct weft__core *core);
void weft__ext_free(struct weft__core *core, struct weft__ext *ext);

/* ---- message.c ----------------------------------------------------------------------------- */

/* run.c: gives a message to the actor, then lets go of it. */
void weft__receive(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* What a receive left behind: its message is released, its result looked at. */
void weft__receive_done(struct weft__scheduler *s, struct weft_ctx *ctx, int result);

/* What an actor has put aside takes room in its mailbox; a negative bound refuses all. The bound
 * always says how much it is: without one as the distance to a bound that nobody reaches. */
WEFT_INLINE void weft__show_room(struct weft_ctx *ctx, uint32_t put_aside) {
    uint32_t bound = ctx->type->bound;
    uint32_t left = (bound != 0 ? bound : (uint32_t)INT32_MAX) - put_aside;
    if (bound == 0 && put_aside == 0) {
        left = 0;
    } else if (bound != 0 && put_aside >= bound) {
        left = (uint32_t)INT32_MIN + put_aside;
    }
    weft_store32_relaxed(&ctx->bound, left);
}
/* The same the other way round. Any thread; advisory. */
WEFT_INLINE uint32_t weft__put_aside(const struct weft_ctx *slot, const weft_type *type) {
    uint32_t left = weft_load32_relaxed(&slot->bound);
    if ((int32_t)left < 0) {
        return left - (uint32_t)INT32_MIN;
    }
    if (type->bound == 0) {
        return left == 0 ? 0 : (uint32_t)INT32_MAX - left;
    }
    return left > type->bound ? 0 : type->bound - left; /* of another tenant by now: nothing */
}

/* Puts messages behind those the actor has taken already. */
WEFT_INLINE void weft__batch_append(const struct weft__arena *arena, struct weft_ctx *ctx,
                                    const struct weft__batch *more) {
    if (more->first == 0) {
        return;
    }
    if (ctx->batch == 0) {
        ctx->batch = more->first;
    } else {
        weft__arena_msg(arena, ctx->batch_last)->weft__next = more->first;
    }
    ctx->batch_last = more->last;
}

/* The same, but signals go before everything that waits. */
void weft__batch_add(struct weft__scheduler *s, struct weft_ctx *ctx, struct weft__batch *taken);

enum {
    WEFT__MSG_TRIED = 0x80, /* in weft__flags: a request whose handler crashed, not answered yet */
    WEFT__MSG_CHAIN = 0x40, /* in weft__flags: a request that somebody is blocked on (chain.h) */
    WEFT__MSG_ASKED = 0x08, /* in weft__flags: a request that calls were made for (scope.h) */
    WEFT__CHAIN_BYTES = 4,
};

/* What a new message is made from. */
struct weft__draft {
    const void *data;
    size_t size;
    weft_buf *buf; /* data lies in it; a reference is added; NULL: data is copied */
    uint32_t tag;
    uint8_t kind;
    bool wide;
    bool lend;    /* buf's reference goes over to the message, when there is one */
    bool chained; /* leaves WEFT__CHAIN_BYTES at the end of the cell */
};
/* A new message [out]: -EMSGSIZE, -ENOMEM. s NULL: through the shared pool, any thread. */
int weft__msg_make(weft_runtime *runtime, struct weft__scheduler *s,
                   const struct weft__draft *draft, weft_msg **ret_msg);
/* Copies a small payload without a call for the sizes that are common. */
WEFT_INLINE void weft__copy_payload(unsigned char *to, const void *from, size_t size) {
    if (weft_likely(size == 8)) {
        memcpy(to, from, 8);
    } else if (size >= 16 && size <= 32) {
        memcpy(to, from, 16);
        memcpy(to + size - 16, (const unsigned char *)from + size - 16, 16);
    } else if (size != 0) {
        memcpy(to, from, size);
    }
}

/* The everyday message: small, copied, from an actor. NULL: take the long way, for whatever
 * reason. */
WEFT_INLINE weft_msg *weft__msg_small(struct weft__scheduler *s, const struct weft_ctx *ctx,
                                      const struct weft__draft *draft) {
    size_t header = draft->wide ? WEFT__WIDE_BYTES : WEFT__HEADER_BYTES;
    if (weft_unlikely(draft->size > WEFT__CELL_BYTES - header || draft->data == NULL ||
                      draft->buf != NULL || s->pool.free_heads[0] == 0)) {
        return NULL;
    }
    weft_msg *msg = weft__pool_alloc(&s->pool, 0);
    msg->weft__kind = draft->kind;
    msg->weft__flags = draft->wide ? WEFT__MSG_WIDE : 0;
    msg->weft__size = (uint32_t)draft->size;
    msg->weft__tag = draft->tag;
    msg->weft__from = weft__from(ctx);
    msg->weft__stamp = 0;
    weft__copy_payload(draft->wide ? msg->weft__u.weft__r.weft__wide : msg->weft__u.weft__inline,
                       draft->data, draft->size);
    return msg;
}

/* Frees the cell and the payload. s NULL: any thread. */
void weft__msg_free(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg);
/* A request is answered, or gone: lets go of its chain, if it carries one. s NULL: any thread. */
void weft__chain_drop(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg);
/* A serial actor has no call pending any more, or ends: nobody is stuck behind it. */
void weft__chain_unblock(struct weft__scheduler *s, struct weft_ctx *ctx);
/* A request with a chain leaves the actor's held list. */
void weft__chain_untake(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
/* Drops the payload's buffer, if any. */
void weft__msg_drop_payload(weft_msg *msg);
/* The actor is done with a message it handled: frees it, or leaves the anchor's cell for later. */
void weft__msg_done(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* Makes the anchor's cell usable for something else: it leaves the mailbox word. */
void weft__unanchor(struct weft__scheduler *s, struct weft_ctx *ctx);
/* Takes msg from wherever the actor has it (current or held) and makes its cell reusable. */
void weft__msg_own(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
void weft__held_add(struct weft_ctx *ctx, struct weft__scheduler *s, weft_msg *msg);
/* Releases a message nobody handled or a handled one: an unanswered request is answered status. */
void weft__msg_release_slow(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg,
                            int status);
WEFT_INLINE void weft__msg_release(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg,
                                   int status) {
    if (weft_unlikely(msg->weft__kind == WEFT_MSG_REQUEST ||
                      (msg->weft__flags & WEFT__MSG_BUF) != 0)) {
        weft__msg_release_slow(s, ctx, msg, status);
    } else if (weft__arena_index(s->messages, msg) != ctx->anchor) {
        weft__pool_free(&s->pool, msg);
    } else if (weft_unlikely(ctx->batch != 0)) {
        ctx->life |= WEFT__LIFE_ANCHOR_DONE;
    }
}

/* ---- send.c -------------------------------------------------------------------------------- */

/* Pushes a message to a slot [take on success]. As weft__mailbox_push but schedules. bound 0:
 * never refused. */
int weft__post(struct weft__scheduler *s, uint64_t target, weft_msg *msg, bool bounded);
/* The same from any thread. */
int weft__post_outside(weft_runtime *runtime, uint64_t target, weft_msg *msg, bool bounded);
/* Sends a filled REQUEST [take on success]; errors as weft_send. */
int weft__request_try(struct weft__scheduler *s, struct weft_ctx *ctx, weft_pid target,
                      weft_msg *msg);
/* The same [take]. */
int weft__send_request(struct weft__scheduler *s, struct weft_ctx *ctx, weft_pid target,
                       weft_msg *msg);
/* Sends REPLY without payload to a request's caller, reusing the request [take]. */
void weft__answer(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *request, int status);
/* Sends a USER or REQUEST message, filled but for its sender, to an actor that may have ended
 * meanwhile: WEFT_E_NOPROC leaves it with the caller, everything else takes it. A request that a
 * policy drops is refused with -EBUSY. */
int weft__send_try(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t target, weft_msg *msg);
/* The same from any thread; the sender (a port, or 0) is filled in. */
int weft__send_try_outside(weft_runtime *runtime, uint64_t target, weft_msg *msg);
/* A message could not be delivered [take]: counted, given to the subscriber, freed. s NULL: any
 * thread. */
void weft__dead_letter(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg, int reason);
/* Counts on s, or outside. */
void weft__count(weft_runtime *runtime, struct weft__scheduler *s, size_t counter, uint64_t n);
#define WEFT__COUNT(runtime, s, name, n)                                                           \
    weft__count((runtime), (s), offsetof(struct weft__counters, name), (n))

/* ---- call.c, timer.c ----------------------------------------------------------------------- */

/* A request that can be sent. */
struct weft__asked {
    weft_msg *msg;
    uint64_t reference; /* weft__call_undo, if it is not sent after all */
    uint64_t target;    /* [in] slot and generation; 0: not known yet, see weft__call_sent */
};
/* Enters a call and makes its message, all but the sender. Errors as weft_call. */
int weft__call_prepare(struct weft_ctx *ctx, const struct weft__draft *draft, uint64_t timeout_ns,
                       uint64_t token, struct weft__asked *asked);
void weft__call_undo(struct weft_ctx *ctx, uint64_t reference);
/* Its request is in the mailbox of this target: slot and generation. */
WEFT_INLINE void weft__call_sent(struct weft_ctx *ctx, uint64_t reference, uint64_t target) {
    weft__calls_at(&ctx->ext->calls, reference)->target = target;
}
/* A call to an actor of this or another node. 0 and its reference; errors as weft_call. */
int weft__call_start(struct weft_ctx *ctx, weft_pid target, const struct weft__draft *draft,
                     uint64_t timeout_ns, uint64_t *ret_reference);
/* Enters a call whose answer comes without a message of ours. 0 and the reference, -ENOMEM,
 * WEFT_E_LIMIT. */
int weft__call_enter(struct weft_ctx *ctx, uint64_t deadline_ns, uint64_t token,
                     uint64_t *ret_reference);
/* The wheel an armed entry is in: that of whoever claimed the piece of memory it lies in. */
struct weft__wheel *weft__wheel_home(struct weft__scheduler *s, const struct weft__armed *armed);
/* Arms the wheel for the earliest pending call. 0 or -ENOMEM. */
int weft__calls_arm(struct weft__scheduler *s, struct weft_ctx *ctx);
/* Delivers a REPLY for each call that is due: -ETIMEDOUT, or -ECANCELED when it was cancelled from
 * above (scope.h). msg, a wide signal [take], carries the first. */
void weft__calls_due(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* No call is pending any more: its alarm need not fire. */
void weft__calls_disarm(struct weft__scheduler *s, struct weft_ctx *ctx);
/* Heap memory of an actor's timers. */
uint64_t weft__timers_bytes(const struct weft__timers *timers);
/* The actor ends: forgets calls and timers. */
void weft__timers_fini(struct weft__scheduler *s, struct weft_ctx *ctx);

/* What a TIMER signal turned out to be. */
enum weft__timer_outcome {
    WEFT__TIMER_NONE,    /* cancelled meanwhile, or forwarded: nothing to deliver */
    WEFT__TIMER_DELIVER, /* msg is a TIMER message now */
    WEFT__TIMER_CALLS,   /* look for calls that are due */
};
enum weft__timer_outcome weft__timer_arrived(struct weft__scheduler *s, struct weft_ctx *ctx,
                                             weft_msg *msg);

/* ---- spawn.c, life.c -------------------------------------------------------------------------------- */

struct weft__birth {
    const weft_type *type;
    const void *arg;
    size_t arg_size;
    uint64_t parent;
    int scheduler; /* index from 0, or -1: the caller's */
    bool pin;
    uint32_t rank;                       /* WEFT__TRAIT_HIGH or WEFT__TRAIT_LOW; 0: the type's */
    struct weft__attachment *attachment; /* stays the caller's when spawning fails */
    bool virtual;                        /* of the layer of virtual actors; no attachment */
    bool has_credit;                     /* virtual: takes the place of one that ends */
    const weft_spawn_options *ties;      /* to the parent: flags, token; NULL: none */
};
int weft__spawn(weft_runtime *runtime, struct weft__scheduler *s, const struct weft__birth *birth,
                weft_pid *ret_pid);
/* The same on any thread, safe against a runtime that stops meanwhile. */
int weft__spawn_outside(weft_runtime *runtime, const struct weft__birth *birth, weft_pid *ret_pid);
/* Spawning in two steps, for virtual actors: a slot whose mailbox is closed [out], then the mailbox
 * opens (idle false: pushes do not schedule it, whoever opened it does), or the slot goes back.
 * Errors as weft_spawn. s NULL: any thread, between weft__outside_enter and _leave. */
int weft__birth_begin(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__birth *birth, struct weft_ctx **ret_slot);
void weft__birth_open(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx *slot,
                      bool idle);
void weft__birth_undo(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx *slot,
                      bool has_credit);
void weft__outside_enter(weft_runtime *runtime);
void weft__outside_leave(weft_runtime *runtime);
/* Runs the type's init with its argument, and what follows from the result. */
void weft__init_run(struct weft__scheduler *s, struct weft_ctx *ctx, const void *arg, size_t size);
/* Sets the reason, any number, unless there is one. */
void weft__exit_code(struct weft_ctx *ctx, int code);
/* process.c: a process that ends does not go on; else it returns. */
void weft__exit_leave(struct weft_ctx *ctx);
/* process.c: an EXIT of this peer, the DOWN of this monitor, that a process has put aside, will not
 * be delivered any more. True: there was one. */
void weft__process_purge_exit(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t peer);
bool weft__process_purge_down(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t ref);
/* The same for all REPLYs with a token; how many there were. For processes only. */
uint32_t weft__process_purge_replies(struct weft__scheduler *s, struct weft_ctx *ctx,
                                     uint64_t token);
/* What init or restore answered. */
void weft__init_done(struct weft_ctx *ctx, int result);
/* Ends the actor that runs. */
void weft__end(struct weft__scheduler *s, struct weft_ctx *ctx);

/* ---- slots.c, s NULL: any thread ----------------------------------------------------------- */

/* A free slot, its mailbox closed. 0 or negative. */
int weft__slot_alloc(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx **ret_slot);
/* The tenant has ended; its scheduler. */
void weft__slot_free(struct weft__scheduler *s, struct weft_ctx *slot);
/* A slot that was never opened is free again. */
void weft__slot_return(weft_runtime *runtime, struct weft_ctx *slot);
/* One actor more; false: actors_max live, but for what other schedulers have in hand. */
bool weft__credit_take(weft_runtime *runtime, struct weft__scheduler *s);
void weft__credit_give(weft_runtime *runtime, struct weft__scheduler *s);

WEFT_INLINE uint64_t weft__target(weft_pid pid) {
    return (uint64_t)pid.slot << 32 | pid.gen;
}

/* Does a pid (made up, it was never given out) name a port? Those take answers only. */
WEFT_INLINE bool weft__is_port(const struct weft__arena *slots, weft_pid pid) {
    uint64_t end = ((uint64_t)pid.slot + 1) * sizeof(struct weft_ctx);
    return end <= slots->bytes &&
           (weft_load32_relaxed(&weft__slot_at(slots, pid.slot)->traits) & WEFT__TRAIT_PORT) != 0;
}

/* Whoever runs the actor; from elsewhere, as long as it cannot end. */
WEFT_INLINE bool weft__is_virtual(const struct weft_ctx *ctx) {
    return (weft_load32_relaxed(&ctx->traits) & WEFT__TRAIT_VIRTUAL) != 0; /* const per tenant */
}

WEFT_INLINE bool weft__is_request(const weft_msg *msg) {
    return msg->weft__kind == WEFT_MSG_REQUEST;
}

#endif
