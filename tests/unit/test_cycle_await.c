/* SPDX-License-Identifier: MIT
 *
 * Circles through calls that a process makes and awaits later: it is blocked by them from the await
 * on, and by no others. Who closes a circle is told at once; calls that are not awaited, those whose
 * await is over, and those that share their token accuse nobody.
 */
#include "tests/unit/mailbox_wait_support.h"

enum { MEMBERS = 6, TAG_ASK = 5 };

/* Answers the requests that come until nothing has come for so long. */
static void serve(weft_ctx *ctx, uint64_t quiet_ns) {
    weft_msg *msg = NULL;
    while (weft_receive(ctx, quiet_ns, &msg) == 0) {
        if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
            (void)weft_reply(ctx, &msg, 0, NULL, 0);
        }
    }
}

static void ask(weft_ctx *ctx, weft_pid target, uint64_t token) {
    ck_assert_int_eq(weft_call(ctx, target, TAG_ASK, NULL, 0, SOON_NS, token), 0);
}

/* What came of a call: the await's error, or the answer's status. */
static int outcome(weft_ctx *ctx, uint64_t token, uint64_t timeout_ns) {
    weft_msg *reply = NULL;
    int result = weft_await(ctx, token, timeout_ns, &reply);
    if (result == 0) {
        result = weft_msg_status(reply);
        weft_msg_release(ctx, &reply);
    }
    return result;
}

/* ---- rings --------------------------------------------------------------------------------- */

/* All ask the next one at the same time; of some the call is awaited at once, of others later. */
struct ring {
    struct script scripts[MEMBERS];
    weft_pid pids[MEMBERS];
    uint32_t count;
    uint32_t awaits; /* bit i: member i awaits, else it calls and waits */
    weft_atomic_u32 begun;
    weft_atomic_u32 asked;
    weft_atomic_u32 told;
};

static void meet(weft_ctx *ctx, weft_atomic_u32 *counter, uint32_t count) {
    (void)weft_add32_acq_rel(counter, 1);
    while (weft_load32_acquire(counter) < count) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
    }
}

static int ring_run(weft_ctx *ctx, void *user) {
    struct script *script = user;
    struct ring *ring = script->user;
    uint32_t place = (uint32_t)(script - ring->scripts);
    meet(ctx, &ring->begun, ring->count + 1);
    weft_pid next = ring->pids[(place + 1) % ring->count];
    if ((ring->awaits >> place & 1) != 0) {
        ask(ctx, next, 1);
        if (place % 2 == 0) {
            ck_assert_int_eq(weft_yield(ctx), 0);
        }
        script->result = outcome(ctx, 1, place % 3 == 0 ? SOON_NS : WEFT_FOREVER);
    } else {
        script->result = weft_call_wait(ctx, next, TAG_ASK, NULL, 0, SOON_NS, NULL);
    }
    (void)weft_add32_acq_rel(&ring->told, script->result == -EDEADLK ? 1 : 0);
    (void)weft_add32_acq_rel(&ring->asked, 1);
    while (weft_load32_acquire(&ring->asked) < ring->count) {
        serve(ctx, MS_NS);
    }
    serve(ctx, 0);
    return 0;
}

START_TEST(of_a_ring_one_is_told) {
    for (uint32_t count = 2; count <= MEMBERS; count++) {
        for (uint32_t awaits = 1; awaits < 1u << count; awaits += count < 4 ? 1 : 5) {
            struct rig rig = rig_start(cases_of(_i));
            struct ring ring = {.count = count, .awaits = awaits};
            for (uint32_t i = 0; i < count; i++) {
                ring.scripts[i] = (struct script){.fn = ring_run, .user = &ring};
                ring.pids[i] = start(&rig, &ring.scripts[i], 0);
            }
            (void)weft_add32_acq_rel(&ring.begun, 1);
            for (uint32_t i = 0; i < count; i++) {
                eventually(finished(&ring.scripts[i]));
                int result = ring.scripts[i].result;
                ck_assert_msg(result == 0 || result == -EDEADLK, "%u of %u, %x: %d", i, count,
                              awaits, result);
            }
            ck_assert_uint_eq(weft_load32_acquire(&ring.told), 1);
            eventually(rig_gauges(&rig).messages == 0);
            rig_stop(&rig);
        }
    }
}
END_TEST

/* Its own request, before it awaits and afterwards. */
static int ask_self(weft_ctx *ctx, void *user) {
    struct script *script = user;
    (void)script;
    ask(ctx, weft_self(ctx), 1);
    ck_assert_int_eq(outcome(ctx, 1, WEFT_FOREVER), -EDEADLK);
    ask(ctx, weft_self(ctx), 2);
    ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0); /* it has been put aside */
    ck_assert_int_eq(outcome(ctx, 2, WEFT_FOREVER), -EDEADLK);
    ck_assert_int_eq(outcome(ctx, 2, MS_NS), -ETIMEDOUT);
    ask(ctx, weft_self(ctx), 3);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &msg), 0); /* not awaited, it is served */
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST);
    (void)weft_reply(ctx, &msg, 0, NULL, 0);
    ck_assert_int_eq(outcome(ctx, 3, WEFT_FOREVER), 0);
    return 0;
}

START_TEST(a_process_that_awaits_itself_is_told) {
    struct rig rig = rig_start(cases_of(_i));
    struct script script = {.fn = ask_self};
    (void)start(&rig, &script, 0);
    eventually(finished(&script));
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* ---- serving ------------------------------------------------------------------------------- */

/* The client waits for the server, which asks the asker, which asks the client. Whether that is a
 * circle is up to the server. */
struct trio {
    struct script client;
    struct script server;
    struct script asker;
    weft_pid client_pid;
    weft_pid server_pid;
    weft_pid asker_pid;
    int asker_result;
    int server_result;
    int client_result;
};

static int trio_client(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0); /* the pids are known */
    trio->client_result = weft_call_wait(ctx, trio->server_pid, TAG_ASK, NULL, 0, SOON_NS, NULL);
    serve(ctx, 50 * MS_NS);
    return 0;
}

static int trio_asker(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    trio->asker_result = weft_call_wait(ctx, trio->client_pid, TAG_ASK, NULL, 0, SOON_NS, NULL);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

/* The server gets its request and asks the asker, without waiting. */
static weft_msg *serve_by_asking(weft_ctx *ctx, const struct trio *trio) {
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    ask(ctx, trio->asker_pid, 1);
    return request;
}

static int server_awaits(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    weft_msg *request = serve_by_asking(ctx, trio);
    trio->server_result = outcome(ctx, 1, WEFT_FOREVER);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

/* The asker is stuck by the time it awaits. */
static int server_awaits_late(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    weft_msg *request = serve_by_asking(ctx, trio);
    ck_assert_int_eq(weft_sleep(ctx, 10 * MS_NS), 0);
    trio->server_result = outcome(ctx, 1, WEFT_FOREVER);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

/* It answers first, and awaits then. */
static int server_answers(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    weft_msg *request = serve_by_asking(ctx, trio);
    ck_assert_int_eq(weft_sleep(ctx, 10 * MS_NS), 0);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    trio->server_result = outcome(ctx, 1, WEFT_FOREVER);
    return 0;
}

/* It looks whether there is an answer already, which is no waiting. */
static int server_polls(weft_ctx *ctx, void *user) {
    struct trio *trio = ((struct script *)user)->user;
    weft_msg *request = serve_by_asking(ctx, trio);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_eq(outcome(ctx, 1, 0), -ETIMEDOUT);
        ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0);
    }
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    trio->server_result = outcome(ctx, 1, WEFT_FOREVER);
    return 0;
}

static void trio_go(int number, script_fn server, struct trio *trio) {
    struct rig rig = rig_start(cases_of(number));
    *trio = (struct trio){.client = {.fn = trio_client, .user = trio},
                          .server = {.fn = server, .user = trio},
                          .asker = {.fn = trio_asker, .user = trio}};
    trio->asker_pid = start(&rig, &trio->asker, 0);
    trio->server_pid = start(&rig, &trio->server, 0);
    trio->client_pid = start(&rig, &trio->client, 0);
    eventually(finished(&trio->client) && finished(&trio->server) && finished(&trio->asker));
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}

START_TEST(an_awaited_call_closes_a_circle) {
    struct trio trio;
    trio_go(_i, server_awaits, &trio);
    ck_assert_int_eq(trio.client_result, 0);
    /* The asker is told, or if the server awaits later than that, the server. */
    ck_assert((trio.asker_result == -EDEADLK) != (trio.server_result == -EDEADLK));
    trio_go(_i, server_awaits_late, &trio);
    ck_assert_int_eq(trio.server_result, -EDEADLK);
    ck_assert_int_eq(trio.asker_result, -ECANCELED); /* it worked for the server */
    ck_assert_int_eq(trio.client_result, 0);
}
END_TEST

START_TEST(a_call_that_is_not_awaited_accuses_nobody) {
    static const script_fn servers[] = {server_answers, server_polls};
    for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
        struct trio trio;
        trio_go(_i, servers[i], &trio);
        ck_assert_int_eq(trio.asker_result, 0);
        ck_assert_int_eq(trio.server_result, 0);
        ck_assert_int_eq(trio.client_result, 0);
    }
}
END_TEST

/* ---- awaits that are over ------------------------------------------------------------------ */

/* Answers its one request after a while, having asked somebody in between. */
struct asker {
    struct script script;
    uint64_t before_ns;
    weft_pid target; /* none: the caller */
    int result;
};

static int asker_run(weft_ctx *ctx, void *user) {
    struct asker *asker = weft_container_of((struct script *)user, struct asker, script);
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    ck_assert_int_eq(weft_sleep(ctx, asker->before_ns), 0);
    weft_pid target = weft_sender(ctx, request);
    asker->result = weft_call_wait(ctx, target, TAG_ASK, NULL, 0, SOON_NS, NULL);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

static int holder_run(weft_ctx *ctx, void *user) {
    struct script *script = user;
    (void)script;
    weft_msg *request = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &request), 0);
    ck_assert_int_eq(weft_sleep(ctx, 30 * MS_NS), 0);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return 0;
}

/* Its await is over before the asker asks it; meanwhile it waits for another. */
static int await_too_short(weft_ctx *ctx, void *user) {
    struct script *script = user;
    ask(ctx, script->pid, 1);
    ck_assert_int_eq(outcome(ctx, 1, MS_NS), -ETIMEDOUT);
    ck_assert_int_eq(weft_call_wait(ctx, script->other, TAG_ASK, NULL, 0, SOON_NS, NULL), 0);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST);
    (void)weft_reply(ctx, &msg, 0, NULL, 0);
    ck_assert_int_eq(outcome(ctx, 1, WEFT_FOREVER), 0);
    return 0;
}

START_TEST(a_call_whose_await_is_over_accuses_nobody) {
    struct rig rig = rig_start(cases_of(_i));
    struct asker asker = {.script = {.fn = asker_run}, .before_ns = 10 * MS_NS};
    struct script holder = {.fn = holder_run};
    struct script script = {.fn = await_too_short,
                            .pid = start(&rig, &asker.script, 0),
                            .other = start(&rig, &holder, 0)};
    (void)start(&rig, &script, 0);
    eventually(finished(&script) && finished(&asker.script));
    ck_assert_int_eq(asker.result, 0);
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* Two calls with one token: the answer to either ends the wait. */
static int await_either(weft_ctx *ctx, void *user) {
    struct script *script = user;
    ask(ctx, script->pid, 1);
    ask(ctx, script->other, 1);
    ck_assert_int_eq(outcome(ctx, 1, WEFT_FOREVER), 0); /* the holder */
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, SOON_NS, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST);
    (void)weft_reply(ctx, &msg, 0, NULL, 0);
    ck_assert_int_eq(outcome(ctx, 1, WEFT_FOREVER), 0);
    return 0;
}

START_TEST(calls_that_share_a_token_accuse_nobody) {
    struct rig rig = rig_start(cases_of(_i));
    struct asker asker = {.script = {.fn = asker_run}, .before_ns = MS_NS};
    struct script holder = {.fn = holder_run};
    struct script script = {
        .fn = await_either, .pid = start(&rig, &asker.script, 0), .other = start(&rig, &holder, 0)};
    (void)start(&rig, &script, 0);
    eventually(finished(&script) && finished(&asker.script));
    ck_assert_int_eq(asker.result, 0);
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* A diamond: two ways to one that answers. And pipelines without end, which must not grow. */
static int answer_all(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg = NULL;
    while (weft_receive(ctx, SOON_NS, &msg) == 0 && weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_reply(ctx, &msg, 0, NULL, 0);
        step(script);
    }
    return 0;
}

static int ask_and_answer(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg = NULL;
    while (weft_receive(ctx, SOON_NS, &msg) == 0 && weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        ask(ctx, script->pid, 1);
        ck_assert_int_eq(outcome(ctx, 1, WEFT_FOREVER), 0);
        (void)weft_reply(ctx, &msg, 0, NULL, 0);
    }
    return 0;
}

static int ask_both(weft_ctx *ctx, void *user) {
    struct script *script = user;
    for (uint32_t i = 0; i < 500; i++) {
        ask(ctx, script->pid, 2 * i);
        ask(ctx, script->other, 2 * i + 1);
        if (i >= 8) { /* a window of sixteen */
            ck_assert_int_eq(outcome(ctx, 2 * (i - 8) + 1, WEFT_FOREVER), 0);
            ck_assert_int_eq(outcome(ctx, 2 * (i - 8), WEFT_FOREVER), 0);
        }
    }
    for (uint32_t i = 492; i < 500; i++) {
        ck_assert_int_eq(outcome(ctx, 2 * i, WEFT_FOREVER), 0);
        ck_assert_int_eq(outcome(ctx, 2 * i + 1, WEFT_FOREVER), 0);
    }
    ck_assert_int_eq(weft_send(ctx, script->pid, 0, NULL, 0), 0);
    ck_assert_int_eq(weft_send(ctx, script->other, 0, NULL, 0), 0);
    return 0;
}

START_TEST(a_diamond_is_served) {
    struct rig rig = rig_start(cases_of(_i));
    struct script leaf = {.fn = answer_all};
    weft_pid pid = start(&rig, &leaf, 0);
    struct script left = {.fn = ask_and_answer, .pid = pid};
    struct script right = {.fn = ask_and_answer, .pid = pid};
    struct script script = {
        .fn = ask_both, .pid = start(&rig, &left, 0), .other = start(&rig, &right, 0)};
    (void)start(&rig, &script, 0);
    while (!finished(&script)) {
        ck_assert_uint_lt(rig_gauges(&rig).messages, 400);
        sleep_ns(MS_NS);
    }
    ck_assert_uint_eq(step_of(&leaf), 1000);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 0, NULL, 0), 0);
    eventually(rig_gauges(&rig).messages == 0);
    rig_stop(&rig);
}
END_TEST

/* ---- the log ------------------------------------------------------------------------------- */

/* Where the stacks of two processes are, and how often the hook ran on one of them. */
struct stacks {
    uintptr_t tops[2];
    weft_atomic_u32 events;
    weft_atomic_u32 inside;
};
static struct stacks stacks;

static void look_where(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    (void)cookie;
    (void)level;
    if (strcmp(event->name, "call.circle") != 0) {
        return;
    }
    (void)weft_add32_acq_rel(&stacks.events, 1);
    for (uint32_t i = 0; i < 2; i++) {
        bool inside = here < stacks.tops[i] + 2048 && here + 14 * 1024 > stacks.tops[i];
        (void)weft_add32_acq_rel(&stacks.inside, inside ? 1 : 0);
    }
}

static bool is_last(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_tag(msg) == TAG_END;
}

/* Puts the request of the other aside, then waits for him in its turn: by an await, or a call. */
static int close_it(weft_ctx *ctx, void *user) {
    struct script *script = user;
    weft_msg *msg = NULL;
    stacks.tops[0] = (uintptr_t)__builtin_frame_address(0);
    step(script);
    ck_assert_int_eq(weft_receive_match(ctx, SOON_NS, is_last, NULL, &msg), 0);
    ask(ctx, script->pid, 9);
    ck_assert_int_eq(weft_sleep(ctx, 20 * MS_NS), 0);
    script->result = weft_await(ctx, 9, SOON_NS, &msg);
    return 0;
}

static int call_first(weft_ctx *ctx, void *user) {
    struct script *script = user;
    stacks.tops[1] = (uintptr_t)__builtin_frame_address(0);
    step(script);
    script->result = weft_call_wait(ctx, script->pid, TAG_ASK, NULL, 0, SOON_NS, NULL);
    return 0;
}

START_TEST(the_log_hook_never_runs_on_the_stack_of_a_process) {
    weft_config config = rig_config(cases_of(_i));
    config.log = (weft_log_hook){.cb = look_where};
    struct rig rig = rig_start_with(&config);
    struct script closer = {.fn = close_it};
    struct script first = {.fn = call_first};
    first.pid = start(&rig, &closer, 0);
    eventually(step_of(&closer) == 1);
    closer.pid = start(&rig, &first, 0);
    eventually(step_of(&first) == 1);
    sleep_ns(20 * MS_NS);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, first.pid, TAG_END, NULL, 0), 0);
    eventually(finished(&closer) && finished(&first));
    ck_assert(closer.result == -EDEADLK || first.result == -EDEADLK);
    ck_assert_uint_ge(weft_load32_acquire(&stacks.events), 1);
    ck_assert_uint_eq(weft_load32_acquire(&stacks.inside), 0);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_await");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 120);
    tcase_add_loop_test(loops, of_a_ring_one_is_told, 0, CASES);
    tcase_add_loop_test(loops, a_process_that_awaits_itself_is_told, 0, CASES);
    tcase_add_loop_test(loops, an_awaited_call_closes_a_circle, 0, CASES);
    tcase_add_loop_test(loops, a_call_that_is_not_awaited_accuses_nobody, 0, CASES);
    tcase_add_loop_test(loops, a_call_whose_await_is_over_accuses_nobody, 0, CASES);
    tcase_add_loop_test(loops, calls_that_share_a_token_accuse_nobody, 0, CASES);
    tcase_add_loop_test(loops, a_diamond_is_served, 0, CASES);
    tcase_add_loop_test(loops, the_log_hook_never_runs_on_the_stack_of_a_process, 0, CASES);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
