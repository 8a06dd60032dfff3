/* SPDX-License-Identifier: MIT
 *
 * The shared part of a runtime: see core/core.h. Called by sched/runtime.c at creation and
 * destruction, and by everything that allocates.
 */
#include "core/core.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *default_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    return malloc(size);
}

static void default_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

void *weft__alloc_raw(const weft_allocator *allocator, size_t size, const char *tag) {
    return allocator->alloc == NULL ? default_alloc(NULL, size, tag)
                                    : allocator->alloc(allocator->cookie, size, tag);
}

int weft__core_init(struct weft__core *core, const weft_config *config, weft_env *env) {
    memset(core, 0, sizeof(*core));
    core->env = env;
    core->allocator = config->allocator;
    if (core->allocator.alloc == NULL) {
        core->allocator.alloc = default_alloc;
        core->allocator.free = default_free;
    }
    core->log = config->log;
    core->log_level = config->log_level;
    env->random(env, &core->seed, sizeof(core->seed));
    weft_assert(config->arena_bytes / WEFT__CELL_BYTES <= (uint64_t)UINT32_MAX + 1); /* indices */
    int result = weft__arena_init(&core->messages, config->arena_bytes, WEFT__PIECE_BYTES,
                                  "messages", !config->huge_pages_none);
    if (result != 0) {
        return result;
    }
    core->free_piece_max = (uint32_t)(core->messages.bytes / WEFT__PIECE_BYTES);
    core->free_pieces = weft__alloc(core, core->free_piece_max * sizeof(uint32_t), "pieces");
    core->piece_counts = weft__alloc(core, core->free_piece_max * sizeof(uint32_t), "pieces");
    if (core->free_pieces == NULL || core->piece_counts == NULL) {
        weft__core_fini(core);
        return -ENOMEM;
    }
    return 0;
}

void weft__core_fini(struct weft__core *core) {
    weft__free(core, core->free_pieces, core->free_piece_max * sizeof(uint32_t), "pieces");
    weft__free(core, core->piece_counts, core->free_piece_max * sizeof(uint32_t), "pieces");
    core->free_pieces = NULL;
    core->piece_counts = NULL;
    weft__arena_fini(&core->messages);
}

void *weft__alloc(struct weft__core *core, size_t size, const char *tag) {
    void *memory = core->allocator.alloc(core->allocator.cookie, size, tag);
    if (memory == NULL) {
        return NULL;
    }
    memset(memory, 0, size);
    (void)weft_add64_acq_rel(&core->heap_bytes, size);
    return memory;
}

void weft__free(struct weft__core *core, void *memory, size_t size, const char *tag) {
    if (memory == NULL) {
        return;
    }
    (void)weft_add64_acq_rel(&core->heap_bytes, (uint64_t)0 - size);
    core->allocator.free(core->allocator.cookie, memory, size, tag);
}

/* The allocator knows no alignment: a little more, with its address just before what is used. */
enum { ALIGN_BYTES = WEFT_CACHELINE + sizeof(char *) };

void *weft__alloc_aligned(struct weft__core *core, size_t size, const char *tag) {
    char *memory = weft__alloc(core, size + ALIGN_BYTES, tag);
    if (memory == NULL) {
        return NULL;
    }
    uintptr_t first = (uintptr_t)memory + sizeof(char *);
    uintptr_t at = (first + WEFT_CACHELINE - 1) & ~(uintptr_t)(WEFT_CACHELINE - 1);
    memcpy((char *)at - sizeof(memory), &memory, sizeof(memory));
    return (void *)at;
}

void weft__free_aligned(struct weft__core *core, void *memory, size_t size, const char *tag) {
    if (memory != NULL) {
        char *original;
        memcpy(&original, (char *)memory - sizeof(original), sizeof(original));
        weft__free(core, original, size + ALIGN_BYTES, tag);
    }
}

int weft__grow(struct weft__core *core, void **memory, size_t old_size, size_t new_size,
               const char *tag) {
    void *bigger = weft__alloc(core, new_size, tag);
    if (bigger == NULL) {
        return -ENOMEM;
    }
    if (old_size != 0) {
        memcpy(bigger, *memory, old_size);
    }
    weft__free(core, *memory, old_size, tag);
    *memory = bigger;
    return 0;
}

void weft__log(struct weft__core *core, enum weft_log_level level, const char *name,
               const weft_log_field *fields, uint32_t field_count) {
    if (core->log.cb == NULL || (uint32_t)level > core->log_level) {
        return;
    }
    weft_log_event event = {
        .name = name,
        .mono_ns = core->env->now_mono_ns(core->env),
        .wall_ns = core->env->now_wall_ns(core->env),
        .fields = fields,
        .field_count = field_count,
    };
    core->log.cb(core->log.cookie, level, &event);
}
