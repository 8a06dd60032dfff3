/* SPDX-License-Identifier: MIT
 *
 * TLS against peers that do not keep to it, and when memory or sending fails: records with wrong
 * headers at every stage, alerts in plain, a key that cannot sign, other protocols and versions, garbage, changed and cut records, endless
 * handshakes, floods of key updates; every allocation of the library failing once.
 */
#define _GNU_SOURCE
#include "tls_pair.h"

/* The library's hook for memory (wolfssl/wolfcrypt/memory.h). */
typedef void *(*malloc_fn)(size_t size);
typedef void (*free_fn)(void *memory);
typedef void *(*realloc_fn)(void *memory, size_t size);
int wolfSSL_SetAllocators(malloc_fn, free_fn, realloc_fn);

struct met {
    struct stage stage;
    weft_tls *client;
    weft_tls *server;
    struct pair pair;
};

/* Configurations only; pairs are the tests'. */
static void met_set(struct met *met, const char *suites) {
    memset(met, 0, sizeof(*met));
    met->stage = stage_set();
    weft_tls_options server = options_of(&met->stage, "server", NULL);
    server.suites = suites;
    server.alpn = "x";
    met->server = tls_of(&met->stage, &server);
    weft_tls_options client = options_of(&met->stage, NULL, "authority");
    met->client = tls_of(&met->stage, &client);
}

static void met_clear(struct met *met) {
    weft_tls_unref(met->client);
    weft_tls_unref(met->server);
    stage_clear(&met->stage);
}

/* ---- records ------------------------------------------------------------------------------- */

static const struct {
    uint8_t type;
    uint8_t minor;
    uint16_t length;
    const char *text;
} records[] = {
    {23, 3, 16, "peer sends a record of an impossible length"}, /* CVE-2024-0901 */
    {23, 3, 0, "peer sends a record of an impossible length"},
    {23, 3, 1, "peer sends a record of an impossible length"},
    {23, 3, 16641, "peer sends a record of an impossible length"},
    {23, 3, 65535, "peer sends a record of an impossible length"},
    {22, 3, 0, "peer sends a record of an impossible length"},
    {22, 3, 16385, "peer sends a record of an impossible length"},
    {21, 3, 3, "peer sends a record of an impossible length"},
    {20, 3, 2, "peer sends a record of an impossible length"},
    {24, 3, 17, "peer sends no TLS records"},
    {0, 3, 17, "peer sends no TLS records"},
    {19, 3, 17, "peer sends no TLS records"},
    {22, 4, 100, "peer sends records of another TLS version"},
    {22, 0, 100, "peer sends records of another TLS version"},
};
enum { RECORDS = sizeof(records) / sizeof(records[0]) };

/* Sends a bare header and 64 KiB of zeroes to a party. */
static void attack(struct party *party, uint32_t which, size_t piece) {
    static uint8_t bytes[5 + 65536];
    struct wire wire = {.bytes = bytes, .size = sizeof(bytes)};
    memset(bytes, 0, sizeof(bytes));
    bytes[0] = records[which].type;
    bytes[1] = 3;
    bytes[2] = records[which].minor;
    bytes[3] = (uint8_t)(records[which].length >> 8);
    bytes[4] = (uint8_t)records[which].length;
    while (wire_left(&wire) > 0 && party->read_result == 0 && party->result >= 0) {
        party_take(party, &wire, piece < wire_left(&wire) ? piece : wire_left(&wire));
    }
    weft_tls_error error = party_error(party);
    ck_assert_int_eq(error.status, WEFT_E_TLS);
    ck_assert_str_eq(error.text, records[which].text);
    unsigned char byte = 0;
    ck_assert_int_eq(weft__tls_feed(party->session, &byte, 1), WEFT_E_TLS);
    ck_assert_int_eq(weft__tls_handshake(party->session), WEFT_E_TLS);
    ck_assert_int_eq(weft__tls_read(party->session, &byte, 1), WEFT_E_TLS);
    ck_assert_int_eq(weft__tls_write(party->session, &byte, 1), WEFT_E_TLS);
    ck_assert_int_eq(weft__tls_end(party->session), WEFT_E_TLS);
    ck_assert_int_eq(weft__tls_rekey(party->session), WEFT_E_TLS);
}

START_TEST(a_wrong_record_header_ends_a_session_at_every_stage) {
    static const size_t sizes[] = {1, 3, 70000};
    struct met met;
    met_set(&met, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        struct pair pair = {0};
        /* instead of a ClientHello, and of a ServerHello */
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        attack(&pair.server, (uint32_t)_i, sizes[i]);
        ck_assert_uint_eq(pair.server.sent.size, 7); /* one plain alert */
        ck_assert_uint_eq(pair.server.sent.bytes[0], 21);
        attack(&pair.client, (uint32_t)_i, sizes[i]);
        pair_close(&pair);
        /* after the server has spoken: with the keys of the handshake */
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        party_take(&pair.server, &pair.client.sent, wire_left(&pair.client.sent));
        attack(&pair.server, (uint32_t)_i, sizes[i]);
        pair_close(&pair);
        /* established */
        pair_meet(&pair, met.client, met.server, "db.example");
        ck_assert_int_eq(pair.server.result, 1);
        attack(&pair.server, (uint32_t)_i, sizes[i]);
        attack(&pair.client, (uint32_t)_i, sizes[i]);
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

/* OpenSSL has no keys for sending yet when it refuses a certificate, and says so in plain, behind a
 * change of cipher. The library would take it for a broken record. */
START_TEST(a_client_that_refuses_in_plain_is_understood) {
    static const struct {
        uint8_t level;
        uint8_t alert;
        const char *text;
    } said[] = {
        {2, 48, "peer refuses: unknown CA"},          {2, 42, "peer refuses: bad certificate"},
        {1, 45, "peer refuses: certificate expired"}, {2, 255, "peer refuses: unknown alert"},
        {1, 0, "peer closed during the handshake"},
    };
    static const size_t splits[] = {1, 3, 5, 6, 100};
    struct met met;
    met_set(&met, NULL);
    for (uint32_t i = 0; i < 5 * 5; i++) {
        uint8_t bytes[] = {20, 3, 3, 0, 1, 1, 21, 3, 3, 0, 2, said[i / 5].level, said[i / 5].alert};
        struct wire wire = {.bytes = bytes, .size = sizeof(bytes)};
        struct pair pair = {.piece = PIECE_WHOLE};
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        party_take(&pair.server, &pair.client.sent, wire_left(&pair.client.sent));
        ck_assert_int_eq(pair.server.result, 0);
        uint32_t emits = pair.server.emits;
        while (wire_left(&wire) > 0) {
            ck_assert_int_eq(pair.server.result, 0);
            size_t left = wire_left(&wire);
            party_take(&pair.server, &wire, splits[i % 5] < left ? splits[i % 5] : left);
        }
        weft_tls_error error = party_error(&pair.server);
        ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
        ck_assert_str_eq(error.text, said[i / 5].text);
        ck_assert_int_eq(error.alert, said[i / 5].alert == 0 ? -1 : said[i / 5].alert);
        ck_assert_int_ne(error.library, 0);
        ck_assert_uint_eq(pair.server.emits, emits); /* who refuses is told nothing */
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

/* Who has keys has to use them. */
START_TEST(a_plain_alert_behind_encrypted_records_is_refused) {
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 48};
    struct met met;
    met_set(&met, NULL);
    struct pair pair = {0};
    pair_meet(&pair, met.client, met.server, "db.example");
    ck_assert_int_eq(pair.server.result, 1);
    wire_put(&pair.client.sent, alert, sizeof(alert));
    wire_put(&pair.server.sent, alert, sizeof(alert));
    pair_run(&pair);
    const char *text = "peer sends a plain record after encrypted ones";
    ck_assert_str_eq(party_error(&pair.server).text, text);
    ck_assert_str_eq(party_error(&pair.client).text, text);
    pair_close(&pair);
    met_clear(&met);
}
END_TEST

/* The library would take it, and sign no handshake with it. */
START_TEST(a_key_for_pss_only_is_refused_when_it_is_loaded) {
    struct stage stage = stage_set();
    weft_tls_options options = options_of(&stage, "pss", NULL);
    weft_tls *tls = NULL;
    weft_tls_error error;
    ck_assert_int_eq(weft_tls_create(stage.rig.runtime, &options, &tls, &error), WEFT_E_TLS);
    ck_assert_ptr_nonnull(strstr(error.text, "RSASSA-PSS"));
    ck_assert_ptr_nonnull(strstr(error.text, "pss.pem"));
    stage_clear(&stage);
}
END_TEST

START_TEST(a_changed_record_does_not_decrypt) {
    static const char *const suites[] = {"AES128", "CHACHA20", "AES256"};
    struct met met;
    met_set(&met, suites[_i]);
    for (uint32_t at = 5; at < 122; at++) {
        struct pair pair = {0};
        unsigned char data[100];
        fill(data, sizeof(data), at);
        pair_meet(&pair, met.client, met.server, "db.example");
        ck_assert_int_eq(weft__tls_write(pair.client.session, data, sizeof(data)), 0);
        ck_assert_uint_eq(wire_left(&pair.client.sent), 122);
        pair.client.sent.bytes[pair.client.sent.used + at] ^= 0x10;
        pair_run(&pair);
        ck_assert_int_eq(pair.server.read_result, WEFT_E_TLS);
        ck_assert_str_eq(party_error(&pair.server).text, "record does not decrypt");
        ck_assert_int_eq(party_error(&pair.server).alert, 20);
        ck_assert_uint_eq(pair.server.got.size, 0);
        ck_assert_int_eq(pair.client.read_result, WEFT_E_TLS);
        ck_assert_str_eq(party_error(&pair.client).text, "peer refuses: bad record MAC");
        ck_assert_int_eq(party_error(&pair.client).alert, 20);
        pair_close(&pair);
        at += at > 10 && at < 110 ? 9 : 0;
    }
    met_clear(&met);
}
END_TEST

START_TEST(a_record_is_accepted_once_and_in_order) {
    struct met met;
    met_set(&met, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair = {0};
        pair_meet(&pair, met.client, met.server, "db.example");
        size_t first = pair.client.sent.size;
        ck_assert_int_eq(weft__tls_write(pair.client.session, "hello", 5), 0);
        size_t size = pair.client.sent.size - first;
        struct wire again = {
            .bytes = pair.client.sent.bytes, .used = first, .size = pair.client.sent.size};
        if (i == 0) {
            pair_run(&pair); /* then once more */
            ck_assert_uint_eq(pair.server.got.size, 5);
            again.bytes = pair.client.sent.bytes;
        } else { /* left out */
            pair.client.sent.used = pair.client.sent.size;
            ck_assert_int_eq(weft__tls_write(pair.client.session, "hello", 5), 0);
            again.bytes = pair.client.sent.bytes;
            again.used = first + size;
            again.size = first + 2 * size;
        }
        party_take(&pair.server, &again, size);
        ck_assert_int_eq(pair.server.read_result, WEFT_E_TLS);
        ck_assert_uint_eq(pair.server.got.size, i == 0 ? 5 : 0);
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

/* ---- other protocols and versions -------------------------------------------------------------- */

/* A ClientHello of OpenSSL with TLS 1.2 as its highest version. */
static const uint8_t hello_12[] = {
    0x16, 0x03, 0x01, 0x00, 0x8a, 0x01, 0x00, 0x00, 0x86, 0x03, 0x03, 0x5a, 0x11, 0x22, 0x33, 0x44,
    0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44,
    0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x00, 0x08, 0xc0, 0x2b,
    0xc0, 0x2f, 0xc0, 0x2c, 0x00, 0xff, 0x01, 0x00, 0x00, 0x55, 0x00, 0x00, 0x00, 0x0f, 0x00, 0x0d,
    0x00, 0x00, 0x0a, 'd',  'b',  '.',  'e',  'x',  'a',  'm',  'p',  'l',  'e',  0x00, 0x0b, 0x00,
    0x02, 0x01, 0x00, 0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x16, 0x00,
    0x00, 0x00, 0x17, 0x00, 0x00, 0x00, 0x0d, 0x00, 0x26, 0x00, 0x24, 0x04, 0x03, 0x05, 0x03, 0x06,
    0x03, 0x08, 0x07, 0x08, 0x08, 0x08, 0x09, 0x08, 0x0a, 0x08, 0x0b, 0x08, 0x04, 0x08, 0x05, 0x08,
    0x06, 0x04, 0x01, 0x05, 0x01, 0x06, 0x01, 0x03, 0x03, 0x03, 0x01, 0x03, 0x02, 0x02, 0x03};

START_TEST(an_older_version_is_refused_with_its_alert) {
    struct met met;
    met_set(&met, NULL);
    for (uint32_t step = 1; step <= sizeof(hello_12); step += 50) {
        struct pair pair = {0};
        struct wire wire = {0};
        pair_open(&pair, met.client, met.server, NULL);
        wire_put(&wire, hello_12, sizeof(hello_12));
        while (wire_left(&wire) > 0 && pair.server.result == 0) {
            party_take(&pair.server, &wire, step < wire_left(&wire) ? step : wire_left(&wire));
        }
        ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
        ck_assert_str_eq(party_error(&pair.server).text, "peer offers no TLS 1.3");
        ck_assert_int_eq(party_error(&pair.server).alert, 70);
        ck_assert_uint_eq(pair.server.sent.size, 7);
        ck_assert_uint_eq(pair.server.sent.bytes[6], 70);
        free(wire.bytes);
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

START_TEST(garbage_never_does_more_than_fail) {
    struct met met;
    met_set(&met, NULL);
    uint64_t seed = 7;
    for (uint32_t i = 0; i < 300; i++) {
        struct pair pair = {.piece = i % 2 == 0 ? 11 : 400};
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        /* The ClientHello with bytes changed, where the header still fits. */
        for (uint32_t n = 0; n < 1 + i % 4; n++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t at = 5 + (seed >> 33) % (pair.client.sent.size - 5);
            pair.client.sent.bytes[at] ^= (uint8_t)(1 + (seed >> 50) % 255);
        }
        pair_run(&pair);
        ck_assert(pair.server.result <= 0 || pair.client.result <= 0);
        ck_assert(pair.server.result == 0 || party_error(&pair.server).text[0] != '\0');
        pair_close(&pair);
        /* and the server's answer */
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        party_take(&pair.server, &pair.client.sent, wire_left(&pair.client.sent));
        for (uint32_t n = 0; n < 1 + i % 4; n++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t at = 5 + (seed >> 33) % (pair.server.sent.size - 5);
            pair.server.sent.bytes[at] ^= (uint8_t)(1 + (seed >> 50) % 255);
        }
        pair_run(&pair);
        ck_assert_int_eq(pair.client.result == 1, 0);
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

START_TEST(a_stream_that_is_cut_anywhere_waits_for_more) {
    struct met met;
    met_set(&met, NULL);
    struct pair whole = {0};
    pair_meet(&whole, met.client, met.server, "db.example");
    size_t size = whole.server.sent.size;
    pair_close(&whole);
    for (size_t cut = 1; cut < size - 200; cut += 37) {
        struct pair pair = {0};
        pair_open(&pair, met.client, met.server, "db.example");
        party_drain(&pair.client);
        party_take(&pair.server, &pair.client.sent, wire_left(&pair.client.sent));
        party_take(&pair.client, &pair.server.sent, cut);
        ck_assert_int_eq(pair.client.result, 0);
        ck_assert_int_eq(party_error(&pair.client).status, 0);
        pair_close(&pair); /* what was begun is freed */
    }
    met_clear(&met);
}
END_TEST

/* ---- floods -------------------------------------------------------------------------------------- */

START_TEST(a_handshake_has_an_end) {
    struct met met;
    met_set(&met, NULL);
    /* Plain handshake records without end: a message of 16 MiB, and empty ones. */
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair = {0};
        struct wire wire = {0};
        static uint8_t record[5 + 1000];
        pair_open(&pair, met.client, met.server, NULL);
        memset(record, 0, sizeof(record));
        record[0] = 22;
        record[1] = 3;
        record[2] = 3;
        record[3] = 1000 >> 8;
        record[4] = 1000 & 255;
        record[5] = 1;
        record[6] = i == 0 ? 0xff : 0;
        size_t fed = 0;
        while (pair.server.result == 0 && fed < 1 << 20) {
            wire_put(&wire, record, sizeof(record));
            party_take(&pair.server, &wire, sizeof(record));
            fed += sizeof(record);
            record[5] = 0;
            record[6] = 0;
        }
        ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
        ck_assert_uint_le(fed, 200 << 10);
        free(wire.bytes);
        pair_close(&pair);
    }
    met_clear(&met);
}
END_TEST

START_TEST(a_flood_of_key_updates_is_stopped) {
    struct met met;
    met_set(&met, NULL);
    struct pair pair = {0};
    pair_meet(&pair, met.client, met.server, "db.example");
    /* Every other one asks for an answer. */
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(weft__tls_rekey(pair.client.session), 0);
    }
    party_take(&pair.server, &pair.client.sent, wire_left(&pair.client.sent));
    ck_assert_int_eq(pair.server.read_result, WEFT_E_TLS);
    ck_assert_str_eq(party_error(&pair.server).text, "peer asks for too many key updates");
    ck_assert_uint_lt(pair.server.emits, 64);
    pair_close(&pair);
    met_clear(&met);
}
END_TEST

/* ---- what fails here ----------------------------------------------------------------------------- */

START_TEST(an_emit_that_refuses_fails_the_session_with_its_answer) {
    struct met met;
    met_set(&met, NULL);
    struct pair pair = {0};
    pair_open(&pair, met.client, met.server, "db.example");
    pair.client.emit_result = -ENOBUFS;
    party_drain(&pair.client);
    ck_assert_int_eq(pair.client.result, -ENOBUFS);
    ck_assert_int_eq(party_error(&pair.client).status, -ENOBUFS);
    pair_close(&pair);
    pair_open(&pair, met.client, met.server, "db.example");
    party_drain(&pair.client);
    pair.server.emit_result = -EPIPE;
    pair_run(&pair);
    ck_assert_int_eq(pair.server.result, -EPIPE);
    pair_close(&pair);
    pair_meet(&pair, met.client, met.server, "db.example");
    ck_assert_int_eq(pair.server.result, 1);
    pair.server.emit_result = -ENOMEM;
    ck_assert_int_eq(weft__tls_write(pair.server.session, "x", 1), -ENOMEM);
    ck_assert_int_eq(weft__tls_write(pair.server.session, "x", 1), -ENOMEM);
    ck_assert_int_eq(weft__tls_end(pair.server.session), -ENOMEM);
    pair_close(&pair);
    met_clear(&met);
}
END_TEST

/* Of LeakSanitizer, in builds with it. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

/* The library's allocations are counted, and one of them fails. Used on one thread. */
static uint32_t allocations;
static uint32_t failing;

static void *fail_malloc(size_t size) {
    return ++allocations == failing ? NULL : malloc(size);
}
static void *fail_realloc(void *memory, size_t size) {
    return ++allocations == failing ? NULL : realloc(memory, size);
}

START_TEST(any_allocation_of_the_library_may_fail_once) {
    struct met met;
    met_set(&met, NULL);
    ck_assert_int_eq(wolfSSL_SetAllocators(fail_malloc, free, fail_realloc), 0);
    uint32_t good = 0;
    /* The library forgets 64 bytes of a key share when the allocation after it fails. */
    if (__lsan_disable != NULL) {
        __lsan_disable();
    }
    for (failing = 1; failing < 2000 && good < 3; failing += 1) {
        allocations = 0;
        struct pair pair = {0};
        struct weft__tls_setup setup = {
            .tls = met.client, .name = "db.example", .emit = party_emit, .cookie = &pair.client};
        int result = weft__tls_open(&setup, &pair.client.session);
        if (result == 0) {
            setup = (struct weft__tls_setup){
                .tls = met.server, .server = true, .emit = party_emit, .cookie = &pair.server};
            result = weft__tls_open(&setup, &pair.server.session);
        }
        if (result == 0) {
            party_drain(&pair.client);
            pair_run(&pair);
        }
        ck_assert(result == 0 || result == -ENOMEM);
        if (result == 0 && pair.client.result == 1 && pair.server.result == 1) {
            result = weft__tls_write(pair.server.session, "hello", 5);
            pair_run(&pair);
            ck_assert(result == 0 || result == -ENOMEM);
            good += allocations < failing && pair.client.got.size == 5 ? 1 : 0;
        }
        pair_close(&pair);
    }
    if (__lsan_enable != NULL) {
        __lsan_enable();
    }
    ck_assert_uint_eq(good, 3); /* at last none fails */
    ck_assert_int_eq(wolfSSL_SetAllocators(malloc, free, realloc), 0);
    met_clear(&met);
}
END_TEST

START_TEST(any_allocation_may_fail_when_files_are_read) {
    static const char *const identities[] = {"server", "self:db.example"};
    struct stage stage = stage_set();
    weft_tls_options options = options_of(&stage, identities[_i], "authority");
    ck_assert_int_eq(wolfSSL_SetAllocators(fail_malloc, free, fail_realloc), 0);
    weft_tls *tls = NULL;
    for (failing = 1; failing < 2000; failing++) {
        weft_tls_error error;
        allocations = 0;
        int result = weft_tls_create(stage.rig.runtime, &options, &tls, &error);
        if (result == 0 && allocations < failing) {
            break;
        }
        ck_assert(result == 0 || error.text[0] != '\0');
        weft_tls_unref(tls);
        tls = NULL;
    }
    ck_assert_ptr_nonnull(tls);
    ck_assert_int_eq(wolfSSL_SetAllocators(malloc, free, realloc), 0);
    weft_tls_unref(tls);
    stage_clear(&stage);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tls_hostile");
    TCase *peers = tcase_create("peers");
    tcase_add_loop_test(peers, a_wrong_record_header_ends_a_session_at_every_stage, 0, RECORDS);
    tcase_add_test(peers, a_client_that_refuses_in_plain_is_understood);
    tcase_add_test(peers, a_plain_alert_behind_encrypted_records_is_refused);
    tcase_add_test(peers, a_key_for_pss_only_is_refused_when_it_is_loaded);
    tcase_add_loop_test(peers, a_changed_record_does_not_decrypt, 0, 3);
    tcase_add_test(peers, a_record_is_accepted_once_and_in_order);
    tcase_add_test(peers, an_older_version_is_refused_with_its_alert);
    tcase_add_test(peers, garbage_never_does_more_than_fail);
    tcase_add_test(peers, a_stream_that_is_cut_anywhere_waits_for_more);
    tcase_add_test(peers, a_handshake_has_an_end);
    tcase_add_test(peers, a_flood_of_key_updates_is_stopped);
    suite_add_tcase(suite, peers);
    TCase *failures = tcase_create("failures");
    tcase_add_test(failures, an_emit_that_refuses_fails_the_session_with_its_answer);
    tcase_add_test(failures, any_allocation_of_the_library_may_fail_once);
    tcase_add_loop_test(failures, any_allocation_may_fail_when_files_are_read, 0, 2);
    suite_add_tcase(suite, failures);
    return run_suite(suite);
}
