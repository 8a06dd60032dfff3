/* SPDX-License-Identifier: MIT
 *
 * The floors: servers in plain C, roles of a peer, that do what the weft server of the same
 * workload does and nothing else: one thread, blocking or spinning system calls, epoll where
 * there are several connections. Each prints its port and serves until it is killed.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <sys/epoll.h>

#include "io.h"

enum { BUFFER_BYTES = 65536, EVENTS = 64 };

struct floor {
    const struct perf_peer_plan *plan;
    int listener;
    void *tls;
    unsigned char *buffer; /* BUFFER_BYTES */
};

/* ---- one connection after the other --------------------------------------------------------- */

static void serve_echo(struct floor *floor, struct perf_channel *channel) {
    if ((floor->plan->flags & PERF_PEER_SPIN) != 0) {
        perf_channel_spin(channel);
    }
    /* Until the client closes. */
    while (perf_channel_read_all(channel, floor->buffer, PERF_IO_MESSAGE_BYTES) &&
           perf_channel_write_all(channel, floor->buffer, PERF_IO_MESSAGE_BYTES)) {
    }
}

static void serve_sink(struct floor *floor, struct perf_channel *channel) {
    while (perf_channel_read(channel, floor->buffer, BUFFER_BYTES) != 0) {
    }
}

static void serve_source(struct floor *floor, struct perf_channel *channel) {
    perf_pattern_fill(floor->buffer, BUFFER_BYTES);
    while (perf_channel_write_all(channel, floor->buffer, BUFFER_BYTES)) {
    }
}

static void serve_close(struct floor *floor, struct perf_channel *channel) {
    (void)floor;
    if (channel->tls != NULL) {
        perf_tls_end(channel->tls);
        channel->tls = NULL;
    }
}

/* The server's loop: until it is killed. */
static _Noreturn void serve(struct floor *floor,
                            void (*one)(struct floor *floor, struct perf_channel *channel)) {
    for (;;) {
        struct perf_channel channel;

        perf_channel_accept(floor->listener, floor->tls, &channel);
        one(floor, &channel);
        perf_channel_close(&channel);
    }
}

/* ---- many connections ----------------------------------------------------------------------- */

static void poller_add(int poller, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
        perf_die("epoll_ctl: %s", strerror(errno));
    }
}

static void many_ready(struct floor *floor, int poller, int fd) {
    struct perf_channel channel = {.fd = fd};
    ssize_t got;

    if (fd == floor->listener) {
        perf_channel_accept(floor->listener, NULL, &channel);
        poller_add(poller, channel.fd);
        return;
    }
    got = perf_channel_read(&channel, floor->buffer, BUFFER_BYTES);
    if (got == 0) {
        perf_channel_close(&channel); /* takes it off the poller */
    } else if (got > 0 && !perf_channel_write_all(&channel, floor->buffer, (size_t)got)) {
        perf_die("a client has gone");
    }
}

/* The server's loop: until it is killed. */
static _Noreturn void serve_many(struct floor *floor) {
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC);

    if (poller < 0) {
        perf_die("epoll_create1: %s", strerror(errno));
    }
    poller_add(poller, floor->listener);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            many_ready(floor, poller, events[i].data.fd);
        }
    }
}

void perf_floor_run(const struct perf_peer_plan *plan) {
    struct floor floor = {.plan = plan, .buffer = perf_alloc(BUFFER_BYTES, 1)};
    uint32_t port = 0;

    floor.listener = perf_channel_listen(&port);
    if ((plan->flags & PERF_PEER_TLS) != 0) {
        floor.tls = perf_tls_config(true, (plan->flags & PERF_PEER_CHACHA) != 0);
    }
    perf_peer_say(port);
    switch ((enum perf_peer_role)plan->role) {
    case PERF_PEER_ECHO_SERVER:
        serve(&floor, serve_echo);
    case PERF_PEER_SINK_SERVER:
        serve(&floor, serve_sink);
    case PERF_PEER_SOURCE_SERVER:
        serve(&floor, serve_source);
    case PERF_PEER_ACCEPT_SERVER:
        serve(&floor, serve_close);
    case PERF_PEER_MANY_SERVER:
        serve_many(&floor);
    default:
        perf_die("no server of role %u", plan->role);
    }
}
