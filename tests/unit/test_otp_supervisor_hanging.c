/* SPDX-License-Identifier: MIT
 *
 * supervisor_SUITE, fourth part: children that cannot be started again for a while, and trees of
 * supervisors. The cases are explained in docs/otp-conformance.md. A start that fails takes 1 ms
 * here, on a scheduler's thread, so that the attempts do not use up the intensity at once.
 */
#include "tests/unit/otp_supervisor.h"

enum { INTENSITY = 50000, FOR_EVER = 1000000 };

#define PLAIN(name, n)                                                                             \
    (struct child) {                                                                               \
        .id = (name), .number = (n), .shutdown_ns = WEFT_SHUTDOWN_KILL                             \
    }

/* From now on worker number cannot be started. */
static void hang(struct stage *stage, uint32_t number) {
    stage->mood = -ENOTSUP;
    stage->mood_ns = MS_NS;
    weft_store32_release(&stage->failures[number], FOR_EVER);
}

static void mend(struct stage *stage, uint32_t number) {
    weft_store32_release(&stage->failures[number], 0);
}

/* It crashes, and has been tried several times. */
static void crash_and_hang(weft_ctx *ctx, struct stage *stage, uint32_t number, weft_pid pid) {
    hang(stage, number);
    end_worker(ctx, pid, HOW_CRASH);
    until(weft_load32_acquire(&stage->failures[number]) < FOR_EVER - 5);
}

/* No attempt is made any more. */
static void is_quiet(weft_ctx *ctx, struct stage *stage, uint32_t number) {
    uint32_t left = weft_load32_acquire(&stage->failures[number]);
    ck_assert_int_eq(weft_sleep(ctx, 30 * MS_NS), 0);
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[number]), left);
}

/* What is answered about a child that is being restarted. */
static void is_restarting(weft_ctx *ctx, weft_pid sup, struct child child) {
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), -EALREADY);
    ck_assert_int_eq(restart_child(ctx, sup, child.id, NULL), -EAGAIN);
    ck_assert_int_eq(delete_child(ctx, sup, child.id), -EAGAIN);
    ck_assert_uint_eq(child_state(ctx, sup, child.id), WEFT_CHILD_RESTARTING);
}

PLAY(hanging_restart_loop) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, INTENSITY);
    struct child child = PLAIN("child1", 1);
    weft_pid first = add_child(ctx, sup, child);
    link_to(ctx, first);
    crash_and_hang(ctx, stage, 1, first);
    is_restarting(ctx, sup, child);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
    /* Others come and go meanwhile. */
    weft_pid other = add_child(ctx, sup, PLAIN("other", 2));
    ck_assert(lives(stage, other));
    ck_assert_int_eq(terminate_child(ctx, sup, "other"), 0);
    ck_assert_int_eq(delete_child(ctx, sup, "other"), 0);

    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    expect_exit(ctx, first, CRASH);
    ck_assert_uint_eq(child_state(ctx, sup, "child1"), WEFT_CHILD_STOPPED);
    is_quiet(ctx, stage, 1);
    mend(stage, 1);
    weft_pid second = weft_pid_none();
    ck_assert_int_eq(restart_child(ctx, sup, "child1", &second), 0);
    link_to(ctx, second);
    crash_and_hang(ctx, stage, 1, second);
    end_supervisor(ctx, sup);
    expect_exit(ctx, second, CRASH);
    is_quiet(ctx, stage, 1);
    mend(stage, 1);
}

/* As above, and it starts in the end by itself. */
PLAY(hanging_restart_loop_ends) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, INTENSITY);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    crash_and_hang(ctx, stage, 1, first);
    mend(stage, 1);
    until(child_renewed(ctx, sup, "child1", first));
    end_supervisor(ctx, sup);
}

PLAY(hanging_restart_loop_rest_for_one) {
    weft_pid sup = start_empty(ctx, WEFT_REST_FOR_ONE, INTENSITY);
    struct child child = PLAIN("child2", 2);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, child);
    (void)add_child(ctx, sup, PLAIN("child3", 3));
    crash_and_hang(ctx, stage, 2, second);
    is_restarting(ctx, sup, child);
    ck_assert_uint_eq(child_state(ctx, sup, "child3"), WEFT_CHILD_STOPPED);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), first));
    ck_assert(counts_are(ctx, sup, COUNTS(3, 1, 0, 3)));

    ck_assert_int_eq(terminate_child(ctx, sup, "child2"), 0);
    ck_assert_uint_eq(child_state(ctx, sup, "child2"), WEFT_CHILD_STOPPED);
    ck_assert_uint_eq(child_state(ctx, sup, "child3"), WEFT_CHILD_STOPPED);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), first));
    is_quiet(ctx, stage, 2);
    mend(stage, 2);
    ck_assert_int_eq(restart_child(ctx, sup, "child2", &second), 0);
    crash_and_hang(ctx, stage, 2, second);
    end_supervisor(ctx, sup);
    is_quiet(ctx, stage, 2);
    ck_assert(!lives(stage, first));
    mend(stage, 2);
}

PLAY(hanging_restart_loop_simple) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), INTENSITY);
    weft_pid first = add_child(ctx, sup, PLAIN("child", 1));
    link_to(ctx, first);
    crash_and_hang(ctx, stage, 1, first);
    ck_assert_int_eq(restart_child(ctx, sup, "child", NULL), -EPERM);
    ck_assert_int_eq(delete_child(ctx, sup, "child"), -EPERM);
    weft_supervisor_answer answer = {0};
    ck_assert(child_at(ctx, sup, 0, &answer));
    ck_assert_uint_eq(answer.state, WEFT_CHILD_RESTARTING);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));

    /* It is named by the pid it had. */
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, first, NULL), 0);
    expect_exit(ctx, first, CRASH);
    is_quiet(ctx, stage, 1);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    mend(stage, 1);
    weft_pid second = add_child(ctx, sup, PLAIN("child", 1));
    link_to(ctx, second);
    crash_and_hang(ctx, stage, 1, second);
    end_supervisor(ctx, sup);
    expect_exit(ctx, second, CRASH);
    is_quiet(ctx, stage, 1);
    mend(stage, 1);
}

PLAY(count_restarting_children) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), INTENSITY);
    weft_pid pids[3];
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(counts_are(ctx, sup, COUNTS(1, i, 0, i)));
        pids[i] = add_child(ctx, sup, PLAIN("child", 1));
    }
    for (uint32_t i = 0; i < 3; i++) {
        end_worker(ctx, pids[i], HOW_CRASH);
    }
    until(stage_note_count(stage) == 9);
    until(counts_are(ctx, sup, COUNTS(1, 3, 0, 3)));
    weft_supervisor_answer answer = {0};
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(child_at(ctx, sup, i, &answer));
        pids[i] = answer.pid;
    }
    hang(stage, 1);
    end_worker(ctx, pids[0], HOW_CRASH);
    end_worker(ctx, pids[1], HOW_CRASH);
    until(counts_are(ctx, sup, COUNTS(1, 1, 0, 3)));
    mend(stage, 1);
    until(counts_are(ctx, sup, COUNTS(1, 3, 0, 3)));

    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, pids[2], NULL), 0);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 2, 0, 2)));
    for (uint32_t i = 2; i > 0; i--) {
        ck_assert(child_at(ctx, sup, 0, &answer));
        ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, answer.pid, NULL), 0);
        ck_assert(counts_are(ctx, sup, COUNTS(1, i - 1, 0, i - 1)));
    }
    end_supervisor(ctx, sup);
}

/* ---- trees --------------------------------------------------------------------------------- */

static struct child below(const char *id, struct plan *plan, uint32_t restart) {
    return (struct child){.id = id,
                          .supervisor = &plan->def,
                          .restart = restart,
                          .shutdown_ns = WEFT_SHUTDOWN_FOREVER};
}

/* The dynamic part of a tree: a crash below that is mended there, then one that is not. */
static void tree_below(weft_ctx *ctx, struct stage *stage, weft_pid sup1, weft_pid sup2) {
    weft_pid child1 = child_pid(ctx, sup1, "child1");
    weft_pid child3 = add_child(ctx, sup2, PLAIN("child3", 3));
    weft_pid child4 = add_child(ctx, sup2, PLAIN("child4", 4));
    ck_assert(counts_are(ctx, sup2, COUNTS(2, 2, 0, 2)));
    end_worker(ctx, child4, HOW_CRASH);
    until(child_renewed(ctx, sup2, "child4", child4));
    ck_assert(weft_pid_equal(child_pid(ctx, sup2, "child3"), child3));
    ck_assert(weft_pid_equal(child_pid(ctx, sup1, "child1"), child1));
    ck_assert(counts_are(ctx, sup1, COUNTS(2, 2, 0, 2)));
    hang(stage, 3);
    end_worker(ctx, child3, HOW_CRASH);
}

PLAY(tree) {
    struct plan plans[3];
    for (uint32_t i = 0; i < 3; i++) {
        plan_init(&plans[i], WEFT_ONE_FOR_ONE, 4);
    }
    plan_add(stage, &plans[0], PLAIN("child1", 1));
    plan_add(stage, &plans[0], PLAIN("child2", 2));
    weft_pid top = start_empty(ctx, WEFT_ONE_FOR_ALL, 4);
    weft_pid sup1 = add_child(ctx, top, below("sup1", &plans[0], WEFT_RESTART_PERMANENT));
    weft_pid sup2 = add_child(ctx, top, below("sup2", &plans[1], WEFT_RESTART_PERMANENT));
    (void)add_child(ctx, top, below("sup3", &plans[2], WEFT_RESTART_TRANSIENT));
    ck_assert_int_eq(terminate_child(ctx, top, "sup3"), 0);
    ck_assert(counts_are(ctx, top, COUNTS(3, 2, 3, 0)));
    ck_assert(counts_are(ctx, sup1, COUNTS(2, 2, 0, 2)));
    ck_assert(counts_are(ctx, sup2, COUNTS(0, 0, 0, 0)));
    tree_below(ctx, stage, sup1, sup2);

    /* sup2 has given up: all are started anew, also sup3, but not what had been added. */
    until(child_renewed(ctx, top, "sup2", sup2) && child_renewed(ctx, top, "sup1", sup1));
    until(counts_are(ctx, top, COUNTS(3, 3, 3, 0)));
    ck_assert(counts_are(ctx, child_pid(ctx, top, "sup1"), COUNTS(2, 2, 0, 2)));
    ck_assert(counts_are(ctx, child_pid(ctx, top, "sup2"), COUNTS(0, 0, 0, 0)));
    ck_assert(counts_are(ctx, child_pid(ctx, top, "sup3"), COUNTS(0, 0, 0, 0)));
    mend(stage, 3);
    end_supervisor(ctx, top);
}

/* ---- names of a supervised tree ------------------------------------------------------------ */

static weft_pid whereis(struct stage *stage) {
    return weft_name_whereis(stage->rig.runtime, "taken", 5);
}

/* Another actor than old has the name. */
static bool name_renewed(struct stage *stage, weft_pid old) {
    weft_pid now = whereis(stage);
    return !weft_pid_is_none(now) && !weft_pid_equal(now, old);
}

static weft_pid start_named(weft_ctx *ctx, struct stage *stage) {
    struct plan middle;
    /* Its orphan may have the name for a moment still when it is started again. */
    plan_init(&middle, WEFT_ONE_FOR_ALL, INTENSITY);
    struct child child = PLAIN("child", 1);
    child.mode = WORKER_NAMED;
    plan_add(stage, &middle, child);
    weft_pid top = start_empty(ctx, WEFT_ONE_FOR_ALL, INTENSITY);
    (void)add_child(ctx, top, below("middle", &middle, WEFT_RESTART_PERMANENT));
    ck_assert(!weft_pid_is_none(whereis(stage)));
    return top;
}

/* Killing the top takes everything with it, by links; the name is free then. */
static void stop_named(weft_ctx *ctx, struct stage *stage, weft_pid top) {
    ck_assert_int_eq(weft_kill(ctx, top), 0);
    expect_exit(ctx, top, WEFT_E_KILLED);
    until(weft_pid_is_none(whereis(stage)));
}

PLAY(simple_global_supervisor) {
    weft_pid top = start_named(ctx, stage);
    weft_pid old = whereis(stage);
    end_worker(ctx, child_pid(ctx, top, "middle"), HOW_KILL);
    until(name_renewed(stage, old));
    stop_named(ctx, stage, top);

    top = start_named(ctx, stage);
    old = whereis(stage);
    end_worker(ctx, old, HOW_KILL);
    until(name_renewed(stage, old));
    old = whereis(stage);
    end_worker(ctx, old, HOW_NORMAL);
    until(name_renewed(stage, old));
    stop_named(ctx, stage, top);

    top = start_named(ctx, stage);
    old = whereis(stage);
    weft_pid middle = child_pid(ctx, top, "middle");
    ck_assert_int_eq(terminate_child(ctx, middle, "child"), 0);
    ck_assert(weft_pid_is_none(whereis(stage)));
    ck_assert_int_eq(restart_child(ctx, middle, "child", NULL), 0);
    ck_assert(name_renewed(stage, old));
    stop_named(ctx, stage, top);
}

int main(void) {
    Suite *suite = suite_create("otp_supervisor_hanging");
    ADD(suite, hanging_restart_loop);
    ADD(suite, hanging_restart_loop_ends);
    ADD(suite, hanging_restart_loop_rest_for_one);
    ADD(suite, hanging_restart_loop_simple);
    ADD(suite, count_restarting_children);
    ADD(suite, tree);
    ADD(suite, simple_global_supervisor);
    return run_suite(suite);
}
