/* SPDX-License-Identifier: MIT
 *
 * The idle time of services: once, never early, never for nothing, and without a timer for each
 * message.
 */
#include "tests/unit/service_support.h"

/* ---- the idle time ------------------------------------------------------------------------- */

START_TEST(idle_is_called_once_when_nothing_comes) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (uint32_t i = 1; i <= 5; i++) {
        cast_time(&rig, desk, i * MS_NS);
        eventually(weft_load32_acquire(&board.idles) == i);
        uint64_t waited_ns =
            weft_load64_relaxed(&board.idle_at_ns) - weft_load64_relaxed(&board.set_at_ns);
        ck_assert_uint_ge(waited_ns, i * MS_NS); /* never early */
    }
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 5);
    ck_assert_uint_eq(weft_load32_relaxed(&board.others), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(any_message_ends_the_waiting) {
    struct rig rig = rig_start(2);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    uint32_t tag = 1;
    for (int kind = 0; kind < 5; kind++) {
        cast_time(&rig, desk, 20 * MS_NS);
        switch (kind) {
        case 0:
            cast(&rig, desk, TAG_ECHO, NULL, 0);
            break;
        case 1:
            ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, 4), 0);
            break;
        case 2:
            cast(&rig, desk, TAG_TIMER, &tag, sizeof(tag)); /* the cast, and then the timer */
            break;
        case 3:
            cast(&rig, desk, TAG_UNKNOWN, NULL, 0); /* also one that is refused */
            break;
        default:
            ck_assert_int_eq(ask(&rig, desk, TAG_UNKNOWN, 4), -ENOSYS);
            break;
        }
        sleep_ns(40 * MS_NS);
        ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 0);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(the_latest_idle_time_counts) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    cast_time(&rig, desk, 10 * S_NS);
    cast_time(&rig, desk, 10 * MS_NS); /* earlier: the timer is set anew */
    eventually(weft_load32_acquire(&board.idles) == 1);
    cast_time(&rig, desk, 5 * MS_NS);
    cast_time(&rig, desk, 60 * MS_NS); /* later: the timer fires too early and goes on */
    eventually(weft_load32_acquire(&board.idles) == 2);
    uint64_t waited_ns =
        weft_load64_relaxed(&board.idle_at_ns) - weft_load64_relaxed(&board.set_at_ns);
    ck_assert_uint_ge(waited_ns, 60 * MS_NS);
    cast_time(&rig, desk, 5 * MS_NS);
    cast_time(&rig, desk, WEFT_FOREVER); /* none */
    sleep_ns(30 * MS_NS);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 2);
    cast_time(&rig, desk, 0);
    eventually(weft_load32_acquire(&board.idles) == 3);
    cast_time(&rig, desk, UINT64_MAX - 1);
    flush(&rig, desk);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 3);
    rig_stop(&rig);
}
END_TEST

START_TEST(init_may_set_the_idle_time) {
    struct rig rig = rig_start(2);
    struct board board = {.first_idle_ns = MS_NS};
    (void)desk_spawn(&rig, desk_register(&rig), &board);
    eventually(weft_load32_acquire(&board.idles) == 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(an_idle_time_for_each_message_costs_no_timer_for_each) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    for (uint32_t i = 0; i < 10000; i++) {
        cast_time(&rig, desk, S_NS + i * 1000);
    }
    eventually(weft_load32_acquire(&board.casts) == 10000);
    weft_stats stats = rig_stats(&rig);
    ck_assert_uint_le(stats.timers_started, 3);
    ck_assert_uint_eq(rig_gauges(&rig).timers, 1);
    rig_stop(&rig);
}
END_TEST

/* The service is kept busy by a message while its idle time ends and another message waits. */
static int call_late(weft_ctx *ctx, void *state, weft_msg *request) {
    ck_assert_int_eq(weft_service_idle(ctx, MS_NS), 0);
    count(&board_of(state)->calls);
    while (weft_load32_acquire(&board_of(state)->casts) == 0) {
        sleep_ns(100000);
    }
    sleep_ns(5 * MS_NS);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return WEFT_CONTINUE;
}

static int cast_look(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)ctx;
    (void)msg;
    ck_assert_uint_eq(weft_load32_relaxed(&board_of(state)->idles), 0);
    count(&board_of(state)->others);
    return WEFT_CONTINUE;
}

START_TEST(a_message_that_waits_goes_before_idle) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    const weft_operation operations[] = {{.tag = 0, .call = call_late},
                                         {.tag = 1, .cast = cast_look}};
    weft_type_def type_def = desk_type("late");
    weft_service_def def = desk_def(&type_def);
    def.operations = operations;
    def.operation_count = 2;
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    weft_pid desk = desk_spawn(&rig, type, &board);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 2, &queue), 0);
    ck_assert_int_eq(weft_cq_call(queue, desk, 0, NULL, 0, 10 * S_NS, 1), 0);
    eventually(weft_load32_acquire(&board.calls) == 1);
    cast(&rig, desk, 1, NULL, 0);
    weft_store32_release(&board.casts, 1);
    weft_completion completion;
    eventually(weft_cq_next(queue, &completion) == 1);
    ck_assert_int_eq(completion.status, 0);
    weft_runtime_msg_release(rig.runtime, &completion.reply);
    eventually(weft_load32_acquire(&board.others) == 1);
    sleep_ns(10 * MS_NS);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 0); /* it ended the waiting */
    weft_cq_destroy(&queue);
    rig_stop(&rig);
}
END_TEST

static void idle_in_puppet(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_service_idle(ctx, MS_NS);
}

static int call_idle_result(weft_ctx *ctx, void *state, weft_msg *request) {
    int result = weft_service_idle(ctx, MS_NS);
    (void)state;
    (void)weft_reply(ctx, &request, 0, &result, sizeof(result));
    return WEFT_CONTINUE;
}

START_TEST(only_a_service_with_idle_has_an_idle_time) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&rig, &probe);
    int result = 0;
    act(&rig, puppet, idle_in_puppet, &result);
    ck_assert_int_eq(result, -EINVAL);
    const weft_operation operation = {.tag = 1, .call = call_idle_result};
    weft_type_def type_def = desk_type("without");
    weft_service_def def = desk_def(&type_def);
    def.operations = &operation;
    def.operation_count = 1;
    def.idle = NULL;
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    weft_pid desk = desk_spawn(&rig, type, &board);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, desk, 1, NULL, 0, S_NS, &reply), 0);
    memcpy(&result, weft_msg_data(reply), sizeof(result));
    ck_assert_int_eq(result, -EINVAL);
    weft_runtime_msg_release(rig.runtime, &reply);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(timers_of_the_program_are_never_taken_for_the_idle_time) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    cast_time(&rig, desk, 10 * S_NS);
    uint32_t tag = 0x49444c45; /* the library's own */
    for (int i = 0; i < 10; i++) {
        cast(&rig, desk, TAG_TIMER, &tag, sizeof(tag));
    }
    eventually(weft_load32_acquire(&board.timers) == 10);
    ck_assert_uint_eq(weft_load32_relaxed(&board.idles), 0);
    rig_stop(&rig);
}
END_TEST

static Suite *service_idle_suite(void) {
    Suite *suite = suite_create("service_idle");
    TCase *idle = tcase_create("idle");
    tcase_add_loop_test(idle, idle_is_called_once_when_nothing_comes, 0, SCHEDULER_CASES);
    tcase_add_test(idle, any_message_ends_the_waiting);
    tcase_add_test(idle, the_latest_idle_time_counts);
    tcase_add_test(idle, init_may_set_the_idle_time);
    tcase_add_test(idle, an_idle_time_for_each_message_costs_no_timer_for_each);
    tcase_add_test(idle, a_message_that_waits_goes_before_idle);
    tcase_add_test(idle, only_a_service_with_idle_has_an_idle_time);
    tcase_add_test(idle, timers_of_the_program_are_never_taken_for_the_idle_time);
    suite_add_tcase(suite, idle);
    return suite;
}

int main(void) {
    return run_suite(service_idle_suite());
}
