/* SPDX-License-Identifier: MIT
 *
 * Receiving: when a stream is read, and the way of bytes from the driver through TLS to the actor.
 * On the stream's scheduler, from inside a poll or a turn of its actor.
 */
#include "io/stream.h"
#include <string.h>

enum {
    ALERT_NS = 1000000000, /* how long a peer has to take an alert */
    FIRST_MAX = 65536,     /* bytes kept of a client whose handshake has not begun */
    HANDSHAKE_RECORD = 22, /* RFC 8446, 5.1 */
    VERSION_MAJOR = 3,
    RECORD_HEADER = 5,
    RECORD_MAX = 16384,
};

/* ---- whether to read ----------------------------------------------------------------------- */

static bool wants_bytes(const struct weft__stream *stream) {
    if (stream->over || stream->fd < 0 || stream->fin_seen || stream->failing) {
        return false;
    }
    if (stream->state == WEFT__STREAM_SHAKING) {
        return stream->session != NULL || (stream->listen != NULL && !stream->queued);
    }
    if (stream->state != WEFT__STREAM_OPEN) {
        return false;
    }
    if (stream->closing) {
        return true; /* for the peer's end; what comes is dropped */
    }
    if (stream->paused || stream->held) {
        return false;
    }
    return !stream->full || (stream->options & WEFT_STREAM_READ_ALWAYS) != 0;
}

void weft__stream_update(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    bool wants = wants_bytes(stream);
    if (wants == stream->receiving) {
        return;
    }
    if (!wants) {
        if (!stream->cancelled) {
            stream->cancelled = true;
            io->calls->cancel(io->env, io->driver, &stream->receive_op);
        }
        return;
    }
    if ((stream->linked & (1u << WEFT__LINK_WAIT)) != 0) {
        return; /* starved: its turn comes */
    }
    stream->receive_op.complete = weft__stream_received;
    stream->receive_op.kind = WEFT_IO_OP_RECEIVE;
    stream->receive_op.fd = stream->fd;
    /* A receive that goes on may fill a whole ring with one stream's bytes before it can be told to
     * stop; who sends as fast as that is read piece by piece. */
    stream->receive_op.offset = stream->bulk ? WEFT_IO_ONCE : 0;
    int result = io->calls->submit(io->env, io->driver, &stream->receive_op);
    if (result != 0) {
        weft__stream_fail(stream, result);
        return;
    }
    stream->receiving = true;
    stream->cancelled = false;
    stream->ops++;
}

/* ---- bytes to the actor -------------------------------------------------------------------- */

/* Some bytes in a buffer. */
struct bytes {
    weft_buf *buf;
    uint32_t offset;
    uint32_t size;
};

/* Gives bytes to the actor, or drops them when nobody wants them any more [take]. */
static void give(struct weft__stream *stream, struct bytes bytes) {
    if (stream->owner == 0 || stream->closing) {
        weft_buf_unref(bytes.buf);
        return;
    }
    struct weft__received received = {.owner = stream->owner,
                                      .buf = bytes.buf,
                                      .offset = bytes.offset,
                                      .size = bytes.size,
                                      .tag = WEFT_IO_DATA};
    stream->received += bytes.size;
    stream->ahead += (uint64_t)bytes.size + WEFT__CHARGE;
    int result = weft__io_give(stream->io, &received);
    if (result != 0) {
        stream->ahead -= (uint64_t)bytes.size + WEFT__CHARGE;
        weft__stream_fail(stream, result);
        return;
    }
    stream->held = stream->held || stream->ahead >= stream->receive_ahead;
}

/* The peer will send nothing more. */
static void peer_ended(struct weft__stream *stream) {
    if (!stream->end_seen) {
        stream->end_seen = true;
        if (!stream->closing) {
            weft__stream_tell(stream, WEFT_IO_END, 0);
        }
    }
    weft__stream_check_ends(stream);
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static void tls_failed(struct weft__stream *stream, int result) {
    weft_counter_add(&stream->io->s->counters.tls_failures, 1);
    /* The alert is in the queue; one try to send it, whatever becomes of it. */
    if (stream->queue.bytes != 0 && !stream->sending) {
        weft__stream_flush(stream);
    }
    if (!stream->sending) {
        weft__stream_fail(stream, result);
        return;
    }
    stream->failing = true;
    stream->status = result;
    stream->until_ns = weft__io_now(stream->io) + ALERT_NS;
    weft__stream_alarm(stream);
    weft__stream_update(stream);
}

/* Decrypts what was fed until the session wants more. False: the stream is over, or ends. */
static bool tls_drain(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    for (;;) { /* bounded by the bytes fed: every record is used once */
        if (io->plain == NULL) {
            io->plain = weft__buffers_take(&io->buffers);
        }
        if (io->plain == NULL) {
            weft__stream_fail(stream, -ENOBUFS);
            return false;
        }
        weft_buf *buf = io->plain;
        int got = weft__tls_read(stream->session, weft_buf_data(buf), weft_buf_size(buf));
        if (got == 0) {
            return true;
        }
        if (got == WEFT__TLS_END) {
            peer_ended(stream);
            return !stream->over;
        }
        if (got < 0) {
            tls_failed(stream, got);
            return false;
        }
        io->plain = NULL;
        give(stream, (struct bytes){.buf = buf, .size = (uint32_t)got});
        if (stream->over) {
            return false;
        }
    }
}

/* One step of the handshake. False: it goes on, or has failed. */
static bool tls_shake(struct weft__stream *stream) {
    int result = weft__tls_handshake(stream->session);
    if (result < 0) {
        tls_failed(stream, result);
        return false;
    }
    if (result == 0) {
        return false;
    }
    weft_counter_add(&stream->io->s->counters.tls_handshakes, 1);
    weft__stream_opened(stream);
    return !stream->over;
}

static void tls_received(struct weft__stream *stream, const void *data, size_t size) {
    int result = weft__tls_feed(stream->session, data, size);
    if (result != 0) {
        tls_failed(stream, result);
        return;
    }
    if (stream->state == WEFT__STREAM_SHAKING && !tls_shake(stream)) {
        return;
    }
    (void)tls_drain(stream); /* it has seen to whatever is wrong */
}

/* Adds to what a client has said before its handshake began. 0 or negative. */
static int keep_first(struct weft__stream *stream, const void *data, size_t size) {
    size_t have = stream->first_size;
    size_t need = have + size;
    if (need > FIRST_MAX) {
        return -ENOBUFS;
    }
    if (stream->first == NULL || weft_buf_size(stream->first) < need) {
        weft_buf *larger;
        int result = weft__buf_create(stream->io->core, need * 2, &larger);
        if (result != 0) {
            return result;
        }
        if (stream->first != NULL) {
            memcpy(weft_buf_data(larger), weft_buf_data(stream->first), have);
            weft_buf_unref(stream->first);
        }
        stream->first = larger;
    }
    memcpy((char *)weft_buf_data(stream->first) + have, data, size);
    stream->first_size = (uint32_t)need;
    return 0;
}

/* Is the first record whole, or no handshake at all? The session then says what it is. */
static bool first_is_whole(const struct weft__stream *stream) {
    const unsigned char *bytes = weft_buf_data(stream->first);
    if (bytes[0] != HANDSHAKE_RECORD || (stream->first_size > 1 && bytes[1] != VERSION_MAJOR)) {
        return true;
    }
    uint32_t size = RECORD_HEADER;
    if (stream->first_size >= RECORD_HEADER) {
        size += (uint32_t)bytes[3] << 8 | bytes[4];
    }
    return stream->first_size >= RECORD_HEADER &&
           (stream->first_size >= size || size > RECORD_HEADER + RECORD_MAX);
}

/* Bytes of a client whose handshake has not begun. It asks for a place with its first record whole:
 * a place is not to be had for a byte. */
static void tls_greeted(struct weft__stream *stream, const void *data, size_t size) {
    int result = keep_first(stream, data, size);
    if (result != 0) {
        weft__stream_fail(stream, result);
        return;
    }
    if (!stream->queued && first_is_whole(stream)) {
        weft__stream_begin_tls(stream);
    }
}

void weft__stream_begin_tls(struct weft__stream *stream) {
    bool server = stream->listen != NULL;
    if (server && !weft__stream_shake(stream)) { /* how many it dials is the program's to bound */
        return;                                  /* its turn comes */
    }
    struct weft__tls_setup setup = {.tls = stream->tls,
                                    .server = server,
                                    .name = weft__dial_name(stream->dial),
                                    .emit = weft__stream_emit,
                                    .cookie = stream};
    int result = weft__tls_open(&setup, &stream->session);
    if (result != 0) {
        weft__stream_fail(stream, result);
        return;
    }
    if (!server) {
        (void)tls_shake(stream); /* it has seen to whatever is wrong */
    } else {
        weft_buf *first = stream->first;
        stream->first = NULL;
        tls_received(stream, weft_buf_data(first), stream->first_size);
        weft_buf_unref(first);
    }
    if (!stream->over) {
        weft__stream_update(stream);
    }
}

/* ---- results of the driver ----------------------------------------------------------------- */

static void receive_failed(struct weft__stream *stream, int result) {
    struct weft__io *io = stream->io;
    switch (result) {
    case -ECANCELED:
        weft__stream_update(stream); /* it may be wanted again by now */
        return;
    case -ENOBUFS:
        if (io->starved.count == 0 && io->retry_ns <= weft__io_now(io)) {
            io->retry_ns = 0; /* buffers may have come back meanwhile: look at once */
        }
        if (wants_bytes(stream)) {
            weft__stream_link(&io->starved, stream, WEFT__LINK_WAIT);
        }
        return;
    default:
        weft__stream_fail(stream, stream->closing && stream->fin_sent ? 0 : result);
        return;
    }
}

static void end_of_stream(struct weft__stream *stream) {
    stream->fin_seen = true;
    if (stream->state == WEFT__STREAM_SHAKING) {
        weft__stream_fail(stream, -ECONNRESET);
        return;
    }
    if (stream->session != NULL && !stream->end_seen && !stream->closing) {
        /* Without close_notify somebody in between may have cut it short. */
        weft__stream_fail(stream, -ECONNRESET);
        return;
    }
    peer_ended(stream);
}

static void take_bytes(struct weft__stream *stream, const weft_io_result *result) {
    struct weft__io *io = stream->io;
    uint32_t size = (uint32_t)result->result;
    stream->moved_ns = weft__io_now(io);
    weft_counter_add(&io->s->counters.io_received, size);
    stream->bulk = size == weft_buf_size(result->buf) - result->offset;
    if (stream->bulk && result->more && !stream->cancelled &&
        stream->receive_op.offset != WEFT_IO_ONCE) {
        stream->cancelled = true; /* and then one at a time */
        io->calls->cancel(io->env, io->driver, &stream->receive_op);
    }
    if (stream->tls == NULL) {
        give(stream, (struct bytes){result->buf, result->offset, size});
        return;
    }
    const char *data = (const char *)weft_buf_data(result->buf) + result->offset;
    if (stream->session == NULL) {
        tls_greeted(stream, data, size);
    } else {
        tls_received(stream, data, size);
    }
    weft_buf_unref(result->buf);
}

void weft__stream_received(weft_io_op *op, const weft_io_result *result) {
    struct weft__stream *stream =
        (struct weft__stream *)(void *)((char *)op - offsetof(struct weft__stream, receive_op));
    weft_assert(stream->magic == WEFT__STREAM_MAGIC);
    if (!result->more) {
        stream->receiving = false;
        stream->cancelled = false;
        stream->ops--;
    }
    if (stream->over) {
        if (result->buf != NULL) {
            weft_buf_unref(result->buf);
        }
        weft__stream_settled(stream);
        return;
    }
    if (stream->failing) { /* only its alert is still to be sent */
        if (result->buf != NULL) {
            weft_buf_unref(result->buf);
        }
        return;
    }
    if (result->result > 0) {
        take_bytes(stream, result);
    } else if (result->result == 0) {
        end_of_stream(stream);
    } else {
        receive_failed(stream, result->result);
        return;
    }
    if (!stream->over) {
        weft__stream_update(stream);
    }
}
