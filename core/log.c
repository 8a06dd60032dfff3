/* SPDX-License-Identifier: MIT
 *
 * Events as logfmt lines, and the ready hook that writes them to standard error. Called by hooks,
 * on any thread, also a scheduler's: nothing here allocates, locks, or reads the clock or the
 * time zone (the event carries its time; it is printed as UTC).
 *
 *   ts=2025-01-31T12:00:00.123456Z mono_ns=5 level=warn event=actor.crash type=echo reason="a b"
 *
 * A value is quoted when it is empty or holds anything but printable characters without space,
 * '=', '"' and '\'. A key that logfmt could not carry has the offending bytes replaced by '_'.
 */
#define _GNU_SOURCE 1

#include <weft/log.h>

#include "core/defs.h"
#include "core/text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum {
    /* Below PIPE_BUF (4096), so that lines of several processes never mix in one pipe, and small
     * enough for a small stack. */
    STDERR_LINE_BYTES = 2048,
};

#define NS_PER_SECOND 1000000000ull

struct civil_date {
    uint64_t year;
    uint64_t month;
    uint64_t day;
};

static const char *level_name(enum weft_log_level level) {
    switch (level) {
    case WEFT_LOG_ERROR:
        return "error";
    case WEFT_LOG_WARN:
        return "warn";
    case WEFT_LOG_DEFAULT:
    case WEFT_LOG_INFO:
        return "info";
    case WEFT_LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

/* Days since 1970-01-01 as a Gregorian date. Years begin in March here, so that the leap day is
 * the last of its year; 719468 days lie between 0000-03-01 and 1970-01-01. Not gmtime_r, which
 * takes a lock in the C library. */
static struct civil_date civil_from_days(uint64_t days) {
    uint64_t shifted = days + 719468;
    uint64_t era = shifted / 146097;
    uint64_t day_of_era = shifted % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct civil_date date;
    date.day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    date.month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
    return date;
}

static void put_time(weft__text *line, uint64_t wall_ns) {
    uint64_t seconds = wall_ns / NS_PER_SECOND;
    struct civil_date date = civil_from_days(seconds / 86400);
    weft__text_put(line, "ts=");
    weft__text_put_padded(line, date.year, 4);
    weft__text_put(line, "-");
    weft__text_put_padded(line, date.month, 2);
    weft__text_put(line, "-");
    weft__text_put_padded(line, date.day, 2);
    weft__text_put(line, "T");
    weft__text_put_padded(line, seconds / 3600 % 24, 2);
    weft__text_put(line, ":");
    weft__text_put_padded(line, seconds / 60 % 60, 2);
    weft__text_put(line, ":");
    weft__text_put_padded(line, seconds % 60, 2);
    weft__text_put(line, ".");
    weft__text_put_padded(line, wall_ns % NS_PER_SECOND / 1000, 6);
    weft__text_put(line, "Z");
}

static void put_key(weft__text *line, const char *key) {
    if (key == NULL || key[0] == '\0') {
        weft__text_put(line, "_");
        return;
    }
    for (const char *at = key; *at != '\0'; at++) {
        bool allowed = *at > ' ' && *at < 0x7F && *at != '=' && *at != '"' && *at != '\\';
        weft__text_put_char(line, allowed ? *at : '_');
    }
}

static void put_text(weft__text *line, const char *value) {
    const char *string = value != NULL ? value : "";
    bool bare = string[0] != '\0' && strpbrk(string, " =") == NULL && weft__text_is_plain(string);
    if (bare) {
        weft__text_put(line, string);
        return;
    }
    weft__text_put(line, "\"");
    weft__text_put_escaped(line, string, SIZE_MAX);
    weft__text_put(line, "\"");
}

static void put_i64(weft__text *line, int64_t value) {
    if (value < 0) {
        weft__text_put(line, "-");
    }
    /* Negated as unsigned: the smallest value has no positive twin. */
    weft__text_put_u64(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void put_field(weft__text *line, const weft_log_field *field) {
    weft__text_put(line, " ");
    put_key(line, field->key);
    weft__text_put(line, "=");
    switch (field->kind) {
    case WEFT_LOG_TEXT:
        put_text(line, field->text);
        return;
    case WEFT_LOG_U64:
        weft__text_put_u64(line, field->u64);
        return;
    case WEFT_LOG_I64:
        put_i64(line, field->i64);
        return;
    }
    weft__text_put(line, "\"\"");
}

int weft_log_format(enum weft_log_level level, const weft_log_event *event, char *text,
                    size_t size) {
    if (event == NULL || (text == NULL && size > 0)) {
        return -EINVAL;
    }
    weft__text line;
    weft__text_init(&line, text, size);
    put_time(&line, event->wall_ns);
    weft__text_put(&line, " mono_ns=");
    weft__text_put_u64(&line, event->mono_ns);
    weft__text_put(&line, " level=");
    weft__text_put(&line, level_name(level));
    weft__text_put(&line, " event=");
    put_text(&line, event->name);
    uint32_t count = event->fields != NULL ? event->field_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        put_field(&line, &event->fields[i]);
    }
    return line.length > INT_MAX ? INT_MAX : (int)line.length;
}

void weft_log_stderr(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    (void)cookie; /* nothing to remember */
    char bytes[STDERR_LINE_BYTES];
    /* One byte less: the newline goes in last, also after a line that was cut. */
    int wanted = weft_log_format(level, event, bytes, sizeof(bytes) - 1);
    if (wanted < 0) {
        return;
    }
    size_t length = strlen(bytes);
    bytes[length] = '\n';
    int saved_errno = errno;
    if (write(STDERR_FILENO, bytes, length + 1) < 0) {
        /* A log line that cannot be written is lost: retrying would block a scheduler. */
    }
    errno = saved_errno;
}
