/* SPDX-License-Identifier: MIT
 *
 * Circles through requests that an actor holds beside the one it works for: a process that waits for
 * a call, and a serial actor with a call pending, keep all of their callers waiting. Who closes such
 * a circle is told at once; what was answered or passed on since accuses nobody.
 */
#include "tests/unit/mailbox_wait_support.h"

enum { TAG_ASK = 5, OLDER_MAX = 5 };

/* A, and others after it, ask the holder, which takes their requests and then asks X; X asks A. */
struct world {
    struct script older[OLDER_MAX]; /* the first one is A */
    struct script holder;
    struct script asker; /* X */
    struct script other; /* to whom the holder passes a request on */
    weft_pid older_pids[OLDER_MAX];
    weft_pid holder_pid;
    weft_pid asker_pid;
    weft_pid other_pid;
    uint32_t count;  /* of those that ask the holder */
    bool awaits;     /* the holder awaits its call, which it makes before it takes anything */
    bool asks_first; /* X waits for A already when the holder asks it */
};

static int ask_and_wait(weft_ctx *ctx, weft_pid target) {
    return weft_call_wait(ctx, target, TAG_ASK, NULL, 0, SOON_NS, NULL);
}

static int outcome(weft_ctx *ctx, uint64_t token) {
    weft_msg *reply = NULL;
    int result = weft_await(ctx, token, WEFT_FOREVER, &reply);
    if (result == 0) {
        result = weft_msg_status(reply);
        weft_msg_release(ctx, &reply);
    }
    return result;
}

static weft_msg *take_request(weft_ctx *ctx) {
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST);
    (void)weft_msg_take(ctx, msg);
    return msg;
}

static void answer_next(weft_ctx *ctx) {
    weft_msg *request = take_request(ctx);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
}

/* One after another, so that A's request is the oldest. */
static int ask_holder(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct world *world = script->user;
    uint32_t place = (uint32_t)(script - world->older);
    while (step_of(&world->holder) < place + 1) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
    }
    script->result = ask_and_wait(ctx, world->holder_pid);
    return 0;
}

static int hold_and_ask(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct world *world = script->user;
    weft_msg *held[OLDER_MAX] = {NULL};
    if (world->awaits) {
        ck_assert_int_eq(weft_call(ctx, world->asker_pid, TAG_ASK, NULL, 0, SOON_NS, 1), 0);
    }
    for (uint32_t i = 0; i < world->count; i++) {
        step(script);
        held[i] = take_request(ctx);
    }
    step(script);
    while (world->asks_first && step_of(&world->asker) == 0) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
    }
    script->result = world->awaits ? outcome(ctx, 1) : ask_and_wait(ctx, world->asker_pid);
    for (uint32_t i = 0; i < world->count; i++) {
        (void)weft_reply(ctx, &held[i], 0, NULL, 0);
    }
    return 0;
}

static int ask_oldest(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct world *world = script->user;
    if (!world->asks_first) {
        weft_msg *request = take_request(ctx);
        while (step_of(&world->holder) < world->count + 1) { /* it has taken all */
            ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
        }
        script->result = ask_and_wait(ctx, world->older_pids[0]);
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        return 0;
    }
    while (step_of(&world->holder) < world->count + 1) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
    }
    ck_assert_int_eq(weft_call(ctx, world->older_pids[0], TAG_ASK, NULL, 0, SOON_NS, 2), 0);
    step(script);
    script->result = outcome(ctx, 2);
    return 0;
}

static void world_start(struct world *world, struct rig *rig, script_fn holder, script_fn asker) {
    world->holder = (struct script){.fn = holder, .user = world};
    world->asker = (struct script){.fn = asker, .user = world};
    world->asker_pid = start(rig, &world->asker, 0);
    world->holder_pid = start(rig, &world->holder, 0);
    for (uint32_t i = 0; i < world->count; i++) {
        world->older[i] = (struct script){.fn = ask_holder, .user = world};
        world->older_pids[i] = start(rig, &world->older[i], 0);
    }
}

static void world_end(struct world *world) {
    eventually(finished(&world->holder) && finished(&world->asker));
    for (uint32_t i = 0; i < world->count; i++) {
        eventually(finished(&world->older[i]));
        ck_assert_int_eq(world->older[i].result, 0);
    }
}

START_TEST(an_older_request_closes_a_circle) {
    for (uint32_t count = 2; count <= OLDER_MAX; count++) {
        for (uint32_t way = 0; way < 2; way++) {
            struct rig rig = rig_start(cases_of(_i));
            struct world world = {.count = count, .awaits = way == 1};
            uint64_t before_ns = clock_ns();
            world_start(&world, &rig, hold_and_ask, ask_oldest);
            world_end(&world);
            ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
            bool asker = world.asker.result == -EDEADLK;
            bool holder = world.holder.result == -EDEADLK;
            ck_assert_msg(asker != holder, "%d and %d", world.asker.result, world.holder.result);
            eventually(rig_gauges(&rig).messages == 0);
            rig_stop(&rig);
        }
    }
}
END_TEST

START_TEST(whoever_is_last_is_told) {
    struct rig rig = rig_start(cases_of(_i));
    struct world world = {.count = 3, .asks_first = true};
    uint64_t before_ns = clock_ns();
    world_start(&world, &rig, hold_and_ask, ask_oldest);
    eventually(finished(&world.holder) && finished(&world.asker));
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    bool asker = world.asker.result == -EDEADLK;
    ck_assert(asker != (world.holder.result == -EDEADLK));
    rig_stop(&rig);
}
END_TEST

/* ---- what accuses nobody ------------------------------------------------------------------- */

static int answer_late(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = take_request(ctx);
    step(script);
    ck_assert_int_eq(weft_sleep(ctx, 5 * MS_NS), 0);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

/* A answers X once it has been answered itself. */
static int ask_holder_and_serve(weft_ctx *ctx, void *user) {
    (void)ask_holder(ctx, user);
    answer_next(ctx);
    return 0;
}

/* Has a call pending all the time; waits for a short one while it holds two requests, passes the
 * older one on, and awaits the first one then: A waits for another by now. */
static int hold_and_pass_on(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct world *world = script->user;
    ck_assert_int_eq(weft_call(ctx, world->asker_pid, TAG_ASK, NULL, 0, SOON_NS, 1), 0);
    step(script);
    weft_msg *older = take_request(ctx);
    step(script);
    weft_msg *newer = take_request(ctx);
    ck_assert_int_eq(ask_and_wait(ctx, script->pid), 0); /* short */
    ck_assert_int_eq(weft_send_msg(ctx, world->other_pid, &older), 0);
    step(script);
    script->result = outcome(ctx, 1);
    (void)weft_reply(ctx, &newer, 0, NULL, 0);
    return 0;
}

static int answer_at_once(weft_ctx *ctx, void *user) {
    (void)user;
    answer_next(ctx);
    return 0;
}

START_TEST(who_was_passed_on_accuses_nobody) {
    struct rig rig = rig_start(cases_of(_i));
    for (uint32_t round = 0; round < 5; round++) {
        struct script short_one;
        struct world world = {.count = 2};
        world.other = (struct script){.fn = answer_late, .user = &world};
        world.other_pid = start(&rig, &world.other, 0);
        short_one = (struct script){.fn = answer_at_once};
        world.holder = (struct script){
            .fn = hold_and_pass_on, .user = &world, .pid = start(&rig, &short_one, 0)};
        world.asker = (struct script){.fn = ask_oldest, .user = &world};
        world.asker_pid = start(&rig, &world.asker, 0);
        world.holder_pid = start(&rig, &world.holder, 0);
        for (uint32_t i = 0; i < 2; i++) {
            world.older[i] =
                (struct script){.fn = i == 0 ? ask_holder_and_serve : ask_holder, .user = &world};
            world.older_pids[i] = start(&rig, &world.older[i], 0);
        }
        world_end(&world);
        ck_assert_int_eq(world.asker.result, 0);
        ck_assert_int_eq(world.holder.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

/* The same with a request that was put aside while it waited, not held. */
static int put_aside_and_pass_on(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct world *world = script->user;
    ck_assert_int_eq(weft_call(ctx, world->asker_pid, TAG_ASK, NULL, 0, SOON_NS, 1), 0);
    step(script);
    ck_assert_int_eq(ask_and_wait(ctx, script->pid), 0); /* A's request comes meanwhile */
    weft_msg *older = take_request(ctx);
    ck_assert_int_eq(weft_send_msg(ctx, world->other_pid, &older), 0);
    step(script);
    script->result = outcome(ctx, 1);
    return 0;
}

START_TEST(who_was_put_aside_and_passed_on_accuses_nobody) {
    struct rig rig = rig_start(cases_of(_i));
    for (uint32_t round = 0; round < 5; round++) {
        struct world world = {.count = 1};
        struct script late = {.fn = answer_late};
        world.other = (struct script){.fn = answer_late, .user = &world};
        world.other_pid = start(&rig, &world.other, 0);
        world.holder = (struct script){
            .fn = put_aside_and_pass_on, .user = &world, .pid = start(&rig, &late, 0)};
        world.asker = (struct script){.fn = ask_oldest, .user = &world};
        world.asker_pid = start(&rig, &world.asker, 0);
        world.holder_pid = start(&rig, &world.holder, 0);
        world.older[0] = (struct script){.fn = ask_holder_and_serve, .user = &world};
        world.older_pids[0] = start(&rig, &world.older[0], 0);
        world_end(&world);
        ck_assert_int_eq(world.asker.result, 0);
        ck_assert_int_eq(world.holder.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

/* ---- serial actors ------------------------------------------------------------------------- */

/* Takes the first ones, and asks X when the last one has come. */
struct serial {
    struct world *world;
    weft_msg *held[OLDER_MAX];
    uint32_t count;
};

static int serial_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct serial *serial = probe->user;
    struct world *world = serial->world;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        serial->held[serial->count++] = weft_msg_take(ctx, msg);
        step(&world->holder);
        if (serial->count == world->count) {
            ck_assert_int_eq(weft_call(ctx, world->asker_pid, TAG_ASK, NULL, 0, SOON_NS, 1), 0);
        }
    } else if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        world->holder.result = weft_msg_status(msg);
        for (uint32_t i = 0; i < serial->count; i++) {
            (void)weft_reply(ctx, &serial->held[i], 0, NULL, 0);
        }
        weft_store32_release(&world->holder.done, 1);
    }
    return WEFT_CONTINUE;
}

START_TEST(a_serial_actor_keeps_all_of_its_callers_waiting) {
    struct rig rig = rig_start(cases_of(_i));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "serial",
                         .flags = WEFT_TYPE_SERIAL,
                         .state_size = sizeof(struct puppet),
                         .init = puppet_init,
                         .receive = puppet_receive};
    const weft_type *type = rig_type(&rig, &def);
    for (uint32_t count = 2; count <= OLDER_MAX; count++) {
        struct world world = {.count = count};
        struct serial serial = {.world = &world};
        struct probe probe = PROBE_INIT;
        probe.handler = serial_receive;
        probe.user = &serial;
        probe.counts_only = true;
        uint64_t before_ns = clock_ns();
        world.asker = (struct script){.fn = ask_oldest, .user = &world};
        world.asker_pid = start(&rig, &world.asker, 0);
        world.holder_pid = rig_spawn_type(&rig, type, &probe);
        step(&world.holder);
        for (uint32_t i = 0; i < count; i++) {
            world.older[i] = (struct script){.fn = ask_holder, .user = &world};
            world.older_pids[i] = start(&rig, &world.older[i], 0);
        }
        world_end(&world);
        ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
        ck_assert_int_eq(world.asker.result, -EDEADLK);
        ck_assert_int_eq(world.holder.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_held");
    TCase *circles = tcase_create("circles");
    tcase_set_timeout(circles, 60);
    tcase_add_loop_test(circles, an_older_request_closes_a_circle, 0, CASES);
    tcase_add_loop_test(circles, whoever_is_last_is_told, 0, CASES);
    tcase_add_loop_test(circles, a_serial_actor_keeps_all_of_its_callers_waiting, 0, CASES);
    suite_add_tcase(suite, circles);
    TCase *nobody = tcase_create("nobody");
    tcase_set_timeout(nobody, 60);
    tcase_add_loop_test(nobody, who_was_passed_on_accuses_nobody, 0, CASES);
    tcase_add_loop_test(nobody, who_was_put_aside_and_passed_on_accuses_nobody, 0, CASES);
    suite_add_tcase(suite, nobody);
    return run_suite(suite);
}
