/* SPDX-License-Identifier: MIT
 *
 * supervisor_SUITE, second part: adding, stopping, starting again, deleting, listing and counting
 * children, and what is refused. The cases are explained in docs/otp-conformance.md.
 */
#include "tests/unit/otp_supervisor.h"

#define PLAIN(name, n)                                                                             \
    (struct child) {                                                                               \
        .id = (name), .number = (n), .shutdown_ns = S_NS                                           \
    }

/* A living actor that is nobody's child. */
static weft_pid stranger(weft_ctx *ctx, struct stage *stage) {
    struct worker_arg arg = {.number = 9};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn(ctx, stage->worker, &arg, sizeof(arg), &pid), 0);
    return pid;
}

/* A pid that was given out and whose actor has ended. */
static weft_pid dead(weft_ctx *ctx, struct stage *stage) {
    weft_pid pid = stranger(ctx, stage);
    end_worker(ctx, pid, HOW_KILL);
    return pid;
}

PLAY(child_adm) {
    struct plan plan;
    plan_init(&plan, WEFT_ONE_FOR_ONE, 2);
    struct child child = PLAIN("child1", 1);
    plan_add(stage, &plan, child);
    weft_pid sup = plan_start(ctx, &plan);
    weft_pid first = child_pid(ctx, sup, "child1");
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    link_to(ctx, first);
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), -EEXIST);
    ck_assert(weft_pid_equal(pid, first));

    ck_assert_int_eq(terminate_child(ctx, sup, "hej"), -ENOENT);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    ck_assert(!child_runs(ctx, sup, "child1"));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), -EALREADY);

    weft_pid second = weft_pid_none();
    ck_assert_int_eq(restart_child(ctx, sup, "child1", &second), 0);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), second));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), -EEXIST);
    ck_assert_int_eq(restart_child(ctx, sup, "child2", NULL), -ENOENT);

    ck_assert_int_eq(delete_child(ctx, sup, "child1"), -EBUSY);
    ck_assert_int_eq(delete_child(ctx, sup, "hej"), -ENOENT);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(delete_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(restart_child(ctx, sup, "child1", NULL), -ENOENT);
    ck_assert(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));

    weft_pid third = add_child(ctx, sup, child);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    /* By pid only where children have no id. */
    ck_assert(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, third, NULL) < 0);
    ck_assert(lives(stage, third));
    end_supervisor(ctx, sup);

    /* Nobody to ask. */
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_COUNT, NULL, NULL), WEFT_E_NOPROC);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), WEFT_E_NOPROC);
    ck_assert_int_eq(delete_child(ctx, sup, "child1"), WEFT_E_NOPROC);
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), WEFT_E_NOPROC);
}

PLAY(child_adm_simple) {
    struct child template = PLAIN("child", 1);
    weft_pid sup = start_simple(ctx, stage, template, 2);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 0)));
    weft_pid first = add_child(ctx, sup, template);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    weft_pid second = add_child(ctx, sup, template);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 2, 0, 2)));

    ck_assert_int_eq(terminate_child(ctx, sup, "child"), -EPERM);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 2, 0, 2)));
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, first, NULL), 0);
    ck_assert(!lives(stage, first));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    /* One that has ended already is as good as stopped; one that is alive must be a child. */
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, first, NULL), 0);
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, dead(ctx, stage), NULL), 0);
    weft_pid other = stranger(ctx, stage);
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, other, NULL), -ENOENT);
    ck_assert(lives(stage, other));
    ck_assert(lives(stage, second));
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));

    ck_assert_int_eq(restart_child(ctx, sup, "child", NULL), -EPERM);
    ck_assert_int_eq(delete_child(ctx, sup, "child"), -EPERM);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    end_supervisor(ctx, sup);
    end_worker(ctx, other, HOW_NORMAL);
}

/* A start function of the program's own: spawns a worker linked to the supervisor. */
struct own_start {
    weft_atomic_u32 calls;
    int result;
    struct stage *stage;
};

static int start_own(weft_ctx *ctx, const void *arg, size_t arg_size, void *cookie,
                     weft_pid *ret_pid) {
    struct own_start *own = cookie;
    (void)weft_add32_acq_rel(&own->calls, 1);
    if (own->result != 0) {
        return own->result;
    }
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = arg,
                                  .arg_size = arg_size,
                                  .flags = WEFT_SPAWN_LINK};
    return weft_spawn_with(ctx, own->stage->worker, &options, ret_pid);
}

static weft_child_spec own_spec(struct own_start *own, const struct worker_arg *arg) {
    return (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                             .id = "child1",
                             .start = start_own,
                             .cookie = own,
                             .arg = arg,
                             .arg_size = sizeof(*arg),
                             .shutdown_ns = S_NS};
}

static int add_own(weft_ctx *ctx, weft_pid sup, struct own_start *own, weft_pid *ret_pid) {
    struct worker_arg arg = {.number = 1};
    weft_child_spec spec = own_spec(own, &arg);
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_START, .spec = &spec};
    weft_supervisor_answer answer = {0};
    int result = ask_with(ctx, sup, &request, &answer);
    *ret_pid = answer.pid;
    return result;
}

PLAY(extra_return) {
    struct own_start own = {.stage = stage};
    struct worker_arg arg = {.number = 1};
    weft_child_spec spec = own_spec(&own, &arg);
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .intensity = 2,
                               .period_ns = 3600 * S_NS,
                               .children = &spec,
                               .child_count = 1};
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), 0);
    weft_pid first = child_pid(ctx, sup, "child1");
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    link_to(ctx, first);
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    expect_exit(ctx, first, WEFT_E_SHUTDOWN);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 0, 0, 1)));
    weft_pid second = weft_pid_none();
    ck_assert_int_eq(restart_child(ctx, sup, "child1", &second), 0);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), second));
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    ck_assert_int_eq(delete_child(ctx, sup, "child1"), 0);

    weft_pid third = weft_pid_none();
    own.result = -ENOTSUP;
    ck_assert_int_eq(add_own(ctx, sup, &own, &third), -ENOTSUP);
    own.result = 0;
    ck_assert_int_eq(add_own(ctx, sup, &own, &third), 0);
    ck_assert(counts_are(ctx, sup, COUNTS(1, 1, 0, 1)));
    end_worker(ctx, third, HOW_CRASH);
    until(child_renewed(ctx, sup, "child1", third));
    ck_assert_uint_eq(weft_load32_acquire(&own.calls), 5);
    end_supervisor(ctx, sup);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static const char too_long[65] = "0123456789012345678901234567890123456789012345678901234567890123";

/* Specification number index that is wrong; false after the last. */
static bool wrong_spec(struct stage *stage, uint32_t index, weft_child_spec *ret_spec) {
    weft_child_spec spec = {
        .struct_size = WEFT_CHILD_SPEC_INIT, .id = "child", .type = stage->worker};
    switch (index) {
    case 0:
        spec.id = NULL;
        break;
    case 1:
        spec.id = "";
        break;
    case 2:
        spec.id = too_long;
        break;
    case 3:
        spec.type = NULL; /* nothing to start */
        break;
    case 4:
        spec.start = start_own; /* two things to start */
        break;
    case 5:
        spec.restart = 3;
        break;
    case 6:
        spec.struct_size = 1;
        break;
    case 7:
        spec.arg_size = 8; /* of no argument */
        break;
    default:
        return false;
    }
    *ret_spec = spec;
    return true;
}

static int start_with(weft_ctx *ctx, uint32_t strategy, const weft_child_spec *specs,
                      uint32_t count) {
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = strategy,
                               .intensity = 2,
                               .period_ns = 3600 * S_NS,
                               .children = specs,
                               .child_count = count};
    weft_pid sup = weft_pid_none();
    int result = weft_supervisor_start(ctx, &def, &sup);
    if (result == 0) {
        end_supervisor(ctx, sup);
    }
    return result;
}

PLAY(child_specs) {
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 2);
    weft_child_spec spec;
    for (uint32_t i = 0; wrong_spec(stage, i, &spec); i++) {
        weft_supervisor_request request = {.struct_size = WEFT_SUPERVISOR_REQUEST_INIT,
                                           .verb = WEFT_SUPERVISOR_START,
                                           .spec = &spec};
        int result = ask_with(ctx, sup, &request, NULL);
        ck_assert_msg(result == -EINVAL, "wrong specification %u: added, %d", i, result);
        result = start_with(ctx, WEFT_ONE_FOR_ONE, &spec, 1);
        ck_assert_msg(result == -EINVAL, "wrong specification %u: started with, %d", i, result);
    }
    ck_assert(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
    end_supervisor(ctx, sup);

    /* All right ones, with every combination of restart and shutdown. */
    static const uint64_t shutdowns[] = {WEFT_SHUTDOWN_DEFAULT, WEFT_SHUTDOWN_KILL, 2, 1000 * MS_NS,
                                         WEFT_SHUTDOWN_FOREVER};
    weft_child_spec right[2] = {
        {.struct_size = WEFT_CHILD_SPEC_INIT, .id = "child", .type = stage->worker},
        {.struct_size = WEFT_CHILD_SPEC_INIT, .id = "other", .type = stage->worker}};
    for (uint32_t i = 0; i < 15; i++) {
        right[0].restart = i % 3;
        right[0].shutdown_ns = shutdowns[i / 3];
        ck_assert_int_eq(start_with(ctx, WEFT_ONE_FOR_ONE, right, 2), 0);
    }

    /* One id twice; a simple supervisor has exactly one specification. */
    right[1].id = "child";
    ck_assert_int_eq(start_with(ctx, WEFT_ONE_FOR_ONE, right, 2), -EINVAL);
    right[1].id = "other";
    ck_assert_int_eq(start_with(ctx, WEFT_SIMPLE_ONE_FOR_ONE, right, 0), -EINVAL);
    ck_assert_int_eq(start_with(ctx, WEFT_SIMPLE_ONE_FOR_ONE, right, 2), -EINVAL);
    ck_assert_int_eq(start_with(ctx, WEFT_SIMPLE_ONE_FOR_ONE, right, 1), 0);
    expect_nothing(ctx, 20 * MS_NS);
}

PLAY(sup_flags) {
    weft_supervisor_def good = {
        .struct_size = WEFT_SUPERVISOR_DEF_INIT, .intensity = 2, .period_ns = 3600 * S_NS};
    weft_pid sup = weft_pid_none();
    weft_supervisor_def def = good;
    def.strategy = WEFT_SIMPLE_ONE_FOR_ONE + 1;
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), -EINVAL);
    def = good;
    def.period_ns = 0;
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), -EINVAL);
    def = good;
    def.auto_shutdown = WEFT_AUTO_ALL + 1;
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), -EINVAL);
    def = good;
    def.child_count = 1; /* and no children */
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), -EINVAL);
    def = good;
    def.struct_size = 1;
    ck_assert_int_eq(weft_supervisor_start(ctx, &def, &sup), -EINVAL);
    ck_assert_int_eq(weft_supervisor_start(ctx, NULL, &sup), -EINVAL);
    ck_assert(weft_pid_is_none(sup));
    ck_assert_int_eq(weft_supervisor_start(ctx, &good, &sup), 0);
    end_supervisor(ctx, sup);
    expect_nothing(ctx, 20 * MS_NS);
}

/* ---- temporary children -------------------------------------------------------------------- */

/* How an end is brought about: one of enum how, or asking the supervisor. */
enum { BY_SUPERVISOR = 100 };

static void end_child(weft_ctx *ctx, weft_pid sup, const char *id, uint32_t how) {
    if (how == BY_SUPERVISOR) {
        ck_assert_int_eq(terminate_child(ctx, sup, id), 0);
    } else {
        end_worker(ctx, child_pid(ctx, sup, id), how);
    }
}

/* The id of an ended child: free when it was temporary, else taken, by a child that is stopped or
 * that was started again. */
static void spec_saved(weft_ctx *ctx, weft_pid sup, uint32_t restart, uint32_t how) {
    static const char *const ids[] = {"permanent", "transient", "temporary"};
    struct child child = PLAIN(ids[restart], 1);
    child.restart = restart;
    weft_pid pid = add_child(ctx, sup, child);
    end_child(ctx, sup, child.id, how);
    weft_pid other = weft_pid_none();
    if (restart == WEFT_RESTART_TEMPORARY) {
        until(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, child.id, NULL) == -ENOENT);
        ck_assert_int_eq(try_child(ctx, sup, child, &other), 0);
    } else if (how == BY_SUPERVISOR || (restart == WEFT_RESTART_TRANSIENT && how == HOW_NORMAL)) {
        until(!child_runs(ctx, sup, child.id));
        ck_assert_int_eq(try_child(ctx, sup, child, &other), -EALREADY);
        ck_assert_int_eq(restart_child(ctx, sup, child.id, NULL), 0);
    } else {
        until(child_renewed(ctx, sup, child.id, pid));
        ck_assert_int_eq(try_child(ctx, sup, child, &other), -EEXIST);
    }
}

PLAY(do_not_save_child_specs) {
    static const uint32_t strategies[] = {WEFT_ONE_FOR_ALL, WEFT_ONE_FOR_ONE, WEFT_REST_FOR_ONE};
    static const uint32_t hows[] = {HOW_KILL, HOW_NORMAL, HOW_CRASH, BY_SUPERVISOR};
    for (uint32_t i = 0; i < 12; i++) {
        weft_pid sup = start_empty(ctx, strategies[i % 3], 2);
        spec_saved(ctx, sup, WEFT_RESTART_PERMANENT, hows[i / 3]);
        spec_saved(ctx, sup, WEFT_RESTART_TRANSIENT, hows[i / 3]);
        spec_saved(ctx, sup, WEFT_RESTART_TEMPORARY, hows[i / 3]);
        end_supervisor(ctx, sup);
    }
}

/* Heap of the runtime that a supervisor keeps for 100 children with large arguments. */
static int64_t kept_bytes(weft_ctx *ctx, struct stage *stage, uint32_t strategy, uint32_t restart) {
    enum { COUNT = 100, BYTES = 4096 };
    unsigned char *arg = calloc(1, BYTES);
    ck_assert_ptr_nonnull(arg);
    char id[16];
    struct child child = PLAIN("child", 1);
    child.restart = restart;
    weft_pid sup = strategy == WEFT_SIMPLE_ONE_FOR_ONE ? start_simple(ctx, stage, child, 2)
                                                       : start_empty(ctx, strategy, 2);
    ck_assert(counts_of(ctx, sup).active == 0);
    int64_t before = (int64_t)rig_gauges(&stage->rig).heap_bytes;
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        struct worker_arg head = {.number = 1};
        memcpy(arg, &head, sizeof(head));
        child.id = id;
        weft_child_spec spec = child_spec(stage, &child, (const struct worker_arg *)(void *)arg);
        spec.arg_size = BYTES;
        weft_supervisor_request request = {.struct_size = WEFT_SUPERVISOR_REQUEST_INIT,
                                           .verb = WEFT_SUPERVISOR_START,
                                           .spec = &spec};
        ck_assert_int_eq(ask_with(ctx, sup, &request, NULL), 0);
    }
    int64_t kept = (int64_t)rig_gauges(&stage->rig).heap_bytes - before;
    end_supervisor(ctx, sup);
    free(arg);
    return kept;
}

PLAY(do_not_save_start_parameters) {
    for (uint32_t strategy = 0; strategy <= WEFT_SIMPLE_ONE_FOR_ONE; strategy++) {
        int64_t permanent = kept_bytes(ctx, stage, strategy, WEFT_RESTART_PERMANENT);
        int64_t transient = kept_bytes(ctx, stage, strategy, WEFT_RESTART_TRANSIENT);
        int64_t temporary = kept_bytes(ctx, stage, strategy, WEFT_RESTART_TEMPORARY);
        /* 100 arguments of 4 KiB, which the others must keep. */
        ck_assert_msg(temporary + 300000 < permanent && temporary + 300000 < transient,
                      "strategy %u: permanent %lld, transient %lld, temporary %lld", strategy,
                      (long long)permanent, (long long)transient, (long long)temporary);
    }
}

/* ---- listing ------------------------------------------------------------------------------- */

PLAY(already_started_outside_supervisor) {
    struct worker_arg arg = {.number = 1, .mode = WORKER_NAMED};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &arg,
                                  .arg_size = sizeof(arg),
                                  .flags = WEFT_SPAWN_LINK};
    weft_pid outside = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage->worker, &options, &outside), 0);
    until(!weft_pid_is_none(weft_name_whereis(stage->rig.runtime, "taken", 5)));
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 1);
    struct child child = PLAIN("child", 2);
    child.mode = WORKER_NAMED;
    child.restart = WEFT_RESTART_TRANSIENT;
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), -EEXIST);
    ck_assert(weft_pid_is_none(pid));
    ck_assert(counts_are(ctx, sup, COUNTS(0, 0, 0, 0)));
    end_supervisor(ctx, sup);
    ck_assert(lives(stage, outside));
    ck_assert(weft_pid_equal(weft_name_whereis(stage->rig.runtime, "taken", 5), outside));
    end_worker(ctx, outside, HOW_NORMAL);
    expect_exit(ctx, outside, 0);
}

/* Children are these, in the order of starting. */
static void children_are(weft_ctx *ctx, weft_pid sup, const char *const *ids, uint32_t count) {
    weft_supervisor_answer answer = {0};
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(child_at(ctx, sup, i, &answer));
        ck_assert(strcmp(answer.id, ids[i]) == 0);
        ck_assert(weft_pid_equal(answer.pid, child_pid(ctx, sup, ids[i])));
    }
    ck_assert(!child_at(ctx, sup, count, &answer));
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, "childx", NULL), -ENOENT);
}

PLAY(which_children) {
    static const char *const ids[] = {"child1", "child2"};
    weft_pid sup = start_empty(ctx, WEFT_ONE_FOR_ONE, 1);
    children_are(ctx, sup, ids, 0);
    weft_pid first = add_child(ctx, sup, PLAIN("child1", 1));
    children_are(ctx, sup, ids, 1);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child1"), first));
    weft_pid second = add_child(ctx, sup, PLAIN("child2", 2));
    children_are(ctx, sup, ids, 2);
    ck_assert(weft_pid_equal(child_pid(ctx, sup, "child2"), second));
    ck_assert_int_eq(terminate_child(ctx, sup, "child1"), 0);
    children_are(ctx, sup, ids, 2);
    ck_assert(!child_runs(ctx, sup, "child1"));
    ck_assert_int_eq(delete_child(ctx, sup, "child1"), 0);
    children_are(ctx, sup, ids + 1, 1);
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, "child1", NULL), -ENOENT);
    end_supervisor(ctx, sup);
}

/* Which of two children is listed: a bit each. */
static uint32_t listed(weft_ctx *ctx, weft_pid sup, const weft_pid *pids) {
    uint32_t found = 0;
    weft_supervisor_answer answer = {0};
    for (uint32_t i = 0; child_at(ctx, sup, i, &answer); i++) {
        ck_assert_uint_lt(i, 3);
        for (uint32_t j = 0; j < 2; j++) {
            found |= weft_pid_equal(answer.pid, pids[j]) ? 1U << j : 0;
        }
    }
    return found;
}

PLAY(which_children_simple_one_for_one) {
    struct child template = PLAIN("child", 1);
    template.restart = WEFT_RESTART_TEMPORARY;
    weft_pid sup = start_simple(ctx, stage, template, 1);
    weft_pid pids[2] = {weft_self(ctx), weft_self(ctx)};
    ck_assert_uint_eq(listed(ctx, sup, pids), 0);
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, weft_self(ctx), NULL), -ENOENT);
    pids[0] = add_child(ctx, sup, template);
    ck_assert_uint_eq(listed(ctx, sup, pids), 1);
    pids[1] = add_child(ctx, sup, template);
    ck_assert_uint_eq(listed(ctx, sup, pids), 3);
    for (uint32_t i = 0; i < 2; i++) {
        weft_supervisor_answer answer = {0};
        ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, pids[i], &answer), 0);
        ck_assert(weft_pid_equal(answer.pid, pids[i]));
    }
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_TERMINATE, pids[0], NULL), 0);
    ck_assert_uint_eq(listed(ctx, sup, pids), 2);
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, pids[0], NULL), -ENOENT);
    ck_assert_int_eq(ask_pid(ctx, sup, WEFT_SUPERVISOR_WHICH, weft_self(ctx), NULL), -ENOENT);
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, "child", NULL), -EPERM);
    end_supervisor(ctx, sup);
}

int main(void) {
    Suite *suite = suite_create("otp_supervisor_admin");
    ADD(suite, child_adm);
    ADD(suite, child_adm_simple);
    ADD(suite, extra_return);
    ADD(suite, child_specs);
    ADD(suite, sup_flags);
    ADD(suite, do_not_save_child_specs);
    ADD(suite, do_not_save_start_parameters);
    ADD(suite, already_started_outside_supervisor);
    ADD(suite, which_children);
    ADD(suite, which_children_simple_one_for_one);
    return run_suite(suite);
}
