/* SPDX-License-Identifier: MIT
 *
 * weft-perf: measures the library. See --help for its use, perf/peers/README.md for the workloads
 * that other runtimes are measured with too, perf/compare for doing both in turns.
 */
#define _GNU_SOURCE 1
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "io.h"

enum {
    OPTION_LIST = 256,
    OPTION_SCALE,
    OPTION_REPS,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_SCHEDULERS,
    OPTION_JSON,
    OPTION_CHILD,
    OPTION_PEER
};

static const char usage[] =
    "usage: weft-perf [options] [workload ...]\n"
    "Prints `weft <workload> <value> <unit>` for each figure. A workload is named by its name, or\n"
    "by the start of it or of a figure's (w1, w4_idle_peak); `all` are all. Default: the standard\n"
    "ones. Every repetition is a process of its own.\n"
    "  --list            the workloads; * marks the standard ones\n"
    "  --scale F         multiply all counts (default 1)\n"
    "  --reps N          measure N times (default 1), print the median, and the spread behind #\n"
    "  --config FILE     configuration of the runtime\n"
    "  --set KEY=VALUE   one key of it; repeatable; --schedulers N is --set scheduler.count=N\n"
    "  --json            one JSON array instead of lines\n"
    "  -v                the part behind # also for one repetition\n";

static const struct option long_options[] = {
    {"list", no_argument, NULL, OPTION_LIST},
    {"scale", required_argument, NULL, OPTION_SCALE},
    {"reps", required_argument, NULL, OPTION_REPS},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"set", required_argument, NULL, OPTION_SET},
    {"schedulers", required_argument, NULL, OPTION_SCHEDULERS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"child", required_argument, NULL, OPTION_CHILD}, /* what the parent starts */
    {"peer", required_argument, NULL, OPTION_PEER},   /* what an I/O workload starts */
    {NULL, 0, NULL, 0},
};

static void list(void) {
    for (const struct perf_workload *workload = perf_workloads; workload->name != NULL;
         workload++) {
        (void)printf("%-22s %s %s\n", workload->name, workload->standard ? "*" : " ",
                     workload->text);
    }
}

static double parse_scale(const char *text) {
    char *end = NULL;
    double scale = strtod(text, &end);

    if (end == text || *end != '\0' || !(scale > 0 && scale <= 1000)) {
        perf_die("--scale %s: a number above 0, at most 1000, expected", text);
    }
    return scale;
}

static uint32_t parse_reps(const char *text) {
    char *end = NULL;
    long reps = strtol(text, &end, 10);

    if (end == text || *end != '\0' || reps < 1 || reps > PERF_REPS_MAX) {
        perf_die("--reps %s: 1..%d expected", text, (int)PERF_REPS_MAX);
    }
    return (uint32_t)reps;
}

static void add_set(struct perf_options *options, const char *set) {
    if (options->set_count == PERF_SETS_MAX) {
        perf_die("more than %d --set", (int)PERF_SETS_MAX);
    }
    options->sets[options->set_count] = set;
    options->set_count++;
}

static void add_schedulers(struct perf_options *options, const char *count) {
    size_t size = strlen(count) + sizeof("scheduler.count=");
    char *set = perf_alloc(size, 1); /* lives as long as the program */

    (void)snprintf(set, size, "scheduler.count=%s", count);
    add_set(options, set);
}

static void add_names(struct perf_options *options, int count, char **names) {
    if (count > PERF_NAMES_MAX) {
        perf_die("more than %d workloads", (int)PERF_NAMES_MAX);
    }
    for (int i = 0; i < count; i++) {
        options->names[i] = names[i];
    }
    options->name_count = (uint32_t)count;
}

/* True: go on; false: all was said, *ret_status is the exit status. */
static bool parse_option(struct perf_options *options, int option, int *ret_status) {
    switch (option) {
    case OPTION_SCALE:
        options->scale = parse_scale(optarg);
        return true;
    case OPTION_REPS:
        options->reps = parse_reps(optarg);
        return true;
    case OPTION_CONFIG:
        options->config = optarg;
        return true;
    case OPTION_SET:
        add_set(options, optarg);
        return true;
    case OPTION_SCHEDULERS:
        add_schedulers(options, optarg);
        return true;
    case OPTION_JSON:
        options->json = true;
        return true;
    case OPTION_CHILD:
        options->child = optarg;
        return true;
    case OPTION_PEER:
        options->peer = optarg;
        return true;
    case 'v':
        options->verbose = true;
        return true;
    case OPTION_LIST:
        list();
        *ret_status = 0;
        return false;
    case 'h':
        (void)fputs(usage, stdout);
        *ret_status = 0;
        return false;
    default:
        (void)fputs(usage, stderr);
        *ret_status = 1;
        return false;
    }
}

int main(int argc, char **argv) {
    struct perf_options options = {.scale = 1, .reps = 1};
    int status = 0;
    int option;

    while ((option = getopt_long(argc, argv, "vh", long_options, NULL)) != -1) {
        if (!parse_option(&options, option, &status)) {
            return status;
        }
    }
    if (options.peer != NULL) {
        return perf_peer_main(options.peer);
    }
    add_names(&options, argc - optind, argv + optind);
    return options.child != NULL ? perf_child(&options) : perf_parent(&options);
}
