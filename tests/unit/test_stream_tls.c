/* SPDX-License-Identifier: MIT
 *
 * Streams with TLS over real sockets, weft on both ends, with each driver; and peers that are cut
 * off, silent, or no TLS at all. What TLS itself accepts and refuses is in test_tls*.c.
 */
#define _GNU_SOURCE 1 /* mkstemp, environ */
#include "stream_support.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#ifdef __SANITIZE_THREAD__ /* its cryptography is slow */
enum { BULK = 1 << 20, CUT_STEP = 50 };
#else
enum { BULK = 5 << 20, CUT_STEP = 5 };
#endif

/* A server with a certificate of its own making and a client that trusts exactly that. */
struct secure {
    struct net net;
    struct gate *gate;
    weft_tls *server;
    weft_tls *client;
    char ca[64];
    uint16_t port;
};

static weft_tls *tls_make(struct net *net, weft_tls_options options) {
    options.struct_size = WEFT_TLS_OPTIONS_INIT;
    weft_tls *tls = NULL;
    weft_tls_error error;
    int result = weft_tls_create(net->rig.runtime, &options, &tls, &error);
    ck_assert_msg(result == 0, "%s", error.text);
    return tls;
}

/* The certificate of tls as a file, for who shall trust it. */
static void ca_write(weft_tls *tls, char path[64]) {
    char pem[8192];
    ck_assert_int_ge(weft_tls_certificate(tls, pem, sizeof(pem)), 100);
    snprintf(path, 64, "/tmp/weft-stream-tls-%d-XXXXXX", (int)getpid());
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, pem, strlen(pem)), strlen(pem));
    ck_assert_int_eq(close(fd), 0);
}

static bool secure_start_with(struct secure *secure, int number, const struct line *model,
                              const weft_config *config, const weft_stream_options *stream) {
    *secure = (struct secure){0};
    if (!net_start_with(&secure->net, number, config)) {
        return false;
    }
    secure->gate = gate_make(model);
    secure->server = tls_make(
        &secure->net, (weft_tls_options){.self_name = "server.test", .alpn = "weft/1,other"});
    ca_write(secure->server, secure->ca);
    secure->client =
        tls_make(&secure->net, (weft_tls_options){.ca_file = secure->ca, .alpn = "nothing,weft/1"});
    weft_listen_options options = listen_options(&secure->net, &secure->gate);
    options.tls = secure->server;
    if (stream != NULL) {
        options.stream = *stream;
    }
    secure->port = net_listen_with(&secure->net, &options, NULL);
    return true;
}

static bool secure_start(struct secure *secure, int number, const struct line *model) {
    weft_config config = net_config(2);
    return secure_start_with(secure, number, model, &config, NULL);
}

static void secure_stop(struct secure *secure) {
    weft_tls_unref(secure->client);
    weft_tls_unref(secure->server);
    (void)unlink(secure->ca);
    net_stop(&secure->net);
    free(secure->gate);
}

static struct line *secure_connect(struct secure *secure, line_fn handler, uint64_t number) {
    struct line *line = calloc(1, sizeof(*line));
    ck_assert_ptr_nonnull(line);
    line_make(line);
    line->handler = handler;
    line->number = number;
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", secure->port);
    weft_connect_options options = connect_options(&secure->net, text);
    options.tls = secure->client;
    options.tls_name = "server.test";
    /* Two ends that both stop reading while they are full would wait for each other. */
    options.stream.flags = WEFT_STREAM_READ_ALWAYS;
    (void)net_connect_with(&secure->net, options, line);
    return line;
}

/* ---- traffic ----------------------------------------------------------------------------------- */

START_TEST(megabytes_go_there_and_back) {
    struct line model = {.handler = line_echo};
    struct secure secure;
    if (!secure_start(&secure, _i, &model)) {
        return;
    }
    struct line *line = secure_connect(&secure, line_pumps, BULK);
    ck_assert_uint_eq(line_closed(line, 0).bytes, BULK);
    ck_assert_uint_eq(line_closed(&secure.gate->lines[0], 0).bytes, BULK);
    ck_assert_uint_eq(rig_stats(&secure.net.rig).tls_handshakes, 2);
    ck_assert_uint_eq(rig_stats(&secure.net.rig).tls_failures, 0);
    free(line);
    secure_stop(&secure);
}
END_TEST

/* Both write in init, before the handshake: it arrives, in order, encrypted. */
static int init_writes(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)msg;
    unsigned char bytes[50000];
    pattern_fill(bytes, 0, sizeof(bytes));
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 20000), 0);
    ck_assert_int_eq(weft_stream_write(ctx, bytes + 20000, 30000), 0);
    weft_tls_info info = {.struct_size = WEFT_TLS_INFO_INIT};
    ck_assert_int_eq(weft_stream_tls_inspect(ctx, &info), -ENOTCONN);
    line->written = sizeof(bytes);
    return (int)line->number;
}

START_TEST(what_is_written_before_the_handshake_arrives) {
    struct line model = {.init = init_writes};
    struct secure secure;
    if (!secure_start(&secure, _i, &model)) {
        return;
    }
    secure.gate->lines[1].number = WEFT_STOP; /* the second one only greets */
    for (uint32_t i = 0; i < 2; i++) {
        struct line *line = secure_connect(&secure, NULL, 0);
        eventually(line_now(line).bytes == 50000);
        if (i == 0) {
            eventually(line_now(&secure.gate->lines[0]).events[WEFT_IO_OPEN] == 1);
            line_do(&secure.net, line, do_close);
            (void)line_closed(&secure.gate->lines[0], 0);
        }
        (void)line_closed(line, 0);
        free(line);
    }
    secure_stop(&secure);
}
END_TEST

static void do_rekey(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_tls_rekey(ctx);
}

START_TEST(keys_change_while_bytes_move) {
    struct line model = {.handler = line_echo};
    struct secure secure;
    if (!secure_start(&secure, _i, &model)) {
        return;
    }
    struct line *line = secure_connect(&secure, line_pumps, 2 * BULK);
    (void)line_open(line);
    for (uint32_t i = 0; i < 20; i++) {
        int result = -1;
        (void)line_act(&secure.net, i % 2 == 0 ? line : &secure.gate->lines[0], do_rekey, &result);
        sleep_ns(2 * MS_NS);
    }
    ck_assert_uint_eq(line_closed(line, 0).bytes, 2 * BULK);
    ck_assert_uint_eq(line_closed(&secure.gate->lines[0], 0).bytes, 2 * BULK);
    free(line);
    secure_stop(&secure);
}
END_TEST

/* ---- what both ends know ----------------------------------------------------------------------- */

struct knowledge {
    weft_tls_info info;
    unsigned char secret[32];
    unsigned char other[32];
    unsigned char der[4096];
    size_t der_size;
};

static void do_know(weft_ctx *ctx, void *arg) {
    struct knowledge *known = arg;
    known->info.struct_size = WEFT_TLS_INFO_INIT;
    ck_assert_int_eq(weft_stream_tls_inspect(ctx, &known->info), 0);
    weft_tls_export what = {.label = "EXPORTER-weft-test",
                            .secret = known->secret,
                            .secret_size = sizeof(known->secret)};
    ck_assert_int_eq(weft_stream_tls_export(ctx, &what), 0);
    what.context = "context";
    what.context_size = 7;
    what.secret = known->other;
    ck_assert_int_eq(weft_stream_tls_export(ctx, &what), 0);
    what.secret_size = 0;
    ck_assert_int_eq(weft_stream_tls_export(ctx, &what), -EINVAL);
    ck_assert_int_eq(weft_stream_tls_export(ctx, NULL), -EINVAL);
    const void *der = NULL;
    ck_assert_int_eq(weft_stream_tls_peer(ctx, &der, &known->der_size), 0);
    ck_assert_uint_le(known->der_size, sizeof(known->der));
    if (known->der_size != 0) {
        memcpy(known->der, der, known->der_size);
    }
}

START_TEST(both_ends_know_the_same) {
    struct secure secure;
    if (!secure_start(&secure, _i, NULL)) {
        return;
    }
    struct line *line = secure_connect(&secure, NULL, 0);
    (void)line_open(line);
    (void)line_open(&secure.gate->lines[0]);
    struct knowledge client;
    struct knowledge server;
    ck_assert(line_act(&secure.net, line, do_know, &client));
    ck_assert(line_act(&secure.net, &secure.gate->lines[0], do_know, &server));
    ck_assert_mem_eq(client.secret, server.secret, 32);
    ck_assert_mem_eq(client.other, server.other, 32);
    ck_assert(memcmp(client.secret, client.other, 32) != 0);
    ck_assert_int_eq(strcmp(client.info.alpn, "weft/1"), 0);
    ck_assert_int_eq(strcmp(server.info.alpn, "weft/1"), 0);
    ck_assert_int_eq(strcmp(server.info.name, "server.test"), 0);
    ck_assert_int_eq(strcmp(server.info.suite, client.info.suite), 0);
    ck_assert(client.info.peer_verified);
    ck_assert(!server.info.peer_verified);
    unsigned char fingerprint[32];
    ck_assert_int_eq(weft_tls_fingerprint(secure.server, fingerprint), 0);
    ck_assert_mem_eq(client.info.peer_sha256, fingerprint, 32);
    ck_assert_uint_gt(client.der_size, 100);
    ck_assert_uint_eq(server.der_size, 0);
    weft_stream_info info;
    ck_assert(line_act(&secure.net, line, do_inspect, &info));
    ck_assert(info.tls);
    line_do(&secure.net, line, do_close);
    (void)line_closed(line, 0);
    (void)line_closed(&secure.gate->lines[0], 0);
    free(line);
    secure_stop(&secure);
}
END_TEST

/* Each has a certificate the other trusts; without one the server closes. */
START_TEST(certificates_are_asked_of_clients_too) {
    struct secure secure;
    if (!secure_start(&secure, _i, NULL)) {
        return;
    }
    weft_tls *identity = tls_make(&secure.net, (weft_tls_options){.self_name = "client.test",
                                                                  .verify = WEFT_TLS_VERIFY_NONE});
    char ca[64];
    ca_write(identity, ca);
    weft_tls *server =
        tls_make(&secure.net, (weft_tls_options){.self_name = "server.test", .ca_file = ca});
    char server_ca[64];
    ca_write(server, server_ca);
    weft_tls *strangers = secure.client;
    struct gate *gate = gate_make(NULL);
    weft_listen_options options = listen_options(&secure.net, &gate);
    options.tls = server;
    secure.port = net_listen_with(&secure.net, &options, NULL);
    secure.client = tls_make(&secure.net, (weft_tls_options){.ca_file = server_ca});
    struct line *line = secure_connect(&secure, NULL, 0); /* has none */
    struct line now = line_closed(line, WEFT_E_TLS);
    ck_assert_uint_eq(now.bytes, 0);
    struct line refused = line_closed(&gate->lines[0], WEFT_E_TLS);
    ck_assert_uint_eq(refused.events[WEFT_IO_OPEN], 0);
    free(line);
    weft_tls_unref(secure.client);
    secure.client = weft_tls_ref(identity);
    line = secure_connect(&secure, NULL, 0);
    (void)line_open(line);
    (void)line_open(&gate->lines[1]);
    struct knowledge known;
    ck_assert(line_act(&secure.net, &gate->lines[1], do_know, &known));
    ck_assert(known.info.peer_verified);
    unsigned char fingerprint[32];
    ck_assert_int_eq(weft_tls_fingerprint(identity, fingerprint), 0);
    ck_assert_mem_eq(known.info.peer_sha256, fingerprint, 32);
    line_do(&secure.net, line, do_close);
    (void)line_closed(line, 0);
    (void)line_closed(&gate->lines[1], 0);
    free(line);
    weft_tls_unref(secure.client);
    weft_tls_unref(server);
    weft_tls_unref(identity);
    (void)unlink(ca);
    (void)unlink(server_ca);
    secure.client = strangers;
    secure_stop(&secure);
    free(gate);
}
END_TEST

/* Without tls_name it is the name that is connected to. */
START_TEST(the_name_is_that_of_the_host) {
    struct line model = {.handler = line_echo};
    struct secure secure;
    if (!secure_start(&secure, _i, &model)) {
        return;
    }
    weft_tls *server = tls_make(&secure.net, (weft_tls_options){.self_name = "localhost"});
    char ca[64];
    ca_write(server, ca);
    weft_tls *client = tls_make(&secure.net, (weft_tls_options){.ca_file = ca});
    weft_listen_options listen = listen_options(&secure.net, &secure.gate);
    listen.tls = server;
    char text[64];
    snprintf(text, sizeof(text), "localhost:%u", net_listen_with(&secure.net, &listen, NULL));
    weft_connect_options options = connect_options(&secure.net, text);
    options.tls = client;
    struct line line;
    line_make(&line);
    line.handler = line_pumps;
    line.number = 1000;
    (void)net_connect_with(&secure.net, options, &line);
    ck_assert_uint_eq(line_closed(&line, 0).bytes, 1000);
    weft_tls_unref(client);
    weft_tls_unref(server);
    (void)unlink(ca);
    secure_stop(&secure);
}
END_TEST

/* ---- wrong peers ------------------------------------------------------------------------------- */

static int handle_tls_error(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_CLOSED) {
        ck_assert_int_eq(weft_stream_tls_error(ctx, line->user), 0);
    }
    return WEFT_CONTINUE;
}

START_TEST(garbage_is_told_with_a_text) {
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n",
        "\x16\x03\x01\xff\xff garbage", "\x15\x03\x03", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        weft_tls_error error = {0};
        struct line model = {.handler = handle_tls_error, .user = &error};
        struct secure secure;
        if (!secure_start(&secure, _i, &model)) {
            return;
        }
        int fd = far_connect(secure.port);
        size_t size = strlen(garbage[i]);
        ck_assert_int_eq(far_send(fd, garbage[i], size), size);
        bool cut = i == 3; /* a piece of an alert: nothing more comes */
        if (cut) {
            far_shut(fd);
        }
        struct line line = line_closed(&secure.gate->lines[0], cut ? -ECONNRESET : WEFT_E_TLS);
        ck_assert_uint_eq(line.order_count, 1);
        ck_assert(cut || (error.status == WEFT_E_TLS && strlen(error.text) > 3));
        ck_assert_uint_eq(rig_stats(&secure.net.rig).tls_failures, 1);
        ck_assert_uint_eq(rig_stats(&secure.net.rig).io_resets, cut ? 1 : 0);
        ck_assert_int_eq(close(fd), 0);
        secure_stop(&secure);
    }
}
END_TEST

/* Runs a program of others, with nothing to read and nobody who reads it. False: there is none. */
static bool run_program(const char *const arguments[]) {
    posix_spawn_file_actions_t files;
    pid_t child = 0;
    int status = 0;
    ck_assert_int_eq(posix_spawn_file_actions_init(&files), 0);
    for (int fd = 0; fd < 3; fd++) {
        ck_assert_int_eq(posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0), 0);
    }
    int result = posix_spawnp(&child, arguments[0], &files, NULL,
                              (char *const *)(uintptr_t)arguments, environ);
    ck_assert_int_eq(posix_spawn_file_actions_destroy(&files), 0);
    ck_assert(result == 0 || result == ENOENT);
    if (result == 0) {
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 0); /* it was to refuse */
    }
    return result == 0;
}

/* OpenSSL says in plain that it refuses, since it has no keys for sending yet. */
START_TEST(openssl_and_curl_that_refuse_are_understood) {
    for (uint32_t i = 0; i < 2; i++) {
        weft_tls_error error = {0};
        struct line model = {.handler = handle_tls_error, .user = &error};
        struct secure secure;
        char other_ca[64];
        char address[64];
        char url[80];
        if (!secure_start(&secure, _i, &model)) {
            return;
        }
        weft_tls *other = tls_make(&secure.net, (weft_tls_options){.self_name = "other.test"});
        ca_write(other, other_ca);
        snprintf(address, sizeof(address), "127.0.0.1:%u", secure.port);
        snprintf(url, sizeof(url), "https://%s/", address);
        const char *const openssl[] = {
            "openssl", "s_client", "-connect", address, "-CAfile", other_ca, "-verify_return_error",
            NULL};
        const char *const curl[] = {"curl",     "--max-time", "60", "--noproxy", "*",
                                    "--cacert", other_ca,     url,  NULL};
        if (run_program(i == 0 ? openssl : curl)) {
            (void)line_closed(&secure.gate->lines[0], WEFT_E_TLS);
            ck_assert_str_eq(error.text, "peer refuses: unknown CA");
            ck_assert_int_eq(error.alert, 48);
        }
        ck_assert_int_eq(unlink(other_ca), 0);
        weft_tls_unref(other);
        secure_stop(&secure);
    }
}
END_TEST

/* The name is not the one in the certificate: both are told. */
START_TEST(a_wrong_name_is_refused) {
    weft_tls_error error = {0};
    struct secure secure;
    if (!secure_start(&secure, _i, NULL)) {
        return;
    }
    struct line line;
    line_make(&line);
    line.handler = handle_tls_error;
    line.user = &error;
    char text[64];
    snprintf(text, sizeof(text), "localhost:%u", secure.port); /* the default name: localhost */
    weft_connect_options options = connect_options(&secure.net, text);
    options.tls = secure.client;
    (void)net_connect_with(&secure.net, options, &line);
    (void)line_closed(&line, WEFT_E_TLS);
    ck_assert_int_eq(error.status, WEFT_E_TLS);
    ck_assert_uint_gt(strlen(error.text), 3);
    (void)line_closed(&secure.gate->lines[0], WEFT_E_TLS);
    secure_stop(&secure);
}
END_TEST

START_TEST(a_silent_peer_times_out) {
    weft_stream_options stream = {.handshake_ns = 200 * MS_NS};
    weft_config config = net_config(1);
    struct secure secure;
    if (!secure_start_with(&secure, _i, NULL, &config, &stream)) {
        return;
    }
    uint64_t start_ns = clock_ns();
    int fd = far_connect(secure.port);
    struct line line = line_closed(&secure.gate->lines[0], -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns() - start_ns, 100 * MS_NS); /* a turn's clock is old */
    ck_assert_uint_le(clock_ns() - start_ns, 8 * S_NS);    /* the default takes 10 */
    ck_assert_uint_eq(line.order_count, 1);
    ck_assert_int_eq(close(fd), 0);
    secure_stop(&secure);
}
END_TEST

/* Between them a relay that copies bytes and then closes TCP without a word. */
struct relay {
    int left;
    int right;
};

static void *relay_run(void *arg) {
    const struct relay *relay = arg;
    char bytes[4096];
    for (;;) { /* until one end is over */
        ssize_t size = far_recv(relay->left, bytes, sizeof(bytes));
        if (size <= 0 || far_send(relay->right, bytes, (size_t)size) != size) {
            return NULL;
        }
    }
}

START_TEST(a_cut_connection_is_not_an_end) {
    struct secure secure;
    if (!secure_start(&secure, _i, NULL)) {
        return;
    }
    uint16_t port;
    int listener = far_listen(4, &port);
    uint16_t real = secure.port;
    secure.port = port;
    struct line *line = secure_connect(&secure, NULL, 0);
    secure.port = real;
    int client = far_accept(listener);
    int server = far_connect(real);
    struct relay relays[2] = {{client, server}, {server, client}};
    pthread_t threads[2];
    ck_assert_int_eq(pthread_create(&threads[0], NULL, relay_run, &relays[0]), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, relay_run, &relays[1]), 0);
    (void)line_open(line);
    (void)line_open(&secure.gate->lines[0]);
    ck_assert_int_eq(shutdown(client, SHUT_RDWR), 0); /* an orderly end of TCP, not of TLS */
    struct line cut = line_closed(line, -ECONNRESET);
    ck_assert_uint_eq(cut.events[WEFT_IO_END], 0);
    ck_assert_int_eq(shutdown(server, SHUT_RDWR), 0);
    (void)line_closed(&secure.gate->lines[0], -ECONNRESET);
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    ck_assert_int_eq(pthread_join(threads[1], NULL), 0);
    ck_assert_int_eq(close(client), 0);
    ck_assert_int_eq(close(server), 0);
    ck_assert_int_eq(close(listener), 0);
    free(line);
    secure_stop(&secure);
}
END_TEST

/* ---- many handshakes --------------------------------------------------------------------------- */

START_TEST(handshakes_wait_for_their_turn) {
    enum { CLIENTS = 50 };
    struct line model = {.handler = line_echo};
    weft_config config = net_config(1);
    config.io_handshakes = 1;
    weft_stream_options stream = {.handshake_ns = 60 * S_NS};
    struct secure secure;
    if (!secure_start_with(&secure, _i, &model, &config, &stream)) {
        return;
    }
    struct net clients; /* one at a time would wait for each other in one scheduler */
    ck_assert(net_start(&clients, _i, 1));
    weft_tls *client = tls_make(&clients, (weft_tls_options){.ca_file = secure.ca});
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", secure.port);
    struct line *lines = calloc(CLIENTS, sizeof(*lines));
    for (uint32_t i = 0; i < CLIENTS; i++) {
        line_make(&lines[i]);
        lines[i].handler = line_pumps;
        lines[i].number = 1000;
        weft_connect_options options = connect_options(&clients, text);
        options.tls = client;
        options.tls_name = "server.test";
        options.stream.handshake_ns = 60 * S_NS;
        (void)net_connect_with(&clients, options, &lines[i]);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        ck_assert_uint_eq(line_closed(&lines[i], 0).bytes, 1000);
    }
    weft_tls_unref(client);
    ck_assert_int_eq(weft_runtime_stop(clients.rig.runtime, 20 * S_NS), 0);
    rig_stop(&clients.rig);
    ck_assert_uint_eq(rig_stats(&secure.net.rig).tls_handshakes, CLIENTS);
    free(lines);
    secure_stop(&secure);
}
END_TEST

/* Silent clients hold the only turn; those who wait behind them get theirs, and a runtime that stops
 * meanwhile does not wait for any of them. */
START_TEST(silent_clients_keep_nobody_out_and_no_stop_up) {
    enum { SILENT = 5 };
    struct line model = {.handler = line_echo};
    weft_config config = net_config(1);
    config.io_handshakes = 1;
    struct secure secure;
    if (!secure_start_with(&secure, _i, &model, &config, NULL)) {
        return;
    }
    int fds[2 * SILENT];
    for (uint32_t i = 0; i < SILENT; i++) {
        fds[i] = far_connect(secure.port);
    }
    struct line *line = secure_connect(&secure, line_pumps, 1000);
    ck_assert_uint_eq(line_closed(line, 0).bytes, 1000);
    for (uint32_t i = SILENT; i < 2 * SILENT; i++) {
        fds[i] = far_connect(secure.port);
    }
    sleep_ns(20 * MS_NS);
    weft_tls_unref(secure.client);
    weft_tls_unref(secure.server);
    secure.client = NULL;
    secure.server = NULL;
    uint64_t start_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_stop(secure.net.rig.runtime, 20 * S_NS), 0);
    ck_assert_uint_le(clock_ns() - start_ns, 8 * S_NS); /* a handshake has 10 by default */
    for (uint32_t i = 0; i < 2 * SILENT; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    free(line);
    secure_stop(&secure);
}
END_TEST

/* Both ends in one scheduler with room for one handshake: they must not wait for each other until
 * the time is up. */
START_TEST(both_ends_on_one_scheduler_with_one_handshake_get_on) {
    struct line model = {.handler = line_echo};
    weft_config config = net_config(1);
    config.io_handshakes = 1;
    struct secure secure;
    if (!secure_start_with(&secure, _i, &model, &config, NULL)) {
        return;
    }
    struct line *line = secure_connect(&secure, line_pumps, 1000);
    ck_assert_uint_eq(line_closed(line, 0).bytes, 1000);
    free(line);
    secure_stop(&secure);
}
END_TEST

/* Cut after k bytes of the client's first flight, for many k. */
START_TEST(a_reset_anywhere_in_the_handshake_is_harmless) {
    struct secure secure;
    if (!secure_start(&secure, _i, NULL)) {
        return;
    }
    uint16_t port;
    int listener = far_listen(4, &port);
    uint16_t real = secure.port;
    secure.port = port;
    struct line *line = secure_connect(&secure, NULL, 0);
    secure.port = real;
    int client = far_accept(listener);
    char hello[2048];
    ssize_t size = far_recv(client, hello, sizeof(hello));
    ck_assert_int_ge(size, 100);
    far_reset(client);
    (void)line_closed(line, -ECONNRESET);
    uint32_t tries = 0;
    for (size_t k = 0; k <= (size_t)size && tries < LINES_MAX; k += k < 12 ? 1 : CUT_STEP) {
        int fd = far_connect(real);
        ck_assert(k == 0 || far_send(fd, hello, k) == (ssize_t)k);
        if (k % 3 == 0) {
            sleep_ns(MS_NS);
        }
        far_reset(fd);
        tries++;
    }
    eventually(rig_gauges(&secure.net.rig).io_open == 1);
    for (uint32_t i = 0; i < gate_count(secure.gate); i++) {
        struct line now = line_over(&secure.gate->lines[i]);
        ck_assert_uint_eq(now.events[WEFT_IO_OPEN], 0);
        ck_assert_int_eq(now.status, -ECONNRESET);
    }
    ck_assert_int_eq(close(listener), 0);
    free(line);
    secure_stop(&secure);
}
END_TEST

static Suite *tls_suite(void) {
    Suite *suite = suite_create("stream_tls");
    TCase *traffic = tcase_create("traffic");
    tcase_add_loop_test(traffic, megabytes_go_there_and_back, 0, NET_DRIVERS);
    tcase_add_loop_test(traffic, what_is_written_before_the_handshake_arrives, 0, NET_DRIVERS);
    tcase_add_loop_test(traffic, keys_change_while_bytes_move, 0, NET_DRIVERS);
    tcase_add_loop_test(traffic, both_ends_know_the_same, 0, NET_DRIVERS);
    tcase_add_loop_test(traffic, certificates_are_asked_of_clients_too, 0, NET_DRIVERS);
    tcase_add_loop_test(traffic, the_name_is_that_of_the_host, 0, NET_DRIVERS);
    suite_add_tcase(suite, traffic);
    TCase *wrong = tcase_create("wrong peers");
    tcase_add_loop_test(wrong, garbage_is_told_with_a_text, 0, NET_DRIVERS);
    tcase_add_loop_test(wrong, openssl_and_curl_that_refuse_are_understood, 0, NET_DRIVERS);
    tcase_add_loop_test(wrong, a_wrong_name_is_refused, 0, NET_DRIVERS);
    tcase_add_loop_test(wrong, a_silent_peer_times_out, 0, NET_DRIVERS);
    tcase_add_loop_test(wrong, a_cut_connection_is_not_an_end, 0, NET_DRIVERS);
    tcase_add_loop_test(wrong, a_reset_anywhere_in_the_handshake_is_harmless, 0, NET_DRIVERS);
    suite_add_tcase(suite, wrong);
    TCase *many = tcase_create("many");
    tcase_add_loop_test(many, handshakes_wait_for_their_turn, 0, NET_DRIVERS);
    tcase_add_loop_test(many, silent_clients_keep_nobody_out_and_no_stop_up, 0, NET_DRIVERS);
    tcase_add_loop_test(many, both_ends_on_one_scheduler_with_one_handshake_get_on, 0, NET_DRIVERS);
    suite_add_tcase(suite, many);
    return suite;
}

int main(void) {
    return run_suite(tls_suite());
}
