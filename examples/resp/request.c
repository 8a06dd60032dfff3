/* SPDX-License-Identifier: MIT
 *
 * What a request becomes: an answer at once, a call to the actor of a key, or of each of several
 * keys, to a channel, or a walk over all keys.
 */
#define _GNU_SOURCE 1
#include "channel.h"
#include "connection.h"
#include "execute.h"
#include "key.h"
#include "server_info.h"
#include "walk.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 128, UNKNOWN_BYTES = 512, NAME_BYTES = 64 };

/* ---- answers that are known at once ---------------------------------------------------------- */

void answer_begin(connection *self, answer *local, enum slot_part part) {
    local->part = part;
    local->out = &self->out;
    if (slots_count(&self->slots) > 0 || part != SLOT_WHOLE) {
        local->out = &local->own;
        reply_init(&local->own, self->out.protocol, local->first, sizeof(local->first));
    }
}

void answer_end(connection *self, answer *local) {
    if (local->out == &self->out) {
        return;
    }
    const reply *own = &local->own;
    bool good = !own->failed && slots_add(&self->slots, local->part, 0) != NULL &&
                slots_put_text(&self->slots, self->slots.end - 1, own->data, own->size);
    self->out.failed = self->out.failed || !good; /* the connection ends */
    reply_free(&local->own);
}

void answer_status(reply *out, int status) {
    switch (status) {
    case -ENOMEM:
        reply_error(out, "OOM command not allowed when used memory > 'maxmemory'.");
        break;
    case -EINVAL:
        reply_error(out, "ERR key is too long");
        break;
    default:
        reply_error_format(out, "ERR %s", weft_strerror(status));
    }
}

static void answer_error(connection *self, const char *text) {
    answer local;
    answer_begin(self, &local, SLOT_WHOLE);
    reply_error(local.out, text);
    answer_end(self, &local);
}

/* ---- requests that are refused --------------------------------------------------------------- */

/* Adds at most max bytes, without line ends, up to a byte of zero: as Redis shows what it was sent. */
static size_t show(char *to, const slice *text, size_t max) {
    size_t size = strnlen(text->data, text->size < max ? text->size : max);
    for (size_t i = 0; i < size; i++) {
        to[i] = text->data[i] == '\r' || text->data[i] == '\n' ? ' ' : text->data[i];
    }
    return size;
}

static size_t show_text(char *to, const char *text) {
    size_t size = strlen(text);
    memcpy(to, text, size);
    return size;
}

static void refuse_unknown(connection *self) {
    const parser *request = &self->parser;
    char text[UNKNOWN_BYTES];
    size_t size = show_text(text, "ERR unknown command '");
    size += show(text + size, &request->args[0], SHOWN_MAX);
    size += show_text(text + size, "', with args beginning with: ");
    size_t begin = size;
    for (uint32_t i = 1; i < request->count && size - begin < SHOWN_MAX; i++) {
        text[size++] = '\'';
        size += show(text + size, &request->args[i], SHOWN_MAX - (size - 1 - begin));
        size += show_text(text + size, "' ");
    }
    text[size] = '\0';
    answer_error(self, text);
}

/* The name of a command, and of its subcommand if it has some. */
static void show_name(const parser *request, const command *which, char *ret_name) {
    uint32_t number = command_number(which);
    bool has_more = number == COMMAND_CLIENT || number == COMMAND_CONFIG ||
                    (number == COMMAND_COMMAND && request->count > 1);
    int size = snprintf(ret_name, NAME_BYTES, "%s%s", which->name, has_more ? "|" : "");
    if (has_more) {
        char *to = ret_name + size;
        to[show(to, &request->args[1], NAME_BYTES - 1 - (size_t)size)] = '\0';
        for (; *to != '\0'; to++) { /* NAME_BYTES */
            *to = (char)tolower((unsigned char)*to);
        }
    }
}

/* Why a command of the table cannot be executed, or not now. */
static bool is_refused(connection *self, const command *which) {
    answer local;
    uint32_t number = command_number(which), count = self->parser.count;
    bool wrong = !command_takes(which, count) || (number == COMMAND_MSET && count % 2 == 0);
    bool listens = self->channels.count > 0 && self->out.protocol == 2;
    bool may_listen = number == COMMAND_PING || number == COMMAND_SUBSCRIBE ||
                      number == COMMAND_UNSUBSCRIBE || number == COMMAND_QUIT ||
                      number == COMMAND_RESET;
    if (!wrong && (!listens || may_listen)) {
        return false;
    }
    answer_begin(self, &local, SLOT_WHOLE);
    if (wrong) {
        reply_error_format(local.out, "ERR wrong number of arguments for '%s' command",
                           which->name);
    } else {
        char name[NAME_BYTES];
        show_name(&self->parser, which, name);
        reply_error_format(local.out,
                           "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING "
                           "/ QUIT / RESET are allowed in this context",
                           name);
    }
    answer_end(self, &local);
    return true;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void call_key(weft_ctx *ctx, connection *self, const key_request *request,
                     enum slot_part part) {
    size_t size = request->key.size;
    for (uint32_t i = 0; i < request->count; i++) {
        size += request->args[i].size;
    }
    if (slots_add(&self->slots, part, size) == NULL) {
        self->out.failed = true; /* the connection ends */
        return;
    }
    uint64_t token = self->slots.end - 1;
    int rc =
        request->key.size > WEFT_ID_MAX ? -EINVAL : key_call(ctx, self->shared, request, token);
    if (rc == WEFT_E_INACTIVE && budget_has_put_off(self->budget)) {
        key_request behind = *request; /* what was put off may be to make this key */
        behind.wakes = true;
        rc = key_call(ctx, self->shared, &behind, token);
    }
    if (rc >= 0) {
        return;
    }
    slots_undo(&self->slots);
    answer local;
    answer_begin(self, &local, part);
    if (rc == WEFT_E_INACTIVE) {
        key_execute_none(ctx, request, local.out);
    } else {
        answer_status(local.out, rc);
    }
    answer_end(self, &local);
}

static void execute_one_key(weft_ctx *ctx, connection *self, const command *which) {
    const slice *args = self->parser.args;
    const key_request request = {.command = which,
                                 .key = args[1],
                                 .args = args + 2,
                                 .count = self->parser.count - 2,
                                 .protocol = self->out.protocol};
    call_key(ctx, self, &request, SLOT_WHOLE);
}

/* How the reply of a part of a command of several keys shows. */
static enum slot_part part_of(const command *which, bool last) {
    switch (command_number(which)) {
    case COMMAND_MGET:
        return SLOT_WHOLE;
    case COMMAND_MSET:
        return last ? SLOT_OK_LAST : SLOT_OK;
    default:
        return last ? SLOT_SUM_LAST : SLOT_SUM;
    }
}

/* A call for each key, as many as there is room for. */
static bool execute_many_keys(weft_ctx *ctx, connection *self, const command *which) {
    const slice *args = self->parser.args + 1;
    uint32_t step = (uint32_t)which->key_step;
    uint32_t total = (self->parser.count - 1) / step;
    if (self->parts_sent == 0 && command_number(which) == COMMAND_MGET) {
        answer local;
        answer_begin(self, &local, SLOT_WHOLE);
        reply_array(local.out, total);
        answer_end(self, &local);
    }
    for (uint32_t i = self->parts_sent; i < total; i++) {
        const key_request request = {.command = which,
                                     .key = args[i * step],
                                     .args = args + i * step + 1,
                                     .count = step - 1,
                                     .protocol = self->out.protocol};
        if (i > self->parts_sent && !connection_has_room(self)) {
            self->parts_sent = i;
            return false;
        }
        call_key(ctx, self, &request, part_of(which, i + 1 == total));
    }
    self->parts_sent = 0;
    return true;
}

/* ---- all keys, channels ---------------------------------------------------------------------- */

/* A call was tried that fills a new slot. */
static void called(connection *self, int rc) {
    if (rc >= 0) {
        return;
    }
    slots_undo(&self->slots);
    answer local;
    answer_begin(self, &local, SLOT_WHOLE);
    if (rc == WEFT_E_INACTIVE) {
        reply_integer(local.out, 0); /* nobody has subscribed */
    } else {
        answer_status(local.out, rc);
    }
    answer_end(self, &local);
}

static void publish(weft_ctx *ctx, connection *self) {
    const slice *args = self->parser.args;
    if (slots_add(&self->slots, SLOT_WHOLE, args[2].size) == NULL) {
        self->out.failed = true; /* the connection ends */
        return;
    }
    uint64_t token = (self->slots.end - 1) | (uint64_t)ANSWER_NUMBER << ANSWER_SHIFT;
    channel_request asked = {
        .name = &args[1], .message = &args[2], .tag = CHANNEL_PUBLISH, .token = token};
    called(self,
           args[1].size > WEFT_ID_MAX ? WEFT_E_INACTIVE : channel_call(ctx, self->shared, &asked));
}

/* SCAN cursor [MATCH pattern] [COUNT n]. NULL, or what is wrong. */
static const char *read_scan(const parser *request, slice *ret_pattern) {
    const slice *args = request->args;
    for (size_t i = 0; i < args[1].size; i++) {
        if (!isdigit((unsigned char)args[1].data[i])) {
            return "ERR invalid cursor";
        }
    }
    for (uint32_t i = 2; i < request->count; i += 2) {
        if (i + 1 < request->count && argument_is(args[i], "match")) {
            *ret_pattern = args[i + 1];
        } else if (i + 1 == request->count || !argument_is(args[i], "count")) {
            return "ERR syntax error";
        }
    }
    return args[1].size > 0 ? NULL : "ERR invalid cursor";
}

/* What concerns all keys sees what this client did before, and is over before what it does next. */
static void walk(weft_ctx *ctx, connection *self, const command *which) {
    const slice *args = self->parser.args;
    slice pattern = {"*", 1};
    enum walk_tag tag = WALK_FLUSH;
    const char *error = NULL;
    if (command_number(which) == COMMAND_KEYS) {
        tag = WALK_KEYS;
        pattern = args[1];
    } else if (command_number(which) == COMMAND_SCAN) {
        tag = WALK_SCAN;
        error = read_scan(&self->parser, &pattern);
    } else if (self->parser.count > 2 ||
               (self->parser.count == 2 && !argument_is(args[1], "async") &&
                !argument_is(args[1], "sync"))) {
        error = "ERR syntax error";
    }
    if (error != NULL) {
        answer_error(self, error);
        return;
    }
    if (slots_add(&self->slots, SLOT_WHOLE, pattern.size) == NULL) {
        self->out.failed = true; /* the connection ends */
        return;
    }
    called(self, walk_call(ctx, self->shared, tag, &pattern, self->slots.end - 1));
    self->waits = true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void execute_at_once(weft_ctx *ctx, connection *self, const command *which) {
    answer local;
    answer_begin(self, &local, SLOT_WHOLE);
    if (!server_info_execute(ctx, self, which, local.out)) {
        client_execute(ctx, self, which, local.out);
    }
    answer_end(self, &local);
}

/* Of commands that look at more than one key or change how replies come. */
static bool must_be_alone(uint32_t number) {
    switch (number) {
    case COMMAND_DBSIZE:
    case COMMAND_FLUSHALL:
    case COMMAND_FLUSHDB:
    case COMMAND_INFO:
    case COMMAND_KEYS:
    case COMMAND_RESET:
    case COMMAND_SCAN:
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
        return true;
    default:
        return false;
    }
}

static bool execute_without_key(weft_ctx *ctx, connection *self, const command *which) {
    uint32_t number = command_number(which);
    if (must_be_alone(number) && slots_count(&self->slots) > 0) {
        return false;
    }
    switch (number) {
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
        return subscribe_execute(ctx, self, number == COMMAND_SUBSCRIBE);
    case COMMAND_PUBLISH:
        publish(ctx, self);
        return true;
    case COMMAND_FLUSHALL:
    case COMMAND_FLUSHDB:
    case COMMAND_KEYS:
    case COMMAND_SCAN:
        walk(ctx, self, which);
        return true;
    default:
        execute_at_once(ctx, self, which);
        return true;
    }
}

bool request_execute(weft_ctx *ctx, connection *self) {
    const slice *args = self->parser.args;
    const command *which = command_find(args[0].data, args[0].size);
    bool done = true;
    if (which == NULL) {
        refuse_unknown(self);
    } else if (self->parts_sent == 0 && is_refused(self, which)) {
        return true;
    } else if ((which->flags & COMMAND_NO_KEY) != 0) {
        done = execute_without_key(ctx, self, which);
    } else if ((which->flags & COMMAND_MANY_KEYS) != 0) {
        done = execute_many_keys(ctx, self, which);
    } else {
        execute_one_key(ctx, self, which);
    }
    resp_count(&resp_counts_of(self->shared, ctx)->commands, done ? 1 : 0);
    return done;
}
