/* SPDX-License-Identifier: MIT
 *
 * The epoll driver: struct weft_env_io (weft/env.h is the contract) where io_uring is not to be
 * had. Here: its table, poll, park and wake; operations are in epoll_op.c, sockets in socket.c. One
 * driver belongs to one thread, which calls all of it but wake (any thread) and create and destroy
 * (any thread, while nothing is in flight).
 *
 * Order in a poll: what was queued, so that what was written leaves first, then events. What the
 * calls of complete submit or cancel waits for the next poll. A park that sleeps in epoll keeps the
 * events it was woken by for the next poll, which then need not ask for any.
 */
#define _GNU_SOURCE 1

#include "io/epoll.h"
#include "core/env_os.h"
#include "io/epoll_driver.h"
#include "io/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <weft/msg.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* the same on every architecture; headers older than Linux 5.11 */
#endif

#define NS_PER_S UINT64_C(1000000000)

/* The token. A driver with a descriptor for others (has_fd) never parks on the futex. */
enum token {
    TOKEN_NONE = 0,
    TOKEN_WOKEN = 1,
    TOKEN_FUTEX = 2, /* the owner sleeps on the word, or is about to */
    TOKEN_EPOLL = 3, /* the owner sleeps in epoll, or is about to */
};

static struct weft__epoll *driver_of(void *handle) {
    struct weft__epoll *driver = handle;
    weft_assert(driver != NULL);
    weft_assert(driver->magic == WEFT__EPOLL_MAGIC);
    return driver;
}

/* ---- poll ---------------------------------------------------------------------------------- */

/* Events that are there, without waiting. */
static int take_ready(struct weft__epoll *driver) {
    driver->counts.enters++;
    return epoll_wait(driver->epoll_fd, driver->events, WEFT__EPOLL_EVENTS_MAX, 0);
}

/* Keeps what a wait has brought for polls, but for wakes: those were the park's, and a driver that
 * nobody polls, because there is no I/O, would seem to have work for ever. */
static void fetched(struct weft__epoll *driver, int count) {
    uint32_t kept = 0;
    for (int i = 0; i < count; i++) { /* none with EINTR */
        if (driver->events[i].data.u64 != WEFT__EPOLL_DATA_WAKE) {
            driver->events[kept++] = driver->events[i];
        }
    }
    driver->event_next = 0;
    driver->event_count = kept;
}

static bool has_events(const struct weft__epoll *driver) {
    return driver->event_next < driver->event_count;
}

static void write_wake_fd(const struct weft__epoll *driver) {
    uint64_t one = 1;
    (void)!write(driver->wake_fd, &one, sizeof(one)); /* full means readable, which is the point */
}

static void drain_wake_fd(const struct weft__epoll *driver) {
    uint64_t count;
    (void)!read(driver->wake_fd, &count, sizeof(count)); /* empty is fine */
}

/* With has_fd: what is left for the next poll is made visible in epoll_fd, through the eventfd.
 * When nothing is left any more the eventfd is emptied, which may swallow what a waker wrote; one
 * that put WOKEN before the look at the token is written again, later ones write after the read. */
static void show_work(struct weft__epoll *driver) {
    bool has_work = driver->queue_head != NULL || has_events(driver);
    if (!driver->has_fd || has_work == driver->work_shown) {
        return;
    }
    driver->work_shown = has_work;
    if (has_work) {
        write_wake_fd(driver);
        return;
    }
    drain_wake_fd(driver);
    if (weft_add32_acq_rel(&driver->token, 0) == TOKEN_WOKEN) { /* E1; orders it after the read */
        write_wake_fd(driver);
    }
}

static int epoll_submit(weft_env *env, void *handle, weft_io_op *op) {
    (void)env;
    return weft__epoll_op_submit(driver_of(handle), op);
}

static void epoll_cancel(weft_env *env, void *handle, weft_io_op *op) {
    (void)env;
    weft__epoll_op_cancel(driver_of(handle), op);
}

static uint32_t epoll_poll(weft_env *env, void *handle) {
    (void)env;
    struct weft__epoll *driver = driver_of(handle);
    driver->turn++;
    driver->results = 0;
    weft__epoll_run_queue(driver);
    uint32_t queue_results = driver->results;
    driver->results = 0; /* a full queue must not keep events out */
    if (!has_events(driver) && driver->in_flight > 0) {
        fetched(driver, take_ready(driver));
    }
    /* Bounded by WEFT__EPOLL_EVENTS_MAX; what is left keeps for the next poll. */
    while (has_events(driver) && driver->results < WEFT__EPOLL_RESULTS_MAX) {
        struct epoll_event event = driver->events[driver->event_next];
        driver->event_next++;
        weft__epoll_run_event(driver, &event);
    }
    show_work(driver);
    return queue_results + driver->results;
}

/* ---- park, wake ---------------------------------------------------------------------------- */

/* No wake is lost. All changes of the token are read-modify-writes of one word, so they have an
 * order. A wake that comes before the owner's change from NONE makes that fail, and the owner does
 * not sleep. One that comes after finds FUTEX or EPOLL and makes a system call after it stored
 * WOKEN: the futex does not sleep on a word that is not FUTEX any more, and is woken if it does
 * already; the eventfd is in the set, so its event is there for an epoll_wait that has not begun
 * as well. Wakes in between find WOKEN, and the owner is on its way back. What was published before
 * any of them is seen after the owner's last exchange, which takes WOKEN (E1).
 *
 * The eventfd is edge-triggered and never read. A waker that is slow may write after the owner was
 * back for another reason; then a later wait returns early, or a poll takes the event. That is no
 * loss: a waker writes for the park during which it found EPOLL, the owner has taken its WOKEN when
 * that park ends, and polls come only between parks.
 *
 * With has_fd others wait on epoll_fd while the owner is in no park at all. There every first wake
 * writes, and the eventfd is level-triggered, so that epoll_fd stays readable, also if a poll looks
 * at it, until a park reads the eventfd. It reads before it takes the token: a wake that finds
 * WOKEN and writes nothing comes before that park has returned, and so is not lost either. */

static uint64_t wait_of(weft_env *env, uint64_t deadline_ns) {
    uint64_t now_ns = env->now_mono_ns(env);
    return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

/* On kernels without epoll_pwait2: epoll_wait knows milliseconds only, ppoll nanoseconds. */
static int wait_old(struct weft__epoll *driver, const struct timespec *wait) {
    struct pollfd poll_fd = {.fd = driver->epoll_fd, .events = POLLIN};
    driver->counts.enters++;
    (void)ppoll(&poll_fd, 1, wait, NULL); /* whatever it answers: look */
    return take_ready(driver);
}

/* Waits for events until deadline_ns. */
static int wait_events(weft_env *env, struct weft__epoll *driver, uint64_t deadline_ns) {
    bool forever = deadline_ns == UINT64_MAX;
    uint64_t wait_ns = forever ? 0 : wait_of(env, deadline_ns);
    /* The kernel's timespec, which is 64 bits wide on all machines. */
    struct {
        int64_t seconds;
        int64_t ns;
    } wait = {(int64_t)(wait_ns / NS_PER_S), (int64_t)(wait_ns % NS_PER_S)};
    if (!driver->no_pwait2) {
        driver->counts.enters++;
        long count = syscall(SYS_epoll_pwait2, driver->epoll_fd, driver->events,
                             WEFT__EPOLL_EVENTS_MAX, forever ? NULL : &wait, NULL, (size_t)0);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)count;
        }
        driver->no_pwait2 = true; /* also seccomp profiles older than the call */
    }
    struct timespec old = {.tv_sec = (time_t)wait.seconds, .tv_nsec = (long)wait.ns};
    return wait_old(driver, forever ? NULL : &old);
}

static void epoll_park(weft_env *env, void *handle, uint64_t deadline_ns) {
    struct weft__epoll *driver = driver_of(handle);
    bool busy = driver->queue_head != NULL || has_events(driver);
    if (busy && !driver->has_fd) {
        return; /* poll has something to do; a pending wake stays for the next park */
    }
    uint32_t how = driver->has_fd || driver->in_flight > 0 ? TOKEN_EPOLL : TOKEN_FUTEX;
    uint32_t found = TOKEN_NONE;
    if (!busy && weft_cas32_acq_rel(&driver->token, &found, how)) {
        if (how == TOKEN_FUTEX) {
            driver->counts.enters++;
            weft__os_futex_wait(&driver->token, TOKEN_FUTEX, deadline_ns);
        } else {
            fetched(driver, wait_events(env, driver, deadline_ns));
        }
    }
    if (driver->has_fd) {
        drain_wake_fd(driver);
        driver->work_shown = false;
    }
    (void)weft_exchange32_acq_rel(&driver->token, TOKEN_NONE); /* E1 */
    show_work(driver);
}

static void epoll_wake(weft_env *env, void *handle) {
    (void)env;
    struct weft__epoll *driver = driver_of(handle);
    uint32_t found = weft_exchange32_acq_rel(&driver->token, TOKEN_WOKEN); /* E1 */
    if (found == TOKEN_FUTEX) {
        weft__os_futex_wake(&driver->token);
    } else if (found == TOKEN_EPOLL || (found == TOKEN_NONE && driver->has_fd)) {
        write_wake_fd(driver);
    }
}

static int epoll_driver_fd(weft_env *env, void *handle) {
    (void)env;
    const struct weft__epoll *driver = driver_of(handle);
    return driver->has_fd ? driver->epoll_fd : -1;
}

/* ---- create, destroy, attach --------------------------------------------------------------- */

static void epoll_driver_destroy(weft_env *env, void *handle) {
    (void)env;
    if (handle == NULL) {
        return;
    }
    struct weft__epoll *driver = driver_of(handle);
    weft_assert(driver->in_flight == 0);
    weft_buf_unref(driver->spare);
    weft__epoll_pages_free(driver);
    if (driver->wake_fd >= 0) {
        (void)close(driver->wake_fd); /* nothing to be done about an error */
    }
    if (driver->epoll_fd >= 0) {
        (void)close(driver->epoll_fd);
    }
    driver->magic = 0;
    free(driver);
}

static int open_set(struct weft__epoll *driver) {
    driver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (driver->epoll_fd < 0) {
        return -errno;
    }
    driver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (driver->wake_fd < 0) {
        return -errno;
    }
    struct epoll_event event = {.events = EPOLLIN | (driver->has_fd ? 0u : (uint32_t)EPOLLET),
                                .data.u64 = WEFT__EPOLL_DATA_WAKE};
    return epoll_ctl(driver->epoll_fd, EPOLL_CTL_ADD, driver->wake_fd, &event) < 0 ? -errno : 0;
}

static int epoll_driver_create(weft_env *env, bool want_fd, void **ret_driver) {
    void *memory = NULL;
    if (posix_memalign(&memory, alignof(struct weft__epoll), sizeof(struct weft__epoll)) != 0) {
        return -ENOMEM;
    }
    struct weft__epoll *driver = memory;
    *driver = (struct weft__epoll){
        .magic = WEFT__EPOLL_MAGIC, .epoll_fd = -1, .wake_fd = -1, .has_fd = want_fd};
    int result = open_set(driver);
    if (result != 0) {
        epoll_driver_destroy(env, driver);
        return result;
    }
    *ret_driver = driver;
    return 0;
}

static int epoll_attach(weft_env *env, void *handle, const weft_io_host *host) {
    (void)env;
    driver_of(handle)->host = host;
    return 0;
}

static void epoll_detach(weft_env *env, void *handle) {
    (void)env;
    struct weft__epoll *driver = driver_of(handle);
    weft_buf_unref(driver->spare);
    driver->spare = NULL;
    driver->host = NULL;
}

static void epoll_counts(weft_env *env, void *handle, weft_io_counts *ret_counts) {
    (void)env;
    *ret_counts = driver_of(handle)->counts;
}

static const weft_env_io epoll_io = {
    .version = WEFT_ENV_IO_VERSION,
    .files = false,
    .name = "epoll",
    .driver_create = epoll_driver_create,
    .driver_destroy = epoll_driver_destroy,
    .driver_park = epoll_park,
    .driver_wake = epoll_wake,
    .driver_fd = epoll_driver_fd,
    .attach = epoll_attach,
    .detach = epoll_detach,
    .submit = epoll_submit,
    .cancel = epoll_cancel,
    .poll = epoll_poll,
    .counts = epoll_counts,
    .open = weft__socket_open,
    .option = weft__socket_option,
    .local = weft__socket_local,
    .peer = weft__socket_peer,
    .shutdown = weft__socket_shutdown,
    .close = weft__socket_close,
    .unlink = weft__socket_unlink,
    .resolve = weft__socket_resolve,
    .file = weft__file_call,
};

const weft_env_io *weft__epoll_io(void) {
    return &epoll_io;
}
