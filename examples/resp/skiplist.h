/* SPDX-License-Identifier: MIT
 *
 * Members of a sorted set in their order: by score, and by bytes where scores are equal. A skip list:
 * each node is in the lists of its first levels, a fourth of them in each further one; every link
 * knows how many nodes it goes forward, so that a rank is found as fast as a member, in logarithmic
 * time. Heights come from the caller's random generator and not from the data: clients cannot make
 * it slow.
 *
 * A node is made first and inserted then: inserting needs no memory.
 */
#ifndef EXAMPLES_RESP_SKIPLIST_H
#define EXAMPLES_RESP_SKIPLIST_H

#include "text.h"

enum { SKIPLIST_LEVELS = 16 }; /* for 4^16 nodes */

struct node;

struct link {
    struct node *next; /* NULL: the end */
    uint32_t span;     /* how many nodes further on that is */
};

struct node {
    struct text member; /* owned by who made the node */
    double score;
    struct node *previous;
    uint32_t height;
    struct link links[]; /* as many as height */
};

struct skiplist {
    struct node *tail;
    uint32_t count;
    uint32_t height; /* levels in use */
    struct link head[SKIPLIST_LEVELS];
};

/* random: any 64 random bits. NULL: out of memory. Its member is empty,
 * its score 0. */
struct node *node_create(uint64_t random);
void node_destroy(struct node *self); /* not its member */

void skiplist_insert(struct skiplist *self, struct node *node);
/* Takes it out; its score must be the one it was inserted with. */
void skiplist_remove(struct skiplist *self, struct node *node);
/* How many are before it. */
uint32_t skiplist_rank(const struct skiplist *self, const struct node *node);
/* NULL: there are not so many. */
struct node *skiplist_at(const struct skiplist *self, uint64_t rank);

/* The last of the first nodes for which test is true, NULL: there is none. Test must not become true
 * again after it was false. */
typedef bool (*node_test)(const struct node *node, const void *cookie);
struct node *skiplist_last_where(const struct skiplist *self, node_test test, const void *cookie);

static inline struct node *skiplist_first(const struct skiplist *self) {
    return self->head[0].next;
}
static inline struct node *skiplist_next(const struct node *node) {
    return node->links[0].next;
}

#endif
