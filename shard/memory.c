/* SPDX-License-Identifier: MIT
 *
 * The init_arg of addresses that are not active: chains in buckets by the secret hash of the
 * address, so that ids chosen to share a shard do not share a chain. The buckets are made with the
 * first memory, as many as what may be remembered (shard.remember) can fill. Any thread; a bucket
 * is under one of a few locks, which are taken inside a token. A memory that is taken out becomes a
 * part of the activation's extra, and is put back at its end, so that neither needs memory under a
 * token.
 */
#include "shard/shard.h"
#include <string.h>

enum { BUCKETS_MIN = 1024, BUCKETS_MAX = 1 << 24, BYTES_PER_BUCKET = 256 };

static size_t memory_bytes(uint32_t id_size, uint32_t arg_size) {
    return sizeof(struct weft__memory) + id_size + arg_size;
}

static void forget_bytes(struct weft__shards *shards, size_t bytes) {
    (void)weft_add64_acq_rel(&shards->remembered, 0 - (uint64_t)bytes);
}

/* The buckets, or NULL: there are none. */
static struct weft__memory **buckets_of(const struct weft__shards *shards) {
    /* Pairs with Y1. */
    return (struct weft__memory **)(uintptr_t)weft_load64_acquire(&shards->memories);
}

static struct weft__lock *lock_of(struct weft__shards *shards, uint64_t hash) {
    return &shards->memory_locks[hash % WEFT__MEMORY_LOCKS];
}

static uint32_t bucket_count(uint64_t max) {
    uint32_t count = BUCKETS_MIN;
    while (count < BUCKETS_MAX && (uint64_t)count * BYTES_PER_BUCKET < max) {
        count *= 2;
    }
    return count;
}

/* Makes the buckets if there are none. False: no memory. */
static bool make_buckets(struct weft__shards *shards) {
    if (weft_likely(buckets_of(shards) != NULL)) {
        return true;
    }
    uint32_t count = bucket_count(shards->runtime->config.shard_remember_bytes);
    struct weft__memory **made = weft__alloc(shards->core, count * sizeof(*made), "memories");
    if (made == NULL) {
        return false;
    }
    weft__lock_enter(&shards->lock, shards->core->env);
    bool first = buckets_of(shards) == NULL;
    if (first) {
        shards->memory_mask = count - 1;
        /* Y1: publishes the buckets and their mask; pairs with the load in buckets_of. */
        weft_store64_release(&shards->memories, (uint64_t)(uintptr_t)made);
    }
    weft__lock_leave(&shards->lock);
    if (!first) {
        weft__free(shards->core, made, count * sizeof(*made), "memories");
    }
    return true;
}

/* What the extra has of the address, or a copy. NULL: no memory. */
static struct weft__memory *memory_of(struct weft__shards *shards, const struct weft__vkey *key,
                                      struct weft__extra *extra) {
    struct weft__memory *memory = extra->memory;
    if (memory != NULL) {
        weft_assert(memory->hash == key->hash);
        extra->memory = NULL;
        extra->arg = NULL;
        extra->arg_size = 0;
        return memory;
    }
    memory = weft__alloc(shards->core, memory_bytes(key->id_size, extra->arg_size), "memory");
    if (memory == NULL) {
        return NULL;
    }
    memory->hash = key->hash;
    memory->name = key->name;
    memory->id_size = key->id_size;
    memory->arg_size = extra->arg_size;
    memcpy(memory->bytes, key->id, key->id_size);
    memcpy(memory->bytes + key->id_size, extra->arg, extra->arg_size);
    return memory;
}

struct weft__memory *weft__memory_make(struct weft__shards *shards, const struct weft__vkey *key,
                                       struct weft__extra *extra) {
    if (extra == NULL || extra->arg == NULL) {
        return NULL;
    }
    size_t bytes = memory_bytes(key->id_size, extra->arg_size);
    uint64_t max = shards->runtime->config.shard_remember_bytes;
    struct weft__memory *memory = NULL;
    if (weft_add64_acq_rel(&shards->remembered, bytes) + bytes <= max && make_buckets(shards)) {
        memory = memory_of(shards, key, extra);
    }
    if (memory == NULL) {
        forget_bytes(shards, bytes);
        WEFT__COUNT(shards->runtime, NULL, virtual_forgotten, 1);
    }
    return memory;
}

void weft__memory_free(struct weft__shards *shards, struct weft__memory *memory) {
    weft__free(shards->core, memory, memory_bytes(memory->id_size, memory->arg_size), "memory");
}

void weft__memory_unmake(struct weft__shards *shards, struct weft__memory *memory,
                         struct weft__extra *extra) {
    forget_bytes(shards, memory_bytes(memory->id_size, memory->arg_size));
    if (extra->arg == NULL) {
        weft__extra_remember(extra, memory);
    } else {
        weft__memory_free(shards, memory);
    }
}

void weft__memory_put(struct weft__shards *shards, struct weft__memory *memory) {
    weft_assert(buckets_of(shards) != NULL); /* weft__memory_make has seen to that */
    struct weft__memory **bucket = &buckets_of(shards)[memory->hash & shards->memory_mask];
    struct weft__lock *lock = lock_of(shards, memory->hash);
    weft__lock_enter(lock, shards->core->env);
    memory->next = *bucket;
    *bucket = memory;
    weft__lock_leave(lock);
}

static bool is_of(const struct weft__memory *memory, const struct weft__vkey *key) {
    return memory->hash == key->hash && memory->name == key->name &&
           memory->id_size == key->id_size && memcmp(memory->bytes, key->id, key->id_size) == 0;
}

struct weft__memory *weft__memory_take(struct weft__shards *shards, const struct weft__vkey *key) {
    struct weft__memory **buckets = buckets_of(shards);
    if (buckets == NULL) {
        return NULL;
    }
    struct weft__lock *lock = lock_of(shards, key->hash);
    weft__lock_enter(lock, shards->core->env);
    struct weft__memory **link = &buckets[key->hash & shards->memory_mask];
    while (*link != NULL && !is_of(*link, key)) { /* bounded: some 4 to a bucket when it is full */
        link = &(*link)->next;
    }
    struct weft__memory *memory = *link;
    if (memory != NULL) {
        *link = memory->next;
    }
    weft__lock_leave(lock);
    if (memory != NULL) {
        weft_assert(memory->arg_size != 0);
        forget_bytes(shards, memory_bytes(memory->id_size, memory->arg_size));
    }
    return memory;
}

void weft__memories_fini(struct weft__shards *shards) {
    struct weft__memory **buckets = buckets_of(shards);
    for (uint32_t i = 0; buckets != NULL && i <= shards->memory_mask; i++) {
        while (buckets[i] != NULL) {
            struct weft__memory *memory = buckets[i];
            buckets[i] = memory->next;
            weft__memory_free(shards, memory);
        }
    }
    if (buckets != NULL) {
        weft__free(shards->core, buckets, (shards->memory_mask + 1) * sizeof(*buckets), "memories");
    }
}
