/* SPDX-License-Identifier: MIT
 *
 * The inbox of one scheduler: actors that other threads want to run there (pinned ones, wakes from
 * outside). A stack of slot indices, linked through a word of the slot; any thread pushes, the
 * scheduler takes everything at once, so there is no ABA. A slot is in at most one queue
 * (mailbox.h, I1), so its link has one writer.
 */
#ifndef WEFT_SCHED_INBOX_H
#define WEFT_SCHED_INBOX_H

#include "core/atomic.h"

struct weft__inbox {
    weft_atomic_u32 head; /* any thread. N1: a push publishes its slot's link */
};

/* link is the word of slot index that the list goes through. Any thread. */
WEFT_INLINE void weft__inbox_push(struct weft__inbox *inbox, uint32_t index,
                                  weft_atomic_u32 *link) {
    uint32_t head = weft_load32_relaxed(&inbox->head);
    do {
        weft_store32_relaxed(link, head);
    } while (!weft_cas32_acq_rel(&inbox->head, &head, index)); /* N1 */
}

/* Takes all, newest first; 0: none. Any thread. */
WEFT_INLINE uint32_t weft__inbox_take(struct weft__inbox *inbox) {
    if (weft_load32_relaxed(&inbox->head) == 0) { /* advisory: looked at again before sleeping */
        return 0;
    }
    return weft_exchange32_acq_rel(&inbox->head, 0); /* pairs with N1 */
}

WEFT_INLINE bool weft__inbox_empty(const struct weft__inbox *inbox) {
    return weft_load32_acquire(&inbox->head) == 0;
}

#endif
