/* SPDX-License-Identifier: MIT
 *
 * The explorer itself, on programs whose outcomes under TSO are known. What may not happen fails
 * the search; what may happen must have been seen by the end of it.
 *
 *   buffering          each stores its flag and loads the other's: both may load 0
 *   buffering-full     with full fences between: one sees the other
 *   buffering-heavy    a light fence on one side, a heavy one on the other: likewise
 *   passing            data before flag: who sees the flag sees the data
 *   forwarding         a thread sees its own store before others do
 *   counting           read-modify-writes do not lose each other, loads and stores may
 *   pausing            a wait loop ends when the other one stores
 */
#include "tests/model/explore.h"
#include <stdio.h>

enum kind { BUFFERING, BUFFERING_FULL, BUFFERING_HEAVY, PASSING, FORWARDING, COUNTING, PAUSING };

static struct world {
    weft_atomic_u32 flags[2];
    weft_atomic_u32 count;
    uint32_t loaded[2];
    uint32_t again[2];
} world;

static const char *const roles[] = {"left", "right"};
static enum kind kind;   /* const after init */
static uint32_t seen[8]; /* outside the world: outcomes over all interleavings, a bit each */

static void init(int parameter) {
    kind = (enum kind)parameter;
    explore_name(&world.flags[0], 4, "left");
    explore_name(&world.flags[1], 4, "right");
    explore_name(&world.count, 4, "count");
}

static void buffering(uint32_t self) {
    weft_store32_relaxed(&world.flags[self], 1);
    if (kind == BUFFERING_FULL) {
        weft_fence_full();
    } else if (kind == BUFFERING_HEAVY && self == 0) {
        explore_fence_heavy();
    } else {
        weft_fence_light();
    }
    if (kind == FORWARDING) {
        world.again[self] = weft_load32_relaxed(&world.flags[self]);
    }
    world.loaded[self] = weft_load32_acquire(&world.flags[1 - self]);
}

static void passing(uint32_t self) {
    if (self == 0) {
        weft_store32_relaxed(&world.flags[0], 1);
        weft_store32_release(&world.flags[1], 1);
    } else {
        world.loaded[1] = weft_load32_acquire(&world.flags[1]);
        world.loaded[0] = weft_load32_relaxed(&world.flags[0]);
    }
}

static void counting(void) {
    (void)weft_add32_acq_rel(&world.flags[0], 1);
    weft_store32_relaxed(&world.count, weft_load32_relaxed(&world.count) + 1);
}

static void pausing(uint32_t self) {
    if (self == 0) {
        weft_store32_release(&world.flags[0], 1);
    }
    while (self == 1 && weft_load32_acquire(&world.flags[0]) == 0) {
        weft_pause();
    }
}

static void body(uint32_t thread) {
    if (kind <= BUFFERING_HEAVY || kind == FORWARDING) {
        buffering(thread);
    } else if (kind == PASSING) {
        passing(thread);
    } else if (kind == COUNTING) {
        counting();
    } else {
        pausing(thread);
    }
}

static void final(void) {
    uint32_t outcome = world.loaded[0] | world.loaded[1] << 1;
    if (kind == COUNTING) {
        EXPLORE_CHECK(world.flags[0].raw == 2, "an addition was lost");
        outcome = world.count.raw;
    }
    seen[kind] |= 1u << outcome;
    EXPLORE_CHECK((kind != BUFFERING_FULL && kind != BUFFERING_HEAVY) || outcome != 0,
                  "neither saw the other");
    EXPLORE_CHECK(kind != PASSING || outcome != 2, "the flag but not the data");
    EXPLORE_CHECK(kind != FORWARDING || (world.again[0] & world.again[1]) == 1,
                  "did not see its own store");
}

#define MODEL(NAME, KIND)                                                                          \
    {                                                                                              \
        .name = NAME, .threads = 2, .roles = roles, .parameter = (KIND),                           \
        .heavy = (KIND) == BUFFERING_HEAVY, .world = &world, .world_bytes = sizeof world,          \
        .init = init, .body = body, .final = final                                                 \
    }

static const struct explore_model models[] = {
    MODEL("litmus-buffering", BUFFERING),
    MODEL("litmus-buffering-full", BUFFERING_FULL),
    MODEL("litmus-buffering-heavy", BUFFERING_HEAVY),
    MODEL("litmus-passing", PASSING),
    MODEL("litmus-forwarding", FORWARDING),
    MODEL("litmus-counting", COUNTING),
    MODEL("litmus-pausing", PAUSING),
};

int main(int argc, char **argv) {
    static const uint32_t wanted[] = {
        [BUFFERING] = 0xf,  [BUFFERING_FULL] = 0xe, [BUFFERING_HEAVY] = 0xe, [PASSING] = 0xb,
        [FORWARDING] = 0xf, [COUNTING] = 0x6,       [PAUSING] = 0x1,
    };
    int result = explore_main(argc, argv, models, sizeof models / sizeof models[0]);
    for (uint32_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (result == 0 && seen[i] != wanted[i]) {
            printf("%s: outcomes %#x, not %#x\n", models[i].name, seen[i], wanted[i]);
            result = 1;
        }
    }
    return result;
}
