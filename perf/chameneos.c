/* SPDX-License-Identifier: MIT
 *
 * x1_chameneos: 100 creatures and one mall. A creature sends its colour to the mall, which pairs
 * arrivals and sends each the other's colour. After the last meeting the mall tells every arrival
 * to stop; creatures answer how often they met, and that must be twice the number of meetings.
 */
#include <stdlib.h>

#include "perf.h"

enum { TAG_START = 1, TAG_MEET = 2, TAG_STOP = 3, TAG_COUNT = 4 };

enum { CREATURES = 100, COLOURS = 3, MEETINGS = 2000000 };

struct mall {
    weft_pid waiting; /* none: nobody does */
    uint64_t colour;  /* of the one that waits */
    uint64_t meetings_left;
    uint64_t creatures_left;
    uint64_t sum;
    uint64_t *ret_sum;
    struct perf_gate *gate;
};

struct creature {
    weft_pid mall;
    uint64_t colour;
    uint64_t meetings;
};

static int actor_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static void mall_meet(weft_ctx *ctx, struct mall *mall, weft_msg *msg) {
    weft_pid sender = weft_sender(ctx, msg);
    uint64_t colour = perf_value(msg);

    if (mall->meetings_left == 0) {
        perf_send(ctx, sender, TAG_STOP, 0);
    } else if (weft_pid_is_none(mall->waiting)) {
        mall->waiting = sender;
        mall->colour = colour;
    } else {
        perf_send(ctx, sender, TAG_MEET, mall->colour);
        perf_send(ctx, mall->waiting, TAG_MEET, colour);
        mall->waiting = weft_pid_none();
        mall->meetings_left--;
    }
}

static int mall_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct mall *mall = state;

    if (__builtin_expect(weft_msg_tag(msg) == TAG_MEET, 1)) {
        mall_meet(ctx, mall, msg);
        return WEFT_CONTINUE;
    }
    mall->sum += perf_value(msg);
    mall->creatures_left--;
    if (mall->creatures_left != 0) {
        return WEFT_CONTINUE;
    }
    *mall->ret_sum = mall->sum;
    perf_gate_pass(mall->gate);
    return WEFT_STOP;
}

static int creature_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct creature *creature = state;

    switch (weft_msg_tag(msg)) {
    case TAG_MEET:
        creature->colour = (2 * COLOURS - creature->colour - perf_value(msg)) % COLOURS;
        creature->meetings++;
        break;
    case TAG_STOP:
        perf_send(ctx, creature->mall, TAG_COUNT, creature->meetings);
        return WEFT_STOP;
    default:
        break; /* the start */
    }
    perf_send(ctx, creature->mall, TAG_MEET, creature->colour);
    return WEFT_CONTINUE;
}

static const weft_type_def mall_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "perf-mall",
                                       .state_size = sizeof(struct mall),
                                       .init = actor_init,
                                       .receive = mall_receive};
static const weft_type_def creature_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                           .name = "perf-creature",
                                           .state_size = sizeof(struct creature),
                                           .init = actor_init,
                                           .receive = creature_receive};

void perf_x1_chameneos(struct perf *perf) {
    uint64_t meetings = perf_count(perf, MEETINGS);
    uint64_t sum = 0;
    struct perf_gate gate;
    struct mall mall = {
        .meetings_left = meetings, .creatures_left = CREATURES, .ret_sum = &sum, .gate = &gate};
    struct creature creature = {.colour = 0};
    weft_pid pids[CREATURES];
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&gate, 1);
    creature.mall = perf_spawn(perf, perf_type(perf, &mall_def), &mall, sizeof(mall));
    for (uint32_t i = 0; i < CREATURES; i++) {
        creature.colour = i % COLOURS;
        pids[i] = perf_spawn(perf, perf_type(perf, &creature_def), &creature, sizeof(creature));
    }
    begin = perf_clock_ns();
    for (uint32_t i = 0; i < CREATURES; i++) {
        perf_post(perf, pids[i], TAG_START, 0);
    }
    perf_gate_wait(&gate, "x1_chameneos");
    elapsed = perf_clock_ns() - begin;
    if (sum != 2 * meetings) {
        perf_die("x1_chameneos: the sum is wrong");
    }
    perf_emit(perf, "x1_chameneos", perf_rate(meetings, elapsed), "meetings/s");
}
