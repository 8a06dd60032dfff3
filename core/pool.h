/* SPDX-License-Identifier: MIT
 *
 * Message pools. Cells of 64, 128 and 256 bytes live in the message arena; each scheduler has a
 * pool that only it allocates from, pool 0 serves all other threads under a lock. A cell freed
 * elsewhere goes home in a batch: the freeing scheduler collects a chain per owner and pushes it
 * on the owner's returns stack when it is long enough or before parking.
 *
 * Why no reader can hold a freed cell: messages have one owner at a time; the one exception, a
 * pusher reading the seq of a head that was just consumed, reads an atomic word of type-stable
 * memory and treats it as a hint (sched/mailbox.h, I3).
 */
#ifndef WEFT_CORE_POOL_H
#define WEFT_CORE_POOL_H

#include "core/core.h"

enum {
    WEFT__CLASSES = 3,
    WEFT__RETURN_BATCH = 32, /* cells collected for another owner before they are sent home */
    WEFT__HEADER_BYTES = 32,
    WEFT__WIDE_BYTES = 48,
    WEFT__INLINE_MAX = 256 - WEFT__HEADER_BYTES,
    WEFT__CLASS_MASK = 3, /* in weft__flags */
};

/* A chain of cells on their way home. */
struct weft__chain {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

struct weft__pool {
    /* const after init */
    struct weft__core *core;
    struct weft__arena *arena;
    struct weft__pool *const *pools; /* all pools of the runtime by owner number */
    uint32_t pool_count;
    uint32_t id;
    uint64_t keep_bytes;          /* free memory worth keeping */
    struct weft__chain *outgoing; /* per owner; NULL in pool 0 */
    /* owner only (pool 0: under lock) */
    uint32_t free_heads[WEFT__CLASSES];
    uint32_t free_counts[WEFT__CLASSES];
    uint64_t bump[WEFT__CLASSES]; /* next untouched byte of the current piece, and its end */
    uint64_t bump_end[WEFT__CLASSES];
    uint32_t pieces;         /* claimed so far */
    uint32_t outgoing_cells; /* in all outgoing chains */
    uint32_t pressure_seen;  /* core.pressure that this pool has answered */
    /* owner only writes; read by statistics */
    weft_counter allocated;
    weft_counter freed; /* cells of any owner */
    weft_counter hits;
    weft_counter refills;
    weft_counter returned;
    weft_counter trims;
    struct weft__lock lock; /* pool 0 */
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u32 returns; /* stack of cells come home. Q1 */
};

int weft__pool_init(struct weft__pool *pool, struct weft__core *core,
                    struct weft__pool *const *pools, uint32_t pool_count, uint32_t id,
                    uint64_t keep_bytes);
void weft__pool_fini(struct weft__pool *pool);

/* A cell of a class when the free list is empty; NULL: out of memory. Owner only. */
weft_msg *weft__pool_refill(struct weft__pool *pool, uint32_t class);
/* Frees a cell that belongs to another pool. Owner only. */
void weft__pool_free_far(struct weft__pool *pool, weft_msg *msg);
/* Sends collected cells home. Owner only. */
void weft__pool_flush(struct weft__pool *pool);
/* More than keep_bytes lie free. Owner only. */
bool weft__pool_excess(const struct weft__pool *pool);
/* Gives memory back to the system when more than keep_bytes lie free. Bounded by the free list,
 * about 3 ns a cell; called before a park only. Owner only. */
void weft__pool_trim(struct weft__pool *pool);

/* Memory is short somewhere: gives back all pieces that are wholly free. Owner only. */
void weft__pool_relieve(struct weft__pool *pool);
WEFT_INLINE void weft__pool_check_pressure(struct weft__pool *pool) {
    if (weft_unlikely(weft_load32_relaxed(&pool->core->pressure) != pool->pressure_seen)) {
        weft__pool_relieve(pool); /* advisory: asked again every step */
    }
}

/* The same from any thread that is not a scheduler: through pool 0. */
weft_msg *weft__pool_alloc_outside(struct weft__pool *shared, uint32_t class);
void weft__pool_free_outside(struct weft__pool *shared, weft_msg *msg);

WEFT_INLINE uint32_t weft__class_bytes(uint32_t class) {
    return (uint32_t)WEFT__CELL_BYTES << class;
}

/* The smallest class that holds bytes in all; WEFT__CLASSES when none does. */
WEFT_INLINE uint32_t weft__class_of(size_t bytes) {
    return bytes <= 64 ? 0 : bytes <= 128 ? 1 : bytes <= 256 ? 2 : WEFT__CLASSES;
}

/* A cell: only weft__flags (class) and weft__owner are set. Owner only. NULL: out of memory. */
WEFT_INLINE weft_msg *weft__pool_alloc(struct weft__pool *pool, uint32_t class) {
    uint32_t index = pool->free_heads[class];
    if (weft_unlikely(index == 0)) {
        return weft__pool_refill(pool, class);
    }
    weft_msg *msg = weft__arena_msg(pool->arena, index);
    pool->free_heads[class] = msg->weft__next;
    pool->free_counts[class]--;
    weft_counter_add(&pool->allocated, 1);
    return msg;
}

/* Owner only. */
WEFT_INLINE void weft__pool_free(struct weft__pool *pool, weft_msg *msg) {
    weft_counter_add(&pool->freed, 1);
    if (weft_unlikely(msg->weft__owner != pool->id)) {
        weft__pool_free_far(pool, msg);
        return;
    }
    uint32_t class = msg->weft__flags & WEFT__CLASS_MASK;
    msg->weft__next = pool->free_heads[class];
    pool->free_heads[class] = weft__arena_index(pool->arena, msg);
    pool->free_counts[class]++;
}

#endif
