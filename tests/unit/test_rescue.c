/* SPDX-License-Identifier: MIT
 *
 * What gets through although something is in its way: a kill behind a full mailbox, actors beside
 * a scheduler nobody drives, memory that was all used up, a stop after a start that failed.
 */
#include "tests/unit/support.h"

#include <weft/env.h>

/* An arena is at least as large as this; cells of LARGE bytes fill it in the fewest messages. */
enum { ARENA_BYTES = 64 << 20, POOL_BYTES = 64 << 10, LARGE = 200 };
enum { TAG_GATE = 1, TAG_USER = 2, TAG_PEAK = 3, TAG_TRY = 4 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { TRIED = 5000 };
#else
enum { TRIED = 40000 };
#endif

static weft_pid spawn_on(struct rig *rig, const weft_type *type, struct probe *probe,
                         uint32_t scheduler, bool pin) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &probe,
                                  .arg_size = sizeof(struct probe *),
                                  .scheduler = scheduler,
                                  .pin = pin};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    return pid;
}

/* A type whose mailbox takes everything. */
static const weft_type *unbounded_type(struct rig *rig) {
    weft_type_def def = puppet_def("unbounded");
    def.mailbox_max = WEFT_MAILBOX_UNBOUNDED;
    return rig_type(rig, &def);
}

/* ---- signals ------------------------------------------------------------------------------- */

enum { WAITING = 5000 };

static int gate_then_take(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    if (weft_msg_tag(msg) == TAG_GATE) {
        probe_wait(probe);
        if (probe->user != NULL) {
            weft_msg *taken = weft_msg_take(ctx, msg);
            weft_msg_release(ctx, &taken);
        }
    }
    return WEFT_CONTINUE;
}

START_TEST(a_kill_overtakes_what_waits_also_when_the_handler_takes_its_message) {
    struct rig rig = rig_start(1);
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = gate_then_take;
    probe.user = _i == 0 ? NULL : &rig;
    weft_pid pid = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    for (uint32_t i = 0; i < WAITING; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_USER, &i, sizeof(i)), 0);
    }
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    weft_store32_release(&probe.gate, 1);
    eventually(rig_stats(&rig).exits == 1);
    ck_assert_uint_eq(probe_count(&probe), 1); /* the one at the gate */
    rig_stop(&rig);
}
END_TEST

/* ---- a scheduler that is not driven -------------------------------------------------------- */

struct feeding {
    weft_pid target;
    weft_atomic_u32 turns;
};

static int feed(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)msg;
    struct feeding *feeding = probe->user;
    for (uint32_t i = 0; i < 10; i++) {
        int result = weft_send(ctx, feeding->target, TAG_USER, &i, sizeof(i));
        ck_assert(result == 0 || result == WEFT_E_NOPROC); /* the latter when it was stopped */
    }
    (void)weft_add32_acq_rel(&feeding->turns, 1);
    ck_assert_int_eq(weft_send(ctx, weft_self(ctx), TAG_USER, NULL, 0), 0);
    return WEFT_CONTINUE;
}

START_TEST(a_sender_is_not_drawn_to_a_scheduler_nobody_drives) {
    weft_config config = rig_config(2);
    config.driven = true;
    config.watchdog_none = _i == 0; /* nobody who would take it from there */
    struct rig rig = rig_start_with(&config);
    struct probe fed = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    weft_type_def def = puppet_def("fed");
    def.mailbox_max = 1000;
    def.mailbox_policy = WEFT_MAILBOX_DROP_NEW;
    struct feeding feeding = {.target = spawn_on(&rig, rig_type(&rig, &def), &fed, 1, true)};
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = feed;
    probe.user = &feeding;
    weft_pid feeder = spawn_on(&rig, rig.puppet, &probe, 2, false);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, feeder, TAG_USER, NULL, 0), 0);
    for (int i = 0; i < 5; i++) { /* all the time, not only in the beginning */
        uint32_t turns = weft_load32_acquire(&feeding.turns);
        eventually(weft_load32_acquire(&feeding.turns) - turns >= 100);
        sleep_ns(50 * MS_NS);
    }
    rig_stop(&rig);
}
END_TEST

enum { UNPINNED = 8, ROUNDS = 4 };

static int tell_scheduler(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    uint32_t scheduler = weft_scheduler_of(ctx);
    (void)weft_reply(ctx, &msg, 0, &scheduler, sizeof(scheduler));
    return WEFT_CONTINUE;
}

struct asking {
    struct rig *rig;
    weft_pid pids[UNPINNED];
};

static void *ask_them_all(void *arg) {
    struct asking *asking = arg;
    sleep_ns(50 * MS_NS);
    for (int i = 0; i < ROUNDS * UNPINNED; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_call(asking->rig->runtime, asking->pids[i % UNPINNED],
                                           TAG_USER, NULL, 0, 20 * S_NS, &reply),
                         0);
        uint32_t scheduler = 0;
        memcpy(&scheduler, weft_msg_data(reply), sizeof(scheduler));
        ck_assert_uint_eq(scheduler, 2);
        weft_runtime_msg_release(asking->rig->runtime, &reply);
    }
    return NULL;
}

START_TEST(unpinned_actors_run_elsewhere_while_the_program_does_not_drive) {
    weft_config config = rig_config(2);
    config.driven = true;
    config.watchdog_none = _i == 0;
    struct rig rig = {0};
    ck_assert_int_eq(weft_runtime_create(&config, &rig.runtime), 0);
    weft_type_def def = puppet_def("telling");
    const weft_type *type = rig_type(&rig, &def);
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = tell_scheduler;
    struct asking asking = {.rig = &rig};
    for (int i = 0; i < UNPINNED; i++) {
        asking.pids[i] = rig_spawn_type(&rig, type, &probe);
    }
    ck_assert_int_eq(weft_runtime_start(rig.runtime), 0);
    ck_assert_int_ge(weft_runtime_drive(rig.runtime, 0, 0), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_them_all, &asking), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0); /* the program is busy with something else */
    rig_stop(&rig);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------- */

struct committed {
    weft_atomic_u64 bytes;
    weft_atomic_u32 calls;
};

static void *plain_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    return malloc(size);
}

static void plain_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

static int count_commit(void *cookie, size_t size, const char *tag) {
    struct committed *committed = cookie;
    if (strcmp(tag, "messages") == 0) {
        (void)weft_add64_acq_rel(&committed->bytes, size);
        (void)weft_add32_acq_rel(&committed->calls, 1);
    }
    return 0;
}

static int gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    if (weft_msg_tag(msg) == TAG_GATE) {
        probe_wait(probe);
    }
    return WEFT_CONTINUE;
}

/* Sends from outside until there is no memory; returns how many were sent. */
static uint32_t send_until_full(struct rig *rig, weft_pid pid) {
    static const unsigned char bytes[LARGE];
    uint32_t sent = 0;
    for (size_t size = LARGE; size != 0; size = size == LARGE ? 1 : 0) {
        int result;
        while ((result = weft_runtime_send(rig->runtime, pid, TAG_USER, bytes, size)) == 0) {
            sent++;
        }
        ck_assert_int_eq(result, -ENOMEM);
    }
    return sent;
}

START_TEST(commit_is_asked_for_no_more_than_the_arena) {
    struct committed committed = {0};
    weft_config config = rig_config(1);
    config.arena_bytes = ARENA_BYTES;
    config.allocator = (weft_allocator){
        .cookie = &committed, .alloc = plain_alloc, .free = plain_free, .commit = count_commit};
    struct rig rig = rig_start_with(&config);
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = gate;
    weft_pid pid = spawn_on(&rig, unbounded_type(&rig), &probe, 0, false);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    (void)send_until_full(&rig, pid);
    uint32_t calls = weft_load32_acquire(&committed.calls);
    ck_assert_uint_ge(calls, 1);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_USER, "x", 1), -ENOMEM);
    }
    ck_assert_uint_eq(weft_load32_acquire(&committed.calls), calls);
    ck_assert_uint_le(weft_load64_acquire(&committed.bytes), ARENA_BYTES);
    weft_store32_release(&probe.gate, 1);
    rig_stop(&rig);
}
END_TEST

/* An actor that sends to itself when it is told: a peak, which uses up all memory, or a number of
 * small messages, of which it tells whether all were sent. */
struct sending {
    weft_atomic_u32 tries;
    weft_atomic_u32 successes;
    weft_atomic_u32 peaks;
    uint64_t timer_ns;
    uint32_t count;
};

static int send_to_self(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    static const unsigned char bytes[LARGE];
    struct sending *sending = probe->user;
    if (weft_msg_tag(msg) == TAG_GATE) {
        probe_wait(probe);
    } else if (weft_msg_tag(msg) == TAG_PEAK) {
        if (sending->timer_ns != 0) {
            ck_assert_int_eq(weft_timer_repeat(ctx, sending->timer_ns, TAG_USER, 1, NULL), 0);
        }
        int result;
        while ((result = weft_send(ctx, weft_self(ctx), TAG_USER, bytes, LARGE)) == 0) {
        }
        ck_assert_int_eq(result, -ENOMEM);
        weft_store32_release(&sending->peaks, 1);
    } else if (weft_msg_tag(msg) == TAG_TRY) {
        int result = 0;
        for (uint32_t i = 0; i < sending->count && result == 0; i++) {
            result = weft_send(ctx, weft_self(ctx), TAG_USER, "y", 1);
        }
        ck_assert(result == 0 || result == -ENOMEM);
        (void)weft_add32_acq_rel(&sending->successes, result == 0 ? 1 : 0);
        (void)weft_add32_acq_rel(&sending->tries, 1);
    }
    return WEFT_CONTINUE;
}

/* Lets an actor try until it had memory for all it sends. */
static void try_until_sent(struct rig *rig, weft_pid pid, struct sending *sending) {
    uint64_t until_ns = clock_ns() + 20 * S_NS;
    while (weft_load32_acquire(&sending->successes) == 0) {
        ck_assert(clock_ns() < until_ns);
        uint32_t tries = weft_load32_acquire(&sending->tries);
        int result = weft_runtime_send(rig->runtime, pid, TAG_TRY, NULL, 0);
        ck_assert(result == 0 || result == -ENOMEM);
        if (result == 0) {
            eventually(weft_load32_acquire(&sending->tries) != tries);
        }
        sleep_ns(5 * MS_NS);
    }
}

START_TEST(memory_a_flood_from_outside_used_up_comes_back_to_actors) {
    weft_config config = rig_config(2);
    config.arena_bytes = ARENA_BYTES;
    config.pool_bytes = POOL_BYTES;
    struct rig rig = rig_start_with(&config);
    struct sending sending = {.count = TRIED};
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = send_to_self;
    probe.user = &sending;
    weft_pid pid = spawn_on(&rig, unbounded_type(&rig), &probe, 0, false);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_GATE, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    uint32_t sent = send_until_full(&rig, pid);
    weft_store32_release(&probe.gate, 1);
    eventually(probe_count(&probe) == sent + 1);
    try_until_sent(&rig, pid, &sending);
    rig_stop(&rig);
}
END_TEST

/* Case 1: with a timer there, so that its scheduler is never idle for long. */
START_TEST(memory_a_peak_used_up_comes_back_to_another_scheduler) {
    weft_config config = rig_config(2);
    config.arena_bytes = ARENA_BYTES;
    config.pool_bytes = 1 << 20;
    struct rig rig = rig_start_with(&config);
    const weft_type *type = unbounded_type(&rig);
    struct sending peak = {.timer_ns = _i == 0 ? 0 : 10 * MS_NS};
    struct sending other = {.count = TRIED};
    struct probe probes[] = {{.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true},
                             {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true}};
    probes[0].handler = probes[1].handler = send_to_self;
    probes[0].user = &peak;
    probes[1].user = &other;
    weft_pid first = spawn_on(&rig, type, &probes[0], 1, true);
    weft_pid second = spawn_on(&rig, type, &probes[1], 2, true);
    settle(&rig, second);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, first, TAG_PEAK, NULL, 0), 0);
    eventually(weft_load32_acquire(&peak.peaks) != 0);
    eventually(rig_gauges(&rig).messages < 100);
    try_until_sent(&rig, second, &other);
    rig_stop(&rig);
}
END_TEST

static int hold_all(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)msg;
    for (size_t size = LARGE;; size -= 40) {
        weft_msg *held = NULL; /* on the actor's list: released when it ends */
        while (weft_msg_create(ctx, TAG_USER, size, &held) == 0) {
        }
        if (size == 0) {
            break;
        }
    }
    weft_store32_release(&probe->inside, 1);
    return WEFT_CONTINUE;
}

START_TEST(a_stop_ends_actors_that_hold_all_memory) {
    weft_config config = rig_config(schedulers_of(_i));
    config.arena_bytes = ARENA_BYTES;
    struct rig rig = rig_start_with(&config);
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = hold_all;
    weft_pid pid = rig_spawn(&rig, &probe);
    (void)rig_spawn(&rig, NULL); /* an idle one */
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_USER, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    sleep_ns(20 * MS_NS); /* it idles, and nothing else happens */
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
}
END_TEST

/* ---- a start that fails -------------------------------------------------------------------- */

static int (*start_thread)(weft_env *env, const weft_env_thread *thread, void **ret_handle);

static int start_no_helper(weft_env *env, const weft_env_thread *thread, void **ret_handle) {
    return thread->kind == WEFT_THREAD_HELPER ? -EAGAIN : start_thread(env, thread, ret_handle);
}

/* Makes the stop slow where it begins, while the schedulers are already running. */
static void slow_log(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    (void)cookie;
    (void)level;
    if (strcmp(event->name, "runtime.stop") == 0) {
        sleep_ns(50 * MS_NS);
    }
}

static int init_ticking(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    return weft_timer_repeat(ctx, 100000, 1, 1, NULL);
}

START_TEST(a_runtime_whose_start_failed_late_can_be_stopped) {
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    start_thread = env->thread_start;
    env->thread_start = start_no_helper;
    weft_config config = rig_config(2);
    config.log.cb = slow_log;
    struct rig rig = {0};
    ck_assert_int_eq(weft_runtime_create_env(&config, env, &rig.runtime), 0);
    weft_type_def def = puppet_def("ticking");
    def.init = init_ticking;
    (void)rig_spawn_type(&rig, rig_type(&rig, &def), NULL);
    ck_assert_int_eq(weft_runtime_start(rig.runtime), -EAGAIN);
    sleep_ns(20 * MS_NS);
    rig_stop(&rig);
    weft_env_os_destroy(&env);
    ck_assert_ptr_null(env);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rescue");
    TCase *tcase = tcase_create("rescue");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_kill_overtakes_what_waits_also_when_the_handler_takes_its_message,
                        0, 2);
    tcase_add_loop_test(tcase, a_sender_is_not_drawn_to_a_scheduler_nobody_drives, 0, 2);
    tcase_add_loop_test(tcase, unpinned_actors_run_elsewhere_while_the_program_does_not_drive, 0,
                        2);
    tcase_add_test(tcase, commit_is_asked_for_no_more_than_the_arena);
    tcase_add_test(tcase, memory_a_flood_from_outside_used_up_comes_back_to_actors);
    tcase_add_loop_test(tcase, memory_a_peak_used_up_comes_back_to_another_scheduler, 0, 2);
    /* 64 schedulers do not start with so little memory. */
    tcase_add_loop_test(tcase, a_stop_ends_actors_that_hold_all_memory, 0, 3);
    tcase_add_test(tcase, a_runtime_whose_start_failed_late_can_be_stopped);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
