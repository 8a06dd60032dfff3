/* SPDX-License-Identifier: MIT
 *
 * w8_activate: 64 clients call a million new keys, each its own range: activations per second,
 * memory of an active counter with everything that finds it, then calls to random ones of them.
 * The calls are not clocked, as the peers' are not; a smaller number of calls is clocked after
 * them. w8_cast: casts to random ones, until the last is handled.
 *
 * The process is not warmed up before, as the peers' are not: the first pages are touched here.
 */
#include <stdlib.h>

#include "w8.h"

enum { CLOCKED_CALLS = 1000000, CAST_BATCH = 64, POLL_NS = 100000, POLLS = 600000 };

/* Calls random keys; nanoseconds. */
static uint64_t call_random(struct perf *perf, const struct perf_w8_job *active, uint64_t calls,
                            uint64_t *trips) {
    struct perf_w8_job job = {.type = active->type,
                              .keys = active->keys,
                              .random = calls,
                              .tag = PERF_W8_ADD,
                              .add = 1,
                              .least = 2,
                              .most = UINT64_MAX,
                              .trips = trips};

    return perf_w8_run(perf, &job, "w8_call");
}

static void clocked_calls(struct perf *perf, const struct perf_w8_job *active, uint64_t *trips,
                          uint64_t calls) {
    (void)call_random(perf, active, calls, trips); /* each is clocked by its client */
    perf_sort(trips, calls);
    perf_emit(perf, "w8_call_p50", (double)perf_quantile(trips, calls, 500) / 1e3, "us");
    perf_emit(perf, "w8_call_p99", (double)perf_quantile(trips, calls, 990) / 1e3, "us");
    perf_emit(perf, "w8_call_p999", (double)perf_quantile(trips, calls, 999) / 1e3, "us");
    perf_emit(perf, "w8_call_max", (double)trips[calls - 1] / 1e3, "us");
}

void perf_w8(struct perf *perf) {
    struct perf_w8_job job = {.type = perf_w8_counter(perf),
                              .keys = perf_w8_count(perf, PERF_W8_KEYS)};
    uint64_t clocked = perf_w8_count(perf, CLOCKED_CALLS);
    uint64_t calls = perf_w8_count(perf, PERF_W8_CALLS);
    int64_t before = perf_status_bytes("VmRSS");
    uint64_t elapsed = perf_w8_activate(perf, &job, "w8_activate");
    int64_t after = perf_status_bytes("VmRSS");
    uint64_t *trips = perf_alloc(clocked, sizeof(*trips));

    perf_emit(perf, "w8_activate", perf_rate(job.keys, elapsed), "activations/s");
    perf_emit(perf, "w8_active_rss", (double)(after - before) / (double)job.keys, "bytes/actor");
    elapsed = call_random(perf, &job, calls, NULL);
    perf_emit(perf, "w8_call", perf_rate(calls, elapsed), "calls/s");
    clocked_calls(perf, &job, trips, clocked);
    perf_w8_verify(perf, &job, job.keys + calls + clocked);
    free(trips);
}

/* ---- casts ---------------------------------------------------------------------------------- */

static uint64_t handled(struct perf *perf) {
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};

    perf_check(weft_stats_read(perf->runtime, WEFT_STATS_ALL, &stats), "statistics");
    return stats.messages_handled;
}

/* Nothing tells the outside that a cast was handled: the statistics are polled. */
static void wait_handled(struct perf *perf, uint64_t count) {
    for (uint32_t i = 0; i < POLLS; i++) {
        if (handled(perf) >= count) {
            return;
        }
        perf_sleep_ns(POLL_NS);
    }
    perf_die("w8_cast: casts are missing");
}

void perf_w8_cast(struct perf *perf) {
    struct perf_w8_job active = {.type = perf_w8_counter(perf),
                                 .keys = perf_w8_count(perf, PERF_W8_KEYS)};
    struct perf_w8_job job = {.type = active.type,
                              .keys = active.keys,
                              .random = perf_w8_count(perf, PERF_W8_CALLS),
                              .batch = CAST_BATCH,
                              .tag = PERF_W8_ADD,
                              .add = 1};
    uint64_t before;
    uint64_t begin;

    (void)perf_w8_activate(perf, &active, "w8_cast"); /* its time is w8_activate's */
    before = handled(perf);
    begin = perf_clock_ns();
    (void)perf_w8_run(perf, &job, "w8_cast"); /* until the last was sent: that is too early */
    wait_handled(perf, before + job.messages + job.turns);
    perf_emit(perf, "w8_cast", perf_rate(job.messages, perf_clock_ns() - begin), "casts/s");
    perf_w8_verify(perf, &active, active.keys + job.messages);
}
