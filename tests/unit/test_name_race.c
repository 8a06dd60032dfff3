/* SPDX-License-Identifier: MIT
 *
 * Names while others register, take away, look up and end, on eight threads at a time.
 *
 * What is checked while they run: a name that is there during a whole lookup is found, with the
 * actor that has it; an actor that is found had begun to be registered before the lookup was over,
 * and its name had not been taken away before the lookup began. For that every registration notes
 * two times on a common clock that only counts. And when all have ended, nothing is left.
 */
#define _GNU_SOURCE
#include "sched/name.h"
#include "tests/unit/support.h"

#include <sched.h>

#if defined(WEFT_TSAN) || defined(__SANITIZE_ADDRESS__)
enum { SLOW = 4 };
#else
enum { SLOW = 1 };
#endif

enum {
    THREADS = 8,
    SHARED = 8,      /* names that all fight for */
    PRIVATE = 64,    /* names of each thread's own */
    LIVES = 1 << 16, /* actors of a test */
    OWNERS = 1 << 20,
    ROUNDS = 20000 / SLOW,
    DOOMED = 1000 / SLOW, /* actors of each thread */
};

/* When an actor's registrations of the shared names began and were over, 0: not (yet). */
struct life {
    weft_atomic_u64 begin[SHARED];
    weft_atomic_u64 end[SHARED];
};

struct race {
    struct rig rig;
    weft_atomic_u64 clock;
    weft_atomic_u32 stop;
    weft_atomic_u32 lives_used;
    weft_atomic_u64 found; /* lookups of shared names that found somebody */
    struct life *lives;
    weft_atomic_u64 *owners; /* by slot: generation and number of the life */
};

struct racer {
    struct race *race;
    uint32_t number;
    uint64_t random;
    weft_pid pid; /* this thread's actor */
    uint32_t life;
    bool has_shared[SHARED];
    bool has_private[PRIVATE];
};

static uint64_t tick(struct race *race) {
    return weft_add64_acq_rel(&race->clock, 1) + 1;
}

static uint32_t below(struct racer *racer, uint32_t bound) {
    racer->random = racer->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((racer->random >> 33) % bound);
}

static uint32_t table_count(struct rig *rig) {
    struct weft__names *names = weft__names_of(rig->runtime);
    if (names == NULL) {
        return 0;
    }
    weft__names_enter(names);
    uint32_t count = names->count;
    weft__names_leave(names);
    return count;
}

static size_t shared_name(uint32_t number, char name[WEFT_NAME_BYTES_MAX]) {
    /* Of different lengths, so that records of several sizes are used again. */
    memset(name, 'a' + (int)number, WEFT_NAME_BYTES_MAX);
    return 1 + number * 36;
}

static size_t private_name(const struct racer *racer, uint32_t number,
                           char name[WEFT_NAME_BYTES_MAX]) {
    memset(name, 'p', WEFT_NAME_BYTES_MAX);
    memcpy(name, &racer->number, sizeof(racer->number));
    memcpy(name + 4, &number, sizeof(number));
    return 8 + number * 3;
}

/* ---- one thread ------------------------------------------------------------------------------ */

static void be_born(struct racer *racer) {
    struct race *race = racer->race;
    racer->life = weft_add32_acq_rel(&race->lives_used, 1);
    ck_assert_uint_lt(racer->life, LIVES);
    racer->pid = rig_spawn(&race->rig, NULL);
    ck_assert_uint_lt(racer->pid.slot, OWNERS);
    weft_store64_release(&race->owners[racer->pid.slot],
                         (uint64_t)racer->pid.gen << 32 | racer->life);
    memset(racer->has_shared, 0, sizeof(racer->has_shared));
    memset(racer->has_private, 0, sizeof(racer->has_private));
}

static void use_shared(struct racer *racer, uint32_t number) {
    struct race *race = racer->race;
    struct life *life = &race->lives[racer->life];
    char name[WEFT_NAME_BYTES_MAX];
    size_t size = shared_name(number, name);
    if (racer->has_shared[number]) {
        ck_assert_int_eq(weft_name_unregister(race->rig.runtime, name, size), 0);
        weft_store64_release(&life->end[number], tick(race));
        racer->has_shared[number] = false;
        return;
    }
    if (weft_load64_relaxed(&life->begin[number]) != 0) {
        return; /* once in a life, so that its two times say it all */
    }
    weft_store64_release(&life->begin[number], tick(race));
    int result = weft_name_register(race->rig.runtime, name, size, racer->pid);
    ck_assert(result == 0 || result == -EEXIST);
    racer->has_shared[number] = result == 0;
    if (result != 0) {
        weft_store64_release(&life->begin[number], 0);
    }
}

static void look_shared(struct racer *racer, uint32_t number) {
    struct race *race = racer->race;
    char name[WEFT_NAME_BYTES_MAX];
    size_t size = shared_name(number, name);
    uint64_t from = tick(race);
    weft_pid pid = weft_name_whereis(race->rig.runtime, name, size);
    uint64_t until = tick(race);
    if (racer->has_shared[number]) {
        ck_assert(weft_pid_equal(pid, racer->pid));
    }
    if (weft_pid_is_none(pid)) {
        return;
    }
    (void)weft_add64_acq_rel(&race->found, 1);
    uint64_t owner = weft_load64_acquire(&race->owners[pid.slot]);
    if (owner >> 32 != pid.gen) {
        return; /* it has ended, and its slot is another's */
    }
    const struct life *life = &race->lives[(uint32_t)owner];
    uint64_t begin = weft_load64_acquire(&life->begin[number]);
    uint64_t end = weft_load64_acquire(&life->end[number]);
    ck_assert_msg(begin != 0 && begin < until, "name %u: found before it was registered", number);
    ck_assert_msg(end == 0 || end > from, "name %u: found after it was taken away", number);
}

static void use_private(struct racer *racer, uint32_t number) {
    weft_runtime *runtime = racer->race->rig.runtime;
    char name[WEFT_NAME_BYTES_MAX];
    size_t size = private_name(racer, number, name);
    weft_pid pid = weft_name_whereis(runtime, name, size);
    bool has = racer->has_private[number];
    ck_assert(weft_pid_equal(pid, has ? racer->pid : weft_pid_none()));
    if (has) {
        ck_assert_int_eq(weft_name_unregister(runtime, name, size), 0);
    } else {
        ck_assert_int_eq(weft_name_register(runtime, name, size, racer->pid), 0);
    }
    racer->has_private[number] = !has;
}

static void look_private(struct racer *racer, uint32_t number) {
    char name[WEFT_NAME_BYTES_MAX];
    size_t size = private_name(racer, number, name);
    weft_pid pid = weft_name_whereis(racer->race->rig.runtime, name, size);
    bool has = racer->has_private[number];
    ck_assert(weft_pid_equal(pid, has ? racer->pid : weft_pid_none()));
}

static void use_group(struct racer *racer) {
    weft_runtime *runtime = racer->race->rig.runtime;
    weft_pid pids[THREADS * 4];
    char name = (char)('0' + below(racer, 4));
    if (below(racer, 2) == 0) {
        ck_assert_int_eq(weft_group_join(runtime, &name, 1, racer->pid), 0);
    } else {
        int result = weft_group_leave(runtime, &name, 1, racer->pid);
        ck_assert(result == 0 || result == -ENOENT);
    }
    uint32_t count = weft_group_members(runtime, &name, 1, pids, THREADS * 4);
    for (uint32_t i = 0; i < count && i < THREADS * 4; i++) {
        ck_assert_uint_eq(pids[i].node, racer->pid.node);
        ck_assert(pids[i].gen != 0);
    }
}

/* The actor is killed; what it has is free when that is done. Once the names are gone another
 * actor of this thread's may have them: a few are taken at once, in the middle of the end. */
static void die(struct racer *racer) {
    struct race *race = racer->race;
    weft_runtime *runtime = race->rig.runtime;
    weft_pid old = racer->pid;
    bool had[PRIVATE];
    memcpy(had, racer->has_private, sizeof(had));
    ck_assert_int_eq(weft_runtime_kill_actor(runtime, old), 0);
    be_born(racer);
    for (uint32_t i = 0; i < PRIVATE; i++) {
        char name[WEFT_NAME_BYTES_MAX];
        size_t size = private_name(racer, i, name);
        if (!had[i]) {
            continue;
        }
        int result = -EEXIST;
        while (result == -EEXIST) { /* until the kill has arrived */
            result = weft_name_register(runtime, name, size, racer->pid);
            weft_pid pid = weft_name_whereis(runtime, name, size);
            ck_assert(result == 0 ? weft_pid_equal(pid, racer->pid)
                                  : weft_pid_equal(pid, old) || weft_pid_is_none(pid));
            if (result == -EEXIST) {
                sched_yield();
            }
        }
        ck_assert_int_eq(result, 0);
        racer->has_private[i] = true;
    }
}

static void *racer_run(void *arg) {
    struct racer *racer = arg;
    be_born(racer);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t what = below(racer, 1000);
        if (what < 200) {
            use_private(racer, below(racer, PRIVATE));
        } else if (what < 400) {
            look_private(racer, below(racer, PRIVATE));
        } else if (what < 600) {
            use_shared(racer, below(racer, SHARED));
        } else if (what < 950) {
            look_shared(racer, below(racer, SHARED));
        } else if (what < 985) {
            use_group(racer);
        } else {
            die(racer);
        }
    }
    ck_assert_int_eq(weft_runtime_kill_actor(racer->race->rig.runtime, racer->pid), 0);
    return NULL;
}

START_TEST(whoever_is_found_had_the_name) {
    struct race race = {.rig = rig_start(2)};
    struct racer racers[THREADS] = {0};
    pthread_t threads[THREADS];
    race.lives = calloc(LIVES, sizeof(*race.lives));
    race.owners = calloc(OWNERS, sizeof(*race.owners));
    ck_assert(race.lives != NULL && race.owners != NULL);
    for (uint32_t i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.race = &race, .number = i, .random = 77 + i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, racer_run, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_gt(weft_load64_acquire(&race.found), 1000);
    eventually(table_count(&race.rig) == 0);
    weft_pid pid = rig_spawn(&race.rig, NULL);
    for (uint32_t i = 0; i < SHARED; i++) {
        char name[WEFT_NAME_BYTES_MAX];
        size_t size = shared_name(i, name);
        ck_assert_int_eq(weft_name_register(race.rig.runtime, name, size, pid), 0);
    }
    rig_stop(&race.rig);
    free(race.lives);
    free(race.owners);
}
END_TEST

/* ---- ends against registrations -------------------------------------------------------------- */

static void *doomed_run(void *arg) {
    struct racer *racer = arg;
    weft_runtime *runtime = racer->race->rig.runtime;
    for (uint32_t i = 0; i < DOOMED; i++) {
        weft_pid pid = rig_spawn(&racer->race->rig, NULL);
        ck_assert_int_eq(weft_runtime_kill_actor(runtime, pid), 0);
        int result = 0;
        for (uint32_t n = 0; result == 0; n++) { /* until it has ended */
            char name[16];
            int size = snprintf(name, sizeof(name), "%u-%u-%u", racer->number, i % 64, n);
            result = n % 2 == 0 ? weft_name_register(runtime, name, (size_t)size, pid)
                                : weft_group_join(runtime, name, (size_t)size, pid);
            if (result == -EEXIST) {
                result = 0; /* one of its predecessors has not ended yet */
            }
            if (n >= 8) {
                sched_yield();
            }
        }
        ck_assert_int_eq(result, WEFT_E_NOPROC);
    }
    return NULL;
}

START_TEST(an_end_misses_no_registration) {
    struct race race = {.rig = rig_start(2)};
    struct racer racers[THREADS] = {0};
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.race = &race, .number = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, doomed_run, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    eventually(rig_gauges(&race.rig).actors == 0);
    ck_assert_uint_eq(table_count(&race.rig), 0);
    rig_stop(&race.rig);
}
END_TEST

/* ---- growth ---------------------------------------------------------------------------------- */

enum { LASTING = 500, GROWTH = 100000 / SLOW };

static size_t number_name(uint32_t number, char name[32]) {
    return (size_t)snprintf(name, 32, "number %u", number);
}

static void *lasting_run(void *arg) {
    struct racer *racer = arg;
    struct race *race = racer->race;
    uint64_t looks = 0;
    while (weft_load32_acquire(&race->stop) == 0) {
        char name[32];
        size_t size = number_name(below(racer, LASTING), name);
        weft_pid pid = weft_name_whereis(race->rig.runtime, name, size);
        ck_assert(weft_pid_equal(pid, racer->pid));
        looks++;
    }
    (void)weft_add64_acq_rel(&race->found, looks);
    return NULL;
}

START_TEST(names_are_found_while_the_table_grows) {
    struct race race = {.rig = rig_start(2)};
    struct racer racers[THREADS] = {0};
    pthread_t threads[THREADS];
    weft_pid pid = rig_spawn(&race.rig, NULL);
    char name[32];
    for (uint32_t i = 0; i < LASTING; i++) {
        size_t size = number_name(i, name);
        ck_assert_int_eq(weft_name_register(race.rig.runtime, name, size, pid), 0);
    }
    for (uint32_t i = 0; i < THREADS - 1; i++) {
        racers[i] = (struct racer){.race = &race, .number = i, .random = i, .pid = pid};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, lasting_run, &racers[i]), 0);
    }
    for (uint32_t i = LASTING; i < GROWTH; i++) {
        size_t size = number_name(i, name);
        ck_assert_int_eq(weft_name_register(race.rig.runtime, name, size, pid), 0);
        if (i % 3 != 0) {
            ck_assert_int_eq(weft_name_unregister(race.rig.runtime, name, size), 0);
        }
    }
    for (uint32_t i = LASTING; i < GROWTH; i++) {
        size_t size = number_name(i, name);
        int result = weft_name_unregister(race.rig.runtime, name, size);
        ck_assert_int_eq(result, i % 3 == 0 ? 0 : -ENOENT);
    }
    weft_store32_release(&race.stop, 1);
    for (uint32_t i = 0; i < THREADS - 1; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_gt(weft_load64_acquire(&race.found), 1000);
    ck_assert_uint_eq(table_count(&race.rig), LASTING);
    rig_stop(&race.rig);
}
END_TEST

static Suite *race_suite(void) {
    Suite *suite = suite_create("name race");
    TCase *races = tcase_create("races");
    tcase_set_timeout(races, 100);
    tcase_add_test(races, whoever_is_found_had_the_name);
    tcase_add_test(races, an_end_misses_no_registration);
    tcase_add_test(races, names_are_found_while_the_table_grows);
    suite_add_tcase(suite, races);
    return suite;
}

int main(void) {
    return run_suite(race_suite());
}
