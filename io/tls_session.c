/* SPDX-License-Identifier: MIT
 *
 * TLS sessions: see io/tls.h. One session belongs to one stream and runs on its scheduler's thread;
 * what it shares with others, the context, is only read.
 *
 * Bytes of the peer pass three checks before the library parses them: the record headers
 * (record_guard.h), the amount a handshake may take, and, on a server, whether the client offers
 * a protocol we speak. The library asks for bytes through a callback, which copies from what was
 * fed last; since it asks until nothing is left, nothing of it is kept after handshake or read
 * have answered 0.
 *
 * The first error stays: afterwards every function answers with it and the library is not entered
 * again, because it does not stand being used after some of its errors.
 */
#define _GNU_SOURCE 1 /* strnlen */

#ifdef WEFT_TLS

#include "io/record_guard.h"
#include "io/tls_config.h"
#include <errno.h>
#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    SESSION_MAGIC = 0x746c7332,
    HANDSHAKE_BYTES_MAX = 128 << 10, /* of a peer; a long chain of certificates has 10 KiB */
    ANSWERS_MAX = 16,                /* key updates a peer may ask for in bytes fed at once */
    RECORDS_MAX = 1 << 24,           /* under one key: AES-GCM's bound (RFC 8446, 5.5) is 2^24.5 */
    READ_BYTES_MAX = 1 << 20,        /* asked of the library at once; it takes an int */
    HELLO_BYTES_MAX = WEFT__RECORD_HEADER_BYTES + WEFT__RECORD_PLAIN_MAX,
    LABEL_BYTES_MAX = 53,    /* of an exporter; what the library's buffer takes with SHA-384 */
    SECRET_BYTES_MAX = 8160, /* 255 blocks of SHA-256 */
    ALERT_CLOSE = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_NO_PROTOCOL = 120,
    NAME_BYTES = WEFT__TLS_NAME_BYTES_MAX + 1,
};

struct weft__tls_session {
    uint32_t magic;
    bool server;
    bool established;
    bool failed;      /* error is set */
    bool peer_ended;  /* close_notify has come */
    bool ended;       /* ours has gone */
    bool spoken;      /* something was emitted */
    bool hello_known; /* the first record of a client was looked at, or need not be */
    bool named;       /* the certificate is for name */
    bool misnamed;    /* its chain is good, and it is for another name */
    struct weft__record_guard guard;
    weft_tls *tls;
    struct weft__core *core;
    struct weft__tls_context *context;
    WOLFSSL *ssl;
    weft__tls_emit_fn emit;
    void *cookie;
    int emit_result;    /* negative: emit has refused */
    const uint8_t *fed; /* [borrow] what the library has not taken yet */
    size_t fed_size;
    uint32_t handshake_bytes; /* taken by the library before the session was established */
    uint32_t answers;         /* emitted by reading since the last feed */
    uint32_t records;         /* emitted under the current key */
    uint32_t hello_used;
    struct weft__tls_bytes hello; /* the first record of a client as far as it has come */
    struct weft__tls_bytes peer;  /* certificate, DER */
    char name[NAME_BYTES];        /* the certificate must have; "": any */
    weft_tls_info info;           /* filled when established */
    weft_tls_error error;
};

/* ---- errors -------------------------------------------------------------------------------- */

/* A plain alert is understood as long as this side has sent nothing else. */
static void emit_plain_alert(struct weft__tls_session *session, int alert) {
    /* type alert, version, length, fatal */
    const unsigned char record[] = {21, 3, 3, 0, 2, 2, (unsigned char)alert};
    if (!session->server || session->spoken || session->emit_result < 0) {
        return;
    }
    session->spoken = true;
    /* The session fails anyhow; the peer then sees the connection end without the reason. */
    (void)session->emit(session->cookie, record, sizeof(record));
}

/* The first error, with the alert that belongs to it. Returns its status. */
static int fail(struct weft__tls_session *session, struct weft__tls_cause cause) {
    session->fed = NULL;
    session->fed_size = 0;
    if (!session->failed) {
        session->failed = true;
        (void)weft__tls_tell(&session->error, &cause);
    }
    return session->error.status;
}

/* Fails with a text of ours, and tells the peer if it can be told. */
static int fail_with(struct weft__tls_session *session, int alert, const char *what,
                     const char *subject) {
    bool told = session->server && !session->spoken;
    struct weft__tls_cause cause = {
        .status = WEFT_E_TLS, .alert = told ? alert : -1, .what = what, .subject = subject};
    if (!session->failed) {
        emit_plain_alert(session, alert);
    }
    return fail(session, cause);
}

/* Fails with what emit answered. */
static int fail_emit(struct weft__tls_session *session) {
    struct weft__tls_cause cause = {
        .status = session->emit_result, .alert = -1, .what = "records could not be sent"};
    return fail(session, cause);
}

/* Text for an alert of the peer: it has refused us, and says why. */
static int fail_refused(struct weft__tls_session *session, int alert) {
    char what[WEFT_TLS_TEXT_BYTES];
    weft__text text;
    weft__text_init(&text, what, sizeof(what));
    weft__text_put(&text, "peer refuses: ");
    weft__text_put(&text, weft__tls_alert_text(alert));
    struct weft__tls_cause cause = {
        .status = WEFT_E_TLS, .library = FATAL_ERROR, .alert = alert, .what = what};
    return fail(session, cause);
}

/* Fails with the library's code. */
static int fail_library(struct weft__tls_session *session, int library) {
    WOLFSSL_ALERT_HISTORY alerts = {.last_rx = {-1, -1}, .last_tx = {-1, -1}};
    (void)wolfSSL_get_alert_history(session->ssl, &alerts); /* stays -1 */
    if (session->failed) {
        return session->error.status; /* a callback knew better */
    }
    if (session->emit_result < 0) {
        return fail_emit(session);
    }
    if (library == FATAL_ERROR && alerts.last_rx.code >= 0) {
        return fail_refused(session, alerts.last_rx.code);
    }
    if (library == VERIFY_CERT_ERROR && session->misnamed) {
        library = DOMAIN_NAME_MISMATCH; /* on_verify has said so */
    }
    int alert = alerts.last_tx.code;
    if (alert < 0 && session->server && !session->spoken) {
        alert = weft__tls_alert_of(library);
        emit_plain_alert(session, alert);
    }
    bool named = library == DOMAIN_NAME_MISMATCH;
    struct weft__tls_cause cause = {
        .status = weft__tls_status(library),
        .library = library,
        .alert = alert,
        .what = named ? "certificate is for another name than" : NULL,
        .subject = named ? session->name : NULL,
    };
    return fail(session, cause);
}

/* ---- the protocol (ALPN) a server takes ------------------------------------------------------ */

/* The first of ours that the client offers, as a part of our list; false: none. */
static bool choose_protocol(const char *ours, const struct weft__hello_protocols *offered,
                            size_t *ret_at, size_t *ret_length) {
    /* Rounds: our names times theirs; both lists are short and checked. */
    for (size_t at = 0; ours[at] != '\0';) {
        size_t length = strcspn(ours + at, ",");
        for (size_t i = 0; i < offered->size; i += 1 + (size_t)offered->names[i]) {
            if (offered->names[i] == length &&
                memcmp(offered->names + i + 1, ours + at, length) == 0) {
                *ret_at = at;
                *ret_length = length;
                return true;
            }
        }
        at += length + (ours[at + length] == ',' ? 1 : 0);
    }
    return false;
}

static int use_protocols(struct weft__tls_session *session, const char *names, size_t length) {
    unsigned char mode = session->tls->options.alpn_required ? WOLFSSL_ALPN_FAILED_ON_MISMATCH
                                                             : WOLFSSL_ALPN_CONTINUE_ON_MISMATCH;
    char list[NAME_BYTES];
    const char *source = names;
    if (length < sizeof(list)) { /* the library only reads it, and takes no const */
        memcpy(list, names, length);
        list[length] = '\0';
        source = list;
    }
    int library = wolfSSL_UseALPN(session->ssl, (char *)(uintptr_t)source, (word32)length, mode);
    return library == WOLFSSL_SUCCESS ? 0 : MEMORY_E;
}

/* The first record is complete: takes one protocol, so that the library has no choice left. */
static void answer_hello(struct weft__tls_session *session) {
    const weft_tls_options *options = &session->tls->options;
    struct weft__hello_protocols offered = {0};
    enum weft__hello hello = weft__hello_find(session->hello.bytes, session->hello_used, &offered);
    size_t at = 0;
    size_t length = 0;
    int library = 0;
    if (hello == WEFT__HELLO_OTHER) {
        library = use_protocols(session, options->alpn, strlen(options->alpn));
    } else if (hello == WEFT__HELLO_OFFERS &&
               choose_protocol(options->alpn, &offered, &at, &length)) {
        library = use_protocols(session, options->alpn + at, length);
    } else if (options->alpn_required) {
        (void)fail_with(session, ALERT_NO_PROTOCOL,
                        hello == WEFT__HELLO_NONE ? "peer offers no application protocol, not"
                                                  : "peer offers no protocol of",
                        options->alpn);
    }
    if (library != 0) {
        (void)fail_library(session, library);
    }
}

/* Keeps a copy of the first record while the library takes it, until it is whole. */
static void collect_hello(struct weft__tls_session *session, const uint8_t *data, size_t size) {
    struct weft__tls_bytes *hello = &session->hello;
    if (hello->bytes == NULL) {
        hello->bytes = weft__alloc(session->core, HELLO_BYTES_MAX, "tls");
        hello->size = HELLO_BYTES_MAX;
        if (hello->bytes == NULL) {
            (void)fail_library(session, MEMORY_E);
            return;
        }
    }
    size_t room = hello->size - session->hello_used;
    size_t step = size < room ? size : room;
    memcpy(hello->bytes + session->hello_used, data, step);
    session->hello_used += (uint32_t)step;
    if (session->hello_used < WEFT__RECORD_HEADER_BYTES) {
        return;
    }
    uint32_t length = (uint32_t)hello->bytes[3] << 8 | hello->bytes[4];
    if (session->hello_used >= WEFT__RECORD_HEADER_BYTES + length || step < size) {
        session->hello_known = true;
        answer_hello(session);
        weft__tls_bytes_fini(session->core, hello);
    }
}

/* ---- callbacks of the library ------------------------------------------------------------------ */

static int on_receive(WOLFSSL *ssl, char *buffer, int size, void *cookie) {
    (void)ssl;
    struct weft__tls_session *session = cookie;
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->fed_size == 0 || size <= 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    size_t step = (size_t)size < session->fed_size ? (size_t)size : session->fed_size;
    if (!session->established) {
        session->handshake_bytes += (uint32_t)step;
        if (session->handshake_bytes > HANDSHAKE_BYTES_MAX) {
            (void)fail_with(session, ALERT_INTERNAL_ERROR, "handshake takes too many bytes", NULL);
            return WOLFSSL_CBIO_ERR_GENERAL;
        }
    }
    if (!session->hello_known) {
        collect_hello(session, session->fed, step);
        if (session->failed) {
            return WOLFSSL_CBIO_ERR_GENERAL;
        }
    }
    memcpy(buffer, session->fed, step);
    session->fed += step;
    session->fed_size -= step;
    return (int)step;
}

static int on_send(WOLFSSL *ssl, char *buffer, int size, void *cookie) {
    (void)ssl;
    struct weft__tls_session *session = cookie;
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->emit_result == 0) {
        int result = session->emit(session->cookie, buffer, (size_t)size);
        session->emit_result = result < 0 ? result : 0;
    }
    if (session->emit_result < 0) {
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    session->spoken = true;
    session->records++;
    session->answers++;
    return size;
}

/* Whether the leaf is for the name that is wanted, if one is. */
static bool check_name(struct weft__tls_session *session) {
    struct weft__tls_parts parts;
    session->named = session->name[0] == '\0' ||
                     (weft__tls_parts_find(session->peer.bytes, session->peer.size, &parts) &&
                      weft__tls_name_fits(parts.names, session->name));
    session->misnamed = !session->named;
    return session->named;
}

/* Is shown every certificate of the peer, the leaf last, when its chain is verified; the leaf is the
 * only way to its bytes that works with every kind of key and every build of the library. 1 goes on,
 * 0 refuses, and the library tells the peer. */
static int on_verify(int good, WOLFSSL_X509_STORE_CTX *store) {
    struct weft__tls_session *session = store->userCtx;
    weft_assert(session->magic == SESSION_MAGIC);
    bool verifies =
        session->server ? session->context->server_verifies : session->context->client_verifies;
    if (store->error_depth == 0 && store->totalCerts > 0 && session->peer.bytes == NULL) {
        size_t size = store->certs[0].length;
        session->peer.bytes = size == 0 ? NULL : weft__alloc(session->core, size, "tls");
        if (session->peer.bytes == NULL) {
            (void)fail_library(session, MEMORY_E);
            return 0;
        }
        session->peer.size = size;
        memcpy(session->peer.bytes, store->certs[0].buffer, size);
    }
    if (!verifies) {
        return 1;
    }
    if (good && store->error_depth == 0 && !session->server) {
        return check_name(session) ? 1 : 0;
    }
    return good;
}

/* ---- opening and closing ----------------------------------------------------------------------- */

/* The name a client wants to see, and says in SNI, which has no addresses. */
static int set_name(struct weft__tls_session *session, const char *name) {
    unsigned char address[16];
    size_t length = strnlen(name, NAME_BYTES);
    if (length > 1 && length < NAME_BYTES && name[length - 1] == '.') {
        length--; /* names in certificates do not end in a dot */
    }
    if (length == 0 || length >= NAME_BYTES) {
        struct weft__tls_cause cause = {
            .status = WEFT_E_TLS, .alert = -1, .what = "no name of a host:", .subject = name};
        return fail(session, cause);
    }
    memcpy(session->name, name, length);
    session->name[length] = '\0';
    if (weft__tls_address(session->name, address) == 0 &&
        wolfSSL_UseSNI(session->ssl, WOLFSSL_SNI_HOST_NAME, session->name, (word16)length) !=
            WOLFSSL_SUCCESS) {
        return fail_library(session, MEMORY_E);
    }
    return 0;
}

/* Which certificates are asked for, and what is done when there is none. */
static int verify_mode(const struct weft__tls_session *session) {
    if (!session->server) {
        return session->context->client_verifies ? WOLFSSL_VERIFY_PEER : WOLFSSL_VERIFY_NONE;
    }
    if (session->context->server_verifies) {
        return WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    /* Said explicitly, none means any: a client is asked, and may have one to be pinned. */
    return session->tls->options.verify == WEFT_TLS_VERIFY_NONE ? WOLFSSL_VERIFY_PEER
                                                                : WOLFSSL_VERIFY_NONE;
}

static int set_up(struct weft__tls_session *session, const struct weft__tls_setup *setup) {
    const char *alpn = session->tls->options.alpn;
    wolfSSL_SSLSetIORecv(session->ssl, on_receive);
    wolfSSL_SSLSetIOSend(session->ssl, on_send);
    wolfSSL_SetIOReadCtx(session->ssl, session);
    wolfSSL_SetIOWriteCtx(session->ssl, session);
    wolfSSL_SetCertCbCtx(session->ssl, session);
    wolfSSL_set_verify(session->ssl, verify_mode(session), on_verify);
    wolfSSL_KeepArrays(session->ssl); /* the secret of exporters is in there */
    session->hello_known = !session->server || alpn == NULL;
    if (session->server) {
        return 0;
    }
    if (alpn != NULL && use_protocols(session, alpn, strlen(alpn)) != 0) {
        return fail_library(session, MEMORY_E);
    }
    return setup->name == NULL ? 0 : set_name(session, setup->name);
}

/* No context for this side: the session exists to tell why, at its handshake. */
static void set_up_unusable(struct weft__tls_session *session) {
    if (session->server) {
        (void)fail_with(session, ALERT_INTERNAL_ERROR, "no certificate is configured", NULL);
        return;
    }
    session->failed = true;
    session->error = session->context->client_error;
    session->error.status = WEFT_E_TLS;
}

int weft__tls_open(const struct weft__tls_setup *setup, struct weft__tls_session **ret_session) {
    struct weft__core *core = setup->tls->core;
    struct weft__tls_session *session = weft__alloc(core, sizeof(*session), "tls");
    if (session == NULL) {
        return -ENOMEM;
    }
    session->magic = SESSION_MAGIC;
    session->error.alert = -1;
    session->server = setup->server;
    session->core = core;
    session->tls = weft_tls_ref(setup->tls);
    session->context = weft__tls_context_take(setup->tls);
    session->emit = setup->emit;
    session->cookie = setup->cookie;
    weft__record_guard_init(&session->guard);
    WOLFSSL_CTX *side = session->server ? session->context->server : session->context->client;
    if (side == NULL) {
        set_up_unusable(session);
        *ret_session = session;
        return 0;
    }
    session->ssl = wolfSSL_new(side);
    weft__tls_clear_queue();
    int result = session->ssl == NULL ? -ENOMEM : set_up(session, setup);
    if (result == -ENOMEM) {
        weft__tls_close(&session);
        return result;
    }
    *ret_session = session;
    return 0;
}

void weft__tls_close(struct weft__tls_session **at) {
    struct weft__tls_session *session = *at;
    *at = NULL;
    if (session == NULL) {
        return;
    }
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->ssl != NULL) {
        wolfSSL_free(session->ssl);
    }
    weft__tls_bytes_fini(session->core, &session->hello);
    weft__tls_bytes_fini(session->core, &session->peer);
    weft__tls_context_unref(session->context);
    weft_tls *tls = session->tls;
    struct weft__core *core = session->core;
    session->magic = 0;
    weft__free(core, session, sizeof(*session), "tls");
    weft_tls_unref(tls);
}

/* ---- the handshake ----------------------------------------------------------------------------- */

int weft__tls_feed(struct weft__tls_session *session, const void *data, size_t size) {
    weft_assert(session->magic == SESSION_MAGIC);
    weft_assert(session->fed_size == 0); /* what was fed before is used up */
    if (session->failed) {
        return session->error.status;
    }
    session->guard.answered = session->server && session->spoken;
    enum weft__record_fault fault = weft__record_guard_check(&session->guard, data, size);
    if (fault == WEFT__RECORD_ALERT) {
        int alert = session->guard.alert[1];
        return alert == ALERT_CLOSE ? fail_library(session, ZERO_RETURN)
                                    : fail_refused(session, alert);
    }
    if (session->guard.alerted && fault == WEFT__RECORD_GOOD) {
        return 0; /* the session fails when the rest of it has come: no use of what came before */
    }
    if (fault != WEFT__RECORD_GOOD) {
        return fail_with(session, ALERT_UNEXPECTED_MESSAGE, weft__record_fault_text(fault), NULL);
    }
    session->answers = 0;
    session->fed = size == 0 ? NULL : data;
    session->fed_size = size;
    return 0;
}

/* Text of the library, which is not always terminated. */
static void copy_text(char *target, size_t target_size, const char *source, size_t source_size) {
    size_t size = source_size < target_size ? source_size : target_size - 1;
    if (size > 0) {
        memcpy(target, source, size);
    }
    target[size] = '\0';
}

/* What weft_stream_tls_inspect will say. Read now, because the library forgets some of it. */
static void fill_info(struct weft__tls_session *session) {
    weft_tls_info *info = &session->info;
    info->struct_size = WEFT_TLS_INFO_INIT;
    const char *suite = wolfSSL_get_cipher_name(session->ssl);
    copy_text(info->suite, sizeof(info->suite), suite, suite == NULL ? 0 : strlen(suite));
    char *protocol = NULL;
    word16 protocol_size = 0;
    if (wolfSSL_ALPN_GetProtocol(session->ssl, &protocol, &protocol_size) == WOLFSSL_SUCCESS) {
        copy_text(info->alpn, sizeof(info->alpn), protocol, protocol_size);
    }
    if (session->server) {
        void *asked = NULL;
        word16 size = wolfSSL_SNI_GetRequest(session->ssl, WOLFSSL_SNI_HOST_NAME, &asked);
        copy_text(info->name, sizeof(info->name), asked, asked == NULL ? 0 : size);
    } else {
        copy_text(info->name, sizeof(info->name), session->name, strlen(session->name));
    }
    bool verifies =
        session->server ? session->context->server_verifies : session->context->client_verifies;
    info->peer_verified = verifies && session->peer.bytes != NULL;
}

/* The library has succeeded; now what it does not check by itself. */
static int finish_handshake(struct weft__tls_session *session) {
    const weft_tls_options *options = &session->tls->options;
    bool verifies =
        session->server ? session->context->server_verifies : session->context->client_verifies;
    weft__tls_bytes_fini(session->core, &session->hello);
    fill_info(session);
    if (verifies && session->peer.bytes == NULL) {
        return fail_library(session, NO_PEER_CERT);
    }
    if (verifies && !session->server && !session->named) {
        return fail_library(session, DOMAIN_NAME_MISMATCH); /* the library has not shown the leaf */
    }
    if (options->alpn_required && session->info.alpn[0] == '\0') {
        return fail_with(session, ALERT_NO_PROTOCOL, "peer takes no application protocol of",
                         options->alpn);
    }
    if (session->peer.bytes != NULL &&
        wc_Sha256Hash(session->peer.bytes, (word32)session->peer.size, session->info.peer_sha256) !=
            0) {
        return fail_library(session, MEMORY_E);
    }
    session->established = true;
    return 1;
}

int weft__tls_handshake(struct weft__tls_session *session) {
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->failed) {
        return session->error.status;
    }
    if (session->established) {
        return 1;
    }
    int result = session->server ? wolfSSL_accept(session->ssl) : wolfSSL_connect(session->ssl);
    if (session->failed) {
        return session->error.status;
    }
    if (result == WOLFSSL_SUCCESS) {
        return finish_handshake(session);
    }
    int library = wolfSSL_get_error(session->ssl, result);
    if (library == WOLFSSL_ERROR_WANT_READ) {
        return 0;
    }
    return fail_library(session, library);
}

/* ---- traffic ----------------------------------------------------------------------------------- */

int weft__tls_read(struct weft__tls_session *session, void *data, size_t size) {
    weft_assert(session->magic == SESSION_MAGIC);
    weft_assert(size > 0);
    if (session->failed) {
        return session->error.status;
    }
    weft_assert(session->established);
    if (session->peer_ended) {
        session->fed_size = 0; /* nothing after a close_notify counts */
        return WEFT__TLS_END;
    }
    int wanted = size > READ_BYTES_MAX ? READ_BYTES_MAX : (int)size;
    int result = wolfSSL_read(session->ssl, data, wanted);
    if (session->failed) {
        return session->error.status;
    }
    if (session->answers > ANSWERS_MAX) {
        return fail_with(session, ALERT_UNEXPECTED_MESSAGE, "peer asks for too many key updates",
                         NULL);
    }
    if (result > 0) {
        return result;
    }
    int library = wolfSSL_get_error(session->ssl, result);
    if (library == WOLFSSL_ERROR_WANT_READ) {
        return 0;
    }
    if (library == WOLFSSL_ERROR_ZERO_RETURN || library == ZERO_RETURN) {
        session->peer_ended = true;
        session->fed_size = 0;
        weft__tls_clear_queue();
        return WEFT__TLS_END;
    }
    return fail_library(session, library);
}

int weft__tls_rekey(struct weft__tls_session *session) {
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->failed) {
        return session->error.status;
    }
    if (!session->established || session->ended) {
        return -ENOTCONN;
    }
    int result = wolfSSL_update_keys(session->ssl);
    if (result != WOLFSSL_SUCCESS) {
        return fail_library(session, result);
    }
    session->records = 0;
    return 0;
}

int weft__tls_write(struct weft__tls_session *session, const void *data, size_t size) {
    weft_assert(session->magic == SESSION_MAGIC);
    const uint8_t *at = data;
    size_t left = size;
    if (session->failed) {
        return session->error.status;
    }
    weft_assert(session->established);
    weft_assert(!session->ended);
    /* Every round emits one record or fails. */
    while (left > 0) {
        /* The library's own bound for AES-GCM is too high by 2^16: it never acts. */
        if (session->records >= RECORDS_MAX) {
            int result = weft__tls_rekey(session);
            if (result != 0) {
                return result;
            }
        }
        int step = left > WEFT__RECORD_PLAIN_MAX ? WEFT__RECORD_PLAIN_MAX : (int)left;
        int result = wolfSSL_write(session->ssl, at, step);
        if (result != step) {
            return fail_library(session, wolfSSL_get_error(session->ssl, result));
        }
        at += step;
        left -= (size_t)step;
    }
    session->answers = 0; /* only what reading emits counts */
    return 0;
}

int weft__tls_end(struct weft__tls_session *session) {
    weft_assert(session->magic == SESSION_MAGIC);
    if (session->failed) {
        return session->error.status;
    }
    if (session->ended || !session->established) {
        return 0;
    }
    session->ended = true;
    int result = wolfSSL_shutdown(session->ssl);
    if (result < 0 || session->emit_result < 0) {
        return fail_library(session, wolfSSL_get_error(session->ssl, result));
    }
    return 0;
}

/* ---- what a session knows ---------------------------------------------------------------------- */

int weft__tls_inspect(struct weft__tls_session *session, weft_tls_info *ret_info) {
    weft_assert(session->magic == SESSION_MAGIC);
    if (!session->established) {
        return -ENOTCONN;
    }
    if (ret_info == NULL || ret_info->struct_size < WEFT_TLS_INFO_INIT) {
        return -EINVAL;
    }
    size_t size = ret_info->struct_size;
    memcpy(ret_info, &session->info, WEFT_TLS_INFO_INIT);
    ret_info->struct_size = size;
    return 0;
}

int weft__tls_peer(struct weft__tls_session *session, const void **ret_der, size_t *ret_size) {
    weft_assert(session->magic == SESSION_MAGIC);
    if (!session->established) {
        return -ENOTCONN;
    }
    *ret_der = session->peer.bytes;
    *ret_size = session->peer.size;
    return 0;
}

int weft__tls_export(struct weft__tls_session *session, const struct weft__tls_export *what) {
    weft_assert(session->magic == SESSION_MAGIC);
    /* After both sides have ended, one build of the library has erased the secret. */
    if (session->failed || !session->established || (session->ended && session->peer_ended)) {
        return -ENOTCONN;
    }
    size_t label_size = what->label == NULL ? 0 : strnlen(what->label, LABEL_BYTES_MAX + 1);
    if (label_size == 0 || label_size > LABEL_BYTES_MAX || what->secret == NULL ||
        what->secret_size == 0 || what->secret_size > SECRET_BYTES_MAX ||
        (what->context == NULL && what->context_size > 0) || what->context_size > UINT16_MAX) {
        return -EINVAL;
    }
    const unsigned char *context =
        what->context == NULL ? (const unsigned char *)"" : what->context;
    int result =
        wolfSSL_export_keying_material(session->ssl, what->secret, what->secret_size, what->label,
                                       label_size, context, what->context_size, 1);
    weft__tls_clear_queue();
    return result == WOLFSSL_SUCCESS ? 0 : -EINVAL; /* a label that TLS itself uses */
}

void weft__tls_error(const struct weft__tls_session *session, weft_tls_error *ret_error) {
    weft_assert(session->magic == SESSION_MAGIC);
    *ret_error = session->error;
}

#endif
