/* SPDX-License-Identifier: MIT
 *
 * Datagrams and multicast groups of the simulated network. A datagram may be lost, come twice, or
 * much later than one that was sent after it; a socket that does not receive drops what exceeds
 * its buffer. A group reaches every socket that joined it, on all hosts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/msg.h>

#include "sim_net.h"

enum { DATAGRAM_BYTES_MAX = 65507, REORDER_BITS = 28 };

/* ---- sending ------------------------------------------------------------------------------- */

static void datagram_launch(sim_net *net, const sim_datagram *datagram) {
    sim_datagram *copy = weft__net_alloc(net, sizeof(*copy) + datagram->size);
    memcpy(copy, datagram, sizeof(*copy) + datagram->size);
    uint64_t delay_ns = weft__net_latency(net, &copy->source, &copy->target);
    if (weft__net_chance(net, net->sim->options.reorder_permille)) {
        delay_ns += sim_prng_magnitude(&net->fault, REORDER_BITS);
    }
    sim_net_event event = {.due_ns = net->sim->now_ns + delay_ns,
                           .kind = SIM_NET_DATAGRAM,
                           .target = copy->sender,
                           .payload = copy};
    weft__net_event(net, &event);
}

/* A socket bound to every interface sends from the one at home. */
static weft_address datagram_source(const sim_socket *socket, const weft_address *target) {
    weft_address source = socket->local;
    if (weft__net_is_wildcard(&source)) {
        source = (weft_address){.family = target->family, .port = socket->local.port};
        if (source.family == WEFT_FAMILY_IPV4) {
            source.u.ip[0] = 127;
        }
        source.u.ip[source.family == WEFT_FAMILY_IPV4 ? 3 : 15] = 1;
    }
    return source;
}

void weft__net_send_to(sim_net *net, sim_socket *socket, sim_op *op) {
    const weft_address *target = op->op->address;
    size_t size = weft__net_spans_size(op->op);
    bool dual = socket->local.family == WEFT_FAMILY_IPV6 && !socket->ipv6_only &&
                weft__net_is_wildcard(&socket->local);
    weft__net_op_check(net, op);
    if (size > DATAGRAM_BYTES_MAX) {
        weft__net_end(net, op, -EMSGSIZE);
        return;
    }
    if (target->family != socket->local.family && !(dual && target->family == WEFT_FAMILY_IPV4)) {
        weft__net_end(net, op, -EAFNOSUPPORT);
        return;
    }
    sim_datagram *datagram = weft__net_alloc(net, sizeof(*datagram) + size);
    datagram->source = datagram_source(socket, target);
    datagram->target = *target;
    datagram->sender = socket->number;
    datagram->loop = socket->loop;
    datagram->size = size;
    weft__net_spans_copy(op->op, 0, datagram->bytes, size);
    if (!weft__net_chance(net, net->sim->options.loss_permille)) {
        datagram_launch(net, datagram);
    }
    if (weft__net_chance(net, net->sim->options.duplicate_permille)) {
        datagram_launch(net, datagram);
    }
    free(datagram);
    weft__net_end(net, op, (int)size);
}

/* ---- arriving ------------------------------------------------------------------------------ */

static void datagram_queue(sim_net *net, sim_socket *socket, const sim_datagram *datagram) {
    if (socket->inbound + datagram->size > socket->capacity && socket->datagrams != NULL) {
        return;
    }
    sim_datagram *copy = weft__net_alloc(net, sizeof(*copy) + datagram->size);
    memcpy(copy, datagram, sizeof(*copy) + datagram->size);
    copy->next = NULL;
    if (socket->datagrams == NULL) {
        socket->datagrams = copy;
    } else {
        socket->datagrams_last->next = copy;
    }
    socket->datagrams_last = copy;
    socket->inbound += copy->size;
    weft__net_kick(net, socket, WEFT_IO_OP_RECEIVE_FROM, 0);
}

static bool group_member(const sim_socket *socket, const weft_address *group) {
    for (uint32_t i = 0; i < socket->group_count; i++) {
        weft_address joined = socket->groups[i];
        joined.port = group->port;
        if (weft__net_same(&joined, group)) {
            return true;
        }
    }
    return false;
}

static bool group_reaches(const sim_socket *socket, const sim_datagram *datagram) {
    if (socket->local.port != datagram->target.port || !group_member(socket, &datagram->target)) {
        return false;
    }
    if (!weft__net_is_wildcard(&socket->local) &&
        !weft__net_same(&socket->local, &datagram->target)) {
        return false;
    }
    return datagram->loop || !weft__net_same_host(&socket->local, &datagram->source);
}

void weft__net_datagram_event(sim_net *net, const sim_net_event *event) {
    sim_datagram *datagram = event->payload;
    bool group = weft__net_is_group(&datagram->target);
    bool cut = weft__net_cut(net, &datagram->source, &datagram->target);
    sim_socket *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < net->socket_count && !cut; i++) {
        sim_socket *socket = net->sockets[i];
        if (socket == NULL || socket->kind != SIM_SOCKET_DATAGRAM || !socket->bound) {
            continue;
        }
        if (group && group_reaches(socket, datagram)) {
            datagram_queue(net, socket, datagram);
        } else if (!group && weft__net_reaches(socket, &datagram->target) &&
                   sim_prng_below(&net->prng, ++count) == 0) {
            found = socket; /* of those that share the address, any */
        }
    }
    if (found != NULL) {
        datagram_queue(net, found, datagram);
    }
    free(datagram);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void receive_one(sim_net *net, sim_socket *socket, sim_op *op) {
    weft_buf *buf = weft__net_buffer(net, op->driver);
    if (buf == NULL) {
        weft__net_end(net, op, -ENOBUFS);
        return;
    }
    sim_datagram *first = socket->datagrams;
    socket->datagrams = first->next;
    socket->inbound -= first->size;
    size_t size = first->size < weft_buf_size(buf) ? first->size : weft_buf_size(buf);
    memcpy(weft_buf_data(buf), first->bytes, size);
    sim_result result = {.result = (int)size,
                         .buf = buf,
                         .more = !weft__net_chance(net, net->sim->options.rearm_permille),
                         .has_address = true,
                         .address = first->source,
                         .sum = weft__net_hash(0, first->bytes, size)};
    free(first);
    weft__net_result(net, op, &result);
}

void weft__net_receive_from(sim_net *net, sim_socket *socket, sim_op *op) {
    while (!op->over && socket->datagrams != NULL) {
        receive_one(net, socket, op);
        if (op->driver->ringless) {
            op->readable = !op->over;
            return;
        }
    }
}

/* ---- options and end ----------------------------------------------------------------------- */

static int group_join(sim_socket *socket, const weft_address *group) {
    if (group == NULL || !weft__net_is_group(group)) {
        return -EINVAL;
    }
    if (group_member(socket, group)) {
        return -EADDRINUSE;
    }
    if (socket->group_count == SIM_NET_GROUPS_MAX) {
        return -ENOBUFS;
    }
    socket->groups[socket->group_count++] = *group;
    return 0;
}

static int group_leave(sim_socket *socket, const weft_address *group) {
    for (uint32_t i = 0; group != NULL && i < socket->group_count; i++) {
        weft_address joined = socket->groups[i];
        joined.port = group->port;
        if (weft__net_same(&joined, group)) {
            socket->groups[i] = socket->groups[--socket->group_count];
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

int weft__net_datagram_option(sim_socket *socket, enum weft_io_option option, int value,
                              const weft_address *address) {
    if (socket->kind != SIM_SOCKET_DATAGRAM) {
        return -ENOPROTOOPT;
    }
    switch (option) {
    case WEFT_IO_JOIN:
        return group_join(socket, address);
    case WEFT_IO_LEAVE:
        return group_leave(socket, address);
    case WEFT_IO_MULTICAST_LOOP:
        socket->loop = value != 0;
        return 0;
    case WEFT_IO_MULTICAST_INTERFACE:
    case WEFT_IO_MULTICAST_HOPS:
        return value < 0 ? -EINVAL : 0; /* there is one interface, and no router */
    default:
        return -ENOPROTOOPT;
    }
}

void weft__net_datagram_fini(sim_socket *socket) {
    while (socket->datagrams != NULL) {
        sim_datagram *first = socket->datagrams;
        socket->datagrams = first->next;
        free(first);
    }
}
