/* SPDX-License-Identifier: MIT
 *
 * Log-linear histograms: where a value falls, and how to read one that another thread writes.
 * weft_histogram of weft/stats.h is plain memory, so that a program may copy it; while it belongs
 * to a scheduler it is written by that one thread and read by any other at the same time. All
 * such accesses go through the two helpers below: single relaxed loads and stores, never torn.
 *
 * Invariant of the buckets: 0..15 hold one value each; from 16 on, each power of two is cut into
 * 16 equal buckets. 16 + 60 * 16 = 976 of them hold every 64-bit value exactly once.
 */
#ifndef WEFT_CORE_HIST_H
#define WEFT_CORE_HIST_H

#include "core/atomic.h"

#include <weft/stats.h>

enum {
    WEFT__HISTOGRAM_LINEAR_BITS = 4,
    WEFT__HISTOGRAM_LINEAR = 1 << WEFT__HISTOGRAM_LINEAR_BITS,
};

_Static_assert(WEFT_HISTOGRAM_BUCKETS ==
                   WEFT__HISTOGRAM_LINEAR +
                       (64 - WEFT__HISTOGRAM_LINEAR_BITS) * WEFT__HISTOGRAM_LINEAR,
               "the buckets cover 64 bits");
_Static_assert(sizeof(weft_counter) == sizeof(uint64_t), "a counter is its number");
_Static_assert(alignof(weft_counter) == alignof(uint64_t), "a counter is its number");

/* Owner-only write or advisory read of one number of a histogram. */
WEFT_INLINE uint64_t weft__histogram_load(const uint64_t *at) {
    return weft_load64_relaxed((const weft_counter *)(const void *)at);
}
WEFT_INLINE void weft__histogram_store(uint64_t *at, uint64_t value) {
    weft_store64_relaxed((weft_counter *)(void *)at, value);
}

/* The bucket that holds value. */
WEFT_INLINE uint32_t weft__histogram_index(uint64_t value) {
    if (value < WEFT__HISTOGRAM_LINEAR) {
        return (uint32_t)value;
    }
    /* Bits below the 5 leading ones: how many times 16..31 was doubled. */
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - WEFT__HISTOGRAM_LINEAR_BITS;
    return shift * WEFT__HISTOGRAM_LINEAR + (uint32_t)(value >> shift);
}

#endif
