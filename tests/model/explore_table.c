/* SPDX-License-Identifier: MIT
 *
 * See explore_table.h. Single-threaded.
 */
#include "tests/model/explore_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_FIRST = 1 << 16 };

static void *grown(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);
    if (memory == NULL) {
        fprintf(stderr, "explore: no memory\n");
        abort();
    }
    return memory;
}

bool explore_table_init(struct explore_table *table) {
    memset(table, 0, sizeof *table);
    table->slots = SLOTS_FIRST;
    table->hashes = calloc(table->slots, sizeof *table->hashes);
    table->ids = calloc(table->slots, sizeof *table->ids);
    return table->hashes != NULL && table->ids != NULL;
}

void explore_table_fini(struct explore_table *table) {
    free(table->hashes);
    free(table->ids);
    free(table->origins);
    free(table->edges);
    memset(table, 0, sizeof *table);
}

void explore_table_clear(struct explore_table *table) {
    memset(table->hashes, 0, table->slots * sizeof *table->hashes);
    table->count = 0;
    table->edges_count = 0;
}

static uint64_t mixed(uint64_t left, uint64_t right) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)left * right;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, 16 bytes a round; a state is a multiple of 4 bytes. */
static uint64_t hashed(const char *state, size_t size) {
    uint64_t hash = 0x9e3779b97f4a7c15u ^ size;
    uint64_t pair[2];
    for (; size >= 16; size -= 16, state += 16) {
        memcpy(pair, state, 16);
        hash = mixed(pair[0] ^ 0xa0761d6478bd642fu ^ hash, pair[1] ^ 0xe7037ed1a0b428dbu) + hash;
    }
    pair[0] = 0;
    pair[1] = 0;
    memcpy(pair, state, size);
    hash = mixed(pair[0] ^ 0x8ebc6af09c88c6e3u ^ hash, pair[1] ^ 0x589965cc75374cc3u) + hash;
    hash = mixed(hash ^ 0x1d8e4e27c47d124fu, 0xeb44accab455d165u);
    return hash == 0 ? 1 : hash;
}

static size_t slot_of(const struct explore_table *table, uint64_t hash) {
    size_t slot = hash & (table->slots - 1);
    while (table->hashes[slot] != 0 && table->hashes[slot] != hash) {
        slot = (slot + 1) & (table->slots - 1);
    }
    return slot;
}

static void rehash(struct explore_table *table) {
    struct explore_table old = *table;
    table->slots *= 2;
    table->hashes = grown(NULL, table->slots * sizeof *table->hashes);
    table->ids = grown(NULL, table->slots * sizeof *table->ids);
    memset(table->hashes, 0, table->slots * sizeof *table->hashes);
    for (size_t i = 0; i < old.slots; i++) {
        if (old.hashes[i] != 0) {
            size_t slot = slot_of(table, old.hashes[i]);
            table->hashes[slot] = old.hashes[i];
            table->ids[slot] = old.ids[i];
        }
    }
    free(old.hashes);
    free(old.ids);
}

uint32_t explore_table_find(struct explore_table *table, const void *state, size_t size,
                            struct explore_origin origin, bool *ret_fresh) {
    if ((size_t)table->count * 2 >= table->slots) {
        rehash(table);
    }
    uint64_t hash = hashed(state, size);
    size_t slot = slot_of(table, hash);
    *ret_fresh = table->hashes[slot] == 0;
    if (!*ret_fresh) {
        return table->ids[slot];
    }
    if (table->count == table->room) {
        table->room = table->room == 0 ? 1 << 14 : table->room * 2;
        table->origins = grown(table->origins, table->room * sizeof *table->origins);
    }
    table->hashes[slot] = hash;
    table->ids[slot] = table->count;
    table->origins[table->count] = origin;
    return table->count++;
}

void explore_table_edge(struct explore_table *table, uint32_t from, uint32_t to) {
    if (table->edges_count == table->edges_room) {
        table->edges_room = table->edges_room == 0 ? 1 << 14 : table->edges_room * 2;
        table->edges = grown(table->edges, table->edges_room * sizeof *table->edges);
    }
    table->edges[table->edges_count++] = (struct explore_edge){.from = from, .to = to};
}

void explore_table_end(struct explore_table *table, uint32_t id) {
    table->origins[id].end = true;
}

/* Marks what reaches an end, walking the edges backwards from the ends. sources[first[id]] up to
 * sources[first[id + 1]] are the states one step before id; queue has room for all states. */
static uint32_t reached_mark(const struct explore_table *table, const size_t *first,
                             const uint32_t *sources, uint32_t *queue, bool *reached) {
    uint32_t fill = 0;
    for (uint32_t id = 0; id < table->count; id++) {
        if (table->origins[id].end) {
            reached[id] = true;
            queue[fill++] = id;
        }
    }
    for (uint32_t next = 0; next < fill; next++) {
        for (size_t i = first[queue[next]]; i < first[queue[next] + 1]; i++) {
            if (!reached[sources[i]]) {
                reached[sources[i]] = true;
                queue[fill++] = sources[i];
            }
        }
    }
    return fill;
}

bool explore_table_stuck(const struct explore_table *table, uint32_t *ret_id) {
    size_t *first = grown(NULL, ((size_t)table->count + 2) * sizeof *first);
    uint32_t *sources = grown(NULL, (table->edges_count + 1) * sizeof *sources);
    uint32_t *queue = grown(NULL, ((size_t)table->count + 1) * sizeof *queue);
    bool *reached = grown(NULL, (size_t)table->count + 1);
    memset(first, 0, ((size_t)table->count + 2) * sizeof *first);
    memset(reached, 0, (size_t)table->count + 1);
    for (size_t i = 0; i < table->edges_count; i++) {
        first[table->edges[i].to + 2]++;
    }
    for (uint32_t id = 2; id < table->count + 2; id++) {
        first[id] += first[id - 1];
    }
    for (size_t i = 0; i < table->edges_count; i++) { /* moves first[to + 1] to its end */
        sources[first[table->edges[i].to + 1]++] = table->edges[i].from;
    }
    bool stuck = reached_mark(table, first, sources, queue, reached) < table->count;
    for (uint32_t id = 0; stuck && id < table->count; id++) {
        if (!reached[id]) {
            *ret_id = id;
            break;
        }
    }
    free(first);
    free(sources);
    free(queue);
    free(reached);
    return stuck;
}
