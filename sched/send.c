/* SPDX-License-Identifier: MIT
 *
 * Sending: the way of a message from its sender's thread into the target's mailbox, what happens
 * when it is closed, and dead letters. When it is full: room.c.
 */
#include "sched/chain.h"
#include "sched/port.h"
#include "sched/room.h"
#include "sched/scope.h"
#include "sched/tracing.h"
#include <string.h>

void weft__count(weft_runtime *runtime, struct weft__scheduler *s, size_t counter, uint64_t n) {
    if (s != NULL) {
        weft_counter *at = (weft_counter *)(void *)((char *)&s->counters + counter);
        weft_counter_add(at, n);
        return;
    }
    weft_counter *at = (weft_counter *)(void *)((char *)&runtime->outside + counter);
    (void)weft_add64_acq_rel(at, n);
}

/* The slot of a target, or NULL when there can be none. */
WEFT_INLINE struct weft_ctx *slot_of(const struct weft__arena *slots, uint64_t target) {
    uint64_t index = target >> 32;
    if (weft_unlikely((uint32_t)target == 0 ||
                      (index + 1) * sizeof(struct weft_ctx) > slots->bytes)) {
        return NULL;
    }
    return weft__slot_at(slots, (uint32_t)index);
}

/* The message joined a long queue on another scheduler: the sender is drawn there, where feeding
 * it costs no cache misses, and where it competes with the one it overloads. Advisory: the message
 * may be somebody else's by now, its seq is read as a hint. */
WEFT_INLINE void note_overload(struct weft__scheduler *s, const struct weft_ctx *slot,
                               weft_msg *msg) {
    uint32_t length =
        weft_load32_relaxed(weft__msg_seq(msg)) - weft_load32_relaxed(&slot->mailbox.consumed);
    if (weft_unlikely((int32_t)length > WEFT__MAILBOX_LONG)) {
        uint32_t id = weft_load32_relaxed(&slot->scheduler);
        s->drawn_to = id == s->id ? -1 : (int)id;
    }
}

WEFT_INLINE int post(struct weft__scheduler *s, uint64_t target, weft_msg *msg, bool bounded) {
    uint32_t index = (uint32_t)(target >> 32);
    if (weft_unlikely((uint32_t)target == 0 || index >= s->slot_count)) {
        return WEFT_E_NOPROC;
    }
    struct weft_ctx *slot = weft__slot_at(s->slots, index);
    WEFT__POINT(s->core, WEFT__POINT_SEND);
    uint32_t bound = bounded ? weft_load32_relaxed(&slot->bound) : 0;
    int result = weft__mailbox_push(&slot->mailbox, s->messages, (uint32_t)target,
                                    weft__arena_index(s->messages, msg), bound);
    if (result == 1) {
        WEFT__POINT(s->core, WEFT__POINT_PUSHED);
        weft__schedule(s, slot);
        return 0;
    }
    if (result == 0) {
        note_overload(s, slot, msg);
    }
    return result;
}

/* Does a policy drop what this target has no room for? */
static bool drops_new(const struct weft__scheduler *s, uint64_t target) {
    uint32_t traits =
        weft_load32_relaxed(&weft__slot_at(s->slots, (uint32_t)(target >> 32))->traits);
    return (traits & WEFT__TRAIT_DROP_NEW) != 0;
}

/* A traced actor sends. */
static WEFT_NOINLINE int post_traced(struct weft__scheduler *s, uint64_t target, weft_msg *msg,
                                     bool bounded) {
    struct weft__posted posted;
    weft__trace_post(msg, target, &posted);
    int result = post(s, target, msg, bounded);
    bool dropped = result == -EBUSY && drops_new(s, target);
    weft__trace_posted(s, &posted, dropped ? WEFT_E_OVERLOAD : result);
    return result;
}

static bool sender_is_traced(const struct weft__scheduler *s) {
    return s->current != NULL && weft__is_traced(s->current);
}

/* One in 64 messages carries the time it was sent, in units of 64 ns; and those that a traced actor
 * sends come along here. */
static WEFT_NOINLINE int post_watched(struct weft__scheduler *s, uint64_t target, weft_msg *msg,
                                      bool bounded) {
    if (sender_is_traced(s)) {
        s->sample = 1; /* the next one comes here as well */
        return post_traced(s, target, msg, bounded);
    }
    s->sample = WEFT__SAMPLE_MASK + 1;
    if (!s->traced) {
        msg->weft__stamp = (uint32_t)(weft__now(s->core) >> 6) | 1;
    }
    return post(s, target, msg, bounded);
}

/* Pushes what an actor sends to others. */
WEFT_INLINE int post_sent(struct weft__scheduler *s, uint64_t target, weft_msg *msg, bool bounded) {
    if (weft_unlikely(--s->sample == 0)) {
        return post_watched(s, target, msg, bounded);
    }
    return post(s, target, msg, bounded);
}

int weft__post(struct weft__scheduler *s, uint64_t target, weft_msg *msg, bool bounded) {
    if (weft_unlikely(sender_is_traced(s))) {
        return post_traced(s, target, msg, bounded);
    }
    return post(s, target, msg, bounded);
}

int weft__post_outside(weft_runtime *runtime, uint64_t target, weft_msg *msg, bool bounded) {
    struct weft_ctx *slot = slot_of(&runtime->slots, target);
    if (slot == NULL) {
        return WEFT_E_NOPROC;
    }
    uint32_t bound = bounded ? weft_load32_relaxed(&slot->bound) : 0;
    int result = weft__mailbox_push(&slot->mailbox, &runtime->core.messages, (uint32_t)target,
                                    weft__arena_index(&runtime->core.messages, msg), bound);
    if (result == 1) {
        weft__schedule_outside(runtime, slot);
        return 0;
    }
    return result;
}

/* ---- send ---------------------------------------------------------------------------------- */

static int send_refused(struct weft_ctx *ctx, uint64_t target, weft_msg *msg, int result) {
    struct weft__refusal refusal = {.target = target, .msg = msg, .waits = true};
    result = weft__refused(ctx, &refusal, result);
    struct weft__scheduler *s = ctx->runner;
    weft_counter_add(&s->counters.messages_sent, result == 0 ? 1 : 0);
    weft_counter_add(&s->counters.messages_dropped, refusal.dropped ? 1 : 0);
    if (result != 0 || refusal.dropped) {
        weft__msg_free(s->runtime, s, msg);
    }
    return result;
}

static int send_draft(struct weft_ctx *ctx, weft_pid target, const struct weft__draft *draft) {
    struct weft__scheduler *s = ctx->runner;
    if (weft_unlikely(target.node != s->node)) {
        int refusal = target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
        weft_counter_add(&s->counters.messages_rejected, 1);
        if (weft__is_traced(ctx)) {
            weft__trace_refused(ctx, draft, target, refusal);
        }
        return refusal;
    }
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, draft, &msg);
    if (weft_unlikely(result != 0)) {
        weft_counter_add(&s->counters.messages_rejected, 1);
        return result;
    }
    msg->weft__from = weft__from(ctx);
    result = post_sent(s, weft__target(target), msg, true);
    if (weft_unlikely(result != 0)) {
        return send_refused(ctx, weft__target(target), msg, result);
    }
    weft_counter_add(&s->counters.messages_sent, 1);
    return 0;
}

/* A request could not be pushed. waits: see struct refusal. */
static WEFT_NOINLINE int request_refused(struct weft_ctx *ctx, weft_pid target, weft_msg *msg,
                                         int result, bool waits) {
    struct weft__refusal refusal = {.target = weft__target(target),
                                    .msg = msg,
                                    .call_ref = msg->weft__u.weft__r.weft__ref,
                                    .waits = waits};
    result = weft__refused(ctx, &refusal, result);
    if (refusal.dropped) {
        return -EBUSY; /* it would leave its caller waiting */
    }
    weft_counter_add(&ctx->runner->counters.messages_sent, result == 0 ? 1 : 0);
    return result;
}

WEFT_INLINE int request_try(struct weft__scheduler *s, struct weft_ctx *ctx, weft_pid target,
                            weft_msg *msg, bool waits) {
    msg->weft__from = weft__from(ctx);
    int result = post_sent(s, weft__target(target), msg, true);
    if (weft_unlikely(result != 0)) {
        return request_refused(ctx, target, msg, result, waits);
    }
    weft_counter_add(&s->counters.messages_sent, 1);
    return 0;
}

int weft__request_try(struct weft__scheduler *s, struct weft_ctx *ctx, weft_pid target,
                      weft_msg *msg) {
    return request_try(s, ctx, target, msg, false);
}

int weft__send_request(struct weft__scheduler *s, struct weft_ctx *ctx, weft_pid target,
                       weft_msg *msg) {
    int result = request_try(s, ctx, target, msg, true);
    if (weft_unlikely(result != 0)) {
        s = ctx->runner; /* another one, if the sender has waited */
        weft__msg_free(s->runtime, s, msg);
    }
    return result;
}

int weft__send_try(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t target,
                   weft_msg *msg) {
    msg->weft__from = weft__from(ctx);
    bool request = weft__is_request(msg);
    int result = post_sent(s, target, msg, true);
    if (weft_likely(result == 0)) {
        weft_counter_add(&s->counters.messages_sent, 1);
        return 0;
    }
    struct weft__refusal refusal = {.target = target, .msg = msg, .waits = true};
    refusal.call_ref = request ? msg->weft__u.weft__r.weft__ref : 0;
    if (result == -EBUSY) {
        result = weft__refused(ctx, &refusal, result);
        s = ctx->runner;
    }
    if (result == WEFT_E_NOPROC) {
        return result;
    }
    if (result == 0 && !refusal.dropped) {
        weft_counter_add(&s->counters.messages_sent, 1);
        return 0;
    }
    weft__msg_free(s->runtime, s, msg);
    if (refusal.dropped && !request) {
        weft_counter_add(&s->counters.messages_sent, 1);
        weft_counter_add(&s->counters.messages_dropped, 1);
        return 0;
    }
    return refusal.dropped ? -EBUSY : result;
}

static WEFT_NOINLINE int send_other(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data,
                                    size_t size) {
    if (data == NULL && size != 0) {
        return -EINVAL;
    }
    struct weft__draft draft = {.data = data, .size = size, .tag = tag, .kind = WEFT_MSG_USER};
    return send_draft(ctx, target, &draft);
}

/* The everyday send, in one piece; what is rare goes through send_other. */
int weft_send(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data, size_t size) {
    struct weft__scheduler *s = ctx->runner;
    if (weft_likely(target.slot < s->slot_count)) {
        weft_prefetch_write(&weft__slot_at(s->slots, target.slot)->mailbox);
    }
    struct weft__draft draft = {.data = data, .size = size, .tag = tag, .kind = WEFT_MSG_USER};
    weft_msg *msg = weft_likely(target.node == s->node) ? weft__msg_small(s, ctx, &draft) : NULL;
    if (weft_unlikely(msg == NULL)) {
        return send_other(ctx, target, tag, data, size);
    }
    int result = post_sent(s, weft__target(target), msg, true);
    if (weft_unlikely(result != 0)) {
        return send_refused(ctx, weft__target(target), msg, result);
    }
    weft_counter_add(&s->counters.messages_sent, 1);
    return 0;
}

/* Is [offset, offset + size) inside buf? */
static bool slice_fits(const weft_buf *buf, size_t offset, size_t size) {
    return buf != NULL && offset <= buf->size && size <= buf->size - offset;
}

int weft_send_buf(weft_ctx *ctx, weft_pid target, uint32_t tag, weft_buf *buf, size_t offset,
                  size_t size) {
    if (!slice_fits(buf, offset, size)) {
        return -EINVAL;
    }
    struct weft__draft draft = {.data = (char *)buf->data + offset,
                                .size = size,
                                .buf = buf,
                                .tag = tag,
                                .kind = WEFT_MSG_USER};
    return send_draft(ctx, target, &draft);
}

int weft_send_msg(weft_ctx *ctx, weft_pid target, weft_msg **msg) {
    if (msg == NULL || *msg == NULL) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    weft_msg *sent = *msg;
    *msg = NULL;
    weft__msg_own(s, ctx, sent);
    bool request = weft__is_request(sent);
    if (request && weft__scope_concerns(ctx, sent)) {
        weft__scope_leave(s, ctx, sent);
    }
    if (weft_unlikely(ctx->episode != 0) && (sent->weft__flags & WEFT__MSG_CHAIN) != 0) {
        weft__chain_pass_on(s, ctx, sent);
    }
    if (!request) {
        sent->weft__kind = WEFT_MSG_USER;
        sent->weft__from = weft__from(ctx);
    }
    int result = target.node == s->node ? post_sent(s, weft__target(target), sent, true)
                 : target.node == 0     ? WEFT_E_NOPROC
                                        : WEFT_E_NOCONN;
    if (weft_likely(result == 0)) {
        weft_counter_add(&s->counters.messages_sent, 1);
        return 0;
    }
    struct weft__refusal refusal = {.target = weft__target(target), .msg = sent, .waits = true};
    result = weft__refused(ctx, &refusal, result);
    s = ctx->runner;
    weft_counter_add(&s->counters.messages_sent, 1);
    if (refusal.dropped) {
        weft_counter_add(&s->counters.messages_dropped, 1);
        if (request) {
            weft__answer(s, ctx, sent, WEFT_E_OVERLOAD);
        } else {
            weft__msg_free(s->runtime, s, sent);
        }
    } else if (result == 0) {
        return 0;
    } else if (request) {
        weft_counter_add(&s->counters.messages_dead, 1);
        weft__answer(s, ctx, sent, result);
    } else {
        weft__dead_letter(s->runtime, s, sent, result);
    }
    return result;
}

/* ---- request and reply --------------------------------------------------------------------- */

/* A REPLY was pushed to its caller [take if it did not go]. */
WEFT_INLINE int reply_posted(struct weft__scheduler *s, weft_msg *reply, int result) {
    if (weft_unlikely(result != 0)) {
        weft_counter_add(&s->counters.replies_late, 1);
        weft__msg_free(s->runtime, s, reply);
    }
    return result;
}

void weft__answer(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *request, int status) {
    uint64_t target = request->weft__from;
    uint64_t reference = request->weft__u.weft__r.weft__ref;
    weft_msg *reply = request;
    if (weft_unlikely(weft__scope_concerns(ctx, request))) {
        weft__scope_leave(s, ctx, request);
    }
    if (weft__arena_index(s->messages, request) == ctx->anchor) {
        struct weft__draft draft = {.kind = WEFT_MSG_REPLY, .wide = true};
        if (weft__msg_make(s->runtime, s, &draft, &reply) == 0) {
            weft__msg_done(s, ctx, request);
        } else { /* no memory: the request's own cell, for the price of a locked instruction */
            weft__unanchor(s, ctx);
            reply = request;
        }
    }
    weft__chain_drop(s->runtime, s, reply);
    weft__msg_drop_payload(reply);
    reply->weft__kind = WEFT_MSG_REPLY;
    reply->weft__size = 0;
    reply->weft__from = weft__from(ctx);
    reply->weft__u.weft__r.weft__ref = reference;
    reply->weft__u.weft__r.weft__value = status;
    weft_counter_add(&s->counters.messages_sent, 1);
    (void)reply_posted(s, reply, weft__post(s, target, reply, false)); /* it may be gone */
}

/* May the request's own cell carry the answer? */
WEFT_INLINE bool reusable(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                          const weft_msg *request, const struct weft__draft *draft) {
    return draft->buf == NULL && (request->weft__flags & (WEFT__MSG_BUF | WEFT__MSG_CHAIN)) == 0 &&
           weft__arena_index(s->messages, request) != ctx->anchor &&
           draft->size <= weft__class_bytes(request->weft__flags & WEFT__CLASS_MASK) -
                              (size_t)WEFT__WIDE_BYTES;
}

WEFT_INLINE int reply_draft(struct weft_ctx *ctx, weft_msg **request_at,
                            const struct weft__draft *draft) {
    if (request_at == NULL || *request_at == NULL) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    weft_msg *request = *request_at;
    if (!weft__is_request(request)) {
        weft_msg_release(ctx, request_at);
        return -EINVAL;
    }
    *request_at = NULL;
    if (weft_unlikely(weft__scope_concerns(ctx, request))) {
        weft__scope_leave(s, ctx, request);
    }
    bool anchored = weft__arena_index(s->messages, request) == ctx->anchor;
    if (anchored) {
        weft_assert(request == s->msg);
        s->msg = NULL; /* stays where it is: the answer gets a cell of its own */
    } else {
        weft__msg_own(s, ctx, request);
    }
    weft_msg *reply = request;
    uint64_t target = request->weft__from;
    uint64_t reference = request->weft__u.weft__r.weft__ref;
    if (reusable(s, ctx, request, draft)) {
        memmove(request->weft__u.weft__r.weft__wide, draft->data, draft->size);
        reply->weft__size = (uint32_t)draft->size;
        reply->weft__tag = draft->tag;
        reply->weft__kind = WEFT_MSG_REPLY;
    } else {
        reply = weft__msg_small(s, ctx, draft);
        int result = weft_likely(reply != NULL) ? 0 : weft__msg_make(s->runtime, s, draft, &reply);
        if (weft_unlikely(result != 0)) {
            weft__answer(s, ctx, request, result);
            return result;
        }
        request->weft__kind = WEFT_MSG_USER; /* it is answered */
        weft__msg_done(s, ctx, request);
    }
    reply->weft__from = weft__from(ctx);
    reply->weft__u.weft__r.weft__ref = reference;
    reply->weft__u.weft__r.weft__value = 0;
    reply->weft__stamp = 0;
    weft_counter_add(&s->counters.messages_sent, 1);
    return reply_posted(s, reply, post_sent(s, target, reply, false));
}

int weft_reply(weft_ctx *ctx, weft_msg **request, uint32_t tag, const void *data, size_t size) {
    struct weft__draft draft = {.data = size == 0 ? "" : data,
                                .size = size,
                                .tag = tag,
                                .kind = WEFT_MSG_REPLY,
                                .wide = true};
    if (draft.data == NULL) {
        weft_msg_release(ctx, request);
        return -EINVAL;
    }
    return reply_draft(ctx, request, &draft);
}

int weft_reply_buf(weft_ctx *ctx, weft_msg **request, uint32_t tag, weft_buf *buf, size_t offset,
                   size_t size) {
    if (!slice_fits(buf, offset, size)) {
        weft_msg_release(ctx, request);
        return -EINVAL;
    }
    struct weft__draft draft = {.data = (char *)buf->data + offset,
                                .size = size,
                                .buf = buf,
                                .tag = tag,
                                .kind = WEFT_MSG_REPLY,
                                .wide = true};
    return reply_draft(ctx, request, &draft);
}

int weft_reply_error(weft_ctx *ctx, weft_msg **request, int status) {
    if (status >= 0) {
        weft_msg_release(ctx, request);
        return -EINVAL;
    }
    if (request == NULL || *request == NULL) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    weft_msg *msg = *request;
    if (!weft__is_request(msg)) {
        weft_msg_release(ctx, request);
        return -EINVAL;
    }
    *request = NULL;
    if (weft__arena_index(s->messages, msg) == ctx->anchor) {
        s->msg = NULL;
    } else {
        weft__msg_own(s, ctx, msg);
    }
    weft__answer(s, ctx, msg, status);
    return 0;
}

/* ---- dead letters -------------------------------------------------------------------------- */

/* A DEAD message with the same payload, or NULL. */
static weft_msg *dead_copy(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg,
                           int reason) {
    struct weft__draft draft = {.data = weft_msg_data(msg),
                                .size = msg->weft__size,
                                .buf = weft_msg_buf(msg),
                                .tag = msg->weft__tag,
                                .kind = WEFT_MSG_DEAD,
                                .wide = true};
    weft_msg *dead;
    if (weft__msg_make(runtime, s, &draft, &dead) != 0) {
        return NULL;
    }
    dead->weft__from = msg->weft__from;
    dead->weft__u.weft__r.weft__ref = 0;
    dead->weft__u.weft__r.weft__value = reason;
    return dead;
}

void weft__dead_letter(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg,
                       int reason) {
    WEFT__COUNT(runtime, s, messages_dead, 1);
    uint64_t target = weft_load64_acquire(&runtime->dead_target);
    if (target != 0 && msg->weft__kind != WEFT_MSG_DEAD) {
        weft_msg *dead = dead_copy(runtime, s, msg, reason);
        if (dead != NULL) {
            int result = s != NULL ? weft__post(s, target, dead, true)
                                   : weft__post_outside(runtime, target, dead, true);
            if (result != 0) {
                weft__msg_free(runtime, s, dead);
            }
        }
    }
    weft__msg_free(runtime, s, msg);
}

int weft_dead_letters(weft_runtime *runtime, weft_pid target) {
    if (runtime == NULL || (!weft_pid_is_none(target) && target.node != runtime->node)) {
        return -EINVAL;
    }
    weft_store64_release(&runtime->dead_target,
                         weft_pid_is_none(target) ? 0 : weft__target(target));
    return 0;
}
