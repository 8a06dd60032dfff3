/* SPDX-License-Identifier: MIT
 *
 * Birth of actors: a slot is filled, tied to its parent, its mailbox opens. By weft_spawn on a
 * scheduler, by weft_runtime_spawn on any thread, in two steps by the layer of virtual actors.
 */
#include "core/probe.h"
#include "sched/bonds.h"
#include "sched/process.h"
#include "sched/tracing.h"
#include <string.h>

enum { SPAWN_FLAGS = WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR | WEFT_SPAWN_REPORT };

/* Is there nothing to run before the first message? */
WEFT_INLINE bool has_no_start(const struct weft__birth *birth) {
    return birth->virtual || (birth->type->def.init == NULL && birth->attachment == NULL &&
                              birth->type->def.process == NULL && birth->ties == NULL);
}

/* The message that carries the init argument, or 0 when there is nothing to run. */
static int make_start(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__birth *birth, uint32_t *ret_low) {
    if (has_no_start(birth)) {
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
    if (weft_likely(birth->attachment == NULL && birth->ties == NULL)) {
        return 0;
    }
    slot->ext = weft__ext_make(&runtime->core);
    if (slot->ext == NULL) {
        return -ENOMEM;
    }
    slot->ext->attachment = birth->attachment;
    weft__memory_show(runtime, slot);
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
        slot->life = has_no_start(birth) ? WEFT__LIFE_INITED : 0;
    }
    slot->held = 0;
    slot->waiters = 0;
    weft_store32_relaxed(&slot->bound, type->bound);
    uint32_t traits = birth->rank == 0
                          ? type->traits
                          : (type->traits & ~(uint32_t)WEFT__TRAITS_RANKED) | birth->rank;
    weft_store32_relaxed(&slot->traits, traits | (birth->pin ? WEFT__TRAIT_PINNED : 0) |
                                            (birth->virtual ? WEFT__TRAIT_VIRTUAL : 0));
    weft_store32_relaxed(&slot->scheduler, scheduler);
    weft_store32_relaxed(&slot->type_id, type->id);
    weft_store64_relaxed(&slot->handled, 0);
    weft_store32_relaxed(&slot->mailbox.sent, 0);
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
        weft__slot_return(runtime, slot);
        return result;
    }
    fill_slot(slot, birth, scheduler);
    *ret_slot = slot;
    return 0;
}

/* A filled slot that will not be opened. */
static void unmake_slot(weft_runtime *runtime, struct weft_ctx *slot) {
    if (slot->ext != NULL) {
        weft__memory_gone(runtime, slot);
    }
    weft__ext_free(&runtime->core, slot->ext);
    if (!slot->type->small) {
        weft__free(&runtime->core, slot->state, slot->type->def.state_size, "state");
    }
    weft__slot_return(runtime, slot);
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
    if (weft_unlikely(birth->ties != NULL)) {
        result = weft__bonds_birth(s, s->current, slot, birth->ties);
        if (result != 0) {
            unmake_slot(runtime, slot);
            drop_start(runtime, s, low);
            return result;
        }
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
    const weft_type *type = birth->type;
    if (weft_unlikely(type->def.process != NULL) &&
        weft__stacks_are_spent(runtime, type->def.stack_bytes)) {
        return WEFT_E_LIMIT;
    }
    if (weft_unlikely(!weft__credit_take(runtime, s))) {
        return WEFT_E_LIMIT;
    }
    int result = spawn(runtime, s, birth, ret_pid);
    if (weft_unlikely(result != 0)) {
        weft__credit_give(runtime, s);
    }
    return result;
}

int weft__birth_begin(weft_runtime *runtime, struct weft__scheduler *s,
                      const struct weft__birth *birth, struct weft_ctx **ret_slot) {
    weft_assert(birth->virtual);
    if (weft_unlikely(weft__phase(runtime) >= WEFT__RUNTIME_STOPPING)) {
        return WEFT_E_SHUTDOWN;
    }
    if (weft_unlikely(!birth->has_credit && !weft__credit_take(runtime, s))) {
        return WEFT_E_LIMIT;
    }
    int result = make_slot(runtime, s, birth, ret_slot);
    if (weft_unlikely(result != 0) && !birth->has_credit) {
        weft__credit_give(runtime, s);
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
    unmake_slot(runtime, slot);
    if (!has_credit) {
        weft__credit_give(runtime, s);
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
        (options->arg == NULL && options->arg_size != 0) || options->priority > WEFT_PRIORITY_LOW) {
        return -EINVAL;
    }
    birth->arg = options->arg;
    birth->arg_size = options->arg_size;
    birth->scheduler = (int)options->scheduler - 1;
    birth->pin = options->pin;
    birth->rank = weft__rank_traits(runtime, options->priority);
    if ((options->flags & ~(uint32_t)SPAWN_FLAGS) != 0) {
        return -EINVAL;
    }
    birth->ties = options->flags == 0 ? NULL : options;
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
    if (result == 0 && birth.ties != NULL) {
        result = -EINVAL; /* there is no parent */
    }
    return result != 0 ? result : weft__spawn_outside(runtime, &birth, ret_pid);
}
