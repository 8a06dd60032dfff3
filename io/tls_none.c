/* SPDX-License-Identifier: MIT
 *
 * TLS in a build without a TLS library: every function is there and answers -ENOSYS, so programs
 * link and can say what is missing. No weft_tls and no session can exist.
 */
#ifndef WEFT_TLS

#include "io/tls.h"
#include <errno.h>
#include <string.h>

static int refuse(weft_tls_error *error) {
    static const char text[] = "this build has no TLS";
    if (error != NULL) {
        memset(error, 0, sizeof(*error));
        error->status = -ENOSYS;
        error->alert = -1;
        memcpy(error->text, text, sizeof(text));
    }
    return -ENOSYS;
}

/* ---- weft/tls.h ---------------------------------------------------------------------------- */

int weft_tls_create(weft_runtime *runtime, const weft_tls_options *options, weft_tls **ret_tls,
                    weft_tls_error *error) {
    (void)runtime;
    (void)options;
    (void)ret_tls;
    return refuse(error);
}

int weft_tls_reload(weft_tls *tls, weft_tls_error *error) {
    (void)tls;
    return refuse(error);
}

weft_tls *weft_tls_ref(weft_tls *tls) {
    return tls;
}

void weft_tls_unref(weft_tls *tls) {
    (void)tls;
}

int weft_tls_fingerprint(weft_tls *tls, unsigned char ret_sha256[32]) {
    (void)tls;
    (void)ret_sha256;
    return -ENOSYS;
}

int weft_tls_certificate(weft_tls *tls, char *pem, size_t size) {
    (void)tls;
    (void)pem;
    (void)size;
    return -ENOSYS;
}

const char *weft_tls_library(void) {
    return "none";
}

/* ---- io/tls.h ------------------------------------------------------------------------------ */

int weft__tls_usable(weft_tls *tls, bool server) {
    (void)tls;
    (void)server;
    return -ENOSYS;
}

bool weft__tls_wants_name(weft_tls *tls) {
    (void)tls;
    return false;
}

void weft__tls_leave_thread(void) {
}

int weft__tls_open(const struct weft__tls_setup *setup, struct weft__tls_session **ret_session) {
    (void)setup;
    (void)ret_session;
    return -ENOSYS;
}

void weft__tls_close(struct weft__tls_session **session) {
    (void)session;
}

int weft__tls_feed(struct weft__tls_session *session, const void *data, size_t size) {
    (void)session;
    (void)data;
    (void)size;
    return -ENOSYS;
}

int weft__tls_handshake(struct weft__tls_session *session) {
    (void)session;
    return -ENOSYS;
}

int weft__tls_read(struct weft__tls_session *session, void *data, size_t size) {
    (void)session;
    (void)data;
    (void)size;
    return -ENOSYS;
}

int weft__tls_write(struct weft__tls_session *session, const void *data, size_t size) {
    (void)session;
    (void)data;
    (void)size;
    return -ENOSYS;
}

int weft__tls_end(struct weft__tls_session *session) {
    (void)session;
    return -ENOSYS;
}

int weft__tls_inspect(struct weft__tls_session *session, weft_tls_info *ret_info) {
    (void)session;
    (void)ret_info;
    return -ENOSYS;
}

int weft__tls_peer(struct weft__tls_session *session, const void **ret_der, size_t *ret_size) {
    (void)session;
    (void)ret_der;
    (void)ret_size;
    return -ENOSYS;
}

int weft__tls_export(struct weft__tls_session *session, const struct weft__tls_export *what) {
    (void)session;
    (void)what;
    return -ENOSYS;
}

int weft__tls_rekey(struct weft__tls_session *session) {
    (void)session;
    return -ENOSYS;
}

void weft__tls_error(const struct weft__tls_session *session, weft_tls_error *ret_error) {
    (void)session;
    (void)refuse(ret_error); /* its answer is in ret_error */
}

#endif
