/* SPDX-License-Identifier: MIT
 *
 * Messages and shared buffers.
 *
 * Ownership, in three words used throughout the headers:
 *   [take]   the callee owns it from here on, also when it returns an error;
 *   [borrow] the caller keeps it, the callee may look at it during the call;
 *   [out]    the caller owns what it gets.
 * A handler borrows the message it is given; the runtime releases it after the handler returns,
 * unless the handler took it with weft_msg_take(), forwarded it or replied to it. A request that
 * is released without an answer is answered WEFT_E_NOREPLY, so no caller waits for nothing.
 *
 * Stability: stable; the fields of struct weft_msg are for the accessors below only.
 */
#ifndef WEFT_MSG_H
#define WEFT_MSG_H

#include <weft/defs.h>
#include <weft/pid.h>

WEFT_BEGIN_DECLS

enum weft_msg_kind {
    WEFT_MSG_USER = 0,    /* weft_send and its relatives */
    WEFT_MSG_REQUEST = 1, /* weft_call: answer with weft_reply */
    WEFT_MSG_REPLY = 2,   /* the outcome of a weft_call of this actor: token, status, payload */
    WEFT_MSG_TIMER = 3,   /* a timer of this actor fired */
    WEFT_MSG_READY = 4,   /* sender's mailbox, full before, is at its low-water mark, or gone */
    WEFT_MSG_DONE = 5,    /* the outcome of a weft_blocking of this actor: token, status */
    WEFT_MSG_DEAD = 6,    /* a dead letter, for the subscriber: see weft_dead_letters */
    WEFT_MSG_IO = 7,      /* something happened to this actor's stream, socket or file; the tag
                             says what: enum weft_io_event */
    WEFT_MSG_EXIT = 8,    /* a linked actor has ended, or an exit signal came, and this actor traps
                             exits: see weft/link.h */
    WEFT_MSG_DOWN = 9,    /* a monitored actor has ended: token, sender, status */
    WEFT_MSG_UP = 10,     /* an actor spawned with WEFT_SPAWN_REPORT has started: sender, token */
};

/* Internal layout, 64-byte aligned: 32 bytes of header, then either the payload or, with
 * WEFT__MSG_WIDE, 16 bytes of request data and then the payload. Use the accessors. */
struct weft_msg {
    uint32_t weft__next;
    uint32_t weft__seq;
    uint32_t weft__stamp;
    uint8_t weft__kind;
    uint8_t weft__flags;
    uint16_t weft__owner;
    uint32_t weft__size;
    uint32_t weft__tag;
    uint64_t weft__from;
    union {
        unsigned char weft__inline[32];
        struct {
            uint64_t weft__ref;  /* request: reference; reply, done: the caller's token */
            int64_t weft__value; /* request: deadline; reply, done: the status */
            unsigned char weft__wide[16];
        } weft__r;
        struct {
            const void *weft__data;
            weft_buf *weft__buf;
        } weft__b;
    } weft__u;
};

enum { WEFT__MSG_WIDE = 0x10, WEFT__MSG_BUF = 0x20 };

/* What the message is: enum weft_msg_kind. */
static inline enum weft_msg_kind weft_msg_kind(const weft_msg *msg) {
    return (enum weft_msg_kind)msg->weft__kind;
}

/* The tag the sender gave. A reply carries the tag given to weft_reply. */
static inline uint32_t weft_msg_tag(const weft_msg *msg) {
    return msg->weft__tag;
}

/* Payload size in bytes. */
static inline size_t weft_msg_size(const weft_msg *msg) {
    return msg->weft__size;
}

/* The payload; aligned to 16 unless it is a slice of a shared buffer. Never NULL for a size
 * above 0. */
static inline const void *weft_msg_data(const weft_msg *msg) {
    const unsigned char *at = (msg->weft__flags & WEFT__MSG_WIDE) != 0
                                  ? msg->weft__u.weft__r.weft__wide
                                  : msg->weft__u.weft__inline;
    if ((msg->weft__flags & WEFT__MSG_BUF) != 0) {
        return *(const void *const *)(const void *)at;
    }
    return at;
}

/* The payload for writing: only for a message from weft_msg_create that was not sent yet. */
static inline void *weft_msg_body(weft_msg *msg) {
    return (void *)(uintptr_t)weft_msg_data(msg);
}

/* REPLY, DONE, TIMER, DOWN, UP, IO of a file: the token the actor gave to weft_call, weft_blocking,
 * the timer, weft_monitor, weft_spawn_with or the file operation. */
static inline uint64_t weft_msg_token(const weft_msg *msg) {
    return msg->weft__u.weft__r.weft__ref;
}

/* REPLY: 0, or why there is no answer (-ETIMEDOUT, WEFT_E_NOPROC, WEFT_E_NOREPLY, or what the
 * callee gave to weft_reply_error). DONE: what the function returned, or why it was not run.
 * DEAD: why it was not delivered. IO: 0, or why, or what a file operation has moved. EXIT, DOWN: the
 * code of the reason. */
static inline int weft_msg_status(const weft_msg *msg) {
    return (int)msg->weft__u.weft__r.weft__value;
}

/* Shared buffer of the payload, [borrow], or NULL for an inline payload. */
WEFT_API weft_buf *weft_msg_buf(const weft_msg *msg);

/* ---- shared buffers ------------------------------------------------------------------------ */

/* Called once when the last reference goes, on any thread, possibly a scheduler's: it must not
 * block. */
typedef void (*weft_buf_free_fn)(void *data, size_t size, void *cookie);

/* A new buffer of size bytes, one reference [out], contents undefined. Fill it through
 * weft_buf_data before the first send; after that it is immutable. Errors: -ENOMEM, -EINVAL.
 * Any thread. */
WEFT_API WEFT_MUSTUSE int weft_buf_create(weft_runtime *runtime, size_t size, weft_buf **ret_buf);

/* Wraps memory of the caller's [take]; free_fn may be NULL for static memory. On error nothing is
 * taken. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_buf_wrap(weft_runtime *runtime, void *data, size_t size,
                                        weft_buf_free_fn free_fn, void *cookie, weft_buf **ret_buf);

WEFT_API void *weft_buf_data(weft_buf *buf);
WEFT_API size_t weft_buf_size(const weft_buf *buf);
/* One more reference. Any thread. */
WEFT_API weft_buf *weft_buf_ref(weft_buf *buf);
/* Drops a reference [take]; NULL is allowed. Any thread. */
WEFT_API void weft_buf_unref(weft_buf *buf);

WEFT_END_DECLS

#endif
