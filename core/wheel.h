/* SPDX-License-Identifier: MIT
 *
 * A hierarchical timer wheel (Varghese and Lauck, 1987, scheme 6): eight levels of 64 lists, each
 * level 64 times coarser, with a bitmap per level. Starting, cancelling and firing are O(1); an
 * entry is moved down at most seven times. One wheel per scheduler, used under its biased lock.
 *
 * An entry knows which actor (slot, generation) and which of its timers it stands for, nothing
 * else: the timer's record belongs to the actor, which checks it when the signal arrives. So
 * cancelling is exact wherever the actor has moved to, and the entry is only storage to give back.
 * Entries live in one arena of the runtime and are named by a 32-bit index. Who may touch one:
 * the wheel it is linked into, except `state`, by which an actor elsewhere marks it cancelled and
 * then sends it home on the wheel's stack of cancelled entries.
 */
#ifndef WEFT_CORE_WHEEL_H
#define WEFT_CORE_WHEEL_H

#include "core/arena.h"
#include "core/core.h"

enum {
    WEFT__WHEEL_LEVELS = 8,
    WEFT__WHEEL_SLOTS = 64,
    WEFT__WHEEL_TICK_SHIFT = 14,          /* a tick is 16.384 us */
    WEFT__WHEEL_CALLS = 0xffffffffu >> 1, /* entry.timer: the earliest call deadline */
    WEFT__WHEEL_PIECE_BYTES = 2 << 20,
};

/* entry.state: a generation in the upper 30 bits, one of these in the lower two. */
enum {
    WEFT__ENTRY_FREE = 0,
    WEFT__ENTRY_ARMED = 1,
    WEFT__ENTRY_CANCELLED = 2,
    WEFT__ENTRY_MASK = 3
};

struct weft__entry {
    uint64_t due_ns;
    uint32_t slot;
    uint32_t slot_gen;
    uint32_t next;         /* list in the wheel, free list, or stack of cancelled ones */
    uint32_t prev;         /* 0: first of its list */
    weft_atomic_u32 state; /* actor: ARMED -> CANCELLED; wheel: ARMED -> FREE. W1 */
    uint32_t timer;
};
_Static_assert(sizeof(struct weft__entry) == 32, "a pending timer must stay small");

struct weft__wheel {
    /* const after init */
    struct weft__core *core;
    struct weft__arena *entries;
    uint16_t *homes; /* per piece of the arena: whose wheel claimed it */
    uint16_t id;
    /* owner of the wheel only */
    uint64_t tick; /* everything due at or before it has fired */
    uint64_t bitmaps[WEFT__WHEEL_LEVELS];
    uint32_t heads[WEFT__WHEEL_LEVELS][WEFT__WHEEL_SLOTS];
    uint32_t free_head;
    uint64_t bump; /* next untouched entry of the current piece, in bytes, and its end */
    uint64_t bump_end;
    uint32_t pieces;
    weft_counter pending; /* linked entries; read by statistics */
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u32 cancelled; /* stack of entries to unlink. W2 */
};

/* A timer as its record names it: entry and the entry's generation. */
struct weft__armed {
    uint32_t entry; /* 0: none */
    uint32_t state; /* what entry.state was when it was armed */
};

WEFT_INLINE struct weft__entry *weft__entry_at(const struct weft__arena *entries, uint32_t index) {
    return (struct weft__entry *)(void *)(entries->base +
                                          (uint64_t)index * sizeof(struct weft__entry));
}

void weft__wheel_init(struct weft__wheel *wheel, struct weft__core *core,
                      struct weft__arena *entries, uint64_t now_ns);
/* homes: one number per piece of the arena, where the wheel writes id for those it claims. */
void weft__wheel_set_home(struct weft__wheel *wheel, uint16_t *homes, uint16_t id);

/* What to arm. */
struct weft__alarm {
    uint64_t due_ns;
    uint32_t slot;
    uint32_t slot_gen;
    uint32_t timer;
};
/* 0 and the armed entry, or -ENOMEM. */
int weft__wheel_arm(struct weft__wheel *wheel, const struct weft__alarm *alarm,
                    struct weft__armed *ret_armed);

/* Cancels an entry of this wheel or another one, from any thread. False: it has fired. */
bool weft__wheel_cancel(struct weft__wheel *home, const struct weft__armed *armed);

/* Unlinks what was cancelled. Bounded by the number of cancelled entries. */
void weft__wheel_collect(struct weft__wheel *wheel);

/* Delivers one entry that is due. False: it could not; the entry stays and is tried again. */
typedef bool (*weft__fire_fn)(void *arg, const struct weft__entry *entry, uint32_t index,
                              uint32_t state);
/* Fires what is due at now_ns, at most limit entries. Returns how many. */
uint32_t weft__wheel_advance(struct weft__wheel *wheel, uint64_t now_ns, uint32_t limit,
                             weft__fire_fn fire, void *arg);

/* When to advance next; UINT64_MAX: empty. May be earlier than the first timer, never later. */
uint64_t weft__wheel_next_ns(const struct weft__wheel *wheel);

#endif
