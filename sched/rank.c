/* SPDX-License-Identifier: MIT
 *
 * Actors of high and low priority: where they wait, and when it is their turn. Most programs have
 * none. So normal actors know nothing of this: a scheduler comes here while one of two words beside
 * its LIFO slot is not 0 (weft__scheduler.ranks and hurry), and nobody looks into others' rings of
 * high and low actors before the runtime has such (weft_runtime.ranked).
 *
 * A rank is a ring, from which any scheduler may take, and a list of pinned actors. High ones run
 * before normal ones, low ones when nothing else is there. Against starvation turns are counted,
 * and the time looked at: normal ones get a turn after HIGH_ROW_MAX of high ones, low ones one after
 * LOW_ROW_MAX of others. A row begins when somebody waits, so whoever is alone is not held up.
 *
 * None of them enters the LIFO slot: a high one would gain nothing there, a low one is not to pass
 * others. Like the actor in that slot, one that was queued last is rung for when something else
 * runs before it, not at once: two high actors that talk to each other wake nobody.
 */
#include "sched/actor.h"
#include "sched/queue.h"

enum {
    HIGH_ROW_MAX = 8,
    LOW_ROW_MAX = 64,
    LOW_ROW_LOOK = 8,      /* turns between two looks at the clock */
    ROW_NS_MAX = 10000000, /* for long handlers */
    RESCUE_BATCH = 64,
};

uint32_t weft__rank_traits(weft_runtime *runtime, uint32_t priority) {
    if (weft_likely(priority == WEFT_PRIORITY_NORMAL)) {
        return 0;
    }
    if (weft_load32_relaxed(&runtime->ranked) == 0) {
        weft_store32_release(&runtime->ranked, 1);
    }
    return priority == WEFT_PRIORITY_HIGH ? WEFT__TRAIT_HIGH : WEFT__TRAIT_LOW;
}

uint32_t weft__rings_length(const struct weft__scheduler *s) {
    return weft__runq_length(&s->ring) + weft__runq_length(&s->rank[0].ring) +
           weft__runq_length(&s->rank[1].ring);
}

/* ---- waiting ------------------------------------------------------------------------------- */

/* From here on picks look for them. */
static void note_waiting(struct weft__scheduler *s, enum weft__rank_id id) {
    uint32_t bit = id == WEFT__RANK_HIGH ? WEFT__RANKS_HIGH : WEFT__RANKS_LOW;
    if (id == WEFT__RANK_LOW && (s->ranks & bit) == 0) {
        s->low_row = 0;
    }
    s->ranks |= bit;
}

bool weft__rank_push_ring(struct weft__scheduler *s, enum weft__rank_id id, uint32_t index) {
    if (!weft__runq_push_owner(&weft__rank_at(s, id)->ring, index)) {
        return false;
    }
    note_waiting(s, id);
    s->ranks |= WEFT__RANKS_UNRUNG;
    return true;
}

void weft__rank_push(struct weft__scheduler *s, struct weft_ctx *slot, uint32_t index,
                     uint32_t traits) {
    enum weft__rank_id id = weft__rank_of(traits);
    weft_assert(id != WEFT__RANK_NORMAL);
    if ((traits & WEFT__TRAIT_PINNED) != 0) {
        weft__list_append(s->slots, &weft__rank_at(s, id)->pinned, slot, index);
        note_waiting(s, id);
    } else if (!weft__rank_push_ring(s, id, index)) {
        weft__ring_overflow(s, index);
    }
}

void weft__rank_ring(struct weft__scheduler *s) {
    if ((s->ranks & WEFT__RANKS_UNRUNG) != 0) {
        s->ranks &= ~(uint32_t)WEFT__RANKS_UNRUNG;
        if (weft__runq_length(&s->rank[0].ring) + weft__runq_length(&s->rank[1].ring) != 0) {
            s->published++;
        }
    }
    weft__doorbells(s);
}

uint32_t weft__rank_rescue(weft_runtime *runtime, struct weft__scheduler *s) {
    uint32_t rescued = 0;
    if (runtime->count == 1 || runtime->config.steal == WEFT_STEAL_NONE) {
        return 0; /* nobody else would find them sooner, or nobody else may have them */
    }
    while (rescued < WEFT__RANK_RING) {
        uint32_t entries[RESCUE_BATCH];
        uint32_t count = weft__runq_steal_any(&s->rank[0].ring, entries, RESCUE_BATCH);
        if (count == 0) {
            break;
        }
        for (uint32_t i = 0; i < count; i++) {
            weft__overflow_push(runtime, weft__slot_at(&runtime->slots, entries[i]));
        }
        rescued += count;
    }
    return rescued;
}

/* ---- picking ------------------------------------------------------------------------------- */

/* The oldest of a rank, or 0; keeps its bit. */
static uint32_t take(struct weft__scheduler *s, enum weft__rank_id id) {
    struct weft__rank *rank = weft__rank_at(s, id);
    uint32_t index = 0;
    if (rank->pinned.count != 0) {
        index = weft__pinned_take(s->slots, &rank->pinned, &rank->pinned_owed,
                                  weft__runq_length(&rank->ring));
    }
    if (index == 0 && weft__runq_pop_owner(&rank->ring, &index, 1) == 0) {
        index = weft__list_take(s->slots, &rank->pinned); /* thieves took the others meanwhile */
    }
    if (rank->pinned.count == 0 && weft__runq_length(&rank->ring) == 0) {
        s->ranks &= ~(uint32_t)(id == WEFT__RANK_HIGH ? WEFT__RANKS_HIGH : WEFT__RANKS_LOW);
    }
    return index;
}

/* The clock is read anew: the scheduler's is as old as the step. Not written back: how long a step
 * takes is measured by it. */
static bool is_row_long(const struct weft__scheduler *s, uint64_t since_ns) {
    return weft__now(s->core) - since_ns >= ROW_NS_MAX;
}

/* A normal actor has its turn, or none waits. */
static void end_high_row(struct weft__scheduler *s) {
    s->high_row = 0;
    s->ranks &= ~(uint32_t)WEFT__RANKS_ROW;
}

/* One more turn of another than a low one. */
static void pass_low(struct weft__scheduler *s) {
    if ((s->ranks & WEFT__RANKS_LOW) != 0 && s->low_row++ == 0) {
        s->low_row_ns = weft__now(s->core);
    }
}

static uint32_t take_high(struct weft__scheduler *s, bool normal_waits) {
    uint32_t index = take(s, WEFT__RANK_HIGH);
    if (index == 0) {
        return 0;
    }
    weft_counter_add(&s->counters.runs_high, 1);
    pass_low(s);
    if (!normal_waits) {
        end_high_row(s);
        return index;
    }
    if (s->high_row++ == 0) {
        s->high_row_ns = weft__now(s->core);
        s->ranks |= WEFT__RANKS_ROW;
    } else if (s->lifo != 0 && !s->alone) {
        /* It waits longer than for one turn: where others find it. */
        weft__ring_push(s, s->lifo);
        s->lifo = 0;
    }
    return index;
}

static uint32_t take_low(struct weft__scheduler *s) {
    uint32_t index = take(s, WEFT__RANK_LOW);
    if (index != 0) {
        weft_counter_add(&s->counters.runs_low, 1);
        s->low_row = 0;
    }
    return index;
}

static bool is_low_due(const struct weft__scheduler *s) {
    if ((s->ranks & WEFT__RANKS_LOW) == 0 || s->low_row == 0) {
        return false;
    }
    return s->low_row >= LOW_ROW_MAX || s->now_ns >= s->low_row_ns + ROW_NS_MAX ||
           (s->low_row % LOW_ROW_LOOK == 0 && is_row_long(s, s->low_row_ns));
}

static bool is_normal_due(const struct weft__scheduler *s) {
    return s->high_row != 0 && (s->high_row >= HIGH_ROW_MAX || is_row_long(s, s->high_row_ns));
}

uint32_t weft__rank_first(struct weft__scheduler *s, bool normal_waits) {
    uint32_t index = is_low_due(s) ? take_low(s) : 0;
    if (index == 0 && (s->ranks & WEFT__RANKS_HIGH) != 0 && !(normal_waits && is_normal_due(s))) {
        index = take_high(s, normal_waits);
    }
    return index;
}

uint32_t weft__rank_passed(struct weft__scheduler *s, uint32_t index) {
    end_high_row(s);
    if (index != 0) {
        pass_low(s);
        return index;
    }
    index = take_high(s, false); /* normal ones were due, but thieves took them */
    return index != 0 ? index : take_low(s);
}
