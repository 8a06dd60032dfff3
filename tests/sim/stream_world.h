/* SPDX-License-Identifier: MIT
 *
 * The seeded suite for streams, inside view. A world is one simulator with one or two runtimes, a
 * listener and clients that are made from outside while it runs. Every connection actor has a
 * side: what it wrote, what it received and what happened to it, kept outside of the actor so that
 * it can be judged after the actor has ended. stream_actor.c is the actor, test_streams.c the
 * world, its disturbances and the verdict.
 *
 * The bytes of a direction are a function of their position; a client's first four are its number,
 * by which a server's side finds its other side.
 */
#ifndef WEFT_STREAM_WORLD_H
#define WEFT_STREAM_WORLD_H

#include <stdlib.h>
#include <weft/sim.h>
#include <weft/stream.h>
#include <weft/weft.h>

#include "sim_prng.h"

enum { SIDES_MAX = 256, RUNTIMES_MAX = 2, HEADER_BYTES = 4, WRITE_MAX = 20000 };

/* How a side goes about it, drawn before. */
struct plan {
    uint64_t total;          /* bytes to write */
    uint32_t write_max;      /* at once */
    uint32_t abort_permille; /* of messages */
    uint32_t close_permille;
    uint32_t exit_permille;
    uint32_t pause_permille;
    uint32_t keep_permille; /* of data that is kept for a while */
    uint32_t flags;         /* of the stream */
    bool write_buf;
    bool close_at_end; /* weft_stream_close when all is written, instead of weft_stream_end */
};

struct side {
    struct world *world;
    struct side *other; /* NULL: not known */
    uint32_t number;
    bool server;
    struct plan plan;
    weft_pid pid;
    uint32_t runtime;
    bool begun;      /* init ran */
    bool terminated; /* terminate ran, or killed */
    bool disturbed;  /* killed or stopped from outside, or its runtime was stopped */
    bool full;
    bool writing_over; /* end or close was called, or the stream said so */
    bool called_close;
    bool called_abort;
    bool exited;
    uint64_t written;
    uint64_t received;
    uint32_t opens;
    uint32_t ends;
    uint32_t closes;
    int status; /* of CLOSED */
    uint32_t fulls;
    uint32_t refused;
    uint32_t pauses;
};

struct world {
    uint64_t seed;
    weft_sim *sim;
    struct sim_prng prng;
    weft_runtime *runtimes[RUNTIMES_MAX];
    const weft_type *types[RUNTIMES_MAX];
    bool stopped[RUNTIMES_MAX];
    uint32_t runtime_count;
    char address[WEFT_ADDRESS_TEXT_BYTES];
    weft_pid listener;
    struct plan server_plan;
    struct side sides[SIDES_MAX];
    uint32_t side_count;
    uint32_t connect_errors;
    uint64_t starved; /* receives without a buffer, in runtimes that have stopped */
};

/* What the init of a connection is given. */
struct side_arg {
    struct world *world;
    struct side *side; /* NULL: a server makes its own */
};

extern const weft_type_def stream_type;

/* A rule is broken: says so with the seed and ends the process. */
_Noreturn void stream_fail(const struct world *world, const struct side *side, const char *what);
struct side *stream_side(struct world *world);
void stream_plan(struct world *world, struct plan *ret_plan);

#define stream_must(side, condition)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            stream_fail((side)->world, side, #condition);                                          \
        }                                                                                          \
    } while (0)

/* The byte at a position of what a server or a client sends. */
static inline unsigned char stream_byte(bool server, uint64_t at) {
    return (unsigned char)(sim_mix64(at / 8 * 2 + server) >> (at % 8 * 8));
}

#endif
