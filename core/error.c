/* SPDX-License-Identifier: MIT
 *
 * Texts of results, the version, and the end of a failed assert. Called on any thread and from
 * signal handlers: everything here is async-signal-safe, nothing is translated or allocated.
 *
 * weft__assert_failed is the one place where the library writes to standard error by itself: the
 * process is about to abort because the program or the library has a bug, and no hook can be
 * trusted any more.
 */
#define _GNU_SOURCE 1

#include "core/defs.h"
#include "core/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ERRNO_MAX = 4095,       /* the kernel's MAX_ERRNO */
    ASSERT_LINE_BYTES = 512 /* longer lines are cut */
};

static const char *text_of_errno(int number) {
#if defined(__GLIBC__)
    /* Unlike strerror this neither translates nor uses a buffer of the thread. */
    const char *text = strerrordesc_np(number);
    return text != NULL ? text : "unknown error";
#else
    /* Other C libraries for Linux (musl) return a constant here, without a lock. */
    return strerror(number);
#endif
}

static const char *text_of_weft(int result) {
    switch (result) {
    case WEFT_E_NOPROC:
        return "WEFT_E_NOPROC: no such actor";
    case WEFT_E_NOREPLY:
        return "WEFT_E_NOREPLY: the request was released without an answer";
    case WEFT_E_KILLED:
        return "WEFT_E_KILLED: killed";
    case WEFT_E_SHUTDOWN:
        return "WEFT_E_SHUTDOWN: told to end in order, or the runtime stops";
    case WEFT_E_OVERLOAD:
        return "WEFT_E_OVERLOAD: dropped to make room in a full mailbox";
    case WEFT_E_NOTYPE:
        return "WEFT_E_NOTYPE: no actor type of that name is registered";
    case WEFT_E_CONFIG:
        return "WEFT_E_CONFIG: a configuration key, value or range is wrong";
    case WEFT_E_LIMIT:
        return "WEFT_E_LIMIT: a configured limit is reached";
    case WEFT_E_NOCONN:
        return "WEFT_E_NOCONN: the actor's node is not connected";
    case WEFT_E_TLS:
        return "WEFT_E_TLS: a certificate, a handshake or a record of TLS is wrong";
    case WEFT_E_RESOLVE:
        return "WEFT_E_RESOLVE: the host name has no address";
    case WEFT_E_NOCAPABILITY:
        return "WEFT_E_NOCAPABILITY: no node offers the capability";
    case WEFT_E_REBALANCING:
        return "WEFT_E_REBALANCING: the capability or shard is being moved";
    case WEFT_E_INACTIVE:
        return "WEFT_E_INACTIVE: the virtual actor is not active, and was not to be activated";
    case WEFT_E_CRASHED:
        return "WEFT_E_CRASHED: the virtual actor crashed before it answered";
    case WEFT_E_VERSION:
        return "WEFT_E_VERSION: the store has another version of the state than expected";
    case WEFT_E_BREAKER:
        return "WEFT_E_BREAKER: too many failures lately, refused without trying";
    case WEFT_E_REMOTE:
        return "WEFT_E_REMOTE: the other node failed to carry the request out";
    default:
        return "unknown error";
    }
}

const char *weft_strerror(int result) {
    if (result >= 0) {
        return "success";
    }
    return result >= -ERRNO_MAX ? text_of_errno(-result) : text_of_weft(result);
}

const char *weft_version(void) {
    return WEFT_VERSION;
}

WEFT_COLD _Noreturn void weft__assert_failed(const char *file, int line, const char *what) {
    char bytes[ASSERT_LINE_BYTES];
    weft__text text;
    /* One byte less: the newline goes in last, also after a line that was cut. */
    weft__text_init(&text, bytes, sizeof(bytes) - 1);
    weft__text_put(&text, "weft: assertion failed: ");
    weft__text_put(&text, file);
    weft__text_put(&text, ":");
    weft__text_put_u64(&text, line > 0 ? (uint64_t)line : 0);
    weft__text_put(&text, ": ");
    weft__text_put(&text, what);
    size_t length = strlen(bytes);
    bytes[length] = '\n';
    if (write(STDERR_FILENO, bytes, length + 1) < 0) {
        /* Nobody is left to tell; the abort says the rest. */
    }
    abort();
}
