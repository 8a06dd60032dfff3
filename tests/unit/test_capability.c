/* SPDX-License-Identifier: MIT
 *
 * Capabilities: what a node offers. Adding, giving up and replacing; what becomes of the actors of
 * one that is given up; and the questions about names, nodes and shards.
 */
#include "tests/unit/store_rig.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 10 };
#else
enum { SLOWER = 1 };
#endif
enum { TURMOIL = 3000 / SLOWER }; /* calls that are answered while names come and go */

static int offer(struct rig *rig, const char *name) {
    return weft_capability_register(rig->runtime, &name, 1);
}

static int give_up(struct rig *rig, const char *name) {
    return weft_capability_unregister(rig->runtime, &name, 1);
}

/* What is offered is exactly this, in this order; text is the names with a space behind each. */
static void offered_is(struct rig *rig, const char *text) {
    const char *names[64];
    char found[1024] = "";
    int count = weft_all_capabilities(rig->runtime, names, 64);
    ck_assert_int_ge(count, 0);
    for (int i = 0; i < count; i++) {
        strncat(found, names[i], sizeof(found) - strlen(found) - 1);
        strncat(found, " ", sizeof(found) - strlen(found) - 1);
    }
    ck_assert_msg(strcmp(found, text) == 0, "offered: %s", found);
}

/* ---- names ----------------------------------------------------------------------------------- */

START_TEST(registering_adds_and_does_not_replace) {
    struct rig rig = rig_start(1);
    offered_is(&rig, "");
    ck_assert_int_eq(offer(&rig, "game"), 0);
    ck_assert_int_eq(offer(&rig, "chat"), 0);
    offered_is(&rig, "chat game ");
    static const char *const more[] = {"zoo", "Chat", "chat", "abc", "chat ", "zoo"};
    ck_assert_int_eq(weft_capability_register(rig.runtime, more, 6), 0);
    offered_is(&rig, "Chat abc chat chat  game zoo ");
    ck_assert_int_eq(give_up(&rig, "chat"), 0);
    offered_is(&rig, "Chat abc chat  game zoo ");
    ck_assert_int_eq(offer(&rig, "chat"), 0);
    offered_is(&rig, "Chat abc chat chat  game zoo ");
    rig_stop(&rig);
}
END_TEST

START_TEST(empty_lists_are_fine) {
    struct rig rig = rig_start(1);
    static const char *const names[] = {"chat"};
    ck_assert_int_eq(weft_capability_register(rig.runtime, NULL, 0), 0);
    ck_assert_int_eq(weft_capability_unregister(rig.runtime, NULL, 0), 0);
    ck_assert_int_eq(weft_capability_replace(rig.runtime, NULL, 0), 0);
    offered_is(&rig, "");
    ck_assert_int_eq(weft_capability_register(rig.runtime, names, 1), 0);
    ck_assert_int_eq(weft_capability_register(rig.runtime, names, 0), 0);
    ck_assert_int_eq(weft_capability_unregister(rig.runtime, names, 0), 0);
    offered_is(&rig, "chat ");
    ck_assert_int_eq(weft_capability_replace(rig.runtime, names, 0), 0);
    offered_is(&rig, "");
    rig_stop(&rig);
}
END_TEST

START_TEST(a_wrong_name_leaves_everything_as_it_was) {
    struct rig rig = rig_start(1);
    char longest[WEFT_CAPABILITY_NAME_MAX + 2];
    memset(longest, 'l', sizeof(longest));
    longest[WEFT_CAPABILITY_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(offer(&rig, "chat"), 0);
    const char *const wrong[] = {"", NULL, longest};
    for (uint32_t i = 0; i < 3; i++) {
        const char *names[] = {"before", wrong[i], "after"};
        const weft_capability *capability = NULL;
        ck_assert_int_eq(weft_capability_register(rig.runtime, names, 3), -EINVAL);
        ck_assert_int_eq(weft_capability_replace(rig.runtime, names, 3), -EINVAL);
        ck_assert_int_eq(weft_capability_add(rig.runtime, wrong[i], &capability), -EINVAL);
        ck_assert_ptr_null(capability);
        ck_assert_ptr_null(weft_capability_find(rig.runtime, wrong[i]));
        offered_is(&rig, "chat ");
    }
    ck_assert_int_eq(weft_capability_register(rig.runtime, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_capability_replace(rig.runtime, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_capability_unregister(rig.runtime, NULL, 1), -EINVAL);
    static const char *const names[] = {"chat"};
    ck_assert_int_eq(weft_capability_register(NULL, names, 1), -EINVAL);
    ck_assert_int_eq(weft_capability_unregister(NULL, names, 1), -EINVAL);
    ck_assert_int_eq(weft_capability_replace(NULL, names, 1), -EINVAL);
    ck_assert_int_eq(weft_capability_add(NULL, "chat", NULL), -EINVAL);
    ck_assert_ptr_null(weft_capability_find(NULL, "chat"));
    offered_is(&rig, "chat ");
    longest[WEFT_CAPABILITY_NAME_MAX] = '\0'; /* 255 bytes are a name */
    ck_assert_int_eq(offer(&rig, longest), 0);
    ck_assert_ptr_nonnull(weft_capability_find(rig.runtime, longest));
    rig_stop(&rig);
}
END_TEST

START_TEST(a_name_has_one_handle_as_long_as_the_runtime) {
    struct rig rig = rig_start(1);
    ck_assert_ptr_null(weft_capability_find(rig.runtime, "chat"));
    const weft_capability *chat = NULL;
    char name[] = "chat";
    ck_assert_int_eq(weft_capability_add(rig.runtime, name, &chat), 0);
    memset(name, 'x', 4); /* it was copied */
    ck_assert_ptr_nonnull(chat);
    const char *text = weft_capability_name(chat);
    ck_assert(strcmp(text, "chat") == 0);
    ck_assert_int_eq(weft_capability_add(rig.runtime, "chat", NULL), 0);
    for (uint32_t i = 0; i < 500; i++) { /* more come */
        char other[16];
        (void)snprintf(other, sizeof(other), "other%u", i);
        ck_assert_int_eq(offer(&rig, other), 0);
    }
    const weft_capability *again = NULL;
    ck_assert_int_eq(give_up(&rig, "chat"), 0);
    ck_assert_ptr_eq(weft_capability_find(rig.runtime, "chat"), chat);
    ck_assert_int_eq(weft_capability_add(rig.runtime, "chat", &again), 0);
    ck_assert_ptr_eq(again, chat);
    ck_assert_ptr_eq(weft_capability_name(chat), text);
    ck_assert(strcmp(text, "chat") == 0);
    ck_assert_ptr_null(weft_capability_find(rig.runtime, "cha"));
    ck_assert_ptr_null(weft_capability_find(rig.runtime, "chats"));
    rig_stop(&rig);
}
END_TEST

START_TEST(no_more_than_so_many_are_known) {
    struct rig rig = rig_start(1);
    static char texts[WEFT_CAPABILITIES_MAX][8];
    static const char *names[WEFT_CAPABILITIES_MAX + 1];
    for (uint32_t i = 0; i < WEFT_CAPABILITIES_MAX; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%04u", i);
        names[i] = texts[i];
    }
    names[WEFT_CAPABILITIES_MAX] = "more";
    ck_assert_int_eq(offer(&rig, "0000"), 0);
    ck_assert_int_eq(weft_capability_register(rig.runtime, names, WEFT_CAPABILITIES_MAX + 1),
                     WEFT_E_LIMIT);
    offered_is(&rig, "0000 "); /* all or none */
    ck_assert_int_eq(weft_capability_register(rig.runtime, names, WEFT_CAPABILITIES_MAX), 0);
    ck_assert_int_eq(offer(&rig, "more"), WEFT_E_LIMIT);
    ck_assert_int_eq(weft_capability_register(rig.runtime, names, 100), 0); /* known ones */
    const char *found[3] = {NULL, NULL, "untouched"};
    ck_assert_int_eq(weft_all_capabilities(rig.runtime, found, 2), WEFT_CAPABILITIES_MAX);
    ck_assert(strcmp(found[0], "0000") == 0 && strcmp(found[1], "0001") == 0);
    ck_assert(strcmp(found[2], "untouched") == 0);
    ck_assert_int_eq(weft_all_capabilities(rig.runtime, NULL, 0), WEFT_CAPABILITIES_MAX);
    rig_stop(&rig);
}
END_TEST

/* ---- giving one up --------------------------------------------------------------------------- */

static const char *const chat_name[] = {"chat"};

static void nobody_offers(struct vrig *vrig, const char *id) {
    weft_vrequest request = message(vrig, id, TAG_GET, NULL);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_vcast(vrig->rig.runtime, &request, NULL), WEFT_E_NOCAPABILITY);
    ck_assert_int_eq(weft_runtime_vcall(vrig->rig.runtime, &request, &reply, NULL),
                     WEFT_E_NOCAPABILITY);
    request.flags = WEFT_ONLY_IF_ACTIVE;
    ck_assert_int_eq(weft_runtime_vcast(vrig->rig.runtime, &request, NULL), WEFT_E_NOCAPABILITY);
}

START_TEST(without_the_capability_calls_are_refused_at_once) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    (void)ask(&vrig, "a", TAG_SET, 1);
    ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
    nobody_offers(&vrig, "a");
    nobody_offers(&vrig, "new");
    struct asking asking = {.request = message(&vrig, "a", TAG_GET, NULL), .token = 1};
    act(&vrig.rig, puppet, puppet_ask_job, &asking);
    ck_assert_int_eq(asking.result, WEFT_E_NOCAPABILITY);
    act(&vrig.rig, puppet, puppet_tell_job, &asking);
    ck_assert_int_eq(asking.result, WEFT_E_NOCAPABILITY);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 1, &queue), 0);
    ck_assert_int_eq(weft_cq_vcall(queue, &asking.request, 1, NULL), WEFT_E_NOCAPABILITY);
    weft_cq_destroy(&queue);
    eventually(vrig_count(&vrig) == 0);
    ck_assert_int_eq(end_at(0).reason, WEFT_E_REBALANCING);
    ck_assert_uint_eq(probe_count(&probe), 0);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(the_actors_of_a_capability_end_with_it_and_no_others) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    enum { ACTORS = 500 };
    const weft_capability *game = vrig_capability(&vrig, "game");
    char id[16];
    for (uint32_t i = 0; i < 2 * ACTORS; i++) {
        (void)snprintf(id, sizeof(id), "%u", i / 2);
        uint64_t number = i;
        weft_vrequest request = message(&vrig, id, TAG_SET, &number);
        request.capability = i % 2 == 0 ? vrig.chat : game;
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    }
    static const char *const names[] = {"unknown", "chat", "chat"};
    ck_assert_int_eq(weft_capability_unregister(vrig.rig.runtime, names, 3), 0);
    eventually(vrig_count(&vrig) == ACTORS);
    eventually(world_ends() == ACTORS);
    for (uint32_t i = 0; i < ACTORS; i++) {
        ck_assert_int_eq(end_at(i).reason, WEFT_E_REBALANCING);
        (void)snprintf(id, sizeof(id), "%u", i);
        struct view view = {0};
        weft_vrequest request = message(&vrig, id, TAG_GET, NULL);
        request.capability = game;
        ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
        ck_assert_uint_eq(view.value, 2 * i + 1);
    }
    ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    ck_assert_uint_eq(ask(&vrig, "7", TAG_GET, 0).value, 0); /* afresh */
    ck_assert_int_eq(give_up(&vrig.rig, "unknown"), 0);
    vrig_stop(&vrig);
}
END_TEST

/* Those that wait for one that is busy, or whose requests it holds, are told. */
START_TEST(busy_actors_end_as_well_and_their_callers_are_told) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_vrequest hold = message(&vrig, "a", TAG_HOLD, NULL);
    (void)puppet_ask(&vrig, puppet, &hold, 1);
    (void)ask(&vrig, "a", TAG_TIMER, 3600 * S_NS);
    (void)ask(&vrig, "a", TAG_KEEP, 1);
    (void)tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    if (_i > 0) { /* a thread is free for it */
        weft_vrequest get = message(&vrig, "a", TAG_GET, NULL);
        (void)puppet_ask(&vrig, puppet, &get, 2);
    }
    ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
    nobody_offers(&vrig, "a");
    atomic_store(&world.gate, 1);
    uint32_t calls = _i > 0 ? 2 : 1;
    for (uint32_t i = 0; i < calls; i++) {
        ck_assert_int_eq(reply_at(&probe, i).status, WEFT_E_REBALANCING);
    }
    eventually(vrig_count(&vrig) == 0);
    ck_assert_int_eq(end_at(0).reason, WEFT_E_REBALANCING);
    ck_assert_uint_eq(probe_count(&probe), calls);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(replacing_keeps_those_that_are_in_both) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    (void)vrig_capability(&vrig, "game");
    const weft_capability *both = vrig_capability(&vrig, "both");
    weft_vrequest request = message(&vrig, "a", TAG_ADD, NULL);
    struct view before = {0};
    struct view after = {0};
    (void)ask(&vrig, "a", TAG_SET, 1);
    request.capability = both;
    ck_assert_int_eq(try_request(&vrig, &request, &before), 0);
    static const char *const names[] = {"new", "both", "both"};
    ck_assert_int_eq(weft_capability_replace(vrig.rig.runtime, names, 3), 0);
    offered_is(&vrig.rig, "both new ");
    nobody_offers(&vrig, "a");
    ck_assert_int_eq(try_request(&vrig, &request, &after), 0);
    ck_assert(weft_pid_equal(before.pid, after.pid));
    request.capability = weft_capability_find(vrig.rig.runtime, "new");
    ck_assert_int_eq(try_request(&vrig, &request, &after), 0);
    eventually(vrig_count(&vrig) == 2);
    vrig_stop(&vrig);
}
END_TEST

/* ---- with saving ----------------------------------------------------------------------------- */

START_TEST(states_are_saved_and_come_back_when_it_is_offered_again) {
    struct vrig vrig = start_saving(_i);
    enum { ACTORS = 100 };
    char id[16];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < ACTORS; i++) {
            (void)snprintf(id, sizeof(id), "%u", (unsigned)i);
            ck_assert_uint_eq(ask(&vrig, id, TAG_ADD, i).value, i * (round + 1));
        }
        (void)ask(&vrig, "0", TAG_KEEP, 1); /* also these */
        (void)ask(&vrig, "1", TAG_TIMER, 3600 * S_NS);
        ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
        eventually(vrig_count(&vrig) == 0);
        ck_assert_uint_eq(faulty_keys(&faulty), ACTORS);
        ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    }
    ck_assert_uint_eq(atomic_load(&world.inits), ACTORS);
    stop_saving(&vrig);
}
END_TEST

/* It may be offered again while the old one is still being saved: there is one at a time. */
START_TEST(an_actor_that_is_saved_for_leaving_has_left_before_the_next_one) {
    struct vrig vrig = start_saving(_i);
    struct view before = ask(&vrig, "a", TAG_SET, 9);
    hold_store();
    ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
    eventually(faulty_waiting(&faulty) == 1);
    nobody_offers(&vrig, "a");
    ck_assert_uint_eq(atomic_load(&world.deaths), 0);
    ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    weft_cq *queue = NULL;
    weft_completion completion;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 1, &queue), 0);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 1, NULL), 0);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(atomic_load(&world.births), 1);
    step_on();
    eventually(weft_cq_next(queue, &completion) == 1);
    ck_assert(completion.status == 0 || completion.status == WEFT_E_REBALANCING);
    if (completion.status == 0) {
        weft_runtime_msg_release(vrig.rig.runtime, &completion.reply);
    }
    weft_cq_destroy(&queue);
    struct view after = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(after.value, 9);
    ck_assert(!weft_pid_equal(after.pid, before.pid));
    ck_assert_int_eq(end_at(0).reason, WEFT_E_REBALANCING);
    stop_saving(&vrig);
}
END_TEST

START_TEST(an_actor_that_cannot_be_saved_leaves_all_the_same) {
    struct vrig vrig = start_saving(_i);
    (void)ask(&vrig, "a", TAG_SET, 9);
    (void)ask(&vrig, "b", TAG_SET, 9);
    faulty_next(&faulty, FAULTY_PUT, FAULTY_FAIL, 2);
    ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
    eventually(vrig_count(&vrig) == 0);
    ck_assert_int_eq(end_at(0).reason, WEFT_E_REBALANCING);
    ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 0);
    stop_saving(&vrig);
}
END_TEST

/* ---- from several threads -------------------------------------------------------------------- */

struct turmoil {
    struct vrig *vrig;
    _Atomic bool over;
    _Atomic uint64_t good;
    _Atomic uint64_t refused;
};

static void *turn_on_and_off(void *arg) {
    struct turmoil *turmoil = arg;
    weft_runtime *runtime = turmoil->vrig->rig.runtime;
    static const char *const both[] = {"chat", "game"};
    for (uint32_t i = 0; !atomic_load(&turmoil->over); i++) {
        ck_assert_int_eq(i % 3 == 0 ? weft_capability_unregister(runtime, chat_name, 1)
                                    : weft_capability_register(runtime, both, i % 2 + 1),
                         0);
        const char *names[4];
        int count = weft_all_capabilities(runtime, names, 4);
        ck_assert(count >= 0 && count <= 2);
        ck_assert(count < 2 || strcmp(names[0], names[1]) < 0);
        sleep_ns(200000);
    }
    return NULL;
}

static void *call_all_the_time(void *arg) {
    struct turmoil *turmoil = arg;
    for (uint64_t i = 0; atomic_load(&turmoil->good) < TURMOIL; i++) { /* bounded by the timeout */
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", (unsigned)(i % 50));
        int result = try_ask(turmoil->vrig, id, TAG_ADD, 1);
        ck_assert(result == 0 || result == WEFT_E_NOCAPABILITY || result == WEFT_E_REBALANCING);
        atomic_fetch_add(result == 0 ? &turmoil->good : &turmoil->refused, 1);
        sleep_ns(result == 0 ? 0 : 20000);
    }
    return NULL;
}

START_TEST(names_come_and_go_under_calls) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct turmoil turmoil = {.vrig = &vrig};
    pthread_t threads[6];
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i < 3 ? call_all_the_time : turn_on_and_off, &turmoil),
                         0);
    }
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        atomic_store(&turmoil.over, i >= 2);
    }
    ck_assert_uint_ge(atomic_load(&turmoil.good), TURMOIL);
    ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
    eventually(vrig_count(&vrig) == 0);
    ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    (void)ask(&vrig, "a", TAG_GET, 0);
    vrig_stop(&vrig);
}
END_TEST

/* Casts to new ids until the capability is gone. */
static void *slip_in(void *arg) {
    struct turmoil *turmoil = arg;
    for (int result = 0; result == 0;) { /* bounded by the end of the capability */
        uint64_t id = atomic_fetch_add(&turmoil->good, 1);
        weft_vrequest request = message_to(turmoil->vrig, &id, sizeof(id), TAG_GET);
        result = weft_runtime_vcast(turmoil->vrig->rig.runtime, &request, NULL);
        ck_assert(result == 0 || result == WEFT_E_NOCAPABILITY || result == WEFT_E_REBALANCING);
    }
    return NULL;
}

START_TEST(nobody_stays_who_was_activated_at_the_last_moment) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct turmoil turmoil = {.vrig = &vrig};
    for (uint32_t round = 0; round < 100 / SLOWER; round++) {
        pthread_t threads[3];
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, slip_in, &turmoil), 0);
        }
        sleep_ns(300000);
        ck_assert_int_eq(give_up(&vrig.rig, "chat"), 0);
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        }
        eventually(vrig_count(&vrig) == 0);
        ck_assert_int_eq(offer(&vrig.rig, "chat"), 0);
    }
    vrig_stop(&vrig);
}
END_TEST

/* ---- nodes and shards ------------------------------------------------------------------------ */

START_TEST(one_node_offers_and_owns_everything) {
    struct rig rig = rig_start(1);
    const char *nodes[3] = {NULL, NULL, NULL};
    const char *node = NULL;
    ck_assert(strcmp(weft_node_name(rig.runtime), "local") == 0);
    ck_assert_int_eq(weft_nodes_for(rig.runtime, "chat", nodes, 3), 0);
    ck_assert_int_eq(weft_owner_node(rig.runtime, 0, "chat", &node), WEFT_E_NOCAPABILITY);
    ck_assert_int_eq(offer(&rig, "chat"), 0);
    ck_assert_int_eq(weft_nodes_for(rig.runtime, "chat", nodes, 3), 1);
    ck_assert(strcmp(nodes[0], "local") == 0);
    ck_assert_ptr_null(nodes[1]);
    ck_assert_int_eq(weft_nodes_for(rig.runtime, "chat", NULL, 0), 1);
    ck_assert_int_eq(weft_nodes_for(rig.runtime, "game", nodes, 3), 0);
    uint32_t count = weft_shard_count(rig.runtime);
    ck_assert_uint_eq(count, 4096);
    for (uint32_t shard = 0; shard < count; shard += 63) {
        node = NULL;
        ck_assert_int_eq(weft_owner_node(rig.runtime, shard, "chat", &node), 0);
        ck_assert(strcmp(node, "local") == 0);
    }
    node = NULL;
    ck_assert_int_eq(weft_owner_node(rig.runtime, count, "chat", &node), -EINVAL);
    ck_assert_int_eq(weft_owner_node(rig.runtime, UINT32_MAX, "chat", &node), -EINVAL);
    ck_assert_int_eq(weft_owner_node(rig.runtime, 0, "game", &node), WEFT_E_NOCAPABILITY);
    ck_assert_int_eq(give_up(&rig, "chat"), 0);
    ck_assert_int_eq(weft_owner_node(rig.runtime, 0, "chat", &node), WEFT_E_NOCAPABILITY);
    ck_assert_ptr_null(node);
    ck_assert_int_eq(weft_nodes_for(rig.runtime, "chat", nodes, 3), 0);
    rig_stop(&rig);
}
END_TEST

static const uint32_t counts[] = {1, 7, 4096, 16384, WEFT_SHARDS_MAX};

START_TEST(the_shard_of_an_id_is_that_of_the_configured_hash) {
    static char id[10000];
    memset(id, 'i', sizeof(id));
    weft_config config = rig_config(1);
    config.shards = counts[_i % 5];
    config.shard_hash = _i < 5 ? WEFT_SHARD_HASH_XXH3 : WEFT_SHARD_HASH_PHASH2;
    weft_type_def def = cell_def("cell");
    struct vrig vrig = vrig_start_config(&config, &def);
    weft_runtime *runtime = vrig.rig.runtime;
    ck_assert_uint_eq(weft_shard_count(runtime), counts[_i % 5]);
    static const size_t sizes[] = {0, 1, 2, 8, 24, 25, 240, 241, 10000};
    for (uint32_t i = 0; i < 9; i++) {
        uint32_t shard = weft_shard_for(runtime, id, sizes[i]);
        ck_assert_uint_lt(shard, counts[_i % 5]);
        ck_assert_uint_eq(shard, weft_shard_for(runtime, id, sizes[i]));
        ck_assert_uint_eq(shard, weft_shard_of(config.shard_hash, id, sizes[i], counts[_i % 5]));
        weft_vrequest request = message_to(&vrig, id, sizes[i], TAG_GET);
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    }
    if (_i == 5 + 2) { /* as in the Erlang system this one is compatible with */
        ck_assert_uint_eq(weft_shard_for(runtime, "game_1", 6), 1467);
        ck_assert_uint_eq(weft_shard_for(runtime, "player_456", 10), 2956);
    }
    ck_assert_uint_eq(vrig_count(&vrig), 9);
    vrig_stop(&vrig);
}
END_TEST

static uint32_t first_node(void *cookie, uint32_t shard, const char *capability,
                           const weft_shard_node *nodes, uint32_t count) {
    (void)shard;
    (void)capability;
    ck_assert_uint_eq(count, 1);
    ck_assert(strcmp(nodes[0].name, "local") == 0);
    atomic_fetch_add((_Atomic uint32_t *)cookie, 1);
    return 0;
}

START_TEST(a_strategy_of_the_program_is_set_before_the_start) {
    static _Atomic uint32_t calls;
    weft_runtime *runtime = NULL;
    weft_config config = rig_config(1);
    const char *node = NULL;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    ck_assert_int_eq(weft_strategy_set(runtime, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_strategy_set(NULL, first_node, &calls), -EINVAL);
    ck_assert_int_eq(weft_strategy_set(runtime, first_node, &calls), 0);
    ck_assert_int_eq(weft_capability_register(runtime, chat_name, 1),
                     0); /* before the start, too */
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    ck_assert_int_eq(weft_strategy_set(runtime, first_node, &calls), -EALREADY);
    ck_assert_uint_eq(atomic_load(&calls), 0);
    ck_assert_int_eq(weft_owner_node(runtime, 5, "chat", &node), 0);
    ck_assert_uint_gt(atomic_load(&calls), 0);
    ck_assert(strcmp(node, "local") == 0);
    ck_assert_int_eq(weft_runtime_stop(runtime, 30 * S_NS), 0);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
}
END_TEST

/* Gives the shard the cookie points to, and no other, to the node behind the last one. */
static uint32_t one_is_nobodys(void *cookie, uint32_t shard, const char *capability,
                               const weft_shard_node *nodes, uint32_t count) {
    (void)capability;
    (void)nodes;
    return shard == *(const uint32_t *)cookie ? count : 0;
}

/* Whoever asks is told the same. */
START_TEST(a_shard_that_a_strategy_gives_to_no_node_has_no_actors) {
    static char ids[2][40] = {"mine", "an id that is too long for its entry"};
    const char *lost = ids[_i], *node = NULL;
    uint32_t nobodys = 0;
    weft_config config = rig_config(1);
    struct vrig vrig = {0};
    weft_type_def def = cell_def("cell");
    ck_assert_int_eq(weft_runtime_create(&config, &vrig.rig.runtime), 0);
    weft_runtime *runtime = vrig.rig.runtime;
    nobodys = weft_shard_for(runtime, lost, strlen(lost));
    ck_assert_int_eq(weft_strategy_set(runtime, one_is_nobodys, &nobodys), 0);
    vrig.cell = rig_type(&vrig.rig, &def);
    vrig.chat = vrig_capability(&vrig, "chat");
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    ck_assert_int_eq(weft_owner_node(runtime, nobodys, "chat", &node), -EINVAL);
    ck_assert_ptr_null(node);
    weft_vrequest request = message(&vrig, lost, TAG_ADD, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(try_ask(&vrig, lost, TAG_ADD, 1), -EINVAL);
        ck_assert_int_eq(weft_runtime_vcast(runtime, &request, NULL), -EINVAL);
    }
    request.flags = WEFT_ONLY_IF_ACTIVE;
    ck_assert_int_eq(weft_runtime_vcast(runtime, &request, NULL), WEFT_E_INACTIVE);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    ck_assert_int_eq(try_ask(&vrig, "another", TAG_ADD, 1), 0);
    ck_assert_int_eq(try_ask(&vrig, ids[1 - _i], TAG_ADD, 1), 0);
    ck_assert_uint_eq(vrig_count(&vrig), 2);
    vrig_stop(&vrig);
}
END_TEST

#define ALL SCHEDULER_CASES

static Suite *capability_suite(void) {
    Suite *suite = suite_create("capability");
    TCase *names = tcase_create("names");
    TCase *ends = tcase_create("ends");
    TCase *nodes = tcase_create("nodes");
    tcase_set_timeout(names, 180);
    tcase_set_timeout(ends, 180);
    tcase_set_timeout(nodes, 180);
    tcase_add_test(names, registering_adds_and_does_not_replace);
    tcase_add_test(names, empty_lists_are_fine);
    tcase_add_test(names, a_wrong_name_leaves_everything_as_it_was);
    tcase_add_test(names, a_name_has_one_handle_as_long_as_the_runtime);
    tcase_add_test(names, no_more_than_so_many_are_known);
    tcase_add_loop_test(names, names_come_and_go_under_calls, 0, ALL);
    tcase_add_loop_test(names, nobody_stays_who_was_activated_at_the_last_moment, 0, ALL);
    tcase_add_loop_test(ends, without_the_capability_calls_are_refused_at_once, 0, ALL);
    tcase_add_loop_test(ends, the_actors_of_a_capability_end_with_it_and_no_others, 0, ALL);
    tcase_add_loop_test(ends, busy_actors_end_as_well_and_their_callers_are_told, 0, ALL);
    tcase_add_loop_test(ends, replacing_keeps_those_that_are_in_both, 0, ALL);
    tcase_add_loop_test(ends, states_are_saved_and_come_back_when_it_is_offered_again, 0, ALL);
    tcase_add_loop_test(ends, an_actor_that_is_saved_for_leaving_has_left_before_the_next_one, 0,
                        ALL);
    tcase_add_loop_test(ends, an_actor_that_cannot_be_saved_leaves_all_the_same, 0, ALL);
    tcase_add_test(nodes, one_node_offers_and_owns_everything);
    tcase_add_loop_test(nodes, the_shard_of_an_id_is_that_of_the_configured_hash, 0, 10);
    tcase_add_test(nodes, a_strategy_of_the_program_is_set_before_the_start);
    tcase_add_loop_test(nodes, a_shard_that_a_strategy_gives_to_no_node_has_no_actors, 0, 2);
    suite_add_tcase(suite, names);
    suite_add_tcase(suite, ends);
    suite_add_tcase(suite, nodes);
    return suite;
}

int main(void) {
    return run_suite(capability_suite());
}
