/* SPDX-License-Identifier: MIT
 *
 * The mix, as it is built without points: everything actors can do, on one to five schedulers,
 * seed by seed. A failure names its seed; MIX_SEED=<n> in the environment runs that one only.
 * planted.c runs the same with points inside the steps.
 */
#include <check.h>
#include <stdlib.h>

#include "check_run.h"
#include "mix.h"

enum { SEEDS_PER_CASE = 50 };

static void seed_run(uint64_t seed) {
    mix_options options = {.seed = seed, .nest_max = (uint32_t)(seed % 4)};
    mix_report report;
    mix_run(&options, &report);
    ck_assert_msg(!report.failed, "seed %llu: %s", (unsigned long long)seed, report.text);
    burst_run(&options, &report);
    ck_assert_msg(!report.failed, "seed %llu: %s", (unsigned long long)seed, report.text);
}

START_TEST(test_rules_hold_whatever_the_seed) {
    const char *only = getenv("MIX_SEED");
    if (only != NULL) {
        seed_run(strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        seed_run(10000 + (uint64_t)_i * SEEDS_PER_CASE + i);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mix");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_rules_hold_whatever_the_seed, 0, 8);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
