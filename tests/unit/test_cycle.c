/* SPDX-License-Identifier: MIT
 *
 * Calls that close a circle of serial actors, each of which handles nothing until its own call is
 * answered: one of the calls answers -EDEADLK at once, and nobody else is accused. The actors here
 * do what their hop says when a request arrives; the tests wire hops into figures, ask one of them
 * from outside, and look at the answer that comes back all the way.
 */
#include "sched/chain.h"
#include "tests/unit/support.h"

#include <stdatomic.h>

enum {
    TAG_GO = 1,   /* does what the hop says */
    TAG_LEAF = 2, /* answered at once */
    FAN_MAX = 6,
    LONG = 10000,
    /* A circle is found at once. A call that is left to its timeout takes TIMEOUT_NS. */
    PROMPT_S = 30,
};
#define TIMEOUT_NS (60 * S_NS)

enum mode {
    MODE_ANSWER,       /* answers */
    MODE_CALL,         /* takes the request, asks the next ones, answers when they have */
    MODE_FORWARD,      /* passes the request on */
    MODE_ANSWER_FIRST, /* answers, then asks the next ones */
    MODE_HOLD,         /* takes the request, and that is all */
    MODE_LATER,        /* takes the request, asks the first next one when a timer fires */
    MODE_CANCEL,       /* asks next[0] and gives that up, then asks next[1] */
    MODE_RELAY,        /* asks the next one, then answers */
};

struct hop {
    enum mode mode;
    uint32_t next_tag; /* of what it asks; 0: TAG_GO */
    uint32_t visits;   /* after so many requests it answers at once; 0: never */
    uint32_t fan;
    weft_pid next[FAN_MAX];
    size_t payload; /* bytes to ask with */
    uint64_t timeout_ns;
    /* its own */
    weft_msg *held;
    uint32_t seen;
    uint32_t pending;
    int status; /* the worst answer */
    /* read by the test */
    weft_atomic_u32 arrived;  /* requests */
    weft_atomic_u32 answers;  /* replies received */
    weft_atomic_u32 refusals; /* of them -EDEADLK */
};

static unsigned char pattern[2000];

static int hop_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    ck_assert_uint_eq(arg_size, sizeof(struct hop *));
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static void settle_hop(weft_ctx *ctx, struct hop *hop) {
    weft_msg *request = hop->held;
    if (hop->pending != 0 || request == NULL) {
        return;
    }
    int status = hop->status;
    hop->held = NULL;
    hop->status = 0; /* the hop may be wired anew once the answer is there */
    if (status < 0) {
        (void)weft_reply_error(ctx, &request, status);
    } else {
        (void)weft_reply(ctx, &request, 0, NULL, 0);
    }
}

static void ask(weft_ctx *ctx, struct hop *hop, uint32_t which) {
    int result =
        weft_call(ctx, hop->next[which], hop->next_tag == 0 ? TAG_GO : hop->next_tag, pattern,
                  hop->payload, hop->timeout_ns == 0 ? TIMEOUT_NS : hop->timeout_ns, which);
    if (result == 0) {
        hop->pending++;
    } else if (hop->status == 0) {
        hop->status = result;
    }
}

static void go(weft_ctx *ctx, struct hop *hop, weft_msg *msg) {
    weft_msg *request = msg;
    switch (hop->mode) {
    case MODE_ANSWER:
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        break;
    case MODE_FORWARD:
        (void)weft_send_msg(ctx, hop->next[0], &request);
        break;
    case MODE_ANSWER_FIRST:
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        for (uint32_t i = 0; i < hop->fan; i++) {
            ask(ctx, hop, i);
        }
        break;
    case MODE_RELAY:
        ask(ctx, hop, 0);
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        break;
    case MODE_LATER:
        hop->held = weft_msg_take(ctx, msg);
        ck_assert_int_ge(weft_timer_start(ctx, MS_NS, 0, 0, NULL), 0);
        break;
    case MODE_HOLD:
        hop->held = weft_msg_take(ctx, msg);
        break;
    case MODE_CANCEL:
        hop->held = weft_msg_take(ctx, msg);
        ask(ctx, hop, 0);
        ck_assert_int_eq(weft_call_cancel(ctx, 0), 1);
        hop->pending--;
        ask(ctx, hop, 1);
        break;
    case MODE_CALL:
        hop->held = weft_msg_take(ctx, msg);
        for (uint32_t i = 0; i < hop->fan; i++) {
            ask(ctx, hop, i);
        }
        settle_hop(ctx, hop);
        break;
    }
}

static int hop_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct hop *hop = *(struct hop **)state;
    weft_msg *request = msg;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REQUEST:
        if (weft_msg_tag(msg) == TAG_ACT) {
            struct job job;
            memcpy(&job, weft_msg_data(msg), sizeof(job));
            job.fn(ctx, job.arg);
            (void)weft_reply(ctx, &request, TAG_ACT, NULL, 0);
            break;
        }
        (void)weft_add32_acq_rel(&hop->arrived, 1);
        ck_assert_mem_eq(weft_msg_data(msg), pattern, weft_msg_size(msg));
        if (weft_msg_tag(msg) == TAG_LEAF || (hop->visits != 0 && ++hop->seen >= hop->visits)) {
            (void)weft_reply(ctx, &request, 0, NULL, 0);
        } else {
            go(ctx, hop, msg);
        }
        break;
    case WEFT_MSG_REPLY:
        hop->pending--;
        if (weft_msg_status(msg) < 0 && hop->status == 0) {
            hop->status = weft_msg_status(msg);
        }
        if (weft_msg_status(msg) == -EDEADLK) {
            (void)weft_add32_acq_rel(&hop->refusals, 1);
        }
        (void)weft_add32_acq_rel(&hop->answers, 1);
        settle_hop(ctx, hop);
        break;
    case WEFT_MSG_TIMER:
        ask(ctx, hop, 0);
        settle_hop(ctx, hop);
        break;
    default:
        break;
    }
    return WEFT_CONTINUE;
}

/* ---- worlds -------------------------------------------------------------------------------- */

struct world {
    struct rig rig;
    const weft_type *serial;
    const weft_type *plain;
    uint64_t messages; /* in use at the beginning */
    _Atomic uint32_t logged;
    char callers[256]; /* as logged last */
};

static void on_log(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct world *world = cookie;
    if (strcmp(event->name, "call.circle") != 0) {
        return;
    }
    ck_assert_int_eq(level, WEFT_LOG_WARN);
    ck_assert_uint_eq(event->field_count, 3);
    if (atomic_load(&world->logged) == 0) { /* tests that read it make one circle */
        snprintf(world->callers, sizeof(world->callers), "%s", event->fields[2].text);
    }
    atomic_fetch_add(&world->logged, 1);
}

static void world_open(struct world *world, weft_config *config) {
    memset(world, 0, sizeof(*world));
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (unsigned char)(i * 7 + 1);
    }
    config->log = (weft_log_hook){.cookie = world, .cb = on_log};
    world->rig = rig_start_with(config);
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = "plain",
        .state_size = sizeof(struct hop *),
        .init = hop_init,
        .receive = hop_receive,
    };
    world->plain = rig_type(&world->rig, &def);
    def.name = "serial";
    def.flags = WEFT_TYPE_SERIAL;
    world->serial = rig_type(&world->rig, &def);
    world->messages = rig_gauges(&world->rig).messages;
}

static void world_start(struct world *world, int number) {
    weft_config config = rig_config(schedulers_of(number));
    world_open(world, &config);
}

/* Nothing is left of any request or chain, although the actors still live. */
static void world_stop(struct world *world) {
    eventually(rig_gauges(&world->rig).messages == world->messages);
    rig_stop(&world->rig);
}

static weft_pid hop_spawn(struct world *world, const weft_type *type, struct hop *hop) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &hop, .arg_size = sizeof(struct hop *)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(world->rig.runtime, type, &options, &pid), 0);
    return pid;
}

/* Asks an actor from outside; the answer is due at once. */
static int ask_outside(struct world *world, weft_pid pid) {
    weft_msg *reply = NULL;
    uint64_t before_ns = clock_ns();
    int result = weft_runtime_call(world->rig.runtime, pid, TAG_GO, NULL, 0, TIMEOUT_NS, &reply);
    ck_assert_uint_lt(clock_ns() - before_ns, PROMPT_S * S_NS);
    weft_runtime_msg_release(world->rig.runtime, &reply);
    return result;
}

/* Serial actors that call the next one each. */
static void line(struct world *world, struct hop *hops, weft_pid *pids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        pids[i] = hop_spawn(world, world->serial, &hops[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        hops[i].mode = i + 1 < count ? MODE_CALL : MODE_ANSWER;
        hops[i].next[0] = pids[(i + 1) % count];
        hops[i].fan = 1;
    }
}

/* The same, and the last calls the first. */
static void ring(struct world *world, struct hop *hops, weft_pid *pids, uint32_t count) {
    line(world, hops, pids, count);
    hops[count - 1].mode = MODE_CALL;
}

/* ---- circles ------------------------------------------------------------------------------- */

START_TEST(test_circle_is_answered_at_once) {
    for (uint32_t count = 2; count <= 5; count++) {
        struct world world;
        world_start(&world, _i);
        struct hop hops[5] = {0};
        weft_pid pids[5];
        ring(&world, hops, pids, count);
        ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
        ck_assert_uint_eq(atomic_load(&world.logged), 1);
        char text[WEFT_PID_TEXT_BYTES];
        char expected[256] = "";
        for (uint32_t i = count; i > 0; i--) {
            ck_assert_int_ge(weft_pid_format(pids[i - 1], text, sizeof(text)), 0);
            strcat(expected, text);
            strcat(expected, i > 1 ? " " : "");
            ck_assert_uint_eq(weft_load32_acquire(&hops[i - 1].arrived), 1);
        }
        ck_assert_msg(strcmp(world.callers, expected) == 0, "%s, not %s", world.callers, expected);
        ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK); /* and again */
        world_stop(&world);
    }
}
END_TEST

/* An actor that gets its own request through another's hands. */
START_TEST(test_circle_of_one_through_a_forward) {
    for (int serial = 0; serial < 2; serial++) {
        struct world world;
        world_start(&world, _i);
        struct hop hops[2] = {{.mode = MODE_CALL, .fan = 1}, {.mode = MODE_FORWARD, .fan = 1}};
        weft_pid first = hop_spawn(&world, world.serial, &hops[0]);
        hops[0].next[0] = hop_spawn(&world, serial ? world.serial : world.plain, &hops[1]);
        hops[1].next[0] = first;
        ck_assert_int_eq(ask_outside(&world, first), -EDEADLK);
        ck_assert_uint_eq(weft_load32_acquire(&hops[0].arrived), 1);
        world_stop(&world);
    }
}
END_TEST

START_TEST(test_circle_through_forwards_and_others) {
    for (uint32_t plain = 0; plain < 4; plain++) {
        struct world world;
        world_start(&world, _i);
        struct hop hops[4] = {0};
        weft_pid pids[4];
        for (uint32_t i = 0; i < 4; i++) { /* the first is serial always */
            pids[i] = hop_spawn(&world, i > 0 && i <= plain ? world.plain : world.serial, &hops[i]);
        }
        for (uint32_t i = 0; i < 4; i++) {
            hops[i].mode = i == 2 ? MODE_FORWARD : MODE_CALL;
            hops[i].fan = 1;
            hops[i].next[0] = pids[(i + 1) % 4];
        }
        ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
        ck_assert_uint_eq(atomic_load(&world.logged), 1);
        world_stop(&world);
    }
}
END_TEST

START_TEST(test_circle_of_others_is_served) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[2] = {{.mode = MODE_CALL, .fan = 1, .visits = 2},
                          {.mode = MODE_CALL, .fan = 1}};
    weft_pid first = hop_spawn(&world, world.plain, &hops[0]);
    hops[0].next[0] = hop_spawn(&world, world.serial, &hops[1]);
    hops[1].next[0] = first;
    ck_assert_int_eq(ask_outside(&world, first), 0);
    ck_assert_uint_eq(weft_load32_acquire(&hops[0].arrived), 2);
    ck_assert_uint_eq(atomic_load(&world.logged), 0);
    world_stop(&world);
}
END_TEST

/* The call is made when a timer fires: on behalf of the request that is held. */
START_TEST(test_circle_closed_later) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[2] = {0};
    weft_pid pids[2];
    ring(&world, hops, pids, 2);
    hops[1].mode = MODE_LATER;
    ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
    world_stop(&world);
}
END_TEST

START_TEST(test_circles_at_once) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[2][3] = {{{0}}};
    struct hop both = {.mode = MODE_CALL, .fan = 2};
    weft_pid pids[3];
    for (uint32_t i = 0; i < 2; i++) {
        ring(&world, hops[i], pids, 3);
        both.next[i] = pids[0];
    }
    weft_pid pid = hop_spawn(&world, world.plain, &both);
    for (uint32_t round = 1; round <= 100; round++) {
        ck_assert_int_eq(ask_outside(&world, pid), -EDEADLK);
        ck_assert_uint_eq(weft_load32_acquire(&both.refusals), 2 * round);
        ck_assert_uint_eq(atomic_load(&world.logged), 2 * round);
    }
    world_stop(&world);
}
END_TEST

/* All actors of a ring begin at once, so that nobody serves anybody: one call is refused, and with
 * it gone the others are answered. */
START_TEST(test_crossing_calls) {
    for (uint32_t round = 0; round < 40; round++) {
        uint32_t count = 2 + round % 5;
        struct world world;
        world_start(&world, _i);
        struct hop hops[6] = {0};
        struct hop starter = {.mode = MODE_CALL, .fan = count};
        weft_pid pids[6];
        ring(&world, hops, pids, count);
        for (uint32_t i = 0; i < count; i++) {
            hops[i].next_tag = TAG_LEAF;
            starter.next[i] = pids[i];
        }
        weft_pid start = hop_spawn(&world, world.plain, &starter);
        int result = ask_outside(&world, start);
        uint32_t refusals = 0;
        for (uint32_t i = 0; i < count; i++) {
            refusals += weft_load32_acquire(&hops[i].refusals);
        }
        /* On several schedulers some may have been answered before others began. */
        ck_assert(refusals == 1 || (refusals == 0 && _i != 0));
        ck_assert_int_eq(result, refusals == 1 ? -EDEADLK : 0);
        ck_assert_uint_eq(atomic_load(&world.logged), refusals);
        world_stop(&world);
    }
}
END_TEST

/* ---- no circles ---------------------------------------------------------------------------- */

START_TEST(test_diamond_is_served) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[4] = {{.mode = MODE_CALL, .fan = 2},
                          {.mode = MODE_CALL, .fan = 1},
                          {.mode = MODE_CALL, .fan = 1},
                          {.mode = MODE_ANSWER}};
    weft_pid pids[4];
    for (uint32_t i = 0; i < 4; i++) {
        pids[i] = hop_spawn(&world, world.serial, &hops[i]);
    }
    hops[0].next[0] = pids[1];
    hops[0].next[1] = pids[2];
    hops[1].next[0] = pids[3];
    hops[2].next[0] = pids[3];
    for (uint32_t round = 0; round < 100; round++) {
        ck_assert_int_eq(ask_outside(&world, pids[0]), 0);
    }
    ck_assert_uint_eq(weft_load32_acquire(&hops[3].arrived), 200);
    ck_assert_uint_eq(atomic_load(&world.logged), 0);
    world_stop(&world);
}
END_TEST

START_TEST(test_answering_first_closes_no_circle) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[2] = {0};
    weft_pid pids[2];
    ring(&world, hops, pids, 2);
    hops[0].visits = 2; /* asked the second time it answers */
    hops[1].mode = MODE_ANSWER_FIRST;
    ck_assert_int_eq(ask_outside(&world, pids[0]), 0);
    eventually(weft_load32_acquire(&hops[1].answers) == 1);
    ck_assert_uint_eq(weft_load32_acquire(&hops[1].refusals), 0);
    world_stop(&world);
}
END_TEST

static void act_answer(weft_ctx *ctx, void *arg) {
    struct hop *hop = arg;
    settle_hop(ctx, hop);
}

/* 0 asks 1 and gives that up, and waits for 2. What 1 asks 0 for, if it has begun at all, closes no
 * circle. */
START_TEST(test_given_up_call_closes_no_circle) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[3] = {{.mode = MODE_CANCEL},
                          {.mode = MODE_CALL, .fan = 1, .next_tag = TAG_LEAF},
                          {.mode = MODE_HOLD}};
    weft_pid pids[3];
    for (uint32_t i = 0; i < 2; i++) {
        pids[i] = hop_spawn(&world, world.serial, &hops[i]);
    }
    pids[2] = hop_spawn(&world, world.plain, &hops[2]);
    hops[0].next[0] = pids[1];
    hops[0].next[1] = pids[2];
    hops[1].next[0] = pids[0];
    ck_assert_int_eq(weft_runtime_send(world.rig.runtime, pids[0], 0, NULL, 0), 0);
    struct hop asker = {.mode = MODE_CALL, .fan = 1, .next = {pids[0]}};
    weft_pid first = hop_spawn(&world, world.plain, &asker);
    struct hop starter = {.mode = MODE_ANSWER_FIRST, .fan = 1, .next = {first}};
    ck_assert_int_eq(ask_outside(&world, hop_spawn(&world, world.plain, &starter)), 0);
    eventually(weft_load32_acquire(&hops[2].arrived) == 1);
    sleep_ns(20 * MS_NS); /* a request of 1 is held back by now, or cancelled */
    act(&world.rig, pids[2], act_answer, &hops[2]);
    eventually(weft_load32_acquire(&starter.answers) == 1);
    ck_assert_uint_eq(weft_load32_acquire(&hops[1].refusals), 0);
    ck_assert_uint_eq(weft_load32_acquire(&starter.refusals), 0);
    world_stop(&world);
}
END_TEST

struct kill_job {
    weft_pid pid;
};

static void act_kill(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_kill(ctx, ((struct kill_job *)arg)->pid), 0);
}

static void act_ask(weft_ctx *ctx, void *arg) {
    ask(ctx, arg, 0);
}

/* 0 asks 1 asks 2, which holds. 1 is killed: 0 knows at once. Now 0 waits for 3, and 2 asks 0. */
START_TEST(test_killed_in_the_middle) {
    struct world world;
    world_start(&world, _i);
    struct hop hops[4] = {0};
    weft_pid pids[4];
    line(&world, hops, pids, 3);
    hops[2].mode = MODE_HOLD;
    hops[3].mode = MODE_HOLD;
    pids[3] = hop_spawn(&world, world.plain, &hops[3]);
    struct hop starter = {.mode = MODE_ANSWER_FIRST, .fan = 1, .next = {pids[0]}};
    weft_pid start = hop_spawn(&world, world.plain, &starter);
    ck_assert_int_eq(ask_outside(&world, start), 0);
    eventually(weft_load32_acquire(&hops[2].arrived) == 1);
    struct kill_job job = {.pid = pids[1]};
    act(&world.rig, start, act_kill, &job);
    eventually(weft_load32_acquire(&starter.answers) == 1);
    ck_assert_int_eq(starter.status, WEFT_E_NOPROC);
    hops[0].next[0] = pids[3];
    ck_assert_int_eq(ask_outside(&world, start), 0);
    eventually(weft_load32_acquire(&hops[3].arrived) == 1);
    hops[2].next[0] = pids[0];
    hops[2].next_tag = TAG_LEAF;
    act(&world.rig, pids[2], act_ask, &hops[2]);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(weft_load32_acquire(&hops[2].answers), 0);
    act(&world.rig, pids[3], act_answer, &hops[3]);
    eventually(weft_load32_acquire(&hops[2].answers) == 1); /* and answers its own request late */
    ck_assert_uint_eq(weft_load32_acquire(&hops[2].refusals), 0);
    eventually(weft_load32_acquire(&starter.answers) == 2);
    ck_assert_uint_eq(atomic_load(&world.logged), 0);
    world_stop(&world);
}
END_TEST

/* ---- length, memory ------------------------------------------------------------------------ */

START_TEST(test_long_lines_leave_nothing) {
    struct world world;
    world_start(&world, _i);
    struct hop *hops = calloc(LONG, sizeof(*hops));
    weft_pid *pids = calloc(LONG, sizeof(*pids));
    line(&world, hops, pids, LONG);
    uint64_t heap_bytes = 0;
    for (uint32_t round = 0; round < 3; round++) {
        ck_assert_int_eq(ask_outside(&world, pids[0]), 0);
        eventually(rig_gauges(&world.rig).messages == world.messages);
        uint64_t now_bytes = rig_gauges(&world.rig).heap_bytes;
        ck_assert(round == 0 || now_bytes == heap_bytes); /* tables of calls stay */
        heap_bytes = now_bytes;
    }
    world_stop(&world);
    free(hops);
    free(pids);
}
END_TEST

START_TEST(test_longest_circle_that_is_seen) {
    struct world world;
    world_start(&world, _i);
    struct hop *hops = calloc(WEFT__CHAIN_MAX + 1, sizeof(*hops));
    weft_pid *pids = calloc(WEFT__CHAIN_MAX + 1, sizeof(*pids));
    ring(&world, hops, pids, WEFT__CHAIN_MAX);
    ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
    memset(hops, 0, (WEFT__CHAIN_MAX + 1) * sizeof(*hops));
    ring(&world, hops, pids, WEFT__CHAIN_MAX + 1);
    hops[WEFT__CHAIN_MAX].timeout_ns = 200 * MS_NS; /* not seen: left to the timeout */
    ck_assert_int_eq(ask_outside(&world, pids[0]), -ETIMEDOUT);
    world_stop(&world);
    free(hops);
    free(pids);
}
END_TEST

/* A request that goes round for ever, each actor answering when it has asked the next one. */
START_TEST(test_endless_relay_does_not_grow) {
    struct world world;
    world_start(&world, 0);
    struct hop hops[3] = {0};
    weft_pid pids[3];
    ring(&world, hops, pids, 3);
    for (uint32_t i = 0; i < 3; i++) {
        hops[i].mode = MODE_RELAY;
        hops[i].visits = 30000;
    }
    ck_assert_int_eq(ask_outside(&world, pids[0]), 0);
    while (weft_load32_acquire(&hops[0].arrived) < 30000) {
        ck_assert_uint_lt(rig_gauges(&world.rig).messages, world.messages + 100);
        sleep_ns(MS_NS / 10);
    }
    ck_assert_uint_eq(atomic_load(&world.logged), 0);
    world_stop(&world);
}
END_TEST

START_TEST(test_payloads_of_requests_with_chains) {
    static const size_t sizes[] = {0,  1,  8,  11,  12,  13,  15,  16,  17,  75,   76,
                                   77, 80, 81, 203, 204, 205, 208, 209, 300, 1000, 2000};
    struct world world;
    world_start(&world, _i);
    struct hop hops[3] = {0};
    weft_pid pids[3];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(hops, 0, sizeof(hops));
        line(&world, hops, pids, 3);
        hops[0].payload = sizes[i];
        hops[1].payload = sizes[i];
        ck_assert_int_eq(ask_outside(&world, pids[0]), 0);
        hops[2].mode = MODE_CALL;
        ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
        hops[1].mode = MODE_FORWARD;
        ck_assert_int_eq(ask_outside(&world, pids[0]), -EDEADLK);
    }
    world_stop(&world);
}
END_TEST

/* ---- no memory ----------------------------------------------------------------------------- */

static _Atomic bool short_of_memory;

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    return atomic_load(&short_of_memory) ? -ENOMEM : 0;
}

struct starve {
    struct hop *hop;
    bool serial;
    weft_msg *cells;
};

/* Uses up the cells of the class that nodes have; the request itself needs a smaller one. */
static void act_starved(weft_ctx *ctx, void *arg) {
    struct starve *starve = arg;
    struct hop *hop = starve->hop;
    weft_msg *filler[3] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(weft_msg_create(ctx, 0, 8, &filler[i]), 0); /* some of its class */
    }
    for (uint32_t i = 0; i < 3; i++) {
        weft_msg_release(ctx, &filler[i]);
    }
    atomic_store(&short_of_memory, true);
    weft_msg *cells[3] = {0};
    uint32_t count = 0;
    weft_msg *cell = NULL;
    while (weft_msg_create(ctx, 0, 70, &cell) == 0) {
        cells[count % 3] = cell; /* all are held; these go first */
        count++;
    }
    uint32_t pending = hop->pending;
    ask(ctx, hop, 0);
    if (starve->serial) {
        ck_assert_uint_eq(hop->pending, pending);
        ck_assert_int_eq(hop->status, -ENOMEM);
    } else {
        ck_assert_uint_eq(hop->pending, pending + 1);
    }
    hop->status = 0;
    atomic_store(&short_of_memory, false);
    for (uint32_t i = 0; i < 3; i++) {
        weft_msg_release(ctx, &cells[i]);
    }
    weft_exit(ctx, 0); /* releases the others */
}

START_TEST(test_no_memory_for_a_node) {
    for (int serial = 0; serial < 2; serial++) {
        struct world world;
        weft_config config = rig_config(1);
        config.allocator = (weft_allocator){.commit = memory_commit};
        atomic_store(&short_of_memory, false);
        world_open(&world, &config);
        struct hop hops[2] = {{.payload = 8, .fan = 1}, {.mode = MODE_ANSWER}};
        weft_pid pid = hop_spawn(&world, serial ? world.serial : world.plain, &hops[0]);
        hops[0].next[0] = hop_spawn(&world, world.plain, &hops[1]);
        act(&world.rig, pid, act_ask, &hops[0]); /* once with memory: the table exists */
        eventually(weft_load32_acquire(&hops[0].answers) == 1);
        struct starve starve = {.hop = &hops[0], .serial = serial != 0};
        act(&world.rig, pid, act_starved, &starve);
        eventually(!is_alive(&world.rig, pid));
        world_stop(&world);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 120);
    tcase_add_loop_test(loops, test_circle_is_answered_at_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_circle_of_one_through_a_forward, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_circle_through_forwards_and_others, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_circle_of_others_is_served, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_circle_closed_later, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_circles_at_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_crossing_calls, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_diamond_is_served, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_answering_first_closes_no_circle, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_given_up_call_closes_no_circle, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_killed_in_the_middle, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_long_lines_leave_nothing, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_longest_circle_that_is_seen, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_payloads_of_requests_with_chains, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, loops);
    TCase *others = tcase_create("others");
    tcase_set_timeout(others, 120);
    tcase_add_test(others, test_endless_relay_does_not_grow);
    tcase_add_test(others, test_no_memory_for_a_node);
    suite_add_tcase(suite, others);
    return run_suite(suite);
}
