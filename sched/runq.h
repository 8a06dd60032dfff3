/* SPDX-License-Identifier: MIT
 *
 * The run queue of one scheduler: a ring of slot indices with one producer (its owner) and any
 * number of consumers. Both ends take from the head; the owner takes a few at once, so that its
 * compare-and-swap is shared by them, thieves take half.
 *
 * A consumer reads the entries first and then moves head with a compare-and-swap. Entries between
 * head and tail do not change while head stands still, because the owner only writes at tail and
 * refuses to lap head; so when the swap succeeds, what was read was valid. head counts in 64 bits
 * and never repeats: no ABA.
 */
#ifndef WEFT_SCHED_RUNQ_H
#define WEFT_SCHED_RUNQ_H

#include "core/atomic.h"

struct weft__runq {
    /* const after init */
    weft_atomic_u32 *entries;
    uint64_t mask;
    /* owning scheduler only writes */
    alignas(WEFT_CACHELINE) weft_atomic_u64 tail; /* read by thieves. R1: publishes entries */
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u64 head; /* consumers swap it forward. R2 */
};

WEFT_INLINE void weft__runq_init(struct weft__runq *queue, weft_atomic_u32 *entries,
                                 uint32_t size) {
    queue->entries = entries;
    queue->mask = size - 1;
    weft_store64_relaxed(&queue->tail, 0);
    weft_store64_relaxed(&queue->head, 0);
}

/* Appends one. False: full. Owner only. */
WEFT_INLINE bool weft__runq_push_owner(struct weft__runq *queue, uint32_t entry) {
    uint64_t tail = weft_load64_relaxed(&queue->tail); /* owner-only */
    /* pairs with R2: a consumer has read an entry before we write over it */
    if (weft_unlikely(tail - weft_load64_acquire(&queue->head) > queue->mask)) {
        return false;
    }
    weft_store32_relaxed(&queue->entries[tail & queue->mask], entry);
    weft_store64_release(&queue->tail, tail + 1); /* R1 */
    return true;
}

/* Takes up to max of the oldest, at most half of what is there (rounded up) when halve. Returns
 * how many; 0: empty, or another consumer was faster. */
WEFT_INLINE uint32_t weft__runq_take(struct weft__runq *queue, uint32_t *ret_entries, uint32_t max,
                                     bool halve) {
    uint64_t head = weft_load64_acquire(&queue->head);
    uint64_t tail = weft_load64_acquire(&queue->tail); /* pairs with R1 */
    uint64_t count = tail - head;
    if (count == 0 || count > queue->mask + 1) {
        return 0; /* the second: head is older than tail, the swap would fail */
    }
    if (halve) {
        count = (count + 1) / 2;
    }
    if (count > max) {
        count = max;
    }
    for (uint64_t i = 0; i < count; i++) {
        ret_entries[i] = weft_load32_relaxed(&queue->entries[(head + i) & queue->mask]);
    }
    if (!weft_cas64_acq_rel(&queue->head, &head, head + count)) { /* R2 */
        return 0;
    }
    return (uint32_t)count;
}

/* Takes up to max for its owner: retries until it has some or the ring is empty. Each retry means
 * that a thief took some, so the loop ends. Owner only. */
WEFT_INLINE uint32_t weft__runq_pop_owner(struct weft__runq *queue, uint32_t *ret_entries,
                                          uint32_t max) {
    for (;;) {
        if (weft_load64_relaxed(&queue->tail) == weft_load64_relaxed(&queue->head)) {
            return 0;
        }
        uint32_t count = weft__runq_take(queue, ret_entries, max, false);
        if (weft_likely(count != 0)) {
            return count;
        }
    }
}

/* Takes half for a thief; one try. Any thread. */
WEFT_INLINE uint32_t weft__runq_steal_any(struct weft__runq *queue, uint32_t *ret_entries,
                                          uint32_t max) {
    return weft__runq_take(queue, ret_entries, max, true);
}

/* Advisory. Any thread. */
WEFT_INLINE uint32_t weft__runq_length(const struct weft__runq *queue) {
    uint64_t head = weft_load64_relaxed(&queue->head);
    uint64_t tail = weft_load64_acquire(&queue->tail); /* pairs with R1 */
    return tail > head ? (uint32_t)(tail - head) : 0;
}

#endif
