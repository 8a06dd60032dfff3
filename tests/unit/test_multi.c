/* SPDX-License-Identifier: MIT
 *
 * Calls to many, from handlers and from threads outside: each call has exactly one outcome, in its
 * place, whatever the others do. From processes: test_multi_wait.c.
 */
#include "tests/unit/multi_support.h"

/* ---- from handlers ------------------------------------------------------------------------- */

struct many {
    const weft_multi_request *request;
    uint64_t token;
    int result;
    int cancelled;
};

static void call_many(weft_ctx *ctx, void *arg) {
    struct many *many = arg;
    many->result = weft_multi_call(ctx, many->request, many->token);
}

/* The replies a client has, by token from first on: each exactly once. */
static void check_tokens(struct probe *probe, uint64_t first, uint32_t count) {
    eventually(probe_count(probe) >= count);
    ck_assert_uint_eq(probe_count(probe), count);
    bool *seen = calloc(count, sizeof(*seen));
    ck_assert_ptr_nonnull(seen);
    for (uint32_t i = 0; i < count; i++) {
        struct seen reply = probe_at(probe, i);
        ck_assert_int_eq(reply.kind, WEFT_MSG_REPLY);
        ck_assert_uint_ge(reply.token, first);
        ck_assert_uint_lt(reply.token - first, count);
        ck_assert(!seen[reply.token - first]);
        seen[reply.token - first] = true;
    }
    free(seen);
}

static struct seen reply_of(struct probe *probe, uint64_t token) {
    for (uint32_t i = 0; i < probe_count(probe); i++) {
        struct seen reply = probe_at(probe, i);
        if (reply.token == token) {
            return reply;
        }
    }
    ck_abort_msg("no reply with token %llu", (unsigned long long)token);
    return (struct seen){0};
}

START_TEST(each_target_answers_under_its_token) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    weft_multi_request request = request_to(park, TAG_ECHO);
    struct many many = {.request = &request, .token = 1000};
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, SERVERS);
    check_tokens(&probe, 1000, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        struct seen reply = reply_of(&probe, 1000 + i);
        ck_assert_int_eq(reply.status, 0);
        struct answer answer = answer_of(reply.data, reply.size);
        ck_assert_uint_eq(answer.number, i);
        ck_assert_uint_eq(answer.first, 4711);
        ck_assert(weft_pid_equal(reply.sender, park->pids[i]));
    }
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(who_cannot_be_called_is_a_reply_as_well) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    kill_server(park, 1);
    kill_server(park, 19);
    park->pids[2] = weft_pid_none();
    park->pids[3] = (weft_pid){.node = 99, .slot = 1, .gen = 1};
    park->pids[4] = (weft_pid){.node = park->pids[0].node, .slot = UINT32_MAX, .gen = 7};
    park->pids[6] = park->pids[5]; /* twice */
    weft_multi_request request = request_to(park, TAG_ECHO);
    struct many many = {.request = &request, .token = 0};
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, SERVERS);
    check_tokens(&probe, 0, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        int expected = i == 1 || i == 19 || i == 2 || i == 4 ? WEFT_E_NOPROC
                       : i == 3                              ? WEFT_E_NOCONN
                                                             : 0;
        ck_assert_int_eq(reply_of(&probe, i).status, expected);
        ck_assert(expected == 0 || reply_of(&probe, i).size == 0);
    }
    settle(&park->rig, client);
    ck_assert_uint_eq(probe_count(&probe), SERVERS);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(every_other_outcome_is_that_of_a_call) {
    static const struct {
        uint32_t tag;
        int status;
    } cases[] = {{TAG_IGNORE, WEFT_E_NOREPLY},
                 {TAG_REFUSE, -ENOTSUP},
                 {TAG_HOLD, -ETIMEDOUT},
                 {TAG_CRASH, WEFT_E_NOPROC}};
    struct park *park = park_start(2, SERVERS);
    for (uint32_t i = 0; i < 4; i++) {
        struct probe probe = PROBE_INIT;
        weft_pid client = rig_spawn(&park->rig, &probe);
        weft_multi_request request = request_to(park, cases[i].tag);
        request.timeout_ns = cases[i].tag == TAG_HOLD ? 5 * MS_NS : 20 * S_NS;
        struct many many = {.request = &request, .token = 7};
        act(&park->rig, client, call_many, &many);
        ck_assert_int_eq(many.result, SERVERS);
        check_tokens(&probe, 7, SERVERS);
        for (uint32_t n = 0; n < SERVERS; n++) {
            ck_assert_int_eq(reply_of(&probe, 7 + n).status, cases[i].status);
        }
        settle(&park->rig, client);
        probe_fini(&probe);
        ck_assert_int_eq(weft_runtime_kill_actor(park->rig.runtime, client), 0);
    }
    park_stop(park);
}
END_TEST

START_TEST(a_full_mailbox_is_the_outcome_of_that_call_only) {
    struct park *park = park_start(2, 3);
    weft_type_def def = server_def("full");
    def.mailbox_max = 1;
    def.mailbox_policy = (uint32_t)_i;
    const weft_type *type = rig_type(&park->rig, &def);
    struct probe probe = PROBE_INIT;
    park->pids[1] = spawn_server(park, type, 1);
    settle(&park->rig, rig_spawn(&park->rig, NULL));
    weft_pid client = rig_spawn(&park->rig, &probe);
    /* Thirty times the same, at once: it cannot keep up with a mailbox of one. */
    weft_pid targets[32];
    for (uint32_t i = 0; i < 32; i++) {
        targets[i] = park->pids[i == 0 ? 0 : i == 31 ? 2 : 1];
    }
    weft_multi_request request = request_to(park, TAG_ECHO);
    request.targets = targets;
    request.count = 32;
    struct many many = {.request = &request, .token = 100};
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, 32);
    eventually(probe_count_kind(&probe, WEFT_MSG_REPLY) == 32);
    ck_assert_int_eq(reply_of(&probe, 100).status, 0);
    ck_assert_int_eq(reply_of(&probe, 131).status, 0);
    uint32_t busy = 0;
    for (uint32_t i = 1; i < 31; i++) {
        int status = reply_of(&probe, 100 + i).status;
        ck_assert(status == 0 || status == -EBUSY || status == WEFT_E_OVERLOAD);
        busy += status == 0 ? 0 : 1;
    }
    ck_assert_uint_gt(busy, 0);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_large_payload_is_copied_once) {
    struct park *park = park_start(2, SERVERS);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    unsigned char *large = malloc(LARGE);
    ck_assert_ptr_nonnull(large);
    memset(large, 0x77, LARGE);
    weft_multi_request request = request_to(park, TAG_HOLD);
    request.data = large;
    request.size = LARGE;
    struct many many = {.request = &request, .token = 0};
    act(&park->rig, client, call_many, &many);
    memset(large, 0, LARGE); /* it was copied */
    eventually(weft_load32_acquire(&requests) == SERVERS);
    ck_assert_uint_eq(rig_gauges(&park->rig).buffers, 1);
    for (uint32_t i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(weft_runtime_send(park->rig.runtime, park->pids[i], TAG_ANSWER, NULL, 0),
                         0);
    }
    check_tokens(&probe, 0, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        struct seen reply = reply_of(&probe, i);
        ck_assert_int_eq(reply.status, 0);
        ck_assert_uint_eq(answer_of(reply.data, reply.size).first, 0x77777777);
    }
    free(large);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

/* All sizes around those at which messages change their form. */
START_TEST(payloads_of_all_sizes_arrive) {
    struct park *park = park_start(1, 3);
    unsigned char data[600];
    memset(data, 0x77, sizeof(data));
    for (size_t size = 0; size <= sizeof(data); size++) {
        weft_multi_result results[3];
        weft_multi_request request = request_to(park, TAG_ECHO);
        request.data = size == 0 ? NULL : data;
        request.size = size;
        ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &request, results), 3);
        for (uint32_t i = 0; i < 3; i++) {
            struct answer answer =
                answer_of(weft_msg_data(results[i].reply), weft_msg_size(results[i].reply));
            uint32_t expected = 0;
            memset(&expected, 0x77, size < 4 ? size : 4);
            ck_assert_uint_eq(answer.first, expected);
            weft_runtime_msg_release(park->rig.runtime, &results[i].reply);
        }
    }
    park_stop(park);
}
END_TEST

START_TEST(thousands_at_once) {
    struct park *park = park_start(schedulers_of(_i), SERVERS_MAX);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    for (uint32_t i = 0; i < SERVERS_MAX; i += 100) {
        kill_server(park, i);
    }
    weft_multi_request request = request_to(park, TAG_ECHO);
    struct many many = {.request = &request, .token = UINT64_MAX - 10}; /* they wrap around */
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, SERVERS_MAX);
    eventually(probe_count(&probe) == SERVERS_MAX);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < SERVERS_MAX; i++) {
        failed += probe_at(&probe, i).status == 0 ? 0 : 1;
    }
    ck_assert_uint_eq(failed, SERVERS_MAX / 100);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(above_the_limit_of_calls_nobody_is_called) {
    struct park *park = park_start(1, SERVERS);
    weft_config config = rig_config(1);
    config.calls_max = SERVERS - 1;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&rig, &probe);
    weft_pid target = rig_spawn(&rig, NULL);
    weft_pid targets[SERVERS];
    for (uint32_t i = 0; i < SERVERS; i++) {
        targets[i] = target;
    }
    weft_multi_request request = request_to(park, TAG_ECHO);
    request.targets = targets;
    struct many many = {.request = &request, .token = 0};
    uint64_t sent = rig_stats(&rig).messages_sent;
    act(&rig, client, call_many, &many);
    ck_assert_int_eq(many.result, WEFT_E_LIMIT);
    ck_assert_uint_eq(rig_stats(&rig).messages_sent, sent + 2); /* those of act */
    request.count = SERVERS - 1;
    act(&rig, client, call_many, &many); /* all room is there again */
    ck_assert_int_eq(many.result, SERVERS - 1);
    check_tokens(&probe, 0, SERVERS - 1);
    rig_stop(&rig);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

static void cancel_many(weft_ctx *ctx, void *arg) {
    struct many *many = arg;
    many->cancelled = 0;
    many->result = weft_multi_call(ctx, many->request, many->token);
    for (uint32_t i = 0; i < many->request->count; i++) {
        many->cancelled += weft_call_cancel(ctx, many->token + i);
    }
}

START_TEST(cancelled_calls_have_no_reply) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    park->pids[3] = weft_pid_none();
    weft_multi_request request = request_to(park, TAG_ECHO);
    struct many many = {.request = &request, .token = 50};
    act(&park->rig, client, cancel_many, &many);
    ck_assert_int_eq(many.result, SERVERS);
    ck_assert_int_eq(many.cancelled, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        if (i != 3) {
            settle(&park->rig, client);
        }
    }
    /* Answered too late, or never handled. */
    eventually(rig_stats(&park->rig).replies_late + rig_stats(&park->rig).requests_expired ==
               SERVERS);
    ck_assert_uint_eq(probe_count(&probe), 0);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

/* Late answers of one round, in the middle of the next, with the same tokens. */
START_TEST(late_answers_are_not_those_of_the_next_round) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    uint32_t seen = 0;
    for (uint32_t round = 0; round < 5; round++) {
        weft_multi_request request = request_to(park, TAG_HOLD);
        request.timeout_ns = MS_NS;
        struct many many = {.request = &request, .token = 0};
        act(&park->rig, client, call_many, &many);
        eventually(probe_count(&probe) == seen + SERVERS);
        for (uint32_t i = 0; i < SERVERS; i++) {
            ck_assert_int_eq(probe_at(&probe, seen + i).status, -ETIMEDOUT);
            ck_assert_int_eq(
                weft_runtime_send(park->rig.runtime, park->pids[i], TAG_ANSWER, NULL, 0), 0);
        }
        seen += SERVERS;
        uint32_t word = 100 + round;
        request = request_to(park, TAG_ECHO);
        request.data = &word;
        act(&park->rig, client, call_many, &many);
        eventually(probe_count(&probe) == seen + SERVERS);
        for (uint32_t i = 0; i < SERVERS; i++) {
            struct seen reply = probe_at(&probe, seen + i);
            ck_assert_int_eq(reply.status, 0);
            ck_assert_uint_eq(answer_of(reply.data, reply.size).first, word);
        }
        seen += SERVERS;
    }
    settle(&park->rig, client);
    ck_assert_uint_eq(probe_count(&probe), seen);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_serial_actor_among_its_own_targets_is_told) {
    struct park *park = park_start(2, 2);
    weft_type_def def = puppet_def("serial");
    def.flags = WEFT_TYPE_SERIAL;
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn_type(&park->rig, rig_type(&park->rig, &def), &probe);
    weft_pid targets[3] = {park->pids[0], client, park->pids[1]};
    weft_multi_request request = request_to(park, TAG_ECHO);
    request.targets = targets;
    request.count = 3;
    struct many many = {.request = &request, .token = 0};
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, 3);
    check_tokens(&probe, 0, 3);
    ck_assert_int_eq(reply_of(&probe, 0).status, 0);
    ck_assert_int_eq(reply_of(&probe, 1).status, -EDEADLK);
    ck_assert_int_eq(reply_of(&probe, 2).status, 0);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_caller_that_ends_leaves_nothing) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    park->pids[5] = weft_pid_none();
    for (uint32_t round = 0; round < 20; round++) {
        struct probe probe = PROBE_INIT;
        weft_pid client = rig_spawn(&park->rig, &probe);
        weft_multi_request request = request_to(park, round % 2 == 0 ? TAG_ECHO : TAG_HOLD);
        struct many many = {.request = &request, .token = 0};
        act(&park->rig, client, call_many, &many);
        ck_assert_int_eq(weft_runtime_kill_actor(park->rig.runtime, client), 0);
        eventually(!is_alive(&park->rig, client));
        probe_fini(&probe);
    }
    park_stop(park); /* every message is accounted for */
}
END_TEST

/* ---- bad requests -------------------------------------------------------------------------- */

START_TEST(bad_requests_are_invalid) {
    struct park *park = park_start(1, 2);
    struct probe probe = PROBE_INIT;
    weft_pid client = rig_spawn(&park->rig, &probe);
    weft_multi_request bad[7];
    int expected[7] = {-EINVAL, -E2BIG, -EINVAL, -EINVAL, -EINVAL, -EMSGSIZE, -EINVAL};
    for (int i = 0; i < 7; i++) {
        bad[i] = request_to(park, TAG_ECHO);
    }
    bad[0].struct_size = 0;
    bad[1].struct_size = SIZE_MAX;
    bad[2].targets = NULL;
    bad[3].data = NULL;
    bad[4].count = (uint32_t)INT32_MAX + 1;
    bad[5].size = SIZE_MAX;
    bad[6].struct_size = sizeof(weft_multi_request) - 1;
    weft_multi_result results[2];
    memset(results, 0x55, sizeof(results));
    for (int i = 0; i < 7; i++) {
        struct many many = {.request = &bad[i]};
        act(&park->rig, client, call_many, &many);
        ck_assert_int_eq(many.result, expected[i]);
        ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &bad[i], results), expected[i]);
    }
    struct many many = {.request = NULL};
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, -EINVAL);
    weft_multi_request good = request_to(park, TAG_ECHO);
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, NULL, results), -EINVAL);
    ck_assert_int_eq(weft_runtime_multi_call(NULL, &good, results), -EINVAL);
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &good, NULL), -EINVAL);
    ck_assert_int_eq(results[0].status, 0x55555555); /* untouched */
    settle(&park->rig, client);
    ck_assert_uint_eq(probe_count(&probe), 0);
    good.count = 0;
    good.targets = NULL;
    many.request = &good;
    act(&park->rig, client, call_many, &many);
    ck_assert_int_eq(many.result, 0);
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &good, NULL), 0);
    park_stop(park);
    probe_fini(&probe);
}
END_TEST

/* ---- from outside -------------------------------------------------------------------------- */

static void release_all(struct park *park, weft_multi_result *results, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        weft_runtime_msg_release(park->rig.runtime, &results[i].reply);
    }
}

START_TEST(a_thread_outside_gets_all_answers_in_their_order) {
    struct park *park = park_start(schedulers_of(_i), SERVERS);
    kill_server(park, 3);
    park->pids[4] = weft_pid_none();
    park->pids[5] = (weft_pid){.node = 99, .slot = 1, .gen = 1};
    weft_multi_result results[SERVERS];
    for (uint32_t round = 0; round < 50; round++) {
        weft_multi_request request = request_to(park, TAG_ECHO);
        request.data = &round;
        ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &request, results),
                         SERVERS - 3);
        for (uint32_t i = 0; i < SERVERS; i++) {
            if (i >= 3 && i <= 5) {
                ck_assert_int_eq(results[i].status, i == 5 ? WEFT_E_NOCONN : WEFT_E_NOPROC);
                ck_assert_ptr_null(results[i].reply);
                continue;
            }
            ck_assert_int_eq(results[i].status, 0);
            struct answer answer =
                answer_of(weft_msg_data(results[i].reply), weft_msg_size(results[i].reply));
            ck_assert_uint_eq(answer.number, i);
            ck_assert_uint_eq(answer.first, round);
        }
        release_all(park, results, SERVERS);
    }
    park_stop(park);
}
END_TEST

START_TEST(the_time_is_for_all_together) {
    struct park *park = park_start(2, SERVERS);
    weft_multi_result results[SERVERS];
    weft_multi_request request = request_to(park, TAG_HOLD);
    request.timeout_ns = 20 * MS_NS;
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &request, results), 0);
    uint64_t waited_ns = clock_ns() - before_ns;
    ck_assert_uint_ge(waited_ns, 20 * MS_NS);
    ck_assert_uint_lt(waited_ns, 2 * S_NS); /* not twenty times that, even if loaded */
    for (uint32_t i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(results[i].status, -ETIMEDOUT);
        ck_assert_ptr_null(results[i].reply);
    }
    /* The late answers of that, before and while the next ones come. */
    for (uint32_t i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(weft_runtime_send(park->rig.runtime, park->pids[i], TAG_ANSWER, NULL, 0),
                         0);
    }
    uint32_t word = 5;
    request = request_to(park, TAG_ECHO);
    request.data = &word;
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &request, results), SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        struct answer answer =
            answer_of(weft_msg_data(results[i].reply), weft_msg_size(results[i].reply));
        ck_assert_uint_eq(answer.number, i);
        ck_assert_uint_eq(answer.first, 5);
    }
    release_all(park, results, SERVERS);
    weft_msg *reply = NULL; /* nor is one of them the answer to an ordinary call */
    ck_assert_int_eq(
        weft_runtime_call(park->rig.runtime, park->pids[7], TAG_ECHO, "abcd", 4, S_NS, &reply), 0);
    ck_assert_uint_eq(answer_of(weft_msg_data(reply), weft_msg_size(reply)).number, 7);
    weft_runtime_msg_release(park->rig.runtime, &reply);
    park_stop(park);
}
END_TEST

static void call_inside(weft_ctx *ctx, void *arg) {
    struct many *many = arg;
    weft_multi_result result;
    many->result = weft_runtime_multi_call(weft_runtime_of(ctx), many->request, &result);
}

START_TEST(the_outside_form_is_refused_inside_and_when_not_running) {
    struct park *park = park_start(1, 1);
    weft_pid client = rig_spawn(&park->rig, NULL);
    weft_multi_request request = request_to(park, TAG_ECHO);
    struct many many = {.request = &request};
    act(&park->rig, client, call_inside, &many);
    ck_assert_int_eq(many.result, -EDEADLK);
    ck_assert_int_eq(weft_runtime_stop(park->rig.runtime, 10 * S_NS), 0);
    weft_multi_result result;
    ck_assert_int_eq(weft_runtime_multi_call(park->rig.runtime, &request, &result),
                     WEFT_E_SHUTDOWN);
    park_stop(park);
}
END_TEST

struct crowd {
    struct park *park;
    uint32_t first;
};

static void *crowd_call(void *arg) {
    struct crowd *crowd = arg;
    weft_multi_result results[SERVERS];
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t word = crowd->first + round;
        weft_multi_request request = request_to(crowd->park, TAG_ECHO);
        request.data = &word;
        request.timeout_ns = round % 10 == 9 ? 1000 : 20 * S_NS;
        int answered = weft_runtime_multi_call(crowd->park->rig.runtime, &request, results);
        ck_assert_int_ge(answered, 0);
        for (uint32_t i = 0; i < SERVERS; i++) {
            if (results[i].status == 0) {
                struct answer answer =
                    answer_of(weft_msg_data(results[i].reply), weft_msg_size(results[i].reply));
                ck_assert_uint_eq(answer.number, i);
                ck_assert_uint_eq(answer.first, word);
                answered--;
            } else {
                ck_assert_int_eq(results[i].status, -ETIMEDOUT);
            }
        }
        ck_assert_int_eq(answered, 0);
        release_all(crowd->park, results, SERVERS);
    }
    return NULL;
}

START_TEST(threads_do_not_get_each_others_answers) {
    struct park *park = park_start(2, SERVERS);
    struct crowd crowds[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        crowds[i] = (struct crowd){.park = park, .first = i * 10000};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_call, &crowds[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    park_stop(park);
}
END_TEST

static Suite *multi_suite(void) {
    Suite *suite = suite_create("multi");
    TCase *handler = tcase_create("handler");
    tcase_add_loop_test(handler, each_target_answers_under_its_token, 0, SCHEDULER_CASES);
    tcase_add_loop_test(handler, who_cannot_be_called_is_a_reply_as_well, 0, SCHEDULER_CASES);
    tcase_add_test(handler, every_other_outcome_is_that_of_a_call);
    tcase_add_loop_test(handler, a_full_mailbox_is_the_outcome_of_that_call_only, 0, 3);
    tcase_add_test(handler, a_large_payload_is_copied_once);
    tcase_add_loop_test(handler, thousands_at_once, 0, SCHEDULER_CASES);
    tcase_add_test(handler, above_the_limit_of_calls_nobody_is_called);
    tcase_add_loop_test(handler, cancelled_calls_have_no_reply, 0, SCHEDULER_CASES);
    tcase_add_loop_test(handler, late_answers_are_not_those_of_the_next_round, 0, SCHEDULER_CASES);
    tcase_add_test(handler, a_serial_actor_among_its_own_targets_is_told);
    tcase_add_loop_test(handler, a_caller_that_ends_leaves_nothing, 0, SCHEDULER_CASES);
    tcase_add_test(handler, bad_requests_are_invalid);
    suite_add_tcase(suite, handler);
    TCase *outside = tcase_create("outside");
    tcase_add_loop_test(outside, a_thread_outside_gets_all_answers_in_their_order, 0,
                        SCHEDULER_CASES);
    tcase_add_test(outside, payloads_of_all_sizes_arrive);
    tcase_add_test(outside, the_time_is_for_all_together);
    tcase_add_test(outside, the_outside_form_is_refused_inside_and_when_not_running);
    tcase_add_test(outside, threads_do_not_get_each_others_answers);
    suite_add_tcase(suite, outside);
    return suite;
}

int main(void) {
    return run_suite(multi_suite());
}
