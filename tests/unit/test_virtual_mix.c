/* SPDX-License-Identifier: MIT
 *
 * Virtual actors with what else an actor has: messages to themselves and others while they begin
 * and end, timers and work that outlive them, bounded mailboxes, calls held back by a serial type,
 * cleanups, stops by others; and what is counted.
 */
#include "tests/unit/virtual_support.h"

/* ---- while they begin and end ---------------------------------------------------------------- */

enum { CHAIN = 1000 };

static int domino_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    uint64_t number;
    ck_assert_uint_eq(arg_size, sizeof(number));
    memcpy(&number, arg, sizeof(number));
    atomic_fetch_add(&world.births, 1);
    if (++number == CHAIN) {
        return WEFT_CONTINUE;
    }
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = weft_capability_find(weft_runtime_of(ctx), "chat"),
                             .type = weft_type_of(ctx),
                             .id = &number,
                             .id_size = sizeof(number),
                             .init_arg = &number,
                             .init_arg_size = sizeof(number)};
    ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
    return weft_vcall(ctx, &request, number, NULL);
}

static int domino_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        ck_assert_int_eq(weft_msg_status(msg), 0);
        atomic_fetch_add(&world.replies, 1);
        return WEFT_CONTINUE;
    }
    atomic_fetch_add(&world.handled, 1);
    return weft_msg_kind(msg) == WEFT_MSG_REQUEST ? weft_reply(ctx, &msg, 1, NULL, 0) : 0;
}

START_TEST(an_init_may_activate_others) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "domino",
                         .init = domino_init,
                         .receive = domino_receive};
    uint64_t zero = 0;
    weft_vrequest request = message_to(&vrig, &zero, sizeof(zero), 1);
    request.type = rig_type(&vrig.rig, &def);
    request.init_arg = &zero;
    request.init_arg_size = sizeof(zero);
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    eventually(atomic_load(&world.replies) == CHAIN - 1);
    eventually(atomic_load(&world.handled) == 2 * CHAIN - 1);
    ck_assert_uint_eq(atomic_load(&world.births), CHAIN);
    ck_assert_uint_eq(vrig_count(&vrig), CHAIN);
    rig_stop(&vrig.rig);
}
END_TEST

static _Atomic uint32_t farewells;

static void say_farewell(weft_ctx *ctx, void *state, int reason) {
    cell_terminate(ctx, state, reason);
    if (reason != WEFT_E_SHUTDOWN && atomic_fetch_add(&farewells, 1) < 20) {
        weft_ventry self = {.struct_size = WEFT_VENTRY_INIT};
        ck_assert_int_eq(weft_virtual_self(ctx, &self), 0);
        weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                                 .capability = self.capability,
                                 .type = self.type,
                                 .id = self.id,
                                 .id_size = self.id_size,
                                 .tag = TAG_STOP};
        ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
    }
}

START_TEST(a_message_to_itself_at_the_end_is_for_the_next_one) {
    weft_type_def def = cell_def("cell");
    def.terminate = say_farewell;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    (void)tell(&vrig, "a", TAG_STOP, 0);
    eventually(atomic_load(&world.deaths) == 21);
    eventually(vrig_count(&vrig) == 0);
    ck_assert_uint_eq(atomic_load(&world.inits), 21);
    vrig_stop(&vrig);
}
END_TEST

static void tell_itself(weft_ctx *ctx, void *arg) {
    struct vrig *vrig = arg;
    uint64_t one = 1;
    for (uint32_t i = 0; i < 10; i++) {
        weft_vrequest request = message(vrig, "a", TAG_ADD, &one);
        ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
    }
    weft_exit(ctx, 0);
}

START_TEST(messages_to_itself_survive_its_exit) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint32_t i = 1; i <= 50; i++) {
        act_in(&vrig, "a", tell_itself, &vrig);
        eventually(atomic_load(&world.handled) == 12 * i - 1);
        ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 10);
    }
    vrig_stop(&vrig);
}
END_TEST

/* ---- what belongs to one activation ---------------------------------------------------------- */

static int answer_late(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    probe->user = weft_msg_take(ctx, msg);
    return WEFT_CONTINUE;
}

static void answer(weft_ctx *ctx, void *arg) {
    weft_msg *request = ((struct probe *)arg)->user;
    (void)weft_reply(ctx, &request, 1, NULL, 0);
}

static _Atomic bool work_released;

static int work_until_released(void *arg) {
    (void)arg;
    while (!atomic_load(&work_released)) {
        sleep_ns(100000);
    }
    return 0;
}

static void start_work(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_blocking(ctx, work_until_released, arg, 1), 0);
}

START_TEST(timers_work_and_answers_of_one_do_not_reach_the_next) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .handler = answer_late};
    weft_pid callee = rig_spawn(&vrig.rig, &probe);
    weft_vrequest request = message(&vrig, "a", TAG_LISTEN_HERE, NULL);
    request.payload = &callee;
    request.payload_size = sizeof(callee);
    ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    eventually(probe_count(&probe) == 1); /* its end cancels what was not handled yet */
    act_in(&vrig, "a", start_work, NULL);
    uint64_t before_ns = clock_ns();
    (void)ask(&vrig, "a", TAG_TIMER, 200 * MS_NS);
    (void)ask(&vrig, "a", TAG_STOP, 0);
    struct view next = ask(&vrig, "a", TAG_GET, 0);
    if (next.birth == 1) { /* it had not ended yet */
        next = ask(&vrig, "a", TAG_GET, 0);
    }
    bool late = clock_ns() - before_ns > 100 * MS_NS; /* it may have come before the end */
    atomic_store(&work_released, true);
    act(&vrig.rig, callee, answer, &probe);
    sleep_ns(300 * MS_NS);
    eventually(rig_gauges(&vrig.rig).timers == 0);
    (void)ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(atomic_load(&world.births), 2);
    ck_assert_uint_le(atomic_load(&world.timers), late);
    ck_assert_uint_eq(atomic_load(&world.works), 0);
    ck_assert_uint_eq(atomic_load(&world.replies), 0);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

static void clean_up(void *arg) {
    atomic_fetch_add((_Atomic uint32_t *)arg, 1);
}

static void defer(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_defer(ctx, clean_up, arg), 0);
}

START_TEST(cleanups_run_at_every_end) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static _Atomic uint32_t cleanups;
    for (uint32_t i = 0; i < 20; i++) {
        act_in(&vrig, "a", defer, &cleanups);
        weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
        switch (i % 4) {
        case 0:
            (void)ask(&vrig, "a", TAG_STOP, 0);
            break;
        case 1:
            ck_assert_int_eq(try_ask(&vrig, "a", TAG_CRASH, 0), WEFT_E_CRASHED);
            break;
        case 2:
            ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, pid), 0);
            break;
        default:
            ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, pid), 0);
            break;
        }
        eventually(!is_active(&vrig, "a"));
        eventually(atomic_load(&cleanups) == i + 1);
    }
    rig_stop(&vrig.rig);
}
END_TEST

/* ---- stopped by others ----------------------------------------------------------------------- */

START_TEST(a_normal_stop_by_somebody_else_loses_nothing) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    uint64_t sent = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        weft_pid pid = tell(&vrig, "a", TAG_ADD, 1);
        sent++;
        for (uint32_t j = 0; j < i % 10; j++, sent++) {
            (void)tell(&vrig, "a", TAG_ADD, 1);
        }
        int result = weft_runtime_stop_actor(vrig.rig.runtime, pid, 0);
        ck_assert(result == 0 || result == WEFT_E_NOPROC);
    }
    eventually(atomic_load(&world.handled) == sent);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_stop_with_a_reason_is_a_crash_for_its_callers) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    struct view before = ask(&vrig, "a", TAG_SET, 3);
    weft_vrequest hold = message(&vrig, "a", TAG_HOLD, NULL);
    (void)puppet_ask(&vrig, puppet, &hold, 1);
    (void)ask(&vrig, "a", TAG_GET, 0);
    ck_assert_int_eq(weft_runtime_stop_actor(vrig.rig.runtime, before.pid, -EPROTO), 0);
    ck_assert_int_eq(reply_at(&probe, 0).status, WEFT_E_CRASHED);
    ck_assert_int_eq(end_at(0).reason, -EPROTO);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 0);
    ck_assert_uint_eq(after.birth, 2);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* ---- bounded mailboxes ----------------------------------------------------------------------- */

enum { BOUND = 100, BOUND_SLACK = 70 };

/* How many messages the mailbox of an actor that does nothing takes. */
static uint32_t fill_mailbox(struct vrig *vrig) {
    atomic_store(&world.gate, 0);
    (void)tell(vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    uint64_t one = 1;
    uint32_t taken = 0;
    weft_vrequest request = message(vrig, "a", TAG_ADD, &one);
    for (int result = 0; result == 0; taken += result == 0 ? 1 : 0) {
        result = weft_runtime_vcast(vrig->rig.runtime, &request, NULL);
        ck_assert(result == 0 || result == -EBUSY);
        ck_assert_uint_le(taken, BOUND + BOUND_SLACK);
    }
    atomic_store(&world.gate, 1);
    eventually(atomic_load(&world.inside) == 0);
    return taken;
}

/* The count of what waits is handed on as well. */
START_TEST(the_bound_of_a_mailbox_holds_after_many_successions) {
    weft_type_def def = cell_def("cell");
    def.mailbox_max = BOUND;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    uint64_t one = 1;
    for (uint32_t round = 0; round < 10; round++) {
        uint32_t taken = fill_mailbox(&vrig);
        ck_assert_uint_ge(taken, BOUND - BOUND_SLACK);
        for (uint32_t i = 0; i < 2000; i++) {
            weft_vrequest request = message(&vrig, "a", i % 7 == 0 ? TAG_STOP : TAG_ADD, &one);
            int result = weft_runtime_vcast(vrig.rig.runtime, &request, NULL);
            ck_assert(result == 0 || result == -EBUSY);
        }
        eventually(try_ask(&vrig, "a", TAG_GET, 0) == 0); /* it takes something again */
    }
    ck_assert_uint_gt(atomic_load(&world.births), 100);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(who_waits_for_room_is_told_whatever_becomes_of_the_actor) {
    weft_type_def def = cell_def("cell");
    def.mailbox_max = BOUND;
    struct vrig vrig = vrig_start_def(2, &def);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    for (uint32_t i = 0; i < 3; i++) {
        atomic_store(&world.gate, 0);
        weft_pid pid = tell(&vrig, "a", TAG_GATE, 0);
        (void)tell(&vrig, "a", i == 1 ? TAG_CRASH : i == 2 ? TAG_STOP : TAG_GET, 0);
        eventually(atomic_load(&world.inside) == 1);
        struct asking asking = {.request = message(&vrig, "a", TAG_GET, NULL)};
        for (uint32_t sent = 0; asking.result == 0; sent++) {
            ck_assert_uint_le(sent, BOUND + BOUND_SLACK);
            act(&vrig.rig, puppet, puppet_tell_job, &asking);
        }
        ck_assert_int_eq(asking.result, -EBUSY);
        if (i == 0) {
            ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, pid), 0);
        }
        atomic_store(&world.gate, 1);
        eventually(probe_count_kind(&probe, WEFT_MSG_READY) == i + 1);
        eventually(try_ask(&vrig, "a", TAG_GET, 0) == 0);
    }
    settle(&vrig.rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 3);
    rig_stop(&vrig.rig);
    probe_fini(&probe);
}
END_TEST

/* Number: the policy. */
START_TEST(policies_of_mailboxes_are_those_of_the_type) {
    weft_type_def def = cell_def("cell");
    def.mailbox_max = BOUND;
    def.mailbox_policy = _i == 0 ? WEFT_MAILBOX_DROP_NEW : WEFT_MAILBOX_DROP_OLD;
    struct vrig vrig = vrig_start_def(2, &def);
    (void)tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    enum { SENT = BOUND + BOUND_SLACK };
    for (uint64_t i = 0; i < SENT; i++) {
        (void)tell(&vrig, "a", TAG_SET, i);
    }
    if (_i == 0) { /* the other one takes requests up to twice the bound */
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), -EBUSY);
    }
    atomic_store(&world.gate, 1);
    struct view view = {0};
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    eventually(try_request(&vrig, &request, &view) == 0);
    weft_stats stats = rig_stats(&vrig.rig);
    ck_assert_uint_gt(stats.messages_dropped, 0);
    ck_assert_uint_eq(view.handled - 2 + stats.messages_dropped, SENT);
    ck_assert_uint_eq(view.value == SENT - 1, _i == 1); /* the newest, or not */
    vrig_stop(&vrig);
}
END_TEST

/* ---- serial types ---------------------------------------------------------------------------- */

/* A serial actor calls a silent one at its first message: all others are held back. At the answer it
 * stops: so they are for the next one, which does the same. */
struct once {
    bool called;
};

struct held_back {
    weft_pid silent;
    _Atomic uint32_t next; /* message */
};
static struct held_back held_back;

static int once_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct once *once = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        return WEFT_STOP;
    }
    uint64_t number;
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    ck_assert_uint_eq(atomic_fetch_add(&held_back.next, 1), number); /* in order, each once */
    ck_assert(!once->called);
    once->called = true;
    ck_assert_int_eq(weft_call(ctx, held_back.silent, 1, NULL, 0, WEFT_TIMEOUT_NEVER, 1), 0);
    return weft_msg_kind(msg) == WEFT_MSG_REQUEST ? weft_reply(ctx, &msg, 1, NULL, 0) : 0;
}

START_TEST(what_a_serial_actor_holds_back_goes_on_in_order) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "serial",
                         .state_size = sizeof(struct once),
                         .receive = once_receive,
                         .flags = WEFT_TYPE_SERIAL};
    const weft_type *serial = rig_type(&vrig.rig, &def);
    held_back.silent = rig_spawn(&vrig.rig, NULL); /* answers WEFT_E_NOREPLY */
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    enum { MESSAGES = 500 };
    for (uint64_t i = 0; i < MESSAGES; i++) {
        weft_vrequest request = message(&vrig, "a", 1, &i);
        request.type = serial;
        (void)(i % 2 == 0 ? puppet_ask(&vrig, puppet, &request, i)
                          : puppet_tell(&vrig, puppet, &request));
    }
    eventually(atomic_load(&held_back.next) == MESSAGES);
    eventually(probe_count(&probe) == MESSAGES / 2);
    for (uint32_t i = 0; i < MESSAGES / 2; i++) {
        ck_assert_int_eq(reply_at(&probe, i).status, 0);
        ck_assert_uint_eq(reply_at(&probe, i).token, 2 * i);
    }
    eventually(vrig_count(&vrig) == 0);
    rig_stop(&vrig.rig);
    probe_fini(&probe);
}
END_TEST

/* ---- what is counted, and what it costs ------------------------------------------------------ */

START_TEST(activations_and_passivations_are_counted) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint32_t i = 0; i < 30; i++) {
        (void)ask(&vrig, "a", i % 3 == 0 ? TAG_PASSIVATE : TAG_STOP, 0);
        eventually(!is_active(&vrig, "a"));
    }
    eventually(atomic_load(&world.deaths) == 30);
    weft_stats stats = rig_stats(&vrig.rig);
    ck_assert_uint_eq(stats.virtual_activations, 30);
    ck_assert_uint_eq(stats.virtual_passivations, 10);
    ck_assert_uint_eq(stats.virtual_loads, 0);
    ck_assert_uint_eq(stats.virtual_saves, 0);
    ck_assert_uint_eq(stats.virtual_forgotten, 0);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(what_actors_have_is_freed_with_them) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static char id[WEFT_ID_MAX];
    weft_gauges before = {0};
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            (void)snprintf(id, sizeof(id), "%08u", i);
            id[8] = 'x';
            for (uint32_t j = 0; j < 4; j++) {
                static const uint32_t tags[] = {TAG_ACCOUNT, TAG_TIMER, TAG_KEEP, TAG_FORGET};
                uint64_t number = 2 * MS_NS;
                weft_vrequest request = message_to(&vrig, id, sizeof(id), tags[j]);
                request.payload = &number;
                request.payload_size = sizeof(number);
                request.init_arg = id;
                request.init_arg_size = sizeof(id);
                ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
            }
        }
        eventually(atomic_load(&world.deaths) == 50 * (round + 1));
        eventually(rig_gauges(&vrig.rig).timers == 0);
        sleep_ns(20 * MS_NS); /* an end is counted before all of it is freed */
        before = round <= 1 ? rig_gauges(&vrig.rig) : before;
        /* Two ids and arguments more, and not fifty. */
        eventually(rig_gauges(&vrig.rig).heap_bytes <= before.heap_bytes + 4 * WEFT_ID_MAX);
    }
    vrig_stop(&vrig);
}
END_TEST

/* Number: 0: nothing is remembered; 1: a little. */
START_TEST(what_is_remembered_is_bounded) {
    weft_config config = rig_config(1);
    ck_assert_int_eq(weft_config_set(&config, "shard.remember", _i == 0 ? "0" : "64K", NULL, 0), 0);
    weft_type_def def = cell_def("cell");
    struct vrig vrig = vrig_start_config(&config, &def);
    enum { ADDRESSES = 100 };
    char arg[1001];
    memset(arg, 'a', sizeof(arg));
    arg[1000] = '\0';
    uint32_t remembered = 0;
    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < ADDRESSES; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "%u", i);
            uint64_t size = ask_arg(&vrig, id, TAG_STOP, turn == 0 ? arg : NULL).arg_size;
            ck_assert(size == 1000 || (turn == 1 && size == 0));
            remembered += turn == 1 && size != 0 ? 1 : 0;
            eventually(!is_active(&vrig, id));
        }
    }
    ck_assert_uint_ge(remembered, _i == 0 ? 0 : 40);
    ck_assert_uint_le(remembered, _i == 0 ? 0 : 65);
    ck_assert_uint_ge(rig_stats(&vrig.rig).virtual_forgotten, ADDRESSES - remembered);
    vrig_stop(&vrig);
}
END_TEST

#define ALL SCHEDULER_CASES

static Suite *mix_suite(void) {
    Suite *suite = suite_create("virtual_mix");
    TCase *edges = tcase_create("edges");
    TCase *boxes = tcase_create("boxes");
    TCase *counts = tcase_create("counts");
    tcase_set_timeout(edges, 180);
    tcase_set_timeout(boxes, 180);
    tcase_set_timeout(counts, 180);
    tcase_add_loop_test(edges, an_init_may_activate_others, 0, ALL);
    tcase_add_loop_test(edges, a_message_to_itself_at_the_end_is_for_the_next_one, 0, ALL);
    tcase_add_loop_test(edges, messages_to_itself_survive_its_exit, 0, ALL);
    tcase_add_loop_test(edges, timers_work_and_answers_of_one_do_not_reach_the_next, 0, ALL);
    tcase_add_loop_test(edges, cleanups_run_at_every_end, 0, ALL);
    tcase_add_loop_test(edges, a_normal_stop_by_somebody_else_loses_nothing, 0, ALL);
    tcase_add_loop_test(edges, a_stop_with_a_reason_is_a_crash_for_its_callers, 0, ALL);
    tcase_add_loop_test(boxes, the_bound_of_a_mailbox_holds_after_many_successions, 0, ALL);
    tcase_add_test(boxes, who_waits_for_room_is_told_whatever_becomes_of_the_actor);
    tcase_add_loop_test(boxes, policies_of_mailboxes_are_those_of_the_type, 0, 2);
    tcase_add_loop_test(boxes, what_a_serial_actor_holds_back_goes_on_in_order, 0, ALL);
    tcase_add_loop_test(counts, activations_and_passivations_are_counted, 0, ALL);
    tcase_add_loop_test(counts, what_actors_have_is_freed_with_them, 0, ALL);
    tcase_add_loop_test(counts, what_is_remembered_is_bounded, 0, 2);
    suite_add_tcase(suite, edges);
    suite_add_tcase(suite, boxes);
    suite_add_tcase(suite, counts);
    return suite;
}

int main(void) {
    return run_suite(mix_suite());
}
