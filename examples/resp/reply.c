/* SPDX-License-Identifier: MIT
 *
 * See reply.h. The buffer doubles when it is full. Its size is bounded because some commands answer
 * with much more than is stored (SRANDMEMBER with a count of -2^63, HMGET of one large field many
 * times): a reply beyond the bound fails like one for which there is no memory.
 */
#include "reply.h"

#include "number.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_SIZE_MAX = 1024 * 1024 * 1024, HEAD_MAX = 1 + NUMBER_INTEGER_MAX + 2 };

/* ---- the buffer ---------------------------------------------------------------------------- */

void reply_init(reply *self, int protocol, char *first, size_t first_size) {
    *self = (reply){.data = first, .capacity = first_size, .protocol = protocol};
}

void reply_free(reply *self) {
    if (self->owned) {
        free(self->data);
    }
    *self = (reply){.protocol = self->protocol};
}

static bool grow(reply *self, size_t needed) {
    if (needed > REPLY_SIZE_MAX) {
        return false;
    }
    size_t capacity = self->capacity < 128 ? 256 : self->capacity * 2;
    capacity = capacity > REPLY_SIZE_MAX ? REPLY_SIZE_MAX : capacity;
    capacity = capacity < needed ? needed : capacity;
    char *data = realloc(self->owned ? self->data : NULL, capacity);
    if (data == NULL) {
        return false;
    }
    if (!self->owned && self->size != 0) {
        memcpy(data, self->data, self->size);
    }
    self->data = data;
    self->capacity = capacity;
    self->owned = true;
    return true;
}

char *reply_reserve(reply *self, size_t size) {
    if (self->failed) {
        return NULL;
    }
    if (size > self->capacity - self->size && !grow(self, self->size + size)) {
        self->failed = true;
        return NULL;
    }
    return self->data + self->size;
}

void reply_raw(reply *self, const char *data, size_t size) {
    char *to = size == 0 ? NULL : reply_reserve(self, size);
    if (to != NULL) {
        memcpy(to, data, size);
        self->size += size;
    }
}

/* ---- heads --------------------------------------------------------------------------------- */

/* Writes a sign, a number and the end of the line; there must be room for HEAD_MAX. */
static size_t write_head(char *to, char sign, int64_t number) {
    to[0] = sign;
    size_t size = 1 + number_format_integer(to + 1, number);
    to[size] = '\r';
    to[size + 1] = '\n';
    return size + 2;
}

static void head(reply *self, char sign, int64_t number) {
    char *to = reply_reserve(self, HEAD_MAX);
    if (to != NULL) {
        self->size += write_head(to, sign, number);
    }
}

void reply_integer(reply *self, int64_t number) {
    head(self, ':', number);
}

void reply_array(reply *self, uint64_t count) {
    head(self, '*', (int64_t)count);
}

void reply_map(reply *self, uint64_t count) {
    if (self->protocol >= 3) {
        head(self, '%', (int64_t)count);
    } else {
        head(self, '*', (int64_t)count * 2);
    }
}

void reply_set(reply *self, uint64_t count) {
    head(self, self->protocol >= 3 ? '~' : '*', (int64_t)count);
}

void reply_push(reply *self, uint64_t count) {
    head(self, self->protocol >= 3 ? '>' : '*', (int64_t)count);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* A line: a sign, the text, the end of the line. */
static void line(reply *self, char sign, const char *text, size_t size) {
    char *to = reply_reserve(self, size + 3);
    if (to == NULL) {
        return;
    }
    to[0] = sign;
    memcpy(to + 1, text, size);
    memcpy(to + 1 + size, "\r\n", 2);
    self->size += size + 3;
}

void reply_status(reply *self, const char *text) {
    line(self, '+', text, strlen(text));
}

void reply_error(reply *self, const char *text) {
    line(self, '-', text, strlen(text));
}

/* What was formatted may have bytes of the client in it: ends of lines would break the protocol. */
static size_t without_line_ends(char *text, size_t size) {
    while (size != 0 && (text[size - 1] == '\r' || text[size - 1] == '\n')) {
        size--;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\r' || text[i] == '\n') {
            text[i] = ' ';
        }
    }
    return size;
}

void reply_error_format(reply *self, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int needed = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = needed < 0 ? NULL : reply_reserve(self, (size_t)needed + 4);
    if (to == NULL) {
        self->failed = true;
        return;
    }
    to[0] = '-';
    va_start(args, format);
    int written = vsnprintf(to + 1, (size_t)needed + 1, format, args);
    va_end(args);
    size_t size = without_line_ends(to + 1, written < 0 ? 0 : (size_t)written);
    memcpy(to + 1 + size, "\r\n", 2);
    self->size += size + 3;
}

void reply_bulk(reply *self, const char *data, size_t size) {
    char *to = size > REPLY_SIZE_MAX ? NULL : reply_reserve(self, HEAD_MAX + size + 2);
    if (to == NULL) {
        self->failed = true;
        return;
    }
    size_t at = write_head(to, '$', (int64_t)size);
    if (size != 0) {
        memcpy(to + at, data, size);
    }
    memcpy(to + at + size, "\r\n", 2);
    self->size += at + size + 2;
}

void reply_bulk_text(reply *self, const char *text) {
    reply_bulk(self, text, strlen(text));
}

void reply_verbatim(reply *self, const char *data, size_t size) {
    if (self->protocol < 3) {
        reply_bulk(self, data, size);
        return;
    }
    head(self, '=', (int64_t)size + 4);
    reply_raw(self, "txt:", 4);
    reply_raw(self, data, size);
    reply_raw(self, "\r\n", 2);
}

/* ---- others -------------------------------------------------------------------------------- */

void reply_double(reply *self, double number) {
    char text[NUMBER_DOUBLE_MAX];
    size_t size = number_format_double(text, number);
    if (self->protocol >= 3) {
        line(self, ',', text, size);
    } else {
        reply_bulk(self, text, size);
    }
}

void reply_bool(reply *self, bool truth) {
    if (self->protocol >= 3) {
        line(self, '#', truth ? "t" : "f", 1);
    } else {
        reply_integer(self, truth ? 1 : 0);
    }
}

void reply_null(reply *self) {
    if (self->protocol >= 3) {
        reply_raw(self, "_\r\n", 3);
    } else {
        reply_raw(self, "$-1\r\n", 5);
    }
}

void reply_null_array(reply *self) {
    if (self->protocol >= 3) {
        reply_raw(self, "_\r\n", 3);
    } else {
        reply_raw(self, "*-1\r\n", 5);
    }
}
