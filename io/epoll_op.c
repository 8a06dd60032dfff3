/* SPDX-License-Identifier: MIT
 *
 * Operations of the epoll driver, emulated on readiness. Called by epoll.c on the driver's thread.
 *
 * A descriptor has at most one operation that reads (ACCEPT, RECEIVE, RECEIVE_FROM) and one that
 * writes (CONNECT, SEND, SEND_TO); a second one is refused with -EBUSY. Its slot, found by its
 * number, knows both. A reading operation waits for readiness from the start. A writing one is
 * queued, tried by the next poll, and waits only when the kernel takes nothing. Readiness is
 * level-triggered: a receive that filled only a part of its buffer need not be followed by one that
 * finds nothing, and an event is a hint, never a fact: acting on an old one costs a system call and
 * nothing else.
 *
 * Invariant S: a descriptor is in the epoll set exactly while slot->mask is not 0, with just these
 * events, and slot->mask is 0 whenever the descriptor has no operation. It is taken out before the
 * last operation on it completes. So when its owner closes it (nothing may be in flight then) it is
 * in no set; a new descriptor with its number finds an empty slot; and a file that a forked process
 * still holds open cannot haunt the set, which it could not be removed from by any descriptor of
 * ours. In between registrations stay: sending and receiving on a connection that is being read
 * costs no epoll_ctl, and waiting for room costs two for as long as it lasts.
 */
#define _GNU_SOURCE 1

#include "core/buf.h"
#include "io/epoll_driver.h"
#include "io/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

enum {
    RECEIVES_MAX = 4, /* buffers per descriptor and poll: nobody fills a poll alone */
    DATAGRAMS_MAX = 8,
    ACCEPTS_MAX = 16,
    DESCRIPTORS_MAX = 1 << 30, /* the kernel's own bound is below */
};

/* Where an operation is. IDLE is what the caller's zeroes mean. */
enum state {
    STATE_IDLE = 0,
    STATE_WAITING = 1,   /* for readiness */
    STATE_QUEUED = 2,    /* in the queue, to be tried */
    STATE_CANCELLED = 3, /* in the queue, to be completed as cancelled */
};

/* The words of weft_io_op.driver. */
enum { WORD_NEXT = 0, WORD_SLOT = 1, WORD_STATE = 2, WORD_TURN = 3 };

_Static_assert(sizeof(weft_io_span) == sizeof(struct iovec), "spans are passed on as they are");
_Static_assert(offsetof(weft_io_span, data) == offsetof(struct iovec, iov_base), "the same");
_Static_assert(offsetof(weft_io_span, size) == offsetof(struct iovec, iov_len), "the same");

/* ---- slots --------------------------------------------------------------------------------- */

static int grow_pages(struct weft__epoll *driver, uint32_t wanted) {
    uint32_t count = driver->page_count == 0 ? 4 : driver->page_count;
    while (count < wanted) { /* bounded: doubles */
        count *= 2;
    }
    struct weft__epoll_page **pages =
        realloc(driver->pages, count * sizeof(struct weft__epoll_page *));
    if (pages == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = driver->page_count; i < count; i++) {
        pages[i] = NULL;
    }
    driver->pages = pages;
    driver->page_count = count;
    return 0;
}

/* The slot of a descriptor, made if need be; slots never move. 0 or -errno. */
static int find_slot(struct weft__epoll *driver, int fd, struct weft__epoll_slot **ret_slot) {
    if (fd < 0 || fd >= DESCRIPTORS_MAX) {
        return -EBADF;
    }
    uint32_t page = (uint32_t)fd / WEFT__EPOLL_PAGE_SLOTS;
    if (page >= driver->page_count && grow_pages(driver, page + 1) != 0) {
        return -ENOMEM;
    }
    if (driver->pages[page] == NULL) {
        driver->pages[page] = calloc(1, sizeof(struct weft__epoll_page));
        if (driver->pages[page] == NULL) {
            return -ENOMEM;
        }
    }
    *ret_slot = &driver->pages[page]->slots[(uint32_t)fd % WEFT__EPOLL_PAGE_SLOTS];
    return 0;
}

void weft__epoll_pages_free(struct weft__epoll *driver) {
    for (uint32_t i = 0; i < driver->page_count; i++) {
        free(driver->pages[i]);
    }
    free(driver->pages);
    driver->pages = NULL;
    driver->page_count = 0;
}

/* Registers fd for exactly these events; 0: for none. Keeps invariant S. */
static int set_mask(struct weft__epoll *driver, struct weft__epoll_slot *slot, int fd,
                    uint32_t mask) {
    int call = slot->mask == 0 ? EPOLL_CTL_ADD : mask == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = mask, .data.u64 = (uint32_t)fd};
    driver->counts.enters++;
    if (epoll_ctl(driver->epoll_fd, call, fd, &event) < 0) {
        return -errno;
    }
    slot->mask = mask;
    return 0;
}

/* Sees to it that events of this direction come. Drops the other one if nobody is there for it. */
static int listen_for(struct weft__epoll *driver, struct weft__epoll_slot *slot, int fd,
                      uint32_t direction) {
    if ((slot->mask & direction) != 0) {
        return 0;
    }
    uint32_t mask = direction;
    mask |= slot->reader != NULL ? slot->mask & EPOLLIN : 0u;
    mask |= slot->writer != NULL ? slot->mask & EPOLLOUT : 0u;
    return set_mask(driver, slot, fd, mask);
}

/* ---- operations: states -------------------------------------------------------------------- */

static enum state state_of(const weft_io_op *op) {
    return (enum state)op->driver[WORD_STATE];
}

static struct weft__epoll_slot *slot_of(const weft_io_op *op) {
    return (struct weft__epoll_slot *)(uintptr_t)op->driver[WORD_SLOT];
}

static bool is_reader(const weft_io_op *op) {
    return op->kind == WEFT_IO_OP_ACCEPT || op->kind == WEFT_IO_OP_RECEIVE ||
           op->kind == WEFT_IO_OP_RECEIVE_FROM;
}

static void enqueue(struct weft__epoll *driver, weft_io_op *op, enum state state) {
    op->driver[WORD_NEXT] = 0;
    op->driver[WORD_STATE] = state;
    if (driver->queue_head == NULL) {
        driver->queue_head = op;
    } else {
        driver->queue_tail->driver[WORD_NEXT] = (uintptr_t)op;
    }
    driver->queue_tail = op;
}

static weft_io_op *dequeue(struct weft__epoll *driver) {
    weft_io_op *op = driver->queue_head;
    driver->queue_head = (weft_io_op *)(uintptr_t)op->driver[WORD_NEXT];
    return op;
}

/* A result after which the operation goes on; whether it does (complete may cancel it). */
static bool deliver(struct weft__epoll *driver, weft_io_op *op, const weft_io_result *result) {
    driver->counts.completed++;
    driver->results++;
    op->complete(op, result);
    return state_of(op) == STATE_WAITING;
}

/* Takes op off its descriptor. */
static void release(struct weft__epoll *driver, weft_io_op *op) {
    struct weft__epoll_slot *slot = slot_of(op);
    if (slot->reader == op) {
        slot->reader = NULL;
    } else {
        weft_assert(slot->writer == op);
        slot->writer = NULL;
    }
    op->driver[WORD_STATE] = STATE_IDLE;
    weft_assert(driver->in_flight > 0);
    driver->in_flight--;
    if (slot->reader == NULL && slot->writer == NULL && slot->mask != 0) {
        int result = set_mask(driver, slot, op->fd, 0);
        weft_assert(result == 0); /* fails only for what is not in the set */
    }
}

/* The last result; op is the caller's again and may be gone afterwards. */
static void finish(struct weft__epoll *driver, weft_io_op *op, int result) {
    release(driver, op);
    driver->counts.completed++;
    driver->results++;
    op->complete(op, &(weft_io_result){.result = result});
}

/* ---- operations: reading ------------------------------------------------------------------- */

/* A buffer to receive into, or NULL: then op is over. */
static weft_buf *take_buf(struct weft__epoll *driver, weft_io_op *op) {
    weft_buf *buf = driver->spare;
    driver->spare = NULL;
    if (buf == NULL) {
        buf = driver->host->take(driver->host->cookie);
    }
    if (buf == NULL) {
        driver->counts.starved++;
        finish(driver, op, -ENOBUFS);
    }
    return buf;
}

/* A call for op moved nothing: ends op unless that is no error. */
static void reading_failed(struct weft__epoll *driver, weft_io_op *op, int error) {
    if (error != EAGAIN && error != EINTR) { /* else the next event tries again */
        finish(driver, op, -error);
    }
}

static void try_receive(struct weft__epoll *driver, weft_io_op *op) {
    for (uint32_t i = 0; i < RECEIVES_MAX; i++) {
        weft_buf *buf = take_buf(driver, op);
        if (buf == NULL) {
            return;
        }
        size_t size = weft_buf_size(buf);
        driver->counts.enters++;
        ssize_t got = recv(op->fd, weft_buf_data(buf), size, MSG_DONTWAIT);
        if (got <= 0) {
            driver->spare = buf;
            if (got == 0) {
                finish(driver, op, 0);
            } else {
                reading_failed(driver, op, errno);
            }
            return;
        }
        weft_io_result result = {.result = (int)got, .more = true, .buf = buf};
        if (!deliver(driver, op, &result) || (size_t)got < size) {
            return; /* cancelled, or probably empty; if not, the set says so again */
        }
    }
}

static void try_receive_from(struct weft__epoll *driver, weft_io_op *op) {
    for (uint32_t i = 0; i < DATAGRAMS_MAX; i++) {
        weft_buf *buf = take_buf(driver, op);
        if (buf == NULL) {
            return;
        }
        struct sockaddr_storage raw;
        socklen_t length = sizeof(raw);
        driver->counts.enters++;
        ssize_t got = recvfrom(op->fd, weft_buf_data(buf), weft_buf_size(buf), MSG_DONTWAIT,
                               (struct sockaddr *)&raw, &length);
        if (got < 0) {
            driver->spare = buf;
            reading_failed(driver, op, errno);
            return;
        }
        weft_address address;
        weft__address_of(&raw, length, &address);
        weft_io_result result = {.result = (int)got, .more = true, .buf = buf, .address = &address};
        if (!deliver(driver, op, &result)) {
            return;
        }
    }
}

/* Failures of accept that belong to the one connection it would have returned (accept(2)). */
static bool is_connections_own(int error) {
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM: /* the firewall */
        return true;
    default:
        return false;
    }
}

static void try_accept(struct weft__epoll *driver, weft_io_op *op) {
    for (uint32_t i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage raw;
        socklen_t length = sizeof(raw);
        driver->counts.enters++;
        int fd = accept4(op->fd, (struct sockaddr *)&raw, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && is_connections_own(errno)) {
            continue;
        }
        if (fd < 0) {
            reading_failed(driver, op, errno);
            return;
        }
        weft_address address;
        weft__address_of(&raw, length, &address);
        weft_io_result result = {.result = fd, .more = true, .address = &address};
        if (!deliver(driver, op, &result)) {
            return;
        }
    }
}

static void try_reader(struct weft__epoll *driver, weft_io_op *op) {
    switch (op->kind) {
    case WEFT_IO_OP_ACCEPT:
        try_accept(driver, op);
        break;
    case WEFT_IO_OP_RECEIVE:
        try_receive(driver, op);
        break;
    default:
        weft_assert(op->kind == WEFT_IO_OP_RECEIVE_FROM);
        try_receive_from(driver, op);
        break;
    }
}

/* ---- operations: writing ------------------------------------------------------------------- */

/* Starts to connect, or asks what came of it: the kernel answers 0 or the error once it knows, and
 * -EALREADY before. -EAGAIN is final: the queue of a Unix listener is full, and no event would say
 * when it is not any more. */
static int call_connect(const weft_io_op *op) {
    struct sockaddr_storage raw;
    socklen_t length = weft__sockaddr_of(op->address, &raw);
    if (length == 0) {
        return -EINVAL;
    }
    if (connect(op->fd, (const struct sockaddr *)&raw, length) == 0) {
        return 0;
    }
    return -errno;
}

static int call_send(const weft_io_op *op) {
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t sent;
    if (op->span_count == 1 && op->kind == WEFT_IO_OP_SEND) {
        sent = send(op->fd, op->spans[0].data, op->spans[0].size, flags);
        return sent < 0 ? -errno : (int)sent;
    }
    struct sockaddr_storage raw;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)op->spans,
                             .msg_iovlen = op->span_count};
    if (op->kind == WEFT_IO_OP_SEND_TO) {
        message.msg_name = &raw;
        message.msg_namelen = weft__sockaddr_of(op->address, &raw);
        if (message.msg_namelen == 0) {
            return -EINVAL;
        }
    }
    sent = sendmsg(op->fd, &message, flags);
    return sent < 0 ? -errno : (int)sent;
}

static bool must_wait(const weft_io_op *op, int result) {
    return op->kind == WEFT_IO_OP_CONNECT ? result == -EINPROGRESS || result == -EALREADY
                                          : result == -EAGAIN;
}

static void try_writer(struct weft__epoll *driver, weft_io_op *op) {
    driver->counts.enters++;
    int result = op->kind == WEFT_IO_OP_CONNECT ? call_connect(op) : call_send(op);
    if (result == -EINTR) {
        enqueue(driver, op, STATE_QUEUED); /* the next poll tries again */
        return;
    }
    if (must_wait(op, result)) {
        result = listen_for(driver, slot_of(op), op->fd, EPOLLOUT);
        if (result == 0) {
            op->driver[WORD_STATE] = STATE_WAITING;
            return;
        }
    }
    finish(driver, op, result);
}

/* ---- submit, cancel ------------------------------------------------------------------------ */

static int check_op(const struct weft__epoll *driver, const weft_io_op *op) {
    switch (op->kind) {
    case WEFT_IO_OP_RECEIVE:
    case WEFT_IO_OP_RECEIVE_FROM:
        return driver->host == NULL ? -EINVAL : 0;
    case WEFT_IO_OP_SEND:
    case WEFT_IO_OP_SEND_TO:
        return op->span_count > WEFT_IO_SPANS_MAX ? -EINVAL : 0;
    case WEFT_IO_OP_ACCEPT:
    case WEFT_IO_OP_CONNECT:
        return 0;
    case WEFT_IO_OP_READ:
    case WEFT_IO_OP_WRITE:
    case WEFT_IO_OP_SYNC:
        return -ENOSYS;
    default:
        return -EINVAL;
    }
}

/* A reading operation enters its slot first: listen_for looks who is there. */
static int start(struct weft__epoll *driver, struct weft__epoll_slot *slot, weft_io_op *op) {
    if (!is_reader(op)) {
        slot->writer = op;
        enqueue(driver, op, STATE_QUEUED);
        return 0;
    }
    slot->reader = op;
    int result = listen_for(driver, slot, op->fd, EPOLLIN);
    if (result != 0) {
        slot->reader = NULL;
        return result;
    }
    op->driver[WORD_STATE] = STATE_WAITING;
    return 0;
}

int weft__epoll_op_submit(struct weft__epoll *driver, weft_io_op *op) {
    weft_assert(state_of(op) == STATE_IDLE);
    int result = check_op(driver, op);
    struct weft__epoll_slot *slot = NULL;
    if (result == 0) {
        result = find_slot(driver, op->fd, &slot);
    }
    if (result == 0 && (is_reader(op) ? slot->reader : slot->writer) != NULL) {
        result = -EBUSY;
    }
    if (result == 0) {
        result = start(driver, slot, op);
    }
    if (result != 0) {
        return result;
    }
    op->driver[WORD_SLOT] = (uintptr_t)slot;
    op->driver[WORD_TURN] = driver->turn;
    driver->in_flight++;
    driver->counts.submitted++;
    return 0;
}

/* Only marks it: whoever is in the middle of trying op looks at its state after each complete. */
void weft__epoll_op_cancel(struct weft__epoll *driver, weft_io_op *op) {
    switch (state_of(op)) {
    case STATE_WAITING:
        enqueue(driver, op, STATE_CANCELLED);
        break;
    case STATE_QUEUED:
        op->driver[WORD_STATE] = STATE_CANCELLED; /* where it is in the queue */
        break;
    default: /* over already, or cancelled twice */
        break;
    }
}

/* ---- in a poll ---------------------------------------------------------------------------- */

/* What was in the queue when the poll began; what is appended meanwhile stays for the next. */
void weft__epoll_run_queue(struct weft__epoll *driver) {
    const weft_io_op *last = driver->queue_head == NULL ? NULL : driver->queue_tail;
    bool more = last != NULL;
    /* Bounded: one turn for each, up to last. */
    while (more && driver->results < WEFT__EPOLL_RESULTS_MAX) {
        weft_io_op *op = dequeue(driver);
        more = op != last;
        if (state_of(op) == STATE_CANCELLED) {
            finish(driver, op, -ECANCELED);
        } else {
            weft_assert(state_of(op) == STATE_QUEUED);
            try_writer(driver, op);
        }
    }
}

/* True for an operation that an event may go to: not one that is queued, nor a new one. */
static bool is_due(const struct weft__epoll *driver, const weft_io_op *op) {
    return op != NULL && state_of(op) == STATE_WAITING && op->driver[WORD_TURN] != driver->turn;
}

/* Readiness that nobody waits for would come back with every look: leaves it out from now on. If
 * nothing remains, the operation that is there is queued and settles it (invariant S). */
static void drop_unwanted(struct weft__epoll *driver, struct weft__epoll_slot *slot, int fd) {
    uint32_t mask = slot->mask;
    mask &= slot->reader == NULL ? ~(uint32_t)EPOLLIN : UINT32_MAX;
    mask &= slot->writer == NULL ? ~(uint32_t)EPOLLOUT : UINT32_MAX;
    if (mask != slot->mask && mask != 0) {
        int result = set_mask(driver, slot, fd, mask);
        weft_assert(result == 0); /* fails only for what is not in the set */
    }
}

void weft__epoll_run_event(struct weft__epoll *driver, const struct epoll_event *event) {
    if (event->data.u64 == WEFT__EPOLL_DATA_WAKE) {
        return; /* park's business */
    }
    int fd = (int)event->data.u64;
    struct weft__epoll_slot *slot =
        &driver->pages[fd / WEFT__EPOLL_PAGE_SLOTS]->slots[fd % WEFT__EPOLL_PAGE_SLOTS];
    uint32_t both = EPOLLERR | EPOLLHUP;
    if ((event->events & (EPOLLIN | both)) != 0 && is_due(driver, slot->reader)) {
        try_reader(driver, slot->reader);
    }
    if ((event->events & (EPOLLOUT | both)) != 0 && is_due(driver, slot->writer)) {
        try_writer(driver, slot->writer);
    }
    drop_unwanted(driver, slot, fd);
}
