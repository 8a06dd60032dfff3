/* SPDX-License-Identifier: MIT
 *
 * A minimal HTTP/1.1 server over TCP or TLS with one fixed answer: keep-alive, pipelining. One actor
 * per connection; http_head.c reads the requests. Options, signals and results: see server.h.
 */
#define _GNU_SOURCE 1
#include "http_head.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MAX = 320, OUTPUT_MAX = 16384 };

typedef struct http {
    char *kept; /* the beginning of a head that is not whole yet */
    size_t kept_size;
    uint64_t skip;           /* bytes left of a body nobody reads */
    uint64_t ready_until_ns; /* the usual answer, made once a second for its Date */
    size_t ready_size;
    char ready[ANSWER_MAX];
    bool over; /* the last answer was given */
} http;

static const char body[] = "weft answers every request with these sixty-four bytes of text.\n";

static size_t make_answer(const http_request *request, char *to) {
    bool ok = request->status[0] == '2';
    bool method = strncmp(request->status, "405", 3) == 0;
    time_t now = time(NULL);
    struct tm parts;
    char date[40] = "";
    (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    return (size_t)snprintf(to, ANSWER_MAX,
                            "HTTP/1.1 %s\r\nServer: weft\r\nDate: %s\r\n%sContent-Length: %s\r\n"
                            "Connection: %s\r\n\r\n%s",
                            request->status, date,
                            ok       ? "Content-Type: text/plain\r\n"
                            : method ? "Allow: GET, HEAD\r\n"
                                     : "",
                            ok ? "64" : "0", request->keep ? "keep-alive" : "close",
                            ok && !request->head_only ? body : "");
}

static size_t answer(weft_ctx *ctx, http *self, const http_request *request, char *to) {
    self->over = !request->keep;
    self->skip = self->over ? 0 : request->body_size;
    if (self->over || request->head_only || request->status[0] != '2') {
        return make_answer(request, to);
    }
    if (weft_now_ns(ctx) >= self->ready_until_ns) {
        self->ready_size = make_answer(request, self->ready);
        self->ready_until_ns = weft_now_ns(ctx) + 1000000000;
    }
    memcpy(to, self->ready, self->ready_size);
    return self->ready_size;
}

/* Answers whole requests, as many as one write holds; returns the bytes used, 0: nothing whole. */
static size_t answer_some(weft_ctx *ctx, http *self, const char *text, size_t size) {
    char output[OUTPUT_MAX];
    size_t used = 0, filled = 0;
    while (used < size && !self->over && filled <= OUTPUT_MAX - ANSWER_MAX) {
        http_request request;
        size_t left = size - used, head = 0;
        if (self->skip > 0) {
            size_t skipped = self->skip < left ? (size_t)self->skip : left;
            self->skip -= skipped;
            used += skipped;
            continue;
        }
        head = http_read_head(text + used, left, &request);
        if (head == 0) {
            break;
        }
        used += head;
        filled += answer(ctx, self, &request, output + filled);
    }
    (void)weft_stream_write(ctx, output, filled); /* after an error CLOSED comes */
    return used;
}

static int http_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    http *self = state;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    const char *text = weft_msg_data(msg);
    size_t size = weft_msg_size(msg), used = 0, some = 1;
    char *joined = NULL; /* what was kept and what has come */
    if (self->kept_size > 0) {
        joined = realloc(self->kept, self->kept_size + size);
        if (joined == NULL) {
            return -ENOMEM;
        }
        memcpy(joined + self->kept_size, text, size);
        text = joined;
        size += self->kept_size;
        self->kept = NULL;
        self->kept_size = 0;
    }
    while (used < size && !self->over && some > 0) {
        some = answer_some(ctx, self, text + used, size - used);
        used += some;
    }
    if (used < size && !self->over) { /* less than a head */
        self->kept = malloc(size - used);
        self->kept_size = size - used;
        if (self->kept == NULL) {
            free(joined);
            return -ENOMEM;
        }
        memcpy(self->kept, text + used, size - used);
    }
    free(joined);
    return self->over ? weft_stream_close(ctx) : WEFT_CONTINUE; /* CLOSED follows */
}

static void http_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    free(((http *)state)->kept);
}

int main(int argc, char **argv) {
    const server program = {.name = "http",
                            .port = "8080",
                            .type = {.struct_size = WEFT_TYPE_DEF_INIT,
                                     .name = "http",
                                     .state_size = sizeof(http),
                                     .receive = http_receive,
                                     .terminate = http_terminate},
                            .stream = {.idle_ns = UINT64_C(60000000000)}};
    return server_main(&program, argc, argv);
}
