/* SPDX-License-Identifier: MIT
 *
 * Services: what reaches which operation, what is refused and who is told, late answers. The idle
 * time: test_service_idle.c; definitions: test_service_def.c; calls to many: test_multi.c.
 */
#include "core/prng.h"
#include "tests/unit/service_support.h"

/* ---- dispatch ------------------------------------------------------------------------------ */

START_TEST(calls_and_casts_reach_their_operations) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (unsigned char)(i * 7);
    }
    for (size_t size = 0; size <= sizeof(payload); size += 50) {
        ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, size), 0);
        ck_assert_int_eq(ask(&rig, desk, 0, size), 0);
        ck_assert_int_eq(ask(&rig, desk, UINT32_MAX, size), 0);
        cast(&rig, desk, TAG_ECHO, payload, size);
    }
    flush(&rig, desk);
    ck_assert_uint_eq(weft_load32_relaxed(&board.calls), 3 * 21 + 1);
    ck_assert_uint_eq(weft_load32_relaxed(&board.casts), 21);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 0);
    ck_assert_int_eq(ask(&rig, desk, TAG_IGNORE, 3), WEFT_E_NOREPLY);
    ck_assert_int_eq(ask(&rig, desk, TAG_STOP, 0), 0);
    ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, 0), WEFT_E_NOPROC);
    eventually(weft_load32_acquire(&board.terminations) == 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(an_unknown_call_is_an_error_of_that_caller_alone) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (uint32_t tag = 13; tag < 200; tag++) {
        ck_assert_int_eq(ask(&rig, desk, tag, tag), -ENOSYS);
        ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, tag), 0);
    }
    ck_assert_int_eq(ask(&rig, desk, TAG_IDLE, 8), -ENOSYS); /* known as a cast only */
    ck_assert_int_eq(ask(&rig, desk, UINT32_MAX - 1, 0), -ENOSYS);
    ck_assert_uint_eq(weft_load32_relaxed(&board.calls), 187);
    ck_assert_uint_eq(weft_load32_relaxed(&board.casts), 0);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(payloads_outside_of_the_sizes_are_refused) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (size_t size = 0; size <= 20; size++) {
        ck_assert_int_eq(ask(&rig, desk, TAG_SIZED, size), size >= 4 && size <= 8 ? 0 : -EBADMSG);
        ck_assert_int_eq(ask(&rig, desk, TAG_EXACT, size), size == 16 ? 0 : -EBADMSG);
        cast(&rig, desk, TAG_SIZED, payload, size);
    }
    ck_assert_int_eq(ask(&rig, desk, TAG_LEAST, 299), -EBADMSG);
    ck_assert_int_eq(ask(&rig, desk, TAG_LEAST, 300), 0);
    ck_assert_int_eq(ask(&rig, desk, TAG_LEAST, 1000), 0);
    ck_assert_int_eq(ask(&rig, desk, TAG_LEAST, 0), -EBADMSG);
    ck_assert_uint_eq(weft_load32_relaxed(&board.casts), 5);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 16);
    rig_stop(&rig);
}
END_TEST

START_TEST(refused_casts_are_dead_letters_that_say_why) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    struct probe probe = PROBE_INIT;
    weft_pid dead = rig_spawn(&rig, &probe);
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    ck_assert_int_eq(weft_dead_letters(rig.runtime, dead), 0);
    cast(&rig, desk, TAG_UNKNOWN, "unknown", 7);
    cast(&rig, desk, TAG_IGNORE, "a call", 6); /* known as a call only */
    cast(&rig, desk, TAG_SIZED, "123", 3);
    cast(&rig, desk, TAG_SIZED, payload, 500);
    eventually(probe_count(&probe) == 4);
    static const struct {
        uint32_t tag;
        int status;
        size_t size;
    } expected[] = {{TAG_UNKNOWN, -ENOSYS, 7},
                    {TAG_IGNORE, -ENOSYS, 6},
                    {TAG_SIZED, -EBADMSG, 3},
                    {TAG_SIZED, -EBADMSG, 500}};
    for (uint32_t i = 0; i < 4; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_DEAD);
        ck_assert_uint_eq(seen.tag, expected[i].tag);
        ck_assert_int_eq(seen.status, expected[i].status);
        ck_assert_uint_eq(seen.size, expected[i].size);
    }
    ck_assert_mem_eq(probe_at(&probe, 0).data, "unknown", 7);
    ck_assert_int_eq(ask(&rig, desk, TAG_UNKNOWN, 3), -ENOSYS); /* told, so no dead letter */
    flush(&rig, desk);
    ck_assert_uint_eq(probe_count(&probe), 4);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 4);
    rig_stop(&rig); /* every message counts once: nothing was counted as handled and as dead */
    probe_fini(&probe);
}
END_TEST

/* A whole batch that is refused, among what is not: cells are given back in any order. */
START_TEST(a_crowd_of_good_and_bad_messages_is_sorted_out) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    struct weft__prng prng;
    weft__prng_init(&prng, 11, (uint64_t)_i);
    uint32_t good = 0;
    uint32_t bad = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        bool is_good = weft__prng_below(&prng, 2) == 0;
        size_t size = weft__prng_below(&prng, 400);
        cast(&rig, desk, is_good ? TAG_ECHO : TAG_UNKNOWN, payload, size);
        good += is_good ? 1 : 0;
        bad += is_good ? 0 : 1;
    }
    flush(&rig, desk);
    ck_assert_uint_eq(weft_load32_relaxed(&board.casts), good);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, bad);
    rig_stop(&rig);
}
END_TEST

/* A call that is held, from a thread of its own. */
struct holder {
    struct rig *rig;
    weft_pid desk;
    int result;
};

static void *hold(void *arg) {
    struct holder *holder = arg;
    weft_msg *reply = NULL;
    holder->result =
        weft_runtime_call(holder->rig->runtime, holder->desk, TAG_HOLD, NULL, 0, 20 * S_NS, &reply);
    if (holder->result == 0) {
        ck_assert_uint_eq(weft_msg_size(reply), 4);
        ck_assert_mem_eq(weft_msg_data(reply), "held", 4);
    }
    weft_runtime_msg_release(holder->rig->runtime, &reply);
    return NULL;
}

START_TEST(a_request_may_be_taken_and_answered_from_another_operation) {
    struct rig rig = rig_start(2);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    struct holder holders[2] = {{.rig = &rig, .desk = desk}, {.rig = &rig, .desk = desk}};
    pthread_t threads[2];
    ck_assert_int_eq(pthread_create(&threads[0], NULL, hold, &holders[0]), 0);
    eventually(rig_stats(&rig).messages_handled >= 1);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, hold, &holders[1]), 0);
    pthread_join(threads[0], NULL);
    ck_assert_int_eq(holders[0].result, WEFT_E_NOREPLY); /* released by the second */
    cast(&rig, desk, TAG_HOLD, NULL, 0);
    pthread_join(threads[1], NULL);
    ck_assert_int_eq(holders[1].result, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_service_that_crashes_tells_its_callers) {
    struct rig rig = rig_start(2);
    struct board boards[2] = {{.init_result = 0}};
    const weft_type *type = desk_register(&rig);
    weft_pid desk = desk_spawn(&rig, type, &boards[0]);
    ck_assert_int_eq(ask(&rig, desk, TAG_CRASH, 0), WEFT_E_NOPROC);
    eventually(weft_load32_acquire(&boards[0].terminations) == 1);
    desk = desk_spawn(&rig, type, &boards[1]);
    cast(&rig, desk, TAG_CRASH, NULL, 0);
    eventually(weft_load32_acquire(&boards[1].terminations) == 1);
    ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, 0), WEFT_E_NOPROC);
    ck_assert_uint_eq(rig_stats(&rig).crashes, 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_request_may_be_forwarded_to_another_service) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board boards[2] = {{.init_result = 0}};
    const weft_type *type = desk_register(&rig);
    weft_pid second = desk_spawn(&rig, type, &boards[1]);
    boards[0].next = second;
    weft_pid first = desk_spawn(&rig, type, &boards[0]);
    boards[1].next = rig_spawn(&rig, NULL); /* answers nothing */
    ck_assert_int_eq(ask(&rig, first, TAG_PASS, 4), WEFT_E_NOREPLY);
    rig_stop(&rig);
}
END_TEST

START_TEST(all_other_messages_go_to_other) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    uint32_t tag = 77;
    cast(&rig, desk, TAG_TIMER, &tag, sizeof(tag));
    eventually(weft_load32_acquire(&board.timers) == 1);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 1);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 0);
    board.next = desk;
    cast(&rig, desk, TAG_ASK, NULL, 0);
    eventually(weft_load32_acquire(&board.replies) == 1);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(without_other_the_rest_is_ignored) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_type_def type_def = desk_type("plain");
    weft_service_def def = desk_def(&type_def);
    def.other = NULL;
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    weft_pid desk = desk_spawn(&rig, type, &board);
    uint32_t tag = 77;
    for (int i = 0; i < 100; i++) {
        cast(&rig, desk, TAG_TIMER, &tag, sizeof(tag));
    }
    eventually(rig_stats(&rig).timers_fired == 100);
    flush(&rig, desk);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(init_terminate_and_state_are_those_of_any_type) {
    struct rig rig = rig_start(2);
    struct board board = {.init_result = -EACCES};
    const weft_type *type = desk_register(&rig);
    weft_pid desk = desk_spawn(&rig, type, &board);
    eventually(!is_alive(&rig, desk));
    ck_assert_uint_eq(weft_load32_relaxed(&board.terminations), 0);
    board.init_result = WEFT_STOP;
    desk = desk_spawn(&rig, type, &board);
    eventually(!is_alive(&rig, desk));
    eventually(weft_load32_acquire(&board.terminations) == 1);
    ck_assert(strcmp(weft_type_name(type), "desk") == 0);
    rig_stop(&rig);
}
END_TEST

/* ---- late answers -------------------------------------------------------------------------- */

/* Calls that time out, then their late answers come, then the same is called again. */
struct late {
    weft_pid desk;
    uint64_t token;
    uint64_t timeout_ns;
    uint32_t tag;
};

static void call_late_one(weft_ctx *ctx, void *arg) {
    struct late *late = arg;
    ck_assert_int_eq(weft_call(ctx, late->desk, late->tag, "x", 1, late->timeout_ns, late->token),
                     0);
}

START_TEST(a_late_answer_is_not_the_answer_to_the_next_call) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    struct probe probe = PROBE_INIT;
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    weft_pid client = rig_spawn(&rig, &probe);
    uint32_t seen = 0;
    for (uint32_t round = 0; round < 10; round++) {
        struct late late = {.desk = desk, .token = 1, .timeout_ns = MS_NS, .tag = TAG_HOLD};
        act(&rig, client, call_late_one, &late);
        eventually(probe_count(&probe) == seen + 1);
        ck_assert_int_eq(probe_at(&probe, seen).status, -ETIMEDOUT);
        seen++;
        late.timeout_ns = 10 * S_NS;
        late.tag = TAG_ECHO;                 /* the same token */
        cast(&rig, desk, TAG_HOLD, NULL, 0); /* the late answer is on its way */
        act(&rig, client, call_late_one, &late);
        eventually(probe_count(&probe) == seen + 1);
        struct seen answer = probe_at(&probe, seen);
        ck_assert_int_eq(answer.status, 0);
        ck_assert_uint_eq(answer.tag, TAG_ECHO);
        ck_assert_uint_eq(answer.size, 1);
        seen++;
    }
    settle(&rig, client);
    ck_assert_uint_eq(probe_count(&probe), seen);
    weft_stats stats = rig_stats(&rig); /* a request may have come too late itself */
    ck_assert_uint_eq(stats.replies_late + stats.requests_expired, 10);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_late_answer_from_outside_is_not_the_answer_to_the_next_call) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (uint32_t round = 0; round < 10; round++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_call(rig.runtime, desk, TAG_HOLD, NULL, 0, MS_NS, &reply),
                         -ETIMEDOUT);
        cast(&rig, desk, TAG_HOLD, NULL, 0);
        ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, 3), 0);
    }
    rig_stop(&rig);
}
END_TEST

static Suite *service_suite(void) {
    Suite *suite = suite_create("service");
    TCase *dispatch = tcase_create("dispatch");
    tcase_add_loop_test(dispatch, calls_and_casts_reach_their_operations, 0, SCHEDULER_CASES);
    tcase_add_loop_test(dispatch, an_unknown_call_is_an_error_of_that_caller_alone, 0,
                        SCHEDULER_CASES);
    tcase_add_test(dispatch, payloads_outside_of_the_sizes_are_refused);
    tcase_add_loop_test(dispatch, refused_casts_are_dead_letters_that_say_why, 0, SCHEDULER_CASES);
    tcase_add_loop_test(dispatch, a_crowd_of_good_and_bad_messages_is_sorted_out, 0,
                        SCHEDULER_CASES);
    tcase_add_test(dispatch, a_request_may_be_taken_and_answered_from_another_operation);
    tcase_add_test(dispatch, a_service_that_crashes_tells_its_callers);
    tcase_add_loop_test(dispatch, a_request_may_be_forwarded_to_another_service, 0,
                        SCHEDULER_CASES);
    tcase_add_test(dispatch, all_other_messages_go_to_other);
    tcase_add_test(dispatch, without_other_the_rest_is_ignored);
    tcase_add_test(dispatch, init_terminate_and_state_are_those_of_any_type);
    suite_add_tcase(suite, dispatch);
    TCase *late = tcase_create("late");
    tcase_add_loop_test(late, a_late_answer_is_not_the_answer_to_the_next_call, 0, SCHEDULER_CASES);
    tcase_add_loop_test(late, a_late_answer_from_outside_is_not_the_answer_to_the_next_call, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, late);
    return suite;
}

int main(void) {
    return run_suite(service_suite());
}
