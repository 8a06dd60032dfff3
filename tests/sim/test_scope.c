/* SPDX-License-Identifier: MIT
 *
 * Deadlines and cancellation, seed by seed: roots ask workers, which ask others for the sake of what
 * they were asked, down to some depth; roots cancel, everybody is killed now and then, times run
 * out. Workers are handlers, serial ones and processes. A ledger knows each question and for whose
 * sake it was asked, and after each step:
 *
 *   - a question has at most one outcome, and exactly one when its asker lives and has not given it
 *     up; that -ETIMEDOUT is not early, -ECANCELED only where the question above was given up;
 *   - a question ends no later than the one above, so all are over soon after the last root's time,
 *     although workers ask with a timeout of a minute;
 *   - what was given up in an earlier step does not begin, and who holds it knows so, and has no
 *     question for its sake pending, before it handles anything else.
 *
 *   test_scope [find|clean [first-seed [last-seed]]]   find: success when a seed fails
 */
#define _POSIX_C_SOURCE 200809L /* alarm */
#include "sim_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/sim.h>
#include <weft/weft.h>

enum {
    WORKERS = 9, /* three of each kind */
    ROOTS = 3,
    ACTIONS = 40,
    ROUNDS = 60,
    DEPTH = 4,
    FAN = 3,
    ASKS = 1 << 14,
    TASKS = 8, /* that a worker has at a time */
    LIVES = 4096,
    SEED_SECONDS = 60,
    TAG_ASK = 1,
};
#define US_NS UINT64_C(1000)
#define MS_NS UINT64_C(1000000)
#define LONG  (60000 * MS_NS)

/* A question. Number 0 is none. */
struct ask {
    uint32_t above; /* the one it was asked for; 0: for nobody */
    uint32_t depth;
    uint32_t asker; /* its life */
    uint32_t begun;
    uint32_t outcomes;
    bool sent;    /* the call was accepted */
    bool over;    /* has an outcome, or nobody waits for it */
    bool dropped; /* given up by its asker */
    uint64_t dropped_step;
    uint64_t deadline_ns; /* as who was asked saw it; 0: not begun */
};

struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *types[4]; /* handler, serial, process, root */
    weft_pid workers[WORKERS];
    bool alive[WORKERS];
    uint32_t lives; /* given out */
    uint32_t life_of[WORKERS];
    uint32_t roots_over;
    bool stopping;
    struct ask asks[ASKS];
    uint32_t count;
    uint64_t cancels;
    uint64_t dropped_begun; /* in the same step, which is no defect */
    bool failed;
    char text[200];
};

static void __attribute__((format(printf, 2, 3)))
fail(struct world *world, const char *format, ...) {
    if (!world->failed) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(world->text, sizeof(world->text), format, arguments);
        va_end(arguments);
    }
    world->failed = true;
}

#define must(world, condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail((world), "line %d, not so: %s", __LINE__, #condition);                            \
        }                                                                                          \
    } while (0)

static uint32_t draw(weft_ctx *ctx, uint32_t below) {
    return (uint32_t)(weft_random(ctx) % below);
}

/* ---- the ledger ---------------------------------------------------------------------------- */

static uint32_t ask_new(struct world *world, uint32_t above, uint32_t asker) {
    if (world->count + 1 >= ASKS) {
        fail(world, "too many questions");
        return 0;
    }
    uint32_t number = ++world->count;
    world->asks[number] = (struct ask){.above = above, .asker = asker};
    world->asks[number].depth = above == 0 ? 0 : world->asks[above].depth + 1;
    return number;
}

static void ask_drop(struct world *world, struct ask *ask) {
    if (!ask->dropped) {
        ask->dropped = true;
        ask->dropped_step = world->sim->steps;
    }
    ask->over = true;
}

/* Its asker hears of it. */
static void ask_outcome(weft_ctx *ctx, struct world *world, uint32_t number, int status) {
    struct ask *ask = &world->asks[number];
    must(world, ask->sent);
    must(world, !ask->over);
    ask->outcomes++;
    if (status == -ECANCELED) {
        must(world, ask->above != 0);
        must(world, world->asks[ask->above].dropped);
        ask_drop(world, ask); /* as for who was asked */
    } else if (status == -ETIMEDOUT && ask->deadline_ns != 0) {
        must(world, weft_now_ns(ctx) >= ask->deadline_ns);
    }
    ask->over = true;
}

/* A question is about to be handled. */
static void ask_begins(weft_ctx *ctx, struct world *world, uint32_t number, const weft_msg *msg) {
    struct ask *ask = &world->asks[number];
    must(world, ask->begun == 0);
    ask->begun = 1;
    bool in_time = weft_deadline(msg) > weft_sim_now_ns(world->sim); /* else nobody was told */
    if (ask->dropped && in_time && !world->stopping) {
        must(world, ask->dropped_step == world->sim->steps);
        world->dropped_begun++;
    }
    ask->deadline_ns = weft_deadline(msg);
    must(world, weft_work_deadline(ctx) == ask->deadline_ns);
    if (ask->above != 0) {
        must(world, ask->deadline_ns <= world->asks[ask->above].deadline_ns);
    }
}

/* An actor has ended: what it asked is given up. */
struct life {
    struct world *world;
    uint32_t number;
    int32_t worker; /* or -1 */
};

static void life_over(void *arg) {
    struct life *life = arg;
    struct world *world = life->world;
    for (uint32_t i = 1; i <= world->count; i++) {
        struct ask *ask = &world->asks[i];
        if (ask->asker == life->number && ask->sent && !ask->over) {
            ask_drop(world, ask);
        }
    }
    if (life->worker >= 0) {
        world->alive[life->worker] = false;
    } else {
        world->roots_over++;
    }
    free(life);
}

/* ---- workers ------------------------------------------------------------------------------- */

/* A question a worker has, and what it has asked for its sake. */
struct task {
    weft_msg *request; /* NULL: free */
    uint32_t number;
    uint32_t pending;
};

struct worker {
    struct world *world;
    uint32_t life;
    struct task tasks[TASKS];
};

struct place {
    struct world *world;
    uint32_t life;
    int32_t worker;
};

static struct place place_take(weft_ctx *ctx, const void *arg, int *ret_result) {
    struct place place;
    memcpy(&place, arg, sizeof(place));
    struct life *life = malloc(sizeof(*life));
    *life = (struct life){.world = place.world, .number = place.life, .worker = place.worker};
    *ret_result = weft_defer(ctx, life_over, life);
    return place;
}

static int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct worker *worker = state;
    int result;
    (void)arg_size;
    struct place place = place_take(ctx, arg, &result);
    worker->world = place.world;
    worker->life = place.life;
    return result;
}

static uint32_t number_of(const weft_msg *msg) {
    uint32_t number;
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    return number;
}

static void answer(weft_ctx *ctx, weft_msg **request) {
    if (draw(ctx, 4) == 0) {
        (void)weft_reply_error(ctx, request, -EIO); /* perhaps nobody waits any more */
    } else {
        (void)weft_reply(ctx, request, TAG_ASK, "", 0);
    }
}

/* What the actor works for has just been looked at: is that error one it may have? */
static void check_refusal(struct world *world, uint32_t above, int result) {
    bool known = result == -ETIMEDOUT || result == -ECANCELED || result == WEFT_E_NOPROC ||
                 result == -EDEADLK;
    must(world, known);
    if (result == -ECANCELED) {
        must(world, above != 0);
        must(world, world->asks[above].dropped);
    }
}

/* How long to ask: mostly the time above is what ends it. */
static uint64_t patience(weft_ctx *ctx, bool bound) {
    return bound && draw(ctx, 4) != 0 ? LONG : (1 + draw(ctx, 2000)) * US_NS;
}

/* Asks some worker without waiting, for the question above. 1: it was accepted. */
static uint32_t ask_some(weft_ctx *ctx, struct worker *worker, uint32_t above, bool bound) {
    struct world *world = worker->world;
    uint32_t number = ask_new(world, bound ? above : 0, worker->life);
    if (number == 0) {
        return 0;
    }
    world->asks[number].depth = world->asks[above].depth + 1;
    int result = weft_call(ctx, world->workers[draw(ctx, WORKERS)], TAG_ASK, &number,
                           sizeof(number), patience(ctx, bound), number);
    if (result != 0) {
        check_refusal(world, bound ? above : 0, result);
        return 0;
    }
    world->asks[number].sent = true;
    return 1;
}

/* Signals go first: what was given up in an earlier step is known by now. */
static void check_known(struct worker *worker) {
    struct world *world = worker->world;
    for (uint32_t i = 0; i < TASKS && !world->stopping; i++) {
        const struct task *task = &worker->tasks[i];
        if (task->request == NULL) {
            continue;
        }
        const struct ask *above = &world->asks[task->number];
        if (!above->dropped || above->dropped_step == world->sim->steps) {
            continue;
        }
        uint64_t deadline_ns = weft_deadline(task->request);
        if (deadline_ns != 0 && deadline_ns <= weft_sim_now_ns(world->sim)) {
            continue; /* it was over when it was given up: nobody needs to be told */
        }
        must(world, deadline_ns == 0);
        for (uint32_t k = 1; k <= world->count; k++) {
            const struct ask *ask = &world->asks[k];
            must(world, ask->above != task->number || ask->asker != worker->life || !ask->sent ||
                            ask->over);
        }
    }
}

static int worker_asked(weft_ctx *ctx, struct worker *worker, weft_msg *msg) {
    struct world *world = worker->world;
    uint32_t number = number_of(msg);
    ask_begins(ctx, world, number, msg);
    struct task *task = NULL;
    for (uint32_t i = 0; i < TASKS; i++) {
        task = worker->tasks[i].request == NULL ? &worker->tasks[i] : task;
    }
    uint32_t what = draw(ctx, 20);
    if (what == 0) {
        return -EIO;
    }
    if (what < 5 || task == NULL || world->asks[number].depth >= DEPTH) {
        if (what != 1) {
            answer(ctx, &msg);
        }
        return WEFT_CONTINUE;
    }
    bool bound = draw(ctx, 6) != 0;
    bool takes_first = draw(ctx, 2) == 0;
    *task = (struct task){.number = number};
    if (takes_first) {
        task->request = weft_msg_take(ctx, msg);
    }
    if (!bound) {
        must(world, weft_work_for(ctx, NULL) == 0);
    }
    for (uint32_t i = draw(ctx, FAN) + 1; i > 0; i--) {
        task->pending += ask_some(ctx, worker, number, bound);
    }
    task->request = takes_first ? task->request : weft_msg_take(ctx, msg);
    if (task->pending == 0 && draw(ctx, 2) == 0) {
        answer(ctx, &task->request);
    } else if (task->pending == 0) { /* later */
        return weft_timer_start(ctx, draw(ctx, 500) * US_NS, 0, number, NULL);
    }
    return WEFT_CONTINUE;
}

static struct task *task_of(struct worker *worker, uint32_t number) {
    for (uint32_t i = 0; i < TASKS; i++) {
        if (worker->tasks[i].request != NULL && worker->tasks[i].number == number) {
            return &worker->tasks[i];
        }
    }
    return NULL;
}

/* An answer came: perhaps it asks once more for the same question, without saying for whom. */
static void worker_answered(weft_ctx *ctx, struct worker *worker, const weft_msg *msg) {
    struct world *world = worker->world;
    uint32_t number = (uint32_t)weft_msg_token(msg);
    uint32_t above = world->asks[number].above;
    ask_outcome(ctx, world, number, weft_msg_status(msg));
    struct task *task = above == 0 ? NULL : task_of(worker, above);
    if (task == NULL) {
        must(world, weft_work_deadline(ctx) == UINT64_MAX);
        return;
    }
    must(world, weft_work_deadline(ctx) == weft_deadline(task->request));
    task->pending--;
    if (draw(ctx, 4) == 0) {
        task->pending += ask_some(ctx, worker, above, true);
    }
    if (task->pending == 0) {
        answer(ctx, &task->request);
    }
}

static int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct worker *worker = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        worker_answered(ctx, worker, msg);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        check_known(worker);
        return worker_asked(ctx, worker, msg);
    } else if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        struct task *task = task_of(worker, (uint32_t)weft_msg_token(msg));
        must(worker->world, weft_work_deadline(ctx) == UINT64_MAX);
        if (task != NULL && task->pending == 0) {
            answer(ctx, &task->request);
        }
    }
    return WEFT_CONTINUE;
}

/* ---- workers that are processes ------------------------------------------------------------ */

/* Asks and waits. A job may do the asking's waiting: then it has its outcome by being killed. */
static void ask_and_wait(weft_ctx *ctx, struct worker *worker, uint32_t above) {
    struct world *world = worker->world;
    weft_pid targets[FAN];
    weft_multi_result results[FAN];
    uint32_t number = ask_new(world, above, worker->life);
    if (number == 0) {
        return;
    }
    targets[0] = world->workers[draw(ctx, WORKERS)];
    world->asks[number].sent = true;
    int status;
    if (draw(ctx, 2) == 0) {
        status = weft_call_wait(ctx, targets[0], TAG_ASK, &number, sizeof(number),
                                patience(ctx, true), NULL);
    } else {
        weft_multi_request request = {.struct_size = WEFT_MULTI_REQUEST_INIT,
                                      .targets = targets,
                                      .count = 1,
                                      .tag = TAG_ASK,
                                      .data = &number,
                                      .size = sizeof(number),
                                      .timeout_ns = patience(ctx, true)};
        int answered = weft_multi_call_wait(ctx, &request, results);
        status = answered < 0 ? answered : results[0].status;
        if (answered == 1) {
            weft_msg_release(ctx, &results[0].reply);
        }
    }
    ask_outcome(ctx, world, number, status);
}

static int process_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct worker *worker = state;
    weft_msg *msg;
    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) { /* until it is ended */
        if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
            continue;
        }
        uint32_t number = number_of(msg);
        ask_begins(ctx, worker->world, number, msg);
        uint32_t what = draw(ctx, 20);
        if (what == 0) {
            return -EIO;
        }
        bool takes = draw(ctx, 2) == 0;
        weft_msg *taken = takes ? weft_msg_take(ctx, msg) : msg;
        for (uint32_t i = draw(ctx, FAN + 1); i > 0; i--) {
            if (worker->world->asks[number].depth < DEPTH) {
                ask_and_wait(ctx, worker, number);
            }
        }
        if (what == 1) {
            must(worker->world, weft_sleep(ctx, draw(ctx, 300) * US_NS) == 0);
        }
        must(worker->world, weft_work_deadline(ctx) == weft_deadline(taken));
        answer(ctx, &taken);
        must(worker->world, weft_work_deadline(ctx) == UINT64_MAX);
    }
    return WEFT_CONTINUE;
}

/* ---- roots --------------------------------------------------------------------------------- */

struct root {
    struct worker worker; /* first: it asks like one */
    uint32_t actions;
};

static int root_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    int result = worker_init(ctx, state, arg, arg_size);
    return result != 0 ? result : weft_timer_start(ctx, 0, 0, 0, NULL);
}

static void root_cancel(weft_ctx *ctx, struct root *root) {
    struct world *world = root->worker.world;
    for (uint32_t i = 1; i <= world->count; i++) {
        struct ask *ask = &world->asks[i];
        bool pending = ask->asker == root->worker.life && ask->sent && !ask->over;
        if (pending && draw(ctx, 2) == 0) {
            must(world, weft_call_cancel(ctx, i) == 1);
            ask_drop(world, ask);
            world->cancels++;
        }
    }
}

static int root_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct root *root = state;
    struct world *world = root->worker.world;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        ask_outcome(ctx, world, (uint32_t)weft_msg_token(msg), weft_msg_status(msg));
        return WEFT_CONTINUE;
    }
    if (root->actions++ == ACTIONS) {
        return draw(ctx, 2) == 0 ? WEFT_STOP : -EIO; /* with what is pending */
    }
    if (draw(ctx, 3) == 0) {
        root_cancel(ctx, root);
    } else {
        for (uint32_t i = draw(ctx, 4); i > 0; i--) {
            (void)ask_some(ctx, &root->worker, 0, false);
        }
    }
    return weft_timer_start(ctx, draw(ctx, 1000) * US_NS, 0, 0, NULL);
}

/* ---- the run ------------------------------------------------------------------------------- */

static void register_types(struct world *world) {
    weft_type_def defs[4] = {
        {.name = "handler", .receive = worker_receive},
        {.name = "serial", .receive = worker_receive, .flags = WEFT_TYPE_SERIAL},
        {.name = "process", .process = process_run},
        {.name = "root", .receive = root_receive, .init = root_init},
    };
    for (uint32_t i = 0; i < 4; i++) {
        defs[i].struct_size = WEFT_TYPE_DEF_INIT;
        defs[i].state_size = i == 3 ? sizeof(struct root) : sizeof(struct worker);
        defs[i].init = defs[i].init == NULL ? worker_init : defs[i].init;
        must(world, weft_type_register(world->runtime, &defs[i], &world->types[i]) == 0);
    }
}

static weft_pid spawn(struct world *world, const weft_type *type, int32_t worker) {
    struct place place = {.world = world, .life = ++world->lives, .worker = worker};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &place, .arg_size = sizeof(place)};
    weft_pid pid = weft_pid_none();
    must(world, weft_runtime_spawn(world->runtime, type, &options, &pid) == 0);
    return pid;
}

static uint32_t world_draw(struct world *world, uint32_t below) {
    return (uint32_t)(weft_sim_random(world->sim) % below);
}

static void spawn_missing(struct world *world) {
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (!world->alive[i]) {
            world->workers[i] = spawn(world, world->types[i % 3], (int32_t)i);
            world->alive[i] = true;
        }
    }
}

static void world_start(struct world *world, uint64_t seed) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (uint32_t)(seed % 3) * 5};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 1 + (uint32_t)(seed % 4),
                          .budget = seed % 5 == 0 ? 1 : 0};
    world->seed = seed;
    must(world, weft_sim_create(&options, &world->sim) == 0);
    must(world, weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime) == 0);
    register_types(world);
    must(world, weft_runtime_start(world->runtime) == 0);
    spawn_missing(world);
    for (uint32_t i = 0; i < ROOTS; i++) {
        (void)spawn(world, world->types[3], -1);
    }
}

static void world_disturb(struct world *world) {
    uint32_t what = world_draw(world, 10);
    weft_pid pid = world->workers[world_draw(world, WORKERS)];
    if (what == 0) {
        (void)weft_runtime_kill_actor(world->runtime, pid);
    } else if (what == 1) {
        (void)weft_runtime_stop_actor(world->runtime, pid, 0);
    }
    spawn_missing(world);
}

static bool is_over(void *arg) {
    const struct world *world = arg;
    return world->failed || world->roots_over == ROOTS;
}

static bool has_failed(void *arg) {
    return ((const struct world *)arg)->failed;
}

/* Long after the roots have ended, and long before a minute is over: nobody waits. */
static void check_quiet(struct world *world) {
    for (uint32_t i = 1; i <= world->count && !world->failed; i++) {
        const struct ask *ask = &world->asks[i];
        if (ask->sent && !ask->over) {
            fail(world, "question %u of life %u has no outcome", i, ask->asker);
        }
        must(world, ask->outcomes <= 1);
        must(world, ask->outcomes == 1 || !ask->sent || ask->dropped);
    }
}

static void world_end(struct world *world) {
    world->stopping = true;
    must(world, weft_sim_stop(world->sim, world->runtime, 1000000) == 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(world, weft_gauges_read(world->runtime, &gauges) == 0);
    must(world, gauges.actors == 0 && gauges.messages == 0 && gauges.timers == 0);
    weft_stats stats = {.struct_size = sizeof(stats)};
    must(world, weft_stats_read(world->runtime, WEFT_STATS_ALL, &stats) == 0);
    must(world, stats.messages_sent == stats.messages_handled + stats.messages_dead +
                                           stats.messages_dropped + stats.requests_expired +
                                           stats.replies_late);
    must(world, weft_runtime_destroy(&world->runtime) == 0);
}

struct report {
    bool failed;
    uint64_t hash;
    uint64_t steps;
    uint64_t worth;
    char text[200];
};

static void seed_run(uint64_t seed, struct report *ret_report) {
    struct world *world = calloc(1, sizeof(*world));
    if (world == NULL) {
        abort();
    }
    world_start(world, seed);
    for (uint32_t round = 0; round < ROUNDS && !world->failed; round++) {
        (void)weft_sim_run(world->sim, 1 + world_draw(world, 800), UINT64_MAX, is_over, world);
        world_disturb(world);
    }
    if (!world->failed) {
        (void)weft_sim_run(world->sim, 10000000, UINT64_MAX, is_over, world);
        uint64_t until_ns = weft_sim_now_ns(world->sim) + 100 * MS_NS;
        (void)weft_sim_run(world->sim, 10000000, until_ns, has_failed, world);
        check_quiet(world);
    }
    ret_report->hash = weft_sim_hash(world->sim);
    ret_report->steps = world->sim->steps;
    if (!world->failed) {
        world_end(world);
    }
    uint64_t inherited = 0;
    for (uint32_t i = 1; i <= world->count; i++) {
        inherited += world->asks[i].above != 0 && world->asks[i].dropped ? 1 : 0;
    }
    ret_report->failed = world->failed;
    ret_report->worth = world->cancels * inherited;
    memcpy(ret_report->text, world->text, sizeof(ret_report->text));
    if (!world->failed) {
        weft_sim_destroy(&world->sim);
        free(world);
    }
}

#include "seeds.h"

int main(int count, char **arguments) {
    return seeds_main(count, arguments);
}
