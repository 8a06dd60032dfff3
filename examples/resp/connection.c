/* SPDX-License-Identifier: MIT
 *
 * Connections: see connection.h. Here: bytes in, bytes out, and when to stop.
 */
#include "connection.h"

#include "channel.h"
#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_FIRST = 1024, INPUT_KEPT = 64 * 1024, TAG_FLUSH = CHANNEL_PUSH + 1 };

/* ---- output ---------------------------------------------------------------------------------- */

/* What a write answered. That the peer has gone is no error: CLOSED will say so. */
static int written(connection *self, int rc) {
    self->full = self->full || rc == WEFT_STREAM_FULL;
    return rc < 0 && rc != -EPIPE && rc != -ENOTCONN ? rc : 0;
}

static int flush(weft_ctx *ctx, connection *self) {
    if (self->out.failed) {
        return -ENOMEM;
    }
    int rc = weft_stream_write(ctx, self->out.data, self->out.size);
    self->out.size = 0;
    if (self->out.capacity > 4 * OUTPUT_FLUSH) {
        int protocol = self->out.protocol;
        reply_free(&self->out);
        reply_init(&self->out, protocol, self->out_first, sizeof(self->out_first));
    }
    return written(self, rc);
}

/* A long payload from offset on, behind what waits to be written. */
static int write_message(weft_ctx *ctx, connection *self, const weft_msg *msg, size_t offset) {
    weft_buf *buf = weft_msg_buf(msg);
    const char *data = (const char *)weft_msg_data(msg) + offset;
    size_t size = weft_msg_size(msg) - offset;
    int rc = flush(ctx, self);
    if (rc < 0) {
        return rc;
    }
    if (buf == NULL) {
        return written(self, weft_stream_write(ctx, data, size));
    }
    size_t place = (size_t)(data - (const char *)weft_buf_data(buf));
    return written(self, weft_stream_write_buf(ctx, buf, place, size));
}

/* Replies whose turn it is, while the client reads. */
static int take_ready(weft_ctx *ctx, connection *self) {
    int rc = 0;
    while (rc == 0 && !self->full && slots_ready(&self->slots)) { /* SLOTS_MAX */
        weft_msg *msg = slots_take(ctx, &self->slots, &self->out);
        if (msg != NULL) {
            rc = write_message(ctx, self, msg, 0);
            weft_msg_release(ctx, &msg);
        } else if (self->out.size >= OUTPUT_FLUSH) {
            rc = flush(ctx, self);
        }
    }
    return rc;
}

/* Writes behind what is in the mailbox already, so that many replies leave together. */
static int flush_soon(weft_ctx *ctx, connection *self) {
    if (self->out.size >= OUTPUT_FLUSH || self->out.failed) {
        return flush(ctx, self);
    }
    if (self->out.size == 0 || self->flush_sent) {
        return 0;
    }
    self->flush_sent = weft_send(ctx, weft_self(ctx), TAG_FLUSH, NULL, 0) == 0;
    return self->flush_sent ? 0 : flush(ctx, self);
}

/* ---- input ----------------------------------------------------------------------------------- */

static size_t input_left(const connection *self) {
    return self->input_size - self->input_at;
}

/* Keeps bytes: no more than the stream reads ahead, or an unfinished request. */
static int keep(connection *self, const char *data, size_t size) {
    size_t left = input_left(self);
    if (self->input_at > 0 && self->input_size + size > self->input_capacity) {
        memmove(self->input, self->input + self->input_at, left);
        self->input_at = 0;
        self->input_size = left;
    }
    if (left + size > self->input_capacity) {
        size_t capacity = 2 * self->input_capacity;
        capacity = capacity < INPUT_FIRST ? INPUT_FIRST : capacity;
        capacity = capacity < left + size ? left + size : capacity;
        char *grown = realloc(self->input, capacity);
        if (grown == NULL) {
            return -ENOMEM;
        }
        self->input = grown;
        self->input_capacity = capacity;
    }
    memcpy(self->input + self->input_size, data, size);
    self->input_size += size;
    return 0;
}

/* The bytes were parsed. */
static void consume(connection *self, size_t size) {
    self->input_at += size;
    if (input_left(self) > 0) {
        return;
    }
    self->input_at = 0;
    self->input_size = 0;
    if (self->input_capacity > INPUT_KEPT) {
        free(self->input);
        self->input = NULL;
        self->input_capacity = 0;
    }
}

bool connection_has_room(const connection *self) {
    uint32_t count = slots_count(&self->slots);
    return count == 0 || (count < SLOTS_MAX && count * self->reply_size < REPLY_BYTES_MAX &&
                          self->slots.request_bytes < REQUEST_BYTES_MAX);
}

static bool may_execute(connection *self) {
    self->waits = self->waits && slots_count(&self->slots) > 0;
    return !self->waits && !self->full && !self->closing && connection_has_room(self);
}

/* What cannot be understood is said, and nothing behind it is read. */
static void refuse(connection *self) {
    answer local;
    answer_begin(self, &local, SLOT_WHOLE);
    reply_error(local.out, self->parser.error);
    answer_end(self, &local);
    self->closing = true;
}

/* Executes whole requests; returns the bytes used. */
static size_t execute_some(weft_ctx *ctx, connection *self, const char *data, size_t size) {
    parser *request = &self->parser;
    size_t used = 0;
    while (used < size && may_execute(self)) { /* the data */
        enum parser_result result = parser_step(request, data + used, size - used);
        if (result == PARSER_MORE) {
            self->stopped = false;
            return used;
        }
        if (result == PARSER_ERROR) {
            refuse(self);
            break;
        }
        if (request->count > 0 && !request_execute(ctx, self)) {
            self->waits = slots_count(&self->slots) > 0;
            break;
        }
        used += request->used;
        parser_next(request);
    }
    self->stopped = used < size;
    return used;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* A reply that is not in the protocol's form yet: the answer of something that is no key, or what
 * there is instead of one. */
static void put_answer(connection *self, uint64_t token, int status, int64_t count) {
    enum answer_kind kind = (enum answer_kind)(token >> ANSWER_SHIFT);
    uint64_t number = token & ((UINT64_C(1) << ANSWER_SHIFT) - 1);
    char first[OUTPUT_FIRST];
    reply out;
    reply_init(&out, self->out.protocol, first, sizeof(first));
    if (kind == ANSWER_CHANNEL) {
        subscribe_answered(self, status, &out);
    } else if (status < 0) {
        answer_status(&out, status);
    } else {
        reply_integer(&out, count);
    }
    if (out.failed || !slots_put_text(&self->slots, number, out.data, out.size)) {
        self->out.failed = true; /* the connection ends */
    }
    reply_free(&out);
}

/* ---- flow ------------------------------------------------------------------------------------ */

/* After every message: writes, stops or goes on reading, closes. */
static int settle(weft_ctx *ctx, connection *self, bool at_once) {
    int rc = at_once && slots_count(&self->slots) == 0 && self->out.size > 0
                 ? flush(ctx, self)
                 : flush_soon(ctx, self);
    if (rc < 0 || self->closed) {
        return rc;
    }
    self->closing = self->closing || (self->ended && !self->stopped);
    if (self->closing && slots_count(&self->slots) == 0) {
        self->closed = true;
        rc = flush(ctx, self);
        (void)weft_stream_close(ctx); /* CLOSED follows, or has come */
        return rc;
    }
    if (self->paused != self->stopped) {
        self->paused = self->stopped;
        (void)(self->paused ? weft_stream_pause(ctx)
                            : weft_stream_resume(ctx)); /* not after CLOSED */
    }
    return 0;
}

/* A request that was put off is made again when its reply is the next one to be written, so one at a
 * time. New ones wait until all of these are answered: they may not overtake. True: it could not be
 * made, which is its answer. */
static bool fails_again(weft_ctx *ctx, connection *self) {
    weft_msg *msg = self->held_back && !self->full ? slots_take_put_off(&self->slots) : NULL;
    if (msg != NULL) {
        uint64_t number = self->slots.first;
        int rc = key_call_again(ctx, self->shared, msg, number);
        weft_msg_release(ctx, &msg);
        if (rc < 0) {
            put_answer(self, number, rc, 0);
        }
        return rc < 0;
    }
    if (self->held_back && slots_count(&self->slots) == 0) {
        self->held_back = false;
        budget_go_on(self->budget);
    }
    return false;
}

/* Lets replies go whose turn it is. */
static int deliver(weft_ctx *ctx, connection *self) {
    int rc = take_ready(ctx, self);
    while (rc == 0 && fails_again(ctx, self)) { /* SLOTS_MAX */
        rc = take_ready(ctx, self);
    }
    return rc;
}

/* The same, and executes what there is room for then. */
static int work(weft_ctx *ctx, connection *self) {
    int rc = deliver(ctx, self);
    while (rc == 0 && self->stopped && may_execute(self)) { /* each round executes a request */
        consume(self, execute_some(ctx, self, self->input + self->input_at, input_left(self)));
        rc = deliver(ctx, self);
    }
    return rc < 0 ? rc : settle(ctx, self, true);
}

static int handle_data(weft_ctx *ctx, connection *self, const char *data, size_t size) {
    if (self->closing) {
        return WEFT_CONTINUE;
    }
    if (input_left(self) == 0) { /* the usual way: nothing is copied */
        size_t used = execute_some(ctx, self, data, size);
        data += used;
        size -= used;
    } else {
        self->stopped = true;
    }
    int rc = size > 0 ? keep(self, data, size) : 0;
    return rc < 0 ? rc : work(ctx, self);
}

static int handle_io(weft_ctx *ctx, connection *self, const weft_msg *msg) {
    switch (weft_msg_tag(msg)) {
    case WEFT_IO_DATA:
        return handle_data(ctx, self, weft_msg_data(msg), weft_msg_size(msg));
    case WEFT_IO_WRITABLE:
        self->full = false;
        self->pushed_bytes = 0;
        return work(ctx, self);
    case WEFT_IO_END:
        self->ended = true;
        return settle(ctx, self, true);
    default:
        return WEFT_CONTINUE;
    }
}

/* ---- replies --------------------------------------------------------------------------------- */

/* One that is: it is written at once when it is the next one. */
static void put_reply(weft_ctx *ctx, connection *self, uint64_t number, weft_msg *msg) {
    uint64_t size = weft_msg_size(msg);
    uint64_t expected = self->reply_size - self->reply_size / 16;
    expected = expected > REPLY_SIZE_LEAST ? expected : REPLY_SIZE_LEAST;
    self->reply_size = size > expected ? size : expected;
    if (number == self->slots.first && size < SLOT_PASSED_ON &&
        slots_at(&self->slots, number)->part == SLOT_WHOLE) {
        reply_raw(&self->out, weft_msg_data(msg), size);
        slots_drop(&self->slots);
    } else {
        slots_put_message(ctx, &self->slots, number, msg);
    }
}

static int handle_reply(weft_ctx *ctx, connection *self, weft_msg *msg) {
    uint64_t token = weft_msg_token(msg);
    int64_t count = 0;
    if (token >> ANSWER_SHIFT == ANSWER_NUMBER && weft_msg_size(msg) == sizeof(count)) {
        memcpy(&count, weft_msg_data(msg), sizeof(count));
    }
    if (token >> ANSWER_SHIFT != ANSWER_REPLY || weft_msg_status(msg) < 0) {
        put_answer(self, token, weft_msg_status(msg), count);
    } else if (key_has_put_off(msg)) {
        slots_put_off(ctx, &self->slots, token, msg);
        self->held_back = true;
        self->waits = true;
    } else {
        put_reply(ctx, self, token, msg);
    }
    return work(ctx, self);
}

/* A message of a channel. Its form differs between the protocols in the first byte. */
static int handle_push(weft_ctx *ctx, connection *self, const weft_msg *msg) {
    size_t size = weft_msg_size(msg), at = self->out.size;
    int rc = 0;
    if (self->closing || self->channels.count == 0) { /* the latter: sent before a RESET */
        return WEFT_CONTINUE;
    }
    self->pushed_bytes += self->full ? size : 0;
    if (self->pushed_bytes > PUSHES_MAX) {
        return weft_stream_abort(ctx); /* CLOSED follows */
    }
    if (size < SLOT_PASSED_ON) {
        reply_raw(&self->out, weft_msg_data(msg), size);
        if (!self->out.failed && self->out.protocol == 2) {
            self->out.data[at] = '*';
        }
    } else {
        reply_raw(&self->out, self->out.protocol == 2 ? "*" : ">", 1);
        rc = write_message(ctx, self, msg, 1);
    }
    return rc < 0 ? rc : settle(ctx, self, false);
}

/* ---- the actor ------------------------------------------------------------------------------- */

static int connection_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    connection *self = (connection *)state;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REPLY:
        return handle_reply(ctx, self, msg);
    case WEFT_MSG_IO:
        return handle_io(ctx, self, msg);
    case WEFT_MSG_USER:
        if (weft_msg_tag(msg) == CHANNEL_PUSH) {
            return handle_push(ctx, self, msg);
        }
        self->flush_sent = false;
        return self->out.size > 0 ? flush(ctx, self) : WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

static int connection_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    connection *self = (connection *)state;
    if (arg_size != sizeof(self->shared)) {
        return -EINVAL;
    }
    memcpy(&self->shared, arg, sizeof(self->shared));
    int rc = budget_join(&self->shared->budgets, weft_self(ctx), &self->budget);
    if (rc < 0) {
        return rc;
    }
    parser_init(&self->parser, &self->shared->limits);
    reply_init(&self->out, 2, self->out_first, sizeof(self->out_first));
    self->reply_size = REPLY_SIZE_LEAST;
    self->id = atomic_fetch_add(&self->shared->client_id, 1) + 1;
    self->since_ms = resp_now_ms();
    resp_count(&resp_counts_of(self->shared, ctx)->clients, 1);
    resp_count(&resp_counts_of(self->shared, ctx)->connections, 1);
    return WEFT_CONTINUE;
}

static void connection_terminate(weft_ctx *ctx, void *state, int reason) {
    connection *self = (connection *)state;
    (void)reason;
    budget_leave(&self->budget);
    client_reset(ctx, self);
    resp_count(&resp_counts_of(self->shared, ctx)->clients, -1);
    slots_fini(&self->slots);
    parser_fini(&self->parser);
    reply_free(&self->out);
    free(self->input);
}

const weft_type_def connection_type = {.struct_size = WEFT_TYPE_DEF_INIT,
                                       .name = "resp.connection",
                                       .state_size = sizeof(connection),
                                       .init = connection_init,
                                       .receive = connection_receive,
                                       .terminate = connection_terminate};

/* Replies are bounded here and not by the stream, which would refuse one that is too long. A client
 * that has sent its last request still gets the replies. */
const weft_stream_options connection_stream = {.send_max = UINT64_C(1) << 32,
                                               .flags = WEFT_STREAM_HALF_OPEN};
