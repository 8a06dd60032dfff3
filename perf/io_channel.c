/* SPDX-License-Identifier: MIT
 *
 * Channels: the sockets of peers, plain or with TLS, blocking or not. Only peers use them, never
 * the measuring process. What fails ends the process: a peer has nobody to answer to but its exit
 * status. Any thread of a peer, each channel by one.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"

enum {
    BACKLOG = 1024,
    SOURCES = 200,              /* source addresses: 127.0.1.1 and on */
    SOURCE_CONNECTIONS = 16384, /* from one of them, below the ports there are */
    DRAIN_BYTES = 16384,
};

static void channel_address(uint32_t address, uint32_t port, struct sockaddr_in *ret_address) {
    memset(ret_address, 0, sizeof(*ret_address));
    ret_address->sin_family = AF_INET;
    ret_address->sin_port = htons((uint16_t)port);
    ret_address->sin_addr.s_addr = htonl(address);
}

static int channel_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        perf_die("socket: %s", strerror(errno));
    }
    return fd;
}

static void channel_option(int fd, int level, int option) {
    int one = 1;

    if (setsockopt(fd, level, option, &one, sizeof(one)) != 0) {
        perf_die("setsockopt: %s", strerror(errno));
    }
}

int perf_channel_listen(uint32_t *ret_port) {
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int fd = channel_socket();

    channel_address(INADDR_LOOPBACK, 0, &address);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perf_die("listen: %s", strerror(errno));
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

void perf_channel_accept(int listener, void *tls, struct perf_channel *ret_channel) {
    struct perf_channel channel = {.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};

    if (channel.fd < 0) {
        perf_die("accept4: %s", strerror(errno));
    }
    channel_option(channel.fd, IPPROTO_TCP, TCP_NODELAY);
    channel.tls = tls != NULL ? perf_tls_session(tls, true, channel.fd) : NULL;
    *ret_channel = channel;
}

void perf_channel_connect(const struct perf_peer_plan *plan, void *tls, uint64_t index,
                          struct perf_channel *ret_channel) {
    struct perf_channel channel = {.fd = channel_socket()};
    uint32_t source = INADDR_LOOPBACK + 0x100 + (uint32_t)(index / SOURCE_CONNECTIONS % SOURCES);
    struct sockaddr_in address;

    channel_option(channel.fd, IPPROTO_TCP, TCP_NODELAY);
    /* Only the address is chosen here: the port, when the target is known, may be in use to
     * another one. */
    channel_option(channel.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    channel_address(source, 0, &address);
    if (bind(channel.fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        perf_die("bind: %s", strerror(errno));
    }
    channel_address(INADDR_LOOPBACK, plan->port, &address);
    if (connect(channel.fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        perf_die("connect: %s", strerror(errno));
    }
    channel.tls = tls != NULL ? perf_tls_session(tls, false, channel.fd) : NULL;
    *ret_channel = channel;
}

void perf_channel_spin(struct perf_channel *channel) {
    if (fcntl(channel->fd, F_SETFL, O_NONBLOCK) != 0) {
        perf_die("fcntl: %s", strerror(errno));
    }
}

ssize_t perf_channel_read(struct perf_channel *channel, void *data, size_t size) {
    ssize_t result;

    if (channel->tls != NULL) {
        return perf_tls_read(channel->tls, data, size);
    }
    result = read(channel->fd, data, size);
    if (result >= 0) {
        return result;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return -EAGAIN;
    }
    perf_die("read: %s", strerror(errno));
}

ssize_t perf_channel_write(struct perf_channel *channel, const void *data, size_t size) {
    ssize_t result;

    if (channel->tls != NULL) {
        return perf_tls_write(channel->tls, data, size);
    }
    result = write(channel->fd, data, size);
    if (result >= 0) {
        return result;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return -EAGAIN;
    }
    if (errno == EPIPE || errno == ECONNRESET) {
        return -EPIPE;
    }
    perf_die("write: %s", strerror(errno));
}

/* The loops below are bounded by the peer's alarm: a spinning channel looks until something is
 * there, that is what it measures. */
bool perf_channel_read_all(struct perf_channel *channel, void *data, size_t size) {
    size_t done = 0;

    while (done < size) {
        ssize_t got = perf_channel_read(channel, (char *)data + done, size - done);

        if (got == 0) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

bool perf_channel_write_all(struct perf_channel *channel, const void *data, size_t size) {
    size_t done = 0;

    while (done < size) {
        ssize_t put = perf_channel_write(channel, (const char *)data + done, size - done);

        if (put == -EPIPE) {
            return false;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

void perf_channel_drain(struct perf_channel *channel) {
    char nothing[DRAIN_BYTES];
    ssize_t got;

    if (channel->tls != NULL) {
        perf_tls_end(channel->tls);
        channel->tls = NULL;
    }
    if (shutdown(channel->fd, SHUT_WR) != 0) {
        perf_die("shutdown: %s", strerror(errno));
    }
    do {
        got = perf_channel_read(channel, nothing, sizeof(nothing));
    } while (got > 0 || got == -EAGAIN);
}

void perf_channel_close(struct perf_channel *channel) {
    perf_tls_free(channel->tls);
    (void)close(channel->fd); /* what mattered was drained or read */
}

/* ---- pattern -------------------------------------------------------------------------------- */

void perf_pattern_fill(void *data, size_t size) {
    unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)i;
    }
}

void perf_pattern_check(const void *data, size_t size, uint64_t offset) {
    const unsigned char *bytes = data;

    if (bytes[0] != (unsigned char)offset ||
        bytes[size - 1] != (unsigned char)(offset + size - 1)) {
        perf_die("other bytes came back than were sent, at %llu", (unsigned long long)offset);
    }
}
