/* SPDX-License-Identifier: MIT
 *
 * The checks of a TLS peer's bytes: which record headers pass, in any split, and which protocols
 * of a ClientHello are found.
 */
#define _GNU_SOURCE 1

#include "io/record_guard.h"

#include "tests/unit/support.h"

/* A stream of one header and as many zeroes as it says. */
static enum weft__record_fault check_one(uint32_t type, uint32_t version, uint32_t length) {
    static uint8_t stream[5 + 65535];
    struct weft__record_guard guard;
    stream[0] = (uint8_t)type;
    stream[1] = (uint8_t)(version >> 8);
    stream[2] = (uint8_t)version;
    stream[3] = (uint8_t)(length >> 8);
    stream[4] = (uint8_t)length;
    weft__record_guard_init(&guard);
    return weft__record_guard_check(&guard, stream, 5 + length);
}

START_TEST(lengths_that_cannot_be_are_refused) {
    static const struct {
        uint32_t type;
        uint32_t low;
        uint32_t high;
    } rules[] = {{20, 1, 1}, {21, 2, 2}, {22, 1, 16384}, {23, 17, 16640}};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        for (uint32_t length = 0; length <= 65535; length++) {
            bool good = length >= rules[i].low && length <= rules[i].high;
            if (length > 64 && length < 16000) {
                length += 97; /* the edges are what matters */
                good = length >= rules[i].low && length <= rules[i].high;
            }
            ck_assert_int_eq(check_one(rules[i].type, 0x0303, length),
                             good ? WEFT__RECORD_GOOD : WEFT__RECORD_LENGTH);
        }
    }
}
END_TEST

START_TEST(types_and_versions_of_other_protocols_are_refused) {
    for (uint32_t type = 0; type < 256; type++) {
        bool good = type >= 20 && type <= 23;
        enum weft__record_fault fault = check_one(type, 0x0303, type == 20 ? 1 : 2);
        ck_assert_int_eq(fault == WEFT__RECORD_TYPE, !good);
    }
    for (uint32_t version = 0; version < 65536; version += 1) {
        bool good = version == 0x0301 || version == 0x0303;
        ck_assert_int_eq(check_one(22, version, 4),
                         good ? WEFT__RECORD_GOOD : WEFT__RECORD_VERSION);
    }
    struct weft__record_guard guard;
    weft__record_guard_init(&guard);
    ck_assert_int_eq(weft__record_guard_check(&guard, "GET / HTTP/1.1\r\n", 16), WEFT__RECORD_TYPE);
}
END_TEST

/* handshake, change of cipher, application data, and then one more */
static size_t put_stream(uint8_t *stream, uint8_t last_type, uint8_t last_length) {
    static const uint8_t begin[] = {22, 3, 1, 0, 3, 1, 2, 3, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 17};
    size_t size = sizeof(begin);
    memcpy(stream, begin, size);
    memset(stream + size, 0xff, 17);
    size += 17;
    const uint8_t header[] = {last_type, 3, 3, 0, last_length};
    memcpy(stream + size, header, 5);
    memset(stream + size + 5, 0, last_length);
    return size + 5 + last_length;
}

START_TEST(plain_records_after_encrypted_ones_are_refused_in_every_split) {
    static const struct {
        uint8_t type;
        uint8_t length;
        enum weft__record_fault fault;
    } cases[] = {{23, 17, WEFT__RECORD_GOOD},   {20, 1, WEFT__RECORD_GOOD},
                 {21, 2, WEFT__RECORD_ORDER},   {22, 4, WEFT__RECORD_ORDER},
                 {23, 16, WEFT__RECORD_LENGTH}, {24, 17, WEFT__RECORD_TYPE}};
    uint8_t stream[128];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = put_stream(stream, cases[i].type, cases[i].length);
        for (size_t step = 1; step <= size; step++) {
            struct weft__record_guard guard;
            enum weft__record_fault fault = WEFT__RECORD_GOOD;
            weft__record_guard_init(&guard);
            for (size_t at = 0; at < size; at += step) {
                fault = weft__record_guard_check(&guard, stream + at,
                                                 size - at < step ? size - at : step);
            }
            ck_assert_int_eq(fault, cases[i].fault);
        }
    }
}
END_TEST

START_TEST(a_fault_stays) {
    static const uint8_t bad[] = {23, 3, 3, 0, 16};
    static const uint8_t good[] = {22, 3, 3, 0, 1, 0};
    struct weft__record_guard guard;
    weft__record_guard_init(&guard);
    ck_assert_int_eq(weft__record_guard_check(&guard, bad, sizeof(bad)), WEFT__RECORD_LENGTH);
    ck_assert_int_eq(weft__record_guard_check(&guard, good, sizeof(good)), WEFT__RECORD_LENGTH);
    ck_assert_int_eq(weft__record_guard_check(&guard, good, 0), WEFT__RECORD_LENGTH);
}
END_TEST

START_TEST(every_fault_has_a_text) {
    for (int fault = WEFT__RECORD_GOOD; fault <= WEFT__RECORD_ORDER; fault++) {
        ck_assert_uint_gt(strlen(weft__record_fault_text((enum weft__record_fault)fault)), 8);
    }
}
END_TEST

/* ---- ClientHello --------------------------------------------------------------------------- */

enum { HELLO_BYTES = 256 };

/* A ClientHello with these bytes as extensions. */
static size_t put_hello(uint8_t *record, const uint8_t *extensions, size_t extensions_size) {
    size_t body = 34 + 1 + 2 + 2 + 2 + 2 + extensions_size;
    memset(record, 0, HELLO_BYTES);
    record[0] = 22;
    record[1] = 3;
    record[2] = 1;
    record[4] = (uint8_t)(body + 4);
    record[5] = 1;
    record[8] = (uint8_t)body;
    uint8_t *at = record + 9 + 34 + 1; /* version, random, no session */
    at[1] = 2;                         /* one suite */
    at += 4;
    at[0] = 1; /* one compression */
    at += 2;
    at[1] = (uint8_t)extensions_size;
    memcpy(at + 2, extensions, extensions_size);
    return body + 9;
}

static const uint8_t offers[] = {0, 0,   0,   2, 7,   7,   0,   16,  0,   14,  0,   12,
                                 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

START_TEST(the_protocols_of_a_hello_are_found) {
    uint8_t record[HELLO_BYTES];
    struct weft__hello_protocols found = {NULL, 0};
    size_t size = put_hello(record, offers, sizeof(offers));
    ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_OFFERS);
    ck_assert_uint_eq(found.size, 12);
    ck_assert_mem_eq(found.names, "\2h2\10http/1.1", 12);
    size = put_hello(record, offers, 6);
    ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_NONE);
    size = put_hello(record, offers, 0);
    ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_NONE);
}
END_TEST

START_TEST(a_hello_that_is_cut_anywhere_is_not_read) {
    uint8_t record[HELLO_BYTES];
    size_t size = put_hello(record, offers, sizeof(offers));
    for (size_t cut = 0; cut < size; cut++) {
        struct weft__hello_protocols found = {NULL, 0};
        uint8_t *copy = malloc(cut > 0 ? cut : 1); /* of its size, for the sanitizers */
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, record, cut);
        ck_assert_int_eq(weft__hello_find(copy, cut, &found), WEFT__HELLO_OTHER);
        ck_assert_ptr_null(found.names);
        free(copy);
    }
}
END_TEST

START_TEST(a_hello_with_wrong_lengths_is_not_read) {
    uint8_t record[HELLO_BYTES];
    uint8_t wrong[sizeof(offers)];
    struct weft__hello_protocols found = {NULL, 0};
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{3, 200}, {9, 13}, {9, 15}, {11, 11}, {11, 13}, {12, 0}, {12, 3}, {15, 9}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(wrong, offers, sizeof(offers));
        wrong[cases[i].at] = cases[i].value;
        size_t size = put_hello(record, wrong, sizeof(wrong));
        ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_OTHER);
    }
    size_t size = put_hello(record, offers, sizeof(offers));
    record[0] = 23;
    ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_OTHER);
    record[0] = 22;
    record[5] = 2;
    ck_assert_int_eq(weft__hello_find(record, size, &found), WEFT__HELLO_OTHER);
    ck_assert_ptr_null(found.names);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("record_guard");
    TCase *headers = tcase_create("headers");
    tcase_add_test(headers, lengths_that_cannot_be_are_refused);
    tcase_add_test(headers, types_and_versions_of_other_protocols_are_refused);
    tcase_add_test(headers, plain_records_after_encrypted_ones_are_refused_in_every_split);
    tcase_add_test(headers, a_fault_stays);
    tcase_add_test(headers, every_fault_has_a_text);
    suite_add_tcase(suite, headers);
    TCase *hello = tcase_create("hello");
    tcase_add_test(hello, the_protocols_of_a_hello_are_found);
    tcase_add_test(hello, a_hello_that_is_cut_anywhere_is_not_read);
    tcase_add_test(hello, a_hello_with_wrong_lengths_is_not_read);
    suite_add_tcase(suite, hello);
    return run_suite(suite);
}
