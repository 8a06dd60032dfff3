/* SPDX-License-Identifier: MIT
 *
 * What the tests of datagram sockets share: runtimes with one of the two drivers, socket actors that
 * record what they receive in an inbox, and plain sockets of the test's own as the other end.
 */
#ifndef WEFT_TESTS_UNIT_DATAGRAM_SUPPORT_H
#define WEFT_TESTS_UNIT_DATAGRAM_SUPPORT_H

#include "net_support.h"
#include "support.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <weft/datagram.h>

enum { DRIVERS = 2, LARGEST = 65507 };

/* ---- rigs ------------------------------------------------------------------------------------ */

static inline weft_config net_config(int number, uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.io_driver = number == 0 ? WEFT_IO_DRIVER_URING : WEFT_IO_DRIVER_EPOLL;
    return config;
}

/* False: this machine does not let us have that driver, and it was said. */
static inline bool net_start(struct rig *rig, const weft_config *config) {
    weft_runtime *runtime = NULL;
    int result = weft_runtime_create(config, &runtime);
    if (result != 0) {
        ck_assert_uint_eq(config->io_driver, WEFT_IO_DRIVER_URING);
        skip_uring(result);
        return false;
    }
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    *rig = rig_start_with(config);
    return true;
}

static inline void net_stop(struct rig *rig) {
    ck_assert_int_eq(weft_runtime_stop(rig->runtime, 20 * S_NS), 0);
    weft_gauges gauges = rig_gauges(rig);
    ck_assert_uint_eq(gauges.actors, 0);
    ck_assert_uint_eq(gauges.messages, 0);
    ck_assert_uint_eq(gauges.buffers, 0);
    ck_assert_uint_eq(gauges.io_open, 0);
    ck_assert_int_eq(weft_runtime_destroy(&rig->runtime), 0);
}

/* ---- what a socket has received -------------------------------------------------------------- */

struct arrival {
    uint32_t tag;
    int status; /* CLOSED */
    size_t size;
    weft_address from;
    unsigned char *bytes;
};

struct inbox {
    struct probe probe; /* its user is the inbox */
    pthread_mutex_t lock;
    struct arrival list[4096];
    uint32_t count;
    _Atomic uint32_t datagrams; /* counted only, when counts_only */
    _Atomic uint64_t delay_ns;  /* what handling one takes */
    _Atomic bool echo;
    _Atomic bool keep; /* takes every message */
};

static inline int inbox_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct inbox *inbox = probe->user;
    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        return WEFT_CONTINUE;
    }
    bool datagram = weft_msg_tag(msg) == WEFT_IO_DATAGRAM;
    pthread_mutex_lock(&inbox->lock);
    if (!probe->counts_only && inbox->count < 4096) {
        struct arrival *arrival = &inbox->list[inbox->count++];
        arrival->tag = weft_msg_tag(msg);
        arrival->size = weft_msg_size(msg);
        arrival->status = arrival->tag == WEFT_IO_CLOSED ? weft_msg_status(msg) : 0;
        if (datagram) {
            ck_assert_int_eq(weft_datagram_sender(ctx, msg, &arrival->from), 0);
            arrival->bytes = malloc(arrival->size + 1);
            if (arrival->size != 0) {
                memcpy(arrival->bytes, weft_msg_data(msg), arrival->size);
            }
        }
    }
    pthread_mutex_unlock(&inbox->lock);
    if (datagram && atomic_load(&inbox->echo)) {
        weft_address from;
        ck_assert_int_eq(weft_datagram_sender(ctx, msg, &from), 0);
        (void)weft_datagram_send(ctx, &from, weft_msg_data(msg), weft_msg_size(msg));
    }
    if (datagram && atomic_load(&inbox->delay_ns) != 0) {
        sleep_ns(atomic_load(&inbox->delay_ns));
    }
    if (datagram && atomic_load(&inbox->keep)) {
        (void)weft_msg_take(ctx, msg);
    }
    if (datagram) {
        atomic_fetch_add(&inbox->datagrams, 1);
    }
    return WEFT_CONTINUE;
}

static inline struct inbox *inbox_new(void) {
    struct inbox *inbox = calloc(1, sizeof(*inbox));
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_mutex_init(&inbox->probe.lock, NULL);
    inbox->probe.handler = inbox_receive;
    inbox->probe.user = inbox;
    return inbox;
}

/* From here on datagrams are counted, not recorded. */
static inline void inbox_only_count(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    pthread_mutex_lock(&inbox->probe.lock);
    inbox->probe.counts_only = true;
    pthread_mutex_unlock(&inbox->probe.lock);
    pthread_mutex_unlock(&inbox->lock);
}

static inline uint32_t inbox_count(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    uint32_t count = inbox->count;
    pthread_mutex_unlock(&inbox->lock);
    return count;
}

static inline struct arrival inbox_at(struct inbox *inbox, uint32_t index) {
    pthread_mutex_lock(&inbox->lock);
    ck_assert_uint_lt(index, inbox->count);
    struct arrival arrival = inbox->list[index];
    pthread_mutex_unlock(&inbox->lock);
    return arrival;
}

static inline void inbox_free(struct inbox *inbox) {
    for (uint32_t i = 0; i < inbox->count; i++) {
        free(inbox->list[i].bytes);
    }
    probe_fini(&inbox->probe);
    free(inbox);
}

struct end {
    weft_pid pid;
    weft_address address;
    struct inbox *inbox;
};

static inline weft_datagram_options options_of(struct rig *rig, struct probe **probe,
                                               const char *address) {
    return (weft_datagram_options){.struct_size = WEFT_DATAGRAM_OPTIONS_INIT,
                                   .address = address,
                                   .type = rig->puppet,
                                   .arg = probe,
                                   .arg_size = sizeof(*probe)};
}

static inline struct end open_with(struct rig *rig, weft_datagram_options options) {
    struct end end = {.inbox = inbox_new()};
    struct probe *probe = &end.inbox->probe;
    options.arg = &probe;
    ck_assert_int_eq(weft_datagram_open(rig->runtime, &options, &end.pid, &end.address), 0);
    ck_assert_uint_ne(end.address.port, 0);
    eventually(inbox_count(end.inbox) != 0);
    ck_assert_uint_eq(inbox_at(end.inbox, 0).tag, WEFT_IO_OPEN);
    return end;
}

static inline struct end open_end(struct rig *rig, const char *address) {
    return open_with(rig, options_of(rig, NULL, address));
}

/* ---- in the socket's context ----------------------------------------------------------------- */

struct sending {
    weft_address target;
    const void *data;
    size_t size;
    uint32_t times;
    int result; /* of the last */
    uint32_t accepted;
};

static inline void do_send(weft_ctx *ctx, void *arg) {
    struct sending *sending = arg;
    for (uint32_t i = 0; i < (sending->times == 0 ? 1 : sending->times); i++) {
        sending->result = weft_datagram_send(ctx, &sending->target, sending->data, sending->size);
        sending->accepted += sending->result == 0 ? 1 : 0;
    }
}

static inline int send_from(struct rig *rig, const struct end *from, const weft_address *target,
                            const void *data, size_t size) {
    struct sending sending = {.target = *target, .data = data, .size = size};
    act(rig, from->pid, do_send, &sending);
    return sending.result;
}

static inline void do_close(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_datagram_close(ctx);
}

/* ---- a plain socket -------------------------------------------------------------------------- */

static inline int plain_open(uint16_t *ret_port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    struct sockaddr_in raw = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(raw);
    int bytes = 8 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    struct timeval wait = {.tv_sec = 20};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&raw, length), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&raw, &length), 0);
    *ret_port = ntohs(raw.sin_port);
    return fd;
}

/* recv, whatever interrupts it: with a time limit a ring that was closed a moment ago does so. */
static inline ssize_t plain_receive(int fd, void *bytes, size_t size) {
    ssize_t done;
    do { /* bounded by the interruptions */
        done = recv(fd, bytes, size, 0);
    } while (done < 0 && errno == EINTR);
    return done;
}

static inline void plain_send(int fd, const weft_address *target, const void *data, size_t size) {
    struct sockaddr_in raw = {.sin_family = AF_INET, .sin_port = htons(target->port)};
    memcpy(&raw.sin_addr, target->u.ip, 4);
    (void)sendto(fd, data, size, 0, (struct sockaddr *)&raw, sizeof(raw));
}

static inline weft_address loopback(uint16_t port) {
    weft_address address = {.family = WEFT_FAMILY_IPV4, .port = port};
    memcpy(address.u.ip, (unsigned char[]){127, 0, 0, 1}, 4);
    return address;
}

#endif
