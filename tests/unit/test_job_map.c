/* SPDX-License-Identifier: MIT
 *
 * Jobs for many items: results in order, so many at a time, one outcome for each item whatever
 * happens to the others, and nothing that runs on when the process has ended.
 */
#include "tests/unit/job_support.h"

/* ---- order and concurrency ----------------------------------------------------------------- */

enum { ITEMS = 60 };

/* One item. */
struct item {
    struct tally *tally;
    uint64_t number;
    uint64_t delay_ns;
    int how; /* it ends */
};

enum { WELL, FAILS, EXITS, KILLED, LATE, EMPTY, HOWS, TOGETHER };

static int job_item(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct item item;
    ck_assert_uint_eq(arg_size, sizeof(item));
    memcpy(&item, arg, sizeof(item));
    struct task task = {.tally = item.tally};
    (void)task_of(ctx, &task, sizeof(task));
    task_enter(item.tally);
    while (item.how == TOGETHER && weft_load32_acquire(&item.tally->most) < item.number) {
        ck_assert_int_eq(weft_sleep(ctx, 100000), 0); /* until so many run at a time */
    }
    if (item.delay_ns != 0) {
        ck_assert_int_eq(weft_sleep(ctx, item.delay_ns), 0);
    }
    task_leave(item.tally);
    uint64_t square = item.number * item.number;
    ck_assert_int_eq(weft_job_result(ctx, &square, sizeof(square)), 0);
    switch (item.how) {
    case FAILS:
        return -EDOM;
    case EXITS:
        weft_exit(ctx, -EIO);
        break;
    case KILLED:
        ck_assert_int_eq(weft_kill(ctx, weft_self(ctx)), 0);
        (void)weft_sleep(ctx, WEFT_FOREVER);
        break;
    case LATE:
        (void)weft_sleep(ctx, WEFT_FOREVER);
        break;
    case EMPTY:
        return weft_job_result(ctx, NULL, 0);
    default:
        break;
    }
    return 0;
}

static const int statuses[HOWS] = {0, -EDOM, -EIO, WEFT_E_NOPROC, -ETIMEDOUT, 0};

static void check_item(weft_ctx *ctx, const struct item *item, weft_multi_result *result) {
    ck_assert_int_eq(result->status, statuses[item->how]);
    if (result->status != 0) {
        ck_assert_ptr_null(result->reply);
        return;
    }
    if (item->how == EMPTY) {
        ck_assert_uint_eq(weft_msg_size(result->reply), 0);
    } else {
        uint64_t square;
        ck_assert_uint_eq(weft_msg_size(result->reply), sizeof(square));
        memcpy(&square, weft_msg_data(result->reply), sizeof(square));
        ck_assert_uint_eq(square, item->number * item->number);
    }
    weft_msg_release(ctx, &result->reply);
}

static weft_job_map_request map_of(const struct item *items, uint32_t count) {
    return (weft_job_map_request){
        .struct_size = WEFT_JOB_MAP_REQUEST_INIT,
        .fn = job_item,
        .items = items,
        .item_size = sizeof(*items),
        .count = count,
        .concurrency = 4,
        .timeout_ns = 20 * S_NS,
    };
}

static void map_in_order(weft_ctx *ctx, struct tally *tally) {
    static const uint32_t concurrencies[] = {1, 2, 7, ITEMS, 1000000, UINT32_MAX, 0};
    struct item items[ITEMS];
    weft_multi_result results[ITEMS];
    for (uint32_t c = 0; c < sizeof(concurrencies) / sizeof(concurrencies[0]); c++) {
        for (uint32_t i = 0; i < ITEMS; i++) {
            items[i] =
                (struct item){.tally = tally, .number = i, .delay_ns = (ITEMS - i) % 7 * 100000};
        }
        weft_store32_relaxed(&tally->most, 0);
        weft_job_map_request request = map_of(items, ITEMS);
        request.concurrency = concurrencies[c];
        ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), ITEMS);
        uint32_t bound = concurrencies[c] != 0 ? concurrencies[c]
                                               : weft_runtime_schedulers(weft_runtime_of(ctx));
        bound = bound < ITEMS ? bound : ITEMS;
        uint32_t most = weft_load32_acquire(&tally->most);
        ck_assert_uint_le(most, bound);
        for (uint32_t i = 0; i < ITEMS; i++) {
            check_item(ctx, &items[i], &results[i]);
        }
    }
}

START_TEST(results_come_in_the_order_of_the_items) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, map_in_order, &tally);
    eventually(rig_left(&tally) == 0);
    rig_stop(&rig);
}
END_TEST

static void map_together(weft_ctx *ctx, struct tally *tally) {
    struct item items[ITEMS];
    weft_multi_result results[ITEMS];
    for (uint32_t number = 1; number <= ITEMS; number = number * 2 + 1) {
        for (uint32_t i = 0; i < ITEMS; i++) {
            items[i] = (struct item){.tally = tally, .number = number, .how = TOGETHER};
        }
        weft_store32_relaxed(&tally->most, 0);
        weft_job_map_request request = map_of(items, ITEMS);
        request.concurrency = number;
        ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), ITEMS);
        ck_assert_uint_eq(weft_load32_acquire(&tally->most), number);
    }
}

START_TEST(as_many_run_at_a_time_as_may) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, map_together, &tally);
    rig_stop(&rig);
}
END_TEST

/* ---- failures ------------------------------------------------------------------------------ */

static void map_with_failures(weft_ctx *ctx, struct tally *tally) {
    struct item items[ITEMS];
    weft_multi_result results[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i] = (struct item){.tally = tally, .number = i, .how = (int)(i % HOWS)};
    }
    weft_job_map_request request = map_of(items, ITEMS);
    request.concurrency = 10;
    request.timeout_ns = S_NS / 2; /* of the late ones; the others need none of it */
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), ITEMS / HOWS * 2);
    for (uint32_t i = 0; i < ITEMS; i++) {
        check_item(ctx, &items[i], &results[i]);
    }
    weft_msg *msg = NULL; /* nothing else has come of it */
    ck_assert_int_eq(weft_receive(ctx, MS_NS, &msg), -ETIMEDOUT);
}

START_TEST(what_happens_to_one_is_the_status_of_its_item) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, map_with_failures, &tally);
    eventually(rig_left(&tally) == 0);
    rig_stop(&rig);
}
END_TEST

static void map_badly(weft_ctx *ctx, struct tally *tally) {
    struct item items[2] = {{.tally = tally}, {.tally = tally}};
    weft_multi_result results[2];
    memset(results, 0x55, sizeof(results));
    weft_job_map_request good = map_of(items, 2);
    weft_job_map_request request = good;
    ck_assert_int_eq(weft_job_map_wait(ctx, NULL, results), -EINVAL);
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, NULL), -EINVAL);
    request.fn = NULL;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), -EINVAL);
    request = good;
    request.items = NULL;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), -EINVAL);
    request = good;
    request.struct_size = 8;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), -EINVAL);
    request.struct_size = SIZE_MAX;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), -E2BIG);
    request = good;
    request.count = UINT32_MAX;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), -EINVAL);
    ck_assert_int_eq(results[0].status, 0x55555555);
    request.count = 0;
    request.items = NULL;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, NULL), 0);
    request = good;
    request.count = 1;
    request.item_size = SIZE_MAX / 2; /* each of these is refused for itself */
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), 0);
    ck_assert_int_eq(results[0].status, -EMSGSIZE);
    ck_assert_int_eq(weft_job_map_wait(ctx, &good, results), 2);
}

static void map_in_handler(weft_ctx *ctx, void *arg) {
    struct item item = {.tally = arg};
    weft_multi_result result;
    weft_job_map_request request = map_of(&item, 1);
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, &result), -EPERM);
}

START_TEST(bad_requests_are_invalid) {
    struct rig rig = rig_start(2);
    struct tally tally = {0};
    run_process(&rig, map_badly, &tally);
    act(&rig, rig_spawn(&rig, NULL), map_in_handler, &tally);
    rig_stop(&rig);
}
END_TEST

static void map_in_little_room(weft_ctx *ctx, struct tally *tally) {
    struct item items[ITEMS];
    weft_multi_result results[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i] = (struct item){.tally = tally, .number = i, .delay_ns = 100000};
    }
    weft_job_map_request request = map_of(items, ITEMS);
    request.concurrency = ITEMS;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), ITEMS);
    for (uint32_t i = 0; i < ITEMS; i++) {
        check_item(ctx, &items[i], &results[i]);
    }
}

START_TEST(with_less_room_than_jobs_they_take_turns) {
    weft_config config = rig_config(2);
    config.calls_max = _i == 0 ? 3 : 0;
    config.actors_max = _i == 1 ? 6 : 0;
    struct rig rig = rig_start_with(&config);
    struct tally tally = {0};
    run_process(&rig, map_in_little_room, &tally);
    ck_assert_uint_le(weft_load32_relaxed(&tally.most), _i == 0 ? 3 : 5);
    rig_stop(&rig);
}
END_TEST

/* ---- ends ---------------------------------------------------------------------------------- */

static void map_for_ever(weft_ctx *ctx, struct tally *tally) {
    struct item items[ITEMS];
    weft_multi_result results[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i] = (struct item){.tally = tally, .how = i % 2 == 0 ? LATE : WELL};
    }
    weft_job_map_request request = map_of(items, ITEMS);
    request.concurrency = 10;
    (void)weft_job_map_wait(ctx, &request, results);
    ck_abort_msg("it went on");
}

START_TEST(nothing_runs_on_when_the_process_has_ended) {
    for (uint32_t round = 0; round < 10; round++) {
        struct rig rig = rig_start(schedulers_of(_i));
        struct tally tally = {0};
        weft_atomic_u32 done = {0};
        weft_pid pid = start_process(&rig, map_for_ever, &tally, &done);
        eventually(rig_left(&tally) == 10);
        if (round % 3 == 0) {
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
        } else if (round % 3 == 1) {
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, -EIO), 0);
        } /* else with the runtime */
        if (round % 3 != 2) {
            eventually(rig_gauges(&rig).actors == 0);
            ck_assert_uint_eq(rig_left(&tally), 0);
        }
        rig_stop(&rig);
        ck_assert_uint_eq(rig_left(&tally), 0);
    }
}
END_TEST

/* A job that calls the process that waits for it. */
static int job_calls_back(weft_ctx *ctx, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    weft_msg *reply = NULL;
    int status = weft_call_wait(ctx, weft_parent(ctx), 1, NULL, 0, 10 * S_NS, &reply);
    return weft_job_result(ctx, &status, sizeof(status));
}

static void map_in_a_circle(weft_ctx *ctx, struct tally *tally) {
    (void)tally;
    weft_multi_result results[3];
    weft_job_map_request request = {.struct_size = WEFT_JOB_MAP_REQUEST_INIT,
                                    .fn = job_calls_back,
                                    .count = 3,
                                    .concurrency = 3};
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), 3);
    for (uint32_t i = 0; i < 3; i++) {
        int status;
        memcpy(&status, weft_msg_data(results[i].reply), sizeof(status));
        ck_assert_int_eq(status, -EDEADLK);
    }
}

START_TEST(a_job_that_calls_its_waiting_parent_is_told) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, map_in_a_circle, &tally);
    rig_stop(&rig);
}
END_TEST

enum { MANY = 3000 };

static void map_many(weft_ctx *ctx, struct tally *tally) {
    struct item *items = calloc(MANY, sizeof(*items));
    weft_multi_result *results = calloc(MANY, sizeof(*results));
    ck_assert(items != NULL && results != NULL);
    for (uint32_t i = 0; i < MANY; i++) {
        items[i] = (struct item){.tally = tally, .number = i};
        ck_assert_int_eq(weft_send(ctx, weft_self(ctx), i, NULL, 0), 0); /* and much mail waits */
    }
    weft_job_map_request request = map_of(items, MANY);
    request.concurrency = 16;
    ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        check_item(ctx, &items[i], &results[i]);
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, S_NS, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), i);
    }
    free(items);
    free(results);
}

START_TEST(thousands_of_items) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, map_many, &tally);
    eventually(rig_left(&tally) == 0);
    rig_stop(&rig);
}
END_TEST

static Suite *job_map_suite(void) {
    Suite *suite = suite_create("job_map");
    TCase *map = tcase_create("map");
    tcase_add_loop_test(map, results_come_in_the_order_of_the_items, 0, SCHEDULER_CASES);
    tcase_add_loop_test(map, as_many_run_at_a_time_as_may, 0, SCHEDULER_CASES);
    tcase_add_loop_test(map, what_happens_to_one_is_the_status_of_its_item, 0, SCHEDULER_CASES);
    tcase_add_test(map, bad_requests_are_invalid);
    tcase_add_loop_test(map, with_less_room_than_jobs_they_take_turns, 0, 2);
    tcase_add_loop_test(map, nothing_runs_on_when_the_process_has_ended, 0, SCHEDULER_CASES);
    tcase_add_loop_test(map, a_job_that_calls_its_waiting_parent_is_told, 0, SCHEDULER_CASES);
    tcase_add_loop_test(map, thousands_of_items, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, map);
    return suite;
}

int main(void) {
    return run_suite(job_map_suite());
}
