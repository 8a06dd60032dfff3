/* SPDX-License-Identifier: MIT
 *
 * Messages as an actor has them: making, taking, holding, releasing. Every message a user owns
 * (taken or created and not sent) is linked into the actor's held list, so that none is lost when
 * it ends. Runs on the actor's scheduler, except weft__msg_make and weft__msg_free without one.
 */
#include "sched/scope.h"
#include <string.h>

static int make_large(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__draft *draft, weft_msg **ret_msg) {
    if (draft->size > runtime->config.message_bytes_max || draft->size > UINT32_MAX) {
        return -EMSGSIZE;
    }
    struct weft__draft slice = *draft;
    if (draft->buf != NULL) {
        slice.buf = draft->lend ? draft->buf : weft_buf_ref(draft->buf);
    } else {
        int result = weft__buf_create(&runtime->core, draft->size, &slice.buf);
        if (result != 0) {
            return result;
        }
        if (draft->data != NULL) {
            memcpy(slice.buf->data, draft->data, draft->size);
        }
        slice.data = slice.buf->data;
    }
    uint32_t class = draft->chained ? 1 : 0; /* a slice takes all of the smallest cell */
    weft_msg *msg = s != NULL ? weft__pool_alloc(&s->pool, class)
                              : weft__pool_alloc_outside(&runtime->shared_pool, class);
    if (msg == NULL) {
        if (!draft->lend) {
            weft_buf_unref(slice.buf);
        }
        return -ENOMEM;
    }
    msg->weft__flags = (uint8_t)(class | WEFT__MSG_BUF | (draft->wide ? WEFT__MSG_WIDE : 0));
    struct weft__msg_slice place = {.data = slice.data, .buf = slice.buf};
    memcpy(weft__msg_payload(msg), &place, sizeof(place));
    *ret_msg = msg;
    return 0;
}

int weft__msg_make(weft_runtime *runtime, struct weft__scheduler *s,
                   const struct weft__draft *draft, weft_msg **ret_msg) {
    size_t header = (draft->wide ? WEFT__WIDE_BYTES : WEFT__HEADER_BYTES) +
                    (size_t)(draft->chained ? WEFT__CHAIN_BYTES : 0);
    struct weft__draft copied;
    weft_msg *msg;
    if (weft_unlikely(draft->buf != NULL && !draft->lend) &&
        weft__buf_copies(draft->buf, draft->size)) {
        copied = *draft;
        copied.buf = NULL;
        draft = &copied;
    }
    if (weft_unlikely(draft->buf != NULL || draft->size > 256 - header)) {
        int result = make_large(runtime, s, draft, &msg);
        if (result != 0) {
            return result;
        }
    } else {
        uint32_t class = weft__class_of(header + draft->size);
        msg = s != NULL ? weft__pool_alloc(&s->pool, class)
                        : weft__pool_alloc_outside(&runtime->shared_pool, class);
        if (weft_unlikely(msg == NULL)) {
            return -ENOMEM;
        }
        msg->weft__flags = (uint8_t)(class | (draft->wide ? WEFT__MSG_WIDE : 0));
        if (draft->data != NULL) {
            weft__copy_payload(weft__msg_payload(msg), draft->data, draft->size);
        }
    }
    msg->weft__kind = draft->kind;
    msg->weft__size = (uint32_t)draft->size;
    msg->weft__tag = draft->tag;
    msg->weft__stamp = 0;
    msg->weft__from = 0;
    *ret_msg = msg;
    return 0;
}

void weft__msg_drop_payload(weft_msg *msg) {
    if (weft_unlikely((msg->weft__flags & WEFT__MSG_BUF) != 0)) {
        weft_buf_unref(*weft__msg_buf_at(msg));
        msg->weft__flags &= (uint8_t)~WEFT__MSG_BUF;
    }
}

/* Drops all that hangs off a message. */
WEFT_INLINE void drop_parts(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg) {
    if (weft_unlikely((msg->weft__flags & (WEFT__MSG_BUF | WEFT__MSG_CHAIN)) != 0)) {
        weft__chain_drop(runtime, s, msg);
        weft__msg_drop_payload(msg);
    }
}

void weft__msg_free(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg) {
    drop_parts(runtime, s, msg);
    if (s != NULL) {
        weft__pool_free(&s->pool, msg);
    } else {
        weft__pool_free_outside(&runtime->shared_pool, msg);
    }
}

void weft__msg_done(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    drop_parts(s->runtime, s, msg);
    if (weft__arena_index(s->messages, msg) != ctx->anchor) {
        weft__pool_free(&s->pool, msg);
    } else if (ctx->batch != 0) {
        ctx->life |= WEFT__LIFE_ANCHOR_DONE;
    }
}

/* Where a message goes when it is added to what waits. */
enum lane {
    LANE_TRACE = 0, /* tracing goes on or off: before all, in the order they came */
    LANE_ENDS = 1,  /* start, stops, exits, bonds: first, among themselves in the order they came */
    LANE_CANCELS = 2, /* together, and before what may wake a process: see scope.h */
    LANE_SIGNALS = 3, /* other signals: next */
    LANE_REST = 4,    /* behind everything */
    LANES = 5,
};

/* An exit that will be trapped is a message, in its order. */
static enum lane lane_of(const weft_msg *msg, bool trap) {
    if ((msg->weft__kind & WEFT__KIND_SIGNAL) == 0) {
        return LANE_REST;
    }
    switch (msg->weft__kind) {
    case WEFT__SIGNAL_EXIT:
        return trap ? LANE_REST : LANE_ENDS;
    case WEFT__SIGNAL_TRACE:
        return LANE_TRACE;
    case WEFT__SIGNAL_START:
    case WEFT__SIGNAL_STOP:
    case WEFT__SIGNAL_KILL:
    case WEFT__SIGNAL_LINK:
    case WEFT__SIGNAL_UNLINK:
    case WEFT__SIGNAL_UNLINKED:
    case WEFT__SIGNAL_MONITOR:
    case WEFT__SIGNAL_DEMONITOR:
        return LANE_ENDS;
    case WEFT__SIGNAL_CANCEL:
        return LANE_CANCELS;
    default:
        return LANE_SIGNALS;
    }
}

/* Splits a batch, each part in the order it was sent. */
static void split_lanes(const struct weft__arena *arena, uint32_t index, bool trap,
                        struct weft__batch lanes[LANES]) {
    while (index != 0) { /* bounded by the batch */
        weft_msg *msg = weft__arena_msg(arena, index);
        struct weft__batch *list = &lanes[lane_of(msg, trap)];
        if (list->first == 0) {
            list->first = index;
        } else {
            weft__arena_msg(arena, list->last)->weft__next = index;
        }
        list->last = index;
        index = msg->weft__next;
        msg->weft__next = 0;
    }
}

/* Puts a list into what waits, at a link of it; returns the link behind. */
static uint32_t *insert(const struct weft__arena *arena, struct weft_ctx *ctx, uint32_t *link,
                        const struct weft__batch *list) {
    if (list->first == 0) {
        return link;
    }
    weft_msg *last = weft__arena_msg(arena, list->last);
    ctx->batch_last = *link == 0 ? list->last : ctx->batch_last;
    last->weft__next = *link;
    *link = list->first;
    return &last->weft__next;
}

/* The link behind what waits in a lane, from a link on. */
static uint32_t *skip(const struct weft__arena *arena, uint32_t *link, enum lane lane, bool trap) {
    while (*link != 0) { /* bounded by such signals that wait */
        weft_msg *msg = weft__arena_msg(arena, *link);
        if (lane_of(msg, trap) != lane) {
            break;
        }
        link = &msg->weft__next;
    }
    return link;
}

/* Adds what was just taken: signals before everything that waits, the rest behind it. Those about
 * ends keep their order also to those that have waited since the last turn: two actors' signals
 * arrive in the order they were sent. */
void weft__batch_add(struct weft__scheduler *s, struct weft_ctx *ctx, struct weft__batch *taken) {
    struct weft__batch lanes[LANES] = {0};
    bool trap = (ctx->life & WEFT__LIFE_TRAP) != 0;
    if (taken->kinds > WEFT_MSG_REQUEST) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_PURE;
    }
    split_lanes(s->messages, taken->first, trap, lanes);
    weft__batch_append(s->messages, ctx, &lanes[LANE_REST]);
    if ((lanes[LANE_TRACE].first | lanes[LANE_ENDS].first | lanes[LANE_CANCELS].first |
         lanes[LANE_SIGNALS].first) == 0) {
        return;
    }
    uint32_t *link = skip(s->messages, &ctx->batch, LANE_TRACE, trap);
    link = insert(s->messages, ctx, link, &lanes[LANE_TRACE]);
    link = skip(s->messages, link, LANE_ENDS, trap);
    link = insert(s->messages, ctx, link, &lanes[LANE_ENDS]);
    link = insert(s->messages, ctx, link, &lanes[LANE_CANCELS]);
    (void)insert(s->messages, ctx, link, &lanes[LANE_SIGNALS]);
}

void weft__unanchor(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t anchor = ctx->anchor;
    uint32_t seq = weft_load32_relaxed(weft__msg_seq(weft__arena_msg(s->messages, anchor)));
    uint32_t next = 0;
    if (ctx->batch != 0) {
        next = ctx->batch_last; /* waits as well, so it can stand in the word: the length stays */
        weft_store32_relaxed(weft__msg_seq(weft__arena_msg(s->messages, next)), seq);
    } else {
        weft_store32_relaxed(&ctx->mailbox.consumed, seq);
    }
    if (weft__mailbox_detach_to(&ctx->mailbox, ctx->gen, anchor, next)) {
        ctx->anchor = next;
        return;
    }
    /* Something lies above it: take that, and its newest is the anchor from now on. */
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, anchor);
    weft_assert(newest != 0);
    struct weft__batch batch = weft__mailbox_reverse(s->messages, newest, anchor);
    weft__batch_add(s, ctx, &batch);
    ctx->anchor = newest;
}

void weft__held_add(struct weft_ctx *ctx, struct weft__scheduler *s, weft_msg *msg) {
    uint32_t index = weft__arena_index(s->messages, msg);
    msg->weft__next = ctx->held;
    weft_store32_relaxed(weft__msg_seq(msg), 0); /* previous: none */
    if (ctx->held != 0) {
        weft_store32_relaxed(weft__msg_seq(weft__arena_msg(s->messages, ctx->held)), index);
    }
    ctx->held = index;
}

static void held_remove(struct weft_ctx *ctx, struct weft__scheduler *s, weft_msg *msg) {
    if (weft_unlikely((ctx->life & WEFT__LIFE_PROCESS) != 0)) {
        weft__process_took(ctx, msg);
    }
    if (weft_unlikely((msg->weft__flags & WEFT__MSG_CHAIN) != 0)) {
        weft__chain_untake(s, ctx, msg);
    }
    uint32_t previous = weft_load32_relaxed(weft__msg_seq(msg));
    if (msg->weft__next != 0) {
        weft_store32_relaxed(weft__msg_seq(weft__arena_msg(s->messages, msg->weft__next)),
                             previous);
    }
    if (previous != 0) {
        weft__arena_msg(s->messages, previous)->weft__next = msg->weft__next;
    } else {
        weft_assert(ctx->held == weft__arena_index(s->messages, msg));
        ctx->held = msg->weft__next;
    }
}

/* The actor keeps a message with a slice of a pooled buffer: a small slice becomes a copy. Without
 * memory for that the buffer stays away a while longer. */
static void settle_payload(struct weft__scheduler *s, weft_msg *msg) {
    struct weft__msg_slice slice;
    memcpy(&slice, weft__msg_payload(msg), sizeof(slice));
    weft_buf *copy;
    if (!weft__buf_copies(slice.buf, msg->weft__size) ||
        weft__buf_create(s->core, msg->weft__size, &copy) != 0) {
        return;
    }
    memcpy(copy->data, slice.data, msg->weft__size);
    weft_buf_unref(slice.buf);
    slice = (struct weft__msg_slice){.data = copy->data, .buf = copy};
    memcpy(weft__msg_payload(msg), &slice, sizeof(slice));
}

void weft__msg_own(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    if (msg != s->msg) {
        held_remove(ctx, s, msg);
        return;
    }
    if (weft_unlikely((msg->weft__flags & WEFT__MSG_BUF) != 0)) {
        settle_payload(s, msg);
    }
    s->msg = NULL;
    if (weft__arena_index(s->messages, msg) == ctx->anchor) {
        weft__unanchor(s, ctx);
    }
}

void weft__msg_release_slow(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg,
                            int status) {
    if (weft_unlikely(weft__is_request(msg))) {
        weft__answer(s, ctx, msg, status);
        return;
    }
    weft__msg_done(s, ctx, msg);
}

weft_msg *weft_msg_take(weft_ctx *ctx, weft_msg *msg) {
    struct weft__scheduler *s = ctx->runner;
    if (msg != NULL && weft__is_request(msg) && weft__scope(s, ctx) == msg) {
        weft__scope_enter(s, ctx, msg); /* it stays the one the actor works for */
    }
    if (msg == NULL || msg != s->msg) {
        weft__process_took(ctx, msg);
        return msg; /* it is the actor's already */
    }
    weft__msg_own(s, ctx, msg);
    weft__held_add(ctx, s, msg);
    if (weft_unlikely((msg->weft__flags & WEFT__MSG_CHAIN) != 0)) {
        ctx->life |= WEFT__LIFE_TAKEN;
    }
    return msg;
}

void weft_msg_release(weft_ctx *ctx, weft_msg **msg) {
    if (msg == NULL || *msg == NULL) {
        return;
    }
    struct weft__scheduler *s = ctx->runner;
    weft_msg *released = *msg;
    *msg = NULL;
    if (released == s->msg) {
        s->msg = NULL;
    } else {
        held_remove(ctx, s, released);
    }
    weft__msg_release(s, ctx, released, WEFT_E_NOREPLY);
}

int weft_msg_create(weft_ctx *ctx, uint32_t tag, size_t size, weft_msg **ret_msg) {
    if (ret_msg == NULL) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    struct weft__draft draft = {.size = size, .tag = tag, .kind = WEFT_MSG_USER};
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    weft__held_add(ctx, s, msg);
    *ret_msg = msg;
    return 0;
}

int weft_buf_create(weft_runtime *runtime, size_t size, weft_buf **ret_buf) {
    if (runtime == NULL || ret_buf == NULL) {
        return -EINVAL;
    }
    return weft__buf_create(&runtime->core, size, ret_buf);
}

int weft_buf_wrap(weft_runtime *runtime, void *data, size_t size, weft_buf_free_fn free_fn,
                  void *cookie, weft_buf **ret_buf) {
    if (runtime == NULL || ret_buf == NULL || (data == NULL && size != 0)) {
        return -EINVAL;
    }
    struct weft__buf_memory memory = {
        .data = data, .size = size, .free_fn = free_fn, .cookie = cookie};
    return weft__buf_wrap(&runtime->core, &memory, ret_buf);
}
