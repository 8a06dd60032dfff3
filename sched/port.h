/* SPDX-License-Identifier: MIT
 *
 * A port: the mailbox of a thread outside the schedulers. It is a slot like an actor's, so that
 * answers reach it the same way, but a push to it wakes a driver instead of entering a run queue.
 * Ports are pooled and live as long as the runtime; an answer that comes too late lies in the
 * mailbox until the next use and is dropped there, because its reference is old.
 */
#ifndef WEFT_SCHED_PORT_H
#define WEFT_SCHED_PORT_H

#include "sched/actor.h"

struct weft__port {
    struct weft__port *next_free; /* under runtime.ports_lock */
    struct weft__port *next_all;  /* const after it was made */
    struct weft_ctx *slot;
    void *driver;
    bool has_fd;
    uint32_t seq; /* of the last call, or where a queue's calls begin; its user only */
};

/* A port of one's own until released. Any thread. 0, -ENOMEM, -EMFILE ... */
int weft__port_acquire(weft_runtime *runtime, bool want_fd, struct weft__port **ret_port);
void weft__port_release(weft_runtime *runtime, struct weft__port *port);
/* Takes the next message, oldest first, or NULL. Its user only. */
weft_msg *weft__port_take(weft_runtime *runtime, struct weft__port *port);
/* Drops what came too late for ports that nobody uses just now. Any thread. */
void weft__ports_drain(weft_runtime *runtime);
/* Frees all ports; nobody uses one. */
void weft__ports_fini(weft_runtime *runtime);
/* Drops what came too late. */
void weft__port_drain(weft_runtime *runtime, struct weft__port *port);

/* Sends a request from a port. deadline_ns on the runtime's clock. Errors as weft_send. */
struct weft__request {
    /* Finds the target and sends msg [take]; NULL: target is known. */
    int (*deliver)(weft_runtime *runtime, void *cookie, weft_msg *msg);
    void *cookie;
    weft_buf *buf; /* data lies in it; or NULL */
    weft_pid target;
    const void *data;
    size_t size;
    uint32_t tag;
    uint64_t deadline_ns;
    uint64_t reference;
    uint64_t sent_to; /* slot and generation; with deliver: filled in by it, or 0 */
};
int weft__port_request(weft_runtime *runtime, struct weft__port *port,
                       const struct weft__request *request);
/* As weft_runtime_call and weft_cq_call; deadline and reference are filled in. */
int weft__runtime_call(weft_runtime *runtime, struct weft__request *request, uint64_t timeout_ns,
                       weft_msg **ret_reply);
int weft__cq_call(weft_cq *queue, struct weft__request *request, uint64_t timeout_ns,
                  uint64_t token);
weft_runtime *weft__cq_runtime(const weft_cq *queue);

/* A push to a port's mailbox found it idle. Any thread. */
WEFT_INLINE void weft__port_wake(weft_runtime *runtime, struct weft_ctx *slot) {
    const struct weft__port *port = slot->state;
    runtime->core.env->driver_wake(runtime->core.env, port->driver);
}

#endif
