/* SPDX-License-Identifier: MIT
 *
 * Pairs of actors with one message in flight each: w1_pingpong (one pair), w2_pairs (1,000) and
 * scaling (w2 with 1..n schedulers); other workloads use pairs as probe or as load.
 *
 * Ping sends an integer, pong sends it back to whoever sent it, ping checks it and sends the
 * next. Pairs are spawned before the clock starts, and the main thread starts each ping with a
 * message, so that pairs begin spread over the schedulers. An ended ping ends its pong.
 */
#include <stdio.h>
#include <stdlib.h>

#include "perf.h"

enum { TAG_START = 1, TAG_BALL = 2 };

enum {
    W1_ROUNDS = 4000000,
    W2_PAIRS = 1000,
    W2_ROUNDS = 10000,
    SCALING_ROUNDS = 5000,
};

struct ping {
    weft_pid pong;
    uint64_t rounds;
    uint64_t next;          /* the integer that is out */
    struct perf_gate *gate; /* NULL: load, which is stopped from outside */
};

static int pong_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state; /* has none */
    perf_send(ctx, weft_sender(ctx, msg), TAG_BALL, perf_value(msg));
    return WEFT_CONTINUE;
}

/* A pong of the load may outlive its ping by a message: that one is lost, and that is right. */
static int pong_receive_load(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t value = perf_value(msg);
    int result = weft_send(ctx, weft_sender(ctx, msg), TAG_BALL, &value, sizeof(value));

    (void)state; /* has none */
    if (result != WEFT_E_NOPROC) {
        perf_check(result, "send");
    }
    return WEFT_CONTINUE;
}

static int ping_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int ping_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct ping *ping = state;

    if (__builtin_expect(weft_msg_tag(msg) == TAG_BALL, 1)) {
        if (perf_value(msg) != ping->next) {
            perf_die("pairs: another integer came back");
        }
        ping->next++;
        if (ping->next == ping->rounds) {
            perf_check(weft_stop(ctx, ping->pong, 0), "stop");
            perf_gate_pass(ping->gate);
            return WEFT_STOP;
        }
    }
    if (ping->gate == NULL) {
        uint64_t value = ping->next;
        int result = weft_send(ctx, ping->pong, TAG_BALL, &value, sizeof(value));

        if (result == WEFT_E_NOPROC) {
            return WEFT_STOP;
        }
        perf_check(result, "send");
        return WEFT_CONTINUE;
    }
    perf_send(ctx, ping->pong, TAG_BALL, ping->next);
    return WEFT_CONTINUE;
}

static const weft_type_def ping_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-ping",
                                       .state_size = sizeof(struct ping),
                                       .init = ping_init,
                                       .receive = ping_receive};
static const weft_type_def pong_def = {
    .struct_size = WEFT_TYPE_DEF_INIT, .name = "perf-pong", .receive = pong_receive};
static const weft_type_def pong_load_def = {
    .struct_size = WEFT_TYPE_DEF_INIT, .name = "perf-pong-load", .receive = pong_receive_load};

/* Spawns one pair; pids[0] is ping, pids[1] pong. */
static void pair_spawn(struct perf *perf, const struct perf_pairs_plan *plan,
                       struct perf_gate *gate, weft_pid pids[2]) {
    struct ping ping = {.rounds = plan->rounds, .gate = gate};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .scheduler = plan->pong_scheduler,
                                  .pin = plan->pong_scheduler != WEFT_ANY_SCHEDULER};

    pids[1] =
        perf_spawn_with(perf, perf_type(perf, gate != NULL ? &pong_def : &pong_load_def), &options);
    ping.pong = pids[1];
    options.arg = &ping;
    options.arg_size = sizeof(ping);
    options.scheduler = plan->ping_scheduler;
    options.pin = plan->ping_scheduler != WEFT_ANY_SCHEDULER;
    pids[0] = perf_spawn_with(perf, perf_type(perf, &ping_def), &options);
}

uint64_t perf_pairs_run(struct perf *perf, const struct perf_pairs_plan *plan) {
    weft_pid *pings = perf_alloc(plan->pairs, sizeof(*pings));
    struct perf_gate gate;
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&gate, plan->pairs);
    for (uint64_t i = 0; i < plan->pairs; i++) {
        weft_pid pair[2];

        pair_spawn(perf, plan, &gate, pair);
        pings[i] = pair[0];
    }
    begin = perf_clock_ns();
    for (uint64_t i = 0; i < plan->pairs; i++) {
        perf_post(perf, pings[i], TAG_START, 0);
    }
    perf_gate_wait(&gate, "pairs");
    elapsed = perf_clock_ns() - begin;
    free(pings);
    return elapsed;
}

void perf_pairs_load_start(struct perf *perf, uint64_t pairs, struct perf_pairs_load *ret_load) {
    struct perf_pairs_plan plan = {.pairs = pairs, .rounds = UINT64_MAX};
    struct perf_pairs_load load = {.count = 2 * pairs};

    load.pids = perf_alloc(load.count, sizeof(*load.pids));
    for (uint64_t i = 0; i < pairs; i++) {
        pair_spawn(perf, &plan, NULL, &load.pids[2 * i]);
    }
    for (uint64_t i = 0; i < pairs; i++) {
        perf_post(perf, load.pids[2 * i], TAG_START, 0);
    }
    *ret_load = load;
}

void perf_pairs_load_stop(struct perf *perf, struct perf_pairs_load *load) {
    for (uint64_t i = 0; i < load->count; i++) {
        int result = weft_runtime_stop_actor(perf->runtime, load->pids[i], 0);

        if (result != WEFT_E_NOPROC) { /* a ping ends by itself when its pong went first */
            perf_check(result, "stop an actor");
        }
    }
    free(load->pids);
    load->pids = NULL;
}

/* ---- workloads ------------------------------------------------------------------------------ */

void perf_w1_pingpong(struct perf *perf) {
    struct perf_pairs_plan plan = {.pairs = 1, .rounds = perf_count(perf, W1_ROUNDS)};

    perf_emit(perf, "w1_pingpong", perf_rate(plan.rounds, perf_pairs_run(perf, &plan)),
              "roundtrips/s");
}

void perf_w2_pairs(struct perf *perf) {
    struct perf_pairs_plan plan = {.pairs = W2_PAIRS, .rounds = perf_count(perf, W2_ROUNDS)};
    uint64_t messages = 2 * plan.pairs * plan.rounds;

    perf_emit(perf, "w2_pairs", perf_rate(messages, perf_pairs_run(perf, &plan)), "msgs/s");
}

/* A runtime of its own for each number of schedulers; the last is the configured number. */
void perf_scaling(struct perf *perf) {
    struct perf_pairs_plan plan = {.pairs = W2_PAIRS, .rounds = perf_count(perf, SCALING_ROUNDS)};
    struct perf_pairs_plan warm_up = {.pairs = W2_PAIRS, .rounds = plan.rounds / 50 + 1};
    uint32_t schedulers = weft_runtime_schedulers(perf->runtime);
    uint64_t messages = 2 * plan.pairs * plan.rounds;
    double first = 0;
    double rate = 0;

    for (uint32_t i = 1; i <= schedulers; i++) {
        char name[PERF_NAME_BYTES];

        perf_runtime_stop(perf);
        perf->config.schedulers = i;
        perf_runtime_start(perf);
        (void)perf_pairs_run(perf, &warm_up); /* its time is not wanted */
        rate = perf_rate(messages, perf_pairs_run(perf, &plan));
        first = i == 1 ? rate : first;
        (void)snprintf(name, sizeof(name), "scaling_%u", i);
        perf_emit(perf, name, rate, "msgs/s");
    }
    perf_emit(perf, "scaling_gain", rate / first, "x");
}
