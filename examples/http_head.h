/* SPDX-License-Identifier: MIT
 *
 * The head of an HTTP/1.1 request, read strictly: what could let two readers of the same bytes
 * disagree about where a request ends is an error. Pure; knows nothing of connections.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 8192 };

typedef struct http_request {
    const char *status; /* "200 OK", or what is wrong with it */
    uint64_t body_size; /* bytes that follow the head */
    bool head_only;     /* HEAD */
    bool keep;          /* the connection, after the answer */
    bool needs_host;
    int host_count;
    bool has_length;
} http_request;

/* Reads the request that begins at text; returns the bytes of its head, 0 when it is not whole. */
size_t http_read_head(const char *text, size_t size, http_request *ret_request);

#endif
