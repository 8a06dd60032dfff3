/* SPDX-License-Identifier: MIT
 *
 * Jobs: each start has exactly one outcome, and nothing runs on for nobody. Starting from handlers
 * (a puppet) and from processes. Many items: test_job_map.c.
 */
#include "tests/unit/job_support.h"

enum { LARGE = 100000 };

/* ---- results ------------------------------------------------------------------------------- */

START_TEST(the_result_is_a_reply) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    static const size_t sizes[] = {0, 1, 8, 60, 200, 208, 224, 256, 5000, LARGE};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct task task = {.tally = &tally, .give = sizes[i]};
        struct begin begin = {.fn = job_give, .arg = &task, .size = sizeof(task), .token = 10 + i};
        act(&rig, puppet, begin_job, &begin);
        ck_assert_int_eq(begin.result, 0);
        eventually(probe_count(&probe) == i + 1);
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.kind, WEFT_MSG_REPLY);
        ck_assert_uint_eq(seen.token, 10 + i);
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_eq(seen.size, sizes[i]);
        for (size_t n = 0; n < sizes[i] && n < SEEN_BYTES; n++) {
            ck_assert_uint_eq(seen.data[n], 0x44);
        }
    }
    settle(&rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), sizeof(sizes) / sizeof(sizes[0]));
    rig_stop(&rig);
    ck_assert_uint_eq(rig_left(&tally), 0);
    probe_fini(&probe);
}
END_TEST

static int job_check_arg(weft_ctx *ctx, const void *arg, size_t arg_size) {
    const unsigned char *bytes = arg;
    ck_assert(arg_size == 0 || (uintptr_t)arg % 16 == 0);
    for (size_t i = 0; i < arg_size; i++) {
        ck_assert_uint_eq(bytes[i], (i * 13) & 0xff);
    }
    return weft_job_result(ctx, &arg_size, sizeof(arg_size));
}

START_TEST(the_argument_is_copied) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&rig, &probe);
    unsigned char *bytes = malloc(LARGE);
    ck_assert_ptr_nonnull(bytes);
    static const size_t sizes[] = {0, 1, 16, 100, 192, 208, 209, 224, 225, 4096, LARGE};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t n = 0; n < LARGE; n++) {
            bytes[n] = (unsigned char)(n * 13);
        }
        struct begin begin = {.fn = job_check_arg, .arg = bytes, .size = sizes[i], .token = i};
        act(&rig, puppet, begin_job, &begin);
        memset(bytes, 0, LARGE);
        eventually(probe_count(&probe) == i + 1);
        struct seen seen = probe_at(&probe, i);
        ck_assert_int_eq(seen.status, 0);
        size_t size;
        memcpy(&size, seen.data, sizeof(size));
        ck_assert_uint_eq(size, sizes[i]);
    }
    free(bytes);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static int job_gives_often(weft_ctx *ctx, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    unsigned char large[1000] = {0};
    ck_assert_int_eq(weft_job_result(ctx, "first", 5), 0);
    ck_assert_int_eq(weft_job_result(ctx, large, sizeof(large)), 0);
    ck_assert_int_eq(weft_job_result(ctx, NULL, 0), 0);
    ck_assert_int_eq(weft_job_result(ctx, "last", 4), 0);
    ck_assert_int_eq(weft_job_result(ctx, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_job_result(ctx, large, SIZE_MAX), -EMSGSIZE);
    return WEFT_CONTINUE;
}

START_TEST(the_last_result_counts) {
    struct rig rig = rig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct begin begin = {.fn = job_gives_often};
    act(&rig, puppet, begin_job, &begin);
    eventually(probe_count(&probe) == 1);
    ck_assert_uint_eq(probe_at(&probe, 0).size, 4);
    ck_assert_mem_eq(probe_at(&probe, 0).data, "last", 4);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- failures ------------------------------------------------------------------------------ */

static int job_fails(weft_ctx *ctx, const void *arg, size_t arg_size) {
    int how;
    (void)arg_size;
    memcpy(&how, arg, sizeof(how));
    ck_assert_int_eq(weft_job_result(ctx, "lost", 4), 0);
    weft_reason custom = {.code = 7};
    switch (how) {
    case 0:
        return -EDOM;
    case 1:
        weft_exit(ctx, -EIO);
        break;
    case 2:
        weft_exit(ctx, 0);
        break;
    case 3:
        weft_exit_with(ctx, &custom);
        break;
    case 4:
        ck_assert_int_eq(weft_kill(ctx, weft_self(ctx)), 0);
        (void)weft_sleep(ctx, WEFT_FOREVER);
        break;
    default:
        ck_assert_int_eq(weft_stop(ctx, weft_self(ctx), -ENXIO), 0);
        (void)weft_sleep(ctx, WEFT_FOREVER);
        break;
    }
    ck_abort_msg("it went on");
    return 0;
}

START_TEST(a_failure_is_the_status) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&rig, &probe);
    static const int expected[] = {-EDOM,         -EIO,          WEFT_E_NOPROC,
                                   WEFT_E_NOPROC, WEFT_E_NOPROC, -ENXIO};
    for (int how = 0; how < 6; how++) {
        struct begin begin = {.fn = job_fails, .arg = &how, .size = sizeof(how), .token = 3};
        act(&rig, puppet, begin_job, &begin);
        eventually(probe_count(&probe) == (uint32_t)how + 1);
        struct seen seen = probe_at(&probe, (uint32_t)how);
        ck_assert_int_eq(seen.status, expected[how]);
        ck_assert_uint_eq(seen.size, 0);
        ck_assert(is_alive(&rig, puppet)); /* a job is not linked to its starter */
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_job_whose_time_is_over_is_killed) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    for (uint32_t how = 0; how < WAYS; how++) {
        struct task task = {.tally = &tally, .way = how};
        struct begin begin = {.fn = job_waits,
                              .arg = &task,
                              .size = sizeof(task),
                              .timeout_ns = how == 0 ? 1 : 3 * MS_NS,
                              .token = how};
        act(&rig, puppet, begin_job, &begin);
        ck_assert_int_eq(begin.result, 0);
        eventually(probe_count(&probe) == how + 1);
        ck_assert_int_eq(probe_at(&probe, how).status, -ETIMEDOUT);
        ck_assert_uint_eq(probe_at(&probe, how).token, how);
        eventually(rig_left(&tally) == 0);
        eventually(rig_gauges(&rig).actors == 1);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_cancelled_job_is_killed_and_has_no_reply) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    for (uint32_t round = 0; round < 50; round++) {
        struct task task = {.tally = &tally, .way = round % WAYS};
        struct begin begin = {.fn = job_waits,
                              .arg = &task,
                              .size = sizeof(task),
                              .token = 7,
                              .cancel = round % 2 == 0};
        act(&rig, puppet, begin_job, &begin); /* at once, or when it runs */
        if (!begin.cancel) {
            eventually(rig_left(&tally) == 1);
            act(&rig, puppet, cancel_job, &begin);
        }
        ck_assert_int_eq(begin.cancelled, 1);
        eventually(rig_left(&tally) == 0);
        eventually(rig_gauges(&rig).actors == 1);
    }
    settle(&rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(cancelling_ends_the_jobs_of_that_token_only) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally};
    struct begin begin = {.fn = job_waits, .arg = &task, .size = sizeof(task)};
    for (uint64_t i = 0; i < 30; i++) {
        begin.token = i % 3;
        act(&rig, puppet, begin_job, &begin);
    }
    eventually(rig_left(&tally) == 30);
    begin.token = 1;
    act(&rig, puppet, cancel_job, &begin);
    ck_assert_int_eq(begin.cancelled, 10);
    eventually(rig_left(&tally) == 20);
    sleep_ns(5 * MS_NS);
    ck_assert_uint_eq(rig_left(&tally), 20);
    rig_stop(&rig);
    ck_assert_uint_eq(rig_left(&tally), 0);
    probe_fini(&probe);
}
END_TEST

static void crash(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_exit(ctx, -EIO);
}

START_TEST(jobs_end_with_their_starter) {
    struct rig rig = rig_start(schedulers_of(_i));
    for (uint32_t how = 0; how < 3; how++) {
        struct probe probe = PROBE_INIT;
        struct tally tally = {0};
        weft_pid puppet = rig_spawn(&rig, &probe);
        for (uint32_t i = 0; i < 4 * WAYS; i++) {
            struct task task = {.tally = &tally, .way = i % WAYS};
            struct begin begin = {.fn = job_waits, .arg = &task, .size = sizeof(task), .token = i};
            act(&rig, puppet, begin_job, &begin);
        }
        if (how == 0) {
            eventually(rig_left(&tally) == 4 * WAYS);
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, puppet, 0), 0);
        } else if (how == 1) {
            ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, puppet), 0);
        } else {
            act(&rig, puppet, crash, NULL);
        }
        eventually(rig_gauges(&rig).actors == 0);
        ck_assert_uint_eq(rig_left(&tally), 0);
        probe_fini(&probe);
    }
    rig_stop(&rig);
}
END_TEST

/* A job that computes and never waits: its starter is told in time all the same. */
static int job_spins(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task = task_of(ctx, arg, arg_size);
    while (weft_load32_acquire(&task.tally->gate) == 0) {
        sleep_ns(50000);
    }
    (void)weft_yield(ctx); /* it has been killed meanwhile */
    ck_abort_msg("it went on");
    return 0;
}

START_TEST(a_job_that_never_waits_is_given_up) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally};
    struct begin begin = {
        .fn = job_spins, .arg = &task, .size = sizeof(task), .timeout_ns = 20 * MS_NS};
    act(&rig, puppet, begin_job, &begin);
    eventually(probe_count(&probe) == 1);
    ck_assert_int_eq(probe_at(&probe, 0).status, -ETIMEDOUT);
    weft_store32_release(&tally.gate, 1);
    eventually(rig_left(&tally) == 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- starting ------------------------------------------------------------------------------ */

START_TEST(bad_starts_leave_nothing) {
    weft_config config = rig_config(1);
    config.calls_max = 2;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally};
    struct begin begin = {.fn = NULL, .arg = &task, .size = sizeof(task)};
    act(&rig, puppet, begin_job, &begin);
    ck_assert_int_eq(begin.result, -EINVAL);
    begin = (struct begin){.fn = job_waits, .arg = NULL, .size = 1};
    act(&rig, puppet, begin_job, &begin);
    ck_assert_int_eq(begin.result, -EINVAL);
    begin = (struct begin){.fn = job_waits, .arg = &task, .size = SIZE_MAX / 2};
    act(&rig, puppet, begin_job, &begin);
    ck_assert_int_eq(begin.result, -EMSGSIZE);
    ck_assert_uint_eq(rig_gauges(&rig).actors, 1);
    begin = (struct begin){.fn = job_waits, .arg = &task, .size = sizeof(task)};
    for (int i = 0; i < 3; i++) {
        act(&rig, puppet, begin_job, &begin);
        ck_assert_int_eq(begin.result, i < 2 ? 0 : WEFT_E_LIMIT); /* pending calls */
    }
    ck_assert_uint_eq(rig_gauges(&rig).actors, 3);
    act(&rig, puppet, cancel_job, &begin);
    ck_assert_int_eq(begin.cancelled, 2);
    settle(&rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(where_there_is_no_room_for_an_actor_there_is_no_job) {
    weft_config config = rig_config(1);
    config.actors_max = 8;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally};
    struct begin begin = {.fn = job_waits, .arg = &task, .size = sizeof(task)};
    for (int round = 0; round < 10; round++) {
        int started = 0;
        do {
            act(&rig, puppet, begin_job, &begin);
            started += begin.result == 0 ? 1 : 0;
        } while (begin.result == 0);
        ck_assert_int_eq(begin.result, WEFT_E_LIMIT);
        ck_assert_int_eq(started, 7);
        act(&rig, puppet, cancel_job, &begin);
        ck_assert_int_eq(begin.cancelled, 7);
        eventually(rig_gauges(&rig).actors == 1);
    }
    settle(&rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_name_that_the_program_has_taken_is_its_own) {
    struct rig rig = rig_start(1);
    struct probe probe = PROBE_INIT;
    weft_type_def def = puppet_def("weft.job");
    (void)rig_type(&rig, &def);
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct begin begin = {.fn = job_waits};
    act(&rig, puppet, begin_job, &begin);
    ck_assert_int_eq(begin.result, -EEXIST);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void give_outside(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_job_result(ctx, "x", 1);
}

START_TEST(only_a_job_has_a_result) {
    struct rig rig = rig_start(1);
    int result = 0;
    act(&rig, rig_spawn(&rig, NULL), give_outside, &result);
    ck_assert_int_eq(result, -EPERM);
    rig_stop(&rig);
}
END_TEST

/* Somebody finds the type, and spawns it: nothing is run. */
START_TEST(the_type_is_of_no_use_to_others) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally, .give = 1};
    struct begin begin = {.fn = job_give, .arg = &task, .size = sizeof(task)};
    act(&rig, puppet, begin_job, &begin);
    eventually(probe_count(&probe) == 1);
    const weft_type *type = weft_type_find(rig.runtime, "weft.job");
    ck_assert_ptr_nonnull(type);
    unsigned char wild[64];
    memset(wild, 0xee, sizeof(wild));
    for (size_t size = 0; size <= sizeof(wild); size += 4) {
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = wild, .arg_size = size};
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, &options, &pid), 0);
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_call(rig.runtime, pid, 0x6a6f62, NULL, 0, S_NS, &reply),
                         WEFT_E_NOPROC);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* A job serves its starter alone, whatever others ask it first. */
static int job_is_asked(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task = task_of(ctx, arg, arg_size);
    weft_pid self = weft_self(ctx);
    weft_store64_release(&task.tally->pid, (uint64_t)self.slot << 32 | self.gen);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, 20 * S_NS, &msg), 0);
    ck_assert_uint_eq(weft_msg_tag(msg), 0x6a6f62);
    ck_assert_int_eq(weft_reply(ctx, &msg, 1, "other", 5), 0);
    return weft_job_result(ctx, "mine", 4);
}

START_TEST(a_job_may_receive_and_answer_others) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally};
    struct begin begin = {.fn = job_is_asked, .arg = &task, .size = sizeof(task)};
    act(&rig, puppet, begin_job, &begin);
    eventually(weft_load64_acquire(&tally.pid) != 0);
    uint64_t pid = weft_load64_acquire(&tally.pid);
    weft_pid job = {.node = puppet.node, .slot = (uint32_t)(pid >> 32), .gen = (uint32_t)pid};
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_call(rig.runtime, job, 0x6a6f62, NULL, 0, S_NS, &reply), 0);
    ck_assert_mem_eq(weft_msg_data(reply), "other", 5);
    weft_runtime_msg_release(rig.runtime, &reply);
    eventually(probe_count(&probe) == 1);
    ck_assert_mem_eq(probe_at(&probe, 0).data, "mine", 4);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_thousand_at_once) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    for (uint32_t i = 0; i < 1000; i++) {
        struct task task = {.tally = &tally, .give = i};
        struct begin begin = {.fn = job_give, .arg = &task, .size = sizeof(task), .token = i};
        act(&rig, puppet, begin_job, &begin);
        ck_assert_int_eq(begin.result, 0);
    }
    eventually(probe_count(&probe) == 1000);
    bool seen[1000] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        struct seen reply = probe_at(&probe, i);
        ck_assert_int_eq(reply.status, 0);
        ck_assert_uint_lt(reply.token, 1000);
        ck_assert_uint_eq(reply.size, reply.token);
        ck_assert(!seen[reply.token]);
        seen[reply.token] = true;
    }
    rig_stop(&rig);
    ck_assert_uint_eq(rig_left(&tally), 0);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_serial_starter_gets_the_result_first) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_type_def def = puppet_def("serial");
    def.flags = WEFT_TYPE_SERIAL;
    weft_pid puppet = rig_spawn_type(&rig, rig_type(&rig, &def), &probe);
    for (uint32_t i = 0; i < 20; i++) {
        struct task task = {.tally = &tally, .give = 10};
        struct begin begin = {.fn = job_give, .arg = &task, .size = sizeof(task), .token = i};
        act(&rig, puppet, begin_job, &begin);
        settle(&rig, puppet); /* held back until the job has answered */
        ck_assert_uint_eq(probe_count(&probe), i + 1);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(the_result_of_a_job_that_was_given_up_is_not_that_of_the_next) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    for (uint32_t round = 0; round < 100; round++) {
        struct task late = {.tally = &tally, .give = 50, .delay_ns = 100000};
        struct begin begin = {.fn = job_give,
                              .arg = &late,
                              .size = sizeof(late),
                              .timeout_ns = 100000 + round * 1000,
                              .token = 1};
        act(&rig, puppet, begin_job, &begin);
        eventually(probe_count(&probe) == 2 * round + 1);
        struct seen seen = probe_at(&probe, 2 * round);
        ck_assert(seen.status == -ETIMEDOUT || (seen.status == 0 && seen.size == 50));
        struct task next = {.tally = &tally, .give = 20};
        begin.arg = &next;
        begin.timeout_ns = 20 * S_NS;
        act(&rig, puppet, begin_job, &begin);
        eventually(probe_count(&probe) == 2 * round + 2);
        seen = probe_at(&probe, 2 * round + 1);
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_eq(seen.size, 20);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- from processes ------------------------------------------------------------------------ */

static void await_jobs(weft_ctx *ctx, struct tally *tally) {
    for (uint64_t i = 0; i < 10; i++) {
        struct task task = {.tally = tally, .give = (size_t)i + 1};
        ck_assert_int_eq(weft_job_start(ctx, job_give, &task, sizeof(task), 20 * S_NS, i), 0);
    }
    for (uint64_t i = 10; i-- > 0;) { /* in another order than they were started in */
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_await(ctx, i, WEFT_FOREVER, &reply), 0);
        ck_assert_int_eq(weft_msg_status(reply), 0);
        ck_assert_uint_eq(weft_msg_size(reply), i + 1);
        weft_msg_release(ctx, &reply);
    }
}

START_TEST(a_process_awaits_its_jobs_in_any_order) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, await_jobs, &tally);
    rig_stop(&rig);
}
END_TEST

static void await_in_vain(weft_ctx *ctx, struct tally *tally) {
    struct task task = {.tally = tally};
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_job_start(ctx, job_waits, &task, sizeof(task), 10 * S_NS, 1), 0);
    ck_assert_int_eq(weft_await(ctx, 1, MS_NS, &reply), -ETIMEDOUT); /* it may still come */
    task.give = 9;
    task.delay_ns = 3 * MS_NS;
    ck_assert_int_eq(weft_job_start(ctx, job_give, &task, sizeof(task), 10 * S_NS, 2), 0);
    ck_assert_int_eq(weft_await(ctx, 2, MS_NS, &reply), -ETIMEDOUT);
    ck_assert_int_eq(weft_await(ctx, 2, WEFT_FOREVER, &reply), 0); /* and does */
    ck_assert_uint_eq(weft_msg_size(reply), 9);
    weft_msg_release(ctx, &reply);
    ck_assert_int_eq(weft_call_cancel(ctx, 1), 1);
    ck_assert_int_eq(weft_await(ctx, 1, MS_NS, &reply), -ETIMEDOUT);
    ck_assert_int_eq(weft_job_start(ctx, job_give, &task, sizeof(task), 10 * S_NS, 1), 0);
    ck_assert_int_eq(weft_await(ctx, 1, 10 * S_NS, &reply), 0); /* the token is free again */
    ck_assert_uint_eq(weft_msg_size(reply), 9);
    ck_assert_int_eq(weft_job_start(ctx, job_waits, &task, sizeof(task), MS_NS, 3), 0);
    weft_msg *late = NULL;
    ck_assert_int_eq(weft_await(ctx, 3, 10 * S_NS, &late), 0);
    ck_assert_int_eq(weft_msg_status(late), -ETIMEDOUT);
}

START_TEST(awaiting_may_end_before_the_job_does) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct tally tally = {0};
    run_process(&rig, await_in_vain, &tally);
    eventually(rig_gauges(&rig).actors == 0);
    ck_assert_uint_eq(rig_left(&tally), 0);
    rig_stop(&rig);
}
END_TEST

/* Each starts two more, two levels deep, and waits for them. */
static int job_tree(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task = task_of(ctx, arg, arg_size);
    if (task.give > 0) {
        task.give--;
        ck_assert_int_eq(weft_job_start(ctx, job_tree, &task, sizeof(task), 0, 1), 0);
        ck_assert_int_eq(weft_job_start(ctx, job_tree, &task, sizeof(task), 0, 2), 0);
        weft_msg *reply = NULL;
        int result = weft_await(ctx, 1, WEFT_FOREVER, &reply);
        return result != 0 ? result : weft_await(ctx, 2, WEFT_FOREVER, &reply);
    }
    (void)weft_sleep(ctx, task.delay_ns);
    return 0;
}

START_TEST(jobs_of_jobs_end_with_them) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct tally tally = {0};
    weft_pid puppet = rig_spawn(&rig, &probe);
    struct task task = {.tally = &tally, .give = 4, .delay_ns = 60 * S_NS};
    struct begin begin = {.fn = job_tree, .arg = &task, .size = sizeof(task), .token = 1};
    act(&rig, puppet, begin_job, &begin);
    eventually(rig_left(&tally) == 31);
    act(&rig, puppet, cancel_job, &begin);
    eventually(rig_left(&tally) == 0);
    eventually(rig_gauges(&rig).actors == 1);
    task.delay_ns = MS_NS; /* and they end well */
    act(&rig, puppet, begin_job, &begin);
    eventually(probe_count(&probe) == 1);
    ck_assert_int_eq(probe_at(&probe, 0).status, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_runtime_stops_with_all_its_jobs) {
    for (uint32_t round = 0; round < 3; round++) {
        struct rig rig = rig_start(schedulers_of(_i));
        struct probe probe = PROBE_INIT;
        struct tally tally = {0};
        weft_pid puppet = rig_spawn(&rig, &probe);
        for (uint32_t i = 0; i < 50; i++) {
            struct task task = {.tally = &tally, .way = i % WAYS};
            struct begin begin = {.fn = job_waits, .arg = &task, .size = sizeof(task)};
            act(&rig, puppet, begin_job, &begin);
        }
        rig_stop(&rig);
        ck_assert_uint_eq(rig_left(&tally), 0);
        probe_fini(&probe);
    }
}
END_TEST

static Suite *job_suite(void) {
    Suite *suite = suite_create("job");
    TCase *result = tcase_create("result");
    tcase_add_loop_test(result, the_result_is_a_reply, 0, SCHEDULER_CASES);
    tcase_add_test(result, the_argument_is_copied);
    tcase_add_test(result, the_last_result_counts);
    tcase_add_loop_test(result, a_failure_is_the_status, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, result);
    TCase *end = tcase_create("end");
    tcase_add_loop_test(end, a_job_whose_time_is_over_is_killed, 0, SCHEDULER_CASES);
    tcase_add_loop_test(end, a_cancelled_job_is_killed_and_has_no_reply, 0, SCHEDULER_CASES);
    tcase_add_test(end, cancelling_ends_the_jobs_of_that_token_only);
    tcase_add_loop_test(end, jobs_end_with_their_starter, 0, SCHEDULER_CASES);
    tcase_add_test(end, a_job_that_never_waits_is_given_up);
    tcase_add_loop_test(end, a_runtime_stops_with_all_its_jobs, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, end);
    TCase *start = tcase_create("start");
    tcase_add_test(start, bad_starts_leave_nothing);
    tcase_add_test(start, where_there_is_no_room_for_an_actor_there_is_no_job);
    tcase_add_test(start, a_name_that_the_program_has_taken_is_its_own);
    tcase_add_test(start, only_a_job_has_a_result);
    tcase_add_test(start, the_type_is_of_no_use_to_others);
    tcase_add_test(start, a_job_may_receive_and_answer_others);
    tcase_add_loop_test(start, a_thousand_at_once, 0, SCHEDULER_CASES);
    tcase_add_test(start, a_serial_starter_gets_the_result_first);
    tcase_add_loop_test(start, the_result_of_a_job_that_was_given_up_is_not_that_of_the_next, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, start);
    TCase *process = tcase_create("process");
    tcase_add_loop_test(process, a_process_awaits_its_jobs_in_any_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(process, awaiting_may_end_before_the_job_does, 0, SCHEDULER_CASES);
    tcase_add_loop_test(process, jobs_of_jobs_end_with_them, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, process);
    return suite;
}

int main(void) {
    return run_suite(job_suite());
}
