/* SPDX-License-Identifier: MIT
 *
 * Checks of a TLS peer's bytes before the library sees them: see record_guard.h. Nothing here is
 * trusted: every length is compared with what is there before it is used.
 */
#include "io/record_guard.h"
#include <string.h>

enum {
    TYPE_CHANGE_CIPHER = 20,
    TYPE_ALERT = 21,
    TYPE_HANDSHAKE = 22,
    TYPE_APPLICATION = 23,
    ALERT_BYTES = 2,
    CHANGE_CIPHER_BYTES = 1,
    VERSION_MAJOR = 3,
    VERSION_MINOR_FIRST = 1, /* a first ClientHello may say 1.0 for old middleboxes */
    VERSION_MINOR_OTHER = 3,
};

/* ---- record headers ------------------------------------------------------------------------ */

void weft__record_guard_init(struct weft__record_guard *guard) {
    memset(guard, 0, sizeof(*guard));
}

static bool is_length_good(uint8_t type, uint32_t length) {
    switch (type) {
    case TYPE_CHANGE_CIPHER:
        return length == CHANGE_CIPHER_BYTES;
    case TYPE_ALERT:
        return length == ALERT_BYTES;
    case TYPE_HANDSHAKE:
        return length >= 1 && length <= WEFT__RECORD_PLAIN_MAX;
    default:
        return length >= WEFT__RECORD_CIPHER_MIN && length <= WEFT__RECORD_CIPHER_MAX;
    }
}

/* Judges a whole header; with GOOD the guard then waits for the end of that record. */
static enum weft__record_fault check_header(struct weft__record_guard *guard) {
    const uint8_t *header = guard->header;
    uint8_t type = header[0];
    uint32_t length = (uint32_t)header[3] << 8 | header[4];
    if (type < TYPE_CHANGE_CIPHER || type > TYPE_APPLICATION) {
        return WEFT__RECORD_TYPE;
    }
    if (header[1] != VERSION_MAJOR ||
        (header[2] != VERSION_MINOR_FIRST && header[2] != VERSION_MINOR_OTHER)) {
        return WEFT__RECORD_VERSION;
    }
    if (!is_length_good(type, length)) {
        return WEFT__RECORD_LENGTH;
    }
    /* A change of cipher says nothing in TLS 1.3 and may come between encrypted records. */
    if (guard->encrypted && (type == TYPE_ALERT || type == TYPE_HANDSHAKE)) {
        return WEFT__RECORD_ORDER;
    }
    guard->encrypted = guard->encrypted || type == TYPE_APPLICATION;
    guard->alerted = guard->answered && type == TYPE_ALERT;
    guard->header_used = 0;
    guard->rest = length;
    return WEFT__RECORD_GOOD;
}

/* A byte of an alert that is read here; the last one ends the stream. */
static void take_alert(struct weft__record_guard *guard, uint8_t byte) {
    guard->alert[ALERT_BYTES - guard->rest] = byte;
    guard->rest--;
    if (guard->rest == 0) {
        guard->fault = WEFT__RECORD_ALERT;
    }
}

enum weft__record_fault weft__record_guard_check(struct weft__record_guard *guard, const void *data,
                                                 size_t size) {
    const uint8_t *bytes = data;
    size_t used = 0;
    /* At most one round per byte, and one per record where they come whole. */
    while (guard->fault == WEFT__RECORD_GOOD && used < size) {
        size_t left = size - used;
        if (guard->alerted) {
            take_alert(guard, bytes[used++]);
            continue;
        }
        if (guard->rest > 0) {
            size_t step = guard->rest < left ? guard->rest : left;
            guard->rest -= (uint32_t)step;
            used += step;
            continue;
        }
        guard->header[guard->header_used++] = bytes[used++];
        if (guard->header_used == WEFT__RECORD_HEADER_BYTES) {
            guard->fault = (uint8_t)check_header(guard);
        }
    }
    return (enum weft__record_fault)guard->fault;
}

const char *weft__record_fault_text(enum weft__record_fault fault) {
    switch (fault) {
    case WEFT__RECORD_TYPE:
        return "peer sends no TLS records";
    case WEFT__RECORD_VERSION:
        return "peer sends records of another TLS version";
    case WEFT__RECORD_LENGTH:
        return "peer sends a record of an impossible length";
    case WEFT__RECORD_ORDER:
        return "peer sends a plain record after encrypted ones";
    case WEFT__RECORD_ALERT:
        return "peer refuses";
    default:
        return "records are good";
    }
}

/* ---- the protocols of a ClientHello -------------------------------------------------------- */

enum {
    MESSAGE_CLIENT_HELLO = 1,
    HELLO_VERSION_RANDOM_BYTES = 34,
    EXTENSION_ALPN = 16,
};

/* Reads forward through bytes; after the first number that is not there, broken stays set. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool broken;
};

static uint32_t take_number(struct reader *reader, size_t bytes) {
    uint32_t value = 0;
    if (reader->broken || reader->left < bytes) {
        reader->broken = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | reader->at[i];
    }
    reader->at += bytes;
    reader->left -= bytes;
    return value;
}

/* The next size bytes as a reader of their own; an empty broken one when they are not there. */
static struct reader take_part(struct reader *reader, size_t size) {
    struct reader part = {.at = reader->at, .left = size, .broken = false};
    if (reader->broken || reader->left < size) {
        reader->broken = true;
        return (struct reader){.at = reader->at, .left = 0, .broken = true};
    }
    reader->at += size;
    reader->left -= size;
    return part;
}

/* The list in an ALPN extension, when it is well formed: no name is empty or too long. */
static enum weft__hello read_protocols(struct reader *extension,
                                       struct weft__hello_protocols *ret_protocols) {
    struct reader list = take_part(extension, take_number(extension, 2));
    struct weft__hello_protocols found = {.names = list.at, .size = list.left};
    if (list.broken || list.left == 0 || extension->left != 0) {
        return WEFT__HELLO_OTHER;
    }
    /* Every round takes two bytes or more. */
    while (list.left > 0) {
        uint32_t length = take_number(&list, 1);
        (void)take_part(&list, length); /* list.broken says whether it was there */
        if (list.broken || length == 0) {
            return WEFT__HELLO_OTHER;
        }
    }
    *ret_protocols = found;
    return WEFT__HELLO_OFFERS;
}

static enum weft__hello read_extensions(struct reader *extensions,
                                        struct weft__hello_protocols *ret_protocols) {
    /* Every round takes four bytes or more. */
    while (extensions->left > 0) {
        uint32_t type = take_number(extensions, 2);
        struct reader extension = take_part(extensions, take_number(extensions, 2));
        if (extension.broken) {
            return WEFT__HELLO_OTHER;
        }
        if (type == EXTENSION_ALPN) {
            return read_protocols(&extension, ret_protocols);
        }
    }
    return WEFT__HELLO_NONE;
}

enum weft__hello weft__hello_find(const uint8_t *record, size_t size,
                                  struct weft__hello_protocols *ret_protocols) {
    struct reader reader = {.at = record, .left = size, .broken = false};
    uint32_t record_type = take_number(&reader, 1);
    (void)take_number(&reader, 2); /* the version in the header means nothing */
    struct reader message = take_part(&reader, take_number(&reader, 2));
    uint32_t message_type = take_number(&message, 1);
    struct reader hello = take_part(&message, take_number(&message, 3));
    if (record_type != TYPE_HANDSHAKE || message_type != MESSAGE_CLIENT_HELLO) {
        return WEFT__HELLO_OTHER;
    }
    (void)take_part(&hello, HELLO_VERSION_RANDOM_BYTES);
    (void)take_part(&hello, take_number(&hello, 1)); /* session */
    (void)take_part(&hello, take_number(&hello, 2)); /* suites */
    (void)take_part(&hello, take_number(&hello, 1)); /* compression */
    struct reader extensions = take_part(&hello, take_number(&hello, 2));
    if (extensions.broken || hello.left != 0) {
        return WEFT__HELLO_OTHER;
    }
    return read_extensions(&extensions, ret_protocols);
}
