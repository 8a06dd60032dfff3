/* SPDX-License-Identifier: MIT
 *
 * Full mailboxes: who is refused, who is told when there is room, who waits for it.
 *
 * A sender that is refused asks the target for one READY (the signal WANT_READY), and remembers in
 * its list of busy targets that it has. With policy wait a process is suspended instead: WANT_ROOM
 * is a call it makes, whose request is a signal that no bound stops, and whose answer is 0 at the
 * low-water mark or the target's end. So it has all that calls have: it ends with the request that
 * the process works for, a late answer is dropped, and circles are seen, because the signal carries a
 * chain (sched/chain.h). The message itself is held by the process meanwhile, and goes with it.
 *
 * Both signals wait at the target, latest first. Everything here runs on the scheduler of the actor
 * in question.
 */
#ifndef WEFT_SCHED_ROOM_H
#define WEFT_SCHED_ROOM_H

#include "sched/actor.h"

/* A push that failed. The message stays with the caller, unless it is in the mailbox at last. */
struct weft__refusal {
    uint64_t target;
    weft_msg *msg;
    uint64_t call_ref; /* of the sender's own call that the message asks for, or 0 */
    bool waits;        /* the sender waits for room, if it is a process that may */
    bool dropped;      /* [out] a mailbox policy took it, the send has succeeded */
};

/* What a send answers whose push answered result; 0: it has succeeded after all. The sender may run
 * elsewhere afterwards. */
int weft__refused(struct weft_ctx *ctx, struct weft__refusal *refusal, int result);
/* A READY arrived from an actor. */
void weft__busy_remove(struct weft_ctx *ctx, uint64_t from);

/* WANT_READY or WANT_ROOM arrived [take]. */
void weft__waiters_want(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* It waits in the actor [take]; not the anchor. */
void weft__waiters_add(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* A CANCEL arrived: perhaps of a wait for room, whose process has ended. If it is not among the
 * latest it is found later, when there are many. */
void weft__waiters_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *cancel);
/* Answers all, those that came first before others. */
void weft__waiters_flush(struct weft__scheduler *s, struct weft_ctx *ctx);

#endif
