/* SPDX-License-Identifier: MIT
 *
 * The inbox (sched/inbox.h): pushers put slots in, takers take all and walk the list. A pusher
 * puts its slot in again as soon as it was taken, also while others push. In the hurried cases
 * each push raises the flag, and the owner only looks when it is raised; beside it there may be a
 * taker that does not care about the flag (the watchdog, or the owner's look once a step).
 *
 * Proved: what was pushed is taken exactly once and none is lost; the list a taker walks ends; the
 * order of one pusher is kept (newest first in a list, older lists earlier); who looks only when the
 * flag is raised misses nothing.
 */
#include "sched/inbox.h"
#include "tests/model/explore.h"

enum { SLOTS = 4, PUSHERS = 2 }; /* a pusher has two slots */

static struct world {
    struct weft__inbox inbox;
    weft_atomic_u32 hurry;
    weft_atomic_u32 links[SLOTS + 1];
    bool queued[SLOTS + 1];
    uint32_t numbers[SLOTS + 1]; /* the pusher's count at the push */
    uint32_t pushed;
    uint32_t taken;
    uint32_t last[PUSHERS]; /* the number taken last */
    bool done[PUSHERS];
} world;

static const char *const roles[] = {"pusher 0", "pusher 1", "taker 0", "taker 1"};
static uint32_t takers; /* const after init */
static uint32_t rounds; /* const after init */
static bool hurried;    /* const after init */

enum { HURRIED = 8 }; /* in a model's parameter, beside the number of takers */

static void init(int parameter) {
    hurried = (parameter & HURRIED) != 0;
    takers = (uint32_t)parameter & ~(uint32_t)HURRIED;
    rounds = takers == 1 ? 3 : 2;
    explore_name(&world.inbox.head, 4, "head");
    explore_name(&world.hurry, 4, "hurry");
    explore_name(world.links, sizeof world.links, "links");
}

static bool slot_free(uint32_t thread) {
    return !world.queued[1 + 2 * thread] || !world.queued[2 + 2 * thread];
}

static void pusher(uint32_t id) {
    for (uint32_t i = 1; i <= rounds; i++) {
        explore_wait(slot_free, "for a slot");
        uint32_t index = 1 + 2 * id + (world.queued[1 + 2 * id] ? 1 : 0);
        world.queued[index] = true;
        world.numbers[index] = i;
        weft__inbox_push(&world.inbox, index, &world.links[index]);
        world.pushed++;
        if (hurried) {
            weft__inbox_hurry(&world.hurry);
        }
    }
    world.done[id] = true;
}

/* Takes all; with one taker the order is checked too (two may walk at the same time). */
static void take(bool by_flag) {
    uint32_t newest[PUSHERS] = {0, 0};
    uint32_t below[PUSHERS] = {UINT32_MAX, UINT32_MAX};
    uint32_t index = by_flag ? weft__inbox_take_hurried(&world.inbox, &world.hurry)
                             : weft__inbox_take(&world.inbox);
    while (index != 0) {
        EXPLORE_CHECK(index <= SLOTS, "no slot of ours was taken");
        EXPLORE_CHECK(world.queued[index], "taken twice");
        uint32_t id = (index - 1) / 2;
        uint32_t number = world.numbers[index];
        uint32_t next = weft_load32_relaxed(&world.links[index]);
        EXPLORE_CHECK(number < below[id], "out of order in one list");
        EXPLORE_CHECK(takers > 1 || number > world.last[id], "an older list came later");
        below[id] = number;
        newest[id] = number > newest[id] ? number : newest[id];
        world.queued[index] = false; /* its pusher may use it from here on */
        world.taken++;
        index = next;
    }
    for (uint32_t id = 0; id < PUSHERS; id++) {
        world.last[id] = newest[id] > world.last[id] ? newest[id] : world.last[id];
    }
}

static bool looks_at_flag(uint32_t thread) {
    return hurried && thread == PUSHERS;
}

static bool taker_ready(uint32_t thread) {
    return looks_at_flag(thread) ? world.hurry.raw != 0 : world.inbox.head.raw != 0;
}

static void body(uint32_t thread) {
    if (thread < PUSHERS) {
        pusher(thread);
        return;
    }
    for (;;) { /* a daemon */
        explore_wait(taker_ready, "for something in the inbox");
        take(looks_at_flag(thread));
    }
}

static void final(void) {
    EXPLORE_CHECK(world.pushed == PUSHERS * rounds, "a push did not end");
    EXPLORE_CHECK(world.taken == world.pushed, "lost");
    EXPLORE_CHECK(weft__inbox_empty(&world.inbox), "left over");
    EXPLORE_CHECK(!hurried || world.hurry.raw == 0, "left over: the flag");
}

#define MODEL(NAME, THREADS, DAEMONS, TAKERS)                                                      \
    {                                                                                              \
        .name = NAME, .threads = (THREADS), .roles = roles, .daemons = (DAEMONS),                  \
        .parameter = (TAKERS), .world = &world, .world_bytes = sizeof world, .init = init,         \
        .body = body, .final = final                                                               \
    }

static const struct explore_model models[] = {
    MODEL("inbox-1", 3, 4, 1),
    MODEL("inbox-2", 4, 12, 2),
    MODEL("inbox-hurried-1", 3, 4, HURRIED | 1),
    MODEL("inbox-hurried-2", 4, 12, HURRIED | 2),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
