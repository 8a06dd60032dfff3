/* SPDX-License-Identifier: MIT
 *
 * Requests and replies between actors, and blocking calls from outside: exactly one outcome per
 * call, whatever happens to the callee. Completion queues: test_cq.c.
 */
#include "core/prng.h"
#include "tests/unit/support.h"

enum {
    TAG_ECHO = 1,   /* answered at once with its own payload */
    TAG_HOLD = 2,   /* taken; answered by act */
    TAG_IGNORE = 3, /* released without an answer */
    TAG_REFUSE = 4, /* answered with an error */
    TAG_PASS = 5,   /* forwarded to server.next */
    TAG_GATE = 6,   /* waits at the gate, then echoes */
    TAG_LARGE = 7,  /* answered with 100,000 bytes */
    TAG_BUF = 8,    /* answered with a slice of a shared buffer */
    TAG_SUFFIX = 9, /* answered with the second half of its own payload */
    HELD_MAX = 1000,
    LARGE = 100000,
};

struct server {
    weft_pid next;
    weft_msg *held[HELD_MAX];
    uint32_t held_count;
    struct weft__prng prng;
};

static unsigned char large[LARGE];

static void reply_buf(weft_ctx *ctx, weft_msg **request) {
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 500, &buf), 0);
    memset(weft_buf_data(buf), 'b', 500);
    ck_assert_int_eq(weft_reply_buf(ctx, request, TAG_BUF, buf, 100, 300), 0);
    weft_buf_unref(buf);
}

static int serve(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct server *server = probe->user;
    weft_msg *request = msg;
    const char *data = weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    switch (weft_msg_tag(msg)) {
    case TAG_GATE:
        probe_wait(probe);
        __attribute__((fallthrough));
    case TAG_ECHO:
        ck_assert_int_eq(weft_reply(ctx, &request, TAG_ECHO, data, size), 0);
        ck_assert_ptr_null(request);
        ck_assert_ptr_null(weft_current(ctx));
        break;
    case TAG_HOLD:
        ck_assert_uint_lt(server->held_count, HELD_MAX);
        server->held[server->held_count++] = weft_msg_take(ctx, msg);
        break;
    case TAG_IGNORE:
        break;
    case TAG_REFUSE:
        ck_assert_int_eq(weft_reply_error(ctx, &request, -ENOTSUP), 0);
        ck_assert_ptr_null(request);
        break;
    case TAG_PASS:
        ck_assert_int_eq(weft_send_msg(ctx, server->next, &request), 0);
        break;
    case TAG_LARGE:
        ck_assert_int_eq(weft_reply(ctx, &request, TAG_LARGE, large, sizeof(large)), 0);
        break;
    case TAG_BUF:
        reply_buf(ctx, &request);
        break;
    case TAG_SUFFIX:
        ck_assert_int_eq(weft_reply(ctx, &request, TAG_SUFFIX, data + size / 2, size - size / 2),
                         0);
        break;
    default:
        break;
    }
    return WEFT_CONTINUE;
}

/* A server with its probe. */
struct host {
    struct probe probe;
    struct server server;
    weft_pid pid;
};

static void host_start(struct rig *rig, struct host *host) {
    *host = (struct host){.probe = PROBE_INIT};
    host->probe.user = &host->server;
    host->probe.handler = serve;
    weft__prng_init(&host->server.prng, 4, 4);
    host->pid = rig_spawn(rig, &host->probe);
}

static void answer_in_random_order(weft_ctx *ctx, void *arg) {
    struct server *server = arg;
    while (server->held_count > 0) {
        uint32_t at = weft__prng_below(&server->prng, server->held_count);
        weft_msg *request = server->held[at];
        server->held[at] = server->held[--server->held_count];
        (void)weft_reply(ctx, &request, TAG_HOLD, weft_msg_data(request), weft_msg_size(request));
    }
}

/* Calls to make from an actor: count of them with tokens from first on. */
struct calls {
    weft_pid target;
    uint32_t tag;
    uint32_t first;
    uint32_t count;
    uint64_t timeout_ns;
    uint64_t started_ns; /* the actor's clock, which may be older than that outside */
    int result;          /* of the last */
    int cancelled;
};

static void call(weft_ctx *ctx, void *arg) {
    struct calls *calls = arg;
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0); /* not for who asks it to act */
    calls->started_ns = weft_now_ns(ctx);
    for (uint32_t i = 0; i < calls->count; i++) {
        uint32_t token = calls->first + i;
        calls->result = weft_call(ctx, calls->target, calls->tag, &token, sizeof(token),
                                  calls->timeout_ns, token);
    }
}

static void cancel(weft_ctx *ctx, void *arg) {
    struct calls *calls = arg;
    calls->cancelled = weft_call_cancel(ctx, calls->first);
}

/* Reply number index has this token and status. */
static struct seen reply_is(struct probe *probe, uint32_t index, uint64_t token, int status) {
    eventually(probe_count(probe) > index);
    struct seen seen = probe_at(probe, index);
    ck_assert_int_eq(seen.kind, WEFT_MSG_REPLY);
    ck_assert_uint_eq(seen.token, token);
    ck_assert_int_eq(seen.status, status);
    ck_assert(status == 0 || seen.size == 0);
    return seen;
}

/* One blocking call with 4 bytes. */
static int ask(struct rig *rig, weft_pid target, uint32_t tag, uint64_t timeout_ns) {
    weft_msg *reply = NULL;
    uint32_t data = 77;
    int result = weft_runtime_call(rig->runtime, target, tag, &data, 4, timeout_ns, &reply);
    ck_assert(result == 0 ? reply != NULL : reply == NULL);
    weft_runtime_msg_release(rig->runtime, &reply);
    return result;
}

/* ---- outcomes ------------------------------------------------------------------------------ */

START_TEST(every_kind_of_answer_reaches_a_caller_outside) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    unsigned char data[600];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char)i;
    }
    for (size_t size = 0; size <= sizeof(data); size += size < 250 ? 1 : 50) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(
            weft_runtime_call(rig.runtime, host.pid, TAG_ECHO, data, size, SOON_NS, &reply), 0);
        ck_assert_int_eq(weft_msg_kind(reply), WEFT_MSG_REPLY);
        ck_assert_uint_eq(weft_msg_tag(reply), TAG_ECHO);
        ck_assert_uint_eq(weft_msg_size(reply), size);
        ck_assert_mem_eq(weft_msg_data(reply), data, size);
        weft_runtime_msg_release(rig.runtime, &reply);
        ck_assert_ptr_null(reply);
        ck_assert_int_eq(
            weft_runtime_call(rig.runtime, host.pid, TAG_SUFFIX, data, size, SOON_NS, &reply), 0);
        ck_assert_uint_eq(weft_msg_size(reply), size - size / 2);
        ck_assert_mem_eq(weft_msg_data(reply), data + size / 2, size - size / 2);
        weft_runtime_msg_release(rig.runtime, &reply);
    }
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, host.pid, TAG_LARGE, "x", 1, SOON_NS, &reply),
                     0);
    ck_assert_uint_eq(weft_msg_size(reply), LARGE);
    ck_assert_mem_eq(weft_msg_data(reply), large, LARGE);
    weft_runtime_msg_release(rig.runtime, &reply);
    ck_assert_int_eq(weft_runtime_call(rig.runtime, host.pid, TAG_BUF, "x", 1, SOON_NS, &reply), 0);
    ck_assert_uint_eq(weft_msg_size(reply), 300);
    ck_assert_int_eq(((const char *)weft_msg_data(reply))[299], 'b');
    weft_runtime_msg_release(rig.runtime, &reply);
    ck_assert_int_eq(ask(&rig, host.pid, TAG_IGNORE, SOON_NS), WEFT_E_NOREPLY);
    ck_assert_int_eq(ask(&rig, host.pid, TAG_REFUSE, SOON_NS), -ENOTSUP);
    ck_assert_int_eq(ask(&rig, host.pid, TAG_HOLD, 20 * MS_NS), -ETIMEDOUT);
    ck_assert_int_eq(ask(&rig, weft_pid_none(), TAG_ECHO, SOON_NS), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_call(rig.runtime, host.pid, 1, NULL, 1, 0, &reply), -EINVAL);
    ck_assert_int_eq(weft_runtime_call(rig.runtime, host.pid, 1, NULL, 0, 0, NULL), -EINVAL);
    rig_stop(&rig);
    ck_assert_int_eq(probe_at(&host.probe, 0).kind, WEFT_MSG_REQUEST);
    ck_assert(weft_pid_is_none(probe_at(&host.probe, 0).sender));
    probe_fini(&host.probe);
}
END_TEST

START_TEST(every_kind_of_answer_reaches_a_calling_actor) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    static const struct {
        uint32_t tag;
        int status;
        size_t size;
    } cases[] = {{TAG_ECHO, 0, 4},          {TAG_IGNORE, WEFT_E_NOREPLY, 0},
                 {TAG_REFUSE, -ENOTSUP, 0}, {TAG_LARGE, 0, LARGE},
                 {TAG_BUF, 0, 300},         {TAG_SUFFIX, 0, 2}};
    uint32_t count = sizeof(cases) / sizeof(cases[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct calls calls = {
            .target = host.pid, .tag = cases[i].tag, .first = 100 + i, .count = 1};
        act(&rig, caller, call, &calls);
        ck_assert_int_eq(calls.result, 0);
        struct seen seen = reply_is(&probe, i, 100 + i, cases[i].status);
        ck_assert_uint_eq(seen.size, cases[i].size);
        ck_assert(cases[i].status != 0 || seen.tag == cases[i].tag);
        ck_assert(weft_pid_equal(seen.sender, host.pid));
    }
    struct calls calls = {.target = weft_pid_none(), .tag = 1, .count = 1};
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, WEFT_E_NOPROC);
    calls.target = (weft_pid){.node = 99, .slot = 1, .gen = 1};
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, WEFT_E_NOCONN);
    settle(&rig, caller);
    ck_assert_uint_eq(probe_count(&probe), count); /* a refused call has no reply */
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

START_TEST(deferred_replies_in_any_order_find_their_calls) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    struct calls calls = {.target = host.pid, .tag = TAG_HOLD, .count = HELD_MAX};
    act(&rig, caller, call, &calls);
    eventually(probe_count(&host.probe) == HELD_MAX);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    eventually(probe_count(&probe) == HELD_MAX);
    bool answered[HELD_MAX] = {false};
    for (uint32_t i = 0; i < HELD_MAX; i++) {
        struct seen seen = probe_at(&probe, i);
        uint32_t data;
        memcpy(&data, seen.data, sizeof(data));
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_lt(seen.token, HELD_MAX);
        ck_assert_uint_eq(data, seen.token);
        ck_assert(!answered[seen.token]);
        answered[seen.token] = true;
    }
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

static int answer_third(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    weft_msg *request = msg;
    ck_assert_int_eq(weft_reply(ctx, &request, 3, weft_msg_data(msg), weft_msg_size(msg)), 0);
    return WEFT_CONTINUE;
}

START_TEST(a_forwarded_request_is_answered_by_whoever_has_it_last) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host hosts[3];
    for (uint32_t i = 0; i < 3; i++) {
        host_start(&rig, &hosts[i]);
    }
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    hosts[0].server.next = hosts[1].pid;
    hosts[1].server.next = hosts[2].pid;
    hosts[2].probe.handler = answer_third; /* the others pass it on */
    for (uint32_t i = 0; i < 100; i++) {
        struct calls calls = {.target = hosts[0].pid, .tag = TAG_PASS, .first = i, .count = 1};
        act(&rig, caller, call, &calls);
        struct seen seen = reply_is(&probe, i, i, 0);
        ck_assert(weft_pid_equal(seen.sender, hosts[2].pid));
        ck_assert(weft_pid_equal(probe_at(&hosts[2].probe, 2 * i).sender, caller));
        ck_assert_int_eq(ask(&rig, hosts[1].pid, TAG_PASS, SOON_NS), 0);
        ck_assert_uint_eq(probe_count(&hosts[2].probe), 2 * i + 2);
    }
    probe_fini(&probe);
    rig_stop(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        probe_fini(&hosts[i].probe);
    }
}
END_TEST

/* ---- dying callees ------------------------------------------------------------------------- */

START_TEST(a_dying_callee_answers_queued_and_held_requests_at_once) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    struct calls calls = {
        .target = host.pid, .tag = TAG_HOLD, .count = 50, .timeout_ns = 60 * S_NS};
    act(&rig, caller, call, &calls);
    eventually(probe_count(&host.probe) == 50);
    calls.first = 50;
    calls.tag = TAG_GATE;
    act(&rig, caller, call, &calls); /* one in the handler, 49 queued */
    eventually(weft_load32_acquire(&host.probe.inside) != 0);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, host.pid), 0);
    uint64_t before_ns = clock_ns();
    weft_store32_release(&host.probe.gate, 1);
    eventually(probe_count(&probe) == 100);
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    uint32_t gone = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert(seen.status == WEFT_E_NOPROC || seen.status == 0);
        gone += seen.status == WEFT_E_NOPROC ? 1 : 0;
    }
    ck_assert_uint_ge(gone, 50);
    ck_assert_int_eq(ask(&rig, host.pid, TAG_ECHO, 60 * S_NS), WEFT_E_NOPROC);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

static void *kill_later(void *arg) {
    struct rig *rig = ((void **)arg)[0];
    struct host *host = ((void **)arg)[1];
    eventually(probe_count(&host->probe) == 1);
    ck_assert_int_eq(weft_runtime_kill_actor(rig->runtime, host->pid), 0);
    return NULL;
}

START_TEST(a_blocking_call_ends_with_its_callee) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    pthread_t thread;
    void *args[] = {&rig, &host};
    ck_assert_int_eq(pthread_create(&thread, NULL, kill_later, args), 0);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(ask(&rig, host.pid, TAG_HOLD, 60 * S_NS), WEFT_E_NOPROC);
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    rig_stop(&rig);
    probe_fini(&host.probe);
}
END_TEST

/* ---- time ---------------------------------------------------------------------------------- */

START_TEST(calls_time_out_in_time_and_late_replies_are_dropped) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    uint64_t started_ns[10];
    for (uint32_t i = 0; i < 10; i++) { /* the later ones are due earlier */
        struct calls calls = {.target = host.pid,
                              .tag = TAG_HOLD,
                              .first = i,
                              .count = 1,
                              .timeout_ns = (200 - 20 * i) * MS_NS};
        act(&rig, caller, call, &calls);
        started_ns[i] = calls.started_ns;
    }
    eventually(probe_count(&probe) == 10);
    uint32_t seen_tokens = 0;
    for (uint32_t i = 0; i < 10; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_REPLY);
        ck_assert_int_eq(seen.status, -ETIMEDOUT);
        ck_assert_uint_lt(seen.token, 10);
        seen_tokens |= 1u << seen.token;
        uint64_t waited_ns = seen.at_ns - started_ns[seen.token];
        uint64_t timeout_ns = (200 - 20 * seen.token) * MS_NS;
        ck_assert_uint_ge(waited_ns, timeout_ns);
        ck_assert_uint_lt(waited_ns, timeout_ns + SOON_NS);
    }
    ck_assert_uint_eq(seen_tokens, 0x3ff);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    /* on a slow machine one may have expired before it got its turn */
    eventually(rig_stats(&rig).replies_late + rig_stats(&rig).requests_expired == 10);
    settle(&rig, caller);
    ck_assert_uint_eq(probe_count(&probe), 10);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

static void check_deadline(weft_ctx *ctx, void *arg) {
    uint64_t deadline_ns = weft_deadline(weft_current(ctx));
    ck_assert_uint_gt(deadline_ns, weft_now_ns(ctx));
    ck_assert_uint_lt(deadline_ns, weft_now_ns(ctx) + 60 * S_NS + SOON_NS); /* of act */
    (void)arg;
}

START_TEST(a_request_knows_its_deadline_and_never_is_for_ever) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    act(&rig, host.pid, check_deadline, NULL);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    struct calls calls = {
        .target = host.pid, .tag = TAG_HOLD, .count = 1, .timeout_ns = WEFT_TIMEOUT_NEVER};
    act(&rig, caller, call, &calls);
    eventually(probe_count(&host.probe) == 1);
    ck_assert_uint_eq(rig_gauges(&rig).timers, 0);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    (void)reply_is(&probe, 0, 0, 0);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

START_TEST(an_expired_request_is_dropped_before_it_runs) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    (void)caller;
    weft_msg *reply = NULL;
    host.probe.handler = serve;
    ck_assert_int_eq(weft_runtime_send(rig.runtime, host.pid, 0, NULL, 0), 0);
    struct calls calls = {.target = host.pid, .tag = TAG_GATE, .count = 1, .timeout_ns = 60 * S_NS};
    act(&rig, caller, call, &calls);
    eventually(weft_load32_acquire(&host.probe.inside) != 0);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(
            weft_runtime_call(rig.runtime, host.pid, TAG_ECHO, NULL, 0, 5 * MS_NS, &reply),
            -ETIMEDOUT);
    }
    uint32_t before = probe_count(&host.probe);
    weft_store32_release(&host.probe.gate, 1);
    eventually(rig_stats(&rig).requests_expired == 5);
    settle(&rig, host.pid);
    ck_assert_uint_eq(probe_count(&host.probe), before);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

/* ---- cancel and limits --------------------------------------------------------------------- */

START_TEST(a_cancelled_call_has_no_reply) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    struct calls calls = {.target = host.pid, .tag = TAG_HOLD, .first = 5, .count = 1};
    act(&rig, caller, cancel, &calls);
    ck_assert_int_eq(calls.cancelled, 0);
    act(&rig, caller, call, &calls);
    act(&rig, caller, call, &calls); /* the same token twice */
    calls.first = 6;
    act(&rig, caller, call, &calls);
    eventually(probe_count(&host.probe) == 3); /* later they would be dropped */
    calls.first = 5;
    act(&rig, caller, cancel, &calls);
    ck_assert_int_eq(calls.cancelled, 2);
    act(&rig, caller, cancel, &calls);
    ck_assert_int_eq(calls.cancelled, 0);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    (void)reply_is(&probe, 0, 6, 0);
    eventually(rig_stats(&rig).replies_late == 2);
    ck_assert_uint_eq(probe_count(&probe), 1);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

START_TEST(pending_calls_are_limited) {
    weft_config config = rig_config(schedulers_of(_i));
    config.calls_max = 10;
    struct rig rig = rig_start_with(&config);
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn(&rig, &probe);
    struct calls calls = {.target = host.pid, .tag = TAG_HOLD, .count = 10};
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, 0);
    calls.count = 1;
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, WEFT_E_LIMIT);
    eventually(probe_count(&host.probe) == 10);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    eventually(probe_count(&probe) == 10);
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, 0);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

static void reply_to_no_request(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_reply(ctx, &msg, 1, NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_reply_error(ctx, &msg, -EIO), -EINVAL);
    ck_assert_int_eq(weft_msg_create(ctx, 1, 10, &msg), 0);
    ck_assert_uint_eq(weft_deadline(msg), UINT64_MAX);
    ck_assert_int_eq(weft_reply(ctx, &msg, 1, NULL, 0), -EINVAL);
    ck_assert_ptr_null(msg); /* it was released */
    ck_assert_int_eq(weft_msg_create(ctx, 1, 1000, &msg), 0);
    ck_assert_int_eq(weft_reply_error(ctx, &msg, -EIO), -EINVAL);
    ck_assert_ptr_null(msg);
}

START_TEST(what_is_no_request_cannot_be_answered) {
    struct rig rig = rig_start(1);
    act(&rig, rig_spawn(&rig, NULL), reply_to_no_request, NULL);
    rig_stop(&rig);
}
END_TEST

/* ---- serial types -------------------------------------------------------------------------- */

START_TEST(a_serial_actor_holds_user_messages_back_in_order) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_type_def def = puppet_def("serial");
    def.flags = WEFT_TYPE_SERIAL;
    const weft_type *serial = rig_type(&rig, &def);
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn_type(&rig, serial, &probe);
    struct calls calls = {.target = caller, .tag = TAG_HOLD, .count = 1};
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, -EDEADLK); /* itself */
    calls.target = host.pid;
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(calls.result, 0);
    eventually(probe_count(&host.probe) == 1);
    for (uint32_t i = 0; i < 300; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, caller, 1000 + i, NULL, 0), 0);
        if (i % 50 == 0) {
            sleep_ns(MS_NS); /* one by one, and many at once */
        }
    }
    sleep_ns(5 * MS_NS);
    ck_assert_uint_eq(probe_count(&probe), 0);
    act(&rig, host.pid, answer_in_random_order, &host.server);
    eventually(probe_count(&probe) == 301);
    (void)reply_is(&probe, 0, 0, 0);
    for (uint32_t i = 0; i < 300; i++) {
        ck_assert_uint_eq(probe_at(&probe, 1 + i).tag, 1000 + i);
    }
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

START_TEST(a_serial_actor_that_ends_while_it_waits_loses_nothing) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_type_def def = puppet_def("serial");
    def.flags = WEFT_TYPE_SERIAL;
    const weft_type *serial = rig_type(&rig, &def);
    struct host host;
    host_start(&rig, &host);
    weft_pid caller = rig_spawn_type(&rig, serial, NULL);
    struct calls calls = {.target = host.pid, .tag = TAG_HOLD, .count = 1};
    act(&rig, caller, call, &calls);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, caller, 1, "0123456789", 10), 0);
    }
    ck_assert_int_eq(ask(&rig, caller, TAG_ECHO, 20 * MS_NS), -ETIMEDOUT);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, caller), 0);
    eventually(rig_stats(&rig).exits == 1);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 101);
    rig_stop(&rig);
    probe_fini(&host.probe);
}
END_TEST

START_TEST(a_serial_actors_timeout_lets_held_back_messages_go) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_type_def def = puppet_def("serial");
    def.flags = WEFT_TYPE_SERIAL;
    const weft_type *serial = rig_type(&rig, &def);
    struct host host;
    host_start(&rig, &host);
    struct probe probe = PROBE_INIT;
    weft_pid caller = rig_spawn_type(&rig, serial, &probe);
    struct calls calls = {
        .target = host.pid, .tag = TAG_HOLD, .count = 1, .timeout_ns = 30 * MS_NS};
    act(&rig, caller, call, &calls);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, caller, 42, NULL, 0), 0);
    eventually(probe_count(&probe) == 2);
    (void)reply_is(&probe, 0, 0, -ETIMEDOUT);
    ck_assert_uint_eq(probe_at(&probe, 1).tag, 42);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&host.probe);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------------- */

enum { THREADS = 4, ASKS = 2000 };

struct asker {
    struct rig *rig;
    struct host *host;
    uint32_t id;
};

static void *ask_often(void *arg) {
    const struct asker *asker = arg;
    for (uint32_t i = 0; i < ASKS; i++) {
        uint32_t data[2] = {asker->id, i};
        weft_msg *reply = NULL;
        /* Some give up at once: their late answers must not be taken for later ones. */
        uint64_t timeout_ns = i % 20 == 7 ? 1 : 30 * S_NS;
        int result = weft_runtime_call(asker->rig->runtime, asker->host->pid, TAG_ECHO, data,
                                       sizeof(data), timeout_ns, &reply);
        ck_assert(result == 0 || (timeout_ns == 1 && result == -ETIMEDOUT));
        if (result == 0) {
            ck_assert_mem_eq(weft_msg_data(reply), data, sizeof(data));
            weft_runtime_msg_release(asker->rig->runtime, &reply);
        }
    }
    return NULL;
}

START_TEST(threads_that_call_at_once_get_their_own_answers) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct host host;
    host_start(&rig, &host);
    host.probe.counts_only = true;
    pthread_t threads[THREADS];
    struct asker askers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.rig = &rig, .host = &host, .id = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    rig_stop(&rig);
}
END_TEST

static void call_blocking(weft_ctx *ctx, void *arg) {
    weft_msg *reply = NULL;
    *(int *)arg =
        weft_runtime_call(weft_runtime_of(ctx), weft_self(ctx), TAG_ECHO, NULL, 0, SOON_NS, &reply);
    ck_assert_int_eq(weft_runtime_stop(weft_runtime_of(ctx), 0), -EDEADLK);
}

START_TEST(a_scheduler_thread_may_not_block_in_a_call) {
    struct rig rig = rig_start(schedulers_of(_i));
    int result = 0;
    act(&rig, rig_spawn(&rig, NULL), call_blocking, &result);
    ck_assert_int_eq(result, -EDEADLK);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 10 * S_NS), 0);
    ck_assert_int_eq(ask(&rig, weft_pid_none(), 1, S_NS), WEFT_E_SHUTDOWN);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("call");
    TCase *tcase = tcase_create("call");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, every_kind_of_answer_reaches_a_caller_outside, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, every_kind_of_answer_reaches_a_calling_actor, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, deferred_replies_in_any_order_find_their_calls, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_forwarded_request_is_answered_by_whoever_has_it_last, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_dying_callee_answers_queued_and_held_requests_at_once, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_blocking_call_ends_with_its_callee, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, calls_time_out_in_time_and_late_replies_are_dropped, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_request_knows_its_deadline_and_never_is_for_ever, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_expired_request_is_dropped_before_it_runs, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_cancelled_call_has_no_reply, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, pending_calls_are_limited, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, what_is_no_request_cannot_be_answered);
    tcase_add_loop_test(tcase, a_serial_actor_holds_user_messages_back_in_order, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_serial_actor_that_ends_while_it_waits_loses_nothing, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_serial_actors_timeout_lets_held_back_messages_go, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, threads_that_call_at_once_get_their_own_answers, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_scheduler_thread_may_not_block_in_a_call, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
