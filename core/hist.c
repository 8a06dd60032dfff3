/* SPDX-License-Identifier: MIT
 *
 * Histograms of weft/stats.h. weft_histogram_add runs on the one thread that owns the histogram,
 * sampled in hot paths: two shifts and four stores, no read-modify-write. Merge reads a histogram
 * that its owner may be writing; its target and quantile's argument belong to the caller.
 *
 * A concurrent reader may see a value in its bucket and not yet in count, or the other way round:
 * advisory, so nothing here assumes that the buckets add up to count.
 */
#include "core/hist.h"

#include "core/defs.h"

enum { PER_MILLE_MAX = 1000 };

void weft_histogram_add(weft_histogram *histogram, uint64_t value) {
    uint64_t *bucket = &histogram->buckets[weft__histogram_index(value)];
    /* max first: a quantile is cut at max, and a reader should not see 0 there. */
    if (value > weft__histogram_load(&histogram->max)) {
        weft__histogram_store(&histogram->max, value);
    }
    weft__histogram_store(bucket, weft__histogram_load(bucket) + 1);
    weft__histogram_store(&histogram->sum,
                          weft_add_saturated(weft__histogram_load(&histogram->sum), value));
    weft__histogram_store(&histogram->count, weft__histogram_load(&histogram->count) + 1);
}

void weft_histogram_merge(weft_histogram *histogram, const weft_histogram *source) {
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        uint64_t *bucket = &histogram->buckets[i];
        uint64_t more = weft__histogram_load(&source->buckets[i]);
        weft__histogram_store(bucket, weft__histogram_load(bucket) + more);
    }
    uint64_t count = weft__histogram_load(&histogram->count) + weft__histogram_load(&source->count);
    uint64_t sum = weft_add_saturated(weft__histogram_load(&histogram->sum),
                                      weft__histogram_load(&source->sum));
    uint64_t max =
        weft_max_u64(weft__histogram_load(&histogram->max), weft__histogram_load(&source->max));
    weft__histogram_store(&histogram->count, count);
    weft__histogram_store(&histogram->sum, sum);
    weft__histogram_store(&histogram->max, max);
}

uint64_t weft_histogram_quantile(const weft_histogram *histogram, uint32_t per_mille) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        total += weft__histogram_load(&histogram->buckets[i]);
    }
    if (total == 0) {
        return 0;
    }
    /* The rank-th smallest value is asked for, rounded up and at least the first; in two parts
     * because total * 1000 may not fit. */
    uint64_t share = per_mille < PER_MILLE_MAX ? per_mille : PER_MILLE_MAX;
    uint64_t rank = total / PER_MILLE_MAX * share +
                    (total % PER_MILLE_MAX * share + PER_MILLE_MAX - 1) / PER_MILLE_MAX;
    rank = weft_max_u64(rank, 1);
    uint64_t max = weft__histogram_load(&histogram->max);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        seen += weft__histogram_load(&histogram->buckets[i]);
        if (seen >= rank) {
            return weft_min_u64(weft_histogram_bucket_max(i), max);
        }
    }
    return max;
}

uint64_t weft_histogram_bucket_max(uint32_t index) {
    if (index < WEFT__HISTOGRAM_LINEAR) {
        return index;
    }
    if (index >= WEFT_HISTOGRAM_BUCKETS) {
        return UINT64_MAX;
    }
    uint32_t shift = index / WEFT__HISTOGRAM_LINEAR - 1;
    uint64_t lowest = (uint64_t)(index % WEFT__HISTOGRAM_LINEAR + WEFT__HISTOGRAM_LINEAR) << shift;
    return lowest + ((1ull << shift) - 1);
}
