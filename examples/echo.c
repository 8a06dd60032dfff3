/* SPDX-License-Identifier: MIT
 *
 * An echo server over TCP or TLS: what a client sends comes back. One actor per connection.
 * Options, signals and results: see server.h.
 */
#include "server.h"

#include <errno.h>

/* Nothing to remember, so the actor has no state. A peer that does not read stops being read, so
 * what waits to be sent is bounded. When the peer ends, the connection sends what is left and
 * closes by itself. */
static int echo_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    int rc = weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
    /* Not rc itself: WEFT_STREAM_FULL is no reason to stop, and after -EPIPE, which means that the
     * peer has gone, CLOSED will say why. */
    return rc < 0 && rc != -EPIPE ? rc : WEFT_CONTINUE;
}

int main(int argc, char **argv) {
    const server echo = {
        .name = "echo",
        .port = "7000",
        .type = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "echo", .receive = echo_receive}};
    return server_main(&echo, argc, argv);
}
