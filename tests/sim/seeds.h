/* SPDX-License-Identifier: MIT
 *
 * The frame of a test that runs a seeded world in the simulator: many seeds, each in a child of its
 * own; seeds that run twice and must do the same; and the arguments with which planted defects are
 * looked for. The test defines seed_run and SEED_SECONDS before it includes this, and calls
 * seeds_main.
 */
#ifndef WEFT_TESTS_SIM_SEEDS_H
#define WEFT_TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when one fails, crashes or hangs, which is why each has a child of its own. */
static bool seed_fails(uint64_t seed) {
    pid_t child = fork();
    if (child == 0) {
        struct report report;
        (void)alarm(SEED_SECONDS);
        seed_run(seed, &report);
        if (report.failed) {
            printf("seed %llu: %s\n", (unsigned long long)seed, report.text);
            (void)fflush(stdout);
        }
        _exit(report.failed ? 1 : 0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("a child");
        exit(2);
    }
    if (WIFSIGNALED(status)) {
        printf("seed %llu: signal %d\n", (unsigned long long)seed, WTERMSIG(status));
    }
    return status != 0;
}

static bool seeds_fail(uint64_t first, uint64_t last) {
    for (uint64_t seed = first; seed <= last; seed++) {
        if (seed_fails(seed)) {
            return true;
        }
    }
    return false;
}

/* The same run again, with other addresses; and something worth it must have happened. */
static bool seeds_repeat(uint64_t first, uint64_t last) {
    uint64_t worth = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        struct report one;
        struct report two;
        seed_run(seed, &one);
        void *shift = malloc((size_t)(1 + seed * 64));
        seed_run(seed, &two);
        free(shift);
        worth += one.worth;
        if (one.failed || one.hash != two.hash || one.steps != two.steps) {
            printf("seed %llu: runs differ, or failed: %s\n", (unsigned long long)seed, one.text);
            return false;
        }
    }
    if (worth == 0) {
        printf("nothing worth it has happened\n");
    }
    return worth != 0;
}

static int seeds_main(int count, char **arguments) {
    const char *what = count >= 2 ? arguments[1] : "";
    bool find = strcmp(what, "find") == 0;
    uint64_t first = count >= 3 ? strtoull(arguments[2], NULL, 0) : 1;
    uint64_t last = count >= 4 ? strtoull(arguments[3], NULL, 0) : count == 3 ? first : 200;
    if (count >= 2 && !find && strcmp(what, "clean") != 0) {
        (void)fprintf(stderr, "usage: %s [find|clean [first-seed [last-seed]]]\n", arguments[0]);
        return 2;
    }
    bool failed = seeds_fail(first, last);
    if (!failed && count < 2) {
        failed = !seeds_repeat(1, 10);
    }
    return failed == find ? 0 : 1;
}

#endif
