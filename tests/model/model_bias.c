/* SPDX-License-Identifier: MIT
 *
 * The biased lock (sched/bias.h): an owner that enters and leaves twice, one or two visitors
 * that try twice each.
 *
 * Proved, with the asymmetric barrier and without: never two inside; what one wrote inside is seen
 * by the next one inside; the owner always gets in, and a visit that is refused leaves nothing
 * behind.
 */
#include "sched/bias.h"
#include "tests/model/explore.h"

enum { ENTRIES = 2, VISITS = 2 };

static struct world {
    struct weft__bias bias;
    weft_atomic_u32 value; /* guarded by bias */
    uint32_t inside;       /* how many are */
    uint32_t entered;
} world;

static const char *const roles[] = {"owner", "visitor 1", "visitor 2"};
static weft_env env;
static struct weft__barrier barrier;

static void env_relax(weft_env *it) {
    (void)it;
    weft_pause();
}

static void env_heavy_barrier(weft_env *it) {
    (void)it;
}

static void init(int asymmetric) {
    env.relax = env_relax;
    env.heavy_barrier = asymmetric != 0 ? env_heavy_barrier : NULL;
    weft__barrier_init(&barrier, &env);
    explore_name(&world.bias.inside, 4, "inside");
    explore_name(&world.bias.visitor, 4, "visitor");
    explore_name(&world.value, 4, "value");
}

static void critical(void) {
    EXPLORE_CHECK(world.inside == 0, "two inside");
    world.inside++;
    world.entered++;
    uint32_t value = weft_load32_relaxed(&world.value);
    weft_store32_relaxed(&world.value, value + 1);
    world.inside--;
}

static void body(uint32_t thread) {
    for (uint32_t i = 0; thread == 0 && i < ENTRIES; i++) {
        weft__bias_enter(&world.bias, &barrier);
        critical();
        weft__bias_leave(&world.bias);
    }
    for (uint32_t i = 0; thread != 0 && i < VISITS; i++) {
        if (weft__bias_visit(&world.bias, &barrier)) {
            critical();
            weft__bias_depart(&world.bias);
        }
    }
}

static void final(void) {
    EXPLORE_CHECK(world.entered >= ENTRIES, "the owner did not get in");
    EXPLORE_CHECK(world.value.raw == world.entered, "a write of the one before was not seen");
    EXPLORE_CHECK(world.bias.inside.raw == 0, "left over: inside");
    EXPLORE_CHECK(world.bias.visitor.raw == 0, "left over: visitor");
}

#define MODEL(NAME, THREADS, ASYMMETRIC)                                                           \
    {                                                                                              \
        .name = NAME, .threads = (THREADS), .roles = roles, .parameter = (ASYMMETRIC),             \
        .heavy = (ASYMMETRIC) != 0, .world = &world, .world_bytes = sizeof world, .init = init,    \
        .body = body, .final = final                                                               \
    }

static const struct explore_model models[] = {
    MODEL("bias-1", 2, 1),
    MODEL("bias-1-symmetric", 2, 0),
    MODEL("bias-2", 3, 1),
    MODEL("bias-2-symmetric", 3, 0),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
