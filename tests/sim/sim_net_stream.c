/* SPDX-License-Identifier: MIT
 *
 * Listeners and connections of the simulated network. A connection is two sockets; each holds what
 * is on its way to it and what has arrived, in one list in the order it was sent, and at most
 * capacity bytes: the sender's operation waits when that is full, and gets on some time after the
 * receiver has read. The end of the stream is the last item of the list. A reset overtakes it.
 *
 * A socket that was closed is gone at once: what it had sent is with the other side already, and
 * what is sent to it from then on is answered by a reset, as the kernel does. As there, an error
 * is told once: the operation that asks first gets it, sends then answer -EPIPE and receives 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/msg.h>

#include "sim_net.h"

enum {
    SYN_TRIES = 6,
    CUT_RETRY_NS = 500000000, /* what waits for a partition's end asks that often */
    OFFSET_MAX = 64,
};

#define SECOND_NS UINT64_C(1000000000)

static uint64_t stream_latency(sim_net *net, const sim_socket *socket) {
    return weft__net_latency(net, &socket->local, &socket->peer);
}

static bool stream_is_cut(const sim_net *net, const sim_socket *socket) {
    return weft__net_cut(net, &socket->local, &socket->peer);
}

/* ---- ends of connections ------------------------------------------------------------------- */

static void chunks_drop(sim_socket *socket, bool arrived_too) {
    sim_chunk **at = &socket->chunks;
    socket->chunks_last = NULL;
    while (*at != NULL) {
        sim_chunk *chunk = *at;
        if (chunk->arrived && !arrived_too) {
            socket->chunks_last = chunk;
            at = &chunk->next;
            continue;
        }
        socket->inbound -= chunk->size - chunk->used;
        *at = chunk->next;
        free(chunk);
    }
    socket->chunks_coming = NULL;
}

/* The socket learns that the connection is over. */
static void stream_reset(sim_net *net, sim_socket *socket, int error) {
    if (socket->state != SIM_STATE_OPEN) {
        return;
    }
    socket->state = SIM_STATE_OVER;
    socket->error = error;
    socket->ended = true;
    chunks_drop(socket, sim_prng_below(&net->fault, 3) == 0);
    weft__net_kick(net, socket, WEFT_IO_OP_RECEIVE, 0);
    weft__net_kick(net, socket, WEFT_IO_OP_SEND, 0);
}

/* The same, and the other side will learn it too. */
static void stream_break(sim_net *net, sim_socket *socket, int error) {
    if (weft__net_socket(net, socket->other) != NULL) {
        weft__net_after(net, stream_latency(net, socket), SIM_NET_RESET, socket->other,
                        -ECONNRESET);
    }
    stream_reset(net, socket, error);
}

static bool stream_fault(sim_net *net, const sim_socket *socket) {
    return socket->state == SIM_STATE_OPEN &&
           weft__net_chance(net, net->sim->options.reset_permille);
}

/* ---- bytes under way ----------------------------------------------------------------------- */

static void chunk_append(sim_net *net, sim_socket *target, sim_chunk *chunk) {
    uint64_t due_ns = net->sim->now_ns + stream_latency(net, target);
    target->last_due_ns = due_ns > target->last_due_ns ? due_ns : target->last_due_ns;
    chunk->due_ns = target->last_due_ns;
    if (target->chunks == NULL) {
        target->chunks = chunk;
    } else {
        target->chunks_last->next = chunk;
    }
    target->chunks_last = chunk;
    if (target->chunks_coming == NULL) {
        target->chunks_coming = chunk;
    }
    target->inbound += chunk->size;
    weft__net_after(net, chunk->due_ns - net->sim->now_ns, SIM_NET_FLOW, target->number, 0);
}

static void end_append(sim_net *net, sim_socket *target) {
    sim_chunk *chunk = weft__net_alloc(net, sizeof(*chunk));
    chunk->end = true;
    chunk_append(net, target, chunk);
}

/* In up to three pieces, each with a time of its own. */
static void bytes_append(sim_net *net, sim_socket *target, const weft_io_op *op, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t part = size - done;
        if (part > 1 && done < size / 2 && sim_prng_below(&net->prng, 2) == 0) {
            part = 1 + (size_t)sim_prng_below(&net->prng, part);
            part = part < size / 4 ? size / 4 : part;
        }
        sim_chunk *chunk = weft__net_alloc(net, sizeof(*chunk) + part);
        chunk->size = part;
        weft__net_spans_copy(op, done, chunk->bytes, part);
        chunk_append(net, target, chunk);
        done += part;
    }
}

static void flow_event(sim_net *net, sim_socket *socket) {
    if (stream_is_cut(net, socket)) {
        weft__net_after(net, 1 + sim_prng_below(&net->prng, CUT_RETRY_NS), SIM_NET_FLOW,
                        socket->number, 0);
        return;
    }
    bool news = false;
    while (socket->chunks_coming != NULL && socket->chunks_coming->due_ns <= net->sim->now_ns) {
        socket->chunks_coming->arrived = true;
        socket->chunks_coming = socket->chunks_coming->next;
        news = true;
    }
    if (news) {
        weft__net_kick(net, socket, WEFT_IO_OP_RECEIVE, 0);
    }
}

/* ---- sending ------------------------------------------------------------------------------- */

/* What a send answers without sending; 0: nothing is in its way. */
static int send_refused(sim_socket *socket) {
    if (socket->error != 0) {
        int error = socket->error;
        socket->error = 0;
        return error;
    }
    if (socket->send_over || socket->state == SIM_STATE_OVER) {
        return -EPIPE;
    }
    return socket->state == SIM_STATE_OPEN ? 0 : -ENOTCONN;
}

void weft__net_send(sim_net *net, sim_socket *socket, sim_op *op) {
    if (stream_fault(net, socket)) {
        stream_break(net, socket, -ECONNRESET);
    }
    int refused = send_refused(socket);
    if (refused < 0) {
        weft__net_end(net, op, refused);
        return;
    }
    size_t size = weft__net_spans_size(op->op);
    sim_socket *other = weft__net_socket(net, socket->other);
    weft__net_op_check(net, op);
    if (other == NULL) {
        weft__net_end(net, op, (int)size);
        weft__net_after(net, stream_latency(net, socket), SIM_NET_RESET, socket->number,
                        -ECONNRESET);
        return;
    }
    size_t space = other->capacity > other->inbound ? other->capacity - other->inbound : 0;
    if (size > space && space < other->capacity / 8) {
        return; /* the receiver's next read kicks it: something is inbound then */
    }
    size = size < space ? size : space;
    if (size > 1 && weft__net_chance(net, net->sim->options.short_permille)) {
        size = 1 + (size_t)sim_prng_below(&net->fault, size);
    }
    if (other->state == SIM_STATE_OVER) {
        weft__net_end(net, op, (int)size); /* lost: a reset is on its way to us */
        return;
    }
    bytes_append(net, other, op->op, size);
    weft__net_end(net, op, (int)size);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static size_t arrived_copy(sim_socket *socket, unsigned char *bytes, size_t size) {
    size_t done = 0;
    while (done < size && socket->chunks != NULL && socket->chunks->arrived &&
           !socket->chunks->end) {
        sim_chunk *chunk = socket->chunks;
        size_t part = chunk->size - chunk->used;
        part = part < size - done ? part : size - done;
        memcpy(bytes + done, chunk->bytes + chunk->used, part);
        chunk->used += part;
        done += part;
        if (chunk->used == chunk->size) {
            socket->chunks = chunk->next;
            socket->chunks_last = chunk->next == NULL ? NULL : socket->chunks_last;
            free(chunk);
        }
    }
    socket->inbound -= done;
    return done;
}

static void receive_bytes(sim_net *net, sim_socket *socket, sim_op *op) {
    weft_buf *buf = weft__net_buffer(net, op->driver);
    if (buf == NULL) {
        weft__net_end(net, op, -ENOBUFS);
        return;
    }
    sim_result result = {.buf = buf};
    size_t size = weft_buf_size(buf);
    if (size > 4 * OFFSET_MAX && weft__net_chance(net, net->sim->options.offset_permille)) {
        result.offset = (uint32_t)sim_prng_below(&net->fault, OFFSET_MAX);
        size -= result.offset;
    }
    if (weft__net_chance(net, net->sim->options.short_permille)) {
        size = 1 + (size_t)sim_prng_below(&net->fault, size);
    }
    unsigned char *bytes = (unsigned char *)weft_buf_data(buf) + result.offset;
    result.result = (int)arrived_copy(socket, bytes, size);
    result.sum = weft__net_hash(0, bytes, (size_t)result.result);
    result.more = !weft__net_chance(net, net->sim->options.rearm_permille);
    weft__net_result(net, op, &result);
    sim_socket *other = weft__net_socket(net, socket->other);
    if (other != NULL) {
        weft__net_kick(net, other, WEFT_IO_OP_SEND, stream_latency(net, socket));
    }
}

static void receive_over(sim_net *net, sim_socket *socket, sim_op *op) {
    int error = socket->error;
    socket->error = 0;
    weft__net_end(net, op, error);
}

/* Bounded by what has arrived. Without a ring one result at a time, poll asks for the next. */
void weft__net_receive(sim_net *net, sim_socket *socket, sim_op *op) {
    if (socket->state == SIM_STATE_NEW || socket->state == SIM_STATE_CONNECTING) {
        weft__net_end(net, op, -ENOTCONN);
        return;
    }
    if (socket->chunks != NULL && stream_fault(net, socket)) {
        stream_break(net, socket, -ECONNRESET);
    }
    while (!op->over) {
        sim_chunk *chunk = socket->chunks;
        if (chunk != NULL && chunk->arrived && chunk->end) {
            socket->chunks = NULL;
            socket->chunks_last = NULL;
            socket->ended = true;
            free(chunk);
        } else if (chunk != NULL && chunk->arrived) {
            receive_bytes(net, socket, op);
            if (op->driver->ringless) {
                op->readable = !op->over;
                return;
            }
        } else if (socket->error != 0 || socket->ended || socket->receive_over) {
            receive_over(net, socket, op);
        } else {
            return;
        }
    }
}

/* ---- connecting ---------------------------------------------------------------------------- */

/* Who did not bind is at home, with any port. */
static void connect_bind(sim_net *net, sim_socket *socket) {
    if (socket->bound || socket->peer.family == WEFT_FAMILY_UNIX) {
        return;
    }
    socket->local = (weft_address){.family = socket->peer.family};
    if (socket->peer.family == WEFT_FAMILY_IPV4) {
        socket->local.u.ip[0] = 127;
        socket->local.u.ip[3] = 1;
    } else {
        socket->local.u.ip[15] = 1;
    }
    socket->local.port = weft__net_port(net);
    socket->bound = true;
}

void weft__net_connect(sim_net *net, sim_socket *socket, sim_op *op) {
    if (socket->state != SIM_STATE_NEW) {
        weft__net_end(net, op, socket->state == SIM_STATE_OPEN ? -EISCONN : -EALREADY);
        return;
    }
    weft__net_op_check(net, op);
    if (op->op->address->family != socket->local.family) {
        weft__net_end(net, op, -EAFNOSUPPORT);
        return;
    }
    socket->state = SIM_STATE_CONNECTING;
    socket->peer = *op->op->address;
    connect_bind(net, socket);
    if (weft__net_chance(net, net->sim->options.connect_permille)) {
        bool refused = sim_prng_below(&net->fault, 2) == 0;
        uint64_t delay_ns = refused ? sim_prng_magnitude(&net->fault, 31)
                                    : SECOND_NS * (1 + sim_prng_below(&net->fault, 130));
        weft__net_after(net, delay_ns, SIM_NET_REFUSED, socket->number,
                        refused ? -ECONNREFUSED : -ETIMEDOUT);
        return;
    }
    weft__net_after(net, stream_latency(net, socket), SIM_NET_SYN, socket->number, 0);
}

void weft__net_connect_cancel(sim_socket *socket) {
    if (socket->state == SIM_STATE_CONNECTING || socket->state == SIM_STATE_NEW) {
        socket->state = SIM_STATE_OVER;
    }
}

/* state: what the socket is afterwards. */
static void connect_end(sim_net *net, sim_socket *socket, enum sim_stream_state state, int result) {
    socket->state = state;
    sim_op *op = weft__net_op_find(socket, WEFT_IO_OP_CONNECT);
    if (op != NULL) {
        weft__net_end(net, op, result);
    }
}

static bool listener_is(const sim_socket *socket, const weft_address *target) {
    return socket != NULL && socket->kind == SIM_SOCKET_LISTEN && !socket->stopped &&
           weft__net_reaches(socket, target);
}

/* Any of those that share the address, or NULL. */
static sim_socket *listener_find(sim_net *net, const weft_address *target) {
    uint32_t count = 0;
    sim_socket *found = NULL;
    for (uint32_t i = 0; i < net->socket_count; i++) {
        if (listener_is(net->sockets[i], target) && sim_prng_below(&net->prng, ++count) == 0) {
            found = net->sockets[i];
        }
    }
    return found;
}

/* The kernel keeps trying, less and less often. */
static void syn_again(sim_net *net, const sim_socket *socket, int64_t tries) {
    bool last = tries + 1 >= SYN_TRIES;
    weft__net_after(net, SECOND_NS << tries, last ? SIM_NET_REFUSED : SIM_NET_SYN, socket->number,
                    last ? -ETIMEDOUT : tries + 1);
}

static void syn_accepted(sim_net *net, sim_socket *listener, sim_socket *client) {
    sim_socket *server = weft__net_socket_add(net, SIM_SOCKET_STREAM);
    server->state = SIM_STATE_OPEN;
    server->local = client->peer;
    if (weft__net_is_wildcard(&server->local)) {
        server->local = client->local;
        server->local.port = client->peer.port;
    }
    server->peer = client->local;
    server->other = client->number;
    listener->queue = weft__net_realloc(net, listener->queue,
                                        (listener->queue_count + 1) * sizeof(listener->queue[0]));
    listener->queue[listener->queue_count++] = server->number;
    weft__net_kick(net, listener, WEFT_IO_OP_ACCEPT, 0);
    uint64_t latency_ns = stream_latency(net, client);
    client->last_due_ns = net->sim->now_ns + latency_ns;
    weft__net_after(net, latency_ns, SIM_NET_ESTABLISHED, client->number, server->number);
}

static void syn_event(sim_net *net, sim_socket *client, int64_t tries) {
    if (client->state != SIM_STATE_CONNECTING) {
        return;
    }
    if (stream_is_cut(net, client)) {
        syn_again(net, client, tries);
        return;
    }
    bool is_unix = client->peer.family == WEFT_FAMILY_UNIX;
    sim_socket *listener = listener_find(net, &client->peer);
    if (listener == NULL) {
        bool is_path = is_unix && client->peer.u.path[0] != '\0';
        weft__net_after(net, stream_latency(net, client), SIM_NET_REFUSED, client->number,
                        is_path ? -ENOENT : -ECONNREFUSED);
    } else if (listener->queue_count <= listener->backlog) {
        syn_accepted(net, listener, client);
    } else if (is_unix) {
        weft__net_after(net, 0, SIM_NET_REFUSED, client->number, -EAGAIN);
    } else {
        syn_again(net, client, tries);
    }
}

static void established_event(sim_net *net, const sim_net_event *event) {
    sim_socket *client = weft__net_socket(net, (uint32_t)event->target);
    sim_socket *server = weft__net_socket(net, (uint32_t)event->detail);
    if (client == NULL || client->state != SIM_STATE_CONNECTING) {
        if (server != NULL) {
            weft__net_after(net, stream_latency(net, server), SIM_NET_RESET, server->number,
                            -ECONNRESET);
        }
        return;
    }
    if (stream_is_cut(net, client)) {
        weft__net_after(net, 1 + sim_prng_below(&net->prng, CUT_RETRY_NS), SIM_NET_ESTABLISHED,
                        client->number, event->detail);
        return;
    }
    client->other = (uint32_t)event->detail;
    connect_end(net, client, SIM_STATE_OPEN, 0);
}

/* ---- accepting ----------------------------------------------------------------------------- */

static sim_socket *queue_take(sim_net *net, sim_socket *listener) {
    sim_socket *first = weft__net_socket(net, listener->queue[0]);
    listener->queue_count--;
    memmove(listener->queue, listener->queue + 1,
            listener->queue_count * sizeof(listener->queue[0]));
    return first;
}

/* Resets a connection whose socket goes away. */
static void stream_abandon(sim_net *net, sim_socket *socket) {
    sim_socket *other = weft__net_socket(net, socket->other);
    if (other != NULL && socket->state == SIM_STATE_OPEN) {
        uint64_t delay_ns = stream_latency(net, socket);
        uint64_t now_ns = net->sim->now_ns;
        if (sim_prng_below(&net->prng, 2) == 0 && other->last_due_ns > now_ns + delay_ns) {
            delay_ns = other->last_due_ns - now_ns; /* what was sent before arrives */
        }
        weft__net_after(net, delay_ns, SIM_NET_RESET, other->number, -ECONNRESET);
    }
    weft__net_socket_free(net, socket);
}

void weft__net_accept(sim_net *net, sim_socket *socket, sim_op *op) {
    if (socket->stopped) {
        weft__net_end(net, op, -EINVAL);
        return;
    }
    while (!op->over && socket->queue_count > 0) {
        if (weft__net_chance(net, net->sim->options.accept_permille)) {
            bool aborted = sim_prng_below(&net->fault, 2) == 0;
            if (aborted) {
                stream_abandon(net, queue_take(net, socket));
            }
            weft__net_end(net, op, aborted ? -ECONNABORTED : -EMFILE);
            return;
        }
        sim_socket *first = queue_take(net, socket);
        first->program = true;
        net->open_count++;
        weft__sim_fold(net->sim, SIM_EVENT_OPEN, first->number, (uint64_t)first->kind);
        sim_result result = {.result = SIM_NET_FD_BASE + (int)first->number,
                             .more = !weft__net_chance(net, net->sim->options.rearm_permille),
                             .has_address = sim_prng_below(&net->prng, 2) == 0,
                             .address = first->peer};
        weft__net_result(net, op, &result);
    }
}

/* ---- the rest ------------------------------------------------------------------------------ */

void weft__net_stream_event(sim_net *net, const sim_net_event *event) {
    sim_socket *socket = weft__net_socket(net, (uint32_t)event->target);
    if (event->kind == SIM_NET_ESTABLISHED) {
        established_event(net, event);
        return;
    }
    if (socket == NULL) {
        return;
    }
    switch (event->kind) {
    case SIM_NET_FLOW:
        flow_event(net, socket);
        break;
    case SIM_NET_SYN:
        syn_event(net, socket, event->detail);
        break;
    case SIM_NET_REFUSED:
        if (socket->state == SIM_STATE_CONNECTING) {
            connect_end(net, socket, SIM_STATE_NEW, (int)event->detail);
        }
        break;
    case SIM_NET_CUT:
        if (stream_is_cut(net, socket)) {
            stream_break(net, socket, (int)event->detail);
        }
        break;
    default: /* SIM_NET_RESET */
        if (stream_is_cut(net, socket)) {
            weft__net_after(net, 1 + sim_prng_below(&net->prng, CUT_RETRY_NS), SIM_NET_RESET,
                            socket->number, event->detail);
        } else if (socket->state == SIM_STATE_CONNECTING) {
            connect_end(net, socket, SIM_STATE_OVER, (int)event->detail);
        } else {
            stream_reset(net, socket, (int)event->detail);
        }
        break;
    }
}

int weft__net_stream_shutdown(sim_net *net, sim_socket *socket, bool both) {
    if (socket->state != SIM_STATE_OPEN) {
        return -ENOTCONN;
    }
    sim_socket *other = weft__net_socket(net, socket->other);
    if (!socket->send_over && other != NULL && other->state != SIM_STATE_OVER) {
        end_append(net, other);
    }
    socket->send_over = true;
    weft__net_kick(net, socket, WEFT_IO_OP_SEND, 0);
    if (both) {
        socket->receive_over = true;
        weft__net_kick(net, socket, WEFT_IO_OP_RECEIVE, 0);
    }
    return 0;
}

void weft__net_stream_close(sim_net *net, sim_socket *socket) {
    while (socket->kind == SIM_SOCKET_LISTEN && socket->queue_count > 0) {
        stream_abandon(net, queue_take(net, socket));
    }
    sim_socket *other = weft__net_socket(net, socket->other);
    if (other != NULL && (socket->reset_on_close || socket->inbound > 0)) {
        stream_abandon(net, socket);
        return;
    }
    if (other != NULL && socket->state == SIM_STATE_OPEN && !socket->send_over &&
        other->state != SIM_STATE_OVER) {
        end_append(net, other);
    }
    weft__net_socket_free(net, socket);
}

void weft__net_stream_cut(sim_net *net, const sim_cut *cut) {
    for (uint32_t i = 0; i < net->socket_count; i++) {
        const sim_socket *socket = net->sockets[i];
        if (socket == NULL || socket->kind != SIM_SOCKET_STREAM ||
            socket->state != SIM_STATE_OPEN || !stream_is_cut(net, socket)) {
            continue;
        }
        bool crosses = (weft__net_same_host(&socket->local, &cut->left) &&
                        weft__net_same_host(&socket->peer, &cut->right)) ||
                       (weft__net_same_host(&socket->local, &cut->right) &&
                        weft__net_same_host(&socket->peer, &cut->left));
        if (crosses) {
            uint64_t delay_ns = SECOND_NS * (1 + sim_prng_below(&net->fault, 60));
            weft__net_after(net, delay_ns, SIM_NET_CUT, socket->number,
                            sim_prng_below(&net->fault, 2) == 0 ? -ETIMEDOUT : -ECONNRESET);
        }
    }
}
