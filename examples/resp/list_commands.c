/* SPDX-License-Identifier: MIT
 *
 * The commands of lists. A list that becomes empty is no longer there.
 */
#include "execute.h"
#include "list.h"

static uint32_t count_of(const value *self) {
    return self->type == VALUE_NONE ? 0 : self->as.list->count;
}

static void clear_if_empty(value *self) {
    if (count_of(self) == 0) {
        value_clear(self);
    }
}

static void reply_text(const struct text *item, reply *out) {
    slice bytes = text_slice(item);
    reply_bulk(out, bytes.data, bytes.size);
}

/* The place of an index that counts from the end if it is negative; NULL: outside. */
static struct text *item_at(const value *self, int64_t index) {
    int64_t count = count_of(self);
    index = index < 0 ? index + count : index;
    return index < 0 || index >= count ? NULL : list_at(self->as.list, (uint32_t)index);
}

/* ---- LPUSH, RPUSH ----------------------------------------------------------------------------- */

static void push(value *self, const call *request, enum list_end end, reply *out) {
    if (!argument_type(self, VALUE_LIST, out)) {
        return;
    }
    struct list *list = self->type == VALUE_NONE ? list_create() : self->as.list;
    if (list == NULL || !list_push(list, end, request->args, request->count)) {
        if (self->type == VALUE_NONE) {
            list_destroy(list);
        }
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    self->type = VALUE_LIST;
    self->as.list = list;
    reply_integer(out, list->count);
}

void execute_lpush(value *self, const call *request, reply *out) {
    push(self, request, LIST_FRONT, out);
}

void execute_rpush(value *self, const call *request, reply *out) {
    push(self, request, LIST_BACK, out);
}

static void push_if_there(value *self, const call *request, enum list_end end, reply *out) {
    if (self->type == VALUE_NONE) {
        reply_integer(out, 0);
    } else {
        push(self, request, end, out);
    }
}

void execute_lpushx(value *self, const call *request, reply *out) {
    push_if_there(self, request, LIST_FRONT, out);
}

void execute_rpushx(value *self, const call *request, reply *out) {
    push_if_there(self, request, LIST_BACK, out);
}

/* ---- LPOP, RPOP ------------------------------------------------------------------------------- */

static void pop_one(value *self, enum list_end end, reply *out) {
    reply_text(item_at(self, end == LIST_FRONT ? 0 : -1), out);
    list_drop(self->as.list, end, 1);
    clear_if_empty(self);
}

static void pop_many(value *self, enum list_end end, int64_t most, reply *out) {
    struct list *list = self->as.list;
    uint32_t count = most < list->count ? (uint32_t)most : list->count;
    reply_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_text(list_at(list, end == LIST_FRONT ? i : list->count - 1 - i), out);
    }
    list_drop(list, end, count);
    clear_if_empty(self);
}

static void pop(value *self, const call *request, enum list_end end, reply *out) {
    bool has_count = request->count != 0;
    int64_t count = 0;
    if (request->count > 1) {
        reply_wrong_arity(out, request);
        return;
    }
    if (has_count && !argument_count(request->args[0], &count, out)) {
        return;
    }
    if (!argument_type(self, VALUE_LIST, out)) {
        return;
    }
    if (self->type == VALUE_NONE) {
        if (has_count) {
            reply_null_array(out);
        } else {
            reply_null(out);
        }
    } else if (has_count) {
        pop_many(self, end, count, out);
    } else {
        pop_one(self, end, out);
    }
}

void execute_lpop(value *self, const call *request, reply *out) {
    pop(self, request, LIST_FRONT, out);
}

void execute_rpop(value *self, const call *request, reply *out) {
    pop(self, request, LIST_BACK, out);
}

/* ---- reading ---------------------------------------------------------------------------------- */

void execute_llen(value *self, const call *request, reply *out) {
    (void)request;
    if (argument_type(self, VALUE_LIST, out)) {
        reply_integer(out, count_of(self));
    }
}

void execute_lrange(value *self, const call *request, reply *out) {
    int64_t start = 0;
    int64_t stop = 0;
    if (!argument_integer(request->args[0], &start, out) ||
        !argument_integer(request->args[1], &stop, out) || !argument_type(self, VALUE_LIST, out)) {
        return;
    }
    span part = span_of(start, stop, count_of(self));
    reply_array(out, (uint64_t)part.count);
    for (int64_t i = 0; i < part.count; i++) {
        reply_text(list_at(self->as.list, (uint32_t)(part.start + i)), out);
    }
}

void execute_lindex(value *self, const call *request, reply *out) {
    int64_t index = 0;
    if (self->type == VALUE_NONE) {
        reply_null(out);
        return;
    }
    if (!argument_type(self, VALUE_LIST, out) || !argument_integer(request->args[0], &index, out)) {
        return;
    }
    const struct text *item = item_at(self, index);
    if (item == NULL) {
        reply_null(out);
    } else {
        reply_text(item, out);
    }
}

/* ---- changes ---------------------------------------------------------------------------------- */

void execute_lset(value *self, const call *request, reply *out) {
    int64_t index = 0;
    if (self->type == VALUE_NONE) {
        reply_error(out, ERROR_NO_KEY);
        return;
    }
    if (!argument_type(self, VALUE_LIST, out) || !argument_integer(request->args[0], &index, out)) {
        return;
    }
    struct text *item = item_at(self, index);
    struct text made;
    if (item == NULL) {
        reply_error(out, ERROR_NO_INDEX);
    } else if (!text_make(&made, request->args[1])) {
        reply_error(out, ERROR_OUT_OF_MEMORY);
    } else {
        text_free(item);
        *item = made;
        reply_status(out, "OK");
    }
}

void execute_lrem(value *self, const call *request, reply *out) {
    int64_t most = 0; /* 0: all; negative: from the end */
    if (!argument_integer(request->args[0], &most, out) || !argument_type(self, VALUE_LIST, out)) {
        return;
    }
    if (self->type == VALUE_NONE) {
        reply_integer(out, 0);
        return;
    }
    enum list_end from = most < 0 ? LIST_BACK : LIST_FRONT;
    uint64_t limit = most < 0 ? 0 - (uint64_t)most : (uint64_t)most;
    limit = limit == 0 ? UINT64_MAX : limit;
    reply_integer(out, list_remove(self->as.list, from, request->args[1], limit));
    clear_if_empty(self);
}

void execute_ltrim(value *self, const call *request, reply *out) {
    int64_t start = 0;
    int64_t stop = 0;
    if (!argument_integer(request->args[0], &start, out) ||
        !argument_integer(request->args[1], &stop, out) || !argument_type(self, VALUE_LIST, out)) {
        return;
    }
    if (self->type != VALUE_NONE) {
        struct list *list = self->as.list;
        span kept = span_of(start, stop, list->count);
        list_drop(list, LIST_FRONT, (uint32_t)kept.start);
        list_drop(list, LIST_BACK, list->count - (uint32_t)kept.count);
        clear_if_empty(self);
    }
    reply_status(out, "OK");
}

void execute_linsert(value *self, const call *request, reply *out) {
    bool after = argument_is(request->args[0], "after");
    if (!after && !argument_is(request->args[0], "before")) {
        reply_error(out, ERROR_SYNTAX);
        return;
    }
    if (!argument_type(self, VALUE_LIST, out)) {
        return;
    }
    if (self->type == VALUE_NONE) {
        reply_integer(out, 0);
        return;
    }
    struct list *list = self->as.list;
    uint32_t pivot = 0;
    while (pivot < list->count && !text_equals(list_at(list, pivot), request->args[1])) {
        pivot++;
    }
    if (pivot == list->count) {
        reply_integer(out, -1);
    } else if (!list_insert(list, after ? pivot + 1 : pivot, request->args[2])) {
        reply_error(out, ERROR_OUT_OF_MEMORY);
    } else {
        reply_integer(out, list->count);
    }
}
