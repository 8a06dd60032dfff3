/* SPDX-License-Identifier: MIT
 *
 * Mailbox policy wait, and nobody would ever make room: whoever closes such a circle is answered
 * -EDEADLK at once, nothing is sent and nothing is lost.
 */
#include "tests/unit/mailbox_wait_support.h"

/* ---- circles ------------------------------------------------------------------------------- */

static int send_to_self(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = 0;
    int result = 0;
    for (; result == 0; number++) {
        result = weft_send(ctx, weft_self(ctx), TAG_NUMBER, &number, sizeof(number));
    }
    script->result = result;
    ck_assert_uint_le(number, BOUND + 1);
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i + 1 < number; i++) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_mem_eq(weft_msg_data(msg), &i, sizeof(i));
    }
    ck_assert_int_eq(weft_receive(ctx, 0, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(who_fills_his_own_mailbox_is_told) {
    struct rig rig = rig_start(cases_of(_i));
    struct script script = {.fn = send_to_self};
    (void)start(&rig, &script, BOUND);
    eventually(finished(&script));
    ck_assert_int_eq(script.result, -EDEADLK);
    rig_stop(&rig);
}
END_TEST

/* Serves a request by sending to its caller, which waits for the answer. */
static int send_to_caller(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    weft_pid caller = weft_sender(ctx, request);
    uint32_t number = 0;
    int result = 0;
    for (; result == 0; number++) {
        result = weft_send(ctx, caller, TAG_NUMBER, &number, sizeof(number));
    }
    script->result = result;
    ck_assert_uint_le(number, BOUND + 1);
    (void)weft_reply(ctx, &request, 0, &number, sizeof(number));
    return 0;
}

static int call_and_take(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *reply = NULL;
    weft_msg *msg = NULL;
    script->result = weft_call_wait(ctx, script->pid, 9, NULL, 0, SOON_NS, &reply);
    ck_assert_int_eq(script->result, 0);
    uint32_t number;
    memcpy(&number, weft_msg_data(reply), sizeof(number));
    for (uint32_t i = 0; i + 1 < number; i++) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_mem_eq(weft_msg_data(msg), &i, sizeof(i));
    }
    ck_assert_int_eq(weft_receive(ctx, 5 * MS_NS, &msg), -ETIMEDOUT);
    weft_msg_release(ctx, &reply);
    return 0;
}

START_TEST(who_sends_to_the_one_that_waits_for_him_is_told_at_once) {
    struct rig rig = rig_start(cases_of(_i));
    struct script server = {.fn = send_to_caller};
    struct script client = {.fn = call_and_take, .pid = start(&rig, &server, 0)};
    uint64_t before_ns = clock_ns();
    (void)start(&rig, &client, BOUND);
    eventually(finished(&client));
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_int_eq(server.result, -EDEADLK);
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* The same when a newer request of another is at hand, and the caller's is held. */
static int hold_then_send(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *held = NULL;
    weft_msg *newer = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &held), 0);
    (void)weft_msg_take(ctx, held);
    step(script);
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &newer), 0);
    uint32_t number = 0;
    int result = 0;
    for (; result == 0; number++) {
        result = weft_send(ctx, weft_sender(ctx, held), TAG_NUMBER, &number, sizeof(number));
    }
    script->result = result;
    (void)weft_reply(ctx, &newer, 0, NULL, 0);
    (void)weft_reply(ctx, &held, 0, &number, sizeof(number));
    return 0;
}

static int call_only(weft_ctx *ctx, void *user) {
    struct script *script = user;
    script->result = weft_call_wait(ctx, script->pid, 9, NULL, 0, SOON_NS, NULL);
    return 0;
}

START_TEST(who_holds_two_requests_is_told_too) {
    struct rig rig = rig_start(cases_of(_i));
    struct script server = {.fn = hold_then_send};
    struct script client = {.fn = call_and_take, .pid = start(&rig, &server, 0)};
    struct script other = {.fn = call_only, .pid = client.pid};
    (void)start(&rig, &client, BOUND);
    eventually(step_of(&server) == 1);
    (void)start(&rig, &other, 0);
    eventually(finished(&client) && finished(&other));
    ck_assert_int_eq(server.result, -EDEADLK);
    ck_assert_int_eq(other.result, 0);
    rig_stop(&rig);
}
END_TEST

/* The same with handlers in between, which pass the request on or ask on behalf of it. */
static int pass_on(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    const weft_pid *next = probe->user;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_send_msg(ctx, *next, &msg);
    }
    return WEFT_CONTINUE;
}

START_TEST(the_same_through_a_forward) {
    struct rig rig = rig_start(cases_of(_i));
    struct script server = {.fn = send_to_caller};
    weft_pid pid = start(&rig, &server, 0);
    struct probe probe = PROBE_INIT;
    probe.handler = pass_on;
    probe.user = &pid;
    struct script client = {.fn = call_and_take, .pid = rig_spawn(&rig, &probe)};
    (void)start(&rig, &client, BOUND);
    eventually(finished(&client));
    ck_assert_int_eq(server.result, -EDEADLK);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static int pass_request(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    script->result = weft_send_msg(ctx, script->pid, &request);
    return 0;
}

/* Nobody waits for it any more: why should the one who passes it on? */
START_TEST(the_wait_ends_with_what_is_passed_on) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    struct script forwarder = {.fn = pass_request, .pid = box_start(&rig, &box)};
    (void)box_fill(&rig, forwarder.pid);
    weft_pid pid = start(&rig, &forwarder, 0);
    weft_msg *reply;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, pid, TAG_CALL, NULL, 0, 100 * MS_NS, &reply),
                     -ETIMEDOUT);
    eventually(finished(&forwarder));
    ck_assert_int_eq(forwarder.result, -ETIMEDOUT);
    box_open(&box);
    rig_stop(&rig);
}
END_TEST

/* A ring in which each sends to the next one more than fits, and only then receives. */
enum { RING_MAX = 6 };

struct ring {
    struct script scripts[RING_MAX];
    weft_pid pids[RING_MAX];
    weft_atomic_u32 go;
    weft_atomic_u32 told; /* -EDEADLK */
    uint32_t count;
    uint32_t calls; /* of every so many one asks the next one, the others send; 0: all send */
};

static void ring_take(weft_ctx *ctx, uint32_t *next, uint64_t timeout_ns) {
    weft_msg *msg = NULL;
    while (weft_receive(ctx, timeout_ns, &msg) == 0) {
        if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
            (void)weft_reply(ctx, &msg, 0, NULL, 0);
            continue;
        }
        ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
        uint32_t number;
        memcpy(&number, weft_msg_data(msg), sizeof(number));
        ck_assert_uint_eq(number, *next);
        (*next)++;
    }
}

static int ring_run(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct ring *ring = script->user;
    uint32_t place = (uint32_t)(script - ring->scripts);
    while (weft_load32_acquire(&ring->go) == 0) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 4), 0);
    }
    weft_pid target = ring->pids[(place + 1) % ring->count];
    uint32_t taken = 0;
    uint32_t number = 0;
    bool calls = ring->calls != 0 && place % ring->calls == 0;
    while (number < 4 * BOUND) {
        int result = calls && number == BOUND / 2
                         ? weft_call_wait(ctx, target, 9, NULL, 0, SOON_NS, NULL)
                         : weft_send(ctx, target, TAG_NUMBER, &number, sizeof(number));
        if (result == -EDEADLK) {
            (void)weft_add32_acq_rel(&ring->told, 1);
            if (calls && number == BOUND / 2) {
                calls = false;
            }
            ring_take(ctx, &taken, 0);
            continue;
        }
        ck_assert_int_eq(result, 0);
        if (calls && number == BOUND / 2) {
            calls = false;
        } else {
            number++;
        }
    }
    step(script);
    uint32_t all = 4 * BOUND;
    while (taken < all) {
        ring_take(ctx, &taken, MS_NS);
    }
    ring_take(ctx, &taken, 20 * MS_NS); /* requests of those that are slower */
    ck_assert_uint_eq(taken, all);
    return 0;
}

static uint32_t ring_go(int number, uint32_t count, uint32_t calls) {
    struct rig rig = rig_start(cases_of(number));
    struct ring ring = {.count = count, .calls = calls};
    for (uint32_t i = 0; i < count; i++) {
        ring.scripts[i] = (struct script){.fn = ring_run, .user = &ring};
        ring.pids[i] = start(&rig, &ring.scripts[i], BOUND);
    }
    weft_store32_release(&ring.go, 1);
    for (uint32_t i = 0; i < count; i++) {
        eventually(finished(&ring.scripts[i]));
    }
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
    return weft_load32_acquire(&ring.told);
}

START_TEST(rings_of_senders_are_never_stuck) {
    for (uint32_t count = 2; count <= RING_MAX; count++) {
        for (uint32_t calls = 0; calls < 4; calls++) {
            ck_assert_uint_ge(ring_go(_i, count, calls), 1);
        }
    }
}
END_TEST

/* Two send to each other more than fits, and receive nothing meanwhile: one of them is told, and
 * the other goes on when that one receives. */
struct pair {
    struct script scripts[2];
    weft_pid pids[2];
    weft_atomic_u32 begun;
    weft_atomic_u32 told;
    weft_atomic_u32 ended; /* of those that send */
    uint32_t sent[2];
};

static int pair_run(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct pair *pair = script->user;
    uint32_t place = (uint32_t)(script - pair->scripts);
    (void)weft_add32_acq_rel(&pair->begun, 1);
    while (weft_load32_acquire(&pair->begun) < 3) { /* the test is one of them */
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 4), 0);
    }
    int result = 0;
    for (uint32_t i = 0; i < 3 * BOUND && result == 0; i++) {
        result = weft_send(ctx, pair->pids[1 - place], TAG_NUMBER, &i, sizeof(i));
        pair->sent[place] += result == 0 ? 1 : 0;
    }
    ck_assert(result == 0 || result == -EDEADLK);
    (void)weft_add32_acq_rel(&pair->told, result == 0 ? 0 : 1);
    (void)weft_add32_acq_rel(&pair->ended, 1);
    weft_msg *msg = NULL;
    uint32_t due = 0;
    for (;;) { /* until all has been sent, however long that takes, and received */
        bool all = weft_load32_acquire(&pair->ended) == 2;
        if (weft_receive(ctx, all ? 0 : MS_NS, &msg) == 0) {
            ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_USER);
            ck_assert_mem_eq(weft_msg_data(msg), &due, sizeof(due));
            due++;
            step(script);
        } else if (all) {
            return 0;
        }
    }
}

START_TEST(of_two_that_send_to_each_other_one_is_told) {
    for (uint32_t round = 0; round < 10; round++) {
        struct rig rig = rig_start(cases_of(_i));
        struct pair pair = {0};
        for (uint32_t i = 0; i < 2; i++) {
            pair.scripts[i] = (struct script){.fn = pair_run, .user = &pair};
            pair.pids[i] = start(&rig, &pair.scripts[i], BOUND);
        }
        (void)weft_add32_acq_rel(&pair.begun, 1);
        eventually(finished(&pair.scripts[0]) && finished(&pair.scripts[1]));
        ck_assert_uint_eq(weft_load32_acquire(&pair.told), 1);
        ck_assert_uint_eq(step_of(&pair.scripts[0]), pair.sent[1]);
        ck_assert_uint_eq(step_of(&pair.scripts[1]), pair.sent[0]);
        ck_assert_uint_eq(pair.sent[0] > pair.sent[1] ? pair.sent[0] : pair.sent[1], 3 * BOUND);
        eventually(rig_gauges(&rig).messages == 0);
        rig_stop(&rig);
    }
}
END_TEST

/* A message that is passed on into a circle: its caller is told, a message becomes a dead letter. */
static int pass_to_caller(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    weft_pid caller = weft_sender(ctx, request);
    uint32_t number = 0;
    for (; number < BOUND; number++) {
        ck_assert_int_eq(weft_send(ctx, caller, TAG_NUMBER, &number, sizeof(number)), 0);
    }
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_msg_create(ctx, TAG_NUMBER, sizeof(number), &msg), 0);
    memcpy(weft_msg_body(msg), &number, sizeof(number));
    ck_assert_int_eq(weft_send_msg(ctx, caller, &msg), -EDEADLK);
    ck_assert_ptr_null(msg);
    script->result = weft_send_msg(ctx, caller, &request);
    ck_assert_ptr_null(request);
    return 0;
}

static int call_and_be_told(weft_ctx *ctx, void *user) {
    struct script *script = user;
    script->result = weft_call_wait(ctx, script->pid, 9, NULL, 0, SOON_NS, NULL);
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < BOUND; i++) {
        ck_assert_int_eq(weft_receive(ctx, 0, &msg), 0);
        ck_assert_mem_eq(weft_msg_data(msg), &i, sizeof(i));
    }
    ck_assert_int_eq(weft_receive(ctx, 5 * MS_NS, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(what_is_passed_on_into_a_circle_is_not_lost) {
    struct rig rig = rig_start(cases_of(_i));
    struct probe dead = PROBE_INIT;
    weft_pid undertaker = rig_spawn(&rig, &dead);
    ck_assert_int_eq(weft_dead_letters(rig.runtime, undertaker), 0);
    struct script server = {.fn = pass_to_caller};
    struct script client = {.fn = call_and_be_told, .pid = start(&rig, &server, 0)};
    (void)start(&rig, &client, BOUND);
    eventually(finished(&client));
    ck_assert_int_eq(server.result, -EDEADLK);
    ck_assert_int_eq(client.result, -EDEADLK);
    eventually(probe_count(&dead) == 1);
    ck_assert_int_eq(probe_at(&dead, 0).status, -EDEADLK);
    rig_stop(&rig);
    probe_fini(&dead);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mailbox_wait_circle");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 120);
    tcase_add_loop_test(loops, who_fills_his_own_mailbox_is_told, 0, CASES);
    tcase_add_loop_test(loops, who_sends_to_the_one_that_waits_for_him_is_told_at_once, 0, CASES);
    tcase_add_loop_test(loops, who_holds_two_requests_is_told_too, 0, CASES);
    tcase_add_loop_test(loops, the_same_through_a_forward, 0, CASES);
    tcase_add_loop_test(loops, the_wait_ends_with_what_is_passed_on, 0, CASES);
    tcase_add_loop_test(loops, rings_of_senders_are_never_stuck, 0, CASES);
    tcase_add_loop_test(loops, of_two_that_send_to_each_other_one_is_told, 0, CASES);
    tcase_add_loop_test(loops, what_is_passed_on_into_a_circle_is_not_lost, 0, CASES);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
