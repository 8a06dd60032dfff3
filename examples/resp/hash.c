/* SPDX-License-Identifier: MIT
 *
 * Hashes and their commands. A hash without fields is no longer there.
 *
 * A command that sets several fields first makes all of them at the end of the table's array, where
 * room was reserved, and only then adds them one by one: so it needs no memory any more when it
 * begins to change something.
 */
#include "hash.h"

#include "execute.h"
#include "number.h"

#include <math.h>

struct field {
    struct text name;
    struct text content;
};

void hash_destroy(struct table *self) {
    for (uint32_t i = 0; self != NULL && i < self->count; i++) {
        text_free(&((struct field *)table_at(self, i))->content);
    }
    table_destroy(self);
}

size_t hash_bytes(const struct table *self) {
    uint32_t sample = self->count < 16 ? self->count : 16;
    size_t heap_bytes = 0;
    for (uint32_t i = 0; i < sample; i++) {
        heap_bytes += text_heap_bytes(&((struct field *)table_at(self, i))->content);
    }
    return table_bytes(self) + (sample == 0 ? 0 : heap_bytes / sample * self->count);
}

static uint32_t count_of(const value *self) {
    return self->type == VALUE_NONE ? 0 : self->as.table->count;
}

static struct field *find(const value *self, slice name) {
    return self->type == VALUE_NONE ? NULL : table_find(self->as.table, name);
}

static void reply_text(const struct text *bytes_of, reply *out) {
    slice bytes = text_slice(bytes_of);
    reply_bulk(out, bytes.data, bytes.size);
}

/* ---- changes ---------------------------------------------------------------------------------- */

static bool make_field(struct field *ret_field, slice name, slice content) {
    if (!text_make(&ret_field->name, name)) {
        return false;
    }
    if (!text_make(&ret_field->content, content)) {
        text_free(&ret_field->name);
        return false;
    }
    return true;
}

/* Makes `count` fields of names and contents in turn, behind the ones that are there. */
static bool make_fields(struct table *self, const slice *pairs, uint32_t count) {
    if (!table_reserve(self, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (make_field(table_at(self, self->count + i), pairs[2 * i], pairs[2 * i + 1])) {
            continue;
        }
        for (uint32_t made = 0; made < i; made++) {
            struct field *field = table_at(self, self->count + made);
            text_free(&field->name);
            text_free(&field->content);
        }
        return false;
    }
    return true;
}

/* Takes what was made over; returns how many are new. */
static uint32_t take_fields(struct table *self, uint32_t count) {
    uint32_t first = self->count;
    for (uint32_t i = 0; i < count; i++) {
        struct field *made = table_at(self, first + i);
        struct field *there = table_find(self, text_slice(&made->name));
        if (there == NULL) {
            table_push(self, made);
        } else {
            text_free(&there->content);
            there->content = made->content;
            text_free(&made->name);
        }
    }
    return self->count - first;
}

/* Sets fields; makes the hash if there is none. Returns how many are new; -1: out of memory, and
 * the error is written. */
static int64_t set_fields(value *self, const call *request, const slice *pairs, uint32_t count,
                          reply *out) {
    struct table *table = self->as.table;
    if (self->type == VALUE_NONE) {
        uint64_t seed[2] = {request->random(request->random_cookie),
                            request->random(request->random_cookie)};
        table = table_create(sizeof(struct field), seed);
    }
    if (table == NULL || !make_fields(table, pairs, count)) {
        if (self->type == VALUE_NONE) {
            table_destroy(table);
        }
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return -1;
    }
    self->type = VALUE_HASH;
    self->as.table = table;
    int64_t added = take_fields(table, count);
    table_shrink(table);
    return added;
}

/* For HSET and HMSET; -1: an error is written. */
static int64_t set_many(value *self, const call *request, reply *out) {
    if (request->count % 2 != 0) {
        reply_wrong_arity(out, request);
        return -1;
    }
    if (!argument_type(self, VALUE_HASH, out)) {
        return -1;
    }
    return set_fields(self, request, request->args, request->count / 2, out);
}

void execute_hset(value *self, const call *request, reply *out) {
    int64_t added = set_many(self, request, out);
    if (added >= 0) {
        reply_integer(out, added);
    }
}

void execute_hmset(value *self, const call *request, reply *out) {
    if (set_many(self, request, out) >= 0) {
        reply_status(out, "OK");
    }
}

void execute_hsetnx(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    if (find(self, request->args[0]) != NULL) {
        reply_integer(out, 0);
    } else if (set_fields(self, request, request->args, 1, out) >= 0) {
        reply_integer(out, 1);
    }
}

void execute_hdel(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    uint32_t before = count_of(self);
    for (uint32_t i = 0; i < request->count && count_of(self) != 0; i++) {
        struct field *field = find(self, request->args[i]);
        if (field != NULL) {
            text_free(&field->content);
            table_remove(self->as.table, field);
        }
    }
    reply_integer(out, before - count_of(self));
    if (count_of(self) == 0) {
        value_clear(self);
    } else {
        table_shrink(self->as.table);
    }
}

/* ---- counters --------------------------------------------------------------------------------- */

void execute_hincrby(value *self, const call *request, reply *out) {
    int64_t by = 0;
    int64_t number = 0;
    if (!argument_integer(request->args[1], &by, out) || !argument_type(self, VALUE_HASH, out)) {
        return;
    }
    const struct field *field = find(self, request->args[0]);
    if (field != NULL && !number_parse_integer(text_slice(&field->content), &number)) {
        reply_error(out, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(out, ERROR_OVERFLOW);
        return;
    }
    char digits[NUMBER_INTEGER_MAX];
    slice pair[2] = {request->args[0], {digits, number_format_integer(digits, number)}};
    if (set_fields(self, request, pair, 1, out) >= 0) {
        reply_integer(out, number);
    }
}

void execute_hincrbyfloat(value *self, const call *request, reply *out) {
    long double by = 0;
    long double number = 0;
    if (!argument_long_double(request->args[1], &by, out)) {
        return;
    }
    if (isinf(by)) {
        reply_error(out, "ERR value is NaN or Infinity");
        return;
    }
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    const struct field *field = find(self, request->args[0]);
    if (field != NULL && !number_parse_long_double(text_slice(&field->content), &number)) {
        reply_error(out, "ERR hash value is not a float");
        return;
    }
    number += by;
    if (isnan(number) || isinf(number)) {
        reply_error(out, ERROR_NOT_A_NUMBER);
        return;
    }
    char digits[NUMBER_LONG_DOUBLE_MAX];
    slice pair[2] = {request->args[0], {digits, number_format_long_double(digits, number)}};
    if (set_fields(self, request, pair, 1, out) >= 0) {
        reply_bulk(out, pair[1].data, pair[1].size);
    }
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void reply_content(const struct field *field, reply *out) {
    if (field == NULL) {
        reply_null(out);
    } else {
        reply_text(&field->content, out);
    }
}

void execute_hget(value *self, const call *request, reply *out) {
    if (argument_type(self, VALUE_HASH, out)) {
        reply_content(find(self, request->args[0]), out);
    }
}

void execute_hmget(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    reply_array(out, request->count);
    for (uint32_t i = 0; i < request->count; i++) {
        reply_content(find(self, request->args[i]), out);
    }
}

void execute_hgetall(value *self, const call *request, reply *out) {
    (void)request;
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    reply_map(out, count_of(self));
    for (uint32_t i = 0; i < count_of(self); i++) {
        const struct field *field = table_at(self->as.table, i);
        reply_text(&field->name, out);
        reply_text(&field->content, out);
    }
}

void execute_hkeys(value *self, const call *request, reply *out) {
    (void)request;
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    reply_array(out, count_of(self));
    for (uint32_t i = 0; i < count_of(self); i++) {
        reply_text(&((const struct field *)table_at(self->as.table, i))->name, out);
    }
}

void execute_hvals(value *self, const call *request, reply *out) {
    (void)request;
    if (!argument_type(self, VALUE_HASH, out)) {
        return;
    }
    reply_array(out, count_of(self));
    for (uint32_t i = 0; i < count_of(self); i++) {
        reply_text(&((const struct field *)table_at(self->as.table, i))->content, out);
    }
}

void execute_hexists(value *self, const call *request, reply *out) {
    if (argument_type(self, VALUE_HASH, out)) {
        reply_integer(out, find(self, request->args[0]) != NULL ? 1 : 0);
    }
}

void execute_hlen(value *self, const call *request, reply *out) {
    (void)request;
    if (argument_type(self, VALUE_HASH, out)) {
        reply_integer(out, count_of(self));
    }
}

void execute_hstrlen(value *self, const call *request, reply *out) {
    if (argument_type(self, VALUE_HASH, out)) {
        const struct field *field = find(self, request->args[0]);
        reply_integer(out, field == NULL ? 0 : (int64_t)text_slice(&field->content).size);
    }
}
