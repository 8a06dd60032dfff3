/* SPDX-License-Identifier: MIT
 *
 * Arenas: large ranges of address space, reserved once and used from the bottom, that stay mapped
 * for the runtime's life. Messages and actors are named by a 32-bit index into theirs, which fits
 * beside a generation in one 8-byte atomic word, and reading a cell that was freed meanwhile gives
 * stale bytes, never a fault (type stability). Pages that were never touched cost nothing.
 *
 * A piece (weft__arena_grow) is claimed with one atomic addition; pieces given back come from
 * core/pool.c. Any thread.
 */
#ifndef WEFT_CORE_ARENA_H
#define WEFT_CORE_ARENA_H

#include "core/atomic.h"
#include <weft/config.h>
#include <weft/msg.h>

enum { WEFT__CELL_BYTES = 64 };

struct weft__arena {
    /* const after init */
    char *base;
    uint64_t bytes; /* reserved */
    void *mapping;  /* what to unmap: base is aligned up to a huge page */
    uint64_t mapping_bytes;
    uint64_t piece_bytes; /* multiple of the huge page size */
    bool huge_pages;
    const char *tag;
    /* any thread */
    weft_atomic_u64 used; /* bytes handed out, in pieces. Add and read; never shrinks */
};

/* Reserves up to bytes, halving while the system refuses, at least one piece. 0 or -ENOMEM. */
int weft__arena_init(struct weft__arena *arena, uint64_t bytes, uint64_t piece_bytes,
                     const char *tag, bool huge_pages);
/* NULL base is fine. */
void weft__arena_fini(struct weft__arena *arena);
/* Claims one piece; [out] its offset from base. huge: worth a huge page. -ENOMEM when used up or
 * the allocator's commit says no. Any thread. */
int weft__arena_grow(struct weft__arena *arena, const weft_allocator *allocator, bool huge,
                     uint64_t *ret_offset);
/* Tells the system that the pages of [offset, offset + bytes) are not needed; they read as zero
 * afterwards. */
void weft__arena_discard(struct weft__arena *arena, uint64_t offset, uint64_t bytes);

/* Message cell by index. Index 0 to 3 are no messages. */
WEFT_INLINE weft_msg *weft__arena_msg(const struct weft__arena *arena, uint32_t index) {
    return (weft_msg *)(void *)(arena->base + (uint64_t)index * WEFT__CELL_BYTES);
}

WEFT_INLINE uint32_t weft__arena_index(const struct weft__arena *arena, const weft_msg *msg) {
    return (uint32_t)((uint64_t)((const char *)msg - arena->base) / WEFT__CELL_BYTES);
}

#endif
