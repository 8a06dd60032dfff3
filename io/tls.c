/* SPDX-License-Identifier: MIT
 *
 * Contexts: the files of a weft_tls read once and given to the library, for both sides of
 * connections. Made by weft_tls_create and weft_tls_reload on a thread that may wait, read by
 * sessions on all schedulers, freed by whoever drops the last reference.
 *
 * Invariants: version 1.3 only, on both ends of the range; the suites are named, because the
 * packaged library also offers ones without encryption; no tickets, no session cache and no early
 * data, so nothing of one connection is used for another; verification is always set, because the
 * packaged library has it off unless told.
 */
#ifdef WEFT_TLS

#include "io/tls_config.h"
#include <errno.h>
#include <string.h>

#if !defined(WOLFSSL_TLS13) || !defined(HAVE_SNI) || !defined(HAVE_ALPN) ||                        \
    !defined(HAVE_KEYING_MATERIAL) || !defined(HAVE_CURVE25519) || !defined(HAVE_ED25519) ||       \
    !defined(WOLFSSL_ALWAYS_VERIFY_CB)
#error "wolfSSL lacks something that TLS of streams needs"
#endif

static const char system_authorities[] = "/etc/ssl/certs/ca-certificates.crt";

/* ---- suites -------------------------------------------------------------------------------- */

enum { SUITES_BYTES_MAX = 128, SUITE_COUNT = 3 };

static const struct {
    const char *name; /* in options */
    const char *suite;
} suites[SUITE_COUNT] = {
    {"AES128", "TLS13-AES128-GCM-SHA256"},
    {"CHACHA20", "TLS13-CHACHA20-POLY1305-SHA256"},
    {"AES256", "TLS13-AES256-GCM-SHA384"},
};

/* Whether the library is built with AES in hardware and this processor has it. */
static bool is_accelerated(void) {
#if (defined(WOLFSSL_AESNI) || defined(USE_INTEL_SPEEDUP)) && defined(__x86_64__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(WOLFSSL_ARMASM)
    return true;
#else
    return false;
#endif
}

const char *weft_tls_library(void) {
    return is_accelerated() ? "wolfSSL " LIBWOLFSSL_VERSION_STRING ", accelerated"
                            : "wolfSSL " LIBWOLFSSL_VERSION_STRING ", not accelerated";
}

static const char *find_suite(const char *name, size_t length) {
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        if (strlen(suites[i].name) == length && memcmp(suites[i].name, name, length) == 0) {
            return suites[i].suite;
        }
    }
    return NULL;
}

/* "AES128,CHACHA20" in the library's names; false when there is an unknown one or too many. */
static bool name_suites(const char *wanted, char *ret_list, size_t size) {
    weft__text text;
    weft__text_init(&text, ret_list, size);
    /* Every round takes a name and its comma. */
    for (const char *at = wanted;;) {
        size_t length = strcspn(at, ",");
        const char *suite = find_suite(at, length);
        if (suite == NULL) {
            return false;
        }
        weft__text_put(&text, text.length > 0 ? ":" : "");
        weft__text_put(&text, suite);
        if (at[length] == '\0') {
            return text.length < size;
        }
        at += length + 1;
    }
}

/* ---- one side ------------------------------------------------------------------------------ */

/* What a context is made of. */
struct maker {
    struct weft__core *core;
    const weft_tls_options *options;
    struct weft__tls_context *context;
    struct weft__tls_bytes chain;       /* of cert_file or generated, PEM */
    struct weft__tls_bytes key;         /* of key_file or generated, PEM */
    struct weft__tls_bytes authorities; /* of ca_file, PEM */
    weft_tls_error *error;
};

static int tell(struct maker *maker, int library, const char *what, const char *subject) {
    struct weft__tls_cause cause = {.status = weft__tls_status(library),
                                    .library = library,
                                    .alert = -1,
                                    .what = what,
                                    .subject = subject};
    return weft__tls_tell(maker->error, &cause);
}

/* A setter of the library that failed without saying why: there is only one reason. */
static int tell_memory(struct maker *maker) {
    return tell(maker, MEMORY_E, NULL, NULL);
}

static int set_rules(struct maker *maker, WOLFSSL_CTX *side) {
    char list[SUITES_BYTES_MAX];
    const char *wanted = maker->options->suites;
    if (wanted == NULL) {
        wanted = is_accelerated() ? "AES128,CHACHA20,AES256" : "CHACHA20,AES128,AES256";
    }
    if (!name_suites(wanted, list, sizeof(list))) {
        struct weft__tls_cause cause = {
            .status = -EINVAL, .alert = -1, .what = "unknown cipher suite in", .subject = wanted};
        return weft__tls_tell(maker->error, &cause);
    }
    if (wolfSSL_CTX_set_cipher_list(side, list) != WOLFSSL_SUCCESS) {
        return tell(maker, UNSUPPORTED_SUITE, "TLS library has not all of", wanted);
    }
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1};
    if (wolfSSL_CTX_set_groups(side, groups, 2) != WOLFSSL_SUCCESS) {
        return tell_memory(maker);
    }
#ifndef NO_SESSION_CACHE
    (void)wolfSSL_CTX_set_session_cache_mode(side, WOLFSSL_SESS_CACHE_OFF); /* always succeeds */
#endif
    return 0;
}

/* The error of a certificate or key buffer that the library refused. */
static int tell_identity(struct maker *maker, int library, const char *path) {
    const char *known = weft__tls_reason(library);
    char what[WEFT_TLS_TEXT_BYTES];
    weft__text text;
    weft__text_init(&text, what, sizeof(what));
    weft__text_put(&text, known != NULL ? known : "certificate or key was not accepted");
    weft__text_put(&text, ":");
    return tell(maker, library, what, path == NULL ? "generated" : path);
}

/* Certificate and key, both PEM also when they were generated: the library follows a null pointer
 * when memory runs out while it copies DER. */
static int set_identity(struct maker *maker, WOLFSSL_CTX *side) {
    if (maker->chain.bytes == NULL) {
        return 0;
    }
    int library =
        wolfSSL_CTX_use_certificate_chain_buffer(side, maker->chain.bytes, (long)maker->chain.size);
    if (library != WOLFSSL_SUCCESS) {
        return tell_identity(maker, library, maker->options->cert_file);
    }
    library = wolfSSL_CTX_use_PrivateKey_buffer(side, maker->key.bytes, (long)maker->key.size,
                                                WOLFSSL_FILETYPE_PEM);
    if (library != WOLFSSL_SUCCESS) {
        return tell_identity(maker, library, maker->options->key_file);
    }
    if (wolfSSL_CTX_check_private_key(side) != WOLFSSL_SUCCESS ||
        !weft__tls_key_fits(maker->core, &maker->key, &maker->context->certificate)) {
        return tell(maker, 0, "key does not belong to the certificate:", maker->options->key_file);
    }
    return 0;
}

static int set_authorities(struct maker *maker, WOLFSSL_CTX *side) {
    int library = wolfSSL_CTX_load_verify_buffer_ex(
        side, maker->authorities.bytes, (long)maker->authorities.size, WOLFSSL_FILETYPE_PEM, 0,
        WOLFSSL_LOAD_FLAG_NONE);
    return library == WOLFSSL_SUCCESS ? 0 : tell_identity(maker, library, maker->options->ca_file);
}

/* The system's list has hundreds of entries of all times: what this library cannot use is left
 * out. Not finding it is only an error for a configuration that can be nothing but a client. */
static int set_system_authorities(struct maker *maker, WOLFSSL_CTX *side) {
    struct weft__tls_bytes file = {0};
    weft_tls_error *error = &maker->context->client_error;
    int result = weft__tls_read_file(maker->core, system_authorities, &file, error);
    if (result == 0 &&
        wolfSSL_CTX_load_verify_buffer_ex(
            side, file.bytes, (long)file.size, WOLFSSL_FILETYPE_PEM, 0,
            WOLFSSL_LOAD_FLAG_IGNORE_ERR | WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) != WOLFSSL_SUCCESS) {
        struct weft__tls_cause cause = {.status = WEFT_E_TLS,
                                        .library = ASN_PARSE_E,
                                        .alert = -1,
                                        .what = "no CA certificates found in",
                                        .subject = system_authorities};
        result = weft__tls_tell(error, &cause);
    }
    weft__tls_bytes_fini(maker->core, &file);
    weft__tls_clear_queue();
    return result;
}

/* ---- both sides ---------------------------------------------------------------------------- */

static int make_server(struct maker *maker) {
    const weft_tls_options *options = maker->options;
    WOLFSSL_CTX *side = wolfSSL_CTX_new(wolfTLSv1_3_server_method());
    if (side == NULL) {
        return tell_memory(maker);
    }
    maker->context->server = side;
    int result = set_rules(maker, side);
    if (result == 0) {
        result = set_identity(maker, side);
    }
    if (result == 0 && options->ca_file != NULL) {
        result = set_authorities(maker, side);
    }
    if (result == 0 && wolfSSL_CTX_no_ticket_TLSv13(side) != 0) {
        result = tell_memory(maker);
    }
    return result;
}

static int make_client(struct maker *maker) {
    const weft_tls_options *options = maker->options;
    WOLFSSL_CTX *side = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    if (side == NULL) {
        return tell_memory(maker);
    }
    maker->context->client = side;
    int result = set_rules(maker, side);
    if (result == 0) {
        result = set_identity(maker, side);
    }
    if (result != 0 || !maker->context->client_verifies) {
        return result;
    }
    if (options->ca_file != NULL) {
        return set_authorities(maker, side);
    }
    result = set_system_authorities(maker, side);
    if (result == 0) {
        return 0;
    }
    wolfSSL_CTX_free(side);
    maker->context->client = NULL;
    if (result != -ENOMEM && maker->context->certificate.bytes != NULL) {
        return 0; /* it can be a server; as a client it tells client_error */
    }
    if (maker->error != NULL) {
        *maker->error = maker->context->client_error;
    }
    return result;
}

/* Refuses a key that the library takes and then cannot sign a handshake with. What cannot be read
 * here the library refuses itself. */
static int check_key(struct maker *maker) {
    const struct weft__tls_bytes *leaf = &maker->context->certificate;
    struct weft__tls_parts parts;
    if (!weft__tls_parts_find(leaf->bytes, leaf->size, &parts) ||
        !weft__tls_key_is_pss(parts.key)) {
        return 0;
    }
    struct weft__tls_cause cause = {
        .status = WEFT_E_TLS,
        .alert = -1,
        .what = "key for RSASSA-PSS only is not supported (a common RSA key is):",
        .subject = maker->options->cert_file,
    };
    return weft__tls_tell(maker->error, &cause);
}

/* Reads or generates, and keeps what weft_tls_certificate and weft_tls_fingerprint tell. */
static int make_identity(struct maker *maker) {
    const weft_tls_options *options = maker->options;
    struct weft__tls_context *context = maker->context;
    int result = 0;
    if (options->cert_file != NULL) {
        result = weft__tls_read_file(maker->core, options->cert_file, &maker->chain, maker->error);
        if (result == 0) {
            result = weft__tls_read_file(maker->core, options->key_file, &maker->key, maker->error);
        }
    } else if (options->self_name != NULL) {
        struct weft__tls_identity identity = {0};
        result = weft__tls_generate(maker->core, options, &identity, maker->error);
        maker->chain = identity.certificate;
        maker->key = identity.key;
    }
    if (result != 0 || maker->chain.bytes == NULL) {
        return result;
    }
    result = weft__tls_leaf(maker->core, &maker->chain, &context->certificate, maker->error);
    if (result != 0) {
        return result;
    }
    result = check_key(maker);
    if (result != 0) {
        return result;
    }
    if (wc_Sha256Hash(context->certificate.bytes, (word32)context->certificate.size,
                      context->sha256) != 0) {
        return tell_memory(maker);
    }
    return weft__tls_to_pem(maker->core, &context->certificate, &context->pem, maker->error);
}

static int make(struct maker *maker) {
    const weft_tls_options *options = maker->options;
    struct weft__tls_context *context = maker->context;
    context->client_verifies = options->verify != WEFT_TLS_VERIFY_NONE;
    context->server_verifies =
        options->verify == WEFT_TLS_VERIFY_REQUIRED ||
        (options->verify == WEFT_TLS_VERIFY_DEFAULT && options->ca_file != NULL);
    int result = make_identity(maker);
    if (result == 0 && options->ca_file != NULL) {
        result =
            weft__tls_read_file(maker->core, options->ca_file, &maker->authorities, maker->error);
    }
    if (result == 0 && context->certificate.bytes != NULL) {
        result = make_server(maker);
    }
    if (result == 0) {
        result = make_client(maker);
    }
    return result;
}

int weft__tls_context_create(struct weft__core *core, const weft_tls_options *options,
                             struct weft__tls_context **ret_context, weft_tls_error *error) {
    struct maker maker = {.core = core, .options = options, .error = error};
    maker.context = weft__alloc(core, sizeof(*maker.context), "tls");
    if (maker.context == NULL) {
        return tell_memory(&maker);
    }
    maker.context->core = core;
    weft_store32_relaxed(&maker.context->references, 1);
    int result = make(&maker);
    weft__tls_bytes_fini(core, &maker.chain);
    weft__tls_bytes_fini(core, &maker.key);
    weft__tls_bytes_fini(core, &maker.authorities);
    if (result != 0) {
        weft__tls_context_unref(maker.context);
        return result;
    }
    *ret_context = maker.context;
    return 0;
}

void weft__tls_context_unref(struct weft__tls_context *context) {
    if (weft_add32_acq_rel(&context->references, UINT32_MAX) != 1) { /* K1 */
        return;
    }
    if (context->client != NULL) {
        wolfSSL_CTX_free(context->client);
    }
    if (context->server != NULL) {
        wolfSSL_CTX_free(context->server);
    }
    weft__tls_bytes_fini(context->core, &context->certificate);
    weft__tls_bytes_fini(context->core, &context->pem);
    weft__free(context->core, context, sizeof(*context), "tls");
}

#endif
