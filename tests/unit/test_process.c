/* SPDX-License-Identifier: MIT
 *
 * Processes: what they wait for, what they are given and in which order, how they end.
 */
#include "tests/unit/support.h"

/* What a process under test runs, and what the test looks at. */
typedef int (*script_fn)(weft_ctx *ctx, void *user);
struct script {
    script_fn fn;
    void *user;
    weft_pid pid;   /* of an actor it talks to */
    weft_pid other; /* of another */
    weft_atomic_u32 done;
    weft_atomic_u32 cleaned;
    weft_atomic_u32 terminated;
    weft_atomic_u32 step;
};

static int run_script(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    struct script *script;
    ck_assert_uint_eq(arg_size, sizeof(struct script *));
    memcpy(&script, arg, sizeof(struct script *));
    ck_assert(weft_is_process(ctx));
    int result = script->fn(ctx, script);
    weft_store32_release(&script->done, 1);
    return result;
}

static weft_type_def process_def(const char *name) {
    return (weft_type_def){.struct_size = WEFT_TYPE_DEF_INIT, .name = name, .process = run_script};
}

static weft_pid start_pinned(struct rig *rig, struct script *script, bool pin) {
    const weft_type *type = weft_type_find(rig->runtime, "process");
    if (type == NULL) {
        weft_type_def def = process_def("process");
        type = rig_type(rig, &def);
    }
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(struct script *),
                                  .pin = pin};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    return pid;
}

static weft_pid start(struct rig *rig, struct script *script) {
    return start_pinned(rig, script, false);
}

#define finished(script) (weft_load32_acquire(&(script)->done) != 0)

/* ---- receiving ----------------------------------------------------------------------------- */

static int take_three(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < 3; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), i);
        ck_assert(weft_current(ctx) == msg);
        (void)weft_add32_acq_rel(&script->step, 1);
    }
    return 0;
}

START_TEST(messages_come_in_order) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = take_three};
    weft_pid pid = start(&rig, &script);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, i, NULL, 0), 0);
    }
    eventually(finished(&script));
    eventually(!is_alive(&rig, pid));
    rig_stop(&rig);
}
END_TEST

static bool is_odd(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_tag(msg) % 2 == 1;
}

static int take_odd_first(weft_ctx *ctx, void *user) {
    (void)user;
    weft_msg *msg;
    for (uint32_t i = 1; i < 100; i += 2) {
        ck_assert_int_eq(weft_receive_match(ctx, WEFT_FOREVER, is_odd, NULL, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), i);
    }
    ck_assert_int_eq(weft_receive_match(ctx, 0, is_odd, NULL, &msg), -ETIMEDOUT);
    for (uint32_t i = 0; i < 100; i += 2) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), i);
    }
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(what_a_match_skips_stays_in_order) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = take_odd_first};
    weft_pid pid = start(&rig, &script);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, i, NULL, 0), 0);
    }
    eventually(finished(&script));
    rig_stop(&rig);
}
END_TEST

static int wait_in_vain(weft_ctx *ctx, void *user) {
    (void)user;
    weft_msg *msg;
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_receive(ctx, 20 * MS_NS, &msg), -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns() - before_ns, 20 * MS_NS);
    before_ns = clock_ns();
    ck_assert_int_eq(weft_sleep(ctx, 10 * MS_NS), 0);
    ck_assert_uint_ge(clock_ns() - before_ns, 10 * MS_NS);
    ck_assert_int_eq(weft_sleep(ctx, 0), 0);
    ck_assert_int_eq(weft_yield(ctx), 0);
    return 0;
}

START_TEST(timeouts_of_nothing_some_and_sleep) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = wait_in_vain};
    (void)start(&rig, &script);
    eventually(finished(&script));
    rig_stop(&rig);
}
END_TEST

/* ---- calling ------------------------------------------------------------------------------- */

static int answer_double(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    uint64_t value;
    memcpy(&value, weft_msg_data(msg), sizeof(value));
    value *= 2;
    ck_assert_int_eq(weft_reply(ctx, &msg, 9, &value, sizeof(value)), 0);
    return WEFT_CONTINUE;
}

static int call_many(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint64_t i = 0; i < 1000; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_call_wait(ctx, script->pid, 1, &i, sizeof(i), S_NS, &reply), 0);
        uint64_t value;
        memcpy(&value, weft_msg_data(reply), sizeof(value));
        ck_assert_uint_eq(value, 2 * i);
        ck_assert_uint_eq(weft_msg_tag(reply), 9);
        weft_msg_release(ctx, &reply);
        ck_assert_int_eq(weft_call_wait(ctx, script->pid, 1, &i, sizeof(i), S_NS, NULL), 0);
    }
    ck_assert_int_eq(weft_call_wait(ctx, weft_self(ctx), 1, NULL, 0, S_NS, NULL), -EDEADLK);
    ck_assert_int_eq(weft_call_wait(ctx, weft_pid_none(), 1, NULL, 0, S_NS, NULL), WEFT_E_NOPROC);
    return 0;
}

START_TEST(a_call_waits_for_its_answer) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = answer_double;
    struct script script = {.fn = call_many, .pid = rig_spawn(&rig, &probe)};
    (void)start(&rig, &script);
    eventually(finished(&script));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* Keeps requests with tag 1, which may come too late to be seen at all; one with tag 2 is answered
 * after what was kept. */
static int keep_first(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    weft_msg *kept = probe->user;
    if (weft_msg_tag(msg) == 1) {
        probe->user = weft_msg_take(ctx, msg);
        return WEFT_CONTINUE;
    }
    probe->user = NULL;
    if (kept != NULL) {
        (void)weft_reply(ctx, &kept, 1, NULL, 0); /* too late for its caller */
    }
    (void)weft_reply(ctx, &msg, 2, NULL, 0);
    return WEFT_CONTINUE;
}

static int time_out_then_call(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < 20; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_call_wait(ctx, script->pid, 1, NULL, 0, MS_NS, &reply), -ETIMEDOUT);
        ck_assert_ptr_null(reply);
        ck_assert_int_eq(weft_call_wait(ctx, script->pid, 2, NULL, 0, 50 * S_NS, &reply), 0);
        ck_assert_uint_eq(weft_msg_tag(reply), 2); /* not the late one */
        weft_msg_release(ctx, &reply);
    }
    weft_msg *msg;
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(a_late_answer_is_never_another_calls) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = keep_first;
    struct script script = {.fn = time_out_then_call, .pid = rig_spawn(&rig, &probe)};
    (void)start(&rig, &script);
    eventually(finished(&script));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* A server that itself calls in the middle of a request, and replies to it afterwards. */
static int serve_through(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request;
    while (weft_receive(ctx, WEFT_FOREVER, &request) == 0) {
        if (weft_msg_kind(request) != WEFT_MSG_REQUEST) {
            break;
        }
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_call_wait(ctx, script->pid, 1, weft_msg_data(request),
                                        weft_msg_size(request), S_NS, &reply),
                         0);
        ck_assert(weft_current(ctx) == request);
        ck_assert_int_eq(weft_reply(ctx, &request, weft_msg_tag(reply), weft_msg_data(reply),
                                    weft_msg_size(reply)),
                         0);
        ck_assert_ptr_null(weft_current(ctx));
        weft_msg_release(ctx, &reply);
    }
    return 0;
}

START_TEST(a_request_stays_over_calls_in_its_service) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = answer_double;
    struct script server = {.fn = serve_through, .pid = rig_spawn(&rig, &probe)};
    weft_pid middle = start(&rig, &server);
    struct script clients[8];
    for (uint32_t i = 0; i < 8; i++) {
        clients[i] = (struct script){.fn = call_many, .pid = middle};
        (void)start(&rig, &clients[i]);
    }
    for (uint32_t i = 0; i < 8; i++) {
        eventually(finished(&clients[i]));
    }
    ck_assert_int_eq(weft_runtime_send(rig.runtime, middle, 0, NULL, 0), 0);
    eventually(finished(&server));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- awaiting ------------------------------------------------------------------------------ */

static int sleepy(void *arg) {
    sleep_ns(2 * MS_NS);
    return *(int *)arg;
}

static int await_all_kinds(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg;
    uint64_t value = 4;
    int number = 17;
    ck_assert_int_eq(weft_call(ctx, script->pid, 1, &value, sizeof(value), S_NS, 100), 0);
    ck_assert_int_eq(weft_timer_start(ctx, MS_NS, 7, 101, NULL), 0);
    ck_assert_int_eq(weft_blocking(ctx, sleepy, &number, 102), 0);
    ck_assert_int_eq(weft_await(ctx, 102, WEFT_FOREVER, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_DONE);
    ck_assert_int_eq(weft_msg_status(msg), 17);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_await(ctx, 101, S_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_TIMER);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_await(ctx, 100, S_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REPLY);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_await(ctx, 100, MS_NS, &msg), -ETIMEDOUT);
    ck_assert_int_eq(weft_blocking_wait(ctx, sleepy, &number), 17);
    return 0;
}

START_TEST(replies_timers_and_blocking_work_are_awaited_by_token) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = answer_double;
    struct script script = {.fn = await_all_kinds, .pid = rig_spawn(&rig, &probe)};
    (void)start(&rig, &script);
    eventually(finished(&script));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- ending -------------------------------------------------------------------------------- */

static void note_cleanup(void *arg) {
    (void)weft_add32_acq_rel(&((struct script *)arg)->cleaned, 1);
}

static int exit_deep(weft_ctx *ctx, void *user) {
    ck_assert_int_eq(weft_defer(ctx, note_cleanup, user), 0);
    weft_exit(ctx, -EIO);
    ck_abort_msg("weft_exit came back");
    return 0;
}

static int wait_for_ever(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg;
    ck_assert_int_eq(weft_defer(ctx, note_cleanup, user), 0);
    (void)weft_add32_acq_rel(&script->step, 1);
    int result = weft_receive_match(ctx, WEFT_FOREVER, is_odd, NULL, &msg);
    ck_abort_msg("nothing odd was sent, and yet: %d", result);
    return 0;
}

START_TEST(exit_does_not_return_and_cleans_up) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = exit_deep};
    weft_pid pid = start(&rig, &script);
    eventually(!is_alive(&rig, pid));
    ck_assert(!finished(&script));
    eventually(weft_load32_acquire(&script.cleaned) == 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_process_that_waits_is_stopped_and_killed_and_its_callers_told) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script scripts[40];
    for (uint32_t i = 0; i < 40; i++) {
        scripts[i] = (struct script){.fn = wait_for_ever};
        weft_pid pid = start(&rig, &scripts[i]);
        eventually(weft_load32_acquire(&scripts[i].step) == 1);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 2, NULL, 0), 0);
        if (i % 4 == 0) {
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, -EIO), 0);
        } else if (i % 4 == 1) {
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
        }
        if (i % 4 <= 1) {
            eventually(!is_alive(&rig, pid));
            eventually(weft_load32_acquire(&scripts[i].cleaned) == 1);
        }
    }
    rig_stop(&rig); /* the rest */
    for (uint32_t i = 0; i < 40; i++) {
        ck_assert_uint_eq(weft_load32_acquire(&scripts[i].cleaned), 1);
    }
}
END_TEST

/* ---- circles ------------------------------------------------------------------------------- */

/* Calls its partner when it is told to, serves else. */
static int call_partner(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg;
    for (;;) {
        if (weft_receive(ctx, WEFT_FOREVER, &msg) != 0) {
            return -EINVAL;
        }
        if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == 1) {
            int result = weft_call_wait(ctx, script->pid, 1, NULL, 0, 20 * S_NS, NULL);
            (void)weft_reply(ctx, &msg, 0, &result, sizeof(result));
            if (result == -EDEADLK) {
                (void)weft_add32_acq_rel(&script->step, 1);
            }
        } else {
            return 0;
        }
    }
}

START_TEST(processes_that_call_in_a_circle_are_told_at_once) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script scripts[3] = {{.fn = call_partner}, {.fn = call_partner}, {.fn = call_partner}};
    weft_pid pids[3];
    for (uint32_t i = 0; i < 3; i++) {
        pids[i] = start(&rig, &scripts[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        scripts[i].pid = pids[(i + 1) % 3];
    }
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, pids[0], 1, NULL, 0, 20 * S_NS, &reply), 0);
    weft_runtime_msg_release(rig.runtime, &reply);
    uint32_t told = 0;
    for (uint32_t i = 0; i < 3; i++) {
        told += weft_load32_acquire(&scripts[i].step);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pids[i], 2, NULL, 0), 0);
    }
    ck_assert_uint_eq(told, 1);
    for (uint32_t i = 0; i < 3; i++) {
        eventually(finished(&scripts[i]));
    }
    rig_stop(&rig);
}
END_TEST

/* ---- bounds, types, trapping --------------------------------------------------------------- */

static int sleep_long(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_store32_release(&script->step, 1);
    (void)weft_sleep(ctx, 60 * S_NS);
    return 0;
}

START_TEST(what_a_process_puts_aside_takes_room) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = sleep_long};
    struct script *at = &script;
    weft_type_def def = process_def("narrow");
    def.mailbox_max = 100;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &at, .arg_size = sizeof(struct script *)};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig_type(&rig, &def), &options, &pid), 0);
    eventually(weft_load32_acquire(&script.step) == 1);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        taken += weft_runtime_send(rig.runtime, pid, 0, NULL, 0) == 0 ? 1 : 0;
        if (i % 10 == 0) {
            sleep_ns(100000);
        }
    }
    ck_assert_uint_le(taken, 101);
    ck_assert_uint_ge(taken, 36);
    rig_stop(&rig);
}
END_TEST

START_TEST(types_of_processes_are_checked) {
    struct rig rig = rig_start(1);
    const weft_type *type;
    weft_type_def def = process_def("wrong");
    def.receive = puppet_receive;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def = process_def("wrong");
    def.stack_bytes = 1000;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def.stack_bytes = (size_t)1 << 40;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def = process_def("wrong");
    def.flags = WEFT_TYPE_SERIAL;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    rig_stop(&rig);
}
END_TEST

static void try_waiting(weft_ctx *ctx, void *arg) {
    int *result = arg;
    weft_msg *msg;
    *result = weft_receive(ctx, 0, &msg);
    ck_assert_int_eq(weft_sleep(ctx, 0), -EPERM);
    ck_assert_int_eq(weft_call_wait(ctx, weft_self(ctx), 0, NULL, 0, 0, NULL), -EPERM);
    ck_assert(!weft_is_process(ctx));
}

START_TEST(a_handler_cannot_wait) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    int result = 0;
    act(&rig, pid, try_waiting, &result);
    ck_assert_int_eq(result, -EPERM);
    rig_stop(&rig);
}
END_TEST

static int trap_a_stop(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg;
    (void)weft_trap_exit(ctx, true);
    weft_store32_release(&script->step, 1);
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_EXIT);
    ck_assert_int_eq(weft_msg_status(msg), WEFT_E_SHUTDOWN);
    ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0); /* it may wind down */
    return 0;
}

START_TEST(a_process_that_traps_exits_answers_a_stop_itself) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = trap_a_stop};
    weft_pid pid = start(&rig, &script);
    eventually(weft_load32_acquire(&script.step) == 1);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    eventually(finished(&script));
    rig_stop(&rig);
}
END_TEST

static int await_down_after_demonitor(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_monitor_ref refs[3];
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(weft_monitor(ctx, script->pid, i, &refs[i]), 0);
    }
    ck_assert_int_eq(weft_link(ctx, script->other), 0);
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_kill(ctx, script->pid), 0);
    ck_assert_int_eq(weft_kill(ctx, script->other), 0);
    ck_assert_int_eq(weft_sleep(ctx, 20 * MS_NS), 0); /* all of them come, and are put aside */
    ck_assert(weft_demonitor(ctx, refs[1]));
    ck_assert(!weft_demonitor(ctx, refs[1]));
    ck_assert_int_eq(weft_unlink(ctx, script->other), 0);
    weft_msg *msg;
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(weft_receive(ctx, S_NS, &msg), 0);
        ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_DOWN);
        tokens += UINT64_C(1) << weft_msg_token(msg);
    }
    ck_assert_uint_eq(tokens, 5);
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(what_was_given_up_is_taken_out_of_what_waits) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct script script = {.fn = await_down_after_demonitor,
                            .pid = rig_spawn(&rig, NULL),
                            .other = rig_spawn(&rig, NULL)};
    (void)start(&rig, &script);
    eventually(finished(&script));
    rig_stop(&rig);
}
END_TEST

static int yield_on(weft_ctx *ctx, void *user) {
    (void)user;
    while (weft_yield(ctx) == 0) { /* until it is ended */
    }
    return 0;
}

static int end_with_two(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_reason first = {.code = 1};
    weft_reason second = {.code = 2};
    weft_msg *msg;
    ck_assert_int_eq(weft_monitor(ctx, script->pid, 0, NULL), 0);
    ck_assert_int_eq(weft_exit_signal(ctx, script->pid, &first), 0);
    (void)weft_exit_signal(ctx, script->pid, &second); /* it may have ended */
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_DOWN);
    ck_assert_int_eq(weft_msg_status(msg), 1);
    return 0;
}

/* The second came in front of the first when that still waited as a turn ended. */
START_TEST(signals_keep_their_order_over_turns) {
    struct rig rig = rig_start(schedulers_of(_i));
    for (uint32_t round = 0; round < 2000; round++) {
        struct script target = {.fn = yield_on};
        struct script script = {.fn = end_with_two, .pid = start(&rig, &target)};
        weft_pid pid = start(&rig, &script);
        eventually(finished(&script));
        eventually(!is_alive(&rig, pid));
    }
    rig_stop(&rig);
}
END_TEST

/* ---- many ---------------------------------------------------------------------------------- */

/* Passes on what it gets; step counts how often it finds itself on another scheduler. */
static int hop(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg;
    uint32_t at = weft_scheduler_of(ctx);
    uint64_t before_ns = weft_now_ns(ctx);
    for (uint32_t i = 0; i < 200; i++) {
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        ck_assert_uint_ge(weft_now_ns(ctx), before_ns); /* wherever it is now */
        before_ns = weft_now_ns(ctx);
        uint32_t now_at = weft_scheduler_of(ctx);
        (void)weft_add32_acq_rel(&script->step, now_at == at ? 0 : 1);
        at = now_at;
        uint32_t left;
        memcpy(&left, weft_msg_data(msg), sizeof(left));
        (void)weft_send(ctx, script->pid, 0, &left, sizeof(left));
        if (i % 16 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
    }
    return 0;
}

enum { HOPPERS = 300, HOP_TOKENS = 64, PINNED_EVERY = 10 };

/* A ring of processes, all of which come to their end; how often one moved. Every tenth is pinned,
 * and does not. */
static uint32_t hop_round(struct rig *rig) {
    static struct script scripts[HOPPERS];
    static weft_pid pids[HOPPERS];
    uint32_t moves = 0;
    for (uint32_t i = 0; i < HOPPERS; i++) {
        scripts[i] = (struct script){.fn = hop};
        pids[i] = start_pinned(rig, &scripts[i], i % PINNED_EVERY == 0);
    }
    for (uint32_t i = 0; i < HOPPERS; i++) {
        scripts[i].pid = pids[(i + 1) % HOPPERS];
    }
    for (uint32_t i = 0; i < HOPPERS; i++) {
        for (uint32_t k = 0; k < HOP_TOKENS; k++) {
            (void)weft_runtime_send(rig->runtime, pids[i], 0, &k, sizeof(k));
        }
    }
    for (uint32_t i = 0; i < HOPPERS; i++) {
        eventually(finished(&scripts[i]));
        eventually(!is_alive(rig, pids[i]));
        uint32_t moved = weft_load32_acquire(&scripts[i].step);
        ck_assert(i % PINNED_EVERY != 0 || moved == 0);
        moves += moved;
    }
    return moves;
}

/* A machine that does something else may run one scheduler after the other: then once more. */
START_TEST(many_processes_move_between_schedulers) {
    struct rig rig = rig_start(schedulers_of(_i));
    uint32_t moves = hop_round(&rig);
    for (uint32_t round = 1; round < 100 && schedulers_of(_i) > 1 && moves == 0; round++) {
        moves = hop_round(&rig);
    }
    ck_assert(schedulers_of(_i) == 1 ? moves == 0 : moves != 0);
    rig_stop(&rig);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("process");
    TCase *cases = tcase_create("all");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, messages_come_in_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, what_a_match_skips_stays_in_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, timeouts_of_nothing_some_and_sleep, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_call_waits_for_its_answer, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_late_answer_is_never_another_calls, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_request_stays_over_calls_in_its_service, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, replies_timers_and_blocking_work_are_awaited_by_token, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, exit_does_not_return_and_cleans_up, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_process_that_waits_is_stopped_and_killed_and_its_callers_told, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, processes_that_call_in_a_circle_are_told_at_once, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, what_a_process_puts_aside_takes_room, 0, SCHEDULER_CASES);
    tcase_add_test(cases, types_of_processes_are_checked);
    tcase_add_test(cases, a_handler_cannot_wait);
    tcase_add_loop_test(cases, a_process_that_traps_exits_answers_a_stop_itself, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, what_was_given_up_is_taken_out_of_what_waits, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, signals_keep_their_order_over_turns, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, many_processes_move_between_schedulers, 0, SCHEDULER_CASES);
    suite_add_tcase(s, cases);
    return s;
}

int main(void) {
    return run_suite(suite());
}
