/* SPDX-License-Identifier: MIT
 *
 * What inspection shows of one actor: what it has sent and put aside, and how much memory hangs on
 * it; exact after known steps, and harmless while the actor ends. The rest is in test_stats.c.
 */
#include "sched/actor.h"
#include "tests/unit/support.h"

#include <stdatomic.h>
#include <weft/virtual.h>

static int answer(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    return weft_msg_kind(msg) == WEFT_MSG_REQUEST ? weft_reply(ctx, &msg, 1, NULL, 0)
                                                  : WEFT_CONTINUE;
}

struct two {
    weft_pid other;
    weft_pid nobody;
};

static weft_actor_info look(struct rig *rig, weft_pid pid) {
    weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
    ck_assert_int_eq(weft_inspect(rig->runtime, pid, &info), 0);
    return info;
}

/* The same when it has nothing to do: what its turn has done is counted at its end. */
static weft_actor_info look_idle(struct rig *rig, weft_pid pid) {
    eventually(look(rig, pid).cell == WEFT_CELL_IDLE);
    return look(rig, pid);
}

static void send_some(weft_ctx *ctx, void *arg) {
    const struct two *two = arg;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(weft_send(ctx, two->other, 1, NULL, 0), 0);
    }
    ck_assert_int_eq(weft_call(ctx, two->other, 1, NULL, 0, 0, 1), 0);
    ck_assert_int_eq(weft_send(ctx, two->nobody, 1, NULL, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_send_after(ctx, MS_NS, two->other, 1, NULL, 0, NULL), 0);
}

START_TEST(what_an_actor_has_sent_is_counted) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    probe.handler = answer;
    weft_pid pid = rig_spawn(&rig, NULL);
    struct two two = {.other = rig_spawn(&rig, &probe), .nobody = weft_pid_none()};
    ck_assert_uint_eq(look(&rig, pid).sent, 0);
    for (uint64_t round = 1; round <= 100; round++) {
        act(&rig, pid, send_some, &two);
        eventually(probe_count(&probe) == 12 * round);
        /* ten messages, a request, the delayed one; and the answer to what made it do so */
        eventually(look(&rig, pid).sent == 13 * round);
    }
    ck_assert_uint_eq(look_idle(&rig, two.other).sent, 100);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(what_an_actor_has_sent_does_not_wrap) {
    struct rig rig = rig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, NULL);
    struct two two = {.other = rig_spawn(&rig, &probe), .nobody = weft_pid_none()};
    settle(&rig, pid);
    (void)look_idle(&rig, pid);
    struct weft_ctx *slot = weft__slot_at(&rig.runtime->slots, pid.slot);
    weft_store32_relaxed(&slot->mailbox.sent, UINT32_MAX - 9); /* a few thousand million later */
    act(&rig, pid, send_some, &two);
    eventually(look(&rig, pid).sent == UINT64_C(0x100000003));
    settle(&rig, pid);
    eventually(look(&rig, pid).sent == UINT64_C(0x100000004));
    weft_store32_relaxed(&slot->mailbox.sent, UINT32_MAX);
    settle(&rig, pid);
    eventually(look(&rig, pid).sent == UINT64_C(0x200000000));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

enum { LINKS = 100 };

struct growth {
    weft_pid others[LINKS];
    weft_timer timers[LINKS];
};

static void grow_calls(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    for (int i = 0; i < LINKS; i++) {
        ck_assert_int_eq(weft_call(ctx, growth->others[i], 1, NULL, 0, 0, 0), 0);
    }
}

static void grow_timers(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    for (int i = 0; i < LINKS; i++) {
        int result = i % 2 == 0 ? weft_timer_start(ctx, 3600 * S_NS, 0, 0, &growth->timers[i])
                                : weft_timer_repeat(ctx, 3600 * S_NS, 0, 0, &growth->timers[i]);
        ck_assert_int_eq(result, 0);
    }
}

static void cancel_timers(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    for (int i = 0; i < LINKS; i++) {
        ck_assert(weft_timer_cancel(ctx, growth->timers[i]));
    }
}

static void grow_monitors(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    for (int i = 0; i < LINKS; i++) {
        ck_assert_int_eq(weft_monitor(ctx, growth->others[i], 0, NULL), 0);
    }
}

static void nothing(void *arg) {
    (void)arg;
}

static void grow_cleanups(weft_ctx *ctx, void *arg) {
    (void)arg;
    for (int i = 0; i < LINKS; i++) {
        ck_assert_int_eq(weft_defer(ctx, nothing, NULL), 0);
    }
}

static void link_all(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    (void)weft_trap_exit(ctx, true);
    for (int i = 0; i < LINKS; i++) {
        ck_assert_int_eq(weft_link(ctx, growth->others[i]), 0);
    }
}

static void unlink_all(weft_ctx *ctx, void *arg) {
    struct growth *growth = arg;
    for (int i = 0; i < LINKS; i++) {
        ck_assert_int_eq(weft_unlink(ctx, growth->others[i]), 0);
    }
}

static void spawn_one(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_spawn(ctx, weft_type_of(ctx), NULL, 0, arg), 0);
}

/* All heap memory of these, as inspection says it. */
static uint64_t shown(struct rig *rig, weft_pid pid, const struct growth *growth) {
    uint64_t bytes = look_idle(rig, pid).memory_bytes;
    for (int i = 0; i < LINKS; i++) {
        bytes += look_idle(rig, growth->others[i]).memory_bytes;
    }
    return bytes - (LINKS + 1) * sizeof(struct weft_ctx);
}

/* What is shown follows what the allocator gave, up to the rounding to cache lines. */
static void check_memory(struct rig *rig, weft_pid pid, const struct growth *growth,
                         uint64_t before) {
    settle(rig, pid);
    for (int i = 0; i < LINKS; i++) {
        settle(rig, growth->others[i]);
    }
    settle(rig, pid); /* answers to links and monitors as well */
    uint64_t heap = rig_gauges(rig).heap_bytes - before;
    uint64_t bytes = shown(rig, pid, growth);
    ck_assert_uint_ge(bytes, heap);
    ck_assert_uint_lt(bytes, heap + (LINKS + 1) * 64);
}

START_TEST(the_memory_that_is_shown_is_that_of_the_allocator) {
    static const job_fn steps[] = {grow_calls,    grow_timers, cancel_timers, grow_monitors,
                                   grow_cleanups, link_all,    unlink_all};
    weft_config config = rig_config(1);
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    probe.handler = answer;
    probe.counts_only = true;
    struct growth growth;
    for (int i = 0; i < LINKS; i++) {
        growth.others[i] = rig_spawn(&rig, &probe);
    }
    weft_pid pid = rig_spawn(&rig, NULL);
    settle(&rig, pid);
    settle(&rig, growth.others[LINKS - 1]);
    uint64_t before = rig_gauges(&rig).heap_bytes;
    ck_assert_uint_eq(look_idle(&rig, pid).memory_bytes, sizeof(struct weft_ctx));
    check_memory(&rig, pid, &growth, before);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        uint64_t last = look_idle(&rig, pid).memory_bytes;
        act(&rig, pid, steps[i], &growth);
        check_memory(&rig, pid, &growth, before);
        bool shrinks = steps[i] == cancel_timers || steps[i] == unlink_all;
        ck_assert((look_idle(&rig, pid).memory_bytes < last) == shrinks);
    }
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    eventually(!is_alive(&rig, pid));
    weft_pid next = weft_pid_none();
    for (uint32_t i = 0; next.slot != pid.slot; i++) { /* whoever gets its slot has nothing */
        ck_assert_uint_lt(i, 1000);
        act(&rig, growth.others[0], spawn_one, &next); /* only schedulers use it again soon */
        ck_assert_uint_eq(look(&rig, next).memory_bytes, sizeof(struct weft_ctx));
        ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, next), 0);
        eventually(!is_alive(&rig, next));
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_large_state_and_a_virtual_actor_take_more) {
    struct rig rig = rig_start(1);
    weft_type_def def = puppet_def("large");
    def.state_size = 100000;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), NULL);
    ck_assert_uint_eq(look(&rig, pid).memory_bytes, sizeof(struct weft_ctx) + 100000);
    const weft_capability *capability = NULL;
    ck_assert_int_eq(weft_capability_add(rig.runtime, "any", &capability), 0);
    def = puppet_def("virtual");
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = capability,
                             .type = rig_type(&rig, &def),
                             .id = "a",
                             .id_size = 1};
    ck_assert_int_eq(weft_runtime_vcast(rig.runtime, &request, &pid), 0);
    ck_assert_uint_eq(look(&rig, pid).memory_bytes, sizeof(struct weft_ctx) + 64);
    rig_stop(&rig);
}
END_TEST

enum { STACK_DEEP = 40000, TAG_DEEP = 71, TAG_PUT_ASIDE = 72 };

static bool is_deep(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_tag(msg) == TAG_DEEP;
}

static WEFT_NOINLINE void wait_deep(weft_ctx *ctx) {
    volatile char block[STACK_DEEP];
    block[0] = 1;
    ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0);
    ck_assert_int_eq(block[0], 1);
}

static int deep_code(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_msg *msg;
    (void)state;
    (void)arg;
    (void)arg_size;
    while (weft_receive_match(ctx, WEFT_FOREVER, is_deep, NULL, &msg) == 0) {
        wait_deep(ctx);
    }
    return WEFT_STOP;
}

/* What a process puts aside, whether its mailbox is bounded or not, and how deep it has waited. */
START_TEST(what_a_process_has_put_aside_and_touched_is_shown) {
    struct rig rig = rig_start(2);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "deep",
                         .process = deep_code,
                         .stack_bytes = 65536,
                         .mailbox_max = _i == 0 ? 20 : WEFT_MAILBOX_UNBOUNDED};
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), NULL);
    eventually(look(&rig, pid).memory_bytes > sizeof(struct weft_ctx) + 4096);
    uint64_t shallow = look_idle(&rig, pid).memory_bytes;
    ck_assert_uint_lt(shallow, sizeof(struct weft_ctx) + 3 * 4096);
    for (uint32_t i = 1; i <= 19; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_PUT_ASIDE, NULL, 0), 0);
        eventually(look(&rig, pid).aside == i);
        ck_assert_uint_eq(look_idle(&rig, pid).mailbox, i);
    }
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_DEEP, NULL, 0), 0);
#if !defined(__SANITIZE_ADDRESS__)
    eventually(look(&rig, pid).memory_bytes >= shallow + STACK_DEEP - 4096);
#endif
    ck_assert_uint_le(look_idle(&rig, pid).memory_bytes, shallow + STACK_DEEP + 3 * 4096);
    /* at its bound and beyond, which a forged room lets nobody come to: exact as well */
    eventually(look_idle(&rig, pid).aside == 19);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_PUT_ASIDE, NULL, 0), 0);
    eventually(look(&rig, pid).aside == 20);
    int full = weft_runtime_send(rig.runtime, pid, TAG_PUT_ASIDE, NULL, 0);
    ck_assert_int_eq(full, _i == 0 ? -EBUSY : 0);
    eventually(look(&rig, pid).aside == (_i == 0 ? 20u : 21u));
    rig_stop(&rig);
}
END_TEST

enum { INSPECTIONS = 100000, INSPECTORS = 2, ENDING = 64 };

struct endings {
    struct rig rig;
    _Atomic uint64_t pids[ENDING];
    _Atomic uint32_t end;
};

/* Has a bit of everything, then ends. */
static void live_briefly(weft_ctx *ctx, void *arg) {
    struct endings *endings = arg;
    weft_pid self = weft_self(ctx);
    for (int i = 0; i < 8; i++) {
        uint64_t address = atomic_load(&endings->pids[i]);
        weft_pid pid = {
            .node = self.node, .slot = (uint32_t)(address >> 32), .gen = (uint32_t)address};
        ck_assert_int_eq(weft_timer_repeat(ctx, S_NS, 0, 0, NULL), 0);
        ck_assert_int_eq(weft_monitor(ctx, pid, 0, NULL), 0);
        (void)weft_call(ctx, pid, 1, NULL, 0, 0, 0);
    }
    weft_exit(ctx, 0);
}

static void *inspect_ends(void *arg) {
    struct endings *endings = arg;
    uint64_t found = 0;
    for (uint32_t i = 0; i < INSPECTIONS || found == 0; i++) {
        uint64_t address = atomic_load(&endings->pids[i % ENDING]);
        weft_pid pid = {.node = weft_runtime_node(endings->rig.runtime),
                        .slot = (uint32_t)(address >> 32),
                        .gen = (uint32_t)address};
        weft_actor_info info = {.struct_size = WEFT_ACTOR_INFO_INIT};
        if (weft_inspect(endings->rig.runtime, pid, &info) == 0) {
            ck_assert_uint_ge(info.memory_bytes, sizeof(struct weft_ctx));
            ck_assert_uint_lt(info.memory_bytes, 100000);
            ck_assert_uint_le(info.sent, 10);
            ck_assert_uint_eq(info.traced, 0);
            found++;
        }
    }
    (void)atomic_fetch_add(&endings->end, 1);
    return NULL;
}

START_TEST(inspections_race_with_actors_that_end) {
    static struct endings endings;
    endings.rig = rig_start(4);
    pthread_t threads[INSPECTORS];
    for (int i = 0; i < INSPECTORS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, inspect_ends, &endings), 0);
    }
    struct job job = {.fn = live_briefly, .arg = &endings};
    for (uint32_t i = 0; atomic_load(&endings.end) < INSPECTORS; i++) {
        weft_pid pid = rig_spawn(&endings.rig, NULL);
        atomic_store(&endings.pids[i % ENDING], (uint64_t)pid.slot << 32 | pid.gen);
        ck_assert_int_eq(weft_runtime_send(endings.rig.runtime, pid, 1, NULL, 0), 0);
        weft_msg *reply = NULL;
        if (i % 8 == 0) {
            int result =
                weft_runtime_call(endings.rig.runtime, pid, TAG_ACT, &job, sizeof(job), 0, &reply);
            ck_assert(result == 0 || result == WEFT_E_NOPROC);
            weft_runtime_msg_release(endings.rig.runtime, &reply);
        } else {
            ck_assert_int_eq(weft_runtime_stop_actor(endings.rig.runtime, pid, 0), 0);
        }
    }
    for (int i = 0; i < INSPECTORS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    rig_stop(&endings.rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("inspect");
    TCase *sent = tcase_create("sent");
    tcase_add_test(sent, what_an_actor_has_sent_is_counted);
    tcase_add_test(sent, what_an_actor_has_sent_does_not_wrap);
    suite_add_tcase(suite, sent);
    TCase *memory = tcase_create("memory");
    tcase_add_test(memory, the_memory_that_is_shown_is_that_of_the_allocator);
    tcase_add_test(memory, a_large_state_and_a_virtual_actor_take_more);
    tcase_add_loop_test(memory, what_a_process_has_put_aside_and_touched_is_shown, 0, 2);
    tcase_add_test(memory, inspections_race_with_actors_that_end);
    suite_add_tcase(suite, memory);
    return run_suite(suite);
}
