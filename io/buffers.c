/* SPDX-License-Identifier: MIT
 *
 * Pooled receive buffers: see io/buffers.h.
 */
#include "io/buffers.h"
#include "sched/scheduler.h"

static const char tag[] = "receive buffer";

/* The last reference is gone; on whichever thread. */
static void recycle(struct weft_buf *buf) {
    struct weft__buffers *buffers = buf->cookie;
    bool lent = buf->lent;
    buf->lent = false;
    if (weft__scheduler_current() == buffers->home) {
        buf->next = buffers->free;
        buffers->free = buf;
        buffers->free_count++;
    } else {
        /* I1: publishes the buffer as free; pairs with the exchange in collect. A buffer is pushed
         * by the one thread that dropped it and taken all at once, so there is no ABA. */
        uint64_t head = weft_load64_relaxed(&buffers->returns);
        do {
            buf->next = (struct weft_buf *)(uintptr_t)head;
        } while (!weft_cas64_acq_rel(&buffers->returns, &head, (uintptr_t)buf));
    }
    if (lent) {
        struct weft__core *core = buffers->core;
        (void)weft_add32_acq_rel(&buffers->out, UINT32_MAX);
        (void)weft_add64_acq_rel(&core->buffers,
                                 (uint64_t)-1); /* the runtime may go from here on */
    }
}

static void collect(struct weft__buffers *buffers) {
    struct weft_buf *buf =
        (struct weft_buf *)(uintptr_t)weft_exchange64_acq_rel(&buffers->returns, 0); /* I1 */
    while (buf != NULL) { /* bounded by the pool */
        struct weft_buf *next = buf->next;
        buf->next = buffers->free;
        buffers->free = buf;
        buffers->free_count++;
        buf = next;
    }
}

void weft__buffers_init(struct weft__buffers *buffers, const struct weft__scheduler *home,
                        struct weft__core *core, size_t size, uint32_t ring_count) {
    *buffers = (struct weft__buffers){.core = core,
                                      .home = home,
                                      .size = size,
                                      .total_max = 4 * ring_count,
                                      .lent_max = 2 * ring_count};
}

void weft__buffers_fini(struct weft__buffers *buffers) {
    collect(buffers);
    while (buffers->free != NULL) { /* bounded by the pool */
        struct weft_buf *buf = buffers->free;
        buffers->free = buf->next;
        buffers->free_count--;
        buffers->total--;
        weft__free(buffers->core, buf, sizeof(*buf) + buffers->size, tag);
    }
    weft_assert(buffers->total == 0); /* the runtime is not destroyed while one is out */
}

weft_buf *weft__buffers_take(struct weft__buffers *buffers) {
    if (weft_unlikely(buffers->free == NULL) && weft_load64_relaxed(&buffers->returns) != 0) {
        collect(buffers);
    }
    struct weft_buf *buf = buffers->free;
    if (weft_likely(buf != NULL)) {
        buffers->free = buf->next;
        buffers->free_count--;
    } else {
        if (buffers->total >= buffers->total_max) {
            return NULL;
        }
        buf = weft__alloc(buffers->core, sizeof(*buf) + buffers->size, tag);
        if (buf == NULL) {
            return NULL;
        }
        weft__buf_init_pooled(buffers->core, buf, buffers->size, recycle, buffers);
        buffers->total++;
    }
    weft_store32_relaxed(&buf->references, 1);
    return buf;
}

bool weft__buffers_may_lend(const struct weft__buffers *buffers) {
    return weft_load32_relaxed(&buffers->out) < buffers->lent_max;
}

void weft__buffers_lent(struct weft__buffers *buffers, weft_buf *buf) {
    buf->lent = true;
    (void)weft_add32_acq_rel(&buffers->out, 1);
    (void)weft_add64_acq_rel(&buffers->core->buffers, 1);
}
