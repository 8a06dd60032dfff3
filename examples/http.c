/* SPDX-License-Identifier: MIT
 *
 * An HTTP/1.1 server over TCP or TLS with one fixed answer. One actor per connection, which moves
 * the bytes; http_session.c knows the protocol. Options, signals and results are those of echo.c,
 * which explains them.
 */
#define _GNU_SOURCE 1
#include "http_session.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <weft/weft.h>

enum { PORT, ADDRESS, TLS, CERT, KEY, CA, CONFIG, OPTIONS };

/* ---- a connection ---------------------------------------------------------------------------- */

static int connection_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    http_session *session = (http_session *)state;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    const char *data = (const char *)weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    while (size > 0 && !session->over) {
        http_output output;
        ptrdiff_t used = http_feed(session, weft_now_ns(ctx), data, size, &output);
        int rc = used < 0 ? -ENOMEM : weft_stream_write(ctx, output.bytes, output.size);
        if (rc < 0) {
            return rc == -EPIPE ? WEFT_CONTINUE : rc; /* CLOSED will say why the peer has gone */
        }
        data += used;
        size -= (size_t)used;
    }
    return session->over ? weft_stream_close(ctx) : WEFT_CONTINUE; /* CLOSED follows */
}

static void connection_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    http_fini((http_session *)state);
}

/* ---- options --------------------------------------------------------------------------------- */

static bool read_options(int argc, char **argv, const char **value) {
    static const struct option names[] = {{"port", required_argument, NULL, PORT},
                                          {"address", required_argument, NULL, ADDRESS},
                                          {"tls", no_argument, NULL, TLS},
                                          {"cert", required_argument, NULL, CERT},
                                          {"key", required_argument, NULL, KEY},
                                          {"ca", required_argument, NULL, CA},
                                          {"config", required_argument, NULL, CONFIG},
                                          {NULL, 0, NULL, 0}};
    for (int which; (which = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (which == '?') {
            return false;
        }
        value[which] = optarg != NULL ? optarg : "";
    }
    if (optind < argc || (value[CERT] == NULL) != (value[KEY] == NULL) ||
        (value[TLS] == NULL && (value[CERT] != NULL || value[CA] != NULL))) {
        fprintf(stderr, "http: --cert and --key go together; they and --ca go with --tls\n");
        return false;
    }
    return true;
}

/* ---- the server ------------------------------------------------------------------------------ */

static int open_tls(weft_runtime *runtime, const char **value, weft_tls **ret_tls) {
    const weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT,
                                      .cert_file = value[CERT],
                                      .key_file = value[KEY],
                                      .ca_file = value[CA],
                                      .self_name = value[CERT] == NULL ? "localhost" : NULL};
    weft_tls_error error;
    int rc = weft_tls_create(runtime, &options, ret_tls, &error);
    if (rc < 0) {
        fprintf(stderr, "http: %s\n", error.text);
    }
    return rc;
}

static int serve(weft_runtime *runtime, const char *address, weft_tls *tls, const sigset_t *until) {
    const weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                               .name = "http",
                               .state_size = sizeof(http_session),
                               .receive = connection_receive,
                               .terminate = connection_terminate};
    weft_listen_options options = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                   .address = address,
                                   .tls = tls,
                                   .stream = {.idle_ns = UINT64_C(60000000000)}};
    weft_address local;
    weft_tls_error error;
    char text[WEFT_ADDRESS_TEXT_BYTES];
    int rc = weft_type_register(runtime, &def, &options.type);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_listen(runtime, &options, NULL, &local);
    if (rc < 0) {
        fprintf(stderr, "http: %s: %s\n", address, weft_strerror(rc));
        return rc;
    }
    (void)weft_address_format(&local, text, sizeof(text));
    fprintf(stderr, "http: listening on %s, %u schedulers, tls %s\n", text,
            weft_runtime_schedulers(runtime), tls != NULL ? "on" : "off");
    int signal = 0;
    while (sigwait(until, &signal) == 0 && signal == SIGHUP) {
        if (tls != NULL && weft_tls_reload(tls, &error) < 0) {
            fprintf(stderr, "http: the old certificate stays: %s\n", error.text);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *value[OPTIONS] = {[PORT] = "8080", [ADDRESS] = "*"};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .log = {NULL, weft_log_stderr}};
    weft_runtime *runtime = NULL;
    weft_tls *tls = NULL;
    weft_address checked;
    char address[WEFT_ADDRESS_TEXT_BYTES], error[256] = "";
    sigset_t signals;
    if (!read_options(argc, argv, value)) {
        return 2;
    }
    (void)snprintf(address, sizeof(address), "%s:%s", value[ADDRESS], value[PORT]);
    if (weft_address_parse(address, &checked) < 0) {
        fprintf(stderr, "http: not an address: %s\n", address);
        return 2;
    }
    (void)sigemptyset(&signals), (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT), (void)sigaddset(&signals, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    int rc = weft_config_load(&config, value[CONFIG], error, sizeof(error));
    rc = rc < 0 ? rc : weft_runtime_create(&config, &runtime);
    if (rc < 0) {
        fprintf(stderr, "http: %s\n", error[0] != '\0' ? error : weft_strerror(rc));
        return 1;
    }
    rc = value[TLS] == NULL ? 0 : open_tls(runtime, value, &tls);
    rc = rc < 0 ? rc : serve(runtime, address, tls, &signals);
    weft_tls_unref(tls);
    bool stopped = weft_runtime_stop(runtime, UINT64_C(10000000000)) == 0;
    return stopped && weft_runtime_destroy(&runtime) == 0 && rc == 0 ? 0 : 1;
}
