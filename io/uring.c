/* SPDX-License-Identifier: MIT
 *
 * The io_uring driver: its table, how its owner sleeps and is woken, and the walk over completions.
 * The runtime calls it through struct weft_env_io (weft/env.h is the contract).
 *
 * Sleeping. The token says what the owner does: nothing, it was woken, it sleeps on the token
 * (futex), it waits in the ring. While no operation is in flight the owner sleeps on the token, as
 * threads without I/O do; else it waits in the ring, in the system call that submits what is
 * pending, and the ring watches wake_fd. A wake is an exchange of the token for WOKEN, and a system
 * call only if the owner was found asleep.
 *
 * Why no wake is lost. All writes to the token are read-modify-writes, so they are in one order.
 *  - A wake before the owner's compare-and-swap NOTHING -> asleep: that fails, the owner does not
 *    sleep.
 *  - A wake after it finds the owner asleep. ASLEEP_FUTEX: either the owner is in the futex call
 *    and is woken, or it gets there later and the kernel sees that the token is another value.
 *    ASLEEP_RING: the write to wake_fd makes a completion. The watch was armed before the token
 *    changed, or its entry is in the queue that the same system call submits before it waits; then
 *    it fires at once, because wake_fd is never read and stays readable. A completion that is there
 *    when the wait begins ends it.
 *  - The exchange for NOTHING after the sleep takes wakes that came meanwhile; park returns then,
 *    and the caller looks at everything a waker wrote before its wake (T1).
 * A write to wake_fd that comes late, after the owner went on, wakes it once for nothing.
 *
 * With a descriptor for the program's own loop that is wake_fd itself. The kernel writes it when
 * completions come or work is left that would make some, any first wake writes it too, and the
 * owner waits for it in ppoll. (The ring's own descriptor will not do: deferred work does not wake
 * who polls it.) park reads it empty before it takes the token: in the other order a wake in between
 * would leave the token set and the descriptor silent. Then it looks whether completions wait, and
 * so does poll at its end: if so they write it again, so it is readable as long as there is
 * something; what comes after the look writes it itself. It may stay readable for nothing until the
 * next park.
 *
 * Nothing of this is for the child of a fork: its ring is the parent's.
 */
#ifdef WEFT_URING

#define _GNU_SOURCE
#include "io/uring.h"
#include "core/env_os.h"
#include "io/socket.h"
#include "io/uring_ring.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

enum token { NOTHING = 0, WOKEN = 1, ASLEEP_FUTEX = 2, ASLEEP_RING = 3 };

enum { POLL_MAX = 256 }; /* completions of one poll */

static struct weft__uring *driver_of(void *handle) {
    struct weft__uring *driver = handle;
    weft_assert(driver->magic == WEFT__URING_MAGIC);
    return driver;
}

/* ---- creating ------------------------------------------------------------------------------ */

static int uring_create(weft_env *env, bool want_fd, void **ret_driver) {
    (void)env;
    struct weft__uring *driver = aligned_alloc(alignof(struct weft__uring), sizeof(*driver));
    if (driver == NULL) {
        return -ENOMEM;
    }
    (void)memset(driver, 0, sizeof(*driver));
    driver->has_fd = want_fd;
    driver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (driver->wake_fd < 0) {
        int result = -errno;
        free(driver);
        return result;
    }
    int result = weft__uring_ring_init(&driver->ring, WEFT__URING_SQ, WEFT__URING_CQ);
    if (result != 0) {
        (void)close(driver->wake_fd);
        free(driver);
        return result;
    }
    weft_assert(driver->ring.sq.ring_entries <= WEFT__URING_SQ);
    driver->magic = WEFT__URING_MAGIC;
    *ret_driver = driver;
    return 0;
}

static void uring_detach(weft_env *env, void *handle) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    weft__uring_buffers_fini(driver);
    if (driver->enabled && !driver->has_fd) {
        /* Its place in the thread would keep the ring alive. Fails where it was not registered. */
        (void)io_uring_unregister_ring_fd(&driver->ring);
    }
}

static void uring_destroy(weft_env *env, void *handle) {
    (void)env;
    if (handle == NULL) {
        return;
    }
    struct weft__uring *driver = driver_of(handle);
    weft_assert(driver->in_flight == 0);
    weft__uring_buffers_fini(driver);
    io_uring_queue_exit(&driver->ring);
    (void)close(driver->wake_fd);
    driver->magic = 0;
    free(driver);
}

static int uring_reserve(weft_env *env, void *handle, uint32_t ring_count) {
    (void)env;
    return weft__uring_buffers_reserve(driver_of(handle), ring_count);
}

static int uring_attach(weft_env *env, void *handle, const weft_io_host *host) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    weft_assert(driver->buffers.host == NULL);
    int result = weft__uring_enable(driver);
    return result != 0 ? result : weft__uring_buffers_init(driver, host);
}

/* ---- sleeping ------------------------------------------------------------------------------ */

static bool pending(const struct weft__uring *driver) {
    return io_uring_sq_ready(&driver->ring) > 0;
}

static unsigned kernel_flags(const struct weft__uring *driver) {
    return IO_URING_READ_ONCE(*driver->ring.sq.kflags);
}

/* Completions are there, or will be when the kernel is entered. */
static bool ready(const struct weft__uring *driver) {
    return io_uring_cq_ready(&driver->ring) > 0 ||
           (kernel_flags(driver) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static void fill(struct weft__uring *driver) {
    if (driver->receives > 0 && driver->buffers.free_count > 0) {
        weft__uring_buffers_fill(driver);
    }
}

/* Errors of entering the kernel need no handling: what was not taken stays in the queue and is
 * passed on the next time (-EAGAIN, -EBUSY, -EINTR). Two are programmer errors or the loss of a
 * completion for want of kernel memory, after which an operation would never end. */
static void entered(struct weft__uring *driver, int result) {
    weft_assert(result != -EEXIST); /* not the owner's thread */
    weft_assert(result != -EBADR);
    driver->counts.enters++;
}

static void park_futex(struct weft__uring *driver, uint64_t deadline_ns) {
    uint32_t expected = NOTHING;
    if (weft_cas32_acq_rel(&driver->token, &expected, ASLEEP_FUTEX)) {
        weft__os_futex_wait(&driver->token, ASLEEP_FUTEX, deadline_ns);
    }
    (void)weft_exchange32_acq_rel(&driver->token, NOTHING); /* pairs with T1 */
}

/* Submits and waits for a completion, as long as wait_ns; UINT64_MAX: without end. */
static void wait_in_ring(struct weft__uring *driver, uint64_t wait_ns) {
    if (wait_ns == UINT64_MAX) {
        entered(driver, io_uring_submit_and_wait(&driver->ring, 1));
        return;
    }
    struct __kernel_timespec wait = {.tv_sec = (int64_t)(wait_ns / NS_PER_S),
                                     .tv_nsec = (long long)(wait_ns % NS_PER_S)};
    struct io_uring_cqe *unused; /* may be NULL although the call succeeded; poll looks itself */
    int result = io_uring_submit_and_wait_timeout(&driver->ring, &unused, 1, &wait, NULL);
    entered(driver, result);
}

/* Has the ring watch wake_fd. False: the kernel takes no entries just now. */
static bool arm_wake(struct weft__uring *driver) {
    if (driver->wake_armed) {
        return true;
    }
    struct io_uring_sqe *sqe = weft__uring_entry(driver);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_poll_multishot(sqe, driver->wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, WEFT__URING_DATA_WAKE);
    driver->wake_armed = true;
    return true;
}

static uint64_t time_left(weft_env *env, uint64_t deadline_ns) {
    if (deadline_ns == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t now_ns = deadline_ns == 0 ? 0 : env->now_mono_ns(env);
    return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

static void park_ring(struct weft__uring *driver, uint64_t wait_ns) {
    fill(driver);
    uint32_t expected = NOTHING;
    if (wait_ns == 0) {
        entered(driver, io_uring_submit_and_get_events(&driver->ring));
    } else if (!ready(driver) && arm_wake(driver) &&
               weft_cas32_acq_rel(&driver->token, &expected, ASLEEP_RING)) {
        wait_in_ring(driver, wait_ns);
    }
    (void)weft_exchange32_acq_rel(&driver->token, NOTHING); /* pairs with T1 */
}

/* Makes wake_fd readable. */
static void signal_wake(struct weft__uring *driver) {
    uint64_t one = 1;
    (void)!write(driver->wake_fd, &one, sizeof(one)); /* full means readable, which is the point */
}

/* For a driver with a descriptor. */
static void park_fd(struct weft__uring *driver, uint64_t wait_ns) {
    if (driver->enabled) {
        fill(driver);
        if (pending(driver)) {
            entered(driver, io_uring_submit_and_get_events(&driver->ring));
        }
    }
    /* The look at the token is advisory: a wake that it misses made wake_fd readable. */
    if (wait_ns > 0 && !ready(driver) && weft_load32_relaxed(&driver->token) == NOTHING) {
        struct pollfd poll_fd = {.fd = driver->wake_fd, .events = POLLIN};
        struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                .tv_nsec = (long)(wait_ns % NS_PER_S)};
        (void)ppoll(&poll_fd, 1, wait_ns == UINT64_MAX ? NULL : &wait, NULL); /* or spurious */
    }
    uint64_t count;
    (void)!read(driver->wake_fd, &count, sizeof(count));    /* empty is fine */
    (void)weft_exchange32_acq_rel(&driver->token, NOTHING); /* pairs with T1 */
    if (ready(driver)) {
        signal_wake(driver);
    }
}

static void uring_park(weft_env *env, void *handle, uint64_t deadline_ns) {
    struct weft__uring *driver = driver_of(handle);
    if (driver->has_fd) {
        park_fd(driver, time_left(env, deadline_ns));
        return;
    }
    if (driver->enabled && driver->in_flight > 0) {
        park_ring(driver, time_left(env, deadline_ns));
        return;
    }
    if (driver->enabled && pending(driver)) {
        entered(driver, io_uring_submit(&driver->ring)); /* requests to cancel what is over */
    }
    park_futex(driver, deadline_ns);
}

static void uring_wake(weft_env *env, void *handle) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    /* T1: publishes what the waker wrote; pairs with the exchanges in the parks. */
    uint32_t before = weft_exchange32_acq_rel(&driver->token, WOKEN);
    if (before == ASLEEP_FUTEX) {
        weft__os_futex_wake(&driver->token);
    } else if (before == ASLEEP_RING || (before == NOTHING && driver->has_fd)) {
        signal_wake(driver);
    }
}

static int uring_fd(weft_env *env, void *handle) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    return driver->has_fd ? driver->wake_fd : -1;
}

/* ---- operations ---------------------------------------------------------------------------- */

static int uring_submit(weft_env *env, void *handle, weft_io_op *op) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    int result = weft__uring_enable(driver);
    return result != 0 ? result : weft__uring_op_submit(driver, op);
}

static void uring_cancel(weft_env *env, void *handle, weft_io_op *op) {
    (void)env;
    weft__uring_op_cancel(driver_of(handle), op);
}

/* Enters the kernel if there is something to pass on or to fetch, once for both. */
static void exchange_with_kernel(struct weft__uring *driver) {
    unsigned flags = kernel_flags(driver);
    bool overflowed = (flags & IORING_SQ_CQ_OVERFLOW) != 0;
    driver->counts.overflows += overflowed && !driver->overflowed;
    driver->overflowed = overflowed;
    if (pending(driver)) {
        entered(driver, io_uring_submit_and_get_events(&driver->ring));
    } else if ((flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
        entered(driver, io_uring_get_events(&driver->ring));
    }
}

static uint32_t uring_poll(weft_env *env, void *handle) {
    (void)env;
    struct weft__uring *driver = driver_of(handle);
    if (!driver->enabled || (driver->in_flight == 0 && !pending(driver) && !ready(driver))) {
        return 0;
    }
    fill(driver);
    exchange_with_kernel(driver);
    struct io_uring_cq *cq = &driver->ring.cq;
    uint32_t delivered = 0;
    for (uint32_t i = 0; i < POLL_MAX; i++) {
        unsigned head = *cq->khead;
        if (head == io_uring_smp_load_acquire(cq->ktail)) {
            break;
        }
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
        struct weft__uring_outcome outcome = {cqe->user_data, cqe->res, cqe->flags};
        io_uring_cq_advance(&driver->ring, 1); /* first: callbacks submit, which may add some */
        delivered += weft__uring_op_complete(driver, &outcome);
    }
    if (driver->has_fd && ready(driver)) {
        signal_wake(driver);
    }
    return delivered;
}

static void uring_counts(weft_env *env, void *handle, weft_io_counts *ret_counts) {
    (void)env;
    *ret_counts = driver_of(handle)->counts;
}

static const weft_env_io table = {
    .version = WEFT_ENV_IO_VERSION,
    .files = true,
    .name = "uring",
    .driver_create = uring_create,
    .driver_destroy = uring_destroy,
    .driver_park = uring_park,
    .driver_wake = uring_wake,
    .driver_fd = uring_fd,
    .reserve = uring_reserve,
    .attach = uring_attach,
    .detach = uring_detach,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .poll = uring_poll,
    .counts = uring_counts,
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

const weft_env_io *weft__uring_io(void) {
    return &table;
}

#else
#include "io/uring.h"
#endif
