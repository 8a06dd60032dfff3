/* SPDX-License-Identifier: MIT
 *
 * The shard of an id: XXH3 (64 bit, no seed) or Erlang's phash2 of a binary, modulo the number of
 * shards. Pure functions, called on any thread; their values are part of the wire format of a
 * cluster and of what is stored by shard, so they never change. docs/sharding.md has vectors.
 *
 * phash2 is what erlang:phash2(Binary, Range) answers: the hash of Bob Jenkins of 1996 ("lookup2",
 * 12 bytes at a time), with a start value of Erlang's own. A program that takes over from an Erlang
 * cluster, or must agree with one, needs exactly this one.
 */
#include "shard/hash.h"

enum { PHASH2_BLOCK = 12 };

#define PHASH2_GOLDEN UINT32_C(0x9e3779b9)
/* 13 times the golden ratio: what Erlang starts with for binaries. */
#define PHASH2_BINARY UINT32_C(0x08d12e65)

struct phash2 {
    uint32_t a;
    uint32_t b;
    uint32_t c;
};

static void phash2_mix(struct phash2 *state) {
    uint32_t a = state->a;
    uint32_t b = state->b;
    uint32_t c = state->c;
    a = (a - b - c) ^ (c >> 13);
    b = (b - c - a) ^ (a << 8);
    c = (c - a - b) ^ (b >> 13);
    a = (a - b - c) ^ (c >> 12);
    b = (b - c - a) ^ (a << 16);
    c = (c - a - b) ^ (b >> 5);
    a = (a - b - c) ^ (c >> 3);
    b = (b - c - a) ^ (a << 10);
    c = (c - a - b) ^ (b >> 15);
    *state = (struct phash2){a, b, c};
}

/* Written so that compilers make one load of it. */
static uint32_t load32_le(const unsigned char *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* At most four bytes, the first one lowest. */
static uint32_t load_rest_le(const unsigned char *bytes, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint32_t)bytes[i] << (8 * i);
    }
    return value;
}

static uint32_t phash2(const unsigned char *bytes, size_t size) {
    if (size == 0) {
        return PHASH2_BINARY; /* Erlang hashes no block at all for <<>>. */
    }
    struct phash2 state = {PHASH2_GOLDEN, PHASH2_GOLDEN, PHASH2_BINARY};
    size_t at = 0;
    for (; size - at >= PHASH2_BLOCK; at += PHASH2_BLOCK) {
        state.a += load32_le(bytes + at);
        state.b += load32_le(bytes + at + 4);
        state.c += load32_le(bytes + at + 8);
        phash2_mix(&state);
    }
    /* The lowest byte of c is the length, so the rest goes into its upper three. */
    size_t rest = size - at;
    size_t in_a = weft_min_u64(rest, 4);
    size_t in_b = weft_min_u64(rest - in_a, 4);
    state.a += load_rest_le(bytes + at, in_a);
    state.b += load_rest_le(bytes + at + in_a, in_b);
    state.c += (uint32_t)size + (load_rest_le(bytes + at + in_a + in_b, rest - in_a - in_b) << 8);
    phash2_mix(&state);
    return state.c;
}

/* A division takes longer than the hash of a short id, and the usual numbers need none. */
static uint32_t modulo(uint64_t hash, uint32_t shards) {
    return (uint32_t)(weft_is_pow2(shards) ? hash & (shards - 1) : hash % shards);
}

/* Any number of shards. Without shards, without an id or with a hash that does not exist the answer
 * is 0: there is no status to give, and a division by zero would end the process. */
uint32_t weft_shard_of(enum weft_shard_hash hash, const void *id, size_t id_size, uint32_t shards) {
    static const unsigned char nothing[1];
    const void *bytes = id_size == 0 ? nothing : id;
    if (shards == 0 || bytes == NULL) {
        return 0;
    }
    switch (hash) {
    case WEFT_SHARD_HASH_DEFAULT:
    case WEFT_SHARD_HASH_XXH3:
        return modulo(XXH3_64bits(bytes, id_size), shards);
    case WEFT_SHARD_HASH_PHASH2:
        return modulo(phash2(bytes, id_size), shards);
    }
    return 0;
}
