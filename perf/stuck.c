/* SPDX-License-Identifier: MIT
 *
 * stuck: two schedulers, one handler that computes for a second, and 64 other actors that send
 * each other a message a millisecond each. How late are their messages meanwhile?
 *
 * Open loop: every actor has a timer for its next message and sends, when it fires, all messages
 * that were due by then, each stamped with the time it was due. Latency is from that time to the
 * receiving handler, so it holds the timer's lateness, and a wait hides no later message. Half of
 * the actors start on either scheduler; the one that gets stuck is pinned to scheduler 2.
 * stuck_base_p99 is the same from the messages that were due before.
 */
#include <stdlib.h>

#include "perf.h"

enum { TAG_START = 1, TAG_TICK = 2, TAG_STAMP = 3 };

enum {
    ACTORS = 64,
    PERIOD_NS = 1000000,
    BEFORE_TICKS = 250,
    STUCK_TICKS = 1000,
    AFTER_TICKS = 100,
    SETTLE_NS = 50000000, /* after the start; not counted */
};

struct sample {
    uint64_t due_ns;
    uint64_t latency_ns;
};

struct talker;

struct stuck_job {
    /* const while it runs */
    uint64_t begin_ns;
    uint64_t ticks; /* messages each actor sends */
    uint64_t stuck_ns;
    weft_pid pids[ACTORS];
    struct talker *talkers;
    /* the stuck handler only, until its gate pass */
    uint64_t stuck_from_ns;
    uint64_t stuck_to_ns;
    /* any thread */
    struct perf_gate gate; /* every message received, and the stuck handler */
};

/* One actor's, touched by it alone until the gate opens. */
struct talker {
    struct stuck_job *job;
    uint32_t index;
    uint64_t sent;
    uint64_t received;
    struct sample *samples;
};

static int pointer_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

/* Ticks of the actors are spread evenly over the period. */
static uint64_t talker_due(const struct talker *talker) {
    return talker->job->begin_ns + talker->sent * PERIOD_NS +
           (uint64_t)talker->index * (PERIOD_NS / ACTORS);
}

/* The next tick is when the next message is due: a timer of its own, so that its phase is exact. */
static void talker_wait(weft_ctx *ctx, const struct talker *talker) {
    uint64_t now = perf_clock_ns();
    uint64_t due = talker_due(talker);

    perf_check(weft_timer_start(ctx, due > now ? due - now : 0, TAG_TICK, 0, NULL), "timer");
}

static void talker_tick(weft_ctx *ctx, struct talker *talker) {
    struct stuck_job *job = talker->job;
    uint64_t now = perf_clock_ns();

    /* Bounded by ticks. Targets go round, so that all receive the same number. */
    while (talker->sent < job->ticks && talker_due(talker) <= now) {
        uint64_t target = (talker->index + 1 + talker->sent % (ACTORS - 1)) % ACTORS;

        perf_send(ctx, job->pids[target], TAG_STAMP, talker_due(talker));
        talker->sent++;
    }
    if (talker->sent < job->ticks) {
        talker_wait(ctx, talker);
    }
}

static int talker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct talker *talker = *(struct talker **)state;
    struct sample *sample;
    uint64_t now;

    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        talker_tick(ctx, talker);
        return WEFT_CONTINUE;
    }
    if (weft_msg_tag(msg) == TAG_START) {
        talker_wait(ctx, talker);
        return WEFT_CONTINUE;
    }
    now = perf_clock_ns();
    sample = &talker->samples[talker->received];
    sample->due_ns = perf_value(msg);
    sample->latency_ns = now - sample->due_ns;
    talker->received++;
    perf_gate_pass(&talker->job->gate);
    return WEFT_CONTINUE;
}

static int stuck_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct stuck_job *job = *(struct stuck_job **)state;

    (void)ctx;
    (void)msg;
    job->stuck_from_ns = perf_clock_ns();
    do {
        job->stuck_to_ns = perf_clock_ns();
    } while (job->stuck_to_ns - job->stuck_from_ns < job->stuck_ns);
    perf_gate_pass(&job->gate);
    return WEFT_STOP;
}

static const weft_type_def talker_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-talker",
                                         .state_size = sizeof(struct talker *),
                                         .init = pointer_init,
                                         .receive = talker_receive};
static const weft_type_def stuck_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                        .name = "perf-stuck",
                                        .state_size = sizeof(struct stuck_job *),
                                        .init = pointer_init,
                                        .receive = stuck_receive};

void perf_stuck_configure(weft_config *config) {
    config->schedulers = 2;
}

/* Gathers the latencies of messages that were due in [from, to), sorted. */
static uint64_t stuck_gather(const struct stuck_job *job, uint64_t from, uint64_t to,
                             uint64_t *ret_latencies) {
    uint64_t count = 0;

    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct talker *talker = &job->talkers[i];

        for (uint64_t j = 0; j < talker->received; j++) {
            if (talker->samples[j].due_ns >= from && talker->samples[j].due_ns < to) {
                ret_latencies[count] = talker->samples[j].latency_ns;
                count++;
            }
        }
    }
    perf_sort(ret_latencies, count);
    return count;
}

static void stuck_emit(struct perf *perf, const struct stuck_job *job) {
    uint64_t *latencies = perf_alloc(ACTORS * job->ticks, sizeof(*latencies));
    uint64_t count = stuck_gather(job, job->begin_ns + SETTLE_NS, job->stuck_from_ns, latencies);

    perf_emit(perf, "stuck_base_p99", (double)perf_quantile(latencies, count, 990) / 1e3, "us");
    count = stuck_gather(job, job->stuck_from_ns, job->stuck_to_ns, latencies);
    perf_emit(perf, "stuck_p99", (double)perf_quantile(latencies, count, 990) / 1e3, "us");
    perf_emit(perf, "stuck_max", (double)latencies[count - 1] / 1e3, "us");
    free(latencies);
}

static void stuck_spawn_talkers(struct perf *perf, struct stuck_job *job) {
    const weft_type *type = perf_type(perf, &talker_def);

    for (uint32_t i = 0; i < ACTORS; i++) {
        struct talker *talker = &job->talkers[i];
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT,
            .arg = &talker,
            .arg_size = sizeof(talker),
            .scheduler = 1 + i % weft_runtime_schedulers(perf->runtime),
        };

        talker->job = job;
        talker->index = i;
        /* Each of the others sends it one message in 63, and one more in a round begun. */
        talker->samples = perf_alloc(job->ticks + ACTORS, sizeof(*talker->samples));
        job->pids[i] = perf_spawn_with(perf, type, &options);
    }
}

void perf_stuck(struct perf *perf) {
    struct stuck_job *job = perf_alloc_aligned(1, sizeof(*job));
    uint64_t stuck_ticks = perf_count(perf, STUCK_TICKS);
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT,
        .arg = &job,
        .arg_size = sizeof(job),
        .scheduler = weft_runtime_schedulers(perf->runtime) >= 2 ? 2 : 1,
        .pin = true,
    };
    weft_pid stuck;

    job->talkers = perf_alloc_aligned(ACTORS, sizeof(*job->talkers));
    job->ticks = BEFORE_TICKS + stuck_ticks + AFTER_TICKS;
    job->stuck_ns = stuck_ticks * PERIOD_NS;
    perf_gate_init(&job->gate, ACTORS * job->ticks + 1);
    stuck_spawn_talkers(perf, job);
    stuck = perf_spawn_with(perf, perf_type(perf, &stuck_def), &options);
    job->begin_ns = perf_clock_ns();
    for (uint32_t i = 0; i < ACTORS; i++) {
        perf_post(perf, job->pids[i], TAG_START, 0);
    }
    perf_sleep_ns((uint64_t)BEFORE_TICKS * PERIOD_NS);
    perf_post(perf, stuck, TAG_START, 0);
    perf_gate_wait(&job->gate, "stuck");
    stuck_emit(perf, job);
    perf_stop_all(perf, job->pids, ACTORS);
    for (uint32_t i = 0; i < ACTORS; i++) {
        free(job->talkers[i].samples);
    }
    free(job->talkers);
    free(job);
}
