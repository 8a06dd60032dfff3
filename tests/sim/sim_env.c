/* SPDX-License-Identifier: MIT
 *
 * The environment of simulated runtimes: virtual clocks, seeded bytes, threads that sim.c steps,
 * and drivers that are one sticky wake token each, with I/O added by sim_net_op.c. Called by runtimes from inside their steps and
 * by the test between them; always on the one thread of the simulator.
 *
 * relax is the one place where a step cannot end before another thread has moved on, so other
 * threads are stepped on top of it whatever nest_max says. A wait for a thread that is itself
 * further down on the C stack can never end: that is a point in the wrong place, and reported.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_internal.h"

enum { SIM_DRIVER_MAGIC = 0x73696d33 };

static weft_sim *env_sim(weft_env *env) {
    return env->impl;
}

static uint64_t env_now_mono_ns(weft_env *env) {
    return env_sim(env)->now_ns;
}

static uint64_t env_now_wall_ns(weft_env *env) {
    return env_sim(env)->now_ns + env_sim(env)->wall_offset_ns;
}

/* Byte by byte from the number, so that the bytes do not depend on the machine's order. */
static void env_random(weft_env *env, void *bytes, size_t size) {
    unsigned char *at = bytes;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = (i & 7) == 0 ? sim_prng_next(&env_sim(env)->runtime) : value >> 8;
        at[i] = (unsigned char)value;
    }
}

/* ---- threads ------------------------------------------------------------------------------- */

static int env_thread_start(weft_env *env, const weft_env_thread *thread, void **ret_handle) {
    sim_thread *made;
    int status = weft__sim_thread_add(env_sim(env), thread, &made);
    if (status < 0) {
        return status;
    }
    *ret_handle = made;
    return 0;
}

static void env_thread_join(weft_env *env, void *handle) {
    weft_sim *sim = env_sim(env);
    sim_thread *thread = handle;
    for (uint32_t steps = 0; thread->place != SIM_EXITED; steps++) {
        if (thread->place == SIM_RUNNING) {
            weft__sim_fatal(sim, "a thread is joined from inside its own step");
        }
        if (steps == SIM_JOIN_STEPS_MAX) {
            weft__sim_fatal(sim, "a joined thread does not end");
        }
        if (!weft__sim_step(sim) && !weft__sim_jump(sim, UINT64_MAX)) {
            weft__sim_fatal(sim, "a joined thread sleeps for good");
        }
    }
    weft__sim_thread_forget(thread);
}

/* ---- drivers ------------------------------------------------------------------------------- */

sim_driver *weft__sim_driver(weft_env *env, void *driver) {
    sim_driver *own = driver;
    if (own == NULL || own->magic != SIM_DRIVER_MAGIC) {
        weft__sim_fatal(env_sim(env), "this is no driver");
    }
    return own;
}

static int env_driver_create(weft_env *env, bool want_fd, void **ret_driver) {
    (void)want_fd; /* there is no descriptor to wait on in virtual time: driver_fd says -1 */
    weft_sim *sim = env_sim(env);
    sim_driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return -ENOMEM;
    }
    driver->magic = SIM_DRIVER_MAGIC;
    driver->sim = sim;
    driver->id = sim->drivers_made++;
    sim->drivers_alive++;
    *ret_driver = driver;
    return 0;
}

static void env_driver_destroy(weft_env *env, void *driver) {
    if (driver == NULL) {
        return;
    }
    sim_driver *own = weft__sim_driver(env, driver);
    if (own->sleeper != NULL) {
        weft__sim_fatal(own->sim, "a driver is destroyed under its sleeper");
    }
    weft__sim_net_driver_fini(own);
    own->sim->drivers_alive--;
    own->magic = 0;
    free(own);
}

/* Only a thread the simulator did not start calls this: a program that drives a scheduler itself,
 * or waits for a runtime. The others step until it is woken or a result is there. */
static void env_driver_park(weft_env *env, void *driver, uint64_t deadline_ns) {
    weft_sim *sim = env_sim(env);
    sim_driver *own = weft__sim_driver(env, driver);
    for (uint32_t steps = 0; !own->token && own->ready_count == 0 && sim->now_ns < deadline_ns;
         steps++) {
        if (weft__sim_step(sim) || weft__sim_jump(sim, deadline_ns)) {
            if (steps == SIM_JOIN_STEPS_MAX) {
                weft__sim_fatal(sim, "a wait does not end");
            }
            continue;
        }
        if (deadline_ns == UINT64_MAX) {
            break; /* nobody is left to wake it: a spurious return, for the caller to judge */
        }
        sim->now_ns = deadline_ns;
    }
    own->token = false;
}

static void env_driver_wake(weft_env *env, void *driver) {
    sim_driver *own = weft__sim_driver(env, driver);
    sim_thread *sleeper = own->sleeper;
    weft__sim_fold(own->sim, SIM_EVENT_WAKE, own->id, sleeper != NULL);
    if (sleeper != NULL) {
        weft__sim_thread_wake(sleeper);
    } else {
        own->token = true;
    }
}

static int env_driver_fd(weft_env *env, void *driver) {
    (void)weft__sim_driver(env, driver);
    return -1;
}

/* ---- order, waiting, points ---------------------------------------------------------------- */

/* Steps happen one after another: every store is seen by the next step. */
static void env_heavy_barrier(weft_env *env) {
    (void)env;
}

static void env_relax(weft_env *env) {
    weft_sim *sim = env_sim(env);
    if (++sim->relaxed > SIM_RELAX_MAX) {
        weft__sim_fatal(sim, "a thread waits for one that cannot move: is there a point inside "
                             "something others wait for?");
    }
    sim->now_ns += sim_prng_below(&sim->time, sim->options.step_ns + 1);
    weft__sim_net_advance(sim);
    if (!weft__sim_step(sim)) {
        (void)weft__sim_jump(sim, UINT64_MAX); /* nothing to jump to: the count above ends this */
    }
}

static void env_trace(weft_env *env, uint32_t event, uint64_t first, uint64_t second) {
    weft__sim_fold(env_sim(env), event, first, second);
}

static void env_point(weft_env *env, uint32_t point) {
    weft_sim *sim = env_sim(env);
    uint32_t permille = sim->point_permille[point % SIM_POINTS];
    if (sim->depth > sim->options.nest_max || sim->options.nest_max == 0 || permille == 0) {
        return;
    }
    if (sim_prng_below(&sim->schedule, 1000) >= permille) {
        return;
    }
    uint64_t steps = sim_prng_magnitude(&sim->schedule, SIM_BURST_BITS);
    while (steps-- > 0) {
        if (weft__sim_step(sim)) {
            continue;
        }
        /* All others sleep. Now and then this thread is away for so long that they wake. */
        bool away = sim->options.pause_percent > 0 && sim_prng_below(&sim->pause, 4) == 0;
        if (!away || !weft__sim_jump(sim, UINT64_MAX)) {
            break;
        }
    }
}

void weft__sim_env_init(weft_sim *sim) {
    sim->env = (weft_env){
        .version = WEFT_ENV_VERSION,
        .impl = sim,
        .now_mono_ns = env_now_mono_ns,
        .now_wall_ns = env_now_wall_ns,
        .random = env_random,
        .thread_start = env_thread_start,
        .thread_join = env_thread_join,
        .driver_create = env_driver_create,
        .driver_destroy = env_driver_destroy,
        .driver_park = env_driver_park,
        .driver_wake = env_driver_wake,
        .driver_fd = env_driver_fd,
        .heavy_barrier = env_heavy_barrier,
        .relax = env_relax,
        .trace = env_trace,
        .point = env_point,
    };
}
