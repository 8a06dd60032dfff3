/* SPDX-License-Identifier: MIT
 *
 * Shards: which node an id belongs to. An id has a shard, by a hash that is the same everywhere and
 * in every version; a strategy gives each shard of each capability to one of the nodes that offer
 * it. A strategy is a pure function of what it is given, so all nodes that see the same nodes agree
 * without a coordinator.
 *
 * Stability: unstable until there are clusters; structs are append-only.
 */
#ifndef WEFT_SHARD_H
#define WEFT_SHARD_H

#include <weft/runtime.h>

WEFT_BEGIN_DECLS

enum { WEFT_SHARDS_MAX = 65536, WEFT_NODES_MAX = 4096, WEFT_NODE_NAME_MAX = 255 };

/* shard.hash: how an id becomes a shard. */
enum weft_shard_hash {
    WEFT_SHARD_HASH_DEFAULT = 0,
    WEFT_SHARD_HASH_XXH3 = 1,   /* XXH3_64bits(id) mod shards; XXH3 of 0 bytes is
                                   0x2d06800538d394c2 */
    WEFT_SHARD_HASH_PHASH2 = 2, /* erlang:phash2(Id, Shards) of a binary */
};

/* shard.strategy: how shards are given to nodes. */
enum weft_shard_strategy {
    WEFT_STRATEGY_DEFAULT = 0,
    WEFT_STRATEGY_RENDEZVOUS = 1, /* weighted highest random weight (Thaler and Ravishankar 1998;
                                     weights by -w / ln h): no shard moves between nodes that stay.
                                     The default. How even it is depends on the names: of 8 nodes
                                     0.13 % of the sets of names measured put more than 1.1 times
                                     the mean on one (worst 1.115), of 16 17 % (docs/sharding.md) */
    WEFT_STRATEGY_BOUNDED = 2,    /* the same, but no node gets more than 1.1 times its share (plus
                                     one shard), whatever its name is: for who relies on 1.1.
                                     docs/sharding.md says what that moves more */
    WEFT_STRATEGY_MODULO = 3,     /* nodes[shard mod count]: moves nearly everything */
    WEFT_STRATEGY_CUSTOM = 4,     /* weft_strategy_set */
};

/* A node as strategies see it. */
typedef struct weft_shard_node {
    const char *name;
    uint32_t weight; /* 1..10000; 0 counts as 1 */
} weft_shard_node;

/* The owner of a shard: an index below count (above 0). nodes are sorted by name and distinct. Must
 * be pure: same arguments, same answer, on every node. Any thread.
 * An answer that is not below count names no node: the shard is nobody's. weft_placement_compute and
 * weft_owner_node answer -EINVAL then, and so does a message that would activate an actor of it. */
typedef uint32_t (*weft_strategy_fn)(void *cookie, uint32_t shard, const char *capability,
                                     const weft_shard_node *nodes, uint32_t count);

/* What a map of shards to nodes is computed from. */
typedef struct weft_placement {
    size_t struct_size; /* WEFT_PLACEMENT_INIT */
    uint32_t shards;    /* 1..WEFT_SHARDS_MAX */
    uint32_t strategy;  /* enum weft_shard_strategy */
    const char *capability;
    const weft_shard_node *nodes; /* sorted by name (strcmp), distinct */
    uint32_t node_count;          /* 1..WEFT_NODES_MAX */
    weft_strategy_fn custom;      /* for WEFT_STRATEGY_CUSTOM */
    void *cookie;
} weft_placement;

#define WEFT_PLACEMENT_INIT sizeof(weft_placement)

/* The whole map: ret_owners[shard] is an index into nodes. Pure. Errors: -EINVAL (also an answer of
 * custom that is not below node_count), -ENOMEM. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_placement_compute(const weft_placement *placement,
                                                 uint32_t *ret_owners);

/* The shard of an id, for any number of shards. Pure. Any thread. */
WEFT_API uint32_t weft_shard_of(enum weft_shard_hash hash, const void *id, size_t id_size,
                                uint32_t shards);

/* ---- of a runtime -------------------------------------------------------------------------- */

/* Uses a strategy of the program's own. Before start; cookie must outlive the runtime. -EINVAL,
 * -EALREADY (started). */
WEFT_API int weft_strategy_set(weft_runtime *runtime, weft_strategy_fn custom, void *cookie);

/* shard.count. */
WEFT_API uint32_t weft_shard_count(const weft_runtime *runtime);
/* The shard of an id, 0..count-1. Any thread. */
WEFT_API uint32_t weft_shard_for(const weft_runtime *runtime, const void *id, size_t id_size);

/* The nodes that offer a capability, sorted: fills at most max names, returns how many there are; 0
 * for an unknown name. The strings live as long as the runtime. Any thread. */
WEFT_API int weft_nodes_for(weft_runtime *runtime, const char *capability, const char **ret_nodes,
                            uint32_t max);
/* The node that owns a shard of a capability [out]; the string lives as long as the runtime.
 * -EINVAL (no such shard, or the strategy gave it to no node), WEFT_E_NOCAPABILITY. Any thread. */
WEFT_API int weft_owner_node(weft_runtime *runtime, uint32_t shard, const char *capability,
                             const char **ret_node);
/* This node's name; "local" while it is no member of a cluster. */
WEFT_API const char *weft_node_name(const weft_runtime *runtime);

WEFT_END_DECLS

#endif
