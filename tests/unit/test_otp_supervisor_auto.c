/* SPDX-License-Identifier: MIT
 *
 * supervisor_SUITE, fifth part: supervisors that end by themselves when their significant children
 * have. The cases are explained in docs/otp-conformance.md.
 */
#include "tests/unit/otp_supervisor.h"

static struct child child_of(const char *id, uint32_t restart, bool significant) {
    return (struct child){
        .id = id, .number = 1, .shutdown_ns = S_NS, .restart = restart, .significant = significant};
}

static weft_pid start_auto(weft_ctx *ctx, uint32_t strategy, uint32_t auto_shutdown) {
    struct plan plan;
    plan_init(&plan, strategy, 5);
    plan.def.auto_shutdown = auto_shutdown;
    return plan_start(ctx, &plan);
}

/* It has seen an end that was before this, and lives. */
static void still_there(weft_ctx *ctx, struct stage *stage, weft_pid sup) {
    ck_assert_int_eq(weft_sleep(ctx, 20 * MS_NS), 0);
    (void)counts_of(ctx, sup);
    ck_assert(lives(stage, sup));
}

/* ---- what is allowed ----------------------------------------------------------------------- */

static int start_combined(weft_ctx *ctx, struct stage *stage, uint32_t strategy,
                          uint32_t auto_shutdown, struct child child) {
    struct plan plan;
    plan_init(&plan, strategy, 5);
    plan.def.auto_shutdown = auto_shutdown;
    plan_add(stage, &plan, child);
    weft_pid sup = weft_pid_none();
    int result = weft_supervisor_start(ctx, &plan.def, &sup);
    if (result == 0) {
        end_supervisor(ctx, sup);
    }
    return result;
}

/* Significant: not with never, not with permanent. At the start and when added. */
PLAY(child_specs_map) {
    for (uint32_t i = 0; i < 18; i++) {
        uint32_t auto_shutdown = i % 3;
        uint32_t restart = i / 3 % 3;
        bool significant = i >= 9;
        bool allowed =
            !significant || (auto_shutdown != WEFT_AUTO_NEVER && restart != WEFT_RESTART_PERMANENT);
        struct child child = child_of("child", restart, significant);
        ck_assert_int_eq(start_combined(ctx, stage, WEFT_ONE_FOR_ONE, auto_shutdown, child),
                         allowed ? 0 : -EINVAL);
        weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, auto_shutdown);
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(try_child(ctx, sup, child, &pid), allowed ? 0 : -EINVAL);
        ck_assert_uint_eq(counts_of(ctx, sup).specs, allowed ? 1 : 0);
        end_supervisor(ctx, sup);
    }
}

PLAY(significant_simple) {
    struct child child = child_of("child", WEFT_RESTART_TRANSIENT, false);
    ck_assert_int_eq(start_combined(ctx, stage, WEFT_SIMPLE_ONE_FOR_ONE, WEFT_AUTO_ANY, child),
                     -EINVAL);
    ck_assert_int_eq(start_combined(ctx, stage, WEFT_SIMPLE_ONE_FOR_ONE, WEFT_AUTO_ALL, child),
                     -EINVAL);
    ck_assert_int_eq(start_combined(ctx, stage, WEFT_SIMPLE_ONE_FOR_ONE, WEFT_AUTO_NEVER, child),
                     0);
}

/* ---- children that are not significant ----------------------------------------------------- */

PLAY(nonsignificant_temporary) {
    static const enum how hows[] = {HOW_KILL, HOW_CRASH, HOW_NORMAL};
    struct child child = child_of("child1", WEFT_RESTART_TEMPORARY, false);
    for (uint32_t mode = WEFT_AUTO_NEVER; mode <= WEFT_AUTO_ALL; mode++) {
        weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, mode);
        (void)add_child(ctx, sup, child);
        ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
        still_there(ctx, stage, sup);
        for (uint32_t i = 0; i < 3; i++) {
            end_worker(ctx, add_child(ctx, sup, child), hows[i]);
            until(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
            still_there(ctx, stage, sup);
        }
        end_supervisor(ctx, sup);
    }
}

/* Stopped, killed and crashed it comes back, and the supervisor stays; normally it stays away. */
static void transient_life(weft_ctx *ctx, struct stage *stage, weft_pid sup) {
    static const enum how hows[] = {HOW_KILL, HOW_CRASH};
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    still_there(ctx, stage, sup);
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), 0);
    for (uint32_t i = 0; i < 2; i++) {
        weft_pid old = child_pid(ctx, sup, "child1");
        end_worker(ctx, old, hows[i]);
        until(child_renewed(ctx, sup, "child1", old));
        still_there(ctx, stage, sup);
    }
}

PLAY(nonsignificant_transient) {
    struct child child = child_of("child1", WEFT_RESTART_TRANSIENT, false);
    for (uint32_t mode = WEFT_AUTO_NEVER; mode <= WEFT_AUTO_ALL; mode++) {
        weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, mode);
        (void)add_child(ctx, sup, child);
        transient_life(ctx, stage, sup);
        end_worker(ctx, child_pid(ctx, sup, "child1"), HOW_NORMAL);
        until(!child_runs(ctx, sup, "child1"));
        still_there(ctx, stage, sup);
        end_supervisor(ctx, sup);
    }
}

/* ---- children that are --------------------------------------------------------------------- */

/* Two that are significant, one that is not, all linked to the play. */
static void add_three(weft_ctx *ctx, weft_pid sup, uint32_t restart, weft_pid *pids) {
    static const char *const ids[] = {"child1", "child2", "child3"};
    for (uint32_t i = 0; i < 3; i++) {
        pids[i] = add_child(ctx, sup, child_of(ids[i], restart, i < 2));
        link_to(ctx, pids[i]);
    }
}

/* The supervisor ends because pids[first] has; the others from there on are stopped. */
static void takes_all(weft_ctx *ctx, weft_pid sup, const weft_pid *pids, uint32_t first,
                      enum how how) {
    end_worker(ctx, pids[first], how);
    expect_exit(ctx, pids[first], how_code(how));
    for (uint32_t i = first + 1; i < 3; i++) {
        expect_exit(ctx, pids[i], WEFT_E_SHUTDOWN);
    }
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
}

/* With WEFT_AUTO_ALL the first end does nothing, the second one ends it. */
static void second_ends_it(weft_ctx *ctx, struct stage *stage, uint32_t restart) {
    weft_pid pids[3];
    weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ALL);
    add_three(ctx, sup, restart, pids);
    end_worker(ctx, pids[0], HOW_NORMAL);
    expect_exit(ctx, pids[0], 0);
    still_there(ctx, stage, sup);
    ck_assert(lives(stage, pids[1]));
    ck_assert(lives(stage, pids[2]));
    takes_all(ctx, sup, pids, 1, HOW_NORMAL);
}

PLAY(significant_temporary) {
    static const enum how hows[] = {HOW_KILL, HOW_CRASH, HOW_NORMAL};
    weft_pid pids[3];
    for (uint32_t i = 0; i < 3; i++) {
        weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ANY);
        add_three(ctx, sup, WEFT_RESTART_TEMPORARY, pids);
        if (i == 0) {
            /* To be stopped is no end of its own. */
            ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
            expect_exit(ctx, pids[0], WEFT_E_SHUTDOWN);
            still_there(ctx, stage, sup);
            ck_assert(lives(stage, pids[1]));
            pids[0] = add_child(ctx, sup, child_of("child1", WEFT_RESTART_TEMPORARY, true));
            link_to(ctx, pids[0]);
        }
        takes_all(ctx, sup, pids, 0, hows[i]);
    }
    second_ends_it(ctx, stage, WEFT_RESTART_TEMPORARY);
}

PLAY(significant_transient) {
    weft_pid pids[3];
    weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ANY);
    for (uint32_t i = 0; i < 3; i++) {
        static const char *const ids[] = {"child1", "child2", "child3"};
        pids[i] = add_child(ctx, sup, child_of(ids[i], WEFT_RESTART_TRANSIENT, i < 2));
    }
    transient_life(ctx, stage, sup);
    pids[0] = child_pid(ctx, sup, "child1");
    for (uint32_t i = 0; i < 3; i++) {
        link_to(ctx, pids[i]);
    }
    takes_all(ctx, sup, pids, 0, HOW_NORMAL);
    second_ends_it(ctx, stage, WEFT_RESTART_TRANSIENT);
}

/* With all: who was stopped on request is not waited for, and does not end it either. */
PLAY(significant_stopped) {
    weft_pid pids[3];
    weft_pid sup = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ALL);
    add_three(ctx, sup, WEFT_RESTART_TEMPORARY, pids);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    expect_exit(ctx, pids[0], WEFT_E_SHUTDOWN);
    still_there(ctx, stage, sup);
    takes_all(ctx, sup, pids, 1, HOW_CRASH);

    sup = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ALL);
    add_three(ctx, sup, WEFT_RESTART_TEMPORARY, pids);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(terminate_child(ctx, sup, "child2"), 0);
    still_there(ctx, stage, sup);
    ck_assert(lives(stage, pids[2]));
    end_supervisor(ctx, sup);
}

/* The second of three is killed: who is stopped for it, and started again, does not count. */
static void bystanders(weft_ctx *ctx, struct stage *stage, uint32_t strategy, uint32_t mode) {
    weft_pid pids[3];
    weft_pid sup = start_auto(ctx, strategy, mode);
    for (uint32_t i = 0; i < 3; i++) {
        static const char *const ids[] = {"child1", "child2", "child3"};
        pids[i] = add_child(ctx, sup, child_of(ids[i], WEFT_RESTART_TRANSIENT, i != 1));
    }
    end_worker(ctx, pids[1], HOW_KILL);
    until(child_renewed(ctx, sup, "child2", pids[1]) && counts_are(ctx, sup, COUNTS(3, 3, 0, 3)));
    still_there(ctx, stage, sup);
    ck_assert(lives(stage, pids[0]) == (strategy != WEFT_ONE_FOR_ALL));
    ck_assert(lives(stage, pids[2]) == (strategy == WEFT_ONE_FOR_ONE));
    end_supervisor(ctx, sup);
}

PLAY(significant_bystander) {
    static const uint32_t strategies[] = {WEFT_ONE_FOR_ONE, WEFT_ONE_FOR_ALL, WEFT_REST_FOR_ONE};
    for (uint32_t i = 0; i < 6; i++) {
        bystanders(ctx, stage, strategies[i % 3], i < 3 ? WEFT_AUTO_ANY : WEFT_AUTO_ALL);
    }
}

PLAY(significant_escalation) {
    struct plan below;
    plan_init(&below, WEFT_ONE_FOR_ONE, 5);
    below.def.auto_shutdown = WEFT_AUTO_ANY;
    for (uint32_t i = 0; i < 2; i++) {
        bool significant = i == 0;
        weft_pid top = start_auto(ctx, WEFT_ONE_FOR_ONE, WEFT_AUTO_ANY);
        struct child lower = child_of("sup1", WEFT_RESTART_TRANSIENT, significant);
        lower.supervisor = &below.def;
        weft_pid middle = add_child(ctx, top, lower);
        weft_pid worker = add_child(ctx, middle, child_of("child1", WEFT_RESTART_TRANSIENT, true));
        link_to(ctx, middle);
        link_to(ctx, worker);
        end_worker(ctx, worker, HOW_NORMAL);
        expect_exit(ctx, worker, 0);
        expect_exit(ctx, middle, WEFT_E_SHUTDOWN);
        if (significant) {
            expect_exit(ctx, top, WEFT_E_SHUTDOWN);
        } else {
            until(counts_are(ctx, top, COUNTS(1, 0, 1, 0)));
            still_there(ctx, stage, top);
            end_supervisor(ctx, top);
        }
    }
}

int main(void) {
    Suite *suite = suite_create("otp_supervisor_auto");
    ADD(suite, child_specs_map);
    ADD(suite, significant_simple);
    ADD(suite, nonsignificant_temporary);
    ADD(suite, nonsignificant_transient);
    ADD(suite, significant_temporary);
    ADD(suite, significant_transient);
    ADD(suite, significant_stopped);
    ADD(suite, significant_bystander);
    ADD(suite, significant_escalation);
    return run_suite(suite);
}
