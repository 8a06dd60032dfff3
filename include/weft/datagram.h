/* SPDX-License-Identifier: MIT
 *
 * UDP. A socket is an actor of the program's own type, pinned to one scheduler, as with streams.
 * It gets OPEN once the socket is bound, a WEFT_MSG_IO message with tag WEFT_IO_DATAGRAM for each
 * datagram, and CLOSED when receiving failed for good (the status says why) or after
 * weft_datagram_close (status 0). When CLOSED was handled the actor ends, normally. Datagrams the
 * actor does not keep up with are dropped by the kernel. An empty datagram is a message of size 0.
 *
 * A datagram is received whole or not at all: one that is longer than io.buffer less 64 bytes is
 * dropped. Programs that expect more than the 16K of the default set io.buffer; 66K is enough for
 * any datagram.
 *
 * When the actor ends, what it has sent before still goes out if the reason is 0 or
 * WEFT_E_SHUTDOWN, else it may be dropped.
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
    uint32_t receive_ahead; /* bytes delivered and not handled; 0: 256K. Here and below each
                                   datagram counts 64 bytes more than it has */
    uint32_t send_max;      /* bytes queued that are refused; 0: 256K. A single datagram always
                                   fits */
} weft_datagram_options;
#define WEFT_DATAGRAM_OPTIONS_INIT sizeof(weft_datagram_options)

/* Opens a socket [borrow]. ret_pid, ret_address (where it is bound, with the real port) may be
 * NULL. Errors as weft_listen; -EINVAL also for a Unix address. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_datagram_open(weft_runtime *runtime,
                                             const weft_datagram_options *options,
                                             weft_pid *ret_pid, weft_address *ret_address);

/* ---- inside the socket's actor --------------------------------------------------------------
 * -ENOTCONN in another one, or after CLOSED. */

/* Sends a copy of data as one datagram, in the order of the calls. 0: given to the kernel, or
 * queued; what fails after that (nobody listens there, no route, too long for a link) is dropped
 * silently, as a datagram that is lost on its way. -EMSGSIZE: above 65507; -ENOBUFS: send_max is
 * queued; -EINVAL: another family than the socket's, or port 0; -EPIPE: after weft_datagram_close;
 * -ENOMEM. A socket bound to "[::]" or "*" reaches IPv4 as "[::ffff:192.0.2.1]". */
WEFT_API int weft_datagram_send(weft_ctx *ctx, const weft_address *target, const void *data,
                                size_t size);
/* Who sent a datagram of this actor: the one being handled, or one it has taken. -EINVAL: msg is
 * none. */
WEFT_API int weft_datagram_sender(weft_ctx *ctx, const weft_msg *msg, weft_address *ret_address);

/* Joins and leaves a multicast group; interface_index 0: the system chooses. -EINVAL (no group, or
 * another family), -ENODEV, -EADDRINUSE (joined already), -EADDRNOTAVAIL (not joined), -ENOBUFS. */
WEFT_API int weft_datagram_join(weft_ctx *ctx, const weft_address *group, uint32_t interface_index);
WEFT_API int weft_datagram_leave(weft_ctx *ctx, const weft_address *group,
                                 uint32_t interface_index);
/* For what is sent to groups from here on: the interface (0: the system chooses), how many hops it
 * may take (1, the default: this network only; at most 255), whether sockets of this machine get it
 * too (default yes). */
WEFT_API int weft_datagram_multicast(weft_ctx *ctx, uint32_t interface_index, uint32_t hops,
                                     bool loop);
/* Closes. What is queued is still sent, CLOSED follows; nothing more is delivered before it. */
WEFT_API int weft_datagram_close(weft_ctx *ctx);

WEFT_END_DECLS

#endif
