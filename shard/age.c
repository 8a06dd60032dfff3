/* SPDX-License-Identifier: MIT
 *
 * Who was used least recently, and limits: for types with idle_ns, active_max or active_bytes_max.
 * Running an actor costs nothing more for it: its slot says when it ran last (active_ns). A heap by
 * age is put right only when somebody looks at its top: an actor that has run since it was placed
 * moves to where it belongs, and one that has not is asked to leave.
 *
 * A type's activations are spread over 64 stripes, each with its own lock and heap; over one when a
 * limit is small. Limits hold for the type; who goes is the oldest of one stripe. An actor that was
 * asked to leave is in no heap until it stays after all; asking costs a message, and the actor
 * itself decides (save.c). While there are too many because nobody can go, the keeper tries again
 * every few milliseconds.
 */
#include "shard/shard.h"
#include <string.h>

enum {
    SMALL_COUNT = 65536,     /* a limit below has one stripe */
    SMALL_BYTES = 256 << 20, /* ... */
    ENFORCE_MAX = 4,         /* asked to leave for one that comes */
    LOOKS_MAX = 128,         /* looked at in one stripe at once */
    HEAP_FIRST = 64,
};

#define ACCOUNT_MAX (UINT64_C(1) << 40)

static struct weft__stripe *stripe_of(const struct weft__kind *kind, uint32_t slot) {
    return &kind->stripes[slot % kind->stripe_count];
}

int weft__ages_init(struct weft__shards *shards, struct weft__kind *kind) {
    const weft_type_def *def = &kind->type->def;
    if (def->idle_ns == WEFT_IDLE_NEVER && def->active_max == 0 && def->active_bytes_max == 0) {
        return 0;
    }
    bool small = (def->active_max != 0 && def->active_max < SMALL_COUNT) ||
                 (def->active_bytes_max != 0 && def->active_bytes_max < SMALL_BYTES);
    uint32_t count = small ? 1 : WEFT__AGE_STRIPES;
    kind->stripes = weft__alloc_aligned(shards->core, count * sizeof(*kind->stripes), "stripes");
    if (kind->stripes == NULL) {
        return -ENOMEM;
    }
    kind->stripe_count = count;
    return 0;
}

/* ---- the heap, under the stripe's lock ------------------------------------------------------- */

static bool is_before(const struct weft__aged *left, const struct weft__aged *right) {
    return left->placed_ns != right->placed_ns ? left->placed_ns < right->placed_ns
                                               : (int32_t)(left->order - right->order) < 0;
}

/* Puts an entry at a place of the heap. */
static void set_at(struct weft__shards *shards, struct weft__stripe *stripe, uint32_t at,
                   struct weft__aged aged) {
    stripe->heap[at] = aged;
    weft__record_at(shards, aged.slot)->heap_at = at;
}

/* Moves the entry at a place to where its age belongs. Bounded: twice the height of the heap. */
static void settle(struct weft__shards *shards, struct weft__stripe *stripe, uint32_t at) {
    struct weft__aged aged = stripe->heap[at];
    while (at > 0 && is_before(&aged, &stripe->heap[(at - 1) / 2])) {
        set_at(shards, stripe, at, stripe->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < stripe->aged_count &&
            is_before(&stripe->heap[child + 1], &stripe->heap[child])) {
            child++;
        }
        if (child >= stripe->aged_count || !is_before(&stripe->heap[child], &aged)) {
            break;
        }
        set_at(shards, stripe, at, stripe->heap[child]);
        at = child;
    }
    set_at(shards, stripe, at, aged);
}

static void heap_add(struct weft__shards *shards, struct weft__stripe *stripe, uint32_t slot,
                     uint64_t at_ns) {
    weft_assert(stripe->aged_count < stripe->aged_capacity); /* there is room for all counted */
    weft_assert((weft__record_at(shards, slot)->age_flags & WEFT__RECORD_AGED) == 0);
    uint32_t at = stripe->aged_count++;
    stripe->heap[at] =
        (struct weft__aged){.slot = slot, .placed_ns = at_ns, .order = stripe->order++};
    weft__record_at(shards, slot)->age_flags |= WEFT__RECORD_AGED;
    settle(shards, stripe, at);
}

static void heap_remove(struct weft__shards *shards, struct weft__stripe *stripe, uint32_t slot) {
    struct weft__record *record = weft__record_at(shards, slot);
    uint32_t at = record->heap_at;
    weft_assert((record->age_flags & WEFT__RECORD_AGED) != 0);
    weft_assert(at < stripe->aged_count);
    weft_assert(stripe->heap[at].slot == slot);
    record->age_flags &= (uint16_t)~WEFT__RECORD_AGED;
    uint32_t last = --stripe->aged_count;
    if (at != last) {
        stripe->heap[at] = stripe->heap[last];
        settle(shards, stripe, at);
    }
}

/* Room for one more. */
int weft__age_reserve(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot) {
    struct weft__stripe *stripe = stripe_of(kind, slot);
    for (;;) { /* once more when another thread took the room meanwhile */
        weft__lock_enter(&stripe->lock, shards->core->env);
        uint32_t capacity = stripe->aged_capacity;
        bool room = stripe->count + stripe->reserved < capacity;
        stripe->reserved += room ? 1 : 0;
        weft__lock_leave(&stripe->lock);
        if (room) {
            return 0;
        }
        uint32_t more = capacity == 0 ? HEAP_FIRST : capacity * 2;
        struct weft__aged *heap = weft__alloc(shards->core, more * sizeof(*heap), "ages");
        if (heap == NULL) {
            return -ENOMEM;
        }
        weft__lock_enter(&stripe->lock, shards->core->env);
        struct weft__aged *old = heap;
        uint32_t old_capacity = more;
        if (stripe->aged_capacity < more) {
            old = stripe->heap;
            old_capacity = stripe->aged_capacity;
            if (stripe->aged_count != 0) {
                memcpy(heap, old, stripe->aged_count * sizeof(*heap));
            }
            stripe->heap = heap;
            stripe->aged_capacity = more;
        }
        weft__lock_leave(&stripe->lock);
        weft__free(shards->core, old, old_capacity * sizeof(*old), "ages");
    }
}

void weft__age_unreserve(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot) {
    struct weft__stripe *stripe = stripe_of(kind, slot);
    weft__lock_enter(&stripe->lock, shards->core->env);
    weft_assert(stripe->reserved != 0);
    stripe->reserved--;
    weft__lock_leave(&stripe->lock);
}

void weft__ages_fini(struct weft__shards *shards, struct weft__kind *kind) {
    for (uint32_t i = 0; i < kind->stripe_count; i++) {
        struct weft__stripe *stripe = &kind->stripes[i];
        weft__free(shards->core, stripe->heap, stripe->aged_capacity * sizeof(*stripe->heap),
                   "ages");
    }
    weft__free_aligned(shards->core, kind->stripes, kind->stripe_count * sizeof(*kind->stripes),
                       "stripes");
}

/* Advisory: limits hold but for what others change meanwhile. */
static uint64_t load(const weft_atomic_u64 *at) {
    return weft_load64_relaxed(at);
}

/* Are there too many, not counting those that leave? */
static bool is_above(const struct weft__kind *kind) {
    const weft_type_def *def = &kind->type->def;
    uint64_t active = load(&kind->active), leaving = load(&kind->leaving);
    uint64_t bytes = load(&kind->bytes);
    if (active <= leaving) {
        return false;
    }
    if (def->active_max != 0 && active - leaving > def->active_max) {
        return true;
    }
    /* What those that leave will free is not known here: a share of all is a good guess. */
    return def->active_bytes_max != 0 && bytes - bytes / active * leaving > def->active_bytes_max;
}

static void add(weft_atomic_u64 *at, uint64_t value) {
    (void)weft_add64_acq_rel(at, value);
}

static uint64_t bytes_of(const struct weft__shards *shards, const struct weft__kind *kind,
                         uint32_t slot) {
    const struct weft__extra *extra = weft__record_at(shards, slot)->extra;
    /* Relaxed, as in weft__age_account: it changes under the lock of the stripe. */
    return kind->type->def.state_size + (extra == NULL ? 0 : weft_load64_relaxed(&extra->account));
}

void weft__age_enter(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot) {
    weft__lock_enter(&stripe_of(kind, slot)->lock, shards->core->env);
}

void weft__age_add(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                   uint64_t now_ns) {
    struct weft__stripe *stripe = stripe_of(kind, slot);
    weft_assert(stripe->reserved != 0);
    stripe->reserved--;
    stripe->count++;
    heap_add(shards, stripe, slot, now_ns);
    add(&kind->active, 1);
    add(&kind->bytes, kind->type->def.state_size); /* weft_account waits for the lock */
    weft__lock_leave(&stripe->lock);
}

void weft__age_remove(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot) {
    struct weft__stripe *stripe = stripe_of(kind, slot);
    struct weft__record *record = weft__record_at(shards, slot);
    weft__lock_enter(&stripe->lock, shards->core->env);
    if ((record->age_flags & WEFT__RECORD_AGED) != 0) {
        heap_remove(shards, stripe, slot);
    }
    if ((record->age_flags & WEFT__RECORD_LEAVING) != 0) {
        add(&kind->leaving, UINT64_MAX);
    }
    weft_assert(stripe->count != 0);
    stripe->count--;
    add(&kind->active, UINT64_MAX);
    add(&kind->bytes, 0 - bytes_of(shards, kind, slot));
    record->age_flags = 0;
    weft__lock_leave(&stripe->lock);
}

bool weft__age_stay(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                    uint64_t now_ns) {
    struct weft__stripe *stripe = stripe_of(kind, slot);
    struct weft__record *record = weft__record_at(shards, slot);
    weft__lock_enter(&stripe->lock, shards->core->env);
    if ((record->age_flags & WEFT__RECORD_AGED) != 0) {
        heap_remove(shards, stripe, slot);
    }
    if ((record->age_flags & WEFT__RECORD_LEAVING) != 0) {
        add(&kind->leaving, UINT64_MAX);
        record->age_flags &= (uint16_t)~WEFT__RECORD_LEAVING;
    }
    heap_add(shards, stripe, slot, now_ns);
    bool above = is_above(kind);
    weft__lock_leave(&stripe->lock);
    return above;
}

void weft__age_account(struct weft__shards *shards, struct weft__kind *kind, uint32_t slot,
                       uint64_t account) {
    struct weft__extra *extra = weft__record_at(shards, slot)->extra; /* exists */
    account = weft_min_u64(account, ACCOUNT_MAX);                     /* sums stay below 2^64 */
    if (kind->stripes == NULL) { /* owner-only; who looks takes what there is */
        weft_store64_relaxed(&extra->account, account);
        return;
    }
    struct weft__stripe *stripe = stripe_of(kind, slot);
    weft__lock_enter(&stripe->lock, shards->core->env);
    add(&kind->bytes, account - weft_load64_relaxed(&extra->account));
    weft_store64_relaxed(&extra->account, account);
    weft__lock_leave(&stripe->lock);
}

/* ---- asking -------------------------------------------------------------------------------- */

int weft__ask_to_leave(weft_runtime *runtime, struct weft__scheduler *s, uint64_t target,
                       int reason) {
    struct weft__draft draft = {.kind = WEFT__SIGNAL_PASSIVATE, .wide = true};
    weft_msg *msg;
    int result = weft__msg_make(runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__from = 0;
    msg->weft__u.weft__r.weft__value = reason;
    result = s != NULL ? weft__post(s, target, msg, false)
                       : weft__post_outside(runtime, target, msg, false);
    if (result != 0) {
        weft__msg_free(runtime, s, msg);
    }
    return result;
}

/* Looks at the oldest. Those that were used since they were placed go where they belong. Returns
 * one that was not used since, out of the heap, as leaving; 0: none is older than limit_ns, or
 * looks are used up. */
static uint64_t take_oldest(struct weft__shards *shards, struct weft__kind *kind,
                            struct weft__stripe *stripe, uint64_t limit_ns, uint32_t *looks) {
    while (stripe->aged_count != 0 && *looks > 0) { /* bounded by looks */
        struct weft__aged *oldest = &stripe->heap[0];
        uint32_t index = oldest->slot;
        struct weft__record *record = weft__record_at(shards, index);
        const struct weft_ctx *slot = weft__slot_at(&shards->runtime->slots, index);
        if (oldest->placed_ns > limit_ns) {
            return 0;
        }
        (*looks)--;
        /* Advisory: who is asked looks itself whether it is idle. */
        uint64_t active_ns = weft_load64_relaxed(&slot->active_ns);
        if (oldest->placed_ns < active_ns) {
            oldest->placed_ns = active_ns;
            oldest->order = stripe->order++;
            settle(shards, stripe, 0);
            continue;
        }
        heap_remove(shards, stripe, index);
        record->age_flags |= WEFT__RECORD_LEAVING;
        add(&kind->leaving, 1);
        /* Relaxed: 0 if it is just about to take itself out of here; then nobody is asked. */
        return (uint64_t)index << 32 | weft_load32_relaxed(&record->gen);
    }
    return 0;
}

/* The one that was taken could not be asked: it is back. */
static void untake(struct weft__shards *shards, struct weft__kind *kind, uint64_t target) {
    uint32_t slot = (uint32_t)(target >> 32);
    struct weft__stripe *stripe = stripe_of(kind, slot);
    struct weft__record *record = weft__record_at(shards, slot);
    weft__lock_enter(&stripe->lock, shards->core->env);
    if (weft_load32_relaxed(&record->gen) == (uint32_t)target &&
        (record->age_flags & WEFT__RECORD_LEAVING) != 0) {
        record->age_flags &= (uint16_t)~WEFT__RECORD_LEAVING;
        add(&kind->leaving, UINT64_MAX);
        heap_add(shards, stripe, slot, weft__now(shards->core));
    }
    weft__lock_leave(&stripe->lock);
}

/* Asks some of a stripe's oldest to leave. True: there are too many still. */
static bool enforce(struct weft__shards *shards, struct weft__scheduler *s, struct weft__kind *kind,
                    struct weft__stripe *stripe) {
    uint32_t looks = LOOKS_MAX;
    for (uint32_t asked = 0;; asked++) { /* bounded by ENFORCE_MAX */
        weft__lock_enter(&stripe->lock, shards->core->env);
        bool above = is_above(kind);
        uint64_t target = above && asked < ENFORCE_MAX
                              ? take_oldest(shards, kind, stripe, UINT64_MAX, &looks)
                              : 0;
        weft__lock_leave(&stripe->lock);
        if (target == 0) {
            return above;
        }
        WEFT__POINT(shards->core, WEFT__POINT_ASK);
        if (weft__ask_to_leave(shards->runtime, s, target, WEFT__LEAVE_UNUSED) == -ENOMEM) {
            untake(shards, kind, target);
            return true;
        }
    }
}

void weft__age_enforce(struct weft__shards *shards, struct weft__scheduler *s,
                       struct weft__kind *kind, uint32_t slot) {
    if (enforce(shards, s, kind, stripe_of(kind, slot))) {
        /* Nobody may go just now: it tries again. */
        weft__keeper_poke(shards, s, weft__shard_now(shards, s) + WEFT__AGAIN_NS);
    }
}

/* One stripe. Returns when its oldest is due, in ns of now; UINT64_MAX: it is empty. */
static uint64_t sweep_stripe(struct weft__shards *shards, struct weft__scheduler *s,
                             struct weft__kind *kind, uint32_t at, bool *ret_more) {
    uint64_t idle_ns = kind->type->def.idle_ns;
    struct weft__stripe *stripe = &kind->stripes[at];
    uint64_t limit_ns = s->now_ns > idle_ns ? s->now_ns - idle_ns : 0;
    uint32_t looks = LOOKS_MAX;
    for (;;) { /* bounded by looks */
        weft__lock_enter(&stripe->lock, shards->core->env);
        uint64_t target = take_oldest(shards, kind, stripe, limit_ns, &looks);
        uint64_t placed_ns = stripe->aged_count == 0 ? UINT64_MAX : stripe->heap[0].placed_ns;
        weft__lock_leave(&stripe->lock);
        WEFT__POINT(shards->core, WEFT__POINT_ASK);
        if (target != 0) {
            if (weft__ask_to_leave(shards->runtime, s, target, WEFT__LEAVE_UNUSED) == -ENOMEM) {
                untake(shards, kind, target);
            }
            continue;
        }
        *ret_more = *ret_more || looks == 0;
        if (placed_ns == UINT64_MAX) {
            return UINT64_MAX;
        }
        uint64_t due_ns = weft_add_saturated(placed_ns, idle_ns);
        return due_ns <= s->now_ns ? 1 : due_ns - s->now_ns;
    }
}

uint64_t weft__age_sweep(struct weft__shards *shards, struct weft__scheduler *s,
                         struct weft__kind *kind, bool *ret_more) {
    uint64_t idle_ns = kind->type->def.idle_ns;
    uint64_t wait_ns = UINT64_MAX;
    for (uint32_t i = 0; i < kind->stripe_count; i++) {
        if (idle_ns != WEFT_IDLE_NEVER) {
            uint64_t due_ns = sweep_stripe(shards, s, kind, i, ret_more);
            wait_ns = weft_min_u64(wait_ns, weft_max_u64(due_ns, WEFT__LOOK_NS));
        }
        if (enforce(shards, s, kind, &kind->stripes[i])) {
            wait_ns = weft_min_u64(wait_ns, WEFT__AGAIN_NS);
        }
    }
    return wait_ns;
}
