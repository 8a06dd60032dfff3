/* SPDX-License-Identifier: MIT
 *
 * Runs the mix and the burst over many seeds against the library this program is linked with, each seed once.
 *   planted find [first [last]]    the library has a planted defect: success when a seed fails
 *   planted clean [first [last]]   it has none: success when no seed fails
 * The seeds run in a child, because a defect may also crash or hang; which seed that was stands in
 * shared memory.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, strsignal, alarm */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mix.h"

enum {
    SEED_FIRST = 1,
    SEED_LAST = 500,
    SEED_SECONDS = 20, /* one seed takes milliseconds */
};

struct progress {
    uint64_t seed;
    uint64_t steps;
    mix_report report;
};

static void seeds_run(struct progress *progress, uint64_t first, uint64_t last) {
    for (uint64_t seed = first; seed <= last && !progress->report.failed; seed++) {
        progress->seed = seed;
        (void)alarm(SEED_SECONDS);
        mix_options options = {.seed = seed, .nest_max = 1 + (uint32_t)(seed % 3)};
        mix_run(&options, &progress->report);
        progress->steps += progress->report.steps;
        if (!progress->report.failed) {
            burst_run(&options, &progress->report);
            progress->steps += progress->report.steps;
        }
    }
}

/* Runs the seeds in a child; true when one failed. */
static bool seeds_fail(uint64_t first, uint64_t last) {
    struct progress *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        seeds_run(progress, first, last);
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    unsigned long long seed = progress->seed;
    if (WIFSIGNALED(status)) {
        int signal = WTERMSIG(status);
        printf("seed %llu: %s\n", seed, signal == SIGALRM ? "hangs" : strsignal(signal));
        return true;
    }
    if (WEXITSTATUS(status) != 0) {
        printf("seed %llu: ended with %d\n", seed, WEXITSTATUS(status));
        return true;
    }
    if (progress->report.failed) {
        printf("seed %llu: %s\n", seed, progress->report.text);
        return true;
    }
    printf("seeds %llu to %llu: nothing found in %llu steps\n", (unsigned long long)first, seed,
           (unsigned long long)progress->steps);
    return false;
}

int main(int count, char **arguments) {
    bool find = count >= 2 && strcmp(arguments[1], "find") == 0;
    if (count < 2 || (!find && strcmp(arguments[1], "clean") != 0)) {
        (void)fprintf(stderr, "usage: %s find|clean [first-seed [last-seed]]\n", arguments[0]);
        return 2;
    }
    uint64_t first = count >= 3 ? strtoull(arguments[2], NULL, 0) : SEED_FIRST;
    uint64_t last = count >= 4 ? strtoull(arguments[3], NULL, 0) : count >= 3 ? first : SEED_LAST;
    return seeds_fail(first, last) == find ? 0 : 1;
}
