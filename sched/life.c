/* SPDX-License-Identifier: MIT
 *
 * Birth and death of actors: slots, spawn, exit, cleanups. Slots of a scheduler come from its own
 * free list, first in first out, then from fresh memory; a surplus is shared through the runtime,
 * so that a scheduler that only spawns and one that only buries do not grow the arena for ever.
 */
#include "core/probe.h"
#include "sched/actor.h"
#include <string.h>

enum { SHARE_BATCH = WEFT__SLOT_SHARE_MAX, CREDIT_STEP_MAX = 64 };

/* ---- slots --------------------------------------------------------------------------------- */

static void slots_append(struct weft__arena *arena, struct weft__slots *list, uint32_t index) {
    weft_store32_relaxed(&weft__slot_at(arena, index)->link, 0);
    if (list->count++ == 0) {
        list->first = index;
    } else {
        weft_store32_relaxed(&weft__slot_at(arena, list->last)->link, index);
    }
    list->last = index;
}

static uint32_t slots_take(struct weft__arena *arena, struct weft__slots *list) {
    uint32_t index = list->first;
    if (index != 0) {
        list->first = weft_load32_relaxed(&weft__slot_at(arena, index)->link);
        list->count--;
    }
    return index;
}

/* Moves up to count slots from one list to the end of another. Both under their locks. */
static void slots_move(struct weft__arena *arena, struct weft__slots *from, struct weft__slots *to,
                       uint32_t count) {
    while (count-- > 0 && from->count > 0) {
        slots_append(arena, to, slots_take(arena, from));
    }
}

/* Leaves slots_lock, with the length shown to those who look without it. */
static void leave_shared(weft_runtime *runtime) {
    weft_store32_relaxed(&runtime->free_shown, runtime->free_slots.count);
    weft__lock_leave(&runtime->slots_lock);
}

/* One shared slot for a thread outside, or a batch of them for a scheduler. 0: none. */
static uint32_t take_shared(weft_runtime *runtime, struct weft__scheduler *s) {
    weft__lock_enter(&runtime->slots_lock, runtime->core.env);
    if (s != NULL) {
        slots_move(&runtime->slots, &runtime->free_slots, &s->free_slots, SHARE_BATCH);
    }
    uint32_t index = slots_take(&runtime->slots, s != NULL ? &s->free_slots : &runtime->free_slots);
    leave_shared(runtime);
    return index;
}

static uint32_t bump_slot(struct weft__scheduler *s) {
    if (s->slot_bump == s->slot_bump_end) {
        uint64_t offset;
        if (weft__arena_grow(s->slots, &s->core->allocator, s->slot_pieces != 0, &offset) != 0) {
            return 0;
        }
        s->slot_pieces++;
        s->slot_bump = offset == 0 ? sizeof(struct weft_ctx) : offset; /* index 0 is nobody */
        s->slot_bump_end = offset + WEFT__SLOT_PIECE_BYTES;
    }
    uint32_t index = (uint32_t)(s->slot_bump / sizeof(struct weft_ctx));
    s->slot_bump += sizeof(struct weft_ctx);
    return index;
}

/* A whole piece for those outside, entered into the shared list under the lock. */
static uint32_t grow_shared(weft_runtime *runtime) {
    uint64_t offset;
    if (weft__arena_grow(&runtime->slots, &runtime->core.allocator, false, &offset) != 0) {
        return 0;
    }
    uint32_t first = (uint32_t)(offset / sizeof(struct weft_ctx));
    uint32_t end = (uint32_t)((offset + WEFT__SLOT_PIECE_BYTES) / sizeof(struct weft_ctx));
    weft__lock_enter(&runtime->slots_lock, runtime->core.env);
    for (uint32_t index = first == 0 ? 1 : first; index < end; index++) {
        slots_append(&runtime->slots, &runtime->free_slots, index);
    }
    uint32_t index = slots_take(&runtime->slots, &runtime->free_slots);
    leave_shared(runtime);
    return index;
}

int weft__slot_alloc(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx **ret_slot) {
    uint32_t index = 0;
    if (s != NULL && s->free_slots.count > WEFT__SLOT_FIFO_MIN) {
        index = slots_take(s->slots, &s->free_slots);
        weft_prefetch_write(weft__slot_at(s->slots, s->free_slots.first));
    }
    if (index == 0 && (s == NULL || weft_load32_relaxed(&runtime->free_shown) != 0)) {
        index = take_shared(runtime, s);
    }
    if (index == 0) {
        index = s != NULL ? bump_slot(s) : grow_shared(runtime);
    }
    if (index == 0 && s != NULL) {
        index = slots_take(s->slots, &s->free_slots); /* the arena is full: also the rested ones */
    }
    if (index == 0) {
        return weft_load64_relaxed(&runtime->slots.used) + WEFT__SLOT_PIECE_BYTES >
                       runtime->slots.bytes
                   ? WEFT_E_LIMIT
                   : -ENOMEM;
    }
    struct weft_ctx *slot = weft__slot_at(&runtime->slots, index);
    slot->index = index;
    slot->gen = (uint32_t)(weft_load64_relaxed(&slot->mailbox.word) >> 32);
    if (slot->gen == 0) {
        slot->gen = 1; /* first tenant ever; 0 is nobody's generation */
    }
    *ret_slot = slot;
    return 0;
}

static void slot_free(struct weft__scheduler *s, struct weft_ctx *slot) {
    if (slot->gen == UINT32_MAX) {
        (void)weft_add64_acq_rel(&s->runtime->retired, 1); /* never let again */
        return;
    }
    slots_append(s->slots, &s->free_slots, slot->index);
    if (weft_unlikely(s->free_slots.count > 2 * WEFT__SLOT_SHARE_MAX)) {
        weft__lock_enter(&s->runtime->slots_lock, s->core->env);
        slots_move(s->slots, &s->free_slots, &s->runtime->free_slots, SHARE_BATCH);
        leave_shared(s->runtime);
    }
}

/* ---- credits ------------------------------------------------------------------------------- */

/* How many credits move between a scheduler and the runtime at once. */
static uint32_t credit_step(const weft_runtime *runtime) {
    uint64_t step = runtime->config.actors_max / (8 * (uint64_t)runtime->count);
    return step == 0 ? 1 : step < CREDIT_STEP_MAX ? (uint32_t)step : CREDIT_STEP_MAX;
}

/* Takes up to count of the runtime's credits. Any thread. */
static uint32_t take_credits(weft_runtime *runtime, uint32_t count) {
    uint64_t left = weft_load64_relaxed(&runtime->credits);
    uint64_t taken;
    do {
        taken = weft_min_u64(left, count);
    } while (taken != 0 && !weft_cas64_acq_rel(&runtime->credits, &left, left - taken));
    return (uint32_t)taken;
}

/* One actor more; false: actors_max live, but for what other schedulers have in hand. */
static bool take_credit(weft_runtime *runtime, struct weft__scheduler *s) {
    if (s == NULL) {
        return take_credits(runtime, 1) != 0;
    }
    if (weft_unlikely(s->credits == 0)) {
        s->credits = take_credits(runtime, credit_step(runtime));
        if (s->credits == 0) {
            return false;
        }
    }
    s->credits--;
    return true;
}

static void give_credit(weft_runtime *runtime, struct weft__scheduler *s) {
    if (s == NULL) {
        (void)weft_add64_acq_rel(&runtime->credits, 1);
        return;
    }
    uint32_t step = credit_step(runtime);
    if (weft_unlikely(++s->credits > 2 * step)) {
        s->credits -= step;
        (void)weft_add64_acq_rel(&runtime->credits, step);
    }
}

/* ---- spawn --------------------------------------------------------------------------------- */

/* The message that carries the init argument, or 0 when there is nothing to run. */
static int make_start(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__birth *birth, uint32_t *ret_low) {
    if ((birth->type->def.init == NULL && birth->attachment == NULL) || birth->virtual) {
        *ret_low = WEFT__MAILBOX_IDLE;
        return 0;
    }
    struct weft__draft draft = {
        .data = birth->arg, .size = birth->arg_size, .kind = WEFT__SIGNAL_START};
    weft_msg *msg;
    int result = weft__msg_make(runtime, s, &draft, &msg);
    if (result == 0) {
        msg->weft__next = 0;
        *ret_low = weft__arena_index(&runtime->core.messages, msg);
    }
    return result;
}

static int make_state(weft_runtime *runtime, struct weft_ctx *slot, const weft_type *type) {
    if (weft_likely(type->small)) {
        slot->state = slot->small_state;
        memset(slot->small_state, 0, sizeof(slot->small_state));
        return 0;
    }
    slot->state = weft__alloc(&runtime->core, type->def.state_size, "state");
    return slot->state == NULL ? -ENOMEM : 0;
}

/* An attachment hangs off ext, which other actors get on first use. */
static int make_ext(weft_runtime *runtime, struct weft_ctx *slot, const struct weft__birth *birth) {
    slot->ext = NULL;
    if (weft_likely(birth->attachment == NULL)) {
        return 0;
    }
    slot->ext = weft__alloc(&runtime->core, sizeof(*slot->ext), "ext");
    if (slot->ext == NULL) {
        return -ENOMEM;
    }
    slot->ext->attachment = birth->attachment;
    return 0;
}

/* State and ext, or neither. */
static int make_parts(weft_runtime *runtime, struct weft_ctx *slot,
                      const struct weft__birth *birth) {
    int result = make_state(runtime, slot, birth->type);
    if (weft_likely(result == 0)) {
        result = make_ext(runtime, slot, birth);
        if (weft_unlikely(result != 0) && !birth->type->small) {
            weft__free(&runtime->core, slot->state, birth->type->def.state_size, "state");
        }
    }
    return result;
}

static void drop_start(weft_runtime *runtime, struct weft__scheduler *s, uint32_t low) {
    if (low != WEFT__MAILBOX_IDLE) {
        weft__msg_free(runtime, s, weft__arena_msg(&runtime->core.messages, low));
    }
}

static void fill_slot(struct weft_ctx *slot, const struct weft__birth *birth, uint32_t scheduler) {
    const weft_type *type = birth->type;
    slot->type = type;
    slot->runner = NULL;
    slot->batch = 0;
    slot->anchor = 0;
    slot->reason = 0;
    if (birth->virtual) {
        bool plain = type->def.init == NULL && type->def.store == NULL;
        slot->life = plain ? WEFT__LIFE_INITED : WEFT__LIFE_FRESH;
    } else {
        slot->life = type->def.init == NULL && birth->attachment == NULL ? WEFT__LIFE_INITED : 0;
    }
    slot->held = 0;
    slot->waiters = 0;
    weft_store32_relaxed(&slot->bound, type->bound);
    weft_store32_relaxed(&slot->traits, type->traits | (birth->pin ? WEFT__TRAIT_PINNED : 0) |
                                            (birth->virtual ? WEFT__TRAIT_VIRTUAL : 0));
    weft_store32_relaxed(&slot->scheduler, scheduler);
    weft_store32_relaxed(&slot->type_id, type->id);
    weft_store64_relaxed(&slot->handled, 0);
    weft_store64_relaxed(&slot->parent, birth->parent);
    weft_store64_relaxed(&slot->active_ns, 0);
}

/* Queues a new actor where it shall start. */
static void start_slot(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx *slot,
                       const struct weft__birth *birth) {
    if (s == NULL || (birth->scheduler >= 0 && (uint32_t)birth->scheduler != s->id)) {
        weft__schedule_outside(runtime, slot);
    } else {
        weft__schedule(s, slot);
    }
}

/* A slot that was never opened is free again. */
static void return_slot(weft_runtime *runtime, struct weft_ctx *slot) {
    weft__lock_enter(&runtime->slots_lock, runtime->core.env);
    weft__mailbox_open(&slot->mailbox, slot->gen, WEFT__MAILBOX_CLOSED);
    slots_append(&runtime->slots, &runtime->free_slots, slot->index);
    leave_shared(runtime);
}

/* A slot with all its parts, filled, its mailbox closed. */
WEFT_INLINE int make_slot(weft_runtime *runtime, struct weft__scheduler *s,
                          const struct weft__birth *birth, struct weft_ctx **ret_slot) {
    uint32_t scheduler = birth->scheduler >= 0 ? (uint32_t)birth->scheduler
                         : s != NULL
                             ? s->id
                             : weft_add32_acq_rel(&runtime->round_robin, 1) % runtime->count;
    struct weft_ctx *slot;
    int result = weft__slot_alloc(runtime, s, &slot);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    result = make_parts(runtime, slot, birth);
    if (weft_unlikely(result != 0)) {
        return_slot(runtime, slot);
        return result;
    }
    fill_slot(slot, birth, scheduler);
    *ret_slot = slot;
    return 0;
}

static int spawn(weft_runtime *runtime, struct weft__scheduler *s, const struct weft__birth *birth,
                 weft_pid *ret_pid) {
    uint32_t low;
    int result = make_start(runtime, s, birth, &low);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    struct weft_ctx *slot;
    result = make_slot(runtime, s, birth, &slot);
    if (weft_unlikely(result != 0)) {
        drop_start(runtime, s, low);
        return result;
    }
    *ret_pid = (weft_pid){.node = runtime->node, .slot = slot->index, .gen = slot->gen};
    WEFT__COUNT(runtime, s, spawns, 1);
    WEFT_PROBE3(actor_spawn, slot->index, slot->gen, birth->type->name);
    if (low != WEFT__MAILBOX_IDLE) {
        weft_store32_relaxed(weft__msg_seq(weft__arena_msg(&runtime->core.messages, low)),
                             weft_load32_relaxed(&slot->mailbox.consumed) + 1);
    }
    weft__mailbox_open(&slot->mailbox, slot->gen, low);
    if (s != NULL) {
        weft__trace(s, WEFT__TRACE_SPAWN, slot->index, slot->gen);
        WEFT__POINT(s->core, WEFT__POINT_SPAWN);
    }
    if (low != WEFT__MAILBOX_IDLE) {
        start_slot(runtime, s, slot, birth);
    }
    return 0;
}

int weft__spawn(weft_runtime *runtime, struct weft__scheduler *s, const struct weft__birth *birth,
                weft_pid *ret_pid) {
    if (weft_unlikely(weft__phase(runtime) >= WEFT__RUNTIME_STOPPING)) {
        return WEFT_E_SHUTDOWN;
    }
    if (weft_unlikely(!take_credit(runtime, s))) {
        return WEFT_E_LIMIT;
    }
    int result = spawn(runtime, s, birth, ret_pid);
    if (weft_unlikely(result != 0)) {
        give_credit(runtime, s);
    }
    return result;
}

int weft__birth_begin(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__birth *birth, struct weft_ctx **ret_slot) {
    weft_assert(birth->virtual);
    if (weft_unlikely(weft__phase(runtime) >= WEFT__RUNTIME_STOPPING)) {
        return WEFT_E_SHUTDOWN;
    }
    if (weft_unlikely(!birth->has_credit && !take_credit(runtime, s))) {
        return WEFT_E_LIMIT;
    }
    int result = make_slot(runtime, s, birth, ret_slot);
    if (weft_unlikely(result != 0) && !birth->has_credit) {
        give_credit(runtime, s);
    }
    return result;
}

void weft__birth_open(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx *slot,
                      bool idle) {
    WEFT__COUNT(runtime, s, spawns, 1);
    WEFT_PROBE3(actor_spawn, slot->index, slot->gen, slot->type->name);
    if (s != NULL) {
        weft__trace(s, WEFT__TRACE_SPAWN, slot->index, slot->gen);
    }
    weft__mailbox_open(&slot->mailbox, slot->gen, idle ? WEFT__MAILBOX_IDLE : WEFT__MAILBOX_ACTIVE);
}

void weft__birth_undo(weft_runtime *runtime, struct weft__scheduler *s, struct weft_ctx *slot,
                      bool has_credit) {
    if (!slot->type->small) {
        weft__free(&runtime->core, slot->state, slot->type->def.state_size, "state");
    }
    return_slot(runtime, slot);
    if (!has_credit) {
        give_credit(runtime, s);
    }
}

static int birth_of(weft_runtime *runtime, const weft_type *type, const weft_spawn_options *options,
                    struct weft__birth *birth) {
    if (type == NULL || type->runtime != runtime) {
        return -EINVAL;
    }
    *birth = (struct weft__birth){.type = type, .scheduler = -1};
    if (options == NULL) {
        return 0;
    }
    if (options->struct_size != sizeof(*options) || options->scheduler > runtime->count ||
        (options->arg == NULL && options->arg_size != 0)) {
        return -EINVAL;
    }
    birth->arg = options->arg;
    birth->arg_size = options->arg_size;
    birth->scheduler = (int)options->scheduler - 1;
    birth->pin = options->pin;
    return 0;
}

int weft_spawn_with(weft_ctx *ctx, const weft_type *type, const weft_spawn_options *options,
                    weft_pid *ret_pid) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__birth birth;
    int result = ret_pid == NULL ? -EINVAL : birth_of(s->runtime, type, options, &birth);
    if (result != 0) {
        return result;
    }
    birth.parent = weft__from(ctx);
    return weft__spawn(s->runtime, s, &birth, ret_pid);
}

int weft_spawn(weft_ctx *ctx, const weft_type *type, const void *arg, size_t arg_size,
               weft_pid *ret_pid) {
    struct weft__scheduler *s = ctx->runner;
    if (weft_unlikely(type == NULL || ret_pid == NULL || type->runtime != s->runtime ||
                      (arg == NULL && arg_size != 0))) {
        return -EINVAL;
    }
    struct weft__birth birth = {
        .type = type, .arg = arg, .arg_size = arg_size, .parent = weft__from(ctx), .scheduler = -1};
    return weft__spawn(s->runtime, s, &birth, ret_pid);
}

void weft__outside_enter(weft_runtime *runtime) {
    /* V2: counted before the phase is looked at; the stopper sets the phase, then looks here. */
    (void)weft_add32_acq_rel(&runtime->outside_busy, 1);
    weft_fence_full();
}

void weft__outside_leave(weft_runtime *runtime) {
    (void)weft_add32_acq_rel(&runtime->outside_busy, UINT32_MAX);
}

int weft__spawn_outside(weft_runtime *runtime, const struct weft__birth *birth, weft_pid *ret_pid) {
    weft__outside_enter(runtime);
    int result = weft__spawn(runtime, NULL, birth, ret_pid);
    weft__outside_leave(runtime);
    return result;
}

int weft_runtime_spawn(weft_runtime *runtime, const weft_type *type,
                       const weft_spawn_options *options, weft_pid *ret_pid) {
    struct weft__birth birth;
    if (runtime == NULL || ret_pid == NULL) {
        return -EINVAL;
    }
    int result = birth_of(runtime, type, options, &birth);
    if (result != 0) {
        return result;
    }
    return weft__spawn_outside(runtime, &birth, ret_pid);
}

/* ---- exit ---------------------------------------------------------------------------------- */

void weft_exit(weft_ctx *ctx, int reason) {
    reason = reason > 0 ? -EINVAL : reason;
    if ((ctx->life & WEFT__LIFE_HOLD) != 0 && reason == 0) {
        return; /* it ends when the store has answered: weft_forget */
    }
    if ((ctx->life & WEFT__LIFE_EXITING) == 0) {
        ctx->life |= WEFT__LIFE_EXITING;
        ctx->reason = reason;
    }
}

static int send_stop(weft_ctx *ctx, weft_pid target, uint8_t kind, int reason) {
    struct weft__scheduler *s = ctx->runner;
    if (target.node != s->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    if (weft__is_port(s->slots, target)) {
        return WEFT_E_NOPROC;
    }
    struct weft__draft draft = {.kind = kind, .wide = true};
    weft_msg *msg;
    int result = weft__msg_make(s->runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__u.weft__r.weft__value = reason;
    msg->weft__from = weft__from(ctx);
    result = weft__post(s, weft__target(target), msg, false);
    if (result != 0) {
        weft__msg_free(s->runtime, s, msg);
    }
    return result;
}

int weft_stop(weft_ctx *ctx, weft_pid target, int reason) {
    if (reason > 0) {
        return -EINVAL;
    }
    return send_stop(ctx, target, WEFT__SIGNAL_STOP, reason);
}

int weft_kill(weft_ctx *ctx, weft_pid target) {
    return send_stop(ctx, target, WEFT__SIGNAL_KILL, WEFT_E_KILLED);
}

int weft_defer(weft_ctx *ctx, weft_cleanup_fn fn, void *arg) {
    if (fn == NULL) {
        return -EINVAL;
    }
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    if (ext->cleanup_count == ext->cleanup_capacity) {
        uint32_t old = ext->cleanup_capacity;
        uint32_t capacity = old == 0 ? 4 : old * 2;
        void *cleanups = ext->cleanups;
        int result = weft__grow(ctx->runner->core, &cleanups, old * sizeof(*ext->cleanups),
                                capacity * sizeof(*ext->cleanups), "cleanups");
        if (result != 0) {
            return result;
        }
        ext->cleanups = cleanups;
        ext->cleanup_capacity = capacity;
    }
    ext->cleanups[ext->cleanup_count++] = (struct weft__cleanup){.fn = fn, .arg = arg};
    return 0;
}

/* What those are told who wait for an actor that has ended. A virtual actor is not gone for ever:
 * its callers learn why this activation is. */
static int end_status(const struct weft_ctx *ctx) {
    if ((weft_load32_relaxed(&ctx->traits) & WEFT__TRAIT_VIRTUAL) == 0) {
        return WEFT_E_NOPROC;
    }
    if (ctx->reason == 0) {
        return WEFT_E_NOREPLY; /* what it held; the rest goes on to the next activation */
    }
    bool began = (ctx->life & WEFT__LIFE_INITED) != 0 || ctx->reason == WEFT_E_KILLED;
    bool crashed = ctx->reason != WEFT_E_SHUTDOWN && ctx->reason != WEFT_E_REBALANCING;
    return began && crashed ? WEFT_E_CRASHED : ctx->reason;
}

/* One message the actor will not handle: an undelivered user message is a dead letter, a request
 * is answered, the rest was for the runtime. */
static void bury(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    switch (msg->weft__kind) {
    case WEFT_MSG_REQUEST:
        if ((msg->weft__flags & WEFT__MSG_TRIED) == 0) { /* else it counts as handled */
            weft_counter_add(&s->counters.messages_dead, 1);
        }
        msg->weft__flags &= (uint8_t)~WEFT__MSG_TRIED;
        weft__answer(s, ctx, msg, end_status(ctx));
        return;
    case WEFT_MSG_REPLY:
        weft_counter_add(&s->counters.replies_late, 1);
        weft__msg_free(s->runtime, s, msg);
        return;
    case WEFT_MSG_USER:
        weft__dead_letter(s->runtime, s, msg, WEFT_E_NOPROC);
        return;
    case WEFT__SIGNAL_WANT_READY:
        msg->weft__next = ctx->waiters;
        ctx->waiters = weft__arena_index(s->messages, msg);
        return; /* flushed at the end */
    default:
        weft__msg_free(s->runtime, s, msg);
        return;
    }
}

static void bury_list(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t index) {
    while (index != 0) { /* bounded by the mailbox's length */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        index = msg->weft__next;
        bury(s, ctx, msg);
    }
}

/* Closes the mailbox and takes everything out of it. Returns what is to bury, oldest first. */
static uint32_t close_mailbox(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t anchor = ctx->anchor;
    bool anchor_waits = false; /* not handled yet: then it is in the batch */
#ifdef WEFT_PLANT_CLOSE_LOSS
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, anchor);
    WEFT__POINT(s->core, WEFT__POINT_CLOSE);
    (void)weft__mailbox_close(&ctx->mailbox, ctx->gen, anchor);
#else
    WEFT__POINT(s->core, WEFT__POINT_CLOSE);
    uint32_t newest = weft__mailbox_close(&ctx->mailbox, ctx->gen, anchor);
#endif
    struct weft__batch batch = {0};
    if (newest != 0) {
        batch = weft__mailbox_reverse(s->messages, newest, anchor);
    }
    ctx->anchor = 0; /* no word refers to it any more */
    ctx->life |= WEFT__LIFE_CLOSED;
    uint32_t *link = &ctx->batch;
    while (*link != 0) { /* bounded by the batch */
        anchor_waits = anchor_waits || *link == anchor;
        link = &weft__arena_msg(s->messages, *link)->weft__next;
    }
    *link = batch.first;
    if (anchor != 0 && !anchor_waits) {
        weft__pool_free(&s->pool, weft__arena_msg(s->messages, anchor));
    }
    return ctx->batch;
}

static void log_crash(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    char pid[WEFT_PID_TEXT_BYTES] = "";
    (void)weft_pid_format(weft_self(ctx), pid, sizeof(pid)); /* fits */
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = ctx->type->name},
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = pid},
        {.key = "reason", .kind = WEFT_LOG_I64, .i64 = ctx->reason},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(ctx->reason)},
    };
    weft__log(s->core, WEFT_LOG_WARN, "actor.crash", fields, 4);
}

static void free_ext(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    if (ext == NULL) {
        return;
    }
    while (ext->cleanup_count > 0) { /* a cleanup may not defer: there is no context for it */
        struct weft__cleanup cleanup = ext->cleanups[--ext->cleanup_count];
        cleanup.fn(cleanup.arg);
    }
    bury_list(s, ctx, ext->stash);
    weft__chain_unblock(s, ctx);
    weft__timers_fini(s, ctx);
    weft__calls_fini(&ext->calls, s->core);
    weft__free(s->core, ext->cleanups, ext->cleanup_capacity * sizeof(*ext->cleanups), "cleanups");
    weft__free(s->core, ext->busy, ext->busy_capacity * sizeof(*ext->busy), "busy");
    weft__free(s->core, ext, sizeof(*ext), "ext");
    ctx->ext = NULL;
}

/* Is what is left for the next activation? When it stops by itself, and when its state has been
 * replaced by a newer one. */
static bool has_heir(const struct weft_ctx *ctx) {
    uint32_t served = ctx->life & (WEFT__LIFE_INITED | WEFT__LIFE_BARREN);
    return (weft_load32_relaxed(&ctx->traits) & WEFT__TRAIT_VIRTUAL) != 0 &&
           served == WEFT__LIFE_INITED &&
           (ctx->reason == 0 || (ctx->life & WEFT__LIFE_REPLACED) != 0);
}

/* A virtual actor with an heir: what is left goes on to it; what was held back is older. Signals
 * were for this one. */
static uint32_t keep_left(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t left) {
    struct weft__ext *ext = ctx->ext;
    if (ext != NULL && ext->stash != 0) {
        weft__arena_msg(s->messages, ext->stash_last)->weft__next = left;
        left = ext->stash;
        ext->stash = 0;
        ext->stash_count = 0;
    }
    uint32_t kept = 0;
    uint32_t *link = &kept;
    while (left != 0) { /* bounded by the mailbox's length */
        weft_msg *msg = weft__arena_msg(s->messages, left);
        uint32_t index = left;
        left = msg->weft__next;
        if (msg->weft__kind == WEFT_MSG_USER || weft__is_request(msg)) {
            *link = index;
            msg->weft__next = 0;
            link = &msg->weft__next;
        } else {
            bury(s, ctx, msg);
        }
    }
    return kept;
}

void weft__end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    int reason = ctx->reason;
    uint32_t left = close_mailbox(s, ctx);
    bool virtual = (weft_load32_relaxed(&ctx->traits) & WEFT__TRAIT_VIRTUAL) != 0;
    ctx->batch = 0;
    if ((ctx->life & (WEFT__LIFE_INITED | WEFT__LIFE_KILLED)) == WEFT__LIFE_INITED &&
        ctx->type->def.terminate != NULL) {
        WEFT__POINT(s->core, WEFT__POINT_HANDLER);
        ctx->type->def.terminate(ctx, ctx->state, reason);
    }
    if (weft_unlikely(ctx->ext != NULL && ctx->ext->attachment != NULL)) {
        ctx->ext->attachment->calls->end(ctx->ext->attachment, s, reason);
        ctx->ext->attachment = NULL;
    }
    if (weft_unlikely(virtual) && has_heir(ctx)) {
        left = keep_left(s, ctx, left);
    } else {
        bury_list(s, ctx, left);
        left = 0;
    }
    while (ctx->held != 0) { /* bounded by what the actor took */
        weft_msg *msg = weft__arena_msg(s->messages, ctx->held);
        weft_msg *again = msg;
        if (weft__is_request(msg)) {
            (void)weft_reply_error(ctx, &again, end_status(ctx));
        } else {
            weft_msg_release(ctx, &again);
        }
    }
    free_ext(s, ctx);
    weft__waiters_flush(s, ctx);
    if (!ctx->type->small) {
        weft__free(s->core, ctx->state, ctx->type->def.state_size, "state");
    }
    if (weft_unlikely(virtual)) {
        s->runtime->virtuals->end(s, ctx, left); /* may make the next one: before the exit counts */
    }
    /* Published: who has counted this exit sees every birth before it (runtime.c, living). */
    weft_store64_release(&s->counters.exits, weft_load64_relaxed(&s->counters.exits) + 1);
    if (weft_unlikely(reason != 0 && reason != WEFT_E_SHUTDOWN && reason != WEFT_E_KILLED &&
                      reason != WEFT_E_REBALANCING)) {
        weft_counter_add(&s->counters.crashes, 1);
        log_crash(s, ctx);
    }
    weft__trace(s, WEFT__TRACE_EXIT, ctx->index, ctx->gen);
    WEFT_PROBE3(actor_exit, ctx->index, ctx->gen, reason);
    if ((ctx->life & WEFT__LIFE_CREDIT_GONE) == 0) {
        give_credit(s->runtime, s);
    }
    slot_free(s, ctx);
}
