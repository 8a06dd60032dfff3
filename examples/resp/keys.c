/* SPDX-License-Identifier: MIT
 *
 * Commands for keys of any type: whether there is one, what it is, and when it expires.
 */
#include "execute.h"

/* ---- DEL, EXISTS, TYPE ------------------------------------------------------------------------ */

void execute_exists(value *self, const call *request, reply *out) {
    (void)request;
    reply_integer(out, self->type == VALUE_NONE ? 0 : 1);
}

void execute_del(value *self, const call *request, reply *out) {
    execute_exists(self, request, out);
    value_clear(self);
}

void execute_type(value *self, const call *request, reply *out) {
    static const char *const names[] = {
        [VALUE_NONE] = "none", [VALUE_STRING] = "string", [VALUE_LIST] = "list",
        [VALUE_HASH] = "hash", [VALUE_SET] = "set",       [VALUE_ZSET] = "zset",
    };
    (void)request;
    reply_status(out, names[self->type]);
}

/* ---- EXPIRE ----------------------------------------------------------------------------------- */

struct expire_options {
    bool only_without; /* NX: if it does not expire yet */
    bool only_with;    /* XX */
    bool only_later;   /* GT */
    bool only_sooner;  /* LT */
};

static bool parse_expire_options(const call *request, struct expire_options *options, reply *out) {
    for (uint32_t i = 1; i < request->count; i++) {
        slice option = request->args[i];
        if (argument_is(option, "nx")) {
            options->only_without = true;
        } else if (argument_is(option, "xx")) {
            options->only_with = true;
        } else if (argument_is(option, "gt")) {
            options->only_later = true;
        } else if (argument_is(option, "lt")) {
            options->only_sooner = true;
        } else {
            reply_error_format(out, "ERR Unsupported option %.*s", (int)option.size, option.data);
            return false;
        }
    }
    if (options->only_without &&
        (options->only_with || options->only_later || options->only_sooner)) {
        reply_error(out, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (options->only_later && options->only_sooner) {
        reply_error(out, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool allows(const struct expire_options *options, const value *self, int64_t at_ms) {
    int64_t current_ms = self->expire_at_ms;
    if (current_ms == 0) { /* never: later than any other time */
        return !options->only_with && !options->only_later;
    }
    return !options->only_without && !(options->only_later && at_ms <= current_ms) &&
           !(options->only_sooner && at_ms >= current_ms);
}

/* base_ms: what the argument counts from; unit_ms: what one of it is. */
static void expire(value *self, const call *request, reply *out, int64_t base_ms, int64_t unit_ms) {
    struct expire_options options = {0};
    int64_t at_ms = 0;
    if (!parse_expire_options(request, &options, out) ||
        !argument_integer(request->args[0], &at_ms, out)) {
        return;
    }
    if (at_ms > INT64_MAX / unit_ms || at_ms < INT64_MIN / unit_ms ||
        at_ms * unit_ms > INT64_MAX - base_ms) {
        reply_bad_expire_time(out, request);
        return;
    }
    at_ms = at_ms * unit_ms + base_ms;
    if (self->type == VALUE_NONE || !allows(&options, self, at_ms)) {
        reply_integer(out, 0);
        return;
    }
    if (at_ms <= request->now_ms) {
        value_clear(self);
    } else {
        self->expire_at_ms = at_ms;
    }
    reply_integer(out, 1);
}

void execute_expire(value *self, const call *request, reply *out) {
    expire(self, request, out, request->now_ms, 1000);
}

void execute_pexpire(value *self, const call *request, reply *out) {
    expire(self, request, out, request->now_ms, 1);
}

void execute_expireat(value *self, const call *request, reply *out) {
    expire(self, request, out, 0, 1000);
}

void execute_pexpireat(value *self, const call *request, reply *out) {
    expire(self, request, out, 0, 1);
}

void execute_persist(value *self, const call *request, reply *out) {
    (void)request;
    reply_integer(out, self->expire_at_ms != 0 ? 1 : 0);
    self->expire_at_ms = 0;
}

/* ---- TTL -------------------------------------------------------------------------------------- */

/* The answer when there is no time to tell: -2 without a key, -1 if it does not expire; or 0. */
static int64_t no_time(const value *self) {
    if (self->type == VALUE_NONE) {
        return -2;
    }
    return self->expire_at_ms == 0 ? -1 : 0;
}

/* Rounded to the nearest; unsigned, because half a second more may be too much. */
static int64_t to_seconds(int64_t ms) {
    return (int64_t)(((uint64_t)ms + 500) / 1000);
}

void execute_ttl(value *self, const call *request, reply *out) {
    int64_t answer = no_time(self);
    reply_integer(out, answer != 0 ? answer : to_seconds(self->expire_at_ms - request->now_ms));
}

void execute_pttl(value *self, const call *request, reply *out) {
    int64_t answer = no_time(self);
    reply_integer(out, answer != 0 ? answer : self->expire_at_ms - request->now_ms);
}

void execute_expiretime(value *self, const call *request, reply *out) {
    (void)request;
    int64_t answer = no_time(self);
    reply_integer(out, answer != 0 ? answer : to_seconds(self->expire_at_ms));
}

void execute_pexpiretime(value *self, const call *request, reply *out) {
    (void)request;
    int64_t answer = no_time(self);
    reply_integer(out, answer != 0 ? answer : self->expire_at_ms);
}
