/* SPDX-License-Identifier: MIT
 *
 * Message cells for the models of the mailbox: a few, taken lowest first, so that a cell that was
 * given back is in use again at once (the cases behind I2 and I3 of sched/mailbox.h). A cell given
 * back is poisoned, and its seq is what another mailbox might have left there.
 *
 * In the variants "plain" (explore_atomic.h) the plain fields of a message are steps.
 */
#ifndef TESTS_MODEL_CELLS_H
#define TESTS_MODEL_CELLS_H

#include "sched/mailbox.h"
#include "tests/model/explore.h"

enum { CELLS_MAX = 4, CELLS_POISON = 0xdead, CELLS_FOREIGN_SEQ = 70 };

struct cells {
    alignas(64) weft_msg msgs[CELLS_MAX];
    uint32_t free;  /* a bit per cell that may be taken */
    uint32_t given; /* a bit per cell that is not in use */
    uint32_t count; /* const after init */
    bool reuse;     /* const after init */
};

static struct weft__arena arena; /* const after init */
static struct cells *cells;

#ifdef MUTATE_PLAIN
#define CELL_PLAIN(FIELD) (*explore_plain(&(FIELD)))
#else
#define CELL_PLAIN(FIELD) (FIELD)
#endif

static void cells_init(struct cells *it, uint32_t count, bool reuse) {
    static const char *const names[CELLS_MAX] = {"cell 4", "cell 5", "cell 6", "cell 7"};
    cells = it;
    cells->count = count;
    cells->reuse = reuse;
    cells->free = (1u << count) - 1;
    cells->given = cells->free;
    uint64_t below = (uint64_t)WEFT__MAILBOX_FIRST * WEFT__CELL_BYTES;
    arena.base = (char *)((uintptr_t)cells->msgs - below);
    for (uint32_t i = 0; i < count; i++) {
        explore_name(&cells->msgs[i], sizeof cells->msgs[i], names[i]);
    }
}

static inline bool cells_any(uint32_t thread) {
    (void)thread;
    return cells->free != 0;
}

/* Waits for one. tag: what the message says. */
static inline uint32_t cells_take(uint32_t tag) {
    explore_wait(cells_any, "for a cell");
    uint32_t bit = (uint32_t)__builtin_ctz(cells->free);
    cells->free &= ~(1u << bit);
    cells->given &= ~(1u << bit);
    CELL_PLAIN(cells->msgs[bit].weft__tag) = tag;
    return bit + WEFT__MAILBOX_FIRST;
}

static inline weft_msg *cells_at(uint32_t index) {
    EXPLORE_CHECK(index - WEFT__MAILBOX_FIRST < cells->count, "no cell of ours");
    return weft__arena_msg(&arena, index);
}

static inline void cells_give(uint32_t index) {
    uint32_t bit = index - WEFT__MAILBOX_FIRST;
    weft_msg *msg = cells_at(index);
    EXPLORE_CHECK((cells->given >> bit & 1) == 0, "freed twice");
    CELL_PLAIN(msg->weft__tag) = CELLS_POISON;
    CELL_PLAIN(msg->weft__next) = CELLS_POISON;
    cells->given |= 1u << bit;
    if (cells->reuse) {
        msg->weft__seq = CELLS_FOREIGN_SEQ;
        cells->free |= 1u << bit;
    }
}

static inline uint32_t cells_tag(uint32_t index) {
    return CELL_PLAIN(cells_at(index)->weft__tag);
}

static inline uint32_t cells_next(uint32_t index) {
    return CELL_PLAIN(cells_at(index)->weft__next);
}

static inline uint32_t cells_seq(uint32_t index) {
    return cells_at(index)->weft__seq;
}

static inline bool cells_all_free(void) {
    return cells->given == (1u << cells->count) - 1;
}

#endif
