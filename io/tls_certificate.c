/* SPDX-License-Identifier: MIT
 *
 * Certificates: files with them, a generated one, and their two formats. Called while a context is
 * made (io/tls.c), on a thread that may wait for files, never on a scheduler.
 *
 * A generated certificate is an Ed25519 key signed by itself, with the name as subject alternative
 * name (an IP address as such), good for both sides of a connection. It is no CA: a peer that
 * trusts it trusts this one certificate. The key exists in memory only and is overwritten after
 * the library has taken it.
 */
#define _GNU_SOURCE 1 /* explicit_bzero, memmem */

#ifdef WEFT_TLS

#include "io/tls_config.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>

#if !defined(WOLFSSL_CERT_GEN) || !defined(WOLFSSL_CERT_EXT) || !defined(WOLFSSL_ALT_NAMES)
#error "wolfSSL has to be built with certificate generation, extensions and alternative names"
#endif

enum {
    GENERATED_BYTES_MAX = 2048,
    KEY_BYTES_MAX = 256,
    POINT_BYTES_MAX = 160, /* of the largest curve, uncompressed: 133 */
    DAYS_DEFAULT = 365,
    TAG_SEQUENCE = 0x30,
    TAG_DNS_NAME = 0x82,
    TAG_IP_ADDRESS = 0x87,
    LONG_LENGTH = 0x81,   /* one byte of length follows */
    LONGER_LENGTH = 0x82, /* two */
    SHORT_LENGTH_MAX = 127,
    HEADER_BYTES_MAX = 4,
};

/* ---- bytes and files ----------------------------------------------------------------------- */

void weft__tls_bytes_fini(struct weft__core *core, struct weft__tls_bytes *bytes) {
    if (bytes->bytes != NULL) {
        explicit_bzero(bytes->bytes, bytes->size);
        weft__free(core, bytes->bytes, bytes->size, "tls");
    }
    *bytes = (struct weft__tls_bytes){0};
}

static int bytes_init(struct weft__core *core, size_t size, struct weft__tls_bytes *ret_bytes) {
    unsigned char *bytes = weft__alloc(core, size, "tls");
    if (bytes == NULL) {
        return -ENOMEM;
    }
    *ret_bytes = (struct weft__tls_bytes){.bytes = bytes, .size = size};
    return 0;
}

/* A copy of what a larger work buffer holds, since sizes are known only afterwards. */
static int bytes_copy(struct weft__core *core, const unsigned char *source, size_t size,
                      struct weft__tls_bytes *ret_bytes) {
    int result = bytes_init(core, size, ret_bytes);
    if (result == 0) {
        memcpy(ret_bytes->bytes, source, size);
    }
    return result;
}

/* Fills bytes from fd; a file that has become shorter meanwhile shortens used. */
static int read_all(int fd, const struct weft__tls_bytes *bytes, size_t *ret_used) {
    size_t used = 0;
    /* Every round takes a byte or more, or ends. */
    while (used < bytes->size) {
        ssize_t got = read(fd, bytes->bytes + used, bytes->size - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        used += (size_t)got;
    }
    *ret_used = used;
    return 0;
}

/* The contents of an open file. */
static int read_open_file(struct weft__core *core, int fd, struct weft__tls_bytes *ret_file) {
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return -errno;
    }
    if (!S_ISREG(info.st_mode)) {
        return S_ISDIR(info.st_mode) ? -EISDIR : -EINVAL;
    }
    if (info.st_size > WEFT__TLS_FILE_BYTES_MAX) {
        return -EFBIG;
    }
    struct weft__tls_bytes work = {0};
    size_t used = 0;
    int result = info.st_size == 0 ? 0 : bytes_init(core, (size_t)info.st_size, &work);
    if (result == 0) {
        result = read_all(fd, &work, &used);
    }
    if (result == 0 && used == 0) {
        result = -ENODATA;
    }
    if (result == 0) {
        result = bytes_copy(core, work.bytes, used, ret_file);
    }
    weft__tls_bytes_fini(core, &work);
    return result;
}

int weft__tls_read_file(struct weft__core *core, const char *path, struct weft__tls_bytes *ret_file,
                        weft_tls_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result = fd < 0 ? -errno : read_open_file(core, fd, ret_file);
    if (fd >= 0) {
        (void)close(fd); /* it was only read */
    }
    if (result != 0) {
        const char *what = "cannot read";
        if (result == -ENOENT) {
            what = "no such file:";
        } else if (result == -ENODATA) {
            what = "empty file:";
        }
        struct weft__tls_cause cause = {
            .status = result == -ENODATA || result == -EFBIG ? WEFT_E_TLS : result,
            .alert = -1,
            .what = what,
            .subject = path};
        return weft__tls_tell(error, &cause);
    }
    return 0;
}

/* ---- formats ------------------------------------------------------------------------------- */

static int tell_library(weft_tls_error *error, int library) {
    struct weft__tls_cause cause = {
        .status = weft__tls_status(library), .library = library, .alert = -1};
    return weft__tls_tell(error, &cause);
}

static int tell_memory(weft_tls_error *error) {
    return tell_library(error, MEMORY_E);
}

int weft__tls_leaf(struct weft__core *core, const struct weft__tls_bytes *pem,
                   struct weft__tls_bytes *ret_leaf, weft_tls_error *error) {
    struct weft__tls_bytes work = {0};
    if (bytes_init(core, WEFT__TLS_CERTIFICATE_BYTES_MAX, &work) != 0) {
        return tell_memory(error);
    }
    int size = wc_CertPemToDer(pem->bytes, (int)pem->size, work.bytes, (int)work.size, CERT_TYPE);
    int result = 0;
    if (size <= 0) {
        result = tell_library(error, size < 0 ? size : ASN_PARSE_E);
    } else if (bytes_copy(core, work.bytes, (size_t)size, ret_leaf) != 0) {
        result = tell_memory(error);
    }
    weft__tls_bytes_fini(core, &work);
    return result;
}

/* type: CERT_TYPE or PKCS8_PRIVATEKEY_TYPE. */
static int to_pem(struct weft__core *core, const struct weft__tls_bytes *der, int type,
                  struct weft__tls_bytes *ret_pem, weft_tls_error *error) {
    struct weft__tls_bytes work = {0};
    /* Four letters for three bytes, a line end for 48 bytes, and the two lines around. */
    if (bytes_init(core, 2 * der->size + 128, &work) != 0) {
        return tell_memory(error);
    }
    int size = wc_DerToPem(der->bytes, (word32)der->size, work.bytes, (word32)work.size, type);
    int result = 0;
    if (size <= 0) {
        result = tell_library(error, size < 0 ? size : ASN_PARSE_E);
    } else if (bytes_copy(core, work.bytes, (size_t)size, ret_pem) != 0) {
        result = tell_memory(error);
    }
    weft__tls_bytes_fini(core, &work);
    return result;
}

int weft__tls_to_pem(struct weft__core *core, const struct weft__tls_bytes *certificate,
                     struct weft__tls_bytes *ret_pem, weft_tls_error *error) {
    return to_pem(core, certificate, CERT_TYPE, ret_pem, error);
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* Whether a certificate contains the public point of a private key: 1, 0, or -1 when that cannot
 * be told. */
static int compare_point(ecc_key *key, const struct weft__tls_bytes *certificate) {
    unsigned char point[POINT_BYTES_MAX];
    word32 size = sizeof(point);
    if (wc_ecc_make_pub(key, NULL) != 0 || wc_ecc_export_x963(key, point, &size) != 0) {
        return -1;
    }
    return memmem(certificate->bytes, certificate->size, point, size) != NULL ? 1 : 0;
}

static int compare_key(const unsigned char *der, size_t size,
                       const struct weft__tls_bytes *certificate) {
    ecc_key key;
    word32 at = 0;
    if (wc_ecc_init(&key) != 0) {
        return -1;
    }
    int fits = wc_EccPrivateKeyDecode(der, &at, &key, (word32)size) == 0
                   ? compare_point(&key, certificate)
                   : -1;
    (void)wc_ecc_free(&key); /* it has nothing to say */
#ifdef FP_ECC
    wc_ecc_fp_free(); /* 12 MiB of tables, kept for this thread only */
#endif
    return fits;
}

bool weft__tls_key_fits(struct weft__core *core, const struct weft__tls_bytes *key,
                        const struct weft__tls_bytes *certificate) {
    struct weft__tls_bytes work = {0};
    if (bytes_init(core, key->size, &work) != 0) {
        return true; /* the next allocation will fail as well, and say so */
    }
    int size = wc_KeyPemToDer(key->bytes, (int)key->size, work.bytes, (int)work.size, NULL);
    int fits = size > 0 ? compare_key(work.bytes, (size_t)size, certificate) : -1;
    weft__tls_bytes_fini(core, &work);
    weft__tls_clear_queue();
    return fits != 0;
}

/* ---- a generated certificate --------------------------------------------------------------- */

static size_t put_header(unsigned char *at, unsigned char tag, size_t length) {
    at[0] = tag;
    if (length <= SHORT_LENGTH_MAX) {
        at[1] = (unsigned char)length;
        return 2;
    }
    if (length <= UINT8_MAX) {
        at[1] = LONG_LENGTH;
        at[2] = (unsigned char)length;
        return 3;
    }
    at[1] = LONGER_LENGTH;
    at[2] = (unsigned char)(length >> 8);
    at[3] = (unsigned char)length;
    return HEADER_BYTES_MAX;
}

/* Name and address as a GeneralNames sequence (RFC 5280, 4.2.1.6). */
static void set_name(Cert *cert, const char *name) {
    unsigned char address[16];
    size_t size = weft__tls_address(name, address);
    unsigned char tag = size != 0 ? TAG_IP_ADDRESS : TAG_DNS_NAME;
    const void *value = size != 0 ? (const void *)address : (const void *)name;
    size = size != 0 ? size : strlen(name);
    weft_assert(size <= WEFT__TLS_NAME_BYTES_MAX);
    unsigned char inner[HEADER_BYTES_MAX];
    size_t inner_size = put_header(inner, tag, size);
    size_t at = put_header(cert->altNames, TAG_SEQUENCE, inner_size + size);
    memcpy(cert->altNames + at, inner, inner_size);
    memcpy(cert->altNames + at + inner_size, value, size);
    cert->altNamesSz = (int)(at + inner_size + size);
    /* The common name is for people; it takes 63 letters. */
    size_t shown = strnlen(name, CTC_NAME_SIZE - 1);
    memcpy(cert->subject.commonName, name, shown);
    cert->subject.commonName[shown] = '\0';
}

/* What generating works with; in one piece, since Cert alone has 25 KiB. */
struct workshop {
    WC_RNG rng;
    ed25519_key key;
    Cert cert;
    unsigned char der[GENERATED_BYTES_MAX];
    unsigned char key_der[KEY_BYTES_MAX];
    int der_size;
    int key_size;
};

/* Makes and signs; 0 or the library's code. */
static int make_certificate(struct workshop *shop, const char *name, uint32_t days) {
    Cert *cert = &shop->cert;
    int result = wc_InitCert(cert);
    if (result != 0) {
        return result;
    }
    set_name(cert, name);
    cert->sigType = CTC_ED25519;
    cert->selfSigned = 1;
    cert->isCA = 0;
    cert->daysValid = (int)(days == 0 ? DAYS_DEFAULT : days);
    result = wc_SetKeyUsage(cert, "digitalSignature");
    if (result == 0) {
        result = wc_SetExtKeyUsage(cert, "serverAuth,clientAuth");
    }
    if (result == 0) {
        result = wc_MakeCert_ex(cert, shop->der, sizeof(shop->der), ED25519_TYPE, &shop->key,
                                &shop->rng);
    }
    if (result > 0) {
        result = wc_SignCert_ex(cert->bodySz, cert->sigType, shop->der, sizeof(shop->der),
                                ED25519_TYPE, &shop->key, &shop->rng);
    }
    shop->der_size = result;
    return result > 0 ? 0 : (result < 0 ? result : ASN_PARSE_E);
}

static int make_identity(struct workshop *shop, const char *name, uint32_t days) {
    int result = wc_ed25519_make_key(&shop->rng, ED25519_KEY_SIZE, &shop->key);
    if (result == 0) {
        result = make_certificate(shop, name, days);
    }
    if (result == 0) {
        shop->key_size = wc_Ed25519KeyToDer(&shop->key, shop->key_der, sizeof(shop->key_der));
        result = shop->key_size > 0 ? 0 : shop->key_size;
    }
    return result;
}

static int run_workshop(struct workshop *shop, const char *name, uint32_t days) {
    int result = wc_InitRng(&shop->rng);
    if (result != 0) {
        return result;
    }
    result = wc_ed25519_init(&shop->key);
    if (result == 0) {
        result = make_identity(shop, name, days);
        wc_ed25519_free(&shop->key);
    }
    (void)wc_FreeRng(&shop->rng); /* it has nothing to say */
    return result;
}

int weft__tls_generate(struct weft__core *core, const weft_tls_options *options,
                       struct weft__tls_identity *ret_identity, weft_tls_error *error) {
    struct workshop *shop = weft__alloc(core, sizeof(*shop), "tls");
    if (shop == NULL) {
        return tell_memory(error);
    }
    struct weft__tls_identity identity = {0};
    int library = run_workshop(shop, options->self_name, options->self_days);
    int result = library != 0 ? tell_library(error, library) : 0;
    if (result == 0) {
        struct weft__tls_bytes der = {.bytes = shop->der, .size = (size_t)shop->der_size};
        result = to_pem(core, &der, CERT_TYPE, &identity.certificate, error);
    }
    if (result == 0) {
        struct weft__tls_bytes der = {.bytes = shop->key_der, .size = (size_t)shop->key_size};
        result = to_pem(core, &der, PKCS8_PRIVATEKEY_TYPE, &identity.key, error);
    }
    if (result == 0) {
        *ret_identity = identity;
    } else {
        weft__tls_bytes_fini(core, &identity.certificate);
    }
    explicit_bzero(shop, sizeof(*shop)); /* the key was in it */
    weft__free(core, shop, sizeof(*shop), "tls");
    return result;
}

#endif
