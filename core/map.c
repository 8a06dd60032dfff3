/* SPDX-License-Identifier: MIT
 *
 * See core/map.h. At most three quarters of a table are in use; the place where an entry belongs is
 * the upper bits of key times an odd constant (Knuth's multiplicative hashing).
 */
#include "core/map.h"
#include <errno.h>
#include <string.h>

enum { CAPACITY_MIN = 4, CAPACITY_MAX = 1 << 30 };

static uint32_t home_of(const struct weft__map *map, uint64_t key) {
    uint64_t mixed = (key ^ key >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (map->capacity - 1);
}

/* The place of a key, or the free one where it would go. There always is a free one. */
static uint32_t place_of(const struct weft__map *map, uint64_t key) {
    uint32_t at = home_of(map, key);
    while (map->entries[at].key != 0 && map->entries[at].key != key) {
        at = (at + 1) & (map->capacity - 1); /* bounded by the table */
    }
    return at;
}

static int resize(struct weft__map *map, struct weft__core *core, uint32_t capacity) {
    struct weft__map bigger = {.capacity = capacity, .count = map->count};
    bigger.entries = weft__alloc(core, capacity * sizeof(*bigger.entries), "map");
    if (bigger.entries == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].key != 0) {
            bigger.entries[place_of(&bigger, map->entries[i].key)] = map->entries[i];
        }
    }
    weft__free(core, map->entries, map->capacity * sizeof(*map->entries), "map");
    *map = bigger;
    return 0;
}

int weft__map_reserve(struct weft__map *map, struct weft__core *core) {
    if (weft_likely(((uint64_t)map->count + 1) * 4 <= (uint64_t)map->capacity * 3)) {
        return 0;
    }
    if (map->capacity >= CAPACITY_MAX) {
        return -ENOMEM;
    }
    return resize(map, core, map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2);
}

void weft__map_put(struct weft__map *map, uint64_t key, uint64_t value) {
    weft_assert(key != 0);
    weft_assert(map->count < map->capacity);
    struct weft__map_entry *entry = &map->entries[place_of(map, key)];
    map->count += entry->key == 0 ? 1 : 0;
    *entry = (struct weft__map_entry){.key = key, .value = value};
}

uint64_t *weft__map_find(const struct weft__map *map, uint64_t key) {
    if (map->count == 0) {
        return NULL;
    }
    struct weft__map_entry *entry = &map->entries[place_of(map, key)];
    return entry->key == key && key != 0 ? &entry->value : NULL;
}

/* Closes the gap at a place: whoever would be looked for across it moves into it. */
static void close_gap(struct weft__map *map, uint32_t gap) {
    uint32_t mask = map->capacity - 1;
    uint32_t at = gap;
    for (;;) { /* bounded by the table */
        at = (at + 1) & mask;
        if (map->entries[at].key == 0) {
            break;
        }
        uint32_t home = home_of(map, map->entries[at].key);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            map->entries[gap] = map->entries[at];
            gap = at;
        }
    }
    map->entries[gap] = (struct weft__map_entry){0};
}

bool weft__map_remove(struct weft__map *map, struct weft__core *core, uint64_t key,
                      uint64_t *ret_value) {
    if (map->count == 0 || key == 0) {
        return false;
    }
    uint32_t at = place_of(map, key);
    if (map->entries[at].key != key) {
        return false;
    }
    if (ret_value != NULL) {
        *ret_value = map->entries[at].value;
    }
    map->count--;
    if (map->count == 0 && map->capacity > CAPACITY_MIN) {
        weft__map_fini(map, core);
        return true;
    }
    close_gap(map, at);
    return true;
}

const struct weft__map_entry *weft__map_next(const struct weft__map *map, uint32_t *cursor) {
    while (*cursor < map->capacity) {
        const struct weft__map_entry *entry = &map->entries[(*cursor)++];
        if (entry->key != 0) {
            return entry;
        }
    }
    return NULL;
}

void weft__map_fini(struct weft__map *map, struct weft__core *core) {
    weft__free(core, map->entries, map->capacity * sizeof(*map->entries), "map");
    memset(map, 0, sizeof(*map));
}
