/* SPDX-License-Identifier: MIT
 *
 * The mailbox word, one thread: states, order, bounds, generations, anchor and detach. What
 * several threads do to it is explored in tests/model.
 */
#include "sched/mailbox.h"
#include "tests/unit/support.h"

enum { CELLS = 256, GEN = 5 };

static struct weft__arena arena;
static struct weft__mailbox mailbox;

static void start(uint32_t low) {
    ck_assert_int_eq(weft__arena_init(&arena, 2 << 20, 2 << 20, "messages", false), 0);
    memset(&mailbox, 0, sizeof(mailbox));
    weft__mailbox_open(&mailbox, GEN, low);
}

static void stop(void) {
    weft__arena_fini(&arena);
}

static int push(uint32_t index, uint32_t bound) {
    weft__arena_msg(&arena, index)->weft__kind = (uint8_t)(index & 31);
    return weft__mailbox_push(&mailbox, &arena, GEN, index, bound);
}

START_TEST(only_the_push_that_finds_it_idle_schedules) {
    start(WEFT__MAILBOX_IDLE);
    ck_assert_int_eq(push(10, 0), 1);
    ck_assert_int_eq(push(11, 0), 0);
    ck_assert_int_eq(push(12, 0), 0);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 12);
    ck_assert(!weft__mailbox_idle(&mailbox, GEN, 0));
    ck_assert(!weft__mailbox_idle(&mailbox, GEN, 11));
    ck_assert(weft__mailbox_idle(&mailbox, GEN, 12));
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 0);
    ck_assert_int_eq(push(13, 0), 1);
    stop();
}
END_TEST

START_TEST(a_batch_comes_in_the_order_it_was_sent) {
    start(WEFT__MAILBOX_IDLE);
    for (uint32_t i = 0; i < 50; i++) {
        (void)push(20 + i, 0);
    }
    struct weft__batch batch = weft__mailbox_reverse(&arena, 69, 0);
    ck_assert_uint_eq(batch.last, 69);
    uint32_t index = batch.first;
    uint8_t kinds = 0;
    for (uint32_t i = 0; i < 50; i++) {
        ck_assert_uint_eq(index, 20 + i);
        kinds |= weft__arena_msg(&arena, index)->weft__kind;
        index = weft__arena_msg(&arena, index)->weft__next;
    }
    ck_assert_uint_eq(index, 0);
    ck_assert_uint_eq(batch.kinds, kinds);
    stop();
}
END_TEST

START_TEST(a_second_batch_ends_above_the_anchor) {
    start(WEFT__MAILBOX_IDLE);
    (void)push(20, 0);
    (void)push(21, 0);
    struct weft__batch first = weft__mailbox_reverse(&arena, 21, 0);
    ck_assert_uint_eq(first.last, 21);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 21), 0);
    ck_assert_int_eq(push(22, 0), 0);
    ck_assert_int_eq(push(23, 0), 0);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 21), 23);
    struct weft__batch second = weft__mailbox_reverse(&arena, 23, 21);
    ck_assert_uint_eq(second.first, 22);
    ck_assert_uint_eq(weft__arena_msg(&arena, 22)->weft__next, 23);
    ck_assert_uint_eq(weft__arena_msg(&arena, 23)->weft__next, 0);
    stop();
}
END_TEST

START_TEST(a_detached_anchor_may_be_pushed_again_and_nothing_is_scheduled_twice) {
    start(WEFT__MAILBOX_IDLE);
    ck_assert_int_eq(push(20, 0), 1);
    ck_assert(weft__mailbox_detach(&mailbox, GEN, 20));
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 0);
    ck_assert_int_eq(push(20, 0), 0); /* active: its owner looks again */
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 20);
    struct weft__batch batch = weft__mailbox_reverse(&arena, 20, 0);
    ck_assert_uint_eq(batch.first, 20);
    ck_assert_uint_eq(weft__arena_msg(&arena, 20)->weft__next, 0);
    /* With something above it the anchor cannot be detached. */
    ck_assert_int_eq(push(21, 0), 0);
    ck_assert(!weft__mailbox_detach(&mailbox, GEN, 20));
    ck_assert(weft__mailbox_detach(&mailbox, GEN, 21));
    ck_assert(weft__mailbox_idle(&mailbox, GEN, 0));
    stop();
}
END_TEST

START_TEST(a_push_of_another_generation_fails_in_every_state) {
    start(WEFT__MAILBOX_IDLE);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN + 1, 20, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN - 1, 20, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, 0, 20, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(push(20, 0), 1);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN + 1, 21, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN - 1, 21, 0), WEFT_E_NOPROC);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 20);
    stop();
}
END_TEST

START_TEST(closing_gives_back_what_is_left_and_refuses_the_rest) {
    start(WEFT__MAILBOX_IDLE);
    (void)push(20, 0);
    (void)push(21, 0);
    (void)push(22, 0);
    ck_assert_uint_eq(weft__mailbox_close(&mailbox, GEN, 20), 22);
    ck_assert_int_eq(push(23, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN + 1, 23, 0), WEFT_E_NOPROC);
    ck_assert_uint_eq(weft__mailbox_length(&mailbox, &arena), 0);
    weft__mailbox_open(&mailbox, GEN + 1, WEFT__MAILBOX_IDLE);
    ck_assert_int_eq(push(23, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft__mailbox_push(&mailbox, &arena, GEN + 1, 23, 0), 1);
    ck_assert_uint_eq(weft__mailbox_close(&mailbox, GEN + 1, 23), 0); /* only the anchor was left */
    stop();
}
END_TEST

START_TEST(the_bound_counts_what_waits) {
    start(WEFT__MAILBOX_IDLE);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_ge(push(20 + i, 10), 0);
        ck_assert_uint_eq(weft__mailbox_length(&mailbox, &arena), i + 1);
    }
    ck_assert_int_eq(push(30, 10), -EBUSY);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 29);
    ck_assert_int_eq(push(30, 11), 0);
    ck_assert_int_eq(push(31, 0), 0); /* without a bound */
    ck_assert_int_eq(push(32, 12), -EBUSY);
    weft_store32_relaxed(&mailbox.consumed, 5);
    ck_assert_uint_eq(weft__mailbox_length(&mailbox, &arena), 7);
    ck_assert_int_eq(push(32, 8), 0);
    ck_assert_int_eq(push(33, 8), -EBUSY);
    stop();
}
END_TEST

START_TEST(the_bound_survives_the_wrap_of_its_counters) {
    start(WEFT__MAILBOX_IDLE);
    weft_store32_relaxed(&mailbox.consumed, UINT32_MAX - 3);
    weft__mailbox_open(&mailbox, GEN, WEFT__MAILBOX_IDLE);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_ge(push(20 + i, 10), 0);
        ck_assert_uint_eq(weft__mailbox_length(&mailbox, &arena), i + 1);
    }
    ck_assert_int_eq(push(30, 10), -EBUSY);
    stop();
}
END_TEST

START_TEST(it_may_open_with_its_first_message) {
    start(40);
    ck_assert_uint_eq(weft__mailbox_newest(&mailbox, 0), 40);
    ck_assert_int_eq(push(41, 0), 0); /* scheduled already */
    struct weft__batch batch = weft__mailbox_reverse(&arena, 41, 0);
    ck_assert_uint_eq(batch.first, 40);
    stop();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mailbox");
    TCase *tcase = tcase_create("mailbox");
    tcase_add_test(tcase, only_the_push_that_finds_it_idle_schedules);
    tcase_add_test(tcase, a_batch_comes_in_the_order_it_was_sent);
    tcase_add_test(tcase, a_second_batch_ends_above_the_anchor);
    tcase_add_test(tcase, a_detached_anchor_may_be_pushed_again_and_nothing_is_scheduled_twice);
    tcase_add_test(tcase, a_push_of_another_generation_fails_in_every_state);
    tcase_add_test(tcase, closing_gives_back_what_is_left_and_refuses_the_rest);
    tcase_add_test(tcase, the_bound_counts_what_waits);
    tcase_add_test(tcase, the_bound_survives_the_wrap_of_its_counters);
    tcase_add_test(tcase, it_may_open_with_its_first_message);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
