/* SPDX-License-Identifier: MIT
 *
 * Inside view of the io_uring driver, shared by its files: uring.c (table, park and wake, poll),
 * uring_op.c (operations to and from the ring), uring_ring.c (the ring and its receive buffers),
 * uring_probe.c (whether it can be used).
 *
 * Threads: a driver is created and destroyed on any thread, woken from any thread, and everything
 * else happens on its owner's. The kernel holds us to that: the ring has one issuer, the thread
 * that enabled it.
 */
#ifndef WEFT_IO_URING_RING_H
#define WEFT_IO_URING_RING_H

#include "core/atomic.h"
#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <weft/env.h>

enum {
    WEFT__URING_MAGIC = 0x75726e67,
    WEFT__URING_SQ = 256, /* few: the memory of rings counts against RLIMIT_MEMLOCK */
    WEFT__URING_CQ = 4096,
    WEFT__URING_RING_MAX = 32768, /* receive buffers in advance; the kernel's bound */
    WEFT__URING_REARM_MAX = 8,    /* silent new starts of a receive before its caller hears */
};

/* user_data of what is not an operation; operations have their address there. */
enum { WEFT__URING_DATA_WAKE = 1, WEFT__URING_DATA_CANCEL = 2 };

#define WEFT__URING_FLAGS                                                                          \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |         \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED)

/* What an entry of the submission queue points to besides memory of the operation. The kernel has
 * copied it when it has taken the entry (IORING_FEAT_SUBMIT_STABLE, checked by the probe), so there
 * is one for each entry and it may be written again together with the entry. */
struct weft__uring_args {
    struct msghdr message;
    union {
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un path;
    } address;
};

/* The ring of receive buffers: a buffer id names a slot, an empty slot is on the free list. */
struct weft__uring_buffers {
    const weft_io_host *host;       /* NULL: not attached */
    struct io_uring_buf_ring *ring; /* NULL: not reserved */
    weft_buf **slots;               /* from attaching on, as the next two */
    uint16_t *free_ids;
    uint32_t free_count;
    uint32_t count;
};

struct weft__uring {
    /* const after create */
    uint32_t magic;
    bool has_fd; /* wake_fd is for the program's own loop */
    int wake_fd; /* eventfd: wakes an owner that waits in the kernel */
    /* any thread */
    alignas(WEFT_CACHELINE) weft_atomic_u32 token; /* enum token in uring.c. T1 */
    /* owner only */
    alignas(WEFT_CACHELINE) bool enabled;
    bool wake_armed;    /* the ring watches wake_fd */
    bool overflowed;    /* the completion queue was full when last seen */
    uint32_t in_flight; /* operations */
    uint32_t receives;  /* those of them that take buffers */
    weft_io_counts counts;
    struct io_uring ring;
    struct weft__uring_buffers buffers;
    struct weft__uring_args args[WEFT__URING_SQ];
};

/* A completion, copied so that its place in the queue is free before anybody is called. */
struct weft__uring_outcome {
    uint64_t data;
    int result;
    uint32_t flags;
};

/* A disabled ring; tries again for up to 0.2 s when the kernel is short of memory, because that of
 * rings given up is returned late. 0 or -errno. */
int weft__uring_ring_init(struct io_uring *ring, unsigned entries, unsigned completions);

/* Makes the ring of receive buffers, empty, which counts as locked memory too. Tries again as above.
 * Any thread before there is an owner, then the owner. 0 or -errno. */
int weft__uring_buffers_reserve(struct weft__uring *driver, uint32_t count);

/* Makes the calling thread the owner, once. 0 or -errno. */
int weft__uring_enable(struct weft__uring *driver);

int weft__uring_buffers_init(struct weft__uring *driver, const weft_io_host *host);
void weft__uring_buffers_fini(struct weft__uring *driver);
/* Fills empty slots from the host, as far as it gives. */
void weft__uring_buffers_fill(struct weft__uring *driver);
/* The buffer of a completion [out], or back into the ring. */
weft_buf *weft__uring_buffers_take(struct weft__uring *driver, uint32_t cqe_flags);
void weft__uring_buffers_return(struct weft__uring *driver, uint32_t cqe_flags);

/* An empty entry of the submission queue, or NULL: the kernel takes none of those that fill it. */
struct io_uring_sqe *weft__uring_entry(struct weft__uring *driver);

int weft__uring_op_submit(struct weft__uring *driver, weft_io_op *op);
void weft__uring_op_cancel(struct weft__uring *driver, weft_io_op *op);
/* Delivers one completion. True when an operation's complete was called. */
bool weft__uring_op_complete(struct weft__uring *driver, const struct weft__uring_outcome *outcome);

#endif
