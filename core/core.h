/* SPDX-License-Identifier: MIT
 *
 * What every part of one runtime shares: environment, allocator, message arena, log. First member
 * of weft_runtime; const after init except where said.
 */
#ifndef WEFT_CORE_CORE_H
#define WEFT_CORE_CORE_H

#include "core/arena.h"
#include "core/lock.h"
#include <weft/config.h>
#include <weft/env.h>

enum { WEFT__PIECE_BYTES = 2 << 20 }; /* of the message arena: one huge page */

struct weft__core {
    /* const after init */
    weft_env *env;
    weft_allocator allocator;
    weft_log_hook log;
    uint32_t log_level;
    uint64_t seed;
    struct weft__arena messages;
    /* any thread */
    weft_atomic_u64 heap_bytes; /* added by any thread; advisory: a gauge */
    weft_atomic_u64 buffers;    /* added by any thread; advisory: a gauge */
    weft_atomic_u32
        held; /* things of a program's that use this core; any thread adds. It may go at 0 */
    weft_atomic_u32 pressure; /* counts failures to get a piece; schedulers that see it move trim */
    struct weft__lock pieces_lock;
    uint32_t *free_pieces; /* under pieces_lock: offsets / WEFT__PIECE_BYTES given back */
    uint32_t free_piece_count;
    uint32_t free_piece_max;
    uint32_t *piece_counts; /* per piece, only its pool's owner: scratch of a trim */
};

/* Fills core from a resolved config. On error nothing is left. */
int weft__core_init(struct weft__core *core, const weft_config *config, weft_env *env);
void weft__core_fini(struct weft__core *core);

/* Counted memory through the allocator; zeroed. NULL on failure. Any thread. */
void *weft__alloc(struct weft__core *core, size_t size, const char *tag);
/* NULL memory is allowed. size and tag as given to weft__alloc. */
void weft__free(struct weft__core *core, void *memory, size_t size, const char *tag);
/* Memory of an allocator (NULL alloc: malloc) before there is a core; not zeroed, not counted. */
void *weft__alloc_raw(const weft_allocator *allocator, size_t size, const char *tag);
/* The same at the start of a cache line. */
void *weft__alloc_aligned(struct weft__core *core, size_t size, const char *tag);
void weft__free_aligned(struct weft__core *core, void *memory, size_t size, const char *tag);
/* Grows an array, keeping its contents; *memory is untouched on failure. 0 or -ENOMEM. */
int weft__grow(struct weft__core *core, void **memory, size_t old_size, size_t new_size,
               const char *tag);

WEFT_INLINE uint64_t weft__now(const struct weft__core *core) {
    return core->env->now_mono_ns(core->env);
}

/* Hands an event to the log hook if level is wanted. fields [borrow]. Any thread. */
void weft__log(struct weft__core *core, enum weft_log_level level, const char *name,
               const weft_log_field *fields, uint32_t field_count);

#endif
