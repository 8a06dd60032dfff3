/* SPDX-License-Identifier: MIT
 *
 * A park of servers for the tests of calls to many: each answers its number and the first bytes of
 * what it was asked.
 */
#ifndef WEFT_TESTS_UNIT_MULTI_SUPPORT_H
#define WEFT_TESTS_UNIT_MULTI_SUPPORT_H

#include "tests/unit/support.h"

enum {
    TAG_ECHO = 1,   /* answered at once */
    TAG_HOLD = 2,   /* taken; TAG_ANSWER answers */
    TAG_IGNORE = 3, /* not answered */
    TAG_REFUSE = 4, /* answered -ENOTSUP */
    TAG_CRASH = 5,  /* it ends */
    TAG_ANSWER = 6, /* sent: answers what is held */
    LARGE = 100000,
};

/* A server answers {its number, the payload's first bytes}. */
struct server {
    uint32_t number;
    weft_msg *held;
};

struct answer {
    uint32_t number;
    uint32_t first;
};

static weft_atomic_u32 requests;

static inline int server_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct server *server = state;
    (void)ctx;
    ck_assert_uint_eq(arg_size, sizeof(server->number));
    memcpy(&server->number, arg, arg_size);
    return WEFT_CONTINUE;
}

static inline void server_reply(weft_ctx *ctx, const struct server *server, weft_msg **request) {
    struct answer answer = {.number = server->number};
    size_t size = weft_msg_size(*request);
    memcpy(&answer.first, weft_msg_data(*request), size < 4 ? size : 4);
    if (size == LARGE) {
        ck_assert_uint_eq(((const unsigned char *)weft_msg_data(*request))[LARGE - 1], 0x77);
    }
    (void)weft_reply(ctx, request, TAG_ECHO, &answer, sizeof(answer));
}

static inline int server_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct server *server = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_add32_acq_rel(&requests, 1);
    }
    switch (weft_msg_tag(msg)) {
    case TAG_ECHO:
        server_reply(ctx, server, &msg);
        break;
    case TAG_HOLD:
        weft_msg_release(ctx, &server->held);
        server->held = weft_msg_take(ctx, msg);
        break;
    case TAG_REFUSE:
        (void)weft_reply_error(ctx, &msg, -ENOTSUP);
        break;
    case TAG_CRASH:
        return -EIO;
    case TAG_ANSWER:
        if (server->held != NULL) {
            server_reply(ctx, server, &server->held);
        }
        break;
    default:
        break;
    }
    return WEFT_CONTINUE;
}

static inline weft_type_def server_def(const char *name) {
    return (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = name,
        .state_size = sizeof(struct server),
        .init = server_init,
        .receive = server_receive,
    };
}

enum { SERVERS = 20, SERVERS_MAX = 5000 };

/* Servers, some of them dead. */
struct park {
    struct rig rig;
    const weft_type *type;
    weft_pid pids[SERVERS_MAX];
    uint32_t count;
};

static inline weft_pid spawn_server(struct park *park, const weft_type *type, uint32_t number) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &number, .arg_size = sizeof(number)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(park->rig.runtime, type, &options, &pid), 0);
    return pid;
}

static inline struct park *park_start(uint32_t schedulers, uint32_t count) {
    struct park *park = calloc(1, sizeof(*park));
    ck_assert_ptr_nonnull(park);
    weft_config config = rig_config(schedulers);
    config.calls_max = 10000;
    park->rig = rig_start_with(&config);
    weft_type_def def = server_def("server");
    park->type = rig_type(&park->rig, &def);
    park->count = count;
    for (uint32_t i = 0; i < count; i++) {
        park->pids[i] = spawn_server(park, park->type, i);
    }
    return park;
}

static inline void park_stop(struct park *park) {
    rig_stop(&park->rig);
    free(park);
}

static inline void kill_server(struct park *park, uint32_t number) {
    ck_assert_int_eq(weft_runtime_kill_actor(park->rig.runtime, park->pids[number]), 0);
    while (is_alive(&park->rig, park->pids[number])) {
        sleep_ns(10000);
    }
}

static inline weft_multi_request request_to(const struct park *park, uint32_t tag) {
    static const uint32_t word = 4711;
    return (weft_multi_request){
        .struct_size = WEFT_MULTI_REQUEST_INIT,
        .targets = park->pids,
        .count = park->count,
        .tag = tag,
        .data = &word,
        .size = sizeof(word),
        .timeout_ns = 20 * S_NS,
    };
}

static inline struct answer answer_of(const void *data, size_t size) {
    struct answer answer;
    ck_assert_uint_eq(size, sizeof(answer));
    memcpy(&answer, data, sizeof(answer));
    return answer;
}

#endif
