/* SPDX-License-Identifier: MIT
 *
 * Reading of arguments and the errors that many commands share; see execute.h.
 */
#include "command.h"
#include "execute.h"
#include "number.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool argument_is(slice argument, const char *word) {
    size_t size = strlen(word);
    if (argument.size < size || (argument.size > size && argument.data[size] != '\0')) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (lower(argument.data[i]) != lower(word[i])) {
            return false;
        }
    }
    return true;
}

bool argument_integer(slice argument, int64_t *ret_number, reply *out) {
    if (!number_parse_integer(argument, ret_number)) {
        reply_error(out, ERROR_NOT_INTEGER);
        return false;
    }
    return true;
}

bool argument_count(slice argument, int64_t *ret_count, reply *out) {
    /* One text for both is what Redis says here. */
    if (!number_parse_integer(argument, ret_count) || *ret_count < 0) {
        reply_error(out, "ERR value is out of range, must be positive");
        return false;
    }
    return true;
}

bool argument_double(slice argument, double *ret_number, reply *out) {
    if (!number_parse_double(argument, ret_number)) {
        reply_error(out, ERROR_NOT_FLOAT);
        return false;
    }
    return true;
}

bool argument_long_double(slice argument, long double *ret_number, reply *out) {
    if (!number_parse_long_double(argument, ret_number)) {
        reply_error(out, ERROR_NOT_FLOAT);
        return false;
    }
    return true;
}

bool argument_type(const value *self, enum value_type type, reply *out) {
    if (self->type != type && self->type != VALUE_NONE) {
        reply_error(out, "WRONGTYPE Operation against a key holding the wrong kind of value");
        return false;
    }
    return true;
}

void reply_wrong_arity(reply *out, const call *request) {
    reply_error_format(out, "ERR wrong number of arguments for '%s' command",
                       request->command->name);
}

void reply_bad_expire_time(reply *out, const call *request) {
    reply_error_format(out, "ERR invalid expire time in '%s' command", request->command->name);
}

span span_of(int64_t start, int64_t stop, int64_t count) {
    if (start < 0) {
        start = start + count < 0 ? 0 : start + count;
    }
    if (stop < 0) {
        stop += count;
    }
    if (stop >= count) {
        stop = count - 1;
    }
    return start > stop ? (span){0, 0} : (span){start, stop - start + 1};
}
