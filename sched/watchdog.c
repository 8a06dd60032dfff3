/* SPDX-License-Identifier: MIT
 *
 * The watchdog: see sched/watchdog.h. Everything here runs on its own thread, except create,
 * destroy, start, join and poke.
 */
#include "sched/watchdog.h"
#include "core/probe.h"
#include "sched/actor.h"

enum { IDLE_SAMPLES = 20 /* samples without any activity before it sleeps for good */ };

struct sample {
    uint64_t run_seq;
    uint64_t since_ns; /* run_seq has not moved since */
    bool reported;
};

struct weft__watchdog {
    weft_runtime *runtime;
    void *driver;
    void *thread;
    weft_atomic_u32 asleep; /* set by the watchdog before it sleeps for good, cleared by pokers.
                               G1: pairs with the phases it looks at afterwards */
    weft_atomic_u32 leave;  /* set by join */
    uint32_t idle_samples;
    struct sample *samples;
};

/* Moves what waits behind a stuck handler to where others find it. Inside the biased lock. */
static uint32_t rescue_queues(weft_runtime *runtime, struct weft__scheduler *s) {
    uint32_t rescued = 0;
    if (s->lifo != 0) {
        weft__overflow_push(runtime, weft__slot_at(&runtime->slots, s->lifo));
        s->lifo = 0;
        rescued++;
    }
    while (s->claim_at < s->claim_count) { /* bounded by WEFT__CLAIM_MAX */
        uint32_t index = s->claim[s->claim_at++];
        weft__overflow_push(runtime, weft__slot_at(&runtime->slots, index));
        rescued++;
    }
    struct weft__fire fire = {.runtime = runtime};
    (void)weft__wheel_advance(&s->wheel, weft__now(&runtime->core), WEFT__TIMERS_PER_TURN,
                              weft__fire_timer, &fire);
    return rescued;
}

/* The inbox is open to anybody: pinned actors go back, the others elsewhere. */
static uint32_t rescue_inbox(weft_runtime *runtime, struct weft__scheduler *s) {
    uint32_t rescued = 0;
    uint32_t index = weft__inbox_take(&s->inbox);
    while (index != 0) { /* bounded by what was pushed: each actor at most once */
        struct weft_ctx *slot = weft__slot_at(&runtime->slots, index);
        uint32_t next = weft_load32_relaxed(&slot->link);
        if ((weft_load32_relaxed(&slot->traits) & WEFT__TRAIT_PINNED) != 0) {
            weft__inbox_give(runtime, s->id, slot);
        } else {
            weft__overflow_push(runtime, slot);
            rescued++;
        }
        index = next;
    }
    return rescued;
}

static void rescue(weft_runtime *runtime, struct weft__scheduler *s) {
    uint32_t rescued = 0;
    if (weft__bias_visit(&s->bias, &runtime->idle.barrier)) {
        rescued = rescue_queues(runtime, s);
        weft__bias_depart(&s->bias);
    }
    rescued += rescue_inbox(runtime, s);
    rescued += weft__rank_rescue(runtime, s);
    if (weft__rings_length(s) != 0) {
        /* Thieves may take from the rings, but the doorbell for what the stuck handler itself has
         * woken rings only at its end. */
        int id = weft__idle_published(&runtime->idle);
        weft__wake(runtime, id >= 0 ? id : weft__idle_claim_napper(&runtime->idle));
    }
    if (rescued != 0) {
        WEFT__COUNT(runtime, NULL, rescued, rescued);
    }
}

static void report(weft_runtime *runtime, struct weft__scheduler *s, uint64_t stuck_ns) {
    WEFT__COUNT(runtime, NULL, watchdog_stuck, 1);
    uint32_t index = weft_load32_relaxed(&s->running);
    uint32_t type =
        index == 0 ? 0 : weft_load32_relaxed(&weft__slot_at(&runtime->slots, index)->type_id);
    WEFT_PROBE3(stuck, s->id, index, stuck_ns);
    weft_log_field fields[] = {
        {.key = "scheduler", .kind = WEFT_LOG_U64, .u64 = s->id + 1},
        {.key = "slot", .kind = WEFT_LOG_U64, .u64 = index},
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = runtime->types[type]->name},
        {.key = "stuck_ms", .kind = WEFT_LOG_U64, .u64 = stuck_ns / 1000000},
    };
    weft__log(&runtime->core, WEFT_LOG_WARN, "watchdog.stuck", fields, 4);
}

/* Looks at one scheduler. True: it is awake. */
static bool look_at(struct weft__watchdog *dog, uint32_t id, uint64_t now_ns) {
    weft_runtime *runtime = dog->runtime;
    struct weft__scheduler *s = runtime->schedulers[id];
    struct sample *sample = &dog->samples[id];
    uint64_t run_seq = weft_load64_acquire(&s->run_seq);
    bool parked = weft_load32_acquire(&s->phase_shown) == WEFT__PHASE_PARKED;
    bool running = weft_load32_acquire(&s->running) != 0;
    if (run_seq != sample->run_seq || parked || (!running && !s->driven)) {
        if (sample->reported || weft_load32_relaxed(&s->stuck) != 0) {
            weft_store32_relaxed(&s->stuck, 0);
        }
        *sample = (struct sample){.run_seq = run_seq, .since_ns = now_ns};
        return !parked;
    }
    weft_store32_relaxed(&s->clock_stale, 1);
    weft_store32_relaxed(&s->stuck, 1);
    rescue(runtime, s);
    if (running && !sample->reported && now_ns - sample->since_ns >= runtime->config.stuck_ns) {
        sample->reported = true;
        report(runtime, s, now_ns - sample->since_ns);
    }
    return true;
}

static bool all_parked(const weft_runtime *runtime) {
    for (uint32_t id = 0; id < runtime->count; id++) {
        const struct weft__scheduler *s = runtime->schedulers[id];
        if (weft_load32_acquire(&s->phase_shown) != WEFT__PHASE_PARKED) {
            return false;
        }
    }
    return true;
}

static enum weft_step dog_step(void *arg, uint64_t *deadline_ns) {
    struct weft__watchdog *dog = arg;
    weft_runtime *runtime = dog->runtime;
    if (weft_load32_acquire(&dog->leave) != 0) {
        return WEFT_STEP_EXIT;
    }
    uint64_t now_ns = weft__now(&runtime->core);
    bool awake = false;
    for (uint32_t id = 0; id < runtime->count; id++) {
        awake = look_at(dog, id, now_ns) || awake;
    }
    dog->idle_samples = awake ? 0 : dog->idle_samples + 1;
    *deadline_ns = now_ns + runtime->config.watchdog_ns;
    if (dog->idle_samples >= IDLE_SAMPLES) {
        weft_store32_release(&dog->asleep, 1); /* G1 */
        weft__barrier_heavy(&runtime->idle.barrier);
        if (all_parked(runtime)) {
            *deadline_ns = UINT64_MAX;
        } else {
            weft_store32_release(&dog->asleep, 0);
        }
        dog->idle_samples = 0;
    }
    return WEFT_STEP_PARK;
}

void weft__watchdog_poke(weft_runtime *runtime) {
    struct weft__watchdog *dog = runtime->watchdog;
    if (dog == NULL) {
        return;
    }
    weft__barrier_light(&runtime->idle.barrier); /* our phase before its sleep; pairs with G1 */
    if (weft_unlikely(weft_load32_acquire(&dog->asleep) != 0) &&
        weft_exchange32_acq_rel(&dog->asleep, 0) != 0) {
        runtime->core.env->driver_wake(runtime->core.env, dog->driver);
    }
}

int weft__watchdog_create(weft_runtime *runtime) {
    struct weft__core *core = &runtime->core;
    if (runtime->config.watchdog_none || core->env->trace != NULL) {
        return 0;
    }
    struct weft__watchdog *dog = weft__alloc(core, sizeof(*dog), "watchdog");
    if (dog == NULL) {
        return -ENOMEM;
    }
    runtime->watchdog = dog;
    dog->runtime = runtime;
    dog->samples = weft__alloc(core, runtime->count * sizeof(*dog->samples), "watchdog");
    if (dog->samples == NULL) {
        return -ENOMEM;
    }
    return core->env->driver_create(core->env, false, &dog->driver);
}

int weft__watchdog_start(weft_runtime *runtime) {
    struct weft__watchdog *dog = runtime->watchdog;
    if (dog == NULL) {
        return 0;
    }
    weft_env_thread thread = {.name = "weft-watchdog",
                              .kind = WEFT_THREAD_WATCHDOG,
                              .cpu = -1,
                              .driver = dog->driver,
                              .step = dog_step,
                              .arg = dog};
    return runtime->core.env->thread_start(runtime->core.env, &thread, &dog->thread);
}

void weft__watchdog_join(weft_runtime *runtime) {
    struct weft__watchdog *dog = runtime->watchdog;
    if (dog == NULL || dog->thread == NULL) {
        return;
    }
    weft_store32_release(&dog->leave, 1);
    runtime->core.env->driver_wake(runtime->core.env, dog->driver);
    runtime->core.env->thread_join(runtime->core.env, dog->thread);
    dog->thread = NULL;
}

void weft__watchdog_destroy(weft_runtime *runtime) {
    struct weft__watchdog *dog = runtime->watchdog;
    if (dog == NULL) {
        return;
    }
    if (dog->driver != NULL) {
        runtime->core.env->driver_destroy(runtime->core.env, dog->driver);
    }
    weft__free(&runtime->core, dog->samples, runtime->count * sizeof(*dog->samples), "watchdog");
    weft__free(&runtime->core, dog, sizeof(*dog), "watchdog");
    runtime->watchdog = NULL;
}
