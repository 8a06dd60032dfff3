/* SPDX-License-Identifier: MIT
 *
 * Pools and caches of stacks: see core/stack.h. System calls are made outside the pool's lock, by
 * the thread that has the stack or the piece to itself just then.
 *
 * A piece is one mapping of up to 64 stacks and two words that say which of them are free, and
 * which have their guard: that is put up when a stack is handed out for the first time, so that
 * mapping a piece takes two system calls and not one per stack. Huge pages are refused: one would
 * be memory for 32 stacks of 64 KiB that need a page each.
 *
 * Stacks begin at 16 different places of a page. The topmost frames of all of them would share a
 * few sets of the caches otherwise: going round 1,000 stacks took 10.2 ns a switch and not 6.8 ns,
 * round 100,000 stacks 29 to 50 ns and not 17 to 23 ns.
 */
#define _GNU_SOURCE
#include "core/stack.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
    PIECE_BYTES = 4 << 20,
    PIECE_STACKS_MAX = 64, /* bits of a word */
    COLORS = 16,
    USABLE_BYTES_MIN = 12 << 10,
    MAPS_RESERVE = 8192, /* mappings left to the rest of the process */
    MAPS_DEFAULT = 65530,
    MAPS_TEXT_BYTES = 32,
    WHOLLY_FREE_MAX = 1,
};

static const char TAG[] = "stacks";

struct weft__stack_piece {
    /* const after init */
    char *base;
    uint32_t count;
    /* under the pool's lock */
    uint64_t free;    /* one bit per stack */
    uint64_t guarded; /* the same; set by who is about to put the guard up */
    struct weft__stack_piece *previous;
    struct weft__stack_piece *next;
    struct weft__stack stacks[];
};

static size_t piece_size(uint32_t count) {
    return sizeof(struct weft__stack_piece) + count * sizeof(struct weft__stack);
}

static uint64_t all_of(const struct weft__stack_piece *piece) {
    return piece->count == 64 ? UINT64_MAX : (UINT64_C(1) << piece->count) - 1;
}

static uint64_t bit_of(const struct weft__stack *stack) {
    return UINT64_C(1) << (stack - stack->piece->stacks);
}

/* ---- lists of pieces; under the pool's lock -------------------------------------------------- */

static void list_remove(struct weft__stack_pieces *list, struct weft__stack_piece *piece) {
    *(piece->previous != NULL ? &piece->previous->next : &list->first) = piece->next;
    *(piece->next != NULL ? &piece->next->previous : &list->last) = piece->previous;
    piece->previous = NULL;
    piece->next = NULL;
}

static void list_prepend(struct weft__stack_pieces *list, struct weft__stack_piece *piece) {
    piece->previous = NULL;
    piece->next = list->first;
    *(list->first != NULL ? &list->first->previous : &list->last) = piece;
    list->first = piece;
}

static void list_append(struct weft__stack_pieces *list, struct weft__stack_piece *piece) {
    piece->next = NULL;
    piece->previous = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = piece;
    list->last = piece;
}

/* ---- the system ------------------------------------------------------------------------------ */

/* What the file says, or its default when it cannot be read. */
static uint64_t read_maps_max(void) {
    char text[MAPS_TEXT_BYTES];
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return MAPS_DEFAULT;
    }
    ssize_t length = read(fd, text, sizeof(text));
    (void)close(fd); /* nothing was written */
    uint64_t value = 0;
    for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        value = weft_min_u64(value * 10 + (uint64_t)(text[i] - '0'), UINT32_MAX);
    }
    return value == 0 ? MAPS_DEFAULT : value;
}

/* Two mappings per stack. */
static uint32_t stacks_of_maps(uint64_t maps_max) {
    uint64_t reserve = weft_min_u64(MAPS_RESERVE, maps_max / 2);
    return (uint32_t)weft_min_u64((maps_max - reserve) / 2, UINT32_MAX);
}

/* Whether the kernel has guard marks, and means it: some answer 0 to advice they do not know. So
 * a system call is asked to write there, which it must refuse. */
static bool has_guard_marks(size_t page_bytes) {
    void *page = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (page == MAP_FAILED) {
        return false;
    }
    int saved = errno;
    bool works = madvise(page, page_bytes, MADV_GUARD_INSTALL) == 0 &&
                 uname((struct utsname *)page) < 0 && errno == EFAULT;
    errno = saved;
    (void)munmap(page, page_bytes); /* fails only for bad arguments */
    return works;
}

static int guard_install(const struct weft__stack_pool *pool, struct weft__stack *stack) {
    char *guard = stack->low - pool->guard_bytes;
    int result = pool->guards_mprotect ? mprotect(guard, pool->guard_bytes, PROT_NONE)
                                       : madvise(guard, pool->guard_bytes, MADV_GUARD_INSTALL);
    return result < 0 ? -ENOMEM : 0;
}

/* The pages from the lowest usable one to the top, color included. Guards stay. */
static void pages_discard(const struct weft__stack_pool *pool, struct weft__stack *stack) {
    (void)madvise(stack->low, pool->stack_bytes - pool->guard_bytes, MADV_DONTNEED); /* advice */
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void piece_fill(const struct weft__stack_pool *pool, struct weft__stack_piece *piece) {
    for (uint32_t i = 0; i < piece->count; i++) {
        char *base = piece->base + i * pool->stack_bytes;
        piece->stacks[i] = (struct weft__stack){
            .low = base + pool->guard_bytes,
            .high = base + pool->stack_bytes - i % COLORS * WEFT_CACHELINE,
            .piece = piece,
        };
    }
    piece->free = all_of(piece);
}

/* A mapping of count stacks, all free, without guards; NULL: out of memory. */
static struct weft__stack_piece *piece_create(const struct weft__stack_pool *pool, uint32_t count) {
    struct weft__stack_piece *piece = weft__alloc(pool->core, piece_size(count), TAG);
    if (piece == NULL) {
        return NULL;
    }
    size_t bytes = count * pool->stack_bytes;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        weft__free(pool->core, piece, piece_size(count), TAG);
        return NULL;
    }
    (void)madvise(base, bytes, MADV_NOHUGEPAGE); /* advice */
    piece->base = base;
    piece->count = count;
    piece_fill(pool, piece);
    return piece;
}

static void piece_destroy(const struct weft__stack_pool *pool, struct weft__stack_piece *piece) {
    (void)munmap(piece->base, piece->count * pool->stack_bytes); /* fails only if too many maps */
    weft__free(pool->core, piece, piece_size(piece->count), TAG);
}

/* Counts the stacks of a piece that is about to be mapped; answers of how many it may be, 0: none.
 * Under lock, but the pools that share a limit have each its own. */
static uint32_t reserve(struct weft__stack_pool *pool) {
    uint32_t mapped = weft_load32_relaxed(&pool->mapped);
    uint32_t count_max = (uint32_t)weft_min_u64(pool->piece_stacks, pool->stacks_max - mapped);
    uint32_t count;
    uint32_t guarded = weft_load32_relaxed(pool->guarded); /* advisory: the exchange decides */
    do {
        count = (uint32_t)weft_min_u64(count_max, pool->guarded_max - guarded);
    } while (!weft_cas32_acq_rel(pool->guarded, &guarded, guarded + count));
    weft_store32_relaxed(&pool->mapped, mapped + count);
    return count;
}

/* The reverse. Under lock. */
static void unreserve(struct weft__stack_pool *pool, uint32_t count) {
    weft_store32_relaxed(&pool->mapped, weft_load32_relaxed(&pool->mapped) - count);
    (void)weft_add32_acq_rel(pool->guarded, 0u - count);
}

/* Takes a free stack of a ready piece, one with its guard if possible. Answers whether it has it;
 * if not it is the caller's to put up. Under lock. */
static bool piece_take(struct weft__stack_pool *pool, struct weft__stack_piece *piece,
                       struct weft__stack **ret_stack) {
    uint64_t guarded = piece->free & piece->guarded;
    uint32_t index = (uint32_t)__builtin_ctzll(guarded != 0 ? guarded : piece->free);
    pool->wholly_free -= piece->free == all_of(piece) ? 1 : 0;
    piece->free &= ~(UINT64_C(1) << index);
    piece->guarded |= UINT64_C(1) << index;
    if (piece->free == 0) {
        list_remove(&pool->ready, piece);
        list_prepend(&pool->spent, piece);
    }
    weft_store32_relaxed(&pool->out, weft_load32_relaxed(&pool->out) + 1);
    *ret_stack = &piece->stacks[index];
    return guarded != 0;
}

/* The reverse. Answers a piece to destroy, or NULL. Under lock. */
static struct weft__stack_piece *piece_give(struct weft__stack_pool *pool,
                                            const struct weft__stack *stack, bool guarded) {
    struct weft__stack_piece *piece = stack->piece;
    weft_assert((piece->free & bit_of(stack)) == 0); /* given back twice */
    if (piece->free == 0) {
        list_remove(&pool->spent, piece);
        list_prepend(&pool->ready, piece);
    }
    piece->free |= bit_of(stack);
    piece->guarded &= guarded ? UINT64_MAX : ~bit_of(stack);
    weft_store32_relaxed(&pool->out, weft_load32_relaxed(&pool->out) - 1);
    if (piece->free != all_of(piece)) {
        return NULL;
    }
    list_remove(&pool->ready, piece);
    if (pool->wholly_free == WHOLLY_FREE_MAX) {
        unreserve(pool, piece->count);
        return piece;
    }
    pool->wholly_free++;
    list_append(&pool->ready, piece);
    return NULL;
}

/* ---- the pool -------------------------------------------------------------------------------- */

int weft__stack_pool_init(struct weft__stack_pool *pool, struct weft__core *core,
                          const struct weft__stack_options *options) {
    if (options->stack_bytes < WEFT__STACK_BYTES_MIN ||
        options->stack_bytes > WEFT__STACK_BYTES_MAX) {
        return -EINVAL;
    }
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    weft_assert(weft_is_pow2(page_bytes));
    size_t bytes = weft_max_u64(options->stack_bytes, page_bytes + USABLE_BYTES_MIN);
    bytes = (bytes + page_bytes - 1) & ~(page_bytes - 1);
    uint32_t guarded_max = UINT32_MAX;
    uint64_t maps_max = 0;
    bool guards_mprotect = options->guards_mprotect || !has_guard_marks(page_bytes);
    if (guards_mprotect) {
        maps_max = options->maps_max != 0 ? options->maps_max : read_maps_max();
        guarded_max = stacks_of_maps(maps_max);
    }
    uint64_t piece_stacks = weft_min_u64(weft_max_u64(PIECE_BYTES / bytes, 1), PIECE_STACKS_MAX);
    *pool = (struct weft__stack_pool){
        .core = core,
        .stack_bytes = bytes,
        .guard_bytes = page_bytes,
        .piece_stacks = (uint32_t)piece_stacks,
        .stacks_max = options->stacks_max != 0 ? options->stacks_max : UINT32_MAX,
        .guards_mprotect = guards_mprotect,
        .guarded_max = guarded_max,
        .maps_max = maps_max,
        .guarded = options->guarded_shared,
    };
    pool->guarded = pool->guarded == NULL ? &pool->guarded_own : pool->guarded;
    return 0;
}

void weft__stack_pool_fini(struct weft__stack_pool *pool) {
    weft_assert(weft_load32_relaxed(&pool->out) == 0);
    weft_assert(pool->spent.first == NULL);
    struct weft__stack_piece *piece = pool->ready.first;
    while (piece != NULL) { /* at most WHOLLY_FREE_MAX */
        struct weft__stack_piece *next = piece->next;
        unreserve(pool, piece->count);
        piece_destroy(pool, piece);
        piece = next;
    }
    *pool = (struct weft__stack_pool){0};
}

/* One more piece, from which one stack is taken. */
static int pool_grow(struct weft__stack_pool *pool, uint32_t count, bool commit,
                     struct weft__stack **ret_stack) {
    const weft_allocator *allocator = &pool->core->allocator;
    bool refused = commit && allocator->commit != NULL &&
                   allocator->commit(allocator->cookie, count * pool->stack_bytes, TAG) < 0;
    struct weft__stack_piece *piece = refused ? NULL : piece_create(pool, count);
    weft__lock_enter(&pool->lock, pool->core->env);
    if (piece != NULL) {
        pool->committed += commit ? count : 0;
        pool->wholly_free++;
        list_prepend(&pool->ready, piece);
        (void)piece_take(pool, piece, ret_stack); /* a fresh one has no guard */
    } else {
        unreserve(pool, count);
    }
    weft__lock_leave(&pool->lock);
    return piece != NULL ? 0 : -ENOMEM;
}

/* Back into its piece, and the piece to the system if it is one too many. */
static void pool_give(struct weft__stack_pool *pool, struct weft__stack *stack, bool guarded) {
    weft__lock_enter(&pool->lock, pool->core->env);
    struct weft__stack_piece *unused = piece_give(pool, stack, guarded);
    weft__lock_leave(&pool->lock);
    if (unused != NULL) {
        piece_destroy(pool, unused);
    }
}

int weft__stack_pool_get(struct weft__stack_pool *pool, struct weft__stack **ret_stack) {
    struct weft__stack *stack = NULL;
    bool guarded = false;
    bool commit = false;
    uint32_t count = 0;
    weft__lock_enter(&pool->lock, pool->core->env);
    if (pool->ready.first != NULL) {
        guarded = piece_take(pool, pool->ready.first, &stack);
    } else {
        count = reserve(pool);
        commit = weft_load32_relaxed(&pool->mapped) > pool->committed;
    }
    weft__lock_leave(&pool->lock);
    int result = 0;
    if (stack == NULL) {
        result = count == 0 ? WEFT_E_LIMIT : pool_grow(pool, count, commit, &stack);
    }
    if (result == 0 && !guarded) {
        result = guard_install(pool, stack);
        if (result < 0) {
            pool_give(pool, stack, false);
        }
    }
    if (result < 0) {
        return result;
    }
    *ret_stack = stack;
    return 0;
}

bool weft__stack_pool_is_spent(const struct weft__stack_pool *pool) {
    return pool->maps_max != 0 && weft_load32_relaxed(pool->guarded) >= pool->guarded_max &&
           weft_load32_relaxed(&pool->out) >= weft_load32_relaxed(&pool->mapped);
}

void weft__stack_pool_put(struct weft__stack_pool *pool, struct weft__stack *stack) {
    pages_discard(pool, stack);
    pool_give(pool, stack, true);
}

void weft__stack_pool_stats(const struct weft__stack_pool *pool, struct weft__stack_stats *stats) {
    uint32_t mapped = weft_load32_relaxed(&pool->mapped);
    stats->mapped += mapped;
    stats->mapped_bytes += mapped * (uint64_t)pool->stack_bytes;
    stats->in_use += weft_load32_relaxed(&pool->out);
}

/* ---- caches ---------------------------------------------------------------------------------- */

void weft__stacks_init(struct weft__stacks *stacks, struct weft__stack_pool *pool,
                       uint32_t keep_max) {
    *stacks = (struct weft__stacks){.pool = pool, .keep_max = keep_max};
}

void weft__stacks_fini(struct weft__stacks *stacks) {
    (void)weft__stacks_trim(stacks, 0, UINT32_MAX); /* leaves nothing */
}

static struct weft__stack *cache_pop(struct weft__stacks *stacks) {
    struct weft__stack *stack = stacks->first;
    stacks->first = stack->next;
    stack->next = NULL;
    weft_counter_add(&stacks->cached, (uint64_t)0 - 1);
    return stack;
}

int weft__stacks_get(struct weft__stacks *stacks, struct weft__stack **ret_stack) {
    if (stacks->first == NULL) {
        return weft__stack_pool_get(stacks->pool, ret_stack);
    }
    *ret_stack = cache_pop(stacks);
    return 0;
}

void weft__stacks_put(struct weft__stacks *stacks, struct weft__stack *stack) {
    weft_assert(stack->next == NULL);
    if (weft_load64_relaxed(&stacks->cached) >= stacks->keep_max) { /* owner-only */
        weft__stack_pool_put(stacks->pool, stack);
        return;
    }
    stack->next = stacks->first;
    stacks->first = stack;
    weft_counter_add(&stacks->cached, 1);
}

bool weft__stacks_trim(struct weft__stacks *stacks, uint32_t keep, uint32_t count_max) {
    uint32_t count = 0;
    while (weft_load64_relaxed(&stacks->cached) > keep && count < count_max) { /* owner-only */
        weft__stack_pool_put(stacks->pool, cache_pop(stacks));
        count++;
    }
    return weft_load64_relaxed(&stacks->cached) > keep;
}

void weft__stacks_stats(const struct weft__stacks *stacks, struct weft__stack_stats *stats) {
    uint64_t cached = weft_load64_relaxed(&stacks->cached);
    stats->cached += cached;
    stats->in_use -= weft_min_u64(cached, stats->in_use); /* the numbers are not of one moment */
}
