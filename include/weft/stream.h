/* SPDX-License-Identifier: MIT
 *
 * Streams: TCP and Unix connections, plain or with TLS. A connection is an actor of the program's
 * own type, pinned to one scheduler, whose ring its socket belongs to. What happens to the
 * connection arrives as messages of kind WEFT_MSG_IO, in order, beside everything else that is
 * sent to the actor; the functions below, called inside that actor, write to it and close it.
 *
 *   init     runs when the connection was accepted, or when weft_connect has begun. Nothing was
 *            read yet. A negative result closes the connection.
 *   OPEN     it can be written to: connected, and with TLS its handshake is done. Once. Both sides
 *            may write before, from init on; that is sent as soon as it can be. A TLS client is
 *            open before the server has looked at its certificate: a refusal is a CLOSED later.
 *   DATA     bytes of the peer, as the payload. The handler borrows them, as any message: to keep
 *            the message, weft_msg_take; to pass bytes on, weft_send_buf. What is kept of a receive
 *            buffer is copied when it is at most half of one.
 *   END      the peer has closed its side. Unless WEFT_STREAM_HALF_OPEN is set, the connection
 *            then closes by itself as soon as what was written has been sent.
 *   WRITABLE the send queue was above its high-water mark and is at its low-water mark now.
 *   CLOSED   the connection is over; the status says why: 0 (both sides have closed), -ECONNRESET,
 *            -ETIMEDOUT, -ECONNREFUSED, WEFT_E_TLS, WEFT_E_RESOLVE, ... The last one, exactly one,
 *            unless the actor ends before: by itself, stopped, killed, or with its runtime. When it
 *            was handled the actor ends, normally. What must be done at the end of every actor
 *            belongs into terminate.
 *
 * A process (weft/process.h) reads with weft_receive, and what is its connection's alone with
 * weft_receive_match and a function that answers weft_msg_kind(msg) == WEFT_MSG_IO: other messages
 * stay in their order, and the timeout holds as ever. It writes with weft_stream_write_wait. An
 * event that is put aside meanwhile counts as handled when the process receives it.
 *
 * When the actor ends by itself before CLOSED, the connection is closed: with reason 0 or
 * WEFT_E_SHUTDOWN as weft_stream_close does, else as weft_stream_abort does.
 *
 * A peer that does not read cannot make the process grow: while the send queue is above its
 * high-water mark nothing more is read from the peer (unless WEFT_STREAM_READ_ALWAYS), and above
 * send_max writing answers -ENOBUFS. A peer that sends faster than the actor handles is read no
 * further once receive_ahead bytes wait in the mailbox. Two such ends that both write much more than
 * they read can so wait for each other for ever: who writes without waiting for answers sets
 * WEFT_STREAM_READ_ALWAYS, and idle_ns ends what stands still.
 *
 * Stability: stable, option structs are append-only.
 */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include <weft/actor.h>
#include <weft/address.h>
#include <weft/tls.h>

WEFT_BEGIN_DECLS

/* ---- events -------------------------------------------------------------------------------- */

/* Tags of WEFT_MSG_IO messages. weft_msg_status has the status. */
enum weft_io_event {
    WEFT_IO_OPEN = 1,
    WEFT_IO_DATA = 2,
    WEFT_IO_END = 3,
    WEFT_IO_WRITABLE = 4,
    WEFT_IO_CLOSED = 5,
    WEFT_IO_DATAGRAM = 6, /* weft/datagram.h */
    WEFT_IO_FILE = 7,     /* weft/file.h */
};

/* ---- options ------------------------------------------------------------------------------- */

enum weft_stream_flags {
    WEFT_STREAM_HALF_OPEN = 1,   /* go on writing after the peer's END, until weft_stream_end or
                                    weft_stream_close */
    WEFT_STREAM_READ_ALWAYS = 2, /* read also while the send queue is above its high-water mark */
    WEFT_STREAM_DELAY = 4,       /* let TCP collect small writes (Nagle); off is TCP_NODELAY */
    WEFT_STREAM_PAUSED = 8,      /* do not read before weft_stream_resume */
};

#define WEFT_STREAM_NEVER UINT64_MAX

/* Part of the options below; zero in a field is the default. */
typedef struct weft_stream_options {
    uint64_t send_high;     /* bytes queued that count as full; 256K */
    uint64_t send_low;      /* bytes queued at which WRITABLE follows; a quarter of send_high */
    uint64_t send_max;      /* bytes queued that are refused; 64 times send_high */
    uint64_t receive_ahead; /* bytes delivered and not handled, and 64 a message; 128K */
    uint64_t idle_ns;       /* nothing moved for so long: closed with -ETIMEDOUT; 0: never */
    uint64_t linger_ns;     /* how long closing may take to send what is queued and to see the
                               peer close; 5s. What is not sent by then is dropped. When the
                               runtime stops: also no longer than weft_runtime_stop may wait, but
                               for 250 ms, and the peer's close has 250 ms */
    uint64_t keepalive_ns;  /* TCP probes a peer that was silent for so long, rounded up to whole
                               seconds, at most 32767 of them: three times, a third of it apart but
                               at least 1s. Who answers none has been gone for about twice the
                               time, and is -ETIMEDOUT; 0: none. While bytes that were sent wait
                               to be acknowledged TCP's own, longer time counts */
    uint64_t handshake_ns;  /* TLS handshakes are over in this time or -ETIMEDOUT; 10s */
    uint32_t flags;         /* enum weft_stream_flags */
} weft_stream_options;

/* ---- listening ----------------------------------------------------------------------------- */

enum weft_listen_flags {
    WEFT_LISTEN_REUSE_PORT = 1, /* one socket per scheduler, which accepts for itself; the kernel
                                   spreads. Other processes may listen to the same port */
    WEFT_LISTEN_IPV6_ONLY = 2,  /* "[::]:80" takes no IPv4 */
};

typedef struct weft_listen_options {
    size_t struct_size;    /* WEFT_LISTEN_OPTIONS_INIT */
    const char *address;   /* see weft/address.h; port 0: any free one */
    const weft_type *type; /* of the connections */
    const void *arg;       /* for the init of each of them [borrow], copied */
    size_t arg_size;
    uint32_t backlog;         /* connections the kernel queues; 0: 1024 */
    uint32_t connections_max; /* open at once through this listener; further ones are closed at
                                 once and counted; 0: no limit but io.connections */
    uint32_t scheduler; /* 0: connections are spread over all schedulers; n: all on that one */
    uint32_t flags;     /* enum weft_listen_flags */
    weft_tls *tls;      /* NULL: plain. A reference is added */
    weft_stream_options stream;
} weft_listen_options;
#define WEFT_LISTEN_OPTIONS_INIT sizeof(weft_listen_options)

/* Listens [borrow]. The listener is an actor: weft_stop ends it, its connections go on. A Unix
 * path that nobody listens to any more is replaced; a listener removes its path when it ends.
 * ret_listener, ret_address (where it listens, with the real port) may be NULL. Errors: -EINVAL,
 * -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -EMFILE, -ENOMEM, WEFT_E_SHUTDOWN, -ENOSYS (an environment
 * without I/O). Any thread, after weft_runtime_start or before. What is wrong with options that are
 * answered -EINVAL is logged (io.options). */
WEFT_API WEFT_MUSTUSE int weft_listen(weft_runtime *runtime, const weft_listen_options *options,
                                      weft_pid *ret_listener, weft_address *ret_address);

/* ---- connecting ---------------------------------------------------------------------------- */

typedef struct weft_connect_options {
    size_t struct_size;  /* WEFT_CONNECT_OPTIONS_INIT */
    const char *address; /* see weft/address.h; also "name:port": looked up on a helper thread,
                            its addresses are tried one after the other */
    const char *local;   /* address to bind to, or NULL */
    const weft_type *type;
    const void *arg; /* for init [borrow], copied */
    size_t arg_size;
    uint64_t timeout_ns;  /* for looking up and connecting; 0: 10s */
    uint32_t scheduler;   /* 1..n; 0: the caller's, or spread from outside */
    weft_tls *tls;        /* NULL: plain. A reference is added */
    const char *tls_name; /* name the peer's certificate must have, also sent as SNI; NULL: the
                             name or address connected to; for a Unix path it must be given,
                             unless nothing is verified */
    weft_stream_options stream;
} weft_connect_options;
#define WEFT_CONNECT_OPTIONS_INIT sizeof(weft_connect_options)

/* Creates a connection actor, which gets OPEN, or CLOSED with the reason; ret_pid may be NULL.
 * Errors: -EINVAL (what is wrong is logged), as weft_spawn, -ENOSYS. */
WEFT_API WEFT_MUSTUSE int weft_connect(weft_ctx *ctx, const weft_connect_options *options,
                                       weft_pid *ret_pid);
/* The same on any thread. */
WEFT_API WEFT_MUSTUSE int
weft_runtime_connect(weft_runtime *runtime, const weft_connect_options *options, weft_pid *ret_pid);

/* ---- inside a connection's actor ----------------------------------------------------------- */
/* All of these are actor only and answer -ENOTCONN in an actor that is no connection, or after
 * CLOSED. */

enum { WEFT_STREAM_FULL = 1 };

/* Queues a copy of data; it leaves at the end of the scheduler's step, together with what else was
 * written. 0; WEFT_STREAM_FULL: taken, but the queue is above send_high, so stop until WRITABLE;
 * -ENOBUFS: not taken, above send_max; -EPIPE after weft_stream_end or weft_stream_close, or when
 * the peer has gone; -ENOMEM. */
WEFT_API int weft_stream_write(weft_ctx *ctx, const void *data, size_t size);
/* The same without copying (with TLS it is encrypted from there); adds a reference [borrow]. */
WEFT_API int weft_stream_write_buf(weft_ctx *ctx, weft_buf *buf, size_t offset, size_t size);

/* The blocking form, for processes (weft/process.h): queues a copy of data, all of it, and while
 * the queue is above send_high suspends the process until it is at send_low. So data of any size
 * passes through a small queue, piece by piece. 0: all is queued. Else, and with less queued:
 *   -ETIMEDOUT  after timeout_ns (0: only what there is room for; WEFT_FOREVER), or at the deadline of
 *               the request that is worked for; -ECANCELED when that is cancelled (weft_work_for)
 *   -EPIPE      as weft_stream_write, or the connection is over: CLOSED, which still comes as a
 *               message, says why
 *   -EPERM      the actor is no process, or in init or terminate
 *   -ENOMEM, WEFT_E_LIMIT (the wait takes a place among the pending calls), -EINVAL
 * ret_written [out], may be NULL: the bytes that are queued, from the start of data on; they are
 * sent whatever the answer, and who does not go on behind them closes. Messages that come
 * meanwhile are put aside and keep their order, except the WRITABLE it waits for, which it takes;
 * after an error that may still come. The message received last stays what it is. Actor only. */
WEFT_API WEFT_MUSTUSE int weft_stream_write_wait(weft_ctx *ctx, const void *data, size_t size,
                                                 uint64_t timeout_ns, size_t *ret_written);

/* Ends this side: what is queued is sent, then the peer sees END. Reading goes on. */
WEFT_API int weft_stream_end(weft_ctx *ctx);
/* Closes: what is queued is sent, then both sides are closed; at most linger_ns. CLOSED follows.
 * Nothing more is delivered before it. */
WEFT_API int weft_stream_close(weft_ctx *ctx);
/* Resets the connection; what is queued is dropped and nothing more is delivered before CLOSED,
 * whose status is -ECONNABORTED unless it was over already. */
WEFT_API int weft_stream_abort(weft_ctx *ctx);

/* Stops and goes on reading. What is in the mailbox already still comes. While nothing is read,
 * that the peer has gone shows only when something is written, or by idle_ns. */
WEFT_API int weft_stream_pause(weft_ctx *ctx);
WEFT_API int weft_stream_resume(weft_ctx *ctx);

typedef struct weft_stream_info {
    size_t struct_size; /* WEFT_STREAM_INFO_INIT */
    weft_address local; /* family 0 before it is connected, and from when the socket is closed: */
    weft_address peer;  /* at CLOSED always, so who wants to know then keeps it from OPEN on */
    uint64_t received;  /* bytes, as the actor sees them */
    uint64_t sent;      /* bytes given to the kernel; with TLS of records */
    uint64_t queued;    /* bytes in the send queue */
    bool accepted;      /* by a listener; else made by weft_connect */
    bool tls;
} weft_stream_info;
#define WEFT_STREAM_INFO_INIT sizeof(weft_stream_info)
WEFT_API int weft_stream_inspect(weft_ctx *ctx, weft_stream_info *ret_info);

/* ---- TLS of a connection ------------------------------------------------------------------- */
/* Valid from OPEN on; -ENOTCONN before, -ENOSYS on a plain connection. */

WEFT_API int weft_stream_tls_inspect(weft_ctx *ctx, weft_tls_info *ret_info);
/* The peer's certificate, DER [borrow], valid until CLOSED; NULL, 0 when it sent none. */
WEFT_API int weft_stream_tls_peer(weft_ctx *ctx, const void **ret_der, size_t *ret_size);
/* What to derive: label and context (may be NULL, then it is empty) [borrow], into secret. */
typedef struct weft_tls_export {
    const char *label;
    const void *context;
    size_t context_size;
    void *secret;
    size_t secret_size;
} weft_tls_export;
/* Keying material bound to this connection (RFC 8446, 7.5): the same on both ends, unknown to
 * anybody between. */
WEFT_API int weft_stream_tls_export(weft_ctx *ctx, const weft_tls_export *what);
/* Changes the keys of both directions (RFC 8446, 4.6.3). */
WEFT_API int weft_stream_tls_rekey(weft_ctx *ctx);
/* Why TLS failed; also while CLOSED with WEFT_E_TLS is handled. */
WEFT_API int weft_stream_tls_error(weft_ctx *ctx, weft_tls_error *ret_error);

WEFT_END_DECLS

#endif
