/* SPDX-License-Identifier: MIT
 *
 * Results. Every function that can fail returns int: zero or positive is success, a negative
 * errno (<errno.h>) or one of the codes below is an error. Codes below -4095 cannot collide with an
 * errno.
 * Stability: stable; codes are append-only.
 */
#ifndef WEFT_ERROR_H
#define WEFT_ERROR_H

#include <weft/defs.h>

WEFT_BEGIN_DECLS

enum {
    WEFT_E_NOPROC = -5001,   /* the pid names no living actor */
    WEFT_E_NOREPLY = -5002,  /* the request was released without an answer */
    WEFT_E_KILLED = -5003,   /* exit reason: killed */
    WEFT_E_SHUTDOWN = -5004, /* exit reason: told to end in order, or the runtime stops; or the call
                                came while it stops */
    WEFT_E_OVERLOAD = -5005, /* the message was dropped to make room (policy drop-old) */
    WEFT_E_NOTYPE = -5006,   /* no actor type of that name is registered */
    WEFT_E_CONFIG = -5007,   /* a configuration key, value or range is wrong */
    WEFT_E_LIMIT = -5008,    /* a configured limit (actors, pending calls, timers) is reached */
    WEFT_E_NOCONN = -5009,   /* the pid belongs to a node that is not connected */
    WEFT_E_TLS = -5010,     /* TLS: certificate, handshake or record is wrong; see weft_tls_error */
    WEFT_E_RESOLVE = -5011, /* the host name has no address */
    WEFT_E_NOCAPABILITY = -5012, /* no node offers the capability */
    WEFT_E_REBALANCING = -5013,  /* the capability or shard is being moved; also an exit reason */
    WEFT_E_INACTIVE = -5014,     /* the virtual actor is not active, and was not to be activated */
    WEFT_E_CRASHED = -5015,      /* the virtual actor crashed before it answered */
    WEFT_E_VERSION = -5016,      /* the store has another version of the state than expected */
    WEFT_E_BREAKER = -5017,      /* too many failures lately: refused without trying */
    WEFT_E_REMOTE = -5018,       /* the other node failed to carry the request out */
};

/* Name of a result, "WEFT_E_NOPROC: no such actor" or the text of an errno. Never NULL. The
 * string is static. Any thread, also a signal handler. */
WEFT_API const char *weft_strerror(int result);

WEFT_END_DECLS

#endif
