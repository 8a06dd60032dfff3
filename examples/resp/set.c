/* SPDX-License-Identifier: MIT
 *
 * Sets and their commands. A set without members is no longer there. Random members come from the
 * generator of the caller; every member is as likely as every other.
 */
#include "set.h"

#include "execute.h"

#include <stdlib.h>

void set_destroy(struct table *self) {
    table_destroy(self);
}

size_t set_bytes(const struct table *self) {
    return table_bytes(self);
}

static uint32_t count_of(const value *self) {
    return self->type == VALUE_NONE ? 0 : self->as.table->count;
}

static struct text *find(const value *self, slice member) {
    return self->type == VALUE_NONE ? NULL : table_find(self->as.table, member);
}

static void reply_member(const value *self, uint32_t index, reply *out) {
    slice bytes = text_slice(table_at(self->as.table, index));
    reply_bulk(out, bytes.data, bytes.size);
}

static void shrink_or_clear(value *self) {
    if (count_of(self) == 0) {
        value_clear(self);
    } else {
        table_shrink(self->as.table);
    }
}

/* ---- SADD, SREM ------------------------------------------------------------------------------- */

/* Makes members behind the ones that are there: adding them needs no memory any more. */
static bool make_members(struct table *self, const slice *members, uint32_t count) {
    if (!table_reserve(self, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!text_make(table_at(self, self->count + i), members[i])) {
            for (uint32_t made = 0; made < i; made++) {
                text_free(table_at(self, self->count + made));
            }
            return false;
        }
    }
    return true;
}

/* Takes what was made over; returns how many are new. */
static uint32_t take_members(struct table *self, uint32_t count) {
    uint32_t first = self->count;
    for (uint32_t i = 0; i < count; i++) {
        struct text *made = table_at(self, first + i);
        if (table_find(self, text_slice(made)) == NULL) {
            table_push(self, made);
        } else {
            text_free(made);
        }
    }
    return self->count - first;
}

void execute_sadd(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    struct table *table = self->as.table;
    if (self->type == VALUE_NONE) {
        uint64_t seed[2] = {request->random(request->random_cookie),
                            request->random(request->random_cookie)};
        table = table_create(sizeof(struct text), seed);
    }
    if (table == NULL || !make_members(table, request->args, request->count)) {
        if (self->type == VALUE_NONE) {
            table_destroy(table);
        }
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    self->type = VALUE_SET;
    self->as.table = table;
    reply_integer(out, take_members(table, request->count));
    table_shrink(table);
}

void execute_srem(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    uint32_t before = count_of(self);
    for (uint32_t i = 0; i < request->count && count_of(self) != 0; i++) {
        struct text *member = find(self, request->args[i]);
        if (member != NULL) {
            table_remove(self->as.table, member);
        }
    }
    reply_integer(out, before - count_of(self));
    shrink_or_clear(self);
}

/* ---- reading ---------------------------------------------------------------------------------- */

void execute_sismember(value *self, const call *request, reply *out) {
    if (argument_type(self, VALUE_SET, out)) {
        reply_integer(out, find(self, request->args[0]) != NULL ? 1 : 0);
    }
}

void execute_smismember(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    reply_array(out, request->count);
    for (uint32_t i = 0; i < request->count; i++) {
        reply_integer(out, find(self, request->args[i]) != NULL ? 1 : 0);
    }
}

void execute_smembers(value *self, const call *request, reply *out) {
    (void)request;
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    reply_set(out, count_of(self));
    for (uint32_t i = 0; i < count_of(self); i++) {
        reply_member(self, i, out);
    }
}

void execute_scard(value *self, const call *request, reply *out) {
    (void)request;
    if (argument_type(self, VALUE_SET, out)) {
        reply_integer(out, count_of(self));
    }
}

/* ---- random members --------------------------------------------------------------------------- */

/* One of 0..bound-1. */
static uint32_t random_below(const call *request, uint32_t bound) {
    uint64_t random = request->random(request->random_cookie) >> 32;
    return (uint32_t)(random * bound >> 32);
}

static void pop_one(value *self, const call *request, reply *out) {
    uint32_t index = random_below(request, count_of(self));
    reply_member(self, index, out);
    table_remove(self->as.table, table_at(self->as.table, index));
}

void execute_spop(value *self, const call *request, reply *out) {
    bool has_count = request->count != 0;
    int64_t count = 0;
    if (request->count > 1) {
        reply_error(out, ERROR_SYNTAX);
        return;
    }
    if (has_count && !argument_count(request->args[0], &count, out)) {
        return;
    }
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    if (!has_count && self->type == VALUE_NONE) {
        reply_null(out);
        return;
    }
    uint32_t pops = has_count && count > count_of(self) ? count_of(self) : (uint32_t)count;
    if (has_count) {
        reply_set(out, pops);
    } else {
        pops = 1;
    }
    for (uint32_t i = 0; i < pops; i++) {
        pop_one(self, request, out);
    }
    shrink_or_clear(self);
}

/* Marks that many different indexes below `size`, at most half of them: two tries each on average. */
static void mark_some(uint8_t *marks, const call *request, uint32_t count, uint32_t size) {
    while (count != 0) { /* ends with certainty, but for a generator that is none */
        uint32_t index = random_below(request, size);
        uint8_t bit = (uint8_t)(1 << index % 8);
        count -= (marks[index / 8] & bit) == 0 ? 1 : 0;
        marks[index / 8] |= bit;
    }
}

/* `count` different members. What is marked are those that are in it or, if these are more than
 * half, those that are not. */
static void reply_some(const value *self, const call *request, uint32_t count, reply *out) {
    uint32_t size = count_of(self);
    uint8_t *marks = calloc(size / 8 + 1, 1);
    if (marks == NULL) {
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    bool marked = count <= size / 2;
    mark_some(marks, request, marked ? count : size - count, size);
    reply_array(out, count);
    for (uint32_t i = 0; i < size; i++) {
        if (((marks[i / 8] >> i % 8 & 1) != 0) == marked) {
            reply_member(self, i, out);
        }
    }
    free(marks);
}

/* `count` members of which some may be the same. A client may ask for 2^63 of them: the reply fails
 * at some size, and that ends it. */
static void reply_any(const value *self, const call *request, uint64_t count, reply *out) {
    reply_array(out, count);
    for (uint64_t i = 0; i < count && !out->failed; i++) {
        reply_member(self, random_below(request, count_of(self)), out);
    }
}

static void reply_randoms(const value *self, const call *request, int64_t count, reply *out) {
    uint32_t size = count_of(self);
    if (size == 0 || count == 0) {
        reply_array(out, 0);
    } else if (count < 0 || count == 1) {
        reply_any(self, request, (uint64_t)(count < 0 ? -count : count), out);
    } else {
        reply_some(self, request, count < size ? (uint32_t)count : size, out);
    }
}

void execute_srandmember(value *self, const call *request, reply *out) {
    int64_t count = 0;
    if (request->count > 1) {
        reply_error(out, ERROR_SYNTAX);
        return;
    }
    if (request->count == 1 && !argument_integer(request->args[0], &count, out)) {
        return;
    }
    if (count == INT64_MIN) {
        reply_error(out, "ERR value is out of range, value must between -9223372036854775807 and "
                         "9223372036854775807");
        return;
    }
    if (!argument_type(self, VALUE_SET, out)) {
        return;
    }
    if (request->count == 1) {
        reply_randoms(self, request, count, out);
    } else if (self->type == VALUE_NONE) {
        reply_null(out);
    } else {
        reply_member(self, random_below(request, count_of(self)), out);
    }
}
