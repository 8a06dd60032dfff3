/* SPDX-License-Identifier: MIT
 *
 * Full mailboxes: see sched/room.h.
 */
#include "sched/room.h"
#include "sched/chain.h"
#include "sched/process.h"
#include "sched/tracing.h"

enum {
    WAITERS_SLACK = 16,  /* senders that may wait before those that gave up are looked for */
    WAITERS_LOOKED = 64, /* that one that gave up is looked for among, at once */
};

/* ---- the sender ---------------------------------------------------------------------------- */

static bool is_busy(const struct weft__ext *ext, uint64_t target) {
    for (uint32_t i = 0; i < ext->busy_count; i++) {
        if (ext->busy[i] == target) {
            return true;
        }
    }
    return false;
}

static int busy_add(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t target) {
    struct weft__ext *ext = ctx->ext;
    if (ext->busy_count == ext->busy_capacity) {
        uint32_t capacity = ext->busy_capacity == 0 ? 4 : ext->busy_capacity * 2;
        void *busy = ext->busy;
        int result = weft__grow(s->core, &busy, ext->busy_capacity * sizeof(*ext->busy),
                                capacity * sizeof(*ext->busy), "busy");
        if (result != 0) {
            return result;
        }
        ext->busy = busy;
        ext->busy_capacity = capacity;
        weft__memory_show(s->runtime, ctx);
    }
    ext->busy[ext->busy_count++] = target;
    return 0;
}

void weft__busy_remove(struct weft_ctx *ctx, uint64_t from) {
    struct weft__ext *ext = ctx->ext;
    for (uint32_t i = 0; ext != NULL && i < ext->busy_count; i++) {
        if (ext->busy[i] == from) {
            ext->busy[i] = ext->busy[--ext->busy_count];
            return;
        }
    }
}

/* Asks a full target for one READY. -EBUSY when it will come, else why not. */
static int want_ready(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t target) {
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    if (is_busy(ext, target)) {
        return -EBUSY;
    }
    struct weft__draft draft = {.kind = WEFT__SIGNAL_WANT_READY};
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    result = busy_add(s, ctx, target);
    if (result == 0) {
        msg->weft__from = weft__from(ctx);
        result = weft__post(s, target, msg, false);
        if (result != 0) {
            weft__busy_remove(ctx, target);
        }
    }
    if (result != 0) {
        weft__msg_free(s->runtime, s, msg);
        return result;
    }
    return -EBUSY;
}

/* Policy wait, and the sender is a process. It is suspended meanwhile, so nothing it sends later
 * overtakes, and its scheduler may be another one afterwards. */
static WEFT_NOINLINE int wait_for_room(struct weft_ctx *ctx, const struct weft__refusal *refusal) {
    int result = -EBUSY;
    while (result == -EBUSY) { /* bounded by how long others are faster */
        result = weft__process_room(ctx, refusal->target, refusal->msg, refusal->call_ref);
        if (result == 0) {
            result = weft__post(ctx->runner, refusal->target, refusal->msg, true);
        }
    }
    return result;
}

int weft__refused(struct weft_ctx *ctx, struct weft__refusal *refusal, int result) {
    struct weft__scheduler *s = ctx->runner;
    uint64_t target = refusal->target;
    if (result == -EBUSY) {
        const struct weft_ctx *slot = weft__slot_at(s->slots, (uint32_t)(target >> 32));
        uint32_t traits = weft_load32_relaxed(&slot->traits);
        if ((traits & WEFT__TRAIT_PORT) != 0) {
            weft_counter_add(&s->counters.messages_rejected, 1);
            return WEFT_E_NOPROC; /* a forged pid: no actor */
        }
        if ((traits & WEFT__TRAIT_DROP_NEW) != 0) {
            refusal->dropped = true;
            return 0;
        }
        s->drawn_away += weft_load32_relaxed(&slot->scheduler) != s->id ? 1 : 0;
        bool waits = (traits & WEFT__TRAIT_WAITS) != 0 && refusal->waits &&
                     weft__process_inside(ctx) != NULL;
        result = waits ? wait_for_room(ctx, refusal) : want_ready(s, ctx, target);
    }
    if (result != 0) {
        weft_counter_add(&ctx->runner->counters.messages_rejected, 1);
    }
    return result;
}

/* ---- the target ---------------------------------------------------------------------------- */

/* Drops those that do not wait any more: their time is over, or they have ended. Returns how many
 * are left. */
static uint32_t waiters_sweep(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t *link = &ctx->waiters;
    uint32_t left = 0;
    while (*link != 0) { /* bounded by the list */
        weft_msg *msg = weft__arena_msg(s->messages, *link);
        if (msg->weft__kind == WEFT__SIGNAL_WANT_ROOM && weft__chain_is_over(s, msg)) {
            *link = msg->weft__next;
            weft__msg_free(s->runtime, s, msg);
        } else {
            link = &msg->weft__next;
            left++;
        }
    }
    return left;
}

/* The newest one carries how many there are, in its tag, and at how many more those are looked for
 * that gave up, in its size: so these are at most half of the list, and the looking is cheap. */
void weft__waiters_add(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    uint32_t count = 0;
    uint32_t limit = WAITERS_SLACK;
    if (ctx->waiters != 0) {
        const weft_msg *newest = weft__arena_msg(s->messages, ctx->waiters);
        count = newest->weft__tag;
        limit = newest->weft__size;
    }
    if (count >= limit) {
        count = waiters_sweep(s, ctx);
        limit = 2 * count + WAITERS_SLACK;
    }
    msg->weft__tag = count + 1;
    msg->weft__size = limit;
    msg->weft__stamp = 0;
    msg->weft__next = ctx->waiters;
    ctx->waiters = weft__arena_index(s->messages, msg);
    ctx->life |= WEFT__LIFE_WAITERS;
}

/* Its CANCEL has gone before, if it was taken together with it. */
static bool has_ended(const struct weft__scheduler *s, uint64_t sender) {
    const struct weft_ctx *slot = weft__slot_at(s->slots, (uint32_t)(sender >> 32));
    return weft_load64_relaxed(&slot->mailbox.word) >> 32 != (uint32_t)sender;
}

void weft__waiters_want(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    if (msg->weft__kind == WEFT__SIGNAL_WANT_ROOM && has_ended(s, msg->weft__from)) {
        weft__msg_done(s, ctx, msg);
        return;
    }
    if (weft__arena_index(s->messages, msg) == ctx->anchor) {
        /* A copy waits: with the anchor out of the word the mailbox would look empty, although
         * what came before it lies in the batch, and READY would go out at once. */
        struct weft__draft draft = {.kind = msg->weft__kind, .wide = true, .chained = true};
        weft_msg *copy;
        if (weft__msg_make(s->runtime, s, &draft, &copy) == 0) {
            copy->weft__from = msg->weft__from;
            if (msg->weft__kind == WEFT__SIGNAL_WANT_ROOM) {
                copy->weft__u.weft__r = msg->weft__u.weft__r;
                weft__chain_move(msg, copy);
            }
            weft__msg_done(s, ctx, msg);
            msg = copy;
        } else { /* no memory: READY may come early */
            weft__unanchor(s, ctx);
        }
    }
    weft__waiters_add(s, ctx, msg);
}

void weft__waiters_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *cancel) {
    uint32_t *link = &ctx->waiters;
    for (uint32_t looked = 0; *link != 0 && looked < WAITERS_LOOKED; looked++) {
        weft_msg *msg = weft__arena_msg(s->messages, *link);
        if (msg->weft__kind == WEFT__SIGNAL_WANT_ROOM && msg->weft__from == cancel->weft__from &&
            msg->weft__u.weft__r.weft__ref == cancel->weft__u.weft__r.weft__ref) {
            *link = msg->weft__next;
            weft__msg_free(s->runtime, s, msg);
            return;
        }
        link = &msg->weft__next;
    }
}

/* Takes all out, as a list of those that came first. */
static uint32_t waiters_take(const struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t taken = 0;
    while (ctx->waiters != 0) { /* bounded by the number of senders that were refused */
        weft_msg *msg = weft__arena_msg(s->messages, ctx->waiters);
        uint32_t index = ctx->waiters;
        ctx->waiters = msg->weft__next;
        msg->weft__next = taken;
        taken = index;
    }
    return taken;
}

void weft__waiters_flush(struct weft__scheduler *s, struct weft_ctx *ctx) {
    ctx->life &= ~(uint32_t)WEFT__LIFE_WAITERS;
    uint32_t index = waiters_take(s, ctx);
    while (index != 0) { /* bounded by what was taken */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        msg->weft__stamp = 0;
        msg->weft__tag = 0;
        msg->weft__size = 0;
        if (msg->weft__kind == WEFT__SIGNAL_WANT_ROOM) {
            weft__answer(s, ctx, msg, 0);
            continue;
        }
        uint64_t target = msg->weft__from;
        msg->weft__kind = WEFT_MSG_READY;
        msg->weft__from = weft__from(ctx);
        if (weft__post(s, target, msg, false) != 0) {
            weft__msg_free(s->runtime, s, msg);
        }
    }
}
