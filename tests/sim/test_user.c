/* SPDX-License-Identifier: MIT
 *
 * How to test actors of your own with weft/sim.h: the whole program, two schedulers and five
 * minutes of its time, in one thread and a few milliseconds, in an order drawn from a seed. The
 * actor under test is a visitor that counts hits and ends after a minute without one.
 */
#include "check_run.h"
#include <check.h>
#include <stdlib.h>
#include <weft/sim.h>
#include <weft/weft.h>

/* ---- the actor under test ------------------------------------------------------------------ */

#define SECOND_NS UINT64_C(1000000000)

enum { VISITOR_HIT = 1, VISITOR_IDLE = 2 };

struct visitor {
    uint64_t hits;
    weft_timer idle;
};

static int visitor_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    struct visitor *visitor = state;
    return weft_timer_start(ctx, 60 * SECOND_NS, VISITOR_IDLE, 0, &visitor->idle);
}

static int visitor_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct visitor *visitor = state;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REQUEST:
        visitor->hits++;
        (void)weft_timer_cancel(ctx, visitor->idle);
        (void)weft_timer_start(ctx, 60 * SECOND_NS, VISITOR_IDLE, 0, &visitor->idle);
        (void)weft_reply(ctx, &msg, VISITOR_HIT, &visitor->hits, sizeof(visitor->hits));
        return WEFT_CONTINUE;
    case WEFT_MSG_TIMER:
        return WEFT_STOP;
    default:
        return WEFT_CONTINUE;
    }
}

static const weft_type_def visitor_type = {
    .struct_size = WEFT_TYPE_DEF_INIT,
    .name = "visitor",
    .state_size = sizeof(struct visitor),
    .init = visitor_init,
    .receive = visitor_receive,
};

/* ---- the test ------------------------------------------------------------------------------ */

/* One world per seed. */
struct world {
    weft_sim *sim;
    weft_runtime *runtime;
    weft_cq *queue;
    weft_pid visitor;
};

static void world_start(struct world *world, uint64_t seed) {
    weft_sim_options options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT, .seed = seed, .pause_percent = 5};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 2};
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_sim_create(&options, &world->sim), 0);
    ck_assert_int_eq(weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime),
                     0);
    ck_assert_int_eq(weft_type_register(world->runtime, &visitor_type, &type), 0);
    ck_assert_int_eq(weft_runtime_start(world->runtime), 0);
    ck_assert_int_eq(weft_cq_create(world->runtime, 8, &world->queue), 0);
    ck_assert_int_eq(weft_runtime_spawn(world->runtime, type, NULL, &world->visitor), 0);
}

static void world_end(struct world *world) {
    weft_cq_destroy(&world->queue);
    ck_assert_int_eq(weft_sim_stop(world->sim, world->runtime, 1000000), 0);
    ck_assert_int_eq(weft_runtime_destroy(&world->runtime), 0);
    weft_sim_destroy(&world->sim);
}

struct answer {
    struct world *world;
    weft_completion completion;
};

static bool answer_came(void *arg) {
    struct answer *answer = arg;
    return weft_cq_next(answer->world->queue, &answer->completion) == 1;
}

/* Hits the visitor and waits for the count; a negative result says why there is none. */
static int64_t visitor_hit(struct world *world) {
    struct answer answer = {.world = world};
    int status =
        weft_cq_call(world->queue, world->visitor, VISITOR_HIT, NULL, 0, WEFT_TIMEOUT_DEFAULT, 1);
    if (status < 0) {
        return status;
    }
    ck_assert_int_eq(weft_sim_run(world->sim, 100000, UINT64_MAX, answer_came, &answer),
                     WEFT_SIM_DONE);
    ck_assert_int_eq(answer.completion.status, 0);
    uint64_t hits = *(const uint64_t *)weft_msg_data(answer.completion.reply);
    weft_runtime_msg_release(world->runtime, &answer.completion.reply);
    return (int64_t)hits;
}

static void world_wait(struct world *world, uint64_t seconds) {
    uint64_t until_ns = weft_sim_now_ns(world->sim) + seconds * SECOND_NS;
    (void)weft_sim_run(world->sim, 1000000, until_ns, NULL, NULL);
}

START_TEST(test_visitor_ends_after_a_minute_without_hits) {
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world world = {0};
        world_start(&world, seed);
        for (int64_t hit = 1; hit <= 5; hit++) {
            ck_assert_int_eq(visitor_hit(&world), hit);
            world_wait(&world, 50);
        }
        world_wait(&world, 11);
        ck_assert_int_eq(visitor_hit(&world), WEFT_E_NOPROC);
        world_end(&world);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("user");
    TCase *tcase = tcase_create("visitor");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_visitor_ends_after_a_minute_without_hits);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
