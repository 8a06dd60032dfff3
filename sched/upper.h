/* SPDX-License-Identifier: MIT
 *
 * What the layers above hang onto the scheduler, as vtables, so that nothing here includes them.
 *
 * An attachment belongs to one actor (a connection, a listener, a socket) and follows its life. An
 * upper is the state such a layer keeps per scheduler: it is polled once per step, and says when
 * it wants to be polled next. Virtual actors have calls of their own, common to all of a runtime.
 * Everything is called on the scheduler's own thread, but for destroy.
 */
#ifndef WEFT_SCHED_UPPER_H
#define WEFT_SCHED_UPPER_H

#include "core/defs.h"
#include <weft/msg.h>

struct weft__attachment;
struct weft__batch;
struct weft__scheduler;

struct weft__attachment_calls {
    /* Before init, as the first thing that happens to the actor. Negative: it ends with that. */
    int (*begin)(struct weft__attachment *attachment, struct weft__scheduler *s,
                 struct weft_ctx *ctx);
    /* init has succeeded. */
    void (*start)(struct weft__attachment *attachment);
    /* A WEFT_MSG_IO message is about to be given to receive; false: drop it. */
    bool (*admit)(struct weft__attachment *attachment, const weft_msg *msg);
    /* It was; true: the actor ends, normally. tag and size are the message's. */
    bool (*handled)(struct weft__attachment *attachment, uint32_t tag, uint32_t size);
    /* A WEFT__SIGNAL_UPPER arrived [borrow]. */
    void (*signal)(struct weft__attachment *attachment, const weft_msg *msg);
    /* The actor ends, terminate has run. begin may never have been called. The attachment is its
     * layer's again. */
    void (*end)(struct weft__attachment *attachment, struct weft__scheduler *s, int reason);
};

struct weft__attachment {
    const struct weft__attachment_calls *calls;
};

/* What the layer of virtual actors does for one of them (WEFT__TRAIT_VIRTUAL), in the place of an
 * attachment, which would cost each of them memory. On the scheduler that runs the actor. */
struct weft__virtual_calls {
    /* The first turn: runs init, or begins to load. */
    void (*begin)(struct weft__scheduler *s, struct weft_ctx *ctx);
    /* With WEFT__LIFE_HOLD, an answer [borrow] or a timeout came; false: not the store's. */
    bool (*stored)(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg);
    /* WEFT__SIGNAL_PASSIVATE; negative: the actor must end with that, else only if it is idle. */
    void (*passivate)(struct weft__scheduler *s, struct weft_ctx *ctx, int reason);
    /* The actor is about to end: its reason is known, its mailbox open still, nobody told. */
    void (*closing)(struct weft__scheduler *s, struct weft_ctx *ctx);
    /* The actor has ended; left: the messages that are to go on to its next activation, all from
     * users, oldest first [take]; first is 0: none. Afterwards its slot may be let again. */
    void (*end)(struct weft__scheduler *s, struct weft_ctx *ctx, const struct weft__batch *left);
    /* The runtime is destroyed; any thread. */
    void (*destroy)(struct weft_runtime *runtime);
};

struct weft__upper;

struct weft__upper_calls {
    /* Does what is due. Returns how much happened. */
    uint32_t (*poll)(struct weft__upper *upper, uint64_t now_ns);
    /* When to poll even if nothing happens; UINT64_MAX: never. */
    uint64_t (*deadline)(const struct weft__upper *upper);
    /* The scheduler's thread ends. */
    void (*leave)(struct weft__upper *upper);
    /* The runtime is destroyed; any thread. */
    void (*destroy)(struct weft__upper *upper);
};

struct weft__upper {
    const struct weft__upper_calls *calls;
};

#endif
