/* SPDX-License-Identifier: MIT
 *
 * A client that says on standard output what happens to one connection, for test_client.py, which
 * connects it to servers that are not weft. Public API only.
 *
 *   stream_client ADDRESS [--tls] [--ca FILE] [--cert FILE --key FILE] [--name NAME] [--alpn LIST]
 *                 [--insecure] [--timeout MS] [--handshake MS] [--send TEXT] [--until TEXT] [--end]
 *                 [--abort]
 *
 * Lines: "open", "tls SUITE alpn=... verified=0|1 peer=SHA256", "data BYTES", "end",
 * "closed STATUS TEXT", "why alert=N TEXT". --send is sent once open; after --until was received,
 * or with nothing to send, the connection is closed. It ends with 0 when CLOSED has come, 1 when
 * something else failed, 2 for wrong options, 3 when nothing happened for too long.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

enum {
    TLS,
    CA,
    CERT,
    KEY,
    NAME,
    ALPN,
    INSECURE,
    TIMEOUT,
    HANDSHAKE,
    SEND,
    UNTIL,
    END,
    ABORT,
    OPTIONS
};
enum { WAIT_S = 60, RECEIVED_MAX = 1 << 16 };
#define MS      UINT64_C(1000000)
#define STOP_NS UINT64_C(10000000000)

/* ---- the connection -------------------------------------------------------------------------- */

/* Shared with main, which waits for over. */
typedef struct client_plan {
    const char *value[OPTIONS];
    sem_t over;
} client_plan;

typedef struct connection {
    client_plan *plan;
    size_t size;
    char received[RECEIVED_MAX];
} connection;

static int connection_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    if (arg_size != sizeof(client_plan *)) {
        return -EINVAL;
    }
    memcpy(&((connection *)state)->plan, arg, arg_size);
    return 0;
}

static void say_tls(weft_ctx *ctx) {
    weft_tls_info info = {.struct_size = WEFT_TLS_INFO_INIT};
    if (weft_stream_tls_inspect(ctx, &info) < 0) {
        return;
    }
    printf("tls %s alpn=%s verified=%d peer=", info.suite, info.alpn, info.peer_verified);
    for (size_t i = 0; i < sizeof(info.peer_sha256); i++) {
        printf("%s%02X", i == 0 ? "" : ":", info.peer_sha256[i]);
    }
    printf("\n");
}

static int connection_open(weft_ctx *ctx, const connection *self) {
    const char *const *value = self->plan->value;
    printf("open\n");
    say_tls(ctx);
    int rc = 0;
    if (value[SEND] != NULL) {
        rc = weft_stream_write(ctx, value[SEND], strlen(value[SEND]));
    }
    if (rc >= 0 && value[END] != NULL) {
        rc = weft_stream_end(ctx);
    } else if (rc >= 0 && value[SEND] == NULL && value[UNTIL] == NULL) {
        rc = weft_stream_close(ctx);
    }
    return rc < 0 ? rc : WEFT_CONTINUE;
}

static int connection_data(weft_ctx *ctx, connection *self, const weft_msg *msg) {
    const char *until = self->plan->value[UNTIL];
    const size_t size = weft_msg_size(msg);
    printf("data %zu\n", size);
    if (size > RECEIVED_MAX - self->size) {
        return -EMSGSIZE;
    }
    memcpy(self->received + self->size, weft_msg_data(msg), size);
    self->size += size;
    if (until == NULL || memmem(self->received, self->size, until, strlen(until)) == NULL) {
        return WEFT_CONTINUE;
    }
    printf("received all\n");
    int rc = self->plan->value[ABORT] != NULL ? weft_stream_abort(ctx) : weft_stream_close(ctx);
    return rc < 0 ? rc : WEFT_CONTINUE;
}

static void connection_closed(weft_ctx *ctx, const connection *self, int status) {
    weft_tls_error error;
    printf("closed %d %s\n", status, weft_strerror(status));
    if (weft_stream_tls_error(ctx, &error) == 0) {
        printf("why alert=%d %s\n", error.alert, error.text);
    }
    fflush(stdout);
    (void)sem_post(&self->plan->over); /* cannot overflow: once */
}

static int connection_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    connection *self = (connection *)state;
    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        return WEFT_CONTINUE;
    }
    switch (weft_msg_tag(msg)) {
    case WEFT_IO_OPEN:
        return connection_open(ctx, self);
    case WEFT_IO_DATA:
        return connection_data(ctx, self, msg);
    case WEFT_IO_END:
        printf("end\n");
        break;
    case WEFT_IO_CLOSED:
        connection_closed(ctx, self, weft_msg_status(msg));
        break;
    default:
        break;
    }
    return WEFT_CONTINUE;
}

/* ---- the program ----------------------------------------------------------------------------- */

static bool read_options(int argc, char **argv, const char **value) {
    static const struct option names[] = {{"tls", no_argument, NULL, TLS},
                                          {"ca", required_argument, NULL, CA},
                                          {"cert", required_argument, NULL, CERT},
                                          {"key", required_argument, NULL, KEY},
                                          {"name", required_argument, NULL, NAME},
                                          {"alpn", required_argument, NULL, ALPN},
                                          {"insecure", no_argument, NULL, INSECURE},
                                          {"timeout", required_argument, NULL, TIMEOUT},
                                          {"handshake", required_argument, NULL, HANDSHAKE},
                                          {"send", required_argument, NULL, SEND},
                                          {"until", required_argument, NULL, UNTIL},
                                          {"end", no_argument, NULL, END},
                                          {"abort", no_argument, NULL, ABORT},
                                          {NULL, 0, NULL, 0}};
    for (int which; (which = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (which == '?') {
            return false;
        }
        value[which] = optarg != NULL ? optarg : "";
    }
    return optind + 1 == argc;
}

static int open_tls(weft_runtime *runtime, const char **value, weft_tls **ret_tls) {
    const weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT,
                                      .cert_file = value[CERT],
                                      .key_file = value[KEY],
                                      .ca_file = value[CA],
                                      .alpn = value[ALPN],
                                      .alpn_required = value[ALPN] != NULL,
                                      .verify = value[INSECURE] != NULL ? WEFT_TLS_VERIFY_NONE
                                                                        : WEFT_TLS_VERIFY_DEFAULT};
    weft_tls_error error;
    int rc = weft_tls_create(runtime, &options, ret_tls, &error);
    if (rc < 0) {
        printf("tls: %s\n", error.text);
    }
    return rc;
}

static uint64_t duration(const char *text) {
    return text == NULL ? 0 : strtoull(text, NULL, 10) * MS;
}

/* Connects and waits for CLOSED; 0, or -ETIMEDOUT when it does not come. */
static int run(weft_runtime *runtime, const char *address, client_plan *plan, weft_tls *tls) {
    const weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                               .name = "connection",
                               .state_size = sizeof(connection),
                               .init = connection_init,
                               .receive = connection_receive};
    weft_connect_options options = {
        .struct_size = WEFT_CONNECT_OPTIONS_INIT,
        .address = address,
        .arg = &plan,
        .arg_size = sizeof(plan),
        .timeout_ns = duration(plan->value[TIMEOUT]),
        .tls = tls,
        .tls_name = plan->value[NAME],
        .stream = {.handshake_ns = duration(plan->value[HANDSHAKE]), .linger_ns = 1000 * MS}};
    weft_pid pid;
    int rc = weft_type_register(runtime, &def, &options.type);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_runtime_connect(runtime, &options, &pid);
    if (rc < 0) {
        printf("connect: %d %s\n", rc, weft_strerror(rc));
        return rc;
    }
    struct timespec deadline;
    if (timespec_get(&deadline, TIME_UTC) == 0) {
        return -EINVAL;
    }
    deadline.tv_sec += WAIT_S;
    return sem_timedwait(&plan->over, &deadline) == 0 ? 0 : -errno;
}

int main(int argc, char **argv) {
    client_plan plan = {.value = {NULL}};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .log = {NULL, weft_log_stderr}};
    weft_runtime *runtime = NULL;
    weft_tls *tls = NULL;
    char error[256] = "";
    if (!read_options(argc, argv, plan.value) || sem_init(&plan.over, 0, 0) != 0) {
        fprintf(stderr, "stream_client: wrong options\n");
        return 2;
    }
    int rc = weft_config_load(&config, NULL, error, sizeof(error));
    rc = rc < 0 ? rc : weft_runtime_create(&config, &runtime);
    if (rc < 0) {
        fprintf(stderr, "stream_client: %s %s\n", weft_strerror(rc), error);
        return 1;
    }
    rc = plan.value[TLS] == NULL ? 0 : open_tls(runtime, plan.value, &tls);
    rc = rc < 0 ? rc : run(runtime, argv[optind], &plan, tls);
    weft_tls_unref(tls);
    bool stopped = weft_runtime_stop(runtime, STOP_NS) == 0;
    if (!stopped || weft_runtime_destroy(&runtime) < 0) {
        fprintf(stderr, "stream_client: the runtime does not end\n");
        return 1;
    }
    return rc == -ETIMEDOUT ? 3 : rc < 0 ? 1 : 0;
}
