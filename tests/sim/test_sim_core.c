/* SPDX-License-Identifier: MIT
 *
 * The simulator itself, with threads that are plain functions: clock, wake tokens, jumps, quiet,
 * hash, pauses, nesting, joins. No runtime is involved.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_run.h"
#include "sim_internal.h"

/* A thread that plays a script: it runs left steps, then parks until wait_ns from now, and ends
 * when over is set. */
struct fake {
    weft_env *env;
    void *driver;
    void *handle;
    uint32_t left;
    uint64_t wait_ns; /* UINT64_MAX: for ever */
    uint32_t parks;
    uint32_t steps;
    bool over;
    bool inside;        /* being stepped */
    bool has_point;     /* calls point in every step */
    uint32_t depth_max; /* deepest nesting any fake saw */
    uint64_t last_ns;   /* the clock must not go back */
    struct fake *relax_for;
    bool flag;
};

static uint32_t fake_depth;

static enum weft_step fake_step(void *arg, uint64_t *deadline_ns) {
    struct fake *fake = arg;
    ck_assert(!fake->inside);
    fake->inside = true;
    fake_depth++;
    fake->depth_max = fake_depth > fake->depth_max ? fake_depth : fake->depth_max;
    fake->steps++;
    uint64_t now = fake->env->now_mono_ns(fake->env);
    ck_assert_uint_ge(now, fake->last_ns);
    fake->last_ns = now;
    enum weft_step answer = WEFT_STEP_RAN;
    if (fake->has_point) {
        fake->env->point(fake->env, fake->steps % 16);
    }
    while (fake->relax_for != NULL && !fake->relax_for->flag) {
        fake->env->relax(fake->env);
    }
    if (fake->over) {
        answer = WEFT_STEP_EXIT;
    } else if (fake->left > 0) {
        fake->left--;
    } else {
        fake->parks++;
        fake->flag = true;
        *deadline_ns = fake->wait_ns == UINT64_MAX ? UINT64_MAX : now + fake->wait_ns;
        answer = WEFT_STEP_PARK;
    }
    fake_depth--;
    fake->inside = false;
    return answer;
}

static weft_sim *sim_with(uint64_t seed, uint32_t pause_percent, uint32_t nest_max) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = pause_percent,
                                .nest_max = nest_max};
    weft_sim *sim = NULL;
    ck_assert_int_eq(weft_sim_create(&options, &sim), 0);
    return sim;
}

static void fake_start(weft_sim *sim, struct fake *fake, uint32_t steps, uint64_t wait_ns) {
    fake->env = weft_sim_env(sim);
    fake->left = steps;
    fake->wait_ns = wait_ns;
    ck_assert_int_eq(fake->env->driver_create(fake->env, false, &fake->driver), 0);
    weft_env_thread body = {.name = "fake",
                            .kind = WEFT_THREAD_SCHEDULER,
                            .cpu = -1,
                            .driver = fake->driver,
                            .step = fake_step,
                            .arg = fake};
    ck_assert_int_eq(fake->env->thread_start(fake->env, &body, &fake->handle), 0);
}

static void fake_end(struct fake *fake) {
    fake->over = true;
    fake->env->driver_wake(fake->env, fake->driver);
    fake->env->thread_join(fake->env, fake->handle);
    fake->env->driver_destroy(fake->env, fake->driver);
}

START_TEST(test_quiet_when_all_park_for_good) {
    weft_sim *sim = sim_with(1, 0, 0);
    struct fake fakes[3] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        fake_start(sim, &fakes[i], 10 * i, UINT64_MAX);
    }
    ck_assert_int_eq(weft_sim_run(sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(fakes[i].steps, 10 * i + 1);
        ck_assert_uint_eq(fakes[i].parks, 1);
    }
    for (uint32_t i = 0; i < 3; i++) {
        fake_end(&fakes[i]);
    }
    weft_sim_destroy(&sim);
    ck_assert_ptr_null(sim);
}
END_TEST

START_TEST(test_wake_before_park_is_kept_once) {
    weft_sim *sim = sim_with(2, 0, 0);
    struct fake fake = {0};
    fake_start(sim, &fake, 0, UINT64_MAX);
    fake.env->driver_wake(fake.env, fake.driver);
    fake.env->driver_wake(fake.env, fake.driver);
    ck_assert_int_eq(weft_sim_run(sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
    ck_assert_uint_eq(fake.parks, 2);
    fake.env->driver_wake(fake.env, fake.driver);
    ck_assert_int_eq(weft_sim_run(sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
    ck_assert_uint_eq(fake.parks, 3);
    fake_end(&fake);
    weft_sim_destroy(&sim);
}
END_TEST

START_TEST(test_time_jumps_to_earliest_deadline) {
    weft_sim *sim = sim_with(3, 0, 0);
    struct fake fakes[2] = {0};
    uint64_t start_ns = weft_sim_now_ns(sim);
    ck_assert_uint_eq(start_ns, UINT64_C(1000000000));
    fake_start(sim, &fakes[0], 0, UINT64_C(5000000000));
    fake_start(sim, &fakes[1], 0, UINT64_C(1000000000));
    ck_assert_int_eq(weft_sim_run(sim, 1000, start_ns + UINT64_C(4900000000), NULL, NULL),
                     WEFT_SIM_TIME);
    ck_assert_uint_eq(weft_sim_now_ns(sim), start_ns + UINT64_C(4900000000));
    ck_assert_uint_eq(fakes[0].parks, 1);
    ck_assert_uint_eq(fakes[1].parks, 5);
    ck_assert_int_eq(weft_sim_run(sim, 3, UINT64_MAX, NULL, NULL), WEFT_SIM_STEPS);
    fake_end(&fakes[0]);
    fake_end(&fakes[1]);
    weft_sim_destroy(&sim);
}
END_TEST

static bool fake_has_parked_twice(void *arg) {
    return ((struct fake *)arg)->parks == 2;
}

START_TEST(test_run_ends_when_condition_holds) {
    weft_sim *sim = sim_with(4, 0, 0);
    struct fake fake = {0};
    fake_start(sim, &fake, 5, 1000);
    ck_assert_int_eq(weft_sim_run(sim, 1000, UINT64_MAX, fake_has_parked_twice, &fake),
                     WEFT_SIM_DONE);
    ck_assert_uint_eq(fake.parks, 2);
    fake_end(&fake);
    weft_sim_destroy(&sim);
}
END_TEST

/* A few threads that wake each other through points; the hash of the whole. */
static uint64_t scene_hash(uint64_t seed, uint32_t pause_percent, uint32_t nest_max) {
    weft_sim *sim = sim_with(seed, pause_percent, nest_max);
    struct fake fakes[4] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        fakes[i].has_point = true;
        fake_start(sim, &fakes[i], 20, 700 * (uint64_t)(i + 1));
    }
    ck_assert_int_eq(weft_sim_run(sim, 500, UINT64_MAX, NULL, NULL), WEFT_SIM_STEPS);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_le(fakes[i].depth_max, nest_max + 1);
        fake_end(&fakes[i]);
    }
    uint64_t hash = weft_sim_hash(sim);
    weft_sim_destroy(&sim);
    return hash;
}

static int scene_compare(const void *left, const void *right) {
    uint64_t first = *(const uint64_t *)left;
    uint64_t second = *(const uint64_t *)right;
    return first < second ? -1 : first > second;
}

START_TEST(test_hash_same_for_same_seed_only) {
    enum { SEEDS = 200 };
    static uint64_t hashes[SEEDS];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        hashes[seed] = scene_hash(seed, (uint32_t)seed % 30, (uint32_t)seed % 3);
        ck_assert_uint_eq(hashes[seed], scene_hash(seed, (uint32_t)seed % 30, (uint32_t)seed % 3));
    }
    qsort(hashes, SEEDS, sizeof(hashes[0]), scene_compare);
    for (uint64_t i = 1; i < SEEDS; i++) {
        ck_assert_uint_ne(hashes[i - 1], hashes[i]);
    }
}
END_TEST

START_TEST(test_nesting_reaches_its_bound_and_no_more) {
    uint32_t deepest = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        weft_sim *sim = sim_with(seed, 5, 2);
        struct fake fakes[5] = {0};
        for (uint32_t i = 0; i < 5; i++) {
            fakes[i].has_point = true;
            fake_start(sim, &fakes[i], 100, UINT64_MAX);
        }
        ck_assert_int_eq(weft_sim_run(sim, 10000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
        for (uint32_t i = 0; i < 5; i++) {
            deepest = fakes[i].depth_max > deepest ? fakes[i].depth_max : deepest;
        }
        for (uint32_t i = 0; i < 5; i++) {
            fake_end(&fakes[i]);
        }
        weft_sim_destroy(&sim);
    }
    ck_assert_uint_eq(deepest, 3);
}
END_TEST

START_TEST(test_pauses_let_others_overtake) {
    weft_sim *sim = sim_with(6, 40, 0);
    struct fake fakes[2] = {0};
    fake_start(sim, &fakes[0], 2000, UINT64_MAX);
    fake_start(sim, &fakes[1], 2000, UINT64_MAX);
    uint32_t gap_max = 0;
    while (weft_sim_run(sim, 1, UINT64_MAX, NULL, NULL) != WEFT_SIM_QUIET) {
        uint32_t gap = fakes[0].steps > fakes[1].steps ? fakes[0].steps - fakes[1].steps
                                                       : fakes[1].steps - fakes[0].steps;
        gap_max = gap > gap_max ? gap : gap_max;
    }
    ck_assert_uint_gt(gap_max, 100);
    fake_end(&fakes[0]);
    fake_end(&fakes[1]);
    weft_sim_destroy(&sim);
}
END_TEST

START_TEST(test_relax_lets_the_other_thread_move) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        weft_sim *sim = sim_with(seed, 10, 0);
        struct fake fakes[2] = {0};
        fakes[0].relax_for = &fakes[1];
        fake_start(sim, &fakes[0], 0, UINT64_MAX);
        fake_start(sim, &fakes[1], 30, UINT64_MAX);
        ck_assert_int_eq(weft_sim_run(sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
        ck_assert_uint_ge(fakes[1].steps, 31);
        fake_end(&fakes[0]);
        fake_end(&fakes[1]);
        weft_sim_destroy(&sim);
    }
}
END_TEST

START_TEST(test_join_steps_until_the_thread_ends) {
    weft_sim *sim = sim_with(8, 0, 0);
    struct fake fakes[2] = {0};
    fake_start(sim, &fakes[0], 100, UINT64_MAX);
    fake_start(sim, &fakes[1], 100, UINT64_MAX);
    fake_end(&fakes[0]); /* over is asked first: ends at its next step */
    ck_assert_uint_ge(fakes[0].steps, 1);
    fake_end(&fakes[1]);
    weft_sim_destroy(&sim);
}
END_TEST

START_TEST(test_park_from_outside_steps_the_others) {
    weft_sim *sim = sim_with(9, 0, 0);
    weft_env *env = weft_sim_env(sim);
    struct fake fake = {0};
    fake_start(sim, &fake, 5, UINT64_MAX);
    void *driver = NULL;
    ck_assert_int_eq(env->driver_create(env, true, &driver), 0);
    ck_assert_int_eq(env->driver_fd(env, driver), -1);
    uint64_t start_ns = weft_sim_now_ns(sim);
    env->driver_park(env, driver, start_ns + 50000);
    ck_assert_uint_eq(weft_sim_now_ns(sim), start_ns + 50000);
    ck_assert_uint_eq(fake.parks, 1);
    env->driver_wake(env, driver);
    env->driver_park(env, driver, UINT64_MAX);
    ck_assert_uint_eq(weft_sim_now_ns(sim), start_ns + 50000);
    env->driver_destroy(env, driver);
    fake_end(&fake);
    weft_sim_destroy(&sim);
}
END_TEST

START_TEST(test_streams_are_independent) {
    uint64_t first[4];
    unsigned char bytes[2][11];
    for (uint32_t round = 0; round < 2; round++) {
        weft_sim *sim = sim_with(10, 20, 0);
        weft_env *env = weft_sim_env(sim);
        if (round == 1) {
            ck_assert_uint_ne(weft_sim_random(sim), 0);
        }
        struct fake fake = {0};
        fake_start(sim, &fake, 50 + round, UINT64_MAX);
        ck_assert_int_eq(weft_sim_run(sim, 20, UINT64_MAX, NULL, NULL), WEFT_SIM_STEPS);
        first[round] = weft_sim_now_ns(sim);
        env->random(env, bytes[round], sizeof(bytes[round]));
        fake_end(&fake);
        weft_sim_destroy(&sim);
    }
    ck_assert_uint_eq(first[0], first[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], sizeof(bytes[0]));
}
END_TEST

START_TEST(test_options_follow_the_size_rule) {
    struct {
        weft_sim_options options;
        uint64_t tail;
    } large = {.options = {.struct_size = sizeof(large), .seed = 1}};
    weft_sim *sim = NULL;
    ck_assert_int_eq(weft_sim_create(&large.options, &sim), 0);
    weft_sim_destroy(&sim);
    large.tail = 1;
    ck_assert_int_eq(weft_sim_create(&large.options, &sim), -E2BIG);
    ck_assert_ptr_null(sim);
    weft_sim_options options = {.struct_size = offsetof(weft_sim_options, start_ns)};
    options.pause_percent = 1000; /* beyond struct_size: not looked at */
    ck_assert_int_eq(weft_sim_create(&options, &sim), 0);
    weft_sim_destroy(&sim);
    options.struct_size = WEFT_SIM_OPTIONS_INIT;
    ck_assert_int_eq(weft_sim_create(&options, &sim), -EINVAL);
    options.struct_size = 0;
    ck_assert_int_eq(weft_sim_create(&options, &sim), -EINVAL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sim_core");
    TCase *tcase = tcase_create("core");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_quiet_when_all_park_for_good);
    tcase_add_test(tcase, test_wake_before_park_is_kept_once);
    tcase_add_test(tcase, test_time_jumps_to_earliest_deadline);
    tcase_add_test(tcase, test_run_ends_when_condition_holds);
    tcase_add_test(tcase, test_hash_same_for_same_seed_only);
    tcase_add_test(tcase, test_nesting_reaches_its_bound_and_no_more);
    tcase_add_test(tcase, test_pauses_let_others_overtake);
    tcase_add_test(tcase, test_relax_lets_the_other_thread_move);
    tcase_add_test(tcase, test_join_steps_until_the_thread_ends);
    tcase_add_test(tcase, test_park_from_outside_steps_the_others);
    tcase_add_test(tcase, test_streams_are_independent);
    tcase_add_test(tcase, test_options_follow_the_size_rule);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
