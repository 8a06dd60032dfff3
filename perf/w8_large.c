/* SPDX-License-Identifier: MIT
 *
 * w8_activate_10m: ten million counters in one process, keys of 16 bytes. Activations per second of
 * the first 100,000, of those up to 1,000,000, of those up to 10,000,000; how long weft_vcall
 * itself takes when it activates, and how long until the answer, the worst of all; what they hold
 * when all are idle; and calls to random ones of the first million, when there are no others,
 * beside calls to random ones of all.
 *
 * At its full size it needs some 4 GB: with less it measures nothing and says so.
 */
#include <stdio.h>
#include <stdlib.h>

#include "w8.h"

enum { STEPS = 3, KEY_DIGITS = 11, RESIDENT_BYTES = 400, CLOCK_BYTES = 2 * sizeof(uint64_t) };

/* Of the whole number of keys, which is up to where each step goes. */
static const uint64_t step_keys[STEPS] = {100000, 1000000, 10000000};
static const char *const step_names[STEPS] = {"w8_activate_100k", "w8_activate_1m",
                                              "w8_activate_10m"};

/* Up to where a step goes; a step has a key for each client at least, however small the scale. */
static uint64_t step_end(const struct perf *perf, uint32_t step) {
    uint64_t least = (uint64_t)(step + 1) * PERF_W8_CLIENTS;
    uint64_t end = perf_w8_count(perf, step_keys[step]);

    return end < least ? least : end;
}

/* Bytes the system would give without swapping; 0: unknown. */
static uint64_t available_bytes(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    unsigned long long kilobytes = 0;
    char line[256];

    if (file == NULL) {
        return 0;
    }
    /* Bounded by the file, which has some 60 lines. */
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1) {
            break;
        }
    }
    (void)fclose(file); /* it was only read */
    return (uint64_t)kilobytes * 1024;
}

/* Whether so many keys fit, with a line on stderr when they do not. */
static bool memory_suffices(uint64_t keys) {
    uint64_t needed = keys * (RESIDENT_BYTES + CLOCK_BYTES);
    uint64_t available = available_bytes();

    if (available >= needed) {
        return true;
    }
    (void)fprintf(
        stderr, "weft-perf: w8_activate_10m: not measured: %llu MB needed, %llu MB free\n",
        (unsigned long long)(needed / 1000000), (unsigned long long)(available / 1000000));
    return false;
}

/* Touches the pages, so that they do not count as the library's. */
static uint64_t *clock_list(uint64_t count) {
    uint64_t *list = perf_alloc(count, sizeof(*list));

    memset(list, 1, count * sizeof(*list));
    return list;
}

/* One figure of the slowest, by the prefix of its name. */
static void emit_tail(struct perf *perf, const char *name, uint64_t *values, uint64_t count) {
    static const char *const ends[] = {"p50", "p9999", "max"};
    static const uint64_t parts[] = {2, 10000, UINT64_MAX};
    char figure[PERF_NAME_BYTES];

    perf_sort(values, count);
    for (uint32_t i = 0; i < 3; i++) {
        (void)snprintf(figure, sizeof(figure), "%s_%s", name, ends[i]);
        perf_emit(perf, figure, perf_w8_tail_us(values, count, parts[i]), "us");
    }
}

/* Calls per second to random ones of the first keys. */
static double call_rate(struct perf *perf, const weft_type *type, uint64_t keys, const char *name) {
    struct perf_w8_job job = {.type = type,
                              .keys = keys,
                              .random = perf_w8_count(perf, PERF_W8_CALLS),
                              .digits = KEY_DIGITS,
                              .tag = PERF_W8_ADD,
                              .add = 1,
                              .least = 2,
                              .most = UINT64_MAX};
    double rate = perf_rate(job.random, perf_w8_run(perf, &job, name));

    perf_emit(perf, name, rate, "calls/s");
    return rate;
}

static void emit_resident(struct perf *perf, int64_t before, uint64_t keys) {
    int64_t after = perf_status_bytes("VmRSS");

    perf_emit(perf, "w8_idle_rss_10m", (double)(after - before) / (double)keys, "bytes/actor");
    perf_emit(perf, "w8_idle_total_10m", (double)(after - before) / 1e6, "MB");
}

void perf_w8_large(struct perf *perf) {
    struct perf_w8_job job = {.type = perf_w8_counter(perf), .digits = KEY_DIGITS};
    uint64_t all = step_end(perf, STEPS - 1);
    double rates[STEPS] = {0};
    uint64_t *sends;
    uint64_t *trips;
    int64_t before;

    if (!memory_suffices(all)) {
        return;
    }
    sends = clock_list(all);
    trips = clock_list(all);
    before = perf_status_bytes("VmRSS");
    for (uint32_t i = 0; i < STEPS; i++) {
        job.first += job.keys;
        job.keys = step_end(perf, i) - job.first;
        job.sends = sends + job.first;
        job.trips = trips + job.first;
        perf_emit(perf, step_names[i],
                  perf_rate(job.keys, perf_w8_activate(perf, &job, step_names[i])),
                  "activations/s");
        if (i == STEPS - 2) {
            rates[0] = call_rate(perf, job.type, job.first + job.keys, "w8_call_1m");
        }
    }
    emit_resident(perf, before, all);
    rates[1] = call_rate(perf, job.type, all, "w8_call_10m");
    perf_emit(perf, "w8_call_ratio_10m", rates[1] / rates[0], "x");
    if (weft_virtual_count(perf->runtime, job.type) != all) {
        perf_die("w8_activate_10m: counters are missing");
    }
    emit_tail(perf, "w8_activate_vcall", sends, all);
    emit_tail(perf, "w8_activate_trip", trips, all);
    free(sends);
    free(trips);
}
