/* SPDX-License-Identifier: MIT
 *
 * The life of a stream: made, opened, told, torn down, freed. See io/stream.h for its states and
 * for who frees it when. On its scheduler's thread, except making and dropping.
 */
#include "io/stream.h"

enum {
    OPTIONS_KNOWN =
        WEFT_STREAM_HALF_OPEN | WEFT_STREAM_READ_ALWAYS | WEFT_STREAM_DELAY | WEFT_STREAM_PAUSED,
    STOPPING_LINGER_NS = 250000000, /* how long a runtime that stops waits for a peer's end */
    STOPPING_SEND_S = 60,           /* and at most for one that takes what is queued */
    OWED_RETRY_NS = 20000000,
};

#define SEND_HIGH_DEFAULT (UINT64_C(256) << 10)
#define AHEAD_DEFAULT     (UINT64_C(128) << 10)
#define LINGER_DEFAULT_NS UINT64_C(5000000000)
#define NS_PER_S          UINT64_C(1000000000)
#define SHAKE_DEFAULT_NS  UINT64_C(10000000000)

/* ---- lists --------------------------------------------------------------------------------- */

void weft__stream_link(struct weft__stream_list *list, struct weft__stream *stream,
                       enum weft__stream_link link) {
    if ((stream->linked & (1u << link)) != 0) {
        return;
    }
    stream->linked |= (uint8_t)(1u << link);
    stream->next[link] = NULL;
    stream->previous[link] = list->last;
    if (list->last != NULL) {
        list->last->next[link] = stream;
    } else {
        list->first = stream;
    }
    list->last = stream;
    list->count++;
}

void weft__stream_unlink(struct weft__stream_list *list, struct weft__stream *stream,
                         enum weft__stream_link link) {
    weft_assert((stream->linked & (1u << link)) != 0);
    stream->linked &= (uint8_t) ~(1u << link);
    if (stream->previous[link] != NULL) {
        stream->previous[link]->next[link] = stream->next[link];
    } else {
        list->first = stream->next[link];
    }
    if (stream->next[link] != NULL) {
        stream->next[link]->previous[link] = stream->previous[link];
    } else {
        list->last = stream->previous[link];
    }
    list->count--;
}

/* ---- making -------------------------------------------------------------------------------- */

int weft__stream_options(const weft_stream_options *options, weft_stream_options *ret_options) {
    weft_stream_options full = *options;
    if ((full.flags & ~(uint32_t)OPTIONS_KNOWN) != 0) {
        return -EINVAL;
    }
    if (full.send_high == 0) { /* between what is given */
        full.send_high = weft_max_u64(SEND_HIGH_DEFAULT, full.send_low);
        full.send_high =
            full.send_max == 0 ? full.send_high : weft_min_u64(full.send_high, full.send_max);
    }
    if (full.send_low == 0) {
        full.send_low = full.send_high / 4;
    }
    if (full.send_max == 0) {
        full.send_max = full.send_high > UINT64_MAX / 64 ? UINT64_MAX : full.send_high * 64;
    }
    if (full.send_low > full.send_high || full.send_high > full.send_max) {
        return -EINVAL;
    }
    full.receive_ahead = full.receive_ahead == 0 ? AHEAD_DEFAULT : full.receive_ahead;
    full.linger_ns = full.linger_ns == 0 ? LINGER_DEFAULT_NS : full.linger_ns;
    full.handshake_ns = full.handshake_ns == 0 ? SHAKE_DEFAULT_NS : full.handshake_ns;
    *ret_options = full;
    return 0;
}

static int stream_begin(struct weft__attachment *attachment, struct weft__scheduler *s,
                        struct weft_ctx *ctx);
static void stream_start(struct weft__attachment *attachment);
static bool stream_admit(struct weft__attachment *attachment, const weft_msg *msg);
static bool stream_handled(struct weft__attachment *attachment, uint32_t tag, uint32_t size);
static void stream_signal(struct weft__attachment *attachment, const weft_msg *msg);
static void stream_end(struct weft__attachment *attachment, struct weft__scheduler *s, int reason);

static void stream_alarmed(struct weft__alarm_node *node);

static const struct weft__attachment_calls stream_calls = {.begin = stream_begin,
                                                           .start = stream_start,
                                                           .admit = stream_admit,
                                                           .handled = stream_handled,
                                                           .signal = stream_signal,
                                                           .end = stream_end};

struct weft__stream *weft__stream_new(weft_runtime *runtime, const struct weft__stream_plan *plan) {
    struct weft__stream *stream = weft__alloc(&runtime->core, sizeof(*stream), "stream");
    if (stream == NULL) {
        return NULL;
    }
    const weft_stream_options *options = plan->options;
    stream->attachment.calls = &stream_calls;
    stream->magic = WEFT__STREAM_MAGIC;
    stream->fd = plan->fd;
    stream->runtime = runtime;
    stream->net = weft__net_of(runtime); /* it was made before this */
    stream->tls = plan->tls != NULL ? weft_tls_ref(plan->tls) : NULL;
    stream->send_high = options->send_high;
    stream->send_low = options->send_low;
    stream->send_max = options->send_max;
    stream->receive_ahead = options->receive_ahead;
    stream->idle_ns = options->idle_ns;
    stream->linger_ns = options->linger_ns;
    stream->handshake_ns = options->handshake_ns;
    stream->keepalive_ns = options->keepalive_ns;
    stream->alarm.fire = stream_alarmed;
    stream->options = options->flags;
    stream->bulk = true; /* until it is known */
    stream->paused = (options->flags & WEFT_STREAM_PAUSED) != 0;
    stream->until_ns = UINT64_MAX;
    stream->close_by_ns = UINT64_MAX;
    return stream;
}

static struct weft__stream *stream_of(struct weft__attachment *attachment) {
    struct weft__stream *stream = (struct weft__stream *)(void *)attachment; /* first member */
    weft_assert(stream->magic == WEFT__STREAM_MAGIC);
    return stream;
}

struct weft__stream *weft__stream_of(weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    if (ext == NULL || ext->attachment == NULL || ext->attachment->calls != &stream_calls) {
        return NULL;
    }
    return stream_of(ext->attachment);
}

void weft__stream_free(struct weft__stream *stream) {
    weft_runtime *runtime = stream->runtime;
    weft_assert(stream->ops == 0 && stream->fd < 0);
    weft__queue_clear(stream->io, &runtime->core, &stream->queue);
    weft__queue_clear(stream->io, &runtime->core, &stream->early);
    weft__tls_close(&stream->session);
    weft_tls_unref(stream->tls);
    weft__dial_unref(stream->dial);
    struct weft__listen *listen = stream->listen;
    struct weft__net *net = stream->net;
    weft_buf_unref(stream->first);
    stream->magic = 0;
    weft__free(&runtime->core, stream, sizeof(*stream), "stream");
    if (listen != NULL) {
        weft__listen_left(listen);
    }
    weft__net_leave(net);
}

void weft__stream_drop(struct weft__stream *stream) {
    const weft_env *env = stream->runtime->core.env;
    if (stream->fd >= 0) {
        (void)env->io->option(stream->runtime->core.env, stream->fd, WEFT_IO_RESET, 1, NULL);
        env->io->close(stream->runtime->core.env, stream->fd);
        stream->fd = -1;
    }
    weft__stream_free(stream);
}

/* ---- telling ------------------------------------------------------------------------------- */

void weft__stream_tell(struct weft__stream *stream, uint32_t event, int status) {
    if (stream->owner == 0) {
        return;
    }
    struct weft__news news = {.owner = stream->owner, .tag = event, .status = status};
    if (weft__io_tell(stream->io, &news) == 0) {
        return;
    }
    if (event == WEFT_IO_CLOSED) {
        stream->owes = true;
        stream->until_ns = weft__io_now(stream->io) + OWED_RETRY_NS;
        weft__stream_alarm(stream);
    } else {
        weft__stream_fail(stream, -ENOMEM);
    }
}

/* ---- alarms -------------------------------------------------------------------------------- */

void weft__stream_alarm(struct weft__stream *stream) {
    uint64_t due_ns = weft_min_u64(stream->until_ns, stream->close_by_ns);
    if (stream->idle_ns != 0 && stream->state == WEFT__STREAM_OPEN && !stream->over) {
        due_ns = weft_min_u64(due_ns, weft_add_saturated(stream->moved_ns, stream->idle_ns));
    }
    if (due_ns == UINT64_MAX) {
        weft__alarm_cancel(&stream->io->alarms, &stream->alarm);
    } else {
        weft__alarm_set(&stream->io->alarms, &stream->alarm, due_ns);
    }
}

/* The time that was set for what is under way is up. */
static void expired(struct weft__stream *stream) {
    bool close = weft__io_now(stream->io) >= stream->close_by_ns;
    if (!close && weft__dial_expired(stream)) {
        return;
    }
    stream->until_ns = UINT64_MAX;
    stream->close_by_ns = UINT64_MAX;
    /* Lingering: everything was sent, only the peer does not close. That is its matter. */
    bool all_sent = close && stream->fin_sent && stream->queue.bytes == 0;
    weft_counter_add(&stream->io->s->counters.io_timeouts, 1);
    weft__stream_fail(stream, all_sent ? 0 : -ETIMEDOUT);
}

static void stream_alarmed(struct weft__alarm_node *node) {
    struct weft__stream *stream =
        (struct weft__stream *)(void *)((char *)node - offsetof(struct weft__stream, alarm));
    weft_assert(stream->magic == WEFT__STREAM_MAGIC);
    uint64_t now_ns = weft__io_now(stream->io);
    if (stream->owes) {
        stream->owes = false;
        stream->until_ns = UINT64_MAX;
        weft__stream_tell(stream, WEFT_IO_CLOSED, stream->status);
        return;
    }
    if (now_ns >= stream->until_ns || now_ns >= stream->close_by_ns) {
        expired(stream);
        return;
    }
    bool idle = stream->idle_ns != 0 && stream->state == WEFT__STREAM_OPEN && !stream->over &&
                now_ns - stream->moved_ns >= stream->idle_ns;
    if (idle) {
        weft_counter_add(&stream->io->s->counters.io_timeouts, 1);
        weft__stream_fail(stream, -ETIMEDOUT);
        return;
    }
    weft__stream_alarm(stream);
}

/* ---- handshakes ---------------------------------------------------------------------------- */

bool weft__stream_shake(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    bool next = stream->queued; /* taken out of the line for its turn just now */
    stream->queued = false;
    if (io->active.count >= io->handshakes_max || io->begun >= WEFT__BEGUN_MAX ||
        (!next && io->shaking.count != 0)) {
        stream->queued = true;
        weft__stream_link(&io->shaking, stream, WEFT__LINK_WAIT);
        return false;
    }
    io->begun++;
    stream->shake_ns = weft__io_now(io);
    weft__stream_link(&io->active, stream, WEFT__LINK_SHAKE);
    return true;
}

void weft__stream_shaken(struct weft__stream *stream) {
    if ((stream->linked & (1u << WEFT__LINK_SHAKE)) != 0) {
        weft__stream_unlink(&stream->io->active, stream, WEFT__LINK_SHAKE);
    } /* the next in line begins at the next poll */
}

/* How long a stream may take when the runtime stops. One that has something to send has what the
 * program gives the stop, less the time for the peer's end: what was written shall arrive. */
static uint64_t stopping_linger_ns(const struct weft__stream *stream) {
    if (stream->state != WEFT__STREAM_OPEN || stream->queue.bytes == 0) {
        return STOPPING_LINGER_NS;
    }
    uint64_t now_ns = weft__io_now(stream->io);
    uint64_t by_ns = weft_load64_relaxed(&stream->runtime->stop_by_ns);
    uint64_t left_ns = by_ns > now_ns ? by_ns - now_ns : 0;
    if (left_ns <= 2 * STOPPING_LINGER_NS) {
        return STOPPING_LINGER_NS;
    }
    return weft_min_u64(left_ns - STOPPING_LINGER_NS, STOPPING_SEND_S * NS_PER_S);
}

void weft__stream_hurry(struct weft__stream *stream) {
    if (stream->over) {
        return;
    }
    uint64_t latest_ns = weft_add_saturated(
        weft__io_now(stream->io), weft_min_u64(stream->linger_ns, stopping_linger_ns(stream)));
    stream->close_by_ns = weft_min_u64(stream->close_by_ns, latest_ns);
    weft__stream_alarm(stream);
}

/* ---- opening ------------------------------------------------------------------------------- */

void weft__stream_connected(struct weft__stream *stream) {
    const weft_env_io *calls = stream->io->calls;
    weft_env *env = stream->io->env;
    stream->moved_ns = weft__io_now(stream->io);
    stream->until_ns = UINT64_MAX;
    if ((stream->options & WEFT_STREAM_DELAY) == 0) {
        (void)calls->option(env, stream->fd, WEFT_IO_NODELAY, 1, NULL); /* Unix: not supported */
    }
    if (stream->keepalive_ns != 0) {
        uint64_t seconds = (stream->keepalive_ns - 1) / NS_PER_S + 1;
        (void)calls->option(env, stream->fd, WEFT_IO_KEEPALIVE,
                            (int)weft_min_u64(seconds, INT16_MAX), NULL); /* the kernel's limit */
    }
    if (stream->tls == NULL) {
        weft__stream_opened(stream);
        return;
    }
    stream->state = WEFT__STREAM_SHAKING;
    stream->until_ns = weft_add_saturated(weft__io_now(stream->io), stream->handshake_ns);
    weft__stream_alarm(stream);
    if (stream->listen != NULL) {
        weft__stream_update(stream); /* the client speaks first, and only then takes a place */
    } else {
        weft__stream_begin_tls(stream);
    }
}

void weft__stream_opened(struct weft__stream *stream) {
    stream->state = WEFT__STREAM_OPEN;
    stream->until_ns = UINT64_MAX;
    stream->moved_ns = weft__io_now(stream->io);
    weft__stream_shaken(stream);
    if (!stream->closing && !stream->told_open) {
        stream->told_open = true;
        weft__stream_tell(stream, WEFT_IO_OPEN, 0);
    }
    weft__dial_unref(stream->dial);
    stream->dial = NULL;
    if (!stream->over && stream->early.bytes != 0) {
        int result = weft__stream_send_early(stream);
        if (result != 0) {
            weft__stream_fail(stream, result);
        }
    }
    if (!stream->over) {
        weft__stream_alarm(stream);
        if (stream->queue.bytes != 0 || stream->write_over) {
            weft__stream_dirty(stream);
        }
        weft__stream_update(stream);
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

static void unlink_all(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    if ((stream->linked & (1u << WEFT__LINK_DIRTY)) != 0) {
        weft__stream_unlink(&io->dirty, stream, WEFT__LINK_DIRTY);
    }
    if ((stream->linked & (1u << WEFT__LINK_WAIT)) != 0) {
        weft__stream_unlink(stream->queued ? &io->shaking : &io->starved, stream, WEFT__LINK_WAIT);
        stream->queued = false;
    }
    weft__alarm_cancel(&io->alarms, &stream->alarm);
}

/* Frees it at the end of the next poll: its callers may still look at it. */
static void bury(struct weft__stream *stream) {
    weft__alarm_cancel(&stream->io->alarms, &stream->alarm);
    if ((stream->linked & (1u << WEFT__LINK_ORPHAN)) != 0) {
        weft__stream_unlink(&stream->io->orphans, stream, WEFT__LINK_ORPHAN);
    }
    weft__stream_link(&stream->io->ended, stream, WEFT__LINK_WAIT);
}

/* Nothing is in flight any more: closes the descriptor and tells. */
static void finish(struct weft__stream *stream) {
    struct weft__io *io = stream->io;
    if (stream->fd >= 0) {
        if (stream->reset) {
            (void)io->calls->option(io->env, stream->fd, WEFT_IO_RESET, 1, NULL); /* Unix */
        }
        io->calls->close(io->env, stream->fd);
        stream->fd = -1;
        WEFT__COUNT(stream->runtime, io->s, io_closes, 1);
    }
    weft__queue_clear(io, io->core, &stream->queue);
    weft__queue_clear(io, io->core, &stream->early);
    stream->state = WEFT__STREAM_CLOSED; /* the session stays: DATA may wait, and its actor asks */
    (void)weft_add32_acq_rel(&io->net->loads[io->s->id], UINT32_MAX);
    if (stream->owner == 0) {
        bury(stream);
        return;
    }
    weft__stream_tell(stream, WEFT_IO_CLOSED, stream->status);
}

void weft__stream_settled(struct weft__stream *stream) {
    if (stream->over && stream->ops == 0 && stream->state != WEFT__STREAM_CLOSED) {
        finish(stream);
    }
}

/* The peer has cut it off, maybe in the middle of a handshake. */
static void count_reset(struct weft__stream *stream) {
    if (stream->status != -ECONNRESET) {
        return;
    }
    struct weft__counters *counters = &stream->io->s->counters;
    weft_counter_add(&counters->io_resets, 1);
    if (stream->state == WEFT__STREAM_SHAKING) {
        weft_counter_add(&counters->tls_failures, 1);
    }
}

void weft__stream_fail(struct weft__stream *stream, int status) {
    struct weft__io *io = stream->io;
    if (stream->over) {
        return;
    }
    unlink_all(stream);
    stream->over = true;
    if (!stream->failing) { /* else its own reason stands, and its alert shall arrive */
        bool quiet = status == -ETIMEDOUT && stream->queue.bytes == 0 && stream->early.bytes == 0;
        stream->status = status;
        stream->reset = stream->reset || (status != 0 && !quiet);
        count_reset(stream);
    }
    weft__stream_shaken(stream);
    if (stream->receiving && !stream->cancelled) {
        stream->cancelled = true;
        io->calls->cancel(io->env, io->driver, &stream->receive_op);
    }
    if (stream->sending) {
        io->calls->cancel(io->env, io->driver, &stream->send_op);
    }
    weft__stream_settled(stream);
}

void weft__stream_check_ends(struct weft__stream *stream) {
    if (stream->over || stream->queue.bytes != 0 || !stream->fin_sent) {
        return;
    }
    if (stream->fin_seen || (stream->end_seen && stream->session != NULL)) {
        weft__stream_fail(stream, 0);
    }
}

void weft__stream_close(struct weft__stream *stream) {
    if (stream->closing) {
        return;
    }
    stream->closing = true; /* also when it is over: nothing more is delivered */
    stream->write_over = true;
    if (stream->over || stream->failing) {
        return; /* an alert that is on its way has a time of its own */
    }
    bool dialled = stream->state != WEFT__STREAM_NEW || stream->fd >= 0;
    if (stream->state < WEFT__STREAM_OPEN && (stream->early.bytes == 0 || !dialled)) {
        stream->reset = stream->state == WEFT__STREAM_SHAKING;
        weft__stream_fail(stream, 0); /* nothing to say, or nobody to say it to */
        return;
    }
    uint64_t linger_ns = stream->linger_ns;
    if (weft__phase(stream->runtime) >= WEFT__RUNTIME_STOPPING) {
        linger_ns = weft_min_u64(linger_ns, stopping_linger_ns(stream));
    }
    stream->close_by_ns = weft_add_saturated(weft__io_now(stream->io), linger_ns);
    weft__stream_alarm(stream);
    if (stream->state == WEFT__STREAM_OPEN) {
        weft__stream_dirty(stream);
        weft__stream_update(stream); /* goes on, to see the peer's end */
    }
}

/* ---- as the attachment of its actor -------------------------------------------------------- */

static int stream_begin(struct weft__attachment *attachment, struct weft__scheduler *s,
                        struct weft_ctx *ctx) {
    struct weft__stream *stream = stream_of(attachment);
    stream->io = weft__io_of(s);
    if (stream->io == NULL) {
        return -ENOMEM;
    }
    (void)weft_add32_acq_rel(&stream->io->net->loads[s->id], 1);
    stream->owner = weft__from(ctx);
    stream->moved_ns = s->now_ns;
    return 0;
}

static void stream_start(struct weft__attachment *attachment) {
    struct weft__stream *stream = stream_of(attachment);
    if (stream->over) {
        return; /* init has aborted it */
    }
    if (stream->fd < 0) {
        stream->state = WEFT__STREAM_DIALING;
        weft__dial_start(stream);
        return;
    }
    weft__stream_connected(stream);
}

static bool stream_admit(struct weft__attachment *attachment, const weft_msg *msg) {
    struct weft__stream *stream = stream_of(attachment);
    uint32_t tag = weft_msg_tag(msg);
    if (tag == WEFT_IO_CLOSED) {
        stream->told_closed = true;
        return true;
    }
    if (!stream->closing || tag == WEFT_IO_FILE) {
        return true; /* also when it is over by the peer's doing: that was sent before */
    }
    if (tag == WEFT_IO_DATA) {
        stream->ahead -= weft_msg_size(msg) + WEFT__CHARGE;
    }
    return false;
}

static bool stream_handled(struct weft__attachment *attachment, uint32_t tag, uint32_t size) {
    struct weft__stream *stream = stream_of(attachment);
    if (tag == WEFT_IO_CLOSED) {
        return true;
    }
    if (tag == WEFT_IO_DATA) {
        weft_assert(stream->ahead >= (uint64_t)size + WEFT__CHARGE);
        stream->ahead -= (uint64_t)size + WEFT__CHARGE;
        if (stream->held && stream->ahead <= stream->receive_ahead / 2) {
            stream->held = false;
            weft__stream_update(stream);
        }
    }
    if (tag == WEFT_IO_END && !stream->over && (stream->options & WEFT_STREAM_HALF_OPEN) == 0) {
        weft__stream_close(stream);
    }
    return false;
}

static void stream_signal(struct weft__attachment *attachment, const weft_msg *msg) {
    weft__dial_resolved(stream_of(attachment), weft_msg_status(msg));
}

/* The actor has ended well: what it has written is sent. */
static void end_orderly(struct weft__stream *stream) {
    weft__stream_close(stream);
    if (stream->over) {
        return;
    }
    if (stream->state == WEFT__STREAM_NEW) { /* init has written, and ended */
        weft__stream_connected(stream);
        return;
    }
    if (stream->state == WEFT__STREAM_DIALING && !stream->sending) {
        weft__stream_fail(stream, 0); /* its name is being looked up; the answer has no address */
        return;
    }
    if (weft__phase(stream->runtime) >= WEFT__RUNTIME_STOPPING) {
        weft__stream_hurry(stream);
    }
}

static void stream_end(struct weft__attachment *attachment, struct weft__scheduler *s, int reason) {
    struct weft__stream *stream = stream_of(attachment);
    stream->owner = 0;
    if (stream->io == NULL) { /* it never began */
        weft__stream_drop(stream);
        return;
    }
    weft_assert(stream->io->s == s);
    if (stream->state == WEFT__STREAM_CLOSED) {
        bury(stream);
        return;
    }
    weft__stream_link(&stream->io->orphans, stream, WEFT__LINK_ORPHAN);
    if (reason == 0 || reason == WEFT_E_SHUTDOWN) {
        end_orderly(stream);
        return;
    }
    stream->reset = true;
    weft__stream_fail(stream, reason);
}
