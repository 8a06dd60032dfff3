/* SPDX-License-Identifier: MIT
 *
 * What the tests of streams share. A net is a rig on one of the drivers that is checked when it
 * stops: no connection, no buffer, no descriptor may be left. A line is one connection's actor: it
 * records its events and checks the order they may come in and every byte; like a puppet it does
 * what the test asks for in its own context (act). A gate is what a listener gives its connections:
 * the lines they take, one after the other. The far end is a plain blocking socket of the test's
 * own thread, or another line.
 *
 * Bytes are a pattern of their position, so a receiver knows what must come whatever the pieces.
 */
#ifndef WEFT_TESTS_UNIT_STREAM_SUPPORT_H
#define WEFT_TESTS_UNIT_STREAM_SUPPORT_H

#include "net_support.h"
#include "support.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <weft/stream.h>

enum {
    NET_DRIVERS = 2,
    NET_AUTO = 2, /* as a driver's number: whichever there is */
    EVENT_MAX = 8,
    ORDER_MAX = 64,
    LINES_MAX = 256,
    FAR_SECONDS = 20,
    PIECE_BYTES = 65536,
};

/* ---- bytes --------------------------------------------------------------------------------- */

static inline unsigned char pattern_at(uint64_t position) {
    return (unsigned char)((position * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static inline void pattern_fill(void *data, uint64_t position, size_t size) {
    unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_at(position + i);
    }
}

static inline void pattern_check(const void *data, uint64_t position, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        if (weft_unlikely(bytes[i] != pattern_at(position + i))) {
            ck_abort_msg("byte %llu is wrong", (unsigned long long)(position + i));
        }
    }
}

/* ---- lines --------------------------------------------------------------------------------- */

struct line;
/* What a line does with a message, after it was recorded. */
typedef int (*line_fn)(weft_ctx *ctx, struct line *line, weft_msg *msg);

struct line {
    pthread_mutex_t lock;
    /* set by the test before */
    line_fn init; /* msg is NULL; its result is init's */
    line_fn handler;
    bool any_bytes; /* they are no pattern */
    void *user;
    uint64_t number; /* for the handlers */
    /* its actor only */
    uint64_t written; /* where the pattern of what it writes is */
    /* under lock */
    weft_pid pid;
    weft_pid parent;
    uint32_t scheduler;
    uint32_t inits;
    uint32_t ends;
    int reason;
    uint32_t events[EVENT_MAX];
    unsigned char order[ORDER_MAX]; /* events; DATA in a row as one */
    uint32_t order_count;
    int status; /* of CLOSED */
    uint64_t bytes;
    uint64_t open_ns;
    uint64_t closed_ns;
    unsigned char head[SEEN_BYTES]; /* the first bytes */
};

/* What the lines of one listener share; the argument of its connections. */
struct gate {
    struct line lines[LINES_MAX];
    struct line model; /* what the test sets in all of them */
    weft_atomic_u32 count;
};

static inline void line_enter(struct line *line, weft_ctx *ctx) {
    pthread_mutex_lock(&line->lock);
    line->pid = weft_self(ctx);
    line->parent = weft_parent(ctx);
    line->scheduler = weft_scheduler_of(ctx);
    line->inits++;
    ck_assert_uint_eq(line->inits, 1);
    pthread_mutex_unlock(&line->lock);
}

static inline int line_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct line *line = NULL;
    if (arg_size == sizeof(struct gate *)) { /* accepted */
        struct gate *gate;
        memcpy(&gate, arg, sizeof(gate));
        uint32_t number = weft_add32_acq_rel(&gate->count, 1);
        ck_assert_uint_lt(number, LINES_MAX);
        line = &gate->lines[number];
    } else { /* connecting: a struct line * and a byte that tells them apart */
        ck_assert_uint_eq(arg_size, sizeof(struct line *) + 1);
        memcpy(&line, arg, sizeof(line));
    }
    memcpy(state, &line, sizeof(line));
    line_enter(line, ctx);
    return line->init != NULL ? line->init(ctx, line, NULL) : WEFT_CONTINUE;
}

/* What may follow what: OPEN once and before all others but CLOSED, nothing but WRITABLE and CLOSED
 * after END, nothing after CLOSED. */
static inline void line_check_order(const struct line *line, uint32_t tag) {
    ck_assert_uint_eq(line->events[WEFT_IO_CLOSED], 0);
    switch (tag) {
    case WEFT_IO_OPEN:
        ck_assert_uint_eq(line->order_count, 0);
        break;
    case WEFT_IO_DATA:
    case WEFT_IO_END:
        ck_assert_uint_eq(line->events[WEFT_IO_OPEN], 1);
        ck_assert_uint_eq(line->events[WEFT_IO_END], 0);
        break;
    case WEFT_IO_WRITABLE:
    case WEFT_IO_CLOSED:
        break;
    default:
        ck_abort_msg("event %u", tag);
    }
}

static inline void line_record(struct line *line, const weft_msg *msg) {
    uint32_t tag = weft_msg_tag(msg);
    size_t size = weft_msg_size(msg);
    pthread_mutex_lock(&line->lock);
    line_check_order(line, tag);
    line->events[tag]++;
    bool again = tag == WEFT_IO_DATA && line->order_count != 0 &&
                 line->order[line->order_count - 1] == WEFT_IO_DATA;
    if (!again && line->order_count < ORDER_MAX) {
        line->order[line->order_count++] = (unsigned char)tag;
    }
    if (tag == WEFT_IO_DATA) {
        ck_assert_uint_gt(size, 0);
        if (line->bytes < SEEN_BYTES) {
            size_t room = SEEN_BYTES - (size_t)line->bytes;
            memcpy(line->head + line->bytes, weft_msg_data(msg), size < room ? size : room);
        }
        if (!line->any_bytes) {
            pattern_check(weft_msg_data(msg), line->bytes, size);
        }
        line->bytes += size;
    } else if (tag == WEFT_IO_CLOSED) {
        line->status = weft_msg_status(msg);
        line->closed_ns = clock_ns();
    } else if (tag == WEFT_IO_OPEN) {
        line->open_ns = clock_ns();
    }
    pthread_mutex_unlock(&line->lock);
}

static inline int line_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct line *line;
    memcpy(&line, state, sizeof(line));
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == TAG_ACT) {
        struct job job;
        memcpy(&job, weft_msg_data(msg), sizeof(job));
        job.fn(ctx, job.arg);
        weft_msg *request = weft_current(ctx);
        if (request != NULL) {
            (void)weft_reply(ctx, &request, TAG_ACT, NULL, 0);
        }
        return WEFT_CONTINUE;
    }
    if (weft_msg_kind(msg) == WEFT_MSG_IO) {
        line_record(line, msg);
    }
    return line->handler != NULL ? line->handler(ctx, line, msg) : WEFT_CONTINUE;
}

static inline void line_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    struct line *line;
    memcpy(&line, state, sizeof(line));
    pthread_mutex_lock(&line->lock);
    line->ends++;
    line->reason = reason;
    pthread_mutex_unlock(&line->lock);
}

/* A consistent copy of what is under lock; the rest is zero. */
static inline struct line line_now(struct line *line) {
    struct line now = {.user = NULL};
    pthread_mutex_lock(&line->lock);
    now.pid = line->pid;
    now.parent = line->parent;
    now.scheduler = line->scheduler;
    now.inits = line->inits;
    now.ends = line->ends;
    now.reason = line->reason;
    memcpy(now.events, line->events, sizeof(now.events));
    memcpy(now.order, line->order, sizeof(now.order));
    now.order_count = line->order_count;
    now.status = line->status;
    now.bytes = line->bytes;
    now.open_ns = line->open_ns;
    now.closed_ns = line->closed_ns;
    memcpy(now.head, line->head, sizeof(now.head));
    pthread_mutex_unlock(&line->lock);
    return now;
}

static inline uint32_t line_events(struct line *line, uint32_t tag) {
    return line_now(line).events[tag];
}

static inline void line_make(struct line *line) {
    *line = (struct line){.lock = PTHREAD_MUTEX_INITIALIZER};
}

/* A gate whose lines are all as model, of which the test sets init, handler, user and any_bytes. */
static inline struct gate *gate_make(const struct line *model) {
    struct gate *gate = calloc(1, sizeof(*gate));
    ck_assert_ptr_nonnull(gate);
    for (uint32_t i = 0; i < LINES_MAX; i++) {
        if (model != NULL) {
            gate->lines[i] = *model;
        }
        pthread_mutex_init(&gate->lines[i].lock, NULL);
    }
    return gate;
}

static inline uint32_t gate_count(struct gate *gate) {
    return weft_load32_acquire(&gate->count);
}

/* Waits for the line's actor to have ended. */
static inline struct line line_over(struct line *line) {
    eventually(line_now(line).ends == 1);
    return line_now(line);
}

/* ... after CLOSED with status. */
static inline struct line line_closed(struct line *line, int status) {
    eventually(line_now(line).ends == 1);
    struct line now = line_now(line);
    ck_assert_uint_eq(now.events[WEFT_IO_CLOSED], 1);
    ck_assert_msg(now.status == status, "closed with %d, not %d", now.status, status);
    ck_assert_int_eq(now.reason, 0);
    return now;
}

static inline struct line line_open(struct line *line) {
    eventually(line_now(line).events[WEFT_IO_OPEN] == 1);
    return line_now(line);
}

/* ---- handlers ------------------------------------------------------------------------------ */

/* Sends back what comes; above the high-water mark a reader is stopped by the stream. */
static inline int line_echo(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        int result = weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
        ck_assert(result >= 0 || result == -EPIPE || result == -ENOTCONN);
    }
    return WEFT_CONTINUE;
}

/* Writes the pattern up to line->number bytes, as fast as the stream takes it, in pieces of changing
 * sizes; then ends its side. */
static inline void line_pump(weft_ctx *ctx, struct line *line) {
    static const size_t sizes[] = {1, 100, 1023, 16384, 5, 40000, 977, 16385, 64, 3000};
    unsigned char piece[PIECE_BYTES];
    while (line->written < line->number) {
        size_t size = sizes[(line->written * 7 + 3) % 10];
        uint64_t left = line->number - line->written;
        size = left < size ? (size_t)left : size;
        pattern_fill(piece, line->written, size);
        int result = weft_stream_write(ctx, piece, size);
        ck_assert_int_ge(result, 0);
        line->written += size;
        if (result == WEFT_STREAM_FULL && line->written < line->number) {
            return;
        }
    }
    ck_assert_int_eq(weft_stream_end(ctx), 0);
}

static inline int line_pumps(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_OPEN || tag == WEFT_IO_WRITABLE) {
        line_pump(ctx, line);
    }
    return WEFT_CONTINUE;
}

/* Writes before there is a connection. */
static inline int line_greets(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    (void)msg;
    ck_assert_int_eq(weft_stream_write(ctx, "hello", 5), 0);
    return WEFT_CONTINUE;
}

/* Ends when it is told to. */
static inline int line_ends(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)ctx;
    (void)line;
    return weft_msg_kind(msg) == WEFT_MSG_USER ? WEFT_STOP : WEFT_CONTINUE;
}

/* ---- nets ---------------------------------------------------------------------------------- */

struct net {
    struct rig rig;
    const weft_type *type;
    uint32_t fds;
};

/* Descriptors of this process. */
static inline uint32_t count_fds(void) {
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    uint32_t count = 0;
    while (readdir(folder) != NULL) { /* bounded by the descriptors */
        count++;
    }
    closedir(folder);
    return count;
}

static inline weft_type_def line_def(void) {
    return (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = "line",
        .state_size = sizeof(struct line *),
        .init = line_init,
        .receive = line_receive,
        .terminate = line_terminate,
    };
}

static inline weft_config net_config(uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.arena_bytes = UINT64_C(1) << 30;
    return config;
}

/* A runtime on driver number, 0: io_uring. False: that cannot be had here, and it was said. */
static inline bool net_create(struct net *net, int number, weft_config config) {
    static const uint32_t drivers[] = {WEFT_IO_DRIVER_URING, WEFT_IO_DRIVER_EPOLL,
                                       WEFT_IO_DRIVER_AUTO};
    *net = (struct net){.fds = count_fds()};
    config.io_driver = drivers[number];
    int result = weft_runtime_create(&config, &net->rig.runtime);
    if (result != 0) {
        ck_assert_int_eq(number, 0);
        skip_uring(result);
        return false;
    }
    weft_type_def puppet = puppet_def("puppet");
    net->rig.puppet = rig_type(&net->rig, &puppet);
    weft_type_def line = line_def();
    net->type = rig_type(&net->rig, &line);
    return true;
}

static inline bool net_start_with(struct net *net, int number, const weft_config *config) {
    if (!net_create(net, number, *config)) {
        return false;
    }
    ck_assert_int_eq(weft_runtime_start(net->rig.runtime), 0);
    return true;
}

static inline bool net_start(struct net *net, int number, uint32_t schedulers) {
    weft_config config = net_config(schedulers);
    return net_start_with(net, number, &config);
}

/* Stops it and checks that nothing is left. */
static inline void net_stop(struct net *net) {
    ck_assert_int_eq(weft_runtime_stop(net->rig.runtime, 30 * S_NS), 0);
    ck_assert_uint_eq(rig_gauges(&net->rig).io_open, 0);
    rig_stop(&net->rig);
    ck_assert_uint_eq(count_fds(), net->fds);
}

static inline weft_listen_options listen_options(struct net *net, struct gate *const *gate) {
    return (weft_listen_options){.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                 .address = "127.0.0.1:0",
                                 .type = net->type,
                                 .arg = gate,
                                 .arg_size = sizeof(*gate)};
}

static inline uint16_t net_listen_with(struct net *net, const weft_listen_options *options,
                                       weft_pid *ret_pid) {
    weft_address address;
    ck_assert_int_eq(weft_listen(net->rig.runtime, options, ret_pid, &address), 0);
    ck_assert(address.family == WEFT_FAMILY_UNIX || address.port != 0);
    return address.port;
}

/* Listens on the loopback; its connections take the gate's lines. Returns the port. */
static inline uint16_t net_listen(struct net *net, struct gate *gate,
                                  const weft_stream_options *stream) {
    weft_listen_options options = listen_options(net, &gate);
    if (stream != NULL) {
        options.stream = *stream;
    }
    return net_listen_with(net, &options, NULL);
}

/* What a connecting line gets as its argument. */
struct line_arg {
    unsigned char bytes[sizeof(struct line *) + 1];
};

static inline struct line_arg line_arg(struct line *line) {
    struct line_arg arg = {{0}};
    memcpy(arg.bytes, &line, sizeof(line));
    return arg;
}

static inline weft_connect_options connect_options(struct net *net, const char *address) {
    return (weft_connect_options){
        .struct_size = WEFT_CONNECT_OPTIONS_INIT, .address = address, .type = net->type};
}

/* Connects line, from outside. */
static inline weft_pid net_connect_with(struct net *net, weft_connect_options options,
                                        struct line *line) {
    struct line_arg arg = line_arg(line);
    options.arg = &arg;
    options.arg_size = sizeof(arg.bytes);
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_connect(net->rig.runtime, &options, &pid), 0);
    ck_assert(!weft_pid_is_none(pid));
    return pid;
}

static inline weft_pid net_connect(struct net *net, uint16_t port, struct line *line) {
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    return net_connect_with(net, connect_options(net, address), line);
}

/* Runs fn in the line's actor. False: the line has ended before. */
static inline bool line_act(struct net *net, struct line *line, job_fn fn, void *arg) {
    eventually(line_now(line).inits == 1);
    struct job job = {.fn = fn, .arg = arg};
    weft_msg *reply = NULL;
    int result = weft_runtime_call(net->rig.runtime, line_now(line).pid, TAG_ACT, &job, sizeof(job),
                                   60 * S_NS, &reply);
    if (result != 0) {
        return false;
    }
    weft_runtime_msg_release(net->rig.runtime, &reply);
    return true;
}

/* Tells a line to end, and waits until it has. */
static inline void line_tell(struct net *net, struct line *line) {
    eventually(line_now(line).inits == 1);
    ck_assert_int_eq(weft_runtime_send(net->rig.runtime, line_now(line).pid, 1, NULL, 0), 0);
    (void)line_over(line);
}

/* What a line's actor does on request: arg is where the result goes. */
static inline void do_close(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_close(ctx);
}

static inline void do_end(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_end(ctx);
}

static inline void do_abort(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_abort(ctx);
}

static inline void do_inspect(weft_ctx *ctx, void *arg) {
    weft_stream_info *info = arg;
    info->struct_size = WEFT_STREAM_INFO_INIT;
    ck_assert_int_eq(weft_stream_inspect(ctx, info), 0);
}

static inline void do_pump(weft_ctx *ctx, void *arg) {
    line_pump(ctx, arg);
}

static inline void line_do(struct net *net, struct line *line, job_fn fn) {
    int result = -1;
    ck_assert(line_act(net, line, fn, &result));
    ck_assert_int_eq(result, 0);
}

/* ---- the far end --------------------------------------------------------------------------- */

static inline struct sockaddr_in far_address(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* It never waits for ever: a read or a write that takes so long fails the test. */
static inline void far_patience(int fd) {
    struct timeval patience = {.tv_sec = FAR_SECONDS};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
}

/* A small buffer makes a slow reader one that is noticed. */
static inline int far_open(int receive_bytes) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    far_patience(fd);
    if (receive_bytes != 0) {
        ck_assert_int_eq(
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)), 0);
    }
    return fd;
}

/* connect, whatever interrupts it: 0 or -errno. */
static inline int far_join(int fd, const void *address, socklen_t size) {
    bool interrupted = false;
    while (connect(fd, address, size) != 0) { /* bounded by the interruptions */
        if (errno == EISCONN || (interrupted && errno == ECONNRESET)) {
            return 0; /* it went on after one, and may be closed by now */
        }
        if (errno != EINTR && errno != EALREADY) {
            return -errno;
        }
        interrupted = true;
        sleep_ns(100000);
    }
    return 0;
}

static inline void far_dial(int fd, uint16_t port) {
    struct sockaddr_in address = far_address(port);
    int result = far_join(fd, &address, sizeof(address));
    ck_assert_msg(result == 0, "connect: %s", strerror(-result));
}

static inline int far_connect(uint16_t port) {
    int fd = far_open(0);
    far_dial(fd, port);
    return fd;
}

static inline int far_listen(int backlog, uint16_t *ret_port) {
    int fd = far_open(0);
    struct sockaddr_in address = far_address(0);
    socklen_t size = sizeof(address);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline bool far_connected(int fd) {
    struct sockaddr_in peer;
    socklen_t size = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
}

/* A listener that accepts nobody, and whose queue is full: the kernel answers no further connection. */
struct silent {
    int fd;
    uint16_t port;
    int fillers[4];
};

static inline void silent_make(struct silent *silent) {
    silent->fd = far_listen(0, &silent->port);
    struct sockaddr_in address = far_address(silent->port);
    for (uint32_t i = 0; i < 4; i++) {
        silent->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(silent->fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
    eventually(far_connected(silent->fillers[0])); /* it fills the queue */
    sleep_ns(20 * MS_NS);
}

static inline void silent_end(struct silent *silent) {
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(close(silent->fillers[i]), 0);
    }
    ck_assert_int_eq(close(silent->fd), 0);
}

static inline int far_accept(int listener) {
    int fd;
    do { /* bounded by the signals */
        fd = accept(listener, NULL, NULL);
    } while (fd < 0 && errno == EINTR);
    ck_assert_int_ge(fd, 0);
    far_patience(fd);
    return fd;
}

/* recv and send, whatever interrupts them: a ring that was closed may do so, too. */
static inline ssize_t far_recv(int fd, void *data, size_t size) {
    ssize_t done;
    do { /* bounded by the interruptions */
        done = recv(fd, data, size, 0);
    } while (done < 0 && errno == EINTR);
    return done;
}

static inline ssize_t far_send(int fd, const void *data, size_t size) {
    ssize_t done;
    do { /* bounded by the interruptions */
        done = send(fd, data, size, MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done;
}

/* Writes the pattern from position on. */
static inline void far_write(int fd, uint64_t position, size_t size) {
    unsigned char piece[PIECE_BYTES];
    while (size > 0) {
        size_t part = size < sizeof(piece) ? size : sizeof(piece);
        pattern_fill(piece, position, part);
        ssize_t done = far_send(fd, piece, part);
        ck_assert_msg(done > 0, "send: %s", strerror(errno));
        position += (uint64_t)done;
        size -= (size_t)done;
    }
}

/* Reads the pattern from position on. */
static inline void far_read(int fd, uint64_t position, size_t size) {
    unsigned char piece[PIECE_BYTES];
    while (size > 0) {
        ssize_t done = far_recv(fd, piece, size < sizeof(piece) ? size : sizeof(piece));
        ck_assert_msg(done > 0, "recv at %llu: %s", (unsigned long long)position,
                      done == 0 ? "end" : strerror(errno));
        pattern_check(piece, position, (size_t)done);
        position += (uint64_t)done;
        size -= (size_t)done;
    }
}

/* Reads until the end: bytes read, and in *ret_error 0 for an orderly one. */
static inline uint64_t far_drain(int fd, uint64_t position, int *ret_error) {
    unsigned char piece[PIECE_BYTES];
    uint64_t count = 0;
    *ret_error = 0;
    for (;;) { /* until the end, or FAR_SECONDS without a byte */
        ssize_t done = far_recv(fd, piece, sizeof(piece));
        if (done <= 0) {
            ck_assert_msg(done == 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
            *ret_error = done == 0 ? 0 : errno;
            return count;
        }
        pattern_check(piece, position + count, (size_t)done);
        count += (uint64_t)done;
    }
}

/* Nothing more comes but an orderly end. */
static inline void far_end(int fd) {
    int error;
    ck_assert_uint_eq(far_drain(fd, 0, &error), 0);
    ck_assert_int_eq(error, 0);
}

static inline void far_reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    ck_assert_int_eq(close(fd), 0);
}

/* Ends the sending side, if it still stands. */
static inline void far_shut(int fd) {
    ck_assert(shutdown(fd, SHUT_WR) == 0 || errno == ENOTCONN);
}

#endif
