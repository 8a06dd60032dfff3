/* SPDX-License-Identifier: MIT
 *
 * process_SUITE, second part: names, what is told about a process, and how it shares its scheduler.
 * The cases are explained in docs/otp-conformance.md.
 */
#include "tests/unit/otp_support.h"

enum {
    GO = 0x60, /* tags of messages between scripts */
    ASK = 0x61,
    OWN = 0x62,
    TOKEN = 42,
};

static bool inspect(struct stage *stage, weft_pid pid, weft_actor_info *info) {
    *info = (weft_actor_info){.struct_size = WEFT_ACTOR_INFO_INIT};
    return weft_inspect(stage->rig.runtime, pid, info) == 0;
}

static uint32_t mailbox_of(struct stage *stage, weft_pid pid) {
    weft_actor_info info;
    ck_assert(inspect(stage, pid, &info));
    return info.mailbox;
}

static void end_script(weft_ctx *ctx, weft_pid pid) {
    ck_assert_int_eq(weft_monitor(ctx, pid, 0x656e64, NULL), 0);
    ck_assert_int_eq(weft_kill(ctx, pid), 0);
    expect_down(ctx, 0x656e64, WEFT_E_KILLED);
}

/* ---- names --------------------------------------------------------------------------------- */

static int register_name(weft_ctx *ctx, const char *name, size_t size, weft_pid pid) {
    return weft_name_register(weft_runtime_of(ctx), name, size, pid);
}

PLAY(bad_register) {
    weft_runtime *runtime = stage->rig.runtime;
    char long_name[WEFT_NAME_BYTES_MAX + 1];
    memset(long_name, 'n', sizeof(long_name));
    weft_pid self = weft_self(ctx);
    ck_assert_int_eq(register_name(ctx, "", 0, self), -EINVAL);
    ck_assert_int_eq(register_name(ctx, NULL, 4, self), -EINVAL);
    ck_assert_int_eq(register_name(ctx, long_name, sizeof(long_name), self), -EINVAL);
    ck_assert_int_eq(register_name(ctx, "name", 4, weft_pid_none()), WEFT_E_NOPROC);
    weft_pid dead = run_script(ctx, wait_for_ever, NULL, 0, 0);
    end_script(ctx, dead);
    ck_assert_int_eq(register_name(ctx, "name", 4, dead), WEFT_E_NOPROC);
    weft_pid strange = {.node = weft_runtime_node(runtime), .slot = 0x7ffffff, .gen = 1};
    ck_assert_int_eq(register_name(ctx, "name", 4, strange), WEFT_E_NOPROC);
    ck_assert(weft_pid_is_none(weft_name_whereis(runtime, "name", 4)));
    ck_assert_int_eq(weft_name_unregister(runtime, "name", 4), -ENOENT);
    ck_assert_int_eq(weft_name_send(ctx, "name", GO, NULL, 0), WEFT_E_NOPROC);

    ck_assert_int_eq(register_name(ctx, long_name, WEFT_NAME_BYTES_MAX, self), 0);
    ck_assert_int_eq(register_name(ctx, "name", 4, self), 0);
    ck_assert_int_eq(register_name(ctx, "name", 4, self), -EEXIST);
    weft_pid other = run_script(ctx, wait_for_ever, NULL, 0, 0);
    ck_assert_int_eq(register_name(ctx, "name", 4, other), -EEXIST);
    ck_assert(weft_pid_equal(weft_name_whereis(runtime, "name", 4), self));
    end_script(ctx, other);
    ck_assert_int_eq(weft_name_unregister(runtime, "name", 4), 0);
    ck_assert(weft_pid_is_none(weft_name_whereis(runtime, "name", 4)));
}

/* What an owner has: a name, timers, and a thing that only one may have. */
struct owned {
    struct stage *stage;
    weft_atomic_u32 taken;
};

static void give_back(void *arg) {
    struct owned *owned = arg;
    weft_store32_release(&owned->taken, 0);
}

static int own(weft_ctx *ctx, void *arg) {
    struct owned *owned = arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(register_name(ctx, "otp_6237", 8, weft_self(ctx)), 0);
    ck_assert_uint_eq(weft_load32_acquire(&owned->taken), 0);
    weft_store32_release(&owned->taken, 1);
    ck_assert_int_eq(weft_defer(ctx, give_back, owned), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(weft_timer_start(ctx, 1000 * S_NS, GO, i, NULL), 0);
    }
    ck_assert_int_eq(weft_send(ctx, weft_parent(ctx), GO, NULL, 0), 0);
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    return 0;
}

/* Whoever finds the name free can take what had it. */
PLAY(otp_6237) {
    struct owned owned = {.stage = stage};
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 100; i++) {
        weft_pid pid = run_script(ctx, own, &owned, 0, 0);
        ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
        ck_assert_int_eq(weft_msg_tag(msg), GO);
        ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
        while (!weft_pid_is_none(weft_name_whereis(stage->rig.runtime, "otp_6237", 8))) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
        ck_assert_uint_eq(weft_load32_acquire(&owned.taken), 0);
    }
}

/* A name is free when the end of its owner is told. */
PLAY(name_free_at_down) {
    for (uint32_t i = 0; i < 200; i++) {
        struct worker_arg arg = {.number = 1, .mode = WORKER_NAMED};
        weft_pid pid = run_worker(ctx, arg, WEFT_SPAWN_MONITOR, TOKEN);
        ping(ctx, pid);
        ck_assert(weft_pid_equal(weft_name_whereis(stage->rig.runtime, "taken", 5), pid));
        ck_assert_int_eq(weft_send(ctx, pid, i % 2 == 0 ? TAG_NORMAL : TAG_CRASH, NULL, 0), 0);
        (void)next_down(ctx, TOKEN);
        ck_assert(weft_pid_is_none(weft_name_whereis(stage->rig.runtime, "taken", 5)));
    }
}

/* ---- what is told -------------------------------------------------------------------------- */

struct looked {
    weft_actor_info info;
    weft_atomic_u32 done;
};

static int look_at_itself(weft_ctx *ctx, void *arg) {
    struct looked *looked = arg;
    ck_assert(inspect(stage_of(ctx), weft_self(ctx), &looked->info));
    weft_store32_release(&looked->done, 1);
    return wait_for_ever(ctx, NULL);
}

/* The same from inside and from outside. */
PLAY(otp_4725) {
    struct looked looked = {0};
    weft_pid pid = run_script(ctx, look_at_itself, &looked, WEFT_SPAWN_LINK, 0);
    until(weft_load32_acquire(&looked.done) == 1);
    weft_actor_info info;
    ck_assert(inspect(stage, pid, &info));
    ck_assert(looked.info.type == stage->script);
    ck_assert(info.type == looked.info.type);
    ck_assert_uint_eq(info.mailbox_max, looked.info.mailbox_max);
    ck_assert(info.pinned == looked.info.pinned);
    ck_assert(weft_pid_equal(info.parent, looked.info.parent));
    ck_assert_uint_ge(info.messages, looked.info.messages);
    ck_assert_int_eq(looked.info.cell, WEFT_CELL_READY);
    end_script(ctx, pid);
    expect_exit(ctx, pid, WEFT_E_KILLED);
}

PLAY(t_process_info) {
    weft_runtime *runtime = stage->rig.runtime;
    weft_pid self = weft_self(ctx);
    char text[WEFT_NAME_BYTES_MAX + 1];
    ck_assert_int_eq(weft_name_of(runtime, self, 0, text, sizeof(text)), -ENOENT);
    ck_assert_int_eq(register_name(ctx, "my_name", 7, self), 0);
    ck_assert_int_eq(weft_name_of(runtime, self, 0, text, sizeof(text)), 7);
    ck_assert(memcmp(text, "my_name", 7) == 0);
    weft_actor_info info;
    ck_assert(inspect(stage, self, &info));
    ck_assert_int_eq(info.cell, WEFT_CELL_READY);
    ck_assert(info.type == stage->play_type);
    ck_assert(weft_pid_is_none(info.parent));
    ck_assert_uint_eq(info.scheduler, weft_scheduler_of(ctx));
    ck_assert(!inspect(stage, weft_pid_none(), &info));
    weft_pid links[2];
    ck_assert_uint_eq(weft_links(ctx, links, 2), 0);
    weft_pid child = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_LINK, 0);
    ck_assert_uint_eq(weft_links(ctx, links, 2), 1);
    ck_assert(weft_pid_equal(links[0], child));
    ck_assert(weft_trap_exit(ctx, true)); /* a play traps them already */
    end_worker(ctx, child, HOW_KILL);
    expect_exit(ctx, child, WEFT_E_KILLED);
    ck_assert_uint_eq(weft_links(ctx, links, 2), 0);
}

PLAY(process_info_parent) {
    weft_actor_info info;
    weft_pid child = run_script(ctx, wait_for_ever, NULL, 0, 0);
    ck_assert(inspect(stage, child, &info));
    ck_assert(weft_pid_equal(info.parent, weft_self(ctx)));
    ck_assert(weft_pid_is_none(weft_parent(ctx)));
    end_script(ctx, child);
}

/* A process that receives ASK only, and then everything. */
static bool is_ask(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_tag(msg) == ASK;
}

static int keep_others(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, is_ask, NULL, &msg), 0);
    uint32_t found = 0;
    while (weft_receive(ctx, 0, &msg) == 0) {
        uint32_t number;
        ck_assert_uint_eq(weft_msg_size(msg), sizeof(number));
        memcpy(&number, weft_msg_data(msg), sizeof(number));
        ck_assert_uint_eq(number, found);
        found++;
    }
    weft_store32_release(&stage->count, found);
    return wait_for_ever(ctx, NULL);
}

PLAY(process_info_other_msg) {
    weft_pid pid = run_script(ctx, keep_others, stage, 0, 0);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(weft_send(ctx, pid, OWN, &i, sizeof(i)), 0);
        /* Also those it has looked at and left. */
        until(mailbox_of(stage, pid) == i + 1);
    }
    ck_assert_int_eq(weft_send(ctx, pid, ASK, NULL, 0), 0);
    until(weft_load32_acquire(&stage->count) == 5);
    until(mailbox_of(stage, pid) == 0);
    end_script(ctx, pid);
}

/* Looking at what waits for oneself: a match that takes nothing sees all, in order. */
struct seen_tags {
    uint32_t count;
    uint32_t tags[8];
};

static bool only_look(const weft_msg *msg, void *arg) {
    struct seen_tags *seen = arg;
    ck_assert_uint_lt(seen->count, 8);
    seen->tags[seen->count++] = weft_msg_tag(msg);
    return false;
}

PLAY(process_info_messages) {
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(weft_send(ctx, weft_self(ctx), 100 + i, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct seen_tags seen = {0};
        ck_assert_int_eq(weft_receive_match(ctx, 0, only_look, &seen, &msg), -ETIMEDOUT);
        ck_assert_uint_eq(seen.count, 5);
        for (uint32_t j = 0; j < 5; j++) {
            ck_assert_uint_eq(seen.tags[j], 100 + j);
        }
    }
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), 100 + i);
    }
}

/* What it has just sent to itself is there. */
PLAY(process_info_self_signal) {
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(weft_send(ctx, weft_self(ctx), 100 + i, NULL, 0), 0);
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_uint_eq(weft_msg_tag(msg), 100 + i);
    }
}

static int spam(weft_ctx *ctx, void *arg) {
    const weft_pid *target = arg;
    for (uint32_t i = 0; i < 20000; i++) {
        weft_monitor_ref ref = 0;
        ck_assert_int_eq(weft_send(ctx, *target, OWN, NULL, 0), 0);
        ck_assert_int_eq(weft_monitor(ctx, *target, TOKEN, &ref), 0);
        ck_assert(weft_demonitor(ctx, ref));
    }
    return 0;
}

PLAY(process_info_self_msgq_len) {
    weft_pid self = weft_self(ctx);
    ck_assert_uint_le(mailbox_of(stage, self), 1);
    (void)run_script(ctx, spam, &self, WEFT_SPAWN_LINK, 0);
    until(mailbox_of(stage, self) > 1);
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 20000; i++) {
        struct want user = {.kind = WEFT_MSG_USER, .ctx = ctx};
        ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &user, &msg), 0);
    }
    struct want end = {.kind = WEFT_MSG_EXIT, .ctx = ctx};
    ck_assert_int_eq(weft_receive_match(ctx, PATIENCE_NS, want_matches, &end, &msg), 0);
    /* "About": what is at hand may count still. */
    until(mailbox_of(stage, self) <= 1);
}

/* Looked at from outside while messages, monitors and demonitors come. */
static int flush(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    for (;;) {
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    }
}

PLAY(process_info_race) {
    weft_pid target = run_script(ctx, flush, NULL, WEFT_SPAWN_LINK, 0);
    weft_pid spammer = run_script(ctx, spam, &target, WEFT_SPAWN_LINK, 0);
    uint64_t last = 0;
    while (lives(stage, spammer)) {
        weft_actor_info info;
        ck_assert(inspect(stage, target, &info));
        ck_assert_uint_ge(info.messages, last); /* never backwards */
        last = info.messages;
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    expect_exit(ctx, spammer, 0);
    until(mailbox_of(stage, target) == 0);
    end_script(ctx, target);
    expect_exit(ctx, target, WEFT_E_KILLED);
}

PLAY(process_info_reductions) {
    weft_pid target = run_script(ctx, flush, NULL, 0, 0);
    weft_actor_info info;
    until(inspect(stage, target, &info) && info.cell == WEFT_CELL_IDLE);
    uint64_t before = info.messages;
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(weft_send(ctx, target, OWN, NULL, 0), 0);
    }
    until(inspect(stage, target, &info) && info.messages >= before + 100);
    ck_assert_uint_eq(info.messages, before + 100);
    end_script(ctx, target);
}

PLAY(process_info_other_status) {
    weft_actor_info info;
    weft_pid pid = run_script(ctx, wait_for_ever, NULL, 0, 0);
    until(inspect(stage, pid, &info) && info.cell == WEFT_CELL_IDLE);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert(inspect(stage, pid, &info));
        ck_assert_int_eq(info.cell, WEFT_CELL_IDLE);
    }
    end_script(ctx, pid);
    ck_assert(!inspect(stage, pid, &info) || info.cell == WEFT_CELL_CLOSED);
}

static int yield_on(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    for (;;) {
        (void)weft_add32_acq_rel(&stage->count, 1);
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
}

PLAY(process_info_lock_reschedule) {
    weft_pid running = run_script(ctx, yield_on, stage, 0, 0);
    weft_pid waiting = run_script(ctx, wait_for_ever, NULL, 0, 0);
    char text[WEFT_NAME_BYTES_MAX + 1];
    ck_assert_int_eq(register_name(ctx, "running", 7, running), 0);
    ck_assert_int_eq(register_name(ctx, "waiting", 7, waiting), 0);
    for (uint32_t i = 0; i < 10000; i++) {
        weft_actor_info info;
        ck_assert(inspect(stage, running, &info));
        ck_assert(inspect(stage, waiting, &info));
        ck_assert_int_eq(
            weft_name_of(stage->rig.runtime, i % 2 == 0 ? running : waiting, 0, text, sizeof(text)),
            7);
        ck_assert(memcmp(text, i % 2 == 0 ? "running" : "waiting", 7) == 0);
    }
    /* It still goes on. */
    uint32_t count = weft_load32_acquire(&stage->count);
    until(weft_load32_acquire(&stage->count) > count + 10);
    end_script(ctx, running);
    end_script(ctx, waiting);
}

struct couple {
    struct stage *stage;
    weft_pid other;
};

static int look_at_other(weft_ctx *ctx, void *arg) {
    struct couple *couple = arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, PATIENCE_NS, &msg), 0);
    for (uint32_t i = 0; i < 10000; i++) {
        weft_actor_info info;
        ck_assert(inspect(couple->stage, couple->other, &info));
        ck_assert(info.type == couple->stage->script);
        if (i % 100 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
    }
    (void)weft_add32_acq_rel(&couple->stage->count, 1);
    return wait_for_ever(ctx, NULL);
}

PLAY(process_info_lock_reschedule2) {
    enum { COUNT = 6 };
    struct couple couples[COUNT];
    weft_pid pids[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        couples[i].stage = stage;
        pids[i] = run_script(ctx, look_at_other, &couples[i], 0, 0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        couples[i].other = pids[i < 4 ? (i == 0 ? 1 : 0) : (i == 4 ? 5 : 4)];
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(weft_send(ctx, pids[i], GO, NULL, 0), 0);
    }
    until(weft_load32_acquire(&stage->count) == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        end_script(ctx, pids[i]);
    }
}

/* ---- many ---------------------------------------------------------------------------------- */

/* How many live is right after many came and went. */
PLAY(processes_this_tab) {
    enum { COUNT = 3000 };
    weft_pid *pids = calloc(COUNT, sizeof(*pids));
    ck_assert_ptr_nonnull(pids);
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_LINK, 0);
    }
    ck_assert_uint_eq(rig_gauges(&stage->rig).actors, COUNT + 1);
    for (uint32_t i = 0; i < COUNT; i += 3) {
        signal_exit(ctx, pids[i], -EPERM);
        (void)run_worker(ctx, (struct worker_arg){.number = 1}, 0, 0);
    }
    for (uint32_t i = 0; i < COUNT; i += 3) {
        expect_exit(ctx, pids[i], -EPERM);
    }
    until(rig_gauges(&stage->rig).actors == COUNT + 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert(lives(stage, pids[i]) == (i % 3 != 0));
    }
    free(pids);
}

struct nursery {
    struct stage *stage;
    weft_atomic_u64 slot; /* the newest infant: its slot and generation */
    weft_atomic_u32 stop;
};

/* Messages to infants, from another scheduler if there is one. */
static int send_to_infants(weft_ctx *ctx, void *arg) {
    struct nursery *nursery = arg;
    weft_pid pid = weft_self(ctx);
    while (weft_load32_acquire(&nursery->stop) == 0) {
        uint64_t packed = weft_load64_acquire(&nursery->slot);
        pid.slot = (uint32_t)(packed >> 32);
        pid.gen = (uint32_t)packed;
        int result = packed == 0 ? 0 : weft_send(ctx, pid, OWN, NULL, 0);
        ck_assert(result == 0 || result == WEFT_E_NOPROC);
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    return 0;
}

PLAY(processes_send_infant) {
    struct nursery nursery = {.stage = stage};
    weft_pid sender = run_script(ctx, send_to_infants, &nursery, WEFT_SPAWN_LINK, 0);
    for (uint32_t i = 0; i < 3000; i++) {
        weft_pid pid = run_worker(ctx, (struct worker_arg){.number = 1}, WEFT_SPAWN_MONITOR, TOKEN);
        weft_store64_release(&nursery.slot, (uint64_t)pid.slot << 32 | pid.gen);
        if (i % 8 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
        ck_assert_int_eq(weft_send(ctx, pid, TAG_NORMAL, NULL, 0), 0);
        expect_down(ctx, TOKEN, 0);
    }
    weft_store32_release(&nursery.stop, 1);
    expect_exit(ctx, sender, 0);
}

/* A pid is not given out again. */
PLAY(no_pid_wrap) {
    weft_pid old = run_script(ctx, wait_for_ever, NULL, 0, 0);
    end_script(ctx, old);
    for (uint32_t i = 0; i < 100000; i++) {
        struct worker_arg quits = {.number = WORKERS_MAX, .mode = WORKER_IGNORE};
        weft_pid pid = run_worker(ctx, quits, 0, 0);
        ck_assert(!weft_pid_equal(pid, old));
        if (i % 64 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
    }
    ck_assert(!lives(stage, old));
}

/* ---- sharing a scheduler ------------------------------------------------------------------- */

/* Two that yield take turns: neither gets far ahead of the other, once both are there. */
struct turns {
    weft_atomic_u32 there; /* who has begun: the second may be spawned many turns after the first */
    weft_atomic_u32 counts[2];
    weft_atomic_u32 ahead; /* the most */
};

struct turn_taker {
    struct turns *turns;
    uint32_t index;
};

static int take_turns(weft_ctx *ctx, void *arg) {
    struct turn_taker *taker = arg;
    struct turns *turns = taker->turns;
    (void)weft_add32_acq_rel(&turns->there, 1);
    while (weft_load32_acquire(&turns->there) < 2) {
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t mine = weft_add32_acq_rel(&turns->counts[taker->index], 1) + 1;
        uint32_t other = weft_load32_acquire(&turns->counts[1 - taker->index]);
        uint32_t ahead = mine > other ? mine - other : 0;
        if (ahead > weft_load32_acquire(&turns->ahead)) {
            weft_store32_release(&turns->ahead, ahead);
        }
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
    return 0;
}

static weft_pid run_pinned(weft_ctx *ctx, script_fn fn, void *arg) {
    struct script script = {.fn = fn, .arg = arg};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(script),
                                  .scheduler = 1,
                                  .pin = true,
                                  .flags = WEFT_SPAWN_LINK};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage_of(ctx)->script, &options, &pid), 0);
    return pid;
}

PLAY(yield) {
    struct turns turns = {0};
    struct turn_taker takers[2] = {{.turns = &turns, .index = 0}, {.turns = &turns, .index = 1}};
    weft_pid first = run_pinned(ctx, take_turns, &takers[0]);
    weft_pid second = run_pinned(ctx, take_turns, &takers[1]);
    expect_exit(ctx, first, 0);
    expect_exit(ctx, second, 0);
    ck_assert_uint_le(weft_load32_acquire(&turns.ahead), 2);
}

/* ---- priorities ---------------------------------------------------------------------------- */

/* Counts its turns, for ever. */
static int count_turns(weft_ctx *ctx, void *arg) {
    weft_atomic_u32 *turns = arg;
    for (;;) {
        (void)weft_add32_acq_rel(turns, 1);
        ck_assert_int_eq(weft_yield(ctx), 0);
    }
}

static weft_pid run_ranked(weft_ctx *ctx, weft_atomic_u32 *turns, uint32_t priority,
                           uint32_t scheduler) {
    struct script script = {.fn = count_turns, .arg = turns};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(script),
                                  .scheduler = scheduler,
                                  .pin = true,
                                  .flags = WEFT_SPAWN_LINK,
                                  .priority = priority};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage_of(ctx)->script, &options, &pid), 0);
    return pid;
}

/* Beside normal ones that always have something to do low ones go seldom, but they go. */
PLAY(low_prio) {
    weft_atomic_u32 normal = {0};
    weft_atomic_u32 low = {0};
    weft_pid pids[4];
    for (uint32_t i = 0; i < 4; i++) {
        bool is_low = i % 2 == 1;
        pids[i] = run_ranked(ctx, is_low ? &low : &normal,
                             is_low ? WEFT_PRIORITY_LOW : WEFT_PRIORITY_NORMAL, 1);
    }
    until(weft_load32_acquire(&normal) > 20000);
    uint32_t lows = weft_load32_acquire(&low);
    uint32_t normals = weft_load32_acquire(&normal);
    for (uint32_t i = 0; i < 4; i++) {
        signal_exit(ctx, pids[i], -EPERM);
        expect_exit(ctx, pids[i], -EPERM);
    }
    ck_assert_msg(lows >= normals / 200 && lows <= normals / 4, "low %u, normal %u", lows, normals);
}

/* A low one is ended although there is always something that goes first, on every scheduler. */
PLAY(no_priority_inversion) {
    weft_atomic_u32 high = {0};
    weft_atomic_u32 low = {0};
    uint32_t schedulers = weft_runtime_schedulers(stage->rig.runtime);
    ck_assert_uint_le(schedulers, SCHEDULERS_MAX);
    weft_pid highs[SCHEDULERS_MAX];
    for (uint32_t i = 0; i < schedulers; i++) {
        highs[i] = run_ranked(ctx, &high, WEFT_PRIORITY_HIGH, i + 1);
    }
    weft_pid victim = run_ranked(ctx, &low, WEFT_PRIORITY_LOW, 1);
    until(weft_load32_acquire(&high) > 1000);
    signal_exit(ctx, victim, -EPERM);
    expect_exit(ctx, victim, -EPERM);
    for (uint32_t i = 0; i < schedulers; i++) {
        signal_exit(ctx, highs[i], WEFT_E_KILLED);
        expect_exit(ctx, highs[i], WEFT_E_KILLED);
    }
}

/* A waiting process with a large memory of its own is woken by a message, at once. */
static int with_large_memory(weft_ctx *ctx, void *arg) {
    struct stage *stage = arg;
    enum { BYTES = 64 * 1024 * 1024 };
    unsigned char *memory = malloc(BYTES);
    ck_assert_ptr_nonnull(memory);
    for (size_t i = 0; i < BYTES; i += 4096) {
        memory[i] = 1;
    }
    weft_store32_release(&stage->count, 1);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    free(memory);
    return -5;
}

PLAY(otp_7738_waiting) {
    weft_pid pid = run_script(ctx, with_large_memory, stage, WEFT_SPAWN_LINK, 0);
    until(weft_load32_acquire(&stage->count) == 1);
    ck_assert_int_eq(weft_sleep(ctx, 10 * MS_NS), 0);
    ck_assert_int_eq(weft_send(ctx, pid, GO, NULL, 0), 0);
    expect_exit(ctx, pid, -5);
}

int main(void) {
    Suite *suite = suite_create("otp_process_info");
    ADD(suite, bad_register);
    ADD(suite, otp_6237);
    ADD(suite, name_free_at_down);
    ADD(suite, otp_4725);
    ADD(suite, t_process_info);
    ADD(suite, process_info_parent);
    ADD(suite, process_info_other_msg);
    ADD(suite, process_info_messages);
    ADD(suite, process_info_self_signal);
    ADD(suite, process_info_self_msgq_len);
    ADD(suite, process_info_race);
    ADD(suite, process_info_reductions);
    ADD(suite, process_info_other_status);
    ADD(suite, process_info_lock_reschedule);
    ADD(suite, process_info_lock_reschedule2);
    ADD(suite, processes_this_tab);
    ADD(suite, processes_send_infant);
    ADD(suite, no_pid_wrap);
    ADD(suite, yield);
    ADD(suite, low_prio);
    ADD(suite, no_priority_inversion);
    ADD(suite, otp_7738_waiting);
    return run_suite(suite);
}
