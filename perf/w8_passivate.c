/* SPDX-License-Identifier: MIT
 *
 * w8_passivate: a million idle counters are told by cast to passivate themselves; passivations per
 * second until none is active, and activations per second when they are called again, in the
 * memory that is there already. With a parameter the counters have a store in memory: then a
 * passivation saves and an activation restores. w8_limit: activations per second of a type of
 * which only a tenth may be active, so that each one passivates another.
 */
#include <errno.h>
#include <stdlib.h>

#include "w8.h"

enum { CAST_BATCH = 64, LIMIT_PART = 10, RETURNS = 2 };

static int counter_save(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    int result = weft_buf_create(weft_runtime_of(ctx), sizeof(uint64_t), ret_saved);

    if (result == 0) {
        memcpy(weft_buf_data(*ret_saved), state, sizeof(uint64_t));
    }
    return result;
}

static int counter_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                           uint32_t version) {
    (void)ctx;
    if (size != sizeof(uint64_t) || version != 1) {
        return -EINVAL;
    }
    memcpy(state, data, size);
    return WEFT_CONTINUE;
}

/* The store lives as long as the process: the runtime that uses it ends after the workload. */
static const weft_type *saved_counter(struct perf *perf) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "perf-saved-counter",
                         .state_size = sizeof(uint64_t),
                         .receive = perf_w8_receive,
                         .save = counter_save,
                         .restore = counter_restore,
                         .save_version = 1};

    perf_check(weft_store_memory_create(0, &def.store), "a store");
    return perf_type(perf, &def);
}

/* Nanoseconds until none is active. */
static uint64_t passivate_all(struct perf *perf, const struct perf_w8_job *active) {
    struct perf_w8_job job = {.type = active->type,
                              .keys = active->keys,
                              .batch = CAST_BATCH,
                              .tag = PERF_W8_PASSIVATE,
                              .flags = WEFT_ONLY_IF_ACTIVE};
    uint64_t begin = perf_clock_ns();

    (void)perf_w8_run(perf, &job, perf->name); /* until the last was asked: that is too early */
    perf_w8_wait_at_most(perf, job.type, 0);
    return perf_clock_ns() - begin;
}

/* Calls all, which are not active; nanoseconds. */
static uint64_t return_all(struct perf *perf, const struct perf_w8_job *active, uint64_t value) {
    struct perf_w8_job job = {.type = active->type,
                              .keys = active->keys,
                              .tag = PERF_W8_ADD,
                              .add = 1,
                              .least = value,
                              .most = value};

    return perf_w8_run(perf, &job, perf->name);
}

void perf_w8_passivate(struct perf *perf) {
    bool saved = perf->parameter != 0;
    struct perf_w8_job job = {.type = saved ? saved_counter(perf) : perf_w8_counter(perf),
                              .keys = perf_w8_count(perf, PERF_W8_KEYS)};
    int64_t before = perf_status_bytes("VmRSS");
    uint64_t passivate_ns = 0;
    uint64_t return_ns = 0;

    (void)perf_w8_activate(perf, &job, perf->name); /* its time is w8_activate's */
    for (uint64_t i = 0; i < RETURNS; i++) {
        passivate_ns += passivate_all(perf, &job);
        return_ns += return_all(perf, &job, saved ? i + 2 : 1);
    }
    (void)passivate_all(perf, &job); /* only for what is left then */
    perf_emit(perf, saved ? "w8_passivate_saved" : "w8_passivate",
              perf_rate(RETURNS * job.keys, passivate_ns), "passivations/s");
    perf_emit(perf, saved ? "w8_return_saved" : "w8_return",
              perf_rate(RETURNS * job.keys, return_ns), "activations/s");
    perf_emit(perf, saved ? "w8_passivate_saved_left" : "w8_passivate_left",
              (double)(perf_status_bytes("VmRSS") - before) / (double)job.keys, "bytes/actor");
}

void perf_w8_limit(struct perf *perf) {
    struct perf_w8_job job = {.keys = perf_w8_count(perf, PERF_W8_KEYS)};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "perf-limited-counter",
                         .state_size = sizeof(uint64_t),
                         .receive = perf_w8_receive,
                         .active_max = job.keys / LIMIT_PART};
    int64_t before = perf_status_bytes("VmRSS");
    uint64_t elapsed;

    job.type = perf_type(perf, &def);
    elapsed = perf_w8_activate(perf, &job, "w8_limit");
    perf_emit(perf, "w8_limit", perf_rate(job.keys, elapsed), "activations/s");
    perf_emit(perf, "w8_limit_rss",
              (double)(perf_status_bytes("VmRSS") - before) / (double)def.active_max,
              "bytes/actor");
    perf_w8_wait_at_most(perf, job.type, def.active_max);
}
