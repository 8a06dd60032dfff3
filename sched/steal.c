/* SPDX-License-Identifier: MIT
 *
 * What a scheduler takes from the rings of others: half of one when it has nothing to do, high
 * actors first and low ones last, and a part of a ring that is much longer than its own when both
 * are busy. On the thread of the scheduler that takes.
 */
#include "core/probe.h"
#include "sched/queue.h"

enum {
    STEAL_WORTH_NS = 40000, /* a steal that keeps a scheduler busy for less was not worth it */
    NAP_NS_MIN = 25000,
    NAP_NS_MAX = 400000,
    BALANCE_STEPS = 16, /* steps between two comparisons with another scheduler's queue */
    BALANCE_MIN = 4,    /* how much longer the other queue has to be at least */
    BALANCE_HIGH_MIN = 2,
};

static uint32_t steal_from(struct weft__scheduler *s, struct weft__scheduler *victim,
                           enum weft__rank_id id, uint32_t max) {
    uint32_t entries[WEFT__STEAL_MAX];
    uint32_t count = weft__runq_steal_any(weft__ring_at(victim, id), entries, max);
    if (count == 0) {
        return 0;
    }
    weft_counter_add(&s->counters.steals, 1);
    weft_counter_add(&s->counters.stolen, count);
    weft__trace(s, WEFT__TRACE_STEAL, victim->id, count);
    WEFT_PROBE3(steal, s->id, victim->id, count);
    for (uint32_t i = 0; i < count; i++) {
        if (id == WEFT__RANK_NORMAL) {
            weft__ring_push(s, entries[i]);
        } else if (!weft__rank_push_ring(s, id, entries[i])) {
            weft__ring_overflow(s, entries[i]);
        }
    }
    return count;
}

/* One rank, from scheduler start on. */
static uint32_t steal_rank(struct weft__scheduler *s, enum weft__rank_id id, uint32_t start) {
    weft_runtime *runtime = s->runtime;
    for (uint32_t i = 0; i < runtime->count; i++) {
        uint32_t at = start + i < runtime->count ? start + i : start + i - runtime->count;
        if (at != s->id) {
            uint32_t count = steal_from(s, runtime->schedulers[at], id, WEFT__STEAL_MAX);
            if (count != 0) {
                return count;
            }
        }
    }
    return 0;
}

bool weft__steal(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    if (s->alone || runtime->config.steal == WEFT_STEAL_NONE) {
        return false;
    }
    bool ranked = weft_load32_acquire(&runtime->ranked) != 0;
    uint32_t start = weft__prng_below(&s->prng, runtime->count);
    uint32_t count = ranked ? steal_rank(s, WEFT__RANK_HIGH, start) : 0;
    count = count == 0 ? steal_rank(s, WEFT__RANK_NORMAL, start) : count;
    count = count == 0 && ranked ? steal_rank(s, WEFT__RANK_LOW, start) : count;
    if (count == 0) {
        weft_counter_add(&s->counters.steal_misses, 1);
        return false;
    }
    s->stolen_at_ns = s->now_ns;
    s->stolen_count = count;
    s->drawn_away = 0;
    return true;
}

/* Both are busy, so nobody steals: but if another queue is much longer than ours, its actors wait
 * longer for their turns. Takes half of the difference. */
static void balance(struct weft__scheduler *s, struct weft__scheduler *other) {
    uint32_t theirs = weft__runq_length(&other->ring);
    uint32_t ours = weft__runq_length(&s->ring);
    if (ours < BALANCE_MIN || theirs < ours + ours / 8 + BALANCE_MIN) {
        return;
    }
    uint32_t count = (theirs - ours) / 2;
    (void)steal_from(s, other, WEFT__RANK_NORMAL,
                     count < WEFT__STEAL_MAX ? count : WEFT__STEAL_MAX);
}

/* High actors wait there for each other, while here they would run before others. */
static void balance_high(struct weft__scheduler *s, struct weft__scheduler *other) {
    uint32_t theirs = weft__runq_length(&other->rank[0].ring);
    uint32_t ours = weft__runq_length(&s->rank[0].ring);
    if (theirs < ours + ours / 8 + BALANCE_HIGH_MIN) {
        return;
    }
    uint32_t count = (theirs - ours) / 2;
    (void)steal_from(s, other, WEFT__RANK_HIGH, count < WEFT__STEAL_MAX ? count : WEFT__STEAL_MAX);
}

void weft__steal_balance(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    if (s->alone || ++s->balance_steps < BALANCE_STEPS) {
        return;
    }
    s->balance_steps = 0;
    if (runtime->config.steal == WEFT_STEAL_NONE) {
        return;
    }
    uint32_t id = weft__prng_below(&s->prng, runtime->count);
    if (id == s->id) {
        return;
    }
    if (weft_load32_acquire(&runtime->ranked) != 0) {
        balance_high(s, runtime->schedulers[id]);
    }
    balance(s, runtime->schedulers[id]);
}

/* If the last steal has kept us busy only for a moment, what was stolen has gone back to where it
 * came from (actors that talk to a busy one there do that), and both sides have paid with cache
 * misses: others' queues are left alone for a while, twice as long each time. The same when most of
 * what was stolen has only fed an overloaded actor elsewhere. */
void weft__steal_judge(struct weft__scheduler *s) {
    if (s->stolen_at_ns == 0) {
        return;
    }
    if (s->now_ns - s->stolen_at_ns >= STEAL_WORTH_NS && 2 * s->drawn_away < s->stolen_count) {
        s->nap_ns = 0;
    } else {
        s->nap_ns = weft_min_u64(weft_max_u64(2 * s->nap_ns, NAP_NS_MIN), NAP_NS_MAX);
        s->nap_until_ns = s->now_ns + s->nap_ns;
    }
    s->stolen_at_ns = 0;
}

bool weft__rings_wait(const struct weft__scheduler *s) {
    const weft_runtime *runtime = s->runtime;
    if (runtime->config.steal == WEFT_STEAL_NONE) {
        return false;
    }
    bool ranked = weft_load32_acquire(&runtime->ranked) != 0;
    for (uint32_t id = 0; id < runtime->count; id++) {
        const struct weft__scheduler *other = runtime->schedulers[id];
        if ((ranked ? weft__rings_length(other) : weft__runq_length(&other->ring)) != 0) {
            return true;
        }
    }
    return false;
}
