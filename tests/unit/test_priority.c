/* SPDX-License-Identifier: MIT
 *
 * Priorities of actors: who runs first, that nobody starves, who is stolen first, and that nothing
 * is lost on the way (pinned actors, the inbox, the overflow queue, used-up budgets, a stuck
 * handler, a stop).
 */
#include "priority_support.h"

/* ---- arguments ----------------------------------------------------------------------------- */

START_TEST(wrong_priorities_are_refused) {
    struct rig rig = rig_start(1);
    weft_type_def def = puppet_def("wrong");
    const weft_type *type = NULL;
    for (uint32_t i = 3; i != 0; i = i == 3 ? UINT32_MAX : 0) {
        def.priority = i;
        ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
        weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT, .priority = i};
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    }
    rig_stop(&rig);
}
END_TEST

struct spawning {
    const weft_type *type;
    uint32_t priority;
    int result;
    weft_pid pid;
};

static void spawn_job(weft_ctx *ctx, void *arg) {
    struct spawning *spawning = arg;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .priority = spawning->priority};
    spawning->result = weft_spawn_with(ctx, spawning->type, &options, &spawning->pid);
}

static void spawn_plain_job(weft_ctx *ctx, void *arg) {
    struct spawning *spawning = arg;
    spawning->result = weft_spawn(ctx, spawning->type, NULL, 0, &spawning->pid);
}

/* What a spawn's first turn and one more count as. */
static void check_turns(struct rig *rig, weft_pid driver, struct spawning *spawning, job_fn fn,
                        uint32_t expected) {
    weft_stats before = rig_stats(rig);
    act(rig, driver, fn, spawning);
    ck_assert_int_eq(spawning->result, 0);
    settle(rig, spawning->pid);
    weft_stats after = rig_stats(rig);
    uint64_t high = after.runs_high - before.runs_high;
    uint64_t low = after.runs_low - before.runs_low;
    ck_assert((high != 0) == (expected == WEFT_PRIORITY_HIGH));
    ck_assert((low != 0) == (expected == WEFT_PRIORITY_LOW));
}

START_TEST(the_type_decides_unless_the_spawn_does) {
    struct rig rig = rig_start(1);
    weft_pid driver = rig_spawn(&rig, NULL);
    static const char *const names[] = {"normal", "high", "low"};
    for (uint32_t of_type = 0; of_type <= WEFT_PRIORITY_LOW; of_type++) {
        weft_type_def def = puppet_def(names[of_type]);
        def.priority = of_type;
        struct spawning spawning = {.type = rig_type(&rig, &def)};
        check_turns(&rig, driver, &spawning, spawn_plain_job, of_type);
        for (uint32_t given = 0; given <= WEFT_PRIORITY_LOW; given++) {
            spawning.priority = given;
            check_turns(&rig, driver, &spawning, spawn_job, given == 0 ? of_type : given);
        }
    }
    rig_stop(&rig);
}
END_TEST

/* A definition and options of a program that knows no priorities yet. */
START_TEST(an_older_definition_is_normal) {
    struct rig rig = rig_start(1);
    weft_type_def def = puppet_def("older");
    def.priority = WEFT_PRIORITY_HIGH;
    def.struct_size = offsetof(weft_type_def, priority);
    struct spawning spawning = {.type = rig_type(&rig, &def)};
    check_turns(&rig, rig_spawn(&rig, NULL), &spawning, spawn_plain_job, WEFT_PRIORITY_NORMAL);
    rig_stop(&rig);
}
END_TEST

static int virtual_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

START_TEST(a_virtual_actor_has_the_priority_of_its_type) {
    struct rig rig = rig_start(1);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "virtual",
                         .receive = virtual_receive,
                         .priority = WEFT_PRIORITY_LOW};
    const weft_capability *capability = NULL;
    ck_assert_int_eq(weft_capability_add(rig.runtime, "virtual", &capability), 0);
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = capability,
                             .type = rig_type(&rig, &def),
                             .id = "one",
                             .id_size = 3};
    ck_assert_int_eq(weft_runtime_vcast(rig.runtime, &request, NULL), 0);
    eventually(rig_stats(&rig).runs_low == 1);
    rig_stop(&rig);
}
END_TEST

/* ---- order --------------------------------------------------------------------------------- */

/* Case 1: all pinned. */
START_TEST(high_before_normal_before_low) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 60);
    struct place place = {.scheduler = 1, .pin = _i == 1};
    for (uint32_t i = 0; i < 20; i++) { /* woken in the wrong order */
        (void)add_at(&stage, LOW, place);
    }
    for (uint32_t i = 0; i < 20; i++) {
        (void)add_at(&stage, NORMAL, place);
    }
    for (uint32_t i = 0; i < HIGH_MAX; i++) {
        (void)add_at(&stage, HIGH, place);
    }
    wake_all(&stage);
    eventually(log_count() == stage.count);
    ck_assert_uint_eq(count_class(HIGH, 0, HIGH_MAX), HIGH_MAX);
    ck_assert_uint_eq(count_class(NORMAL, HIGH_MAX, HIGH_MAX + 20), 20);
    for (uint32_t i = 1; i < 20; i++) { /* first in, first out */
        uint32_t low = HIGH_MAX + 20 + i;
        ck_assert_uint_eq(log_at(low).number, log_at(low - 1).number + 1);
    }
    for (uint32_t i = 1; i < HIGH_MAX; i++) {
        ck_assert_uint_eq(log_at(i).number, log_at(i - 1).number + 1);
    }
    weft_stats stats = rig_stats(&stage.rig);
    ck_assert_uint_ge(stats.runs_high, 2 * HIGH_MAX); /* with that of init */
    ck_assert_uint_ge(stats.runs_low, 2 * 20);
    stage_stop(&stage);
}
END_TEST

/* Pinned ones and others of one priority take turns. */
START_TEST(pinned_and_unpinned_of_one_priority_alternate) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 40);
    enum class class = _i == 0 ? HIGH : LOW;
    for (uint32_t i = 0; i < 40; i++) {
        (void)add_at(&stage, class, (struct place){.scheduler = 1, .pin = i < 20});
    }
    wake_all(&stage);
    eventually(log_count() == stage.count);
    uint32_t pinned = 0;
    for (uint32_t i = 0; i < 20; i++) {
        pinned += log_at(i).number < 20 ? 1 : 0;
    }
    ck_assert_uint_ge(pinned, 8);
    ck_assert_uint_ge(20 - pinned, 8);
    stage_stop(&stage);
}
END_TEST

/* ---- starvation ---------------------------------------------------------------------------- */

enum { WAITING = 20, ROUNDS = 2000 };

START_TEST(normal_ones_get_a_turn_after_eight_high_ones) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 2 + WAITING);
    (void)add_pair(&stage, HIGH, ROUNDS);
    for (uint32_t i = 0; i < WAITING; i++) {
        (void)add_at(&stage, NORMAL, (struct place){.scheduler = 1, .pin = _i == 1});
    }
    wake_all(&stage);
    eventually(log_count() == 1 + 2 * ROUNDS + WAITING);
    uint32_t end = last_of(NORMAL, log_count());
    ck_assert_uint_eq(longest_wait(NORMAL, end), HIGH_MAX);
    /* and no more than that, but for when the machine did something else */
    ck_assert_uint_ge(count_class(HIGH, 0, end), WAITING * HIGH_MAX / 2);
    stage_stop(&stage);
}
END_TEST

START_TEST(low_ones_get_a_turn_after_64_others) {
    enum class class = _i == 0 ? NORMAL : HIGH;
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 2 + WAITING);
    (void)add_pair(&stage, class, ROUNDS);
    add_many(&stage, LOW, WAITING);
    wake_all(&stage);
    eventually(log_count() == 1 + 2 * ROUNDS + WAITING);
    uint32_t end = last_of(LOW, log_count());
    ck_assert_uint_eq(longest_wait(LOW, end), LOW_MAX);
    ck_assert_uint_ge(count_class(class, 0, end), WAITING * LOW_MAX / 2);
    stage_stop(&stage);
}
END_TEST

/* All three at once, the high and the normal ones without an end. */
START_TEST(everybody_comes_to_his_turn) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 4 + WAITING);
    (void)add_pair(&stage, HIGH, UINT32_MAX);
    (void)add_pair(&stage, NORMAL, UINT32_MAX);
    add_many(&stage, LOW, WAITING);
    wake_all(&stage);
    eventually(log_count() >= LOG_MAX);
    uint32_t low_end = last_of(LOW, LOG_MAX);
    ck_assert_uint_eq(count_class(LOW, 0, LOG_MAX), WAITING);
    ck_assert_uint_le(longest_wait(LOW, low_end), LOW_MAX);
    ck_assert_uint_le(longest_wait(NORMAL, LOG_MAX), HIGH_MAX + 1); /* a low one among them */
    uint32_t high = count_class(HIGH, 0, LOG_MAX);
    ck_assert_uint_ge(high, LOG_MAX / 2);
    stage_stop(&stage);
}
END_TEST

/* Those that any scheduler may run, and those of this one alone, all busy without an end: few of
 * either kind beside many of the other get as many turns each. */
START_TEST(few_beside_many_pinned_ones_come_to_their_turn) {
    static const uint32_t counts[][2] = {{2, 1}, {20, 1}, {1, 20}, {7, 3}, {500, 2}, {1, 60}};
    uint32_t pinned = counts[_i / CLASSES][0];
    uint32_t all = pinned + counts[_i / CLASSES][1];
    weft_config config = lonely_config();
    config.lifo_none = true;
    config.budget = 1;
    struct stage stage = stage_start(&config, all);
    uint32_t *turns = calloc(all, sizeof(*turns));
    ck_assert_ptr_nonnull(turns);
    for (uint32_t i = 0; i < all; i++) {
        struct runner *runner = add_at(&stage, (enum class)(_i % CLASSES),
                                       (struct place){.scheduler = 1, .pin = i < pinned});
        runner->partner = runner->pid;
        weft_store32_relaxed(&runner->hops, UINT32_MAX);
    }
    wake_all(&stage);
    eventually(log_count() >= LOG_MAX);
    for (uint32_t i = 0; i < LOG_MAX; i++) {
        turns[log_at(i).number]++;
    }
    for (uint32_t i = 0; i < all; i++) {
        ck_assert_uint_ge(turns[i], LOG_MAX / all / 2);
        ck_assert_uint_le(turns[i], LOG_MAX / all * 2);
    }
    stage_stop(&stage);
    free(turns);
}
END_TEST

/* Handlers of 2 ms: 10 ms are over before the turns are counted out. */
START_TEST(long_turns_are_bounded_by_time) {
    enum class busy = _i == 0 ? HIGH : NORMAL;
    enum class waits = _i == 0 ? NORMAL : LOW;
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 5);
    struct runner *left = add_pair(&stage, busy, 20);
    left[0].spin_ns = left[1].spin_ns = 2 * MS_NS;
    add_many(&stage, waits, 3);
    wake_all(&stage);
    eventually(log_count() == 4 + 40);
    uint32_t end = last_of(waits, log_count());
    ck_assert_uint_le(longest_wait(waits, end), _i == 0 ? 6 : 8);
    stage_stop(&stage);
}
END_TEST

/* Turns of low ones that take long do not use up the time of others. */
START_TEST(a_long_low_turn_is_followed_by_others) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, 4);
    (void)add_pair(&stage, NORMAL, 1000);
    struct runner *low = add_pair(&stage, LOW, 5);
    low[0].spin_ns = low[1].spin_ns = 20 * MS_NS;
    wake_all(&stage);
    eventually(log_count() == 2 + 2000 + 10);
    uint32_t end = last_of(LOW, log_count());
    uint32_t lows = count_class(LOW, 0, end);
    ck_assert_uint_eq(lows, 11);
    ck_assert_uint_ge(count_class(NORMAL, 0, end), 5 * LOW_MAX);
    stage_stop(&stage);
}
END_TEST

/* ---- budgets ------------------------------------------------------------------------------- */

enum { MESSAGES = 4000, BUDGET = 4 };

static void flood_job(weft_ctx *ctx, void *arg) {
    struct wake *wake = arg;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        ck_assert_int_eq(weft_send(ctx, wake->list[0].pid, TAG_GO, NULL, 0), 0);
    }
    wake_job(ctx, arg);
}

START_TEST(who_has_used_up_his_budget_waits_among_his_like) {
    weft_config config = lonely_config();
    config.budget = BUDGET;
    struct stage stage = stage_start(&config, 1 + WAITING);
    enum class class = _i == 0 ? HIGH : LOW;
    (void)add(&stage, class);
    add_many(&stage, NORMAL, WAITING);
    quiet(&stage);
    struct wake wake = {.list = stage.runners, .count = stage.count};
    act(&stage.rig, stage.driver, flood_job, &wake);
    eventually(log_count() == MESSAGES + 1 + WAITING);
    uint32_t end = last_of(NORMAL, log_count());
    if (class == LOW) {
        ck_assert_uint_eq(end, WAITING); /* all before its first */
    } else {
        ck_assert(log_at(0).class == HIGH);
        ck_assert_uint_le(longest_wait(NORMAL, end), HIGH_MAX * BUDGET * 16);
        ck_assert_uint_ge(count_class(HIGH, 0, end), MESSAGES / 2);
    }
    stage_stop(&stage);
}
END_TEST

/* ---- in a crowd ---------------------------------------------------------------------------- */

/* One of a crowd of normal actors wakes a high one: it is the next to run. */
START_TEST(a_high_one_that_a_crowd_wakes_runs_next) {
    weft_config config = lonely_config();
    struct stage stage = stage_start(&config, CROWD + 1);
    add_many(&stage, NORMAL, CROWD);
    struct runner *high = add(&stage, HIGH);
    struct runner *waker = &stage.runners[CROWD / 2];
    waker->partner = high->pid;
    weft_store32_relaxed(&waker->hops, 1);
    wake_first(&stage, CROWD);
    eventually(log_count() == CROWD + 1);
    ck_assert_uint_eq(weft_load32_acquire(&high->place), weft_load32_acquire(&waker->place) + 1);
    stage_stop(&stage);
}
END_TEST

enum { SENDS = 100 };

static int compare_u64(const void *left, const void *right) {
    uint64_t first = *(const uint64_t *)left;
    uint64_t second = *(const uint64_t *)right;
    return first < second ? -1 : first > second;
}

static void send_job(weft_ctx *ctx, void *arg) {
    weft_pid *pid = arg;
    ck_assert_int_eq(weft_send(ctx, *pid, TAG_GO, NULL, 0), 0);
}

/* Sends SENDS messages to one actor while the crowd keeps the first scheduler busy, from outside or
 * from an actor of the second one. The most turns that came between, and how long each took. */
static uint32_t send_into_crowd(struct stage *stage, struct runner *target, bool outside,
                                uint64_t *ret_took_ns) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < SENDS; i++) {
        weft_store32_release(&target->place, 0);
        uint64_t sent_ns = clock_ns();
        if (outside) {
            ck_assert_int_eq(weft_runtime_send(stage->rig.runtime, target->pid, TAG_GO, NULL, 0),
                             0);
        } else {
            act(&stage->rig, stage->driver, send_job, &target->pid);
        }
        uint32_t sent = log_count();
        eventually(weft_load32_acquire(&target->place) != 0);
        uint32_t place = weft_load32_acquire(&target->place);
        ret_took_ns[i] = weft_load64_relaxed(&target->at_ns) - sent_ns;
        most = place > sent && place - sent > most ? place - sent : most;
    }
    qsort(ret_took_ns, SENDS, sizeof(*ret_took_ns), compare_u64);
    return most;
}

/* Case 0: from outside; case 1: pinned, from an actor of another scheduler. The crowd is a thousand
 * actors, each of which wakes the next but some: all of them wait all the time. */
START_TEST(a_high_one_in_a_crowd_need_not_wait) {
    weft_config config = rig_config(_i == 0 ? 1 : 2);
    config.steal = WEFT_STEAL_NONE;
    config.watchdog_none = true;
    enum { PAIRS = 500 };
    struct stage stage = stage_start(&config, 2 * PAIRS + 2);
    struct place first = {.scheduler = 1, .pin = _i == 1};
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        struct runner *runner = add_at(&stage, NORMAL, first);
        runner->spin_ns = 2000;
        runner->partner = runner->pid;
        if (i % 2 == 1) {
            runner->partner = runner[-1].pid;
            runner[-1].partner = runner->pid;
        }
        weft_store32_relaxed(&runner->hops, UINT32_MAX);
    }
    struct runner *high = add_at(&stage, HIGH, first);
    struct runner *normal = add_at(&stage, NORMAL, first);
    quiet(&stage);
    if (_i == 1) {
        pin_driver(&stage, 2);
    }
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        ck_assert_int_eq(
            weft_runtime_send(stage.rig.runtime, stage.runners[i].pid, TAG_GO, NULL, 0), 0);
    }
    eventually(log_count() > 10 * PAIRS);
    uint64_t high_ns[SENDS];
    uint64_t normal_ns[SENDS];
    uint32_t high_most = send_into_crowd(&stage, high, _i == 0, high_ns);
    uint32_t normal_most = send_into_crowd(&stage, normal, _i == 0, normal_ns);
    printf("%s, 1,000 busy actors of 2 us: high after %u turns at most, %.0f us (median), %.0f "
           "(90 %%); normal %u, %.0f, %.0f\n",
           _i == 0 ? "from outside" : "from another scheduler", high_most,
           (double)high_ns[SENDS / 2] / 1e3, (double)high_ns[SENDS * 9 / 10] / 1e3, normal_most,
           (double)normal_ns[SENDS / 2] / 1e3, (double)normal_ns[SENDS * 9 / 10] / 1e3);
    ck_assert_uint_le(high_most, 4);
    ck_assert_uint_ge(normal_most, PAIRS);
    stage_stop(&stage);
}
END_TEST

/* ---- more than one scheduler --------------------------------------------------------------- */

/* All wait behind a handler of the first scheduler; the second one has nothing else to do. */
START_TEST(high_ones_are_stolen_first_and_low_ones_last) {
    enum { EACH = 100 };
    weft_config config = rig_config(2);
    config.watchdog_none = true;
    config.lifo_none = true; /* what is there cannot be stolen */
    struct stage stage = stage_start(&config, 3 * EACH + 1);
    struct probe here = PROBE_INIT;
    struct probe there = PROBE_INIT;
    add_many(&stage, LOW, EACH);
    add_many(&stage, NORMAL, EACH);
    add_many(&stage, HIGH, EACH);
    quiet(&stage);
    struct runner *blocker = add_at(&stage, NORMAL, (struct place){.scheduler = 2, .pin = true});
    blocker->gate = &there;
    pin_driver(&stage, 1);
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, blocker->pid, TAG_GO, NULL, 0), 0);
    eventually(weft_load32_acquire(&there.inside) != 0);
    struct wake wake = {.list = stage.runners, .count = 3 * EACH, .gate = &here};
    struct acting acting = {.stage = &stage, .fn = wake_job, .arg = &wake};
    act_begin(&acting);
    eventually(weft_load32_acquire(&here.inside) != 0);
    weft_store32_release(&there.gate, 1); /* the second scheduler is free */
    eventually(log_count() == 1 + 3 * EACH);
    ck_assert_uint_eq(count_class(HIGH, 1, 1 + EACH), EACH);
    ck_assert_uint_eq(count_class(NORMAL, 1 + EACH, 1 + 2 * EACH), EACH);
    ck_assert_uint_eq(count_class(LOW, 1 + 2 * EACH, 1 + 3 * EACH), EACH);
    for (uint32_t i = 1; i <= 3 * EACH; i++) {
        ck_assert_uint_eq(log_at(i).scheduler, 2);
    }
    weft_store32_release(&here.gate, 1);
    act_end(&acting);
    stage_stop(&stage);
}
END_TEST

/* Two are woken at once on the first scheduler, and the handler of the first one does not return:
 * the second scheduler, which sleeps, is woken for the other one, without a watchdog. */
START_TEST(an_idle_scheduler_is_woken_for_who_waits) {
    static const struct {
        enum class first;
        enum class second;
    } cases[] = {{HIGH, HIGH}, {LOW, LOW}, {NORMAL, LOW}, {HIGH, LOW}};
    weft_config config = rig_config(2);
    config.watchdog_none = true;
    config.spin_none = true;
    struct stage stage = stage_start(&config, 2);
    struct probe gate = PROBE_INIT;
    struct runner *first = add(&stage, cases[_i].first);
    struct runner *second = add(&stage, cases[_i].second);
    first->gate = &gate;
    quiet(&stage);
    pin_driver(&stage, 1);
    eventually(rig_gauges(&stage.rig).schedulers_parked == 2);
    wake_all(&stage);
    eventually(weft_load32_acquire(&second->place) != 0);
    ck_assert_uint_eq(log_at(0).scheduler + log_at(1).scheduler, 3);
    weft_store32_release(&gate.gate, 1);
    stage_stop(&stage);
}
END_TEST

/* The first scheduler is stuck in a handler that has woken a high actor; the second one is busy with
 * normal ones all the time. */
START_TEST(a_high_one_behind_a_stuck_handler_runs_on_a_busy_scheduler) {
    weft_config config = rig_config(2);
    struct stage stage = stage_start(&config, 3);
    struct probe here = PROBE_INIT;
    struct runner *high = add(&stage, HIGH);
    struct place second = {.scheduler = 2, .pin = true};
    struct runner *left = add_at(&stage, NORMAL, second);
    struct runner *right = add_at(&stage, NORMAL, second);
    left->partner = right->pid;
    right->partner = left->pid;
    weft_store32_relaxed(&left->hops, UINT32_MAX);
    weft_store32_relaxed(&right->hops, UINT32_MAX);
    quiet(&stage);
    pin_driver(&stage, 1);
    ck_assert_int_eq(weft_runtime_send(stage.rig.runtime, left->pid, TAG_GO, NULL, 0), 0);
    struct wake wake = {.list = high, .count = 1, .gate = &here};
    struct acting acting = {.stage = &stage, .fn = wake_job, .arg = &wake};
    uint32_t before = log_count();
    act_begin(&acting);
    eventually(weft_load32_acquire(&here.inside) != 0);
    eventually(weft_load32_acquire(&high->place) != 0);
    ck_assert_uint_gt(log_count(), before);
    weft_store32_release(&here.gate, 1);
    act_end(&acting);
    ck_assert_uint_ge(rig_stats(&stage.rig).rescued, 1);
    stage_stop(&stage);
}
END_TEST

/* More than fit into any ring, woken at once. */
START_TEST(nobody_is_lost_in_the_overflow_queue) {
    enum { EACH = 3000 };
    weft_config config = rig_config(schedulers_of(_i));
    config.ring_size = 64;
    struct stage stage = stage_start(&config, 3 * EACH);
    for (uint32_t i = 0; i < EACH; i++) {
        add_many(&stage, LOW, 1);
        add_many(&stage, HIGH, 1);
        add_many(&stage, NORMAL, 1);
    }
    wake_all(&stage);
    eventually(log_count() == 3 * EACH);
    for (uint32_t i = 0; i < 3 * EACH; i++) {
        eventually(weft_load32_acquire(&stage.runners[i].place) != 0);
    }
    weft_stats stats = rig_stats(&stage.rig);
    ck_assert_uint_gt(stats.overflows, 0);
    ck_assert_uint_ge(stats.runs_high, 2 * EACH);
    ck_assert_uint_ge(stats.runs_low, 2 * EACH);
    stage_stop(&stage);
}
END_TEST

/* Many pairs of all priorities, some pinned, on few or many schedulers; each has a bounded number
 * of messages to pass. */
START_TEST(no_message_is_lost_among_priorities) {
    enum { PAIRS = 60, HOPS = 500 };
    uint32_t schedulers = schedulers_of(_i);
    weft_config config = rig_config(schedulers);
    struct stage stage = stage_start(&config, 2 * PAIRS);
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        struct place place = {.scheduler = 1 + i % schedulers, .pin = i % 5 == 0};
        (void)add_at(&stage, (enum class)(i % 7 % CLASSES), place);
    }
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        struct runner *runner = &stage.runners[i];
        runner->partner = stage.runners[(i * 37 + 11) % (2 * PAIRS)].pid; /* a permutation */
        weft_store32_relaxed(&runner->hops, HOPS);
    }
    wake_all(&stage);
    eventually(log_count() == 2 * PAIRS * (1 + HOPS));
    stage_stop(&stage);
}
END_TEST

/* Actors that go on for ever, of all priorities: a stop reaches them and those that wait. */
START_TEST(a_stop_reaches_everybody) {
    uint32_t schedulers = schedulers_of(_i);
    weft_config config = rig_config(schedulers);
    struct stage stage = stage_start(&config, 6 * schedulers + 3 * 100);
    for (uint32_t i = 0; i < schedulers; i++) {
        (void)add_pair(&stage, HIGH, UINT32_MAX);
        (void)add_pair(&stage, NORMAL, UINT32_MAX);
        (void)add_pair(&stage, LOW, UINT32_MAX);
    }
    add_many(&stage, LOW, 100);
    add_many(&stage, NORMAL, 100);
    add_many(&stage, HIGH, 100);
    wake_all(&stage);
    eventually(log_count() > 1000);
    stage_stop(&stage);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("priority");
    TCase *tcase = tcase_create("priority");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, wrong_priorities_are_refused);
    tcase_add_test(tcase, the_type_decides_unless_the_spawn_does);
    tcase_add_test(tcase, an_older_definition_is_normal);
    tcase_add_test(tcase, a_virtual_actor_has_the_priority_of_its_type);
    tcase_add_loop_test(tcase, high_before_normal_before_low, 0, 2);
    tcase_add_loop_test(tcase, pinned_and_unpinned_of_one_priority_alternate, 0, 2);
    tcase_add_loop_test(tcase, normal_ones_get_a_turn_after_eight_high_ones, 0, 2);
    tcase_add_loop_test(tcase, low_ones_get_a_turn_after_64_others, 0, 2);
    tcase_add_test(tcase, everybody_comes_to_his_turn);
    tcase_add_loop_test(tcase, few_beside_many_pinned_ones_come_to_their_turn, 0, 6 * CLASSES);
    tcase_add_loop_test(tcase, long_turns_are_bounded_by_time, 0, 2);
    tcase_add_test(tcase, a_long_low_turn_is_followed_by_others);
    tcase_add_loop_test(tcase, who_has_used_up_his_budget_waits_among_his_like, 0, 2);
    tcase_add_test(tcase, a_high_one_that_a_crowd_wakes_runs_next);
    tcase_add_loop_test(tcase, a_high_one_in_a_crowd_need_not_wait, 0, 2);
    tcase_add_test(tcase, high_ones_are_stolen_first_and_low_ones_last);
    tcase_add_loop_test(tcase, an_idle_scheduler_is_woken_for_who_waits, 0, 4);
    tcase_add_test(tcase, a_high_one_behind_a_stuck_handler_runs_on_a_busy_scheduler);
    tcase_add_loop_test(tcase, nobody_is_lost_in_the_overflow_queue, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, no_message_is_lost_among_priorities, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_stop_reaches_everybody, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
