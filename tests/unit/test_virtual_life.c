/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: how they begin and end, and that it concerns nobody else. Crashes, stops and
 * failing inits with callers waiting; neighbours of the same shard meanwhile; calls that lead back to
 * where they came from; what init is given.
 */
#include "tests/unit/virtual_support.h"

/* Several requests to one address from one handler, so that they are queued before a cell on the
 * only scheduler runs. */
struct batch {
    struct vrig *vrig;
    const char *id;
    const uint32_t *tags; /* the last one goes on */
    uint32_t tag_count;
    uint32_t count;
};

static void ask_batch(weft_ctx *ctx, void *arg) {
    struct batch *batch = arg;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t number = 1;
        uint32_t tag = batch->tags[i < batch->tag_count ? i : batch->tag_count - 1];
        weft_vrequest request = message(batch->vrig, batch->id, tag, &number);
        ck_assert_int_eq(weft_vcall(ctx, &request, i, NULL), 0);
    }
}

static void expect_statuses(struct probe *probe, uint32_t count, int status) {
    eventually(probe_count(probe) >= count);
    ck_assert_uint_eq(probe_count(probe), count);
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct seen seen = reply_at(probe, i);
        ck_assert_int_eq(seen.status, status);
        tokens += UINT64_C(1) << seen.token;
    }
    ck_assert_uint_eq(tokens, (UINT64_C(1) << count) - 1); /* each once */
}

/* ---- neighbours ------------------------------------------------------------------------------ */

enum { CRASHERS = 20, QUIET = 20 };

START_TEST(twenty_crashers_in_a_row_harm_no_neighbour_of_their_shard) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    char ids[CRASHERS + QUIET][NEIGHBOUR_BYTES];
    struct view views[CRASHERS + QUIET];
    neighbours(&vrig, ids, CRASHERS + QUIET);
    for (uint32_t i = 0; i < CRASHERS + QUIET; i++) {
        views[i] = ask(&vrig, ids[i], TAG_SET, 100 + i);
    }
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 0; i < CRASHERS; i++) {
        ck_assert_int_eq(try_ask(&vrig, ids[i], TAG_CRASH, 0), WEFT_E_CRASHED);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    for (uint32_t i = 0; i < CRASHERS + QUIET; i++) {
        struct view view = ask(&vrig, ids[i], TAG_GET, 0);
        bool crashed = i < CRASHERS;
        ck_assert_uint_eq(view.value, crashed ? 0 : 100 + i);
        ck_assert_uint_eq(weft_pid_equal(view.pid, views[i].pid), !crashed);
        ck_assert_uint_eq(view.birth == views[i].birth, !crashed);
    }
    ck_assert_uint_eq(rig_stats(&vrig.rig).crashes, CRASHERS);
    ck_assert_uint_eq(vrig_count(&vrig), CRASHERS + QUIET);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(an_actor_that_waits_or_works_delays_no_neighbour) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    char ids[QUIET][NEIGHBOUR_BYTES];
    neighbours(&vrig, ids, QUIET);
    weft_vrequest hold = message(&vrig, ids[0], TAG_HOLD, NULL);
    (void)puppet_ask(&vrig, puppet, &hold, 1);
    (void)ask(&vrig, ids[1], TAG_WORK, 2 * S_NS);
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 0; i < 20 * QUIET; i++) {
        (void)ask(&vrig, ids[i % QUIET], TAG_ADD, 1); /* also the two themselves */
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_uint_eq(probe_count(&probe), 0);
    (void)ask(&vrig, ids[0], TAG_LET_GO, 0);
    ck_assert_int_eq(reply_at(&probe, 0).status, 0);
    eventually(atomic_load(&world.works) == 1);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* With a thread to spare. */
START_TEST(an_actor_that_blocks_its_thread_delays_no_neighbour) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    char ids[QUIET][NEIGHBOUR_BYTES];
    neighbours(&vrig, ids, QUIET);
    for (uint32_t i = 0; i < QUIET; i++) {
        (void)ask(&vrig, ids[i], TAG_SET, i);
    }
    (void)tell(&vrig, ids[0], TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 1; i < QUIET; i++) {
        ck_assert_uint_eq(ask(&vrig, ids[i], TAG_GET, 0).value, i);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_uint_eq(atomic_load(&world.inside), 1);
    atomic_store(&world.gate, 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_slow_init_delays_only_its_own_key) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    char ids[QUIET][NEIGHBOUR_BYTES];
    neighbours(&vrig, ids, QUIET);
    (void)ask(&vrig, ids[1], TAG_SET, 1); /* one is there already */
    atomic_store(&world.init_waits, true);
    (void)tell(&vrig, ids[0], TAG_ADD, 1);
    eventually(atomic_load(&world.inside) == 1);
    atomic_store(&world.init_waits, false);
    uint64_t number = 1;
    weft_vrequest request = message(&vrig, ids[0], TAG_ADD, &number);
    for (uint64_t i = 0; i < 10; i++) {
        (void)puppet_ask(&vrig, puppet, &request, i);
    }
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 1; i < QUIET; i++) {
        ck_assert_uint_eq(ask(&vrig, ids[i], TAG_GET, 0).value, i == 1);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_uint_eq(probe_count(&probe), 0);
    atomic_store(&world.gate, 1);
    expect_statuses(&probe, 10, 0);
    ck_assert_uint_eq(ask(&vrig, ids[0], TAG_GET, 0).value, 11);
    ck_assert_uint_eq(atomic_load(&world.inits), QUIET);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* Neither for init, nor for calls before it, nor for an error of init. */
START_TEST(a_cast_waits_for_nothing) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    atomic_store(&world.init_waits, true);
    uint64_t before_ns = clock_ns();
    (void)tell(&vrig, "new", TAG_ADD, 1); /* nobody opens the gate */
    eventually(atomic_load(&world.inside) == 1);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)tell(&vrig, "new", TAG_ADD, 1);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_uint_eq(atomic_load(&world.handled), 0);
    atomic_store(&world.init_waits, false);
    atomic_store(&world.gate, 1);
    ck_assert_uint_eq(ask(&vrig, "new", TAG_GET, 0).value, 1001);
    atomic_store(&world.init_result, -EPERM);
    (void)tell(&vrig, "fails", TAG_ADD, 1);
    eventually(!is_active(&vrig, "fails"));
    vrig_stop(&vrig);
}
END_TEST

/* ---- calls that lead back -------------------------------------------------------------------- */

enum { HOPS_MAX = 8, HOP_BYTES = NEIGHBOUR_BYTES + 1, LINK_HELD_MAX = 64 };

/* Where a call goes next. An id that begins with "s" is of the serial type; then its id follows. */
struct route {
    uint32_t at;
    uint32_t count;
    char hops[HOPS_MAX][HOP_BYTES];
};

struct link {
    weft_msg *held[LINK_HELD_MAX];
};

static int link_call(weft_ctx *ctx, const struct route *route, uint64_t token) {
    weft_runtime *runtime = weft_runtime_of(ctx);
    const char *hop = route->hops[route->at];
    weft_vrequest request = {
        .struct_size = WEFT_VREQUEST_INIT,
        .capability = weft_capability_find(runtime, "chat"),
        .type = weft_type_find(runtime, hop[0] == 's' ? "serial" : "plain"),
        .id = hop + 1,
        .id_size = strlen(hop + 1),
        .payload = route,
        .payload_size = sizeof(*route),
        .timeout_ns = 25 * S_NS,
    };
    return weft_vcall(ctx, &request, token, NULL);
}

static int link_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct link *link = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        weft_msg **held = &link->held[weft_msg_token(msg)];
        int status = weft_msg_status(msg);
        (void)(status == 0 ? weft_reply(ctx, held, 1, NULL, 0)
                           : weft_reply_error(ctx, held, status));
        return WEFT_CONTINUE;
    }
    struct route route;
    memcpy(&route, weft_msg_data(msg), sizeof(route));
    if (++route.at == route.count) {
        (void)weft_reply(ctx, &msg, 1, NULL, 0);
        return WEFT_CONTINUE;
    }
    uint64_t token = 0;
    while (link->held[token] != NULL) {
        ck_assert_uint_lt(++token, LINK_HELD_MAX);
    }
    link->held[token] = weft_msg_take(ctx, msg);
    int result = link_call(ctx, &route, token);
    if (result != 0) {
        (void)weft_reply_error(ctx, &link->held[token], result);
    }
    return WEFT_CONTINUE;
}

static void link_types(struct vrig *vrig) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "plain",
                         .state_size = sizeof(struct link),
                         .receive = link_receive};
    (void)rig_type(&vrig->rig, &def);
    def.name = "serial";
    def.flags = WEFT_TYPE_SERIAL;
    (void)rig_type(&vrig->rig, &def);
}

/* What a call along these hops is answered; always soon. A hop is 's' or 'p' and the number of a
 * neighbour, or of an id of another shard from '5' on. */
static int travel(struct vrig *vrig, const char *hops) {
    static char ids[5][NEIGHBOUR_BYTES];
    if (ids[0][0] == '\0') {
        neighbours(vrig, ids, 5);
    }
    struct route route = {0};
    for (; hops[2 * route.count] != '\0'; route.count++) {
        const char *hop = hops + 2 * route.count;
        char elsewhere[] = {'x', hop[1], '\0'};
        (void)snprintf(route.hops[route.count], HOP_BYTES, "%c%s", hop[0],
                       hop[1] >= '5' ? elsewhere : ids[hop[1] - '0']);
    }
    weft_vrequest request = message(vrig, route.hops[0] + 1, 1, NULL);
    request.type = weft_type_find(vrig->rig.runtime, route.hops[0][0] == 's' ? "serial" : "plain");
    request.payload = &route;
    request.payload_size = sizeof(route);
    weft_msg *reply = NULL;
    uint64_t before_ns = clock_ns();
    int result = weft_runtime_vcall(vrig->rig.runtime, &request, &reply, NULL);
    ck_assert_msg(clock_ns() - before_ns < SOON_NS, "%s took too long", hops);
    if (result == 0) {
        weft_runtime_msg_release(vrig->rig.runtime, &reply);
    }
    return result;
}

START_TEST(calls_that_lead_back_are_answered_when_the_actors_are_not_serial) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    link_types(&vrig);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(travel(&vrig, "p0p0"), 0);         /* itself */
        ck_assert_int_eq(travel(&vrig, "p0p1"), 0);         /* a neighbour */
        ck_assert_int_eq(travel(&vrig, "p0p1p0"), 0);       /* and back */
        ck_assert_int_eq(travel(&vrig, "p0p7p1"), 0);       /* back into the shard */
        ck_assert_int_eq(travel(&vrig, "p0p7p1p0"), 0);     /* and to the first */
        ck_assert_int_eq(travel(&vrig, "p0p1p0p1p0p1"), 0); /* to and fro */
        ck_assert_int_eq(travel(&vrig, "p0p0p0p0p0p0"), 0);
        ck_assert_int_eq(travel(&vrig, "s0p1s2p1"), 0); /* the one that is come back to */
    }
    rig_stop(&vrig.rig);
}
END_TEST

START_TEST(calls_into_the_shard_they_came_from_are_no_circle) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    link_types(&vrig);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(travel(&vrig, "s0s1"), 0);
        ck_assert_int_eq(travel(&vrig, "s0s7s1"), 0);
        ck_assert_int_eq(travel(&vrig, "s0s7s1s8s2s9"), 0);
        ck_assert_int_eq(travel(&vrig, "s0s1s2s3s4"), 0);
    }
    rig_stop(&vrig.rig);
}
END_TEST

START_TEST(a_circle_of_serial_actors_is_answered_edeadlk_at_once) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    link_types(&vrig);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(travel(&vrig, "s0s0"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0s1s0"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0s7s0"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0s7s1s0"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0s1s2s3s4s1"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0p1s0"), -EDEADLK); /* a plain one in between */
        ck_assert_int_eq(travel(&vrig, "p0s1p2p0s1"), -EDEADLK);
        ck_assert_int_eq(travel(&vrig, "s0"), 0); /* and they go on */
        ck_assert_int_eq(travel(&vrig, "s1s2"), 0);
    }
    rig_stop(&vrig.rig);
}
END_TEST

static void ask_itself(weft_ctx *ctx, void *arg) {
    const struct route *route = arg;
    ck_assert_int_eq(link_call(ctx, route, 0), -EDEADLK);
}

static int asks_itself(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REQUEST); /* no REPLY after an error */
    cell_act(ctx, msg);
    weft_msg *request = weft_current(ctx);
    return weft_reply(ctx, &request, 1, NULL, 0);
}

START_TEST(a_serial_actor_that_calls_its_own_address_is_told_by_the_call) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "serial",
                         .receive = asks_itself,
                         .flags = WEFT_TYPE_SERIAL};
    struct route route = {.count = 1, .hops = {"sme"}};
    struct job job = {.fn = ask_itself, .arg = &route};
    weft_vrequest request = message(&vrig, "me", TAG_ACT, NULL);
    request.type = rig_type(&vrig.rig, &def);
    request.payload = &job;
    request.payload_size = sizeof(job);
    for (uint32_t i = 0; i < 10; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, NULL), 0);
        weft_runtime_msg_release(vrig.rig.runtime, &reply);
    }
    rig_stop(&vrig.rig);
}
END_TEST

/* ---- crashes --------------------------------------------------------------------------------- */

/* On one scheduler everything is queued before the actor runs. */
START_TEST(a_crash_answers_everything_that_waits) {
    struct vrig vrig = vrig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    struct view before = ask(&vrig, "a", TAG_SET, 5);
    static const uint32_t tags[] = {TAG_HOLD, TAG_HOLD, TAG_CRASH, TAG_ADD};
    struct batch batch = {&vrig, "a", tags, 4, 20};
    uint64_t before_ns = clock_ns();
    act(&vrig.rig, puppet, ask_batch, &batch);
    expect_statuses(&probe, 20, WEFT_E_CRASHED); /* what was held, asked and queued */
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 0);
    ck_assert_uint_eq(after.birth, 2);
    ck_assert(!weft_pid_equal(before.pid, after.pid));
    ck_assert_int_eq(end_at(0).reason, -EIO);
    ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, before.pid, 1, NULL, 0), WEFT_E_NOPROC);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* With a thread to spare; the crash comes while others have waited for a while. */
START_TEST(a_crash_after_a_long_message_answers_everything_that_waits) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    static const uint32_t tags[] = {TAG_CRASH, TAG_ADD};
    struct batch batch = {&vrig, "a", tags, 2, 30};
    act(&vrig.rig, puppet, ask_batch, &batch);
    atomic_store(&world.gate, 1);
    expect_statuses(&probe, 30, WEFT_E_CRASHED);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).birth, 2);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(who_was_told_of_a_crash_finds_another_actor) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint64_t i = 0; i < 200; i++) {
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_CRASH, 0), WEFT_E_CRASHED);
        struct view view = ask(&vrig, "a", TAG_ADD, 1);
        ck_assert_uint_eq(view.value, 1);
        ck_assert_uint_eq(view.birth, i + 2);
    }
    vrig_stop(&vrig);
}
END_TEST

static void exit_badly(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_exit(ctx, -EPROTO);
}

START_TEST(an_answer_given_before_the_crash_counts) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint64_t i = 0; i < 50; i++) {
        uint64_t one = 1;
        struct view view = {0};
        weft_vrequest request = message(&vrig, "a", TAG_ADD, &one);
        act_in(&vrig, "a", exit_badly, NULL); /* answers, then ends */
        int result = try_request(&vrig, &request, &view);
        if (result != 0) { /* it came in between */
            ck_assert_int_eq(result, WEFT_E_CRASHED);
            ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
        }
        ck_assert_uint_eq(view.value, 1);
        ck_assert_uint_eq(view.birth, i + 2);
    }
    for (uint32_t i = 0; i < 50; i++) {
        ck_assert_int_eq(end_at(i).reason, -EPROTO);
    }
    vrig_stop(&vrig);
}
END_TEST

START_TEST(killing_one_answers_its_callers_and_the_next_call_finds_another) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    struct view before = ask(&vrig, "a", TAG_SET, 5);
    weft_vrequest hold = message(&vrig, "a", TAG_HOLD, NULL);
    (void)puppet_ask(&vrig, puppet, &hold, 0);
    (void)ask(&vrig, "a", TAG_GET, 0); /* it is held by now */
    ck_assert_int_eq(weft_runtime_kill_actor(vrig.rig.runtime, before.pid), 0);
    expect_statuses(&probe, 1, WEFT_E_CRASHED);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 0);
    ck_assert(!weft_pid_equal(before.pid, after.pid));
    rig_stop(&vrig.rig); /* not vrig_stop: one has ended without terminate */
    probe_fini(&probe);
}
END_TEST

/* ---- stops ----------------------------------------------------------------------------------- */

START_TEST(what_waits_when_an_actor_stops_activates_it_again) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    struct view before = ask(&vrig, "a", TAG_SET, 5);
    static const uint32_t tags[] = {TAG_STOP, TAG_ADD};
    struct batch batch = {&vrig, "a", tags, 2, 60};
    act(&vrig.rig, puppet, ask_batch, &batch);
    expect_statuses(&probe, 60, 0);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 59);
    ck_assert_uint_eq(after.birth, 2);
    ck_assert(!weft_pid_equal(before.pid, after.pid));
    ck_assert_int_eq(end_at(0).reason, 0);
    ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, before.pid, 1, NULL, 0), WEFT_E_NOPROC);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* Requests the actor itself has taken are not what waits: it gave them up. */
START_TEST(what_a_stopping_actor_holds_is_answered) {
    struct vrig vrig = vrig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    static const uint32_t tags[] = {TAG_HOLD, TAG_HOLD, TAG_STOP};
    struct batch batch = {&vrig, "a", tags, 3, 3};
    act(&vrig.rig, puppet, ask_batch, &batch);
    eventually(probe_count(&probe) == 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct seen seen = reply_at(&probe, i);
        ck_assert_int_eq(seen.status, seen.token == 2 ? 0 : WEFT_E_NOREPLY);
    }
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(an_actor_that_is_not_needed_any_more_is_not_in_the_table) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint64_t i = 0; i < 200; i++) {
        ck_assert_uint_eq(ask(&vrig, "a", TAG_STOP, 0).birth, i + 1);
        if (i % 2 == 0) {
            eventually(!is_active(&vrig, "a"));
            eventually(vrig_count(&vrig) == 0);
        }
    }
    eventually(rig_gauges(&vrig.rig).actors <= 2); /* those of the library's own, if any */
    vrig_stop(&vrig);
}
END_TEST

/* ---- init ------------------------------------------------------------------------------------ */

START_TEST(every_attempt_at_a_failing_init_is_answered_with_its_result) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_gauges before = rig_gauges(&vrig.rig);
    for (int i = 0; i < 5; i++) {
        atomic_store(&world.init_result, -EPERM - i);
        ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), -EPERM - i);
        ck_assert_uint_eq(atomic_load(&world.inits), (uint64_t)i + 1);
        ck_assert(!is_active(&vrig, "a"));
    }
    for (uint32_t i = 0; i < 1000; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i);
        ck_assert_int_eq(try_ask(&vrig, id, TAG_GET, 0), -EPERM - 4);
    }
    eventually(vrig_count(&vrig) == 0);
    eventually(rig_gauges(&vrig.rig).actors == before.actors);
    ck_assert_uint_eq(atomic_load(&world.deaths), 0); /* terminate is not called */
    atomic_store(&world.init_result, 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_ADD, 1).value, 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_failing_init_answers_everything_that_waits) {
    struct vrig vrig = vrig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    atomic_store(&world.init_result, -EPERM);
    static const uint32_t tags[] = {TAG_ADD};
    struct batch batch = {&vrig, "a", tags, 1, 40};
    act(&vrig.rig, puppet, ask_batch, &batch);
    expect_statuses(&probe, 40, -EPERM);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    atomic_store(&world.init_result, 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 0); /* none of them was handled */
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

/* Nothing is promised to its callers but an end. */
START_TEST(an_init_that_always_stops_spares_the_others) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    (void)ask(&vrig, "other", TAG_SET, 1);
    atomic_store(&world.init_result, WEFT_STOP);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    request.timeout_ns = 300 * MS_NS;
    (void)tell(&vrig, "a", TAG_ADD, 1);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(try_request(&vrig, &request, NULL) < 0, 1);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(ask(&vrig, "other", TAG_GET, 0).value, 1);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    rig_stop(&vrig.rig);
}
END_TEST

/* ---- init_arg -------------------------------------------------------------------------------- */

enum { BY_STOP, BY_CRASH, BY_PASSIVATION, BY_KILL, WAYS };

/* Ends an actor, and waits for it. */
static void end_by(struct vrig *vrig, const char *id, int way) {
    struct view view = ask(vrig, id, TAG_GET, 0);
    if (way == BY_STOP) {
        (void)ask(vrig, id, TAG_STOP, 0);
    } else if (way == BY_CRASH) {
        ck_assert_int_eq(try_ask(vrig, id, TAG_CRASH, 0), WEFT_E_CRASHED);
    } else if (way == BY_PASSIVATION) {
        (void)ask(vrig, id, TAG_PASSIVATE, 0);
    } else {
        ck_assert_int_eq(weft_runtime_kill_actor(vrig->rig.runtime, view.pid), 0);
    }
    eventually(!is_active(vrig, id));
}

START_TEST(init_arg_is_used_once_and_remembered_however_the_actor_ends) {
    struct vrig vrig = vrig_start(2);
    uint64_t first = 0;
    memcpy(&first, "firstarg", 8);
    for (uint64_t round = 0; round < 4; round++) {
        const char *arg = round == 0 ? "firstarg" : round == 1 ? NULL : "otherarg";
        struct view view = ask_arg(&vrig, "a", TAG_GET, arg);
        ck_assert_uint_eq(view.handled, 1); /* another activation */
        ck_assert_uint_eq(view.arg, first);
        ck_assert_uint_eq(view.arg_size, 8);
        view = ask_arg(&vrig, "a", TAG_GET, "ignored!");
        ck_assert_uint_eq(view.handled, 2);
        ck_assert_uint_eq(view.arg, first);
        ck_assert_uint_eq(ask_arg(&vrig, "b", TAG_GET, NULL).arg_size, 0); /* another address */
        end_by(&vrig, "a", _i);
    }
    rig_stop(&vrig.rig);
}
END_TEST

START_TEST(forgetting_ends_the_actor_and_what_was_remembered) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct view before = ask_arg(&vrig, "a", TAG_SET, "firstarg");
    ck_assert_uint_eq(before.arg_size, 8);
    (void)ask(&vrig, "a", TAG_FORGET, 0);
    eventually(!is_active(&vrig, "a"));
    ck_assert_int_eq(end_at(0).reason, 0);
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, NULL).arg_size, 0);
    (void)ask(&vrig, "a", TAG_FORGET, 0);
    eventually(!is_active(&vrig, "a"));
    struct view after = ask_arg(&vrig, "a", TAG_GET, "second argument");
    ck_assert_uint_eq(after.arg_size, 15);
    ck_assert_uint_eq(after.birth, 3);
    ck_assert(!weft_pid_equal(before.pid, after.pid));
    vrig_stop(&vrig);
}
END_TEST

START_TEST(an_argument_that_comes_with_a_later_activation_is_remembered_from_then_on) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, NULL).arg_size, 0);
        ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_STOP, "too late").arg_size, 0);
        eventually(!is_active(&vrig, "a"));
    }
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_STOP, "in time").arg_size, 7);
    eventually(!is_active(&vrig, "a"));
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_STOP, "another one").arg_size, 7);
    eventually(!is_active(&vrig, "a"));
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, NULL).arg_size, 7);
    vrig_stop(&vrig);
}
END_TEST

/* A message that finds the actor just ending may make the successor: what it brings along comes
 * second all the same. */
START_TEST(the_argument_is_handed_on_to_a_successor) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 64, &queue), 0);
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, "argument").arg_size, 8);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t pending = 0;
        for (uint32_t j = 0; j < 20; j++, pending++) {
            weft_vrequest request = message(&vrig, "a", j % 3 == 0 ? TAG_STOP : TAG_GET, NULL);
            request.init_arg = j % 2 == 0 ? "another one" : NULL;
            request.init_arg_size = j % 2 == 0 ? 11 : 0;
            ck_assert_int_eq(weft_cq_vcall(queue, &request, j, NULL), 0);
        }
        while (pending > 0) { /* bounded by the test's time */
            weft_completion done = {0};
            if (weft_cq_next(queue, &done) == 1) {
                struct view view = {0};
                ck_assert_int_eq(done.status, 0);
                memcpy(&view, weft_msg_data(done.reply), sizeof(view));
                weft_runtime_msg_release(vrig.rig.runtime, &done.reply);
                ck_assert_uint_eq(view.arg_size, 8);
                pending--;
            } else {
                sleep_ns(20000);
            }
        }
    }
    ck_assert_uint_gt(atomic_load(&world.births), 300);
    weft_cq_destroy(&queue);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(the_argument_of_an_init_that_failed_is_not_remembered) {
    struct vrig vrig = vrig_start(1);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    request.init_arg = "bad";
    request.init_arg_size = 3;
    atomic_store(&world.init_result, -EPERM);
    ck_assert_int_eq(try_request(&vrig, &request, NULL), -EPERM);
    atomic_store(&world.init_result, 0);
    ck_assert_uint_eq(ask_arg(&vrig, "a", TAG_GET, "better").arg_size, 6);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(arguments_of_every_size_and_of_many_addresses_are_remembered) {
    struct vrig vrig = vrig_start(2);
    static char arg[WEFT_ID_MAX];
    static const size_t sizes[] = {1, 8, 24, 100, 5000, WEFT_ID_MAX};
    enum { ADDRESSES = 600 };
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < ADDRESSES; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "%u", i);
            weft_vrequest request = message(&vrig, id, TAG_STOP, NULL);
            memset(arg, 0, sizeof(arg));
            (void)snprintf(arg, sizeof(arg), "%u", i % 10);
            request.init_arg = round == 0 ? arg : NULL;
            request.init_arg_size = round == 0 ? sizes[i % 6] : 0;
            struct view view = {0};
            ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
            ck_assert_uint_eq(view.arg_size, sizes[i % 6]);
            ck_assert_uint_eq(view.arg, (uint64_t)'0' + i % 10);
        }
    }
    vrig_stop(&vrig);
}
END_TEST

static TCase *life_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 180);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static Suite *life_suite(void) {
    Suite *suite = suite_create("virtual_life");
    TCase *tcase = life_case(suite, "neighbours");
    tcase_add_loop_test(tcase, twenty_crashers_in_a_row_harm_no_neighbour_of_their_shard, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_actor_that_waits_or_works_delays_no_neighbour, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_actor_that_blocks_its_thread_delays_no_neighbour, 1,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_slow_init_delays_only_its_own_key, 1, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_cast_waits_for_nothing, 0, SCHEDULER_CASES);
    tcase = life_case(suite, "circles");
    tcase_add_loop_test(tcase, calls_that_lead_back_are_answered_when_the_actors_are_not_serial, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, calls_into_the_shard_they_came_from_are_no_circle, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_circle_of_serial_actors_is_answered_edeadlk_at_once, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_serial_actor_that_calls_its_own_address_is_told_by_the_call, 0,
                        SCHEDULER_CASES);
    tcase = life_case(suite, "ends");
    tcase_add_test(tcase, a_crash_answers_everything_that_waits);
    tcase_add_loop_test(tcase, a_crash_after_a_long_message_answers_everything_that_waits, 1,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, who_was_told_of_a_crash_finds_another_actor, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, an_answer_given_before_the_crash_counts, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, killing_one_answers_its_callers_and_the_next_call_finds_another, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, what_waits_when_an_actor_stops_activates_it_again, 0,
                        SCHEDULER_CASES);
    tcase_add_test(tcase, what_a_stopping_actor_holds_is_answered);
    tcase_add_loop_test(tcase, an_actor_that_is_not_needed_any_more_is_not_in_the_table, 0,
                        SCHEDULER_CASES);
    tcase = life_case(suite, "init");
    tcase_add_loop_test(tcase, every_attempt_at_a_failing_init_is_answered_with_its_result, 0,
                        SCHEDULER_CASES);
    tcase_add_test(tcase, a_failing_init_answers_everything_that_waits);
    tcase_add_loop_test(tcase, an_init_that_always_stops_spares_the_others, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, init_arg_is_used_once_and_remembered_however_the_actor_ends, 0,
                        WAYS);
    tcase_add_loop_test(tcase, forgetting_ends_the_actor_and_what_was_remembered, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase,
                        an_argument_that_comes_with_a_later_activation_is_remembered_from_then_on,
                        0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, the_argument_is_handed_on_to_a_successor, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, the_argument_of_an_init_that_failed_is_not_remembered);
    tcase_add_test(tcase, arguments_of_every_size_and_of_many_addresses_are_remembered);
    return suite;
}

int main(void) {
    return run_suite(life_suite());
}
