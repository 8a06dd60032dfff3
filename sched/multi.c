/* SPDX-License-Identifier: MIT
 *
 * Calls to many at once, and jobs for many items: see weft/service.h and weft/job.h.
 *
 * From an actor: everything that can fail for want of memory is done before the first request is
 * sent, and a request that cannot be sent becomes the REPLY that says so, in its own cell. So each
 * call that was entered has exactly one outcome. A process that waits for them finds each by the
 * place in the record of its call: no token is used up, and nothing is looked for. From outside:
 * through one port, with one sequence number for all and the place in the lower half of the
 * reference.
 *
 * A payload that does not fit into a message cell is copied once, into a buffer that all share.
 */
#include "core/config.h"
#include "sched/chain.h"
#include "sched/job.h"
#include "sched/port.h"
#include "sched/process.h"

enum {
    PENDING = 1,        /* the status of a result that is to come */
    SHARED_BYTES = 201, /* payloads from this size on are shared */
};

/* A request of any version as one of this version, checked. */
static int copy_request(const weft_multi_request *source, weft_multi_request *ret_request) {
    static const weft__struct_rule rule = {
        .known = sizeof(weft_multi_request),
        .first = offsetof(weft_multi_request, timeout_ns) + sizeof(uint64_t), /* stays */
    };
    if (source == NULL) {
        return -EINVAL;
    }
    int result = weft__struct_copy(&rule, source, ret_request);
    if (result < 0) {
        return result;
    }
    if (ret_request->count > INT32_MAX ||
        (ret_request->targets == NULL && ret_request->count != 0) ||
        (ret_request->data == NULL && ret_request->size != 0)) {
        return -EINVAL;
    }
    return 0;
}

/* A buffer for a payload that all share, or NULL when each message has a copy. */
static int share_payload(weft_runtime *runtime, const weft_multi_request *request,
                         weft_buf **ret_buf) {
    *ret_buf = NULL;
    if (request->size > runtime->config.message_bytes_max) {
        return -EMSGSIZE;
    }
    if (request->size < SHARED_BYTES || request->count < 2) {
        return 0;
    }
    int result = weft__buf_create(&runtime->core, request->size, ret_buf);
    if (result == 0) {
        memcpy((*ret_buf)->data, request->data, request->size);
    }
    return result;
}

/* ---- from an actor ------------------------------------------------------------------------- */

/* Takes back calls that were entered. first: their requests, by weft__next. */
static void undo_all(struct weft_ctx *ctx, uint32_t first) {
    struct weft__scheduler *s = ctx->runner;
    while (first != 0) { /* bounded by the request's count */
        weft_msg *msg = weft__arena_msg(s->messages, first);
        uint64_t reference = msg->weft__u.weft__r.weft__ref;
        first = msg->weft__next;
        msg->weft__from = weft__from(ctx); /* as in a request that was sent: its chain looks */
        weft__msg_free(s->runtime, s, msg);
        weft__call_undo(ctx, reference);
    }
}

/* Enters all calls and makes their requests, linked in order by weft__next [out], or nothing. */
static int prepare_all(struct weft_ctx *ctx, const weft_multi_request *request,
                       const struct weft__draft *draft, uint64_t token, uint32_t *ret_first) {
    struct weft__scheduler *s = ctx->runner;
    uint32_t *link = ret_first;
    *ret_first = 0;
    for (uint32_t i = 0; i < request->count; i++) {
        weft_pid target = request->targets[i];
        struct weft__asked asked = {.target = target.node == s->node ? weft__target(target) : 0};
        int result = weft__call_prepare(ctx, draft, request->timeout_ns, token + i, &asked);
        if (result != 0) {
            undo_all(ctx, *ret_first);
            return result;
        }
        *link = weft__arena_index(s->messages, asked.msg);
        link = &asked.msg->weft__next;
        *link = 0;
    }
    return 0;
}

/* Why a target cannot be called at all, as weft_call. */
static int check_target(const struct weft_ctx *ctx, weft_pid target) {
    if (target.node != ctx->runner->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    return weft__target(target) == weft__from(ctx) && weft__chain_bars_self(ctx) ? -EDEADLK : 0;
}

/* The request becomes the REPLY to its own call [take]. */
static void answer_self(struct weft_ctx *ctx, weft_msg *msg, int status) {
    struct weft__scheduler *s = ctx->runner;
    msg->weft__from = weft__from(ctx);
    weft__chain_drop(s->runtime, s, msg);
    weft__msg_drop_payload(msg);
    msg->weft__kind = WEFT_MSG_REPLY;
    msg->weft__tag = 0;
    msg->weft__size = 0;
    msg->weft__stamp = 0;
    msg->weft__from = 0;
    msg->weft__u.weft__r.weft__value = status; /* the reference stays */
    weft_counter_add(&s->counters.messages_sent, 1);
    if (weft__post(s, weft__from(ctx), msg, false) != 0) { /* it ends, and all its calls with it */
        weft_counter_add(&s->counters.replies_late, 1);
        weft__msg_free(s->runtime, s, msg);
    }
}

static void send_all(struct weft_ctx *ctx, const weft_pid *targets, uint32_t first) {
    struct weft__scheduler *s = ctx->runner;
    for (uint32_t i = 0; first != 0; i++) { /* bounded by the request's count */
        weft_msg *msg = weft__arena_msg(s->messages, first);
        first = msg->weft__next;
        int result = check_target(ctx, targets[i]);
        uint64_t reference = msg->weft__u.weft__r.weft__ref;
        if (weft_likely(result == 0)) {
            result = weft__request_try(s, ctx, targets[i], msg);
        }
        if (weft_likely(result == 0)) {
            weft__call_sent(ctx, reference, weft__target(targets[i]));
        } else {
            answer_self(ctx, msg, result);
        }
    }
}

/* Enters all calls; their requests [out], linked as above. */
static int make_all(struct weft_ctx *ctx, const weft_multi_request *request, uint64_t token,
                    uint32_t *ret_first) {
    weft_buf *buf;
    int result = share_payload(ctx->runner->runtime, request, &buf);
    if (result != 0) {
        return result;
    }
    struct weft__draft draft = {.data = buf != NULL ? buf->data : request->data,
                                .size = request->size,
                                .buf = buf,
                                .tag = request->tag,
                                .kind = WEFT_MSG_REQUEST,
                                .wide = true};
    result = prepare_all(ctx, request, &draft, token, ret_first);
    weft_buf_unref(buf);
    return result;
}

int weft_multi_call(weft_ctx *ctx, const weft_multi_request *request, uint64_t token) {
    weft_multi_request copy;
    uint32_t first;
    int result = copy_request(request, &copy);
    if (result == 0) {
        result = make_all(ctx, &copy, token, &first);
    }
    if (result != 0) {
        return result;
    }
    send_all(ctx, copy.targets, first);
    return (int)copy.count;
}

/* ---- from a process ------------------------------------------------------------------------ */

/* The answer to a pending call goes to a place of those the process waits for together. */
static void set_place(struct weft_ctx *ctx, uint64_t reference, weft_multi_result *results,
                      uint32_t place) {
    results[place] = (weft_multi_result){.status = PENDING};
    ctx->ext->calls.records[(uint32_t)reference].place = place + 1;
}

int weft_multi_call_wait(weft_ctx *ctx, const weft_multi_request *request,
                         weft_multi_result *ret_results) {
    struct weft__process *process = weft__process_inside(ctx);
    weft_multi_request copy;
    uint32_t first;
    int result = process == NULL ? -EPERM : copy_request(request, &copy);
    if (result == 0 && ret_results == NULL && copy.count != 0) {
        result = -EINVAL;
    }
    if (result != 0) {
        return result;
    }
    ctx->life |= WEFT__LIFE_CHAINS;
    result = make_all(ctx, &copy, 0, &first);
    if (result == 0) {
        uint32_t index = first;
        for (uint32_t i = 0; index != 0; i++) { /* bounded by the request's count */
            const weft_msg *msg = weft__arena_msg(ctx->runner->messages, index);
            set_place(ctx, msg->weft__u.weft__r.weft__ref, ret_results, i);
            index = msg->weft__next;
        }
        send_all(ctx, copy.targets, first);
    }
    ctx->life &= ~(uint32_t)WEFT__LIFE_CHAINS;
    struct weft__many many = {.results = ret_results, .pending = copy.count};
    if (result == 0 && copy.count != 0) {
        weft__process_await_many(process, &many);
    }
    return result != 0 ? result : (int)many.answered;
}

/* ---- jobs for many items ------------------------------------------------------------------- */

/* A request of any version as one of this version, checked. */
static int copy_map(const weft_job_map_request *source, weft_job_map_request *ret_request) {
    static const weft__struct_rule rule = {
        .known = sizeof(weft_job_map_request),
        .first = offsetof(weft_job_map_request, timeout_ns) + sizeof(uint64_t), /* stays */
    };
    if (source == NULL) {
        return -EINVAL;
    }
    int result = weft__struct_copy(&rule, source, ret_request);
    if (result < 0) {
        return result;
    }
    bool items = ret_request->items != NULL || ret_request->item_size == 0;
    if (ret_request->fn == NULL || ret_request->count > INT32_MAX ||
        (ret_request->count != 0 && !items)) {
        return -EINVAL;
    }
    return 0;
}

/* Starts the job of one item. */
static int map_start(struct weft_ctx *ctx, const weft_job_map_request *request, uint32_t place,
                     struct weft__many *many) {
    const char *item = request->item_size == 0
                           ? NULL
                           : (const char *)request->items + (size_t)place * request->item_size;
    struct weft__job_draft draft = {.fn = request->fn,
                                    .arg = item,
                                    .arg_size = request->item_size,
                                    .timeout_ns = request->timeout_ns};
    uint64_t reference;
    ctx->life |= WEFT__LIFE_CHAINS;
    int result = weft__job_start(ctx, &draft, &reference);
    ctx->life &= ~(uint32_t)WEFT__LIFE_CHAINS;
    if (result == 0) {
        set_place(ctx, reference, many->results, place);
        many->pending++;
    }
    return result;
}

/* Starts the next item; false: there is no room, and will be when one of those that run is over. */
static bool map_next(struct weft_ctx *ctx, const weft_job_map_request *request, uint32_t place,
                     struct weft__many *many) {
    int result = map_start(ctx, request, place, many);
    if ((result == -ENOMEM || result == WEFT_E_LIMIT) && many->pending != 0) {
        return false;
    }
    if (result != 0) {
        many->results[place] = (weft_multi_result){.status = result};
    }
    return true;
}

int weft_job_map_wait(weft_ctx *ctx, const weft_job_map_request *request,
                      weft_multi_result *ret_results) {
    struct weft__process *process = weft__process_inside(ctx);
    weft_job_map_request copy;
    int result = process == NULL ? -EPERM : copy_map(request, &copy);
    if (result != 0 || (ret_results == NULL && copy.count != 0)) {
        return result != 0 ? result : -EINVAL;
    }
    uint32_t at_a_time = copy.concurrency == 0 ? ctx->runner->runtime->count : copy.concurrency;
    struct weft__many many = {.results = ret_results};
    uint32_t next = 0;
    while (next < copy.count || many.pending != 0) { /* bounded: each turn starts or ends a job */
        if (next < copy.count && many.pending < at_a_time && map_next(ctx, &copy, next, &many)) {
            next++;
            continue;
        }
        /* Each answer makes room for another job; the last ones are awaited all together. */
        many.enough = next < copy.count ? many.pending - 1 : 0;
        weft__process_await_many(process, &many);
    }
    return (int)many.answered;
}

/* ---- from outside -------------------------------------------------------------------------- */

/* Where the answers come. */
struct outside {
    weft_runtime *runtime;
    struct weft__port *port;
    uint64_t deadline_ns;
    weft_multi_result *results;
    uint32_t count;
    uint32_t pending;
    uint32_t answered;
};

static uint64_t reference_of(const struct weft__port *port, uint32_t place) {
    return (uint64_t)port->seq << 32 | (place + 1); /* the lower half is never 0 */
}

static void outside_send(struct outside *outside, const weft_multi_request *request,
                         weft_buf *buf) {
    struct weft__request sent = {.buf = buf,
                                 .data = buf != NULL ? buf->data : request->data,
                                 .size = request->size,
                                 .tag = request->tag,
                                 .deadline_ns = outside->deadline_ns};
    for (uint32_t i = 0; i < request->count; i++) {
        sent.target = request->targets[i];
        sent.reference = reference_of(outside->port, i);
        int result = weft__port_request(outside->runtime, outside->port, &sent);
        outside->results[i] = (weft_multi_result){.status = result == 0 ? PENDING : result};
        outside->pending += result == 0 ? 1 : 0;
    }
}

/* The result a message is for, or NULL: it is late, or made up. */
static weft_multi_result *result_of(const struct outside *outside, const weft_msg *msg) {
    uint64_t reference = msg->weft__u.weft__r.weft__ref;
    uint32_t place = (uint32_t)reference - 1;
    bool known = msg->weft__kind == WEFT_MSG_REPLY &&
                 (uint32_t)(reference >> 32) == outside->port->seq && place < outside->count;
    return known && outside->results[place].status == PENDING ? &outside->results[place] : NULL;
}

static void outside_take(struct outside *outside, weft_msg *msg) {
    weft_runtime *runtime = outside->runtime;
    weft_multi_result *result = result_of(outside, msg);
    if (result == NULL) {
        WEFT__COUNT(runtime, NULL, replies_late, 1);
        weft__msg_free(runtime, NULL, msg);
        return;
    }
    WEFT__COUNT(runtime, NULL, messages_handled, 1);
    outside->pending--;
    result->status = weft_msg_status(msg);
    if (result->status == 0) {
        result->reply = msg;
        outside->answered++;
    } else {
        weft__msg_free(runtime, NULL, msg);
    }
}

/* Until all have answered, or the time is over. */
static void outside_wait(struct outside *outside) {
    weft_env *env = outside->runtime->core.env;
    while (outside->pending != 0) { /* bounded by the deadline, and by late answers */
        weft_msg *msg = weft__port_take(outside->runtime, outside->port);
        if (msg != NULL) {
            outside_take(outside, msg);
        } else if (env->now_mono_ns(env) < outside->deadline_ns) {
            env->driver_park(env, outside->port->driver, outside->deadline_ns);
        } else {
            break;
        }
    }
    for (uint32_t i = 0; outside->pending != 0 && i < outside->count; i++) {
        if (outside->results[i].status == PENDING) {
            outside->results[i].status = -ETIMEDOUT;
            outside->pending--;
        }
    }
}

int weft_runtime_multi_call(weft_runtime *runtime, const weft_multi_request *request,
                            weft_multi_result *ret_results) {
    weft_multi_request copy;
    int result = runtime == NULL ? -EINVAL : copy_request(request, &copy);
    if (result != 0 || (ret_results == NULL && copy.count != 0)) {
        return result != 0 ? result : -EINVAL;
    }
    if (weft__scheduler_current() != NULL) {
        return -EDEADLK;
    }
    if (weft__phase(runtime) != WEFT__RUNTIME_RUNNING) {
        return WEFT_E_SHUTDOWN;
    }
    weft_buf *buf;
    result = share_payload(runtime, &copy, &buf);
    if (result != 0) {
        return result;
    }
    struct outside outside = {.runtime = runtime, .results = ret_results, .count = copy.count};
    result = weft__port_acquire(runtime, false, &outside.port);
    if (result == 0) {
        uint64_t wait_ns = copy.timeout_ns == 0 ? runtime->config.call_timeout_ns : copy.timeout_ns;
        outside.deadline_ns = weft_add_saturated(weft__now(&runtime->core), wait_ns);
        outside.port->seq++;
        outside_send(&outside, &copy, buf);
        outside_wait(&outside);
        weft__port_release(runtime, outside.port);
        result = (int)outside.answered;
    }
    weft_buf_unref(buf);
    return result;
}
