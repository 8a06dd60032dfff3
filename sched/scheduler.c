/* SPDX-License-Identifier: MIT
 *
 * The scheduler: a step function that runs actors, fires timers, searches for work and goes to
 * sleep. Production calls it in a loop from a thread, the simulator in an order of its choice, a
 * program with its own loop through weft_runtime_drive. Queues in the order they are served: the
 * LIFO slot (the actor woken last, a few times in a row), the claimed batch, the ring, pinned
 * actors in between; inbox, overflow and timers once a step. Actors of high and low priority have
 * queues of their own, before and after these: rank.c. What is taken from others: steal.c.
 *
 * The biased lock is held throughout a step except inside weft__run.
 */
#include "core/probe.h"
#include "sched/actor.h"
#include "sched/port.h"
#include "sched/queue.h"
#include "sched/watchdog.h"

enum {
    STEP_NS_MAX = 200000, /* a step that took longer runs fewer actors the next time */
    STEP_NS_LOW = 50000,
    SPIN_LOOKS = 8,            /* looks into the inbox between two rounds of a search */
    OWN_NS = 2000,             /* a search begins with looking only for work of one's own */
    FLUSH_STEPS = 16,          /* steps after which collected cells go home, however few */
    QUEUE_NS_MAX = 100000,     /* a queue that takes longer than this wakes nappers as well */
    HIGH_QUEUE_NS_MAX = 25000, /* the same for high actors */
    TRIM_AFTER_NS = 50000000,
    TRIM_STACKS = 64, /* given back at once */
};

/* The only thread-local variable: set around a step, never cached across one. */
static _Thread_local struct weft__scheduler *current_scheduler;

WEFT_NOINLINE struct weft__scheduler *weft__scheduler_current(void) {
    return current_scheduler;
}

/* ---- queues -------------------------------------------------------------------------------- */

void weft__wake(weft_runtime *runtime, int id) {
    if (id >= 0) {
        weft_env *env = runtime->core.env;
        runtime->drivers.wake(env, runtime->schedulers[id]->driver);
    }
}

static void overflow_append(weft_runtime *runtime, struct weft_ctx *slot, uint32_t index) {
    struct weft__overflow *overflow = &runtime->overflow;
    enum weft__rank_id id = weft__rank_of(weft_load32_relaxed(&slot->traits));
    weft__lock_enter(&overflow->lock, runtime->core.env);
    weft__list_append(&runtime->slots, &overflow->lists[id], slot, index);
    weft_store32_release(&overflow->count, weft_load32_relaxed(&overflow->count) + 1);
    weft__lock_leave(&overflow->lock);
}

void weft__overflow_push(weft_runtime *runtime, struct weft_ctx *slot) {
    overflow_append(runtime, slot, slot->index);
    weft__wake(runtime, weft__idle_published(&runtime->idle));
}

void weft__ring_overflow(struct weft__scheduler *s, uint32_t index) {
    weft_counter_add(&s->counters.overflows, 1);
    overflow_append(s->runtime, weft__slot_at(s->slots, index), index);
}

void weft__inbox_give(weft_runtime *runtime, uint32_t id, struct weft_ctx *slot) {
    struct weft__scheduler *s = runtime->schedulers[id];
    uint32_t traits = weft_load32_relaxed(&slot->traits); /* after the push it may be another's */
    weft_prefetch_write(&s->inbox);
    weft__inbox_push(&s->inbox, slot->index, &slot->link);
    if (weft_unlikely((traits & WEFT__TRAIT_HIGH) != 0)) {
        weft__inbox_hurry(&s->hurry);
    }
}

/* Whom to wake for the inbox of scheduler id, or -1. A driven scheduler is in none of the sets of
 * idle.h: its driver's token says whether its descriptor is readable already. */
static int wake_owner(weft_runtime *runtime, uint32_t id) {
    return runtime->schedulers[id]->driven ? (int)id : weft__idle_published_to(&runtime->idle, id);
}

/* Scheduler id has something in its inbox: it is woken at the end of the run. */
static void ring_doorbell(struct weft__scheduler *s, uint32_t id) {
    s->doorbells[id / 64] |= (uint64_t)1 << (id % 64);
    s->doorbell_last = id + 1;
}

/* Where an actor waits that this scheduler shall run, unless it is stolen. */
static void queue_here(struct weft__scheduler *s, struct weft_ctx *slot, uint32_t index,
                       uint32_t traits) {
    if (weft_unlikely((traits & WEFT__TRAITS_RANKED) != 0)) {
        weft__rank_push(s, slot, index, traits);
    } else if ((traits & WEFT__TRAIT_PINNED) != 0) {
        weft__list_append(s->slots, &s->pinned, slot, index);
    } else {
        weft__ring_push(s, index);
    }
}

/* A pinned actor, one of high or low priority, or a port. */
static WEFT_NOINLINE void schedule_special(struct weft__scheduler *s, struct weft_ctx *slot,
                                           uint32_t traits) {
    if ((traits & WEFT__TRAIT_PORT) != 0) {
        weft__port_wake(s->runtime, slot);
        return;
    }
    uint32_t id = weft_load32_relaxed(&slot->scheduler);
    if ((traits & WEFT__TRAIT_PINNED) == 0 || id == s->id) {
        queue_here(s, slot, slot->index, traits);
        return;
    }
    weft__inbox_give(s->runtime, id, slot);
    ring_doorbell(s, id);
}

void weft__schedule_evicted(struct weft__scheduler *s, uint32_t index) {
    weft__ring_push(s, index);
}

void weft__schedule_slow(struct weft__scheduler *s, struct weft_ctx *slot) {
    uint32_t traits = weft_load32_relaxed(&slot->traits);
    if ((traits & WEFT__TRAITS_SPECIAL) != 0) {
        schedule_special(s, slot, traits);
    } else if (s->lifo_max == 0) {
        weft__ring_push(s, slot->index);
    } else { /* from a timer: the lock is ours already */
        uint32_t evicted = s->lifo;
        s->lifo = slot->index;
        if (evicted != 0) {
            weft__ring_push(s, evicted);
        }
    }
}

/* May an actor be put into the inbox of scheduler id, where nobody steals it? Not when that one
 * is stuck, or runs only when the program likes. */
static bool may_join(const weft_runtime *runtime, uint32_t id) {
    const struct weft__scheduler *other = runtime->schedulers[id];
    return !other->driven && weft_load32_relaxed(&other->stuck) == 0; /* advisory */
}

void weft__schedule_outside(weft_runtime *runtime, struct weft_ctx *slot) {
    uint32_t traits = weft_load32_relaxed(&slot->traits);
    if ((traits & WEFT__TRAIT_PORT) != 0) {
        weft__port_wake(runtime, slot);
        return;
    }
    uint32_t id = weft_load32_relaxed(&slot->scheduler);
    if ((traits & WEFT__TRAIT_PINNED) == 0 && runtime->count > 1 && !may_join(runtime, id)) {
        weft__overflow_push(runtime, slot);
        return;
    }
    weft__inbox_give(runtime, id, slot);
    weft__wake(runtime, wake_owner(runtime, id));
}

/* Is there more work than this scheduler can do soon? */
static bool is_queue_long(const struct weft__scheduler *s) {
    uint64_t waiting = weft__runq_length(&s->ring);
    if (weft_unlikely((s->ranks & WEFT__RANKS_WAIT) != 0)) {
        if (weft__runq_length(&s->rank[0].ring) * s->run_ns > HIGH_QUEUE_NS_MAX) {
            return true;
        }
        waiting = weft__rings_length(s);
    }
    return waiting * s->run_ns > QUEUE_NS_MAX;
}

void weft__doorbells_ring(struct weft__scheduler *s) {
    struct weft__idle *idle = &s->runtime->idle;
    if (s->published != 0) {
        s->published = 0;
        if (!s->alone) {
            int id = weft__idle_published(idle);
            if (id < 0 && is_queue_long(s)) {
                id = weft__idle_claim_napper(idle);
            }
            if (weft_unlikely(id >= 0)) {
                weft_counter_add(&s->counters.wakes, 1);
                weft__trace(s, WEFT__TRACE_WAKE, s->id, (uint64_t)id);
                weft__wake(s->runtime, id);
            }
        }
    }
    if (s->doorbell_last == 0) {
        return;
    }
    s->doorbell_last = 0;
    for (uint32_t word = 0; word < idle->words; word++) {
        while (s->doorbells[word] != 0) {
            uint32_t target = word * 64 + (uint32_t)__builtin_ctzll(s->doorbells[word]);
            s->doorbells[word] &= s->doorbells[word] - 1;
            int id = wake_owner(s->runtime, target);
            if (id >= 0) {
                weft_counter_add(&s->counters.wakes, 1);
                weft__wake(s->runtime, id);
            }
        }
    }
}

void weft__requeue(struct weft__scheduler *s, struct weft_ctx *slot, uint32_t index) {
    uint32_t traits = weft_load32_relaxed(&slot->traits);
    if (weft_unlikely(s->drawn_to >= 0) && (traits & WEFT__TRAIT_PINNED) == 0 &&
        s->runtime->config.steal != WEFT_STEAL_NONE &&
        may_join(s->runtime, (uint32_t)s->drawn_to)) {
        uint32_t id = (uint32_t)s->drawn_to;
        s->drawn_away++;
        weft_store32_relaxed(&slot->scheduler, id);
        weft__inbox_give(s->runtime, id, slot);
        ring_doorbell(s, id);
        return;
    }
    queue_here(s, slot, index, traits);
}

/* Everything from the inbox, oldest first: each to where it waits here. */
static bool take_inbox(struct weft__scheduler *s) {
    uint32_t index = weft_unlikely(weft_load32_relaxed(&s->hurry) != 0)
                         ? weft__inbox_take_hurried(&s->inbox, &s->hurry)
                         : weft__inbox_take(&s->inbox);
    if (weft_likely(index == 0)) {
        return false;
    }
    uint32_t oldest = 0;
    while (index != 0) { /* bounded by what others pushed: each actor at most once */
        struct weft_ctx *slot = weft__slot_at(s->slots, index);
        weft_prefetch_write(&slot->mailbox);
        uint32_t next = weft_load32_relaxed(&slot->link);
        weft_store32_relaxed(&slot->link, oldest);
        uint32_t head = (uint32_t)weft_load64_relaxed(&slot->mailbox.word); /* a hint */
        weft_prefetch(weft__arena_msg(s->messages, head));
        oldest = index;
        index = next;
    }
    while (oldest != 0) {
        struct weft_ctx *slot = weft__slot_at(s->slots, oldest);
        uint32_t next = weft_load32_relaxed(&slot->link);
        queue_here(s, slot, oldest, weft_load32_relaxed(&slot->traits));
        oldest = next;
    }
    return true;
}

/* A fair share of one list of the overflow queue. Returns how many. Under its lock. */
static uint32_t take_overflow_list(struct weft__scheduler *s, enum weft__rank_id id) {
    struct weft__slots *list = &s->runtime->overflow.lists[id];
    uint32_t room = (uint32_t)(weft__ring_at(s, id)->mask + 1) / 2;
    uint32_t share = list->count / s->runtime->count + 1;
    uint32_t taken = 0;
    while (taken < share && taken < room && list->count > 0) {
        uint32_t index = weft__list_take(s->slots, list);
        bool pushed = id == WEFT__RANK_NORMAL ? weft__runq_push_owner(&s->ring, index)
                                              : weft__rank_push_ring(s, id, index);
        if (!pushed) {
            /* The ring filled up: back to the front. */
            weft_store32_relaxed(&weft__slot_at(s->slots, index)->link, list->first);
            list->first = index;
            if (list->count++ == 0) {
                list->last = index;
            }
            break;
        }
        taken++;
    }
    return taken;
}

/* A fair share of the overflow queue into the rings. */
static bool take_overflow(struct weft__scheduler *s) {
    struct weft__overflow *overflow = &s->runtime->overflow;
    if (weft_likely(weft_load32_relaxed(&overflow->count) == 0)) { /* advisory: rechecked */
        return false;
    }
    uint32_t taken = 0;
    weft__lock_enter(&overflow->lock, s->core->env);
    for (enum weft__rank_id id = WEFT__RANK_HIGH; id < WEFT__RANKS; id++) {
        taken += take_overflow_list(s, id);
    }
    weft_store32_release(&overflow->count, weft_load32_relaxed(&overflow->count) - taken);
    weft__lock_leave(&overflow->lock);
    s->published += taken > 1 ? 1 : 0;
    return taken != 0;
}

/* Brings the lines of an actor that runs soon. */
WEFT_INLINE void prefetch_slot(struct weft__scheduler *s, uint32_t index) {
    struct weft_ctx *slot = weft__slot_at(s->slots, index);
    weft_prefetch_write(&slot->mailbox);
    weft_prefetch_write(&slot->type);
}

/* Claims some of the ring: half of it at most, so that thieves find the rest; of those that wait
 * behind high actors, whose turns nobody can foresee, just one. */
static uint32_t claim(struct weft__scheduler *s) {
    uint32_t length = weft__runq_length(&s->ring);
    if (length == 0) {
        return 0;
    }
    bool high = (s->ranks & (WEFT__RANKS_HIGH | WEFT__RANKS_ROW)) != 0;
    uint32_t max = s->alone ? length : weft_unlikely(high) ? 1 : (length + 1) / 2;
    s->claim_at = 0;
    s->claim_count =
        weft__runq_pop_owner(&s->ring, s->claim, max < WEFT__CLAIM_MAX ? max : WEFT__CLAIM_MAX);
    if (s->claim_count == 0) {
        return 0;
    }
    return s->claim[s->claim_at++];
}

WEFT_INLINE uint32_t next_claimed(struct weft__scheduler *s) {
    uint32_t index = s->claim[s->claim_at++];
    if (s->claim_at < s->claim_count) {
        uint32_t next = s->claim[s->claim_at];
        prefetch_slot(s, next);
    }
    return index;
}

/* The normal actor to run next, 0: none. Under bias. */
WEFT_INLINE uint32_t next_normal(struct weft__scheduler *s) {
    if (s->lifo != 0) {
        uint32_t index = s->lifo;
        s->lifo = 0;
        bool others = s->claim_at < s->claim_count || s->pinned.count != 0 ||
                      weft__runq_length(&s->ring) != 0;
        if (!others) {
            s->lifo_runs = 0;
            weft_counter_add(&s->counters.lifo_runs, 1);
            return index;
        }
        if (s->lifo_runs < s->lifo_max) {
            s->lifo_runs++;
            weft_counter_add(&s->counters.lifo_runs, 1);
            return index;
        }
        weft__ring_push(s, index);
    }
    s->lifo_runs = 0;
    if (weft_unlikely(s->pinned.count != 0)) {
        uint32_t others = s->claim_count - s->claim_at + weft__runq_length(&s->ring);
        uint32_t index = weft__pinned_take(s->slots, &s->pinned, &s->pinned_owed, others);
        if (index != 0) {
            return index;
        }
    }
    if (s->claim_at < s->claim_count) {
        return next_claimed(s);
    }
    return claim(s);
}

static bool normal_waits(const struct weft__scheduler *s) {
    return s->lifo != 0 || s->pinned.count != 0 || s->claim_at < s->claim_count ||
           weft__runq_length(&s->ring) != 0;
}

/* The same when there may be others than normal actors. */
static WEFT_NOINLINE uint32_t next_ranked(struct weft__scheduler *s) {
    if (weft_load32_relaxed(&s->hurry) != 0) {
        (void)take_inbox(s);
    }
    uint32_t index = weft__rank_first(s, normal_waits(s));
    if (index == 0) {
        index = weft__rank_passed(s, next_normal(s));
    }
    weft__rank_ring(s);
    return index;
}

/* The actor to run next, 0: none. Under bias. */
WEFT_INLINE uint32_t next_actor(struct weft__scheduler *s) {
    if (weft_unlikely((s->ranks | weft_load32_relaxed(&s->hurry)) != 0)) {
        return next_ranked(s);
    }
    return next_normal(s);
}

/* ---- clock and timers ---------------------------------------------------------------------- */

void weft__refresh_clock(struct weft__scheduler *s) {
    if (weft_unlikely(weft_load32_relaxed(&s->clock_stale) != 0)) { /* set by the watchdog */
        weft_store32_relaxed(&s->clock_stale, 0);
        s->now_ns = weft__now(s->core);
    }
}

bool weft__fire_timer(void *arg, const struct weft__entry *entry, uint32_t index, uint32_t state) {
    const struct weft__fire *fire = arg;
    struct weft__draft draft = {.kind = WEFT__SIGNAL_TIMER, .wide = true, .tag = entry->timer};
    weft_msg *msg;
    if (weft__msg_make(fire->runtime, fire->s, &draft, &msg) != 0) {
        return false;
    }
    msg->weft__u.weft__r.weft__ref = (uint64_t)index << 32 | state;
    uint64_t target = (uint64_t)entry->slot << 32 | entry->slot_gen;
    int result = fire->s != NULL ? weft__post(fire->s, target, msg, false)
                                 : weft__post_outside(fire->runtime, target, msg, false);
    if (result != 0) {
        weft__msg_free(fire->runtime, fire->s, msg); /* the actor is gone */
    } else if (fire->s != NULL) {
        weft__trace(fire->s, WEFT__TRACE_TIMER, entry->slot, entry->timer);
    }
    return true;
}

/* Reads the clock, fires timers, takes what others left. True: there may be something to run. */
static bool look_around(struct weft__scheduler *s) {
    s->now_ns = weft__now(s->core);
    weft_store32_relaxed(&s->clock_stale, 0);
    weft__pool_check_pressure(&s->pool);
    bool found = false;
    if (weft_load64_relaxed(&s->wheel.pending) != 0) {
        struct weft__fire fire = {.runtime = s->runtime, .s = s};
        found = weft__wheel_advance(&s->wheel, s->now_ns, WEFT__TIMERS_PER_TURN, weft__fire_timer,
                                    &fire) != 0;
    }
    if (s->upper != NULL) {
        found = s->upper->calls->poll(s->upper, s->now_ns) != 0 || found;
    }
    found = take_inbox(s) || found;
    found = take_overflow(s) || found;
    return found;
}

/* ---- running ------------------------------------------------------------------------------- */

/* Runs up to a number of actors; that number follows how long they take, so that timers and inbox
 * are looked at every 50 to 200 us or after every handler that takes longer. */
static uint32_t run_some(struct weft__scheduler *s) {
    uint32_t ran = 0;
    while (ran < s->runs_max) {
        uint32_t index = next_actor(s);
        if (index == 0) {
            break;
        }
        weft__run(s, index);
        weft__doorbells(s);
        ran++;
    }
    return ran;
}

static void adapt(struct weft__scheduler *s, uint64_t before_ns) {
    uint64_t took_ns = s->now_ns - before_ns;
    if (s->ran_last != 0) {
        s->run_ns = (s->run_ns * 7 + took_ns / s->ran_last) / 8;
    }
    if (s->traced) {
        s->runs_max = 1;
    } else if (took_ns > STEP_NS_MAX) {
        s->runs_max = s->runs_max > 8 ? s->runs_max / 4 : 1;
    } else if (took_ns < STEP_NS_LOW && s->runs_max < WEFT__RUNS_PER_STEP) {
        s->runs_max *= 2;
    }
}

static enum weft_step step_run(struct weft__scheduler *s) {
    uint64_t before_ns = s->now_ns;
    bool found = look_around(s);
    weft__doorbells(s); /* before a handler that may take long */
    adapt(s, before_ns);
    weft__steal_balance(s);
    uint32_t ran = run_some(s);
    if (weft_unlikely((s->ranks & WEFT__RANKS_UNRUNG) != 0)) {
        weft__rank_ring(s); /* the next step may be a while away */
    }
    s->ran_last = ran;
    if (s->pool.outgoing_cells != 0 && ++s->flush_steps >= FLUSH_STEPS) {
        s->flush_steps = 0;
        weft__pool_flush(&s->pool);
    }
    if (weft_unlikely(weft__phase(s->runtime) >= WEFT__RUNTIME_STOPPING)) {
        weft__stop_turn(s, ran);
    }
    if (ran != 0 || found) {
        return WEFT_STEP_RAN;
    }
    s->phase = WEFT__PHASE_SEARCH;
    s->search_until_ns = 0;
    weft__steal_judge(s);
    return WEFT_STEP_IDLE;
}

/* ---- searching ----------------------------------------------------------------------------- */

/* Has this scheduler actors to run that are its own already? */
static bool own_work(const struct weft__scheduler *s) {
    return normal_waits(s) || (s->ranks & WEFT__RANKS_WAIT) != 0;
}

/* Is there work for this scheduler besides others' rings? Looks without taking. */
static bool work_waits(const struct weft__scheduler *s) {
    return !weft__inbox_empty(&s->inbox) || weft_load32_acquire(&s->runtime->overflow.count) != 0 ||
           own_work(s) || weft_load32_acquire(&s->wheel.cancelled) != 0;
}

/* Found something: no searcher any more. The last one sees to it that more work is looked after. */
static void stop_searching(struct weft__scheduler *s) {
    s->phase = WEFT__PHASE_RUN;
    if (!s->searching) {
        return;
    }
    s->searching = false;
    if (weft__idle_found(&s->runtime->idle) && (work_waits(s) || weft__rings_wait(s))) {
        s->published++; /* rung with the next doorbells */
    }
}

static enum weft_step step_search(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    bool found = look_around(s) || own_work(s);
    bool nap = s->now_ns < s->nap_until_ns;
    if (s->search_until_ns == 0) {
        uint64_t spin_ns = s->upper == NULL ? runtime->config.spin_ns : runtime->config.io_spin_ns;
        s->search_until_ns = weft_add_saturated(s->now_ns, spin_ns);
        s->steal_after_ns = s->traced ? 0 : s->now_ns + weft_min_u64(spin_ns, OWN_NS);
    }
    /* At first only the inbox: an answer from another core is often under way, and who finds one
     * has not touched the searchers' count, a line that everybody writes. */
    if (!s->searching && !nap && s->now_ns >= s->steal_after_ns) {
        s->searching = weft__idle_search(&runtime->idle, (runtime->count + 1) / 2);
    }
    if (!found && s->searching && (!nap || s->called)) {
        found = weft__steal(s);
        s->called = false;
    }
    if (found || weft__phase(runtime) >= WEFT__RUNTIME_STOPPING) {
        stop_searching(s);
        weft__doorbells(s);
        if (!found) {
            weft__stop_sweep(s);
            s->phase = weft__stop_done(s) ? WEFT__PHASE_RUN : WEFT__PHASE_ANNOUNCE;
        }
        if (found && !s->traced) {
            s->ran_last = run_some(s); /* at once: whoever woke us waits for it */
        }
        return found ? WEFT_STEP_RAN : WEFT_STEP_IDLE;
    }
    if (s->now_ns >= s->search_until_ns || s->driven || nap) {
        s->phase = WEFT__PHASE_ANNOUNCE;
        return WEFT_STEP_IDLE;
    }
    for (int look = 0; look < SPIN_LOOKS && weft__inbox_empty(&s->inbox); look++) {
        weft_pause();
    }
    return WEFT_STEP_IDLE;
}

/* ---- sleeping ------------------------------------------------------------------------------ */

static enum weft_step step_announce(struct weft__scheduler *s) {
    bool covering = s->searching; /* others relied on us for what they published meanwhile */
    weft__pool_flush(&s->pool);
    s->searching = false;
    if (s->driven) {
        /* Who knows when the program drives it again: nobody may count on it. Work of its own
         * makes its descriptor readable (wake_owner). */
        if (covering) {
            (void)weft__idle_found(&s->runtime->idle);
        }
        s->nap_until_ns = 0;
    } else if (s->now_ns < s->nap_until_ns) {
        weft__idle_nap(&s->runtime->idle, s->id, covering);
    } else {
        s->nap_until_ns = 0;
        weft__idle_announce(&s->runtime->idle, s->id, covering);
    }
    if (covering && (s->driven || s->nap_until_ns != 0) && weft__rings_wait(s)) {
        s->published++; /* not for us, then: somebody else */
        weft__doorbells(s);
    }
    s->phase = WEFT__PHASE_RECHECK;
    WEFT__POINT(s->core, WEFT__POINT_PARK);
    return WEFT_STEP_IDLE;
}

/* Awake again: whoever cleared our announcement has counted us as a searcher. */
static void wake_up(struct weft__scheduler *s) {
    s->searching = !s->driven && !weft__idle_retract(&s->runtime->idle, s->id);
    s->called = s->searching;
    s->search_until_ns = 0;
    s->phase = WEFT__PHASE_SEARCH;
}

/* Idle with a lot of free message memory, or stacks: one more look later, to give it back if it is not needed
 * then. Giving it back at every park would mean zeroing it again at every burst. */
static uint64_t trim_time(struct weft__scheduler *s) {
    if (!weft__pool_excess(&s->pool) && s->stacks.first == NULL) {
        s->trim_at_ns = 0;
        return UINT64_MAX;
    }
    if (s->trim_at_ns == 0) {
        s->trim_at_ns = s->now_ns + TRIM_AFTER_NS;
    } else if (s->now_ns >= s->trim_at_ns) {
        weft__pool_trim(&s->pool);
        bool more = weft__stacks_trim(&s->stacks, 0, TRIM_STACKS);
        s->trim_at_ns = more ? s->now_ns + TRIM_AFTER_NS : 0;
        return more ? s->trim_at_ns : UINT64_MAX;
    }
    return s->trim_at_ns;
}

static enum weft_step step_recheck(struct weft__scheduler *s, uint64_t *deadline_ns) {
    uint32_t phase = weft__phase(s->runtime);
    if (phase == WEFT__RUNTIME_LEAVING || work_waits(s) ||
        (s->nap_until_ns == 0 && !s->driven && weft__rings_wait(s)) ||
        (!s->driven && !weft__idle_announced(&s->runtime->idle, s->id))) {
        wake_up(s);
        return WEFT_STEP_IDLE;
    }
    *deadline_ns = weft_min_u64(weft__wheel_next_ns(&s->wheel), trim_time(s));
    if (s->nap_until_ns != 0) {
        *deadline_ns = weft_min_u64(*deadline_ns, s->nap_until_ns);
    }
    if (s->upper != NULL) {
        *deadline_ns = weft_min_u64(*deadline_ns, s->upper->calls->deadline(s->upper));
    }
    if (phase == WEFT__RUNTIME_STOPPING) {
        *deadline_ns = weft_min_u64(*deadline_ns, s->stop_pass_ns);
    }
    weft_counter_add(&s->counters.parks, 1);
    weft__trace(s, WEFT__TRACE_PARK, s->id, 0);
    WEFT_PROBE2(park, s->id, *deadline_ns);
    s->phase = WEFT__PHASE_PARKED;
    return WEFT_STEP_PARK;
}

/* ---- the step ------------------------------------------------------------------------------ */

static enum weft_step step_phase(struct weft__scheduler *s, uint64_t *deadline_ns) {
    switch (s->phase) {
    case WEFT__PHASE_RUN:
        if (weft_unlikely(weft__phase(s->runtime) == WEFT__RUNTIME_LEAVING)) {
            s->phase = WEFT__PHASE_EXITED;
            if (s->upper != NULL) {
                s->upper->calls->leave(s->upper);
            }
            weft__pool_flush(&s->pool);
            /* Timers of actors that ended elsewhere: the gauge reads zero after a stop. */
            weft__wheel_collect(&s->wheel);
            return WEFT_STEP_EXIT;
        }
        return step_run(s);
    case WEFT__PHASE_SEARCH:
        if (weft_unlikely(weft__phase(s->runtime) == WEFT__RUNTIME_LEAVING)) {
            stop_searching(s);
            return WEFT_STEP_IDLE;
        }
        return step_search(s);
    case WEFT__PHASE_ANNOUNCE:
        return step_announce(s);
    case WEFT__PHASE_RECHECK:
        return step_recheck(s, deadline_ns);
    case WEFT__PHASE_PARKED:
        wake_up(s);
        WEFT_PROBE2(unpark, s->id, s->searching);
        /* Shown before the poke looks whether the watchdog sleeps: else it could see us parked
         * after we saw it awake, and sleep through everything we do from here on. */
        weft_store32_relaxed(&s->phase_shown, (uint32_t)s->phase);
        weft__watchdog_poke(s->runtime);
        return WEFT_STEP_IDLE;
    case WEFT__PHASE_EXITED:
        break;
    }
    return WEFT_STEP_EXIT;
}

enum weft_step weft__scheduler_step(void *arg, uint64_t *deadline_ns) {
    struct weft__scheduler *s = arg;
    struct weft__scheduler *outer = current_scheduler; /* the simulator nests steps */
    current_scheduler = s;
    weft__bias_enter(&s->bias, &s->barrier);
    enum weft__phase before = s->phase;
    enum weft_step result = step_phase(s, deadline_ns);
    if (s->phase != before) {
        weft_store32_relaxed(&s->phase_shown, (uint32_t)s->phase);
    }
    weft__bias_leave(&s->bias);
    current_scheduler = outer;
    if (result == WEFT_STEP_EXIT) {
        weft__thread_left(s->runtime); /* the last thing this thread does with the runtime */
    }
    return result;
}
