/* SPDX-License-Identifier: MIT
 *
 * Reading statistics, inspecting actors, and the dump for crash handlers. Everything here only
 * reads, from any thread; nothing is stopped. See weft/stats.h.
 */
#include "core/config.h"
#include "sched/actor.h"
#include "sched/blocking.h"
#include "sched/tracing.h"
#include <string.h>
#include <unistd.h>

/* ---- counters ------------------------------------------------------------------------------ */

/* Each counter's place inside and in the public struct. */
struct place {
    size_t inside;
    size_t outside;
};
#define PLACE(name)                                                                                \
    { offsetof(struct weft__counters, name), offsetof(weft_stats, name) }

static const struct place places[] = {
    PLACE(messages_sent),
    PLACE(messages_handled),
    PLACE(messages_rejected),
    PLACE(messages_dead),
    PLACE(messages_dropped),
    PLACE(requests_expired),
    PLACE(replies_late),
    PLACE(signals),
    PLACE(runs),
    PLACE(spawns),
    PLACE(exits),
    PLACE(crashes),
    PLACE(lifo_runs),
    PLACE(steals),
    PLACE(stolen),
    PLACE(steal_misses),
    PLACE(overflows),
    PLACE(parks),
    PLACE(wakes),
    PLACE(timers_started),
    PLACE(timers_fired),
    PLACE(timers_cancelled),
    PLACE(blocking_jobs),
    PLACE(blocking_rejected),
    PLACE(watchdog_stuck),
    PLACE(rescued),
    PLACE(io_accepts),
    PLACE(io_connects),
    PLACE(io_refused),
    PLACE(io_accept_errors),
    PLACE(io_closes),
    PLACE(io_received),
    PLACE(io_sent),
    PLACE(io_starved),
    PLACE(io_enters),
    PLACE(io_submitted),
    PLACE(io_overflows),
    PLACE(io_copied),
    PLACE(io_timeouts),
    PLACE(tls_handshakes),
    PLACE(tls_failures),
    PLACE(virtual_activations),
    PLACE(virtual_passivations),
    PLACE(virtual_loads),
    PLACE(virtual_saves),
    PLACE(virtual_store_errors),
    PLACE(virtual_forgotten),
    PLACE(runs_high),
    PLACE(runs_low),
    PLACE(virtual_breaks),
    PLACE(virtual_refused),
    PLACE(virtual_crashes_lost),
    PLACE(io_resets),
};
_Static_assert(sizeof(places) / sizeof(places[0]) * sizeof(weft_counter) ==
                   sizeof(struct weft__counters),
               "every counter is shown");

static void add_counters(weft_stats *stats, const struct weft__counters *counters) {
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const weft_counter *from =
            (const weft_counter *)(const void *)((const char *)counters + places[i].inside);
        uint64_t *to = (uint64_t *)(void *)((char *)stats + places[i].outside);
        *to += weft_load64_acquire(from); /* an exit that was counted has happened */
    }
}

static void add_pool(weft_stats *stats, const struct weft__pool *pool) {
    uint64_t refills = weft_load64_relaxed(&pool->refills);
    uint64_t allocated = weft_load64_relaxed(&pool->allocated);
    stats->pool_hits += allocated > refills ? allocated - refills : 0;
    stats->pool_refills += refills;
    stats->pool_returns += weft_load64_relaxed(&pool->returned);
    stats->pool_trims += weft_load64_relaxed(&pool->trims);
}

static void add_scheduler(weft_stats *stats, weft_runtime *runtime, uint32_t scheduler) {
    if (scheduler == 0) {
        add_counters(stats, &runtime->outside);
        add_pool(stats, &runtime->shared_pool);
        return;
    }
    const struct weft__scheduler *s = runtime->schedulers[scheduler - 1];
    add_counters(stats, &s->counters);
    add_pool(stats, &s->pool);
}

/* Gives the caller as much of a struct as it knows: its struct_size says so. */
static int give(void *target, const void *source, size_t size) {
    size_t wanted;
    memcpy(&wanted, target, sizeof(wanted));
    if (wanted < sizeof(wanted) || wanted > size) {
        return -EINVAL;
    }
    memcpy((char *)target + sizeof(wanted), (const char *)source + sizeof(wanted),
           wanted - sizeof(wanted));
    return 0;
}

int weft_stats_read(weft_runtime *runtime, uint32_t scheduler, weft_stats *ret_stats) {
    if (runtime == NULL || ret_stats == NULL ||
        (scheduler != WEFT_STATS_ALL && scheduler > runtime->count)) {
        return -EINVAL;
    }
    weft_stats stats = {.struct_size = sizeof(stats)};
    if (scheduler != WEFT_STATS_ALL) {
        add_scheduler(&stats, runtime, scheduler);
        return give(ret_stats, &stats, sizeof(stats));
    }
    for (uint32_t id = 0; id <= runtime->count; id++) {
        add_scheduler(&stats, runtime, id);
    }
    return give(ret_stats, &stats, sizeof(stats));
}

/* ---- gauges -------------------------------------------------------------------------------- */

static void count_pool(weft_gauges *gauges, const struct weft__pool *pool) {
    gauges->messages -= weft_load64_acquire(&pool->freed);
    gauges->messages += weft_load64_acquire(&pool->allocated);
}

int weft_gauges_read(weft_runtime *runtime, weft_gauges *ret_gauges) {
    if (runtime == NULL || ret_gauges == NULL) {
        return -EINVAL;
    }
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    count_pool(&gauges, &runtime->shared_pool);
    for (uint32_t id = 0; id < runtime->count; id++) {
        const struct weft__scheduler *s = runtime->schedulers[id];
        gauges.actors -= weft_load64_acquire(&s->counters.exits);
        gauges.timers += weft_load64_relaxed(&s->wheel.pending);
        count_pool(&gauges, &s->pool);
        bool parked = weft_load32_relaxed(&s->phase_shown) == WEFT__PHASE_PARKED;
        gauges.schedulers_parked += parked ? 1 : 0;
    }
    for (uint32_t id = 0; id < runtime->count; id++) {
        gauges.actors += weft_load64_acquire(&runtime->schedulers[id]->counters.spawns);
    }
    gauges.actors += weft_load64_acquire(&runtime->outside.spawns);
    gauges.buffers = weft_load64_relaxed(&runtime->core.buffers);
    gauges.slots_retired = weft_load64_relaxed(&runtime->retired);
    gauges.arena_bytes = weft_load64_relaxed(&runtime->core.messages.used);
    gauges.slot_bytes = weft_load64_relaxed(&runtime->slots.used);
    gauges.heap_bytes = weft_load64_relaxed(&runtime->core.heap_bytes);
    gauges.io_open = weft_load32_acquire(&runtime->upper_busy);
    gauges.blocking_queued = weft__blocking_queued(runtime);
    return give(ret_gauges, &gauges, sizeof(gauges));
}

/* ---- histograms ---------------------------------------------------------------------------- */

int weft_histogram_read(weft_runtime *runtime, uint32_t scheduler, enum weft_histogram_id id,
                        weft_histogram *ret_histogram) {
    if (runtime == NULL || ret_histogram == NULL || (unsigned)id >= WEFT_HISTOGRAM_COUNT ||
        (scheduler != WEFT_STATS_ALL && scheduler > runtime->count)) {
        return -EINVAL;
    }
    memset(ret_histogram, 0, sizeof(*ret_histogram));
    if (id == WEFT_HISTOGRAM_BLOCKING_WAIT) {
        if (scheduler == 0 || scheduler == WEFT_STATS_ALL) {
            weft__blocking_wait_times(runtime, ret_histogram);
        }
        return 0;
    }
    uint32_t first = scheduler == WEFT_STATS_ALL ? 1 : scheduler;
    uint32_t last = scheduler == WEFT_STATS_ALL ? runtime->count : scheduler;
    for (uint32_t at = first; at <= last && at != 0; at++) {
        const struct weft__scheduler *s = runtime->schedulers[at - 1];
        weft_histogram_merge(ret_histogram, id == WEFT_HISTOGRAM_MAILBOX_WAIT ? &s->mailbox_wait
                                                                              : &s->handler_time);
    }
    return 0;
}

/* ---- inspection ---------------------------------------------------------------------------- */

/* As its user knows it: without the doubling for drop-old. */
static uint32_t mailbox_max(const weft_type *type) {
    if (type->bound == 0) {
        return WEFT_MAILBOX_UNBOUNDED;
    }
    return (type->traits & WEFT__TRAIT_DROP_OLD) != 0 ? type->bound / 2 : type->bound;
}

/* What an actor's record in the layer of virtual actors takes. */
enum { VIRTUAL_BYTES = WEFT_CACHELINE };

/* The slot's own index and generation are its tenant's: another may be moving in. */
static uint64_t memory_of(const weft_runtime *runtime, uint32_t index, const weft_type *type,
                          uint32_t traits) {
    const struct weft__look *look = weft__look_at(runtime, index);
    uint64_t bytes = sizeof(struct weft_ctx) + (type->small ? 0 : type->def.state_size);
    bytes += look == NULL ? 0 : (uint64_t)weft_load32_relaxed(&look->memory) * WEFT_CACHELINE;
    return bytes + ((traits & WEFT__TRAIT_VIRTUAL) != 0 ? VIRTUAL_BYTES : 0);
}

static uint64_t sent_of(const weft_runtime *runtime, uint32_t index, uint32_t traits) {
    const struct weft__look *look = weft__look_at(runtime, index);
    const struct weft_ctx *slot = weft__slot_at(&runtime->slots, index);
    uint64_t sent = weft_load32_relaxed(&slot->mailbox.sent);
    if ((traits & WEFT__TRAIT_SENT_MUCH) != 0 && look != NULL) {
        sent |= (uint64_t)weft_load32_relaxed(&look->sent_high) << 32;
    }
    return sent; /* about: it may have wrapped just now */
}

int weft_inspect(weft_runtime *runtime, weft_pid pid, weft_actor_info *ret_info) {
    if (runtime == NULL || ret_info == NULL) {
        return -EINVAL;
    }
    if (pid.node != runtime->node || pid.gen == 0 ||
        ((uint64_t)pid.slot + 1) * sizeof(struct weft_ctx) >
            weft_load64_acquire(&runtime->slots.used)) {
        return WEFT_E_NOPROC;
    }
    struct weft_ctx *slot = weft__slot_at(&runtime->slots, pid.slot);
    uint64_t word = weft_load64_acquire(&slot->mailbox.word);
    uint32_t traits = weft_load32_relaxed(&slot->traits);
    if ((uint32_t)(word >> 32) != pid.gen || (uint32_t)word == WEFT__MAILBOX_CLOSED ||
        (traits & WEFT__TRAIT_PORT) != 0) {
        return WEFT_E_NOPROC;
    }
    uint32_t low = (uint32_t)word;
    const weft_type *type = runtime->types[weft_load32_relaxed(&slot->type_id)];
    uint64_t parent = weft_load64_relaxed(&slot->parent);
    uint32_t aside = weft__put_aside(slot, type);
    weft_actor_info info = {
        .struct_size = sizeof(info),
        .type = type,
        .cell = low == WEFT__MAILBOX_IDLE ? WEFT_CELL_IDLE : WEFT_CELL_READY,
        .mailbox = weft__mailbox_length(&slot->mailbox, &runtime->core.messages) + aside,
        .mailbox_max = mailbox_max(type),
        .scheduler = weft_load32_relaxed(&slot->scheduler) + 1,
        .pinned = (traits & WEFT__TRAIT_PINNED) != 0,
        .messages = weft_load64_relaxed(&slot->handled),
        .parent = {.node = parent == 0 ? 0 : runtime->node,
                   .slot = (uint32_t)(parent >> 32),
                   .gen = (uint32_t)parent},
        .sent = sent_of(runtime, pid.slot, traits),
        .aside = aside,
        .traced = (traits & WEFT__TRAIT_TRACED) != 0 ? 1 : 0,
        .memory_bytes = memory_of(runtime, pid.slot, type, traits),
    };
    if ((uint32_t)(weft_load64_acquire(&slot->mailbox.word) >> 32) != pid.gen) {
        return WEFT_E_NOPROC; /* it ended while we looked: part of this was somebody else's */
    }
    return give(ret_info, &info, sizeof(info));
}

/* ---- dump ---------------------------------------------------------------------------------- */

static void dump_number(weft__text *line, const char *key, uint64_t value) {
    weft__text_put_char(line, ' ');
    weft__text_put(line, key);
    weft__text_put_char(line, '=');
    weft__text_put_u64(line, value);
}

static const char *phase_name(uint32_t phase) {
    static const char *const names[] = {"run", "search", "announce", "recheck", "parked", "exited"};
    return phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "?";
}

static void write_line(int fd, weft__text *line, const char *bytes) {
    weft__text_put_char(line, '\n');
    ssize_t written = write(fd, bytes, strlen(bytes));
    (void)written; /* a crash handler has nobody to tell */
}

static void dump_scheduler(weft_runtime *runtime, uint32_t id, int fd) {
    const struct weft__scheduler *s = runtime->schedulers[id];
    char bytes[512];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, "weft scheduler");
    dump_number(&line, "id", id + 1);
    weft__text_put(&line, " phase=");
    weft__text_put(&line, phase_name(weft_load32_relaxed(&s->phase_shown)));
    uint32_t running = weft_load32_relaxed(&s->running);
    if (running != 0) {
        struct weft_ctx *slot = weft__slot_at(&runtime->slots, running);
        uint32_t type = weft_load32_relaxed(&slot->type_id);
        dump_number(&line, "slot", running);
        dump_number(&line, "gen", weft_load64_relaxed(&slot->mailbox.word) >> 32);
        dump_number(&line, "mailbox",
                    weft__mailbox_length(&slot->mailbox, &runtime->core.messages));
        weft__text_put(&line, " type=");
        weft__text_put(&line, runtime->types[type]->name);
    }
    dump_number(&line, "queued", weft__rings_length(s));
    dump_number(&line, "timers", weft_load64_relaxed(&s->wheel.pending));
    dump_number(&line, "runs", weft_load64_relaxed(&s->counters.runs));
    dump_number(&line, "handled", weft_load64_relaxed(&s->counters.messages_handled));
    dump_number(&line, "sent", weft_load64_relaxed(&s->counters.messages_sent));
    dump_number(&line, "crashes", weft_load64_relaxed(&s->counters.crashes));
    dump_number(&line, "parks", weft_load64_relaxed(&s->counters.parks));
    write_line(fd, &line, bytes);
}

void weft_runtime_dump(weft_runtime *runtime, int fd) {
    if (runtime == NULL) {
        return;
    }
    char bytes[256];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, "weft runtime");
    dump_number(&line, "node", runtime->node);
    dump_number(&line, "phase", weft_load32_relaxed(&runtime->phase));
    dump_number(&line, "schedulers", runtime->count);
    dump_number(&line, "overflow", weft_load32_relaxed(&runtime->overflow.count));
    dump_number(&line, "searching", weft_load32_relaxed(&runtime->idle.searching));
    dump_number(&line, "slot_bytes", weft_load64_relaxed(&runtime->slots.used));
    dump_number(&line, "message_bytes", weft_load64_relaxed(&runtime->core.messages.used));
    write_line(fd, &line, bytes);
    for (uint32_t id = 0; id < runtime->count; id++) {
        dump_scheduler(runtime, id, fd);
    }
}
