/* SPDX-License-Identifier: MIT
 *
 * Limits and what is answered beyond them: sizes, counts, bounds, reasons, pids nobody was given.
 */
#include "sched/process.h"
#include "tests/unit/support.h"

enum { TAG_ASK = 1, TAG_USER = 2 };

/* ---- replies ------------------------------------------------------------------------------- */

static int reply_too_large(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    unsigned char bytes[8] = {0};
    weft_msg *request = weft_msg_take(ctx, msg);
    ck_assert_int_eq(weft_reply(ctx, &request, TAG_ASK, bytes, (size_t)-1), -EMSGSIZE);
    ck_assert_ptr_null(request);
    return WEFT_CONTINUE;
}

START_TEST(a_reply_of_an_impossible_size_is_emsgsize_for_both_sides) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = reply_too_large;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, pid, TAG_ASK, "x", 1, 20 * S_NS, &reply),
                     -EMSGSIZE);
    ck_assert_ptr_null(reply);
    settle(&rig, pid); /* it lives on */
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static int end_badly(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)probe;
    (void)msg;
    return -EIO;
}

START_TEST(a_handler_that_fails_answers_its_request_noproc) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = end_badly;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, pid, TAG_ASK, NULL, 0, 20 * S_NS, &reply),
                     WEFT_E_NOPROC);
    ck_assert_ptr_null(reply);
    eventually(weft_load32_acquire(&probe.terminations) == 1);
    ck_assert_int_eq((int32_t)weft_load32_relaxed(&probe.reason), -EIO);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* A pointer that is not NULL before the call; it is never followed. */
static weft_msg *stale_reply(void) {
    static weft_msg never;
    return &never;
}

static int take_your_time(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

START_TEST(a_call_that_fails_gives_a_null_reply) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = take_your_time;
    weft_pid silent = rig_spawn(&rig, NULL);
    weft_pid slow = rig_spawn(&rig, &probe);
    weft_pid gone = silent;
    gone.gen += 1000;
    weft_msg *reply = stale_reply();
    ck_assert_int_eq(weft_runtime_call(rig.runtime, gone, TAG_ASK, NULL, 0, SOON_NS, &reply),
                     WEFT_E_NOPROC);
    ck_assert_ptr_null(reply);
    reply = stale_reply();
    ck_assert_int_eq(
        weft_runtime_call(rig.runtime, silent, TAG_ASK, "x", (size_t)-1, SOON_NS, &reply),
        -EMSGSIZE);
    ck_assert_ptr_null(reply);
    reply = stale_reply();
    ck_assert_int_eq(weft_runtime_call(rig.runtime, silent, TAG_ASK, NULL, 0, 20 * S_NS, &reply),
                     WEFT_E_NOREPLY);
    ck_assert_ptr_null(reply);
    reply = stale_reply();
    ck_assert_int_eq(weft_runtime_call(rig.runtime, slow, TAG_ASK, NULL, 0, 20 * MS_NS, &reply),
                     -ETIMEDOUT);
    ck_assert_ptr_null(reply);
    weft_store32_release(&probe.gate, 1);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    reply = stale_reply();
    ck_assert_int_eq(weft_runtime_call(rig.runtime, silent, TAG_ASK, NULL, 0, SOON_NS, &reply),
                     WEFT_E_SHUTDOWN);
    ck_assert_ptr_null(reply);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- how many ------------------------------------------------------------------------------ */

enum { ACTORS = 10, IN_HAND = 4 }; /* two schedulers keep at most two credits each for later */

static void spawn_all(weft_ctx *ctx, void *arg) {
    struct rig *rig = arg;
    weft_pid pid;
    int result = 0;
    for (int i = 0; result == 0 && i <= ACTORS; i++) {
        result = weft_spawn(ctx, rig->puppet, NULL, 0, &pid);
    }
    ck_assert_int_eq(result, WEFT_E_LIMIT);
}

START_TEST(no_more_than_actors_max_are_spawned_from_outside) {
    weft_config config = rig_config(2);
    config.actors_max = ACTORS;
    struct rig rig = rig_start_with(&config);
    weft_pid pids[ACTORS];
    for (int i = 0; i < ACTORS; i++) {
        pids[i] = rig_spawn(&rig, NULL);
    }
    weft_pid none = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &none), WEFT_E_LIMIT);
    ck_assert_uint_eq(rig_gauges(&rig).actors, ACTORS);
    for (int i = 0; i < ACTORS; i++) {
        ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pids[i], 0), 0);
    }
    eventually(rig_stats(&rig).exits == ACTORS);
    uint32_t again = 0; /* those that ended make room */
    uint64_t until_ns = clock_ns() + SOON_NS;
    while (again < ACTORS - IN_HAND && clock_ns() < until_ns) {
        int result = weft_runtime_spawn(rig.runtime, rig.puppet, NULL, &none);
        ck_assert(result == 0 || result == WEFT_E_LIMIT);
        again += result == 0 ? 1 : 0;
        sleep_ns(result == 0 ? 0 : MS_NS);
    }
    ck_assert_uint_eq(again, ACTORS - IN_HAND);
    rig_stop(&rig);
}
END_TEST

START_TEST(no_more_than_actors_max_are_spawned_by_an_actor) {
    weft_config config = rig_config(2);
    config.actors_max = ACTORS;
    struct rig rig = rig_start_with(&config);
    weft_pid pid = rig_spawn(&rig, NULL);
    act(&rig, pid, spawn_all, &rig);
    ck_assert_uint_le(rig_gauges(&rig).actors, ACTORS);
    ck_assert_uint_ge(rig_gauges(&rig).actors, ACTORS - IN_HAND);
    rig_stop(&rig);
}
END_TEST

/* ---- mailboxes ----------------------------------------------------------------------------- */

START_TEST(a_drop_old_mailbox_may_have_the_largest_bound) {
    static const uint32_t bounds[] = {1U << 29, (1U << 30) - 2, (1U << 30) - 1};
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    weft_type_def def = puppet_def("large");
    def.mailbox_policy = WEFT_MAILBOX_DROP_OLD;
    def.mailbox_max = bounds[_i];
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    for (uint32_t i = 0; i < 500; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_USER, &i, sizeof(i)), 0);
    }
    eventually(probe_count(&probe) == 500);
    ck_assert_uint_eq(rig_stats(&rig).messages_dropped, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(the_default_bound_may_be_the_largest_for_drop_old) {
    weft_config config = rig_config(2);
    config.mailbox_max = 1U << 30;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    weft_type_def def = puppet_def("large");
    def.mailbox_policy = WEFT_MAILBOX_DROP_OLD;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, TAG_USER, "x", 1), 0);
    eventually(probe_count(&probe) == 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

enum { BOUND = 1000, SLACK = 64, HANDLER_NS = 10000, TIMER_NS = 20000 };

struct busy {
    weft_atomic_u32 handled;
    bool takes; /* its timer messages */
};

static int busy_handle(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct busy *busy = probe->user;
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        if (busy->takes) {
            weft_msg *taken = weft_msg_take(ctx, msg);
            weft_msg_release(ctx, &taken);
        }
        return WEFT_CONTINUE;
    }
    (void)weft_add32_acq_rel(&busy->handled, 1);
    uint64_t until_ns = clock_ns() + HANDLER_NS;
    while (clock_ns() < until_ns) {
    }
    return WEFT_CONTINUE;
}

static void tick(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_timer_repeat(ctx, TIMER_NS, 1, 1, NULL), 0);
}

START_TEST(the_bound_holds_for_an_actor_with_a_fast_timer) {
    struct rig rig = rig_start(1);
    struct busy busy = {.takes = _i == 1};
    struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    probe.handler = busy_handle;
    probe.user = &busy;
    weft_type_def def = puppet_def("busy");
    def.mailbox_max = BOUND;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    act(&rig, pid, tick, NULL);
    uint32_t sent = 0;
    uint32_t refused = 0;
    uint32_t worst = 0;
    uint64_t from_ns = clock_ns();
    while (clock_ns() < from_ns + 300 * MS_NS ||
           (refused == 0 && clock_ns() < from_ns + 20 * S_NS)) {
        int result = weft_runtime_send(rig.runtime, pid, TAG_USER, "x", 1);
        ck_assert(result == 0 || result == -EBUSY);
        sent += result == 0 ? 1 : 0;
        refused += result == 0 ? 0 : 1;
        int32_t waiting = (int32_t)(sent - weft_load32_acquire(&busy.handled));
        worst = waiting > (int32_t)worst ? (uint32_t)waiting : worst;
    }
    ck_assert_uint_ne(refused, 0);
    ck_assert_uint_ge(worst, BOUND - SLACK);
    ck_assert_uint_le(worst, BOUND + SLACK);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- made-up pids -------------------------------------------------------------------------- */

enum { SLOTS_TRIED = 300, GENS_TRIED = 2 };

struct guesses {
    weft_pid self;
    weft_ctx *ctx;
    weft_runtime *runtime;
};

static void guess(const struct guesses *guesses, weft_pid pid) {
    weft_runtime *runtime = guesses->runtime;
    weft_ctx *ctx = guesses->ctx;
    if (ctx != NULL) {
        ck_assert_int_eq(weft_send(ctx, pid, TAG_USER, "abc", 3), WEFT_E_NOPROC);
        ck_assert_int_eq(weft_call(ctx, pid, TAG_USER, "abc", 3, WEFT_TIMEOUT_NEVER, 5),
                         WEFT_E_NOPROC);
        ck_assert_int_eq(weft_stop(ctx, pid, 0), WEFT_E_NOPROC);
        ck_assert_int_eq(weft_kill(ctx, pid), WEFT_E_NOPROC);
        return;
    }
    weft_actor_info info = {.struct_size = sizeof(info)};
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_send(runtime, pid, TAG_USER, "x", 1), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_call(runtime, pid, TAG_USER, "x", 1, SOON_NS, &reply),
                     WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_stop_actor(runtime, pid, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_kill_actor(runtime, pid), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_inspect(runtime, pid, &info), WEFT_E_NOPROC);
}

static void guess_all(weft_ctx *ctx, void *arg) {
    struct guesses guesses = *(struct guesses *)arg;
    guesses.ctx = ctx;
    for (uint32_t slot = 0; slot < SLOTS_TRIED; slot++) {
        for (uint32_t gen = 1; gen <= GENS_TRIED; gen++) {
            weft_pid pid = {.node = guesses.self.node, .slot = slot, .gen = gen};
            if (!weft_pid_equal(pid, guesses.self)) {
                guess(&guesses, pid);
            }
        }
    }
}

/* What waits for answers outside has a slot as well. */
START_TEST(a_pid_that_was_never_given_out_names_nobody) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 4, &queue), 0);
    struct guesses guesses = {.self = pid, .runtime = rig.runtime};
    act(&rig, pid, guess_all, &guesses); /* a caller waits while it guesses */
    guess_all(NULL, &guesses);
    settle(&rig, pid); /* and nothing is broken */
    ck_assert_int_eq(weft_cq_call(queue, pid, TAG_USER, NULL, 0, 20 * S_NS, 7), 0);
    weft_completion completion = {0};
    eventually(weft_cq_next(queue, &completion) == 1);
    ck_assert_uint_eq(completion.token, 7);
    ck_assert_int_eq(completion.status, WEFT_E_NOREPLY);
    ck_assert_uint_eq(probe_count_kind(&probe, WEFT_MSG_REPLY), 0);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- reasons ------------------------------------------------------------------------------- */

static void stop_positively(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_stop(ctx, *(weft_pid *)arg, 1), -EINVAL);
    ck_assert_int_eq(weft_stop(ctx, *(weft_pid *)arg, INT32_MAX), -EINVAL);
}

static void exit_positively(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_exit(ctx, 5);
}

START_TEST(a_positive_reason_is_einval) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid target = rig_spawn(&rig, &probe);
    weft_pid other = rig_spawn(&rig, NULL);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, target, 1), -EINVAL);
    act(&rig, other, stop_positively, &target);
    settle(&rig, target);
    ck_assert_uint_eq(weft_load32_acquire(&probe.terminations), 0);
    act(&rig, target, exit_positively, NULL);
    eventually(weft_load32_acquire(&probe.terminations) == 1);
    ck_assert_int_eq((int32_t)weft_load32_relaxed(&probe.reason), -EINVAL);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- what is left -------------------------------------------------------------------------- */

START_TEST(a_runtime_is_not_destroyed_while_a_queue_is_left) {
    struct rig rig = rig_start(2);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 4, &queue), 0);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    weft_runtime *runtime = rig.runtime;
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), -EBUSY);
    ck_assert_ptr_eq(rig.runtime, runtime);
    weft_cq_destroy(&queue);
    ck_assert_ptr_null(queue);
    rig_stop(&rig);
}
END_TEST

static void count_free(void *data, size_t size, void *cookie) {
    (void)data;
    (void)size;
    (*(int *)cookie)++;
}

START_TEST(a_runtime_is_not_destroyed_while_a_buffer_is_left) {
    static unsigned char bytes[100];
    struct rig rig = rig_start(2);
    int freed = 0;
    weft_buf *made = NULL;
    weft_buf *wrapped = NULL;
    ck_assert_int_eq(weft_buf_create(rig.runtime, 1000, &made), 0);
    ck_assert_int_eq(weft_buf_wrap(rig.runtime, bytes, sizeof(bytes), count_free, &freed, &wrapped),
                     0);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    weft_runtime *runtime = rig.runtime;
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), -EBUSY);
    weft_buf_unref(made);
    ck_assert_int_eq(weft_runtime_destroy(&rig.runtime), -EBUSY);
    ck_assert_ptr_eq(rig.runtime, runtime);
    ck_assert_int_eq(freed, 0);
    weft_buf_unref(wrapped);
    ck_assert_int_eq(freed, 1);
    rig_stop(&rig);
}
END_TEST

/* ---- stacks -------------------------------------------------------------------------------- */

enum { STACKS = 128, BURST = 500, MAPS = 8448 };

struct stacks_said {
    weft_atomic_u32 events;
    weft_atomic_u32 crashes; /* with WEFT_E_LIMIT */
    weft_atomic_u32 up;
    weft_atomic_u32 well; /* the event named limit, cause and remedy */
};

static bool is_as_expected(const weft_log_field *field) {
    return (strcmp(field->key, "stacks_max") == 0 && field->u64 == STACKS) ||
           (strcmp(field->key, "max_map_count") == 0 && field->u64 == MAPS) ||
           (strcmp(field->key, "remedy") == 0 && strstr(field->text, "vm.max_map_count") != NULL);
}

static void hear_limit(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct stacks_said *said = cookie;
    bool is_crash = strcmp(event->name, "actor.crash") == 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < event->field_count; i++) {
        const weft_log_field *field = &event->fields[i];
        if (is_crash && strcmp(field->key, "reason") == 0 && field->i64 == WEFT_E_LIMIT) {
            (void)weft_add32_acq_rel(&said->crashes, 1);
        }
        known += is_as_expected(field) ? 1 : 0;
    }
    if (strcmp(event->name, "process.limit") == 0) {
        (void)weft_add32_acq_rel(&said->events, 1);
        weft_store32_release(&said->well, level == WEFT_LOG_ERROR && known == 3 ? 1 : 0);
    }
}

static int wait_for_one(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct stacks_said *said = weft_type_cookie(weft_type_of(ctx));
    weft_msg *msg;
    (void)state;
    (void)arg;
    (void)arg_size;
    (void)weft_add32_acq_rel(&said->up, 1);
    return weft_receive(ctx, WEFT_FOREVER, &msg) == 0 ? WEFT_STOP : -EIO;
}

/* As where the kernel has no guard marks and allows few mappings. */
static void limit_stacks(weft_runtime *runtime) {
    for (uint32_t i = 0; i < WEFT__STACK_SIZES; i++) {
        runtime->stack_pools[i].guards_mprotect = true;
        runtime->stack_pools[i].guarded_max = STACKS;
        runtime->stack_pools[i].maps_max = MAPS;
    }
}

START_TEST(processes_beyond_the_limit_of_mappings_are_refused_and_the_log_says_why) {
    static struct stacks_said said;
    weft_config config = rig_config(1);
    config.log = (weft_log_hook){.cookie = &said, .cb = hear_limit};
    struct rig rig = {.runtime = NULL};
    ck_assert_int_eq(weft_runtime_create(&config, &rig.runtime), 0);
    limit_stacks(rig.runtime);
    ck_assert_int_eq(weft_runtime_start(rig.runtime), 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "waits",
                         .process = wait_for_one,
                         .cookie = &said};
    const weft_type *type = rig_type(&rig, &def);
    weft_pid first = weft_pid_none();
    weft_pid pid;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < BURST; i++) {
        int result = weft_runtime_spawn(rig.runtime, type, NULL, &pid);
        ck_assert(result == 0 || result == WEFT_E_LIMIT);
        refused += result != 0 ? 1 : 0;
        first = i == 0 ? pid : first;
    }
    eventually(weft_load32_acquire(&said.up) + weft_load32_acquire(&said.crashes) + refused ==
               BURST);
    ck_assert_uint_eq(weft_load32_acquire(&said.up), STACKS);
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, NULL, &pid), WEFT_E_LIMIT);
    ck_assert_uint_eq(weft_load32_acquire(&said.events), 1);
    ck_assert_uint_eq(weft_load32_acquire(&said.well), 1);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, first, 1, NULL, 0), 0);
    eventually(weft_runtime_spawn(rig.runtime, type, NULL, &pid) == 0); /* one has made room */
    eventually(weft_load32_acquire(&said.up) == STACKS + 1);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("limits");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_reply_of_an_impossible_size_is_emsgsize_for_both_sides, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_handler_that_fails_answers_its_request_noproc, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_call_that_fails_gives_a_null_reply, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, no_more_than_actors_max_are_spawned_from_outside);
    tcase_add_test(tcase, no_more_than_actors_max_are_spawned_by_an_actor);
    tcase_add_loop_test(tcase, a_drop_old_mailbox_may_have_the_largest_bound, 0, 3);
    tcase_add_test(tcase, the_default_bound_may_be_the_largest_for_drop_old);
    tcase_add_loop_test(tcase, the_bound_holds_for_an_actor_with_a_fast_timer, 0, 2);
    tcase_add_loop_test(tcase, a_pid_that_was_never_given_out_names_nobody, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_positive_reason_is_einval, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, a_runtime_is_not_destroyed_while_a_queue_is_left);
    tcase_add_test(tcase, a_runtime_is_not_destroyed_while_a_buffer_is_left);
    tcase_add_test(tcase, processes_beyond_the_limit_of_mappings_are_refused_and_the_log_says_why);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
