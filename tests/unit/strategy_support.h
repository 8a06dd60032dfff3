/* SPDX-License-Identifier: MIT
 *
 * Clusters as strategies see them: nodes with the names that clusters have, their maps, loads, and
 * what one node more or less moves.
 */
#ifndef WEFT_TESTS_UNIT_STRATEGY_SUPPORT_H
#define WEFT_TESTS_UNIT_STRATEGY_SUPPORT_H

#include "tests/unit/support.h"

enum {
    SHARDS = 4096,
    NODES = 101, /* at most, in these tests */
    NAME_BYTES = 80,
};

/* Names as clusters have them; each is a format of two equal numbers. */
static const char *const families[] = {
    "app@host%d:4000",
    "node%d",
    "app@10.0.0.%d:4000",
    "worker-%d.cluster.local",
    "weft-%d@weft-%d.weft.default.svc.cluster.local:4000",
    "n%03d",
    "%d",
    "app@127.0.0.1:%d",
};
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

/* Some nodes, sorted. */
struct cluster {
    uint32_t count;
    char names[NODES][NAME_BYTES];
    weft_shard_node nodes[NODES];
};

static inline int compare_nodes(const void *left, const void *right) {
    return strcmp(((const weft_shard_node *)left)->name, ((const weft_shard_node *)right)->name);
}

static inline void cluster_init(struct cluster *cluster, int family, uint32_t count) {
    cluster->count = count;
    for (uint32_t i = 0; i < count; i++) {
        int number = (int)i + 1;
        char *name = cluster->names[i];
        if (family < FAMILIES) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
            snprintf(name, NAME_BYTES, families[family], number, number);
#pragma GCC diagnostic pop
        } else {
            snprintf(name, NAME_BYTES, "rack%d/app@host%d:4000", family, number);
        }
        cluster->nodes[i] = (weft_shard_node){.name = name, .weight = 1};
    }
    qsort(cluster->nodes, count, sizeof(cluster->nodes[0]), compare_nodes);
}

/* The nodes of source but one, in the same memory for their names. */
static inline void cluster_without(struct cluster *target, const struct cluster *source,
                                   uint32_t gone) {
    target->count = source->count - 1;
    for (uint32_t i = 0; i < target->count; i++) {
        target->nodes[i] = source->nodes[i < gone ? i : i + 1];
    }
}

static inline weft_placement placement_of(const struct cluster *cluster, uint32_t strategy,
                                          uint32_t shards) {
    return (weft_placement){
        .struct_size = WEFT_PLACEMENT_INIT,
        .shards = shards,
        .strategy = strategy,
        .capability = "chat",
        .nodes = cluster->nodes,
        .node_count = cluster->count,
    };
}

static inline void compute(const struct cluster *cluster, uint32_t strategy, uint32_t shards,
                           uint32_t *owners) {
    weft_placement placement = placement_of(cluster, strategy, shards);
    ck_assert_int_eq(weft_placement_compute(&placement, owners), 0);
}

static inline void count_loads(const uint32_t *owners, uint32_t shards, uint32_t *loads,
                               uint32_t count) {
    memset(loads, 0, count * sizeof(*loads));
    for (uint32_t shard = 0; shard < shards; shard++) {
        ck_assert_uint_lt(owners[shard], count);
        loads[owners[shard]]++;
    }
}

/* What one node more (or less) has changed. */
struct moves {
    uint32_t all;
    uint32_t staying; /* between nodes that both stay */
};

/* small is large without the node gone. */
static inline struct moves moves_between(const uint32_t *large, const uint32_t *small,
                                         uint32_t gone, uint32_t shards) {
    struct moves moves = {0, 0};
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint32_t owner = small[shard] < gone ? small[shard] : small[shard] + 1;
        moves.all += owner != large[shard];
        moves.staying += owner != large[shard] && large[shard] != gone;
    }
    return moves;
}

/* The step between a cluster and the same without one node; it is the same in both directions. */
static inline struct moves step(const struct cluster *cluster, uint32_t gone, uint32_t strategy,
                                uint32_t shards) {
    static uint32_t large[WEFT_SHARDS_MAX];
    static uint32_t small[WEFT_SHARDS_MAX];
    static struct cluster rest;
    cluster_without(&rest, cluster, gone);
    compute(cluster, strategy, shards, large);
    compute(&rest, strategy, shards, small);
    return moves_between(large, small, gone, shards);
}

#endif
