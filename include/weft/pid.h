/* SPDX-License-Identifier: MIT
 *
 * Pid: the name of one actor for all time. A value, never a pointer; it outlives its actor
 * harmlessly (a send to it then answers WEFT_E_NOPROC). Equality, order and hash are stable and
 * the same on every node. Stability: stable.
 */
#ifndef WEFT_PID_H
#define WEFT_PID_H

#include <weft/defs.h>

WEFT_BEGIN_DECLS

typedef struct weft_pid {
    uint64_t node; /* incarnation of the node the actor lives on; 0 only in WEFT_PID_NONE */
    uint32_t slot; /* where it lives there */
    uint32_t gen;  /* which tenant of that slot; never 0 for a pid that was given out */
} weft_pid;

/* The pid of nobody. */
static inline weft_pid weft_pid_none(void) {
    weft_pid pid;
    pid.node = 0;
    pid.slot = 0;
    pid.gen = 0;
    return pid;
}

static inline bool weft_pid_is_none(weft_pid pid) {
    return pid.gen == 0;
}

static inline bool weft_pid_equal(weft_pid left, weft_pid right) {
    return left.gen == right.gen && left.slot == right.slot && left.node == right.node;
}

/* Total order: negative, zero, positive. */
static inline int weft_pid_compare(weft_pid left, weft_pid right) {
    if (left.node != right.node) {
        return left.node < right.node ? -1 : 1;
    }
    if (left.slot != right.slot) {
        return left.slot < right.slot ? -1 : 1;
    }
    return left.gen < right.gen ? -1 : (left.gen > right.gen ? 1 : 0);
}

/* 64-bit hash, the same on every platform. Not for keys an attacker chooses. Any thread. */
WEFT_API uint64_t weft_pid_hash(weft_pid pid);

enum { WEFT_PID_TEXT_BYTES = 40 };

/* Writes "<node>.<slot>.<gen>" in hexadecimal with a terminating zero, at most
 * WEFT_PID_TEXT_BYTES. Returns the length without the zero, or -ENOSPC. Any thread. */
WEFT_API int weft_pid_format(weft_pid pid, char *text, size_t size);

WEFT_END_DECLS

#endif
