/* SPDX-License-Identifier: MIT
 *
 * The channels a connection has subscribed to: see connection.h. The list is searched from its
 * beginning; who subscribes to very many channels waits longer, and nobody else does.
 */
#include "channel.h"
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_FIRST = 4 };

/* ---- the list -------------------------------------------------------------------------------- */

/* Where a name is, or count. */
static uint32_t find(const subscriptions *self, const slice *name) {
    uint32_t i = 0;
    while (i < self->count && (self->names[i].size != name->size ||
                               memcmp(self->names[i].data, name->data, name->size) != 0)) {
        i++;
    }
    return i;
}

static void free_name(slice *name) {
    free((void *)(uintptr_t)name->data);
    *name = (slice){NULL, 0};
}

/* name is taken. */
static bool add(subscriptions *self, slice *name) {
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity == 0 ? NAMES_FIRST : 2 * self->capacity;
        slice *grown = realloc(self->names, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        self->names = grown;
        self->capacity = capacity;
    }
    self->names[self->count++] = *name;
    *name = (slice){NULL, 0};
    return true;
}

static void drop(subscriptions *self, const slice *name) {
    uint32_t i = find(self, name);
    if (i < self->count) {
        free_name(&self->names[i]);
        self->names[i] = self->names[--self->count];
    }
}

void subscribe_leave(weft_ctx *ctx, connection *self) {
    subscriptions *channels = &self->channels;
    for (uint32_t i = 0; i < channels->count; i++) {
        channel_leave(ctx, self->shared, &channels->names[i]);
        free_name(&channels->names[i]);
    }
    if (channels->moving.data != NULL) { /* the channel may have us already */
        channel_leave(ctx, self->shared, &channels->moving);
        free_name(&channels->moving);
    }
    free(channels->names);
    *channels = (subscriptions){0};
}

/* ---- commands -------------------------------------------------------------------------------- */

/* name NULL: there was nothing to leave. */
static void confirm(const subscriptions *self, bool joins, const slice *name, reply *out) {
    reply_push(out, 3);
    reply_bulk_text(out, joins ? "subscribe" : "unsubscribe");
    if (name != NULL) {
        reply_bulk(out, name->data, name->size);
    } else {
        reply_null(out);
    }
    reply_integer(out, self->count);
}

void subscribe_answered(connection *self, int status, reply *out) {
    subscriptions *channels = &self->channels;
    slice name = channels->moving;
    if (status < 0) {
        reply_error_format(out, "ERR %s", weft_strerror(status));
    } else if (!channels->joins) {
        drop(channels, &name);
        confirm(channels, false, &name, out);
    } else if (add(channels, &channels->moving)) {
        confirm(channels, true, &name, out);
    } else {
        self->out.failed = true; /* the connection ends, and so leaves */
        return;
    }
    if (channels->moving.data != NULL) {
        free_name(&channels->moving);
    }
}

/* Asks the channel. False: it could not be asked, which is answered. */
static bool ask(weft_ctx *ctx, connection *self, const slice *name, bool joins) {
    subscriptions *channels = &self->channels;
    int rc = -ENOMEM;
    char *copy = malloc(name->size + 1); /* an empty name has memory, too */
    if (copy != NULL && slots_add(&self->slots, SLOT_WHOLE, 0) != NULL) {
        memcpy(copy, name->data, name->size);
        channels->moving.data = copy;
        channels->moving.size = name->size;
        channels->joins = joins;
        uint64_t token = (self->slots.end - 1) | (uint64_t)ANSWER_CHANNEL << ANSWER_SHIFT;
        channel_request asked = {.name = &channels->moving,
                                 .tag = joins ? CHANNEL_SUBSCRIBE : CHANNEL_UNSUBSCRIBE,
                                 .token = token};
        rc = channel_call(ctx, self->shared, &asked);
        if (rc >= 0) {
            return true;
        }
        slots_undo(&self->slots);
        rc = rc == WEFT_E_INACTIVE ? 0 : rc; /* it knows nobody: left already */
    } else {
        free(copy);
        self->out.failed = true; /* the connection ends */
        return false;
    }
    subscribe_answered(self, rc, &self->out);
    return false;
}

/* One channel: true when it is done already. */
static bool move(weft_ctx *ctx, connection *self, const slice *name, bool joins) {
    bool member = find(&self->channels, name) < self->channels.count;
    if (member != joins) {
        return !ask(ctx, self, name, joins);
    }
    confirm(&self->channels, joins, name, &self->out);
    return true;
}

bool subscribe_execute(weft_ctx *ctx, connection *self, bool joins) {
    const parser *request = &self->parser;
    bool all = request->count == 1; /* UNSUBSCRIBE */
    bool done = true;
    if (all && self->parts_sent == 0 && self->channels.count == 0) {
        confirm(&self->channels, false, NULL, &self->out);
    }
    while (done && all && self->channels.count > 0) { /* each is left, or asked to be */
        self->parts_sent++;
        done = move(ctx, self, &self->channels.names[self->channels.count - 1], false);
    }
    while (done && !all && self->parts_sent + 1 < request->count) { /* arguments */
        self->parts_sent++;
        done = move(ctx, self, &request->args[self->parts_sent], joins);
    }
    if (done) {
        self->parts_sent = 0;
    }
    return done;
}
