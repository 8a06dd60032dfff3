/* SPDX-License-Identifier: MIT
 *
 * The edge, as it is built without points: virtual actors that end in every way while others write
 * to them, seed by seed, and that a seed always gives the same run. A failure names its seed;
 * EDGE_SEED=<n> in the environment runs that one only. planted.c runs the same with points inside
 * the steps.
 */
#include <check.h>
#include <stdlib.h>

#include "check_run.h"
#include "edge.h"

#if defined(__SANITIZE_ADDRESS__) /* several times slower */
enum { CASES = 6, SEEDS_PER_CASE = 17, SEEDS_TWICE = 20 };
#else
enum { CASES = 6, SEEDS_PER_CASE = 50, SEEDS_TWICE = 60 };
#endif

static mix_report seed_run(uint64_t seed) {
    mix_options options = {.seed = seed, .nest_max = (uint32_t)(seed % 4)};
    mix_report report;
    edge_run(&options, &report);
    ck_assert_msg(!report.failed, "seed %llu: %s", (unsigned long long)seed, report.text);
    return report;
}

START_TEST(test_nothing_is_lost_at_the_edge_whatever_the_seed) {
    const char *only = getenv("EDGE_SEED");
    if (only != NULL) {
        (void)seed_run(strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)seed_run(20000 + (uint64_t)_i * SEEDS_PER_CASE + i);
    }
}
END_TEST

START_TEST(test_a_seed_always_gives_the_same_run) {
    for (uint64_t seed = 1; seed <= SEEDS_TWICE; seed++) {
        mix_report first = seed_run(seed);
        void *shift = malloc(1 + seed * 64); /* addresses of the second run are others */
        mix_report second = seed_run(seed);
        free(shift);
        ck_assert_msg(first.hash == second.hash, "seed %llu: %llx, then %llx",
                      (unsigned long long)seed, (unsigned long long)first.hash,
                      (unsigned long long)second.hash);
        ck_assert_uint_eq(first.steps, second.steps);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("virtual");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_nothing_is_lost_at_the_edge_whatever_the_seed, 0, CASES);
    tcase_add_test(tcase, test_a_seed_always_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
