/* SPDX-License-Identifier: MIT
 *
 * Log lines: the form of a line, quoting and escaping, cutting, time, and the ready hook.
 */
#define _GNU_SOURCE 1

#include "core/defs.h"
#include "core/text.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/log.h>

enum { LINE_BYTES = 1024 };

static const char head[] = "ts=1970-01-01T00:00:00.000000Z mono_ns=0 level=info event=x";

/* Formats an event with one text field and returns what follows "event=x ". */
static const char *formatted(const char *key, const char *value) {
    static char line[LINE_BYTES];
    weft_log_field field = {.key = key, .kind = WEFT_LOG_TEXT, .text = value};
    weft_log_event event = {.name = "x", .fields = &field, .field_count = 1};
    int length = weft_log_format(WEFT_LOG_INFO, &event, line, sizeof(line));
    ck_assert_int_eq(length, (int)strlen(line));
    ck_assert_int_eq(strncmp(line, head, sizeof(head) - 1), 0);
    return line + sizeof(head);
}

/* ---- lines --------------------------------------------------------------------------------- */

START_TEST(a_line_holds_time_level_event_and_fields_in_order) {
    char line[LINE_BYTES];
    const weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = "echo"},
        {.key = "count", .kind = WEFT_LOG_U64, .u64 = UINT64_MAX},
        {.key = "reason", .kind = WEFT_LOG_I64, .i64 = INT64_MIN},
        {.key = "zero", .kind = WEFT_LOG_I64, .i64 = 0},
        {.key = "text", .kind = WEFT_LOG_TEXT, .text = "two words"},
    };
    const weft_log_event event = {.name = "actor.crash",
                                  .mono_ns = 12345,
                                  .wall_ns = 1738324800123456789ull,
                                  .fields = fields,
                                  .field_count = 5};
    int length = weft_log_format(WEFT_LOG_WARN, &event, line, sizeof(line));
    ck_assert_str_eq(line, "ts=2025-01-31T12:00:00.123456Z mono_ns=12345 level=warn "
                           "event=actor.crash type=echo count=18446744073709551615 "
                           "reason=-9223372036854775808 zero=0 text=\"two words\"");
    ck_assert_int_eq(length, (int)strlen(line));
}
END_TEST

START_TEST(every_level_has_a_name) {
    static const char *const names[] = {"info", "error", "warn", "info", "debug", "unknown"};
    for (uint32_t level = 0; level < sizeof(names) / sizeof(names[0]); level++) {
        char line[LINE_BYTES];
        char wanted[32];
        const weft_log_event event = {.name = "x"};
        ck_assert_int_gt(weft_log_format((enum weft_log_level)level, &event, line, sizeof(line)),
                         0);
        snprintf(wanted, sizeof(wanted), " level=%s ", names[level]);
        ck_assert_ptr_nonnull(strstr(line, wanted));
    }
}
END_TEST

START_TEST(times_are_those_of_gmtime) {
    uint64_t state = 88172645463325252ull;
    for (uint32_t round = 0; round < 20000; round++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char line[LINE_BYTES];
        char wanted[64];
        struct tm date;
        const weft_log_event event = {.name = "x", .wall_ns = round == 0 ? UINT64_MAX : state};
        time_t seconds = (time_t)(event.wall_ns / 1000000000u);
        ck_assert_int_gt(weft_log_format(WEFT_LOG_INFO, &event, line, sizeof(line)), 0);
        ck_assert_ptr_nonnull(gmtime_r(&seconds, &date));
        ck_assert_uint_gt(strftime(wanted, sizeof(wanted), "ts=%Y-%m-%dT%H:%M:%S.", &date), 0);
        ck_assert_int_eq(strncmp(line, wanted, strlen(wanted)), 0);
    }
}
END_TEST

START_TEST(leap_days_are_days) {
    static const struct {
        uint64_t seconds;
        const char *date;
    } days[] = {
        {951782400, "ts=2000-02-29T"},  {951868800, "ts=2000-03-01T"},
        {4107456000, "ts=2100-02-28T"}, {4107542400, "ts=2100-03-01T"},
        {1709164800, "ts=2024-02-29T"}, {1735603200, "ts=2024-12-31T"},
    };
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        char line[LINE_BYTES];
        const weft_log_event event = {.name = "x", .wall_ns = days[i].seconds * 1000000000u};
        ck_assert_int_gt(weft_log_format(WEFT_LOG_INFO, &event, line, sizeof(line)), 0);
        ck_assert_int_eq(strncmp(line, days[i].date, strlen(days[i].date)), 0);
    }
}
END_TEST

/* ---- quoting ------------------------------------------------------------------------------- */

START_TEST(a_plain_value_stands_bare) {
    ck_assert_str_eq(formatted("k", "plain"), "k=plain");
    ck_assert_str_eq(formatted("k", "a.b-c/d:e,f"), "k=a.b-c/d:e,f");
    ck_assert_str_eq(formatted("k", "gr\xc3\xbc\xc3\x9f"), "k=gr\xc3\xbc\xc3\x9f");
    ck_assert_str_eq(formatted("k", "\xe2\x82\xac\xf0\x9f\x98\x80"),
                     "k=\xe2\x82\xac\xf0\x9f\x98\x80");
}
END_TEST

START_TEST(a_value_that_could_be_misread_is_quoted) {
    ck_assert_str_eq(formatted("k", ""), "k=\"\"");
    ck_assert_str_eq(formatted("k", NULL), "k=\"\"");
    ck_assert_str_eq(formatted("k", "a b"), "k=\"a b\"");
    ck_assert_str_eq(formatted("k", "a=b"), "k=\"a=b\"");
    ck_assert_str_eq(formatted("k", "a\"b"), "k=\"a\\\"b\"");
    ck_assert_str_eq(formatted("k", "a\\"), "k=\"a\\\\\"");
}
END_TEST

START_TEST(a_value_never_ends_the_line_or_reaches_the_terminal) {
    ck_assert_str_eq(formatted("k", "a\nlevel=error"), "k=\"a\\nlevel=error\"");
    ck_assert_str_eq(formatted("k", "\r\t"), "k=\"\\r\\t\"");
    ck_assert_str_eq(formatted("k", "\x1b[2J\x01\x7f"), "k=\"\\u001b[2J\\u0001\\u007f\"");
    ck_assert_str_eq(formatted("k", "\xc2\x9b"), "k=\"\\u009b\"");
}
END_TEST

START_TEST(bytes_that_are_no_utf_8_are_shown_as_bytes) {
    ck_assert_str_eq(formatted("k", "\xff"), "k=\"\\xff\"");
    ck_assert_str_eq(formatted("k", "a\x80"), "k=\"a\\x80\"");
    ck_assert_str_eq(formatted("k", "\xc3"), "k=\"\\xc3\"");
    ck_assert_str_eq(formatted("k", "\xc0\xaf"), "k=\"\\xc0\\xaf\"");
    ck_assert_str_eq(formatted("k", "\xe2\x82"), "k=\"\\xe2\\x82\"");
    ck_assert_str_eq(formatted("k", "\xe0\x80\x80"), "k=\"\\xe0\\x80\\x80\"");
    ck_assert_str_eq(formatted("k", "\xed\xa0\x80"), "k=\"\\xed\\xa0\\x80\"");
    ck_assert_str_eq(formatted("k", "\xf0\x80\x80\x80"), "k=\"\\xf0\\x80\\x80\\x80\"");
    ck_assert_str_eq(formatted("k", "\xf4\x90\x80\x80"), "k=\"\\xf4\\x90\\x80\\x80\"");
    ck_assert_str_eq(formatted("k", "\xf0\x9f\x98"), "k=\"\\xf0\\x9f\\x98\"");
}
END_TEST

START_TEST(a_key_is_made_harmless) {
    ck_assert_str_eq(formatted("a b=c\"d\\e\nf\xff", "v"), "a_b_c_d_e_f_=v");
    ck_assert_str_eq(formatted("", "v"), "_=v");
    ck_assert_str_eq(formatted(NULL, "v"), "_=v");
}
END_TEST

START_TEST(an_event_without_name_or_fields_is_a_line) {
    char line[LINE_BYTES];
    const weft_log_event event = {.name = NULL, .fields = NULL, .field_count = 3};
    ck_assert_int_gt(weft_log_format(WEFT_LOG_INFO, &event, line, sizeof(line)), 0);
    ck_assert_str_eq(line, "ts=1970-01-01T00:00:00.000000Z mono_ns=0 level=info event=\"\"");
}
END_TEST

START_TEST(a_field_of_unknown_kind_has_no_value) {
    char line[LINE_BYTES];
    const weft_log_field field = {.key = "k", .kind = (enum weft_log_kind)7};
    const weft_log_event event = {.name = "x", .fields = &field, .field_count = 1};
    ck_assert_int_gt(weft_log_format(WEFT_LOG_INFO, &event, line, sizeof(line)), 0);
    ck_assert_str_eq(line + sizeof(head), "k=\"\"");
}
END_TEST

/* ---- sizes --------------------------------------------------------------------------------- */

START_TEST(a_line_is_cut_as_snprintf_cuts) {
    char whole[LINE_BYTES];
    const weft_log_field field = {.key = "k", .kind = WEFT_LOG_TEXT, .text = "a \"b\"\n"};
    const weft_log_event event = {.name = "x", .fields = &field, .field_count = 1};
    int length = weft_log_format(WEFT_LOG_INFO, &event, whole, sizeof(whole));
    ck_assert_int_eq(weft_log_format(WEFT_LOG_INFO, &event, NULL, 0), length);
    for (size_t size = 1; size <= (size_t)length + 2; size++) {
        char *line = malloc(size); /* so that a sanitizer sees one byte too much */
        ck_assert_ptr_nonnull(line);
        ck_assert_int_eq(weft_log_format(WEFT_LOG_INFO, &event, line, size), length);
        size_t wanted = size - 1 < (size_t)length ? size - 1 : (size_t)length;
        ck_assert_uint_eq(strlen(line), wanted);
        ck_assert_mem_eq(line, whole, wanted);
        free(line);
    }
}
END_TEST

START_TEST(missing_arguments_are_invalid) {
    char line[LINE_BYTES];
    const weft_log_event event = {.name = "x"};
    ck_assert_int_eq(weft_log_format(WEFT_LOG_INFO, NULL, line, sizeof(line)), -EINVAL);
    ck_assert_int_eq(weft_log_format(WEFT_LOG_INFO, &event, NULL, 10), -EINVAL);
}
END_TEST

START_TEST(random_values_stay_one_quoted_line) {
    uint64_t state = 0x9E3779B97F4A7C15ull;
    for (uint32_t round = 0; round < 20000; round++) {
        char value[32];
        for (size_t i = 0; i < sizeof(value); i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value[i] = (char)state;
        }
        value[sizeof(value) - 1] = '\0';
        const char *line = formatted("k", value);
        for (const char *at = line; *at != '\0'; at++) {
            ck_assert((unsigned char)*at >= 0x20 && *at != 0x7f);
        }
        if (line[2] != '"') {
            ck_assert_str_eq(line + 2, value);
            continue;
        }
        const char *at = line + 3;
        while (*at != '"') {
            at += *at == '\\' ? 2 : 1;
        }
        ck_assert_str_eq(at, "\""); /* the only quote without a backslash is the last byte */
    }
}
END_TEST

/* ---- text ---------------------------------------------------------------------------------- */

START_TEST(numbers_are_decimal_and_padded_on_demand) {
    char bytes[64];
    weft__text text;
    weft__text_init(&text, bytes, sizeof(bytes));
    weft__text_put_u64(&text, 0);
    weft__text_put_char(&text, ' ');
    weft__text_put_u64(&text, UINT64_MAX);
    weft__text_put_char(&text, ' ');
    weft__text_put_padded(&text, 7, 3);
    weft__text_put_char(&text, ' ');
    weft__text_put_padded(&text, 1234, 3);
    ck_assert_str_eq(bytes, "0 18446744073709551615 007 1234");
    ck_assert_uint_eq(text.length, strlen(bytes));
}
END_TEST

START_TEST(an_escaped_text_is_cut_between_characters) {
    char bytes[64];
    weft__text text;
    weft__text_init(&text, bytes, sizeof(bytes));
    weft__text_put_escaped(&text, "ab\xc3\xbc", 3);
    weft__text_put_escaped(&text, "ab\xc3\xbc", 4);
    weft__text_put_escaped(&text, "x", 0);
    weft__text_put_escaped(&text, "", 0);
    ck_assert_str_eq(bytes, "ab...ab\xc3\xbc...");
}
END_TEST

/* ---- the hook ------------------------------------------------------------------------------ */

/* What the hook writes to standard error for one event, read back from a pipe. */
static size_t hooked(const weft_log_event *event, char *text, size_t size) {
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    int saved = dup(STDERR_FILENO);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    errno = 77;
    weft_log_stderr(NULL, WEFT_LOG_ERROR, event);
    int after = errno;
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    close(ends[1]);
    ck_assert_int_eq(after, 77);
    ssize_t got = read(ends[0], text, size - 1);
    ck_assert_int_ge(got, 0);
    close(ends[0]);
    text[got] = '\0';
    return (size_t)got;
}

START_TEST(the_hook_writes_one_line) {
    char text[4096];
    const weft_log_event event = {.name = "runtime.start"};
    size_t size = hooked(&event, text, sizeof(text));
    ck_assert_str_eq(text, "ts=1970-01-01T00:00:00.000000Z mono_ns=0 level=error "
                           "event=runtime.start\n");
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_uint_eq(hooked(NULL, text, sizeof(text)), 0);
}
END_TEST

START_TEST(the_hook_cuts_a_long_line_and_still_ends_it) {
    char text[8192];
    char value[5000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    const weft_log_field field = {.key = "k", .kind = WEFT_LOG_TEXT, .text = value};
    const weft_log_event event = {.name = "x", .fields = &field, .field_count = 1};
    size_t size = hooked(&event, text, sizeof(text));
    ck_assert_uint_eq(size, 2047);
    ck_assert_ptr_eq(strchr(text, '\n'), text + size - 1);
}
END_TEST

START_TEST(the_hook_survives_a_closed_standard_error) {
    const weft_log_event event = {.name = "x"};
    int saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = 77;
    weft_log_stderr(NULL, WEFT_LOG_INFO, &event);
    ck_assert_int_eq(errno, 77);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
}
END_TEST

static Suite *log_suite(void) {
    Suite *suite = suite_create("log");
    TCase *lines = tcase_create("lines");
    tcase_add_test(lines, a_line_holds_time_level_event_and_fields_in_order);
    tcase_add_test(lines, every_level_has_a_name);
    tcase_add_test(lines, times_are_those_of_gmtime);
    tcase_add_test(lines, leap_days_are_days);
    suite_add_tcase(suite, lines);
    TCase *quoting = tcase_create("quoting");
    tcase_add_test(quoting, a_plain_value_stands_bare);
    tcase_add_test(quoting, a_value_that_could_be_misread_is_quoted);
    tcase_add_test(quoting, a_value_never_ends_the_line_or_reaches_the_terminal);
    tcase_add_test(quoting, bytes_that_are_no_utf_8_are_shown_as_bytes);
    tcase_add_test(quoting, a_key_is_made_harmless);
    tcase_add_test(quoting, an_event_without_name_or_fields_is_a_line);
    tcase_add_test(quoting, a_field_of_unknown_kind_has_no_value);
    suite_add_tcase(suite, quoting);
    TCase *sizes = tcase_create("sizes");
    tcase_add_test(sizes, a_line_is_cut_as_snprintf_cuts);
    tcase_add_test(sizes, missing_arguments_are_invalid);
    tcase_add_test(sizes, random_values_stay_one_quoted_line);
    tcase_add_test(sizes, numbers_are_decimal_and_padded_on_demand);
    tcase_add_test(sizes, an_escaped_text_is_cut_between_characters);
    suite_add_tcase(suite, sizes);
    TCase *hook = tcase_create("hook");
    tcase_add_test(hook, the_hook_writes_one_line);
    tcase_add_test(hook, the_hook_cuts_a_long_line_and_still_ends_it);
    tcase_add_test(hook, the_hook_survives_a_closed_standard_error);
    suite_add_tcase(suite, hook);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(log_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
