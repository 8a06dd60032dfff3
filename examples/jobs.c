/* SPDX-License-Identifier: MIT
 *
 * A service that sums, and a process that has squares computed by jobs, four at a time, and gives
 * them to the service. One number is bad: that is the failure of its job alone. Usage: jobs
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { ADD = 1, TOTAL = 2, NUMBERS = 20, BAD = 13 };
#define SECOND_NS UINT64_C(1000000000)

/* ---- the service: a table of operations ------------------------------------------------------ */

static int sum_add(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)ctx;
    *(uint64_t *)state += *(const uint64_t *)weft_msg_data(msg); /* its size was checked */
    return WEFT_CONTINUE;
}

static int sum_total(weft_ctx *ctx, void *state, weft_msg *request) {
    (void)weft_reply(ctx, &request, TOTAL, state, sizeof(uint64_t)); /* who asked may be gone */
    return WEFT_CONTINUE;
}

/* ---- the jobs, and who starts them ----------------------------------------------------------- */

static int square(weft_ctx *ctx, const void *arg, size_t arg_size) {
    uint64_t number;
    memcpy(&number, arg, arg_size);
    if (number == BAD) {
        return -EDOM;
    }
    int rc = weft_sleep(ctx, SECOND_NS / 100); /* suspends this job only */
    number *= number;
    return rc < 0 ? rc : weft_job_result(ctx, &number, sizeof(number));
}

/* Its client asks it for the total, and is answered when all is done. */
static int summer(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_pid sum;
    weft_msg *request = NULL, *total = NULL;
    weft_multi_result results[NUMBERS];
    uint64_t numbers[NUMBERS];
    (void)state;
    memcpy(&sum, arg, arg_size);
    for (uint64_t i = 0; i < NUMBERS; i++) {
        numbers[i] = i;
    }
    const weft_job_map_request map = {.struct_size = WEFT_JOB_MAP_REQUEST_INIT,
                                      .fn = square,
                                      .items = numbers,
                                      .item_size = sizeof(numbers[0]),
                                      .count = NUMBERS,
                                      .concurrency = 4,
                                      .timeout_ns = SECOND_NS};
    int rc = weft_job_map_wait(ctx, &map, results);
    for (int i = 0; i < NUMBERS && rc >= 0; i++) {
        if (results[i].status < 0) {
            printf("%d: %s\n", i, weft_strerror(results[i].status));
            continue;
        }
        rc = weft_send(ctx, sum, ADD, weft_msg_data(results[i].reply), sizeof(uint64_t));
    }
    rc = rc < 0 ? rc : weft_call_wait(ctx, sum, TOTAL, NULL, 0, SECOND_NS, &total);
    rc = rc < 0 ? rc : weft_receive(ctx, SECOND_NS, &request);
    return rc < 0 ? rc : weft_reply(ctx, &request, TOTAL, weft_msg_data(total), 8);
}

int main(void) {
    const weft_type_def sums = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "sum", .state_size = 8};
    const weft_operation operations[] = {
        {.tag = ADD, .name = "add", .size_min = 8, .size_max = 8, .cast = sum_add},
        {.tag = TOTAL, .name = "total", .call = sum_total}};
    const weft_service_def service = {WEFT_SERVICE_DEF_INIT, &sums, operations, 2, NULL, NULL};
    const weft_type_def summers = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "summer", .process = summer};
    const weft_type *sum_type = NULL, *summer_type = NULL;
    weft_runtime *runtime = NULL;
    weft_msg *reply = NULL;
    weft_pid sum = weft_pid_none(), pid = weft_pid_none();
    int rc = weft_runtime_create(NULL, &runtime);
    rc = rc < 0 ? rc : weft_service_register(runtime, &service, &sum_type);
    rc = rc < 0 ? rc : weft_type_register(runtime, &summers, &summer_type);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_runtime_spawn(runtime, sum_type, NULL, &sum);
    const weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &sum, .arg_size = sizeof(sum)};
    rc = rc < 0 ? rc : weft_runtime_spawn(runtime, summer_type, &options, &pid);
    rc = rc < 0 ? rc : weft_runtime_call(runtime, pid, TOTAL, NULL, 0, SECOND_NS, &reply);
    if (rc == 0) {
        printf("the others: %" PRIu64 "\n", *(const uint64_t *)weft_msg_data(reply));
        weft_runtime_msg_release(runtime, &reply);
    }
    int stopped = weft_runtime_stop(runtime, 2 * SECOND_NS);
    return rc < 0 || stopped < 0 || weft_runtime_destroy(&runtime) < 0;
}
