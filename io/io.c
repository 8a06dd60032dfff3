/* SPDX-License-Identifier: MIT
 *
 * The I/O layer's shared and per-scheduler state, and its turn in every step. See io/io.h.
 */
#include "io/io.h"
#include "io/stream.h"
#include <string.h>

enum {
    SPARE_SMALL_MAX = 256, /* segments kept for the next writes */
    SPARE_LARGE_MAX = 64,
    RETRY_NS = 10000000,
    PATIENCE_NS = 1000000000, /* what a handshake may take while others wait */
    STARVED_PER_POLL = 64,
};

/* ---- shared -------------------------------------------------------------------------------- */

static void net_destroy(weft_runtime *runtime) {
    weft__free(&runtime->core, runtime->upper_shared, sizeof(struct weft__net), "net");
    runtime->upper_shared = NULL;
}

struct weft__net *weft__net_of(weft_runtime *runtime) {
    weft__lock_enter(&runtime->upper_lock, runtime->core.env);
    struct weft__net *net = runtime->upper_shared;
    if (net == NULL) {
        net = weft__alloc(&runtime->core, sizeof(*net), "net");
        if (net != NULL) {
            net->runtime = runtime;
            runtime->upper_shared = net;
            runtime->upper_destroy = net_destroy;
        }
    }
    weft__lock_leave(&runtime->upper_lock);
    return net;
}

uint32_t weft__net_place(struct weft__net *net) {
    uint32_t count = net->runtime->count;
    uint32_t first = weft_add32_acq_rel(&net->round_robin, 1) % count;
    uint32_t best = first;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = first + i < count ? first + i : first + i - count;
        /* Advisory: a wrong choice costs balance only. */
        if (weft_load32_relaxed(&net->loads[id]) < weft_load32_relaxed(&net->loads[best])) {
            best = id;
        }
    }
    return best;
}

bool weft__net_enter(struct weft__net *net) {
    uint32_t before = weft_add32_acq_rel(&net->streams, 1);
    if (before >= net->runtime->config.io_connections) {
        (void)weft_add32_acq_rel(&net->streams, UINT32_MAX);
        return false;
    }
    (void)weft_add32_acq_rel(&net->runtime->upper_busy, 1);
    return true;
}

void weft__net_leave(struct weft__net *net) {
    (void)weft_add32_acq_rel(&net->streams, UINT32_MAX);
    (void)weft_add32_acq_rel(&net->runtime->upper_busy, UINT32_MAX);
}

int weft__io_refuse(weft_runtime *runtime, const char *call, const char *what) {
    weft_log_field fields[] = {
        {.key = "call", .kind = WEFT_LOG_TEXT, .text = call},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = what},
    };
    weft__log(&runtime->core, WEFT_LOG_WARN, "io.options", fields, 2);
    return -EINVAL;
}

/* ---- per scheduler: a step ----------------------------------------------------------------- */

static struct weft__io *io_of(struct weft__upper *upper) {
    return (struct weft__io *)(void *)upper; /* its first member */
}

/* Receives that found no buffer are started again: there may be some now. */
static void feed_starved(struct weft__io *io) {
    if (io->starved.count == 0 || weft__io_now(io) < io->retry_ns) {
        return;
    }
    io->retry_ns = weft__io_now(io) + RETRY_NS;
    uint32_t count = io->starved.count < STARVED_PER_POLL ? io->starved.count : STARVED_PER_POLL;
    while (count-- > 0) {
        struct weft__stream *stream = io->starved.first;
        weft__stream_unlink(&io->starved, stream, WEFT__LINK_WAIT);
        weft__stream_update(stream);
    }
}

static void flush_dirty(struct weft__io *io) {
    uint32_t count = io->dirty.count; /* who is added meanwhile is for the next poll */
    while (count-- > 0 && io->dirty.first != NULL) {
        struct weft__stream *stream = io->dirty.first;
        weft__stream_unlink(&io->dirty, stream, WEFT__LINK_DIRTY);
        weft__stream_flush(stream);
    }
}

/* Handshakes that waited for others to end. When those take long, the oldest makes room: clients
 * that begin one and fall silent must not keep others out. */
static void begin_shaking(struct weft__io *io) {
    if (io->active.count >= io->handshakes_max &&
        weft__io_now(io) - io->active.first->shake_ns >= PATIENCE_NS) {
        weft_counter_add(&io->s->counters.io_timeouts, 1);
        weft__stream_fail(io->active.first, -ETIMEDOUT);
    }
    while (io->shaking.first != NULL && io->active.count < io->handshakes_max &&
           io->begun < WEFT__BEGUN_MAX) {
        struct weft__stream *stream = io->shaking.first;
        weft__stream_unlink(&io->shaking, stream, WEFT__LINK_WAIT);
        weft__stream_begin_tls(stream);
    }
}

/* The runtime stops: streams whose actors had ended before do not wait for their peers. */
static void hurry_orphans(struct weft__io *io) {
    io->stopping = true;
    for (struct weft__stream *stream = io->orphans.first; stream != NULL;
         stream = stream->next[WEFT__LINK_ORPHAN]) { /* bounded by the streams */
        weft__stream_hurry(stream);
    }
}

/* What the driver has counted, for whoever reads statistics: a few polls old at most. */
static void show_counts(struct weft__io *io) {
    weft_io_counts counts = {0};
    struct weft__counters *shown = &io->s->counters;
    io->calls->counts(io->env, io->driver, &counts);
    weft_store64_relaxed(&shown->io_enters, counts.enters);
    weft_store64_relaxed(&shown->io_submitted, counts.submitted);
    weft_store64_relaxed(&shown->io_overflows, counts.overflows);
    weft_store64_relaxed(&shown->io_starved, counts.starved);
}

static uint32_t io_poll(struct weft__upper *upper, uint64_t now_ns) {
    struct weft__io *io = io_of(upper);
    io->begun = 0;
    flush_dirty(io);
    if (weft_unlikely(io->starved.count != 0)) {
        feed_starved(io);
    }
    if (weft_unlikely(weft__phase(io->runtime) >= WEFT__RUNTIME_STOPPING) && !io->stopping) {
        hurry_orphans(io);
    }
    if (weft_unlikely(io->shaking.count != 0)) {
        begin_shaking(io);
    }
    uint32_t done = io->calls->poll(io->env, io->driver);
    if (done != 0) {
        show_counts(io);
    }
    while (io->ended.first != NULL) { /* bounded by the streams */
        struct weft__stream *stream = io->ended.first;
        weft__stream_unlink(&io->ended, stream, WEFT__LINK_WAIT);
        weft__stream_free(stream);
    }
    if (io->alarms.count != 0) {
        done += weft__alarms_fire(&io->alarms, now_ns);
    }
    return done;
}

static uint64_t io_deadline(const struct weft__upper *upper) {
    const struct weft__io *io = (const struct weft__io *)(const void *)upper;
    uint64_t due_ns = weft__alarms_next_ns(&io->alarms);
    if (io->dirty.count != 0 || io->ended.count != 0) {
        return 0; /* not before that was done */
    }
    if (io->starved.count != 0) {
        due_ns = weft_min_u64(due_ns, io->retry_ns);
    }
    if (io->shaking.count != 0 && io->active.count < io->handshakes_max) {
        return 0; /* more of them in the next poll */
    }
    if (io->shaking.count != 0) {
        due_ns = weft_min_u64(due_ns, io->active.first->shake_ns + PATIENCE_NS);
    }
    return due_ns;
}

/* ---- per scheduler: life ------------------------------------------------------------------- */

static weft_buf *host_take(void *cookie) {
    struct weft__io *io = cookie;
    return weft__buffers_take(&io->buffers);
}

static void io_leave(struct weft__upper *upper) {
    struct weft__io *io = io_of(upper);
    show_counts(io);
    io->calls->detach(io->env, io->driver);
    if (io->plain != NULL) {
        weft_buf_unref(io->plain);
        io->plain = NULL;
    }
    weft__tls_leave_thread();
}

static void io_destroy(struct weft__upper *upper) {
    struct weft__io *io = io_of(upper);
    for (int spare = 0; spare < WEFT__SPARES; spare++) {
        while (io->spare[spare] != NULL) { /* bounded by what is kept */
            struct weft__segment *segment = io->spare[spare];
            io->spare[spare] = segment->next;
            weft__free(io->core, segment, sizeof(*segment) + segment->capacity, "segment");
        }
    }
    weft__buffers_fini(&io->buffers);
    weft__free(io->core, io, sizeof(*io), "io");
}

static const struct weft__upper_calls io_calls = {
    .poll = io_poll, .deadline = io_deadline, .leave = io_leave, .destroy = io_destroy};

static struct weft__io *io_make(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    struct weft__net *net = weft__net_of(runtime);
    struct weft__io *io = net != NULL ? weft__alloc(s->core, sizeof(*io), "io") : NULL;
    if (io == NULL) {
        return NULL;
    }
    io->upper.calls = &io_calls;
    io->runtime = runtime;
    io->net = net;
    io->s = s;
    io->core = s->core;
    io->env = s->core->env;
    io->calls = io->env->io;
    io->driver = s->driver;
    io->handshakes_max = runtime->config.io_handshakes;
    /* What a buffer holds becomes one message. */
    weft__buffers_init(
        &io->buffers, s, s->core,
        weft_min_u64(runtime->config.io_buffer_bytes, runtime->config.message_bytes_max),
        runtime->config.io_buffers);
    weft__alarms_init(&io->alarms, s->now_ns);
    io->host =
        (weft_io_host){.cookie = io, .take = host_take, .ring_count = runtime->config.io_buffers};
    if (io->calls->attach(io->env, io->driver, &io->host) != 0) {
        weft__buffers_fini(&io->buffers);
        weft__free(s->core, io, sizeof(*io), "io");
        return NULL;
    }
    return io;
}

struct weft__io *weft__io_of(struct weft__scheduler *s) {
    if (weft_unlikely(s->upper == NULL)) {
        struct weft__io *io = s->core->env->io != NULL ? io_make(s) : NULL;
        if (io == NULL) {
            return NULL;
        }
        s->upper = &io->upper;
    }
    return io_of(s->upper);
}

/* ---- telling actors ------------------------------------------------------------------------ */

int weft__io_tell(struct weft__io *io, const struct weft__news *news) {
    struct weft__scheduler *s = io->s;
    struct weft__draft draft = {.kind = WEFT_MSG_IO, .wide = true, .tag = news->tag};
    weft_msg *msg;
    int result = weft__msg_make(io->runtime, s, &draft, &msg);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    msg->weft__u.weft__r.weft__ref = news->token;
    msg->weft__u.weft__r.weft__value = news->status;
    if (weft__post(s, news->owner, msg, false) != 0) {
        weft__msg_free(io->runtime, s, msg); /* it has ended */
    }
    return 0;
}

int weft__io_give(struct weft__io *io, const struct weft__received *received) {
    struct weft__scheduler *s = io->s;
    weft_buf *buf = received->buf;
    const unsigned char *data = (const unsigned char *)buf->data + received->offset;
    struct weft__draft draft = {.data = data,
                                .size = received->size,
                                .tag = received->tag,
                                .kind = WEFT_MSG_IO,
                                .wide = true};
    bool large = received->size > WEFT__INLINE_BYTES;
    bool lend = large && weft__buffers_may_lend(&io->buffers);
    if (weft_unlikely(large && !lend)) {
        weft_counter_add(&s->counters.io_copied, received->size);
    }
    if (lend) {
        draft.buf = buf;
        draft.lend = true;
    }
    weft_msg *msg;
    int result = weft__msg_make(io->runtime, s, &draft, &msg);
    if (weft_unlikely(result != 0)) {
        weft_buf_unref(buf);
        return result;
    }
    if (lend) {
        weft__buffers_lent(&io->buffers, buf);
    } else {
        weft_buf_unref(buf);
    }
    msg->weft__from = received->from;
    memcpy(&msg->weft__u.weft__r.weft__ref, received->address, sizeof(received->address));
    if (weft__post(s, received->owner, msg, false) != 0) {
        weft__msg_free(io->runtime, s, msg);
    }
    return 0;
}

/* ---- segments ------------------------------------------------------------------------------ */

struct weft__segment *weft__segment_take(struct weft__io *io, enum weft__spare spare) {
    struct weft__segment *segment = io->spare[spare];
    if (segment != NULL) {
        io->spare[spare] = segment->next;
        io->spare_count[spare]--;
    }
    return segment;
}

bool weft__segment_keep(struct weft__io *io, enum weft__spare spare,
                        struct weft__segment *segment) {
    uint32_t max = spare == WEFT__SPARE_SMALL ? SPARE_SMALL_MAX : SPARE_LARGE_MAX;
    if (io->spare_count[spare] >= max) {
        return false;
    }
    segment->next = io->spare[spare];
    io->spare[spare] = segment;
    io->spare_count[spare]++;
    return true;
}
