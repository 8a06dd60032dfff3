/* SPDX-License-Identifier: MIT
 *
 * The set of states the explorer has seen: state by 64-bit hash, how each was first reached, and
 * the steps between them, to find states from which the end cannot be reached. Memory is grown by
 * doubling; running out of it ends the program.
 */
#ifndef TESTS_MODEL_EXPLORE_TABLE_H
#define TESTS_MODEL_EXPLORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct explore_origin {
    uint32_t parent; /* id of a state */
    uint16_t choice;
    bool end; /* nothing can happen in it */
};

struct explore_edge {
    uint32_t from;
    uint32_t to;
};

struct explore_table {
    uint64_t *hashes; /* open addressing, 0: free */
    uint32_t *ids;
    size_t slots; /* power of two */
    struct explore_origin *origins;
    uint32_t count; /* of states */
    uint32_t room;
    struct explore_edge *edges;
    size_t edges_count;
    size_t edges_room;
};

bool explore_table_init(struct explore_table *table);
void explore_table_fini(struct explore_table *table);
void explore_table_clear(struct explore_table *table);
/* The id of a state; a new one gets origin. [out] fresh: it is new. */
uint32_t explore_table_find(struct explore_table *table, const void *state, size_t size,
                            struct explore_origin origin, bool *ret_fresh);
void explore_table_edge(struct explore_table *table, uint32_t from, uint32_t to);
void explore_table_end(struct explore_table *table, uint32_t id);
/* True: there are states from which no end can be reached; [out] one of them, the first seen. */
bool explore_table_stuck(const struct explore_table *table, uint32_t *ret_id);

#endif
