/* SPDX-License-Identifier: MIT
 *
 * What a message costs from one core to another.
 *   cross_running   two actors pinned to schedulers 1 and 2 bounce an integer while both
 *                   schedulers spin for work: nanoseconds per message, half a round trip, beside
 *                   one cache line there and back
 *   cross_sleeping  an actor on scheduler 1 sends to one on scheduler 2, which sleeps: from the
 *                   clock read before the send to the one in the handler, beside the same with a
 *                   bare futex wake
 * The schedulers are pinned to CPUs, as the threads of the floors are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "perf.h"

enum { TAG_START = 1, TAG_TICK = 2, TAG_STAMP = 3 };

enum {
    RUNNING_ROUNDS = 200000,
    SLEEPING_SAMPLES = 500,
    SLEEPING_PAUSE_NS = 1000000, /* well above the time a scheduler spins */
};

static void configure_two(weft_config *config) {
    config->schedulers = 2;
    config->pinning = WEFT_PIN_CPUS;
}

void perf_cross_running_configure(weft_config *config) {
    configure_two(config);
    config->spin_ns = 1000000000U;
}

void perf_cross_sleeping_configure(weft_config *config) {
    configure_two(config);
}

/* With one core, or --set scheduler.count=1, there is nothing to cross. */
static bool crossing_possible(struct perf *perf, const char *name, double limit) {
    if (limit > 0 && weft_runtime_schedulers(perf->runtime) >= 2) {
        return true;
    }
    (void)fprintf(stderr, "weft-perf: %s needs two cores and two schedulers\n", name);
    return false;
}

void perf_cross_running(struct perf *perf) {
    struct perf_pairs_plan plan = {.pairs = 1,
                                   .rounds = perf_count(perf, RUNNING_ROUNDS),
                                   .ping_scheduler = 1,
                                   .pong_scheduler = 2};
    double limit;
    double message;

    /* The floor is measured in a process whose schedulers sleep: ours would spin beside it. */
    perf_runtime_stop(perf);
    limit = perf_limit_cacheline_ns();
    perf_runtime_start(perf);
    if (!crossing_possible(perf, "cross_running", limit)) {
        return;
    }
    message = (double)perf_pairs_run(perf, &plan) / (2.0 * (double)plan.rounds);
    perf_emit(perf, "limit_cacheline_rtt", limit, "ns");
    perf_emit(perf, "cross_running", message, "ns");
    perf_emit(perf, "cross_running_ratio", message / limit, "x");
}

/* ---- cross_sleeping ------------------------------------------------------------------------- */

struct sleeping_job {
    weft_pid receiver;
    uint64_t count;
    uint64_t *samples; /* receiver only, until the gate opens */
    struct perf_gate gate;
};

/* State of both: the sender counts what it sent, the receiver what it got. */
struct sleeping {
    struct sleeping_job *job;
    uint64_t done;
};

static int sleeping_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int sender_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct sleeping *sender = state;

    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        perf_send(ctx, sender->job->receiver, TAG_STAMP, perf_clock_ns());
        sender->done++;
        if (sender->done == sender->job->count) {
            perf_gate_pass(&sender->job->gate);
            return WEFT_STOP;
        }
    }
    perf_check(weft_timer_start(ctx, SLEEPING_PAUSE_NS, TAG_TICK, 0, NULL), "timer");
    return WEFT_CONTINUE;
}

static int receiver_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct sleeping *receiver = state;
    uint64_t now = perf_clock_ns();

    (void)ctx;
    receiver->job->samples[receiver->done] = now - perf_value(msg);
    receiver->done++;
    if (receiver->done == receiver->job->count) {
        perf_gate_pass(&receiver->job->gate);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

static const weft_type_def sender_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-sleeping-sender",
                                         .state_size = sizeof(struct sleeping),
                                         .init = sleeping_init,
                                         .receive = sender_receive};
static const weft_type_def receiver_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                           .name = "perf-sleeping-receiver",
                                           .state_size = sizeof(struct sleeping),
                                           .init = sleeping_init,
                                           .receive = receiver_receive};

static void sleeping_run(struct perf *perf, struct sleeping_job *job) {
    struct sleeping state = {.job = job};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &state,
                                  .arg_size = sizeof(state),
                                  .scheduler = 2,
                                  .pin = true};
    weft_pid sender;

    perf_gate_init(&job->gate, 2);
    job->receiver = perf_spawn_with(perf, perf_type(perf, &receiver_def), &options);
    options.scheduler = 1;
    sender = perf_spawn_with(perf, perf_type(perf, &sender_def), &options);
    perf_post(perf, sender, TAG_START, 0);
    perf_gate_wait(&job->gate, "cross_sleeping");
    perf_sort(job->samples, job->count);
}

void perf_cross_sleeping(struct perf *perf) {
    struct sleeping_job job = {.count = perf_count(perf, SLEEPING_SAMPLES)};
    double limit = perf_limit_futex_ns((uint32_t)job.count);
    double latency;

    if (!crossing_possible(perf, "cross_sleeping", limit)) {
        return;
    }
    job.samples = perf_alloc(job.count, sizeof(*job.samples));
    sleeping_run(perf, &job);
    latency = (double)perf_quantile(job.samples, job.count, 500);
    perf_emit(perf, "limit_futex_wake", limit / 1e3, "us");
    perf_emit(perf, "cross_sleeping", latency / 1e3, "us");
    perf_emit(perf, "cross_sleeping_p99", (double)perf_quantile(job.samples, job.count, 990) / 1e3,
              "us");
    perf_emit(perf, "cross_sleeping_ratio", latency / limit, "x");
    free(job.samples);
}
