/* SPDX-License-Identifier: MIT
 *
 * Who waits for a request. A serial actor handles nothing while a call of its own is pending, so
 * calls that form a circle of serial actors would be left to their timeouts. Here is what it takes
 * to see a circle when it closes: that is always when a request reaches an actor that has to hold
 * it back. Two ways lead from such a request to the calls of the actor itself.
 *
 * Back: a chain is the list of the serial actors that are blocked until a request is answered, the
 * latest caller first. A node says that one call of one actor is pending; its parent is the chain
 * of the request which that actor serves meanwhile. A request carries the index of its first node
 * in the last four bytes of its cell, with WEFT__MSG_CHAIN set, until it is answered. An actor that
 * is in the chain of the request that arrives waits for itself. Actors that are not serial are
 * never blocked: what they ask for while they handle a request inherits that request's chain.
 *
 * Ahead: two actors may call each other at the same time, and then neither is in the other's
 * chain. So a request that is held back leaves a note at its first node (where it is stuck) and
 * links its chain from the parents to their children, and the actor that holds it back shows its
 * own nodes until it has no call pending any more: an episode. The search goes from the actor's own
 * nodes to their children, and from a node with a note to the own nodes of the actor it is stuck
 * behind; if it comes back to where it began there is a circle. Notes, links and the nodes shown
 * are under chain_lock, which only requests with chains take that are held back. So of those that
 * close a circle at the same time exactly one finds it closed.
 *
 * A process that calls and goes on is not blocked by that call before it awaits it. So the node of
 * such a call is dormant, and no way leads over it. The await wakes it, and looks ahead then: what
 * was stuck before counts from now on. Whoever notes where a request is stuck marks all nodes of its
 * chain as touched, in the word that says that a node is dormant: either the await sees that
 * something is stuck because of its call, takes the lock and looks, or the note came later, and who
 * left it looks and finds the node awake. So calls that nobody is stuck behind are awaited without
 * the lock. When several calls or jobs have the token any of them ends the wait: they stay dormant.
 *
 * An actor that is blocked keeps everybody waiting whose request it holds. A node has one parent: the
 * request its call is made for, or of the target itself. The other requests that are held are noted
 * as stuck behind the actor before the call is sent, or when it is awaited. Such notes hold as long
 * as the wait: each one of a process is an episode of its own.
 *
 * With mailbox policy wait a process is blocked until its target has room. The signal that asks for
 * it (WANT_ROOM, sched/room.h) carries a chain like a request, and is stuck when the target is
 * blocked and what it holds back alone fills its bound: then nothing else can come of it.
 *
 * Nodes are message cells that are in no mailbox. Each request that carries one has a share in it,
 * each node it is the parent of, and the list of its maker. They are immutable once sent, but for
 * the shares, the mark that the call has ended, what is under chain_lock, and the parent, which the
 * only holder may cut (chain.c, prune). All walks are bounded by WEFT__CHAIN_MAX.
 */
#ifndef WEFT_SCHED_CHAIN_H
#define WEFT_SCHED_CHAIN_H

#include "sched/actor.h"

struct weft__process;

enum {
    WEFT__CHAIN_MAX = 1024, /* nodes: a longer chain begins anew, a longer search gives up */
};

/* Is the actor blocked until the request is answered that it makes now? */
WEFT_INLINE bool weft__chain_blocks(const struct weft_ctx *ctx) {
    return ((ctx->type->traits & WEFT__TRAIT_SERIAL) | (ctx->life & WEFT__LIFE_CHAINS)) != 0;
}

/* Would a request that the actor makes now to itself never be handled? */
WEFT_INLINE bool weft__chain_bars_self(const struct weft_ctx *ctx) {
    return weft__chain_blocks(ctx) && (ctx->type->traits & WEFT__TRAIT_REENTRANT) == 0;
}

/* Does a call that the actor makes now have a node of its own? Those of a process may be awaited
 * later. */
WEFT_INLINE bool weft__chain_owns(const struct weft_ctx *ctx) {
    return ((ctx->type->traits & WEFT__TRAIT_SERIAL) |
            (ctx->life & (WEFT__LIFE_CHAINS | WEFT__LIFE_PROCESS))) != 0;
}

/* Does a request that the actor makes now carry a chain? */
WEFT_INLINE bool weft__chain_due(const struct weft__scheduler *s, const struct weft_ctx *ctx) {
    return weft__chain_owns(ctx) || (s->msg != NULL ? (s->msg->weft__flags & WEFT__MSG_CHAIN) != 0
                                                    : (ctx->life & WEFT__LIFE_TAKEN) != 0);
}

/* weft__msg_make for a request that carries a chain; target: who gets it, 0: not known. Errors as
 * there. */
int weft__chain_request(struct weft__scheduler *s, struct weft_ctx *ctx,
                        const struct weft__draft *draft, uint64_t target, weft_msg **ret_msg);
/* The request has its reference and its deadline: completes the caller's own node, if it has one. */
void weft__chain_enter(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* An actor with an episode passes on a request with a chain: it is not stuck behind it any more. */
void weft__chain_pass_on(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg);
/* A process is about to wait for the answer with a token: the node of that call is dormant no more.
 * True: that closes a circle; the log says so, and the node is dormant again. */
bool weft__chain_await(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token);
/* That wait is over. */
void weft__chain_awaited(struct weft__scheduler *s, struct weft__process *process);
/* Some calls of a serial actor were given up. */
void weft__chain_give_up(struct weft__scheduler *s, struct weft_ctx *ctx);
/* A request with a chain arrived at an actor that has calls pending. True: it closes a circle.
 * False: it may be held back. */
bool weft__chain_stick(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* A request that closes a circle [take] is answered -EDEADLK, and logged. */
void weft__chain_refuse(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* The actor holds so much back that there is no room before it is unblocked: those that wait for
 * room are stuck behind it, if it is blocked now. */
void weft__chain_stick_waiters(struct weft__scheduler *s, struct weft_ctx *ctx);
/* A message takes another's chain over; it was made with room for one. */
void weft__chain_move(weft_msg *source, weft_msg *target);
/* Does whoever sent a message that carries his own chain wait no more? */
bool weft__chain_is_over(const struct weft__scheduler *s, weft_msg *msg);

#endif
