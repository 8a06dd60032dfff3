/* SPDX-License-Identifier: MIT
 *
 * Shared immutable buffers: the payload of large messages. See weft/msg.h.
 */
#include "core/buf.h"
#include <errno.h>
#include <string.h>

enum { MAGIC = 0x62756621 };

static struct weft_buf *buf_new(struct weft__core *core, size_t inline_size) {
    struct weft_buf *buf = weft__alloc(core, sizeof(*buf) + inline_size, "buffer");
    if (buf == NULL) {
        return NULL;
    }
    buf->magic = MAGIC;
    buf->core = core;
    weft_store32_relaxed(&buf->references, 1);
    (void)weft_add64_acq_rel(&core->buffers, 1);
    return buf;
}

int weft__buf_create(struct weft__core *core, size_t size, weft_buf **ret_buf) {
    if (size > SIZE_MAX / 2) {
        return -EMSGSIZE;
    }
    struct weft_buf *buf = buf_new(core, size);
    if (buf == NULL) {
        return -ENOMEM;
    }
    buf->data = buf->bytes;
    buf->size = size;
    buf->inlined = true;
    *ret_buf = buf;
    return 0;
}

void weft__buf_init_pooled(struct weft__core *core, struct weft_buf *buf, size_t size,
                           void (*recycle)(struct weft_buf *buf), void *cookie) {
    buf->magic = MAGIC;
    buf->core = core;
    buf->data = buf->bytes;
    buf->size = size;
    buf->inlined = true;
    buf->recycle = recycle;
    buf->cookie = cookie;
    weft_store32_relaxed(&buf->references, 0);
}

int weft__buf_wrap(struct weft__core *core, const struct weft__buf_memory *memory,
                   weft_buf **ret_buf) {
    struct weft_buf *buf = buf_new(core, 0);
    if (buf == NULL) {
        return -ENOMEM;
    }
    buf->data = memory->data;
    buf->size = memory->size;
    buf->free_fn = memory->free_fn;
    buf->cookie = memory->cookie;
    *ret_buf = buf;
    return 0;
}

void *weft_buf_data(weft_buf *buf) {
    return buf->data;
}

size_t weft_buf_size(const weft_buf *buf) {
    return buf->size;
}

weft_buf *weft_buf_ref(weft_buf *buf) {
    weft_assert(buf->magic == MAGIC);
    uint32_t before = weft_add32_acq_rel(&buf->references, 1);
    weft_assert(before != 0);
    weft_assert(before != UINT32_MAX);
    return buf;
}

void weft_buf_unref(weft_buf *buf) {
    if (buf == NULL) {
        return;
    }
    weft_assert(buf->magic == MAGIC);
    uint32_t before = weft_add32_acq_rel(&buf->references, UINT32_MAX);
    weft_assert(before != 0);
    if (before != 1) {
        return;
    }
    if (buf->recycle != NULL) {
        buf->recycle(buf);
        return;
    }
    if (buf->free_fn != NULL) {
        buf->free_fn(buf->data, buf->size, buf->cookie);
    }
    struct weft__core *core = buf->core;
    buf->magic = 0;
    (void)weft_add64_acq_rel(&core->buffers, (uint64_t)-1);
    weft__free(core, buf, sizeof(*buf) + (buf->inlined ? buf->size : 0), "buffer");
}

weft_buf *weft_msg_buf(const weft_msg *msg) {
    if ((msg->weft__flags & WEFT__MSG_BUF) == 0) {
        return NULL;
    }
    return *weft__msg_buf_at((weft_msg *)(uintptr_t)msg);
}
