/* SPDX-License-Identifier: MIT
 *
 * Datagram sockets: weft/datagram.h. A socket is opened and bound on the caller's thread; from
 * begin on it lives on the scheduler its actor is pinned to, and only there.
 *
 * Receiving is one operation that goes on. It is cancelled while too much is given to the actor and
 * not handled (held), and started again when half of that is. Sending is one operation at a time;
 * what comes meanwhile waits in a queue, in order, bounded by send_max.
 *
 * The end comes in two steps. `closing`: nothing more is received, what is queued is still sent,
 * for a moment. `over`: whatever is in flight is cancelled, the queue is dropped; when the last
 * operation has completed the descriptor is closed and the actor is told. Nobody frees a socket
 * that has operations in flight: drivers hold pointers into it. It is freed when its descriptor is
 * closed and its actor has ended, whichever is later.
 */
#include "io/io.h"
#include <string.h>
#include <weft/datagram.h>

enum {
    MAGIC = 0x75647073,
    DATAGRAM_BYTES_MAX = 65507, /* IPv4's limit; what works with one family works with both */
    CHARGE_BYTES = 64, /* what a datagram counts besides its bytes: empty ones add up too */
    AHEAD_DEFAULT = 256 << 10,
    SEND_MAX_DEFAULT = 256 << 10,
    /* The drivers need up to 48 bytes of a receive buffer for themselves, and cut what does not fit
     * into the rest. What is larger than this is dropped, whether it was cut or not. */
    BUFFER_RESERVE = 64,
    RETRY_NS = 10000000,
    LINGER_NS = 250000000, /* how long a socket that closes goes on sending what is queued */
    HOPS_MAX = 255,
};

/* A datagram that waits to be sent. */
struct outgoing {
    struct outgoing *next;
    size_t size;
    weft_address target;
    unsigned char bytes[];
};

struct datagram {
    struct weft__attachment attachment;
    uint32_t magic;
    int fd; /* -1: closed */
    /* const after it was made */
    weft_runtime *runtime;
    uint16_t family;
    uint64_t receive_ahead;
    uint64_t send_max;
    /* its scheduler's thread, from begin on */
    struct weft__io *io;
    uint64_t owner;    /* slot and generation of the actor; 0 when it has ended */
    bool receiving;    /* the receive operation is in flight */
    bool cancelled;    /* and was asked to end */
    bool sending;      /* the send operation is in flight, with the first of the queue */
    bool held;         /* not received because of receive_ahead, until half of it is handled */
    bool waiting;      /* for the alarm: a receive or a send could not be started */
    bool closing;      /* deliver nothing more but CLOSED */
    bool over;         /* status is set: being torn down */
    bool told_closed;  /* CLOSED is in the hands of the actor, or was */
    bool owes;         /* the actor could not be told CLOSED for want of memory */
    int status;        /* why it is over */
    uint64_t ahead;    /* charged for what is in the mailbox, not handled */
    uint64_t queued;   /* charged for what is in the queue */
    uint64_t until_ns; /* when closing gives up sending; UINT64_MAX: it is not closing */
    struct outgoing *first;
    struct outgoing *last;
    struct weft__alarm_node alarm;
    weft_io_op receive_op;
    weft_io_op send_op;
    weft_io_span span;
};

static void send_next(struct datagram *socket);
static void finish(struct datagram *socket);

/* ---- the alarm: what is to be tried again, or given up ------------------------------------- */

static void set_alarm(struct datagram *socket) {
    uint64_t due_ns = socket->until_ns;
    if (socket->waiting || socket->owes) {
        due_ns = weft_min_u64(due_ns, weft__io_now(socket->io) + RETRY_NS);
    }
    if (due_ns == UINT64_MAX) {
        weft__alarm_cancel(&socket->io->alarms, &socket->alarm);
    } else {
        weft__alarm_set(&socket->io->alarms, &socket->alarm, due_ns);
    }
}

static void retry_later(struct datagram *socket) {
    socket->waiting = true;
    set_alarm(socket);
}

/* ---- the queue ----------------------------------------------------------------------------- */

static uint64_t charge_of(size_t size) {
    return (uint64_t)size + CHARGE_BYTES;
}

/* Drops the first of the queue. */
static void queue_pop(struct datagram *socket) {
    struct outgoing *outgoing = socket->first;
    socket->first = outgoing->next;
    if (socket->first == NULL) {
        socket->last = NULL;
    }
    socket->queued -= charge_of(outgoing->size);
    weft__free(&socket->runtime->core, outgoing, sizeof(*outgoing) + outgoing->size, "datagram");
}

static void queue_clear(struct datagram *socket) {
    while (socket->first != NULL) { /* bounded by send_max */
        queue_pop(socket);
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The last thing that happens to a socket. Any thread when it never began. */
static void datagram_free(struct datagram *socket) {
    weft_runtime *runtime = socket->runtime;
    weft_assert(!socket->receiving && !socket->sending);
    if (socket->fd >= 0) {
        runtime->core.env->io->close(runtime->core.env, socket->fd);
    }
    queue_clear(socket);
    socket->magic = 0;
    weft__free(&runtime->core, socket, sizeof(*socket), "socket");
    (void)weft_add32_acq_rel(&runtime->upper_busy, UINT32_MAX);
}

/* Tells the actor CLOSED; without memory, later. */
static void tell_closed(struct datagram *socket) {
    struct weft__news news = {
        .owner = socket->owner, .tag = WEFT_IO_CLOSED, .status = socket->status};
    socket->owes = weft__io_tell(socket->io, &news) != 0;
    set_alarm(socket);
}

/* Nothing is in flight any more. The socket may be gone after this. */
static void finish(struct datagram *socket) {
    struct weft__io *io = socket->io;
    io->calls->close(io->env, socket->fd);
    socket->fd = -1;
    weft_counter_add(&io->s->counters.io_closes, 1);
    (void)weft_add32_acq_rel(&io->net->loads[io->s->id], UINT32_MAX);
    queue_clear(socket);
    socket->waiting = false;
    socket->until_ns = UINT64_MAX;
    if (socket->owner != 0) {
        tell_closed(socket);
        return;
    }
    weft__alarm_cancel(&io->alarms, &socket->alarm);
    datagram_free(socket);
}

static void cancel_receive(struct datagram *socket) {
    if (socket->receiving && !socket->cancelled) {
        socket->cancelled = true;
        socket->io->calls->cancel(socket->io->env, socket->io->driver, &socket->receive_op);
    }
}

/* It is over; the first status wins. The socket may be gone after this. */
static void fail(struct datagram *socket, int status) {
    struct weft__io *io = socket->io;
    if (socket->over) {
        return;
    }
    socket->over = true;
    socket->status = status;
    cancel_receive(socket);
    if (socket->sending) {
        io->calls->cancel(io->env, io->driver, &socket->send_op);
    }
    if (!socket->receiving && !socket->sending) {
        finish(socket);
    }
}

/* Begins an orderly end. The socket may be gone after this. */
static void close_orderly(struct datagram *socket) {
    if (socket->closing || socket->over) {
        return;
    }
    socket->closing = true;
    cancel_receive(socket);
    if (socket->first == NULL) {
        fail(socket, 0);
        return;
    }
    socket->until_ns = weft__io_now(socket->io) + LINGER_NS;
    set_alarm(socket);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void received(weft_io_op *op, const weft_io_result *result);

/* Starts or stops receiving, as things are now. The socket may be gone after this. */
static void update(struct datagram *socket) {
    struct weft__io *io = socket->io;
    if (socket->over) {
        return;
    }
    if (socket->held || socket->closing) {
        cancel_receive(socket);
        return;
    }
    if (socket->receiving) {
        return; /* or about to end: it is started again then */
    }
    socket->receive_op.complete = received;
    socket->receive_op.kind = WEFT_IO_OP_RECEIVE_FROM;
    socket->receive_op.fd = socket->fd;
    int result = io->calls->submit(io->env, io->driver, &socket->receive_op);
    if (result == 0) {
        socket->receiving = true;
        socket->cancelled = false;
    } else if (result == -EAGAIN || result == -ENOMEM || result == -ENOBUFS) {
        retry_later(socket);
    } else {
        fail(socket, result);
    }
}

/* A datagram for the actor [take]. One that is cut, or that there is no memory for, is dropped, as
 * the kernel drops those it has no room for. */
static void give(struct datagram *socket, const weft_io_result *result) {
    struct weft__io *io = socket->io;
    uint32_t size = (uint32_t)result->result;
    const weft_address *from = result->address;
    weft_counter_add(&io->s->counters.io_received, size);
    if (socket->owner == 0 || socket->closing || from == NULL ||
        size > weft_buf_size(result->buf) - BUFFER_RESERVE) {
        weft_buf_unref(result->buf);
        return;
    }
    struct weft__received datagram = {.owner = socket->owner,
                                      .buf = result->buf,
                                      .offset = result->offset,
                                      .size = size,
                                      .tag = WEFT_IO_DATAGRAM,
                                      .from = (uint64_t)from->family | (uint64_t)from->port << 16 |
                                              (uint64_t)from->scope << 32};
    _Static_assert(sizeof(datagram.address) == sizeof(from->u.ip), "address words");
    memcpy(datagram.address, from->u.ip, sizeof(datagram.address));
    if (weft__io_give(io, &datagram) == 0) {
        socket->ahead += charge_of(size);
        socket->held = socket->held || socket->ahead >= socket->receive_ahead;
    }
}

/* No receive buffer was to be had. */
static void starved(struct datagram *socket) {
    struct weft__io *io = socket->io;
    weft_buf *buf = weft__buffers_take(&io->buffers);
    if (buf == NULL) {
        retry_later(socket);
        return;
    }
    weft_buf_unref(buf); /* there are some by now */
    update(socket);
}

static void receive_failed(struct datagram *socket, int result) {
    switch (result) {
    case -ECANCELED:
        update(socket); /* it may be wanted again by now */
        return;
    case -ENOBUFS:
        starved(socket);
        return;
    case -ENOMEM:
    case -EAGAIN:
    case -EINTR:
    case -ECONNREFUSED: /* what became of something we sent, or a network that may come back */
    case -ECONNRESET:
    case -EHOSTUNREACH:
    case -EHOSTDOWN:
    case -ENETUNREACH:
    case -ENETDOWN:
    case -EPERM:
    case -EMSGSIZE:
    case -EPROTO:
        retry_later(socket);
        return;
    default:
        fail(socket, result);
        return;
    }
}

static void received(weft_io_op *op, const weft_io_result *result) {
    struct datagram *socket =
        (struct datagram *)(void *)((char *)op - offsetof(struct datagram, receive_op));
    weft_assert(socket->magic == MAGIC);
    if (!result->more) {
        socket->receiving = false;
        socket->cancelled = false;
    }
    if (socket->over) {
        weft_buf_unref(result->buf);
        if (!socket->receiving && !socket->sending) {
            finish(socket);
        }
        return;
    }
    if (result->result >= 0 && result->buf != NULL) {
        give(socket, result);
        update(socket);
    } else if (!result->more) {
        receive_failed(socket, result->result);
    }
}

/* ---- sending ------------------------------------------------------------------------------- */

static void sent(weft_io_op *op, const weft_io_result *result) {
    struct datagram *socket =
        (struct datagram *)(void *)((char *)op - offsetof(struct datagram, send_op));
    weft_assert(socket->magic == MAGIC);
    socket->sending = false;
    if (result->result > 0) { /* an error is that datagram's own: it is lost, as any may be */
        weft_counter_add(&socket->io->s->counters.io_sent, (uint64_t)result->result);
    }
    queue_pop(socket);
    if (socket->over) {
        if (!socket->receiving) {
            finish(socket);
        }
        return;
    }
    send_next(socket);
}

/* Starts to send the first of the queue. The socket may be gone after this. */
static void send_next(struct datagram *socket) {
    struct weft__io *io = socket->io;
    while (socket->first != NULL) { /* bounded by the queue: each is started or dropped */
        struct outgoing *outgoing = socket->first;
        socket->span = (weft_io_span){.data = outgoing->bytes, .size = outgoing->size};
        socket->send_op.complete = sent;
        socket->send_op.kind = WEFT_IO_OP_SEND_TO;
        socket->send_op.fd = socket->fd;
        socket->send_op.spans = &socket->span;
        socket->send_op.span_count = 1;
        socket->send_op.address = &outgoing->target;
        int result = io->calls->submit(io->env, io->driver, &socket->send_op);
        if (result == 0) {
            socket->sending = true;
            return;
        }
        if (result == -EAGAIN || result == -ENOMEM) {
            retry_later(socket);
            return;
        }
        queue_pop(socket);
    }
    if (socket->closing) {
        fail(socket, 0);
    }
}

static void datagram_alarmed(struct weft__alarm_node *node) {
    struct datagram *socket =
        (struct datagram *)(void *)((char *)node - offsetof(struct datagram, alarm));
    weft_assert(socket->magic == MAGIC);
    if (socket->owes) {
        tell_closed(socket);
        return;
    }
    if (socket->over) {
        return;
    }
    if (weft__io_now(socket->io) >= socket->until_ns) {
        fail(socket, 0); /* what is not sent by now is dropped */
        return;
    }
    socket->waiting = false;
    set_alarm(socket);
    bool closing = socket->closing;
    if (!socket->sending && socket->first != NULL) {
        send_next(socket);
    }
    if (!closing) { /* else it receives nothing, and may be gone */
        update(socket);
    }
}

/* ---- as the attachment of its actor -------------------------------------------------------- */

static struct datagram *datagram_of(struct weft__attachment *attachment) {
    struct datagram *socket = (struct datagram *)(void *)attachment; /* its first member */
    weft_assert(socket->magic == MAGIC);
    return socket;
}

static int datagram_begin(struct weft__attachment *attachment, struct weft__scheduler *s,
                          struct weft_ctx *ctx) {
    struct datagram *socket = datagram_of(attachment);
    socket->io = weft__io_of(s);
    if (socket->io == NULL) {
        return -ENOMEM;
    }
    (void)weft_add32_acq_rel(&socket->io->net->loads[s->id], 1);
    socket->owner = weft__from(ctx);
    return 0;
}

static void datagram_start(struct weft__attachment *attachment) {
    struct datagram *socket = datagram_of(attachment);
    if (socket->over) {
        return; /* init has closed it */
    }
    struct weft__news news = {.owner = socket->owner, .tag = WEFT_IO_OPEN};
    int result = weft__io_tell(socket->io, &news);
    if (result != 0) {
        fail(socket, result);
        return;
    }
    update(socket);
}

static bool datagram_admit(struct weft__attachment *attachment, const weft_msg *msg) {
    struct datagram *socket = datagram_of(attachment);
    uint32_t tag = weft_msg_tag(msg);
    if (tag == WEFT_IO_CLOSED) {
        socket->told_closed = true;
        return true;
    }
    if (!socket->closing || tag == WEFT_IO_FILE) {
        return true;
    }
    if (tag == WEFT_IO_DATAGRAM) {
        socket->ahead -= charge_of(weft_msg_size(msg));
    }
    return false;
}

static bool datagram_handled(struct weft__attachment *attachment, uint32_t tag, uint32_t size) {
    struct datagram *socket = datagram_of(attachment);
    if (tag == WEFT_IO_CLOSED) {
        return true;
    }
    if (tag == WEFT_IO_DATAGRAM) {
        weft_assert(socket->ahead >= charge_of(size));
        socket->ahead -= charge_of(size);
        if (socket->held && socket->ahead <= socket->receive_ahead / 2) {
            socket->held = false;
            update(socket);
        }
    }
    return false;
}

static void datagram_signal(struct weft__attachment *attachment, const weft_msg *msg) {
    (void)attachment;
    (void)msg;
}

static void datagram_end(struct weft__attachment *attachment, struct weft__scheduler *s,
                         int reason) {
    struct datagram *socket = datagram_of(attachment);
    socket->owner = 0;
    if (socket->io == NULL) { /* it never began */
        datagram_free(socket);
        return;
    }
    weft_assert(socket->io->s == s);
    if (socket->fd < 0) {
        weft__alarm_cancel(&socket->io->alarms, &socket->alarm);
        datagram_free(socket);
        return;
    }
    if (reason == 0 || reason == WEFT_E_SHUTDOWN) {
        close_orderly(socket);
    } else {
        fail(socket, reason);
    }
}

static const struct weft__attachment_calls datagram_calls = {.begin = datagram_begin,
                                                             .start = datagram_start,
                                                             .admit = datagram_admit,
                                                             .handled = datagram_handled,
                                                             .signal = datagram_signal,
                                                             .end = datagram_end};

/* ---- weft_datagram_open -------------------------------------------------------------------- */

static int check_options(const weft_runtime *runtime, const weft_datagram_options *options) {
    if (runtime == NULL || options == NULL || options->struct_size != sizeof(*options) ||
        options->address == NULL || options->type == NULL || options->type->runtime != runtime ||
        options->scheduler > runtime->count || (options->arg == NULL && options->arg_size != 0)) {
        return -EINVAL;
    }
    return runtime->core.env->io == NULL ? -ENOSYS : 0;
}

/* Opens and binds; the address it is bound to [out]. */
static int open_socket(weft_runtime *runtime, const weft_datagram_options *options, int *ret_fd,
                       weft_address *ret_address) {
    weft_env *env = runtime->core.env;
    weft_address address;
    int result = weft_address_parse(options->address, &address);
    if (result != 0 || address.family == WEFT_FAMILY_UNIX) {
        return -EINVAL;
    }
    weft_io_socket what = {
        .kind = WEFT_IO_DATAGRAM_SOCKET, .address = &address, .reuse_port = options->reuse_port};
    int fd;
    result = env->io->open(env, &what, &fd);
    if (result != 0) {
        return result;
    }
    result = env->io->local(env, fd, ret_address);
    if (result != 0) {
        env->io->close(env, fd);
        return result;
    }
    *ret_fd = fd;
    return 0;
}

static int spawn_socket(struct datagram *socket, const weft_datagram_options *options,
                        weft_pid *ret_pid) {
    weft_runtime *runtime = socket->runtime;
    struct weft__net *net = weft__net_of(runtime);
    if (net == NULL) {
        return -ENOMEM;
    }
    struct weft__birth birth = {.type = options->type,
                                .arg = options->arg,
                                .arg_size = options->arg_size,
                                .scheduler = options->scheduler != 0 ? (int)options->scheduler - 1
                                                                     : (int)weft__net_place(net),
                                .pin = true,
                                .attachment = &socket->attachment};
    return weft__spawn_outside(runtime, &birth, ret_pid);
}

int weft_datagram_open(weft_runtime *runtime, const weft_datagram_options *options,
                       weft_pid *ret_pid, weft_address *ret_address) {
    int result = check_options(runtime, options);
    if (result != 0) {
        return result;
    }
    struct datagram *socket = weft__alloc(&runtime->core, sizeof(*socket), "socket");
    if (socket == NULL) {
        return -ENOMEM;
    }
    weft_address address;
    result = open_socket(runtime, options, &socket->fd, &address);
    if (result != 0) {
        weft__free(&runtime->core, socket, sizeof(*socket), "socket");
        return result;
    }
    socket->attachment.calls = &datagram_calls;
    socket->magic = MAGIC;
    socket->runtime = runtime;
    socket->family = address.family;
    socket->receive_ahead = options->receive_ahead == 0 ? AHEAD_DEFAULT : options->receive_ahead;
    socket->send_max = options->send_max == 0 ? SEND_MAX_DEFAULT : options->send_max;
    socket->until_ns = UINT64_MAX;
    socket->alarm.fire = datagram_alarmed;
    (void)weft_add32_acq_rel(&runtime->upper_busy, 1);
    weft_pid pid;
    result = spawn_socket(socket, options, &pid);
    if (result != 0) {
        datagram_free(socket);
        return result;
    }
    if (ret_pid != NULL) {
        *ret_pid = pid;
    }
    if (ret_address != NULL) {
        *ret_address = address;
    }
    return 0;
}

/* ---- inside the socket's actor ------------------------------------------------------------- */

/* The socket of an actor, until CLOSED is in its hands. 0 or -ENOTCONN. */
static int find(weft_ctx *ctx, struct datagram **ret_socket) {
    struct weft__ext *ext = ctx != NULL ? ctx->ext : NULL;
    if (ext == NULL || ext->attachment == NULL || ext->attachment->calls != &datagram_calls) {
        return -ENOTCONN;
    }
    struct datagram *socket = datagram_of(ext->attachment);
    if (socket->io == NULL || socket->told_closed) {
        return -ENOTCONN;
    }
    *ret_socket = socket;
    return 0;
}

static bool may_send_to(const struct datagram *socket, const weft_address *target) {
    return target != NULL && target->family == socket->family && target->port != 0;
}

int weft_datagram_send(weft_ctx *ctx, const weft_address *target, const void *data, size_t size) {
    struct datagram *socket;
    int result = find(ctx, &socket);
    if (result != 0) {
        return result;
    }
    if (!may_send_to(socket, target) || (data == NULL && size != 0)) {
        return -EINVAL;
    }
    if (size > DATAGRAM_BYTES_MAX) {
        return -EMSGSIZE;
    }
    if (socket->closing || socket->over) {
        return -EPIPE;
    }
    if (socket->first != NULL && socket->queued + charge_of(size) > socket->send_max) {
        return -ENOBUFS;
    }
    struct outgoing *outgoing =
        weft__alloc(&socket->runtime->core, sizeof(*outgoing) + size, "datagram");
    if (outgoing == NULL) {
        return -ENOMEM;
    }
    outgoing->size = size;
    outgoing->target = *target;
    if (size != 0) {
        memcpy(outgoing->bytes, data, size);
    }
    if (socket->last != NULL) {
        socket->last->next = outgoing;
    } else {
        socket->first = outgoing;
    }
    socket->last = outgoing;
    socket->queued += charge_of(size);
    if (!socket->sending) {
        send_next(socket);
    }
    return 0;
}

int weft_datagram_sender(weft_ctx *ctx, const weft_msg *msg, weft_address *ret_address) {
    struct weft__ext *ext = ctx != NULL ? ctx->ext : NULL;
    if (ext == NULL || ext->attachment == NULL || ext->attachment->calls != &datagram_calls) {
        return -ENOTCONN;
    }
    if (msg == NULL || ret_address == NULL || weft_msg_kind(msg) != WEFT_MSG_IO ||
        weft_msg_tag(msg) != WEFT_IO_DATAGRAM) {
        return -EINVAL;
    }
    weft_address address = {.family = (uint16_t)msg->weft__from,
                            .port = (uint16_t)(msg->weft__from >> 16),
                            .scope = (uint32_t)(msg->weft__from >> 32)};
    memcpy(address.u.ip, &msg->weft__u.weft__r.weft__ref, sizeof(address.u.ip));
    *ret_address = address;
    return 0;
}

/* Sets an option while the descriptor is open. */
static int set_option(const struct datagram *socket, enum weft_io_option option, int value,
                      const weft_address *address) {
    if (socket->fd < 0) {
        return -ENOTCONN;
    }
    return socket->io->calls->option(socket->io->env, socket->fd, option, value, address);
}

static int set_membership(weft_ctx *ctx, enum weft_io_option option, const weft_address *group,
                          uint32_t interface_index) {
    struct datagram *socket;
    int result = find(ctx, &socket);
    if (result != 0) {
        return result;
    }
    if (group == NULL || group->family != socket->family || interface_index > INT32_MAX) {
        return -EINVAL;
    }
    return set_option(socket, option, (int)interface_index, group);
}

int weft_datagram_join(weft_ctx *ctx, const weft_address *group, uint32_t interface_index) {
    return set_membership(ctx, WEFT_IO_JOIN, group, interface_index);
}

int weft_datagram_leave(weft_ctx *ctx, const weft_address *group, uint32_t interface_index) {
    return set_membership(ctx, WEFT_IO_LEAVE, group, interface_index);
}

int weft_datagram_multicast(weft_ctx *ctx, uint32_t interface_index, uint32_t hops, bool loop) {
    struct datagram *socket;
    int result = find(ctx, &socket);
    if (result != 0) {
        return result;
    }
    if (interface_index > INT32_MAX || hops > HOPS_MAX) {
        return -EINVAL;
    }
    result = set_option(socket, WEFT_IO_MULTICAST_INTERFACE, (int)interface_index, NULL);
    if (result == 0) {
        result = set_option(socket, WEFT_IO_MULTICAST_HOPS, (int)hops, NULL);
    }
    if (result == 0) {
        result = set_option(socket, WEFT_IO_MULTICAST_LOOP, loop ? 1 : 0, NULL);
    }
    return result;
}

int weft_datagram_close(weft_ctx *ctx) {
    struct datagram *socket;
    int result = find(ctx, &socket);
    if (result == 0) {
        close_orderly(socket);
    }
    return result;
}
