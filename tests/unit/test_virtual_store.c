/* SPDX-License-Identifier: MIT
 *
 * Virtual actors and a store that is slow, forgetful or gone: forgetting what is kept, late answers,
 * stops with operations under way, and storms that count whether every answered message is in the
 * state in the end. What one save and one load do is in test_virtual_save.c.
 */
#include "tests/unit/store_rig.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 4 };
#else
enum { SLOWER = 1 };
#endif

/* ---- forgetting ------------------------------------------------------------------------------ */

START_TEST(forgetting_removes_the_state_and_the_argument) {
    struct vrig vrig = start_saving(_i);
    (void)ask_arg(&vrig, "a", TAG_GET, "firstarg");
    (void)ask(&vrig, "a", TAG_SET, 5);
    passivate(&vrig, "a");
    struct view view = ask_arg(&vrig, "a", TAG_GET, "otherarg");
    ck_assert_uint_eq(view.value, 5);
    ck_assert_uint_eq(faulty_keys(&faulty), 1);
    (void)ask(&vrig, "a", TAG_FORGET, 0);
    eventually(!is_active(&vrig, "a"));
    ck_assert_uint_eq(faulty_keys(&faulty), 0);
    ck_assert_int_eq(end_at(1).reason, 0);
    view = ask_arg(&vrig, "a", TAG_GET, "a new one");
    ck_assert_uint_eq(view.restored, 0);
    ck_assert_uint_eq(view.value, 0);
    ck_assert_uint_eq(view.arg_size, 9);
    (void)ask(&vrig, "a", TAG_FORGET, 0); /* nothing is kept yet */
    eventually(!is_active(&vrig, "a"));
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, NULL).arg_size, 0);
    stop_saving(&vrig);
}
END_TEST

START_TEST(while_it_is_forgotten_nobody_takes_its_place) {
    struct vrig vrig = start_saving(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "a", TAG_SET, 5);
    passivate(&vrig, "a");
    struct view before = ask(&vrig, "a", TAG_GET, 0);
    hold_store();
    (void)tell(&vrig, "a", TAG_FORGET, 0);
    eventually(faulty_waiting(&faulty) == 1);
    uint64_t births = atomic_load(&world.births);
    uint64_t number = 1;
    weft_vrequest request = message(&vrig, "a", TAG_ADD, &number);
    for (uint64_t i = 0; i < 20; i++) {
        (void)puppet_ask(&vrig, puppet, &request, i);
    }
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(probe_count(&probe), 0);
    ck_assert_uint_eq(atomic_load(&world.births), births);
    step_on();
    for (uint64_t i = 0; i < 20; i++) {
        struct seen seen = reply_at(&probe, (uint32_t)i);
        struct view view = {0};
        memcpy(&view, seen.data, sizeof(seen.data));
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_eq(seen.token, i);
        ck_assert_uint_eq(view.value, i + 1); /* afresh, and in order */
        ck_assert(!weft_pid_equal(view.pid, before.pid));
    }
    stop_saving(&vrig);
    probe_fini(&probe);
}
END_TEST

static const enum faulty_fate bad_removes[] = {FAULTY_REFUSE, FAULTY_FAIL, FAULTY_LOSE};
enum { BAD_REMOVES = 3 };

START_TEST(an_actor_that_cannot_be_forgotten_goes_on) {
    faulty_init(&faulty, 12);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 100 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i / BAD_REMOVES), &def);
    (void)ask_arg(&vrig, "a", TAG_SET, "argument");
    (void)ask(&vrig, "a", TAG_SET, 5);
    passivate(&vrig, "a");
    struct view before = ask(&vrig, "a", TAG_GET, 0);
    atomic_store(&world.may_fail, -EIO);
    faulty_next(&faulty, FAULTY_REMOVE, bad_removes[_i % BAD_REMOVES], 1);
    uint64_t before_ns = clock_ns();
    (void)ask(&vrig, "a", TAG_FORGET, 0);
    struct view after = ask(&vrig, "a", TAG_ADD, 1);
    ck_assert_uint_eq(after.value, 6);
    ck_assert(weft_pid_equal(after.pid, before.pid));
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    passivate(&vrig, "a"); /* nothing is left of the wish */
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 6);
    (void)ask(&vrig, "a", TAG_FORGET, 0); /* the next time it is done */
    eventually(!is_active(&vrig, "a"));
    after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 0);
    ck_assert_uint_eq(after.arg_size, 0);
    stop_saving(&vrig);
}
END_TEST

/* ---- late answers ---------------------------------------------------------------------------- */

START_TEST(an_answer_after_the_deadline_is_ignored) {
    faulty_init(&faulty, 13);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 50 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    (void)ask(&vrig, "a", TAG_SET, 5);
    passivate(&vrig, "a");
    for (uint32_t i = 1; i <= 5; i++) { /* loads */
        hold_store();
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), -ETIMEDOUT);
        ck_assert_uint_eq(faulty_waiting(&faulty), 1);
        step_on();
        ck_assert_uint_eq(faulty_counts(&faulty).unwanted, i);
        struct view view = ask(&vrig, "a", TAG_GET, 0);
        ck_assert_uint_eq(view.value, 5);
        passivate(&vrig, "a");
    }
    stop_saving(&vrig);
}
END_TEST

START_TEST(whoever_completes_a_save_too_late_is_told) {
    faulty_init(&faulty, 13);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 50 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    struct view before = ask(&vrig, "a", TAG_SET, 7);
    hold_store();
    (void)tell(&vrig, "a", TAG_PASSIVATE, 0); /* it goes on at the deadline */
    eventually(faulty_waiting(&faulty) == 1);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert(weft_pid_equal(after.pid, before.pid));
    step_on();
    ck_assert_uint_eq(faulty_counts(&faulty).unwanted, 1);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 7);
    stop_saving(&vrig);
}
END_TEST

/* ---- stops ----------------------------------------------------------------------------------- */

START_TEST(a_state_outlives_the_runtime) {
    weft_store *store = NULL;
    ck_assert_int_eq(weft_store_memory_create(0, &store), 0);
    for (uint64_t round = 1; round <= 3; round++) {
        weft_type_def def = saved_def();
        def.store = store;
        struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
        for (uint64_t i = 0; i < 20; i++) {
            char id[8];
            (void)snprintf(id, sizeof(id), "%u", (unsigned)i);
            ck_assert_uint_eq(ask(&vrig, id, TAG_ADD, i).value, i * round);
            passivate(&vrig, id);
        }
        vrig_stop(&vrig);
    }
    ck_assert_uint_eq(weft_store_memory_count(store), 20);
    weft_store_memory_destroy(&store);
}
END_TEST

START_TEST(a_stop_saves_the_states) {
    struct vrig vrig = start_saving(_i);
    enum { SAVED = 200 };
    char id[16];
    for (uint32_t i = 0; i < SAVED; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)ask(&vrig, id, TAG_SET, i + 1);
    }
    (void)ask(&vrig, "0", TAG_KEEP, 1); /* also those that are not idle */
    (void)ask(&vrig, "1", TAG_TIMER, 3600 * S_NS);
    faulty_plan(&faulty, (struct faulty_plan){.delay = 50});
    faulty_helper_start(&faulty, 10000);
    ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 30 * S_NS), 0);
    ck_assert_uint_eq(faulty_keys(&faulty), SAVED);
    ck_assert_uint_eq(world_ends(), SAVED);
    faulty_helper_stop(&faulty);
    faulty_drop(&faulty);
    vrig_stop(&vrig);
    weft_type_def def = saved_def();
    struct vrig next = vrig_start_def(1, &def);
    for (uint32_t i = 0; i < SAVED; i++) {
        ck_assert_int_eq(end_at(i).reason, WEFT_E_SHUTDOWN);
        (void)snprintf(id, sizeof(id), "%u", i);
        ck_assert_uint_eq(ask(&next, id, TAG_GET, 0).value, i + 1);
    }
    stop_saving(&next);
}
END_TEST

/* Calls an id as a completion of the queue. */
static void begin(struct vrig *vrig, weft_cq *queue, const char *id, uint64_t token) {
    weft_vrequest request = message(vrig, id, TAG_GET, NULL);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, token, NULL), 0);
}

static void all_fail(weft_cq *queue, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        weft_completion completion = {0};
        eventually(weft_cq_next(queue, &completion) == 1);
        ck_assert(completion.status < 0);
    }
}

/* There is nothing to lose, so it does not wait. */
START_TEST(a_stop_does_not_wait_for_loads) {
    struct vrig vrig = start_saving(_i);
    enum { LOADED = 50 };
    weft_cq *queue = NULL;
    hold_store();
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, LOADED, &queue), 0);
    for (uint32_t i = 0; i < LOADED; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i);
        begin(&vrig, queue, id, i);
    }
    eventually(faulty_waiting(&faulty) == LOADED);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 19 * S_NS), 0);
    ck_assert_uint_lt(clock_ns() - before_ns, 19 * S_NS); /* then the store is given up */
    all_fail(queue, LOADED);
    weft_cq_destroy(&queue);
    while (faulty_step(&faulty)) { /* the answers come all the same */
    }
    ck_assert_uint_eq(faulty_counts(&faulty).unwanted, LOADED);
    stop_saving(&vrig);
}
END_TEST

START_TEST(a_stop_waits_for_saves_up_to_their_deadline) {
    faulty_init(&faulty, 18);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 300 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    enum { SAVED = 50 };
    weft_cq *queue = NULL;
    char id[16];
    for (uint32_t i = 0; i < SAVED; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)ask(&vrig, id, TAG_SET, i);
    }
    hold_store();
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 1, &queue), 0);
    (void)tell(&vrig, "0", TAG_PASSIVATE, 0); /* this one is being saved already */
    eventually(faulty_waiting(&faulty) == 1);
    begin(&vrig, queue, "0", 0);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 19 * S_NS), 0);
    ck_assert_uint_ge(clock_ns() - before_ns, 150 * MS_NS); /* a turn's clock is old */
    ck_assert_uint_lt(clock_ns() - before_ns, 19 * S_NS);
    all_fail(queue, 1);
    weft_cq_destroy(&queue);
    stop_saving(&vrig);
}
END_TEST

/* ---- storms ---------------------------------------------------------------------------------- */

enum { KEYS = 20, STORMERS = 4, ADDS = 2000 / SLOWER };

struct storm {
    struct vrig *vrig;
    bool crashes;
    _Atomic uint64_t good[KEYS];
    _Atomic uint64_t failed;
    _Atomic uint64_t seed;
};
static struct storm storm;

static void name_of(uint64_t key, char *id, size_t size) {
    (void)snprintf(id, size, key % 2 == 0 ? "%u" : "an id that does not fit, number %u",
                   (unsigned)key);
}

static void *storm_run(void *arg) {
    (void)arg;
    uint64_t random = atomic_fetch_add(&storm.seed, 0x9e3779b97f4a7c15u);
    for (uint32_t i = 0; i < ADDS; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t key = (random >> 40) % KEYS;
        char id[64];
        name_of(key, id, sizeof(id));
        if ((random >> 20) % 4 == 0) {
            (void)tell(storm.vrig, id, TAG_PASSIVATE, 0);
        }
        if (storm.crashes && (random >> 30) % 32 == 0) {
            (void)tell(storm.vrig, id, TAG_CRASH, 0);
        }
        int result = try_ask(storm.vrig, id, TAG_ADD, 1);
        ck_assert_msg(result == 0 || result == -EIO || result == -ETIMEDOUT ||
                          (storm.crashes && result == WEFT_E_CRASHED),
                      "%d: %s", result, weft_strerror(result));
        atomic_fetch_add(result == 0 ? &storm.good[key] : &storm.failed, 1);
    }
    return NULL;
}

/* Runs the senders, lets the store be good again, and compares. Deadlines that pass when the
 * machine is busy may save what nobody knows of: then only an upper bound holds. */
static void run_storm(struct vrig *vrig, bool exact) {
    pthread_t threads[STORMERS];
    storm.vrig = vrig;
    faulty_helper_start(&faulty, 100000);
    for (uint32_t i = 0; i < STORMERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, storm_run, NULL), 0);
    }
    for (uint32_t i = 0; i < STORMERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    faulty_plan(&faulty, (struct faulty_plan){0});
    eventually(faulty_waiting(&faulty) == 0);
    exact = exact && faulty_counts(&faulty).unwanted == 0;
    uint64_t good = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        char id[64];
        struct view view = {0};
        name_of(key, id, sizeof(id));
        weft_vrequest request = message(vrig, id, TAG_GET, NULL);
        eventually(try_request(vrig, &request, &view) == 0); /* one may just be failing */
        uint64_t added = atomic_load(&storm.good[key]);
        ck_assert_uint_le(view.value, added);
        ck_assert(view.value == added || !exact);
        good += added;
    }
    ck_assert_uint_eq(good + atomic_load(&storm.failed), (uint64_t)STORMERS * ADDS);
    ck_assert_uint_gt(good, 0);
    ck_assert_uint_gt(faulty_counts(&faulty).puts, 10);
}

START_TEST(every_answered_message_is_in_the_state_with_a_slow_store) {
    struct vrig vrig = start_saving(_i);
    faulty_plan(&faulty, (struct faulty_plan){.delay = 70, .late = 30});
    run_storm(&vrig, true);
    ck_assert_uint_eq(atomic_load(&storm.failed), 0);
    stop_saving(&vrig);
}
END_TEST

START_TEST(every_answered_message_is_in_the_state_with_a_failing_store) {
    faulty_init(&faulty, 14);
    weft_type_def def = saved_def();
    def.idle_ns = 2 * MS_NS;
    def.active_max = KEYS / 4;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    faulty_plan(&faulty, (struct faulty_plan){.delay = 50,
                                              .late = 50,
                                              .fate = {[FAULTY_FAIL] = 10, [FAULTY_REFUSE] = 10}});
    run_storm(&vrig, true);
    ck_assert_uint_gt(atomic_load(&storm.failed), 0);
    stop_saving(&vrig);
}
END_TEST

START_TEST(every_answered_message_is_in_the_state_with_a_store_that_loses_requests) {
    faulty_init(&faulty, 15);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 100 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    faulty_plan(&faulty, (struct faulty_plan){.delay = 10, .fate = {[FAULTY_LOSE] = 1}});
    run_storm(&vrig, true);
    stop_saving(&vrig);
}
END_TEST

START_TEST(crashes_and_every_fault_of_the_store_leave_no_call_unanswered) {
    faulty_init(&faulty, 16);
    weft_type_def def = saved_def();
    def.store_timeout_ns = 50 * MS_NS;
    def.idle_ns = 2 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    storm.crashes = true;
    faulty_plan(&faulty, (struct faulty_plan){.delay = 50,
                                              .late = 30,
                                              .fate = {[FAULTY_FAIL] = 5,
                                                       [FAULTY_REFUSE] = 5,
                                                       [FAULTY_LOSE] = 1,
                                                       [FAULTY_LOSE_ANSWER] = 1,
                                                       [FAULTY_FAIL_ANSWER] = 5,
                                                       [FAULTY_VERSION] = 5}});
    run_storm(&vrig, false);
    stop_saving(&vrig);
}
END_TEST

/* A stop in the middle of it. */
static void *stormy(void *arg) {
    struct vrig *vrig = arg;
    for (uint64_t i = 0;; i++) { /* bounded by the stop */
        char id[64];
        name_of(i % 200, id, sizeof(id));
        uint64_t one = 1;
        weft_vrequest request = message(vrig, id, i % 3 == 0 ? TAG_PASSIVATE : TAG_ADD, &one);
        int result = i % 5 == 0 ? try_request(vrig, &request, NULL)
                                : weft_runtime_vcast(vrig->rig.runtime, &request, NULL);
        if (result == WEFT_E_SHUTDOWN) {
            return NULL;
        }
        ck_assert_msg(result == 0 || result == -EIO || result == WEFT_E_NOPROC || result == -EBUSY,
                      "%d: %s", result, weft_strerror(result));
    }
}

START_TEST(a_stop_in_the_middle_of_loads_and_saves_leaves_nothing) {
    for (uint32_t round = 0; round < 5; round++) {
        faulty_init(&faulty, 17 + round);
        weft_type_def def = saved_def();
        def.idle_ns = 2 * MS_NS;
        def.active_max = 20;
        struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
        faulty_plan(&faulty, (struct faulty_plan){.delay = 70, .fate = {[FAULTY_FAIL] = 10}});
        faulty_helper_start(&faulty, 50000);
        pthread_t threads[3];
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, stormy, &vrig), 0);
        }
        sleep_ns((1 + round * 15) * MS_NS);
        ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 30 * S_NS), 0);
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        }
        stop_saving(&vrig);
    }
}
END_TEST

#define ALL SCHEDULER_CASES

static Suite *store_suite(void) {
    Suite *suite = suite_create("virtual_store");
    TCase *forget = tcase_create("forget");
    TCase *stop = tcase_create("stop");
    TCase *storms = tcase_create("storm");
    tcase_set_timeout(forget, 180);
    tcase_set_timeout(stop, 180);
    tcase_set_timeout(storms, 180);
    tcase_add_loop_test(forget, forgetting_removes_the_state_and_the_argument, 0, ALL);
    tcase_add_loop_test(forget, while_it_is_forgotten_nobody_takes_its_place, 0, ALL);
    tcase_add_loop_test(forget, an_actor_that_cannot_be_forgotten_goes_on, 0, BAD_REMOVES * ALL);
    tcase_add_loop_test(forget, an_answer_after_the_deadline_is_ignored, 0, ALL);
    tcase_add_loop_test(stop, a_state_outlives_the_runtime, 0, ALL);
    tcase_add_loop_test(stop, a_stop_saves_the_states, 0, ALL);
    tcase_add_loop_test(stop, a_stop_does_not_wait_for_loads, 0, ALL);
    tcase_add_loop_test(stop, a_stop_waits_for_saves_up_to_their_deadline, 0, ALL);
    tcase_add_loop_test(stop, a_stop_in_the_middle_of_loads_and_saves_leaves_nothing, 0, ALL);
    tcase_add_loop_test(storms, every_answered_message_is_in_the_state_with_a_slow_store, 0, ALL);
    tcase_add_loop_test(storms, every_answered_message_is_in_the_state_with_a_failing_store, 0,
                        ALL);
    tcase_add_loop_test(
        storms, every_answered_message_is_in_the_state_with_a_store_that_loses_requests, 0, ALL);
    tcase_add_loop_test(storms, crashes_and_every_fault_of_the_store_leave_no_call_unanswered, 0,
                        ALL);
    TCase *open = tcase_create("open"); /* it is told 0 */
    tcase_set_tags(open, "open");
    tcase_add_loop_test(open, whoever_completes_a_save_too_late_is_told, 0, ALL);
    suite_add_tcase(suite, forget);
    suite_add_tcase(suite, open);
    suite_add_tcase(suite, stop);
    suite_add_tcase(suite, storms);
    return suite;
}

int main(void) {
    return run_suite(store_suite());
}
