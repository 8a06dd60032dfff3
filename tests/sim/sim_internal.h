/* SPDX-License-Identifier: MIT
 *
 * The inside of the simulator: sim.c keeps threads, time and choice; sim_env.c is the environment
 * runtimes see; sim_net*.c (inside view: sim_net.h) the network and the files behind it. Everything happens on the one thread that calls weft_sim_run, so there is no
 * synchronisation here at all.
 *
 * A simulated thread is in exactly one place:
 *   READY     in sim->ready, may be chosen
 *   SLEEPING  in the heap sim->sleepers, until due_ns: parked with a deadline, or held back
 *   PARKED    nowhere, until its driver is woken
 *   RUNNING   being stepped, possibly with others stepped on top of it
 *   EXITED    waits for thread_join
 */
#ifndef WEFT_SIM_INTERNAL_H
#define WEFT_SIM_INTERNAL_H

#include <weft/sim.h>

#include "sim_prng.h"

enum {
    SIM_THREADS_MAX = 65536,
    SIM_NAME_BYTES = 16,
    SIM_POINTS = 64,         /* points are told apart modulo this */
    SIM_WEIGHT_MAX = 16,     /* the fastest thread is chosen this many times as often */
    SIM_CHOICES_MAX = 64,    /* threads held back in a row before one must run */
    SIM_BURST_BITS = 6,      /* at most 2^6 steps inside another step */
    SIM_PAUSE_BITS = 15,     /* a pause takes at most 2^15 times step_ns */
    SIM_RELAX_MAX = 1000000, /* looks of a waiting thread before the wait counts as for ever */
    SIM_JOIN_STEPS_MAX = 1 << 24,
    SIM_STOP_STEPS = 65536, /* steps between two looks at a stopping runtime: each look wakes all */
};

/* What goes into the trace hash besides the runtimes' own events. */
enum sim_event {
    SIM_EVENT_START = 0x53000001,  /* thread, kind */
    SIM_EVENT_STEP = 0x53000002,   /* thread and depth, answer and time */
    SIM_EVENT_HOLD = 0x53000003,   /* thread, until */
    SIM_EVENT_JUMP = 0x53000004,   /* from, to */
    SIM_EVENT_WAKE = 0x53000005,   /* driver, whether somebody slept */
    SIM_EVENT_STRAY = 0x53000006,  /* thread woken for nothing */
    SIM_EVENT_NET = 0x53000007,    /* something reaches a socket: kind and socket or op, when */
    SIM_EVENT_OPEN = 0x53000008,   /* descriptor, what it is */
    SIM_EVENT_CLOSE = 0x53000009,  /* descriptor */
    SIM_EVENT_SUBMIT = 0x5300000a, /* op and kind, descriptor */
    SIM_EVENT_CANCEL = 0x5300000b, /* op */
    SIM_EVENT_RESULT = 0x5300000c, /* op, whether it goes on, and result; hash of the bytes */
    SIM_EVENT_CALL = 0x5300000d,   /* a call of the I/O vtable and its argument, its result */
};

enum sim_place { SIM_READY, SIM_SLEEPING, SIM_PARKED, SIM_RUNNING, SIM_EXITED };

typedef struct sim_thread {
    uint32_t magic;
    uint32_t id; /* counts from 0 over the life of the simulator; never an address */
    weft_sim *sim;
    weft_env_thread body;
    char name[SIM_NAME_BYTES];
    enum sim_place place;
    uint32_t place_index; /* in ready or sleepers */
    uint32_t weight;      /* 1..SIM_WEIGHT_MAX */
    uint32_t pause_percent;
    uint64_t due_ns; /* SLEEPING */
    uint64_t tie;    /* who comes first among equal due_ns */
    bool parked;     /* SLEEPING or PARKED on its driver, not just held back */
} sim_thread;

struct sim_op;

/* What a thread parks on, and where it does its I/O. */
typedef struct sim_driver {
    uint32_t magic;
    uint32_t id;
    weft_sim *sim;
    bool token; /* a wake that nobody used yet */
    sim_thread *sleeper;
    sim_thread
        *owner; /* the living thread that parks here; NULL: one the simulator did not start */
    /* I/O, see sim_net_op.c */
    const weft_io_host *host; /* NULL: not attached */
    bool polling;
    bool ringless;        /* buffers are taken when they are needed, as with epoll */
    uint32_t ring_target; /* else so many are held in advance */
    uint32_t ring_held;
    weft_buf *ring[64];
    uint32_t ops;          /* in flight */
    struct sim_op **ready; /* those with something for poll */
    uint32_t ready_count;
    uint32_t ready_room;
    weft_io_counts counts;
} sim_driver;

typedef struct sim_list {
    sim_thread **items;
    uint32_t count;
    uint32_t room;
} sim_list;

/* Sees every event before it is folded; for finding where two runs part. */
typedef void (*sim_observe_fn)(void *cookie, uint32_t event, uint64_t first, uint64_t second);

struct sim_net;

struct weft_sim {
    uint32_t magic;
    weft_env env;
    struct sim_net *net;
    sim_thread *running; /* the innermost thread being stepped */
    weft_sim_options options;
    uint64_t now_ns;
    uint64_t wall_offset_ns;
    uint64_t hash;
    uint64_t steps;
    uint32_t depth;   /* threads being stepped */
    uint32_t relaxed; /* looks since the last step from the outermost level */
    uint32_t threads_made;
    uint32_t drivers_made;
    uint32_t drivers_alive;
    bool stray_wakes; /* this seed wakes threads for nothing now and then */
    uint32_t point_permille[SIM_POINTS];
    sim_list threads; /* all that were not joined */
    sim_list ready;
    sim_list sleepers; /* binary heap by (due_ns, tie) */
    struct sim_prng schedule;
    struct sim_prng time;
    struct sim_prng pause;
    struct sim_prng runtime;
    struct sim_prng test;
    sim_observe_fn observe;
    void *observe_cookie;
};

/* ---- sim.c --------------------------------------------------------------------------------- */

/* A mistake of the program under test or of the simulator: prints the seed and aborts. */
_Noreturn void weft__sim_fatal(const weft_sim *sim, const char *what) __attribute__((cold));
void weft__sim_fold(weft_sim *sim, uint32_t event, uint64_t first, uint64_t second);
int weft__sim_thread_add(weft_sim *sim, const weft_env_thread *body, sim_thread **ret_thread);
void weft__sim_thread_forget(sim_thread *thread);
void weft__sim_thread_wake(sim_thread *thread);
/* Steps one thread; false when none can run at this time. */
bool weft__sim_step(weft_sim *sim);
/* Moves the clock to whatever comes first, at most to until_ns; false when there is nothing. */
bool weft__sim_jump(weft_sim *sim, uint64_t until_ns);
void weft__sim_observe(weft_sim *sim, sim_observe_fn observe, void *cookie);

/* What has become due happens now: the network first, then sleepers wake. */
void weft__sim_due(weft_sim *sim);

/* ---- sim_env.c ----------------------------------------------------------------------------- */

void weft__sim_env_init(weft_sim *sim);
sim_driver *weft__sim_driver(weft_env *env, void *driver);

/* ---- sim_net.c ----------------------------------------------------------------------------- */

/* 0 or -ENOMEM. */
int weft__sim_net_init(weft_sim *sim);
void weft__sim_net_fini(weft_sim *sim);
/* When the next thing happens in the network; UINT64_MAX: never. */
uint64_t weft__sim_net_due_ns(const weft_sim *sim);
/* Everything up to now happens. */
void weft__sim_net_advance(weft_sim *sim);
/* A driver ends: complains about what it still has. */
void weft__sim_net_driver_fini(sim_driver *driver);

#endif
