/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out: a small scenario uses everything once, while the n-th request for memory
 * (of the heap or of an arena) fails, for every n. Whatever fails must say so with an error the
 * API names, nothing may leak or crash, and what is not affected must go on.
 */
#define _GNU_SOURCE
#include "memory_support.h"

#include <stdatomic.h>

/* ---- the scenario ---------------------------------------------------------------------------- */

/* What one run of the scenario met. */
struct run {
    struct memory memory;
    weft_runtime *runtime;
    const weft_type *small;
    const weft_type *large;
    const weft_type *full;
    _Atomic uint32_t errors; /* operations that answered an error */
    _Atomic uint32_t calls;  /* begun and not ended */
    _Atomic uint32_t timers;
    _Atomic uint32_t jobs;
    _Atomic uint32_t cleanups;
    _Atomic uint32_t done;
};

/* Only what the API names for want of memory, or for what is missing because of it. */
static bool accept(struct run *run, int result) {
    if (result == 0) {
        return true;
    }
    ck_assert_msg(result == -ENOMEM || result == WEFT_E_NOPROC || result == -ETIMEDOUT ||
                      result == WEFT_E_NOREPLY || result == WEFT_E_LIMIT,
                  "answered %d: %s", result, weft_strerror(result));
    atomic_fetch_add(&run->errors, 1);
    return false;
}

enum { TAG_GO = 1, TAG_ECHO = 2, TAG_KEEP = 3, TAG_NONE = 4, LARGE = 5000 };

struct server {
    struct run *run;
    weft_msg *kept;
};

static int server_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)arg_size;
    struct server *server = state;
    ck_assert_ptr_null(server->kept); /* zeroed */
    memcpy(&server->run, arg, sizeof(server->run));
    return WEFT_CONTINUE;
}

static int server_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct server *server = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == TAG_ECHO) {
        const unsigned char *bytes = weft_msg_data(msg);
        size_t size = weft_msg_size(msg);
        ck_assert(size == 0 || (bytes[0] == 0x11 && bytes[size - 1] == 0x11));
        unsigned char answer[LARGE];
        memset(answer, 0x22, sizeof(answer));
        (void)accept(server->run, weft_reply(ctx, &msg, TAG_ECHO, answer, size));
    } else if (weft_msg_tag(msg) == TAG_KEEP && server->kept == NULL) {
        server->kept = weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

static int job_sleeps(void *arg) {
    (void)arg;
    sleep_ns(100000);
    return 0;
}

static void count_cleanup(void *arg) {
    atomic_fetch_add((_Atomic uint32_t *)arg, 1);
}

/* The client begins everything in one handler, and counts what comes back. */
struct client {
    struct run *run;
    weft_timer repeat;
    uint32_t defers;
    uint32_t ticks;
};

static void client_calls(struct client *client, weft_ctx *ctx, weft_pid server) {
    struct run *run = client->run;
    unsigned char bytes[LARGE];
    memset(bytes, 0x11, sizeof(bytes));
    static const size_t sizes[] = {0, 8, 60, 150, LARGE};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (accept(run, weft_call(ctx, server, TAG_ECHO, bytes, sizes[i], 10 * S_NS, i))) {
            atomic_fetch_add(&run->calls, 1);
        }
        (void)accept(run, weft_send(ctx, server, TAG_NONE, bytes, sizes[i]));
    }
    if (accept(run, weft_call(ctx, server, TAG_KEEP, NULL, 0, 2 * MS_NS, 9))) {
        atomic_fetch_add(&run->calls, 1);
    }
    weft_msg *msg = NULL;
    if (accept(run, weft_msg_create(ctx, TAG_NONE, LARGE, &msg))) {
        memset(weft_msg_body(msg), 0x11, LARGE);
        (void)accept(run, weft_send_msg(ctx, server, &msg));
        ck_assert_ptr_null(msg);
    }
    weft_buf *buf = NULL;
    if (accept(run, weft_buf_create(run->runtime, LARGE, &buf))) {
        (void)accept(run, weft_send_buf(ctx, server, TAG_NONE, buf, 10, 100));
        weft_buf_unref(buf);
    }
}

static void client_others(struct client *client, weft_ctx *ctx, weft_pid server) {
    struct run *run = client->run;
    for (int i = 0; i < 5; i++) {
        if (accept(run, weft_defer(ctx, count_cleanup, &run->cleanups))) {
            client->defers++;
        }
        if (accept(run, weft_timer_start(ctx, MS_NS, 1, 1, NULL))) {
            atomic_fetch_add(&run->timers, 1);
        }
    }
    (void)accept(run, weft_timer_repeat(ctx, MS_NS, 2, 2, &client->repeat));
    (void)accept(run, weft_send_after(ctx, MS_NS, server, TAG_NONE, "later", 5, NULL));
    weft_timer timer = 0;
    if (accept(run, weft_timer_start(ctx, S_NS, 3, 3, &timer))) {
        ck_assert(weft_timer_cancel(ctx, timer));
    }
    if (accept(run, weft_blocking(ctx, job_sleeps, NULL, 4))) {
        atomic_fetch_add(&run->jobs, 1);
    }
    /* A mailbox of one: the second send asks for a READY. */
    weft_pid full;
    if (accept(run, weft_spawn(ctx, run->full, &run, sizeof(run), &full))) {
        for (int i = 0; i < 3; i++) {
            int result = weft_send(ctx, full, TAG_NONE, NULL, 0);
            (void)accept(run, result == -EBUSY ? 0 : result);
        }
        (void)accept(run, weft_stop(ctx, full, 0));
    }
}

static void client_go(struct client *client, weft_ctx *ctx) {
    struct run *run = client->run;
    weft_pid server;
    if (accept(run, weft_spawn(ctx, run->large, &run, sizeof(run), &server))) {
        client_calls(client, ctx, server);
        client_others(client, ctx, server);
    }
    weft_pid other;
    if (accept(run, weft_spawn(ctx, run->small, &run, sizeof(run), &other))) {
        (void)accept(run, weft_kill(ctx, other));
    }
    atomic_fetch_add(&run->done, 1);
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = state;
    struct run *run = client->run;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
        client_go(client, ctx);
        break;
    case WEFT_MSG_REPLY:
        if (weft_msg_status(msg) == 0 && weft_msg_size(msg) != 0) {
            ck_assert_int_eq(((const unsigned char *)weft_msg_data(msg))[0], 0x22);
        }
        (void)accept(run, weft_msg_status(msg));
        atomic_fetch_sub(&run->calls, 1);
        break;
    case WEFT_MSG_TIMER:
        if (weft_msg_token(msg) == 1) {
            atomic_fetch_sub(&run->timers, 1);
        } else if (++client->ticks == 3) {
            ck_assert(weft_timer_cancel(ctx, client->repeat));
        }
        break;
    case WEFT_MSG_DONE:
        atomic_fetch_sub(&run->jobs, 1);
        break;
    default:
        break;
    }
    return WEFT_CONTINUE;
}

/* A client that ends early for want of memory has written off what it began. */
static void client_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    struct client *client = state;
    if (reason == -ENOMEM) {
        atomic_fetch_add(&client->run->errors, 1);
        atomic_store(&client->run->calls, 0);
        atomic_store(&client->run->timers, 0);
        atomic_store(&client->run->jobs, 0);
    }
}

static int register_types(struct run *run) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "small",
                         .state_size = sizeof(struct client),
                         .init = server_init,
                         .receive = client_receive,
                         .terminate = client_terminate};
    int result = weft_type_register(run->runtime, &def, &run->small);
    def.name = "large";
    def.state_size = 4096;
    def.receive = server_receive;
    def.terminate = NULL;
    result = result != 0 ? result : weft_type_register(run->runtime, &def, &run->large);
    def.name = "full";
    def.mailbox_max = 1;
    return result != 0 ? result : weft_type_register(run->runtime, &def, &run->full);
}

static void use_from_outside(struct run *run, weft_pid pid) {
    weft_msg *reply = NULL;
    unsigned char bytes[LARGE];
    memset(bytes, 0x11, sizeof(bytes));
    if (accept(run,
               weft_runtime_call(run->runtime, pid, TAG_ECHO, bytes, LARGE, 10 * S_NS, &reply))) {
        weft_runtime_msg_release(run->runtime, &reply);
    }
    (void)accept(run, weft_runtime_send(run->runtime, pid, TAG_NONE, bytes, 100));
    weft_cq *queue = NULL;
    if (!accept(run, weft_cq_create(run->runtime, 4, &queue))) {
        return;
    }
    if (accept(run, weft_cq_call(queue, pid, TAG_ECHO, bytes, 100, 10 * S_NS, 1))) {
        weft_completion completion;
        eventually(weft_cq_next(queue, &completion) == 1);
        if (accept(run, completion.status)) {
            weft_runtime_msg_release(run->runtime, &completion.reply);
        }
    }
    weft_cq_destroy(&queue);
}

/* Everything between create and destroy. */
static void run_inside(struct run *run) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &run,
                                  .arg_size = sizeof(run),
                                  .scheduler = 1,
                                  .pin = true};
    weft_pid client;
    weft_pid server;
    if (!accept(run, register_types(run)) || !accept(run, weft_runtime_start(run->runtime))) {
        return;
    }
    if (accept(run, weft_runtime_spawn(run->runtime, run->large, &options, &server))) {
        use_from_outside(run, server);
    }
    if (accept(run, weft_runtime_spawn(run->runtime, run->small, &options, &client)) &&
        accept(run, weft_runtime_send(run->runtime, client, TAG_GO, NULL, 0))) {
        eventually(atomic_load(&run->done) == 1);
        sleep_ns(run->memory.fail_further ? 3 * MS_NS : 0);
        atomic_store(&run->memory.fail_at, 0); /* timers and timeouts need memory to be told */
        eventually(atomic_load(&run->calls) == 0 && atomic_load(&run->timers) == 0 &&
                   atomic_load(&run->jobs) == 0);
    }
}

/* Runs the scenario; how many requests for memory it made. */
static uint64_t scenario(uint64_t fail_at, bool fail_further) {
    struct run *run = calloc(1, sizeof(*run));
    ck_assert_ptr_nonnull(run);
    atomic_store(&run->memory.fail_at, fail_at);
    run->memory.fail_further = fail_further;
    weft_config config = memory_config(&run->memory);
    if (accept(run, weft_runtime_create(&config, &run->runtime))) {
        run_inside(run);
        /* A stop needs memory for its signals; it tries until there is some. */
        atomic_store(&run->memory.fail_at, 0);
        int result = weft_runtime_stop(run->runtime, 20 * S_NS);
        ck_assert_int_eq(result, 0);
        weft_gauges gauges = {.struct_size = sizeof(gauges)};
        ck_assert_int_eq(weft_gauges_read(run->runtime, &gauges), 0);
        ck_assert_uint_eq(gauges.actors, 0);
        ck_assert_uint_eq(gauges.messages, 0);
        ck_assert_uint_eq(gauges.timers, 0);
        ck_assert_uint_eq(gauges.buffers, 0);
        ck_assert_int_eq(weft_runtime_destroy(&run->runtime), 0);
    }
    ck_assert_ptr_null(run->runtime);
    ck_assert_int_eq(atomic_load(&run->memory.blocks), 0);
    ck_assert_int_eq(atomic_load(&run->memory.bytes), 0);
    /* An error is told if and only if something failed; a log line or a statistic may be lost. */
    if (atomic_load(&run->memory.failed) == 0) {
        ck_assert_uint_le(atomic_load(&run->errors), 1); /* the call nobody answers */
        ck_assert_uint_eq(atomic_load(&run->cleanups), 5);
    }
    uint64_t requests = atomic_load(&run->memory.requests);
    free(run);
    return requests;
}

START_TEST(the_scenario_works_with_enough_memory) {
    uint64_t requests = scenario(0, false);
    ck_assert_uint_gt(requests, 40); /* it does test something */
    ck_assert_uint_lt(requests, 400);
}
END_TEST

/* The number of requests differs a little from run to run: go on until none failed in three. */
START_TEST(every_single_failure_is_an_error_and_nothing_else) {
    uint32_t passed = 0;
    for (uint64_t n = 1; passed < 3; n++) {
        ck_assert_uint_lt(n, 1000);
        passed = scenario(n, false) < n ? passed + 1 : 0;
    }
}
END_TEST

START_TEST(memory_that_stays_out_is_an_error_and_nothing_else) {
    uint32_t passed = 0;
    for (uint64_t n = 1; passed < 3; n++) {
        ck_assert_uint_lt(n, 1000);
        passed = scenario(n, true) < n ? passed + 1 : 0;
    }
}
END_TEST

static Suite *alloc_suite(void) {
    Suite *suite = suite_create("alloc");
    TCase *memory = tcase_create("memory");
    tcase_set_timeout(memory, 300);
    tcase_add_test(memory, the_scenario_works_with_enough_memory);
    tcase_add_test(memory, every_single_failure_is_an_error_and_nothing_else);
    tcase_add_test(memory, memory_that_stays_out_is_an_error_and_nothing_else);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void) {
    return run_suite(alloc_suite());
}
