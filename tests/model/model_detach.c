/* SPDX-License-Identifier: MIT
 *
 * Forwarding (sched/mailbox.h, weft__mailbox_detach): senders push to mailbox A, whose owner
 * forwards every message to mailbox B, the newest one only after it left A's word. B's owner
 * handles and frees them, so that the senders use the cells again.
 *
 * Proved: every message arrives at B exactly once, those of one sender in order; no message is in
 * two mailboxes; at the end both are IDLE and all cells are free.
 */
#include "tests/model/cells.h"

enum { GEN_A = 3, GEN_B = 5, SENDERS = 2, A = 0, B = 1 };

struct actor {
    struct weft__mailbox mailbox;
    uint32_t gen;
    uint32_t queued;
    uint32_t owing;
    uint32_t owners;
};

static struct world {
    struct cells cells;
    struct actor actors[2];
    uint32_t forwarded;
    uint32_t handled;
    uint32_t last[SENDERS];
} world;

static const char *const roles[] = {"sender 0", "sender 1", "owner of A", "owner of B"};
static uint32_t messages[SENDERS]; /* const after init */

static void init(int parameter) {
    messages[0] = 2;
    messages[1] = 1;
    cells_init(&world.cells, (uint32_t)parameter, true);
    world.actors[A].gen = GEN_A;
    world.actors[B].gen = GEN_B;
    for (uint32_t i = 0; i < 2; i++) {
        struct actor *actor = &world.actors[i];
        weft__mailbox_open(&actor->mailbox, actor->gen, WEFT__MAILBOX_IDLE);
        explore_name(&actor->mailbox.word, 8, i == A ? "A.word" : "B.word");
        explore_name(&actor->mailbox.consumed, 4, i == A ? "A.consumed" : "B.consumed");
    }
}

static void push(uint32_t to, uint32_t index) {
    struct actor *actor = &world.actors[to];
    EXPLORE_CHECK((uint32_t)world.actors[A + B - to].mailbox.word.raw != index,
                  "pushed while it is in the word of another mailbox");
    int answer = weft__mailbox_push(&actor->mailbox, &arena, actor->gen, index, 0);
    EXPLORE_CHECK(answer >= 0, "a push failed");
    if (answer == 1) {
        EXPLORE_CHECK(actor->queued + actor->owing + actor->owners == 0,
                      "a push scheduled an actor that is scheduled");
        actor->owing++;
        explore_step("schedule");
        actor->owing--;
        actor->queued++;
    }
}

static void forward(uint32_t index) {
    EXPLORE_CHECK(cells_tag(index) != CELLS_POISON, "a freed message was forwarded");
    world.forwarded++;
    push(B, index);
}

/* Forwards what was pushed above the anchor, but for the newest. The old anchor has left the word:
 * it goes first. */
static uint32_t forward_batch(uint32_t newest, uint32_t anchor) {
    struct weft__batch batch = weft__mailbox_reverse(&arena, newest, anchor);
    weft_store32_relaxed(&world.actors[A].mailbox.consumed, cells_seq(newest));
    if (anchor != 0) {
        forward(anchor);
    }
    uint32_t index = batch.first;
    while (index != batch.last) {
        uint32_t next = cells_next(index);
        forward(index);
        index = next;
    }
    return batch.last;
}

static void run_a(void) {
    struct actor *actor = &world.actors[A];
    uint32_t anchor = 0;
    for (;;) {
        uint32_t newest = weft__mailbox_newest(&actor->mailbox, anchor);
        if (newest != 0) {
            anchor = forward_batch(newest, anchor);
        } else if (anchor != 0) {
            if (weft__mailbox_detach(&actor->mailbox, actor->gen, anchor)) {
                forward(anchor);
                anchor = 0;
            }
        } else if (weft__mailbox_idle(&actor->mailbox, actor->gen, 0)) {
            actor->owners--;
            return;
        }
    }
}

static void handle(uint32_t index) {
    uint32_t tag = cells_tag(index);
    EXPLORE_CHECK(tag != CELLS_POISON, "a freed message was handled");
    uint32_t from = tag >> 8;
    EXPLORE_CHECK(from < SENDERS, "no message of ours was handled");
    EXPLORE_CHECK((tag & 0xff) == world.last[from] + 1, "lost, doubled or out of order");
    world.last[from]++;
    world.handled++;
}

static uint32_t handle_batch(uint32_t newest, uint32_t anchor) {
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

static void run_b(void) {
    struct actor *actor = &world.actors[B];
    uint32_t anchor = 0;
    for (;;) {
        uint32_t newest = weft__mailbox_newest(&actor->mailbox, anchor);
        if (newest != 0) {
            anchor = handle_batch(newest, anchor);
        } else if (weft__mailbox_idle(&actor->mailbox, actor->gen, anchor)) {
            actor->owners--;
            if (anchor != 0) {
                cells_give(anchor);
            }
            return;
        }
    }
}

static bool owner_ready(uint32_t thread) {
    return world.actors[thread - SENDERS].queued > 0;
}

static void body(uint32_t thread) {
    if (thread < SENDERS) {
        for (uint32_t number = 1; number <= messages[thread]; number++) {
            uint32_t index = cells_take(thread << 8 | number);
            push(A, index);
        }
        return;
    }
    struct actor *actor = &world.actors[thread - SENDERS];
    for (;;) { /* a daemon */
        explore_wait(owner_ready, "for the actor");
        actor->queued--;
        actor->owners++;
        EXPLORE_CHECK(actor->owners == 1, "two owners");
        if (thread - SENDERS == A) {
            run_a();
        } else {
            run_b();
        }
    }
}

static void final(void) {
    EXPLORE_CHECK(world.forwarded == messages[0] + messages[1], "a message was not forwarded");
    EXPLORE_CHECK(world.handled == world.forwarded, "a message was not handled");
    EXPLORE_CHECK(cells_all_free(), "left over: a cell");
    for (uint32_t i = 0; i < 2; i++) {
        const struct actor *actor = &world.actors[i];
        EXPLORE_CHECK(actor->queued + actor->owing + actor->owners == 0, "left over: scheduled");
        EXPLORE_CHECK(actor->mailbox.word.raw == weft__mailbox_word(actor->gen, WEFT__MAILBOX_IDLE),
                      "left over: not idle");
    }
}

#define MODEL(NAME, CELLS)                                                                         \
    {                                                                                              \
        .name = NAME, .threads = 4, .roles = roles, .daemons = 12, .parameter = (CELLS),           \
        .world = &world, .world_bytes = sizeof world, .init = init, .body = body, .final = final   \
    }

static const struct explore_model models[] = {
    MODEL("detach-2", 2),
    MODEL("detach-3", 3),
};

int main(int argc, char **argv) {
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
