/* SPDX-License-Identifier: MIT
 *
 * Addresses as text: what is read, what is refused, that writing gives one canonical form which
 * reads back equal, that a cut is a cut, and that no bytes of a caller lead outside the struct.
 */
#define _GNU_SOURCE 1
#include "core/prng.h"
#include "tests/unit/support.h"

#include <weft/address.h>

struct form {
    const char *text;
    const char *canonical; /* NULL: text is */
    uint16_t family;
    uint16_t port;
    uint32_t scope;
};

static const struct form forms[] = {
    {"127.0.0.1:80", NULL, WEFT_FAMILY_IPV4, 80, 0},
    {"0.0.0.0:0", NULL, WEFT_FAMILY_IPV4, 0, 0},
    {"255.255.255.255:65535", NULL, WEFT_FAMILY_IPV4, 65535, 0},
    {"[::1]:80", NULL, WEFT_FAMILY_IPV6, 80, 0},
    {"[::]:8080", NULL, WEFT_FAMILY_IPV6, 8080, 0},
    {"*:8080", "[::]:8080", WEFT_FAMILY_IPV6, 8080, 0},
    {"[fe80::1%3]:80", NULL, WEFT_FAMILY_IPV6, 80, 3},
    {"[fe80::1%4294967295]:1", NULL, WEFT_FAMILY_IPV6, 1, UINT32_MAX},
    {"[fe80::1%0]:1", "[fe80::1]:1", WEFT_FAMILY_IPV6, 1, 0},
    {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443", WEFT_FAMILY_IPV6, 443, 0},
    {"[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535", NULL, WEFT_FAMILY_IPV6, 65535,
     UINT32_MAX},
    {"[::ffff:1.2.3.4]:5", NULL, WEFT_FAMILY_IPV6, 5, 0},
    {"unix:/run/weft.sock", NULL, WEFT_FAMILY_UNIX, 0, 0},
    {"unix:relative", NULL, WEFT_FAMILY_UNIX, 0, 0},
    {"unix:@name", NULL, WEFT_FAMILY_UNIX, 0, 0},
    {"unix:/with:colon:80", NULL, WEFT_FAMILY_UNIX, 0, 0},
    {"unix:/@", NULL, WEFT_FAMILY_UNIX, 0, 0},
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static weft_address parse(const char *text) {
    weft_address address;
    memset(&address, 0xa5, sizeof(address));
    ck_assert_int_eq(weft_address_parse(text, &address), 0);
    return address;
}

START_TEST(every_form_is_read_and_written_in_its_canonical_form) {
    const struct form *form = &forms[_i];
    const char *canonical = form->canonical == NULL ? form->text : form->canonical;
    weft_address address = parse(form->text);
    ck_assert_uint_eq(address.family, form->family);
    ck_assert_uint_eq(address.port, form->port);
    ck_assert_uint_eq(address.scope, form->scope);
    char text[WEFT_ADDRESS_TEXT_BYTES];
    ck_assert_int_eq(weft_address_format(&address, text, sizeof(text)), (int)strlen(canonical));
    ck_assert_str_eq(text, canonical);
    weft_address again = parse(text);
    ck_assert(weft_address_equal(&address, &again));
    ck_assert_mem_eq(&address, &again, sizeof(address)); /* what is not used is zero */
}
END_TEST

START_TEST(bytes_are_in_network_order) {
    weft_address address = parse("1.2.3.4:258");
    static const unsigned char ipv4[] = {1, 2, 3, 4};
    ck_assert_mem_eq(address.u.ip, ipv4, sizeof(ipv4));
    ck_assert_uint_eq(address.port, 258);
    address = parse("[102:304::f10]:1");
    static const unsigned char ipv6[16] = {1, 2, 3, 4, [14] = 15, [15] = 16};
    ck_assert_mem_eq(address.u.ip, ipv6, sizeof(ipv6));
}
END_TEST

static const char *const wrong[] = {
    "",
    ":",
    ":80",
    "80",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:99999999999999999999999",
    "127.0.0.1:-1",
    "127.0.0.1:+1",
    "127.0.0.1: 80",
    "127.0.0.1:80 ",
    " 127.0.0.1:80",
    "127.0.0.1:0x50",
    "127.0.0.1:080",
    "127.0.0.01:80",
    "127.0.0.256:80",
    "127.0.1:80",
    "127.0.0.1.1:80",
    "2130706433:80",
    "localhost:80",
    "*",
    "**:80",
    "::1:80",
    "[::1]",
    "[::1]80",
    "[::1:80",
    "::1]:80",
    "[]:80",
    "[:::]:80",
    "[127.0.0.1]:80",
    "[::1]]:80",
    "[[::1]]:80",
    "[::g]:80",
    "[fe80::1%]:80",
    "[fe80::1%eth0]:80",
    "[fe80::1%03]:80",
    "[fe80::1%4294967296]:80",
    "[fe80::1%3%3]:80",
    "[1:2:3:4:5:6:7:8:9]:80",
    "127.0.0.1%3:80",
    "unix:",
    "unix:@",
    "unix",
    "UNIX:/x",
};
enum { WRONG = sizeof(wrong) / sizeof(wrong[0]) };

START_TEST(anything_else_is_refused_and_leaves_the_result_alone) {
    weft_address address;
    weft_address before;
    memset(&address, 0xa5, sizeof(address));
    memset(&before, 0xa5, sizeof(before));
    ck_assert_msg(weft_address_parse(wrong[_i], &address) == -EINVAL, "%s", wrong[_i]);
    ck_assert_mem_eq(&address, &before, sizeof(address));
}
END_TEST

START_TEST(null_is_refused) {
    weft_address address = parse("1.2.3.4:5");
    char text[8];
    ck_assert_int_eq(weft_address_parse(NULL, &address), -EINVAL);
    ck_assert_int_eq(weft_address_parse("1.2.3.4:5", NULL), -EINVAL);
    ck_assert_int_eq(weft_address_format(NULL, text, sizeof(text)), -EINVAL);
    ck_assert_int_eq(weft_address_format(&address, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_address_format(&address, NULL, 0), 9);
    ck_assert(!weft_address_equal(NULL, &address));
    ck_assert(!weft_address_equal(&address, NULL));
}
END_TEST

/* "unix:" and a name of length bytes. */
static const char *long_name(char first, size_t length) {
    static char text[200];
    memcpy(text, "unix:", 5);
    memset(text + 5, 'x', length);
    text[5] = first;
    text[5 + length] = '\0';
    return text;
}

START_TEST(unix_names_are_as_long_as_the_kernel_takes) {
    weft_address address = parse(long_name('/', 107));
    ck_assert_uint_eq(address.path_length, 107);
    ck_assert_int_eq(address.u.path[107], 0);
    address = parse(long_name('@', 108));
    ck_assert_uint_eq(address.path_length, 108);
    ck_assert_int_eq(address.u.path[0], 0);
    ck_assert_int_eq(address.u.path[107], 'x');
    char text[WEFT_ADDRESS_TEXT_BYTES];
    ck_assert_int_eq(weft_address_format(&address, text, sizeof(text)), 113);
    ck_assert_str_eq(text, long_name('@', 108));
    ck_assert_int_eq(weft_address_parse(long_name('/', 108), &address), -EINVAL);
    ck_assert_int_eq(weft_address_parse(long_name('@', 109), &address), -EINVAL);
    ck_assert_int_eq(weft_address_parse(long_name('/', 190), &address), -EINVAL);
}
END_TEST

START_TEST(a_cut_text_is_terminated_and_says_how_long_it_would_be) {
    weft_address address = parse(forms[_i].text);
    char whole[WEFT_ADDRESS_TEXT_BYTES];
    int length = weft_address_format(&address, whole, sizeof(whole));
    for (int size = 0; size <= length + 1; size++) {
        char text[WEFT_ADDRESS_TEXT_BYTES];
        memset(text, '#', sizeof(text));
        ck_assert_int_eq(weft_address_format(&address, text, (size_t)size), length);
        ck_assert_int_eq(text[size], '#');
        if (size > 0) {
            ck_assert_uint_eq(strlen(text), (size_t)size - 1);
            ck_assert_mem_eq(text, whole, (size_t)size - 1);
        }
    }
}
END_TEST

START_TEST(different_endpoints_are_not_equal) {
    static const char *const texts[] = {
        "1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5", "[::1]:5", "[::1]:6",       "[::1%1]:5",
        "[::2]:5",   "unix:a",    "unix:ab",   "unix:@a", "[::102:304]:5", "unix:/a/b",
    };
    enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };
    for (uint32_t i = 0; i < TEXTS; i++) {
        for (uint32_t k = 0; k < TEXTS; k++) {
            weft_address left = parse(texts[i]);
            weft_address right = parse(texts[k]);
            ck_assert(weft_address_equal(&left, &right) == (i == k));
        }
    }
}
END_TEST

START_TEST(equality_ignores_what_the_family_does_not_use) {
    weft_address left = parse("1.2.3.4:5");
    weft_address right = left;
    right.scope = 7;
    right.path_length = 9;
    right.u.ip[4] = 1;
    ck_assert(weft_address_equal(&left, &right));
    left = parse("[::1]:5");
    right = left;
    right.path_length = 9;
    right.u.path[16] = 1;
    ck_assert(weft_address_equal(&left, &right));
    left = parse("unix:/a");
    right = left;
    right.port = 5;
    right.scope = 5;
    right.u.path[2] = 'x'; /* behind path_length */
    ck_assert(weft_address_equal(&left, &right));
}
END_TEST

START_TEST(lengths_that_lie_stay_inside_the_struct) {
    weft_address *address = malloc(sizeof(*address)); /* a sanitizer sees a step beyond */
    ck_assert_ptr_nonnull(address);
    memset(address, 'y', sizeof(*address));
    address->family = WEFT_FAMILY_UNIX;
    address->path_length = UINT32_MAX;
    char text[WEFT_ADDRESS_TEXT_BYTES];
    ck_assert_int_eq(weft_address_format(address, text, sizeof(text)), 113);
    ck_assert(!weft_address_equal(address, address));
    address->family = 99;
    ck_assert_int_eq(weft_address_format(address, text, sizeof(text)), 4);
    ck_assert_str_eq(text, "none");
    free(address);
}
END_TEST

/* Changes a few bytes of a good form: what is still read must survive writing and reading. */
START_TEST(what_is_read_is_always_written_so_that_it_reads_equal) {
    struct weft__prng prng;
    weft__prng_init(&prng, 1, 0);
    static const char alphabet[] = "0123456789abcdf:.[]%*@/unix\x80\x01";
    uint32_t read_count = 0;
    for (uint32_t round = 0; round < 200000; round++) {
        char text[WEFT_ADDRESS_TEXT_BYTES] = {0};
        const char *form = forms[weft__prng_below(&prng, FORMS)].text;
        size_t length = strlen(form);
        memcpy(text, form, length);
        for (uint32_t changes = 1 + weft__prng_below(&prng, 3); changes > 0; changes--) {
            text[weft__prng_below(&prng, (uint32_t)length + 1)] =
                alphabet[weft__prng_below(&prng, sizeof(alphabet) - 1)];
        }
        weft_address address;
        if (weft_address_parse(text, &address) != 0) {
            continue;
        }
        read_count++;
        char written[WEFT_ADDRESS_TEXT_BYTES];
        int size = weft_address_format(&address, written, sizeof(written));
        ck_assert_int_eq(size, (int)strlen(written));
        weft_address again = parse(written);
        ck_assert(weft_address_equal(&address, &again));
        ck_assert_mem_eq(&address, &again, sizeof(again));
    }
    ck_assert_uint_gt(read_count, 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("address");
    TCase *tcase = tcase_create("address");
    tcase_add_loop_test(tcase, every_form_is_read_and_written_in_its_canonical_form, 0, FORMS);
    tcase_add_test(tcase, bytes_are_in_network_order);
    tcase_add_loop_test(tcase, anything_else_is_refused_and_leaves_the_result_alone, 0, WRONG);
    tcase_add_test(tcase, null_is_refused);
    tcase_add_test(tcase, unix_names_are_as_long_as_the_kernel_takes);
    tcase_add_loop_test(tcase, a_cut_text_is_terminated_and_says_how_long_it_would_be, 0, FORMS);
    tcase_add_test(tcase, different_endpoints_are_not_equal);
    tcase_add_test(tcase, equality_ignores_what_the_family_does_not_use);
    tcase_add_test(tcase, lengths_that_lie_stay_inside_the_struct);
    tcase_add_test(tcase, what_is_read_is_always_written_so_that_it_reads_equal);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
