/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 without I/O: see http_session.h. Strict where leniency would let two readers of the
 * same bytes disagree about where a request ends: bare line feeds, blanks before colons, folded
 * lines, control characters, repeated lengths and lengths beside encodings are all errors.
 */
#define _GNU_SOURCE 1
#include "http_session.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char body_text[] = "weft answers every request with these sixty-four bytes of text.\n";
_Static_assert(sizeof(body_text) - 1 == 64, "the Content-Length below");

/* What is to know of one request. */
struct request {
    size_t head_size;
    uint64_t body_size;
    const char *status; /* "200 OK", or what is wrong with it */
    bool head_only;     /* HEAD */
    bool version_1_0;
    bool keep; /* the connection, after the answer */
    bool has_host;
    bool has_length;
};

static const char status_ok[] = "200 OK";
static const char status_bad[] = "400 Bad Request";
static const char status_method[] = "405 Method Not Allowed";
static const char status_large[] = "431 Request Header Fields Too Large";
static const char status_coding[] = "501 Not Implemented"; /* the only one: a transfer coding */

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_token(char byte) {
    return isalnum((unsigned char)byte) || (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool equals(const char *text, size_t size, const char *name) {
    return size == strlen(name) && strncasecmp(text, name, size) == 0;
}

/* "GET /any HTTP/1.1"; false when it is malformed. */
static bool read_request_line(struct request *request, const char *line, size_t size) {
    size_t method = 0;
    while (method < size && is_token(line[method])) {
        method++;
    }
    const size_t version = sizeof(" HTTP/1.1") - 1;
    if (method == 0 || size < method + 2 + version || line[method] != ' ' ||
        memcmp(line + size - version, " HTTP/1.", version - 1) != 0) {
        return false;
    }
    const char minor = line[size - 1];
    for (const char *at = line + method + 1; at < line + size - version; at++) {
        if (*at == ' ') {
            return false;
        }
    }
    request->head_only = method == 4 && memcmp(line, "HEAD", method) == 0;
    if (!request->head_only && (method != 3 || memcmp(line, "GET", method) != 0)) {
        request->status = status_method;
    }
    request->version_1_0 = minor == '0';
    request->keep = !request->version_1_0;
    return minor == '0' || minor == '1';
}

/* One decimal number, once in a request. */
static bool read_length(struct request *request, const char *value, size_t size) {
    if (request->has_length || size == 0 || size > 18) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return false;
        }
        request->body_size = request->body_size * 10 + (uint64_t)(value[i] - '0');
    }
    request->has_length = true;
    return true;
}

/* A list of words; the last of close and keep-alive counts, which nobody sends both of. */
static void read_connection(struct request *request, const char *value, size_t size) {
    while (size > 0) {
        size_t word = 0;
        while (word < size && is_token(value[word])) {
            word++;
        }
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

/* "Name: value"; false when it is malformed. */
static bool read_field(struct request *request, const char *line, size_t size) {
    size_t name = 0;
    while (name < size && is_token(line[name])) {
        name++;
    }
    if (name == 0 || name == size || line[name] != ':') {
        return false;
    }
    const char *value = line + name + 1;
    const char *end = line + size;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (value < end && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    const size_t value_size = (size_t)(end - value);
    if (equals(line, name, "Content-Length")) {
        return read_length(request, value, value_size);
    }
    if (equals(line, name, "Transfer-Encoding")) {
        request->status = status_coding;
    } else if (equals(line, name, "Connection")) {
        read_connection(request, value, value_size);
    } else if (equals(line, name, "Host")) {
        bool first = !request->has_host;
        request->has_host = true;
        return first;
    }
    return true;
}

/* A whole head, which ends with an empty line; false when it is malformed. */
static bool read_head(struct request *request, const char *head, const char *end) {
    bool first = true;
    while (head < end - 2) {
        const char *stop = head;
        while (((unsigned char)*stop >= ' ' && *stop != 0x7f) || *stop == '\t') {
            stop++; /* at the latest at the empty line */
        }
        if (stop[0] != '\r' || stop[1] != '\n') {
            return false;
        }
        const size_t size = (size_t)(stop - head);
        if (!(first ? read_request_line : read_field)(request, head, size)) {
            return false;
        }
        first = false;
        head = stop + 2;
    }
    return request->has_host || request->version_1_0;
}

/* Reads the request that begins at text. False: it is not whole yet. */
static bool read_request(const char *text, size_t size, struct request *ret_request) {
    const struct request fresh = {.head_size = size, .status = status_ok};
    *ret_request = fresh;
    const size_t shown = size < HTTP_HEAD_MAX ? size : HTTP_HEAD_MAX;
    const char *empty = (const char *)memmem(text, shown, "\r\n\r\n", 4);
    if (empty != NULL) {
        ret_request->head_size = (size_t)(empty - text) + 4;
        if (!read_head(ret_request, text, empty + 4)) {
            ret_request->status = status_bad;
        }
    } else if (!is_token(text[0])) {
        ret_request->status = status_bad; /* without waiting for an end that never comes */
    } else if (size >= HTTP_HEAD_MAX) {
        ret_request->status = status_large;
    } else {
        return false;
    }
    if (ret_request->status != status_ok && ret_request->status != status_method) {
        ret_request->keep = false;
        ret_request->body_size = 0;
    }
    return true;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void put(http_output *output, const char *text) {
    const size_t size = strlen(text);
    memcpy(output->bytes + output->size, text, size);
    output->size += size;
}

/* The same fields in the same order as nginx sends for "return 200". At most HTTP_ANSWER_MAX. */
static void put_answer(http_output *output, const struct request *request, const char *date) {
    const bool ok = request->status == status_ok;
    put(output, "HTTP/1.1 ");
    put(output, request->status);
    put(output, "\r\nServer: weft\r\nDate: ");
    put(output, date);
    if (request->status == status_method) {
        put(output, "\r\nAllow: GET, HEAD");
    }
    put(output,
        ok ? "\r\nContent-Type: text/plain\r\nContent-Length: 64" : "\r\nContent-Length: 0");
    put(output,
        request->keep ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n");
    if (ok && !request->head_only) {
        put(output, body_text);
    }
}

/* ---- the session ----------------------------------------------------------------------------- */

static bool has_room(const http_output *output) {
    return output->size + HTTP_ANSWER_MAX <= HTTP_OUTPUT_MAX;
}

/* Answers whole requests until there is no more of them or no more room; returns the bytes used. */
static size_t answer(http_session *session, const char *data, size_t size, http_output *output) {
    struct request request;
    size_t used = 0;
    while (used < size && !session->over && has_room(output)) {
        const size_t left = size - used;
        if (session->skip > 0) {
            const size_t skipped = session->skip < left ? (size_t)session->skip : left;
            session->skip -= skipped;
            used += skipped;
        } else if (read_request(data + used, left, &request)) {
            put_answer(output, &request, session->date);
            session->skip = request.body_size;
            session->over = !request.keep;
            used += request.head_size;
        } else {
            break;
        }
    }
    return used;
}

/* Adds to the request that is not whole as much as it may need; returns how much. */
static size_t keep_partial(http_session *session, const char *data, size_t size) {
    if (session->partial == NULL) {
        session->partial = (char *)malloc(HTTP_HEAD_MAX);
        if (session->partial == NULL) {
            return 0;
        }
    }
    const size_t room = HTTP_HEAD_MAX - session->partial_size;
    const size_t added = size < room ? size : room;
    memcpy(session->partial + session->partial_size, data, added);
    session->partial_size += (uint32_t)added;
    return added;
}

/* The rest of a request of which the beginning is kept. It is completed in the copy; what the copy
 * has beyond it is read again from data. */
static ptrdiff_t complete_partial(http_session *session, const char *data, size_t size,
                                  http_output *output) {
    const size_t before = session->partial_size;
    const size_t added = keep_partial(session, data, size);
    const size_t used = answer(session, session->partial, before + added, output);
    if (used == 0) {
        return (ptrdiff_t)added; /* still not whole, so all of data was added */
    }
    http_fini(session);
    return (ptrdiff_t)(used - before);
}

/* Asks for the time once a second. */
static void update_date(http_session *session, uint64_t now_ns) {
    struct timespec now;
    struct tm parts;
    if (now_ns < session->date_until_ns || timespec_get(&now, TIME_UTC) == 0 ||
        gmtime_r(&now.tv_sec, &parts) == NULL) {
        return;
    }
    (void)strftime(session->date, sizeof(session->date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    session->date_until_ns = now_ns + 1000000000u - (uint64_t)now.tv_nsec;
}

ptrdiff_t http_feed(http_session *session, uint64_t now_ns, const char *data, size_t size,
                    http_output *ret_output) {
    ret_output->size = 0;
    update_date(session, now_ns);
    if (session->partial_size > 0) {
        return complete_partial(session, data, size, ret_output);
    }
    size_t used = answer(session, data, size, ret_output);
    if (used < size && !session->over && has_room(ret_output)) {
        const size_t kept = keep_partial(session, data + used, size - used);
        used += kept;
        return kept > 0 ? (ptrdiff_t)used : -1;
    }
    return (ptrdiff_t)used;
}

void http_fini(http_session *session) {
    free(session->partial);
    session->partial = NULL;
    session->partial_size = 0;
}
