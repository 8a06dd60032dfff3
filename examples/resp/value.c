/* SPDX-License-Identifier: MIT
 *
 * See value.h: what is common to values of all types.
 */
#include "value.h"

#include "command.h"
#include "execute.h"
#include "hash.h"
#include "list.h"
#include "set.h"
#include "zset.h"

/* As in Redis a key still is there in the millisecond it expires in. */
static bool is_expired(const value *self, int64_t now_ms) {
    return self->expire_at_ms != 0 && now_ms > self->expire_at_ms;
}

void value_execute(value *self, const call *request, reply *out) {
    if (is_expired(self, request->now_ms)) {
        value_clear(self);
    }
    request->command->execute(self, request, out);
}

bool value_is_none(const value *self, int64_t now_ms) {
    return self->type == VALUE_NONE || is_expired(self, now_ms);
}

static void free_content(value *self) {
    switch ((enum value_type)self->type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
        text_free(&self->as.string);
        break;
    case VALUE_LIST:
        list_destroy(self->as.list);
        break;
    case VALUE_HASH:
        hash_destroy(self->as.table);
        break;
    case VALUE_SET:
        set_destroy(self->as.table);
        break;
    case VALUE_ZSET:
        zset_destroy(self->as.zset);
        break;
    }
}

void value_clear(value *self) {
    free_content(self);
    *self = (value){0};
}

void value_take_string(value *self, struct text *string) {
    free_content(self);
    self->type = VALUE_STRING;
    self->as.string = *string;
    *string = (struct text){0};
}

size_t value_bytes(const value *self) {
    switch ((enum value_type)self->type) {
    case VALUE_NONE:
        return 0;
    case VALUE_STRING:
        return text_heap_bytes(&self->as.string);
    case VALUE_LIST:
        return list_bytes(self->as.list);
    case VALUE_HASH:
        return hash_bytes(self->as.table);
    case VALUE_SET:
        return set_bytes(self->as.table);
    case VALUE_ZSET:
        return zset_bytes(self->as.zset);
    }
    return 0;
}
