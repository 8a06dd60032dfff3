/* SPDX-License-Identifier: MIT
 *
 * UDP. A socket is an actor of the program's own type, pinned to one scheduler, as with streams.
 * It gets OPEN once the socket is bound, a WEFT_MSG_IO message with tag WEFT_IO_DATAGRAM for each
 * datagram, and CLOSED when receiving failed for good. Datagrams the actor does not keep up with
 * are dropped by the kernel. An empty datagram is a message of size 0.
 * Stability: stable, option structs are append-only.
 */
#ifndef WEFT_DATAGRAM_H
#define WEFT_DATAGRAM_H

#include <weft/actor.h>
#include <weft/address.h>

WEFT_BEGIN_DECLS

typedef struct weft_datagram_options {
    size_t struct_size;  /* WEFT_DATAGRAM_OPTIONS_INIT */
    const char *address; /* to bind to: "0.0.0.0:4000"; port 0: any free one */
    const weft_type *type;
    const void *arg; /* for init [borrow], copied */
    size_t arg_size;
    uint32_t scheduler;     /* 1..n; 0: any */
    bool reuse_port;        /* other sockets may bind to the same address (SO_REUSEADDR and
                                   SO_REUSEPORT): every one gets each multicast datagram */
    uint32_t receive_ahead; /* bytes delivered and not handled; 0: 256K */
    uint32_t send_max;      /* bytes queued that are refused; 0: 256K */
} weft_datagram_options;
#define WEFT_DATAGRAM_OPTIONS_INIT sizeof(weft_datagram_options)

/* Opens a socket. ret_pid, ret_address may be NULL. Errors as weft_listen. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_datagram_open(weft_runtime *runtime,
                                             const weft_datagram_options *options,
                                             weft_pid *ret_pid, weft_address *ret_address);

/* ---- inside the socket's actor --------------------------------------------------------------
 * -ENOTCONN in another one. */

/* Sends one datagram. 0: given to the kernel, or queued; -EMSGSIZE; -ENOBUFS: send_max is queued;
 * -EINVAL (another family). */
WEFT_API int weft_datagram_send(weft_ctx *ctx, const weft_address *target, const void *data,
                                size_t size);
/* Who sent the datagram being handled. */
WEFT_API int weft_datagram_sender(weft_ctx *ctx, const weft_msg *msg, weft_address *ret_address);

/* Joins and leaves a multicast group; interface_index 0: the system chooses. */
WEFT_API int weft_datagram_join(weft_ctx *ctx, const weft_address *group, uint32_t interface_index);
WEFT_API int weft_datagram_leave(weft_ctx *ctx, const weft_address *group,
                                 uint32_t interface_index);
/* For what is sent to groups: the interface, how many routers it may pass (default 1), whether
 * sockets of this machine get it too (default yes). */
WEFT_API int weft_datagram_multicast(weft_ctx *ctx, uint32_t interface_index, uint32_t hops,
                                     bool loop);
WEFT_API int weft_datagram_close(weft_ctx *ctx);

WEFT_END_DECLS

#endif
