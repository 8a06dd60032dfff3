/* SPDX-License-Identifier: MIT
 *
 * Requests under way: see slots.h.
 */
#include "slots.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_FIRST = 16 };

static bool grow(slots *self) {
    uint32_t capacity = self->capacity == 0 ? SLOTS_FIRST : self->capacity * 2;
    slot *ring = calloc(capacity, sizeof(*ring));
    if (ring == NULL) {
        return false;
    }
    for (uint64_t i = self->first; i != self->end; i++) { /* SLOTS_MAX */
        ring[i & (capacity - 1)] = *slots_at(self, i);
    }
    free(self->ring);
    self->ring = ring;
    self->capacity = capacity;
    return true;
}

slot *slots_add(slots *self, enum slot_part part, size_t request_size) {
    if (slots_count(self) == self->capacity && !grow(self)) {
        return NULL;
    }
    slot *added = slots_at(self, self->end++);
    added->state = SLOT_WAITS;
    added->part = (uint8_t)part;
    added->size = 0;
    added->request_size = (uint32_t)request_size; /* at most one request: 512 MiB and some */
    self->request_bytes += request_size;
    return added;
}

void slots_undo(slots *self) {
    self->request_bytes -= slots_at(self, --self->end)->request_size;
}

bool slots_put_text(slots *self, uint64_t number, const char *text, size_t size) {
    slot *filled = slots_at(self, number);
    char *to = filled->as.text;
    if (size > SLOT_TEXT_MAX) {
        to = malloc(size);
        if (to == NULL) {
            return false;
        }
        filled->as.heap = to;
    }
    memcpy(to, text, size);
    filled->state = size > SLOT_TEXT_MAX ? SLOT_HEAP : SLOT_TEXT;
    filled->size = (uint32_t)size;
    return true;
}

void slots_put_message(weft_ctx *ctx, slots *self, uint64_t number, weft_msg *msg) {
    slot *filled = slots_at(self, number);
    size_t size = weft_msg_size(msg);
    if (size <= SLOT_TEXT_MAX) {
        (void)slots_put_text(self, number, weft_msg_data(msg), size); /* always room */
        return;
    }
    filled->as.msg = weft_msg_take(ctx, msg);
    filled->state = SLOT_MESSAGE;
    filled->size = (uint32_t)size;
}

void slots_put_off(weft_ctx *ctx, slots *self, uint64_t number, weft_msg *msg) {
    slot *filled = slots_at(self, number);
    filled->as.msg = weft_msg_take(ctx, msg);
    filled->state = SLOT_PUT_OFF;
}

weft_msg *slots_take_put_off(slots *self) {
    if (self->first == self->end || slots_at(self, self->first)->state != SLOT_PUT_OFF) {
        return NULL;
    }
    slot *oldest = slots_at(self, self->first);
    oldest->state = SLOT_WAITS;
    return oldest->as.msg;
}

/* The number of a part, or false when it is an error. */
static bool read_part(const char *text, size_t size, int64_t *sum) {
    int64_t number = 0;
    if (size < 3 || text[0] != ':') {
        return size > 0 && text[0] == '+';
    }
    for (size_t i = 1; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
        number = number * 10 + (text[i] - '0');
    }
    *sum += number;
    return true;
}

/* A part of a command of several keys; the last one of them shows what they came to. */
static void add_part(slots *self, enum slot_part part, const slice *text, reply *out) {
    bool last = part == SLOT_SUM_LAST || part == SLOT_OK_LAST;
    self->failed = !read_part(text->data, text->size, &self->sum) || self->failed;
    if (!last) {
        return;
    }
    if (self->failed) {
        reply_error(out, "ERR not every key could be reached");
    } else if (part == SLOT_SUM_LAST) {
        reply_integer(out, self->sum);
    } else {
        reply_status(out, "OK");
    }
    self->sum = 0;
    self->failed = false;
}

void slots_drop(slots *self) {
    self->request_bytes -= slots_at(self, self->first++)->request_size;
}

weft_msg *slots_take(weft_ctx *ctx, slots *self, reply *out) {
    slot *taken = slots_at(self, self->first++);
    weft_msg *msg = taken->state == SLOT_MESSAGE ? taken->as.msg : NULL;
    slice text = {taken->as.text, taken->size};
    self->request_bytes -= taken->request_size;
    if (msg != NULL) {
        text.data = weft_msg_data(msg);
    } else if (taken->state == SLOT_HEAP) {
        text.data = taken->as.heap;
    }
    if (taken->part != SLOT_WHOLE) {
        add_part(self, taken->part, &text, out);
    } else if (msg != NULL && text.size >= SLOT_PASSED_ON) {
        return msg;
    } else {
        reply_raw(out, text.data, text.size);
    }
    if (taken->state == SLOT_HEAP) {
        free(taken->as.heap);
    }
    weft_msg_release(ctx, &msg);
    return NULL;
}

void slots_fini(slots *self) {
    for (uint64_t i = self->first; i != self->end; i++) { /* SLOTS_MAX */
        if (slots_at(self, i)->state == SLOT_HEAP) {
            free(slots_at(self, i)->as.heap);
        }
    }
    free(self->ring); /* messages that were kept are released with the actor */
    *self = (slots){0};
}
