/* SPDX-License-Identifier: MIT
 *
 * Who sleeps, who searches. A scheduler without work searches for a while, announces itself as a
 * sleeper, looks once more, and parks in its driver. Whoever publishes work wakes one sleeper if
 * nobody is searching; so a burst of work costs one wake-up, and the woken one, which counts as a
 * searcher from the moment it was claimed, wakes the next if it finds some.
 *
 * No wake is lost:
 *  - producer: publish; light barrier; load searching and sleepers.
 *  - sleeper: set bit (and leave searching); heavy barrier; look at all queues.
 * Either the sleeper sees the work or the producer sees the sleeper. The bit is cleared by exactly
 * one thread: a waker (which then owes a driver wake) or the sleeper itself on second thoughts.
 *  - producer that sees a searcher: full barrier; load searching once more.
 *  - searcher that found something and was the last: leave searching (a full barrier); look whether
 *    there is more work and, if so, claim a sleeper for it.
 * Either the searcher sees the work or the producer sees that nobody searches. So work published
 * while "somebody searches" is covered by that somebody.
 *
 * A scheduler whose last steals were not worth their while naps instead of sleeping: for a bounded
 * time only work of its own, or a producer with a long queue, wakes it (weft__idle_nap).
 */
#ifndef WEFT_SCHED_IDLE_H
#define WEFT_SCHED_IDLE_H

#include "sched/barrier.h"

enum { WEFT__IDLE_WORDS = 4 }; /* 256 schedulers */

struct weft__idle {
    /* const after init */
    struct weft__barrier barrier;
    uint32_t words;
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u32 searching; /* how many search. P1 */
    weft_atomic_u64 sleepers[WEFT__IDLE_WORDS];        /* a bit per sleeping scheduler. P2 */
    weft_atomic_u64 nappers[WEFT__IDLE_WORDS];         /* a bit per napping one. P2 */
};

WEFT_INLINE void weft__idle_init(struct weft__idle *idle, weft_env *env, uint32_t schedulers) {
    weft__barrier_init(&idle->barrier, env);
    idle->words = (schedulers + 63) / 64;
    weft_store32_relaxed(&idle->searching, 0);
    for (uint32_t i = 0; i < WEFT__IDLE_WORDS; i++) {
        weft_store64_relaxed(&idle->sleepers[i], 0);
        weft_store64_relaxed(&idle->nappers[i], 0);
    }
}

/* Starts to search if fewer than limit do. Scheduler only. */
WEFT_INLINE bool weft__idle_search(struct weft__idle *idle, uint32_t limit) {
    uint32_t now = weft_load32_relaxed(&idle->searching); /* advisory */
    if (now >= limit) {
        return false;
    }
    (void)weft_add32_acq_rel(&idle->searching, 1);
    return true;
}

/* Stops to search after having found something. True: it was the last one, the caller must look
 * whether there is more work and, if so, weft__idle_claim. Scheduler only. */
WEFT_INLINE bool weft__idle_found(struct weft__idle *idle) {
    if (weft_add32_acq_rel(&idle->searching, UINT32_MAX) != 1) { /* P1 */
        return false;
    }
    weft_fence_full(); /* pairs with the one in weft__idle_published */
    return true;
}

/* Announces that id (from 0) is about to sleep; searching says whether it counts as a searcher,
 * which ends. The caller must then look at all queues once more. Scheduler only. */
WEFT_INLINE void weft__idle_announce(struct weft__idle *idle, uint32_t id, bool searching) {
    (void)weft_or64_acq_rel(&idle->sleepers[id / 64], (uint64_t)1 << (id % 64)); /* P2 */
    if (searching) {
        (void)weft_add32_acq_rel(&idle->searching, UINT32_MAX); /* P1 */
    }
    weft__barrier_heavy(&idle->barrier);
}

/* The same for a nap. */
WEFT_INLINE void weft__idle_nap(struct weft__idle *idle, uint32_t id, bool searching) {
    (void)weft_or64_acq_rel(&idle->nappers[id / 64], (uint64_t)1 << (id % 64)); /* P2 */
    if (searching) {
        (void)weft_add32_acq_rel(&idle->searching, UINT32_MAX); /* P1 */
    }
    weft__barrier_heavy(&idle->barrier);
}

/* Clears id's bit in one of the two sets; false: it was not set. */
WEFT_INLINE bool weft__idle_clear(weft_atomic_u64 *set, uint32_t id) {
    uint64_t bit = (uint64_t)1 << (id % 64);
    return (weft_load64_acquire(&set[id / 64]) & bit) != 0 &&
           (weft_and64_acq_rel(&set[id / 64], ~bit) & bit) != 0;
}

/* Takes the announcement or the nap back. False: a waker was faster; its driver wake comes, and
 * the caller counts as a searcher. True: nobody else answers for what the caller saw waiting; it
 * must do that work, or search again. Scheduler only. */
WEFT_INLINE bool weft__idle_retract(struct weft__idle *idle, uint32_t id) {
    return weft__idle_clear(idle->sleepers, id) || weft__idle_clear(idle->nappers, id);
}

/* Is the announcement or nap still standing? False: a waker has claimed id. */
WEFT_INLINE bool weft__idle_announced(const struct weft__idle *idle, uint32_t id) {
    uint64_t bits = weft_load64_acquire(&idle->sleepers[id / 64]) |
                    weft_load64_acquire(&idle->nappers[id / 64]);
    return (bits >> (id % 64) & 1) != 0;
}

/* One try to claim id. The searcher is counted before the bit is cleared, never after, so that the
 * count is never too low for one who is awake already. When the try fails the count was too high
 * for a moment: if that moment hid the only "searcher", *ret_again says that a producer may have
 * relied on it, and the caller must look for a sleeper once more. */
WEFT_INLINE bool weft__idle_try(struct weft__idle *idle, uint32_t id, bool *ret_again) {
    (void)weft_add32_acq_rel(&idle->searching, 1);
    if (weft__idle_retract(idle, id)) {
        return true;
    }
    if (weft_add32_acq_rel(&idle->searching, UINT32_MAX) == 1) {
        *ret_again = true;
    }
    return false;
}

/* One pass of weft__idle_claim over one set. */
WEFT_INLINE int weft__idle_claim_set(struct weft__idle *idle, weft_atomic_u64 *set,
                                     bool *ret_again) {
    for (uint32_t i = 0; i < idle->words; i++) {
        uint64_t bits = weft_load64_acquire(&set[i]);
        while (bits != 0) {
            uint32_t id = i * 64 + (uint32_t)__builtin_ctzll(bits);
            if (weft__idle_try(idle, id, ret_again)) {
                return (int)id;
            }
            bits &= bits - 1;
        }
    }
    return -1;
}

/* Claims any sleeper, or answers -1: the caller owes the claimed one a driver wake, and it counts
 * as a searcher. Repeats only when somebody else changed the set meanwhile. */
WEFT_INLINE int weft__idle_claim(struct weft__idle *idle) {
    bool again;
    do {
        again = false;
        int id = weft__idle_claim_set(idle, idle->sleepers, &again);
        if (id >= 0) {
            return id;
        }
    } while (again);
    return -1;
}

/* The same among those who nap: for a producer with more work than it can do soon. */
WEFT_INLINE int weft__idle_claim_napper(struct weft__idle *idle) {
    bool again = false;
    int id = weft__idle_claim_set(idle, idle->nappers, &again);
    return id < 0 && again ? weft__idle_claim(idle) : id;
}

/* After publishing work that any scheduler may take: claims a sleeper if nobody searches, or
 * answers -1. Any thread. */
WEFT_INLINE int weft__idle_published(struct weft__idle *idle) {
    weft__barrier_light(&idle->barrier); /* work before searching and sleepers; pairs with P1, P2 */
#ifdef WEFT_PLANT_LOST_WAKE
    return -1;
#else
    if (weft_unlikely(weft_load32_acquire(&idle->searching) != 0)) {
        weft_fence_full(); /* pairs with the one in weft__idle_found */
        if (weft_load32_acquire(&idle->searching) != 0) {
            return -1;
        }
    }
    return weft__idle_claim(idle);
#endif
}

/* After publishing work that only scheduler id may take: claims it if it sleeps (or, rarely,
 * another one: see weft__idle_try), or answers -1. Any thread. */
WEFT_INLINE int weft__idle_published_to(struct weft__idle *idle, uint32_t id) {
    weft__barrier_light(&idle->barrier);
    if (!weft__idle_announced(idle, id)) {
        return -1;
    }
    bool again = false;
    if (weft__idle_try(idle, id, &again)) {
        return (int)id;
    }
    return again ? weft__idle_claim(idle) : -1;
}

#endif
