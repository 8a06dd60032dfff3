/* SPDX-License-Identifier: MIT
 *
 * The trace of an actor: that each message it is given and each it sends is told of once, in order,
 * that nobody else's is, and that it can be switched at any time from any thread.
 */
#include "tests/unit/trace_support.h"

#include <weft/supervisor.h>
#include <weft/virtual.h>

enum { TAG_ECHO = 5, TAG_HOLD = 6, TAG_FAIL = 7 };

/* Answers requests: with their payload, with an error, or never. */
static int echo(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    if (weft_msg_tag(msg) == TAG_ECHO) {
        (void)weft_reply(ctx, &msg, TAG_ECHO + 100, weft_msg_data(msg), weft_msg_size(msg));
    } else if (weft_msg_tag(msg) == TAG_FAIL) {
        (void)weft_reply_error(ctx, &msg, -EIO);
    } else if (weft_msg_tag(msg) == TAG_HOLD) {
        (void)weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

struct stage {
    struct rig rig;
    struct record record;
    struct probe star; /* of the one who is traced */
    struct probe other;
    weft_pid pid;
    weft_pid peer;
    weft_pid dead;
};

static void stage_start(struct stage *stage, uint32_t schedulers) {
    *stage = (struct stage){.record = RECORD_INIT, .star = PROBE_INIT, .other = PROBE_INIT};
    stage->star.handler = echo;
    stage->other.handler = echo;
    stage->rig = record_rig(&stage->record, schedulers);
    stage->pid = rig_spawn(&stage->rig, &stage->star);
    stage->peer = rig_spawn(&stage->rig, &stage->other);
    stage->dead = rig_spawn(&stage->rig, NULL);
    settle(&stage->rig, stage->pid);
    settle(&stage->rig, stage->peer);
    ck_assert_int_eq(weft_runtime_stop_actor(stage->rig.runtime, stage->dead, 0), 0);
    eventually(!is_alive(&stage->rig, stage->dead));
    ck_assert_uint_eq(told_count(&stage->record), 0);
}

static void stage_stop(struct stage *stage) {
    rig_stop(&stage->rig);
    probe_fini(&stage->star);
    probe_fini(&stage->other);
    record_fini(&stage->record);
}

/* ---- handlers -------------------------------------------------------------------------------- */

static void send_all_ways(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    ck_assert_int_eq(weft_send(ctx, stage->peer, 1, "abc", 3), 0);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 5000, &buf), 0);
    ck_assert_int_eq(weft_send_buf(ctx, stage->peer, 2, buf, 10, 4000), 0);
    weft_buf_unref(buf);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_msg_create(ctx, 3, 70, &msg), 0);
    ck_assert_int_eq(weft_send_msg(ctx, stage->peer, &msg), 0);
    ck_assert_int_eq(weft_send(ctx, stage->dead, 4, NULL, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_send(ctx, weft_pid_none(), 5, NULL, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_call(ctx, stage->peer, TAG_ECHO, "hello", 5, 0, 77), 0);
    ck_assert_int_eq(weft_call(ctx, stage->peer, TAG_FAIL, NULL, 0, 0, 78), 0);
    ck_assert_int_eq(weft_call(ctx, stage->dead, TAG_FAIL, NULL, 0, 0, 79), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_send_after(ctx, MS_NS, stage->peer, 9, "xy", 2, NULL), 0);
}

START_TEST(what_a_handler_gets_and_sends_is_told_in_order) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    struct record *record = &stage.record;
    trace(&stage.rig, stage.pid, true);
    act(&stage.rig, stage.pid, send_all_ways, &stage);
    uint32_t at = 0;
    struct told told = told_next(record, "receive request", &at);
    ck_assert_uint_eq(told.tag, TAG_ACT);
    ck_assert_uint_eq(told.size, sizeof(struct job));
    ck_assert(strcmp(told.peer, "none") == 0 && strcmp(told.type, "puppet") == 0);
    uint64_t outer = told.ref;
    told = told_next(record, "send user", &at);
    ck_assert(told.tag == 1 && told.size == 3 && told.status == 0 && is_peer(&told, stage.peer));
    told = told_next(record, "send user", &at);
    ck_assert(told.tag == 2 && told.size == 4000 && told.status == 0);
    told = told_next(record, "send user", &at);
    ck_assert(told.tag == 3 && told.size == 70 && told.status == 0);
    told = told_next(record, "send user", &at);
    ck_assert(told.tag == 4 && told.status == WEFT_E_NOPROC && is_peer(&told, stage.dead));
    told = told_next(record, "send user", &at);
    ck_assert(told.tag == 5 && told.status == WEFT_E_NOPROC && strcmp(told.peer, "none") == 0);
    told = told_next(record, "send request", &at);
    ck_assert(told.tag == TAG_ECHO && told.size == 5 && told.status == 0 && told.ref != 0);
    uint64_t first = told.ref;
    uint64_t second = told_next(record, "send request", &at).ref;
    ck_assert_uint_ne(first, second);
    told = told_next(record, "send request", &at);
    ck_assert(told.status == WEFT_E_NOPROC && is_peer(&told, stage.dead));
    told = told_next(record, "send reply", &at);
    ck_assert(told.tag == TAG_ACT && told.ref == outer && told.status == 0);
    uint32_t replies = at;
    told = told_wait(record, "receive reply", &replies);
    ck_assert(told.ref == first && told.status == 0 && told.tag == TAG_ECHO + 100);
    ck_assert(told.size == 5 && is_peer(&told, stage.peer));
    told = told_wait(record, "receive reply", &replies);
    ck_assert(told.ref == second && told.status == -EIO);
    told = told_wait(record, "send user", &at);
    ck_assert(told.tag == 9 && told.size == 2 && told.status == 0 && is_peer(&told, stage.peer));
    ck_assert_uint_eq(told_count(record), 13); /* and nothing of the others */
    trace(&stage.rig, stage.pid, false);
    act(&stage.rig, stage.pid, send_all_ways, &stage);
    settle(&stage.rig, stage.pid);
    ck_assert_uint_eq(told_count(record), 13);
    eventually(probe_count_kind(&stage.other, WEFT_MSG_USER) == 8);
    stage_stop(&stage);
}
END_TEST

static int work(void *arg) {
    (void)arg;
    return -ENOENT;
}

static void ask_for_news(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    const weft_reason reason = {.code = -EPIPE};
    ck_assert_int_eq(weft_timer_start(ctx, MS_NS, 21, 22, NULL), 0);
    ck_assert_int_eq(weft_blocking(ctx, work, NULL, 23), 0);
    ck_assert_int_eq(weft_monitor(ctx, stage->dead, 24, NULL), 0);
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_exit_signal(ctx, weft_self(ctx), &reason), 0);
    weft_pid child;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .flags = WEFT_SPAWN_REPORT, .token = 25};
    ck_assert_int_eq(weft_spawn_with(ctx, stage->rig.puppet, &options, &child), 0);
    ck_assert_int_eq(weft_stop(ctx, child, -EINTR), 0);
    ck_assert_int_eq(weft_kill(ctx, stage->dead), WEFT_E_NOPROC);
}

START_TEST(all_other_kinds_are_told_of_too) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    struct record *record = &stage.record;
    trace(&stage.rig, stage.pid, true);
    act(&stage.rig, stage.pid, ask_for_news, &stage);
    uint32_t at[8] = {0};
    struct told told = told_wait(record, "receive timer", &at[0]);
    ck_assert(told.tag == 21 && told.ref == 22);
    told = told_wait(record, "receive done", &at[1]);
    ck_assert(told.ref == 23 && told.status == -ENOENT);
    told = told_wait(record, "receive down", &at[2]);
    ck_assert(told.ref == 24 && told.status == WEFT_E_NOPROC && is_peer(&told, stage.dead));
    told = told_wait(record, "receive exit", &at[3]);
    ck_assert(told.status == -EPIPE && is_peer(&told, stage.pid));
    told = told_wait(record, "receive up", &at[4]);
    ck_assert_uint_eq(told.ref, 25);
    ck_assert_int_eq(told_wait(record, "send stop", &at[5]).status, -EINTR);
    ck_assert_int_eq(told_wait(record, "send kill", &at[6]).status, WEFT_E_NOPROC);
    eventually(probe_count(&stage.star) == 5);
    ck_assert_int_eq(weft_runtime_stop_actor(stage.rig.runtime, stage.pid, -EIO), 0);
    told = told_wait(record, "receive stop", &at[7]);
    ck_assert_int_eq(told.status, -EIO);
    told = told_next(record, "end end", &at[7]);
    ck_assert_int_eq(told.status, -EIO);
    sleep_ns(2 * MS_NS);
    ck_assert_uint_eq(told_count(record), at[7]); /* the end is the last that is told */
    ck_assert_int_eq(weft_trace(stage.rig.runtime, stage.pid, true), WEFT_E_NOPROC);
    stage_stop(&stage);
}
END_TEST

/* Sends until the target, which is at its gate, takes no more. */
static void send_until_full(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    int result = 0;
    for (uint32_t i = 0; i < 1000 && result == 0; i++) {
        result = weft_send(ctx, stage->peer, i, NULL, 0);
    }
    ck_assert_int_eq(result, -EBUSY);
}

static int at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

START_TEST(a_full_mailbox_and_its_ready_are_told) {
    struct stage stage;
    stage_start(&stage, 2);
    struct probe full = PROBE_INIT;
    full.handler = at_gate;
    weft_type_def def = puppet_def("narrow");
    def.mailbox_max = 8;
    stage.peer = rig_spawn_type(&stage.rig, rig_type(&stage.rig, &def), &full);
    settle(&stage.rig, stage.peer);
    trace(&stage.rig, stage.pid, true);
    act(&stage.rig, stage.pid, send_until_full, &stage);
    uint32_t at = 0;
    struct told told = told_wait(&stage.record, "send user", &at);
    while (told.status == 0) {
        told = told_next(&stage.record, "send user", &at);
    }
    ck_assert_int_eq(told.status, -EBUSY);
    (void)told_next(&stage.record, "send reply", &at);
    weft_store32_release(&full.gate, 1);
    told = told_next(&stage.record, "receive ready", &at);
    ck_assert(is_peer(&told, stage.peer));
    stage_stop(&stage);
    probe_fini(&full);
}
END_TEST

START_TEST(what_is_dropped_is_told_with_the_reason) {
    struct stage stage;
    stage_start(&stage, 1);
    struct record *record = &stage.record;
    struct probe slow = PROBE_INIT;
    slow.handler = at_gate;
    weft_type_def def = puppet_def("forgetful");
    def.mailbox_max = 4;
    def.mailbox_policy = WEFT_MAILBOX_DROP_OLD;
    weft_pid pid = rig_spawn_type(&stage.rig, rig_type(&stage.rig, &def), &slow);
    settle(&stage.rig, pid);
    trace(&stage.rig, pid, true);
    weft_msg *none = NULL;
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, 0, NULL, 0), 0);
    eventually(weft_load32_acquire(&slow.inside) == 1);
    ck_assert_int_eq(weft_runtime_call(stage.rig.runtime, pid, 30, NULL, 0, 20 * MS_NS, &none),
                     -ETIMEDOUT);
    for (uint32_t i = 1; i <= 5; i++) {
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, i, NULL, 0), 0);
    }
    weft_store32_release(&slow.gate, 1);
    uint32_t at = 0;
    (void)told_wait(record, "receive user", &at);
    eventually(probe_count(&slow) == 5);
    struct told told = told_next(record, "drop request", &at); /* the oldest of six */
    ck_assert(told.tag == 30 && told.status == WEFT_E_OVERLOAD);
    (void)told_next(record, "send reply", &at); /* it is answered all the same */
    for (uint32_t i = 1; i <= 5; i++) {
        told = told_next(record, i <= 1 ? "drop user" : "receive user", &at);
        ck_assert_uint_eq(told.tag, i);
        ck_assert_int_eq(told.status, i <= 1 ? WEFT_E_OVERLOAD : 0);
    }
    /* what waits when it ends, and what comes too late */
    weft_store32_release(&slow.gate, 0);
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, 40, NULL, 0), 0);
    eventually(weft_load32_acquire(&slow.inside) == 1);
    ck_assert_int_eq(weft_runtime_call(stage.rig.runtime, pid, 41, NULL, 0, 20 * MS_NS, &none),
                     -ETIMEDOUT);
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, 42, NULL, 0), 0);
    ck_assert_int_eq(weft_runtime_kill_actor(stage.rig.runtime, pid), 0);
    weft_store32_release(&slow.gate, 1);
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 40);
    ck_assert_int_eq(told_next(record, "receive kill", &at).status, WEFT_E_KILLED);
    told = told_next(record, "drop request", &at);
    ck_assert(told.tag == 41 && told.status == WEFT_E_NOPROC);
    (void)told_next(record, "send reply", &at);
    ck_assert_uint_eq(told_next(record, "drop user", &at).tag, 42);
    ck_assert_int_eq(told_next(record, "end end", &at).status, WEFT_E_KILLED);
    stage_stop(&stage);
    probe_fini(&slow);
}
END_TEST

static void call_briefly(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    ck_assert_int_eq(weft_call(ctx, stage->peer, TAG_ECHO, NULL, 0, MS_NS, 50), 0);
}

START_TEST(requests_that_expire_and_answers_that_come_too_late_are_told) {
    struct stage stage;
    stage_start(&stage, 2);
    struct probe slow = PROBE_INIT;
    slow.handler = at_gate;
    weft_pid callee = rig_spawn(&stage.rig, &slow);
    settle(&stage.rig, callee);
    trace(&stage.rig, stage.pid, true);
    trace(&stage.rig, callee, true);
    stage.peer = callee;
    uint32_t at = 0;
    struct told told;
    for (int tries = 0; told_total(&stage.record, "drop request") == 0; tries++) {
        ck_assert_int_lt(tries, 1000); /* it expires when its callee's clock says so */
        at = told_count(&stage.record);
        weft_store32_release(&slow.gate, 0);
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, callee, 1, NULL, 0), 0);
        eventually(weft_load32_acquire(&slow.inside) == 1);
        act(&stage.rig, stage.pid, call_briefly, &stage);
        uint32_t replied = at;
        ck_assert_int_eq(told_wait(&stage.record, "receive reply", &replied).status, -ETIMEDOUT);
        sleep_ns(20 * MS_NS);
        weft_store32_release(&slow.gate, 1);
        settle(&stage.rig, callee);
    }
    uint64_t reference = told_wait(&stage.record, "send request", &at).ref;
    uint32_t replied = at;
    ck_assert_uint_eq(told_wait(&stage.record, "receive reply", &replied).ref, reference);
    told = told_wait(&stage.record, "drop request", &at);
    ck_assert(told.status == -ETIMEDOUT && told.ref == reference && is_peer(&told, stage.pid));
    stage_stop(&stage);
    probe_fini(&slow);
}
END_TEST

/* ---- in which order -------------------------------------------------------------------------- */

static void spawn_traced(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    struct probe *probe = &stage->other;
    ck_assert_int_eq(weft_spawn(ctx, stage->rig.puppet, &probe, sizeof(probe), &stage->peer), 0);
    ck_assert_int_eq(weft_send(ctx, stage->peer, 1, NULL, 0), 0);
    ck_assert_int_eq(weft_trace(weft_runtime_of(ctx), stage->peer, true), 0);
    ck_assert_int_eq(weft_send(ctx, stage->peer, 2, NULL, 0), 0);
}

START_TEST(it_goes_before_everything_that_waits) {
    struct stage stage;
    stage_start(&stage, 1);
    act(&stage.rig, stage.pid, spawn_traced, &stage);
    uint32_t at = 0;
    struct told told = told_next(&stage.record, "receive start", &at);
    ck_assert_uint_eq(told.size, sizeof(struct probe *));
    told = told_next(&stage.record, "receive user", &at);
    ck_assert(told.tag == 1 && is_peer(&told, stage.pid));
    ck_assert_uint_eq(told_next(&stage.record, "receive user", &at).tag, 2);
    /* the last of many counts, also when they meet in one mailbox */
    for (int i = 0; i < 1001; i++) {
        trace(&stage.rig, stage.peer, i % 2 == 0);
    }
    trace(&stage.rig, stage.peer, false);
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, stage.peer, 3, NULL, 0), 0);
    settle(&stage.rig, stage.peer);
    ck_assert_uint_eq(told_count(&stage.record), at);
    for (int i = 0; i < 1000; i++) {
        trace(&stage.rig, stage.peer, i % 2 == 0);
    }
    trace(&stage.rig, stage.peer, true);
    ck_assert_int_eq(weft_runtime_kill_actor(stage.rig.runtime, stage.peer), 0);
    (void)told_next(&stage.record, "receive kill", &at);
    (void)told_next(&stage.record, "end end", &at);
    stage_stop(&stage);
}
END_TEST

START_TEST(without_a_hook_nothing_happens) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    ck_assert_int_eq(weft_trace(NULL, pid, true), -EINVAL);
    ck_assert_int_eq(weft_trace(rig.runtime, pid, true), 0);
    settle(&rig, pid);
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    ck_assert_int_eq(weft_inspect(rig.runtime, pid, &info), 0);
    ck_assert_uint_eq(info.traced, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(nobody_cannot_be_traced) {
    struct stage stage;
    stage_start(&stage, 1);
    weft_runtime *runtime = stage.rig.runtime;
    weft_pid strange = stage.pid;
    ck_assert_int_eq(weft_trace(runtime, weft_pid_none(), true), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_trace(runtime, stage.dead, true), WEFT_E_NOPROC);
    strange.slot = UINT32_MAX;
    ck_assert_int_eq(weft_trace(runtime, strange, true), WEFT_E_NOPROC);
    strange = stage.pid;
    strange.node++;
    ck_assert_int_eq(weft_trace(runtime, strange, true), WEFT_E_NOPROC);
    stage_stop(&stage);
}
END_TEST

/* ---- actors of other kinds ------------------------------------------------------------------- */

static bool has_tag(const weft_msg *msg, void *arg) {
    return weft_msg_tag(msg) == *(const uint32_t *)arg;
}

/* On a stack that is far too small for the hook. */
static int process_code(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct stage *stage;
    uint32_t wanted = 3;
    weft_msg *msg = NULL;
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(stage));
    memcpy(&stage, arg, sizeof(stage));
    ck_assert_int_eq(weft_receive_match(ctx, WEFT_FOREVER, has_tag, &wanted, &msg), 0);
    ck_assert_int_eq(weft_send(ctx, stage->peer, 13, NULL, 0), 0);
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), 1);
    ck_assert_int_eq(weft_call_wait(ctx, stage->peer, TAG_ECHO, "hi", 2, 0, NULL), 0);
    ck_assert_int_eq(weft_call_wait(ctx, stage->peer, TAG_FAIL, NULL, 0, 0, NULL), -EIO);
    ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0);
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), 2);
    ck_assert_int_eq(weft_timer_start(ctx, MS_NS, 14, 15, NULL), 0);
    ck_assert_int_eq(weft_call(ctx, stage->peer, TAG_ECHO, NULL, 0, 0, 16), 0);
    ck_assert_int_eq(weft_await(ctx, 15, WEFT_FOREVER, &msg), 0);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_await(ctx, 16, WEFT_FOREVER, &msg), 0);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_receive(ctx, MS_NS, &msg), -ETIMEDOUT);
    return -ENOTTY;
}

START_TEST(a_process_is_traced_as_it_receives) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    struct record *record = &stage.record;
    record->stack_bytes = 100000;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "process",
                         .process = process_code,
                         .stack_bytes = 16384};
    struct stage *arg = &stage;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &arg, .arg_size = sizeof(arg)};
    weft_pid pid;
    ck_assert_int_eq(
        weft_runtime_spawn(stage.rig.runtime, rig_type(&stage.rig, &def), &options, &pid), 0);
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    eventually(weft_inspect(stage.rig.runtime, pid, &info) == 0 && info.messages == 1);
    trace(&stage.rig, pid, true);
    for (uint32_t tag = 1; tag <= 3; tag++) {
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, tag, NULL, 0), 0);
    }
    uint32_t at = 0;
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 3);
    ck_assert_uint_eq(told_next(record, "send user", &at).tag, 13);
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 1);
    uint64_t reference = told_next(record, "send request", &at).ref;
    struct told told = told_next(record, "receive reply", &at);
    ck_assert(told.ref == reference && told.size == 2);
    reference = told_next(record, "send request", &at).ref;
    told = told_next(record, "receive reply", &at);
    ck_assert(told.ref == reference && told.status == -EIO);
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 2); /* nothing of the sleep */
    reference = told_next(record, "send request", &at).ref;
    uint32_t timer = at;
    uint32_t reply = at;
    ck_assert_uint_eq(told_wait(record, "receive timer", &timer).ref, 15);
    ck_assert_uint_eq(told_wait(record, "receive reply", &reply).ref, reference);
    at += 2;
    ck_assert_int_eq(told_next(record, "end end", &at).status, -ENOTTY);
    stage_stop(&stage);
}
END_TEST

/* Both requests were put aside, and nobody waits for their answers any more. */
static int process_late(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t wanted = 3;
    weft_msg *msg = NULL;
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_receive_match(ctx, WEFT_FOREVER, has_tag, &wanted, &msg), 0);
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), 4);
    return -ENOTTY;
}

static void call_and_cancel(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    ck_assert_int_eq(weft_call(ctx, *(weft_pid *)arg, 42, NULL, 0, SOON_NS, 50), 0);
    ck_assert_int_eq(weft_call_cancel(ctx, 50), 1);
}

START_TEST(what_a_process_put_aside_and_is_over_is_told_on_another_stack) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    struct record *record = &stage.record;
    record->stack_bytes = 100000; /* far more than the process has */
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "process",
                         .process = process_late,
                         .stack_bytes = 16384};
    weft_pid pid = rig_spawn_type(&stage.rig, rig_type(&stage.rig, &def), NULL);
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    eventually(weft_inspect(stage.rig.runtime, pid, &info) == 0 && info.messages == 1);
    trace(&stage.rig, pid, true);
    weft_msg *none = NULL;
    ck_assert_int_eq(weft_runtime_call(stage.rig.runtime, pid, 41, NULL, 0, 20 * MS_NS, &none),
                     -ETIMEDOUT);
    act(&stage.rig, stage.peer, call_and_cancel, &pid);
    sleep_ns(20 * MS_NS);
    for (uint32_t tag = 3; tag <= 4; tag++) {
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, tag, NULL, 0), 0);
    }
    uint32_t at = 0;
    (void)told_next(record, "receive cancel", &at);
    struct told told = told_next(record, "drop request", &at);
    ck_assert(told.tag == 42 && told.status == -ECANCELED && is_peer(&told, stage.peer));
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 3);
    told = told_next(record, "drop request", &at); /* when the process looks for a message */
    ck_assert(told.tag == 41 && told.status == -ETIMEDOUT);
    ck_assert_uint_eq(told_next(record, "receive user", &at).tag, 4);
    ck_assert_int_eq(told_next(record, "end end", &at).status, -ENOTTY);
    stage_stop(&stage);
}
END_TEST

static int serial_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    struct stage *stage = weft_type_cookie(weft_type_of(ctx));
    if (weft_msg_kind(msg) == WEFT_MSG_USER && weft_msg_tag(msg) == 1) {
        return weft_call(ctx, stage->peer, TAG_HOLD, NULL, 0, 0, 1);
    }
    return WEFT_CONTINUE;
}

static void let_go(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    struct puppet *puppet = weft_state(ctx);
    (void)puppet;
    (void)stage;
    weft_exit(ctx, 0); /* what it holds is answered */
}

START_TEST(what_a_serial_actor_puts_aside_is_told_when_it_is_handled) {
    struct stage stage;
    stage_start(&stage, 1);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "serial",
                         .receive = serial_receive,
                         .flags = WEFT_TYPE_SERIAL,
                         .cookie = &stage};
    weft_pid pid = rig_spawn_type(&stage.rig, rig_type(&stage.rig, &def), NULL);
    trace(&stage.rig, pid, true);
    for (uint32_t tag = 1; tag <= 3; tag++) {
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, pid, tag, NULL, 0), 0);
    }
    uint32_t at = 0;
    ck_assert_uint_eq(told_next(&stage.record, "receive user", &at).tag, 1);
    (void)told_next(&stage.record, "send request", &at);
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    eventually(weft_inspect(stage.rig.runtime, pid, &info) == 0 && info.aside == 2);
    ck_assert_uint_eq(info.mailbox, 2);
    ck_assert_uint_eq(info.traced, 1);
    act(&stage.rig, stage.peer, let_go, &stage);
    ck_assert_int_eq(told_next(&stage.record, "receive reply", &at).status, WEFT_E_NOPROC);
    ck_assert_uint_eq(told_next(&stage.record, "receive user", &at).tag, 2);
    ck_assert_uint_eq(told_next(&stage.record, "receive user", &at).tag, 3);
    eventually(weft_inspect(stage.rig.runtime, pid, &info) == 0 && info.mailbox == 0);
    ck_assert_uint_eq(info.aside, 0);
    stage_stop(&stage);
}
END_TEST

static int virtual_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    return weft_msg_kind(msg) == WEFT_MSG_REQUEST ? weft_reply(ctx, &msg, 8, "ok", 2) : WEFT_STOP;
}

START_TEST(a_virtual_actor_is_traced_until_it_leaves) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "virtual", .receive = virtual_receive};
    const weft_type *type = rig_type(&stage.rig, &def);
    const char *name = "chat";
    ck_assert_int_eq(weft_capability_register(stage.rig.runtime, &name, 1), 0);
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = weft_capability_find(stage.rig.runtime, name),
                             .type = type,
                             .id = "one",
                             .id_size = 3,
                             .tag = 4};
    weft_msg *reply = NULL;
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_vcall(stage.rig.runtime, &request, &reply, &pid), 0);
    weft_runtime_msg_release(stage.rig.runtime, &reply);
    trace(&stage.rig, pid, true);
    ck_assert_int_eq(weft_runtime_vcall(stage.rig.runtime, &request, &reply, NULL), 0);
    weft_runtime_msg_release(stage.rig.runtime, &reply);
    uint32_t at = 0;
    struct told told = told_next(&stage.record, "receive request", &at);
    ck_assert(told.tag == 4 && strcmp(told.type, "virtual") == 0);
    ck_assert_uint_eq(told_next(&stage.record, "send reply", &at).ref, told.ref);
    ck_assert_int_eq(weft_runtime_vcast(stage.rig.runtime, &request, NULL), 0);
    (void)told_next(&stage.record, "receive user", &at);
    ck_assert_int_eq(told_next(&stage.record, "end end", &at).status, 0);
    ck_assert_int_eq(weft_runtime_vcall(stage.rig.runtime, &request, &reply, NULL), 0);
    weft_runtime_msg_release(stage.rig.runtime, &reply);
    ck_assert_uint_eq(told_count(&stage.record), at); /* another activation is another actor */
    stage_stop(&stage);
}
END_TEST

START_TEST(a_supervisor_is_traced) {
    struct stage stage;
    stage_start(&stage, schedulers_of(_i));
    weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT,
                            .id = "child",
                            .type = stage.rig.puppet,
                            .restart = WEFT_RESTART_PERMANENT};
    weft_supervisor_def def = {
        .struct_size = WEFT_SUPERVISOR_DEF_INIT, .children = &spec, .child_count = 1};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_supervisor(stage.rig.runtime, &def, &pid), 0);
    weft_supervisor_request which = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_WHICH, .id = "child"};
    weft_supervisor_answer answer = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    ck_assert_int_eq(weft_runtime_supervisor_call(stage.rig.runtime, pid, &which, 0, &answer), 0);
    trace(&stage.rig, pid, true);
    weft_pid child = answer.pid;
    ck_assert_int_eq(weft_runtime_supervisor_call(stage.rig.runtime, pid, &which, 0, &answer), 0);
    uint32_t at = 0;
    uint64_t reference = told_next(&stage.record, "receive request", &at).ref;
    ck_assert_uint_eq(told_next(&stage.record, "send reply", &at).ref, reference);
    ck_assert_int_eq(weft_runtime_stop_actor(stage.rig.runtime, child, -EIO), 0);
    struct told told = told_next(&stage.record, "receive exit", &at);
    ck_assert(told.status == -EIO && is_peer(&told, child));
    (void)told_wait(&stage.record, "receive up", &at); /* of the child that follows */
    ck_assert_int_eq(weft_runtime_stop_actor(stage.rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    ck_assert_int_eq(told_wait(&stage.record, "receive stop", &at).status, WEFT_E_SHUTDOWN);
    (void)told_wait(&stage.record, "receive exit", &at);
    ck_assert_int_eq(told_wait(&stage.record, "end end", &at).status, WEFT_E_SHUTDOWN);
    stage_stop(&stage);
}
END_TEST

/* ---- under load ------------------------------------------------------------------------------ */

enum { CROWD = 32, SWITCHES = 300, SWITCHERS = 3 };
static const uint32_t load_schedulers[] = {1, 2, 8, 64};

struct load {
    struct stage stage;
    weft_pid crowd[CROWD];
    weft_atomic_u32 stop;
    weft_atomic_u32 ended; /* switchers that are through */
};

/* Each passes on what it gets, to a neighbour that the tag says, until it is told to stop. */
static int pass_on(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    struct load *load = weft_type_cookie(weft_type_of(ctx));
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        return weft_reply(ctx, &msg, 0, NULL, 0);
    }
    if (weft_msg_kind(msg) != WEFT_MSG_USER || weft_load32_acquire(&load->stop) != 0) {
        return WEFT_CONTINUE;
    }
    uint32_t next = weft_msg_tag(msg) + 1;
    (void)weft_send(ctx, load->crowd[next * 7 % CROWD], next, NULL, 0);
    if (next % 16 == 0) {
        (void)weft_call(ctx, load->crowd[next * 5 % CROWD], 0, NULL, 0, 0, 0);
    }
    return WEFT_CONTINUE;
}

static void *switch_often(void *arg) {
    struct load *load = arg;
    for (int i = 0; i < SWITCHES; i++) {
        ck_assert_int_eq(weft_trace(load->stage.rig.runtime, load->crowd[0], i % 2 == 0), 0);
        sleep_ns(20000);
    }
    (void)weft_add32_acq_rel(&load->ended, 1);
    return NULL;
}

START_TEST(it_is_switched_under_load_from_many_threads) {
    static struct load load;
    pthread_t threads[SWITCHERS];
    stage_start(&load.stage, load_schedulers[_i]);
    struct record *record = &load.stage.record;
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "crowd", .receive = pass_on, .cookie = &load};
    const weft_type *type = rig_type(&load.stage.rig, &def);
    for (uint32_t i = 0; i < CROWD; i++) {
        load.crowd[i] = rig_spawn_type(&load.stage.rig, type, NULL);
    }
    char only[WEFT_PID_TEXT_BYTES];
    ck_assert_int_ge(weft_pid_format(load.crowd[0], only, sizeof(only)), 0);
    pthread_mutex_lock(&record->lock);
    record->only = only;
    pthread_mutex_unlock(&record->lock);
    for (uint32_t i = 0; i < CROWD / 2; i++) {
        ck_assert_int_eq(weft_runtime_send(load.stage.rig.runtime, load.crowd[i], i, NULL, 0), 0);
    }
    for (int i = 0; i < SWITCHERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, switch_often, &load), 0);
    }
    for (int i = 0; i < SWITCHERS; i++) {
        pthread_join(threads[i], NULL);
    }
    trace(&load.stage.rig, load.crowd[0], true); /* who came last may have left it off */
    eventually(told_count(record) > 100 || load_schedulers[_i] > 8);
    trace(&load.stage.rig, load.crowd[0], false);
    weft_msg *reply = NULL;
    ck_assert_int_eq(
        weft_runtime_call(load.stage.rig.runtime, load.crowd[0], 0, NULL, 0, 60 * S_NS, &reply), 0);
    weft_runtime_msg_release(load.stage.rig.runtime, &reply);
    uint32_t count = told_count(record);
    sleep_ns(5 * MS_NS);
    ck_assert_uint_eq(told_count(record), count);
    ck_assert_uint_eq(weft_load32_acquire(&record->bad), 0);
    weft_store32_release(&load.stop, 1);
    stage_stop(&load.stage);
}
END_TEST

START_TEST(a_slow_hook_slows_only_the_one_who_is_traced) {
    struct stage stage;
    stage_start(&stage, 2);
    stage.record.delay_ns = 2 * MS_NS;
    trace(&stage.rig, stage.pid, true);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, stage.pid, i, NULL, 0), 0);
    }
    settle(&stage.rig, stage.peer);
    uint32_t at = 0;
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_uint_eq(told_next(&stage.record, "receive user", &at).tag, i);
    }
    stage_stop(&stage);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace");
    TCase *handlers = tcase_create("handlers");
    tcase_add_loop_test(handlers, what_a_handler_gets_and_sends_is_told_in_order, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(handlers, all_other_kinds_are_told_of_too, 0, SCHEDULER_CASES);
    tcase_add_test(handlers, a_full_mailbox_and_its_ready_are_told);
    tcase_add_test(handlers, what_is_dropped_is_told_with_the_reason);
    tcase_add_test(handlers, requests_that_expire_and_answers_that_come_too_late_are_told);
    suite_add_tcase(suite, handlers);
    TCase *order = tcase_create("order");
    tcase_add_test(order, it_goes_before_everything_that_waits);
    tcase_add_test(order, without_a_hook_nothing_happens);
    tcase_add_test(order, nobody_cannot_be_traced);
    suite_add_tcase(suite, order);
    TCase *others = tcase_create("others");
    tcase_add_loop_test(others, a_process_is_traced_as_it_receives, 0, SCHEDULER_CASES);
    tcase_add_loop_test(others, what_a_process_put_aside_and_is_over_is_told_on_another_stack, 0,
                        SCHEDULER_CASES);
    tcase_add_test(others, what_a_serial_actor_puts_aside_is_told_when_it_is_handled);
    tcase_add_loop_test(others, a_virtual_actor_is_traced_until_it_leaves, 0, SCHEDULER_CASES);
    tcase_add_loop_test(others, a_supervisor_is_traced, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, others);
    TCase *load = tcase_create("load");
    tcase_add_loop_test(load, it_is_switched_under_load_from_many_threads, 0, 4);
    tcase_add_test(load, a_slow_hook_slows_only_the_one_who_is_traced);
    suite_add_tcase(suite, load);
    return run_suite(suite);
}
