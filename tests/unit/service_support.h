/* SPDX-License-Identifier: MIT
 *
 * A desk: the service of these tests, with an operation for everything a service may do, and a
 * board on which it counts what has reached it.
 */
#ifndef WEFT_TESTS_UNIT_SERVICE_SUPPORT_H
#define WEFT_TESTS_UNIT_SERVICE_SUPPORT_H

#include "tests/unit/support.h"

enum {
    TAG_ECHO = 1,   /* called: answered with its own payload; cast: counted */
    TAG_HOLD = 2,   /* called: taken; cast: answers what is held */
    TAG_IGNORE = 3, /* called: not answered */
    TAG_STOP = 4,   /* called: answered, then it ends normally */
    TAG_CRASH = 5,  /* called and cast: it ends with -EIO */
    TAG_SIZED = 6,  /* 4 to 8 bytes */
    TAG_EXACT = 7,  /* 16 bytes */
    TAG_LEAST = 8,  /* 300 bytes at least */
    TAG_IDLE = 9,   /* cast: sets the idle time that it carries */
    TAG_TIMER = 10, /* cast: a timer with the tag it carries */
    TAG_PASS = 11,  /* called: forwarded to board.next */
    TAG_ASK = 12,   /* cast: calls board.next */
    TAG_UNKNOWN = 99,
};

/* What a service in a test shares with it. */
struct board {
    weft_atomic_u32 calls;
    weft_atomic_u32 casts;
    weft_atomic_u32 others;
    weft_atomic_u32 timers; /* of others */
    weft_atomic_u32 replies;
    weft_atomic_u32 idles;
    weft_atomic_u32 terminations;
    weft_atomic_u64 idle_at_ns; /* the last one */
    weft_atomic_u64 set_at_ns;
    uint64_t first_idle_ns; /* 0: init sets none */
    weft_pid next;
    int init_result;
};

struct desk {
    struct board *board;
    weft_msg *held;
};

static struct board *board_of(void *state) {
    return ((struct desk *)state)->board;
}

static inline void count(weft_atomic_u32 *counter) {
    (void)weft_add32_acq_rel(counter, 1);
}

static inline int desk_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct desk *desk = state;
    ck_assert_uint_eq(arg_size, sizeof(desk->board));
    memcpy(&desk->board, arg, sizeof(desk->board));
    if (desk->board->first_idle_ns != 0) {
        ck_assert_int_eq(weft_service_idle(ctx, desk->board->first_idle_ns), 0);
    }
    return desk->board->init_result;
}

static inline void desk_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    count(&board_of(state)->terminations);
}

static inline int call_echo(weft_ctx *ctx, void *state, weft_msg *request) {
    ck_assert_int_eq(weft_msg_kind(request), WEFT_MSG_REQUEST);
    count(&board_of(state)->calls);
    (void)weft_reply(ctx, &request, weft_msg_tag(request), weft_msg_data(request),
                     weft_msg_size(request));
    return WEFT_CONTINUE;
}

static inline int call_hold(weft_ctx *ctx, void *state, weft_msg *request) {
    struct desk *desk = state;
    weft_msg_release(ctx, &desk->held);
    desk->held = weft_msg_take(ctx, request);
    return WEFT_CONTINUE;
}

static inline int call_ignore(weft_ctx *ctx, void *state, weft_msg *request) {
    (void)ctx;
    (void)request;
    count(&board_of(state)->calls);
    return WEFT_CONTINUE;
}

static inline int call_stop(weft_ctx *ctx, void *state, weft_msg *request) {
    (void)state;
    ck_assert_int_eq(weft_reply(ctx, &request, TAG_STOP, NULL, 0), 0);
    return WEFT_STOP;
}

static inline int call_crash(weft_ctx *ctx, void *state, weft_msg *request) {
    (void)ctx;
    (void)state;
    (void)request;
    return -EIO;
}

static inline int call_pass(weft_ctx *ctx, void *state, weft_msg *request) {
    ck_assert_int_eq(weft_send_msg(ctx, board_of(state)->next, &request), 0);
    return WEFT_CONTINUE;
}

static inline int cast_count(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)ctx;
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
    count(&board_of(state)->casts);
    return WEFT_CONTINUE;
}

static inline int cast_answer(weft_ctx *ctx, void *state, const weft_msg *msg) {
    struct desk *desk = state;
    (void)msg;
    if (desk->held != NULL) {
        (void)weft_reply(ctx, &desk->held, TAG_HOLD, "held", 4);
    }
    return WEFT_CONTINUE;
}

static inline int cast_crash(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return -EIO;
}

static inline int cast_idle(weft_ctx *ctx, void *state, const weft_msg *msg) {
    uint64_t timeout_ns;
    memcpy(&timeout_ns, weft_msg_data(msg), sizeof(timeout_ns));
    weft_store64_relaxed(&board_of(state)->set_at_ns, clock_ns());
    ck_assert_int_eq(weft_service_idle(ctx, timeout_ns), 0);
    count(&board_of(state)->casts);
    return WEFT_CONTINUE;
}

static inline int cast_timer(weft_ctx *ctx, void *state, const weft_msg *msg) {
    uint32_t tag;
    (void)state;
    memcpy(&tag, weft_msg_data(msg), sizeof(tag));
    ck_assert_int_eq(weft_timer_start(ctx, 0, tag, 5, NULL), 0);
    return WEFT_CONTINUE;
}

static inline int cast_ask(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)msg;
    ck_assert_int_eq(weft_call(ctx, board_of(state)->next, TAG_ECHO, NULL, 0, S_NS, 7), 0);
    return WEFT_CONTINUE;
}

static inline int desk_other(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    ck_assert_int_ge(weft_msg_kind(msg), WEFT_MSG_REPLY);
    count(&board_of(state)->others);
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        ck_assert_uint_eq(weft_msg_token(msg), 5);
        count(&board_of(state)->timers);
    }
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        count(&board_of(state)->replies);
    }
    return WEFT_CONTINUE;
}

static inline int desk_idle(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_TIMER);
    ck_assert_uint_eq(weft_msg_token(msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), 0);
    weft_store64_relaxed(&board_of(state)->idle_at_ns, clock_ns());
    count(&board_of(state)->idles);
    return WEFT_CONTINUE;
}

static const weft_operation desk_operations[] = {
    {.tag = TAG_ECHO, .name = "echo", .call = call_echo},
    {.tag = TAG_ECHO, .name = "count", .cast = cast_count},
    {.tag = TAG_HOLD, .name = "hold", .call = call_hold},
    {.tag = TAG_HOLD, .name = "answer", .cast = cast_answer},
    {.tag = TAG_IGNORE, .call = call_ignore},
    {.tag = TAG_STOP, .call = call_stop},
    {.tag = TAG_CRASH, .call = call_crash},
    {.tag = TAG_CRASH, .cast = cast_crash},
    {.tag = TAG_SIZED, .name = "sized", .size_min = 4, .size_max = 8, .call = call_echo},
    {.tag = TAG_SIZED, .name = "sized", .size_min = 4, .size_max = 8, .cast = cast_count},
    {.tag = TAG_EXACT, .size_min = 16, .size_max = 16, .call = call_echo},
    {.tag = TAG_LEAST, .size_min = 300, .call = call_echo},
    {.tag = TAG_IDLE, .size_min = 8, .size_max = 8, .cast = cast_idle},
    {.tag = TAG_TIMER, .size_min = 4, .size_max = 4, .cast = cast_timer},
    {.tag = TAG_PASS, .call = call_pass},
    {.tag = TAG_ASK, .cast = cast_ask},
    {.tag = 0, .call = call_echo},
    {.tag = UINT32_MAX, .call = call_echo},
};
enum { DESK_OPERATIONS = sizeof(desk_operations) / sizeof(desk_operations[0]) };

static inline weft_type_def desk_type(const char *name) {
    return (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = name,
        .state_size = sizeof(struct desk),
        .init = desk_init,
        .terminate = desk_terminate,
    };
}

static inline weft_service_def desk_def(const weft_type_def *type) {
    return (weft_service_def){
        .struct_size = WEFT_SERVICE_DEF_INIT,
        .type = type,
        .operations = desk_operations,
        .operation_count = DESK_OPERATIONS,
        .other = desk_other,
        .idle = desk_idle,
    };
}

static inline const weft_type *desk_register(struct rig *rig) {
    weft_type_def type_def = desk_type("desk");
    weft_service_def def = desk_def(&type_def);
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig->runtime, &def, &type), 0);
    ck_assert_ptr_eq(type, weft_type_find(rig->runtime, "desk"));
    return type;
}

static inline weft_pid desk_spawn(struct rig *rig, const weft_type *type, struct board *board) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &board, .arg_size = sizeof(struct board *)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    return pid;
}

static unsigned char payload[1000];

/* Calls with so many bytes; the status. An answer must be the payload. */
static inline int ask(struct rig *rig, weft_pid target, uint32_t tag, size_t size) {
    weft_msg *reply = NULL;
    int result = weft_runtime_call(rig->runtime, target, tag, payload, size, 20 * S_NS, &reply);
    ck_assert(result == 0 ? reply != NULL : reply == NULL);
    if (result == 0 && tag != TAG_STOP && tag != TAG_HOLD) {
        ck_assert_uint_eq(weft_msg_tag(reply), tag);
        ck_assert_uint_eq(weft_msg_size(reply), size);
        ck_assert_mem_eq(weft_msg_data(reply), payload, size);
    }
    weft_runtime_msg_release(rig->runtime, &reply);
    return result;
}

static inline void cast(struct rig *rig, weft_pid target, uint32_t tag, const void *data,
                        size_t size) {
    ck_assert_int_eq(weft_runtime_send(rig->runtime, target, tag, data, size), 0);
}

static inline void cast_time(struct rig *rig, weft_pid target, uint64_t timeout_ns) {
    cast(rig, target, TAG_IDLE, &timeout_ns, sizeof(timeout_ns));
}

/* Waits until all that was sent before is handled. */
static inline void flush(struct rig *rig, weft_pid target) {
    ck_assert_int_eq(ask(rig, target, TAG_ECHO, 1), 0);
}

#endif
