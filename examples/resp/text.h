/* SPDX-License-Identifier: MIT
 *
 * A string of bytes in 24 bytes: up to 23 lie in it, longer ones on the heap with room to grow. It
 * is what every data type is made of: a string value is one, so is each element of a list, field of
 * a hash, member of a set. Zero bytes are the empty string.
 *
 * A text may be moved with an assignment, as long as only one of the two is freed. A short text's
 * bytes move with it: slices of it are valid only where it lies.
 */
#ifndef EXAMPLES_RESP_TEXT_H
#define EXAMPLES_RESP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    TEXT_SHORT_MAX = 23,
    TEXT_ON_HEAP = 255,
    TEXT_SIZE_MAX = 512 * 1024 * 1024, /* Redis's proto-max-bulk-len */
};

/* Bytes of somebody else. */
typedef struct slice {
    const char *data;
    size_t size;
} slice;

struct text {
    union {
        char bytes[TEXT_SHORT_MAX + 1]; /* the last one is the size, or TEXT_ON_HEAP */
        struct {
            char *data;
            uint32_t size;
            uint32_t capacity;
        } heap;
    } as;
};

_Static_assert(sizeof(struct text) == 24, "no room is lost");

static inline bool text_is_short(const struct text *self) {
    return (uint8_t)self->as.bytes[TEXT_SHORT_MAX] != TEXT_ON_HEAP;
}

static inline slice text_slice(const struct text *self) {
    if (text_is_short(self)) {
        return (slice){self->as.bytes, (uint8_t)self->as.bytes[TEXT_SHORT_MAX]};
    }
    return (slice){self->as.heap.data, self->as.heap.size};
}

static inline bool text_equals(const struct text *self, slice other) {
    slice mine = text_slice(self);
    return mine.size == other.size &&
           (other.size == 0 || memcmp(mine.data, other.data, other.size) == 0);
}

/* In the order of bytes; of two with the same beginning the shorter one is first. */
static inline int slice_compare(slice left, slice right) {
    size_t common = left.size < right.size ? left.size : right.size;
    int order = common == 0 ? 0 : memcmp(left.data, right.data, common);
    return order != 0 ? order : (left.size > right.size) - (left.size < right.size);
}

/* A copy of bytes. false: out of memory or more than TEXT_SIZE_MAX, *ret_text is untouched. */
bool text_make(struct text *ret_text, slice bytes);
void text_free(struct text *self);
/* Bytes from `at` on become these, what is missing before them becomes zero; at and at + size are at
 * most TEXT_SIZE_MAX. Never gets shorter. false: out of memory, nothing has changed. */
bool text_write(struct text *self, size_t at, slice bytes);
/* On the heap, beside the struct. */
size_t text_heap_bytes(const struct text *self);

#endif
