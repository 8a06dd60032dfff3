/* SPDX-License-Identifier: MIT
 *
 * What a process may wait for: the functions of weft/process.h. They run on the process's own
 * stack; each wait is one suspension, see sched/process.h. After it the scheduler may be another.
 */
#include "sched/chain.h"
#include "sched/scope.h"

bool weft_is_process(const weft_ctx *ctx) {
    return weft__process_inside(ctx) != NULL;
}

/* ---- waiting ------------------------------------------------------------------------------- */

/* weft__switch by the type of what is answered, so that a compiler sees a tail call. */
int weft__switch_answer(void **save_sp, void *to_sp, void *value) __asm__("weft__switch");

/* Suspends until the wait is over, and answers what it answers. Always the last thing a function
 * does: then the switch back leads straight to who called it, see weft__process_resume. */
WEFT_INLINE int leave(struct weft__process *process) {
    weft__fibre_leaving(&process->fibre);
    int answer = weft__switch_answer(&process->fibre.sp, process->fibre.return_sp, NULL);
    weft__fibre_arrived(&process->fibre);
    return answer;
}

/* A mark behind everything that is in the mailbox now. */
static int send_mark(struct weft_ctx *ctx, struct weft__process *process) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__draft draft = {.kind = WEFT__MSG_MARK, .wide = true};
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    process->mark = ++process->marks;
    msg->weft__from = weft__from(ctx);
    msg->weft__u.weft__r.weft__ref = process->mark;
    result = weft__post(s, weft__from(ctx), msg, false);
    weft_assert(result == 0); /* its mailbox is open while its code runs */
    return result;
}

/* A time after which the wait is over; on failure there is no wait. */
static WEFT_NOINLINE int start_time(struct weft_ctx *ctx, struct weft__process *process,
                                    uint64_t timeout_ns) {
    struct weft__scheduler *s = ctx->runner;
    int result;
    if (timeout_ns == 0) {
        result = send_mark(ctx, process);
    } else {
        result = weft__call_enter(ctx, weft__due_ns(s, timeout_ns), 0, &process->time_ref);
    }
    if (result != 0) {
        process->wait = WEFT__WAIT_NOTHING;
        weft__chain_awaited(s, process);
    }
    return result;
}

/* The last thing a wait does, but for those without a time. */
WEFT_INLINE int wait_for(struct weft_ctx *ctx, struct weft__process *process, uint64_t timeout_ns) {
    if (timeout_ns != WEFT_FOREVER) {
        int result = start_time(ctx, process, timeout_ns);
        if (result != 0) {
            return result;
        }
    }
    return leave(process);
}

/* The message received last is done with. */
WEFT_INLINE void release_current(struct weft_ctx *ctx, struct weft__process *process) {
    struct weft__scheduler *s = ctx->runner;
    weft_msg *msg = s->msg;
    ctx->life &= ~(uint32_t)WEFT__LIFE_SCOPED; /* it will work for the next one */
    if (weft_likely(msg != NULL && !process->lent)) {
        s->msg = NULL;
        weft__msg_release(s, ctx, msg, WEFT_E_NOREPLY);
    } else if (msg != NULL || process->current != NULL) {
        weft__process_drop(s, process);
    }
}

/* ---- receiving ----------------------------------------------------------------------------- */

/* The first saved message that is waited for becomes the one at hand. */
static WEFT_NOINLINE bool take_saved(struct weft_ctx *ctx, struct weft__process *process) {
    weft_msg *msg = weft__process_find(ctx->runner, process);
    if (msg == NULL) {
        return false;
    }
    process->wait = WEFT__WAIT_NOTHING;
    ctx->runner->msg = msg; /* P2 */
    process->lent = false;
    *process->ret_msg = msg;
    return true;
}

int weft_receive(weft_ctx *ctx, uint64_t timeout_ns, weft_msg **ret_msg) {
    struct weft__process *process = weft__process_inside(ctx);
    if (weft_unlikely(process == NULL || ret_msg == NULL)) {
        return process == NULL ? -EPERM : -EINVAL;
    }
    release_current(ctx, process);
    process->wait = WEFT__WAIT_ANY;
    process->ret_msg = ret_msg;
    if (weft_unlikely(process->saved != 0) && take_saved(ctx, process)) {
        return 0;
    }
    return wait_for(ctx, process, timeout_ns);
}

int weft_receive_match(weft_ctx *ctx, uint64_t timeout_ns, weft_match_fn match, void *arg,
                       weft_msg **ret_msg) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL || ret_msg == NULL || match == NULL) {
        return process == NULL ? -EPERM : -EINVAL;
    }
    release_current(ctx, process);
    process->wait = WEFT__WAIT_MATCH;
    process->ret_msg = ret_msg;
    process->match = match;
    process->match_arg = arg;
    if (process->saved != 0 && take_saved(ctx, process)) {
        return 0;
    }
    return wait_for(ctx, process, timeout_ns);
}

int weft_sleep(weft_ctx *ctx, uint64_t delay_ns) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL) {
        return -EPERM;
    }
    process->wait = WEFT__WAIT_TIME;
    return wait_for(ctx, process, delay_ns);
}

int weft_yield(weft_ctx *ctx) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL) {
        return -EPERM;
    }
    process->wait = WEFT__WAIT_TIME;
    ctx->life |= WEFT__LIFE_YIELD;
    return wait_for(ctx, process, 0);
}

/* ---- awaiting ------------------------------------------------------------------------------ */

int weft_await(weft_ctx *ctx, uint64_t token, uint64_t timeout_ns, weft_msg **ret_msg) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL || ret_msg == NULL) {
        return process == NULL ? -EPERM : -EINVAL;
    }
    process->wait = WEFT__WAIT_TOKEN;
    process->token = token;
    process->ret_msg = ret_msg;
    weft_msg *msg = process->saved == 0 ? NULL : weft__process_find(ctx->runner, process);
    if (msg != NULL) {
        process->wait = WEFT__WAIT_NOTHING;
        weft__held_add(ctx, ctx->runner, msg);
        *ret_msg = msg;
        return 0;
    }
    if ((ctx->life & WEFT__LIFE_BLOCKED) != 0 && timeout_ns != 0 &&
        weft__chain_await(ctx->runner, ctx, token)) {
        process->wait = WEFT__WAIT_NOTHING;
        (void)weft_call_cancel(ctx, token); /* nobody will ever answer */
        return -EDEADLK;
    }
    return wait_for(ctx, process, timeout_ns);
}

int weft__process_await(struct weft__process *process, weft_msg **ret_reply) {
    process->wait = WEFT__WAIT_CALL;
    process->ret_msg = ret_reply;
    if (weft_unlikely(process->saved_chains != 0)) {
        weft__process_stick(process->ctx->runner, process);
    }
    return leave(process);
}

void weft__process_await_many(struct weft__process *process, struct weft__many *many) {
    process->wait = WEFT__WAIT_MANY;
    process->many = many;
    weft__process_stick(process->ctx->runner, process);
    (void)leave(process);
    process->many = NULL;
}

/* A time after which the wait is over, which ends with the request that is worked for as well. */
static int start_scoped_time(struct weft_ctx *ctx, struct weft__process *process, uint64_t due_ns) {
    struct weft__scheduler *s = ctx->runner;
    weft_msg *scope = weft__scope(s, ctx);
    int result = scope == NULL ? 0 : weft__scope_check(s, scope);
    if (result != 0 || (scope == NULL && due_ns == UINT64_MAX)) {
        return result;
    }
    if (scope != NULL) {
        due_ns = weft_min_u64(due_ns, (uint64_t)scope->weft__u.weft__r.weft__value);
    }
    result = weft__call_enter(ctx, due_ns, 0, &process->time_ref);
    if (result == 0 && scope != NULL) {
        weft__scope_bind(s, ctx, scope, process->time_ref);
    }
    return result;
}

int weft__process_await_writable(struct weft__process *process, uint64_t due_ns) {
    int result = start_scoped_time(process->ctx, process, due_ns);
    if (result != 0) {
        return result;
    }
    process->wait = WEFT__WAIT_WRITABLE;
    return leave(process);
}

/* How long to wait for room: a request that is passed on has a deadline. 0: it is over. */
static uint64_t room_time(struct weft__scheduler *s, const weft_msg *msg, bool timed) {
    uint64_t deadline_ns = (uint64_t)msg->weft__u.weft__r.weft__value;
    if (timed || !weft__is_request(msg) || deadline_ns == UINT64_MAX) {
        return WEFT_TIMEOUT_NEVER;
    }
    weft__refresh_clock(s);
    return deadline_ns > s->now_ns ? deadline_ns - s->now_ns : 0;
}

/* Asks for the answer that comes when there is room for msg: a call whose request is a signal. It
 * ends no later than the request that the process works for, or passes on; when it is for the sake
 * of a call (timed), then that one does. */
static int ask_for_room(struct weft_ctx *ctx, uint64_t target, const weft_msg *msg, bool timed) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__process *process = ctx->ext->process;
    struct weft__draft draft = {.kind = WEFT__SIGNAL_WANT_ROOM, .wide = true};
    struct weft__asked asked = {.target = target};
    uint64_t timeout_ns = room_time(s, msg, timed);
    if (timeout_ns == 0) {
        return msg->weft__u.weft__r.weft__value == 0 ? -ECANCELED : -ETIMEDOUT;
    }
    uint32_t life = ctx->life;
    weft_msg *scope = process->scope;
    ctx->life |= WEFT__LIFE_CHAINS;
    if (timed) {
        weft__scope_enter(s, ctx, NULL);
    }
    int result = weft__call_prepare(ctx, &draft, timeout_ns, 0, &asked);
    process->scope = scope;
    ctx->life &= ~(uint32_t)(WEFT__LIFE_CHAINS | WEFT__LIFE_SCOPED);
    ctx->life |= life & WEFT__LIFE_SCOPED;
    if (result != 0) {
        return result;
    }
    asked.msg->weft__from = weft__from(ctx);
    result = weft__post(s, target, asked.msg, false);
    if (result != 0) {
        weft__msg_free(s->runtime, s, asked.msg);
        weft__call_undo(ctx, asked.reference);
        return result;
    }
    weft__call_sent(ctx, asked.reference, target);
    process->call_ref = asked.reference;
    return 0;
}

int weft__process_room(struct weft_ctx *ctx, uint64_t target, weft_msg *msg, uint64_t call_ref) {
    struct weft__process *process = ctx->ext->process;
    uint32_t chains = ctx->life & WEFT__LIFE_CHAINS;
    if (target == weft__from(ctx)) {
        return -EDEADLK;
    }
    if (call_ref == 0) { /* a request that is passed on: whoever waits for it waits for room now */
        weft__held_add(ctx, ctx->runner, msg);
    }
    int result = ask_for_room(ctx, target, msg, call_ref != 0);
    if (call_ref != 0) {
        weft__held_add(ctx, ctx->runner, msg);
    }
    if (result == 0) {
        process->unsent_ref = call_ref;
        uint64_t reference = process->call_ref;
        result = weft__process_await(process, NULL);
        process->unsent_ref = 0;
        if (result != 0) {
            weft__call_undo(ctx, reference); /* still pending, if it is the call that has ended */
            weft__chain_give_up(ctx->runner, ctx);
        }
    }
    weft__msg_own(ctx->runner, ctx, msg);
    ctx->life |= chains;
    return result;
}

/* Sends what weft_call_wait will wait for. */
static WEFT_NOINLINE int start_call(weft_ctx *ctx, weft_pid target, struct weft__draft *draft,
                                    uint64_t timeout_ns) {
    if (draft->data == NULL && draft->size != 0) {
        return -EINVAL;
    }
    if (weft_pid_equal(target, weft_self(ctx))) {
        return -EDEADLK;
    }
    ctx->life |= WEFT__LIFE_CHAINS;
    int result = weft__call_start(ctx, target, draft, timeout_ns, &ctx->ext->process->call_ref);
    ctx->life &= ~(uint32_t)WEFT__LIFE_CHAINS;
    return result;
}

int weft_call_wait(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data, size_t size,
                   uint64_t timeout_ns, weft_msg **ret_reply) {
    struct weft__process *process = weft__process_inside(ctx);
    if (weft_unlikely(process == NULL)) {
        return -EPERM;
    }
    process->draft = (struct weft__draft){
        .data = data, .size = size, .tag = tag, .kind = WEFT_MSG_REQUEST, .wide = true};
    int result = start_call(ctx, target, &process->draft, timeout_ns);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    return weft__process_await(process, ret_reply);
}

int weft_blocking_wait(weft_ctx *ctx, weft_blocking_fn fn, void *arg) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL) {
        return -EPERM;
    }
    uint64_t token = (uintptr_t)&process->token; /* nobody else's, or his own fault */
    int result = weft_blocking(ctx, fn, arg, token);
    if (result != 0) {
        return result;
    }
    process->wait = WEFT__WAIT_DONE;
    process->token = token;
    process->ret_msg = NULL;
    return leave(process);
}
