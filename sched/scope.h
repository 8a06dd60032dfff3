/* SPDX-License-Identifier: MIT
 *
 * Whom an actor works for, and what follows from it: deadlines and cancellation go down the calls
 * (weft/actor.h, weft_work_for). Everything here is on the scheduler that runs the actor.
 *
 * The scope is a request that the actor has, as its message cell. Nothing is kept for the usual
 * case: it is the request at hand (weft__scope). With WEFT__LIFE_SCOPED one is stored instead, or
 * NULL for nobody: for a handler in the scheduler, until the handler returns, for a process in the
 * process, until it receives the next message.
 *
 *   W1  A stored scope, and the scope of a pending call, is a request the actor has: at hand or held.
 *       Whoever takes a request away from an actor says so first (weft__scope_leave): an answer, a
 *       release, a forward, the way back into the batch after a crash. So a cell is enough to name
 *       it, and what a request's calls inherit is read from the request itself.
 *   W2  The records of the calls made for one request are linked; the first one's index plus one is
 *       the request's weft__stamp, with WEFT__MSG_ASKED in its flags.
 *   W3  A cancelled request has the deadline 0. Calls for it end at once, with -ECANCELED; those that
 *       were pending have the deadline 0 from then on and are taken back like those that are due.
 *   W4  A CANCEL signal is sent after its request, to the same actor, and each mailbox keeps the
 *       order of one sender. So its request has been taken out of the mailbox when it is handled: it
 *       is held, put aside, in the batch, or no longer there. Where it is in the batch the pair
 *       {caller, reference} is remembered until the batch has been handled.
 */
#ifndef WEFT_SCHED_SCOPE_H
#define WEFT_SCHED_SCOPE_H

#include "sched/process.h"

/* Where the scope is stored, with WEFT__LIFE_SCOPED. */
WEFT_INLINE weft_msg **weft__scope_stored(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    return (ctx->life & WEFT__LIFE_PROCESS) != 0 ? &ctx->ext->process->scope : &s->scope;
}

/* The request the actor works for, or NULL. Its deadline is its weft__value. */
WEFT_INLINE weft_msg *weft__scope(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    weft_msg *msg = s->msg;
    if (weft_unlikely((ctx->life & (WEFT__LIFE_SCOPED | WEFT__LIFE_PROCESS)) != 0)) {
        if ((ctx->life & WEFT__LIFE_SCOPED) != 0) {
            return *weft__scope_stored(s, ctx);
        }
        msg = msg != NULL && weft__is_request(msg) ? msg : ctx->ext->process->current;
    }
    return msg != NULL && weft__is_request(msg) ? msg : NULL;
}

/* From here on the actor works for this request, which it has, or for nobody (NULL). */
WEFT_INLINE void weft__scope_enter(struct weft__scheduler *s, struct weft_ctx *ctx,
                                   weft_msg *scope) {
    ctx->life |= WEFT__LIFE_SCOPED;
    *weft__scope_stored(s, ctx) = scope;
}

/* A handler has returned. A process goes on. */
WEFT_INLINE void weft__scope_returned(struct weft_ctx *ctx) {
    if ((ctx->life & WEFT__LIFE_PROCESS) == 0) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_SCOPED;
    }
}

/* Must weft__scope_leave be told of this request? */
WEFT_INLINE bool weft__scope_concerns(const struct weft_ctx *ctx, const weft_msg *request) {
    return ((ctx->life & WEFT__LIFE_SCOPED) | (request->weft__flags & (uint32_t)WEFT__MSG_ASKED)) !=
           0;
}

/* 0, -ETIMEDOUT, -ECANCELED: is the scope over? */
int weft__scope_check(struct weft__scheduler *s, const weft_msg *scope);
/* A pending call was made for the scope. */
void weft__scope_bind(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *scope,
                      uint64_t reference);
/* A call with a scope was taken out of the table; returns the scope. */
weft_msg *weft__scope_unbind(struct weft__scheduler *s, struct weft_ctx *ctx,
                             struct weft__call *call);
/* The same, and the REPLY is about to be handled. */
void weft__scope_return(struct weft__scheduler *s, struct weft_ctx *ctx, struct weft__call *call);
/* The actor does not have this request any longer. W1 */
void weft__scope_leave(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *request);

/* Takes back the calls with a token and tells those they were made to. How many. */
uint32_t weft__scope_give_up(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token);
/* The actor ends: those its calls were made to are told. */
void weft__scope_end(struct weft__scheduler *s, struct weft_ctx *ctx);

/* A CANCEL arrived. True: calls of the actor's own are due now. */
bool weft__scope_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
/* With WEFT__LIFE_CANCELS: was the request cancelled that is about to be handled? */
bool weft__scope_cancelled(struct weft_ctx *ctx, const weft_msg *request);
/* The actor ends and has an heir: a CANCEL that was not handled, then what is left for the heir. */
void weft__scope_note(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
void weft__scope_pass_on(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t left);
/* After a message, with WEFT__LIFE_SCOPED or WEFT__LIFE_CANCELS. */
void weft__scope_attend(struct weft__scheduler *s, struct weft_ctx *ctx);
void weft__scope_fini(struct weft__core *core, struct weft__cancels *cancels);
/* The memory of a table. */
uint64_t weft__cancels_bytes(const struct weft__cancels *cancels);

/* The same signal from outside. */
void weft__scope_cancel_outside(weft_runtime *runtime, uint64_t target, uint64_t from,
                                uint64_t reference);

#endif
