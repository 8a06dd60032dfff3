/* SPDX-License-Identifier: MIT
 *
 * Coarse timeouts (io/alarm.h) against a plain list of what is armed: never early, late by less
 * than two ticks when fired in time, each node once per arming, whatever fire does to the others.
 */
#include "io/alarm.h"

#include "core/defs.h"
#include "support.h"

enum { NODES = 64, CROWD = 100000 };
#define TICK UINT64_C(8388608)
_Static_assert(WEFT__ALARM_TICK_NS == 8388608, "TICK is the tick");

struct timed {
    struct weft__alarm_node node;
    struct ring *ring;
    uint64_t due_ns;
    bool armed;
    uint32_t fired;
    uint64_t fired_ns;
    void (*hook)(struct timed *timed);
    struct timed *other;
};

struct ring {
    struct weft__alarms alarms;
    uint64_t now_ns;
    uint64_t last_ns; /* fired up to here before */
};

static void timed_fire(struct weft__alarm_node *node) {
    struct timed *timed = weft_container_of(node, struct timed, node);
    ck_assert(timed->armed);
    ck_assert_ptr_null(node->next);
    ck_assert_uint_le(timed->due_ns, timed->ring->now_ns); /* never early */
    timed->armed = false;
    timed->fired++;
    timed->fired_ns = timed->ring->now_ns;
    if (timed->hook != NULL) {
        timed->hook(timed);
    }
}

static void timed_set(struct timed *timed, uint64_t due_ns) {
    timed->node.fire = timed_fire;
    timed->due_ns = due_ns;
    timed->armed = true;
    weft__alarm_set(&timed->ring->alarms, &timed->node, due_ns);
}

static void timed_cancel(struct timed *timed) {
    timed->armed = false;
    weft__alarm_cancel(&timed->ring->alarms, &timed->node);
}

static struct ring *ring_at(uint64_t now_ns) {
    struct ring *ring = calloc(1, sizeof(*ring));
    ck_assert_ptr_nonnull(ring);
    ring->now_ns = now_ns;
    weft__alarms_init(&ring->alarms, now_ns);
    return ring;
}

static struct timed *crowd_of(struct ring *ring, uint32_t count) {
    struct timed *crowd = calloc(count, sizeof(*crowd));
    ck_assert_ptr_nonnull(crowd);
    for (uint32_t i = 0; i < count; i++) {
        crowd[i].ring = ring;
    }
    return crowd;
}

static uint32_t ring_fire(struct ring *ring, uint64_t now_ns) {
    ring->now_ns = now_ns;
    return weft__alarms_fire(&ring->alarms, now_ns);
}

/* Sleeps as a scheduler does, until something has fired. */
static uint32_t ring_sleep(struct ring *ring) {
    for (uint32_t turn = 0; turn < 100000; turn++) {
        uint64_t next_ns = weft__alarms_next_ns(&ring->alarms);
        ck_assert(next_ns != UINT64_MAX);
        uint32_t fired = ring_fire(ring, next_ns > ring->now_ns ? next_ns : ring->now_ns + 1);
        if (fired != 0) {
            return fired;
        }
    }
    ck_abort_msg("sleeps for ever");
    return 0;
}

static uint64_t random_of(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 24;
}

/* ---- exactness ------------------------------------------------------------------------------- */

START_TEST(fires_within_a_tick_and_never_early) {
    static const uint64_t delays[] = {0,          1,           TICK - 1,       TICK,
                                      TICK + 1,   3 * TICK,    63 * TICK,      64 * TICK,
                                      65 * TICK,  511 * TICK,  512 * TICK - 1, 512 * TICK,
                                      513 * TICK, 1024 * TICK, 5000 * TICK};
    static const uint64_t starts[] = {0,         1,          TICK - 1,       TICK,
                                      63 * TICK, 511 * TICK, 512 * TICK - 1, UINT64_C(1) << 50};
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        for (size_t d = 0; d < sizeof(delays) / sizeof(delays[0]); d++) {
            struct ring *ring = ring_at(starts[s]);
            struct timed timed = {.ring = ring};
            timed_set(&timed, starts[s] + delays[d]);
            ck_assert_uint_eq(ring_sleep(ring), 1);
            ck_assert_uint_le(timed.fired_ns, starts[s] + delays[d] + TICK);
            ck_assert_uint_eq(ring->alarms.count, 0);
            ck_assert(weft__alarms_next_ns(&ring->alarms) == UINT64_MAX);
            free(ring);
        }
    }
}
END_TEST

/* A node that is due in an hour does not need a look at every tick, and comes in time. */
START_TEST(far_deadlines_come_in_time_and_are_looked_at_rarely) {
    struct ring *ring = ring_at(123 * TICK);
    struct timed timed = {.ring = ring};
    uint64_t hour_ns = 3600 * S_NS;
    timed_set(&timed, hour_ns);
    uint32_t looks = 0;
    while (timed.fired == 0) {
        ck_assert_uint_lt(looks, 3600); /* once a round of four seconds */
        looks++;
        uint64_t next_ns = weft__alarms_next_ns(&ring->alarms);
        ck_assert_uint_ge(next_ns + TICK, ring->now_ns);
        (void)ring_fire(ring, next_ns > ring->now_ns ? next_ns : ring->now_ns + 1);
    }
    ck_assert_uint_le(timed.fired_ns, hour_ns + TICK);
    free(ring);
}
END_TEST

/* Nobody looks for a long time, more than a round: everything that is due fires at once. */
START_TEST(a_late_look_fires_all_that_is_due_and_nothing_else) {
    struct ring *ring = ring_at(7 * TICK);
    struct timed *crowd = crowd_of(ring, 2000);
    for (uint32_t i = 0; i < 2000; i++) {
        timed_set(&crowd[i], (7 + i) * TICK + i);
    }
    ck_assert_uint_eq(ring_fire(ring, 1007 * TICK + TICK - 1), 1000);
    for (uint32_t i = 0; i < 2000; i++) {
        ck_assert_uint_eq(crowd[i].fired, i < 1000 ? 1 : 0);
    }
    ck_assert_uint_eq(ring_fire(ring, 100000 * TICK), 1000);
    ck_assert_uint_eq(ring->alarms.count, 0);
    free(crowd);
    free(ring);
}
END_TEST

START_TEST(time_that_stands_still_fires_nothing_twice) {
    struct ring *ring = ring_at(50 * TICK);
    struct timed timed = {.ring = ring};
    timed_set(&timed, 51 * TICK);
    ck_assert_uint_eq(ring_fire(ring, 51 * TICK), 0);
    ck_assert_uint_eq(ring_fire(ring, 52 * TICK), 1);
    ck_assert_uint_eq(ring_fire(ring, 52 * TICK), 0);
    timed_set(&timed, 0); /* due already */
    ck_assert_uint_eq(ring_fire(ring, 52 * TICK), 0);
    ck_assert_uint_eq(ring_fire(ring, 53 * TICK), 1);
    ck_assert_uint_eq(timed.fired, 2);
    free(ring);
}
END_TEST

/* The ring was empty for long, so that nobody told it the time. */
START_TEST(arming_after_a_long_rest_is_in_time) {
    struct ring *ring = ring_at(0);
    struct timed timed = {.ring = ring};
    for (uint32_t i = 1; i < 100; i++) {
        uint64_t now_ns = ring->now_ns + i * 100 * TICK + i;
        ring->now_ns = now_ns;
        timed_set(&timed, now_ns + i * 40 * TICK);
        while (timed.fired < i) {
            (void)ring_sleep(ring);
        }
        ck_assert_uint_le(timed.fired_ns, now_ns + i * 40 * TICK + TICK);
    }
    free(ring);
}
END_TEST

/* ---- arming and cancelling ------------------------------------------------------------------- */

START_TEST(arming_again_replaces_and_cancelling_twice_is_harmless) {
    struct ring *ring = ring_at(TICK);
    struct timed timed = {.ring = ring};
    timed_cancel(&timed);
    ck_assert_uint_eq(ring->alarms.count, 0);
    timed_set(&timed, 10 * TICK);
    timed_set(&timed, 2000 * TICK);
    timed_set(&timed, 20 * TICK);
    ck_assert_uint_eq(ring->alarms.count, 1);
    ck_assert_uint_eq(ring_fire(ring, 19 * TICK), 0);
    ck_assert_uint_eq(ring_fire(ring, 21 * TICK), 1);
    timed_set(&timed, 30 * TICK);
    timed_cancel(&timed);
    timed_cancel(&timed);
    ck_assert_uint_eq(ring->alarms.count, 0);
    ck_assert_uint_eq(ring_fire(ring, 4000 * TICK), 0);
    ck_assert_uint_eq(timed.fired, 1);
    free(ring);
}
END_TEST

static void hook_cancels(struct timed *timed) {
    timed_cancel(timed->other);
}

static void hook_arms_again(struct timed *timed) {
    if (timed->fired < 10) {
        timed_set(timed, timed->ring->now_ns + TICK);
    }
}

static void hook_arms_the_past(struct timed *timed) {
    if (timed->fired < 10) {
        timed_set(timed, 0);
    }
}

/* Two in one list that cancel each other: one of them fires. */
START_TEST(fire_may_cancel_a_neighbour) {
    struct ring *ring = ring_at(0);
    struct timed *crowd = crowd_of(ring, NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        crowd[i].hook = hook_cancels;
        crowd[i].other = &crowd[i ^ 1];
        timed_set(&crowd[i], 5 * TICK);
    }
    ck_assert_uint_eq(ring_fire(ring, 9 * TICK), NODES / 2);
    for (uint32_t i = 0; i < NODES; i += 2) {
        ck_assert_uint_eq(crowd[i].fired + crowd[i + 1].fired, 1);
    }
    ck_assert_uint_eq(ring->alarms.count, 0);
    free(crowd);
    free(ring);
}
END_TEST

/* A node that cancels itself in its own fire is not armed then: nothing happens. */
START_TEST(fire_may_cancel_itself) {
    struct ring *ring = ring_at(0);
    struct timed timed = {.ring = ring, .hook = hook_cancels};
    timed.other = &timed;
    timed_set(&timed, TICK);
    ck_assert_uint_eq(ring_fire(ring, 9 * TICK), 1);
    ck_assert_uint_eq(ring->alarms.count, 0);
    free(ring);
}
END_TEST

START_TEST(fire_may_arm_itself_and_others) {
    struct ring *ring = ring_at(0);
    struct timed timed = {.ring = ring, .hook = hook_arms_again};
    timed_set(&timed, TICK);
    uint64_t last_ns = 0;
    while (timed.fired < 10) {
        ck_assert_uint_eq(ring_sleep(ring), 1);
        ck_assert_uint_le(timed.fired_ns - last_ns, 3 * TICK);
        last_ns = timed.fired_ns;
    }
    ck_assert_uint_eq(ring->alarms.count, 0);
    free(ring);
}
END_TEST

/* Armed inside fire for a time that has passed: it comes with one of the next ticks, not a round
 * of four seconds later, and not for ever in this call. */
START_TEST(fire_may_arm_the_past) {
    struct ring *ring = ring_at(0);
    struct timed timed = {.ring = ring, .hook = hook_arms_the_past};
    timed_set(&timed, TICK);
    uint64_t last_ns = 0;
    while (timed.fired < 10) {
        (void)ring_sleep(ring);
        ck_assert_uint_le(timed.fired_ns - last_ns, 3 * TICK);
        last_ns = timed.fired_ns;
    }
    free(ring);
}
END_TEST

/* ---- many ------------------------------------------------------------------------------------ */

START_TEST(a_hundred_thousand_come_each_in_its_time) {
    struct ring *ring = ring_at(TICK / 2);
    struct timed *crowd = crowd_of(ring, CROWD);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < CROWD; i++) {
        timed_set(&crowd[i], random_of(&seed) % (20 * S_NS));
    }
    ck_assert_uint_eq(ring->alarms.count, CROWD);
    uint32_t fired = 0;
    while (fired < CROWD) {
        fired += ring_sleep(ring);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        ck_assert_uint_eq(crowd[i].fired, 1);
        ck_assert_uint_le(crowd[i].fired_ns, crowd[i].due_ns + 2 * TICK);
    }
    ck_assert_uint_eq(ring->alarms.count, 0);
    free(crowd);
    free(ring);
}
END_TEST

/* Anything in any order: each fires if and only if it is armed and due. */
START_TEST(whatever_order_nothing_is_lost) {
    struct ring *ring = ring_at((uint64_t)(_i + 1) * 1000 * TICK);
    struct timed *crowd = crowd_of(ring, NODES);
    uint64_t seed = (uint64_t)_i + 1;
    for (uint32_t step = 0; step < 20000; step++) {
        struct timed *timed = &crowd[random_of(&seed) % NODES];
        switch (random_of(&seed) % 4) {
        case 0:
            timed_cancel(timed);
            break;
        case 1:
            (void)ring_fire(ring, ring->now_ns + random_of(&seed) % (40 * TICK));
            for (uint32_t i = 0; i < NODES; i++) {
                ck_assert(!crowd[i].armed || crowd[i].due_ns + TICK >= ring->now_ns);
            }
            break;
        default:
            timed_set(timed, ring->now_ns + random_of(&seed) % (1200 * TICK));
            break;
        }
        uint32_t armed = 0;
        for (uint32_t i = 0; i < NODES; i++) {
            armed += crowd[i].armed ? 1 : 0;
        }
        ck_assert_uint_eq(ring->alarms.count, armed);
    }
    free(crowd);
    free(ring);
}
END_TEST

static Suite *alarm_suite(void) {
    Suite *suite = suite_create("alarm");
    TCase *alarm = tcase_create("alarm");
    tcase_add_test(alarm, fires_within_a_tick_and_never_early);
    tcase_add_test(alarm, far_deadlines_come_in_time_and_are_looked_at_rarely);
    tcase_add_test(alarm, a_late_look_fires_all_that_is_due_and_nothing_else);
    tcase_add_test(alarm, time_that_stands_still_fires_nothing_twice);
    tcase_add_test(alarm, arming_after_a_long_rest_is_in_time);
    tcase_add_test(alarm, arming_again_replaces_and_cancelling_twice_is_harmless);
    tcase_add_test(alarm, fire_may_cancel_a_neighbour);
    tcase_add_test(alarm, fire_may_cancel_itself);
    tcase_add_test(alarm, fire_may_arm_itself_and_others);
    tcase_add_test(alarm, fire_may_arm_the_past);
    tcase_add_test(alarm, a_hundred_thousand_come_each_in_its_time);
    tcase_add_loop_test(alarm, whatever_order_nothing_is_lost, 0, 4);
    suite_add_tcase(suite, alarm);
    return suite;
}

int main(void) {
    return run_suite(alarm_suite());
}
