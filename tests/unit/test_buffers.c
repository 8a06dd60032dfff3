/* SPDX-License-Identifier: MIT
 *
 * Pooled receive buffers (io/buffers.h): the pool's bound, how many are lent, and buffers that come
 * home from other threads. Here no thread is a scheduler: with a home of NULL every thread counts as
 * the owner's, with any other home none does.
 */
#include "io/buffers.h"

#include "support.h"

enum { RING = 16, TOTAL = 4 * RING, LENT = 2 * RING, SIZE = 1024, THREADS = 4, ROUNDS = 20000 };

struct pool {
    weft_env *env;
    struct weft__core core;
    struct weft__buffers buffers;
};

static struct pool *pool_make(bool owner) {
    struct pool *pool = calloc(1, sizeof(*pool));
    ck_assert_ptr_nonnull(pool);
    ck_assert_int_eq(weft_env_os_create(&pool->env), 0);
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 64 << 20;
    ck_assert_int_eq(weft__core_init(&pool->core, &config, pool->env), 0);
    /* Somebody else's: an address that is never looked at. */
    const struct weft__scheduler *home = owner ? NULL : (const void *)pool;
    weft__buffers_init(&pool->buffers, home, &pool->core, SIZE, RING);
    return pool;
}

static void pool_end(struct pool *pool) {
    weft__buffers_fini(&pool->buffers);
    ck_assert_uint_eq(weft_load64_relaxed(&pool->core.buffers), 0);
    weft__core_fini(&pool->core);
    weft_env_os_destroy(&pool->env);
    free(pool);
}

START_TEST(the_pool_is_bounded_and_buffers_come_back) {
    struct pool *pool = pool_make(_i == 0);
    weft_buf *held[TOTAL];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < TOTAL; i++) {
            held[i] = weft__buffers_take(&pool->buffers);
            ck_assert_ptr_nonnull(held[i]);
            ck_assert_uint_eq(weft_buf_size(held[i]), SIZE);
            memset(weft_buf_data(held[i]), (int)i, SIZE);
        }
        ck_assert_ptr_null(weft__buffers_take(&pool->buffers));
        ck_assert_uint_eq(pool->buffers.total, TOTAL);
        for (uint32_t i = 0; i < TOTAL; i++) {
            ck_assert_uint_eq(((unsigned char *)weft_buf_data(held[i]))[SIZE - 1], i);
            weft_buf_unref(held[i]);
        }
        held[0] = weft__buffers_take(&pool->buffers);
        ck_assert_ptr_nonnull(held[0]);
        weft_buf_unref(held[0]);
        ck_assert_uint_eq(pool->buffers.total, TOTAL);
    }
    pool_end(pool);
}
END_TEST

/* A buffer with two references comes home once, when the second is dropped. */
START_TEST(the_last_reference_brings_it_home) {
    struct pool *pool = pool_make(_i == 0);
    for (uint32_t i = 0; i < 3 * TOTAL; i++) {
        weft_buf *buf = weft__buffers_take(&pool->buffers);
        ck_assert_ptr_nonnull(buf);
        (void)weft_buf_ref(buf);
        weft_buf_unref(buf);
        weft_buf *other = weft__buffers_take(&pool->buffers);
        ck_assert(other != buf);
        weft_buf_unref(buf);
        weft_buf_unref(other);
    }
    ck_assert_uint_le(pool->buffers.total, 2);
    pool_end(pool);
}
END_TEST

START_TEST(at_most_two_rings_are_lent) {
    struct pool *pool = pool_make(_i == 0);
    weft_buf *lent[LENT];
    for (uint32_t i = 0; i < LENT; i++) {
        ck_assert(weft__buffers_may_lend(&pool->buffers));
        lent[i] = weft__buffers_take(&pool->buffers);
        ck_assert_ptr_nonnull(lent[i]);
        weft__buffers_lent(&pool->buffers, lent[i]);
    }
    ck_assert(!weft__buffers_may_lend(&pool->buffers));
    ck_assert_uint_eq(weft_load64_relaxed(&pool->core.buffers), LENT); /* what gauges show */
    for (uint32_t i = 0; i < TOTAL - LENT; i++) { /* there is enough left to receive into */
        weft_buf *buf = weft__buffers_take(&pool->buffers);
        ck_assert_ptr_nonnull(buf);
        weft_buf_unref(buf);
    }
    weft_buf_unref(lent[0]);
    ck_assert(weft__buffers_may_lend(&pool->buffers));
    for (uint32_t i = 1; i < LENT; i++) {
        weft_buf_unref(lent[i]);
    }
    ck_assert_uint_eq(weft_load32_relaxed(&pool->buffers.out), 0);
    pool_end(pool);
}
END_TEST

/* ---- other threads --------------------------------------------------------------------------- */

/* Buffers on their way to one thread that drops them. */
struct lane {
    pthread_t thread;
    pthread_mutex_t lock;
    weft_buf *list[TOTAL]; /* under lock */
    uint32_t count;        /* under lock */
    bool over;             /* under lock */
};

static void *lane_drop(void *arg) {
    struct lane *lane = arg;
    for (;;) { /* until over */
        pthread_mutex_lock(&lane->lock);
        weft_buf *list[TOTAL];
        uint32_t count = lane->count;
        bool over = lane->over;
        memcpy(list, lane->list, count * sizeof(list[0]));
        lane->count = 0;
        pthread_mutex_unlock(&lane->lock);
        for (uint32_t i = 0; i < count; i++) {
            unsigned char *bytes = weft_buf_data(list[i]);
            ck_assert(bytes[0] == bytes[SIZE - 1]);
            weft_buf_unref(list[i]);
        }
        if (count == 0 && over) {
            return NULL;
        }
        if (count == 0) {
            sleep_ns(1000);
        }
    }
}

static void lane_put(struct lane *lane, weft_buf *buf) {
    pthread_mutex_lock(&lane->lock);
    ck_assert_uint_lt(lane->count, TOTAL);
    lane->list[lane->count++] = buf;
    pthread_mutex_unlock(&lane->lock);
}

START_TEST(buffers_come_home_from_many_threads) {
    struct pool *pool = pool_make(false);
    struct lane lanes[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        lanes[i] = (struct lane){.lock = PTHREAD_MUTEX_INITIALIZER};
        ck_assert_int_eq(pthread_create(&lanes[i].thread, NULL, lane_drop, &lanes[i]), 0);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        weft_buf *buf;
        eventually((buf = weft__buffers_take(&pool->buffers)) != NULL);
        memset(weft_buf_data(buf), (int)round, SIZE);
        if (weft__buffers_may_lend(&pool->buffers)) {
            weft__buffers_lent(&pool->buffers, buf);
        }
        if (round % 3 == 0) { /* two threads have it, either may be the last */
            (void)weft_buf_ref(buf);
            lane_put(&lanes[(round + 1) % THREADS], buf);
        }
        lane_put(&lanes[round % THREADS], buf);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_mutex_lock(&lanes[i].lock);
        lanes[i].over = true;
        pthread_mutex_unlock(&lanes[i].lock);
        ck_assert_int_eq(pthread_join(lanes[i].thread, NULL), 0);
    }
    ck_assert_uint_le(pool->buffers.total, TOTAL);
    ck_assert_uint_eq(weft_load32_relaxed(&pool->buffers.out), 0);
    pool_end(pool);
}
END_TEST

static Suite *buffers_suite(void) {
    Suite *suite = suite_create("buffers");
    TCase *buffers = tcase_create("buffers");
    tcase_add_loop_test(buffers, the_pool_is_bounded_and_buffers_come_back, 0, 2);
    tcase_add_loop_test(buffers, the_last_reference_brings_it_home, 0, 2);
    tcase_add_loop_test(buffers, at_most_two_rings_are_lent, 0, 2);
    tcase_add_test(buffers, buffers_come_home_from_many_threads);
    suite_add_tcase(suite, buffers);
    return suite;
}

int main(void) {
    return run_suite(buffers_suite());
}
