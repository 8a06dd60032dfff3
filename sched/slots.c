/* SPDX-License-Identifier: MIT
 *
 * Slots of actors, and the credits that bound how many live. Slots of a scheduler come from its own
 * free list, first in first out, then from fresh memory; a surplus is shared through the runtime,
 * so that a scheduler that only spawns and one that only buries do not grow the arena for ever.
 * Any thread, with s NULL outside of schedulers.
 */
#include "sched/actor.h"

enum {
    SHARE_BATCH = WEFT__SLOT_SHARE_MAX,
    CREDIT_STEP_MAX = 64,
};

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

void weft__slot_free(struct weft__scheduler *s, struct weft_ctx *slot) {
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

void weft__slot_return(weft_runtime *runtime, struct weft_ctx *slot) {
    weft__lock_enter(&runtime->slots_lock, runtime->core.env);
    weft__mailbox_open(&slot->mailbox, slot->gen, WEFT__MAILBOX_CLOSED);
    slots_append(&runtime->slots, &runtime->free_slots, slot->index);
    leave_shared(runtime);
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
bool weft__credit_take(weft_runtime *runtime, struct weft__scheduler *s) {
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

void weft__credit_give(weft_runtime *runtime, struct weft__scheduler *s) {
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
