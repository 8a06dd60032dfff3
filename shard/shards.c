/* SPDX-License-Identifier: MIT
 *
 * The state of the virtual actors of one runtime, and the kinds of actors in it. It is made by
 * whoever registers the first capability and goes with the runtime.
 */
#include "shard/shard.h"

static void kind_destroy(struct weft__shards *shards, struct weft__kind *kind) {
    weft__ages_fini(shards, kind);
    weft__free_aligned(shards->core, kind, sizeof(*kind), "kind");
}

static void destroy_kinds(struct weft__shards *shards) {
    for (uint32_t i = 0; i < WEFT__TYPES_MAX; i++) {
        struct weft__kind *kind =
            (struct weft__kind *)(uintptr_t)weft_load64_relaxed(&shards->kinds[i]);
        if (kind != NULL) {
            kind_destroy(shards, kind);
        }
    }
}

/* Nobody else uses it any more: hence the relaxed loads, here and in what it calls. */
static void shards_destroy(struct weft__shards *shards) {
    if (shards == NULL) {
        return;
    }
    weft__memories_fini(shards);
    weft__crashes_fini(shards);
    destroy_kinds(shards);
    for (uint32_t i = 0; i < weft_load32_relaxed(&shards->capability_count); i++) {
        weft_assert(shards->capabilities[i]->magic == WEFT__CAPABILITY_MAGIC);
        shards->capabilities[i]->magic = 0;
        weft__free(shards->core, shards->capabilities[i], sizeof(weft_capability), "capability");
    }
    weft__arena_fini(&shards->records);
    weft__arena_fini(&shards->arrays.arena);
    weft__free(shards->core, shards->subs, shards->sub_count * sizeof(*shards->subs), "subtables");
    weft__free(shards->core, shards->sub_arrays, shards->sub_count * sizeof(*shards->sub_arrays),
               "subtables");
    weft__free(shards->core, shards, sizeof(*shards), "shards");
}

static void virtual_destroy(weft_runtime *runtime) {
    shards_destroy(runtime->shards);
    runtime->shards = NULL;
}

static const struct weft__virtual_calls virtual_calls = {
    .begin = weft__virtual_begin,
    .stored = weft__virtual_stored,
    .passivate = weft__virtual_passivate,
    .closing = weft__virtual_closing,
    .end = weft__virtual_end,
    .destroy = virtual_destroy,
};

/* Subtables of one shard: enough for WEFT__SUBTABLES in all. */
static uint32_t sub_bits_of(uint32_t shards) {
    uint32_t bits = 4;
    _Static_assert(WEFT__SUBTABLES_SHARD == 1 << 4, "the least number of bits");
    while ((uint64_t)shards << bits < WEFT__SUBTABLES) {
        bits++;
    }
    return bits;
}

static int make_memory(struct weft__shards *shards) {
    weft_runtime *runtime = shards->runtime;
    bool huge = !runtime->config.huge_pages_none;
    uint64_t slots = runtime->slots.bytes / sizeof(struct weft_ctx);
    int result = weft__arena_init(&shards->records, slots * sizeof(struct weft__record),
                                  WEFT__ARRAY_PIECE_BYTES, "records", huge);
    if (result == 0) {
        /* Three eighths full at least once there are many, so 22 bytes an actor; small arrays and
         * those waiting for their next use beside that. */
        result = weft__arena_init(&shards->arrays.arena, slots * 64 + (64ull << 20),
                                  WEFT__ARRAY_PIECE_BYTES, "tables", huge);
    }
    if (result != 0) {
        return result;
    }
    shards->sub_count = shards->count << shards->sub_bits;
    shards->subs =
        weft__alloc(shards->core, shards->sub_count * sizeof(*shards->subs), "subtables");
    shards->sub_arrays =
        weft__alloc(shards->core, shards->sub_count * sizeof(*shards->sub_arrays), "subtables");
    return shards->subs == NULL || shards->sub_arrays == NULL ? -ENOMEM : 0;
}

static int shards_create(weft_runtime *runtime, struct weft__shards **ret_shards) {
    struct weft__shards *shards = weft__alloc(&runtime->core, sizeof(*shards), "shards");
    if (shards == NULL) {
        return -ENOMEM;
    }
    shards->runtime = runtime;
    weft_store64_relaxed(&shards->keeper_due, UINT64_MAX); /* H1 publishes it all */
    shards->core = &runtime->core;
    shards->count = runtime->config.shards;
    shards->hash = (enum weft_shard_hash)runtime->config.shard_hash;
    if (shards->hash == WEFT_SHARD_HASH_XXH3 && weft_is_pow2(shards->count)) {
        shards->mask = shards->count - 1;
    }
    shards->sub_bits = sub_bits_of(shards->count);
    weft_assert(shards->count != 0);
    weft_env *env = runtime->core.env;
    env->random(env, shards->hash_key.secret, sizeof(shards->hash_key.secret));
    int result = make_memory(shards);
    if (result != 0) {
        shards_destroy(shards);
        return result;
    }
    *ret_shards = shards;
    return 0;
}

struct weft__shards *weft__shards_of(weft_runtime *runtime) {
    /* Pairs with H1. */
    return (struct weft__shards *)(uintptr_t)weft_load64_acquire(&runtime->shards_shown);
}

int weft__shards_get(weft_runtime *runtime, struct weft__shards **ret_shards) {
    struct weft__shards *shards = weft__shards_of(runtime);
    int result = 0;
    if (shards == NULL) {
        struct weft__shards *made;
        result = shards_create(runtime, &made);
        if (result != 0) {
            return result;
        }
        weft__lock_enter(&runtime->upper_lock, runtime->core.env);
        shards = runtime->shards;
        if (shards == NULL) {
            shards = made;
            runtime->shards = made;
            runtime->virtuals = &virtual_calls;
            /* H1: publishes the shards; pairs with the load in weft__shards_of. */
            weft_store64_release(&runtime->shards_shown, (uint64_t)(uintptr_t)made);
            made = NULL;
        }
        weft__lock_leave(&runtime->upper_lock);
        shards_destroy(made);
    }
    *ret_shards = shards;
    return 0;
}

/* ---- kinds --------------------------------------------------------------------------------- */

static struct weft__kind *kind_at(struct weft__shards *shards, uint32_t id) {
    /* Pairs with K1. */
    return (struct weft__kind *)(uintptr_t)weft_load64_acquire(&shards->kinds[id]);
}

static WEFT_NOINLINE struct weft__kind *kind_make(struct weft__shards *shards,
                                                  const weft_type *type) {
    struct weft__kind *made = weft__alloc_aligned(shards->core, sizeof(*made), "kind");
    if (made == NULL) {
        return NULL;
    }
    made->type = type;
    if (weft__ages_init(shards, made) != 0) {
        kind_destroy(shards, made);
        return NULL;
    }
    weft__lock_enter(&shards->lock, shards->core->env);
    struct weft__kind *kind = kind_at(shards, type->id);
    if (kind == NULL) {
        kind = made;
        made = NULL;
        if (kind->stripes != NULL) {
            /* Relaxed: it changes under this lock. */
            kind->next = (struct weft__kind *)(uintptr_t)weft_load64_relaxed(&shards->policies);
            /* K2: publishes the kind among those with a policy; pairs with the load in keeper.c. */
            weft_store64_release(&shards->policies, (uint64_t)(uintptr_t)kind);
        }
        /* K1: publishes the kind; pairs with the load in kind_at. */
        weft_store64_release(&shards->kinds[type->id], (uint64_t)(uintptr_t)kind);
    }
    weft__lock_leave(&shards->lock);
    if (made != NULL) {
        kind_destroy(shards, made);
    }
    return kind;
}

struct weft__kind *weft__kind_of(struct weft__shards *shards, const weft_type *type) {
    weft_assert(type->id < WEFT__TYPES_MAX);
    struct weft__kind *kind = kind_at(shards, type->id);
    return weft_likely(kind != NULL) ? kind : kind_make(shards, type);
}
