/* SPDX-License-Identifier: MIT
 *
 * Reentrant serial actors: a request that would close a circle is handled in between, all others
 * are held back as by any serial actor. Members of a ring are numbered; each asks the next one, and
 * one that is asked while it asks answers.
 */
#include "tests/unit/mailbox_wait_support.h"

enum { RING_MAX = 6, TAG_ROUND = 1, TAG_LEAF = 2, TAG_HOLD = 3, TAG_GO = 4, TAG_KEEP = 5 };
#define REENTRANT (WEFT_TYPE_SERIAL | WEFT_TYPE_REENTRANT)

struct ring {
    struct rig rig;
    weft_pid pids[RING_MAX]; /* not virtual */
    const weft_capability *capability;
    const weft_type *type;
    uint32_t count;
    weft_atomic_u32 between; /* requests handled in between */
    weft_atomic_u32 logged;
    weft_atomic_u32 kept;
};

struct member {
    struct ring *ring;
    uint32_t number;
    weft_msg *held;
    weft_msg *kept;
};

static int member_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct member *member = state;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    if (arg_size == sizeof(*member)) {
        memcpy(member, arg, arg_size);
        return WEFT_CONTINUE;
    }
    ck_assert_int_eq(weft_virtual_self(ctx, &entry), 0);
    member->ring = weft_type_cookie(weft_type_of(ctx));
    memcpy(&member->number, entry.id, sizeof(member->number));
    return WEFT_CONTINUE;
}

static int ask_next(weft_ctx *ctx, struct member *member, uint32_t tag) {
    struct ring *ring = member->ring;
    uint32_t next = (member->number + 1) % ring->count;
    if (ring->capability == NULL) {
        return weft_call(ctx, ring->pids[next], tag, NULL, 0, SOON_NS, 0);
    }
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = ring->capability,
                             .type = ring->type,
                             .id = &next,
                             .id_size = sizeof(next),
                             .tag = tag,
                             .timeout_ns = SOON_NS};
    return weft_vcall(ctx, &request, 0, NULL);
}

static void answer(weft_ctx *ctx, weft_msg **request, int status) {
    if (status < 0) {
        (void)weft_reply_error(ctx, request, status);
    } else {
        (void)weft_reply(ctx, request, 0, NULL, 0);
    }
}

static int member_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct member *member = state;
    weft_msg *request = msg;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        answer(ctx, &member->held, weft_msg_status(msg));
        return WEFT_CONTINUE;
    }
    uint32_t tag = weft_msg_tag(msg);
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        if (member->kept != NULL) {
            answer(ctx, &member->kept, 0);
        }
        return WEFT_CONTINUE;
    }
    (void)weft_add32_acq_rel(&member->ring->between, member->held != NULL ? 1 : 0);
    if (tag == TAG_HOLD) {
        member->kept = weft_msg_take(ctx, msg);
        (void)weft_add32_acq_rel(&member->ring->kept, 1);
    } else if (tag == TAG_LEAF || member->held != NULL) {
        answer(ctx, &request, 0);
    } else {
        member->held = weft_msg_take(ctx, msg);
        int result = ask_next(ctx, member,
                              tag == TAG_GO     ? TAG_LEAF
                              : tag == TAG_KEEP ? TAG_HOLD
                                                : tag);
        if (result != 0) {
            answer(ctx, &member->held, result);
        }
    }
    return WEFT_CONTINUE;
}

static void on_log(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct ring *ring = cookie;
    (void)level;
    (void)weft_add32_acq_rel(&ring->logged, strcmp(event->name, "call.circle") == 0 ? 1 : 0);
}

static void ring_start(struct ring *ring, int number, uint32_t count, bool virtual) {
    memset(ring, 0, sizeof(*ring));
    weft_config config = rig_config(cases_of(number));
    config.log = (weft_log_hook){.cookie = ring, .cb = on_log};
    ring->rig = rig_start_with(&config);
    ring->count = count;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "member",
                         .state_size = sizeof(struct member),
                         .init = member_init,
                         .receive = member_receive,
                         .flags = REENTRANT,
                         .idle_ns = WEFT_IDLE_NEVER,
                         .cookie = ring};
    ring->type = rig_type(&ring->rig, &def);
    if (virtual) {
        ck_assert_int_eq(weft_capability_add(ring->rig.runtime, "ring", &ring->capability), 0);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct member member = {.ring = ring, .number = i};
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &member, .arg_size = sizeof(member)};
        ck_assert_int_eq(
            weft_runtime_spawn(ring->rig.runtime, ring->type, &options, &ring->pids[i]), 0);
    }
}

static int ask_outside(struct ring *ring, uint32_t number, uint32_t tag) {
    weft_msg *reply = NULL;
    int result;
    if (ring->capability == NULL) {
        result =
            weft_runtime_call(ring->rig.runtime, ring->pids[number], tag, NULL, 0, SOON_NS, &reply);
    } else {
        weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                                 .capability = ring->capability,
                                 .type = ring->type,
                                 .id = &number,
                                 .id_size = sizeof(number),
                                 .tag = tag,
                                 .timeout_ns = SOON_NS};
        result = weft_runtime_vcall(ring->rig.runtime, &request, &reply, NULL);
    }
    weft_runtime_msg_release(ring->rig.runtime, &reply);
    return result;
}

START_TEST(a_circle_is_handled_in_between) {
    for (int virtual = 0; virtual < 2; virtual ++) {
        for (uint32_t count = 1; count <= RING_MAX; count++) { /* one: it calls itself */
            struct ring ring;
            ring_start(&ring, _i, count, virtual != 0);
            for (uint32_t round = 0; round < 20; round++) {
                ck_assert_int_eq(ask_outside(&ring, round % count, TAG_ROUND), 0);
                ck_assert_uint_eq(weft_load32_acquire(&ring.between), round + 1);
            }
            ck_assert_uint_eq(weft_load32_acquire(&ring.logged), 0);
            rig_stop(&ring.rig);
        }
    }
}
END_TEST

/* All ask each other at once, from outside: nobody is refused. */
struct asker {
    struct ring *ring;
    uint32_t number;
    pthread_t thread;
};

static void *asker_main(void *arg) {
    struct asker *asker = arg;
    for (uint32_t round = 0; round < 100; round++) {
        ck_assert_int_eq(ask_outside(asker->ring, asker->number, TAG_GO), 0);
    }
    return NULL;
}

START_TEST(crossing_calls_are_handled_in_between) {
    for (int virtual = 0; virtual < 2; virtual ++) {
        struct ring ring;
        struct asker askers[3];
        ring_start(&ring, _i, 3, virtual != 0);
        for (uint32_t i = 0; i < 3; i++) {
            askers[i] = (struct asker){.ring = &ring, .number = i};
            ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, asker_main, &askers[i]), 0);
        }
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
        }
        ck_assert_uint_eq(weft_load32_acquire(&ring.logged), 0);
        rig_stop(&ring.rig);
    }
}
END_TEST

/* 0 asks 1, which keeps the request. What somebody else asks 0 for waits until 1 has answered. */
START_TEST(others_are_held_back) {
    struct ring ring;
    ring_start(&ring, _i, 2, false);
    weft_cq *queue = NULL;
    weft_completion done = {0};
    ck_assert_int_eq(weft_cq_create(ring.rig.runtime, 2, &queue), 0);
    ck_assert_int_eq(weft_cq_call(queue, ring.pids[0], TAG_KEEP, NULL, 0, SOON_NS, 1), 0);
    eventually(weft_load32_acquire(&ring.kept) == 1);
    ck_assert_int_eq(weft_cq_call(queue, ring.pids[0], TAG_LEAF, NULL, 0, SOON_NS, 2), 0);
    sleep_ns(20 * MS_NS);
    ck_assert_int_eq(weft_cq_next(queue, &done), 0);
    ck_assert_int_eq(weft_runtime_send(ring.rig.runtime, ring.pids[1], 0, NULL, 0), 0);
    for (uint64_t token = 1; token <= 2; token++) {
        eventually(weft_cq_next(queue, &done) == 1);
        ck_assert_uint_eq(done.token, token);
        ck_assert_int_eq(done.status, 0);
        weft_runtime_msg_release(ring.rig.runtime, &done.reply);
    }
    ck_assert_uint_eq(weft_load32_acquire(&ring.between), 0);
    weft_cq_destroy(&queue);
    rig_stop(&ring.rig);
}
END_TEST

START_TEST(the_flag_needs_a_serial_handler) {
    struct rig rig = rig_start(1);
    const weft_type *type = NULL;
    weft_type_def def = puppet_def("alone");
    def.flags = WEFT_TYPE_REENTRANT;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    weft_type_def process = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = "process",
                             .state_size = sizeof(struct script *),
                             .init = script_init,
                             .process = script_run,
                             .flags = REENTRANT};
    ck_assert_int_eq(weft_type_register(rig.runtime, &process, &type), -EINVAL);
    process.flags = WEFT_TYPE_REENTRANT;
    ck_assert_int_eq(weft_type_register(rig.runtime, &process, &type), -EINVAL);
    def.flags = REENTRANT;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), 0);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_reentrant");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 120);
    tcase_add_loop_test(loops, a_circle_is_handled_in_between, 0, CASES);
    tcase_add_loop_test(loops, crossing_calls_are_handled_in_between, 0, CASES);
    tcase_add_loop_test(loops, others_are_held_back, 0, CASES);
    tcase_add_test(loops, the_flag_needs_a_serial_handler);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
