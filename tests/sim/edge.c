/* SPDX-License-Identifier: MIT
 *
 * One run of the edge: settings from the seed, addresses, the runtime and the two threads of the
 * test's own, phases that each end in rest, stop, and the rules at each of them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "shard/shard.h"

enum {
    CROWD_IDS = 10,
    CROWD_NAMES = 8,
    CROWD_LOOKS = 1 << 21,
    CROWD_TABLE = 4711,
    LONG_EVERY = 300,
    LONG_BITS = 10
};

#define REST_NS UINT64_C(5000000000)

/* ---- helpers ------------------------------------------------------------------------------- */

void edge_fail(struct edge *edge, const char *format, ...) {
    if (edge->failed) {
        return;
    }
    edge->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(edge->text, sizeof(edge->text), format, arguments);
    va_end(arguments);
}

uint64_t edge_below(struct edge *edge, uint64_t bound) {
    return sim_prng_below(&edge->sim->test, bound);
}

bool edge_percent(struct edge *edge, uint32_t percent) {
    return sim_prng_percent(&edge->sim->test, percent) != 0;
}

uint64_t edge_magnitude(struct edge *edge, uint32_t bits) {
    return sim_prng_magnitude(&edge->sim->test, bits);
}

/* ---- settings ------------------------------------------------------------------------------ */

enum focus { FOCUS_ALL, FOCUS_STOP, FOCUS_PASSIVATE, FOCUS_VIOLENT, FOCI };

static const uint32_t focus_weights[FOCI][EDGE_ACTS] = {
    [FOCUS_ALL] = {10, 10, 5, 4, 3, 1, 6, 1, 2, 2, 3},
    [FOCUS_STOP] = {10, 5, 1, 30, 15, 0, 2, 0, 0, 0, 1},
    [FOCUS_PASSIVATE] = {5, 5, 2, 0, 0, 0, 40, 0, 1, 4, 8},
    [FOCUS_VIOLENT] = {10, 10, 4, 4, 2, 10, 8, 4, 1, 1, 2},
};

static void store_draw(struct edge *edge) {
    struct edge_profile *profile = &edge->profile;
    static const uint32_t percents[4] = {0, 20, 70, 100};
    profile->store_delay_percent = percents[edge_below(edge, 4)];
    profile->store_delay_bits = 4 + (uint32_t)edge_below(edge, 24);
    profile->store_late_percent = percents[edge_below(edge, 4)];
    if (edge_percent(edge, 50)) {
        return; /* it does what it is told */
    }
    for (uint32_t fate = EDGE_GOOD + 1; fate < EDGE_FATES; fate++) {
        profile->fate_percent[fate] = edge_percent(edge, 50) ? 0 : (uint32_t)edge_below(edge, 10);
    }
}

static void profile_draw(struct edge *edge) {
    struct edge_profile *profile = &edge->profile;
    enum focus focus = (enum focus)edge_below(edge, FOCI);
    bool violent = focus == FOCUS_VIOLENT || (focus == FOCUS_ALL && edge_percent(edge, 50));
    for (uint32_t i = 0; i < EDGE_ACTS; i++) {
        bool out = (i == EDGE_ACT_CRASH || i == EDGE_ACT_FORGET) && !violent;
        profile->weights[i] = out ? 0 : focus_weights[focus][i];
        profile->weight_sum += profile->weights[i];
    }
    profile->act_percent = 10 + (uint32_t)edge_below(edge, 80);
    profile->crowded = edge_percent(edge, 50);
    profile->addresses = (uint32_t)edge_magnitude(edge, profile->crowded ? 5 : 6);
    profile->senders = (uint32_t)edge_magnitude(edge, 3) + edge_percent(edge, 50) * 4;
    profile->budget = 50 + (uint32_t)edge_magnitude(edge, 10);
    if (focus == FOCUS_STOP) {
        profile->budget += (uint32_t)edge_below(edge, 3000); /* a slot is let again after many */
    }
    profile->phases = 1 + (uint32_t)edge_below(edge, 3);
    profile->delay_bits = 4 + (uint32_t)edge_below(edge, 20);
    profile->arg_percent = edge_percent(edge, 30) ? 0 : 50;
    profile->call_percent = (uint32_t)edge_below(edge, 100);
    profile->fail_percent = violent ? (uint32_t)edge_below(edge, 60) : 0;
    profile->hold_percent = edge_percent(edge, 50) ? 0 : (uint32_t)edge_below(edge, 60);
    profile->deferred = violent || edge_percent(edge, 30);
    profile->kill_percent = violent ? (uint32_t)edge_below(edge, 10) : 0;
    profile->unregister_percent = edge_percent(edge, 50) ? 0 : (uint32_t)edge_below(edge, 6);
    profile->passivate_percent =
        focus == FOCUS_PASSIVATE ? 30 + (uint32_t)edge_below(edge, 40) : 10;
    profile->abrupt = edge_percent(edge, 15);
    store_draw(edge);
}

static void *heap_alloc(void *cookie, size_t size, const char *tag) {
    struct edge *edge = cookie;
    (void)tag;
    void *memory = malloc(size);
    if (memory != NULL) {
        edge->heap_bytes += size;
        edge->heap_blocks++;
    }
    return memory;
}

static void heap_free(void *cookie, void *memory, size_t size, const char *tag) {
    struct edge *edge = cookie;
    (void)tag;
    if (memory != NULL) {
        edge->heap_bytes -= size;
        edge->heap_blocks--;
    }
    free(memory);
}

static void log_seen(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct edge *edge = cookie;
    (void)level;
    bool get = false, late = false;
    if (strcmp(event->name, "virtual.breaker") == 0) {
        edge_crash_logged(edge, event);
    }
    if (strcmp(event->name, "store.failure") != 0) {
        return;
    }
    for (uint32_t i = 0; i < event->field_count; i++) {
        const weft_log_field *field = &event->fields[i];
        if (field->kind == WEFT_LOG_TEXT) {
            get = get || strcmp(field->text, "get") == 0;
            late = late || strcmp(field->text, weft_strerror(-ETIMEDOUT)) == 0;
        }
    }
    edge->load_timeouts += late && get ? 1 : 0;
    edge->save_timeouts += late && !get ? 1 : 0;
}

static weft_config config_draw(struct edge *edge, uint32_t schedulers) {
    static const uint32_t budgets[4] = {1, 2, 8, 256};
    uint64_t drawn = 1 + edge_below(edge, 4);
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT,
        .schedulers = schedulers != 0 ? schedulers : (uint32_t)drawn,
        .pinning = WEFT_PIN_NONE,
        .spin_none = edge_percent(edge, 50),
        .spin_ns = 1000,
        .budget = budgets[edge_below(edge, 4)],
        .lifo_none = edge_percent(edge, 25),
        .ring_size = 64,
        .arena_bytes = 64 << 20,
        .huge_pages_none = true,
        .watchdog_none = true,
        .shards = edge->profile.crowded ? 1 : 4096,
        .log = {.cookie = edge, .cb = log_seen},
        .allocator = {.cookie = edge, .alloc = heap_alloc, .free = heap_free},
    };
    return config;
}

/* ---- addresses ----------------------------------------------------------------------------- */

struct edge_address *edge_address_find(struct edge *edge, const weft_ventry *entry) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        struct edge_address *address = &edge->addresses[i];
        if (entry->type == edge->types[address->kind] &&
            entry->capability == edge->capabilities[address->capability] &&
            entry->id_size == address->id_size &&
            memcmp(entry->id, address->id, address->id_size) == 0) {
            return address;
        }
    }
    return NULL;
}

/* Ids of addresses of one table, so that entries move under others' eyes. Looking for them takes
 * long, so what was found is kept; it is the same in every run. */
struct crowd {
    uint64_t next; /* to try; 0: none tried */
    uint32_t count;
    uint64_t ids[CROWD_IDS];
};

static uint64_t crowd_id(struct weft__shards *shards, uint32_t name, uint32_t number) {
    static struct crowd crowds[CROWD_NAMES];
    struct crowd *crowd = &crowds[(name >> 16) * EDGE_KINDS + (name & 0xffff) % EDGE_KINDS];
    for (uint32_t looks = 0; looks < CROWD_LOOKS && crowd->count <= number; looks++) {
        uint64_t id = ++crowd->next;
        struct weft__vkey key;
        if (weft__vkey_init(shards, name, &id, sizeof(id), &key) == 0 &&
            key.sub == &shards->subs[CROWD_TABLE]) {
            crowd->ids[crowd->count++] = id;
        }
    }
    return crowd->ids[number];
}

static void addresses_draw(struct edge *edge) {
    struct weft__shards *shards = weft__shards_of(edge->runtime);
    uint32_t used[CROWD_NAMES] = {0};
    if (edge->profile.crowded) {
        memset(shards->hash_key.secret, 0x5a, sizeof(shards->hash_key.secret));
    }
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        struct edge_address *address = &edge->addresses[i];
        address->edge = edge;
        address->number = i;
        address->kind = (enum edge_kind)edge_below(edge, EDGE_KINDS);
        address->capability = (uint32_t)edge_below(edge, EDGE_CAPABILITIES);
        address->fail_percent = edge_percent(edge, 25) ? edge->profile.fail_percent : 0;
        address->fail_percent = address->kind == EDGE_BARE ? 0 : address->fail_percent;
        uint32_t crowd = address->capability * EDGE_KINDS + (uint32_t)address->kind;
        uint64_t id = i + 1;
        address->id_size = 4 + (uint32_t)edge_below(edge, EDGE_ID_BYTES - 8);
        if (edge->profile.crowded && used[crowd] < CROWD_IDS) {
            uint32_t name = edge->capabilities[address->capability]->index << 16 |
                            edge->types[address->kind]->id;
            id = crowd_id(shards, name, used[crowd]++);
            address->id_size = sizeof(id);
        }
        memcpy(address->id, &id, sizeof(id)); /* zeroes behind it tell sizes apart */
    }
}

/* ---- long ways ------------------------------------------------------------------------------ */

typedef void (*point_fn)(weft_env *env, uint32_t point);

/* Now and then others make a long way at a place where somebody looks at tables, so that slots and
 * arrays have been used for something else several times when it looks on. */
static point_fn long_point_swap(point_fn point) {
    static point_fn usual; /* the same in all runs */
    point_fn old = usual;
    usual = point == NULL ? usual : point;
    return old;
}

static void long_point(weft_env *env, uint32_t point) {
    weft_sim *sim = env->impl;
    bool place = point >= WEFT__POINT_ROUTE && point <= WEFT__POINT_OFFER;
    if (place && sim->depth == 1 && sim->options.nest_max > 0 &&
        sim_prng_below(&sim->schedule, LONG_EVERY) == 0) {
        uint64_t steps = sim_prng_magnitude(&sim->schedule, LONG_BITS);
        while (steps-- > 0 && weft__sim_step(sim)) { /* bounded by steps */
        }
    }
    long_point_swap(NULL)(env, point);
}

static void long_points(struct edge *edge) {
    weft_env *env = weft_sim_env(edge->sim);
    (void)long_point_swap(env->point);
    env->point = long_point;
}

/* ---- the run ------------------------------------------------------------------------------- */

static int thread_start(struct edge *edge, struct edge_thread *thread, const char *name,
                        enum weft_step (*step)(void *arg, uint64_t *deadline_ns)) {
    weft_env *env = weft_sim_env(edge->sim);
    thread->edge = edge;
    int status = env->driver_create(env, false, &thread->driver);
    weft_env_thread body = {.name = name,
                            .kind = WEFT_THREAD_HELPER,
                            .cpu = -1,
                            .driver = thread->driver,
                            .step = step,
                            .arg = thread};
    return status < 0 ? status : env->thread_start(env, &body, &thread->handle);
}

static void thread_end(struct edge *edge, struct edge_thread *thread) {
    weft_env *env = weft_sim_env(edge->sim);
    env->driver_wake(env, thread->driver);
    env->thread_join(env, thread->handle);
    env->driver_destroy(env, thread->driver);
}

static int run_start(struct edge *edge, uint32_t schedulers) {
    static const char *const names[EDGE_CAPABILITIES] = {"here", "there"};
    weft_config config = config_draw(edge, schedulers);
    int status = weft_runtime_create_env(&config, weft_sim_env(edge->sim), &edge->runtime);
    edge_store_init(edge);
    status = status < 0 ? status : edge_types_register(edge);
    for (uint32_t i = 0; i < EDGE_CAPABILITIES && status == 0; i++) {
        status = weft_capability_add(edge->runtime, names[i], &edge->capabilities[i]);
        edge->offered[i] = true;
    }
    if (status == 0) {
        addresses_draw(edge);
        edge_crash_find_twins(edge);
        status = weft_cq_create(edge->runtime, EDGE_QUEUE_CALLS, &edge->queue);
    }
    edge->message_count = 1;
    edge->budget = edge->profile.budget;
    status = status < 0 ? status : weft_runtime_start(edge->runtime);
    status =
        status < 0 ? status : thread_start(edge, &edge->store_thread, "store", edge_store_thread);
    status = status < 0 ? status
                        : thread_start(edge, &edge->client_thread, "client", edge_client_thread);
    status = status < 0 ? status : edge_senders_spawn(edge);
    if (status < 0) {
        edge_fail(edge, "start answered %d (%s)", status, weft_strerror(status));
    }
    return status;
}

/* Everything begins again: a new budget, and all who write are told. */
static void phase_begin(struct edge *edge) {
    weft_env *env = weft_sim_env(edge->sim);
    edge->budget = edge->profile.budget;
    env->driver_wake(env, edge->client_thread.driver);
    for (uint32_t i = 0; i < edge->profile.senders; i++) {
        int status = weft_runtime_send(edge->runtime, edge->sender_pids[i], EDGE_TAG_GO, NULL, 0);
        if (status != 0) {
            edge_fail(edge, "a sender is gone: %d", status);
        }
    }
}

static bool calls_answered(struct edge *edge) {
    edge_client_completions(edge);
    return edge->queue_calls == 0;
}

/* Never quiet: one that is idle and kept alive is looked at again and again. Then everything that
 * was under way is over some time after the budget is spent. */
static bool at_rest(void *arg) {
    struct edge *edge = arg;
    uint64_t now_ns = weft_sim_now_ns(edge->sim);
    if (edge->budget > 0) {
        edge->rest_ns = now_ns + REST_NS;
        return false;
    }
    return now_ns >= edge->rest_ns && edge_is_any_kept(edge);
}

/* Rest: nothing under way. Calls of the queue with a short timeout are over when somebody looks. */
static void phase_rest(struct edge *edge) {
    enum weft_sim_result result = weft_sim_run(edge->sim, EDGE_STEPS, UINT64_MAX, at_rest, edge);
    if (result == WEFT_SIM_STEPS) {
        edge_fail(edge, "no rest after %u steps", (unsigned)EDGE_STEPS);
        return;
    }
    if (result == WEFT_SIM_QUIET) {
        edge_check_idle(edge);
    }
    for (uint32_t i = 0; i < EDGE_QUEUE_CALLS && !calls_answered(edge); i++) {
        uint64_t due_ns = weft_cq_deadline(edge->queue);
        if (due_ns == UINT64_MAX) {
            break;
        }
        (void)weft_sim_run(edge->sim, EDGE_STEPS, due_ns + 1, NULL, NULL);
    }
    edge_check_quiet(edge);
}

static void run_phases(struct edge *edge) {
    for (uint32_t phase = 0; phase < edge->profile.phases && !edge->failed; phase++) {
        if (phase > 0) {
            phase_begin(edge);
        }
        if (edge->profile.abrupt && phase + 1 == edge->profile.phases) {
            (void)weft_sim_run(edge->sim, edge_magnitude(edge, 12), UINT64_MAX, NULL, NULL);
            return;
        }
        phase_rest(edge);
    }
}

/* Stops and frees everything. After a failure the runtime may be in any state and is left alone. */
static void run_end(struct edge *edge) {
    if (edge->failed) {
        return;
    }
    edge->stopping = true;
    int status = weft_sim_stop(edge->sim, edge->runtime, EDGE_STEPS);
    if (status != 0) {
        edge_fail(edge, "stop answered %d (%s)", status, weft_strerror(status));
        return;
    }
    edge_client_completions(edge);
    edge->leaving = true;
    thread_end(edge, &edge->store_thread);
    thread_end(edge, &edge->client_thread);
    weft_cq_destroy(&edge->queue);
    edge_check_stopped(edge);
    status = weft_runtime_destroy(&edge->runtime);
    if (status != 0) {
        edge_fail(edge, "destroy answered %d (%s)", status, weft_strerror(status));
        return;
    }
    if (edge->heap_blocks != 0 || edge->heap_bytes != 0) {
        edge_fail(edge, "%llu blocks, %llu bytes were not given back",
                  (unsigned long long)edge->heap_blocks, (unsigned long long)edge->heap_bytes);
    }
}

static void report_fill(const struct edge *edge, mix_report *ret_report) {
    ret_report->hash = weft_sim_hash(edge->sim);
    ret_report->steps = edge->sim->steps;
    ret_report->messages = edge->message_count;
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        ret_report->actors += (uint32_t)edge->addresses[i].begins;
    }
    ret_report->failed = edge->failed;
    memcpy(ret_report->text, edge->text, sizeof(ret_report->text));
}

void edge_run(const mix_options *options, mix_report *ret_report) {
    struct edge *edge = calloc(1, sizeof(*edge));
    weft_sim_options sim_options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT,
        .seed = options->seed,
        .pause_percent = (uint32_t)(sim_mix64(options->seed ^ 0x65) % 4 * 6),
        .nest_max = options->nest_max,
    };
    memset(ret_report, 0, sizeof(*ret_report));
    if (edge == NULL || weft_sim_create(&sim_options, &edge->sim) < 0) {
        free(edge);
        ret_report->failed = true;
        (void)snprintf(ret_report->text, sizeof(ret_report->text), "out of memory");
        return;
    }
    weft__sim_observe(edge->sim, options->observe, options->cookie);
    profile_draw(edge);
    edge_crash_draw(edge, options->seed);
    long_points(edge);
    if (run_start(edge, options->schedulers) == 0) {
        run_phases(edge);
        run_end(edge);
    }
    report_fill(edge, ret_report);
    if (!edge->failed) {
        weft_sim_destroy(&edge->sim);
        free(edge);
    }
}
