/* SPDX-License-Identifier: MIT
 *
 * Names in certificates: see tls_name.h. Nothing of a certificate is trusted: every length is
 * compared with what is there before it is used, and what does not follow DER is refused, so that
 * no two readers can see different names in the same bytes.
 */
#include "io/tls_name.h"
#include <arpa/inet.h>
#include <string.h>

enum {
    TAG_BOOLEAN = 0x01,
    TAG_INTEGER = 0x02,
    TAG_OCTETS = 0x04,
    TAG_IDENTIFIER = 0x06,
    TAG_SEQUENCE = 0x30,
    TAG_DNS_NAME = 0x82,
    TAG_ADDRESS = 0x87,
    TAG_VERSION = 0xa0,
    TAG_EXTENSIONS = 0xa3,
    TAG_NUMBER = 0x1f,  /* its bits; all set: the number is in further bytes */
    LENGTH_LONG = 0x80, /* set: the other bits say how many bytes of length follow */
    LENGTH_BYTES_MAX = 3,
    NAME_BYTES_MAX = 253,
    LABEL_BYTES_MAX = 63,
};

/* ---- DER ----------------------------------------------------------------------------------- */

/* Reads forward; after the first element that is not there or not DER, broken stays set. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool broken;
};

struct element {
    uint8_t tag;
    struct weft__tls_span inside;
};

/* The length of an element: DER has one way to write each. */
static size_t take_length(struct reader *reader) {
    if (reader->left == 0) {
        reader->broken = true;
        return 0;
    }
    size_t length = *reader->at++;
    reader->left--;
    if (length < LENGTH_LONG) {
        return length;
    }
    size_t bytes = length - LENGTH_LONG;
    if (bytes == 0 || bytes > LENGTH_BYTES_MAX || bytes > reader->left) {
        reader->broken = true;
        return 0;
    }
    length = 0;
    for (size_t i = 0; i < bytes; i++) {
        length = length << 8 | reader->at[i];
    }
    size_t least = bytes == 1 ? LENGTH_LONG : (size_t)1 << (8 * (bytes - 1));
    reader->broken = length < least;
    reader->at += bytes;
    reader->left -= bytes;
    return length;
}

/* The next element; one of tag 0 without bytes when there is none, and reader is broken. */
static struct element take(struct reader *reader) {
    struct element element = {0};
    if (reader->broken || reader->left == 0 || (*reader->at & TAG_NUMBER) == TAG_NUMBER) {
        reader->broken = true;
        return element;
    }
    uint8_t tag = *reader->at++;
    reader->left--;
    size_t length = take_length(reader);
    if (reader->broken || length > reader->left) {
        reader->broken = true;
        return element;
    }
    element.tag = tag;
    element.inside = (struct weft__tls_span){.at = reader->at, .size = length};
    reader->at += length;
    reader->left -= length;
    return element;
}

static struct reader read_span(struct weft__tls_span span) {
    return (struct reader){.at = span.at, .left = span.size};
}

/* The inside of the next element, which must have that tag; a broken reader when it has not. */
static struct reader enter(struct reader *reader, uint8_t tag) {
    struct element element = take(reader);
    struct reader inside = read_span(element.inside);
    reader->broken = reader->broken || element.tag != tag;
    inside.broken = reader->broken;
    return inside;
}

static bool is_next(const struct reader *reader, uint8_t tag) {
    return !reader->broken && reader->left > 0 && *reader->at == tag;
}

static bool is_end(const struct reader *reader) {
    return !reader->broken && reader->left == 0;
}

/* ---- a certificate (RFC 5280, 4.1) --------------------------------------------------------- */

/* One extension; when it is the one with names, they are taken. False: malformed, or again. */
static bool read_extension(struct reader *list, bool *found, struct weft__tls_parts *parts) {
    static const uint8_t wanted[] = {0x55, 0x1d, 0x11}; /* subjectAltName, 2.5.29.17 */
    struct reader extension = enter(list, TAG_SEQUENCE);
    struct reader identifier = enter(&extension, TAG_IDENTIFIER);
    if (is_next(&extension, TAG_BOOLEAN)) {
        (void)take(&extension); /* whether it is critical: it is understood here */
    }
    struct reader value = enter(&extension, TAG_OCTETS);
    if (!is_end(&extension)) {
        return false;
    }
    if (identifier.left != sizeof(wanted) || memcmp(identifier.at, wanted, sizeof(wanted)) != 0) {
        return true;
    }
    struct reader names = enter(&value, TAG_SEQUENCE);
    if (*found || !is_end(&value)) {
        return false;
    }
    *found = true;
    parts->names = (struct weft__tls_span){.at = names.at, .size = names.left};
    return true;
}

/* What stands behind the key: two numbers that nobody uses, and the extensions. */
static bool read_extensions(struct reader *body, struct weft__tls_parts *parts) {
    bool found = false;
    bool entered = false;
    /* Every round takes two bytes or more. */
    while (body->left > 0 && !body->broken) {
        struct element element = take(body);
        if (element.tag != TAG_EXTENSIONS) {
            continue;
        }
        struct reader outer = read_span(element.inside);
        struct reader list = enter(&outer, TAG_SEQUENCE);
        if (entered || !is_end(&outer)) {
            return false;
        }
        entered = true;
        while (list.left > 0) { /* as above */
            if (!read_extension(&list, &found, parts)) {
                return false;
            }
        }
    }
    return is_end(body);
}

bool weft__tls_parts_find(const void *der, size_t size, struct weft__tls_parts *ret_parts) {
    struct weft__tls_parts parts = {0};
    struct reader whole = {.at = der, .left = size};
    struct reader certificate = enter(&whole, TAG_SEQUENCE);
    struct reader body = enter(&certificate, TAG_SEQUENCE);
    *ret_parts = parts;
    if (!is_end(&whole)) {
        return false;
    }
    if (is_next(&body, TAG_VERSION)) {
        (void)take(&body);
    }
    (void)enter(&body, TAG_INTEGER);  /* serial number; body.broken says whether it was there */
    (void)enter(&body, TAG_SEQUENCE); /* signature algorithm */
    (void)enter(&body, TAG_SEQUENCE); /* issuer */
    (void)enter(&body, TAG_SEQUENCE); /* validity */
    (void)enter(&body, TAG_SEQUENCE); /* subject */
    struct reader key = enter(&body, TAG_SEQUENCE);
    struct reader algorithm = enter(&key, TAG_SEQUENCE);
    struct reader identifier = enter(&algorithm, TAG_IDENTIFIER);
    if (identifier.broken || !read_extensions(&body, &parts)) {
        return false;
    }
    parts.key = (struct weft__tls_span){.at = identifier.at, .size = identifier.left};
    *ret_parts = parts;
    return true;
}

bool weft__tls_key_is_pss(struct weft__tls_span key) {
    /* id-RSASSA-PSS, 1.2.840.113549.1.1.10 */
    static const uint8_t pss[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a};
    return key.size == sizeof(pss) && memcmp(key.at, pss, sizeof(pss)) == 0;
}

/* ---- names --------------------------------------------------------------------------------- */

/* The locale has no say in this. */
static uint8_t to_lower(uint8_t letter) {
    return letter >= 'A' && letter <= 'Z' ? (uint8_t)(letter + ('a' - 'A')) : letter;
}

static bool is_digit(uint8_t letter) {
    return letter >= '0' && letter <= '9';
}

static bool is_of_host(uint8_t letter) {
    uint8_t lower = to_lower(letter);
    return (lower >= 'a' && lower <= 'z') || is_digit(letter) || letter == '-' || letter == '_';
}

/* Labels of one letter or more with dots between them. A zero is no letter of a host. */
static bool is_name_good(struct weft__tls_span name) {
    size_t label = 0;
    if (name.size == 0 || name.size > NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.at[i] == '.' ? label == 0 : !is_of_host(name.at[i])) {
            return false;
        }
        label = name.at[i] == '.' ? 0 : label + 1;
        if (label > LABEL_BYTES_MAX) {
            return false;
        }
    }
    return label > 0;
}

/* Whether the last label is a number, in decimal or as 0x...: "127.1" may be dialed as an
 * address. */
static bool ends_in_number(struct weft__tls_span name) {
    size_t from = name.size;
    bool digits = true;
    while (from > 0 && name.at[from - 1] != '.') {
        from--;
        digits = digits && is_digit(name.at[from]);
    }
    bool marked =
        name.size - from >= 2 && name.at[from] == '0' && to_lower(name.at[from + 1]) == 'x';
    return digits || marked;
}

static bool are_equal(struct weft__tls_span a, struct weft__tls_span b) {
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        if (to_lower(a.at[i]) != to_lower(b.at[i])) {
            return false;
        }
    }
    return true;
}

/* What stands behind the first dot; none without one. */
static struct weft__tls_span behind_label(struct weft__tls_span name) {
    const uint8_t *dot = name.size == 0 ? NULL : memchr(name.at, '.', name.size);
    if (dot == NULL) {
        return (struct weft__tls_span){0};
    }
    size_t before = (size_t)(dot - name.at) + 1;
    return (struct weft__tls_span){.at = dot + 1, .size = name.size - before};
}

/* host is a good name. */
static bool fits_pattern(struct weft__tls_span pattern, struct weft__tls_span host) {
    bool wild = pattern.size > 2 && pattern.at[0] == '*' && pattern.at[1] == '.';
    if (!wild) {
        return is_name_good(pattern) && are_equal(pattern, host);
    }
    struct weft__tls_span rest = behind_label(pattern);
    return is_name_good(rest) && behind_label(rest).size > 0 && are_equal(rest, behind_label(host));
}

bool weft__tls_name_fits(struct weft__tls_span names, const char *host) {
    unsigned char address[16];
    size_t address_size = weft__tls_address(host, address);
    struct weft__tls_span wanted = {.at = (const uint8_t *)host, .size = strlen(host)};
    struct reader reader = read_span(names);
    bool found = false;
    if (address_size == 0 && (!is_name_good(wanted) || ends_in_number(wanted))) {
        return false;
    }
    /* Every round takes two bytes or more. To the end, since the rest may be malformed. */
    while (reader.left > 0 && !reader.broken) {
        struct element name = take(&reader);
        if (address_size == 0) {
            found = found || (name.tag == TAG_DNS_NAME && fits_pattern(name.inside, wanted));
        } else {
            found = found || (name.tag == TAG_ADDRESS && name.inside.size == address_size &&
                              memcmp(name.inside.at, address, address_size) == 0);
        }
    }
    return found && !reader.broken;
}

size_t weft__tls_address(const char *name, unsigned char ret_address[16]) {
    if (inet_pton(AF_INET, name, ret_address) == 1) {
        return 4;
    }
    return inet_pton(AF_INET6, name, ret_address) == 1 ? 16 : 0;
}
