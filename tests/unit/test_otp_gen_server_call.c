/* SPDX-License-Identifier: MIT
 *
 * gen_server_SUITE, second part: calls, requests without waiting, casts, other messages and idle
 * times. The cases are explained in docs/otp-conformance.md; calls to many:
 * test_otp_gen_server_many.c.
 */
#include "tests/unit/otp_server.h"

/* ---- calls --------------------------------------------------------------------------------- */

/* Was this call within the time the one before had set? */
static bool next_in_time(weft_ctx *ctx, weft_pid pid) {
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_NEXT, NULL, 0, PATIENCE_NS, &reply), 0);
    uint32_t in_time = 0;
    ck_assert_uint_eq(weft_msg_size(reply), sizeof(in_time));
    memcpy(&in_time, weft_msg_data(reply), sizeof(in_time));
    weft_msg_release(ctx, &reply);
    return in_time == 1;
}

PLAY(call) {
    weft_pid pid = start_server(ctx);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    weft_msg *reply = NULL;
    uint64_t ns = MS_NS;
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_DELAYED, &ns, sizeof(ns), PATIENCE_NS, &reply),
                     0);
    ck_assert_uint_eq(weft_msg_size(reply), 7);
    ck_assert(memcmp(weft_msg_data(reply), "delayed", 7) == 0);
    weft_msg_release(ctx, &reply);

    /* Two within a time, and two that are not. */
    ck_assert_int_eq(call_server_ns(ctx, pid, CALL_WITHIN, 10 * S_NS, PATIENCE_NS), 0);
    ck_assert(next_in_time(ctx, pid));
    ck_assert_int_eq(call_server_ns(ctx, pid, CALL_WITHIN, 10 * MS_NS, PATIENCE_NS), 0);
    ck_assert_int_eq(weft_sleep(ctx, 50 * MS_NS), 0);
    ck_assert(!next_in_time(ctx, pid));

    /* Too late: the answer that comes then is nobody's. */
    ck_assert_int_eq(call_server_ns(ctx, pid, CALL_DELAYED, 300 * MS_NS, MS_NS), -ETIMEDOUT);
    expect_nothing(ctx, 400 * MS_NS);
    ck_assert_int_eq(call_server_ns(ctx, pid, CALL_DELAYED, 300 * MS_NS, MS_NS), -ETIMEDOUT);
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_PING, "mine", 4, PATIENCE_NS, &reply), 0);
    ck_assert_uint_eq(weft_msg_size(reply), 4);
    ck_assert(memcmp(weft_msg_data(reply), "mine", 4) == 0);
    weft_msg_release(ctx, &reply);

    /* A handler whose result is none. */
    int status = call_server(ctx, pid, CALL_BAD);
    ck_assert(status == WEFT_E_NOREPLY || status == WEFT_E_NOPROC);
    expect_exit(ctx, pid, -EINVAL);
}

PLAY(calling_self) {
    uint64_t begin_ns = clock_ns();
    ck_assert_int_eq(call_server(ctx, weft_self(ctx), CALL_PING), -EDEADLK);
    ck_assert_int_eq(
        weft_call_wait(ctx, weft_self(ctx), CALL_PING, NULL, 0, WEFT_TIMEOUT_NEVER, NULL),
        -EDEADLK);
    ck_assert_uint_lt(clock_ns() - begin_ns, S_NS);
    expect_nothing(ctx, 5 * MS_NS);
}

/* A server that has ended, by an exit signal. */
PLAY(call_remote1) {
    weft_pid pid = start_server(ctx);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    signal_exit(ctx, pid, CRASH);
    int status = weft_call_wait(ctx, pid, CALL_STARTED, NULL, 0, WEFT_TIMEOUT_NEVER, NULL);
    ck_assert(status == WEFT_E_NOPROC || status == WEFT_E_NOREPLY);
    expect_exit(ctx, pid, CRASH);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), WEFT_E_NOPROC);
}

/* An actor of a node that is not connected. */
static weft_pid far_away(weft_ctx *ctx) {
    weft_pid pid = weft_self(ctx);
    pid.node ^= 0x5555;
    return pid;
}

PLAY(call_remote_n2) {
    weft_pid pid = far_away(ctx);
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_STARTED, NULL, 0, WEFT_TIMEOUT_NEVER, NULL),
                     WEFT_E_NOCONN);
    ck_assert_int_eq(weft_monitor(ctx, pid, 5, NULL), 0);
    weft_reason reason = next_down(ctx, 5);
    ck_assert_int_eq(reason.code, WEFT_E_NOCONN);
    ck_assert_int_eq(weft_reason_kind(&reason), WEFT_REASON_NOCONNECTION);
    ck_assert_int_eq(weft_link(ctx, pid), 0);
    struct want ended = {.kind = WEFT_MSG_EXIT, .ctx = ctx};
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &ended, &msg), 0);
    ck_assert_int_eq(weft_msg_status(msg), WEFT_E_NOCONN);
    expect_nothing(ctx, 5 * MS_NS);
}

/* ---- requests without waiting -------------------------------------------------------------- */

static void request(weft_ctx *ctx, weft_pid pid, uint32_t tag, uint64_t ns, uint64_t token) {
    ck_assert_int_eq(weft_call(ctx, pid, tag, &ns, sizeof(ns), PATIENCE_NS, token), 0);
}

/* Waits for one answer; its status. */
static int await_answer(weft_ctx *ctx, uint64_t token, uint64_t timeout_ns) {
    weft_msg *reply = NULL;
    int result = weft_await(ctx, token, timeout_ns, &reply);
    if (result != 0) {
        return result;
    }
    ck_assert_int_eq(weft_msg_kind(reply), WEFT_MSG_REPLY);
    ck_assert_uint_eq(weft_msg_token(reply), token);
    int status = weft_msg_status(reply);
    weft_msg_release(ctx, &reply);
    return status;
}

PLAY(send_request) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){.named = 1}, WEFT_SPAWN_LINK, 0);
    request(ctx, pid, CALL_STARTED, 0, 1);
    ck_assert_int_eq(await_answer(ctx, 1, WEFT_FOREVER), 0);
    request(ctx, pid, CALL_DELAYED, MS_NS, 2);
    ck_assert_int_eq(await_answer(ctx, 2, WEFT_FOREVER), 0);

    /* Two under way, by pid and by name, awaited in the other order. */
    uint64_t ns = 10 * S_NS;
    ck_assert_int_eq(weft_name_call(ctx, "server", CALL_WITHIN, &ns, sizeof(ns), PATIENCE_NS, 3),
                     0);
    request(ctx, pid, CALL_NEXT, 0, 4);
    ck_assert_int_eq(await_answer(ctx, 4, WEFT_FOREVER), 0);
    ck_assert_int_eq(await_answer(ctx, 3, WEFT_FOREVER), 0);

    /* Not there yet: it may be awaited again. */
    request(ctx, pid, CALL_DELAYED, 300 * MS_NS, 5);
    ck_assert_int_eq(await_answer(ctx, 5, 0), -ETIMEDOUT);
    ck_assert_int_eq(await_answer(ctx, 5, MS_NS), -ETIMEDOUT);
    ck_assert_int_eq(await_answer(ctx, 5, WEFT_FOREVER), 0);

    /* The server ends. */
    request(ctx, pid, CALL_SHUTDOWN, 0, 6);
    int status = await_answer(ctx, 6, WEFT_FOREVER);
    ck_assert(status == WEFT_E_NOREPLY || status == WEFT_E_NOPROC);
    expect_exit(ctx, pid, WEFT_E_SHUTDOWN);
    ck_assert_int_eq(weft_call(ctx, pid, CALL_STARTED, NULL, 0, 0, 7), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_name_call(ctx, "server", CALL_STARTED, NULL, 0, 0, 8), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_call(ctx, far_away(ctx), CALL_STARTED, NULL, 0, 0, 9), WEFT_E_NOCONN);
    expect_nothing(ctx, 5 * MS_NS);
}

/* Three servers that answer after 300, 1 and 150 ms: tokens 1, 2 and 3. */
enum { SERVERS = 3 };

static void request_three(weft_ctx *ctx, const weft_pid *pids) {
    static const uint64_t delays[SERVERS] = {300, 1, 150};
    for (uint32_t i = 0; i < SERVERS; i++) {
        request(ctx, pids[i], CALL_DELAYED, delays[i] * MS_NS, i + 1);
    }
}

static void start_three(weft_ctx *ctx, weft_pid *pids) {
    for (uint32_t i = 0; i < SERVERS; i++) {
        pids[i] = start_server_with(ctx, (struct server_arg){0}, WEFT_SPAWN_LINK, 0);
    }
}

static void end_three(weft_ctx *ctx, const weft_pid *pids) {
    for (uint32_t i = 0; i < SERVERS; i++) {
        if (lives(stage_of(ctx), pids[i])) {
            ck_assert_int_eq(weft_kill(ctx, pids[i]), 0);
            expect_exit(ctx, pids[i], WEFT_E_KILLED);
        }
    }
    expect_nothing(ctx, 5 * MS_NS);
}

/* The next answer of any of them: its token, 0 when none comes in time. */
static uint64_t next_answer(weft_ctx *ctx, uint64_t timeout_ns, int *ret_status) {
    struct want reply = {.kind = WEFT_MSG_REPLY, .ctx = ctx};
    weft_msg *msg = NULL;
    int result = weft_receive_match(ctx, timeout_ns, want_matches, &reply, &msg);
    if (result == -ETIMEDOUT) {
        return 0;
    }
    ck_assert_int_eq(result, 0);
    *ret_status = weft_msg_status(msg);
    return weft_msg_token(msg);
}

static void expect_answer(weft_ctx *ctx, uint64_t token, int status) {
    int got = -1;
    ck_assert_uint_eq(next_answer(ctx, PATIENCE_NS, &got), token);
    ck_assert_int_eq(got, status);
}

/* As they come; what is abandoned never comes; an error is an outcome. */
PLAY(receive_collection) {
    weft_pid pids[SERVERS];
    int status = 0;
    start_three(ctx, pids);
    request_three(ctx, pids);
    expect_answer(ctx, 2, 0);
    expect_answer(ctx, 3, 0);
    expect_answer(ctx, 1, 0);
    ck_assert_uint_eq(next_answer(ctx, 0, &status), 0);

    request_three(ctx, pids);
    expect_answer(ctx, 2, 0);
    ck_assert_int_eq(weft_call_cancel(ctx, 1), 1);
    ck_assert_int_eq(weft_call_cancel(ctx, 3), 1);
    ck_assert_int_eq(weft_call_cancel(ctx, 2), 0);
    ck_assert_uint_eq(next_answer(ctx, 400 * MS_NS, &status), 0);

    request(ctx, pids[0], CALL_DELAYED, 150 * MS_NS, 1);
    request(ctx, pids[1], CALL_SHUTDOWN, 0, 2);
    ck_assert_uint_eq(next_answer(ctx, PATIENCE_NS, &status), 2);
    ck_assert(status == WEFT_E_NOREPLY || status == WEFT_E_NOPROC);
    expect_answer(ctx, 1, 0);
    expect_exit(ctx, pids[1], WEFT_E_SHUTDOWN);
    end_three(ctx, pids);
}

/* The same, but waiting in vain leaves them as they are. */
PLAY(wait_collection) {
    weft_pid pids[SERVERS];
    int status = 0;
    start_three(ctx, pids);
    request_three(ctx, pids);
    expect_answer(ctx, 2, 0);
    ck_assert_uint_eq(next_answer(ctx, 5 * MS_NS, &status), 0);
    ck_assert_int_eq(await_answer(ctx, 3, 0), -ETIMEDOUT);
    expect_answer(ctx, 3, 0);
    expect_answer(ctx, 1, 0);
    ck_assert_uint_eq(next_answer(ctx, 0, &status), 0);
    end_three(ctx, pids);
}

/* Messages that were received are asked whose answer they are. */
PLAY(check_collection) {
    weft_pid pids[SERVERS];
    static const uint64_t order[] = {0, 2, 3, 1};
    start_three(ctx, pids);
    request(ctx, pids[0], CALL_STARTED, 0, 99);
    ck_assert_int_eq(weft_send(ctx, weft_self(ctx), TELL_HANDLED, NULL, 0), 0);
    request_three(ctx, pids);
    ck_assert_int_eq(await_answer(ctx, 99, PATIENCE_NS), 0);
    for (uint32_t i = 0; i < 4; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        ck_assert_int_eq(weft_msg_kind(msg), i == 0 ? WEFT_MSG_USER : WEFT_MSG_REPLY);
        if (i != 0) {
            ck_assert_uint_eq(weft_msg_token(msg), order[i]);
            ck_assert_int_eq(weft_msg_status(msg), 0);
        }
    }
    end_three(ctx, pids);
}

/* The reference of a call takes one answer: none from elsewhere, none twice, none too late. */
static int call_and_end(weft_ctx *ctx, void *arg) {
    const weft_pid *pid = arg;
    ck_assert_int_eq(
        weft_call_wait(ctx, *pid, CALL_DELAYED, &(uint64_t){300 * MS_NS}, 8, MS_NS, NULL),
        -ETIMEDOUT);
    return 0;
}

PLAY(alias_reply) {
    weft_pid pid = start_server(ctx);
    (void)run_script(ctx, call_and_end, &pid, WEFT_SPAWN_MONITOR, 7);
    expect_down(ctx, 7, 0);
    /* The answer to one that has ended harms nobody. */
    ck_assert_int_eq(weft_sleep(ctx, 400 * MS_NS), 0);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
    expect_told(ctx, TELL_TERMINATED);
    expect_nothing(ctx, 5 * MS_NS);
}

/* ---- casts --------------------------------------------------------------------------------- */

static void cast_ns(weft_ctx *ctx, weft_pid pid, uint32_t tag, uint64_t ns) {
    ck_assert_int_eq(weft_send(ctx, pid, tag, &ns, sizeof(ns)), 0);
}

PLAY(cast) {
    weft_pid pid = start_server(ctx);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_HANDLE, NULL, 0), 0);
    expect_told(ctx, TELL_HANDLED);
    cast_ns(ctx, pid, CAST_DELAYED, MS_NS);
    expect_told(ctx, TELL_IDLE);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_STOP, NULL, 0), 0);
    expect_told(ctx, TELL_TERMINATED);
    expect_exit(ctx, pid, 0);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_HANDLE, NULL, 0), WEFT_E_NOPROC);
}

/* To a node nobody knows: said at once. */
PLAY(cast_fast) {
    uint64_t begin_ns = clock_ns();
    ck_assert_int_eq(weft_send(ctx, far_away(ctx), CAST_HANDLE, NULL, 0), WEFT_E_NOCONN);
    ck_assert_uint_lt(clock_ns() - begin_ns, S_NS);
}

/* To all of a group. */
PLAY(abcast) {
    enum { COUNT = 3 };
    weft_runtime *runtime = stage->rig.runtime;
    weft_broadcast what = {.struct_size = WEFT_BROADCAST_INIT, .tag = CAST_HANDLE};
    weft_pid pids[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = start_server(ctx);
        ck_assert_int_eq(weft_group_join(runtime, "servers", 7, pids[i]), 0);
    }
    ck_assert_int_eq(weft_group_broadcast(ctx, "servers", 7, &what), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_told(ctx, TELL_HANDLED);
    }
    uint64_t ns = MS_NS;
    what.tag = CAST_DELAYED;
    what.data = &ns;
    what.size = sizeof(ns);
    ck_assert_int_eq(weft_group_broadcast(ctx, "servers", 7, &what), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_told(ctx, TELL_IDLE);
    }
    what = (weft_broadcast){.struct_size = WEFT_BROADCAST_INIT, .tag = CAST_STOP};
    ck_assert_int_eq(weft_group_broadcast(ctx, "servers", 7, &what), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_told(ctx, TELL_TERMINATED);
        expect_exit(ctx, pids[i], 0);
    }
    ck_assert_int_eq(weft_group_broadcast(ctx, "servers", 7, &what), 0);
}

/* ---- other messages ------------------------------------------------------------------------ */

/* A worker the server monitors; its end is what it hears of. */
static void end_watched(weft_ctx *ctx, weft_pid server, int code) {
    weft_pid worker = run_worker(ctx, (struct worker_arg){.number = 1}, 0, 0);
    ck_assert_int_eq(weft_send(ctx, server, CAST_WATCH, &worker, sizeof(worker)), 0);
    ck_assert_int_eq(call_server(ctx, server, CALL_STARTED), 0);
    signal_exit(ctx, worker, code);
}

PLAY(info) {
    weft_pid pid = start_server(ctx);
    end_watched(ctx, pid, CRASH);
    expect_told(ctx, TELL_OTHER);
    expect_told(ctx, TELL_IDLE);
    end_watched(ctx, pid, STOPPED);
    expect_told(ctx, TELL_OTHER);
    expect_told(ctx, TELL_TERMINATED);
    expect_exit(ctx, pid, 0);
}

/* What is to be done next goes before what waits only if it is called, not sent. */
PLAY(continue_) {
    weft_pid pid = start_server(ctx);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_ZERO, NULL, 0), 0);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), TELL_AFTER);
    expect_told(ctx, TELL_IDLE);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
}

/* ---- idle times ---------------------------------------------------------------------------- */

/* An idle time that is waited for; one that is interrupted, so long that a busy machine does not
 * let it pass before; and how long is looked for it then. */
#define LONG_NS   (60 * MS_NS)
#define LONGER_NS (500 * MS_NS)
#define WATCH_NS  (700 * MS_NS)

/* The idle time that was set just now comes, or is ended by a call. */
static void idle_or_interrupted(weft_ctx *ctx, weft_pid pid, bool interrupt) {
    if (interrupt) {
        ck_assert_int_eq(call_server(ctx, pid, CALL_PING), 0);
        expect_not_told(ctx, TELL_IDLE, WATCH_NS);
    } else {
        expect_told(ctx, TELL_IDLE);
    }
}

PLAY(start_event_timeout) {
    for (uint32_t i = 0; i < 2; i++) {
        struct server_arg arg = {
            .whom = weft_self(ctx), .init = SERVER_IDLE, .delay_ns = i == 1 ? LONGER_NS : LONG_NS};
        uint64_t begin_ns = clock_ns();
        weft_pid pid = start_server_with(ctx, arg, WEFT_SPAWN_LINK, 0);
        idle_or_interrupted(ctx, pid, i == 1);
        ck_assert(i == 1 || clock_ns() - begin_ns >= LONG_NS);
        ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
        expect_exit(ctx, pid, STOPPED);
    }
}

PLAY(handle_event_timeout) {
    weft_pid pid = start_server(ctx);
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t begin_ns = clock_ns();
        uint64_t idle_ns = i >= 3 ? LONGER_NS : LONG_NS;
        switch (i % 3) {
        case 0:
            ck_assert_int_eq(call_server_ns(ctx, pid, CALL_IDLE, idle_ns, PATIENCE_NS), 0);
            break;
        case 1:
            cast_ns(ctx, pid, CAST_IDLE, idle_ns);
            break;
        default:
            end_watched(ctx, pid, CRASH);
            expect_told(ctx, TELL_OTHER);
            cast_ns(ctx, pid, CAST_IDLE, idle_ns); /* in the place of what other had set */
            break;
        }
        idle_or_interrupted(ctx, pid, i >= 3);
        ck_assert(i >= 3 || clock_ns() - begin_ns >= LONG_NS);
        expect_not_told(ctx, TELL_IDLE, 5 * MS_NS); /* once */
    }
    ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
    expect_exit(ctx, pid, STOPPED);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), WEFT_E_NOPROC);
}

/* With no idle time at all what waits goes first, then idle comes at once. */
PLAY(start_event_timeout_zero) {
    struct server_arg arg = {.whom = weft_self(ctx), .init = SERVER_ZERO};
    weft_pid pid = start_server_with(ctx, arg, WEFT_SPAWN_LINK, 0);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), TELL_AFTER);
    expect_told(ctx, TELL_IDLE);
    expect_not_told(ctx, TELL_IDLE, 5 * MS_NS);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
}

PLAY(handle_event_timeout_zero) {
    weft_pid pid = start_server(ctx);
    for (uint32_t i = 0; i < 100; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_send(ctx, pid, CAST_ZERO, NULL, 0), 0);
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), TELL_AFTER);
        expect_told(ctx, TELL_IDLE);
        ck_assert_int_eq(call_server_ns(ctx, pid, CALL_IDLE, 0, PATIENCE_NS), 0);
        expect_told(ctx, TELL_IDLE);
    }
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
}

/* To be looked at is no message; a request is one. */
PLAY(handle_event_timeout_plain) {
    weft_pid pid = start_server(ctx);
    cast_ns(ctx, pid, CAST_IDLE, LONG_NS);
    for (uint32_t i = 0; i < 20; i++) {
        weft_actor_info look = {.struct_size = WEFT_ACTOR_INFO_INIT};
        ck_assert_int_eq(weft_inspect(stage->rig.runtime, pid, &look), 0);
        ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0);
    }
    idle_or_interrupted(ctx, pid, false);
    cast_ns(ctx, pid, CAST_IDLE, LONGER_NS);
    idle_or_interrupted(ctx, pid, true);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    expect_exit(ctx, pid, 0);
}

int main(void) {
    Suite *suite = suite_create("otp_gen_server_call");
    ADD(suite, call);
    ADD(suite, calling_self);
    ADD(suite, call_remote1);
    ADD(suite, call_remote_n2);
    ADD(suite, send_request);
    ADD(suite, receive_collection);
    ADD(suite, wait_collection);
    ADD(suite, check_collection);
    ADD(suite, alias_reply);
    ADD(suite, cast);
    ADD(suite, cast_fast);
    ADD(suite, abcast);
    ADD(suite, info);
    ADD(suite, continue_);
    ADD(suite, start_event_timeout);
    ADD(suite, handle_event_timeout);
    ADD(suite, start_event_timeout_zero);
    ADD(suite, handle_event_timeout_zero);
    ADD(suite, handle_event_timeout_plain);
    return run_suite(suite);
}
