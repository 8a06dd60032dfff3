/* SPDX-License-Identifier: MIT
 *
 * Prints the nanoseconds one cache line needs to the other core and back: on a shared host the
 * two virtual cores are sometimes near, sometimes far apart, and that moves the figures. The run
 * scripts call it before and after each measurement.
 */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 100000 };

static _Alignas(128) atomic_int flag;

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* one core: then unpinned */
}

static void *other(void *arg) {
    pin(1);
    for (int i = 0; i < ROUNDS; i++) {
        while (atomic_load_explicit(&flag, memory_order_acquire) != 1) {
        }
        atomic_store_explicit(&flag, 0, memory_order_release);
    }
    return arg;
}

int main(void) {
    struct timespec begin;
    struct timespec end;
    pthread_t thread;
    double elapsed_ns;

    pin(0);
    if (pthread_create(&thread, NULL, other, NULL) != 0) {
        return 1;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < ROUNDS; i++) {
        atomic_store_explicit(&flag, 1, memory_order_release);
        while (atomic_load_explicit(&flag, memory_order_acquire) != 0) {
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    (void)pthread_join(thread, NULL);
    elapsed_ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    (void)printf("%.0f\n", elapsed_ns / ROUNDS);
    return 0;
}
