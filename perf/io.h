/* SPDX-License-Identifier: MIT
 *
 * weft-perf: what the I/O workloads share. A client written in plain C, a process of its own on
 * the first CPU, talks over loopback to a server on the second: once to a plain C server, which is
 * the floor, and once to a weft listener in the measuring process. Client and questions are the
 * same, so that what differs is the server.
 *
 * The other process is this same program started again as `--peer PLAN` (io_peer.c): fork and
 * exec, since a runtime's descriptors must not live on in a copy. It ends by itself after
 * PERF_PEER_SECONDS, and with the measuring process.
 *
 *   io_peer.c       starts peers, reads what they say; their main
 *   io_channel.c    their sockets, plain or with TLS
 *   io_client.c     the roles of clients, io_floor.c those of floor servers
 *   io_tls_floor.c  wolfSSL, for both
 *   io_serve.c      the weft side
 *   io_compare.c    floor and weft in turns; the workloads that are compared so
 */
#ifndef WEFT_PERF_IO_H
#define WEFT_PERF_IO_H

#include <sys/types.h>

#include "perf.h"

/* ---- peers (io_peer.c) ---------------------------------------------------------------------- */

/* What a client prints is two lines; see the role. A server prints its port and serves until it
 * is killed. Durations in nanoseconds. */
enum perf_peer_role {
    PERF_PEER_ECHO_CLIENT = 1, /* 64 bytes there and back, count times; p50, p99 */
    PERF_PEER_SEND_CLIENT,     /* sends for duration_ns; bytes, time until the server closed */
    PERF_PEER_READ_CLIENT,     /* reads for duration_ns; bytes, time */
    PERF_PEER_MANY_CLIENT,     /* echoes on connections at once, depth each; messages, time */
    PERF_PEER_ACCEPT_CLIENT,   /* connects count times, the server closes; connections, time */
    PERF_PEER_IDLE_CLIENT,     /* opens connections, holds them until its stdin ends; count, time */
    PERF_PEER_CLIENTS_END,     /* not a role: those above are clients, those below servers */
    PERF_PEER_ECHO_SERVER,
    PERF_PEER_SINK_SERVER,
    PERF_PEER_SOURCE_SERVER,
    PERF_PEER_MANY_SERVER,
    PERF_PEER_ACCEPT_SERVER,
};

enum perf_peer_flags {
    PERF_PEER_SPIN = 1,   /* non-blocking sockets, looked at without a pause */
    PERF_PEER_TLS = 2,    /* TLS 1.3 */
    PERF_PEER_CHACHA = 4, /* with ChaCha20-Poly1305, else AES-128-GCM */
};

enum { PERF_PEER_SECONDS = 110, PERF_IO_MESSAGE_BYTES = 64 };

/* What a peer is to do; goes over its command line. */
struct perf_peer_plan {
    uint32_t role;  /* enum perf_peer_role */
    uint32_t flags; /* enum perf_peer_flags */
    uint32_t port;  /* to connect to, on 127.0.0.1; servers choose one */
    int32_t cpu;    /* to run on; -1: any */
    uint32_t connections;
    uint32_t depth; /* ACCEPT_CLIENT: threads */
    uint64_t count;
    uint64_t duration_ns;
};

struct perf_peer {
    pid_t pid;
    int lines;           /* what it prints */
    int hold;            /* its stdin */
    uint64_t due_ns;     /* it has to have said everything by then */
    char buffer[256];    /* read and not yet looked at */
    uint32_t buffer_end; /* bytes in buffer */
};

/* Starts a process with the plan, or dies. */
void perf_peer_start(const struct perf_peer_plan *plan, struct perf_peer *ret_peer);
/* The next number it prints; kills it and dies when none comes in time. */
uint64_t perf_peer_number(struct perf_peer *peer, const char *what);
/* Ends its stdin and waits for its end, which must be a success. */
void perf_peer_end(struct perf_peer *peer);
/* Kills it and waits for its end. */
void perf_peer_kill(struct perf_peer *peer);

/* As many descriptors as this process may have; their number. Either side. */
uint64_t perf_files_raise(void);

/* The main function of a peer. Returns the exit status. */
int perf_peer_main(const char *plan);
/* In a peer: prints a number. */
void perf_peer_say(uint64_t number);

/* Roles; each returns when it is done, servers never. */
void perf_client_run(const struct perf_peer_plan *plan);
void perf_floor_run(const struct perf_peer_plan *plan);

/* ---- channels of peers (io_channel.c) ------------------------------------------------------- */

struct perf_channel {
    int fd;
    void *tls; /* session of io_tls_floor.c; NULL: plain */
};

/* A socket that listens on a port of its own; *ret_port. */
int perf_channel_listen(uint32_t *ret_port);
/* The next connection, with its handshake done; tls: a configuration, or NULL. */
void perf_channel_accept(int listener, void *tls, struct perf_channel *ret_channel);
/* Connects from a source address chosen by index, so that ports do not run out. */
void perf_channel_connect(const struct perf_peer_plan *plan, void *tls, uint64_t index,
                          struct perf_channel *ret_channel);
/* Never blocks from here on. */
void perf_channel_spin(struct perf_channel *channel);
/* Bytes read, 0 at the end, -EAGAIN; anything else ends the process. */
ssize_t perf_channel_read(struct perf_channel *channel, void *data, size_t size);
/* Bytes written, -EAGAIN, or -EPIPE when the other side has gone. */
ssize_t perf_channel_write(struct perf_channel *channel, const void *data, size_t size);
/* All of it; false: the other side has closed. Spins on -EAGAIN. */
bool perf_channel_read_all(struct perf_channel *channel, void *data, size_t size);
bool perf_channel_write_all(struct perf_channel *channel, const void *data, size_t size);
/* Ends the sending side and waits until the other side has closed. */
void perf_channel_drain(struct perf_channel *channel);
void perf_channel_close(struct perf_channel *channel);

/* Streams carry this: byte number n is n modulo 256. */
void perf_pattern_fill(void *data, size_t size);
/* Dies unless the first and the last byte of a piece at offset are those of the pattern. */
void perf_pattern_check(const void *data, size_t size, uint64_t offset);

/* ---- TLS of peers (io_tls_floor.c) ---------------------------------------------------------- */

/* False in a build without TLS; the functions below must then not be called. */
bool perf_tls_built(void);
/* A configuration for servers, with a certificate of its own, or for clients, which take any; and
 * its end, after that of its sessions. NULL is allowed. */
void *perf_tls_config(bool server, bool chacha);
void perf_tls_config_free(void *config);
/* Does the handshake on a blocking socket. */
void *perf_tls_session(void *config, bool server, int fd);
/* As those of channels. */
ssize_t perf_tls_read(void *session, void *data, size_t size);
ssize_t perf_tls_write(void *session, const void *data, size_t size);
/* Tells the other side that nothing more comes; frees. */
void perf_tls_end(void *session);
void perf_tls_free(void *session);

/* ---- the weft side (io_serve.c) ------------------------------------------------------------- */

enum perf_service_mode {
    PERF_SERVE_ECHO = 1, /* writes what it receives */
    PERF_SERVE_SINK,     /* counts what it receives */
    PERF_SERVE_SOURCE,   /* writes the pattern as fast as the peer reads */
    PERF_SERVE_CLOSE,    /* closes at once */
    PERF_SERVE_HOLD,     /* does nothing */
};

/* A listener and its connections, which count here when they open and end. */
struct perf_service {
    /* const while it listens */
    enum perf_service_mode mode;
    uint32_t port;
    weft_pid listener;
    weft_buf *pattern; /* SOURCE only */
    /* written by connections, read by the main thread: advisory until their number is reached,
     * which orders what they wrote before (S1) */
    _Atomic uint64_t opened;
    _Atomic uint64_t closed;
    _Atomic uint64_t received; /* bytes */
};

void perf_serve_start(struct perf *perf, enum perf_service_mode mode, bool tls,
                      struct perf_service *ret_service);
/* Waits until count connections have opened, or have closed; dies when that takes too long. */
void perf_serve_await_opened(struct perf_service *service, uint64_t count);
void perf_serve_await_closed(struct perf_service *service, uint64_t count);
/* Ends the listener. Connections that are left go on until the runtime stops. */
void perf_serve_stop(struct perf *perf, struct perf_service *service);
/* PERF_PEER_CHACHA or 0: the suite that weft itself prefers with the TLS library it has. */
uint32_t perf_serve_suite(void);

/* ---- comparing (io_compare.c) --------------------------------------------------------------- */

/* One client, and what it is set against. */
struct perf_io_case {
    const char *name; /* of the workload; the floor's is io_floor_ and the rest */
    const char *unit;
    double divisor; /* from nanoseconds or from counts per second to the unit */
    bool latency;   /* values are latencies: p50 and p99; else count and time */
    uint32_t client;
    uint32_t server;
    enum perf_service_mode mode;
    uint32_t flags;
    uint32_t connections;
    uint32_t depth;
    uint64_t count;
    uint64_t duration_ns;
};

/* What one run of a client gave, in the unit of its case. */
struct perf_io_value {
    double value;
    double p99; /* latencies only */
};

/* By the name of its workload, or death. */
const struct perf_io_case *perf_io_case_find(const char *name);
/* Runs the client of a case against weft, which must be running. */
struct perf_io_value perf_io_weft(struct perf *perf, const struct perf_io_case *chosen);
/* The median; sorts. */
double perf_io_median(double *values, uint32_t count);
/* False, and says so on stderr, when there is only one CPU. */
bool perf_io_possible(const char *name, int cpus[2]);
/* Sets a configuration key from text, or dies. */
void perf_io_set(struct perf *perf, const char *key, const char *value);

#endif
