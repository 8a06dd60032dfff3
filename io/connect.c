/* SPDX-License-Identifier: MIT
 *
 * Connecting: a name is looked up on a helper thread, then its addresses are tried one after the
 * other until one answers or the time is up. Each try but the last gets at most its share of what
 * time is left, so that one silent address does not use it all.
 *
 * A dial is shared by the stream and the helper's job: whoever drops it last frees it, because the
 * actor may end while the name is being looked up.
 */
#include "io/stream.h"
#include "sched/blocking.h"
#include <string.h>

enum {
    ADDRESSES_MAX = 8,
    NAME_BYTES = 256,
};
#define TIMEOUT_DEFAULT_NS UINT64_C(10000000000)

struct weft__dial {
    weft_atomic_u32 references; /* the stream's and the job's; any thread. The last one frees */
    struct weft__core *core;
    /* const after it was made */
    uint64_t timeout_ns;
    weft_address local;
    bool has_local;
    bool resolve;
    uint16_t port;
    char host[NAME_BYTES];
    char tls_name[NAME_BYTES];
    /* the helper's, then the stream's */
    weft_address addresses[ADDRESSES_MAX];
    uint32_t count;
    /* the stream's */
    uint32_t tried;
    uint64_t deadline_ns;
    int status; /* of the last try */
};

void weft__dial_unref(struct weft__dial *dial) {
    if (dial == NULL) {
        return;
    }
    struct weft__core *core = dial->core;
    if (weft_add32_acq_rel(&dial->references, UINT32_MAX) == 1) {
        weft__free(core, dial, sizeof(*dial), "dial");
    }
}

const char *weft__dial_name(const struct weft__dial *dial) {
    return dial != NULL && dial->tls_name[0] != '\0' ? dial->tls_name : NULL;
}

/* ---- what to connect to -------------------------------------------------------------------- */

static int copy_name(char target[NAME_BYTES], const char *name, size_t length) {
    if (length == 0 || length >= NAME_BYTES) {
        return -EINVAL;
    }
    memcpy(target, name, length);
    target[length] = '\0';
    return 0;
}

static int parse_port(const char *text, uint16_t *ret_port) {
    uint32_t port = 0;
    if (text[0] == '\0') {
        return -EINVAL;
    }
    for (const char *at = text; *at != '\0'; at++) { /* bounded: five digits at most pass */
        if (*at < '0' || *at > '9') {
            return -EINVAL;
        }
        port = port * 10 + (uint32_t)(*at - '0');
        if (port > UINT16_MAX) {
            return -EINVAL;
        }
    }
    *ret_port = (uint16_t)port;
    return port == 0 ? -EINVAL : 0;
}

/* "name:port", where name is no address. */
static int parse_name(struct weft__dial *dial, const char *text) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || memchr(text, ':', (size_t)(colon - text)) != NULL) {
        return -EINVAL;
    }
    int result = parse_port(colon + 1, &dial->port);
    if (result == 0) {
        result = copy_name(dial->host, text, (size_t)(colon - text));
    }
    dial->resolve = true;
    return result;
}

/* The address as a certificate would name it: without port, brackets and scope. */
static int name_of_address(struct weft__dial *dial, weft_tls *tls) {
    char text[WEFT_ADDRESS_TEXT_BYTES];
    const weft_address *address = &dial->addresses[0];
    if (address->family == WEFT_FAMILY_UNIX) {
        return weft__tls_wants_name(tls) ? -EINVAL : 0; /* a path is in no certificate */
    }
    (void)weft_address_format(address, text, sizeof(text)); /* fits */
    const char *from = text[0] == '[' ? text + 1 : text;
    size_t length = strcspn(from, text[0] == '[' ? "]%" : ":");
    return copy_name(dial->tls_name, from, length);
}

static int fill_dial(struct weft__dial *dial, const weft_connect_options *options) {
    int result = weft_address_parse(options->address, &dial->addresses[0]);
    if (result == 0) {
        dial->count = 1;
        bool port_missing = dial->addresses[0].port == 0;
        if (dial->addresses[0].family != WEFT_FAMILY_UNIX && port_missing) {
            return -EINVAL;
        }
    } else {
        result = parse_name(dial, options->address);
    }
    if (result == 0 && options->local != NULL) {
        dial->has_local = true;
        result = weft_address_parse(options->local, &dial->local);
    }
    if (result != 0 || options->tls == NULL) {
        return result;
    }
    if (options->tls_name != NULL) {
        return copy_name(dial->tls_name, options->tls_name, strlen(options->tls_name));
    }
    if (dial->resolve) {
        memcpy(dial->tls_name, dial->host, sizeof(dial->tls_name));
        return 0;
    }
    return name_of_address(dial, options->tls);
}

/* ---- trying -------------------------------------------------------------------------------- */

static void try_next(struct weft__stream *stream);

/* One address is no good. */
static void try_failed(struct weft__stream *stream, int status) {
    struct weft__io *io = stream->io;
    stream->dial->status = status;
    if (stream->fd >= 0) {
        io->calls->close(io->env, stream->fd);
        stream->fd = -1;
    }
}

/* Begins to connect to one address. 0, or why it cannot even begin. */
static int try_address(struct weft__stream *stream, const weft_address *address) {
    struct weft__io *io = stream->io;
    struct weft__dial *dial = stream->dial;
    weft_io_socket what = {
        .kind = WEFT_IO_STREAM, .address = address, .local = dial->has_local ? &dial->local : NULL};
    int result = io->calls->open(io->env, &what, &stream->fd);
    if (result != 0) {
        stream->fd = -1;
        return result;
    }
    stream->send_op.complete = weft__dial_connected;
    stream->send_op.kind = WEFT_IO_OP_CONNECT;
    stream->send_op.fd = stream->fd;
    stream->send_op.address = address;
    result = io->calls->submit(io->env, io->driver, &stream->send_op);
    if (result != 0) {
        return result;
    }
    stream->sending = true;
    stream->ops++;
    return 0;
}

static void try_next(struct weft__stream *stream) {
    struct weft__dial *dial = stream->dial;
    uint64_t now_ns = weft__io_now(stream->io);
    while (dial->tried < dial->count) { /* bounded by ADDRESSES_MAX */
        const weft_address *address = &dial->addresses[dial->tried++];
        uint64_t left_ns = dial->deadline_ns > now_ns ? dial->deadline_ns - now_ns : 0;
        uint64_t share_ns = left_ns / (dial->count - dial->tried + 1);
        int result = try_address(stream, address);
        if (result == 0) {
            stream->until_ns = weft_add_saturated(now_ns, share_ns);
            weft__stream_alarm(stream);
            return;
        }
        try_failed(stream, result);
    }
    weft__stream_fail(stream, dial->status);
}

bool weft__dial_expired(struct weft__stream *stream) {
    struct weft__dial *dial = stream->dial;
    if (dial == NULL || stream->state != WEFT__STREAM_DIALING || !stream->sending ||
        dial->tried >= dial->count || weft__io_now(stream->io) >= dial->deadline_ns) {
        return false;
    }
    /* On to the next address, as soon as this one has let go. */
    stream->until_ns = dial->deadline_ns;
    weft__stream_alarm(stream);
    stream->io->calls->cancel(stream->io->env, stream->io->driver, &stream->send_op);
    return true;
}

void weft__dial_connected(weft_io_op *op, const weft_io_result *result) {
    struct weft__stream *stream =
        (struct weft__stream *)(void *)((char *)op - offsetof(struct weft__stream, send_op));
    weft_assert(stream->magic == WEFT__STREAM_MAGIC);
    stream->sending = false;
    stream->ops--;
    if (stream->over) {
        weft__stream_settled(stream);
        return;
    }
    if (result->result < 0) {
        try_failed(stream, result->result == -ECANCELED ? -ETIMEDOUT : result->result);
        try_next(stream);
        return;
    }
    weft_counter_add(&stream->io->s->counters.io_connects, 1);
    weft__stream_connected(stream);
}

/* ---- looking up ---------------------------------------------------------------------------- */

/* On a helper thread. */
static int resolve_job(void *arg) {
    struct weft__dial *dial = arg;
    weft_env *env = dial->core->env;
    if (weft_load32_acquire(&dial->references) == 1) { /* nobody waits any more */
        weft__dial_unref(dial);
        return WEFT_E_RESOLVE;
    }
    int result = env->io->resolve(env, dial->host, dial->port, dial->addresses, ADDRESSES_MAX);
    if (result >= 0) {
        dial->count = (uint32_t)result;
        result = result > 0 ? 0 : WEFT_E_RESOLVE;
    }
    weft__dial_unref(dial); /* the message that follows publishes what was found */
    return result;
}

static void resolve_discard(void *arg) {
    weft__dial_unref(arg);
}

void weft__dial_resolved(struct weft__stream *stream, int result) {
    if (stream->over || stream->dial == NULL) {
        return;
    }
    if (result != 0) {
        weft__stream_fail(stream, result);
        return;
    }
    try_next(stream);
}

void weft__dial_start(struct weft__stream *stream) {
    struct weft__dial *dial = stream->dial;
    dial->deadline_ns = weft_add_saturated(weft__io_now(stream->io), dial->timeout_ns);
    dial->status = -ETIMEDOUT;
    stream->until_ns = dial->deadline_ns;
    weft__stream_alarm(stream);
    if (!dial->resolve) {
        try_next(stream);
        return;
    }
    (void)weft_add32_acq_rel(&dial->references, 1);
    struct weft__work work = {.fn = resolve_job,
                              .arg = dial,
                              .discard = resolve_discard,
                              .target = stream->owner,
                              .kind = WEFT__SIGNAL_UPPER};
    int result = weft__blocking_run(stream->io->s, &work);
    if (result != 0) {
        weft__dial_unref(dial);
        weft__stream_fail(stream, result);
        return;
    }
}

/* ---- public -------------------------------------------------------------------------------- */

static const char *what_is_wrong(const weft_runtime *runtime, const weft_connect_options *options) {
    if (options->struct_size != sizeof(*options)) {
        return "struct_size is not WEFT_CONNECT_OPTIONS_INIT";
    }
    if (options->address == NULL) {
        return "address is missing";
    }
    if (options->type == NULL || options->type->runtime != runtime) {
        return "type is not registered with this runtime";
    }
    if ((options->arg == NULL && options->arg_size != 0) ||
        options->arg_size > runtime->config.message_bytes_max) {
        return "arg is missing, or larger than actor.message";
    }
    if (options->tls != NULL && weft__tls_usable(options->tls, false) != 0) {
        return "tls has nothing to verify a server with";
    }
    weft_stream_options full;
    if (weft__stream_options(&options->stream, &full) != 0) {
        return "stream: send_low <= send_high <= send_max does not hold, or a flag is unknown";
    }
    return options->scheduler > runtime->count ? "there is no such scheduler" : NULL;
}

static int check_options(weft_runtime *runtime, const weft_connect_options *options) {
    if (options == NULL) {
        return -EINVAL;
    }
    if (runtime->core.env->io == NULL) {
        return -ENOSYS;
    }
    const char *wrong = what_is_wrong(runtime, options);
    return wrong == NULL ? 0 : weft__io_refuse(runtime, "weft_connect", wrong);
}

/* A stream that is to connect [out]. */
static int make_stream(weft_runtime *runtime, const weft_connect_options *options,
                       struct weft__stream **ret_stream) {
    weft_stream_options full;
    int result = weft__stream_options(&options->stream, &full);
    struct weft__net *net = weft__net_of(runtime);
    if (result != 0 || net == NULL) {
        return result != 0 ? result : -ENOMEM;
    }
    struct weft__dial *dial = weft__alloc(&runtime->core, sizeof(*dial), "dial");
    if (dial == NULL) {
        return -ENOMEM;
    }
    weft_store32_relaxed(&dial->references, 1);
    dial->core = &runtime->core;
    dial->timeout_ns = options->timeout_ns == 0 ? TIMEOUT_DEFAULT_NS : options->timeout_ns;
    result = fill_dial(dial, options);
    if (result == -EINVAL) {
        result = weft__io_refuse(runtime, "weft_connect",
                                 "address or local is not of the form HOST:PORT, [HOST]:PORT or "
                                 "unix:PATH, or tls needs a tls_name");
    }
    if (result == 0 && !weft__net_enter(net)) {
        result = WEFT_E_LIMIT;
    }
    if (result != 0) {
        weft__dial_unref(dial);
        return result;
    }
    struct weft__stream_plan plan = {.options = &full, .tls = options->tls, .fd = -1};
    struct weft__stream *stream = weft__stream_new(runtime, &plan);
    if (stream == NULL) {
        weft__net_leave(net);
        weft__dial_unref(dial);
        return -ENOMEM;
    }
    stream->dial = dial;
    *ret_stream = stream;
    return 0;
}

/* Where from: an actor of scheduler s, or outside (s NULL). */
static int connect_from(weft_runtime *runtime, struct weft__scheduler *s, uint64_t parent,
                        const weft_connect_options *options, weft_pid *ret_pid) {
    struct weft__stream *stream;
    int result = make_stream(runtime, options, &stream);
    if (result != 0) {
        return result;
    }
    uint32_t here = s != NULL ? s->id : weft__net_place(weft__net_of(runtime));
    struct weft__birth birth = {.type = options->type,
                                .arg = options->arg,
                                .arg_size = options->arg_size,
                                .parent = parent,
                                .scheduler = options->scheduler != 0 ? (int)options->scheduler - 1
                                                                     : (int)here,
                                .pin = true,
                                .attachment = &stream->attachment};
    weft_pid pid;
    result = s != NULL ? weft__spawn(runtime, s, &birth, &pid)
                       : weft__spawn_outside(runtime, &birth, &pid);
    if (result != 0) {
        weft__stream_drop(stream);
    } else if (ret_pid != NULL) {
        *ret_pid = pid;
    }
    return result;
}

int weft_connect(weft_ctx *ctx, const weft_connect_options *options, weft_pid *ret_pid) {
    if (ctx == NULL) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    int result = check_options(s->runtime, options);
    return result != 0 ? result : connect_from(s->runtime, s, weft__from(ctx), options, ret_pid);
}

int weft_runtime_connect(weft_runtime *runtime, const weft_connect_options *options,
                         weft_pid *ret_pid) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    int result = check_options(runtime, options);
    return result != 0 ? result : connect_from(runtime, NULL, 0, options, ret_pid);
}
