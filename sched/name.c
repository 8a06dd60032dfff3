/* SPDX-License-Identifier: MIT
 *
 * Names: registering, taking away, asking, sending; what an actor has, and its end. See weft/name.h
 * and sched/name.h.
 */
#include "sched/name.h"
#include <string.h>

/* ---- actors -------------------------------------------------------------------------------- */

static struct weft_ctx *slot_of(const struct weft__names *names, uint64_t target) {
    return weft__slot_at(&names->runtime->slots, (uint32_t)(target >> 32));
}

/* Is the mailbox that has this word open, for this generation? */
WEFT_INLINE bool is_open(uint64_t word, uint64_t target) {
    return word >> 32 == (uint32_t)target && (uint32_t)word != WEFT__MAILBOX_CLOSED;
}

static bool is_living(const struct weft__names *names, uint64_t target) {
    const struct weft__arena *slots = &names->runtime->slots;
    uint64_t index = target >> 32;
    if ((uint32_t)target == 0 ||
        (index + 1) * sizeof(struct weft_ctx) > weft_load64_acquire(&slots->used)) {
        return false;
    }
    const struct weft_ctx *slot = slot_of(names, target);
    return is_open(weft_load64_acquire(&slot->mailbox.word), target) &&  /* pairs with M0 */
           (weft_load32_relaxed(&slot->traits) & WEFT__TRAIT_PORT) == 0; /* const per tenant */
}

bool weft__names_claim(const struct weft__names *names, uint64_t target) {
    if (!is_living(names, target)) {
        return false;
    }
    struct weft_ctx *slot = slot_of(names, target);
    uint32_t traits = weft_load32_relaxed(&slot->traits); /* advisory: the swap below decides */
    while ((traits & WEFT__TRAIT_NAMED) == 0 &&
           !weft_cas32_acq_rel(&slot->traits, &traits, traits | WEFT__TRAIT_NAMED)) {
        /* At most once: only a birth writes them besides us. */
    }
    /* C1: shows the flag to the end of this actor, or finds that it has begun. */
    return is_open(weft_add64_acq_rel(&slot->mailbox.word, 0), target);
}

void weft__names_own(const struct weft__names *names, uint64_t target, uint32_t index) {
    struct weft_ctx *slot = slot_of(names, target);
    struct weft__named *record = weft__named_at(names, index);
    record->newer = index;
    record->older = index;
    if (slot->names != 0) {
        struct weft__named *first = weft__named_at(names, slot->names);
        record->older = slot->names;
        record->newer = first->newer;
        weft__named_at(names, first->newer)->older = index;
        first->newer = index;
    }
    /* Names in front, memberships behind them: weft_name_of need not look at those. */
    if (slot->names == 0 || weft__named_kind(record) == WEFT__NAME_PLAIN) {
        slot->names = index;
    }
}

void weft__names_disown(const struct weft__names *names, uint64_t target, uint32_t index) {
    struct weft_ctx *slot = slot_of(names, target);
    struct weft__named *record = weft__named_at(names, index);
    if (record->older == index) {
        weft_assert(slot->names == index);
        slot->names = 0;
        return;
    }
    weft__named_at(names, record->older)->newer = record->newer;
    weft__named_at(names, record->newer)->older = record->older;
    if (slot->names == index) {
        slot->names = record->older;
    }
}

/* ---- names --------------------------------------------------------------------------------- */

WEFT_INLINE bool is_name(const char *name, size_t size) {
    return name != NULL && size != 0 && size <= WEFT_NAME_BYTES_MAX;
}

int weft__names_check(const weft_runtime *runtime, const char *name, size_t size, weft_pid pid) {
    if (runtime == NULL || !is_name(name, size)) {
        return -EINVAL;
    }
    if (weft_pid_is_none(pid)) {
        return WEFT_E_NOPROC;
    }
    return pid.node == runtime->node ? 0 : -EINVAL;
}

/* Takes a name away. */
static void drop_name(struct weft__names *names, uint32_t index) {
    weft__names_disown(names, weft_load64_relaxed(&weft__named_at(names, index)->value), index);
    weft__names_remove(names, index);
}

/* 1: there is no memory for it under the lock. */
static int register_locked(struct weft__names *names, const struct weft__name_key *key,
                           uint64_t target) {
#ifndef WEFT_PLANT_NAME_CLAIM
    if (!weft__names_claim(names, target)) {
        return WEFT_E_NOPROC;
    }
#endif
    uint32_t index = weft__names_search(names, key);
    if (index != 0) {
        if (is_living(names, weft_load64_relaxed(&weft__named_at(names, index)->value))) {
            return -EEXIST;
        }
        drop_name(names, index); /* its end is about to */
    }
    index = weft__names_take(names, WEFT__NAME_PLAIN, key->size);
    if (index == 0) {
        return 1;
    }
    weft__names_insert(names, key, index, target);
    weft__names_own(names, target, index);
    return 0;
}

int weft_name_register(weft_runtime *runtime, const char *name, size_t size, weft_pid pid) {
    struct weft__names *names;
    int result = weft__names_check(runtime, name, size, pid);
    if (result == 0) {
        result = weft__names_get(runtime, &names);
    }
    if (result != 0) {
        return result;
    }
    struct weft__name_key key;
    weft__name_key_init(names, WEFT__NAME_PLAIN, name, (uint32_t)size, &key);
    weft__names_widen(names);
#ifdef WEFT_PLANT_NAME_CLAIM
    if (!weft__names_claim(names, weft__target(pid))) {
        return WEFT_E_NOPROC;
    }
#endif
    do { /* bounded by memory: again only when some was added and others took it */
        WEFT__POINT(names->core, WEFT__POINT_TOKEN);
        weft__names_enter(names);
        result = register_locked(names, &key, weft__target(pid));
        weft__names_leave(names);
    } while (result == 1 && (result = weft__names_grow(names)) == 0);
    return result;
}

int weft_name_unregister(weft_runtime *runtime, const char *name, size_t size) {
    if (runtime == NULL || !is_name(name, size)) {
        return -EINVAL;
    }
    struct weft__names *names = weft__names_of(runtime);
    if (names == NULL) {
        return -ENOENT;
    }
    int result = -ENOENT;
    struct weft__name_key key;
    weft__name_key_init(names, WEFT__NAME_PLAIN, name, (uint32_t)size, &key);
    weft__names_enter(names);
    uint32_t index = weft__names_search(names, &key);
    if (index != 0) {
        bool living = is_living(names, weft_load64_relaxed(&weft__named_at(names, index)->value));
        result = living ? 0 : -ENOENT;
        drop_name(names, index);
    }
    weft__names_leave(names);
    return result;
}

weft_pid weft_name_whereis(weft_runtime *runtime, const char *name, size_t size) {
    if (runtime == NULL || !is_name(name, size)) {
        return weft_pid_none();
    }
    const struct weft__names *names = weft__names_of(runtime);
    if (names == NULL) {
        return weft_pid_none();
    }
    struct weft__name_key key;
    weft__name_key_init(names, WEFT__NAME_PLAIN, name, (uint32_t)size, &key);
    uint64_t target = weft__names_find(names, &key);
    if (target == 0) {
        return weft_pid_none();
    }
    return (weft_pid){
        .node = runtime->node, .slot = (uint32_t)(target >> 32), .gen = (uint32_t)target};
}

/* The same for a name that ends with a zero byte. False: it is none. */
static bool whereis_text(weft_ctx *ctx, const char *name, weft_pid *ret_pid) {
    const char *end = name != NULL ? memchr(name, '\0', WEFT_NAME_BYTES_MAX + 1) : NULL;
    if (end == NULL || end == name) {
        return false;
    }
    *ret_pid = weft_name_whereis(ctx->runner->runtime, name, (size_t)(end - name));
    return true;
}

int weft_name_send(weft_ctx *ctx, const char *name, uint32_t tag, const void *data, size_t size) {
    weft_pid pid;
    return whereis_text(ctx, name, &pid) ? weft_send(ctx, pid, tag, data, size) : -EINVAL;
}

int weft_name_call(weft_ctx *ctx, const char *name, uint32_t tag, const void *data, size_t size,
                   uint64_t timeout_ns, uint64_t token) {
    weft_pid pid;
    return whereis_text(ctx, name, &pid) ? weft_call(ctx, pid, tag, data, size, timeout_ns, token)
                                         : -EINVAL;
}

/* ---- what an actor has --------------------------------------------------------------------- */

/* A name of an actor by number, 0: it has not so many. Under the lock. */
static uint32_t name_at(const struct weft__names *names, uint64_t target, uint32_t number) {
    uint64_t slot_index = target >> 32;
    if ((slot_index + 1) * sizeof(struct weft_ctx) > names->runtime->slots.bytes) {
        return 0;
    }
    uint32_t first = slot_of(names, target)->names;
    uint32_t index = first;
    for (uint32_t i = 0; index != 0; i++) { /* bounded by number */
        const struct weft__named *record = weft__named_at(names, index);
        if (weft__named_kind(record) != WEFT__NAME_PLAIN ||
            weft_load64_relaxed(&record->value) != target) {
            return 0; /* of the slot's next tenant */
        }
        if (i == number) {
            return index;
        }
        index = record->older == first ? 0 : record->older;
    }
    return 0;
}

int weft_name_of(weft_runtime *runtime, weft_pid pid, uint32_t index, char *text, size_t size) {
    if (runtime == NULL || (text == NULL && size != 0)) {
        return -EINVAL;
    }
    struct weft__names *names = weft__names_of(runtime);
    if (names == NULL || pid.node != runtime->node || weft_pid_is_none(pid)) {
        return -ENOENT;
    }
    int result = -ENOENT;
    weft__names_enter(names);
    uint32_t found = name_at(names, weft__target(pid), index);
    if (found != 0) {
        const struct weft__named *record = weft__named_at(names, found);
        uint32_t length = weft__named_size(record);
        result = length <= size ? (int)length : -ENOSPC;
        for (uint32_t at = 0; result > 0 && at < length; at += 8) {
            uint64_t word = weft_load64_relaxed(&record->words[at / 8]);
            memcpy(text + at, &word, length - at < 8 ? length - at : 8);
        }
    }
    weft__names_leave(names);
    if (result >= 0 && (size_t)result < size) {
        text[result] = '\0';
    }
    return result;
}

/* Gives up to a batch of it up. False: there is no more. */
static bool give_up(struct weft__names *names, struct weft_ctx *ctx) {
    weft__names_enter(names);
    for (uint32_t i = 0; ctx->names != 0 && i < WEFT__NAME_BATCH; i++) {
        if (weft__named_kind(weft__named_at(names, ctx->names)) == WEFT__NAME_PLAIN) {
            drop_name(names, ctx->names);
        } else {
            weft__group_drop(names, ctx->names);
        }
    }
    bool more = ctx->names != 0;
    weft__names_leave(names);
    return more;
}

void weft__names_end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__names *names = weft__names_of(s->runtime);
    weft_assert(names != NULL);
    do { /* bounded by what it has: nothing is added any more */
        WEFT__POINT(s->core, WEFT__POINT_TOKEN);
    } while (give_up(names, ctx));
}
