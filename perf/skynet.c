/* SPDX-License-Identifier: MIT
 *
 * w5_skynet: a root creates ten children, each of them ten, down to a million leaves. A leaf sends
 * its number to its parent, an inner actor the sum of its ten, and all end after sending.
 *
 * All work of creating is done in init, which is an actor's first turn: a leaf is over with it.
 * Numbers of a subtree are num .. num + size - 1.
 */
#include "perf.h"

enum { TAG_SUM = 1 };

enum { CHILDREN = 10, LEAVES = 1000000 };

struct skynet_arg {
    uint64_t num;
    uint64_t size; /* leaves below, a power of ten */
    const weft_type *type;
    struct skynet_job *job;
};

/* Written by the root when all is done. */
struct skynet_job {
    uint64_t sum;
    struct perf_gate gate;
};

struct skynet {
    uint64_t sum;
    uint64_t left;
    struct skynet_job *job;
};

static void skynet_report(weft_ctx *ctx, struct skynet_job *job, uint64_t sum) {
    weft_pid parent = weft_parent(ctx);

    if (weft_pid_is_none(parent)) {
        job->sum = sum;
        perf_gate_pass(&job->gate);
        return;
    }
    perf_send(ctx, parent, TAG_SUM, sum);
}

static int skynet_init(weft_ctx *ctx, void *state, const void *raw, size_t arg_size) {
    struct skynet *skynet = state;
    struct skynet_arg arg;
    struct skynet_arg child;

    (void)arg_size; /* all of one type give the same */
    memcpy(&arg, raw, sizeof(arg));
    if (arg.size == 1) {
        skynet_report(ctx, arg.job, arg.num);
        return WEFT_STOP;
    }
    skynet->left = CHILDREN;
    skynet->job = arg.job;
    child = arg;
    child.size = arg.size / CHILDREN;
    for (uint32_t i = 0; i < CHILDREN; i++) {
        weft_pid pid = weft_pid_none();

        perf_check(weft_spawn(ctx, arg.type, &child, sizeof(child), &pid), "spawn");
        child.num += child.size;
    }
    return WEFT_CONTINUE;
}

static int skynet_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct skynet *skynet = state;

    skynet->sum += perf_value(msg);
    skynet->left--;
    if (skynet->left != 0) {
        return WEFT_CONTINUE;
    }
    skynet_report(ctx, skynet->job, skynet->sum);
    return WEFT_STOP;
}

static const weft_type_def skynet_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-skynet",
                                         .state_size = sizeof(struct skynet),
                                         .init = skynet_init,
                                         .receive = skynet_receive};

void perf_w5_skynet(struct perf *perf) {
    struct skynet_job job = {.sum = 0};
    struct skynet_arg arg = {.type = perf_type(perf, &skynet_def), .size = 1, .job = &job};
    uint64_t leaves = perf_count(perf, LEAVES);
    uint64_t begin;
    uint64_t elapsed;

    /* The largest power of ten that the scale allows. */
    while (arg.size * CHILDREN <= leaves) {
        arg.size *= CHILDREN;
    }
    perf_gate_init(&job.gate, 1);
    begin = perf_clock_ns();
    (void)perf_spawn(perf, arg.type, &arg, sizeof(arg)); /* it ends by itself */
    perf_gate_wait(&job.gate, "w5_skynet");
    elapsed = perf_clock_ns() - begin;
    if (job.sum != arg.size * (arg.size - 1) / 2) {
        perf_die("w5_skynet: the sum is wrong");
    }
    perf_emit(perf, "w5_skynet", (double)elapsed / 1e9, "s");
}
