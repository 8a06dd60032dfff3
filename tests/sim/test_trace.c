/* SPDX-License-Identifier: MIT
 *
 * Tracing changes nothing but the log: with the same seed, the same things happen in the same order
 * whether actors are traced or not. (The signal that switches it is a message like others, so it is
 * sent in both runs; only what it says differs.)
 */
#include "check_run.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <weft/sim.h>
#include <weft/weft.h>

enum { ACTORS = 12, SEEDS = 100, HOPS = 2000, TAG_HOP = 1, TAG_ASK = 2 };

struct crowd {
    weft_pid pids[ACTORS];
    uint64_t hops;
    uint64_t told;
};

/* Passes on what it gets to somebody, asks another, sets a timer, now and then works a while. */
static int hop(weft_ctx *ctx, struct crowd *crowd) {
    if (crowd->hops >= HOPS) {
        return WEFT_CONTINUE;
    }
    crowd->hops++;
    uint64_t drawn = weft_random(ctx);
    (void)weft_send(ctx, crowd->pids[drawn % ACTORS], TAG_HOP, &drawn, sizeof(drawn));
    if (drawn % 3 == 0) {
        (void)weft_call(ctx, crowd->pids[drawn / 7 % ACTORS], TAG_ASK, NULL, 0, 0, drawn);
    }
    if (drawn % 5 == 0) {
        (void)weft_timer_start(ctx, drawn % 100000, 0, 0, NULL);
    }
    return WEFT_CONTINUE;
}

static int crowd_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    struct crowd *crowd = weft_type_cookie(weft_type_of(ctx));
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REQUEST:
        (void)weft_reply(ctx, &msg, TAG_ASK, NULL, 0);
        return WEFT_CONTINUE;
    case WEFT_MSG_USER:
    case WEFT_MSG_TIMER:
        return hop(ctx, crowd);
    default:
        return WEFT_CONTINUE;
    }
}

static int crowd_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct crowd *crowd = weft_type_cookie(weft_type_of(ctx));
    weft_msg *msg;
    (void)state;
    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) {
        if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
            (void)weft_reply(ctx, &msg, TAG_ASK, NULL, 0);
        } else if (weft_msg_kind(msg) == WEFT_MSG_USER) {
            (void)hop(ctx, crowd);
            (void)weft_sleep(ctx, 1000);
        }
    }
    return WEFT_STOP;
}

static void count_event(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct crowd *crowd = cookie;
    (void)level;
    crowd->told += strcmp(event->name, "actor.trace") == 0 ? 1 : 0;
}

static const weft_type *type_of(weft_runtime *runtime, struct crowd *crowd, bool process) {
    const weft_type *type = NULL;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = process ? "process" : "handler",
                         .receive = process ? NULL : crowd_receive,
                         .process = process ? crowd_process : NULL,
                         .cookie = crowd};
    ck_assert_int_eq(weft_type_register(runtime, &def, &type), 0);
    return type;
}

/* The hash of a run, with every other actor traced or not. */
static uint64_t run(uint64_t seed, bool traced, struct crowd *crowd) {
    weft_sim *sim = NULL;
    weft_runtime *runtime = NULL;
    weft_sim_options options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT, .seed = seed, .pause_percent = 5};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 3,
                          .log = {.cookie = crowd, .cb = count_event}};
    *crowd = (struct crowd){0};
    ck_assert_int_eq(weft_sim_create(&options, &sim), 0);
    ck_assert_int_eq(weft_runtime_create_env(&config, weft_sim_env(sim), &runtime), 0);
    const weft_type *types[] = {type_of(runtime, crowd, false), type_of(runtime, crowd, true)};
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    for (int i = 0; i < ACTORS; i++) {
        ck_assert_int_eq(weft_runtime_spawn(runtime, types[i / 2 % 2], NULL, &crowd->pids[i]), 0);
    }
    for (int i = 0; i < ACTORS; i++) {
        ck_assert_int_eq(weft_runtime_send(runtime, crowd->pids[i], TAG_HOP, NULL, 0), 0);
        ck_assert_int_eq(weft_trace(runtime, crowd->pids[i], traced && i % 2 == 0), 0);
    }
    (void)weft_sim_run(sim, 200000, weft_sim_now_ns(sim) + UINT64_C(1000000000), NULL, NULL);
    ck_assert_uint_eq(crowd->hops, HOPS);
    ck_assert_int_eq(weft_sim_stop(sim, runtime, 1000000), 0);
    uint64_t hash = weft_sim_hash(sim);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    weft_sim_destroy(&sim);
    return hash;
}

START_TEST(test_tracing_does_not_change_the_schedule) {
    static struct crowd crowd;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t plain = run(seed, false, &crowd);
        ck_assert_uint_eq(crowd.told, 0);
        uint64_t traced = run(seed, true, &crowd);
        ck_assert_uint_gt(crowd.told, HOPS / 2);
        ck_assert_msg(plain == traced, "seed %llu", (unsigned long long)seed);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace");
    TCase *tcase = tcase_create("schedule");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, test_tracing_does_not_change_the_schedule);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
