/* SPDX-License-Identifier: MIT
 *
 * What a connection's actor does with its stream: weft/stream.h, inside a connection's actor.
 */
#include "io/stream.h"
#include "sched/process.h"
#include <string.h>

/* ---- on the scheduler's stack -------------------------------------------------------------- */

/* wolfSSL needs more stack than a process may have, so a process has it called for it. */
struct errand {
    struct weft__tls_session *session;
    int (*fn)(struct weft__tls_session *session, const void *what, size_t size);
    const void *what;
    size_t size;
    int result;
};

static void run_errand(void *arg) {
    struct errand *errand = arg;
    errand->result = errand->fn(errand->session, errand->what, errand->size);
}

static int go(weft_ctx *ctx, struct errand *errand) {
    weft__on_scheduler(ctx, run_errand, errand);
    return errand->result;
}

static int go_export(struct weft__tls_session *session, const void *what, size_t size) {
    (void)size;
    return weft__tls_export(session, what);
}

static int go_rekey(struct weft__tls_session *session, const void *what, size_t size) {
    (void)what;
    (void)size;
    return weft__tls_rekey(session);
}

static int go_inspect(struct weft__tls_session *session, const void *what, size_t size) {
    (void)size;
    return weft__tls_inspect(session, (weft_tls_info *)(uintptr_t)what);
}

struct peer {
    const void **der;
    size_t *size;
};

static int go_peer(struct weft__tls_session *session, const void *what, size_t size) {
    const struct peer *peer = what;
    (void)size;
    return weft__tls_peer(session, peer->der, peer->size);
}

/* The stream of an actor while something can be done with it. 0 or -ENOTCONN. */
static int find(weft_ctx *ctx, struct weft__stream **ret_stream) {
    struct weft__stream *stream = ctx != NULL ? weft__stream_of(ctx) : NULL;
    if (stream == NULL || stream->io == NULL) {
        return -ENOTCONN;
    }
    *ret_stream = stream;
    return 0;
}

/* The same for calls that make no sense once it is over. */
static int find_open(weft_ctx *ctx, struct weft__stream **ret_stream) {
    int result = find(ctx, ret_stream);
    if (result == 0 && (*ret_stream)->told_closed) {
        return -ENOTCONN;
    }
    return result;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* May size bytes be written? */
static int check_write(const struct weft__stream *stream, size_t size) {
    if (stream->over || stream->write_over || stream->failing) {
        return -EPIPE;
    }
    uint64_t queued = stream->queue.bytes + stream->early.bytes;
    if (size > UINT32_MAX || queued + size > stream->send_max) {
        return -ENOBUFS;
    }
    return 0;
}

/* Written: what the caller is told. */
static int written(struct weft__stream *stream, int result) {
    if (result != 0) {
        /* Half a write cannot be taken back, and the peer cannot be told: it is over. */
        weft__stream_fail(stream, result);
        return result;
    }
    weft__stream_dirty(stream);
    stream->full = stream->full || stream->queue.bytes + stream->early.bytes > stream->send_high;
    if (!stream->full) {
        return 0;
    }
    weft__stream_update(stream);
    return WEFT_STREAM_FULL;
}

/* Who is told that it is full is told when it is so no longer. */
static int tell_written(struct weft__stream *stream, int result) {
    stream->told_full = stream->told_full || result == WEFT_STREAM_FULL;
    return result;
}

/* Queues a copy of what may be written. As weft_stream_write. */
static int put(weft_ctx *ctx, struct weft__stream *stream, const void *data, size_t size) {
    if (stream->state != WEFT__STREAM_OPEN) {
        return written(stream, weft__stream_queue_copy(stream, &stream->early, data, size));
    }
    if (stream->session != NULL) {
        struct errand errand = {
            .session = stream->session, .fn = weft__tls_write, .what = data, .size = size};
        return written(stream, go(ctx, &errand));
    }
    return written(stream, weft__stream_queue_copy(stream, &stream->queue, data, size));
}

int weft_stream_write(weft_ctx *ctx, const void *data, size_t size) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    if (data == NULL && size != 0) {
        return -EINVAL;
    }
    result = check_write(stream, size);
    if (result != 0 || size == 0) {
        return result != 0 ? result : stream->told_full ? WEFT_STREAM_FULL : 0;
    }
    return tell_written(stream, put(ctx, stream, data, size));
}

int weft_stream_write_buf(weft_ctx *ctx, weft_buf *buf, size_t offset, size_t size) {
    if (buf == NULL || offset > weft_buf_size(buf) || size > weft_buf_size(buf) - offset) {
        return -EINVAL;
    }
    struct weft_io_span slice = {.data = (char *)weft_buf_data(buf) + offset, .size = size};
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    bool open = stream->state == WEFT__STREAM_OPEN;
    if (size < WEFT__SEGMENT_SMALL || weft__buf_copies(buf, size) ||
        (open && stream->session != NULL)) {
        return weft_stream_write(ctx, slice.data, size); /* cheaper than a reference */
    }
    result = check_write(stream, size);
    if (result != 0) {
        return result;
    }
    struct weft__queue *queue = open ? &stream->queue : &stream->early;
    return tell_written(stream,
                        written(stream, weft__stream_queue_slice(stream, queue, buf, &slice)));
}

/* ---- writing of processes ------------------------------------------------------------------ */

/* What a process writes, and how far it is. */
struct writing {
    const unsigned char *data;
    size_t size;
    size_t done;
    uint64_t timeout_ns;
    uint64_t due_ns; /* 0: not begun to wait */
};

/* Bytes that may be queued before it is full. */
static uint64_t room_of(const struct weft__stream *stream) {
    uint64_t queued = stream->queue.bytes + stream->early.bytes;
    return stream->full || queued >= stream->send_high ? 0 : stream->send_high - queued;
}

/* Suspends the process until the stream is full no longer. As weft__process_await_writable. */
static int wait_writable(weft_ctx *ctx, struct weft__stream *stream, struct writing *writing) {
    if (writing->timeout_ns == 0) {
        return -ETIMEDOUT;
    }
    if (writing->due_ns == 0) {
        writing->due_ns = weft__due_ns(ctx->runner, writing->timeout_ns);
    }
    stream->full = true;
    stream->told_full = true;
    weft__stream_update(stream);
    return stream->over ? -EPIPE : weft__process_await_writable(ctx->ext->process, writing->due_ns);
}

static int write_all(weft_ctx *ctx, struct weft__stream *stream, struct writing *writing) {
    int result;
    do { /* bounded by the bytes and the time */
        result = stream->over || stream->write_over || stream->failing ? -EPIPE : 0;
        size_t left = writing->size - writing->done;
        size_t part = (size_t)weft_min_u64(weft_min_u64(left, room_of(stream)), UINT32_MAX);
        if (result == 0 && part != 0) {
            result = put(ctx, stream, writing->data + writing->done, part);
            writing->done += result >= 0 ? part : 0;
            result = result > 0 ? 0 : result; /* that it is full now matters to what is left */
        } else if (result == 0 && left != 0) {
            result = wait_writable(ctx, stream, writing);
        }
    } while (result == 0 && writing->done < writing->size);
    return result;
}

int weft_stream_write_wait(weft_ctx *ctx, const void *data, size_t size, uint64_t timeout_ns,
                           size_t *ret_written) {
    struct writing writing = {.data = data, .size = size, .timeout_ns = timeout_ns};
    struct weft__stream *stream = NULL;
    int result = weft_is_process(ctx) ? find_open(ctx, &stream) : -EPERM;
    if (result == 0 && data == NULL && size != 0) {
        result = -EINVAL;
    }
    if (result == 0) {
        result = write_all(ctx, stream, &writing);
    }
    if (ret_written != NULL) {
        *ret_written = writing.done;
    }
    return result;
}

/* ---- ending -------------------------------------------------------------------------------- */

int weft_stream_end(weft_ctx *ctx) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    if (!stream->over && !stream->write_over) {
        stream->write_over = true;
        weft__stream_dirty(stream);
    }
    return 0;
}

int weft_stream_close(weft_ctx *ctx) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    weft__stream_close(stream);
    return 0;
}

int weft_stream_abort(weft_ctx *ctx) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    stream->closing = true;
    stream->reset = true;
    weft__stream_fail(stream, -ECONNABORTED);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int set_paused(weft_ctx *ctx, bool paused) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    stream->paused = paused;
    weft__stream_update(stream);
    return 0;
}

int weft_stream_pause(weft_ctx *ctx) {
    return set_paused(ctx, true);
}

int weft_stream_resume(weft_ctx *ctx) {
    return set_paused(ctx, false);
}

/* ---- asking -------------------------------------------------------------------------------- */

int weft_stream_inspect(weft_ctx *ctx, weft_stream_info *ret_info) {
    struct weft__stream *stream;
    int result = find(ctx, &stream);
    if (result != 0) {
        return result;
    }
    if (ret_info == NULL || ret_info->struct_size != sizeof(*ret_info)) {
        return -EINVAL;
    }
    weft_stream_info info = {.struct_size = sizeof(info),
                             .received = stream->received,
                             .sent = stream->sent,
                             .queued = stream->queue.bytes + stream->early.bytes,
                             .accepted = stream->listen != NULL,
                             .tls = stream->tls != NULL};
    if (stream->fd >= 0) {
        /* Either may be gone: the family is then 0. */
        (void)stream->io->calls->local(stream->io->env, stream->fd, &info.local);
        (void)stream->io->calls->peer(stream->io->env, stream->fd, &info.peer);
    }
    *ret_info = info;
    return 0;
}

/* The session of an open TLS stream. */
static int find_session(weft_ctx *ctx, struct weft__tls_session **ret_session) {
    struct weft__stream *stream;
    int result = find_open(ctx, &stream);
    if (result != 0) {
        return result;
    }
    if (stream->tls == NULL) {
        return -ENOSYS;
    }
    if (stream->state < WEFT__STREAM_OPEN || stream->session == NULL) {
        return -ENOTCONN;
    }
    *ret_session = stream->session;
    return 0;
}

int weft_stream_tls_inspect(weft_ctx *ctx, weft_tls_info *ret_info) {
    struct weft__tls_session *session;
    int result = find_session(ctx, &session);
    if (result != 0) {
        return result;
    }
    if (ret_info == NULL || ret_info->struct_size != sizeof(*ret_info)) {
        return -EINVAL;
    }
    struct errand errand = {.session = session, .fn = go_inspect, .what = ret_info};
    return go(ctx, &errand);
}

int weft_stream_tls_peer(weft_ctx *ctx, const void **ret_der, size_t *ret_size) {
    struct weft__tls_session *session;
    int result = find_session(ctx, &session);
    if (result != 0) {
        return result;
    }
    if (ret_der == NULL || ret_size == NULL) {
        return -EINVAL;
    }
    struct peer peer = {.der = ret_der, .size = ret_size};
    struct errand errand = {.session = session, .fn = go_peer, .what = &peer};
    return go(ctx, &errand);
}

int weft_stream_tls_export(weft_ctx *ctx, const struct weft_tls_export *what) {
    struct weft__tls_session *session;
    int result = find_session(ctx, &session);
    if (result != 0) {
        return result;
    }
    if (what == NULL || what->label == NULL || what->secret == NULL || what->secret_size == 0 ||
        (what->context == NULL && what->context_size != 0)) {
        return -EINVAL;
    }
    struct weft__tls_export inner = {.label = what->label,
                                     .context = what->context,
                                     .context_size = what->context_size,
                                     .secret = what->secret,
                                     .secret_size = what->secret_size};
    struct errand errand = {.session = session, .fn = go_export, .what = &inner};
    return go(ctx, &errand);
}

int weft_stream_tls_rekey(weft_ctx *ctx) {
    struct weft__tls_session *session;
    int result = find_session(ctx, &session);
    if (result != 0) {
        return result;
    }
    struct errand errand = {.session = session, .fn = go_rekey};
    return weft__stream_of(ctx)->over ? -ENOTCONN : go(ctx, &errand);
}

int weft_stream_tls_error(weft_ctx *ctx, weft_tls_error *ret_error) {
    struct weft__stream *stream;
    int result = find(ctx, &stream);
    if (result != 0) {
        return result;
    }
    if (stream->tls == NULL) {
        return -ENOSYS;
    }
    if (ret_error == NULL) {
        return -EINVAL;
    }
    if (stream->session != NULL) {
        weft__tls_error(stream->session, ret_error);
    } else {
        *ret_error = (weft_tls_error){.alert = -1};
    }
    return 0;
}
