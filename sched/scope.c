/* SPDX-License-Identifier: MIT
 *
 * Scopes: see sched/scope.h. The functions of weft/actor.h about them, what binds pending calls to
 * the request they were made for, and both ends of a CANCEL signal.
 *
 * CANCEL is best effort: without memory for it nothing is sent, and what it would have stopped ends
 * by its deadline, which was inherited when it was asked for. What arrives is never lost: where
 * there is no memory to remember a pair it is looked for at once, in all that waits.
 */
#include "sched/scope.h"
#include "sched/tracing.h"

enum {
    PAIRS = 8, /* places where a pair may be: two cache lines */
    GROUPS_MAX =
        2048, /* 16,384 pairs, of which some 8,000 find a place; then older ones are lost */
    UNSWEPT_MAX = 512, /* signals between two looks at what the actor holds */
};

/* ---- what binds calls ---------------------------------------------------------------------- */

int weft__scope_check(struct weft__scheduler *s, const weft_msg *scope) {
    uint64_t deadline_ns = (uint64_t)scope->weft__u.weft__r.weft__value;
    if (deadline_ns == 0) {
        return -ECANCELED;
    }
    weft__refresh_clock(s);
    return deadline_ns <= s->now_ns ? -ETIMEDOUT : 0;
}

void weft__scope_bind(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *scope,
                      uint64_t reference) {
    struct weft__calls *calls = &ctx->ext->calls;
    struct weft__call *call = weft__calls_at(calls, reference);
    bool first = (scope->weft__flags & WEFT__MSG_ASKED) == 0;
    weft_assert(weft__is_request(scope));
    weft_assert(call->scope == 0);
    weft_assert(!first || scope->weft__stamp == 0);
    call->scope = weft__arena_index(s->messages, scope);
    call->scope_next = first ? 0 : scope->weft__stamp;
    call->scope_previous = 0;
    if (!first) {
        calls->records[scope->weft__stamp - 1].scope_previous = (uint32_t)reference + 1;
    }
    scope->weft__stamp = (uint32_t)reference + 1;
    scope->weft__flags |= WEFT__MSG_ASKED;
}

weft_msg *weft__scope_unbind(struct weft__scheduler *s, struct weft_ctx *ctx,
                             struct weft__call *call) {
    struct weft__calls *calls = &ctx->ext->calls;
    weft_msg *scope = weft__arena_msg(s->messages, call->scope);
    weft_assert((scope->weft__flags & WEFT__MSG_ASKED) != 0);
    if (call->scope_next != 0) {
        calls->records[call->scope_next - 1].scope_previous = call->scope_previous;
    }
    if (call->scope_previous != 0) {
        calls->records[call->scope_previous - 1].scope_next = call->scope_next;
    } else {
        scope->weft__stamp = call->scope_next;
    }
    if (scope->weft__stamp == 0) {
        scope->weft__flags &= (uint8_t)~WEFT__MSG_ASKED;
    }
    call->scope = 0;
    return scope;
}

void weft__scope_return(struct weft__scheduler *s, struct weft_ctx *ctx, struct weft__call *call) {
    weft_msg *scope = weft__scope_unbind(s, ctx, call);
    if ((ctx->life & WEFT__LIFE_PROCESS) == 0) {
        weft__scope_enter(s, ctx, scope);
    }
}

void weft__scope_leave(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *request) {
    if ((ctx->life & WEFT__LIFE_SCOPED) != 0 && *weft__scope_stored(s, ctx) == request) {
        *weft__scope_stored(s, ctx) = NULL;
    }
    if ((request->weft__flags & WEFT__MSG_ASKED) == 0) {
        return;
    }
    struct weft__call *records = ctx->ext->calls.records;
    uint32_t next = request->weft__stamp;
    while (next != 0) { /* bounded by the calls made for it */
        struct weft__call *call = &records[next - 1];
        next = call->scope_next;
        call->scope = 0;
    }
    request->weft__stamp = 0;
    request->weft__flags &= (uint8_t)~WEFT__MSG_ASKED;
}

int weft_work_for(weft_ctx *ctx, const weft_msg *request) {
    if (request != NULL && !weft__is_request(request)) {
        return -EINVAL;
    }
    weft__scope_enter(ctx->runner, ctx, (weft_msg *)(uintptr_t)request);
    return 0;
}

uint64_t weft_work_deadline(weft_ctx *ctx) {
    const weft_msg *scope = weft__scope(ctx->runner, ctx);
    return scope == NULL ? UINT64_MAX : (uint64_t)scope->weft__u.weft__r.weft__value;
}

/* ---- sending ------------------------------------------------------------------------------- */

static void fill_cancel(weft_msg *msg, uint64_t from, uint64_t reference) {
    msg->weft__from = from;
    msg->weft__u.weft__r.weft__ref = reference;
    msg->weft__u.weft__r.weft__value = 0;
}

/* A call of the actor's was given up. */
static void post_cancel(struct weft__scheduler *s, const struct weft_ctx *ctx, uint64_t target,
                        uint64_t reference) {
    struct weft__draft draft = {.kind = WEFT__SIGNAL_CANCEL, .wide = true};
    weft_msg *msg;
    if (weft__msg_make(s->runtime, s, &draft, &msg) != 0) {
        return; /* best effort: the deadline holds */
    }
    fill_cancel(msg, weft__from(ctx), reference);
    if (weft__post(s, target, msg, false) != 0) {
        weft__msg_free(s->runtime, s, msg); /* it has ended, and the request with it */
    }
}

void weft__scope_cancel_outside(weft_runtime *runtime, uint64_t target, uint64_t from,
                                uint64_t reference) {
    struct weft__draft draft = {.kind = WEFT__SIGNAL_CANCEL, .wide = true};
    weft_msg *msg;
    if (weft__msg_make(runtime, NULL, &draft, &msg) != 0) {
        return; /* as above */
    }
    fill_cancel(msg, from, reference);
    if (weft__post_outside(runtime, target, msg, false) != 0) {
        weft__msg_free(runtime, NULL, msg);
    }
}

uint32_t weft__scope_give_up(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token) {
    struct weft__calls *calls = &ctx->ext->calls;
    uint32_t cursor = 0;
    uint32_t count = 0;
    uint64_t reference;
    while (weft__calls_find(calls, token, &cursor, &reference)) { /* bounded by the records */
        struct weft__call *call = weft__calls_at(calls, reference);
        if (call->target != 0) {
            post_cancel(s, ctx, call->target, reference);
        }
        weft__call_undo(ctx, reference);
        count++;
    }
    return count;
}

void weft__scope_end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    const struct weft__calls *calls = ctx->ext == NULL ? NULL : &ctx->ext->calls;
    if (calls == NULL || calls->count == 0 || weft__phase(s->runtime) >= WEFT__RUNTIME_STOPPING) {
        return; /* everybody is being stopped */
    }
    for (uint32_t index = 0; index < calls->used; index++) {
        const struct weft__call *call = &calls->records[index];
        if (weft__calls_is_pending(calls, index) && call->target != 0 &&
            call->deadline_ns > s->now_ns) {
            post_cancel(s, ctx, call->target, weft__calls_reference(calls, index));
        }
    }
}

/* ---- pairs that are remembered ------------------------------------------------------------- */

/* The places of a pair in a table of so many groups. */
static struct weft__cancel *group_of(const struct weft__cancels *cancels, uint64_t from,
                                     uint64_t reference) {
    uint64_t mixed = from * UINT64_C(0x9e3779b97f4a7c15) ^ reference * UINT64_C(0xc2b2ae3d27d4eb4f);
    return &cancels->pairs[((mixed >> 32 ^ mixed >> 52) & (cancels->groups - 1)) * PAIRS];
}

/* A free place for a pair, or NULL. from 0: free. */
static struct weft__cancel *place_of(const struct weft__cancels *cancels, uint64_t from,
                                     uint64_t reference) {
    struct weft__cancel *group = group_of(cancels, from, reference);
    for (uint32_t i = 0; i < PAIRS; i++) {
        if (group[i].from == 0) {
            return &group[i];
        }
    }
    return NULL;
}

static size_t bytes_of(uint32_t groups) {
    return (size_t)groups * PAIRS * sizeof(struct weft__cancel);
}

uint64_t weft__cancels_bytes(const struct weft__cancels *cancels) {
    return bytes_of(cancels->groups);
}

/* Twice as many groups. Each pair finds a place: only those of one group come into two. */
static bool grow(struct weft__cancels *cancels, struct weft__core *core) {
    struct weft__cancels bigger = *cancels;
    bigger.groups = cancels->groups == 0 ? 1 : cancels->groups * 2;
    if (bigger.groups > GROUPS_MAX) {
        return false;
    }
    bigger.pairs = weft__alloc(core, bytes_of(bigger.groups), "cancels");
    if (bigger.pairs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < cancels->groups * PAIRS; i++) {
        const struct weft__cancel *pair = &cancels->pairs[i];
        if (pair->from != 0) {
            struct weft__cancel *place = place_of(&bigger, pair->from, pair->reference);
            weft_assert(place != NULL);
            *place = *pair;
        }
    }
    weft__free(core, cancels->pairs, bytes_of(cancels->groups), "cancels");
    *cancels = bigger;
    return true;
}

void weft__scope_fini(struct weft__core *core, struct weft__cancels *cancels) {
    weft__free(core, cancels->pairs, bytes_of(cancels->groups), "cancels");
    *cancels = (struct weft__cancels){0};
}

/* False: there is no memory for a table at all. */
static bool remember(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL || (ext->cancels.groups == 0 && !grow(&ext->cancels, s->core))) {
        return false;
    }
    struct weft__cancels *cancels = &ext->cancels;
    uint64_t from = msg->weft__from;
    uint64_t reference = msg->weft__u.weft__r.weft__ref;
    struct weft__cancel *place = place_of(cancels, from, reference);
    while (place == NULL && grow(cancels, s->core)) { /* bounded by GROUPS_MAX */
        place = place_of(cancels, from, reference);
    }
    if (place == NULL) { /* one is forgotten: its deadline holds */
        place = &group_of(cancels, from, reference)[cancels->evicted++ % PAIRS];
    }
    *place = (struct weft__cancel){.from = from, .reference = reference};
#ifndef WEFT_PLANT_CANCEL_BATCH
    ctx->life |= WEFT__LIFE_CANCELS;
#endif
    weft__memory_show(s->runtime, ctx);
    return true;
}

/* Is it among them? Then no longer. */
static bool recall(struct weft__cancels *cancels, const weft_msg *request) {
    uint64_t reference = request->weft__u.weft__r.weft__ref;
    struct weft__cancel *group = group_of(cancels, request->weft__from, reference);
    for (uint32_t i = 0; i < PAIRS; i++) {
        if (group[i].from == request->weft__from && group[i].reference == reference) {
            group[i] = (struct weft__cancel){0};
            return true;
        }
    }
    return false;
}

bool weft__scope_cancelled(struct weft_ctx *ctx, const weft_msg *request) {
    return recall(&ctx->ext->cancels, request);
}

void weft__scope_attend(struct weft__scheduler *s, struct weft_ctx *ctx) {
    weft__scope_returned(ctx);
    if ((ctx->life & WEFT__LIFE_CANCELS) != 0 && ctx->batch == 0) { /* W4 */
        weft__scope_fini(s->core, &ctx->ext->cancels);
        weft__memory_show(s->runtime, ctx);
        ctx->life &= ~(uint32_t)WEFT__LIFE_CANCELS;
    }
}

/* ---- arriving ------------------------------------------------------------------------------ */

/* What is looked for: all pairs that are remembered, or (cancels NULL) one. */
struct wanted {
    struct weft__cancels *cancels;
    const weft_msg *msg;
};

static bool is_wanted(const weft_msg *msg, void *arg) {
    const struct wanted *wanted = arg;
    if (!weft__is_request(msg)) {
        return false;
    }
    if (wanted->cancels != NULL) {
        return recall(wanted->cancels, msg);
    }
    return msg->weft__from == wanted->msg->weft__from &&
           msg->weft__u.weft__r.weft__ref == wanted->msg->weft__u.weft__r.weft__ref;
}

/* W3 */
static void cancel_held(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *request) {
    request->weft__u.weft__r.weft__value = 0;
    if ((request->weft__flags & WEFT__MSG_ASKED) == 0) {
        return;
    }
    struct weft__calls *calls = &ctx->ext->calls;
    uint32_t next = request->weft__stamp;
    while (next != 0) { /* bounded by the calls made for it */
        uint32_t index = next - 1;
        struct weft__call *call = &calls->records[index];
        next = call->scope_next;
        if (call->target != 0) {
            post_cancel(s, ctx, call->target, weft__calls_reference(calls, index));
            call->target = 0; /* once */
        }
        weft__calls_hurry(calls, index);
    }
}

/* Requests in a list that were not handled yet: they are dropped when their turn comes. */
static void cancel_waiting(struct weft__scheduler *s, uint32_t index, struct wanted *wanted) {
    while (index != 0) { /* bounded by the list */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (is_wanted(msg, wanted)) {
            msg->weft__u.weft__r.weft__value = 0;
        }
        index = msg->weft__next;
    }
}

static void sweep(struct weft__scheduler *s, struct weft_ctx *ctx, struct wanted *wanted) {
    uint32_t index = ctx->held;
    while (index != 0) { /* bounded by what the actor took */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (is_wanted(msg, wanted)) {
            cancel_held(s, ctx, msg);
        }
        index = msg->weft__next;
    }
    if (ctx->ext != NULL) {
        cancel_waiting(s, ctx->ext->stash, wanted);
    }
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0) {
        weft__process_purge_requests(s, ctx, is_wanted, wanted);
    }
    if (wanted->cancels == NULL) {
        cancel_waiting(s, ctx->batch, wanted);
    }
}

void weft__scope_note(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    (void)remember(s, ctx, msg); /* best effort: the deadline holds */
}

void weft__scope_pass_on(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t left) {
    if ((ctx->life & WEFT__LIFE_CANCELS) != 0) {
        struct wanted wanted = {.cancels = &ctx->ext->cancels};
        cancel_waiting(s, left, &wanted);
    }
}

/* Can there be anything to cancel? */
static bool has_any(const struct weft_ctx *ctx) {
    const struct weft__ext *ext = ctx->ext;
    return (ctx->batch | ctx->held) != 0 ||
           (ext != NULL && (ext->stash != 0 || (ext->process != NULL && ext->process->saved != 0)));
}

bool weft__scope_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    if (!has_any(ctx)) {
        return false;
    }
    struct wanted wanted = {.msg = msg};
    if (remember(s, ctx, msg)) {
        wanted.cancels = &ctx->ext->cancels;
        bool more = ctx->batch != 0 &&
                    weft__arena_msg(s->messages, ctx->batch)->weft__kind == WEFT__SIGNAL_CANCEL;
        if (more && ++wanted.cancels->unswept < UNSWEPT_MAX) {
            return false; /* they come together: what the actor holds is looked through once */
        }
        wanted.cancels->unswept = 0;
    }
    sweep(s, ctx, &wanted);
    return ctx->ext != NULL && weft__calls_deadline(&ctx->ext->calls) == 0;
}
