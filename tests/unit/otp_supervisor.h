/* SPDX-License-Identifier: MIT
 *
 * What the ports of supervisor_SUITE share: supervisors of workers, and asking them.
 */
#ifndef WEFT_TESTS_UNIT_OTP_SUPERVISOR_H
#define WEFT_TESTS_UNIT_OTP_SUPERVISOR_H

#include "tests/unit/otp_support.h"

enum { CHILDREN_MAX = 16 };

/* One child of a test: a worker, unless supervisor is set. */
struct child {
    const char *id;
    uint32_t number;
    uint32_t mode;
    uint32_t restart;
    uint64_t shutdown_ns;
    uint64_t delay_ns;
    int reason;
    bool significant;
    bool process; /* also when its mode does not ask for it: the template of a simple one */
    const weft_supervisor_def *supervisor;
};

static inline const weft_type *child_type(const struct stage *stage, const struct child *child) {
    bool traps = child->mode >= WORKER_TRAPS && child->mode <= WORKER_REASON;
    return child->process || traps ? stage->worker_process : stage->worker;
}

static inline struct worker_arg child_arg(const struct child *child) {
    return (struct worker_arg){.number = child->number,
                               .mode = child->mode,
                               .reason = child->reason,
                               .delay_ns = child->delay_ns};
}

static inline weft_child_spec child_spec(struct stage *stage, const struct child *child,
                                         const struct worker_arg *arg) {
    return (weft_child_spec){
        .struct_size = WEFT_CHILD_SPEC_INIT,
        .id = child->id,
        .type = child->supervisor == NULL ? child_type(stage, child) : NULL,
        .supervisor = child->supervisor,
        .arg = child->supervisor == NULL ? arg : NULL,
        .arg_size = child->supervisor == NULL ? sizeof(*arg) : 0,
        .restart = child->restart,
        .shutdown_ns = child->shutdown_ns,
        .significant = child->significant,
    };
}

/* A definition with the memory it needs, for one call. */
struct plan {
    weft_supervisor_def def;
    weft_child_spec specs[CHILDREN_MAX];
    struct worker_arg args[CHILDREN_MAX];
};

static inline void plan_init(struct plan *plan, uint32_t strategy, uint32_t intensity) {
    memset(plan, 0, sizeof(*plan));
    plan->def = (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                                      .strategy = strategy,
                                      .intensity = intensity,
                                      .period_ns = 3600 * S_NS,
                                      .children = plan->specs};
}

static inline void plan_add(struct stage *stage, struct plan *plan, struct child child) {
    uint32_t at = plan->def.child_count++;
    ck_assert_uint_lt(at, CHILDREN_MAX);
    plan->args[at] = child_arg(&child);
    plan->specs[at] = child_spec(stage, &child, &plan->args[at]);
}

/* A supervisor whose children have started. */
static inline weft_pid plan_start(weft_ctx *ctx, const struct plan *plan) {
    weft_pid sup = weft_pid_none();
    ck_assert_int_eq(weft_supervisor_start(ctx, &plan->def, &sup), 0);
    weft_supervisor_request request = {.struct_size = WEFT_SUPERVISOR_REQUEST_INIT,
                                       .verb = WEFT_SUPERVISOR_COUNT};
    weft_supervisor_answer answer = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    ck_assert_int_eq(weft_supervisor_call_wait(ctx, sup, &request, PATIENCE_NS, &answer), 0);
    return sup;
}

/* One without children, or a simple one with this template. */
static inline weft_pid start_empty(weft_ctx *ctx, uint32_t strategy, uint32_t intensity) {
    struct plan plan;
    plan_init(&plan, strategy, intensity);
    return plan_start(ctx, &plan);
}

static inline weft_pid start_simple(weft_ctx *ctx, struct stage *stage, struct child child,
                                    uint32_t intensity) {
    struct plan plan;
    plan_init(&plan, WEFT_SIMPLE_ONE_FOR_ONE, intensity);
    plan_add(stage, &plan, child);
    return plan_start(ctx, &plan);
}

/* ---- asking -------------------------------------------------------------------------------- */

static inline int ask_with(weft_ctx *ctx, weft_pid sup, const weft_supervisor_request *request,
                           weft_supervisor_answer *answer) {
    weft_supervisor_answer unused;
    weft_supervisor_answer *into = answer == NULL ? &unused : answer;
    *into = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_supervisor_call_wait(ctx, sup, request, PATIENCE_NS, into);
}

static inline int ask_id(weft_ctx *ctx, weft_pid sup, uint32_t verb, const char *id,
                         weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .id = id};
    return ask_with(ctx, sup, &request, answer);
}

static inline int ask_pid(weft_ctx *ctx, weft_pid sup, uint32_t verb, weft_pid pid,
                          weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .pid = pid};
    return ask_with(ctx, sup, &request, answer);
}

static inline int terminate_child(weft_ctx *ctx, weft_pid sup, const char *id) {
    return ask_id(ctx, sup, WEFT_SUPERVISOR_TERMINATE, id, NULL);
}

static inline int delete_child(weft_ctx *ctx, weft_pid sup, const char *id) {
    return ask_id(ctx, sup, WEFT_SUPERVISOR_DELETE, id, NULL);
}

static inline int restart_child(weft_ctx *ctx, weft_pid sup, const char *id, weft_pid *ret_pid) {
    weft_supervisor_answer answer = {0};
    int result = ask_id(ctx, sup, WEFT_SUPERVISOR_RESTART, id, &answer);
    if (ret_pid != NULL) {
        *ret_pid = answer.pid;
    }
    return result;
}

static inline int try_child(weft_ctx *ctx, weft_pid sup, struct child child, weft_pid *ret_pid) {
    struct worker_arg arg = child_arg(&child);
    weft_child_spec spec = child_spec(stage_of(ctx), &child, &arg);
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_START, .spec = &spec};
    weft_supervisor_answer answer = {0};
    int result = ask_with(ctx, sup, &request, &answer);
    *ret_pid = answer.pid;
    return result;
}

/* Adds a child that starts. */
static inline weft_pid add_child(weft_ctx *ctx, weft_pid sup, struct child child) {
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(try_child(ctx, sup, child, &pid), 0);
    ck_assert(!weft_pid_is_none(pid));
    return pid;
}

/* The pid of a child, none when it is without. */
static inline weft_pid child_pid(weft_ctx *ctx, weft_pid sup, const char *id) {
    weft_supervisor_answer answer = {0};
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, id, &answer), 0);
    return answer.pid;
}

/* Running, stopped or restarting. */
static inline uint32_t child_state(weft_ctx *ctx, weft_pid sup, const char *id) {
    weft_supervisor_answer answer = {0};
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_WHICH, id, &answer), 0);
    ck_assert(weft_pid_is_none(answer.pid) == (answer.state != WEFT_CHILD_RUNNING));
    return answer.state;
}

static inline bool child_runs(weft_ctx *ctx, weft_pid sup, const char *id) {
    return !weft_pid_is_none(child_pid(ctx, sup, id));
}

/* Child number index in the order of starting; false when there are no more. */
static inline bool child_at(weft_ctx *ctx, weft_pid sup, uint32_t index,
                            weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_WHICH, .index = index};
    int result = ask_with(ctx, sup, &request, answer);
    ck_assert(result == 0 || result == -ENOENT);
    return result == 0;
}

/* Is there a child under this id that runs, other than old? */
static inline bool child_renewed(weft_ctx *ctx, weft_pid sup, const char *id, weft_pid old) {
    weft_pid pid = child_pid(ctx, sup, id);
    return !weft_pid_is_none(pid) && !weft_pid_equal(pid, old);
}

struct counts {
    uint32_t specs;
    uint32_t active;
    uint32_t supervisors;
    uint32_t workers;
};

static inline struct counts counts_of(weft_ctx *ctx, weft_pid sup) {
    weft_supervisor_answer answer = {0};
    ck_assert_int_eq(ask_id(ctx, sup, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    return (struct counts){.specs = answer.specs,
                           .active = answer.active,
                           .supervisors = answer.supervisors,
                           .workers = answer.workers};
}

static inline bool counts_are(weft_ctx *ctx, weft_pid sup, struct counts expected) {
    struct counts now = counts_of(ctx, sup);
    return now.specs == expected.specs && now.active == expected.active &&
           now.supervisors == expected.supervisors && now.workers == expected.workers;
}

#define COUNTS(s, a, v, w)                                                                         \
    ((struct counts){.specs = (s), .active = (a), .supervisors = (v), .workers = (w)})

/* Ends a supervisor as its parent does, and waits for it. */
static inline void end_supervisor(weft_ctx *ctx, weft_pid sup) {
    weft_reason reason = {.code = WEFT_E_SHUTDOWN};
    ck_assert_int_eq(weft_exit_signal(ctx, sup, &reason), 0);
    expect_exit(ctx, sup, WEFT_E_SHUTDOWN);
}

static inline void link_to(weft_ctx *ctx, weft_pid pid) {
    ck_assert_int_eq(weft_link(ctx, pid), 0);
}

#endif
