/* SPDX-License-Identifier: MIT
 *
 * Histograms: that the buckets hold every 64-bit value once, how wide they are, quantiles against
 * a sorted array, merging, and a reader beside a writer.
 */
#include "core/hist.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static weft_histogram histogram;
static weft_histogram other;

static void clear(void) {
    memset(&histogram, 0, sizeof(histogram));
    memset(&other, 0, sizeof(other));
}

/* xorshift64 */
static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- buckets ------------------------------------------------------------------------------- */

START_TEST(the_buckets_cover_every_value_exactly_once) {
    uint64_t lowest = 0;
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        uint64_t highest = weft_histogram_bucket_max(i);
        ck_assert_uint_ge(highest, lowest);
        ck_assert_uint_eq(weft__histogram_index(lowest), i);
        ck_assert_uint_eq(weft__histogram_index(highest), i);
        ck_assert_uint_eq(weft__histogram_index(lowest + (highest - lowest) / 2), i);
        lowest = highest + 1;
    }
    ck_assert_uint_eq(lowest, 0); /* the last one ends with the last value */
    ck_assert_uint_eq(weft_histogram_bucket_max(WEFT_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
    ck_assert_uint_eq(weft_histogram_bucket_max(WEFT_HISTOGRAM_BUCKETS), UINT64_MAX);
    ck_assert_uint_eq(weft_histogram_bucket_max(UINT32_MAX), UINT64_MAX);
}
END_TEST

START_TEST(small_values_are_exact_and_others_within_a_sixteenth) {
    for (uint64_t value = 0; value < 32; value++) {
        ck_assert_uint_eq(weft_histogram_bucket_max((uint32_t)value), value);
        ck_assert_uint_eq(weft__histogram_index(value), value);
    }
    for (uint32_t i = 32; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        uint64_t lowest = weft_histogram_bucket_max(i - 1) + 1;
        uint64_t width = weft_histogram_bucket_max(i) - lowest + 1;
        ck_assert_uint_le(width, lowest / 16);
    }
}
END_TEST

START_TEST(the_index_never_falls_as_values_rise) {
    uint64_t state = 88172645463325252ull;
    for (uint32_t round = 0; round < 100000; round++) {
        uint64_t left = random_next(&state) >> (random_next(&state) % 64);
        uint64_t right = random_next(&state) >> (random_next(&state) % 64);
        uint64_t low = left < right ? left : right;
        uint64_t high = left < right ? right : left;
        ck_assert_uint_le(weft__histogram_index(low), weft__histogram_index(high));
        uint32_t index = weft__histogram_index(high);
        ck_assert_uint_lt(index, WEFT_HISTOGRAM_BUCKETS);
        ck_assert_uint_le(high, weft_histogram_bucket_max(index));
        ck_assert(index == 0 || high > weft_histogram_bucket_max(index - 1));
    }
}
END_TEST

/* ---- adding and quantiles ------------------------------------------------------------------ */

START_TEST(an_empty_histogram_answers_zero) {
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 0), 0);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 500), 0);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 1000), 0);
}
END_TEST

START_TEST(count_sum_and_max_are_exact) {
    weft_histogram_add(&histogram, 1000);
    weft_histogram_add(&histogram, 7);
    weft_histogram_add(&histogram, 0);
    ck_assert_uint_eq(histogram.count, 3);
    ck_assert_uint_eq(histogram.sum, 1007);
    ck_assert_uint_eq(histogram.max, 1000);
    ck_assert_uint_eq(histogram.buckets[7], 1);
    ck_assert_uint_eq(histogram.buckets[0], 1);
}
END_TEST

START_TEST(one_value_is_every_quantile) {
    weft_histogram_add(&histogram, 123456789);
    for (uint32_t per_mille = 0; per_mille <= 1000; per_mille += 10) {
        ck_assert_uint_eq(weft_histogram_quantile(&histogram, per_mille), 123456789);
    }
}
END_TEST

START_TEST(the_largest_value_of_all_fits) {
    weft_histogram_add(&histogram, UINT64_MAX);
    weft_histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(histogram.buckets[WEFT_HISTOGRAM_BUCKETS - 1], 2);
    ck_assert_uint_eq(histogram.max, UINT64_MAX);
    ck_assert_uint_eq(histogram.sum, UINT64_MAX); /* stays at the end, does not wrap around */
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 500), UINT64_MAX);
}
END_TEST

START_TEST(a_quantile_has_so_many_values_at_or_below_it) {
    for (uint64_t value = 1; value <= 10; value++) {
        weft_histogram_add(&histogram, value);
    }
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 0), 1);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 1), 1);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 100), 1);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 101), 2);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 500), 5);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 900), 9);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 901), 10);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 1000), 10);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, UINT32_MAX), 10);
}
END_TEST

static int compare_u64(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : (a > b ? 1 : 0);
}

START_TEST(quantiles_are_those_of_the_sorted_values_within_a_sixteenth) {
    enum { COUNT = 10007 };
    static uint64_t values[COUNT];
    uint64_t state = 0x9E3779B97F4A7C15ull;
    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = random_next(&state) >> (random_next(&state) % 60);
        weft_histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare_u64);
    for (uint32_t per_mille = 1; per_mille <= 1000; per_mille++) {
        uint32_t rank = (COUNT * per_mille + 999) / 1000;
        uint64_t exact = values[rank - 1];
        uint64_t answer = weft_histogram_quantile(&histogram, per_mille);
        ck_assert_uint_ge(answer, exact);
        ck_assert_uint_le(answer - exact, exact / 16);
    }
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 1000), values[COUNT - 1]);
}
END_TEST

START_TEST(huge_counts_do_not_overflow_a_quantile) {
    histogram.buckets[1] = UINT64_MAX / 2;
    histogram.buckets[2] = UINT64_MAX / 2;
    histogram.max = 2;
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 500), 1);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 501), 2);
    ck_assert_uint_eq(weft_histogram_quantile(&histogram, 1000), 2);
}
END_TEST

/* ---- merging ------------------------------------------------------------------------------- */

START_TEST(a_merge_is_adding_all_values) {
    static weft_histogram both;
    uint64_t state = 0xD1B54A32D192ED03ull;
    memset(&both, 0, sizeof(both));
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t value = random_next(&state) >> (16 + random_next(&state) % 48);
        weft_histogram_add(i % 3 == 0 ? &histogram : &other, value);
        weft_histogram_add(&both, value);
    }
    weft_histogram before = other;
    weft_histogram_merge(&histogram, &other);
    ck_assert_mem_eq(&histogram, &both, sizeof(both));
    ck_assert_mem_eq(&other, &before, sizeof(other));
}
END_TEST

START_TEST(merging_nothing_changes_nothing) {
    weft_histogram_add(&histogram, 5);
    weft_histogram before = histogram;
    weft_histogram_merge(&histogram, &other);
    ck_assert_mem_eq(&histogram, &before, sizeof(before));
    weft_histogram_merge(&other, &histogram);
    ck_assert_mem_eq(&other, &before, sizeof(before));
}
END_TEST

/* ---- a reader beside the writer ------------------------------------------------------------ */

enum { CONCURRENT_VALUES = 200000 };

static void *add_all(void *arg) {
    for (uint64_t i = 0; i < CONCURRENT_VALUES; i++) {
        weft_histogram_add(arg, i % 2 == 0 ? 3 : UINT64_MAX >> 20);
    }
    return NULL;
}

START_TEST(a_reader_sees_counters_that_only_grow) {
    pthread_t writer;
    uint64_t seen = 0;
    ck_assert_int_eq(pthread_create(&writer, NULL, add_all, &histogram), 0);
    while (seen < CONCURRENT_VALUES) {
        memset(&other, 0, sizeof(other));
        weft_histogram_merge(&other, &histogram);
        ck_assert_uint_ge(other.count, seen);
        ck_assert(other.max == 0 || other.max == 3 || other.max == UINT64_MAX >> 20);
        seen = other.count;
        (void)weft_histogram_quantile(&other, 500); /* only that it ends */
    }
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert_uint_eq(histogram.count, CONCURRENT_VALUES);
    ck_assert_uint_eq(histogram.buckets[3], CONCURRENT_VALUES / 2);
}
END_TEST

static Suite *hist_suite(void) {
    Suite *suite = suite_create("hist");
    TCase *tcase = tcase_create("histogram");
    tcase_add_checked_fixture(tcase, clear, NULL);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, the_buckets_cover_every_value_exactly_once);
    tcase_add_test(tcase, small_values_are_exact_and_others_within_a_sixteenth);
    tcase_add_test(tcase, the_index_never_falls_as_values_rise);
    tcase_add_test(tcase, an_empty_histogram_answers_zero);
    tcase_add_test(tcase, count_sum_and_max_are_exact);
    tcase_add_test(tcase, one_value_is_every_quantile);
    tcase_add_test(tcase, the_largest_value_of_all_fits);
    tcase_add_test(tcase, a_quantile_has_so_many_values_at_or_below_it);
    tcase_add_test(tcase, quantiles_are_those_of_the_sorted_values_within_a_sixteenth);
    tcase_add_test(tcase, huge_counts_do_not_overflow_a_quantile);
    tcase_add_test(tcase, a_merge_is_adding_all_values);
    tcase_add_test(tcase, merging_nothing_changes_nothing);
    tcase_add_test(tcase, a_reader_sees_counters_that_only_grow);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(hist_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
