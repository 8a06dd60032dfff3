/* SPDX-License-Identifier: MIT
 *
 * What is read of a certificate here and not by the TLS library: the names it is for, and the kind
 * of its key. Pure: no allocation, no I/O, no library. Called by io/tls_session.c on the thread of
 * a session, with a certificate whose chain the library has verified, and while a context is made.
 *
 * The rules are those of RFC 9525, 6.3 and 6.4. The library's own matching is not used: it compares
 * addresses with patterns of host names, lets a wildcard stand for any part of a name, and falls
 * back on the common name.
 *
 *   An address matches an iPAddress of the same bytes, nothing else.
 *   A host name matches a dNSName, letter by letter, where A and a are the same. "*" as the whole
 *   first label of a pattern, with two labels or more behind it, stands for exactly one label.
 *   The common name of the subject is not looked at.
 *
 * What is malformed matches nothing: a certificate that is not DER or has its alternative names
 * twice, a name with an empty label, a dot at its end or a byte that is in no host name. Nor does a
 * host whose last label is a number, because some resolvers take it for an address.
 */
#ifndef WEFT_IO_TLS_NAME_H
#define WEFT_IO_TLS_NAME_H

#include "core/defs.h"

/* Bytes of a certificate [borrow]; none: size 0. */
struct weft__tls_span {
    const uint8_t *at;
    size_t size;
};

struct weft__tls_parts {
    struct weft__tls_span names; /* what is in its subjectAltName, a list of GeneralName */
    struct weft__tls_span key;   /* the object identifier of its key's algorithm */
};

/* Finds the parts of a certificate (DER) [borrow]; false: it is malformed, and there are none. */
bool weft__tls_parts_find(const void *der, size_t size, struct weft__tls_parts *ret_parts);

/* Whether names has the host, which is a host name without a dot at its end, or an address. */
bool weft__tls_name_fits(struct weft__tls_span names, const char *host);

/* Whether the key may only be used with RSASSA-PSS (RFC 4055), by its identifier. */
bool weft__tls_key_is_pss(struct weft__tls_span key);

/* An address as 4 or 16 bytes; 0 when name is none. */
size_t weft__tls_address(const char *name, unsigned char ret_address[16]);

#endif
