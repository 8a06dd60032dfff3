/* SPDX-License-Identifier: MIT
 *
 * Actors: spawn, what an actor knows about itself, and every way one ends.
 */
#include "tests/unit/support.h"

static int receive_nothing(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

/* ---- spawn --------------------------------------------------------------------------------- */

START_TEST(bad_spawn_arguments_are_invalid) {
    struct rig rig = rig_start(2);
    struct rig other = rig_start(1);
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, NULL, &options, &pid), -EINVAL);
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, other.puppet, &options, &pid), -EINVAL);
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_spawn(NULL, rig.puppet, &options, &pid), -EINVAL);
    options.scheduler = 3;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    options.scheduler = 0;
    options.arg_size = 1;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    options.arg_size = 0;
    options.struct_size = 0;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    ck_assert(weft_pid_is_none(pid));
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &pid), 0);
    settle(&rig, pid);
    rig_stop(&other);
    rig_stop(&rig);
}
END_TEST

enum { ARG_MAX_BYTES = 5000 };

/* An actor that checks its argument: byte i is i + size. */
static int check_arg(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)state;
    const unsigned char *bytes = arg;
    for (size_t i = 0; i < arg_size; i++) {
        ck_assert_uint_eq(bytes[i], (unsigned char)(i + arg_size));
    }
    ck_assert_ptr_null(weft_current(ctx));
    return WEFT_STOP;
}

START_TEST(the_argument_is_copied_whatever_its_size) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "checks-arg",
                         .init = check_arg,
                         .receive = receive_nothing};
    const weft_type *type = rig_type(&rig, &def);
    static unsigned char bytes[ARG_MAX_BYTES];
    for (size_t size = 0; size <= ARG_MAX_BYTES; size += size < 300 ? 1 : 457) {
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (unsigned char)(i + size);
        }
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = bytes, .arg_size = size};
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, &options, &pid), 0);
        memset(bytes, 0xee, size);
    }
    eventually(rig_gauges(&rig).actors == 0);
    rig_stop(&rig);
}
END_TEST

/* State of every size, zeroed and aligned, and kept apart from its neighbours. */
static int fill_state(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    unsigned char *bytes = state;
    ck_assert_uint_eq((uintptr_t)state % 16, 0);
    ck_assert_ptr_eq(weft_state(ctx), state);
    size_t size = strtoul(weft_type_name(weft_type_of(ctx)), NULL, 10);
    for (size_t i = 0; i < size; i++) {
        ck_assert_uint_eq(bytes[i], 0);
        bytes[i] = (unsigned char)(size + i);
    }
    return WEFT_CONTINUE;
}

static void check_state(weft_ctx *ctx, void *state, int reason) {
    (void)reason;
    const unsigned char *bytes = state;
    size_t size = strtoul(weft_type_name(weft_type_of(ctx)), NULL, 10);
    for (size_t i = 0; i < size; i++) {
        ck_assert_uint_eq(bytes[i], (unsigned char)(size + i));
    }
}

START_TEST(state_of_any_size_is_zeroed_aligned_and_its_own) {
    struct rig rig = rig_start(1);
    static const size_t sizes[] = {0, 1, 15, 16, 47, 48, 49, 64, 100, 4096, 100000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%zu", sizes[i]);
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = name,
                             .state_size = sizes[i],
                             .init = fill_state,
                             .receive = receive_nothing,
                             .terminate = check_state};
        const weft_type *type = rig_type(&rig, &def);
        for (uint32_t round = 0; round < 2; round++) { /* the second time in used slots */
            weft_pid pids[100];
            for (uint32_t n = 0; n < 100; n++) {
                ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, NULL, &pids[n]), 0);
            }
            for (uint32_t n = 0; n < 100; n++) {
                ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pids[n], 0), 0);
            }
            eventually(rig_gauges(&rig).actors == 0);
        }
    }
    rig_stop(&rig);
}
END_TEST

static void note_scheduler(weft_ctx *ctx, void *arg) {
    *(uint32_t *)arg = weft_scheduler_of(ctx);
}

START_TEST(a_pinned_actor_runs_only_where_it_was_put) {
    struct rig rig = rig_start(schedulers_of(_i));
    uint32_t count = weft_runtime_schedulers(rig.runtime);
    for (uint32_t id = 1; id <= count; id++) {
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .scheduler = id, .pin = true};
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), 0);
        weft_actor_info info = {.struct_size = sizeof(info)};
        ck_assert_int_eq(weft_inspect(rig.runtime, pid, &info), 0);
        ck_assert(info.pinned);
        ck_assert_uint_eq(info.scheduler, id);
        for (uint32_t i = 0; i < 100; i++) {
            uint32_t where = 0;
            act(&rig, pid, note_scheduler, &where);
            ck_assert_uint_eq(where, id);
        }
    }
    rig_stop(&rig);
}
END_TEST

struct family {
    const weft_type *type;
    struct probe *probe;
    weft_pid child;
    weft_pid self;
    weft_pid parent;
    uint32_t scheduler;
    bool pin;
    int result;
};

static void spawn_child(weft_ctx *ctx, void *arg) {
    struct family *family = arg;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &family->probe,
                                  .arg_size = sizeof(struct probe *),
                                  .scheduler = family->scheduler,
                                  .pin = family->pin};
    family->result = weft_spawn_with(ctx, family->type, &options, &family->child);
}

static void note_family(weft_ctx *ctx, void *arg) {
    struct family *family = arg;
    family->self = weft_self(ctx);
    family->parent = weft_parent(ctx);
    family->scheduler = weft_scheduler_of(ctx);
    ck_assert_ptr_eq(weft_type_of(ctx), family->type);
    ck_assert_uint_eq(weft_runtime_node(weft_runtime_of(ctx)), family->self.node);
    ck_assert_ptr_nonnull(weft_current(ctx));
    ck_assert(weft_pid_is_none(weft_sender(ctx, weft_current(ctx)))); /* it came from outside */
}

START_TEST(an_actor_knows_itself_and_its_parent) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_pid parent = rig_spawn(&rig, NULL);
    struct family family = {.type = rig.puppet};
    act(&rig, parent, spawn_child, &family);
    ck_assert_int_eq(family.result, 0);
    act(&rig, family.child, note_family, &family);
    ck_assert(weft_pid_equal(family.self, family.child));
    ck_assert(weft_pid_equal(family.parent, parent));
    act(&rig, parent, note_family, &family);
    ck_assert(weft_pid_equal(family.self, parent));
    ck_assert(weft_pid_is_none(family.parent));
    for (uint32_t id = 1; id <= weft_runtime_schedulers(rig.runtime); id++) {
        family.scheduler = id;
        family.pin = true;
        act(&rig, parent, spawn_child, &family);
        ck_assert_int_eq(family.result, 0);
        act(&rig, family.child, note_family, &family);
        ck_assert_uint_eq(family.scheduler, id);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(nothing_is_spawned_once_the_runtime_stops) {
    struct rig rig = rig_start(1);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 10 * S_NS), 0);
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &pid), WEFT_E_SHUTDOWN);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 0), 0); /* idempotent */
    rig_stop(&rig);
}
END_TEST

START_TEST(the_limit_of_actors_is_an_error) {
    weft_config config = rig_config(1);
    config.actors_max = 1;
    struct rig rig = rig_start_with(&config);
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "idle", .receive = receive_nothing};
    const weft_type *type = rig_type(&rig, &def);
    weft_pid pid;
    weft_pid first;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, NULL, &first), 0);
    int result = 0;
    uint32_t count = 1;
    while (result == 0 && count < 1000000) {
        result = weft_runtime_spawn(rig.runtime, type, NULL, &pid);
        count += result == 0 ? 1 : 0;
    }
    ck_assert_int_eq(result, WEFT_E_LIMIT);
    ck_assert_uint_eq(rig_gauges(&rig).actors, count);
    rig_stop(&rig);
}
END_TEST

/* ---- ends ---------------------------------------------------------------------------------- */

START_TEST(a_failing_init_ends_the_actor_without_terminate) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.init_result = -EPERM;
    weft_pid pid = rig_spawn(&rig, &probe);
    eventually(rig_stats(&rig).exits == 1);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), WEFT_E_NOPROC);
    ck_assert_uint_eq(weft_load32_acquire(&probe.inits), 1);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 0);
    ck_assert_uint_eq(rig_stats(&rig).crashes, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(an_init_that_stops_ends_the_actor_normally) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.init_result = WEFT_STOP;
    (void)rig_spawn(&rig, &probe);
    eventually(rig_stats(&rig).exits == 1);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
    ck_assert_int_eq((int)weft_load32_acquire(&probe.reason), 0);
    ck_assert_uint_eq(rig_stats(&rig).crashes, 0);
    rig_stop(&rig);
}
END_TEST

/* The result of receive is the tag, as a signed number; tag 1000 calls weft_exit twice. */
static int return_tag(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    if (weft_msg_tag(msg) == 1000) {
        weft_exit(ctx, -EIO);
        weft_exit(ctx, -EPERM);
        return -EACCES;
    }
    if (weft_msg_tag(msg) == 1001) {
        weft_exit(ctx, 0);
    }
    return weft_msg_tag(msg) == 1001 ? 0 : (int)weft_msg_tag(msg);
}

START_TEST(a_result_or_an_exit_ends_the_actor_with_its_reason) {
    static const struct {
        uint32_t tag;
        int reason;
        uint32_t crashes;
    } cases[] = {
        {WEFT_STOP, 0, 0}, {(uint32_t)-EPROTO, -EPROTO, 1},
        {2, -EINVAL, 1},   {1000, -EIO, 1}, /* the first reason wins */
        {1001, 0, 0},      {(uint32_t)WEFT_E_OVERLOAD, WEFT_E_OVERLOAD, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig = rig_start(schedulers_of(_i));
        struct probe probe = PROBE_INIT;
        probe.handler = return_tag;
        weft_pid pid = rig_spawn(&rig, &probe);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, WEFT_CONTINUE, NULL, 0), 0);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, cases[i].tag, NULL, 0), 0);
        (void)weft_runtime_send(rig.runtime, pid, WEFT_CONTINUE, NULL, 0);
        eventually(rig_stats(&rig).exits == 1);
        ck_assert_uint_eq(probe_count(&probe), 2); /* nothing after the end */
        ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
        ck_assert_int_eq((int)weft_load32_acquire(&probe.reason), cases[i].reason);
        ck_assert_uint_eq(rig_stats(&rig).crashes, cases[i].crashes);
        rig_stop(&rig);
        probe_fini(&probe);
    }
}
END_TEST

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    if (weft_msg_tag(msg) == 7) {
        probe_wait(probe);
    }
    return WEFT_CONTINUE;
}

/* An actor busy with one message while user messages and then a stop or a kill arrive. */
static void end_a_busy_actor(struct rig *rig, struct probe *probe, bool kill) {
    probe->handler = wait_at_gate;
    weft_pid pid = rig_spawn(rig, probe);
    ck_assert_int_eq(weft_runtime_send(rig->runtime, pid, 7, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe->inside) != 0);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(weft_runtime_send(rig->runtime, pid, 8, "payload", 7), 0);
    }
    ck_assert_int_eq(kill ? weft_runtime_kill_actor(rig->runtime, pid)
                          : weft_runtime_stop_actor(rig->runtime, pid, -EOWNERDEAD),
                     0);
    weft_store32_release(&probe->gate, 1);
    eventually(rig_stats(rig).exits == 1);
    ck_assert_uint_eq(probe_count(probe), 1);
    ck_assert_uint_eq(rig_stats(rig).messages_dead, 1000);
    ck_assert_int_eq(weft_runtime_stop_actor(rig->runtime, pid, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_kill_actor(rig->runtime, pid), WEFT_E_NOPROC);
}

START_TEST(a_stop_acts_before_queued_user_messages) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    end_a_busy_actor(&rig, &probe, false);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
    ck_assert_int_eq((int)weft_load32_acquire(&probe.reason), -EOWNERDEAD);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_kill_acts_before_queued_user_messages_and_without_terminate) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    end_a_busy_actor(&rig, &probe, true);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

enum { KILLED_AT = 100, QUEUED = 5000 };

/* Waits at the gate in the first message, and again in the middle of its work. */
static int wait_twice(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    uint32_t number = probe_count(probe);
    if (number == 1 || number == KILLED_AT) {
        weft_store32_release(&probe->gate, 0);
        probe_wait(probe);
    }
    return WEFT_CONTINUE;
}

START_TEST(a_kill_ends_an_actor_with_a_long_queue_soon) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = wait_twice;
    weft_pid pid = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 7, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    for (uint32_t i = 0; i < QUEUED; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 8, NULL, 0), 0);
    }
    weft_store32_release(&probe.gate, 1);
    eventually(probe_count(&probe) == KILLED_AT && weft_load32_acquire(&probe.inside) != 0);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    weft_store32_release(&probe.gate, 1);
    eventually(rig_stats(&rig).exits == 1);
    ck_assert_uint_lt(probe_count(&probe) - KILLED_AT, QUEUED / 5);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

struct ender {
    weft_pid target;
    int result;
};

static void stop_target(weft_ctx *ctx, void *arg) {
    struct ender *ender = arg;
    ender->result = weft_stop(ctx, ender->target, -ENODEV);
}

static void kill_target(weft_ctx *ctx, void *arg) {
    struct ender *ender = arg;
    ender->result = weft_kill(ctx, ender->target);
}

START_TEST(an_actor_stops_and_kills_others_and_itself) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_pid actor = rig_spawn(&rig, NULL);
    struct probe probes[4] = {PROBE_INIT, PROBE_INIT, PROBE_INIT, PROBE_INIT};
    struct ender ender = {.target = rig_spawn(&rig, &probes[0])};
    act(&rig, actor, stop_target, &ender);
    ck_assert_int_eq(ender.result, 0);
    eventually(!is_alive(&rig, ender.target));
    eventually(weft_load32_acquire(&probes[0].terminations) == 1);
    ck_assert_int_eq((int)weft_load32_acquire(&probes[0].reason), -ENODEV);
    eventually(rig_stats(&rig).exits == 1);
    act(&rig, actor, stop_target, &ender);
    ck_assert_int_eq(ender.result, WEFT_E_NOPROC);
    act(&rig, actor, kill_target, &ender);
    ck_assert_int_eq(ender.result, WEFT_E_NOPROC);
    ender.target = rig_spawn(&rig, &probes[1]);
    act(&rig, actor, kill_target, &ender);
    eventually(rig_stats(&rig).exits == 2);
    ck_assert_uint_eq(weft_load32_acquire(&probes[1].terminations), 0);
    ender.target = rig_spawn(&rig, &probes[2]);
    act(&rig, ender.target, stop_target, &ender); /* itself, from inside */
    ck_assert_int_eq(ender.result, 0);
    eventually(rig_stats(&rig).exits == 3);
    ck_assert_uint_eq(weft_load32_acquire(&probes[2].terminations), 1);
    ender.target = weft_pid_none();
    act(&rig, actor, stop_target, &ender);
    ck_assert_int_eq(ender.result, WEFT_E_NOPROC);
    ender.target = (weft_pid){.node = 12345, .slot = 1, .gen = 1};
    act(&rig, actor, kill_target, &ender);
    ck_assert_int_eq(ender.result, WEFT_E_NOCONN);
    rig_stop(&rig);
}
END_TEST

/* ---- cleanups ------------------------------------------------------------------------------ */

enum { CLEANUPS = 100 };

struct cleanup_log {
    struct probe probe;
    uint32_t order[CLEANUPS];
    weft_atomic_u32 count;
    uint32_t terminated_before;
};

struct cleanup {
    struct cleanup_log *log;
    uint32_t id;
};

static void clean(void *arg) {
    const struct cleanup *cleanup = arg;
    struct cleanup_log *log = cleanup->log;
    log->terminated_before = weft_load32_acquire(&log->probe.terminations);
    uint32_t at = weft_load32_relaxed(&log->count);
    ck_assert_uint_lt(at, CLEANUPS);
    log->order[at] = cleanup->id;
    weft_store32_release(&log->count, at + 1);
}

static void defer_them(weft_ctx *ctx, void *arg) {
    struct cleanup *cleanups = arg;
    for (uint32_t i = 0; i < CLEANUPS; i++) {
        ck_assert_int_eq(weft_defer(ctx, clean, &cleanups[i]), 0);
    }
    ck_assert_int_eq(weft_defer(ctx, NULL, NULL), -EINVAL);
}

START_TEST(cleanups_run_once_in_reverse_order_however_it_ends) {
    for (uint32_t way = 0; way < 4; way++) {
        struct rig rig = rig_start(schedulers_of(_i));
        struct cleanup_log log = {.probe = PROBE_INIT};
        log.probe.handler = return_tag;
        struct cleanup cleanups[CLEANUPS];
        for (uint32_t i = 0; i < CLEANUPS; i++) {
            cleanups[i] = (struct cleanup){.log = &log, .id = i};
        }
        weft_pid pid = rig_spawn(&rig, &log.probe);
        act(&rig, pid, defer_them, cleanups);
        ck_assert_uint_eq(weft_load32_acquire(&log.count), 0);
        if (way == 0) {
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
        } else if (way == 1) {
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, 0), 0);
        } else if (way == 2) {
            ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, (uint32_t)-EIO, NULL, 0), 0);
        }
        if (way != 3) { /* the fourth: the runtime stops */
            eventually(rig_stats(&rig).exits == 1);
        }
        rig_stop(&rig);
        ck_assert_uint_eq(weft_load32_acquire(&log.count), CLEANUPS);
        for (uint32_t i = 0; i < CLEANUPS; i++) {
            ck_assert_uint_eq(log.order[i], CLEANUPS - 1 - i);
        }
        ck_assert_uint_eq(log.terminated_before, way == 0 ? 0 : 1); /* after terminate */
        probe_fini(&log.probe);
    }
}
END_TEST

/* ---- pids ---------------------------------------------------------------------------------- */

struct churn {
    const weft_type *type;
    uint32_t rounds;
    weft_pid stale;
    weft_pid child;
    uint32_t reused; /* the stale pid's slot was let again so often */
};

static void spawn_and_end(weft_ctx *ctx, void *arg) {
    struct churn *churn = arg;
    for (uint32_t i = 0; i < churn->rounds; i++) {
        ck_assert_int_eq(weft_spawn(ctx, churn->type, NULL, 0, &churn->child), 0);
        ck_assert(!weft_pid_equal(churn->child, churn->stale));
        churn->reused += churn->child.slot == churn->stale.slot ? 1 : 0;
        ck_assert_int_eq(weft_stop(ctx, churn->child, 0), 0);
        ck_assert_int_eq(weft_send(ctx, churn->stale, 1, NULL, 0), WEFT_E_NOPROC);
    }
}

START_TEST(a_stale_pid_names_nobody_also_when_its_slot_is_let_again) {
    weft_config config = rig_config(schedulers_of(_i));
    /* A thief would keep the slots of those that end with it; so would who helps a scheduler that
     * waits for a processor. */
    config.steal = WEFT_STEAL_NONE;
    config.watchdog_none = true;
    struct rig rig = rig_start_with(&config);
    weft_pid actor = rig_spawn(&rig, NULL);
    struct churn churn = {.type = rig.puppet, .rounds = 1};
    act(&rig, actor, spawn_and_end, &churn);
    eventually(rig_stats(&rig).exits == 1);
    churn.stale = churn.child;
    churn.rounds = 200;
    uint64_t exits = 1;
    for (uint32_t i = 0; i < 200 && churn.reused < 3; i++) {
        act(&rig, actor, spawn_and_end, &churn);
        exits += churn.rounds;
        eventually(rig_stats(&rig).exits == exits);
    }
    ck_assert_uint_ge(churn.reused, 1);
    weft_pid stale = churn.stale;
    ck_assert_int_eq(weft_runtime_send(rig.runtime, stale, 1, NULL, 0), WEFT_E_NOPROC);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, stale, 1, NULL, 0, S_NS, &reply),
                     WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, stale), WEFT_E_NOPROC);
    ck_assert(!is_alive(&rig, stale));
    rig_stop(&rig);
}
END_TEST

START_TEST(pids_that_were_never_given_out_name_nobody) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    weft_pid none = weft_pid_none();
    ck_assert_int_eq(weft_runtime_send(rig.runtime, none, 1, NULL, 0), WEFT_E_NOPROC);
    weft_pid foreign = {.node = pid.node + 1, .slot = pid.slot, .gen = pid.gen};
    ck_assert_int_eq(weft_runtime_send(rig.runtime, foreign, 1, NULL, 0), WEFT_E_NOCONN);
    static const uint32_t slots[] = {0,       2,          32767,      32768,
                                     1000000, 0x7fffffff, 0xfffffffe, 0xffffffff};
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        for (uint32_t gen = 0; gen < 3; gen++) {
            weft_pid wild = {.node = pid.node, .slot = slots[i], .gen = gen + 5};
            ck_assert_int_eq(weft_runtime_send(rig.runtime, wild, 1, NULL, 0), WEFT_E_NOPROC);
            ck_assert(!is_alive(&rig, wild));
        }
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(stopping_the_runtime_ends_all_with_its_reason) {
    struct rig rig = rig_start(schedulers_of(_i));
    enum { ACTORS = 3000 };
    static struct probe probes[ACTORS];
    for (uint32_t i = 0; i < ACTORS; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        (void)rig_spawn(&rig, &probes[i]);
    }
    rig_stop(&rig);
    for (uint32_t i = 0; i < ACTORS; i++) {
        ck_assert_uint_eq(weft_load32_acquire(&probes[i].inits), 1);
        ck_assert_uint_eq(weft_load32_acquire(&probes[i].terminations), 1);
        ck_assert_int_eq((int)weft_load32_acquire(&probes[i].reason), WEFT_E_SHUTDOWN);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("actor");
    TCase *tcase = tcase_create("types and spawn");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, bad_spawn_arguments_are_invalid);
    tcase_add_loop_test(tcase, the_argument_is_copied_whatever_its_size, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, state_of_any_size_is_zeroed_aligned_and_its_own);
    tcase_add_loop_test(tcase, a_pinned_actor_runs_only_where_it_was_put, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_actor_knows_itself_and_its_parent, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, nothing_is_spawned_once_the_runtime_stops);
    tcase_add_test(tcase, the_limit_of_actors_is_an_error);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("ends");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_failing_init_ends_the_actor_without_terminate, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_init_that_stops_ends_the_actor_normally, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_result_or_an_exit_ends_the_actor_with_its_reason, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_stop_acts_before_queued_user_messages, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_kill_acts_before_queued_user_messages_and_without_terminate, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_kill_ends_an_actor_with_a_long_queue_soon, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_actor_stops_and_kills_others_and_itself, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, cleanups_run_once_in_reverse_order_however_it_ends, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("pids");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_stale_pid_names_nobody_also_when_its_slot_is_let_again, 0,
                        SCHEDULER_CASES);
    tcase_add_test(tcase, pids_that_were_never_given_out_name_nobody);
    tcase_add_loop_test(tcase, stopping_the_runtime_ends_all_with_its_reason, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
