/* SPDX-License-Identifier: MIT
 *
 * Listeners. What is common to all sockets of one weft_listen is shared and counted (weft__listen);
 * each socket is an actor with an accept operation. Without WEFT_LISTEN_REUSE_PORT there is one
 * socket, and its connections are placed on the scheduler that has fewest; with it every scheduler
 * has a socket and keeps what it accepts, and the first actor ends the others when it ends.
 *
 * A listener that runs out of descriptors or memory pauses, so that the connections that are left
 * get on; those who knock wait in the kernel's queue meanwhile.
 */
#include "io/stream.h"
#include <string.h>

enum {
    MAGIC = 0x6c697374,
    BACKLOG_DEFAULT = 1024,
    PAUSE_NS = 100000000,
};

/* Shared by the sockets and connections of one weft_listen. */
struct weft__listen {
    weft_atomic_u32 references; /* listeners, connections, the call; any thread. The last frees */
    weft_atomic_u32 open;       /* connections; any thread; the limit is exact */
    weft_runtime *runtime;
    /* const after it was made */
    const weft_type *type;
    weft_tls *tls;
    weft_stream_options stream;
    uint32_t connections_max; /* 0: none */
    int scheduler;            /* index from 0 of all connections, or -1: spread */
    bool spread;              /* over all schedulers; else where they were accepted */
    weft_address address;
    size_t arg_size;
    unsigned char arg[];
};

struct listener {
    struct weft__attachment attachment;
    uint32_t magic;
    int fd;
    struct weft__listen *listen;
    struct weft__io *io;
    uint64_t owner;
    weft_io_op op;
    bool accepting; /* the operation is in flight */
    bool over;      /* the actor has ended */
    struct weft__alarm_node alarm;
    uint32_t sibling_count; /* the first one of several: the others */
    weft_pid *siblings;
};

static void listen_unref(struct weft__listen *listen) {
    struct weft__core *core = &listen->runtime->core;
    if (weft_add32_acq_rel(&listen->references, UINT32_MAX) != 1) {
        return;
    }
    weft_tls_unref(listen->tls);
    weft__free(core, listen, sizeof(*listen) + listen->arg_size, "listen");
}

void weft__listen_left(struct weft__listen *listen) {
    (void)weft_add32_acq_rel(&listen->open, UINT32_MAX);
    listen_unref(listen);
}

/* ---- accepting ----------------------------------------------------------------------------- */

/* One connection more; false: too many. */
static bool listen_enter(struct weft__listen *listen) {
    uint32_t before = weft_add32_acq_rel(&listen->open, 1);
    if (listen->connections_max != 0 && before >= listen->connections_max) {
        (void)weft_add32_acq_rel(&listen->open, UINT32_MAX);
        return false;
    }
    (void)weft_add32_acq_rel(&listen->references, 1);
    return true;
}

static void refuse(struct listener *listener, int fd) {
    struct weft__io *io = listener->io;
    weft_counter_add(&io->s->counters.io_refused, 1);
    (void)io->calls->option(io->env, fd, WEFT_IO_RESET, 1, NULL); /* Unix: just closed */
    io->calls->close(io->env, fd);
}

/* A stream and its actor for an accepted descriptor [take]. */
static void welcome(struct listener *listener, int fd) {
    struct weft__io *io = listener->io;
    struct weft__listen *listen = listener->listen;
    if (!listen_enter(listen)) {
        refuse(listener, fd);
        return;
    }
    struct weft__stream_plan plan = {.options = &listen->stream, .tls = listen->tls, .fd = fd};
    bool entered = weft__net_enter(io->net);
    struct weft__stream *stream = entered ? weft__stream_new(io->runtime, &plan) : NULL;
    if (stream == NULL) {
        if (entered) {
            weft__net_leave(io->net);
        }
        weft__listen_left(listen);
        refuse(listener, fd);
        return;
    }
    stream->listen = listen;
    uint32_t id = listen->spread ? weft__net_place(io->net) : io->s->id;
    struct weft__birth birth = {.type = listen->type,
                                .arg = listen->arg,
                                .arg_size = listen->arg_size,
                                .parent = listener->owner,
                                .scheduler = listen->scheduler >= 0 ? listen->scheduler : (int)id,
                                .pin = true,
                                .attachment = &stream->attachment};
    weft_pid pid;
    if (weft__spawn(io->runtime, io->s, &birth, &pid) != 0) {
        weft_counter_add(&io->s->counters.io_refused, 1);
        weft__stream_drop(stream);
        return;
    }
    weft_counter_add(&io->s->counters.io_accepts, 1);
}

static void listener_free(struct listener *listener);
static void start_accepting(struct listener *listener);

/* Connections that went before they were accepted, or things that may be better in a moment. */
static void accept_failed(struct listener *listener, int result) {
    struct weft__io *io = listener->io;
    if (result == -ECANCELED || result == -ECONNABORTED || result == -EINTR || result == -EAGAIN) {
        start_accepting(listener);
        return;
    }
    weft_counter_add(&io->s->counters.io_accept_errors, 1);
    weft_log_field fields[] = {
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(result)},
        {.key = "connections",
         .kind = WEFT_LOG_U64,
         .u64 = weft_load32_relaxed(&listener->listen->open)},
    };
    weft__log(io->core, WEFT_LOG_WARN, "io.accept", fields, 2);
    weft__alarm_set(&io->alarms, &listener->alarm, weft__io_now(io) + PAUSE_NS);
}

static void accepted(weft_io_op *op, const weft_io_result *result) {
    struct listener *listener =
        (struct listener *)(void *)((char *)op - offsetof(struct listener, op));
    weft_assert(listener->magic == MAGIC);
    struct weft__io *io = listener->io;
    if (!result->more) {
        listener->accepting = false;
    }
    if (result->result >= 0) {
        if (listener->over) {
            refuse(listener, result->result);
        } else {
            welcome(listener, result->result);
        }
    }
    if (result->more) {
        return;
    }
    if (listener->over) {
        io->calls->close(io->env, listener->fd);
        listener->fd = -1;
        listener_free(listener);
        return;
    }
    if (result->result >= 0) {
        start_accepting(listener);
    } else {
        accept_failed(listener, result->result);
    }
}

static void start_accepting(struct listener *listener) {
    struct weft__io *io = listener->io;
    listener->op.complete = accepted;
    listener->op.kind = WEFT_IO_OP_ACCEPT;
    listener->op.fd = listener->fd;
    if (io->calls->submit(io->env, io->driver, &listener->op) == 0) {
        listener->accepting = true;
    } else {
        weft__alarm_set(&io->alarms, &listener->alarm, weft__io_now(io) + PAUSE_NS);
    }
}

static void listener_alarmed(struct weft__alarm_node *node) {
    struct listener *listener =
        (struct listener *)(void *)((char *)node - offsetof(struct listener, alarm));
    weft_assert(listener->magic == MAGIC);
    start_accepting(listener);
}

/* ---- as an actor --------------------------------------------------------------------------- */

static struct listener *listener_of(struct weft__attachment *attachment) {
    struct listener *listener = (struct listener *)(void *)attachment; /* its first member */
    weft_assert(listener->magic == MAGIC);
    return listener;
}

static void listener_free(struct listener *listener) {
    weft_runtime *runtime = listener->listen->runtime;
    struct weft__core *core = &runtime->core;
    if (listener->fd >= 0) {
        core->env->io->close(core->env, listener->fd);
    }
    weft__free(core, listener->siblings, listener->sibling_count * sizeof(weft_pid), "siblings");
    listener->magic = 0;
    listen_unref(listener->listen);
    weft__free(core, listener, sizeof(*listener), "listener");
    (void)weft_add32_acq_rel(&runtime->upper_busy, UINT32_MAX);
}

static int listener_begin(struct weft__attachment *attachment, struct weft__scheduler *s,
                          struct weft_ctx *ctx) {
    struct listener *listener = listener_of(attachment);
    listener->io = weft__io_of(s);
    listener->owner = weft__from(ctx);
    return listener->io == NULL ? -ENOMEM : 0;
}

static void listener_start(struct weft__attachment *attachment) {
    start_accepting(listener_of(attachment));
}

static bool listener_admit(struct weft__attachment *attachment, const weft_msg *msg) {
    (void)attachment;
    (void)msg;
    return false;
}

static bool listener_handled(struct weft__attachment *attachment, uint32_t tag, uint32_t size) {
    (void)attachment;
    (void)tag;
    (void)size;
    return false;
}

static void listener_signal(struct weft__attachment *attachment, const weft_msg *msg) {
    (void)attachment;
    (void)msg;
}

static void listener_end(struct weft__attachment *attachment, struct weft__scheduler *s,
                         int reason) {
    struct listener *listener = listener_of(attachment);
    struct weft__listen *listen = listener->listen;
    const weft_env_io *calls = s->core->env->io;
    for (uint32_t i = 0; i < listener->sibling_count; i++) {
        (void)weft_runtime_stop_actor(s->runtime, listener->siblings[i], reason); /* or gone */
    }
    if (listen->address.family == WEFT_FAMILY_UNIX) {
        calls->unlink(s->core->env, &listen->address);
    }
    listener->over = true;
    if (listener->io != NULL) {
        weft__alarm_cancel(&listener->io->alarms, &listener->alarm);
    }
    if (listener->accepting) {
        calls->cancel(s->core->env, listener->io->driver, &listener->op);
        return;
    }
    listener_free(listener);
}

static const struct weft__attachment_calls listener_calls = {.begin = listener_begin,
                                                             .start = listener_start,
                                                             .admit = listener_admit,
                                                             .handled = listener_handled,
                                                             .signal = listener_signal,
                                                             .end = listener_end};

/* The listener's actor has no messages of its own; what anybody sends to it is let go. */
static int listener_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

/* Its type, registered on first use. */
static const weft_type *listener_type(weft_runtime *runtime) {
    static const char name[] = "weft.listener";
    const weft_type *type = weft_type_find(runtime, name);
    if (type != NULL) {
        return type;
    }
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = name, .receive = listener_receive};
    if (weft_type_register(runtime, &def, &type) == -EEXIST) { /* another thread was faster */
        type = weft_type_find(runtime, name);
    }
    return type;
}

/* ---- weft_listen --------------------------------------------------------------------------- */

static const char *what_is_wrong(const weft_runtime *runtime, const weft_listen_options *options) {
    const uint32_t flags = WEFT_LISTEN_REUSE_PORT | WEFT_LISTEN_IPV6_ONLY;
    if (options->struct_size != sizeof(*options)) {
        return "struct_size is not WEFT_LISTEN_OPTIONS_INIT";
    }
    weft_address address;
    if (options->address == NULL || weft_address_parse(options->address, &address) != 0) {
        return "address is not of the form HOST:PORT, [HOST]:PORT, *:PORT or unix:PATH";
    }
    if (options->type == NULL || options->type->runtime != runtime) {
        return "type is not registered with this runtime";
    }
    if ((options->arg == NULL && options->arg_size != 0) ||
        options->arg_size > runtime->config.message_bytes_max) {
        return "arg is missing, or larger than actor.message";
    }
    if (options->tls != NULL && weft__tls_usable(options->tls, true) != 0) {
        return "tls has no certificate";
    }
    weft_stream_options full;
    if (weft__stream_options(&options->stream, &full) != 0) {
        return "stream: send_low <= send_high <= send_max does not hold, or a flag is unknown";
    }
    return options->scheduler > runtime->count ? "there is no such scheduler"
           : (options->flags & ~flags) != 0    ? "a flag is unknown"
                                               : NULL;
}

static int check_options(weft_runtime *runtime, const weft_listen_options *options) {
    if (runtime == NULL || options == NULL) {
        return -EINVAL;
    }
    if (runtime->core.env->io == NULL) {
        return -ENOSYS;
    }
    const char *wrong = what_is_wrong(runtime, options);
    return wrong == NULL ? 0 : weft__io_refuse(runtime, "weft_listen", wrong);
}

static int make_listen(weft_runtime *runtime, const weft_listen_options *options,
                       struct weft__listen **ret_listen) {
    weft_stream_options full;
    weft_address address;
    int result = weft_address_parse(options->address, &address);
    if (result == 0) {
        result = weft__stream_options(&options->stream, &full);
    }
    if (result != 0) {
        return result;
    }
    struct weft__listen *listen =
        weft__alloc(&runtime->core, sizeof(*listen) + options->arg_size, "listen");
    if (listen == NULL || weft__net_of(runtime) == NULL) {
        weft__free(&runtime->core, listen, sizeof(*listen) + options->arg_size, "listen");
        return -ENOMEM;
    }
    weft_store32_relaxed(&listen->references, 1);
    listen->runtime = runtime;
    listen->type = options->type;
    listen->tls = options->tls != NULL ? weft_tls_ref(options->tls) : NULL;
    listen->stream = full;
    listen->connections_max = options->connections_max;
    listen->scheduler = (int)options->scheduler - 1;
    listen->spread = (options->flags & WEFT_LISTEN_REUSE_PORT) == 0;
    listen->address = address;
    listen->arg_size = options->arg_size;
    if (options->arg_size != 0) {
        memcpy(listen->arg, options->arg, options->arg_size);
    }
    *ret_listen = listen;
    return 0;
}

/* One of the sockets to make. */
struct socket_plan {
    const weft_listen_options *options;
    uint32_t scheduler; /* index from 0 */
    weft_pid *siblings; /* of the one that ends the others [take]; else NULL */
    uint32_t sibling_count;
};

static int open_socket(struct weft__listen *listen, const weft_listen_options *options,
                       int *ret_fd) {
    weft_env *env = listen->runtime->core.env;
    weft_io_socket what = {.kind = WEFT_IO_LISTEN,
                           .address = &listen->address,
                           .backlog = options->backlog == 0 ? BACKLOG_DEFAULT : options->backlog,
                           .reuse_port = (options->flags & WEFT_LISTEN_REUSE_PORT) != 0,
                           .ipv6_only = (options->flags & WEFT_LISTEN_IPV6_ONLY) != 0};
    int result = env->io->open(env, &what, ret_fd);
    bool unix_path = listen->address.family == WEFT_FAMILY_UNIX;
    weft_address address;
    if (result == 0 && listen->address.port == 0 && !unix_path &&
        env->io->local(env, *ret_fd, &address) == 0) {
        listen->address = address; /* the first socket decides the port of all */
    }
    return result;
}

/* A socket and its actor. */
static int add_socket(struct weft__listen *listen, const struct socket_plan *plan,
                      weft_pid *ret_pid) {
    weft_runtime *runtime = listen->runtime;
    struct listener *listener = weft__alloc(&runtime->core, sizeof(*listener), "listener");
    if (listener == NULL) {
        return -ENOMEM;
    }
    int result = open_socket(listen, plan->options, &listener->fd);
    if (result != 0) {
        weft__free(&runtime->core, listener, sizeof(*listener), "listener");
        return result;
    }
    listener->attachment.calls = &listener_calls;
    listener->magic = MAGIC;
    listener->alarm.fire = listener_alarmed;
    listener->listen = listen;
    (void)weft_add32_acq_rel(&listen->references, 1);
    (void)weft_add32_acq_rel(&runtime->upper_busy, 1);
    struct weft__birth birth = {.type = listener_type(runtime),
                                .scheduler = (int)plan->scheduler,
                                .pin = true,
                                .attachment = &listener->attachment};
    listener->siblings = plan->siblings;
    listener->sibling_count = plan->sibling_count;
    result = birth.type == NULL ? -ENOMEM : weft__spawn_outside(runtime, &birth, ret_pid);
    if (result != 0) {
        if (listen->address.family == WEFT_FAMILY_UNIX) {
            runtime->core.env->io->unlink(runtime->core.env, &listen->address);
        }
        listener->siblings = NULL; /* the caller's again */
        listener->sibling_count = 0;
        listener_free(listener);
    }
    return result;
}

/* A socket for each scheduler. The others come first: the last one is told of them. */
static int add_sockets(struct weft__listen *listen, const weft_listen_options *options,
                       weft_pid *ret_pid) {
    weft_runtime *runtime = listen->runtime;
    uint32_t count = runtime->count - 1;
    struct socket_plan plan = {.options = options};
    if (count != 0) {
        plan.siblings = weft__alloc(&runtime->core, count * sizeof(weft_pid), "siblings");
        if (plan.siblings == NULL) {
            return -ENOMEM;
        }
    }
    int result = 0;
    for (uint32_t id = 0; id < count && result == 0; id++) {
        struct socket_plan other = {.options = options, .scheduler = id};
        result = add_socket(listen, &other, &plan.siblings[id]);
        plan.sibling_count += result == 0 ? 1 : 0;
    }
    if (result == 0) {
        plan.scheduler = count;
        result = add_socket(listen, &plan, ret_pid);
    }
    if (result != 0) {
        for (uint32_t i = 0; i < plan.sibling_count; i++) {
            (void)weft_runtime_stop_actor(runtime, plan.siblings[i], 0); /* or gone */
        }
        weft__free(&runtime->core, plan.siblings, count * sizeof(weft_pid), "siblings");
    }
    return result;
}

int weft_listen(weft_runtime *runtime, const weft_listen_options *options, weft_pid *ret_listener,
                weft_address *ret_address) {
    struct weft__listen *listen = NULL;
    int result = check_options(runtime, options);
    if (result == 0) {
        result = make_listen(runtime, options, &listen);
    }
    if (result != 0) {
        return result;
    }
    weft_pid pid;
    bool several =
        !listen->spread && options->scheduler == 0 && listen->address.family != WEFT_FAMILY_UNIX;
    if (several) {
        result = add_sockets(listen, options, &pid);
    } else {
        struct socket_plan plan = {.options = options,
                                   .scheduler = options->scheduler != 0
                                                    ? options->scheduler - 1
                                                    : weft__net_place(weft__net_of(runtime))};
        result = add_socket(listen, &plan, &pid);
    }
    if (result == 0 && ret_listener != NULL) {
        *ret_listener = pid;
    }
    if (result == 0 && ret_address != NULL) {
        *ret_address = listen->address;
    }
    listen_unref(listen);
    return result;
}
