/* SPDX-License-Identifier: MIT
 *
 * Supervisors, seed by seed, in the shapes that the trees of test_supervisor.c do not have: started
 * by an actor, which asks them by messages and hears of their end; with simple_one_for_one; that
 * shut down with their significant children; whose children, processes, take their time to end or
 * never do, so that they are killed when their shutdown time is over. The clock is virtual, so how
 * long each stop takes is known beforehand: as long as the child needs or is given, one after the
 * other in the reverse order, with simple_one_for_one all at once.
 * SUPERVISOR_SEED=<n> in the environment runs that one only.
 */
#include "check_run.h"
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/sim.h>
#include <weft/weft.h>

enum { CASES = 6, SEEDS_PER_CASE = 50, KIDS_MAX = 8, BLOWS = 20 };
enum { TAG_CRASH = 1, TAG_END = 2, TAG_RAISE = 3, TAG_ASK = 4 };

#define UNIT_NS  UINT64_C(100000000)
#define SLACK_NS (UNIT_NS / 2) /* what all that is not waited for takes at most */
#define FOR_EVER UINT64_MAX
#define CALL_NS  UINT64_C(1000000000000) /* a timer of it may be waited for */

struct kid {
    char id[8];
    uint32_t number;   /* its argument */
    uint64_t needs_ns; /* to end when it is told to; FOR_EVER: it does not */
    uint64_t given_ns; /* until it is killed */
    uint32_t lives;
    uint32_t starts;
    uint64_t gone_ns;
    weft_pid pid;
    bool runs; /* as expected */
};

/* One run. Everything is on one thread. */
struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *type;
    weft_pid owner;
    weft_pid supervisor;
    struct kid kids[KIDS_MAX];
    weft_child_spec specs[KIDS_MAX];
    weft_supervisor_def def;
    uint32_t count;
    uint32_t used; /* restarts */
    /* between the test and the owner */
    weft_supervisor_request request;
    weft_supervisor_answer answer;
    int result;
    uint32_t asked;
    uint32_t answered;
    uint32_t ends;
    int end_status;
};

static struct world world;

#define must(condition)                                                                            \
    ck_assert_msg((condition), "seed %llu: not so: %s", (unsigned long long)world.seed, #condition)

static uint32_t draw(uint32_t below) {
    return (uint32_t)(weft_sim_random(world.sim) % below);
}

static void be_quiet(void) {
    must(weft_sim_run(world.sim, 20000000, UINT64_MAX, NULL, NULL) == WEFT_SIM_QUIET);
}

/* ---- kids ---------------------------------------------------------------------------------- */

static void kid_gone(void *arg) {
    struct kid *kid = arg;
    must(kid->lives == 1);
    kid->lives = 0;
    kid->gone_ns = weft_sim_now_ns(world.sim);
}

static int kid_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t number;
    (void)state;
    must(arg_size == sizeof(number));
    memcpy(&number, arg, sizeof(number));
    struct kid *kid = &world.kids[number];
    must(kid->lives == 0);
    must(weft_defer(ctx, kid_gone, kid) == 0);
    (void)weft_trap_exit(ctx, true);
    kid->lives = 1;
    kid->starts++;
    kid->pid = weft_self(ctx);
    return WEFT_CONTINUE;
}

static int kid_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t number;
    (void)state;
    must(arg_size == sizeof(number));
    memcpy(&number, arg, sizeof(number));
    for (;;) { /* the event loop */
        weft_msg *msg;
        must(weft_receive(ctx, WEFT_FOREVER, &msg) == 0);
        if (weft_msg_kind(msg) != WEFT_MSG_EXIT) {
            return weft_msg_tag(msg) == TAG_CRASH ? -EIO : 0;
        }
        must(weft_msg_status(msg) == WEFT_E_SHUTDOWN);
        if (world.kids[number].needs_ns != FOR_EVER) {
            must(weft_sleep(ctx, world.kids[number].needs_ns) == 0);
            return WEFT_E_SHUTDOWN;
        }
    }
}

/* How long it takes to stop one. */
static uint64_t stop_ns(const struct kid *kid) {
    return kid->needs_ns < kid->given_ns ? kid->needs_ns : kid->given_ns;
}

static void check_stop(const struct kid *kid, uint64_t from_ns) {
    must(kid->lives == 0 && kid->gone_ns >= from_ns + stop_ns(kid));
    must(kid->gone_ns <= from_ns + stop_ns(kid) + SLACK_NS);
}

/* ---- the owner ----------------------------------------------------------------------------- */

static int owner_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    (void)weft_trap_exit(ctx, true);
    return WEFT_CONTINUE;
}

static int owner_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_EXIT) {
        must(weft_pid_equal(weft_sender(ctx, msg), world.supervisor));
        world.ends++;
        world.end_status = weft_msg_status(msg);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        must(weft_msg_token(msg) == world.asked);
        world.answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
        world.result = weft_supervisor_answer_of(msg, &world.answer);
        world.answered++;
    } else if (weft_msg_tag(msg) == TAG_RAISE) {
        must(weft_supervisor_start(ctx, &world.def, &world.supervisor) == 0);
    } else {
        must(weft_msg_tag(msg) == TAG_ASK);
        must(weft_supervisor_call(ctx, world.supervisor, &world.request, CALL_NS, world.asked) ==
             0);
    }
    return WEFT_CONTINUE;
}

static int ask(weft_supervisor_request request) {
    request.struct_size = WEFT_SUPERVISOR_REQUEST_INIT;
    world.request = request;
    world.asked++;
    must(weft_runtime_send(world.runtime, world.owner, TAG_ASK, NULL, 0) == 0);
    be_quiet();
    must(world.answered == world.asked);
    return world.result;
}

static void raise_supervisor(void) {
    must(weft_runtime_send(world.runtime, world.owner, TAG_RAISE, NULL, 0) == 0);
    be_quiet();
    must(world.ends == 0);
}

/* ---- what must be so ----------------------------------------------------------------------- */

static void check_kids(void) {
    uint32_t living = 0;
    for (uint32_t i = 0; i < world.count; i++) {
        must(world.kids[i].lives == (world.kids[i].runs ? 1 : 0));
        living += world.kids[i].lives;
    }
    if (world.ends == 0) {
        must(ask((weft_supervisor_request){.verb = WEFT_SUPERVISOR_COUNT}) == 0);
        must(world.answer.active == living && world.answer.restarting == 0);
    }
}

/* The supervisor has ended, since from_ns, after its children; skipped was gone before. */
static void check_end(uint64_t from_ns, uint32_t skipped) {
    bool simple = world.def.strategy == WEFT_SIMPLE_ONE_FOR_ONE;
    must(world.ends == 1 && world.end_status == WEFT_E_SHUTDOWN);
    for (uint32_t i = world.count; i > 0; i--) {
        struct kid *kid = &world.kids[i - 1];
        if (kid->runs && i - 1 != skipped) {
            check_stop(kid, from_ns);
            from_ns = simple ? from_ns : kid->gone_ns;
        }
        kid->runs = false;
    }
    check_kids();
}

static void finish(void) {
    uint64_t from_ns = weft_sim_now_ns(world.sim);
    if (world.ends == 0) {
        must(weft_runtime_stop_actor(world.runtime, world.supervisor, WEFT_E_SHUTDOWN) == 0);
        be_quiet();
        check_end(from_ns, KIDS_MAX);
    }
}

/* ---- blows --------------------------------------------------------------------------------- */

static uint32_t restart_of(uint32_t number) {
    return world.specs[world.def.strategy == WEFT_SIMPLE_ONE_FOR_ONE ? 0 : number].restart;
}

static void strike(const struct kid *kid, uint32_t how) {
    must((how == 0 ? weft_runtime_kill_actor(world.runtime, kid->pid)
                   : weft_runtime_send(world.runtime, kid->pid, how, NULL, 0)) == 0);
    be_quiet();
}

static bool is_significant(uint32_t number) {
    return world.def.auto_shutdown != WEFT_AUTO_NEVER && world.specs[number].significant;
}

/* One has ended for good, by itself: does that end its supervisor? */
static bool ends_all(uint32_t number) {
    bool others = false;
    for (uint32_t i = 0; i < world.count; i++) {
        others = others || (i != number && is_significant(i) && world.kids[i].runs);
    }
    return is_significant(number) && (world.def.auto_shutdown == WEFT_AUTO_ANY || !others);
}

static void blow(uint32_t number) {
    struct kid *kid = &world.kids[number];
    uint64_t from_ns = weft_sim_now_ns(world.sim);
    uint32_t how = draw(3);
    uint32_t restart = restart_of(number);
    uint32_t starts = kid->starts;
    weft_pid old = kid->pid;
    strike(kid, how);
    if (restart == WEFT_RESTART_PERMANENT ||
        (restart == WEFT_RESTART_TRANSIENT && how != TAG_END)) {
        if (world.used == world.def.intensity) {
            check_end(from_ns, number);
            return;
        }
        world.used += world.def.intensity == WEFT_INTENSITY_UNLIMITED ? 0 : 1;
        must(kid->starts == starts + 1 && !weft_pid_equal(kid->pid, old));
    } else if (ends_all(number)) {
        check_end(from_ns, number);
        must(kid->starts == starts);
        return;
    } else {
        kid->runs = false;
        must(kid->starts == starts);
    }
    check_kids();
}

static void terminate(uint32_t number) {
    struct kid *kid = &world.kids[number];
    uint64_t from_ns = weft_sim_now_ns(world.sim);
    bool simple = world.def.strategy == WEFT_SIMPLE_ONE_FOR_ONE;
    must(ask((weft_supervisor_request){.verb = WEFT_SUPERVISOR_TERMINATE,
                                       .id = simple ? NULL : kid->id,
                                       .pid = simple ? kid->pid : weft_pid_none()}) == 0);
    check_stop(kid, from_ns);
    kid->runs = false;
    check_kids();
}

static void blows(void) {
    for (uint32_t i = 0; i < BLOWS && world.ends == 0; i++) {
        uint32_t number = draw(world.count);
        if (!world.kids[number].runs) {
            continue;
        }
        if (draw(5) == 0) {
            terminate(number);
        } else {
            blow(number);
        }
    }
    finish();
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* A shutdown time, and what it comes to. */
static uint64_t draw_shutdown(uint64_t *given_ns) {
    static const uint64_t times[] = {WEFT_SHUTDOWN_DEFAULT, WEFT_SHUTDOWN_KILL,
                                     WEFT_SHUTDOWN_FOREVER, 2 * UNIT_NS, 5 * UNIT_NS};
    static const uint64_t given[] = {50 * UNIT_NS, 0, FOR_EVER, 2 * UNIT_NS, 5 * UNIT_NS};
    uint32_t drawn = draw(5);
    *given_ns = given[drawn];
    return times[drawn];
}

static void make_kid(uint32_t number, uint64_t given_ns) {
    struct kid *kid = &world.kids[number];
    bool stubborn = given_ns != FOR_EVER && draw(3) == 0;
    (void)snprintf(kid->id, sizeof(kid->id), "k%u", number % 100);
    kid->number = number;
    kid->given_ns = given_ns;
    kid->needs_ns = stubborn ? FOR_EVER : draw(8) * UNIT_NS;
    kid->runs = true;
}

static weft_child_spec spec_of(struct kid *kid, uint64_t shutdown_ns) {
    return (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                             .id = kid->id,
                             .type = world.type,
                             .arg = &kid->number,
                             .arg_size = sizeof(kid->number),
                             .restart = draw(3),
                             .shutdown_ns = shutdown_ns};
}

/* Any number of children of one specification, started on request; at most so many restarts. */
static void run_simple(void) {
    uint64_t given_ns;
    world.specs[0] = spec_of(&world.kids[0], draw_shutdown(&given_ns));
    world.def =
        (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                              .strategy = WEFT_SIMPLE_ONE_FOR_ONE,
                              .intensity = draw(2) == 0 ? 1 + draw(5) : WEFT_INTENSITY_UNLIMITED,
                              .period_ns = 1000 * CALL_NS,
                              .child_count = 1,
                              .children = world.specs};
    raise_supervisor();
    world.count = 1 + draw(KIDS_MAX);
    for (uint32_t i = 0; i < world.count; i++) {
        make_kid(i, given_ns);
        weft_child_spec spec = spec_of(&world.kids[i], 0);
        must(ask((weft_supervisor_request){.verb = WEFT_SUPERVISOR_START, .spec = &spec}) == 0);
        must(weft_pid_equal(world.answer.pid, world.kids[i].pid));
    }
    check_kids();
    must(world.answer.specs == 1 && world.answer.workers == world.count);
    blows();
}

static void make_fixed(uint32_t strategy) {
    world.count = 2 + draw(4);
    for (uint32_t i = 0; i < world.count; i++) {
        uint64_t given_ns;
        uint64_t shutdown_ns = draw_shutdown(&given_ns);
        make_kid(i, given_ns);
        world.specs[i] = spec_of(&world.kids[i], shutdown_ns);
    }
    world.def = (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                                      .strategy = strategy,
                                      .intensity = WEFT_INTENSITY_UNLIMITED,
                                      .child_count = world.count,
                                      .children = world.specs};
}

/* Ends with one, or with the last, of its significant children. */
static void run_auto(void) {
    make_fixed(WEFT_ONE_FOR_ONE);
    world.def.auto_shutdown = draw(3);
    for (uint32_t i = 0; i < world.count && world.def.auto_shutdown != WEFT_AUTO_NEVER; i++) {
        world.specs[i].significant =
            world.specs[i].restart != WEFT_RESTART_PERMANENT && draw(2) == 0;
    }
    raise_supervisor();
    check_kids();
    blows();
}

/* One ends, the others are stopped, each in its time; then the owner ends, and all with it. */
static void run_all(void) {
    make_fixed(WEFT_ONE_FOR_ALL);
    for (uint32_t i = 0; i < world.count; i++) {
        world.specs[i].restart = WEFT_RESTART_PERMANENT;
    }
    raise_supervisor();
    check_kids();
    uint32_t number = draw(world.count);
    uint64_t from_ns = weft_sim_now_ns(world.sim);
    strike(&world.kids[number], draw(3));
    for (uint32_t i = world.count; i > 0; i--) {
        struct kid *kid = &world.kids[i - 1];
        must(kid->starts == 2);
        if (i - 1 != number) {
            must(kid->gone_ns >= from_ns + stop_ns(kid));
            must(kid->gone_ns <= from_ns + stop_ns(kid) + SLACK_NS);
            from_ns = kid->gone_ns;
        }
    }
    check_kids();
    from_ns = weft_sim_now_ns(world.sim);
    must(weft_runtime_stop_actor(world.runtime, world.owner, WEFT_E_SHUTDOWN) == 0);
    be_quiet();
    for (uint32_t i = world.count; i > 0; i--) {
        check_stop(&world.kids[i - 1], from_ns);
        from_ns = world.kids[i - 1].gone_ns;
    }
}

/* ---- frame --------------------------------------------------------------------------------- */

static void begin(uint64_t seed) {
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (uint32_t)(seed % 2) * 10};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 1 + (uint32_t)(seed % 4)};
    weft_type_def kid = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "kid", .init = kid_init, .process = kid_process};
    weft_type_def owner = {.struct_size = WEFT_TYPE_DEF_INIT,
                           .name = "owner",
                           .init = owner_init,
                           .receive = owner_receive};
    const weft_type *owner_type;
    must(weft_sim_create(&options, &world.sim) == 0);
    must(weft_runtime_create_env(&config, weft_sim_env(world.sim), &world.runtime) == 0);
    must(weft_type_register(world.runtime, &kid, &world.type) == 0);
    must(weft_type_register(world.runtime, &owner, &owner_type) == 0);
    must(weft_runtime_start(world.runtime) == 0);
    must(weft_runtime_spawn(world.runtime, owner_type, NULL, &world.owner) == 0);
    be_quiet();
}

static uint64_t run(uint64_t seed) {
    begin(seed);
    switch (draw(3)) {
    case 0:
        run_simple();
        break;
    case 1:
        run_auto();
        break;
    default:
        run_all();
    }
    (void)weft_runtime_stop_actor(world.runtime, world.owner, 0); /* it may have ended */
    be_quiet();
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(weft_gauges_read(world.runtime, &gauges) == 0);
    must(gauges.actors == 0 && gauges.buffers == 0 && gauges.timers == 0);
    must(weft_sim_stop(world.sim, world.runtime, 1000000) == 0);
    uint64_t hash = weft_sim_hash(world.sim);
    must(weft_runtime_destroy(&world.runtime) == 0);
    weft_sim_destroy(&world.sim);
    return hash;
}

START_TEST(supervisors_of_all_shapes_do_what_they_say_in_the_time_they_have) {
    const char *text = getenv("SUPERVISOR_SEED");
    if (text != NULL) {
        (void)run(strtoull(text, NULL, 10));
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)run((uint64_t)_i * SEEDS_PER_CASE + i + 1);
    }
}
END_TEST

START_TEST(the_same_seed_gives_the_same_run) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        ck_assert(run(seed) == run(seed));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sim supervisor shapes");
    TCase *tcase = tcase_create("sim supervisor shapes");
    tcase_set_timeout(tcase, 200);
    tcase_add_loop_test(tcase, supervisors_of_all_shapes_do_what_they_say_in_the_time_they_have, 0,
                        CASES);
    tcase_add_test(tcase, the_same_seed_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
