/* SPDX-License-Identifier: MIT
 *
 * The table of names: its memory, looking up without a lock, changing it under the lock. See
 * name.h.
 *
 * All records are one list, sorted by key (a hash, keyed, with its lowest bit set). Buckets are
 * places in that list where a walk may begin: bucket b has the key that is b with its bits turned
 * around (lowest bit clear), so the buckets of a table half as large stay where they are, and a new
 * one is put in the middle of an old one's stretch ("split-ordered lists", Shalev and Shavit,
 * 2006). One or two are added with each record, until there are two buckets a record. So the table
 * grows without moving a record, without a second array and without a long hold of the lock.
 * Buckets are never taken away, and memory of records is used again for records of the same size:
 * what is kept is what there was at most at a time.
 *
 * Readers take no lock and write nothing. Records lie in an arena, so a reader may look at one that
 * has been removed, or that is another's by now, and finds stale words, never a fault. A link says
 * {turn, index}: which record, and which use of it.
 *  W1 A record is filled, then its turn is made odd, then a link with that turn is published. A
 *     reader that follows the link reads what it needs and then the turn.
 *  W2 The fields of a record that was in the table before are written after its turn was made even.
 *     So if the turn still is the link's, nothing that was read is of a later use, and the record
 *     was in the table all the time since the link to it was read.
 *  W3 A turn is made even after the record has been unlinked. A reader that finds another turn than
 *     the link's begins again, and then does not meet that record's link: each time it has to, some
 *     removal has been completed, so lookups are lock-free.
 *  W4 A bucket is linked before it is counted. Buckets do not go away.
 * A name that is in the table during a whole lookup is found: it is behind the bucket where the
 * walk begins. If it is behind a record that passes W2 and whose key is not greater, it is the
 * record that was next to that one, or behind it, at the moment its link was read, for the list is
 * sorted; and by W2 that record still was in the table when it was looked at in turn. A name that
 * is found was in the table with that value when the turn was read.
 * A turn has 32 bits; a record whose turns are used up is not used again.
 */
#include "sched/name.h"
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert((int)WEFT__NAME_SECRET_BYTES >= (int)XXH3_SECRET_SIZE_MIN, "enough for XXH3");

enum {
    PIECE_BYTES = 2 << 20,
    PIECE_UNITS = PIECE_BYTES / WEFT__NAME_UNIT_BYTES,
    CLASS_NAME = 0,  /* and up: names and members of 1 to 5 units */
    CLASS_GROUP = 5, /* and up: groups of 1 to 6 units, whose end is not read by readers */
    CLASS_PART = 11, /* parts of groups, never read by readers */
    PART_UNITS = 2,
    SPLITS_MAX = 2, /* buckets added with a record */
#ifdef WEFT_SIM_POINTS
    HALVES = 8, /* half records a bucket is for; the simulator sees more where chains are long */
#else
    HALVES = 1,
#endif
};

#define UNITS_BYTES_MAX   (UINT64_C(16) << 30) /* of address space: 268 million units */
#define BUCKETS_BYTES_MAX (UINT64_C(512) << 20)
#define LINK_BUCKET       UINT32_C(0x80000000) /* in the index of a link: a bucket, turn 0 */

_Static_assert(UNITS_BYTES_MAX / WEFT__NAME_UNIT_BYTES <= LINK_BUCKET, "indices");

/* ---- memory -------------------------------------------------------------------------------- */

static uint32_t units_of(enum weft__name_kind kind, uint32_t size) {
    if (kind == 0) {
        return PART_UNITS;
    }
    size_t bytes = offsetof(struct weft__named, words) + (size + 7u) / 8 * 8 +
                   (kind == WEFT__NAME_GROUP ? sizeof(struct weft__group) : 0);
    return (uint32_t)((bytes + WEFT__NAME_UNIT_BYTES - 1) / WEFT__NAME_UNIT_BYTES);
}

static uint32_t class_of(enum weft__name_kind kind, uint32_t units) {
    return kind == 0                  ? (uint32_t)CLASS_PART
           : kind == WEFT__NAME_GROUP ? CLASS_GROUP + units - 1
                                      : CLASS_NAME + units - 1;
}

static void free_push(struct weft__names *names, uint32_t class, uint32_t index) {
    weft__named_at(names, index)->older = names->free[class];
    names->free[class] = index;
}

/* Makes sure that there are so many units in a row that were never used. */
static bool refill(struct weft__names *names, uint32_t units) {
    if (names->bump_end - names->bump >= units) {
        return true;
    }
    uint32_t piece = names->spare;
    if (piece == 0) {
        return false;
    }
    while (names->bump < names->bump_end) { /* fewer than six are left: for short names */
        free_push(names, CLASS_NAME, names->bump++);
    }
    names->spare = weft__named_at(names, piece)->older;
    weft__named_at(names, piece)->older = 0;
    names->bump = piece;
    names->bump_end = (piece / PIECE_UNITS + 1) * PIECE_UNITS;
    return true;
}

uint32_t weft__names_take(struct weft__names *names, enum weft__name_kind kind, uint32_t size) {
    uint32_t units = units_of(kind, size);
    uint32_t class = class_of(kind, units);
    uint32_t index = names->free[class];
    if (index != 0) {
        names->free[class] = weft__named_at(names, index)->older;
        return index;
    }
    if (!refill(names, units)) {
        return 0;
    }
    index = names->bump;
    names->bump += units;
    return index;
}

void weft__names_give(struct weft__names *names, enum weft__name_kind kind, uint32_t size,
                      uint32_t index) {
    if (kind != 0 && weft_load32_relaxed(&weft__named_at(names, index)->turn) == UINT32_MAX - 1) {
        return; /* used up */
    }
    free_push(names, class_of(kind, units_of(kind, size)), index);
}

/* One piece more. What first touches a huge page waits for all of it: here, and not under the
 * lock. */
static int grow(struct weft__names *names, struct weft__arena *arena, uint64_t *ret_offset) {
    uint64_t offset;
    bool huge = weft_load64_relaxed(&arena->used) != 0;
    int result = weft__arena_grow(arena, &names->core->allocator, huge, &offset);
    if (result != 0) {
        return result;
    }
    weft_store64_relaxed((weft_atomic_u64 *)(void *)(arena->base + offset), 0);
    *ret_offset = offset;
    return 0;
}

int weft__names_grow(struct weft__names *names) {
    uint64_t offset;
    int result = grow(names, &names->units, &offset);
    if (result != 0) {
        return result;
    }
    uint32_t piece = offset == 0 ? 1 : (uint32_t)(offset / WEFT__NAME_UNIT_BYTES);
    weft__names_enter(names);
    weft__named_at(names, piece)->older = names->spare;
    names->spare = piece;
    weft__names_leave(names);
    return 0;
}

static uint32_t bucket_max(const struct weft__names *names) {
    return (uint32_t)(weft_load64_acquire(&names->buckets.used) / sizeof(weft_atomic_u64));
}

void weft__names_widen(struct weft__names *names) {
    if (weft_unlikely(weft_load32_relaxed(&names->bucket_count) == bucket_max(names))) {
        uint64_t offset;
        (void)grow(names, &names->buckets, &offset); /* else chains get longer: tried again */
    }
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* All 64 bits in the opposite order. */
WEFT_INLINE uint64_t turn_around(uint64_t bits) {
    bits = __builtin_bswap64(bits);
    bits = (bits >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (bits & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
    bits = (bits >> 2 & UINT64_C(0x3333333333333333)) | (bits & UINT64_C(0x3333333333333333)) << 2;
    return (bits >> 1 & UINT64_C(0x5555555555555555)) | (bits & UINT64_C(0x5555555555555555)) << 1;
}

/* Names may come from the network: nobody outside knows the secret, so nobody can choose names that
 * collide. */
void weft__name_key_init(const struct weft__names *names, enum weft__name_kind kind,
                         const void *bytes, uint32_t size, struct weft__name_key *ret_key) {
    uint64_t hash = XXH3_64bits_withSecret(bytes, size, names->secret, sizeof(names->secret));
    hash ^= (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    *ret_key = (struct weft__name_key){.bytes = bytes,
                                       .key = (hash ^ (hash >> 32)) | 1,
                                       .size = size,
                                       .shape = (uint32_t)kind << 16 | size};
}

/* Eight bytes of a name from offset on, or what there is, with zeros behind. */
WEFT_INLINE uint64_t word_of(const struct weft__name_key *key, uint32_t offset) {
    uint64_t word = 0;
    uint32_t left = key->size - offset;
    memcpy(&word, (const char *)key->bytes + offset, left < 8 ? left : 8);
    return word;
}

/* Are shape and bytes those of the key? Each is read before the turn that is looked at next. */
WEFT_INLINE bool matches(const struct weft__named *record, const struct weft__name_key *key) {
    if (weft_load32_acquire(&record->shape) != key->shape) {
        return false;
    }
    for (uint32_t offset = 0; offset < key->size; offset += 8) {
        if (weft_load64_acquire(&record->words[offset / 8]) != word_of(key, offset)) {
            return false;
        }
    }
    return true;
}

/* ---- looking up ---------------------------------------------------------------------------- */

WEFT_INLINE weft_atomic_u64 *bucket_at(const struct weft__names *names, uint32_t bucket) {
    return (weft_atomic_u64 *)(void *)names->buckets.base + bucket;
}

/* The last bucket at or before a key. */
WEFT_INLINE uint32_t bucket_of(const struct weft__names *names, uint64_t key) {
    uint32_t count = weft_load32_acquire(&names->bucket_count); /* pairs with W4 */
    uint32_t hash = (uint32_t)turn_around(key);
    uint32_t half = UINT32_C(0x80000000) >> __builtin_clz(count);
    uint32_t bucket = hash & (half * 2 - 1);
    return bucket < count ? bucket : hash & (half - 1);
}

/* One walk. False: somebody has removed a record under its eyes. */
static bool look(const struct weft__names *names, const struct weft__name_key *key,
                 uint64_t *ret_value) {
    uint64_t link = weft_load64_acquire(bucket_at(names, bucket_of(names, key->key)));
    *ret_value = 0;
    while (link != 0) { /* bounded by the records of a bucket, two or three with any luck */
        uint32_t index = (uint32_t)link;
        if ((index & LINK_BUCKET) != 0) {
            index &= ~LINK_BUCKET;
            if (turn_around(index) > key->key) {
                return true;
            }
            link = weft_load64_acquire(bucket_at(names, index)); /* pairs with W1 */
            continue;
        }
        const struct weft__named *record = weft__named_at(names, index);
        WEFT__POINT(names->core, WEFT__POINT_LOOK);
        uint64_t other = weft_load64_acquire(&record->key);
        uint64_t next = weft_load64_acquire(&record->next); /* pairs with W1 */
        uint64_t value = 0;
        if (other == key->key && matches(record, key)) {
            value = weft_load64_acquire(&record->value);
        }
        WEFT__POINT(names->core, WEFT__POINT_LOOK);
#ifndef WEFT_PLANT_NAME_TURN
        if (weft_unlikely(weft_load32_acquire(&record->turn) != link >> 32)) { /* W2, W3 */
            return false;
        }
#endif
        if (value != 0 || other > key->key) {
            *ret_value = value;
            return true;
        }
        link = next;
    }
    return true;
}

uint64_t weft__names_find(const struct weft__names *names, const struct weft__name_key *key) {
    uint64_t value;
    while (weft_unlikely(!look(names, key, &value))) { /* W3: each time others have got on */
    }
    return value;
}

/* ---- under the lock ------------------------------------------------------------------------ */

/* The link to the first record or bucket behind a bucket whose key is not below key. */
static weft_atomic_u64 *place_of(const struct weft__names *names, uint32_t bucket, uint64_t key) {
    weft_atomic_u64 *place = bucket_at(names, bucket);
    for (;;) { /* bounded by the records of a bucket */
        uint64_t link = weft_load64_relaxed(place);
        uint32_t index = (uint32_t)link;
        if (link == 0) {
            return place;
        }
        if ((index & LINK_BUCKET) != 0) {
            index &= ~LINK_BUCKET;
            if (turn_around(index) >= key) {
                return place;
            }
            place = bucket_at(names, index);
            continue;
        }
        struct weft__named *record = weft__named_at(names, index);
        if (weft_load64_relaxed(&record->key) >= key) {
            return place;
        }
        place = &record->next;
    }
}

uint32_t weft__names_search(const struct weft__names *names, const struct weft__name_key *key) {
    const weft_atomic_u64 *place = place_of(names, bucket_of(names, key->key), key->key);
    for (;;) { /* bounded by the records with this key: one, but for chance */
        uint64_t link = weft_load64_relaxed(place);
        uint32_t index = (uint32_t)link;
        if (link == 0 || (index & LINK_BUCKET) != 0) {
            return 0;
        }
        const struct weft__named *record = weft__named_at(names, index);
        if (weft_load64_relaxed(&record->key) != key->key) {
            return 0;
        }
        if (matches(record, key)) {
            return index;
        }
        place = &record->next;
    }
}

/* Adds a bucket, if there is memory for it. */
static void split(struct weft__names *names) {
    uint32_t count = weft_load32_relaxed(&names->bucket_count);
    if (count >= bucket_max(names)) {
        return;
    }
    uint32_t half = UINT32_C(0x80000000) >> __builtin_clz(count);
    weft_atomic_u64 *place = place_of(names, count - half, turn_around(count));
    weft_store64_relaxed(bucket_at(names, count), weft_load64_relaxed(place));
    weft_store64_release(place, LINK_BUCKET | count);      /* W1 */
    weft_store32_release(&names->bucket_count, count + 1); /* W4 */
}

void weft__names_insert(struct weft__names *names, const struct weft__name_key *key, uint32_t index,
                        uint64_t value) {
    struct weft__named *record = weft__named_at(names, index);
    uint32_t turn = weft_load32_relaxed(&record->turn) + 1;
    weft_assert((turn & 1) != 0);
    weft_assert(value != 0);
    weft_atomic_u64 *place = place_of(names, bucket_of(names, key->key), key->key);
    /* W2: each is a release, so that none is seen before the turn that was made even. */
    weft_store64_release(&record->key, key->key);
    weft_store32_release(&record->shape, key->shape);
    weft_store64_release(&record->value, value);
    for (uint32_t offset = 0; offset < key->size; offset += 8) {
        weft_store64_release(&record->words[offset / 8], word_of(key, offset));
    }
    weft_store64_release(&record->next, weft_load64_relaxed(place));
    weft_store32_release(&record->turn, turn);
    weft_store64_release(place, (uint64_t)turn << 32 | index); /* W1 */
    names->count++;
    for (uint32_t i = 0; i < SPLITS_MAX; i++) {
        if (names->count * 2 > weft_load32_relaxed(&names->bucket_count) * HALVES) {
            split(names);
        }
    }
}

void weft__names_remove(struct weft__names *names, uint32_t index) {
    struct weft__named *record = weft__named_at(names, index);
    uint64_t key = weft_load64_relaxed(&record->key);
    uint32_t turn = weft_load32_relaxed(&record->turn);
    weft_assert((turn & 1) != 0);
    weft_atomic_u64 *place = place_of(names, bucket_of(names, key), key);
    while ((uint32_t)weft_load64_relaxed(place) != index) { /* bounded by those with this key */
        place = &weft__named_at(names, (uint32_t)weft_load64_relaxed(place))->next;
    }
    weft_store64_release(place, weft_load64_relaxed(&record->next)); /* W1 */
    weft_store32_release(&record->turn, turn + 1);                   /* W3 */
    names->count--;
    weft__names_give(names, weft__named_kind(record), weft__named_size(record), index);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct weft__names *weft__names_of(weft_runtime *runtime) {
    return (struct weft__names *)(uintptr_t)weft_load64_acquire(
        &runtime->names); /* pairs with Z1 */
}

static void destroy(struct weft__names *names) {
    struct weft__core *core = names->core;
    weft__arena_fini(&names->units);
    weft__arena_fini(&names->buckets);
    weft__free(core, names, sizeof(*names), "names");
}

static int create(weft_runtime *runtime, struct weft__names **ret_names) {
    struct weft__names *names = weft__alloc(&runtime->core, sizeof(*names), "names");
    if (names == NULL) {
        return -ENOMEM;
    }
    bool huge = !runtime->config.huge_pages_none;
    uint64_t offset;
    names->runtime = runtime;
    names->core = &runtime->core;
    weft_env *env = runtime->core.env;
    env->random(env, names->secret, sizeof(names->secret));
    weft_store32_relaxed(&names->bucket_count, 1);
    int result = weft__arena_init(&names->units, UNITS_BYTES_MAX, PIECE_BYTES, "names", huge);
    if (result == 0) {
        result = weft__arena_init(&names->buckets, BUCKETS_BYTES_MAX, PIECE_BYTES, "buckets", huge);
    }
    if (result == 0) {
        result = grow(names, &names->buckets, &offset);
    }
    if (result != 0) {
        destroy(names);
        return result;
    }
    *ret_names = names;
    return 0;
}

int weft__names_get(weft_runtime *runtime, struct weft__names **ret_names) {
    struct weft__names *names = weft__names_of(runtime);
    if (weft_unlikely(names == NULL)) {
        int result = create(runtime, &names);
        if (result != 0) {
            return result;
        }
        uint64_t nothing = 0;
        if (!weft_cas64_acq_rel(&runtime->names, &nothing, (uint64_t)(uintptr_t)names)) { /* Z1 */
            destroy(names); /* somebody was quicker */
            names = (struct weft__names *)(uintptr_t)nothing;
        }
    }
    *ret_names = names;
    return 0;
}

void weft__names_destroy(weft_runtime *runtime) {
    struct weft__names *names = weft__names_of(runtime);
    if (names != NULL) {
        destroy(names);
    }
}
