/* SPDX-License-Identifier: MIT
 *
 * timers_1m: one actor starts a million timers, due in one to two minutes, and cancels them all:
 * nanoseconds per start and per cancel, resident bytes per pending timer. timers_late: timers of
 * 10 to 510 ms; how late are they, on a runtime with nothing else to do and on one whose
 * schedulers are kept busy by 1,000 pairs of actors?
 *
 * The actor works in batches and goes on by a message to itself; only the batches are timed. The
 * handles of the timers are in memory that was touched before. Lateness counts from the clock read
 * before the start of the timer; one that is early by the age of the scheduler's clock counts as 0.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "perf.h"

enum { TAG_GO = 1, TAG_TIMER = 2 };

enum {
    TIMERS = 1000000,
    BATCH = 1024,
    LATE_TIMERS = 2000,
    LOAD_PAIRS = 1000,
};

static const uint64_t far_ns = UINT64_C(60000000000);
static const uint64_t near_ns = UINT64_C(10000000);
static const uint64_t near_spread_ns = UINT64_C(500000000);
/* A scheduler's clock is some handlers old. Earlier than this would be a defect. */
static const uint64_t early_max_ns = UINT64_C(1000000);

static int job_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

/* ---- start and cancel ----------------------------------------------------------------------- */

struct many_job {
    uint64_t count;
    weft_timer *timers;
    /* the actor only, until a gate opens */
    uint64_t next;
    uint64_t seed;
    bool cancelling;
    uint64_t busy_ns;
    struct perf_gate gate;
};

static void many_start(weft_ctx *ctx, struct many_job *job, uint64_t end) {
    for (; job->next < end; job->next++) {
        perf_check(weft_timer_start(ctx, far_ns + perf_random(&job->seed) % far_ns, TAG_TIMER, 0,
                                    &job->timers[job->next]),
                   "timer");
    }
}

static void many_cancel(weft_ctx *ctx, struct many_job *job, uint64_t end) {
    for (; job->next < end; job->next++) {
        if (!weft_timer_cancel(ctx, job->timers[job->next])) {
            perf_die("timers_1m: timer %" PRIu64 " was not pending", job->next);
        }
    }
}

static int many_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct many_job *job = *(struct many_job **)state;
    uint64_t end = job->next + BATCH;
    uint64_t begin = perf_clock_ns();

    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        perf_die("timers_1m: a timer fired a minute early");
    }
    end = end < job->count ? end : job->count;
    if (job->cancelling) {
        many_cancel(ctx, job, end);
    } else {
        many_start(ctx, job, end);
    }
    job->busy_ns += perf_clock_ns() - begin;
    if (job->next == job->count) {
        perf_gate_pass(&job->gate);
        return WEFT_CONTINUE;
    }
    perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    return WEFT_CONTINUE;
}

static const weft_type_def many_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-timers",
                                       .state_size = sizeof(struct many_job *),
                                       .init = job_init,
                                       .receive = many_receive};

/* One pass over all timers; nanoseconds per timer. */
static double many_pass(struct perf *perf, struct many_job *job, weft_pid pid, bool cancelling) {
    perf_gate_init(&job->gate, 1);
    job->next = 0;
    job->busy_ns = 0;
    job->cancelling = cancelling;
    perf_post(perf, pid, TAG_GO, 0);
    perf_gate_wait(&job->gate, "timers_1m");
    return (double)job->busy_ns / (double)job->count;
}

void perf_timers(struct perf *perf) {
    struct many_job job = {.count = perf_count(perf, TIMERS), .seed = 1};
    struct many_job *shared = &job;
    weft_pid pid = perf_spawn(perf, perf_type(perf, &many_def), &shared, sizeof(shared));
    double start_ns;
    double cancel_ns;
    int64_t before;
    int64_t bytes;

    job.timers = perf_alloc(job.count, sizeof(*job.timers));
    memset(job.timers, 1, job.count * sizeof(*job.timers));
    before = perf_status_bytes("VmRSS");
    start_ns = many_pass(perf, &job, pid, false);
    bytes = perf_status_bytes("VmRSS") - before;
    cancel_ns = many_pass(perf, &job, pid, true);
    perf_emit(perf, "timers_1m_start", start_ns, "ns");
    perf_emit(perf, "timers_1m_bytes", (double)bytes / (double)job.count, "bytes/timer");
    perf_emit(perf, "timers_1m_cancel", cancel_ns, "ns");
    perf_stop_all(perf, &pid, 1);
    free(job.timers);
}

/* ---- lateness ------------------------------------------------------------------------------- */

struct late_job {
    uint64_t count;
    uint64_t *due_ns; /* the actor only, as all below, until the gate opens */
    uint64_t *late_ns;
    uint64_t fired;
    uint64_t seed;
    struct perf_gate gate;
};

static void late_start(weft_ctx *ctx, struct late_job *job) {
    for (uint64_t i = 0; i < job->count; i++) {
        uint64_t delay = near_ns + perf_random(&job->seed) % near_spread_ns;

        job->due_ns[i] = perf_clock_ns() + delay;
        perf_check(weft_timer_start(ctx, delay, TAG_TIMER, i, NULL), "timer");
    }
}

static int late_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct late_job *job = *(struct late_job **)state;
    uint64_t now = perf_clock_ns();
    uint64_t due;

    if (weft_msg_kind(msg) != WEFT_MSG_TIMER) {
        late_start(ctx, job);
        return WEFT_CONTINUE;
    }
    due = job->due_ns[weft_msg_token(msg)];
    if (now + early_max_ns < due) {
        perf_die("timers_late: a timer fired %" PRIu64 " ns early", due - now);
    }
    job->late_ns[job->fired] = now > due ? now - due : 0;
    job->fired++;
    if (job->fired == job->count) {
        perf_gate_pass(&job->gate);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

static const weft_type_def late_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-timers-late",
                                       .state_size = sizeof(struct late_job *),
                                       .init = job_init,
                                       .receive = late_receive};

/* Microseconds below which 99 % of the timers' lateness lies. */
static double late_run(struct perf *perf) {
    struct late_job job = {.count = perf_count(perf, LATE_TIMERS), .seed = 1};
    struct late_job *shared = &job;
    weft_pid pid = perf_spawn(perf, perf_type(perf, &late_def), &shared, sizeof(shared));
    double result;

    job.due_ns = perf_alloc(job.count, sizeof(*job.due_ns));
    job.late_ns = perf_alloc(job.count, sizeof(*job.late_ns));
    perf_gate_init(&job.gate, 1);
    perf_post(perf, pid, TAG_GO, 0);
    perf_gate_wait(&job.gate, "timers_late");
    perf_sort(job.late_ns, job.count);
    result = (double)perf_quantile(job.late_ns, job.count, 990) / 1e3;
    free(job.due_ns);
    free(job.late_ns);
    return result;
}

void perf_timers_late(struct perf *perf) {
    struct perf_pairs_load load;

    perf_emit(perf, "timers_late_idle_p99", late_run(perf), "us");
    perf_pairs_load_start(perf, LOAD_PAIRS, &load);
    perf_emit(perf, "timers_late_loaded_p99", late_run(perf), "us");
    perf_pairs_load_stop(perf, &load);
}
