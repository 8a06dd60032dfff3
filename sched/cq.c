/* SPDX-License-Identifier: MIT
 *
 * Completion queues: calls from a program with its own event loop, answered on a descriptor. A
 * port with an eventfd and a table of pending calls. One thread at a time uses a queue.
 */
#include "sched/port.h"
#include "sched/scope.h"
#include <string.h>

enum { MAGIC = 0x77637121, ROOM_FIRST = 4 };

struct weft_cq {
    uint32_t magic;
    uint32_t calls_max;
    weft_runtime *runtime;
    struct weft__port *port;
    struct weft__calls calls;
};

int weft_cq_create(weft_runtime *runtime, uint32_t calls_max, weft_cq **ret_queue) {
    if (runtime == NULL || ret_queue == NULL || calls_max == 0) {
        return -EINVAL;
    }
    weft_cq *queue = weft__alloc(&runtime->core, sizeof(*queue), "queue");
    if (queue == NULL) {
        return -ENOMEM;
    }
    queue->magic = MAGIC;
    queue->runtime = runtime;
    queue->calls_max = calls_max;
    int result = weft__port_acquire(runtime, true, &queue->port);
    if (result != 0) {
        weft__free(&runtime->core, queue, sizeof(*queue), "queue");
        return result;
    }
    /* Sequences go on where the port's last queue ended: answers to its calls are late here. */
    queue->calls.seq_first = queue->port->seq;
    (void)weft_add32_acq_rel(&runtime->queues, 1);
    *ret_queue = queue;
    return 0;
}

/* Nobody waits any more for what is in flight. */
static void cancel_all(weft_cq *queue) {
    const struct weft__calls *calls = &queue->calls;
    uint64_t now_ns = weft__now(&queue->runtime->core);
    if (weft__phase(queue->runtime) != WEFT__RUNTIME_RUNNING) {
        return; /* everybody is being stopped */
    }
    for (uint32_t index = 0; index < calls->used; index++) {
        const struct weft__call *call = &calls->records[index];
        if (weft__calls_is_pending(calls, index) && call->target != 0 &&
            call->deadline_ns > now_ns) {
            weft__scope_cancel_outside(queue->runtime, call->target, weft__from(queue->port->slot),
                                       weft__calls_reference(calls, index));
        }
    }
}

void weft_cq_destroy(weft_cq **queue_at) {
    if (queue_at == NULL || *queue_at == NULL) {
        return;
    }
    weft_cq *queue = *queue_at;
    weft_assert(queue->magic == MAGIC);
    queue->magic = 0;
    cancel_all(queue);
    queue->port->seq = weft__calls_seq_next(&queue->calls);
    weft__port_release(queue->runtime, queue->port);
    (void)weft_add32_acq_rel(&queue->runtime->queues, UINT32_MAX);
    weft__calls_fini(&queue->calls, &queue->runtime->core);
    weft__free(&queue->runtime->core, queue, sizeof(*queue), "queue");
    *queue_at = NULL;
}

int weft_cq_fd(const weft_cq *queue) {
    weft_env *env = queue->runtime->core.env;
    return env->driver_fd(env, queue->port->driver);
}

weft_runtime *weft__cq_runtime(const weft_cq *queue) {
    return queue->runtime;
}

int weft__cq_call(weft_cq *queue, struct weft__request *request, uint64_t timeout_ns,
                  uint64_t token) {
    weft_assert(queue->magic == MAGIC);
    weft_runtime *runtime = queue->runtime;
    if (weft__phase(runtime) != WEFT__RUNTIME_RUNNING) {
        return WEFT_E_SHUTDOWN;
    }
    int result = weft__calls_reserve(&queue->calls, &runtime->core, queue->calls_max);
    if (result != 0) {
        return result == WEFT_E_LIMIT ? -EAGAIN : result;
    }
    uint64_t wait_ns = timeout_ns == 0 ? runtime->config.call_timeout_ns : timeout_ns;
    request->deadline_ns = weft_add_saturated(weft__now(&runtime->core), wait_ns);
    request->reference = weft__calls_add(&queue->calls, token, request->deadline_ns, 0);
    result = weft__port_request(runtime, queue->port, request);
    if (result != 0) {
        (void)weft__calls_take(&queue->calls, request->reference, &token);
        return result;
    }
    uint64_t target = request->deliver != NULL ? request->sent_to : weft__target(request->target);
    weft__calls_at(&queue->calls, request->reference)->target = target;
    return 0;
}

int weft_cq_call(weft_cq *queue, weft_pid target, uint32_t tag, const void *data, size_t size,
                 uint64_t timeout_ns, uint64_t token) {
    if (queue == NULL || (data == NULL && size != 0)) {
        return -EINVAL;
    }
    struct weft__request request = {.target = target, .data = data, .size = size, .tag = tag};
    return weft__cq_call(queue, &request, timeout_ns, token);
}

/* A message that answers a pending call: 1. */
static int complete(weft_cq *queue, weft_msg *msg, weft_completion *ret_completion) {
    weft_runtime *runtime = queue->runtime;
    weft_completion done = {.status = weft_msg_status(msg)};
    if (msg->weft__kind != WEFT_MSG_REPLY ||
        !weft__calls_take(&queue->calls, msg->weft__u.weft__r.weft__ref, &done.token)) {
        WEFT__COUNT(runtime, NULL, replies_late, 1);
        weft__msg_free(runtime, NULL, msg);
        return 0;
    }
    WEFT__COUNT(runtime, NULL, messages_handled, 1);
    if (done.status == 0) {
        done.reply = msg;
    } else {
        weft__msg_free(runtime, NULL, msg);
    }
    *ret_completion = done;
    return 1;
}

int weft_cq_next(weft_cq *queue, weft_completion *ret_completion) {
    if (queue == NULL || ret_completion == NULL) {
        return -EINVAL;
    }
    weft_assert(queue->magic == MAGIC);
    weft_runtime *runtime = queue->runtime;
    weft_env *env = runtime->core.env;
    bool emptied = false;
    for (;;) { /* bounded by late answers */
        weft_msg *msg = weft__port_take(runtime, queue->port);
        if (msg != NULL) {
            if (complete(queue, msg, ret_completion) == 1) {
                if (emptied) {
                    /* Others may follow it, and they would find the mailbox busy and not wake us:
                     * the descriptor stays readable until we find nothing. */
                    env->driver_wake(env, queue->port->driver);
                }
                return 1;
            }
            continue;
        }
        weft_completion late = {.status = -ETIMEDOUT};
        uint64_t reference; /* the token says it all */
        if (weft__calls_deadline(&queue->calls) != UINT64_MAX &&
            weft__calls_expire(&queue->calls, env->now_mono_ns(env), &late.token, &reference)) {
            *ret_completion = late;
            return 1;
        }
        if (emptied) {
            return 0;
        }
        /* Empty the descriptor, then look once more: an answer may have come in between. */
        env->driver_park(env, queue->port->driver, 0);
        emptied = true;
    }
}

uint64_t weft_cq_deadline(const weft_cq *queue) {
    return weft__calls_deadline(&queue->calls);
}
