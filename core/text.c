/* SPDX-License-Identifier: MIT
 *
 * A line of text in a fixed buffer: see core/text.h. Called by whoever writes an error line or a
 * log line, on any thread, also from a signal handler: no allocation, no locale, no locks.
 *
 * The escaping here is the only one in the library, so that whatever a configuration file, an
 * environment variable or an actor's name contains, a line stays one line, a quotation ends where
 * it should and a terminal sees no control sequence.
 */
#include "core/text.h"

#include <string.h>

enum {
    DECIMAL_DIGITS_MAX = 20, /* of a uint64_t */
};

void weft__text_init(weft__text *text, char *bytes, size_t size) {
    weft_assert(bytes != NULL || size == 0);
    text->bytes = bytes;
    text->size = size;
    text->length = 0;
    if (size > 0) {
        bytes[0] = '\0';
    }
}

void weft__text_put_char(weft__text *text, char byte) {
    if (text->size > 1 && text->length < text->size - 1) {
        text->bytes[text->length] = byte;
        text->bytes[text->length + 1] = '\0';
    }
    text->length++;
}

void weft__text_put(weft__text *text, const char *string) {
    for (const char *at = string; *at != '\0'; at++) {
        weft__text_put_char(text, *at);
    }
}

void weft__text_put_u64(weft__text *text, uint64_t value) {
    weft__text_put_padded(text, value, 1);
}

void weft__text_put_padded(weft__text *text, uint64_t value, uint32_t digits) {
    weft_assert(digits <= DECIMAL_DIGITS_MAX);
    char reversed[DECIMAL_DIGITS_MAX];
    uint32_t count = 0;
    while (value > 0 || count < digits) {
        reversed[count] = (char)('0' + value % 10);
        value /= 10;
        count++;
    }
    while (count > 0) {
        count--;
        weft__text_put_char(text, reversed[count]);
    }
}

static bool is_continuation(unsigned char byte) {
    return (byte & 0xC0) == 0x80;
}

/* Length of the UTF-8 character at the beginning of a zero-terminated string, 0 when it is not
 * one (overlong forms and surrogates included). Never looks beyond the terminating zero, because
 * zero is no continuation byte. */
static size_t utf8_length(const unsigned char *at) {
    if (at[0] < 0x80) {
        return 1;
    }
    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        return is_continuation(at[1]) ? 2 : 0;
    }
    if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        if (!is_continuation(at[1]) || !is_continuation(at[2])) {
            return 0;
        }
        bool overlong = at[0] == 0xE0 && at[1] < 0xA0;
        bool surrogate = at[0] == 0xED && at[1] >= 0xA0;
        return overlong || surrogate ? 0 : 3;
    }
    if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        if (!is_continuation(at[1]) || !is_continuation(at[2]) || !is_continuation(at[3])) {
            return 0;
        }
        bool overlong = at[0] == 0xF0 && at[1] < 0x90;
        bool beyond = at[0] == 0xF4 && at[1] >= 0x90;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

static void put_hex(weft__text *text, const char *prefix, unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    weft__text_put(text, prefix);
    weft__text_put_char(text, digits[byte >> 4]);
    weft__text_put_char(text, digits[byte & 15]);
}

/* U+0080 to U+009F: control characters that some terminals obey also in UTF-8. */
static bool is_c1_control(const unsigned char *at) {
    return at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F;
}

/* True when the character at the beginning of at, length bytes long, may stand as it is. */
static bool stands_as_it_is(const unsigned char *at, size_t length) {
    if (length == 0 || is_c1_control(at)) {
        return false;
    }
    return at[0] >= 0x20 && at[0] != 0x7F && at[0] != '"' && at[0] != '\\';
}

static void put_escape(weft__text *text, const unsigned char *at, size_t length) {
    if (length == 0) {
        put_hex(text, "\\x", at[0]);
        return;
    }
    if (length == 2) {
        put_hex(text, "\\u00", at[1]);
        return;
    }
    switch (at[0]) {
    case '\n':
        weft__text_put(text, "\\n");
        return;
    case '\r':
        weft__text_put(text, "\\r");
        return;
    case '\t':
        weft__text_put(text, "\\t");
        return;
    case '"':
        weft__text_put(text, "\\\"");
        return;
    case '\\':
        weft__text_put(text, "\\\\");
        return;
    default:
        put_hex(text, "\\u00", at[0]);
        return;
    }
}

void weft__text_put_escaped(weft__text *text, const char *string, size_t limit) {
    const unsigned char *at = (const unsigned char *)string;
    size_t used = 0;
    while (*at != '\0') {
        size_t length = utf8_length(at);
        size_t step = length == 0 ? 1 : length;
        if (used + step > limit) {
            weft__text_put(text, "...");
            return;
        }
        if (stands_as_it_is(at, length)) {
            for (size_t i = 0; i < length; i++) {
                weft__text_put_char(text, (char)at[i]);
            }
        } else {
            put_escape(text, at, length);
        }
        at += step;
        used += step;
    }
}

bool weft__text_is_plain(const char *string) {
    const unsigned char *at = (const unsigned char *)string;
    while (*at != '\0') {
        size_t length = utf8_length(at);
        if (!stands_as_it_is(at, length)) {
            return false;
        }
        at += length;
    }
    return true;
}
