/* SPDX-License-Identifier: MIT
 *
 * Virtual actors that crash and are activated again at once (WEFT_CRASH_RESTART), and what others
 * see of a crash: monitors and links of ordinary actors and of processes, each exactly once, with
 * either policy. Counting and pauses: test_virtual_crash.c.
 */
#include "tests/unit/crash_rig.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 20 };
#else
enum { SLOWER = 1 };
#endif

static weft_type_def restart_def(void) {
    weft_type_def def = crash_def();
    def.crash_policy = WEFT_CRASH_RESTART;
    return def;
}

/* ---- again, without a message ------------------------------------------------------------------ */

START_TEST(who_crashes_is_activated_again_without_a_message) {
    weft_type_def def = restart_def();
    struct vrig vrig = crash_start(_i, &def);
    weft_pid last = ask_arg(&vrig, "a", TAG_SET, "argument").pid;
    for (uint64_t i = 1; i <= CRASH_MAX; i++) {
        crash(&vrig, "a", 1);
        eventually(atomic_load(&world.births) == i + 1);
        ck_assert(is_active(&vrig, "a"));
        struct view view = ask_arg(&vrig, "a", TAG_GET, "another");
        ck_assert_uint_eq(view.birth, i + 1); /* that one */
        ck_assert(!weft_pid_equal(view.pid, last));
        ck_assert_uint_eq(view.value, 0);
        ck_assert_uint_eq(view.arg_size, 8);
        ck_assert_mem_eq(&view.arg, "argument", 8);
        last = view.pid;
    }
    crash(&vrig, "a", 1);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    ck_assert(!is_active(&vrig, "a"));
    pass(PAUSE_NS); /* after it a message is needed */
    ck_assert_uint_eq(atomic_load(&world.births), CRASH_MAX + 1);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).birth, CRASH_MAX + 2);
    ck_assert_uint_eq(rig_stats(&vrig.rig).virtual_activations, CRASH_MAX + 2);
    crash_stop(&vrig);
}
END_TEST

START_TEST(who_is_killed_is_activated_again) {
    weft_type_def def = restart_def();
    struct vrig vrig = crash_start(_i, &def);
    weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
    ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, pid), 0);
    eventually(atomic_load(&world.births) == 2);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).birth, 2);
    crash_stop_uneven(&vrig);
}
END_TEST

START_TEST(who_ends_otherwise_is_not) {
    weft_type_def def = restart_def();
    make_saved(&def);
    faulty_init(&faulty, 1);
    struct vrig vrig = crash_start(_i, &def);
    static const int reasons[] = {0, WEFT_E_SHUTDOWN, WEFT_E_REBALANCING};
    for (uint32_t i = 0; i < 3; i++) {
        weft_pid pid = ask(&vrig, "a", TAG_SET, 1).pid;
        ck_assert_int_eq(weft_runtime_stop_actor(vrig.rig.runtime, pid, reasons[i]), 0);
        eventually(!is_alive(&vrig.rig, pid));
    }
    (void)ask(&vrig, "a", TAG_STOP, 0);
    eventually(!is_active(&vrig, "a"));
    (void)ask(&vrig, "a", TAG_SET, 1);
    passivate(&vrig, "a");
    uint64_t births = atomic_load(&world.births);
    faulty_next(&faulty, FAULTY_GET, FAULTY_FAIL, 1);
    /* nor with a store that cannot be read; 0: that one ended before it got the message, and this is
     * the next */
    int result = try_get(&vrig, "a");
    ck_assert(result == -EIO || result == 0);
    sleep_ns(50 * MS_NS);
    ck_assert(is_active(&vrig, "a") == (result == 0));
    ck_assert_uint_eq(births, 5);
    births += result == 0 ? 1 : 0;
    ck_assert_uint_eq(atomic_load(&world.births), births);
    ck_assert_uint_eq(rig_stats(&vrig.rig).virtual_activations, births + 1);
    faulty_drop(&faulty);
    crash_stop(&vrig);
    faulty_fini(&faulty);
}
END_TEST

START_TEST(what_was_saved_last_is_there_again) {
    weft_type_def def = restart_def();
    make_saved(&def);
    faulty_init(&faulty, 1);
    struct vrig vrig = crash_start(_i, &def);
    (void)ask(&vrig, "a", TAG_SET, 7);
    passivate(&vrig, "a");
    (void)ask(&vrig, "a", TAG_SET, 8);
    crash(&vrig, "a", 1);
    eventually(atomic_load(&world.restores) == 2);
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(view.value, 7);
    ck_assert_uint_eq(view.birth, 3);
    faulty_drop(&faulty);
    crash_stop(&vrig);
    faulty_fini(&faulty);
}
END_TEST

/* ---- loops ------------------------------------------------------------------------------------- */

/* Who is slow may find none but those that have ended, until the breaker is open. */
static void expect_lost(int result, int status) {
    ck_assert(result == status || result == WEFT_E_BREAKER);
}

START_TEST(an_init_that_always_fails_is_tried_until_the_breaker_opens) {
    weft_type_def def = restart_def();
    struct vrig vrig = crash_start(_i, &def);
    atomic_store(&world.init_result, -EPROTO);
    expect_lost(try_get(&vrig, "a"), -EPROTO);
    eventually(breaks_logged() == 1);
    eventually(!is_active(&vrig, "a"));
    ck_assert_uint_eq(atomic_load(&world.inits), CRASH_MAX + 1);
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

START_TEST(a_type_that_says_no_number_stops_after_ten) {
    weft_type_def def = cell_def("cell");
    def.crash_policy = WEFT_CRASH_RESTART;
    struct vrig vrig = crash_start(_i, &def);
    atomic_store(&world.init_result, -EPROTO);
    expect_lost(try_get(&vrig, "a"), -EPROTO);
    eventually(breaks_logged() == 1);
    ck_assert_uint_eq(atomic_load(&world.inits), 11);
    crash_stop(&vrig);
}
END_TEST

/* Many actors that crash again and again, and one that is asked meanwhile. */
START_TEST(those_that_are_activated_again_and_again_starve_nobody) {
    enum { LOOPS = 8, EACH = 10000 / SLOWER, ASKED = 50 };
    weft_type_def def = restart_def();
    def.crash_max = EACH;
    struct vrig vrig = crash_start(_i, &def);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "steady", TAG_SET, 5);
    atomic_store(&world.init_result, -EPROTO);
    for (uint64_t i = 0; i < LOOPS; i++) {
        weft_vrequest request = message_to(&vrig, &i, sizeof(i), TAG_GET);
        expect_lost(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    }
    uint64_t slowest_ns = 0;
    for (uint32_t i = 0; i < ASKED; i++) {
        uint64_t before_ns = clock_ns();
        settle(&vrig.rig, puppet);
        ck_assert_uint_eq(ask(&vrig, "steady", TAG_GET, 0).value, 5);
        uint64_t took_ns = clock_ns() - before_ns;
        slowest_ns = took_ns > slowest_ns ? took_ns : slowest_ns;
    }
    ck_assert_uint_lt(slowest_ns, SOON_NS);
    eventually(breaks_logged() == LOOPS);
    ck_assert_uint_eq(atomic_load(&world.inits), 1 + LOOPS * (EACH + 1));
    ck_assert_uint_eq(rig_stats(&vrig.rig).virtual_crashes_lost, 0);
    crash_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* With one scheduler: between two activations others have their turn. */
START_TEST(a_loop_of_activations_leaves_room_for_others_on_its_own_scheduler) {
    weft_type_def def = restart_def();
    def.crash_max = 10000;
    struct vrig vrig = crash_start(0, &def);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    atomic_store(&world.init_result, -EPROTO);
    (void)tell(&vrig, "a", TAG_GET, 0);
    for (uint32_t i = 0; i < 3; i++) {
        settle(&vrig.rig, puppet);
    }
    uint64_t inits = atomic_load(&world.inits);
    eventually(breaks_logged() == 1);
    ck_assert_uint_eq(atomic_load(&world.inits), 10001);
    ck_assert_uint_le(inits, 10001);
    crash_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* ---- the end of the capability and of the runtime ---------------------------------------------- */

START_TEST(a_runtime_that_stops_activates_nobody_again) {
    for (uint32_t round = 0; round < 10; round++) {
        weft_type_def def = restart_def();
        def.crash_max = 10000;
        struct vrig vrig = crash_start(_i, &def);
        atomic_store(&world.init_result, -EPROTO);
        for (uint64_t i = 0; i < 8; i++) {
            weft_vrequest request = message_to(&vrig, &i, sizeof(i), TAG_GET);
            expect_lost(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
        }
        sleep_ns(round * MS_NS / 2);
        ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 30 * S_NS), 0);
        ck_assert_uint_eq(vrig_count(&vrig), 0);
        crash_stop(&vrig);
    }
}
END_TEST

START_TEST(a_capability_that_is_taken_away_ends_the_loop) {
    static const char *const names[] = {"chat"};
    weft_type_def def = restart_def();
    def.crash_max = 10000;
    struct vrig vrig = crash_start(_i, &def);
    atomic_store(&world.init_result, -EPROTO);
    for (uint64_t i = 0; i < 8; i++) {
        weft_vrequest request = message_to(&vrig, &i, sizeof(i), TAG_GET);
        expect_lost(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    }
    ck_assert_int_eq(weft_capability_unregister(vrig.rig.runtime, names, 1), 0);
    eventually(vrig_count(&vrig) == 0);
    uint64_t inits = atomic_load(&world.inits);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(atomic_load(&world.inits), inits);
    crash_stop(&vrig);
}
END_TEST

/* ---- monitors and links ------------------------------------------------------------------------ */

static void monitor_it(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_monitor(ctx, *(weft_pid *)arg, 5, NULL), 0);
}

static void link_trapping(weft_ctx *ctx, void *arg) {
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_link(ctx, *(weft_pid *)arg), 0);
}

static void link_it(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_link(ctx, *(weft_pid *)arg), 0);
}

static int note_status(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    weft_reason reason;
    ck_assert(weft_msg_reason(ctx, msg, &reason));
    atomic_store((_Atomic int *)probe->user, reason.code);
    return WEFT_CONTINUE;
}

/* Which policy, and how many schedulers. */
enum { BOND_CASES = 2 * CRASH_CASES };

static struct vrig bonds_start(int number) {
    weft_type_def def = crash_def();
    def.crash_policy = number % 2 == 0 ? WEFT_CRASH_LAZY : WEFT_CRASH_RESTART;
    return crash_start(number / 2, &def);
}

/* One that monitors or links, and the code it was told. */
struct bond {
    struct probe probe;
    weft_pid puppet;
    _Atomic int code;
};

static void bond_make(struct vrig *vrig, struct bond *bond, job_fn job, weft_pid *pid) {
    *bond = (struct bond){.probe = PROBE_INIT};
    bond->probe.handler = note_status;
    bond->probe.user = (void *)&bond->code;
    bond->puppet = rig_spawn(&vrig->rig, &bond->probe);
    act(&vrig->rig, bond->puppet, job, pid);
}

START_TEST(monitors_and_links_see_the_reason_of_a_crash_exactly_once) {
    static struct bond bonds[CRASH_MAX][2];
    struct vrig vrig = bonds_start(_i);
    for (uint32_t round = 0; round < CRASH_MAX; round++) {
        weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
        bond_make(&vrig, &bonds[round][0], monitor_it, &pid);
        bond_make(&vrig, &bonds[round][1], link_trapping, &pid);
        crash(&vrig, "a", 1);
        struct view next = ask(&vrig, "a", TAG_GET, 0);
        ck_assert(!weft_pid_equal(next.pid, pid));
        for (uint32_t i = 0; i < 2; i++) {
            struct bond *bond = &bonds[round][i];
            eventually(atomic_load(&bond->code) != 0);
            ck_assert_int_eq(atomic_load(&bond->code), -EIO);
            struct seen seen = probe_at(&bond->probe, 0);
            ck_assert_int_eq(seen.kind, i == 0 ? WEFT_MSG_DOWN : WEFT_MSG_EXIT);
            ck_assert(weft_pid_equal(seen.sender, pid));
        }
        (void)ask(&vrig, "a", TAG_STOP, 0); /* of that one they hear nothing */
        eventually(!is_alive(&vrig.rig, next.pid));
    }
    for (uint32_t i = 0; i < 2 * CRASH_MAX; i++) {
        struct bond *bond = &bonds[i / 2][i % 2];
        settle(&vrig.rig, bond->puppet);
        ck_assert_uint_eq(probe_count(&bond->probe), 1);
    }
    crash_stop(&vrig);
    for (uint32_t i = 0; i < 2 * CRASH_MAX; i++) {
        probe_fini(&bonds[i / 2][i % 2].probe);
    }
}
END_TEST

START_TEST(who_is_linked_and_does_not_trap_ends_with_it) {
    struct vrig vrig = bonds_start(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_pid bystander = rig_spawn(&vrig.rig, NULL);
    weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
    act(&vrig.rig, puppet, link_it, &pid);
    crash(&vrig, "a", 1);
    eventually(weft_load32_acquire(&probe.terminations) == 1);
    ck_assert_int_eq((int)weft_load32_relaxed(&probe.reason), -EIO);
    settle(&vrig.rig, bystander);
    ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 30 * S_NS), 0);
    ck_assert_uint_eq(rig_stats(&vrig.rig).crashes, 1); /* the other one is not to blame */
    crash_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

static void end_badly(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_exit(ctx, -EPROTO);
}

/* A virtual actor that is linked behaves as any other, and ending so is a crash of it. */
START_TEST(a_virtual_actor_ends_with_whom_it_is_linked_to) {
    struct vrig vrig = bonds_start(_i);
    for (uint32_t i = 0; i <= CRASH_MAX; i++) {
        weft_pid puppet = rig_spawn(&vrig.rig, NULL);
        weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
        act_in(&vrig, "a", link_it, &puppet);
        act(&vrig.rig, puppet, end_badly, NULL);
        eventually(!is_alive(&vrig.rig, pid));
        ck_assert_int_eq(end_at(i).reason, -EPROTO);
    }
    ck_assert_int_eq(try_get(&vrig, "a"), WEFT_E_BREAKER);
    crash_stop(&vrig);
}
END_TEST

START_TEST(a_virtual_actor_that_traps_exits_goes_on) {
    struct vrig vrig = bonds_start(_i);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    weft_pid pid = ask(&vrig, "a", TAG_SET, 9).pid;
    act_in(&vrig, "a", link_trapping, &puppet);
    act(&vrig.rig, puppet, end_badly, NULL);
    eventually(!is_alive(&vrig.rig, puppet));
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(view.value, 9);
    ck_assert(weft_pid_equal(view.pid, pid));
    ck_assert_int_eq(forgive(&vrig, "a"), -ENOENT);
    crash_stop(&vrig);
}
END_TEST

/* ---- processes --------------------------------------------------------------------------------- */

struct watch {
    weft_pid pid; /* whom */
    _Atomic bool watching;
    _Atomic uint32_t downs;
    _Atomic uint32_t exits;
    _Atomic int down_code;
    _Atomic int exit_code;
    _Atomic bool ended;
};

static int watch_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct watch *watch = weft_type_cookie(weft_type_of(ctx));
    (void)state;
    (void)arg;
    (void)arg_size;
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_monitor(ctx, watch->pid, 1, NULL), 0);
    ck_assert_int_eq(weft_link(ctx, watch->pid), 0);
    atomic_store(&watch->watching, true);
    for (;;) { /* until it is told to end */
        weft_msg *msg = NULL;
        weft_reason reason = {0};
        int result = weft_receive(ctx, WEFT_FOREVER, &msg);
        ck_assert_int_eq(result, 0);
        if (weft_msg_kind(msg) == WEFT_MSG_DOWN && weft_msg_reason(ctx, msg, &reason)) {
            ck_assert(weft_pid_equal(weft_sender(ctx, msg), watch->pid));
            atomic_store(&watch->down_code, reason.code);
            atomic_fetch_add(&watch->downs, 1);
        } else if (weft_msg_kind(msg) == WEFT_MSG_EXIT && weft_msg_reason(ctx, msg, &reason)) {
            atomic_store(&watch->exit_code, reason.code);
            atomic_fetch_add(&watch->exits, 1);
        } else {
            atomic_store(&watch->ended, true);
            return WEFT_STOP;
        }
    }
}

START_TEST(a_process_sees_the_reason_of_a_crash_exactly_once) {
    static struct watch watch;
    struct vrig vrig = bonds_start(_i);
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "watch", .process = watch_run, .cookie = &watch};
    const weft_type *type = rig_type(&vrig.rig, &def);
    watch.pid = ask(&vrig, "a", TAG_GET, 0).pid;
    weft_pid pid = rig_spawn_type(&vrig.rig, type, NULL);
    eventually(atomic_load(&watch.watching));
    crash(&vrig, "a", CRASH_MAX);
    ck_assert_int_eq(try_get(&vrig, "a"), 0);
    eventually(atomic_load(&watch.downs) > 0 && atomic_load(&watch.exits) > 0);
    ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pid, 1, NULL, 0), 0);
    eventually(atomic_load(&watch.ended));
    ck_assert_uint_eq(atomic_load(&watch.downs), 1);
    ck_assert_uint_eq(atomic_load(&watch.exits), 1);
    ck_assert_int_eq(atomic_load(&watch.down_code), -EIO);
    ck_assert_int_eq(atomic_load(&watch.exit_code), -EIO);
    crash_stop(&vrig);
}
END_TEST

#define ADD_ALL(name)  tcase_add_loop_test(tcase, name, 0, CRASH_CASES)
#define ADD(name)      tcase_add_test(tcase, name)
#define ADD_BOND(name) tcase_add_loop_test(tcase, name, 0, BOND_CASES)

static Suite *restart_suite(void) {
    Suite *suite = suite_create("virtual_restart");
    TCase *tcase = tcase_create("again");
    ADD_ALL(who_crashes_is_activated_again_without_a_message);
    ADD_ALL(who_is_killed_is_activated_again);
    ADD_ALL(who_ends_otherwise_is_not);
    ADD_ALL(what_was_saved_last_is_there_again);
    ADD_ALL(an_init_that_always_fails_is_tried_until_the_breaker_opens);
    ADD_ALL(a_type_that_says_no_number_stops_after_ten);
    ADD_ALL(those_that_are_activated_again_and_again_starve_nobody);
    ADD(a_loop_of_activations_leaves_room_for_others_on_its_own_scheduler);
    ADD_ALL(a_runtime_that_stops_activates_nobody_again);
    ADD_ALL(a_capability_that_is_taken_away_ends_the_loop);
    ADD_BOND(monitors_and_links_see_the_reason_of_a_crash_exactly_once);
    ADD_BOND(who_is_linked_and_does_not_trap_ends_with_it);
    ADD_BOND(a_virtual_actor_ends_with_whom_it_is_linked_to);
    ADD_BOND(a_virtual_actor_that_traps_exits_goes_on);
    ADD_BOND(a_process_sees_the_reason_of_a_crash_exactly_once);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return run_suite(restart_suite());
}
