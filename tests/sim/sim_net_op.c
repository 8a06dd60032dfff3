/* SPDX-License-Identifier: MIT
 *
 * Operations of the simulated network: submit, cancel, poll, and where buffers come from. What an
 * operation reaches becomes a result, which poll may see after a drawn delay; results of one
 * operation stay in order, those of different ones come in any, in batches of a drawn size.
 *
 * A driver is of one of two kinds, drawn when it is attached: with a ring of buffers it receives
 * into them before poll is called, as io_uring does; without, it takes a buffer in poll when
 * there is something to receive, as with epoll.
 *
 * The rules of weft/env.h for callers are checked here: the memory of an operation is hashed when
 * it is submitted, when its bytes are taken and when it ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/msg.h>

#include "sim_net.h"

enum {
    BATCH_BITS = 8,   /* results of one poll: at most 2^8 */
    START_NS = 2000,  /* an operation gets going after so long at most */
    RESULT_NS = 4000, /* and its results are seen after so long */
    LATE_BITS = 30,   /* late ones: 2^30 ns */
    SUBMITTED_MAX = 1 << 20,
};

/* ---- lists --------------------------------------------------------------------------------- */

static sim_op *op_get(const sim_net *net, uint32_t slot, uint64_t number) {
    sim_op *op = slot < net->op_room ? net->ops[slot] : NULL;
    return op != NULL && op->number == number ? op : NULL;
}

static uint32_t op_slot(sim_net *net) {
    for (uint32_t i = 0; i < net->op_room; i++) {
        if (net->ops[i] == NULL) {
            return i;
        }
    }
    uint32_t room = net->op_room == 0 ? 64 : net->op_room * 2;
    if (room > SUBMITTED_MAX) {
        weft__sim_fatal(net->sim, "too many operations in flight");
    }
    net->ops = weft__net_realloc(net, net->ops, room * sizeof(net->ops[0]));
    memset(net->ops + net->op_room, 0, (room - net->op_room) * sizeof(net->ops[0]));
    uint32_t slot = net->op_room;
    net->op_room = room;
    return slot;
}

static void op_link(sim_socket *socket, sim_op *op) {
    sim_op **at = &socket->ops;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = op;
}

static void op_unlink(sim_socket *socket, const sim_op *op) {
    sim_op **at = &socket->ops;
    while (*at != op) {
        at = &(*at)->next;
    }
    *at = op->next;
}

sim_op *weft__net_op_find(const sim_socket *socket, enum weft_io_kind kind) {
    for (sim_op *op = socket->ops; op != NULL; op = op->next) {
        if (op->op->kind == kind && !op->over) {
            return op;
        }
    }
    return NULL;
}

/* Its thread sleeps no longer. */
static void driver_list(sim_net *net, sim_op *op) {
    sim_driver *driver = op->driver;
    if (!op->listed) {
        if (driver->ready_count == driver->ready_room) {
            driver->ready_room = driver->ready_room == 0 ? 16 : driver->ready_room * 2;
            driver->ready = weft__net_realloc(net, driver->ready,
                                              driver->ready_room * sizeof(driver->ready[0]));
        }
        op->listed = true;
        op->ready_index = driver->ready_count;
        driver->ready[driver->ready_count++] = op;
    }
    if (driver->sleeper != NULL) {
        weft__sim_fold(net->sim, SIM_EVENT_WAKE, driver->id, 1);
        weft__sim_thread_wake(driver->sleeper);
    }
}

static void driver_unlist(sim_op *op) {
    sim_driver *driver = op->driver;
    sim_op *last = driver->ready[--driver->ready_count];
    driver->ready[op->ready_index] = last;
    last->ready_index = op->ready_index;
    op->listed = false;
}

/* ---- memory of operations ------------------------------------------------------------------ */

size_t weft__net_spans_size(const weft_io_op *op) {
    size_t size = 0;
    for (uint32_t i = 0; i < op->span_count; i++) {
        size += op->spans[i].size;
    }
    return size;
}

void weft__net_spans_copy(const weft_io_op *op, size_t skip, unsigned char *bytes, size_t size) {
    for (uint32_t i = 0; i < op->span_count && size > 0; i++) {
        const weft_io_span *span = &op->spans[i];
        if (skip >= span->size) {
            skip -= span->size;
            continue;
        }
        size_t part = span->size - skip < size ? span->size - skip : size;
        memcpy(bytes, (const unsigned char *)span->data + skip, part);
        bytes += part;
        size -= part;
        skip = 0;
    }
}

static uint64_t op_sum(const weft_io_op *op) {
    uint64_t sum = weft__net_hash(op->kind, &op->complete, sizeof(op->complete));
    sum = weft__net_hash(sum, &op->fd, sizeof(op->fd));
    sum = weft__net_hash(sum, &op->span_count, sizeof(op->span_count));
    sum = weft__net_hash(sum, &op->spans, sizeof(op->spans));
    sum = weft__net_hash(sum, &op->address, sizeof(op->address));
    sum = weft__net_hash(sum, &op->offset, sizeof(op->offset));
    bool from = op->kind == WEFT_IO_OP_SEND || op->kind == WEFT_IO_OP_SEND_TO ||
                op->kind == WEFT_IO_OP_WRITE;
    for (uint32_t i = 0; i < op->span_count; i++) {
        sum = weft__net_hash(sum, &op->spans[i], sizeof(op->spans[i]));
        if (from) {
            sum = weft__net_hash(sum, op->spans[i].data, op->spans[i].size);
        }
    }
    if (op->kind == WEFT_IO_OP_CONNECT || op->kind == WEFT_IO_OP_SEND_TO) {
        sum = weft__net_hash(sum, op->address, sizeof(*op->address));
    }
    return sum;
}

void weft__net_op_check(const sim_net *net, const sim_op *op) {
    if (op->op->driver[0] != (uint64_t)(uintptr_t)op || op_sum(op->op) != op->sum) {
        weft__sim_fatal(net->sim, "memory of an operation was changed while it was in flight");
    }
}

/* ---- results ------------------------------------------------------------------------------- */

void weft__net_result(sim_net *net, sim_op *op, const sim_result *result) {
    if (op->over) {
        weft__sim_fatal(net->sim, "simulator: a result after the last one");
    }
    sim_result *made = weft__net_alloc(net, sizeof(*made));
    *made = *result;
    made->next = NULL;
    if (op->results == NULL) {
        op->results = made;
    } else {
        op->results_last->next = made;
    }
    op->results_last = made;
    op->over = !result->more;
    uint64_t now_ns = net->sim->now_ns;
    if (op->driver->ringless && op->driver->polling && op->last_due_ns <= now_ns &&
        (op->op->kind == WEFT_IO_OP_RECEIVE || op->op->kind == WEFT_IO_OP_RECEIVE_FROM)) {
        op->visible++;
        driver_list(net, op);
        return;
    }
    uint64_t due_ns = now_ns + sim_prng_below(&net->prng, RESULT_NS);
    if (weft__net_chance(net, net->sim->options.late_permille)) {
        due_ns = now_ns + sim_prng_magnitude(&net->fault, LATE_BITS);
    }
    op->last_due_ns = due_ns > op->last_due_ns ? due_ns : op->last_due_ns;
    sim_net_event event = {
        .due_ns = op->last_due_ns, .kind = SIM_NET_VISIBLE, .target = op->number, .slot = op->slot};
    weft__net_event(net, &event);
}

void weft__net_end(sim_net *net, sim_op *op, int result) {
    sim_result last = {.result = result};
    weft__net_result(net, op, &last);
}

weft_buf *weft__net_buffer(sim_net *net, sim_driver *driver) {
    weft_buf *buf = NULL;
    bool starved = weft__net_chance(net, net->sim->options.starve_permille);
    if (!starved && driver->ringless && driver->host != NULL) {
        buf = driver->host->take(driver->host->cookie);
    } else if (!starved && driver->ring_held > 0) {
        buf = driver->ring[--driver->ring_held];
    }
    driver->counts.starved += buf == NULL ? 1 : 0;
    return buf;
}

/* ---- getting on ---------------------------------------------------------------------------- */

static void op_try_at(sim_net *net, sim_op *op, uint64_t due_ns) {
    if (op->try_due_ns <= due_ns) {
        return;
    }
    op->try_due_ns = due_ns;
    sim_net_event event = {
        .due_ns = due_ns, .kind = SIM_NET_OP, .target = op->number, .slot = op->slot};
    weft__net_event(net, &event);
}

void weft__net_kick(sim_net *net, sim_socket *socket, enum weft_io_kind kind, uint64_t delay_ns) {
    for (sim_op *op = socket->ops; op != NULL; op = op->next) {
        if (op->op->kind == kind && !op->over) {
            op_try_at(net, op, net->sim->now_ns + delay_ns);
        }
    }
}

static void op_try(sim_net *net, sim_op *op) {
    sim_socket *socket = weft__net_socket(net, op->socket);
    switch (op->op->kind) {
    case WEFT_IO_OP_ACCEPT:
        weft__net_accept(net, socket, op);
        break;
    case WEFT_IO_OP_CONNECT:
        weft__net_connect(net, socket, op);
        break;
    case WEFT_IO_OP_RECEIVE:
        weft__net_receive(net, socket, op);
        break;
    case WEFT_IO_OP_SEND:
        weft__net_send(net, socket, op);
        break;
    case WEFT_IO_OP_RECEIVE_FROM:
        weft__net_receive_from(net, socket, op);
        break;
    case WEFT_IO_OP_SEND_TO:
        weft__net_send_to(net, socket, op);
        break;
    default:
        weft__net_file_op(net, socket, op);
        break;
    }
}

/* Without a ring, receiving needs a buffer, and that only the driver's thread may take. */
static void op_wake_or_try(sim_net *net, sim_op *op) {
    uint16_t kind = op->op->kind;
    if (op->driver->ringless && (kind == WEFT_IO_OP_RECEIVE || kind == WEFT_IO_OP_RECEIVE_FROM)) {
        op->readable = true;
        driver_list(net, op);
    } else {
        op_try(net, op);
    }
}

void weft__net_op_event(sim_net *net, const sim_net_event *event) {
    sim_op *op = op_get(net, event->slot, event->target);
    if (op == NULL) {
        return;
    }
    if (event->kind == SIM_NET_VISIBLE) {
        op->visible++;
        driver_list(net, op);
    } else if (event->kind == SIM_NET_CANCEL) {
        if (!op->over && op->op->kind == WEFT_IO_OP_CONNECT) {
            weft__net_connect_cancel(weft__net_socket(net, op->socket));
        }
        if (!op->over) {
            weft__net_end(net, op, -ECANCELED);
        }
    } else if (op->try_due_ns == event->due_ns) {
        op->try_due_ns = UINT64_MAX;
        if (!op->over) {
            op_wake_or_try(net, op);
        }
    }
}

/* ---- submit and cancel --------------------------------------------------------------------- */

/* Everything of a driver happens on the thread that parks on it. */
static sim_driver *driver_own(weft_env *env, void *driver) {
    sim_driver *own = weft__sim_driver(env, driver);
    if (own->owner != NULL && own->owner != own->sim->running) {
        weft__sim_fatal(own->sim, "a driver is used on another thread than its own");
    }
    return own;
}

static void submit_check(const sim_net *net, const sim_driver *driver, const weft_io_op *op) {
    static const enum sim_socket_kind kinds[] = {
        [WEFT_IO_OP_ACCEPT] = SIM_SOCKET_LISTEN,
        [WEFT_IO_OP_CONNECT] = SIM_SOCKET_STREAM,
        [WEFT_IO_OP_RECEIVE] = SIM_SOCKET_STREAM,
        [WEFT_IO_OP_SEND] = SIM_SOCKET_STREAM,
        [WEFT_IO_OP_RECEIVE_FROM] = SIM_SOCKET_DATAGRAM,
        [WEFT_IO_OP_SEND_TO] = SIM_SOCKET_DATAGRAM,
        [WEFT_IO_OP_READ] = SIM_SOCKET_FILE,
        [WEFT_IO_OP_WRITE] = SIM_SOCKET_FILE,
        [WEFT_IO_OP_SYNC] = SIM_SOCKET_FILE,
    };
    if (driver->host == NULL) {
        weft__sim_fatal(net->sim, "an operation is submitted to a driver that is not attached");
    }
    if (op->driver[0] != 0) {
        weft__sim_fatal(net->sim, "an operation is submitted that is in flight or was not zeroed");
    }
    if (op->kind < WEFT_IO_OP_ACCEPT || op->kind > WEFT_IO_OP_SYNC || op->complete == NULL ||
        op->span_count > WEFT_IO_SPANS_MAX) {
        weft__sim_fatal(net->sim, "this is no operation");
    }
    const sim_socket *socket = weft__net_fd(net, op->fd);
    if (socket->kind != kinds[op->kind]) {
        weft__sim_fatal(net->sim, "the descriptor is none for this operation");
    }
    if (kinds[op->kind] == SIM_SOCKET_FILE && !net->io.files) {
        weft__sim_fatal(net->sim, "a file operation is submitted to a driver without files");
    }
    bool alone = op->kind == WEFT_IO_OP_SEND || op->kind == WEFT_IO_OP_RECEIVE ||
                 op->kind == WEFT_IO_OP_CONNECT;
    for (const sim_op *other = socket->ops; other != NULL; other = other->next) {
        if (alone && other->op->kind == op->kind) {
            weft__sim_fatal(net->sim, "two operations of this kind are in flight on one stream");
        }
        if (other->driver != driver) {
            weft__sim_fatal(net->sim, "two drivers work on one descriptor");
        }
    }
}

static int io_submit(weft_env *env, void *driver, weft_io_op *op) {
    sim_driver *own = driver_own(env, driver);
    sim_net *net = own->sim->net;
    submit_check(net, own, op);
    if (weft__net_chance(net, net->sim->options.open_permille)) {
        return -ENOMEM;
    }
    sim_socket *socket = weft__net_fd(net, op->fd);
    sim_op *made = weft__net_alloc(net, sizeof(*made));
    made->number = ++net->op_order;
    made->slot = op_slot(net);
    made->socket = socket->number;
    made->op = op;
    made->driver = own;
    made->try_due_ns = UINT64_MAX;
    made->sum = op_sum(op);
    op->driver[0] = (uint64_t)(uintptr_t)made;
    net->ops[made->slot] = made;
    op_link(socket, made);
    own->ops++;
    own->counts.submitted++;
    weft__sim_fold(net->sim, SIM_EVENT_SUBMIT, (made->number << 8) | op->kind, socket->number);
    op_try_at(net, made, net->sim->now_ns + sim_prng_below(&net->prng, START_NS));
    return 0;
}

static void io_cancel(weft_env *env, void *driver, weft_io_op *op) {
    sim_driver *own = driver_own(env, driver);
    sim_net *net = own->sim->net;
    sim_op *found = (sim_op *)(uintptr_t)op->driver[0];
    if (found == NULL) {
        weft__sim_fatal(net->sim, "an operation is cancelled that is not in flight");
    }
    if (found->op != op || found->driver != own) {
        weft__sim_fatal(net->sim,
                        "an operation is cancelled in another place or on another driver");
    }
    weft__sim_fold(net->sim, SIM_EVENT_CANCEL, found->number, 0);
    if (found->cancelled) {
        return;
    }
    found->cancelled = true;
    uint64_t delay_ns = sim_prng_below(&net->prng, START_NS);
    if (weft__net_chance(net, net->sim->options.late_permille)) {
        delay_ns = sim_prng_magnitude(&net->fault, LATE_BITS);
    }
    sim_net_event event = {.due_ns = net->sim->now_ns + delay_ns,
                           .kind = SIM_NET_CANCEL,
                           .target = found->number,
                           .slot = found->slot};
    weft__net_event(net, &event);
}

/* ---- poll ---------------------------------------------------------------------------------- */

static void ring_fill(sim_driver *driver) {
    while (driver->host != NULL && driver->ring_held < driver->ring_target) {
        weft_buf *buf = driver->host->take(driver->host->cookie);
        if (buf == NULL) {
            return;
        }
        driver->ring[driver->ring_held++] = buf;
    }
}

/* The operation is its owner's again. */
static void op_release(sim_net *net, sim_op *op) {
    weft__net_op_check(net, op);
    op_unlink(weft__net_socket(net, op->socket), op);
    memset(op->op->driver, 0, sizeof(op->op->driver));
    net->ops[op->slot] = NULL;
    op->driver->ops--;
    free(op);
}

static void op_deliver(sim_net *net, sim_op *op) {
    sim_result *first = op->results;
    op->results = first->next;
    op->visible--;
    if (op->visible == 0 && !op->readable) {
        driver_unlist(op);
    }
    weft__sim_fold(net->sim, SIM_EVENT_RESULT,
                   (op->number << 34) | ((uint64_t)first->more << 32) | (uint32_t)first->result,
                   first->sum);
    op->driver->counts.completed++;
    weft_io_result result = {.result = first->result,
                             .more = first->more,
                             .buf = first->buf,
                             .offset = first->offset,
                             .address = first->has_address ? &first->address : NULL};
    weft_io_op *target = op->op;
    if (!first->more) {
        if (op->listed) {
            driver_unlist(op);
        }
        op_release(net, op);
    }
    target->complete(target, &result);
    free(first);
}

/* Bounded by the batch: every turn delivers a result or takes an operation off the list. */
static uint32_t io_poll(weft_env *env, void *driver) {
    sim_driver *own = driver_own(env, driver);
    sim_net *net = own->sim->net;
    if (own->polling) {
        weft__sim_fatal(net->sim, "poll is called inside of poll");
    }
    own->polling = true;
    own->counts.enters++;
    ring_fill(own);
    uint64_t batch = sim_prng_magnitude(&net->prng, BATCH_BITS);
    uint32_t delivered = 0;
    while (delivered < batch && own->ready_count > 0) {
        sim_op *op = own->ready[sim_prng_below(&net->prng, own->ready_count)];
        if (op->visible == 0) {
            op->readable = false;
            if (!op->over) {
                op_try(net, op);
            }
        }
        if (op->visible == 0) {
            driver_unlist(op);
            continue;
        }
        op_deliver(net, op);
        delivered++;
    }
    ring_fill(own);
    own->polling = false;
    return delivered;
}

/* ---- life of drivers ----------------------------------------------------------------------- */

static int io_attach(weft_env *env, void *driver, const weft_io_host *host) {
    sim_driver *own = weft__sim_driver(env, driver);
    sim_net *net = own->sim->net;
    if (own->host != NULL || host == NULL || host->take == NULL) {
        weft__sim_fatal(net->sim, "a driver is attached twice, or to nothing");
    }
    uint32_t most = sizeof(own->ring) / sizeof(own->ring[0]);
    most = host->ring_count < most ? host->ring_count : most;
    own->host = host;
    own->ringless = most == 0 || sim_prng_below(&net->prng, 3) == 0;
    own->ring_target = own->ringless ? 0 : 1 + (uint32_t)sim_prng_below(&net->prng, most);
    return 0;
}

static void ring_drop(sim_driver *driver) {
    while (driver->ring_held > 0) {
        weft_buf_unref(driver->ring[--driver->ring_held]);
    }
}

static void io_detach(weft_env *env, void *driver) {
    sim_driver *own = driver_own(env, driver);
    if (own->ops != 0) {
        weft__sim_fatal(own->sim, "a driver is detached while operations are in flight");
    }
    ring_drop(own);
    own->host = NULL;
}

void weft__sim_net_driver_fini(sim_driver *driver) {
    if (driver->ops != 0) {
        weft__sim_fatal(driver->sim, "a driver is destroyed while operations are in flight");
    }
    ring_drop(driver);
    free(driver->ready);
}

static void io_counts(weft_env *env, void *driver, weft_io_counts *ret_counts) {
    *ret_counts = weft__sim_driver(env, driver)->counts;
}

void weft__net_op_vtable(weft_env_io *io) {
    io->attach = io_attach;
    io->detach = io_detach;
    io->submit = io_submit;
    io->cancel = io_cancel;
    io->poll = io_poll;
    io->counts = io_counts;
}
