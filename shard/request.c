/* SPDX-License-Identifier: MIT
 *
 * Messages to addresses: from actors, and from threads that are no schedulers. A message is made
 * first and then delivered by the sender's own push; nobody stands in between.
 */
#include "sched/chain.h"
#include "sched/port.h"
#include "sched/process.h"
#include "shard/shard.h"

/* A request that was checked. */
struct route {
    struct weft__wish wish;
    struct weft__vkey key;
    struct weft_ctx *ctx; /* the sender, or NULL */
    weft_pid *ret_pid;
    uint64_t *ret_target; /* slot and generation of who has the message now; or NULL */
};

static int check(weft_runtime *runtime, const weft_vrequest *request) {
    if (weft_unlikely(request == NULL || request->struct_size != sizeof(*request) ||
                      request->capability == NULL || request->type == NULL ||
                      request->type->runtime != runtime || request->type->def.process != NULL ||
                      request->capability->shards->runtime != runtime ||
                      (request->payload == NULL && request->payload_size != 0) ||
                      (request->init_arg == NULL && request->init_arg_size != 0) ||
                      request->init_arg_size > WEFT_ID_MAX ||
                      (request->flags & ~(uint32_t)WEFT_ONLY_IF_ACTIVE) != 0)) {
        return -EINVAL;
    }
    weft_assert(request->capability->magic == WEFT__CAPABILITY_MAGIC);
    const weft_buf *buf = request->payload_buf;
    if (weft_unlikely(buf != NULL)) {
        const char *data = request->payload, *base = buf->data;
        if (data < base || data > base + buf->size ||
            request->payload_size > (size_t)(base + buf->size - data)) {
            return -EINVAL;
        }
    }
    if (weft_unlikely(weft_load32_acquire(&request->capability->offered) == 0)) {
        return WEFT_E_NOCAPABILITY;
    }
    return 0;
}

static int route_init(weft_runtime *runtime, struct weft__scheduler *s,
                      const weft_vrequest *request, struct route *ret_route) {
    int result = check(runtime, request);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    struct weft__shards *shards = request->capability->shards;
    WEFT__POINT(shards->core, WEFT__POINT_ROUTE);
    ret_route->wish = (struct weft__wish){
        .shards = shards,
        .s = s,
        .type = request->type,
        .arg = request->init_arg_size == 0 ? NULL : request->init_arg,
        .arg_size = (uint32_t)request->init_arg_size,
        .only_if_active = (request->flags & WEFT_ONLY_IF_ACTIVE) != 0,
    };
    uint32_t name = request->capability->index << 16 | request->type->id;
    return weft__vkey_init(shards, name, request->id, request->id_size, &ret_route->key);
}

static int push(const struct route *route, uint64_t target, weft_msg *msg) {
    if (weft_likely(route->ctx != NULL)) {
        return weft__send_try(route->wish.s, route->ctx, target, msg);
    }
    return weft__send_try_outside(route->wish.shards->runtime, target, msg);
}

static WEFT_NOINLINE int activate(const struct route *route, uint64_t *ret_target) {
    if (weft_likely(route->wish.s != NULL)) {
        return weft__activate(&route->wish, &route->key, ret_target);
    }
    weft_runtime *runtime = route->wish.shards->runtime;
    weft__outside_enter(runtime);
    int result = weft__activate(&route->wish, &route->key, ret_target);
    weft__outside_leave(runtime);
    return result;
}

static bool calls_itself(const struct route *route, uint64_t target, const weft_msg *msg) {
    const struct weft_ctx *ctx = route->ctx;
    return ctx != NULL && target == weft__from(ctx) && weft__is_request(msg) &&
           weft__chain_bars_self(ctx);
}

/* Finds the actor, or makes it, and pushes [take]. Each round but the first means that an
 * activation has ended under our hands. */
static int deliver(struct route *route, weft_msg *msg) {
    weft_runtime *runtime = route->wish.shards->runtime;
    uint64_t target = weft__table_find(route->wish.shards, &route->key);
    int result = target == 0 ? WEFT_E_NOPROC : 0;
    for (uint32_t round = 0; round < WEFT__DELIVER_MAX; round++) {
        if (weft_unlikely(result == WEFT_E_NOPROC)) {
            result = activate(route, &target);
            if (weft_unlikely(result != 0)) {
                break;
            }
        }
        if (weft_unlikely(calls_itself(route, target, msg))) {
            result = -EDEADLK;
            break;
        }
        result = push(route, target, msg);
        if (route->ctx != NULL) { /* a process that waited for room may be elsewhere now */
            route->wish.s = route->ctx->runner;
        }
        if (weft_likely(result != WEFT_E_NOPROC)) {
            if (route->ret_target != NULL && result == 0) {
                *route->ret_target = target;
            }
            if (route->ret_pid != NULL && result == 0) {
                *route->ret_pid = (weft_pid){.node = runtime->node,
                                             .slot = (uint32_t)(target >> 32),
                                             .gen = (uint32_t)target};
            }
            return result;
        }
    }
    WEFT__COUNT(runtime, route->wish.s, messages_rejected, 1);
    weft__msg_free(runtime, route->wish.s, msg);
    return result == WEFT_E_NOPROC ? -EBUSY : result;
}

static struct weft__draft draft_of(const weft_vrequest *request, uint8_t kind) {
    return (struct weft__draft){.data = request->payload == NULL ? "" : request->payload,
                                .size = request->payload_size,
                                .buf = request->payload_buf,
                                .tag = request->tag,
                                .kind = kind,
                                .wide = kind == WEFT_MSG_REQUEST};
}

/* weft_vcall, and the reference of the call. */
WEFT_INLINE int vcall(weft_ctx *ctx, const weft_vrequest *request, uint64_t token,
                      weft_pid *ret_pid, uint64_t *ret_reference) {
    struct route route;
    int result = route_init(ctx->runner->runtime, ctx->runner, request, &route);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    uint64_t target = 0;
    route.ctx = ctx;
    route.ret_pid = ret_pid;
    route.ret_target = &target;
    struct weft__draft draft = draft_of(request, WEFT_MSG_REQUEST);
    struct weft__asked asked = {.target = 0}; /* who that is turns out when it is sent */
    result = weft__call_prepare(ctx, &draft, request->timeout_ns, token, &asked);
    if (weft_likely(result == 0)) {
        result = deliver(&route, asked.msg);
        *ret_reference = asked.reference;
        if (weft_unlikely(result != 0)) {
            weft__call_undo(ctx, asked.reference);
        } else {
            weft__call_sent(ctx, asked.reference, target);
        }
    }
    return result;
}

int weft_vcall(weft_ctx *ctx, const weft_vrequest *request, uint64_t token, weft_pid *ret_pid) {
    uint64_t reference;
    return vcall(ctx, request, token, ret_pid, &reference);
}

int weft_vcall_wait(weft_ctx *ctx, const weft_vrequest *request, weft_msg **ret_reply,
                    weft_pid *ret_pid) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL) {
        return -EPERM;
    }
    ctx->life |= WEFT__LIFE_CHAINS;
    int result = vcall(ctx, request, 0, ret_pid, &process->call_ref);
    ctx->life &= ~(uint32_t)WEFT__LIFE_CHAINS;
    return result != 0 ? result : weft__process_await(process, ret_reply);
}

int weft_vcast(weft_ctx *ctx, const weft_vrequest *request, weft_pid *ret_pid) {
    struct weft__scheduler *s = ctx->runner;
    struct route route;
    int result = route_init(s->runtime, s, request, &route);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    route.ctx = ctx;
    route.ret_pid = ret_pid;
    route.ret_target = NULL;
    struct weft__draft draft = draft_of(request, WEFT_MSG_USER);
    weft_msg *msg = weft__msg_small(s, ctx, &draft);
    if (weft_unlikely(msg == NULL)) {
        result = weft__msg_make(s->runtime, s, &draft, &msg);
    }
    return weft_unlikely(result != 0) ? result : deliver(&route, msg);
}

/* ---- threads outside ----------------------------------------------------------------------- */

/* For struct weft__request. */
static int deliver_outside(weft_runtime *runtime, void *cookie, weft_msg *msg) {
    (void)runtime;
    return deliver(cookie, msg);
}

static int outside_init(weft_runtime *runtime, const weft_vrequest *request, weft_pid *ret_pid,
                        struct route *route) {
    int result = route_init(runtime, NULL, request, route);
    route->ctx = NULL;
    route->ret_pid = ret_pid;
    route->ret_target = NULL;
    return result;
}

static struct weft__request outside_of(const weft_vrequest *request, struct route *route) {
    return (struct weft__request){
        .deliver = deliver_outside,
        .cookie = route,
        .data = request->payload == NULL ? "" : request->payload,
        .size = request->payload_size,
        .buf = request->payload_buf,
        .tag = request->tag,
    };
}

int weft_runtime_vcall(weft_runtime *runtime, const weft_vrequest *request, weft_msg **ret_reply,
                       weft_pid *ret_pid) {
    struct route route;
    if (runtime == NULL || ret_reply == NULL) {
        return -EINVAL;
    }
    *ret_reply = NULL;
    int result = outside_init(runtime, request, ret_pid, &route);
    if (result != 0) {
        return result;
    }
    struct weft__request call = outside_of(request, &route);
    return weft__runtime_call(runtime, &call, request->timeout_ns, ret_reply);
}

int weft_runtime_vcast(weft_runtime *runtime, const weft_vrequest *request, weft_pid *ret_pid) {
    struct route route;
    int result = runtime == NULL ? -EINVAL : outside_init(runtime, request, ret_pid, &route);
    if (result != 0) {
        return result;
    }
    struct weft__draft draft = draft_of(request, WEFT_MSG_USER);
    weft_msg *msg;
    result = weft__msg_make(runtime, NULL, &draft, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__from = 0;
    return deliver(&route, msg);
}

int weft_cq_vcall(weft_cq *queue, const weft_vrequest *request, uint64_t token, weft_pid *ret_pid) {
    struct route route;
    int result =
        queue == NULL ? -EINVAL : outside_init(weft__cq_runtime(queue), request, ret_pid, &route);
    if (result != 0) {
        return result;
    }
    struct weft__request call = outside_of(request, &route);
    route.ret_target = &call.sent_to;
    return weft__cq_call(queue, &call, request->timeout_ns, token);
}
