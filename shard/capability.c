/* SPDX-License-Identifier: MIT
 *
 * Capabilities and where they are: names, who offers them, and which node owns a shard. A name that
 * was ever registered keeps its handle for the life of the runtime; what changes is whether this
 * node offers it. Alone, a node is the only one to offer anything.
 */
#define _GNU_SOURCE 1 /* strnlen */
#include "shard/shard.h"
#include "shard/strategy.h"
#include <stdlib.h>
#include <string.h>

static const char local_name[] = "local";

static weft_capability *find(struct weft__shards *shards, const char *name) {
    uint32_t count = weft_load32_acquire(&shards->capability_count); /* pairs with N1 */
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(shards->capabilities[i]->name, name) == 0) {
            return shards->capabilities[i];
        }
    }
    return NULL;
}

static int check_names(weft_runtime *runtime, const char *const *names, uint32_t count) {
    if (runtime == NULL || (names == NULL && count != 0)) {
        return -EINVAL;
    }
    if (count > WEFT_CAPABILITIES_MAX) {
        return WEFT_E_LIMIT;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t length = names[i] == NULL ? 0 : strnlen(names[i], WEFT_CAPABILITY_NAME_MAX + 1);
        if (length == 0 || length > WEFT_CAPABILITY_NAME_MAX) {
            return -EINVAL;
        }
    }
    return 0;
}

/* The handle of a name, made if there is none. */
static int intern(struct weft__shards *shards, const char *name, weft_capability **ret_capability) {
    weft_capability *capability = find(shards, name);
    if (capability != NULL) {
        *ret_capability = capability;
        return 0;
    }
    weft_capability *made = weft__alloc(shards->core, sizeof(*made), "capability");
    if (made == NULL) {
        return -ENOMEM;
    }
    made->magic = WEFT__CAPABILITY_MAGIC;
    made->shards = shards;
    memcpy(made->name, name, strlen(name) + 1);
    int result = 0;
    weft__lock_enter(&shards->lock, shards->core->env);
    uint32_t count = weft_load32_relaxed(&shards->capability_count); /* changes under this lock */
    capability = find(shards, name);
    if (capability == NULL && count == WEFT_CAPABILITIES_MAX) {
        result = WEFT_E_LIMIT;
    } else if (capability == NULL) {
        made->index = count;
        shards->capabilities[count] = made;
        /* N1: publishes the capability; pairs with the load in find. */
        weft_store32_release(&shards->capability_count, count + 1);
        capability = made;
        made = NULL;
    }
    weft__lock_leave(&shards->lock);
    if (made != NULL) {
        weft__free(shards->core, made, sizeof(*made), "capability");
    }
    *ret_capability = capability;
    return result;
}

int weft_capability_register(weft_runtime *runtime, const char *const *names, uint32_t count) {
    struct weft__shards *shards = NULL;
    weft_capability *capability;
    int result = check_names(runtime, names, count);
    if (result == 0) {
        result = weft__shards_get(runtime, &shards);
    }
    for (uint32_t i = 0; i < count && result == 0; i++) {
        result = intern(shards, names[i], &capability);
    }
    for (uint32_t i = 0; i < count && result == 0; i++) {
        weft_store32_release(&find(shards, names[i])->offered, 1);
    }
    return result;
}

int weft_capability_add(weft_runtime *runtime, const char *name,
                        const weft_capability **ret_capability) {
    int result = weft_capability_register(runtime, &name, 1);
    if (result == 0 && ret_capability != NULL) {
        *ret_capability = weft_capability_find(runtime, name);
    }
    return result;
}

/* Tells all actors of a capability to go. Bounded by the activations of this node; a table at a
 * time, on the calling thread. */
static int evict(struct weft__shards *shards, const weft_capability *capability) {
    weft_vcursor *cursor = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int result = weft_vcursor_create(shards->runtime, NULL, &cursor);
    while (result == 0 && (result = weft_vcursor_next(cursor, &entry)) == 1) {
        uint64_t target = weft__target(entry.pid);
        result = 0;
        WEFT__POINT(shards->core, WEFT__POINT_OFFER);
        if (entry.capability == capability) {
            struct weft__scheduler *s = weft__scheduler_current();
            s = s != NULL && s->runtime == shards->runtime && s->current != NULL ? s : NULL;
            result = weft__ask_to_leave(shards->runtime, s, target, WEFT_E_REBALANCING);
            result = result == WEFT_E_NOPROC ? 0 : result; /* gone by itself */
        }
    }
    weft_vcursor_destroy(&cursor);
    return result;
}

static int unregister(struct weft__shards *shards, weft_capability *capability) {
    (void)weft_exchange32_acq_rel(&capability->offered, 0);
    WEFT__POINT(shards->core, WEFT__POINT_OFFER);
    int result = evict(shards, capability);
    weft__crashes_drop(shards, capability);
    return result;
}

int weft_capability_unregister(weft_runtime *runtime, const char *const *names, uint32_t count) {
    if (runtime == NULL || (names == NULL && count != 0)) {
        return -EINVAL;
    }
    struct weft__shards *shards = weft__shards_of(runtime);
    int result = 0;
    for (uint32_t i = 0; i < count && shards != NULL && result == 0; i++) {
        weft_capability *capability = names[i] == NULL ? NULL : find(shards, names[i]);
        result = capability == NULL ? 0 : unregister(shards, capability);
    }
    return result;
}

static bool is_listed(const char *name, const char *const *names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

int weft_capability_replace(weft_runtime *runtime, const char *const *names, uint32_t count) {
    int result = check_names(runtime, names, count);
    struct weft__shards *shards = result == 0 ? weft__shards_of(runtime) : NULL;
    uint32_t known = shards == NULL ? 0 : weft_load32_acquire(&shards->capability_count); /* N1 */
    for (uint32_t i = 0; i < known && result == 0; i++) {
        weft_capability *capability = shards->capabilities[i];
        if (!is_listed(capability->name, names, count)) {
            result = unregister(shards, capability);
        }
    }
    return result != 0 ? result : weft_capability_register(runtime, names, count);
}

const weft_capability *weft_capability_find(weft_runtime *runtime, const char *name) {
    struct weft__shards *shards = runtime == NULL || name == NULL ? NULL : weft__shards_of(runtime);
    return shards == NULL ? NULL : find(shards, name);
}

const char *weft_capability_name(const weft_capability *capability) {
    weft_assert(capability->magic == WEFT__CAPABILITY_MAGIC);
    return capability->name;
}

static bool is_offered(const weft_capability *capability) {
    return weft_load32_acquire(&capability->offered) != 0;
}

static int compare_names(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int weft_all_capabilities(weft_runtime *runtime, const char **ret_names, uint32_t max) {
    if (runtime == NULL || (ret_names == NULL && max != 0)) {
        return -EINVAL;
    }
    struct weft__shards *shards = weft__shards_of(runtime);
    uint32_t known = shards == NULL ? 0 : weft_load32_acquire(&shards->capability_count); /* N1 */
    if (known == 0) {
        return 0;
    }
    size_t bytes = known * sizeof(const char *);
    const char **names = weft__alloc(shards->core, bytes, "names"); /* lives in this call only */
    if (names == NULL) {
        return -ENOMEM;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < known; i++) {
        if (is_offered(shards->capabilities[i])) {
            names[count++] = shards->capabilities[i]->name;
        }
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (uint32_t i = 0; i < count && i < max; i++) {
        ret_names[i] = names[i];
    }
    weft__free(shards->core, names, bytes, "names");
    return (int)count;
}

/* ---- nodes --------------------------------------------------------------------------------- */

const char *weft_node_name(const weft_runtime *runtime) {
    (void)runtime;
    return local_name;
}

int weft_nodes_for(weft_runtime *runtime, const char *capability, const char **ret_nodes,
                   uint32_t max) {
    if (runtime == NULL || capability == NULL || (ret_nodes == NULL && max != 0)) {
        return -EINVAL;
    }
    const weft_capability *known = weft_capability_find(runtime, capability);
    if (known == NULL || !is_offered(known)) {
        return 0;
    }
    if (max > 0) {
        ret_nodes[0] = weft_node_name(runtime);
    }
    return 1;
}

/* Which of the nodes has a shard: an index, or WEFT__NO_OWNER. There is one node. */
static uint32_t owner_of(const struct weft__shards *shards, uint32_t shard,
                         const char *capability) {
    const weft_runtime *runtime = shards->runtime;
    bool custom = shards->custom != NULL;
    weft_shard_node node = {.name = weft_node_name(runtime),
                            .weight = runtime->config.shard_weight};
    weft_placement placement = {
        .shards = weft_shard_count(runtime),
        .strategy = custom ? WEFT_STRATEGY_CUSTOM : runtime->config.shard_strategy,
        .capability = capability,
        .nodes = &node,
        .node_count = 1,
        .custom = shards->custom,
        .cookie = shards->cookie,
    };
    return weft__placement_owner(&placement, shard);
}

int weft__placement_refuses(const struct weft__shards *shards, const struct weft__vkey *key) {
    const char *capability = shards->capabilities[key->name >> 16]->name;
    return owner_of(shards, key->shard, capability) == WEFT__NO_OWNER ? -EINVAL : 0;
}

int weft_owner_node(weft_runtime *runtime, uint32_t shard, const char *capability,
                    const char **ret_node) {
    if (runtime == NULL || capability == NULL || ret_node == NULL ||
        shard >= weft_shard_count(runtime)) {
        return -EINVAL;
    }
    const char *nodes[1];
    if (weft_nodes_for(runtime, capability, nodes, 1) == 0) {
        return WEFT_E_NOCAPABILITY;
    }
    uint32_t owner = owner_of(weft__shards_of(runtime), shard, capability);
    if (owner == WEFT__NO_OWNER) {
        return -EINVAL;
    }
    *ret_node = nodes[owner];
    return 0;
}

int weft_strategy_set(weft_runtime *runtime, weft_strategy_fn custom, void *cookie) {
    if (runtime == NULL || custom == NULL) {
        return -EINVAL;
    }
    if (weft__phase(runtime) != WEFT__RUNTIME_CREATED) {
        return -EALREADY;
    }
    struct weft__shards *shards;
    int result = weft__shards_get(runtime, &shards);
    if (result == 0) {
        shards->custom = custom;
        shards->cookie = cookie;
    }
    return result;
}

uint32_t weft_shard_count(const weft_runtime *runtime) {
    return runtime->config.shards;
}

uint32_t weft_shard_for(const weft_runtime *runtime, const void *id, size_t id_size) {
    return weft_shard_of((enum weft_shard_hash)runtime->config.shard_hash, id, id_size,
                         runtime->config.shards);
}
