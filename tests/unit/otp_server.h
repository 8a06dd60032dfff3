/* SPDX-License-Identifier: MIT
 *
 * The service that the ports of gen_server_SUITE call, cast to and stop.
 */
#ifndef WEFT_TESTS_UNIT_OTP_SERVER_H
#define WEFT_TESTS_UNIT_OTP_SERVER_H

#include "tests/unit/otp_support.h"

enum {
    /* calls */
    CALL_STARTED = 1,
    CALL_DELAYED = 2,  /* answered after so many ns of idleness */
    CALL_WITHIN = 3,   /* the next call has so many ns */
    CALL_NEXT = 4,     /* was this in time? uint32_t */
    CALL_BAD = 5,      /* the handler's result is none */
    CALL_STOP = 6,     /* answered, then it ends with STOPPED */
    CALL_CRASH = 7,    /* ends with CRASH, not answered */
    CALL_SHUTDOWN = 8, /* ends with WEFT_E_SHUTDOWN, not answered */
    CALL_IDLE = 9,     /* an idle time of so many ns from now on */
    CALL_HOLD = 10,    /* never answered */
    CALL_PING = TAG_PING + 100,
    /* casts */
    CAST_HANDLE = 1,
    CAST_DELAYED = 2, /* tells after so many ns of idleness */
    CAST_STOP = 3,
    CAST_IDLE = 4,
    CAST_WATCH = 5, /* monitors a pid, and tells of its end */
    CAST_ZERO = 6,  /* a message to itself, and idle time 0 */
    CAST_AFTER = 7, /* that message */
    /* what it tells */
    TELL_HANDLED = 0x70,
    TELL_IDLE = 0x71,
    TELL_TERMINATED = 0x72,
    TELL_OTHER = 0x73,
    TELL_AFTER = 0x74,

    STOPPED = 3, /* its own reason */
};

enum server_init {
    SERVER_PLAIN = 0,
    SERVER_REFUSES = 1, /* -ENOTSUP */
    SERVER_QUITS = 2,   /* WEFT_STOP */
    SERVER_BAD = 3,     /* a result that is none */
    SERVER_EXITS = 4,   /* weft_exit in init */
    SERVER_IDLE = 5,    /* an idle time of delay_ns from the first */
    SERVER_ZERO = 6,    /* a message to itself, and idle time 0 */
};

/* Where it tells things; whether it takes the name "server" first. */
struct server_arg {
    weft_pid whom;
    uint64_t delay_ns;
    uint32_t init;
    uint32_t named;
};

enum server_waits { WAITS_NOT = 0, WAITS_TO_ANSWER, WAITS_TO_TELL, WAITS_FOR_CALL };

struct server {
    struct server_arg arg;
    weft_msg *held;
    uint32_t waits;
    bool in_time;
};

static inline void server_tell(weft_ctx *ctx, const struct server *server, uint32_t tag) {
    if (!weft_pid_is_none(server->arg.whom)) {
        (void)weft_send(ctx, server->arg.whom, tag, NULL, 0); /* it may have ended */
    }
}

static inline void server_idle_in(weft_ctx *ctx, struct server *server, uint32_t waits,
                                  uint64_t delay_ns) {
    server->waits = waits;
    ck_assert_int_eq(weft_service_idle(ctx, delay_ns), 0);
}

static inline uint64_t server_delay(const weft_msg *msg) {
    uint64_t delay_ns = 0;
    if (weft_msg_size(msg) == sizeof(delay_ns)) {
        memcpy(&delay_ns, weft_msg_data(msg), sizeof(delay_ns));
    }
    return delay_ns;
}

static inline int server_answer(weft_ctx *ctx, weft_msg *request, const void *data, size_t size) {
    ck_assert_int_eq(weft_reply(ctx, &request, weft_msg_tag(request), data, size), 0);
    return WEFT_CONTINUE;
}

static inline int server_call(weft_ctx *ctx, void *state, weft_msg *request) {
    struct server *server = state;
    uint32_t in_time = server->waits == WAITS_FOR_CALL ? 1 : 0;
    uint64_t delay_ns = server_delay(request);
    server->waits = WAITS_NOT;
    switch (weft_msg_tag(request)) {
    case CALL_DELAYED:
        server->held = weft_msg_take(ctx, request);
        server_idle_in(ctx, server, WAITS_TO_ANSWER, delay_ns);
        return WEFT_CONTINUE;
    case CALL_WITHIN:
        server_idle_in(ctx, server, WAITS_FOR_CALL, delay_ns);
        return server_answer(ctx, request, NULL, 0);
    case CALL_IDLE:
        server_idle_in(ctx, server, WAITS_TO_TELL, delay_ns);
        return server_answer(ctx, request, NULL, 0);
    case CALL_NEXT:
        return server_answer(ctx, request, &in_time, sizeof(in_time));
    case CALL_BAD:
        return 4711;
    case CALL_STOP: {
        weft_reason reason = {.code = STOPPED};
        (void)server_answer(ctx, request, NULL, 0);
        weft_exit_with(ctx, &reason);
        return WEFT_CONTINUE;
    }
    case CALL_CRASH:
        return CRASH;
    case CALL_SHUTDOWN:
        return WEFT_E_SHUTDOWN;
    case CALL_HOLD:
        (void)weft_msg_take(ctx, request);
        return WEFT_CONTINUE;
    default:
        return server_answer(ctx, request, weft_msg_data(request), weft_msg_size(request));
    }
}

static inline int server_zero(weft_ctx *ctx, struct server *server) {
    ck_assert_int_eq(weft_send(ctx, weft_self(ctx), CAST_AFTER, NULL, 0), 0);
    server_idle_in(ctx, server, WAITS_TO_TELL, 0);
    return WEFT_CONTINUE;
}

static inline int server_cast(weft_ctx *ctx, void *state, const weft_msg *msg) {
    struct server *server = state;
    /* The message to itself leaves the waiting to its own: it only tells that it was handled. */
    if (weft_msg_tag(msg) == CAST_AFTER) {
        server_tell(ctx, server, TELL_AFTER);
        server_idle_in(ctx, server, WAITS_TO_TELL, 0);
        return WEFT_CONTINUE;
    }
    server->waits = WAITS_NOT;
    switch (weft_msg_tag(msg)) {
    case CAST_HANDLE:
        server_tell(ctx, server, TELL_HANDLED);
        return WEFT_CONTINUE;
    case CAST_DELAYED:
    case CAST_IDLE:
        server_idle_in(ctx, server, WAITS_TO_TELL, server_delay(msg));
        return WEFT_CONTINUE;
    case CAST_WATCH: {
        weft_pid pid;
        ck_assert_uint_eq(weft_msg_size(msg), sizeof(pid));
        memcpy(&pid, weft_msg_data(msg), sizeof(pid));
        ck_assert_int_eq(weft_monitor(ctx, pid, 1, NULL), 0);
        return WEFT_CONTINUE;
    }
    case CAST_ZERO:
        return server_zero(ctx, server);
    default:
        return WEFT_STOP;
    }
}

static inline int server_idle(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct server *server = state;
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_TIMER);
    uint32_t waits = server->waits;
    server->waits = WAITS_NOT;
    if (waits == WAITS_TO_ANSWER) {
        weft_msg *held = server->held;
        server->held = NULL;
        int result = weft_reply(ctx, &held, CALL_DELAYED, "delayed", 7);
        ck_assert(result == 0 || result == WEFT_E_NOPROC); /* nobody may wait any more */
    } else if (waits == WAITS_TO_TELL) {
        server_tell(ctx, server, TELL_IDLE);
    }
    return WEFT_CONTINUE;
}

/* A DOWN: tells, tells again after 300 ms of idleness; or ends, when the reason was STOPPED. */
static inline int server_other(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct server *server = state;
    server->waits = WAITS_NOT;
    if (weft_msg_kind(msg) != WEFT_MSG_DOWN) {
        return WEFT_CONTINUE;
    }
    server_tell(ctx, server, TELL_OTHER);
    if (weft_msg_status(msg) == STOPPED) {
        return WEFT_STOP;
    }
    server_idle_in(ctx, server, WAITS_TO_TELL, 300 * MS_NS);
    return WEFT_CONTINUE;
}

static inline int server_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct server *server = state;
    if (arg_size == sizeof(server->arg)) {
        memcpy(&server->arg, arg, sizeof(server->arg));
    }
    if (server->arg.named != 0) {
        int result = weft_name_register(weft_runtime_of(ctx), "server", 6, weft_self(ctx));
        if (result != 0) {
            return result;
        }
    }
    switch (server->arg.init) {
    case SERVER_REFUSES:
        return -ENOTSUP;
    case SERVER_QUITS:
        return WEFT_STOP;
    case SERVER_BAD:
        return 4711;
    case SERVER_EXITS:
        weft_exit(ctx, CRASH);
        return WEFT_CONTINUE;
    case SERVER_IDLE:
        server_idle_in(ctx, server, WAITS_TO_TELL, server->arg.delay_ns);
        return WEFT_CONTINUE;
    case SERVER_ZERO:
        return server_zero(ctx, server);
    default:
        return WEFT_CONTINUE;
    }
}

static inline void server_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)reason;
    server_tell(ctx, state, TELL_TERMINATED);
}

static const weft_operation server_operations[] = {
    {.tag = CALL_STARTED, .call = server_call}, {.tag = CALL_DELAYED, .call = server_call},
    {.tag = CALL_WITHIN, .call = server_call},  {.tag = CALL_NEXT, .call = server_call},
    {.tag = CALL_BAD, .call = server_call},     {.tag = CALL_STOP, .call = server_call},
    {.tag = CALL_CRASH, .call = server_call},   {.tag = CALL_SHUTDOWN, .call = server_call},
    {.tag = CALL_IDLE, .call = server_call},    {.tag = CALL_HOLD, .call = server_call},
    {.tag = CALL_PING, .call = server_call},    {.tag = CAST_HANDLE, .cast = server_cast},
    {.tag = CAST_DELAYED, .cast = server_cast}, {.tag = CAST_STOP, .cast = server_cast},
    {.tag = CAST_IDLE, .cast = server_cast},    {.tag = CAST_WATCH, .cast = server_cast},
    {.tag = CAST_ZERO, .cast = server_cast},    {.tag = CAST_AFTER, .cast = server_cast},
};

/* The type, registered when it is first asked for. */
static inline const weft_type *server_type(struct stage *stage) {
    const weft_type *type = weft_type_find(stage->rig.runtime, "server");
    if (type != NULL) {
        return type;
    }
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "server",
                         .state_size = sizeof(struct server),
                         .init = server_init,
                         .terminate = server_terminate,
                         .cookie = stage};
    weft_service_def service = {.struct_size = WEFT_SERVICE_DEF_INIT,
                                .type = &def,
                                .operations = server_operations,
                                .operation_count =
                                    sizeof(server_operations) / sizeof(server_operations[0]),
                                .other = server_other,
                                .idle = server_idle};
    ck_assert_int_eq(weft_service_register(stage->rig.runtime, &service, &type), 0);
    return type;
}

static inline weft_pid start_server_with(weft_ctx *ctx, struct server_arg arg, uint32_t flags,
                                         uint64_t token) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &arg,
                                  .arg_size = sizeof(arg),
                                  .flags = flags,
                                  .token = token};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, server_type(stage_of(ctx)), &options, &pid), 0);
    return pid;
}

/* A server that tells the play things, and is linked to it. */
static inline weft_pid start_server(weft_ctx *ctx) {
    return start_server_with(ctx, (struct server_arg){.whom = weft_self(ctx)}, WEFT_SPAWN_LINK, 0);
}

/* A call without an argument, or with ns; its status. */
static inline int call_server(weft_ctx *ctx, weft_pid server, uint32_t tag) {
    return weft_call_wait(ctx, server, tag, NULL, 0, PATIENCE_NS, NULL);
}

static inline int call_server_ns(weft_ctx *ctx, weft_pid server, uint32_t tag, uint64_t ns,
                                 uint64_t timeout_ns) {
    return weft_call_wait(ctx, server, tag, &ns, sizeof(ns), timeout_ns, NULL);
}

static inline bool tells(const weft_msg *msg, void *arg) {
    const uint32_t *tag = arg;
    return weft_msg_kind(msg) == WEFT_MSG_USER && weft_msg_tag(msg) == *tag;
}

/* The server tells this. */
static inline void expect_told(weft_ctx *ctx, uint32_t tag) {
    weft_msg *msg = NULL;
    int result = weft_receive_match(ctx, PATIENCE_NS, tells, &tag, &msg);
    ck_assert_msg(result == 0, "not told %#x: %d", tag, result);
}

/* It does not tell it, for so long. */
static inline void expect_not_told(weft_ctx *ctx, uint32_t tag, uint64_t for_ns) {
    weft_msg *msg = NULL;
    int result = weft_receive_match(ctx, for_ns, tells, &tag, &msg);
    ck_assert_msg(result == -ETIMEDOUT, "told %#x", tag);
}

/* Stops a server and waits until it has ended: its reason, WEFT_E_NOPROC when there was none, or
 * why it cannot be stopped so. */
static inline int stop_server(weft_ctx *ctx, weft_pid server, int reason) {
    enum { STOP_TOKEN = 0x73746f70 };
    weft_monitor_ref ref = 0;
    ck_assert_int_eq(weft_monitor(ctx, server, STOP_TOKEN, &ref), 0);
    int result = weft_stop(ctx, server, reason);
    if (result == -EINVAL) {
        ck_assert(weft_demonitor(ctx, ref));
        return result;
    }
    return next_down(ctx, STOP_TOKEN).code;
}

#endif
