/* SPDX-License-Identifier: MIT
 *
 * Trees of supervisors, 100,000 actors, in which for a while everything goes wrong: workers crash,
 * end, are killed, are stopped and started on request, inits fail, and supervisors in the middle
 * are killed and stopped. Workers, handlers and processes, live in houses, a supervisor each; half
 * of the houses stand in streets, which are supervisors between them and the topmost.
 *
 * Then it is quiet, and the tree must be as specified: every permanent worker that no request has
 * stopped lives exactly once, in its place, is known by its pid; the others live where their
 * supervisor says so, and nowhere else. In the quiet tree single workers and houses end: those their
 * strategy takes with them are stopped and started in order, all others keep their pids, and a house
 * that has reached its limit ends with the shutdown reason and is started again. After the end of
 * the topmost nobody lives. The first violation prints a line and aborts.
 *
 * --seconds N --schedulers N --seed N --actors N
 */
#include "supervision.h"

#include <stdarg.h>
#include <stdio.h>

struct world world;

void supervision_fail(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "supervision: seed %" PRIu64 ": %s\n", world.seed, text);
    abort();
}

/* ---- workers ------------------------------------------------------------------------------- */

static void worker_gone(void *arg) {
    struct worker *worker = arg;
    must(atomic_fetch_sub(&worker->lives, 1) > 0);
    atomic_store(&worker->gone, atomic_fetch_add(&world.ends, 1) + 1);
}

static int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    uint32_t number;
    must(arg_size == sizeof(number));
    memcpy(&number, arg, sizeof(number));
    must(number < world.count);
    if (atomic_load(&world.wild) != 0 && weft_random(ctx) % REFUSE == 0) {
        return -EIO;
    }
    *(uint32_t *)state = number;
    struct worker *worker = &world.workers[number];
    int result = weft_defer(ctx, worker_gone, worker);
    if (result != 0) {
        return result;
    }
    atomic_store(&worker->pid, slot_gen(weft_self(ctx)));
    atomic_fetch_add(&worker->lives, 1);
    atomic_store(&worker->started, atomic_fetch_add(&world.starts, 1) + 1);
    return WEFT_CONTINUE;
}

static int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    switch (weft_msg_tag(msg)) {
    case TAG_WHO:
        return weft_reply(ctx, &msg, 0, state, sizeof(uint32_t)) < 0 ? -EIO : WEFT_CONTINUE;
    case TAG_CRASH:
        return -EIO;
    case TAG_END:
        return WEFT_STOP;
    case TAG_SHUT:
        return WEFT_E_SHUTDOWN;
    case TAG_ECHO:
        atomic_store(&world.workers[*(uint32_t *)state].echo, 1);
        return WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

/* The same on a stack of its own. */
static int worker_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    int result = WEFT_CONTINUE;
    while (result == WEFT_CONTINUE) { /* the event loop */
        weft_msg *msg;
        result = weft_receive(ctx, WEFT_FOREVER, &msg);
        if (result == 0) {
            result = weft_yield(ctx);
        }
        if (result == 0) {
            result = worker_receive(ctx, state, msg);
        }
    }
    return result;
}

static int watcher_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_DOWN) {
        atomic_store(&world.ended_status, weft_msg_status(msg));
        atomic_store(&world.ended_pid, slot_gen(weft_sender(ctx, msg)));
    } else if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == TAG_WATCH) {
        weft_pid pid;
        memcpy(&pid, weft_msg_data(msg), sizeof(pid));
        must(weft_monitor(ctx, pid, 0, NULL) == 0);
        must(weft_reply(ctx, &msg, 0, NULL, 0) == 0);
    }
    return WEFT_CONTINUE;
}

/* ---- the tree ------------------------------------------------------------------------------ */

static bool is_process(uint32_t number) {
    uint32_t house = number / HOUSE;
    return strategy_of(house) == WEFT_SIMPLE_ONE_FOR_ONE ? house % 16 == 15 : number % 16 == 5;
}

static void make_house(uint32_t house) {
    uint32_t first = house * HOUSE;
    bool simple = strategy_of(house) == WEFT_SIMPLE_ONE_FOR_ONE;
    for (uint32_t i = 0; i < HOUSE; i++) {
        uint32_t number = first + i;
        uint32_t restart = i % 10 == 8   ? WEFT_RESTART_TRANSIENT
                           : i % 10 == 9 ? WEFT_RESTART_TEMPORARY
                                         : WEFT_RESTART_PERMANENT;
        world.numbers[number] = number;
        world.workers[number].restart = simple ? WEFT_RESTART_TEMPORARY : restart;
        (void)snprintf(world.ids[number], ID_BYTES, "%u", number);
        world.specs[number] =
            (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                              .id = world.ids[number],
                              .type = is_process(number) ? world.process_type : world.type,
                              .arg = &world.numbers[number],
                              .arg_size = sizeof(uint32_t),
                              .restart = simple ? WEFT_RESTART_PERMANENT : restart};
    }
    /* Some reach their limit: then the whole house is started again. Their windows never pass, so
     * that it is known when. */
    world.defs[house] =
        (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                              .strategy = strategy_of(house),
                              .intensity = is_limited(house) ? LIMIT : WEFT_INTENSITY_UNLIMITED,
                              .period_ns = 100000 * S_NS,
                              .child_count = simple ? 1 : HOUSE,
                              .children = &world.specs[first]};
    world.house_specs[house] = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                                                 .id = world.ids[first],
                                                 .supervisor = &world.defs[house]};
}

int supervision_ask(weft_pid supervisor, weft_supervisor_request request,
                    weft_supervisor_answer *answer) {
    request.struct_size = WEFT_SUPERVISOR_REQUEST_INIT;
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(world.runtime, supervisor, &request, 60 * S_NS, answer);
}

static weft_pid which(weft_pid supervisor, const char *id) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_WHICH, .id = id};
    int result = supervision_ask(supervisor, request, &answer);
    if (result == WEFT_E_NOPROC && !weft_pid_equal(supervisor, world.top)) {
        return weft_pid_none(); /* a street that has ended meanwhile */
    }
    if (result != 0 || !answer.is_supervisor) {
        supervision_fail("%s is answered %d", id, result);
    }
    return answer.pid;
}

weft_pid supervision_house(uint32_t house) {
    weft_pid above =
        is_in_street(house) ? which(world.top, world.street_ids[house / STREET]) : world.top;
    return weft_pid_is_none(above) ? above : which(above, world.ids[house * HOUSE]);
}

/* A simple house gets its workers; some may not be there any more. */
static void fill_house(uint32_t house) {
    weft_pid pid = supervision_house(house);
    for (uint32_t i = 0; i < HOUSE; i++) {
        struct worker *worker = &world.workers[house * HOUSE + i];
        weft_supervisor_answer answer;
        weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT,
                                .arg = &world.numbers[house * HOUSE + i],
                                .arg_size = sizeof(uint32_t)};
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_START, .spec = &spec};
        if (atomic_load(&worker->lives) == 0) {
            must(supervision_ask(pid, request, &answer) == 0);
        }
    }
}

static uint32_t make_top(void) {
    uint32_t count = 0;
    for (uint32_t house = 0; house < world.houses; house++) {
        uint32_t street = house / STREET;
        if (!is_in_street(house)) {
            world.top_specs[count++] = world.house_specs[house];
        } else if (house % STREET == 0) {
            world.street_defs[street] =
                (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                                      .strategy = street_strategy_of(street),
                                      .intensity = WEFT_INTENSITY_UNLIMITED,
                                      .child_count = STREET,
                                      .children = &world.house_specs[house]};
            world.streets++;
            (void)snprintf(world.street_ids[street], ID_BYTES, "s%u", street % 100000);
            world.top_specs[count++] = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                                                         .id = world.street_ids[street],
                                                         .supervisor = &world.street_defs[street]};
        }
    }
    return count;
}

static void take_memory(uint32_t actors) {
    world.houses = (actors + HOUSE - 1) / HOUSE;
    world.count = world.houses * HOUSE;
    world.workers = calloc(world.count, sizeof(*world.workers));
    world.specs = calloc(world.count, sizeof(*world.specs));
    world.numbers = calloc(world.count, sizeof(*world.numbers));
    world.ids = calloc(world.count, sizeof(*world.ids));
    world.house_specs = calloc(world.houses, sizeof(*world.house_specs));
    world.defs = calloc(world.houses, sizeof(*world.defs));
    must(world.workers != NULL && world.specs != NULL && world.numbers != NULL);
    world.top_specs = calloc(world.houses, sizeof(*world.top_specs));
    world.street_defs = calloc(world.houses, sizeof(*world.street_defs));
    world.street_ids = calloc(world.houses, sizeof(*world.street_ids));
    must(world.ids != NULL && world.house_specs != NULL && world.defs != NULL);
    must(world.top_specs != NULL && world.street_defs != NULL && world.street_ids != NULL);
}

static void build(void) {
    for (uint32_t house = 0; house < world.houses; house++) {
        make_house(house);
    }
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_ONE_FOR_ONE,
                               .intensity = WEFT_INTENSITY_UNLIMITED,
                               .child_count = make_top(),
                               .children = world.top_specs};
    must(weft_runtime_supervisor(world.runtime, &def, &world.top) == 0);
    for (uint32_t house = 0; house < world.houses; house++) {
        if (strategy_of(house) == WEFT_SIMPLE_ONE_FOR_ONE) {
            fill_house(house);
        }
    }
}

/* ---- chaos --------------------------------------------------------------------------------- */

/* What may be answered while everything ends and starts again. */
void supervision_order(weft_pid supervisor, uint32_t verb, const char *id) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = verb, .id = id};
    int result = supervision_ask(supervisor, request, &answer);
    if (result != 0 && result != WEFT_E_NOPROC && result != -ENOENT && result != -EEXIST &&
        result != -EAGAIN && result != -EPERM && result != -EIO) {
        supervision_fail("request %u answered %d", verb, result);
    }
}

static void strike_house(uint32_t house, uint64_t drawn) {
    weft_pid pid = supervision_house(house);
    uint32_t number = house * HOUSE + (uint32_t)(drawn / 16 % HOUSE);
    const char *id = world.ids[number];
    if (weft_pid_is_none(pid)) {
        return;
    }
    switch (drawn % 4) {
    case 0:
        (void)weft_runtime_kill_actor(world.runtime, pid); /* it may be gone */
        break;
    case 1:
        (void)weft_runtime_stop_actor(world.runtime, pid, WEFT_E_SHUTDOWN);
        break;
    default:
        world.workers[number].stopper = slot_gen(pid);
        supervision_order(pid, WEFT_SUPERVISOR_TERMINATE, id);
        supervision_order(pid, WEFT_SUPERVISOR_COUNT, NULL);
        supervision_order(pid, WEFT_SUPERVISOR_RESTART, id);
    }
}

/* A whole street, if there is one. */
static void strike_street(uint32_t house, uint64_t drawn) {
    if (!is_in_street(house)) {
        return;
    }
    weft_pid pid = which(world.top, world.street_ids[house / STREET]);
    if (!weft_pid_is_none(pid)) {
        (void)(drawn % 2 == 0 ? weft_runtime_kill_actor(world.runtime, pid)
                              : weft_runtime_stop_actor(world.runtime, pid, WEFT_E_SHUTDOWN));
    }
}

static void strike(void) {
    uint64_t drawn = random_next(&world.random);
    const struct worker *worker = &world.workers[(drawn >> 32) % world.count];
    world.blows++;
    if (drawn % 20000 == 1) {
        strike_street((uint32_t)(drawn >> 40) % world.houses, drawn / 20000);
    } else if (drawn % 500 == 0) {
        strike_house((uint32_t)(drawn >> 40) % world.houses, drawn / 500);
    } else if (drawn % 8 == 0) { /* who is gone already does not matter, here and below */
        (void)weft_runtime_kill_actor(world.runtime, pid_of(worker));
    } else {
        (void)weft_runtime_send(world.runtime, pid_of(worker), TAG_CRASH + drawn / 8 % 3, NULL, 0);
    }
}

static void rage(void) {
    uint64_t until_ns = now_ns() + world.seconds * S_NS;
    atomic_store(&world.wild, 1);
    while (now_ns() < until_ns) {
        strike();
        if (world.blows % 256 == 0) {
            sleep_ns(1000000); /* the actors need a core as well */
        }
    }
    atomic_store(&world.wild, 0);
}

/* ---- frame --------------------------------------------------------------------------------- */

static void end(void) {
    uint64_t until_ns = now_ns() + 120 * S_NS;
    must(weft_runtime_stop_actor(world.runtime, world.top, WEFT_E_SHUTDOWN) == 0);
    weft_actor_info info = {.struct_size = sizeof(info)};
    while (weft_inspect(world.runtime, world.top, &info) == 0) {
        must(now_ns() < until_ns);
        sleep_ns(1000000);
    }
    for (uint32_t i = 0; i < world.count; i++) {
        must(atomic_load(&world.workers[i].lives) == 0);
    }
}

static void run(uint32_t actors) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = world.schedulers};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "worker",
                         .state_size = sizeof(uint32_t),
                         .init = worker_init,
                         .receive = worker_receive};
    weft_type_def process_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                 .name = "process",
                                 .state_size = sizeof(uint32_t),
                                 .init = worker_init,
                                 .process = worker_process};
    weft_type_def watcher_def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "watcher", .receive = watcher_receive};
    const weft_type *watcher;
    must(weft_runtime_create(&config, &world.runtime) == 0);
    must(weft_type_register(world.runtime, &def, &world.type) == 0);
    must(weft_type_register(world.runtime, &process_def, &world.process_type) == 0);
    must(weft_type_register(world.runtime, &watcher_def, &watcher) == 0);
    must(weft_runtime_start(world.runtime) == 0);
    must(weft_runtime_spawn(world.runtime, watcher, NULL, &world.watcher) == 0);
    take_memory(actors);
    build();
    world.random = world.seed;
    rage();
    supervision_be_quiet();
    supervision_probe();
    supervision_be_quiet();
    end();
    must(weft_runtime_stop(world.runtime, 60 * S_NS) == 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(weft_gauges_read(world.runtime, &gauges) == 0);
    must(gauges.actors == 0 && gauges.messages == 0 && gauges.timers == 0 && gauges.buffers == 0);
    must(weft_runtime_destroy(&world.runtime) == 0);
    (void)printf("supervision: %u workers, %u supervisors, %" PRIu64 " blows, %" PRIu64
                 " starts, seed %" PRIu64 "\n",
                 world.count, world.houses + world.streets + 1, world.blows,
                 atomic_load(&world.starts), world.seed);
}

int main(int argc, char **argv) {
    uint32_t actors = 100000;
    world.seconds = 3;
    world.schedulers = 2;
    world.seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seconds") == 0) {
            world.seconds = value;
        } else if (strcmp(argv[i], "--schedulers") == 0) {
            world.schedulers = (uint32_t)value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            world.seed = value;
        } else if (strcmp(argv[i], "--actors") == 0) {
            actors = (uint32_t)value;
        }
    }
    run(actors);
    free(world.workers);
    free(world.specs);
    free(world.numbers);
    free(world.ids);
    free(world.house_specs);
    free(world.defs);
    free(world.top_specs);
    free(world.street_defs);
    free(world.street_ids);
    return 0;
}
