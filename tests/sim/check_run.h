/* SPDX-License-Identifier: MIT
 *
 * What the simulator's Check programs share: running a suite, and running seeds twice.
 */
#ifndef WEFT_TESTS_SIM_CHECK_RUN_H
#define WEFT_TESTS_SIM_CHECK_RUN_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

/* The result of main. */
static inline int check_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* run answers the hash of a seed's run, which addresses do not change. */
static inline void check_repeats(uint64_t (*run)(uint64_t seed), uint64_t seeds) {
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t first = run(seed);
        void *shift = malloc(1 + seed * 64); /* addresses of the second run are others */
        uint64_t second = run(seed);
        free(shift);
        ck_assert_msg(first == second, "seed %llu: %llx, then %llx", (unsigned long long)seed,
                      (unsigned long long)first, (unsigned long long)second);
    }
}

#endif
