/* SPDX-License-Identifier: MIT
 *
 * Closing a mailbox (sched/mailbox.h): two senders push to generation 1 while the owner, at a
 * moment of its choice, closes it, sweeps what is left and lets the slot to generation 2, which
 * has a sender of its own.
 *
 * Proved: a push to generation 1 that answered 0 or 1 is handled or found in what the close left,
 * exactly once; a push that began after the close answers WEFT_E_NOPROC, one that answered so left
 * its message alone; no tenant gets a message that was pushed with another generation; messages of
 * one sender stay in order across the close. Cells are reused throughout. In close-early the new
 * sender does not wait for the mailbox to open; it tries twice and gets NOPROC until then.
 */
#include "tests/model/cells.h"

enum { OLD = 1, NEW = 2, SENDERS = 3, RUNNER = 3 };

static struct world {
    struct cells cells;
    struct weft__mailbox mailbox;
    uint32_t gen; /* the tenant the runner runs */
    uint32_t queued;
    uint32_t owing;
    uint32_t owners;
    bool closed; /* generation 1 */
    bool opened; /* generation 2: visible to others */
    uint32_t accepted;
    uint32_t finished; /* handled or swept */
    uint32_t last[SENDERS];
} world;

static const char *const roles[] = {"old sender 0", "old sender 1", "new sender", "runner"};
static const uint32_t messages[SENDERS] = {2, 1, 1};
static bool early; /* const after init: the new sender does not wait */

static void init(int parameter) {
    early = parameter != 0;
    world.gen = OLD;
    cells_init(&world.cells, 3, true);
    weft__mailbox_open(&world.mailbox, OLD, WEFT__MAILBOX_IDLE);
    explore_name(&world.mailbox.word, 8, "word");
    explore_name(&world.mailbox.consumed, 4, "consumed");
}

static bool opened(uint32_t thread) {
    (void)thread;
    return world.mailbox.word.raw >> 32 == NEW && (uint32_t)world.mailbox.word.raw != 2;
}

static void accepted(int answer, bool late) {
    EXPLORE_CHECK(!late, "a push after the close was accepted");
    world.accepted++;
    if (answer == 1) {
        EXPLORE_CHECK(world.queued + world.owing + world.owners == 0,
                      "a push scheduled an actor that is scheduled");
        world.owing++;
        explore_step("schedule");
        world.owing--;
        world.queued++;
    }
}

static void sender(uint32_t id) {
    uint32_t gen = id < 2 ? OLD : NEW;
    if (gen == NEW && !early) {
        explore_wait(opened, "for the new tenant");
    }
    uint32_t refused = 0;
    for (uint32_t number = 1; number <= messages[id];) {
        uint32_t index = cells_take(id << 8 | number);
        bool late = gen == OLD && world.closed;
        int answer = weft__mailbox_push(&world.mailbox, &arena, gen, index, 0);
        if (answer >= 0) {
            accepted(answer, late);
            number++;
            continue;
        }
        EXPLORE_CHECK(answer == WEFT_E_NOPROC, "a push answered something else");
        EXPLORE_CHECK(gen == NEW || world.closed, "refused before the close");
        EXPLORE_CHECK(cells_tag(index) == (id << 8 | number), "a refused message was touched");
        cells_give(index);
        EXPLORE_CHECK(gen == OLD || early, "refused while open");
        if (gen == OLD || ++refused == 2) {
            return;
        }
    }
}

static void finish(uint32_t index, uint32_t gen) {
    uint32_t tag = cells_tag(index);
    EXPLORE_CHECK(tag != CELLS_POISON, "a freed message was handled");
    uint32_t from = tag >> 8;
    EXPLORE_CHECK(from < SENDERS, "no message of ours was handled");
    EXPLORE_CHECK((from < 2 ? OLD : NEW) == gen, "a message of another tenant");
    EXPLORE_CHECK((tag & 0xff) == world.last[from] + 1, "lost, doubled or out of order");
    explore_step("handle");
    EXPLORE_CHECK(cells_tag(index) == tag, "freed while it was handled");
    world.last[from]++;
    world.finished++;
}

/* Handles or sweeps what was pushed above the anchor. */
static uint32_t run_batch(uint32_t newest, uint32_t anchor) {
    struct weft__batch batch = weft__mailbox_reverse(&arena, newest, anchor);
    if (anchor != 0) {
        cells_give(anchor);
    }
    uint32_t index = batch.first;
    while (index != batch.last) {
        uint32_t next = cells_next(index);
        finish(index, world.gen);
        cells_give(index);
        index = next;
    }
    finish(batch.last, world.gen);
    weft_store32_relaxed(&world.mailbox.consumed, cells_seq(batch.last));
    return batch.last;
}

/* Ends generation 1 and opens generation 2. */
static void close_and_open(uint32_t anchor) {
    uint32_t left = weft__mailbox_close(&world.mailbox, OLD, anchor);
    world.closed = true;
    world.owners--;
    if (left != 0) {
        anchor = run_batch(left, anchor);
    }
    if (anchor != 0) {
        cells_give(anchor);
    }
    world.gen = NEW;
    weft__mailbox_open(&world.mailbox, NEW, WEFT__MAILBOX_IDLE);
}

static void run(void) {
    uint32_t anchor = 0;
    for (;;) {
        if (!world.closed && explore_choose(2) == 1) {
            close_and_open(anchor);
            return;
        }
        uint32_t newest = weft__mailbox_newest(&world.mailbox, anchor);
        if (newest != 0) {
            anchor = run_batch(newest, anchor);
        } else if (weft__mailbox_idle(&world.mailbox, world.gen, anchor)) {
            world.owners--;
            if (anchor != 0) {
                explore_step("free the anchor");
                cells_give(anchor);
            }
            return;
        }
    }
}

static bool runner_ready(uint32_t thread) {
    (void)thread;
    return world.queued > 0;
}

static void runner(void) {
    for (;;) { /* a daemon */
        explore_wait(runner_ready, "for the actor");
        world.queued--;
        world.owners++;
        EXPLORE_CHECK(world.owners == 1, "two owners");
        run();
    }
}

static void body(uint32_t thread) {
    if (thread < SENDERS) {
        sender(thread);
    } else {
        runner();
    }
}

static void final(void) {
    EXPLORE_CHECK(world.finished == world.accepted, "an accepted message was lost");
    EXPLORE_CHECK(world.queued + world.owing + world.owners == 0, "left over: scheduled");
    EXPLORE_CHECK(cells_all_free(), "left over: a cell");
    uint64_t idle = weft__mailbox_word(world.gen, WEFT__MAILBOX_IDLE);
    EXPLORE_CHECK(world.mailbox.word.raw == idle, "left over: not idle");
    EXPLORE_CHECK(early || world.gen == OLD || world.last[2] == messages[2],
                  "the new tenant got nothing");
}

/* The new sender is a daemon: the owner may never choose to close. */
#define MODEL(NAME, EARLY)                                                                         \
    {                                                                                              \
        .name = NAME, .threads = 4, .roles = roles, .daemons = 1u << RUNNER | 1u << 2,             \
        .parameter = (EARLY), .world = &world, .world_bytes = sizeof world, .init = init,          \
        .body = body, .final = final                                                               \
    }

static const struct explore_model models[] = {
    MODEL("close", 0),
    MODEL("close-early", 1),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
