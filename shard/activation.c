/* SPDX-License-Identifier: MIT
 *
 * How an actor of an address begins and how it ends: see shard.h, I3 and I4. Everything that can
 * fail or take time is done before the token is taken; there an address gets its entry, loses it,
 * or gets another one. What turns out under the token to be lacking is got without it, then it is
 * tried again. Any thread begins an actor; it ends on the scheduler that runs it.
 */
#include "shard/shard.h"
#include <string.h>

enum { ENTER_MAX = 16 }; /* rounds; each but the first has got something that was lacking */

/* ---- extra --------------------------------------------------------------------------------- */

void weft__extra_drop_arg(struct weft__shards *shards, struct weft__extra *extra) {
    if (extra->memory != NULL) {
        weft__memory_free(shards, extra->memory);
    } else {
        weft__free(shards->core, extra->arg, extra->arg_size, "init_arg");
    }
    extra->memory = NULL;
    extra->arg = NULL;
    extra->arg_size = 0;
}

static void extra_free(struct weft__shards *shards, struct weft__extra *extra) {
    if (extra != NULL) {
        weft__extra_drop_arg(shards, extra);
        weft__free(shards->core, extra, sizeof(*extra), "extra");
    }
}

static int extra_make(struct weft__shards *shards, const void *arg, uint32_t arg_size,
                      struct weft__extra **ret_extra) {
    struct weft__extra *extra = weft__alloc(shards->core, sizeof(*extra), "extra");
    void *copy = extra == NULL ? NULL : weft__alloc(shards->core, arg_size, "init_arg");
    if (copy == NULL) {
        extra_free(shards, extra);
        return -ENOMEM;
    }
    memcpy(copy, arg, arg_size);
    extra->arg = copy;
    extra->arg_size = arg_size;
    *ret_extra = extra;
    return 0;
}

/* ---- beginning ----------------------------------------------------------------------------- */

/* An activation on its way into a table. */
struct fresh {
    struct weft_ctx *slot;
    struct weft__record *record;
    struct weft__kind *kind;
    uint64_t now_ns;
    struct weft__extra *spare; /* for what is remembered of the address; not the record's */
    uint32_t index;            /* of the slot, which may be another's once the token is left */
    uint32_t gen;
    bool reserved;   /* a place in the heap of ages */
    bool lacks_room; /* the tables have none */
};

static void fresh_undo(const struct weft__wish *wish, struct fresh *fresh) {
    if (fresh->reserved) {
        weft__age_unreserve(wish->shards, fresh->kind, fresh->slot->index);
    }
    weft_assert(weft_load32_relaxed(&fresh->record->gen) == 0); /* owner-only: never published */
    extra_free(wish->shards, fresh->record->extra);
    fresh->record->extra = NULL;
    weft__record_clear(wish->shards, fresh->slot->index);
    weft__birth_undo(wish->shards->runtime, wish->s, fresh->slot, wish->has_credit);
}

static int fresh_make(const struct weft__wish *wish, const struct weft__vkey *key,
                      struct fresh *fresh) {
    struct weft__shards *shards = wish->shards;
    struct weft__birth birth = {
        .type = wish->type, .scheduler = -1, .virtual = true, .has_credit = wish->has_credit};
    fresh->kind = weft__kind_of(shards, wish->type);
    if (weft_unlikely(fresh->kind == NULL)) {
        return -ENOMEM;
    }
    int result = weft__birth_begin(shards->runtime, wish->s, &birth, &fresh->slot);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    result = weft__record_fill(shards, key, fresh->slot);
    if (weft_unlikely(result != 0)) {
        weft__birth_undo(shards->runtime, wish->s, fresh->slot, wish->has_credit);
        return result;
    }
    fresh->record = weft__record_at(shards, fresh->slot->index);
    fresh->index = fresh->slot->index;
    fresh->gen = fresh->slot->gen;
    if (weft_unlikely(wish->arg != NULL)) {
        result = extra_make(shards, wish->arg, wish->arg_size, &fresh->record->extra);
        if (result != 0) {
            fresh_undo(wish, fresh);
            return result;
        }
    }
    if (weft_unlikely(fresh->kind->stripes != NULL)) {
        result = weft__age_reserve(shards, fresh->kind, fresh->slot->index);
        if (result != 0) {
            fresh_undo(wish, fresh);
            return result;
        }
        fresh->reserved = true;
    }
    fresh->now_ns = weft__shard_now(shards, wish->s);
    weft_store64_relaxed(&fresh->slot->active_ns, fresh->now_ns); /* owner-only, still */
    return 0;
}

/* It can be found from now on. idle: it may run as soon as something is sent. Under the token. */
static void fresh_open(const struct weft__wish *wish, struct fresh *fresh, bool idle) {
    bool aged = fresh->kind->stripes != NULL;
    uint32_t index = fresh->slot->index;
    if (aged) { /* nobody asks it to leave before it is open; it itself waits until it is listed */
        weft__age_enter(wish->shards, fresh->kind, index);
    }
    weft__birth_open(wish->shards->runtime, wish->s, fresh->slot, idle);
    weft__record_publish(fresh->record, fresh->gen);
    if (aged) {
        weft__age_add(wish->shards, fresh->kind, index, fresh->now_ns);
    }
}

/* The same, after the token was left. */
static void fresh_count(const struct weft__wish *wish, const struct fresh *fresh) {
    uint32_t stripe = wish->s == NULL ? 0 : wish->s->id % WEFT__COUNT_STRIPES;
    (void)weft_add64_acq_rel(&fresh->kind->counts[stripe].count, 1);
    WEFT__COUNT(wish->shards->runtime, wish->s, virtual_activations, 1);
    if (weft_unlikely(fresh->kind->stripes != NULL)) {
        weft__age_enforce(wish->shards, wish->s, fresh->kind, fresh->index);
        weft__keeper_watch(wish->shards, wish->s, fresh->kind);
    }
}

/* What entering needs and what cannot be made under the token. 0 or -ENOMEM. */
static int fresh_prepare(struct weft__shards *shards, struct fresh *fresh) {
    if (weft_unlikely(fresh->lacks_room)) {
        fresh->lacks_room = false;
        int result = weft__table_grow(shards);
        if (result != 0) {
            return result;
        }
    }
    /* Advisory: what is missed here is found under the token. */
    if (weft_unlikely(weft_load64_relaxed(&shards->remembered) != 0) && fresh->spare == NULL) {
        fresh->spare = weft__alloc(shards->core, sizeof(*fresh->spare), "extra");
        return fresh->spare == NULL ? -ENOMEM : 0;
    }
    return 0;
}

/* What is remembered of the address takes the place of the init_arg that was brought along, which
 * is the spare one then. Under the token. */
static void fresh_remember(struct weft__shards *shards, const struct weft__vkey *key,
                           struct fresh *fresh) {
    struct weft__memory *memory = weft__memory_take(shards, key);
    if (memory == NULL) {
        return;
    }
    struct weft__extra *extra = fresh->spare;
    weft_assert(extra != NULL);
    weft__extra_remember(extra, memory);
    fresh->spare = fresh->record->extra;
    fresh->record->extra = extra;
    fresh->record->owner_flags |= WEFT__RECORD_KNOWN;
}

bool weft__is_open(const struct weft__shards *shards, uint32_t index, uint32_t gen) {
    struct weft_ctx *slot = weft__slot_at(&shards->runtime->slots, index);
    uint64_t word = weft_load64_acquire(&slot->mailbox.word);
    return (uint32_t)(word >> 32) == gen && (uint32_t)word != WEFT__MAILBOX_CLOSED;
}

/* Slot and generation of whom an address has just now: open, 0: nobody. *ret_ending: the slot of
 * one that is not. Under the token. */
static uint64_t who_is(struct weft__shards *shards, const struct weft__vkey *key,
                       uint32_t *ret_ending) {
    *ret_ending = 0;
    uint32_t index = weft__table_find_sure(shards, key);
    if (index == 0) {
        return 0;
    }
    uint32_t gen = weft_load32_relaxed(&weft__record_at(shards, index)->gen); /* under the token */
    weft_assert(gen != 0); /* it goes with the entry */
    if (weft__is_open(shards, index, gen)) {
        return (uint64_t)index << 32 | gen;
    }
    *ret_ending = index;
    return 0;
}

/* Looks without making anything: 1: found, 0: there is none, -EAGAIN: one is ending. */
static int look(struct weft__shards *shards, const struct weft__vkey *key, uint64_t *ret_target) {
    uint32_t ending;
    weft__token_enter(shards, key->sub);
    uint64_t target = who_is(shards, key, &ending);
    weft__token_leave(key->sub);
    *ret_target = target;
    return target != 0 ? 1 : ending != 0 ? -EAGAIN : 0;
}

/* Under the token: who takes the capability away passes here later, or has been seen to. */
static bool is_offered(const struct weft__shards *shards, const struct weft__vkey *key) {
    return weft_load32_acquire(&shards->capabilities[key->name >> 16]->offered) != 0;
}

/* The address has nobody and gets the fresh one. Under the token. -EAGAIN: see fresh_prepare. */
static int enter_new(const struct weft__wish *wish, const struct weft__vkey *key,
                     struct fresh *fresh) {
    struct weft__shards *shards = wish->shards;
    if (weft_unlikely(wish->has_credit)) {
        return WEFT_E_LIMIT; /* who would have made room has ended meanwhile */
    }
    /* Relaxed: what is remembered of this very address was counted under this very token. */
    bool remembers = weft_load64_relaxed(&shards->remembered) != 0;
    if (weft_unlikely(remembers && fresh->spare == NULL)) {
        return -EAGAIN;
    }
    int result = weft__table_insert(shards, key, fresh->index);
    if (weft_unlikely(result != 0)) {
        fresh->lacks_room = result == -EAGAIN;
        return result;
    }
    if (weft_unlikely(remembers)) {
        fresh_remember(shards, key, fresh);
    }
#ifdef WEFT_PLANT_EARLY_RECORD
    weft__record_publish(fresh->record, fresh->gen);
    weft__token_leave(key->sub);
    WEFT__POINT(shards->core, WEFT__POINT_LEFT);
    weft__token_enter(shards, key->sub);
#endif
    fresh_open(wish, fresh, true);
    return 0;
}

/* The address has one that is ending: the fresh one is its successor. Under the token. */
static void enter_after(const struct weft__wish *wish, const struct weft__vkey *key,
                        struct fresh *fresh, uint32_t ending) {
    struct weft__record *record = weft__record_at(wish->shards, ending);
    weft_assert(record->successor == 0);
    weft__table_replace(wish->shards, key, ending, fresh->index);
    record->successor = fresh->index;
    record->credit_gone = wish->has_credit;
#ifdef WEFT_PLANT_EARLY_SUCCESSOR
    fresh_open(wish, fresh, record->credit_gone == 0);
#else
    fresh_open(wish, fresh, false); /* whoever ends queues it */
#endif
}

/* Enters a fresh one, unless somebody was quicker: *ret_target is who it is now, else 0. Under the
 * token. */
static int try_enter(const struct weft__wish *wish, const struct weft__vkey *key,
                     struct fresh *fresh, uint64_t *ret_target) {
    uint32_t ending;
    *ret_target = who_is(wish->shards, key, &ending);
    if (weft_unlikely(*ret_target != 0)) {
        return 0;
    }
    if (weft_unlikely(!is_offered(wish->shards, key))) {
        return WEFT_E_NOCAPABILITY;
    }
    bool watched = wish->type->def.crash_max != 0;
#ifdef WEFT_PLANT_BREAKER_GAP
    watched = watched && ending == 0; /* whoever finds the crashed one still there gets in */
#endif
    if (weft_unlikely(watched) && !weft__crash_admits(wish->shards, key)) {
        return WEFT_E_BREAKER;
    }
    if (ending == 0) {
        return enter_new(wish, key, fresh);
    }
    enter_after(wish, key, fresh, ending);
    return 0;
}

static int enter(const struct weft__wish *wish, const struct weft__vkey *key, struct fresh *fresh,
                 uint64_t *ret_target) {
    struct weft__shards *shards = wish->shards;
    /* Read now: once the token is left it may have ended, and its slot be another's. */
    uint64_t opened = weft__from(fresh->slot);
    uint64_t target = 0;
    int result = -EAGAIN;
    for (uint32_t round = 0; result == -EAGAIN && round < ENTER_MAX; round++) {
        result = fresh_prepare(shards, fresh);
        if (weft_likely(result == 0)) {
            weft__token_enter(shards, key->sub);
            result = try_enter(wish, key, fresh, &target);
            weft__token_leave(key->sub);
            WEFT__POINT(shards->core, WEFT__POINT_LEFT);
        }
    }
    extra_free(shards, fresh->spare);
    if (weft_unlikely(target != 0 || result != 0)) {
        fresh_undo(wish, fresh);
        *ret_target = target;
        return result == -EAGAIN ? -ENOMEM : result; /* others were quicker to use what was got */
    }
    *ret_target = opened;
    fresh_count(wish, fresh);
    return 0;
}

static int activate_fresh(const struct weft__wish *wish, const struct weft__vkey *key,
                          uint64_t *ret_target) {
    struct fresh fresh = {0};
    int result = 0;
    if (weft_unlikely(wish->shards->custom != NULL)) {
        result = weft__placement_refuses(wish->shards, key);
    }
    if (weft_likely(result == 0)) {
        result = fresh_make(wish, key, &fresh);
    }
    return weft_unlikely(result != 0) ? result : enter(wish, key, &fresh, ret_target);
}

/* actors_max are alive. The one of this address, if it is ending, makes room for the next. */
static WEFT_NOINLINE int activate_in_place(const struct weft__wish *wish,
                                           const struct weft__vkey *key, uint64_t *ret_target) {
    struct weft__wish heir = *wish;
    heir.has_credit = true;
    int found = look(wish->shards, key, ret_target);
    if (found == 1) {
        return 0;
    }
    return found == -EAGAIN ? activate_fresh(&heir, key, ret_target) : WEFT_E_LIMIT;
}

static int activate(const struct weft__wish *wish, const struct weft__vkey *key,
                    uint64_t *ret_target) {
#ifndef WEFT_PLANT_BREAKER_GAP
    if (weft_unlikely(wish->type->def.crash_max != 0) && weft__crash_refuses(wish->shards, key)) {
        return WEFT_E_BREAKER;
    }
#endif
    if (wish->only_if_active || key->id_size > WEFT__ID_INLINE) {
        int found = look(wish->shards, key, ret_target);
        if (found == 1) {
            return 0;
        }
        /* One that is ending may have left messages of this very sender to its successor. */
        if (wish->only_if_active && found == 0) {
            return WEFT_E_INACTIVE;
        }
    }
    int result = activate_fresh(wish, key, ret_target);
    return weft_unlikely(result == WEFT_E_LIMIT) ? activate_in_place(wish, key, ret_target)
                                                 : result;
}

int weft__activate(const struct weft__wish *wish, const struct weft__vkey *key,
                   uint64_t *ret_target) {
    weft_assert(!wish->has_credit);
    int result = activate(wish, key, ret_target);
    if (weft_unlikely(result == WEFT_E_BREAKER)) {
        WEFT__COUNT(wish->shards->runtime, wish->s, virtual_refused, 1);
    }
    return result;
}

/* ---- ending -------------------------------------------------------------------------------- */

/* Messages nobody will handle. */
static void refuse(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t left, int status) {
    while (left != 0) { /* bounded by what was left in one mailbox */
        weft_msg *msg = weft__arena_msg(s->messages, left);
        left = msg->weft__next;
        if (weft__is_request(msg)) {
            weft_counter_add(&s->counters.messages_dead, 1);
            weft__answer(s, ctx, msg, status);
        } else {
            weft__dead_letter(s->runtime, s, msg, status);
        }
    }
}

/* The successor of one that ends, whose entry it has by now: gets what was left, in front of what
 * was sent to itself, and may run. Nobody else can run it. */
static void hand_over(struct weft__scheduler *s, uint32_t index, const struct weft__batch *left) {
    struct weft_ctx *slot = weft__slot_at(s->slots, index);
    weft_assert(slot->batch == 0);
    weft_assert(slot->anchor == 0);
    slot->batch = left->first;
    slot->batch_last = left->last;
    slot->life |= WEFT__LIFE_PURE; /* only such messages are left to an heir */
    weft__schedule(s, slot);
}

/* The successor that a sender has made, or 0. */
static uint32_t successor_of(struct weft__shards *shards, const struct weft__vkey *key,
                             const struct weft__record *record) {
    weft__token_enter(shards, key->sub);
    uint32_t successor = record->successor;
    weft__token_leave(key->sub);
    WEFT__POINT(shards->core, WEFT__POINT_LEFT);
    return successor;
}

/* A successor, for what was left or to be there at once, made if there is none. Its slot, or 0 and
 * *ret_status: why not. */
static uint32_t succeed(struct weft__shards *shards, struct weft__scheduler *s,
                        struct weft_ctx *ctx, const struct weft__vkey *key, int *ret_status) {
    struct weft__record *record = weft__record_at(shards, ctx->index);
    struct weft__wish wish = {.shards = shards, .s = s, .type = ctx->type, .has_credit = true};
    struct fresh fresh = {0};
    uint32_t successor = successor_of(shards, key, record);
    if (successor != 0) {
        return successor;
    }
    *ret_status = fresh_make(&wish, key, &fresh);
    if (*ret_status != 0) {
        /* A sender, which may have found a place elsewhere, may have been quicker. */
        return successor_of(shards, key, record);
    }
    weft__token_enter(shards, key->sub);
    successor = record->successor;
    if (successor == 0 && !is_offered(shards, key)) {
        *ret_status = WEFT_E_REBALANCING;
    } else if (successor == 0) {
        enter_after(&wish, key, &fresh, ctx->index);
    }
    weft__token_leave(key->sub);
    WEFT__POINT(shards->core, WEFT__POINT_LEFT);
    if (successor != 0 || *ret_status != 0) {
        fresh_undo(&wish, &fresh);
        return successor;
    }
    fresh_count(&wish, &fresh);
    return fresh.index;
}

/* Is the init_arg to stay? One of an init that failed was never used. */
static bool is_kept(const struct weft__record *record, const struct weft_ctx *ctx) {
    return (record->owner_flags & WEFT__RECORD_FORGET) == 0 &&
           ((ctx->life & WEFT__LIFE_INITED) != 0 ||
            (record->owner_flags & WEFT__RECORD_KNOWN) != 0);
}

/* The address has a successor, or nobody: then its entry goes, and memory [take], if there is one,
 * stays. Returns the successor. */
static uint32_t leave(struct weft__shards *shards, const struct weft__vkey *key,
                      struct weft_ctx *ctx, struct weft__memory *memory) {
    uint32_t index = ctx->index;
    struct weft__record *record = weft__record_at(shards, index);
    weft__token_enter(shards, key->sub);
    uint32_t successor = record->successor;
#ifdef WEFT_PLANT_WRONG_ENTRY
    if (successor != 0) {
        weft__table_remove(shards, key, successor);
    }
#endif
    if (successor == 0) {
        weft__table_remove(shards, key, index);
        if (memory != NULL) {
            weft__memory_put(shards, memory);
        }
    } else if (record->credit_gone != 0) {
        ctx->life |= WEFT__LIFE_CREDIT_GONE;
    }
    weft_store32_relaxed(&record->gen, 0); /* under the token; the next to fill it releases that */
    weft__token_leave(key->sub);
    WEFT__POINT(shards->core, WEFT__POINT_LEFT);
    if (successor != 0 && memory != NULL) {
        weft__memory_unmake(shards, memory, record->extra);
    }
    return successor;
}

/* The successor, which nobody runs yet, gets the init_arg. */
static void pass_on(struct weft__shards *shards, uint32_t index, uint32_t successor) {
    struct weft__extra *extra = weft__record_at(shards, index)->extra;
    if (extra == NULL || extra->arg == NULL) {
        return;
    }
    extra = weft__record_swap_extra(shards, index, NULL);
    weft_store64_relaxed(&extra->account, 0); /* owner-only: it is no record's just now */
    extra->version = 0;
    extra->leave_reason = 0;
    weft__record_at(shards, successor)->owner_flags |= WEFT__RECORD_KNOWN;
    extra = weft__record_swap_extra(shards, successor, extra);
    (void)weft__record_swap_extra(shards, index, extra); /* what a sender brought along */
}

void weft__virtual_end(struct weft__scheduler *s, struct weft_ctx *ctx,
                       const struct weft__batch *batch) {
    struct weft__batch left = *batch;
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__record *record = weft__record_at(shards, ctx->index);
    struct weft__kind *kind = weft__kind_of(shards, ctx->type); /* exists */
    struct weft__memory *memory = NULL;
    uint32_t successor = 0; /* as far as is known */
    struct weft__vkey key;
    weft__vkey_of(shards, record, &key);
#ifdef WEFT_PLANT_DROP_LEFT
    while (left.first != 0) {
        weft_msg *msg = weft__arena_msg(s->messages, left.first);
        left.first = msg->weft__next;
        weft__msg_free(s->runtime, s, msg);
    }
#endif
    if (left.first != 0 || (record->owner_flags & WEFT__RECORD_RESTART) != 0) {
        int status = 0;
        successor = succeed(shards, s, ctx, &key, &status);
        if (successor == 0) {
            refuse(s, ctx, left.first, status);
            left.first = 0;
        }
    }
    if (successor == 0 && is_kept(record, ctx)) {
        memory = weft__memory_make(shards, &key, record->extra);
    }
    successor = leave(shards, &key, ctx, memory);
    weft_assert(left.first == 0 || successor != 0);
    if (kind->stripes != NULL) {
        weft__age_remove(shards, kind, ctx->index); /* after the token: see fresh_open */
    }
    /* Its sum is looked at only. */
    (void)weft_add64_acq_rel(&kind->counts[s->id % WEFT__COUNT_STRIPES].count, UINT64_MAX);
    if (successor != 0 && is_kept(record, ctx)) {
        pass_on(shards, ctx->index, successor);
    }
    extra_free(shards, weft__record_swap_extra(shards, ctx->index, NULL));
    WEFT__POINT(shards->core, WEFT__POINT_CLEAR);
    weft__record_clear(shards, ctx->index); /* the key ends here */
    WEFT__POINT(shards->core, WEFT__POINT_CLEAR);
#ifdef WEFT_PLANT_EARLY_SUCCESSOR
    if (left.first == 0) {
        successor = 0; /* it runs already */
    }
#endif
    if (successor != 0) {
        hand_over(s, successor, &left);
    }
}
