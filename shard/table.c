/* SPDX-License-Identifier: MIT
 *
 * The tables from addresses to slots: see shard.h for who may do what. Open addressing with linear
 * probing; an entry is one word {hash, slot}; removing shifts entries back, so there are no
 * tombstones, and a reader without the token may then miss an entry that is on the move (I3).
 * Arrays double at three quarters and halve at one eighth; moving needs no look at the ids.
 */
#include "shard/shard.h"
#include <string.h>

enum { FIRST_BITS = 3, UNIT_BYTES = 64, ENTRY_BYTES = 8 };

WEFT_INLINE uint64_t entry_of(uint32_t hash32, uint32_t slot) {
    return (uint64_t)hash32 << 32 | slot;
}

struct array {
    weft_atomic_u64 *entries;
    uint32_t mask;
    uint32_t bits;
};

/* Where and how large a subtable's array is; all of them side by side, so that readers find them in
 * the cache. A1 publishes an array. */
WEFT_INLINE weft_atomic_u64 *sub_array(const struct weft__shards *shards,
                                       const struct weft__subtable *sub) {
    return &shards->sub_arrays[sub - shards->subs];
}

WEFT_INLINE struct array array_of(const struct weft__shards *shards, uint64_t word) {
    uint32_t bits = (uint32_t)(word & 0xff);
    return (struct array){
        .entries =
            (weft_atomic_u64 *)(void *)(shards->arrays.arena.base + (word >> 8) * UNIT_BYTES),
        .mask = (1u << bits) - 1,
        .bits = bits,
    };
}

/* ---- arrays -------------------------------------------------------------------------------- */

_Static_assert(UNIT_BYTES << (WEFT__ARRAY_CLASSES - 1) == WEFT__ARRAY_PIECE_BYTES,
               "an array of the last class is a piece");

/* Takes an array of a class from those that were returned. Unit number, 0: there is none. Under the
 * lock of the arrays. */
static uint64_t free_take(struct weft__arrays *arrays, uint32_t class) {
    uint64_t unit = arrays->free[class];
    if (unit != 0) { /* relaxed: the link was written under this very lock */
        char *at = arrays->arena.base + unit * UNIT_BYTES;
        arrays->free[class] = weft_load64_relaxed((const weft_atomic_u64 *)(void *)at);
    }
    return unit;
}

static void free_put(struct weft__arrays *arrays, uint32_t class, uint64_t unit) {
    char *at = arrays->arena.base + unit * UNIT_BYTES;
    weft_store64_relaxed((weft_atomic_u64 *)(void *)at, arrays->free[class]); /* as in free_take */
    arrays->free[class] = unit;
}

/* Room for an array: one that was returned, else a part of a piece. Unit number, 0: there is none.
 * Under the lock of the arrays. */
static uint64_t units_take(struct weft__arrays *arrays, uint32_t class) {
    uint64_t units = 1ull << class;
    uint64_t unit = free_take(arrays, class);
    if (unit == 0 && arrays->bump_end - arrays->bump < units) {
        uint64_t piece = free_take(arrays, WEFT__ARRAY_CLASSES - 1);
        if (piece != 0) { /* what is left of the old one is lost: less than this array's size */
            arrays->bump = piece;
            arrays->bump_end = piece + WEFT__ARRAY_PIECE_BYTES / UNIT_BYTES;
        }
    }
    if (unit == 0 && arrays->bump_end - arrays->bump >= units) {
        unit = arrays->bump;
        arrays->bump += units;
    }
    return unit;
}

/* A zeroed array of 1 << bits entries as a word, 0: there is no room. */
static uint64_t array_take(struct weft__shards *shards, uint32_t bits) {
    struct weft__arrays *arrays = &shards->arrays;
    weft_assert(bits >= FIRST_BITS);
    weft_assert(bits - FIRST_BITS < WEFT__ARRAY_CLASSES);
    weft__lock_enter(&arrays->lock, shards->core->env);
    uint64_t unit = units_take(arrays, bits - FIRST_BITS);
    weft__lock_leave(&arrays->lock);
    if (unit == 0) {
        return 0;
    }
    uint64_t word = unit << 8 | bits;
    struct array array = array_of(shards, word);
    for (uint32_t i = 0; i <= array.mask; i++) { /* relaxed: A1 publishes them */
        weft_store64_relaxed(&array.entries[i], 0);
    }
    return word;
}

int weft__table_grow(struct weft__shards *shards) {
    struct weft__arrays *arrays = &shards->arrays;
    uint64_t offset;
    if (weft__arena_grow(&arrays->arena, &shards->core->allocator, true, &offset) != 0) {
        return -ENOMEM;
    }
    uint64_t unit = offset / UNIT_BYTES;
    weft__lock_enter(&arrays->lock, shards->core->env);
    if (unit != 0) {
        free_put(arrays, WEFT__ARRAY_CLASSES - 1, unit);
    } else if (arrays->bump == arrays->bump_end) {
        arrays->bump = 1; /* unit 0 is none */
        arrays->bump_end = WEFT__ARRAY_PIECE_BYTES / UNIT_BYTES;
    } /* else another thread was quicker with the second piece, and the first is lost */
    weft__lock_leave(&arrays->lock);
    return 0;
}

/* Readers may look into it for a while yet: what they find there is stale, or a link, and no record
 * says what they look for (I2). */
static void array_return(struct weft__shards *shards, uint64_t word) {
    struct weft__arrays *arrays = &shards->arrays;
    uint32_t bits = (uint32_t)(word & 0xff);
    weft__lock_enter(&arrays->lock, shards->core->env);
    free_put(arrays, bits - FIRST_BITS, word >> 8);
    weft__lock_leave(&arrays->lock);
}

/* ---- keys ---------------------------------------------------------------------------------- */

static uint32_t shard_of(const struct weft__shards *shards, const void *id, size_t id_size) {
    if (weft_likely(shards->mask != 0)) {
        return (uint32_t)XXH3_64bits(id, id_size) & shards->mask;
    }
    return weft_shard_of(shards->hash, id, id_size, shards->count);
}

static void key_hash(struct weft__shards *shards, struct weft__vkey *key) {
    key->shard = shard_of(shards, key->id, key->id_size);
    key->hash = weft__table_hash(&shards->hash_key, key->id, key->id_size, key->name);
    key->hash32 = (uint32_t)key->hash;
    uint32_t sub = (uint32_t)(key->hash >> (64 - shards->sub_bits));
    key->sub = &shards->subs[((uint64_t)key->shard << shards->sub_bits) + sub];
}

int weft__vkey_init(struct weft__shards *shards, uint32_t name, const void *id, size_t id_size,
                    struct weft__vkey *ret_key) {
    if (weft_unlikely(id_size > WEFT_ID_MAX || (id == NULL && id_size != 0))) {
        return -EINVAL;
    }
    ret_key->id = id_size == 0 ? "" : id;
    ret_key->id_size = (uint32_t)id_size;
    ret_key->name = name;
    ret_key->words[0] = 0;
    ret_key->words[1] = 0;
    ret_key->words[2] = 0;
    if (weft_likely(id_size <= WEFT__ID_INLINE)) {
        memcpy(ret_key->words, ret_key->id, id_size);
    }
    key_hash(shards, ret_key);
    return 0;
}

int weft__vkey_given(const weft_capability *capability, const weft_type *type, const void *id,
                     size_t id_size, struct weft__vkey *ret_key) {
    if (capability == NULL || type == NULL || type->runtime != capability->shards->runtime) {
        return -EINVAL;
    }
    weft_assert(capability->magic == WEFT__CAPABILITY_MAGIC);
    uint32_t name = capability->index << 16 | type->id;
    return weft__vkey_init(capability->shards, name, id, id_size, ret_key);
}

void weft__vkey_of(struct weft__shards *shards, const struct weft__record *record,
                   struct weft__vkey *ret_key) {
    /* Relaxed: they are const as long as the record cannot be cleared. */
    ret_key->id_size = weft_load32_relaxed(&record->id_size);
    ret_key->name = weft_load32_relaxed(&record->name);
    for (uint32_t i = 0; i < 3; i++) {
        ret_key->words[i] = weft_load64_relaxed(&record->words[i]);
    }
    ret_key->id = ret_key->words;
    if (ret_key->id_size > WEFT__ID_INLINE) {
        ret_key->id = (const void *)(uintptr_t)ret_key->words[0];
    }
    key_hash(shards, ret_key);
}

/* Does the record name the address? Returns its generation, else 0. Short ids only. */
WEFT_INLINE uint32_t record_matches(const struct weft__shards *shards,
                                    const struct weft__record *record,
                                    const struct weft__vkey *key) {
    (void)shards;                                     /* points only */
    uint32_t gen = weft_load32_acquire(&record->gen); /* pairs with R1 */
    WEFT__POINT(shards->core, WEFT__POINT_LOOK);
    /* Each is read no later than the generation below, and written after it was taken away. That
     * one is read relaxed: the acquires above it keep it where it is. */
    uint64_t differs = (weft_load64_acquire(&record->words[0]) ^ key->words[0]) |
                       (weft_load64_acquire(&record->words[1]) ^ key->words[1]) |
                       (weft_load64_acquire(&record->words[2]) ^ key->words[2]) |
                       (weft_load32_acquire(&record->name) ^ key->name) |
                       (weft_load32_acquire(&record->id_size) ^ key->id_size);
    if (weft_unlikely(differs != 0 || weft_load32_relaxed(&record->gen) != gen)) {
        return 0;
    }
    return gen;
}

/* The same for any id, under the token, under which a record's fields are read relaxed. */
static bool record_equals(const struct weft__record *record, const struct weft__vkey *key) {
    if (weft_load32_relaxed(&record->name) != key->name ||
        weft_load32_relaxed(&record->id_size) != key->id_size) {
        return false;
    }
    if (key->id_size <= WEFT__ID_INLINE) {
        return weft_load64_relaxed(&record->words[0]) == key->words[0] &&
               weft_load64_relaxed(&record->words[1]) == key->words[1] &&
               weft_load64_relaxed(&record->words[2]) == key->words[2];
    }
    const void *id = (const void *)(uintptr_t)weft_load64_relaxed(&record->words[0]);
    return memcmp(id, key->id, key->id_size) == 0;
}

/* ---- finding ------------------------------------------------------------------------------- */

/* What the sender and, soon, whoever runs the actor will write. */
WEFT_INLINE void prefetch_slot(struct weft_ctx *slot) {
    weft_prefetch_write(&slot->mailbox);
    weft_prefetch_write(&slot->type);
    weft_prefetch_write(&slot->small_state);
}

uint64_t weft__table_find(struct weft__shards *shards, const struct weft__vkey *key) {
    uint64_t word = weft_load64_acquire(sub_array(shards, key->sub)); /* pairs with A1 */
    if (weft_unlikely(word == 0 || key->id_size > WEFT__ID_INLINE)) {
        return 0; /* the bytes of a long id may only be read under the token */
    }
    struct array array = array_of(shards, word);
    /* Advisory: it only grows, and a stale entry is of a record below. */
    uint64_t records_end = weft_load64_relaxed(&shards->records.used);
    WEFT__POINT(shards->core, WEFT__POINT_LOOK);
    uint32_t at = key->hash32 & array.mask;
    for (uint32_t looks = 0; looks <= array.mask; looks++) {
        uint64_t entry = weft_load64_acquire(&array.entries[at]); /* pairs with E1 */
        if (entry == 0) {
            return 0;
        }
        uint32_t slot = (uint32_t)entry;
        WEFT__POINT(shards->core, WEFT__POINT_LOOK);
        if ((uint32_t)(entry >> 32) == key->hash32 &&
            ((uint64_t)slot + 1) * sizeof(struct weft__record) <= records_end) {
            prefetch_slot(weft__slot_at(&shards->runtime->slots, slot));
            uint32_t gen = record_matches(shards, weft__record_at(shards, slot), key);
            if (weft_likely(gen != 0)) {
                return (uint64_t)slot << 32 | gen;
            }
        }
        at = (at + 1) & array.mask;
    }
    return 0;
}

/* For asserts: somebody holds it. */
static bool is_held(const struct weft__subtable *sub) {
    return weft_load32_relaxed(&sub->token.held) != 0; /* own write, or none */
}

/* Under the token, which orders it: hence the relaxed loads. */
uint32_t weft__table_find_sure(struct weft__shards *shards, const struct weft__vkey *key) {
    weft_assert(is_held(key->sub));
    uint64_t word = weft_load64_relaxed(sub_array(shards, key->sub));
    if (word == 0) {
        return 0;
    }
    struct array array = array_of(shards, word);
    uint32_t at = key->hash32 & array.mask;
    for (uint32_t looks = 0; looks <= array.mask; looks++) {
        uint64_t entry = weft_load64_relaxed(&array.entries[at]);
        if (entry == 0) {
            return 0;
        }
        uint32_t slot = (uint32_t)entry;
        if ((uint32_t)(entry >> 32) == key->hash32 &&
            record_equals(weft__record_at(shards, slot), key)) {
            return slot;
        }
        at = (at + 1) & array.mask;
    }
    return 0;
}

void weft__token_enter(struct weft__shards *shards, struct weft__subtable *sub) {
    uint32_t nobody = 0;
    WEFT__POINT(shards->core, WEFT__POINT_TOKEN);
    if (weft_likely(weft_cas32_acq_rel(&sub->token.held, &nobody, 1))) { /* pairs with L1 */
        return;
    }
    weft__lock_enter(&sub->token, shards->core->env);
}

/* ---- changing ------------------------------------------------------------------------------ */

/* All under the token of the subtable, which orders it: hence the relaxed loads. What others may
 * look at meanwhile is published with E1 and A1. */

/* Puts an entry where it belongs; there is room. */
static void put(const struct array *array, uint64_t entry) {
    uint32_t at = (uint32_t)(entry >> 32) & array->mask;
    while (weft_load64_relaxed(&array->entries[at]) != 0) { /* bounded: an eighth is empty */
        at = (at + 1) & array->mask;
    }
    weft_store64_release(&array->entries[at], entry); /* E1: publishes what the record says */
}

/* Moves everything into an array of another size. 0, WEFT_E_LIMIT, -EAGAIN: there is no room for
 * it. Bounded by the subtable: about 5 us with 10 million active, and under a millisecond for the
 * largest, 196,608 entries, which only ids chosen to share a shard bring about. */
static int resize(struct weft__shards *shards, struct weft__subtable *sub, uint32_t bits) {
    if (bits - FIRST_BITS >= WEFT__ARRAY_CLASSES) {
        return WEFT_E_LIMIT;
    }
    uint64_t old_word = weft_load64_relaxed(sub_array(shards, sub));
    uint64_t word = array_take(shards, bits);
    if (word == 0) {
        return -EAGAIN;
    }
    if (old_word != 0) {
        struct array array = array_of(shards, word);
        struct array old = array_of(shards, old_word);
        for (uint32_t i = 0; i <= old.mask; i++) {
            uint64_t entry = weft_load64_relaxed(&old.entries[i]);
            if (entry != 0) {
                put(&array, entry);
            }
        }
    }
    weft_store64_release(sub_array(shards, sub), word); /* A1 */
    if (old_word != 0) {
        array_return(shards, old_word);
    }
    return 0;
}

int weft__table_insert(struct weft__shards *shards, const struct weft__vkey *key, uint32_t slot) {
    struct weft__subtable *sub = key->sub;
    weft_assert(is_held(sub));
    uint64_t word = weft_load64_relaxed(sub_array(shards, sub));
    uint32_t bits = (uint32_t)(word & 0xff);
    if (weft_unlikely(word == 0 || (sub->count + 1) * 4ull > 3ull << bits)) {
        int result = resize(shards, sub, word == 0 ? FIRST_BITS : bits + 1);
        if (result != 0) {
            return result;
        }
        word = weft_load64_relaxed(sub_array(shards, sub));
    }
    struct array array = array_of(shards, word);
    weft_assert(slot != 0);
    weft_assert(sub->count < array.mask);
    put(&array, entry_of(key->hash32, slot));
    sub->count++;
    return 0;
}

/* Where an entry is; it is there. */
static uint32_t place_of(const struct array *array, uint64_t entry) {
    uint32_t at = (uint32_t)(entry >> 32) & array->mask;
    uint32_t looks = 0;
    while (weft_load64_relaxed(&array->entries[at]) != entry) { /* bounded by the array */
        weft_assert(looks++ <= array->mask);
        at = (at + 1) & array->mask;
    }
    return at;
}

void weft__table_replace(struct weft__shards *shards, const struct weft__vkey *key, uint32_t old,
                         uint32_t slot) {
    weft_assert(is_held(key->sub));
    struct array array = array_of(shards, weft_load64_relaxed(sub_array(shards, key->sub)));
    uint32_t at = place_of(&array, entry_of(key->hash32, old));
    weft_store64_release(&array.entries[at], entry_of(key->hash32, slot)); /* E1 */
}

void weft__table_remove(struct weft__shards *shards, const struct weft__vkey *key, uint32_t slot) {
    struct weft__subtable *sub = key->sub;
    weft_assert(is_held(sub));
    uint64_t word = weft_load64_relaxed(sub_array(shards, sub));
    struct array array = array_of(shards, word);
    uint32_t hole = place_of(&array, entry_of(key->hash32, slot));
    uint32_t at = hole;
    for (;;) { /* bounded by the run of entries behind it */
        at = (at + 1) & array.mask;
        uint64_t entry = weft_load64_relaxed(&array.entries[at]);
        if (entry == 0) {
            break;
        }
        uint32_t home = (uint32_t)(entry >> 32) & array.mask;
        if (((at - home) & array.mask) >= ((at - hole) & array.mask)) {
            weft_store64_release(&array.entries[hole], entry); /* E1 */
            hole = at;
        }
    }
    weft_store64_relaxed(&array.entries[hole], 0); /* publishes nothing */
    weft_assert(sub->count != 0);
    sub->count--;
    if (array.bits > FIRST_BITS && sub->count * 8ull < 1ull << array.bits) {
        (void)resize(shards, sub,
                     array.bits - 1); /* or, without room, it stays as large as it is */
    }
}

uint32_t weft__table_pids(struct weft__shards *shards, const struct weft__subtable *sub,
                          uint64_t *pids, uint32_t max) {
    weft_assert(is_held(sub));
    uint64_t word = weft_load64_relaxed(sub_array(shards, sub));
    if (word == 0 || sub->count == 0 || max < sub->count) {
        return sub->count;
    }
    struct array array = array_of(shards, word);
    uint32_t count = 0;
    for (uint32_t i = 0; i <= array.mask && count < max; i++) {
        uint64_t entry = weft_load64_relaxed(&array.entries[i]);
        if (entry != 0) {
            uint32_t slot = (uint32_t)entry;
            uint32_t gen = weft_load32_relaxed(&weft__record_at(shards, slot)->gen);
            pids[count++] = (uint64_t)slot << 32 | gen;
        }
    }
    return count;
}

/* ---- records ------------------------------------------------------------------------------- */

/* Makes sure that the record of a slot may be touched. */
static int cover(struct weft__shards *shards, uint32_t slot) {
    uint64_t end = ((uint64_t)slot + 1) * sizeof(struct weft__record);
    while (weft_unlikely(weft_load64_acquire(&shards->records.used) < end)) {
        uint64_t offset; /* bounded: a piece a round */
        int result = weft__arena_grow(&shards->records, &shards->core->allocator, true, &offset);
        if (result != 0 && weft_load64_acquire(&shards->records.used) < end) {
            return result;
        }
    }
    return 0;
}

int weft__record_fill(struct weft__shards *shards, const struct weft__vkey *key,
                      const struct weft_ctx *slot) {
    int result = cover(shards, slot->index);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    struct weft__record *record = weft__record_at(shards, slot->index);
    weft_assert(weft_load32_relaxed(&record->gen) == 0); /* owner-only: nobody can find it */
    uint64_t words[3] = {key->words[0], key->words[1], key->words[2]};
    if (weft_unlikely(key->id_size > WEFT__ID_INLINE)) {
        void *id = weft__alloc(shards->core, key->id_size, "id");
        if (id == NULL) {
            return -ENOMEM;
        }
        memcpy(id, key->id, key->id_size);
        words[0] = (uint64_t)(uintptr_t)id;
    }
    record->heap_at = 0;
    record->successor = 0;
    record->credit_gone = 0;
    record->owner_flags = 0;
    record->age_flags = 0;
    record->extra = NULL;
    /* Releases: who sees one of these also sees that the generation before was taken away. */
    for (uint32_t i = 0; i < 3; i++) {
        weft_store64_release(&record->words[i], words[i]);
    }
    weft_store32_release(&record->name, key->name);
    weft_store32_release(&record->id_size, key->id_size);
    return 0;
}

void weft__record_clear(struct weft__shards *shards, uint32_t slot) {
    struct weft__record *record = weft__record_at(shards, slot);
    struct weft__lock *lock = weft__record_lock(shards, slot);
    weft__lock_enter(lock, shards->core->env);
    weft_store32_relaxed(&record->gen, 0); /* before the releases of the next one to fill it */
    /* Relaxed: owner-only, or under this lock. */
    uint32_t id_size = weft_load32_relaxed(&record->id_size);
    if (id_size > WEFT__ID_INLINE) {
        void *id = (void *)(uintptr_t)weft_load64_relaxed(&record->words[0]);
        weft__free(shards->core, id, id_size, "id");
        weft_store64_relaxed(&record->words[0], 0);
        weft_store32_relaxed(&record->id_size, 0);
    }
    weft__lock_leave(lock);
}
