/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1, the server's side of one connection, without any I/O: bytes of the client in, bytes
 * for the client out. For http.c.
 *
 * GET and HEAD of anything answer 200 with the same 64 bytes, other methods 405; bodies with a
 * Content-Length are skipped. What is malformed answers 400, a head above HTTP_HEAD_MAX 431, a
 * body without Content-Length 501, and after those three the connection is to be closed.
 */
#ifndef EXAMPLES_HTTP_SESSION_H
#define EXAMPLES_HTTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_HEAD_MAX = 8192,
    HTTP_ANSWER_MAX = 512,  /* no answer is larger */
    HTTP_OUTPUT_MAX = 16384 /* what fits into one TLS record */
};

/* One per connection; all zeroes is a new one. */
typedef struct http_session {
    char *partial;         /* the beginning of a request that is not whole yet, or NULL */
    uint32_t partial_size; /* below HTTP_HEAD_MAX */
    bool over;             /* the last answer was given: send what there is and close */
    uint64_t skip;         /* bytes of a body that are still to come */
    uint64_t date_until_ns;
    char date[32]; /* of this second, so that an answer does not have to ask for the time */
} http_session;

/* Answers of one round, for one write. */
typedef struct http_output {
    size_t size;
    char bytes[HTTP_OUTPUT_MAX];
} http_output;

/* Answers the requests in data, as long as there is room for their answers; pipelined ones
 * together. now_ns is any monotonic clock. Returns how many bytes it has used, at least one: when
 * that is not all of them, and the session is not over, call again with the rest. -1: out of
 * memory. */
ptrdiff_t http_feed(http_session *session, uint64_t now_ns, const char *data, size_t size,
                    http_output *ret_output);

/* Frees what a session holds. */
void http_fini(http_session *session);

#endif
