/* SPDX-License-Identifier: MIT
 *
 * A hash table from 64-bit keys to 64-bit values: open addressing with linear probing, entries
 * moved back at a removal so that no tombstones are left. Key 0 is not allowed. One owner at a time. A table that has emptied gives its memory back.
 *
 * Keys are the library's own numbers (pids, references), never bytes from outside: the hash is not
 * keyed. Growing moves all entries at once: about 10 ns each.
 */
#ifndef WEFT_CORE_MAP_H
#define WEFT_CORE_MAP_H

#include "core/core.h"

struct weft__map_entry {
    uint64_t key; /* 0: free */
    uint64_t value;
};

struct weft__map {
    struct weft__map_entry *entries;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
};

/* Room for one entry more, so that weft__map_put cannot fail. 0 or -ENOMEM. */
int weft__map_reserve(struct weft__map *map, struct weft__core *core);
/* After weft__map_reserve. Replaces the value of a key that is there. */
void weft__map_put(struct weft__map *map, uint64_t key, uint64_t value);
/* Where the value of a key is, until the next change, or NULL. */
uint64_t *weft__map_find(const struct weft__map *map, uint64_t key);
/* False: there was none. ret_value may be NULL. */
bool weft__map_remove(struct weft__map *map, struct weft__core *core, uint64_t key,
                      uint64_t *ret_value);
/* The entry at or behind *cursor (from 0), which moves behind it; NULL: there are no more. Nothing
 * may be changed in between. */
const struct weft__map_entry *weft__map_next(const struct weft__map *map, uint32_t *cursor);
void weft__map_fini(struct weft__map *map, struct weft__core *core);

#endif
