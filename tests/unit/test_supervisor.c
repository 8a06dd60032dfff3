/* SPDX-License-Identifier: MIT
 *
 * Supervisors, behaviour by behaviour: order of start and stop, strategies, restart types, the
 * limit, deadlines, ends. Trees and kinds of children are in test_supervisor_tree.c, what others
 * may ask in test_supervisor_calls.c, lack of memory in test_supervisor_alloc.c, large families in
 * test_supervisor_many.c.
 */
#include "tests/unit/supervisor_support.h"

static struct family family;

/* The same for 1, 2 and 8 schedulers. */
#define BEGIN() family_start(&family, schedulers_of(_i))
#define END()   family_stop(&family)

static void house_of(struct house *house, uint32_t strategy, uint32_t count, uint32_t restart) {
    house_init(house, strategy);
    for (uint32_t i = 0; i < count; i++) {
        (void)house_add(&family, house, i, restart);
    }
}

/* ---- start and stop ------------------------------------------------------------------------ */

START_TEST(children_start_in_their_order_and_stop_in_the_reverse_order) {
    for (uint32_t strategy = 0; strategy < 3; strategy++) {
        BEGIN();
        struct house house;
        house_of(&house, strategy, 4, WEFT_RESTART_PERMANENT);
        weft_pid pid = raise_house(&family, &house);
        ck_assert_journal(&family, "+a +b +c +d");
        stop_supervisor(&family, pid);
        ck_assert_journal(&family, "+a +b +c +d -d -c -b -a");
        END();
    }
}
END_TEST

START_TEST(a_supervisor_without_children_lives_until_it_is_stopped) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 0, 0);
    weft_pid pid = raise_house(&family, &house);
    calm(&family, pid);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(a_first_child_that_fails_takes_those_before_it_along_and_the_reason_says_which) {
    for (uint32_t place = 0; place < 3; place++) {
        static const char *const journals[] = {"", "+a -a", "+a +b -b -a"};
        static const char *const texts[] = {
            "failed to start child a: ", "failed to start child b: ", "failed to start child c: "};
        BEGIN();
        struct house house;
        struct heard heard;
        weft_pid pid;
        house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
        weft_store32_release(&family.kids[place].refuse, 1000);
        ck_assert_int_eq(try_raise(&family, &house.def, &pid), 0);
        ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
        ck_assert_journal(&family, journals[place]);
        ck_assert_uint_eq(weft_load32_acquire(&family.kids[place].starts), 1);
        ck_assert(find_exit(&family, pid, &heard));
        ck_assert(strncmp(heard.text, texts[place], strlen(texts[place])) == 0);
        END();
    }
}
END_TEST

START_TEST(a_supervisor_ends_with_the_reason_it_was_stopped_with) {
    static const int reasons[] = {0, WEFT_E_SHUTDOWN, -ECANCELED};
    for (uint32_t i = 0; i < 3; i++) {
        BEGIN();
        struct house house;
        house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
        weft_pid pid = raise_house(&family, &house);
        ck_assert_int_eq(weft_runtime_stop_actor(family.rig.runtime, pid, reasons[i]), 0);
        ck_assert_int_eq(end_of(&family, pid), reasons[i]);
        ck_assert_journal(&family, "+a +b -b -a");
        END();
    }
}
END_TEST

static void act_end_parent(weft_ctx *ctx, void *arg) {
    weft_reason reason = {.code = *(int *)arg, .data = "gone", .size = 4};
    weft_exit_with(ctx, &reason);
}

static void act_watch(weft_ctx *ctx, void *arg) {
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_link(ctx, *(weft_pid *)arg), 0);
}

START_TEST(a_supervisor_ends_in_order_when_its_parent_does_for_whatever_reason) {
    static int reasons[] = {0, WEFT_E_SHUTDOWN, -EIO, 7};
    for (uint32_t i = 0; i < 4; i++) {
        BEGIN();
        struct house house;
        struct heard heard;
        house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
        weft_pid pid = raise_house(&family, &house);
        struct probe probe = PROBE_INIT; /* another one, who hears of the end */
        probe.handler = parent_hears;
        probe.user = &family;
        weft_pid watcher = rig_spawn(&family.rig, &probe);
        act(&family.rig, watcher, act_watch, &pid);
        act(&family.rig, family.parent, act_end_parent, &reasons[i]);
        ck_assert_int_eq(end_of(&family, pid), reasons[i]);
        ck_assert(find_exit(&family, pid, &heard));
        ck_assert(strcmp(heard.text, "gone") == 0);
        ck_assert_journal(&family, "+a +b +c -c -b -a");
        END();
        probe_fini(&probe);
    }
}
END_TEST

struct signalling {
    weft_pid target;
    int code;
};

static void act_signal(weft_ctx *ctx, void *arg) {
    struct signalling *signalling = arg;
    weft_reason reason = {.code = signalling->code};
    ck_assert_int_eq(weft_exit_signal(ctx, signalling->target, &reason), 0);
}

START_TEST(exit_signals_of_strangers_are_ignored) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    struct probe probe = PROBE_INIT;
    weft_pid stranger = rig_spawn(&family.rig, &probe);
    static const int codes[] = {0, WEFT_E_SHUTDOWN, -EIO};
    for (uint32_t i = 0; i < 3; i++) {
        struct signalling signalling = {.target = pid, .code = codes[i]};
        act(&family.rig, stranger, act_signal, &signalling);
        calm(&family, pid);
    }
    ck_assert_journal(&family, "+a +b");
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

START_TEST(a_killed_supervisor_takes_its_children_along_by_their_links) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(weft_runtime_kill_actor(family.rig.runtime, pid), 0);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_KILLED);
    eventually(!is_alive(&family.rig, kid_pid(&family, 0)) &&
               !is_alive(&family.rig, kid_pid(&family, 1)) &&
               !is_alive(&family.rig, kid_pid(&family, 2)));
    END();
}
END_TEST

/* Its next first child hangs in init until the gate opens, so it is still starting. */
static int init_waits(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct probe *probe;
    (void)arg_size;
    memcpy(&probe, arg, sizeof(probe));
    probe_wait(probe);
    return puppet_init(ctx, state, arg, arg_size);
}

START_TEST(a_supervisor_that_is_stopped_while_it_starts_stops_what_has_started) {
    weft_config config = rig_config(4); /* one of them hangs */
    family_start_with(&family, &config);
    struct probe probe = PROBE_INIT;
    struct probe *arg = &probe;
    struct house house;
    weft_pid pid;
    weft_type_def def = puppet_def("waits");
    def.init = init_waits;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    house.specs[house.def.child_count++] = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                                                             .id = "waits",
                                                             .type = rig_type(&family.rig, &def),
                                                             .arg = &arg,
                                                             .arg_size = sizeof(arg)};
    (void)house_add(&family, &house, 3, WEFT_RESTART_PERMANENT);
    ck_assert_int_eq(try_raise(&family, &house.def, &pid), 0);
    eventually(weft_load32_acquire(&probe.inside) == 1);
    journal_becomes(&family.journal, "+a +b");
    ck_assert_int_eq(weft_runtime_stop_actor(family.rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    weft_store32_release(&probe.gate, 1);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
    ck_assert_journal(&family, "+a +b -b -a");
    END();
    probe_fini(&probe);
}
END_TEST

START_TEST(a_runtime_that_stops_ends_supervisors_that_start_restart_and_stop) {
    BEGIN();
    struct house house;
    house_of(&house, (uint32_t)_i % 3, 6, WEFT_RESTART_PERMANENT);
    house.def.intensity = WEFT_INTENSITY_UNLIMITED;
    for (uint32_t i = 0; i < 20; i++) {
        weft_pid pid;
        ck_assert_int_eq(try_raise(&family, &house.def, &pid), 0);
        for (uint32_t kid = 0; kid < 6; kid++) {
            weft_store32_release(&family.kids[kid].fall, 3);
        }
    }
    END();
}
END_TEST

/* ---- strategies ---------------------------------------------------------------------------- */

START_TEST(one_for_one_starts_only_who_ended_and_keeps_its_place) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    weft_pid before = kid_pid(&family, 1);
    kid_tell(&family, 1, TAG_FAIL);
    journal_becomes(&family.journal, "+a +b +c -b +b");
    ck_assert(!weft_pid_equal(kid_pid(&family, 1), before));
    journal_clear(&family.journal);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "-c -b -a");
    END();
}
END_TEST

START_TEST(one_for_all_stops_the_others_in_reverse_and_starts_all) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ALL, 4, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    kid_tell(&family, 1, TAG_FAIL);
    journal_becomes(&family.journal, "+a +b +c +d -b -d -c -a +a +b +c +d");
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(rest_for_one_stops_those_behind_and_starts_it_and_them) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_REST_FOR_ONE, 4, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    weft_pid first = kid_pid(&family, 0);
    kid_tell(&family, 1, TAG_FAIL);
    journal_becomes(&family.journal, "+a +b +c +d -b -d -c +b +c +d");
    ck_assert(weft_pid_equal(kid_pid(&family, 0), first));
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(restarts_of_several_take_temporary_ones_away_and_start_stopped_ones) {
    BEGIN();
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ALL);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &house, 1, WEFT_RESTART_TEMPORARY);
    (void)house_add(&family, &house, 2, WEFT_RESTART_TRANSIENT);
    (void)house_add(&family, &house, 3, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    kid_tell(&family, 2, TAG_DONE); /* in order: it stays stopped */
    journal_becomes(&family.journal, "+a +b +c +d -c");
    active_becomes(&family, pid, 3);
    kid_tell(&family, 3, TAG_FAIL);
    journal_becomes(&family.journal, "+a +b +c +d -c -d -b -a +a +c +d");
    weft_supervisor_answer answer;
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.specs, 3);
    ck_assert_uint_eq(answer.active, 3);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- restart types ------------------------------------------------------------------------- */

START_TEST(permanent_always_transient_after_a_crash_temporary_never) {
    static const uint32_t tags[] = {TAG_FAIL, TAG_DONE, TAG_SHUT};
    for (uint32_t restart = 0; restart < 3; restart++) {
        for (uint32_t how = 0; how < 3; how++) {
            bool again = restart == WEFT_RESTART_PERMANENT ||
                         (restart == WEFT_RESTART_TRANSIENT && tags[how] == TAG_FAIL);
            BEGIN();
            struct house house;
            weft_supervisor_answer answer;
            house_of(&house, WEFT_ONE_FOR_ONE, 1, restart);
            weft_pid pid = raise_house(&family, &house);
            weft_pid before = kid_pid(&family, 0);
            kid_tell(&family, 0, tags[how]);
            eventually(!is_alive(&family.rig, before));
            journal_becomes(&family.journal, again ? "+a -a +a" : "+a -a");
            active_becomes(&family, pid, again ? 1 : 0);
            int result = ask(&family, pid, WEFT_SUPERVISOR_WHICH, "a", &answer);
            ck_assert_int_eq(result, restart == WEFT_RESTART_TEMPORARY ? -ENOENT : 0);
            if (result == 0) {
                ck_assert_uint_eq(answer.state, again ? WEFT_CHILD_RUNNING : WEFT_CHILD_STOPPED);
                ck_assert_int_eq(weft_pid_is_none(answer.pid), !again);
            }
            stop_supervisor(&family, pid);
            END();
        }
    }
}
END_TEST

START_TEST(a_killed_child_is_restarted_as_after_a_crash) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_TRANSIENT);
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(weft_runtime_kill_actor(family.rig.runtime, kid_pid(&family, 0)), 0);
    journal_becomes(&family.journal, "+a +b !a +a");
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(the_argument_is_given_again_at_every_restart) {
    BEGIN();
    struct house house;
    struct {
        struct kid *kid;
        char rest[3000];
    } arg;
    memset(&arg, 7, sizeof(arg));
    arg.kid = &family.kids[0];
    house_of(&house, WEFT_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    house.specs[0].arg = &arg;
    house.specs[0].arg_size = sizeof(arg);
    weft_pid pid = raise_house(&family, &house);
    memset(&arg, 0, sizeof(arg)); /* it was copied */
    for (uint32_t i = 0; i < 3; i++) {
        weft_store64_release(&family.kids[0].arg_size, 0);
        kid_tell(&family, 0, TAG_FAIL);
        eventually(weft_load32_acquire(&family.kids[0].starts) == i + 2 &&
                   is_alive(&family.rig, kid_pid(&family, 0)));
        calm(&family, pid);
        ck_assert_uint_eq(weft_load64_acquire(&family.kids[0].arg_size), sizeof(arg));
    }
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- children that do not want to, or cannot ------------------------------------------------- */

START_TEST(a_child_that_does_not_want_to_run_is_no_failure) {
    BEGIN();
    struct house house;
    weft_supervisor_answer answer;
    house_init(&house, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &house, 1, WEFT_RESTART_TRANSIENT);
    (void)house_add(&family, &house, 2, WEFT_RESTART_TEMPORARY);
    (void)house_add(&family, &house, 3, WEFT_RESTART_PERMANENT);
    for (uint32_t i = 0; i < 3; i++) {
        weft_store32_release(&family.kids[i].ignore, 1);
    }
    weft_pid pid = raise_house(&family, &house);
    ck_assert_journal(&family, "+d");
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.specs, 3);
    ck_assert_uint_eq(answer.active, 1);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "c", &answer), -ENOENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 0)));
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(a_child_that_cannot_be_restarted_is_tried_until_it_can) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    weft_store32_release(&family.kids[0].refuse, 50);
    kid_tell(&family, 0, TAG_FAIL);
    journal_becomes(&family.journal, "+a +b -a +a");
    ck_assert_uint_eq(weft_load32_acquire(&family.kids[0].starts), 52);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(every_attempt_counts_and_the_limit_ends_it) {
    for (uint32_t refuse = 3; refuse <= 4; refuse++) {
        BEGIN();
        struct house house;
        house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
        house.def.intensity = 4;
        weft_pid pid = raise_house(&family, &house);
        weft_store32_release(&family.kids[0].refuse, refuse);
        kid_tell(&family, 0, TAG_FAIL);
        if (refuse == 3) { /* the fourth attempt succeeds */
            journal_becomes(&family.journal, "+a +b -a +a");
            stop_supervisor(&family, pid);
        } else {
            ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
            ck_assert_journal(&family, "+a +b -a -b");
        }
        ck_assert_uint_eq(weft_load32_acquire(&family.kids[0].starts), 5);
        END();
    }
}
END_TEST

START_TEST(requests_are_served_between_attempts) {
    BEGIN();
    struct house house;
    weft_supervisor_answer answer;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    house.def.intensity = WEFT_INTENSITY_UNLIMITED;
    weft_pid pid = raise_house(&family, &house);
    weft_store32_release(&family.kids[0].refuse, UINT32_MAX);
    kid_tell(&family, 0, TAG_FAIL);
    eventually(weft_load32_acquire(&family.kids[0].starts) > 100);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "a", &answer), 0);
    ck_assert_uint_eq(answer.state, WEFT_CHILD_RESTARTING);
    ck_assert(weft_pid_is_none(answer.pid));
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.active, 1);
    ck_assert_uint_eq(answer.restarting, 1);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL), -EAGAIN);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "a", NULL), -EAGAIN);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "b", NULL), 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "a", NULL), 0);
    uint32_t starts = weft_load32_acquire(&family.kids[0].starts);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(weft_load32_acquire(&family.kids[0].starts), starts);
    weft_store32_release(&family.kids[0].refuse, 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL), 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(a_stop_ends_the_attempts) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_REST_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    house.def.intensity = WEFT_INTENSITY_UNLIMITED;
    weft_pid pid = raise_house(&family, &house);
    weft_store32_release(&family.kids[1].refuse, UINT32_MAX);
    kid_tell(&family, 1, TAG_FAIL);
    eventually(weft_load32_acquire(&family.kids[1].starts) > 100);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "+a +b +c -b -c -a");
    END();
}
END_TEST

/* ---- the limit ----------------------------------------------------------------------------- */

START_TEST(one_restart_too_many_stops_all_and_ends_with_shutdown) {
    for (uint32_t intensity = 0; intensity < 4; intensity++) {
        BEGIN();
        struct house house;
        house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
        house.def.intensity = intensity;
        weft_pid pid = raise_house(&family, &house);
        for (uint32_t i = 0; i < intensity; i++) {
            kid_tell(&family, 1, TAG_FAIL);
            eventually(weft_load32_acquire(&family.kids[1].starts) == i + 2);
            calm(&family, pid);
        }
        journal_clear(&family.journal);
        kid_tell(&family, 1, TAG_FAIL);
        ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
        ck_assert_journal(&family, "-b -c -a");
        END();
    }
}
END_TEST

START_TEST(restarts_that_are_old_do_not_count) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    house.def.intensity = 1;
    house.def.period_ns = 20 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t i = 0; i < 5; i++) {
        kid_tell(&family, 0, TAG_FAIL);
        eventually(weft_load32_acquire(&family.kids[0].starts) == i + 2);
        calm(&family, pid);
        sleep_ns(60 * MS_NS);
    }
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(ends_that_need_no_restart_do_not_count) {
    BEGIN();
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ALL);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &house, 1, WEFT_RESTART_TEMPORARY);
    (void)house_add(&family, &house, 2, WEFT_RESTART_TRANSIENT);
    house.def.intensity = 0;
    house.def.period_ns = S_NS;
    weft_pid pid = raise_house(&family, &house);
    kid_tell(&family, 1, TAG_FAIL);
    kid_tell(&family, 2, TAG_DONE);
    eventually(!is_alive(&family.rig, kid_pid(&family, 1)) &&
               !is_alive(&family.rig, kid_pid(&family, 2)));
    active_becomes(&family, pid, 1);
    ck_assert(is_alive(&family.rig, kid_pid(&family, 0)));
    kid_tell(&family, 0, TAG_FAIL);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    END();
}
END_TEST

START_TEST(several_children_restarted_because_of_one_count_once) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ALL, 5, WEFT_RESTART_PERMANENT);
    house.def.intensity = 2;
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t i = 0; i < 2; i++) {
        kid_tell(&family, 3, TAG_FAIL);
        eventually(weft_load32_acquire(&family.kids[4].starts) == i + 2);
        calm(&family, pid);
    }
    kid_tell(&family, 3, TAG_FAIL);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    END();
}
END_TEST

/* ---- how children are stopped -------------------------------------------------------------- */

START_TEST(a_child_that_does_not_end_in_time_is_killed) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    house.specs[1].type = family.process;
    house.specs[1].shutdown_ns = 50 * MS_NS;
    family.kids[1].linger_ns = UINT64_MAX;
    weft_pid pid = raise_house(&family, &house);
    uint64_t begin_ns = clock_ns();
    stop_supervisor(&family, pid);
    ck_assert_uint_ge(clock_ns() - begin_ns, 45 * MS_NS);
    ck_assert_journal(&family, "+a +b +c -c !b -a");
    END();
}
END_TEST

START_TEST(a_child_is_waited_for_before_the_next_is_told) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    for (uint32_t i = 0; i < 3; i++) {
        house.specs[i].type = family.process;
        family.kids[i].linger_ns = 30 * MS_NS;
    }
    weft_pid pid = raise_house(&family, &house);
    uint64_t begin_ns = clock_ns();
    stop_supervisor(&family, pid);
    ck_assert_uint_ge(clock_ns() - begin_ns, 90 * MS_NS);
    ck_assert_journal(&family, "+a +b +c -c -b -a");
    END();
}
END_TEST

START_TEST(shutdown_kill_does_not_ask) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    house.specs[0].shutdown_ns = WEFT_SHUTDOWN_KILL;
    weft_pid pid = raise_house(&family, &house);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "+a +b -b !a");
    END();
}
END_TEST

START_TEST(a_child_that_gave_its_link_up_is_stopped_and_waited_for) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    house.specs[1].type = family.process;
    family.kids[1].linger_ns = 30 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    kid_tell(&family, 1, TAG_UNLINK);
    weft_msg *reply = NULL;
    ck_assert_int_eq(
        weft_runtime_call(family.rig.runtime, kid_pid(&family, 1), 0, NULL, 0, SOON_NS, &reply), 0);
    weft_runtime_msg_release(family.rig.runtime, &reply);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "+a +b -b -a");
    END();
}
END_TEST

START_TEST(children_that_end_by_themselves_during_a_stop_are_not_restarted) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_PERMANENT);
    house.specs[2].type = family.process;
    family.kids[2].linger_ns = 50 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(weft_runtime_stop_actor(family.rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    kid_tell(&family, 0, TAG_FAIL);
    kid_tell(&family, 1, TAG_DONE);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(weft_load32_acquire(&family.kids[i].starts), 1);
    }
    END();
}
END_TEST

/* -------------------------------------------------------------------------------------------- */

static void add_start_and_stop(Suite *suite) {
    TCase *tcase = tcase_create("start and stop");
#define ADD(name) tcase_add_loop_test(tcase, name, 0, SCHEDULER_CASES)
    ADD(children_start_in_their_order_and_stop_in_the_reverse_order);
    ADD(a_supervisor_without_children_lives_until_it_is_stopped);
    ADD(a_first_child_that_fails_takes_those_before_it_along_and_the_reason_says_which);
    ADD(a_supervisor_ends_with_the_reason_it_was_stopped_with);
    ADD(a_supervisor_ends_in_order_when_its_parent_does_for_whatever_reason);
    ADD(exit_signals_of_strangers_are_ignored);
    ADD(a_killed_supervisor_takes_its_children_along_by_their_links);
    tcase_add_test(tcase, a_supervisor_that_is_stopped_while_it_starts_stops_what_has_started);
    ADD(a_runtime_that_stops_ends_supervisors_that_start_restart_and_stop);
    ADD(a_child_that_does_not_end_in_time_is_killed);
    ADD(a_child_is_waited_for_before_the_next_is_told);
    ADD(shutdown_kill_does_not_ask);
    ADD(a_child_that_gave_its_link_up_is_stopped_and_waited_for);
    ADD(children_that_end_by_themselves_during_a_stop_are_not_restarted);
    suite_add_tcase(suite, tcase);
}

static void add_restarts(Suite *suite) {
    TCase *tcase = tcase_create("restarts");
    ADD(one_for_one_starts_only_who_ended_and_keeps_its_place);
    ADD(one_for_all_stops_the_others_in_reverse_and_starts_all);
    ADD(rest_for_one_stops_those_behind_and_starts_it_and_them);
    ADD(restarts_of_several_take_temporary_ones_away_and_start_stopped_ones);
    ADD(permanent_always_transient_after_a_crash_temporary_never);
    ADD(a_killed_child_is_restarted_as_after_a_crash);
    ADD(the_argument_is_given_again_at_every_restart);
    ADD(a_child_that_does_not_want_to_run_is_no_failure);
    ADD(a_child_that_cannot_be_restarted_is_tried_until_it_can);
    ADD(every_attempt_counts_and_the_limit_ends_it);
    ADD(requests_are_served_between_attempts);
    ADD(a_stop_ends_the_attempts);
    ADD(one_restart_too_many_stops_all_and_ends_with_shutdown);
    ADD(restarts_that_are_old_do_not_count);
    ADD(ends_that_need_no_restart_do_not_count);
    ADD(several_children_restarted_because_of_one_count_once);
    suite_add_tcase(suite, tcase);
}

int main(void) {
    Suite *suite = suite_create("supervisor");
    add_start_and_stop(suite);
    add_restarts(suite);
    return run_suite(suite);
}
