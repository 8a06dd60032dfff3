/* SPDX-License-Identifier: MIT
 *
 * Strings: SET and GET with their options, counters, parts. A counter is kept as its digits, which
 * lie in the value itself, so there is one form of strings and not two.
 */
#include "execute.h"
#include "number.h"

#include <math.h>

#define ERROR_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

/* ---- options of SET and GETEX ----------------------------------------------------------------- */

enum expiry_form {
    EXPIRY_NONE,
    EXPIRY_EX,   /* seconds from now */
    EXPIRY_PX,   /* milliseconds from now */
    EXPIRY_EXAT, /* seconds since 1970 */
    EXPIRY_PXAT, /* milliseconds since 1970 */
};

struct options {
    bool only_new;      /* NX */
    bool only_existing; /* XX */
    bool get;           /* answers with the old value */
    bool keep_ttl;
    bool persist;
    enum expiry_form expiry;
    slice time; /* the argument of the expiry */
};

static enum expiry_form expiry_form_of(slice option) {
    if (argument_is(option, "ex")) {
        return EXPIRY_EX;
    }
    if (argument_is(option, "px")) {
        return EXPIRY_PX;
    }
    if (argument_is(option, "exat")) {
        return EXPIRY_EXAT;
    }
    return argument_is(option, "pxat") ? EXPIRY_PXAT : EXPIRY_NONE;
}

/* An expiry may be given again in the same form, the last one counts; not in two forms. */
static bool take_expiry(struct options *options, slice option, const slice *argument) {
    enum expiry_form form = expiry_form_of(option);
    bool conflicts = options->keep_ttl || options->persist ||
                     (options->expiry != EXPIRY_NONE && options->expiry != form);
    if (form == EXPIRY_NONE || argument == NULL || conflicts) {
        return false;
    }
    options->expiry = form;
    options->time = *argument;
    return true;
}

/* One that stands alone; false: it is none of these, or excluded by one before it. */
static bool take_set_flag(struct options *options, slice option) {
    if (argument_is(option, "nx") && !options->only_existing) {
        options->only_new = true;
    } else if (argument_is(option, "xx") && !options->only_new) {
        options->only_existing = true;
    } else if (argument_is(option, "get")) {
        options->get = true;
    } else if (argument_is(option, "keepttl") && options->expiry == EXPIRY_NONE) {
        options->keep_ttl = true;
    } else {
        return false;
    }
    return true;
}

static bool take_getex_flag(struct options *options, slice option) {
    if (!argument_is(option, "persist") || options->expiry != EXPIRY_NONE) {
        return false;
    }
    options->persist = true;
    return true;
}

static bool parse_options(const call *request, uint32_t from, struct options *options, reply *out) {
    bool is_set = from != 0; /* GETEX has nothing before its options */
    for (uint32_t i = from; i < request->count; i++) {
        slice option = request->args[i];
        bool is_flag = is_set ? take_set_flag(options, option) : take_getex_flag(options, option);
        if (is_flag) {
            continue;
        }
        const slice *argument = i + 1 < request->count ? &request->args[i + 1] : NULL;
        if (!take_expiry(options, option, argument)) {
            reply_error(out, ERROR_SYNTAX);
            return false;
        }
        i++;
    }
    return true;
}

/* The time in ms since 1970; 0 without an expiry. */
static bool parse_expiry(const call *request, const struct options *options, int64_t *ret_at_ms,
                         reply *out) {
    *ret_at_ms = 0;
    if (options->expiry == EXPIRY_NONE) {
        return true;
    }
    int64_t time = 0;
    if (!argument_integer(options->time, &time, out)) {
        return false;
    }
    bool in_seconds = options->expiry == EXPIRY_EX || options->expiry == EXPIRY_EXAT;
    bool from_now = options->expiry == EXPIRY_EX || options->expiry == EXPIRY_PX;
    int64_t unit_ms = in_seconds ? 1000 : 1;
    int64_t base_ms = from_now ? request->now_ms : 0;
    if (time <= 0 || time > INT64_MAX / unit_ms || time * unit_ms > INT64_MAX - base_ms) {
        reply_bad_expire_time(out, request);
        return false;
    }
    *ret_at_ms = time * unit_ms + base_ms;
    return true;
}

/* ---- GET and SET ------------------------------------------------------------------------------ */

/* The value or null. false: it is no string, the error is written. */
static bool reply_string(const value *self, reply *out) {
    if (!argument_type(self, VALUE_STRING, out)) {
        return false;
    }
    if (self->type == VALUE_NONE) {
        reply_null(out);
    } else {
        slice bytes = text_slice(&self->as.string);
        reply_bulk(out, bytes.data, bytes.size);
    }
    return true;
}

/* Replaces the value. false: out of memory, and instead of what was written since `start` there is
 * the error. */
static bool replace(value *self, slice bytes, size_t start, reply *out) {
    struct text string;
    if (!text_make(&string, bytes)) {
        out->size = start;
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return false;
    }
    value_take_string(self, &string);
    return true;
}

void execute_get(value *self, const call *request, reply *out) {
    (void)request;
    (void)reply_string(self, out); /* the error is written */
}

/* In MGET what is no string is as if it was not there. */
void execute_mget(value *self, const call *request, reply *out) {
    if (self->type == VALUE_STRING) {
        execute_get(self, request, out);
    } else {
        reply_null(out);
    }
}

static void set(value *self, const call *request, const struct options *options, slice bytes,
                reply *out) {
    size_t start = out->size;
    int64_t expire_at_ms = 0;
    if (!parse_expiry(request, options, &expire_at_ms, out)) {
        return;
    }
    if (options->get && !reply_string(self, out)) {
        return;
    }
    bool exists = self->type != VALUE_NONE;
    if ((options->only_new && exists) || (options->only_existing && !exists)) {
        if (!options->get) {
            reply_null(out);
        }
        return;
    }
    if (!replace(self, bytes, start, out)) {
        return;
    }
    if (!options->keep_ttl) {
        self->expire_at_ms = expire_at_ms;
    }
    if (!options->get) {
        reply_status(out, "OK");
    }
}

void execute_set(value *self, const call *request, reply *out) {
    struct options options = {0};
    if (parse_options(request, 1, &options, out)) {
        set(self, request, &options, request->args[0], out);
    }
}

void execute_setex(value *self, const call *request, reply *out) {
    struct options options = {.expiry = EXPIRY_EX, .time = request->args[0]};
    set(self, request, &options, request->args[1], out);
}

void execute_psetex(value *self, const call *request, reply *out) {
    struct options options = {.expiry = EXPIRY_PX, .time = request->args[0]};
    set(self, request, &options, request->args[1], out);
}

void execute_setnx(value *self, const call *request, reply *out) {
    if (self->type != VALUE_NONE) {
        reply_integer(out, 0);
    } else if (replace(self, request->args[0], out->size, out)) {
        reply_integer(out, 1);
    }
}

void execute_getset(value *self, const call *request, reply *out) {
    size_t start = out->size;
    if (reply_string(self, out) && replace(self, request->args[0], start, out)) {
        self->expire_at_ms = 0;
    }
}

void execute_getdel(value *self, const call *request, reply *out) {
    (void)request;
    if (reply_string(self, out)) {
        value_clear(self);
    }
}

void execute_getex(value *self, const call *request, reply *out) {
    struct options options = {0};
    if (!parse_options(request, 0, &options, out)) {
        return;
    }
    if (self->type != VALUE_STRING) {
        (void)reply_string(self, out); /* null, or the error: before a wrong time */
        return;
    }
    int64_t expire_at_ms = 0;
    if (!parse_expiry(request, &options, &expire_at_ms, out)) {
        return;
    }
    (void)reply_string(self, out); /* it is one */
    if (options.persist || options.expiry != EXPIRY_NONE) {
        self->expire_at_ms = expire_at_ms;
    }
    if (options.expiry != EXPIRY_NONE && expire_at_ms <= request->now_ms) {
        value_clear(self);
    }
}

/* ---- counters --------------------------------------------------------------------------------- */

static slice string_or_empty(const value *self) {
    return self->type == VALUE_NONE ? (slice){"", 0} : text_slice(&self->as.string);
}

static void increment(value *self, int64_t by, reply *out) {
    int64_t number = 0;
    if (!argument_type(self, VALUE_STRING, out)) {
        return;
    }
    if (self->type != VALUE_NONE && !argument_integer(string_or_empty(self), &number, out)) {
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(out, ERROR_OVERFLOW);
        return;
    }
    char digits[NUMBER_INTEGER_MAX];
    slice bytes = {digits, number_format_integer(digits, number)};
    if (replace(self, bytes, out->size, out)) {
        reply_integer(out, number);
    }
}

void execute_incr(value *self, const call *request, reply *out) {
    (void)request;
    increment(self, 1, out);
}

void execute_decr(value *self, const call *request, reply *out) {
    (void)request;
    increment(self, -1, out);
}

void execute_incrby(value *self, const call *request, reply *out) {
    int64_t by = 0;
    if (argument_integer(request->args[0], &by, out)) {
        increment(self, by, out);
    }
}

void execute_decrby(value *self, const call *request, reply *out) {
    int64_t by = 0;
    if (!argument_integer(request->args[0], &by, out)) {
        return;
    }
    if (by == INT64_MIN) {
        reply_error(out, "ERR decrement would overflow");
        return;
    }
    increment(self, -by, out);
}

void execute_incrbyfloat(value *self, const call *request, reply *out) {
    long double number = 0;
    long double by = 0;
    if (!argument_type(self, VALUE_STRING, out)) {
        return;
    }
    if (self->type != VALUE_NONE && !argument_long_double(string_or_empty(self), &number, out)) {
        return;
    }
    if (!argument_long_double(request->args[0], &by, out)) {
        return;
    }
    number += by;
    if (isnan(number) || isinf(number)) {
        reply_error(out, ERROR_NOT_A_NUMBER);
        return;
    }
    char digits[NUMBER_LONG_DOUBLE_MAX];
    slice bytes = {digits, number_format_long_double(digits, number)};
    if (replace(self, bytes, out->size, out)) {
        reply_bulk(out, bytes.data, bytes.size);
    }
}

/* ---- parts ------------------------------------------------------------------------------------ */

/* Writes into the string, which is made if there is none, and answers its size. */
static void write_at(value *self, size_t at, slice bytes, reply *out) {
    struct text fresh = {0};
    struct text *string = self->type == VALUE_NONE ? &fresh : &self->as.string;
    if (!text_write(string, at, bytes)) {
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (self->type == VALUE_NONE) {
        value_take_string(self, &fresh);
    }
    reply_integer(out, (int64_t)text_slice(&self->as.string).size);
}

void execute_append(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_STRING, out)) {
        return;
    }
    size_t size = string_or_empty(self).size;
    if (request->args[0].size > TEXT_SIZE_MAX - size) {
        reply_error(out, ERROR_TOO_LONG);
        return;
    }
    write_at(self, size, request->args[0], out);
}

void execute_setrange(value *self, const call *request, reply *out) {
    int64_t at = 0;
    slice bytes = request->args[1];
    if (!argument_integer(request->args[0], &at, out)) {
        return;
    }
    if (at < 0) {
        reply_error(out, "ERR offset is out of range");
        return;
    }
    if (!argument_type(self, VALUE_STRING, out)) {
        return;
    }
    if (bytes.size == 0) {
        reply_integer(out, (int64_t)string_or_empty(self).size);
        return;
    }
    if (bytes.size > TEXT_SIZE_MAX || at > (int64_t)(TEXT_SIZE_MAX - bytes.size)) {
        reply_error(out, ERROR_TOO_LONG);
        return;
    }
    write_at(self, (size_t)at, bytes, out);
}

void execute_getrange(value *self, const call *request, reply *out) {
    int64_t start = 0;
    int64_t stop = 0;
    if (!argument_integer(request->args[0], &start, out) ||
        !argument_integer(request->args[1], &stop, out) ||
        !argument_type(self, VALUE_STRING, out)) {
        return;
    }
    slice bytes = string_or_empty(self);
    bool crossed = start < 0 && stop < 0 && start > stop;
    if (stop < 0 && stop + (int64_t)bytes.size < 0) {
        stop = 0; /* unlike a list's range: before the first byte means up to the first byte */
    }
    span part = span_of(start, stop, (int64_t)bytes.size);
    if (crossed || part.count == 0) {
        reply_bulk(out, "", 0);
    } else {
        reply_bulk(out, bytes.data + part.start, (size_t)part.count);
    }
}

void execute_strlen(value *self, const call *request, reply *out) {
    (void)request;
    if (argument_type(self, VALUE_STRING, out)) {
        reply_integer(out, (int64_t)string_or_empty(self).size);
    }
}
