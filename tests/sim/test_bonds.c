/* SPDX-License-Identifier: MIT
 *
 * Links and monitors, seed by seed: actors, half of them processes, some of which trap exits, link,
 * unlink, monitor, demonitor, signal, crash and kill each other at random. Whatever the seed:
 *   - a monitor tells of an end exactly once, never after it was given up, and when all is quiet
 *     every monitor that has not told is of an actor that lives;
 *   - no EXIT of a link comes after weft_unlink, unless one of the two has linked again;
 *   - when all is quiet links are mutual and between living actors.
 * BONDS_SEED=<n> in the environment runs that one only.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_run.h"
#include "sched/bonds.h"
#include "sim_internal.h"
#include <weft/sim.h>
#include <weft/weft.h>

enum {
    CASES = 6,
    SEEDS_PER_CASE = 50,
    SEEDS_TWICE = 20,
    MEMBERS = 12,
    LIVES = 64, /* of one member */
    MONITORS = 256,
    ROUNDS = 60,
    TAG_ACT = 1,
    TAG_REPORT = 2,
};

enum monitor_state { MONITOR_NONE = 0, MONITOR_ACTIVE = 1, MONITOR_TOLD = 2, MONITOR_GIVEN_UP = 3 };

struct monitor {
    enum monitor_state state;
    weft_monitor_ref ref;
    weft_pid target;
};

/* What an actor knows of itself; one per life, so nothing of another life is mixed in. */
struct member {
    struct world *world;
    uint32_t number;
    weft_pid pid;
    bool lives;
    bool reported;
    struct monitor monitors[MONITORS];
    uint32_t monitor_count;
    weft_pid linked[MEMBERS * LIVES]; /* when all is quiet */
    uint32_t linked_count;
};

struct bond { /* between two lives, one way */
    weft_pid from;
    weft_pid to;
    uint64_t linked;   /* when from has linked to last; 0: never */
    uint64_t unlinked; /* when from has unlinked to last */
};

struct world {
    uint64_t seed;
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *handler;
    const weft_type *process;
    struct member *members[MEMBERS]; /* the life of now */
    struct member *all[MEMBERS * LIVES];
    uint32_t all_count;
    struct bond *bonds;
    uint32_t bond_count;
    uint64_t clock; /* counts what is done */
    uint64_t told;
    uint64_t exits;
};

#define must(world, condition)                                                                     \
    ck_assert_msg((condition), "seed %llu: not so: %s", (unsigned long long)(world)->seed,         \
                  #condition)

static uint32_t draw(weft_ctx *ctx, uint32_t below) {
    return (uint32_t)(weft_random(ctx) % below);
}

static uint32_t world_draw(struct world *world, uint32_t below) {
    return (uint32_t)(weft_sim_random(world->sim) % below);
}

static struct bond *bond_of(struct world *world, weft_pid from, weft_pid to) {
    for (uint32_t i = 0; i < world->bond_count; i++) {
        struct bond *bond = &world->bonds[i];
        if (weft_pid_equal(bond->from, from) && weft_pid_equal(bond->to, to)) {
            return bond;
        }
    }
    if (world->bond_count % 64 == 0) {
        world->bonds = realloc(world->bonds, (world->bond_count + 64) * sizeof(*world->bonds));
        must(world, world->bonds != NULL);
    }
    struct bond *bond = &world->bonds[world->bond_count++];
    *bond = (struct bond){.from = from, .to = to};
    return bond;
}

/* ---- what members do ----------------------------------------------------------------------- */

static void monitor_somebody(weft_ctx *ctx, struct member *member, weft_pid target) {
    if (member->monitor_count == MONITORS) {
        return;
    }
    struct monitor *monitor = &member->monitors[member->monitor_count];
    must(member->world, weft_monitor(ctx, target, member->monitor_count, &monitor->ref) == 0);
    monitor->state = MONITOR_ACTIVE;
    monitor->target = target;
    member->monitor_count++;
}

static void demonitor_somebody(weft_ctx *ctx, struct member *member) {
    if (member->monitor_count == 0) {
        return;
    }
    struct monitor *monitor = &member->monitors[draw(ctx, member->monitor_count)];
    bool gone = weft_demonitor(ctx, monitor->ref);
    must(member->world, gone == (monitor->state == MONITOR_ACTIVE));
    if (gone) {
        monitor->state = MONITOR_GIVEN_UP;
    }
}

static void link_somebody(weft_ctx *ctx, struct member *member, weft_pid target) {
    must(member->world, weft_link(ctx, target) == 0);
    bond_of(member->world, member->pid, target)->linked = ++member->world->clock;
}

static void unlink_somebody(weft_ctx *ctx, struct member *member, weft_pid target) {
    must(member->world, weft_unlink(ctx, target) == 0);
    bond_of(member->world, member->pid, target)->unlinked = ++member->world->clock;
}

static int member_acts(weft_ctx *ctx, struct member *member) {
    struct world *world = member->world;
    uint32_t which = draw(ctx, world->all_count);
    weft_pid target = draw(ctx, 4) == 0 ? world->all[which]->pid /* perhaps a former life */
                                        : world->members[draw(ctx, MEMBERS)]->pid;
    weft_reason reason = {.code = -EIO, .data = "reason", .size = draw(ctx, 7)};
    switch (draw(ctx, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        link_somebody(ctx, member, target);
        break;
    case 4:
    case 5:
        unlink_somebody(ctx, member, target);
        break;
    case 6:
    case 7:
    case 8:
        monitor_somebody(ctx, member, target);
        break;
    case 9:
        demonitor_somebody(ctx, member);
        break;
    case 10:
        reason.code = draw(ctx, 2) == 0 ? 0 : -EIO;
        if (!weft_pid_equal(target, member->pid)) {
            (void)weft_exit_signal(ctx, target, &reason); /* it may be gone */
        }
        break;
    case 11:
        return draw(ctx, 4) == 0 ? -EIO : WEFT_CONTINUE;
    case 12:
        if (draw(ctx, 4) == 0) {
            weft_exit_with(ctx, &reason);
        }
        break;
    case 13:
        if (draw(ctx, 4) == 0) {
            (void)weft_kill(ctx, target); /* it may be gone */
        }
        break;
    case 14:
        (void)weft_trap_exit(ctx, draw(ctx, 2) == 0);
        break;
    default:
        return draw(ctx, 8) == 0 ? WEFT_STOP : WEFT_CONTINUE;
    }
    return WEFT_CONTINUE;
}

/* ---- what members are told ----------------------------------------------------------------- */

static void member_hears_down(weft_ctx *ctx, struct member *member, const weft_msg *msg) {
    struct world *world = member->world;
    must(world, weft_msg_token(msg) < member->monitor_count);
    struct monitor *monitor = &member->monitors[weft_msg_token(msg)];
    must(world, monitor->state == MONITOR_ACTIVE);
    must(world, weft_pid_equal(weft_sender(ctx, msg), monitor->target));
    weft_reason reason;
    must(world, weft_msg_reason(ctx, msg, &reason));
    must(world, reason.size <= 6 && (reason.size == 0 || reason.code == -EIO));
    must(world, reason.size == 0 || memcmp(reason.data, "reason", reason.size) == 0);
    monitor->state = MONITOR_TOLD;
    world->told++;
}

static void member_hears_exit(weft_ctx *ctx, struct member *member, const weft_msg *msg) {
    struct world *world = member->world;
    weft_pid other = weft_sender(ctx, msg);
    world->exits++;
    if (msg->weft__u.weft__r.weft__ref != WEFT__EXIT_LINK) {
        return;
    }
    const struct bond mine = *bond_of(world, member->pid, other);
    const struct bond theirs = *bond_of(world, other, member->pid);
    uint64_t linked = mine.linked > theirs.linked ? mine.linked : theirs.linked;
    must(world, linked > mine.unlinked);
}

static void member_reports(weft_ctx *ctx, struct member *member) {
    member->linked_count = weft_links(ctx, member->linked, MEMBERS * LIVES);
    member->reported = true;
}

static int member_handles(weft_ctx *ctx, struct member *member, weft_msg *msg) {
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
        if (weft_msg_tag(msg) == TAG_REPORT) {
            member_reports(ctx, member);
            return WEFT_CONTINUE;
        }
        return member_acts(ctx, member);
    case WEFT_MSG_DOWN:
        member_hears_down(ctx, member, msg);
        return WEFT_CONTINUE;
    case WEFT_MSG_EXIT:
        member_hears_exit(ctx, member, msg);
        return WEFT_CONTINUE;
    default:
        must(member->world, false);
        return WEFT_CONTINUE;
    }
}

static void member_is_gone(void *arg) {
    struct member *member = arg;
    must(member->world, member->lives);
    member->lives = false;
}

static int member_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    memcpy(state, arg, arg_size);
    struct member *member = *(struct member **)state;
    (void)weft_trap_exit(ctx, draw(ctx, 2) == 0);
    return weft_defer(ctx, member_is_gone, member);
}

static int member_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    return member_handles(ctx, *(struct member **)state, msg);
}

static bool is_odd(const weft_msg *msg, void *arg) {
    (void)arg;
    return weft_msg_kind(msg) == WEFT_MSG_DOWN;
}

static int member_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct member *member = *(struct member **)state;
    (void)arg;
    (void)arg_size;
    for (;;) { /* until it ends */
        weft_msg *msg;
        int result = weft_receive(ctx, WEFT_FOREVER, &msg);
        must(member->world, result == 0);
        result = member_handles(ctx, member, msg);
        if (result != WEFT_CONTINUE) {
            return result;
        }
        if (draw(ctx, 8) == 0) { /* others are put aside meanwhile */
            result = weft_receive_match(ctx, draw(ctx, 3) * 5000, is_odd, NULL, &msg);
            if (result == 0) {
                member_hears_down(ctx, member, msg);
            }
        }
    }
}

/* ---- worlds -------------------------------------------------------------------------------- */

static void member_spawn(struct world *world, uint32_t number) {
    struct member *member = calloc(1, sizeof(*member));
    must(world, member != NULL && world->all_count < MEMBERS * LIVES);
    *member = (struct member){.world = world, .number = number, .lives = true};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &member,
                                  .arg_size = sizeof(struct member *)};
    const weft_type *type = number % 2 == 0 ? world->handler : world->process;
    must(world, weft_runtime_spawn(world->runtime, type, &options, &member->pid) == 0);
    world->members[number] = member;
    world->all[world->all_count++] = member;
}

static void world_start(struct world *world, uint64_t seed) {
    world->seed = seed;
    weft_sim_options options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT, .seed = seed, .nest_max = 3, .pause_percent = 2};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 1 + (uint32_t)(seed % 4)};
    must(world, weft_sim_create(&options, &world->sim) == 0);
    must(world, weft_runtime_create_env(&config, weft_sim_env(world->sim), &world->runtime) == 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "handler",
                         .state_size = sizeof(struct member *),
                         .init = member_init,
                         .receive = member_receive};
    must(world, weft_type_register(world->runtime, &def, &world->handler) == 0);
    def.name = "process";
    def.receive = NULL;
    def.process = member_process;
    must(world, weft_type_register(world->runtime, &def, &world->process) == 0);
    must(world, weft_runtime_start(world->runtime) == 0);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        member_spawn(world, i);
    }
}

static void world_tell(struct world *world, uint32_t tag) {
    for (uint32_t i = 0; i < MEMBERS; i++) {
        (void)weft_runtime_send(world->runtime, world->members[i]->pid, tag, NULL, 0);
    }
}

static struct member *life_of(struct world *world, weft_pid pid) {
    for (uint32_t i = 0; i < world->all_count; i++) {
        if (weft_pid_equal(world->all[i]->pid, pid)) {
            return world->all[i];
        }
    }
    must(world, false);
    return NULL;
}

static bool has_link(const struct member *member, weft_pid pid) {
    for (uint32_t i = 0; i < member->linked_count; i++) {
        if (weft_pid_equal(member->linked[i], pid)) {
            return true;
        }
    }
    return false;
}

/* Nothing is under way any more. */
static void world_check(struct world *world) {
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct member *member = world->members[i];
        if (!member->lives) {
            continue;
        }
        must(world, member->reported);
        for (uint32_t k = 0; k < member->linked_count; k++) {
            const struct member *other = life_of(world, member->linked[k]);
            must(world, other->lives && has_link(other, member->pid));
        }
        for (uint32_t k = 0; k < member->monitor_count; k++) {
            bool waits = member->monitors[k].state == MONITOR_ACTIVE;
            must(world, !waits || life_of(world, member->monitors[k].target)->lives);
        }
    }
}

static void world_end(struct world *world) {
    must(world, weft_sim_stop(world->sim, world->runtime, 1000000) == 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    must(world, weft_gauges_read(world->runtime, &gauges) == 0);
    must(world, gauges.actors == 0 && gauges.messages == 0);
    must(world, gauges.timers == 0 && gauges.buffers == 0);
    must(world, weft_runtime_destroy(&world->runtime) == 0);
    weft_sim_destroy(&world->sim);
    for (uint32_t i = 0; i < world->all_count; i++) {
        must(world, !world->all[i]->lives);
        free(world->all[i]);
    }
    free(world->bonds);
}

static uint64_t seed_run(uint64_t seed) {
    struct world *world = calloc(1, sizeof(*world));
    ck_assert(world != NULL);
    world_start(world, seed);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        world_tell(world, TAG_ACT);
        (void)weft_sim_run(world->sim, 1 + world_draw(world, 300), UINT64_MAX, NULL, NULL);
        for (uint32_t i = 0; i < MEMBERS; i++) {
            if (!world->members[i]->lives && world->all_count < MEMBERS * LIVES) {
                member_spawn(world, i);
            }
        }
    }
    /* twice: what the first settles may still be told of */
    must(world, weft_sim_run(world->sim, 1000000, UINT64_MAX, NULL, NULL) == WEFT_SIM_QUIET);
    world_tell(world, TAG_REPORT);
    must(world, weft_sim_run(world->sim, 1000000, UINT64_MAX, NULL, NULL) == WEFT_SIM_QUIET);
    world_check(world);
    must(world, world->told > 0 && world->exits > 0);
    uint64_t hash = weft_sim_hash(world->sim);
    world_end(world);
    free(world);
    return hash;
}

START_TEST(test_links_and_monitors_tell_once_whatever_the_seed) {
    const char *only = getenv("BONDS_SEED");
    if (only != NULL) {
        (void)seed_run(strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t i = 0; i < SEEDS_PER_CASE; i++) {
        (void)seed_run(50000 + (uint64_t)_i * SEEDS_PER_CASE + i);
    }
}
END_TEST

START_TEST(test_a_seed_always_gives_the_same_run) {
    check_repeats(seed_run, SEEDS_TWICE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("bonds");
    TCase *tcase = tcase_create("seeds");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, test_links_and_monitors_tell_once_whatever_the_seed, 0, CASES);
    tcase_add_test(tcase, test_a_seed_always_gives_the_same_run);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
