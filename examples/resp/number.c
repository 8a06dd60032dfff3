/* SPDX-License-Identifier: MIT
 *
 * See number.h. The functions of the C library want a zero at the end, which arguments of requests
 * do not have, so they are copied before.
 */
#include "number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- integers ------------------------------------------------------------------------------ */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool number_parse_integer(slice from, int64_t *ret_number) {
    bool negative = from.size != 0 && from.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (from.size <= at || from.size >= NUMBER_INTEGER_MAX || !is_digit(from.data[at])) {
        return false;
    }
    if (from.data[at] == '0') { /* only as the whole number */
        if (from.size != 1) {
            return false;
        }
        *ret_number = 0;
        return true;
    }
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    uint64_t number = 0;
    for (; at < from.size; at++) {
        if (!is_digit(from.data[at])) {
            return false;
        }
        uint64_t digit = (uint64_t)(from.data[at] - '0');
        if (number > (limit - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

size_t number_format_integer(char *ret_text, int64_t number) {
    char reversed[NUMBER_INTEGER_MAX];
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t count = 0;
    do { /* at most 20 digits */
        reversed[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0) {
        reversed[count++] = '-';
    }
    for (size_t i = 0; i < count; i++) {
        ret_text[i] = reversed[count - 1 - i];
    }
    return count;
}

/* ---- from text ----------------------------------------------------------------------------- */

/* A copy with a zero at the end, in `buffer` where it has room; NULL: out of memory. */
static char *terminated(slice from, char *buffer, size_t buffer_size) {
    char *copy = from.size < buffer_size ? buffer : malloc(from.size + 1);
    if (copy != NULL) {
        memcpy(copy, from.data, from.size);
        copy[from.size] = '\0';
    }
    return copy;
}

bool number_parse_double(slice from, double *ret_number) {
    int64_t integer = 0;
    if (from.size < 16 && number_parse_integer(from, &integer)) {
        *ret_number = (double)integer; /* exact: less than 2^53 */
        return true;
    }
    char buffer[128];
    char *copy = from.size == 0 ? NULL : terminated(from, buffer, sizeof(buffer));
    if (copy == NULL) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    double number = strtod(copy, &end);
    bool out_of_range = errno == ERANGE && (isinf(number) || number == 0);
    bool whole = !isspace((unsigned char)copy[0]) && (size_t)(end - copy) == from.size;
    if (copy != buffer) {
        free(copy);
    }
    if (!whole || out_of_range || isnan(number)) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool number_parse_long_double(slice from, long double *ret_number) {
    char copy[NUMBER_LONG_DOUBLE_MAX];
    if (from.size == 0 || from.size >= sizeof(copy)) {
        return false;
    }
    (void)terminated(from, copy, sizeof(copy)); /* it fits */
    char *end = NULL;
    errno = 0;
    long double number = strtold(copy, &end);
    bool out_of_range = errno == ERANGE && (isinf(number) || number == 0);
    bool whole = !isspace((unsigned char)copy[0]) && (size_t)(end - copy) == from.size;
    if (!whole || out_of_range || isnan(number)) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool number_parse_bound(slice from, double *ret_number) {
    char buffer[128];
    char *copy = from.size == 0 ? NULL : terminated(from, buffer, sizeof(buffer));
    if (copy == NULL) {
        *ret_number = 0;
        return from.size == 0;
    }
    char *end = NULL;
    *ret_number = strtod(copy, &end);
    bool whole = *end == '\0';
    if (copy != buffer) {
        free(copy);
    }
    return whole && !isnan(*ret_number);
}

/* ---- to text ------------------------------------------------------------------------------- */

static size_t format_infinity(char *ret_text, bool negative) {
    size_t size = negative ? 4 : 3;
    memcpy(ret_text, negative ? "-inf" : "inf", size);
    return size;
}

size_t number_format_double(char *ret_text, double number) {
    if (isinf(number)) {
        return format_infinity(ret_text, number < 0);
    }
    /* Whole numbers of up to 17 digits have no exponent; printf takes ten times as long. */
    bool is_small = number > -1e17 && number < 1e17;
    if (is_small && number == (double)(int64_t)number && !(number == 0 && signbit(number))) {
        return number_format_integer(ret_text, (int64_t)number);
    }
    int size = snprintf(ret_text, NUMBER_DOUBLE_MAX, "%.17g", number);
    return size < 0 ? 0 : (size_t)size;
}

size_t number_format_long_double(char *ret_text, long double number) {
    if (isinf(number)) {
        return format_infinity(ret_text, number < 0);
    }
    int printed = snprintf(ret_text, NUMBER_LONG_DOUBLE_MAX, "%.17Lf", number);
    size_t size = printed < 0 ? 0 : (size_t)printed;
    while (size != 0 && ret_text[size - 1] == '0') { /* there is a point before them */
        size--;
    }
    if (size != 0 && ret_text[size - 1] == '.') {
        size--;
    }
    if (size == 2 && memcmp(ret_text, "-0", 2) == 0) {
        ret_text[0] = '0';
        size = 1;
    }
    return size;
}
