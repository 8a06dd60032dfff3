/* SPDX-License-Identifier: MIT
 *
 * Numbers from and to text, exactly as Redis 7.0 reads and prints them: clients compare the bytes.
 * Any thread; the locale has to be "C" (nobody calls setlocale).
 */
#ifndef EXAMPLES_RESP_NUMBER_H
#define EXAMPLES_RESP_NUMBER_H

#include "text.h"

enum {
    NUMBER_INTEGER_MAX = 21, /* characters of an integer */
    NUMBER_DOUBLE_MAX = 40,
    NUMBER_LONG_DOUBLE_MAX = 5120,
};

/* Strict: no sign but '-', no leading zero, no space, nothing after it, within 64 bits. */
bool number_parse_integer(slice from, int64_t *ret_number);
/* As strtod reads it: also hexadecimal and inf; no space before, nothing after, no NaN, no overflow
 * and no underflow. */
bool number_parse_double(slice from, double *ret_number);
bool number_parse_long_double(slice from, long double *ret_number);
/* The bound of a range of scores. Redis reads it as a C string: spaces before, a zero byte that ends
 * it and the empty string (0) are fine. */
bool number_parse_bound(slice from, double *ret_number);

/* These return the number of bytes written; there is no zero at the end. */
size_t number_format_integer(char *ret_text, int64_t number);
size_t number_format_double(char *ret_text, double number);
/* For people: fixed point, at most 17 decimals, no zeros at the end. */
size_t number_format_long_double(char *ret_text, long double number);

#endif
