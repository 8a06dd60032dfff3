/* SPDX-License-Identifier: MIT
 *
 * Channels: see channel.h. What is published is put into the form of a push once and sent to all as
 * one shared buffer, or, while it is short, as a copy.
 */
#include "channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SUBSCRIBERS_FIRST = 4, PUSH_FIRST = 512, PUSH_COPIED = 224 };

typedef struct channel {
    weft_pid *subscribers;
    uint32_t count;
    uint32_t capacity;
} channel;

/* ---- calling --------------------------------------------------------------------------------- */

static weft_vrequest make_request(resp *self, const slice *name, enum channel_tag tag) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = self->capability,
                           .type = self->channel,
                           .id = name->data,
                           .id_size = name->size,
                           .tag = tag,
                           .flags = tag == CHANNEL_SUBSCRIBE ? 0 : WEFT_ONLY_IF_ACTIVE,
                           .timeout_ns = WEFT_TIMEOUT_NEVER};
}

int channel_call(weft_ctx *ctx, resp *self, const channel_request *asked) {
    weft_vrequest request = make_request(self, asked->name, asked->tag);
    if (asked->message != NULL) {
        request.payload = asked->message->data;
        request.payload_size = asked->message->size;
    }
    return weft_vcall(ctx, &request, asked->token, NULL);
}

void channel_leave(weft_ctx *ctx, resp *self, const slice *name) {
    weft_vrequest request = make_request(self, name, CHANNEL_UNSUBSCRIBE);
    (void)weft_vcast(ctx, &request, NULL); /* else the next message finds that nobody is there */
}

/* ---- the actor ------------------------------------------------------------------------------- */

static int add(channel *self, weft_pid pid) {
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity == 0 ? SUBSCRIBERS_FIRST : self->capacity * 2;
        weft_pid *grown = realloc(self->subscribers, capacity * sizeof(*grown));
        if (grown == NULL) {
            return -ENOMEM;
        }
        self->subscribers = grown;
        self->capacity = capacity;
    }
    self->subscribers[self->count++] = pid;
    return 0;
}

/* The last one takes the place of who leaves. */
static void remove_at(channel *self, uint32_t index) {
    self->subscribers[index] = self->subscribers[--self->count];
}

static void remove_subscriber(channel *self, weft_pid pid) {
    for (uint32_t i = 0; i < self->count; i++) {
        if (weft_pid_equal(self->subscribers[i], pid)) {
            remove_at(self, i);
            return;
        }
    }
}

/* A subscriber that is so slow that not even its mailbox has room is disconnected, as Redis does
 * with one whose output buffer is full; others are untouched. */
static void send_push(weft_ctx *ctx, channel *self, const reply *push, weft_buf *buf) {
    for (uint32_t i = self->count; i > 0; i--) {
        weft_pid pid = self->subscribers[i - 1];
        int rc = buf != NULL ? weft_send_buf(ctx, pid, CHANNEL_PUSH, buf, 0, push->size)
                             : weft_send(ctx, pid, CHANNEL_PUSH, push->data, push->size);
        if (rc < 0) {
            (void)weft_stop(ctx, pid, WEFT_E_OVERLOAD); /* it may have gone */
            remove_at(self, i - 1);
        }
    }
}

/* Returns to how many, or -ENOMEM. */
static int64_t publish(weft_ctx *ctx, channel *self, const weft_msg *msg) {
    char first[PUSH_FIRST];
    reply push;
    weft_buf *buf = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int rc = weft_virtual_self(ctx, &entry);
    reply_init(&push, 3, first, sizeof(first));
    reply_push(&push, 3);
    reply_bulk_text(&push, "message");
    reply_bulk(&push, entry.id, entry.id_size);
    reply_bulk(&push, weft_msg_data(msg), weft_msg_size(msg));
    rc = rc < 0 ? rc : push.failed ? -ENOMEM : 0;
    if (rc == 0 && push.size > PUSH_COPIED) {
        rc = weft_buf_create(weft_runtime_of(ctx), push.size, &buf);
    }
    if (rc == 0 && buf != NULL) {
        memcpy(weft_buf_data(buf), push.data, push.size);
    }
    if (rc == 0) {
        send_push(ctx, self, &push, buf);
    }
    weft_buf_unref(buf);
    reply_free(&push);
    return rc < 0 ? rc : (int64_t)self->count;
}

static int handle(weft_ctx *ctx, channel *self, weft_msg *msg) {
    weft_pid sender = weft_sender(ctx, msg);
    int64_t result = 0;
    switch (weft_msg_tag(msg)) {
    case CHANNEL_SUBSCRIBE:
        result = add(self, sender);
        break;
    case CHANNEL_UNSUBSCRIBE:
        remove_subscriber(self, sender);
        break;
    case CHANNEL_PUBLISH:
        result = publish(ctx, self, msg);
        break;
    case CHANNEL_COUNT:
        result = self->count;
        break;
    }
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE; /* of a connection that ends */
    }
    if (result < 0) {
        (void)weft_reply_error(ctx, &msg, (int)result); /* that nobody waits is no error */
    } else {
        (void)weft_reply(ctx, &msg, 0, &result, sizeof(result)); /* the same */
    }
    return WEFT_CONTINUE;
}

static int channel_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    channel *self = (channel *)state;
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST && weft_msg_kind(msg) != WEFT_MSG_USER) {
        return WEFT_CONTINUE; /* such as READY, of a connection that is being stopped */
    }
    int rc = handle(ctx, self, msg);
    return self->count > 0 ? rc : WEFT_STOP;
}

static void channel_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    free(((channel *)state)->subscribers);
}

const weft_type_def channel_type = {.struct_size = WEFT_TYPE_DEF_INIT,
                                    .name = "resp.channel",
                                    .state_size = sizeof(channel),
                                    .receive = channel_receive,
                                    .terminate = channel_terminate,
                                    .mailbox_max = WEFT_MAILBOX_UNBOUNDED,
                                    .idle_ns = WEFT_IDLE_NEVER};
