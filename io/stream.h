/* SPDX-License-Identifier: MIT
 *
 * A stream: one connection and the actor it belongs to. Made by a listener or by weft_connect on
 * any thread, it lives on the scheduler its actor is pinned to from begin on, and only there.
 *
 * Life, through `state`:
 *   NEW        made; nothing is in flight, init has not run
 *   DIALING    weft_connect looks its name up and connects
 *   SHAKING    TLS handshake, or waiting for its turn to begin one
 *   OPEN       bytes move
 *   CLOSED     the descriptor is closed, CLOSED was told; the actor has yet to end
 * with `closing` beside it: the program, or the end of its actor, has asked for an orderly end.
 * `over` is set once, by weft__stream_fail with its status, and starts the teardown: what is in
 * flight is cancelled, and when the last operation has completed (`ops` is 0) the descriptor is
 * closed. Nobody frees a stream that has operations in flight: drivers hold pointers into it.
 *
 * A stream is freed when its descriptor is closed and its actor has ended, whichever is later.
 */
#ifndef WEFT_IO_STREAM_H
#define WEFT_IO_STREAM_H

#include "io/io.h"
#include "io/tls.h"

enum {
    WEFT__STREAM_MAGIC = 0x7374726d,
    WEFT__STREAM_SPANS = 8,          /* segments one send takes */
    WEFT__SEGMENT_SMALL = 1024 - 48, /* bytes a small segment holds */
    WEFT__SEGMENT_LARGE = 16384 + 512,
    WEFT__CHARGE = 64,        /* what a message counts in receive_ahead besides its bytes */
    WEFT__INLINE_BYTES = 192, /* received bytes up to this are copied into the message */
};

enum weft__stream_state {
    WEFT__STREAM_NEW = 0,
    WEFT__STREAM_DIALING = 1,
    WEFT__STREAM_SHAKING = 2,
    WEFT__STREAM_OPEN = 3,
    WEFT__STREAM_CLOSED = 4,
};

/* Part of the send queue: bytes of its own, or a slice of a shared buffer. */
struct weft__segment {
    struct weft__segment *next;
    const unsigned char *data;
    uint32_t size;     /* bytes from data on that are to be sent */
    uint32_t capacity; /* of bytes; 0: a slice */
    weft_buf *buf;     /* of a slice */
    unsigned char bytes[];
};

struct weft__queue {
    struct weft__segment *first;
    struct weft__segment *last;
    uint64_t bytes;
};

struct weft__dial;
struct weft__listen;

struct weft__stream {
    struct weft__attachment attachment;
    uint32_t magic;
    int fd; /* -1: none yet, or closed */
    /* const after it was made */
    weft_runtime *runtime;
    struct weft__net *net;
    struct weft__listen *listen; /* it came through; counted there; NULL: weft_connect */
    struct weft__dial *dial;     /* until it is connected */
    weft_tls *tls;               /* a reference, or NULL */
    uint64_t send_high;
    uint64_t send_low;
    uint64_t send_max;
    uint64_t receive_ahead;
    uint64_t idle_ns;
    uint64_t linger_ns;
    uint64_t handshake_ns;
    uint64_t keepalive_ns;
    uint32_t options; /* enum weft_stream_flags */
    /* its scheduler's thread, from begin on */
    struct weft__io *io;
    uint64_t owner;  /* slot and generation of the actor; 0 when it has ended */
    uint8_t state;   /* enum weft__stream_state */
    uint8_t ops;     /* operations in flight: receive and send or connect */
    uint8_t linked;  /* bits of enum weft__stream_link */
    bool receiving;  /* the receive operation is in flight */
    bool cancelled;  /* and was asked to end */
    bool sending;    /* the send operation is in flight, or connect */
    bool over;       /* status is set: being torn down */
    bool reset;      /* close with a reset */
    bool owes;       /* the actor could not be told CLOSED for want of memory */
    bool queued;     /* in io->shaking */
    bool bulk;       /* bytes come faster than they are taken: one buffer at a time */
    bool paused;     /* by weft_stream_pause */
    bool held;       /* not read because of receive_ahead, until half of it is handled */
    bool full;       /* above send_high: reads nothing until send_low */
    bool told_full;  /* and its actor was told: WRITABLE is due */
    bool closing;    /* orderly end asked for: deliver nothing more but CLOSED */
    bool write_over; /* nothing more may be written; what is queued is still sent */
    bool fin_sent;   /* our end is shut down */
    bool end_seen;   /* the peer's end, or its close_notify */
    bool fin_seen;   /* the peer's end of TCP */
    bool told_open;
    bool told_closed; /* CLOSED is in the hands of the actor, or was */
    bool notified;    /* our close_notify is in the queue */
    bool failing;     /* TLS has failed: over as soon as its alert is sent */
    int status;       /* why it is over */
    struct weft__tls_session *session;
    struct weft__queue queue; /* as it goes out: records with TLS */
    struct weft__queue early; /* written before it was open; with TLS not encrypted yet */
    uint64_t ahead;           /* bytes in the mailbox, not handled */
    uint64_t received;
    uint64_t sent;
    uint64_t moved_ns;    /* when bytes moved last */
    uint64_t until_ns;    /* of connecting, shaking or sending an alert; UINT64_MAX: none */
    uint64_t close_by_ns; /* of an orderly end; UINT64_MAX: none was asked for */
    uint64_t shake_ns;    /* when its handshake began */
    weft_buf *first;      /* what a client said before its handshake could begin; a copy */
    uint32_t first_size;  /* bytes of it */
    struct weft__alarm_node alarm;
    struct weft__stream *next[WEFT__LINKS];
    struct weft__stream *previous[WEFT__LINKS];
    weft_io_op receive_op;
    weft_io_op send_op;
    weft_io_span spans[WEFT__STREAM_SPANS];
};

/* ---- stream.c ------------------------------------------------------------------------------ */

/* What every stream is made with. */
struct weft__stream_plan {
    const weft_stream_options *options;
    weft_tls *tls; /* a reference is added */
    int fd;        /* or -1 */
};
/* NULL: no memory. Any thread. The caller has counted it (weft__net_enter). */
struct weft__stream *weft__stream_new(weft_runtime *runtime, const struct weft__stream_plan *plan);
/* The last thing that happens to a stream. Any thread. */
void weft__stream_free(struct weft__stream *stream);
/* Of one that never got an actor: closes and frees [take]. Any thread. */
void weft__stream_drop(struct weft__stream *stream);
/* Fills in defaults. -EINVAL. */
int weft__stream_options(const weft_stream_options *options, weft_stream_options *ret_options);
/* The stream of an actor, or NULL. */
struct weft__stream *weft__stream_of(weft_ctx *ctx);

/* The connection stands: begins TLS, or opens. */
void weft__stream_connected(struct weft__stream *stream);
/* The handshake is done, or there is none: tells OPEN and sends what was written before. */
void weft__stream_opened(struct weft__stream *stream);
/* It is over: the first status wins. With a reset when it is an error, so that the peer does not
 * take what it has for the whole; not when there was nothing to say. */
void weft__stream_fail(struct weft__stream *stream, int status);
/* An operation has completed: finishes the teardown when it was the last. */
void weft__stream_settled(struct weft__stream *stream);
/* Both ends have said theirs? Then it is over. */
void weft__stream_check_ends(struct weft__stream *stream);
/* Begins an orderly end. */
void weft__stream_close(struct weft__stream *stream);
/* Sets the alarm to whatever comes first. */
void weft__stream_alarm(struct weft__stream *stream);
/* Tells the actor, if it lives. */
void weft__stream_tell(struct weft__stream *stream, uint32_t event, int status);
/* Handshakes under way are bounded. True: go; else its turn comes. */
bool weft__stream_shake(struct weft__stream *stream);
void weft__stream_shaken(struct weft__stream *stream);
/* The runtime stops, and it is to close: what is queued has the time of the stop, the peer's end a
 * moment, and neither more than linger_ns. */
void weft__stream_hurry(struct weft__stream *stream);

void weft__stream_link(struct weft__stream_list *list, struct weft__stream *stream,
                       enum weft__stream_link link);
void weft__stream_unlink(struct weft__stream_list *list, struct weft__stream *stream,
                         enum weft__stream_link link);

/* ---- stream_receive.c ---------------------------------------------------------------------- */

/* Starts, stops or leaves receiving, as things are now. */
void weft__stream_update(struct weft__stream *stream);
void weft__stream_received(weft_io_op *op, const weft_io_result *result);
/* Makes the TLS session of a stream and its first step. */
void weft__stream_begin_tls(struct weft__stream *stream);

/* ---- stream_send.c ------------------------------------------------------------------------- */

/* Queues bytes for the socket (copies) or a slice (adds a reference). 0 or -ENOMEM. */
int weft__stream_queue_copy(struct weft__stream *stream, struct weft__queue *queue,
                            const void *data, size_t size);
int weft__stream_queue_slice(struct weft__stream *stream, struct weft__queue *queue, weft_buf *buf,
                             const struct weft_io_span *slice);
void weft__queue_clear(struct weft__io *io, struct weft__core *core, struct weft__queue *queue);
/* weft__tls_emit_fn; cookie: the stream. */
int weft__stream_emit(void *cookie, const void *data, size_t size);
/* What was written before the handshake goes out. 0 or negative. */
int weft__stream_send_early(struct weft__stream *stream);
/* There is something to send, or an end to be sent: at the next poll. */
void weft__stream_dirty(struct weft__stream *stream);
/* Starts a send. */
void weft__stream_flush(struct weft__stream *stream);

/* ---- connect.c ----------------------------------------------------------------------------- */

/* init has succeeded: looks up and connects. */
void weft__dial_start(struct weft__stream *stream);
/* Connecting has taken too long; true: it goes on with another address. */
bool weft__dial_expired(struct weft__stream *stream);
/* The helper has looked the name up. */
void weft__dial_resolved(struct weft__stream *stream, int result);
void weft__dial_connected(weft_io_op *op, const weft_io_result *result);
/* Drops a reference; NULL is allowed. */
void weft__dial_unref(struct weft__dial *dial);
/* The name a server's certificate must have. */
const char *weft__dial_name(const struct weft__dial *dial);

/* ---- listener.c ---------------------------------------------------------------------------- */

/* One of its streams is gone; drops its reference. Any thread. */
void weft__listen_left(struct weft__listen *listen);

#endif
