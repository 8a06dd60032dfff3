/* SPDX-License-Identifier: MIT
 *
 * TLS sessions, sans I/O: bytes of the peer in, bytes for the peer out, no socket, no clock, no
 * thread. A session belongs to one stream and is used on its scheduler's thread only. The stream
 * feeds what it has received and then drains the session until that wants more:
 *
 *   feed(bytes); while not established: handshake(); then read() until 0.
 *
 * Every record header is checked before the library sees a byte of it (record_guard.h), because
 * the packaged library reads out of bounds on some (CVE-2024-0901).
 */
#ifndef WEFT_IO_TLS_H
#define WEFT_IO_TLS_H

#include "core/core.h"
#include <weft/stream.h>
#include <weft/tls.h>

struct weft__tls_session;

/* Whether tls can be used for that side: 0, or -EINVAL for a server without a certificate and for a
 * client that found no CAs of the system. Such a session opens, and its handshake fails with the
 * reason. For weft_listen and weft_connect, which can tell it at once. */
int weft__tls_usable(weft_tls *tls, bool server);

/* Whether a client with it looks at certificates, and so needs a name to look for. */
bool weft__tls_wants_name(weft_tls *tls);

/* Takes records for the peer (copies them). 0, or a negative error, which fails the session. */
typedef int (*weft__tls_emit_fn)(void *cookie, const void *data, size_t size);

struct weft__tls_setup {
    weft_tls *tls; /* a reference is added */
    bool server;
    const char *name; /* client: the name the certificate must have and SNI, copied; NULL: none */
    weft__tls_emit_fn emit;
    void *cookie;
};

/* Frees what the library keeps for the calling thread (with the packaged one 12 MiB of tables once
 * it has met a certificate on P-256). For threads that used sessions, before they end. */
void weft__tls_leave_thread(void);

/* A session [out]; a client emits nothing before its first handshake. What tls or name lack is told
 * by the handshake, with weft__tls_error. -ENOMEM. */
int weft__tls_open(const struct weft__tls_setup *setup, struct weft__tls_session **ret_session);
/* NULL is allowed. */
void weft__tls_close(struct weft__tls_session **session);

/* Bytes of the peer [borrow]: they must stay until handshake or read have answered 0, END or an
 * error; by then all of them are used or copied, and only then may more be fed. WEFT_E_TLS: a
 * record header is wrong; an alert was emitted if the peer may have one. */
int weft__tls_feed(struct weft__tls_session *session, const void *data, size_t size);
/* 1: established (also every time later); 0: more bytes of the peer are needed; negative: failed
 * (WEFT_E_TLS, -ENOMEM, what emit answered), an alert was emitted if the peer may have one. A client
 * is established before the server has checked its certificate; a refusal fails a later read. */
int weft__tls_handshake(struct weft__tls_session *session);

enum { WEFT__TLS_END = -1 }; /* the peer has said close_notify: nothing more will come */
/* Decrypts into data: bytes, 0: more bytes of the peer are needed, WEFT__TLS_END, or WEFT_E_TLS.
 * Answers of the protocol (key updates) are emitted on the way. */
int weft__tls_read(struct weft__tls_session *session, void *data, size_t size);
/* Encrypts and emits all of data, in records of 16 KiB. 0, what emit answered, or WEFT_E_TLS. Keys
 * are changed before one has protected more than it may. Not after weft__tls_end. */
int weft__tls_write(struct weft__tls_session *session, const void *data, size_t size);
/* Emits close_notify, once. */
int weft__tls_end(struct weft__tls_session *session);

/* As the public functions of nearly the same names. export fails with -ENOTCONN also when both sides
 * have ended; a label has at most 53 letters. */
int weft__tls_inspect(struct weft__tls_session *session, weft_tls_info *ret_info);
int weft__tls_peer(struct weft__tls_session *session, const void **ret_der, size_t *ret_size);

/* What weft_stream_tls_export is given. */
struct weft__tls_export {
    const char *label;
    const void *context;
    size_t context_size;
    void *secret;
    size_t secret_size;
};
int weft__tls_export(struct weft__tls_session *session, const struct weft__tls_export *what);
int weft__tls_rekey(struct weft__tls_session *session);
void weft__tls_error(const struct weft__tls_session *session, weft_tls_error *ret_error);

#endif
