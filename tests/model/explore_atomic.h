/* SPDX-License-Identifier: MIT
 *
 * The atomics of core/atomic.h as the explorer sees them (WEFT_EXPLORE): every access is a point
 * where another thread may go first. Included by core/atomic.h only, after the types.
 *
 * The memory model is TSO, the one of x86: a plain store (relaxed and release alike) enters the
 * first-in first-out store buffer of its thread and reaches memory when the explorer says so; a
 * load sees the own buffer first; a read-modify-write and weft_fence_full empty the own buffer;
 * explore_fence_heavy (membarrier) empties the buffers of all threads; weft_fence_light does
 * nothing. Reorderings that only weaker machines make are not covered.
 *
 * membarrier makes each thread execute its barrier at some moment between call and return, not all
 * at one instant. The instant loses no behaviour: take the earliest of these moments; what the
 * other threads stored until theirs may reach memory through ordinary steps of their buffers.
 *
 * or and and are loops of compare-and-swap in production; one step here, because a failed round
 * changes nothing.
 *
 * Plain fields. weft_msg.weft__next, the payload and what the models keep for themselves are not
 * atomic and do not go through the buffers: a plain store is visible at once, together with the
 * step before it. For a field that is only touched by the thread that owns it at the time, and
 * handed on through an atomic access, this hides nothing. A buffer is first-in first-out, so what
 * hands the field on (a store later in the same buffer, or a read-modify-write, which empties it)
 * is never visible before the field. What it would hide is a data race, so races are looked for
 * separately: explore_plain marks an access of a plain field, and two threads that are both about
 * to touch the same one are a failure. The variants model_*_plain are built from copies of the
 * headers in which every access of weft__next is marked (mutate.py, "plain"); there a plain store
 * also has a step of its own, so that one placed after its publication is found.
 */
#ifndef TESTS_MODEL_EXPLORE_ATOMIC_H
#define TESTS_MODEL_EXPLORE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

/* What a thread may be about to do. */
enum explore_kind {
    EXPLORE_LOAD,
    EXPLORE_STORE,
    EXPLORE_CAS,
    EXPLORE_EXCHANGE,
    EXPLORE_ADD,
    EXPLORE_OR,
    EXPLORE_AND,
    EXPLORE_FENCE_FULL,
    EXPLORE_FENCE_HEAVY,
    EXPLORE_PAUSE,
    EXPLORE_STEP,   /* a step of the model itself */
    EXPLORE_WAIT,   /* runs when a condition of the model holds */
    EXPLORE_CHOOSE, /* one of several ways on, all are taken */
    EXPLORE_PLAIN,  /* a plain field: see above */
    EXPLORE_FLUSH,  /* the oldest store of a thread reaches memory */
};

uint64_t explore_load(const void *at, uint32_t size);
void explore_store(void *at, uint32_t size, uint64_t value);
bool explore_cas(void *at, uint32_t size, uint64_t *expected, uint64_t desired);
/* EXCHANGE, ADD, OR, AND. Returns what was there. */
uint64_t explore_modify(enum explore_kind kind, void *at, uint32_t size, uint64_t value);
/* FENCE_FULL, FENCE_HEAVY, PAUSE. A paused thread goes on when another one has made a step. */
void explore_special(enum explore_kind kind);
uint32_t *explore_plain(uint32_t *at);

#define WEFT__ATOMIC(BITS)                                                                         \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_relaxed(const weft_atomic_u##BITS *at) {          \
        return (uint##BITS##_t)explore_load(&at->raw, BITS / 8);                                   \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_load##BITS##_acquire(const weft_atomic_u##BITS *at) {          \
        return (uint##BITS##_t)explore_load(&at->raw, BITS / 8);                                   \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_relaxed(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        explore_store(&at->raw, BITS / 8, value);                                                  \
    }                                                                                              \
    WEFT_INLINE void weft_store##BITS##_release(weft_atomic_u##BITS *at, uint##BITS##_t value) {   \
        explore_store(&at->raw, BITS / 8, value);                                                  \
    }                                                                                              \
    WEFT_INLINE bool weft_cas##BITS##_acq_rel(weft_atomic_u##BITS *at, uint##BITS##_t *expected,   \
                                              uint##BITS##_t desired) {                            \
        uint64_t wide = *expected;                                                                 \
        bool done = explore_cas(&at->raw, BITS / 8, &wide, desired);                               \
        *expected = (uint##BITS##_t)wide;                                                          \
        return done;                                                                               \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_exchange##BITS##_acq_rel(weft_atomic_u##BITS *at,              \
                                                             uint##BITS##_t value) {               \
        return (uint##BITS##_t)explore_modify(EXPLORE_EXCHANGE, &at->raw, BITS / 8, value);        \
    }                                                                                              \
    WEFT_INLINE uint##BITS##_t weft_add##BITS##_acq_rel(weft_atomic_u##BITS *at,                   \
                                                        uint##BITS##_t value) {                    \
        return (uint##BITS##_t)explore_modify(EXPLORE_ADD, &at->raw, BITS / 8, value);             \
    }

WEFT__ATOMIC(32)
WEFT__ATOMIC(64)
#undef WEFT__ATOMIC

WEFT_INLINE uint64_t weft_or64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    return explore_modify(EXPLORE_OR, &at->raw, 8, bits);
}
WEFT_INLINE uint64_t weft_and64_acq_rel(weft_atomic_u64 *at, uint64_t bits) {
    return explore_modify(EXPLORE_AND, &at->raw, 8, bits);
}

WEFT_INLINE void weft_fence_light(void) {
    __asm__ __volatile__("" ::: "memory");
}
WEFT_INLINE void weft_fence_full(void) {
    explore_special(EXPLORE_FENCE_FULL);
}
WEFT_INLINE void explore_fence_heavy(void) {
    explore_special(EXPLORE_FENCE_HEAVY);
}
WEFT_INLINE void weft_pause(void) {
    explore_special(EXPLORE_PAUSE);
}

#endif
