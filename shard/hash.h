/* SPDX-License-Identifier: MIT
 *
 * The two hashes of an id. They are independent of each other on purpose:
 *
 *   - The shard hash (weft_shard_of) is public, has no key and never changes: every node and every
 *     version must put an id into the same shard. So anybody can choose ids of one shard, and ids
 *     that collide in it as a whole.
 *   - The table hash below is keyed with random bytes of the runtime. Nobody outside knows it, it
 *     never leaves the process, and ids that collide in the first do not collide in it. Tables of
 *     ids from the network use this one only.
 *
 * What is known against the second one, whatever the key: in ids above 240 bytes, two stripes of 64
 * bytes can be made to cancel each other in half their upper bits if 32 bits of the key are equal.
 * That is a chance of 2^-32 for an attack with a million such ids, to gain some thousand that
 * collide; below 241 bytes nothing better than 2^-64 for a pair is known to us.
 *
 * Pure functions, any thread. XXH3 is compiled in: for short ids the call would cost more than the
 * hash.
 */
#ifndef WEFT_SHARD_HASH_H
#define WEFT_SHARD_HASH_H

#include "core/defs.h"

#include <weft/shard.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WEFT__HASH_KEY_BYTES = 256 };

_Static_assert((int)WEFT__HASH_KEY_BYTES >= (int)XXH3_SECRET_SIZE_MIN, "enough for XXH3");

/* Random bytes, filled once from the environment before the first id is hashed. Secret: not for
 * logs, dumps or the wire. */
struct weft__hash_key {
    unsigned char secret[WEFT__HASH_KEY_BYTES];
};

/* Spreads all bits over all bits; a bijection (the finalizer of splitmix64). */
WEFT_INLINE uint64_t weft__hash_mix(uint64_t value) {
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* Hash of an address: an id, and in low the numbers of its capability and type. id may be NULL when
 * size is 0. One id under two values of low never has the same hash, as both steps after XXH3 are
 * bijections. All 64 bits are equally good. */
WEFT_INLINE uint64_t weft__table_hash(const struct weft__hash_key *key, const void *id, size_t size,
                                      uint32_t low) {
    uint64_t hash = XXH3_64bits_withSecret(id, size, key->secret, sizeof(key->secret));
    return weft__hash_mix(hash ^ low * UINT64_C(0x9e3779b97f4a7c15));
}

#endif
