/* SPDX-License-Identifier: MIT
 *
 * What the TLS files share: a configuration (weft_tls), what was made of it (a context), and how an
 * error is told. Only io/tls*.c include this; nothing else sees the library's headers.
 *
 * A context is one reading of the files. It never changes after it was made, so any number of
 * sessions on any threads use it; a reload makes another one, and the old one lives as long as a
 * session uses it.
 */
#ifndef WEFT_IO_TLS_CONFIG_H
#define WEFT_IO_TLS_CONFIG_H

#ifdef WEFT_TLS

#include <wolfssl/options.h> /* first: ssl.h does not fit the library without it */

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "core/core.h"
#include "core/text.h"
#include "io/tls.h"
#include "io/tls_name.h"

enum {
    WEFT__TLS_MAGIC = 0x746c7331,
    WEFT__TLS_FILE_BYTES_MAX = 4 << 20,         /* of certificates, keys and CAs */
    WEFT__TLS_CERTIFICATE_BYTES_MAX = 64 << 10, /* of one certificate, DER */
    WEFT__TLS_NAME_BYTES_MAX = 253,             /* of a host */
    WEFT__TLS_PROTOCOL_BYTES_MAX = 63,          /* fits weft_tls_info with its zero */
    WEFT__TLS_SHA256_BYTES = 32,
};

/* Bytes that are counted in the runtime's memory; fini with NULL bytes does nothing. */
struct weft__tls_bytes {
    unsigned char *bytes;
    size_t size; /* as allocated */
};

struct weft__tls_context {
    /* any thread */
    weft_atomic_u32 references; /* K1: the last release frees */
    /* const after init */
    struct weft__core *core;
    WOLFSSL_CTX *client;         /* NULL: client_error says why */
    WOLFSSL_CTX *server;         /* NULL: there is no certificate */
    weft_tls_error client_error; /* why the system's CAs could not be read */
    bool client_verifies;
    bool server_verifies;
    struct weft__tls_bytes certificate; /* leaf, DER; NULL: none */
    struct weft__tls_bytes pem;         /* the same as PEM, without a zero at its end */
    unsigned char sha256[WEFT__TLS_SHA256_BYTES];
};

struct weft_tls {
    uint32_t magic;
    /* any thread */
    weft_atomic_u32 references; /* K2: the last release frees */
    struct weft__lock lock;
    struct weft__tls_context *context; /* under lock; never NULL */
    /* const after init */
    struct weft__core *core;
    size_t size;              /* of this with its strings */
    weft_tls_options options; /* its strings are behind this struct */
};

/* ---- tls_config.c -------------------------------------------------------------------------- */

/* The context in use, with a reference added. */
struct weft__tls_context *weft__tls_context_take(weft_tls *tls);

/* ---- tls.c: contexts ----------------------------------------------------------------------- */

int weft__tls_context_create(struct weft__core *core, const weft_tls_options *options,
                             struct weft__tls_context **ret_context, weft_tls_error *error);
void weft__tls_context_unref(struct weft__tls_context *context);

/* ---- tls_certificate.c --------------------------------------------------------------------- */

/* A file of at most WEFT__TLS_FILE_BYTES_MAX [out]. -errno, WEFT_E_TLS when it is larger. */
int weft__tls_read_file(struct weft__core *core, const char *path, struct weft__tls_bytes *ret_file,
                        weft_tls_error *error);
/* Overwrites what may be secret, and frees. */
void weft__tls_bytes_fini(struct weft__core *core, struct weft__tls_bytes *bytes);

/* A fresh key and a certificate for options->self_name, both PEM. */
struct weft__tls_identity {
    struct weft__tls_bytes certificate;
    struct weft__tls_bytes key;
};
int weft__tls_generate(struct weft__core *core, const weft_tls_options *options,
                       struct weft__tls_identity *ret_identity, weft_tls_error *error);
/* The first certificate of a PEM file as DER. */
int weft__tls_leaf(struct weft__core *core, const struct weft__tls_bytes *pem,
                   struct weft__tls_bytes *ret_leaf, weft_tls_error *error);
int weft__tls_to_pem(struct weft__core *core, const struct weft__tls_bytes *certificate,
                     struct weft__tls_bytes *ret_pem, weft_tls_error *error);

/* Whether a key (PEM) on an elliptic curve belongs to a certificate (DER). The library's own check
 * takes any key of the same curve in one of its builds. True also for other kinds of keys, which it
 * does check, and for what cannot be read, which it has refused before. */
bool weft__tls_key_fits(struct weft__core *core, const struct weft__tls_bytes *key,
                        const struct weft__tls_bytes *certificate);

/* ---- tls_error.c --------------------------------------------------------------------------- */

/* What weft__tls_tell is told. */
struct weft__tls_cause {
    int status;          /* as the function answers */
    int library;         /* the library's code, or 0 */
    int alert;           /* or -1 */
    const char *what;    /* NULL: the text of library; else a text of ours */
    const char *subject; /* NULL, or what it is about, put after what: a path, a name. Escaped */
};

/* Fills error, which may be NULL, and returns status. Empties the library's queue of errors. */
int weft__tls_tell(weft_tls_error *error, const struct weft__tls_cause *cause);
/* -ENOMEM for the library's memory errors, else WEFT_E_TLS. */
int weft__tls_status(int library);
/* "certificate has expired"; NULL when nothing better than the library's text is known. */
const char *weft__tls_reason(int library);
/* The name of an alert: "bad certificate". */
const char *weft__tls_alert_text(int alert);
/* What a peer is told about an error of ours, when the library tells it nothing. */
int weft__tls_alert_of(int library);
void weft__tls_clear_queue(void);

#endif

#endif
