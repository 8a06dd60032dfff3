/* SPDX-License-Identifier: MIT
 *
 * Full mailboxes: what each policy does, READY, and what is never refused. The bound is
 * approximate: at most 64 messages early, one per concurrent sender late.
 */
#include "tests/unit/support.h"

enum { BOUND = 200, EARLY = 64, TAG_GATE = 1, TAG_FLOOD = 2 };

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    if (weft_msg_tag(msg) == TAG_GATE) {
        probe_wait(probe);
    }
    return WEFT_CONTINUE;
}

/* An actor of a type with a policy that waits at its gate. */
struct full {
    struct probe probe;
    weft_pid pid;
    const weft_type *type;
};

static void full_start(struct rig *rig, struct full *full, uint32_t policy, uint32_t low) {
    *full = (struct full){.probe = PROBE_INIT};
    full->probe.handler = wait_at_gate;
    weft_type_def def = puppet_def("full");
    def.mailbox_max = BOUND;
    def.mailbox_policy = policy;
    def.mailbox_low = low;
    full->type = rig_type(rig, &def);
    full->pid = rig_spawn_type(rig, full->type, &full->probe);
    settle(rig, full->pid);
    ck_assert_int_eq(weft_runtime_send(rig->runtime, full->pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&full->probe.inside) != 0);
}

/* Sends from outside until the mailbox refuses; returns how many it took. */
static uint32_t flood(struct rig *rig, weft_pid pid, uint32_t max) {
    for (uint32_t i = 0; i < max; i++) {
        int result = weft_runtime_send(rig->runtime, pid, TAG_FLOOD, &i, sizeof(i));
        if (result != 0) {
            ck_assert_int_eq(result, -EBUSY);
            return i;
        }
    }
    return max;
}

/* A flood from an actor: it must run on another scheduler than the one that waits. */
struct flooding {
    weft_pid target;
    uint32_t accepted;
    uint32_t refused; /* so many refusals to ask for */
};

static void flood_inside(weft_ctx *ctx, void *arg) {
    struct flooding *flooding = arg;
    flooding->accepted = 0;
    uint32_t refused = 0;
    while (refused < flooding->refused && flooding->accepted < 100000) {
        int result = weft_send(ctx, flooding->target, TAG_FLOOD, NULL, 0);
        ck_assert(result == 0 || result == -EBUSY);
        flooding->accepted += result == 0 ? 1 : 0;
        refused += result == -EBUSY ? 1 : 0;
    }
}

START_TEST(a_full_mailbox_refuses_and_has_room_again_later) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct full full;
    full_start(&rig, &full, WEFT_MAILBOX_REJECT, 0);
    uint32_t accepted = flood(&rig, full.pid, 10000);
    ck_assert_uint_ge(accepted, BOUND - EARLY);
    ck_assert_uint_le(accepted, BOUND);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, full.pid, 3, NULL, 0), -EBUSY);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, full.pid, 3, NULL, 0, S_NS, &reply), -EBUSY);
    weft_store32_release(&full.probe.gate, 1);
    eventually(probe_count(&full.probe) == accepted + 1);
    settle(&rig, full.pid);
    ck_assert_uint_eq(probe_count_kind(&full.probe, WEFT_MSG_READY), 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, full.pid, 3, NULL, 0), 0);
    ck_assert_uint_ge(rig_stats(&rig).messages_rejected, 2);
    rig_stop(&rig);
    probe_fini(&full.probe);
}
END_TEST

/* From two schedulers on. */
START_TEST(each_refused_sender_gets_one_ready_at_the_low_water_mark) {
    weft_config config = rig_config(schedulers_of(_i));
    config.budget = 8; /* so that senders run while the mailbox is worked off */
    struct rig rig = rig_start_with(&config);
    struct full full;
    enum { LOW = 50, SENDERS = 5 };
    full_start(&rig, &full, WEFT_MAILBOX_REJECT, LOW);
    struct probe probes[SENDERS];
    struct flooding flooding = {.target = full.pid, .refused = 10};
    uint32_t accepted = 0;
    weft_pid senders[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        senders[i] = rig_spawn(&rig, &probes[i]);
        act(&rig, senders[i], flood_inside, &flooding);
        accepted += flooding.accepted;
    }
    ck_assert_uint_ge(accepted, BOUND - EARLY);
    ck_assert_uint_le(accepted, BOUND);
    sleep_ns(5 * MS_NS);
    for (uint32_t i = 0; i < SENDERS; i++) {
        ck_assert_uint_eq(probe_count(&probes[i]), 0);
    }
    weft_store32_release(&full.probe.gate, 1);
    for (uint32_t i = 0; i < SENDERS; i++) {
        eventually(probe_count(&probes[i]) == 1);
        struct seen seen = probe_at(&probes[i], 0);
        ck_assert_int_eq(seen.kind, WEFT_MSG_READY);
        ck_assert(weft_pid_equal(seen.sender, full.pid));
        /* Not before the mailbox was as empty as that: when it came, so many were handled. */
        uint64_t at_ns = seen.at_ns;
        ck_assert_uint_ge(probe_count(&full.probe), accepted - LOW - EARLY);
        struct seen handled = probe_at(&full.probe, accepted - LOW - EARLY);
        ck_assert_uint_ge(at_ns, handled.at_ns);
    }
    eventually(probe_count(&full.probe) == accepted + 1);
    sleep_ns(5 * MS_NS);
    for (uint32_t i = 0; i < SENDERS; i++) {
        settle(&rig, senders[i]);
        ck_assert_uint_eq(probe_count(&probes[i]), 1); /* exactly once */
    }
    rig_stop(&rig);
    for (uint32_t i = 0; i < SENDERS; i++) {
        probe_fini(&probes[i]);
    }
    probe_fini(&full.probe);
}
END_TEST

/* From two schedulers on. */
START_TEST(a_full_actor_that_ends_still_gives_ready) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct full full;
    full_start(&rig, &full, WEFT_MAILBOX_REJECT, 0);
    struct probe probe = PROBE_INIT;
    weft_pid sender = rig_spawn(&rig, &probe);
    struct flooding flooding = {.target = full.pid, .refused = 1};
    act(&rig, sender, flood_inside, &flooding);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, full.pid), 0);
    weft_store32_release(&full.probe.gate, 1);
    eventually(probe_count(&probe) == 1);
    ck_assert_int_eq(probe_at(&probe, 0).kind, WEFT_MSG_READY);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&full.probe);
}
END_TEST

START_TEST(drop_new_takes_every_send_and_keeps_the_oldest) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct full full;
    full_start(&rig, &full, WEFT_MAILBOX_DROP_NEW, 0);
    ck_assert_uint_eq(flood(&rig, full.pid, 1000), 1000);
    weft_msg *reply = NULL;
    /* A request is never dropped silently. */
    ck_assert_int_eq(weft_runtime_call(rig.runtime, full.pid, 3, NULL, 0, S_NS, &reply), -EBUSY);
    uint64_t dropped = rig_stats(&rig).messages_dropped;
    ck_assert_uint_ge(dropped, 1000 - BOUND);
    ck_assert_uint_le(dropped, 1000 - BOUND + EARLY);
    weft_store32_release(&full.probe.gate, 1);
    eventually(probe_count(&full.probe) == 1001 - dropped);
    settle(&rig, full.pid);
    for (uint32_t i = 0; i < 1000 - dropped; i++) {
        uint32_t number;
        memcpy(&number, probe_at(&full.probe, i + 1).data, sizeof(number));
        ck_assert_uint_eq(number, i);
    }
    rig_stop(&rig);
    probe_fini(&full.probe);
}
END_TEST

START_TEST(drop_old_keeps_the_newest_and_refuses_at_twice) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct full full;
    full_start(&rig, &full, WEFT_MAILBOX_DROP_OLD, 0);
    uint32_t accepted = flood(&rig, full.pid, 10000);
    ck_assert_uint_ge(accepted, 2 * BOUND - EARLY);
    ck_assert_uint_le(accepted, 2 * BOUND);
    weft_store32_release(&full.probe.gate, 1);
    eventually(probe_count(&full.probe) + rig_stats(&rig).messages_dropped == accepted + 1);
    uint32_t kept = probe_count(&full.probe) - 1;
    ck_assert_uint_ge(kept, BOUND - EARLY);
    ck_assert_uint_le(kept, BOUND);
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t number;
        memcpy(&number, probe_at(&full.probe, i + 1).data, sizeof(number));
        ck_assert_uint_eq(number, accepted - kept + i); /* the oldest are gone, no hole */
    }
    rig_stop(&rig);
    probe_fini(&full.probe);
}
END_TEST

static void *ask_full(void *arg) {
    struct rig *rig = ((void **)arg)[0];
    struct full *full = ((void **)arg)[1];
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig->runtime, full->pid, 3, NULL, 0, 60 * S_NS, &reply),
                     WEFT_E_OVERLOAD);
    return NULL;
}

START_TEST(drop_old_answers_the_requests_it_drops) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct full full;
    full_start(&rig, &full, WEFT_MAILBOX_DROP_OLD, 0);
    void *args[] = {&rig, &full};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_full, args), 0);
    eventually(rig_stats(&rig).messages_sent >= 4); /* two calls' worth, the gate, the request */
    sleep_ns(5 * MS_NS);
    (void)flood(&rig, full.pid, 10000);
    weft_store32_release(&full.probe.gate, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    rig_stop(&rig);
    probe_fini(&full.probe);
}
END_TEST

START_TEST(an_unbounded_mailbox_takes_everything) {
    weft_config config = rig_config(schedulers_of(_i));
    config.mailbox_max = BOUND;
    struct rig rig = rig_start_with(&config);
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = wait_at_gate;
    weft_type_def def = puppet_def("unbounded");
    def.mailbox_max = WEFT_MAILBOX_UNBOUNDED;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    ck_assert_uint_eq(flood(&rig, pid, 150000), 150000);
    weft_store32_release(&probe.gate, 1);
    eventually(probe_count(&probe) == 150001);
    rig_stop(&rig);
}
END_TEST

START_TEST(the_default_bound_is_the_configured_one) {
    weft_config config = rig_config(schedulers_of(_i));
    config.mailbox_max = BOUND;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    probe.handler = wait_at_gate;
    weft_pid pid = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    uint32_t accepted = flood(&rig, pid, 10000);
    ck_assert_uint_ge(accepted, BOUND - EARLY);
    ck_assert_uint_le(accepted, BOUND);
    weft_store32_release(&probe.gate, 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void start_timer(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_timer_start(ctx, 20 * MS_NS, 9, 9, NULL), 0);
    ck_assert_int_eq(weft_call(ctx, *(weft_pid *)arg, TAG_FLOOD, NULL, 0, 30 * S_NS, 8), 0);
}

START_TEST(timers_replies_and_stops_are_never_refused) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = wait_at_gate;
    weft_type_def def = puppet_def("full");
    def.mailbox_max = BOUND;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    weft_pid peer = rig_spawn(&rig, NULL); /* answers nothing: the reply is WEFT_E_NOREPLY */
    act(&rig, pid, start_timer, &peer);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    uint32_t accepted = flood(&rig, pid, 10000);
    sleep_ns(50 * MS_NS); /* the timer is due, the mailbox full */
    weft_store32_release(&probe.gate, 1);
    eventually(probe_count(&probe) == accepted + 3);
    ck_assert_uint_eq(probe_count_kind(&probe, WEFT_MSG_TIMER), 1);
    ck_assert_uint_eq(probe_count_kind(&probe, WEFT_MSG_REPLY), 1);
    weft_store32_release(&probe.gate, 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    (void)flood(&rig, pid, 10000);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, 0), 0);
    weft_store32_release(&probe.gate, 1);
    eventually(rig_stats(&rig).exits == 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void call_peer(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_call(ctx, *(weft_pid *)arg, TAG_GATE, NULL, 0, 30 * S_NS, 8), 0);
}

START_TEST(what_a_serial_actor_holds_back_counts_for_its_bound) {
    struct rig rig = rig_start(2);
    struct probe peer = PROBE_INIT;
    peer.handler = wait_at_gate;
    weft_pid peer_pid = rig_spawn(&rig, &peer);
    struct probe probe = PROBE_INIT;
    weft_type_def def = puppet_def("serial");
    def.mailbox_max = BOUND;
    def.flags = WEFT_TYPE_SERIAL;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    act(&rig, pid, call_peer, &peer_pid);
    eventually(weft_load32_acquire(&peer.inside) != 0);
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < 20; i++) { /* in pieces: each is taken before the next comes */
        accepted += flood(&rig, pid, 50);
        sleep_ns(2 * MS_NS);
    }
    ck_assert_uint_ge(accepted, BOUND - EARLY);
    ck_assert_uint_le(accepted, BOUND + EARLY);
    weft_store32_release(&peer.gate, 1);
    eventually(probe_count(&probe) == accepted + 1);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&peer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("bounded");
    TCase *tcase = tcase_create("bounded");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_full_mailbox_refuses_and_has_room_again_later, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, each_refused_sender_gets_one_ready_at_the_low_water_mark, 1,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_full_actor_that_ends_still_gives_ready, 1, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, drop_new_takes_every_send_and_keeps_the_oldest, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, drop_old_keeps_the_newest_and_refuses_at_twice, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, drop_old_answers_the_requests_it_drops, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_unbounded_mailbox_takes_everything, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, the_default_bound_is_the_configured_one, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, timers_replies_and_stops_are_never_refused, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, what_a_serial_actor_holds_back_counts_for_its_bound);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
