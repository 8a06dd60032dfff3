/* SPDX-License-Identifier: MIT
 *
 * Mailbox policy wait: a process whose message finds no room is suspended until there is some, and
 * all others are answered as with policy reject. What it sends is neither lost nor overtaken, and
 * the wait ends with the target, the sender, and the request that is worked for. Who would wait for
 * ever: test_mailbox_wait_circle.c.
 */
#include "tests/unit/mailbox_wait_support.h"
#include "tests/unit/memory_support.h"

/* ---- sending ------------------------------------------------------------------------------- */

static int send_many(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(weft_send(ctx, script->pid, TAG_NUMBER, &i, sizeof(i)), 0);
        step(script);
    }
    return 0;
}

static int send_msgs(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_msg_create(ctx, TAG_NUMBER, i % 2 == 0 ? 8 : 1000, &msg), 0);
        memcpy(weft_msg_body(msg), &i, sizeof(i));
        ck_assert_int_eq(weft_send_msg(ctx, script->pid, &msg), 0);
        ck_assert_ptr_null(msg);
        step(script);
    }
    return 0;
}

static int send_bufs(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        weft_buf *buf = NULL;
        ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 5000, &buf), 0);
        memcpy(weft_buf_data(buf), &i, sizeof(i));
        ck_assert_int_eq(
            weft_send_buf(ctx, script->pid, TAG_NUMBER, buf, 0, i % 2 == 0 ? 16 : 5000), 0);
        weft_buf_unref(buf);
        step(script);
    }
    return 0;
}

/* The payload is on the stack that is left, and large. */
static int send_large(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t numbers[200];
        for (uint32_t at = 0; at < 200; at++) {
            numbers[at] = i;
        }
        ck_assert_int_eq(weft_send(ctx, script->pid, TAG_NUMBER, numbers, sizeof(numbers)), 0);
        memset(numbers, 0xff, sizeof(numbers));
        step(script);
    }
    return 0;
}

static int send_by_name(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(weft_name_send(ctx, "box", TAG_NUMBER, &i, sizeof(i)), 0);
        step(script);
    }
    return 0;
}

/* Calls that are awaited later: the answers come out of the wait for room, too. */
static int call_many(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(weft_call(ctx, script->pid, TAG_CALL, &i, sizeof(i), SOON_NS, i), 0);
        step(script);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_await(ctx, i, WEFT_FOREVER, &reply), 0);
        ck_assert_int_eq(weft_msg_status(reply), 0);
        ck_assert_mem_eq(weft_msg_data(reply), &i, sizeof(i));
        weft_msg_release(ctx, &reply);
    }
    return 0;
}

/* Nine messages, and a call. */
static int call_waits(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = 0;
    for (uint32_t i = 0; i < MANY / 10; i++) {
        for (uint32_t at = 0; at < 9; at++, number++) {
            ck_assert_int_eq(weft_send(ctx, script->pid, TAG_NUMBER, &number, sizeof(number)), 0);
            step(script);
        }
        weft_msg *reply = NULL;
        ck_assert_int_eq(
            weft_call_wait(ctx, script->pid, TAG_CALL, &number, sizeof(number), SOON_NS, &reply),
            0);
        ck_assert_mem_eq(weft_msg_data(reply), &number, sizeof(number));
        weft_msg_release(ctx, &reply);
        number++;
    }
    return 0;
}

static const script_fn senders[] = {send_many, send_msgs,    send_bufs, send_large,
                                    call_many, send_by_name, call_waits};
enum { SENDERS = sizeof(senders) / sizeof(senders[0]) };

START_TEST(a_process_waits_for_room_and_nothing_is_lost_or_overtaken) {
    for (size_t which = 0; which < SENDERS; which++) {
        struct rig rig = rig_start(cases_of(_i));
        struct box box = {.ordered = true, .slow_every = 16};
        struct script script = {.fn = senders[which], .pid = box_start(&rig, &box)};
        ck_assert_int_eq(weft_name_register(rig.runtime, "box", 3, script.pid), 0);
        weft_pid pid = start(&rig, &script, 0);
        until_it_waits(&script);
        ck_assert_uint_le(step_of(&script), BOUND + 1);
        ck_assert_uint_eq(weft_load32_acquire(&box.taken), 0);
        uint64_t sent = rig_stats(&rig).messages_sent;
        sleep_ns(2 * MS_NS);
        ck_assert_uint_eq(rig_stats(&rig).messages_sent, sent); /* it does not try all the time */
        box_open(&box);
        eventually(finished(&script));
        eventually(weft_load32_acquire(&box.taken) == MANY);
        eventually(!is_alive(&rig, pid));
        ck_assert_int_eq(weft_runtime_send(rig.runtime, script.pid, TAG_END, NULL, 0), 0);
        eventually(!is_alive(&rig, script.pid));
        eventually(rig_gauges(&rig).messages == 0);
        rig_stop(&rig);
    }
}
END_TEST

/* From each sender what it sent, in its order. */
enum { CROWD = 40, EACH = 100 };

struct crowd_msg {
    uint32_t sender;
    uint32_t number;
};

struct crowd {
    struct script script;
    uint32_t next[CROWD];
    weft_pid self;
    struct rig *rig;
    uint32_t most;
    weft_atomic_u32 taken;
};

static int crowd_take(weft_ctx *ctx, void *user) {
    struct crowd *crowd = weft_container_of((struct script *)user, struct crowd, script);
    for (uint32_t i = 0; i < CROWD * EACH; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        struct crowd_msg body;
        memcpy(&body, weft_msg_data(msg), sizeof(body));
        ck_assert_uint_lt(body.sender, CROWD);
        ck_assert_uint_eq(body.number, crowd->next[body.sender]);
        crowd->next[body.sender]++;
        weft_actor_info info = {.struct_size = sizeof(info)};
        ck_assert_int_eq(weft_inspect(weft_runtime_of(ctx), weft_self(ctx), &info), 0);
        crowd->most = info.mailbox > crowd->most ? info.mailbox : crowd->most;
        (void)weft_add32_acq_rel(&crowd->taken, 1);
    }
    return 0;
}

static int crowd_send(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct crowd_msg body = {.sender = (uint32_t)(uintptr_t)script->user};
    for (; body.number < EACH; body.number++) {
        ck_assert_int_eq(weft_send(ctx, script->pid, 0, &body, sizeof(body)), 0);
    }
    return 0;
}

START_TEST(many_wait_for_one_and_the_bound_holds) {
    struct rig rig = rig_start(cases_of(_i));
    struct crowd crowd = {.script = {.fn = crowd_take}};
    crowd.self = start(&rig, &crowd.script, BOUND);
    struct script scripts[CROWD] = {0};
    for (uint32_t i = 0; i < CROWD; i++) {
        scripts[i] =
            (struct script){.fn = crowd_send, .pid = crowd.self, .user = (void *)(uintptr_t)i};
        (void)start(&rig, &scripts[i], 0);
    }
    eventually(finished(&crowd.script));
    for (uint32_t i = 0; i < CROWD; i++) {
        eventually(finished(&scripts[i]));
    }
    /* One per concurrent sender late, and their wishes for room, which no bound stops. */
    ck_assert_uint_le(crowd.most, BOUND + CROWD + cases_of(_i));
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* ---- those that do not wait ---------------------------------------------------------------- */

START_TEST(handlers_and_threads_are_refused_and_get_one_ready) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    struct probe probe = PROBE_INIT;
    weft_pid handler = rig_spawn(&rig, &probe);
    struct refused refused = {.target = box_start(&rig, &box)};
    (void)box_fill(&rig, refused.target); /* until threads are refused */
    act(&rig, handler, fill, &refused);
    ck_assert_int_eq(refused.result, -EBUSY);
    weft_msg *reply = NULL;
    ck_assert_int_eq(
        weft_runtime_call(rig.runtime, refused.target, TAG_CALL, NULL, 0, S_NS, &reply), -EBUSY);
    act(&rig, handler, fill, &refused);
    ck_assert_int_eq(refused.result, -EBUSY);
    box_open(&box);
    eventually(probe_count(&probe) == 1);
    ck_assert_int_eq(probe_at(&probe, 0).kind, WEFT_MSG_READY);
    ck_assert(weft_pid_equal(probe_at(&probe, 0).sender, refused.target));
    settle(&rig, handler);
    ck_assert_uint_eq(probe_count(&probe), 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* Its init is refused; its code waits meanwhile, and gets that READY afterwards, once. */
static int refused_init(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct refused refused = {.target = script->pid};
    fill(ctx, &refused);
    script->init_result = refused.result;
    return WEFT_CONTINUE;
}

static int wait_and_get_ready(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = 0;
    step(script);
    ck_assert_int_eq(weft_send(ctx, script->pid, TAG_NUMBER, &number, sizeof(number)), 0);
    for (uint32_t i = 0; i < 50; i++) {
        ck_assert_int_eq(weft_send(ctx, script->pid, TAG_NUMBER, &number, sizeof(number)), 0);
    }
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_READY);
    ck_assert(weft_pid_equal(weft_sender(ctx, msg), script->pid));
    ck_assert_int_eq(weft_receive(ctx, 10 * MS_NS, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(a_ready_for_an_earlier_refusal_still_comes) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    struct script script = {
        .fn = wait_and_get_ready, .init = refused_init, .pid = box_start(&rig, &box)};
    (void)start(&rig, &script, 0);
    until_it_waits(&script);
    ck_assert_int_eq(script.init_result, -EBUSY);
    box_open(&box);
    eventually(finished(&script));
    rig_stop(&rig);
}
END_TEST

static void fill_terminate(weft_ctx *ctx, void *state, int reason) {
    struct script *script = *(struct script **)state;
    struct refused refused = {.target = script->pid};
    (void)reason;
    fill(ctx, &refused);
    script->result = refused.result;
    weft_store32_release(&script->done, 1);
}

START_TEST(terminate_is_refused) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    struct script script = {.fn = send_many, .pid = box_start(&rig, &box)};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "with terminate",
                         .state_size = sizeof(struct script *),
                         .init = script_init,
                         .process = script_run,
                         .terminate = fill_terminate};
    weft_pid pid = start_as(&rig, rig_type(&rig, &def), &script);
    until_it_waits(&script);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, -EPIPE), 0);
    eventually(finished(&script));
    ck_assert_int_eq(script.result, -EBUSY);
    rig_stop(&rig);
}
END_TEST

/* ---- how a wait ends ----------------------------------------------------------------------- */

/* Sends until that fails. */
static int try_in_vain(weft_ctx *ctx, void *user) {
    struct script *script = user;
    script->result = 0;
    for (uint32_t number = 0; script->result == 0; number++) {
        ck_assert_uint_le(number, BOUND);
        script->result = weft_send(ctx, script->pid, TAG_NUMBER, &number, sizeof(number));
        step(script);
    }
    return 0;
}

START_TEST(the_end_of_the_target_ends_the_wait) {
    for (uint32_t kill = 0; kill < 2; kill++) {
        struct rig rig = rig_start(cases_of(_i));
        struct box box = {.script = {.fn = box_end}};
        struct script script = {.fn = try_in_vain, .pid = box_start(&rig, &box)};
        (void)start(&rig, &script, 0);
        until_it_waits(&script);
        if (kill == 0) {
            box_open(&box);
        } else {
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, script.pid), 0);
        }
        eventually(finished(&script));
        ck_assert_int_eq(script.result, WEFT_E_NOPROC);
        eventually(rig_gauges(&rig).messages == 0);
        rig_stop(&rig);
    }
}
END_TEST

/* Without what is on its way just now. */
static uint64_t least_messages(struct rig *rig) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t now = rig_gauges(rig).messages;
        least = now < least ? now : least;
        sleep_ns(MS_NS / 10);
    }
    return least;
}

/* A killed process leaves nothing behind at the target, also when the target never has room. */
START_TEST(the_end_of_the_sender_leaves_nothing) {
    static const script_fn fns[] = {send_many, send_msgs, send_large, call_many, call_waits};
    for (size_t which = 0; which < sizeof(fns) / sizeof(fns[0]); which++) {
        struct rig rig = rig_start(cases_of(_i));
        struct box box = {0};
        weft_pid target = box_start(&rig, &box);
        (void)box_fill(&rig, target); /* about: see the bound below */
        struct script first = {.fn = fns[which], .pid = target};
        weft_pid pid = start(&rig, &first, 0);
        sleep_ns(20 * MS_NS);
        ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
        eventually(!is_alive(&rig, pid));
        sleep_ns(5 * MS_NS);
        uint64_t messages = least_messages(&rig);
        uint64_t buffers = rig_gauges(&rig).buffers;
        for (uint32_t i = 0; i < 3 * BOUND; i++) {
            struct script script = {.fn = fns[which], .pid = target};
            weft_pid next = start(&rig, &script, 0);
            sleep_ns(MS_NS);
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, next), 0);
            eventually(!is_alive(&rig, next));
            eventually(rig_gauges(&rig).messages <= messages + BOUND);
            ck_assert_uint_le(rig_gauges(&rig).buffers, buffers + BOUND);
        }
        box_open(&box);
        rig_stop(&rig);
    }
}
END_TEST

/* The timeout counts from the call, and what was not sent is not sent later. */
static int call_too_long(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = (uint32_t)(uintptr_t)script->user; /* so many are in the box, which is full */
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_call(ctx, script->pid, TAG_CALL, &number, sizeof(number), 20 * MS_NS, 7),
                     -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns() - before_ns, 20 * MS_NS);
    before_ns = clock_ns();
    weft_msg *msg = NULL;
    ck_assert_int_eq(
        weft_call_wait(ctx, script->pid, TAG_CALL, &number, sizeof(number), 20 * MS_NS, &msg),
        -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns() - before_ns, 20 * MS_NS);
    ck_assert_int_eq(weft_receive(ctx, 20 * MS_NS, &msg), -ETIMEDOUT); /* no REPLY, no READY */
    step(script);
    /* Half of its time it waits for room, the other half for the answer. */
    ck_assert_int_eq(weft_call(ctx, script->pid, TAG_CALL, &number, sizeof(number), SOON_NS, 8), 0);
    ck_assert_int_eq(weft_await(ctx, 8, SOON_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_status(msg), 0);
    weft_msg_release(ctx, &msg);
    ck_assert_int_eq(weft_receive(ctx, 20 * MS_NS, &msg), -ETIMEDOUT);
    return 0;
}

START_TEST(the_time_of_a_call_counts_from_its_start) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {.ordered = true};
    struct script script = {.fn = call_too_long, .pid = box_start(&rig, &box)};
    uint32_t count = box_fill(&rig, script.pid);
    script.user = (void *)(uintptr_t)count;
    (void)start(&rig, &script, 0);
    until_it_waits(&script);
    box_open(&box);
    eventually(finished(&script));
    ck_assert_uint_eq(weft_load32_acquire(&box.taken), count + 1);
    rig_stop(&rig);
}
END_TEST

/* Waits that were given up do not pile up at a target that never has room. */
static int give_up_often(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        int result = weft_call(ctx, script->pid, TAG_CALL, &number, sizeof(number), 1000, 7);
        ck_assert(result == -ETIMEDOUT || result == 0); /* those put aside expire as well */
    }
    return 0;
}

START_TEST(waits_that_were_given_up_do_not_pile_up) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    struct script script = {.fn = give_up_often, .pid = box_start(&rig, &box)};
    (void)start(&rig, &script, 0);
    eventually(finished(&script));
    eventually(rig_gauges(&rig).messages <= 100); /* 2,000 waits, on their way for a while */
    box_open(&box);
    rig_stop(&rig);
}
END_TEST

/* ---- for a request ------------------------------------------------------------------------- */

/* Serves one request by sending until it cannot any more; how that ended is the answer's tag. */
static int serve_by_sending(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    int result = 0;
    for (uint32_t i = 0; result == 0; i++) {
        result = weft_send(ctx, script->pid, TAG_NUMBER, &i, sizeof(i));
        step(script);
    }
    script->result = result;
    ck_assert_int_lt(result, 0);
    (void)weft_reply_error(ctx, &request, result);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, 5 * MS_NS, &msg), -ETIMEDOUT);
    return 0;
}

static int call_and_give_up(weft_ctx *ctx, void *user) {
    struct script *script = user;
    ck_assert_int_eq(weft_call(ctx, script->pid, 9, NULL, 0, SOON_NS, 1), 0);
    ck_assert_int_eq(weft_sleep(ctx, 300 * MS_NS), 0);
    ck_assert_int_eq(weft_call_cancel(ctx, 1), 1);
    return 0;
}

static int call_shortly(weft_ctx *ctx, void *user) {
    struct script *script = user;
    ck_assert_int_eq(weft_call_wait(ctx, script->pid, 9, NULL, 0, 300 * MS_NS, NULL), -ETIMEDOUT);
    return 0;
}

START_TEST(what_is_sent_for_a_request_waits_no_longer_than_that) {
    static const script_fn fns[] = {call_shortly, call_and_give_up};
    static const int results[] = {-ETIMEDOUT, -ECANCELED};
    for (size_t which = 0; which < 2; which++) {
        struct rig rig = rig_start(cases_of(_i));
        struct box box = {0};
        struct script server = {.fn = serve_by_sending, .pid = box_start(&rig, &box)};
        struct script client = {.fn = fns[which], .pid = start(&rig, &server, 0)};
        (void)start(&rig, &client, 0);
        eventually(finished(&client));
        eventually(finished(&server));
        ck_assert_int_eq(server.result, results[which]);
        box_open(&box);
        rig_stop(&rig);
    }
}
END_TEST

/* What is passed on waits as what is sent does; its caller is answered in the end. */
static int pass_all(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < MANY; i++) {
        weft_msg *request = NULL;
        ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
        ck_assert_int_eq(weft_send_msg(ctx, script->pid, &request), 0);
        ck_assert(weft_current(ctx) == NULL);
        step(script);
    }
    return 0;
}

START_TEST(requests_are_passed_on_when_there_is_room) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {.ordered = true};
    struct script passer = {.fn = pass_all, .pid = box_start(&rig, &box)};
    struct script client = {.fn = call_many, .pid = start(&rig, &passer, 0)};
    (void)start(&rig, &client, 0);
    until_it_waits(&passer);
    box_open(&box);
    eventually(finished(&client));
    ck_assert_int_eq(weft_runtime_send(rig.runtime, passer.pid, TAG_END, NULL, 0), 0);
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* Killed while it passes a request on: its caller learns that. */
START_TEST(a_request_goes_with_the_one_that_passes_it_on) {
    struct rig rig = rig_start(cases_of(_i));
    struct box box = {0};
    weft_pid target = box_start(&rig, &box);
    (void)box_fill(&rig, target);
    struct script passer = {.fn = pass_all, .pid = target};
    weft_pid pid = start(&rig, &passer, 0);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 4, &queue), 0);
    ck_assert_int_eq(weft_cq_call(queue, pid, TAG_CALL, NULL, 0, SOON_NS, 1), 0);
    sleep_ns(20 * MS_NS);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    weft_completion done = {0};
    eventually(weft_cq_next(queue, &done) == 1);
    ck_assert_int_eq(done.status, WEFT_E_NOPROC);
    weft_cq_destroy(&queue);
    box_open(&box);
    rig_stop(&rig);
}
END_TEST

/* ---- putting aside ------------------------------------------------------------------------- */

/* A receiver that takes a few and puts the others aside: more than those with which a mailbox tells
 * that there is room, and fewer than the bound. So who waits has to be told all the same, as what
 * the receiver waits for may be behind. */
enum { FEW = 3, LATER = BOUND + 2, ROUNDS = 10 };
_Static_assert(LATER - FEW > BOUND / 2 && LATER - FEW < BOUND, "much aside, and room");

static bool has_tag(const weft_msg *msg, void *arg) {
    return weft_msg_tag(msg) == *(const uint32_t *)arg;
}

static void take_few(weft_ctx *ctx, const struct box *box) {
    uint32_t wanted = TAG_NUMBER;
    wait_gate(ctx, box);
    for (uint32_t i = 0; i < FEW; i++) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive_match(ctx, SOON_NS, has_tag, &wanted, &msg), 0);
    }
}

static int take_few_and_the_end(weft_ctx *ctx, void *user) {
    struct box *box = weft_container_of((struct script *)user, struct box, script);
    uint32_t wanted = TAG_END;
    weft_msg *msg = NULL;
    take_few(ctx, box);
    box->script.result = weft_receive_match(ctx, SOON_NS, has_tag, &wanted, &msg);
    return 0;
}

static void send_later(weft_ctx *ctx, struct script *script) {
    for (uint32_t i = 0; i < LATER && script->result == 0; i++) {
        script->result = weft_send(ctx, script->pid, TAG_NUMBER, &i, sizeof(i));
        step(script);
    }
}

static int send_and_end(weft_ctx *ctx, void *user) {
    struct script *script = user;
    send_later(ctx, script);
    if (script->result == 0) {
        script->result = weft_send(ctx, script->pid, TAG_END, NULL, 0);
    }
    return 0;
}

START_TEST(who_waits_is_told_of_room_when_much_is_aside) {
    struct rig rig = rig_start(cases_of(_i));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct box box = {.script = {.fn = take_few_and_the_end}};
        struct script sender = {.fn = send_and_end, .pid = box_start(&rig, &box)};
        (void)start(&rig, &sender, 0);
        until_it_waits(&sender);
        box_open(&box);
        eventually(finished(&box.script));
        eventually(finished(&sender));
        ck_assert_int_eq(box.script.result, 0);
        ck_assert_int_eq(sender.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

/* It calls who waits for room, which is there: that is no circle. */
static int take_few_and_call(weft_ctx *ctx, void *user) {
    struct box *box = weft_container_of((struct script *)user, struct box, script);
    take_few(ctx, box);
    box->script.result = weft_call_wait(ctx, box->script.pid, TAG_CALL, NULL, 0, SOON_NS, NULL);
    return 0;
}

static int send_and_answer(weft_ctx *ctx, void *user) {
    struct script *script = user;
    send_later(ctx, script);
    if (script->result != 0) {
        return 0;
    }
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

START_TEST(who_waits_is_not_told_of_a_circle_when_there_is_room) {
    struct rig rig = rig_start(cases_of(_i));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct box box = {.script = {.fn = take_few_and_call}};
        struct script sender = {.fn = send_and_answer, .pid = box_start(&rig, &box)};
        box.script.pid = start(&rig, &sender, 0);
        until_it_waits(&sender);
        box_open(&box);
        eventually(finished(&box.script));
        eventually(finished(&sender));
        ck_assert_int_eq(box.script.result, 0);
        ck_assert_int_eq(sender.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

/* Nor when there will be room once it has looked at what came since: it has put aside more than
 * those with which it tells, and has not seen the latest when it calls. */
enum { ASIDE = BOUND - 2 };
_Static_assert(ASIDE - 1 > BOUND / 2, "much aside");

static int call_twice(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t wanted = TAG_NUMBER;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_call_wait(ctx, script->pid, TAG_CALL, NULL, 0, SOON_NS, NULL), 0);
    ck_assert_int_eq(weft_receive_match(ctx, SOON_NS, has_tag, &wanted, &msg), 0);
    script->result = weft_call_wait(ctx, script->pid, TAG_CALL, NULL, 0, SOON_NS, NULL);
    return 0;
}

static int send_around_a_reply(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    (void)weft_msg_take(ctx, request);
    weft_pid caller = weft_sender(ctx, request);
    for (uint32_t i = 0; i < ASIDE; i++) {
        ck_assert_int_eq(weft_send(ctx, caller, TAG_NUMBER, &i, sizeof(i)), 0);
    }
    ck_assert_int_eq(weft_sleep(ctx, 2 * MS_NS), 0); /* all of them are put aside */
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    for (uint32_t i = ASIDE; i <= BOUND && script->result == 0; i++) {
        script->result = weft_send(ctx, caller, TAG_NUMBER, &i, sizeof(i)); /* one waits */
    }
    if (script->result == 0) {
        ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
        (void)weft_reply(ctx, &request, 0, NULL, 0);
    }
    return 0;
}

START_TEST(who_waits_is_not_told_of_a_circle_when_there_will_be_room) {
    struct rig rig = rig_start(cases_of(_i));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct script server = {.fn = send_around_a_reply};
        struct script client = {.fn = call_twice, .pid = start(&rig, &server, 0)};
        (void)start(&rig, &client, BOUND);
        eventually(finished(&client));
        eventually(finished(&server));
        ck_assert_int_eq(server.result, 0);
        ck_assert_int_eq(client.result, 0);
    }
    rig_stop(&rig);
}
END_TEST

/* ---- no memory ----------------------------------------------------------------------------- */

static int send_what_goes(weft_ctx *ctx, void *user) {
    struct script *script = user;
    uint32_t number = 0;
    for (uint32_t i = 0; i < 6 * BOUND; i++) {
        int result = i % 5 == 4 ? weft_call_wait(ctx, script->pid, TAG_CALL, &number,
                                                 sizeof(number), SOON_NS, NULL)
                                : weft_send(ctx, script->pid, TAG_NUMBER, &number, sizeof(number));
        ck_assert(result == 0 || result == -ENOMEM || result == WEFT_E_NOPROC);
        number += result == 0 ? 1 : 0;
        step(script);
    }
    return 0;
}

/* The n-th request for memory fails, or all from then on: what was taken arrives, in order. */
START_TEST(memory_may_run_out_anywhere) {
    for (uint32_t further = 0; further < 2; further++) {
        for (uint64_t n = 1; n < 40; n++) {
            struct memory memory = {.fail_further = further != 0};
            weft_config config = memory_config(&memory);
            struct rig rig = rig_start_with(&config);
            struct box box = {.ordered = true};
            struct script script = {.fn = send_what_goes, .pid = box_start(&rig, &box)};
            struct script *sender = &script;
            weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                 .name = "sender",
                                 .state_size = sizeof(struct script *),
                                 .init = script_init,
                                 .process = script_run};
            const weft_type *type = rig_type(&rig, &def);
            sleep_ns(MS_NS);
            atomic_store(&memory.fail_at, atomic_load(&memory.requests) + n);
            weft_spawn_options options = {
                .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &sender, .arg_size = sizeof(sender)};
            weft_pid pid = weft_pid_none();
            int result = weft_runtime_spawn(rig.runtime, type, &options, &pid);
            ck_assert(result == 0 || result == -ENOMEM);
            sleep_ns(3 * MS_NS);
            box_open(&box);
            eventually(result != 0 || finished(&script) || !is_alive(&rig, pid));
            atomic_store(&memory.fail_at, 0);
            rig_stop(&rig);
            ck_assert_int_eq(atomic_load(&memory.blocks), 0);
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mailbox_wait");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 120);
    tcase_add_loop_test(loops, a_process_waits_for_room_and_nothing_is_lost_or_overtaken, 0, CASES);
    tcase_add_loop_test(loops, many_wait_for_one_and_the_bound_holds, 0, CASES);
    tcase_add_loop_test(loops, handlers_and_threads_are_refused_and_get_one_ready, 0, CASES);
    tcase_add_loop_test(loops, a_ready_for_an_earlier_refusal_still_comes, 0, CASES);
    tcase_add_loop_test(loops, terminate_is_refused, 0, CASES);
    tcase_add_loop_test(loops, the_end_of_the_target_ends_the_wait, 0, CASES);
    tcase_add_loop_test(loops, the_end_of_the_sender_leaves_nothing, 0, CASES);
    tcase_add_loop_test(loops, the_time_of_a_call_counts_from_its_start, 0, CASES);
    tcase_add_loop_test(loops, waits_that_were_given_up_do_not_pile_up, 0, CASES);
    tcase_add_loop_test(loops, what_is_sent_for_a_request_waits_no_longer_than_that, 0, CASES);
    tcase_add_loop_test(loops, requests_are_passed_on_when_there_is_room, 0, CASES);
    tcase_add_loop_test(loops, a_request_goes_with_the_one_that_passes_it_on, 0, CASES);
    tcase_add_test(loops, memory_may_run_out_anywhere);
    suite_add_tcase(suite, loops);
    TCase *aside = tcase_create("aside");
    tcase_set_timeout(aside, 120);
    tcase_add_loop_test(aside, who_waits_is_told_of_room_when_much_is_aside, 0, CASES);
    tcase_add_loop_test(aside, who_waits_is_not_told_of_a_circle_when_there_is_room, 0, CASES);
    tcase_add_loop_test(aside, who_waits_is_not_told_of_a_circle_when_there_will_be_room, 0, CASES);
    suite_add_tcase(suite, aside);
    return run_suite(suite);
}
