/* SPDX-License-Identifier: MIT
 *
 * Address-space arenas on mmap: see core/arena.h. The reservation is MAP_NORESERVE, so it counts
 * against no memory limit until touched; where the address space itself is limited (ulimit -v,
 * strict overcommit, a checker) a smaller one is taken.
 */
#define _GNU_SOURCE
#include "core/arena.h"
#include <errno.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

int weft__arena_init(struct weft__arena *arena, uint64_t bytes, uint64_t piece_bytes,
                     const char *tag, bool huge_pages) {
    weft_assert(piece_bytes % HUGE_PAGE_BYTES == 0);
    bytes = weft_max_u64(bytes - bytes % piece_bytes, piece_bytes);
    void *mapping;
    for (;;) {
        mapping = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping != MAP_FAILED || bytes == piece_bytes) {
            break;
        }
        bytes = weft_max_u64(bytes / 2 - bytes / 2 % piece_bytes, piece_bytes);
    }
    if (mapping == MAP_FAILED) {
        return -ENOMEM;
    }
    uintptr_t aligned =
        ((uintptr_t)mapping + HUGE_PAGE_BYTES - 1) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1);
    *arena = (struct weft__arena){
        .base = (char *)aligned,
        .bytes = bytes,
        .mapping = mapping,
        .mapping_bytes = bytes + HUGE_PAGE_BYTES,
        .piece_bytes = piece_bytes,
        .huge_pages = huge_pages,
        .tag = tag,
    };
    return 0;
}

void weft__arena_fini(struct weft__arena *arena) {
    if (arena->mapping != NULL) {
        (void)munmap(arena->mapping, arena->mapping_bytes); /* fails only for bad arguments */
    }
    *arena = (struct weft__arena){0};
}

int weft__arena_grow(struct weft__arena *arena, const weft_allocator *allocator, bool huge,
                     uint64_t *ret_offset) {
    if (weft_load64_relaxed(&arena->used) + arena->piece_bytes > arena->bytes) {
        return -ENOMEM; /* nothing to commit; the loop below decides */
    }
    if (allocator->commit != NULL &&
        allocator->commit(allocator->cookie, arena->piece_bytes, arena->tag) < 0) {
        return -ENOMEM;
    }
    uint64_t offset = weft_load64_relaxed(&arena->used);
    do {
        if (offset + arena->piece_bytes > arena->bytes) {
            return -ENOMEM;
        }
    } while (!weft_cas64_acq_rel(&arena->used, &offset, offset + arena->piece_bytes));
    if (huge && arena->huge_pages) {
        /* Advice: fewer page faults while millions of cells are touched for the first time. */
        (void)madvise(arena->base + offset, arena->piece_bytes, MADV_HUGEPAGE);
    }
    *ret_offset = offset;
    return 0;
}

void weft__arena_discard(struct weft__arena *arena, uint64_t offset, uint64_t bytes) {
    (void)madvise(arena->base + offset, bytes, MADV_DONTNEED); /* advice */
}
