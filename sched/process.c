/* SPDX-License-Identifier: MIT
 *
 * Processes: see sched/process.h for the invariants. Code that runs on a process's stack must not
 * keep the scheduler over a suspension: it is read from the actor again each time (ctx->runner).
 */
#include "sched/process.h"
#include "sched/bonds.h"
#include "sched/chain.h"
#include "sched/tracing.h"
#include <errno.h>
#include <string.h>
#include <weft/stream.h>

#define TELL_EVERY_NS (UINT64_C(10) * 1000 * 1000 * 1000) /* that there is no stack */

enum { PAGE_BYTES = 4096 }; /* stacks are counted in these; they are whole pages of any size */

/* ---- switching ----------------------------------------------------------------------------- */

/* What a process's stack begins with. */
static void *body(struct weft__fibre *fibre, void *value) {
    struct weft__process *process = weft_container_of(fibre, struct weft__process, fibre);
    struct weft_ctx *ctx = process->ctx;
    const weft_msg *start = process->start;
    const void *arg = start == NULL ? NULL : weft_msg_data(start);
    (void)value;
    process->result =
        ctx->type->def.process(ctx, ctx->state, arg, start == NULL ? 0 : start->weft__size);
    return NULL;
}

void weft__process_left(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__process *process = ctx->ext->process;
    int result = WEFT_CONTINUE;
    while (process->errand != NULL) { /* bounded by what the code does before it waits */
        void (*errand)(void *arg) = process->errand;
        process->errand = NULL;
        errand(process->errand_arg);
        if ((ctx->life & WEFT__LIFE_EXITING) == 0) {
            process->inside = true;
            (void)weft__fibre_enter(&process->fibre, NULL);
            process->inside = false;
        }
    }
    if (process->fibre.ended) {
        result = process->result == WEFT_CONTINUE ? WEFT_STOP : process->result;
    } else if (s->msg != NULL && (ctx->life & WEFT__LIFE_EXITING) == 0) {
        weft_msg *msg = weft_msg_take(ctx, s->msg); /* P2: it stays over the suspension */
        process->current = process->lent ? process->current : msg;
    }
    if (s->msg != NULL || result != WEFT_CONTINUE) {
        weft__receive_done(s, ctx, result);
    }
}

/* Back to the scheduler's stack. */
static WEFT_NOINLINE void leave(struct weft__process *process) {
    (void)weft__fibre_leave(&process->fibre, NULL);
}

void weft__on_scheduler(struct weft_ctx *ctx, void (*fn)(void *arg), void *arg) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process == NULL) {
        fn(arg);
        return;
    }
    process->errand = fn;
    process->errand_arg = arg;
    leave(process);
}

void weft__exit_leave(struct weft_ctx *ctx) {
    struct weft__process *process = weft__process_inside(ctx);
    if (process != NULL) {
        leave(process); /* it is not entered again */
        weft_assert(!"a process that has ended");
    }
}

void weft__process_drop(struct weft__scheduler *s, struct weft__process *process) {
    weft_msg *msg = process->current;
    if (s->msg != NULL) { /* a message that is its code's own stays so */
        weft_assert(process->lent);
        (void)weft_msg_take(process->ctx, s->msg);
    }
    process->current = NULL;
    weft_msg_release(process->ctx, &msg);
}

/* ---- saved messages ------------------------------------------------------------------------ */

/* Is a saved message to be counted as handled when it is delivered? Its seq, which serves nothing
 * else outside the mailbox, says so; that of a DOWN is its monitor's. */
enum count { COUNTED = 0, COUNTS = 1 };

static bool has_chain(const weft_msg *msg) {
    return weft__is_request(msg) && (msg->weft__flags & WEFT__MSG_CHAIN) != 0;
}

static void save(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg,
                 enum count count) {
    struct weft_ctx *ctx = process->ctx;
    s->msg = msg;
    weft__msg_own(s, ctx, msg); /* it outlives its place in the mailbox's word */
    weft_store32_relaxed(weft__msg_seq(msg), count);
    if (msg->weft__kind == WEFT_MSG_DOWN) { /* its monitor's reference, for a purge */
        msg->weft__stamp = (uint32_t)(process->arrived >> 32);
        weft_store32_relaxed(weft__msg_seq(msg), (uint32_t)process->arrived);
    }
    uint32_t index = weft__arena_index(s->messages, msg);
    msg->weft__next = 0;
    if (weft_unlikely(weft__is_traced(ctx)) && msg->weft__kind == WEFT_MSG_REPLY) {
        weft__trace_receive(s, ctx, msg, process->arrived); /* nobody knows of which call later */
    }
    if (process->saved == 0) {
        process->saved = index;
    } else {
        weft__arena_msg(s->messages, process->saved_last)->weft__next = index;
    }
    process->saved_last = index;
    process->saved_count++;
    process->saved_chains += has_chain(msg) ? 1 : 0;
    weft__show_room(ctx, process->saved_count);
}

/* Takes a saved message out; before is the one in front of it, or NULL. */
static void unsave(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg,
                   weft_msg *before) {
    if (before == NULL) {
        process->saved = msg->weft__next;
    } else {
        before->weft__next = msg->weft__next;
    }
    if (process->saved_last == weft__arena_index(s->messages, msg)) {
        process->saved_last = before == NULL ? 0 : weft__arena_index(s->messages, before);
    }
    process->saved_count--;
    process->saved_chains -= has_chain(msg) ? 1 : 0;
    weft__show_room(process->ctx, process->saved_count);
}

struct found {
    struct weft_ctx *ctx;
    const weft_msg *msg;
};

/* Is this what the process waits for? */
static bool is_wanted(const struct weft__process *process, const weft_msg *msg) {
    uint64_t token = msg->weft__u.weft__r.weft__ref;
    switch (process->wait) {
    case WEFT__WAIT_ANY:
        return true;
    case WEFT__WAIT_MATCH:
        return process->match(msg, process->match_arg);
    case WEFT__WAIT_WRITABLE:
        return msg->weft__kind == WEFT_MSG_IO && msg->weft__tag == WEFT_IO_WRITABLE;
    case WEFT__WAIT_TOKEN:
        return (msg->weft__kind == WEFT_MSG_REPLY || msg->weft__kind == WEFT_MSG_DONE ||
                msg->weft__kind == WEFT_MSG_TIMER) &&
               token == process->token;
    case WEFT__WAIT_DONE:
        return msg->weft__kind == WEFT_MSG_DONE && token == process->token;
    default:
        return false;
    }
}

/* For the scheduler's stack: the process goes on with a message it had saved. */
static void tell_found(void *arg) {
    const struct found *found = arg;
    weft__trace_receive(found->ctx->runner, found->ctx, found->msg, 0);
}

/* The same for one that is not delivered any more. */
static void tell_over(void *arg) {
    const struct found *found = arg;
    bool cancelled = found->msg->weft__u.weft__r.weft__value == 0;
    weft__trace_dropped(found->ctx->runner, found->ctx, found->msg,
                        cancelled ? -ECANCELED : -ETIMEDOUT);
}

static WEFT_NOINLINE void trace_found(struct weft_ctx *ctx, const weft_msg *msg) {
    struct found found = {.ctx = ctx, .msg = msg};
    weft__on_scheduler(ctx, tell_found, &found);
}

/* A saved request whose caller waits no more is not delivered. */
static void unsave_over(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg,
                        weft_msg *before) {
    unsave(s, process, msg, before);
    weft_counter_add(&s->counters.requests_expired, 1);
    if (weft_unlikely(weft__is_traced(process->ctx))) {
        struct found found = {.ctx = process->ctx, .msg = msg};
        weft__on_scheduler(process->ctx, tell_over, &found);
    }
    weft__msg_free(s->runtime, s, msg);
}

/* What happened to its stream or socket is with the process now: one may read on. */
static WEFT_NOINLINE void tell_handled(struct weft_ctx *ctx, const weft_msg *msg) {
    struct weft__attachment *attachment = ctx->ext->attachment;
    if (attachment != NULL) {
        (void)attachment->calls->handled(attachment, msg->weft__tag, msg->weft__size);
    }
}

weft_msg *weft__process_find(struct weft__scheduler *s, struct weft__process *process) {
    weft_msg *before = NULL;
    uint32_t index = process->saved;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (weft__is_request(msg) && (uint64_t)msg->weft__u.weft__r.weft__value <= s->now_ns) {
            index = msg->weft__next;
            unsave_over(s, process, msg, before);
            continue;
        }
        if (is_wanted(process, msg)) {
            unsave(s, process, msg, before);
            if (weft_load32_relaxed(weft__msg_seq(msg)) == COUNTS) {
                weft_counter_add(&s->counters.messages_handled,
                                 msg->weft__kind == WEFT_MSG_DOWN ? 0 : 1);
            }
            if (weft_unlikely(weft__is_traced(process->ctx)) && msg->weft__kind != WEFT_MSG_REPLY) {
                trace_found(process->ctx, msg);
            }
            if (msg->weft__kind == WEFT_MSG_IO) {
                tell_handled(process->ctx, msg);
            }
            return msg;
        }
        before = msg;
        index = msg->weft__next;
    }
    return NULL;
}

/* Who an EXIT is from, the reference of a DOWN's monitor. */
static uint64_t key_of(weft_msg *msg) {
    return msg->weft__kind == WEFT_MSG_EXIT
               ? msg->weft__from
               : (uint64_t)msg->weft__stamp << 32 | weft_load32_relaxed(weft__msg_seq(msg));
}

/* A message that will not be delivered after all: the link or monitor it is of was given up. */
static bool purge(struct weft__scheduler *s, const struct weft_ctx *ctx, uint8_t kind,
                  uint64_t key) {
    struct weft__process *process = ctx->ext == NULL ? NULL : ctx->ext->process;
    weft_msg *before = NULL;
    uint32_t index = process == NULL ? 0 : process->saved;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (msg->weft__kind == kind && key_of(msg) == key) {
            unsave(s, process, msg, before);
            weft__msg_free(s->runtime, s, msg);
            return true;
        }
        before = msg;
        index = msg->weft__next;
    }
    return false;
}

void weft__process_purge_exit(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t peer) {
    (void)purge(s, ctx, WEFT_MSG_EXIT, peer);
}

bool weft__process_purge_down(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t ref) {
    return purge(s, ctx, WEFT_MSG_DOWN, ref);
}

uint32_t weft__process_purge_replies(struct weft__scheduler *s, struct weft_ctx *ctx,
                                     uint64_t token) {
    struct weft__process *process = ctx->ext->process;
    weft_msg *before = NULL;
    uint32_t index = process->saved;
    uint32_t purged = 0;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        if (msg->weft__kind != WEFT_MSG_REPLY || weft_msg_token(msg) != token) {
            before = msg;
            continue;
        }
        unsave(s, process, msg, before);
        bool late = weft_load32_relaxed(weft__msg_seq(msg)) == COUNTS;
        weft_counter_add(&s->counters.replies_late, late ? 1 : 0);
        weft__msg_free(s->runtime, s, msg);
        purged++;
    }
    return purged;
}

void weft__process_purge_requests(struct weft__scheduler *s, struct weft_ctx *ctx,
                                  bool (*is_over)(const weft_msg *msg, void *arg), void *arg) {
    struct weft__process *process = ctx->ext->process;
    weft_msg *before = NULL;
    uint32_t index = process->saved;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        if (!weft__is_request(msg) || !is_over(msg, arg)) {
            before = msg;
            continue;
        }
        msg->weft__u.weft__r.weft__value = 0;
        unsave_over(s, process, msg, before);
    }
}

/* ---- arriving ------------------------------------------------------------------------------ */

/* A request that somebody is blocked on comes while this process is blocked as well. True: it
 * closes a circle and was answered. */
static bool closes_circle(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg) {
    if (!weft__process_blocked(process) || !has_chain(msg) ||
        !weft__chain_stick(s, process->ctx, msg)) {
        return false;
    }
    weft__chain_refuse(s, process->ctx, msg);
    return true;
}

void weft__process_stick(struct weft__scheduler *s, struct weft__process *process) {
    weft_msg *before = NULL;
    uint32_t index = process->saved_chains == 0 ? 0 : process->saved;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        if (has_chain(msg) && weft__chain_stick(s, process->ctx, msg)) {
            unsave(s, process, msg, before);
            weft_counter_add(&s->counters.messages_handled, 1);
            weft__chain_refuse(s, process->ctx, msg);
        } else {
            before = msg;
        }
    }
}

/* What the wait answers, given to whoever waits before it goes on: so its functions return straight
 * to the code that called them. found: a message that is the process's already, as the wait wants
 * it; NULL: the time is over, or nothing is to be given. */
static int answer_of(struct weft__process *process, enum weft__wait wait, weft_msg *found) {
    if (wait == WEFT__WAIT_TIME || wait == WEFT__WAIT_MANY) {
        return 0;
    }
    if (wait == WEFT__WAIT_WRITABLE && found != NULL) {
        weft_msg_release(process->ctx, &found);
        return 0;
    }
    if (found == NULL) {
        return -ETIMEDOUT;
    }
    int status = 0;
    if (wait == WEFT__WAIT_CALL || wait == WEFT__WAIT_DONE) {
        status = weft_msg_status(found);
        if (status != 0 || process->ret_msg == NULL) {
            weft_msg_release(process->ctx, &found);
            return status;
        }
    }
    *process->ret_msg = found;
    return 0;
}

/* It waits deeper in its stack than ever. */
static WEFT_NOINLINE void show_touched(struct weft__scheduler *s, struct weft__process *process) {
    uintptr_t offset = (uintptr_t)((char *)process->fibre.sp - process->stack->low);
    process->touched = process->stack->low + offset / PAGE_BYTES * PAGE_BYTES;
    weft__memory_show(s->runtime, process->ctx);
}

/* The wait is over: the process goes on as soon as its turn has done with the message at hand. */
static int end_wait(struct weft__scheduler *s, struct weft__process *process, weft_msg *found) {
    struct weft_ctx *ctx = process->ctx;
    if (weft_unlikely((char *)process->fibre.sp < process->touched)) {
        show_touched(s, process);
    }
    enum weft__wait wait = process->wait;
    process->wait = WEFT__WAIT_NOTHING;
    process->mark = 0;
    if (process->awaited != 0) {
        weft__chain_awaited(s, process);
    }
    if (process->time_ref != 0) { /* P3 */
        weft__call_undo(ctx, process->time_ref);
        process->time_ref = 0;
    }
    process->answer = answer_of(process, wait, found);
    process->arriving = s->msg;
    process->lent = wait > WEFT__WAIT_MATCH;
    s->msg = NULL;
    ctx->life |= WEFT__LIFE_RESUME;
    return WEFT_CONTINUE;
}

/* The same when process->answer says it all. */
static int end_answered(struct weft__scheduler *s, struct weft__process *process) {
    int answer = process->answer;
    process->wait = WEFT__WAIT_TIME;
    (void)end_wait(s, process, NULL);
    process->answer = answer;
    return WEFT_CONTINUE;
}

/* A copy of a small message that is at the top of its mailbox: cheaper than taking it out. */
static weft_msg *detach(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    bool small = (msg->weft__flags & (WEFT__MSG_BUF | WEFT__CLASS_MASK)) == 0;
    weft_msg *copy = NULL;
    if (weft__arena_index(s->messages, msg) == ctx->anchor && small) {
        struct weft__draft draft = {.data = "", .kind = msg->weft__kind, .wide = true};
        copy = weft__msg_small(s, ctx, &draft);
    }
    if (copy == NULL) {
        weft__msg_own(s, ctx, msg);
        return msg;
    }
    copy->weft__flags = msg->weft__flags;
    copy->weft__size = msg->weft__size;
    copy->weft__tag = msg->weft__tag;
    copy->weft__from = msg->weft__from;
    copy->weft__u = msg->weft__u;
    s->msg = NULL;
    weft__msg_done(s, ctx, msg);
    return copy;
}

/* The answer to the call that is waited for, or the end of the time. */
static int reply_arrived(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg,
                         uint64_t reference) {
    struct weft_ctx *ctx = process->ctx;
    if (reference == process->time_ref) {
        process->time_ref = 0;
        process->answer = weft_msg_status(msg); /* cancelled, or out of time */
        s->msg = NULL;
        weft__msg_done(s, ctx, msg);
        return process->wait == WEFT__WAIT_WRITABLE ? end_answered(s, process)
                                                    : end_wait(s, process, NULL);
    }
    if (weft_msg_status(msg) != 0 || process->ret_msg == NULL) { /* nobody wants to have it */
        process->answer = weft_msg_status(msg);
        s->msg = NULL;
        weft__msg_done(s, ctx, msg);
        return end_answered(s, process);
    }
    return end_wait(s, process, msg);
}

/* The call that the REPLY at hand answers; it is no longer pending. */
static struct weft__call *call_at_hand(const struct weft__process *process) {
    return &process->ctx->ext->calls.records[(uint32_t)process->arrived];
}

/* The answer to one of many. */
static int many_arrived(struct weft__scheduler *s, struct weft__process *process, weft_msg *msg) {
    struct weft_ctx *ctx = process->ctx;
    struct weft__many *many = process->many;
    struct weft__call *call = call_at_hand(process);
    weft_multi_result *result = &many->results[call->place - 1];
    call->place = 0;
    result->status = weft_msg_status(msg);
    if (result->status == 0) {
        result->reply = detach(s, ctx, msg);
        weft__held_add(ctx, s, result->reply);
        many->answered++;
    } else {
        s->msg = NULL;
        weft__msg_done(s, ctx, msg);
    }
    many->pending--;
    bool enough = process->wait == WEFT__WAIT_MANY && many->pending <= many->enough;
    return enough ? end_wait(s, process, NULL) : WEFT_CONTINUE;
}

/* Also when enough have come already, and the process is about to go on. */
static bool is_of_many(const struct weft__process *process, const weft_msg *msg) {
    return msg->weft__kind == WEFT_MSG_REPLY && process->many != NULL &&
           call_at_hand(process)->place != 0;
}

/* Is the message at hand what the process waits for? */
static bool ends_wait(const struct weft__process *process, const weft_msg *msg) {
    if (msg->weft__kind == WEFT_MSG_REPLY && process->arrived == process->time_ref) {
        return process->time_ref != 0;
    }
    if (msg->weft__kind == WEFT_MSG_REPLY && process->wait == WEFT__WAIT_CALL) {
        return process->arrived == process->call_ref ||
               (process->unsent_ref != 0 && process->arrived == process->unsent_ref);
    }
    if (is_of_many(process, msg)) {
        return true;
    }
    return is_wanted(process, msg);
}

bool weft__process_aside(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__process *process = ctx->ext->process;
    if (ends_wait(process, msg)) {
        process->wanted = msg;
        return false;
    }
    if (closes_circle(s, process, msg)) {
        weft_counter_add(&s->counters.messages_handled, 1);
    } else {
        save(s, process, msg, COUNTS);
    }
    return true;
}

/* The same for what comes to receive unasked. */
static bool arrives(struct weft__scheduler *s, struct weft__process *process, const weft_msg *msg) {
    bool wanted = ends_wait(process, msg);
    bool is_time = msg->weft__kind == WEFT_MSG_REPLY && process->arrived == process->time_ref;
    if (wanted && weft_unlikely(weft__is_traced(process->ctx)) && !is_time) {
        weft__trace_receive(s, process->ctx, msg, process->arrived);
    }
    return wanted;
}

int weft__process_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__process *process = ctx->ext->process;
    (void)state;
    bool wanted = process->wanted == msg || arrives(s, process, msg);
    process->wanted = NULL;
    if (!wanted) {
        bool closed = msg->weft__kind == WEFT_MSG_IO && msg->weft__tag == WEFT_IO_CLOSED;
        save(s, process, msg, COUNTED);
        if (closed && process->wait == WEFT__WAIT_WRITABLE) {
            process->answer = -EPIPE;
            return end_answered(s, process);
        }
        return WEFT_CONTINUE;
    }
    if (msg->weft__kind == WEFT_MSG_REPLY &&
        (process->arrived == process->time_ref || process->wait == WEFT__WAIT_CALL)) {
        return reply_arrived(s, process, msg, process->arrived);
    }
    if (is_of_many(process, msg)) {
        return many_arrived(s, process, msg);
    }
    return end_wait(s, process, msg);
}

void weft__process_mark(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__process *process = ctx->ext->process;
    bool waits =
        process->wait != WEFT__WAIT_NOTHING && process->mark == msg->weft__u.weft__r.weft__ref;
    weft__msg_done(s, ctx, msg);
    if (waits) {
        s->msg = NULL;
        (void)end_wait(s, process, NULL);
    }
}

/* ---- birth and end ------------------------------------------------------------------------- */

static struct weft__process *make(struct weft__scheduler *s, struct weft_ctx *ctx,
                                  int *ret_result) {
    struct weft__ext *ext = weft__ext_of(ctx);
    struct weft__stack *stack;
    *ret_result = ext == NULL ? -ENOMEM : weft__stack_take(s, ctx->type->def.stack_bytes, &stack);
    if (*ret_result != 0) {
        return NULL;
    }
    /* At the top of its own stack, in a page that is touched anyway. */
    char *top = stack->high - sizeof(struct weft__process);
    top -= (uintptr_t)top % alignof(struct weft__process);
    struct weft__process *process = (struct weft__process *)(void *)top;
    memset(process, 0, sizeof(*process));
    process->magic = WEFT__PROCESS_MAGIC;
    process->ctx = ctx;
    process->stack = stack;
    weft__fibre_init(&process->fibre, stack->low, (size_t)(top - stack->low), body);
    process->touched = stack->low + (size_t)(top - stack->low) / PAGE_BYTES * PAGE_BYTES;
    ext->process = process;
    ctx->life |= WEFT__LIFE_PROCESS;
    weft__memory_show(s->runtime, ctx);
    return process;
}

void weft__process_begin(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *start) {
    int result;
    struct weft__process *process = make(s, ctx, &result);
    s->msg = NULL;
    if (process == NULL) {
        weft__msg_done(s, ctx, start);
        weft_exit(ctx, result);
        return;
    }
    if (start->weft__size == 0) {
        weft__msg_done(s, ctx, start);
        start = NULL;
    } else {
        weft__signal_keep(s, ctx, start);
    }
    process->start = start;
    process->arriving = NULL;
    ctx->life |= WEFT__LIFE_RESUME;
}

/* Replies among the saved that no other actor sent, they tell of a timeout: nobody else counts on
 * them. Returns the rest. */
static uint32_t bury_counted(struct weft__scheduler *s, struct weft__process *process) {
    uint32_t *link = &process->saved;
    while (*link != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, *link);
        if (msg->weft__kind == WEFT_MSG_REPLY &&
            weft_load32_relaxed(weft__msg_seq(msg)) == COUNTED) {
            *link = msg->weft__next;
            weft__msg_free(s->runtime, s, msg);
        } else {
            link = &msg->weft__next;
        }
    }
    return process->saved;
}

uint32_t weft__process_end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__process *process = ctx->ext->process;
    weft_assert(!process->inside);
    uint32_t saved = bury_counted(s, process);
    if (process->start != NULL) {
        weft__msg_free(s->runtime, s, process->start);
    }
    struct weft__stack *stack = process->stack;
    process->magic = 0;
    weft__fibre_fini(&process->fibre);
    ctx->ext->process = NULL;
    ctx->life &= ~(uint32_t)WEFT__LIFE_PROCESS;
    weft__stack_give(s, ctx->type->def.stack_bytes, stack); /* and the process with it */
    return saved;
}

/* ---- stacks -------------------------------------------------------------------------------- */

/* The pool of a size: they double from WEFT__STACK_BYTES_MIN. */
static uint32_t size_class(size_t bytes) {
    uint32_t class = 0;
    while (class + 1 < WEFT__STACK_SIZES && (WEFT__STACK_BYTES_MIN << class) < bytes) {
        class ++; /* bounded by the sizes */
    }
    return class;
}

struct weft__stack_pool *weft__stack_pool_of(weft_runtime *runtime, size_t bytes) {
    return &runtime->stack_pools[size_class(bytes)];
}

int weft__stack_pools_init(weft_runtime *runtime) {
    int result = 0;
    for (uint32_t class = 0; class < WEFT__STACK_SIZES && result == 0; class ++) {
        struct weft__stack_options options = {.stack_bytes = WEFT__STACK_BYTES_MIN << class,
                                              .guarded_shared = &runtime->stacks_guarded};
        result = weft__stack_pool_init(&runtime->stack_pools[class], &runtime->core, &options);
    }
    return result;
}

void weft__stack_pools_fini(weft_runtime *runtime) {
    for (uint32_t class = 0; class < WEFT__STACK_SIZES; class ++) {
        weft__stack_pool_fini(&runtime->stack_pools[class]);
    }
}

/* Says why there are no more processes, when that has not been said for some time. */
static WEFT_NOINLINE void log_limit(weft_runtime *runtime, const struct weft__stack_pool *pool) {
    uint64_t now_ns = weft__now(&runtime->core);
    uint64_t told_ns = weft_load64_relaxed(&runtime->stacks_told_ns);
    if ((told_ns != 0 && now_ns < weft_add_saturated(told_ns, TELL_EVERY_NS)) ||
        !weft_cas64_acq_rel(&runtime->stacks_told_ns, &told_ns, now_ns | 1)) {
        return;
    }
    weft_log_field fields[] = {
        {.key = "stacks_max", .kind = WEFT_LOG_U64, .u64 = pool->guarded_max},
        {.key = "max_map_count", .kind = WEFT_LOG_U64, .u64 = pool->maps_max},
        {.key = "reason",
         .kind = WEFT_LOG_TEXT,
         .text = "each process takes two mappings where the kernel has no guard marks"},
        {.key = "remedy",
         .kind = WEFT_LOG_TEXT,
         .text = "raise vm.max_map_count (sysctl) by two for each process, or use Linux 6.13"},
    };
    weft__log(&runtime->core, WEFT_LOG_ERROR, "process.limit", fields, 4);
}

int weft__stack_take(struct weft__scheduler *s, size_t bytes, struct weft__stack **ret_stack) {
    struct weft__stack_pool *pool = weft__stack_pool_of(s->runtime, bytes);
    int result = pool == s->stacks.pool ? weft__stacks_get(&s->stacks, ret_stack)
                                        : weft__stack_pool_get(pool, ret_stack);
    if (weft_unlikely(result == WEFT_E_LIMIT)) {
        log_limit(s->runtime, pool);
    }
    return result;
}

bool weft__stacks_are_spent(weft_runtime *runtime, size_t bytes) {
    const struct weft__stack_pool *pool = weft__stack_pool_of(runtime, bytes);
    if (weft_likely(!weft__stack_pool_is_spent(pool))) {
        return false;
    }
    for (uint32_t i = 0; i < runtime->count; i++) {
        const struct weft__stacks *stacks = &runtime->schedulers[i]->stacks;
        if (stacks->pool == pool && weft_load64_relaxed(&stacks->cached) != 0) {
            return false;
        }
    }
    log_limit(runtime, pool);
    return true;
}

void weft__stack_give(struct weft__scheduler *s, size_t bytes, struct weft__stack *stack) {
    struct weft__stack_pool *pool = weft__stack_pool_of(s->runtime, bytes);
    if (pool == s->stacks.pool) {
        weft__stacks_put(&s->stacks, stack);
    } else {
        weft__stack_pool_put(pool, stack);
    }
}
