/* SPDX-License-Identifier: MIT
 *
 * Reads requests of the Redis protocol: see parser.h. The texts of errors are those of Redis 7.0.
 */
#include "parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARGS_FIRST = 8,
    ARGS_KEPT = 1024, /* a larger array is given back after its request */
    LINE_MORE = -1,   /* of find_line */
    LINE_LONG = -2,
};

void parser_init(parser *self, const parser_limits *limits) {
    *self = (parser){.limits = *limits, .bulk_size = -1};
}

static void drop_args(parser *self) {
    free(self->args);
    self->args = NULL;
    self->capacity = 0;
}

void parser_fini(parser *self) {
    drop_args(self);
    free(self->words);
    self->words = NULL;
}

void parser_next(parser *self) {
    if (self->capacity > ARGS_KEPT) {
        drop_args(self);
    }
    if (self->words != NULL) {
        free(self->words);
        self->words = NULL;
    }
    self->state = PARSER_BEGIN;
    self->count = 0;
    self->used = 0;
    self->searched = 0;
    self->bulk_size = -1;
}

static enum parser_result fail(parser *self, const char *why) {
    (void)snprintf(self->error, sizeof(self->error), "ERR Protocol error: %s", why);
    self->state = PARSER_FAILED;
    return PARSER_ERROR;
}

static bool add_argument(parser *self, const char *data, size_t size) {
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity == 0 ? ARGS_FIRST : self->capacity * 2;
        slice *grown = realloc(self->args, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        self->args = grown;
        self->capacity = capacity;
    }
    self->args[self->count++] = (slice){data, size};
    return true;
}

/* Bytes of the line that begins at used, up to its end byte. A line with a zero byte never ends, as
 * for Redis. */
static int find_line(parser *self, const char *data, size_t size, char end) {
    size_t at = self->searched > self->used ? self->searched : self->used;
    while (at < size && data[at] != end && data[at] != '\0') { /* the data, once */
        at++;
    }
    bool found = at < size && data[at] == end;
    self->searched = at;
    if ((found ? at : size) - self->used > PARSER_LINE_MAX) {
        return LINE_LONG;
    }
    return found ? (int)(at - self->used) : LINE_MORE;
}

/* A decimal number in its one form: no blanks, no sign but -, no zeroes in front. */
static bool read_number(const char *text, size_t size, int64_t *ret_number) {
    bool negative = size > 1 && text[0] == '-';
    int64_t number = 0;
    text += negative ? 1 : 0;
    size -= negative ? 1 : 0;
    if (size == 0 || size > 18 || (text[0] == '0' && (size > 1 || negative))) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (text[i] - '0');
    }
    *ret_number = negative ? -number : number;
    return true;
}

/* ---- arrays of bulk strings ------------------------------------------------------------------ */

/* The line at used: a byte that says what it is, a number, and CR LF; LF itself is not looked at,
 * by Redis neither. PARSER_REQUEST: it is there. */
static enum parser_result read_line(parser *self, const char *data, size_t size,
                                    int64_t *ret_number) {
    bool first = self->state == PARSER_BEGIN;
    int length = find_line(self, data, size, '\r');
    const char *line = data + self->used;
    if (length == LINE_LONG) {
        return fail(self, first ? "too big mbulk count string" : "too big bulk count string");
    }
    if (length < 0 || self->used + (size_t)length + 2 > size) {
        return PARSER_MORE;
    }
    if (!first && line[0] != '$') {
        char why[] = "expected '$', got '?'";
        why[sizeof(why) - 3] = line[0] == '\r' || line[0] == '\n' ? ' ' : line[0];
        return fail(self, why);
    }
    if (length == 0 || !read_number(line + 1, (size_t)length - 1, ret_number)) {
        return fail(self, first ? "invalid multibulk length" : "invalid bulk length");
    }
    self->used += (size_t)length + 2;
    return PARSER_REQUEST;
}

static enum parser_result read_count(parser *self, const char *data, size_t size) {
    int64_t number = 0;
    enum parser_result result = read_line(self, data, size, &number);
    if (result != PARSER_REQUEST) {
        return result;
    }
    if (number > PARSER_ARGS_MAX) {
        return fail(self, "invalid multibulk length");
    }
    self->expected = number > 0 ? (uint32_t)number : 0;
    self->state = PARSER_BULKS;
    return PARSER_REQUEST;
}

static enum parser_result read_bulk(parser *self, const char *data, size_t size) {
    if (self->bulk_size < 0) {
        int64_t number = 0;
        enum parser_result result = read_line(self, data, size, &number);
        if (result != PARSER_REQUEST) {
            return result;
        }
        if (number < 0 || (uint64_t)number > self->limits.bulk_max) {
            return fail(self, "invalid bulk length");
        }
        if (self->used + (uint64_t)number + 2 > self->limits.request_max) {
            return fail(self, "too big request");
        }
        self->bulk_size = number;
    }
    size_t bulk_size = (size_t)self->bulk_size;
    if (size - self->used < bulk_size + 2) {
        return PARSER_MORE;
    }
    if (!add_argument(self, data + self->used, bulk_size)) {
        return fail(self, "out of memory");
    }
    self->used += bulk_size + 2; /* what should be CR LF is not looked at, by Redis neither */
    self->bulk_size = -1;
    return PARSER_REQUEST;
}

/* The request lies elsewhere now: so do the arguments that were found before. */
static void move(parser *self, const char *data) {
    for (uint32_t i = 0; i < self->count; i++) {
        self->args[i].data = data + ((uintptr_t)self->args[i].data - (uintptr_t)self->data);
    }
}

static enum parser_result read_bulks(parser *self, const char *data, size_t size) {
    enum parser_result result = PARSER_REQUEST;
    while (result == PARSER_REQUEST && self->count < self->expected) { /* PARSER_ARGS_MAX */
        result = read_bulk(self, data, size);
    }
    return result;
}

/* ---- inline commands ------------------------------------------------------------------------- */

static bool is_blank(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Vertical tabs and form feeds are blanks before a word, and part of one that has begun. */
static bool ends_word(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static int hex_digit(char byte) {
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

/* What follows a backslash between double quotes; returns how many bytes that are. */
static size_t read_escape(const char *at, const char *end, char *to) {
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    if (end - at > 2 && at[0] == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *to = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
        return 3;
    }
    const char *name = strchr(names, at[0]);
    *to = name != NULL && *name != '\0' ? bytes[name - names] : at[0];
    return 1;
}

/* From behind a quote to behind its partner, which must end the word. NULL: there is none. */
static const char *read_quoted(const char *at, const char *end, char quote, char **to) {
    while (at < end && *at != quote) { /* the line */
        if (*at == '\\' && quote == '"' && end - at > 1) {
            at++;
            at += read_escape(at, end, (*to)++);
        } else if (*at == '\\' && end - at > 1 && at[1] == '\'') {
            *(*to)++ = '\'';
            at += 2;
        } else {
            *(*to)++ = *at++;
        }
    }
    if (at == end || (end - at > 1 && !is_blank(at[1]))) {
        return NULL;
    }
    return at + 1;
}

/* One word, without its quotes. */
static const char *read_word(const char *at, const char *end, char **to) {
    bool quoted = false;
    while (at != NULL && at < end && !quoted && !ends_word(*at)) { /* the line */
        if (*at == '"' || *at == '\'') {
            quoted = true;
            at = read_quoted(at + 1, end, *at, to);
        } else {
            *(*to)++ = *at++;
        }
    }
    return at;
}

static enum parser_result read_words(parser *self, const char *at, const char *end) {
    self->words = malloc((size_t)(end - at) + 1); /* words are never longer than the line */
    char *to = self->words;
    while (to != NULL && at < end) { /* the line */
        if (is_blank(*at)) {
            at++;
            continue;
        }
        char *word = to;
        at = read_word(at, end, &to);
        if (at == NULL) {
            return fail(self, "unbalanced quotes in request");
        }
        if (!add_argument(self, word, (size_t)(to - word))) {
            return fail(self, "out of memory");
        }
    }
    return to != NULL ? PARSER_REQUEST : fail(self, "out of memory");
}

static enum parser_result read_inline(parser *self, const char *data, size_t size) {
    int length = find_line(self, data, size, '\n');
    if (length == LINE_LONG) {
        return fail(self, "too big inline request");
    }
    if (length < 0) {
        return PARSER_MORE;
    }
    self->used = (size_t)length + 1;
    return read_words(self, data, data + length);
}

/* ---- both ------------------------------------------------------------------------------------ */

enum parser_result parser_step(parser *self, const char *data, size_t size) {
    enum parser_result result = PARSER_REQUEST;
    if (self->state == PARSER_FAILED) {
        return PARSER_ERROR;
    }
    if (self->data != data && self->words == NULL) {
        move(self, data);
    }
    self->data = data;
    if (self->state == PARSER_BEGIN) {
        if (size == 0) {
            return PARSER_MORE;
        }
        bool array = data[0] == '*';
        result = array ? read_count(self, data, size) : read_inline(self, data, size);
        if (result == PARSER_REQUEST && !array) {
            self->state = PARSER_DONE;
        }
    }
    if (self->state == PARSER_BULKS) {
        result = read_bulks(self, data, size);
        if (result == PARSER_REQUEST) {
            self->state = PARSER_DONE;
        }
    }
    return result;
}
