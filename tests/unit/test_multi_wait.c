/* SPDX-License-Identifier: MIT
 *
 * Calls to many from processes, which wait until all have answered: every answer in its place, and
 * nothing else touched. From handlers: test_multi.c.
 */
#include "tests/unit/multi_support.h"

/* ---- from processes ------------------------------------------------------------------------ */

/* What a process of a test does. */
typedef void (*body_fn)(weft_ctx *ctx, void *arg);
struct body {
    body_fn fn;
    void *arg;
    weft_atomic_u32 *done;
};

static int body_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct body body;
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(body));
    memcpy(&body, arg, sizeof(body));
    body.fn(ctx, body.arg);
    weft_store32_release(body.done, 1);
    return WEFT_CONTINUE;
}

static weft_pid body_spawn(struct park *park, const struct body *body) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "body", .process = body_run};
    const weft_type *type = weft_type_find(park->rig.runtime, "body");
    if (type == NULL) {
        type = rig_type(&park->rig, &def);
    }
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = body, .arg_size = sizeof(*body)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(park->rig.runtime, type, &options, &pid), 0);
    return pid;
}

/* Runs fn as a process and waits for its end. */
static void run(struct park *park, body_fn fn, void *arg) {
    weft_atomic_u32 done = {0};
    struct body body = {.fn = fn, .arg = arg, .done = &done};
    weft_pid pid = body_spawn(park, &body);
    eventually(weft_load32_acquire(&done) == 1);
    eventually(!is_alive(&park->rig, pid));
}

static void check_answer(weft_ctx *ctx, weft_multi_result *result, uint32_t number,
                         uint32_t first) {
    ck_assert_int_eq(result->status, 0);
    struct answer answer = answer_of(weft_msg_data(result->reply), weft_msg_size(result->reply));
    ck_assert_uint_eq(answer.number, number);
    ck_assert_uint_eq(answer.first, first);
    weft_msg_release(ctx, &result->reply);
}

static void wait_in_order(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_multi_result results[SERVERS];
    for (uint32_t round = 0; round < 20; round++) {
        ck_assert_int_eq(weft_send(ctx, weft_self(ctx), round, &round, sizeof(round)), 0);
        weft_multi_request request = request_to(park, TAG_ECHO);
        request.data = &round;
        ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), SERVERS - 3);
        for (uint32_t i = 0; i < SERVERS; i++) {
            if (i >= 3 && i <= 5) {
                ck_assert_int_eq(results[i].status, i == 5 ? WEFT_E_NOCONN : WEFT_E_NOPROC);
                ck_assert_ptr_null(results[i].reply);
            } else if (i % 2 == 0 || round % 2 == 0) { /* the others go with the process */
                check_answer(ctx, &results[i], i, round);
            }
        }
    }
    for (uint32_t round = 0; round < 20; round++) { /* what came meanwhile waits, in order */
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), round);
    }
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
}

START_TEST(a_process_gets_all_answers_in_their_order) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    kill_server(park, 3);
    park->pids[4] = weft_pid_none();
    park->pids[5] = (weft_pid){.node = 99, .slot = 1, .gen = 1};
    run(park, wait_in_order, park);
    park_stop(park);
}
END_TEST

static void wait_too_long(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_multi_result results[SERVERS];
    for (uint32_t round = 0; round < 5; round++) {
        weft_multi_request request = request_to(park, TAG_HOLD);
        request.timeout_ns = 3 * MS_NS;
        ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), 0);
        for (uint32_t i = 0; i < SERVERS; i++) {
            ck_assert_int_eq(results[i].status, -ETIMEDOUT);
            ck_assert_ptr_null(results[i].reply);
            ck_assert_int_eq(weft_send(ctx, park->pids[i], TAG_ANSWER, NULL, 0), 0);
        }
        request = request_to(park, TAG_ECHO);
        request.data = &round;
        if (round % 2 == 0) { /* the late ones are neither these answers */
            ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), SERVERS);
            for (uint32_t i = 0; i < SERVERS; i++) {
                check_answer(ctx, &results[i], i, round);
            }
        } else { /* nor that of a single call */
            weft_multi_result one = {0};
            one.status = weft_call_wait(ctx, park->pids[7], TAG_ECHO, &round, sizeof(round), S_NS,
                                        &one.reply);
            check_answer(ctx, &one, 7, round);
        }
    }
    weft_msg *msg = NULL; /* nor anything that is received */
    ck_assert_int_eq(weft_receive(ctx, 5 * MS_NS, &msg), -ETIMEDOUT);
}

START_TEST(late_answers_never_reach_a_process) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    run(park, wait_too_long, park);
    weft_stats stats = rig_stats(&park->rig); /* a request may have come too late itself */
    ck_assert_uint_eq(stats.replies_late + stats.requests_expired, 5 * SERVERS);
    park_stop(park);
}
END_TEST

enum { CROWD = 50000 };

static void wait_in_a_crowd(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, 20 * S_NS, &msg), 0); /* the first of them */
    weft_multi_result results[SERVERS];
    weft_multi_request request = request_to(park, TAG_ECHO);
    uint64_t before_ns = clock_ns();
    for (uint32_t round = 0; round < 100; round++) {
        ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), SERVERS);
        for (uint32_t i = 0; i < SERVERS; i++) {
            check_answer(ctx, &results[i], i, 4711);
        }
    }
    /* 2,000 answers: to look through all that wait for each would take seconds. */
    ck_assert_uint_lt(clock_ns() - before_ns, 2 * S_NS);
    for (uint32_t i = 1; i < CROWD; i++) {
        ck_assert_int_eq(weft_receive(ctx, S_NS, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), i);
    }
}

START_TEST(what_waits_in_the_mailbox_costs_nothing) {
    struct park *park = park_start(1, SERVERS);
    weft_atomic_u32 done = {0};
    struct body body = {.fn = wait_in_a_crowd, .arg = park, .done = &done};
    weft_pid pid = body_spawn(park, &body);
    for (uint32_t i = 0; i < CROWD; i++) {
        ck_assert_int_eq(weft_runtime_send(park->rig.runtime, pid, i, NULL, 0), 0);
    }
    eventually(weft_load32_acquire(&done) == 1);
    park_stop(park);
}
END_TEST

static void wait_for_ever(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_multi_result results[SERVERS];
    weft_multi_request request = request_to(park, TAG_ECHO);
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), SERVERS);
    request.tag = TAG_HOLD; /* with all answers of the first in hand */
    request.timeout_ns = WEFT_TIMEOUT_NEVER;
    (void)weft_multi_call_wait(ctx, &request, results);
    ck_abort_msg("it went on");
}

START_TEST(a_process_that_is_killed_while_it_waits_leaves_nothing) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    weft_atomic_u32 done = {0};
    for (uint32_t round = 0; round < 10; round++) {
        weft_store32_relaxed(&requests, 0);
        struct body body = {.fn = wait_for_ever, .arg = park, .done = &done};
        weft_pid pid = body_spawn(park, &body);
        eventually(weft_load32_acquire(&requests) == 2 * SERVERS);
        for (uint32_t i = 0; i < SERVERS / 2; i++) { /* half of them have answered */
            ck_assert_int_eq(
                weft_runtime_send(park->rig.runtime, park->pids[i], TAG_ANSWER, NULL, 0), 0);
        }
        ck_assert_int_eq(weft_runtime_kill_actor(park->rig.runtime, pid), 0);
        eventually(!is_alive(&park->rig, pid));
    }
    park_stop(park);
}
END_TEST

static void wait_badly(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_multi_result results[SERVERS];
    memset(results, 0x55, sizeof(results));
    weft_multi_request request = request_to(park, TAG_ECHO);
    ck_assert_int_eq(weft_multi_call_wait(ctx, NULL, results), -EINVAL);
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, NULL), -EINVAL);
    request.struct_size = 3;
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), -EINVAL);
    request = request_to(park, TAG_ECHO);
    request.size = SIZE_MAX;
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), -EMSGSIZE);
    ck_assert_int_eq(results[0].status, 0x55555555);
    request.count = 0;
    request.size = 4;
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, NULL), 0);
    weft_pid targets[2] = {park->pids[0], weft_self(ctx)};
    request.targets = targets;
    request.count = 2;
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), 1);
    check_answer(ctx, &results[0], 0, 4711);
    ck_assert_int_eq(results[1].status, -EDEADLK); /* it would wait for itself */
}

static void wait_in_handler(weft_ctx *ctx, void *arg) {
    struct park *park = arg;
    weft_multi_result results[SERVERS];
    weft_multi_request request = request_to(park, TAG_ECHO);
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, results), -EPERM);
}

START_TEST(bad_waits_are_refused) {
    struct park *park = park_start(2, SERVERS);
    run(park, wait_badly, park);
    act(&park->rig, rig_spawn(&park->rig, NULL), wait_in_handler, park);
    park_stop(park);
}
END_TEST

/* Two processes that call each other, and others, at the same time. */
struct pair {
    struct park *park;
    weft_pid pids[2];
    weft_atomic_u32 ready;
    weft_atomic_u32 deadlocks;
};

static void wait_for_the_other(weft_ctx *ctx, void *arg) {
    struct pair *pair = arg;
    (void)weft_add32_acq_rel(&pair->ready, 1);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, 20 * S_NS, &msg), 0);
    bool first = weft_pid_equal(pair->pids[0], weft_self(ctx));
    weft_pid targets[3] = {pair->park->pids[0], pair->pids[first ? 1 : 0], pair->park->pids[1]};
    weft_multi_request request = request_to(pair->park, TAG_ECHO);
    request.targets = targets;
    request.count = 3;
    request.timeout_ns = 10 * S_NS;
    weft_multi_result results[3];
    (void)weft_multi_call_wait(ctx, &request, results);
    ck_assert_int_eq(results[0].status, 0);
    ck_assert_int_eq(results[2].status, 0);
    ck_assert(results[1].status == -EDEADLK || results[1].status == WEFT_E_NOPROC);
    (void)weft_add32_acq_rel(&pair->deadlocks, results[1].status == -EDEADLK ? 1 : 0);
}

START_TEST(processes_that_wait_for_each_other_are_told) {
    struct park *park = park_start(schedulers_of(_i), 2);
    for (uint32_t round = 0; round < 20; round++) {
        struct pair pair = {.park = park};
        weft_atomic_u32 done[2] = {0};
        for (int i = 0; i < 2; i++) {
            struct body body = {.fn = wait_for_the_other, .arg = &pair, .done = &done[i]};
            pair.pids[i] = body_spawn(park, &body);
        }
        eventually(weft_load32_acquire(&pair.ready) == 2);
        for (int i = 0; i < 2; i++) {
            (void)weft_runtime_send(park->rig.runtime, pair.pids[i], 0, NULL, 0);
        }
        eventually(weft_load32_acquire(&done[0]) == 1 && weft_load32_acquire(&done[1]) == 1);
        ck_assert_uint_le(weft_load32_relaxed(&pair.deadlocks), 1);
    }
    park_stop(park);
}
END_TEST

static Suite *multi_wait_suite(void) {
    Suite *suite = suite_create("multi_wait");
    TCase *process = tcase_create("process");
    tcase_add_loop_test(process, a_process_gets_all_answers_in_their_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(process, late_answers_never_reach_a_process, 0, SCHEDULER_CASES);
    tcase_add_test(process, what_waits_in_the_mailbox_costs_nothing);
    tcase_add_loop_test(process, a_process_that_is_killed_while_it_waits_leaves_nothing, 0,
                        SCHEDULER_CASES);
    tcase_add_test(process, bad_waits_are_refused);
    tcase_add_loop_test(process, processes_that_wait_for_each_other_are_told, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, process);
    return suite;
}

int main(void) {
    return run_suite(multi_wait_suite());
}
