/* SPDX-License-Identifier: MIT
 *
 * The value of one key: nothing, or a string, list, hash, set or sorted set, and when it expires. The
 * actor of a key keeps one in its state and passes each command to value_execute; nothing else is
 * known about data types outside of string.c, list.c, hash.c, set.c and zset.c. No locks: a value
 * belongs to one actor.
 *
 * A value of zero bytes is nothing. Out of memory is answered with an error and changes nothing.
 */
#ifndef EXAMPLES_RESP_VALUE_H
#define EXAMPLES_RESP_VALUE_H

#include "reply.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_type {
    VALUE_NONE,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_HASH,
    VALUE_SET,
    VALUE_ZSET,
};

typedef struct value {
    int64_t expire_at_ms; /* of the wall clock, in ms; 0: never */
    uint8_t type;         /* enum value_type: says which of these it is */
    union {
        struct text string;
        struct list *list;
        struct table *table; /* of a hash or a set */
        struct zset *zset;
    } as;
} value;

_Static_assert(sizeof(value) <= 40, "fits an actor's inline state with 8 bytes to spare");

/* One command at one key. Arity was checked before. */
typedef struct call {
    const struct command *command;
    const slice *args; /* [borrow] without the command's name and the key */
    uint32_t count;    /* of args */
    int64_t now_ms;    /* the wall clock */
    uint64_t (*random)(void *cookie);
    void *random_cookie;
} call;

/* Runs a key command and writes exactly one reply. A value that has expired is cleared before. After
 * it the value may be nothing (look with value_is_none) and may have another expire_at_ms. */
void value_execute(value *self, const call *request, reply *out);

/* Nothing there, or expired at now_ms (then it is cleared by the next value_execute). */
bool value_is_none(const value *self, int64_t now_ms);
/* Gives all memory back; nothing is there then. */
void value_clear(value *self);
/* About how much memory it has beside the struct itself. */
size_t value_bytes(const value *self);

#endif
