/* SPDX-License-Identifier: MIT
 *
 * w6_ring: 10,000 actors in a ring and one token that counts down the hops.
 *
 * The first actor is created without a neighbour and gets it by a message from the main thread,
 * which also sends the token: one sender, so the token cannot come before. Counts of the actors'
 * own hops are not kept; that the token arrives with zero says that none was lost.
 */
#include <stdlib.h>

#include "perf.h"

enum { TAG_NEXT = 1, TAG_TOKEN = 2 };

enum { RING = 10000, HOPS = 10000000 };

struct member {
    weft_pid next;
    struct perf_gate *gate;
};

static int member_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int member_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct member *member = state;
    uint64_t hops;

    if (__builtin_expect(weft_msg_tag(msg) == TAG_NEXT, 0)) {
        memcpy(&member->next, weft_msg_data(msg), sizeof(member->next));
        return WEFT_CONTINUE;
    }
    hops = perf_value(msg);
    if (hops == 0) {
        perf_gate_pass(member->gate);
        return WEFT_CONTINUE;
    }
    perf_send(ctx, member->next, TAG_TOKEN, hops - 1);
    return WEFT_CONTINUE;
}

static const weft_type_def member_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-member",
                                         .state_size = sizeof(struct member),
                                         .init = member_init,
                                         .receive = member_receive};

void perf_w6_ring(struct perf *perf) {
    const weft_type *type = perf_type(perf, &member_def);
    weft_pid *pids = perf_alloc(RING, sizeof(*pids));
    uint64_t hops = perf_count(perf, HOPS);
    struct perf_gate gate;
    struct member member = {.gate = &gate};
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&gate, 1);
    for (uint32_t i = 0; i < RING; i++) {
        member.next = i == 0 ? weft_pid_none() : pids[i - 1];
        pids[i] = perf_spawn(perf, type, &member, sizeof(member));
    }
    perf_check(weft_runtime_send(perf->runtime, pids[0], TAG_NEXT, &pids[RING - 1],
                                 sizeof(pids[RING - 1])),
               "send from outside");
    begin = perf_clock_ns();
    perf_post(perf, pids[0], TAG_TOKEN, hops);
    perf_gate_wait(&gate, "w6_ring");
    elapsed = perf_clock_ns() - begin;
    perf_stop_all(perf, pids, RING);
    free(pids);
    perf_emit(perf, "w6_ring", perf_rate(hops, elapsed), "hops/s");
}
