/* SPDX-License-Identifier: MIT
 *
 * The simulator's generator: xoshiro256** seeded by splitmix64, the same numbers on every
 * platform. Every purpose (schedule, time, pauses, the runtimes' own bytes, the test) has a stream
 * of its own, so that one more draw for one purpose does not shift the others.
 * Used by the simulator and its tests only; not for keys.
 */
#ifndef WEFT_SIM_PRNG_H
#define WEFT_SIM_PRNG_H

#include <stdint.h>

struct sim_prng {
    uint64_t state[4];
};

/* The finalizer of splitmix64: a bijection that spreads every input bit over the output. */
static inline uint64_t sim_mix64(uint64_t value) {
    value ^= value >> 30;
    value *= UINT64_C(0xbf58476d1ce4e5b9);
    value ^= value >> 27;
    value *= UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static inline uint64_t sim_rotate64(uint64_t value, unsigned bits) {
    return (value << bits) | (value >> (64 - bits));
}

static inline void sim_prng_init(struct sim_prng *prng, uint64_t seed, uint64_t stream) {
    uint64_t at = sim_mix64(seed ^ UINT64_C(0x5851f42d4c957f2d)) ^ sim_mix64(stream + 1);
    for (unsigned i = 0; i < 4; i++) {
        at += UINT64_C(0x9e3779b97f4a7c15);
        prng->state[i] = sim_mix64(at);
    }
}

static inline uint64_t sim_prng_next(struct sim_prng *prng) {
    uint64_t *state = prng->state;
    uint64_t result = sim_rotate64(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = sim_rotate64(state[3], 45);
    return result;
}

/* 0..bound-1; 0 for bound 0. The bias of the remainder does not matter to a test. */
static inline uint64_t sim_prng_below(struct sim_prng *prng, uint64_t bound) {
    uint64_t value = sim_prng_next(prng);
    return bound == 0 ? 0 : (value >> 11) % bound;
}

static inline int sim_prng_percent(struct sim_prng *prng, uint32_t percent) {
    return sim_prng_below(prng, 100) < percent;
}

/* 1..2^bits_max, every magnitude equally likely. */
static inline uint64_t sim_prng_magnitude(struct sim_prng *prng, unsigned bits_max) {
    uint64_t bits = sim_prng_below(prng, (uint64_t)bits_max + 1);
    return 1 + sim_prng_below(prng, UINT64_C(1) << bits);
}

#endif
