/* SPDX-License-Identifier: MIT
 *
 * The stress program: real threads, a random graph of actors that do everything an actor can do,
 * threads outside that interfere, and an oracle that knows what must come out.
 *   stress.c         options, rounds, the end of a round
 *   stress_outside.c the threads outside
 *   stress_actor.c   what actors do
 * Every broken rule ends the program with a line that names it and the seed.
 */
#ifndef WEFT_TESTS_STRESS_H
#define WEFT_TESTS_STRESS_H

#include <stdatomic.h>
#include <weft/weft.h>

enum {
    STRESS_BOOK = 256,  /* pids of each kind that others know, many of them stale */
    STRESS_OUTSIDE = 4, /* threads outside */
    STRESS_NOTE_MAX = 6000,
};

enum stress_kind {
    STRESS_PLAIN = 0,    /* default bound: never reached */
    STRESS_REJECT = 1,   /* small mailbox: -EBUSY and READY */
    STRESS_DROP_NEW = 2, /* small mailbox */
    STRESS_DROP_OLD = 3, /* small mailbox */
    STRESS_SERIAL = 4,   /* user messages wait for its own calls */
    STRESS_PINNED = 5,   /* plain, on one scheduler for life */
    STRESS_KINDS = 6,
};

enum stress_tag { STRESS_TAG_NOTE = 1, STRESS_TAG_TINY = 2, STRESS_TAG_REPLY = 3 };

/* What a message carries in front of its filling. */
struct stress_note {
    uint64_t stream; /* a sender's numbering for one receiver; 0: outside any */
    uint64_t seq;    /* of all it sent on the stream */
    uint64_t exact;  /* of the messages that cannot get lost on the way; 0: a request */
    uint64_t to;     /* slot and generation */
    uint64_t from;   /* the same; 0: outside */
    uint64_t token;  /* requests: what the reply must repeat */
    uint32_t size;   /* in all */
    uint32_t magic;
};
enum { STRESS_NOTE_MAGIC = 0x7374726e };

/* Pairs of things that begin and end; written by anybody. */
enum stress_count {
    STRESS_CALLS,
    STRESS_CALLS_DONE,
    STRESS_TIMERS,
    STRESS_TIMERS_DONE,
    STRESS_JOBS,
    STRESS_JOBS_DONE,
    STRESS_READIES,
    STRESS_READIES_DONE,
    STRESS_SPAWNED,
    STRESS_INITS,
    STRESS_BEGUN, /* inits that succeeded */
    STRESS_CLEANED,
    STRESS_NOTES_SEEN,
    STRESS_DEAD_SEEN,
    STRESS_COUNTS,
};

struct stress {
    weft_runtime *runtime;
    const weft_type *types[STRESS_KINDS];
    const weft_type *dead_type;
    uint64_t seed;
    uint32_t schedulers;
    uint64_t alive_max;
    _Atomic uint64_t book[STRESS_KINDS][STRESS_BOOK]; /* slot and generation */
    _Atomic uint64_t streams;
    _Atomic uint64_t counts[STRESS_COUNTS];
    _Atomic uint32_t quiet;   /* nothing new is begun */
    _Atomic uint32_t leaving; /* threads outside end */
};

/* What a thread outside or an actor knows about what it sends to whom. */
struct stress_stream {
    uint64_t target;
    uint64_t id;
    uint64_t seq;
    uint64_t exact;
};

void stress_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static inline void stress_add(struct stress *stress, enum stress_count count, uint64_t n) {
    atomic_fetch_add_explicit(&stress->counts[count], n, memory_order_relaxed);
}

static inline uint64_t stress_get(struct stress *stress, enum stress_count count) {
    return atomic_load(&stress->counts[count]);
}

static inline uint64_t stress_address(weft_pid pid) {
    return (uint64_t)pid.slot << 32 | pid.gen;
}

static inline weft_pid stress_pid(struct stress *stress, uint64_t address) {
    weft_pid pid = {weft_runtime_node(stress->runtime), (uint32_t)(address >> 32),
                    (uint32_t)address};
    return address == 0 ? weft_pid_none() : pid;
}

/* splitmix64: a stream of numbers from one. */
static inline uint64_t stress_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- stress_actor.c ------------------------------------------------------------------------ */

int stress_types_register(struct stress *stress);
/* Spawn options for a kind; arg is static per stress. */
weft_spawn_options stress_spawn_options(struct stress **arg, enum stress_kind kind,
                                        uint64_t random);
/* A size for a message, from many small to few large. */
uint32_t stress_size(uint64_t random);
/* The stream to a target: the slot of the table, begun anew when another target had it. */
struct stress_stream *stress_stream_to(struct stress *stress, struct stress_stream *streams,
                                       uint32_t count, uint64_t target);
/* Fills bytes with a note of size bytes on a stream; request: without an exact number. */
void stress_note_fill(unsigned char *bytes, const struct stress_stream *stream, uint32_t size,
                      uint64_t from, uint64_t token);
/* The note was accepted. */
void stress_note_sent(struct stress_stream *stream, bool request);
/* Checks a note's filling and copies its head. */
void stress_note_read(const weft_msg *msg, struct stress_note *ret_note);

/* ---- stress_outside.c ---------------------------------------------------------------------- */

struct stress_thread {
    struct stress *stress;
    uint32_t index;
};
/* Body of a thread outside; returns when leaving is set. */
void *stress_outside(void *arg);

#endif
