/* SPDX-License-Identifier: MIT
 *
 * Shared immutable buffers, inside view. The reference count is atomic; the free callback runs on
 * whichever thread drops the last reference.
 */
#ifndef WEFT_CORE_BUF_H
#define WEFT_CORE_BUF_H

#include "core/core.h"
#include <weft/msg.h>

struct weft_buf {
    uint32_t magic;
    weft_atomic_u32 references; /* any thread; the last unref owns the buffer */
    struct weft__core *core;
    void *data;
    size_t size;
    bool inlined; /* data is bytes below */
    bool lent;    /* pooled: out with a message; written before it goes and after it is back */
    union {
        weft_buf_free_fn free_fn;
        struct weft_buf *next; /* pooled: in its pool's lists */
    };
    void *cookie;
    /* Set: lent from a pool, which gets it back instead of its memory being freed. Any thread. */
    void (*recycle)(struct weft_buf *buf);
    unsigned char bytes[];
};
_Static_assert(sizeof(struct weft_buf) % 16 == 0, "payload alignment");

struct weft__buf_memory {
    void *data;
    size_t size;
    weft_buf_free_fn free_fn;
    void *cookie;
};

/* Fills the header of a pooled buffer in front of size bytes of memory, with no reference. */
void weft__buf_init_pooled(struct weft__core *core, struct weft_buf *buf, size_t size,
                           void (*recycle)(struct weft_buf *buf), void *cookie);

/* Should a holder of size bytes of buf get a copy? A pool's buffers are few: who keeps at most half
 * of one does not keep it from the pool. */
WEFT_INLINE bool weft__buf_copies(const struct weft_buf *buf, size_t size) {
    return buf->recycle != NULL && size <= buf->size / 2;
}

int weft__buf_create(struct weft__core *core, size_t size, weft_buf **ret_buf);
int weft__buf_wrap(struct weft__core *core, const struct weft__buf_memory *memory,
                   weft_buf **ret_buf);

/* Where the payload of a message begins. */
WEFT_INLINE unsigned char *weft__msg_payload(weft_msg *msg) {
    return (msg->weft__flags & WEFT__MSG_WIDE) != 0 ? msg->weft__u.weft__r.weft__wide
                                                    : msg->weft__u.weft__inline;
}

/* A payload in a buffer: its address and the buffer stand where the payload would. */
struct weft__msg_slice {
    const void *data;
    weft_buf *buf;
};

WEFT_INLINE weft_buf **weft__msg_buf_at(weft_msg *msg) {
    return &((struct weft__msg_slice *)(void *)weft__msg_payload(msg))->buf;
}

#endif
