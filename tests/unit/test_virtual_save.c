/* SPDX-License-Identifier: MIT
 *
 * Virtual actors that keep their state: what is saved at passivation comes back, whatever the store
 * does meanwhile, and no message is lost while it is asked. The store is the faulty one of
 * store_support.h: a step completes one operation, so tests see what waits for it.
 */
#include "tests/unit/store_rig.h"

/* Asks for passivation until the store holds count operations. */
static void passivate_until_waiting(struct vrig *vrig, const char *id, uint32_t count) {
    (void)tell(vrig, id, TAG_PASSIVATE, 0);
    eventually(faulty_waiting(&faulty) == count);
}

/* Some messages from one handler: SET 1, 2, ... and a GET at the end, all calls. */
struct pipeline {
    struct vrig *vrig;
    const char *id;
    uint32_t sets;
    uint32_t flags;
};

static void send_pipeline(weft_ctx *ctx, void *arg) {
    struct pipeline *pipeline = arg;
    for (uint64_t i = 1; i <= pipeline->sets + 1; i++) {
        weft_vrequest request =
            message(pipeline->vrig, pipeline->id, i > pipeline->sets ? TAG_GET : TAG_SET, &i);
        request.flags = pipeline->flags;
        ck_assert_int_eq(weft_vcall(ctx, &request, i, NULL), 0);
    }
}

/* All were handled, in order, by one activation. */
static struct view pipeline_is_answered(struct probe *probe, uint32_t sets) {
    struct view first = {0};
    for (uint32_t i = 0; i <= sets; i++) {
        struct seen seen = reply_at(probe, i);
        struct view view = {0};
        memcpy(&view, seen.data, sizeof(seen.data));
        first = i == 0 ? view : first;
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_eq(seen.token, i + 1);
        ck_assert_uint_eq(view.value, i < sets ? i + 1 : sets);
        ck_assert_uint_eq(view.birth, first.birth);
    }
    ck_assert_uint_eq(probe_count(probe), sets + 1);
    return first;
}

/* ---- it comes back --------------------------------------------------------------------------- */

/* With a store that answers at once, and with one that answers from a thread. */
START_TEST(a_state_survives_passivation) {
    struct vrig vrig = start_saving(_i / 2);
    if (_i % 2 == 1) {
        hold_store();
        faulty_helper_start(&faulty, 100000);
    }
    weft_pid last = weft_pid_none();
    for (uint64_t i = 1; i <= 30; i++) {
        struct view view = ask(&vrig, "a", TAG_ADD, 1);
        ck_assert_uint_eq(view.value, i);
        ck_assert_uint_eq(view.birth, i);
        ck_assert_uint_eq(view.restored, i > 1);
        ck_assert_uint_eq(view.version, i > 1 ? SAVE_VERSION : 0);
        ck_assert(!weft_pid_equal(view.pid, last));
        last = view.pid;
        passivate(&vrig, "a");
        ck_assert_int_eq(end_at((uint32_t)i - 1).reason, 0);
        ck_assert_uint_eq(faulty_keys(&faulty), 1);
    }
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    ck_assert_uint_eq(faulty_counts(&faulty).puts, 30);
    ck_assert_uint_eq(faulty_counts(&faulty).gets, 30);
    ck_assert_uint_eq(faulty_counts(&faulty).unwanted, 0);
    stop_saving(&vrig);
}
END_TEST

START_TEST(a_state_survives_idle_time_and_limits) {
    faulty_init(&faulty, 2);
    faulty_plan(&faulty, (struct faulty_plan){.delay = 50});
    faulty_helper_start(&faulty, 1000);
    weft_type_def def = saved_def();
    def.idle_ns = 20 * MS_NS;
    def.active_max = 10;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    enum { KEYS = 100 };
    for (uint64_t round = 1; round <= 10; round++) {
        for (uint64_t i = 0; i < KEYS; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "%u", (unsigned)i);
            ck_assert_uint_eq(ask(&vrig, id, TAG_ADD, i).value, round * i);
        }
    }
    ck_assert_uint_eq(atomic_load(&world.inits), KEYS);
    ck_assert_uint_ge(faulty_counts(&faulty).puts, 9 * (KEYS - 20));
    eventually(vrig_count(&vrig) == 0);
    ck_assert_uint_eq(faulty_keys(&faulty), KEYS);
    stop_saving(&vrig);
}
END_TEST

START_TEST(ids_of_every_kind_and_every_address_have_states_of_their_own) {
    struct vrig vrig = start_saving(1);
    static unsigned char id[WEFT_ID_MAX];
    static const size_t sizes[] = {0, 1, 2, 24, 25, 300, WEFT_ID_MAX};
    const weft_capability *game = vrig_capability(&vrig, "game");
    for (uint64_t round = 1; round <= 3; round++) {
        for (uint64_t i = 0; i < 14; i++) {
            weft_vrequest request = message_to(&vrig, id, sizes[i % 7], TAG_ADD);
            uint64_t number = i + 1;
            struct view view = {0};
            request.capability = i < 7 ? vrig.chat : game;
            request.payload = &number;
            request.payload_size = sizeof(number);
            ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
            ck_assert_uint_eq(view.value, number * round);
            ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), 0);
        }
        eventually(vrig_count(&vrig) == 0);
    }
    ck_assert_uint_eq(faulty_keys(&faulty), 14);
    stop_saving(&vrig);
}
END_TEST

/* ---- a large state --------------------------------------------------------------------------- */

enum { LARGE = 1000000 };

static int large_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    unsigned char *bytes = state;
    for (uint32_t i = 1; i < LARGE; i++) {
        ck_assert_uint_eq(bytes[i], bytes[0] == 0 ? 0 : (unsigned char)(bytes[0] + i * 7));
    }
    unsigned char old = bytes[0]++;
    for (uint32_t i = 1; i < LARGE; i++) {
        bytes[i] = (unsigned char)(bytes[0] + i * 7);
    }
    ck_assert_int_eq(weft_passivate(ctx), 0);
    return weft_reply(ctx, &msg, 1, &old, 1);
}

static int large_save(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    int result = weft_buf_create(weft_runtime_of(ctx), LARGE, ret_saved);
    if (result == 0) {
        memcpy(weft_buf_data(*ret_saved), state, LARGE);
    }
    return result;
}

static int large_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                         uint32_t version) {
    (void)ctx;
    (void)version;
    ck_assert_uint_eq(size, LARGE);
    memcpy(state, data, size);
    return 0;
}

START_TEST(a_large_state_comes_back_whole) {
    struct vrig vrig = start_saving(0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "large",
                         .state_size = LARGE,
                         .receive = large_receive,
                         .save = large_save,
                         .restore = large_restore,
                         .store = &faulty.store};
    weft_vrequest request = message(&vrig, "a", 1, NULL);
    request.type = rig_type(&vrig.rig, &def);
    for (unsigned char i = 0; i < 5; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, NULL), 0);
        ck_assert_int_eq(*(const unsigned char *)weft_msg_data(reply), i);
        weft_runtime_msg_release(vrig.rig.runtime, &reply);
        eventually(!weft_virtual_count(vrig.rig.runtime, request.type));
    }
    stop_saving(&vrig);
}
END_TEST

/* ---- what is not saved ----------------------------------------------------------------------- */

START_TEST(a_crash_brings_back_what_was_saved_last) {
    struct vrig vrig = start_saving(_i);
    (void)ask(&vrig, "a", TAG_SET, 5);
    ck_assert_int_eq(try_ask(&vrig, "a", TAG_CRASH, 0), WEFT_E_CRASHED);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 0); /* nothing yet */
    (void)ask(&vrig, "a", TAG_SET, 6);
    passivate(&vrig, "a");
    (void)ask(&vrig, "a", TAG_SET, 7);
    ck_assert_int_eq(try_ask(&vrig, "a", TAG_CRASH, 0), WEFT_E_CRASHED);
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(view.value, 6);
    ck_assert_uint_eq(view.restored, 1);
    ck_assert_uint_eq(faulty_counts(&faulty).puts, 1);
    stop_saving(&vrig);
}
END_TEST

START_TEST(when_there_is_nothing_to_keep_the_actor_begins_afresh) {
    struct vrig vrig = start_saving(_i);
    struct view view = ask_arg(&vrig, "a", TAG_SET, "firstarg");
    atomic_store(&world.save_nothing, true);
    passivate(&vrig, "a");
    ck_assert_uint_eq(faulty_keys(&faulty), 0);
    struct view after = ask_arg(&vrig, "a", TAG_ADD, "otherarg");
    ck_assert_uint_eq(after.restored, 0);
    ck_assert_uint_eq(after.value, 0);
    ck_assert_uint_eq(after.arg, view.arg); /* that is remembered all the same */
    /* Nor does something older come back. */
    atomic_store(&world.save_nothing, false);
    (void)ask(&vrig, "a", TAG_SET, 9);
    passivate(&vrig, "a");
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 9);
    atomic_store(&world.save_nothing, true);
    passivate(&vrig, "a");
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 0);
    stop_saving(&vrig);
}
END_TEST

/* ---- failing saves --------------------------------------------------------------------------- */

/* The actor is as it was, and a later save is good. */
static void still_there(struct vrig *vrig, const struct view *before) {
    struct view view = ask(vrig, "a", TAG_ADD, 1);
    ck_assert_uint_eq(view.value, before->value + 1);
    ck_assert(weft_pid_equal(view.pid, before->pid));
    passivate(vrig, "a");
    struct view after = ask(vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, before->value + 1);
    ck_assert_uint_eq(after.birth, before->birth + 1);
}

START_TEST(a_save_that_fails_leaves_the_actor_active) {
    struct vrig vrig = start_saving(_i);
    struct view before = ask(&vrig, "a", TAG_SET, 41);
    atomic_store(&world.save_result, -ENOMEM);
    (void)ask(&vrig, "a", TAG_PASSIVATE, 0);
    eventually(atomic_load(&world.saves) == 1);
    settle(&vrig.rig, before.pid);
    ck_assert_uint_eq(faulty_counts(&faulty).puts, 0);
    atomic_store(&world.save_result, 0);
    still_there(&vrig, &before);
    stop_saving(&vrig);
}
END_TEST

static const enum faulty_fate bad_puts[] = {FAULTY_REFUSE, FAULTY_FAIL, FAULTY_LOSE};

/* Number: the fate and the schedulers. */
START_TEST(a_store_that_fails_leaves_the_actor_and_its_state) {
    faulty_init(&faulty, 3);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 100 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i / 3), &def);
    for (uint32_t i = 0; i < 3; i++) {
        struct view before = ask(&vrig, "a", TAG_SET, 41 + i);
        faulty_next(&faulty, FAULTY_PUT, bad_puts[_i % 3], 1);
        uint64_t puts = faulty_counts(&faulty).puts;
        (void)ask(&vrig, "a", TAG_PASSIVATE, 0);
        eventually(faulty_counts(&faulty).puts == puts + 1);
        struct view after = ask(&vrig, "a", TAG_GET, 0); /* waits for the deadline, if need be */
        ck_assert_uint_eq(after.value, 41 + i);
        ck_assert(weft_pid_equal(after.pid, before.pid));
        still_there(&vrig, &before);
    }
    stop_saving(&vrig);
}
END_TEST

START_TEST(a_full_store_leaves_the_actors_active) {
    weft_store *store = NULL;
    ck_assert_int_eq(weft_store_memory_create(1, &store), 0);
    faulty_init(&faulty, 4);
    weft_type_def def = saved_def();
    def.store = store;
    def.idle_ns = 10 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    struct view before = ask(&vrig, "a", TAG_SET, 5);
    eventually(atomic_load(&world.saves) >= 3); /* it is tried again, but not all the time */
    ck_assert(weft_pid_equal(ask(&vrig, "a", TAG_GET, 0).pid, before.pid));
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 5);
    uint64_t before_ns = clock_ns();
    uint64_t saves = atomic_load(&world.saves);
    sleep_ns(100 * MS_NS);
    saves = atomic_load(&world.saves) - saves;
    ck_assert_uint_lt(saves, (clock_ns() - before_ns) / MS_NS);
    ck_assert_uint_eq(weft_store_memory_count(store), 0);
    stop_saving(&vrig);
    weft_store_memory_destroy(&store);
}
END_TEST

/* ---- versions -------------------------------------------------------------------------------- */

/* Two runtimes on one store stand for two nodes that do not see each other. */
START_TEST(an_actor_whose_state_was_saved_elsewhere_ends_and_takes_that_one) {
    struct vrig here = start_saving(_i);
    weft_type_def def = saved_def();
    def.save_version = SAVE_VERSION + 1;
    struct vrig there = vrig_start_def(1, &def);
    (void)ask(&here, "a", TAG_SET, 1);
    passivate(&here, "a");
    struct view stale = ask(&here, "a", TAG_SET, 100);
    struct view newer = ask(&there, "a", TAG_ADD, 1);
    ck_assert_uint_eq(newer.value, 2);
    ck_assert_uint_eq(newer.version, SAVE_VERSION);
    passivate(&there, "a");
    (void)ask(&here, "a", TAG_PASSIVATE, 0);
    eventually(faulty_counts(&faulty).puts == 3);
    struct view after = ask(&here, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 2);
    ck_assert_uint_eq(after.version, SAVE_VERSION + 1);
    ck_assert(!weft_pid_equal(after.pid, stale.pid));
    passivate(&here, "a"); /* and that is saved on top of it */
    ck_assert_uint_eq(ask(&there, "a", TAG_GET, 0).value, 2);
    ck_assert_int_eq(weft_runtime_stop(there.rig.runtime, 30 * S_NS), 0);
    rig_stop(&there.rig);
    stop_saving(&here);
}
END_TEST

START_TEST(what_waits_for_a_save_of_an_old_version_is_handled_by_the_next_one) {
    struct vrig vrig = start_saving(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "a", TAG_SET, 50);
    passivate(&vrig, "a");
    struct view before = ask(&vrig, "a", TAG_SET, 60);
    hold_store();
    faulty_next(&faulty, FAULTY_PUT, FAULTY_VERSION, 1);
    passivate_until_waiting(&vrig, "a", 1);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    (void)puppet_ask(&vrig, puppet, &request, 1);
    step_on();
    struct seen seen = reply_at(&probe, 0);
    struct view view = {0};
    memcpy(&view, seen.data, sizeof(seen.data));
    ck_assert_int_eq(seen.status, 0);
    ck_assert_uint_eq(view.value, 50);
    ck_assert(!weft_pid_equal(view.pid, before.pid));
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

/* ---- while the store is asked ---------------------------------------------------------------- */

START_TEST(what_comes_while_a_state_is_loaded_waits_and_keeps_its_order) {
    struct vrig vrig = start_saving(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    for (uint32_t round = 0; round < 3; round++) { /* the first finds nothing saved */
        probe_fini(&probe);
        hold_store();
        uint64_t handled = atomic_load(&world.handled);
        struct pipeline pipeline = {&vrig, "a", 40, 0};
        act(&vrig.rig, puppet, send_pipeline, &pipeline);
        eventually(faulty_waiting(&faulty) == 1);
        sleep_ns(20 * MS_NS);
        ck_assert_uint_eq(atomic_load(&world.handled), handled);
        ck_assert_uint_eq(probe_count(&probe), 0);
        step_on();
        struct view view = pipeline_is_answered(&probe, 40);
        ck_assert_uint_eq(view.restored, round > 0);
        passivate(&vrig, "a");
    }
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(an_actor_that_waits_for_the_store_delays_nobody) {
    struct vrig vrig = start_saving(_i);
    weft_type_def def = cell_def("other");
    const weft_type *other = rig_type(&vrig.rig, &def);
    (void)ask(&vrig, "loaded", TAG_SET, 3);
    hold_store();
    for (uint32_t i = 0; i < 50; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)tell(&vrig, id, TAG_SET, i);
    }
    eventually(faulty_waiting(&faulty) == 50);
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 0; i < 50; i++) {
        weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
        request.type = other;
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
        ck_assert_uint_eq(ask(&vrig, "loaded", TAG_GET, 0).value, 3);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, 19 * S_NS); /* then the store is given up */
    ck_assert_uint_eq(faulty_waiting(&faulty), 50);
    faulty_helper_start(&faulty, 0);
    eventually(atomic_load(&world.handled) == 50 + 1 + 2 * 50);
    stop_saving(&vrig);
}
END_TEST

/* Number: whether the save succeeds, and the schedulers. */
START_TEST(what_comes_while_a_state_is_saved_waits_and_keeps_its_order) {
    struct vrig vrig = start_saving(_i / 2);
    bool fails = _i % 2 == 1;
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    struct view before = ask(&vrig, "a", TAG_SET, 60);
    hold_store();
    faulty_next(&faulty, FAULTY_PUT, fails ? FAULTY_FAIL : FAULTY_GOOD, 1);
    passivate_until_waiting(&vrig, "a", 1);
    uint64_t handled = atomic_load(&world.handled);
    struct pipeline pipeline = {&vrig, "a", 40, WEFT_ONLY_IF_ACTIVE}; /* it still is */
    act(&vrig.rig, puppet, send_pipeline, &pipeline);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(atomic_load(&world.handled), handled);
    step_on();
    struct view view = pipeline_is_answered(&probe, 40);
    /* It may have seen that it is needed, and stayed. */
    bool stayed = weft_pid_equal(view.pid, before.pid);
    ck_assert(stayed || !fails);
    ck_assert_uint_eq(view.restored, !stayed);
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(what_comes_by_pid_while_a_state_is_saved_is_not_lost) {
    struct vrig vrig = start_saving(_i);
    weft_pid pid = ask(&vrig, "a", TAG_SET, 60).pid;
    hold_store();
    passivate_until_waiting(&vrig, "a", 1);
    uint64_t one = 1;
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pid, TAG_ADD, &one, 8), 0);
    }
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 1, &queue), 0);
    ck_assert_int_eq(weft_cq_call(queue, pid, TAG_ADD, &one, 8, 20 * S_NS, 1), 0);
    step_on();
    weft_completion completion;
    eventually(weft_cq_next(queue, &completion) == 1);
    ck_assert_int_eq(completion.status, 0);
    weft_runtime_msg_release(vrig.rig.runtime, &completion.reply);
    weft_cq_destroy(&queue);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 71);
    stop_saving(&vrig);
}
END_TEST

START_TEST(killing_an_actor_that_waits_for_the_store_answers_its_callers) {
    struct vrig vrig = start_saving(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_vrequest request = message(&vrig, "a", TAG_ADD, NULL);
    hold_store();
    weft_pid pid = puppet_ask(&vrig, puppet, &request, 1); /* it loads */
    eventually(faulty_waiting(&faulty) == 1);
    ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, pid), 0);
    ck_assert_int_eq(reply_at(&probe, 0).status, WEFT_E_CRASHED);
    ck_assert(faulty_step(&faulty));
    ck_assert_uint_eq(faulty_counts(&faulty).unwanted, 1);
    faulty_plan(&faulty, (struct faulty_plan){0});
    pid = ask(&vrig, "a", TAG_SET, 60).pid;
    hold_store();
    passivate_until_waiting(&vrig, "a", 1); /* it saves */
    ck_assert(weft_pid_equal(puppet_ask(&vrig, puppet, &request, 2), pid));
    ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, pid), 0);
    ck_assert_int_eq(reply_at(&probe, 1).status, WEFT_E_CRASHED);
    ck_assert(faulty_step(&faulty));
    ck_assert_uint_eq(faulty_counts(&faulty).unwanted, 2);
    faulty_plan(&faulty, (struct faulty_plan){0});
    (void)ask(&vrig, "a", TAG_GET, 0);
    faulty_drop(&faulty);
    rig_stop(&vrig.rig);
    faulty_fini(&faulty);
    probe_fini(&probe);
}
END_TEST

/* ---- failing loads --------------------------------------------------------------------------- */

static const enum faulty_fate bad_gets[] = {FAULTY_REFUSE, FAULTY_FAIL, FAULTY_LOSE,
                                            FAULTY_LOSE_ANSWER};
enum { BAD_GETS = 4 };

/* A state that cannot be read is no reason to begin afresh. */
START_TEST(a_load_that_fails_answers_what_waits_and_is_tried_again) {
    faulty_init(&faulty, 5);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 100 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i / BAD_GETS), &def);
    enum faulty_fate fate = bad_gets[_i % BAD_GETS];
    bool is_lost = fate == FAULTY_LOSE || fate == FAULTY_LOSE_ANSWER;
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "a", TAG_SET, 41);
    passivate(&vrig, "a");
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t before_ns = clock_ns();
        faulty_next(&faulty, FAULTY_GET, fate, 1);
        weft_vrequest request = message(&vrig, "a", TAG_ADD, NULL);
        (void)puppet_ask(&vrig, puppet, &request, i);
        ck_assert_int_eq(reply_at(&probe, i).status, is_lost ? -ETIMEDOUT : -EIO);
        ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);          /* the call's own is 25 s */
        ck_assert(!is_lost || clock_ns() - before_ns >= 50 * MS_NS); /* a turn's clock is old */
    }
    eventually(vrig_count(&vrig) == 0);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 41);
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_restore_that_fails_answers_what_waits_and_keeps_what_is_saved) {
    struct vrig vrig = start_saving(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "a", TAG_SET, 41);
    passivate(&vrig, "a");
    atomic_store(&world.restore_result, -EPROTO);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), -EPROTO);
        ck_assert_uint_eq(atomic_load(&world.restores), i + 1);
    }
    hold_store();
    struct pipeline pipeline = {&vrig, "a", 20, 0};
    act(&vrig.rig, puppet, send_pipeline, &pipeline);
    eventually(faulty_waiting(&faulty) == 1);
    step_on();
    for (uint32_t i = 0; i <= 20; i++) {
        ck_assert_int_eq(reply_at(&probe, i).status, -EPROTO);
    }
    eventually(vrig_count(&vrig) == 0);
    atomic_store(&world.restore_result, 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 41);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(an_init_that_fails_for_want_of_a_saved_state_is_answered) {
    struct vrig vrig = start_saving(_i);
    atomic_store(&world.init_result, -EPERM);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), -EPERM);
    }
    eventually(vrig_count(&vrig) == 0);
    ck_assert_uint_eq(faulty_keys(&faulty), 0);
    atomic_store(&world.init_result, 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).restored, 0);
    stop_saving(&vrig);
}
END_TEST

START_TEST(garbage_in_the_store_does_no_harm) {
    struct vrig vrig = start_saving(_i);
    static const char *const garbage[] = {
        "", "x", "1234567", "12345678", "123456789abcdef", "123456789abcdef0123456789abcdef"};
    weft_store_key key = {.capability = "chat", .type = "cell", .id = "a", .id_size = 1};
    for (uint32_t i = 0; i < 6; i++) {
        if (garbage[i][0] != '\0') { /* a buffer holds something */
            (void)faulty_poke(&faulty, vrig.rig.runtime, &key, garbage[i]);
            weft_vrequest request = message(&vrig, "a", TAG_STOP, NULL);
            int result = try_request(&vrig, &request, NULL);
            ck_assert(result <= 0);
            eventually(!is_active(&vrig, "a"));
        }
    }
    ck_assert_uint_eq(ask(&vrig, "b", TAG_GET, 0).value, 0);
    stop_saving(&vrig);
}
END_TEST

static TCase *save_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 180);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#define ALL SCHEDULER_CASES

static Suite *save_suite(void) {
    Suite *suite = suite_create("virtual_save");
    TCase *back = save_case(suite, "back");
    tcase_add_loop_test(back, a_state_survives_passivation, 0, 2 * ALL);
    tcase_add_loop_test(back, a_state_survives_idle_time_and_limits, 0, ALL);
    tcase_add_test(back, ids_of_every_kind_and_every_address_have_states_of_their_own);
    tcase_add_test(back, a_large_state_comes_back_whole);
    tcase_add_loop_test(back, a_crash_brings_back_what_was_saved_last, 0, ALL);
    tcase_add_loop_test(back, when_there_is_nothing_to_keep_the_actor_begins_afresh, 0, ALL);
    TCase *fail = save_case(suite, "fail");
    tcase_add_loop_test(fail, a_save_that_fails_leaves_the_actor_active, 0, ALL);
    tcase_add_loop_test(fail, a_store_that_fails_leaves_the_actor_and_its_state, 0, 3 * ALL);
    tcase_add_loop_test(fail, a_full_store_leaves_the_actors_active, 0, ALL);
    tcase_add_loop_test(fail, an_actor_whose_state_was_saved_elsewhere_ends_and_takes_that_one, 0,
                        ALL);
    tcase_add_loop_test(fail, what_waits_for_a_save_of_an_old_version_is_handled_by_the_next_one, 0,
                        ALL);
    TCase *wait = save_case(suite, "wait");
    tcase_add_loop_test(wait, what_comes_while_a_state_is_loaded_waits_and_keeps_its_order, 0, ALL);
    tcase_add_loop_test(wait, an_actor_that_waits_for_the_store_delays_nobody, 0, ALL);
    tcase_add_loop_test(wait, what_comes_while_a_state_is_saved_waits_and_keeps_its_order, 0,
                        2 * ALL);
    tcase_add_loop_test(wait, what_comes_by_pid_while_a_state_is_saved_is_not_lost, 0, ALL);
    tcase_add_loop_test(wait, killing_an_actor_that_waits_for_the_store_answers_its_callers, 0,
                        ALL);
    TCase *load = save_case(suite, "load");
    tcase_add_loop_test(load, a_load_that_fails_answers_what_waits_and_is_tried_again, 0,
                        BAD_GETS * ALL);
    tcase_add_loop_test(load, a_restore_that_fails_answers_what_waits_and_keeps_what_is_saved, 0,
                        ALL);
    tcase_add_loop_test(load, an_init_that_fails_for_want_of_a_saved_state_is_answered, 0, ALL);
    tcase_add_loop_test(load, garbage_in_the_store_does_no_harm, 0, ALL);
    return suite;
}

int main(void) {
    return run_suite(save_suite());
}
