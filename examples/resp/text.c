/* SPDX-License-Identifier: MIT
 *
 * See text.h. A text that grows gets twice the room it needs up to a MiB, and a MiB more above:
 * APPEND of many pieces copies each byte a few times and not once per piece.
 */
#include "text.h"

#include <stdlib.h>

enum { GROWTH_MAX = 1024 * 1024 };

static void set_short(struct text *self, slice bytes) {
    memmove(self->as.bytes, bytes.data, bytes.size);
    self->as.bytes[TEXT_SHORT_MAX] = (char)bytes.size;
}

static void set_heap(struct text *self, char *data, size_t size, size_t capacity) {
    self->as.heap.data = data;
    self->as.heap.size = (uint32_t)size;
    self->as.heap.capacity = (uint32_t)capacity;
    self->as.bytes[TEXT_SHORT_MAX] = (char)TEXT_ON_HEAP;
}

bool text_make(struct text *ret_text, slice bytes) {
    if (bytes.size <= TEXT_SHORT_MAX) {
        *ret_text = (struct text){0};
        if (bytes.size != 0) {
            set_short(ret_text, bytes);
        }
        return true;
    }
    char *data = bytes.size > TEXT_SIZE_MAX ? NULL : malloc(bytes.size);
    if (data == NULL) {
        return false;
    }
    memcpy(data, bytes.data, bytes.size);
    set_heap(ret_text, data, bytes.size, bytes.size);
    return true;
}

void text_free(struct text *self) {
    if (!text_is_short(self)) {
        free(self->as.heap.data);
    }
    *self = (struct text){0};
}

/* Room for `size` bytes on the heap; the text's size stays. */
static bool grow(struct text *self, size_t size) {
    size_t capacity = size + (size < GROWTH_MAX ? size : GROWTH_MAX);
    if (text_is_short(self)) {
        slice old = text_slice(self);
        char *data = malloc(capacity);
        if (data == NULL) {
            return false;
        }
        memcpy(data, old.data, old.size);
        set_heap(self, data, old.size, capacity);
        return true;
    }
    char *data = realloc(self->as.heap.data, capacity);
    if (data == NULL) {
        return false;
    }
    set_heap(self, data, self->as.heap.size, capacity);
    return true;
}

bool text_write(struct text *self, size_t at, slice bytes) {
    size_t old_size = text_slice(self).size;
    size_t end = at + bytes.size;
    size_t new_size = end > old_size ? end : old_size;
    bool in_place =
        text_is_short(self) ? new_size <= TEXT_SHORT_MAX : new_size <= self->as.heap.capacity;
    if (!in_place && !grow(self, new_size)) {
        return false;
    }
    bool is_short = text_is_short(self);
    char *data = is_short ? self->as.bytes : self->as.heap.data;
    if (at > old_size) {
        memset(data + old_size, 0, at - old_size);
    }
    if (bytes.size != 0) {
        memcpy(data + at, bytes.data, bytes.size);
    }
    if (is_short) {
        self->as.bytes[TEXT_SHORT_MAX] = (char)new_size;
    } else {
        self->as.heap.size = (uint32_t)new_size;
    }
    return true;
}

size_t text_heap_bytes(const struct text *self) {
    return text_is_short(self) ? 0 : self->as.heap.capacity;
}
