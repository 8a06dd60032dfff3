/* SPDX-License-Identifier: MIT
 *
 * Sending: the queue of a stream, and the one send operation that empties it. What a turn writes
 * is collected and leaves with the next poll. On the stream's scheduler.
 */
#include "io/stream.h"
#include <string.h>

enum { EMIT_SLACK = 65536 }; /* of records: headers, tags, a handshake */

/* ---- segments ------------------------------------------------------------------------------ */

static const char tag[] = "segment";

static struct weft__segment *segment_new(struct weft__stream *stream, size_t size) {
    struct weft__core *core = &stream->runtime->core;
    bool small = size <= WEFT__SEGMENT_SMALL;
    enum weft__spare spare = small ? WEFT__SPARE_SMALL : WEFT__SPARE_LARGE;
    struct weft__segment *segment =
        stream->io != NULL ? weft__segment_take(stream->io, spare) : NULL;
    if (segment == NULL) {
        uint32_t capacity = small ? WEFT__SEGMENT_SMALL : WEFT__SEGMENT_LARGE;
        segment = weft__alloc(core, sizeof(*segment) + capacity, tag);
        if (segment == NULL) {
            return NULL;
        }
        segment->capacity = capacity;
    }
    segment->next = NULL;
    segment->data = segment->bytes;
    segment->size = 0;
    return segment;
}

static void segment_free(struct weft__io *io, struct weft__core *core,
                         struct weft__segment *segment) {
    enum weft__spare spare =
        segment->capacity == WEFT__SEGMENT_SMALL ? WEFT__SPARE_SMALL : WEFT__SPARE_LARGE;
    if (segment->buf != NULL) {
        weft_buf_unref(segment->buf);
    } else if (io != NULL && weft__segment_keep(io, spare, segment)) {
        return;
    }
    weft__free(core, segment, sizeof(*segment) + segment->capacity, tag);
}

static void queue_append(struct weft__queue *queue, struct weft__segment *segment) {
    if (queue->last != NULL) {
        queue->last->next = segment;
    } else {
        queue->first = segment;
    }
    queue->last = segment;
}

static void queue_drop_first(struct weft__io *io, struct weft__core *core,
                             struct weft__queue *queue) {
    struct weft__segment *segment = queue->first;
    queue->bytes -= segment->size;
    queue->first = segment->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    segment_free(io, core, segment);
}

void weft__queue_clear(struct weft__io *io, struct weft__core *core, struct weft__queue *queue) {
    while (queue->first != NULL) { /* bounded by send_max */
        queue_drop_first(io, core, queue);
    }
}

int weft__stream_queue_copy(struct weft__stream *stream, struct weft__queue *queue,
                            const void *data, size_t size) {
    const unsigned char *from = data;
    while (size > 0) { /* bounded by size */
        struct weft__segment *last = queue->last;
        uint32_t room = 0;
        /* The kernel reads what the operation in flight refers to, up to its size at that time:
         * appending behind that is safe. */
        if (last != NULL && last->buf == NULL) {
            room = last->capacity - (uint32_t)(last->data - last->bytes) - last->size;
        }
        if (room == 0) {
            last = segment_new(stream, size);
            if (last == NULL) {
                return -ENOMEM;
            }
            queue_append(queue, last);
            room = last->capacity;
        }
        uint32_t part = size < room ? (uint32_t)size : room;
        memcpy(last->bytes + (last->data - last->bytes) + last->size, from, part);
        last->size += part;
        queue->bytes += part;
        from += part;
        size -= part;
    }
    return 0;
}

int weft__stream_queue_slice(struct weft__stream *stream, struct weft__queue *queue, weft_buf *buf,
                             const struct weft_io_span *slice) {
    struct weft__segment *segment =
        weft__alloc(&stream->runtime->core, sizeof(*segment), tag); /* capacity 0 */
    if (segment == NULL) {
        return -ENOMEM;
    }
    segment->buf = weft_buf_ref(buf);
    segment->data = slice->data;
    segment->size = (uint32_t)slice->size;
    queue_append(queue, segment);
    queue->bytes += slice->size;
    return 0;
}

int weft__stream_emit(void *cookie, const void *data, size_t size) {
    struct weft__stream *stream = cookie;
    if (stream->fin_sent) {
        return 0; /* an answer of the protocol, to nobody */
    }
    /* What was written was bounded before it became records. Answers of the protocol come on top,
     * and a peer may ask for them without reading any. */
    uint64_t slack_bytes = stream->send_max / 8 + EMIT_SLACK;
    if (stream->queue.bytes > weft_add_saturated(stream->send_max, slack_bytes)) {
        return -ENOBUFS;
    }
    int result = weft__stream_queue_copy(stream, &stream->queue, data, size);
    if (result != 0) {
        return result;
    }
    stream->full = stream->full || stream->queue.bytes > stream->send_high;
    weft__stream_dirty(stream);
    return 0;
}

int weft__stream_send_early(struct weft__stream *stream) {
    struct weft__core *core = &stream->runtime->core;
    if (stream->session == NULL) {
        stream->queue = stream->early;
        stream->early = (struct weft__queue){0};
        return 0;
    }
    while (stream->early.first != NULL) { /* bounded by send_max */
        const struct weft__segment *segment = stream->early.first;
        int result = weft__tls_write(stream->session, segment->data, segment->size);
        if (result != 0) {
            return result;
        }
        queue_drop_first(stream->io, core, &stream->early);
    }
    return 0;
}

/* ---- the operation ------------------------------------------------------------------------- */

void weft__stream_dirty(struct weft__stream *stream) {
    if (!stream->over && !stream->sending && stream->fd >= 0 && stream->io != NULL) {
        weft__stream_link(&stream->io->dirty, stream, WEFT__LINK_DIRTY);
    }
}

/* Everything was sent and nothing more may be written: our end is over. */
static void send_end(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    if (stream->session != NULL && !stream->notified) {
        stream->notified = true;
        int result = weft__tls_end(stream->session);
        if (result != 0) {
            weft__stream_fail(stream, result);
            return;
        }
        if (stream->queue.bytes != 0) {
            return; /* once more, when it was sent */
        }
    }
    stream->fin_sent = true;
    int result = io->calls->shutdown(io->env, stream->fd, false);
    if (result != 0 && result != -ENOTCONN) { /* the peer may have gone: reading tells */
        weft__stream_fail(stream, result);
        return;
    }
    weft__stream_check_ends(stream);
    if (stream->closing && weft__phase(stream->runtime) >= WEFT__RUNTIME_STOPPING) {
        weft__stream_hurry(stream); /* only the peer's end is awaited from here on */
    }
}

static void sent(weft_io_op *op, const weft_io_result *result);

void weft__stream_flush(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    if (stream->over || stream->sending || stream->fd < 0) {
        return;
    }
    bool open = stream->state == WEFT__STREAM_OPEN;
    if (stream->queue.bytes == 0 && open && stream->write_over && !stream->fin_sent) {
        send_end(stream);
    }
    if (stream->over || stream->queue.bytes == 0) {
        return;
    }
    uint16_t count = 0;
    for (const struct weft__segment *segment = stream->queue.first;
         segment != NULL && count < WEFT__STREAM_SPANS; segment = segment->next) {
        stream->spans[count++] =
            (weft_io_span){.data = (void *)(uintptr_t)segment->data, .size = segment->size};
    }
    stream->send_op.complete = sent;
    stream->send_op.kind = WEFT_IO_OP_SEND;
    stream->send_op.fd = stream->fd;
    stream->send_op.spans = stream->spans;
    stream->send_op.span_count = count;
    int result = io->calls->submit(io->env, io->driver, &stream->send_op);
    if (result != 0) {
        weft__stream_fail(stream, result);
        return;
    }
    stream->sending = true;
    stream->ops++;
}

static void consume(struct weft__stream *stream, uint64_t size) {
    struct weft__io *io = stream->io;
    while (size > 0) { /* bounded by what was sent */
        struct weft__segment *first = stream->queue.first;
        weft_assert(first != NULL);
        if (size >= first->size) {
            size -= first->size;
            queue_drop_first(io, io->core, &stream->queue);
            continue;
        }
        first->data += size;
        first->size -= (uint32_t)size;
        stream->queue.bytes -= size;
        size = 0;
    }
}

static void took(struct weft__stream *stream, uint32_t size) {
    struct weft__io *io = stream->io;
    stream->sent += size;
    stream->moved_ns = weft__io_now(io);
    weft_counter_add(&io->s->counters.io_sent, size);
    consume(stream, size);
    if (stream->failing && stream->queue.bytes == 0) {
        weft__stream_fail(stream, stream->status);
        return;
    }
    if (stream->full && stream->queue.bytes + stream->early.bytes <= stream->send_low) {
        bool told = stream->told_full;
        stream->full = false;
        stream->told_full = false;
        if (told && !stream->closing) {
            weft__stream_tell(stream, WEFT_IO_WRITABLE, 0);
        }
        if (!stream->over) {
            weft__stream_update(stream);
        }
    }
    if (!stream->over && (stream->queue.bytes != 0 || (stream->write_over && !stream->fin_sent))) {
        weft__stream_flush(stream);
    }
}

static void sent(weft_io_op *op, const weft_io_result *result) {
    struct weft__stream *stream =
        (struct weft__stream *)(void *)((char *)op - offsetof(struct weft__stream, send_op));
    weft_assert(stream->magic == WEFT__STREAM_MAGIC);
    weft_assert(!result->more);
    stream->sending = false;
    stream->ops--;
    if (stream->over) {
        weft__stream_settled(stream);
        return;
    }
    if (result->result >= 0) {
        took(stream, (uint32_t)result->result);
        return;
    }
    /* A peer that has gone shows as a broken pipe here and as a reset there: one name for both. */
    weft__stream_fail(stream, stream->failing            ? stream->status
                              : result->result == -EPIPE ? -ECONNRESET
                                                         : result->result);
}
