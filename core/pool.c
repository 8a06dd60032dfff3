/* SPDX-License-Identifier: MIT
 *
 * Message pools: see core/pool.h. Slow paths: refill, returns, trimming.
 */
#include "core/pool.h"
#include <errno.h>
#include <string.h>

int weft__pool_init(struct weft__pool *pool, struct weft__core *core,
                    struct weft__pool *const *pools, uint32_t pool_count, uint32_t id,
                    uint64_t keep_bytes) {
    memset(pool, 0, sizeof(*pool));
    pool->core = core;
    pool->arena = &core->messages;
    pool->pools = pools;
    pool->pool_count = pool_count;
    pool->id = id;
    pool->keep_bytes = keep_bytes;
    if (id != 0) {
        pool->outgoing = weft__alloc(core, pool_count * sizeof(*pool->outgoing), "outgoing");
        if (pool->outgoing == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

void weft__pool_fini(struct weft__pool *pool) {
    if (pool->core != NULL) {
        weft__free(pool->core, pool->outgoing, pool->pool_count * sizeof(*pool->outgoing),
                   "outgoing");
    }
    pool->outgoing = NULL;
}

/* Puts a chain on its owner's returns stack. Any thread. */
static void send_home(struct weft__pool *owner, uint32_t first, weft_msg *last) {
    uint32_t head = weft_load32_relaxed(&owner->returns);
    do {
        last->weft__next = head;
    } while (!weft_cas32_acq_rel(&owner->returns, &head, first)); /* Q1 */
}

/* Sorts what came home into the free lists. True if there was anything. Owner only. */
static bool take_returns(struct weft__pool *pool) {
    if (weft_load32_relaxed(&pool->returns) == 0) {
        return false; /* advisory: asked again at the next refill */
    }
    uint32_t index = weft_exchange32_acq_rel(&pool->returns, 0); /* pairs with Q1 */
    while (index != 0) {
        weft_msg *msg = weft__arena_msg(pool->arena, index);
        uint32_t next = msg->weft__next;
        uint32_t class = msg->weft__flags & WEFT__CLASS_MASK;
        msg->weft__next = pool->free_heads[class];
        pool->free_heads[class] = index;
        pool->free_counts[class]++;
        index = next;
    }
    return true;
}

/* A piece for new cells: one that was given back, or a fresh one. */
static int find_piece(struct weft__pool *pool, uint64_t *ret_offset) {
    struct weft__core *core = pool->core;
    weft__lock_enter(&core->pieces_lock, core->env);
    bool reused = core->free_piece_count != 0;
    if (reused) {
        *ret_offset = (uint64_t)core->free_pieces[--core->free_piece_count] * WEFT__PIECE_BYTES;
    }
    weft__lock_leave(&core->pieces_lock);
    if (reused) {
        return 0;
    }
    /* The first pieces of a pool are small programs' only ones: no huge pages for those. */
    return weft__arena_grow(pool->arena, &core->allocator, pool->pieces >= WEFT__CLASSES,
                            ret_offset);
}

/* The same; when there is none, what lies free in the pool of the threads outside, which has no
 * idle moments of its own, and a hint to all schedulers that they give back theirs. */
static int claim_piece(struct weft__pool *pool, uint64_t *ret_offset) {
    int result = find_piece(pool, ret_offset);
    if (weft_likely(result == 0)) {
        return 0;
    }
    (void)weft_add32_acq_rel(&pool->core->pressure, 1);
    if (pool->id != 0) {
        struct weft__pool *shared = pool->pools[0];
        weft__lock_enter(&shared->lock, shared->core->env);
        weft__pool_relieve(shared);
        weft__lock_leave(&shared->lock);
    }
    return find_piece(pool, ret_offset);
}

static weft_msg *carve(struct weft__pool *pool, uint32_t class) {
    uint32_t bytes = weft__class_bytes(class);
    if (pool->bump[class] == pool->bump_end[class]) {
        uint64_t offset;
        if (claim_piece(pool, &offset) != 0) {
            return NULL;
        }
        pool->pieces++;
        pool->bump[class] = offset == 0 ? 256 : offset; /* indices 0 to 3 mean other things */
        pool->bump_end[class] = offset + WEFT__PIECE_BYTES;
    }
    weft_msg *msg = (weft_msg *)(void *)(pool->arena->base + pool->bump[class]);
    pool->bump[class] += bytes;
    msg->weft__flags = (uint8_t) class;
    msg->weft__owner = (uint16_t)pool->id;
    return msg;
}

weft_msg *weft__pool_refill(struct weft__pool *pool, uint32_t class) {
    weft_counter_add(&pool->refills, 1);
    if (take_returns(pool) && pool->free_heads[class] != 0) {
        return weft__pool_alloc(pool, class);
    }
    weft_msg *msg = carve(pool, class);
    if (msg != NULL) {
        weft_counter_add(&pool->allocated, 1);
    }
    return msg;
}

static void flush_chain(struct weft__pool *pool, uint32_t owner) {
    struct weft__chain *chain = &pool->outgoing[owner];
    if (chain->count == 0) {
        return;
    }
    send_home(pool->pools[owner], chain->first, weft__arena_msg(pool->arena, chain->last));
    pool->outgoing_cells -= chain->count;
    *chain = (struct weft__chain){0};
}

void weft__pool_free_far(struct weft__pool *pool, weft_msg *msg) {
    uint32_t owner = msg->weft__owner;
    weft_assert(owner < pool->pool_count);
    struct weft__chain *chain = &pool->outgoing[owner];
    uint32_t index = weft__arena_index(pool->arena, msg);
    msg->weft__next = chain->first;
    chain->first = index;
    if (chain->count++ == 0) {
        chain->last = index;
    }
    pool->outgoing_cells++;
    weft_counter_add(&pool->returned, 1);
    if (chain->count >= WEFT__RETURN_BATCH) {
        flush_chain(pool, owner);
    }
}

void weft__pool_flush(struct weft__pool *pool) {
    for (uint32_t owner = 0; pool->outgoing_cells != 0 && owner < pool->pool_count; owner++) {
        flush_chain(pool, owner);
    }
}

/* Unlinks the cells of pieces whose cells are all free and gives those pieces back. */
static void trim_class(struct weft__pool *pool, uint32_t class) {
    struct weft__core *core = pool->core;
    uint32_t cells = WEFT__PIECE_BYTES / weft__class_bytes(class);
    uint32_t cells_per_index = WEFT__PIECE_BYTES / WEFT__CELL_BYTES;
    for (uint32_t i = pool->free_heads[class]; i != 0;
         i = weft__arena_msg(pool->arena, i)->weft__next) {
        core->piece_counts[i / cells_per_index]++;
    }
    uint32_t *link = &pool->free_heads[class];
    uint32_t index = *link;
    while (index != 0) {
        weft_msg *msg = weft__arena_msg(pool->arena, index);
        uint32_t piece = index / cells_per_index;
        uint32_t next = msg->weft__next;
        if (core->piece_counts[piece] >= cells) {
            *link = next;
            pool->free_counts[class]--;
            if (++core->piece_counts[piece] == 2 * cells) { /* the last one: nothing links in */
                weft__arena_discard(pool->arena, (uint64_t)piece * WEFT__PIECE_BYTES,
                                    WEFT__PIECE_BYTES);
                weft_counter_add(&pool->trims, 1);
                weft__lock_enter(&core->pieces_lock, core->env);
                core->free_pieces[core->free_piece_count++] = piece;
                weft__lock_leave(&core->pieces_lock);
                core->piece_counts[piece] = 0;
            }
        } else {
            core->piece_counts[piece] = 0;
            link = &msg->weft__next;
        }
        index = next;
    }
}

bool weft__pool_excess(const struct weft__pool *pool) {
    for (uint32_t class = 0; class < WEFT__CLASSES; class ++) {
        if ((uint64_t)pool->free_counts[class] * weft__class_bytes(class) > pool->keep_bytes) {
            return true;
        }
    }
    return false;
}

void weft__pool_trim(struct weft__pool *pool) {
    (void)take_returns(pool);
    for (uint32_t class = 0; class < WEFT__CLASSES; class ++) {
        uint64_t bytes = (uint64_t)pool->free_counts[class] * weft__class_bytes(class);
        if (bytes > pool->keep_bytes) {
            trim_class(pool, class);
        }
    }
}

void weft__pool_relieve(struct weft__pool *pool) {
    pool->pressure_seen = weft_load32_relaxed(&pool->core->pressure);
    (void)take_returns(pool);
    for (uint32_t class = 0; class < WEFT__CLASSES; class ++) {
        trim_class(pool, class);
    }
}

weft_msg *weft__pool_alloc_outside(struct weft__pool *shared, uint32_t class) {
    weft__lock_enter(&shared->lock, shared->core->env);
    weft_msg *msg = weft__pool_alloc(shared, class);
    weft__lock_leave(&shared->lock);
    return msg;
}

void weft__pool_free_outside(struct weft__pool *shared, weft_msg *msg) {
    uint32_t owner = msg->weft__owner;
    weft_assert(owner < shared->pool_count);
    weft__lock_enter(&shared->lock, shared->core->env);
    if (owner == 0) {
        weft__pool_free(shared, msg);
    } else {
        weft_counter_add(&shared->freed, 1);
    }
    weft__lock_leave(&shared->lock);
    if (owner != 0) {
        send_home(shared->pools[owner], weft__arena_index(shared->arena, msg), msg);
    }
}
