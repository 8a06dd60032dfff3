/* SPDX-License-Identifier: MIT
 *
 * Ports, and the calls that threads outside make through them: see sched/port.h and
 * weft/runtime.h.
 */
#include "sched/port.h"
#include <string.h>

enum { REFERENCE_OUTSIDE = 1 }; /* low half of a blocking call's reference; sequence above it */

static int port_create(weft_runtime *runtime, bool want_fd, struct weft__port **ret_port) {
    struct weft__port *port = weft__alloc(&runtime->core, sizeof(*port), "port");
    if (port == NULL) {
        return -ENOMEM;
    }
    weft_env *env = runtime->core.env;
    int result = env->driver_create(env, want_fd, &port->driver);
    if (result == 0) {
        result = weft__slot_alloc(runtime, NULL, &port->slot);
        if (result != 0) {
            env->driver_destroy(env, port->driver);
        }
    }
    if (result != 0) {
        weft__free(&runtime->core, port, sizeof(*port), "port");
        return result;
    }
    struct weft_ctx *slot = port->slot;
    port->has_fd = want_fd;
    slot->state = port;
    slot->type = NULL;
    slot->batch = 0;
    slot->anchor = 0;
    weft_store32_relaxed(&slot->bound, (uint32_t)INT32_MIN); /* answers only: those have no bound */
    weft_store32_relaxed(&slot->traits, WEFT__TRAIT_PORT);
    weft__mailbox_open(&slot->mailbox, slot->gen, WEFT__MAILBOX_IDLE);
    weft__lock_enter(&runtime->ports_lock, env);
    port->next_all = runtime->all_ports;
    runtime->all_ports = port;
    weft__lock_leave(&runtime->ports_lock);
    *ret_port = port;
    return 0;
}

int weft__port_acquire(weft_runtime *runtime, bool want_fd, struct weft__port **ret_port) {
    weft__lock_enter(&runtime->ports_lock, runtime->core.env);
    struct weft__port **link = &runtime->free_ports;
    while (*link != NULL && (*link)->has_fd != want_fd) { /* bounded by ports ever in use */
        link = &(*link)->next_free;
    }
    struct weft__port *port = *link;
    if (port != NULL) {
        *link = port->next_free;
    }
    weft__lock_leave(&runtime->ports_lock);
    if (port == NULL) {
        return port_create(runtime, want_fd, ret_port);
    }
    weft__port_drain(runtime, port);
    *ret_port = port;
    return 0;
}

void weft__port_release(weft_runtime *runtime, struct weft__port *port) {
    weft__port_drain(runtime, port);
    weft__lock_enter(&runtime->ports_lock, runtime->core.env);
    port->next_free = runtime->free_ports;
    runtime->free_ports = port;
    weft__lock_leave(&runtime->ports_lock);
}

weft_msg *weft__port_take(weft_runtime *runtime, struct weft__port *port) {
    struct weft_ctx *slot = port->slot;
    struct weft__arena *arena = &runtime->core.messages;
    if (slot->batch == 0) {
        /* Going idle first leaves nothing anchored: what is taken is ours to free. */
        while (!weft__mailbox_idle(&slot->mailbox, slot->gen, slot->anchor)) {
            uint32_t newest = weft__mailbox_newest(&slot->mailbox, slot->anchor);
            if (newest == 0) {
                return NULL; /* idle already: the last push has been taken */
            }
            if (!weft__mailbox_detach(&slot->mailbox, slot->gen, newest)) {
                continue; /* pushed meanwhile: at most once per concurrent sender */
            }
            slot->batch = weft__mailbox_reverse(arena, newest, 0).first;
            break;
        }
    }
    if (slot->batch == 0) {
        return NULL;
    }
    weft_msg *msg = weft__arena_msg(arena, slot->batch);
    slot->batch = msg->weft__next;
    return msg;
}

void weft__port_drain(weft_runtime *runtime, struct weft__port *port) {
    weft_msg *msg;
    while ((msg = weft__port_take(runtime, port)) != NULL) { /* bounded by late answers */
        WEFT__COUNT(runtime, NULL, replies_late, 1);
        weft__msg_free(runtime, NULL, msg);
    }
}

void weft__ports_drain(weft_runtime *runtime) {
    weft__lock_enter(&runtime->ports_lock, runtime->core.env);
    struct weft__port *port = runtime->free_ports;
    runtime->free_ports = NULL;
    weft__lock_leave(&runtime->ports_lock);
    while (port != NULL) { /* bounded by ports ever in use; all of them ours meanwhile */
        struct weft__port *next = port->next_free;
        weft__port_release(runtime, port);
        port = next;
    }
}

void weft__ports_fini(weft_runtime *runtime) {
    while (runtime->all_ports != NULL) {
        struct weft__port *port = runtime->all_ports;
        runtime->all_ports = port->next_all;
        weft__port_drain(runtime, port);
        runtime->core.env->driver_destroy(runtime->core.env, port->driver);
        weft__free(&runtime->core, port, sizeof(*port), "port");
    }
    runtime->free_ports = NULL;
}

/* ---- sending from outside ------------------------------------------------------------------ */

static int check_target(const weft_runtime *runtime, weft_pid target) {
    if (target.node == runtime->node) {
        return weft__is_port(&runtime->slots, target) ? WEFT_E_NOPROC : 0;
    }
    return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
}

int weft__send_try_outside(weft_runtime *runtime, uint64_t target, weft_msg *msg) {
    uint32_t traits = 0;
    int result = weft__post_outside(runtime, target, msg, true);
    if (result == 0) {
        WEFT__COUNT(runtime, NULL, messages_sent, 1);
        return 0;
    }
    if (result == WEFT_E_NOPROC) {
        return result;
    }
    if (result == -EBUSY) {
        uint32_t index = (uint32_t)(target >> 32);
        traits = weft_load32_relaxed(&weft__slot_at(&runtime->slots, index)->traits);
    }
    if ((traits & WEFT__TRAIT_PORT) != 0) {
        return WEFT_E_NOPROC; /* a forged pid: no actor */
    }
    bool request = weft__is_request(msg);
    weft__msg_free(runtime, NULL, msg);
    if ((traits & WEFT__TRAIT_DROP_NEW) != 0 && !request) {
        WEFT__COUNT(runtime, NULL, messages_sent, 1);
        WEFT__COUNT(runtime, NULL, messages_dropped, 1);
        return 0;
    }
    WEFT__COUNT(runtime, NULL, messages_rejected, 1);
    return result;
}

/* Posts a message [take] and counts. */
static int post_counted(weft_runtime *runtime, weft_pid target, weft_msg *msg) {
    int result = weft__send_try_outside(runtime, weft__target(target), msg);
    if (result == WEFT_E_NOPROC) {
        weft__msg_free(runtime, NULL, msg);
        WEFT__COUNT(runtime, NULL, messages_rejected, 1);
    }
    return result;
}

static int send_draft(weft_runtime *runtime, weft_pid target, const struct weft__draft *draft) {
    int result = check_target(runtime, target);
    weft_msg *msg = NULL;
    if (result == 0) {
        result = weft__msg_make(runtime, NULL, draft, &msg);
    }
    if (result != 0) {
        WEFT__COUNT(runtime, NULL, messages_rejected, 1);
        return result;
    }
    msg->weft__stamp = (uint32_t)(weft__now(&runtime->core) >> 6) | 1;
    return post_counted(runtime, target, msg);
}

int weft_runtime_send(weft_runtime *runtime, weft_pid target, uint32_t tag, const void *data,
                      size_t size) {
    if (runtime == NULL || (data == NULL && size != 0)) {
        return -EINVAL;
    }
    struct weft__draft draft = {.data = data, .size = size, .tag = tag, .kind = WEFT_MSG_USER};
    return send_draft(runtime, target, &draft);
}

int weft_runtime_send_buf(weft_runtime *runtime, weft_pid target, uint32_t tag, weft_buf *buf,
                          size_t offset, size_t size) {
    if (runtime == NULL || buf == NULL || offset > buf->size || size > buf->size - offset) {
        return -EINVAL;
    }
    struct weft__draft draft = {.data = (char *)buf->data + offset,
                                .size = size,
                                .buf = buf,
                                .tag = tag,
                                .kind = WEFT_MSG_USER};
    return send_draft(runtime, target, &draft);
}

static int send_signal(weft_runtime *runtime, weft_pid target, uint8_t kind, int reason) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    int result = check_target(runtime, target);
    struct weft__draft draft = {.kind = kind, .wide = true};
    weft_msg *msg;
    if (result == 0) {
        result = weft__msg_make(runtime, NULL, &draft, &msg);
    }
    if (result != 0) {
        return result;
    }
    msg->weft__u.weft__r.weft__value = reason;
    result = weft__post_outside(runtime, weft__target(target), msg, false);
    if (result != 0) {
        weft__msg_free(runtime, NULL, msg);
    }
    return result;
}

int weft_runtime_stop_actor(weft_runtime *runtime, weft_pid target, int reason) {
    if (reason > 0) {
        return -EINVAL;
    }
    return send_signal(runtime, target, WEFT__SIGNAL_STOP, reason);
}

int weft_runtime_kill_actor(weft_runtime *runtime, weft_pid target) {
    return send_signal(runtime, target, WEFT__SIGNAL_KILL, WEFT_E_KILLED);
}

int weft__port_request(weft_runtime *runtime, struct weft__port *port,
                       const struct weft__request *request) {
    int result = request->deliver != NULL ? 0 : check_target(runtime, request->target);
    struct weft__draft draft = {.data = request->data,
                                .size = request->size,
                                .buf = request->buf,
                                .tag = request->tag,
                                .kind = WEFT_MSG_REQUEST,
                                .wide = true};
    weft_msg *msg = NULL;
    if (result == 0) {
        result = weft__msg_make(runtime, NULL, &draft, &msg);
    }
    if (result != 0) {
        WEFT__COUNT(runtime, NULL, messages_rejected, 1);
        return result;
    }
    msg->weft__from = weft__from(port->slot);
    msg->weft__u.weft__r.weft__ref = request->reference;
    msg->weft__u.weft__r.weft__value = (int64_t)request->deadline_ns;
    return request->deliver != NULL ? request->deliver(runtime, request->cookie, msg)
                                    : post_counted(runtime, request->target, msg);
}

/* The answer with this reference, or NULL at the deadline. */
static weft_msg *wait_answer(weft_runtime *runtime, struct weft__port *port,
                             const struct weft__request *request) {
    weft_env *env = runtime->core.env;
    for (;;) { /* bounded by the deadline, and by late answers of earlier calls */
        weft_msg *msg = weft__port_take(runtime, port);
        if (msg == NULL) {
            if (env->now_mono_ns(env) >= request->deadline_ns) {
                return NULL;
            }
            env->driver_park(env, port->driver, request->deadline_ns);
            continue;
        }
        if (msg->weft__kind == WEFT_MSG_REPLY &&
            msg->weft__u.weft__r.weft__ref == request->reference) {
            return msg;
        }
        WEFT__COUNT(runtime, NULL, replies_late, 1);
        weft__msg_free(runtime, NULL, msg);
    }
}

int weft__runtime_call(weft_runtime *runtime, struct weft__request *request, uint64_t timeout_ns,
                       weft_msg **ret_reply) {
    *ret_reply = NULL;
    if (weft__scheduler_current() != NULL) {
        return -EDEADLK;
    }
    if (weft__phase(runtime) != WEFT__RUNTIME_RUNNING) {
        return WEFT_E_SHUTDOWN;
    }
    struct weft__port *port;
    int result = weft__port_acquire(runtime, false, &port);
    if (result != 0) {
        return result;
    }
    uint64_t wait_ns = timeout_ns == 0 ? runtime->config.call_timeout_ns : timeout_ns;
    request->deadline_ns = weft_add_saturated(weft__now(&runtime->core), wait_ns);
    request->reference = (uint64_t)++port->seq << 32 | REFERENCE_OUTSIDE;
    result = weft__port_request(runtime, port, request);
    if (result == 0) {
        weft_msg *reply = wait_answer(runtime, port, request);
        result = reply == NULL ? -ETIMEDOUT : weft_msg_status(reply);
        if (reply != NULL) {
            WEFT__COUNT(runtime, NULL, messages_handled, 1);
        }
        if (result == 0) {
            *ret_reply = reply;
        } else if (reply != NULL) {
            weft__msg_free(runtime, NULL, reply);
        }
    }
    weft__port_release(runtime, port);
    return result;
}

int weft_runtime_call(weft_runtime *runtime, weft_pid target, uint32_t tag, const void *data,
                      size_t size, uint64_t timeout_ns, weft_msg **ret_reply) {
    if (runtime == NULL || ret_reply == NULL || (data == NULL && size != 0)) {
        return -EINVAL;
    }
    struct weft__request request = {.target = target, .data = data, .size = size, .tag = tag};
    return weft__runtime_call(runtime, &request, timeout_ns, ret_reply);
}

void weft_runtime_msg_release(weft_runtime *runtime, weft_msg **msg) {
    if (msg != NULL && *msg != NULL) {
        weft__msg_free(runtime, NULL, *msg);
        *msg = NULL;
    }
}
