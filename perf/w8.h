/* SPDX-License-Identifier: MIT
 *
 * weft-perf: what the workloads of virtual actors share. A counter is a virtual actor with 8 bytes
 * of state; 64 client actors send to counters by key, "user:" and a decimal number, and build the
 * key for each message, as the peers' programs do. A client makes one call after another, or casts
 * a batch a turn.
 *
 *   w8.c            the counter and the clients
 *   w8_activate.c   activations, memory, calls, casts
 *   w8_large.c      the same with ten million counters
 *   w8_passivate.c  the end of counters, and their return
 */
#ifndef WEFT_PERF_W8_H
#define WEFT_PERF_W8_H

#include <weft/store.h>
#include <weft/virtual.h>

#include "perf.h"

enum { PERF_W8_CLIENTS = 64, PERF_W8_KEYS = 1000000, PERF_W8_CALLS = 5000000 };

/* What a counter is sent, 8 bytes each. */
enum perf_w8_tag {
    PERF_W8_ADD = 1,       /* adds; a call is answered the new value */
    PERF_W8_PASSIVATE = 2, /* asks for its own passivation */
};

/* One pass of the clients; const while they run, but for the last group. */
struct perf_w8_job {
    const weft_type *type; /* of the counters */
    uint64_t first;        /* the keys are first .. first + keys - 1 */
    uint64_t keys;
    uint64_t random; /* so many messages to random ones; 0: one to each, in order */
    uint32_t digits; /* the number in a key has at least so many */
    uint32_t batch;  /* casts a turn; 0: calls, one in flight per client */
    uint32_t tag;    /* enum perf_w8_tag */
    uint32_t flags;  /* enum weft_vrequest_flags */
    uint64_t add;
    uint64_t least; /* an answer outside of least .. most is an error */
    uint64_t most;
    uint64_t *sends; /* nanoseconds of each weft_vcall itself; NULL: not clocked */
    uint64_t *trips; /* nanoseconds from before it to the answer; NULL: not clocked */
    /* set by perf_w8_run */
    const weft_capability *capability;
    struct perf_gate gate;
    uint64_t messages; /* that counters were sent */
    uint64_t turns;    /* messages the clients handled, when they cast */
    uint64_t sum;      /* of the answers */
};

/* The count scaled, and a multiple of the clients. */
uint64_t perf_w8_count(const struct perf *perf, uint64_t count);
/* The type of counters whose state is lost when they end. */
const weft_type *perf_w8_counter(struct perf *perf);
/* The handler of all counters: state is a uint64_t. */
int perf_w8_receive(weft_ctx *ctx, void *state, weft_msg *msg);

/* Runs the clients; nanoseconds from the first message to the last answer, or to the last cast. */
uint64_t perf_w8_run(struct perf *perf, struct perf_w8_job *job, const char *name);
/* Activates the counters of the keys and adds one to each; nanoseconds. */
uint64_t perf_w8_activate(struct perf *perf, struct perf_w8_job *job, const char *name);
/* Dies unless the counters of the keys are all active and their values add up to sum. */
void perf_w8_verify(struct perf *perf, const struct perf_w8_job *job, uint64_t sum);

/* The value below which 1 - 1/part of the sorted ones lie, in microseconds. */
double perf_w8_tail_us(const uint64_t *sorted, uint64_t count, uint64_t part);

/* Waits until at most so many counters of this type are active; dies when it takes a minute. */
void perf_w8_wait_at_most(struct perf *perf, const weft_type *type, uint64_t count);

/* ---- workloads ------------------------------------------------------------------------------ */

void perf_w8(struct perf *perf);
void perf_w8_cast(struct perf *perf);
void perf_w8_large(struct perf *perf);
void perf_w8_passivate(struct perf *perf);
void perf_w8_limit(struct perf *perf);

#endif
