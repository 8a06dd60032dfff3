/* SPDX-License-Identifier: MIT
 *
 * gen_server_SUITE, first part: starting and stopping services, ends, names. The cases are
 * explained in docs/otp-conformance.md; calls, casts and idle times: test_otp_gen_server_call.c.
 */
#include "tests/unit/otp_server.h"

enum { TOKEN = 42 };

static weft_pid whereis_server(struct stage *stage) {
    return weft_name_whereis(stage->rig.runtime, "server", 6);
}

/* ---- start --------------------------------------------------------------------------------- */

/* Anonymous, linked or monitored: it answers, is asked to stop, and is gone. */
static void starts_and_stops(weft_ctx *ctx, struct stage *stage, uint32_t flags) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){0}, flags, TOKEN);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
    if ((flags & WEFT_SPAWN_LINK) != 0) {
        expect_exit(ctx, pid, STOPPED);
    }
    if ((flags & WEFT_SPAWN_MONITOR) != 0) {
        expect_down(ctx, TOKEN, STOPPED);
    }
    until(!lives(stage, pid));
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), WEFT_E_NOPROC);
}

/* Under a name that nobody else can have meanwhile. */
static void starts_named(weft_ctx *ctx, struct stage *stage, uint32_t flags) {
    struct server_arg named = {.named = 1};
    weft_pid pid = start_server_with(ctx, named, flags, TOKEN);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    ck_assert(weft_pid_equal(whereis_server(stage), pid));
    weft_pid second = start_server_with(ctx, named, WEFT_SPAWN_LINK, 0);
    expect_exit(ctx, second, -EEXIST);
    ck_assert(weft_pid_equal(whereis_server(stage), pid));
    ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
    if ((flags & WEFT_SPAWN_LINK) != 0) {
        expect_exit(ctx, pid, STOPPED);
    } else {
        expect_down(ctx, TOKEN, STOPPED);
    }
    ck_assert(weft_pid_is_none(whereis_server(stage)));
}

PLAY(start) {
    starts_and_stops(ctx, stage, 0);
    starts_and_stops(ctx, stage, WEFT_SPAWN_LINK);
    starts_and_stops(ctx, stage, WEFT_SPAWN_MONITOR);
    starts_named(ctx, stage, WEFT_SPAWN_LINK);
    starts_named(ctx, stage, WEFT_SPAWN_MONITOR);
    struct server_arg quits = {.init = SERVER_QUITS};
    struct server_arg refuses = {.init = SERVER_REFUSES};
    expect_exit(ctx, start_server_with(ctx, quits, WEFT_SPAWN_LINK | WEFT_SPAWN_REPORT, 0), 0);
    expect_exit(ctx, start_server_with(ctx, refuses, WEFT_SPAWN_LINK | WEFT_SPAWN_REPORT, 0),
                -ENOTSUP);
    expect_nothing(ctx, 5 * MS_NS);
}

/* Starts that fail in all ways, one after the other: none is in the way of the next. */
PLAY(loop_start_fail) {
    static const struct {
        uint32_t init;
        int code;
    } ways[] = {{SERVER_REFUSES, -ENOTSUP},
                {SERVER_QUITS, 0},
                {SERVER_BAD, -EINVAL},
                {SERVER_EXITS, CRASH}};
    static const uint32_t flags[] = {WEFT_SPAWN_LINK, WEFT_SPAWN_MONITOR,
                                     WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR};
    for (uint32_t i = 0; i < 60; i++) {
        struct server_arg arg = {.init = ways[i % 4].init, .named = 1};
        uint32_t how = flags[i / 4 % 3];
        weft_pid pid = start_server_with(ctx, arg, how | WEFT_SPAWN_REPORT, TOKEN);
        if ((how & WEFT_SPAWN_LINK) != 0) {
            expect_exit(ctx, pid, ways[i % 4].code);
        }
        if ((how & WEFT_SPAWN_MONITOR) != 0) {
            expect_down(ctx, TOKEN, ways[i % 4].code);
        }
        ck_assert(weft_pid_is_none(whereis_server(stage)));
        ck_assert(!lives(stage, pid));
    }
    expect_nothing(ctx, 5 * MS_NS);
}

PLAY(otp_7669) {
    for (uint32_t i = 0; i < 100; i++) {
        struct server_arg arg = {.init = i % 2 == 0 ? SERVER_QUITS : SERVER_REFUSES, .named = 1};
        (void)start_server_with(ctx, arg, WEFT_SPAWN_MONITOR, TOKEN);
        (void)next_down(ctx, TOKEN);
        ck_assert(weft_pid_is_none(whereis_server(stage)));
    }
}

/* ---- stop ---------------------------------------------------------------------------------- */

PLAY(stop1) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){.whom = weft_self(ctx)}, 0, 0);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    ck_assert(!lives(stage, pid));
    expect_told(ctx, TELL_TERMINATED);
    ck_assert_int_eq(stop_server(ctx, pid, 0), WEFT_E_NOPROC);
}

PLAY(stop2) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){.whom = weft_self(ctx)}, 0, 0);
    ck_assert_int_eq(stop_server(ctx, pid, -ECANCELED), -ECANCELED);
    ck_assert(!lives(stage, pid));
    expect_told(ctx, TELL_TERMINATED);
}

PLAY(stop3) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){.whom = weft_self(ctx)}, 0, 0);
    ck_assert_int_eq(stop_server(ctx, pid, 17), -EINVAL);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    ck_assert(!lives(stage, pid));
}

PLAY(stop4) {
    weft_pid pid = start_server_with(ctx, (struct server_arg){.named = 1}, 0, 0);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    ck_assert_int_eq(stop_server(ctx, whereis_server(stage), 0), 0);
    ck_assert(!lives(stage, pid));
    ck_assert(weft_pid_is_none(whereis_server(stage)));
    ck_assert_int_eq(stop_server(ctx, whereis_server(stage), 0), WEFT_E_NOPROC);
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* Ends that are in order reach the link and are not reported; a crash is, once. The caller hears
 * that there is no answer. */
PLAY(crash) {
    static const uint32_t tags[] = {CALL_SHUTDOWN, CALL_CRASH};
    for (uint32_t i = 0; i < 2; i++) {
        weft_pid pid = start_server(ctx);
        uint32_t crashes = weft_load32_acquire(&stage->crashes);
        int status = call_server(ctx, pid, tags[i]);
        ck_assert(status == WEFT_E_NOREPLY || status == WEFT_E_NOPROC);
        weft_reason reason = next_exit(ctx, pid);
        ck_assert_int_eq(reason.code, i == 0 ? WEFT_E_SHUTDOWN : CRASH);
        expect_told(ctx, TELL_TERMINATED);
        until(!lives(stage, pid));
        ck_assert_int_eq(weft_sleep(ctx, 5 * MS_NS), 0);
        ck_assert_uint_eq(weft_load32_acquire(&stage->crashes), crashes + i);
    }
    /* Ended by an exit signal, in order. */
    weft_pid pid = start_server(ctx);
    uint32_t crashes = weft_load32_acquire(&stage->crashes);
    signal_exit(ctx, pid, WEFT_E_SHUTDOWN);
    expect_exit(ctx, pid, WEFT_E_SHUTDOWN);
    until(!lives(stage, pid));
    ck_assert_uint_eq(weft_load32_acquire(&stage->crashes), crashes);
}

/* Terminate runs, whatever name the parent has. */
PLAY(spec_init_local_registered_parent) {
    ck_assert_int_eq(weft_name_register(stage->rig.runtime, "foobar", 6, weft_self(ctx)), 0);
    weft_pid pid = start_server(ctx);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_STOP, NULL, 0), 0);
    expect_told(ctx, TELL_TERMINATED);
    expect_exit(ctx, pid, 0);
}

/* A process answers requests as a server does, after an init of its own and under its own name. */
static int serve_by_hand(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_msg *msg = NULL;
    int result = weft_name_register(stage->rig.runtime, "server", 6, weft_self(ctx));
    if (result != 0) {
        return result;
    }
    ck_assert_int_eq(weft_send(ctx, weft_parent(ctx), TELL_HANDLED, NULL, 0), 0);
    for (;;) {
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        uint32_t tag = weft_msg_tag(msg);
        ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST);
        ck_assert_int_eq(weft_reply(ctx, &msg, tag, NULL, 0), 0);
        if (tag == CALL_STOP) {
            weft_reason reason = {.code = STOPPED};
            weft_exit_with(ctx, &reason);
        }
    }
}

PLAY(spec_init) {
    weft_pid pid = run_script(ctx, serve_by_hand, stage, WEFT_SPAWN_LINK, 0);
    expect_told(ctx, TELL_HANDLED);
    ck_assert(weft_pid_equal(whereis_server(stage), pid));
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), 0);
    /* The name is taken. */
    expect_exit(ctx, run_script(ctx, serve_by_hand, stage, WEFT_SPAWN_LINK, 0), -EEXIST);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
    expect_exit(ctx, pid, STOPPED);
    ck_assert(weft_pid_is_none(whereis_server(stage)));
}

PLAY(otp_5854) {
    ck_assert_int_eq(weft_name_register(stage->rig.runtime, "server", 6, weft_self(ctx)), 0);
    expect_exit(ctx, run_script(ctx, serve_by_hand, stage, WEFT_SPAWN_LINK, 0), -EEXIST);
    ck_assert(weft_pid_equal(whereis_server(stage), weft_self(ctx)));
    ck_assert_int_eq(weft_name_unregister(stage->rig.runtime, "server", 6), 0);
    weft_pid pid = run_script(ctx, serve_by_hand, stage, WEFT_SPAWN_LINK, 0);
    expect_told(ctx, TELL_HANDLED);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STOP), 0);
    expect_exit(ctx, pid, STOPPED);
}

/* ---- what is not there --------------------------------------------------------------------- */

/* A service of nothing: no terminate, no operations, no other. */
static weft_pid start_bare(weft_ctx *ctx, struct stage *stage) {
    const weft_type *type = weft_type_find(stage->rig.runtime, "bare");
    if (type == NULL) {
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "bare"};
        weft_service_def service = {.struct_size = WEFT_SERVICE_DEF_INIT, .type = &def};
        ck_assert_int_eq(weft_service_register(stage->rig.runtime, &service, &type), 0);
    }
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn(ctx, type, NULL, 0, &pid), 0);
    return pid;
}

PLAY(undef_terminate1) {
    ck_assert_int_eq(stop_server(ctx, start_bare(ctx, stage), 0), 0);
    ck_assert_int_eq(stop_server(ctx, start_bare(ctx, stage), -ECANCELED), -ECANCELED);
}

PLAY(undef_handle_call) {
    weft_pid pid = start_bare(ctx, stage);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), -ENOSYS);
    ck_assert_int_eq(call_server(ctx, pid, 0xffff), -ENOSYS);
    ck_assert(lives(stage, pid));
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
}

PLAY(undef_handle_cast) {
    weft_pid pid = start_bare(ctx, stage);
    ck_assert_int_eq(weft_dead_letters(stage->rig.runtime, weft_self(ctx)), 0);
    ck_assert_int_eq(weft_send(ctx, pid, CAST_HANDLE, "lost", 4), 0);
    struct want dead = {.kind = WEFT_MSG_DEAD, .ctx = ctx};
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &dead, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), CAST_HANDLE);
    ck_assert_uint_eq(weft_msg_size(msg), 4);
    ck_assert(lives(stage, pid));
    ck_assert_int_eq(weft_dead_letters(stage->rig.runtime, weft_pid_none()), 0);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
}

static int link_and_end(weft_ctx *ctx, void *arg) {
    const weft_pid *pid = arg;
    ck_assert_int_eq(weft_link(ctx, *pid), 0);
    return 0;
}

/* What it has no function for is dropped: here the normal end of a link. */
PLAY(undef_handle_info) {
    weft_pid pid = start_bare(ctx, stage);
    (void)run_script(ctx, link_and_end, &pid, WEFT_SPAWN_MONITOR, TOKEN);
    expect_down(ctx, TOKEN, 0);
    ck_assert_int_eq(call_server(ctx, pid, CALL_STARTED), -ENOSYS);
    ck_assert(lives(stage, pid));
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
}

/* Its state is nobody's but its own: whoever wants to know it asks an operation. */
PLAY(get_state) {
    weft_pid pid = start_server(ctx);
    uint64_t ns = PATIENCE_NS;
    uint32_t in_time = 77;
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_WITHIN, &ns, sizeof(ns), PATIENCE_NS, NULL), 0);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_call_wait(ctx, pid, CALL_NEXT, NULL, 0, PATIENCE_NS, &reply), 0);
    memcpy(&in_time, weft_msg_data(reply), sizeof(in_time));
    weft_msg_release(ctx, &reply);
    ck_assert_uint_eq(in_time, 1);
    ck_assert_int_eq(stop_server(ctx, pid, 0), 0);
    ck_assert(!lives(stage, pid));
}

int main(void) {
    Suite *suite = suite_create("otp_gen_server");
    ADD(suite, start);
    ADD(suite, loop_start_fail);
    ADD(suite, otp_7669);
    ADD(suite, stop1);
    ADD(suite, stop2);
    ADD(suite, stop3);
    ADD(suite, stop4);
    ADD(suite, crash);
    ADD(suite, spec_init_local_registered_parent);
    ADD(suite, spec_init);
    ADD(suite, otp_5854);
    ADD(suite, undef_terminate1);
    ADD(suite, undef_handle_call);
    ADD(suite, undef_handle_cast);
    ADD(suite, undef_handle_info);
    ADD(suite, get_state);
    return run_suite(suite);
}
