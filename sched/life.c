/* SPDX-License-Identifier: MIT
 *
 * The end of actors: exit, stop and kill, and in which order what hangs on one goes (weft__end).
 */
#include "core/probe.h"
#include "sched/bonds.h"
#include "sched/job.h"
#include "sched/name.h"
#include "sched/room.h"
#include "sched/scope.h"
#include "sched/tracing.h"
#include <string.h>

/* ---- exit ---------------------------------------------------------------------------------- */

void weft__exit_code(struct weft_ctx *ctx, int code) {
    if ((ctx->life & WEFT__LIFE_HOLD) != 0 && code == 0) {
        return; /* it ends when the store has answered: weft_forget */
    }
    if ((ctx->life & WEFT__LIFE_EXITING) == 0) {
        ctx->life |= WEFT__LIFE_EXITING;
        ctx->reason = code;
    }
}

void weft_exit(weft_ctx *ctx, int reason) {
    weft__exit_code(ctx, reason > 0 ? -EINVAL : reason);
    weft__exit_leave(ctx);
}

static int send_stop(weft_ctx *ctx, weft_pid target, uint8_t kind, int reason) {
    struct weft__scheduler *s = ctx->runner;
    if (target.node != s->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    if (weft__is_port(s->slots, target)) {
        return WEFT_E_NOPROC;
    }
    struct weft__draft draft = {.kind = kind, .wide = true};
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__u.weft__r.weft__value = reason;
    msg->weft__from = weft__from(ctx);
    result = weft__post(s, weft__target(target), msg, false);
    if (result != 0) {
        weft__msg_free(s->runtime, s, msg);
    }
    return result;
}

int weft_stop(weft_ctx *ctx, weft_pid target, int reason) {
    if (reason > 0) {
        return -EINVAL;
    }
    return send_stop(ctx, target, WEFT__SIGNAL_STOP, reason);
}

int weft_kill(weft_ctx *ctx, weft_pid target) {
    return send_stop(ctx, target, WEFT__SIGNAL_KILL, WEFT_E_KILLED);
}

int weft_defer(weft_ctx *ctx, weft_cleanup_fn fn, void *arg) {
    if (fn == NULL) {
        return -EINVAL;
    }
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    if (ext->cleanup_count == ext->cleanup_capacity) {
        uint32_t old = ext->cleanup_capacity;
        uint32_t capacity = old == 0 ? 4 : old * 2;
        void *cleanups = ext->cleanups;
        int result = weft__grow(ctx->runner->core, &cleanups, old * sizeof(*ext->cleanups),
                                capacity * sizeof(*ext->cleanups), "cleanups");
        if (result != 0) {
            return result;
        }
        ext->cleanups = cleanups;
        ext->cleanup_capacity = capacity;
        weft__memory_show(ctx->runner->runtime, ctx);
    }
    ext->cleanups[ext->cleanup_count++] = (struct weft__cleanup){.fn = fn, .arg = arg};
    return 0;
}

/* What those are told who wait for an actor that has ended. A virtual actor is not gone for ever:
 * its callers learn why this activation is. */
static int end_status(const struct weft_ctx *ctx) {
    if (!weft__is_virtual(ctx)) {
        return WEFT_E_NOPROC;
    }
    if (ctx->reason == 0) {
        return WEFT_E_NOREPLY; /* what it held; the rest goes on to the next activation */
    }
    bool began = (ctx->life & WEFT__LIFE_INITED) != 0 || ctx->reason == WEFT_E_KILLED;
    bool crashed = ctx->reason != WEFT_E_SHUTDOWN && ctx->reason != WEFT_E_REBALANCING;
    return began && crashed ? WEFT_E_CRASHED : ctx->reason;
}

/* One message the actor will not handle: an undelivered user message is a dead letter, a request
 * is answered, the rest was for the runtime. */
static void bury(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    weft__trace_dropped(s, ctx, msg, WEFT_E_NOPROC);
    switch (msg->weft__kind) {
    case WEFT_MSG_REQUEST:
        if ((msg->weft__flags & WEFT__MSG_TRIED) == 0) { /* else it counts as handled */
            weft_counter_add(&s->counters.messages_dead, 1);
        }
        msg->weft__flags &= (uint8_t)~WEFT__MSG_TRIED;
        weft__answer(s, ctx, msg, end_status(ctx));
        return;
    case WEFT_MSG_REPLY:
        weft_counter_add(&s->counters.replies_late, 1);
        weft__msg_free(s->runtime, s, msg);
        return;
    case WEFT_MSG_USER:
        weft__dead_letter(s->runtime, s, msg, WEFT_E_NOPROC);
        return;
    case WEFT__SIGNAL_WANT_READY:
    case WEFT__SIGNAL_WANT_ROOM:
        weft__waiters_add(s, ctx, msg);
        return; /* flushed at the end */
    case WEFT__SIGNAL_LINK:
    case WEFT__SIGNAL_UNLINK:
    case WEFT__SIGNAL_MONITOR:
        weft__bonds_bury(s, ctx, msg);
        return;
    default:
        weft__msg_free(s->runtime, s, msg);
        return;
    }
}

static void bury_list(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t index) {
    while (index != 0) { /* bounded by the mailbox's length */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        bury(s, ctx, msg);
    }
}

/* For weft_verify: is the message among those that wait? */
WEFT_UNUSED static bool batch_has(const struct weft__arena *arena, uint32_t index,
                                  uint32_t wanted) {
    while (index != 0 && index != wanted) { /* bounded by the batch */
        index = weft__arena_msg(arena, index)->weft__next;
    }
    return index != 0;
}

/* Closes the mailbox and takes everything out of it. Returns what nobody has taken yet; what was
 * taken stays in the batch, which may be long and is not walked. */
static struct weft__batch close_mailbox(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t anchor = ctx->anchor;
    /* Not handled yet: then it is in the batch. As in absorb. */
    bool anchor_waits = ctx->batch != 0 && (ctx->life & WEFT__LIFE_ANCHOR_DONE) == 0;
    weft_verify(anchor == 0 || batch_has(s->messages, ctx->batch, anchor) == anchor_waits);
#ifdef WEFT_PLANT_CLOSE_LOSS
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, anchor);
    WEFT__POINT(s->core, WEFT__POINT_CLOSE);
    (void)weft__mailbox_close(&ctx->mailbox, ctx->gen, anchor);
#else
    WEFT__POINT(s->core, WEFT__POINT_CLOSE);
    uint32_t newest = weft__mailbox_close(&ctx->mailbox, ctx->gen, anchor);
#endif
    struct weft__batch batch = {0};
    if (newest != 0) {
        batch = weft__mailbox_reverse(s->messages, newest, anchor);
    }
    ctx->anchor = 0; /* no word refers to it any more */
    ctx->life |= WEFT__LIFE_CLOSED;
    if (anchor != 0 && !anchor_waits) {
        weft__pool_free(&s->pool, weft__arena_msg(s->messages, anchor));
    }
    return batch;
}

static void log_crash(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    if (s->core->log.cb == NULL || WEFT_LOG_WARN > s->core->log_level) {
        return; /* restarts come fast: no text for nobody */
    }
    char pid[WEFT_PID_TEXT_BYTES] = "";
    (void)weft_pid_format(weft_self(ctx), pid, sizeof(pid)); /* fits */
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = ctx->type->name},
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = pid},
        {.key = "reason", .kind = WEFT_LOG_I64, .i64 = ctx->reason},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(ctx->reason)},
    };
    weft__log(s->core, WEFT_LOG_WARN, "actor.crash", fields, 4);
}

/* What the actor owns goes before others hear that it has ended. */
static void run_cleanups(struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    while (ext != NULL && ext->cleanup_count > 0) { /* a cleanup has no context to defer with */
        struct weft__cleanup cleanup = ext->cleanups[--ext->cleanup_count];
        cleanup.fn(cleanup.arg);
    }
}

static void free_ext(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    if (ext == NULL) {
        return;
    }
    bury_list(s, ctx, ext->stash);
    weft__chain_unblock(s, ctx);
    weft__timers_fini(s, ctx);
    weft__calls_fini(&ext->calls, s->core);
    weft__scope_fini(s->core, &ext->cancels);
    weft__bonds_fini(s, ctx);
    weft__free(s->core, ext->cleanups, ext->cleanup_capacity * sizeof(*ext->cleanups), "cleanups");
    weft__free(s->core, ext->busy, ext->busy_capacity * sizeof(*ext->busy), "busy");
    weft__ext_free(s->core, ext);
    ctx->ext = NULL;
    weft__memory_gone(s->runtime, ctx);
}

/* Is what is left for the next activation? When it stops by itself, and when its state has been
 * replaced by a newer one. */
static bool has_heir(const struct weft_ctx *ctx) {
    uint32_t served = ctx->life & (WEFT__LIFE_INITED | WEFT__LIFE_BARREN);
    return weft__is_virtual(ctx) && served == WEFT__LIFE_INITED &&
           (ctx->reason == 0 || (ctx->life & WEFT__LIFE_REPLACED) != 0);
}

/* For the next activation: those from users. */
WEFT_INLINE bool is_kept(const weft_msg *msg) {
    return msg->weft__kind == WEFT_MSG_USER || weft__is_request(msg);
}

/* For weft_verify. */
WEFT_UNUSED static bool batch_is_pure(const struct weft__arena *arena, uint32_t index) {
    while (index != 0 && is_kept(weft__arena_msg(arena, index))) { /* bounded by the batch */
        index = weft__arena_msg(arena, index)->weft__next;
    }
    return index == 0;
}

/* Takes what is not for the next activation out of a batch: it was for this one. */
static void purify(struct weft__scheduler *s, struct weft_ctx *ctx, struct weft__batch *batch) {
    struct weft__batch kept = {0};
    uint32_t *link = &kept.first;
    uint32_t index = batch->first;
    while (index != 0) { /* bounded by the batch */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        uint32_t next = msg->weft__next;
        if (is_kept(msg)) {
            msg->weft__next = 0;
            *link = index;
            link = &msg->weft__next;
            kept.last = index;
        } else {
            if (msg->weft__kind == WEFT__SIGNAL_CANCEL) {
                weft__scope_note(s, ctx, msg);
            }
            bury(s, ctx, msg);
        }
        index = next;
    }
    *batch = kept;
}

/* A virtual actor with an heir: what is left goes on to it, first what was held back, which is the
 * oldest. What waits is looked through once only, on its way through any number of activations:
 * else each end of an actor that stops after every message would cost as much as what waits. */
static struct weft__batch keep_left(struct weft__scheduler *s, struct weft_ctx *ctx,
                                    struct weft__batch *taken, struct weft__batch *fresh) {
    struct weft__ext *ext = ctx->ext;
    weft_assert(ctx->batch == 0);
    if (ext != NULL && ext->stash != 0) {
        ctx->batch = ext->stash;
        ctx->batch_last = ext->stash_last;
        ext->stash = 0;
        ext->stash_count = 0;
    }
    if ((ctx->life & WEFT__LIFE_PURE) == 0) {
        purify(s, ctx, taken);
    }
    if (fresh->kinds > WEFT_MSG_REQUEST) {
        purify(s, ctx, fresh);
    }
    weft_verify(batch_is_pure(s->messages, taken->first));
    weft_verify(batch_is_pure(s->messages, fresh->first));
    weft_assert(taken->first == 0 || weft__arena_msg(s->messages, taken->last)->weft__next == 0);
    weft__batch_append(s->messages, ctx, taken);
    weft__batch_append(s->messages, ctx, fresh);
    struct weft__batch left = {.first = ctx->batch, .last = ctx->batch_last};
    ctx->batch = 0;
    weft__scope_pass_on(s, ctx, left.first);
    return left;
}

/* For those who watch from outside. blamed: on another, that was a crash. */
static void tell_end(struct weft__scheduler *s, struct weft_ctx *ctx, bool blamed) {
    int reason = ctx->reason;
    if (weft_unlikely(reason != 0 && reason != WEFT_E_SHUTDOWN && reason != WEFT_E_KILLED &&
                      reason != WEFT_E_REBALANCING && !blamed)) {
        weft_counter_add(&s->counters.crashes, 1);
        log_crash(s, ctx);
    }
    weft__trace(s, WEFT__TRACE_EXIT, ctx->index, ctx->gen);
    WEFT_PROBE3(actor_exit, ctx->index, ctx->gen, reason);
    if (weft_unlikely(weft__is_traced(ctx))) {
        weft__trace_end(s, ctx);
    }
}

void weft__end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    int reason = ctx->reason;
    bool blamed = false; /* on another, that was a crash */
    bool virtual = weft__is_virtual(ctx);
    if (weft_unlikely(virtual)) {
        s->runtime->virtuals->closing(s, ctx);
    }
    struct weft__batch fresh = close_mailbox(s, ctx);
    struct weft__batch taken = {.first = ctx->batch, .last = ctx->batch_last};
    struct weft__batch left = {0};
    ctx->batch = 0;
    ctx->life &= ~(uint32_t)WEFT__LIFE_SCOPED;
    if ((ctx->life & (WEFT__LIFE_INITED | WEFT__LIFE_KILLED)) == WEFT__LIFE_INITED &&
        ctx->type->def.terminate != NULL) {
        WEFT__POINT(s->core, WEFT__POINT_HANDLER);
        ctx->type->def.terminate(ctx, ctx->state, reason);
    }
    if (weft_unlikely(ctx->ext != NULL && ctx->ext->attachment != NULL)) {
        ctx->ext->attachment->calls->end(ctx->ext->attachment, s, reason);
        ctx->ext->attachment = NULL;
    }
    run_cleanups(ctx);
    if (weft_unlikely((weft_load32_relaxed(&ctx->traits) & WEFT__TRAIT_NAMED) != 0)) {
        weft__names_end(s, ctx); /* before others hear of the end. C2 */
    }
    blamed = weft__bonds_blamed(ctx);
    weft__jobs_end(s, ctx);
    weft__scope_end(s, ctx);
    weft__bonds_tell(s, ctx);
    if (weft_unlikely((ctx->life & WEFT__LIFE_PROCESS) != 0)) {
        bury_list(s, ctx, weft__process_end(s, ctx));
    }
    if (weft_unlikely(virtual) && has_heir(ctx)) {
        left = keep_left(s, ctx, &taken, &fresh);
    } else {
        bury_list(s, ctx, taken.first);
        bury_list(s, ctx, fresh.first);
    }
    while (ctx->held != 0) { /* bounded by what the actor took */
        weft_msg *msg = weft__arena_msg(s->messages, ctx->held);
        weft_msg *again = msg;
        if (weft__is_request(msg)) {
            (void)weft_reply_error(ctx, &again, end_status(ctx));
        } else {
            weft_msg_release(ctx, &again);
        }
    }
    free_ext(s, ctx);
    weft__waiters_flush(s, ctx);
    if (!ctx->type->small) {
        weft__free(s->core, ctx->state, ctx->type->def.state_size, "state");
    }
    if (weft_unlikely(virtual)) {
        /* May make the next one: before the exit counts. */
        s->runtime->virtuals->end(s, ctx, &left);
    }
    /* Published: who has counted this exit sees every birth before it (runtime.c, living). */
    weft_store64_release(&s->counters.exits, weft_load64_relaxed(&s->counters.exits) + 1);
    tell_end(s, ctx, blamed);
    if ((ctx->life & WEFT__LIFE_CREDIT_GONE) == 0) {
        weft__credit_give(s->runtime, s);
    }
    weft__slot_free(s, ctx);
}
