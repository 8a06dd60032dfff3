/* SPDX-License-Identifier: MIT
 *
 * Keys: see key.h. A request's tag says which command it is, and its payload is each argument: four
 * bytes of size and the argument itself. So a short command is a message of 64 bytes, and nothing is
 * allocated for it.
 */
#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAG_RESP3 = 1 << 16, /* beside the command's number */
    TAG_MUST = 1 << 18,  /* is not put off; KEY_PUT_OFF is between them */
    TAG_COMMAND = TAG_RESP3 - 1,
    INLINE_MAX = 224, /* bytes of payload that a message holds itself */
    REPLY_FIRST = 512,
    REPLY_WRAPPED = 8192, /* from here on a reply is passed on, not copied */
    ARGS_FIRST = 16,
};

#define MS_NS        UINT64_C(1000000)
#define TIMER_MS_MAX (INT64_C(86400) * 1000 * 365)

/* Up to 48 bytes of state need no memory of their own. */
typedef struct key {
    value value;
    weft_timer expiry; /* at the latest when the value expires, or 0; may be early */
} key;

_Static_assert(sizeof(key) <= 48, "a key needs no memory beside its actor");

/* ---- the request ----------------------------------------------------------------------------- */

static size_t request_size(const key_request *request) {
    size_t size = 0;
    for (uint32_t i = 0; i < request->count; i++) {
        size += sizeof(uint32_t) + request->args[i].size;
    }
    return size;
}

static void request_write(const key_request *request, char *to) {
    for (uint32_t i = 0; i < request->count; i++) {
        const slice *arg = &request->args[i];
        uint32_t size = (uint32_t)arg->size; /* one argument is at most 512 MiB */
        memcpy(to, &size, sizeof(size));
        memcpy(to + sizeof(size), arg->data, arg->size);
        to += sizeof(size) + arg->size;
    }
}

/* The arguments of a payload, into args when that is large enough. Returns how many they are. */
static uint32_t request_read(const char *at, size_t size, slice *args, uint32_t capacity) {
    const char *end = at + size;
    uint32_t count = 0;
    while (at < end) { /* written by request_write */
        uint32_t arg_size;
        memcpy(&arg_size, at, sizeof(arg_size));
        at += sizeof(arg_size);
        if (count < capacity) {
            args[count] = (slice){at, arg_size};
        }
        at += arg_size;
        count++;
    }
    return count;
}

int key_call(weft_ctx *ctx, resp *self, const key_request *request, uint64_t token) {
    char text[INLINE_MAX];
    bool resp3 = request->protocol == 3;
    bool wakes = request->wakes || (request->command->flags & COMMAND_NEVER_CREATES) == 0;
    weft_vrequest message = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = self->capability,
                             .type = self->key,
                             .id = request->key.data,
                             .id_size = request->key.size,
                             .tag = command_number(request->command) | (resp3 ? TAG_RESP3 : 0),
                             .flags = wakes ? 0 : WEFT_ONLY_IF_ACTIVE,
                             .payload = text,
                             .payload_size = request_size(request),
                             .timeout_ns = WEFT_TIMEOUT_NEVER};
    if (message.payload_size <= sizeof(text)) {
        request_write(request, text);
        return weft_vcall(ctx, &message, token, NULL);
    }
    int rc = weft_buf_create(self->runtime, message.payload_size, &message.payload_buf);
    if (rc < 0) {
        return rc;
    }
    request_write(request, weft_buf_data(message.payload_buf));
    message.payload = weft_buf_data(message.payload_buf);
    rc = weft_vcall(ctx, &message, token, NULL);
    weft_buf_unref(message.payload_buf);
    return rc;
}

int key_call_again(weft_ctx *ctx, resp *self, const weft_msg *put_off, uint64_t token) {
    const char *at = weft_msg_data(put_off);
    uint32_t id_size; /* see put_off */
    memcpy(&id_size, at, sizeof(id_size));
    size_t head = sizeof(id_size) + id_size;
    weft_vrequest message = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = self->capability,
                             .type = self->key,
                             .id = at + sizeof(id_size),
                             .id_size = id_size,
                             .tag = (weft_msg_tag(put_off) & ~(uint32_t)KEY_PUT_OFF) | TAG_MUST,
                             .payload = at + head,
                             .payload_size = weft_msg_size(put_off) - head,
                             .payload_buf = weft_msg_buf(put_off),
                             .timeout_ns = WEFT_TIMEOUT_NEVER};
    return weft_vcall(ctx, &message, token, NULL);
}

/* ---- execution ------------------------------------------------------------------------------- */

static uint64_t random_bits(void *cookie) {
    return weft_random((weft_ctx *)cookie);
}

void key_execute_none(weft_ctx *ctx, const key_request *request, reply *out) {
    value none = {.type = VALUE_NONE};
    const call what = {.command = request->command,
                       .args = request->args,
                       .count = request->count,
                       .now_ms = resp_now_ms(),
                       .random = random_bits,
                       .random_cookie = ctx};
    value_execute(&none, &what, out);
}

static void execute(weft_ctx *ctx, key *self, const weft_msg *msg, reply *out) {
    const char *payload = weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    slice first[ARGS_FIRST], *args = first;
    call what = {.command = &commands[weft_msg_tag(msg) & TAG_COMMAND],
                 .count = request_read(payload, size, first, ARGS_FIRST),
                 .now_ms = resp_now_ms(),
                 .random = random_bits,
                 .random_cookie = ctx};
    if (what.count > ARGS_FIRST) {
        args = malloc(what.count * sizeof(*args));
        if (args == NULL) {
            out->failed = true;
            return;
        }
        (void)request_read(payload, size, args, what.count); /* the same again */
    }
    what.args = args;
    value_execute(&self->value, &what, out);
    if (args != first) {
        free(args);
    }
}

static resp *shared_of(weft_ctx *ctx) {
    return (resp *)weft_type_cookie(weft_type_of(ctx));
}

static void free_reply(void *data, size_t size, void *cookie) {
    free(data);
    if (cookie != NULL) {
        budget_release((budget *)cookie, size);
    }
}

/* Passes a long reply on instead of copying it, at the cost of who has asked. */
static void answer_long(weft_ctx *ctx, weft_msg *msg, reply *out) {
    weft_buf *buf = NULL;
    size_t size = out->size, capacity = out->capacity;
    budget *charged = budget_charge(&shared_of(ctx)->budgets, weft_sender(ctx, msg), capacity);
    int rc = weft_buf_wrap(weft_runtime_of(ctx), out->data, capacity, free_reply, charged, &buf);
    if (rc < 0) {
        free_reply(out->data, capacity, charged);
        (void)weft_reply_error(ctx, &msg, rc);
    } else {
        (void)weft_reply_buf(ctx, &msg, 0, buf, 0, size);
        weft_buf_unref(buf);
    }
    *out = (reply){.protocol = out->protocol};
}

/* Answers; out is empty afterwards. That nobody waits any more is no error. */
static void answer(weft_ctx *ctx, weft_msg *msg, reply *out) {
    if (out->failed) {
        (void)weft_reply_error(ctx, &msg, -ENOMEM);
    } else if (out->owned && out->size >= REPLY_WRAPPED) {
        answer_long(ctx, msg, out);
    } else {
        (void)weft_reply(ctx, &msg, 0, out->data, out->size);
    }
    reply_free(out);
}

/* Gives the request back: the size of the key's name, the name, and the payload as it came. */
static void put_off(weft_ctx *ctx, weft_msg *msg) {
    char first[REPLY_FIRST];
    reply out;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    (void)weft_virtual_self(ctx, &entry); /* every key is a virtual actor */
    uint32_t id_size = (uint32_t)entry.id_size;
    reply_init(&out, 2, first, sizeof(first));
    reply_raw(&out, (const char *)&id_size, sizeof(id_size));
    reply_raw(&out, entry.id, entry.id_size);
    reply_raw(&out, weft_msg_data(msg), weft_msg_size(msg));
    if (out.failed) {
        (void)weft_reply_error(ctx, &msg, -ENOMEM);
    } else {
        (void)weft_reply(ctx, &msg, weft_msg_tag(msg) | KEY_PUT_OFF, out.data, out.size);
    }
    reply_free(&out);
}

static bool must_wait(weft_ctx *ctx, const weft_msg *msg) {
    budgets *all = &shared_of(ctx)->budgets;
    return budgets_are_held(all) && (weft_msg_tag(msg) & TAG_MUST) == 0 &&
           budget_puts_off(all, weft_sender(ctx, msg));
}

static void count_keys(weft_ctx *ctx, int64_t number) {
    resp_count(&resp_counts_of(shared_of(ctx), ctx)->keys, number);
}

/* ---- expiry ---------------------------------------------------------------------------------- */

static void start_timer(weft_ctx *ctx, key *self) {
    int64_t delay_ms = self->value.expire_at_ms - resp_now_ms();
    delay_ms = delay_ms < 0 ? 0 : delay_ms > TIMER_MS_MAX ? TIMER_MS_MAX : delay_ms;
    if (weft_timer_start(ctx, (uint64_t)delay_ms * MS_NS, 0, 0, &self->expiry) < 0) {
        self->expiry = 0; /* then it expires when it is looked at */
    }
}

/* One timer a key at most. When the end moves away the timer stays and finds out when it fires, so
 * setting a value with the same life again and again costs nothing. */
static void move_timer(weft_ctx *ctx, key *self, int64_t before_ms) {
    int64_t after_ms = self->value.expire_at_ms;
    if (after_ms == 0 || (self->expiry != 0 && before_ms != 0 && before_ms <= after_ms)) {
        return;
    }
    if (self->expiry != 0) {
        (void)weft_timer_cancel(ctx, self->expiry); /* if it has fired, it comes early */
    }
    start_timer(ctx, self);
}

static int handle_timer(weft_ctx *ctx, key *self) {
    self->expiry = 0;
    if (self->value.type == VALUE_NONE || self->value.expire_at_ms == 0) {
        return WEFT_CONTINUE;
    }
    if (!value_is_none(&self->value, resp_now_ms())) {
        start_timer(ctx, self);
        return WEFT_CONTINUE;
    }
    value_clear(&self->value);
    count_keys(ctx, -1);
    return WEFT_STOP;
}

/* ---- the actor ------------------------------------------------------------------------------- */

static int handle_request(weft_ctx *ctx, key *self, weft_msg *msg) {
    char first[REPLY_FIRST];
    reply out;
    bool before = self->value.type != VALUE_NONE;
    int64_t before_ms = self->value.expire_at_ms;
    if (must_wait(ctx, msg)) {
        put_off(ctx, msg);
        return before ? WEFT_CONTINUE : WEFT_STOP;
    }
    reply_init(&out, (weft_msg_tag(msg) & TAG_RESP3) != 0 ? 3 : 2, first, sizeof(first));
    execute(ctx, self, msg, &out);
    bool after = self->value.type != VALUE_NONE;
    if (before != after) { /* before the client can ask */
        count_keys(ctx, after ? 1 : -1);
    }
    answer(ctx, msg, &out);
    if (after && self->value.expire_at_ms != before_ms) {
        move_timer(ctx, self, before_ms);
    }
    return after ? WEFT_CONTINUE : WEFT_STOP;
}

static int key_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REQUEST:
        return handle_request(ctx, (key *)state, msg);
    case WEFT_MSG_TIMER:
        return handle_timer(ctx, (key *)state);
    default:
        return WEFT_CONTINUE;
    }
}

static void key_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    value_clear(&((key *)state)->value);
}

/* Each connection has a bounded number of requests under way, so the mailbox needs no bound. */
const weft_type_def key_type = {.struct_size = WEFT_TYPE_DEF_INIT,
                                .name = "resp.key",
                                .state_size = sizeof(key),
                                .receive = key_receive,
                                .terminate = key_terminate,
                                .mailbox_max = WEFT_MAILBOX_UNBOUNDED,
                                .idle_ns = WEFT_IDLE_NEVER};
