/* SPDX-License-Identifier: MIT
 *
 * Small mailboxes with policy wait, seed by seed: processes send to each other and to serial
 * handlers at random, call, await later, and call and send while they serve; some are killed.
 * Whatever the seed: nobody stays suspended for ever and no call is left to its timeout, what was
 * sent arrives once and in order, and the bound holds. MAILBOX_SEED=<n> in the environment runs that
 * one only.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_run.h"
#include "sim_internal.h"
#include <weft/sim.h>
#include <weft/weft.h>

enum {
    CASES = 6,
    SEEDS_PER_CASE = 60,
    SEEDS_TWICE = 20,
    PROCESSES = 6,
    SERIALS = 2,
    REENTRANTS = 1,
    ACTORS = PROCESSES + SERIALS + REENTRANTS,
    BOUND = 6,
    ACTIONS = 60,
    DEPTH = 3,
    ROUNDS = 30,
    TAG_NUMBER = 1,
    TAG_ASK = 2,
};
#define US_NS   UINT64_C(1000)
#define S_NS    UINT64_C(1000000000)
#define CALL_NS (100000 * S_NS) /* never by itself: no timer is that long */

/* One run. Everything is on one thread. */
struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    weft_pid pids[ACTORS];
    uint32_t sent[ACTORS][ACTORS]; /* from, to */
    uint32_t seen[ACTORS][ACTORS];
    bool gone[ACTORS];
    bool kills;
    uint32_t finished; /* processes that have done what they had to, or have ended */
    uint32_t waited;   /* sends that took time */
    uint32_t refused;  /* -EDEADLK */
};

#define must(world, condition)                                                                     \
    ck_assert_msg((condition), "seed %llu: not so: %s", (unsigned long long)(world)->seed,         \
                  #condition)

struct place {
    struct world *world;
    uint32_t number;
};

struct body {
    uint32_t from;
    uint32_t number; /* of a message; of a request: how deep it may go on */
};

struct actor {
    struct world *world;
    uint32_t number;
    bool finished;
    weft_msg *held; /* serial: what it serves, and how many calls it waits for */
};

static uint32_t draw(weft_ctx *ctx, uint32_t below) {
    return (uint32_t)(weft_random(ctx) % below);
}

static void actor_gone(void *arg) {
    struct actor *actor = arg;
    actor->world->gone[actor->number] = true;
    if (!actor->finished && actor->number < PROCESSES) {
        actor->world->finished++;
    }
}

static int actor_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct actor *actor = state;
    struct place place;
    must((struct world *)((const struct place *)arg)->world, arg_size == sizeof(place));
    memcpy(&place, arg, sizeof(place));
    actor->world = place.world;
    actor->number = place.number;
    return weft_defer(ctx, actor_gone, actor);
}

/* How a call or send may end when nobody is killed, and when. */
static void check_status(struct world *world, uint32_t target, int status) {
    bool expected = status == 0 || status == -EDEADLK || status == -EBUSY ||
                    status == -ECANCELED; /* worked for one who was told */
    bool ended = status == WEFT_E_NOPROC || status == WEFT_E_NOREPLY;
    (void)target;
    if (!expected && !(world->kills && ended)) {
        ck_abort_msg("seed %llu: %s", (unsigned long long)world->seed, weft_strerror(status));
    }
    world->refused += status == -EDEADLK ? 1 : 0;
}

static void send_one(weft_ctx *ctx, struct actor *actor) {
    struct world *world = actor->world;
    uint32_t target = draw(ctx, ACTORS);
    uint64_t before_ns = weft_now_ns(ctx);
    bool process = weft_is_process(ctx);
    struct body body = {.from = actor->number, .number = world->sent[actor->number][target]};
    world->sent[actor->number][target]++; /* it may be there before the send returns */
    int result;
    if (draw(ctx, 3) == 0) {
        weft_msg *msg = NULL;
        must(world, weft_msg_create(ctx, TAG_NUMBER, draw(ctx, 2) == 0 ? 8 : 500, &msg) == 0);
        memcpy(weft_msg_body(msg), &body, sizeof(body));
        result = weft_send_msg(ctx, world->pids[target], &msg);
    } else {
        result = weft_send(ctx, world->pids[target], TAG_NUMBER, &body, sizeof(body));
    }
    world->sent[actor->number][target] -= result != 0 ? 1 : 0;
    check_status(world, target, result);
    must(world, result != -EBUSY || !process);
    world->waited += weft_now_ns(ctx) != before_ns ? 1 : 0;
}

/* A message that arrives: in order, none missing. */
static void take_one(weft_ctx *ctx, struct actor *actor, const weft_msg *msg) {
    struct world *world = actor->world;
    struct body body;
    memcpy(&body, weft_msg_data(msg), sizeof(body));
    must(world, body.from < ACTORS);
    must(world, body.number == world->seen[body.from][actor->number]);
    world->seen[body.from][actor->number]++;
    weft_actor_info info = {.struct_size = sizeof(info)};
    must(world, weft_inspect(world->runtime, weft_self(ctx), &info) == 0);
    /* One late for each sender, and for each sender what no bound stops. */
    must(world, info.mailbox <= BOUND + 3 * ACTORS);
}

static void serve(weft_ctx *ctx, struct actor *actor, weft_msg *request);

/* Takes what is there, or waits a while for something. */
static void receive_some(weft_ctx *ctx, struct actor *actor, uint64_t timeout_ns) {
    weft_msg *msg = NULL;
    for (uint32_t i = 0; i < 4 && weft_receive(ctx, timeout_ns, &msg) == 0; i++) {
        if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
            serve(ctx, actor, msg);
        } else if (weft_msg_kind(msg) == WEFT_MSG_USER) {
            take_one(ctx, actor, msg);
        } else {
            ck_abort_msg("seed %llu: kind %d", (unsigned long long)actor->world->seed,
                         (int)weft_msg_kind(msg));
        }
    }
}

static void call_wait(weft_ctx *ctx, struct actor *actor, uint32_t depth) {
    struct world *world = actor->world;
    uint32_t target = draw(ctx, ACTORS);
    struct body body = {.from = actor->number, .number = depth};
    int status =
        weft_call_wait(ctx, world->pids[target], TAG_ASK, &body, sizeof(body), CALL_NS, NULL);
    check_status(world, target, status);
}

/* Two calls, something else, and then their answers in any order. */
static void call_and_await(weft_ctx *ctx, struct actor *actor, uint32_t depth) {
    struct world *world = actor->world;
    struct body body = {.from = actor->number, .number = depth};
    uint32_t targets[2];
    bool asked[2];
    for (uint64_t i = 0; i < 2; i++) {
        targets[i] = draw(ctx, ACTORS);
        int result = weft_call(ctx, world->pids[targets[i]], TAG_ASK, &body, sizeof(body), CALL_NS,
                               100 + i + 2 * (uint64_t)depth);
        check_status(world, targets[i], result);
        asked[i] = result == 0;
    }
    if (draw(ctx, 2) == 0) {
        send_one(ctx, actor);
    }
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t which = (i + depth) % 2;
        weft_msg *reply = NULL;
        int status = -ETIMEDOUT;
        while (asked[which] && status == -ETIMEDOUT) { /* until it has been answered or is told */
            uint64_t timeout_ns = draw(ctx, 2) == 0 ? WEFT_FOREVER : draw(ctx, 100) * US_NS;
            status = weft_await(ctx, 100 + which + 2 * (uint64_t)depth, timeout_ns, &reply);
            if (status == -ETIMEDOUT && draw(ctx, 2) == 0) {
                (void)weft_sleep(ctx, draw(ctx, 50) * US_NS);
            }
        }
        if (asked[which]) {
            check_status(world, targets[which], status == 0 ? weft_msg_status(reply) : status);
            weft_msg_release(ctx, &reply);
        }
    }
}

/* What is done on the way to the answer. */
static void serve(weft_ctx *ctx, struct actor *actor, weft_msg *request) {
    struct body body;
    memcpy(&body, weft_msg_data(request), sizeof(body));
    if (body.number > 0) {
        switch (draw(ctx, 6)) {
        case 0:
            call_wait(ctx, actor, body.number - 1);
            break;
        case 1:
            call_and_await(ctx, actor, body.number - 1);
            break;
        case 2:
            send_one(ctx, actor);
            send_one(ctx, actor);
            break;
        case 3:
            (void)weft_sleep(ctx, draw(ctx, 100) * US_NS);
            break;
        case 4:
            if (weft_send_msg(ctx, actor->world->pids[draw(ctx, ACTORS)], &request) != 0) {
                actor->world->refused++;
            }
            return;
        default:
            break;
        }
    }
    (void)weft_reply(ctx, &request, 0, NULL, 0);
}

static int process_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct actor *actor = state;
    (void)arg;
    (void)arg_size;
    (void)weft_sleep(ctx, 100 * US_NS); /* all are there */
    for (uint32_t i = 0; i < ACTIONS; i++) {
        switch (draw(ctx, 8)) {
        case 0:
            call_wait(ctx, actor, draw(ctx, DEPTH));
            break;
        case 1:
            call_and_await(ctx, actor, draw(ctx, DEPTH));
            break;
        case 2:
            receive_some(ctx, actor, draw(ctx, 100) * US_NS);
            break;
        case 3:
            (void)weft_yield(ctx);
            break;
        default:
            send_one(ctx, actor);
            break;
        }
    }
    actor->finished = true;
    actor->world->finished++;
    while (weft_is_process(ctx)) { /* until the world ends */
        receive_some(ctx, actor, WEFT_FOREVER);
    }
    return 0;
}

/* ---- serial handlers ----------------------------------------------------------------------- */

static void settle(weft_ctx *ctx, struct actor *actor, int status) {
    if (status < 0) {
        (void)weft_reply_error(ctx, &actor->held, status);
    } else {
        (void)weft_reply(ctx, &actor->held, 0, NULL, 0);
    }
}

static int serial_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct actor *actor = state;
    struct body body;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
        take_one(ctx, actor, msg);
        if (draw(ctx, 4) == 0) {
            send_one(ctx, actor);
        }
        break;
    case WEFT_MSG_REPLY:
        check_status(actor->world, 0, weft_msg_status(msg));
        settle(ctx, actor, weft_msg_status(msg) == -EDEADLK ? -EDEADLK : 0);
        break;
    case WEFT_MSG_REQUEST:
        memcpy(&body, weft_msg_data(msg), sizeof(body));
        if (body.number == 0 || actor->held != NULL || draw(ctx, 3) == 0) {
            (void)weft_reply(ctx, &msg, 0, NULL, 0);
            break;
        }
        actor->held = weft_msg_take(ctx, msg);
        body = (struct body){.from = actor->number, .number = body.number - 1};
        int result = weft_call(ctx, actor->world->pids[draw(ctx, ACTORS)], TAG_ASK, &body,
                               sizeof(body), CALL_NS, 0);
        check_status(actor->world, 0, result);
        if (result != 0) {
            settle(ctx, actor, result == -EDEADLK ? result : 0);
        }
        break;
    default: /* READY */
        break;
    }
    return WEFT_CONTINUE;
}

/* ---- worlds -------------------------------------------------------------------------------- */

static void world_start(struct world *world, uint64_t seed) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (uint32_t)(seed % 3) * 5,
                                .nest_max = (uint32_t)(seed % 4)};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 1 + (uint32_t)(seed % 4),
                          .budget = seed % 5 == 0 ? 1 : 0};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .state_size = sizeof(struct actor),
                         .init = actor_init,
                         .mailbox_max = BOUND,
                         .mailbox_policy = WEFT_MAILBOX_WAIT};
    const weft_type *types[3];
    world->seed = seed;
    must(world, weft_sim_create(&options, &world->sim) == 0);
    must(world, weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime) == 0);
    def.name = "process";
    def.process = process_run;
    must(world, weft_type_register(world->runtime, &def, &types[0]) == 0);
    def.name = "serial";
    def.process = NULL;
    def.receive = serial_receive;
    def.flags = WEFT_TYPE_SERIAL;
    must(world, weft_type_register(world->runtime, &def, &types[1]) == 0);
    def.name = "reentrant";
    def.flags = WEFT_TYPE_SERIAL | WEFT_TYPE_REENTRANT;
    must(world, weft_type_register(world->runtime, &def, &types[2]) == 0);
    must(world, weft_runtime_start(world->runtime) == 0);
    for (uint32_t i = 0; i < ACTORS; i++) {
        struct place place = {.world = world, .number = i};
        weft_spawn_options spawn = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &place, .arg_size = sizeof(place)};
        const weft_type *type = types[i < PROCESSES ? 0 : i < PROCESSES + SERIALS ? 1 : 2];
        must(world, weft_runtime_spawn(world->runtime, type, &spawn, &world->pids[i]) == 0);
    }
}

static bool all_finished(void *arg) {
    const struct world *world = arg;
    return world->finished == PROCESSES;
}

static bool all_seen(void *arg) {
    const struct world *world = arg;
    return memcmp(world->sent, world->seen, sizeof(world->sent)) == 0;
}

static void world_end(struct world *world) {
    must(world, weft_sim_stop(world->sim, world->runtime, 1000000) == 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(world, weft_gauges_read(world->runtime, &gauges) == 0);
    must(world, gauges.actors == 0);
    must(world, gauges.messages == 0);
    must(world, gauges.timers == 0);
    must(world, gauges.buffers == 0);
    weft_stats stats = {.struct_size = sizeof(stats)};
    must(world, weft_stats_read(world->runtime, WEFT_STATS_ALL, &stats) == 0);
    must(world, stats.messages_sent == stats.messages_handled + stats.messages_dead +
                                           stats.messages_dropped + stats.requests_expired +
                                           stats.replies_late);
    must(world, weft_runtime_destroy(&world->runtime) == 0);
    weft_sim_destroy(&world->sim);
}

static uint64_t seed_run(uint64_t seed, uint32_t *waited, uint32_t *refused) {
    struct world *world = calloc(1, sizeof(*world));
    world->kills = seed % 3 == 0;
    world_start(world, seed);
    for (uint32_t round = 0; world->kills && round < ROUNDS; round++) {
        (void)weft_sim_run(world->sim, 1 + weft_sim_random(world->sim) % 2000, UINT64_MAX,
                           all_finished, world);
        if (weft_sim_random(world->sim) % 8 == 0) {
            (void)weft_runtime_kill_actor(world->runtime,
                                          world->pids[weft_sim_random(world->sim) % ACTORS]);
        }
    }
    must(world,
         weft_sim_run(world->sim, 10000000, UINT64_MAX, all_finished, world) == WEFT_SIM_DONE);
    if (!world->kills) {
        must(world,
             weft_sim_run(world->sim, 1000000, UINT64_MAX, all_seen, world) == WEFT_SIM_DONE);
    }
    *waited += world->waited;
    *refused += world->refused;
    uint64_t hash = weft_sim_hash(world->sim);
    world_end(world);
    free(world);
    return hash;
}

START_TEST(test_nobody_is_stuck_whatever_the_seed) {
    const char *only = getenv("MAILBOX_SEED");
    uint32_t waited = 0;
    uint32_t refused = 0;
    if (only != NULL) {
        (void)seed_run(strtoull(only, NULL, 0), &waited, &refused);
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)seed_run(40000 + (uint64_t)_i * SEEDS_PER_CASE + i, &waited, &refused);
    }
    ck_assert(waited > 100);
    ck_assert(refused > 100);
}
END_TEST

static uint64_t seed_hash(uint64_t seed) {
    uint32_t unused = 0;
    return seed_run(seed, &unused, &unused);
}

START_TEST(test_a_seed_always_gives_the_same_run) {
    check_repeats(seed_hash, SEEDS_TWICE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mailbox_wait");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_nobody_is_stuck_whatever_the_seed, 0, CASES);
    tcase_add_test(tcase, test_a_seed_always_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
