/* SPDX-License-Identifier: MIT
 *
 * TLS: configurations, and sessions that meet in memory: suites, names, authorities, certificates
 * of both sides, protocols, generated certificates, exporters, key updates, the end. Hostile peers
 * and failing memory are in test_tls_hostile.c.
 */
#define _GNU_SOURCE
#include "tls_pair.h"

/* ---- handshakes that succeed --------------------------------------------------------------- */

static const size_t pieces[] = {PIECE_WHOLE, 1, 7, 300, 5000};
enum { PIECES = sizeof(pieces) / sizeof(pieces[0]) };

START_TEST(every_suite_carries_data_both_ways_in_every_split) {
    static const char *const suites[][2] = {{"AES128", "TLS13-AES128-GCM-SHA256"},
                                            {"CHACHA20", "TLS13-CHACHA20-POLY1305-SHA256"},
                                            {"AES256", "TLS13-AES256-GCM-SHA384"}};
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "server", NULL);
    server.suites = suites[_i][0];
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, NULL, "authority");
    weft_tls *client_tls = tls_of(&stage, &client);
    for (uint32_t i = 0; i < PIECES; i++) {
        struct pair pair = {.piece = pieces[i]};
        pair_meet(&pair, client_tls, server_tls, "db.example");
        ck_assert_int_eq(pair.client.result, 1);
        ck_assert_int_eq(pair.server.result, 1);
        ck_assert_str_eq(party_info(&pair.client).suite, suites[_i][1]);
        ck_assert_str_eq(party_info(&pair.server).suite, suites[_i][1]);
        for (size_t size = 1; size < 100000; size = size * 3 + 1) {
            pair_transfer(&pair, &pair.client, &pair.server, size);
            pair_transfer(&pair, &pair.server, &pair.client, size);
        }
        pair_close(&pair);
    }
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(the_servers_order_of_suites_decides) {
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "server", NULL);
    server.suites = "AES256,CHACHA20";
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, NULL, "authority");
    client.suites = "AES128,CHACHA20,AES256";
    weft_tls *client_tls = tls_of(&stage, &client);
    struct pair pair = {0};
    pair_meet(&pair, client_tls, server_tls, "db.example");
    ck_assert_int_eq(pair.server.result, 1);
    ck_assert_str_eq(party_info(&pair.server).suite, "TLS13-AES256-GCM-SHA384");
    pair_close(&pair);
    weft_tls_unref(client_tls);
    client.suites = "AES128";
    client_tls = tls_of(&stage, &client);
    pair_meet(&pair, client_tls, server_tls, "db.example");
    ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
    ck_assert_str_eq(party_error(&pair.server).text, "no cipher suite in common");
    ck_assert_int_eq(party_error(&pair.server).alert, 40);
    ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
    ck_assert_str_eq(party_error(&pair.client).text, "peer refuses: handshake failure");
    pair_close(&pair);
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(a_megabyte_arrives_whole) {
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "self:db.example", NULL);
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, NULL, NULL);
    client.verify = WEFT_TLS_VERIFY_NONE;
    weft_tls *client_tls = tls_of(&stage, &client);
    struct pair pair = {.piece = 65536};
    pair_meet(&pair, client_tls, server_tls, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        pair_transfer(&pair, &pair.client, &pair.server, 1 << 20);
        pair_transfer(&pair, &pair.server, &pair.client, (1 << 20) + 1);
    }
    pair_close(&pair);
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

/* ---- who the peer is ----------------------------------------------------------------------- */

/* What one client makes of one server, or the other way round. */
struct verdict {
    const char *server;           /* identity */
    const char *client;           /* identity or NULL */
    const char *server_authority; /* what the server checks with, or NULL */
    const char *client_authority; /* what the client checks with, or NULL: any certificate */
    const char *name;
    const char *client_text; /* NULL: fine */
    const char *server_text;
};

static const struct verdict verdicts[] = {
    /* names */
    {"server", NULL, NULL, "authority", "db.example", NULL, NULL},
    {"server", NULL, NULL, "authority", "DB.Example.", NULL, NULL},
    {"server", NULL, NULL, "authority", "a.wild.example", NULL, NULL},
    {"server", NULL, NULL, "authority", "10.1.2.3", NULL, NULL},
    {"server", NULL, NULL, "authority", "2001:db8::1", NULL, NULL},
    {"server", NULL, NULL, "authority", "2001:DB8:0:0::0:1", NULL, NULL},
    {"server", NULL, NULL, "authority", NULL, NULL, NULL},
    {"rsa", NULL, NULL, "authority", "db.example", NULL, NULL},
    {"chain", NULL, NULL, "authority", "db.example", NULL, NULL},
    {"server", NULL, NULL, "authority", "other.example",
     "certificate is for another name than other.example", "bad certificate"},
    {"server", NULL, NULL, "authority", "a.b.wild.example",
     "certificate is for another name than a.b.wild.example", "bad certificate"},
    {"server", NULL, NULL, "authority", "wild.example",
     "certificate is for another name than wild.example", "bad certificate"},
    {"server", NULL, NULL, "authority", "10.1.2.4", "certificate is for another name than 10.1.2.4",
     "bad certificate"},
    {"server", NULL, NULL, "authority", "2001:db8::2",
     "certificate is for another name than 2001:db8::2", "bad certificate"},
    /* an address is no name, a wildcard no part of a label, a common name nothing */
    {"loose", NULL, NULL, "namer", "Good.Test", NULL, NULL},
    {"loose", NULL, NULL, "namer", "127.0.0.1", "is for another name", "bad certificate"},
    {"loose", NULL, NULL, "namer", "127.1", "is for another name", "bad certificate"},
    {"loose", NULL, NULL, "namer", "localhost", "is for another name", "bad certificate"},
    {"loose", NULL, NULL, "namer", "a.b.test", "is for another name", "bad certificate"},
    {"loose", NULL, NULL, "namer", "a.test", "is for another name", "bad certificate"},
    {"loose", NULL, NULL, "namer", "db.example", "is for another name", "bad certificate"},
    {"common", NULL, NULL, "namer", "127.0.0.1", "is for another name", "bad certificate"},
    /* authorities and dates */
    {"foreign", NULL, NULL, "authority", "db.example",
     "certificate is signed by an unknown authority", "peer refuses: "},
    {"self:db.example", NULL, NULL, "authority", "db.example", "certificate is signed by",
     "peer refuses: "},
    {"expired", NULL, NULL, "authority", "db.example", "certificate has expired", "peer refuses: "},
    {"future", NULL, NULL, "authority", "db.example", "certificate is not valid yet",
     "peer refuses: "},
    {"client", NULL, NULL, "authority", "client.example",
     "certificate is not for this side of a connection", NULL},
    {"foreign", NULL, NULL, NULL, "db.example", NULL, NULL},
    {"expired", NULL, NULL, NULL, "other.example", NULL, NULL},
    /* both sides */
    {"server", "client", "authority", "authority", "db.example", NULL, NULL},
    {"server", NULL, "authority", "authority", "db.example", "certificate required",
     "peer sends no certificate"},
    {"server", "foreign", "authority", "authority", "db.example",
     "peer refuses: ", "certificate is not for this side of a connection"},
    {"server", "self:me", "authority", "authority", "db.example",
     "peer refuses: ", "certificate is signed by"},
    {"server", "client", NULL, "authority", "db.example", NULL, NULL},
};
enum { VERDICTS = sizeof(verdicts) / sizeof(verdicts[0]) };

/* Text of a party: its own reason, or what the other's alert says; either counts as said. */
static void check_text(const struct party *party, const char *expected, const char *what) {
    weft_tls_error error = party_error(party);
    if (expected == NULL) {
        return;
    }
    ck_assert_msg(party->result < 0 || party->read_result < 0, "%s: no failure", what);
    ck_assert_int_eq(error.status, WEFT_E_TLS);
    ck_assert_msg(strstr(error.text, expected) != NULL, "%s: \"%s\", not \"%s\"", what, error.text,
                  expected);
    ck_assert(error.library != 0);
}

START_TEST(a_peer_is_who_its_certificate_says) {
    const struct verdict *verdict = &verdicts[_i];
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, verdict->server, verdict->server_authority);
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, verdict->client, verdict->client_authority);
    client.verify = verdict->client_authority == NULL ? WEFT_TLS_VERIFY_NONE : 0;
    weft_tls *client_tls = tls_of(&stage, &client);
    struct pair pair = {0};
    pair_meet(&pair, client_tls, server_tls, verdict->name);
    check_text(&pair.client, verdict->client_text, "client");
    check_text(&pair.server, verdict->server_text, "server");
    if (verdict->client_text == NULL) {
        weft_tls_info info = party_info(&pair.client);
        const void *der = NULL;
        size_t size = 0;
        ck_assert_int_eq(pair.client.result, 1);
        ck_assert_int_eq(pair.server.result, 1);
        ck_assert_int_eq(info.peer_verified, verdict->client_authority != NULL);
        ck_assert_int_eq(weft__tls_peer(pair.client.session, &der, &size), 0);
        ck_assert_ptr_nonnull(der);
        ck_assert_uint_gt(size, 100);
        unsigned char sha256[32];
        ck_assert_int_eq(weft_tls_fingerprint(server_tls, sha256), 0);
        ck_assert_mem_eq(info.peer_sha256, sha256, 32);
        ck_assert_int_eq(party_info(&pair.server).peer_verified, verdict->server_authority != NULL);
        pair_transfer(&pair, &pair.client, &pair.server, 100);
    }
    pair_close(&pair);
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(a_server_that_takes_any_certificate_still_asks) {
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "self:server", NULL);
    server.verify = WEFT_TLS_VERIFY_NONE;
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, "self:client", NULL);
    client.verify = WEFT_TLS_VERIFY_NONE;
    weft_tls *client_tls = tls_of(&stage, &client);
    struct pair pair = {0};
    pair_meet(&pair, client_tls, server_tls, NULL);
    ck_assert_int_eq(pair.server.result, 1);
    unsigned char sha256[32];
    ck_assert_int_eq(weft_tls_fingerprint(client_tls, sha256), 0);
    ck_assert_mem_eq(party_info(&pair.server).peer_sha256, sha256, 32);
    ck_assert(!party_info(&pair.server).peer_verified);
    pair_close(&pair);
    weft_tls_unref(client_tls);
    client = options_of(&stage, NULL, NULL); /* without one */
    client.verify = WEFT_TLS_VERIFY_NONE;
    client_tls = tls_of(&stage, &client);
    pair_meet(&pair, client_tls, server_tls, NULL);
    ck_assert_int_eq(pair.server.result, 1);
    const void *der = "";
    size_t size = 1;
    ck_assert_int_eq(weft__tls_peer(pair.server.session, &der, &size), 0);
    ck_assert_ptr_null(der);
    ck_assert_uint_eq(size, 0);
    pair_transfer(&pair, &pair.client, &pair.server, 100);
    pair_close(&pair);
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

/* A generated certificate, given to another process as PEM, is one to trust. */
START_TEST(a_generated_certificate_can_be_trusted_by_its_pem) {
    static const char *const names[] = {"self:db.example", "self:10.9.8.7", "self:fd00::1"};
    struct stage stage = stage_set();
    char pem[4096];
    weft_tls_options server = options_of(&stage, names[_i], NULL);
    server.self_days = 30;
    weft_tls *server_tls = tls_of(&stage, &server);
    int length = weft_tls_certificate(server_tls, pem, sizeof(pem));
    ck_assert(length > 100 && (size_t)length == strlen(pem));
    ck_assert_int_eq(weft_tls_certificate(server_tls, NULL, 0), length);
    char cut[11];
    ck_assert_int_eq(weft_tls_certificate(server_tls, cut, sizeof(cut)), length);
    ck_assert_str_eq(cut, "-----BEGIN");
    file_put(&stage.files, "extra.pem", pem);
    weft_tls_options client = options_of(&stage, NULL, "extra");
    weft_tls *client_tls = tls_of(&stage, &client);
    struct pair pair = {0};
    pair_meet(&pair, client_tls, server_tls, names[_i] + 5);
    ck_assert_msg(pair.client.result == 1, "%s", party_error(&pair.client).text);
    ck_assert_int_eq(pair.server.result, 1);
    ck_assert(party_info(&pair.client).peer_verified);
    pair_close(&pair);
    pair_meet(&pair, client_tls, server_tls, "another.example");
    ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
    pair_close(&pair);
    ck_assert_int_eq(weft_tls_certificate(client_tls, pem, sizeof(pem)), -ENOENT);
    unsigned char zeroes[32] = {0};
    unsigned char sha256[32];
    ck_assert_int_eq(weft_tls_fingerprint(client_tls, sha256), 0);
    ck_assert_mem_eq(sha256, zeroes, 32);
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

/* ---- names and protocols asked for ----------------------------------------------------------- */

START_TEST(a_server_learns_the_name_it_was_asked_for) {
    struct stage stage = stage_set();
    weft_tls_options both = options_of(&stage, "server", "authority");
    both.verify = WEFT_TLS_VERIFY_NONE;
    weft_tls *tls = tls_of(&stage, &both);
    static const char *const names[][2] = {{"db.example", "db.example"},
                                           {"db.example.", "db.example"},
                                           {"10.1.2.3", ""},
                                           {"2001:db8::1", ""},
                                           {NULL, ""}};
    for (uint32_t i = 0; i < 5; i++) {
        struct pair pair = {0};
        pair_meet(&pair, tls, tls, names[i][0]);
        ck_assert_int_eq(pair.server.result, 1);
        ck_assert_str_eq(party_info(&pair.server).name, names[i][1]);
        pair_close(&pair);
    }
    struct pair pair = {0};
    char long_name[300];
    memset(long_name, 'a', sizeof(long_name));
    long_name[254] = '\0';
    pair_meet(&pair, tls, tls, long_name);
    ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
    pair_close(&pair);
    pair_meet(&pair, tls, tls, "");
    ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
    pair_close(&pair);
    weft_tls_unref(tls);
    stage_clear(&stage);
}
END_TEST

static const struct {
    const char *client;
    const char *server;
    bool client_required;
    bool server_required;
    const char *agreed; /* NULL: the handshake fails */
} protocols[] = {
    {"h2,http/1.1", "http/1.1,h2", true, true, "http/1.1"}, /* the server's order */
    {"h2,http/1.1", "h2,http/1.1", true, true, "h2"},
    {"a,b,c", "x,c", false, true, "c"},
    {"a", "a", true, false, "a"},
    {NULL, "h2", false, false, ""},
    {"h2", NULL, false, false, ""},
    {NULL, NULL, false, false, ""},
    {"a", "b", false, false, ""},
    {"a", "aa", false, false, ""},
    {"a", "b", false, true, NULL},
    {"a", "b", true, false, NULL},
    {NULL, "b", false, true, NULL},
    {"a", NULL, true, false, NULL},
};
enum { PROTOCOLS = sizeof(protocols) / sizeof(protocols[0]) };

START_TEST(protocols_are_agreed_on) {
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "server", NULL);
    server.alpn = protocols[_i].server;
    server.alpn_required = protocols[_i].server_required;
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, NULL, "authority");
    client.alpn = protocols[_i].client;
    client.alpn_required = protocols[_i].client_required;
    weft_tls *client_tls = tls_of(&stage, &client);
    for (uint32_t i = 0; i < 3; i++) {
        struct pair pair = {.piece = pieces[i]};
        pair_meet(&pair, client_tls, server_tls, "db.example");
        if (protocols[_i].agreed != NULL) {
            ck_assert_int_eq(pair.client.result, 1);
            ck_assert_int_eq(pair.server.result, 1);
            ck_assert_str_eq(party_info(&pair.client).alpn, protocols[_i].agreed);
            ck_assert_str_eq(party_info(&pair.server).alpn, protocols[_i].agreed);
            pair_transfer(&pair, &pair.server, &pair.client, 3000);
        } else if (protocols[_i].server_required) {
            ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
            ck_assert_int_eq(party_error(&pair.server).alert, 120);
            ck_assert_ptr_nonnull(strstr(party_error(&pair.server).text, "protocol"));
            ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
            ck_assert_str_eq(party_error(&pair.client).text,
                             "peer refuses: no application protocol");
        } else {
            ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
            ck_assert_ptr_nonnull(strstr(party_error(&pair.client).text, "protocol"));
        }
        pair_close(&pair);
    }
    weft_tls_unref(client_tls);
    weft_tls_unref(server_tls);
    stage_clear(&stage);
}
END_TEST

/* ---- traffic --------------------------------------------------------------------------------- */

/* A pair that has met, and its two configurations. */
struct met {
    struct stage stage;
    weft_tls *client;
    weft_tls *server;
    struct pair pair;
};

static void met_open(struct met *met, const char *suite, size_t piece) {
    memset(met, 0, sizeof(*met));
    met->stage = stage_set();
    weft_tls_options server = options_of(&met->stage, "server", NULL);
    server.suites = suite;
    met->server = tls_of(&met->stage, &server);
    weft_tls_options client = options_of(&met->stage, NULL, "authority");
    met->client = tls_of(&met->stage, &client);
    met->pair.piece = piece;
    pair_meet(&met->pair, met->client, met->server, "db.example");
    ck_assert_int_eq(met->pair.client.result, 1);
    ck_assert_int_eq(met->pair.server.result, 1);
}

static void met_close(struct met *met) {
    pair_close(&met->pair);
    weft_tls_unref(met->client);
    weft_tls_unref(met->server);
    stage_clear(&met->stage);
}

START_TEST(both_ends_export_the_same_secrets) {
    struct met met;
    unsigned char left[64];
    unsigned char right[64];
    met_open(&met, _i == 0 ? "AES256" : "CHACHA20", PIECE_WHOLE);
    struct weft__tls_session *client = met.pair.client.session;
    struct weft__tls_session *server = met.pair.server.session;
    struct weft__tls_export what = {
        .label = "EXPORTER-weft", .secret = left, .secret_size = sizeof(left)};
    struct weft__tls_export other = what;
    other.secret = right;
    ck_assert_int_eq(weft__tls_export(client, &what), 0);
    ck_assert_int_eq(weft__tls_export(server, &other), 0);
    ck_assert_mem_eq(left, right, sizeof(left));
    other.context = "";
    ck_assert_int_eq(weft__tls_export(server, &other), 0); /* empty is the same as none */
    ck_assert_mem_eq(left, right, sizeof(left));
    other.context = "node 1";
    other.context_size = 6;
    ck_assert_int_eq(weft__tls_export(server, &other), 0);
    ck_assert(memcmp(left, right, sizeof(left)) != 0);
    what.context = "node 1";
    what.context_size = 6;
    ck_assert_int_eq(weft__tls_rekey(client), 0); /* changes nothing here */
    pair_run(&met.pair);
    ck_assert_int_eq(weft__tls_export(client, &what), 0);
    ck_assert_mem_eq(left, right, sizeof(left));
    what.label = "";
    ck_assert_int_eq(weft__tls_export(client, &what), -EINVAL);
    what.label = NULL;
    ck_assert_int_eq(weft__tls_export(client, &what), -EINVAL);
    what.label = "client finished";
    ck_assert_int_eq(weft__tls_export(client, &what), -EINVAL);
    what.label = "a label that is longer than any label of an exporter is allowed to be";
    ck_assert_int_eq(weft__tls_export(client, &what), -EINVAL);
    what.label = "EXPORTER-weft";
    what.secret_size = 0;
    ck_assert_int_eq(weft__tls_export(client, &what), -EINVAL);
    met_close(&met);
}
END_TEST

START_TEST(keys_change_in_the_middle_of_traffic) {
    struct met met;
    met_open(&met, _i == 0 ? "AES128" : "CHACHA20", 1000);
    struct pair *pair = &met.pair;
    for (uint32_t i = 0; i < 20; i++) {
        unsigned char data[3000];
        memset(data, (int)i, sizeof(data));
        size_t before = pair->client.got.size;
        /* Under way while the other asks: records under the old keys, then under the new. */
        ck_assert_int_eq(weft__tls_write(pair->server.session, data, sizeof(data)), 0);
        ck_assert_int_eq(weft__tls_rekey(pair->client.session), 0);
        if (i % 3 == 0) {
            ck_assert_int_eq(weft__tls_rekey(pair->server.session), 0); /* both at once */
        }
        if (i % 5 == 0) {
            ck_assert_int_eq(weft__tls_rekey(pair->client.session), 0); /* again at once */
        }
        ck_assert_int_eq(weft__tls_write(pair->server.session, data, sizeof(data)), 0);
        pair_transfer(pair, &pair->client, &pair->server, 20000);
        ck_assert_uint_eq(pair->client.got.size - before, 2 * sizeof(data));
        pair_transfer(pair, &pair->server, &pair->client, 20000);
        ck_assert_int_eq(pair->client.read_result, 0);
        ck_assert_int_eq(pair->server.read_result, 0);
    }
    met_close(&met);
}
END_TEST

START_TEST(a_side_that_has_ended_still_reads) {
    struct met met;
    met_open(&met, NULL, PIECE_WHOLE);
    struct pair *pair = &met.pair;
    ck_assert_int_eq(weft__tls_end(pair->client.session), 0);
    ck_assert_uint_gt(wire_left(&pair->client.sent), 0);
    pair_run(pair);
    uint32_t emits = pair->client.emits;
    ck_assert_int_eq(weft__tls_end(pair->client.session), 0); /* once */
    ck_assert_uint_eq(pair->client.emits, emits);
    ck_assert_int_eq(pair->server.read_result, WEFT__TLS_END);
    unsigned char byte;
    ck_assert_int_eq(weft__tls_read(pair->server.session, &byte, 1), WEFT__TLS_END);
    pair_transfer(pair, &pair->server, &pair->client, 50000);
    ck_assert_int_eq(pair->client.read_result, 0);
    ck_assert_int_eq(weft__tls_end(pair->server.session), 0);
    pair_run(pair);
    ck_assert_int_eq(pair->client.read_result, WEFT__TLS_END);
    /* Both have ended: what was known stays known, and nothing crashes. */
    ck_assert_str_eq(party_info(&pair->client).name, "db.example");
    ck_assert_uint_gt(strlen(party_info(&pair->server).suite), 0);
    struct weft__tls_export what = {.label = "EXPORTER-x", .secret = &byte, .secret_size = 1};
    ck_assert_int_eq(weft__tls_export(pair->server.session, &what), -ENOTCONN);
    ck_assert_int_eq(weft__tls_rekey(pair->server.session), -ENOTCONN);
    ck_assert_int_eq(weft__tls_read(pair->server.session, &byte, 1), WEFT__TLS_END);
    ck_assert_int_eq(weft__tls_end(pair->server.session), 0);
    met_close(&met);
}
END_TEST

START_TEST(before_the_handshake_nothing_is_known) {
    struct stage stage = stage_set();
    weft_tls_options both = options_of(&stage, "server", "authority");
    weft_tls *tls = tls_of(&stage, &both);
    struct pair pair = {0};
    pair_open(&pair, tls, tls, "db.example");
    weft_tls_info info = {.struct_size = WEFT_TLS_INFO_INIT};
    const void *der = NULL;
    size_t size = 0;
    unsigned char secret[8];
    struct weft__tls_export what = {.label = "EXPORTER-x", .secret = secret, .secret_size = 8};
    ck_assert_int_eq(weft__tls_inspect(pair.client.session, &info), -ENOTCONN);
    ck_assert_int_eq(weft__tls_peer(pair.client.session, &der, &size), -ENOTCONN);
    ck_assert_int_eq(weft__tls_export(pair.client.session, &what), -ENOTCONN);
    ck_assert_int_eq(weft__tls_rekey(pair.client.session), -ENOTCONN);
    ck_assert_int_eq(weft__tls_end(pair.client.session), 0);
    ck_assert_uint_eq(pair.client.emits, 0);
    ck_assert_uint_eq(pair.server.emits, 0);
    ck_assert_int_eq(party_error(&pair.client).status, 0);
    ck_assert_int_eq(party_error(&pair.client).alert, -1);
    pair_close(&pair);
    struct weft__tls_session *none = NULL;
    weft__tls_close(&none);
    weft_tls_unref(tls);
    stage_clear(&stage);
}
END_TEST

/* ---- configurations ---------------------------------------------------------------------------- */

START_TEST(a_reload_is_for_new_sessions_and_leaves_the_others_alone) {
    struct stage stage = stage_set();
    weft_tls_options server = options_of(&stage, "self:db.example", NULL);
    weft_tls *server_tls = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, NULL, NULL);
    client.verify = WEFT_TLS_VERIFY_NONE;
    weft_tls *client_tls = tls_of(&stage, &client);
    enum { PAIRS = 5 };
    struct pair all[PAIRS];
    unsigned char seen[PAIRS][32];
    for (uint32_t i = 0; i < PAIRS; i++) {
        weft_tls_error error;
        memset(&all[i], 0, sizeof(all[i]));
        pair_open(&all[i], client_tls, server_tls, NULL);
        ck_assert_int_eq(weft_tls_fingerprint(server_tls, seen[i]), 0);
        ck_assert_int_eq(weft_tls_reload(server_tls, &error), 0); /* between open and handshake */
        party_drain(&all[i].client);
        pair_run(&all[i]);
        ck_assert_int_eq(all[i].server.result, 1);
        ck_assert_mem_eq(party_info(&all[i].client).peer_sha256, seen[i], 32);
    }
    ck_assert(memcmp(seen[0], seen[1], 32) != 0);
    weft_tls_unref(client_tls); /* sessions hold what they need */
    weft_tls_unref(server_tls);
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_transfer(&all[i], &all[i].server, &all[i].client, 30000);
        pair_close(&all[i]);
    }
    stage_clear(&stage);
}
END_TEST

/* What threads share: nothing but the two configurations. */
struct crowd {
    weft_tls *client;
    weft_tls *server;
    weft_atomic_u32 met;
};

static void *meet_often(void *arg) {
    struct crowd *crowd = arg;
    for (uint32_t i = 0; i < 15; i++) {
        struct pair pair = {0};
        pair_meet(&pair, crowd->client, crowd->server, "db.example");
        ck_assert_int_eq(pair.client.result, 1);
        ck_assert_int_eq(pair.server.result, 1);
        ck_assert(party_info(&pair.server).peer_verified);
        pair_transfer(&pair, &pair.server, &pair.client, 20000);
        pair_close(&pair);
        (void)weft_add32_acq_rel(&crowd->met, 1);
    }
    weft__tls_leave_thread();
    return NULL;
}

START_TEST(sessions_on_many_threads_share_what_is_reloaded_meanwhile) {
    struct stage stage = stage_set();
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct crowd crowd = {0};
    weft_tls_options server = options_of(&stage, "chain", "authority");
    server.alpn = "a,b";
    crowd.server = tls_of(&stage, &server);
    weft_tls_options client = options_of(&stage, "client", "authority");
    client.alpn = "b,a";
    crowd.client = tls_of(&stage, &client);
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, meet_often, &crowd), 0);
    }
    while (weft_load32_acquire(&crowd.met) < 15 * THREADS) {
        unsigned char sha256[32];
        char pem[2000];
        ck_assert_int_eq(weft_tls_reload(crowd.server, NULL), 0);
        ck_assert_int_eq(weft_tls_reload(crowd.client, NULL), 0);
        ck_assert_int_eq(weft_tls_fingerprint(crowd.server, sha256), 0);
        ck_assert_int_eq(weft_tls_certificate(crowd.server, pem, sizeof(pem)) > 0, 1);
        sleep_ns(2 * MS_NS);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    weft_tls_unref(crowd.client);
    weft_tls_unref(crowd.server);
    stage_clear(&stage);
}
END_TEST

START_TEST(a_reload_that_fails_changes_nothing) {
    struct stage stage = stage_set();
    weft_tls_options both = options_of(&stage, "server", "authority");
    weft_tls *tls = tls_of(&stage, &both);
    unsigned char before[32];
    unsigned char after[32];
    weft_tls_error error;
    ck_assert_int_eq(weft_tls_fingerprint(tls, before), 0);
    file_put(&stage.files, "server.pem", pem_rsa); /* not the certificate of server.key */
    ck_assert_int_eq(weft_tls_reload(tls, &error), WEFT_E_TLS);
    ck_assert_int_eq(error.status, WEFT_E_TLS);
    ck_assert_uint_gt(strlen(error.text), 10);
    file_put(&stage.files, "server.pem", "");
    ck_assert_int_eq(weft_tls_reload(tls, NULL), WEFT_E_TLS);
    ck_assert_int_eq(unlink(both.cert_file), 0);
    ck_assert_int_eq(weft_tls_reload(tls, &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "server.pem"));
    ck_assert_int_eq(weft_tls_fingerprint(tls, after), 0);
    ck_assert_mem_eq(before, after, 32);
    struct pair pair = {0};
    pair_meet(&pair, tls, tls, "db.example");
    ck_assert_int_eq(pair.server.result, WEFT_E_TLS); /* a server's certificate is no client's */
    ck_assert_int_eq(pair.client.read_result, WEFT_E_TLS);
    pair_close(&pair);
    file_put(&stage.files, "server.pem", pem_rsa);
    file_put(&stage.files, "server.key", key_rsa);
    ck_assert_int_eq(weft_tls_reload(tls, &error), 0);
    ck_assert_int_eq(weft_tls_fingerprint(tls, after), 0);
    ck_assert(memcmp(before, after, 32) != 0);
    weft_tls_unref(tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(wrong_options_are_refused_with_a_line) {
    struct stage stage = stage_set();
    weft_tls_options good = options_of(&stage, "server", NULL);
    weft_tls_options wrong[12];
    int results[12];
    for (uint32_t i = 0; i < 12; i++) {
        wrong[i] = good;
        results[i] = -EINVAL;
    }
    wrong[0].key_file = NULL;
    wrong[1].cert_file = NULL;
    wrong[2].self_name = "a";
    wrong[3].verify = 3;
    wrong[4].alpn = "a,,b";
    wrong[5].alpn = "";
    wrong[6].suites = "AES128,RC4";
    wrong[7].suites = "";
    wrong[8].alpn_required = true;
    wrong[9].cert_file = stage.files.folder;
    results[9] = -EISDIR;
    wrong[10].ca_file = good.key_file; /* no certificate in there */
    results[10] = WEFT_E_TLS;
    wrong[11].ca_file = "/nowhere/at/all.pem";
    results[11] = -ENOENT;
    for (uint32_t i = 0; i < 12; i++) {
        weft_tls *tls = NULL;
        weft_tls_error error = {0};
        int result = weft_tls_create(stage.rig.runtime, &wrong[i], &tls, &error);
        ck_assert_msg(result == results[i], "case %u: %d, %s", i, result, error.text);
        ck_assert_int_eq(error.status, results[i]);
        ck_assert_int_eq(error.alert, -1);
        ck_assert_uint_gt(strlen(error.text), 8);
        ck_assert_ptr_null(tls);
        ck_assert_int_eq(weft_tls_create(stage.rig.runtime, &wrong[i], &tls, NULL), results[i]);
    }
    weft_tls *tls = NULL;
    good.struct_size = 4;
    ck_assert_int_eq(weft_tls_create(stage.rig.runtime, &good, &tls, NULL), -EINVAL);
    ck_assert_int_eq(weft_tls_create(stage.rig.runtime, NULL, &tls, NULL), -EINVAL);
    ck_assert_int_eq(weft_tls_create(NULL, &good, &tls, NULL), -EINVAL);
    weft_tls_unref(NULL);
    ck_assert_ptr_null(weft_tls_ref(NULL));
    stage_clear(&stage);
}
END_TEST

START_TEST(a_key_of_another_certificate_is_refused) {
    static const char *const keys[] = {"client.key", "rsa.key", "foreign.key", "rsa.pem"};
    struct stage stage = stage_set();
    for (uint32_t i = 0; i < 4; i++) {
        weft_tls_options options = options_of(&stage, "server", NULL);
        weft_tls *tls = NULL;
        weft_tls_error error;
        options.key_file = file_path(&stage.files, keys[i], stage.paths[2]);
        int result = weft_tls_create(stage.rig.runtime, &options, &tls, &error);
        ck_assert_msg(result == WEFT_E_TLS, "%s: %d", keys[i], result);
        ck_assert_ptr_nonnull(strstr(error.text, keys[i]));
    }
    stage_clear(&stage);
}
END_TEST

START_TEST(a_server_without_certificate_says_so) {
    struct stage stage = stage_set();
    weft_tls_options client = options_of(&stage, NULL, "authority");
    weft_tls *tls = tls_of(&stage, &client);
    ck_assert_int_eq(weft__tls_usable(tls, true), -EINVAL);
    ck_assert_int_eq(weft__tls_usable(tls, false), 0);
    struct pair pair = {0};
    pair_meet(&pair, tls, tls, "db.example");
    ck_assert_int_eq(pair.server.result, WEFT_E_TLS);
    ck_assert_str_eq(party_error(&pair.server).text, "no certificate is configured");
    ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
    ck_assert_str_eq(party_error(&pair.client).text, "peer refuses: internal error");
    pair_close(&pair);
    weft_tls_unref(tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(a_client_without_authority_asks_the_systems) {
    struct stage stage = stage_set();
    weft_tls_options client = options_of(&stage, NULL, NULL);
    weft_tls *client_tls = NULL;
    weft_tls_error error = {0};
    int result = weft_tls_create(stage.rig.runtime, &client, &client_tls, &error);
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0) {
        ck_assert_int_eq(result, 0);
        weft_tls_options server = options_of(&stage, "server", NULL);
        weft_tls *server_tls = tls_of(&stage, &server);
        struct pair pair = {0};
        pair_meet(&pair, client_tls, server_tls, "db.example"); /* nobody there knows our CA */
        ck_assert_int_eq(pair.client.result, WEFT_E_TLS);
        ck_assert_str_eq(party_error(&pair.client).text,
                         "certificate is signed by an unknown authority");
        pair_close(&pair);
        weft_tls_unref(server_tls);
    } else {
        ck_assert_int_eq(result, -ENOENT);
        ck_assert_ptr_nonnull(strstr(error.text, "ca-certificates.crt"));
    }
    weft_tls_unref(client_tls);
    stage_clear(&stage);
}
END_TEST

START_TEST(the_library_is_named) {
    ck_assert_int_eq(strncmp(weft_tls_library(), "wolfSSL ", 8), 0);
    ck_assert_ptr_nonnull(strstr(weft_tls_library(), "accelerated"));
    ck_assert_ptr_eq(weft_tls_library(), weft_tls_library());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tls");
    TCase *handshakes = tcase_create("handshakes");
    tcase_add_loop_test(handshakes, every_suite_carries_data_both_ways_in_every_split, 0, 3);
    tcase_add_test(handshakes, the_servers_order_of_suites_decides);
    tcase_add_test(handshakes, a_megabyte_arrives_whole);
    tcase_add_loop_test(handshakes, a_peer_is_who_its_certificate_says, 0, VERDICTS);
    tcase_add_test(handshakes, a_server_that_takes_any_certificate_still_asks);
    tcase_add_loop_test(handshakes, a_generated_certificate_can_be_trusted_by_its_pem, 0, 3);
    tcase_add_test(handshakes, a_server_learns_the_name_it_was_asked_for);
    tcase_add_loop_test(handshakes, protocols_are_agreed_on, 0, PROTOCOLS);
    suite_add_tcase(suite, handshakes);
    TCase *traffic = tcase_create("traffic");
    tcase_add_loop_test(traffic, both_ends_export_the_same_secrets, 0, 2);
    tcase_add_loop_test(traffic, keys_change_in_the_middle_of_traffic, 0, 2);
    tcase_add_test(traffic, a_side_that_has_ended_still_reads);
    tcase_add_test(traffic, before_the_handshake_nothing_is_known);
    suite_add_tcase(suite, traffic);
    TCase *configurations = tcase_create("configurations");
    tcase_add_test(configurations, a_reload_is_for_new_sessions_and_leaves_the_others_alone);
    tcase_add_test(configurations, sessions_on_many_threads_share_what_is_reloaded_meanwhile);
    tcase_add_test(configurations, a_reload_that_fails_changes_nothing);
    tcase_add_test(configurations, wrong_options_are_refused_with_a_line);
    tcase_add_test(configurations, a_key_of_another_certificate_is_refused);
    tcase_add_test(configurations, a_server_without_certificate_says_so);
    tcase_add_test(configurations, a_client_without_authority_asks_the_systems);
    tcase_add_test(configurations, the_library_is_named);
    suite_add_tcase(suite, configurations);
    return run_suite(suite);
}
