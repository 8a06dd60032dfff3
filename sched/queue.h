/* SPDX-License-Identifier: MIT
 *
 * What the parts of a scheduler share about the queues that its actors wait in: lists through
 * weft_ctx.link, the rings, the overflow queue. scheduler.c serves them, rank.c those of high and
 * low priority, steal.c those of others. All of it on the scheduler's thread, unless it says
 * otherwise.
 */
#ifndef WEFT_SCHED_QUEUE_H
#define WEFT_SCHED_QUEUE_H

#include "sched/scheduler.h"

enum { WEFT__PINNED_WAIT_MAX = 64 }; /* other actors between two pinned ones at most */

WEFT_INLINE enum weft__rank_id weft__rank_of(uint32_t traits) {
    return (traits & WEFT__TRAIT_HIGH) != 0  ? WEFT__RANK_HIGH
           : (traits & WEFT__TRAIT_LOW) != 0 ? WEFT__RANK_LOW
                                             : WEFT__RANK_NORMAL;
}

/* The high or low queues; not for normal ones. */
WEFT_INLINE struct weft__rank *weft__rank_at(struct weft__scheduler *s, enum weft__rank_id id) {
    return &s->rank[id == WEFT__RANK_HIGH ? 0 : 1];
}

WEFT_INLINE struct weft__runq *weft__ring_at(struct weft__scheduler *s, enum weft__rank_id id) {
    return id == WEFT__RANK_NORMAL ? &s->ring : &weft__rank_at(s, id)->ring;
}

/* ---- lists --------------------------------------------------------------------------------- */

WEFT_INLINE void weft__list_append(const struct weft__arena *slots, struct weft__slots *list,
                                   struct weft_ctx *slot, uint32_t index) {
    weft_store32_relaxed(&slot->link, 0);
    if (list->count++ == 0) {
        list->first = index;
    } else {
        weft_store32_relaxed(&weft__slot_at(slots, list->last)->link, index);
    }
    list->last = index;
}

/* 0: empty. */
WEFT_INLINE uint32_t weft__list_take(const struct weft__arena *slots, struct weft__slots *list) {
    uint32_t index = list->first;
    if (index != 0) {
        list->first = weft_load32_relaxed(&weft__slot_at(slots, index)->link);
        list->count--;
    }
    return index;
}

/* The next pinned actor, if it is its turn beside so many others; 0: not now. As in one queue: with
 * each pinned actor the others have earned their share of a turn, so that few of them beside many
 * pinned ones are not forgotten. owed counts what they have earned, in parts of a turn, of which
 * pinned->count make one. */
WEFT_INLINE uint32_t weft__pinned_take(const struct weft__arena *slots, struct weft__slots *pinned,
                                       uint32_t *owed, uint32_t others) {
    uint64_t most = (uint64_t)pinned->count * WEFT__PINNED_WAIT_MAX;
    uint32_t now = others == 0 ? 0 : *owed < most ? *owed : (uint32_t)most;
    if (now >= pinned->count) {
        *owed = now - pinned->count;
        return 0;
    }
    *owed = now + others;
    return weft__list_take(slots, pinned);
}

/* ---- rings --------------------------------------------------------------------------------- */

/* A ring is full: the actor goes to the overflow queue. */
void weft__ring_overflow(struct weft__scheduler *s, uint32_t index);

/* Where normal actors go that any scheduler may take. */
WEFT_INLINE void weft__ring_push(struct weft__scheduler *s, uint32_t index) {
    if (weft_unlikely(!weft__runq_push_owner(&s->ring, index))) {
        weft__ring_overflow(s, index);
    }
    s->published++;
}

/* ---- rank.c -------------------------------------------------------------------------------- */

/* Queues an actor of high or low priority here, pinned or not. */
void weft__rank_push(struct weft__scheduler *s, struct weft_ctx *slot, uint32_t index,
                     uint32_t traits);
/* The same in the ring only, when its priority is known. False: full. */
bool weft__rank_push_ring(struct weft__scheduler *s, enum weft__rank_id id, uint32_t index);
/* The actor of high or low priority that runs before the normal ones, of which some wait; 0: none.
 * Under bias. */
uint32_t weft__rank_first(struct weft__scheduler *s, bool normal_waits);
/* A normal one was picked; 0: there was none after all, what is picked instead. */
uint32_t weft__rank_passed(struct weft__scheduler *s, uint32_t index);
/* Makes up its mind who shall be woken for what still waits. */
void weft__rank_ring(struct weft__scheduler *s);

/* ---- steal.c ------------------------------------------------------------------------------- */

/* One round over all others, from a random one on. True: something was taken. */
bool weft__steal(struct weft__scheduler *s);
/* Every few steps of a busy scheduler: takes from another one whose actors wait longer. */
void weft__steal_balance(struct weft__scheduler *s);
/* Out of work: was the last steal worth its while? */
void weft__steal_judge(struct weft__scheduler *s);
/* Is there something in anybody's ring? */
bool weft__rings_wait(const struct weft__scheduler *s);

#endif
