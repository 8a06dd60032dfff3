/* SPDX-License-Identifier: MIT
 *
 * Services, calls to many and jobs, seed by seed: clients with handlers and clients that are
 * processes call services that answer, refuse, wait, forget and crash, and start jobs that do the
 * same; all of them are killed now and then. Whatever the seed: each call has exactly one outcome,
 * an answer is the one to that call although tokens are used again and again, no timeout comes
 * early, and no job runs on once nobody waits for it. SERVICE_SEED=<n> in the environment runs that
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
    SEEDS_PER_CASE = 40,
    SEEDS_TWICE = 20,
    SERVICES = 5,
    CLIENTS = 4,
    PROCESSES = 4,
    SLOTS = 8,
    HELD = 4,
    ACTIONS = 40,
    ROUNDS = 40,
    TARGETS = 6,
    TAG_WORK = 1,
    TAG_HINT = 2,
};
#define US_NS UINT64_C(1000)
#define MS_NS UINT64_C(1000000)

/* One run. Everything is on one thread. */
struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *service;
    const weft_type *client;
    const weft_type *process;
    weft_pid services[SERVICES];
    bool service_lives[SERVICES];
    weft_pid callers[CLIENTS + PROCESSES];
    uint32_t callers_ended; /* in whatever way */
    uint32_t finished;      /* with all they had to do */
    uint32_t jobs_begun;
    uint32_t jobs_over;
    uint32_t idles;
    uint64_t outcomes;
};

#define must(world, condition)                                                                     \
    ck_assert_msg((condition), "seed %llu: not so: %s", (unsigned long long)(world)->seed,         \
                  #condition)

/* What an answer to a question must be. */
struct question {
    uint32_t caller;
    uint32_t number;
};

static uint64_t answer_to(const struct question *question) {
    uint64_t mixed = ((uint64_t)question->caller << 32 | question->number) + 1;
    return mixed * UINT64_C(0x9e3779b97f4a7c15);
}

static uint32_t draw(weft_ctx *ctx, uint32_t below) {
    return (uint32_t)(weft_random(ctx) % below);
}

static bool is_failure(int status) {
    return status == -ETIMEDOUT || status == WEFT_E_NOPROC || status == WEFT_E_NOREPLY ||
           status == WEFT_E_NOCONN || status == -ENOTSUP || status == -EIO ||
           status == WEFT_E_KILLED || status == WEFT_E_SHUTDOWN;
}

/* The outcome of one question. */
static void check_outcome(struct world *world, const struct question *question, int status,
                          const weft_msg *reply) {
    world->outcomes++;
    if (status != 0) {
        must(world, is_failure(status));
        return;
    }
    uint64_t value;
    must(world, weft_msg_size(reply) == sizeof(value));
    memcpy(&value, weft_msg_data(reply), sizeof(value));
    must(world, value == answer_to(question));
}

/* ---- services ------------------------------------------------------------------------------ */

struct service {
    struct world *world;
    uint32_t number;
    weft_msg *held[HELD];
};

struct place {
    struct world *world;
    uint32_t number;
};

static void service_gone(void *arg) {
    bool *lives = arg;
    *lives = false;
}

static int service_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct service *service = state;
    struct place place;
    (void)arg_size;
    memcpy(&place, arg, sizeof(place));
    service->world = place.world;
    service->number = place.number;
    place.world->service_lives[place.number] = true;
    return weft_defer(ctx, service_gone, &place.world->service_lives[place.number]);
}

static void answer(weft_ctx *ctx, weft_msg **request) {
    struct question question;
    memcpy(&question, weft_msg_data(*request), sizeof(question));
    uint64_t value = answer_to(&question);
    (void)weft_reply(ctx, request, TAG_WORK, &value, sizeof(value)); /* perhaps too late */
}

static int service_hold(weft_ctx *ctx, struct service *service, weft_msg *request) {
    uint32_t at = draw(ctx, HELD);
    if (service->held[at] != NULL) {
        answer(ctx, &service->held[at]);
    }
    service->held[at] = weft_msg_take(ctx, request);
    if (draw(ctx, 2) == 0) {
        return weft_timer_start(ctx, draw(ctx, 3000) * US_NS, 1, at, NULL);
    }
    return weft_service_idle(ctx, draw(ctx, 500) * US_NS);
}

static int service_work(weft_ctx *ctx, void *state, weft_msg *request) {
    struct service *service = state;
    switch (draw(ctx, 12)) {
    case 0:
    case 1:
    case 2:
        return service_hold(ctx, service, request);
    case 3:
        (void)weft_reply_error(ctx, &request, -ENOTSUP);
        return WEFT_CONTINUE;
    case 4:
        return WEFT_CONTINUE;
    case 5:
        return draw(ctx, 4) == 0 ? -EIO : WEFT_CONTINUE;
    default:
        answer(ctx, &request);
        return WEFT_CONTINUE;
    }
}

static int service_hint(weft_ctx *ctx, void *state, const weft_msg *msg) {
    (void)state;
    (void)msg;
    return weft_service_idle(ctx, draw(ctx, 2) == 0 ? WEFT_FOREVER : draw(ctx, 200) * US_NS);
}

static int service_other(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct service *service = state;
    must(service->world, weft_msg_kind(msg) == WEFT_MSG_TIMER);
    weft_msg **held = &service->held[weft_msg_token(msg)];
    if (*held != NULL) {
        answer(ctx, held);
    }
    return WEFT_CONTINUE;
}

static int service_idle(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct service *service = state;
    (void)msg;
    service->world->idles++;
    for (uint32_t i = 0; i < HELD; i++) {
        if (service->held[i] != NULL) {
            answer(ctx, &service->held[i]);
        }
    }
    return WEFT_CONTINUE;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

struct task {
    struct world *world;
    struct question question;
    uint32_t how;
    uint32_t depth;
};

static int job_run(weft_ctx *ctx, const void *arg, size_t arg_size);

static void job_gone(void *arg) {
    struct world *world = arg;
    world->jobs_over++;
}

static struct task task_draw(weft_ctx *ctx, struct world *world, uint32_t caller, uint32_t number) {
    return (struct task){
        .world = world, .question = {.caller = caller, .number = number}, .how = draw(ctx, 10)};
}

/* Some jobs of its own, a few at a time. */
static void job_spread(weft_ctx *ctx, const struct task *task) {
    struct task items[3];
    weft_multi_result results[3];
    for (uint32_t i = 0; i < 3; i++) {
        items[i] = task_draw(ctx, task->world, task->question.caller, 1000000 + i);
        items[i].depth = task->depth + 1;
    }
    weft_job_map_request request = {.struct_size = WEFT_JOB_MAP_REQUEST_INIT,
                                    .fn = job_run,
                                    .items = items,
                                    .item_size = sizeof(items[0]),
                                    .count = 3,
                                    .concurrency = 1 + draw(ctx, 3),
                                    .timeout_ns = (1 + draw(ctx, 500)) * US_NS};
    int answered = weft_job_map_wait(ctx, &request, results);
    for (uint32_t i = 0; i < 3; i++) {
        check_outcome(task->world, &items[i].question, results[i].status, results[i].reply);
        answered -= results[i].status == 0 ? 1 : 0;
    }
    must(task->world, answered == 0);
}

static int job_ask(weft_ctx *ctx, const struct task *task) {
    weft_pid target = task->world->services[draw(ctx, SERVICES)];
    weft_msg *reply = NULL;
    int status = weft_call_wait(ctx, target, TAG_WORK, &task->question, sizeof(task->question),
                                (1 + draw(ctx, 1000)) * US_NS, &reply);
    check_outcome(task->world, &task->question, status, reply);
    return 0;
}

static int job_work(weft_ctx *ctx, const struct task *task) {
    weft_msg *msg = NULL;
    switch (task->how) {
    case 0:
        return weft_sleep(ctx, draw(ctx, 1000) * US_NS);
    case 1:
        return weft_sleep(ctx, 1000000 * MS_NS);
    case 2:
        return -EIO;
    case 3:
        weft_exit(ctx, -EIO);
        return 0;
    case 4:
        return job_ask(ctx, task);
    case 5:
        if (task->depth < 2) {
            job_spread(ctx, task);
        }
        return 0;
    case 6:
        (void)weft_trap_exit(ctx, true);
        return weft_await(ctx, 77, WEFT_FOREVER, &msg);
    case 7:
        return weft_yield(ctx);
    default:
        return 0;
    }
}

static int job_run(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task;
    (void)arg_size;
    memcpy(&task, arg, sizeof(task));
    must(task.world, weft_defer(ctx, job_gone, task.world) == 0);
    task.world->jobs_begun++;
    uint64_t value = 1; /* replaced by the last one */
    must(task.world, weft_job_result(ctx, &value, sizeof(value)) == 0);
    int result = job_work(ctx, &task);
    if (result != 0) {
        return result;
    }
    value = answer_to(&task.question);
    return weft_job_result(ctx, &value, sizeof(value));
}

/* ---- clients with handlers ----------------------------------------------------------------- */

/* A call or job under way; its token is its index. */
struct slot {
    bool pending;
    uint32_t number;
    uint64_t deadline_ns;
};

struct client {
    struct world *world;
    uint32_t caller;
    uint32_t number; /* of the last question */
    uint32_t actions;
    struct slot slots[SLOTS];
};

static void caller_gone(void *arg) {
    struct world *world = arg;
    world->callers_ended++;
}

static int client_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct client *client = state;
    struct place place;
    (void)arg_size;
    memcpy(&place, arg, sizeof(place));
    client->world = place.world;
    client->caller = place.number;
    int result = weft_defer(ctx, caller_gone, place.world);
    return result != 0 ? result : weft_timer_start(ctx, 0, 0, 0, NULL);
}

static weft_pid target_draw(weft_ctx *ctx, const struct world *world) {
    switch (draw(ctx, 20)) {
    case 0:
        return weft_pid_none();
    case 1:
        return (weft_pid){.node = 1, .slot = 1, .gen = 1};
    default:
        return world->services[draw(ctx, SERVICES)];
    }
}

static uint64_t timeout_draw(weft_ctx *ctx) {
    static const uint64_t most[] = {2 * US_NS, 100 * US_NS, MS_NS, 5 * MS_NS};
    return 1 + weft_random(ctx) % most[draw(ctx, 4)];
}

static void slot_begin(weft_ctx *ctx, struct client *client, uint32_t at, uint64_t timeout_ns) {
    client->slots[at] = (struct slot){
        .pending = true, .number = client->number, .deadline_ns = weft_now_ns(ctx) + timeout_ns};
}

static void client_calls(weft_ctx *ctx, struct client *client) {
    uint32_t first = draw(ctx, SLOTS);
    uint32_t count = draw(ctx, TARGETS);
    while (count > 0 && first + count > SLOTS) {
        count--;
    }
    weft_pid targets[TARGETS];
    for (uint32_t i = 0; i < count; i++) {
        targets[i] = target_draw(ctx, client->world);
        if (client->slots[first + i].pending) {
            count = i;
        }
    }
    struct question question = {.caller = client->caller, .number = ++client->number};
    weft_multi_request request = {.struct_size = WEFT_MULTI_REQUEST_INIT,
                                  .targets = targets,
                                  .count = count,
                                  .tag = TAG_WORK,
                                  .data = &question,
                                  .size = sizeof(question),
                                  .timeout_ns = timeout_draw(ctx)};
    for (uint32_t i = 0; i < count; i++) {
        slot_begin(ctx, client, first + i, request.timeout_ns);
    }
    must(client->world, weft_multi_call(ctx, &request, first) == (int)count);
}

static void client_job(weft_ctx *ctx, struct client *client) {
    uint32_t at = draw(ctx, SLOTS);
    if (client->slots[at].pending) {
        return;
    }
    struct task task = task_draw(ctx, client->world, client->caller, ++client->number);
    uint64_t timeout_ns = timeout_draw(ctx);
    slot_begin(ctx, client, at, timeout_ns);
    must(client->world, weft_job_start(ctx, job_run, &task, sizeof(task), timeout_ns, at) == 0);
}

static void client_cancel(weft_ctx *ctx, struct client *client) {
    uint32_t at = draw(ctx, SLOTS);
    int cancelled = weft_call_cancel(ctx, at);
    must(client->world, cancelled == (client->slots[at].pending ? 1 : 0));
    client->slots[at].pending = false;
}

static int client_act(weft_ctx *ctx, struct client *client) {
    bool pending = false;
    for (uint32_t i = 0; i < SLOTS; i++) {
        pending = pending || client->slots[i].pending;
    }
    if (client->actions == ACTIONS && !pending) {
        client->world->finished++;
        return WEFT_STOP;
    }
    if (client->actions < ACTIONS) {
        client->actions++;
        uint32_t what = draw(ctx, 6);
        if (what < 3) {
            client_calls(ctx, client);
        } else if (what < 5) {
            client_job(ctx, client);
        } else {
            client_cancel(ctx, client);
        }
        (void)weft_send(ctx, client->world->services[draw(ctx, SERVICES)], TAG_HINT, NULL, 0);
    }
    return weft_timer_start(ctx, draw(ctx, 300) * US_NS, 0, 0, NULL);
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = state;
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        return client_act(ctx, client);
    }
    must(client->world, weft_msg_kind(msg) == WEFT_MSG_REPLY);
    must(client->world, weft_msg_token(msg) < SLOTS);
    struct slot *slot = &client->slots[weft_msg_token(msg)];
    must(client->world, slot->pending);
    slot->pending = false;
    must(client->world,
         weft_msg_status(msg) != -ETIMEDOUT || weft_now_ns(ctx) >= slot->deadline_ns);
    struct question question = {.caller = client->caller, .number = slot->number};
    check_outcome(client->world, &question, weft_msg_status(msg), msg);
    return WEFT_CONTINUE;
}

/* ---- clients that are processes ------------------------------------------------------------ */

struct process {
    struct world *world;
    uint32_t caller;
    uint32_t number;
};

static struct question next_question(struct process *process) {
    return (struct question){.caller = process->caller, .number = ++process->number};
}

static void process_call(weft_ctx *ctx, struct process *process) {
    struct question question = next_question(process);
    weft_msg *reply = NULL;
    int status = weft_call_wait(ctx, target_draw(ctx, process->world), TAG_WORK, &question,
                                sizeof(question), timeout_draw(ctx), &reply);
    check_outcome(process->world, &question, status, reply);
    weft_msg_release(ctx, &reply);
}

static void process_calls(weft_ctx *ctx, struct process *process) {
    struct question question = next_question(process);
    weft_pid targets[TARGETS];
    weft_multi_result results[TARGETS];
    for (uint32_t i = 0; i < TARGETS; i++) {
        targets[i] = target_draw(ctx, process->world);
    }
    weft_multi_request request = {.struct_size = WEFT_MULTI_REQUEST_INIT,
                                  .targets = targets,
                                  .count = draw(ctx, TARGETS + 1),
                                  .tag = TAG_WORK,
                                  .data = &question,
                                  .size = sizeof(question),
                                  .timeout_ns = timeout_draw(ctx)};
    int answered = weft_multi_call_wait(ctx, &request, results);
    for (uint32_t i = 0; i < request.count; i++) {
        check_outcome(process->world, &question, results[i].status, results[i].reply);
        answered -= results[i].status == 0 ? 1 : 0;
        weft_msg_release(ctx, &results[i].reply);
    }
    must(process->world, answered == 0);
}

static void process_job(weft_ctx *ctx, struct process *process) {
    struct question question = next_question(process);
    struct task task = task_draw(ctx, process->world, question.caller, question.number);
    must(process->world,
         weft_job_start(ctx, job_run, &task, sizeof(task), timeout_draw(ctx), 1) == 0);
    weft_msg *reply = NULL;
    int result = weft_await(ctx, 1, draw(ctx, 300) * US_NS, &reply);
    if (result == -ETIMEDOUT && draw(ctx, 2) == 0) {
        must(process->world, weft_call_cancel(ctx, 1) == 1);
        return;
    }
    if (result == -ETIMEDOUT) {
        result = weft_await(ctx, 1, WEFT_FOREVER, &reply);
    }
    must(process->world, result == 0);
    check_outcome(process->world, &question, weft_msg_status(reply), reply);
    weft_msg_release(ctx, &reply);
}

static void process_map(weft_ctx *ctx, struct process *process) {
    struct task items[TARGETS];
    weft_multi_result results[TARGETS];
    uint32_t count = draw(ctx, TARGETS + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct question question = next_question(process);
        items[i] = task_draw(ctx, process->world, question.caller, question.number);
    }
    weft_job_map_request request = {.struct_size = WEFT_JOB_MAP_REQUEST_INIT,
                                    .fn = job_run,
                                    .items = items,
                                    .item_size = sizeof(items[0]),
                                    .count = count,
                                    .concurrency = draw(ctx, 4),
                                    .timeout_ns = timeout_draw(ctx)};
    int answered = weft_job_map_wait(ctx, &request, results);
    for (uint32_t i = 0; i < count; i++) {
        check_outcome(process->world, &items[i].question, results[i].status, results[i].reply);
        answered -= results[i].status == 0 ? 1 : 0;
        weft_msg_release(ctx, &results[i].reply);
    }
    must(process->world, answered == 0);
}

static int process_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct place place;
    (void)state;
    (void)arg_size;
    memcpy(&place, arg, sizeof(place));
    struct process process = {.world = place.world, .caller = place.number};
    must(place.world, weft_defer(ctx, caller_gone, place.world) == 0);
    for (uint32_t i = 0; i < ACTIONS / 2; i++) {
        switch (draw(ctx, 4)) {
        case 0:
            process_call(ctx, &process);
            break;
        case 1:
            process_calls(ctx, &process);
            break;
        case 2:
            process_job(ctx, &process);
            break;
        default:
            process_map(ctx, &process);
            break;
        }
    }
    weft_msg *msg = NULL; /* nothing is left over, and nothing comes late */
    must(place.world, weft_receive(ctx, 20 * MS_NS, &msg) == -ETIMEDOUT);
    place.world->finished++;
    return WEFT_CONTINUE;
}

/* ---- the run ------------------------------------------------------------------------------- */

static void register_types(struct world *world) {
    static const weft_operation operations[] = {{.tag = TAG_WORK,
                                                 .size_min = sizeof(struct question),
                                                 .size_max = sizeof(struct question),
                                                 .call = service_work},
                                                {.tag = TAG_HINT, .cast = service_hint}};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "service",
                         .state_size = sizeof(struct service),
                         .init = service_init};
    weft_service_def service = {.struct_size = WEFT_SERVICE_DEF_INIT,
                                .type = &def,
                                .operations = operations,
                                .operation_count = 2,
                                .other = service_other,
                                .idle = service_idle};
    must(world, weft_service_register(world->runtime, &service, &world->service) == 0);
    def = (weft_type_def){.struct_size = WEFT_TYPE_DEF_INIT,
                          .name = "client",
                          .state_size = sizeof(struct client),
                          .init = client_init,
                          .receive = client_receive};
    must(world, weft_type_register(world->runtime, &def, &world->client) == 0);
    def = (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "process", .process = process_run};
    must(world, weft_type_register(world->runtime, &def, &world->process) == 0);
}

static weft_pid spawn(struct world *world, const weft_type *type, uint32_t number) {
    struct place place = {.world = world, .number = number};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &place, .arg_size = sizeof(place)};
    weft_pid pid = weft_pid_none();
    must(world, weft_runtime_spawn(world->runtime, type, &options, &pid) == 0);
    return pid;
}

static uint32_t world_draw(struct world *world, uint32_t below) {
    return (uint32_t)(weft_sim_random(world->sim) % below);
}

static void world_start(struct world *world, uint64_t seed) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (uint32_t)(seed % 3) * 5,
                                .nest_max = (uint32_t)(seed % 4)};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 1 + (uint32_t)(seed % 4),
                          .budget = seed % 5 == 0 ? 1 : 0};
    world->seed = seed;
    must(world, weft_sim_create(&options, &world->sim) == 0);
    must(world, weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime) == 0);
    register_types(world);
    must(world, weft_runtime_start(world->runtime) == 0);
    for (uint32_t i = 0; i < SERVICES; i++) {
        world->services[i] = spawn(world, world->service, i);
        world->service_lives[i] = true;
    }
    for (uint32_t i = 0; i < CLIENTS + PROCESSES; i++) {
        world->callers[i] = spawn(world, i < CLIENTS ? world->client : world->process, i);
    }
}

/* Kills somebody now and then, and puts services in the place of those that ended. */
static void world_disturb(struct world *world) {
    uint32_t what = world_draw(world, 20);
    if (what < 4) {
        weft_pid pid = world->services[world_draw(world, SERVICES)];
        (void)(what < 2 ? weft_runtime_kill_actor(world->runtime, pid)
                        : weft_runtime_stop_actor(world->runtime, pid, 0));
    } else if (what == 4) {
        weft_pid pid = world->callers[world_draw(world, CLIENTS + PROCESSES)];
        (void)(world_draw(world, 2) == 0 ? weft_runtime_kill_actor(world->runtime, pid)
                                         : weft_runtime_stop_actor(world->runtime, pid, 0));
    }
    for (uint32_t i = 0; i < SERVICES; i++) {
        if (!world->service_lives[i]) {
            world->services[i] = spawn(world, world->service, i);
            world->service_lives[i] = true;
        }
    }
}

static bool callers_are_gone(void *arg) {
    const struct world *world = arg;
    return world->callers_ended == CLIENTS + PROCESSES;
}

static bool jobs_are_over(void *arg) {
    const struct world *world = arg;
    return callers_are_gone(arg) && world->jobs_begun == world->jobs_over;
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

/* Every caller comes to its end by itself, or was ended, and then no job is left. */
static uint64_t seed_run(uint64_t seed) {
    struct world world = {0};
    world_start(&world, seed);
    uint32_t ended = world_draw(&world, 3); /* of three runs one ends in the middle of it all */
    for (uint32_t round = 0; round < ROUNDS; round++) {
        (void)weft_sim_run(world.sim, 1 + world_draw(&world, 2000), UINT64_MAX, callers_are_gone,
                           &world);
        world_disturb(&world);
    }
    if (ended != 0) {
        enum weft_sim_result result =
            weft_sim_run(world.sim, 10000000, UINT64_MAX, callers_are_gone, &world);
        must(&world, result == WEFT_SIM_DONE);
        result = weft_sim_run(world.sim, 1000000, UINT64_MAX, jobs_are_over, &world);
        must(&world, result == WEFT_SIM_DONE);
        must(&world, world.outcomes > 0);
    }
    uint64_t hash = weft_sim_hash(world.sim);
    world_end(&world);
    must(&world, world.jobs_begun == world.jobs_over);
    return hash;
}

START_TEST(test_each_call_has_one_outcome_whatever_the_seed) {
    const char *only = getenv("SERVICE_SEED");
    if (only != NULL) {
        (void)seed_run(strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)seed_run(30000 + (uint64_t)_i * SEEDS_PER_CASE + i);
    }
}
END_TEST

START_TEST(test_a_seed_always_gives_the_same_run) {
    check_repeats(seed_run, SEEDS_TWICE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_each_call_has_one_outcome_whatever_the_seed, 0, CASES);
    tcase_add_test(tcase, test_a_seed_always_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
