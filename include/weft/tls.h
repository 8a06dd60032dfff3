/* SPDX-License-Identifier: MIT
 *
 * TLS for streams: version 1.3 only, suites AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305, groups
 * X25519 and P-256. A weft_tls is a configuration, shared by any number of listeners and
 * connections, client or server or both. Sessions are not resumed and there is no early data.
 * In a build without TLS every function answers -ENOSYS.
 *
 * A client takes a server for the host it wants by the certificate's subjectAltName only (RFC
 * 9525): an address must be there as an iPAddress, a host name as a dNSName, where "*" stands for
 * exactly one label, the first, with two or more behind it. The common name does not count.
 *
 * One certificate per weft_tls, and so per listener: the name a client asks for (SNI) is told, it
 * cannot choose another certificate. io.handshakes bounds how many handshakes of accepted
 * connections run at once; outgoing ones have no bound, so a program that dials many bounds itself.
 *
 * In TLS 1.3 a client is done before the server has looked at the client's certificate: its OPEN
 * comes, and when the server refuses the certificate, CLOSED with WEFT_E_TLS follows. A client that
 * has to know waits for a first message of the server.
 * Stability: stable, structs are append-only.
 */
#ifndef WEFT_TLS_H
#define WEFT_TLS_H

#include <weft/defs.h>
#include <weft/error.h>

WEFT_BEGIN_DECLS

typedef struct weft_tls weft_tls;

enum weft_tls_verify {
    WEFT_TLS_VERIFY_DEFAULT = 0,  /* client: REQUIRED; server: NONE, or REQUIRED with a CA */
    WEFT_TLS_VERIFY_NONE = 1,     /* take any certificate, and none: no protection against a man in
                                     the middle. For tests, or with weft_stream_tls_export. A server
                                     asks its clients for one, to compare its fingerprint */
    WEFT_TLS_VERIFY_REQUIRED = 2, /* a chain to the CA, in its time, and for a client the name */
};

enum { WEFT_TLS_TEXT_BYTES = 256 };

typedef struct weft_tls_options {
    size_t struct_size;    /* WEFT_TLS_OPTIONS_INIT */
    const char *cert_file; /* PEM chain, leaf first; NULL: none */
    const char *key_file;  /* PEM; required with cert_file */
    const char *ca_file;   /* PEM; NULL: a client with REQUIRED uses the system's,
                              /etc/ssl/certs/ca-certificates.crt */
    const char *self_name; /* instead of cert_file: an Ed25519 certificate for this name, valid
                               for self_days, is generated, signed by itself */
    uint32_t self_days;    /* 0: 365 */
    uint32_t verify;       /* enum weft_tls_verify */
    const char *alpn;      /* "h2,http/1.1" in order of preference (the server's decides), at most
                              63 letters each; NULL: not used */
    bool alpn_required;    /* the peer must agree to one of them */
    const char *suites;    /* "AES128,CHACHA20,AES256" in order of preference; NULL: AES128 first
                               where the library runs it in hardware, else CHACHA20 */
} weft_tls_options;
#define WEFT_TLS_OPTIONS_INIT sizeof(weft_tls_options)

/* Why something about TLS failed. */
typedef struct weft_tls_error {
    int status;                     /* WEFT_E_TLS, -ENOENT, ... as the function answers */
    int alert;                      /* TLS alert sent or received, -1: none */
    int library;                    /* the library's own code, 0: none */
    char text[WEFT_TLS_TEXT_BYTES]; /* one line for a log */
} weft_tls_error;

typedef struct weft_tls_info {
    size_t struct_size;             /* WEFT_TLS_INFO_INIT */
    char suite[64];                 /* "TLS13-AES128-GCM-SHA256" */
    char alpn[64];                  /* agreed protocol, "" for none */
    char name[WEFT_TLS_TEXT_BYTES]; /* server: the name asked for (SNI), "" for none; client: the
                                       name the certificate was checked for */
    bool peer_verified;
    unsigned char peer_sha256[32]; /* of the peer's certificate, zeroes for none */
} weft_tls_info;
#define WEFT_TLS_INFO_INIT sizeof(weft_tls_info)

/* Reads files and checks that certificate and key belong together [out]. A key for RSASSA-PSS only
 * is refused (WEFT_E_TLS): a common RSA key signs the same way. Errors: -EINVAL, -ENOENT, -EACCES,
 * -ENOMEM, -ENOSYS, WEFT_E_TLS; error (may be NULL) says more. Reads files: not on a scheduler. */
WEFT_API WEFT_MUSTUSE int weft_tls_create(weft_runtime *runtime, const weft_tls_options *options,
                                          weft_tls **ret_tls, weft_tls_error *error);
/* Reads the files again (or generates anew): connections from here on use what they say now. On
 * error everything stays. Any thread but a scheduler's; one at a time. */
WEFT_API WEFT_MUSTUSE int weft_tls_reload(weft_tls *tls, weft_tls_error *error);
WEFT_API weft_tls *weft_tls_ref(weft_tls *tls);
/* Drops a reference [take]; NULL is allowed. All are to be dropped before the runtime is
 * destroyed. Any thread. */
WEFT_API void weft_tls_unref(weft_tls *tls);
/* SHA-256 of the certificate in use, all zeroes when there is none. */
WEFT_API int weft_tls_fingerprint(weft_tls *tls, unsigned char ret_sha256[32]);
/* The certificate in use as PEM with a terminating zero, for peers that shall trust a generated
 * one. Returns the length it would have, as snprintf, or -ENOENT. */
WEFT_API int weft_tls_certificate(weft_tls *tls, char *pem, size_t size);

/* Name and version of the TLS library linked and whether it uses the processor's AES and carry-less
 * multiplication ("wolfSSL 5.5.4, accelerated"); "none" without TLS. The event runtime.start in the
 * log has it too. Static. */
WEFT_API const char *weft_tls_library(void);

WEFT_END_DECLS

#endif
