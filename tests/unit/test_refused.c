/* SPDX-License-Identifier: MIT
 *
 * A push that finds a mailbox busy reads a number in its newest message, which may have been freed
 * and be on its way to somebody else by then (mailbox.h, I3). It must not be refused for that:
 * once it was, about once in a million calls between two schedulers.
 */
#include <check.h>
#include <semaphore.h>
#include <stdlib.h>
#include <weft/weft.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CALLS = 100000 };
#else
enum { CALLS = 3000000 };
#endif
enum { SERVERS = 100, CALLERS = 2, IN_FLIGHT = 64, BOUND = 4096 };

struct shared {
    weft_pid servers[SERVERS];
    sem_t done;
};

struct caller {
    struct shared *shared;
    uint64_t seed;
    uint32_t sent;
    uint32_t answered;
    uint32_t refused;
};

static int serve(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    (void)weft_reply(ctx, &msg, 0, weft_msg_data(msg), weft_msg_size(msg));
    return WEFT_CONTINUE;
}

static void call_next(weft_ctx *ctx, struct caller *caller) {
    while (caller->sent < CALLS) { /* a refused call is counted and skipped */
        caller->seed = caller->seed * 6364136223846793005u + 1442695040888963407u;
        weft_pid server = caller->shared->servers[(caller->seed >> 33) % SERVERS];
        caller->sent++;
        if (weft_call(ctx, server, 0, &caller->sent, sizeof(caller->sent), 0, 0) == 0) {
            return;
        }
        caller->refused++;
        caller->answered++;
    }
}

static int call(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct caller *caller = *(struct caller **)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        caller->answered++;
        call_next(ctx, caller);
    } else {
        for (int i = 0; i < IN_FLIGHT; i++) {
            call_next(ctx, caller);
        }
    }
    if (caller->answered == CALLS) {
        (void)sem_post(&caller->shared->done);
    }
    return WEFT_CONTINUE;
}

static int call_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    ck_assert_uint_eq(arg_size, sizeof(struct caller *));
    *(struct caller **)state = *(struct caller *const *)arg;
    return WEFT_CONTINUE;
}

START_TEST(a_call_to_a_short_mailbox_is_never_refused) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 2};
    weft_runtime *runtime;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    weft_type_def server = {WEFT_TYPE_DEF_INIT, .name = "server", .receive = serve,
                            .mailbox_max = BOUND};
    weft_type_def client = {WEFT_TYPE_DEF_INIT, .name = "client",
                            .state_size = sizeof(struct caller *), .init = call_init,
                            .receive = call};
    const weft_type *server_type;
    const weft_type *client_type;
    ck_assert_int_eq(weft_type_register(runtime, &server, &server_type), 0);
    ck_assert_int_eq(weft_type_register(runtime, &client, &client_type), 0);
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    struct shared shared;
    ck_assert_int_eq(sem_init(&shared.done, 0, 0), 0);
    for (int i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(weft_runtime_spawn(runtime, server_type, NULL, &shared.servers[i]), 0);
    }
    struct caller callers[CALLERS] = {0};
    for (uint32_t i = 0; i < CALLERS; i++) {
        struct caller *caller = &callers[i];
        caller->shared = &shared;
        caller->seed = i + 1;
        weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                      .arg = &caller,
                                      .arg_size = sizeof(caller),
                                      .scheduler = i + 1,
                                      .pin = true};
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(runtime, client_type, &options, &pid), 0);
        ck_assert_int_eq(weft_runtime_send(runtime, pid, 0, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < CALLERS; i++) {
        ck_assert_int_eq(sem_wait(&shared.done), 0);
    }
    ck_assert_int_eq(weft_runtime_stop(runtime, UINT64_C(30000000000)), 0);
    for (uint32_t i = 0; i < CALLERS; i++) {
        ck_assert_uint_eq(callers[i].refused, 0);
    }
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("refused");
    TCase *tcase = tcase_create("refused");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_call_to_a_short_mailbox_is_never_refused);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
