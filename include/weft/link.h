/* SPDX-License-Identifier: MIT
 *
 * How actors learn of each other's end: exit reasons, links, monitors, exit signals. The rules are
 * those of Erlang/OTP (reference manual, chapter Processes; "signals" there), with these
 * differences: an actor that ends because of a link says so in its reason (weft_reason.linked), a
 * monitor that was given up never delivers, and weft_stop ends a handler in order whether it traps
 * exits or not.
 *
 * Signals between two actors arrive in the order they were sent, among messages: what A sent to B
 * before it ended is in B's mailbox before the DOWN or EXIT that tells of it. An EXIT that is not
 * trapped ends its receiver before it handles queued messages.
 * Everything here is "actor only", see weft/actor.h. Stability: stable.
 */
#ifndef WEFT_LINK_H
#define WEFT_LINK_H

#include <weft/actor.h>

WEFT_BEGIN_DECLS

/* ---- exit reasons -------------------------------------------------------------------------- */

enum weft_reason_kind {
    WEFT_REASON_NORMAL = 0,   /* code 0 */
    WEFT_REASON_SHUTDOWN = 1, /* code WEFT_E_SHUTDOWN: told to end, in order; no crash */
    WEFT_REASON_KILLED = 2,   /* code WEFT_E_KILLED: nobody can trap it */
    WEFT_REASON_LINKED = 3,   /* ended by a link: linked is set, the rest is the other's reason */
    WEFT_REASON_NOPROC = 4,   /* code WEFT_E_NOPROC: there was no such actor */
    WEFT_REASON_NOCONNECTION = 5, /* code WEFT_E_NOCONN: the connection to its node is gone */
    WEFT_REASON_TIMEOUT = 6,      /* code -ETIMEDOUT */
    WEFT_REASON_ERROR = 7,        /* any other negative code; data may be a text about it */
    WEFT_REASON_CUSTOM = 8,       /* a positive code: the program's own, with its data */
};

enum { WEFT_REASON_BYTES_MAX = 65536 };

/* Why an actor ended. code is 0, a negative errno or WEFT_E_..., or a positive number of the
 * program's own. */
typedef struct weft_reason {
    int code;
    weft_pid linked;  /* none, or the linked actor whose end was the cause: code and data are those
                         of the first of such a chain to end */
    const void *data; /* a text or what the program chose; NULL: none */
    size_t size;      /* at most WEFT_REASON_BYTES_MAX; of a text: without a terminating zero */
} weft_reason;

WEFT_API enum weft_reason_kind weft_reason_kind(const weft_reason *reason);

/* As weft_exit, with any code and with data [borrow], copied; linked is ignored. Data that cannot be
 * copied (-ENOMEM, -EMSGSIZE) is left out, the actor ends all the same. A process does not
 * return from it. */
WEFT_API void weft_exit_with(weft_ctx *ctx, const weft_reason *reason);

/* The reason of an EXIT or DOWN message, data [borrow] as long as the message. False: another kind
 * of message. */
WEFT_API bool weft_msg_reason(const weft_ctx *ctx, const weft_msg *msg, weft_reason *ret_reason);

/* ---- exit signals -------------------------------------------------------------------------- */

/* Asks another actor, or itself, to end, as exit/2 of Erlang: with code WEFT_E_KILLED it ends at
 * once, without terminate, whatever it traps; if it traps exits it gets an EXIT message; else a
 * normal reason does nothing (but to itself: it ends), and any other ends it, terminate runs. To
 * itself it takes effect at once: nothing later changes the reason, a process does not return.
 * linked is ignored. 0, WEFT_E_NOPROC, WEFT_E_NOCONN, -ENOMEM, -EMSGSIZE. */
WEFT_API int weft_exit_signal(weft_ctx *ctx, weft_pid target, const weft_reason *reason);

/* From now on exits of linked actors, and exit signals, arrive as EXIT messages (sender: whose,
 * status: the code, weft_msg_reason) and do not end this actor. Returns what was set before. */
WEFT_API bool weft_trap_exit(weft_ctx *ctx, bool on);

/* ---- links --------------------------------------------------------------------------------- */

/* Links this actor and another, both ways: when one ends with a reason that is not normal, the
 * other ends too, with that reason (linked says whose), or gets an EXIT message if it traps exits;
 * of a normal end only one that traps exits hears. Linking twice is one link; to itself: nothing.
 * If the other has ended already, or its node is not connected, this actor gets the exit signal
 * noproc or noconnection. 0, or -ENOMEM: nothing changed. */
WEFT_API int weft_link(weft_ctx *ctx, weft_pid target);

/* The link is gone when it returns: no EXIT of it arrives any more. Not linked: nothing. 0. */
WEFT_API int weft_unlink(weft_ctx *ctx, weft_pid target);

/* Writes up to max linked pids, in no order; returns how many there are. */
WEFT_API uint32_t weft_links(weft_ctx *ctx, weft_pid *ret_pids, uint32_t max);

/* ---- monitors ------------------------------------------------------------------------------ */

/* Names one monitor of one actor; 0 is none. */
typedef uint64_t weft_monitor_ref;

/* When target ends, this actor gets exactly one DOWN message: token, sender target, status the
 * code, weft_msg_reason. If it has ended already: at once, with noproc. Several monitors of one
 * target are independent. ret_ref may be NULL. 0, -ENOMEM. A target on a node that is not connected
 * answers DOWN with noconnection. */
WEFT_API int weft_monitor(weft_ctx *ctx, weft_pid target, uint64_t token,
                          weft_monitor_ref *ret_ref);

/* Gives a monitor up: its DOWN will not be delivered any more, also if it waits already. True: it
 * had not been delivered. False: it had, or is unknown. */
WEFT_API bool weft_demonitor(weft_ctx *ctx, weft_monitor_ref ref);

WEFT_END_DECLS

#endif
