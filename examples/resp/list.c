/* SPDX-License-Identifier: MIT
 *
 * See list.h. Indexes into the ring wrap around by masking, in unsigned arithmetic.
 */
#include "list.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 4, CAPACITY_MAX = 1 << 30 };

struct list *list_create(void) {
    return calloc(1, sizeof(struct list));
}

void list_destroy(struct list *self) {
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        text_free(list_at(self, i));
    }
    free(self->items);
    free(self);
}

/* ---- size of the ring ------------------------------------------------------------------------- */

static bool reserve(struct list *self, uint32_t more) {
    uint64_t needed = (uint64_t)self->count + more;
    if (needed <= self->capacity) {
        return true;
    }
    uint32_t capacity = self->capacity == 0 ? CAPACITY_MIN : self->capacity;
    while (capacity < needed) { /* at most 30 times */
        if (capacity == CAPACITY_MAX) {
            return false;
        }
        capacity *= 2;
    }
    struct text *items = realloc(self->items, capacity * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    uint32_t until_end = self->capacity - self->head;
    if (self->count > until_end) { /* it goes on at the array's beginning: the end moves up */
        uint32_t head = capacity - until_end;
        memmove(&items[head], &items[self->head], until_end * sizeof(*items));
        self->head = head;
    }
    self->items = items;
    self->capacity = capacity;
    return true;
}

/* If there is no memory for the smaller array it stays as large as it is. */
static void shrink(struct list *self) {
    if (self->capacity <= CAPACITY_MIN || self->count > self->capacity / 4) {
        return;
    }
    uint32_t capacity = self->capacity / 2;
    while (capacity > CAPACITY_MIN && self->count <= capacity / 4) {
        capacity /= 2;
    }
    struct text *items = malloc(capacity * sizeof(*items));
    if (items == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        items[i] = *list_at(self, i);
    }
    free(self->items);
    self->items = items;
    self->capacity = capacity;
    self->head = 0;
}

/* ---- ends ------------------------------------------------------------------------------------- */

/* The place of the n-th one to be pushed; UINT32_MAX is the one before the first. */
static struct text *place_of(const struct list *self, enum list_end end, uint32_t n) {
    return list_at(self, end == LIST_FRONT ? UINT32_MAX - n : self->count + n);
}

bool list_push(struct list *self, enum list_end end, const slice *items, uint32_t count) {
    if (!reserve(self, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!text_make(place_of(self, end, i), items[i])) {
            for (uint32_t made = 0; made < i; made++) {
                text_free(place_of(self, end, made));
            }
            return false;
        }
    }
    self->count += count;
    if (end == LIST_FRONT) {
        self->head = (self->head - count) & (self->capacity - 1);
    }
    return true;
}

void list_drop(struct list *self, enum list_end end, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        text_free(list_at(self, end == LIST_FRONT ? i : self->count - 1 - i));
    }
    if (end == LIST_FRONT) {
        self->head = (self->head + count) & (self->capacity - 1);
    }
    self->count -= count;
    shrink(self);
}

/* ---- middle ----------------------------------------------------------------------------------- */

bool list_insert(struct list *self, uint32_t index, slice item) {
    struct text made;
    if (!reserve(self, 1) || !text_make(&made, item)) {
        return false;
    }
    self->count++;
    if (index < self->count / 2) {
        self->head = (self->head - 1) & (self->capacity - 1);
        for (uint32_t i = 0; i < index; i++) {
            *list_at(self, i) = *list_at(self, i + 1);
        }
    } else {
        for (uint32_t i = self->count - 1; i > index; i--) {
            *list_at(self, i) = *list_at(self, i - 1);
        }
    }
    *list_at(self, index) = made;
    return true;
}

/* What stays is moved together towards the end that was searched from last, in one pass. */
uint32_t list_remove(struct list *self, enum list_end from, slice item, uint64_t most) {
    uint32_t removed = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        bool forward = from == LIST_FRONT;
        struct text *read = list_at(self, forward ? i : self->count - 1 - i);
        if (removed < most && text_equals(read, item)) {
            text_free(read);
            removed++;
        } else if (removed != 0) {
            uint32_t to = i - removed;
            *list_at(self, forward ? to : self->count - 1 - to) = *read;
        }
    }
    if (from == LIST_BACK) {
        self->head = (self->head + removed) & (self->capacity - 1);
    }
    self->count -= removed;
    shrink(self);
    return removed;
}

size_t list_bytes(const struct list *self) {
    size_t bytes = sizeof(*self) + self->capacity * sizeof(*self->items);
    /* A sample is enough: this is asked often. */
    uint32_t sample = self->count < 16 ? self->count : 16;
    size_t heap_bytes = 0;
    for (uint32_t i = 0; i < sample; i++) {
        heap_bytes += text_heap_bytes(list_at(self, i));
    }
    return bytes + (sample == 0 ? 0 : heap_bytes / sample * self->count);
}
