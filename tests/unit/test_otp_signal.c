/* SPDX-License-Identifier: MIT
 *
 * signal_SUITE: in which order messages, exit signals, links and monitors arrive, and that none of
 * them is lost. The cases are explained in docs/otp-conformance.md.
 */
#include "tests/unit/otp_support.h"

enum {
    MAY_REACH = 0x60, /* tags */
    MAY_NOT_REACH = 0x61,
    GO = 0x62,
    NUMBERED = 0x63,
    TOKEN = 42,
    GOOD = 1, /* reasons */
    BAD = 2,
};

/* ---- xm_sig_order -------------------------------------------------------------------------- */

/* Looks for messages all the time; ends itself when one comes that was sent after the signal. */
static int look_out(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    for (;;) {
        int result = weft_receive(ctx, 0, &msg);
        ck_assert(result == 0 || result == -ETIMEDOUT);
        if (result == 0 && weft_msg_tag(msg) == MAY_NOT_REACH) {
            return -EBADMSG;
        }
        if (result != 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
    }
}

static void send_around_signal(weft_ctx *ctx, weft_pid pid) {
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(weft_send(ctx, pid, MAY_REACH, NULL, 0), 0);
    }
    signal_exit(ctx, pid, GOOD);
    for (uint32_t i = 0; i < 3; i++) {
        int result = weft_send(ctx, pid, MAY_NOT_REACH, NULL, 0);
        ck_assert(result == 0 || result == WEFT_E_NOPROC); /* it may have ended by now */
    }
    expect_down(ctx, TOKEN, GOOD);
}

/* The same for a handler. */
static int handler_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    return weft_msg_tag(msg) == MAY_NOT_REACH ? -EBADMSG : WEFT_CONTINUE;
}

PLAY(xm_sig_order) {
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "handler", .receive = handler_receive};
    const weft_type *type = rig_type(&stage->rig, &def);
    for (uint32_t i = 0; i < 1000; i++) {
        send_around_signal(ctx, run_script(ctx, look_out, NULL, WEFT_SPAWN_MONITOR, TOKEN));
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .flags = WEFT_SPAWN_MONITOR, .token = TOKEN};
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(weft_spawn_with(ctx, type, &options, &pid), 0);
        send_around_signal(ctx, pid);
    }
}

/* ---- kill2killed --------------------------------------------------------------------------- */

enum last { LAST_WAITS, LAST_SIGNALS_ITSELF, LAST_EXITS };

/* A line of linked processes: each spawns the next; what the last does is told. */
struct line {
    uint32_t left;
    enum last last;
    weft_pid end; /* of the line; under ready */
    weft_atomic_u32 ready;
};

static int stand_in_line(weft_ctx *ctx, void *arg) {
    struct line *line = arg;
    if (line->left-- > 1) {
        (void)run_script(ctx, stand_in_line, line, WEFT_SPAWN_LINK, 0);
        return wait_for_ever(ctx, NULL);
    }
    switch (line->last) {
    case LAST_SIGNALS_ITSELF:
        signal_exit(ctx, weft_self(ctx), WEFT_E_KILLED);
        break;
    case LAST_EXITS:
        weft_exit(ctx, WEFT_E_KILLED);
        break;
    case LAST_WAITS:
        line->end = weft_self(ctx);
        weft_store32_release(&line->ready, 1);
        break;
    }
    return wait_for_ever(ctx, NULL);
}

PLAY(kill2killed) {
    static const uint32_t lengths[] = {1, 2, 9, 10};
    for (uint32_t i = 0; i < 12; i++) {
        struct line line = {.left = lengths[i % 4], .last = (enum last)(i / 4)};
        weft_pid first = run_script(ctx, stand_in_line, &line, WEFT_SPAWN_LINK, 0);
        if (line.last == LAST_WAITS) {
            until(weft_load32_acquire(&line.ready) == 1);
            signal_exit(ctx, line.end, WEFT_E_KILLED);
        }
        weft_reason reason = next_exit(ctx, first);
        ck_assert_int_eq(reason.code, WEFT_E_KILLED);
        /* Over more than one link it is the reason of another: which can be trapped. */
        ck_assert_int_eq(weft_reason_kind(&reason),
                         lengths[i % 4] == 1 ? WEFT_REASON_KILLED : WEFT_REASON_LINKED);
    }
    until(rig_gauges(&stage->rig).actors == 1);
    expect_nothing(ctx, 10 * MS_NS);
}

/* ---- signals to one that is in foreign code ------------------------------------------------ */

struct foreign {
    weft_atomic_u32 inside;
    weft_atomic_u32 leave;
    weft_atomic_u32 outside;
};

static int be_inside(void *arg) {
    struct foreign *foreign = arg;
    weft_store32_release(&foreign->inside, 1);
    while (weft_load32_acquire(&foreign->leave) == 0) {
        sleep_ns(100000);
    }
    weft_store32_release(&foreign->outside, 1);
    return 0;
}

static int go_inside(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_blocking_wait(ctx, be_inside, arg), 0);
    return wait_for_ever(ctx, NULL);
}

PLAY(dirty_signal_handling) {
    static struct foreign foreign;
    foreign = (struct foreign){0};
    weft_pid pid = run_script(ctx, go_inside, &foreign, 0, 0);
    until(weft_load32_acquire(&foreign.inside) == 1);
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    ck_assert_int_eq(weft_inspect(stage->rig.runtime, pid, &info), 0);
    ck_assert_int_eq(weft_link(ctx, pid), 0);
    ck_assert_int_eq(weft_unlink(ctx, pid), 0);
    ck_assert_int_eq(weft_monitor(ctx, pid, TOKEN, NULL), 0);
    ck_assert_int_eq(weft_link(ctx, pid), 0);
    signal_exit(ctx, pid, -EPERM);
    /* It ends while its function still runs. */
    expect_down(ctx, TOKEN, -EPERM);
    expect_exit(ctx, pid, -EPERM);
    ck_assert_uint_eq(weft_load32_acquire(&foreign.outside), 0);
    weft_store32_release(&foreign.leave, 1);
    until(weft_load32_acquire(&foreign.outside) == 1);
}

static int nothing(void *arg) {
    (void)arg;
    return 0;
}

/* In and out all the time, until it is told that it is enough. */
static int in_and_out(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_msg *msg = NULL;
    for (;;) {
        int result = weft_blocking_wait(ctx, nothing, NULL);
        ck_assert(result == 0 || result == -EBUSY);
        (void)weft_add32_acq_rel(&stage->count, 1);
        if (weft_receive(ctx, 0, &msg) == 0 && weft_msg_tag(msg) == GO) {
            return wait_for_ever(ctx, NULL);
        }
    }
}

struct poker {
    struct stage *stage;
    weft_pid target;
};

static int poke(weft_ctx *ctx, void *arg) {
    struct poker *poker = arg;
    weft_monitor_ref ref = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
        ck_assert_int_eq(weft_inspect(poker->stage->rig.runtime, poker->target, &info), 0);
        ck_assert_int_eq(weft_send(ctx, poker->target, NUMBERED, NULL, 0), 0);
        ck_assert_int_eq(weft_monitor(ctx, poker->target, TOKEN, &ref), 0);
        ck_assert(weft_demonitor(ctx, ref));
    }
    return 0;
}

/* Signals from all sides never leave it behind. */
PLAY(dirty_schedule) {
    enum { POKERS = 4 };
    weft_pid target = run_script(ctx, in_and_out, stage, WEFT_SPAWN_LINK, 0);
    struct poker poker = {.stage = stage, .target = target};
    weft_pid pokers[POKERS];
    for (uint32_t i = 0; i < POKERS; i++) {
        pokers[i] = run_script(ctx, poke, &poker, WEFT_SPAWN_LINK, 0);
    }
    for (uint32_t i = 0; i < POKERS; i++) {
        expect_exit(ctx, pokers[i], 0);
    }
    uint32_t count = weft_load32_acquire(&stage->count);
    until(weft_load32_acquire(&stage->count) > count + 10);
    ck_assert_int_eq(weft_kill(ctx, target), 0);
    expect_exit(ctx, target, WEFT_E_KILLED);
}

/* ---- unlink_exit --------------------------------------------------------------------------- */

enum { BYE = 7 };

/* The child: links to a parent that has unlinked it and is ending. What comes must be noproc, or
 * the parent's reason if it was alive still; never anything else, and never nothing. */
static int child_links_back(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_pid parent = weft_parent(ctx);
    weft_msg *msg = NULL;
    (void)weft_trap_exit(ctx, true);
    ck_assert_int_eq(weft_send(ctx, parent, GO, NULL, 0), 0);
    while (weft_receive(ctx, 0, &msg) != 0) {
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
    bool alive = lives(stage, parent);
    ck_assert_int_eq(weft_link(ctx, parent), 0);
    int code = next_exit(ctx, parent).code;
    if (code != WEFT_E_NOPROC && !(alive && code == BYE)) {
        return -EBADMSG;
    }
    return weft_receive(ctx, 0, &msg) == -ETIMEDOUT ? 0 : -EEXIST;
}

static int parent_unlinks(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_msg *msg = NULL;
    weft_pid child = run_script(ctx, child_links_back, stage, WEFT_SPAWN_LINK, 0);
    ck_assert_int_eq(weft_send(ctx, weft_parent(ctx), GO, &child, sizeof(child)), 0);
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    ck_assert_int_eq(weft_unlink(ctx, child), 0);
    ck_assert_int_eq(weft_send(ctx, child, GO, NULL, 0), 0);
    weft_reason reason = {.code = BYE};
    weft_exit_with(ctx, &reason);
    return 0;
}

PLAY(unlink_exit) {
    for (uint32_t i = 0; i < 1000; i++) {
        (void)run_script(ctx, parent_unlinks, stage, WEFT_SPAWN_MONITOR, TOKEN);
        struct want hello = {.kind = WEFT_MSG_USER, .ctx = ctx};
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &hello, &msg), 0);
        weft_pid child;
        memcpy(&child, weft_msg_data(msg), sizeof(child));
        ck_assert_int_eq(weft_monitor(ctx, child, TOKEN + 1, NULL), 0);
        expect_down(ctx, TOKEN, BYE);
        int code = next_down(ctx, TOKEN + 1).code;
        ck_assert(code == 0 || code == WEFT_E_NOPROC); /* it may have been quicker */
    }
}

/* ---- messages and ends --------------------------------------------------------------------- */

static int two_messages(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    for (uint32_t i = 1; i <= 2; i++) {
        ck_assert_int_eq(weft_send(ctx, weft_parent(ctx), NUMBERED, &i, sizeof(i)), 0);
    }
    return 0;
}

static uint32_t number_of(const weft_msg *msg) {
    uint32_t number = 0;
    ck_assert_uint_eq(weft_msg_size(msg), sizeof(number));
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    return number;
}

/* In whatever way it is told of the end: the messages come before. */
PLAY(monitor_order) {
    static const uint32_t flags[] = {WEFT_SPAWN_MONITOR, WEFT_SPAWN_LINK};
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 1000; i++) {
        weft_pid pid = run_script(ctx, two_messages, NULL, flags[i % 2], TOKEN);
        ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
        for (uint32_t j = 1; j <= 2; j++) {
            ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
            ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
            ck_assert_uint_eq(number_of(msg), j);
        }
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        ck_assert_int_eq(weft_msg_kind(msg), i % 2 == 0 ? WEFT_MSG_DOWN : WEFT_MSG_EXIT);
    }
}

enum { SEQUENCE = 1000 };

/* Numbers by turns to the pid and to the name of the play. */
static int send_sequence(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_name_register(weft_runtime_of(ctx), "sender", 6, weft_self(ctx)), 0);
    ck_assert_int_eq(weft_send(ctx, weft_parent(ctx), GO, NULL, 0), 0);
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    for (uint32_t i = 0; i < SEQUENCE; i++) {
        int result = i % 2 == 0 ? weft_send(ctx, weft_parent(ctx), NUMBERED, &i, sizeof(i))
                                : weft_name_send(ctx, "tester", NUMBERED, &i, sizeof(i));
        ck_assert_int_eq(result, 0);
    }
    return 0;
}

PLAY(monitor_named_order_local) {
    weft_runtime *runtime = stage->rig.runtime;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_name_register(runtime, "tester", 6, weft_self(ctx)), 0);
    for (uint32_t i = 0; i < 50; i++) {
        (void)run_script(ctx, send_sequence, NULL, 0, 0);
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        weft_pid sender = weft_name_whereis(runtime, "sender", 6);
        ck_assert_int_eq(weft_monitor(ctx, sender, TOKEN, NULL), 0);
        ck_assert_int_eq(weft_name_send(ctx, "sender", GO, NULL, 0), 0);
        for (uint32_t j = 0; j < SEQUENCE; j++) {
            ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
            ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
            ck_assert_uint_eq(number_of(msg), j);
        }
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_DOWN);
        ck_assert_int_eq(weft_msg_status(msg), 0);
    }
}

/* ---- none is lost -------------------------------------------------------------------------- */

static int monitor_and_demonitor(weft_ctx *ctx, void *arg) {
    const weft_pid *target = arg;
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 2000; i++) {
        weft_monitor_ref ref = 0;
        ck_assert_int_eq(weft_monitor(ctx, *target, i, &ref), 0);
        if (weft_random(ctx) % 8 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
        ck_assert(weft_demonitor(ctx, ref));
    }
    /* Nothing of them is left. */
    return weft_receive(ctx, MS_NS, &msg) == -ETIMEDOUT ? 0 : -EBADMSG;
}

PLAY(parallel_signal_enqueue_race_1) {
    enum { COUNT = 8 };
    weft_pid target = run_script(ctx, wait_for_ever, NULL, WEFT_SPAWN_LINK, 0);
    weft_pid pids[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = run_script(ctx, monitor_and_demonitor, &target, WEFT_SPAWN_LINK, 0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_exit(ctx, pids[i], 0);
    }
    ck_assert(lives(stage, target));
    ck_assert_int_eq(weft_kill(ctx, target), 0);
    expect_exit(ctx, target, WEFT_E_KILLED);
}

static int link_and_unlink(weft_ctx *ctx, void *arg) {
    const weft_pid *target = arg;
    weft_pid linked[2];
    for (uint32_t i = 0; i < 20000; i++) {
        ck_assert_int_eq(weft_link(ctx, *target), 0);
        if (weft_random(ctx) % 8 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
        ck_assert_int_eq(weft_unlink(ctx, *target), 0);
    }
    /* Only to the play. */
    return weft_links(ctx, linked, 2) == 1 ? -EPERM : -EBADMSG;
}

/* Linked last is unlinked last: the end of one does not touch the other. */
PLAY(parallel_signal_enqueue_race_2) {
    weft_pid target = run_script(ctx, wait_for_ever, NULL, WEFT_SPAWN_LINK, 0);
    weft_pid linker = run_script(ctx, link_and_unlink, &target, WEFT_SPAWN_LINK, 0);
    while (lives(stage, linker)) {
        weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
        ck_assert_int_eq(weft_inspect(stage->rig.runtime, target, &info), 0);
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    expect_exit(ctx, linker, -EPERM);
    ck_assert_int_eq(weft_sleep(ctx, 5 * MS_NS), 0);
    ck_assert(lives(stage, target));
    ck_assert_int_eq(weft_kill(ctx, target), 0);
    expect_exit(ctx, target, WEFT_E_KILLED);
}

/* ---- long mailboxes ------------------------------------------------------------------------ */

enum { LONG = 10000 };

static bool is_hundredth(const weft_msg *msg, void *arg) {
    (void)arg;
    return number_of(msg) % 100 == 0;
}

/* Every hundredth first, then the others: each in order. */
static int receive_hundredths(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < LONG; i += 100) {
        ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, is_hundredth, NULL, &msg), 0);
        ck_assert_uint_eq(number_of(msg), i);
    }
    (void)weft_add32_acq_rel(&stage->count, 1);
    for (uint32_t i = 0; i < LONG; i++) {
        if (i % 100 != 0) {
            ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
            ck_assert_uint_eq(number_of(msg), i);
        }
    }
    return 0;
}

static bool never(const weft_msg *msg, void *arg) {
    (void)msg;
    (void)arg;
    return false;
}

/* Looks at all that comes, takes none of it. */
static int wait_for_stop(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    return weft_receive_match(ctx, WEFT_FOREVER, never, NULL, &msg);
}

/* Half of them receive, half of them are ended with all that waits for them: each ends once. */
PLAY(simultaneous_signals_recv) {
    enum { COUNT = 10 };
    weft_pid pids[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = run_script(ctx, i % 2 == 0 ? receive_hundredths : wait_for_stop, stage,
                             WEFT_SPAWN_LINK, 0);
        for (uint32_t j = 0; j < LONG; j++) {
            ck_assert_int_eq(weft_send(ctx, pids[i], NUMBERED, &j, sizeof(j)), 0);
        }
    }
    for (uint32_t i = 1; i < COUNT; i += 2) {
        signal_exit(ctx, pids[i], GOOD);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        expect_exit(ctx, pids[i], i % 2 == 0 ? 0 : GOOD);
    }
    ck_assert_uint_eq(weft_load32_acquire(&stage->count), COUNT / 2);
    expect_nothing(ctx, 10 * MS_NS);
}

/* ---- order of what is of different kinds --------------------------------------------------- */

/* A receiver that has to look at nothing until it is told to. */
struct receiver {
    struct stage *stage;
    weft_pid linked[2];
    weft_pid monitored[2];
    uint32_t kinds[16];
    uint32_t count; /* under done */
    weft_atomic_u32 ready;
    weft_atomic_u32 done;
};

static bool is_go(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_kind(msg) == WEFT_MSG_USER && weft_msg_tag(msg) == GO;
}

static int receive_late(weft_ctx *ctx, void *arg) {
    struct receiver *receiver = arg;
    weft_msg *msg = NULL;
    (void)weft_trap_exit(ctx, true);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(weft_link(ctx, receiver->linked[i]), 0);
        ck_assert_int_eq(weft_monitor(ctx, receiver->monitored[i], i, NULL), 0);
    }
    weft_store32_release(&receiver->ready, 1);
    ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, is_go, NULL, &msg), 0);
    while (weft_receive(ctx, 0, &msg) == 0) {
        ck_assert_uint_lt(receiver->count, 16);
        receiver->kinds[receiver->count++] = weft_msg_kind(msg);
    }
    weft_store32_release(&receiver->done, 1);
    return 0;
}

static uint32_t waiting(struct stage *stage, weft_pid pid) {
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    ck_assert_int_eq(weft_inspect(stage->rig.runtime, pid, &info), 0);
    return info.mailbox;
}

/* One thing after the other, each when the one before has arrived: all are received in this
 * order, whatever their kind. */
PLAY(priority_messages_order) {
    struct receiver receiver = {.stage = stage};
    for (uint32_t i = 0; i < 2; i++) {
        receiver.linked[i] = run_script(ctx, wait_for_ever, NULL, 0, 0);
        receiver.monitored[i] = run_script(ctx, wait_for_ever, NULL, 0, 0);
    }
    weft_pid pid = run_script(ctx, receive_late, &receiver, 0, 0);
    until(weft_load32_acquire(&receiver.ready) == 1);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(weft_send(ctx, pid, NUMBERED, NULL, 0), 0);
        signal_exit(ctx, pid, GOOD);
        until(waiting(stage, pid) == 4 * i + 2);
        signal_exit(ctx, receiver.linked[i], BAD);
        until(waiting(stage, pid) == 4 * i + 3);
        signal_exit(ctx, receiver.monitored[i], BAD);
        until(waiting(stage, pid) == 4 * i + 4);
    }
    ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
    until(weft_load32_acquire(&receiver.done) == 1);
    static const uint32_t expected[] = {WEFT_MSG_USER, WEFT_MSG_EXIT, WEFT_MSG_EXIT, WEFT_MSG_DOWN,
                                        WEFT_MSG_USER, WEFT_MSG_EXIT, WEFT_MSG_EXIT, WEFT_MSG_DOWN};
    ck_assert_uint_eq(receiver.count, 8);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_uint_eq(receiver.kinds[i], expected[i]);
    }
}

int main(void) {
    Suite *suite = suite_create("otp_signal");
    ADD(suite, xm_sig_order);
    ADD(suite, kill2killed);
    ADD(suite, dirty_signal_handling);
    ADD(suite, dirty_schedule);
    ADD(suite, unlink_exit);
    ADD(suite, monitor_order);
    ADD(suite, monitor_named_order_local);
    ADD(suite, parallel_signal_enqueue_race_1);
    ADD(suite, parallel_signal_enqueue_race_2);
    ADD(suite, simultaneous_signals_recv);
    ADD(suite, priority_messages_order);
    return run_suite(suite);
}
