/* SPDX-License-Identifier: MIT
 *
 * w4_spawn: one spawner creates a million actors and sends each an integer at once; each sends it
 * on to one collector and ends. w4_idle: the same, but they stay, and resident memory per actor is
 * what is measured. spawn_memory: a million actors that were only created, by size of their state,
 * and what is still held when all have ended.
 *
 * The spawner creates BATCH actors a turn and goes on by a message to itself: a handler may not
 * run for as long as a million spawns take, and behind each batch its actors run while they are in
 * the cache. An actor has 32 bytes of state, filled from its init argument. The list of pids is
 * the spawner's, 16 bytes an actor, and counts as memory, as the peers' handles do.
 */
#include <stdio.h>
#include <stdlib.h>

#include "perf.h"

enum { TAG_GO = 1, TAG_NUMBER = 2, TAG_COLLECT = 3 };

enum {
    ACTORS = 1000000,
    BATCH = 256,
    EXIT_WAIT_MS = 20000,
};

/* What all actors of one run share; const while they run, but for the last group. */
struct spawn_job {
    uint64_t actors;
    const weft_type *child;
    weft_pid collector;
    struct perf_gate gate;
    /* spawner and collector, one writer each */
    weft_pid *pids; /* NULL: not kept */
    uint64_t sum;
};

struct child {
    weft_pid collector;
    uint64_t value;
    uint64_t messages;
};
_Static_assert(sizeof(struct child) == 32, "an idle actor has 32 bytes of state");

struct spawner {
    struct spawn_job *job;
    uint64_t next;
};

struct collector {
    struct spawn_job *job;
    uint64_t left;
    uint64_t sum;
};

static int child_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct child *child = state;

    (void)ctx;
    memcpy(&child->collector, arg, arg_size);
    return WEFT_CONTINUE;
}

static int child_receive_stay(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct child *child = state;

    child->value = perf_value(msg);
    child->messages++;
    perf_send(ctx, child->collector, TAG_COLLECT, child->value);
    return WEFT_CONTINUE;
}

static int child_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)child_receive_stay(ctx, state, msg); /* it says: stay */
    return WEFT_STOP;
}

static int job_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int collector_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct collector *collector = state;

    (void)ctx;
    collector->sum += perf_value(msg);
    collector->left--;
    if (collector->left == 0) {
        collector->job->sum = collector->sum;
        perf_gate_pass(&collector->job->gate);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

static int spawner_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct spawner *spawner = state;
    struct spawn_job *job = spawner->job;
    uint64_t end = spawner->next + BATCH;

    (void)msg; /* START and its own message mean the same: go on */
    if (end > job->actors) {
        end = job->actors;
    }
    for (; spawner->next < end; spawner->next++) {
        weft_pid pid = weft_pid_none();

        perf_check(weft_spawn(ctx, job->child, &job->collector, sizeof(job->collector), &pid),
                   "spawn");
        perf_send(ctx, pid, TAG_NUMBER, spawner->next);
        if (job->pids != NULL) {
            job->pids[spawner->next] = pid;
        }
    }
    if (end == job->actors) {
        /* The gate counts the spawner too: the list is complete when it opens. */
        perf_gate_pass(&job->gate);
        return WEFT_STOP;
    }
    perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    return WEFT_CONTINUE;
}

static const weft_type_def child_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                        .name = "perf-child",
                                        .state_size = sizeof(struct child),
                                        .init = child_init,
                                        .receive = child_receive};
static const weft_type_def idle_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-idle",
                                       .state_size = sizeof(struct child),
                                       .init = child_init,
                                       .receive = child_receive_stay};
static const weft_type_def spawner_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                          .name = "perf-spawner",
                                          .state_size = sizeof(struct spawner),
                                          .init = job_init,
                                          .receive = spawner_receive};
static const weft_type_def collector_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                            .name = "perf-collector",
                                            .state_size = sizeof(struct collector),
                                            .init = job_init,
                                            .receive = collector_receive,
                                            .mailbox_max = WEFT_MAILBOX_UNBOUNDED};

/* Runs the job; nanoseconds until the collector has everything. */
static uint64_t job_run(struct perf *perf, struct spawn_job *job, const char *name) {
    struct collector collector = {.job = job, .left = job->actors};
    struct spawner spawner = {.job = job};
    weft_pid pid;
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&job->gate, 2);
    job->collector =
        perf_spawn(perf, perf_type(perf, &collector_def), &collector, sizeof(collector));
    pid = perf_spawn(perf, perf_type(perf, &spawner_def), &spawner, sizeof(spawner));
    begin = perf_clock_ns();
    perf_post(perf, pid, TAG_GO, 0);
    perf_gate_wait(&job->gate, name);
    elapsed = perf_clock_ns() - begin;
    if (job->sum != job->actors * (job->actors - 1) / 2) {
        perf_die("%s: the sum is wrong", name);
    }
    return elapsed;
}

void perf_w4_spawn(struct perf *perf) {
    struct spawn_job job = {.actors = perf_count(perf, ACTORS),
                            .child = perf_type(perf, &child_def)};

    perf_emit(perf, "w4_spawn", perf_rate(job.actors, job_run(perf, &job, "w4_spawn")), "actors/s");
}

void perf_w4_idle(struct perf *perf) {
    struct spawn_job job = {.actors = perf_count(perf, ACTORS),
                            .child = perf_type(perf, &idle_def)};
    int64_t before;
    double actors = (double)job.actors;

    /* Untouched memory: its pages become resident as the spawner fills it. */
    job.pids = malloc(job.actors * sizeof(*job.pids));
    if (job.pids == NULL) {
        perf_die("out of memory");
    }
    before = perf_status_bytes("VmRSS");
    (void)job_run(perf, &job, "w4_idle"); /* its time is not wanted */
    perf_emit(perf, "w4_idle_rss", (double)(perf_status_bytes("VmRSS") - before) / actors,
              "bytes/actor");
    perf_emit(perf, "w4_idle_peak", (double)(perf_status_bytes("VmHWM") - before) / actors,
              "bytes/actor");
    perf_stop_all(perf, job.pids, job.actors);
    free(job.pids);
}

/* ---- spawn_memory --------------------------------------------------------------------------- */

static int memory_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

struct memory_spawner {
    weft_pid *pids;
    const weft_type *type;
    uint64_t actors;
    uint64_t next;
    struct perf_gate *gate;
};

static int memory_spawner_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct memory_spawner *spawner = state;
    uint64_t end = spawner->next + BATCH;

    (void)msg;
    if (end > spawner->actors) {
        end = spawner->actors;
    }
    for (; spawner->next < end; spawner->next++) {
        perf_check(weft_spawn(ctx, spawner->type, NULL, 0, &spawner->pids[spawner->next]), "spawn");
    }
    if (end == spawner->actors) {
        perf_gate_pass(spawner->gate);
        return WEFT_STOP;
    }
    perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    return WEFT_CONTINUE;
}

static const weft_type_def memory_spawner_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                                 .name = "perf-memory-spawner",
                                                 .state_size = sizeof(struct memory_spawner),
                                                 .init = job_init,
                                                 .receive = memory_spawner_receive};

/* Until no actor lives; polled, since nothing tells the outside that an actor has ended. */
static void memory_wait_none(struct perf *perf) {
    weft_gauges gauges = {.struct_size = sizeof(gauges)};

    for (uint32_t i = 0; i < EXIT_WAIT_MS; i++) {
        perf_check(weft_gauges_read(perf->runtime, &gauges), "gauges");
        if (gauges.actors == 0) {
            return;
        }
        perf_sleep_ns(1000000);
    }
    perf_die("spawn_memory: %llu actors have not ended", (unsigned long long)gauges.actors);
}

/* The pages of the list are touched before, so the figure is the library's alone. */
void perf_spawn_memory(struct perf *perf) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "perf-memory",
                         .state_size = perf->parameter,
                         .receive = memory_receive};
    struct perf_gate gate;
    struct memory_spawner spawner = {
        .type = perf_type(perf, &def), .actors = perf_count(perf, ACTORS), .gate = &gate};
    char name[PERF_NAME_BYTES];
    int64_t before;

    spawner.pids = perf_alloc(spawner.actors, sizeof(*spawner.pids));
    memset(spawner.pids, 1, spawner.actors * sizeof(*spawner.pids));
    perf_gate_init(&gate, 1);
    before = perf_status_bytes("VmRSS");
    perf_post(perf,
              perf_spawn(perf, perf_type(perf, &memory_spawner_def), &spawner, sizeof(spawner)),
              TAG_GO, 0);
    perf_gate_wait(&gate, "spawn_memory");
    (void)snprintf(name, sizeof(name), "spawn_memory_%u", perf->parameter);
    perf_emit(perf, name, (double)(perf_status_bytes("VmRSS") - before) / (double)spawner.actors,
              "bytes/actor");
    perf_stop_all(perf, spawner.pids, spawner.actors);
    memory_wait_none(perf);
    (void)snprintf(name, sizeof(name), "spawn_memory_%u_left", perf->parameter);
    perf_emit(perf, name, (double)(perf_status_bytes("VmRSS") - before) / (double)spawner.actors,
              "bytes/actor");
    free(spawner.pids);
}
