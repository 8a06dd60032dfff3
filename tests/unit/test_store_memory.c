/* SPDX-License-Identifier: MIT
 *
 * The store in memory, alone: versions, keys, limits, growth, threads, and memory that fails.
 */
#include "tests/unit/store_bench.h"

/* ---- versions ------------------------------------------------------------------------------ */

START_TEST(what_was_put_is_what_a_get_gives) {
    struct bench bench = bench_start(0);
    uint64_t version = 0;
    assert_holds(&bench, key_of("a"), NULL, 0);
    ck_assert_int_eq(put(&bench, key_of("a"), "one", &version), 0);
    assert_holds(&bench, key_of("a"), "one", version);
    assert_holds(&bench, key_of("b"), NULL, 0);
    ck_assert_int_eq(put(&bench, key_of("a"), "two and more", &version), 0);
    assert_holds(&bench, key_of("a"), "two and more", version);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), 1);
    ck_assert_int_eq(take(&bench, key_of("a"), version), 0);
    assert_holds(&bench, key_of("a"), NULL, 0);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(another_version_than_expected_changes_nothing) {
    struct bench bench = bench_start(0);
    uint64_t version = 0;
    uint64_t wrong = 7;
    ck_assert_int_eq(put(&bench, key_of("a"), "x", &wrong), WEFT_E_VERSION); /* there is none */
    ck_assert_int_eq(take(&bench, key_of("a"), 7), WEFT_E_VERSION);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), 0);
    ck_assert_int_eq(put(&bench, key_of("a"), "one", &version), 0);
    const uint64_t others[] = {0, version - 1, version + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        wrong = others[i];
        ck_assert_int_eq(put(&bench, key_of("a"), "x", &wrong), WEFT_E_VERSION);
        ck_assert_int_eq(take(&bench, key_of("a"), others[i]), WEFT_E_VERSION);
        assert_holds(&bench, key_of("a"), "one", version);
    }
    bench_stop(&bench);
}
END_TEST

START_TEST(removing_nothing_is_fine) {
    struct bench bench = bench_start(0);
    ck_assert_int_eq(take(&bench, key_of("a"), 0), 0);
    ck_assert_int_eq(take(&bench, key_of("a"), 0), 0);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(versions_grow_and_none_comes_back_after_a_remove) {
    struct bench bench = bench_start(0);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t version = 0;
        weft_store_key key = key_of(i % 2 == 0 ? "a" : "b");
        ck_assert_int_eq(put(&bench, key, "x", &version), 0);
        ck_assert_uint_gt(version, last);
        last = version;
        ck_assert_int_eq(take(&bench, key, version), 0);
        uint64_t stale = version;
        ck_assert_int_eq(put(&bench, key, "y", &stale), WEFT_E_VERSION);
    }
    bench_stop(&bench);
}
END_TEST

/* ---- keys and values ----------------------------------------------------------------------- */

START_TEST(each_part_of_a_key_counts_and_where_it_ends) {
    struct bench bench = bench_start(0);
    const weft_store_key keys[] = {
        {"ab", "c", "d", 1}, {"a", "bc", "d", 1},  {"ab", "cd", "", 0},   {"ab", "", "cd", 2},
        {"", "ab", "cd", 2}, {"", "", "abcd", 4},  {"abcd", "", NULL, 0}, {"", "", NULL, 0},
        {"", "", "\0", 1},   {"", "", "\0\0", 2},  {"", "", "ab\0d", 4},  {"", "", "ab\0e", 4},
        {"ab", "c", "D", 1}, {"ab", "c", "dd", 2}, {"ab", "c", "d\0", 2},
    };
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    uint64_t versions[KEYS] = {0};
    char text[16];
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(text, sizeof(text), "%zu", i);
        assert_holds(&bench, keys[i], NULL, 0);
        ck_assert_int_eq(put(&bench, keys[i], text, &versions[i]), 0);
    }
    ck_assert_uint_eq(weft_store_memory_count(bench.store), KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(text, sizeof(text), "%zu", i);
        assert_holds(&bench, keys[i], text, versions[i]);
    }
    bench_stop(&bench);
}
END_TEST

START_TEST(ids_and_values_of_any_bytes_and_size_are_kept) {
    struct bench bench = bench_start(0);
    static const size_t sizes[] = {0, 1, 7, 8, 63, 64, 65, 4096, 65535, 3 << 20};
    unsigned char *bytes = malloc(3 << 20);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < 3 << 20; i++) {
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        weft_store_key key = {"c", "t", bytes, sizes[i] > 65535 ? 65534 : sizes[i]};
        uint64_t version = 0;
        ck_assert_int_eq(put_bytes(&bench, key, bytes + 1, sizes[i] - (i == 9), &version), 0);
        struct answer answer = get(&bench, key);
        ck_assert_int_eq(answer.status, 0);
        ck_assert_uint_eq(weft_buf_size(answer.value), sizes[i] - (i == 9));
        ck_assert_mem_eq(weft_buf_data(answer.value), bytes + 1, sizes[i] - (i == 9));
        weft_buf_unref(answer.value);
    }
    free(bytes);
    bench_stop(&bench);
}
END_TEST

START_TEST(values_are_copies_and_outlive_the_runtime) {
    struct bench bench = bench_start(0);
    uint64_t version = 0;
    char id[] = "a";
    ck_assert_int_eq(put(&bench, key_of(id), "kept", &version), 0);
    id[0] = 'b';
    struct answer answer = get(&bench, key_of("a"));
    memset(weft_buf_data(answer.value), 'x', weft_buf_size(answer.value));
    weft_buf_unref(answer.value);
    runtime_end(&bench.runtime);
    bench.runtime = runtime_new();
    assert_holds(&bench, key_of("a"), "kept", version);
    assert_holds(&bench, key_of("b"), NULL, 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(a_buffer_that_was_handed_out_outlives_the_store) {
    struct bench bench = bench_start(0);
    uint64_t version = 0;
    ck_assert_int_eq(put(&bench, key_of("a"), "kept", &version), 0);
    struct answer answer = get(&bench, key_of("a"));
    weft_store_memory_destroy(&bench.store);
    ck_assert_mem_eq(weft_buf_data(answer.value), "kept", 4);
    weft_buf_unref(answer.value);
    bench_stop(&bench);
}
END_TEST

START_TEST(bad_arguments_are_invalid) {
    struct bench bench = bench_start(0);
    weft_store_memory_destroy(NULL);
    weft_store *none = NULL;
    weft_store_memory_destroy(&none);
    ck_assert_int_eq(weft_store_memory_create(0, NULL), -EINVAL);
    uint64_t version = 0;
    ck_assert_int_eq(put(&bench, (weft_store_key){NULL, "t", "i", 1}, "x", &version), -EINVAL);
    ck_assert_int_eq(put(&bench, (weft_store_key){"c", NULL, "i", 1}, "x", &version), -EINVAL);
    ck_assert_int_eq(take(&bench, (weft_store_key){"c", "t", NULL, 1}, 0), -EINVAL);
    ck_assert_int_eq(get(&bench, (weft_store_key){"c", "t", "i", SIZE_MAX}).status, -EINVAL);
    struct answer answer = {0};
    weft_store_op op = op_of(&bench, &answer);
    weft_store_key key = key_of("a");
    ck_assert_int_eq(bench.store->calls->put(bench.store, &key, NULL, 0, &op), -EINVAL);
    ck_assert_int_eq(answer.calls, 0);
    bench_stop(&bench);
}
END_TEST

/* ---- limits -------------------------------------------------------------------------------- */

START_TEST(no_put_exceeds_the_limit_and_what_goes_makes_room) {
    struct bench bench = bench_start(1000);
    char large[600];
    memset(large, 'x', sizeof(large));
    uint64_t a = 0;
    uint64_t b = 0;
    ck_assert_int_eq(put_bytes(&bench, key_of("a"), large, 600, &a), 0);
    ck_assert_int_eq(put_bytes(&bench, key_of("b"), large, 600, &b), -ENOSPC);
    assert_holds(&bench, key_of("b"), NULL, 0);
    ck_assert_int_eq(put_bytes(&bench, key_of("a"), large, 500, &a), 0); /* in place of the old */
    ck_assert_int_eq(put_bytes(&bench, key_of("b"), large, 100, &b), 0);
    ck_assert_int_eq(put_bytes(&bench, key_of("b"), large, 600, &b), -ENOSPC);
    struct answer answer = get(&bench, key_of("b")); /* the old one is still there */
    ck_assert_uint_eq(answer.version, b);
    ck_assert_uint_eq(weft_buf_size(answer.value), 100);
    weft_buf_unref(answer.value);
    ck_assert_int_eq(take(&bench, key_of("a"), a), 0);
    ck_assert_int_eq(put_bytes(&bench, key_of("b"), large, 600, &b), 0);
    ck_assert_int_eq(take(&bench, key_of("b"), b), 0);
    for (uint32_t i = 0; i < 100; i++) { /* nothing is left behind in the account */
        a = 0;
        ck_assert_int_eq(put_bytes(&bench, key_of("a"), large, 600, &a), 0);
        ck_assert_int_eq(take(&bench, key_of("a"), a), 0);
    }
    ck_assert_uint_eq(weft_load64_relaxed(&memory_of(bench.store)->bytes), 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(without_memory_nothing_changes) {
    struct bench bench = bench_start(0);
    uint64_t version = 0;
    weft_store *store = NULL;
    allocations_left = 0;
    ck_assert_int_eq(weft_store_memory_create(0, &store), -ENOMEM);
    ck_assert_ptr_null(store);
    ck_assert_int_eq(put(&bench, key_of("a"), "one", &version), -ENOMEM);
    allocations_left = ~0u;
    assert_holds(&bench, key_of("a"), NULL, 0);
    ck_assert_int_eq(put(&bench, key_of("a"), "one", &version), 0);
    allocations_left = 0;
    ck_assert_int_eq(put(&bench, key_of("a"), "two", &version), -ENOMEM);
    assert_holds(&bench, key_of("a"), "one", version);
    ck_assert_int_eq(take(&bench, key_of("a"), version), 0); /* needs none */
    allocations_left = ~0u;
    bench_stop(&bench);
}
END_TEST

static void *no_memory(void *cookie, size_t size, const char *tag) {
    return *(bool *)cookie && strcmp(tag, "buffer") == 0 ? NULL : malloc(size);
}

static void free_memory(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

START_TEST(a_get_without_memory_for_its_buffer_says_so) {
    bool fails = false;
    struct bench bench = bench_start(0);
    runtime_end(&bench.runtime);
    weft_config config = rig_config(1);
    config.allocator = (weft_allocator){.cookie = &fails, .alloc = no_memory, .free = free_memory};
    ck_assert_int_eq(weft_runtime_create(&config, &bench.runtime), 0);
    uint64_t version = 0;
    ck_assert_int_eq(put(&bench, key_of("a"), "one", &version), 0);
    fails = true;
    ck_assert_int_eq(get(&bench, key_of("a")).status, -ENOMEM);
    fails = false;
    assert_holds(&bench, key_of("a"), "one", version);
    bench_stop(&bench);
}
END_TEST

/* ---- many keys ----------------------------------------------------------------------------- */

static void put_many(struct bench *bench, uint32_t first, uint32_t count, uint64_t *versions) {
    for (uint32_t i = first; i < first + count; i++) {
        char id[16];
        snprintf(id, sizeof(id), "user:%u", i);
        versions[i] = 0;
        ck_assert_int_eq(put(bench, key_of(id), id, &versions[i]), 0);
    }
}

static void assert_many(struct bench *bench, uint32_t count, const uint64_t *versions) {
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof(id), "user:%u", i);
        assert_holds(bench, key_of(id), versions[i] == 0 ? NULL : id, versions[i]);
    }
}

static uint32_t longest_chain(weft_store *store) {
    uint32_t longest = 0;
    struct memory *memory = memory_of(store);
    for (uint32_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &memory->stripes[i];
        for (uint32_t j = 0; j < stripe->bucket_count; j++) {
            uint32_t length = 0;
            for (struct record *record = *bucket_at(stripe, j); record; record = record->next) {
                length++;
            }
            longest = length > longest ? length : longest;
        }
    }
    return longest;
}

enum { MANY = 100000 };

START_TEST(many_keys_are_found_and_chains_stay_short) {
    struct bench bench = bench_start(0);
    uint64_t *versions = calloc(MANY, sizeof(*versions));
    ck_assert_ptr_nonnull(versions);
    put_many(&bench, 0, MANY, versions);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), MANY);
    ck_assert_uint_lt(longest_chain(bench.store), 20);
    for (uint32_t i = 0; i < MANY; i += 3) {
        char id[16];
        snprintf(id, sizeof(id), "user:%u", i);
        ck_assert_int_eq(take(&bench, key_of(id), versions[i]), 0);
        versions[i] = 0;
    }
    assert_many(&bench, MANY, versions);
    ck_assert_uint_eq(weft_store_memory_count(bench.store), MANY - (MANY + 2) / 3);
    free(versions);
    bench_stop(&bench);
}
END_TEST

START_TEST(a_table_that_could_not_grow_keeps_everything_and_catches_up) {
    enum { FEW = 20000 };
    struct bench bench = bench_start(0);
    uint64_t *versions = calloc(2 * FEW, sizeof(*versions));
    ck_assert_ptr_nonnull(versions);
    for (uint32_t i = 0; i < FEW; i++) {
        allocations_left = 1; /* for the record, not for a segment */
        put_many(&bench, i, 1, versions);
    }
    allocations_left = ~0u;
    ck_assert_uint_gt(longest_chain(bench.store), 20);
    assert_many(&bench, FEW, versions);
    put_many(&bench, FEW, FEW, versions);
    assert_many(&bench, 2 * FEW, versions);
    ck_assert_uint_lt(longest_chain(bench.store), 20);
    free(versions);
    bench_stop(&bench);
}
END_TEST

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(random_operations_do_what_a_list_would) {
    enum { IDS = 500 };
    static struct {
        uint64_t version;
        char text[24];
    } model[IDS];
    struct bench bench = bench_start(0);
    uint64_t random = 88172645463325252ull;
    uint64_t held = 0;
    for (uint32_t round = 0; round < 60000; round++) {
        uint32_t which = (uint32_t)(random_next(&random) % IDS);
        bool right = random_next(&random) % 4 != 0;
        uint64_t expected = right ? model[which].version : random_next(&random) % 1000;
        right = expected == model[which].version;
        char id[16];
        snprintf(id, sizeof(id), "%x", which * 2654435761u);
        switch (random_next(&random) % 3) {
        case 0:
            assert_holds(&bench, key_of(id), model[which].version == 0 ? NULL : model[which].text,
                         model[which].version);
            break;
        case 1: {
            char text[24];
            snprintf(text, sizeof(text), "%llx", (unsigned long long)random_next(&random));
            ck_assert_int_eq(put(&bench, key_of(id), text, &expected), right ? 0 : WEFT_E_VERSION);
            if (right) {
                held += model[which].version == 0 ? 1 : 0;
                model[which].version = expected;
                memcpy(model[which].text, text, sizeof(text));
            }
            break;
        }
        default:
            ck_assert_int_eq(take(&bench, key_of(id), expected), right ? 0 : WEFT_E_VERSION);
            if (right) {
                held -= model[which].version == 0 ? 0 : 1;
                model[which].version = 0;
            }
            break;
        }
        ck_assert_uint_eq(weft_store_memory_count(bench.store), held);
    }
    bench_stop(&bench);
}
END_TEST

/* ---- completions and threads --------------------------------------------------------------- */

struct again {
    struct bench *bench;
    uint64_t version;
};

static void use_same_key(void *cookie) {
    struct again *again = cookie;
    ck_assert_int_eq(put(again->bench, key_of("a"), "inner", &again->version), 0);
    assert_holds(again->bench, key_of("a"), "inner", again->version);
    ck_assert_int_eq(take(again->bench, key_of("a"), again->version), 0);
    again->version = 0;
}

START_TEST(a_completion_may_use_the_store) {
    struct bench bench = bench_start(0);
    struct again again = {.bench = &bench};
    struct answer answer = {.then = use_same_key, .cookie = &again};
    weft_store_op op = op_of(&bench, &answer);
    weft_store_key key = key_of("a");
    ck_assert_int_eq(bench.store->calls->get(bench.store, &key, &op), 0);
    ck_assert_int_eq(bench.store->calls->remove(bench.store, &key, 0, &op), 0);
    ck_assert_int_eq(answer.calls, 2);
    ck_assert(pthread_equal(answer.thread, pthread_self()));
    bench_stop(&bench);
}
END_TEST

enum { THREADS = 4, COUNTERS = 5 };

struct counting {
    struct bench *bench;
    uint64_t seed;
    uint64_t rounds;
    uint64_t done[COUNTERS];
};

/* Adds 1 to a counter as an actor would: reads it, and writes it back with the version it read. */
static void *count_up(void *argument) {
    struct counting *counting = argument;
    for (uint64_t i = 0; i < counting->rounds; i++) {
        uint32_t which = (uint32_t)(random_next(&counting->seed) % COUNTERS);
        char id[2] = {(char)('a' + which), '\0'};
        struct answer answer = get(counting->bench, key_of(id));
        uint64_t value = 0;
        uint64_t version = answer.status == 0 ? answer.version : 0;
        if (answer.status == 0) {
            memcpy(&value, weft_buf_data(answer.value), sizeof(value));
            weft_buf_unref(answer.value);
        }
        value++;
        int status = put_bytes(counting->bench, key_of(id), &value, sizeof(value), &version);
        ck_assert(status == 0 || status == WEFT_E_VERSION);
        counting->done[which] += status == 0 ? 1 : 0;
        if (i % 16 == 0) { /* and others come and go, so that the table grows meanwhile */
            char other[48];
            uint64_t none = 0;
            snprintf(other, sizeof(other), "%p.%llu", argument, (unsigned long long)i);
            ck_assert_int_eq(put(counting->bench, key_of(other), "x", &none), 0);
        }
    }
    return NULL;
}

START_TEST(no_update_of_any_thread_is_lost) {
    struct bench bench = bench_start(UINT64_C(1) << 40);
    struct counting counting[THREADS];
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        counting[i] = (struct counting){.bench = &bench, .seed = 77 + i, .rounds = 20000};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, &counting[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t which = 0; which < COUNTERS; which++) {
        char id[2] = {(char)('a' + which), '\0'};
        uint64_t expected = 0;
        uint64_t value = 0;
        for (uint32_t i = 0; i < THREADS; i++) {
            expected += counting[i].done[which];
        }
        struct answer answer = get(&bench, key_of(id));
        memcpy(&value, weft_buf_data(answer.value), sizeof(value));
        weft_buf_unref(answer.value);
        ck_assert_uint_eq(value, expected);
        ck_assert_uint_gt(value, 0);
    }
    ck_assert_uint_eq(weft_store_memory_count(bench.store), COUNTERS + THREADS * 20000 / 16);
    bench_stop(&bench);
}
END_TEST

static Suite *store_memory_suite(void) {
    Suite *suite = suite_create("store_memory");
    TCase *tcase = tcase_create("values");
    tcase_add_test(tcase, what_was_put_is_what_a_get_gives);
    tcase_add_test(tcase, another_version_than_expected_changes_nothing);
    tcase_add_test(tcase, removing_nothing_is_fine);
    tcase_add_test(tcase, versions_grow_and_none_comes_back_after_a_remove);
    tcase_add_test(tcase, each_part_of_a_key_counts_and_where_it_ends);
    tcase_add_test(tcase, ids_and_values_of_any_bytes_and_size_are_kept);
    tcase_add_test(tcase, values_are_copies_and_outlive_the_runtime);
    tcase_add_test(tcase, a_buffer_that_was_handed_out_outlives_the_store);
    tcase_add_test(tcase, bad_arguments_are_invalid);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("limits");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, no_put_exceeds_the_limit_and_what_goes_makes_room);
    tcase_add_test(tcase, without_memory_nothing_changes);
    tcase_add_test(tcase, a_get_without_memory_for_its_buffer_says_so);
    tcase_add_test(tcase, many_keys_are_found_and_chains_stay_short);
    tcase_add_test(tcase, a_table_that_could_not_grow_keeps_everything_and_catches_up);
    tcase_add_test(tcase, random_operations_do_what_a_list_would);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("completions");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_completion_may_use_the_store);
    tcase_add_test(tcase, no_update_of_any_thread_is_lost);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return run_suite(store_memory_suite());
}
