/* SPDX-License-Identifier: MIT
 *
 * Virtual actors from outside: blocking calls of several threads, completion queues, a runtime
 * that is not running yet, stops while thousands are being activated, and memory that runs out.
 */
#define _GNU_SOURCE
#include "tests/unit/virtual_support.h"

#include <poll.h>

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8, KEYS = 300 };

struct racer {
    struct vrig *vrig;
    pthread_barrier_t *barrier;
    struct view views[KEYS];
};

static void *race_for_keys(void *arg) {
    struct racer *racer = arg;
    uint64_t one = 1;
    for (uint64_t key = 0; key < KEYS; key++) {
        weft_vrequest request = message_to(racer->vrig, &key, sizeof(key), TAG_ADD);
        request.payload = &one;
        request.payload_size = sizeof(one);
        (void)pthread_barrier_wait(racer->barrier);
        ck_assert_int_eq(try_request(racer->vrig, &request, &racer->views[key]), 0);
    }
    return NULL;
}

START_TEST(threads_that_race_for_a_key_find_one_actor) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static struct racer racers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        racers[i].vrig = &vrig;
        racers[i].barrier = &barrier;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_for_keys, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        uint64_t values = 0;
        for (uint32_t i = 0; i < THREADS; i++) {
            const struct view *view = &racers[i].views[key];
            ck_assert(weft_pid_equal(view->pid, racers[0].views[key].pid));
            values |= UINT64_C(1) << view->value;
        }
        ck_assert_uint_eq(values, (UINT64_C(1) << (THREADS + 1)) - 2); /* 1 to 8, each once */
    }
    ck_assert_uint_eq(atomic_load(&world.inits), KEYS);
    ck_assert_uint_eq(vrig_count(&vrig), KEYS);
    (void)pthread_barrier_destroy(&barrier);
    vrig_stop(&vrig);
}
END_TEST

static void call_inside(weft_ctx *ctx, void *arg) {
    struct vrig *vrig = arg;
    weft_vrequest request = message(vrig, "b", TAG_ADD, NULL);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_vcall(weft_runtime_of(ctx), &request, &reply, NULL), -EDEADLK);
    ck_assert_ptr_null(reply);
    ck_assert_int_eq(weft_runtime_vcast(weft_runtime_of(ctx), &request, NULL), 0);
}

START_TEST(a_blocking_call_inside_a_handler_is_refused_and_a_cast_is_not) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    act(&vrig.rig, puppet, call_inside, &vrig);
    act_in(&vrig, "a", call_inside, &vrig);
    eventually(atomic_load(&world.handled) == 3);
    ck_assert_uint_eq(ask(&vrig, "b", TAG_GET, 0).handled, 3);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(two_runtimes_have_nothing_in_common) {
    struct vrig left = vrig_start(1);
    struct vrig right = vrig_start(2);
    struct view views[2] = {ask(&left, "a", TAG_SET, 1), ask(&right, "a", TAG_SET, 2)};
    ck_assert_uint_ne(views[0].pid.node, views[1].pid.node);
    ck_assert_uint_eq(ask(&left, "a", TAG_GET, 0).value, 1);
    ck_assert_uint_eq(ask(&right, "a", TAG_GET, 0).value, 2);
    weft_vrequest request = message(&left, "a", TAG_GET, NULL);
    request.type = right.cell; /* another runtime's */
    ck_assert_int_eq(try_request(&left, &request, NULL), -EINVAL);
    request = message(&left, "a", TAG_GET, NULL);
    request.capability = right.chat;
    ck_assert_int_eq(try_request(&left, &request, NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_passivate(left.rig.runtime, views[1].pid), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_stop(left.rig.runtime, 30 * S_NS), 0);
    rig_stop(&left.rig);
    ck_assert_uint_eq(ask(&right, "a", TAG_GET, 0).value, 2);
    vrig_stop(&right);
}
END_TEST

/* ---- before and after ------------------------------------------------------------------------ */

START_TEST(casts_before_the_start_are_handled_after_it_and_calls_are_refused) {
    weft_config config = rig_config(schedulers_of(_i));
    struct vrig vrig = {0};
    weft_type_def def = cell_def("cell");
    ck_assert_int_eq(weft_runtime_create(&config, &vrig.rig.runtime), 0);
    vrig.cell = rig_type(&vrig.rig, &def);
    vrig.chat = vrig_capability(&vrig, "chat");
    weft_pid pid = tell(&vrig, "a", TAG_ADD, 1);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert(weft_pid_equal(tell(&vrig, "a", TAG_ADD, 1), pid));
        (void)tell(&vrig, i % 2 == 0 ? "b" : "c", TAG_ADD, 1);
    }
    ck_assert_int_eq(try_ask(&vrig, "a", TAG_GET, 0), WEFT_E_SHUTDOWN);
    ck_assert_int_eq(weft_runtime_start(vrig.rig.runtime), 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).value, 101);
    ck_assert_uint_eq(ask(&vrig, "b", TAG_GET, 0).value, 50);
    ck_assert_uint_eq(ask(&vrig, "c", TAG_GET, 0).value, 50);
    ck_assert_uint_eq(atomic_load(&world.inits), 3);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(after_the_stop_nothing_is_activated) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct view view = ask(&vrig, "a", TAG_SET, 1);
    ck_assert_int_eq(weft_runtime_stop(vrig.rig.runtime, 30 * S_NS), 0);
    ck_assert_int_eq(end_at(0).reason, WEFT_E_SHUTDOWN);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), WEFT_E_SHUTDOWN);
    ck_assert_int_eq(try_request(&vrig, &request, NULL), WEFT_E_SHUTDOWN);
    request = message(&vrig, "new", TAG_GET, NULL);
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), WEFT_E_SHUTDOWN);
    request.flags = WEFT_ONLY_IF_ACTIVE;
    int result = weft_runtime_vcast(vrig.rig.runtime, &request, NULL);
    ck_assert(result == WEFT_E_SHUTDOWN || result == WEFT_E_INACTIVE);
    ck_assert(!is_active(&vrig, "a"));
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, view.pid), WEFT_E_NOPROC);
    weft_vcursor *cursor = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    ck_assert_int_eq(weft_vcursor_create(vrig.rig.runtime, NULL, &cursor), 0);
    ck_assert_int_eq(weft_vcursor_next(cursor, &entry), 0);
    weft_vcursor_destroy(&cursor);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    vrig_stop(&vrig);
}
END_TEST

/* ---- completion queues ----------------------------------------------------------------------- */

static weft_completion next(weft_cq *queue) {
    weft_completion completion = {0};
    while (weft_cq_next(queue, &completion) == 0) { /* bounded by poll */
        struct pollfd wait = {.fd = weft_cq_fd(queue), .events = POLLIN};
        ck_assert_int_eq(poll(&wait, 1, 20000), 1);
    }
    return completion;
}

static uint64_t take_value(struct vrig *vrig, weft_completion *completion) {
    struct view view = {0};
    ck_assert_int_eq(completion->status, 0);
    memcpy(&view, weft_msg_data(completion->reply), sizeof(view));
    weft_runtime_msg_release(vrig->rig.runtime, &completion->reply);
    return view.value;
}

START_TEST(every_call_of_a_queue_completes_once) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    enum { CALLS = 20000, IN_FLIGHT = 64 };
    static uint8_t completed[CALLS];
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, IN_FLIGHT, &queue), 0);
    uint64_t started = 0;
    for (uint32_t finished = 0; finished < CALLS; finished++) {
        while (started < CALLS && started - finished < IN_FLIGHT) {
            uint64_t key = started % 1000;
            weft_pid pid = weft_pid_none();
            weft_vrequest request = message_to(&vrig, &key, sizeof(key), TAG_SET);
            request.payload = &started;
            request.payload_size = sizeof(started);
            ck_assert_int_eq(weft_cq_vcall(queue, &request, started, &pid), 0);
            ck_assert(!weft_pid_is_none(pid));
            started++;
        }
        weft_completion done = next(queue);
        ck_assert_uint_eq(take_value(&vrig, &done), done.token);
        ck_assert_uint_eq(completed[done.token]++, 0);
    }
    weft_completion none;
    ck_assert_int_eq(weft_cq_next(queue, &none), 0);
    ck_assert_uint_eq(atomic_load(&world.inits), 1000);
    weft_cq_destroy(&queue);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(calls_of_a_queue_keep_their_order) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 16, &queue), 0);
    for (uint64_t key = 0; key < 1000; key++) {
        for (uint64_t i = 1; i <= 3; i++) { /* SET 1, SET 2, GET */
            weft_vrequest request =
                message_to(&vrig, &key, sizeof(key), i == 3 ? TAG_GET : TAG_SET);
            request.payload = &i;
            request.payload_size = sizeof(i);
            ck_assert_int_eq(weft_cq_vcall(queue, &request, i, NULL), 0);
        }
        for (uint64_t i = 1; i <= 3; i++) {
            weft_completion done = next(queue);
            ck_assert_uint_eq(take_value(&vrig, &done), done.token == 3 ? 2 : done.token);
        }
    }
    weft_cq_destroy(&queue);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_queue_is_told_of_crashes_failing_inits_and_silence) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 2, &queue), 0);
    weft_vrequest request = message(&vrig, "a", TAG_CRASH, NULL);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 1, NULL), 0);
    weft_completion done = next(queue);
    ck_assert_int_eq(done.status, WEFT_E_CRASHED);
    ck_assert_uint_eq(done.token, 1);
    ck_assert_ptr_null(done.reply);
    eventually(!is_active(&vrig, "a"));
    atomic_store(&world.init_result, -EPERM);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 2, NULL), 0);
    ck_assert_int_eq(next(queue).status, -EPERM);
    atomic_store(&world.init_result, 0);
    request = message(&vrig, "a", TAG_HOLD, NULL);
    request.timeout_ns = 50 * MS_NS;
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 3, NULL), 0);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 4, NULL), 0);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 5, NULL), -EAGAIN);
    for (uint64_t i = 3; i <= 4; i++) {
        eventually(weft_cq_next(queue, &done) == 1);
        ck_assert_int_eq(done.status, -ETIMEDOUT);
        ck_assert_uint_eq(done.token, i);
    }
    (void)ask(&vrig, "a", TAG_LET_GO, 0); /* too late */
    ck_assert_int_eq(weft_cq_next(queue, &done), 0);
    ck_assert_int_eq(weft_cq_vcall(queue, &request, 6, NULL), 0);
    weft_cq_destroy(&queue); /* one is in flight */
    (void)ask(&vrig, "a", TAG_LET_GO, 0);
    vrig_stop(&vrig);
}
END_TEST

/* One thread for everything: it drives the only scheduler, and calls. */
START_TEST(a_driven_runtime_serves_the_calls_of_its_driver) {
    weft_config config = rig_config(1);
    config.driven = true;
    weft_type_def def = cell_def("cell");
    def.idle_ns = 30 * MS_NS;
    struct vrig vrig = vrig_start_config(&config, &def);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(vrig.rig.runtime, 16, &queue), 0);
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t key = i % 10;
        weft_vrequest request = message_to(&vrig, &key, sizeof(key), TAG_SET);
        request.payload = &i;
        request.payload_size = sizeof(i);
        ck_assert_int_eq(weft_cq_vcall(queue, &request, i, NULL), 0);
        weft_completion done;
        while (weft_cq_next(queue, &done) == 0) { /* bounded by the test's time */
            ck_assert_int_ge(weft_runtime_drive(vrig.rig.runtime, 0, 0), 0);
        }
        ck_assert_uint_eq(take_value(&vrig, &done), i);
    }
    uint64_t until_ns = clock_ns() + 20 * S_NS;
    while (vrig_count(&vrig) != 0) { /* the same thread sees to the idle ones */
        ck_assert_uint_lt(clock_ns(), until_ns);
        ck_assert_int_ge(weft_runtime_drive(vrig.rig.runtime, 0, 5 * MS_NS), 0);
    }
    weft_cq_destroy(&queue);
    vrig_stop(&vrig);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* An allocator that counts, and fails the n-th request. */
struct memory {
    _Atomic uint64_t fail_at;     /* from 1; 0: none */
    _Atomic bool states_all_fail; /* of actors */
    _Atomic uint64_t requests;
    _Atomic uint64_t failed;
    _Atomic int64_t blocks;
    _Atomic int64_t bytes;
};

static bool fails(struct memory *memory) {
    uint64_t number = atomic_fetch_add(&memory->requests, 1) + 1;
    bool fail = number == atomic_load(&memory->fail_at);
    atomic_fetch_add(&memory->failed, fail ? 1 : 0);
    return fail;
}

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    struct memory *memory = cookie;
    bool state_fails = atomic_load(&memory->states_all_fail) && strcmp(tag, "state") == 0;
    if (state_fails || fails(memory)) {
        return NULL;
    }
    size_t *block = malloc(16 + size);
    ck_assert_ptr_nonnull(block);
    *block = size;
    memset((char *)block + 16, 0xa5, size);
    atomic_fetch_add(&memory->blocks, 1);
    atomic_fetch_add(&memory->bytes, (int64_t)size);
    return (char *)block + 16;
}

static void memory_free(void *cookie, void *at, size_t size, const char *tag) {
    struct memory *memory = cookie;
    size_t *block = (size_t *)(void *)((char *)at - 16);
    ck_assert_msg(*block == size, "%zu bytes of %s freed as %zu", *block, tag, size);
    atomic_fetch_sub(&memory->blocks, 1);
    atomic_fetch_sub(&memory->bytes, (int64_t)size);
    memset(at, 0x5a, size);
    free(block);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)size;
    (void)tag;
    return fails(cookie) ? -ENOMEM : 0;
}

static weft_config memory_config(struct memory *memory, uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.blocking_threads = 1;
    config.allocator = (weft_allocator){
        .cookie = memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    return config;
}

/* Stops, destroys, and nothing is left in any sense. */
static void leave_nothing(struct memory *memory, weft_runtime *runtime) {
    ck_assert_int_eq(weft_runtime_stop(runtime, 30 * S_NS), 0);
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    ck_assert_int_eq(weft_gauges_read(runtime, &gauges), 0);
    ck_assert_uint_eq(gauges.actors, 0);
    ck_assert_uint_eq(gauges.messages, 0);
    ck_assert_uint_eq(gauges.timers, 0);
    ck_assert_uint_eq(gauges.buffers, 0);
    ck_assert_uint_eq(weft_virtual_count(runtime, NULL), 0);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    ck_assert_int_eq(atomic_load(&memory->blocks), 0);
    ck_assert_int_eq(atomic_load(&memory->bytes), 0);
}

/* ---- stops under load ------------------------------------------------------------------------ */

struct storm {
    struct vrig vrig;
    weft_store *store;
    _Atomic uint64_t next; /* id */
    _Atomic uint64_t good;
};

/* Activates new ones, with init arguments and long ids, until the runtime stops. */
static void *storm_run(void *arg) {
    struct storm *storm = arg;
    weft_runtime *runtime = storm->vrig.rig.runtime;
    for (int result = 0; result != WEFT_E_SHUTDOWN;) { /* bounded by the stop */
        char id[64];
        uint64_t number = atomic_fetch_add(&storm->next, 1);
        (void)snprintf(id, sizeof(id), "a rather long id of an actor, number %llu",
                       (unsigned long long)number / 2);
        weft_vrequest request = message(&storm->vrig, id, TAG_ADD, &number);
        request.init_arg = id;
        request.init_arg_size = 40;
        uint32_t turn = (uint32_t)(number % 8);
        request.tag = turn == 5   ? TAG_STOP
                      : turn == 6 ? TAG_PASSIVATE
                      : turn == 7 ? TAG_CRASH
                                  : TAG_ADD;
        result = turn == 0 ? try_request(&storm->vrig, &request, NULL)
                           : weft_runtime_vcast(runtime, &request, NULL);
        atomic_fetch_add(&storm->good, result == 0 ? 1 : 0);
        ck_assert_msg(result == 0 || result == WEFT_E_SHUTDOWN || result == WEFT_E_CRASHED ||
                          result == WEFT_E_NOPROC || result == -EBUSY,
                      "%d: %s", result, weft_strerror(result));
    }
    return NULL;
}

/* Number: schedulers, and whether states are saved. */
START_TEST(a_stop_while_many_are_being_activated_leaves_nothing) {
    struct memory memory = {0};
    static struct storm storm;
    weft_config config = memory_config(&memory, schedulers_of(_i / 2));
    weft_type_def def = cell_def("cell");
    ck_assert_int_eq(weft_store_memory_create(0, &storm.store), 0);
    def.save = _i % 2 == 0 ? NULL : cell_save;
    def.restore = _i % 2 == 0 ? NULL : cell_restore;
    def.store = _i % 2 == 0 ? NULL : storm.store;
    def.active_max = 1000;
    def.idle_ns = 5 * MS_NS;
    for (uint32_t round = 0; round < 5; round++) {
        storm.vrig = vrig_start_config(&config, &def);
        pthread_t threads[4];
        for (uint32_t i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, storm_run, &storm), 0);
        }
        sleep_ns(round * 20 * MS_NS);
        ck_assert_int_eq(weft_runtime_stop(storm.vrig.rig.runtime, 30 * S_NS), 0);
        for (uint32_t i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        }
        leave_nothing(&memory, storm.vrig.rig.runtime);
    }
    ck_assert_uint_gt(atomic_load(&storm.good), 0);
    weft_store_memory_destroy(&storm.store);
}
END_TEST

/* ---- memory that runs out -------------------------------------------------------------------- */

struct scarce {
    struct memory memory;
    struct vrig vrig;
    weft_store *store;
    uint32_t errors;
};

/* Whether it went well; else it is an error the API names for want of memory. */
static bool accept_result(struct scarce *scarce, int result) {
    ck_assert_msg(result == 0 || result == -ENOMEM || result == WEFT_E_LIMIT ||
                      result == -ETIMEDOUT || result == WEFT_E_CRASHED,
                  "answered %d: %s", result, weft_strerror(result));
    scarce->errors += result == 0 ? 0 : 1;
    return result == 0;
}

static void use_address(struct scarce *scarce, const char *id, const weft_type *type) {
    uint64_t number = 1;
    static const uint32_t tags[] = {TAG_ADD, TAG_ACCOUNT, TAG_ADD,    TAG_TIMER, TAG_PASSIVATE,
                                    TAG_ADD, TAG_STOP,    TAG_FORGET, TAG_ADD};
    for (uint32_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        weft_vrequest request = message(&scarce->vrig, id, tags[i], &number);
        request.type = type;
        request.init_arg = "argument";
        request.init_arg_size = 8;
        request.timeout_ns = SOON_NS;
        (void)accept_result(
            scarce, i % 2 == 0 ? try_request(&scarce->vrig, &request, NULL)
                               : weft_runtime_vcast(scarce->vrig.rig.runtime, &request, NULL));
    }
}

/* The same from an actor, which has to keep in mind what it has asked. */
static void use_from_actor(struct scarce *scarce, const weft_type *puppet) {
    weft_runtime *runtime = scarce->vrig.rig.runtime;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT};
    weft_pid pid;
    if (!accept_result(scarce, weft_runtime_spawn(runtime, puppet, &options, &pid))) {
        return;
    }
    static const char *const ids[] = {"c", "an id of an actor that does not fit into a record"};
    for (uint32_t i = 0; i < 8; i++) {
        static struct asking asking; /* it may come too late */
        asking = (struct asking){.request = message(&scarce->vrig, ids[i % 2], TAG_ADD, NULL)};
        struct job job = {.fn = i < 4 ? puppet_ask_job : puppet_tell_job, .arg = &asking};
        weft_msg *reply = NULL;
        if (accept_result(scarce, weft_runtime_call(runtime, pid, TAG_ACT, &job, sizeof(job),
                                                    SOON_NS, &reply))) {
            weft_runtime_msg_release(runtime, &reply);
            (void)accept_result(scarce, asking.result);
        }
    }
    weft_cq *queue = NULL;
    if (accept_result(scarce, weft_cq_create(runtime, 4, &queue))) {
        weft_vrequest request = message(&scarce->vrig, ids[1], TAG_ADD, NULL);
        weft_completion completion = {0};
        if (accept_result(scarce, weft_cq_vcall(queue, &request, 1, NULL))) {
            eventually(weft_cq_next(queue, &completion) == 1);
            if (accept_result(scarce, completion.status)) {
                weft_runtime_msg_release(runtime, &completion.reply);
            }
        }
        weft_cq_destroy(&queue);
    }
}

static void use_tables(struct scarce *scarce) {
    weft_vcursor *cursor = NULL;
    if (!accept_result(scarce, weft_vcursor_create(scarce->vrig.rig.runtime, NULL, &cursor))) {
        return;
    }
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int result;
    do { /* bounded by what is active */
        result = weft_vcursor_next(cursor, &entry);
    } while (result == 1);
    (void)accept_result(scarce, result);
    weft_vcursor_destroy(&cursor);
}

static void use_everything(struct scarce *scarce) {
    weft_runtime *runtime = scarce->vrig.rig.runtime;
    weft_type_def def = cell_def("cell");
    weft_type_def saved = cell_def("saved");
    def.idle_ns = 3600 * S_NS;
    def.active_max = 3;
    saved.save = cell_save;
    saved.restore = cell_restore;
    saved.store = scarce->store;
    saved.store_timeout_ns = S_NS;
    weft_type_def puppet = puppet_def("puppet");
    const weft_type *puppet_type = NULL;
    const weft_type *saved_type = NULL;
    if (!accept_result(scarce, weft_type_register(runtime, &puppet, &puppet_type)) ||
        !accept_result(scarce, weft_type_register(runtime, &def, &scarce->vrig.cell)) ||
        !accept_result(scarce, weft_type_register(runtime, &saved, &saved_type)) ||
        !accept_result(scarce, weft_capability_add(runtime, "chat", &scarce->vrig.chat)) ||
        !accept_result(scarce, weft_runtime_start(runtime))) {
        return;
    }
    use_address(scarce, "a", scarce->vrig.cell);
    use_address(scarce, "an id that does not fit into a record", scarce->vrig.cell);
    use_address(scarce, "b", saved_type);
    use_address(scarce, "another id that does not fit into a record", saved_type);
    for (uint32_t i = 0; i < 6; i++) {
        char id[8];
        uint64_t number = 1;
        (void)snprintf(id, sizeof(id), "%u", i);
        weft_vrequest request = message(&scarce->vrig, id, TAG_ADD, &number);
        request.timeout_ns = SOON_NS;
        (void)accept_result(scarce, try_request(&scarce->vrig, &request, NULL));
    }
    use_from_actor(scarce, puppet_type);
    use_tables(scarce);
    static const char *const name = "chat";
    (void)accept_result(scarce, weft_capability_unregister(runtime, &name, 1));
}

/* Runs the scenario; how many requests for memory it made. */
static uint64_t scarce_run(uint64_t fail_at) {
    static struct scarce scarce;
    scarce = (struct scarce){0};
    atomic_store(&world.may_fail, -ENOMEM);
    atomic_store(&scarce.memory.fail_at, fail_at);
    ck_assert_int_eq(weft_store_memory_create(0, &scarce.store), 0);
    weft_config config = memory_config(&scarce.memory, 1);
    if (accept_result(&scarce, weft_runtime_create(&config, &scarce.vrig.rig.runtime))) {
        use_everything(&scarce);
        leave_nothing(&scarce.memory, scarce.vrig.rig.runtime);
    }
    ck_assert_int_eq(atomic_load(&scarce.memory.blocks), 0);
    ck_assert(atomic_load(&scarce.memory.failed) != 0 || scarce.errors == 0);
    weft_store_memory_destroy(&scarce.store);
    return atomic_load(&scarce.memory.requests);
}

START_TEST(every_failure_of_an_allocation_is_an_error_and_nothing_else) {
    ck_assert_uint_gt(scarce_run(0), 60);
    uint32_t passed = 0;
    for (uint64_t n = 1; passed < 3; n++) {
        ck_assert_uint_lt(n, 2000);
        passed = scarce_run(n) < n ? passed + 1 : 0;
    }
}
END_TEST

static struct scarce *scarce_now;

/* It makes its successor itself, with the last memory there is. */
static void end_in_need(weft_ctx *ctx, void *state, int reason) {
    uint64_t one = 1;
    if (atomic_load(&world.deaths) == 0) {
        weft_vrequest request = message(&scarce_now->vrig, "a", TAG_ADD, &one);
        ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
        atomic_store(&scarce_now->memory.states_all_fail, true);
    }
    cell_terminate(ctx, state, reason);
}

START_TEST(what_is_left_goes_to_the_successor_that_is_there_and_needs_no_memory) {
    static struct scarce scarce;
    scarce_now = &scarce;
    weft_config config = memory_config(&scarce.memory, 1);
    weft_type_def def = cell_def("cell");
    def.terminate = end_in_need;
    scarce.vrig = vrig_start_config(&config, &def);
    (void)tell(&scarce.vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    (void)tell(&scarce.vrig, "a", TAG_STOP, 0);
    for (uint32_t i = 0; i < 10; i++) {
        (void)tell(&scarce.vrig, "a", TAG_ADD, 1);
    }
    atomic_store(&world.gate, 1);
    eventually(atomic_load(&world.births) == 2);
    ck_assert_uint_eq(ask(&scarce.vrig, "a", TAG_GET, 0).value, 11);
    atomic_store(&scarce.memory.states_all_fail, false);
    vrig_stop(&scarce.vrig);
}
END_TEST

static Suite *outside_suite(void) {
    Suite *suite = suite_create("virtual_outside");
    TCase *threads = tcase_create("threads");
    TCase *queue = tcase_create("queue");
    TCase *scarce = tcase_create("memory");
    tcase_set_timeout(threads, 180);
    tcase_set_timeout(queue, 180);
    tcase_set_timeout(scarce, 300);
    tcase_add_loop_test(threads, threads_that_race_for_a_key_find_one_actor, 0, SCHEDULER_CASES);
    tcase_add_loop_test(threads, a_blocking_call_inside_a_handler_is_refused_and_a_cast_is_not, 0,
                        SCHEDULER_CASES);
    tcase_add_test(threads, two_runtimes_have_nothing_in_common);
    tcase_add_loop_test(threads, casts_before_the_start_are_handled_after_it_and_calls_are_refused,
                        0, SCHEDULER_CASES);
    tcase_add_loop_test(threads, after_the_stop_nothing_is_activated, 0, SCHEDULER_CASES);
    tcase_add_loop_test(queue, every_call_of_a_queue_completes_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(queue, calls_of_a_queue_keep_their_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(queue, a_queue_is_told_of_crashes_failing_inits_and_silence, 0,
                        SCHEDULER_CASES);
    tcase_add_test(queue, a_driven_runtime_serves_the_calls_of_its_driver);
    tcase_add_loop_test(scarce, a_stop_while_many_are_being_activated_leaves_nothing, 0,
                        2 * SCHEDULER_CASES);
    tcase_add_test(scarce, every_failure_of_an_allocation_is_an_error_and_nothing_else);
    tcase_add_test(scarce, what_is_left_goes_to_the_successor_that_is_there_and_needs_no_memory);
    suite_add_tcase(suite, threads);
    suite_add_tcase(suite, queue);
    suite_add_tcase(suite, scarce);
    return suite;
}

int main(void) {
    return run_suite(outside_suite());
}
