/* SPDX-License-Identifier: MIT
 *
 * Virtual actors inside: tables, activations, limits. One struct weft__shards per runtime, made
 * when its first capability is registered.
 *
 * An address is looked up in one of many small tables (subtables: every shard has 16 or more), each
 * with its own token, a lock that is held for about a microsecond. Readers take no token:
 *
 *  I1 Entries, arrays of entries and records lie in memory that is never unmapped, so a reader may
 *     meet stale ones, never a fault.
 *  I2 A hit is valid by itself, wherever it was found: the record says {generation, address}, is
 *     read between two looks at its generation, and a generation is never used twice for a slot.
 *     The push into the mailbox compares the generation again.
 *  I3 A miss means nothing (an entry may be on the move) until it was confirmed under the token.
 *  I4 Under the token an address has at most one entry. The entry of an actor that is ending is
 *     replaced by that of its successor, which is not run before the old one has ended: its mailbox
 *     is open but never idle, so nobody else queues it. So an address never runs twice at once.
 */
#ifndef WEFT_SHARD_SHARD_H
#define WEFT_SHARD_SHARD_H

#include "core/lock.h"
#include "sched/actor.h"
#include "shard/hash.h"
#include <weft/shard.h>
#include <weft/store.h>
#include <weft/virtual.h>

enum {
    WEFT__SUBTABLES = 65536,    /* in all, at least */
    WEFT__SUBTABLES_SHARD = 16, /* of one shard, at least */
    WEFT__ARRAY_CLASSES = 16,   /* arrays of 8 << class entries, at most one piece */
    WEFT__ARRAY_PIECE_BYTES = 2 << 20,
    WEFT__ID_INLINE = 24,
    WEFT__RECORD_LOCKS = 256,
    WEFT__MEMORY_LOCKS = 64,
    WEFT__COUNT_STRIPES = 16,
    WEFT__AGE_STRIPES = 64,
    WEFT__LOOK_NS = 4000000,  /* the keeper looks no more often */
    WEFT__AGAIN_NS = 8000000, /* above a limit, and nobody could go: when to try again */
    WEFT__DELIVER_MAX = 64,   /* activations of one address that may end under a sender's hands */
    WEFT__LEAVE_UNUSED = 0,   /* why to leave: nobody uses it; negative: a reason, idle or not */
    WEFT__LEAVE_ASKED = 1,    /* somebody wishes it; if it is idle */
};

/* What an activation has besides, when it has it. */
struct weft__extra {
    void *arg; /* init_arg */
    uint32_t arg_size;
    int leave_reason; /* saves to end with that; 0: to be passivated */
    /* weft_account. Written by whoever runs the actor, under its stripe's lock if it has one; read
     * under that, and by those who look, for whom it is advisory. */
    weft_atomic_u64 account;
    uint64_t version;            /* of what the store has; 0: nothing */
    struct weft__memory *memory; /* what arg lies in; NULL: arg is memory of its own */
};

/* owner_flags */
enum {
    WEFT__RECORD_KEEP = 1,   /* weft_keep_alive */
    WEFT__RECORD_FORGET = 2, /* weft_forget */
    WEFT__RECORD_LOADING = 4,
    WEFT__RECORD_SAVING = 8,
    WEFT__RECORD_REMOVING = 16,
    WEFT__RECORD_KNOWN = 32, /* its init_arg was remembered: it stays so even if init fails now */
    WEFT__RECORD_BLAMELESS = 64, /* ends because of what its store has, or has not: no crash */
    WEFT__RECORD_RESTART = 128,  /* has crashed, and is to be activated again at once */
};
/* age_flags */
enum {
    WEFT__RECORD_AGED = 1,    /* in the heap of its stripe */
    WEFT__RECORD_LEAVING = 2, /* was asked to leave, and taken out of it */
};

/* The activation in the slot of the same index. */
struct weft__record {
    /* written under the token or before the record can be found, read by anybody */
    weft_atomic_u32 gen;      /* of the slot; 0: none. R1 publishes the address */
    weft_atomic_u32 name;     /* capability << 16 | type. As gen */
    weft_atomic_u32 id_size;  /* as gen */
    uint32_t heap_at;         /* place in the heap; under the stripe's lock */
    weft_atomic_u64 words[3]; /* the id, zero filled; a long one: its address. As gen */
    uint32_t spare;
    uint32_t credit_gone;      /* its place under actors_max is its successor's; under the token */
    uint32_t successor;        /* slot; under the token */
    uint16_t owner_flags;      /* whoever runs the actor */
    uint16_t age_flags;        /* under the stripe's lock */
    struct weft__extra *extra; /* whoever runs the actor; before that, under the token. Changes
                                  under the record's lock, for those who look from elsewhere */
};
_Static_assert(sizeof(struct weft__record) == WEFT_CACHELINE, "one line an activation");

/* The init_arg of an address: of one that is not active, in a bucket; else of an extra. */
struct weft__memory {
    struct weft__memory *next; /* in its bucket; under the bucket's lock */
    uint64_t hash;
    uint32_t name;
    uint32_t id_size;
    uint32_t arg_size;
    unsigned char bytes[]; /* id, argument */
};

struct weft__subtable {
    struct weft__lock token;
    uint32_t count; /* under token */
};

/* Arrays of entries, in size classes, never given back to the system. The arena does not grow under
 * a token: see weft__table_grow. */
struct weft__arrays {
    struct weft__arena arena;
    struct weft__lock lock;
    uint64_t free[WEFT__ARRAY_CLASSES]; /* under lock: unit number, 0 none; the last: of pieces */
    uint64_t bump;                      /* under lock */
    uint64_t bump_end;
};

/* An address, ready to be looked up. */
struct weft__vkey {
    const void *id; /* [borrow] */
    uint32_t id_size;
    uint32_t name;
    uint32_t shard;
    uint32_t hash32; /* in entries */
    uint64_t hash;
    uint64_t words[3];
    struct weft__subtable *sub;
};

/* An activation that may be asked to leave, and when it was used last, as far as is known. */
struct weft__aged {
    uint64_t placed_ns;
    uint32_t slot;
    uint32_t order; /* among those of one time */
};

struct weft__stripe {
    struct weft__lock lock;
    uint32_t aged_count;
    uint32_t aged_capacity; /* at least count + reserved */
    uint32_t reserved;
    uint32_t order;
    struct weft__aged *heap; /* the oldest first */
    uint64_t count;
    alignas(WEFT_CACHELINE) char end[];
};

/* What is known of a type of virtual actors. */
struct weft__kind {
    const weft_type *type;
    struct weft__kind *next;      /* kinds with a policy; const once published */
    struct weft__stripe *stripes; /* NULL: no policy */
    uint32_t stripe_count;
    /* of all stripes; changed under the lock of one, read by anybody; advisory: limits */
    weft_atomic_u64 active;
    weft_atomic_u64 leaving;
    weft_atomic_u64 bytes;
    struct {
        alignas(WEFT_CACHELINE)
            weft_atomic_u64 count; /* any thread adds; wraps; their sum counts */
    } counts[WEFT__COUNT_STRIPES];
};

enum { WEFT__CAPABILITY_MAGIC = 0x70616377 /* wcap */ };

struct weft_capability {
    /* const after init */
    uint32_t magic;
    uint32_t index;
    struct weft__shards *shards;
    /* By this node. Any thread writes, any thread reads. Whoever takes it away passes through all
     * tokens afterwards; whoever enters an actor reads it under one: see is_offered. */
    weft_atomic_u32 offered;
    char name[WEFT_CAPABILITY_NAME_MAX + 1];
};

struct weft__shards {
    /* const after init */
    weft_runtime *runtime;
    struct weft__core *core;
    uint32_t count; /* shards */
    uint32_t mask;  /* count - 1 for a power of two with XXH3, else 0 */
    uint32_t sub_bits;
    uint32_t sub_count;
    enum weft_shard_hash hash;
    struct weft__hash_key hash_key;
    struct weft__subtable *subs;
    weft_atomic_u64 *sub_arrays; /* of each: units of 64 bytes << 8 | log2(entries); 0: none */
    struct weft__arena records;
    struct weft__arrays arrays;
    weft_strategy_fn custom; /* NULL: as configured; before start */
    void *cookie;
    /* any thread */
    weft_atomic_u64 memories; /* struct weft__memory **: buckets, or 0. Set once, under lock; Y1 */
    /* Bytes in memories, those on their way there included. Any thread adds; 0 says, under the
     * token of an address, that nothing is remembered of that one. */
    weft_atomic_u64 remembered;
    weft_atomic_u64 crashes; /* struct weft__crashes *, or 0. Set once, by whoever is first; Q1 */
    /* Addresses whose crashes are remembered. Any thread adds; 0 says, to who has found the last
     * activation of an address closed or gone, that nothing is remembered of that address. */
    weft_atomic_u64 crash_count;
    uint32_t memory_mask;                               /* const once there are buckets */
    struct weft__lock memory_locks[WEFT__MEMORY_LOCKS]; /* of buckets by hash; inside a token */
    struct weft__lock lock;                             /* capabilities, kinds */
    struct weft__lock record_locks[WEFT__RECORD_LOCKS]; /* a record may not be cleared meanwhile */
    weft_atomic_u32 capability_count; /* only grows, under lock; read by anybody. N1 */
    weft_capability *capabilities[WEFT_CAPABILITIES_MAX]; /* below capability_count: const */
    weft_atomic_u64 kinds[WEFT__TYPES_MAX]; /* struct weft__kind *, or 0. Set once, in lock; K1 */
    weft_atomic_u64 policies;               /* struct weft__kind *, linked. Changes in lock; K2 */
    weft_atomic_u64 keeper;                 /* slot and generation, 0: none. Set once; K3 */
    /* When the keeper looks next; UINT64_MAX: not at all. Any thread brings it forward, the keeper
     * withdraws it; P1. */
    weft_atomic_u64 keeper_due;
};

/* Of a runtime that has any, else NULL. Any thread. */
struct weft__shards *weft__shards_of(weft_runtime *runtime);
/* The same, made if there are none. 0 or -ENOMEM. */
int weft__shards_get(weft_runtime *runtime, struct weft__shards **ret_shards);
/* The kind of a type, made if there is none. NULL: out of memory. */
struct weft__kind *weft__kind_of(struct weft__shards *shards, const weft_type *type);

WEFT_INLINE struct weft__record *weft__record_at(const struct weft__shards *shards, uint32_t slot) {
    return (struct weft__record *)(void *)shards->records.base + slot;
}

WEFT_INLINE struct weft__lock *weft__record_lock(struct weft__shards *shards, uint32_t slot) {
    return &shards->record_locks[slot % WEFT__RECORD_LOCKS];
}

/* Returns the extra the record of a slot had. */
WEFT_INLINE struct weft__extra *weft__record_swap_extra(struct weft__shards *shards, uint32_t slot,
                                                        struct weft__extra *extra) {
    struct weft__lock *lock = weft__record_lock(shards, slot);
    weft__lock_enter(lock, shards->core->env);
    struct weft__extra *old = weft__record_at(shards, slot)->extra;
    weft__record_at(shards, slot)->extra = extra;
    weft__lock_leave(lock);
    return old;
}

/* The extra of a slot, made if there is none. NULL: out of memory. Whoever runs the actor. */
WEFT_INLINE struct weft__extra *weft__extra_of(struct weft__shards *shards, uint32_t slot) {
    struct weft__extra *extra = weft__record_at(shards, slot)->extra;
    if (extra == NULL) {
        extra = weft__alloc(shards->core, sizeof(*extra), "extra");
        (void)weft__record_swap_extra(shards, slot, extra);
    }
    return extra;
}

WEFT_INLINE const weft_type *weft__name_type(const struct weft__shards *shards, uint32_t name) {
    return shards->runtime->types[name & 0xffff];
}

/* The clock, cheap on a scheduler. */
WEFT_INLINE uint64_t weft__shard_now(const struct weft__shards *shards,
                                     const struct weft__scheduler *s) {
    return s != NULL ? s->now_ns : weft__now(shards->core);
}

/* ---- table.c ------------------------------------------------------------------------------- */

/* 0, or -EINVAL for an id that is too long. */
int weft__vkey_init(struct weft__shards *shards, uint32_t name, const void *id, size_t id_size,
                    struct weft__vkey *ret_key);
/* The same for what a program gives: -EINVAL also for no capability, no type, or those of two
 * runtimes. */
int weft__vkey_given(const weft_capability *capability, const weft_type *type, const void *id,
                     size_t id_size, struct weft__vkey *ret_key);
/* The key of a record, under the token or on the actor's own thread; its id points into it or into
 * words of the key. */
void weft__vkey_of(struct weft__shards *shards, const struct weft__record *record,
                   struct weft__vkey *ret_key);

void weft__token_enter(struct weft__shards *shards, struct weft__subtable *sub);
WEFT_INLINE void weft__token_leave(struct weft__subtable *sub) {
    weft__lock_leave(&sub->token);
}

/* Slot and generation of an address, 0: perhaps none (I3). Any thread, no token. */
uint64_t weft__table_find(struct weft__shards *shards, const struct weft__vkey *key);
/* Slot of an address or 0. Under the token. */
uint32_t weft__table_find_sure(struct weft__shards *shards, const struct weft__vkey *key);
/* Enters a slot under an address that has none. 0, WEFT_E_LIMIT, or -EAGAIN: there is no room, try
 * again after weft__table_grow. Under the token. */
int weft__table_insert(struct weft__shards *shards, const struct weft__vkey *key, uint32_t slot);
/* Gets more room for all tables. 0 or -ENOMEM. Not under a token. */
int weft__table_grow(struct weft__shards *shards);
/* Puts another slot in the place of one. Under the token. */
void weft__table_replace(struct weft__shards *shards, const struct weft__vkey *key, uint32_t old,
                         uint32_t slot);
void weft__table_remove(struct weft__shards *shards, const struct weft__vkey *key, uint32_t slot);
/* Copies slot and generation of all in a subtable, if there are at most max; returns how many there
 * are. Under the token. */
uint32_t weft__table_pids(struct weft__shards *shards, const struct weft__subtable *sub,
                          uint64_t *pids, uint32_t max);

/* Fills the record of a slot that nobody can find yet, all but its generation; 0 or -ENOMEM. */
int weft__record_fill(struct weft__shards *shards, const struct weft__vkey *key,
                      const struct weft_ctx *slot);
/* From now on it is a hit. The mailbox is open; under the token. */
WEFT_INLINE void weft__record_publish(struct weft__record *record, uint32_t gen) {
    weft_store32_release(&record->gen, gen); /* R1 */
}
/* Nobody finds it any more; what it holds is freed, but extra. */
void weft__record_clear(struct weft__shards *shards, uint32_t slot);

/* ---- activation.c -------------------------------------------------------------------------- */

/* Who wants an actor, and how. */
struct weft__wish {
    struct weft__shards *shards;
    struct weft__scheduler *s; /* NULL: a thread outside */
    const weft_type *type;
    const void *arg;
    uint32_t arg_size;
    bool only_if_active;
    bool has_credit; /* takes the place under actors_max of the one of its address that ends */
};
/* Slot and generation of the actor of an address, activated if need be. Errors as weft_vcall. */
int weft__activate(const struct weft__wish *wish, const struct weft__vkey *key,
                   uint64_t *ret_target);
/* Frees the init_arg of an extra. */
void weft__extra_drop_arg(struct weft__shards *shards, struct weft__extra *extra);
/* Does the slot, of that generation, take messages? */
bool weft__is_open(const struct weft__shards *shards, uint32_t slot, uint32_t gen);
/* weft__virtual_calls.end */
void weft__virtual_end(struct weft__scheduler *s, struct weft_ctx *ctx,
                       const struct weft__batch *left);

/* ---- memory.c ------------------------------------------------------------------------------ */

/* An extra without init_arg gets one that was remembered [take]. */
WEFT_INLINE void weft__extra_remember(struct weft__extra *extra, struct weft__memory *memory) {
    weft_assert(extra->arg == NULL);
    extra->memory = memory;
    extra->arg = memory->bytes + memory->id_size;
    extra->arg_size = memory->arg_size;
}
/* A memory of an address, to be put or unmade, or NULL: there is no init_arg, no room, or no
 * memory. The extra may lose its init_arg to it. */
struct weft__memory *weft__memory_make(struct weft__shards *shards, const struct weft__vkey *key,
                                       struct weft__extra *extra);
/* It is not needed after all [take]: the extra has its init_arg again. */
void weft__memory_unmake(struct weft__shards *shards, struct weft__memory *memory,
                         struct weft__extra *extra);
/* Frees one that is in no bucket. */
void weft__memory_free(struct weft__shards *shards, struct weft__memory *memory);
/* Keeps one [take] for the address, which has none. Under the address's token. */
void weft__memory_put(struct weft__shards *shards, struct weft__memory *memory);
/* The one of an address [out], or NULL. Under the address's token. */
struct weft__memory *weft__memory_take(struct weft__shards *shards, const struct weft__vkey *key);
void weft__memories_fini(struct weft__shards *shards);

/* ---- crash.c, for types with crash_max ------------------------------------------------------ */

/* weft__virtual_calls.closing */
void weft__virtual_closing(struct weft__scheduler *s, struct weft_ctx *ctx);
/* Does the address pause? It has no open activation. Any thread; an early look, for
 * weft__crash_admits says so, too. */
bool weft__crash_refuses(struct weft__shards *shards, const struct weft__vkey *key);
/* May the address, which has no open activation, be activated? It will be then, as a trial if its
 * pause is just over. Under its token. */
bool weft__crash_admits(struct weft__shards *shards, const struct weft__vkey *key);
/* The strategy of the program gives the shard of an address to no node: -EINVAL, else 0. */
int weft__placement_refuses(const struct weft__shards *shards, const struct weft__vkey *key);

/* Forgets the crashes of a capability that is not offered any more. */
void weft__crashes_drop(struct weft__shards *shards, const weft_capability *capability);
/* Forgets what is over, a part of it at a time. Returns when to look again, in ns of now, or
 * UINT64_MAX; *ret_more: there is more to look at just now. */
uint64_t weft__crashes_sweep(struct weft__shards *shards, uint64_t now_ns, bool *ret_more);
void weft__crashes_fini(struct weft__shards *shards);

/* ---- save.c -------------------------------------------------------------------------------- */

void weft__virtual_begin(struct weft__scheduler *s, struct weft_ctx *ctx);
bool weft__virtual_stored(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
void weft__virtual_passivate(struct weft__scheduler *s, struct weft_ctx *ctx, int reason);

/* ---- age.c --------------------------------------------------------------------------------- */

/* A kind with a policy: makes its stripes. 0 or -ENOMEM. */
int weft__ages_init(struct weft__shards *shards, struct weft__kind *kind);
void weft__ages_fini(struct weft__shards *shards, struct weft__kind *kind);
/* Room for one more in the stripe of a slot. 0 or -ENOMEM. */
int weft__age_reserve(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot);
void weft__age_unreserve(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot);
/* A new activation joins, as the newest, in the room reserved for it: enter, open it, add. */
void weft__age_enter(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot);
void weft__age_add(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                   uint64_t now_ns);
/* It ends. */
void weft__age_remove(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot);
/* It was asked to leave and stays. True: there are too many still. */
bool weft__age_stay(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                    uint64_t now_ns);
/* Its bytes are others now. */
void weft__age_account(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                       uint64_t account);
/* Asks the least recently used to leave while the slot's stripe is above its limits. */
void weft__age_enforce(struct weft__shards *shards, struct weft__scheduler *s,
                       struct weft__kind *kind, uint32_t slot);
/* Asks those that are idle too long or too many. Returns when to look again, UINT64_MAX: there is
 * no need. *ret_more: there are more of them just now. */
uint64_t weft__age_sweep(struct weft__shards *shards, struct weft__scheduler *s,
                         struct weft__kind *kind, bool *ret_more);
/* Sends WEFT__SIGNAL_PASSIVATE. 0, WEFT_E_NOPROC, -ENOMEM. s NULL: any thread. */
int weft__ask_to_leave(weft_runtime *runtime, struct weft__scheduler *s, uint64_t target,
                       int reason);

/* ---- keeper.c ------------------------------------------------------------------------------ */

/* Somebody is to be looked at, at due_ns or soon after. */
void weft__keeper_poke(struct weft__shards *shards, struct weft__scheduler *s, uint64_t due_ns);
/* Somebody of a kind was placed just now. */
WEFT_INLINE void weft__keeper_watch(struct weft__shards *shards, struct weft__scheduler *s,
                                    const struct weft__kind *kind) {
    if (kind->type->def.idle_ns != WEFT_IDLE_NEVER) {
        uint64_t now_ns = weft__shard_now(shards, s);
        uint64_t wait_ns = weft_max_u64(kind->type->def.idle_ns, WEFT__LOOK_NS);
        weft__keeper_poke(shards, s, weft_add_saturated(now_ns, wait_ns));
    }
}

#endif
