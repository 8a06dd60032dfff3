/* SPDX-License-Identifier: MIT
 *
 * otp: processes and links.
 *   otp_switch       an actor sends itself messages and takes them out again, as a handler and as a
 *                    process, in turns; what the process takes more for each message, halved: one
 *                    switch to the process's stack, or back, with all that goes with it
 *   otp_link_ring    actors, each linked to the next; one crashes; until all have ended
 *   otp_process_rss  processes that wait in weft_receive; resident memory of each, page tables
 *                    included
 */
#include <errno.h>
#include <stdlib.h>

#include "perf.h"

enum {
    TAG_ITEM = 1,
    SWITCH_MESSAGES = 10000000,
    SWITCH_BURST = 64,
    SWITCH_TURNS = 5,
    RING_ACTORS = 10000,
    RSS_PROCESSES = 100000,
};

struct otp_job {
    struct perf_gate gate;
    uint64_t count;
    uint64_t elapsed_ns;
};

/* ---- otp_switch ---------------------------------------------------------------------------- */

static void burst(weft_ctx *ctx) {
    for (uint64_t i = 0; i < SWITCH_BURST; i++) {
        perf_send(ctx, weft_self(ctx), TAG_ITEM, i);
    }
}

struct taker {
    struct otp_job *job;
    uint64_t taken;
    uint64_t sum;
    uint64_t begin_ns;
};

static void taker_ends(struct taker *taker) {
    uint64_t bursts = taker->taken / SWITCH_BURST;

    if (taker->sum != bursts * (SWITCH_BURST * (SWITCH_BURST - 1) / 2)) {
        perf_die("otp_switch: messages were lost");
    }
    taker->job->elapsed_ns = perf_clock_ns() - taker->begin_ns;
    perf_gate_pass(&taker->job->gate);
}

static int taker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct taker *taker = state;

    memcpy(&taker->job, arg, arg_size);
    taker->begin_ns = perf_clock_ns();
    burst(ctx);
    return WEFT_CONTINUE;
}

static bool taker_takes(weft_ctx *ctx, struct taker *taker, const weft_msg *msg) {
    taker->sum += perf_value(msg);
    taker->taken++;
    if (taker->taken % SWITCH_BURST != 0) {
        return true;
    }
    if (taker->taken >= taker->job->count) {
        taker_ends(taker);
        return false;
    }
    burst(ctx);
    return true;
}

static int taker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    return taker_takes(ctx, state, msg) ? WEFT_CONTINUE : WEFT_STOP;
}

static int taker_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_msg *msg = NULL;

    (void)arg;
    (void)arg_size;
    do {
        perf_check(weft_receive(ctx, WEFT_FOREVER, &msg), "receive");
    } while (taker_takes(ctx, state, msg));
    return WEFT_STOP;
}

static const weft_type_def taker_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                        .name = "perf-taker",
                                        .state_size = sizeof(struct taker),
                                        .init = taker_init,
                                        .receive = taker_receive};
static const weft_type_def taker_process_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                                .name = "perf-taker-process",
                                                .state_size = sizeof(struct taker),
                                                .init = taker_init,
                                                .process = taker_process};

/* Nanoseconds a message. */
static double taker_run(struct perf *perf, const weft_type_def *def) {
    struct otp_job job = {.count = perf_count(perf, SWITCH_MESSAGES)};
    struct otp_job *at = &job;

    perf_gate_init(&job.gate, 1);
    (void)perf_spawn(perf, perf_type(perf, def), &at, sizeof(at));
    perf_gate_wait(&job.gate, "otp_switch");
    uint64_t bursts = (job.count + SWITCH_BURST - 1) / SWITCH_BURST;
    return (double)job.elapsed_ns / (double)(bursts * SWITCH_BURST);
}

void perf_otp_switch(struct perf *perf) {
    double handler = 1e18;
    double process = 1e18;

    for (int turn = 0; turn < SWITCH_TURNS; turn++) {
        double ns = taker_run(perf, &taker_def);
        handler = ns < handler ? ns : handler;
        ns = taker_run(perf, &taker_process_def);
        process = ns < process ? ns : process;
    }
    perf_emit(perf, "otp_switch", (process - handler) / 2, "ns");
    perf_emit(perf, "otp_switch_handler", handler, "ns");
    perf_emit(perf, "otp_switch_process", process, "ns");
}

/* ---- otp_link_ring ------------------------------------------------------------------------- */

struct ring_order {
    weft_pid next;
    struct otp_job *job;
};

static int ring_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct otp_job **job = state;
    struct ring_order order;

    if (weft_msg_size(msg) != sizeof(order)) {
        return -ECANCELED; /* the one that breaks the ring */
    }
    memcpy(&order, weft_msg_data(msg), sizeof(order));
    *job = order.job;
    perf_check(weft_link(ctx, order.next), "link");
    perf_gate_pass(&order.job->gate);
    return WEFT_CONTINUE;
}

static void ring_terminate(weft_ctx *ctx, void *state, int reason) {
    struct otp_job **job = state;

    (void)ctx;
    if (reason != -ECANCELED) {
        perf_die("otp_link_ring: another reason came");
    }
    perf_gate_pass(&(*job)->gate);
}

static const weft_type_def ring_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-link-ring",
                                       .state_size = sizeof(struct otp_job *),
                                       .receive = ring_receive,
                                       .terminate = ring_terminate};

void perf_otp_link_ring(struct perf *perf) {
    uint64_t actors = perf_count(perf, RING_ACTORS);
    weft_pid *pids = perf_alloc(actors, sizeof(*pids));
    struct otp_job job = {.count = actors};

    for (uint64_t i = 0; i < actors; i++) {
        pids[i] = perf_spawn(perf, perf_type(perf, &ring_def), NULL, 0);
    }
    perf_gate_init(&job.gate, actors);
    for (uint64_t i = 0; i < actors; i++) {
        struct ring_order order = {.next = pids[(i + 1) % actors], .job = &job};

        perf_check(weft_runtime_send(perf->runtime, pids[i], TAG_ITEM, &order, sizeof(order)),
                   "send");
    }
    perf_gate_wait(&job.gate, "otp_link_ring: linking");
    perf_gate_init(&job.gate, actors);
    uint64_t begin = perf_clock_ns();
    perf_check(weft_runtime_send(perf->runtime, pids[0], TAG_ITEM, NULL, 0), "send");
    perf_gate_wait(&job.gate, "otp_link_ring");
    perf_emit(perf, "otp_link_ring", perf_rate(actors, perf_clock_ns() - begin), "exits/s");
    free(pids);
}

/* ---- otp_process_rss ----------------------------------------------------------------------- */

static int parked_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct perf_gate *gate;
    weft_msg *msg = NULL;

    (void)state;
    memcpy(&gate, arg, arg_size);
    perf_gate_pass(gate);
    perf_check(weft_receive(ctx, WEFT_FOREVER, &msg), "receive");
    return WEFT_STOP;
}

static const weft_type_def parked_def = {
    .struct_size = WEFT_TYPE_DEF_INIT, .name = "perf-parked", .process = parked_process};

static double resident(void) {
    return (double)(perf_status_bytes("VmRSS") + perf_status_bytes("VmPTE"));
}

void perf_otp_process_rss(struct perf *perf) {
    uint64_t count = perf_count(perf, RSS_PROCESSES);
    weft_pid *pids = perf_alloc(count, sizeof(*pids));
    struct perf_gate gate;
    struct perf_gate *at = &gate;

    memset(pids, 1, count * sizeof(*pids)); /* resident before the first look */
    double before = resident();
    perf_gate_init(&gate, count);
    uint64_t begin = perf_clock_ns();
    for (uint64_t i = 0; i < count; i++) {
        pids[i] = perf_spawn(perf, perf_type(perf, &parked_def), &at, sizeof(at));
    }
    perf_gate_wait(&gate, "otp_process_rss");
    uint64_t elapsed = perf_clock_ns() - begin;
    perf_sleep_ns(50000000);
    perf_emit(perf, "otp_process_rss", (resident() - before) / (double)count, "bytes");
    perf_emit(perf, "otp_process_spawn", perf_rate(count, elapsed), "processes/s");
    for (uint64_t i = 0; i < count; i++) {
        perf_post(perf, pids[i], TAG_ITEM, 0);
    }
    free(pids);
}
