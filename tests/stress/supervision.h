/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the supervision program share. supervision.c builds the trees and rages in
 * them; supervision_probe.c waits until it is quiet, looks at every supervisor and worker, and lets
 * single ones end. All of it but the workers is on one thread, outside of the runtime.
 */
#ifndef WEFT_TESTS_STRESS_SUPERVISION_H
#define WEFT_TESTS_STRESS_SUPERVISION_H

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

enum {
    HOUSE = 250, /* workers of one supervisor */
    ID_BYTES = 8,
    TAG_CRASH = 1,
    TAG_END = 2,
    TAG_SHUT = 3,
    TAG_WHO = 4,   /* a request: which worker are you? */
    TAG_ECHO = 5,  /* notes that all that was sent before has been handled */
    TAG_WATCH = 6, /* a request: monitor this pid */
    REFUSE = 4000, /* one in so many inits fails while it is wild */
    STREET = 8,    /* houses of one street */
    LIMIT = 20,    /* restarts of some houses */
    PROBES = 8,    /* houses of one strategy in which single workers end */
    LIMIT_PROBES = 2,
};

#define S_NS UINT64_C(1000000000)

struct worker {
    _Atomic uint64_t pid; /* slot and generation of whose init ran last */
    _Atomic uint32_t lives;
    _Atomic uint32_t echo;
    _Atomic uint64_t started; /* when its init last succeeded, among all starts */
    _Atomic uint64_t gone;    /* when it last ended, among all ends */
    uint64_t stopper;         /* the house that a request has told to stop it */
    uint32_t restart;
};

/* A house as it was before somebody ended. */
struct past {
    weft_pid house;
    uint64_t pids[HOUSE];
    uint32_t lives[HOUSE];
    uint64_t starts;
    uint64_t ends;
};

struct world {
    weft_runtime *runtime;
    const weft_type *type;
    const weft_type *process_type;
    weft_pid top;
    weft_pid watcher;
    uint64_t seed;
    uint64_t seconds;
    uint32_t schedulers;
    uint32_t houses;
    uint32_t streets;
    uint32_t count; /* of workers */
    struct worker *workers;
    weft_child_spec *specs; /* of workers */
    weft_child_spec *house_specs;
    weft_supervisor_def *defs; /* of houses */
    weft_child_spec *top_specs;
    weft_supervisor_def *street_defs;
    char (*street_ids)[ID_BYTES];
    uint32_t *numbers; /* arguments of workers */
    char (*ids)[ID_BYTES];
    _Atomic uint32_t wild;
    _Atomic uint64_t starts;
    _Atomic uint64_t ends;
    _Atomic uint64_t ended_pid; /* whose end the watcher has heard of last */
    _Atomic int ended_status;
    uint64_t blows;
    uint64_t random;
};

extern struct world world;

void supervision_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            supervision_fail("line %d: not so: %s", __LINE__, #condition);                         \
        }                                                                                          \
    } while (0)

static inline uint64_t now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * S_NS + (uint64_t)time.tv_nsec;
}

static inline void sleep_ns(uint64_t ns) {
    struct timespec time = {.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
    (void)nanosleep(&time, NULL);
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Waits until condition holds; fails after a minute. */
#define eventually(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ns_ = now_ns() + 60 * S_NS;                                                 \
        while (!(condition)) {                                                                     \
            must(now_ns() < until_ns_);                                                            \
            sleep_ns(50000);                                                                       \
        }                                                                                          \
    } while (0)

static inline uint64_t slot_gen(weft_pid pid) {
    return (uint64_t)pid.slot << 32 | pid.gen;
}

/* Every house has another strategy; one in eight is a simple_one_for_one. */
static inline uint32_t strategy_of(uint32_t house) {
    return house % 8 == 7 ? WEFT_SIMPLE_ONE_FOR_ONE : house % 3;
}

/* Every other row of houses is a street, if it is full. */
static inline bool is_in_street(uint32_t house) {
    uint32_t street = house / STREET;
    return street % 2 == 1 && (street + 1) * STREET <= world.houses;
}

static inline uint32_t street_strategy_of(uint32_t street) {
    return street / 2 % 3;
}

static inline bool is_limited(uint32_t house) {
    return house % 5 == 0;
}

static inline weft_pid pid_of(const struct worker *worker) {
    uint64_t pid = atomic_load(&worker->pid);
    return (weft_pid){.node = weft_runtime_node(world.runtime),
                      .slot = (uint32_t)(pid >> 32),
                      .gen = (uint32_t)pid};
}

/* ---- supervision.c ------------------------------------------------------------------------- */

int supervision_ask(weft_pid supervisor, weft_supervisor_request request,
                    weft_supervisor_answer *answer);
/* Fails but for what may be answered while everything ends and starts again. */
void supervision_order(weft_pid supervisor, uint32_t verb, const char *id);
/* The supervisor of a house; none while it does not run. */
weft_pid supervision_house(uint32_t house);

/* ---- supervision_probe.c ------------------------------------------------------------------- */

/* Until nothing is under way any more, and all is as it must be. */
void supervision_be_quiet(void);
/* Single ends in the quiet tree. */
void supervision_probe(void);

#endif
