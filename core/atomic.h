/* SPDX-License-Identifier: MIT
 *
 * The only atomics of the library: typed, with the memory order in the name. They stand on
 * Concurrency Kit's ck_pr in production, on compiler builtins under ThreadSanitizer (which does
 * not see into ck_pr's assembly), and on a yielding shim (WEFT_EXPLORE, tests/model/) when the
 * explorer runs a protocol through every interleaving.
 *
 * Orders: _relaxed, _acquire (load), _release (store), _acq_rel for read-modify-write. There is no
 * sequentially consistent access. Where a store must be seen before a later load (sleep against
 * wake, owner against thief) one side uses weft_fence_light and the rare side a heavy barrier that
 * makes every thread execute a full one: see sched/barrier.h.
 */
#ifndef WEFT_CORE_ATOMIC_H
#define WEFT_CORE_ATOMIC_H

#include "core/defs.h"

typedef struct weft_atomic_u32 {
    uint32_t raw;
} weft_atomic_u32;
typedef struct weft_atomic_u64 {
    uint64_t raw;
} weft_atomic_u64;

#if defined(WEFT_EXPLORE)

#include "tests/model/explore_atomic.h"

#else

#if defined(__SANITIZE_THREAD__)
#define WEFT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#endif

#if defined(WEFT_TSAN) || !(defined(__x86_64__) || defined(__aarch64__))

#define WEFT__ATOMIC(BITS)                                                                         \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_relaxed(const weft_atomic_u##BITS *at) {          \
        return __atomic_load_n(&at->raw, __ATOMIC_RELAXED);                                        \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_acquire(const weft_atomic_u##BITS *at) {          \
        return __atomic_load_n(&at->raw, __ATOMIC_ACQUIRE);                                        \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_relaxed(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        __atomic_store_n(&at->raw, value, __ATOMIC_RELAXED);                                       \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_release(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        __atomic_store_n(&at->raw, value, __ATOMIC_RELEASE);                                       \
    }                                                                                              \
    WEFT_INLINE bool weft_cas##BITS##_acq_rel(weft_atomic_u##BITS *at, uint##BITS##_t *expected,   \
                                              uint##BITS##_t desired) {                            \
        return __atomic_compare_exchange_n(&at->raw, expected, desired, false, __ATOMIC_ACQ_REL,   \
                                           __ATOMIC_ACQUIRE);                                      \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_exchange##BITS##_acq_rel(weft_atomic_u##BITS *at,              \
                                                             uint##BITS##_t value) {               \
        return __atomic_exchange_n(&at->raw, value, __ATOMIC_ACQ_REL);                             \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_add##BITS##_acq_rel(weft_atomic_u##BITS *at,                   \
                                                        uint##BITS##_t value) {                    \
        return __atomic_fetch_add(&at->raw, value, __ATOMIC_ACQ_REL);                              \
    }

WEFT__ATOMIC(32)
WEFT__ATOMIC(64)
#undef WEFT__ATOMIC

WEFT_INLINE uint64_t weft_or64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    return __atomic_fetch_or(&at->raw, bits, __ATOMIC_ACQ_REL);
}
WEFT_INLINE uint64_t weft_and64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    return __atomic_fetch_and(&at->raw, bits, __ATOMIC_ACQ_REL);
}

#else

#include <ck_pr.h>

/* ck_pr loads and stores are plain moves with a compiler barrier only where a fence is named. On
 * x86 (TSO) the fences below are compiler barriers; on aarch64 they are dmb instructions. */
#define WEFT__ATOMIC(BITS)                                                                         \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_relaxed(const weft_atomic_u##BITS *at) {          \
        return ck_pr_load_##BITS(&at->raw);                                                        \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_acquire(const weft_atomic_u##BITS *at) {          \
        uint##BITS##_t value = ck_pr_load_##BITS(&at->raw);                                        \
        ck_pr_fence_acquire();                                                                     \
        return value;                                                                              \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_relaxed(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        __asm__("" : "+r"(value)); /* no constant: ck_pr takes some that do not assemble */        \
        ck_pr_store_##BITS(&at->raw, value);                                                       \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_release(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        __asm__("" : "+r"(value));                                                                 \
        ck_pr_fence_release();                                                                     \
        ck_pr_store_##BITS(&at->raw, value);                                                       \
    }                                                                                              \
    WEFT_INLINE bool weft_cas##BITS##_acq_rel(weft_atomic_u##BITS *at, uint##BITS##_t *expected,   \
                                              uint##BITS##_t desired) {                            \
        ck_pr_fence_release();                                                                     \
        bool done = ck_pr_cas_##BITS##_value(&at->raw, *expected, desired, expected);              \
        ck_pr_fence_acquire();                                                                     \
        return done;                                                                               \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_exchange##BITS##_acq_rel(weft_atomic_u##BITS *at,              \
                                                             uint##BITS##_t value) {               \
        ck_pr_fence_release();                                                                     \
        uint##BITS##_t old = ck_pr_fas_##BITS(&at->raw, value);                                    \
        ck_pr_fence_acquire();                                                                     \
        return old;                                                                                \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_add##BITS##_acq_rel(weft_atomic_u##BITS *at,                   \
                                                        uint##BITS##_t value) {                    \
        ck_pr_fence_release();                                                                     \
        uint##BITS##_t old = ck_pr_faa_##BITS(&at->raw, value);                                    \
        ck_pr_fence_acquire();                                                                     \
        return old;                                                                                \
    }

WEFT__ATOMIC(32)
WEFT__ATOMIC(64)
#undef WEFT__ATOMIC

WEFT_INLINE uint64_t weft_or64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    uint64_t old = weft_load64_relaxed(at);
    while (!weft_cas64_acq_rel(at, &old, old | bits)) {
    }
    return old;
}
WEFT_INLINE uint64_t weft_and64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    uint64_t old = weft_load64_relaxed(at);
    while (!weft_cas64_acq_rel(at, &old, old & bits)) {
    }
    return old;
}

#endif

/* Keeps the compiler from moving a store below a later load. On the processor the order comes from
 * the other side's heavy barrier. */
WEFT_INLINE void weft_fence_light(void) {
    __asm__ __volatile__("" ::: "memory");
}

/* A full barrier of this thread. A locked instruction is the cheapest one on x86; under
 * ThreadSanitizer, which does not model fences, it is a read-modify-write as well. */
WEFT_INLINE void weft_fence_full(void) {
#if defined(__x86_64__) || defined(WEFT_TSAN)
    weft_atomic_u32 own = {0};
    (void)__atomic_exchange_n(&own.raw, 1u, __ATOMIC_SEQ_CST);
#else
    ck_pr_fence_memory();
#endif
}

WEFT_INLINE void weft_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif

/* A counter with one writer that others may read at any time. Owner-only writes. */
typedef weft_atomic_u64 weft_counter;
WEFT_INLINE void weft_counter_add(weft_counter *counter, uint64_t n) {
#if defined(__x86_64__) && !defined(WEFT_TSAN) && !defined(WEFT_EXPLORE)
    /* One instruction that no reader can see half of; not locked, there is one writer. */
    __asm__("addq %1, %0" : "+m"(counter->raw) : "er"(n));
#else
    weft_store64_relaxed(counter, weft_load64_relaxed(counter) + n);
#endif
}

#endif
