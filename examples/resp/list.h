/* SPDX-License-Identifier: MIT
 *
 * A list: a ring of texts in one array that doubles when it is full and halves when three quarters
 * are empty. Both ends and any index in constant time; an insertion in the middle moves the shorter
 * part. list.c is the ring, list_commands.c the commands.
 */
#ifndef EXAMPLES_RESP_LIST_H
#define EXAMPLES_RESP_LIST_H

#include "text.h"

struct list {
    struct text *items;
    uint32_t capacity; /* a power of two */
    uint32_t head;     /* where the first one is */
    uint32_t count;
};

enum list_end { LIST_FRONT, LIST_BACK };

/* NULL: out of memory. */
struct list *list_create(void);
void list_destroy(struct list *self);

static inline struct text *list_at(const struct list *self, uint32_t index) {
    return &self->items[(self->head + index) & (self->capacity - 1)];
}

/* One after the other at that end: the last one is outermost. All or, out of memory, none. */
bool list_push(struct list *self, enum list_end end, const slice *items, uint32_t count);
/* Frees that many (at most all) at that end. */
void list_drop(struct list *self, enum list_end end, uint32_t count);
/* Before the one that is at `index` now, which may be count. false: out of memory. */
bool list_insert(struct list *self, uint32_t index, slice item);
/* Removes the first `most` that equal item, counted from that end; returns how many there were. */
uint32_t list_remove(struct list *self, enum list_end from, slice item, uint64_t most);
size_t list_bytes(const struct list *self);

#endif
