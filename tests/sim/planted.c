/* SPDX-License-Identifier: MIT
 *
 * Runs the mix, the burst and the edge over many seeds against the library this program is linked
 * with, each seed once.
 *   planted find [first [last]]        it has a planted defect: success when a seed fails
 *   planted find-edge [first [last]]   the same, in virtual actors: runs the edge only
 *   planted clean [first [last]]       it has none: success when no seed fails
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

#include "edge.h"

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

typedef void (*workload_fn)(const mix_options *options, mix_report *ret_report);

static const workload_fn workloads[] = {edge_run, mix_run, burst_run};
enum { WORKLOADS = 3, WORKLOADS_EDGE = 1 };

struct seeds {
    uint64_t first;
    uint64_t last;
    uint32_t workloads;
};

static void seeds_run(struct progress *progress, const struct seeds *seeds) {
    for (uint64_t seed = seeds->first; seed <= seeds->last; seed++) {
        progress->seed = seed;
        (void)alarm(SEED_SECONDS);
        mix_options options = {.seed = seed, .nest_max = 1 + (uint32_t)(seed % 3)};
        for (uint32_t i = 0; i < seeds->workloads; i++) {
            workloads[i](&options, &progress->report);
            progress->steps += progress->report.steps;
            if (progress->report.failed) {
                return;
            }
        }
    }
}

/* Runs the seeds in a child; true when one failed. */
static bool seeds_fail(const struct seeds *seeds) {
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
        seeds_run(progress, seeds);
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
    printf("seeds %llu to %llu: nothing found in %llu steps\n", (unsigned long long)seeds->first,
           seed, (unsigned long long)progress->steps);
    return false;
}

int main(int count, char **arguments) {
    const char *what = count >= 2 ? arguments[1] : "";
    bool edge = strcmp(what, "find-edge") == 0;
    bool find = edge || strcmp(what, "find") == 0;
    if (!find && strcmp(what, "clean") != 0) {
        (void)fprintf(stderr, "usage: %s find|find-edge|clean [first-seed [last-seed]]\n",
                      arguments[0]);
        return 2;
    }
    struct seeds seeds = {SEED_FIRST, SEED_LAST, edge ? WORKLOADS_EDGE : WORKLOADS};
    if (count >= 3) {
        seeds.first = strtoull(arguments[2], NULL, 0);
        seeds.last = count >= 4 ? strtoull(arguments[3], NULL, 0) : seeds.first;
    }
    return seeds_fail(&seeds) == find ? 0 : 1;
}
