/* SPDX-License-Identifier: MIT
 *
 * The map of shards to nodes. Pure functions of their arguments, called on any thread, in integers
 * only: every node of a cluster must get the same map from the same nodes, on every processor and
 * with every compiler. The numbers are a part of the protocol and never change; docs/sharding.md
 * has them for whoever has to compute them elsewhere, with vectors.
 *
 * Rendezvous. A node has, for each shard, a number that depends on its name and the shard and
 * nothing else; -ln of it divided by the node's weight is its cost, and the lowest cost owns the
 * shard. So a node that comes or goes changes only the shards it wins or had won, whatever the
 * others are. Usually that number is a hash, and loads then vary like the throws of dice: with 8
 * nodes and 4096 shards one in fifteen clusters has a node with more than 1.1 times its share.
 * Here the numbers of one node are dealt, not thrown: its first 16 bits are a permutation of the
 * shards, so that a node has each height exactly once (a Latin hypercube sample; McKay, Beckman and
 * Conover 1979). That halves the variance, one cluster in six hundred, and takes nothing from the
 * property above.
 *
 * Bounded. The same costs, but a node that has as many shards as it may is passed over. Shards
 * choose in the order of their numbers.
 */
#define _GNU_SOURCE 1 /* strnlen */

#include "shard/strategy.h"

#include "core/config.h"
#include "shard/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WEIGHT_MAX = 10000,
    ROUNDS = 4,         /* of the permutation */
    JITTER_BITS = 48,   /* below the 16 of the permutation */
    FRACTION_BITS = 44, /* of a logarithm in fixed point */
    TABLE_BITS = 8,
    TABLE_SIZE = 1 << TABLE_BITS,
    TABLE_FRACTION_BITS = 32,
};

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

_Static_assert(WEFT_SHARDS_MAX <= UINT64_C(1) << (64 - JITTER_BITS), "a permutation fits on top");

/* A node, with its name hashed. */
struct candidate {
    uint64_t key;
    uint64_t factors; /* of the rounds, 16 bits each */
    uint64_t offsets;
    uint32_t weight; /* at least 1 */
    uint32_t room;   /* bounded: shards it may still get */
};

/* What the number of shards decides. */
struct domain {
    uint32_t shards;
    uint32_t mask;     /* of the smallest power of two that holds all shards */
    uint32_t shift;    /* half its bits */
    uint64_t log2_all; /* of shards * 2^JITTER_BITS, which may be 2^64 */
};

/* ---- logarithm ----------------------------------------------------------------------------- */

/* log2(1 + i / 256) * 2^32, rounded. */
static const uint32_t log2_table[TABLE_SIZE] = {
    0x00000000, 0x01709c47, 0x02dfca17, 0x044d8c46, 0x05b9e5a1, 0x0724d8ef, 0x088e68eb, 0x09f6984a,
    0x0b5d69bb, 0x0cc2dfe2, 0x0e26fd5d, 0x0f89c4c2, 0x10eb38a0, 0x124b5b7e, 0x13aa2fdd, 0x1507b836,
    0x1663f6fb, 0x17beee97, 0x1918a16e, 0x1a7111df, 0x1bc84241, 0x1d1e34e3, 0x1e72ec11, 0x1fc66a0f,
    0x2118b11a, 0x2269c369, 0x23b9a32f, 0x25085296, 0x2655d3c5, 0x27a228db, 0x28ed53f3, 0x2a375721,
    0x2b803474, 0x2cc7edf6, 0x2e0e85aa, 0x2f53fd90, 0x309857a0, 0x31db95d0, 0x331dba0f, 0x345ec646,
    0x359ebc5b, 0x36dd9e2f, 0x381b6d9c, 0x39582c79, 0x3a93dc98, 0x3bce7fc7, 0x3d0817cf, 0x3e40a672,
    0x3f782d72, 0x40aeae89, 0x41e42b6f, 0x4318a5d5, 0x444c1f6b, 0x457e99db, 0x46b016ca, 0x47e097db,
    0x49101eac, 0x4a3eacd7, 0x4b6c43f1, 0x4c98e58e, 0x4dc4933b, 0x4eef4e83, 0x501918ec, 0x5141f3fb,
    0x5269e12f, 0x5390e204, 0x54b6f7f1, 0x55dc246d, 0x570068e8, 0x5823c6d1, 0x59463f92, 0x5a67d492,
    0x5b888736, 0x5ca858df, 0x5dc74aea, 0x5ee55eb1, 0x6002958c, 0x611ef0cf, 0x623a71cc, 0x635519cf,
    0x646eea24, 0x6587e415, 0x66a008e4, 0x67b759d6, 0x68cdd82a, 0x69e3851c, 0x6af861e6, 0x6c0c6fc0,
    0x6d1fafdd, 0x6e322370, 0x6f43cba8, 0x7054a9b1, 0x7164beb5, 0x72740bdb, 0x73829249, 0x74905320,
    0x759d4f81, 0x76a98888, 0x77b4ff51, 0x78bfb4f4, 0x79c9aa88, 0x7ad2e11f, 0x7bdb59cd, 0x7ce3159f,
    0x7dea15a3, 0x7ef05ae4, 0x7ff5e66a, 0x80fab93c, 0x81fed45d, 0x830238d0, 0x8404e794, 0x8506e1a8,
    0x86082807, 0x8708bbaa, 0x88089d8b, 0x8907ce9d, 0x8a064fd5, 0x8b042225, 0x8c01467c, 0x8cfdbdc8,
    0x8df988f5, 0x8ef4a8ed, 0x8fef1e98, 0x90e8eade, 0x91e20ea1, 0x92da8ac6, 0x93d2602c, 0x94c98fb4,
    0x95c01a3a, 0x96b6009b, 0x97ab43af, 0x989fe451, 0x9993e356, 0x9a874193, 0x9b79ffdb, 0x9c6c1f01,
    0x9d5d9fd5, 0x9e4e8325, 0x9f3ec9bd, 0xa02e746a, 0xa11d83f5, 0xa20bf926, 0xa2f9d4c5, 0xa3e71797,
    0xa4d3c25e, 0xa5bfd5df, 0xa6ab52da, 0xa7963a0d, 0xa8808c38, 0xa96a4a17, 0xaa537465, 0xab3c0bdc,
    0xac241135, 0xad0b8526, 0xadf26866, 0xaed8bba8, 0xafbe7fa1, 0xb0a3b502, 0xb1885c7b, 0xb26c76bc,
    0xb3500472, 0xb433064b, 0xb5157cf3, 0xb5f76913, 0xb6d8cb54, 0xb7b9a45e, 0xb899f4d9, 0xb979bd69,
    0xba58feb2, 0xbb37b959, 0xbc15edff, 0xbcf39d45, 0xbdd0c7ca, 0xbead6e2d, 0xbf89910c, 0xc0653103,
    0xc1404eae, 0xc21aeaa6, 0xc2f50586, 0xc3ce9fe4, 0xc4a7ba58, 0xc5805579, 0xc65871da, 0xc7301011,
    0xc80730b0, 0xc8ddd449, 0xc9b3fb6d, 0xca89a6ac, 0xcb5ed695, 0xcc338bb7, 0xcd07c69e, 0xcddb87d6,
    0xceaecfeb, 0xcf819f66, 0xd053f6d2, 0xd125d6b7, 0xd1f73f9c, 0xd2c83209, 0xd398ae81, 0xd468b58c,
    0xd53847ac, 0xd6076565, 0xd6d60f39, 0xd7a445a9, 0xd8720936, 0xd93f5a60, 0xda0c39a5, 0xdad8a784,
    0xdba4a47b, 0xdc703104, 0xdd3b4d9d, 0xde05fac0, 0xded038e6, 0xdf9a088a, 0xe0636a24, 0xe12c5e2b,
    0xe1f4e517, 0xe2bcff5e, 0xe384ad75, 0xe44befd0, 0xe512c6e5, 0xe5d93326, 0xe69f3506, 0xe764ccf7,
    0xe829fb69, 0xe8eec0ce, 0xe9b31d94, 0xea77122b, 0xeb3a9f02, 0xebfdc485, 0xecc08322, 0xed82db45,
    0xee44cd5a, 0xef0659cc, 0xefc78104, 0xf088436d, 0xf148a170, 0xf2089b75, 0xf2c831e4, 0xf3876524,
    0xf446359b, 0xf504a3af, 0xf5c2afc6, 0xf6805a44, 0xf73da38e, 0xf7fa8c05, 0xf8b7140f, 0xf9733c0c,
    0xfa2f045e, 0xfaea6d67, 0xfba57787, 0xfc60231e, 0xfd1a708c, 0xfdd4602e, 0xfe8df264, 0xff47278b,
};

/* log2 of a value above 0, in 2^-44. Between two entries of the table it is a straight line, at
 * most 2.8e-6 below the curve; it never falls while value grows. */
static uint64_t log2_of(uint64_t value) {
    uint32_t exponent = 63 - (uint32_t)__builtin_clzll(value);
    uint64_t mantissa = value << (63 - exponent) << 1; /* without the leading one */
    uint32_t index = (uint32_t)(mantissa >> (64 - TABLE_BITS));
    uint64_t rest = mantissa << TABLE_BITS >> 32;
    uint64_t low = log2_table[index];
    uint64_t high =
        index == TABLE_SIZE - 1 ? UINT64_C(1) << TABLE_FRACTION_BITS : log2_table[index + 1];
    return ((uint64_t)exponent << FRACTION_BITS) + (low << (FRACTION_BITS - TABLE_FRACTION_BITS)) +
           (((high - low) * rest) >> (TABLE_FRACTION_BITS + 32 - FRACTION_BITS));
}

/* ---- costs --------------------------------------------------------------------------------- */

static struct domain domain_of(uint32_t shards) {
    uint32_t bits = shards == 1 ? 0 : 32 - (uint32_t)__builtin_clz(shards - 1);
    return (struct domain){
        .shards = shards,
        .mask = (UINT32_C(1) << bits) - 1,
        .shift = (bits + 1) / 2,
        .log2_all = log2_of(shards) + ((uint64_t)JITTER_BITS << FRACTION_BITS),
    };
}

static struct candidate candidate_of(const weft_shard_node *node) {
    uint64_t key = XXH3_64bits(node->name, strlen(node->name));
    return (struct candidate){
        .key = key,
        .factors = weft__hash_mix(key + GOLDEN),
        .offsets = weft__hash_mix(key + 2 * GOLDEN),
        .weight = node->weight == 0 ? 1 : node->weight,
    };
}

/* The place of a shard in the candidate's permutation of all shards. The rounds permute a power of
 * two; what falls outside goes through them again. A walk ends, since it would come back to the
 * shard itself, and the walks of all shards together take at most mask + 1 turns. */
static uint32_t place_of(const struct domain *domain, const struct candidate *candidate,
                         uint32_t shard) {
    uint32_t place = shard;
    do {
        for (uint32_t round = 0; round < ROUNDS; round++) {
            uint32_t factor = (uint32_t)(candidate->factors >> (16 * round) & 0xffff) | 1;
            uint32_t offset = (uint32_t)(candidate->offsets >> (16 * round) & 0xffff);
            place = (place * factor + offset) & domain->mask;
            place ^= place >> domain->shift;
        }
    } while (place >= domain->shards);
    return place;
}

/* -log2 of the candidate's number for the shard, which is between 0 and 1. At most 2^50. */
static uint64_t cost_of(const struct domain *domain, const struct candidate *candidate,
                        uint32_t shard) {
    uint64_t jitter = weft__hash_mix(candidate->key ^ shard * GOLDEN) >> (64 - JITTER_BITS);
    uint64_t place = place_of(domain, candidate, shard);
    return domain->log2_all - log2_of(place << JITTER_BITS | jitter | 1);
}

/* The best of the candidates that have room. Of equal costs, which are about as likely as a
 * collision of 44 bits, the first in the order of names wins. Weights are at most 10,000 and costs
 * at most 2^50, so that the products fit. */
static uint32_t cheapest(const struct domain *domain, const struct candidate *candidates,
                         uint32_t count, uint32_t shard) {
    uint32_t best = WEFT__NO_OWNER;
    uint64_t best_cost = 0;
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (candidates[i].room == 0) {
            continue;
        }
        uint64_t cost = cost_of(domain, &candidates[i], shard);
        uint64_t weight = candidates[i].weight;
        if (best == WEFT__NO_OWNER || cost * best_weight < best_cost * weight) {
            best = i;
            best_cost = cost;
            best_weight = weight;
        }
    }
    return best;
}

/* ---- strategies ---------------------------------------------------------------------------- */

/* How many shards each may get: 1.1 times its share, rounded down, or its share rounded up where
 * that is more. The latter alone is enough for all shards. */
static void limit_room(struct candidate *candidates, uint32_t count, uint32_t shards) {
    uint64_t weights = 0;
    for (uint32_t i = 0; i < count; i++) {
        weights += candidates[i].weight;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t portion = (uint64_t)shards * candidates[i].weight; /* of weights */
        uint64_t room = weft_max_u64(11 * portion / (10 * weights), (portion - 1) / weights + 1);
        candidates[i].room = (uint32_t)weft_min_u64(room, shards);
    }
}

static int compute_rendezvous(const weft_placement *placement, uint32_t *ret_owners) {
    struct candidate *candidates = calloc(placement->node_count, sizeof(*candidates));
    if (candidates == NULL) {
        return -ENOMEM;
    }
    bool bounded = placement->strategy == WEFT_STRATEGY_BOUNDED;
    struct domain domain = domain_of(placement->shards);
    for (uint32_t i = 0; i < placement->node_count; i++) {
        candidates[i] = candidate_of(&placement->nodes[i]);
        candidates[i].room = placement->shards;
    }
    if (bounded) {
        limit_room(candidates, placement->node_count, placement->shards);
    }
    for (uint32_t shard = 0; shard < placement->shards; shard++) {
        uint32_t owner = cheapest(&domain, candidates, placement->node_count, shard);
        weft_assert(owner != WEFT__NO_OWNER); /* there is room for all */
        candidates[owner].room -= bounded;
        ret_owners[shard] = owner;
    }
    free(candidates);
    return 0;
}

static uint32_t owner_rendezvous(const weft_placement *placement, uint32_t shard) {
    struct domain domain = domain_of(placement->shards);
    struct candidate best = {.room = 0};
    uint32_t owner = WEFT__NO_OWNER;
    for (uint32_t i = 0; i < placement->node_count; i++) {
        struct candidate pair[] = {best, candidate_of(&placement->nodes[i])};
        pair[1].room = 1;
        if (cheapest(&domain, pair, 2, shard) == 1) {
            best = pair[1];
            owner = i;
        }
    }
    return owner;
}

static uint32_t owner_custom(const weft_placement *placement, uint32_t shard) {
    uint32_t owner = placement->custom(placement->cookie, shard, placement->capability,
                                       placement->nodes, placement->node_count);
    return owner < placement->node_count ? owner : WEFT__NO_OWNER;
}

/* The result goes out only when all of it is known: the program's callback may be wrong. */
static int compute_custom(const weft_placement *placement, uint32_t *ret_owners) {
    size_t bytes = placement->shards * sizeof(*ret_owners);
    uint32_t *owners = malloc(bytes);
    if (owners == NULL) {
        return -ENOMEM;
    }
    int result = 0;
    for (uint32_t shard = 0; shard < placement->shards && result == 0; shard++) {
        owners[shard] = owner_custom(placement, shard);
        result = owners[shard] == WEFT__NO_OWNER ? -EINVAL : 0;
    }
    if (result == 0) {
        memcpy(ret_owners, owners, bytes);
    }
    free(owners);
    return result;
}

static int compute_modulo(const weft_placement *placement, uint32_t *ret_owners) {
    for (uint32_t shard = 0; shard < placement->shards; shard++) {
        ret_owners[shard] = shard % placement->node_count;
    }
    return 0;
}

/* ---- entry --------------------------------------------------------------------------------- */

/* Names of 1..255 bytes in rising order, so no two are the same. */
static bool nodes_valid(const weft_shard_node *nodes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const char *name = nodes[i].name;
        if (name == NULL || name[0] == '\0' || nodes[i].weight > WEIGHT_MAX) {
            return false;
        }
        if (strnlen(name, WEFT_NODE_NAME_MAX + 1) > WEFT_NODE_NAME_MAX) {
            return false;
        }
        if (i > 0 && strcmp(nodes[i - 1].name, name) >= 0) {
            return false;
        }
    }
    return true;
}

static bool placement_valid(const weft_placement *placement) {
    if (placement->shards == 0 || placement->shards > WEFT_SHARDS_MAX) {
        return false;
    }
    if (placement->strategy > WEFT_STRATEGY_CUSTOM || placement->nodes == NULL) {
        return false;
    }
    if (placement->node_count == 0 || placement->node_count > WEFT_NODES_MAX) {
        return false;
    }
    if (placement->strategy == WEFT_STRATEGY_CUSTOM && placement->custom == NULL) {
        return false;
    }
    return nodes_valid(placement->nodes, placement->node_count);
}

uint32_t weft__placement_owner(const weft_placement *placement, uint32_t shard) {
    weft_assert(placement->node_count > 0);
    weft_assert(shard < placement->shards);
    if (placement->node_count == 1 && placement->strategy != WEFT_STRATEGY_CUSTOM) {
        return 0; /* there is no choice */
    }
    switch ((enum weft_shard_strategy)placement->strategy) {
    case WEFT_STRATEGY_DEFAULT:
    case WEFT_STRATEGY_RENDEZVOUS:
        return owner_rendezvous(placement, shard);
    case WEFT_STRATEGY_MODULO:
        return shard % placement->node_count;
    case WEFT_STRATEGY_CUSTOM:
        return owner_custom(placement, shard);
    case WEFT_STRATEGY_BOUNDED:
        break;
    }
    return WEFT__NO_OWNER;
}

int weft_placement_compute(const weft_placement *placement, uint32_t *ret_owners) {
    static const weft__struct_rule rule = {sizeof(weft_placement), sizeof(weft_placement)};
    if (placement == NULL || ret_owners == NULL) {
        return -EINVAL;
    }
    weft_placement copy;
    int result = weft__struct_copy(&rule, placement, &copy);
    if (result < 0) {
        return result;
    }
    if (!placement_valid(&copy)) {
        return -EINVAL;
    }
    switch ((enum weft_shard_strategy)copy.strategy) {
    case WEFT_STRATEGY_MODULO:
        return compute_modulo(&copy, ret_owners);
    case WEFT_STRATEGY_CUSTOM:
        return compute_custom(&copy, ret_owners);
    case WEFT_STRATEGY_DEFAULT:
    case WEFT_STRATEGY_RENDEZVOUS:
    case WEFT_STRATEGY_BOUNDED:
        break;
    }
    return compute_rendezvous(&copy, ret_owners);
}
