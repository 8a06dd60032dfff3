/* SPDX-License-Identifier: MIT
 *
 * The faulty store that other tests use does what it is told to, and completes nothing twice.
 */
#include "tests/unit/store_bench.h"

struct faulty_bench {
    struct faulty faulty;
    struct bench bench; /* its store is the faulty one */
};

static void faulty_start_bench(struct faulty_bench *rig, uint64_t seed) {
    faulty_init(&rig->faulty, seed);
    rig->bench = (struct bench){.runtime = runtime_new(), .store = &rig->faulty.store};
}

static void faulty_stop_bench(struct faulty_bench *rig) {
    faulty_drop(&rig->faulty);
    runtime_end(&rig->bench.runtime);
    faulty_fini(&rig->faulty);
}

START_TEST(a_faulty_store_without_a_plan_is_a_good_one) {
    struct faulty_bench rig;
    faulty_start_bench(&rig, 1);
    uint64_t version = 0;
    ck_assert_int_eq(put(&rig.bench, key_of("a"), "one", &version), 0);
    assert_holds(&rig.bench, key_of("a"), "one", version);
    uint64_t wrong = 0;
    ck_assert_int_eq(put(&rig.bench, key_of("a"), "two", &wrong), WEFT_E_VERSION);
    weft_store_key key = key_of("a");
    ck_assert_uint_gt(faulty_poke(&rig.faulty, rig.bench.runtime, &key, "poked"), version);
    ck_assert_int_eq(take(&rig.bench, key_of("a"), version), WEFT_E_VERSION);
    weft_buf *value = NULL;
    ck_assert_int_eq(faulty_peek(&rig.faulty, rig.bench.runtime, &key, &version, &value), 0);
    ck_assert_mem_eq(weft_buf_data(value), "poked", 5);
    weft_buf_unref(value);
    (void)faulty_poke(&rig.faulty, rig.bench.runtime, &key, NULL);
    ck_assert_uint_eq(faulty_keys(&rig.faulty), 0);
    ck_assert(!faulty_step(&rig.faulty));
    faulty_stop_bench(&rig);
}
END_TEST

/* What each fate answers to a put, and whether the value is there afterwards. */
static const struct {
    enum faulty_fate fate;
    int started;
    int answers;
    int status;
    bool done;
} fates[] = {
    {FAULTY_GOOD, 0, 1, 0, true},
    {FAULTY_REFUSE, -EIO, 0, 0, false},
    {FAULTY_LOSE, 0, 0, 0, false},
    {FAULTY_LOSE_ANSWER, 0, 0, 0, true},
    {FAULTY_FAIL, 0, 1, -EIO, false},
    {FAULTY_FAIL_ANSWER, 0, 1, -EIO, true},
    {FAULTY_VERSION, 0, 1, WEFT_E_VERSION, false},
};

/* At once, delayed, and delayed and done late. */
START_TEST(every_fate_is_what_it_says) {
    static const struct faulty_plan plans[] = {
        {.delay = 0}, {.delay = 100}, {.delay = 100, .late = 100}};
    struct faulty_bench rig;
    faulty_start_bench(&rig, 2);
    faulty_plan(&rig.faulty, plans[_i]);
    for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        weft_store_key key = key_of(id);
        struct answer answer = {0};
        weft_store_op op = op_of(&rig.bench, &answer);
        weft_buf *value = buf_of(&rig.bench, "one", 3);
        faulty_next(&rig.faulty, FAULTY_PUT, fates[i].fate, 1);
        ck_assert_int_eq(faulty_put(&rig.faulty.store, &key, value, 0, &op), fates[i].started);
        weft_buf_unref(value);
        bool waits = _i != 0 && fates[i].started == 0;
        ck_assert_uint_eq(faulty_waiting(&rig.faulty), waits ? 1 : 0);
        if (waits) {
            ck_assert_int_eq(answer.calls, 0);
        }
        weft_buf *kept = NULL;
        uint64_t version = 0;
        int peeked = faulty_peek(&rig.faulty, rig.bench.runtime, &key, &version, &kept);
        ck_assert_int_eq(peeked, fates[i].done && _i != 2 ? 0 : -ENOENT);
        weft_buf_unref(kept);
        ck_assert(faulty_step(&rig.faulty) == waits);
        ck_assert_int_eq(answer.calls, fates[i].answers);
        ck_assert_int_eq(answer.status, fates[i].status);
        ck_assert((answer.version != 0) == (fates[i].fate == FAULTY_GOOD));
        kept = NULL;
        peeked = faulty_peek(&rig.faulty, rig.bench.runtime, &key, &version, &kept);
        ck_assert_int_eq(peeked, fates[i].done ? 0 : -ENOENT);
        weft_buf_unref(kept);
        ck_assert_uint_eq(faulty_counts(&rig.faulty).fate[fates[i].fate], 1);
    }
    faulty_stop_bench(&rig);
}
END_TEST

START_TEST(delayed_operations_complete_once_each_in_another_order_and_from_a_helper) {
    enum { OPERATIONS = 1000 };
    static struct answer answers[OPERATIONS];
    struct faulty_bench rig;
    faulty_start_bench(&rig, 3);
    faulty_plan(&rig.faulty, (struct faulty_plan){.delay = 100, .late = 50});
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%u", i);
        weft_store_key key = key_of(id);
        weft_store_op op = op_of(&rig.bench, &answers[i]);
        op.weft__reference = i % 2; /* nobody waits for every other one */
        weft_buf *value = buf_of(&rig.bench, id, strlen(id));
        ck_assert_int_eq(faulty_put(&rig.faulty.store, &key, value, 0, &op), 0);
        weft_buf_unref(value);
    }
    ck_assert_uint_eq(faulty_waiting(&rig.faulty), OPERATIONS);
    for (uint32_t i = 0; i < OPERATIONS / 2; i++) {
        ck_assert(faulty_step(&rig.faulty));
    }
    uint32_t early = 0;
    for (uint32_t i = 0; i < OPERATIONS / 2; i++) {
        early += (uint32_t)answers[i].calls;
    }
    ck_assert_uint_gt(early, OPERATIONS / 8); /* neither first come nor last come */
    ck_assert_uint_lt(early, OPERATIONS * 3 / 8);
    faulty_helper_start(&rig.faulty, 1000);
    eventually(faulty_waiting(&rig.faulty) == 0);
    faulty_helper_stop(&rig.faulty);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        ck_assert_int_eq(answers[i].calls, 1);
        ck_assert_int_eq(answers[i].status, 0);
    }
    ck_assert_uint_eq(faulty_counts(&rig.faulty).completed, OPERATIONS);
    ck_assert_uint_eq(faulty_counts(&rig.faulty).unwanted, OPERATIONS / 2);
    ck_assert_uint_eq(faulty_keys(&rig.faulty), OPERATIONS);
    faulty_stop_bench(&rig);
}
END_TEST

START_TEST(a_plan_draws_fates_by_its_percentages_and_the_same_ones_from_a_seed) {
    struct faulty_plan plan = {.fate = {[FAULTY_FAIL] = 20, [FAULTY_VERSION] = 30}};
    uint64_t failed[3] = {0};
    for (uint32_t run = 0; run < 3; run++) {
        struct faulty_bench rig;
        faulty_start_bench(&rig, run == 2 ? 5 : 4);
        faulty_plan(&rig.faulty, plan);
        for (uint32_t i = 0; i < 2000; i++) {
            int status = take(&rig.bench, key_of("a"), 0);
            ck_assert(status == 0 || status == -EIO || status == WEFT_E_VERSION);
            failed[run] = failed[run] * 3 + (status == 0 ? 0 : status == -EIO ? 1 : 2);
        }
        struct faulty_counts counts = faulty_counts(&rig.faulty);
        ck_assert_uint_gt(counts.fate[FAULTY_FAIL], 300);
        ck_assert_uint_lt(counts.fate[FAULTY_FAIL], 500);
        ck_assert_uint_gt(counts.fate[FAULTY_VERSION], 450);
        ck_assert_uint_lt(counts.fate[FAULTY_VERSION], 750);
        ck_assert_uint_eq(counts.removes, 2000);
        faulty_stop_bench(&rig);
    }
    ck_assert_uint_eq(failed[0], failed[1]);
    ck_assert_uint_ne(failed[0], failed[2]);
}
END_TEST

static Suite *store_faulty_suite(void) {
    Suite *suite = suite_create("store_faulty");
    TCase *tcase = tcase_create("faulty");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_faulty_store_without_a_plan_is_a_good_one);
    tcase_add_loop_test(tcase, every_fate_is_what_it_says, 0, 3);
    tcase_add_test(tcase, delayed_operations_complete_once_each_in_another_order_and_from_a_helper);
    tcase_add_test(tcase, a_plan_draws_fates_by_its_percentages_and_the_same_ones_from_a_seed);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return run_suite(store_faulty_suite());
}
