/* SPDX-License-Identifier: MIT
 *
 * What ties actors to each other's end: links (link.c) and monitors (monitor.c). All of an actor's
 * bonds are its own, on the scheduler that runs it; others reach them by signals only.
 *
 * Each side of a link, and the target of a monitor, keeps a message cell for the day it ends: the
 * EXIT or the DOWN is made from it, so telling of an end never needs memory. The cells come with
 * the signals that make the bond.
 *
 * A link is two entries, one on each side. Invariants:
 *   K1  An entry is ACTIVE (number 0, has a cell) or being given up (has a number, no cell): its
 *       owner has unlinked, and the other's answer to that number has not come yet.
 *   K2  An EXIT of a link acts only if there is an ACTIVE entry, and removes it: at most once a
 *       link, and never after weft_unlink.
 *   K3  A LINK that meets an entry being given up is older than the answer that will come: it is
 *       dropped, its sender will remove its own entry when our UNLINK arrives.
 *   K4  Signals to an actor that has closed its mailbox come back to their senders' side by what
 *       the push answers; those that were in the mailbox are answered when it is buried.
 * The protocol of unlinking is that of Erlang/OTP 23 and later (erl_dist_protocol, "Link
 * Protocol").
 */
#ifndef WEFT_SCHED_BONDS_H
#define WEFT_SCHED_BONDS_H

#include "core/map.h"
#include "sched/actor.h"
#include <weft/link.h>

/* One monitor of the actor's own. */
struct weft__watch {
    uint64_t target; /* slot and generation; 0: of another node */
    uint64_t token;
    uint32_t seq;       /* odd while it is active */
    uint32_t next_free; /* index plus one */
};

struct weft__bonds {
    struct weft__map links;    /* peer: number in the upper half, cell in the lower */
    struct weft__map watchers; /* who monitors this actor: first of its cells, by weft__next */
    struct weft__watch *watches;
    uint32_t watch_capacity;
    uint32_t watch_used;
    uint32_t watch_free; /* index plus one */
    uint32_t watch_count;
    uint32_t unlink_number; /* last given out */
    uint32_t up;            /* the UP message for its parent, or 0 */
    /* why the actor ends, besides ctx->reason */
    uint64_t linked; /* 0: not because of a link */
    weft_buf *data;  /* a reference, or NULL */
};

/* weft__ref of an EXIT: what made it. */
enum weft__exit_source {
    WEFT__EXIT_SIGNAL = 0, /* weft_exit_signal, or there was nobody to link to */
    WEFT__EXIT_LINK = 1,
    WEFT__EXIT_STOP = 2, /* weft_stop of an actor that answers it itself */
};

/* The reason of an end, as signals carry it. */
struct weft__reason {
    int code;
    uint64_t linked;
    weft_buf *data; /* [borrow] */
};

/* The actor's bonds, made on first use; NULL: out of memory. */
struct weft__bonds *weft__bonds_of(struct weft_ctx *ctx);

WEFT_INLINE struct weft__bonds *weft__bonds_had(const struct weft_ctx *ctx) {
    return ctx->ext == NULL ? NULL : ctx->ext->bonds;
}

/* A cell for a signal, and what a signal says. */
int weft__signal_make(struct weft__scheduler *s, uint8_t kind, weft_msg **ret_msg);
void weft__signal_fill(weft_msg *msg, uint64_t from, const struct weft__reason *reason);
/* Pushes a signal [take]; 0, or WEFT_E_NOPROC: then it was freed. */
int weft__signal_post(struct weft__scheduler *s, uint64_t target, weft_msg *msg);
/* A signal the actor was given, or one of its batch, becomes the actor's to keep. */
void weft__signal_keep(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);

/* ---- link.c -------------------------------------------------------------------------------- */

/* WEFT__SIGNAL_LINK, UNLINK and UNLINKED arrived [take]. */
void weft__link_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* WEFT__SIGNAL_EXIT. True: it has become an EXIT message for the actor; else it was taken. */
bool weft__exit_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* A stop of another actor's for one that may answer it itself: becomes an EXIT message. */
void weft__exit_from_stop(weft_msg *msg);
/* The actor ends: tells all; then what hangs on bonds goes. */
void weft__bonds_tell(struct weft__scheduler *s, struct weft_ctx *ctx);
void weft__bonds_fini(struct weft__scheduler *s, struct weft_ctx *ctx);
/* A LINK, UNLINK or MONITOR that nobody will handle any more [take]: its sender is told. */
void weft__bonds_bury(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg);
/* A new actor's ties to its parent, before its mailbox opens. flags: enum weft_spawn_flags. On
 * failure nothing is left. */
int weft__bonds_birth(struct weft__scheduler *s, struct weft_ctx *parent, struct weft_ctx *slot,
                      const weft_spawn_options *options);
/* The actor's init has succeeded. */
void weft__bonds_up(struct weft__scheduler *s, struct weft_ctx *ctx);
/* Does the actor end for a reason that is told only, and neither logged nor counted as a crash? */
bool weft__bonds_blamed(const struct weft_ctx *ctx);

/* ---- monitor.c ----------------------------------------------------------------------------- */

/* WEFT__SIGNAL_MONITOR and DEMONITOR arrived [take]. */
void weft__monitor_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* A DOWN arrived; true: it is to be delivered, and has its token. */
bool weft__monitor_down(struct weft_ctx *ctx, weft_msg *msg);
void weft__monitors_tell(struct weft__scheduler *s, struct weft_ctx *ctx,
                         const struct weft__reason *reason);
/* A monitor that was never told of. */
bool weft__monitor_forget(struct weft_ctx *ctx, uint64_t ref);
/* The parent's side of a child that is being born: its watch, and the child's cell. */
int weft__monitor_birth(struct weft__scheduler *s, struct weft_ctx *parent, struct weft_ctx *slot,
                        uint64_t token, uint64_t *ret_ref);
void weft__monitors_fini(struct weft__scheduler *s, struct weft_ctx *ctx);

#endif
