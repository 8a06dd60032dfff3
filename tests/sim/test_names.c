/* SPDX-License-Identifier: MIT
 *
 * Names and groups, seed by seed: workers that register, take away, look up, join, leave, broadcast
 * and end in every way, for themselves and for each other, on one to four schedulers. With points
 * inside the steps (planted.c's builds of the library) others run in the middle of a lookup, before
 * the lock is taken, and between the parts of an end and of a broadcast.
 *
 * The ledger knows of every (name, actor) and (group, actor) whether it is there for sure, and
 * whether it may be. What is sure during a whole operation has to be seen by it, what may not have
 * been at any moment of it must not be seen. Who was a member for sure during a whole broadcast gets
 * it once; nobody gets it twice. After a DOWN nothing of the actor may be.
 *
 *   test_names                       a test: some seeds, and that a seed always gives the same run
 *   test_names clean [first [last]]  success when no seed fails
 *   test_names find [first [last]]   success when a seed fails or crashes: the library has a defect
 */
#define _GNU_SOURCE /* alarm */
#include "sched/name.h"
#include "sim_internal.h"
#include <weft/weft.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ACTORS = 160, /* ever spawned */
    LIVING = 24,  /* at a time */
    NAMES = 8,
    GROUPS = 2,
    CASTS = 256,
    PHASES = 12,
    TOKENS = 8,     /* go round among the workers, from each to any */
    STEPS = 400000, /* of one phase, at most */
    SEED_SECONDS = 30,
};
enum { TAG_GO = 1, TAG_SPAWN = 2, TAG_CAST = 3 };

/* Something an actor may have. */
struct fact {
    uint64_t sure_since; /* 0: it is not sure */
    uint64_t maybe_until;
    uint64_t joins; /* of a group */
    uint32_t version;
    bool maybe;
    bool busy; /* an operation on it is under way: others keep off */
};

struct actor {
    struct world *world;
    weft_pid pid;
    bool dying; /* its end has been asked for */
    bool gone;  /* its DOWN has come */
    struct fact names[NAMES];
    struct fact groups[GROUPS];
};

/* One broadcast, by actor. */
struct cast {
    bool must[ACTORS];
    bool may[ACTORS];
    unsigned char got[ACTORS];
};

struct world {
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *worker;
    weft_pid watcher;
    uint64_t clock;
    uint32_t actor_count;
    uint32_t cast_count;
    uint32_t taken[NAMES];  /* times a name has been taken away, begun */
    uint32_t taking[NAMES]; /* times, under way */
    struct actor actors[ACTORS];
    struct cast casts[CASTS];
    uint64_t found;  /* what the run was worth: lookups that found somebody, */
    uint64_t shared; /* and broadcasts that reached somebody */
    bool failed;
    char text[256];
};

static void __attribute__((format(printf, 2, 3)))
fail(struct world *world, const char *format, ...) {
    va_list arguments;
    if (world->failed) {
        return;
    }
    world->failed = true;
    va_start(arguments, format);
    (void)vsnprintf(world->text, sizeof(world->text), format, arguments);
    va_end(arguments);
}

static uint32_t below(struct world *world, uint32_t bound) {
    return (uint32_t)(weft_sim_random(world->sim) % bound);
}

static size_t name_bytes(uint32_t number, char name[WEFT_NAME_BYTES_MAX]) {
    memset(name, 'a' + (int)number, WEFT_NAME_BYTES_MAX);
    return 1 + number % 4 * 30;
}

/* ---- the ledger ------------------------------------------------------------------------------ */

static uint64_t tick(struct world *world) {
    return ++world->clock;
}

static bool is_sure(const struct fact *fact, uint64_t from) {
    return fact->sure_since != 0 && fact->sure_since <= from;
}

static bool is_maybe(const struct fact *fact, uint64_t from) {
    return fact->maybe || fact->maybe_until >= from;
}

static void fact_over(struct world *world, struct fact *fact) {
    fact->sure_since = 0;
    fact->joins = 0;
    if (fact->maybe) {
        fact->maybe = false;
        fact->maybe_until = tick(world);
    }
}

/* Its end is asked for: from now on nothing of it is sure. */
static void actor_dies(struct actor *actor) {
    actor->dying = true;
    for (uint32_t i = 0; i < NAMES; i++) {
        actor->names[i].sure_since = 0;
    }
    for (uint32_t i = 0; i < GROUPS; i++) {
        actor->groups[i].sure_since = 0;
    }
}

static void actor_gone(struct actor *actor) {
    if (!actor->dying) {
        fail(actor->world, "an actor ended that nobody asked to");
    }
    actor->gone = true;
    for (uint32_t i = 0; i < NAMES; i++) {
        fact_over(actor->world, &actor->names[i]);
    }
    for (uint32_t i = 0; i < GROUPS; i++) {
        fact_over(actor->world, &actor->groups[i]);
    }
}

static struct actor *actor_of(struct world *world, weft_pid pid) {
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (weft_pid_equal(world->actors[i].pid, pid)) {
            return &world->actors[i];
        }
    }
    return NULL;
}

/* Any actor that has not ended, or one in sixteen times any at all. */
static struct actor *any_actor(struct world *world) {
    uint32_t first = below(world, world->actor_count);
    bool anybody = below(world, 16) == 0;
    for (uint32_t i = 0; i < world->actor_count && !anybody; i++) {
        struct actor *actor = &world->actors[(first + i) % world->actor_count];
        if (!actor->gone) {
            return actor;
        }
    }
    return &world->actors[first];
}

static bool somebody_sure(const struct world *world, uint32_t name, uint64_t from) {
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (is_sure(&world->actors[i].names[name], from)) {
            return true;
        }
    }
    return false;
}

static bool somebody_maybe(const struct world *world, uint32_t name, uint64_t from) {
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (is_maybe(&world->actors[i].names[name], from)) {
            return true;
        }
    }
    return false;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void registered(struct world *world, struct actor *actor, uint32_t name, uint64_t from,
                       uint32_t taken) {
    struct fact *fact = &actor->names[name];
    if (somebody_sure(world, name, from)) {
        fail(world, "name %u was registered though somebody had it", name);
    }
    if (!actor->dying && taken == world->taken[name] && world->taking[name] == 0) {
        fact->sure_since = tick(world);
    }
}

static void act_register(struct world *world, struct actor *actor, uint32_t name) {
    struct fact *fact = &actor->names[name];
    char bytes[WEFT_NAME_BYTES_MAX];
    size_t size = name_bytes(name, bytes);
    if (fact->busy) {
        return;
    }
    bool gone = actor->gone;
    bool had = fact->maybe;
    uint32_t taken = world->taken[name];
    uint64_t from = tick(world);
    fact->maybe = false; /* for EEXIST below: others */
    bool others = somebody_maybe(world, name, from);
    fact->maybe = !gone;
    fact->busy = true;
    fact->version++;
    int result = weft_name_register(world->runtime, bytes, size, actor->pid);
    fact->busy = false;
    if (result == 0 && !gone) {
        registered(world, actor, name, from, taken);
    } else if (result == -EEXIST) {
        fact->maybe = false;
        if (!had && !others && !somebody_maybe(world, name, from)) {
            fail(world, "name %u was refused, nobody had it", name);
        }
    } else if (result != WEFT_E_NOPROC || !actor->dying) {
        fail(world, "registering name %u: %d", name, result);
    }
    if (result != 0) {
        fact->maybe = had && !actor->gone;
    }
    if (actor->gone) {
        fact_over(world, fact); /* its DOWN came meanwhile */
    }
}

static void act_unregister(struct world *world, uint32_t name) {
    char bytes[WEFT_NAME_BYTES_MAX];
    size_t size = name_bytes(name, bytes);
    uint32_t versions[ACTORS];
    bool had[ACTORS] = {false};
    struct actor *owner = NULL;
    uint32_t count = world->actor_count;
    uint64_t from = tick(world);
    uint32_t taken = ++world->taken[name];
    bool alone = ++world->taking[name] == 1;
    for (uint32_t i = 0; i < count; i++) {
        struct fact *fact = &world->actors[i].names[name];
        owner = is_sure(fact, from) ? &world->actors[i] : owner;
        fact->sure_since = 0;
        versions[i] = fact->version;
        had[i] = fact->maybe && !fact->busy;
    }
    int result = weft_name_unregister(world->runtime, bytes, size);
    if (result == -ENOENT && owner != NULL && !owner->dying && alone &&
        taken == world->taken[name]) {
        fail(world, "name %u could not be taken away", name);
    }
    if (result == 0 && !somebody_maybe(world, name, from)) {
        fail(world, "name %u was taken away, nobody had it", name);
    }
    if (result != 0 && result != -ENOENT) {
        fail(world, "taking name %u away: %d", name, result);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct fact *fact = &world->actors[i].names[name];
        if (had[i] && fact->version == versions[i]) {
            fact_over(world, fact);
        }
    }
    world->taking[name]--;
}

static void act_whereis(struct world *world, uint32_t name) {
    char bytes[WEFT_NAME_BYTES_MAX];
    size_t size = name_bytes(name, bytes);
    uint64_t from = tick(world);
    weft_pid pid = weft_name_whereis(world->runtime, bytes, size);
    if (weft_pid_is_none(pid)) {
        if (somebody_sure(world, name, from)) {
            fail(world, "name %u was not found", name);
        }
        return;
    }
    world->found++;
    const struct actor *actor = actor_of(world, pid);
    if (actor == NULL || !is_maybe(&actor->names[name], from)) {
        fail(world, "name %u: found somebody who did not have it", name);
    }
}

static void act_names_of(struct world *world, const struct actor *actor) {
    char text[WEFT_NAME_BYTES_MAX + 1];
    uint64_t from = tick(world);
    int size = 1;
    for (uint32_t i = 0; i < NAMES && size > 0; i++) {
        size = weft_name_of(world->runtime, actor->pid, i, text, sizeof(text));
        uint32_t name = size > 0 ? (uint32_t)(text[0] - 'a') : NAMES;
        if (size > 0 && (name >= NAMES || !is_maybe(&actor->names[name], from))) {
            fail(world, "an actor has a name that it did not get");
        }
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void act_join(struct world *world, struct actor *actor, uint32_t group) {
    struct fact *fact = &actor->groups[group];
    char name = (char)('0' + group);
    if (fact->busy) {
        return;
    }
    bool had = fact->maybe;
    bool gone = actor->gone;
    fact->busy = true;
    fact->maybe = !gone;
    int result = weft_group_join(world->runtime, &name, 1, actor->pid);
    fact->busy = false;
    if (result == 0 && !gone) {
        fact->joins++;
        if (!actor->dying && fact->sure_since == 0) {
            fact->sure_since = tick(world);
        }
    } else if (result != WEFT_E_NOPROC || !actor->dying) {
        fail(world, "joining group %u: %d", group, result);
    } else {
        fact->maybe = had;
    }
    if (actor->gone) {
        fact_over(world, fact);
    }
}

static void act_leave(struct world *world, struct actor *actor, uint32_t group) {
    struct fact *fact = &actor->groups[group];
    char name = (char)('0' + group);
    if (fact->busy) {
        return;
    }
    fact->busy = true;
    if (fact->joins <= 1) {
        fact->sure_since = 0;
    }
    int result = weft_group_leave(world->runtime, &name, 1, actor->pid);
    fact->busy = false;
    if (result != (fact->joins > 0 ? 0 : -ENOENT) && !(actor->dying && result == -ENOENT)) {
        fail(world, "leaving group %u: %d", group, result);
    }
    if (result == 0 && fact->joins > 0 && --fact->joins == 0) {
        fact_over(world, fact);
    }
}

static void act_members(struct world *world, uint32_t group) {
    weft_pid pids[ACTORS];
    bool listed[ACTORS] = {false};
    char name = (char)('0' + group);
    uint64_t from = tick(world);
    uint32_t count = weft_group_members(world->runtime, &name, 1, pids, ACTORS);
    for (uint32_t i = 0; i < count && i < ACTORS; i++) {
        const struct actor *actor = actor_of(world, pids[i]);
        if (actor == NULL || !is_maybe(&actor->groups[group], from)) {
            fail(world, "group %u: one who is not in it is listed", group);
            return;
        }
        listed[actor - world->actors] = true;
    }
    for (uint32_t i = 0; i < world->actor_count && count < ACTORS; i++) {
        if (is_sure(&world->actors[i].groups[group], from) && !listed[i]) {
            fail(world, "group %u: one who is in it is not listed", group);
        }
    }
}

static void act_cast(weft_ctx *ctx, struct world *world, uint32_t group) {
    static const unsigned char padding[400]; /* large ones share a buffer */
    unsigned char bytes[sizeof(padding)] = {0};
    if (world->cast_count == CASTS || world->actor_count == 0) {
        return;
    }
    uint32_t number = world->cast_count++;
    memcpy(bytes, &number, sizeof(number));
    const struct actor *except = below(world, 2) == 0 ? any_actor(world) : NULL;
    weft_broadcast what = {.struct_size = WEFT_BROADCAST_INIT,
                           .except = except != NULL ? except->pid : weft_pid_none(),
                           .tag = TAG_CAST,
                           .data = bytes,
                           .size = below(world, 2) == 0 ? sizeof(number) : sizeof(bytes)};
    char name = (char)('0' + group);
    uint64_t from = tick(world);
    int result = weft_group_broadcast(ctx, &name, 1, &what);
    int must = 0;
    int may = 0;
    for (uint32_t i = 0; i < world->actor_count; i++) {
        const struct actor *actor = &world->actors[i];
        bool meant = actor != except;
        world->casts[number].must[i] = meant && is_sure(&actor->groups[group], from);
        world->casts[number].may[i] = meant && is_maybe(&actor->groups[group], from);
        must += world->casts[number].must[i] ? 1 : 0;
        may += world->casts[number].may[i] ? 1 : 0;
    }
    if (result < must || result > may) {
        fail(world, "broadcast %u: %d, not %d to %d", number, result, must, may);
    }
    world->shared += result > 0 ? 1 : 0;
}

static void casts_check(struct world *world) {
    for (uint32_t number = 0; number < world->cast_count; number++) {
        const struct cast *cast = &world->casts[number];
        for (uint32_t i = 0; i < world->actor_count; i++) {
            if (cast->got[i] > 1) {
                fail(world, "broadcast %u came twice", number);
            }
            if (cast->got[i] != 0 && !cast->may[i]) {
                fail(world, "broadcast %u came to one who was not meant", number);
            }
            if (cast->got[i] == 0 && cast->must[i] && !world->actors[i].dying) {
                fail(world, "broadcast %u did not come", number);
            }
        }
    }
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void act_kill(weft_ctx *ctx, struct actor *actor) {
    if (actor->gone) {
        return;
    }
    actor_dies(actor);
    int result =
        below(actor->world, 2) == 0 ? weft_kill(ctx, actor->pid) : weft_stop(ctx, actor->pid, -EIO);
    if (result != 0 && result != WEFT_E_NOPROC) {
        fail(actor->world, "a kill: %d", result);
    }
}

static void act(weft_ctx *ctx, struct actor *self) {
    struct world *world = self->world;
    struct actor *actor = below(world, 3) == 0 ? self : any_actor(world);
    uint32_t name = below(world, NAMES);
    uint32_t what = below(world, 100);
    if (what < 22) {
        act_register(world, actor, name);
    } else if (what < 34) {
        act_unregister(world, name);
    } else if (what < 54) {
        act_whereis(world, name);
    } else if (what < 57) {
        act_names_of(world, actor);
    } else if (what < 72) {
        act_join(world, actor, below(world, GROUPS));
    } else if (what < 82) {
        act_leave(world, actor, below(world, GROUPS));
    } else if (what < 85) {
        act_members(world, below(world, GROUPS));
    } else if (what < 92) {
        act_cast(ctx, world, below(world, GROUPS));
    } else if (what < 96) {
        act_kill(ctx, actor);
    } else {
        (void)weft_send(ctx, world->watcher, TAG_SPAWN, NULL, 0); /* it lives as long as we do */
    }
}

static int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

static int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct actor *self = *(struct actor **)state;
    struct world *world = self->world;
    uint32_t number = 0;
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    if (weft_msg_tag(msg) == TAG_CAST) {
        world->casts[number % CASTS].got[self - world->actors]++;
        return WEFT_CONTINUE;
    }
    for (uint32_t i = 1 + below(world, 3); i > 0 && !world->failed; i--) {
        act(ctx, self);
    }
    if (number-- > 0) { /* so many times it goes on */
        (void)weft_send(ctx, any_actor(world)->pid, TAG_GO, &number, sizeof(number));
    }
    return WEFT_CONTINUE;
}

static void worker_terminate(weft_ctx *ctx, void *state, int reason) {
    struct actor *self = *(struct actor **)state;
    (void)reason;
    char name[WEFT_NAME_BYTES_MAX];
    size_t size = name_bytes(0, name);
    if (weft_name_register(weft_runtime_of(ctx), name, size, self->pid) != WEFT_E_NOPROC ||
        weft_group_join(weft_runtime_of(ctx), name, size, self->pid) != WEFT_E_NOPROC) {
        fail(self->world, "an actor that ends got a name");
    }
}

static void watcher_spawn(weft_ctx *ctx, struct world *world) {
    uint32_t living = 0;
    for (uint32_t i = 0; i < world->actor_count; i++) {
        living += world->actors[i].gone ? 0 : 1;
    }
    if (world->actor_count == ACTORS || living >= LIVING) {
        return;
    }
    struct actor *actor = &world->actors[world->actor_count];
    weft_pid pid;
    actor->world = world;
    int result = weft_spawn(ctx, world->worker, &actor, sizeof(struct actor *), &pid);
    if (result == 0) {
        actor->pid = pid;
        world->actor_count++;
        result = weft_monitor(ctx, pid, (uint64_t)(actor - world->actors), NULL);
    }
    if (result != 0) {
        fail(world, "a spawn: %d", result);
    }
}

static int watcher_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct world *world = *(struct world **)state;
    if (weft_msg_kind(msg) == WEFT_MSG_DOWN) {
        actor_gone(&world->actors[weft_msg_token(msg) % ACTORS]);
    } else {
        watcher_spawn(ctx, world);
    }
    return WEFT_CONTINUE;
}

/* ---- one seed -------------------------------------------------------------------------------- */

struct report {
    bool failed;
    uint64_t hash;
    uint64_t steps;
    uint64_t worth;
    char text[256];
};

static int world_start(struct world *world, uint64_t seed) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 1 + (uint32_t)(seed % 4),
                          .pinning = WEFT_PIN_NONE,
                          .spin_none = (seed & 8) != 0,
                          .lifo_none = (seed & 16) != 0,
                          .arena_bytes = 64 << 20,
                          .huge_pages_none = true};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "worker",
                         .state_size = sizeof(void *),
                         .init = worker_init,
                         .receive = worker_receive,
                         .terminate = worker_terminate};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &world, .arg_size = sizeof(world)};
    const weft_type *watcher = NULL;
    int status = weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime);
    status = status != 0 ? status : weft_type_register(world->runtime, &def, &world->worker);
    def.name = "watcher";
    def.receive = watcher_receive;
    def.terminate = NULL;
    status = status != 0 ? status : weft_type_register(world->runtime, &def, &watcher);
    status = status != 0 ? status : weft_runtime_start(world->runtime);
    return status != 0 ? status
                       : weft_runtime_spawn(world->runtime, watcher, &options, &world->watcher);
}

static void world_run(struct world *world) {
    if (weft_sim_run(world->sim, STEPS, UINT64_MAX, NULL, NULL) != WEFT_SIM_QUIET) {
        fail(world, "it does not come to rest");
    }
}

static void world_phase(struct world *world) {
    for (uint32_t i = 0; i < LIVING / 3; i++) {
        (void)weft_runtime_send(world->runtime, world->watcher, TAG_SPAWN, NULL, 0);
    }
    world_run(world);
    for (uint32_t i = 0; i < TOKENS && world->actor_count != 0; i++) {
        uint32_t length = 1 + below(world, 60);
        struct actor *actor = any_actor(world); /* one that has ended does not get it */
        (void)weft_runtime_send(world->runtime, actor->pid, TAG_GO, &length, sizeof(length));
    }
    world_run(world);
    casts_check(world);
}

static void world_end(struct world *world) {
    for (uint32_t i = 0; i < world->actor_count; i++) {
        actor_dies(&world->actors[i]);
        (void)weft_runtime_kill_actor(world->runtime, world->actors[i].pid); /* may be gone */
    }
    world_run(world);
    for (uint32_t i = 0; i < world->actor_count && !world->failed; i++) {
        if (!world->actors[i].gone) {
            fail(world, "a DOWN did not come");
        }
    }
    const struct weft__names *names = weft__names_of(world->runtime);
    if (names != NULL && names->count != 0) {
        fail(world, "all have ended, %u names and members are left", names->count);
    }
    if (world->failed) {
        return;
    }
    int status = weft_sim_stop(world->sim, world->runtime, STEPS);
    status = status != 0 ? status : weft_runtime_destroy(&world->runtime);
    if (status != 0) {
        fail(world, "it could not be stopped: %d", status);
    }
}

/* A failed run leaks what could not be stopped. */
static void seed_run(uint64_t seed, struct report *ret_report) {
    struct world *world = calloc(1, sizeof(*world));
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT,
                                .seed = seed,
                                .pause_percent = (seed & 32) != 0 ? 3 : 0,
                                .nest_max = (uint32_t)(seed % 4)};
    memset(ret_report, 0, sizeof(*ret_report));
    if (world == NULL || weft_sim_create(&options, &world->sim) != 0 ||
        world_start(world, seed) != 0) {
        ret_report->failed = true;
        free(world);
        return;
    }
    for (uint32_t i = 0; i < PHASES && !world->failed; i++) {
        world_phase(world);
    }
    if (!world->failed) {
        world_end(world);
    }
    ret_report->failed = world->failed;
    ret_report->hash = weft_sim_hash(world->sim);
    ret_report->steps = world->sim->steps;
    ret_report->worth = world->found * world->shared;
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
