/* SPDX-License-Identifier: MIT
 *
 * What the tests of the simulated network share: a bench is one simulator with one driver that the
 * test itself polls, and a source of buffers that is checked to be empty at the end. A watch is an
 * operation that records what comes of it.
 */
#ifndef WEFT_SIM_NET_BENCH_H
#define WEFT_SIM_NET_BENCH_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "sim_internal.h"

enum { BENCH_BUFFER_BYTES = 4096, BENCH_ACCEPTED_MAX = 32 };

#define S_NS UINT64_C(1000000000)

struct bench {
    weft_sim *sim;
    weft_env *env;
    const weft_env_io *io;
    void *driver;
    struct weft__core core;
    weft_io_host host;
    bool dry; /* take answers NULL */
};

struct watch {
    weft_io_op op; /* first: complete gets its address */
    struct bench *bench;
    weft_io_span span;
    uint32_t calls;
    int last;
    bool over;
    weft_address address;
    bool addressed;
    uint64_t bytes; /* received in all */
    unsigned char data[BENCH_BUFFER_BYTES];
    size_t data_size; /* of the last result */
    int accepted[BENCH_ACCEPTED_MAX];
    uint32_t accepted_count;
};

static inline weft_buf *bench_take(void *cookie) {
    struct bench *bench = cookie;
    weft_buf *buf = NULL;
    if (!bench->dry) {
        ck_assert_int_eq(weft__buf_create(&bench->core, BENCH_BUFFER_BYTES, &buf), 0);
    }
    return buf;
}

static inline void bench_open(struct bench *bench, const weft_sim_options *options) {
    memset(bench, 0, sizeof(*bench));
    ck_assert_int_eq(weft_sim_create(options, &bench->sim), 0);
    bench->env = weft_sim_env(bench->sim);
    bench->io = bench->env->io;
    bench->host = (weft_io_host){.cookie = bench, .take = bench_take, .ring_count = 16};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 64 << 20;
    ck_assert_int_eq(weft__core_init(&bench->core, &config, bench->env), 0);
    ck_assert_int_eq(bench->io->driver_create(bench->env, false, &bench->driver), 0);
    ck_assert_int_eq(bench->io->attach(bench->env, bench->driver, &bench->host), 0);
}

static inline void bench_seed(struct bench *bench, uint64_t seed) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT, .seed = seed};
    bench_open(bench, &options);
}

/* Returns the hash of the whole. */
static inline uint64_t bench_close(struct bench *bench) {
    bench->io->detach(bench->env, bench->driver);
    ck_assert_uint_eq(weft_load64_relaxed(&bench->core.buffers), 0);
    bench->io->driver_destroy(bench->env, bench->driver);
    weft__core_fini(&bench->core);
    uint64_t hash = weft_sim_hash(bench->sim);
    weft_sim_destroy(&bench->sim);
    return hash;
}

/* Polls and sleeps once. */
#define bench_turn(bench, until_ns)                                                                \
    do {                                                                                           \
        (void)(bench)->io->poll((bench)->env, (bench)->driver);                                    \
        (bench)->io->driver_park((bench)->env, (bench)->driver, until_ns);                         \
    } while (0)

/* Polls and sleeps until condition holds. */
#define bench_until(bench, condition)                                                              \
    do {                                                                                           \
        uint64_t until_ns_ = weft_sim_now_ns((bench)->sim) + 1000 * S_NS;                          \
        while ((void)(bench)->io->poll((bench)->env, (bench)->driver), !(condition)) {             \
            ck_assert_msg(weft_sim_now_ns((bench)->sim) < until_ns_, "never: %s", #condition);     \
            (bench)->io->driver_park((bench)->env, (bench)->driver, until_ns_);                    \
        }                                                                                          \
    } while (0)

static inline void bench_linger(struct bench *bench, uint64_t ns) {
    uint64_t until_ns = weft_sim_now_ns(bench->sim) + ns;
    while (weft_sim_now_ns(bench->sim) < until_ns) {
        bench_turn(bench, until_ns);
    }
    (void)bench->io->poll(bench->env, bench->driver);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static inline weft_address ipv4(uint32_t host, uint16_t port) {
    weft_address address = {.family = WEFT_FAMILY_IPV4, .port = port};
    for (uint32_t i = 0; i < 4; i++) {
        address.u.ip[i] = (unsigned char)(host >> (24 - 8 * i));
    }
    return address;
}

static inline weft_address unix_path(const char *path) {
    weft_address address = {.family = WEFT_FAMILY_UNIX};
    address.path_length = (uint32_t)strlen(path) + 1;
    memcpy(address.u.path, path, address.path_length);
    return address;
}

enum { HOST_HOME = 0x7f000001, HOST_ANY = 0, HOST_A = 0x0a000001, HOST_B = 0x0a000002 };

/* A descriptor, or why not. */
static inline int bench_socket(struct bench *bench, enum weft_io_socket_kind kind,
                               const weft_address *address, const weft_address *local) {
    weft_io_socket what = {.kind = kind, .address = address, .local = local, .backlog = 8};
    int fd = -1;
    int status = bench->io->open(bench->env, &what, &fd);
    return status < 0 ? status : fd;
}

/* ---- watches ------------------------------------------------------------------------------- */

/* A receive that found the ring empty goes on. */
static inline void watch_complete(weft_io_op *op, const weft_io_result *result) {
    struct watch *watch = (struct watch *)(void *)op;
    ck_assert(!watch->over);
    if (result->result == -ENOBUFS) {
        ck_assert(!result->more);
        ck_assert_int_eq(watch->bench->io->submit(watch->bench->env, watch->bench->driver, op), 0);
        return;
    }
    watch->calls++;
    watch->last = result->result;
    watch->over = !result->more;
    watch->addressed = result->address != NULL;
    if (result->address != NULL) {
        watch->address = *result->address;
    }
    if (op->kind == WEFT_IO_OP_ACCEPT && result->result >= 0) {
        ck_assert_uint_lt(watch->accepted_count, BENCH_ACCEPTED_MAX);
        watch->accepted[watch->accepted_count++] = result->result;
    }
    if (result->buf != NULL) {
        ck_assert_int_ge(result->result, 0);
        watch->data_size = (size_t)result->result;
        watch->bytes += watch->data_size;
        ck_assert_uint_le(result->offset + watch->data_size, weft_buf_size(result->buf));
        memcpy(watch->data, (unsigned char *)weft_buf_data(result->buf) + result->offset,
               watch->data_size);
        weft_buf_unref(result->buf);
    }
}

static inline void watch_submit(struct watch *watch) {
    watch->over = false;
    ck_assert_int_eq(watch->bench->io->submit(watch->bench->env, watch->bench->driver, &watch->op),
                     0);
}

static inline void watch_init(struct watch *watch, struct bench *bench, int fd,
                              enum weft_io_kind kind) {
    memset(watch, 0, sizeof(*watch));
    watch->bench = bench;
    watch->op.complete = watch_complete;
    watch->op.fd = fd;
    watch->op.kind = (uint16_t)kind;
}

static inline void watch_start(struct watch *watch, struct bench *bench, int fd,
                               enum weft_io_kind kind) {
    watch_init(watch, bench, fd, kind);
    watch_submit(watch);
}

static inline void watch_bytes(struct watch *watch, struct bench *bench, int fd,
                               enum weft_io_kind kind, weft_io_span span) {
    watch_init(watch, bench, fd, kind);
    watch->span = span;
    watch->op.spans = &watch->span;
    watch->op.span_count = 1;
}

static inline void watch_cancel(struct watch *watch) {
    watch->bench->io->cancel(watch->bench->env, watch->bench->driver, &watch->op);
}

/* ---- a connection -------------------------------------------------------------------------- */

struct pair {
    int listener;
    int client;
    int server;
};

/* Connects to address; the listener goes on to exist. */
static inline void pair_open(struct pair *pair, struct bench *bench, const weft_address *address,
                             const weft_address *local) {
    struct watch accept;
    struct watch connect;
    pair->listener = bench_socket(bench, WEFT_IO_LISTEN, address, NULL);
    ck_assert_int_ge(pair->listener, 0);
    pair->client = bench_socket(bench, WEFT_IO_STREAM, address, local);
    ck_assert_int_ge(pair->client, 0);
    watch_start(&accept, bench, pair->listener, WEFT_IO_OP_ACCEPT);
    watch_init(&connect, bench, pair->client, WEFT_IO_OP_CONNECT);
    connect.op.address = address;
    watch_submit(&connect);
    bench_until(bench, connect.over && accept.calls == 1);
    ck_assert_int_eq(connect.last, 0);
    ck_assert_int_ge(accept.last, 0);
    pair->server = accept.last;
    watch_cancel(&accept);
    bench_until(bench, accept.over);
    ck_assert_int_eq(accept.last, -ECANCELED);
}

static inline void pair_close(const struct pair *pair, struct bench *bench) {
    bench->io->close(bench->env, pair->client);
    bench->io->close(bench->env, pair->server);
    bench->io->close(bench->env, pair->listener);
}

#endif
