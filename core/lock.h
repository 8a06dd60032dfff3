/* SPDX-License-Identifier: MIT
 *
 * A spinning lock for the slow paths: registries, the overflow queue, the shared pool. Held for
 * well under a microsecond, never across a callback, an allocation or a system call other than a
 * page fault; a waiter lets others run through the environment (sched_yield, or in the simulator
 * a step of another thread). Never taken in a signal handler.
 */
#ifndef WEFT_CORE_LOCK_H
#define WEFT_CORE_LOCK_H

#include "core/atomic.h"
#include <weft/env.h>

struct weft__lock {
    weft_atomic_u32 held; /* L1: a release publishes what the holder wrote */
};

WEFT_INLINE void weft__lock_enter(struct weft__lock *lock, weft_env *env) {
    for (uint32_t spins = 0;; spins++) {
        uint32_t nobody = 0;
        if (weft_load32_relaxed(&lock->held) == 0 &&
            weft_cas32_acq_rel(&lock->held, &nobody, 1)) { /* pairs with L1 */
            return;
        }
        weft_pause();
        if (spins % 64 == 63) {
            env->relax(env);
        }
    }
}

WEFT_INLINE void weft__lock_leave(struct weft__lock *lock) {
    weft_store32_release(&lock->held, 0); /* L1 */
}

#endif
