/* SPDX-License-Identifier: MIT
 *
 * The io_uring driver's operations: from struct weft_io_op to an entry of the submission queue, and
 * from a completion back to a call of complete. Owner's thread only.
 *
 * user_data is the address of the operation. The kernel gives it back in completions, the last of
 * which comes without IORING_CQE_F_MORE; from then on the memory may be gone, and nothing that is
 * still on its way names it: a request to cancel completes with a user_data of its own. Such a
 * request cannot hit a later use of the same memory, because it was put into the queue before that
 * and the kernel takes entries in order.
 *
 * What an operation remembers stands in its driver words: driver[0] holds the flags below.
 */
#ifdef WEFT_URING

#define _GNU_SOURCE
#include "io/socket.h"
#include "io/uring_ring.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <weft/msg.h>

/* driver[0] of an operation. */
#define OP_IN_FLIGHT UINT64_C(1)
#define OP_WAITS     UINT64_C(4)   /* a poll for room stands in for a send */
#define OP_CANCELLED UINT64_C(2)   /* cancel was asked for: not to be started again */
#define OP_REARM     UINT64_C(256) /* counts new starts of a receive since its last success */

enum {
    SPAN_BYTES_MAX = 0x7ffff000, /* as the kernel's own bound of one read or write */
    NAME_BYTES = 32,             /* room for the sender's address, IPv4 or IPv6 */
    FROM_BYTES = sizeof(struct io_uring_recvmsg_out) + NAME_BYTES, /* ahead of a datagram */
};
_Static_assert(NAME_BYTES >= sizeof(struct sockaddr_in6), "sender's address");
_Static_assert(sizeof(weft_io_span) == sizeof(struct iovec), "span");
_Static_assert(offsetof(weft_io_span, data) == offsetof(struct iovec, iov_base), "span");
_Static_assert(offsetof(weft_io_span, size) == offsetof(struct iovec, iov_len), "span");
_Static_assert(sizeof(((struct weft__uring_args *)0)->address) <= sizeof(struct sockaddr_storage),
               "address");

/* An operation on its way into the queue. */
struct entry {
    struct io_uring_sqe *sqe;
    struct weft__uring_args *args;
    socklen_t address_length; /* of the address in args */
};

struct io_uring_sqe *weft__uring_entry(struct weft__uring *driver) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&driver->ring);
    if (sqe != NULL) {
        return sqe;
    }
    driver->counts.enters++;
    (void)io_uring_submit(&driver->ring); /* what it did not take is still in the queue */
    return io_uring_get_sqe(&driver->ring);
}

static bool takes_buffers(const weft_io_op *op) {
    return op->kind == WEFT_IO_OP_RECEIVE || op->kind == WEFT_IO_OP_RECEIVE_FROM;
}

static struct iovec *vector_of(const weft_io_op *op) {
    return (struct iovec *)(uintptr_t)op->spans; /* the same layout; the kernel does not write it */
}

static unsigned length_of(const weft_io_span *span) {
    return span->size > SPAN_BYTES_MAX ? (unsigned)SPAN_BYTES_MAX : (unsigned)span->size;
}

static void prepare_receive(const weft_io_op *op, const struct entry *entry) {
    if (op->kind == WEFT_IO_OP_RECEIVE && op->offset == WEFT_IO_ONCE) {
        io_uring_prep_recv(entry->sqe, op->fd, NULL, 0, 0);
    } else if (op->kind == WEFT_IO_OP_RECEIVE) {
        io_uring_prep_recv_multishot(entry->sqe, op->fd, NULL, 0, 0);
    } else {
        entry->args->message = (struct msghdr){.msg_namelen = NAME_BYTES};
        io_uring_prep_recvmsg_multishot(entry->sqe, op->fd, &entry->args->message, 0);
    }
    io_uring_sqe_set_flags(entry->sqe, IOSQE_BUFFER_SELECT);
    entry->sqe->buf_group = 0;
}

static void prepare_send(const weft_io_op *op, const struct entry *entry) {
    if (op->kind == WEFT_IO_OP_SEND && op->span_count == 1) {
        io_uring_prep_send(entry->sqe, op->fd, op->spans->data, length_of(op->spans), MSG_NOSIGNAL);
        return;
    }
    entry->args->message = (struct msghdr){
        .msg_name = entry->address_length > 0 ? &entry->args->address : NULL,
        .msg_namelen = entry->address_length,
        .msg_iov = vector_of(op),
        .msg_iovlen = op->span_count,
    };
    io_uring_prep_sendmsg(entry->sqe, op->fd, &entry->args->message, MSG_NOSIGNAL);
}

static void prepare_file(const weft_io_op *op, struct io_uring_sqe *sqe) {
    bool one = op->span_count == 1;
    if (op->kind == WEFT_IO_OP_SYNC) {
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
    } else if (op->kind == WEFT_IO_OP_READ && one) {
        io_uring_prep_read(sqe, op->fd, op->spans->data, length_of(op->spans), op->offset);
    } else if (op->kind == WEFT_IO_OP_READ) {
        io_uring_prep_readv(sqe, op->fd, vector_of(op), op->span_count, op->offset);
    } else if (one) {
        io_uring_prep_write(sqe, op->fd, op->spans->data, length_of(op->spans), op->offset);
    } else {
        io_uring_prep_writev(sqe, op->fd, vector_of(op), op->span_count, op->offset);
    }
}

static void prepare(weft_io_op *op, const struct entry *entry) {
    switch (op->kind) {
    case WEFT_IO_OP_ACCEPT:
        io_uring_prep_multishot_accept(entry->sqe, op->fd, NULL, NULL,
                                       SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case WEFT_IO_OP_CONNECT:
        io_uring_prep_connect(entry->sqe, op->fd, (struct sockaddr *)(void *)&entry->args->address,
                              entry->address_length);
        break;
    case WEFT_IO_OP_RECEIVE:
    case WEFT_IO_OP_RECEIVE_FROM:
        prepare_receive(op, entry);
        break;
    case WEFT_IO_OP_SEND:
    case WEFT_IO_OP_SEND_TO:
        prepare_send(op, entry);
        break;
    default: /* checked by submit */
        prepare_file(op, entry->sqe);
        break;
    }
    io_uring_sqe_set_data(entry->sqe, op);
}

/* Puts the operation into the queue. -EAGAIN: the kernel takes none just now. -EINVAL: its address
 * is not one. */
static int start(struct weft__uring *driver, weft_io_op *op) {
    struct sockaddr_storage address;
    struct entry entry = {0};
    if (op->kind == WEFT_IO_OP_CONNECT || op->kind == WEFT_IO_OP_SEND_TO) {
        entry.address_length = weft__sockaddr_of(op->address, &address);
        if (entry.address_length == 0 || entry.address_length > sizeof(entry.args->address)) {
            return -EINVAL;
        }
    }
    entry.sqe = weft__uring_entry(driver);
    if (entry.sqe == NULL) {
        return -EAGAIN;
    }
    entry.args = &driver->args[entry.sqe - driver->ring.sq.sqes];
    if (entry.address_length > 0) {
        (void)memcpy(&entry.args->address, &address, entry.address_length);
    }
    prepare(op, &entry);
    return 0;
}

int weft__uring_op_submit(struct weft__uring *driver, weft_io_op *op) {
    weft_assert(op->complete != NULL);
    weft_assert(op->driver[0] == 0);
    weft_assert(op->span_count <= WEFT_IO_SPANS_MAX);
    if (op->kind < WEFT_IO_OP_ACCEPT || op->kind > WEFT_IO_OP_SYNC) {
        return -EINVAL;
    }
    bool receives = takes_buffers(op);
    if (receives) {
        if (driver->buffers.host == NULL) {
            return -EINVAL;
        }
        weft__uring_buffers_fill(driver);
    }
    int result = start(driver, op);
    if (result != 0) {
        return result;
    }
    op->driver[0] = OP_IN_FLIGHT;
    driver->in_flight++;
    driver->receives += receives;
    driver->counts.submitted++;
    return 0;
}

void weft__uring_op_cancel(struct weft__uring *driver, weft_io_op *op) {
    if ((op->driver[0] & (OP_IN_FLIGHT | OP_CANCELLED)) != OP_IN_FLIGHT) {
        return; /* over, or asked for already */
    }
    op->driver[0] |= OP_CANCELLED;
    struct io_uring_sqe *sqe = weft__uring_entry(driver);
    if (sqe != NULL) {
        /* That it is over already (-ENOENT) or about to be (-EALREADY) is fine. */
        io_uring_prep_cancel(sqe, op, 0);
        io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
        io_uring_sqe_set_data64(sqe, WEFT__URING_DATA_CANCEL);
        return;
    }
    /* The kernel is short of memory for requests. This call needs none; it finds what the kernel
     * has, and does not wait. */
    struct io_uring_sync_cancel_reg cancel = {.addr = (uint64_t)(uintptr_t)op, .fd = -1};
    driver->counts.enters++;
    (void)io_uring_register_sync_cancel(&driver->ring, &cancel);
}

/* True when a receive that ended for want of buffers was started again. The ring may well have
 * buffers by now: the kernel reports it empty when the last one is used, data or not. */
static bool rearm(struct weft__uring *driver, weft_io_op *op) {
    if ((op->driver[0] & OP_CANCELLED) != 0 || op->driver[0] / OP_REARM >= WEFT__URING_REARM_MAX) {
        return false;
    }
    weft__uring_buffers_fill(driver);
    if (driver->buffers.free_count == driver->buffers.count || start(driver, op) != 0) {
        return false;
    }
    op->driver[0] += OP_REARM;
    return true;
}

/* The datagram behind the header that the kernel put into the buffer. */
static void read_from(const struct weft__uring_outcome *outcome, weft_io_result *result,
                      weft_address *address) {
    weft_assert(outcome->result >= FROM_BYTES);
    const unsigned char *bytes = weft_buf_data(result->buf);
    struct io_uring_recvmsg_out header;
    struct sockaddr_storage name;
    (void)memcpy(&header, bytes, sizeof(header));
    (void)memset(&name, 0, sizeof(name));
    (void)memcpy(&name, bytes + sizeof(header), NAME_BYTES);
    weft__address_of(&name, header.namelen, address);
    result->address = address;
    result->offset = FROM_BYTES;
    result->result = outcome->result - FROM_BYTES;
}

/* True when an operation that goes on by contract was started again after the kernel had ended it
 * without an error: when the completion queue was full, and for an empty datagram. */
static bool resume(struct weft__uring *driver, weft_io_op *op, int result) {
    bool goes_on = (op->kind == WEFT_IO_OP_ACCEPT && result >= 0) ||
                   (op->kind == WEFT_IO_OP_RECEIVE && result > 0 && op->offset != WEFT_IO_ONCE) ||
                   (op->kind == WEFT_IO_OP_RECEIVE_FROM && result >= 0);
    return goes_on && (op->driver[0] & OP_CANCELLED) == 0 && start(driver, op) == 0;
}

/* Fills in a receive's result. False: it goes on and there is nothing to say. */
static bool receive(struct weft__uring *driver, const struct weft__uring_outcome *outcome,
                    weft_io_result *result, weft_address *address) {
    weft_io_op *op = (weft_io_op *)(uintptr_t)outcome->data;
    bool from = op->kind == WEFT_IO_OP_RECEIVE_FROM;
    if (outcome->result > 0 || (from && outcome->result == 0)) {
        result->buf = weft__uring_buffers_take(driver, outcome->flags);
        op->driver[0] &= OP_REARM - 1;
        if (from) {
            read_from(outcome, result, address);
        }
        return true;
    }
    if ((outcome->flags & IORING_CQE_F_BUFFER) != 0) {
        weft__uring_buffers_return(driver, outcome->flags);
    }
    if (outcome->result != -ENOBUFS) {
        return true;
    }
    driver->counts.starved++;
    if (result->more || rearm(driver, op)) {
        return false;
    }
    if ((op->driver[0] & OP_CANCELLED) != 0) {
        result->result = -ECANCELED;
    }
    return true;
}

/* A send that waits for room ends with -EAGAIN when the peer shuts its sending side down meanwhile
 * (seen on 6.18). True: it goes on, behind a poll that waits for room, or again after one. */
static bool wait_for_room(struct weft__uring *driver, weft_io_op *op, int result) {
    bool sends = op->kind == WEFT_IO_OP_SEND || op->kind == WEFT_IO_OP_SEND_TO;
    if (!sends || (op->driver[0] & OP_CANCELLED) != 0) {
        return false;
    }
    if ((op->driver[0] & OP_WAITS) != 0) { /* room, or an error that sending will tell */
        if (result < 0 || start(driver, op) != 0) {
            return false;
        }
        op->driver[0] &= ~OP_WAITS;
        return true;
    }
    struct io_uring_sqe *sqe = result == -EAGAIN ? weft__uring_entry(driver) : NULL;
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_poll_add(sqe, op->fd, POLLOUT);
    io_uring_sqe_set_data(sqe, op);
    op->driver[0] |= OP_WAITS;
    return true;
}

bool weft__uring_op_complete(struct weft__uring *driver,
                             const struct weft__uring_outcome *outcome) {
    bool more = (outcome->flags & IORING_CQE_F_MORE) != 0;
    if (outcome->data == WEFT__URING_DATA_WAKE) {
        driver->wake_armed = more;
        return false;
    }
    if (outcome->data == WEFT__URING_DATA_CANCEL) {
        return false;
    }
    weft_io_op *op = (weft_io_op *)(uintptr_t)outcome->data;
    weft_assert((op->driver[0] & OP_IN_FLIGHT) != 0);
    if (wait_for_room(driver, op, outcome->result)) {
        return false;
    }
    weft_address address;
    weft_io_result result = {.result = outcome->result, .more = more};
    if ((op->driver[0] & OP_WAITS) != 0 && result.result >= 0) {
        /* The poll's answer is not the send's: cancelled meanwhile, or not to be started again. */
        result.result = (op->driver[0] & OP_CANCELLED) != 0 ? -ECANCELED : -ENOMEM;
    }
    bool receives = takes_buffers(op);
    if (receives && !receive(driver, outcome, &result, &address)) {
        return false;
    }
    result.more = more || resume(driver, op, result.result);
    if (!result.more) {
        weft_assert(driver->in_flight > 0);
        op->driver[0] = 0;
        driver->in_flight--;
        driver->receives -= receives;
    }
    driver->counts.completed++;
    op->complete(op, &result);
    return true;
}

#else
#include "io/uring.h"
#endif
