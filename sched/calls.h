/* SPDX-License-Identifier: MIT
 *
 * The pending calls of one caller (an actor, or a completion queue): a table by reference and a
 * heap by deadline. A reference is {sequence, index}; an answer whose sequence is not the record's
 * is late. All O(1) but the heap, O(log n). Owner only.
 */
#ifndef WEFT_SCHED_CALLS_H
#define WEFT_SCHED_CALLS_H

#include "core/core.h"

struct weft__call {
    uint64_t token;
    uint64_t deadline_ns;
    uint32_t seq;       /* odd while pending; 0 never used */
    uint32_t heap_at;   /* pending: place in the heap */
    uint32_t next_free; /* free: next, plus one */
    uint32_t place;     /* 1 + place among those a process waits for together, while it does: see
                           struct weft__many; else 0 */
    /* of an actor's: see scope.h */
    uint64_t target;     /* slot and generation of whom the request was sent to; 0: nobody */
    uint32_t scope;      /* cell of the request it was made for, 0: none; also 0 while free */
    uint32_t scope_next; /* made for the same request, plus one; 0: none */
    uint32_t scope_previous;
    uint32_t unused[2]; /* a record is found by a shift */
};
_Static_assert(sizeof(struct weft__call) == 64, "a power of two");

struct weft__calls {
    struct weft__call *records;
    uint32_t *heap; /* of record indices, earliest deadline first */
    uint32_t capacity;
    uint32_t used;  /* records ever used */
    uint32_t count; /* pending */
    uint32_t free_head;
    uint32_t seq_first; /* even; where the sequences begin: see weft__calls_seq_next */
    uint32_t lent;      /* not 0: records and heap are the owner's, see weft__calls_lend */
};

/* Before the first call: memory of the owner's for the first few, which lies beside what else it
 * touches and shares no cache line with others'. */
WEFT_INLINE void weft__calls_lend(struct weft__calls *calls, struct weft__call *records,
                                  uint32_t *heap, uint32_t capacity) {
    calls->records = records;
    calls->heap = heap;
    calls->capacity = capacity;
    calls->lent = 1;
}

/* Room for one more call. 0, -ENOMEM, WEFT_E_LIMIT above max. */
int weft__calls_reserve(struct weft__calls *calls, struct weft__core *core, uint32_t max);
/* The general ways of weft__calls_add and weft__calls_take. */
uint64_t weft__calls_add_any(struct weft__calls *calls, uint64_t token, uint64_t deadline_ns,
                             uint64_t target);
bool weft__calls_take_any(struct weft__calls *calls, uint64_t reference, uint64_t *ret_token);

/* After weft__calls_reserve: enters a call, returns its reference. target: see struct weft__call.
 * Most callers have one call at a time, and then the heap has one element. */
WEFT_INLINE uint64_t weft__calls_add(struct weft__calls *calls, uint64_t token,
                                     uint64_t deadline_ns, uint64_t target) {
    if (weft_unlikely(calls->count != 0 || calls->free_head == 0)) {
        return weft__calls_add_any(calls, token, deadline_ns, target);
    }
    uint32_t index = calls->free_head - 1;
    struct weft__call *call = &calls->records[index];
    calls->free_head = call->next_free;
    call->token = token;
    call->deadline_ns = deadline_ns;
    call->target = target;
    call->seq++;
    call->heap_at = 0;
    calls->heap[0] = index;
    calls->count = 1;
    return (uint64_t)call->seq << 32 | index;
}

/* Removes the call of a reference; false: not pending. */
WEFT_INLINE bool weft__calls_take(struct weft__calls *calls, uint64_t reference,
                                  uint64_t *ret_token) {
    uint32_t index = (uint32_t)reference;
    if (weft_unlikely(calls->count != 1 || calls->heap[0] != index ||
                      calls->records[index].seq != reference >> 32)) {
        return weft__calls_take_any(calls, reference, ret_token);
    }
    struct weft__call *call = &calls->records[index];
    *ret_token = call->token;
    call->seq++;
    call->next_free = calls->free_head;
    calls->free_head = index + 1;
    calls->count = 0;
    return true;
}

/* The record of a reference, which is pending or was taken just now. */
WEFT_INLINE struct weft__call *weft__calls_at(const struct weft__calls *calls, uint64_t reference) {
    return &calls->records[(uint32_t)reference];
}

/* The reference of a record. */
WEFT_INLINE uint64_t weft__calls_reference(const struct weft__calls *calls, uint32_t index) {
    return (uint64_t)calls->records[index].seq << 32 | index;
}

WEFT_INLINE bool weft__calls_is_pending(const struct weft__calls *calls, uint32_t index) {
    return (calls->records[index].seq & 1) == 1;
}

/* The pending call with a token at or behind *cursor (from 0), which moves behind it; false: there
 * are no more. Calls may be removed in between. */
bool weft__calls_find(const struct weft__calls *calls, uint64_t token, uint32_t *cursor,
                      uint64_t *ret_reference);
/* A pending call becomes due, before all others: its deadline is 0 from now on. */
void weft__calls_hurry(struct weft__calls *calls, uint32_t index);
/* Removes one call that is due; false: none is. */
bool weft__calls_expire(struct weft__calls *calls, uint64_t now_ns, uint64_t *ret_token,
                        uint64_t *ret_reference);
/* What a successor that is reached under the same name must set as its seq_first, so that answers
 * to calls of this table match none of its own. O(records). */
uint32_t weft__calls_seq_next(const struct weft__calls *calls);
void weft__calls_fini(struct weft__calls *calls, struct weft__core *core);

/* UINT64_MAX: none. */
WEFT_INLINE uint64_t weft__calls_deadline(const struct weft__calls *calls) {
    return calls->count == 0 ? UINT64_MAX : calls->records[calls->heap[0]].deadline_ns;
}

#endif
