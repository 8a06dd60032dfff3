/* SPDX-License-Identifier: MIT
 *
 * Timers of actors: when they fire, that a cancelled one never does, delayed sends, limits.
 */
#include "tests/unit/support.h"

/* What to start in an actor, and what came of it. */
struct plan {
    uint64_t delay_ns;
    uint32_t tag;
    uint64_t token;
    weft_pid target;
    weft_timer timer;
    int result;
    bool cancelled;
    uint64_t started_ns; /* the actor's clock at the start */
};

static void start_once(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    plan->started_ns = weft_now_ns(ctx);
    plan->result = weft_timer_start(ctx, plan->delay_ns, plan->tag, plan->token, &plan->timer);
}

static void start_repeat(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    plan->started_ns = weft_now_ns(ctx);
    plan->result = weft_timer_repeat(ctx, plan->delay_ns, plan->tag, plan->token, &plan->timer);
}

static void send_later(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    plan->started_ns = weft_now_ns(ctx);
    plan->result = weft_send_after(ctx, plan->delay_ns, plan->target, plan->tag, &plan->token, 8,
                                   &plan->timer);
}

static void cancel(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    plan->cancelled = weft_timer_cancel(ctx, plan->timer);
}

START_TEST(a_timer_fires_once_not_early_with_tag_and_token) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    static const uint64_t delays_ns[] = {0,         1,         1000,       16384,     100000,
                                         1 * MS_NS, 7 * MS_NS, 30 * MS_NS, 80 * MS_NS};
    struct plan plans[9];
    for (uint32_t i = 0; i < 9; i++) {
        plans[i] = (struct plan){.delay_ns = delays_ns[i], .tag = i, .token = UINT64_MAX - i};
        act(&rig, pid, start_once, &plans[i]);
        ck_assert_int_eq(plans[i].result, 0);
        ck_assert_uint_ne(plans[i].timer, 0);
    }
    eventually(probe_count(&probe) == 9);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(probe_count(&probe), 9);
    for (uint32_t i = 0; i < 9; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_TIMER);
        ck_assert_uint_eq(seen.token, UINT64_MAX - seen.tag);
        ck_assert_uint_ge(seen.at_ns, plans[seen.tag].started_ns + delays_ns[seen.tag]);
        ck_assert_uint_lt(seen.at_ns, plans[seen.tag].started_ns + delays_ns[seen.tag] + SOON_NS);
        act(&rig, pid, cancel, &plans[i]);
        ck_assert(!plans[i].cancelled); /* it had fired */
    }
    ck_assert_uint_eq(rig_stats(&rig).timers_fired, 9);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_cancelled_timer_never_fires) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_pid other = rig_spawn(&rig, NULL);
    for (uint32_t i = 0; i < 200; i++) {
        struct plan plan = {.delay_ns = i * 20000, .tag = i, .target = other};
        act(&rig, pid, i % 3 == 0 ? start_repeat : i % 3 == 1 ? start_once : send_later, &plan);
        if (plan.result == -EINVAL) {
            continue; /* an interval of 0 */
        }
        struct plan wild = {.timer = plan.timer ^ 1};
        act(&rig, pid, cancel, &wild);
        ck_assert(!wild.cancelled);
        act(&rig, other, cancel, &plan);
        ck_assert(!plan.cancelled); /* another actor's timer */
        uint32_t before = probe_count(&probe);
        act(&rig, pid, cancel, &plan);
        uint32_t after = probe_count(&probe);
        bool was_cancelled = plan.cancelled;
        act(&rig, pid, cancel, &plan);
        ck_assert(!plan.cancelled); /* twice */
        sleep_ns(i % 10 == 0 ? 6 * MS_NS : 0);
        settle(&rig, pid);
        if (was_cancelled && i % 3 == 1) {
            ck_assert_uint_eq(before, after);
        }
        if (was_cancelled) {
            ck_assert_uint_eq(probe_count(&probe), after);
        }
    }
    struct plan none = {.timer = 0};
    act(&rig, pid, cancel, &none);
    ck_assert(!none.cancelled);
    eventually(rig_gauges(&rig).timers == 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* Starts a timer, sleeps until its message must be queued, and cancels it. */
static void cancel_when_due(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    start_once(ctx, plan);
    sleep_ns(30 * MS_NS); /* the watchdog, or a peer, has advanced the wheel meanwhile */
    plan->cancelled = weft_timer_cancel(ctx, plan->timer);
}

/* The same, with the message in the batch: the handler cancels what comes right after it. */
static int cancel_next(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct plan *plans = probe->user;
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER && weft_msg_tag(msg) == 0) {
        ck_assert(weft_timer_cancel(ctx, plans[1].timer));
        ck_assert(!weft_timer_cancel(ctx, plans[0].timer));
    }
    return WEFT_CONTINUE;
}

static void start_two_and_sleep(weft_ctx *ctx, void *arg) {
    struct plan *plans = arg;
    for (uint32_t i = 0; i < 2; i++) {
        plans[i] = (struct plan){.delay_ns = i * 100000, .tag = i};
        start_once(ctx, &plans[i]);
    }
    sleep_ns(5 * MS_NS);
}

START_TEST(a_timer_is_cancelled_exactly_although_its_message_is_queued) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct plan plans[2];
    probe.handler = cancel_next;
    probe.user = plans;
    weft_pid pid = rig_spawn(&rig, &probe);
    for (uint32_t i = 0; i < 5; i++) {
        struct plan plan = {.delay_ns = i * MS_NS, .tag = 7};
        act(&rig, pid, cancel_when_due, &plan);
        ck_assert(plan.cancelled); /* it was not handled before, so it never is */
    }
    for (uint32_t i = 0; i < 20; i++) {
        act(&rig, pid, start_two_and_sleep, plans);
        eventually(probe_count(&probe) == i + 1);
    }
    sleep_ns(5 * MS_NS);
    settle(&rig, pid);
    for (uint32_t i = 0; i < probe_count(&probe); i++) {
        ck_assert_uint_eq(probe_at(&probe, i).tag, 0);
    }
    ck_assert_uint_eq(probe_count(&probe), 20);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void start_after_work(weft_ctx *ctx, void *arg) {
    struct plan *plan = arg;
    uint64_t until_ns = clock_ns() + 3 * MS_NS; /* shorter than the watchdog's period */
    while (clock_ns() < until_ns) {
        weft_pause();
    }
    plan->started_ns = clock_ns();
    plan->result = weft_timer_start(ctx, plan->delay_ns, plan->tag, plan->token, &plan->timer);
}

START_TEST(a_timer_started_late_in_a_long_handler_is_not_early) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    for (uint32_t i = 0; i < 10; i++) {
        struct plan plan = {.delay_ns = 2 * MS_NS};
        act(&rig, pid, start_after_work, &plan);
        eventually(probe_count(&probe) == i + 1);
        ck_assert_uint_ge(probe_at(&probe, i).at_ns - plan.started_ns, plan.delay_ns);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_stale_handle_never_names_a_later_timer) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_timer stale[50];
    for (uint32_t i = 0; i < 50; i++) {
        struct plan plan = {.delay_ns = 3600 * S_NS};
        act(&rig, pid, start_once, &plan);
        stale[i] = plan.timer;
        act(&rig, pid, cancel, &plan);
        ck_assert(plan.cancelled);
    }
    struct plan plan = {.delay_ns = 50 * MS_NS, .tag = 3};
    act(&rig, pid, start_once, &plan);
    for (uint32_t i = 0; i < 50; i++) {
        struct plan old = {.timer = stale[i]};
        act(&rig, pid, cancel, &old);
        ck_assert(!old.cancelled);
    }
    eventually(probe_count(&probe) == 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void sleep_in_handler(weft_ctx *ctx, void *arg) {
    (void)ctx;
    sleep_ns(*(const uint64_t *)arg);
}

START_TEST(a_repeating_timer_keeps_its_phase_and_skips_what_it_missed) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    struct plan plan = {.delay_ns = 999, .tag = 1};
    act(&rig, pid, start_repeat, &plan);
    ck_assert_int_eq(plan.result, -EINVAL);
    plan.delay_ns = 10 * MS_NS;
    act(&rig, pid, start_repeat, &plan);
    ck_assert_int_eq(plan.result, 0);
    eventually(probe_count(&probe) >= 5);
    uint64_t pause_ns = 55 * MS_NS;
    act(&rig, pid, sleep_in_handler, &pause_ns);
    uint32_t enough = probe_count(&probe) + 5;
    eventually(probe_count(&probe) >= enough);
    act(&rig, pid, cancel, &plan);
    ck_assert(plan.cancelled);
    uint32_t count = probe_count(&probe);
    uint64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_TIMER);
        uint64_t tick = (seen.at_ns - plan.started_ns) / plan.delay_ns; /* whole intervals since */
        ck_assert_uint_ge(tick, i + 1);                                 /* never early */
        ck_assert_uint_ge(tick, last);
        last = tick;
    }
    /* The 5 or so that fell into the pause came as one: fewer messages than intervals. */
    ck_assert_uint_le(count + 4, last);
    sleep_ns(25 * MS_NS);
    ck_assert_uint_eq(probe_count(&probe), count);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_delayed_send_reaches_self_others_and_dead_letters) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct probe other = PROBE_INIT;
    struct probe dead_letters = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_pid listener = rig_spawn(&rig, &dead_letters);
    ck_assert_int_eq(weft_dead_letters(rig.runtime, listener), 0);
    weft_pid gone = rig_spawn(&rig, NULL);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, gone), 0);
    eventually(!is_alive(&rig, gone)); /* before it is due, however slow this is */
    struct plan plans[3] = {
        {.delay_ns = 10 * MS_NS, .tag = 1, .token = 11, .target = pid},
        {.delay_ns = 5 * MS_NS, .tag = 2, .token = 22, .target = rig_spawn(&rig, &other)},
        {.delay_ns = 5 * MS_NS, .tag = 3, .token = 33, .target = gone},
    };
    for (uint32_t i = 0; i < 3; i++) {
        act(&rig, pid, send_later, &plans[i]);
        ck_assert_int_eq(plans[i].result, 0);
    }
    struct probe *probes[3] = {&probe, &other, &dead_letters};
    for (uint32_t i = 0; i < 3; i++) {
        eventually(probe_count(probes[i]) == 1);
        struct seen seen = probe_at(probes[i], 0);
        uint64_t token;
        memcpy(&token, seen.data, sizeof(token));
        ck_assert_uint_eq(token, plans[i].token);
        ck_assert_uint_eq(seen.tag, plans[i].tag);
        ck_assert(weft_pid_equal(seen.sender, pid));
        ck_assert_uint_ge(seen.at_ns, plans[i].started_ns + plans[i].delay_ns);
        ck_assert_int_eq(seen.kind, i == 2 ? WEFT_MSG_DEAD : WEFT_MSG_USER);
    }
    struct plan none = {.target = weft_pid_none()};
    act(&rig, pid, send_later, &none);
    ck_assert_int_eq(none.result, WEFT_E_NOPROC);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&other);
    probe_fini(&dead_letters);
}
END_TEST

enum { MANY = 100000 };

static void start_many(weft_ctx *ctx, void *arg) {
    weft_timer *timers = arg;
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(weft_timer_start(ctx, (uint64_t)(i % 1000) * 50000, i, i, &timers[i]), 0);
    }
    for (uint32_t i = 0; i < MANY; i += 4) {
        ck_assert(weft_timer_cancel(ctx, timers[i]));
    }
}

static int count_each(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    uint8_t *fired = probe->user;
    ck_assert_uint_lt(weft_msg_token(msg), MANY);
    fired[weft_msg_token(msg)]++;
    return WEFT_CONTINUE;
}

START_TEST(a_hundred_thousand_timers_of_one_actor_fire_once_each) {
    struct rig rig = rig_start(schedulers_of(_i));
    static uint8_t fired[MANY];
    static weft_timer timers[MANY];
    memset(fired, 0, sizeof(fired));
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER,
                          .counts_only = true,
                          .handler = count_each,
                          .user = fired};
    weft_pid pid = rig_spawn(&rig, &probe);
    act(&rig, pid, start_many, timers);
    eventually(probe_count(&probe) == MANY - MANY / 4);
    settle(&rig, pid);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_uint_eq(fired[i], i % 4 == 0 ? 0 : 1);
    }
    eventually(rig_gauges(&rig).timers == 0);
    rig_stop(&rig);
}
END_TEST

enum { VANISH_MS = 50, VANISH_MS_MAX = 20000 };

/* Three timers of an actor that ends before they are due. False: it did not end in time. */
static bool vanish(struct rig *rig, weft_pid target, uint64_t delay_ns, bool kill) {
    struct probe probe = PROBE_INIT;
    uint32_t exits = (uint32_t)rig_stats(rig).exits;
    weft_pid pid = rig_spawn(rig, &probe);
    struct plan plan = {.delay_ns = delay_ns, .target = target};
    uint64_t before_ns = clock_ns();
    act(rig, pid, start_once, &plan);
    uint64_t started_ns = plan.started_ns < before_ns ? plan.started_ns : before_ns;
    act(rig, pid, start_repeat, &plan);
    act(rig, pid, send_later, &plan);
    ck_assert_int_eq(kill ? weft_runtime_kill_actor(rig->runtime, pid)
                          : weft_runtime_stop_actor(rig->runtime, pid, 0),
                     0);
    eventually(rig_stats(rig).exits == exits + 1);
    bool in_time = clock_ns() - started_ns < delay_ns;
    ck_assert(!in_time || probe_count(&probe) == 0);
    probe_fini(&probe);
    return in_time;
}

START_TEST(timers_of_an_ended_actor_vanish) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe other = PROBE_INIT;
    weft_pid target = rig_spawn(&rig, &other);
    uint64_t delay_ms = VANISH_MS; /* the slower the machine, the longer */
    uint32_t late = 0;
    for (uint32_t round = 0; round < 20;) {
        ck_assert_uint_le(delay_ms, VANISH_MS_MAX);
        bool in_time = vanish(&rig, target, delay_ms * MS_NS, round % 2 == 0);
        round += in_time ? 1 : 0;
        late += in_time ? 0 : 1;
        delay_ms *= in_time ? 1 : 2;
    }
    eventually(rig_gauges(&rig).timers == 0);
    sleep_ns((delay_ms + 10) * MS_NS);
    settle(&rig, target);
    ck_assert_uint_le(probe_count(&other), late);
    struct plan plan = {.delay_ns = 3600 * S_NS}; /* and one that the stop has to remove */
    act(&rig, target, start_once, &plan);
    rig_stop(&rig);
    probe_fini(&other);
}
END_TEST

START_TEST(timers_of_one_actor_are_limited) {
    weft_config config = rig_config(1);
    config.timers_max = 10;
    struct rig rig = rig_start_with(&config);
    weft_pid pid = rig_spawn(&rig, NULL);
    struct plan plan = {.delay_ns = 3600 * S_NS, .target = pid};
    for (uint32_t i = 0; i < 10; i++) {
        act(&rig, pid, i % 3 == 0 ? start_once : i % 3 == 1 ? start_repeat : send_later, &plan);
        ck_assert_int_eq(plan.result, 0);
    }
    struct plan more = {.delay_ns = 3600 * S_NS, .target = pid};
    act(&rig, pid, start_once, &more);
    ck_assert_int_eq(more.result, WEFT_E_LIMIT);
    act(&rig, pid, start_repeat, &more);
    ck_assert_int_eq(more.result, WEFT_E_LIMIT);
    act(&rig, pid, send_later, &more);
    ck_assert_int_eq(more.result, WEFT_E_LIMIT);
    act(&rig, pid, cancel, &plan);
    ck_assert(plan.cancelled);
    act(&rig, pid, start_once, &more);
    ck_assert_int_eq(more.result, 0);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("timer");
    TCase *tcase = tcase_create("timer");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_timer_fires_once_not_early_with_tag_and_token, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_cancelled_timer_never_fires, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_timer_is_cancelled_exactly_although_its_message_is_queued, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_stale_handle_never_names_a_later_timer, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_repeating_timer_keeps_its_phase_and_skips_what_it_missed, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_delayed_send_reaches_self_others_and_dead_letters, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_hundred_thousand_timers_of_one_actor_fire_once_each, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, timers_of_an_ended_actor_vanish, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, timers_of_one_actor_are_limited);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("open");
    tcase_set_timeout(tcase, 180);
    tcase_set_tags(tcase, "open");
    tcase_add_loop_test(tcase, a_timer_started_late_in_a_long_handler_is_not_early, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
