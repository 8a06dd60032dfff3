/* SPDX-License-Identifier: MIT
 *
 * mailbox_wait: how long a message waits at half of the rate that can be had at most.
 *
 * A generator sends to 64 unpinned actors in turn, first as fast as it can, which gives the rate,
 * then on a schedule of half that rate. The schedule is open loop: message i is due at
 * begin + i * interval whatever happened to the ones before, it carries i, and its latency counts
 * from when it was due to its handler. So a generator held up by the runtime cannot hide waits
 * (coordinated omission). Both phases read the clock once a message, in the receiver.
 *
 * The generator is pinned to scheduler 1. It sends what is due, at most BATCH messages a turn, and
 * goes on by a message to itself; so that scheduler never sleeps in this workload.
 */
#include <stdalign.h>
#include <stdlib.h>

#include "perf.h"

enum { TAG_GO = 1, TAG_NUMBER = 2 };

enum {
    RECEIVERS = 64,
    BATCH = 64,
    FAST_MESSAGES = 2000000,
    SLOW_MESSAGES = 2000000,
};

/* One receiver's, written by it alone until the gate opens. */
struct receiver {
    alignas(PERF_CACHE_PAIR) struct mailbox_job *job;
    uint64_t received;
    uint64_t *latencies;
};

struct mailbox_job {
    /* const while it runs */
    uint64_t messages;    /* a multiple of RECEIVERS */
    uint64_t interval_ps; /* between two messages; 0: as fast as possible */
    struct receiver *receivers;
    weft_pid pids[RECEIVERS];
    /* generator only; begin_ns also the receivers, by messages */
    uint64_t begin_ns;
    uint64_t sent;
    /* any thread */
    struct perf_gate gate; /* every receiver that has all its messages */
};

static int pointer_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int generator_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct mailbox_job *job = *(struct mailbox_job **)state;
    uint64_t due = job->messages;
    uint64_t end = job->sent + BATCH;

    (void)msg; /* START and its own message mean the same: go on */
    if (job->begin_ns == 0) {
        job->begin_ns = perf_clock_ns();
    }
    if (job->interval_ps != 0) {
        due = (perf_clock_ns() - job->begin_ns) * 1000 / job->interval_ps + 1;
    }
    end = end < due ? end : due;
    end = end < job->messages ? end : job->messages;
    for (; job->sent < end; job->sent++) {
        perf_send(ctx, job->pids[job->sent % RECEIVERS], TAG_NUMBER, job->sent);
    }
    if (job->sent == job->messages) {
        perf_gate_pass(&job->gate);
        return WEFT_STOP;
    }
    perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    return WEFT_CONTINUE;
}

static int receiver_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct receiver *receiver = *(struct receiver **)state;
    const struct mailbox_job *job = receiver->job;
    uint64_t due = job->begin_ns + perf_value(msg) * job->interval_ps / 1000;

    (void)ctx;
    receiver->latencies[receiver->received] = perf_clock_ns() - due;
    receiver->received++;
    if (receiver->received == job->messages / RECEIVERS) {
        perf_gate_pass(&receiver->job->gate);
    }
    return WEFT_CONTINUE;
}

static const weft_type_def generator_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                            .name = "perf-generator",
                                            .state_size = sizeof(struct mailbox_job *),
                                            .init = pointer_init,
                                            .receive = generator_receive};
static const weft_type_def receiver_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                           .name = "perf-mailbox-receiver",
                                           .state_size = sizeof(struct receiver *),
                                           .init = pointer_init,
                                           .receive = receiver_receive,
                                           .mailbox_max = WEFT_MAILBOX_UNBOUNDED};

/* One phase; nanoseconds from the start to the last receipt. latencies: one for each message. */
static uint64_t phase_run(struct perf *perf, struct mailbox_job *job, uint64_t *latencies) {
    const weft_type *type = perf_type(perf, &receiver_def);
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &job,
                                  .arg_size = sizeof(job),
                                  .scheduler = 1,
                                  .pin = true};
    weft_pid generator;
    uint64_t elapsed;

    job->receivers = perf_alloc_aligned(RECEIVERS, sizeof(*job->receivers));
    perf_gate_init(&job->gate, RECEIVERS + 1);
    for (uint32_t i = 0; i < RECEIVERS; i++) {
        struct receiver *receiver = &job->receivers[i];

        receiver->job = job;
        receiver->latencies = latencies + i * (job->messages / RECEIVERS);
        job->pids[i] = perf_spawn(perf, type, &receiver, sizeof(receiver));
    }
    generator = perf_spawn_with(perf, perf_type(perf, &generator_def), &options);
    perf_post(perf, generator, TAG_GO, 0);
    perf_gate_wait(&job->gate, "mailbox_wait");
    elapsed = perf_clock_ns() - job->begin_ns;
    perf_stop_all(perf, job->pids, RECEIVERS);
    free(job->receivers);
    return elapsed;
}

/* A multiple of the receivers, at least one each. */
static uint64_t phase_count(const struct perf *perf, uint64_t count) {
    return (perf_count(perf, count) / RECEIVERS + 1) * RECEIVERS;
}

void perf_mailbox_wait(struct perf *perf) {
    struct mailbox_job fast = {.messages = phase_count(perf, FAST_MESSAGES)};
    struct mailbox_job slow = {.messages = phase_count(perf, SLOW_MESSAGES)};
    uint64_t *latencies = perf_alloc(fast.messages + slow.messages, sizeof(*latencies));
    uint64_t elapsed;

    elapsed = phase_run(perf, &fast, latencies);
    perf_emit(perf, "mailbox_rate", perf_rate(fast.messages, elapsed), "msgs/s");
    slow.interval_ps = 2 * elapsed * 1000 / fast.messages;
    elapsed = phase_run(perf, &slow, latencies);
    perf_sort(latencies, slow.messages);
    perf_emit(perf, "mailbox_wait_rate", perf_rate(slow.messages, elapsed), "msgs/s");
    perf_emit(perf, "mailbox_wait_p50", (double)perf_quantile(latencies, slow.messages, 500) / 1e3,
              "us");
    perf_emit(perf, "mailbox_wait_p99", (double)perf_quantile(latencies, slow.messages, 990) / 1e3,
              "us");
    perf_emit(perf, "mailbox_wait_p999", (double)perf_quantile(latencies, slow.messages, 999) / 1e3,
              "us");
    free(latencies);
}
