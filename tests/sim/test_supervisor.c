/* SPDX-License-Identifier: MIT
 *
 * Supervisors, seed by seed: random trees of them, in which workers crash, end, are killed and
 * refuse to start, supervisors are killed and stopped, and children are terminated, restarted and
 * deleted on request. When it is quiet again the tree is exactly as specified: every permanent
 * worker that no request has stopped lives once, in its place, with the pid its supervisor knows,
 * nobody lives whom no supervisor knows.
 *
 * Then blows come one by one, and what each must do is worked out beforehand from the
 * specifications: who is started again, with whom and in which order, who keeps its pid, who stays
 * away, which supervisors reach their limit and end with the shutdown reason, and what their own
 * supervisors do then. After the end of the topmost nobody lives and nothing is left.
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

enum { CASES = 6, SEEDS_PER_CASE = 60, NODES_MAX = 64, CHILDREN_MAX = 5, DEPTH_MAX = 3 };
enum { BLOWS = 150, SINGLE_BLOWS = 30, REFUSE = 12, NONE = UINT32_MAX };
enum { TAG_CRASH = 1, TAG_END = 2, TAG_SHUT = 3, TAG_KILL = 4, TAG_WATCH = 5 };
#define CALL_NS       UINT64_C(100000000000)
#define PERIOD_MIN_NS UINT64_C(64000000) /* single blows take less, together with all questions */

enum state { GONE, STOPPED, RUNS }; /* gone: its specification is */

struct node {
    char id[8];
    bool is_supervisor;
    uint32_t above; /* its supervisor; NONE: the topmost */
    uint32_t depth;
    uint32_t first; /* of a supervisor: its first child; they are in a row */
    uint32_t count;
    uint32_t restart;
    uint32_t lives;
    uint32_t number; /* its argument */
    weft_pid pid;    /* of a worker: the newest */
    weft_supervisor_def def;
    weft_pid stopper;  /* the supervisor a request has told to stop it */
    weft_pid decliner; /* the supervisor for which it did not want to run */
    uint64_t started;  /* of a worker: when its init last succeeded, by world.clock */
    uint64_t gone;     /* the same for its last end */
    /* as it was last seen */
    enum state state;
    weft_pid known;
    /* what is expected of a blow */
    enum state wanted;
    bool fresh;     /* it has another pid afterwards */
    bool escalates; /* it reaches its limit */
    uint32_t used;  /* restarts in its window */
    /* what the witness saw of a supervisor */
    weft_pid watched;
    weft_pid ended;
    int ended_status;
};

/* One run. Everything is on one thread. */
struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *type;
    weft_pid top;
    struct node nodes[NODES_MAX];
    weft_child_spec specs[NODES_MAX];
    uint32_t count;
    uint32_t order[NODES_MAX]; /* as they start, each supervisor before its children */
    weft_pid witness;
    uint64_t clock;    /* counts starts and ends */
    uint64_t since_ns; /* when no window held anything */
    bool wild;
};

static struct world world;

#define must(condition)                                                                            \
    ck_assert_msg((condition), "seed %llu: not so: %s", (unsigned long long)world.seed, #condition)

static uint32_t draw(uint32_t below) {
    return (uint32_t)(weft_sim_random(world.sim) % below);
}

/* ---- workers ------------------------------------------------------------------------------- */

static void worker_gone(void *arg) {
    struct node *node = arg;
    must(node->lives > 0);
    node->lives--;
    node->gone = ++world.clock;
}

static int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t number;
    (void)state;
    must(arg_size == sizeof(number));
    memcpy(&number, arg, sizeof(number));
    struct node *node = &world.nodes[number];
    if (world.wild && weft_random(ctx) % REFUSE == 0) {
        bool declines = weft_random(ctx) % 4 == 0;
        node->decliner = declines ? weft_parent(ctx) : node->decliner;
        return declines ? WEFT_STOP : -EIO;
    }
    must(weft_defer(ctx, worker_gone, node) == 0);
    node->lives++;
    node->started = ++world.clock;
    node->pid = weft_self(ctx);
    return WEFT_CONTINUE;
}

static int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    switch (weft_msg_tag(msg)) {
    case TAG_CRASH:
        return -EIO;
    case TAG_END:
        return WEFT_STOP;
    case TAG_SHUT:
        return WEFT_E_SHUTDOWN;
    default:
        return WEFT_CONTINUE;
    }
}

/* Monitors supervisors: their places are the tokens. */
static int witness_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_DOWN) {
        struct node *node = &world.nodes[weft_msg_token(msg)];
        node->ended = weft_sender(ctx, msg);
        node->ended_status = weft_msg_status(msg);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == TAG_WATCH) {
        uint32_t place;
        memcpy(&place, weft_msg_data(msg), sizeof(place));
        must(weft_monitor(ctx, world.nodes[place].known, place, NULL) == 0);
        must(weft_reply(ctx, &msg, 0, NULL, 0) == 0);
    }
    return WEFT_CONTINUE;
}

/* ---- the tree ------------------------------------------------------------------------------ */

static void make_spec(uint32_t place) {
    struct node *node = &world.nodes[place];
    node->number = place;
    (void)snprintf(node->id, sizeof(node->id), "n%u", place);
    world.specs[place] = (weft_child_spec){
        .struct_size = WEFT_CHILD_SPEC_INIT, .id = node->id, .restart = node->restart};
    if (node->is_supervisor) {
        world.specs[place].supervisor = &node->def;
    } else {
        world.specs[place].type = world.type;
        world.specs[place].arg = &node->number;
        world.specs[place].arg_size = sizeof(node->number);
    }
}

/* The children of the supervisor at place, behind all nodes. */
static void make_children(uint32_t place) {
    struct node *node = &world.nodes[place];
    node->first = world.count;
    node->count = 1 + draw(CHILDREN_MAX);
    node->count = world.count + node->count > NODES_MAX ? NODES_MAX - world.count : node->count;
    world.count += node->count;
    for (uint32_t i = 0; i < node->count; i++) {
        struct node *child = &world.nodes[node->first + i];
        child->above = place;
        child->depth = node->depth + 1;
        child->is_supervisor = child->depth < DEPTH_MAX && draw(3) == 0;
        child->restart = child->is_supervisor ? WEFT_RESTART_PERMANENT : draw(3);
        make_spec(node->first + i);
    }
    bool limited = place != 0 && draw(2) == 0;
    node->def =
        (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                              .strategy = draw(3),
                              .intensity = limited ? 1 + draw(10) : WEFT_INTENSITY_UNLIMITED,
                              .period_ns = PERIOD_MIN_NS << draw(5),
                              .child_count = node->count,
                              .children = &world.specs[node->first]};
}

static void make_order(void) {
    uint32_t stack[NODES_MAX] = {0};
    uint32_t height = 1;
    for (uint32_t length = 0; length < world.count; length++) {
        uint32_t place = stack[--height];
        const struct node *node = &world.nodes[place];
        world.order[length] = place;
        for (uint32_t i = node->count; i > 0; i--) {
            stack[height++] = node->first + i - 1;
        }
    }
}

static void make_tree(void) {
    world.nodes[0] = (struct node){.is_supervisor = true, .above = NONE, .id = "top"};
    world.count = 1;
    for (uint32_t place = 0; place < world.count; place++) {
        if (world.nodes[place].is_supervisor) {
            make_children(place);
        }
    }
    make_order();
}

static int ask(weft_pid pid, uint32_t verb, const char *id, weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .id = id};
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(world.runtime, pid, &request, CALL_NS, answer);
}

/* Where a supervisor is just now; none: it does not run. */
static weft_pid find(uint32_t place) {
    uint32_t path[DEPTH_MAX + 1];
    uint32_t length = 0;
    weft_pid pid = world.top;
    for (; place != 0; place = world.nodes[place].above) {
        path[length++] = place;
    }
    while (length > 0 && !weft_pid_is_none(pid)) {
        weft_supervisor_answer answer;
        int result = ask(pid, WEFT_SUPERVISOR_WHICH, world.nodes[path[--length]].id, &answer);
        pid = result == 0 ? answer.pid : weft_pid_none();
    }
    return pid;
}

/* ---- blows --------------------------------------------------------------------------------- */

static void request_of(uint32_t place) {
    static const uint32_t verbs[] = {WEFT_SUPERVISOR_TERMINATE, WEFT_SUPERVISOR_RESTART,
                                     WEFT_SUPERVISOR_DELETE, WEFT_SUPERVISOR_COUNT};
    struct node *node = &world.nodes[place];
    weft_supervisor_answer answer;
    uint32_t verb = verbs[draw(4)];
    if (verb == WEFT_SUPERVISOR_DELETE && node->restart == WEFT_RESTART_PERMANENT) {
        return; /* its specification must stay */
    }
    weft_pid above = find(node->above);
    int result = ask(above, verb, node->id, &answer);
    must(result == 0 || result == WEFT_E_NOPROC || result == -ENOENT || result == -EEXIST ||
         result == -EAGAIN || result == -EBUSY || result == -EIO || result == WEFT_E_SHUTDOWN);
    if (result == 0 && verb == WEFT_SUPERVISOR_TERMINATE) {
        node->stopper = above;
    }
}

static void let_pass(uint64_t ns) {
    (void)weft_sim_run(world.sim, UINT64_MAX, weft_sim_now_ns(world.sim) + ns, NULL, NULL);
}

/* Who is gone already does not matter. */
static void blow(void) {
    uint32_t place = 1 + draw(world.count - 1);
    const struct node *node = &world.nodes[place];
    if (draw(24) == 0) {
        let_pass(UINT64_C(1) << draw(32));
    } else if (draw(8) == 0) {
        request_of(place);
    } else if (!node->is_supervisor) {
        if (draw(4) == 0) {
            (void)weft_runtime_kill_actor(world.runtime, node->pid);
        } else {
            (void)weft_runtime_send(world.runtime, node->pid, TAG_CRASH + draw(3), NULL, 0);
        }
    } else if (draw(4) == 0) {
        weft_pid pid = find(place);
        (void)(draw(2) == 0 ? weft_runtime_kill_actor(world.runtime, pid)
                            : weft_runtime_stop_actor(world.runtime, pid, -(int)draw(2)));
    }
}

/* ---- what must be so ----------------------------------------------------------------------- */

static void be_quiet(void) {
    must(weft_sim_run(world.sim, 20000000, UINT64_MAX, NULL, NULL) == WEFT_SIM_QUIET);
}

/* Permanent ones that were stopped on request, or did not want to run, are started again, from the
 * top; but not those of a supervisor that has been started again since, which runs all of them. */
static void mend(void) {
    for (uint32_t place = 1; place < world.count; place++) {
        const struct node *node = &world.nodes[place];
        weft_supervisor_answer answer;
        weft_pid above = find(node->above);
        if (node->restart == WEFT_RESTART_PERMANENT &&
            (weft_pid_equal(node->stopper, above) || weft_pid_equal(node->decliner, above))) {
            int result = ask(above, WEFT_SUPERVISOR_RESTART, node->id, &answer);
            must(result == 0 || result == -EEXIST);
        }
    }
    be_quiet();
}

static void verify_worker(const struct node *node, int result,
                          const weft_supervisor_answer *answer) {
    bool runs = result == 0 && answer->state == WEFT_CHILD_RUNNING;
    must(result == 0 || result == -ENOENT);
    must(node->restart != WEFT_RESTART_PERMANENT || runs);
    must(result == 0 || node->restart != WEFT_RESTART_PERMANENT);
    must(node->lives == (runs ? 1 : 0));
    must(!runs || weft_pid_equal(answer->pid, node->pid));
}

static void verify(void) {
    for (uint32_t place = 1; place < world.count; place++) {
        const struct node *node = &world.nodes[place];
        weft_supervisor_answer answer;
        int result = ask(find(node->above), WEFT_SUPERVISOR_WHICH, node->id, &answer);
        if (node->is_supervisor) {
            must(result == 0 && answer.state == WEFT_CHILD_RUNNING && answer.is_supervisor);
        } else {
            verify_worker(node, result, &answer);
        }
    }
}

/* ---- what one blow must do ------------------------------------------------------------------- */

static void see(void) {
    world.nodes[0].known = world.top;
    for (uint32_t place = 1; place < world.count; place++) {
        struct node *node = &world.nodes[place];
        weft_supervisor_answer answer;
        int result = ask(world.nodes[node->above].known, WEFT_SUPERVISOR_WHICH, node->id, &answer);
        must(result == 0 || result == -ENOENT);
        bool runs = result == 0 && answer.state == WEFT_CHILD_RUNNING;
        must(result != 0 || answer.state != WEFT_CHILD_RESTARTING);
        node->state = runs ? RUNS : result == 0 ? STOPPED : GONE;
        node->known = runs ? answer.pid : weft_pid_none();
    }
}

static void watch(void) {
    for (uint32_t place = 0; place < world.count; place++) {
        struct node *node = &world.nodes[place];
        weft_msg *reply = NULL;
        if (node->is_supervisor && !weft_pid_equal(node->watched, node->known)) {
            must(weft_runtime_call(world.runtime, world.witness, TAG_WATCH, &place, sizeof(place),
                                   CALL_NS, &reply) == 0);
            weft_runtime_msg_release(world.runtime, &reply);
            node->watched = node->known;
        }
    }
}

/* So long that no restart counts any more. */
static void forget_windows(void) {
    let_pass(PERIOD_MIN_NS << 5);
    world.since_ns = weft_sim_now_ns(world.sim);
    for (uint32_t place = 0; place < world.count; place++) {
        world.nodes[place].used = 0;
    }
}

/* Those in the row of a child that is started again. */
static void expect_row(const struct node *above, uint32_t place) {
    uint32_t from = above->def.strategy == WEFT_ONE_FOR_ALL ? above->first : place;
    uint32_t end =
        above->def.strategy == WEFT_ONE_FOR_ONE ? place + 1 : above->first + above->count;
    for (uint32_t i = from; i < end; i++) {
        struct node *node = &world.nodes[i];
        if (i != place && node->restart == WEFT_RESTART_TEMPORARY) {
            node->wanted = GONE;
        } else if (node->state != GONE) {
            node->wanted = RUNS;
            node->fresh = true;
        }
    }
}

/* A child is to be started again: by its supervisor, or, when that has reached its limit, by the
 * first above that has not, with all below. */
static void expect_restart(uint32_t place) {
    struct node *above = &world.nodes[world.nodes[place].above];
    while (above->used == above->def.intensity) { /* the topmost has no limit */
        above->escalates = true;
        place = world.nodes[place].above;
        above = &world.nodes[above->above];
    }
    above->used += above->def.intensity == WEFT_INTENSITY_UNLIMITED ? 0 : 1;
    expect_row(above, place);
    for (uint32_t i = 1; i < world.count; i++) { /* who is below comes later */
        struct node *node = &world.nodes[i];
        if (world.nodes[node->above].fresh) {
            node->wanted = RUNS;
            node->fresh = true;
        }
        node->used = node->fresh ? 0 : node->used;
    }
}

static void expect(uint32_t place, uint32_t how) {
    for (uint32_t i = 0; i < world.count; i++) {
        struct node *node = &world.nodes[i];
        node->wanted = node->state;
        node->fresh = false;
        node->escalates = false;
    }
    struct node *node = &world.nodes[place];
    world.nodes[0].wanted = RUNS;
    if (node->restart == WEFT_RESTART_PERMANENT ||
        (node->restart == WEFT_RESTART_TRANSIENT && (how == TAG_CRASH || how == TAG_KILL))) {
        expect_restart(place);
    } else {
        node->wanted = node->restart == WEFT_RESTART_TRANSIENT ? STOPPED : GONE;
    }
}

static void strike(uint32_t place, uint32_t how) {
    const struct node *node = &world.nodes[place];
    if (how == TAG_KILL) {
        must(weft_runtime_kill_actor(world.runtime, node->known) == 0);
    } else if (node->is_supervisor) {
        int reason = how == TAG_SHUT ? WEFT_E_SHUTDOWN : how == TAG_END ? 0 : -EIO;
        must(weft_runtime_stop_actor(world.runtime, node->known, reason) == 0);
    } else {
        must(weft_runtime_send(world.runtime, node->known, how, NULL, 0) == 0);
    }
    be_quiet();
}

/* Who was started again was started in the order of the specifications; who was stopped before,
 * in the reverse order, but for the children of a supervisor that was killed. */
static void verify_order(uint32_t victim, uint32_t how, uint64_t before) {
    uint64_t last = before;
    for (uint32_t i = 0; i < world.count; i++) {
        const struct node *node = &world.nodes[world.order[i]];
        if (!node->is_supervisor && node->fresh) {
            must(node->started > last);
            last = node->started;
        }
    }
    uint32_t above = NONE;
    for (uint32_t place = 1; place < world.count; place++) {
        const struct node *node = &world.nodes[place];
        if (node->is_supervisor || node->gone <= before || place == victim ||
            (node->above == victim && how == TAG_KILL)) {
            continue;
        }
        must(node->above != above || node->gone < last);
        above = node->above;
        last = node->gone;
    }
}

static void verify_blow(uint32_t victim, uint32_t how, uint64_t before) {
    weft_pid old[NODES_MAX];
    for (uint32_t place = 0; place < world.count; place++) {
        old[place] = world.nodes[place].known;
    }
    see();
    for (uint32_t place = 1; place < world.count; place++) {
        const struct node *node = &world.nodes[place];
        must(node->state == node->wanted);
        must(node->state != RUNS || weft_pid_equal(node->known, old[place]) == !node->fresh);
        if (node->is_supervisor) {
            must(weft_pid_equal(node->ended, old[place]) == node->fresh);
            must(!node->escalates || node->ended_status == WEFT_E_SHUTDOWN);
            must(place != victim || how != TAG_KILL || node->ended_status == WEFT_E_KILLED);
        } else {
            must(node->lives == (node->state == RUNS ? 1 : 0));
        }
    }
    verify_order(victim, how, before);
}

/* Mostly one of the children of one supervisor, so that this reaches its limit. */
static uint32_t draw_victim(uint32_t above) {
    const struct node *node = &world.nodes[above];
    return draw(4) != 0 ? node->first + draw(node->count) : 1 + draw(world.count - 1);
}

/* One with a limit, or any; the topmost if there is none. */
static uint32_t draw_supervisor(bool limited) {
    uint32_t place = draw(world.count);
    for (; place != 0; place--) {
        const struct node *node = &world.nodes[place];
        if (node->is_supervisor && (!limited || node->def.intensity != WEFT_INTENSITY_UNLIMITED)) {
            break;
        }
    }
    return place;
}

static void blow_by_blow(void) {
    uint32_t above = draw_supervisor(draw(3) != 0);
    see();
    forget_windows();
    for (uint32_t i = 0; i < SINGLE_BLOWS; i++) {
        uint32_t victim = draw_victim(above);
        uint32_t how = draw(2) == 0 ? TAG_CRASH : TAG_CRASH + draw(4);
        if (world.nodes[victim].state != RUNS) {
            continue;
        }
        if (draw(20) == 0 || weft_sim_now_ns(world.sim) - world.since_ns > PERIOD_MIN_NS / 2) {
            forget_windows();
        }
        watch();
        uint64_t before = world.clock;
        expect(victim, how);
        strike(victim, how);
        verify_blow(victim, how, before);
    }
}

/* ---- frame --------------------------------------------------------------------------------- */

static void begin(uint64_t seed) {
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (uint32_t)(seed % 3) * 10};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 1 + (uint32_t)(seed % 4)};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "worker",
                         .init = worker_init,
                         .receive = worker_receive};
    weft_type_def witness = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "witness", .receive = witness_receive};
    const weft_type *witness_type;
    must(weft_sim_create(&options, &world.sim) == 0);
    must(weft_runtime_create_env(&config, weft_sim_env(world.sim), &world.runtime) == 0);
    must(weft_type_register(world.runtime, &def, &world.type) == 0);
    must(weft_type_register(world.runtime, &witness, &witness_type) == 0);
    must(weft_runtime_start(world.runtime) == 0);
    must(weft_runtime_spawn(world.runtime, witness_type, NULL, &world.witness) == 0);
    make_tree();
    must(weft_runtime_supervisor(world.runtime, &world.nodes[0].def, &world.top) == 0);
    be_quiet();
}

static uint64_t end(void) {
    if (world.seed % 4 != 0) { /* else the runtime stops with all of it */
        must(weft_runtime_stop_actor(world.runtime, world.top, WEFT_E_SHUTDOWN) == 0);
        must(weft_runtime_stop_actor(world.runtime, world.witness, 0) == 0);
        be_quiet();
        weft_gauges gauges = {.struct_size = sizeof(gauges)};
        must(weft_gauges_read(world.runtime, &gauges) == 0);
        must(gauges.actors == 0 && gauges.buffers == 0 && gauges.timers == 0);
    }
    must(weft_sim_stop(world.sim, world.runtime, 1000000) == 0);
    for (uint32_t place = 0; place < world.count; place++) {
        must(world.nodes[place].lives == 0);
    }
    uint64_t hash = weft_sim_hash(world.sim);
    must(weft_runtime_destroy(&world.runtime) == 0);
    weft_sim_destroy(&world.sim);
    return hash;
}

static uint64_t run(uint64_t seed) {
    begin(seed);
    verify();
    world.wild = true;
    for (uint32_t i = 0; i < BLOWS; i++) {
        blow();
        (void)weft_sim_run(world.sim, draw(300), UINT64_MAX, NULL, NULL);
    }
    world.wild = false;
    be_quiet();
    mend();
    verify();
    blow_by_blow();
    verify();
    return end();
}

START_TEST(a_tree_is_as_specified_whatever_has_happened) {
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
    Suite *suite = suite_create("sim supervisor");
    TCase *tcase = tcase_create("sim supervisor");
    tcase_set_timeout(tcase, 200);
    tcase_add_loop_test(tcase, a_tree_is_as_specified_whatever_has_happened, 0, CASES);
    tcase_add_test(tcase, the_same_seed_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
