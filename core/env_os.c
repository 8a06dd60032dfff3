/* SPDX-License-Identifier: MIT
 *
 * The environment of production: Linux clocks, getrandom, pthreads, futex or eventfd parking,
 * membarrier. The only file of the library that calls these. Every function may be called from any
 * thread except driver_park, which belongs to the thread the driver was made for.
 */
#define _GNU_SOURCE
#include "core/env_os.h"
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <weft/env.h>

#define NS_PER_S UINT64_C(1000000000)

/* What one thread parks on. The word is a sticky token: a wake sets it, a park consumes it. */
struct driver {
    weft_atomic_u32 token; /* wakers set 1, the parking thread takes it. K1 */
    int fd;                /* eventfd, or -1; const after init */
};

struct thread {
    pthread_t id;
    weft_env *env;
    weft_env_thread wanted;
};

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    (void)clock_gettime(clock, &time); /* fails only for a bad clock */
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static uint64_t os_now_mono_ns(weft_env *env) {
    (void)env;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t os_now_wall_ns(weft_env *env) {
    (void)env;
    return clock_ns(CLOCK_REALTIME);
}

static void os_random(weft_env *env, void *bytes, size_t size) {
    (void)env;
    unsigned char *at = bytes;
    while (size > 0) { /* bounded: getrandom returns at least one byte or is interrupted */
        ssize_t got = getrandom(at, size, 0);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        } else {
            weft_assert(got < 0 && errno == EINTR);
        }
    }
}

static void *thread_body(void *arg) {
    struct thread *thread = arg;
    const weft_env_thread *wanted = &thread->wanted;
    void (*park)(weft_env *, void *, uint64_t) =
        wanted->park != NULL ? wanted->park : thread->env->driver_park;
    /* Timers of ours are exact to the wheel's tick; the default slack of 50 us is not wanted. */
    (void)prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
    for (;;) { /* the event loop of this thread */
        uint64_t deadline_ns = UINT64_MAX;
        enum weft_step step = wanted->step(wanted->arg, &deadline_ns);
        if (step == WEFT_STEP_EXIT) {
            return NULL;
        }
        if (step == WEFT_STEP_PARK) {
            park(thread->env, wanted->driver, deadline_ns);
        }
    }
}

/* Starts the thread with signals blocked: they belong to the program's own threads. Not those a
 * thread raises itself by a fault: blocked, they would end the process past its crash handler. */
static int start_masked(struct thread *thread) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        (void)sigdelset(&all, faults[i]);
    }
    int result = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (result != 0) {
        return -result;
    }
    result = pthread_create(&thread->id, NULL, thread_body, thread);
    int restored = pthread_sigmask(SIG_SETMASK, &before, NULL);
    weft_assert(restored == 0);
    return -result;
}

static int os_thread_start(weft_env *env, const weft_env_thread *wanted, void **ret_handle) {
    struct thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        return -ENOMEM;
    }
    thread->env = env;
    thread->wanted = *wanted;
    int result = start_masked(thread);
    if (result != 0) {
        free(thread);
        return result;
    }
    (void)pthread_setname_np(thread->id, wanted->name); /* cosmetic */
    if (wanted->cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET((size_t)wanted->cpu, &cpus);
        /* The CPU may have gone offline meanwhile; the thread then runs anywhere. */
        (void)pthread_setaffinity_np(thread->id, sizeof(cpus), &cpus);
    }
    *ret_handle = thread;
    return 0;
}

static void os_thread_join(weft_env *env, void *handle) {
    (void)env;
    struct thread *thread = handle;
    (void)pthread_join(thread->id, NULL); /* fails only for a thread that is not ours */
    free(thread);
}

static int os_driver_create(weft_env *env, bool want_fd, void **ret_driver) {
    (void)env;
    struct driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return -ENOMEM;
    }
    driver->fd = -1;
    if (want_fd) {
        driver->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (driver->fd < 0) {
            int result = -errno;
            free(driver);
            return result;
        }
    }
    *ret_driver = driver;
    return 0;
}

static void os_driver_destroy(weft_env *env, void *handle) {
    (void)env;
    struct driver *driver = handle;
    if (driver == NULL) {
        return;
    }
    if (driver->fd >= 0) {
        (void)close(driver->fd);
    }
    free(driver);
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

void weft__os_futex_wait(weft_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns) {
    struct timespec deadline = timespec_of(deadline_ns == UINT64_MAX ? 0 : deadline_ns);
    (void)syscall(SYS_futex, &word->raw, FUTEX_WAIT_BITSET_PRIVATE, expected,
                  deadline_ns == UINT64_MAX ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

void weft__os_futex_wake(weft_atomic_u32 *word) {
    (void)syscall(SYS_futex, &word->raw, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Waits until the eventfd is readable or deadline_ns, and empties it. */
static void park_fd(struct driver *driver, uint64_t deadline_ns) {
    struct pollfd poll_fd = {.fd = driver->fd, .events = POLLIN};
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct timespec wait = timespec_of(wait_ns);
    (void)ppoll(&poll_fd, 1, deadline_ns == UINT64_MAX ? NULL : &wait, NULL); /* or spurious */
    uint64_t count;
    (void)!read(driver->fd, &count, sizeof(count)); /* empty is fine */
    (void)weft_exchange32_acq_rel(&driver->token, 0);
}

static void os_driver_park(weft_env *env, void *handle, uint64_t deadline_ns) {
    (void)env;
    struct driver *driver = handle;
    if (driver->fd >= 0) {
        park_fd(driver, deadline_ns);
        return;
    }
    if (weft_exchange32_acq_rel(&driver->token, 0) != 0) { /* pairs with K1 */
        return;
    }
    /* Returns at once when the token was set meanwhile: the kernel compares it with 0. */
    weft__os_futex_wait(&driver->token, 0, deadline_ns);
    (void)weft_exchange32_acq_rel(&driver->token, 0);
}

static void os_driver_wake(weft_env *env, void *handle) {
    (void)env;
    struct driver *driver = handle;
    if (weft_exchange32_acq_rel(&driver->token, 1) != 0) { /* K1 */
        return;                                            /* a wake is pending already */
    }
    if (driver->fd >= 0) {
        uint64_t one = 1;
        (void)!write(driver->fd, &one, sizeof(one)); /* full means readable, which is the point */
        return;
    }
    weft__os_futex_wake(&driver->token);
}

static int os_driver_fd(weft_env *env, void *handle) {
    (void)env;
    return ((struct driver *)handle)->fd;
}

static void os_heavy_barrier(weft_env *env) {
    (void)env;
    long result = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    weft_assert(result == 0); /* registered in weft_env_os_create */
}

static void os_relax(weft_env *env) {
    (void)env;
    (void)sched_yield();
}

int weft_env_os_create(weft_env **ret_env) {
    if (ret_env == NULL) {
        return -EINVAL;
    }
    weft_env *env = calloc(1, sizeof(*env));
    if (env == NULL) {
        return -ENOMEM;
    }
    *env = (weft_env){
        .version = WEFT_ENV_VERSION,
        .now_mono_ns = os_now_mono_ns,
        .now_wall_ns = os_now_wall_ns,
        .random = os_random,
        .thread_start = os_thread_start,
        .thread_join = os_thread_join,
        .driver_create = os_driver_create,
        .driver_destroy = os_driver_destroy,
        .driver_park = os_driver_park,
        .driver_wake = os_driver_wake,
        .driver_fd = os_driver_fd,
        .relax = os_relax,
    };
    /* Some containers forbid membarrier; the schedulers then use full barriers. */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) {
        env->heavy_barrier = os_heavy_barrier;
    }
    *ret_env = env;
    return 0;
}

void weft_env_os_destroy(weft_env **env) {
    if (env != NULL) {
        free(*env);
        *env = NULL;
    }
}
