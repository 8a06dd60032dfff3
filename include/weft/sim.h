/* SPDX-License-Identifier: MIT
 *
 * The simulator: whole runtimes in one thread, from one seed. It steps schedulers and helpers in
 * an order drawn from the seed, moves a virtual clock, and folds every choice the runtimes make
 * into a hash: the same seed gives the same hash. Link with weft-sim. Test your own actors with
 * it: create a weft_sim, create runtimes on weft_sim_env, start them, send, weft_sim_run.
 * One thread: the test's own. A blocking call (weft_runtime_call, weft_runtime_stop) steps the
 * others until it is over, so not with WEFT_TIMEOUT_NEVER; the descriptor of a weft_cq is -1.
 *
 * The environment has a network and files, in memory. All runtimes of a simulator share the host
 * 127.0.0.1 (also called ::1, and what "*:port" binds to); any other address may be bound and
 * connected to as well, and is a host of its own. What is sent arrives after a drawn time; the
 * faults below are drawn, too. Mistakes in the use of the driver (an operation submitted twice, its
 * memory changed, a descriptor closed under it or never) end the process with the seed.
 * Stability: unstable.
 */
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

#include <weft/env.h>
#include <weft/runtime.h>

WEFT_BEGIN_DECLS

typedef struct weft_sim weft_sim;

typedef struct weft_sim_options {
    size_t struct_size; /* WEFT_SIM_OPTIONS_INIT */
    uint64_t seed;
    uint64_t start_ns;      /* the virtual clock at the beginning; 0: 1 s */
    uint64_t step_ns;       /* virtual time one step takes at most, drawn from 0..; 0: 200 */
    uint32_t pause_percent; /* chance that a thread is held back for a while when it is drawn; a
                               faulty or overloaded machine. 0: none */
    uint32_t nest_max;      /* how deep threads may be stepped inside a step (builds with points) */
    /* The network. Chances are in per mille, 0: never. */
    uint32_t helper_files;       /* not 0: files are for helper threads, the driver has none */
    uint64_t latency_ns;         /* one way takes mostly so long at most, drawn; 0: 50 us */
    uint32_t short_permille;     /* fewer bytes are read or written than could be */
    uint32_t starve_permille;    /* receives answer -ENOBUFS, also while there are buffers */
    uint32_t rearm_permille;     /* operations that go on end after a good result */
    uint32_t reset_permille;     /* a stream is reset when bytes move, some may be lost */
    uint32_t connect_permille;   /* connects are refused or time out, possibly late */
    uint32_t accept_permille;    /* accepts answer -EMFILE or -ECONNABORTED */
    uint32_t late_permille;      /* results and cancels take up to a second */
    uint32_t open_permille;      /* opening answers -EMFILE or -ENOBUFS, submitting -ENOMEM */
    uint32_t file_permille;      /* file operations answer -EIO or -ENOSPC */
    uint32_t loss_permille;      /* of datagrams */
    uint32_t duplicate_permille; /* of datagrams */
    uint32_t reorder_permille;   /* datagrams that take much longer */
    uint32_t offset_permille;    /* received bytes begin somewhere inside of their buffer */
} weft_sim_options;

#define WEFT_SIM_OPTIONS_INIT sizeof(weft_sim_options)

WEFT_API WEFT_MUSTUSE int weft_sim_create(const weft_sim_options *options, weft_sim **ret_sim);
/* All its runtimes must be destroyed before. */
WEFT_API void weft_sim_destroy(weft_sim **sim);
/* The environment to create runtimes on; lives as long as sim. */
WEFT_API weft_env *weft_sim_env(weft_sim *sim);
WEFT_API uint64_t weft_sim_now_ns(const weft_sim *sim);
/* The hash of everything that happened so far. */
WEFT_API uint64_t weft_sim_hash(const weft_sim *sim);
/* A generator of the test's own, independent of the schedule. */
WEFT_API uint64_t weft_sim_random(weft_sim *sim);

/* Gives a name one more address, for looking up. Without this "nameN" is 10.0.0.0 plus N, and
 * "localhost" is 127.0.0.1; all other names are unknown. 0, -EINVAL or -ENOMEM. */
WEFT_API WEFT_MUSTUSE int weft_sim_name(weft_sim *sim, const char *name,
                                        const weft_address *address);

/* Cuts the network between two hosts (ports do not matter), or joins it again. What is under way
 * waits; connections are reset when it lasts, new ones time out. 0, -EINVAL or -ENOMEM. */
WEFT_API WEFT_MUSTUSE int weft_sim_partition(weft_sim *sim, const weft_address *left,
                                             const weft_address *right, bool on);

enum weft_sim_result {
    WEFT_SIM_DONE = 0,  /* until answered true */
    WEFT_SIM_QUIET = 1, /* every thread is parked without a deadline, and until_ns is UINT64_MAX */
    WEFT_SIM_STEPS = 2, /* max_steps were made */
    WEFT_SIM_TIME = 3,  /* the clock reached until_ns */
};

/* Steps until until(arg) is true (asked after each step; NULL: never), or all threads sleep for
 * good, or max_steps were made, or the clock passes until_ns. Time jumps to the next deadline when
 * every thread is parked; with a finite until_ns it gets there also when nothing happens any more,
 * so that the timeout of a weft_cq call can be awaited. */
WEFT_API enum weft_sim_result weft_sim_run(weft_sim *sim, uint64_t max_steps, uint64_t until_ns,
                                           bool (*until)(void *arg), void *arg);

/* weft_runtime_stop in virtual time: steps until the runtime has stopped. 0 or -ETIMEDOUT. */
WEFT_API WEFT_MUSTUSE int weft_sim_stop(weft_sim *sim, weft_runtime *runtime, uint64_t max_steps);

WEFT_END_DECLS

#endif
