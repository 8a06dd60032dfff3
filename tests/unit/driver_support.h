/* SPDX-License-Identifier: MIT
 *
 * What the tests of the I/O drivers share. A bench is one driver with a source of buffers that can
 * run dry; it is checked when it stops: no buffer may be left. A watch is an operation that records
 * what comes of it. Each test runs in a child of its own, on one thread except where it says so.
 */
#ifndef WEFT_TESTS_UNIT_DRIVER_SUPPORT_H
#define WEFT_TESTS_UNIT_DRIVER_SUPPORT_H

#include "core/buf.h"
#include "io/epoll.h"
#include "io/uring.h"
#include "tests/unit/net_support.h"
#include "tests/unit/support.h"
#include <sys/socket.h>
#include <weft/address.h>
#include <weft/env.h>

enum { BUFFER_BYTES = 4096, RING_COUNT = 16, ACCEPTED_MAX = 64 };

struct bench {
    weft_env *env;
    const weft_env_io *io;
    void *driver;
    struct weft__core core;
    weft_io_host host;
    uint32_t budget; /* buffers that may be out at once */
};

struct watch {
    weft_io_op op; /* first: complete gets its address */
    struct bench *bench;
    void (*hook)(struct watch *watch, const weft_io_result *result);
    weft_io_span span;
    uint32_t calls;
    int last;
    bool over;
    bool again; /* submit it again when it is over for no reason of the socket */
    unsigned char *bytes;
    size_t byte_count;
    size_t byte_max;
    weft_address from;
    int accepted[ACCEPTED_MAX];
    uint32_t accepted_count;
};

static inline weft_buf *bench_take(void *cookie) {
    struct bench *bench = cookie;
    weft_buf *buf = NULL;
    if (weft_load64_relaxed(&bench->core.buffers) < bench->budget) {
        ck_assert_int_eq(weft__buf_create(&bench->core, BUFFER_BYTES, &buf), 0);
    }
    return buf;
}

/* A bench on the environment's driver; env is taken. */
static inline void bench_open(struct bench *bench, weft_env *env, bool want_fd) {
    memset(bench, 0, sizeof(*bench));
    bench->env = env;
    bench->io = env->io;
    bench->budget = UINT32_MAX;
    bench->host = (weft_io_host){.cookie = bench, .take = bench_take, .ring_count = RING_COUNT};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT};
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    config.arena_bytes = 64 << 20;
    ck_assert_int_eq(weft__core_init(&bench->core, &config, env), 0);
    ck_assert_int_eq(bench->io->driver_create(env, want_fd, &bench->driver), 0);
}

static inline void bench_attach(struct bench *bench) {
    ck_assert_int_eq(bench->io->attach(bench->env, bench->driver, &bench->host), 0);
}

static inline void bench_close(struct bench *bench) {
    bench->io->detach(bench->env, bench->driver);
    ck_assert_uint_eq(weft_load64_relaxed(&bench->core.buffers), 0);
    bench->io->driver_destroy(bench->env, bench->driver);
    weft__core_fini(&bench->core);
    weft_env_os_destroy(&bench->env);
}

static inline uint32_t bench_poll(struct bench *bench) {
    return bench->io->poll(bench->env, bench->driver);
}

static inline void bench_park(struct bench *bench, uint64_t deadline_ns) {
    bench->io->driver_park(bench->env, bench->driver, deadline_ns);
}

/* Polls and sleeps until condition holds. Something has to come all the time: a sleep of twenty
 * seconds means that it was slept through. */
#define bench_until(bench, condition)                                                              \
    do {                                                                                           \
        uint64_t until_ns_ = clock_ns() + 60 * S_NS;                                               \
        while (bench_poll(bench), !(condition)) {                                                  \
            uint64_t start_ns_ = clock_ns();                                                       \
            ck_assert_msg(start_ns_ < until_ns_, "never: %s", #condition);                         \
            bench_park(bench, start_ns_ + 20 * S_NS);                                              \
            ck_assert_msg(clock_ns() - start_ns_ < 19 * S_NS, "slept through: %s", #condition);    \
        }                                                                                          \
    } while (0)

/* Polls for a while. */
static inline void bench_linger(struct bench *bench, uint64_t ns) {
    uint64_t until_ns = clock_ns() + ns;
    do {
        bench_poll(bench);
        bench_park(bench, until_ns);
    } while (clock_ns() < until_ns);
    bench_poll(bench);
}

enum { DRIVERS = 2 };

/* Opens a bench on driver number, 0: io_uring. False: it cannot be had here, and it was said. */
static inline bool open_bench(struct bench *bench, int number, bool want_fd) {
    static const enum weft_io_driver drivers[DRIVERS] = {WEFT_IO_DRIVER_URING,
                                                         WEFT_IO_DRIVER_EPOLL};
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    const char *reason = NULL;
    int result = weft_env_os_io(env, drivers[number], &reason);
    if (result != 0) {
        ck_assert_int_eq(number, 0);
        weft_env_os_destroy(&env);
        skip_uring(result);
        return false;
    }
    bench_open(bench, env, want_fd);
    return true;
}

static inline bool start_bench(struct bench *bench, int number) {
    if (!open_bench(bench, number, false)) {
        return false;
    }
    bench_attach(bench);
    return true;
}

static inline weft_io_counts counts_of(struct bench *bench) {
    weft_io_counts counts;
    bench->io->counts(bench->env, bench->driver, &counts);
    return counts;
}

/* ---- watches ------------------------------------------------------------------------------- */

static inline void watch_append(struct watch *watch, const void *bytes, size_t count) {
    if (watch->byte_count + count > watch->byte_max) {
        watch->byte_max = (watch->byte_count + count) * 2;
        watch->bytes = realloc(watch->bytes, watch->byte_max);
        ck_assert_ptr_nonnull(watch->bytes);
    }
    if (count > 0) {
        memcpy(watch->bytes + watch->byte_count, bytes, count);
    }
    watch->byte_count += count;
}

static inline void watch_submit(struct watch *watch) {
    watch->over = false;
    ck_assert_int_eq(watch->bench->io->submit(watch->bench->env, watch->bench->driver, &watch->op),
                     0);
}

static inline void watch_complete(weft_io_op *op, const weft_io_result *result) {
    struct watch *watch = (struct watch *)(void *)op;
    ck_assert(!watch->over);
    watch->calls++;
    watch->last = result->result;
    watch->over = !result->more;
    if (result->buf != NULL) {
        ck_assert_int_ge(result->result, 0);
        size_t count = (size_t)result->result;
        ck_assert_uint_le(result->offset + count, weft_buf_size(result->buf));
        watch_append(watch, (unsigned char *)weft_buf_data(result->buf) + result->offset, count);
    } else if (op->kind == WEFT_IO_OP_RECEIVE) {
        ck_assert(result->result <= 0);
    }
    if (result->address != NULL) {
        watch->from = *result->address;
    }
    if (op->kind == WEFT_IO_OP_ACCEPT && result->result >= 0) {
        ck_assert_uint_lt(watch->accepted_count, ACCEPTED_MAX);
        watch->accepted[watch->accepted_count++] = result->result;
    }
    bool again = watch->again && watch->over && (result->result > 0 || result->result == -ENOBUFS);
    if (watch->hook != NULL) {
        watch->hook(watch, result);
    }
    weft_buf_unref(result->buf);
    if (again && watch->over) {
        watch_submit(watch);
    }
}

static inline void watch_start(struct watch *watch, struct bench *bench, enum weft_io_kind kind,
                               int fd) {
    *watch = (struct watch){
        .op = {.complete = watch_complete, .fd = fd, .kind = (uint16_t)kind},
        .bench = bench,
        .again = kind == WEFT_IO_OP_RECEIVE || kind == WEFT_IO_OP_RECEIVE_FROM,
    };
    if (kind != WEFT_IO_OP_SEND && kind != WEFT_IO_OP_CONNECT && kind != WEFT_IO_OP_SEND_TO &&
        kind != WEFT_IO_OP_READ && kind != WEFT_IO_OP_WRITE) {
        watch_submit(watch);
    }
}

static inline void watch_send(struct watch *watch, const void *data, size_t size) {
    watch->span = (weft_io_span){(void *)(uintptr_t)data, size};
    watch->op.spans = &watch->span;
    watch->op.span_count = 1;
    watch_submit(watch);
}

static inline void watch_cancel(struct watch *watch) {
    watch->bench->io->cancel(watch->bench->env, watch->bench->driver, &watch->op);
}

/* Ends it if it goes on, and drops what it recorded. */
static inline void watch_end(struct watch *watch) {
    if (!watch->over) {
        watch->again = false;
        watch_cancel(watch);
        bench_until(watch->bench, watch->over);
    }
    free(watch->bytes);
    watch->bytes = NULL;
}

/* ---- sockets ------------------------------------------------------------------------------- */

static inline void shut(struct bench *bench, int fd) {
    bench->io->close(bench->env, fd);
}

static inline int open_socket(struct bench *bench, enum weft_io_socket_kind kind,
                              const weft_address *address) {
    weft_io_socket what = {.kind = kind, .address = address, .backlog = 128};
    int fd = -1;
    ck_assert_int_eq(bench->io->open(bench->env, &what, &fd), 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* A listening or datagram socket at text; *ret_address: where it is. */
static inline int open_at(struct bench *bench, enum weft_io_socket_kind kind, const char *text,
                          weft_address *ret_address) {
    weft_address address;
    ck_assert_int_eq(weft_address_parse(text, &address), 0);
    int fd = open_socket(bench, kind, &address);
    ck_assert_int_eq(bench->io->local(bench->env, fd, ret_address), 0);
    return fd;
}

static inline void open_pair(int type, int fds[2]) {
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* ---- the basic case ------------------------------------------------------------------------ */

enum { ECHO_ROUNDS = 20, ECHO_BYTES = 3000 };

struct echo {
    struct watch receive; /* first: the hook gets its address */
    struct watch send;
    unsigned char reply[ECHO_ROUNDS * ECHO_BYTES];
    size_t replied;
};

static inline void echo_more(struct echo *echo) {
    size_t size = echo->receive.byte_count - echo->replied;
    if (size > 0 && echo->send.over) {
        memcpy(echo->reply, echo->receive.bytes + echo->replied, size);
        echo->replied += size;
        watch_send(&echo->send, echo->reply, size);
    }
}

static inline void echo_received(struct watch *watch, const weft_io_result *result) {
    ck_assert_int_ge(result->result, 0);
    echo_more((struct echo *)(void *)watch);
}

static inline void echo_sent(struct watch *watch, const weft_io_result *result) {
    ck_assert_int_eq(result->result, watch->span.size);
    echo_more(weft_container_of(watch, struct echo, send));
}

/* Connects through a listener at text, and sends and gets back some rounds of bytes. */
static inline void run_echo(struct bench *bench, const char *text) {
    weft_address address;
    int listener = open_at(bench, WEFT_IO_LISTEN, text, &address);
    struct watch accept;
    watch_start(&accept, bench, WEFT_IO_OP_ACCEPT, listener);
    int fd = open_socket(bench, WEFT_IO_STREAM, &address);
    struct watch connect;
    watch_start(&connect, bench, WEFT_IO_OP_CONNECT, fd);
    connect.op.address = &address;
    watch_submit(&connect);
    bench_until(bench, connect.over && accept.accepted_count == 1);
    ck_assert_int_eq(connect.last, 0);
    struct echo *echo = calloc(1, sizeof(*echo));
    watch_start(&echo->send, bench, WEFT_IO_OP_SEND, accept.accepted[0]);
    echo->send.over = true;
    watch_start(&echo->receive, bench, WEFT_IO_OP_RECEIVE, accept.accepted[0]);
    echo->receive.hook = echo_received;
    echo->send.hook = echo_sent;
    struct watch receive;
    watch_start(&receive, bench, WEFT_IO_OP_RECEIVE, fd);
    struct watch send;
    watch_start(&send, bench, WEFT_IO_OP_SEND, fd);
    unsigned char bytes[ECHO_BYTES];
    for (size_t i = 0; i < ECHO_ROUNDS; i++) {
        memset(bytes, (int)('a' + i), sizeof(bytes));
        watch_send(&send, bytes, sizeof(bytes));
        bench_until(bench, send.over && receive.byte_count == (i + 1) * ECHO_BYTES);
        ck_assert_int_eq(send.last, ECHO_BYTES);
        ck_assert_mem_eq(receive.bytes + i * ECHO_BYTES, bytes, ECHO_BYTES);
    }
    ck_assert_int_eq(bench->io->shutdown(bench->env, fd, false), 0);
    bench_until(bench, echo->receive.over && echo->receive.last == 0);
    watch_end(&echo->receive);
    watch_end(&receive);
    watch_end(&accept);
    shut(bench, fd);
    shut(bench, accept.accepted[0]);
    shut(bench, listener);
    if (address.family == WEFT_FAMILY_UNIX) {
        bench->io->unlink(bench->env, &address);
    }
    free(echo);
}

#endif
