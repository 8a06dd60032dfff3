/* SPDX-License-Identifier: MIT
 *
 * The flood program: twice as many connections as a listener takes, and then resets at every stage
 * of a connection's life. Those that are in must answer, also while the others knock; the others
 * must be refused at once and exactly; memory must stay in bounds; when some leave there is room
 * again; and everything must be gone in the end.
 *
 *   flood [uring | epoll] [connections]
 *
 * This half is the server and says what happens; the clients are processes of their own, in
 * flood_client.c. So the server needs one descriptor for each connection that is in, and a client
 * a quarter of those for all attempts. Where the limit of descriptors does not allow that even
 * after it was raised, the program says so and runs with as many connections as it allows; from
 * 10,500 on it is enough for 10,000.
 *
 * Prints one line for each part; a broken rule ends the program with a line that names it.
 */
#define _GNU_SOURCE 1
#include "flood.h"
#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

enum {
    CONNECTIONS = 10000,
    SPARE_FDS = 500, /* the runtime's own, and those of connections that are about to be refused */
    RESETS = 6000,
    BACKLOG = 4096,
    WRITE_BYTES = 1 << 20,
    BYTES_EACH = 4096,    /* what a connection may cost that has nothing under way */
    BYTES_ONCE = 8 << 20, /* what all together may cost besides: rings of receive buffers */
};

struct flood {
    weft_runtime *runtime;
    const weft_type *echo;
    const weft_type *writer;
    uint32_t driver;
    uint32_t count;
    struct client clients[CLIENTS];
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

/* What the kernel says the process has in memory; with a sanitizer much more than the runtime. */
static uint64_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    REQUIRE(file != NULL, "%s", strerror(errno));
    unsigned long long pages = 0;
    REQUIRE(fscanf(file, "%*s %llu", &pages) == 1, "statm");
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const weft_type *make_type(struct flood *flood, const char *name, weft_receive_fn receive) {
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = name, .state_size = 8, .receive = receive};
    const weft_type *type = NULL;
    REQUIRE(weft_type_register(flood->runtime, &def, &type) == 0, "type %s", name);
    return type;
}

/* On machines that are known to have all it needs, leaving something out is a failure. */
static bool must_be_whole(void) {
    const char *need = getenv("WEFT_TEST_NEED_URING");
    return need != NULL && strcmp(need, "1") == 0;
}

/* Leaves the test out, with a word. */
static int skipped(const char *why) {
    printf("%s: skipped\n", why);
    return must_be_whole() ? EXIT_FAILURE : 77;
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
    REQUIRE(weft_runtime_stop(flood->runtime, 40 * S_NS) == 0, "stop");
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
                                   .backlog = BACKLOG};
    weft_address address;
    int result = weft_listen(flood->runtime, &options, NULL, &address);
    REQUIRE(result == 0, "%s", weft_strerror(result));
    return address.port;
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static uint64_t clock_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S_NS + (uint64_t)now.tv_nsec;
}

static uint64_t ms_since(uint64_t start_ns) {
    return (clock_ns() - start_ns) / 1000000;
}

/* Until the listener has decided about all attempts, and that it has decided so. */
static void wait_decided(const struct flood *flood, uint32_t accepted, uint32_t refused) {
    uint64_t until_ns = clock_ns() + 40 * S_NS;
    weft_stats stats = stats_of(flood);
    while (stats.io_accepts + stats.io_refused < (uint64_t)accepted + refused) {
        REQUIRE(clock_ns() < until_ns, "accepts %llu, refused %llu",
                (unsigned long long)stats.io_accepts, (unsigned long long)stats.io_refused);
        nap(S_NS / 1000);
        stats = stats_of(flood);
    }
    REQUIRE(stats.io_accepts == accepted && stats.io_refused == refused,
            "accepts %llu, refused %llu, not %u and %u", (unsigned long long)stats.io_accepts,
            (unsigned long long)stats.io_refused, accepted, refused);
}

/* Until the clients have seen it too. They send nothing: it comes by itself. */
static void wait_noticed(const struct flood *flood, uint32_t held, uint32_t refused) {
    const struct client_order order = {.verb = CLIENT_NOTICE};
    uint64_t until_ns = clock_ns() + 40 * S_NS;
    struct client_report report = clients_order(flood->clients, &order);
    while (report.refused < refused) {
        REQUIRE(clock_ns() < until_ns, "only %u clients of %u were told", report.refused, refused);
        nap(S_NS / 1000);
        report = clients_order(flood->clients, &order);
    }
    REQUIRE(report.held == held && report.refused == refused,
            "clients: %u are in, %u refused, not %u and %u", report.held, report.refused, held,
            refused);
}

static void wait_open(const struct flood *flood, uint32_t open) {
    uint64_t until_ns = clock_ns() + 40 * S_NS;
    while (gauges_of(flood).io_open != open) {
        REQUIRE(clock_ns() < until_ns, "%u are open, not %u", gauges_of(flood).io_open, open);
        nap(S_NS / 1000);
    }
}

/* ---- too many ---------------------------------------------------------------------------------- */

/* How the part goes on: what was asked of the clients, and what must have come of it. */
struct tally {
    uint16_t port;
    uint32_t accepted; /* in all */
    uint32_t refused;  /* in all */
    uint32_t live;
};

/* count attempts, of which taken must be let in. */
static void knock(const struct flood *flood, struct tally *tally, uint32_t count, uint32_t taken) {
    const struct client_order order = {.verb = CLIENT_CONNECT, .count = count, .echo = tally->port};
    (void)clients_order(flood->clients, &order); /* counted when all is decided */
    tally->accepted += taken;
    tally->refused += count - taken;
    tally->live += taken;
    wait_decided(flood, tally->accepted, tally->refused);
    wait_noticed(flood, tally->live, tally->refused);
}

/* All that are in answer. */
static void ask(const struct flood *flood, const struct tally *tally) {
    const struct client_order order = {.verb = CLIENT_ASK};
    struct client_report report = clients_order(flood->clients, &order);
    REQUIRE(report.held == tally->live, "%u answer, not %u", report.held, tally->live);
}

/* left stay, so many that no client has too few to close its share; or none. */
static void leave(const struct flood *flood, struct tally *tally, uint32_t left) {
    uint32_t count = left != 0 ? tally->live - left : CLIENT_ALL;
    const struct client_order order = {.verb = CLIENT_CLOSE, .count = count};
    struct client_report report = clients_order(flood->clients, &order);
    tally->live = left;
    REQUIRE(report.held == tally->live, "%u are held, not %u", report.held, tally->live);
    wait_open(flood, tally->live + 1);
}

/* How much more than before there is for each of count connections; it is bounded. */
static uint64_t memory_each(const struct flood *flood, uint64_t before, uint32_t count) {
    uint64_t after = memory_of(flood);
    uint64_t more = after > before ? after - before : 0;
    REQUIRE(more <= BYTES_ONCE + (uint64_t)count * BYTES_EACH, "%llu bytes for %u connections",
            (unsigned long long)more, count);
    return more / count;
}

static void run_too_many(struct flood *flood) {
    uint64_t start_ns = clock_ns();
    uint32_t count = flood->count;
    struct tally tally = {.port = server_listen(flood, flood->echo, count)};
    uint64_t memory = memory_of(flood);
    uint64_t resident = resident_bytes();
    knock(flood, &tally, count / 2, count / 2);
    uint64_t idle = memory_each(flood, memory, count / 2);
    ask(flood, &tally);
    uint64_t flood_ns = clock_ns();
    knock(flood, &tally, 2 * count - count / 2, count - count / 2);
    uint64_t flood_ms = ms_since(flood_ns);
    ask(flood, &tally);
    uint64_t used = memory_each(flood, memory, count);
    resident = (resident_bytes() - resident) / count;
    printf("%u attempts: %u live and answer, %u refused; the flood itself %llu ms\n", 2 * count,
           tally.live, tally.refused, (unsigned long long)flood_ms);
    printf("bytes for each that is live: %llu idle, %llu after an answer, %llu of the process\n",
           (unsigned long long)idle, (unsigned long long)used, (unsigned long long)resident);
    uint32_t room = count / 10;
    leave(flood, &tally, count - room);
    knock(flood, &tally, room + CLIENTS, room);
    ask(flood, &tally);
    (void)memory_each(flood, memory, count);
    printf("%u leave, %u knock: %u live and answer; %llu ms in all\n", room, room + CLIENTS,
           tally.live, (unsigned long long)ms_since(start_ns));
    leave(flood, &tally, 0);
}

/* ---- resets ------------------------------------------------------------------------------------ */

static void run_resets(struct flood *flood) {
    uint64_t start_ns = clock_ns();
    const struct client_order reset = {.verb = CLIENT_RESET,
                                       .count = RESETS,
                                       .echo = server_listen(flood, flood->echo, 0),
                                       .writer = server_listen(flood, flood->writer, 0)};
    (void)clients_order(flood->clients, &reset);
    const struct client_order one = {.verb = CLIENT_CONNECT, .count = CLIENTS, .echo = reset.echo};
    REQUIRE(clients_order(flood->clients, &one).held == CLIENTS, "nobody is let in any more");
    struct tally tally = {.live = CLIENTS};
    ask(flood, &tally);
    const struct client_order end = {.verb = CLIENT_CLOSE, .count = CLIENT_ALL};
    (void)clients_order(flood->clients, &end);
    wait_open(flood, 3);
    printf("%u resets; %llu bytes of memory; %llu ms\n", RESETS,
           (unsigned long long)memory_of(flood), (unsigned long long)ms_since(start_ns));
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

/* One descriptor for each connection and some to spare; a client needs less. Without the right to
 * have so many there are fewer connections. False: too few for anything. */
static bool raise_limit(struct flood *flood) {
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
    rlim_t wanted = (rlim_t)flood->count + SPARE_FDS;
    struct rlimit more = {.rlim_cur = wanted, .rlim_max = wanted};
    if (limit.rlim_max < wanted && setrlimit(RLIMIT_NOFILE, &more) == 0) {
        return true;
    }
    limit.rlim_cur = limit.rlim_max;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
    if (limit.rlim_max >= wanted) {
        return true;
    }
    uint32_t most = limit.rlim_max > SPARE_FDS ? (uint32_t)(limit.rlim_max - SPARE_FDS) : 0;
    printf("the hard limit is %llu descriptors: %u connections instead of %u\n",
           (unsigned long long)limit.rlim_max, most, flood->count);
    flood->count = most;
    return most >= 10;
}

int main(int argc, char **argv) {
    struct flood flood = {.driver = WEFT_IO_DRIVER_URING, .count = CONNECTIONS};
    if (argc > 1 && strcmp(argv[1], "epoll") == 0) {
        flood.driver = WEFT_IO_DRIVER_EPOLL;
    }
    if (argc > 2) {
        flood.count = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    REQUIRE(flood.count >= 10 && flood.count <= 1000000, "connections: 10 to 1000000");
    if (!raise_limit(&flood)) {
        return skipped("too few descriptors");
    }
    (void)alarm(TIME_MAX_S);
    clients_start(flood.clients, 3 * flood.count);
    uint32_t fds = count_fds();
    if (!server_start(&flood)) {
        clients_end(flood.clients);
#ifdef WEFT_URING
        return skipped("no io_uring");
#else
        printf("a build without io_uring: skipped\n");
        return 77;
#endif
    }
    run_too_many(&flood);
    run_resets(&flood);
    server_stop(&flood);
    REQUIRE(count_fds() == fds, "descriptors are left");
    clients_end(flood.clients);
    return EXIT_SUCCESS;
}
