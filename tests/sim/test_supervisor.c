/* SPDX-License-Identifier: MIT
 *
 * Supervisors, seed by seed: random trees of them, in which workers crash, end, are killed and
 * refuse to start, supervisors are killed and stopped, and children are terminated, restarted,
 * deleted and added on request. When it is quiet again the tree is exactly as specified: every
 * permanent worker lives once, in its place, with the pid its supervisor knows, nobody lives whom
 * no supervisor knows; after the end of the topmost nobody lives and nothing is left.
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
enum { BLOWS = 150, REFUSE = 12, TAG_CRASH = 1, TAG_END = 2, TAG_SHUT = 3, NONE = UINT32_MAX };

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
}

static int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t number;
    (void)state;
    must(arg_size == sizeof(number));
    memcpy(&number, arg, sizeof(number));
    struct node *node = &world.nodes[number];
    if (world.wild && weft_random(ctx) % REFUSE == 0) {
        return weft_random(ctx) % 4 == 0 ? WEFT_STOP : -EIO;
    }
    must(weft_defer(ctx, worker_gone, node) == 0);
    node->lives++;
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
                              .period_ns = UINT64_C(1000000) << draw(10),
                              .child_count = node->count,
                              .children = &world.specs[node->first]};
}

static void make_tree(void) {
    world.nodes[0] = (struct node){.is_supervisor = true, .above = NONE, .id = "top"};
    world.count = 1;
    for (uint32_t place = 0; place < world.count; place++) {
        if (world.nodes[place].is_supervisor) {
            make_children(place);
        }
    }
}

static int ask(weft_pid pid, uint32_t verb, const char *id, weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .id = id};
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(world.runtime, pid, &request, UINT64_C(100000000000),
                                        answer);
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
    const struct node *node = &world.nodes[place];
    weft_supervisor_answer answer;
    uint32_t verb = verbs[draw(4)];
    if (verb == WEFT_SUPERVISOR_DELETE && node->restart == WEFT_RESTART_PERMANENT) {
        return; /* its specification must stay */
    }
    int result = ask(find(node->above), verb, node->id, &answer);
    must(result == 0 || result == WEFT_E_NOPROC || result == -ENOENT || result == -EEXIST ||
         result == -EAGAIN || result == -EBUSY || result == -EIO || result == WEFT_E_SHUTDOWN);
}

/* Who is gone already does not matter. */
static void blow(void) {
    uint32_t place = 1 + draw(world.count - 1);
    const struct node *node = &world.nodes[place];
    if (draw(8) == 0) {
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

/* Permanent ones that were stopped on request are started again, from the top. */
static void mend(void) {
    for (uint32_t place = 1; place < world.count; place++) {
        const struct node *node = &world.nodes[place];
        weft_supervisor_answer answer;
        if (node->restart == WEFT_RESTART_PERMANENT) {
            int result = ask(find(node->above), WEFT_SUPERVISOR_RESTART, node->id, &answer);
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

static uint64_t run(uint64_t seed) {
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
    must(weft_sim_create(&options, &world.sim) == 0);
    must(weft_runtime_create_env(&config, weft_sim_env(world.sim), &world.runtime) == 0);
    must(weft_type_register(world.runtime, &def, &world.type) == 0);
    must(weft_runtime_start(world.runtime) == 0);
    make_tree();
    must(weft_runtime_supervisor(world.runtime, &world.nodes[0].def, &world.top) == 0);
    be_quiet();
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
    if (seed % 4 != 0) { /* else the runtime stops with all of it */
        must(weft_runtime_stop_actor(world.runtime, world.top, WEFT_E_SHUTDOWN) == 0);
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
