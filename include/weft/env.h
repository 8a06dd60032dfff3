/* SPDX-License-Identifier: MIT
 *
 * The seam: everything nondeterministic a runtime uses. Production fills it with the operating
 * system (weft_env_os), the simulator (weft/sim.h) with virtual time, a seeded generator and
 * threads that it steps itself. Nothing in the library reads a clock, draws a random byte, starts
 * or parks a thread except through this object.
 * Stability: unstable; version tells layouts apart.
 */
#ifndef WEFT_ENV_H
#define WEFT_ENV_H

#include <weft/defs.h>

WEFT_BEGIN_DECLS

enum { WEFT_ENV_VERSION = 1 };

/* What a step of a thread's body answers. */
enum weft_step {
    WEFT_STEP_RAN = 0,  /* did something: step again */
    WEFT_STEP_IDLE = 1, /* found nothing, still looking: step again */
    WEFT_STEP_PARK = 2, /* may sleep until its driver is woken or until *deadline_ns */
    WEFT_STEP_EXIT = 3, /* the body is over: do not step again */
};

enum weft_thread_kind {
    WEFT_THREAD_SCHEDULER = 0,
    WEFT_THREAD_HELPER = 1,
    WEFT_THREAD_WATCHDOG = 2,
};

/* A thread the runtime wants. The environment calls step until it answers WEFT_STEP_EXIT, and on
 * WEFT_STEP_PARK lets the thread sleep on driver, a thing made by driver_create. */
typedef struct weft_env_thread {
    const char *name; /* at most 15 bytes */
    enum weft_thread_kind kind;
    uint32_t index;
    int cpu;      /* bind to this CPU, -1: to none */
    void *driver; /* what it parks on */
    enum weft_step (*step)(void *arg, uint64_t *deadline_ns);
    void *arg;
} weft_env_thread;

typedef struct weft_env weft_env;
struct weft_env {
    uint32_t version; /* WEFT_ENV_VERSION */
    void *impl;
    /* Clocks, ns. Any thread. The monotonic one never goes back. */
    uint64_t (*now_mono_ns)(weft_env *env);
    uint64_t (*now_wall_ns)(weft_env *env);
    /* Random bytes; used for seeds and incarnations only. Any thread. */
    void (*random)(weft_env *env, void *bytes, size_t size);
    /* 0 and a handle for thread_join, or negative errno. */
    int (*thread_start)(weft_env *env, const weft_env_thread *thread, void **ret_handle);
    void (*thread_join)(weft_env *env, void *handle);
    /* What a thread parks on. park returns when woken, when deadline_ns has passed
     * (UINT64_MAX: never) or spuriously; a wake before the park is not lost. wake: any thread.
     * fd: a descriptor that is readable while a wake is pending, or -1; only asked of a driver
     * made with want_fd. */
    int (*driver_create)(weft_env *env, bool want_fd, void **ret_driver);
    void (*driver_destroy)(weft_env *env, void *driver);
    void (*driver_park)(weft_env *env, void *driver, uint64_t deadline_ns);
    void (*driver_wake)(weft_env *env, void *driver);
    int (*driver_fd)(weft_env *env, void *driver);
    /* Makes every other thread of the process execute a full memory barrier (membarrier(2));
     * NULL: not available, the fast sides then use full barriers themselves. */
    void (*heavy_barrier)(weft_env *env);
    /* A thread that waits for another for a short time calls this between looks. */
    void (*relax)(weft_env *env);
    /* Simulator only, else NULL. trace: every choice the runtime makes, for the trace hash.
     * point: a place inside a step where other threads may be stepped (nested); only called in
     * builds with WEFT_SIM_POINTS. No watchdog is started when trace is set. */
    void (*trace)(weft_env *env, uint32_t event, uint64_t first, uint64_t second);
    void (*point)(weft_env *env, uint32_t point);
};

/* The operating system as environment: a new one [out], and its end. -ENOMEM. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_env_os_create(weft_env **ret_env);
WEFT_API void weft_env_os_destroy(weft_env **env);

WEFT_END_DECLS

#endif
