/* SPDX-License-Identifier: MIT
 *
 * A key: a virtual actor whose id is the key's bytes and whose state is the value. The first command
 * activates it; when it has no value any more it stops, so a key that is deleted costs nothing. It
 * handles one command at a time, so commands need no locks and are atomic by themselves.
 */
#ifndef EXAMPLES_RESP_KEY_H
#define EXAMPLES_RESP_KEY_H

#include "command.h"
#include "resp.h"

extern const weft_type_def key_type; /* its cookie is the resp */

/* One command at one key. */
typedef struct key_request {
    const command *command;
    slice key;
    const slice *args; /* [borrow] without the command's name and the key */
    uint32_t count;    /* of args */
    int protocol;      /* of the reply */
    bool wakes;        /* makes an actor even where the command needs none */
} key_request;

enum { KEY_PUT_OFF = 1 << 17 }; /* in the tag of a REPLY */

/* Calls the key; its REPLY's payload is in the protocol's form. Errors: those of weft_vcall;
 * WEFT_E_INACTIVE: there is no such key and the command would not make it (key_execute_none). */
int key_call(weft_ctx *ctx, resp *self, const key_request *request, uint64_t token);

/* Is this REPLY no answer, because the client has too many bytes of replies unread (budget.h)? Then
 * nothing was executed, and it has what key_call_again needs. */
static inline bool key_has_put_off(const weft_msg *msg) {
    return (weft_msg_tag(msg) & KEY_PUT_OFF) != 0;
}
/* Calls once more; this time the key executes the request in any case. Errors: those of weft_vcall,
 * but for WEFT_E_INACTIVE. */
int key_call_again(weft_ctx *ctx, resp *self, const weft_msg *put_off, uint64_t token);

/* What a key that does not exist would answer. */
void key_execute_none(weft_ctx *ctx, const key_request *request, reply *out);

#endif
