/* SPDX-License-Identifier: MIT
 *
 * Priorities under the simulator. Pairs of actors of each priority pass messages to and fro, the
 * high ones without an end: all others must come to the end of theirs, whatever the seed; on one
 * scheduler, where it is known who waits, the bounds of weft/actor.h hold turn by turn and in
 * virtual time. Then the mix with mixed priorities: its rules hold, and the same seed gives the same
 * hash. A failure names its seed.
 */
#include <check.h>
#include <stdlib.h>

#include "check_run.h"
#include "mix.h"

#if defined(__SANITIZE_ADDRESS__) /* several times slower */
enum { SEEDS_PER_CASE = 8 };
#else
enum { SEEDS_PER_CASE = 25 };
#endif
enum {
    HIGH_MAX = 8,
    LOW_MAX = 64,
    PAIRS_MAX = 6, /* of each priority */
    HOPS = 40,
    STEPS_MAX = 4000000,
};
#define ROW_NS UINT64_C(10000000)

enum class { CLASS_NORMAL, CLASS_HIGH, CLASS_LOW, CLASSES }; /* as enum weft_priority */

struct world;

struct runner {
    struct world *world;
    enum class class;
    uint32_t hops; /* left; UINT32_MAX: without an end */
    weft_pid pid;
    struct runner *partner;
};

struct world {
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *types[CLASSES];
    uint64_t seed;
    uint64_t step_ns;
    uint32_t schedulers;
    uint32_t pairs[CLASSES];
    struct runner runners[CLASSES][2 * PAIRS_MAX];
    uint32_t done[CLASSES]; /* pairs that have come to their end */
    bool ending;
    /* on one scheduler: since the last turn of a class */
    uint32_t row[CLASSES]; /* of high ones for normal ones, of all others for low ones */
    uint64_t row_ns[CLASSES];
};

/* ---- runners ------------------------------------------------------------------------------- */

static int runner_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    ck_assert_uint_eq(arg_size, sizeof(struct runner *));
    memcpy(state, arg, sizeof(struct runner *));
    return WEFT_CONTINUE;
}

/* Somebody of the class waited all the time, if it has two pairs on their way. */
static void check_row(const struct world *world, enum class class, uint32_t row_max) {
    if (world->pairs[class] < 2 || world->done[class] != 0) {
        return;
    }
    ck_assert_msg(world->row[class] <= row_max, "seed %llu: class %u waited for %u turns",
                  (unsigned long long)world->seed, class, world->row[class]);
    uint64_t waited_ns = weft_sim_now_ns(world->sim) - world->row_ns[class];
    /* the turn before the row began, the one that is over when it is looked at, a low one */
    ck_assert_msg(waited_ns <= ROW_NS + 4 * world->step_ns,
                  "seed %llu: class %u waited for %llu ns", (unsigned long long)world->seed, class,
                  (unsigned long long)waited_ns);
}

static void note_turn(struct world *world, enum class class) {
    if (world->schedulers != 1 || world->ending) {
        return;
    }
    if (class == CLASS_NORMAL) {
        check_row(world, CLASS_NORMAL, HIGH_MAX);
    } else if (class == CLASS_LOW) {
        check_row(world, CLASS_LOW, LOW_MAX);
    }
    world->row[CLASS_NORMAL] += class == CLASS_HIGH ? 1 : 0;
    world->row[CLASS_LOW]++;
    world->row[class] = 0;
    world->row_ns[class] = weft_sim_now_ns(world->sim);
}

static int runner_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct runner *runner;
    struct world *world;
    (void)msg;
    memcpy(&runner, state, sizeof(struct runner *));
    world = runner->world;
    note_turn(world, runner->class);
    if (runner->hops == 0 || world->ending) {
        world->done[runner->class]++;
        return WEFT_CONTINUE;
    }
    runner->hops -= runner->hops == UINT32_MAX ? 0 : 1;
    ck_assert_int_eq(weft_send(ctx, runner->partner->pid, 1, NULL, 0), 0);
    return WEFT_CONTINUE;
}

/* ---- worlds -------------------------------------------------------------------------------- */

static uint32_t draw(struct world *world, uint32_t bound) {
    return (uint32_t)(weft_sim_random(world->sim) % bound);
}

static void world_start(struct world *world, uint64_t seed, uint32_t schedulers) {
    static const uint64_t step_ns[] = {200, 20000, 3000000};
    static const char *const names[CLASSES] = {"normal", "high", "low"};
    world->seed = seed;
    world->step_ns = step_ns[seed % 3];
    weft_sim_options options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT,
        .seed = seed,
        .step_ns = world->step_ns,
    };
    ck_assert_int_eq(weft_sim_create(&options, &world->sim), 0);
    static const uint32_t rings[] = {4, 64, 0};
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT,
        .schedulers = schedulers != 0 ? schedulers : 2 + draw(world, 4),
        .ring_size = schedulers == 1 ? 0 : rings[draw(world, 3)],
        .lifo_none = draw(world, 4) == 0,
        .steal = draw(world, 5) == 0 ? WEFT_STEAL_NONE : WEFT_STEAL_HALF,
        .spin_none = draw(world, 2) == 0,
        .arena_bytes = 64 << 20,
        .huge_pages_none = true,
        .watchdog_none = true,
    };
    world->schedulers = config.schedulers;
    ck_assert_int_eq(weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime),
                     0);
    for (enum class class = CLASS_NORMAL; class < CLASSES; class ++) {
        weft_type_def def = {
            .struct_size = WEFT_TYPE_DEF_INIT,
            .name = names[class],
            .state_size = sizeof(struct runner *),
            .init = runner_init,
            .receive = runner_receive,
            .priority = class,
        };
        ck_assert_int_eq(weft_type_register(world->runtime, &def, &world->types[class]), 0);
        world->pairs[class] = 1 + draw(world, PAIRS_MAX);
    }
    ck_assert_int_eq(weft_runtime_start(world->runtime), 0);
}

static void runner_spawn(struct world *world, struct runner *runner, enum class class) {
    runner->world = world;
    runner->class = class;
    runner->hops = class == CLASS_HIGH ? UINT32_MAX : HOPS;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT,
        .arg = &runner,
        .arg_size = sizeof(struct runner *),
        .scheduler = draw(world, world->schedulers + 1),
        .pin = draw(world, 3) == 0,
    };
    /* Of its type, or of any type with a priority of its own. */
    enum class type = class;
    if (class != CLASS_NORMAL && draw(world, 2) == 0) {
        type = (enum class)draw(world, CLASSES);
        options.priority = class;
    }
    ck_assert_int_eq(weft_runtime_spawn(world->runtime, world->types[type], &options, &runner->pid),
                     0);
}

static void world_populate(struct world *world) {
    for (enum class class = CLASS_NORMAL; class < CLASSES; class ++) {
        for (uint32_t i = 0; i < 2 * world->pairs[class]; i++) {
            struct runner *runner = &world->runners[class][i];
            runner->partner = &world->runners[class][i ^ 1];
            runner_spawn(world, runner, class);
        }
    }
    (void)weft_sim_run(world->sim, STEPS_MAX, UINT64_MAX, NULL, NULL); /* their inits */
    for (enum class class = CLASS_NORMAL; class < CLASSES; class ++) {
        world->row_ns[class] = weft_sim_now_ns(world->sim);
        for (uint32_t i = 0; i < world->pairs[class]; i++) {
            struct runner *runner = &world->runners[class][2 * i];
            ck_assert_int_eq(weft_runtime_send(world->runtime, runner->pid, 1, NULL, 0), 0);
        }
    }
}

static bool others_done(void *arg) {
    const struct world *world = arg;
    return world->done[CLASS_NORMAL] == world->pairs[CLASS_NORMAL] &&
           world->done[CLASS_LOW] == world->pairs[CLASS_LOW];
}

/* Runs one seed; the hash. */
static uint64_t world_run(uint64_t seed, uint32_t schedulers) {
    struct world *world = calloc(1, sizeof(*world));
    ck_assert_ptr_nonnull(world);
    world_start(world, seed, schedulers);
    world_populate(world);
    enum weft_sim_result result =
        weft_sim_run(world->sim, STEPS_MAX, UINT64_MAX, others_done, world);
    ck_assert_msg(result == WEFT_SIM_DONE, "seed %llu: somebody starves (%d)",
                  (unsigned long long)seed, result);
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    ck_assert_int_eq(weft_stats_read(world->runtime, WEFT_STATS_ALL, &stats), 0);
    ck_assert_uint_ge(stats.runs_low, world->pairs[CLASS_LOW] * HOPS);
    ck_assert_uint_gt(stats.runs_high, 0);
    world->ending = true;
    result = weft_sim_run(world->sim, STEPS_MAX, UINT64_MAX, NULL, NULL);
    ck_assert_msg(result == WEFT_SIM_QUIET, "seed %llu: no rest", (unsigned long long)seed);
    ck_assert_uint_eq(world->done[CLASS_HIGH], world->pairs[CLASS_HIGH]);
    ck_assert_int_eq(weft_sim_stop(world->sim, world->runtime, STEPS_MAX), 0);
    ck_assert_int_eq(weft_runtime_destroy(&world->runtime), 0);
    uint64_t hash = weft_sim_hash(world->sim);
    weft_sim_destroy(&world->sim);
    free(world);
    return hash;
}

START_TEST(test_bounds_hold_on_one_scheduler) {
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)world_run(1000 + (uint64_t)_i * SEEDS_PER_CASE + i, 1);
    }
}
END_TEST

START_TEST(test_nobody_starves_on_many) {
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)world_run(2000 + (uint64_t)_i * SEEDS_PER_CASE + i, 0);
    }
}
END_TEST

START_TEST(test_same_seed_same_hash) {
    for (uint64_t seed = 3000; seed < 3000 + SEEDS_PER_CASE; seed++) {
        uint64_t hash = world_run(seed, 0);
        ck_assert_msg(hash == world_run(seed, 0), "seed %llu", (unsigned long long)seed);
    }
}
END_TEST

/* ---- the mix ------------------------------------------------------------------------------- */

START_TEST(test_mix_with_priorities) {
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        uint64_t seed = 40000 + (uint64_t)_i * SEEDS_PER_CASE + i;
        mix_options options = {.seed = seed, .nest_max = (uint32_t)(seed % 4), .priorities = true};
        mix_report first;
        mix_run(&options, &first);
        ck_assert_msg(!first.failed, "seed %llu: %s", (unsigned long long)seed, first.text);
        mix_report second;
        mix_run(&options, &second);
        ck_assert_msg(first.hash == second.hash, "seed %llu: another hash",
                      (unsigned long long)seed);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("priority");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_bounds_hold_on_one_scheduler, 0, 4);
    tcase_add_loop_test(tcase, test_nobody_starves_on_many, 0, 4);
    tcase_add_test(tcase, test_same_seed_same_hash);
    tcase_add_loop_test(tcase, test_mix_with_priorities, 0, 6);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
