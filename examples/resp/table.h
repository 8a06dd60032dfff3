/* SPDX-License-Identifier: MIT
 *
 * A table of entries that are found by a text: fields of a hash, members of a set, members of a
 * sorted set. An entry is any struct whose first member is `struct text key`; what else is in it is
 * its owner's business, and its owner's to free. The table frees keys.
 *
 * Entries lie in one array without gaps, so a random one is found by its index. Up to 16 are searched
 * one by one and keep the order they were added in; above there is an index: open addressing with
 * linear probing, by a SipHash of the key with a random seed, so that clients cannot choose keys that
 * collide.
 *
 * Places of entries are valid until the next change of the table.
 */
#ifndef EXAMPLES_RESP_TABLE_H
#define EXAMPLES_RESP_TABLE_H

#include "text.h"

struct table {
    char *entries;
    struct table_slot *slots; /* NULL while there are few */
    uint32_t entry_size;
    uint32_t count;
    uint32_t capacity;
    uint32_t slot_mask;
    uint64_t seed[2];
};

/* NULL: out of memory. */
struct table *table_create(uint32_t entry_size, const uint64_t seed[2]);
/* Frees keys, then the table. */
void table_destroy(struct table *self);

static inline void *table_at(const struct table *self, uint32_t index) {
    return self->entries + (size_t)index * self->entry_size;
}

/* NULL: not there. */
void *table_find(const struct table *self, slice key);
/* Room for `more` entries that table_push will not need memory for. false: out of memory. */
bool table_reserve(struct table *self, uint32_t more);
/* Moves the entry in; its key must not be there, and room must be reserved. */
void table_push(struct table *self, const void *entry);
/* Frees its key and closes the gap. */
void table_remove(struct table *self, void *entry);
/* Gives back room that is not needed; what was reserved with it. */
void table_shrink(struct table *self);
/* Of the table and its keys. */
size_t table_bytes(const struct table *self);

#endif
