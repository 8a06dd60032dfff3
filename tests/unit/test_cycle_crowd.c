/* SPDX-License-Identifier: MIT
 *
 * A crowd of serial actors that ask each other at random, from many sides at once, some of it
 * through actors that pass requests on. Whoever asks only those behind it in a fixed order can
 * close no circle, and then no call may be refused; if everybody asks everybody, circles close all
 * the time, and then no call may be left to its timeout.
 */
#include "core/prng.h"
#include "tests/unit/support.h"

#include <stdatomic.h>

#if defined(WEFT_TSAN)
enum { REQUESTS = 5000 };
#else
enum { REQUESTS = 20000 };
#endif
enum {
    MEMBERS = 24,
    IN_FLIGHT = 16,
    DEPTH = 6, /* how far a request is passed on */
    SERIALS = 20,
};
#define TIMEOUT_NS (100 * S_NS)
#define PROMPT_NS  (90 * S_NS)

struct member {
    struct crowd *crowd;
    uint32_t number;
    struct weft__prng prng;
    weft_msg *held;
    uint32_t pending;
    int status;
};

struct crowd {
    struct rig rig;
    bool ordered;
    struct member members[MEMBERS];
    weft_pid pids[MEMBERS];
    struct weft__prng prng;
    uint32_t asked;
    _Atomic uint32_t answered;
    _Atomic uint32_t refused;
};

struct errand {
    uint32_t depth;
    uint32_t room;
};

/* Somebody to ask; none: everybody else is before this one. */
static bool choose(struct member *member, weft_pid *ret_pid) {
    uint32_t first = member->crowd->ordered ? member->number + 1 : 0;
    if (first == MEMBERS) {
        return false;
    }
    *ret_pid = member->crowd->pids[first + weft__prng_below(&member->prng, MEMBERS - first)];
    return true;
}

static void count_status(struct member *member, int status) {
    ck_assert_msg(status == 0 || status == -EDEADLK, "%s", weft_strerror(status));
    if (status == -EDEADLK) {
        atomic_fetch_add(&member->crowd->refused, 1);
        member->status = status;
    }
}

static void settle_member(weft_ctx *ctx, struct member *member) {
    if (member->pending == 0) {
        weft_msg *request = member->held;
        member->held = NULL;
        if (member->status != 0) {
            (void)weft_reply_error(ctx, &request, member->status);
        } else {
            (void)weft_reply(ctx, &request, 0, NULL, 0);
        }
        member->status = 0;
    }
}

static void serve(weft_ctx *ctx, struct member *member, weft_msg *msg) {
    struct errand errand;
    memcpy(&errand, weft_msg_data(msg), sizeof(errand));
    ck_assert_ptr_null(member->held);
    bool takes_first = weft__prng_below(&member->prng, 2) == 0;
    member->held = takes_first ? weft_msg_take(ctx, msg) : msg;
    uint32_t fan = errand.depth == 0 ? 0 : weft__prng_below(&member->prng, 4);
    errand.depth--;
    for (uint32_t i = 0; i < fan; i++) {
        weft_pid pid;
        if (!choose(member, &pid)) {
            break;
        }
        int result = weft_call(ctx, pid, 0, &errand, sizeof(errand), TIMEOUT_NS, 0);
        if (result != 0) { /* itself */
            count_status(member, result);
        } else {
            member->pending++;
        }
    }
    if (member->pending != 0 && !takes_first) {
        member->held = weft_msg_take(ctx, msg);
    }
    settle_member(ctx, member);
}

static int serial_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct member *member = *(struct member **)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        serve(ctx, member, msg);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        count_status(member, weft_msg_status(msg));
        member->pending--;
        settle_member(ctx, member);
    }
    return WEFT_CONTINUE;
}

static int passer_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct member *member = *(struct member **)state;
    weft_msg *request = msg;
    weft_pid pid;
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    if (weft__prng_below(&member->prng, 3) == 0 || !choose(member, &pid)) {
        (void)weft_reply(ctx, &request, 0, NULL, 0);
    } else {
        (void)weft_send_msg(ctx, pid, &request);
    }
    return WEFT_CONTINUE;
}

static int member_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static void ask_one(weft_ctx *ctx, struct crowd *crowd) {
    struct errand errand = {.depth = DEPTH};
    weft_pid pid = crowd->pids[weft__prng_below(&crowd->prng, MEMBERS)];
    crowd->asked++;
    ck_assert_int_eq(weft_call(ctx, pid, 0, &errand, sizeof(errand), TIMEOUT_NS, 0), 0);
}

static int asker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct crowd *crowd = ((struct member *)*(struct member **)state)->crowd;
    if (weft_msg_kind(msg) == WEFT_MSG_USER) {
        for (uint32_t i = 0; i < IN_FLIGHT; i++) {
            ask_one(ctx, crowd);
        }
    } else if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        int status = weft_msg_status(msg);
        ck_assert_msg(status == 0 || status == -EDEADLK, "%s", weft_strerror(status));
        if (crowd->asked < REQUESTS) {
            ask_one(ctx, crowd);
        }
        atomic_fetch_add(&crowd->answered, 1);
    }
    return WEFT_CONTINUE;
}

static weft_pid member_spawn(struct crowd *crowd, const weft_type *type, uint32_t number) {
    struct member *member = &crowd->members[number];
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &member,
                                  .arg_size = sizeof(struct member *)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(crowd->rig.runtime, type, &options, &pid), 0);
    return pid;
}

static void crowd_run(struct crowd *crowd, int number) {
    crowd->rig = rig_start(schedulers_of(number));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "serial",
                         .state_size = sizeof(struct member *),
                         .init = member_init,
                         .receive = serial_receive,
                         .flags = WEFT_TYPE_SERIAL};
    const weft_type *serial = rig_type(&crowd->rig, &def);
    def.name = "passer";
    def.receive = passer_receive;
    def.flags = 0;
    const weft_type *passer = rig_type(&crowd->rig, &def);
    def.name = "asker";
    def.receive = asker_receive;
    const weft_type *asker = rig_type(&crowd->rig, &def);
    uint64_t messages = rig_gauges(&crowd->rig).messages;
    weft__prng_init(&crowd->prng, 1, MEMBERS);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        crowd->members[i] = (struct member){.crowd = crowd, .number = i};
        weft__prng_init(&crowd->members[i].prng, 1, i);
        crowd->pids[i] = member_spawn(crowd, i % 6 == 5 ? passer : serial, i);
    }
    uint64_t before_ns = clock_ns();
    weft_pid pid = member_spawn(crowd, asker, 0);
    ck_assert_int_eq(weft_runtime_send(crowd->rig.runtime, pid, 0, NULL, 0), 0);
    while (atomic_load(&crowd->answered) < REQUESTS) {
        ck_assert_msg(clock_ns() - before_ns < PROMPT_NS, "%u answered, %u refused",
                      atomic_load(&crowd->answered), atomic_load(&crowd->refused));
        sleep_ns(MS_NS);
    }
    eventually(rig_gauges(&crowd->rig).messages == messages);
    rig_stop(&crowd->rig);
}

START_TEST(test_no_circle_no_refusal) {
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    crowd->ordered = true;
    crowd_run(crowd, _i);
    ck_assert_uint_eq(atomic_load(&crowd->refused), 0);
    free(crowd);
}
END_TEST

START_TEST(test_no_circle_is_left_to_its_timeout) {
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    crowd_run(crowd, _i);
    ck_assert_uint_gt(atomic_load(&crowd->refused), 0);
    free(crowd);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_crowd");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 300);
    tcase_add_loop_test(loops, test_no_circle_no_refusal, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_no_circle_is_left_to_its_timeout, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
