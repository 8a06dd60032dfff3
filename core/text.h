/* SPDX-License-Identifier: MIT
 *
 * A line of text in a fixed buffer, for error lines and log lines. Callers: config, log, error.
 * Nothing here allocates, reads the locale or takes a lock, so it may be used in a signal handler
 * and on any thread; one weft__text belongs to one thread.
 *
 * Invariants: what does not fit is cut, but length keeps counting, so that it is in the end what
 * snprintf would return. If size is not zero, bytes is terminated after every call.
 */
#ifndef WEFT_CORE_TEXT_H
#define WEFT_CORE_TEXT_H

#include "core/defs.h"

typedef struct weft__text {
    char *bytes;   /* [borrow]; NULL only with size 0 */
    size_t size;   /* of bytes, the terminating zero included */
    size_t length; /* wanted so far, without the zero; may exceed size */
} weft__text;

/* Starts an empty text in bytes. */
void weft__text_init(weft__text *text, char *bytes, size_t size);

void weft__text_put_char(weft__text *text, char byte);
void weft__text_put(weft__text *text, const char *string);
void weft__text_put_u64(weft__text *text, uint64_t value);
/* Decimal, filled with zeroes on the left up to digits. */
void weft__text_put_padded(weft__text *text, uint64_t value, uint32_t digits);

/* Puts string so that it stays on one line and cannot end a quotation: quotes and backslashes get
 * a backslash; \n, \r, \t and \u00NN for control characters; \xNN for bytes that are not UTF-8.
 * At most limit bytes of string are shown, "..." marks the cut. */
void weft__text_put_escaped(weft__text *text, const char *string, size_t limit);

/* True when weft__text_put_escaped would put string unchanged. */
bool weft__text_is_plain(const char *string);

#endif
