/* SPDX-License-Identifier: MIT
 *
 * A growing output buffer and the writers of the Redis protocol: each writes one reply, or the head
 * of one whose elements follow, in the form of the client's version (RESP2 or RESP3). Used by the
 * actors of keys, of channels and of connections; a reply belongs to one actor, there is no sharing.
 *
 * Out of memory is remembered and not reported by each writer: writers do nothing any more once
 * `failed` is set, and who sends the reply looks at it once, at the end.
 *
 *     char first[512];
 *     reply out;
 *     reply_init(&out, 2, first, sizeof(first));
 *     reply_array(&out, 2);
 *     reply_bulk(&out, "a", 1);
 *     reply_null(&out);
 *     ... out.data, out.size ...
 *     reply_free(&out);
 */
#ifndef EXAMPLES_RESP_REPLY_H
#define EXAMPLES_RESP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct reply {
    char *data;
    size_t size;
    size_t capacity;
    int protocol; /* 2 or 3; the owner may change it at any time (HELLO) */
    bool owned;   /* data is from malloc, not the first buffer */
    bool failed;  /* out of memory: what is in data is incomplete */
} reply;

/* Starts empty. `first` [borrow] is used until it is full; it may be NULL with size 0. */
void reply_init(reply *self, int protocol, char *first, size_t first_size);
/* Gives memory back. The reply is empty then and may be used again (without a first buffer). */
void reply_free(reply *self);

/* Room for `size` more bytes: the place to write them (then add to self->size), NULL if there is no
 * memory. */
char *reply_reserve(reply *self, size_t size);
/* Bytes as they are: replies that are in the protocol's form already. */
void reply_raw(reply *self, const char *data, size_t size);

void reply_status(reply *self, const char *text); /* +OK */
void reply_error(reply *self, const char *text);  /* -ERR ...; text has the code */
void reply_error_format(reply *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(reply *self, int64_t number);             /* :1 */
void reply_bulk(reply *self, const char *data, size_t size); /* $3 abc */
void reply_bulk_text(reply *self, const char *text);         /* the same of a C string */
void reply_double(reply *self, double number);               /* RESP2: a bulk; RESP3: ,1.5 */
void reply_bool(reply *self, bool truth);                    /* RESP2: 0 or 1; RESP3: #t */
void reply_null(reply *self);                                /* RESP2: $-1; RESP3: _ */
void reply_null_array(reply *self);                          /* RESP2: *-1; RESP3: _ */
/* Verbatim text as INFO's: RESP2: a bulk; RESP3: =15 txt:... */
void reply_verbatim(reply *self, const char *data, size_t size);

/* Heads; `count` elements follow (of a map: `count` pairs). In RESP2 all are arrays. */
void reply_array(reply *self, uint64_t count);
void reply_map(reply *self, uint64_t count);
void reply_set(reply *self, uint64_t count);
void reply_push(reply *self, uint64_t count);

#endif
