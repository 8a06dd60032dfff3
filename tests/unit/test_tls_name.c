/* SPDX-License-Identifier: MIT
 *
 * Names in certificates: which host is taken for which names, and that certificates which are cut,
 * changed or no DER are refused without reading past them. And that the log says which TLS library
 * is linked, also when there is none.
 */
#define _GNU_SOURCE 1

#include "io/tls_name.h"

#include "tests/unit/support.h"
#include <weft/tls.h>

enum { TAG_DNS = 0x82, TAG_MAIL = 0x81, TAG_ADDRESS = 0x87, BYTES_MAX = 1024 };

/* Bytes that grow. */
struct bytes {
    uint8_t at[BYTES_MAX];
    size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t size) {
    ck_assert_uint_le(bytes->size + size, sizeof(bytes->at));
    memcpy(bytes->at + bytes->size, data, size);
    bytes->size += size;
}

/* An element, its length in DER's way. */
static void put_element(struct bytes *bytes, uint8_t tag, const void *data, size_t size) {
    const uint8_t header[] = {tag, 0x82, (uint8_t)(size >> 8), (uint8_t)size};
    const uint8_t middle[] = {tag, 0x81, (uint8_t)size};
    const uint8_t small[] = {tag, (uint8_t)size};
    if (size < 128) {
        put(bytes, small, sizeof(small));
    } else if (size < 256) {
        put(bytes, middle, sizeof(middle));
    } else {
        put(bytes, header, sizeof(header));
    }
    put(bytes, data, size);
}

static void put_inside(struct bytes *bytes, uint8_t tag, const struct bytes *inside) {
    put_element(bytes, tag, inside->at, inside->size);
}

/* Whether names has the host; read from a block of exactly its size, for the sanitizer. */
static bool fits(const struct bytes *names, const char *host) {
    uint8_t *block = malloc(names->size + 1); /* malloc(0) may be NULL */
    ck_assert_ptr_nonnull(block);
    uint8_t *at = block + 1;
    memcpy(at, names->at, names->size);
    bool result = weft__tls_name_fits((struct weft__tls_span){at, names->size}, host);
    free(block);
    return result;
}

/* ---- one name ------------------------------------------------------------------------------ */

static const struct {
    const char *presented; /* a dNSName */
    const char *host;
    bool fits;
} pairs[] = {
    {"db.example", "db.example", true},
    {"DB.exAMPLE", "db.Example", true},
    {"localhost", "localhost", true},
    {"xn--bcher-kva.example", "XN--BCHER-KVA.example", true},
    {"a_b.example", "a_b.example", true},
    {"4you.example", "4you.example", true},
    {"host.3com", "host.3com", true},
    {"db.example", "db.example.org", false},
    {"db.example.org", "db.example", false},
    {"b.example", "db.example", false},
    /* a wildcard is one whole label, the first, with two behind it */
    {"*.wild.example", "a.wild.example", true},
    {"*.Wild.example", "A.wILD.example", true},
    {"*.wild.example", "xn--a.wild.example", true},
    {"*.wild.example", "wild.example", false},
    {"*.wild.example", ".wild.example", false},
    {"*.wild.example", "a.b.wild.example", false},
    {"*.wild.example", "*.wild.example", false},
    {"*.example", "db.example", false},
    {"*.", "db", false},
    {"*", "localhost", false},
    {"*", "*", false},
    {"*", "db.example", false},
    {"l*", "localhost", false},
    {"*t", "localhost", false},
    {"d*.wild.example", "db.wild.example", false},
    {"*b.wild.example", "db.wild.example", false},
    {"d*b.wild.example", "db.wild.example", false},
    {"**.wild.example", "db.wild.example", false},
    {"*.*.test", "a.b.test", false},
    {"a.*.test", "a.b.test", false},
    {"*.*", "a.b", false},
    {"*..test", "a..test", false},
    {"*.wild.example.", "a.wild.example", false},
    /* addresses have no names */
    {"127.0.0.1", "127.0.0.1", false},
    {"*.0.0.1", "127.0.0.1", false},
    {"::1", "::1", false},
    {"127.1", "127.1", false},
    {"*.0.1", "127.0.1", false},
    {"127.0.0.01", "127.0.0.01", false},
    {"0x7f000001", "0x7f000001", false},
    {"a.0X7f", "a.0X7f", false},
    {"2130706433", "2130706433", false},
    /* what is no name matches nothing, itself neither */
    {"", "", false},
    {"", "db.example", false},
    {".", ".", false},
    {"db.example.", "db.example", false},
    {"db.example", "db.example.", false},
    {"db.example.", "db.example.", false},
    {".db.example", ".db.example", false},
    {"db..example", "db..example", false},
    {"db example", "db example", false},
    {"db/example", "db/example", false},
    {"b\xc3\xbc.example", "b\xc3\xbc.example", false},
    {"k.example", "\xe2\x84\xaa.example", false}, /* KELVIN SIGN, a k where case is Unicode's */
};
enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]) };

START_TEST(a_host_is_taken_for_its_name_only) {
    for (uint32_t i = 0; i < PAIRS; i++) {
        struct bytes names = {0};
        put_element(&names, TAG_DNS, pairs[i].presented, strlen(pairs[i].presented));
        ck_assert_msg(fits(&names, pairs[i].host) == pairs[i].fits, "%s for %s", pairs[i].host,
                      pairs[i].presented);
        names.at[0] = TAG_MAIL; /* the same in a name of another kind */
        ck_assert(!fits(&names, pairs[i].host));
        names.at[0] = TAG_ADDRESS;
        ck_assert(!fits(&names, pairs[i].host));
    }
}
END_TEST

START_TEST(a_zero_ends_no_name) {
    static const char *const hosts[] = {"db.example", "evil.test", "db.example.evil.test"};
    struct bytes names = {0};
    put_element(&names, TAG_DNS, "db.example\0.evil.test", 21);
    put_element(&names, TAG_DNS, "db.example\0", 11);
    put_element(&names, TAG_DNS, "\0db.example", 11);
    put_element(&names, TAG_DNS, "*.test\0.example", 15);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(!fits(&names, hosts[i]));
    }
    put_element(&names, TAG_DNS, "db.example", 10);
    ck_assert(fits(&names, "db.example"));
}
END_TEST

START_TEST(an_address_is_compared_byte_by_byte) {
    static const uint8_t v4[] = {127, 0, 0, 1};
    static const uint8_t v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
    static const char *const none[] = {
        "127.0.0.2",  "128.0.0.1",     "::7f00:1", "2001:db8::2", "::", "2001:db8::1%eth0",
        "127.0.0.1.", "[2001:db8::1]", ""};
    struct bytes names = {0};
    put_element(&names, TAG_ADDRESS, v4, 4);
    ck_assert(fits(&names, "127.0.0.1"));
    ck_assert(!fits(&names, "::ffff:127.0.0.1"));
    put_element(&names, TAG_ADDRESS, v6, 16);
    ck_assert(fits(&names, "2001:db8::1"));
    ck_assert(fits(&names, "2001:DB8:0:0::0:1"));
    for (uint32_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        ck_assert_msg(!fits(&names, none[i]), "%s", none[i]);
    }
    put_element(&names, TAG_ADDRESS, mapped, 16);
    ck_assert(fits(&names, "::ffff:127.0.0.1"));
    struct bytes wrong = {0};
    put_element(&wrong, TAG_ADDRESS, v4, 0);
    put_element(&wrong, TAG_ADDRESS, v4, 3);
    put_element(&wrong, TAG_ADDRESS, "\x7f\0\0\1\xff\xff\xff\xff",
                8); /* with a mask, as CAs have */
    put_element(&wrong, TAG_DNS, v4, 4);
    ck_assert(!fits(&wrong, "127.0.0.1"));
}
END_TEST

START_TEST(long_names_have_bounds) {
    char label[80];
    char host[300];
    memset(label, 'a', sizeof(label));
    for (size_t size = 60; size < 70; size++) {
        struct bytes names = {0};
        snprintf(host, sizeof(host), "%.*s.example", (int)size, label);
        put_element(&names, TAG_DNS, host, strlen(host));
        ck_assert_int_eq(fits(&names, host), size <= 63);
    }
    for (size_t size = 250; size < 260; size++) {
        struct bytes names = {0};
        for (size_t i = 0; i < size; i++) {
            host[i] = i % 50 == 49 ? '.' : 'a';
        }
        host[size] = '\0';
        put_element(&names, TAG_DNS, host, size);
        ck_assert_int_eq(fits(&names, host), size <= 253 && size % 50 != 0);
    }
}
END_TEST

/* Also when the name stands before what is malformed. */
START_TEST(malformed_names_match_nothing) {
    static const struct {
        const char *bytes;
        size_t size;
    } tails[] = {
        {"\x82", 1},
        {"\x82\x05"
         "abcd",
         6},
        {"\x82\x80", 2},
        {"\x82\x81\x01"
         "a",
         4},
        {"\x82\x82\x00\x01"
         "a",
         5},
        {"\x82\x84\x00\x00\x00\x01"
         "a",
         7},
        {"\x82\xff", 2},
        {"\x9f\x01\x00", 3},
        {"\x82\x83\xff\xff\xff", 5},
    };
    for (uint32_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct bytes names = {0};
        put_element(&names, TAG_DNS, "db.example", 10);
        ck_assert(fits(&names, "db.example"));
        put(&names, tails[i].bytes, tails[i].size);
        ck_assert_msg(!fits(&names, "db.example"), "tail %u", i);
    }
    struct bytes none = {0};
    ck_assert(!fits(&none, "db.example"));
    ck_assert(!fits(&none, "127.0.0.1"));
}
END_TEST

/* ---- certificates -------------------------------------------------------------------------- */

/* What a certificate of a test has. */
struct plan {
    uint32_t lists; /* of alternative names */
    bool pss;
    bool bare;          /* no extensions at all */
    bool old;           /* no version field */
    uint8_t critical;   /* its byte, or 0: the field is not there */
    const char *behind; /* a byte after one of the parts, or NULL */
};

static void put_names(struct bytes *list, const struct plan *plan) {
    struct bytes names = {0};
    struct bytes sequence = {0};
    struct bytes extension = {0};
    put_element(&names, TAG_DNS, "db.example", 10);
    put_inside(&sequence, 0x30, &names);
    put_element(&extension, 0x06, "\x55\x1d\x11", 3);
    if (plan->critical != 0) {
        put_element(&extension, 0x01, &plan->critical, 1);
    }
    if (plan->behind != NULL && strcmp(plan->behind, "names") == 0) {
        put(&sequence, "\x05\x00", 2);
    }
    put_inside(&extension, 0x04, &sequence);
    put_inside(list, 0x30, &extension);
}

static void put_extensions(struct bytes *body, const struct plan *plan) {
    struct bytes list = {0};
    struct bytes sequence = {0};
    put_element(&list, 0x30, "\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00", 12); /* no CA */
    for (uint32_t i = 0; i < plan->lists; i++) {
        put_names(&list, plan);
    }
    put_inside(&sequence, 0x30, &list);
    if (plan->behind != NULL && strcmp(plan->behind, "extensions") == 0) {
        put(&sequence, "\x05\x00", 2);
    }
    put_inside(body, 0xa3, &sequence);
    if (plan->behind != NULL && strcmp(plan->behind, "again") == 0) {
        put_inside(body, 0xa3, &sequence);
    }
}

static struct bytes make_certificate(const struct plan *plan) {
    struct bytes body = {0};
    struct bytes key = {0};
    struct bytes signed_body = {0};
    struct bytes certificate = {0};
    if (!plan->old) {
        put_element(&body, 0xa0, "\x02\x01\x02", 3);
    }
    put_element(&body, 0x02, "\x01", 1);
    for (uint32_t i = 0; i < 4; i++) { /* algorithm, issuer, validity, subject */
        put_element(&body, 0x30, "\x05\x00", 2);
    }
    const char *kind = plan->pss ? "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
                                 : "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    put_element(&key, 0x30, kind, 11);
    put_element(&key, 0x03, "\0key", 4);
    put_inside(&body, 0x30, &key);
    if (!plan->bare) {
        put_extensions(&body, plan);
    }
    put_inside(&signed_body, 0x30, &body);
    put_element(&signed_body, 0x30, "\x05\x00", 2);
    put_element(&signed_body, 0x03, "\0signature", 10);
    put_inside(&certificate, 0x30, &signed_body);
    if (plan->behind != NULL && strcmp(plan->behind, "certificate") == 0) {
        put(&certificate, "\0", 1);
    }
    return certificate;
}

/* Finds the parts in a block of exactly that size: 1 and the name is there, 0 and it is not, -1:
 * malformed. */
static int look(const uint8_t *der, size_t size, bool *ret_pss) {
    uint8_t *block = malloc(size + 1);
    struct weft__tls_parts parts;
    ck_assert_ptr_nonnull(block);
    memcpy(block + 1, der, size);
    bool found = weft__tls_parts_find(block + 1, size, &parts);
    int result = -1;
    if (found) {
        result = weft__tls_name_fits(parts.names, "db.example") ? 1 : 0;
        *ret_pss = weft__tls_key_is_pss(parts.key);
    } else {
        ck_assert_uint_eq(parts.names.size, 0);
        ck_assert_uint_eq(parts.key.size, 0);
    }
    free(block);
    return result;
}

START_TEST(the_parts_of_a_certificate_are_found) {
    static const struct {
        struct plan plan;
        int result;
    } cases[] = {
        {{.lists = 1}, 1},
        {{.lists = 1, .pss = true}, 1},
        {{.lists = 1, .old = true}, 1},
        {{.lists = 1, .critical = 0xff}, 1},
        {{.lists = 0}, 0},
        {{.bare = true}, 0},
        {{.lists = 2}, -1},
        {{.lists = 1, .behind = "names"}, -1},
        {{.lists = 1, .behind = "extensions"}, -1},
        {{.lists = 1, .behind = "again"}, -1},
        {{.lists = 0, .behind = "again"}, -1},
        {{.lists = 1, .behind = "certificate"}, -1},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes certificate = make_certificate(&cases[i].plan);
        bool pss = false;
        int result = look(certificate.at, certificate.size, &pss);
        ck_assert_msg(result == cases[i].result, "case %u: %d", i, result);
        ck_assert_int_eq(pss, cases[i].plan.pss);
    }
}
END_TEST

START_TEST(a_certificate_that_is_cut_or_changed_is_no_trap) {
    const struct plan plan = {.lists = 1, .critical = 0xff};
    struct bytes certificate = make_certificate(&plan);
    bool pss;
    for (size_t size = 0; size < certificate.size; size++) {
        ck_assert_int_eq(look(certificate.at, size, &pss), -1);
    }
    for (size_t at = 0; at < certificate.size; at++) {
        uint8_t kept = certificate.at[at];
        for (uint32_t value = 0; value < 256; value++) {
            certificate.at[at] = (uint8_t)value;
            (void)look(certificate.at, certificate.size, &pss); /* it must only not read outside */
        }
        certificate.at[at] = kept;
    }
    ck_assert_int_eq(look(certificate.at, certificate.size, &pss), 1);
}
END_TEST

/* ---- the library --------------------------------------------------------------------------- */

static void hear(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    char *library = cookie;
    (void)level;
    for (uint32_t i = 0; i < event->field_count; i++) {
        if (strcmp(event->name, "runtime.start") == 0 && strcmp(event->fields[i].key, "tls") == 0) {
            snprintf(library, BYTES_MAX, "%s", event->fields[i].text);
        }
    }
}

START_TEST(the_log_says_which_library_is_linked) {
    char library[BYTES_MAX] = "";
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 1, .log = {library, hear}};
    weft_runtime *runtime = NULL;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    ck_assert_str_eq(library, weft_tls_library());
    ck_assert_int_eq(weft_runtime_stop(runtime, UINT64_C(5000000000)), 0);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tls_name");
    TCase *names = tcase_create("names");
    tcase_add_test(names, a_host_is_taken_for_its_name_only);
    tcase_add_test(names, a_zero_ends_no_name);
    tcase_add_test(names, an_address_is_compared_byte_by_byte);
    tcase_add_test(names, long_names_have_bounds);
    tcase_add_test(names, malformed_names_match_nothing);
    suite_add_tcase(suite, names);
    TCase *certificates = tcase_create("certificates");
    tcase_add_test(certificates, the_parts_of_a_certificate_are_found);
    tcase_add_test(certificates, a_certificate_that_is_cut_or_changed_is_no_trap);
    suite_add_tcase(suite, certificates);
    TCase *library = tcase_create("library");
    tcase_add_test(library, the_log_says_which_library_is_linked);
    suite_add_tcase(suite, library);
    return run_suite(suite);
}
