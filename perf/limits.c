/* SPDX-License-Identifier: MIT
 *
 * Floors of the machine that the cross-core workloads are set beside: a cache line there and back
 * between two cores, and a futex wake of a sleeping thread on another core. Each is measured in
 * the measuring process just before the workload, since a virtual machine's host moves its cores.
 *
 * Two threads, pinned to the first two CPUs this process may use; the caller's own affinity stays.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf.h"

enum {
    CACHELINE_ROUNDS = 100000,
    FUTEX_PAUSE_NS = 1000000, /* the other thread is asleep by then */
};

struct limit {
    int cpus[2];
    uint32_t rounds;
    uint64_t *samples; /* written by the woken thread only, read after its end */
    double result;
    /* both threads */
    alignas(PERF_CACHE_PAIR) _Atomic uint32_t flag;
    alignas(PERF_CACHE_PAIR) _Atomic uint64_t sent_ns; /* before the wake of this round */
};

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
        perf_die("cannot pin a thread to CPU %d", cpu);
    }
}

bool perf_two_cpus(int cpus[2]) {
    uint32_t found = 0;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return false;
    }
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++) {
        if (CPU_ISSET(i, &set)) {
            cpus[found] = i;
            found++;
        }
    }
    return found == 2;
}

/* ---- cache line ----------------------------------------------------------------------------- */

/* C1: each store hands the line over with release, each load takes it with acquire; nothing else
 * is guarded by it. Loops are bounded by the other thread's loop. */
static void *cacheline_back(void *arg) {
    struct limit *limit = arg;

    pin(limit->cpus[1]);
    for (uint32_t i = 0; i < limit->rounds; i++) {
        while (atomic_load_explicit(&limit->flag, memory_order_acquire) != 1) {
        }
        atomic_store_explicit(&limit->flag, 0, memory_order_release);
    }
    return NULL;
}

static void *cacheline_forth(void *arg) {
    struct limit *limit = arg;
    uint64_t begin;

    pin(limit->cpus[0]);
    begin = perf_clock_ns();
    for (uint32_t i = 0; i < limit->rounds; i++) {
        atomic_store_explicit(&limit->flag, 1, memory_order_release);
        while (atomic_load_explicit(&limit->flag, memory_order_acquire) != 0) {
        }
    }
    limit->result = (double)(perf_clock_ns() - begin) / (double)limit->rounds;
    return NULL;
}

/* ---- futex ---------------------------------------------------------------------------------- */

static long futex(_Atomic uint32_t *word, int operation, uint32_t value) {
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static void *futex_sleeper(void *arg) {
    struct limit *limit = arg;

    pin(limit->cpus[1]);
    for (uint32_t i = 0; i < limit->rounds; i++) {
        uint64_t now;

        /* Until this round's wake; woken in vain at most a few times. */
        while (atomic_load_explicit(&limit->flag, memory_order_acquire) == i) {
            (void)futex(&limit->flag, FUTEX_WAIT_PRIVATE, i); /* the flag says what happened */
        }
        now = perf_clock_ns();
        limit->samples[i] = now - atomic_load_explicit(&limit->sent_ns, memory_order_relaxed);
    }
    return NULL;
}

static void *futex_waker(void *arg) {
    struct limit *limit = arg;

    pin(limit->cpus[0]);
    for (uint32_t i = 0; i < limit->rounds; i++) {
        perf_sleep_ns(FUTEX_PAUSE_NS);
        atomic_store_explicit(&limit->sent_ns, perf_clock_ns(), memory_order_relaxed);
        /* F1: publishes sent_ns; pairs with the sleeper's load of the flag. */
        atomic_store_explicit(&limit->flag, i + 1, memory_order_release);
        (void)futex(&limit->flag, FUTEX_WAKE_PRIVATE, 1); /* 0 when it was not yet asleep */
    }
    return NULL;
}

/* ---- both ----------------------------------------------------------------------------------- */

static bool limit_run(struct limit *limit, void *(*first)(void *), void *(*second)(void *)) {
    pthread_t threads[2];

    if (!perf_two_cpus(limit->cpus)) {
        return false;
    }
    if (pthread_create(&threads[0], NULL, first, limit) != 0 ||
        pthread_create(&threads[1], NULL, second, limit) != 0) {
        perf_die("cannot start a thread");
    }
    (void)pthread_join(threads[0], NULL); /* both are joinable and end by themselves */
    (void)pthread_join(threads[1], NULL);
    return true;
}

double perf_limit_cacheline_ns(void) {
    struct limit limit = {.rounds = CACHELINE_ROUNDS};

    return limit_run(&limit, cacheline_back, cacheline_forth) ? limit.result : 0;
}

double perf_limit_futex_ns(uint32_t samples) {
    struct limit limit = {.rounds = samples};
    double result = 0;

    limit.samples = perf_alloc(samples, sizeof(*limit.samples));
    if (limit_run(&limit, futex_sleeper, futex_waker)) {
        perf_sort(limit.samples, samples);
        result = (double)perf_quantile(limit.samples, samples, 500);
    }
    free(limit.samples);
    return result;
}
