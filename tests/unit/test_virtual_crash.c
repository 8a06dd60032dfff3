/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: crashes of one address, and the pause that follows too many of them. What counts,
 * for how long, who is refused, what a trial is, what is forgotten when. Being activated again
 * without a message, monitors and links: test_virtual_restart.c.
 */
#include "tests/unit/crash_rig.h"

#include "sched/scheduler.h"
#include "tests/unit/memory_support.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 20 };
#else
enum { SLOWER = 1 };
#endif

/* ---- definitions ----------------------------------------------------------------------------- */

static int process_nothing(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)state;
    (void)arg;
    (void)arg_size;
    return WEFT_CONTINUE;
}

START_TEST(bad_policies_are_invalid) {
    struct rig rig = rig_start(1);
    const weft_type *type = NULL;
    weft_type_def bad[6];
    for (uint32_t i = 0; i < 6; i++) {
        bad[i] = cell_def("bad");
    }
    bad[0].crash_policy = WEFT_CRASH_RESTART + 1;
    bad[1].crash_policy = UINT32_MAX;
    bad[2].crash_max = WEFT__CRASH_MAX + 1;
    bad[3].crash_max = UINT32_MAX;
    for (uint32_t i = 4; i < 6; i++) { /* a process has no address */
        bad[i].receive = NULL;
        bad[i].process = process_nothing;
        bad[i].crash_max = i == 4 ? 1 : 0;
        bad[i].crash_policy = i == 4 ? WEFT_CRASH_LAZY : WEFT_CRASH_RESTART;
    }
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(weft_type_register(rig.runtime, &bad[i], &type), -EINVAL);
        ck_assert_ptr_null(type);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(what_a_policy_leaves_out_is_as_documented) {
    struct rig rig = rig_start(1);
    weft_type_def def = cell_def("lazy");
    const weft_type *type = rig_type(&rig, &def);
    ck_assert_uint_eq(type->def.crash_max, 0); /* no limit */
    def = cell_def("restart");
    def.crash_policy = WEFT_CRASH_RESTART;
    type = rig_type(&rig, &def);
    ck_assert_uint_eq(type->def.crash_max, 10);
    ck_assert_uint_eq(type->def.crash_window_ns, 10 * S_NS);
    ck_assert_uint_eq(type->def.crash_pause_ns, 60 * S_NS);
    def = cell_def("full");
    def.crash_max = WEFT__CRASH_MAX;
    def.crash_window_ns = UINT64_MAX;
    def.crash_pause_ns = UINT64_MAX;
    type = rig_type(&rig, &def);
    ck_assert_uint_eq(type->def.crash_window_ns, UINT64_MAX);
    ck_assert_uint_eq(type->def.crash_pause_ns, UINT64_MAX);
    rig_stop(&rig);
}
END_TEST

START_TEST(without_a_policy_any_number_of_crashes_is_answered_as_ever) {
    weft_type_def def = cell_def("cell");
    struct vrig vrig = crash_start(_i, &def);
    crash(&vrig, "a", 100);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    ck_assert_uint_eq(breaks_logged(), 0);
    crash_stop(&vrig);
}
END_TEST

/* ---- who is refused ---------------------------------------------------------------------------- */

static int ask_on_queue(struct vrig *vrig, const weft_vrequest *request) {
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig->rig.runtime, 4, &queue), 0);
    int result = weft_cq_vcall(queue, request, 1, NULL);
    weft_cq_destroy(&queue);
    return result;
}

static int puppet_result(struct vrig *vrig, weft_pid puppet, job_fn job,
                         const weft_vrequest *request) {
    struct asking asking = {.request = *request};
    act(&vrig->rig, puppet, job, &asking);
    return asking.result;
}

/* Everything that can be sent is refused, and nothing is activated for it. Returns how many. */
static uint32_t all_is_refused(struct vrig *vrig, weft_pid puppet, const char *id) {
    weft_runtime *runtime = vrig->rig.runtime;
    uint64_t births = atomic_load(&world.births);
    weft_vrequest request = message(vrig, id, TAG_GET, NULL);
    request.init_arg = "argument";
    request.init_arg_size = 8;
    for (uint32_t round = 0; round < 2; round++) {
        request.flags = round == 0 ? 0 : WEFT_ONLY_IF_ACTIVE;
        ck_assert_int_eq(try_request(vrig, &request, NULL), WEFT_E_BREAKER);
        ck_assert_int_eq(weft_runtime_vcast(runtime, &request, NULL), WEFT_E_BREAKER);
        ck_assert_int_eq(ask_on_queue(vrig, &request), WEFT_E_BREAKER);
        ck_assert_int_eq(puppet_result(vrig, puppet, puppet_ask_job, &request), WEFT_E_BREAKER);
        ck_assert_int_eq(puppet_result(vrig, puppet, puppet_tell_job, &request), WEFT_E_BREAKER);
    }
    ck_assert_uint_eq(atomic_load(&world.births), births);
    ck_assert(!is_active(vrig, id));
    return 10;
}

START_TEST(more_than_crash_max_crashes_and_all_is_refused_while_it_pauses) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    crash(&vrig, "a", CRASH_MAX);
    ck_assert_int_eq(try_get(&vrig, "a"), 0); /* not too many yet */
    ck_assert_uint_eq(rig_stats(&vrig.rig).virtual_breaks, 0);
    crash(&vrig, "a", 1);
    uint32_t refused = all_is_refused(&vrig, puppet, "a");
    pass(PAUSE_NS - HOUR_NS);
    refused += all_is_refused(&vrig, puppet, "a");
    weft_stats stats = rig_stats(&vrig.rig);
    ck_assert_uint_eq(stats.virtual_refused, refused);
    ck_assert_uint_eq(stats.virtual_breaks, 1);
    ck_assert_uint_eq(stats.virtual_crashes_lost, 0);
    pass(HOUR_NS);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    ck_assert_uint_eq(breaks_logged(), 1);
    crash_stop(&vrig);
}
END_TEST

/* The answer to the crash comes after the pause has begun. */
START_TEST(who_was_told_of_the_last_crash_is_refused_at_once) {
    weft_type_def def = crash_def();
    def.crash_max = 1;
    struct vrig vrig = crash_start(_i, &def);
    for (uint32_t i = 0; i < 1000 / SLOWER; i++) {
        char id[64];
        (void)snprintf(id, sizeof(id), i % 2 == 0 ? "%u" : "number %u, of a longer id than fits",
                       i);
        crash(&vrig, id, 2);
        ck_assert_int_eq(try_get(&vrig, id), WEFT_E_BREAKER);
    }
    crash_stop(&vrig);
}
END_TEST

START_TEST(what_waited_in_the_crashed_one_is_answered_as_ever) {
    weft_type_def def = crash_def();
    def.crash_max = 1;
    struct vrig vrig = crash_start(_i, &def);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 64, &queue), 0);
    crash(&vrig, "a", 1);
    (void)tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    for (uint32_t i = 0; i < 40; i++) {
        weft_vrequest request = message(&vrig, "a", i == 0 ? TAG_CRASH : TAG_GET, NULL);
        ck_assert_int_eq(weft_cq_vcall(queue, &request, i, NULL), 0);
    }
    atomic_store(&world.gate, 1);
    for (uint32_t i = 0; i < 40; i++) {
        weft_completion completion;
        eventually(weft_cq_next(queue, &completion) == 1);
        ck_assert_int_eq(completion.status, WEFT_E_CRASHED);
        ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    }
    weft_cq_destroy(&queue);
    crash_stop(&vrig);
}
END_TEST

/* ---- what counts ------------------------------------------------------------------------------- */

START_TEST(only_crashes_within_the_window_count) {
    weft_type_def def = crash_def();
    def.crash_max = 2;
    struct vrig vrig = crash_start(_i, &def);
    for (uint32_t i = 0; i < 20; i++) { /* never more than two at a time */
        crash(&vrig, "a", 1);
        ck_assert_int_eq(try_get(&vrig, "a"), 0);
        pass(6 * HOUR_NS);
    }
    crash(&vrig, "a", 1); /* 6 hours after the last one */
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    pass(3 * HOUR_NS);
    crash(&vrig, "a", 1); /* the third one in 9 hours */
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

/* The ring of times grows, and is used round and round. */
START_TEST(the_window_slides_over_many_crashes) {
    enum { MANY = 100 };
    weft_type_def def = crash_def();
    def.crash_max = MANY;
    struct vrig vrig = crash_start(1, &def);
    for (uint32_t i = 0; i < 10; i++) { /* 90 in ten hours */
        crash(&vrig, "a", 9);
        pass(HOUR_NS);
    }
    for (uint32_t i = 0; i < 50; i++) {
        crash(&vrig, "a", 9);
        pass(HOUR_NS);
    }
    ck_assert_uint_eq(breaks_logged(), 0);
    crash(&vrig, "a", MANY - 9 * 9); /* those of the last ten hours, which are 81 or 90 */
    uint32_t more = 0;
    while (breaks_logged() == 0 && more < 20) {
        crash(&vrig, "a", 1);
        more++;
    }
    ck_assert_uint_le(more, 1);
    ck_assert_uint_eq(breaker_log.crashes, MANY + 1);
    crash_stop(&vrig);
}
END_TEST

static void kill_it(struct vrig *vrig, const char *id) {
    weft_pid pid = ask(vrig, id, TAG_GET, 0).pid;
    ck_assert_int_eq(weft_runtime_kill_actor(vrig->rig.runtime, pid), 0);
    eventually(!is_alive(&vrig->rig, pid));
}

static void stop_it(struct vrig *vrig, const char *id, int reason) {
    weft_pid pid = ask(vrig, id, TAG_GET, 0).pid;
    ck_assert_int_eq(weft_runtime_stop_actor(vrig->rig.runtime, pid, reason), 0);
    eventually(!is_alive(&vrig->rig, pid));
}

START_TEST(a_kill_and_a_stop_with_a_reason_count) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    for (uint32_t i = 0; i <= CRASH_MAX; i++) {
        kill_it(&vrig, "killed");
        stop_it(&vrig, "stopped", -EPROTO);
    }
    ck_assert_int_eq(try_get(&vrig, "killed"), WEFT_E_BREAKER);
    ck_assert_int_eq(try_get(&vrig, "stopped"), WEFT_E_BREAKER);
    ck_assert(strcmp(breaker_log.error, weft_strerror(-EPROTO)) == 0);
    crash_stop_uneven(&vrig);
}
END_TEST

START_TEST(other_ends_do_not_count) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    crash(&vrig, "a", CRASH_MAX);
    for (uint32_t i = 0; i < 20; i++) {
        (void)ask(&vrig, "a", TAG_STOP, 0);
        stop_it(&vrig, "a", 0);
        stop_it(&vrig, "a", WEFT_E_SHUTDOWN);
        stop_it(&vrig, "a", WEFT_E_REBALANCING);
        passivate(&vrig, "a");
    }
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    break_it(&vrig, "b"); /* and those before still count */
    crash(&vrig, "a", 1);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

/* Asks until the address is refused, and is answered status before: at most once for each time that
 * counts. One call may make two activations, if the first has ended before it got the message. */
static void fail_until_it_pauses(struct vrig *vrig, int status) {
    uint32_t asked = 0;
    int result = status;
    for (; result == status; asked++) {
        ck_assert_uint_le(asked, CRASH_MAX + 1);
        result = try_get(vrig, "a");
    }
    ck_assert_int_eq(result, WEFT_E_BREAKER);
    ck_assert_uint_gt(asked, 1);
}

START_TEST(an_init_that_fails_counts) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    atomic_store(&world.init_result, -EPROTO);
    fail_until_it_pauses(&vrig, -EPROTO);
    ck_assert_uint_eq(atomic_load(&world.inits), CRASH_MAX + 1);
    crash_stop(&vrig);
}
END_TEST

START_TEST(a_restore_that_fails_counts_and_a_store_that_does_not_answer_does_not) {
    weft_type_def def = crash_def();
    make_saved(&def);
    def.store_timeout_ns = HOUR_NS;
    faulty_init(&faulty, 1);
    struct vrig vrig = crash_start(_i, &def);
    (void)ask(&vrig, "a", TAG_SET, 7);
    passivate(&vrig, "a");
    for (uint32_t i = 0; i < 5 * CRASH_MAX; i++) {
        faulty_next(&faulty, FAULTY_GET, i % 2 == 0 ? FAULTY_FAIL : FAULTY_REFUSE, 1);
        int result = try_get(&vrig, "a");
        ck_assert(result == -EIO || result == 0); /* 0: two activations, as below */
        if (result == 0) {
            passivate(&vrig, "a");
        }
    }
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    atomic_store(&world.restore_result, -EPROTO);
    fail_until_it_pauses(&vrig, -EPROTO);
    atomic_store(&world.restore_result, 0);
    pass(PAUSE_NS);
    /* A trial that the store does not let begin has not taken place. */
    faulty_next(&faulty, FAULTY_GET, FAULTY_FAIL, 1);
    int result = try_get(&vrig, "a");
    ck_assert(result == -EIO || result == 0);
    crash(&vrig, "a", 1);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    pass(PAUSE_NS);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 7);
    faulty_drop(&faulty);
    crash_stop(&vrig);
    faulty_fini(&faulty);
}
END_TEST

/* ---- trials ------------------------------------------------------------------------------------ */

START_TEST(a_trial_that_crashes_begins_the_next_pause_at_once) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    break_it(&vrig, "a");
    pass(PAUSE_NS);
    for (uint32_t i = 2; i < 10; i++) {
        ck_assert_int_eq(try_get(&vrig, "a"), 0);
        pass(WINDOW_NS - HOUR_NS);
        crash(&vrig, "a", 1);
        ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
        ck_assert_uint_eq(breaks_logged(), i);
        ck_assert_uint_eq(breaker_log.crashes, 1);
        pass(PAUSE_NS - HOUR_NS);
        ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
        pass(HOUR_NS);
    }
    crash_stop(&vrig);
}
END_TEST

enum { TRIAL_LASTS, TRIAL_STOPS, TRIAL_PASSIVATED, TRIAL_WAYS };

START_TEST(a_trial_that_does_not_crash_begins_counting_anew) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(1, &def);
    break_it(&vrig, "a");
    pass(PAUSE_NS);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    if (_i == TRIAL_LASTS) {
        pass(WINDOW_NS + HOUR_NS);
    } else if (_i == TRIAL_STOPS) {
        (void)ask(&vrig, "a", TAG_STOP, 0);
        eventually(!is_active(&vrig, "a"));
    } else {
        passivate(&vrig, "a");
    }
    crash(&vrig, "a", CRASH_MAX);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    crash(&vrig, "a", 1);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

START_TEST(who_races_for_the_trial_makes_one_activation) {
    enum { RACERS = 24, ROUNDS = 40 / (SLOWER > 4 ? 4 : SLOWER) };
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, RACERS, &queue), 0);
    struct probe probes[RACERS];
    weft_pid puppets[RACERS];
    for (uint32_t i = 0; i < RACERS; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        puppets[i] = rig_spawn(&vrig.rig, &probes[i]);
    }
    break_it(&vrig, "a");
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct asking askings[RACERS];
        uint64_t births = atomic_load(&world.births);
        pass(PAUSE_NS);
        for (uint32_t i = 0; i < RACERS; i++) { /* not waited for: they run at the same time */
            askings[i] = (struct asking){.request = message(&vrig, "a", TAG_GET, NULL)};
            /* a scheduler may not have seen yet how far the clock has been moved */
            askings[i].request.timeout_ns = WEFT_TIMEOUT_NEVER;
            struct job job = {.fn = puppet_ask_job, .arg = &askings[i]};
            ck_assert_int_eq(
                weft_cq_call(queue, puppets[i], TAG_ACT, &job, sizeof(job), 60 * S_NS, i), 0);
        }
        for (uint32_t i = 0; i < RACERS; i++) {
            weft_completion completion;
            eventually(weft_cq_next(queue, &completion) == 1);
            ck_assert_int_eq(completion.status, 0);
            weft_runtime_msg_release(vrig.rig.runtime, &completion.reply);
            ck_assert_int_eq(reply_at(&probes[completion.token], round).status, 0);
        }
        ck_assert_uint_eq(atomic_load(&world.births), births + 1);
        crash(&vrig, "a", 1);
        ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    }
    weft_cq_destroy(&queue);
    crash_stop(&vrig);
    for (uint32_t i = 0; i < RACERS; i++) {
        probe_fini(&probes[i]);
    }
}
END_TEST

/* ---- forgetting -------------------------------------------------------------------------------- */

START_TEST(a_pause_without_end_ends_when_it_is_forgiven) {
    weft_type_def def = crash_def();
    def.crash_pause_ns = UINT64_MAX;
    struct vrig vrig = crash_start(_i, &def);
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    break_it(&vrig, "a");
    pass(100000 * HOUR_NS);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    ck_assert_int_eq(forgive(&vrig, "a"), 0);
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    crash(&vrig, "a", CRASH_MAX); /* and no trial */
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    ck_assert_int_eq(forgive(&vrig, "a"), 0); /* those, too */
    break_it(&vrig, "a");
    crash_stop(&vrig);
}
END_TEST

START_TEST(forgiving_checks_what_it_is_given) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(0, &def);
    struct rig other = rig_start(1);
    weft_runtime *runtime = vrig.rig.runtime;
    const char *id = "a";
    ck_assert_int_eq(weft_virtual_forgive(NULL, vrig.chat, vrig.cell, id, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, NULL, vrig.cell, id, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, NULL, id, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, vrig.cell, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, vrig.cell, id, WEFT_ID_MAX + 1),
                     -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, other.puppet, id, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(other.runtime, vrig.chat, vrig.cell, id, 1), -EINVAL);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, vrig.rig.puppet, id, 1), -ENOENT);
    ck_assert_int_eq(weft_virtual_forgive(runtime, vrig.chat, vrig.cell, NULL, 0), -ENOENT);
    rig_stop(&other);
    crash_stop(&vrig);
}
END_TEST

START_TEST(crashes_are_forgotten_when_nothing_depends_on_them) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    crash(&vrig, "a", CRASH_MAX);
    break_it(&vrig, "b");
    pass(WINDOW_NS + HOUR_NS);
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    ck_assert_int_eq(try_get(&vrig, "b"), WEFT_E_BREAKER);
    pass(2 * PAUSE_NS); /* nobody has sent it anything for another pause */
    ck_assert_int_eq(forgive(&vrig, "b"), -ENOENT);
    crash(&vrig, "b", CRASH_MAX);
    ck_assert_int_eq(try_get(&vrig, "b"), 0);
    crash_stop(&vrig);
}
END_TEST

START_TEST(weft_forget_forgets_crashes_too) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    for (uint32_t i = 0; i < 5; i++) {
        crash(&vrig, "a", CRASH_MAX);
        (void)tell(&vrig, "a", TAG_FORGET, 0);
        eventually(!is_active(&vrig, "a"));
        ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    }
    crash_stop(&vrig);
}
END_TEST

START_TEST(a_capability_that_is_taken_away_takes_its_crashes_with_it) {
    static const char *const names[] = {"chat"};
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    struct vrig other = vrig;
    other.chat = vrig_capability(&vrig, "other");
    break_it(&vrig, "a");
    break_it(&other, "a");
    crash(&vrig, "b", CRASH_MAX);
    ck_assert_int_eq(weft_capability_unregister(vrig.rig.runtime, names, 1), 0);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_NOCAPABILITY);
    ck_assert_int_eq(weft_capability_register(vrig.rig.runtime, names, 1), 0);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    ck_assert_int_eq(forgive(&vrig, "b"), -ENOENT);
    ck_assert_int_eq(try_get(&other, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

/* ---- others ------------------------------------------------------------------------------------ */

START_TEST(neighbours_are_not_concerned) {
    enum { NEIGHBOURS = 64 };
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    char ids[NEIGHBOURS][NEIGHBOUR_BYTES];
    struct view before[NEIGHBOURS];
    neighbours(&vrig, ids, NEIGHBOURS);
    def.name = "second";
    struct vrig second = vrig;
    second.cell = rig_type(&vrig.rig, &def);
    for (uint32_t i = 1; i < NEIGHBOURS; i++) {
        before[i] = ask(&vrig, ids[i], TAG_SET, i);
    }
    struct view same_id = ask(&second, ids[0], TAG_SET, 1000);
    break_it(&vrig, ids[0]);
    for (uint32_t i = 1; i < NEIGHBOURS; i++) {
        struct view after = ask(&vrig, ids[i], TAG_GET, 0);
        ck_assert_uint_eq(after.value, i);
        ck_assert(weft_pid_equal(after.pid, before[i].pid));
    }
    ck_assert(weft_pid_equal(ask(&second, ids[0], TAG_GET, 0).pid, same_id.pid));
    ck_assert_int_eq(try_get(&vrig, "somebody new"), 0);
    crash_stop(&vrig);
}
END_TEST

/* ---- the log ----------------------------------------------------------------------------------- */

static void break_bytes(struct vrig *vrig, const void *id, size_t id_size) {
    weft_vrequest request = message_to(vrig, id, id_size, TAG_CRASH);
    for (uint32_t i = 0; i <= CRASH_MAX; i++) {
        ck_assert_int_eq(try_request(vrig, &request, NULL), WEFT_E_CRASHED);
    }
    ck_assert_int_eq(try_request(vrig, &request, NULL), WEFT_E_BREAKER);
}

START_TEST(a_pause_is_logged_with_the_id_as_text) {
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(_i, &def);
    break_bytes(&vrig, "user 12", 7);
    ck_assert(strcmp(breaker_log.type, "cell") == 0);
    ck_assert(strcmp(breaker_log.id, "user 12") == 0);
    ck_assert(strcmp(breaker_log.error, weft_strerror(-EIO)) == 0);
    ck_assert_uint_eq(breaker_log.crashes, CRASH_MAX + 1);
    break_bytes(&vrig, "a\\b\n\xff\0z", 7);
    ck_assert(strcmp(breaker_log.id, "a\\x5cb\\x0a\\xff\\x00z") == 0);
    break_bytes(&vrig, NULL, 0);
    ck_assert(strcmp(breaker_log.id, "") == 0);
    char large[WEFT_ID_MAX];
    memset(large, 1, sizeof(large));
    break_bytes(&vrig, large, sizeof(large));
    ck_assert_uint_eq(strlen(breaker_log.id), 4 * 48 + 3);
    ck_assert(strcmp(breaker_log.id + 4 * 47, "\\x01...") == 0);
    ck_assert_uint_eq(breaks_logged(), 4);
    crash_stop(&vrig);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------ */

START_TEST(a_crash_without_memory_does_not_count_and_harms_nothing) {
    struct memory memory = {.fail_further = true};
    weft_type_def def = crash_def();
    weft_config config = memory_config(&memory);
    struct vrig vrig = crash_start_config(config, &def);
    crash(&vrig, "b", CRASH_MAX); /* whatever is made once has been made */
    for (uint32_t i = 0; i < 10; i++) {
        (void)ask(&vrig, "a", TAG_SET, i);
        atomic_store(&memory.fail_at, atomic_load(&memory.requests) + 1);
        crash(&vrig, "a", 1);
        atomic_store(&memory.fail_at, 0);
    }
    ck_assert_uint_eq(rig_stats(&vrig.rig).virtual_crashes_lost, 10);
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    ck_assert_int_eq(try_get(&vrig, "b"), 0);
    crash(&vrig, "b", 1);
    ck_assert_int_eq(try_get(&vrig, "b"), WEFT_E_BREAKER);
    break_it(&vrig, "a");
    crash_stop(&vrig);
    ck_assert_int_eq(atomic_load(&memory.blocks), 0);
    ck_assert_int_eq(atomic_load(&memory.bytes), 0);
}
END_TEST

/* Every request for memory of a run fails once. */
START_TEST(any_lack_of_memory_leaves_nothing_behind) {
    bool failed = true;
    for (uint64_t n = 1; failed && n < 200; n++) {
        struct memory memory = {0};
        weft_type_def def = crash_def();
        def.crash_max = 6;
        def.crash_policy = _i == 0 ? WEFT_CRASH_LAZY : WEFT_CRASH_RESTART;
        struct vrig vrig = crash_start_config(memory_config(&memory), &def);
        atomic_store(&memory.fail_at, atomic_load(&memory.requests) + n);
        for (uint32_t i = 0; i < 8; i++) {
            int result = try_ask(&vrig, "an id that is too long for its record", TAG_CRASH, 0);
            ck_assert(result == WEFT_E_CRASHED || result == -ENOMEM || result == WEFT_E_BREAKER ||
                      result == WEFT_E_LIMIT);
        }
        (void)forgive(&vrig, "an id that is too long for its record");
        failed = atomic_load(&memory.failed) != 0;
        atomic_store(&memory.fail_at, 0);
        crash_stop(&vrig);
        ck_assert_int_eq(atomic_load(&memory.blocks), 0);
    }
    ck_assert(!failed);
}
END_TEST

static uint64_t heap_bytes(struct vrig *vrig) {
    return rig_gauges(&vrig->rig).heap_bytes;
}

START_TEST(a_hundred_thousand_crashing_addresses_take_bounded_memory) {
    enum { MANY = 100000 };
    weft_type_def def = crash_def();
    struct vrig vrig = crash_start(0, &def);
    crash(&vrig, "first", 1);
    uint64_t before = heap_bytes(&vrig);
    for (uint64_t i = 0; i < MANY; i++) {
        weft_vrequest request = message_to(&vrig, &i, sizeof(i), TAG_CRASH);
        ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
        if (i % 1000 == 999) {
            eventually(atomic_load(&world.deaths) == i + 2);
        }
    }
    eventually(rig_stats(&vrig.rig).exits >= MANY + 1);
    weft_stats stats = rig_stats(&vrig.rig);
    ck_assert_uint_gt(stats.virtual_crashes_lost, 0);
    ck_assert_uint_lt(stats.virtual_crashes_lost, MANY / 2);
    ck_assert_uint_lt(heap_bytes(&vrig) - before, 9 << 20);
    ck_assert_int_eq(forgive(&vrig, "first"), -ENOENT); /* the oldest have gone */
    ck_assert_uint_eq(stats.virtual_breaks, 0);
    break_it(&vrig, "last");
    for (uint64_t i = MANY - 10; i < MANY; i++) { /* the newest have not */
        ck_assert_int_eq(
            weft_virtual_forgive(vrig.rig.runtime, vrig.chat, vrig.cell, &i, sizeof(i)), 0);
    }
    pass(WINDOW_NS + HOUR_NS);
    /* The keeper, whose timer is looked at when its scheduler does something, empties the table. */
    eventually(try_get(&vrig, "awake") == 0 && heap_bytes(&vrig) < before + (64 << 10));
    ck_assert_int_eq(try_get(&vrig, "last"), WEFT_E_BREAKER); /* but for this one */
    crash_stop(&vrig);
}
END_TEST

#define ADD_ALL(name)  tcase_add_loop_test(tcase, name, 0, CRASH_CASES)
#define ADD(name)      tcase_add_test(tcase, name)
#define ADD_N(name, n) tcase_add_loop_test(tcase, name, 0, n)

static Suite *crash_suite(void) {
    Suite *suite = suite_create("virtual_crash");
    TCase *tcase = tcase_create("crashes");
    ADD(bad_policies_are_invalid);
    ADD(what_a_policy_leaves_out_is_as_documented);
    ADD_ALL(without_a_policy_any_number_of_crashes_is_answered_as_ever);
    ADD_ALL(more_than_crash_max_crashes_and_all_is_refused_while_it_pauses);
    ADD_ALL(who_was_told_of_the_last_crash_is_refused_at_once);
    ADD_ALL(what_waited_in_the_crashed_one_is_answered_as_ever);
    ADD_ALL(only_crashes_within_the_window_count);
    ADD(the_window_slides_over_many_crashes);
    ADD_ALL(a_kill_and_a_stop_with_a_reason_count);
    ADD_ALL(other_ends_do_not_count);
    ADD_ALL(an_init_that_fails_counts);
    ADD_ALL(a_restore_that_fails_counts_and_a_store_that_does_not_answer_does_not);
    ADD_ALL(a_trial_that_crashes_begins_the_next_pause_at_once);
    ADD_N(a_trial_that_does_not_crash_begins_counting_anew, TRIAL_WAYS);
    ADD_ALL(who_races_for_the_trial_makes_one_activation);
    ADD_ALL(a_pause_without_end_ends_when_it_is_forgiven);
    ADD(forgiving_checks_what_it_is_given);
    ADD_ALL(crashes_are_forgotten_when_nothing_depends_on_them);
    ADD_ALL(weft_forget_forgets_crashes_too);
    ADD_ALL(a_capability_that_is_taken_away_takes_its_crashes_with_it);
    ADD_ALL(neighbours_are_not_concerned);
    ADD_ALL(a_pause_is_logged_with_the_id_as_text);
    ADD(a_crash_without_memory_does_not_count_and_harms_nothing);
    ADD_N(any_lack_of_memory_leaves_nothing_behind, 2);
    ADD(a_hundred_thousand_crashing_addresses_take_bounded_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return run_suite(crash_suite());
}
