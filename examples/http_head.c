/* SPDX-License-Identifier: MIT
 *
 * Reads HTTP heads: see http_head.h. Bare line feeds, blanks before colons, folded lines, control
 * characters, repeated lengths and lengths beside encodings are errors.
 */
#define _GNU_SOURCE 1
#include "http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char bad[] = "400 Bad Request";

static bool is_token(char byte) {
    return isalnum((unsigned char)byte) || (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte));
}

static size_t token_size(const char *text, size_t size) {
    size_t length = 0;
    while (length < size && is_token(text[length])) {
        length++;
    }
    return length;
}

static bool equals(const char *text, size_t size, const char *name) {
    return size == strlen(name) && strncasecmp(text, name, size) == 0;
}

/* "GET /any HTTP/1.1" */
static const char *read_first_line(http_request *request, const char *line, size_t size) {
    const size_t method = token_size(line, size), version = sizeof(" HTTP/1.1") - 1;
    if (method == 0 || size < method + 2 + version || line[method] != ' ' ||
        memcmp(line + size - version, " HTTP/1.", version - 1) != 0 ||
        (line[size - 1] != '0' && line[size - 1] != '1') ||
        memchr(line + method + 1, ' ', size - version - method - 1) != NULL) {
        return bad;
    }
    request->keep = line[size - 1] == '1';
    request->needs_host = request->keep; /* HTTP/1.0 has none */
    request->head_only = method == 4 && memcmp(line, "HEAD", method) == 0;
    bool known = request->head_only || (method == 3 && memcmp(line, "GET", method) == 0);
    return known ? request->status : "405 Method Not Allowed";
}

/* One decimal number, once in a request. */
static bool read_length(http_request *request, const char *value, size_t size) {
    bool good = !request->has_length && size > 0 && size <= 18;
    request->has_length = true;
    for (size_t i = 0; i < size && good; i++) {
        good = isdigit((unsigned char)value[i]);
        request->body_size = request->body_size * 10 + (uint64_t)(value[i] - '0');
    }
    return good;
}

/* A list of words; the last of close and keep-alive counts, which nobody sends both of. */
static void read_connection(http_request *request, const char *value, size_t size) {
    while (size > 0) {
        size_t word = token_size(value, size);
        if (equals(value, word, "close")) {
            request->keep = false;
        } else if (equals(value, word, "keep-alive")) {
            request->keep = true;
        }
        word += word < size ? 1 : 0; /* and what is behind it */
        value += word;
        size -= word;
    }
}

/* "Name: value" */
static const char *read_field(http_request *request, const char *line, size_t size) {
    const size_t name = token_size(line, size);
    if (name == 0 || name == size || line[name] != ':') {
        return bad;
    }
    const char *value = line + name + 1, *end = line + size;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (value < end && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    const size_t value_size = (size_t)(end - value);
    if (equals(line, name, "Content-Length")) {
        return read_length(request, value, value_size) ? request->status : bad;
    }
    if (equals(line, name, "Connection")) {
        read_connection(request, value, value_size);
    } else if (equals(line, name, "Host")) {
        request->host_count++;
    }
    return equals(line, name, "Transfer-Encoding") ? "501 Not Implemented" : request->status;
}

/* A whole head with its empty line. What is wrong with its lines goes before what they ask for. */
static void read_lines(http_request *request, const char *head, const char *end) {
    for (const char *line = head, *stop; line < end - 2 && request->status != bad;) {
        for (stop = line; ((unsigned char)*stop >= ' ' && *stop != 0x7f) || *stop == '\t';) {
            stop++; /* at the latest at the empty line */
        }
        if (stop[0] != '\r' || stop[1] != '\n') {
            request->status = bad;
            return;
        }
        request->status = line == head ? read_first_line(request, line, (size_t)(stop - line))
                                       : read_field(request, line, (size_t)(stop - line));
        line = stop + 2;
    }
    if (request->host_count > 1 || (request->host_count == 0 && request->needs_host)) {
        request->status = bad;
    }
}

size_t http_read_head(const char *text, size_t size, http_request *ret_request) {
    const size_t shown = size < HTTP_HEAD_MAX ? size : HTTP_HEAD_MAX;
    const char *empty = memmem(text, shown, "\r\n\r\n", 4);
    size_t head_size = empty != NULL ? (size_t)(empty - text) + 4 : size;
    *ret_request = (http_request){.status = "200 OK"};
    if (empty != NULL) {
        read_lines(ret_request, text, empty + 4);
    } else if (!is_token(text[0])) {
        ret_request->status = bad; /* without waiting for an end that never comes */
    } else if (size >= HTTP_HEAD_MAX) {
        ret_request->status = "431 Request Header Fields Too Large";
    } else {
        return 0;
    }
    bool ends = ret_request->status[0] != '2' && strncmp(ret_request->status, "405", 3) != 0;
    ret_request->keep = ret_request->keep && !ends;
    return head_size;
}
