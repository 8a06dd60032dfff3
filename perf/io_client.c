/* SPDX-License-Identifier: MIT
 *
 * The clients of the I/O workloads, as roles of a peer: plain C on blocking sockets, or on
 * sockets that are looked at without a pause. Each checks what comes back and prints its two
 * numbers at the end. Their loops end with their counts or durations, and with the peer's alarm.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io.h"

enum {
    WARM_UP_DIVISOR = 20,
    STREAM_BYTES = 16384, /* of one write, as a record */
    READ_BYTES = 65536,
    MANY_BYTES = 8192, /* above what one connection has in flight */
    EVENTS = 64,
    THREADS_MAX = 16,
    ECHO_PERIOD = 256,
};

/* ---- echo ----------------------------------------------------------------------------------- */

/* One message there and back; nanoseconds. */
static uint64_t echo_once(struct perf_channel *channel, uint64_t number) {
    unsigned char message[PERF_IO_MESSAGE_BYTES];
    unsigned char answer[PERF_IO_MESSAGE_BYTES];
    uint64_t begin;
    uint64_t elapsed;

    memset(message, (int)(number % ECHO_PERIOD), sizeof(message));
    begin = perf_clock_ns();
    if (!perf_channel_write_all(channel, message, sizeof(message)) ||
        !perf_channel_read_all(channel, answer, sizeof(answer))) {
        perf_die("the echo server has closed");
    }
    elapsed = perf_clock_ns() - begin;
    if (memcmp(message, answer, sizeof(message)) != 0) {
        perf_die("another message came back");
    }
    return elapsed;
}

static void echo_client(const struct perf_peer_plan *plan, void *tls) {
    uint64_t *latencies = perf_alloc(plan->count, sizeof(*latencies));
    struct perf_channel channel;

    perf_channel_connect(plan, tls, 0, &channel);
    if ((plan->flags & PERF_PEER_SPIN) != 0) {
        perf_channel_spin(&channel);
    }
    for (uint64_t i = 0; i < plan->count / WARM_UP_DIVISOR; i++) {
        (void)echo_once(&channel, i); /* its time is not wanted */
    }
    for (uint64_t i = 0; i < plan->count; i++) {
        latencies[i] = echo_once(&channel, i);
    }
    perf_channel_drain(&channel);
    perf_channel_close(&channel);
    perf_sort(latencies, plan->count);
    perf_peer_say(perf_quantile(latencies, plan->count, 500));
    perf_peer_say(perf_quantile(latencies, plan->count, 990));
    free(latencies);
}

/* ---- streams -------------------------------------------------------------------------------- */

/* The clock stops when the server has closed: what lies in buffers then does not count as sent. */
static void send_client(const struct perf_peer_plan *plan, void *tls) {
    unsigned char data[STREAM_BYTES];
    struct perf_channel channel;
    uint64_t bytes = 0;
    uint64_t begin;

    perf_pattern_fill(data, sizeof(data));
    perf_channel_connect(plan, tls, 0, &channel);
    begin = perf_clock_ns();
    while (perf_clock_ns() - begin < plan->duration_ns) {
        if (!perf_channel_write_all(&channel, data, sizeof(data))) {
            perf_die("the server has closed");
        }
        bytes += sizeof(data);
    }
    perf_channel_drain(&channel);
    perf_peer_say(bytes);
    perf_peer_say(perf_clock_ns() - begin);
    perf_channel_close(&channel);
}

static void read_client(const struct perf_peer_plan *plan, void *tls) {
    unsigned char *data = perf_alloc(READ_BYTES, 1);
    struct perf_channel channel;
    uint64_t bytes = 0;
    uint64_t elapsed = 0;
    uint64_t begin;

    perf_channel_connect(plan, tls, 0, &channel);
    begin = perf_clock_ns();
    do {
        ssize_t got = perf_channel_read(&channel, data, READ_BYTES);

        if (got == 0) {
            perf_die("the server has closed");
        }
        if (got > 0) {
            perf_pattern_check(data, (size_t)got, bytes);
            bytes += (uint64_t)got;
        }
        elapsed = perf_clock_ns() - begin;
    } while (elapsed < plan->duration_ns);
    perf_channel_close(&channel);
    perf_peer_say(bytes);
    perf_peer_say(elapsed);
    free(data);
}

/* ---- many connections ----------------------------------------------------------------------- */

/* A connection whose messages all are on their way; the stream is the pattern. */
struct lane {
    struct perf_channel channel;
    uint64_t sent;
    uint64_t received;
};

/* Sends whole messages until depth of them are out. */
static void lane_send(struct lane *lane, const struct perf_peer_plan *plan,
                      const unsigned char *pattern) {
    uint64_t window = (uint64_t)plan->depth * PERF_IO_MESSAGE_BYTES;
    uint64_t end = lane->received / PERF_IO_MESSAGE_BYTES * PERF_IO_MESSAGE_BYTES + window;

    if (end > lane->sent) {
        if (!perf_channel_write_all(&lane->channel, pattern + lane->sent % ECHO_PERIOD,
                                    end - lane->sent)) {
            perf_die("the echo server has closed");
        }
        lane->sent = end;
    }
}

static void lane_receive(struct lane *lane) {
    unsigned char data[MANY_BYTES];
    ssize_t got = perf_channel_read(&lane->channel, data, sizeof(data));

    if (got == 0) {
        perf_die("the echo server has closed");
    }
    if (got > 0) {
        perf_pattern_check(data, (size_t)got, lane->received);
        lane->received += (uint64_t)got;
    }
}

/* Runs the lanes for a time; bytes that came back. */
static uint64_t lanes_run(struct lane *lanes, const struct perf_peer_plan *plan, int poller,
                          uint64_t duration_ns) {
    unsigned char pattern[ECHO_PERIOD + MANY_BYTES];
    struct epoll_event events[EVENTS];
    uint64_t begin = perf_clock_ns();
    uint64_t before = 0;
    uint64_t after = 0;

    perf_pattern_fill(pattern, sizeof(pattern));
    for (uint32_t i = 0; i < plan->connections; i++) {
        before += lanes[i].received;
        lane_send(&lanes[i], plan, pattern);
    }
    while (perf_clock_ns() - begin < duration_ns) {
        int count = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            lane_receive(events[i].data.ptr);
            lane_send(events[i].data.ptr, plan, pattern);
        }
    }
    for (uint32_t i = 0; i < plan->connections; i++) {
        after += lanes[i].received;
    }
    return after - before;
}

static void many_client(const struct perf_peer_plan *plan, void *tls) {
    struct lane *lanes = perf_alloc(plan->connections, sizeof(*lanes));
    int poller = epoll_create1(EPOLL_CLOEXEC);
    uint64_t begin;
    uint64_t bytes;

    if (poller < 0 || (uint64_t)plan->depth * PERF_IO_MESSAGE_BYTES > MANY_BYTES) {
        perf_die("epoll_create1: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < plan->connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &lanes[i]};

        perf_channel_connect(plan, tls, i, &lanes[i].channel);
        if (epoll_ctl(poller, EPOLL_CTL_ADD, lanes[i].channel.fd, &event) != 0) {
            perf_die("epoll_ctl: %s", strerror(errno));
        }
    }
    (void)lanes_run(lanes, plan, poller, plan->duration_ns / WARM_UP_DIVISOR);
    begin = perf_clock_ns();
    bytes = lanes_run(lanes, plan, poller, plan->duration_ns);
    perf_peer_say(bytes / PERF_IO_MESSAGE_BYTES);
    perf_peer_say(perf_clock_ns() - begin);
    for (uint32_t i = 0; i < plan->connections; i++) {
        perf_channel_drain(&lanes[i].channel);
        perf_channel_close(&lanes[i].channel);
    }
    (void)close(poller); /* nothing hangs off it */
    free(lanes);
}

/* ---- accept --------------------------------------------------------------------------------- */

struct accept_job {
    const struct perf_peer_plan *plan;
    void *tls;
    _Atomic uint64_t next; /* connections begun by all threads; relaxed: a counter only */
};

/* Opens a batch, then sees each of them closed by the server. */
static void accept_batch(struct accept_job *job, uint64_t first, uint64_t count) {
    struct perf_channel channels[EVENTS];
    char nothing[1];

    for (uint64_t i = 0; i < count; i++) {
        perf_channel_connect(job->plan, job->tls, first + i, &channels[i]);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (perf_channel_read(&channels[i], nothing, sizeof(nothing)) != 0) {
            perf_die("the server has sent something");
        }
        perf_channel_close(&channels[i]);
    }
}

static void *accept_thread(void *arg) {
    struct accept_job *job = arg;
    uint64_t total = job->plan->count;
    uint64_t batch = job->plan->connections < EVENTS ? job->plan->connections : EVENTS;
    uint64_t first = atomic_fetch_add_explicit(&job->next, batch, memory_order_relaxed);

    while (first < total) {
        accept_batch(job, first, total - first < batch ? total - first : batch);
        first = atomic_fetch_add_explicit(&job->next, batch, memory_order_relaxed);
    }
    return NULL;
}

static void accept_client(const struct perf_peer_plan *plan, void *tls) {
    struct accept_job job = {.plan = plan, .tls = tls};
    pthread_t threads[THREADS_MAX];
    uint64_t begin = perf_clock_ns();

    for (uint32_t i = 0; i < plan->depth && i < THREADS_MAX; i++) {
        if (pthread_create(&threads[i], NULL, accept_thread, &job) != 0) {
            perf_die("cannot start a thread");
        }
    }
    for (uint32_t i = 0; i < plan->depth && i < THREADS_MAX; i++) {
        (void)pthread_join(threads[i], NULL); /* joinable, ends by itself */
    }
    perf_peer_say(plan->count);
    perf_peer_say(perf_clock_ns() - begin);
}

/* ---- idle ----------------------------------------------------------------------------------- */

/* With TLS a session is forgotten after its handshake: the connection stays, and the client's
 * memory does not keep the machine from measuring the server's. */
static void idle_client(const struct perf_peer_plan *plan, void *tls) {
    uint64_t begin = perf_clock_ns();
    char nothing[1];

    (void)perf_files_raise(); /* one too many is noticed by connect */
    for (uint64_t i = 0; i < plan->connections; i++) {
        struct perf_channel channel;

        perf_channel_connect(plan, tls, i, &channel);
        perf_tls_free(channel.tls);
    }
    perf_peer_say(plan->connections);
    perf_peer_say(perf_clock_ns() - begin);
    (void)read(STDIN_FILENO, nothing, sizeof(nothing)); /* until the measuring process has done */
}

/* tls of the roles: a configuration, or NULL for plain. */
void perf_client_run(const struct perf_peer_plan *plan) {
    void *tls = (plan->flags & PERF_PEER_TLS) != 0
                    ? perf_tls_config(false, (plan->flags & PERF_PEER_CHACHA) != 0)
                    : NULL;

    switch ((enum perf_peer_role)plan->role) {
    case PERF_PEER_ECHO_CLIENT:
        echo_client(plan, tls);
        break;
    case PERF_PEER_SEND_CLIENT:
        send_client(plan, tls);
        break;
    case PERF_PEER_READ_CLIENT:
        read_client(plan, tls);
        break;
    case PERF_PEER_MANY_CLIENT:
        many_client(plan, tls);
        break;
    case PERF_PEER_ACCEPT_CLIENT:
        accept_client(plan, tls);
        break;
    case PERF_PEER_IDLE_CLIENT:
        idle_client(plan, tls);
        break;
    default:
        perf_die("no client of role %u", plan->role);
    }
    perf_tls_config_free(tls);
}
