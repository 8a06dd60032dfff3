/* SPDX-License-Identifier: MIT
 *
 * A lock biased to one thread. The owner (a scheduler) enters and leaves with plain stores, many
 * times a microsecond; a visitor (a peer that rescues what waits behind a stuck handler) pays a
 * heavy barrier and never waits: it gets in at once or not at all.
 *
 * It guards what is private to a scheduler but must stay reachable while it is stuck in a handler:
 * the LIFO slot, the claimed batch and the timer wheel. The owner holds it whenever it is not
 * inside user code.
 *
 * Dekker's argument, with the store buffers emptied by the visitor's heavy barrier: owner stores
 * `inside`, light barrier, loads `visitor`; visitor stores `visitor`, heavy barrier, loads
 * `inside`. At least one of the two sees the other. The owner that sees a visitor steps back and
 * waits, the visitor that sees the owner gives up, so exactly one is in.
 */
#ifndef WEFT_SCHED_BIAS_H
#define WEFT_SCHED_BIAS_H

#include "sched/barrier.h"

struct weft__bias {
    weft_atomic_u32 inside;  /* written by the owner, read by visitors. B1 */
    weft_atomic_u32 visitor; /* swapped by visitors, read by the owner. B2 */
};

/* The rare half of weft__bias_enter. */
WEFT_INLINE void weft__bias_wait(struct weft__bias *bias, const struct weft__barrier *barrier) {
    do {
        weft_store32_release(&bias->inside, 0);
        while (weft_load32_acquire(&bias->visitor) != 0) { /* bounded: visits are */
            weft_pause();
            barrier->env->relax(barrier->env);
        }
        weft_store32_relaxed(&bias->inside, 1); /* B1 */
        weft__barrier_light(barrier);
    } while (weft_load32_acquire(&bias->visitor) != 0); /* pairs with B3 */
}

/* Owner only; does not nest. */
WEFT_INLINE void weft__bias_enter(struct weft__bias *bias, const struct weft__barrier *barrier) {
    weft_store32_relaxed(&bias->inside, 1); /* B1: pairs with the load in weft__bias_visit */
    weft__barrier_light(barrier);
    if (weft_unlikely(weft_load32_acquire(&bias->visitor) != 0)) { /* pairs with B3 */
        weft__bias_wait(bias, barrier);
    }
}

/* Owner only. */
WEFT_INLINE void weft__bias_leave(struct weft__bias *bias) {
    weft_store32_release(&bias->inside, 0); /* B4: publishes what the owner wrote */
}

/* Gets in, or answers false. Any thread but the owner. */
WEFT_INLINE bool weft__bias_visit(struct weft__bias *bias, const struct weft__barrier *barrier) {
    uint32_t nobody = 0;
    if (!weft_cas32_acq_rel(&bias->visitor, &nobody, 1)) { /* B2 */
        return false;
    }
    weft__barrier_heavy(barrier);
    if (weft_load32_acquire(&bias->inside) != 0) { /* pairs with B1 and B4 */
        weft_store32_release(&bias->visitor, 0);
        return false;
    }
    return true;
}

WEFT_INLINE void weft__bias_depart(struct weft__bias *bias) {
    weft_store32_release(&bias->visitor, 0); /* B3: publishes what the visitor wrote */
}

#endif
