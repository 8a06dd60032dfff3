/* SPDX-License-Identifier: MIT
 *
 * The requests of a connection that are under way, in the order they came. Their replies come in any
 * order, from many keys, and leave in this one: a reply waits in its slot until it is first. Short
 * ones are copied into the slot, of longer ones the message itself is kept, so nothing is allocated.
 *
 * A command of several keys has a slot for each: DEL's parts are numbers to add, MSET's are +OK, and
 * only the last one of them shows.
 */
#ifndef EXAMPLES_RESP_SLOTS_H
#define EXAMPLES_RESP_SLOTS_H

#include "resp.h"

enum {
    SLOTS_MAX = 256,
    SLOT_TEXT_MAX = 24,
    SLOT_PASSED_ON = 8192, /* a reply from here on is sent from where it is */
};

enum slot_part { SLOT_WHOLE, SLOT_SUM, SLOT_SUM_LAST, SLOT_OK, SLOT_OK_LAST };
/* The first two are not answered yet; SLOT_PUT_OFF: its request came back, see key.h. */
enum slot_state { SLOT_WAITS, SLOT_PUT_OFF, SLOT_TEXT, SLOT_HEAP, SLOT_MESSAGE };

typedef struct slot {
    union {
        char text[SLOT_TEXT_MAX];
        char *heap;
        weft_msg *msg;
    } as;
    uint32_t size;         /* of the reply */
    uint32_t request_size; /* bytes of the request, which waits somewhere until it is answered */
    uint8_t state;         /* enum slot_state */
    uint8_t part;          /* enum slot_part */
} slot;

typedef struct slots {
    slot *ring;
    uint32_t capacity; /* a power of two */
    uint64_t first;    /* number of the oldest slot; numbers are never used again */
    uint64_t end;
    uint64_t request_bytes; /* of all slots */
    /* what the parts of a command came to so far */
    int64_t sum;
    bool failed;
} slots;

static inline uint32_t slots_count(const slots *self) {
    return (uint32_t)(self->end - self->first);
}

static inline slot *slots_at(slots *self, uint64_t number) {
    return &self->ring[number & (self->capacity - 1)];
}

/* A slot that waits: number end - 1. NULL: no memory. At most SLOTS_MAX, the owner sees to that. */
slot *slots_add(slots *self, enum slot_part part, size_t request_size);
/* Takes the last slots_add back. */
void slots_undo(slots *self);
/* Its reply, copied. False: no memory, nothing has changed. */
bool slots_put_text(slots *self, uint64_t number, const char *text, size_t size);
/* Its reply is the payload of the current message. */
void slots_put_message(weft_ctx *ctx, slots *self, uint64_t number, weft_msg *msg);
/* The current message has its request, which is to be made once more. */
void slots_put_off(weft_ctx *ctx, slots *self, uint64_t number, weft_msg *msg);
/* That message [out], if it is the oldest one's, which then waits again; else NULL. */
weft_msg *slots_take_put_off(slots *self);
/* The oldest one goes, whose reply was sent by the caller. */
void slots_drop(slots *self);
/* Is the oldest one answered? */
static inline bool slots_ready(slots *self) {
    return self->first != self->end && slots_at(self, self->first)->state > SLOT_PUT_OFF;
}
/* The oldest one, which is ready, goes: its reply is added to out, except one of SLOT_PASSED_ON
 * bytes or more: that is left to the caller, with its message [out]. NULL otherwise. */
weft_msg *slots_take(weft_ctx *ctx, slots *self, reply *out);
void slots_fini(slots *self);

#endif
