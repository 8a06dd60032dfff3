/* SPDX-License-Identifier: MIT
 *
 * Names and groups, inside view. What is registered stands in records of one table (name_table.c):
 * names, groups, and memberships, which are found by group and pid. Changes are made under one lock
 * of the runtime; a name is looked up without it (name.c). Groups are looked at under the lock only
 * (group.c). All of it is made when something is registered for the first time.
 *
 * Locking: the lock is held for a bounded number of records; never across a callback, a send or a
 * request for memory. It is the innermost one.
 *
 * An actor and what it has. C1: whoever registers for an actor does it under the lock, sets
 * WEFT__TRAIT_NAMED in its traits and then adds 0 to its mailbox word; only if that finds the
 * mailbox open it goes on. C2: an actor that ends closes its mailbox with an exchange of the same
 * word, then looks at its traits, and with the flag it takes the lock and gives up what it has. If
 * C1 comes before the exchange, the exchange reads from it, or from later read-modify-writes of the
 * same word, and so synchronizes with it: the end sees the flag, waits for the lock and finds what
 * was registered under it. If the exchange comes first, C1 finds the mailbox closed and registers
 * nothing. The flag may be left over, on this tenant or the next one, which costs its end a look at
 * an empty list.
 */
#ifndef WEFT_SCHED_NAME_H
#define WEFT_SCHED_NAME_H

#include "sched/actor.h"
#include <weft/name.h>

enum {
    WEFT__NAME_UNIT_BYTES = 64,
    WEFT__NAME_SECRET_BYTES = 256,
    WEFT__NAME_CLASSES = 12, /* see class_of in name_table.c */
};

/* How much is done under one hold of the lock: records given up, members a walker meets, parts it
 * goes through; and how many members a part takes. The simulator sees more with less. */
#ifdef WEFT_SIM_POINTS
enum { WEFT__NAME_BATCH = 2, WEFT__WALK_MEMBERS = 3, WEFT__WALK_PARTS = 2, WEFT__PART_FILL = 2 };
#else
enum {
    WEFT__NAME_BATCH = 16,
    WEFT__WALK_MEMBERS = 256,
    WEFT__WALK_PARTS = 64,
    WEFT__PART_FILL = 12
};
#endif

enum weft__name_kind {
    WEFT__NAME_PLAIN = 1,  /* value: slot and generation of who has it */
    WEFT__NAME_GROUP = 2,  /* a struct weft__group behind the bytes of its name */
    WEFT__NAME_MEMBER = 3, /* "name": record of the group, slot and generation; words[2]: how often
                              it has joined; value: part and place */
};

/* A record. It is made of one or more units of 64 bytes, lies where it lies for the runtime's life
 * and is used again for records of the same size only: see name_table.c. */
struct weft__named {
    /* written under the lock, read by anybody */
    weft_atomic_u64 next;  /* link to the record behind it. W1 */
    weft_atomic_u64 key;   /* of the table's order. W2, as all below */
    weft_atomic_u64 value; /* never 0 in the table */
    weft_atomic_u32 turn;  /* odd: in the table; counts both ways. W3 */
    weft_atomic_u32 shape; /* kind and size */
    /* under the lock */
    uint32_t newer; /* what the same actor has, a ring from weft_ctx.names: names, then members */
    uint32_t older; /* not in use: the next free one */
    /* as above */
    weft_atomic_u64 words[]; /* the bytes, zeros behind: three in the first unit */
};
_Static_assert(offsetof(struct weft__named, words) == 40, "short names fit into one unit");

/* Under the lock of the runtime's names. */
struct weft__group {
    uint64_t number;  /* of the next membership; they begin at 0 and are never used twice */
    uint64_t joins;   /* memberships, each as often as it was joined */
    uint32_t first;   /* part with the oldest members */
    uint32_t last;    /* where the next one goes */
    uint32_t members; /* memberships */
    uint32_t walkers; /* who looks through it: as long, it stays */
};

enum { WEFT__PART_MEMBERS = 12 };
_Static_assert((int)WEFT__PART_FILL <= (int)WEFT__PART_MEMBERS, "there are places");

/* Members in the order they joined: place i has the number base + i. A place is used once; a part
 * without members goes when nobody looks at it. */
struct weft__group_part {
    uint32_t next;
    uint32_t previous;
    uint64_t base;
    uint32_t pins;     /* walkers that are here */
    uint16_t fill;     /* places used so far */
    uint16_t live;     /* of them, still members */
    uint32_t repeated; /* a bit per place: has joined more than once */
    uint32_t padding;
    uint64_t pids[WEFT__PART_MEMBERS]; /* slot and generation; 0: has left */
};
_Static_assert(sizeof(struct weft__group_part) == 2 * WEFT__NAME_UNIT_BYTES, "two units");

struct weft__names {
    /* const after init */
    weft_runtime *runtime;
    struct weft__core *core;
    struct weft__arena units;   /* records and parts; unit 0 is none */
    struct weft__arena buckets; /* weft_atomic_u64: where the walk for a key begins. W1 */
    unsigned char secret[WEFT__NAME_SECRET_BYTES]; /* of the hash: not for logs or dumps */
    /* any thread */
    weft_atomic_u32 bucket_count; /* grows under the lock, read by anybody. W4 */
    struct weft__lock lock;
    /* under the lock */
    uint32_t count; /* records in the table */
    uint32_t bump;  /* units never used so far */
    uint32_t bump_end;
    uint32_t spare; /* whole pieces never used, linked through older */
    uint32_t free[WEFT__NAME_CLASSES];
};

/* What is looked for. */
struct weft__name_key {
    const void *bytes;
    uint64_t key;
    uint32_t size;
    uint32_t shape;
};

WEFT_INLINE struct weft__named *weft__named_at(const struct weft__names *names, uint32_t index) {
    return (struct weft__named *)(void *)(names->units.base +
                                          (uint64_t)index * WEFT__NAME_UNIT_BYTES);
}

WEFT_INLINE struct weft__group_part *weft__part_at(const struct weft__names *names,
                                                   uint32_t index) {
    return (struct weft__group_part *)(void *)(names->units.base +
                                               (uint64_t)index * WEFT__NAME_UNIT_BYTES);
}

WEFT_INLINE enum weft__name_kind weft__named_kind(const struct weft__named *record) {
    return (enum weft__name_kind)(weft_load32_relaxed(&record->shape) >> 16);
}

WEFT_INLINE uint32_t weft__named_size(const struct weft__named *record) {
    return weft_load32_relaxed(&record->shape) & 0xffff;
}

WEFT_INLINE void weft__names_enter(struct weft__names *names) {
    weft__lock_enter(&names->lock, names->core->env);
}

WEFT_INLINE void weft__names_leave(struct weft__names *names) {
    weft__lock_leave(&names->lock);
}

/* ---- name_table.c -------------------------------------------------------------------------- */

/* Of a runtime that has any, else NULL. Any thread. */
struct weft__names *weft__names_of(weft_runtime *runtime);
/* The same, made if there are none. 0 or -ENOMEM. */
int weft__names_get(weft_runtime *runtime, struct weft__names **ret_names);
/* The runtime is destroyed. */
void weft__names_destroy(weft_runtime *runtime);

/* size is at most WEFT_NAME_BYTES_MAX; bytes must outlive the key. */
void weft__name_key_init(const struct weft__names *names, enum weft__name_kind kind,
                         const void *bytes, uint32_t size, struct weft__name_key *ret_key);
/* The value of a PLAIN record, 0: there is none. Lock-free, writes nothing. Any thread. */
uint64_t weft__names_find(const struct weft__names *names, const struct weft__name_key *key);

/* The rest under the lock. Index of a record, 0: there is none. */
uint32_t weft__names_search(const struct weft__names *names, const struct weft__name_key *key);
/* Memory for a record or (kind 0) a part. 0: there is none, weft__names_grow without the lock. */
uint32_t weft__names_take(struct weft__names *names, enum weft__name_kind kind, uint32_t size);
/* Gives it back; it is in no table. */
void weft__names_give(struct weft__names *names, enum weft__name_kind kind, uint32_t size,
                      uint32_t index);
void weft__names_insert(struct weft__names *names, const struct weft__name_key *key, uint32_t index,
                        uint64_t value);
/* Takes a record out of the table and gives its memory back. */
void weft__names_remove(struct weft__names *names, uint32_t index);

/* More memory, without the lock. 0 or -ENOMEM. */
int weft__names_grow(struct weft__names *names);
/* Room for more buckets if it is time; without it lookups take longer. Without the lock. */
void weft__names_widen(struct weft__names *names);

/* ---- name.c -------------------------------------------------------------------------------- */

/* A name and a pid from a caller: 0, -EINVAL or WEFT_E_NOPROC. */
int weft__names_check(const weft_runtime *runtime, const char *name, size_t size, weft_pid pid);
/* C1. False: the actor has ended, or it is none. Under the lock. */
bool weft__names_claim(const struct weft__names *names, uint64_t target);
/* Enters a record into the ring of what an actor has, and takes it out. Under the lock. */
void weft__names_own(const struct weft__names *names, uint64_t target, uint32_t index);
void weft__names_disown(const struct weft__names *names, uint64_t target, uint32_t index);
/* C2. An actor with WEFT__TRAIT_NAMED ends: gives up what it has. Its mailbox is closed. O(what it
 * has), the lock is held for WEFT__NAME_BATCH of it at a time. */
void weft__names_end(struct weft__scheduler *s, struct weft_ctx *ctx);

/* ---- group.c ------------------------------------------------------------------------------- */

/* Ends a membership, however often it was joined. Under the lock. */
void weft__group_drop(struct weft__names *names, uint32_t member);

#endif
