/* SPDX-License-Identifier: MIT
 *
 * Stacks: sizes, guards of both kinds, caches, limits, what is given back to the system, and what
 * happens when memory runs out.
 */
#define _GNU_SOURCE
#include "core/prng.h"
#include "core/stack.h"
#include "sched/switch.h"
#include "tests/unit/support.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { SIZE = 64 << 10, PIECE = 64, MANY = 100000, MAPS = 17000, LIMIT_MAX = 5000 };

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- a core with an allocator that can fail -------------------------------------------------- */

struct bench {
    struct weft__core core;
    weft_env *env;
    struct weft__stack_pool pool;
};

static weft_atomic_u64 allocated;
static weft_atomic_u64 committed;
static uint64_t allocated_max;
static uint64_t committed_max;

static void *limited_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    bool counts = strcmp(tag, "stacks") == 0;
    if (counts && weft_add64_acq_rel(&allocated, size) + size > allocated_max) {
        (void)weft_add64_acq_rel(&allocated, (uint64_t)0 - size);
        return NULL;
    }
    return malloc(size);
}

static void limited_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    if (strcmp(tag, "stacks") == 0) {
        (void)weft_add64_acq_rel(&allocated, (uint64_t)0 - size);
    }
    free(memory);
}

static int limited_commit(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    if (strcmp(tag, "stacks") != 0) {
        return 0;
    }
    if (weft_add64_acq_rel(&committed, size) + size > committed_max) {
        (void)weft_add64_acq_rel(&committed, (uint64_t)0 - size);
        return -ENOMEM;
    }
    return 0;
}

static void bench_start(struct bench *bench, const struct weft__stack_options *options) {
    memset(bench, 0, sizeof(*bench));
    weft_store64_relaxed(&allocated, 0);
    weft_store64_relaxed(&committed, 0);
    allocated_max = UINT64_MAX;
    committed_max = UINT64_MAX;
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 16 << 20;
    config.allocator =
        (weft_allocator){.alloc = limited_alloc, .free = limited_free, .commit = limited_commit};
    ck_assert_int_eq(weft_env_os_create(&bench->env), 0);
    ck_assert_int_eq(weft__core_init(&bench->core, &config, bench->env), 0);
    ck_assert_int_eq(weft__stack_pool_init(&bench->pool, &bench->core, options), 0);
}

static void bench_stop(struct bench *bench) {
    weft__stack_pool_fini(&bench->pool);
    ck_assert_uint_eq(weft_load64_relaxed(&allocated), 0);
    weft__core_fini(&bench->core);
    ck_assert_uint_eq(weft_load64_relaxed(&bench->core.heap_bytes), 0);
    weft_env_os_destroy(&bench->env);
}

static void bench_start_plain(struct bench *bench) {
    bench_start(bench, &(struct weft__stack_options){.stack_bytes = SIZE});
}

static struct weft__stack_stats stats_of(struct bench *bench, struct weft__stacks *stacks) {
    struct weft__stack_stats stats = {0};
    weft__stack_pool_stats(&bench->pool, &stats);
    if (stacks != NULL) {
        weft__stacks_stats(stacks, &stats);
    }
    return stats;
}

static void check_stats(struct bench *bench, struct weft__stacks *stacks, uint64_t in_use,
                        uint64_t cached) {
    struct weft__stack_stats stats = stats_of(bench, stacks);
    ck_assert_uint_eq(stats.in_use, in_use);
    ck_assert_uint_eq(stats.cached, cached);
    ck_assert_uint_ge(stats.mapped, in_use + cached);
    ck_assert_uint_eq(stats.mapped_bytes, stats.mapped * bench->pool.stack_bytes);
}

static struct weft__stack *get(struct bench *bench) {
    struct weft__stack *stack = NULL;
    ck_assert_int_eq(weft__stack_pool_get(&bench->pool, &stack), 0);
    ck_assert_ptr_nonnull(stack);
    return stack;
}

static uint64_t count_maps(void) {
    FILE *file = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(file);
    uint64_t lines = 0;
    for (int byte = getc(file); byte != EOF; byte = getc(file)) {
        lines += byte == '\n' ? 1 : 0;
    }
    ck_assert_int_eq(fclose(file), 0);
    return lines;
}

static uint64_t pages_resident(struct weft__stack *stack, size_t bytes) {
    static unsigned char map[(64 << 20) / 4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ck_assert_int_eq(mincore(stack->low, bytes, map), 0);
    uint64_t count = 0;
    for (size_t i = 0; i < bytes / page; i++) {
        count += map[i] & 1;
    }
    return count;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

START_TEST(stacks_have_the_size_asked_for_and_do_not_overlap) {
    static const size_t sizes[] = {16 << 10, (16 << 10) + 1, 64 << 10, 1 << 20, 64 << 20};
    struct bench bench;
    bench_start(&bench, &(struct weft__stack_options){.stack_bytes = sizes[_i]});
    enum { COUNT = 5 };
    struct weft__stack *stacks[COUNT];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ck_assert_uint_eq(bench.pool.stack_bytes % page, 0);
    ck_assert_uint_ge(bench.pool.stack_bytes, sizes[_i]);
    ck_assert_uint_lt(bench.pool.stack_bytes, sizes[_i] + 5 * page);
    ck_assert_uint_ge(bench.pool.guard_bytes, 4096);
    for (uint32_t i = 0; i < COUNT; i++) {
        stacks[i] = get(&bench);
        size_t usable = weft__stack_usable(stacks[i]);
        ck_assert_uint_eq((uintptr_t)stacks[i]->low % page, 0);
        ck_assert_uint_eq((uintptr_t)stacks[i]->high % WEFT_CACHELINE, 0);
        ck_assert_uint_le(usable, bench.pool.stack_bytes - bench.pool.guard_bytes);
        ck_assert_uint_gt(usable, bench.pool.stack_bytes - bench.pool.guard_bytes - 1024);
        memset(stacks[i]->high - 5000, (int)i + 1, 5000);
        memset(stacks[i]->low, (int)i + 1, 5000);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(stacks[i]->low[0], (int)i + 1);
        ck_assert_int_eq(stacks[i]->low[4999], (int)i + 1);
        ck_assert_int_eq(stacks[i]->high[-1], (int)i + 1);
        weft__stack_pool_put(&bench.pool, stacks[i]);
    }
    bench_stop(&bench);
}
END_TEST

START_TEST(sizes_out_of_range_are_refused) {
    struct bench bench;
    bench_start_plain(&bench);
    struct weft__stack_pool pool;
    struct weft__stack_options options = {.stack_bytes = (16 << 10) - 1};
    ck_assert_int_eq(weft__stack_pool_init(&pool, &bench.core, &options), -EINVAL);
    options.stack_bytes = (64 << 20) + 1;
    ck_assert_int_eq(weft__stack_pool_init(&pool, &bench.core, &options), -EINVAL);
    options.stack_bytes = 0;
    ck_assert_int_eq(weft__stack_pool_init(&pool, &bench.core, &options), -EINVAL);
    bench_stop(&bench);
    pool = (struct weft__stack_pool){0};
    weft__stack_pool_fini(&pool);
    struct weft__stacks stacks = {0};
    weft__stacks_fini(&stacks);
}
END_TEST

/* ---- guards ---------------------------------------------------------------------------------- */

/* The signal that a child dies of when it touches the byte; 0: it lives. */
static int touch_in_child(char *byte) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile char *)byte = 1;
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void check_guard(struct bench *bench, struct weft__stack *stack) {
    ck_assert_int_eq(touch_in_child(stack->low - 1), SIGSEGV);
    ck_assert_int_eq(touch_in_child(stack->low - bench->pool.guard_bytes), SIGSEGV);
    ck_assert_int_eq(touch_in_child(stack->low), 0);
    ck_assert_int_eq(touch_in_child(stack->high - 1), 0);
}

START_TEST(a_touch_below_a_stack_is_a_fault_also_after_it_was_given_back) {
    struct bench bench;
    bench_start(&bench,
                &(struct weft__stack_options){.stack_bytes = SIZE, .guards_mprotect = _i != 0});
    struct weft__stack *first = get(&bench);
    struct weft__stack *second = get(&bench);
    memset(second->low, 1, weft__stack_usable(second));
    check_guard(&bench, first);
    check_guard(&bench, second);
    weft__stack_pool_put(&bench.pool, second);
    ck_assert_int_eq(touch_in_child(second->low - 1), SIGSEGV);
    ck_assert_ptr_eq(get(&bench), second);
    ck_assert_int_eq(second->high[-1], 0);
    check_guard(&bench, second);
    weft__stack_pool_put(&bench.pool, first);
    weft__stack_pool_put(&bench.pool, second);
    bench_stop(&bench);
}
END_TEST

static WEFT_NOINLINE uint64_t descend(uint64_t depth) {
    volatile uint64_t frame[32];
    frame[0] = depth;
    return (depth == 0 ? 0 : descend(depth - 1)) + frame[0];
}

static void *overflow(struct weft__fibre *fibre, void *value) {
    (void)fibre;
    return (void *)(uintptr_t)descend((uintptr_t)value);
}

/* Runs a fibre that needs about 270 bytes a level; the signal its process dies of. */
static int descend_in_child(struct weft__stack *stack, uint64_t depth) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGSEGV, SIG_DFL);
        struct weft__fibre fibre;
        weft__fibre_init(&fibre, stack->low, weft__stack_usable(stack), overflow);
        (void)weft__fibre_enter(&fibre, (void *)(uintptr_t)depth);
        weft__fibre_fini(&fibre);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

START_TEST(a_fibre_that_overflows_its_stack_hits_the_guard) {
    struct bench bench;
    bench_start(&bench,
                &(struct weft__stack_options){.stack_bytes = SIZE, .guards_mprotect = _i != 0});
    struct weft__stack *below = get(&bench);
    struct weft__stack *stack = get(&bench);
    ck_assert_ptr_eq(stack->low - bench.pool.guard_bytes,
                     below->low - bench.pool.guard_bytes + bench.pool.stack_bytes);
    ck_assert_int_eq(descend_in_child(stack, 100), 0);
    ck_assert_int_eq(descend_in_child(stack, 100000), SIGSEGV);
    weft__stack_pool_put(&bench.pool, stack);
    weft__stack_pool_put(&bench.pool, below);
    bench_stop(&bench);
}
END_TEST

/* ---- caches ---------------------------------------------------------------------------------- */

START_TEST(a_cache_hands_out_the_warmest_and_keeps_no_more_than_told) {
    struct bench bench;
    bench_start_plain(&bench);
    struct weft__stacks stacks;
    weft__stacks_init(&stacks, &bench.pool, 3);
    struct weft__stack *out[5];
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(weft__stacks_get(&stacks, &out[i]), 0);
        out[i]->high[-1] = (char)(i + 1);
    }
    check_stats(&bench, &stacks, 5, 0);
    for (uint32_t i = 0; i < 5; i++) {
        weft__stacks_put(&stacks, out[i]);
    }
    check_stats(&bench, &stacks, 0, 3);
    ck_assert_uint_eq(pages_resident(out[4], weft__stack_usable(out[4]) & ~(size_t)4095), 0);
    struct weft__stack *again = NULL;
    for (uint32_t i = 3; i > 0; i--) {
        ck_assert_int_eq(weft__stacks_get(&stacks, &again), 0);
        ck_assert_ptr_eq(again, out[i - 1]);
        ck_assert_int_eq(again->high[-1], (int)i); /* with its page */
    }
    for (uint32_t i = 0; i < 3; i++) {
        weft__stacks_put(&stacks, out[i]);
    }
    ck_assert(weft__stacks_trim(&stacks, 1, 1));
    check_stats(&bench, &stacks, 0, 2);
    ck_assert(!weft__stacks_trim(&stacks, 1, 5));
    check_stats(&bench, &stacks, 0, 1);
    weft__stacks_fini(&stacks);
    check_stats(&bench, &stacks, 0, 0);
    bench_stop(&bench);
}
END_TEST

START_TEST(a_stack_may_go_back_through_another_cache) {
    struct bench bench;
    bench_start_plain(&bench);
    struct weft__stacks left;
    struct weft__stacks right;
    weft__stacks_init(&left, &bench.pool, 2);
    weft__stacks_init(&right, &bench.pool, 2);
    struct weft__stack *stack = NULL;
    ck_assert_int_eq(weft__stacks_get(&left, &stack), 0);
    weft__stacks_put(&right, stack);
    check_stats(&bench, &left, 1, 0); /* the other cache is not counted */
    check_stats(&bench, &right, 0, 1);
    weft__stacks_fini(&left);
    weft__stacks_fini(&right);
    bench_stop(&bench);
}
END_TEST

/* ---- memory follows use ---------------------------------------------------------------------- */

START_TEST(stacks_without_users_keep_neither_pages_nor_mappings) {
    struct bench bench;
    bench_start(&bench,
                &(struct weft__stack_options){.stack_bytes = SIZE, .guards_mprotect = _i != 0});
    enum { COUNT = 1000 };
    static struct weft__stack *out[COUNT];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            out[i] = get(&bench);
            memset(out[i]->high - 100, 1, 100);
        }
        ck_assert_uint_eq(stats_of(&bench, NULL).mapped, (COUNT + PIECE - 1) / PIECE * PIECE);
        ck_assert_uint_eq(pages_resident(out[COUNT - 1], SIZE - bench.pool.guard_bytes), 1);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t at = (i * 7 + round) % COUNT; /* each once: 7 and 1,000 share no factor */
            weft__stack_pool_put(&bench.pool, out[at]);
        }
        check_stats(&bench, NULL, 0, 0);
        ck_assert_uint_eq(stats_of(&bench, NULL).mapped, PIECE);
    }
    ck_assert_uint_eq(weft_load64_relaxed(&committed),
                      (COUNT + PIECE - 1) / PIECE * PIECE * (uint64_t)SIZE);
    bench_stop(&bench);
}
END_TEST

START_TEST(a_hundred_thousand_stacks_take_few_mappings) {
    struct bench bench;
    bench_start_plain(&bench);
    if (bench.pool.guards_mprotect) {
        printf("skipped: this kernel has no guard marks (MADV_GUARD_INSTALL)\n");
        bench_stop(&bench);
        return;
    }
    static struct weft__stack *out[MANY];
    uint64_t before = count_maps();
    for (uint32_t i = 0; i < MANY; i++) {
        out[i] = get(&bench);
    }
    check_stats(&bench, NULL, MANY, 0);
    ck_assert_uint_lt(count_maps(), before + 100);
    check_guard(&bench, out[0]);
    check_guard(&bench, out[MANY - 1]);
    for (uint32_t i = 0; i < MANY; i++) {
        weft__stack_pool_put(&bench.pool, out[i]);
    }
    ck_assert_uint_lt(count_maps(), before + 100);
    bench_stop(&bench);
}
END_TEST

/* ---- limits ---------------------------------------------------------------------------------- */

static void check_limit(struct bench *bench, uint32_t limit) {
    static struct weft__stack *out[LIMIT_MAX];
    ck_assert_uint_lt(limit, LIMIT_MAX);
    for (uint32_t i = 0; i < limit; i++) {
        out[i] = get(bench);
    }
    struct weft__stack *more = NULL;
    ck_assert_int_eq(weft__stack_pool_get(&bench->pool, &more), WEFT_E_LIMIT);
    ck_assert_ptr_null(more);
    weft__stack_pool_put(&bench->pool, out[limit / 2]);
    out[limit / 2] = get(bench);
    ck_assert_int_eq(weft__stack_pool_get(&bench->pool, &more), WEFT_E_LIMIT);
    check_stats(bench, NULL, limit, 0);
    ck_assert_uint_eq(stats_of(bench, NULL).mapped, limit);
    for (uint32_t i = 0; i < limit; i++) {
        weft__stack_pool_put(&bench->pool, out[i]);
    }
}

START_TEST(no_more_stacks_than_allowed) {
    static const uint32_t limits[] = {1, 63, 64, 65, 1000};
    struct bench bench;
    bench_start(&bench,
                &(struct weft__stack_options){.stack_bytes = SIZE, .stacks_max = limits[_i]});
    check_limit(&bench, limits[_i]);
    check_limit(&bench, limits[_i]);
    bench_stop(&bench);
}
END_TEST

START_TEST(with_mprotect_stacks_leave_mappings_for_others) {
    struct bench bench;
    struct weft__stack_options options = {
        .stack_bytes = SIZE, .guards_mprotect = true, .maps_max = MAPS};
    uint64_t before = count_maps();
    bench_start(&bench, &options);
    ck_assert_uint_eq(bench.pool.guarded_max, (MAPS - 8192) / 2);
    static struct weft__stack *out[(MAPS - 8192) / 2];
    for (uint32_t i = 0; i < bench.pool.guarded_max; i++) {
        out[i] = get(&bench);
    }
    ck_assert_uint_le(count_maps(), before + MAPS - 8192 + 1000);
    for (uint32_t i = 0; i < bench.pool.guarded_max; i++) {
        weft__stack_pool_put(&bench.pool, out[i]);
    }
    check_limit(&bench, bench.pool.guarded_max);
    bench_stop(&bench);
    options.maps_max = 1000; /* less than the reserve: half is left */
    bench_start(&bench, &options);
    ck_assert_uint_eq(bench.pool.guarded_max, 250);
    check_limit(&bench, 250);
    bench_stop(&bench);
    options.maps_max = 0; /* the system's: its default is 65,530 */
    bench_start(&bench, &options);
    ck_assert_uint_ge(bench.pool.guarded_max, 1000);
    bench_stop(&bench);
}
END_TEST

START_TEST(pools_share_the_limit_of_mappings) {
    weft_atomic_u32 guarded = {0};
    struct bench bench;
    struct weft__stack_options options = {
        .stack_bytes = SIZE, .guards_mprotect = true, .maps_max = 1000, .guarded_shared = &guarded};
    bench_start(&bench, &options);
    struct weft__stack_pool other;
    options.stack_bytes = 16 << 10;
    ck_assert_int_eq(weft__stack_pool_init(&other, &bench.core, &options), 0);
    struct weft__stack *out[250];
    struct weft__stack *more = NULL;
    for (uint32_t i = 0; i < 2 * PIECE; i++) {
        out[i] = get(&bench);
    }
    for (uint32_t i = 2 * PIECE; i < 250; i++) {
        ck_assert_int_eq(weft__stack_pool_get(&other, &out[i]), 0);
    }
    ck_assert_int_eq(weft__stack_pool_get(&other, &more), WEFT_E_LIMIT);
    ck_assert_int_eq(weft__stack_pool_get(&bench.pool, &more), WEFT_E_LIMIT);
    for (uint32_t i = 0; i < 2 * PIECE; i++) { /* one piece is unmapped, and free for the other */
        weft__stack_pool_put(&bench.pool, out[i]);
    }
    for (uint32_t i = 0; i < PIECE; i++) {
        ck_assert_int_eq(weft__stack_pool_get(&other, &out[i]), 0);
    }
    ck_assert_int_eq(weft__stack_pool_get(&other, &more), WEFT_E_LIMIT);
    for (uint32_t i = 0; i < 250; i++) {
        if (i < PIECE || i >= 2 * PIECE) {
            weft__stack_pool_put(&other, out[i]);
        }
    }
    weft__stack_pool_fini(&other);
    bench_stop(&bench);
    ck_assert_uint_eq(weft_load32_relaxed(&guarded), 0);
}
END_TEST

/* ---- failures -------------------------------------------------------------------------------- */

START_TEST(without_memory_nothing_is_lost) {
    struct bench bench;
    bench_start(&bench,
                &(struct weft__stack_options){.stack_bytes = SIZE, .stacks_max = 2 * PIECE});
    struct weft__stack *out[2 * PIECE];
    struct weft__stack *none = NULL;
    for (uint32_t i = 0; i < PIECE; i++) {
        out[i] = get(&bench);
    }
    for (uint32_t i = 0; i < 10; i++) {
        allocated_max = weft_load64_relaxed(&allocated);
        ck_assert_int_eq(weft__stack_pool_get(&bench.pool, &none), -ENOMEM);
        allocated_max = UINT64_MAX;
        committed_max = weft_load64_relaxed(&committed);
        ck_assert_int_eq(weft__stack_pool_get(&bench.pool, &none), -ENOMEM);
        committed_max = UINT64_MAX;
    }
    ck_assert_ptr_null(none);
    check_stats(&bench, NULL, PIECE, 0);
    for (uint32_t i = PIECE; i < 2 * PIECE; i++) {
        out[i] = get(&bench);
    }
    ck_assert_int_eq(weft__stack_pool_get(&bench.pool, &none), WEFT_E_LIMIT);
    for (uint32_t i = 0; i < 2 * PIECE; i++) {
        weft__stack_pool_put(&bench.pool, out[i]);
    }
    bench_stop(&bench);
}
END_TEST

START_TEST(without_address_space_there_is_no_stack) {
    struct bench bench;
    bench_start_plain(&bench);
    struct rlimit old;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &old), 0);
    struct rlimit none = {.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
    void *page = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) {
        printf("skipped: address space cannot be limited here\n"); /* an emulator's is its own */
        ck_assert_int_eq(munmap(page, 1 << 20), 0);
        bench_stop(&bench);
        return;
    }
    struct weft__stack *stack = NULL;
    int result = weft__stack_pool_get(&bench.pool, &stack);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &old), 0);
    ck_assert_int_eq(result, -ENOMEM);
    stack = get(&bench);
    weft__stack_pool_put(&bench.pool, stack);
    bench_stop(&bench);
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, HELD = 200, TURNS = 20000 };

struct crowd {
    struct bench bench;
    weft_atomic_u64 given[THREADS]; /* a stack one thread passes to the next */
};

struct member {
    struct crowd *crowd;
    uint32_t number;
};

static void hold(struct weft__stack *stack, uint32_t number) {
    stack->high[-1] = (char)number;
    stack->high[-2] = (char)~number;
}

static void member_turn(struct member *member, struct weft__stacks *stacks,
                        struct weft__stack **held) {
    if (*held == NULL) {
        int result = weft__stacks_get(stacks, held);
        ck_assert(result == 0 || result == WEFT_E_LIMIT);
        if (result == 0) {
            hold(*held, member->number);
        }
        return;
    }
    struct weft__stack *stack = *held;
    *held = NULL;
    ck_assert_int_eq(stack->high[-1], (char)member->number);
    ck_assert_int_eq(stack->high[-2], (char)~member->number);
    uint32_t next = (member->number + 1) % THREADS;
    uint64_t other = (uint64_t)(uintptr_t)stack;
    other = weft_exchange64_acq_rel(&member->crowd->given[next], other);
    if (other != 0) {
        weft__stacks_put(stacks, (struct weft__stack *)(uintptr_t)other);
    }
}

static void *member_run(void *arg) {
    struct member *member = arg;
    struct weft__stack *held[HELD] = {NULL};
    struct weft__stacks stacks;
    weft__stacks_init(&stacks, &member->crowd->bench.pool, 16);
    struct weft__prng prng;
    weft__prng_init(&prng, 1, member->number);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        member_turn(member, &stacks, &held[weft__prng_next(&prng) % HELD]);
        if (turn % 1000 == 999) {
            (void)weft__stacks_trim(&stacks, 2, 4);
        }
    }
    for (uint32_t i = 0; i < HELD; i++) {
        if (held[i] != NULL) {
            weft__stacks_put(&stacks, held[i]);
        }
    }
    weft__stacks_fini(&stacks);
    return NULL;
}

START_TEST(threads_share_a_pool) {
    static struct crowd crowd;
    static struct member members[THREADS];
    pthread_t threads[THREADS];
    bench_start(&crowd.bench, &(struct weft__stack_options){.stack_bytes = 16 << 10,
                                                            .stacks_max = 350,
                                                            .guards_mprotect = _i != 0});
    for (uint32_t i = 0; i < THREADS; i++) {
        members[i] = (struct member){.crowd = &crowd, .number = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, member_run, &members[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        uint64_t left = weft_exchange64_acq_rel(&crowd.given[i], 0);
        if (left != 0) {
            weft__stack_pool_put(&crowd.bench.pool, (struct weft__stack *)(uintptr_t)left);
        }
    }
    check_stats(&crowd.bench, NULL, 0, 0);
    ck_assert_uint_le(stats_of(&crowd.bench, NULL).mapped, PIECE);
    bench_stop(&crowd.bench);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stack");
    TCase *tcase = tcase_create("stack");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, stacks_have_the_size_asked_for_and_do_not_overlap, 0, 5);
    tcase_add_test(tcase, sizes_out_of_range_are_refused);
    if (SANITIZED) {
        printf("skipped: faults and overflows, which a sanitizer reports in its own way\n");
    } else {
        tcase_add_loop_test(tcase, a_touch_below_a_stack_is_a_fault_also_after_it_was_given_back, 0,
                            2);
        tcase_add_loop_test(tcase, a_fibre_that_overflows_its_stack_hits_the_guard, 0, 2);
        tcase_add_test(tcase, a_hundred_thousand_stacks_take_few_mappings);
        tcase_add_test(tcase, without_address_space_there_is_no_stack);
    }
    tcase_add_test(tcase, a_cache_hands_out_the_warmest_and_keeps_no_more_than_told);
    tcase_add_test(tcase, a_stack_may_go_back_through_another_cache);
    tcase_add_loop_test(tcase, stacks_without_users_keep_neither_pages_nor_mappings, 0, 2);
    tcase_add_loop_test(tcase, no_more_stacks_than_allowed, 0, 5);
    tcase_add_test(tcase, with_mprotect_stacks_leave_mappings_for_others);
    tcase_add_test(tcase, pools_share_the_limit_of_mappings);
    tcase_add_test(tcase, without_memory_nothing_is_lost);
    tcase_add_loop_test(tcase, threads_share_a_pool, 0, 2);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
