/* SPDX-License-Identifier: MIT
 *
 * TLS of peers: wolfSSL on blocking or spinning sockets, as its examples use it. The only file of
 * weft-perf that knows the library; in a build without it nothing here may be called. Suite, group
 * and kind of certificate are those that weft takes, so that both sides of a comparison compute
 * the same. Only peers come here; any of their threads, each session by one.
 */
#define _GNU_SOURCE 1
#include "io.h"

#ifdef WEFT_TLS

/* First, or ssl.h does not match the library. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/random.h>

#include <errno.h>
#include <stdlib.h>

enum { CERTIFICATE_BYTES = 2048, KEY_BYTES = 512, NAME_BYTES = 16 };

bool perf_tls_built(void) {
    return true;
}

static void check(bool good, const char *what, int code) {
    if (!good) {
        perf_die("wolfSSL: %s: %d", what, code);
    }
}

/* An Ed25519 certificate signed by itself; returns its size, *ret_key_size that of the key. */
static int certificate_make(unsigned char *certificate, unsigned char *key, int *ret_key_size) {
    Cert *description = perf_alloc(1, sizeof(*description)); /* 25 KiB: not for the stack */
    ed25519_key pair;
    WC_RNG random;
    int size;

    check(wc_InitRng(&random) == 0, "random numbers", 0);
    check(wc_ed25519_init(&pair) == 0, "key", 0);
    check(wc_ed25519_make_key(&random, ED25519_KEY_SIZE, &pair) == 0, "key", 0);
    check(wc_InitCert(description) == 0, "certificate", 0);
    memcpy(description->subject.commonName, "weft-perf", sizeof("weft-perf"));
    description->isCA = 0;
    description->sigType = CTC_ED25519;
    size =
        wc_MakeCert_ex(description, certificate, CERTIFICATE_BYTES, ED25519_TYPE, &pair, &random);
    check(size > 0, "certificate", size);
    size = wc_SignCert_ex(description->bodySz, description->sigType, certificate, CERTIFICATE_BYTES,
                          ED25519_TYPE, &pair, &random);
    check(size > 0, "signature", size);
    *ret_key_size = wc_Ed25519KeyToDer(&pair, key, KEY_BYTES);
    check(*ret_key_size > 0, "key", *ret_key_size);
    wc_ed25519_free(&pair);
    (void)wc_FreeRng(&random); /* the process goes on without it */
    free(description);
    return size;
}

static void config_certify(WOLFSSL_CTX *context) {
    unsigned char certificate[CERTIFICATE_BYTES];
    unsigned char key[KEY_BYTES];
    int key_size = 0;
    int size = certificate_make(certificate, key, &key_size);

    check(wolfSSL_CTX_use_certificate_buffer(context, certificate, size, SSL_FILETYPE_ASN1) ==
              WOLFSSL_SUCCESS,
          "use the certificate", 0);
    check(wolfSSL_CTX_use_PrivateKey_buffer(context, key, key_size, SSL_FILETYPE_ASN1) ==
              WOLFSSL_SUCCESS,
          "use the key", 0);
}

void *perf_tls_config(bool server, bool chacha) {
    const char *suite = chacha ? "TLS13-CHACHA20-POLY1305-SHA256" : "TLS13-AES128-GCM-SHA256";
    int group = WOLFSSL_ECC_X25519;
    WOLFSSL_CTX *context;

    check(wolfSSL_Init() == WOLFSSL_SUCCESS, "start", 0);
    context = wolfSSL_CTX_new(server ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());
    check(context != NULL, "configuration", 0);
    check(wolfSSL_CTX_set_cipher_list(context, suite) == WOLFSSL_SUCCESS, suite, 0);
    check(wolfSSL_CTX_set_groups(context, &group, 1) == WOLFSSL_SUCCESS, "X25519", 0);
    if (server) {
        config_certify(context);
    }
#ifdef HAVE_SESSION_TICKET
    if (server) {
        check(wolfSSL_CTX_no_ticket_TLSv13(context) == 0, "tickets", 0);
    }
#endif
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL);
    return context;
}

void perf_tls_config_free(void *config) {
    if (config != NULL) {
        wolfSSL_CTX_free(config);
        (void)wolfSSL_Cleanup(); /* the process ends */
    }
}

void *perf_tls_session(void *config, bool server, int fd) {
    WOLFSSL *session = wolfSSL_new(config);
    int result;

    check(session != NULL, "session", 0);
    check(wolfSSL_set_fd(session, fd) == WOLFSSL_SUCCESS, "session", 0);
    result = server ? wolfSSL_accept(session) : wolfSSL_connect(session);
    check(result == WOLFSSL_SUCCESS, "handshake", wolfSSL_get_error(session, result));
    return session;
}

ssize_t perf_tls_read(void *session, void *data, size_t size) {
    int result = wolfSSL_read(session, data, (int)size);
    int error;

    if (result > 0) {
        return result;
    }
    error = wolfSSL_get_error(session, result);
    if (error == WOLFSSL_ERROR_WANT_READ) {
        return -EAGAIN;
    }
    check(error == WOLFSSL_ERROR_ZERO_RETURN, "read", error);
    return 0;
}

ssize_t perf_tls_write(void *session, const void *data, size_t size) {
    int result = wolfSSL_write(session, data, (int)size);
    int error;

    if (result > 0) {
        return result;
    }
    error = wolfSSL_get_error(session, result);
    if (error == WOLFSSL_ERROR_WANT_WRITE) {
        return -EAGAIN;
    }
    /* A reader that has enough closes; anything else would show as missing bytes. */
    return -EPIPE;
}

void perf_tls_end(void *session) {
    (void)wolfSSL_shutdown(session); /* sends; that the other side has not answered is expected */
    wolfSSL_free(session);
}

void perf_tls_free(void *session) {
    if (session != NULL) {
        wolfSSL_free(session);
    }
}

#else

bool perf_tls_built(void) {
    return false;
}

void *perf_tls_config(bool server, bool chacha) {
    (void)server;
    (void)chacha;
    perf_die("this build has no TLS");
}

void perf_tls_config_free(void *config) {
    (void)config; /* there is none */
}

void *perf_tls_session(void *config, bool server, int fd) {
    (void)config;
    (void)server;
    (void)fd;
    perf_die("this build has no TLS");
}

ssize_t perf_tls_read(void *session, void *data, size_t size) {
    (void)session;
    (void)data;
    (void)size;
    perf_die("this build has no TLS");
}

ssize_t perf_tls_write(void *session, const void *data, size_t size) {
    (void)session;
    (void)data;
    (void)size;
    perf_die("this build has no TLS");
}

void perf_tls_end(void *session) {
    (void)session; /* there is none */
}

void perf_tls_free(void *session) {
    (void)session; /* there is none */
}

#endif
