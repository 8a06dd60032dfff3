/* SPDX-License-Identifier: MIT
 *
 * gen_server_SUITE, third part: calls to many servers at once, and calls made while very many
 * messages wait. The cases are explained in docs/otp-conformance.md.
 */
#include "tests/unit/otp_server.h"

enum {
    SERVERS = 5,
    WAITING = 200000, /* messages */
    CALLS = 1000,
    TRIES = 3,
};

static weft_multi_request request_of(const weft_pid *pids, uint32_t count, uint32_t tag,
                                     const uint64_t *ns) {
    return (weft_multi_request){.struct_size = WEFT_MULTI_REQUEST_INIT,
                                .targets = pids,
                                .count = count,
                                .tag = tag,
                                .data = ns,
                                .size = ns == NULL ? 0 : sizeof(*ns),
                                .timeout_ns = PATIENCE_NS};
}

/* Calls all; the statuses, and how many answered. */
static int multi_call(weft_ctx *ctx, const weft_multi_request *request, int *statuses) {
    weft_multi_result results[SERVERS] = {0};
    int answered = weft_multi_call_wait(ctx, request, results);
    int replies = 0;
    for (uint32_t i = 0; i < request->count; i++) {
        statuses[i] = results[i].status;
        ck_assert((results[i].reply != NULL) == (results[i].status == 0));
        if (results[i].reply != NULL) {
            replies++;
            weft_msg_release(ctx, &results[i].reply);
        }
    }
    ck_assert_int_eq(answered, replies);
    return answered;
}

static void start_all(weft_ctx *ctx, weft_pid *pids) {
    for (uint32_t i = 0; i < SERVERS; i++) {
        pids[i] = start_server_with(ctx, (struct server_arg){0}, WEFT_SPAWN_LINK, 0);
    }
}

static void kill_all(weft_ctx *ctx, const weft_pid *pids) {
    for (uint32_t i = 0; i < SERVERS; i++) {
        if (lives(stage_of(ctx), pids[i])) {
            ck_assert_int_eq(weft_kill(ctx, pids[i]), 0);
            expect_exit(ctx, pids[i], WEFT_E_KILLED);
        }
    }
}

/* ---- calls to many ------------------------------------------------------------------------- */

PLAY(multicall) {
    weft_pid pid = start_server(ctx);
    uint64_t ns = MS_NS;
    int status = -1;
    weft_multi_request request = request_of(&pid, 1, CALL_DELAYED, &ns);
    ck_assert_int_eq(multi_call(ctx, &request, &status), 1);
    ns = 10 * S_NS;
    request = request_of(&pid, 1, CALL_WITHIN, &ns);
    ck_assert_int_eq(multi_call(ctx, &request, &status), 1);
    request = request_of(&pid, 1, CALL_NEXT, NULL);
    weft_multi_result result = {0};
    ck_assert_int_eq(weft_multi_call_wait(ctx, &request, &result), 1);
    uint32_t in_time = 0;
    memcpy(&in_time, weft_msg_data(result.reply), sizeof(in_time));
    ck_assert_uint_eq(in_time, 1);
    weft_msg_release(ctx, &result.reply);
    request = request_of(&pid, 1, CALL_STOP, NULL);
    ck_assert_int_eq(multi_call(ctx, &request, &status), 1);
    expect_exit(ctx, pid, STOPPED);
    ck_assert_int_eq(multi_call(ctx, &request, &status), 0);
    ck_assert_int_eq(status, WEFT_E_NOPROC);
}

/* One that cannot be reached does not hold up the others. */
PLAY(multicall_down) {
    weft_pid pids[2] = {weft_self(ctx), start_server(ctx)};
    int statuses[2] = {0};
    pids[0].node ^= 0x5555;
    uint64_t begin_ns = clock_ns();
    weft_multi_request request = request_of(pids, 2, CALL_STARTED, NULL);
    ck_assert_int_eq(multi_call(ctx, &request, statuses), 1);
    ck_assert_int_eq(statuses[0], WEFT_E_NOCONN);
    ck_assert_int_eq(statuses[1], 0);
    ck_assert_uint_lt(clock_ns() - begin_ns, 3 * S_NS);
    ck_assert_int_eq(stop_server(ctx, pids[1], 0), 0);
    expect_exit(ctx, pids[1], 0);
}

/* All answer; all are late; then one is dead, one is of a node that is gone, one does not answer. */
PLAY(multicall_remote) {
    weft_pid pids[SERVERS];
    int statuses[SERVERS] = {0};
    uint64_t ns = MS_NS;
    start_all(ctx, pids);
    weft_multi_request request = request_of(pids, SERVERS, CALL_STARTED, NULL);
    ck_assert_int_eq(multi_call(ctx, &request, statuses), SERVERS);
    request = request_of(pids, SERVERS, CALL_DELAYED, &ns);
    ck_assert_int_eq(multi_call(ctx, &request, statuses), SERVERS);

    ns = S_NS;
    request.timeout_ns = 10 * MS_NS;
    uint64_t begin_ns = clock_ns();
    ck_assert_int_eq(multi_call(ctx, &request, statuses), 0);
    ck_assert_uint_lt(clock_ns() - begin_ns, 900 * MS_NS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(statuses[i], -ETIMEDOUT);
    }

    weft_pid asked[SERVERS];
    memcpy(asked, pids, sizeof(asked));
    ck_assert_int_eq(weft_kill(ctx, pids[1]), 0);
    expect_exit(ctx, pids[1], WEFT_E_KILLED);
    asked[2].node ^= 0x5555;
    asked[3] = run_script(ctx, wait_for_ever, NULL, 0, 0); /* answers WEFT_E_NOREPLY */
    ns = MS_NS;
    request = request_of(asked, SERVERS, CALL_DELAYED, &ns);
    ck_assert_int_eq(multi_call(ctx, &request, statuses), 2);
    ck_assert_int_eq(statuses[0], 0);
    ck_assert_int_eq(statuses[1], WEFT_E_NOPROC);
    ck_assert_int_eq(statuses[2], WEFT_E_NOCONN);
    ck_assert_int_eq(statuses[3], WEFT_E_NOREPLY);
    ck_assert_int_eq(statuses[4], 0);

    /* None of the late answers is ever seen. */
    expect_nothing(ctx, 1200 * MS_NS);
    ck_assert_int_eq(weft_kill(ctx, asked[3]), 0);
    kill_all(ctx, pids);
}

/* ---- while many messages wait -------------------------------------------------------------- */

static void flood_self(weft_ctx *ctx, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(weft_send(ctx, weft_self(ctx), 0x7000, NULL, 0), 0);
    }
}

static void drain_self(weft_ctx *ctx, uint32_t count) {
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), 0x7000);
    }
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
}

/* The best of some: the machine may be busy. */
static uint64_t time_calls(weft_ctx *ctx, weft_pid pid) {
    uint64_t best_ns = UINT64_MAX;
    for (uint32_t i = 0; i < TRIES; i++) {
        uint64_t begin_ns = clock_ns();
        for (uint32_t j = 0; j < CALLS; j++) {
            ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_PING, "42", 2, PATIENCE_NS, NULL), 0);
        }
        uint64_t took_ns = clock_ns() - begin_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return best_ns;
}

/* With 200,000 messages a scan of them all for each call would be a thousand times slower. */
static void not_much_slower(uint64_t empty_ns, uint64_t full_ns) {
    ck_assert_msg(full_ns < 10 * empty_ns + 20 * MS_NS, "none waits: %llu ns, many wait: %llu ns",
                  (unsigned long long)empty_ns, (unsigned long long)full_ns);
}

PLAY(call_with_huge_message_queue) {
    weft_pid pid = start_server(ctx);
    uint64_t empty_ns = time_calls(ctx, pid);
    flood_self(ctx, WAITING);
    /* The first one after the flood puts each message aside, once. */
    ck_assert_int_eq(call_server(ctx, pid, CALL_PING), 0);
    uint64_t full_ns = time_calls(ctx, pid);
    not_much_slower(empty_ns, full_ns);
    drain_self(ctx, WAITING);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
}

/* How long many calls to two take, of which so many answer. */
static uint64_t time_multi(weft_ctx *ctx, const weft_multi_request *request, uint32_t times,
                           int answering) {
    int statuses[2];
    uint64_t best_ns = UINT64_MAX;
    for (uint32_t i = 0; i < TRIES; i++) {
        uint64_t begin_ns = clock_ns();
        for (uint32_t j = 0; j < times; j++) {
            ck_assert_int_eq(multi_call(ctx, request, statuses), answering);
        }
        uint64_t took_ns = clock_ns() - begin_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return best_ns;
}

static void multi_with_many(weft_ctx *ctx, const weft_multi_request *request, uint32_t times,
                            int answering) {
    uint64_t empty_ns = time_multi(ctx, request, times, answering);
    flood_self(ctx, WAITING);
    (void)time_multi(ctx, request, 1, answering);
    uint64_t full_ns = time_multi(ctx, request, times, answering);
    not_much_slower(empty_ns, full_ns);
    drain_self(ctx, WAITING);
}

PLAY(multicall_recv_opt_success) {
    weft_pid pids[SERVERS];
    start_all(ctx, pids);
    weft_multi_request request = request_of(pids, 2, CALL_PING, NULL);
    multi_with_many(ctx, &request, CALLS, 2);
    kill_all(ctx, pids);
}

PLAY(multicall_recv_opt_timeout) {
    weft_pid pids[SERVERS];
    uint64_t ns = 500 * MS_NS;
    start_all(ctx, pids);
    weft_multi_request request = request_of(pids, 2, CALL_DELAYED, &ns);
    request.timeout_ns = MS_NS;
    multi_with_many(ctx, &request, 50, 0);
    kill_all(ctx, pids);
    expect_nothing(ctx, 5 * MS_NS);
}

PLAY(multicall_recv_opt_noconnection) {
    weft_pid pids[SERVERS];
    start_all(ctx, pids);
    weft_pid asked[2] = {pids[0], pids[1]};
    asked[1].node ^= 0x5555;
    weft_multi_request request = request_of(asked, 2, CALL_PING, NULL);
    multi_with_many(ctx, &request, CALLS, 1);
    kill_all(ctx, pids);
}

int main(void) {
    Suite *suite = suite_create("otp_gen_server_many");
    ADD(suite, multicall);
    ADD(suite, multicall_down);
    ADD(suite, multicall_remote);
    ADD(suite, call_with_huge_message_queue);
    ADD(suite, multicall_recv_opt_success);
    ADD(suite, multicall_recv_opt_timeout);
    ADD(suite, multicall_recv_opt_noconnection);
    return run_suite(suite);
}
