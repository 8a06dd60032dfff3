/* SPDX-License-Identifier: MIT
 *
 * An echo server over TCP or TLS: what a client sends comes back. One actor per connection.
 *
 *   echo [--port N] [--address A] [--tls [--cert FILE --key FILE] [--ca FILE]] [--config FILE]
 *
 * With --tls and no --cert it makes a certificate and says its fingerprint; with --ca clients must
 * have a certificate of that CA. SIGHUP reads the files again; SIGTERM and SIGINT end the program,
 * with status 0. 1: something failed, 2: wrong options.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <weft/weft.h>

enum { PORT, ADDRESS, TLS, CERT, KEY, CA, CONFIG, OPTIONS };

/* ---- a connection ---------------------------------------------------------------------------- */

/* Nothing to remember, so the actor has no state. A peer that does not read stops being read, so
 * what waits to be sent is bounded. When the peer ends, the connection sends what is left and
 * closes by itself. */
static int echo_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    int rc = weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
    /* Not rc itself: WEFT_STREAM_FULL is no reason to stop, and after -EPIPE, which means that the
     * peer has gone, CLOSED will say why. */
    return rc < 0 && rc != -EPIPE ? rc : WEFT_CONTINUE;
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
            return false; /* getopt_long has said why */
        }
        value[which] = optarg != NULL ? optarg : "";
    }
    if (optind < argc || (value[CERT] == NULL) != (value[KEY] == NULL) ||
        (value[TLS] == NULL && (value[CERT] != NULL || value[CA] != NULL))) {
        fprintf(stderr, "echo: --cert and --key go together; they and --ca go with --tls\n");
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
    unsigned char digest[32];
    int rc = weft_tls_create(runtime, &options, ret_tls, &error);
    if (rc < 0) {
        fprintf(stderr, "echo: %s\n", error.text);
    } else if (value[CERT] == NULL && weft_tls_fingerprint(*ret_tls, digest) == 0) {
        fprintf(stderr, "echo: certificate made, SHA-256 ");
        for (size_t i = 0; i < sizeof(digest); i++) {
            fprintf(stderr, "%s%02X", i == 0 ? "" : ":", digest[i]);
        }
        fprintf(stderr, "\n");
    }
    return rc;
}

static int serve(weft_runtime *runtime, const char *address, weft_tls *tls, const sigset_t *until) {
    const weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "echo", .receive = echo_receive};
    weft_listen_options options = {
        .struct_size = WEFT_LISTEN_OPTIONS_INIT, .address = address, .tls = tls};
    weft_address local;
    weft_tls_error error;
    char text[WEFT_ADDRESS_TEXT_BYTES];
    int rc = weft_type_register(runtime, &def, &options.type);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_listen(runtime, &options, NULL, &local);
    if (rc < 0) {
        fprintf(stderr, "echo: %s: %s\n", address, weft_strerror(rc));
        return rc;
    }
    (void)weft_address_format(&local, text, sizeof(text)); /* always enough */
    fprintf(stderr, "echo: listening on %s, %u schedulers, tls %s\n", text,
            weft_runtime_schedulers(runtime), tls != NULL ? "on" : "off");
    int signal = 0; /* the schedulers do all the work while this thread waits */
    while (sigwait(until, &signal) == 0 && signal == SIGHUP) {
        if (tls != NULL && weft_tls_reload(tls, &error) < 0) {
            fprintf(stderr, "echo: the old certificate stays: %s\n", error.text);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *value[OPTIONS] = {[PORT] = "7000", [ADDRESS] = "*"};
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
        fprintf(stderr, "echo: not an address: %s\n", address);
        return 2;
    }
    /* Before any thread is started: sigwait in this thread takes them, nothing else does. */
    (void)sigemptyset(&signals), (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT), (void)sigaddset(&signals, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    int rc = weft_config_load(&config, value[CONFIG], error, sizeof(error));
    rc = rc < 0 ? rc : weft_runtime_create(&config, &runtime);
    if (rc < 0) {
        fprintf(stderr, "echo: %s\n", error[0] != '\0' ? error : weft_strerror(rc));
        return 1;
    }
    rc = value[TLS] == NULL ? 0 : open_tls(runtime, value, &tls);
    rc = rc < 0 ? rc : serve(runtime, address, tls, &signals);
    weft_tls_unref(tls);
    /* Closes every connection, after what was written to it has been sent. */
    bool stopped = weft_runtime_stop(runtime, UINT64_C(10000000000)) == 0;
    return stopped && weft_runtime_destroy(&runtime) == 0 && rc == 0 ? 0 : 1;
}
