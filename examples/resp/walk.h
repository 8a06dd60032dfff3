/* SPDX-License-Identifier: MIT
 *
 * A walk over all keys, for FLUSHALL, KEYS and SCAN: an actor of its own that goes on in slices, so
 * no scheduler is held up, answers one request and ends. A walk is not a snapshot: keys that come and
 * go meanwhile may be seen or not.
 */
#ifndef EXAMPLES_RESP_WALK_H
#define EXAMPLES_RESP_WALK_H

#include "resp.h"

extern const weft_type_def walk_type;

enum walk_tag {
    WALK_FLUSH, /* deletes every key */
    WALK_KEYS,  /* the payload is a pattern; the reply an array of keys */
    WALK_SCAN,  /* the same, as the reply of SCAN: all at once, so its cursor is always 0 */
};

/* Starts one; its REPLY is in the protocol's form. pattern may be NULL. Errors: those of weft_spawn
 * and weft_call. */
int walk_call(weft_ctx *ctx, resp *self, enum walk_tag tag, const slice *pattern, uint64_t token);

#endif
