/* SPDX-License-Identifier: MIT
 *
 * What went wrong with TLS, in one line: texts for the library's codes that operators meet, names
 * of alerts, and the filling of weft_tls_error. Any thread; nothing here allocates.
 */
#ifdef WEFT_TLS

#include "io/tls_config.h"
#include <errno.h>
#include <string.h>
#include <wolfssl/wolfcrypt/ecc.h>

enum {
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_DECODE_ERROR = 50,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
    SUBJECT_BYTES_MAX = 160,
};

/* ---- alerts -------------------------------------------------------------------------------- */

static const struct {
    int alert;
    const char *text;
} alert_texts[] = {
    {0, "close notify"},
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {22, "record overflow"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "certificate revoked"},
    {45, "certificate expired"},
    {46, "certificate unknown"},
    {47, "illegal parameter"},
    {48, "unknown CA"},
    {49, "access denied"},
    {50, "decode error"},
    {51, "decrypt error"},
    {70, "protocol version"},
    {71, "insufficient security"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

const char *weft__tls_alert_text(int alert) {
    for (size_t i = 0; i < sizeof(alert_texts) / sizeof(alert_texts[0]); i++) {
        if (alert_texts[i].alert == alert) {
            return alert_texts[i].text;
        }
    }
    return "unknown alert";
}

int weft__tls_alert_of(int library) {
    switch (library) {
    case VERSION_ERROR:
    case UNSUPPORTED_PROTO_VERSION:
        return ALERT_PROTOCOL_VERSION;
    case MATCH_SUITE_ERROR:
    case UNSUPPORTED_SUITE:
    case KEY_SHARE_ERROR:
    case BAD_KEY_SHARE_DATA:
        return ALERT_HANDSHAKE_FAILURE;
    case MEMORY_E:
    case MEMORY_ERROR:
        return ALERT_INTERNAL_ERROR;
    case UNKNOWN_RECORD_TYPE:
    case UNKNOWN_HANDSHAKE_TYPE:
    case OUT_OF_ORDER_E:
    case SANITY_MSG_E:
        return ALERT_UNEXPECTED_MESSAGE;
    default:
        return ALERT_DECODE_ERROR;
    }
}

/* ---- codes of the library ------------------------------------------------------------------ */

static const struct {
    int library;
    const char *text;
} reasons[] = {
    {ASN_BEFORE_DATE_E, "certificate is not valid yet"},
    {ASN_AFTER_DATE_E, "certificate has expired"},
    {ASN_NO_SIGNER_E, "certificate is signed by an unknown authority"},
    {ASN_SELF_SIGNED_E, "certificate is signed by itself and not trusted"},
    {ASN_SIG_CONFIRM_E, "signature of the certificate is wrong"},
    {ASN_SIG_OID_E, "signature of the certificate is of an unknown kind"},
    {ASN_PATHLEN_INV_E, "chain of certificates is longer than its CA allows"},
    {ASN_PATHLEN_SIZE_E, "chain of certificates is longer than its CA allows"},
    {ASN_PARSE_E, "certificate or key cannot be parsed"},
    {ASN_NO_PEM_HEADER, "no PEM block found"},
    {NOT_CA_ERROR, "certificate is not one of a CA"},
    {MAX_CHAIN_ERROR, "chain of certificates is too long"},
    {DOMAIN_NAME_MISMATCH, "certificate is for another name"},
    {IPADDR_MISMATCH, "certificate is for another address"},
    {KEYUSE_SIGNATURE_E, "certificate is not for signing"},
    {EXTKEYUSE_AUTH_E, "certificate is not for this side of a connection"},
    {NO_PEER_CERT, "peer sends no certificate"},
    {NO_PEER_VERIFY, "peer sends no certificate"},
    {VERIFY_CERT_ERROR, "certificate was rejected"},
    {VERIFY_SIGN_ERROR, "peer does not have the key of its certificate"},
    {SIG_VERIFY_E, "peer does not have the key of its certificate"},
    {VERIFY_FINISHED_ERROR, "handshake was changed on its way"},
    {RSA_KEY_SIZE_E, "key of the certificate is too small"},
    {ECC_KEY_SIZE_E, "key of the certificate is too small"},
    {VERSION_ERROR, "peer offers no TLS 1.3"},
    {UNSUPPORTED_PROTO_VERSION, "peer offers no TLS 1.3"},
    {MATCH_SUITE_ERROR, "no cipher suite in common"},
    {UNSUPPORTED_SUITE, "no cipher suite in common"},
    {KEY_SHARE_ERROR, "no group for the key exchange in common"},
    {UNKNOWN_ALPN_PROTOCOL_NAME_E, "no application protocol in common"},
    {VERIFY_MAC_ERROR, "record does not decrypt"},
    {DECRYPT_ERROR, "record does not decrypt"},
    {AES_GCM_AUTH_E, "record does not decrypt"},
    {MAC_CMP_FAILED_E, "record does not decrypt"},
    {HANDSHAKE_SIZE_ERROR, "handshake message is too large"},
    {OUT_OF_ORDER_E, "peer sends a message out of order"},
    {SANITY_MSG_E, "peer sends a message out of order"},
    {ALERT_COUNT_E, "peer sends too many alerts"},
    {EXT_MISSING, "peer leaves out a required extension"},
    {ZERO_RETURN, "peer closed during the handshake"},
    {WOLFSSL_ERROR_ZERO_RETURN, "peer closed during the handshake"},
    {NO_PRIVATE_KEY, "no certificate or no key is configured"},
    {MEMORY_E, "out of memory"},
    {MEMORY_ERROR, "out of memory"},
};

const char *weft__tls_reason(int library) {
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].library == library) {
            return reasons[i].text;
        }
    }
    return NULL;
}

int weft__tls_status(int library) {
    return library == MEMORY_E || library == MEMORY_ERROR ? -ENOMEM : WEFT_E_TLS;
}

void weft__tls_clear_queue(void) {
#if defined(OPENSSL_EXTRA)
    /* The packaged library collects errors per thread; nobody else would ever take them out. */
    wolfSSL_ERR_clear_error();
#endif
}

void weft__tls_leave_thread(void) {
    weft__tls_clear_queue();
#ifdef FP_ECC
    wc_ecc_fp_free();
#endif
}

/* ---- one line ------------------------------------------------------------------------------ */

static void put_library(weft__text *text, int library) {
    const char *reason = weft__tls_reason(library);
    if (reason != NULL) {
        weft__text_put(text, reason);
        return;
    }
    weft__text_put(text, "TLS library: ");
    weft__text_put(text, wolfSSL_ERR_reason_error_string((unsigned long)library));
    weft__text_put(text, library < 0 ? " (-" : " (");
    weft__text_put_u64(text, (uint64_t)(library < 0 ? -(int64_t)library : (int64_t)library));
    weft__text_put(text, ")");
}

int weft__tls_tell(weft_tls_error *error, const struct weft__tls_cause *cause) {
    weft__tls_clear_queue();
    if (error == NULL) {
        return cause->status;
    }
    weft__text text;
    error->status = cause->status;
    error->alert = cause->alert;
    error->library = cause->library;
    weft__text_init(&text, error->text, sizeof(error->text));
    if (cause->what != NULL) {
        weft__text_put(&text, cause->what);
    } else {
        put_library(&text, cause->library);
    }
    if (cause->subject != NULL) {
        weft__text_put(&text, " ");
        weft__text_put_escaped(&text, cause->subject, SUBJECT_BYTES_MAX);
    }
    return cause->status;
}

#endif
