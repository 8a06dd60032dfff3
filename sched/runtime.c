/* SPDX-License-Identifier: MIT
 *
 * A runtime's life: create, start, stop, destroy, and driving scheduler 1 from outside.
 *
 * Stopping, and why nothing is left:
 *  1. weft_runtime_stop moves the phase to STOPPING: spawn refuses from here on. A spawn outside
 *     that had passed the check is counted in outside_busy and waited for.
 *  2. Schedulers sweep all slots and send each living actor a STOP. An actor born after the sweep
 *     passed its slot is found by the next sweep; sweeps repeat while anybody lives.
 *  3. When as many actors have ended as were ever spawned (ends are counted first, so equality
 *     means that nobody lived at some moment after the ends were read, and nobody can be born any
 *     more) and no blocking job is under way, one scheduler moves the phase to LEAVING.
 *  4. Threads see LEAVING, send messages home and exit; the last one wakes the stopper, which
 *     joins them all.
 */
#include "core/config.h"
#include "core/cpus.h"
#include "sched/actor.h"
#include "sched/blocking.h"
#include "sched/name.h"
#include "sched/port.h"
#include "sched/process.h"
#include "sched/tracing.h"
#include "sched/watchdog.h"
#include <string.h>

enum {
    SWEEP_SLOTS = 1024,
    SWEEP_EVERY_NS = 5000000,
    ENTRIES_MAX_LOG2 = 28, /* timer entries of a runtime: 268 million */
    INLINE_STEPS = 1 << 20,
    LOOK_PIECE_BYTES = 2 << 20,
};

/* ---- create -------------------------------------------------------------------------------- */

static int choose_cpus(weft_runtime *runtime) {
    weft_config *config = &runtime->config;
    weft__cpu_set set;
    int result = weft__cpus_allowed(&set);
    if (result == 0) {
        result = weft__cpus_restrict(&set, config->cpus);
    }
    if (result != 0) {
        return result;
    }
    runtime->count = config->schedulers != 0 ? config->schedulers : weft__cpus_schedulers(&set);
    bool pin = config->pinning == WEFT_PIN_CPUS;
    for (uint32_t id = 0; id < runtime->count; id++) {
        runtime->cpus[id] = pin ? weft__cpus_at(&set, id % set.count) : -1;
    }
    return 0;
}

static int create_arenas(weft_runtime *runtime) {
    const weft_config *config = &runtime->config;
    bool huge = !config->huge_pages_none;
    weft_store64_relaxed(&runtime->credits, config->actors_max);
    uint64_t slot_bytes = (config->actors_max + 1) * sizeof(struct weft_ctx);
    slot_bytes += WEFT__SLOT_PIECE_BYTES * (uint64_t)(runtime->count + 1);
    int result =
        weft__arena_init(&runtime->slots, slot_bytes, WEFT__SLOT_PIECE_BYTES, "slots", huge);
    if (result != 0) {
        return result;
    }
    uint64_t look_bytes =
        runtime->slots.bytes / sizeof(struct weft_ctx) * sizeof(struct weft__look);
    result = weft__arena_init(&runtime->looks, look_bytes + LOOK_PIECE_BYTES, LOOK_PIECE_BYTES,
                              "looks", false);
    if (result != 0) {
        return result;
    }
    uint64_t entry_bytes = sizeof(struct weft__entry) << ENTRIES_MAX_LOG2;
    result =
        weft__arena_init(&runtime->entries, entry_bytes, WEFT__WHEEL_PIECE_BYTES, "entries", huge);
    if (result != 0) {
        return result;
    }
    runtime->entry_pieces = (uint32_t)(runtime->entries.bytes / WEFT__WHEEL_PIECE_BYTES);
    runtime->entry_homes =
        weft__alloc(&runtime->core, runtime->entry_pieces * sizeof(*runtime->entry_homes), "homes");
    return runtime->entry_homes == NULL ? -ENOMEM : 0;
}

static int create_schedulers(weft_runtime *runtime) {
    struct weft__core *core = &runtime->core;
    runtime->pools = weft__alloc(core, (runtime->count + 1) * sizeof(*runtime->pools), "pools");
    runtime->schedulers =
        weft__alloc(core, runtime->count * sizeof(*runtime->schedulers), "schedulers");
    if (runtime->pools == NULL || runtime->schedulers == NULL) {
        return -ENOMEM;
    }
    runtime->pools[0] = &runtime->shared_pool;
    int result = weft__pool_init(&runtime->shared_pool, core, runtime->pools, runtime->count + 1, 0,
                                 runtime->config.pool_bytes);
    for (uint32_t id = 0; result == 0 && id < runtime->count; id++) {
        result = weft__scheduler_create(runtime, id, &runtime->schedulers[id]);
        if (runtime->schedulers[id] != NULL) {
            runtime->pools[id + 1] = &runtime->schedulers[id]->pool;
        }
    }
    return result;
}

static void choose_drivers(weft_runtime *runtime) {
    const weft_env *env = runtime->core.env;
    if (env->io != NULL) {
        runtime->drivers = (struct weft__driver_calls){.create = env->io->driver_create,
                                                       .destroy = env->io->driver_destroy,
                                                       .park = env->io->driver_park,
                                                       .wake = env->io->driver_wake,
                                                       .fd = env->io->driver_fd};
        return;
    }
    runtime->drivers = (struct weft__driver_calls){.create = env->driver_create,
                                                   .destroy = env->driver_destroy,
                                                   .park = env->driver_park,
                                                   .wake = env->driver_wake,
                                                   .fd = env->driver_fd};
}

static int create_parts(weft_runtime *runtime) {
    weft_env *env = runtime->core.env;
    choose_drivers(runtime);
    int result = choose_cpus(runtime);
    if (result == 0) {
        weft__idle_init(&runtime->idle, env, runtime->count);
        result = create_arenas(runtime);
    }
    if (result == 0) {
        result = weft__stack_pools_init(runtime);
    }
    if (result == 0) {
        result = create_schedulers(runtime);
    }
    if (result == 0) {
        result = weft__blocking_create(runtime);
    }
    if (result == 0) {
        result = weft__watchdog_create(runtime);
    }
    if (result == 0) {
        result = env->driver_create(env, false, &runtime->stop_driver);
    }
    return result;
}

static void free_runtime(weft_runtime *runtime) {
    struct weft__core *core = &runtime->core;
    weft_env *env = core->env;
    weft_env *own_env = runtime->own_env;
    weft__watchdog_destroy(runtime);
    weft__blocking_destroy(runtime);
    weft__ports_fini(runtime);
    if (runtime->stop_driver != NULL) {
        env->driver_destroy(env, runtime->stop_driver);
    }
    for (uint32_t id = 0; runtime->schedulers != NULL && id < runtime->count; id++) {
        weft__scheduler_destroy(&runtime->schedulers[id]);
    }
    weft__free(core, runtime->schedulers, runtime->count * sizeof(*runtime->schedulers),
               "schedulers");
    weft__free(core, runtime->pools, (runtime->count + 1) * sizeof(*runtime->pools), "pools");
    for (uint32_t id = 0; id < weft_load32_relaxed(&runtime->type_count); id++) {
        const struct weft__type_extra *extra = &runtime->types[id]->extra;
        if (extra->destroy != NULL) {
            extra->destroy(core, extra->data);
        }
        weft__free(core, runtime->types[id], sizeof(weft_type), "type");
    }
    weft__names_destroy(runtime);
    if (runtime->virtuals != NULL) {
        runtime->virtuals->destroy(runtime);
    }
    if (runtime->upper_destroy != NULL) {
        runtime->upper_destroy(runtime);
    }
    weft__free(core, runtime->entry_homes, runtime->entry_pieces * sizeof(*runtime->entry_homes),
               "homes");
    weft__stack_pools_fini(runtime);
    weft__arena_fini(&runtime->slots);
    weft__arena_fini(&runtime->looks);
    weft__arena_fini(&runtime->entries);
    weft_allocator allocator = core->allocator;
    weft__core_fini(core);
    allocator.free(allocator.cookie, runtime->memory, runtime->memory_bytes, "runtime");
    if (own_env != NULL) {
        weft_env_os_destroy(&own_env);
    }
}

/* The runtime itself comes from the allocator too, aligned by hand: no core exists yet. */
static weft_runtime *new_runtime(const weft_config *config) {
    size_t bytes = sizeof(weft_runtime) + WEFT_CACHELINE;
    char *memory = weft__alloc_raw(&config->allocator, bytes, "runtime");
    if (memory == NULL) {
        return NULL;
    }
    uintptr_t at = ((uintptr_t)memory + WEFT_CACHELINE - 1) & ~(uintptr_t)(WEFT_CACHELINE - 1);
    weft_runtime *runtime = (weft_runtime *)at;
    memset(runtime, 0, sizeof(*runtime));
    runtime->memory = memory;
    runtime->memory_bytes = bytes;
    runtime->config = *config;
    return runtime;
}

static int create(const weft_config *config, weft_env *env, weft_runtime **ret_runtime) {
    weft_runtime *runtime = new_runtime(config);
    if (runtime == NULL) {
        return -ENOMEM;
    }
    int result = weft__core_init(&runtime->core, config, env);
    if (result != 0) {
        weft_allocator allocator = runtime->core.allocator;
        allocator.free(allocator.cookie, runtime->memory, runtime->memory_bytes, "runtime");
        return result;
    }
    do {
        env->random(env, &runtime->node, sizeof(runtime->node));
    } while (runtime->node == 0); /* 0 is no node; bounded by chance */
    result = create_parts(runtime);
    if (result != 0) {
        free_runtime(runtime);
        return result;
    }
    *ret_runtime = runtime;
    return 0;
}

int weft__runtime_config(const weft_config *config, weft_config *ret_config) {
    char error[WEFT_CONFIG_TEXT_BYTES];
    int result = weft__config_copy(config, ret_config, error, sizeof(error));
    if (result == 0) {
        result = weft_config_resolve(ret_config, error, sizeof(error));
    }
    if (result != 0 && config != NULL && config->struct_size >= offsetof(weft_config, io_driver) &&
        config->log.cb != NULL) {
        weft_log_field field = {.key = "error", .kind = WEFT_LOG_TEXT, .text = error};
        weft_log_event event = {.name = "config.invalid", .fields = &field, .field_count = 1};
        config->log.cb(config->log.cookie, WEFT_LOG_ERROR, &event);
    }
    return result;
}

int weft_runtime_create_env(const weft_config *config, weft_env *env, weft_runtime **ret_runtime) {
    if (ret_runtime == NULL || env == NULL || env->version != WEFT_ENV_VERSION ||
        (env->io != NULL && env->io->version != WEFT_ENV_IO_VERSION)) {
        return -EINVAL;
    }
    weft_config resolved;
    int result = weft__runtime_config(config, &resolved);
    return result != 0 ? result : create(&resolved, env, ret_runtime);
}

/* ---- start --------------------------------------------------------------------------------- */

static void log_simple(weft_runtime *runtime, const char *name) {
    weft_log_field fields[] = {
        {.key = "version", .kind = WEFT_LOG_TEXT, .text = weft_version()},
        {.key = "schedulers", .kind = WEFT_LOG_U64, .u64 = runtime->count},
        {.key = "io",
         .kind = WEFT_LOG_TEXT,
         .text = runtime->core.env->io != NULL ? runtime->core.env->io->name : "none"},
        {.key = "io_reason",
         .kind = WEFT_LOG_TEXT,
         .text = runtime->driver_reason != NULL ? runtime->driver_reason : "given"},
        {.key = "asymmetric_barrier",
         .kind = WEFT_LOG_U64,
         .u64 = runtime->idle.barrier.asymmetric},
        {.key = "tls",
         .kind = WEFT_LOG_TEXT,
         .text = runtime->tls_library != NULL ? runtime->tls_library : "none"},
    };
    weft__log(&runtime->core, WEFT_LOG_INFO, name, fields, 6);
}

static void name_thread(char name[16], uint32_t id) {
    memcpy(name, "weft-", 5);
    uint32_t at = 5;
    uint32_t number = id + 1;
    for (uint32_t ten = 100; ten > 0; ten /= 10) {
        if (number >= ten || ten == 1) {
            name[at++] = (char)('0' + number / ten % 10);
        }
    }
    name[at] = '\0';
}

static int start_threads(weft_runtime *runtime) {
    weft_env *env = runtime->core.env;
    /* All of them, also those that will have no thread: the stopper steps those itself. */
    weft_store32_release(&runtime->alive_threads, runtime->count);
    for (uint32_t id = 0; id < runtime->count; id++) {
        struct weft__scheduler *s = runtime->schedulers[id];
        if (s->driven) {
            /* It has not announced that it sleeps, so nobody would wake it: the descriptor is
             * readable until the program drives it for the first time. */
            weft__wake(runtime, (int)id);
            continue;
        }
        char name[16];
        name_thread(name, id);
        weft_env_thread thread = {.name = name,
                                  .kind = WEFT_THREAD_SCHEDULER,
                                  .index = id,
                                  .cpu = runtime->cpus[id],
                                  .driver = s->driver,
                                  .park = runtime->drivers.park,
                                  .step = weft__scheduler_step,
                                  .arg = s};
        int result = env->thread_start(env, &thread, &s->thread);
        if (result != 0) {
            return result;
        }
    }
    int result = weft__blocking_start(runtime);
    return result != 0 ? result : weft__watchdog_start(runtime);
}

int weft_runtime_start(weft_runtime *runtime) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    uint32_t created = WEFT__RUNTIME_CREATED;
    if (!weft_cas32_acq_rel(&runtime->phase, &created, WEFT__RUNTIME_RUNNING)) {
        return -EALREADY;
    }
    log_simple(runtime, "runtime.start");
    int result = start_threads(runtime);
    if (result != 0) {
        runtime->start_failed = true;
    }
    return result;
}

/* ---- stop ---------------------------------------------------------------------------------- */

static void wake_everybody(weft_runtime *runtime) {
    for (uint32_t id = 0; id < runtime->count; id++) {
        weft__wake(runtime, (int)id);
    }
    weft__blocking_wake_all(runtime);
}

/* A STOP signal, from the reserve when memory is used up: who is stopped gives back what it has. */
static weft_msg *make_stop(struct weft__scheduler *s) {
    struct weft__draft draft = {.kind = WEFT__SIGNAL_STOP, .wide = true};
    weft_msg *msg;
    if (weft__msg_make(s->runtime, s, &draft, &msg) == 0) {
        return msg;
    }
    msg = weft__scheduler_reserve(s);
    if (msg != NULL) {
        msg->weft__kind = WEFT__SIGNAL_STOP;
        msg->weft__flags |= WEFT__MSG_WIDE;
        msg->weft__size = 0;
        msg->weft__from = 0;
        msg->weft__stamp = 0;
    }
    return msg;
}

/* Sends STOP to the living among some slots. Returns how many. */
static uint32_t sweep_slots(struct weft__scheduler *s, uint64_t first, uint64_t end) {
    uint32_t sent = 0;
    for (uint64_t index = first; index < end; index++) {
        struct weft_ctx *slot = weft__slot_at(s->slots, (uint32_t)index);
        uint64_t word = weft_load64_acquire(&slot->mailbox.word);
        if (word >> 32 == 0 || (uint32_t)word == WEFT__MAILBOX_CLOSED ||
            (weft_load32_relaxed(&slot->traits) & WEFT__TRAIT_PORT) != 0) {
            continue;
        }
        weft_msg *msg = make_stop(s);
        if (msg == NULL) {
            break; /* the next sweep comes */
        }
        msg->weft__u.weft__r.weft__value = WEFT_E_SHUTDOWN;
        if (weft__post(s, index << 32 | word >> 32, msg, false) != 0) {
            weft__msg_free(s->runtime, s, msg);
        }
        sent++;
    }
    return sent;
}

void weft__stop_sweep(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    uint64_t end = weft_load64_acquire(&runtime->slots.used) / sizeof(struct weft_ctx);
    uint64_t cursor = weft_load64_relaxed(&runtime->stop_cursor);
    if (cursor >= end) {
        if (s->now_ns < s->stop_pass_ns) {
            return;
        }
        s->stop_pass_ns = s->now_ns + SWEEP_EVERY_NS;
        if (!weft_cas64_acq_rel(&runtime->stop_cursor, &cursor, 0)) {
            return; /* somebody else began the next sweep */
        }
    }
    uint64_t first = weft_add64_acq_rel(&runtime->stop_cursor, SWEEP_SLOTS);
    s->sweep_owed = sweep_slots(s, first, weft_min_u64(first + SWEEP_SLOTS, end));
    s->sweep_ns = s->now_ns + SWEEP_EVERY_NS;
    if (first + SWEEP_SLOTS < end) {
        s->stop_pass_ns = s->now_ns; /* empty slots are no reason to sleep in the middle */
    } else {
        s->stop_pass_ns = s->now_ns + SWEEP_EVERY_NS;
    }
    weft__doorbells(s);
}

/* A busy scheduler first runs as many actors as it has sent STOPs to: else, on a slow machine, the
 * next sweeps would send them again and again, faster than they are handled. But actors that keep
 * themselves busy must be reached too, so it does not wait for long. */
void weft__stop_turn(struct weft__scheduler *s, uint32_t ran) {
    if (ran >= s->runs_max && s->sweep_owed > ran && s->now_ns < s->sweep_ns) {
        s->sweep_owed -= ran;
        return;
    }
    weft__stop_sweep(s);
}

/* Living actors; exact once nobody spawns. */
static uint64_t living(weft_runtime *runtime) {
    uint64_t exits = 0;
    uint64_t spawns = 0;
    for (uint32_t id = 0; id < runtime->count; id++) {
        exits += weft_load64_acquire(&runtime->schedulers[id]->counters.exits);
    }
    for (uint32_t id = 0; id < runtime->count; id++) {
        spawns += weft_load64_acquire(&runtime->schedulers[id]->counters.spawns);
    }
    return spawns + weft_load64_acquire(&runtime->outside.spawns) - exits;
}

bool weft__stop_done(struct weft__scheduler *s) {
    weft_runtime *runtime = s->runtime;
    if (weft__phase(runtime) != WEFT__RUNTIME_STOPPING) {
        return true;
    }
    if (weft_load32_acquire(&runtime->outside_busy) != 0 || living(runtime) != 0 ||
        !weft__blocking_done(runtime) || weft_load32_acquire(&runtime->upper_busy) != 0) {
        return false;
    }
    uint32_t stopping = WEFT__RUNTIME_STOPPING;
    if (weft_cas32_acq_rel(&runtime->phase, &stopping, WEFT__RUNTIME_LEAVING)) { /* V1 */
        wake_everybody(runtime);
    }
    return true;
}

void weft__thread_left(weft_runtime *runtime) {
    weft_env *env = runtime->core.env;
    void *driver = runtime->stop_driver;
    if (weft_add32_acq_rel(&runtime->alive_threads, UINT32_MAX) == 1) {
        env->driver_wake(env, driver); /* threads are joined before the driver goes */
    }
}

/* A runtime without threads (never started, or starting failed half-way): this thread steps the
 * schedulers that have none, and answers jobs that no helper came for. */
static void step_inline(weft_runtime *runtime) {
    weft__blocking_step(runtime);
    for (uint32_t id = 0; id < runtime->count; id++) {
        struct weft__scheduler *s = runtime->schedulers[id];
        if (s->thread == NULL && s->phase != WEFT__PHASE_EXITED) {
            uint64_t deadline_ns;
            (void)weft__scheduler_step(s, &deadline_ns);
        }
    }
}

static void begin_stop(weft_runtime *runtime) {
    uint32_t phase = WEFT__RUNTIME_CREATED;
    if (weft_cas32_acq_rel(&runtime->phase, &phase, WEFT__RUNTIME_STOPPING)) {
        weft_store32_release(&runtime->alive_threads, runtime->count);
        runtime->start_failed = true;
    } else if (phase == WEFT__RUNTIME_RUNNING &&
               weft_cas32_acq_rel(&runtime->phase, &phase, WEFT__RUNTIME_STOPPING)) {
        log_simple(runtime, "runtime.stop");
    }
    weft__barrier_heavy(&runtime->idle.barrier); /* phase before outside_busy; see weft__spawn */
    wake_everybody(runtime);
}

static int wait_left(weft_runtime *runtime, uint64_t deadline_ns) {
    weft_env *env = runtime->core.env;
    while (weft_load32_acquire(&runtime->alive_threads) != 0) { /* bounded by the deadline */
        if (runtime->start_failed) {
            step_inline(runtime);
        } else if (runtime->config.driven) {
            (void)weft_runtime_drive(runtime, 1000000, 1000000);
        }
        if (env->now_mono_ns(env) >= deadline_ns) {
            return weft_load32_acquire(&runtime->alive_threads) == 0 ? 0 : -ETIMEDOUT;
        }
        if (!runtime->start_failed && !runtime->config.driven) {
            env->driver_park(env, runtime->stop_driver, deadline_ns);
        }
    }
    return 0;
}

static void join_threads(weft_runtime *runtime) {
    weft_env *env = runtime->core.env;
    for (uint32_t id = 0; id < runtime->count; id++) {
        if (runtime->schedulers[id]->thread != NULL) {
            env->thread_join(env, runtime->schedulers[id]->thread);
            runtime->schedulers[id]->thread = NULL;
        }
    }
    weft__blocking_join(runtime);
    weft__watchdog_join(runtime);
}

int weft_runtime_stop(weft_runtime *runtime, uint64_t timeout_ns) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    if (weft__scheduler_current() != NULL) {
        return -EDEADLK;
    }
    weft_env *env = runtime->core.env;
    uint64_t deadline_ns = weft_add_saturated(env->now_mono_ns(env), timeout_ns);
    uint32_t nobody = 0;
    if (!weft_cas32_acq_rel(&runtime->stopper, &nobody, 1)) {
        return -EBUSY; /* another thread is stopping it just now */
    }
    int result = 0;
    if (weft__phase(runtime) != WEFT__RUNTIME_STOPPED) {
        weft_store64_relaxed(&runtime->stop_by_ns, deadline_ns); /* advice; before the phase */
        begin_stop(runtime);
        result = wait_left(runtime, deadline_ns);
        if (result == 0) {
            join_threads(runtime);
            weft__ports_drain(runtime);
            weft_store32_release(&runtime->phase, WEFT__RUNTIME_STOPPED);
        }
    }
    weft_store32_release(&runtime->stopper, 0);
    return result;
}

int weft_runtime_destroy(weft_runtime **runtime_at) {
    if (runtime_at == NULL || *runtime_at == NULL) {
        return 0;
    }
    weft_runtime *runtime = *runtime_at;
    uint32_t phase = weft__phase(runtime);
    if (phase == WEFT__RUNTIME_CREATED || runtime->start_failed) {
        int result = weft_runtime_stop(runtime, UINT64_MAX);
        if (result != 0) {
            return result;
        }
        phase = weft__phase(runtime);
    }
    if (phase != WEFT__RUNTIME_STOPPED || weft_load64_acquire(&runtime->core.buffers) != 0 ||
        weft_load32_acquire(&runtime->core.held) != 0 ||
        weft_load32_acquire(&runtime->queues) != 0) {
        return -EBUSY;
    }
    free_runtime(runtime);
    *runtime_at = NULL;
    return 0;
}

uint64_t weft_runtime_node(const weft_runtime *runtime) {
    return runtime->node;
}

uint32_t weft_runtime_schedulers(const weft_runtime *runtime) {
    return runtime->count;
}

/* ---- driving scheduler 1 ------------------------------------------------------------------- */

int weft_runtime_drive(weft_runtime *runtime, uint64_t run_ns, uint64_t wait_ns) {
    if (runtime == NULL || !runtime->config.driven) {
        return -EINVAL;
    }
    if (weft__scheduler_current() != NULL) {
        return -EDEADLK;
    }
    struct weft__scheduler *s = runtime->schedulers[0];
    weft_env *env = runtime->core.env;
    uint64_t now_ns = env->now_mono_ns(env);
    uint64_t until_ns = run_ns == 0 ? UINT64_MAX : weft_add_saturated(now_ns, run_ns);
    bool ran = false;
    bool waited = wait_ns == 0;
    bool emptied = false;
    for (;;) { /* bounded by run_ns and wait_ns, or by what there is to do */
        if (s->phase == WEFT__PHASE_EXITED) {
            return WEFT_E_SHUTDOWN;
        }
        uint64_t deadline_ns = UINT64_MAX;
        enum weft_step step = weft__scheduler_step(s, &deadline_ns);
        ran = ran || step == WEFT_STEP_RAN;
        emptied = emptied && step != WEFT_STEP_RAN;
        if (step == WEFT_STEP_PARK) {
            now_ns = env->now_mono_ns(env);
            if (emptied) {
                return ran ? 1 : 0;
            }
            if (waited || ran) {
                /* Empty the descriptor, then look once more: what came before that is seen now,
                 * what comes later makes it readable again. */
                runtime->drivers.park(env, s->driver, 0);
                emptied = true;
                continue;
            }
            waited = true;
            uint64_t wake_ns = weft_add_saturated(now_ns, wait_ns);
            runtime->drivers.park(env, s->driver, weft_min_u64(deadline_ns, wake_ns));
        } else if (ran && env->now_mono_ns(env) >= until_ns) {
            runtime->drivers.wake(env, s->driver); /* more to do: keep the descriptor readable */
            return 1;
        }
    }
}

int weft_runtime_drive_fd(const weft_runtime *runtime) {
    if (runtime == NULL || !runtime->config.driven) {
        return -EINVAL;
    }
    return runtime->drivers.fd(runtime->core.env, runtime->schedulers[0]->driver);
}

uint64_t weft_runtime_drive_deadline(weft_runtime *runtime) {
    if (runtime == NULL || !runtime->config.driven) {
        return UINT64_MAX;
    }
    struct weft__scheduler *s = runtime->schedulers[0];
    weft__bias_enter(&s->bias, &s->barrier); /* the watchdog may be at the wheel */
    uint64_t next_ns = weft__wheel_next_ns(&s->wheel);
    weft__bias_leave(&s->bias);
    return s->upper != NULL ? weft_min_u64(next_ns, s->upper->calls->deadline(s->upper)) : next_ns;
}
