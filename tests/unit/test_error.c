/* SPDX-License-Identifier: MIT
 *
 * Texts of results, the version, failed asserts, and pids: their hash, text and order.
 */
#define _GNU_SOURCE 1

#include "core/defs.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/error.h>
#include <weft/pid.h>

/* ---- results ------------------------------------------------------------------------------- */

START_TEST(every_weft_code_has_a_text_that_begins_with_its_name) {
    static const struct {
        int code;
        const char *name;
    } codes[] = {
        {WEFT_E_NOPROC, "WEFT_E_NOPROC: "},
        {WEFT_E_NOREPLY, "WEFT_E_NOREPLY: "},
        {WEFT_E_KILLED, "WEFT_E_KILLED: "},
        {WEFT_E_SHUTDOWN, "WEFT_E_SHUTDOWN: "},
        {WEFT_E_OVERLOAD, "WEFT_E_OVERLOAD: "},
        {WEFT_E_NOTYPE, "WEFT_E_NOTYPE: "},
        {WEFT_E_CONFIG, "WEFT_E_CONFIG: "},
        {WEFT_E_LIMIT, "WEFT_E_LIMIT: "},
        {WEFT_E_NOCONN, "WEFT_E_NOCONN: "},
        {WEFT_E_TLS, "WEFT_E_TLS: "},
        {WEFT_E_RESOLVE, "WEFT_E_RESOLVE: "},
        {WEFT_E_NOCAPABILITY, "WEFT_E_NOCAPABILITY: "},
        {WEFT_E_REBALANCING, "WEFT_E_REBALANCING: "},
        {WEFT_E_INACTIVE, "WEFT_E_INACTIVE: "},
        {WEFT_E_CRASHED, "WEFT_E_CRASHED: "},
        {WEFT_E_VERSION, "WEFT_E_VERSION: "},
        {WEFT_E_BREAKER, "WEFT_E_BREAKER: "},
        {WEFT_E_REMOTE, "WEFT_E_REMOTE: "},
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        const char *text = weft_strerror(codes[i].code);
        ck_assert_int_lt(codes[i].code, -4095);
        ck_assert_int_eq(codes[i].code, -5001 - (int)i);
        ck_assert_int_eq(strncmp(text, codes[i].name, strlen(codes[i].name)), 0);
        ck_assert_uint_gt(strlen(text), strlen(codes[i].name));
    }
    ck_assert_str_eq(weft_strerror(WEFT_E_NOPROC), "WEFT_E_NOPROC: no such actor");
}
END_TEST

START_TEST(an_errno_has_the_text_of_the_system_untranslated) {
    ck_assert_str_eq(weft_strerror(-EBUSY), "Device or resource busy");
    ck_assert_str_eq(weft_strerror(-ENOENT), "No such file or directory");
    ck_assert_str_eq(weft_strerror(-E2BIG), "Argument list too long");
}
END_TEST

START_TEST(success_is_zero_and_everything_above) {
    ck_assert_str_eq(weft_strerror(0), "success");
    ck_assert_str_eq(weft_strerror(1), "success");
    ck_assert_str_eq(weft_strerror(INT_MAX), "success");
}
END_TEST

START_TEST(every_result_has_a_text) {
    for (int result = -6000; result <= 10; result++) {
        ck_assert_ptr_nonnull(weft_strerror(result));
        ck_assert_uint_gt(strlen(weft_strerror(result)), 0);
    }
    ck_assert_str_eq(weft_strerror(-4095), "unknown error");
    ck_assert_str_eq(weft_strerror(-4096), "unknown error");
    ck_assert_str_eq(weft_strerror(-5000), "unknown error");
    ck_assert_str_eq(weft_strerror(-5019), "unknown error");
    ck_assert_str_eq(weft_strerror(INT_MIN), "unknown error");
}
END_TEST

START_TEST(a_text_is_static) {
    const char *first = weft_strerror(-EINVAL);
    (void)weft_strerror(-ENOMEM);
    ck_assert_ptr_eq(weft_strerror(-EINVAL), first);
    ck_assert_str_eq(first, "Invalid argument");
}
END_TEST

START_TEST(the_version_is_the_headers) {
    char text[32];
    snprintf(text, sizeof(text), "%d.%d.%d", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR,
             WEFT_VERSION_PATCH);
    ck_assert_str_eq(weft_version(), text);
    ck_assert_str_eq(weft_version(), WEFT_VERSION);
}
END_TEST

/* ---- asserts ------------------------------------------------------------------------------- */

/* Fails an assert in a child process; its standard error goes to text. Returns how it ended. */
static int assert_in_child(const char *file, int line, const char *what, char *text,
                           size_t text_size) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none); /* no core file; without it, one more */
        dup2(ends[1], STDERR_FILENO);
        weft__assert_failed(file, line, what);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], text, text_size - 1);
    ck_assert_int_ge(got, 0);
    text[got] = '\0';
    char more = 0;
    ck_assert_int_eq(read(ends[0], &more, 1), 0); /* one write and nothing else */
    close(ends[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

START_TEST(a_failed_assert_writes_one_line_and_aborts) {
    char text[1024];
    int status = assert_in_child("core/x.c", 42, "left == right", text, sizeof(text));
    ck_assert_str_eq(text, "weft: assertion failed: core/x.c:42: left == right\n");
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
END_TEST

START_TEST(a_failed_assert_of_any_length_ends_its_line) {
    char text[1024];
    char what[2000];
    memset(what, 'x', sizeof(what) - 1);
    what[sizeof(what) - 1] = '\0';
    int status = assert_in_child("core/x.c", 1, what, text, sizeof(text));
    ck_assert(WIFSIGNALED(status));
    ck_assert_uint_eq(strlen(text), 511);
    ck_assert_int_eq(text[510], '\n');
}
END_TEST

START_TEST(an_assert_that_holds_does_nothing) {
    uint32_t calls = 0;
    weft_assert(++calls == 1);
    ck_assert_uint_eq(calls, 1);
}
END_TEST

/* ---- pids ---------------------------------------------------------------------------------- */

static const weft_pid pid_low = {1, 2, 3};
static const weft_pid pid_high = {UINT64_MAX, UINT32_MAX, UINT32_MAX};

START_TEST(a_pid_is_printed_in_hexadecimal) {
    char text[WEFT_PID_TEXT_BYTES];
    weft_pid pid = {0x0123456789abcdefull, 0xff, 0x10};
    ck_assert_int_eq(weft_pid_format(pid_low, text, sizeof(text)), 5);
    ck_assert_str_eq(text, "1.2.3");
    ck_assert_int_eq(weft_pid_format(pid, text, sizeof(text)), 21);
    ck_assert_str_eq(text, "123456789abcdef.ff.10");
    ck_assert_int_eq(weft_pid_format(weft_pid_none(), text, sizeof(text)), 5);
    ck_assert_str_eq(text, "0.0.0");
}
END_TEST

START_TEST(a_pid_fits_exactly_or_writes_nothing) {
    char text[WEFT_PID_TEXT_BYTES];
    ck_assert_int_eq(weft_pid_format(pid_high, text, sizeof(text)), 34);
    ck_assert_str_eq(text, "ffffffffffffffff.ffffffff.ffffffff");
    ck_assert_int_eq(weft_pid_format(pid_high, text, 35), 34);
    text[0] = 'x';
    for (size_t size = 0; size < 35; size++) {
        ck_assert_int_eq(weft_pid_format(pid_high, text, size), -ENOSPC);
        ck_assert_int_eq(text[0], 'x');
    }
    ck_assert_int_eq(weft_pid_format(pid_low, NULL, 0), -ENOSPC);
    ck_assert_int_eq(weft_pid_format(pid_low, NULL, 40), -ENOSPC);
}
END_TEST

START_TEST(the_hash_of_a_pid_never_changes) {
    /* XXH3 of the bytes 01 00.. 02 00 00 00 03 00 00 00, of 16 times ff, and of zeroes, as the
     * reference implementation gives them. */
    ck_assert_uint_eq(weft_pid_hash(pid_low), 0x29942ec15edde20dull);
    ck_assert_uint_eq(weft_pid_hash(pid_high), 0x722a202f07a4b313ull);
    ck_assert_uint_eq(weft_pid_hash(weft_pid_none()), 0xd0a66a65c7528968ull);
}
END_TEST

START_TEST(each_part_of_a_pid_counts_in_hash_order_and_equality) {
    weft_pid others[] = {pid_low, pid_low, pid_low};
    others[0].node++;
    others[1].slot++;
    others[2].gen++;
    ck_assert(weft_pid_equal(pid_low, pid_low));
    ck_assert_int_eq(weft_pid_compare(pid_low, pid_low), 0);
    for (size_t i = 0; i < 3; i++) {
        ck_assert(weft_pid_hash(others[i]) != weft_pid_hash(pid_low));
        ck_assert(!weft_pid_equal(others[i], pid_low));
        ck_assert_int_gt(weft_pid_compare(others[i], pid_low), 0);
        ck_assert_int_lt(weft_pid_compare(pid_low, others[i]), 0);
        ck_assert(!weft_pid_is_none(others[i]));
    }
    ck_assert(weft_pid_is_none(weft_pid_none()));
}
END_TEST

static int compare_u64(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : (a > b ? 1 : 0);
}

START_TEST(neighbouring_pids_hash_apart) {
    static uint64_t hashes[65536];
    uint32_t count = sizeof(hashes) / sizeof(hashes[0]);
    for (uint32_t i = 0; i < count; i++) {
        weft_pid pid = {7, i >> 4, 1 + (i & 15)};
        hashes[i] = weft_pid_hash(pid);
    }
    qsort(hashes, count, sizeof(hashes[0]), compare_u64);
    for (uint32_t i = 1; i < count; i++) {
        ck_assert(hashes[i - 1] != hashes[i]);
    }
}
END_TEST

static Suite *error_suite(void) {
    Suite *suite = suite_create("error");
    TCase *results = tcase_create("results");
    tcase_add_test(results, every_weft_code_has_a_text_that_begins_with_its_name);
    tcase_add_test(results, an_errno_has_the_text_of_the_system_untranslated);
    tcase_add_test(results, success_is_zero_and_everything_above);
    tcase_add_test(results, every_result_has_a_text);
    tcase_add_test(results, a_text_is_static);
    tcase_add_test(results, the_version_is_the_headers);
    suite_add_tcase(suite, results);
    TCase *asserts = tcase_create("asserts");
    tcase_add_test(asserts, a_failed_assert_writes_one_line_and_aborts);
    tcase_add_test(asserts, a_failed_assert_of_any_length_ends_its_line);
    tcase_add_test(asserts, an_assert_that_holds_does_nothing);
    suite_add_tcase(suite, asserts);
    TCase *pids = tcase_create("pids");
    tcase_add_test(pids, a_pid_is_printed_in_hexadecimal);
    tcase_add_test(pids, a_pid_fits_exactly_or_writes_nothing);
    tcase_add_test(pids, the_hash_of_a_pid_never_changes);
    tcase_add_test(pids, each_part_of_a_pid_counts_in_hash_order_and_equality);
    tcase_add_test(pids, neighbouring_pids_hash_apart);
    suite_add_tcase(suite, pids);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(error_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
