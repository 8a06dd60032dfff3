/* SPDX-License-Identifier: MIT
 *
 * Receive buffers of one scheduler: pooled weft_bufs that the driver fills and messages carry to
 * handlers. Dropping the last reference brings one home: at once on the scheduler's own thread,
 * else over a lock-free stack the scheduler empties when it needs a buffer.
 *
 * The pool is bounded: total <= 4 rings. At most 2 rings are lent to actors at a time; beyond that
 * what was received is copied and the buffer goes back at once (weft__buffers_may_lend). So
 * however many messages actors keep, the driver finds buffers to receive into.
 */
#ifndef WEFT_IO_BUFFERS_H
#define WEFT_IO_BUFFERS_H

#include "core/atomic.h"
#include "core/buf.h"

struct weft__scheduler;

struct weft__buffers {
    /* const after init */
    struct weft__core *core;
    const struct weft__scheduler *home;
    size_t size;
    uint32_t total_max;
    uint32_t lent_max;
    /* owner only */
    weft_buf *free; /* linked through next */
    uint32_t free_count;
    uint32_t total;
    /* any thread */
    weft_atomic_u64 returns; /* stack of weft_buf that came home from elsewhere. I1 */
    weft_atomic_u32 out;     /* lent to messages and not home yet; owner adds, any thread takes
                                away; advisory: decides whether to copy */
};

void weft__buffers_init(struct weft__buffers *buffers, const struct weft__scheduler *home,
                        struct weft__core *core, size_t size, uint32_t ring_count);
/* All must be home but those that still have references, which free themselves. */
void weft__buffers_fini(struct weft__buffers *buffers);

/* A buffer with one reference [out], or NULL: the bound is reached, or no memory. Owner only. */
weft_buf *weft__buffers_take(struct weft__buffers *buffers);
/* May one more buffer go out to an actor? Owner only. */
bool weft__buffers_may_lend(const struct weft__buffers *buffers);
/* It does. Owner only. */
void weft__buffers_lent(struct weft__buffers *buffers, weft_buf *buf);

#endif
