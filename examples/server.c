/* SPDX-License-Identifier: MIT
 *
 * The frame of a server: see server.h.
 */
#define _GNU_SOURCE 1
#include "server.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { PORT, ADDRESS, TLS, CERT, KEY, CA, CONFIG, OPTIONS };

static bool read_options(const server *self, int argc, char **argv, const char **value) {
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
        fprintf(stderr, "%s: --cert and --key go together; they and --ca go with --tls\n",
                self->name);
        return false;
    }
    return true;
}

static int open_tls(const server *self, weft_runtime *runtime, const char **value,
                    weft_tls **ret_tls) {
    const weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT,
                                      .cert_file = value[CERT],
                                      .key_file = value[KEY],
                                      .ca_file = value[CA],
                                      .self_name = value[CERT] == NULL ? "localhost" : NULL};
    weft_tls_error error;
    unsigned char digest[32];
    int rc = weft_tls_create(runtime, &options, ret_tls, &error);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", self->name, error.text);
    } else if (value[CERT] == NULL && weft_tls_fingerprint(*ret_tls, digest) == 0) {
        fprintf(stderr, "%s: certificate made, SHA-256 ", self->name);
        for (size_t i = 0; i < sizeof(digest); i++) {
            fprintf(stderr, "%s%02X", i == 0 ? "" : ":", digest[i]);
        }
        fprintf(stderr, "\n");
    }
    return rc;
}

/* Listens until a signal ends it. */
static int serve(const server *self, weft_runtime *runtime, const char *address, weft_tls *tls,
                 const sigset_t *until) {
    weft_listen_options options = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                   .address = address,
                                   .arg = self->arg != NULL ? &self->arg : NULL,
                                   .arg_size = self->arg != NULL ? sizeof(self->arg) : 0,
                                   .tls = tls,
                                   .stream = self->stream};
    weft_address local;
    weft_tls_error error;
    char text[WEFT_ADDRESS_TEXT_BYTES];
    int rc = weft_type_register(runtime, &self->type, &options.type);
    rc = rc < 0 || self->prepare == NULL ? rc : self->prepare(runtime, self->arg);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_listen(runtime, &options, NULL, &local);
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s\n", self->name, address, weft_strerror(rc));
        return rc;
    }
    (void)weft_address_format(&local, text, sizeof(text)); /* always enough */
    fprintf(stderr, "%s: listening on %s, %u schedulers, tls %s\n", self->name, text,
            weft_runtime_schedulers(runtime), tls != NULL ? "on" : "off");
    int signal = 0; /* the schedulers do all the work while this thread waits */
    while (sigwait(until, &signal) == 0 && signal == SIGHUP) {
        if (tls != NULL && weft_tls_reload(tls, &error) < 0) {
            fprintf(stderr, "%s: the old certificate stays: %s\n", self->name, error.text);
        }
    }
    return 0;
}

int server_main(const server *self, int argc, char **argv) {
    const char *value[OPTIONS] = {[PORT] = self->port, [ADDRESS] = "*"};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .log = {NULL, weft_log_stderr}};
    weft_runtime *runtime = NULL;
    weft_tls *tls = NULL;
    weft_address checked;
    char address[WEFT_ADDRESS_TEXT_BYTES], error[256] = "";
    sigset_t signals;
    if (!read_options(self, argc, argv, value)) {
        return 2;
    }
    (void)snprintf(address, sizeof(address), "%s:%s", value[ADDRESS], value[PORT]);
    if (weft_address_parse(address, &checked) < 0) {
        fprintf(stderr, "%s: not an address: %s\n", self->name, address);
        return 2;
    }
    /* Before any thread is started: sigwait in this thread takes them, nothing else does. */
    (void)sigemptyset(&signals), (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT), (void)sigaddset(&signals, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    if (self->configure != NULL) {
        self->configure(&config);
    }
    int rc = weft_config_load(&config, value[CONFIG], error, sizeof(error));
    rc = rc < 0 ? rc : weft_runtime_create(&config, &runtime);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", self->name, error[0] != '\0' ? error : weft_strerror(rc));
        return 1;
    }
    rc = value[TLS] == NULL ? 0 : open_tls(self, runtime, value, &tls);
    rc = rc < 0 ? rc : serve(self, runtime, address, tls, &signals);
    weft_tls_unref(tls);
    /* Closes every connection, when what was written was sent or linger_ns (5 s) is over. */
    if (weft_runtime_stop(runtime, UINT64_C(10000000000)) != 0) {
        fprintf(stderr, "%s: not stopped after 10 s\n", self->name);
        _exit(1); /* its actors still run: whatever they use may not be freed */
    }
    return weft_runtime_destroy(&runtime) == 0 && rc == 0 ? 0 : 1;
}
