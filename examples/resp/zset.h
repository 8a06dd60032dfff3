/* SPDX-License-Identifier: MIT
 *
 * A sorted set: a table from member to node, and a skip list of the nodes. The table owns the texts;
 * the nodes have the same texts in their members. zset.c has what changes one and what asks for one
 * member, zset_range.c what asks for a range.
 */
#ifndef EXAMPLES_RESP_ZSET_H
#define EXAMPLES_RESP_ZSET_H

#include "skiplist.h"
#include "table.h"

enum { ZSET_SMALL_COUNT = 128, ZSET_SMALL_BYTES = 64 };

struct zset {
    struct table *members; /* of struct zset_entry */
    /* It never had more than 128 members nor one of more than 64 bytes. Redis keeps such a set in
     * another form, and clients can tell: a score of -0 becomes 0 in it, and ranges of words are
     * searched from the ends. */
    bool is_small;
    struct skiplist nodes;
};

struct zset_entry {
    struct text member;
    struct node *node;
};

void zset_destroy(struct zset *self);
size_t zset_bytes(const struct zset *self);

#endif
