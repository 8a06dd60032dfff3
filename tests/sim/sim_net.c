/* SPDX-License-Identifier: MIT
 *
 * The simulated network: what will happen and when, sockets, addresses, names, partitions, and
 * the calls of the I/O vtable that any thread may make. Events happen when the clock passes them,
 * between steps of threads (sim.c asks after each step and before each jump); equal times in the
 * order they were made.
 *
 * Hosts are nothing but addresses: whoever binds to an address is there. All of 127.0.0.0/8 and
 * ::1 are one host, where wildcards listen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/error.h>

#include "sim_net.h"

enum { SIM_STREAM_NET = 7, SIM_STREAM_FAULT = 8 };

#define LATENCY_DEFAULT_NS UINT64_C(50000)

/* ---- help ---------------------------------------------------------------------------------- */

void *weft__net_realloc(sim_net *net, void *memory, size_t size) {
    void *grown = realloc(memory, size);
    if (grown == NULL) {
        weft__sim_fatal(net->sim, "no memory for the network");
    }
    return grown;
}

void *weft__net_alloc(sim_net *net, size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) {
        weft__sim_fatal(net->sim, "no memory for the network");
    }
    return memory;
}

bool weft__net_chance(sim_net *net, uint32_t permille) {
    return permille != 0 && sim_prng_below(&net->fault, 1000) < permille;
}

uint64_t weft__net_hash(uint64_t hash, const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint64_t word = 0;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, bytes + at, 8);
        hash = (sim_rotate64(hash, 5) ^ word) * UINT64_C(0x517cc1b727220a95);
    }
    word = 0;
    if (at < size) {
        memcpy(&word, bytes + at, size - at);
    }
    return sim_mix64((sim_rotate64(hash, 5) ^ word) * UINT64_C(0x517cc1b727220a95) ^ size);
}

/* ---- events -------------------------------------------------------------------------------- */

static bool event_before(const sim_net_event *left, const sim_net_event *right) {
    return left->due_ns != right->due_ns ? left->due_ns < right->due_ns
                                         : left->order < right->order;
}

void weft__net_event(sim_net *net, const sim_net_event *event) {
    if (net->event_count == net->event_room) {
        net->event_room = net->event_room == 0 ? 64 : net->event_room * 2;
        net->events = weft__net_realloc(net, net->events, net->event_room * sizeof(net->events[0]));
    }
    sim_net_event made = *event;
    made.order = net->event_order++;
    uint32_t index = net->event_count++;
    while (index > 0 && event_before(&made, &net->events[(index - 1) / 2])) {
        net->events[index] = net->events[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    net->events[index] = made;
}

static sim_net_event event_take(sim_net *net) {
    sim_net_event first = net->events[0];
    sim_net_event last = net->events[--net->event_count];
    uint32_t index = 0;
    for (uint32_t child = 1; child < net->event_count; child = 2 * index + 1) {
        if (child + 1 < net->event_count &&
            event_before(&net->events[child + 1], &net->events[child])) {
            child++;
        }
        if (!event_before(&net->events[child], &last)) {
            break;
        }
        net->events[index] = net->events[child];
        index = child;
    }
    net->events[index] = last;
    return first;
}

void weft__net_after(sim_net *net, uint64_t delay_ns, enum sim_net_event_kind kind, uint32_t socket,
                     int64_t detail) {
    sim_net_event event = {
        .due_ns = net->sim->now_ns + delay_ns, .kind = kind, .target = socket, .detail = detail};
    weft__net_event(net, &event);
}

uint64_t weft__sim_net_due_ns(const weft_sim *sim) {
    return sim->net->event_count == 0 ? UINT64_MAX : sim->net->events[0].due_ns;
}

/* Bounded: an event makes new ones only for later, or for now with a cause that is used up. */
void weft__sim_net_advance(weft_sim *sim) {
    sim_net *net = sim->net;
    while (net->event_count > 0 && net->events[0].due_ns <= sim->now_ns) {
        sim_net_event event = event_take(net);
        weft__sim_fold(sim, SIM_EVENT_NET, (event.target << 8) | (uint64_t)event.kind,
                       event.due_ns);
        switch (event.kind) {
        case SIM_NET_OP:
        case SIM_NET_VISIBLE:
        case SIM_NET_CANCEL:
            weft__net_op_event(net, &event);
            break;
        case SIM_NET_DATAGRAM:
            weft__net_datagram_event(net, &event);
            break;
        default:
            weft__net_stream_event(net, &event);
            break;
        }
    }
}

/* ---- addresses ----------------------------------------------------------------------------- */

static size_t ip_size(const weft_address *address) {
    return address->family == WEFT_FAMILY_IPV4 ? 4 : address->family == WEFT_FAMILY_IPV6 ? 16 : 0;
}

bool weft__net_is_wildcard(const weft_address *address) {
    size_t size = ip_size(address);
    for (size_t i = 0; i < size; i++) {
        if (address->u.ip[i] != 0) {
            return false;
        }
    }
    return size != 0;
}

bool weft__net_is_loopback(const weft_address *address) {
    static const unsigned char one[16] = {[15] = 1};
    if (address->family == WEFT_FAMILY_IPV4) {
        return address->u.ip[0] == 127;
    }
    return address->family == WEFT_FAMILY_IPV6 && memcmp(address->u.ip, one, 16) == 0;
}

bool weft__net_is_group(const weft_address *address) {
    if (address->family == WEFT_FAMILY_IPV4) {
        return (address->u.ip[0] & 0xf0) == 0xe0;
    }
    return address->family == WEFT_FAMILY_IPV6 && address->u.ip[0] == 0xff;
}

static bool is_here(const weft_address *address) {
    return weft__net_is_loopback(address) || weft__net_is_wildcard(address) ||
           address->family == WEFT_FAMILY_UNIX || address->family == WEFT_FAMILY_NONE;
}

bool weft__net_same_host(const weft_address *left, const weft_address *right) {
    if (is_here(left) || is_here(right)) {
        return is_here(left) && is_here(right);
    }
    return left->family == right->family && memcmp(left->u.ip, right->u.ip, ip_size(left)) == 0;
}

/* The simulator may be linked without the layer that has weft_address_equal. */
bool weft__net_same(const weft_address *left, const weft_address *right) {
    if (left->family != right->family) {
        return false;
    }
    if (left->family == WEFT_FAMILY_UNIX) {
        return left->path_length == right->path_length &&
               memcmp(left->u.path, right->u.path, left->path_length) == 0;
    }
    return left->port == right->port && memcmp(left->u.ip, right->u.ip, ip_size(left)) == 0;
}

bool weft__net_reaches(const sim_socket *socket, const weft_address *target) {
    const weft_address *local = &socket->local;
    if (weft__net_same(local, target)) {
        return true;
    }
    if (local->port != target->port || !weft__net_is_wildcard(local) || !is_here(target) ||
        target->family == WEFT_FAMILY_UNIX) {
        return false;
    }
    return local->family == target->family ||
           (local->family == WEFT_FAMILY_IPV6 && !socket->ipv6_only);
}

uint64_t weft__net_latency(sim_net *net, const weft_address *left, const weft_address *right) {
    uint64_t most = net->sim->options.latency_ns;
    most = most != 0 ? most : LATENCY_DEFAULT_NS;
    if (weft__net_same_host(left, right)) {
        most = most / 8 + 1;
    }
    uint64_t latency_ns = 1 + sim_prng_below(&net->prng, most);
    return sim_prng_below(&net->prng, 32) == 0 ? latency_ns * 8 : latency_ns;
}

/* ---- partitions and names ------------------------------------------------------------------ */

static bool cut_is(const sim_cut *cut, const weft_address *left, const weft_address *right) {
    return (weft__net_same_host(&cut->left, left) && weft__net_same_host(&cut->right, right)) ||
           (weft__net_same_host(&cut->left, right) && weft__net_same_host(&cut->right, left));
}

bool weft__net_cut(const sim_net *net, const weft_address *left, const weft_address *right) {
    if (left->family == WEFT_FAMILY_UNIX) {
        return false;
    }
    for (uint32_t i = 0; i < net->cut_count; i++) {
        if (cut_is(&net->cuts[i], left, right)) {
            return true;
        }
    }
    return false;
}

int weft_sim_partition(weft_sim *sim, const weft_address *left, const weft_address *right,
                       bool on) {
    if (sim == NULL || left == NULL || right == NULL || ip_size(left) == 0 || ip_size(right) == 0) {
        return -EINVAL;
    }
    sim_net *net = sim->net;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < net->cut_count; i++) {
        if (!cut_is(&net->cuts[i], left, right)) {
            net->cuts[kept++] = net->cuts[i];
        }
    }
    net->cut_count = kept;
    if (!on) {
        return 0;
    }
    sim_cut *cuts = realloc(net->cuts, (kept + 1) * sizeof(*cuts));
    if (cuts == NULL) {
        return -ENOMEM;
    }
    net->cuts = cuts;
    cuts[kept] = (sim_cut){.left = *left, .right = *right};
    net->cut_count = kept + 1;
    weft__net_stream_cut(net, &cuts[kept]);
    return 0;
}

static sim_name *name_find(sim_net *net, const char *name) {
    for (uint32_t i = 0; i < net->name_count; i++) {
        if (strcmp(net->names[i].name, name) == 0) {
            return &net->names[i];
        }
    }
    return NULL;
}

int weft_sim_name(weft_sim *sim, const char *name, const weft_address *address) {
    if (sim == NULL || name == NULL || address == NULL || ip_size(address) == 0 ||
        strlen(name) >= SIM_NET_NAME_BYTES) {
        return -EINVAL;
    }
    sim_net *net = sim->net;
    sim_name *found = name_find(net, name);
    if (found == NULL) {
        sim_name *names = realloc(net->names, (net->name_count + 1) * sizeof(*names));
        if (names == NULL) {
            return -ENOMEM;
        }
        net->names = names;
        found = &names[net->name_count++];
        *found = (sim_name){.count = 0};
        memcpy(found->name, name, strlen(name) + 1);
    }
    if (found->count == SIM_NET_NAME_ADDRESSES) {
        return -ENOMEM;
    }
    found->addresses[found->count++] = *address;
    return 0;
}

static int resolve_default(const char *name, weft_address *ret_address) {
    *ret_address = (weft_address){.family = WEFT_FAMILY_IPV4};
    if (strcmp(name, "localhost") == 0) {
        ret_address->u.ip[0] = 127;
        ret_address->u.ip[3] = 1;
        return 1;
    }
    char *rest = NULL;
    if (strncmp(name, "name", 4) != 0 || name[4] < '0' || name[4] > '9') {
        return WEFT_E_RESOLVE;
    }
    unsigned long number = strtoul(name + 4, &rest, 10);
    if (*rest != '\0' || number > 0xffffff) {
        return WEFT_E_RESOLVE;
    }
    ret_address->u.ip[0] = 10;
    ret_address->u.ip[1] = (unsigned char)(number >> 16);
    ret_address->u.ip[2] = (unsigned char)(number >> 8);
    ret_address->u.ip[3] = (unsigned char)number;
    return 1;
}

static int io_resolve(weft_env *env, const char *name, uint16_t port, weft_address *ret_addresses,
                      uint32_t max) {
    sim_net *net = ((weft_sim *)env->impl)->net;
    const sim_name *found = name_find(net, name);
    weft_address made;
    int count = found != NULL ? (int)found->count : resolve_default(name, &made);
    if (count > (int)max) {
        count = (int)max;
    }
    for (int i = 0; i < count; i++) {
        ret_addresses[i] = found != NULL ? found->addresses[i] : made;
        ret_addresses[i].port = port;
    }
    weft__sim_fold(net->sim, SIM_EVENT_CALL, 1, (uint64_t)(int64_t)count);
    return count;
}

/* ---- sockets ------------------------------------------------------------------------------- */

sim_socket *weft__net_socket(const sim_net *net, uint32_t number) {
    return number < net->socket_count ? net->sockets[number] : NULL;
}

sim_socket *weft__net_fd(const sim_net *net, int fd) {
    sim_socket *socket =
        fd < SIM_NET_FD_BASE ? NULL : weft__net_socket(net, (uint32_t)(fd - SIM_NET_FD_BASE));
    if (socket == NULL || !socket->program) {
        weft__sim_fatal(net->sim, "a descriptor that is not open is used");
    }
    return socket;
}

sim_socket *weft__net_socket_add(sim_net *net, enum sim_socket_kind kind) {
    if (net->socket_count == net->socket_room) {
        net->socket_room = net->socket_room == 0 ? 64 : net->socket_room * 2;
        net->sockets =
            weft__net_realloc(net, net->sockets, net->socket_room * sizeof(net->sockets[0]));
    }
    sim_socket *socket = weft__net_alloc(net, sizeof(*socket));
    socket->number = net->socket_count;
    socket->kind = kind;
    socket->loop = true;
    socket->capacity = 1024 * (size_t)sim_prng_magnitude(&net->prng, 8);
    net->sockets[net->socket_count++] = socket;
    return socket;
}

void weft__net_socket_free(sim_net *net, sim_socket *socket) {
    net->open_count -= socket->program ? 1 : 0;
    weft__net_datagram_fini(socket);
    for (sim_chunk *chunk = socket->chunks; chunk != NULL;) {
        sim_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(socket->queue);
    net->sockets[socket->number] = NULL;
    free(socket);
}

/* Two sockets cannot have the same address, unless both want to share it. */
static bool bind_collides(const sim_socket *socket, const sim_socket *other) {
    if (other == NULL || other == socket || !other->bound || other->kind != socket->kind ||
        (other->reuse_port && socket->reuse_port)) {
        return false;
    }
    return weft__net_reaches(other, &socket->local) || weft__net_reaches(socket, &other->local);
}

static int bind_check(const sim_net *net, const sim_socket *socket) {
    for (uint32_t i = 0; i < net->socket_count; i++) {
        if (bind_collides(socket, net->sockets[i])) {
            return -EADDRINUSE;
        }
    }
    return 0;
}

uint16_t weft__net_port(sim_net *net) {
    for (uint32_t tries = 0; tries < 1000; tries++) {
        uint16_t port =
            (uint16_t)(SIM_NET_PORT_FIRST + sim_prng_below(&net->prng, SIM_NET_PORT_COUNT));
        bool used = false;
        for (uint32_t i = 0; i < net->socket_count && !used; i++) {
            const sim_socket *socket = net->sockets[i];
            used = socket != NULL && socket->bound && socket->local.port == port &&
                   socket->local.family != WEFT_FAMILY_UNIX;
        }
        if (!used) {
            return port;
        }
    }
    weft__sim_fatal(net->sim, "no port is free");
}

static int socket_bind(sim_net *net, sim_socket *socket, const weft_address *address) {
    socket->local = *address;
    if (ip_size(address) != 0 && address->port == 0) {
        socket->local.port = weft__net_port(net);
    }
    int status = bind_check(net, socket);
    socket->bound = status == 0;
    return status;
}

static int io_open(weft_env *env, const weft_io_socket *what, int *ret_fd) {
    static const enum sim_socket_kind kinds[] = {0, SIM_SOCKET_LISTEN, SIM_SOCKET_STREAM,
                                                 SIM_SOCKET_DATAGRAM};
    sim_net *net = ((weft_sim *)env->impl)->net;
    if ((uint32_t)what->kind < 1 || (uint32_t)what->kind > 3 || what->address == NULL) {
        weft__sim_fatal(net->sim, "this is no socket to open");
    }
    if (weft__net_chance(net, net->sim->options.open_permille)) {
        return weft__net_chance(net, 500) ? -EMFILE : -ENOBUFS;
    }
    sim_socket *socket = weft__net_socket_add(net, kinds[what->kind]);
    socket->reuse_port = what->reuse_port;
    socket->ipv6_only = what->ipv6_only;
    socket->backlog = what->backlog;
    const weft_address *address = what->kind == WEFT_IO_STREAM ? what->local : what->address;
    int status = address != NULL ? socket_bind(net, socket, address) : 0;
    if (status < 0) {
        weft__net_socket_free(net, socket);
        return status;
    }
    if (address == NULL) {
        socket->local.family = what->address->family;
    }
    socket->program = true;
    net->open_count++;
    *ret_fd = SIM_NET_FD_BASE + (int)socket->number;
    weft__sim_fold(net->sim, SIM_EVENT_OPEN, socket->number, (uint64_t)socket->kind);
    return 0;
}

static int io_option(weft_env *env, int fd, enum weft_io_option option, int value,
                     const weft_address *address) {
    sim_net *net = ((weft_sim *)env->impl)->net;
    sim_socket *socket = weft__net_fd(net, fd);
    weft__sim_fold(net->sim, SIM_EVENT_CALL, (2 << 8) | (uint64_t)option, socket->number);
    switch (option) {
    case WEFT_IO_NODELAY:
    case WEFT_IO_KEEPALIVE:
        if (socket->kind != SIM_SOCKET_STREAM && socket->kind != SIM_SOCKET_LISTEN) {
            return -ENOPROTOOPT;
        }
        return socket->local.family == WEFT_FAMILY_UNIX && option == WEFT_IO_NODELAY ? -EOPNOTSUPP
                                                                                     : 0;
    case WEFT_IO_RESET:
        socket->reset_on_close = value != 0;
        return 0;
    default:
        return weft__net_datagram_option(socket, option, value, address);
    }
}

static int io_local(weft_env *env, int fd, weft_address *ret_address) {
    *ret_address = weft__net_fd(((weft_sim *)env->impl)->net, fd)->local;
    return 0;
}

static int io_peer(weft_env *env, int fd, weft_address *ret_address) {
    const sim_socket *socket = weft__net_fd(((weft_sim *)env->impl)->net, fd);
    if (socket->kind != SIM_SOCKET_STREAM || socket->state != SIM_STATE_OPEN) {
        return -ENOTCONN;
    }
    *ret_address = socket->peer;
    return 0;
}

static int io_shutdown(weft_env *env, int fd, bool both) {
    sim_net *net = ((weft_sim *)env->impl)->net;
    sim_socket *socket = weft__net_fd(net, fd);
    weft__sim_fold(net->sim, SIM_EVENT_CALL, 3, socket->number);
    if (socket->kind == SIM_SOCKET_LISTEN) {
        socket->stopped = true;
        weft__net_kick(net, socket, WEFT_IO_OP_ACCEPT, 0);
        return 0;
    }
    return socket->kind == SIM_SOCKET_STREAM ? weft__net_stream_shutdown(net, socket, both)
                                             : -ENOTCONN;
}

static void io_close(weft_env *env, int fd) {
    sim_net *net = ((weft_sim *)env->impl)->net;
    sim_socket *socket = weft__net_fd(net, fd);
    if (socket->ops != NULL) {
        weft__sim_fatal(net->sim, "a descriptor is closed while an operation is in flight on it");
    }
    weft__sim_fold(net->sim, SIM_EVENT_CLOSE, socket->number, 0);
    if (socket->kind == SIM_SOCKET_LISTEN || socket->kind == SIM_SOCKET_STREAM) {
        weft__net_stream_close(net, socket);
    } else {
        weft__net_socket_free(net, socket);
    }
}

/* Paths exist only as long as somebody is bound to them, so a stale one is never in the way. */
static void io_unlink(weft_env *env, const weft_address *address) {
    weft_sim *sim = env->impl;
    if (address == NULL || address->family != WEFT_FAMILY_UNIX) {
        weft__sim_fatal(sim, "only Unix paths are unlinked");
    }
    weft__sim_fold(sim, SIM_EVENT_CALL, 4, address->path_length);
}

/* ---- life ---------------------------------------------------------------------------------- */

int weft__sim_net_init(weft_sim *sim) {
    sim_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return -ENOMEM;
    }
    net->sim = sim;
    sim->net = net;
    sim_prng_init(&net->prng, sim->options.seed, SIM_STREAM_NET);
    sim_prng_init(&net->fault, sim->options.seed, SIM_STREAM_FAULT);
    net->socket_count = 1; /* number 0 is none */
    net->socket_room = 64;
    net->sockets = calloc(net->socket_room, sizeof(net->sockets[0]));
    if (net->sockets == NULL) {
        free(net);
        return -ENOMEM;
    }
    net->io = (weft_env_io){
        .version = WEFT_ENV_IO_VERSION,
        .files = sim->options.helper_files == 0,
        .name = "sim",
        .driver_create = sim->env.driver_create,
        .driver_destroy = sim->env.driver_destroy,
        .driver_park = sim->env.driver_park,
        .driver_wake = sim->env.driver_wake,
        .driver_fd = sim->env.driver_fd,
        .open = io_open,
        .option = io_option,
        .local = io_local,
        .peer = io_peer,
        .shutdown = io_shutdown,
        .close = io_close,
        .unlink = io_unlink,
        .resolve = io_resolve,
        .file = weft__net_file_call,
    };
    weft__net_op_vtable(&net->io);
    sim->env.io = &net->io;
    return 0;
}

void weft__sim_net_fini(weft_sim *sim) {
    sim_net *net = sim->net;
    if (net->open_count != 0) {
        weft__sim_fatal(sim, "destroyed while descriptors are open");
    }
    for (uint32_t i = 0; i < net->event_count; i++) {
        free(net->events[i].payload);
    }
    for (uint32_t i = 0; i < net->socket_count; i++) {
        if (net->sockets[i] != NULL) {
            weft__net_socket_free(net, net->sockets[i]);
        }
    }
    weft__net_file_fini(net);
    free(net->events);
    free(net->sockets);
    free(net->ops);
    free(net->names);
    free(net->cuts);
    free(net);
    sim->net = NULL;
}
