/* SPDX-License-Identifier: MIT
 *
 * The client processes of the flood program: plain blocking sockets and no runtime. Each connects
 * from an address of its own in 127.0.0.0/8, from several when it makes many connections, so that
 * the ports of one address are not used up.
 *
 * A connection that is held either is refused by the server, or answers whenever it is asked.
 * Everything else ends the process with a line that names the broken rule, and the server's half
 * notices that the process is gone.
 */
#define _GNU_SOURCE 1
#include "flood.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PER_SOURCE = 4000, /* connections from one address of the loopback */
    ASK_EVERY = 8,     /* new connections for each question to one that has answered before */
    PATIENCE_S = 40,   /* for anything one connection does */
    ORDER_S = 200,     /* for everything one order does */
};

/* The connections of this process. */
struct crowd {
    uint32_t index; /* of the process */
    int link;
    uint32_t capacity;
    int *fds;
    uint32_t held;
    uint32_t answered; /* the first so many of those that are held have answered */
    uint32_t refused;
    uint32_t made;
};

void nap(uint64_t ns) {
    struct timespec wait = {.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
    (void)nanosleep(&wait, NULL); /* shorter does no harm */
}

static void set_patience(int fd, int seconds) {
    struct timeval patience = {.tv_sec = seconds};
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0,
            "%s", strerror(errno));
}

/* ---- one connection ---------------------------------------------------------------------------- */

/* A new connection, or -1 when it was refused before connect returned. */
static int crowd_connect(struct crowd *crowd, uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0, "socket: %s", strerror(errno));
    set_patience(fd, PATIENCE_S);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + 256 * (crowd->index + 1) + crowd->made / PER_SOURCE);
    crowd->made++;
    int late = 1; /* the port is chosen when it connects: there are enough then */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late));
    REQUIRE(bind(fd, (struct sockaddr *)&source, sizeof(source)) == 0, "%s", strerror(errno));
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&target, sizeof(target)) == 0) {
        return fd;
    }
    REQUIRE(errno == ECONNRESET, "connect: %s", strerror(errno));
    (void)close(fd);
    return -1;
}

static void connection_reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(fd);
}

static void connection_ask(int fd, uint32_t number) {
    unsigned char bytes[16];
    memset(bytes, (int)(number & 0xff), sizeof(bytes));
    ssize_t size = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
    REQUIRE(size == (ssize_t)sizeof(bytes), "send: %s", strerror(errno));
    unsigned char answer[16];
    size = recv(fd, answer, sizeof(answer), MSG_WAITALL);
    REQUIRE(size == (ssize_t)sizeof(answer), "connection %u: recv answers %zd: %s", number, size,
            size < 0 ? strerror(errno) : "the end");
    REQUIRE(memcmp(answer, bytes, sizeof(answer)) == 0, "a wrong answer to %u", number);
}

/* Nobody has sent anything, so an end or a reset is all that may have come. */
static bool connection_refused(int fd) {
    char byte;
    ssize_t size = recv(fd, &byte, 1, MSG_DONTWAIT);
    REQUIRE(size <= 0, "an answer to nothing");
    REQUIRE(size == 0 || errno == EAGAIN || errno == ECONNRESET, "recv: %s", strerror(errno));
    return size == 0 || errno == ECONNRESET;
}

/* ---- orders ------------------------------------------------------------------------------------ */

static void order_connect(struct crowd *crowd, uint32_t count, uint16_t port) {
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE(crowd->held < crowd->capacity, "more than was said");
        int fd = crowd_connect(crowd, port);
        if (fd >= 0) {
            crowd->fds[crowd->held++] = fd;
        } else {
            crowd->refused++;
        }
        if (crowd->answered != 0 && i % ASK_EVERY == 0) {
            uint32_t number = i / ASK_EVERY % crowd->answered;
            connection_ask(crowd->fds[number], number);
        }
    }
}

static void order_notice(struct crowd *crowd) {
    uint32_t kept = crowd->answered;
    for (uint32_t i = crowd->answered; i < crowd->held; i++) {
        if (connection_refused(crowd->fds[i])) {
            REQUIRE(close(crowd->fds[i]) == 0, "close: %s", strerror(errno));
            crowd->refused++;
        } else {
            crowd->fds[kept++] = crowd->fds[i];
        }
    }
    crowd->held = kept;
}

static void order_ask(struct crowd *crowd) {
    for (uint32_t i = 0; i < crowd->held; i++) {
        connection_ask(crowd->fds[i], i);
    }
    crowd->answered = crowd->held;
}

static void order_close(struct crowd *crowd, uint32_t count) {
    for (uint32_t i = 0; i < count && crowd->held != 0; i++) {
        crowd->held--;
        REQUIRE(close(crowd->fds[crowd->held]) == 0, "close: %s", strerror(errno));
    }
    crowd->answered = crowd->answered < crowd->held ? crowd->answered : crowd->held;
}

/* One connection that is reset at stage. Whatever its calls answer, it is over then. */
static void reset_at(int fd, uint32_t stage, uint32_t number) {
    static const char bytes[50000];
    char answer[4096];
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
    connection_reset(fd);
}

static void order_reset(struct crowd *crowd, uint32_t count, const struct client_order *order) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t stage = (i * 7 + crowd->index) % 6;
        int fd = crowd_connect(crowd, stage >= 4 ? order->writer : order->echo);
        REQUIRE(fd >= 0, "refused without a limit");
        reset_at(fd, stage, i);
    }
}

/* ---- the process ------------------------------------------------------------------------------- */

static uint32_t share_of(uint32_t count, uint32_t index) {
    return count / CLIENTS + (index < count % CLIENTS ? 1 : 0);
}

static void follow(struct crowd *crowd, const struct client_order *order) {
    uint32_t count = share_of(order->count, crowd->index);
    switch (order->verb) {
    case CLIENT_CONNECT:
        order_connect(crowd, count, order->echo);
        break;
    case CLIENT_NOTICE:
        order_notice(crowd);
        break;
    case CLIENT_ASK:
        order_ask(crowd);
        break;
    case CLIENT_CLOSE:
        order_close(crowd, count);
        break;
    case CLIENT_RESET:
        order_reset(crowd, count, order);
        break;
    default:
        REQUIRE(false, "no such order: %u", order->verb);
    }
}

static void crowd_run(struct crowd *crowd) {
    crowd->fds = calloc(crowd->capacity, sizeof(*crowd->fds));
    REQUIRE(crowd->fds != NULL, "memory");
    for (;;) { /* until the server's half hangs up, or TIME_MAX_S are over */
        struct client_order order;
        ssize_t size = recv(crowd->link, &order, sizeof(order), 0);
        if (size == 0) {
            break;
        }
        REQUIRE(size == (ssize_t)sizeof(order), "order: %s", strerror(errno));
        follow(crowd, &order);
        struct client_report report = {.held = crowd->held, .refused = crowd->refused};
        size = send(crowd->link, &report, sizeof(report), MSG_NOSIGNAL);
        REQUIRE(size == (ssize_t)sizeof(report), "report: %s", strerror(errno));
    }
    free(crowd->fds);
}

/* The child's life. It hangs up the links of its elder siblings: with a second owner they would
 * never see that the server's half has gone. */
static void client_main(const struct client *clients, struct crowd *crowd, pid_t parent) {
    REQUIRE(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "%s", strerror(errno));
    if (getppid() != parent) { /* it has died before it could be told */
        exit(EXIT_FAILURE);
    }
    (void)alarm(TIME_MAX_S);
    for (uint32_t i = 0; i < crowd->index; i++) {
        (void)close(clients[i].link);
    }
    crowd_run(crowd);
    exit(EXIT_SUCCESS);
}

/* ---- the server's side ------------------------------------------------------------------------- */

void clients_start(struct client *clients, uint32_t capacity) {
    pid_t parent = getpid();
    (void)fflush(NULL); /* else the children print it again */
    for (uint32_t i = 0; i < CLIENTS; i++) {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "%s",
                strerror(errno));
        pid_t pid = fork();
        REQUIRE(pid >= 0, "fork: %s", strerror(errno));
        if (pid == 0) {
            (void)close(ends[0]);
            struct crowd crowd = {
                .index = i, .link = ends[1], .capacity = share_of(capacity, i) + 1};
            client_main(clients, &crowd, parent);
        }
        (void)close(ends[1]);
        set_patience(ends[0], ORDER_S);
        clients[i] = (struct client){.pid = pid, .link = ends[0]};
    }
}

/* A ring that the server's half has closed interrupts what waits with a time limit. */
static ssize_t receive_report(int link, struct client_report *report) {
    ssize_t size;
    do { /* bounded by the interruptions */
        size = recv(link, report, sizeof(*report), 0);
    } while (size < 0 && errno == EINTR);
    return size;
}

struct client_report clients_order(const struct client *clients, const struct client_order *order) {
    for (uint32_t i = 0; i < CLIENTS; i++) {
        ssize_t size = send(clients[i].link, order, sizeof(*order), MSG_NOSIGNAL);
        REQUIRE(size == (ssize_t)sizeof(*order), "client %u: %s", i, strerror(errno));
    }
    struct client_report sum = {.held = 0};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client_report report;
        ssize_t size = receive_report(clients[i].link, &report);
        REQUIRE(size == (ssize_t)sizeof(report), "client %u: %s", i,
                size == 0 ? "it has ended" : strerror(errno));
        sum.held += report.held;
        sum.refused += report.refused;
    }
    return sum;
}

void clients_end(struct client *clients) {
    for (uint32_t i = 0; i < CLIENTS; i++) {
        REQUIRE(close(clients[i].link) == 0, "close: %s", strerror(errno));
        int status = 0;
        REQUIRE(waitpid(clients[i].pid, &status, 0) == clients[i].pid, "%s", strerror(errno));
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS, "client %u", i);
    }
}
