/* SPDX-License-Identifier: MIT
 *
 * weft_tls: options, kept as copies, and the context made of them last. Functions of weft/tls.h.
 * Creating and reloading read files and do not belong on a scheduler; references, fingerprint and
 * certificate may be used on any thread.
 *
 * A reload swaps the context under a lock. Sessions hold the context they began with.
 *
 * The library's process-wide state is set up when this file is loaded, because its own counting of
 * users is only safe once the first one has finished. It is never taken down: another runtime, or
 * another part of the program, may use the library at any time.
 */
#define _GNU_SOURCE 1 /* strnlen */

#ifdef WEFT_TLS

#include "io/tls_config.h"
#include "core/config.h"
#include "sched/scheduler.h"
#include <errno.h>
#include <string.h>

enum { DAYS_MAX = 36500, STRING_COUNT = 6, STRING_BYTES_MAX = 4096 };

__attribute__((constructor)) static void library_start(void) {
    (void)wolfSSL_Init(); /* asked again, with an answer, when a weft_tls is created */
}

/* ---- options ------------------------------------------------------------------------------- */

/* The strings of options, to copy them in a loop. */
static void list_strings(weft_tls_options *options, const char **ret_strings[STRING_COUNT]) {
    ret_strings[0] = &options->cert_file;
    ret_strings[1] = &options->key_file;
    ret_strings[2] = &options->ca_file;
    ret_strings[3] = &options->self_name;
    ret_strings[4] = &options->alpn;
    ret_strings[5] = &options->suites;
}

static int refuse(weft_tls_error *error, const char *what) {
    struct weft__tls_cause cause = {.status = -EINVAL, .alert = -1, .what = what};
    return weft__tls_tell(error, &cause);
}

/* Letters that can be in a host name or an address. */
static bool is_name_good(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= ' ' || name[i] > '~') {
            return false;
        }
    }
    return length > 0 && length <= WEFT__TLS_NAME_BYTES_MAX;
}

/* "h2,http/1.1": no empty name, none that is too long. */
static bool is_alpn_good(const char *alpn) {
    /* Every round takes a name and its comma. */
    for (const char *at = alpn;;) {
        size_t length = strcspn(at, ",");
        if (length == 0 || length > WEFT__TLS_PROTOCOL_BYTES_MAX) {
            return false;
        }
        if (at[length] == '\0') {
            return true;
        }
        at += length + 1;
    }
}

static int check_options(const weft_tls_options *options, weft_tls_error *error) {
    if ((options->cert_file == NULL) != (options->key_file == NULL)) {
        return refuse(error, "cert_file and key_file belong together");
    }
    if (options->cert_file != NULL && options->self_name != NULL) {
        return refuse(error, "either cert_file or self_name");
    }
    if (options->self_name != NULL && !is_name_good(options->self_name)) {
        return refuse(error, "self_name is no name or address");
    }
    if (options->self_days > DAYS_MAX) {
        return refuse(error, "self_days is more than 36500");
    }
    if (options->verify > WEFT_TLS_VERIFY_REQUIRED) {
        return refuse(error, "verify is unknown");
    }
    if (options->alpn != NULL && !is_alpn_good(options->alpn)) {
        return refuse(error, "alpn has a protocol of no letter or of more than 63");
    }
    if (options->alpn_required && options->alpn == NULL) {
        return refuse(error, "alpn_required without alpn");
    }
    return 0;
}

/* A weft_tls with copies of the strings behind it. NULL: no memory. */
static weft_tls *tls_alloc(struct weft__core *core, const weft_tls_options *options) {
    weft_tls_options copy = *options;
    const char **strings[STRING_COUNT];
    size_t size = sizeof(weft_tls);
    list_strings(&copy, strings);
    for (uint32_t i = 0; i < STRING_COUNT; i++) {
        size += *strings[i] == NULL ? 0 : strlen(*strings[i]) + 1;
    }
    weft_tls *tls = weft__alloc(core, size, "tls");
    if (tls == NULL) {
        return NULL;
    }
    char *at = (char *)(tls + 1);
    for (uint32_t i = 0; i < STRING_COUNT; i++) {
        if (*strings[i] != NULL) {
            size_t length = strlen(*strings[i]) + 1;
            memcpy(at, *strings[i], length);
            *strings[i] = at;
            at += length;
        }
    }
    tls->core = core;
    (void)weft_add32_acq_rel(&core->held, 1);
    tls->size = size;
    tls->options = copy;
    tls->magic = WEFT__TLS_MAGIC;
    weft_store32_relaxed(&tls->references, 1);
    return tls;
}

static void tls_free(weft_tls *tls) {
    struct weft__core *core = tls->core;
    tls->magic = 0;
    weft__free(core, tls, tls->size, "tls");
    (void)weft_add32_acq_rel(&core->held, UINT32_MAX); /* the runtime may go from here on */
}

static bool are_strings_short(const weft_tls_options *options) {
    weft_tls_options copy = *options;
    const char **strings[STRING_COUNT];
    list_strings(&copy, strings);
    for (uint32_t i = 0; i < STRING_COUNT; i++) {
        if (*strings[i] != NULL && strnlen(*strings[i], STRING_BYTES_MAX) == STRING_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

/* ---- create and reload --------------------------------------------------------------------- */

static void clear_error(weft_tls_error *error) {
    if (error != NULL) {
        memset(error, 0, sizeof(*error));
        error->alert = -1;
    }
}

int weft_tls_create(weft_runtime *runtime, const weft_tls_options *options, weft_tls **ret_tls,
                    weft_tls_error *error) {
    static const weft__struct_rule rule = {sizeof(weft_tls_options), sizeof(weft_tls_options)};
    clear_error(error);
    if (runtime == NULL || options == NULL || ret_tls == NULL) {
        return refuse(error, "an argument is missing");
    }
    weft_tls_options copy;
    int result = weft__struct_copy(&rule, options, &copy);
    if (result != 0) {
        struct weft__tls_cause cause = {
            .status = result, .alert = -1, .what = "options are of another version"};
        return weft__tls_tell(error, &cause);
    }
    result = are_strings_short(&copy) ? check_options(&copy, error)
                                      : refuse(error, "an option has more than 4095 letters");
    if (result != 0) {
        return result;
    }
    struct weft__tls_cause memory = {.status = -ENOMEM, .library = MEMORY_E, .alert = -1};
    weft_tls *tls = NULL;
    if (wolfSSL_Init() != WOLFSSL_SUCCESS) {
        return weft__tls_tell(error, &memory);
    }
    tls = tls_alloc(&runtime->core, &copy);
    if (tls == NULL) {
        return weft__tls_tell(error, &memory);
    }
    result = weft__tls_context_create(tls->core, &tls->options, &tls->context, error);
    if (result != 0) {
        tls_free(tls);
        return result;
    }
    *ret_tls = tls;
    return 0;
}

int weft_tls_reload(weft_tls *tls, weft_tls_error *error) {
    clear_error(error);
    if (tls == NULL) {
        return refuse(error, "an argument is missing");
    }
    weft_assert(tls->magic == WEFT__TLS_MAGIC);
    struct weft__tls_context *fresh = NULL;
    int result = weft__tls_context_create(tls->core, &tls->options, &fresh, error);
    if (result != 0) {
        return result;
    }
    weft__lock_enter(&tls->lock, tls->core->env);
    struct weft__tls_context *old = tls->context;
    tls->context = fresh;
    weft__lock_leave(&tls->lock);
    weft__tls_context_unref(old);
    return 0;
}

/* ---- references ---------------------------------------------------------------------------- */

weft_tls *weft_tls_ref(weft_tls *tls) {
    if (tls != NULL) {
        weft_assert(tls->magic == WEFT__TLS_MAGIC);
        (void)weft_add32_acq_rel(&tls->references, 1);
    }
    return tls;
}

void weft_tls_unref(weft_tls *tls) {
    if (tls == NULL) {
        return;
    }
    weft_assert(tls->magic == WEFT__TLS_MAGIC);
    if (weft_add32_acq_rel(&tls->references, UINT32_MAX) == 1) { /* K2 */
        weft__tls_context_unref(tls->context);
        tls_free(tls);
    }
}

struct weft__tls_context *weft__tls_context_take(weft_tls *tls) {
    weft_assert(tls->magic == WEFT__TLS_MAGIC);
    weft__lock_enter(&tls->lock, tls->core->env);
    struct weft__tls_context *context = tls->context;
    (void)weft_add32_acq_rel(&context->references, 1);
    weft__lock_leave(&tls->lock);
    return context;
}

int weft__tls_usable(weft_tls *tls, bool server) {
    struct weft__tls_context *context = weft__tls_context_take(tls);
    bool usable = server ? context->server != NULL : context->client != NULL;
    weft__tls_context_unref(context);
    return usable ? 0 : -EINVAL;
}

bool weft__tls_wants_name(weft_tls *tls) {
    struct weft__tls_context *context = weft__tls_context_take(tls);
    bool wants = context->client_verifies;
    weft__tls_context_unref(context);
    return wants;
}

/* ---- the certificate in use ---------------------------------------------------------------- */

int weft_tls_fingerprint(weft_tls *tls, unsigned char ret_sha256[32]) {
    if (tls == NULL || ret_sha256 == NULL) {
        return -EINVAL;
    }
    struct weft__tls_context *context = weft__tls_context_take(tls);
    memcpy(ret_sha256, context->sha256, sizeof(context->sha256));
    weft__tls_context_unref(context);
    return 0;
}

int weft_tls_certificate(weft_tls *tls, char *pem, size_t size) {
    if (tls == NULL || (pem == NULL && size > 0)) {
        return -EINVAL;
    }
    struct weft__tls_context *context = weft__tls_context_take(tls);
    int result = -ENOENT;
    if (context->pem.bytes != NULL) {
        result = (int)context->pem.size;
        if (size > 0) {
            size_t shown = context->pem.size < size ? context->pem.size : size - 1;
            memcpy(pem, context->pem.bytes, shown);
            pem[shown] = '\0';
        }
    }
    weft__tls_context_unref(context);
    return result;
}

#endif
