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
    size_t inline_size;
    weft_buf_free_fn free_fn;
    void *cookie;
    uint64_t pad; /* bytes start at a multiple of 16 */
    unsigned char bytes[];
};
_Static_assert(sizeof(struct weft_buf) % 16 == 0, "payload alignment");

struct weft__buf_memory {
    void *data;
    size_t size;
    weft_buf_free_fn free_fn;
    void *cookie;
};

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
