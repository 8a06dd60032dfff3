/* SPDX-License-Identifier: MIT
 *
 * Pending calls: see sched/calls.h. Records and heap share one allocation, so that growing them
 * is one step that succeeds or changes nothing.
 */
#include "sched/calls.h"
#include <errno.h>
#include <string.h>

enum { CAPACITY_FIRST = 4 };

static size_t bytes_of(uint32_t capacity) {
    return (size_t)capacity * (sizeof(struct weft__call) + sizeof(uint32_t));
}

static void drop(struct weft__calls *calls, struct weft__core *core) {
    if (calls->lent == 0) {
        weft__free(core, calls->records, bytes_of(calls->capacity), "calls");
    }
    calls->lent = 0;
}

int weft__calls_reserve(struct weft__calls *calls, struct weft__core *core, uint32_t max) {
    if (calls->count >= max) {
        return WEFT_E_LIMIT;
    }
    if (calls->count < calls->capacity) {
        return 0;
    }
    uint32_t capacity = calls->capacity == 0 ? CAPACITY_FIRST : calls->capacity * 2;
    struct weft__call *records = weft__alloc(core, bytes_of(capacity), "calls");
    if (records == NULL) {
        return -ENOMEM;
    }
    uint32_t *heap = (uint32_t *)(void *)(records + capacity);
    if (calls->capacity != 0) {
        memcpy(records, calls->records, calls->capacity * sizeof(*records));
        memcpy(heap, calls->heap, calls->capacity * sizeof(*heap));
    }
    drop(calls, core);
    calls->records = records;
    calls->heap = heap;
    calls->capacity = capacity;
    return 0;
}

uint32_t weft__calls_seq_next(const struct weft__calls *calls) {
    uint32_t next = calls->seq_first;
    for (uint32_t index = 0; index < calls->used; index++) {
        uint32_t seq = (calls->records[index].seq + 1) & ~UINT32_C(1); /* pending ones are odd */
        if ((int32_t)(seq - next) > 0) {
            next = seq;
        }
    }
    return next;
}

void weft__calls_fini(struct weft__calls *calls, struct weft__core *core) {
    drop(calls, core);
    memset(calls, 0, sizeof(*calls));
}

static void heap_set(struct weft__calls *calls, uint32_t at, uint32_t record) {
    calls->heap[at] = record;
    calls->records[record].heap_at = at;
}

static uint64_t due_of(const struct weft__calls *calls, uint32_t record) {
    return calls->records[record].deadline_ns;
}

static void heap_up(struct weft__calls *calls, uint32_t at) {
    uint32_t record = calls->heap[at];
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (due_of(calls, calls->heap[parent]) <= due_of(calls, record)) {
            break;
        }
        heap_set(calls, at, calls->heap[parent]);
        at = parent;
    }
    heap_set(calls, at, record);
}

static void heap_down(struct weft__calls *calls, uint32_t at) {
    uint32_t record = calls->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= calls->count) {
            break;
        }
        if (child + 1 < calls->count &&
            due_of(calls, calls->heap[child + 1]) < due_of(calls, calls->heap[child])) {
            child++;
        }
        if (due_of(calls, record) <= due_of(calls, calls->heap[child])) {
            break;
        }
        heap_set(calls, at, calls->heap[child]);
        at = child;
    }
    heap_set(calls, at, record);
}

uint64_t weft__calls_add_any(struct weft__calls *calls, uint64_t token, uint64_t deadline_ns,
                             uint64_t target) {
    weft_assert(calls->count < calls->capacity);
    uint32_t index;
    if (calls->free_head != 0) {
        index = calls->free_head - 1;
        calls->free_head = calls->records[index].next_free;
    } else {
        index = calls->used++;
        calls->records[index].seq = calls->seq_first;
    }
    struct weft__call *call = &calls->records[index];
    call->token = token;
    call->deadline_ns = deadline_ns;
    call->target = target;
    call->seq++;
    weft_assert((call->seq & 1) == 1);
    uint32_t at = calls->count++;
    calls->heap[at] = index;
    heap_up(calls, at);
    return (uint64_t)call->seq << 32 | index;
}

static void remove_call(struct weft__calls *calls, uint32_t index) {
    struct weft__call *call = &calls->records[index];
    uint32_t at = call->heap_at;
    uint32_t last = calls->heap[--calls->count];
    if (at != calls->count) {
        calls->heap[at] = last;
        calls->records[last].heap_at = at;
        heap_down(calls, at);
        heap_up(calls, calls->records[last].heap_at);
    }
    call->seq++;
    call->next_free = calls->free_head;
    calls->free_head = index + 1;
}

bool weft__calls_take_any(struct weft__calls *calls, uint64_t reference, uint64_t *ret_token) {
    uint32_t index = (uint32_t)reference;
    uint32_t seq = (uint32_t)(reference >> 32);
    if (index >= calls->used || (seq & 1) == 0 || calls->records[index].seq != seq) {
        return false;
    }
    *ret_token = calls->records[index].token;
    remove_call(calls, index);
    return true;
}

bool weft__calls_find(const struct weft__calls *calls, uint64_t token, uint32_t *cursor,
                      uint64_t *ret_reference) {
    while (*cursor < calls->used) {
        uint32_t index = (*cursor)++;
        if (weft__calls_is_pending(calls, index) && calls->records[index].token == token) {
            *ret_reference = weft__calls_reference(calls, index);
            return true;
        }
    }
    return false;
}

void weft__calls_hurry(struct weft__calls *calls, uint32_t index) {
    weft_assert(weft__calls_is_pending(calls, index));
    calls->records[index].deadline_ns = 0;
    heap_up(calls, calls->records[index].heap_at);
}

bool weft__calls_expire(struct weft__calls *calls, uint64_t now_ns, uint64_t *ret_token,
                        uint64_t *ret_reference) {
    if (calls->count == 0 || due_of(calls, calls->heap[0]) > now_ns) {
        return false;
    }
    uint32_t index = calls->heap[0];
    *ret_token = calls->records[index].token;
    *ret_reference = weft__calls_reference(calls, index);
    remove_call(calls, index);
    return true;
}
