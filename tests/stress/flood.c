/* SPDX-License-Identifier: MIT
 *
 * The flood program: twice as many connections as a listener takes, and then resets at every stage
 * of a connection's life. Those that are in must answer, the others must be refused, memory must
 * stay in bounds and everything must be gone in the end.
 *
 *   flood [uring | epoll] [connections]
 *
 * Prints one line for each part; a broken rule ends the program with a line that names it.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

enum {
    CONNECTIONS = 10000,
    PER_SOURCE = 4000, /* connections from one address of the loopback */
    SPARE_FDS = 200,
    THREADS = 4,
    RESETS = 1500, /* of each thread */
    WRITE_BYTES = 1 << 20,
    BYTES_EACH = 16384, /* what an idle connection may cost */
};
#define S_NS UINT64_C(1000000000)

#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "flood.c:%d: %s: ", __LINE__, #condition);                             \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            exit(EXIT_FAILURE);                                                                    \
        }                                                                                          \
    } while (0)

struct flood {
    weft_runtime *runtime;
    const weft_type *echo;
    const weft_type *writer;
    uint32_t driver;
    uint32_t count;
};

/* ---- the server -------------------------------------------------------------------------------- */

static int echo_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        int result = weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
        REQUIRE(result >= 0 || result == -EPIPE, "write answers %d", result);
    }
    return WEFT_CONTINUE;
}

/* Writes a megabyte as soon as it can, and another one for whatever it is sent. */
static int writer_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_OPEN || tag == WEFT_IO_DATA) {
        static const char zeroes[65536];
        for (uint32_t done = 0; done < WRITE_BYTES; done += sizeof(zeroes)) {
            int result = weft_stream_write(ctx, zeroes, sizeof(zeroes));
            REQUIRE(result >= 0 || result == -EPIPE || result == -ENOBUFS, "write answers %d",
                    result);
        }
    }
    return WEFT_CONTINUE;
}

static weft_stats stats_of(const struct flood *flood) {
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    REQUIRE(weft_stats_read(flood->runtime, WEFT_STATS_ALL, &stats) == 0, "stats");
    return stats;
}

static weft_gauges gauges_of(const struct flood *flood) {
    weft_gauges gauges = {.struct_size = WEFT_GAUGES_INIT};
    REQUIRE(weft_gauges_read(flood->runtime, &gauges) == 0, "gauges");
    return gauges;
}

static uint64_t memory_of(const struct flood *flood) {
    weft_gauges gauges = gauges_of(flood);
    return gauges.heap_bytes + gauges.arena_bytes + gauges.slot_bytes;
}

static const weft_type *make_type(struct flood *flood, const char *name, weft_receive_fn receive) {
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = name, .state_size = 8, .receive = receive};
    const weft_type *type = NULL;
    REQUIRE(weft_type_register(flood->runtime, &def, &type) == 0, "type %s", name);
    return type;
}

/* False: there is no such driver here. */
static bool server_start(struct flood *flood) {
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT, .schedulers = 2, .io_driver = flood->driver};
    int result = weft_runtime_create(&config, &flood->runtime);
    if (result != 0 && flood->driver == WEFT_IO_DRIVER_URING) {
        return false;
    }
    REQUIRE(result == 0, "%s", weft_strerror(result));
    flood->echo = make_type(flood, "echo", echo_receive);
    flood->writer = make_type(flood, "writer", writer_receive);
    REQUIRE(weft_runtime_start(flood->runtime) == 0, "start");
    return true;
}

static void server_stop(struct flood *flood) {
    REQUIRE(weft_runtime_stop(flood->runtime, 10 * S_NS) == 0, "stop");
    weft_gauges gauges = gauges_of(flood);
    REQUIRE(gauges.actors == 0 && gauges.messages == 0 && gauges.buffers == 0 &&
                gauges.io_open == 0,
            "something is left");
    REQUIRE(weft_runtime_destroy(&flood->runtime) == 0, "destroy");
}

static uint16_t server_listen(struct flood *flood, const weft_type *type, uint32_t max) {
    weft_listen_options options = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                   .address = "127.0.0.1:0",
                                   .type = type,
                                   .connections_max = max,
                                   .backlog = 4096};
    weft_address address;
    int result = weft_listen(flood->runtime, &options, NULL, &address);
    REQUIRE(result == 0, "%s", weft_strerror(result));
    return address.port;
}

/* ---- the clients ------------------------------------------------------------------------------- */

static void nap(uint64_t ns) {
    struct timespec wait = {.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
    (void)nanosleep(&wait, NULL); /* shorter does no harm */
}

static uint64_t clock_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S_NS + (uint64_t)now.tv_nsec;
}

static int client_connect(uint16_t port, uint32_t number) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0, "socket: %s", strerror(errno));
    struct timeval patience = {.tv_sec = 20};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number / PER_SOURCE);
    int late = 1; /* the port is chosen when it connects: there are enough then */
    (void)setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &late, sizeof(late));
    REQUIRE(bind(fd, (struct sockaddr *)&source, sizeof(source)) == 0, "%s", strerror(errno));
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (connect(fd, (struct sockaddr *)&target, sizeof(target)) != 0 && errno != EISCONN) {
        if (errno == ECONNRESET) { /* refused before it was noticed */
            return fd;
        }
        REQUIRE(errno == EINTR || errno == EALREADY, "connect: %s", strerror(errno));
    }
    return fd;
}

static void client_reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(fd);
}

/* True: it answers; false: it was refused. */
static bool client_answers(int fd, uint32_t number) {
    unsigned char bytes[16];
    memset(bytes, (int)number, sizeof(bytes));
    if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes)) {
        return false;
    }
    unsigned char answer[16];
    ssize_t size = recv(fd, answer, sizeof(answer), MSG_WAITALL);
    if (size < 0 || size == 0) {
        REQUIRE(size == 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
        return false;
    }
    REQUIRE(size == (ssize_t)sizeof(answer) && memcmp(answer, bytes, sizeof(answer)) == 0,
            "a wrong answer to %u", number);
    return true;
}

/* ---- too many ---------------------------------------------------------------------------------- */

static void wait_settled(const struct flood *flood, uint64_t attempts) {
    uint64_t until_ns = clock_ns() + 20 * S_NS;
    for (;;) { /* until then */
        weft_stats stats = stats_of(flood);
        if (stats.io_accepts + stats.io_refused == attempts) {
            return;
        }
        REQUIRE(clock_ns() < until_ns, "accepts %llu, refused %llu",
                (unsigned long long)stats.io_accepts, (unsigned long long)stats.io_refused);
        nap(S_NS / 1000);
    }
}

static void wait_open(const struct flood *flood, uint32_t open) {
    uint64_t until_ns = clock_ns() + 20 * S_NS;
    while (gauges_of(flood).io_open != open) {
        REQUIRE(clock_ns() < until_ns, "%u are open, not %u", gauges_of(flood).io_open, open);
        nap(S_NS / 1000);
    }
}

static void run_too_many(struct flood *flood) {
    uint64_t start_ns = clock_ns();
    uint32_t attempts = 2 * flood->count;
    uint16_t port = server_listen(flood, flood->echo, flood->count);
    int *fds = calloc(attempts, sizeof(*fds));
    REQUIRE(fds != NULL, "memory");
    uint64_t before = memory_of(flood);
    for (uint32_t i = 0; i < attempts; i++) {
        fds[i] = client_connect(port, i);
    }
    wait_settled(flood, attempts);
    uint64_t idle = memory_of(flood) - before;
    REQUIRE(stats_of(flood).io_accepts == flood->count, "accepted");
    REQUIRE(idle <= (uint64_t)flood->count * BYTES_EACH, "%llu bytes each",
            (unsigned long long)(idle / flood->count));
    uint32_t live = 0;
    for (uint32_t i = 0; i < attempts; i++) {
        live += client_answers(fds[i], i) ? 1 : 0;
    }
    REQUIRE(live == flood->count, "%u answer", live);
    uint64_t used = memory_of(flood) - before;
    for (uint32_t i = 0; i < attempts; i++) {
        REQUIRE(close(fds[i]) == 0, "close");
    }
    wait_open(flood, 1);
    printf("%u attempts, %u live: %llu bytes each idle, %llu after an answer; %llu ms\n", attempts,
           live, (unsigned long long)(idle / flood->count),
           (unsigned long long)(used / flood->count),
           (unsigned long long)((clock_ns() - start_ns) / 1000000));
    free(fds);
}

/* ---- resets ------------------------------------------------------------------------------------ */

struct resetter {
    pthread_t thread;
    uint16_t echo;
    uint16_t writer;
    uint32_t number;
};

/* One connection that is reset at stage. */
static void reset_at(const struct resetter *resetter, uint32_t stage, uint32_t number) {
    static const char bytes[50000];
    char answer[4096];
    bool writes = stage >= 4;
    int fd = client_connect(writes ? resetter->writer : resetter->echo, number % 1000);
    switch (stage) {
    case 0: /* before it was accepted, most likely */
        break;
    case 1:
        nap(200000);
        break;
    case 2: /* half of what it had to say */
        (void)send(fd, bytes, sizeof(bytes) / 2, MSG_NOSIGNAL);
        break;
    case 3: /* its echo is under way */
        (void)send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        (void)recv(fd, answer, sizeof(answer), 0);
        break;
    case 4: /* a megabyte is on its way */
        (void)recv(fd, answer, sizeof(answer), 0);
        break;
    default: /* two, and it is read slowly */
        (void)send(fd, bytes, 1, MSG_NOSIGNAL);
        (void)recv(fd, answer, 1 + number % sizeof(answer), 0);
        nap(100000);
        break;
    }
    client_reset(fd);
}

static void *resetter_run(void *arg) {
    const struct resetter *resetter = arg;
    for (uint32_t i = 0; i < RESETS; i++) {
        reset_at(resetter, (i * 7 + resetter->number) % 6, i);
    }
    return NULL;
}

static void run_resets(struct flood *flood) {
    uint64_t start_ns = clock_ns();
    struct resetter resetters[THREADS];
    uint16_t echo = server_listen(flood, flood->echo, 0);
    uint16_t writer = server_listen(flood, flood->writer, 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        resetters[i] = (struct resetter){.echo = echo, .writer = writer, .number = i};
        REQUIRE(pthread_create(&resetters[i].thread, NULL, resetter_run, &resetters[i]) == 0,
                "thread");
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(resetters[i].thread, NULL) == 0, "join");
    }
    int fd = client_connect(echo, 0);
    REQUIRE(client_answers(fd, 1), "it does not answer any more");
    (void)close(fd);
    wait_open(flood, 3);
    printf("%u resets; %llu bytes of memory; %llu ms\n", THREADS * RESETS,
           (unsigned long long)memory_of(flood),
           (unsigned long long)((clock_ns() - start_ns) / 1000000));
}

/* ---- main -------------------------------------------------------------------------------------- */

static uint32_t count_fds(void) {
    DIR *folder = opendir("/proc/self/fd");
    REQUIRE(folder != NULL, "/proc");
    uint32_t count = 0;
    while (readdir(folder) != NULL) { /* bounded by the descriptors */
        count++;
    }
    (void)closedir(folder);
    return count;
}

/* Both ends are here, also of those that are about to be refused: four for each connection that is
 * in. Without the right to have so many there are fewer connections. */
static void raise_limit(struct flood *flood) {
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
    rlim_t wanted = 4 * (rlim_t)flood->count + SPARE_FDS;
    struct rlimit more = {.rlim_cur = wanted, .rlim_max = wanted};
    if (limit.rlim_max >= wanted || setrlimit(RLIMIT_NOFILE, &more) != 0) {
        limit.rlim_cur = limit.rlim_max;
        REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
        rlim_t most = limit.rlim_max > SPARE_FDS ? (limit.rlim_max - SPARE_FDS) / 4 : 1;
        flood->count = most < flood->count ? (uint32_t)most : flood->count;
    }
}

int main(int argc, char **argv) {
    struct flood flood = {.driver = WEFT_IO_DRIVER_URING, .count = CONNECTIONS};
    if (argc > 1 && strcmp(argv[1], "epoll") == 0) {
        flood.driver = WEFT_IO_DRIVER_EPOLL;
    }
    if (argc > 2) {
        flood.count = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    raise_limit(&flood);
    uint32_t fds = count_fds();
    if (!server_start(&flood)) {
        printf("no io_uring here\n");
        return 77; /* skipped */
    }
    run_too_many(&flood);
    run_resets(&flood);
    server_stop(&flood);
    REQUIRE(count_fds() == fds, "descriptors are left");
    return EXIT_SUCCESS;
}
