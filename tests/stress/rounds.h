/* SPDX-License-Identifier: MIT
 *
 * What the stress programs that consist of rounds share: the clock, the command line, and the
 * rounds one after the other, each with a seed of its own.
 *
 *   NAME [--seconds N] [--schedulers N] [--seed N]
 */
#ifndef WEFT_TESTS_STRESS_ROUNDS_H
#define WEFT_TESTS_STRESS_ROUNDS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

/* What was begun must end by itself in this time: long, for machines that have much else to do. */
#define ROUND_PATIENCE_NS UINT64_C(120000000000)

/* One round; it ends the program when a rule was broken. */
typedef void (*round_fn)(uint64_t seed, uint32_t schedulers, uint64_t run_ns);

static inline uint64_t now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline void sleep_ns(uint64_t ns) {
    struct timespec time = {.tv_sec = (time_t)(ns / 1000000000u),
                            .tv_nsec = (long)(ns % 1000000000u)};
    (void)nanosleep(&time, NULL);
}

static inline uint64_t round_option(int argc, char **argv, const char *name, uint64_t otherwise) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], name) == 0) {
            return strtoull(argv[i + 1], NULL, 0);
        }
    }
    return otherwise;
}

/* main of a program: rounds of about a second, until the time is up. */
static inline int rounds_main(int argc, char **argv, const char *program, round_fn run) {
    uint64_t seconds = round_option(argc, argv, "--seconds", 3);
    uint32_t schedulers = (uint32_t)round_option(argc, argv, "--schedulers", 2);
    uint64_t seed = round_option(argc, argv, "--seed", 1);
    if (argc % 2 == 0 || schedulers == 0 || schedulers > WEFT_SCHEDULERS_MAX) {
        (void)fprintf(stderr, "usage: %s [--seconds N] [--schedulers N] [--seed N]\n", program);
        return EXIT_FAILURE;
    }
    uint64_t until_ns = now_ns() + seconds * 1000000000u;
    uint64_t round_ns = seconds <= 3 ? 700000000u : 1500000000u;
    while (now_ns() < until_ns) {
        run(seed++, schedulers, round_ns);
    }
    return EXIT_SUCCESS;
}

#endif
