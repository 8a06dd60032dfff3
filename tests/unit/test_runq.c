/* SPDX-License-Identifier: MIT
 *
 * The run-queue ring: order, bounds, halves for thieves, and that under contention every entry is
 * taken exactly once. Also the inbox, the list others push to.
 */
#include "core/prng.h"
#include "sched/inbox.h"
#include "sched/runq.h"
#include "tests/unit/support.h"

enum { SIZE = 64 };

static weft_atomic_u32 entries[SIZE];
static struct weft__runq queue;

static void start(void) {
    memset(entries, 0, sizeof(entries));
    weft__runq_init(&queue, entries, SIZE);
}

START_TEST(entries_leave_in_the_order_they_came) {
    start();
    uint32_t next = 0;
    uint32_t expected = 0;
    struct weft__prng prng;
    weft__prng_init(&prng, 1, 1);
    for (uint32_t round = 0; round < 10000; round++) {
        uint32_t pushes = weft__prng_below(&prng, SIZE);
        for (uint32_t i = 0; i < pushes && weft__runq_push_owner(&queue, next); i++) {
            next++;
        }
        ck_assert_uint_eq(weft__runq_length(&queue), next - expected);
        uint32_t taken[SIZE];
        uint32_t max = weft__prng_below(&prng, SIZE) + 1;
        uint32_t count = weft__prng_below(&prng, 2) == 0 ? weft__runq_pop_owner(&queue, taken, max)
                                                         : weft__runq_steal_any(&queue, taken, max);
        for (uint32_t i = 0; i < count; i++) {
            ck_assert_uint_eq(taken[i], expected++);
        }
    }
    ck_assert_uint_gt(expected, SIZE * 100);
}
END_TEST

START_TEST(a_full_ring_refuses_and_keeps_what_it_has) {
    start();
    for (uint32_t i = 0; i < SIZE; i++) {
        ck_assert(weft__runq_push_owner(&queue, i + 1));
    }
    ck_assert(!weft__runq_push_owner(&queue, 1000));
    ck_assert_uint_eq(weft__runq_length(&queue), SIZE);
    uint32_t taken[SIZE];
    ck_assert_uint_eq(weft__runq_pop_owner(&queue, taken, 1), 1);
    ck_assert_uint_eq(taken[0], 1);
    ck_assert(weft__runq_push_owner(&queue, SIZE + 1));
    ck_assert(!weft__runq_push_owner(&queue, 1000));
    ck_assert_uint_eq(weft__runq_pop_owner(&queue, taken, SIZE), SIZE);
    for (uint32_t i = 0; i < SIZE; i++) {
        ck_assert_uint_eq(taken[i], i + 2);
    }
    ck_assert_uint_eq(weft__runq_pop_owner(&queue, taken, SIZE), 0);
}
END_TEST

START_TEST(a_thief_takes_half_rounded_up_and_at_most_its_room) {
    start();
    uint32_t taken[SIZE];
    ck_assert_uint_eq(weft__runq_steal_any(&queue, taken, SIZE), 0);
    static const uint32_t halves[][2] = {{1, 1}, {2, 1}, {3, 2}, {4, 2}, {7, 4}, {64, 32}};
    for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
        start();
        for (uint32_t at = 0; at < halves[i][0]; at++) {
            ck_assert(weft__runq_push_owner(&queue, at));
        }
        ck_assert_uint_eq(weft__runq_steal_any(&queue, taken, SIZE), halves[i][1]);
        ck_assert_uint_eq(weft__runq_length(&queue), halves[i][0] - halves[i][1]);
    }
    start();
    for (uint32_t at = 0; at < SIZE; at++) {
        ck_assert(weft__runq_push_owner(&queue, at));
    }
    ck_assert_uint_eq(weft__runq_steal_any(&queue, taken, 5), 5);
}
END_TEST

START_TEST(the_ring_works_beyond_32_bits_of_traffic) {
    start();
    volatile uint64_t before =
        UINT64_C(0xfffffff0); /* no immediate operand: ck_pr cannot store it */
    weft_store64_relaxed(&queue.head, before);
    weft_store64_relaxed(&queue.tail, before);
    uint32_t taken[SIZE];
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert(weft__runq_push_owner(&queue, i));
        ck_assert(weft__runq_push_owner(&queue, i + 1000));
        ck_assert_uint_eq(weft__runq_length(&queue), 2);
        ck_assert_uint_eq(weft__runq_steal_any(&queue, taken, SIZE), 1);
        ck_assert_uint_eq(taken[0], i);
        ck_assert_uint_eq(weft__runq_pop_owner(&queue, taken, SIZE), 1);
        ck_assert_uint_eq(taken[0], i + 1000);
    }
}
END_TEST

/* ---- contention ---------------------------------------------------------------------------- */

enum { THIEVES = 3, TRAFFIC = 200000 };

static weft_atomic_u32 times_taken[TRAFFIC];
static weft_atomic_u32 finished;

static void note(const uint32_t *taken, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        (void)weft_add32_acq_rel(&times_taken[taken[i]], 1);
        ck_assert(i == 0 || taken[i] == taken[i - 1] + 1); /* a piece of the queue */
    }
}

static void *steal_them(void *arg) {
    (void)arg;
    uint32_t taken[SIZE];
    for (;;) {
        bool last = weft_load32_acquire(&finished) != 0;
        uint32_t count = weft__runq_steal_any(&queue, taken, SIZE);
        note(taken, count);
        if (last && weft__runq_length(&queue) == 0) {
            return NULL;
        }
    }
}

START_TEST(under_contention_every_entry_is_taken_once) {
    start();
    pthread_t threads[THIEVES];
    for (uint32_t i = 0; i < THIEVES; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, steal_them, NULL), 0);
    }
    uint32_t taken[SIZE];
    uint32_t next = 0;
    while (next < TRAFFIC) {
        for (uint32_t i = 0; i < 20 && next < TRAFFIC; i++) {
            if (!weft__runq_push_owner(&queue, next)) {
                break;
            }
            next++;
        }
        note(taken, weft__runq_pop_owner(&queue, taken, 4));
    }
    weft_store32_release(&finished, 1);
    uint32_t count;
    while ((count = weft__runq_pop_owner(&queue, taken, SIZE)) != 0) {
        note(taken, count);
    }
    for (uint32_t i = 0; i < THIEVES; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t i = 0; i < TRAFFIC; i++) {
        ck_assert_uint_eq(weft_load32_relaxed(&times_taken[i]), 1);
    }
}
END_TEST

/* ---- inbox --------------------------------------------------------------------------------- */

enum { LINKS = 100000, PUSHERS = 3 };

static weft_atomic_u32 links[LINKS];
static struct weft__inbox inbox;

static void *push_them(void *arg) {
    uint32_t first = *(const uint32_t *)arg;
    for (uint32_t index = first; index < LINKS; index += PUSHERS) {
        weft__inbox_push(&inbox, index, &links[index]);
    }
    return NULL;
}

START_TEST(the_inbox_gives_each_entry_once_and_each_pushers_in_order) {
    pthread_t threads[PUSHERS];
    uint32_t firsts[PUSHERS];
    ck_assert(weft__inbox_empty(&inbox));
    ck_assert_uint_eq(weft__inbox_take(&inbox), 0);
    for (uint32_t i = 0; i < PUSHERS; i++) {
        firsts[i] = i + 1; /* index 0 is nobody */
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_them, &firsts[i]), 0);
    }
    uint32_t last[PUSHERS] = {0};
    uint32_t total = 0;
    while (total < LINKS - 1) {
        uint32_t newest[PUSHERS] = {0};
        uint32_t before[PUSHERS] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
        for (uint32_t index = weft__inbox_take(&inbox); index != 0;
             index = weft_load32_relaxed(&links[index])) {
            uint32_t pusher = index % PUSHERS;
            ck_assert_uint_lt(index, before[pusher]); /* newest first */
            ck_assert_uint_gt(index, last[pusher]);
            before[pusher] = index;
            newest[pusher] = newest[pusher] == 0 ? index : newest[pusher];
            total++;
        }
        for (uint32_t i = 0; i < PUSHERS; i++) {
            last[i] = newest[i] != 0 ? newest[i] : last[i];
        }
    }
    for (uint32_t i = 0; i < PUSHERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert(weft__inbox_empty(&inbox));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("runq");
    TCase *tcase = tcase_create("runq");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, entries_leave_in_the_order_they_came);
    tcase_add_test(tcase, a_full_ring_refuses_and_keeps_what_it_has);
    tcase_add_test(tcase, a_thief_takes_half_rounded_up_and_at_most_its_room);
    tcase_add_test(tcase, the_ring_works_beyond_32_bits_of_traffic);
    tcase_add_test(tcase, under_contention_every_entry_is_taken_once);
    tcase_add_test(tcase, the_inbox_gives_each_entry_once_and_each_pushers_in_order);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
