/* SPDX-License-Identifier: MIT
 *
 * The timer wheel: see core/wheel.h.
 */
#include "core/wheel.h"
#include <errno.h>
#include <string.h>

enum { SLOT_BITS = 6, RETRY_TICKS = 8 };

void weft__wheel_init(struct weft__wheel *wheel, struct weft__core *core,
                      struct weft__arena *entries, uint64_t now_ns) {
    memset(wheel, 0, sizeof(*wheel));
    wheel->core = core;
    wheel->entries = entries;
    wheel->tick = now_ns >> WEFT__WHEEL_TICK_SHIFT;
}

void weft__wheel_set_home(struct weft__wheel *wheel, uint16_t *homes, uint16_t id) {
    wheel->homes = homes;
    wheel->id = id;
}

/* First tick at which an entry may fire: rounded up, never early. */
static uint64_t due_tick(uint64_t due_ns) {
    uint64_t round = (UINT64_C(1) << WEFT__WHEEL_TICK_SHIFT) - 1;
    return weft_add_saturated(due_ns, round) >> WEFT__WHEEL_TICK_SHIFT;
}

static void list_push(struct weft__wheel *wheel, uint32_t level, uint32_t at, uint32_t index) {
    struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    uint32_t head = wheel->heads[level][at];
    entry->next = head;
    entry->prev = 0;
    if (head != 0) {
        weft__entry_at(wheel->entries, head)->prev = index;
    }
    wheel->heads[level][at] = index;
    wheel->bitmaps[level] |= UINT64_C(1) << at;
}

/* The level whose lists are fine enough: that of the highest bit in which tick and now differ. */
static void place(struct weft__wheel *wheel, uint32_t index, uint64_t tick) {
    if (tick <= wheel->tick) {
        tick = wheel->tick + 1;
    }
    uint64_t differ = tick ^ wheel->tick;
    uint32_t level = (63u - (uint32_t)__builtin_clzll(differ)) / SLOT_BITS;
    if (level >= WEFT__WHEEL_LEVELS) { /* beyond 146 years: looked at again on the way */
        level = WEFT__WHEEL_LEVELS - 1;
    }
    uint32_t at = (uint32_t)(tick >> (level * SLOT_BITS)) & (WEFT__WHEEL_SLOTS - 1);
    list_push(wheel, level, at, index);
}

/* Which list an entry is the head of is known from its due time only through the place it was put
 * in; so the head's slot is found by looking. Bounded: levels times one comparison. */
static void head_remove(struct weft__wheel *wheel, uint32_t index, uint32_t next) {
    const struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    uint64_t tick = due_tick(entry->due_ns);
    for (uint32_t level = 0; level < WEFT__WHEEL_LEVELS; level++) {
        uint32_t at = (uint32_t)(tick >> (level * SLOT_BITS)) & (WEFT__WHEEL_SLOTS - 1);
        if (wheel->heads[level][at] == index) {
            wheel->heads[level][at] = next;
            if (next == 0) {
                wheel->bitmaps[level] &= ~(UINT64_C(1) << at);
            }
            return;
        }
    }
    /* Placed late (due already, or tried again): in one of the lists just ahead. */
    for (uint32_t at = 0; at < WEFT__WHEEL_SLOTS; at++) {
        for (uint32_t level = 0; level < WEFT__WHEEL_LEVELS; level++) {
            if (wheel->heads[level][at] == index) {
                wheel->heads[level][at] = next;
                if (next == 0) {
                    wheel->bitmaps[level] &= ~(UINT64_C(1) << at);
                }
                return;
            }
        }
    }
    weft_assert(!"entry is in no list");
}

static void unlink_entry(struct weft__wheel *wheel, uint32_t index) {
    struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    if (entry->next != 0) {
        weft__entry_at(wheel->entries, entry->next)->prev = entry->prev;
    }
    if (entry->prev != 0) {
        weft__entry_at(wheel->entries, entry->prev)->next = entry->next;
    } else {
        head_remove(wheel, index, entry->next);
    }
    weft_counter_add(&wheel->pending, (uint64_t)-1);
}

static void entry_free(struct weft__wheel *wheel, uint32_t index) {
    struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    entry->next = wheel->free_head;
    wheel->free_head = index;
}

static uint32_t entry_alloc(struct weft__wheel *wheel) {
    if (wheel->free_head == 0) {
        weft__wheel_collect(wheel);
    }
    if (wheel->free_head != 0) {
        uint32_t index = wheel->free_head;
        wheel->free_head = weft__entry_at(wheel->entries, index)->next;
        return index;
    }
    if (wheel->bump == wheel->bump_end) {
        uint64_t offset;
        if (weft__arena_grow(wheel->entries, &wheel->core->allocator, wheel->pieces != 0,
                             &offset) != 0) {
            return 0;
        }
        wheel->pieces++;
        if (wheel->homes != NULL) {
            wheel->homes[offset / WEFT__WHEEL_PIECE_BYTES] = wheel->id;
        }
        wheel->bump = offset == 0 ? sizeof(struct weft__entry) : offset; /* 0 is no entry */
        wheel->bump_end = offset + WEFT__WHEEL_PIECE_BYTES;
    }
    uint32_t index = (uint32_t)(wheel->bump / sizeof(struct weft__entry));
    wheel->bump += sizeof(struct weft__entry);
    return index;
}

int weft__wheel_arm(struct weft__wheel *wheel, const struct weft__alarm *alarm,
                    struct weft__armed *ret_armed) {
    uint32_t index = entry_alloc(wheel);
    if (index == 0) {
        return -ENOMEM;
    }
    struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    entry->due_ns = alarm->due_ns;
    entry->slot = alarm->slot;
    entry->slot_gen = alarm->slot_gen;
    entry->timer = alarm->timer;
    /* A new generation: a canceller that holds the old one fails. */
    uint32_t state = weft_load32_relaxed(&entry->state); /* wheel-only while FREE */
    state = (state | WEFT__ENTRY_MASK) + 1 + WEFT__ENTRY_ARMED;
    weft_store32_release(&entry->state, state);
    place(wheel, index, due_tick(alarm->due_ns));
    weft_counter_add(&wheel->pending, 1);
    *ret_armed = (struct weft__armed){.entry = index, .state = state};
    return 0;
}

bool weft__wheel_cancel(struct weft__wheel *home, const struct weft__armed *armed) {
    struct weft__entry *entry = weft__entry_at(home->entries, armed->entry);
    uint32_t state = armed->state;
    uint32_t cancelled = (state & ~(uint32_t)WEFT__ENTRY_MASK) | WEFT__ENTRY_CANCELLED;
    if (!weft_cas32_acq_rel(&entry->state, &state, cancelled)) { /* W1 */
        return false;
    }
    /* The entry is linked until its wheel unlinks it; `timer` is ours now and carries the stack. */
    uint32_t head = weft_load32_relaxed(&home->cancelled);
    do {
        entry->timer = head;
    } while (!weft_cas32_acq_rel(&home->cancelled, &head, armed->entry)); /* W2 */
    return true;
}

void weft__wheel_collect(struct weft__wheel *wheel) {
    if (weft_load32_relaxed(&wheel->cancelled) == 0) { /* advisory: asked again */
        return;
    }
    uint32_t index = weft_exchange32_acq_rel(&wheel->cancelled, 0); /* pairs with W2 */
    while (index != 0) {
        struct weft__entry *entry = weft__entry_at(wheel->entries, index);
        uint32_t next = entry->timer;
        unlink_entry(wheel, index);
        uint32_t state = weft_load32_relaxed(&entry->state);
        weft_store32_release(&entry->state, state & ~(uint32_t)WEFT__ENTRY_MASK);
        entry_free(wheel, index);
        index = next;
    }
}

/* Fires one entry that was just unlinked, or puts it back a little later. */
static bool fire_entry(struct weft__wheel *wheel, uint32_t index, weft__fire_fn fire, void *arg) {
    struct weft__entry *entry = weft__entry_at(wheel->entries, index);
    uint32_t state = weft_load32_acquire(&entry->state);
    if ((state & WEFT__ENTRY_MASK) != WEFT__ENTRY_ARMED) {
        /* Cancelled: it is on its way here through the stack and must stay linked until then. */
        place(wheel, index, wheel->tick + RETRY_TICKS);
        return false;
    }
    uint32_t fired = state & ~(uint32_t)WEFT__ENTRY_MASK;
    if (!weft_cas32_acq_rel(&entry->state, &state, fired)) { /* W1 */
        place(wheel, index, wheel->tick + RETRY_TICKS);
        return false;
    }
    /* Ours alone now: a canceller writes `timer` only after it has won the state. */
    if (!fire(arg, entry, index, fired | WEFT__ENTRY_ARMED)) {
        weft_store32_release(&entry->state, fired | WEFT__ENTRY_ARMED);
        place(wheel, index, wheel->tick + RETRY_TICKS);
        return false;
    }
    weft_counter_add(&wheel->pending, (uint64_t)-1);
    entry_free(wheel, index);
    return true;
}

/* Empties one list: fires what is due, moves the rest down. */
static uint32_t expire_list(struct weft__wheel *wheel, uint32_t level, uint32_t at,
                            weft__fire_fn fire, void *arg) {
    uint32_t fired = 0;
    uint32_t index = wheel->heads[level][at];
    wheel->heads[level][at] = 0;
    wheel->bitmaps[level] &= ~(UINT64_C(1) << at);
    while (index != 0) {
        uint32_t next = weft__entry_at(wheel->entries, index)->next;
        if (next != 0) {
            weft__entry_at(wheel->entries, next)->prev = 0;
        }
        uint64_t tick = due_tick(weft__entry_at(wheel->entries, index)->due_ns);
        if (tick <= wheel->tick) {
            fired += fire_entry(wheel, index, fire, arg) ? 1 : 0;
        } else {
            place(wheel, index, tick);
        }
        index = next;
    }
    return fired;
}

/* The next tick at which a list must be looked at, and its level. False: all lists are empty. */
static bool next_list(const struct weft__wheel *wheel, uint64_t *ret_tick, uint32_t *ret_level) {
    for (uint32_t level = 0; level < WEFT__WHEEL_LEVELS; level++) {
        if (wheel->bitmaps[level] == 0) {
            continue;
        }
        uint32_t shift = level * SLOT_BITS;
        uint32_t now = (uint32_t)(wheel->tick >> shift) & (WEFT__WHEEL_SLOTS - 1);
        /* Lists at or before `now` belong to the next round of this level. */
        uint64_t ahead = now == 63 ? 0 : wheel->bitmaps[level] & ~((UINT64_C(2) << now) - 1);
        uint64_t round = (wheel->tick >> shift) & ~(uint64_t)(WEFT__WHEEL_SLOTS - 1);
        uint64_t bits = ahead != 0 ? ahead : wheel->bitmaps[level];
        uint64_t at =
            round + (ahead != 0 ? 0 : WEFT__WHEEL_SLOTS) + (uint64_t)__builtin_ctzll(bits);
        *ret_tick = at << shift;
        *ret_level = level;
        return true;
    }
    return false;
}

uint32_t weft__wheel_advance(struct weft__wheel *wheel, uint64_t now_ns, uint32_t limit,
                             weft__fire_fn fire, void *arg) {
    uint64_t now = now_ns >> WEFT__WHEEL_TICK_SHIFT;
    uint32_t fired = 0;
    weft__wheel_collect(wheel);
    while (wheel->tick < now && fired < limit) { /* each turn empties a list that was not empty */
        uint64_t tick;
        uint32_t level;
        if (!next_list(wheel, &tick, &level) || tick > now) {
            wheel->tick = now;
            break;
        }
        wheel->tick = tick;
        for (uint32_t up = WEFT__WHEEL_LEVELS; up-- > 0;) {
            uint32_t at = (uint32_t)(tick >> (up * SLOT_BITS)) & (WEFT__WHEEL_SLOTS - 1);
            bool starts = up == 0 || (tick & ((UINT64_C(1) << (up * SLOT_BITS)) - 1)) == 0;
            if (starts && (wheel->bitmaps[up] >> at & 1) != 0) {
                fired += expire_list(wheel, up, at, fire, arg);
            }
        }
    }
    return fired;
}

uint64_t weft__wheel_next_ns(const struct weft__wheel *wheel) {
    uint64_t tick;
    uint32_t level;
    if (!next_list(wheel, &tick, &level)) {
        return UINT64_MAX;
    }
    if (tick > UINT64_MAX >> WEFT__WHEEL_TICK_SHIFT) {
        return UINT64_MAX;
    }
    return tick << WEFT__WHEEL_TICK_SHIFT;
}
