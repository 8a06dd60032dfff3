/* SPDX-License-Identifier: MIT
 *
 * Commands that concern the connection itself: see connection.h. There are no users and no passwords
 * here, and one database.
 */
#define _GNU_SOURCE 1
#include "connection.h"
#include "execute.h"
#include "number.h"
#include "server_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_TEXT_BYTES = 512 };

static void ping(connection *self, reply *out) {
    const parser *request = &self->parser;
    slice text = request->count > 1 ? request->args[1] : (slice){"", 0};
    if (request->count > 2) {
        reply_error(out, "ERR wrong number of arguments for 'ping' command");
    } else if (self->channels.count > 0 && out->protocol == 2) {
        reply_array(out, 2);
        reply_bulk_text(out, "pong");
        reply_bulk(out, text.data, text.size);
    } else if (request->count == 1) {
        reply_status(out, "PONG");
    } else {
        reply_bulk(out, text.data, text.size);
    }
}

/* There is one database. */
static void select_database(const parser *request, reply *out) {
    int64_t number = 0;
    if (!argument_integer(request->args[1], &number, out)) {
        return;
    }
    if (number == 0) {
        reply_status(out, "OK");
    } else if (number < INT32_MIN || number > INT32_MAX) {
        reply_error(out,
                    "ERR value is out of range, value must between -2147483648 and 2147483647");
    } else {
        reply_error(out, "ERR DB index is out of range");
    }
}

static void tell_time(reply *out) {
    char text[32];
    struct timespec now;
    (void)timespec_get(&now, TIME_UTC); /* cannot fail */
    reply_array(out, 2);
    (void)snprintf(text, sizeof(text), "%lld", (long long)now.tv_sec);
    reply_bulk_text(out, text);
    (void)snprintf(text, sizeof(text), "%ld", now.tv_nsec / 1000);
    reply_bulk_text(out, text);
}

/* ---- HELLO, AUTH, RESET ---------------------------------------------------------------------- */

/* NULL: any password does for the user "default", who has none. */
static const char *check_user(const slice *user) {
    return user->size == 7 && memcmp(user->data, "default", 7) == 0
               ? NULL
               : "WRONGPASS invalid username-password pair or user is disabled.";
}

static void authenticate(const parser *request, reply *out) {
    const char *error = NULL;
    if (request->count > 3) {
        error = "ERR syntax error";
    } else if (request->count == 2) {
        error = "ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?";
    } else {
        error = check_user(&request->args[1]);
    }
    if (error != NULL) {
        reply_error(out, error);
    } else {
        reply_status(out, "OK");
    }
}

static const char *check_name(const slice *name) {
    for (size_t i = 0; i < name->size; i++) {
        if (name->data[i] < '!' || name->data[i] > '~') {
            return "ERR Client names cannot contain spaces, newlines or special characters.";
        }
    }
    return NULL;
}

/* NULL, or what is wrong. An empty name is none. */
static const char *set_name(connection *self, const slice *name) {
    const char *error = check_name(name);
    char *copy = error == NULL ? malloc(name->size + 1) : NULL;
    if (copy == NULL) {
        return error != NULL ? error : "OOM command not allowed";
    }
    memcpy(copy, name->data, name->size);
    free((void *)(uintptr_t)self->name.data);
    self->name = (slice){copy, name->size};
    return NULL;
}

/* HELLO [version [AUTH user password] [SETNAME name]] */
static const char *read_hello(const parser *request, int *protocol, slice *name) {
    const slice *args = request->args;
    const char *error = NULL;
    if (request->count > 1) {
        int64_t version = 0;
        if (!number_parse_integer(args[1], &version)) {
            return "ERR Protocol version is not an integer or out of range";
        }
        if (version < 2 || version > 3) {
            return "NOPROTO unsupported protocol version";
        }
        *protocol = (int)version;
    }
    for (uint32_t i = 2; i < request->count && error == NULL; i++) {
        uint32_t left = request->count - 1 - i;
        if (argument_is(args[i], "auth") && left >= 2) {
            error = check_user(&args[i + 1]);
            i += 2;
        } else if (argument_is(args[i], "setname") && left >= 1) {
            *name = args[++i];
            error = check_name(name);
        } else {
            return NULL;
        }
    }
    return error;
}

/* The word of HELLO that is not understood, or NULL. */
static const slice *bad_hello_word(const parser *request) {
    for (uint32_t i = 2; i < request->count; i++) {
        uint32_t left = request->count - 1 - i;
        bool is_auth = argument_is(request->args[i], "auth") && left >= 2;
        bool is_name = argument_is(request->args[i], "setname") && left >= 1;
        if (!is_auth && !is_name) {
            return &request->args[i];
        }
        i += is_auth ? 2 : 1;
    }
    return NULL;
}

static void greet(connection *self, reply *out) {
    int protocol = out->protocol;
    slice name = {NULL, 0};
    const char *error = read_hello(&self->parser, &protocol, &name);
    const slice *bad = error == NULL ? bad_hello_word(&self->parser) : NULL;
    if (error == NULL && bad == NULL && name.data != NULL) {
        error = set_name(self, &name);
    }
    if (error != NULL) {
        reply_error(out, error);
        return;
    }
    if (bad != NULL) {
        reply_error_format(out, "ERR Syntax error in HELLO option '%.*s'",
                           (int)(bad->size < 128 ? bad->size : 128), bad->data);
        return;
    }
    out->protocol = protocol;
    self->out.protocol = protocol;
    server_info_hello(self->id, out);
}

void client_reset(weft_ctx *ctx, connection *self) {
    subscribe_leave(ctx, self);
    free((void *)(uintptr_t)self->name.data);
    self->name = (slice){NULL, 0};
}

/* ---- CLIENT ---------------------------------------------------------------------------------- */

/* One line as of CLIENT LIST. Fields that mean nothing here are left out. */
static void describe(weft_ctx *ctx, const connection *self, bool line, reply *out) {
    char text[CLIENT_TEXT_BYTES], peer[WEFT_ADDRESS_TEXT_BYTES] = "";
    char local[WEFT_ADDRESS_TEXT_BYTES] = "";
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    if (weft_stream_inspect(ctx, &info) == 0) {
        (void)weft_address_format(&info.peer, peer, sizeof(peer)); /* always room */
        (void)weft_address_format(&info.local, local, sizeof(local));
    }
    int size = snprintf(
        text, sizeof(text),
        "id=%" PRIu64 " addr=%s laddr=%s name=%.*s age=%" PRId64
        " idle=0 flags=%s db=0 sub=%" PRIu32
        " psub=0 ssub=0 multi=-1 qbuf=%zu obl=%zu cmd=client|%s user=default redir=-1 resp=%d\n",
        self->id, peer, local, (int)(self->name.size < 128 ? self->name.size : 128),
        self->name.data != NULL ? self->name.data : "", (resp_now_ms() - self->since_ms) / 1000,
        self->channels.count > 0 ? "P" : "N", self->channels.count,
        self->input_size - self->input_at, self->out.size, line ? "list" : "info",
        self->out.protocol);
    reply_verbatim(out, text, size > 0 ? (size_t)size : 0);
}

static void client_setname(connection *self, reply *out) {
    const char *error = set_name(self, &self->parser.args[2]);
    if (error != NULL) {
        reply_error(out, error);
    } else {
        reply_status(out, "OK");
    }
}

static void client_switch(const slice *arg, reply *out) {
    if (argument_is(*arg, "on") || argument_is(*arg, "off")) {
        reply_status(out, "OK"); /* nobody is evicted anyway */
    } else {
        reply_error(out, "ERR syntax error");
    }
}

static void client_name(const connection *self, reply *out) {
    if (self->name.size > 0) {
        reply_bulk(out, self->name.data, self->name.size);
    } else {
        reply_null(out);
    }
}

static const char *const client_lines[] = {
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "LIST",
    "    Return information about client connections.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    NULL,
};

static void client_command(weft_ctx *ctx, connection *self, reply *out) {
    static const struct {
        const char *name;
        uint32_t count; /* words of the request */
    } known[] = {{"id", 2},   {"getname", 2}, {"setname", 3},
                 {"info", 2}, {"list", 2},    {"no-evict", 3}};
    const parser *request = &self->parser;
    const slice *arg = &request->args[1];
    size_t which = 0, count = sizeof(known) / sizeof(known[0]);
    while (which < count && !argument_is(*arg, known[which].name)) {
        which++;
    }
    if (argument_is(*arg, "help")) {
        server_info_help(request, client_lines, out);
        return;
    }
    if (which == count) {
        server_info_unknown(&request->args[0], arg, out);
        return;
    }
    if (request->count != known[which].count) {
        reply_error_format(out, "ERR wrong number of arguments for 'client|%s' command",
                           known[which].name);
        return;
    }
    switch (which) {
    case 0:
        reply_integer(out, (int64_t)self->id);
        break;
    case 1:
        client_name(self, out);
        break;
    case 2:
        client_setname(self, out);
        break;
    case 3:
    case 4: /* of this connection only: others belong to other actors */
        describe(ctx, self, which == 4, out);
        break;
    default:
        client_switch(&request->args[2], out);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

void client_execute(weft_ctx *ctx, connection *self, const command *which, reply *out) {
    const parser *request = &self->parser;
    switch (command_number(which)) {
    case COMMAND_PING:
        ping(self, out);
        break;
    case COMMAND_ECHO:
        reply_bulk(out, request->args[1].data, request->args[1].size);
        break;
    case COMMAND_SELECT:
        select_database(request, out);
        break;
    case COMMAND_TIME:
        tell_time(out);
        break;
    case COMMAND_AUTH:
        authenticate(request, out);
        break;
    case COMMAND_HELLO:
        greet(self, out);
        break;
    case COMMAND_CLIENT:
        client_command(ctx, self, out);
        break;
    case COMMAND_RESET:
        client_reset(ctx, self);
        self->out.protocol = 2;
        reply_status(out, "RESET");
        break;
    case COMMAND_QUIT:
        reply_status(out, "OK");
        self->closing = true;
        break;
    default: /* in the table of commands, and not offered here */
        reply_error_format(out,
                           "ERR unknown command '%s', with args beginning with: ", which->name);
    }
}
