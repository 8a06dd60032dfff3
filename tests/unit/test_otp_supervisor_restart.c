/* SPDX-License-Identifier: MIT
 *
 * supervisor_SUITE, third part: who is started again, in which order, how often, and what happens
 * when it cannot be started. The cases are explained in docs/otp-conformance.md; children that
 * cannot be started for a while: test_otp_supervisor_hanging.c.
 */
#include "tests/unit/otp_supervisor.h"

#define PLAIN(name, n)                                                                             \
    (struct child) {                                                                               \
        .id = (name), .number = (n), .shutdown_ns = S_NS                                           \
    }

/* ---- restart types ------------------------------------------------------------------------- */

/* A child that ends so is started again. */
static void comes_back(weft_ctx *ctx, weft_pid sup, enum how how) {
    weft_pid old = child_pid(ctx, sup, "child1");
    end_worker(ctx, old, how);
    until(child_renewed(ctx, sup, "child1", old));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
}

/* It is not, but its specification stays. */
static void stays_away(weft_ctx *ctx, weft_pid sup, enum how how) {
    end_worker(ctx, child_pid(ctx, sup, "child1"), how);
    until(!child_runs(ctx, sup, "child1"));
    ck_assert_uint_eq(child_state(ctx, sup, "child1"), WEFT_CHILD_STOPPED);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
}

static void goes(weft_ctx *ctx, weft_pid sup, enum how how) {
    end_worker(ctx, child_pid(ctx, sup, "child1"), how);
    until(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
}

static weft_pid start_one(weft_ctx *ctx, uint32_t restart) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct child child = PLAIN("child1", 1);
    child.restart = restart;
    (void)add_child(ctx, sup, child);
    return sup;
}

PLAY(permanent_normal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_PERMANENT);
    comes_back(ctx, sup, HOW_NORMAL);
    end_supervisor(ctx, sup);
}

PLAY(permanent_shutdown) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_PERMANENT);
    comes_back(ctx, sup, HOW_SHUTDOWN);
    comes_back(ctx, sup, HOW_SHUTDOWN_DATA);
    end_supervisor(ctx, sup);
}

PLAY(permanent_abnormal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_PERMANENT);
    comes_back(ctx, sup, HOW_CRASH);
    comes_back(ctx, sup, HOW_KILL);
    end_supervisor(ctx, sup);
}

PLAY(transient_normal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TRANSIENT);
    stays_away(ctx, sup, HOW_NORMAL);
    end_supervisor(ctx, sup);
}

PLAY(transient_shutdown) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TRANSIENT);
    stays_away(ctx, sup, HOW_SHUTDOWN);
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), 0);
    stays_away(ctx, sup, HOW_SHUTDOWN_DATA);
    end_supervisor(ctx, sup);
}

PLAY(transient_abnormal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TRANSIENT);
    comes_back(ctx, sup, HOW_CRASH);
    comes_back(ctx, sup, HOW_KILL);
    end_supervisor(ctx, sup);
}

PLAY(temporary_normal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TEMPORARY);
    goes(ctx, sup, HOW_NORMAL);
    end_supervisor(ctx, sup);
}

PLAY(temporary_shutdown) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TEMPORARY);
    goes(ctx, sup, HOW_SHUTDOWN);
    struct child child = PLAIN("child1", 1);
    child.restart = WEFT_RESTART_TEMPORARY;
    (void)add_child(ctx, sup, child);
    goes(ctx, sup, HOW_SHUTDOWN_DATA);
    end_supervisor(ctx, sup);
}

PLAY(temporary_abnormal) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_TEMPORARY);
    goes(ctx, sup, HOW_CRASH);
    end_supervisor(ctx, sup);
}

PLAY(temporary_bystander) {
    static const uint32_t strategies[] = {WEFT_ONE_FOR_ALL, WEFT_REST_FOR_ONE};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t noted = stage_note_count(stage);
        weft_pid sup = start_empty(ctx, strategies[i], 2);
        weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
        struct child child = PLAIN("child2", 2);
        child.restart = WEFT_RESTART_TEMPORARY;
        (void)add_child(ctx, sup, child);
        end_worker(ctx, first, HOW_NORMAL);
        until(child_renewed(ctx, sup, "child1", first));
        stage_notes_are(stage, noted, "+1+2-1-2+1");
        ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
        /* Its own end is none of the others' business. */
        weft_pid now = child_pid(ctx, sup, "child1");
        end_worker(ctx, add_child(ctx, sup, child), HOW_CRASH);
        until(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
        ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), now));
        end_supervisor(ctx, sup);
    }
}

/* ---- intensity ----------------------------------------------------------------------------- */

/* One crash at a time, each more than a period after the one before. */
PLAY(multiple_restarts) {
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ONE, 1);
    plan.def.period_ns = 50 * MS_NS;
    plan_add(stage, &plan, PLAIN("child1", 1));
    weft_pid sup = plan_start(ctx, &plan);
    comes_back(ctx, sup, HOW_CRASH);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(weft_sleep(ctx, 80 * MS_NS), 0);
        comes_back(ctx, sup, HOW_CRASH);
    }
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(delete_child(ctx, sup, "child1"), 0);
    end_supervisor(ctx, sup);
}

/* ---- one_for_one --------------------------------------------------------------------------- */

PLAY(one_for_one) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    end_worker(ctx, first, HOW_CRASH);
    until(child_renewed(ctx, sup, "child1", first));
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child2"), second));
    ck_assert(counts_are(ctx, sup, COUNTS(2, 2, 0, 2)));
    end_worker(ctx, second, HOW_CRASH);
    until(child_renewed(ctx, sup, "child2", second));
    stage_notes_are(stage, 0, "+1+2-1+1-2+2");
    /* The third within the period is one too many. */
    end_worker(ctx, child_pid(ctx, sup, "child2"), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    stage_notes_are(stage, 6, "-2-1");
}

PLAY(one_for_one_escalation) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 4);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    link_to(ctx, second);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[1], 100);
    end_worker(ctx, first, HOW_CRASH);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    /* Four attempts are allowed, whether they succeed or not. */
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[1]), 96);
    stage_notes_are(stage, 0, "+1+2-1-2");
}

/* As many failures as the intensity leaves room for. */
PLAY(one_for_one_recovers) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 4);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[1], 3);
    end_worker(ctx, first, HOW_CRASH);
    until(child_renewed(ctx, sup, "child1", first));
    end_worker(ctx, child_pid(ctx, sup, "child1"), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
}

/* ---- one_for_all --------------------------------------------------------------------------- */

PLAY(one_for_all) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ALL, 2);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    link_to(ctx, second);
    end_worker(ctx, first, HOW_CRASH);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
    until(child_renewed(ctx, sup, "child2", second));
    ck_assert(child_renewed(ctx, sup, "child1", first));
    ck_assert(counts_are(ctx, sup, COUNTS(2, 2, 0, 2)));
    stage_notes_are(stage, 0, "+1+2-1-2+1+2");
    weft_pid again = child_pid(ctx, sup, "child2");
    end_worker(ctx, again, HOW_CRASH);
    until(child_renewed(ctx, sup, "child2", again));
    stage_notes_are(stage, 6, "-2-1+1+2");
    end_worker(ctx, child_pid(ctx, sup, "child2"), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    stage_notes_are(stage, 10, "-2-1");
}

PLAY(one_for_all_escalation) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ALL, 4);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    link_to(ctx, second);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[2], 100);
    end_worker(ctx, first, HOW_CRASH);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[2]), 96);
    stage_notes_are(stage, 0, "+1+2-1-2+1-1+1-1+1-1+1-1");
}

/* child2 cannot be started in the first round: child1, which was, is stopped before the second. */
PLAY(one_for_all_other_child_fails_restart) {
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ALL, 3);
    plan_add(stage, &plan, PLAIN("child1", 1));
    plan_add(stage, &plan, PLAIN("child2", 2));
    weft_pid sup = plan_start(ctx, &plan);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[2], 1);
    weft_pid first = child_pid(ctx, sup, "child1");
    weft_pid second = child_pid(ctx, sup, "child2");
    end_worker(ctx, first, HOW_CRASH);
    until(child_renewed(ctx, sup, "child2", second));
    stage_notes_are(stage, 0, "+1+2-1-2+1-1+1+2");
    end_supervisor(ctx, sup);
}

/* Who is without a pid is started with the others; who is temporary is not. */
PLAY(one_for_all_the_stopped) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ALL, 3);
    struct child transient = PLAIN("child2", 2);
    transient.restart = WEFT_RESTART_TRANSIENT;
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, transient);
    (void)add_child(ctx, sup, PLAIN("child3", 3));
    end_worker(ctx, second, HOW_NORMAL);
    until(!child_runs(ctx, sup, "child2"));
    ck_assert_int_eq(terminate_child(ctx, sup, "child3"), 0);
    end_worker(ctx, first, HOW_CRASH);
    until(counts_are(ctx, sup, COUNTS(3, 3, 0, 3)));
    stage_notes_are(stage, 0, "+1+2+3-2-3-1+1+2+3");
    end_supervisor(ctx, sup);
}

/* ---- rest_for_one -------------------------------------------------------------------------- */

PLAY(rest_for_one) {
    weft_pid sup = start_empty(ctx, WEFT_REST_FOR_ONE, 2);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    weft_pid third = add_child(ctx, sup, PLAIN("child3", 3));
    link_to(ctx, third);
    ck_assert(counts_are(ctx, sup, COUNTS(3, 3, 0, 3)));
    end_worker(ctx, second, HOW_CRASH);
    expect_exit(ctx, third, WEFT_E_SHUTDOWN);
    until(child_renewed(ctx, sup, "child3", third));
    ck_assert(child_renewed(ctx, sup, "child2", second));
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), first));
    ck_assert(counts_are(ctx, sup, COUNTS(3, 3, 0, 3)));
    stage_notes_are(stage, 0, "+1+2+3-2-3+2+3");
    weft_pid again = child_pid(ctx, sup, "child3");
    end_worker(ctx, again, HOW_CRASH);
    until(child_renewed(ctx, sup, "child3", again));
    stage_notes_are(stage, 7, "-3+3");
    end_worker(ctx, child_pid(ctx, sup, "child2"), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    stage_notes_are(stage, 9, "-2-3-1");
}

PLAY(rest_for_one_escalation) {
    weft_pid sup = start_empty(ctx, WEFT_REST_FOR_ONE, 4);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    link_to(ctx, second);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[2], 100);
    end_worker(ctx, first, HOW_CRASH);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[2]), 96);
    stage_notes_are(stage, 0, "+1+2-1-2+1-1");
}

/* The second round begins with the child that failed: the one before it is not started twice. */
PLAY(rest_for_one_other_child_fails_restart) {
    struct plan plan;
    plan_init(&plan, WEFT_REST_FOR_ONE, 3);
    plan_add(stage, &plan, PLAIN("child1", 1));
    plan_add(stage, &plan, PLAIN("child2", 2));
    weft_pid sup = plan_start(ctx, &plan);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[2], 1);
    weft_pid second = child_pid(ctx, sup, "child2");
    end_worker(ctx, child_pid(ctx, sup, "child1"), HOW_CRASH);
    until(child_renewed(ctx, sup, "child2", second));
    stage_notes_are(stage, 0, "+1+2-1-2+1+2");
    end_supervisor(ctx, sup);
}

/* ---- simple_one_for_one -------------------------------------------------------------------- */

static uint32_t child_count(weft_ctx *ctx, weft_pid sup, weft_pid pid) {
    weft_supervisor_answer answer = {0};
    uint32_t found = 0;
    for (uint32_t i = 0; child_at(ctx, sup, i, &answer); i++) {
        found += weft_pid_equal(answer.pid, pid) ? 1 : 0;
    }
    return found;
}

/* Some child of two that is not pid. */
static weft_pid another(weft_ctx *ctx, weft_pid sup, weft_pid pid) {
    weft_supervisor_answer answer = {0};
    for (uint32_t i = 0; child_at(ctx, sup, i, &answer); i++) {
        if (!weft_pid_equal(answer.pid, pid) && !weft_pid_is_none(answer.pid)) {
            return answer.pid;
        }
    }
    return weft_pid_none();
}

/* The rest of simple_one_for_one and of simple_one_for_one_extra. */
static void simple_restarts(weft_ctx *ctx, weft_pid sup, struct child child) {
    weft_pid first = add_child(ctx, sup, child);
    weft_pid second = add_child(ctx, sup, child);
    end_worker(ctx, first, HOW_CRASH);
    until(child_count(ctx, sup, first) == 0 && counts_are(ctx, sup, COUNTS(1, 2, 0, 2)));
    ck_assert_uint_eq(child_count(ctx, sup, second), 1);
    weft_pid third = another(ctx, sup, second);
    end_worker(ctx, second, HOW_CRASH);
    until(child_count(ctx, sup, second) == 0 && counts_are(ctx, sup, COUNTS(1, 2, 0, 2)));
    ck_assert_uint_eq(child_count(ctx, sup, third), 1);
    end_worker(ctx, another(ctx, sup, third), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    ck_assert(!lives(stage_of(ctx), third));
}

PLAY(simple_one_for_one) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), 2);
    simple_restarts(ctx, sup, PLAIN("child", 1));
}

/* A child is started again with its own argument, not with the specification's. */
PLAY(simple_one_for_one_extra) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), 2);
    simple_restarts(ctx, sup, PLAIN("child", 2));
    stage_notes_are(stage, 0, "+2+2-2+2-2+2-2-2");
}

/* Ten children end after 100 ms, one is killed after 200: all at once, not one after the other. */
PLAY(simple_one_for_one_shutdown) {
    enum { SLOW = 10 };
    struct child child = PLAIN("child", 1);
    child.process = true;
    child.shutdown_ns = 200 * MS_NS;
    weft_pid sup = start_simple(ctx, stage, child, 2);
    child.mode = WORKER_SLOW;
    child.delay_ns = 100 * MS_NS;
    weft_pid pids[SLOW + 1];
    for (uint32_t i = 0; i < SLOW; i++) {
        pids[i] = add_child(ctx, sup, child);
    }
    child.delay_ns = 5 * S_NS;
    pids[SLOW] = add_child(ctx, sup, child);
    for (uint32_t i = 0; i <= SLOW; i++) {
        link_to(ctx, pids[i]);
    }
    uint64_t begin_ns = clock_ns();
    end_supervisor(ctx, sup);
    uint64_t took_ns = clock_ns() - begin_ns;
    for (uint32_t i = 0; i < SLOW; i++) {
        expect_exit(ctx, pids[i], WEFT_E_SHUTDOWN);
    }
    expect_exit(ctx, pids[SLOW], WEFT_E_KILLED);
    ck_assert_uint_ge(took_ns, 195 * MS_NS);
    ck_assert_msg(took_ns < 1100 * MS_NS, "one after the other? %llu ns",
                  (unsigned long long)took_ns);
}

PLAY(simple_one_for_one_escalation) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), 4);
    weft_pid first = add_child(ctx, sup, PLAIN("child", 1));
    weft_pid second = add_child(ctx, sup, PLAIN("child", 2));
    link_to(ctx, second);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[1], 100);
    end_worker(ctx, first, HOW_CRASH);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[1]), 96);
}

/* Temporary children leave nothing behind, neither the first nor those after it. */
PLAY(simple_one_for_one_corruption) {
    enum { BYTES = 50000 };
    struct child child = PLAIN("child", 1);
    child.restart = WEFT_RESTART_TEMPORARY;
    weft_pid sup = start_simple(ctx, stage, child, 2);
    end_worker(ctx, add_child(ctx, sup, child), HOW_CRASH);
    until(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    unsigned char *arg = calloc(1, BYTES);
    ck_assert_ptr_nonnull(arg);
    struct worker_arg head = {.number = 1};
    memcpy(arg, &head, sizeof(head));
    weft_child_spec spec = child_spec(stage, &child, (const struct worker_arg *)(void *)arg);
    spec.arg_size = BYTES;
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_START, .spec = &spec};
    uint64_t before = rig_gauges(&stage->rig).heap_bytes;
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_eq(ask_with(ctx, sup, &request, NULL), 0);
    }
    ck_assert(counts_are(ctx, sup, COUNTS(1, 10, 0, 10)));
    uint64_t after = rig_gauges(&stage->rig).heap_bytes;
    ck_assert_msg(after < before + 5 * (uint64_t)BYTES, "kept: %llu bytes",
                  (unsigned long long)(after - before));
    end_supervisor(ctx, sup);
    free(arg);
}

PLAY(simple_one_for_one_restart_ignore) {
    static const uint32_t restarts[] = {WEFT_RESTART_TRANSIENT, WEFT_RESTART_PERMANENT};
    for (uint32_t i = 0; i < 2; i++) {
        struct child child = PLAIN("child", 1);
        child.restart = restarts[i];
        weft_pid sup = start_simple(ctx, stage, child, 10);
        weft_pid first = add_child(ctx, sup, child);
        end_worker(ctx, first, HOW_KILL);
        until(child_count(ctx, sup, first) == 0 && counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
        stage->mood = WEFT_STOP;
        weft_store32_release(&stage->failures[1], 1);
        end_worker(ctx, another(ctx, sup, first), HOW_KILL);
        until(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
        ck_assert_uint_eq(weft_load32_acquire(&stage->failures[1]), 0);
        end_supervisor(ctx, sup);
    }
}

/* In the others it stays without a pid, and is not tried again. */
PLAY(one_for_one_restart_ignore) {
    weft_pid sup = start_one(ctx, WEFT_RESTART_PERMANENT);
    stage->mood = WEFT_STOP;
    weft_store32_release(&stage->failures[1], 1);
    stays_away(ctx, sup, HOW_CRASH);
    ck_assert_uint_eq(weft_load32_acquire(&stage->failures[1]), 0);
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), 0);
    end_supervisor(ctx, sup);
}

int main(void) {
    Suite *suite = suite_create("otp_supervisor_restart");
    ADD(suite, permanent_normal);
    ADD(suite, permanent_shutdown);
    ADD(suite, permanent_abnormal);
    ADD(suite, transient_normal);
    ADD(suite, transient_shutdown);
    ADD(suite, transient_abnormal);
    ADD(suite, temporary_normal);
    ADD(suite, temporary_shutdown);
    ADD(suite, temporary_abnormal);
    ADD(suite, temporary_bystander);
    ADD(suite, multiple_restarts);
    ADD(suite, one_for_one);
    ADD(suite, one_for_one_escalation);
    ADD(suite, one_for_one_recovers);
    ADD(suite, one_for_all);
    ADD(suite, one_for_all_escalation);
    ADD(suite, one_for_all_other_child_fails_restart);
    ADD(suite, one_for_all_the_stopped);
    ADD(suite, rest_for_one);
    ADD(suite, rest_for_one_escalation);
    ADD(suite, rest_for_one_other_child_fails_restart);
    ADD(suite, simple_one_for_one);
    ADD(suite, simple_one_for_one_extra);
    ADD(suite, simple_one_for_one_shutdown);
    ADD(suite, simple_one_for_one_escalation);
    ADD(suite, simple_one_for_one_corruption);
    ADD(suite, simple_one_for_one_restart_ignore);
    ADD(suite, one_for_one_restart_ignore);
    return run_suite(suite);
}
