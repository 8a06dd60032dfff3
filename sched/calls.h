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
    uint32_t spare;
};

struct weft__calls {
    struct weft__call *records;
    uint32_t *heap; /* of record indices, earliest deadline first */
    uint32_t capacity;
    uint32_t used;  /* records ever used */
    uint32_t count; /* pending */
    uint32_t free_head;
};

/* Room for one more call. 0, -ENOMEM, WEFT_E_LIMIT above max. */
int weft__calls_reserve(struct weft__calls *calls, struct weft__core *core, uint32_t max);
/* After weft__calls_reserve: enters a call, returns its reference. */
uint64_t weft__calls_add(struct weft__calls *calls, uint64_t token, uint64_t deadline_ns);
/* Removes the call of a reference; false: not pending. */
bool weft__calls_take(struct weft__calls *calls, uint64_t reference, uint64_t *ret_token);
/* Removes every call with a token; returns how many. O(pending). */
uint32_t weft__calls_cancel(struct weft__calls *calls, uint64_t token);
/* Removes one call that is due; false: none is. */
bool weft__calls_expire(struct weft__calls *calls, uint64_t now_ns, uint64_t *ret_token);
void weft__calls_fini(struct weft__calls *calls, struct weft__core *core);

/* UINT64_MAX: none. */
WEFT_INLINE uint64_t weft__calls_deadline(const struct weft__calls *calls) {
    return calls->count == 0 ? UINT64_MAX : calls->records[calls->heap[0]].deadline_ns;
}

#endif
