/* SPDX-License-Identifier: MIT
 *
 * w3_fanin: eight producers send as fast as they can to one consumer, whose mailbox is unbounded.
 * w3_fanin_bounded: the same with a mailbox of 1,024 messages and policy reject; a producer stops
 * at -EBUSY and goes on at the READY message.
 *
 * A handler may not run for as long as a million sends take: a producer sends BATCH messages a
 * turn and goes on by a message to itself. One turn leaves exactly one thing outstanding, its own
 * message or the READY, so a producer is never started twice. The consumer counts and sums.
 */
#include <errno.h>

#include "perf.h"

enum { TAG_GO = 1, TAG_NUMBER = 2 };

enum {
    PRODUCERS = 8,
    MESSAGES = 1000000, /* of each producer */
    BATCH = 512,
    MAILBOX = 1024,
};

struct producer {
    weft_pid consumer;
    uint64_t next; /* the integer to send */
    uint64_t messages;
};

struct consumer {
    uint64_t left;
    uint64_t sum;
    uint64_t *ret_sum;
    struct perf_gate *gate;
};

static int fanin_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int producer_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct producer *producer = state;
    uint64_t end = producer->next + BATCH;

    (void)msg; /* START, its own message and READY mean the same: go on */
    if (end > producer->messages) {
        end = producer->messages;
    }
    while (producer->next < end) {
        int result =
            weft_send(ctx, producer->consumer, TAG_NUMBER, &producer->next, sizeof(producer->next));

        if (result == -EBUSY) {
            return WEFT_CONTINUE; /* READY will come */
        }
        perf_check(result, "send");
        producer->next++;
    }
    if (producer->next == producer->messages) {
        return WEFT_STOP;
    }
    perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    return WEFT_CONTINUE;
}

static int consumer_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct consumer *consumer = state;

    (void)ctx;
    consumer->sum += perf_value(msg);
    consumer->left--;
    if (consumer->left == 0) {
        *consumer->ret_sum = consumer->sum;
        perf_gate_pass(consumer->gate);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

static const weft_type_def producer_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                           .name = "perf-producer",
                                           .state_size = sizeof(struct producer),
                                           .init = fanin_init,
                                           .receive = producer_receive};
static const weft_type_def consumer_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                           .name = "perf-consumer",
                                           .state_size = sizeof(struct consumer),
                                           .init = fanin_init,
                                           .receive = consumer_receive,
                                           .mailbox_max = WEFT_MAILBOX_UNBOUNDED};
static const weft_type_def bounded_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                          .name = "perf-consumer-bounded",
                                          .state_size = sizeof(struct consumer),
                                          .init = fanin_init,
                                          .receive = consumer_receive,
                                          .mailbox_max = MAILBOX,
                                          .mailbox_policy = WEFT_MAILBOX_REJECT};

static void fanin_run(struct perf *perf, const char *name, const weft_type_def *def) {
    uint64_t messages = perf_count(perf, MESSAGES);
    uint64_t sum = 0;
    struct perf_gate gate;
    struct consumer consumer = {.left = PRODUCERS * messages, .ret_sum = &sum, .gate = &gate};
    struct producer producer = {.messages = messages};
    weft_pid pids[PRODUCERS];
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&gate, 1);
    producer.consumer = perf_spawn(perf, perf_type(perf, def), &consumer, sizeof(consumer));
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        pids[i] = perf_spawn(perf, perf_type(perf, &producer_def), &producer, sizeof(producer));
    }
    begin = perf_clock_ns();
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        perf_post(perf, pids[i], TAG_GO, 0);
    }
    perf_gate_wait(&gate, name);
    elapsed = perf_clock_ns() - begin;
    if (sum != PRODUCERS * (messages * (messages - 1) / 2)) {
        perf_die("%s: the sum is wrong", name);
    }
    perf_emit(perf, name, perf_rate(PRODUCERS * messages, elapsed), "msgs/s");
}

void perf_w3_fanin(struct perf *perf) {
    fanin_run(perf, "w3_fanin", &consumer_def);
}

void perf_w3_fanin_bounded(struct perf *perf) {
    fanin_run(perf, "w3_fanin_bounded", &bounded_def);
}
