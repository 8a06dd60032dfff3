/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: passivation. By idle time, by number and by bytes, on demand; what keeps an
 * actor from it; who is chosen. Types here save nothing: a passivated actor begins afresh. With
 * saving: test_virtual_save.c.
 */
#include "tests/unit/virtual_support.h"

enum { NAME_BYTES = 24 };

static void name_of(char *name, uint64_t number) {
    (void)snprintf(name, NAME_BYTES, "%llu", (unsigned long long)number);
}

static struct view ask_number(struct vrig *vrig, uint64_t id, uint32_t tag, uint64_t number) {
    char name[NAME_BYTES];
    name_of(name, id);
    return ask(vrig, name, tag, number);
}

static bool number_is_active(struct vrig *vrig, uint64_t id) {
    char name[NAME_BYTES];
    name_of(name, id);
    return is_active(vrig, name);
}

/* ---- idle time ------------------------------------------------------------------------------- */

/* The clock of a turn is old when its thread had to wait for a processor in the middle of it. */
enum { IDLE_MS = 200, SLACK_MS = IDLE_MS / 2 };

START_TEST(an_idle_actor_is_passivated_soon_after_its_time_and_not_before) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = IDLE_MS * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    struct view before[20];
    for (uint32_t i = 0; i < 20; i++) {
        before[i] = ask_number(&vrig, i, TAG_SET, 5);
        sleep_ns(MS_NS);
    }
    eventually(vrig_count(&vrig) == 0);
    for (uint32_t i = 0; i < 20; i++) {
        struct end end = end_at(i);
        ck_assert_int_eq(end.reason, 0);
        ck_assert_uint_ge(end.quiet_ns, (IDLE_MS - SLACK_MS) * MS_NS);
        ck_assert_uint_lt(end.quiet_ns, SOON_NS);
        struct view after = ask_number(&vrig, i, TAG_GET, 0);
        ck_assert_uint_eq(after.value, 0);
        ck_assert(!weft_pid_equal(after.pid, before[i].pid));
        ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, before[i].pid, 1, NULL, 0),
                         WEFT_E_NOPROC);
    }
    ck_assert_uint_eq(rig_stats(&vrig.rig).crashes, 0);
    vrig_stop(&vrig);
}
END_TEST

/* How it is kept alive. */
enum { BY_CALL, BY_CAST, BY_PID, BY_CALLING_PID, ALIVE_WAYS };

static void touch(struct vrig *vrig, int way, weft_pid pid) {
    weft_msg *reply = NULL;
    switch (way) {
    case BY_CALL:
        (void)ask(vrig, "a", TAG_GET, 0);
        break;
    case BY_CAST:
        (void)tell(vrig, "a", TAG_GET, 0);
        break;
    case BY_PID:
        (void)weft_runtime_send(vrig->rig.runtime, pid, TAG_GET, NULL, 0);
        break;
    default:
        if (weft_runtime_call(vrig->rig.runtime, pid, TAG_GET, NULL, 0, SOON_NS, &reply) == 0) {
            weft_runtime_msg_release(vrig->rig.runtime, &reply);
        }
        break;
    }
}

/* A busy machine may let the actor be idle really: then it is tried again. */
START_TEST(messages_that_come_often_keep_an_actor_alive) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = 400 * MS_NS;
    struct vrig vrig = vrig_start_def(2, &def);
    bool done = false;
    for (uint32_t attempt = 0; attempt < 5 && !done; attempt++) {
        struct view first = ask(&vrig, "a", TAG_GET, 0);
        uint64_t last_ns = clock_ns();
        uint64_t gap_ns = 0;
        uint64_t until_ns = last_ns + 1500 * MS_NS;
        while (clock_ns() < until_ns) {
            sleep_ns(5 * MS_NS);
            touch(&vrig, _i, first.pid);
            uint64_t gap = clock_ns() - last_ns;
            gap_ns = gap > gap_ns ? gap : gap_ns;
            last_ns += gap;
        }
        struct view last = ask(&vrig, "a", TAG_GET, 0);
        done = gap_ns < 150 * MS_NS && clock_ns() - last_ns < 150 * MS_NS;
        if (done) {
            ck_assert(weft_pid_equal(last.pid, first.pid));
            ck_assert_uint_gt(last.handled, 10);
        }
    }
    eventually(vrig_count(&vrig) == 0); /* and not for ever */
    vrig_stop(&vrig);
}
END_TEST

START_TEST(the_configured_idle_time_is_for_types_that_name_none) {
    weft_config config = rig_config(schedulers_of(_i));
    ck_assert_int_eq(weft_config_set(&config, "shard.idle", "50ms", NULL, 0), 0);
    weft_type_def def = cell_def("cell");
    struct vrig vrig = vrig_start_config(&config, &def);
    def = cell_def("never");
    def.idle_ns = WEFT_IDLE_NEVER;
    const weft_type *never = rig_type(&vrig.rig, &def);
    def = cell_def("long");
    def.idle_ns = 3600 * S_NS;
    const weft_type *longer = rig_type(&vrig.rig, &def);
    (void)ask(&vrig, "a", TAG_GET, 0);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    request.type = never;
    ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    request.type = longer;
    ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    eventually(!is_active(&vrig, "a"));
    sleep_ns(200 * MS_NS);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, never), 1);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, longer), 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(without_a_policy_nobody_is_passivated) {
    struct vrig vrig = vrig_start(1);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)ask_number(&vrig, i, TAG_GET, 0);
    }
    sleep_ns(300 * MS_NS);
    ck_assert_uint_eq(vrig_count(&vrig), 1000);
    ck_assert_uint_eq(atomic_load(&world.deaths), 0);
    vrig_stop(&vrig);
}
END_TEST

/* A type's policies are for its virtual actors. */
START_TEST(an_actor_that_was_spawned_is_not_passivated) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = 20 * MS_NS;
    def.active_max = 1;
    def.active_bytes_max = 1;
    struct vrig vrig = vrig_start_def(1, &def);
    weft_pid pids[5];
    for (uint32_t i = 0; i < 5; i++) {
        pids[i] = rig_spawn_type(&vrig.rig, vrig.cell, NULL);
    }
    (void)ask(&vrig, "a", TAG_GET, 0);
    eventually(!is_active(&vrig, "a"));
    sleep_ns(100 * MS_NS);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert(is_alive(&vrig.rig, pids[i]));
    }
    vrig_stop(&vrig);
}
END_TEST

START_TEST(many_idle_actors_all_go_and_come_back) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = 50 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    enum { MANY = 20000 };
    for (uint64_t round = 1; round <= 2; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            char name[NAME_BYTES];
            name_of(name, i);
            (void)tell(&vrig, name, TAG_GET, 0);
        }
        eventually(atomic_load(&world.handled) == round * MANY);
        eventually(vrig_count(&vrig) == 0);
    }
    eventually(atomic_load(&world.births) == atomic_load(&world.deaths));
    ck_assert_uint_ge(atomic_load(&world.births), 2 * MANY);
    vrig_stop(&vrig);
}
END_TEST

/* ---- what keeps an actor ---------------------------------------------------------------------- */

enum { KEPT_BY_TIMER, KEPT_BY_CALL, KEPT_BY_REQUEST, KEPT_BY_WORK, KEPT_WAYS };

/* What an actor has under way until it is let go. */
struct kept {
    struct vrig *vrig;
    weft_timer timer;
    _Atomic bool released;
    struct probe caller;
    weft_pid puppet;
    struct probe silent;
    weft_pid callee;
};

static int take_it(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    probe->user = weft_msg_take(ctx, msg);
    return WEFT_CONTINUE;
}

static void answer_it(weft_ctx *ctx, void *arg) {
    weft_msg *request = ((struct probe *)arg)->user;
    ck_assert_int_eq(weft_reply(ctx, &request, 1, NULL, 0), 0);
}

static void start_long_timer(weft_ctx *ctx, void *arg) {
    struct kept *kept = arg;
    ck_assert_int_eq(weft_timer_start(ctx, 3600 * S_NS, TAG_TIMER, 1, &kept->timer), 0);
}

static void start_short_timer(weft_ctx *ctx, void *arg) {
    const struct kept *kept = arg;
    ck_assert(weft_timer_cancel(ctx, kept->timer));
    ck_assert_int_eq(weft_timer_start(ctx, MS_NS, TAG_TIMER, 1, NULL), 0);
}

static int work_until_released(void *arg) {
    while (!atomic_load(&((struct kept *)arg)->released)) {
        sleep_ns(100000);
    }
    return 0;
}

static void start_work(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_blocking(ctx, work_until_released, arg, 1), 0);
}

static void keep(struct kept *kept, struct vrig *vrig, int way) {
    *kept = (struct kept){.vrig = vrig, .caller = PROBE_INIT, .silent = PROBE_INIT};
    kept->silent.handler = take_it;
    kept->puppet = rig_spawn(&vrig->rig, &kept->caller);
    kept->callee = rig_spawn(&vrig->rig, &kept->silent);
    weft_vrequest request = message(vrig, "a", TAG_LISTEN_HERE, NULL);
    switch (way) {
    case KEPT_BY_TIMER:
        act_in(vrig, "a", start_long_timer, kept);
        break;
    case KEPT_BY_CALL:
        request.payload = &kept->callee;
        request.payload_size = sizeof(kept->callee);
        ck_assert_int_eq(try_request(vrig, &request, NULL), 0);
        break;
    case KEPT_BY_REQUEST:
        request.tag = TAG_HOLD;
        (void)puppet_ask(vrig, kept->puppet, &request, 1);
        (void)ask(vrig, "a", TAG_GET, 0);
        break;
    default:
        act_in(vrig, "a", start_work, kept);
        break;
    }
}

static void let_go(struct kept *kept, int way) {
    switch (way) {
    case KEPT_BY_TIMER:
        act_in(kept->vrig, "a", start_short_timer, kept);
        break;
    case KEPT_BY_CALL:
        eventually(probe_count(&kept->silent) == 1);
        act(&kept->vrig->rig, kept->callee, answer_it, &kept->silent);
        break;
    case KEPT_BY_REQUEST:
        (void)tell(kept->vrig, "a", TAG_LET_GO, 0);
        break;
    default:
        atomic_store(&kept->released, true);
        break;
    }
}

START_TEST(an_actor_with_something_under_way_is_not_idle) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = 30 * MS_NS;
    struct vrig vrig = vrig_start_def(2, &def);
    static struct kept kept;
    keep(&kept, &vrig, _i);
    sleep_ns(150 * MS_NS);
    ck_assert(is_active(&vrig, "a"));
    let_go(&kept, _i);
    eventually(!is_active(&vrig, "a"));
    ck_assert_int_eq(end_at(0).reason, 0);
    ck_assert_uint_eq(atomic_load(&world.timers), _i == KEPT_BY_TIMER);
    ck_assert_uint_eq(atomic_load(&world.works), _i == KEPT_BY_WORK);
    ck_assert_uint_eq(atomic_load(&world.replies), _i == KEPT_BY_CALL);
    if (_i == KEPT_BY_REQUEST) {
        ck_assert_int_eq(reply_at(&kept.caller, 0).status, 0);
    }
    vrig_stop(&vrig);
    probe_fini(&kept.caller);
    probe_fini(&kept.silent);
}
END_TEST

START_TEST(asking_an_actor_that_is_not_idle_changes_nothing) {
    struct vrig vrig = vrig_start(2);
    static struct kept kept;
    keep(&kept, &vrig, _i);
    (void)ask(&vrig, "a", TAG_SET, 8);
    (void)ask(&vrig, "a", TAG_PASSIVATE, 0);
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), 0);
    settle(&vrig.rig, view.pid);
    let_go(&kept, _i);
    eventually(atomic_load(&world.timers) + atomic_load(&world.works) +
                   atomic_load(&world.replies) + probe_count(&kept.caller) ==
               1);
    sleep_ns(30 * MS_NS);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 8); /* nor later */
    ck_assert(weft_pid_equal(after.pid, view.pid));
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), 0);
    eventually(!is_active(&vrig, "a")); /* but when it is asked again */
    vrig_stop(&vrig);
    probe_fini(&kept.caller);
    probe_fini(&kept.silent);
}
END_TEST

START_TEST(an_actor_with_messages_waiting_is_not_idle) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct view before = ask(&vrig, "a", TAG_SET, 1);
    (void)tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    (void)tell(&vrig, "a", TAG_PASSIVATE, 0);
    for (uint32_t i = 0; i < 10; i++) {
        (void)tell(&vrig, "a", TAG_ADD, 1);
    }
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, before.pid), 0);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    if (_i > 0) { /* a thread is free for it */
        (void)puppet_tell(&vrig, puppet, &request);
    }
    (void)tell(&vrig, "a", TAG_ADD, 1);
    atomic_store(&world.gate, 1);
    /* One activation handles them all; what it asked for itself may have come behind them. */
    eventually(atomic_load(&world.handled) >= 14);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    bool stayed = weft_pid_equal(after.pid, before.pid);
    ck_assert_uint_eq(after.value, stayed ? 12 : 0);
    ck_assert_uint_eq(after.birth, stayed ? 1 : 2);
    vrig_stop(&vrig);
}
END_TEST

/* ---- on demand ------------------------------------------------------------------------------- */

START_TEST(an_idle_actor_that_is_asked_goes) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint64_t i = 0; i < 100; i++) {
        struct view view = ask(&vrig, "a", i % 2 == 0 ? TAG_PASSIVATE : TAG_GET, 0);
        ck_assert_uint_eq(view.birth, i + 1);
        if (i % 2 == 1) {
            ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), 0);
        }
        eventually(!is_active(&vrig, "a"));
        ck_assert_int_eq(end_at((uint32_t)i).reason, 0);
        ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), WEFT_E_NOPROC);
    }
    vrig_stop(&vrig);
}
END_TEST

START_TEST(keeping_alive_is_against_idle_time_until_it_is_off) {
    weft_type_def def = cell_def("cell");
    def.idle_ns = 30 * MS_NS;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    struct view before = ask(&vrig, "a", TAG_KEEP, 1);
    (void)ask(&vrig, "b", TAG_GET, 0);
    eventually(!is_active(&vrig, "b"));
    sleep_ns(150 * MS_NS);
    ck_assert(weft_pid_equal(ask(&vrig, "a", TAG_GET, 0).pid, before.pid));
    (void)ask(&vrig, "a", TAG_KEEP, 1); /* once is enough to undo it */
    (void)ask(&vrig, "a", TAG_KEEP, 0);
    eventually(!is_active(&vrig, "a"));
    struct view after = ask(&vrig, "a", TAG_KEEP, 1);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, after.pid), 0);
    eventually(!is_active(&vrig, "a")); /* not against who asks */
    vrig_stop(&vrig);
}
END_TEST

/* ---- by number ------------------------------------------------------------------------------- */

enum { ACTIVE_MAX = 10 };

static struct vrig start_bounded(int number) {
    weft_type_def def = cell_def("cell");
    def.active_max = ACTIVE_MAX;
    return vrig_start_def(schedulers_of(number), &def);
}

static void end_is(uint32_t index, uint64_t number) {
    char name[NAME_BYTES];
    name_of(name, number);
    struct end end = end_at(index);
    ck_assert_msg(strcmp(end.id, name) == 0, "end %u: %s, not %s", index, end.id, name);
    ck_assert_int_eq(end.reason, 0);
}

START_TEST(above_the_number_the_least_recently_used_goes) {
    struct vrig vrig = start_bounded(_i);
    for (uint64_t i = 0; i < ACTIVE_MAX; i++) {
        (void)ask_number(&vrig, i, TAG_GET, 0);
        sleep_ns(3 * MS_NS);
    }
    ck_assert_uint_eq(vrig_count(&vrig), ACTIVE_MAX); /* so many may stay */
    for (uint64_t i = 0; i < ACTIVE_MAX; i += 2) {
        (void)ask_number(&vrig, i, TAG_GET, 0); /* used again, from the oldest on */
        sleep_ns(3 * MS_NS);
    }
    static const uint64_t order[] = {1, 3, 5, 7, 9, 0, 2, 4, 6, 8, 100, 101, 102};
    for (uint32_t i = 0; i < 13; i++) {
        (void)ask_number(&vrig, 100 + i, TAG_GET, 0);
        eventually(vrig_count(&vrig) == ACTIVE_MAX);
        end_is(i, order[i]);
        ck_assert(number_is_active(&vrig, 100 + i));
        sleep_ns(3 * MS_NS);
    }
    ck_assert_uint_eq(world_ends(), 13);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(messages_by_pid_are_a_use) {
    struct vrig vrig = start_bounded(_i);
    weft_pid first = weft_pid_none();
    for (uint64_t i = 0; i < ACTIVE_MAX; i++) {
        struct view view = ask_number(&vrig, i, TAG_GET, 0);
        first = i == 0 ? view.pid : first;
        sleep_ns(3 * MS_NS);
    }
    settle(&vrig.rig, first);
    sleep_ns(3 * MS_NS);
    (void)ask_number(&vrig, 100, TAG_GET, 0);
    eventually(vrig_count(&vrig) == ACTIVE_MAX);
    end_is(0, 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(those_that_are_busy_or_kept_alive_are_passed_over) {
    struct vrig vrig = start_bounded(_i);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_vrequest hold = message(&vrig, "0", TAG_HOLD, NULL);
    (void)puppet_ask(&vrig, puppet, &hold, 1);
    (void)ask_number(&vrig, 0, TAG_GET, 0);
    for (uint64_t i = 1; i < ACTIVE_MAX; i++) {
        sleep_ns(3 * MS_NS);
        (void)ask_number(&vrig, i, i == 1 ? TAG_KEEP : i == 2 ? TAG_TIMER : TAG_GET, 3600 * S_NS);
    }
    for (uint32_t i = 0; i < 7; i++) {
        sleep_ns(3 * MS_NS);
        (void)ask_number(&vrig, 100 + i, TAG_GET, 0);
        eventually(vrig_count(&vrig) == ACTIVE_MAX);
        end_is(i, 3 + i);
    }
    ck_assert_uint_eq(probe_count(&probe), 0);
    (void)ask_number(&vrig, 0, TAG_LET_GO, 0);
    ck_assert_int_eq(reply_at(&probe, 0).status, 0);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(when_nobody_can_go_there_are_more_than_the_number) {
    struct vrig vrig = start_bounded(_i);
    for (uint64_t i = 0; i < 3 * ACTIVE_MAX; i++) {
        ck_assert_uint_eq(ask_number(&vrig, i, TAG_KEEP, 1).birth, i + 1);
    }
    ck_assert_uint_eq(vrig_count(&vrig), 3 * ACTIVE_MAX);
    for (uint64_t i = 0; i < 3 * ACTIVE_MAX; i++) {
        ck_assert_uint_eq(ask_number(&vrig, i, TAG_GET, 0).birth, i + 1);
    }
    for (uint64_t i = 0; i < 3 * ACTIVE_MAX; i++) {
        (void)ask_number(&vrig, i, TAG_KEEP, 0);
    }
    (void)ask_number(&vrig, 1000, TAG_GET, 0);
    eventually(vrig_count(&vrig) <= ACTIVE_MAX); /* it is made up for */
    vrig_stop(&vrig);
}
END_TEST

START_TEST(the_number_is_that_of_a_type) {
    struct vrig vrig = start_bounded(_i);
    weft_type_def def = cell_def("other");
    const weft_type *other = rig_type(&vrig.rig, &def);
    const weft_capability *game = vrig_capability(&vrig, "game");
    for (uint64_t i = 0; i < 3 * ACTIVE_MAX; i++) {
        char name[NAME_BYTES];
        name_of(name, i);
        weft_vrequest request = message(&vrig, name, TAG_GET, NULL);
        request.type = other;
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
        request.type = vrig.cell;
        request.capability = i % 2 == 0 ? vrig.chat : game; /* of all capabilities */
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    }
    eventually(weft_virtual_count(vrig.rig.runtime, vrig.cell) == ACTIVE_MAX);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, other), 3 * ACTIVE_MAX);
    vrig_stop(&vrig);
}
END_TEST

/* Exact also for limits that are not small, to the millisecond. */
START_TEST(of_many_only_those_go_that_were_not_used) {
    enum { MANY = 5000, ADDED = 1000 };
    weft_type_def def = cell_def("cell");
    def.active_max = MANY;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    char name[NAME_BYTES];
    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint64_t i = turn; i < MANY; i += 1 + turn) { /* all; then the odd ones */
            name_of(name, i);
            (void)tell(&vrig, name, TAG_GET, 0);
        }
        eventually(atomic_load(&world.handled) == MANY + turn * MANY / 2);
        sleep_ns(20 * MS_NS);
    }
    for (uint64_t i = 0; i < ADDED; i++) {
        (void)ask_number(&vrig, MANY + i, TAG_GET, 0);
    }
    eventually(vrig_count(&vrig) == MANY);
    eventually(world_ends() == ADDED);
    for (uint32_t i = 0; i < ADDED; i++) {
        uint64_t number = strtoull(end_at(i).id, NULL, 10);
        ck_assert_uint_lt(number, MANY);
        ck_assert_uint_eq(number % 2, 0);
    }
    vrig_stop(&vrig);
}
END_TEST

/* Far more addresses than may be active, from several actors at once. */
struct thrash {
    struct vrig *vrig;
    _Atomic uint64_t answers;
};
static struct thrash thrash;
enum { THRASHERS = 8, THRASH_CALLS = 2000 };

static int thrasher_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t *made = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        ck_assert_int_eq(weft_msg_status(msg), 0);
        atomic_fetch_add(&thrash.answers, 1);
    }
    for (uint32_t i = 0; i < (weft_msg_kind(msg) == WEFT_MSG_USER ? 16 : 1); i++) {
        if (*made < THRASH_CALLS) {
            ++*made;
            char name[NAME_BYTES];
            name_of(name, weft_random(ctx) % 500);
            weft_vrequest request = message(thrash.vrig, name, TAG_GET, NULL);
            ck_assert_int_eq(weft_vcall(ctx, &request, *made, NULL), 0);
        }
    }
    return WEFT_CONTINUE;
}

START_TEST(a_number_that_is_far_too_small_loses_no_call) {
    struct vrig vrig = start_bounded(_i);
    thrash.vrig = &vrig;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "thrasher",
                         .state_size = sizeof(uint64_t),
                         .receive = thrasher_receive};
    const weft_type *type = rig_type(&vrig.rig, &def);
    for (uint32_t i = 0; i < THRASHERS; i++) {
        weft_pid pid = rig_spawn_type(&vrig.rig, type, NULL);
        ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pid, 1, NULL, 0), 0);
    }
    eventually(atomic_load(&thrash.answers) == THRASHERS * THRASH_CALLS);
    eventually(vrig_count(&vrig) <= ACTIVE_MAX);
    ck_assert_uint_eq(atomic_load(&world.handled), THRASHERS * THRASH_CALLS);
    vrig_stop(&vrig);
}
END_TEST

/* ---- by bytes -------------------------------------------------------------------------------- */

enum { KILO = 1000, BYTES_MAX = 1000 * KILO };

static struct vrig start_weighed(int number) {
    weft_type_def def = cell_def("cell");
    def.active_bytes_max = BYTES_MAX;
    return vrig_start_def(schedulers_of(number), &def);
}

START_TEST(above_the_bytes_the_least_recently_used_goes) {
    struct vrig vrig = start_weighed(_i);
    for (uint64_t i = 0; i < 9; i++) {
        (void)ask_number(&vrig, i, TAG_ACCOUNT, 100 * KILO);
        sleep_ns(3 * MS_NS);
    }
    (void)ask_number(&vrig, 0, TAG_GET, 0);
    sleep_ns(3 * MS_NS);
    ck_assert_uint_eq(vrig_count(&vrig), 9);
    (void)ask_number(&vrig, 9, TAG_ACCOUNT, 150 * KILO); /* one has to go */
    eventually(vrig_count(&vrig) == 9);
    end_is(0, 1);
    sleep_ns(3 * MS_NS);
    (void)ask_number(&vrig, 9, TAG_ACCOUNT, 350 * KILO); /* grown: two more */
    eventually(vrig_count(&vrig) == 7);
    ck_assert(!number_is_active(&vrig, 2) && !number_is_active(&vrig, 3));
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(vrig_count(&vrig), 7); /* 6 * 100 + 350 and small change */
    vrig_stop(&vrig);
}
END_TEST

START_TEST(what_is_said_about_bytes_replaces_what_was_said) {
    struct vrig vrig = start_weighed(_i);
    for (uint32_t round = 0; round < 50; round++) {
        for (uint64_t i = 0; i < 5; i++) {
            struct view view = ask_number(&vrig, i, TAG_ACCOUNT, (100 + round) * KILO);
            ck_assert_uint_eq(view.birth, i + 1);
            weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
            char id[8];
            ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, view.pid, id, 8, &entry), 0);
            ck_assert_uint_ge(entry.bytes, (100 + round) * KILO + sizeof(struct cell));
            ck_assert_uint_lt(entry.bytes, (100 + round) * KILO + 2 * KILO);
        }
    }
    for (uint64_t i = 0; i < 5; i++) {
        (void)ask_number(&vrig, i, TAG_ACCOUNT, 0);
    }
    for (uint64_t i = 5; i < 13; i++) { /* there is room for these again */
        ck_assert_uint_eq(ask_number(&vrig, i, TAG_ACCOUNT, 120 * KILO).birth, i + 1);
    }
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(vrig_count(&vrig), 13);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(bytes_of_states_count_and_those_of_who_has_gone_do_not) {
    weft_type_def def = cell_def("cell");
    def.state_size = 50 * KILO;
    def.active_bytes_max = BYTES_MAX;
    struct vrig vrig = vrig_start_def(schedulers_of(_i), &def);
    for (uint64_t i = 0; i < 200; i++) {
        (void)ask_number(&vrig, i, TAG_GET, 0);
    }
    eventually(vrig_count(&vrig) <= 20);
    ck_assert_uint_ge(vrig_count(&vrig), 18);
    for (uint64_t i = 199; i > 190; i--) {
        ck_assert_uint_eq(ask_number(&vrig, i, TAG_GET, 0).birth, i + 1);
    }
    vrig_stop(&vrig);
}
END_TEST

START_TEST(an_actor_that_alone_is_too_large_still_answers) {
    struct vrig vrig = start_weighed(_i);
    for (uint32_t i = 0; i < 50; i++) {
        (void)ask(&vrig, "large", TAG_ACCOUNT, 2 * BYTES_MAX);
        (void)ask(&vrig, "small", TAG_ACCOUNT, 10);
    }
    (void)ask(&vrig, "large", TAG_ACCOUNT, UINT64_MAX); /* and breaks no sum */
    (void)ask(&vrig, "huge", TAG_ACCOUNT, UINT64_MAX);
    (void)ask(&vrig, "small", TAG_GET, 0);
    vrig_stop(&vrig);
}
END_TEST

/* ---- actor.max ------------------------------------------------------------------------------- */

START_TEST(no_more_are_activated_than_the_runtime_may_have) {
    weft_config config = rig_config(1);
    config.actors_max = 100;
    weft_type_def def = cell_def("cell");
    struct vrig vrig = vrig_start_config(&config, &def);
    uint64_t made = 0;
    int result = 0;
    while (result == 0) {
        char name[NAME_BYTES];
        name_of(name, made);
        result = try_ask(&vrig, name, TAG_SET, made + 1);
        made += result == 0 ? 1 : 0;
        ck_assert_uint_le(made, 100);
    }
    ck_assert_int_eq(result, WEFT_E_LIMIT);
    ck_assert_uint_eq(vrig_count(&vrig), made);
    ck_assert_uint_ge(made, 80);
    for (uint64_t i = 0; i < made; i++) {
        ck_assert_uint_eq(ask_number(&vrig, i, TAG_GET, 0).value, i + 1);
    }
    for (uint64_t i = 0; i < made; i++) { /* a scheduler may keep a few places for itself */
        (void)ask_number(&vrig, i, TAG_STOP, 0);
    }
    eventually(vrig_count(&vrig) == 0);
    for (uint64_t i = 0; i < made / 2; i++) {
        (void)ask_number(&vrig, 1000 + i, TAG_GET, 0);
    }
    vrig_stop(&vrig);
}
END_TEST

enum { HEIRS = 20 };

static struct vrig *heirs_vrig;

/* The last thing it does is a message to the next one, which ends by that in turn, but for the last
 * of them. */
static void end_with_a_message(weft_ctx *ctx, void *state, int reason) {
    uint64_t number = atomic_load(&world.deaths) + 1;
    uint32_t tag = number < HEIRS ? TAG_STOP : TAG_SET;
    weft_vrequest request = message(heirs_vrig, "a", tag, &number);
    if (number <= HEIRS) {
        ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
    }
    cell_terminate(ctx, state, reason);
}

START_TEST(one_that_ends_makes_room_for_the_next_of_its_address) {
    weft_config config = rig_config(1);
    config.actors_max = 1;
    weft_type_def def = cell_def("cell");
    def.terminate = end_with_a_message;
    struct vrig vrig = vrig_start_config(&config, &def);
    heirs_vrig = &vrig;
    (void)tell(&vrig, "a", TAG_STOP, 0);
    eventually(atomic_load(&world.births) == HEIRS + 1);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, HEIRS);
    for (uint32_t i = 0; i < 10; i++) { /* one place went from hand to hand */
        ck_assert_int_eq(try_ask(&vrig, "b", TAG_GET, 0), WEFT_E_LIMIT);
    }
    ck_assert_uint_eq(vrig_count(&vrig), 1);
    vrig_stop(&vrig);
}
END_TEST

static TCase *limits_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 180);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#define ALL SCHEDULER_CASES

static Suite *limits_suite(void) {
    Suite *suite = suite_create("virtual_limits");
    TCase *idle = limits_case(suite, "idle");
    tcase_add_loop_test(idle, an_idle_actor_is_passivated_soon_after_its_time_and_not_before, 0,
                        ALL);
    tcase_add_loop_test(idle, messages_that_come_often_keep_an_actor_alive, 0, ALIVE_WAYS);
    tcase_add_loop_test(idle, the_configured_idle_time_is_for_types_that_name_none, 0, ALL);
    tcase_add_test(idle, without_a_policy_nobody_is_passivated);
    tcase_add_test(idle, an_actor_that_was_spawned_is_not_passivated);
    tcase_add_loop_test(idle, many_idle_actors_all_go_and_come_back, 0, ALL);
    TCase *busy = limits_case(suite, "busy");
    tcase_add_loop_test(busy, an_actor_with_something_under_way_is_not_idle, 0, KEPT_WAYS);
    tcase_add_loop_test(busy, asking_an_actor_that_is_not_idle_changes_nothing, 0, KEPT_WAYS);
    tcase_add_loop_test(busy, an_actor_with_messages_waiting_is_not_idle, 0, ALL);
    tcase_add_loop_test(busy, an_idle_actor_that_is_asked_goes, 0, ALL);
    tcase_add_loop_test(busy, keeping_alive_is_against_idle_time_until_it_is_off, 0, ALL);
    TCase *number = limits_case(suite, "number");
    tcase_add_loop_test(number, above_the_number_the_least_recently_used_goes, 0, ALL);
    tcase_add_loop_test(number, messages_by_pid_are_a_use, 0, ALL);
    tcase_add_loop_test(number, those_that_are_busy_or_kept_alive_are_passed_over, 0, ALL);
    tcase_add_loop_test(number, when_nobody_can_go_there_are_more_than_the_number, 0, ALL);
    tcase_add_loop_test(number, the_number_is_that_of_a_type, 0, ALL);
    tcase_add_loop_test(number, of_many_only_those_go_that_were_not_used, 0, ALL);
    tcase_add_loop_test(number, a_number_that_is_far_too_small_loses_no_call, 0, ALL);
    TCase *bytes = limits_case(suite, "bytes");
    tcase_add_loop_test(bytes, above_the_bytes_the_least_recently_used_goes, 0, ALL);
    tcase_add_loop_test(bytes, what_is_said_about_bytes_replaces_what_was_said, 0, ALL);
    tcase_add_loop_test(bytes, bytes_of_states_count_and_those_of_who_has_gone_do_not, 0, ALL);
    tcase_add_loop_test(bytes, an_actor_that_alone_is_too_large_still_answers, 0, ALL);
    tcase_add_test(bytes, no_more_are_activated_than_the_runtime_may_have);
    tcase_add_test(bytes, one_that_ends_makes_room_for_the_next_of_its_address);
    return suite;
}

int main(void) {
    return run_suite(limits_suite());
}
