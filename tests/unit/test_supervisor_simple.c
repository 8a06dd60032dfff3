/* SPDX-License-Identifier: MIT
 *
 * Children of a simple_one_for_one: any number of one specification, named by their pids, stopped
 * all at once. See test_supervisor.c.
 */
#include "tests/unit/supervisor_support.h"

static struct family family;

#define BEGIN() family_start(&family, schedulers_of(_i))
#define END()   family_stop(&family)

static void house_of(struct house *house, uint32_t strategy, uint32_t count, uint32_t restart) {
    house_init(house, strategy);
    for (uint32_t i = 0; i < count; i++) {
        (void)house_add(&family, house, i, restart);
    }
}

static weft_pid raise_some(uint32_t strategy, uint32_t count, uint32_t restart) {
    struct house house;
    house_init(&house, strategy);
    for (uint32_t i = 0; i < count; i++) {
        (void)house_add(&family, &house, i, restart);
    }
    return raise_house(&family, &house);
}

START_TEST(simple_children_are_restarted_by_their_type_and_stopped_all_at_once) {
    for (uint32_t restart = 0; restart < 3; restart++) {
        BEGIN();
        struct house house;
        weft_supervisor_answer answer;
        house_of(&house, WEFT_SIMPLE_ONE_FOR_ONE, 1, restart);
        house.specs[0].type = family.process;
        house.specs[0].id = NULL;
        weft_pid pid = raise_house(&family, &house);
        for (uint32_t i = 0; i < 10; i++) {
            family.kids[i].linger_ns = 100 * MS_NS;
            ck_assert_int_eq(add_simple(&family, pid, i, &answer), 0);
            ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, i)));
        }
        kid_tell(&family, 3, TAG_FAIL);
        eventually(
            weft_load32_acquire(&family.kids[3].starts) ==
                (restart == WEFT_RESTART_TEMPORARY ? 1 : 2) &&
            (restart != WEFT_RESTART_TEMPORARY || weft_load32_acquire(&family.kids[3].runs) == 0));
        active_becomes(&family, pid, restart == WEFT_RESTART_TEMPORARY ? 9 : 10);
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
        ck_assert_uint_eq(answer.specs, 1);
        uint64_t begin_ns = clock_ns();
        stop_supervisor(&family, pid);
        ck_assert_uint_ge(clock_ns() - begin_ns, 95 * MS_NS);
        ck_assert_uint_lt(clock_ns() - begin_ns, 900 * MS_NS); /* 1 s one after the other */
        END();
    }
}
END_TEST

START_TEST(simple_children_have_a_common_deadline_after_which_all_are_killed) {
    BEGIN();
    struct house house;
    weft_supervisor_answer answer;
    house_of(&house, WEFT_SIMPLE_ONE_FOR_ONE, 1, WEFT_RESTART_TEMPORARY);
    house.specs[0].type = family.process;
    house.specs[0].shutdown_ns = 50 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t i = 0; i < 10; i++) {
        family.kids[i].linger_ns = i < 5 ? UINT64_MAX : 0;
        ck_assert_int_eq(add_simple(&family, pid, i, &answer), 0);
    }
    uint64_t begin_ns = clock_ns();
    stop_supervisor(&family, pid);
    ck_assert_uint_ge(clock_ns() - begin_ns, 45 * MS_NS);
    END();
}
END_TEST

START_TEST(a_simple_child_that_cannot_be_restarted_is_tried_again_and_ended_by_its_old_pid) {
    BEGIN();
    struct house house;
    weft_supervisor_answer answer;
    house_of(&house, WEFT_SIMPLE_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    house.def.intensity = WEFT_INTENSITY_UNLIMITED;
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(add_simple(&family, pid, 0, &answer), 0);
    weft_pid old = answer.pid;
    weft_store32_release(&family.kids[0].refuse, UINT32_MAX);
    kid_tell(&family, 0, TAG_FAIL);
    eventually(weft_load32_acquire(&family.kids[0].starts) > 50);
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_WHICH, .pid = old};
    ck_assert_int_eq(
        weft_runtime_supervisor_call(family.rig.runtime, pid, &request, SOON_NS, &answer), 0);
    ck_assert_uint_eq(answer.state, WEFT_CHILD_RESTARTING);
    request.verb = WEFT_SUPERVISOR_TERMINATE;
    ck_assert_int_eq(
        weft_runtime_supervisor_call(family.rig.runtime, pid, &request, SOON_NS, &answer), 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.workers, 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(simple_children_are_named_by_their_pids) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_SIMPLE_ONE_FOR_ONE, 1, WEFT_RESTART_TRANSIENT);
    counts(&family, pid, 1, 0);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(add_simple(&family, pid, i, &answer), 0);
        ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, i)));
        ck_assert(answer.id[0] == '\0');
    }
    counts(&family, pid, 1, 3);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_WHICH, kid_pid(&family, 1), &answer), 0);
    ck_assert_int_eq(ask_index(&family, pid, 2, &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 2)));
    weft_pid old = kid_pid(&family, 1);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_TERMINATE, old, &answer), 0);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_TERMINATE, old, &answer),
                     0); /* it is dead */
    counts(&family, pid, 1, 2);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_TERMINATE, family.parent, &answer),
                     -ENOENT);
    ck_assert(is_alive(&family.rig, family.parent));
    old.node++;
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_TERMINATE, old, &answer), -ENOENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "a", NULL), -EPERM);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL), -EPERM);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "a", NULL), -EPERM);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "a", NULL), -EPERM);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(simple_children_get_the_argument_given_or_the_specifications) {
    BEGIN();
    weft_supervisor_answer answer;
    struct kid *arg;
    weft_pid pid = raise_some(WEFT_SIMPLE_ONE_FOR_ONE, 1, WEFT_RESTART_TEMPORARY);
    ck_assert_int_eq(start_spec(&family, pid, NULL, &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 0)));
    ck_assert_int_eq(add_simple(&family, pid, 1, &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 1)));
    weft_child_spec spec = kid_spec(&family, 2, 0, &arg); /* a whole one: its argument counts */
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 2)));
    ck_assert_uint_eq(answer.restart, WEFT_RESTART_TEMPORARY);
    weft_store32_release(&family.kids[3].refuse, 1);
    ck_assert_int_eq(add_simple(&family, pid, 3, &answer), -EIO);
    weft_store32_release(&family.kids[3].ignore, 1);
    ck_assert_int_eq(add_simple(&family, pid, 3, &answer), 0);
    ck_assert(weft_pid_is_none(answer.pid));
    counts(&family, pid, 1, 3);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(simple_children_may_be_supervisors) {
    BEGIN();
    weft_supervisor_answer answer;
    struct house house;
    struct house below;
    house_init(&below, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &below, 0, WEFT_RESTART_PERMANENT);
    house_init(&house, WEFT_SIMPLE_ONE_FOR_ONE);
    (void)house_add_below(&house, NULL, &below, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(start_spec(&family, pid, NULL, &answer), 0);
    ck_assert(answer.is_supervisor);
    ck_assert_int_eq(add_simple(&family, pid, 0, &answer), -EINVAL);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.supervisors, 1);
    ck_assert_uint_eq(answer.workers, 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("supervisor simple");
    TCase *tcase = tcase_create("supervisor simple");
#define ADD(name) tcase_add_loop_test(tcase, name, 0, SCHEDULER_CASES)
    ADD(simple_children_are_restarted_by_their_type_and_stopped_all_at_once);
    ADD(simple_children_have_a_common_deadline_after_which_all_are_killed);
    ADD(a_simple_child_that_cannot_be_restarted_is_tried_again_and_ended_by_its_old_pid);
    ADD(simple_children_are_named_by_their_pids);
    ADD(simple_children_get_the_argument_given_or_the_specifications);
    ADD(simple_children_may_be_supervisors);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
