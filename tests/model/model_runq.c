/* SPDX-License-Identifier: MIT
 *
 * The run queue (sched/runq.h) with a ring of two: the owner pushes entries, pops a batch when the
 * ring is full and pops what is left at the end; two thieves steal.
 *
 * Proved: every entry is taken exactly once, none is lost, and they are taken in the order they
 * were pushed, whoever takes them; a pop that answers 0 found the ring empty.
 */
#include "sched/runq.h"
#include "tests/model/explore.h"

enum { RING = 2, FIRST = 10, ENTRIES_MAX = 4, BATCH = 2 };

static struct world {
    struct weft__runq queue;
    weft_atomic_u32 ring[RING];
    uint32_t pushed;
    uint32_t taken;
} world;

static const char *const roles[] = {"owner", "thief 1", "thief 2"};
static uint32_t entries; /* const after init */
static uint32_t steals;  /* const after init: tries of a thief */

static void init(int parameter) {
    entries = (uint32_t)parameter;
    steals = 2;
    weft__runq_init(&world.queue, world.ring, RING);
    explore_name(&world.queue.tail, 8, "tail");
    explore_name(&world.queue.head, 8, "head");
    explore_name(world.ring, sizeof world.ring, "ring");
}

/* In the step of the swap that took them. */
static void taken(const uint32_t *batch, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        EXPLORE_CHECK(batch[i] == FIRST + world.taken, "taken twice, lost or out of order");
        world.taken++;
    }
}

static uint32_t pop(void) {
    uint32_t batch[BATCH];
    uint32_t count = weft__runq_pop_owner(&world.queue, batch, BATCH);
    taken(batch, count);
    return count;
}

static void owner(void) {
    for (uint32_t i = 0; i < entries; i++) {
        while (!weft__runq_push_owner(&world.queue, FIRST + i)) {
            (void)pop(); /* 0: thieves made room meanwhile */
        }
        world.pushed++;
    }
    while (pop() > 0) {
    }
    EXPLORE_CHECK(world.taken == world.pushed, "a pop found nothing in a ring that is not empty");
}

static void body(uint32_t thread) {
    if (thread == 0) {
        owner();
        return;
    }
    for (uint32_t i = 0; i < steals; i++) {
        uint32_t batch[BATCH];
        uint32_t count = weft__runq_steal_any(&world.queue, batch, BATCH);
        taken(batch, count);
    }
}

static void final(void) {
    EXPLORE_CHECK(world.taken == entries, "an entry was lost");
    EXPLORE_CHECK(world.queue.head.raw == entries, "left over: head");
    EXPLORE_CHECK(world.queue.tail.raw == entries, "left over: tail");
    EXPLORE_CHECK(weft__runq_length(&world.queue) == 0, "left over: an entry");
}

#define MODEL(NAME, THREADS, ENTRIES)                                                              \
    {                                                                                              \
        .name = NAME, .threads = (THREADS), .roles = roles, .parameter = (ENTRIES),                \
        .world = &world, .world_bytes = sizeof world, .init = init, .body = body, .final = final   \
    }

static const struct explore_model models[] = {
    MODEL("runq-3", 3, 3),
    MODEL("runq-4", 3, 4),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
