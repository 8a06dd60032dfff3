/* SPDX-License-Identifier: MIT
 *
 * The parser of examples/resp, without a runtime: requests, in one piece and in every other way,
 * inline commands with quotes, what is refused and how Redis says so, and that what a client
 * announces costs nothing before it arrives.
 *
 * malloc and realloc are wrapped by the linker (tests/meson.build).
 */
#define _GNU_SOURCE 1
#include "tests/unit/support.h"

/* After it: names of types here are names of parameters there. */
#include "examples/resp/parser.h"

enum { BULK_MAX = 1 << 20, REQUEST_MAX = 16 << 20, SHOWN_MAX = 4096 };

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* Of what is allocated inside a step only: Check allocates, too. */
static bool inside;
static bool no_memory;
static uint64_t allocations;
static size_t largest; /* allocation so far */

static bool allocate(size_t size) {
    allocations += inside ? 1 : 0;
    largest = inside && size > largest ? size : largest;
    return !inside || !no_memory;
}

void *__wrap_malloc(size_t size) {
    return allocate(size) ? __real_malloc(size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size) {
    return allocate(size) ? __real_realloc(memory, size) : NULL;
}

static parser parser_new(void) {
    const parser_limits limits = {.bulk_max = BULK_MAX, .request_max = REQUEST_MAX};
    parser made;
    parser_init(&made, &limits);
    return made;
}

static enum parser_result step(parser *self, const char *data, size_t size) {
    inside = true;
    enum parser_result result = parser_step(self, data, size);
    inside = false;
    return result;
}

/* A request as text: its words in brackets. */
static const char *show(const parser *self) {
    static char shown[SHOWN_MAX];
    size_t size = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        ck_assert(size + self->args[i].size + 3 < sizeof(shown));
        shown[size++] = '[';
        memcpy(shown + size, self->args[i].data, self->args[i].size);
        size += self->args[i].size;
        shown[size++] = ']';
    }
    shown[size] = '\0';
    return shown;
}

/* All of text at once, and byte by byte, each time from another place: the same request. */
static void check_request(const char *text, size_t size, const char *expected) {
    parser whole = parser_new(), slow = parser_new();
    ck_assert_int_eq(step(&whole, text, size), PARSER_REQUEST);
    ck_assert_str_eq(show(&whole), expected);
    ck_assert_uint_eq(whole.used, size);
    for (size_t i = 1; i <= size; i++) {
        char *moved = malloc(i); /* of just that size, so that a sanitizer sees a read behind it */
        memcpy(moved, text, i);
        enum parser_result result = step(&slow, moved, i);
        ck_assert_int_eq(result, i < size ? PARSER_MORE : PARSER_REQUEST);
        if (i == size) {
            ck_assert_str_eq(show(&slow), expected);
            ck_assert_int_eq(step(&slow, moved, i), PARSER_REQUEST); /* it stays */
            ck_assert_str_eq(show(&slow), expected);
        }
        free(moved);
    }
    parser_fini(&whole);
    parser_fini(&slow);
}

/* The same for what is refused; how much of it there must be for that is left open. */
static void check_error(const char *text, size_t size, const char *expected) {
    parser whole = parser_new(), slow = parser_new();
    ck_assert_int_eq(step(&whole, text, size), PARSER_ERROR);
    ck_assert_str_eq(whole.error, expected);
    enum parser_result result = PARSER_MORE;
    for (size_t i = 1; i <= size && result == PARSER_MORE; i++) {
        result = step(&slow, text, i);
    }
    ck_assert_int_eq(result, PARSER_ERROR);
    ck_assert_str_eq(slow.error, expected);
    ck_assert_int_eq(step(&slow, text, size), PARSER_ERROR); /* it stays */
    parser_fini(&whole);
    parser_fini(&slow);
}

#define REQUEST(text, expected) check_request(text, sizeof(text) - 1, expected)
#define REFUSED(text, expected) check_error(text, sizeof(text) - 1, "ERR Protocol error: " expected)

START_TEST(arrays_are_read_in_any_pieces) {
    REQUEST("*1\r\n$4\r\nPING\r\n", "[PING]");
    REQUEST("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "[SET][k][]");
    REQUEST("*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n", "[GET][\r\n\r\n]");
    REQUEST("*0\r\n", "");
    REQUEST("*-1\r\n", "");
    REQUEST("*-99\r\n", "");
    REQUEST("*1\r\n$4\r\nPINGxx", "[PING]"); /* Redis does not look at these two either */
}
END_TEST

START_TEST(inline_commands_are_words_and_quotes) {
    REQUEST("PING\r\n", "[PING]");
    REQUEST("PING\n", "[PING]");
    REQUEST("\r\n", "");
    REQUEST("\n", "");
    REQUEST("  set  k\tv  \r\n", "[set][k][v]");
    REQUEST("set k \"a b\"\r\n", "[set][k][a b]");
    REQUEST("set k 'a \"b\"'\r\n", "[set][k][a \"b\"]");
    REQUEST("set k '\\'' \"\\\"\"\r\n", "[set][k]['][\"]");
    REQUEST("e \"\\n\\r\\t\\b\\a\\x41\\xzz\\q\"\r\n", "[e][\n\r\t\b\aAxzzq]");
    REQUEST("e '\\n'\r\n", "[e][\\n]");
    REQUEST("e \"\" ''\r\n", "[e][][]");
    REQUEST("ab\"c d\" e\r\n", "[abc d][e]");
    REQUEST("a\\ b\r\n", "[a\\][b]");
    REQUEST("\v\fa\vb\f c\r\n", "[a\vb\f][c]");
}
END_TEST

START_TEST(what_is_wrong_is_said_as_redis_does) {
    REFUSED("*x\r\n", "invalid multibulk length");
    REFUSED("*\r\n", "invalid multibulk length");
    REFUSED("*01\r\n", "invalid multibulk length");
    REFUSED("*+1\r\n", "invalid multibulk length");
    REFUSED("* 1\r\n", "invalid multibulk length");
    REFUSED("*1048577\r\n", "invalid multibulk length");
    REFUSED("*99999999999999999999\r\n", "invalid multibulk length");
    REFUSED("*1\r\nPING\r\n", "expected '$', got 'P'");
    REFUSED("*1\r\n\r\n", "expected '$', got ' '");
    REFUSED("*1\r\n:1\r\n", "expected '$', got ':'");
    REFUSED("*1\r\n$\r\n", "invalid bulk length");
    REFUSED("*1\r\n$-1\r\n", "invalid bulk length");
    REFUSED("*1\r\n$x\r\n", "invalid bulk length");
    REFUSED("*1\r\n$1048577\r\n", "invalid bulk length");
    REFUSED("*1\r\n$9223372036854775807\r\n", "invalid bulk length");
    REFUSED("*1\r\n$18446744073709551617\r\n", "invalid bulk length");
    REFUSED("get \"k\r\n", "unbalanced quotes in request");
    REFUSED("get \"k\"x\r\n", "unbalanced quotes in request");
    REFUSED("get 'k\r\n", "unbalanced quotes in request");
    REFUSED("get 'k'x\r\n", "unbalanced quotes in request");
    REFUSED("get \"k\\\r\n", "unbalanced quotes in request");
}
END_TEST

/* A line of size bytes, without an end, that begins with some text. */
static void check_line(const char *begin, size_t size, const char *expected) {
    char *text = malloc(size);
    memset(text, '1', size);
    memcpy(text, begin, strlen(begin));
    check_error(text, size, expected);
    free(text);
}

START_TEST(lines_without_an_end_are_refused) {
    size_t size = PARSER_LINE_MAX + 16;
    check_line("get", size, "ERR Protocol error: too big inline request");
    check_line("*", size, "ERR Protocol error: too big mbulk count string");
    check_line("*1\r\n$", size, "ERR Protocol error: too big bulk count string");
}
END_TEST

START_TEST(lines_with_a_zero_byte_never_end) {
    static const char *const lines[] = {"PING", "*1", "*1\r\n$1"};
    for (size_t i = 0; i < 3; i++) {
        char text[64] = "";
        size_t size = strlen(lines[i]);
        parser self = parser_new();
        memcpy(text, lines[i], size);
        memcpy(text + size + 1, "\r\nPING\r\n", 8);
        ck_assert_int_eq(step(&self, text, size + 9), PARSER_MORE);
        ck_assert_int_eq(step(&self, text, sizeof(text)), PARSER_MORE);
        parser_fini(&self);
    }
    check_line("PING\0\r\n", PARSER_LINE_MAX + 16, "ERR Protocol error: too big inline request");
}
END_TEST

START_TEST(a_line_may_be_as_long_as_is_allowed) {
    char *text = malloc(PARSER_LINE_MAX + 1);
    parser self = parser_new();
    memset(text, 'x', PARSER_LINE_MAX);
    text[PARSER_LINE_MAX] = '\n';
    ck_assert_int_eq(step(&self, text, PARSER_LINE_MAX), PARSER_MORE);
    ck_assert_int_eq(step(&self, text, PARSER_LINE_MAX + 1), PARSER_REQUEST);
    ck_assert_uint_eq(self.args[0].size, PARSER_LINE_MAX);
    parser_fini(&self);
    free(text);
}
END_TEST

START_TEST(all_requests_together_have_a_limit) {
    parser self = parser_new();
    size_t size = 0;
    char *text = malloc(REQUEST_MAX + 100);
    size += (size_t)sprintf(text, "*20\r\n");
    enum parser_result result = PARSER_MORE;
    for (int i = 0; i < 20 && result == PARSER_MORE; i++) {
        size += (size_t)sprintf(text + size, "$%d\r\n", BULK_MAX);
        result = step(&self, text, size);
        if (result == PARSER_MORE) {
            memset(text + size, 'x', BULK_MAX + 2);
            size += BULK_MAX + 2;
            result = step(&self, text, size);
        }
    }
    ck_assert_int_eq(result, PARSER_ERROR);
    ck_assert_str_eq(self.error, "ERR Protocol error: too big request");
    ck_assert_uint_eq(size < REQUEST_MAX, true);
    parser_fini(&self);
    free(text);
}
END_TEST

START_TEST(what_is_announced_costs_nothing) {
    parser self = parser_new();
    const char text[] = "*1048576\r\n$1048576\r\n";
    largest = 0;
    ck_assert_int_eq(step(&self, text, sizeof(text) - 1), PARSER_MORE);
    ck_assert_uint_eq(largest, 0);
    parser_fini(&self);
}
END_TEST

START_TEST(the_most_arguments_are_read_and_their_memory_goes_back) {
    const size_t size = 10 + PARSER_ARGS_MAX * (size_t)7;
    char *text = malloc(size);
    size_t at = (size_t)sprintf(text, "*%d\r\n", PARSER_ARGS_MAX);
    for (uint32_t i = 0; i < PARSER_ARGS_MAX; i++) {
        memcpy(text + at, "$1\r\nx\r\n", 7);
        at += 7;
    }
    parser self = parser_new();
    for (size_t i = 1000; i < at; i += 100000) {
        ck_assert_int_eq(step(&self, text, i), PARSER_MORE);
    }
    ck_assert_int_eq(step(&self, text, at), PARSER_REQUEST);
    ck_assert_uint_eq(self.count, PARSER_ARGS_MAX);
    ck_assert_uint_eq(self.used, at);
    parser_next(&self);
    ck_assert_ptr_null(self.args);
    parser_fini(&self);
    free(text);
}
END_TEST

START_TEST(requests_one_behind_the_other_use_one_array) {
    const char text[] =
        "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\r\n*1\r\n$4\r\nQUIT\r\n";
    const char *expected[] = {"[PING]", "[GET][k]", "", "[QUIT]"};
    parser self = parser_new();
    size_t at = 0;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(step(&self, text + at, sizeof(text) - 1 - at), PARSER_REQUEST);
        ck_assert_str_eq(show(&self), expected[i]);
        at += self.used;
        parser_next(&self);
        if (i == 0) {
            allocations = 0;
        }
    }
    ck_assert_uint_eq(at, sizeof(text) - 1);
    ck_assert_uint_eq(allocations, 1); /* the words of the inline one */
    ck_assert_int_eq(step(&self, text + at, 0), PARSER_MORE);
    parser_fini(&self);
}
END_TEST

START_TEST(without_memory_a_request_is_refused) {
    parser self = parser_new();
    no_memory = true;
    ck_assert_int_eq(step(&self, "*1\r\n$1\r\nx\r\n", 11), PARSER_ERROR);
    ck_assert_str_eq(self.error, "ERR Protocol error: out of memory");
    parser_next(&self);
    ck_assert_int_eq(step(&self, "PING\r\n", 6), PARSER_ERROR);
    no_memory = false;
    parser_next(&self);
    ck_assert_int_eq(step(&self, "PING\r\n", 6), PARSER_REQUEST);
    parser_fini(&self);
}
END_TEST

/* Work that grows with the square of the size would take minutes here. */
START_TEST(a_long_request_byte_by_byte_is_read_once) {
    enum { ARGS = 200000 };
    char *text = malloc(16 + (size_t)ARGS * 7);
    size_t at = (size_t)sprintf(text, "*%d\r\n", ARGS);
    for (uint32_t i = 0; i < ARGS; i++) {
        memcpy(text + at, "$1\r\nx\r\n", 7);
        at += 7;
    }
    parser self = parser_new();
    for (size_t i = 1; i < at; i++) {
        ck_assert_int_eq(step(&self, text, i), PARSER_MORE);
    }
    ck_assert_int_eq(step(&self, text, at), PARSER_REQUEST);
    parser_fini(&self);
    free(text);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("resp_parser");
    TCase *tcase = tcase_create("resp_parser");
    tcase_add_test(tcase, arrays_are_read_in_any_pieces);
    tcase_add_test(tcase, inline_commands_are_words_and_quotes);
    tcase_add_test(tcase, what_is_wrong_is_said_as_redis_does);
    tcase_add_test(tcase, lines_without_an_end_are_refused);
    tcase_add_test(tcase, lines_with_a_zero_byte_never_end);
    tcase_add_test(tcase, a_line_may_be_as_long_as_is_allowed);
    tcase_add_test(tcase, all_requests_together_have_a_limit);
    tcase_add_test(tcase, what_is_announced_costs_nothing);
    tcase_add_test(tcase, the_most_arguments_are_read_and_their_memory_goes_back);
    tcase_add_test(tcase, requests_one_behind_the_other_use_one_array);
    tcase_add_test(tcase, without_memory_a_request_is_refused);
    tcase_add_test(tcase, a_long_request_byte_by_byte_is_read_once);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
