/* SPDX-License-Identifier: MIT
 *
 * Processes that call virtual actors and wait for the answer, and circles between both.
 */
#include "tests/unit/support.h"

enum { KEYS = 500, CALLERS = 16, TAG_ADD = 1, TAG_CALL_BACK = 2, TAG_ASK = 3, TAG_END = 4 };

struct world {
    struct rig rig;
    const weft_capability *capability;
    const weft_type *counter;
    const weft_type *caller;
    weft_pid process; /* whom a counter calls back */
    weft_atomic_u32 done;
    weft_atomic_u32 refused;
};

struct counter {
    uint64_t value;
    weft_msg *held;
};

static int counter_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct counter *counter = state;
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        int status = weft_msg_status(msg);
        (void)weft_add32_acq_rel(&world->refused, status == -EDEADLK ? 1 : 0);
        return weft_reply(ctx, &counter->held, 0, &counter->value, sizeof(counter->value));
    }
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return -EINVAL;
    }
    if (weft_msg_tag(msg) == TAG_CALL_BACK) {
        counter->held = weft_msg_take(ctx, msg);
        return weft_call(ctx, world->process, TAG_ASK, NULL, 0, 60 * S_NS, 0);
    }
    counter->value++;
    return weft_reply(ctx, &msg, 0, &counter->value, sizeof(counter->value));
}

static weft_vrequest request_to(const struct world *world, const uint32_t *key, uint32_t tag) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = world->capability,
                           .type = world->counter,
                           .id = key,
                           .id_size = sizeof(*key),
                           .tag = tag,
                           .timeout_ns = 60 * S_NS};
}

static int call_all(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    (void)state;
    (void)arg;
    (void)arg_size;
    for (uint32_t key = 0; key < KEYS; key++) {
        weft_vrequest request = request_to(world, &key, TAG_ADD);
        weft_msg *reply = NULL;
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(weft_vcall_wait(ctx, &request, &reply, &pid), 0);
        uint64_t value;
        memcpy(&value, weft_msg_data(reply), sizeof(value));
        ck_assert_uint_ge(value, 1);
        ck_assert_uint_le(value, CALLERS);
        ck_assert(!weft_pid_is_none(pid));
        weft_msg_release(ctx, &reply);
    }
    weft_vrequest wrong = request_to(world, &(uint32_t){1}, TAG_ADD);
    wrong.type = world->caller; /* a process is no virtual actor */
    ck_assert_int_eq(weft_vcall_wait(ctx, &wrong, NULL, NULL), -EINVAL);
    (void)weft_add32_acq_rel(&world->done, 1);
    return WEFT_STOP;
}

static int call_in_a_circle(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    weft_msg *msg;
    uint32_t key = 7;
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    weft_vrequest request = request_to(world, &key, TAG_CALL_BACK);
    ck_assert_int_eq(weft_vcall_wait(ctx, &request, NULL, NULL), 0);
    (void)weft_add32_acq_rel(&world->done, 1);
    return WEFT_STOP;
}

static void world_start(struct world *world, int number, weft_process_fn process) {
    *world = (struct world){.rig = rig_start(schedulers_of(number))};
    weft_type_def counter = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = "counter",
                             .state_size = sizeof(struct counter),
                             .receive = counter_receive,
                             .cookie = world};
    weft_type_def caller = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "caller", .process = process, .cookie = world};
    world->counter = rig_type(&world->rig, &counter);
    world->caller = rig_type(&world->rig, &caller);
    ck_assert_int_eq(weft_capability_add(world->rig.runtime, "counting", &world->capability), 0);
}

START_TEST(processes_call_virtual_actors) {
    static struct world world;
    world_start(&world, _i, call_all);
    for (uint32_t i = 0; i < CALLERS; i++) {
        (void)rig_spawn_type(&world.rig, world.caller, NULL);
    }
    eventually(weft_load32_acquire(&world.done) == CALLERS);
    ck_assert_uint_eq(weft_virtual_count(world.rig.runtime, world.counter), KEYS);
    rig_stop(&world.rig);
}
END_TEST

START_TEST(a_circle_through_a_virtual_actor_is_told_at_once) {
    static struct world world;
    world_start(&world, _i, call_in_a_circle);
    world.process = rig_spawn_type(&world.rig, world.caller, NULL);
    ck_assert_int_eq(weft_runtime_send(world.rig.runtime, world.process, 0, NULL, 0), 0);
    eventually(weft_load32_acquire(&world.done) == 1);
    ck_assert_uint_eq(weft_load32_acquire(&world.refused), 1);
    rig_stop(&world.rig);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("process_virtual");
    TCase *cases = tcase_create("all");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, processes_call_virtual_actors, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_circle_through_a_virtual_actor_is_told_at_once, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(s, cases);
    return s;
}

int main(void) {
    return run_suite(suite());
}
