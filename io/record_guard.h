/* SPDX-License-Identifier: MIT
 *
 * What is checked about the bytes of a TLS peer before the TLS library sees them. Pure: no
 * allocation, no I/O, no library. Called by io/tls_session.c on the thread of the session, and by
 * the fuzzer.
 *
 * The guard follows the record headers of a byte stream, however it is split, and refuses what
 * TLS 1.3 (RFC 8446, 5.1 and 5.2) does not allow. The packaged wolfSSL 5.5.4 reads out of bounds
 * on an encrypted record without content (CVE-2024-0901), and other lengths make it allocate for
 * nothing. A refused stream stays refused.
 *
 * A client that refuses the server's certificate may say so in plain, because it has no keys for
 * sending yet, while the library takes nothing but encrypted records any more. The guard of a server
 * that has answered therefore keeps plain alerts from the library and reads them itself.
 *
 * The second function finds the protocols (ALPN) a ClientHello offers, so that the server's order
 * of preference decides: the library takes the client's.
 */
#ifndef WEFT_IO_RECORD_GUARD_H
#define WEFT_IO_RECORD_GUARD_H

#include "core/defs.h"

enum {
    WEFT__RECORD_HEADER_BYTES = 5,
    WEFT__RECORD_PLAIN_MAX = 16384,        /* plain text, or the fragment of a handshake message */
    WEFT__RECORD_CIPHER_MIN = 17,          /* the type and an authentication tag */
    WEFT__RECORD_CIPHER_MAX = 16384 + 256, /* RFC 8446, 5.2 */
};

enum weft__record_fault {
    WEFT__RECORD_GOOD = 0,
    WEFT__RECORD_TYPE,    /* no record of TLS at all */
    WEFT__RECORD_VERSION, /* another version in the header */
    WEFT__RECORD_LENGTH,  /* not a length that such a record can have */
    WEFT__RECORD_ORDER,   /* plain again after the peer has begun to encrypt */
    WEFT__RECORD_ALERT,   /* no fault of the records: a plain alert, see answered */
};

struct weft__record_guard {
    uint8_t header[WEFT__RECORD_HEADER_BYTES]; /* of the next record, as far as it has come */
    uint8_t header_used;
    bool encrypted;   /* an encrypted record has come */
    bool answered;    /* set by a server that has sent something: plain alerts are read here */
    bool alerted;     /* the header of such an alert has come: nothing more is for the library */
    uint8_t alert[2]; /* its level and what it says, with the fault ALERT */
    uint8_t fault;    /* enum weft__record_fault; sticks */
    uint32_t rest;    /* bytes of the current record that are still to come */
};

/* Starts at the first byte of a peer. */
void weft__record_guard_init(struct weft__record_guard *guard);

/* Looks at the next bytes of the stream [borrow]. A fault means that nothing of data may reach the
 * library. */
enum weft__record_fault weft__record_guard_check(struct weft__record_guard *guard, const void *data,
                                                 size_t size);

/* One line for a log; static. */
const char *weft__record_fault_text(enum weft__record_fault fault);

enum weft__hello {
    WEFT__HELLO_OTHER = 0, /* no whole ClientHello in this record, or one that is malformed */
    WEFT__HELLO_NONE,      /* it offers no protocols */
    WEFT__HELLO_OFFERS,    /* it does; protocols is the list */
};

/* Names of one byte length and that many bytes each; every name lies within size. */
struct weft__hello_protocols {
    const uint8_t *names; /* [borrow] of the record */
    size_t size;
};

/* record is the first record of a client, header included. ret_protocols is written with OFFERS
 * only. */
enum weft__hello weft__hello_find(const uint8_t *record, size_t size,
                                  struct weft__hello_protocols *ret_protocols);

#endif
