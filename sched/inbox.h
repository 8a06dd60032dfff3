/* SPDX-License-Identifier: MIT
 *
 * The inbox of one scheduler: actors that other threads want to run there (pinned ones, wakes from
 * outside). A stack of slot indices, linked through a word of the slot; any thread pushes, the
 * scheduler takes everything at once, so there is no ABA. A slot is in at most one queue
 * (mailbox.h, I1), so its link has one writer.
 *
 * The owner looks once a step. Whoever pushes an actor that shall not wait for so long raises a flag
 * afterwards, which the owner sees after the turn it is in. The flag is not in here: the owner looks
 * at it after every turn, and this line is somebody else's after every push.
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

/* After a push: the owner shall look soon. A flag that stands is of somebody for whom the owner has
 * yet to look. Any thread. */
WEFT_INLINE void weft__inbox_hurry(weft_atomic_u32 *hurry) {
    if (weft_load32_relaxed(hurry) == 0) { /* if it is cleared after our push, we see that: N1 */
        weft_store32_release(hurry, 1);    /* N2: the push comes before it */
    }
}

/* Lowers the flag, then takes all. An exchange, without looking first: who pushes after it reads
 * what it wrote, so he sees the flag lowered and raises it again; whose push was before is served.
 * Owner only. */
WEFT_INLINE uint32_t weft__inbox_take_hurried(struct weft__inbox *inbox, weft_atomic_u32 *hurry) {
    weft_store32_relaxed(hurry, 0);
    return weft_exchange32_acq_rel(&inbox->head, 0); /* pairs with N1, both ways */
}

WEFT_INLINE bool weft__inbox_empty(const struct weft__inbox *inbox) {
    return weft_load32_acquire(&inbox->head) == 0;
}

#endif
