/* SPDX-License-Identifier: MIT
 *
 * Parking and waking (sched/idle.h): two schedulers look for work, search, announce, look again,
 * retract or park; producers publish an item each, one that any scheduler may take or one for
 * scheduler 0 only, and wake whom they claimed. Driver wakes are sticky. A schedule of a scheduler
 * here is what sched/ has to do around idle.h:
 *
 *   - something found while counted as a searcher: weft__idle_found, and when that was the last
 *     searcher, claim a sleeper if there is more work;
 *   - something seen after the announcement that was taken back: also claim a sleeper if there is
 *     more (the announcement ended the search, so a producer may have relied on this searcher),
 *     or, in park-*-first, search again before anything is taken, and take nothing of others' when
 *     enough search already;
 *   - after every park: take the announcement back; a searcher if somebody else did that.
 *
 * Proved, with the asymmetric barrier and without: in the end no scheduler sleeps while there is
 * work it could take, the count of searchers is 0, and the sleepers' bits are those who sleep. In
 * park-stuck-* a scheduler that takes an item never comes back from it, so every item needs a
 * scheduler of its own (work is not only not lost, it does not wait behind a long turn). In *-nap a
 * scheduler may nap once, here for ever: it may leave others' work alone, but not let others sleep
 * who would have been woken without it. One
 * published item costs at most one wake-up; of several, each may also be noticed by a searcher that
 * stops, so two at most.
 */
#include "sched/idle.h"
#include "tests/model/explore.h"

enum { SCHEDULERS_MAX = 3, ITEMS_MAX = 3 };

/* Bits of the parameter; above them the number of schedulers and of producers. */
enum {
    SYMMETRIC = 1,
    STUCK = 2,
    PINNED = 4,
    LIMIT_TWO = 8,
    BURST = 16,
    SEARCH_FIRST = 32,
    NAP = 64
};

static struct world {
    struct weft__idle idle;
    weft_atomic_u32 items[ITEMS_MAX]; /* anybody's: stored by a producer, swapped out */
    weft_atomic_u32 pinned;           /* scheduler 0's */
    uint32_t tokens[SCHEDULERS_MAX];  /* a driver wake is pending */
    bool parked[SCHEDULERS_MAX];
    bool napped[SCHEDULERS_MAX]; /* once in a model's life, and for ever if nobody wakes it */
    bool stuck[SCHEDULERS_MAX];  /* in a handler, for ever */
    uint32_t wakes;
} world;

static const char *const roles_two[] = {"scheduler 0", "scheduler 1", "producer 0", "producer 1",
                                        "producer 2"};
static const char *const roles_three[] = {"scheduler 0", "scheduler 1", "scheduler 2",
                                          "producer 0",  "producer 1",  "producer 2"};
static weft_env env;
/* const after init */
static int flags;
static uint32_t schedulers;
static uint32_t producers;
static uint32_t items_count;
static uint32_t searchers_max;

static void env_relax(weft_env *it) {
    (void)it;
    weft_pause();
}

static void env_heavy_barrier(weft_env *it) {
    (void)it;
}

static void init(int parameter) {
    flags = parameter & 0xff;
    schedulers = (uint32_t)parameter >> 8 & 0xf;
    producers = (uint32_t)parameter >> 12;
    items_count = (flags & BURST) != 0 ? 2 * producers : producers;
    searchers_max = (flags & LIMIT_TWO) != 0 ? 2 : 1;
    env.relax = env_relax;
    env.heavy_barrier = (flags & SYMMETRIC) != 0 ? NULL : env_heavy_barrier;
    weft__idle_init(&world.idle, &env, schedulers);
    explore_name(&world.idle.searching, 4, "searching");
    explore_name(&world.idle.sleepers[0], 8, "sleepers");
    explore_name(world.items, sizeof world.items, "items");
    explore_name(&world.pinned, 4, "pinned");
}

static void wake(int id) {
    if (id < 0) {
        return;
    }
    EXPLORE_CHECK((uint32_t)id < schedulers, "nobody of ours was claimed");
    world.wakes++;
    explore_step("driver wake");
    world.tokens[id] = 1;
}

static bool work_seen(uint32_t id) {
    for (uint32_t i = 0; i < items_count; i++) {
        if (weft_load32_acquire(&world.items[i]) != 0) {
            return true;
        }
    }
    return id == 0 && weft_load32_acquire(&world.pinned) != 0;
}

static bool pinned_take(uint32_t id) {
    return id == 0 && weft_load32_acquire(&world.pinned) != 0 &&
           weft_exchange32_acq_rel(&world.pinned, 0) != 0;
}

static bool work_take(uint32_t id) {
    for (uint32_t i = 0; i < items_count; i++) {
        uint32_t there = 1;
        if (weft_load32_acquire(&world.items[i]) != 0 &&
            weft_cas32_acq_rel(&world.items[i], &there, 0)) {
            return true;
        }
    }
    return pinned_take(id);
}

/* More work that somebody else could take? */
static void wake_for_more(void) {
    if (work_seen(schedulers)) {
        wake(weft__idle_claim(&world.idle));
    }
}

static bool park_ready(uint32_t thread) {
    return world.tokens[thread] != 0;
}

/* Announces, looks again, parks. Returns whether id counts as a searcher afterwards; [out] whether
 * it has to look for more work when it takes some. */
static bool sleep_try(uint32_t id, bool searching, bool *ret_look) {
    weft__idle_announce(&world.idle, id, searching);
    if (work_seen(id)) {
        *ret_look = true;
        return !weft__idle_retract(&world.idle, id);
    }
    world.parked[id] = true;
    explore_wait(park_ready, "for a driver wake");
    world.parked[id] = false;
    world.tokens[id] = 0;
    *ret_look = false;
    return !weft__idle_retract(&world.idle, id);
}

/* The same for a nap: others' work is looked at only to hand on what the search had covered. */
static bool nap_try(uint32_t id, bool searching) {
    world.napped[id] = true;
    weft__idle_nap(&world.idle, id, searching);
    if (searching && work_seen(schedulers)) {
        wake(weft__idle_claim(&world.idle));
    }
    if (id != 0 || weft_load32_acquire(&world.pinned) == 0) {
        world.parked[id] = true;
        explore_wait(park_ready, "for a driver wake in a nap");
        world.parked[id] = false;
        world.tokens[id] = 0;
    }
    return !weft__idle_retract(&world.idle, id);
}

/* The other way: only searchers take from others, and who saw work after its announcement tries to
 * be a searcher again before it takes any. */
static void scheduler_search_first(uint32_t id) {
    bool searching = false;
    bool look = false;
    for (;;) { /* a daemon */
        if (look && !searching) {
            weft_pause(); /* others search: there is work, but it is theirs */
        }
        if (!searching) {
            searching = weft__idle_search(&world.idle, searchers_max);
        }
        if (pinned_take(id) || (searching && work_take(id))) {
            if (searching && weft__idle_found(&world.idle) && work_seen(id)) {
                wake(weft__idle_published(&world.idle));
            }
            searching = false;
            look = false;
            if ((flags & STUCK) != 0) {
                world.stuck[id] = true;
                return;
            }
            continue;
        }
        if ((flags & NAP) != 0 && !world.napped[id] && explore_choose(2) == 1) {
            searching = nap_try(id, searching);
        } else {
            searching = sleep_try(id, searching, &look);
        }
    }
}

static void scheduler(uint32_t id) {
    bool searching = false;
    bool look = false; /* saw work after the announcement, and took the announcement back */
    for (;;) {         /* a daemon */
        if (work_take(id)) {
            if (searching ? weft__idle_found(&world.idle) : look) {
                wake_for_more();
            }
            searching = false;
            look = false;
            if ((flags & STUCK) != 0) {
                world.stuck[id] = true;
                return;
            }
            continue;
        }
        if (!searching && weft__idle_search(&world.idle, searchers_max)) {
            searching = true;
            continue;
        }
        searching = sleep_try(id, searching, &look);
    }
}

static void producer(uint32_t id) {
    if (id == 0 && (flags & PINNED) != 0) {
        (void)weft_exchange32_acq_rel(&world.pinned, 1);
        wake(weft__idle_published_to(&world.idle, 0));
        return;
    }
    for (uint32_t i = id; i < items_count; i += producers) {
        weft_store32_release(&world.items[i], 1);
        wake(weft__idle_published(&world.idle));
    }
}

static void body(uint32_t thread) {
    if (thread < schedulers && (flags & SEARCH_FIRST) != 0) {
        scheduler_search_first(thread);
    } else if (thread < schedulers) {
        scheduler(thread);
    } else {
        producer(thread - schedulers);
    }
}

static void final(void) {
    uint64_t bits = 0;
    uint32_t items = 0;
    for (uint32_t i = 0; i < items_count; i++) {
        items += world.items[i].raw;
    }
    for (uint32_t id = 0; id < schedulers; id++) {
        if (world.stuck[id]) {
            continue;
        }
        uint64_t bit = (uint64_t)1 << id;
        bits |= bit;
        EXPLORE_CHECK(world.parked[id], "neither parked nor in a handler");
        EXPLORE_CHECK(items == 0 || (world.idle.nappers[0].raw & bit) != 0,
                      "lost wake: a scheduler sleeps while there is work");
        EXPLORE_CHECK(id != 0 || world.pinned.raw == 0, "lost wake: pinned work is not taken");
    }
    EXPLORE_CHECK(world.idle.searching.raw == 0, "the count of searchers is wrong");
    uint64_t both = world.idle.sleepers[0].raw & world.idle.nappers[0].raw;
    EXPLORE_CHECK((world.idle.sleepers[0].raw | world.idle.nappers[0].raw) == bits && both == 0,
                  "a sleeper's bit is wrong");
    EXPLORE_CHECK((flags & NAP) != 0 || world.wakes <= 2 * items_count - 1, "too many wake-ups");
}

#define MODEL(NAME, PREEMPTIONS, SCHEDULERS, PRODUCERS, FLAGS)                                     \
    {                                                                                              \
        .name = NAME, .threads = (SCHEDULERS) + (PRODUCERS), .preemptions = (PREEMPTIONS),         \
        .roles = (SCHEDULERS) == 2 ? roles_two : roles_three, .daemons = (1u << (SCHEDULERS)) - 1, \
        .parameter = (PRODUCERS) << 12 | (SCHEDULERS) << 8 | (FLAGS),                              \
        .heavy = ((FLAGS)&SYMMETRIC) == 0, .world = &world, .world_bytes = sizeof world,           \
        .init = init, .body = body, .final = final                                                 \
    }

static const struct explore_model models[] = {
    MODEL("park-one", 0, 2, 1, 0),
    MODEL("park-one-symmetric", 0, 2, 1, SYMMETRIC),
    MODEL("park-burst", 0, 2, 1, BURST),
    MODEL("park-burst-symmetric", 4, 2, 1, BURST | SYMMETRIC),
    MODEL("park-stuck-burst", 0, 2, 1, STUCK | BURST),
    MODEL("park-stuck", 0, 2, 2, STUCK),
    MODEL("park-stuck-symmetric", 0, 2, 2, STUCK | SYMMETRIC),
    MODEL("park-stuck-pinned", 0, 2, 2, STUCK | PINNED),
    MODEL("park-stuck-pinned-symmetric", 0, 2, 2, STUCK | PINNED | SYMMETRIC),
    MODEL("park-stuck-first", 5, 2, 2, STUCK | SEARCH_FIRST),
    MODEL("park-stuck-first-symmetric", 4, 2, 2, STUCK | SEARCH_FIRST | SYMMETRIC),
    MODEL("park-stuck-first-pinned", 5, 2, 2, STUCK | SEARCH_FIRST | PINNED),
    MODEL("park-stuck-nap", 4, 2, 2, STUCK | SEARCH_FIRST | NAP),
    MODEL("park-stuck-nap-pinned", 4, 2, 2, STUCK | SEARCH_FIRST | NAP | PINNED),
    MODEL("park-first", 3, 2, 2, SEARCH_FIRST),
    MODEL("park-stuck-three-first", 3, 3, 2, STUCK | SEARCH_FIRST | LIMIT_TWO),
    MODEL("park", 3, 2, 2, 0),
    MODEL("park-symmetric", 3, 2, 2, SYMMETRIC),
    MODEL("park-limit-two", 3, 2, 2, LIMIT_TWO),
    MODEL("park-pinned", 4, 2, 2, PINNED),
    MODEL("park-stuck-three", 3, 3, 2, STUCK),
    MODEL("park-stuck-three-pinned", 3, 3, 2, STUCK | PINNED | LIMIT_TWO),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
