/* SPDX-License-Identifier: MIT
 *
 * Stacks for code that is switched away in the middle (sched/switch.h). Each is a range of a large
 * mapping, with a guard page at its low end that any touch of ends in SIGSEGV; pages come with the
 * first touch. A pool is shared by all threads of a runtime; a cache belongs to one thread and
 * keeps a few stacks with the pages they have. A stack that goes back to the pool loses its pages,
 * and a mapping whose stacks are all back is unmapped but for one: memory follows use.
 *
 * The guards are marks in the page table where the kernel has them (MADV_GUARD_INSTALL, 6.13), so
 * that any number of stacks is one mapping to the kernel. Elsewhere they are pages without access
 * (mprotect), which makes two mappings of each stack; of these a process may have only
 * vm.max_map_count, so the number of stacks is limited to what leaves a reserve for others, and
 * WEFT_E_LIMIT is answered beyond it. Pools that name the same counter share this limit.
 *
 * Invariant: every stack is in exactly one place, with a user, in a cache, or in its piece's list.
 */
#ifndef WEFT_CORE_STACK_H
#define WEFT_CORE_STACK_H

#include "core/core.h"

#define WEFT__STACK_BYTES_MIN ((size_t)16 << 10)
#define WEFT__STACK_BYTES_MAX ((size_t)64 << 20)

struct weft__stack_piece;

/* One stack. Written by whoever has it; low and high are const. */
struct weft__stack {
    char *low;  /* lowest byte above the guard */
    char *high; /* behind the highest byte, on a cache line of its own */
    struct weft__stack *next;
    struct weft__stack_piece *piece;
};

struct weft__stack_options {
    size_t stack_bytes;              /* with the guard: rounded up to pages */
    uint32_t stacks_max;             /* mapped at most; 0: as many as the system allows */
    uint64_t maps_max;               /* what to take for vm.max_map_count; 0: ask the system */
    weft_atomic_u32 *guarded_shared; /* counts the stacks of several pools; NULL: of this one */
    bool guards_mprotect;            /* guard with mprotect also where the kernel has marks */
};

struct weft__stack_pieces {
    struct weft__stack_piece *first;
    struct weft__stack_piece *last;
};

struct weft__stack_pool {
    /* const after init */
    struct weft__core *core;
    size_t stack_bytes; /* with the guard */
    size_t guard_bytes;
    uint32_t piece_stacks; /* in one mapping */
    uint32_t stacks_max;
    bool guards_mprotect;
    uint32_t guarded_max; /* with mprotect: of all pools that share the counter */
    uint64_t maps_max;    /* what that was computed from; 0: there is no such limit */
    weft_atomic_u32 *guarded;
    /* under lock */
    struct weft__lock lock;
    struct weft__stack_pieces ready; /* pieces with free stacks, wholly free ones last */
    struct weft__stack_pieces spent; /* the others */
    uint32_t wholly_free;            /* pieces none of whose stacks is out */
    uint32_t committed;              /* stacks the allocator was asked for: the most ever mapped */
    /* written under lock, read by anybody; advisory: gauges */
    weft_atomic_u32 mapped; /* stacks, also those another thread is about to map */
    weft_atomic_u32 out;    /* of these with users and in caches */
    /* any thread */
    weft_atomic_u32 guarded_own; /* what guarded points to if the limit is not shared */
};

/* A thread's own. */
struct weft__stacks {
    /* const after init */
    struct weft__stack_pool *pool;
    uint32_t keep_max;
    /* its thread only */
    struct weft__stack *first; /* the warmest */
    /* written by its thread, read by anybody */
    weft_counter cached;
};

struct weft__stack_stats {
    uint64_t mapped;       /* stacks */
    uint64_t mapped_bytes; /* of address space */
    uint64_t in_use;
    uint64_t cached;
};

/* 0, -EINVAL for sizes out of range. */
int weft__stack_pool_init(struct weft__stack_pool *pool, struct weft__core *core,
                          const struct weft__stack_options *options);
/* No stack is in use or in a cache any more. A pool that is all zero is fine. */
void weft__stack_pool_fini(struct weft__stack_pool *pool);
/* A stack without any pages; 0, WEFT_E_LIMIT or -ENOMEM. Any thread. */
int weft__stack_pool_get(struct weft__stack_pool *pool, struct weft__stack **ret_stack);
/* Would a get answer WEFT_E_LIMIT for want of mappings? Advisory. Any thread. */
bool weft__stack_pool_is_spent(const struct weft__stack_pool *pool);
/* Takes its pages from a stack and the stack back. Any thread. */
void weft__stack_pool_put(struct weft__stack_pool *pool, struct weft__stack *stack);
/* Adds the pool's numbers; all that is out counts as in use. Any thread. */
void weft__stack_pool_stats(const struct weft__stack_pool *pool, struct weft__stack_stats *stats);

/* keep_max: how many stacks stay here with their pages. */
void weft__stacks_init(struct weft__stacks *stacks, struct weft__stack_pool *pool,
                       uint32_t keep_max);
/* Gives all back to the pool. A cache that is all zero is fine. */
void weft__stacks_fini(struct weft__stacks *stacks);
/* The stack that was put last, with what was on it, or one of the pool. As weft__stack_pool_get. */
int weft__stacks_get(struct weft__stacks *stacks, struct weft__stack **ret_stack);
/* Takes a stack, from whatever cache of the same pool it came. When there are more than keep_max
 * one goes to the pool, at the price of a system call. */
void weft__stacks_put(struct weft__stacks *stacks, struct weft__stack *stack);
/* Gives back at most count_max stacks, each a system call of 1 to 2 us, until keep are left.
 * Answers whether there are still more. */
bool weft__stacks_trim(struct weft__stacks *stacks, uint32_t keep, uint32_t count_max);
/* Counts what is cached here as cached and not as in use. Any thread. */
void weft__stacks_stats(const struct weft__stacks *stacks, struct weft__stack_stats *stats);

WEFT_INLINE size_t weft__stack_usable(const struct weft__stack *stack) {
    return (size_t)(stack->high - stack->low);
}

#endif
