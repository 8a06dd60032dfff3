/* SPDX-License-Identifier: MIT
 *
 * Pseudo-random numbers: xoshiro256** by Blackman and Vigna (https://prng.di.unimi.it), seeded by
 * splitmix64. Same numbers on every platform. A stream per use (stream number), so that a draw
 * added in one place does not shift the others. Not for keys. One thread per generator.
 */
#ifndef WEFT_CORE_PRNG_H
#define WEFT_CORE_PRNG_H

#include "core/defs.h"

struct weft__prng {
    uint64_t state[4];
};

WEFT_INLINE uint64_t weft__splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

WEFT_INLINE void weft__prng_init(struct weft__prng *prng, uint64_t seed, uint64_t stream) {
    uint64_t state = seed ^ (stream + 1) * 0xd1342543de82ef95u;
    for (int i = 0; i < 4; i++) {
        prng->state[i] = weft__splitmix(&state);
    }
}

WEFT_INLINE uint64_t weft__prng_next(struct weft__prng *prng) {
    uint64_t *s = prng->state;
    uint64_t x = s[1] * 5;
    uint64_t result = (x << 7 | x >> 57) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

/* Evenly from 0 to bound - 1 (bound above 0); the bias is below 2^-32. */
WEFT_INLINE uint32_t weft__prng_below(struct weft__prng *prng, uint32_t bound) {
    return (uint32_t)((weft__prng_next(prng) >> 32) * bound >> 32);
}

#endif
