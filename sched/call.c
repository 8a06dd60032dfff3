/* SPDX-License-Identifier: MIT
 *
 * Calls an actor makes: the pending table, its one wheel entry, and the request message. The
 * answer arrives in run.c.
 */
#include "sched/chain.h"
#include "sched/job.h"
#include "sched/scope.h"
#include "sched/tracing.h"

struct weft__ext *weft__ext_of(struct weft_ctx *ctx) {
    if (weft_likely(ctx->ext != NULL)) {
        return ctx->ext;
    }
    ctx->ext = weft__ext_make(ctx->runner->core);
    weft__memory_show(ctx->runner->runtime, ctx);
    return ctx->ext;
}

struct weft__ext *weft__ext_make(struct weft__core *core) {
    struct weft__ext *ext = weft__alloc_aligned(core, sizeof(*ext), "ext");
    if (weft_likely(ext != NULL)) {
        weft__calls_lend(&ext->calls, ext->first_records, ext->first_heap, WEFT__CALLS_FIRST);
    }
    return ext;
}

void weft__ext_free(struct weft__core *core, struct weft__ext *ext) {
    weft__free_aligned(core, ext, sizeof(*ext), "ext");
}

/* Room for one call more, as weft__calls_reserve. */
static int reserve(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__calls *calls = &ctx->ext->calls;
    uint32_t capacity = calls->capacity;
    int result = weft__calls_reserve(calls, s->core, s->runtime->config.calls_max);
    if (weft_unlikely(capacity != calls->capacity)) {
        weft__memory_show(s->runtime, ctx);
    }
    return result;
}

struct weft__wheel *weft__wheel_home(struct weft__scheduler *s, const struct weft__armed *armed) {
    uint64_t offset = (uint64_t)armed->entry * sizeof(struct weft__entry);
    uint32_t home = s->runtime->entry_homes[offset / WEFT__WHEEL_PIECE_BYTES];
    return &s->runtime->schedulers[home]->wheel;
}

int weft__calls_arm(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    uint64_t due_ns = weft__calls_deadline(&ext->calls);
    if (due_ns == UINT64_MAX || (ext->call_alarm.entry != 0 && ext->call_alarm_ns <= due_ns)) {
        return 0; /* an earlier alarm will look again */
    }
    struct weft__alarm alarm = {
        .due_ns = due_ns, .slot = ctx->index, .slot_gen = ctx->gen, .timer = WEFT__WHEEL_CALLS};
    struct weft__armed armed;
    weft__bias_enter(&s->bias, &s->barrier);
    int result = weft__wheel_arm(&s->wheel, &alarm, &armed);
    weft__bias_leave(&s->bias);
    if (result != 0) {
        return result;
    }
    if (ext->call_alarm.entry != 0) {
        /* If it has fired, its signal will match nothing. */
        (void)weft__wheel_cancel(weft__wheel_home(s, &ext->call_alarm), &ext->call_alarm);
    }
    ext->call_alarm = armed;
    ext->call_alarm_ns = due_ns;
    return 0;
}

void weft__calls_disarm(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    if (ext->calls.count == 0 && ext->call_alarm.entry != 0 &&
        weft__wheel_cancel(weft__wheel_home(s, &ext->call_alarm), &ext->call_alarm)) {
        ext->call_alarm.entry = 0;
    }
}

/* The usual caller: a handler that works for nobody and blocks nobody. */
WEFT_INLINE bool is_plain(const struct weft__scheduler *s, const struct weft_ctx *ctx) {
    const uint32_t rare =
        WEFT__LIFE_SCOPED | WEFT__LIFE_PROCESS | WEFT__LIFE_TAKEN | WEFT__LIFE_CHAINS;
    const weft_msg *msg = s->msg;
    return ((ctx->life & rare) | (ctx->type->traits & WEFT__TRAIT_SERIAL)) == 0 &&
           (msg == NULL || !weft__is_request(msg));
}

/* asked->target: whom the request will be sent to, 0: that is not known yet. */
WEFT_INLINE int prepare(struct weft_ctx *ctx, const struct weft__draft *draft, uint64_t timeout_ns,
                        uint64_t token, struct weft__asked *asked) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__ext *ext = weft__ext_of(ctx);
    if (weft_unlikely(ext == NULL)) {
        return -ENOMEM;
    }
    uint64_t wait_ns = timeout_ns == 0 ? s->runtime->config.call_timeout_ns : timeout_ns;
    uint64_t deadline_ns = weft__due_ns(s, wait_ns);
    int result = 0;
    bool plain = is_plain(s, ctx);
    weft_msg *scope = weft_likely(plain) ? NULL : weft__scope(s, ctx);
    if (weft_unlikely(scope != NULL)) {
        deadline_ns = weft_min_u64(deadline_ns, (uint64_t)scope->weft__u.weft__r.weft__value);
        result = weft__scope_check(s, scope);
        if (result != 0) {
            return result;
        }
    }
    if (weft_unlikely(ext->calls.count != 0 || ext->calls.capacity == 0)) {
        result = reserve(s, ctx);
        if (result != 0) {
            return result;
        }
    }
    bool chained = weft_unlikely(!plain) && weft__chain_due(s, ctx);
    weft_msg *msg = weft_likely(!chained) ? weft__msg_small(s, ctx, draft) : NULL;
    if (weft_unlikely(msg == NULL)) {
        result = chained ? weft__chain_request(s, ctx, draft, asked->target, &msg)
                         : weft__msg_make(s->runtime, s, draft, &msg);
        if (result != 0) {
            return result;
        }
    }
    uint64_t reference = weft__calls_add(&ext->calls, token, deadline_ns, asked->target);
    if (weft_unlikely(scope != NULL)) {
        weft__scope_bind(s, ctx, scope, reference);
    }
    msg->weft__u.weft__r.weft__ref = reference;
    msg->weft__u.weft__r.weft__value = (int64_t)deadline_ns;
    if (weft_unlikely(chained)) {
        weft__chain_enter(s, ctx, msg);
    }
    if (weft_unlikely(ext->call_alarm.entry == 0 || ext->call_alarm_ns > deadline_ns)) {
        result = weft__calls_arm(s, ctx);
    }
    if (weft_unlikely(result != 0)) {
        weft__msg_free(s->runtime, s, msg);
        weft__call_undo(ctx, reference);
        return result;
    }
    asked->msg = msg;
    asked->reference = reference;
    return 0;
}

int weft__call_prepare(struct weft_ctx *ctx, const struct weft__draft *draft, uint64_t timeout_ns,
                       uint64_t token, struct weft__asked *asked) {
    return prepare(ctx, draft, timeout_ns, token, asked);
}

void weft__call_undo(struct weft_ctx *ctx, uint64_t reference) {
    struct weft__calls *calls = &ctx->ext->calls;
    struct weft__call *call = weft__calls_at(calls, reference);
    uint64_t token;
    if (call->scope != 0 && call->seq == reference >> 32) {
        (void)weft__scope_unbind(ctx->runner, ctx, call); /* of no use any more */
    }
    (void)weft__calls_take(calls, reference, &token); /* or it was taken meanwhile */
}

int weft__call_enter(struct weft_ctx *ctx, uint64_t deadline_ns, uint64_t token,
                     uint64_t *ret_reference) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    int result = reserve(s, ctx);
    if (result != 0) {
        return result;
    }
    uint64_t reference = weft__calls_add(&ext->calls, token, deadline_ns, 0);
    result = weft__calls_arm(s, ctx);
    if (result != 0) {
        weft__call_undo(ctx, reference);
        return result;
    }
    *ret_reference = reference;
    return 0;
}

int weft__call_start(struct weft_ctx *ctx, weft_pid target, const struct weft__draft *draft,
                     uint64_t timeout_ns, uint64_t *ret_reference) {
    struct weft__scheduler *s = ctx->runner;
    if (target.node != s->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    struct weft__asked asked = {.target = weft__target(target)};
    int result = prepare(ctx, draft, timeout_ns, 0, &asked);
    if (result == 0) {
        result = weft__send_request(s, ctx, target, asked.msg);
        if (result != 0) {
            weft__call_undo(ctx, asked.reference);
            return result;
        }
        *ret_reference = asked.reference;
    }
    return result;
}

int weft_call(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data, size_t size,
              uint64_t timeout_ns, uint64_t token) {
    struct weft__scheduler *s = ctx->runner;
    if (data == NULL && size != 0) {
        return -EINVAL;
    }
    if (weft_unlikely(target.node != s->node)) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    if (weft_unlikely(weft__target(target) == weft__from(ctx)) && weft__chain_bars_self(ctx)) {
        return -EDEADLK;
    }
    struct weft__draft draft = {
        .data = data, .size = size, .tag = tag, .kind = WEFT_MSG_REQUEST, .wide = true};
    struct weft__asked asked = {.target = weft__target(target)};
    int result = prepare(ctx, &draft, timeout_ns, token, &asked);
    if (weft_likely(result == 0)) {
        result = weft__send_request(s, ctx, target, asked.msg);
        if (weft_unlikely(result != 0)) {
            weft__call_undo(ctx, asked.reference);
        }
    }
    return result;
}

int weft_call_cancel(weft_ctx *ctx, uint64_t token) {
    if (ctx->ext == NULL) {
        return 0;
    }
    if (weft_unlikely(ctx->ext->jobs_started.count != 0)) {
        weft__jobs_cancel(ctx->runner, ctx, token);
    }
    int cancelled = (int)weft__scope_give_up(ctx->runner, ctx, token);
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0) {
        cancelled += (int)weft__process_purge_replies(ctx->runner, ctx, token);
    }
    if (weft_unlikely((ctx->life & WEFT__LIFE_BLOCKED) != 0) && cancelled != 0) {
        weft__chain_give_up(ctx->runner, ctx);
    }
    return cancelled;
}

/* The REPLY to a call that is due, made from a cell that is wide. */
static void fill_due(weft_msg *msg, uint64_t token, int status) {
    msg->weft__kind = WEFT_MSG_REPLY;
    msg->weft__tag = 0;
    msg->weft__size = 0;
    msg->weft__from = 0;
    msg->weft__u.weft__r.weft__ref = token;
    msg->weft__u.weft__r.weft__value = status;
}

/* Takes out one call that is due and delivers its REPLY [take]. False: the cell was not needed.
 * *ret_cancelled is set when it was cancelled. */
static bool one_due(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg,
                    bool *ret_cancelled) {
    struct weft__calls *calls = &ctx->ext->calls;
    uint64_t token;
    uint64_t reference;
    bool due = weft__calls_expire(calls, s->now_ns, &token, &reference);
    weft_assert(due);
    struct weft__call *call = weft__calls_at(calls, reference);
    bool cancelled = call->deadline_ns == 0;
    *ret_cancelled = *ret_cancelled || cancelled;
    weft__scope_returned(ctx); /* of the handler before this one */
    if (call->scope != 0) {
        weft__scope_return(s, ctx, call);
    }
    if (weft_unlikely(ctx->ext->jobs_started.count != 0)) {
        weft__job_kill(s, ctx, reference);
    }
    fill_due(msg, token, cancelled ? -ECANCELED : -ETIMEDOUT);
    if (weft_unlikely((ctx->life & WEFT__LIFE_HOLD) != 0) &&
        s->runtime->virtuals->stored(s, ctx, msg)) {
        return false;
    }
    if (weft_unlikely((ctx->life & WEFT__LIFE_PROCESS) != 0)) {
        ctx->ext->process->arrived = reference;
    }
    weft__trace_given(s, ctx, msg, reference);
    weft__receive(s, ctx, msg);
    return true;
}

void weft__calls_due(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    bool cancelled = false;
    s->now_ns = weft__now(s->core);
    while ((ctx->life & WEFT__LIFE_EXITING) == 0 && /* bounded by the pending calls */
           weft__calls_deadline(&ctx->ext->calls) <= s->now_ns) {
        struct weft__draft draft = {.kind = WEFT_MSG_REPLY, .wide = true};
        if (msg == NULL && weft__msg_make(s->runtime, s, &draft, &msg) != 0) {
            break; /* they stay due; the alarm below tries again */
        }
        if (one_due(s, ctx, msg, &cancelled)) {
            msg = NULL;
        }
    }
    if (msg != NULL) {
        weft__msg_done(s, ctx, msg);
    }
    if (cancelled && (ctx->life & WEFT__LIFE_BLOCKED) != 0) {
        weft__chain_give_up(s, ctx);
    }
    if (weft__calls_arm(s, ctx) != 0) {
        weft_exit(ctx, -ENOMEM); /* calls without an alarm could wait for ever */
    }
}

uint64_t weft_deadline(const weft_msg *request) {
    return weft__is_request(request) ? (uint64_t)request->weft__u.weft__r.weft__value : UINT64_MAX;
}
