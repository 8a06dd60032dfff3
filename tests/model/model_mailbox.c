/* SPDX-License-Identifier: MIT
 *
 * The mailbox (sched/mailbox.h): senders push, runners take the actor from a run queue and
 * consume: newest, reverse, handle, free all but the anchor, go idle or queue the actor again.
 *
 * Proved: every message is handled exactly once, those of one sender in order; a push answers 1
 * exactly when nobody owns or queues the actor, so there is never a second owner and no message
 * lies in an actor that nobody runs; at the end the word is IDLE, every cell is free and consumed
 * is the seq of the last message handled; a refused sender always gets through later.
 *   mailbox-bound      every message has a cell of its own: more than bound never wait, plus what
 *                      was handled while a push was under way (it may have found IDLE twice, and
 *                      the count of the first time is too low then)
 *   mailbox-reuse      two cells for all, so cells come back while a push is under way, with a
 *                      foreign seq: the bound may be off, nothing else
 *   mailbox-requeue    the runner may put the actor back with its anchor
 *   mailbox-handover   two runners: the next owner is another thread
 */
#include "tests/model/cells.h"

enum { GEN = 7, SENDERS = 2 };

enum kind { KIND_BOUND, KIND_REUSE, KIND_REQUEUE, KIND_HANDOVER };

static struct world {
    struct cells cells;
    struct weft__mailbox mailbox;
    uint32_t anchor;   /* the slot's: kept while the actor is queued again */
    uint32_t queued;   /* in the run queue */
    uint32_t owing;    /* pushes that answered 1 and did not queue the actor yet */
    uint32_t owners;   /* runners that have the actor */
    uint32_t requeues; /* still allowed */
    uint32_t pushed;
    uint32_t handled;
    uint32_t last[SENDERS]; /* number of the last message handled */
    uint32_t last_seq;
    uint32_t short_by; /* how much the length may be too low: see mailbox-bound */
} world;

/* const after init */
static enum kind kind;
static uint32_t bound;
static uint32_t messages[SENDERS];

static const char *const roles[] = {"sender 0", "sender 1", "runner 0", "runner 1"};

static void init(int parameter) {
    kind = (enum kind)parameter;
    bound = kind == KIND_REUSE ? 1 : 2;
    messages[0] = kind == KIND_REUSE ? 3 : 2;
    messages[1] = kind == KIND_REQUEUE ? 1 : 2;
    world.requeues = kind == KIND_REQUEUE ? 2 : 0;
    uint32_t count = kind == KIND_BOUND ? CELLS_MAX : kind == KIND_REQUEUE ? 3 : 2;
    cells_init(&world.cells, count, kind != KIND_BOUND);
    weft__mailbox_open(&world.mailbox, GEN, WEFT__MAILBOX_IDLE);
    explore_name(&world.mailbox.word, 8, "word");
    explore_name(&world.mailbox.consumed, 4, "consumed");
}

static void sender_schedule(void) {
    EXPLORE_CHECK(world.queued + world.owing + world.owners == 0,
                  "a push scheduled an actor that is scheduled");
    world.owing++;
    explore_step("schedule");
    world.owing--;
    world.queued++;
}

/* Until it is not refused. */
static int sender_push(uint32_t index) {
    for (;;) {
        uint32_t handled = world.handled;
        int answer = weft__mailbox_push(&world.mailbox, &arena, GEN, index, bound);
        if (answer != -EBUSY) {
            EXPLORE_CHECK(answer >= 0, "a push failed");
            world.pushed++;
            EXPLORE_CHECK(kind != KIND_BOUND ||
                              world.pushed - world.handled <= bound + world.short_by,
                          "more than bound wait");
            if (world.short_by < world.handled - handled) {
                world.short_by = world.handled - handled;
            }
            return answer;
        }
        weft_pause();
    }
}

static void sender(uint32_t id) {
    for (uint32_t number = 1; number <= messages[id]; number++) {
        uint32_t index = cells_take(id << 8 | number);
        if (sender_push(index) == 1) {
            sender_schedule();
        }
    }
}

static void handle(uint32_t index) {
    uint32_t tag = cells_tag(index);
    EXPLORE_CHECK(tag != CELLS_POISON, "a freed message was handled");
    uint32_t from = tag >> 8;
    EXPLORE_CHECK(from < SENDERS, "no message of ours was handled");
    EXPLORE_CHECK((tag & 0xff) == world.last[from] + 1, "lost, doubled or out of order");
    explore_step("handle");
    EXPLORE_CHECK(cells_tag(index) == tag, "freed while it was handled");
    world.last[from]++;
    world.handled++;
    world.short_by = world.handled == world.pushed ? 0 : world.short_by;
    world.last_seq = cells_seq(index);
    weft_store32_relaxed(&world.mailbox.consumed, world.last_seq);
}

/* Handles what was pushed above the anchor; the newest is the new anchor. */
static uint32_t run_batch(uint32_t newest, uint32_t anchor) {
    struct weft__batch batch = weft__mailbox_reverse(&arena, newest, anchor);
    if (anchor != 0) {
        cells_give(anchor);
    }
    uint32_t index = batch.first;
    while (index != batch.last) {
        uint32_t next = cells_next(index);
        handle(index);
        cells_give(index);
        index = next;
    }
    handle(batch.last);
    return batch.last;
}

/* One turn of the actor. */
static void run(void) {
    uint32_t anchor = world.anchor;
    world.anchor = 0;
    for (;;) {
        uint32_t newest = weft__mailbox_newest(&world.mailbox, anchor);
        if (newest != 0) {
            anchor = run_batch(newest, anchor);
            if (world.requeues > 0 && explore_choose(2) == 1) {
                world.requeues--;
                world.anchor = anchor;
                world.owners--;
                world.queued++;
                return;
            }
        } else if (weft__mailbox_idle(&world.mailbox, GEN, anchor)) {
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
    EXPLORE_CHECK(world.handled == messages[0] + messages[1], "a message was not handled");
    EXPLORE_CHECK(world.queued + world.owing + world.owners == 0, "left over: scheduled");
    EXPLORE_CHECK(cells_all_free(), "left over: a cell");
    EXPLORE_CHECK(world.mailbox.word.raw == weft__mailbox_word(GEN, WEFT__MAILBOX_IDLE),
                  "left over: not idle");
    EXPLORE_CHECK(world.mailbox.consumed.raw == world.last_seq, "consumed is wrong");
}

#define MODEL(NAME, THREADS, DAEMONS, KIND)                                                        \
    {                                                                                              \
        .name = NAME, .threads = (THREADS), .roles = roles, .daemons = (DAEMONS),                  \
        .parameter = (KIND), .world = &world, .world_bytes = sizeof world, .init = init,           \
        .body = body, .final = final                                                               \
    }

static const struct explore_model models[] = {
    MODEL("mailbox-bound", 3, 4, KIND_BOUND),
    MODEL("mailbox-reuse", 3, 4, KIND_REUSE),
    MODEL("mailbox-requeue", 3, 4, KIND_REQUEUE),
    MODEL("mailbox-handover", 4, 12, KIND_HANDOVER),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
