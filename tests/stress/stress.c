/* SPDX-License-Identifier: MIT
 *
 * stress [--seconds N] [--schedulers N] [--seed N]
 *
 * Rounds of about a second each. Each creates a runtime with settings drawn from the seed, lets it
 * run, and ends it in one of two ways: quietly (nothing new is begun; then everything that was
 * begun must end by itself, which a lost wake-up or a lost message prevents) or abruptly, in the
 * middle of everything. In both cases the books must balance afterwards.
 */
#define _GNU_SOURCE
#include "stress.h"
#include "rounds.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t current_seed;

void stress_fail(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "stress: seed %llu: %s\n", (unsigned long long)current_seed, text);
    abort();
}

/* ---- an allocator that keeps books ---------------------------------------------------------- */

struct books {
    _Atomic uint64_t blocks;
    _Atomic uint64_t bytes;
    _Atomic uint64_t committed;
};

struct header {
    size_t size;
    const char *tag;
};

static void *books_alloc(void *cookie, size_t size, const char *tag) {
    struct books *books = cookie;
    struct header *header = malloc(sizeof(*header) + size);
    if (header == NULL) {
        return NULL;
    }
    *header = (struct header){.size = size, .tag = tag};
    atomic_fetch_add_explicit(&books->blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&books->bytes, size, memory_order_relaxed);
    return header + 1;
}

static void books_free(void *cookie, void *memory, size_t size, const char *tag) {
    struct books *books = cookie;
    struct header *header = (struct header *)memory - 1;
    if (header->size != size || strcmp(header->tag, tag) != 0) {
        stress_fail("%zu bytes of %s were freed as %zu of %s", header->size, header->tag, size,
                    tag);
    }
    header->tag = "freed";
    atomic_fetch_sub_explicit(&books->blocks, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&books->bytes, size, memory_order_relaxed);
    free(header);
}

static int books_commit(void *cookie, size_t size, const char *tag) {
    struct books *books = cookie;
    (void)tag;
    atomic_fetch_add_explicit(&books->committed, size, memory_order_relaxed);
    return 0;
}

/* ---- the end of a round --------------------------------------------------------------------- */

static void balance(struct stress *stress, enum stress_count begun, const char *what) {
    uint64_t began = stress_get(stress, begun);
    uint64_t ended = stress_get(stress, begun + 1);
    if (began != ended) {
        stress_fail("%s: %llu began, %llu ended", what, (unsigned long long)began,
                    (unsigned long long)ended);
    }
}

static bool all_ended(struct stress *stress) {
    for (int count = STRESS_CALLS; count < STRESS_SPAWNED; count += 2) {
        if (stress_get(stress, count) != stress_get(stress, count + 1)) {
            return false;
        }
    }
    return stress_get(stress, STRESS_SPAWNED) == stress_get(stress, STRESS_INITS);
}

/* Nothing new begins: what is under way must end by itself. */
static void wait_quiet(struct stress *stress, uint64_t patience_ns) {
    uint64_t until_ns = now_ns() + patience_ns;
    atomic_store(&stress->quiet, 1);
    while (!all_ended(stress)) {
        if (now_ns() > until_ns) {
            weft_runtime_dump(stress->runtime, 2);
            balance(stress, STRESS_CALLS, "calls, quietly");
            balance(stress, STRESS_TIMERS, "timers, quietly");
            balance(stress, STRESS_JOBS, "jobs, quietly");
            balance(stress, STRESS_READIES, "READY, quietly");
            balance(stress, STRESS_SPAWNED, "spawns, quietly");
        }
        sleep_ns(1000000);
    }
}

/* After stop. */
static void check_books(struct stress *stress) {
    balance(stress, STRESS_CALLS, "calls");
    balance(stress, STRESS_TIMERS, "timers");
    balance(stress, STRESS_JOBS, "jobs");
    balance(stress, STRESS_READIES, "READY");
    balance(stress, STRESS_SPAWNED, "spawns and inits");
    if (stress_get(stress, STRESS_INITS) != stress_get(stress, STRESS_CLEANED)) {
        stress_fail("%llu inits, %llu cleanups",
                    (unsigned long long)stress_get(stress, STRESS_INITS),
                    (unsigned long long)stress_get(stress, STRESS_CLEANED));
    }
    weft_stats stats = {.struct_size = sizeof(stats)};
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    if (weft_stats_read(stress->runtime, WEFT_STATS_ALL, &stats) != 0 ||
        weft_gauges_read(stress->runtime, &gauges) != 0) {
        stress_fail("statistics could not be read");
    }
    uint64_t arrived = stats.messages_handled + stats.messages_dead + stats.messages_dropped +
                       stats.requests_expired + stats.replies_late;
    if (stats.messages_sent != arrived) {
        stress_fail(
            "%llu messages sent, but handled %llu + dead %llu + dropped %llu + expired %llu "
            "+ late %llu",
            (unsigned long long)stats.messages_sent, (unsigned long long)stats.messages_handled,
            (unsigned long long)stats.messages_dead, (unsigned long long)stats.messages_dropped,
            (unsigned long long)stats.requests_expired, (unsigned long long)stats.replies_late);
    }
    if (gauges.actors != 0 || gauges.timers != 0 || gauges.messages != 0 || gauges.buffers != 0 ||
        gauges.blocking_queued != 0) {
        stress_fail("left after stop: %llu actors, %llu messages, %llu timers, %llu buffers, "
                    "%llu jobs",
                    (unsigned long long)gauges.actors, (unsigned long long)gauges.messages,
                    (unsigned long long)gauges.timers, (unsigned long long)gauges.buffers,
                    (unsigned long long)gauges.blocking_queued);
    }
    if (stats.spawns != stats.exits) {
        stress_fail("%llu spawns, %llu exits", (unsigned long long)stats.spawns,
                    (unsigned long long)stats.exits);
    }
}

static void report(struct stress *stress, bool quiet) {
    weft_stats stats = {.struct_size = sizeof(stats)};
    if (weft_stats_read(stress->runtime, WEFT_STATS_ALL, &stats) != 0) {
        stress_fail("statistics could not be read");
    }
    (void)printf("seed %llu: %s end, %llu actors, %llu messages, %llu calls, %llu timers, "
                 "%llu dead, %llu dropped, %llu expired, %llu late, %llu READY, %llu stolen, "
                 "turns %llu high, %llu low of %llu\n",
                 (unsigned long long)stress->seed, quiet ? "quiet" : "abrupt",
                 (unsigned long long)stats.spawns, (unsigned long long)stats.messages_sent,
                 (unsigned long long)stress_get(stress, STRESS_CALLS),
                 (unsigned long long)stress_get(stress, STRESS_TIMERS),
                 (unsigned long long)stats.messages_dead,
                 (unsigned long long)stats.messages_dropped,
                 (unsigned long long)stats.requests_expired, (unsigned long long)stats.replies_late,
                 (unsigned long long)stress_get(stress, STRESS_READIES),
                 (unsigned long long)stats.stolen, (unsigned long long)stats.runs_high,
                 (unsigned long long)stats.runs_low, (unsigned long long)stats.runs);
    (void)fflush(stdout);
}

/* ---- a round -------------------------------------------------------------------------------- */

static void settings(weft_config *config, uint64_t *random, struct books *books) {
    static const uint32_t rings[] = {16, 64, 256, 4096};
    config->budget =
        stress_random(random) % 2 == 0 ? 0 : 1 + (uint32_t)(stress_random(random) % 64);
    config->lifo_none = stress_random(random) % 4 == 0;
    config->ring_size = rings[stress_random(random) % 4];
    config->spin_none = stress_random(random) % 2 == 0;
    config->steal = stress_random(random) % 8 == 0 ? WEFT_STEAL_NONE : WEFT_STEAL_HALF;
    config->blocking_threads = 1 + (uint32_t)(stress_random(random) % 4);
    config->blocking_queue = 16;
    config->watchdog_ns = 1000000;
    config->arena_bytes = UINT64_C(4) << 30;
    config->actors_max = 1 << 20;
    config->pool_bytes = stress_random(random) % 2 == 0 ? 65536 : 0;
    config->allocator = (weft_allocator){
        .cookie = books, .alloc = books_alloc, .free = books_free, .commit = books_commit};
}

static void begin(struct stress *stress, struct books *books) {
    uint64_t random = stress->seed;
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = stress->schedulers};
    settings(&config, &random, books);
    int result = weft_runtime_create(&config, &stress->runtime);
    if (result != 0) {
        stress_fail("create answered %d", result);
    }
    result = stress_types_register(stress);
    if (result != 0) {
        stress_fail("registering types answered %d", result);
    }
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &stress, .arg_size = sizeof(stress)};
    weft_pid dead;
    result = weft_runtime_spawn(stress->runtime, stress->dead_type, &options, &dead);
    if (result != 0 || weft_dead_letters(stress->runtime, dead) != 0) {
        stress_fail("the subscriber could not be spawned: %d", result);
    }
    result = weft_runtime_start(stress->runtime);
    if (result != 0) {
        stress_fail("start answered %d", result);
    }
}

static void stop(struct stress *stress) {
    uint64_t until_ns = now_ns() + ROUND_PATIENCE_NS;
    int result;
    while ((result = weft_runtime_stop(stress->runtime, 100000000)) == -ETIMEDOUT) {
        if (now_ns() > until_ns) {
            weft_runtime_dump(stress->runtime, 2);
            stress_fail("the runtime does not stop");
        }
    }
    if (result != 0) {
        stress_fail("stop answered %d", result);
    }
}

static void run_round(uint64_t seed, uint32_t schedulers, uint64_t run_ns) {
    struct books books = {0};
    struct stress *stress = calloc(1, sizeof(*stress));
    if (stress == NULL) {
        stress_fail("out of memory");
    }
    current_seed = seed;
    stress->seed = seed;
    stress->schedulers = schedulers;
    stress->alive_max = 300 + seed % 3 * 500;
    begin(stress, &books);
    struct stress_thread threads[STRESS_OUTSIDE];
    pthread_t ids[STRESS_OUTSIDE];
    for (uint32_t i = 0; i < STRESS_OUTSIDE; i++) {
        threads[i] = (struct stress_thread){.stress = stress, .index = i};
        if (pthread_create(&ids[i], NULL, stress_outside, &threads[i]) != 0) {
            stress_fail("a thread could not be started");
        }
    }
    sleep_ns(run_ns);
    bool quiet = seed % 2 == 0;
    if (quiet) {
        wait_quiet(stress, ROUND_PATIENCE_NS);
        atomic_store(&stress->leaving, 1);
        stop(stress);
    } else {
        stop(stress); /* while the threads outside go on */
        atomic_store(&stress->leaving, 1);
    }
    for (uint32_t i = 0; i < STRESS_OUTSIDE; i++) {
        (void)pthread_join(ids[i], NULL);
    }
    check_books(stress);
    report(stress, quiet);
    if (weft_runtime_destroy(&stress->runtime) != 0 || stress->runtime != NULL) {
        stress_fail("the runtime could not be destroyed");
    }
    if (atomic_load(&books.blocks) != 0 || atomic_load(&books.bytes) != 0) {
        stress_fail("%llu blocks, %llu bytes were not freed",
                    (unsigned long long)atomic_load(&books.blocks),
                    (unsigned long long)atomic_load(&books.bytes));
    }
    free(stress);
}

int main(int argc, char **argv) {
    return rounds_main(argc, argv, "stress", run_round);
}
