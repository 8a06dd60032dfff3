/* SPDX-License-Identifier: MIT
 *
 * What all actors of the server share: the types they call each other by, and counters. Made by main
 * before the first connection; only counters and budgets change afterwards. A scheduler writes its own line
 * of them, so counting costs no lock; a sum over all lines is exact while nothing changes.
 */
#ifndef EXAMPLES_RESP_RESP_H
#define EXAMPLES_RESP_RESP_H

#include "budget.h"
#include "parser.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <time.h>
#include <weft/virtual.h>
#include <weft/weft.h>

enum { RUN_ID_BYTES = 41 };

/* Written by one scheduler. */
typedef struct resp_counts {
    alignas(64) _Atomic int64_t keys; /* that hold a value; below 0 where more went than came */
    _Atomic int64_t commands;
    _Atomic int64_t clients; /* connected */
    _Atomic int64_t connections;
} resp_counts;

typedef struct resp {
    weft_runtime *runtime;
    const weft_capability *capability;
    const weft_type *key;
    const weft_type *channel;
    const weft_type *walk; /* over all keys */
    parser_limits limits;
    int64_t started_ms;
    char run_id[RUN_ID_BYTES];
    _Atomic uint64_t client_id; /* the last one given */
    resp_counts counts[WEFT_SCHEDULERS_MAX + 1];
    budgets budgets;
} resp;

/* Adds to a counter of this scheduler's own line. */
static inline void resp_count(_Atomic int64_t *counter, int64_t number) {
    int64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + number, memory_order_relaxed);
}

static inline resp_counts *resp_counts_of(resp *self, weft_ctx *ctx) {
    return &self->counts[weft_scheduler_of(ctx)];
}

/* The wall clock, for what expires. */
static inline int64_t resp_now_ms(void) {
    struct timespec now;
    (void)timespec_get(&now, TIME_UTC); /* cannot fail */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
