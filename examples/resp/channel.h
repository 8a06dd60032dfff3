/* SPDX-License-Identifier: MIT
 *
 * A channel of publish and subscribe: a virtual actor whose id is the channel's name and which knows
 * the connections that have subscribed. It lives from the first of them to the last.
 */
#ifndef EXAMPLES_RESP_CHANNEL_H
#define EXAMPLES_RESP_CHANNEL_H

#include "resp.h"

extern const weft_type_def channel_type;

enum channel_tag {
    CHANNEL_SUBSCRIBE,   /* from a connection; no payload, empty reply */
    CHANNEL_UNSUBSCRIBE, /* the same */
    CHANNEL_PUBLISH,     /* the message; the reply's payload is the number of receivers, uint64_t */
    CHANNEL_COUNT,       /* no payload; the same reply */
};

/* To a connection: a message that was published, as a push of RESP3. */
enum { CHANNEL_PUSH = 1 };

typedef struct channel_request {
    const slice *name;
    const slice *message; /* what CHANNEL_PUBLISH publishes, else NULL */
    enum channel_tag tag;
    uint64_t token;
} channel_request;

/* Calls a channel. Errors: those of weft_vcall; WEFT_E_INACTIVE: nobody has subscribed, which is no
 * answer to CHANNEL_SUBSCRIBE. */
int channel_call(weft_ctx *ctx, resp *self, const channel_request *asked);
/* A connection ends: it wants no answer. */
void channel_leave(weft_ctx *ctx, resp *self, const slice *name);

#endif
