/* SPDX-License-Identifier: MIT
 *
 * Circles of serial virtual actors, which call each other by address: the same rules as for those
 * that are called by pid (test_cycle.c). The actors of a ring are numbered; each asks the next one.
 */
#include "tests/unit/support.h"

#include <stdatomic.h>

enum {
    TAG_ROUND = 1, /* asks the next one with the same tag, the last one the first */
    TAG_LINE = 2,  /* the same, but the last one answers */
    TAG_NEXT = 3,  /* asks the next one with TAG_LEAF */
    TAG_LEAF = 4,  /* answers */
    RING_MAX = 6,
    PROMPT_S = 30,
};
#define TIMEOUT_NS (60 * S_NS)

struct ring {
    struct rig rig;
    const weft_capability *capability;
    const weft_type *type;
    uint32_t count;
    _Atomic uint32_t refused;
};

struct node {
    uint32_t number;
    weft_msg *held;
};

static weft_vrequest request_to(struct ring *ring, const uint32_t *number, uint32_t tag) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = ring->capability,
                           .type = ring->type,
                           .id = number,
                           .id_size = sizeof(*number),
                           .tag = tag,
                           .timeout_ns = TIMEOUT_NS};
}

static int node_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct node *node = state;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_virtual_self(ctx, &entry), 0);
    ck_assert_uint_eq(entry.id_size, sizeof(node->number));
    memcpy(&node->number, entry.id, sizeof(node->number));
    return WEFT_CONTINUE;
}

static int node_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct node *node = state;
    struct ring *ring = weft_type_cookie(weft_type_of(ctx));
    weft_msg *request = msg;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        atomic_fetch_add(&ring->refused, weft_msg_status(msg) == -EDEADLK ? 1 : 0);
        request = node->held;
        node->held = NULL;
        if (weft_msg_status(msg) < 0) {
            (void)weft_reply_error(ctx, &request, weft_msg_status(msg));
        } else {
            (void)weft_reply(ctx, &request, 0, NULL, 0);
        }
        return WEFT_CONTINUE;
    }
    uint32_t tag = weft_msg_tag(msg);
    uint32_t next = (node->number + 1) % ring->count;
    if (tag == TAG_LEAF || (tag == TAG_LINE && next == 0)) {
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        return WEFT_CONTINUE;
    }
    weft_vrequest ask = request_to(ring, &next, tag == TAG_NEXT ? TAG_LEAF : tag);
    node->held = weft_msg_take(ctx, msg);
    int result = weft_vcall(ctx, &ask, 0, NULL);
    if (result != 0) { /* itself */
        ck_assert_int_eq(result, -EDEADLK);
        request = node->held;
        node->held = NULL;
        (void)weft_reply_error(ctx, &request, result);
    }
    return WEFT_CONTINUE;
}

static void ring_start(struct ring *ring, int number, uint32_t count) {
    memset(ring, 0, sizeof(*ring));
    ring->rig = rig_start(schedulers_of(number));
    ring->count = count;
    ck_assert_int_eq(weft_capability_add(ring->rig.runtime, "ring", &ring->capability), 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "node",
                         .state_size = sizeof(struct node),
                         .init = node_init,
                         .receive = node_receive,
                         .flags = WEFT_TYPE_SERIAL,
                         .idle_ns = WEFT_IDLE_NEVER,
                         .cookie = ring};
    ring->type = rig_type(&ring->rig, &def);
}

static int ask_outside(struct ring *ring, uint32_t number, uint32_t tag) {
    weft_vrequest request = request_to(ring, &number, tag);
    weft_msg *reply = NULL;
    uint64_t before_ns = clock_ns();
    int result = weft_runtime_vcall(ring->rig.runtime, &request, &reply, NULL);
    ck_assert_uint_lt(clock_ns() - before_ns, PROMPT_S * S_NS);
    weft_runtime_msg_release(ring->rig.runtime, &reply);
    return result;
}

START_TEST(test_virtual_circle_is_answered_at_once) {
    for (uint32_t count = 1; count <= RING_MAX; count++) {
        struct ring ring;
        ring_start(&ring, _i, count);
        for (uint32_t round = 0; round < 20; round++) {
            ck_assert_int_eq(ask_outside(&ring, 0, TAG_LINE), 0);
            ck_assert_int_eq(ask_outside(&ring, round % count, TAG_ROUND), -EDEADLK);
        }
        eventually(rig_gauges(&ring.rig).messages == 0);
        rig_stop(&ring.rig);
    }
}
END_TEST

struct asker {
    struct ring *ring;
    uint32_t number;
    pthread_t thread;
};

static void *asker_main(void *arg) {
    struct asker *asker = arg;
    for (uint32_t round = 0; round < 200; round++) {
        int result = ask_outside(asker->ring, asker->number, TAG_NEXT);
        ck_assert_msg(result == 0 || result == -EDEADLK, "%s", weft_strerror(result));
    }
    return NULL;
}

/* Everybody asks the next one at the same time, again and again, from threads outside. */
START_TEST(test_virtual_crossing_calls_end) {
    struct ring ring;
    ring_start(&ring, _i, RING_MAX);
    struct asker askers[RING_MAX];
    for (uint32_t i = 0; i < RING_MAX; i++) {
        askers[i] = (struct asker){.ring = &ring, .number = i};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, asker_main, &askers[i]), 0);
    }
    for (uint32_t i = 0; i < RING_MAX; i++) {
        ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
    }
    eventually(rig_gauges(&ring.rig).messages == 0);
    rig_stop(&ring.rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_virtual");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 300);
    tcase_add_loop_test(loops, test_virtual_circle_is_answered_at_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_virtual_crossing_calls_end, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
