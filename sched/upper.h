/* SPDX-License-Identifier: MIT
 *
 * What the layers above hang onto the scheduler, as vtables, so that nothing here includes them.
 *
 * An attachment belongs to one actor (a connection, a listener, a socket) and follows its life. An
 * upper is the state such a layer keeps per scheduler: it is polled once per step, and says when
 * it wants to be polled next. Everything is called on the scheduler's own thread, but for destroy.
 */
#ifndef WEFT_SCHED_UPPER_H
#define WEFT_SCHED_UPPER_H

#include "core/defs.h"
#include <weft/msg.h>

struct weft__scheduler;
struct weft__attachment;

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
