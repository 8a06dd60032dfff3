/* SPDX-License-Identifier: MIT
 *
 * process_SUITE, first part: exits, exit signals, spawning with links and monitors. The cases are
 * explained in docs/otp-conformance.md; names, looking inside and scheduling:
 * test_otp_process_info.c.
 */
#include "tests/unit/otp_support.h"

enum {
    BIG = WEFT_REASON_BYTES_MAX,
    GO = 0x60, /* tags of messages between scripts */
    TOKEN = 42,
};

/* ---- reasons with much data ---------------------------------------------------------------- */

static void fill(unsigned char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(i * 7 + i / 251);
    }
}

static bool is_filled(const weft_reason *reason, size_t size) {
    unsigned char *expected = malloc(size);
    ck_assert_ptr_nonnull(expected);
    fill(expected, size);
    bool same = reason->size == size && memcmp(reason->data, expected, size) == 0;
    free(expected);
    return same;
}

struct garbage {
    unsigned char data[BIG];
};

static int exit_big(weft_ctx *ctx, void *arg) {
    struct garbage *garbage = arg;
    weft_reason reason = {.code = 7, .data = garbage->data, .size = sizeof(garbage->data)};
    weft_exit_with(ctx, &reason);
    ck_abort_msg("a process returned from weft_exit_with");
    return 0;
}

static struct garbage *make_garbage(void) {
    struct garbage *garbage = malloc(sizeof(*garbage));
    ck_assert_ptr_nonnull(garbage);
    fill(garbage->data, sizeof(garbage->data));
    return garbage;
}

PLAY(t_exit_1) {
    struct garbage *garbage = make_garbage();
    for (uint32_t i = 0; i < 10; i++) {
        weft_pid pid = run_script(ctx, exit_big, garbage, WEFT_SPAWN_LINK, 0);
        weft_reason reason = next_exit(ctx, pid);
        ck_assert_int_eq(reason.code, 7);
        ck_assert_int_eq(weft_reason_kind(&reason), WEFT_REASON_CUSTOM);
        ck_assert(is_filled(&reason, BIG));
    }
    free(garbage);
}

PLAY(t_exit_2_other) {
    struct garbage *garbage = make_garbage();
    for (uint32_t i = 0; i < 10; i++) {
        weft_pid pid = run_script(ctx, wait_for_ever, NULL, WEFT_SPAWN_LINK, 0);
        weft_reason sent = {.code = -EPERM, .data = garbage->data, .size = BIG};
        ck_assert_int_eq(weft_exit_signal(ctx, pid, &sent), 0);
        weft_reason reason = next_exit(ctx, pid);
        ck_assert_int_eq(reason.code, -EPERM);
        ck_assert(is_filled(&reason, BIG));
    }
    weft_reason larger = {.code = -EPERM, .data = garbage->data, .size = (size_t)BIG + 1};
    ck_assert_int_eq(weft_exit_signal(ctx, weft_self(ctx), &larger), -EMSGSIZE);
    free(garbage);
}

PLAY(t_exit_2_other_normal) {
    weft_pid process = run_script(ctx, wait_for_ever, NULL, WEFT_SPAWN_LINK, 0);
    weft_pid handler = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_LINK, 0);
    signal_exit(ctx, process, 0);
    signal_exit(ctx, handler, 0);
    expect_nothing(ctx, 50 * MS_NS);
    ck_assert(lives(stage, process));
    ck_assert(lives(stage, handler));
    signal_exit(ctx, process, WEFT_E_KILLED);
    signal_exit(ctx, handler, WEFT_E_KILLED);
    expect_exit(ctx, process, WEFT_E_KILLED);
    expect_exit(ctx, handler, WEFT_E_KILLED);
}

/* ---- exit signals to itself ---------------------------------------------------------------- */

PLAY(self_exit) {
    unsigned char data[8192];
    fill(data, sizeof(data));
    for (uint32_t i = 0; i < 200; i++) {
        weft_reason sent = {.code = i % 2 == 0 ? 9 : 0, .data = data, .size = sizeof(data)};
        ck_assert_int_eq(weft_exit_signal(ctx, weft_self(ctx), &sent), 0);
        weft_reason reason = next_exit(ctx, weft_self(ctx));
        ck_assert_int_eq(reason.code, sent.code);
        ck_assert(is_filled(&reason, sizeof(data)));
    }
}

/* Ends itself by a signal; what comes after it would end it with another reason. */
static int suicide(weft_ctx *ctx, void *arg) {
    const weft_reason *reason = arg;
    ck_assert_int_eq(weft_exit_signal(ctx, weft_self(ctx), reason), 0);
    weft_msg *msg = NULL;
    int result = weft_receive(ctx, PATIENCE_NS, &msg);
    return result == 0 ? -EBADMSG : result;
}

PLAY(normal_suicide_exit) {
    weft_reason reason = {.code = 0};
    expect_exit(ctx, run_script(ctx, suicide, &reason, WEFT_SPAWN_LINK, 0), 0);
}

PLAY(abnormal_suicide_exit) {
    unsigned char data[8192];
    fill(data, sizeof(data));
    weft_reason sent = {.code = -EPERM, .data = data, .size = sizeof(data)};
    weft_reason reason = next_exit(ctx, run_script(ctx, suicide, &sent, WEFT_SPAWN_LINK, 0));
    ck_assert_int_eq(reason.code, -EPERM);
    ck_assert(is_filled(&reason, sizeof(data)));
}

/* Nothing that is done after the signal makes it undone. */
static int suicide_and_return(weft_ctx *ctx, void *arg) {
    (void)arg;
    signal_exit(ctx, weft_self(ctx), -EPERM);
    return 0;
}

static int suicide_and_exit(weft_ctx *ctx, void *arg) {
    (void)arg;
    signal_exit(ctx, weft_self(ctx), -EPERM);
    weft_exit(ctx, 0);
    return 0;
}

PLAY(t_exit_2_catch) {
    expect_exit(ctx, run_script(ctx, suicide_and_return, NULL, WEFT_SPAWN_LINK, 0), -EPERM);
    expect_exit(ctx, run_script(ctx, suicide_and_exit, NULL, WEFT_SPAWN_LINK, 0), -EPERM);
}

/* ---- exit signals and time ----------------------------------------------------------------- */

static int sleep_twice(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_sleep(ctx, 500 * MS_NS), 0);
    int result = weft_receive(ctx, 50 * MS_NS, &msg);
    return result == -ETIMEDOUT ? -ETIMEDOUT : -EBADMSG;
}

/* The signal comes while it sleeps, long before its timeout; the timeout, long after. */
PLAY(exit_and_timeout) {
    weft_pid pid = run_script(ctx, sleep_twice, NULL, WEFT_SPAWN_LINK, 0);
    ck_assert_int_eq(weft_sleep(ctx, 20 * MS_NS), 0);
    signal_exit(ctx, pid, 11);
    /* This scheduler is busy when the timeout is due. */
    uint64_t until_ns = clock_ns() + 550 * MS_NS;
    while (clock_ns() < until_ns) {
        /* as OTP's busy loop of high priority */
    }
    expect_exit(ctx, pid, 11);
    expect_nothing(ctx, 20 * MS_NS);
}

static int yield_for_ever(weft_ctx *ctx, void *arg) {
    (void)arg;
    for (;;) {
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
}

static int two_signals(weft_ctx *ctx, void *arg) {
    const weft_pid *target = arg;
    signal_exit(ctx, *target, 1);
    weft_reason second = {.code = 2};
    (void)weft_exit_signal(ctx, *target, &second); /* it may have ended already */
    return 0;
}

PLAY(exit_twice) {
    for (uint32_t i = 0; i < 100; i++) {
        weft_pid low =
            run_script(ctx, i % 2 == 0 ? yield_for_ever : wait_for_ever, NULL, WEFT_SPAWN_LINK, 0);
        weft_pid high = run_script(ctx, two_signals, &low, WEFT_SPAWN_LINK, 0);
        expect_exit(ctx, low, 1);
        expect_exit(ctx, high, 0);
    }
    expect_nothing(ctx, 10 * MS_NS);
}

/* ---- spawning ------------------------------------------------------------------------------ */

static int arg_is_filled(weft_ctx *ctx, const void *arg, size_t arg_size) {
    (void)ctx;
    weft_reason reason = {.data = arg, .size = arg_size};
    return is_filled(&reason, arg_size) ? 5 : -EBADMSG;
}

/* A process that ends with 5 when its argument is what was given. */
static int huge_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    weft_msg *msg = NULL;
    int result = weft_receive(ctx, PATIENCE_NS, &msg);
    ck_assert_int_eq(result, 0);
    weft_reason reason = {.code = arg_is_filled(ctx, arg, arg_size)};
    weft_exit_with(ctx, &reason);
    return 0;
}

PLAY(spawn_huge_arglist) {
    enum { HUGE_BYTES = 3000001 };
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "huge", .process = huge_run};
    const weft_type *type = rig_type(&stage->rig, &def);
    unsigned char *arg = malloc(HUGE_BYTES);
    ck_assert_ptr_nonnull(arg);
    fill(arg, HUGE_BYTES);
    static const uint32_t flags[] = {0, WEFT_SPAWN_LINK, WEFT_SPAWN_MONITOR,
                                     WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR | WEFT_SPAWN_REPORT};
    for (uint32_t i = 0; i < 4; i++) {
        weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                      .arg = arg,
                                      .arg_size = HUGE_BYTES,
                                      .flags = flags[i],
                                      .token = TOKEN};
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(weft_spawn_with(ctx, type, &options, &pid), 0);
        if ((flags[i] & WEFT_SPAWN_MONITOR) == 0) {
            ck_assert_int_eq(weft_monitor(ctx, pid, TOKEN, NULL), 0);
        }
        ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
        expect_down(ctx, TOKEN, 5);
        if ((flags[i] & WEFT_SPAWN_LINK) != 0) {
            expect_exit(ctx, pid, 5);
        }
    }
    free(arg);
}

/* 150 actors with an argument of a megabyte that end at once leave nothing behind. */
PLAY(spawn_with_binaries) {
    enum { BYTES = 1024 * 1024 };
    unsigned char *arg = calloc(1, BYTES);
    ck_assert_ptr_nonnull(arg);
    uint64_t before = 0;
    for (uint32_t i = 0; i < 150; i++) {
        weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                      .arg = arg,
                                      .arg_size = BYTES,
                                      .flags = WEFT_SPAWN_LINK};
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(weft_spawn_with(ctx, stage->worker, &options, &pid), 0);
        signal_exit(ctx, pid, WEFT_E_SHUTDOWN);
        expect_exit(ctx, pid, WEFT_E_SHUTDOWN);
        if (i == 10) {
            before = rig_gauges(&stage->rig).heap_bytes;
        }
    }
    until(rig_gauges(&stage->rig).heap_bytes < before + 2 * (uint64_t)BYTES);
    free(arg);
}

static int exit_at_once(weft_ctx *ctx, void *arg) {
    (void)ctx;
    (void)arg;
    return -EPERM;
}

/* Linked, monitored and reported: UP, then DOWN and EXIT, once each. */
PLAY(spawn_request_bif) {
    enum { ALL = WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR | WEFT_SPAWN_REPORT };
    for (uint32_t i = 0; i < 100; i++) {
        weft_pid pid = run_script(ctx, exit_at_once, NULL, ALL, TOKEN + i);
        struct want up = {.kind = WEFT_MSG_UP, .token = TOKEN + i, .ctx = ctx};
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &up, &msg), 0);
        ck_assert(weft_pid_equal(weft_sender(ctx, msg), pid));
        expect_down(ctx, TOKEN + i, -EPERM);
        expect_exit(ctx, pid, -EPERM);
    }
    expect_nothing(ctx, 10 * MS_NS);
    weft_spawn_options wrong = {.struct_size = WEFT_SPAWN_OPTIONS_INIT, .flags = 0x80};
    weft_pid none = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage->worker, &wrong, &none), -EINVAL);
    ck_assert(weft_pid_is_none(none));
    ck_assert_int_eq(weft_spawn_with(ctx, NULL, &wrong, &none), -EINVAL);
}

PLAY(spawn_request_monitor_demonitor) {
    struct script script = {.fn = wait_for_ever};
    weft_monitor_ref ref = 0;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(script),
                                  .flags = WEFT_SPAWN_MONITOR,
                                  .token = TOKEN,
                                  .ret_monitor = &ref};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage->script, &options, &pid), 0);
    ck_assert(ref != 0);
    ck_assert(weft_demonitor(ctx, ref));
    ck_assert(!weft_demonitor(ctx, ref));
    ck_assert_int_eq(weft_kill(ctx, pid), 0);
    until(!lives(stage, pid));
    expect_nothing(ctx, 10 * MS_NS);
}

/* A child whose init fails: EXIT and DOWN once each, and no UP. */
PLAY(spawn_request_child_exit) {
    struct worker_arg arg = {.number = 1, .mode = WORKER_REFUSE, .reason = -ENOTSUP};
    static const uint32_t flags[] = {WEFT_SPAWN_LINK, WEFT_SPAWN_MONITOR,
                                     WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR};
    for (uint32_t i = 0; i < 300; i++) {
        weft_pid pid = run_worker(ctx, arg, flags[i % 3] | WEFT_SPAWN_REPORT, TOKEN);
        if ((flags[i % 3] & WEFT_SPAWN_LINK) != 0) {
            expect_exit(ctx, pid, -ENOTSUP);
        }
        if ((flags[i % 3] & WEFT_SPAWN_MONITOR) != 0) {
            expect_down(ctx, TOKEN, -ENOTSUP);
        }
    }
    expect_nothing(ctx, 10 * MS_NS);
}

static int spawn_and_exit(weft_ctx *ctx, void *arg) {
    const uint32_t *number = arg;
    weft_pid child = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_LINK, 0);
    (void)child;
    for (uint32_t i = 0; i < *number % 4; i++) {
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    weft_reason reason = {.code = -EPERM, .data = "kaboom", .size = *number % 2 == 0 ? 6 : 0};
    weft_exit_with(ctx, &reason);
    return 0;
}

/* Whenever a parent ends, before or after its child runs: the link takes the child with it. */
PLAY(spawn_request_link_parent_exit) {
    enum { ROUNDS = 20, AT_ONCE = 50 };
    uint32_t numbers[AT_ONCE];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (uint32_t j = 0; j < AT_ONCE; j++) {
            numbers[j] = j;
            (void)run_script(ctx, spawn_and_exit, &numbers[j], WEFT_SPAWN_MONITOR, TOKEN + j);
        }
        for (uint32_t j = 0; j < AT_ONCE; j++) {
            expect_down(ctx, TOKEN + j, -EPERM);
        }
    }
    /* Only the play is left. */
    until(rig_gauges(&stage->rig).actors == 1);
}

static uint32_t count_ups(weft_ctx *ctx) {
    struct want up = {.kind = WEFT_MSG_UP, .ctx = ctx};
    weft_msg *msg = NULL;
    uint32_t found = 0;
    while (weft_receive_match(ctx, 0, want_matches, &up, &msg) == 0) {
        found++;
    }
    return found;
}

PLAY(spawn_request_reply_option) {
    weft_pid quiet = run_worker(ctx, (struct worker_arg){.number = 1}, 0, TOKEN);
    ping(ctx, quiet);
    ck_assert_uint_eq(count_ups(ctx), 0);
    weft_pid loud = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_REPORT, TOKEN);
    ping(ctx, loud);
    ck_assert_uint_eq(count_ups(ctx), 1);
    /* Of one that gives up quietly there is nothing to report. */
    struct worker_arg quits = {.number = 1, .mode = WORKER_IGNORE};
    weft_pid gone = run_worker(ctx, quits, WEFT_SPAWN_REPORT | WEFT_SPAWN_LINK, TOKEN);
    expect_exit(ctx, gone, 0);
    ck_assert_uint_eq(count_ups(ctx), 0);
    end_worker(ctx, quiet, HOW_KILL);
    end_worker(ctx, loud, HOW_KILL);
}

static int send_flood(weft_ctx *ctx, void *arg) {
    weft_pid *target = arg;
    for (uint32_t i = 0; i < 1000; i++) {
        (void)weft_send(ctx, *target, 0x666, "attack", 6); /* it may have ended */
    }
    return 0;
}

static int expects_secret(weft_ctx *ctx, void *arg) {
    (void)ctx;
    return *(const uint32_t *)arg == 0x77777777 ? 0 : -EBADMSG;
}

/* Whatever is sent to a process before it runs: its argument is its argument. */
PLAY(spawn_arg_first) {
    static uint32_t secret = 0x77777777;
    for (uint32_t i = 0; i < 20; i++) {
        weft_pid victim = run_script(ctx, expects_secret, &secret, WEFT_SPAWN_MONITOR, TOKEN);
        (void)run_script(ctx, send_flood, &victim, WEFT_SPAWN_MONITOR, TOKEN + 1);
        for (uint32_t j = 0; j < 10; j++) {
            (void)weft_send(ctx, victim, 0x666, "attack", 6); /* the same */
        }
        expect_down(ctx, TOKEN, 0);
        expect_down(ctx, TOKEN + 1, 0);
    }
}

/* ---- links and monitors -------------------------------------------------------------------- */

static int wait_for_go(weft_ctx *ctx, void *arg) {
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    return arg == NULL ? 0 : *(const int *)arg;
}

/* The DOWN has the token that was asked for: of one that lives, of one that is dead, at spawn; and
 * each of several monitors has its own. */
PLAY(monitor_tag) {
    static int reason = -EPERM;
    for (uint32_t i = 0; i < 2; i++) {
        weft_pid pid = run_script(ctx, wait_for_go, i == 0 ? NULL : &reason, 0, 0);
        ck_assert_int_eq(weft_monitor(ctx, pid, 100, NULL), 0);
        ck_assert_int_eq(weft_monitor(ctx, pid, UINT64_MAX, NULL), 0);
        ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
        expect_down(ctx, 100, i == 0 ? 0 : -EPERM);
        expect_down(ctx, UINT64_MAX, i == 0 ? 0 : -EPERM);
        ck_assert_int_eq(weft_monitor(ctx, pid, 101, NULL), 0);
        expect_down(ctx, 101, WEFT_E_NOPROC);
        (void)run_script(ctx, exit_at_once, NULL, WEFT_SPAWN_MONITOR, 102);
        expect_down(ctx, 102, -EPERM);
    }
    expect_nothing(ctx, 10 * MS_NS);
}

static int unlink_and_exit(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_pid child = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_LINK, 0);
    ck_assert_int_eq(weft_yield(ctx), 0);
    ck_assert_int_eq(weft_unlink(ctx, child), 0);
    ck_assert_int_eq(weft_send(ctx, child, TAG_NORMAL, NULL, 0), 0);
    return -EPERM;
}

/* Unlinking and ending at once: the child ends by itself, normally, and nothing is left (the rig
 * looks when it stops). */
PLAY(unlink_exit_leak) {
    for (uint32_t i = 0; i < 200; i++) {
        (void)run_script(ctx, unlink_and_exit, NULL, WEFT_SPAWN_MONITOR, TOKEN);
        expect_down(ctx, TOKEN, -EPERM);
    }
    until(rig_gauges(&stage->rig).actors == 1);
    ck_assert_uint_eq(stage_note_count(stage), 400);
}

int main(void) {
    Suite *suite = suite_create("otp_process");
    ADD(suite, t_exit_1);
    ADD(suite, t_exit_2_other);
    ADD(suite, t_exit_2_other_normal);
    ADD(suite, self_exit);
    ADD(suite, normal_suicide_exit);
    ADD(suite, abnormal_suicide_exit);
    ADD(suite, t_exit_2_catch);
    ADD(suite, exit_and_timeout);
    ADD(suite, exit_twice);
    ADD(suite, spawn_huge_arglist);
    ADD(suite, spawn_with_binaries);
    ADD(suite, spawn_request_bif);
    ADD(suite, spawn_request_monitor_demonitor);
    ADD(suite, spawn_request_child_exit);
    ADD(suite, spawn_request_link_parent_exit);
    ADD(suite, spawn_request_reply_option);
    ADD(suite, spawn_arg_first);
    ADD(suite, monitor_tag);
    ADD(suite, unlink_exit_leak);
    return run_suite(suite);
}
