/* SPDX-License-Identifier: MIT
 *
 * One turn of one actor: take what was sent, handle up to a budget of messages, go idle or back
 * into the queue. The hottest code of the library. Runs on a scheduler's thread, outside its
 * biased lock (user code may get stuck here).
 */
#include "sched/bonds.h"
#include "sched/chain.h"
#include "sched/job.h"
#include "sched/room.h"
#include "sched/scope.h"
#include "sched/tracing.h"
#include <weft/stream.h>

enum {
    PUBLISH_EVERY = 16, /* handled messages between two updates of mailbox.consumed */
    BOOST_NS_MAX = 200000,
    /* messages of users are not given to receive at once */
    LIFE_ASIDE = WEFT__LIFE_HOLD | WEFT__LIFE_PROCESS | WEFT__LIFE_CANCELS | WEFT__LIFE_TRACED,
};

/* A turn begins and the last one has left messages: those that came since are looked through, so
 * that a signal waits for one turn and not for the whole queue. */
static WEFT_NOINLINE void absorb(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t anchor = ctx->anchor;
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, anchor);
    if (newest == 0) {
        return;
    }
    struct weft__batch batch = weft__mailbox_reverse(s->messages, newest, anchor);
    ctx->anchor = newest;
    if ((ctx->life & WEFT__LIFE_ANCHOR_DONE) != 0) { /* else it is in the batch, and waits */
        ctx->life &= ~(uint32_t)WEFT__LIFE_ANCHOR_DONE;
        weft__pool_free(&s->pool, weft__arena_msg(s->messages, anchor));
    }
    weft__batch_add(s, ctx, &batch);
}

/* Policy drop-old: too many wait, the oldest user messages go. */
static WEFT_NOINLINE void drop_old(struct weft__scheduler *s, struct weft_ctx *ctx,
                                   uint32_t *consumed) {
    uint32_t length = weft__mailbox_length(&ctx->mailbox, s->messages);
    uint32_t keep = ctx->type->bound / 2;
    uint32_t *link = &ctx->batch;
    uint32_t kept = 0;
    while (*link != 0 && length > keep) { /* bounded by the batch */
        uint32_t index = *link;
        weft_msg *msg = weft__arena_msg(s->messages, index);
        bool droppable = msg->weft__kind == WEFT_MSG_USER || weft__is_request(msg);
        if (!droppable || index == ctx->anchor) {
            kept = index;
            link = &msg->weft__next;
            continue;
        }
        *link = msg->weft__next;
        length--;
        weft_counter_add(&s->counters.messages_dropped, 1);
        *consumed += 1;
        weft__trace_dropped(s, ctx, msg, WEFT_E_OVERLOAD);
        weft__msg_release(s, ctx, msg, WEFT_E_OVERLOAD);
    }
    if (*link == 0) {
        ctx->batch_last = kept; /* the last one may have gone */
    }
}

/* Takes what lies above the anchor. False: nothing. The old anchor's cell is free then. */
WEFT_INLINE bool take_batch(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t *consumed) {
    uint32_t anchor = ctx->anchor;
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, anchor);
    if (newest == 0) {
        return false;
    }
    weft_msg *msg = weft__arena_msg(s->messages, newest);
    ctx->anchor = newest;
    ctx->life &= ~(uint32_t)(WEFT__LIFE_ANCHOR_DONE | WEFT__LIFE_PURE);
    if (weft_likely(msg->weft__next == anchor || msg->weft__next < WEFT__MAILBOX_FIRST)) {
        msg->weft__next = 0;
        ctx->batch = newest;
        ctx->batch_last = newest;
    } else {
        struct weft__batch batch = weft__mailbox_reverse(s->messages, newest, anchor);
        if (weft_likely((batch.kinds & WEFT__KIND_SIGNAL) == 0)) {
            ctx->batch = batch.first;
            ctx->batch_last = batch.last;
        } else {
            weft__batch_add(s, ctx, &batch);
        }
    }
    if (anchor != 0) { /* handled long ago, and no longer in the word */
        weft__pool_free(&s->pool, weft__arena_msg(s->messages, anchor));
    }
    if (weft_unlikely((ctx->type->traits & WEFT__TRAIT_DROP_OLD) != 0)) {
        weft_store32_relaxed(&ctx->mailbox.consumed, *consumed);
        drop_old(s, ctx, consumed);
    }
    return true;
}

/* ---- handling one message ------------------------------------------------------------------ */

/* The caller whose request crashed a virtual actor is told when the mailbox is closed, so that its
 * next call finds another activation: the request goes back in front of what waits. */
static WEFT_NOINLINE bool keep_for_end(struct weft__scheduler *s, struct weft_ctx *ctx,
                                       weft_msg *msg) {
    if (!weft__is_virtual(ctx) || !weft__is_request(msg) || (ctx->life & WEFT__LIFE_EXITING) != 0) {
        return false;
    }
    weft__scope_leave(s, ctx, msg);
    msg->weft__flags |= WEFT__MSG_TRIED;
    msg->weft__next = ctx->batch;
    ctx->batch_last = ctx->batch == 0 ? weft__arena_index(s->messages, msg) : ctx->batch_last;
    ctx->batch = weft__arena_index(s->messages, msg);
    return true;
}

/* The message at hand is released, unless the actor has done something with it. */
WEFT_INLINE void receive_done(struct weft__scheduler *s, struct weft_ctx *ctx, int result) {
    if (weft_likely(s->msg != NULL)) {
        weft_msg *msg = s->msg;
        s->msg = NULL;
        /* Its caller learns whether the answer was forgotten or nobody is left to give it. */
        if (weft_likely(result >= 0) || !keep_for_end(s, ctx, msg)) {
            weft__msg_release(s, ctx, msg, result < 0 ? WEFT_E_NOPROC : WEFT_E_NOREPLY);
        }
    }
    if (weft_unlikely(result != WEFT_CONTINUE)) {
        weft_exit(ctx, result == WEFT_STOP ? 0 : result > 0 ? -EINVAL : result);
    }
}

void weft__receive_done(struct weft__scheduler *s, struct weft_ctx *ctx, int result) {
    receive_done(s, ctx, result);
}

/* Gives a message to the actor, then lets go of it. */
WEFT_INLINE void receive(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    s->msg = msg;
    WEFT__POINT(s->core, WEFT__POINT_HANDLER);
    receive_done(s, ctx, ctx->type->def.receive(ctx, ctx->state, msg));
}

void weft__receive(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    receive(s, ctx, msg);
}

/* The same for what is neither a message of an actor's nor an answer. */
WEFT_INLINE void receive_news(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    weft__trace_given(s, ctx, msg, 0);
    receive(s, ctx, msg);
}

/* Whoever ends in its first turn hands nothing over: the next one would do the same, for ever. */
static void check_barren(struct weft_ctx *ctx) {
    if ((ctx->life & WEFT__LIFE_EXITING) != 0) {
        ctx->life |= WEFT__LIFE_BARREN;
    }
}

void weft__init_done(struct weft_ctx *ctx, int result) {
    weft__scope_returned(ctx);
    if (result < 0) {
        /* The first reason wins, but terminate is not due either way. */
        weft_exit(ctx, result);
        return;
    }
    ctx->life |= WEFT__LIFE_INITED;
    if (result != WEFT_CONTINUE) {
        weft_exit(ctx, result == WEFT_STOP ? 0 : -EINVAL);
    }
    check_barren(ctx);
}

void weft__init_run(struct weft__scheduler *s, struct weft_ctx *ctx, const void *arg, size_t size) {
    int result = 0;
    s->msg = NULL;
    WEFT__POINT(s->core, WEFT__POINT_HANDLER);
    if (ctx->type->def.init != NULL) {
        result = ctx->type->def.init(ctx, ctx->state, arg, size);
    }
    weft__init_done(ctx, result);
}

static void run_init(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    int result = 0;
    struct weft__attachment *attachment = ctx->ext != NULL ? ctx->ext->attachment : NULL;
    s->msg = NULL;
    WEFT__POINT(s->core, WEFT__POINT_HANDLER);
    if (attachment != NULL) {
        result = attachment->calls->begin(attachment, s, ctx);
    }
    if (result == 0 && ctx->type->def.init != NULL) {
        result = ctx->type->def.init(ctx, ctx->state, weft_msg_data(msg), msg->weft__size);
    }
    bool process = ctx->type->def.process != NULL;
    if (!process) {
        weft__msg_done(s, ctx, msg);
    }
    weft__init_done(ctx, result);
    bool stays = (ctx->life & WEFT__LIFE_EXITING) == 0;
    if (attachment != NULL && result >= 0 && stays) {
        attachment->calls->start(attachment);
    }
    if (stays) {
        weft__bonds_up(s, ctx);
    }
    if (process && stays) {
        weft__process_begin(s, ctx, msg);
    } else if (process) {
        weft__msg_done(s, ctx, msg);
    }
}

/* Something happened to the actor's stream or socket. */
static WEFT_NOINLINE void handle_io(struct weft__scheduler *s, struct weft_ctx *ctx,
                                    weft_msg *msg) {
    struct weft__attachment *attachment = ctx->ext != NULL ? ctx->ext->attachment : NULL;
    uint32_t tag = msg->weft__tag;
    uint32_t size = msg->weft__size;
    if (attachment != NULL && !attachment->calls->admit(attachment, msg)) {
        weft__msg_done(s, ctx, msg);
        return;
    }
    if (tag == WEFT_IO_FILE && ctx->ext != NULL && ctx->ext->jobs > 0) {
        ctx->ext->jobs--;
    }
    weft_counter_add(&s->counters.signals, 1);
    uint32_t index = weft__arena_index(s->messages, msg);
    receive_news(s, ctx, msg);
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0 && weft__process_saved_last(ctx) == index) {
        return; /* put aside: handled when the process receives it */
    }
    bool over = attachment != NULL && attachment->calls->handled(attachment, tag, size);
    if (over && (ctx->life & WEFT__LIFE_PROCESS) == 0) { /* a process ends by itself */
        weft_exit(ctx, 0);
    }
}

/* An exit of another, that this actor traps. */
static WEFT_NOINLINE void handle_exit(struct weft__scheduler *s, struct weft_ctx *ctx,
                                      weft_msg *msg) {
    if (weft__exit_signal(s, ctx, msg)) {
        receive_news(s, ctx, msg);
    }
}

static WEFT_NOINLINE void handle_down(struct weft__scheduler *s, struct weft_ctx *ctx,
                                      weft_msg *msg) {
    uint64_t reference = msg->weft__u.weft__r.weft__ref;
    if (!weft__monitor_down(ctx, msg)) {
        weft__msg_done(s, ctx, msg);
        return;
    }
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0) {
        ctx->ext->process->arrived = reference;
    }
    weft_counter_add(&s->counters.signals, 1);
    receive_news(s, ctx, msg);
}

static void handle_upper(struct weft_ctx *ctx, const weft_msg *msg) {
    struct weft__attachment *attachment = ctx->ext != NULL ? ctx->ext->attachment : NULL;
    if (attachment != NULL) {
        attachment->calls->signal(attachment, msg);
    }
}

/* A serial actor has no call pending any more: what it held back comes before the rest. */
static void unstash(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    weft__arena_msg(s->messages, ext->stash_last)->weft__next = ctx->batch;
    if (ctx->batch == 0) {
        ctx->batch_last = ext->stash_last;
        ctx->life |= ctx->anchor != 0 ? WEFT__LIFE_ANCHOR_DONE : 0; /* it is before these */
    }
    ctx->batch = ext->stash;
    weft_store32_relaxed(&ctx->bound, ctx->type->bound);
    ext->stash = 0;
    ext->stash_count = 0;
    ctx->life &= ~(uint32_t)WEFT__LIFE_STASH;
}

/* Should the message wait? Then it was put aside, or answered if nobody could ever serve it. */
static bool stash(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__ext *ext = ctx->ext;
    if (ext == NULL || ext->calls.count == 0) {
        return false;
    }
    if ((msg->weft__flags & WEFT__MSG_CHAIN) != 0 && weft__chain_stick(s, ctx, msg)) {
        if ((ctx->type->traits & WEFT__TRAIT_REENTRANT) != 0 &&
            (ctx->life & WEFT__LIFE_HOLD) == 0) { /* its state may be on the way to the store */
            return false;                         /* handled right now, in between */
        }
        weft_counter_add(&s->counters.messages_handled, 1);
        weft__chain_refuse(s, ctx, msg);
        return true;
    }
    if (weft__arena_index(s->messages, msg) == ctx->anchor) {
        weft__unanchor(s, ctx); /* it outlives its place in the word */
    }
    uint32_t index = weft__arena_index(s->messages, msg);
    msg->weft__next = 0;
    if (ext->stash == 0) {
        ext->stash = index;
    } else {
        weft__arena_msg(s->messages, ext->stash_last)->weft__next = index;
    }
    ext->stash_last = index;
    ext->stash_count++;
    ctx->life |= WEFT__LIFE_STASH;
    weft__show_room(ctx, ext->stash_count);
    return true;
}

/* The same for all that hold messages back; and for those whose messages are looked at before they
 * are given to receive: see LIFE_ASIDE. */
static WEFT_NOINLINE bool puts_aside(struct weft__scheduler *s, struct weft_ctx *ctx,
                                     weft_msg *msg) {
    if ((ctx->life & WEFT__LIFE_CANCELS) != 0 && weft__is_request(msg) &&
        weft__scope_cancelled(ctx, msg)) {
        weft_counter_add(&s->counters.requests_expired, 1);
        weft__trace_dropped(s, ctx, msg, -ECANCELED);
        weft__msg_done(s, ctx, msg);
        return true;
    }
    bool aside = false;
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0) {
        aside = weft__process_aside(s, ctx, msg);
    } else if ((ctx->type->traits & WEFT__TRAIT_SERIAL) != 0 ||
               (ctx->life & WEFT__LIFE_HOLD) != 0) {
        aside = stash(s, ctx, msg);
    }
    if (weft_unlikely(weft__is_traced(ctx)) && !aside) {
        weft__trace_receive(s, ctx, msg, 0);
    }
    return aside;
}

/* A REPLY of somebody whose store may answer, or who is traced. True: it was the store's. */
static WEFT_NOINLINE bool is_stored(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg,
                                    uint64_t reference) {
    if ((ctx->life & WEFT__LIFE_HOLD) != 0 && s->runtime->virtuals->stored(s, ctx, msg)) {
        return true;
    }
    if (weft__is_traced(ctx)) {
        weft__trace_receive(s, ctx, msg, reference);
    }
    return false;
}

/* A virtual actor with save keeps its state when the runtime stops. */
static void handle_stop(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    int reason = (int)msg->weft__u.weft__r.weft__value;
    if (weft_unlikely(weft__is_virtual(ctx)) && reason == WEFT_E_SHUTDOWN &&
        ctx->type->def.save != NULL) {
        s->runtime->virtuals->passivate(s, ctx, reason);
        weft__msg_done(s, ctx, msg);
        return;
    }
    bool traps =
        (ctx->life & WEFT__LIFE_TRAP) != 0 &&
        (ctx->type->def.process != NULL || (ctx->type->traits & WEFT__TRAIT_DEFERS_STOP) != 0);
    if (traps && weft__phase(s->runtime) < WEFT__RUNTIME_STOPPING) {
        weft__exit_from_stop(msg);
        receive_news(s, ctx, msg);
        return;
    }
    weft__msg_done(s, ctx, msg);
    weft_exit(ctx, reason);
}

static void handle_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    weft_counter_add(&s->counters.signals, 1);
    if (weft_unlikely(weft__is_traced(ctx))) {
        weft__trace_signal(s, ctx, msg);
    }
    switch (msg->weft__kind) {
    case WEFT__SIGNAL_START:
        run_init(s, ctx, msg);
        return;
    case WEFT__SIGNAL_STOP:
        handle_stop(s, ctx, msg);
        return;
    case WEFT__SIGNAL_KILL:
        ctx->life |= WEFT__LIFE_KILLED;
        weft_exit(ctx, WEFT_E_KILLED);
        break;
    case WEFT__SIGNAL_TIMER:
        s->now_ns = weft__now(s->core);
        switch (weft__timer_arrived(s, ctx, msg)) {
        case WEFT__TIMER_DELIVER:
            receive_news(s, ctx, msg);
            return;
        case WEFT__TIMER_CALLS:
            weft__calls_due(s, ctx, msg);
            return;
        case WEFT__TIMER_NONE:
            break;
        }
        break;
    case WEFT__SIGNAL_WANT_READY:
    case WEFT__SIGNAL_WANT_ROOM:
        weft__waiters_want(s, ctx, msg);
        return;
    case WEFT__SIGNAL_LINK:
    case WEFT__SIGNAL_UNLINK:
    case WEFT__SIGNAL_UNLINKED:
        weft__link_signal(s, ctx, msg);
        return;
    case WEFT__SIGNAL_MONITOR:
    case WEFT__SIGNAL_DEMONITOR:
        weft__monitor_signal(s, ctx, msg);
        return;
    case WEFT__SIGNAL_EXIT:
        handle_exit(s, ctx, msg);
        return;
    case WEFT__MSG_MARK:
        weft__process_mark(s, ctx, msg);
        return;
    case WEFT__SIGNAL_CANCEL:
        weft__waiters_cancel(s, ctx, msg);
        if (weft__scope_cancel(s, ctx, msg)) {
            weft__calls_due(s, ctx, msg);
            return;
        }
        break;
    case WEFT__SIGNAL_UPPER:
        handle_upper(ctx, msg);
        break;
    case WEFT__SIGNAL_PASSIVATE:
        s->runtime->virtuals->passivate(s, ctx, (int)msg->weft__u.weft__r.weft__value);
        break;
    case WEFT__SIGNAL_TRACE:
        weft__trace_switch(s, ctx, msg);
        break;
    default:
        weft_assert(!"unknown signal");
    }
    weft__msg_done(s, ctx, msg);
}

static void handle_reply(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__ext *ext = ctx->ext;
    uint64_t token;
    if (ext == NULL || !weft__calls_take(&ext->calls, msg->weft__u.weft__r.weft__ref, &token)) {
        weft_counter_add(&s->counters.replies_late, 1);
        weft__trace_dropped(s, ctx, msg, weft_msg_status(msg));
        weft__msg_done(s, ctx, msg);
        return;
    }
    uint64_t reference = msg->weft__u.weft__r.weft__ref;
    struct weft__call *call = weft__calls_at(&ext->calls, reference);
    msg->weft__u.weft__r.weft__ref = token;
    if (weft_unlikely(call->scope != 0)) {
        weft__scope_return(s, ctx, call);
    }
    if (weft_unlikely(ext->jobs_started.count != 0)) {
        weft__job_over(s, ctx, reference);
    }
    if (weft_unlikely((ctx->life & WEFT__LIFE_PROCESS) != 0)) {
        ext->process->arrived = reference;
        if (weft__process_aside(s, ctx, msg)) {
            return;
        }
    }
    weft_counter_add(&s->counters.messages_handled, 1);
    if (weft_unlikely((ctx->life & (WEFT__LIFE_HOLD | WEFT__LIFE_TRACED)) != 0) &&
        is_stored(s, ctx, msg, reference)) {
        weft__msg_done(s, ctx, msg);
        return;
    }
    receive(s, ctx, msg);
}

WEFT_INLINE void handle(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    switch (msg->weft__kind) {
    case WEFT_MSG_REQUEST:
        if (weft_unlikely(weft_load32_relaxed(&s->clock_stale) != 0)) {
            weft__refresh_clock(s); /* a handler before it in this turn took long */
        }
        if (weft_unlikely((uint64_t)msg->weft__u.weft__r.weft__value <= s->now_ns)) {
            weft_counter_add(&s->counters.requests_expired, 1);
            bool cancelled = msg->weft__u.weft__r.weft__value == 0;
            weft__trace_dropped(s, ctx, msg, cancelled ? -ECANCELED : -ETIMEDOUT);
            weft__msg_done(s, ctx, msg); /* its caller has its timeout, or gets it right now */
            return;
        }
        WEFT_FALLTHROUGH;
    case WEFT_MSG_USER:
        if (weft_unlikely((ctx->type->traits & WEFT__TRAIT_SERIAL) != 0 ||
                          (ctx->life & LIFE_ASIDE) != 0) &&
            puts_aside(s, ctx, msg)) {
            return;
        }
        weft_counter_add(&s->counters.messages_handled, 1);
        receive(s, ctx, msg);
        return;
    case WEFT_MSG_REPLY:
        handle_reply(s, ctx, msg);
        return;
    case WEFT_MSG_IO:
        handle_io(s, ctx, msg);
        return;
    case WEFT_MSG_READY:
        weft__busy_remove(ctx, msg->weft__from);
        WEFT_FALLTHROUGH;
    case WEFT_MSG_DONE:
        if (msg->weft__kind == WEFT_MSG_DONE && ctx->ext != NULL && ctx->ext->jobs > 0) {
            ctx->ext->jobs--;
        }
        WEFT_FALLTHROUGH;
    case WEFT_MSG_DEAD:
    case WEFT_MSG_UP:
        weft_counter_add(&s->counters.signals, 1);
        receive_news(s, ctx, msg);
        return;
    case WEFT_MSG_DOWN:
        handle_down(s, ctx, msg);
        return;
    default:
        handle_signal(s, ctx, msg);
        return;
    }
}

/* ---- the turn ------------------------------------------------------------------------------ */

/* Tells senders how far the actor is, and those that were refused that there is room. */
static WEFT_NOINLINE void check_waiters(struct weft__scheduler *s, struct weft_ctx *ctx,
                                        uint32_t consumed) {
    weft_store32_relaxed(&ctx->mailbox.consumed, consumed);
    uint32_t held_back = ctx->ext == NULL ? 0 : ctx->ext->stash_count;
    held_back += (ctx->life & WEFT__LIFE_PROCESS) == 0 ? 0 : ctx->ext->process->saved_count;
    uint32_t length = weft__mailbox_length(&ctx->mailbox, s->messages);
    bool room = length == 0 && held_back < ctx->type->bound; /* it may wait for who waits for it */
    if (room || length + held_back <= ctx->type->low) {
        weft__waiters_flush(s, ctx);
    } else if (held_back >= ctx->type->bound) { /* only looked at when it is unblocked */
        weft__chain_stick_waiters(s, ctx);
    }
}

/* All taken messages are handled: consumed becomes exact again. */
WEFT_INLINE uint32_t exact_consumed(struct weft__scheduler *s, const struct weft_ctx *ctx,
                                    uint32_t consumed) {
    if (ctx->anchor == 0) {
        return consumed;
    }
    return weft_load32_relaxed(weft__msg_seq(weft__arena_msg(s->messages, ctx->anchor)));
}

/* Leaves the actor idle if nothing came. After true it may run elsewhere already. */
WEFT_INLINE bool go_idle(struct weft__scheduler *s, struct weft_ctx *ctx) {
#ifdef WEFT_PLANT_DOUBLE_RUN
    if ((uint32_t)weft_load64_acquire(&ctx->mailbox.word) == WEFT__MAILBOX_IDLE) {
        return true;
    }
#endif
    uint32_t anchor = ctx->anchor;
    ctx->anchor = 0;
    WEFT__POINT(s->core, WEFT__POINT_IDLE);
    if (weft_likely(weft__mailbox_idle(&ctx->mailbox, ctx->gen, anchor))) {
        if (weft_likely(anchor != 0)) {
            weft__pool_free(&s->pool, weft__arena_msg(s->messages, anchor));
        }
        return true;
    }
    ctx->anchor = anchor;
    return false;
}

/* A sampled message has arrived at its handler. */
static WEFT_NOINLINE void sample_wait(struct weft__scheduler *s, uint32_t stamp) {
    uint32_t now = (uint32_t)(weft__now(s->core) >> 6) | 1;
    uint32_t waited = now - stamp;
    weft_histogram_add(&s->mailbox_wait, waited > INT32_MAX ? 0 : (uint64_t)waited << 6);
}

/* Why a turn ended. */
enum turn { TURN_IDLE, TURN_BUDGET, TURN_ENDED };

/* What a message has left to look at. False: the actor ends. */
static WEFT_NOINLINE bool attend(struct weft__scheduler *s, struct weft_ctx *ctx,
                                 uint32_t consumed) {
    if ((ctx->life & WEFT__LIFE_EXITING) != 0) {
        return false;
    }
    if ((ctx->life & WEFT__LIFE_WAITERS) != 0) {
        check_waiters(s, ctx, consumed);
    }
    ctx->life &= ~(uint32_t)WEFT__LIFE_TAKEN;
    if (weft_unlikely((ctx->life & (WEFT__LIFE_SCOPED | WEFT__LIFE_CANCELS)) != 0)) {
        weft__scope_attend(s, ctx);
    }
    if ((ctx->life & WEFT__LIFE_BLOCKED) != 0 && ctx->ext->calls.count == 0) {
        weft__chain_unblock(s, ctx);
    }
    if ((ctx->life & (WEFT__LIFE_STASH | WEFT__LIFE_HOLD)) == WEFT__LIFE_STASH &&
        (ctx->ext->calls.count == 0 || (ctx->type->traits & WEFT__TRAIT_SERIAL) == 0)) {
        unstash(s, ctx);
    }
    return true;
}

/* The budget is used up. How much more an actor gets whose mailbox is long: it could not keep up
 * otherwise, because each of its senders gets a turn for each of its own. Not when its handlers
 * take long: others and its own signals wait. */
static WEFT_NOINLINE uint32_t boost(struct weft__scheduler *s, struct weft_ctx *ctx,
                                    uint32_t consumed, uint32_t limit) {
    weft_store32_relaxed(&ctx->mailbox.consumed, consumed);
    if (limit >= s->budget * WEFT__BUDGET_BOOST ||
        weft__mailbox_length(&ctx->mailbox, s->messages) < s->budget ||
        weft__now(s->core) - s->now_ns > BOOST_NS_MAX) {
        return 0;
    }
    return s->budget;
}

/* A turn that does not begin with an empty hand. False: the actor ends. */
static WEFT_NOINLINE bool begin_turn(struct weft__scheduler *s, struct weft_ctx *ctx) {
    weft__trace_turn(s, ctx);
    if ((ctx->life & WEFT__LIFE_FRESH) != 0) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_FRESH;
        s->runtime->virtuals->begin(s, ctx);
        if ((ctx->life & WEFT__LIFE_EXITING) != 0) {
            return false;
        }
    }
    if (ctx->batch != 0) {
        absorb(s, ctx);
    }
    return true;
}

/* What a message has left: a process goes on, then the rest. TURN_IDLE: the turn goes on. */
WEFT_INLINE enum turn look_after(struct weft__scheduler *s, struct weft_ctx *ctx,
                                 uint32_t consumed) {
    if ((ctx->life & WEFT__LIFE_RESUME) != 0) {
        weft__process_resume(s, ctx);
    }
    if (!attend(s, ctx, consumed)) {
        return TURN_ENDED;
    }
    bool yields = (ctx->life & WEFT__LIFE_YIELD) != 0;
    ctx->life &= ~(uint32_t)WEFT__LIFE_YIELD;
    return yields ? TURN_BUDGET : TURN_IDLE;
}

/* The oldest message of the batch. */
WEFT_INLINE weft_msg *take_first(const struct weft__scheduler *s, struct weft_ctx *ctx) {
    weft_msg *msg = weft__arena_msg(s->messages, ctx->batch);
    ctx->batch = msg->weft__next;
    if (ctx->batch != 0) {
        weft_prefetch(weft__arena_msg(s->messages, ctx->batch));
    }
#ifdef WEFT_PLANT_DOUBLE_RUN
    if (ctx->batch == 0) { /* idle too early: a push from here on queues it a second time */
        (void)weft__mailbox_idle(&ctx->mailbox, ctx->gen, ctx->anchor);
    }
#endif
    return msg;
}

/* How much was sent here since a count of it. */
WEFT_INLINE uint32_t sent_since(const struct weft__scheduler *s, uint32_t before) {
    return (uint32_t)weft_load64_relaxed(&s->counters.messages_sent) - before;
}

WEFT_INLINE enum turn turn(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t consumed = weft_load32_relaxed(&ctx->mailbox.consumed);
    uint32_t handled = 0;
    uint32_t limit = s->budget;
    enum turn result = TURN_BUDGET;
    uint32_t counted = 0; /* of what it handled, in ctx->handled */
    uint32_t sent_before = sent_since(s, 0);
    if (weft_unlikely((ctx->batch | (ctx->life & (WEFT__LIFE_FRESH | WEFT__LIFE_TRACED))) != 0) &&
        !begin_turn(s, ctx)) {
        return TURN_ENDED;
    }
    for (;;) {
        /* Sending counts too: a turn is bounded by what it makes others do as well. */
        uint32_t sent = sent_since(s, sent_before);
        if (weft_unlikely(handled + sent >= limit)) {
            uint32_t more = handled >= sent ? boost(s, ctx, consumed, limit) : 0;
            limit += more;
            if (more == 0) {
                break;
            }
        }
        if (ctx->batch == 0) {
            /* drop-old may leave nothing of what is taken; bounded by what senders push */
            consumed = exact_consumed(s, ctx, consumed);
            if (weft_unlikely((ctx->life & WEFT__LIFE_WAITERS) != 0)) {
                check_waiters(s, ctx, consumed);
                sent = sent_since(s, sent_before);
            }
            if (!take_batch(s, ctx, &consumed)) {
                /* All of this while the actor is ours, still. */
                weft_counter_add(&ctx->handled, handled - counted);
                counted = handled;
                weft__sent_add(s->runtime, ctx, sent);
                sent_before += sent; /* is shown, and counts for the budget as before */
                limit = limit > sent ? limit - sent : 0;
                weft_store32_relaxed(&ctx->mailbox.consumed, consumed);
                if (go_idle(s, ctx)) {
                    return TURN_IDLE;
                }
            }
            continue;
        }
        weft_msg *msg = take_first(s, ctx);
        if (weft_unlikely(msg->weft__stamp != 0)) {
            sample_wait(s, msg->weft__stamp);
            msg->weft__stamp = 0;
        }
        handled++;
        consumed++;
        handle(s, ctx, msg);
        if (weft_unlikely((handled % PUBLISH_EVERY) == 0)) {
            weft_store32_relaxed(&ctx->mailbox.consumed, consumed);
        }
        if (weft_unlikely((ctx->life & WEFT__LIFE_ATTENTION) != 0)) {
            enum turn after = look_after(s, ctx, consumed);
            if (after != TURN_IDLE) {
                result = after;
                break;
            }
        }
    }
    if (result == TURN_BUDGET) {
        weft_store32_relaxed(&ctx->mailbox.consumed, consumed);
    }
    weft_counter_add(&ctx->handled, handled - counted);
    weft__sent_add(s->runtime, ctx, sent_since(s, sent_before));
    return result;
}

static void run_timed(struct weft__scheduler *s, struct weft_ctx *ctx, enum turn *ret_turn) {
    uint64_t before_ns = weft__now(s->core);
    *ret_turn = turn(s, ctx);
    uint64_t after_ns = weft__now(s->core);
    weft_histogram_add(&s->handler_time, after_ns - before_ns);
    s->now_ns = after_ns;
}

void weft__run(struct weft__scheduler *s, uint32_t index) {
    struct weft_ctx *ctx = weft__slot_at(s->slots, index);
    s->current = ctx;
    ctx->runner = s;
    if (weft_unlikely(weft_load32_relaxed(&ctx->scheduler) != s->id)) {
        weft_store32_relaxed(&ctx->scheduler, s->id);
        ctx->life |= WEFT__LIFE_MOVED;
    }
    weft_store64_relaxed(&ctx->active_ns, s->now_ns);
    uint64_t seq = weft_load64_relaxed(&s->run_seq) + 1;
    weft_store64_relaxed(&s->run_seq, seq);
    weft_store32_relaxed(&s->running, index);
    weft__trace(s, WEFT__TRACE_RUN, index, ctx->gen);
    weft__bias_leave(&s->bias);
    enum turn result;
    if (weft_unlikely((seq & WEFT__SAMPLE_MASK) == 0) && !s->traced) {
        run_timed(s, ctx, &result);
    } else {
        result = turn(s, ctx);
    }
    if (weft_unlikely(result == TURN_ENDED)) {
        weft__end(s, ctx);
    }
    weft__bias_enter(&s->bias, &s->barrier);
    weft_counter_add(&s->counters.runs, 1);
    s->current = NULL;
    weft_store32_relaxed(&s->running, 0);
    if (weft_unlikely(result == TURN_BUDGET)) {
        weft__requeue(s, ctx, index);
    }
    s->drawn_to = -1;
}
