/* SPDX-License-Identifier: MIT
 *
 * See skiplist.h. Level 0 has every node. The span of the last link of a level, whose next is NULL,
 * counts to the end of the list, so that insert and remove need no special case for it.
 */
#include "skiplist.h"

#include <stdlib.h>

/* ---- nodes ------------------------------------------------------------------------------------ */

/* A height of n + 1 has a chance of 1 in 4^n. */
static uint32_t height_of(uint64_t random) {
    uint32_t zeros = (uint32_t)__builtin_ctzll(random | UINT64_C(1) << 63);
    uint32_t height = 1 + zeros / 2;
    return height > SKIPLIST_LEVELS ? SKIPLIST_LEVELS : height;
}

struct node *node_create(uint64_t random) {
    uint32_t height = height_of(random);
    struct node *self = calloc(1, sizeof(*self) + height * sizeof(struct link));
    if (self != NULL) {
        self->height = height;
    }
    return self;
}

void node_destroy(struct node *self) {
    free(self);
}

static bool is_before(const struct node *left, const struct node *right) {
    if (left->score != right->score) {
        return left->score < right->score;
    }
    return slice_compare(text_slice(&left->member), text_slice(&right->member)) < 0;
}

/* ---- the way to a place ----------------------------------------------------------------------- */

/* In each level: the link that leads to a place or over it, and how many nodes are before the one
 * that has this link, counting itself. */
struct path {
    struct link *links[SKIPLIST_LEVELS];
    uint32_t ranks[SKIPLIST_LEVELS];
    struct node *previous; /* the last node before the place; NULL: it is the first place */
};

/* Returned by value and not written through a pointer: gcc 12.2 believes at -O1 and above that this
 * loop stores nothing into what a pointer argument leads to (its ipa-modref loses track of it), and
 * leaves the caller with what was there before. */
static struct path find_path(struct skiplist *self, const struct node *node) {
    struct path path = {.previous = NULL};
    struct link *links = self->head;
    uint32_t rank = 0;
    for (uint32_t level = self->height; level-- > 0;) {
        struct node *next = links[level].next;
        while (next != NULL && is_before(next, node)) {
            rank += links[level].span;
            path.previous = next;
            links = next->links;
            next = links[level].next;
        }
        path.links[level] = &links[level];
        path.ranks[level] = rank;
    }
    return path;
}

/* ---- changes ---------------------------------------------------------------------------------- */

/* Levels that were not used so far: from the head to the end. */
static void raise_to(struct skiplist *self, uint32_t height) {
    for (; self->height < height; self->height++) {
        self->head[self->height] = (struct link){.next = NULL, .span = self->count};
    }
}

void skiplist_insert(struct skiplist *self, struct node *node) {
    raise_to(self, node->height);
    struct path path = find_path(self, node);
    for (uint32_t level = 0; level < self->height; level++) {
        struct link *link = path.links[level];
        if (level >= node->height) {
            link->span++; /* goes over it */
            continue;
        }
        uint32_t before = path.ranks[0] - path.ranks[level];
        node->links[level] = (struct link){.next = link->next, .span = link->span - before};
        *link = (struct link){.next = node, .span = before + 1};
    }
    node->previous = path.previous;
    struct node *next = skiplist_next(node);
    if (next != NULL) {
        next->previous = node;
    } else {
        self->tail = node;
    }
    self->count++;
}

void skiplist_remove(struct skiplist *self, struct node *node) {
    struct path path = find_path(self, node);
    for (uint32_t level = 0; level < self->height; level++) {
        struct link *link = path.links[level];
        if (level >= node->height) {
            link->span--;
            continue;
        }
        link->next = node->links[level].next;
        link->span += node->links[level].span - 1;
    }
    struct node *next = skiplist_next(node);
    if (next != NULL) {
        next->previous = node->previous;
    } else {
        self->tail = node->previous;
    }
    while (self->height != 0 && self->head[self->height - 1].next == NULL) {
        self->height--;
    }
    self->count--;
}

/* ---- looking ---------------------------------------------------------------------------------- */

uint32_t skiplist_rank(const struct skiplist *self, const struct node *node) {
    const struct link *links = self->head;
    uint32_t rank = 0;
    for (uint32_t level = self->height; level-- > 0;) {
        const struct node *next = links[level].next;
        while (next != NULL && is_before(next, node)) {
            rank += links[level].span;
            links = next->links;
            next = links[level].next;
        }
    }
    return rank;
}

struct node *skiplist_at(const struct skiplist *self, uint64_t rank) {
    const struct link *links = self->head;
    struct node *node = NULL;
    uint64_t left = rank + 1; /* how many nodes further on */
    if (rank >= self->count) {
        return NULL;
    }
    for (uint32_t level = self->height; level-- > 0;) {
        while (links[level].next != NULL && links[level].span <= left) {
            left -= links[level].span;
            node = links[level].next;
            links = node->links;
        }
    }
    return node;
}

struct node *skiplist_last_where(const struct skiplist *self, node_test test, const void *cookie) {
    const struct link *links = self->head;
    struct node *node = NULL;
    for (uint32_t level = self->height; level-- > 0;) {
        while (links[level].next != NULL && test(links[level].next, cookie)) {
            node = links[level].next;
            links = node->links;
        }
    }
    return node;
}
