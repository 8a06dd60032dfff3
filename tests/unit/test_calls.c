/* SPDX-License-Identifier: MIT
 *
 * The table of pending calls against a list that is searched.
 */
#include "core/prng.h"
#include "sched/calls.h"
#include "tests/unit/support.h"

enum { CALLS = 500 };

/* A call as the test knows it. */
struct known {
    bool pending;
    uint64_t reference;
    uint64_t token;
    uint64_t deadline_ns;
};

struct bench {
    struct weft__core core;
    weft_env *env;
    struct weft__calls calls;
    struct known known[CALLS];
    uint32_t count;
};

static struct bench bench;

static void bench_start(void) {
    memset(&bench, 0, sizeof(bench));
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 64 << 20;
    ck_assert_int_eq(weft_env_os_create(&bench.env), 0);
    ck_assert_int_eq(weft__core_init(&bench.core, &config, bench.env), 0);
}

static void bench_stop(void) {
    weft__calls_fini(&bench.calls, &bench.core);
    weft__core_fini(&bench.core);
    ck_assert_uint_eq(weft_load64_relaxed(&bench.core.heap_bytes), 0);
    weft_env_os_destroy(&bench.env);
}

static uint64_t add(uint64_t token, uint64_t deadline_ns) {
    ck_assert_int_eq(weft__calls_reserve(&bench.calls, &bench.core, UINT32_MAX), 0);
    return weft__calls_add(&bench.calls, token, deadline_ns, 0);
}

static uint64_t earliest(void) {
    uint64_t deadline_ns = UINT64_MAX;
    for (uint32_t i = 0; i < CALLS; i++) {
        if (bench.known[i].pending) {
            deadline_ns = weft_min_u64(deadline_ns, bench.known[i].deadline_ns);
        }
    }
    return deadline_ns;
}

static void forget(uint64_t reference) {
    for (uint32_t i = 0; i < CALLS; i++) {
        if (bench.known[i].pending && bench.known[i].reference == reference) {
            bench.known[i].pending = false;
            bench.count--;
            return;
        }
    }
    ck_abort_msg("not pending");
}

static void step_add(struct weft__prng *prng) {
    uint32_t at = weft__prng_below(prng, CALLS);
    struct known *known = &bench.known[at];
    if (known->pending) {
        uint64_t token;
        ck_assert(weft__calls_take(&bench.calls, known->reference, &token));
        ck_assert_uint_eq(token, known->token);
        uint64_t again;
        ck_assert(!weft__calls_take(&bench.calls, known->reference, &again));
        forget(known->reference);
        return;
    }
    known->token = weft__prng_below(prng, 50);
    known->deadline_ns = weft__prng_below(prng, 1000);
    known->reference = add(known->token, known->deadline_ns);
    known->pending = true;
    bench.count++;
    for (uint32_t i = 0; i < CALLS; i++) {
        ck_assert(i == at || !bench.known[i].pending ||
                  bench.known[i].reference != known->reference);
    }
}

/* One that is pending becomes due before all others, and stays the only one of its deadline. */
static void step_hurry(struct weft__prng *prng) {
    struct known *known = &bench.known[weft__prng_below(prng, CALLS)];
    if (!known->pending || earliest() == 0) {
        return;
    }
    weft__calls_hurry(&bench.calls, (uint32_t)known->reference);
    known->deadline_ns = 0;
    ck_assert_uint_eq(weft__calls_deadline(&bench.calls), 0);
}

static void step_expire(uint64_t now_ns) {
    uint64_t token;
    while (weft__calls_expire(&bench.calls, now_ns, &token, &(uint64_t){0})) {
        uint64_t deadline_ns = earliest(); /* always the earliest goes first */
        ck_assert_uint_le(deadline_ns, now_ns);
        bool found = false;
        for (uint32_t i = 0; i < CALLS && !found; i++) {
            struct known *known = &bench.known[i];
            uint64_t taken;
            if (known->pending && known->deadline_ns == deadline_ns && known->token == token &&
                !weft__calls_take(&bench.calls, known->reference, &taken)) {
                known->pending = false;
                bench.count--;
                found = true;
            } else if (known->pending && known->deadline_ns == deadline_ns &&
                       known->token == token) {
                /* A twin that was still pending: gone by our own look, put back. */
                known->reference = add(token, deadline_ns);
            }
        }
        ck_assert(found);
    }
    ck_assert_uint_gt(earliest(), now_ns);
}

/* Removes every call with a token; how many. */
static uint32_t cancel(uint64_t token) {
    uint32_t cursor = 0;
    uint32_t count = 0;
    uint64_t reference;
    while (weft__calls_find(&bench.calls, token, &cursor, &reference)) {
        uint64_t taken;
        ck_assert(weft__calls_take(&bench.calls, reference, &taken));
        ck_assert_uint_eq(taken, token);
        count++;
    }
    return count;
}

static void step_cancel(uint64_t token) {
    uint32_t expected = 0;
    for (uint32_t i = 0; i < CALLS; i++) {
        if (bench.known[i].pending && bench.known[i].token == token) {
            bench.known[i].pending = false;
            bench.count--;
            expected++;
        }
    }
    ck_assert_uint_eq(cancel(token), expected);
}

START_TEST(random_operations_agree_with_a_list) {
    bench_start();
    struct weft__prng prng;
    weft__prng_init(&prng, 3, (uint64_t)_i);
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t what = weft__prng_below(&prng, 100);
        if (what < 92) {
            step_add(&prng);
        } else if (what < 96) {
            step_hurry(&prng);
        } else if (what < 98) {
            step_expire(weft__prng_below(&prng, 300));
        } else {
            step_cancel(weft__prng_below(&prng, 50));
        }
        ck_assert_uint_eq(bench.calls.count, bench.count);
        ck_assert_uint_eq(weft__calls_deadline(&bench.calls), earliest());
    }
    bench_stop();
}
END_TEST

START_TEST(calls_expire_in_the_order_of_their_deadlines) {
    bench_start();
    struct weft__prng prng;
    weft__prng_init(&prng, 9, 0);
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t deadline_ns = weft__prng_below(&prng, 100000);
        (void)add(deadline_ns, deadline_ns);
    }
    uint64_t last = 0;
    uint64_t token;
    uint32_t count = 0;
    while (weft__calls_expire(&bench.calls, UINT64_MAX - 1, &token, &(uint64_t){0})) {
        ck_assert_uint_ge(token, last);
        last = token;
        count++;
    }
    ck_assert_uint_eq(count, 5000);
    ck_assert_uint_eq(weft__calls_deadline(&bench.calls), UINT64_MAX);
    bench_stop();
}
END_TEST

START_TEST(the_limit_is_exact) {
    bench_start();
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_eq(weft__calls_reserve(&bench.calls, &bench.core, 10), 0);
        (void)weft__calls_add(&bench.calls, i, 100, 0);
    }
    ck_assert_int_eq(weft__calls_reserve(&bench.calls, &bench.core, 10), WEFT_E_LIMIT);
    ck_assert_uint_eq(cancel(3), 1);
    ck_assert_int_eq(weft__calls_reserve(&bench.calls, &bench.core, 10), 0);
    bench_stop();
}
END_TEST

START_TEST(a_reference_never_names_a_later_call) {
    bench_start();
    uint64_t old[1000];
    uint64_t token;
    for (uint32_t i = 0; i < 1000; i++) {
        old[i] = add(i, 100);
        ck_assert(weft__calls_take(&bench.calls, old[i], &token));
    }
    uint64_t current = add(7, 100);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_ne(old[i], current);
        ck_assert(!weft__calls_take(&bench.calls, old[i], &token));
    }
    ck_assert(!weft__calls_take(&bench.calls, 0, &token));
    ck_assert(!weft__calls_take(&bench.calls, UINT64_MAX, &token));
    ck_assert(!weft__calls_take(&bench.calls, current + (UINT64_C(1) << 32), &token));
    ck_assert(!weft__calls_take(&bench.calls, current + 1, &token));
    ck_assert(weft__calls_take(&bench.calls, current, &token));
    ck_assert_uint_eq(token, 7);
    bench_stop();
}
END_TEST

START_TEST(a_call_without_deadline_never_expires) {
    bench_start();
    (void)add(1, UINT64_MAX);
    uint64_t token;
    ck_assert(!weft__calls_expire(&bench.calls, UINT64_MAX - 1, &token, &(uint64_t){0}));
    ck_assert_uint_eq(weft__calls_deadline(&bench.calls), UINT64_MAX);
    ck_assert_uint_eq(bench.calls.count, 1);
    bench_stop();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("calls");
    TCase *tcase = tcase_create("calls");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, random_operations_agree_with_a_list, 0, 4);
    tcase_add_test(tcase, calls_expire_in_the_order_of_their_deadlines);
    tcase_add_test(tcase, the_limit_is_exact);
    tcase_add_test(tcase, a_reference_never_names_a_later_call);
    tcase_add_test(tcase, a_call_without_deadline_never_expires);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
