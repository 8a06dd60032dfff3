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
 * Nodes are message cells that are in no mailbox. Each request that carries one has a share in it,
 * each node it is the parent of, and the list of its maker. They are immutable once sent, but for
 * the shares, the mark that the call has ended, what is under chain_lock, and the parent, which the
 * only holder may cut (chain.c, prune). All walks are bounded by WEFT__CHAIN_MAX.
 */
#ifndef WEFT_SCHED_CHAIN_H
#define WEFT_SCHED_CHAIN_H

#include "sched/actor.h"

enum {
    WEFT__CHAIN_MAX = 1024, /* nodes: a longer chain begins anew, a longer search gives up */
};

/* Is the actor blocked until the request is answered that it makes now? */
WEFT_INLINE bool weft__chain_blocks(const struct weft_ctx *ctx) {
    return ((ctx->type->traits & WEFT__TRAIT_SERIAL) | (ctx->life & WEFT__LIFE_CHAINS)) != 0;
}

/* Does a request that the actor makes now carry a chain? */
WEFT_INLINE bool weft__chain_due(const struct weft__scheduler *s, const struct weft_ctx *ctx) {
    return weft__chain_blocks(ctx) || (s->msg != NULL ? (s->msg->weft__flags & WEFT__MSG_CHAIN) != 0
                                                      : (ctx->life & WEFT__LIFE_TAKEN) != 0);
}

/* weft__msg_make for a request that carries a chain. Errors as there. */
int weft__chain_request(struct weft__scheduler *s, struct weft_ctx *ctx,
                        const struct weft__draft *draft, weft_msg **ret_msg);
/* The request has its reference and its deadline: completes the caller's own node, if it has one. */
void weft__chain_enter(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg);
/* Some calls of a serial actor were given up. */
void weft__chain_give_up(struct weft__scheduler *s, struct weft_ctx *ctx);
/* A request with a chain arrived at an actor that has calls pending. True: it closes a circle,
 * which was logged. False: it may be held back. */
bool weft__chain_stick(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);

#endif
