/* SPDX-License-Identifier: MIT
 *
 * Memory that fails: an allocator that refuses the n-th request, or all from then on, counts what is
 * out, and checks that what comes back is what went. For tests of what happens without memory.
 */
#ifndef WEFT_TESTS_UNIT_MEMORY_SUPPORT_H
#define WEFT_TESTS_UNIT_MEMORY_SUPPORT_H

#include "tests/unit/support.h"

#include <stdatomic.h>

struct memory {
    _Atomic uint64_t fail_at; /* which request fails, from 1; 0: none */
    bool fail_further;        /* and all after it */
    _Atomic uint64_t requests;
    _Atomic uint64_t failed;
    _Atomic int64_t blocks;
    _Atomic int64_t bytes;
};

/* In front of each block. */
struct memory_header {
    size_t size;
    const char *tag;
};

static inline bool memory_fails(struct memory *memory) {
    uint64_t number = atomic_fetch_add(&memory->requests, 1) + 1;
    uint64_t fail_at = atomic_load(&memory->fail_at);
    bool fail = fail_at != 0 && (number == fail_at || (memory->fail_further && number > fail_at));
    if (fail) {
        atomic_fetch_add(&memory->failed, 1);
    }
    return fail;
}

static inline void *memory_alloc(void *cookie, size_t size, const char *tag) {
    struct memory *memory = cookie;
    if (memory_fails(memory)) {
        return NULL;
    }
    struct memory_header *header = malloc(sizeof(*header) + size);
    ck_assert_ptr_nonnull(header);
    *header = (struct memory_header){.size = size, .tag = tag};
    memset(header + 1, 0xa5, size);
    atomic_fetch_add(&memory->blocks, 1);
    atomic_fetch_add(&memory->bytes, (int64_t)size);
    return header + 1;
}

static inline void memory_free(void *cookie, void *block, size_t size, const char *tag) {
    struct memory *memory = cookie;
    struct memory_header *header = (struct memory_header *)block - 1;
    ck_assert_msg(header->size == size && strcmp(header->tag, tag) == 0,
                  "%zu bytes of %s freed as %zu of %s", header->size, header->tag, size, tag);
    atomic_fetch_sub(&memory->blocks, 1);
    atomic_fetch_sub(&memory->bytes, (int64_t)size);
    memset(block, 0x5a, size);
    free(header);
}

static inline int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)size;
    (void)tag;
    return memory_fails(cookie) ? -ENOMEM : 0;
}

/* A runtime small enough to be tried for every n. */
static inline weft_config memory_config(struct memory *memory) {
    weft_config config = rig_config(2);
    config.blocking_threads = 1;
    config.ring_size = 16;
    config.allocator = (weft_allocator){
        .cookie = memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    return config;
}

#endif
