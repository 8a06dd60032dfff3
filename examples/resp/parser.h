/* SPDX-License-Identifier: MIT
 *
 * Reads requests of the Redis protocol: arrays of bulk strings, and inline commands as a person types
 * them. Knows nothing of connections: it is shown the bytes of a request, and more of them when
 * there are more, and goes on where it has stopped, so a request in a thousand pieces is read once.
 *
 *     switch (parser_step(&parser, data, size)) {
 *     case PARSER_MORE:    call again with the same bytes and some more behind them
 *     case PARSER_REQUEST: parser.args, parser.count; then parser_next, and go on at parser.used
 *     case PARSER_ERROR:   parser.error; nothing behind it can be understood
 *     }
 *
 * The bytes may lie elsewhere at each step. The arguments point into the last ones. What a client
 * announces costs nothing: the array of arguments grows as they arrive, and is used again.
 */
#ifndef EXAMPLES_RESP_PARSER_H
#define EXAMPLES_RESP_PARSER_H

#include "value.h"

enum {
    PARSER_ARGS_MAX = 1024 * 1024,
    PARSER_LINE_MAX = 64 * 1024, /* of an inline command, and of the line of a number */
    PARSER_ERROR_BYTES = 64,
};

typedef struct parser_limits {
    uint64_t bulk_max;    /* bytes of one argument */
    uint64_t request_max; /* bytes of one request */
} parser_limits;

enum parser_state { PARSER_BEGIN, PARSER_BULKS, PARSER_DONE, PARSER_FAILED };

typedef struct parser {
    slice *args;
    uint32_t count; /* of args; 0: an empty request, which has no answer */
    size_t used;    /* bytes of the request looked at so far; of all of it when it is whole */
    char error[PARSER_ERROR_BYTES];
    /* how far it is */
    enum parser_state state;
    uint32_t capacity; /* of args */
    uint32_t expected; /* arguments announced */
    int64_t bulk_size; /* of the next one; below 0: its line was not read yet */
    size_t searched;   /* no end of the line before here */
    const char *data;  /* where the request was at the last step */
    char *words;       /* the arguments of an inline command, without quotes */
    parser_limits limits;
} parser;

enum parser_result { PARSER_MORE, PARSER_REQUEST, PARSER_ERROR };

void parser_init(parser *self, const parser_limits *limits);
void parser_fini(parser *self);
/* data [borrow]: the request from its first byte on, as much of it as there is. A request that is
 * whole, and an error, stay what they are until parser_next. */
enum parser_result parser_step(parser *self, const char *data, size_t size);
/* The next request begins. */
void parser_next(parser *self);

#endif
