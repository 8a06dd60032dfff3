/* SPDX-License-Identifier: MIT
 *
 * The timer wheel against a list that is searched: random starts, cancels and clock steps over all
 * levels; never early, never late, never twice, never lost.
 */
#include "core/prng.h"
#include "core/wheel.h"
#include "tests/unit/support.h"

enum { TIMERS = 3000 };

#define TICK_NS (UINT64_C(1) << WEFT__WHEEL_TICK_SHIFT)

/* What the test knows of one timer. */
struct known {
    bool armed;
    uint64_t due_ns;
    struct weft__armed handle;
};

struct bench {
    struct weft__core core;
    struct weft__arena entries;
    struct weft__wheel wheel;
    weft_env *env;
    uint64_t now_ns;
    uint64_t fired;
    uint32_t refuse; /* so many deliveries fail */
    struct known timers[TIMERS];
};

static struct bench bench;

static void bench_start(uint64_t now_ns) {
    memset(&bench, 0, sizeof(bench));
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 64 << 20;
    ck_assert_int_eq(weft_env_os_create(&bench.env), 0);
    ck_assert_int_eq(weft__core_init(&bench.core, &config, bench.env), 0);
    ck_assert_int_eq(
        weft__arena_init(&bench.entries, 64 << 20, WEFT__WHEEL_PIECE_BYTES, "entries", false), 0);
    weft__wheel_init(&bench.wheel, &bench.core, &bench.entries, now_ns);
    bench.now_ns = now_ns;
}

static void bench_stop(void) {
    weft__arena_fini(&bench.entries);
    weft__core_fini(&bench.core);
    weft_env_os_destroy(&bench.env);
}

static uint64_t pending(void) {
    return weft_load64_relaxed(&bench.wheel.pending);
}

static void arm(uint32_t id, uint64_t due_ns) {
    struct known *known = &bench.timers[id];
    ck_assert(!known->armed);
    struct weft__alarm alarm = {.due_ns = due_ns, .slot = id + 7, .slot_gen = id * 3, .timer = id};
    ck_assert_int_eq(weft__wheel_arm(&bench.wheel, &alarm, &known->handle), 0);
    ck_assert_uint_ne(known->handle.entry, 0);
    known->armed = true;
    known->due_ns = due_ns;
}

static bool fire(void *arg, const struct weft__entry *entry, uint32_t index, uint32_t state) {
    ck_assert_ptr_eq(arg, &bench);
    uint32_t id = entry->timer;
    ck_assert_uint_lt(id, TIMERS);
    struct known *known = &bench.timers[id];
    ck_assert(known->armed);
    ck_assert_uint_le(known->due_ns, bench.now_ns); /* never early */
    ck_assert_uint_eq(entry->due_ns, known->due_ns);
    ck_assert_uint_eq(entry->slot, id + 7);
    ck_assert_uint_eq(entry->slot_gen, id * 3);
    ck_assert_uint_eq(index, known->handle.entry);
    ck_assert_uint_eq(state, known->handle.state);
    if (bench.refuse > 0) {
        bench.refuse--;
        return false;
    }
    known->armed = false;
    bench.fired++;
    return true;
}

static uint32_t advance_to(uint64_t now_ns, uint32_t limit) {
    ck_assert_uint_ge(now_ns, bench.now_ns);
    bench.now_ns = now_ns;
    return weft__wheel_advance(&bench.wheel, now_ns, limit, fire, &bench);
}

/* Everything that is due by a whole tick has fired; next_ns is not after the first one left. */
static void check_against_list(void) {
    uint64_t first_ns = UINT64_MAX;
    uint64_t armed = 0;
    for (uint32_t id = 0; id < TIMERS; id++) {
        const struct known *known = &bench.timers[id];
        if (known->armed) {
            armed++;
            ck_assert_uint_gt(weft_add_saturated(known->due_ns, TICK_NS), bench.now_ns);
            first_ns = weft_min_u64(first_ns, known->due_ns);
        }
    }
    ck_assert_uint_eq(pending(), armed);
    uint64_t next_ns = weft__wheel_next_ns(&bench.wheel);
    if (armed == 0) {
        ck_assert_uint_eq(next_ns, UINT64_MAX);
        return;
    }
    ck_assert_uint_lt(
        next_ns, weft_max_u64(weft_add_saturated(first_ns, TICK_NS), bench.now_ns + 2 * TICK_NS));
}

/* A delay of any level. */
static uint64_t random_delay(struct weft__prng *prng) {
    uint32_t bits = weft__prng_below(prng, 62);
    return weft__prng_next(prng) & ((UINT64_C(1) << bits) - 1);
}

START_TEST(random_operations_agree_with_a_list) {
    struct weft__prng prng;
    weft__prng_init(&prng, 77, (uint64_t)_i);
    bench_start(weft__prng_next(&prng) >> (_i * 4 + 4));
    for (uint32_t step = 0; step < 4000; step++) {
        uint32_t burst = weft__prng_below(&prng, 40);
        for (uint32_t i = 0; i < burst; i++) {
            uint32_t id = weft__prng_below(&prng, TIMERS);
            struct known *known = &bench.timers[id];
            if (!known->armed) {
                arm(id, weft_add_saturated(bench.now_ns, random_delay(&prng)));
            } else if (weft__prng_below(&prng, 2) == 0) {
                ck_assert(weft__wheel_cancel(&bench.wheel, &known->handle));
                ck_assert(!weft__wheel_cancel(&bench.wheel, &known->handle));
                known->armed = false;
            }
        }
        uint64_t step_ns = random_delay(&prng) >> weft__prng_below(&prng, 32);
        uint64_t next_ns = weft__wheel_next_ns(&bench.wheel);
        uint64_t target_ns = weft_add_saturated(bench.now_ns, step_ns);
        if (weft__prng_below(&prng, 3) == 0 && next_ns >= bench.now_ns && next_ns != UINT64_MAX) {
            target_ns = next_ns;
        }
        if (target_ns > UINT64_MAX - 10 * TICK_NS) {
            break;
        }
        (void)advance_to(target_ns, UINT32_MAX);
        if (step % 16 == 0) {
            check_against_list();
        }
    }
    weft__wheel_collect(&bench.wheel);
    check_against_list();
    ck_assert_uint_gt(bench.fired, 1000);
    bench_stop();
}
END_TEST

START_TEST(a_timer_fires_in_the_tick_it_is_due_on_every_level) {
    for (uint32_t bits = 0; bits < 60; bits++) {
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t start_ns = UINT64_C(123456789012345);
            bench_start(start_ns);
            uint64_t due_ns = start_ns + (UINT64_C(1) << bits) + (uint64_t)off;
            arm(0, due_ns);
            /* Follow next_ns as a scheduler does: bounded by the levels. */
            for (uint32_t hops = 0; bench.timers[0].armed; hops++) {
                ck_assert_uint_lt(hops, 16);
                uint64_t next_ns = weft__wheel_next_ns(&bench.wheel);
                ck_assert_uint_lt(next_ns, weft_max_u64(due_ns, bench.now_ns) + 2 * TICK_NS);
                (void)advance_to(weft_max_u64(next_ns, bench.now_ns), UINT32_MAX);
            }
            ck_assert_uint_lt(bench.now_ns, due_ns + 2 * TICK_NS);
            ck_assert_uint_eq(pending(), 0);
            bench_stop();
        }
    }
}
END_TEST

START_TEST(one_jump_of_the_clock_fires_all_that_is_due_and_nothing_else) {
    bench_start(999);
    for (uint32_t id = 0; id < 1000; id++) {
        arm(id, 1000 + (uint64_t)id * 1000 * 1000 * 1000);
    }
    (void)advance_to(UINT64_C(500) * 1000 * 1000 * 1000 + 1000 + TICK_NS, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 501);
    check_against_list();
    (void)advance_to(UINT64_C(2000) * 1000 * 1000 * 1000, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 1000);
    check_against_list();
    bench_stop();
}
END_TEST

START_TEST(a_timer_that_is_due_already_fires_at_the_next_tick) {
    bench_start(UINT64_C(1) << 40);
    arm(0, 0);
    arm(1, bench.now_ns);
    arm(2, bench.now_ns - 1);
    ck_assert_uint_eq(advance_to(bench.now_ns, UINT32_MAX), 0);
    ck_assert_uint_eq(advance_to(bench.now_ns + 2 * TICK_NS, UINT32_MAX), 3);
    bench_stop();
}
END_TEST

START_TEST(a_timer_that_is_never_due_stays) {
    bench_start(5);
    arm(0, UINT64_MAX);
    arm(1, UINT64_MAX - 1);
    (void)advance_to(UINT64_MAX / 2, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 0);
    ck_assert_uint_eq(pending(), 2);
    ck_assert_uint_gt(weft__wheel_next_ns(&bench.wheel), bench.now_ns);
    ck_assert(weft__wheel_cancel(&bench.wheel, &bench.timers[0].handle));
    ck_assert(weft__wheel_cancel(&bench.wheel, &bench.timers[1].handle));
    weft__wheel_collect(&bench.wheel);
    ck_assert_uint_eq(pending(), 0);
    bench_stop();
}
END_TEST

START_TEST(a_limit_stops_early_and_the_rest_fires_later) {
    bench_start(0);
    for (uint32_t id = 0; id < 1000; id++) {
        arm(id, (uint64_t)(id + 1) * TICK_NS);
    }
    uint64_t now_ns = 1100 * TICK_NS;
    uint32_t rounds = 0;
    while (advance_to(now_ns, 100) != 0) {
        rounds++;
        uint64_t next_ns = weft__wheel_next_ns(&bench.wheel);
        ck_assert(next_ns == UINT64_MAX || next_ns <= now_ns); /* the rest is due at once */
    }
    ck_assert_uint_ge(rounds, 10);
    ck_assert_uint_eq(bench.fired, 1000);
    bench_stop();
}
END_TEST

START_TEST(a_delivery_that_fails_is_tried_again) {
    bench_start(0);
    arm(0, 10 * TICK_NS);
    arm(1, 10 * TICK_NS);
    bench.refuse = 3;
    (void)advance_to(10 * TICK_NS, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 0);
    ck_assert_uint_eq(pending(), 2);
    /* Cancelling between two tries works. */
    ck_assert(weft__wheel_cancel(&bench.wheel, &bench.timers[1].handle));
    bench.timers[1].armed = false;
    (void)advance_to(20 * TICK_NS, UINT32_MAX);
    (void)advance_to(40 * TICK_NS, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 1);
    ck_assert_uint_eq(pending(), 0);
    bench_stop();
}
END_TEST

START_TEST(a_stale_handle_cancels_nothing) {
    bench_start(0);
    arm(0, 10 * TICK_NS);
    struct weft__armed stale = bench.timers[0].handle;
    (void)advance_to(10 * TICK_NS, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 1);
    ck_assert(!weft__wheel_cancel(&bench.wheel, &stale));
    arm(1, 20 * TICK_NS); /* the same entry again */
    ck_assert_uint_eq(bench.timers[1].handle.entry, stale.entry);
    ck_assert(!weft__wheel_cancel(&bench.wheel, &stale));
    (void)advance_to(20 * TICK_NS, UINT32_MAX);
    ck_assert_uint_eq(bench.fired, 2);
    bench_stop();
}
END_TEST

START_TEST(entries_are_used_again) {
    bench_start(0);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t id = 0; id < TIMERS; id++) {
            arm(id, bench.now_ns + (id % 50 + 1) * TICK_NS);
        }
        for (uint32_t id = 0; id < TIMERS; id += 2) {
            ck_assert(weft__wheel_cancel(&bench.wheel, &bench.timers[id].handle));
            bench.timers[id].armed = false;
        }
        (void)advance_to(bench.now_ns + 60 * TICK_NS, UINT32_MAX);
        ck_assert_uint_eq(pending(), 0);
    }
    ck_assert_uint_eq(bench.wheel.pieces, 1);
    bench_stop();
}
END_TEST

START_TEST(exhausted_memory_is_an_error_and_nothing_is_armed) {
    bench_start(0);
    struct weft__alarm alarm = {.due_ns = TICK_NS};
    struct weft__armed armed;
    uint64_t count = 0;
    int result;
    while ((result = weft__wheel_arm(&bench.wheel, &alarm, &armed)) == 0) {
        count++;
    }
    ck_assert_int_eq(result, -ENOMEM);
    ck_assert_uint_eq(pending(), count);
    ck_assert_uint_eq(count, (64u << 20) / sizeof(struct weft__entry) - 1);
    ck_assert(weft__wheel_cancel(&bench.wheel, &armed));
    ck_assert_int_eq(weft__wheel_arm(&bench.wheel, &alarm, &armed), 0);
    bench_stop();
}
END_TEST

/* ---- cancelling from elsewhere ------------------------------------------------------------- */

enum { RACERS = 2000 };

struct race {
    weft_atomic_u64 handles[RACERS]; /* entry and state; 0: taken */
    weft_atomic_u32 fired[RACERS];
    weft_atomic_u32 cancelled;
    weft_atomic_u32 done;
};

static struct race race;

static void *cancel_them(void *arg) {
    struct weft__prng prng;
    weft__prng_init(&prng, 5, 5);
    (void)arg;
    while (weft_load32_acquire(&race.done) == 0) {
        uint32_t id = weft__prng_below(&prng, RACERS);
        uint64_t handle = weft_exchange64_acq_rel(&race.handles[id], 0);
        if (handle == 0) {
            continue;
        }
        struct weft__armed armed = {.entry = (uint32_t)(handle >> 32), .state = (uint32_t)handle};
        if (weft__wheel_cancel(&bench.wheel, &armed)) {
            (void)weft_add32_acq_rel(&race.cancelled, 1);
        } else {
            /* The other outcome: it fires, now or a moment ago. */
            while (weft_load32_acquire(&race.fired[id]) == 0) {
                weft_pause();
            }
        }
        weft_store32_release(&race.fired[id], 2); /* may be armed again */
    }
    return NULL;
}

static bool fire_race(void *arg, const struct weft__entry *entry, uint32_t index, uint32_t state) {
    (void)arg;
    (void)index;
    (void)state;
    ck_assert_uint_le(entry->due_ns, bench.now_ns);
    bench.fired++;
    weft_store32_release(&race.fired[entry->timer], 1);
    return true;
}

START_TEST(a_timer_cancelled_elsewhere_either_fires_or_is_cancelled) {
    bench_start(0);
    memset(&race, 0, sizeof(race));
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_them, NULL), 0);
    uint64_t armed_count = 0;
    bool ready[RACERS];
    memset(ready, 1, sizeof(ready));
    for (uint32_t round = 0; round < 3000; round++) {
        for (uint32_t id = round % 7; id < RACERS; id += 7) {
            if (!ready[id] && weft_load32_acquire(&race.fired[id]) != 2) {
                continue; /* still under way */
            }
            weft_store32_release(&race.fired[id], 0);
            struct weft__alarm alarm = {.due_ns = bench.now_ns + (id % 100) * TICK_NS, .timer = id};
            struct weft__armed armed;
            ck_assert_int_eq(weft__wheel_arm(&bench.wheel, &alarm, &armed), 0);
            armed_count++;
            ready[id] = false;
            weft_store64_release(&race.handles[id], (uint64_t)armed.entry << 32 | armed.state);
        }
        bench.now_ns += 3 * TICK_NS;
        (void)weft__wheel_advance(&bench.wheel, bench.now_ns, UINT32_MAX, fire_race, NULL);
    }
    bench.now_ns += 1000 * TICK_NS;
    (void)weft__wheel_advance(&bench.wheel, bench.now_ns, UINT32_MAX, fire_race, NULL);
    weft_store32_release(&race.done, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    weft__wheel_collect(&bench.wheel);
    bench.now_ns += 1000 * TICK_NS;
    (void)weft__wheel_advance(&bench.wheel, bench.now_ns, UINT32_MAX, fire_race, NULL);
    ck_assert_uint_eq(pending(), 0);
    ck_assert_uint_eq(armed_count, bench.fired + weft_load32_relaxed(&race.cancelled));
    bench_stop();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("wheel");
    TCase *tcase = tcase_create("wheel");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, random_operations_agree_with_a_list, 0, 8);
    tcase_add_test(tcase, a_timer_fires_in_the_tick_it_is_due_on_every_level);
    tcase_add_test(tcase, one_jump_of_the_clock_fires_all_that_is_due_and_nothing_else);
    tcase_add_test(tcase, a_timer_that_is_due_already_fires_at_the_next_tick);
    tcase_add_test(tcase, a_timer_that_is_never_due_stays);
    tcase_add_test(tcase, a_limit_stops_early_and_the_rest_fires_later);
    tcase_add_test(tcase, a_delivery_that_fails_is_tried_again);
    tcase_add_test(tcase, a_stale_handle_cancels_nothing);
    tcase_add_test(tcase, entries_are_used_again);
    tcase_add_test(tcase, exhausted_memory_is_an_error_and_nothing_is_armed);
    tcase_add_test(tcase, a_timer_cancelled_elsewhere_either_fires_or_is_cancelled);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
