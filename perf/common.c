/* SPDX-License-Identifier: MIT
 *
 * Helpers of the workloads: clock, errors, memory, figures, the gate between actors and the main
 * thread, spawning from outside. Called by the main thread of a measuring process, except the
 * clock, perf_die and perf_gate_pass, which any thread calls.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "perf.h"

enum { GATE_SECONDS = 120 };

uint64_t perf_clock_ns(void) {
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void perf_die(const char *format, ...) {
    va_list args;

    va_start(args, format);
    (void)fputs("weft-perf: ", stderr); /* nothing is left to do when this fails */
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    /* Not exit: schedulers are running, and destructors would pull things from under them. */
    _exit(1);
}

void *perf_alloc(size_t count, size_t size) {
    void *memory = calloc(count != 0 ? count : 1, size);

    if (memory == NULL) {
        perf_die("out of memory for %zu objects of %zu bytes", count, size);
    }
    return memory;
}

void *perf_alloc_aligned(size_t count, size_t size) {
    size_t bytes = (count * size + PERF_CACHE_PAIR - 1) / PERF_CACHE_PAIR * PERF_CACHE_PAIR;
    void *memory = aligned_alloc(PERF_CACHE_PAIR, bytes);

    if (memory == NULL) {
        perf_die("out of memory for %zu bytes", bytes);
    }
    memset(memory, 0, bytes);
    return memory;
}

uint64_t perf_count(const struct perf *perf, uint64_t count) {
    double scaled = (double)count * perf->scale;

    return scaled < 1.0 ? 1 : (uint64_t)scaled;
}

void perf_emit(struct perf *perf, const char *name, double value, const char *unit) {
    if (perf->captured_name != NULL && strcmp(perf->captured_name, name) == 0) {
        perf->captured = value;
    }
    if (perf->muted || perf->captured_name != NULL) {
        return;
    }
    if (printf("weft %s %.*f %s\n", name, value < 1000.0 ? 4 : 0, value, unit) < 0) {
        perf_die("cannot write: %s", strerror(errno));
    }
}

double perf_rate(uint64_t count, uint64_t elapsed_ns) {
    return (double)count * 1e9 / (double)(elapsed_ns != 0 ? elapsed_ns : 1);
}

static int sort_compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return a < b ? -1 : (a > b ? 1 : 0);
}

void perf_sort(uint64_t *values, uint64_t count) {
    qsort(values, count, sizeof(*values), sort_compare);
}

uint64_t perf_quantile(const uint64_t *sorted, uint64_t count, uint32_t per_mille) {
    uint64_t index = count / 1000 * per_mille + count % 1000 * per_mille / 1000;

    if (count == 0) {
        perf_die("no samples");
    }
    return sorted[index < count ? index : count - 1];
}

int64_t perf_status_bytes(const char *key) {
    FILE *file = fopen("/proc/self/status", "re");
    size_t key_size = strlen(key);
    int64_t kilobytes = -1;
    char line[256];

    if (file == NULL) {
        perf_die("/proc/self/status: %s", strerror(errno));
    }
    /* Bounded by the file, which has some 60 lines. */
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, key_size) == 0 && line[key_size] == ':') {
            kilobytes = strtoll(line + key_size + 1, NULL, 10);
            break;
        }
    }
    (void)fclose(file); /* it was only read */
    if (kilobytes < 0) {
        perf_die("/proc/self/status has no %s", key);
    }
    return kilobytes * 1024;
}

/* ---- gate ---------------------------------------------------------------------------------- */

void perf_gate_init(struct perf_gate *gate, uint64_t count) {
    if (sem_init(&gate->open, 0, 0) != 0) {
        perf_die("sem_init: %s", strerror(errno));
    }
    atomic_store_explicit(&gate->left, count, memory_order_relaxed); /* not shared yet */
}

void perf_gate_pass(struct perf_gate *gate) {
    /* G1: what a passer wrote before is visible to the last one, and by the semaphore to the
     * waiter: release for the one, acquire for the other. */
    if (atomic_fetch_sub_explicit(&gate->left, 1, memory_order_acq_rel) == 1) {
        (void)sem_post(&gate->open); /* fails only on overflow: it is posted once */
    }
}

void perf_gate_wait(struct perf_gate *gate, const char *what) {
    struct timespec until;
    int result;

    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
    until.tv_sec += GATE_SECONDS;
    do {
        result = sem_clockwait(&gate->open, CLOCK_MONOTONIC, &until);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        perf_die("%s: not done after %d s, %" PRIu64 " missing", what, (int)GATE_SECONDS,
                 atomic_load_explicit(&gate->left, memory_order_relaxed));
    }
    (void)sem_destroy(&gate->open); /* nobody waits on it */
}

/* ---- runtime ------------------------------------------------------------------------------- */

const weft_type *perf_type(struct perf *perf, const weft_type_def *def) {
    const weft_type *type = weft_type_find(perf->runtime, def->name);

    if (type == NULL) {
        perf_check(weft_type_register(perf->runtime, def, &type), def->name);
    }
    return type;
}

weft_pid perf_spawn_with(struct perf *perf, const weft_type *type,
                         const weft_spawn_options *options) {
    weft_pid pid = weft_pid_none();

    perf_check(weft_runtime_spawn(perf->runtime, type, options, &pid), "spawn");
    return pid;
}

weft_pid perf_spawn(struct perf *perf, const weft_type *type, const void *arg, size_t arg_size) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = arg, .arg_size = arg_size};

    return perf_spawn_with(perf, type, &options);
}

void perf_post(struct perf *perf, weft_pid target, uint32_t tag, uint64_t value) {
    perf_check(weft_runtime_send(perf->runtime, target, tag, &value, sizeof(value)),
               "send from outside");
}

void perf_stop_all(struct perf *perf, const weft_pid *pids, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        perf_check(weft_runtime_stop_actor(perf->runtime, pids[i], 0), "stop an actor");
    }
}

void perf_sleep_ns(uint64_t duration_ns) {
    struct timespec left = {.tv_sec = (time_t)(duration_ns / 1000000000U),
                            .tv_nsec = (long)(duration_ns % 1000000000U)};
    int result;

    do {
        result = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left);
    } while (result == EINTR);
}
