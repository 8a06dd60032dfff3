/* SPDX-License-Identifier: MIT
 *
 * The asymmetric barrier. Two protocols of the scheduler need "my store is visible before my next
 * load" on a path that runs millions of times a second, against a partner that runs rarely: a
 * producer that publishes work and looks for sleepers (idle.h), and an owner that takes its own
 * queue and looks for a thief (bias.h). The frequent side calls weft__barrier_light, which is only
 * a compiler barrier; the rare side calls weft__barrier_heavy, which makes every thread of the
 * process execute a full barrier (membarrier(2), about 140 ns here). Where the environment has
 * none, both sides execute a full barrier of their own.
 */
#ifndef WEFT_SCHED_BARRIER_H
#define WEFT_SCHED_BARRIER_H

#include "core/atomic.h"
#include <weft/env.h>

struct weft__barrier {
    /* const after init */
    weft_env *env;
    bool asymmetric; /* env->heavy_barrier is there */
};

WEFT_INLINE void weft__barrier_init(struct weft__barrier *barrier, weft_env *env) {
    barrier->env = env;
    barrier->asymmetric = env->heavy_barrier != NULL;
}

#ifdef WEFT_EXPLORE

WEFT_INLINE void weft__barrier_light(const struct weft__barrier *barrier) {
    if (barrier->asymmetric) {
        weft_fence_light();
    } else {
        weft_fence_full();
    }
}

WEFT_INLINE void weft__barrier_heavy(const struct weft__barrier *barrier) {
    if (barrier->asymmetric) {
        explore_fence_heavy(); /* empties the store buffers of all threads */
    } else {
        weft_fence_full();
    }
}

#else

WEFT_INLINE void weft__barrier_light(const struct weft__barrier *barrier) {
    if (weft_likely(barrier->asymmetric)) {
        weft_fence_light();
    } else {
        weft_fence_full();
    }
}

WEFT_INLINE void weft__barrier_heavy(const struct weft__barrier *barrier) {
    if (barrier->asymmetric) {
        barrier->env->heavy_barrier(barrier->env);
    } else {
        weft_fence_full();
    }
}

#endif

#endif
