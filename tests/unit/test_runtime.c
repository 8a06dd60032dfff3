/* SPDX-License-Identifier: MIT
 *
 * A runtime's life in every order, with every error; stopping while things go on; the blocking
 * pool; the watchdog; the log's events.
 */
#define _GNU_SOURCE
#include "support.h"

#include <stdatomic.h>

/* ---- create -------------------------------------------------------------------------------- */

/* What a program of a later version would pass. */
struct later_config {
    weft_config config;
    uint64_t news;
};

START_TEST(a_config_of_another_version_is_taken_if_it_asks_for_nothing_unknown) {
    struct later_config later = {.config = {.struct_size = sizeof(later), .schedulers = 1}};
    weft_runtime *runtime = NULL;
    ck_assert_int_eq(weft_runtime_create(&later.config, &runtime), 0);
    ck_assert_uint_eq(weft_runtime_schedulers(runtime), 1);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    later.news = 1;
    ck_assert_int_eq(weft_runtime_create(&later.config, &runtime), -E2BIG);
    ck_assert_ptr_null(runtime);
    weft_config older = {.struct_size = offsetof(weft_config, cpus), .schedulers = 2};
    ck_assert_int_eq(weft_runtime_create(&older, &runtime), -EINVAL); /* no version was so short */
}
END_TEST

START_TEST(invalid_arguments_are_refused) {
    weft_runtime *runtime = NULL;
    weft_config config = rig_config(1);
    ck_assert_int_eq(weft_runtime_create(&config, NULL), -EINVAL);
    config.struct_size = 0;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), -EINVAL);
    config = rig_config(WEFT_SCHEDULERS_MAX + 1);
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), WEFT_E_CONFIG);
    config = rig_config(1);
    config.ring_size = 100;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), WEFT_E_CONFIG);
    config = rig_config(1);
    ck_assert_int_eq(weft_runtime_create_env(&config, NULL, &runtime), -EINVAL);
    weft_env *env;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    env->version++;
    ck_assert_int_eq(weft_runtime_create_env(&config, env, &runtime), -EINVAL);
    weft_env_os_destroy(&env);
    ck_assert_ptr_null(env);
    ck_assert_int_eq(weft_runtime_start(NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_stop(NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_runtime_destroy(NULL), 0);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    ck_assert_ptr_null(runtime);
}
END_TEST

START_TEST(structs_of_another_size_are_refused) {
    struct rig rig = rig_start(1);
    const weft_type *type;
    weft_type_def def = puppet_def("other");
    def.struct_size = offsetof(weft_type_def, idle_ns) - 1;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    weft_spawn_options options = {.struct_size = sizeof(options) + 8};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    options = (weft_spawn_options){.struct_size = WEFT_SPAWN_OPTIONS_INIT, .scheduler = 2};
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    options = (weft_spawn_options){.struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg_size = 1};
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), -EINVAL);
    rig_stop(&rig);
}
END_TEST

/* ---- start, stop, destroy ------------------------------------------------------------------- */

START_TEST(a_runtime_that_never_ran_can_be_destroyed_at_once) {
    weft_runtime *runtime;
    ck_assert_int_eq(weft_runtime_create(NULL, &runtime), 0);
    ck_assert_uint_ne(weft_runtime_node(runtime), 0);
    ck_assert_uint_ge(weft_runtime_schedulers(runtime), 1);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    ck_assert_ptr_null(runtime);
}
END_TEST

START_TEST(a_running_runtime_is_not_destroyed_and_starts_once) {
    struct rig rig = rig_start(2);
    weft_runtime *same = rig.runtime;
    ck_assert_int_eq(weft_runtime_start(rig.runtime), -EALREADY);
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), -EBUSY);
    ck_assert_ptr_eq(rig.runtime, same);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, S_NS), 0);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 0), 0);
    ck_assert_int_eq(weft_runtime_start(rig.runtime), -EALREADY);
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &pid), WEFT_E_SHUTDOWN);
    weft_msg *reply;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, weft_pid_none(), 1, NULL, 0, S_NS, &reply),
                     WEFT_E_SHUTDOWN);
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), 0);
}
END_TEST

START_TEST(actors_of_a_runtime_that_never_started_begin_and_end_when_it_stops) {
    weft_config config = rig_config((uint32_t)_i + 1);
    struct rig rig = {0};
    struct probe probes[20];
    ck_assert_int_eq(weft_runtime_create(&config, &rig.runtime), 0);
    weft_type_def def = puppet_def("puppet");
    rig.puppet = rig_type(&rig, &def);
    for (int i = 0; i < 20; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        weft_pid pid = rig_spawn(&rig, &probes[i]);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, "x", 1), 0);
    }
    if (_i % 2 == 0) {
        rig_stop(&rig);
    } else {
        ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), 0);
    }
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(weft_load32_acquire(&probes[i].inits), 1);
        ck_assert_uint_eq(weft_load32_acquire(&probes[i].terminations), 1);
        ck_assert_int_eq((int)weft_load32_relaxed(&probes[i].reason), WEFT_E_SHUTDOWN);
        probe_fini(&probes[i]);
    }
}
END_TEST

START_TEST(what_was_spawned_and_sent_before_the_start_runs_after_it) {
    weft_config config = rig_config(2);
    struct rig rig = {0};
    struct probe probe = PROBE_INIT;
    ck_assert_int_eq(weft_runtime_create(&config, &rig.runtime), 0);
    weft_type_def def = puppet_def("puppet");
    rig.puppet = rig_type(&rig, &def);
    weft_pid pid = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 7, NULL, 0), 0);
    ck_assert_int_eq(weft_runtime_start(rig.runtime), 0);
    eventually(probe_count(&probe) == 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* An environment whose n-th thread does not start. */
struct failing {
    weft_env env;
    weft_env *os;
    uint32_t countdown;
};

static int failing_thread_start(weft_env *env, const weft_env_thread *thread, void **ret_handle) {
    struct failing *failing = (struct failing *)env;
    if (failing->countdown-- == 0) {
        return -EAGAIN;
    }
    return failing->os->thread_start(failing->os, thread, ret_handle);
}

static int return_seven(void *arg) {
    (void)arg;
    return 7;
}

static int init_with_job(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    (void)weft_blocking(ctx, return_seven, NULL, 1);
    return WEFT_CONTINUE;
}

static int receive_nothing(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

/* Two schedulers, four helpers, the watchdog: seven threads. */
START_TEST(a_start_that_fails_half_way_leaves_a_runtime_to_destroy) {
    struct failing failing = {.countdown = (uint32_t)_i};
    ck_assert_int_eq(weft_env_os_create(&failing.os), 0);
    failing.env = *failing.os;
    failing.env.thread_start = failing_thread_start;
    weft_config config = rig_config(2);
    struct rig rig = {0};
    struct probe probe = PROBE_INIT;
    ck_assert_int_eq(weft_runtime_create_env(&config, &failing.env, &rig.runtime), 0);
    weft_type_def def = puppet_def("puppet");
    rig.puppet = rig_type(&rig, &def);
    weft_type_def worker = {.struct_size = WEFT_TYPE_DEF_INIT,
                            .name = "worker",
                            .init = init_with_job,
                            .receive = receive_nothing};
    const weft_type *worker_type = rig_type(&rig, &worker);
    weft_pid pid = rig_spawn(&rig, &probe);
    for (int i = 0; i < 8; i++) {
        (void)rig_spawn_type(&rig, worker_type, NULL);
    }
    ck_assert_int_eq(weft_runtime_start(rig.runtime), _i < 7 ? -EAGAIN : 0);
    if (_i == 7) {
        ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    } else if (_i % 2 == 0) {
        (void)weft_runtime_send(rig.runtime, pid, 1, NULL, 0);
    }
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), 0);
    ck_assert_uint_eq(weft_load32_acquire(&probe.inits), 1);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
    weft_env_os_destroy(&failing.os);
    probe_fini(&probe);
}
END_TEST

START_TEST(runtimes_do_not_know_each_other) {
    enum { RUNTIMES = 4 };
    struct rig rigs[RUNTIMES];
    struct probe probes[RUNTIMES];
    weft_pid pids[RUNTIMES];
    for (int i = 0; i < RUNTIMES; i++) {
        rigs[i] = rig_start((uint32_t)i % 2 + 1);
        probes[i] = (struct probe)PROBE_INIT;
        pids[i] = rig_spawn(&rigs[i], &probes[i]);
    }
    for (int i = 0; i < RUNTIMES; i++) {
        for (int k = 0; k < RUNTIMES; k++) {
            ck_assert_int_eq(weft_runtime_send(rigs[i].runtime, pids[k], 1, NULL, 0),
                             i == k ? 0 : WEFT_E_NOCONN);
            weft_pid pid;
            if (i != k) {
                ck_assert_int_eq(weft_runtime_spawn(rigs[i].runtime, rigs[k].puppet, NULL, &pid),
                                 -EINVAL);
            }
        }
    }
    for (int i = 0; i < RUNTIMES; i++) {
        settle(&rigs[i], pids[i]);
        ck_assert_uint_eq(probe_count(&probes[i]), 1);
        rig_stop(&rigs[i]);
        probe_fini(&probes[i]);
    }
}
END_TEST

static void stop_here(weft_ctx *ctx, void *arg) {
    int *results = arg;
    weft_msg *reply;
    results[0] = weft_runtime_stop(weft_runtime_of(ctx), S_NS);
    results[1] = weft_runtime_call(weft_runtime_of(ctx), weft_self(ctx), 1, NULL, 0, S_NS, &reply);
    weft_runtime *runtime = weft_runtime_of(ctx);
    results[2] = weft_runtime_destroy(&runtime);
}

START_TEST(a_scheduler_can_not_stop_or_wait_for_itself) {
    struct rig rig = rig_start(2);
    int results[3] = {0};
    act(&rig, rig_spawn(&rig, NULL), stop_here, results);
    ck_assert_int_eq(results[0], -EDEADLK);
    ck_assert_int_eq(results[1], -EDEADLK);
    ck_assert_int_eq(results[2], -EBUSY);
    rig_stop(&rig);
}
END_TEST

/* ---- stopping ------------------------------------------------------------------------------- */

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

START_TEST(a_stop_gives_up_at_its_deadline_and_succeeds_later) {
    weft_config config = rig_config(schedulers_of(_i));
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    probe.handler = wait_at_gate;
    struct probe other = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    (void)rig_spawn(&rig, &other);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    for (int i = 0; i < 3; i++) {
        uint64_t before_ns = clock_ns();
        ck_assert_int_eq(weft_runtime_stop(rig.runtime, 30 * MS_NS), -ETIMEDOUT);
        ck_assert_uint_ge(clock_ns() - before_ns, 30 * MS_NS);
        ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), -EBUSY);
    }
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 0), -ETIMEDOUT);
    weft_pid late;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &late), WEFT_E_SHUTDOWN);
    weft_store32_release(&probe.gate, 1);
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 1);
    ck_assert_uint_eq(weft_load32_acquire(&other.terminations), 1);
    probe_fini(&probe);
}
END_TEST

struct mad {
    _Atomic uint64_t inits;
    _Atomic uint64_t ends;
    _Atomic uint64_t refused;
    weft_runtime *runtime;
    const weft_type *type;
};

static int mad_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct mad *mad;
    ck_assert_uint_eq(arg_size, sizeof(mad));
    memcpy(&mad, arg, sizeof(mad));
    memcpy(state, arg, sizeof(mad));
    atomic_fetch_add(&mad->inits, 1);
    weft_pid child;
    int result = weft_spawn(ctx, weft_type_of(ctx), &mad, sizeof(mad), &child);
    if (result != 0) {
        ck_assert_int_eq(result, WEFT_E_SHUTDOWN);
        atomic_fetch_add(&mad->refused, 1);
    }
    return weft_random(ctx) % 8 == 0 ? WEFT_CONTINUE : WEFT_STOP;
}

static void mad_terminate(weft_ctx *ctx, void *state, int reason) {
    struct mad *mad;
    memcpy(&mad, state, sizeof(mad));
    weft_pid child;
    ck_assert(reason == 0 || reason == WEFT_E_SHUTDOWN);
    if (reason == WEFT_E_SHUTDOWN) {
        ck_assert_int_eq(weft_spawn(ctx, weft_type_of(ctx), &mad, sizeof(mad), &child),
                         WEFT_E_SHUTDOWN);
    }
    atomic_fetch_add(&mad->ends, 1);
}

static void *spawn_outside(void *arg) {
    struct mad *mad = arg;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &mad, .arg_size = sizeof(mad)};
    int result;
    do {
        weft_pid pid;
        result = weft_runtime_spawn(mad->runtime, mad->type, &options, &pid);
        sleep_ns(200000); /* each begins a line that goes on for ever */
    } while (result == 0);
    ck_assert_int_eq(result, WEFT_E_SHUTDOWN);
    return NULL;
}

START_TEST(a_runtime_full_of_spawning_actors_stops) {
    weft_config config = rig_config(schedulers_of(_i));
    struct rig rig = rig_start_with(&config);
    struct mad mad = {.runtime = rig.runtime};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "mad",
                         .state_size = 100,
                         .init = mad_init,
                         .receive = receive_nothing,
                         .terminate = mad_terminate};
    mad.type = rig_type(&rig, &def);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spawn_outside, &mad), 0);
    }
    eventually(atomic_load(&mad.inits) > 20000);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&mad.inits), atomic_load(&mad.ends));
    ck_assert_uint_ge(atomic_load(&mad.refused), 1);
    rig_stop(&rig);
}
END_TEST

static void count_end(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    _Atomic uint64_t *ends;
    memcpy(&ends, state, sizeof(ends));
    ck_assert_int_eq(reason, WEFT_E_SHUTDOWN);
    atomic_fetch_add_explicit(ends, 1, memory_order_relaxed);
}

static int keep_arg(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

START_TEST(every_actor_is_terminated_by_a_stop) {
    enum { ACTORS = 100000 };
    weft_config config = rig_config(schedulers_of(_i));
    struct rig rig = rig_start_with(&config);
    _Atomic uint64_t count = 0;
    _Atomic uint64_t *ends = &count;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "many",
                         .state_size = sizeof(ends),
                         .init = keep_arg,
                         .receive = receive_nothing,
                         .terminate = count_end};
    const weft_type *type = rig_type(&rig, &def);
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &ends, .arg_size = sizeof(ends)};
    for (int i = 0; i < ACTORS; i++) {
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, &options, &pid), 0);
    }
    rig_stop(&rig);
    ck_assert_uint_eq(atomic_load(&count), ACTORS);
}
END_TEST

static void *stop_too(void *arg) {
    int result = weft_runtime_stop(arg, 20 * S_NS);
    ck_assert(result == 0 || result == -EBUSY);
    return NULL;
}

START_TEST(two_threads_may_stop_at_once) {
    struct rig rig = rig_start(2);
    for (int i = 0; i < 1000; i++) {
        (void)rig_spawn(&rig, NULL);
    }
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_too, rig.runtime), 0);
    (void)stop_too(rig.runtime);
    (void)pthread_join(thread, NULL);
    rig_stop(&rig);
}
END_TEST

/* ---- blocking work -------------------------------------------------------------------------- */

struct jobs {
    weft_atomic_u32 gate;
    weft_atomic_u32 running;
    weft_atomic_u32 ran;
    int results[64];
    uint32_t count;
};

static int job_waits(void *arg) {
    struct jobs *jobs = arg;
    (void)weft_add32_acq_rel(&jobs->running, 1);
    while (weft_load32_acquire(&jobs->gate) == 0) {
        sleep_ns(100000);
    }
    (void)weft_add32_acq_rel(&jobs->ran, 1);
    return 5;
}

static void submit_jobs(weft_ctx *ctx, void *arg) {
    struct jobs *jobs = arg;
    for (uint32_t i = 0; i < jobs->count; i++) {
        jobs->results[i] = weft_blocking(ctx, job_waits, jobs, 100 + i);
    }
}

static weft_config jobs_config(void) {
    weft_config config = rig_config(2);
    config.blocking_threads = 2;
    config.blocking_queue = 4;
    return config;
}

START_TEST(the_blocking_pool_runs_some_queues_some_and_refuses_the_rest) {
    weft_config config = jobs_config();
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    struct jobs jobs = {.count = 2};
    uint64_t before_ns = clock_ns();
    act(&rig, pid, submit_jobs, &jobs);
    eventually(weft_load32_acquire(&jobs.running) == 2);
    uint64_t quick_ns = clock_ns() - before_ns; /* at most so long these two have waited */
    uint64_t long_ns = 20 * MS_NS + 4 * quick_ns;
    jobs.count = 6;
    act(&rig, pid, submit_jobs, &jobs);
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(jobs.results[i], i < 4 ? 0 : -EBUSY);
    }
    ck_assert_uint_eq(rig_gauges(&rig).blocking_queued, 4);
    sleep_ns(long_ns);
    weft_store32_release(&jobs.gate, 1);
    eventually(probe_count(&probe) == 6);
    for (uint32_t i = 0; i < 6; i++) {
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_DONE);
        ck_assert_int_eq(seen.status, 5);
    }
    weft_stats stats = rig_stats(&rig);
    ck_assert_uint_eq(stats.blocking_jobs, 6);
    ck_assert_uint_eq(stats.blocking_rejected, 2);
    weft_histogram waited;
    ck_assert_int_eq(weft_histogram_read(rig.runtime, 0, WEFT_HISTOGRAM_BLOCKING_WAIT, &waited), 0);
    ck_assert_uint_eq(waited.count, 6);
    ck_assert_uint_ge(waited.max, long_ns);
    ck_assert_uint_lt(weft_histogram_quantile(&waited, 100), long_ns);
    ck_assert_uint_eq(rig_gauges(&rig).blocking_queued, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_result_for_an_actor_that_is_gone_is_dropped) {
    weft_config config = jobs_config();
    struct rig rig = rig_start_with(&config);
    weft_pid pid = rig_spawn(&rig, NULL);
    struct jobs jobs = {.count = 3};
    act(&rig, pid, submit_jobs, &jobs);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    eventually(!is_alive(&rig, pid));
    weft_store32_release(&jobs.gate, 1);
    eventually(weft_load32_acquire(&jobs.ran) == 3);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_stop_waits_for_running_jobs_and_skips_queued_ones) {
    weft_config config = jobs_config();
    struct rig rig = rig_start_with(&config);
    weft_pid pid = rig_spawn(&rig, NULL);
    struct jobs jobs = {.count = 6};
    act(&rig, pid, submit_jobs, &jobs);
    eventually(weft_load32_acquire(&jobs.running) == 2);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * MS_NS), -ETIMEDOUT);
    eventually(!is_alive(&rig, pid));
    weft_store32_release(&jobs.gate, 1);
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load32_acquire(&jobs.ran), 2);
}
END_TEST

static int stop_the_runtime(void *arg) {
    return weft_runtime_stop(arg, MS_NS);
}

static void submit_stop(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_blocking(ctx, stop_the_runtime, weft_runtime_of(ctx), 1), 0);
}

START_TEST(a_helper_can_not_stop_the_runtime_it_belongs_to) {
    struct rig rig = rig_start(1);
    struct probe probe = PROBE_INIT;
    act(&rig, rig_spawn(&rig, &probe), submit_stop, NULL);
    eventually(weft_runtime_stop(rig.runtime, 30 * S_NS) != -EBUSY); /* the helper is in it */
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- watchdog -------------------------------------------------------------------------------- */

struct logged {
    pthread_mutex_t lock;
    uint32_t stuck; /* those of the type "stuck": under load others may be slow as well */
    uint32_t crashes;
    uint32_t starts;
    uint32_t stops;
    uint32_t invalid;
    uint32_t others;
    int64_t reason;
    uint64_t stuck_ms;
};

/* Is it about an actor of that type? */
static bool names_type(const weft_log_event *event, const char *name) {
    bool found = false;
    for (uint32_t i = 0; i < event->field_count; i++) {
        const weft_log_field *field = &event->fields[i];
        found = found || (strcmp(field->key, "type") == 0 && strcmp(field->text, name) == 0);
    }
    return found;
}

static void log_event(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct logged *logged = cookie;
    pthread_mutex_lock(&logged->lock);
    bool stuck = strcmp(event->name, "watchdog.stuck") == 0 && names_type(event, "stuck");
    uint32_t *count = stuck                                        ? &logged->stuck
                      : strcmp(event->name, "actor.crash") == 0    ? &logged->crashes
                      : strcmp(event->name, "runtime.start") == 0  ? &logged->starts
                      : strcmp(event->name, "runtime.stop") == 0   ? &logged->stops
                      : strcmp(event->name, "config.invalid") == 0 ? &logged->invalid
                                                                   : &logged->others;
    (*count)++;
    for (uint32_t i = 0; i < event->field_count; i++) {
        const weft_log_field *field = &event->fields[i];
        if (strcmp(field->key, "reason") == 0) {
            logged->reason = field->i64;
        } else if (stuck && strcmp(field->key, "stuck_ms") == 0) {
            logged->stuck_ms = field->u64;
        }
    }
    char line[512];
    ck_assert_int_gt(weft_log_format(level, event, line, sizeof(line)), 0);
    pthread_mutex_unlock(&logged->lock);
}

static uint32_t logged_count(struct logged *logged, const uint32_t *count) {
    pthread_mutex_lock(&logged->lock);
    uint32_t value = *count;
    pthread_mutex_unlock(&logged->lock);
    return value;
}

/* Spawns four actors, one of them pinned here, wakes each, starts a timer in the last, and then
 * does not return: LIFO slot, ring, pinned list are all behind it. */
struct behind {
    struct probe *gate;
    weft_pid pids[8];
    uint32_t count;
};

static void get_stuck(weft_ctx *ctx, void *arg) {
    struct behind *behind = arg;
    for (uint32_t i = 0; i < behind->count; i++) {
        ck_assert_int_eq(weft_send(ctx, behind->pids[i], 9, NULL, 0), 0);
    }
    probe_wait(behind->gate);
}

static void start_timer(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_timer_start(ctx, *(uint64_t *)arg, 3, 33, NULL), 0);
}

struct spot {
    const weft_type *type;
    uint32_t scheduler;
    bool pin;
};

static weft_pid spawn_at(struct rig *rig, const struct spot *spot, struct probe *probe) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &probe,
                                  .arg_size = sizeof(probe),
                                  .scheduler = spot->scheduler,
                                  .pin = spot->pin};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, spot->type, &options, &pid), 0);
    return pid;
}

static weft_pid spawn_on(struct rig *rig, struct probe *probe, uint32_t scheduler, bool pin) {
    struct spot spot = {.type = rig->puppet, .scheduler = scheduler, .pin = pin};
    return spawn_at(rig, &spot, probe);
}

struct stuck_call {
    struct rig *rig;
    weft_pid pid;
    struct behind *behind;
};

static void *call_stuck(void *arg) {
    struct stuck_call *call = arg;
    act(call->rig, call->pid, get_stuck, call->behind);
    return NULL;
}

START_TEST(what_waits_behind_a_stuck_handler_runs_elsewhere) {
    enum { OTHERS = 6 };
    struct logged logged = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weft_config config = rig_config(2);
    config.watchdog_ns = 5 * MS_NS;
    config.stuck_ns = 40 * MS_NS;
    config.log = (weft_log_hook){.cookie = &logged, .cb = log_event};
    struct rig rig = rig_start_with(&config);
    struct probe gate = PROBE_INIT;
    struct probe probes[OTHERS];
    struct behind behind = {.gate = &gate, .count = OTHERS};
    for (int i = 0; i < OTHERS; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        behind.pids[i] = spawn_on(&rig, &probes[i], 1, i == 0);
        settle(&rig, behind.pids[i]);
    }
    struct probe timed = PROBE_INIT;
    struct probe outside = PROBE_INIT;
    weft_pid timed_pid = spawn_on(&rig, &timed, 1, false);
    weft_pid outside_pid = spawn_on(&rig, &outside, 1, false);
    settle(&rig, outside_pid);
    uint64_t delay_ns = 60 * MS_NS;
    act(&rig, timed_pid, start_timer, &delay_ns);
    weft_type_def def = puppet_def("stuck");
    struct spot spot = {.type = rig_type(&rig, &def), .scheduler = 1, .pin = true};
    struct stuck_call call = {.rig = &rig, .pid = spawn_at(&rig, &spot, NULL), .behind = &behind};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, call_stuck, &call), 0);
    eventually(weft_load32_acquire(&gate.inside) != 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, outside_pid, 9, NULL, 0), 0);
    for (int i = 1; i < OTHERS; i++) {
        eventually(probe_count(&probes[i]) == 1); /* without a rescue it is never */
    }
    eventually(probe_count(&outside) == 1);
    eventually(probe_count(&timed) == 1);
    eventually(logged_count(&logged, &logged.stuck) == 1);
    ck_assert_uint_eq(weft_load32_acquire(&gate.inside), 1); /* it is still stuck */
    ck_assert_uint_eq(probe_count(&probes[0]), 0);           /* pinned: it waits */
    ck_assert_uint_ge(rig_stats(&rig).rescued, 1);
    ck_assert_uint_ge(logged.stuck_ms, 40);
    weft_store32_release(&gate.gate, 1);
    (void)pthread_join(thread, NULL);
    eventually(probe_count(&probes[0]) == 1);
    ck_assert_uint_eq(logged_count(&logged, &logged.stuck), 1); /* reported once */
    ck_assert_uint_ge(rig_stats(&rig).watchdog_stuck, 1);
    rig_stop(&rig);
    for (int i = 0; i < OTHERS; i++) {
        probe_fini(&probes[i]);
    }
    probe_fini(&timed);
    probe_fini(&outside);
}
END_TEST

/* ---- log events ------------------------------------------------------------------------------ */

static int crash(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)probe;
    return weft_msg_tag(msg) == 1 ? -EILSEQ : WEFT_STOP;
}

START_TEST(the_log_tells_start_stop_crashes_and_bad_settings) {
    struct logged logged = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weft_config config = rig_config(1);
    config.log = (weft_log_hook){.cookie = &logged, .cb = log_event};
    config.ring_size = 7;
    weft_runtime *runtime;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), WEFT_E_CONFIG);
    ck_assert_uint_eq(logged_count(&logged, &logged.invalid), 1);
    config.ring_size = 0;
    struct rig rig = rig_start_with(&config);
    ck_assert_uint_eq(logged_count(&logged, &logged.starts), 1);
    struct probe probe = PROBE_INIT;
    probe.handler = crash;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_pid normal = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, normal, 2, NULL, 0), 0);
    eventually(!is_alive(&rig, pid) && !is_alive(&rig, normal));
    eventually(logged_count(&logged, &logged.crashes) == 1);
    ck_assert_int_eq(logged.reason, -EILSEQ);
    rig_stop(&rig);
    ck_assert_uint_eq(logged.stops, 1);
    ck_assert_uint_eq(logged.crashes, 1);
    config.log_level = WEFT_LOG_ERROR;
    rig = rig_start_with(&config);
    rig_stop(&rig);
    ck_assert_uint_eq(logged.starts, 1); /* below the level */
    probe_fini(&probe);
}
END_TEST

static Suite *runtime_suite(void) {
    Suite *suite = suite_create("runtime");
    TCase *life = tcase_create("life");
    tcase_add_test(life, a_config_of_another_version_is_taken_if_it_asks_for_nothing_unknown);
    tcase_add_test(life, invalid_arguments_are_refused);
    tcase_add_test(life, structs_of_another_size_are_refused);
    tcase_add_test(life, a_runtime_that_never_ran_can_be_destroyed_at_once);
    tcase_add_test(life, a_running_runtime_is_not_destroyed_and_starts_once);
    tcase_add_loop_test(life, actors_of_a_runtime_that_never_started_begin_and_end_when_it_stops, 0,
                        4);
    tcase_add_test(life, what_was_spawned_and_sent_before_the_start_runs_after_it);
    tcase_add_loop_test(life, a_start_that_fails_half_way_leaves_a_runtime_to_destroy, 0, 8);
    tcase_add_test(life, runtimes_do_not_know_each_other);
    tcase_add_test(life, a_scheduler_can_not_stop_or_wait_for_itself);
    suite_add_tcase(suite, life);
    TCase *stop = tcase_create("stop");
    tcase_add_loop_test(stop, a_stop_gives_up_at_its_deadline_and_succeeds_later, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(stop, a_runtime_full_of_spawning_actors_stops, 0, SCHEDULER_CASES);
    tcase_add_loop_test(stop, every_actor_is_terminated_by_a_stop, 0, SCHEDULER_CASES);
    tcase_add_test(stop, two_threads_may_stop_at_once);
    suite_add_tcase(suite, stop);
    TCase *blocking = tcase_create("blocking");
    tcase_add_test(blocking, the_blocking_pool_runs_some_queues_some_and_refuses_the_rest);
    tcase_add_test(blocking, a_result_for_an_actor_that_is_gone_is_dropped);
    tcase_add_test(blocking, a_stop_waits_for_running_jobs_and_skips_queued_ones);
    tcase_add_test(blocking, a_helper_can_not_stop_the_runtime_it_belongs_to);
    suite_add_tcase(suite, blocking);
    TCase *watchdog = tcase_create("watchdog");
    tcase_add_test(watchdog, what_waits_behind_a_stuck_handler_runs_elsewhere);
    suite_add_tcase(suite, watchdog);
    TCase *events = tcase_create("events");
    tcase_add_test(events, the_log_tells_start_stop_crashes_and_bad_settings);
    suite_add_tcase(suite, events);
    return suite;
}

int main(void) {
    return run_suite(runtime_suite());
}
