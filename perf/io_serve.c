/* SPDX-License-Identifier: MIT
 *
 * The weft side of the I/O workloads: a listener on loopback whose connections echo, count, send,
 * close or do nothing. Written as a program of a user would be. Connections run on schedulers and
 * count in their service; the main thread starts it, waits for its counts and stops it.
 */
#include <errno.h>
#include <stdio.h>

#include <weft/stream.h>
#include <weft/tls.h>

#include "io.h"

enum {
    SOURCE_BYTES = 65536, /* of one write */
    SOURCE_WRITES = 64,   /* in one turn; the queue is full long before */
    AWAIT_TRIES = 100000, /* of a millisecond */
    AWAIT_SLEEP_NS = 1000000,
};

/* State of a connection. */
struct connection {
    struct perf_service *service;
    uint64_t received;
};

static int connection_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct connection *connection = state;

    (void)ctx;
    memcpy(&connection->service, arg, arg_size);
    return WEFT_CONTINUE;
}

/* Writes until the queue is full, which WRITABLE ends. The peer may have gone: CLOSED says so. */
static void connection_pump(weft_ctx *ctx, const struct connection *connection) {
    int result = 0;

    for (uint32_t i = 0; i < SOURCE_WRITES && result == 0; i++) {
        result = weft_stream_write_buf(ctx, connection->service->pattern, 0, SOURCE_BYTES);
    }
    if (result != -EPIPE && result != -ENOTCONN) {
        perf_check(result, "write");
    }
}

static void connection_open(weft_ctx *ctx, struct connection *connection) {
    (void)atomic_fetch_add_explicit(&connection->service->opened, 1, memory_order_relaxed);
    if (connection->service->mode == PERF_SERVE_CLOSE) {
        perf_check(weft_stream_close(ctx), "close");
    } else if (connection->service->mode == PERF_SERVE_SOURCE) {
        connection_pump(ctx, connection);
    }
}

static void connection_data(weft_ctx *ctx, struct connection *connection, const weft_msg *msg) {
    if (connection->service->mode == PERF_SERVE_ECHO) {
        perf_check(weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg)), "write");
    }
    connection->received += weft_msg_size(msg);
}

static void connection_closed(const struct connection *connection, int status) {
    struct perf_service *service = connection->service;

    /* Who reads a source resets it when he has enough, and who held idle connections is killed;
     * the others close in order. */
    if (status != 0 && service->mode != PERF_SERVE_SOURCE && service->mode != PERF_SERVE_HOLD) {
        perf_die("a connection was closed: %s", weft_strerror(status));
    }
    (void)atomic_fetch_add_explicit(&service->received, connection->received, memory_order_relaxed);
    /* S1: publishes received; pairs with the load in service_await. */
    (void)atomic_fetch_add_explicit(&service->closed, 1, memory_order_release);
}

static int connection_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct connection *connection = state;

    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        perf_die("a connection got a message of another kind");
    }
    switch ((enum weft_io_event)weft_msg_tag(msg)) {
    case WEFT_IO_OPEN:
        connection_open(ctx, connection);
        break;
    case WEFT_IO_DATA:
        connection_data(ctx, connection, msg);
        break;
    case WEFT_IO_WRITABLE:
        if (connection->service->mode == PERF_SERVE_SOURCE) {
            connection_pump(ctx, connection);
        }
        break;
    case WEFT_IO_CLOSED:
        connection_closed(connection, weft_msg_status(msg));
        break;
    default:
        break; /* END: the connection then closes by itself */
    }
    return WEFT_CONTINUE;
}

static const weft_type_def connection_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                             .name = "perf-connection",
                                             .state_size = sizeof(struct connection),
                                             .init = connection_init,
                                             .receive = connection_receive};

/* ---- service -------------------------------------------------------------------------------- */

static weft_tls *service_tls(struct perf *perf) {
    weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT, .self_name = "weft-perf"};
    weft_tls_error error;
    weft_tls *tls = NULL;
    int result = weft_tls_create(perf->runtime, &options, &tls, &error);

    if (result < 0) {
        perf_die("TLS: %s: %s", weft_strerror(result), error.text);
    }
    return tls;
}

static weft_buf *service_pattern(struct perf *perf) {
    weft_buf *buf = NULL;

    perf_check(weft_buf_create(perf->runtime, SOURCE_BYTES, &buf), "create a buffer");
    perf_pattern_fill(weft_buf_data(buf), SOURCE_BYTES);
    return buf;
}

void perf_serve_start(struct perf *perf, enum perf_service_mode mode, bool tls,
                      struct perf_service *ret_service) {
    weft_address address;
    weft_listen_options options = {
        .struct_size = WEFT_LISTEN_OPTIONS_INIT,
        .address = "127.0.0.1:0",
        .type = perf_type(perf, &connection_def),
        .arg = &ret_service,
        .arg_size = sizeof(ret_service),
        .tls = tls ? service_tls(perf) : NULL,
    };

    memset(ret_service, 0, sizeof(*ret_service)); /* zero is what its counters begin with */
    ret_service->mode = mode;
    ret_service->pattern = mode == PERF_SERVE_SOURCE ? service_pattern(perf) : NULL;
    perf_check(weft_listen(perf->runtime, &options, &ret_service->listener, &address), "listen");
    ret_service->port = address.port;
    weft_tls_unref(options.tls); /* the listener has its own reference */
}

static void service_await(_Atomic uint64_t *counter, uint64_t count, const char *what) {
    /* S1: sees what the connections wrote before they counted. */
    for (uint32_t i = 0; atomic_load_explicit(counter, memory_order_acquire) < count; i++) {
        if (i == AWAIT_TRIES) {
            perf_die("%llu of %llu connections %s in time",
                     (unsigned long long)atomic_load_explicit(counter, memory_order_relaxed),
                     (unsigned long long)count, what);
        }
        perf_sleep_ns(AWAIT_SLEEP_NS);
    }
}

void perf_serve_await_opened(struct perf_service *service, uint64_t count) {
    service_await(&service->opened, count, "have opened");
}

void perf_serve_await_closed(struct perf_service *service, uint64_t count) {
    service_await(&service->closed, count, "have closed");
}

void perf_serve_stop(struct perf *perf, struct perf_service *service) {
    perf_stop_all(perf, &service->listener, 1);
    weft_buf_unref(service->pattern);
    service->pattern = NULL;
}

uint32_t perf_serve_suite(void) {
    return strstr(weft_tls_library(), ", accelerated") != NULL ? 0 : PERF_PEER_CHACHA;
}
