/* SPDX-License-Identifier: MIT
 *
 * Message pools: sizes, reuse, cells that come home from other pools and other threads, trimming,
 * and what happens when memory runs out.
 */
#include "core/pool.h"
#include "core/prng.h"
#include "tests/unit/support.h"

enum { POOLS = 3 };

struct bench {
    struct weft__core core;
    weft_env *env;
    struct weft__pool *pools[POOLS];
    struct weft__pool storage[POOLS];
};

static uint64_t committed;
static uint64_t commit_max;

static int commit(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    if (committed + size > commit_max) {
        return -ENOMEM;
    }
    committed += size;
    return 0;
}

static void *plain_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    return malloc(size);
}

static void plain_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

static void bench_start(struct bench *bench, uint64_t keep_bytes, uint64_t limit) {
    memset(bench, 0, sizeof(*bench));
    committed = 0;
    commit_max = limit;
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 256 << 20;
    config.allocator = (weft_allocator){.alloc = plain_alloc, .free = plain_free, .commit = commit};
    ck_assert_int_eq(weft_env_os_create(&bench->env), 0);
    ck_assert_int_eq(weft__core_init(&bench->core, &config, bench->env), 0);
    for (uint32_t id = 0; id < POOLS; id++) {
        bench->pools[id] = &bench->storage[id];
        ck_assert_int_eq(
            weft__pool_init(bench->pools[id], &bench->core, bench->pools, POOLS, id, keep_bytes),
            0);
    }
}

static void bench_stop(struct bench *bench) {
    for (uint32_t id = 0; id < POOLS; id++) {
        weft__pool_fini(bench->pools[id]);
    }
    weft__core_fini(&bench->core);
    ck_assert_uint_eq(weft_load64_relaxed(&bench->core.heap_bytes), 0);
    weft_env_os_destroy(&bench->env);
}

static uint64_t in_use(struct bench *bench) {
    uint64_t cells = 0;
    for (uint32_t id = 0; id < POOLS; id++) {
        cells += weft_load64_relaxed(&bench->pools[id]->allocated);
        cells -= weft_load64_relaxed(&bench->pools[id]->freed);
    }
    return cells;
}

START_TEST(a_class_is_the_smallest_that_holds_the_bytes) {
    ck_assert_uint_eq(weft__class_of(0), 0);
    ck_assert_uint_eq(weft__class_of(64), 0);
    ck_assert_uint_eq(weft__class_of(65), 1);
    ck_assert_uint_eq(weft__class_of(128), 1);
    ck_assert_uint_eq(weft__class_of(129), 2);
    ck_assert_uint_eq(weft__class_of(256), 2);
    ck_assert_uint_eq(weft__class_of(257), WEFT__CLASSES);
    for (uint32_t class = 0; class < WEFT__CLASSES; class ++) {
        ck_assert_uint_eq(weft__class_of(weft__class_bytes(class)), class);
    }
}
END_TEST

START_TEST(cells_are_aligned_distinct_and_do_not_overlap) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    enum { CELLS = 3000 };
    static weft_msg *cells[CELLS];
    for (uint32_t i = 0; i < CELLS; i++) {
        cells[i] = weft__pool_alloc(bench.pools[1], i % WEFT__CLASSES);
        ck_assert_ptr_nonnull(cells[i]);
        ck_assert_uint_eq((uintptr_t)cells[i] % WEFT__CELL_BYTES, 0);
        ck_assert_uint_eq(cells[i]->weft__flags & WEFT__CLASS_MASK, i % WEFT__CLASSES);
        ck_assert_uint_eq(cells[i]->weft__owner, 1);
        ck_assert_uint_ge(weft__arena_index(bench.pools[1]->arena, cells[i]), 4);
        uint32_t bytes = weft__class_bytes(i % WEFT__CLASSES);
        memset((char *)cells[i] + 16, (int)(i & 0xff), bytes - 16);
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        uint32_t bytes = weft__class_bytes(i % WEFT__CLASSES);
        for (uint32_t at = 16; at < bytes; at++) {
            ck_assert_uint_eq(((unsigned char *)cells[i])[at], i & 0xff);
        }
        weft__pool_free(bench.pools[1], cells[i]);
    }
    ck_assert_uint_eq(in_use(&bench), 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(a_freed_cell_is_the_next_one_allocated) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    weft_msg *first = weft__pool_alloc(bench.pools[1], 0);
    weft__pool_free(bench.pools[1], first);
    ck_assert_ptr_eq(weft__pool_alloc(bench.pools[1], 0), first);
    weft__pool_free(bench.pools[1], first);
    ck_assert_ptr_ne(weft__pool_alloc(bench.pools[1], 1), first);
    bench_stop(&bench);
}
END_TEST

START_TEST(cells_freed_elsewhere_go_home_in_batches) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    enum { CELLS = 3 * WEFT__RETURN_BATCH + 5 };
    weft_msg *cells[CELLS];
    for (uint32_t i = 0; i < CELLS; i++) {
        cells[i] = weft__pool_alloc(bench.pools[1], 0);
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        weft__pool_free(bench.pools[2], cells[i]);
    }
    ck_assert_uint_eq(in_use(&bench), 0);
    ck_assert_uint_eq(weft_load64_relaxed(&bench.pools[2]->returned), CELLS);
    ck_assert_uint_eq(bench.pools[2]->outgoing_cells, 5);
    weft__pool_flush(bench.pools[2]);
    ck_assert_uint_eq(bench.pools[2]->outgoing_cells, 0);
    /* All of them come back before fresh memory is touched. */
    uint64_t bump = bench.pools[1]->bump[0];
    for (uint32_t i = 0; i < CELLS; i++) {
        weft_msg *msg = weft__pool_alloc(bench.pools[1], 0);
        ck_assert_uint_eq(msg->weft__owner, 1);
    }
    ck_assert_uint_eq(bench.pools[1]->bump[0], bump);
    ck_assert_ptr_nonnull(weft__pool_alloc(bench.pools[1], 0));
    ck_assert_uint_gt(bench.pools[1]->bump[0], bump);
    bench_stop(&bench);
}
END_TEST

START_TEST(returns_of_mixed_classes_find_their_lists) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    weft_msg *cells[3 * WEFT__CLASSES];
    for (uint32_t i = 0; i < 3 * WEFT__CLASSES; i++) {
        cells[i] = weft__pool_alloc(bench.pools[1], i % WEFT__CLASSES);
    }
    for (uint32_t i = 0; i < 3 * WEFT__CLASSES; i++) {
        weft__pool_free_outside(bench.pools[0], cells[i]);
    }
    for (uint32_t i = 0; i < 3 * WEFT__CLASSES; i++) {
        weft_msg *msg = weft__pool_alloc(bench.pools[1], i % WEFT__CLASSES);
        ck_assert_uint_eq(msg->weft__flags & WEFT__CLASS_MASK, i % WEFT__CLASSES);
    }
    for (uint32_t class = 0; class < WEFT__CLASSES; class ++) {
        ck_assert_uint_eq(bench.pools[1]->free_counts[class], 0);
    }
    bench_stop(&bench);
}
END_TEST

START_TEST(trimming_gives_whole_pieces_back_and_they_are_used_again) {
    struct bench bench;
    bench_start(&bench, 64 << 10, UINT64_MAX);
    enum { PER_PIECE = WEFT__PIECE_BYTES / 256, CELLS = 6 * PER_PIECE };
    static weft_msg *cells[CELLS];
    for (uint32_t i = 0; i < CELLS; i++) {
        cells[i] = weft__pool_alloc(bench.pools[1], 2);
        ck_assert_ptr_nonnull(cells[i]);
    }
    weft_msg *kept = cells[CELLS / 2];
    memset((char *)kept + 32, 0x5a, 224);
    for (uint32_t i = 0; i < CELLS; i++) {
        if (cells[i] != kept) {
            weft__pool_free(bench.pools[1], cells[i]);
        }
    }
    weft__pool_trim(bench.pools[1]);
    uint64_t trims = weft_load64_relaxed(&bench.pools[1]->trims);
    ck_assert_uint_ge(trims, 3); /* not the first piece, not that of the living cell */
    ck_assert_uint_eq(bench.core.free_piece_count, trims);
    for (uint32_t at = 32; at < 256; at++) {
        ck_assert_uint_eq(((unsigned char *)kept)[at], 0x5a);
    }
    uint32_t left = 0;
    for (uint32_t i = bench.pools[1]->free_heads[2]; i != 0;
         i = weft__arena_msg(bench.pools[1]->arena, i)->weft__next) {
        left++;
    }
    ck_assert_uint_eq(left, bench.pools[1]->free_counts[2]);
    for (uint32_t i = 0; i < bench.core.free_piece_max; i++) {
        ck_assert_uint_eq(bench.core.piece_counts[i], 0);
    }
    /* Another pool, another class: the pieces serve again before the arena grows. */
    uint64_t used = weft_load64_relaxed(&bench.core.messages.used);
    uint64_t room = trims * (WEFT__PIECE_BYTES / 64);
    for (uint64_t i = 0; i < room; i++) {
        weft_msg *msg = weft__pool_alloc(bench.pools[2], 0);
        ck_assert_ptr_ne(msg, kept);
        ck_assert_uint_eq(msg->weft__owner, 2);
    }
    ck_assert_uint_eq(weft_load64_relaxed(&bench.core.messages.used), used);
    bench_stop(&bench);
}
END_TEST

START_TEST(little_free_memory_is_not_trimmed) {
    struct bench bench;
    bench_start(&bench, 64 << 20, UINT64_MAX);
    enum { CELLS = 2 * WEFT__PIECE_BYTES / 256 };
    static weft_msg *cells[CELLS];
    for (uint32_t i = 0; i < CELLS; i++) {
        cells[i] = weft__pool_alloc(bench.pools[1], 2);
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        weft__pool_free(bench.pools[1], cells[i]);
    }
    weft__pool_trim(bench.pools[1]);
    ck_assert_uint_eq(weft_load64_relaxed(&bench.pools[1]->trims), 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(exhausted_memory_answers_null_and_recovers) {
    struct bench bench;
    bench_start(&bench, 64 << 20, WEFT__PIECE_BYTES);
    weft_msg *last = NULL;
    uint32_t count = 0;
    for (;;) {
        weft_msg *msg = weft__pool_alloc(bench.pools[1], 2);
        if (msg == NULL) {
            break;
        }
        last = msg;
        count++;
    }
    ck_assert_uint_ge(count, WEFT__PIECE_BYTES / 256 - 1);
    ck_assert_uint_eq(in_use(&bench), count);
    ck_assert_ptr_null(weft__pool_alloc(bench.pools[1], 2));
    ck_assert_ptr_null(weft__pool_alloc(bench.pools[2], 0));
    ck_assert_ptr_null(weft__pool_alloc_outside(bench.pools[0], 0));
    weft__pool_free(bench.pools[1], last);
    ck_assert_ptr_eq(weft__pool_alloc(bench.pools[1], 2), last);
    ck_assert_uint_eq(in_use(&bench), count);
    bench_stop(&bench);
}
END_TEST

START_TEST(random_traffic_between_pools_loses_no_cell) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    struct weft__prng prng;
    weft__prng_init(&prng, 11, 0);
    enum { LIVE = 2000 };
    static weft_msg *live[LIVE];
    memset(live, 0, sizeof(live));
    uint32_t count = 0;
    for (uint32_t step = 0; step < 200000; step++) {
        uint32_t at = weft__prng_below(&prng, LIVE);
        uint32_t pool = weft__prng_below(&prng, POOLS);
        if (live[at] == NULL) {
            uint32_t class = weft__prng_below(&prng, WEFT__CLASSES);
            live[at] = pool == 0 ? weft__pool_alloc_outside(bench.pools[0], class)
                                 : weft__pool_alloc(bench.pools[pool], class);
            ck_assert_uint_eq(live[at]->weft__owner, pool);
            ck_assert_uint_eq(live[at]->weft__flags & WEFT__CLASS_MASK, class);
            live[at]->weft__tag = at;
            count++;
        } else {
            ck_assert_uint_eq(live[at]->weft__tag, at);
            if (pool == 0) {
                weft__pool_free_outside(bench.pools[0], live[at]);
            } else {
                weft__pool_free(bench.pools[pool], live[at]);
            }
            live[at] = NULL;
            count--;
        }
        if (weft__prng_below(&prng, 1000) == 0 && pool != 0) {
            weft__pool_flush(bench.pools[pool]);
            weft__pool_trim(bench.pools[pool]);
        }
    }
    ck_assert_uint_eq(in_use(&bench), count);
    /* No leak: what lives never exceeds what a few pieces hold. */
    ck_assert_uint_le(weft_load64_relaxed(&bench.core.messages.used),
                      (uint64_t)POOLS * WEFT__CLASSES * WEFT__PIECE_BYTES);
    bench_stop(&bench);
}
END_TEST

struct crossing {
    struct bench *bench;
    weft_atomic_u64 mail[64]; /* addresses of cells on their way */
    weft_atomic_u32 done;
};

static void *free_them(void *arg) {
    struct crossing *crossing = arg;
    for (;;) {
        bool last = weft_load32_acquire(&crossing->done) != 0;
        for (uint32_t i = 0; i < 64; i++) {
            uint64_t address = weft_exchange64_acq_rel(&crossing->mail[i], 0);
            if (address != 0) {
                weft__pool_free(crossing->bench->pools[2], (weft_msg *)(uintptr_t)address);
            }
        }
        if (last) {
            weft__pool_flush(crossing->bench->pools[2]);
            return NULL;
        }
    }
}

START_TEST(cells_cross_threads_and_come_home) {
    struct bench bench;
    bench_start(&bench, 1 << 20, UINT64_MAX);
    struct crossing crossing = {.bench = &bench};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, free_them, &crossing), 0);
    for (uint32_t i = 0; i < 200000; i++) {
        weft_msg *msg = weft__pool_alloc(bench.pools[1], i % WEFT__CLASSES);
        ck_assert_ptr_nonnull(msg);
        uint64_t old = weft_exchange64_acq_rel(&crossing.mail[i % 64], (uint64_t)(uintptr_t)msg);
        if (old != 0) {
            weft__pool_free(bench.pools[1], (weft_msg *)(uintptr_t)old);
        }
    }
    weft_store32_release(&crossing.done, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(in_use(&bench), 0);
    bench_stop(&bench);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pool");
    TCase *tcase = tcase_create("pool");
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_class_is_the_smallest_that_holds_the_bytes);
    tcase_add_test(tcase, cells_are_aligned_distinct_and_do_not_overlap);
    tcase_add_test(tcase, a_freed_cell_is_the_next_one_allocated);
    tcase_add_test(tcase, cells_freed_elsewhere_go_home_in_batches);
    tcase_add_test(tcase, returns_of_mixed_classes_find_their_lists);
    tcase_add_test(tcase, trimming_gives_whole_pieces_back_and_they_are_used_again);
    tcase_add_test(tcase, little_free_memory_is_not_trimmed);
    tcase_add_test(tcase, exhausted_memory_answers_null_and_recovers);
    tcase_add_test(tcase, random_traffic_between_pools_loses_no_cell);
    tcase_add_test(tcase, cells_cross_threads_and_come_home);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
