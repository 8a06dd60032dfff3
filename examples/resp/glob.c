/* SPDX-License-Identifier: MIT
 *
 * Patterns: see glob.h. Without recursion: only the last star is ever tried again.
 */
#include "glob.h"

#include <ctype.h>

static int fold(char byte, bool any_case) {
    return any_case ? tolower((unsigned char)byte) : (unsigned char)byte;
}

/* A class, at its opening bracket. Returns the bytes it takes; *ret_found: whether it has byte. */
static size_t match_class(const char *at, const char *end, int byte, bool any_case,
                          bool *ret_found) {
    const char *from = at;
    bool found = false;
    at++;
    bool negated = at < end && *at == '^';
    at += negated ? 1 : 0;
    while (at < end && *at != ']') { /* the pattern */
        if (*at == '\\' && end - at > 1) {
            at++;
            found = found || fold(*at, any_case) == byte;
            at++;
        } else if (end - at > 2 && at[1] == '-') {
            int low = fold(at[0], any_case), high = fold(at[2], any_case);
            found =
                found || (low <= high ? byte >= low && byte <= high : byte >= high && byte <= low);
            at += 3;
        } else {
            found = found || fold(*at, any_case) == byte;
            at++;
        }
    }
    *ret_found = found != negated;
    return (size_t)(at - from) + (at < end ? 1 : 0);
}

/* One element of the pattern that is no star, against one byte: its size, or 0 when it differs. */
static size_t match_one(const char *at, const char *end, char byte, bool any_case) {
    bool found = false;
    if (*at == '?') {
        return 1;
    }
    if (*at == '[') {
        size_t size = match_class(at, end, fold(byte, any_case), any_case, &found);
        return found ? size : 0;
    }
    size_t size = *at == '\\' && end - at > 1 ? 2 : 1;
    return fold(at[size - 1], any_case) == fold(byte, any_case) ? size : 0;
}

bool glob_matches(const slice *pattern, const slice *text, bool any_case) {
    const char *at = pattern->data, *end = at + pattern->size, *star = NULL;
    size_t i = 0, again = 0;
    while (i < text->size) { /* each round moves on, or the last star by one byte */
        size_t size = 0;
        if (at < end && *at == '*') {
            star = at++;
            again = i;
            continue;
        }
        size = at < end ? match_one(at, end, text->data[i], any_case) : 0;
        if (size > 0) {
            at += size;
            i++;
        } else if (star != NULL) {
            at = star + 1;
            i = ++again;
        } else {
            return false;
        }
    }
    while (at < end && *at == '*') { /* the pattern */
        at++;
    }
    return at == end;
}
