/* SPDX-License-Identifier: MIT
 *
 * A runtime inside somebody else's program: scheduler 1 driven by the program's own loop, calls
 * through a completion queue, signals, fork, and a runtime that costs nothing while it is idle.
 */
#define _GNU_SOURCE
#include "support.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- idle ------------------------------------------------------------------------------------ */

/* Context switches of the runtime's threads so far, and how many threads those are. */
static uint64_t switches(uint32_t *ret_threads) {
    uint64_t sum = 0;
    *ret_threads = 0;
    DIR *folder = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char path[300];
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        char line[256];
        bool ours = false;
        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            ours = ours || strncmp(line, "Name:\tweft-", 11) == 0;
            unsigned long long count;
            if (ours && sscanf(line, "voluntary_ctxt_switches: %llu", &count) == 1) {
                sum += count;
            }
        }
        *ret_threads += ours ? 1 : 0;
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    (void)closedir(folder);
    return sum;
}

START_TEST(an_idle_runtime_does_not_wake_up) {
    weft_config config = rig_config(4);
    config.watchdog_ns = 2 * MS_NS;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    }
    settle(&rig, pid);
    eventually(rig_gauges(&rig).schedulers_parked == 4);
    uint32_t threads = 0;
    eventually((switches(&threads), threads == 4 + 4 + 1)); /* they name themselves */
    /* The watchdog looks a few more times, and on a busy machine it takes a while until everybody
     * sleeps. A thread that wakes up by itself never lets a second pass. */
    uint64_t until_ns = clock_ns() + SOON_NS;
    uint64_t before;
    do {
        ck_assert_uint_lt(clock_ns(), until_ns);
        before = switches(&threads);
        sleep_ns(S_NS);
    } while (switches(&threads) != before);
    settle(&rig, pid); /* and it wakes up when it has to */
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static void tick_soon(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_timer_start(ctx, 300 * MS_NS, 1, 1, NULL), 0);
}

START_TEST(a_timer_wakes_an_idle_runtime_once) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    uint64_t before_ns = clock_ns();
    act(&rig, pid, tick_soon, NULL);
    eventually(probe_count(&probe) == 1);
    uint64_t took_ns = probe_at(&probe, 0).at_ns - before_ns;
    ck_assert_uint_ge(took_ns, 300 * MS_NS);
    ck_assert_uint_lt(took_ns, SOON_NS);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- signals and fork ------------------------------------------------------------------------ */

static _Atomic uint32_t signals_seen;
static _Atomic int signal_thread;

static void on_signal(int number) {
    (void)number;
    atomic_store(&signal_thread, (int)syscall(SYS_gettid));
    atomic_fetch_add(&signals_seen, 1);
}

static int job_blocks_signals(void *arg) {
    (void)arg;
    sigset_t blocked;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    return sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGTERM) == 1 ? 0 : -1;
}

static void blocks_signals(weft_ctx *ctx, void *arg) {
    *(int *)arg = job_blocks_signals(NULL);
    ck_assert_int_eq(weft_blocking(ctx, job_blocks_signals, NULL, 1), 0);
}

START_TEST(signals_stay_with_the_programs_own_threads) {
    struct sigaction action = {.sa_handler = on_signal};
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    struct rig rig = rig_start(4);
    for (uint32_t i = 0; i < 200; i++) {
        ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
        eventually(atomic_load(&signals_seen) == i + 1);
        ck_assert_int_eq(atomic_load(&signal_thread), (int)syscall(SYS_gettid));
    }
    sigset_t mask;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGUSR1), 0); /* ours is as it was */
    struct probe probe = PROBE_INIT;
    int result = -2;
    act(&rig, rig_spawn(&rig, &probe), blocks_signals, &result);
    ck_assert_int_eq(result, 0);
    eventually(probe_count(&probe) == 1);
    ck_assert_int_eq(probe_at(&probe, 0).status, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_forked_child_may_exit) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            _exit(17);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 17);
    }
    settle(&rig, pid);
    ck_assert_uint_eq(probe_count(&probe), 10);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- driving scheduler 1 --------------------------------------------------------------------- */

static struct rig driven_start(uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.driven = true;
    return rig_start_with(&config);
}

/* Sleeps as a program does: on the descriptor and until the next timer. longest_ns: something must
 * wake it before that. */
static void poll_and_drive(struct rig *rig, uint64_t longest_ns, uint64_t *turns) {
    uint64_t due_ns = weft_runtime_drive_deadline(rig->runtime);
    uint64_t now_ns = clock_ns();
    uint64_t wait_ns = due_ns == UINT64_MAX ? longest_ns : due_ns > now_ns ? due_ns - now_ns : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / S_NS), .tv_nsec = (long)(wait_ns % S_NS)};
    struct pollfd fd = {.fd = weft_runtime_drive_fd(rig->runtime), .events = POLLIN};
    int ready = ppoll(&fd, 1, &wait, NULL);
    ck_assert_int_ge(ready, 0);
    ck_assert_msg(ready != 0 || due_ns != UINT64_MAX || longest_ns < S_NS, "a wake-up was lost");
    int result = weft_runtime_drive(rig->runtime, MS_NS, 0);
    ck_assert_int_ge(result, 0);
    (*turns)++;
}

struct pinger {
    struct rig *rig;
    weft_pid pid;
    uint32_t rounds;
    _Atomic uint32_t done;
};

static void *ping_outside(void *arg) {
    struct pinger *pinger = arg;
    for (uint32_t i = 0; i < pinger->rounds; i++) {
        weft_msg *reply = NULL;
        struct job job = {.fn = act_nothing};
        int result = weft_runtime_call(pinger->rig->runtime, pinger->pid, TAG_ACT, &job,
                                       sizeof(job), 2 * SOON_NS, &reply);
        ck_assert_int_eq(result, 0);
        weft_runtime_msg_release(pinger->rig->runtime, &reply);
    }
    atomic_store(&pinger->done, 1);
    /* One more message, so that the driving thread looks. */
    ck_assert_int_eq(weft_runtime_send(pinger->rig->runtime, pinger->pid, 1, NULL, 0), 0);
    return NULL;
}

/* 100,000 calls in all. Pinned actors need the driving thread for each; others may move away, and
 * then it may sleep as long as it likes. */
START_TEST(a_driven_scheduler_loses_no_wake_up) {
    enum { THREADS = 2 };
    uint32_t rounds =
        getenv("CK_TIMEOUT_MULTIPLIER") != NULL && atoi(getenv("CK_TIMEOUT_MULTIPLIER")) > 1
            ? 5000
            : 50000;
    bool pin = _i < SCHEDULER_CASES;
    struct rig rig = driven_start(schedulers_of(_i % SCHEDULER_CASES));
    struct pinger pingers[THREADS];
    pthread_t threads[THREADS];
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .scheduler = 1, .pin = pin};
    for (int i = 0; i < THREADS; i++) {
        pingers[i] = (struct pinger){.rig = &rig, .rounds = rounds};
        ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pingers[i].pid), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ping_outside, &pingers[i]), 0);
    }
    uint64_t turns = 0;
    while (atomic_load(&pingers[0].done) == 0 || atomic_load(&pingers[1].done) == 0) {
        poll_and_drive(&rig, pin ? SOON_NS : 20 * MS_NS, &turns);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    if (_i == 0) {
        /* No busy loop: a few turns for each message at most. */
        ck_assert_uint_le(turns, (uint64_t)rounds * THREADS * 4 + 100);
    }
    rig_stop(&rig);
}
END_TEST

static void start_timer(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_timer_start(ctx, *(uint64_t *)arg, 4, 4, NULL), 0);
}

struct acting {
    struct rig *rig;
    weft_pid pid;
    job_fn fn;
    void *arg;
    _Atomic uint32_t done;
};

static void *act_outside(void *arg) {
    struct acting *acting = arg;
    act(acting->rig, acting->pid, acting->fn, acting->arg);
    atomic_store(&acting->done, 1);
    return NULL;
}

/* act for a driven scheduler: somebody must drive it meanwhile. */
static void act_driven(struct rig *rig, weft_pid pid, job_fn fn, void *arg) {
    struct acting acting = {.rig = rig, .pid = pid, .fn = fn, .arg = arg};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, act_outside, &acting), 0);
    while (atomic_load(&acting.done) == 0) {
        ck_assert_int_ge(weft_runtime_drive(rig->runtime, 0, MS_NS), 0);
    }
    (void)pthread_join(thread, NULL);
}

static void sleep_until_timer(struct rig rig, uint64_t delay_ns) {
    struct probe probe = PROBE_INIT;
    weft_pid pid = rig_spawn(&rig, &probe);
    act_driven(&rig, pid, start_timer, &delay_ns);
    uint64_t turns = 0;
    while (probe_count(&probe) == 0) {
        poll_and_drive(&rig, SOON_NS, &turns);
    }
    ck_assert_uint_lt(turns, 20); /* the wheel may want to look a few times on the way */
    ck_assert_int_eq(weft_runtime_drive(rig.runtime, 0, 0), 0);
    ck_assert_uint_eq(weft_runtime_drive_deadline(rig.runtime), UINT64_MAX);
    rig_stop(&rig);
    probe_fini(&probe);
}

START_TEST(a_driven_scheduler_tells_its_next_timer) {
    sleep_until_timer(driven_start(1), 200 * MS_NS);
}
END_TEST

/* A wake stayed among the events of the driver, which nobody polls where there is no I/O. */
START_TEST(a_driven_scheduler_sleeps_after_a_wake_on_epoll_too) {
    weft_config config = rig_config(1);
    config.driven = true;
    config.io_driver = WEFT_IO_DRIVER_EPOLL;
    for (uint32_t round = 0; round < 40; round++) {
        sleep_until_timer(rig_start_with(&config), 20 * MS_NS);
    }
}
END_TEST

static int send_self(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    (void)msg;
    return weft_send(ctx, weft_self(ctx), 1, NULL, 0);
}

START_TEST(driving_ends_at_its_time_and_leaves_the_descriptor_readable) {
    struct rig rig = driven_start(1);
    struct probe probe = PROBE_INIT;
    probe.counts_only = true;
    probe.handler = send_self;
    weft_pid pid = rig_spawn(&rig, &probe);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    for (int i = 0; i < 10; i++) {
        struct pollfd fd = {.fd = weft_runtime_drive_fd(rig.runtime), .events = POLLIN};
        ck_assert_int_eq(poll(&fd, 1, 20000), 1);
        uint64_t before_ns = clock_ns();
        ck_assert_int_eq(weft_runtime_drive(rig.runtime, 2 * MS_NS, S_NS), 1);
        ck_assert_uint_ge(clock_ns() - before_ns, 2 * MS_NS);
        ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS); /* else it is for ever */
    }
    ck_assert_uint_gt(probe_count(&probe), 10);
    rig_stop(&rig);
}
END_TEST

START_TEST(driving_waits_no_longer_than_asked) {
    struct rig rig = driven_start(2);
    (void)weft_runtime_drive(rig.runtime, 0, 0);
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_drive(rig.runtime, 0, 50 * MS_NS), 0);
    ck_assert_uint_ge(clock_ns() - before_ns, 49 * MS_NS);
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    rig_stop(&rig);
}
END_TEST

START_TEST(driving_ends_with_the_runtime) {
    struct rig rig = driven_start(2);
    (void)rig_spawn(&rig, NULL);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 10 * S_NS), 0);
    ck_assert_int_eq(weft_runtime_drive(rig.runtime, 0, S_NS), WEFT_E_SHUTDOWN);
    rig_stop(&rig);
    struct rig plain = rig_start(1);
    ck_assert_int_eq(weft_runtime_drive(plain.runtime, 0, 0), -EINVAL);
    ck_assert_int_eq(weft_runtime_drive_fd(plain.runtime), -EINVAL);
    ck_assert_uint_eq(weft_runtime_drive_deadline(plain.runtime), UINT64_MAX);
    rig_stop(&plain);
}
END_TEST

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

/* The driven scheduler leaves first; waiting for the other one must not burn a processor. */
START_TEST(stopping_a_driven_runtime_sleeps_while_it_waits) {
    struct rig rig = driven_start(2);
    struct probe probe = PROBE_INIT;
    probe.handler = wait_at_gate;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &(struct probe *){&probe},
                                  .arg_size = sizeof(struct probe *),
                                  .scheduler = 2,
                                  .pin = true};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig.puppet, &options, &pid), 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    eventually(weft_load32_acquire(&probe.inside) != 0);
    struct timespec before;
    struct timespec after;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 400 * MS_NS), -ETIMEDOUT);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    uint64_t used_ns = (uint64_t)(after.tv_sec - before.tv_sec) * S_NS + (uint64_t)after.tv_nsec -
                       (uint64_t)before.tv_nsec;
    ck_assert_uint_lt(used_ns, 300 * MS_NS);
    weft_store32_release(&probe.gate, 1);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- completion queue ------------------------------------------------------------------------ */

static int echo(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    switch (weft_msg_tag(msg)) {
    case 1:
        return weft_reply(ctx, &msg, 1, weft_msg_data(msg), weft_msg_size(msg));
    case 2:
        (void)weft_msg_take(ctx, msg); /* never answered */
        return WEFT_CONTINUE;
    case 3:
        return weft_reply_error(ctx, &msg, -ENOTSUP);
    default:
        return WEFT_CONTINUE; /* released without an answer */
    }
}

START_TEST(a_queue_completes_every_call_once) {
    enum { CALLS = 64, ROUNDS = 200 };
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = echo;
    probe.counts_only = true;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_cq *queue;
    ck_assert_int_eq(weft_cq_create(rig.runtime, CALLS, &queue), 0);
    uint64_t sum = 0;
    uint64_t expected = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < CALLS; i++) {
            uint64_t token = round * CALLS + i;
            ck_assert_int_eq(weft_cq_call(queue, pid, 1, &token, sizeof(token), 0, token), 0);
            expected += token;
        }
        ck_assert_int_eq(weft_cq_call(queue, pid, 1, NULL, 0, 0, 1), -EAGAIN);
        for (uint32_t done = 0; done < CALLS;) {
            struct pollfd fd = {.fd = weft_cq_fd(queue), .events = POLLIN};
            ck_assert_int_eq(poll(&fd, 1, 20000), 1); /* readable while one may be waiting */
            weft_completion completion;
            if (weft_cq_next(queue, &completion) == 1) { /* one at a time */
                ck_assert_int_eq(completion.status, 0);
                uint64_t token;
                memcpy(&token, weft_msg_data(completion.reply), sizeof(token));
                ck_assert_uint_eq(token, completion.token);
                sum += token;
                done++;
                weft_runtime_msg_release(rig.runtime, &completion.reply);
            }
        }
    }
    ck_assert_uint_eq(sum, expected);
    weft_completion completion;
    ck_assert_int_eq(weft_cq_next(queue, &completion), 0);
    ck_assert_uint_eq(weft_cq_deadline(queue), UINT64_MAX);
    weft_cq_destroy(&queue);
    ck_assert_ptr_null(queue);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_queue_tells_why_there_is_no_answer) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    probe.handler = echo;
    weft_pid pid = rig_spawn(&rig, &probe);
    weft_cq *queue;
    weft_completion completion;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 0, &queue), -EINVAL);
    ck_assert_int_eq(weft_cq_create(rig.runtime, 8, &queue), 0);
    static const int statuses[] = {0, 0, -ETIMEDOUT, -ENOTSUP, WEFT_E_NOREPLY};
    for (uint32_t tag = 2; tag < 5; tag++) {
        uint64_t timeout_ns = statuses[tag] == -ETIMEDOUT ? 50 * MS_NS : SOON_NS;
        ck_assert_int_eq(weft_cq_call(queue, pid, tag, NULL, 0, timeout_ns, tag), 0);
    }
    for (int i = 0; i < 3; i++) {
        while (weft_cq_next(queue, &completion) == 0) {
            ck_assert_uint_ne(weft_cq_deadline(queue), UINT64_MAX);
            sleep_ns(MS_NS);
        }
        ck_assert_int_eq(completion.status, statuses[completion.token]);
        ck_assert_ptr_null(completion.reply);
    }
    ck_assert_int_eq(weft_cq_call(queue, weft_pid_none(), 1, NULL, 0, 0, 1), WEFT_E_NOPROC);
    /* Forgotten calls: their answers are dropped, also by the next user of the same port. */
    ck_assert_int_eq(weft_cq_call(queue, pid, 1, "a", 1, 0, 7), 0);
    weft_cq_destroy(&queue);
    ck_assert_int_eq(weft_cq_create(rig.runtime, 8, &queue), 0);
    ck_assert_int_eq(weft_cq_call(queue, pid, 1, "b", 1, 0, 8), 0);
    eventually(weft_cq_next(queue, &completion) == 1);
    ck_assert_uint_eq(completion.token, 8);
    ck_assert_mem_eq(weft_msg_data(completion.reply), "b", 1);
    weft_runtime_msg_release(rig.runtime, &completion.reply);
    ck_assert_int_eq(weft_cq_next(queue, &completion), 0);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static Suite *embed_suite(void) {
    Suite *suite = suite_create("embed");
    TCase *idle = tcase_create("idle");
    tcase_add_test(idle, an_idle_runtime_does_not_wake_up);
    tcase_add_test(idle, a_timer_wakes_an_idle_runtime_once);
    suite_add_tcase(suite, idle);
    TCase *process = tcase_create("process");
    tcase_add_test(process, signals_stay_with_the_programs_own_threads);
    tcase_add_test(process, a_forked_child_may_exit);
    suite_add_tcase(suite, process);
    TCase *driven = tcase_create("driven");
    tcase_set_timeout(driven, 180);
    tcase_add_loop_test(driven, a_driven_scheduler_loses_no_wake_up, 0, 2 * SCHEDULER_CASES);
    tcase_add_test(driven, a_driven_scheduler_tells_its_next_timer);
    tcase_add_test(driven, a_driven_scheduler_sleeps_after_a_wake_on_epoll_too);
    tcase_add_test(driven, driving_ends_at_its_time_and_leaves_the_descriptor_readable);
    tcase_add_test(driven, driving_waits_no_longer_than_asked);
    tcase_add_test(driven, driving_ends_with_the_runtime);
    tcase_add_test(driven, stopping_a_driven_runtime_sleeps_while_it_waits);
    suite_add_tcase(suite, driven);
    TCase *queues = tcase_create("queues");
    tcase_add_loop_test(queues, a_queue_completes_every_call_once, 0, SCHEDULER_CASES);
    tcase_add_test(queues, a_queue_tells_why_there_is_no_answer);
    suite_add_tcase(suite, queues);
    return suite;
}

int main(void) {
    return run_suite(embed_suite());
}
