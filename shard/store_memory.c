/* SPDX-License-Identifier: MIT
 *
 * A store in memory: a hash table in plain memory (malloc, for it outlives runtimes), in 64 stripes
 * with a lock each. Operations run on scheduler threads and complete inside the call.
 *
 * A key and its value are one record. A record never changes once it is in the table: a put links a
 * new one in place of the old one. So the lock is held for a walk along one chain and nothing else:
 * memory is allocated and values are copied before and after, and a reader that is still copying
 * keeps the record by a reference.
 *
 * A stripe grows by linear hashing (Litwin 1980): one bucket is split at a time, by the put that
 * adds a key, so that no put ever moves the whole table. Buckets are in segments that are added and
 * never moved. They are kept until the store is destroyed.
 *
 * Two hashes: one that is the same in every run chooses the stripe, so that a simulated run is
 * repeated exactly; the other one depends on where the store lies in memory and chooses the bucket,
 * so that ids from the network cannot be chosen to meet in one chain.
 *
 * Waiting for a lock needs an environment: that of the runtime whose operation it is. Counting
 * reads a counter of each stripe without the lock, and nobody else is there when it is destroyed.
 */
#include "shard/store_memory.h"

#include "core/lock.h"
#include "sched/scheduler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    MAGIC = 0x73746f72,
    STRIPES = 64,
    FIRST_BITS = 4,    /* a stripe starts with 16 buckets */
    SEGMENTS_MAX = 26, /* of 16, 16, 32, 64, ...: 2^29 buckets */
    SPLITS_MAX = 2,    /* of one put: it catches up when memory for a segment was short */
    PARTS = 3,         /* of a key: capability, type, id */
};

struct record {
    struct record *next; /* under the stripe's lock */
    /* Any thread. The table's and one for each reader; a reader adds its own under the lock, so
     * whoever drops the last one has nobody beside and frees the record. */
    weft_atomic_u32 references;
    /* const once it is in the table */
    uint64_t hash;
    uint64_t version;
    size_t part_sizes[PARTS];
    size_t value_size;
    size_t bytes_size;     /* of the whole record */
    unsigned char bytes[]; /* the parts of the key, then the value */
};

struct stripe {
    alignas(WEFT_CACHELINE) struct weft__lock lock;
    weft_counter keys; /* written under the lock; any thread reads, advisory */
    /* under the lock */
    uint32_t bucket_count;
    struct record **segments[SEGMENTS_MAX];
    struct record *first[1u << FIRST_BITS];
};

struct memory {
    weft_store store;
    /* const after init */
    uint32_t magic;
    uint64_t bytes_max; /* 0: no limit, bytes are not counted */
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u64 bytes; /* of all records; puts and removes change it */
    weft_atomic_u64 versions;                      /* the last one given out; puts add 1 */
    struct stripe stripes[STRIPES];
};

/* A key and where it belongs. */
struct place {
    struct stripe *stripe;
    uint64_t hash;
    const void *parts[PARTS];
    size_t part_sizes[PARTS];
};

/* ---- keys ---------------------------------------------------------------------------------- */

static struct memory *memory_of(weft_store *store) {
    struct memory *memory = (struct memory *)(void *)store;
    weft_assert(memory->magic == MAGIC);
    return memory;
}

static uint64_t hash_of(const struct place *place, uint64_t seed) {
    for (uint32_t i = 0; i < PARTS; i++) {
        seed = XXH3_64bits_withSeed(place->parts[i], place->part_sizes[i], seed);
    }
    return seed;
}

static int find_place(struct memory *memory, const weft_store_key *key, struct place *ret_place) {
    if (key == NULL || key->capability == NULL || key->type == NULL ||
        (key->id == NULL && key->id_size != 0) || key->id_size > UINT32_MAX) {
        return -EINVAL;
    }
    struct place place = {
        .parts = {key->capability, key->type, key->id_size == 0 ? "" : key->id},
        .part_sizes = {strlen(key->capability), strlen(key->type), key->id_size},
    };
    place.hash = hash_of(&place, (uint64_t)(uintptr_t)memory);
    place.stripe = &memory->stripes[hash_of(&place, 0) % STRIPES];
    *ret_place = place;
    return 0;
}

static bool is_at(const struct record *record, const struct place *place) {
    if (record->hash != place->hash ||
        memcmp(record->part_sizes, place->part_sizes, sizeof(place->part_sizes)) != 0) {
        return false;
    }
    const unsigned char *bytes = record->bytes;
    for (uint32_t i = 0; i < PARTS; i++) {
        if (memcmp(bytes, place->parts[i], place->part_sizes[i]) != 0) {
            return false;
        }
        bytes += place->part_sizes[i];
    }
    return true;
}

/* ---- records ------------------------------------------------------------------------------- */

static const unsigned char *record_value(const struct record *record) {
    return record->bytes + (record->bytes_size - sizeof(*record) - record->value_size);
}

/* With one reference, which will be the table's. NULL: no memory. */
static struct record *record_create(const struct place *place, weft_buf *value) {
    size_t value_size = weft_buf_size(value);
    size_t size = sizeof(struct record) + value_size;
    for (uint32_t i = 0; i < PARTS; i++) {
        size += place->part_sizes[i];
    }
    struct record *record = malloc(size);
    if (record == NULL) {
        return NULL;
    }
    *record = (struct record){.hash = place->hash, .value_size = value_size, .bytes_size = size};
    weft_store32_relaxed(&record->references, 1); /* owner-only until it is linked */
    memcpy(record->part_sizes, place->part_sizes, sizeof(record->part_sizes));
    unsigned char *bytes = record->bytes;
    for (uint32_t i = 0; i < PARTS; i++) {
        memcpy(bytes, place->parts[i], place->part_sizes[i]);
        bytes += place->part_sizes[i];
    }
    memcpy(bytes, weft_buf_data(value), value_size);
    return record;
}

static void record_unref(struct record *record) {
    if (record != NULL && weft_add32_acq_rel(&record->references, UINT32_MAX) == 1) {
        free(record);
    }
}

/* ---- buckets: all under the stripe's lock -------------------------------------------------- */

static uint32_t top_bit(uint32_t value) {
    return 31u - (uint32_t)__builtin_clz(value);
}

static uint32_t segment_of(uint32_t bucket) {
    return bucket < 1u << FIRST_BITS ? 0 : top_bit(bucket >> FIRST_BITS) + 1;
}

/* Of all but the first one it is also where it begins. */
static uint32_t segment_size(uint32_t segment) {
    return 1u << (FIRST_BITS + (segment == 0 ? 0 : segment - 1));
}

static struct record **bucket_at(struct stripe *stripe, uint32_t bucket) {
    uint32_t segment = segment_of(bucket);
    return &stripe->segments[segment][segment == 0 ? bucket : bucket - segment_size(segment)];
}

/* The buckets below the largest power of two that have not been split take the hashes of the bucket
 * they will be split into. */
static uint32_t bucket_of(const struct stripe *stripe, uint64_t hash) {
    uint32_t half = 1u << top_bit(stripe->bucket_count);
    uint32_t bucket = (uint32_t)hash & (2 * half - 1);
    return bucket < stripe->bucket_count ? bucket : bucket - half;
}

/* The pointer to the record of this key, or the one at the chain's end: about one step, since a
 * stripe has as many buckets as keys. */
static struct record **find_link(const struct place *place) {
    struct record **link = bucket_at(place->stripe, bucket_of(place->stripe, place->hash));
    while (*link != NULL && !is_at(*link, place)) {
        link = &(*link)->next;
    }
    return link;
}

/* Adds a bucket and gives it its part of the one that had its keys. */
static void split(struct stripe *stripe) {
    uint32_t added = stripe->bucket_count;
    uint32_t half = 1u << top_bit(added);
    struct record **source = bucket_at(stripe, added - half);
    struct record **target = bucket_at(stripe, added);
    weft_assert(*target == NULL);
    stripe->bucket_count++;
    while (*source != NULL) {
        struct record *record = *source;
        if (((uint32_t)record->hash & half) == 0) {
            source = &record->next;
            continue;
        }
        *source = record->next;
        record->next = *target;
        *target = record;
    }
}

/* Makes room for the key that was added. Returns the segment that is missing for it, or 0. */
static uint32_t grow(struct stripe *stripe) {
    for (uint32_t i = 0; i < SPLITS_MAX; i++) {
        uint32_t segment = segment_of(stripe->bucket_count);
        if (weft_load64_relaxed(&stripe->keys) <= stripe->bucket_count || /* owner-only: locked */
            segment == SEGMENTS_MAX) {
            return 0;
        }
        if (stripe->segments[segment] == NULL) {
            return segment;
        }
        split(stripe);
    }
    return 0;
}

/* Without the lock. Without memory chains become longer, and the next new key tries again. */
static void add_segment(struct stripe *stripe, weft_env *env, uint32_t segment) {
    struct record **buckets = calloc(segment_size(segment), sizeof(*buckets));
    if (buckets == NULL) {
        return;
    }
    weft__lock_enter(&stripe->lock, env);
    if (stripe->segments[segment] == NULL) {
        stripe->segments[segment] = buckets;
        buckets = NULL;
    }
    weft__lock_leave(&stripe->lock);
    free(buckets); /* another put was first */
}

/* ---- changes: under the stripe's lock ------------------------------------------------------ */

/* Counts added bytes in and removed ones out, or answers -ENOSPC. What makes the store smaller is
 * always permitted. */
static int account(struct memory *memory, size_t added, size_t removed) {
    if (memory->bytes_max == 0) {
        return 0;
    }
    uint64_t bytes = weft_load64_relaxed(&memory->bytes); /* advisory: the exchange compares */
    uint64_t after = 0;
    do { /* ends when no other stripe changes it meanwhile */
        weft_assert(bytes >= removed);
        after = bytes - removed + added;
        if (added > removed && after > memory->bytes_max) {
            return -ENOSPC;
        }
    } while (!weft_cas64_acq_rel(&memory->bytes, &bytes, after));
    return 0;
}

static void count_keys(struct stripe *stripe, uint64_t change) {
    uint64_t keys = weft_load64_relaxed(&stripe->keys); /* owner-only: locked */
    weft_store64_relaxed(&stripe->keys, keys + change);
}

/* Puts *record (NULL: nothing) in the place of what is there, if that has the expected version.
 * *record is afterwards what is no longer in the table, also on error. */
static int exchange(struct memory *memory, const struct place *place, uint64_t expected,
                    struct record **record) {
    struct record **link = find_link(place);
    struct record *old = *link;
    struct record *new = *record;
    if ((old != NULL ? old->version : 0) != expected) {
        return WEFT_E_VERSION;
    }
    int result =
        account(memory, new != NULL ? new->bytes_size : 0, old != NULL ? old->bytes_size : 0);
    if (result < 0) {
        return result;
    }
    struct record *next = old != NULL ? old->next : NULL;
    if (new != NULL) {
        new->version = weft_add64_acq_rel(&memory->versions, 1) + 1;
        new->next = next;
    }
    *link = new != NULL ? new : next;
    count_keys(place->stripe, (uint64_t)(new != NULL) - (uint64_t)(old != NULL));
    *record = old;
    return 0;
}

int weft__memory_write(weft_store *store, const weft_store_key *key,
                       const struct weft__memory_change *change, uint64_t *ret_version) {
    struct memory *memory = memory_of(store);
    weft_env *env = change->runtime->core.env;
    struct place place;
    int result = find_place(memory, key, &place);
    if (result < 0) {
        return result;
    }
    struct record *record = NULL;
    if (change->value != NULL) {
        record = record_create(&place, change->value);
        if (record == NULL) {
            return -ENOMEM;
        }
    }
    weft__lock_enter(&place.stripe->lock, env);
    struct record *added = record;
    result = exchange(memory, &place, change->expected, &record);
    uint64_t version = result == 0 && added != NULL ? added->version : 0;
    uint32_t missing = result == 0 ? grow(place.stripe) : 0;
    weft__lock_leave(&place.stripe->lock);
    record_unref(record);
    if (missing != 0) {
        add_segment(place.stripe, env, missing);
    }
    if (result == 0) {
        *ret_version = version;
    }
    return result;
}

int weft__memory_read(weft_store *store, const weft_store_key *key, weft_runtime *runtime,
                      uint64_t *ret_version, weft_buf **ret_value) {
    struct place place;
    int result = find_place(memory_of(store), key, &place);
    if (result < 0) {
        return result;
    }
    weft__lock_enter(&place.stripe->lock, runtime->core.env);
    struct record *record = *find_link(&place);
    if (record != NULL) {
        (void)weft_add32_acq_rel(&record->references, 1); /* the table holds one: never the last */
    }
    weft__lock_leave(&place.stripe->lock);
    if (record == NULL) {
        return -ENOENT;
    }
    weft_buf *value = NULL;
    result = weft_buf_create(runtime, record->value_size, &value);
    if (result == 0) {
        memcpy(weft_buf_data(value), record_value(record), record->value_size);
        *ret_version = record->version;
        *ret_value = value;
    }
    record_unref(record);
    return result;
}

/* ---- operations ---------------------------------------------------------------------------- */

/* What a completion answers, that nobody waits any more, concerns no store. */

static int memory_get(weft_store *store, const weft_store_key *key, const weft_store_op *op) {
    uint64_t version = 0;
    weft_buf *value = NULL;
    int status = weft__memory_read(store, key, op->runtime, &version, &value);
    (void)weft_store_complete(op, status, version, value);
    return 0;
}

static int memory_put(weft_store *store, const weft_store_key *key, weft_buf *value,
                      uint64_t expected, const weft_store_op *op) {
    if (value == NULL) {
        return -EINVAL;
    }
    struct weft__memory_change change = {op->runtime, value, expected};
    uint64_t version = 0;
    int status = weft__memory_write(store, key, &change, &version);
    (void)weft_store_complete(op, status, version, NULL);
    return 0;
}

static int memory_remove(weft_store *store, const weft_store_key *key, uint64_t expected,
                         const weft_store_op *op) {
    struct weft__memory_change change = {op->runtime, NULL, expected};
    uint64_t version = 0;
    int status = weft__memory_write(store, key, &change, &version);
    (void)weft_store_complete(op, status, 0, NULL);
    return 0;
}

static const weft_store_calls memory_calls = {
    .struct_size = WEFT_STORE_CALLS_INIT,
    .get = memory_get,
    .put = memory_put,
    .remove = memory_remove,
};

/* ---- create and destroy -------------------------------------------------------------------- */

int weft_store_memory_create(uint64_t bytes_max, weft_store **ret_store) {
    if (ret_store == NULL) {
        return -EINVAL;
    }
    struct memory *memory = aligned_alloc(alignof(struct memory), sizeof(*memory));
    if (memory == NULL) {
        return -ENOMEM;
    }
    memset(memory, 0, sizeof(*memory));
    memory->store.calls = &memory_calls;
    memory->magic = MAGIC;
    memory->bytes_max = bytes_max;
    for (uint32_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &memory->stripes[i];
        stripe->bucket_count = 1u << FIRST_BITS;
        stripe->segments[0] = stripe->first;
    }
    *ret_store = &memory->store;
    return 0;
}

static void stripe_fini(struct stripe *stripe) {
    for (uint32_t i = 0; i < stripe->bucket_count; i++) {
        struct record *record = *bucket_at(stripe, i);
        while (record != NULL) {
            struct record *next = record->next;
            weft_assert(weft_load32_acquire(&record->references) == 1); /* nobody reads */
            free(record);
            record = next;
        }
    }
    for (uint32_t i = 1; i < SEGMENTS_MAX; i++) {
        free(stripe->segments[i]);
    }
}

void weft_store_memory_destroy(weft_store **store) {
    if (store == NULL || *store == NULL) {
        return;
    }
    struct memory *memory = memory_of(*store);
    for (uint32_t i = 0; i < STRIPES; i++) {
        stripe_fini(&memory->stripes[i]);
    }
    memory->magic = 0;
    free(memory);
    *store = NULL;
}

uint64_t weft_store_memory_count(weft_store *store) {
    struct memory *memory = memory_of(store);
    uint64_t count = 0;
    for (uint32_t i = 0; i < STRIPES; i++) {
        count += weft_load64_relaxed(&memory->stripes[i].keys); /* advisory: while nobody writes */
    }
    return count;
}
