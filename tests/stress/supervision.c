/* SPDX-License-Identifier: MIT
 *
 * Trees of supervisors, 100,000 actors, in which for a while everything goes wrong: workers crash,
 * end, are killed, are stopped and started on request, inits fail, and supervisors in the middle
 * are killed and stopped. Then it is quiet, and the tree must be as specified: every permanent
 * worker lives exactly once, in its place, is known by its pid; the others live where their
 * supervisor says so, and nowhere else; after the end of the topmost nobody lives. The first
 * violation prints a line and aborts.
 *
 * --seconds N --schedulers N --seed N --actors N
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

enum {
    HOUSE = 250, /* workers of one supervisor */
    ID_BYTES = 8,
    TAG_CRASH = 1,
    TAG_END = 2,
    TAG_SHUT = 3,
    TAG_WHO = 4,   /* a request: which worker are you? */
    REFUSE = 4000, /* one in so many inits fails while it is wild */
};

#define S_NS UINT64_C(1000000000)

struct worker {
    _Atomic uint64_t pid; /* slot and generation of whose init ran last */
    _Atomic uint32_t lives;
    uint32_t restart;
};

struct world {
    weft_runtime *runtime;
    const weft_type *type;
    weft_pid top;
    uint64_t seed;
    uint64_t seconds;
    uint32_t schedulers;
    uint32_t houses;
    uint32_t count; /* of workers */
    struct worker *workers;
    weft_child_spec *specs; /* of workers */
    weft_child_spec *house_specs;
    weft_supervisor_def *defs; /* of houses */
    uint32_t *numbers;         /* arguments of workers */
    char (*ids)[ID_BYTES];
    _Atomic uint32_t wild;
    _Atomic uint64_t starts;
    uint64_t blows;
};

static struct world world;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "supervision: seed %" PRIu64 ": %s\n", world.seed, text);
    abort();
}

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail("line %d: not so: %s", __LINE__, #condition);                                     \
        }                                                                                          \
    } while (0)

static uint64_t now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * S_NS + (uint64_t)time.tv_nsec;
}

static void sleep_ns(uint64_t ns) {
    struct timespec time = {.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
    (void)nanosleep(&time, NULL);
}

/* splitmix64 */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- workers ------------------------------------------------------------------------------- */

static void worker_gone(void *arg) {
    struct worker *worker = arg;
    must(atomic_fetch_sub(&worker->lives, 1) > 0);
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
    weft_pid pid = weft_self(ctx);
    atomic_store(&worker->pid, (uint64_t)pid.slot << 32 | pid.gen);
    atomic_fetch_add(&worker->lives, 1);
    atomic_fetch_add(&world.starts, 1);
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
    default:
        return WEFT_CONTINUE;
    }
}

static weft_pid pid_of(const struct worker *worker) {
    uint64_t slot_gen = atomic_load(&worker->pid);
    return (weft_pid){.node = weft_runtime_node(world.runtime),
                      .slot = (uint32_t)(slot_gen >> 32),
                      .gen = (uint32_t)slot_gen};
}

/* ---- the tree ------------------------------------------------------------------------------ */

/* Every house has another strategy; one in eight is a simple_one_for_one. */
static uint32_t strategy_of(uint32_t house) {
    return house % 8 == 7 ? WEFT_SIMPLE_ONE_FOR_ONE : house % 3;
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
                              .type = world.type,
                              .arg = &world.numbers[number],
                              .arg_size = sizeof(uint32_t),
                              .restart = simple ? WEFT_RESTART_PERMANENT : restart};
    }
    /* Some reach their limit: then the whole house is started again. */
    world.defs[house] =
        (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                              .strategy = strategy_of(house),
                              .intensity = house % 5 == 0 ? 20 : WEFT_INTENSITY_UNLIMITED,
                              .period_ns = S_NS / 10,
                              .child_count = simple ? 1 : HOUSE,
                              .children = &world.specs[first]};
    world.house_specs[house] = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                                                 .id = world.ids[first],
                                                 .supervisor = &world.defs[house]};
}

static int ask(weft_pid supervisor, weft_supervisor_request request,
               weft_supervisor_answer *answer) {
    request.struct_size = WEFT_SUPERVISOR_REQUEST_INIT;
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(world.runtime, supervisor, &request, 60 * S_NS, answer);
}

/* The supervisor of a house; none while it does not run. */
static weft_pid house_pid(uint32_t house) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_WHICH,
                                       .id = world.ids[house * HOUSE]};
    must(ask(world.top, request, &answer) == 0);
    must(answer.is_supervisor);
    return answer.pid;
}

/* A simple house gets its workers; some may not be there any more. */
static void fill_house(uint32_t house) {
    weft_pid pid = house_pid(house);
    for (uint32_t i = 0; i < HOUSE; i++) {
        struct worker *worker = &world.workers[house * HOUSE + i];
        weft_supervisor_answer answer;
        weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT,
                                .arg = &world.numbers[house * HOUSE + i],
                                .arg_size = sizeof(uint32_t)};
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_START, .spec = &spec};
        if (atomic_load(&worker->lives) == 0) {
            must(ask(pid, request, &answer) == 0);
        }
    }
}

static void build(uint32_t actors) {
    world.houses = (actors + HOUSE - 1) / HOUSE;
    world.count = world.houses * HOUSE;
    world.workers = calloc(world.count, sizeof(*world.workers));
    world.specs = calloc(world.count, sizeof(*world.specs));
    world.numbers = calloc(world.count, sizeof(*world.numbers));
    world.ids = calloc(world.count, sizeof(*world.ids));
    world.house_specs = calloc(world.houses, sizeof(*world.house_specs));
    world.defs = calloc(world.houses, sizeof(*world.defs));
    must(world.workers != NULL && world.specs != NULL && world.numbers != NULL);
    must(world.ids != NULL && world.house_specs != NULL && world.defs != NULL);
    for (uint32_t house = 0; house < world.houses; house++) {
        make_house(house);
    }
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_ONE_FOR_ONE,
                               .intensity = WEFT_INTENSITY_UNLIMITED,
                               .child_count = world.houses,
                               .children = world.house_specs};
    must(weft_runtime_supervisor(world.runtime, &def, &world.top) == 0);
    for (uint32_t house = 0; house < world.houses; house++) {
        if (strategy_of(house) == WEFT_SIMPLE_ONE_FOR_ONE) {
            fill_house(house);
        }
    }
}

/* ---- chaos --------------------------------------------------------------------------------- */

/* What may be answered while everything ends and starts again. */
static void asks(weft_pid supervisor, uint32_t verb, const char *id) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = verb, .id = id};
    int result = ask(supervisor, request, &answer);
    if (result != 0 && result != WEFT_E_NOPROC && result != -ENOENT && result != -EEXIST &&
        result != -EAGAIN && result != -EPERM && result != -EIO) {
        fail("request %u answered %d", verb, result);
    }
}

static void strike_house(uint32_t house, uint64_t drawn) {
    weft_pid pid = house_pid(house);
    const char *id = world.ids[house * HOUSE + drawn / 16 % HOUSE];
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
        asks(pid, WEFT_SUPERVISOR_TERMINATE, id);
        asks(pid, WEFT_SUPERVISOR_COUNT, NULL);
        asks(pid, WEFT_SUPERVISOR_RESTART, id);
    }
}

static void strike(uint64_t *random) {
    uint64_t drawn = random_next(random);
    const struct worker *worker = &world.workers[(drawn >> 32) % world.count];
    world.blows++;
    if (drawn % 500 == 0) {
        strike_house((uint32_t)(drawn >> 40) % world.houses, drawn / 500);
    } else if (drawn % 8 == 0) { /* who is gone already does not matter, here and below */
        (void)weft_runtime_kill_actor(world.runtime, pid_of(worker));
    } else {
        (void)weft_runtime_send(world.runtime, pid_of(worker), TAG_CRASH + drawn / 8 % 3, NULL, 0);
    }
}

static void rage(void) {
    uint64_t random = world.seed;
    uint64_t until_ns = now_ns() + world.seconds * S_NS;
    atomic_store(&world.wild, 1);
    while (now_ns() < until_ns) {
        strike(&random);
        if (world.blows % 256 == 0) {
            sleep_ns(1000000); /* the actors need a core as well */
        }
    }
    atomic_store(&world.wild, 0);
}

/* ---- what must be so when it is quiet ------------------------------------------------------- */

static bool is_settled(const struct worker *worker) {
    uint32_t lives = atomic_load(&worker->lives);
    return lives == 1 || (lives == 0 && worker->restart != WEFT_RESTART_PERMANENT);
}

/* Requests may have left permanent ones stopped: they are started again. */
static void mend_house(uint32_t house) {
    weft_pid pid = house_pid(house);
    for (uint32_t i = 0; i < HOUSE && strategy_of(house) != WEFT_SIMPLE_ONE_FOR_ONE; i++) {
        const struct worker *worker = &world.workers[house * HOUSE + i];
        if (worker->restart == WEFT_RESTART_PERMANENT && atomic_load(&worker->lives) == 0) {
            asks(pid, WEFT_SUPERVISOR_RESTART, world.ids[house * HOUSE + i]);
        }
    }
}

static bool all_settled(void) {
    bool settled = true;
    for (uint32_t house = 0; house < world.houses; house++) {
        weft_supervisor_answer answer;
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_COUNT};
        weft_pid pid = house_pid(house);
        settled = settled && !weft_pid_is_none(pid) && ask(pid, request, &answer) == 0 &&
                  answer.restarting == 0;
    }
    for (uint32_t i = 0; i < world.count && settled; i++) {
        settled = is_settled(&world.workers[i]);
        if (!settled) {
            mend_house(i / HOUSE);
        }
    }
    return settled;
}

/* What was sent during the rage may still wait in a worker, which crashes when it comes to it: so
 * these say no, and are asked again until the deadline. */

/* Has a worker of this number gone for good? */
static bool is_over(uint32_t number) {
    return world.workers[number].restart == WEFT_RESTART_TEMPORARY &&
           atomic_load(&world.workers[number].lives) == 0;
}

/* Is a child the worker of this number? One of a house that was killed may have run its init, and
 * died, after its successor of the next house: then the worker has the wrong pid, and is asked. */
static bool is_worker(weft_pid pid, uint32_t number) {
    if (weft_pid_equal(pid, pid_of(&world.workers[number]))) {
        return true;
    }
    weft_msg *reply;
    if (weft_runtime_call(world.runtime, pid, TAG_WHO, NULL, 0, 60 * S_NS, &reply) != 0) {
        return false;
    }
    bool same = memcmp(weft_msg_data(reply), &number, sizeof(number)) == 0;
    weft_runtime_msg_release(world.runtime, &reply);
    return same;
}

/* The children of a house in their order, beside what lives. */
static bool is_named_right(uint32_t house, weft_pid pid, uint32_t count) {
    uint32_t number = house * HOUSE;
    bool right = true;
    for (uint32_t i = 0; i < count && right; i++, number++) {
        weft_supervisor_answer answer;
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_WHICH, .index = i};
        if (ask(pid, request, &answer) != 0) {
            return false;
        }
        while (number < (house + 1) * HOUSE && strcmp(answer.id, world.ids[number]) != 0 &&
               is_over(number)) {
            number++;
        }
        if (number == (house + 1) * HOUSE || strcmp(answer.id, world.ids[number]) != 0) {
            return false;
        }
        const struct worker *worker = &world.workers[number];
        bool lives = atomic_load(&worker->lives) == 1;
        right = (answer.state == WEFT_CHILD_RUNNING) == lives &&
                (!lives || is_worker(answer.pid, number));
    }
    return right;
}

static bool is_whole(uint32_t house) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_COUNT};
    weft_pid pid = house_pid(house);
    uint32_t living = 0;
    for (uint32_t i = 0; i < HOUSE; i++) {
        living += atomic_load(&world.workers[house * HOUSE + i].lives);
    }
    if (ask(pid, request, &answer) != 0 || answer.active != living) {
        return false;
    }
    if (strategy_of(house) != WEFT_SIMPLE_ONE_FOR_ONE) {
        return is_named_right(house, pid, answer.specs);
    }
    return answer.workers == living;
}

static bool are_whole(void) {
    bool whole = true;
    for (uint32_t house = 0; house < world.houses && whole; house++) {
        whole = is_whole(house);
    }
    return whole;
}

static void verify(void) {
    uint64_t until_ns = now_ns() + 120 * S_NS;
    while (!all_settled() || !are_whole()) {
        must(now_ns() < until_ns);
        sleep_ns(10000000);
    }
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

/* ---- frame --------------------------------------------------------------------------------- */

static void run(uint32_t actors) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = world.schedulers};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "worker",
                         .state_size = sizeof(uint32_t),
                         .init = worker_init,
                         .receive = worker_receive};
    must(weft_runtime_create(&config, &world.runtime) == 0);
    must(weft_type_register(world.runtime, &def, &world.type) == 0);
    must(weft_runtime_start(world.runtime) == 0);
    build(actors);
    rage();
    verify();
    must(weft_runtime_stop(world.runtime, 60 * S_NS) == 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(weft_gauges_read(world.runtime, &gauges) == 0);
    must(gauges.actors == 0 && gauges.messages == 0 && gauges.timers == 0 && gauges.buffers == 0);
    must(weft_runtime_destroy(&world.runtime) == 0);
    (void)printf("supervision: %u workers, %u supervisors, %" PRIu64 " blows, %" PRIu64
                 " starts, seed %" PRIu64 "\n",
                 world.count, world.houses + 1, world.blows, atomic_load(&world.starts),
                 world.seed);
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
    return 0;
}
