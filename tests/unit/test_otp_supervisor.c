/* SPDX-License-Identifier: MIT
 *
 * supervisor_SUITE, first part: starting and stopping supervisors, and asking them. The cases are
 * named and explained in docs/otp-conformance.md; how children are restarted:
 * test_otp_supervisor_restart.c, auto shutdown: test_otp_supervisor_auto.c.
 */
#include "tests/unit/otp_supervisor.h"

#define PLAIN(name, n)                                                                             \
    (struct child) {                                                                               \
        .id = (name), .number = (n), .shutdown_ns = S_NS                                           \
    }

/* ---- starting ------------------------------------------------------------------------------ */

PLAY(sup_start_normal) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    ck_assert(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
    end_supervisor(ctx, sup);
    ck_assert(!lives(stage, sup));
    expect_nothing(ctx, 20 * MS_NS);
}

PLAY(sup_start_ignore_child) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct child quiet = PLAIN("child1", 1);
    quiet.mode = WORKER_IGNORE;
    weft_pid first = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, quiet, &first), 0);
    ck_assert(weft_pid_is_none(first));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));

    ck_assert(weft_pid_is_none(child_pid(ctx, sup, "child1")));
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child2"), second));
    ck_assert(counts_are(ctx, sup, COUNTS(2, 1, 0, 2)));
    end_supervisor(ctx, sup);
    ck_assert(!lives(stage, second));
}

PLAY(sup_start_ignore_temporary_child) {
    struct child quiet = PLAIN("child1", 1);
    quiet.mode = WORKER_IGNORE;
    quiet.restart = WEFT_RESTART_TEMPORARY;
    struct child plain = PLAIN("child2", 2);
    plain.restart = WEFT_RESTART_TEMPORARY;
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ONE, 2);
    plan_add(stage, &plan, quiet);
    plan_add(stage, &plan, plain);
    weft_pid sup = plan_start(ctx, &plan);
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, "child1", NULL), -ENOENT);
    ck_assert(child_runs(ctx, sup, "child2"));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));

    /* The same when it is added. */
    weft_pid none = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, quiet, &none), 0);
    ck_assert(weft_pid_is_none(none));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    end_supervisor(ctx, sup);
}

PLAY(sup_start_ignore_simple) {
    static const uint32_t restarts[] = {WEFT_RESTART_TEMPORARY, WEFT_RESTART_PERMANENT};
    for (uint32_t i = 0; i < 2; i++) {
        struct child template = PLAIN("child", 1);
        template.restart = restarts[i];
        weft_pid sup = start_simple(ctx, stage, template, 2);
        struct child quiet = template;
        quiet.mode = WORKER_IGNORE;
        weft_pid none = weft_pid_none();
        ck_assert_int_eq(try_child(ctx, sup, quiet, &none), 0);
        ck_assert(weft_pid_is_none(none));
        (void)add_child(ctx, sup, template);
        ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
        end_supervisor(ctx, sup);
    }
}

/* What is wrong with a definition: one try each, and no trace of it. */
static void refused(weft_ctx *ctx, const weft_supervisor_def *def) {
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, def, &sup), -EINVAL);
    ck_assert(weft_pid_is_none(sup));
}

PLAY(sup_start_error_return) {
    struct plan plan;
    plan_init(&plan, 77, 2);
    plan_add(stage, &plan, PLAIN("child1", 1));
    refused(ctx, &plan.def);
    expect_nothing(ctx, 100 * MS_NS);
    ck_assert_uint_eq(stage_note_count(stage), 0);
}

/* The second of three children cannot start: the first is stopped, the third never started, and
 * the linked starter hears that the supervisor has ended. */
PLAY(sup_start_child_fails) {
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ONE, 2);
    struct child wrong = PLAIN("child2", 2);
    wrong.mode = WORKER_REFUSE;
    wrong.reason = -ENOTSUP;
    plan_add(stage, &plan, PLAIN("child1", 1));
    plan_add(stage, &plan, wrong);
    plan_add(stage, &plan, PLAIN("child3", 3));
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, &plan.def, &sup), 0);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    stage_notes_are(stage, 0, "+1-1");
    expect_nothing(ctx, 20 * MS_NS);
}

PLAY(sup_start_child_returns_error) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct child wrong = PLAIN("child1", 1);
    wrong.mode = WORKER_REFUSE;
    weft_pid none = weft_pid_none();
    wrong.reason = -ENOTSUP;
    ck_assert_int_eq(try_child(ctx, sup, wrong, &none), -ENOTSUP);
    wrong.reason = WEFT_E_REMOTE;
    ck_assert_int_eq(try_child(ctx, sup, wrong, &none), WEFT_E_REMOTE);
    ck_assert(weft_pid_is_none(none));
    ck_assert(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
    (void)add_child(ctx, sup, PLAIN("child1", 1));
    end_supervisor(ctx, sup);
}

PLAY(sup_start_restart_child_returns_error) {
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ONE, 2);
    plan_add(stage, &plan, PLAIN("child1", 1));
    weft_pid sup = plan_start(ctx, &plan);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    stage->mood = -ENOTSUP;
    weft_store32_release(&stage->failures[1], 1);
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), -ENOTSUP);
    ck_assert(!child_runs(ctx, sup, "child1"));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), 0);
    ck_assert(child_runs(ctx, sup, "child1"));
    end_supervisor(ctx, sup);
}

PLAY(sup_start_child_returns_error_simple) {
    weft_pid sup = start_simple(ctx, stage, PLAIN("child", 1), 2);
    struct child wrong = PLAIN("child", 1);
    wrong.mode = WORKER_REFUSE;
    wrong.reason = -ENOTSUP;
    weft_pid none = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, wrong, &none), -ENOTSUP);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    end_supervisor(ctx, sup);
}

/* What a child's specification says, with the defaults filled in. */
static weft_supervisor_answer spec_of(weft_ctx *ctx, weft_pid sup, const char *id) {
    weft_supervisor_answer answer = {0};
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, id, &answer), 0);
    return answer;
}

PLAY(sup_start_map) {
    weft_supervisor_def below = {.struct_size = WEFT_SUPERVISOR_DEF_INIT};
    weft_child_spec specs[3] = {
        {.struct_size = WEFT_CHILD_SPEC_INIT, .id = "child1", .type = stage->worker},
        {.struct_size = WEFT_CHILD_SPEC_INIT,
         .id = "child2",
         .type = stage->worker,
         .shutdown_ns = WEFT_SHUTDOWN_KILL},
        {.struct_size = WEFT_CHILD_SPEC_INIT, .id = "child3", .supervisor = &below}};
    weft_supervisor_def def = {
        .struct_size = WEFT_SUPERVISOR_DEF_INIT, .children = specs, .child_count = 3};
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), 0);
    weft_supervisor_answer first = spec_of(ctx, sup, "child1");
    ck_assert_uint_eq(first.restart, WEFT_RESTART_PERMANENT);
    ck_assert_uint_eq(first.shutdown_ns, 5 * S_NS);
    ck_assert(!first.is_supervisor);
    ck_assert(!first.significant);
    weft_supervisor_answer second = spec_of(ctx, sup, "child2");
    ck_assert_uint_eq(second.shutdown_ns, WEFT_SHUTDOWN_KILL);
    weft_supervisor_answer third = spec_of(ctx, sup, "child3");
    ck_assert_uint_eq(third.shutdown_ns, WEFT_SHUTDOWN_FOREVER);
    ck_assert(third.is_supervisor);
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, "child4", NULL), -ENOENT);

    /* One restart in 5 s. */
    end_worker(ctx, first.pid, HOW_NORMAL);
    until(child_renewed(ctx, sup, "child1", first.pid));
    end_worker(ctx, child_pid(ctx, sup, "child1"), HOW_CRASH);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
}

PLAY(sup_start_map_simple) {
    weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT,
                            .type = stage->worker,
                            .restart = WEFT_RESTART_TEMPORARY};
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_SIMPLE_ONE_FOR_ONE,
                               .children = &spec,
                               .child_count = 1};
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), 0);
    for (uint32_t i = 0; i < 3; i++) {
        weft_pid pid = add_child(ctx, sup, PLAIN("child", 1));
        weft_supervisor_answer answer = {0};
        ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, pid, &answer), 0);
        ck_assert(weft_pid_equal(answer.pid, pid));
        ck_assert_uint_eq(answer.restart, WEFT_RESTART_TEMPORARY);
        ck_assert_uint_eq(answer.shutdown_ns, 5 * S_NS);
        ck_assert(!answer.is_supervisor);
        ck_assert(!answer.significant);
    }
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, weft_self(ctx), NULL), -ENOENT);
    end_supervisor(ctx, sup);
}

/* ---- stopping ------------------------------------------------------------------------------ */

PLAY(sup_stop_infinity) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct plan below;
    plan_init(&below, WEFT_ONE_FOR_ONE, 1);
    struct child lower = {
        .id = "child1", .supervisor = &below.def, .shutdown_ns = WEFT_SHUTDOWN_FOREVER};
    struct child worker = PLAIN("child2", 2);
    worker.shutdown_ns = WEFT_SHUTDOWN_FOREVER;
    worker.mode = WORKER_SLOW;
    worker.delay_ns = 50 * MS_NS;
    weft_pid first = add_child(ctx, sup, lower);
    weft_pid second = add_child(ctx, sup, worker);
    link_to(ctx, first);
    link_to(ctx, second);
    end_supervisor(ctx, sup);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    expect_exit(ctx, second, WEFT_E_SHUTDOWN);
}

PLAY(sup_stop_timeout) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct child deaf = PLAIN("child2", 2);
    deaf.mode = WORKER_STUBBORN;
    deaf.shutdown_ns = 50 * MS_NS;
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, deaf);
    link_to(ctx, first);
    link_to(ctx, second);
    uint64_t begin_ns = clock_ns();
    end_supervisor(ctx, sup);
    ck_assert_uint_ge(clock_ns() - begin_ns, 45 * MS_NS);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    expect_exit(ctx, second, WEFT_E_KILLED);
}

PLAY(sup_stop_timeout_dynamic) {
    struct child template = PLAIN("child", 1);
    template.process = true;
    template.restart = WEFT_RESTART_TEMPORARY;
    template.shutdown_ns = 50 * MS_NS;
    weft_pid sup = start_simple(ctx, stage, template, 2);
    weft_pid first = add_child(ctx, sup, template);
    template.mode = WORKER_STUBBORN;
    weft_pid second = add_child(ctx, sup, template);
    link_to(ctx, first);
    link_to(ctx, second);
    end_supervisor(ctx, sup);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    expect_exit(ctx, second, WEFT_E_KILLED);
}

PLAY(sup_stop_brutal_kill) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    struct child brutal = PLAIN("child2", 2);
    brutal.shutdown_ns = WEFT_SHUTDOWN_KILL;
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    weft_pid second = add_child(ctx, sup, brutal);
    link_to(ctx, first);
    link_to(ctx, second);
    end_supervisor(ctx, sup);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    expect_exit(ctx, second, WEFT_E_KILLED);
}

PLAY(sup_stop_brutal_kill_dynamic) {
    enum { COUNT = 10 };
    struct child template = PLAIN("child", 1);
    template.restart = WEFT_RESTART_TEMPORARY;
    template.shutdown_ns = WEFT_SHUTDOWN_KILL;
    weft_pid sup = start_simple(ctx, stage, template, 2);
    weft_pid pids[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = add_child(ctx, sup, template);
        link_to(ctx, pids[i]);
    }
    end_supervisor(ctx, sup);
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_exit(ctx, pids[i], WEFT_E_KILLED);
    }
}

/* The last child takes a second to end; meanwhile twelve others end by themselves. */
PLAY(sup_stop_race) {
    enum { COUNT = 12 };
    static const int reasons[] = {0, WEFT_E_SHUTDOWN, CRASH, -EPERM};
    char ids[COUNT][8];
    weft_pid pids[COUNT];
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    weft_pid first = add_child(ctx, sup, PLAIN("a", 1));
    link_to(ctx, first);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m%u", i);
        struct child child = PLAIN(ids[i], 2);
        child.restart = i % 3;
        child.mode = WORKER_REASON;
        child.reason = reasons[i / 3];
        pids[i] = add_child(ctx, sup, child);
        link_to(ctx, pids[i]);
    }
    struct child slow = PLAIN("z", 3);
    slow.mode = WORKER_SLOW;
    slow.delay_ns = S_NS;
    slow.shutdown_ns = PATIENCE_NS;
    weft_pid last = add_child(ctx, sup, slow);
    link_to(ctx, last);
    uint32_t noted = stage_note_count(stage);

    weft_reason shutdown = {.code = WEFT_E_SHUTDOWN};
    ck_assert_int_eq(weft_exit_signal(ctx, sup, &shutdown), 0);
    ck_assert_int_eq(weft_sleep(ctx, 50 * MS_NS), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(weft_exit_signal(ctx, pids[i], &shutdown), 0);
        expect_exit(ctx, pids[i], reasons[i / 3]);
    }
    ck_assert(lives(stage, last));
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
    expect_exit(ctx, last, WEFT_E_SHUTDOWN);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(stage_note_count(stage), noted + COUNT + 2);
    expect_nothing(ctx, 20 * MS_NS);
}

PLAY(sup_stop_non_shutdown_exit_dynamic) {
    static const int reasons[] = {0, WEFT_E_SHUTDOWN, CRASH, -EPERM};
    for (uint32_t restart = 0; restart < 3; restart++) {
        struct child template = PLAIN("child", 1);
        template.restart = restart;
        template.mode = WORKER_REASON;
        weft_pid sup = start_simple(ctx, stage, template, 2);
        weft_pid pids[4];
        for (uint32_t i = 0; i < 4; i++) {
            template.reason = reasons[i];
            pids[i] = add_child(ctx, sup, template);
            link_to(ctx, pids[i]);
        }
        end_supervisor(ctx, sup);
        for (uint32_t i = 0; i < 4; i++) {
            expect_exit(ctx, pids[i], reasons[i]);
        }
    }
    expect_nothing(ctx, 20 * MS_NS);
}

/* A child that has unlinked itself is stopped by a monitor. */
PLAY(child_unlink) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    weft_pid child = add_child(ctx, sup, PLAIN("naughty", 1));
    link_to(ctx, child);
    ck_assert_int_eq(weft_send(ctx, child, TAG_UNLINK, NULL, 0), 0);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_call_wait(ctx, child, TAG_PING, NULL, 0, PATIENCE_NS, &reply), 0);
    weft_msg_release(ctx, &reply);
    ck_assert_int_eq(terminate_child(ctx, sup, "naughty"), 0);
    expect_exit(ctx, child, WEFT_E_SHUTDOWN);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
    end_supervisor(ctx, sup);
}

/* ---- the order of things ------------------------------------------------------------------- */

PLAY(order_of_children) {
    static const char *const ids[] = {"ch7", "ch3", "ch10", "ch2", "ch5"};
    struct plan plan;
    plan_init(&plan, WEFT_REST_FOR_ONE, 2);
    for (uint32_t i = 0; i < 5; i++) {
        struct child child = PLAIN(ids[i], i + 1);
        /* Those who end first take longest: so an order that is not waited for would show. */
        child.mode = WORKER_SLOW;
        child.delay_ns = (i + 1) * 5 * MS_NS;
        plan_add(stage, &plan, child);
    }
    weft_pid sup = plan_start(ctx, &plan);
    stage_notes_are(stage, 0, "+1+2+3+4+5");
    weft_pid third = child_pid(ctx, sup, "ch10");
    end_worker(ctx, third, HOW_CRASH);
    until(stage_note_count(stage) == 11);
    stage_notes_are(stage, 5, "-3-5-4+3+4+5");
    for (uint32_t i = 0; i < 5; i++) {
        weft_supervisor_answer answer = {0};
        ck_assert(child_at(ctx, sup, i, &answer));
        ck_assert(strcmp(answer.id, ids[i]) == 0);
    }
    end_supervisor(ctx, sup);
    stage_notes_are(stage, 11, "-5-4-3-2-1");
}

/* ---- many ---------------------------------------------------------------------------------- */

enum { TRIES = 5 }; /* of what depends on how busy the machine is */

/* How long it takes to start and to stop count children of a simple supervisor, one by one. */
static uint64_t time_simple(weft_ctx *ctx, weft_pid sup, struct child template, uint32_t count) {
    weft_pid *pids = calloc(count, sizeof(*pids));
    ck_assert_ptr_nonnull(pids);
    for (uint32_t i = 0; i < count; i++) {
        pids[i] = add_child(ctx, sup, template);
    }
    uint64_t begin_ns = clock_ns();
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, pids[i], NULL), 0);
    }
    uint64_t took_ns = clock_ns() - begin_ns;
    free(pids);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    return took_ns;
}

PLAY(scale_simple) {
    struct child template = PLAIN("child", 1);
    template.restart = WEFT_RESTART_TEMPORARY;
    weft_pid sup = start_simple(ctx, stage, template, 2);
    uint64_t few_ns = 0;
    uint64_t many_ns = UINT64_MAX;
    /* Again when the machine was busy. */
    for (uint32_t i = 0; i < TRIES && many_ns >= 50 * few_ns; i++) {
        few_ns = time_simple(ctx, sup, template, 1000);
        many_ns = time_simple(ctx, sup, template, 10000);
    }
    ck_assert_msg(many_ns < 50 * few_ns, "1,000: %llu ns, 10,000: %llu ns",
                  (unsigned long long)few_ns, (unsigned long long)many_ns);
    end_supervisor(ctx, sup);
}

static void time_by_id(weft_ctx *ctx, uint32_t count, uint64_t *ret_start, uint64_t *ret_stop) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    char id[16];
    uint64_t begin_ns = clock_ns();
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)add_child(ctx, sup, PLAIN(id, 1));
    }
    uint64_t middle_ns = clock_ns();
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        ck_assert_int_eq(terminate_child(ctx, sup, id), 0);
    }
    *ret_start = middle_ns - begin_ns;
    *ret_stop = clock_ns() - middle_ns;
    ck_assert(counts_are(ctx, sup, COUNTS(count, 0, 0, count)));
    end_supervisor(ctx, sup);
}

PLAY(scale_start_stop_many_children) {
    enum { FEW = 500, MANY = 20 * FEW };
    uint64_t few[2];
    uint64_t many[2];
    bool linear = false;
    for (uint32_t i = 0; i < TRIES && !linear; i++) {
        time_by_id(ctx, FEW, &few[0], &few[1]);
        time_by_id(ctx, MANY, &many[0], &many[1]);
        linear = many[0] < 200 * few[0] && many[1] < 200 * few[1];
    }
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_msg(many[i] < 200 * few[i], "%u: %llu ns, %u: %llu ns", FEW,
                      (unsigned long long)few[i], MANY, (unsigned long long)many[i]);
    }
}

static void add_many(weft_ctx *ctx, weft_pid sup, struct child template, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        (void)add_child(ctx, sup, template);
    }
}

static void kill_all(weft_ctx *ctx, weft_pid sup, uint32_t count) {
    weft_pid *pids = calloc(count, sizeof(*pids));
    ck_assert_ptr_nonnull(pids);
    for (uint32_t i = 0; i < count; i++) {
        weft_supervisor_answer answer = {0};
        ck_assert(child_at(ctx, sup, i, &answer));
        pids[i] = answer.pid;
    }
    for (uint32_t i = 0; i < count; i++) {
        end_worker(ctx, pids[i], HOW_KILL);
    }
    free(pids);
}

PLAY(count_children) {
    struct child template = PLAIN("child", 1);
    template.restart = WEFT_RESTART_TEMPORARY;
    weft_pid sup = start_simple(ctx, stage, template, 2);
    add_many(ctx, sup, template, 1000);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1000, 0, 1000)));
    add_many(ctx, sup, template, 1000);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 2000, 0, 2000)));
    kill_all(ctx, sup, 2000);
    until(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    end_supervisor(ctx, sup);
}

PLAY(count_children_supervisor) {
    struct plan below;
    plan_init(&below, WEFT_ONE_FOR_ONE, 1);
    struct child template = {.id = "child",
                             .supervisor = &below.def,
                             .restart = WEFT_RESTART_TEMPORARY,
                             .shutdown_ns = WEFT_SHUTDOWN_FOREVER};
    weft_pid sup = start_simple(ctx, stage, template, 2);
    add_many(ctx, sup, template, 500);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 500, 500, 0)));
    kill_all(ctx, sup, 500);
    until(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    end_supervisor(ctx, sup);
}

int main(void) {
    Suite *suite = suite_create("otp_supervisor");
    ADD(suite, sup_start_normal);
    ADD(suite, sup_start_ignore_child);
    ADD(suite, sup_start_ignore_temporary_child);
    ADD(suite, sup_start_ignore_simple);
    ADD(suite, sup_start_error_return);
    ADD(suite, sup_start_child_fails);
    ADD(suite, sup_start_child_returns_error);
    ADD(suite, sup_start_restart_child_returns_error);
    ADD(suite, sup_start_child_returns_error_simple);
    ADD(suite, sup_start_map);
    ADD(suite, sup_start_map_simple);
    ADD(suite, sup_stop_infinity);
    ADD(suite, sup_stop_timeout);
    ADD(suite, sup_stop_timeout_dynamic);
    ADD(suite, sup_stop_brutal_kill);
    ADD(suite, sup_stop_brutal_kill_dynamic);
    ADD(suite, sup_stop_race);
    ADD(suite, sup_stop_non_shutdown_exit_dynamic);
    ADD(suite, child_unlink);
    ADD(suite, order_of_children);
    ADD(suite, scale_simple);
    ADD(suite, scale_start_stop_many_children);
    ADD(suite, count_children);
    ADD(suite, count_children_supervisor);
    return run_suite(suite);
}
