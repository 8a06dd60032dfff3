/* SPDX-License-Identifier: MIT
 *
 * How an I/O driver of the operating system sleeps and is woken, on both of them, with and without
 * an operation in flight, with and without a descriptor for the program's own loop: no wake is
 * lost, deadlines are kept, the descriptor is readable when there is something.
 */
#include "tests/unit/driver_support.h"
#include <poll.h>
#include <sched.h>

/* A bench with or without an operation in flight that never ends by itself. */
struct sleeper {
    struct bench bench;
    bool busy;
    int fds[2];
    struct watch receive;
};

static bool open_sleeper(struct sleeper *sleeper, int number, bool want_fd, bool busy) {
    if (!open_bench(&sleeper->bench, number, want_fd)) {
        return false;
    }
    sleeper->busy = busy;
    if (busy) {
        bench_attach(&sleeper->bench);
        open_pair(SOCK_STREAM, sleeper->fds);
        watch_start(&sleeper->receive, &sleeper->bench, WEFT_IO_OP_RECEIVE, sleeper->fds[0]);
        bench_poll(&sleeper->bench);
    }
    return true;
}

static void close_sleeper(struct sleeper *sleeper) {
    if (sleeper->busy) {
        watch_end(&sleeper->receive);
        shut(&sleeper->bench, sleeper->fds[0]);
        shut(&sleeper->bench, sleeper->fds[1]);
    }
    bench_close(&sleeper->bench);
}

static void wake(struct bench *bench) {
    bench->io->driver_wake(bench->env, bench->driver);
}

/* How long a park with this deadline took. */
static uint64_t time_park(struct bench *bench, uint64_t deadline_ns) {
    uint64_t start_ns = clock_ns();
    bench_park(bench, deadline_ns);
    return clock_ns() - start_ns;
}

static void *wake_later(void *arg) {
    sleep_ns(20 * MS_NS);
    wake(arg);
    return NULL;
}

/* _i: bit 0 driver, bit 1 with an operation in flight, bit 2 with a descriptor. */
enum { SLEEPERS = 8 };

START_TEST(a_wake_ends_one_park_and_is_not_lost) {
    struct sleeper sleeper;
    if (!open_sleeper(&sleeper, _i & 1, (_i & 4) != 0, (_i & 2) != 0)) {
        return;
    }
    struct bench *bench = &sleeper.bench;
    for (uint32_t i = 0; i < 20; i++) {
        wake(bench);
        wake(bench);
        ck_assert_uint_lt(time_park(bench, clock_ns() + 2 * SOON_NS), SOON_NS); /* before */
        bench_poll(bench);
    }
    pthread_t thread;
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t start_ns = clock_ns(); /* the wake comes 20 ms after that, or later */
        ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, bench), 0);
        uint32_t parks = 0;
        do { /* a wake in between may end a park for nothing, twice at most */
            bench_poll(bench);
            bench_park(bench, UINT64_MAX);
            ck_assert_uint_lt(++parks, 4);
        } while (clock_ns() - start_ns < 15 * MS_NS);
        ck_assert_uint_lt(clock_ns() - start_ns, SOON_NS);
        pthread_join(thread, NULL);
    }
    bench_poll(bench);
    /* Nothing is left over: a park sleeps until its deadline, at the second try at the latest. */
    (void)time_park(bench, clock_ns() + MS_NS);
    bench_poll(bench);
    ck_assert_uint_ge(time_park(bench, clock_ns() + 10 * MS_NS), 9 * MS_NS);
    close_sleeper(&sleeper);
}
END_TEST

START_TEST(a_park_ends_at_its_deadline) {
    struct sleeper sleeper;
    if (!open_sleeper(&sleeper, _i & 1, (_i & 4) != 0, (_i & 2) != 0)) {
        return;
    }
    struct bench *bench = &sleeper.bench;
    ck_assert_uint_lt(time_park(bench, 0), SOON_NS); /* else it is for ever */
    ck_assert_uint_lt(time_park(bench, clock_ns() - 1), SOON_NS);
    /* On a machine that is busy with other things a thread waits for a processor now and then, so
     * not each park is exact; a driver that rounds its deadlines never is. */
    uint64_t until_ns = clock_ns() + 100 * S_NS;
    for (uint32_t exact = 0, i = 0; exact < 20; i++) {
        uint64_t deadline_ns = clock_ns() + (i % 20) * MS_NS + 300000;
        bench_poll(bench);
        bench_park(bench, deadline_ns);
        uint64_t now_ns = clock_ns();
        ck_assert_uint_ge(now_ns, deadline_ns);
        ck_assert_uint_lt(now_ns, until_ns);
        exact += now_ns - deadline_ns < 2 * MS_NS;
    }
    close_sleeper(&sleeper);
}
END_TEST

struct storm {
    struct sleeper sleeper;
    weft_atomic_u32 asked;    /* waker: written before each wake */
    weft_atomic_u32 answered; /* sleeper */
};

enum { STORM_ROUNDS = 20000, SPINS = 1000 };

static void *storm_wakes(void *arg) {
    struct storm *storm = arg;
    for (uint32_t i = 1; i <= STORM_ROUNDS; i++) {
        weft_store32_release(&storm->asked, i);
        wake(&storm->sleeper.bench);
        /* Half the time wait for the answer, so that the sleeper falls asleep now and then. */
        uint64_t until_ns = clock_ns() + 40 * S_NS;
        for (uint32_t turn = 0; (i & 1) != 0 && weft_load32_acquire(&storm->answered) != i;
             turn++) {
            ck_assert_uint_lt(clock_ns(), until_ns);
            if ((i & 6) != 0 || turn >= SPINS) { /* with one processor nobody answers meanwhile */
                sched_yield();
            }
        }
    }
    return NULL;
}

enum { PATIENCE_MS = 20000 };

static bool readable(int fd, int wait_ms) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, wait_ms) == 1;
}

/* Sleeps until there may be something, as the owner's own thread does or as a program's loop. */
static void storm_sleep(struct bench *bench, bool outside) {
    if (outside) {
        ck_assert(readable(bench->io->driver_fd(bench->env, bench->driver), PATIENCE_MS));
        bench_park(bench, 0);
    } else {
        ck_assert_uint_lt(time_park(bench, clock_ns() + PATIENCE_MS * MS_NS), 19 * S_NS);
    }
}

START_TEST(no_wake_of_many_is_lost) {
    struct storm storm = {0};
    if (!open_sleeper(&storm.sleeper, _i & 1, (_i & 4) != 0, (_i & 2) != 0)) {
        return;
    }
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, storm_wakes, &storm), 0);
    uint32_t seen = 0;
    while (seen < STORM_ROUNDS) {
        bench_poll(&storm.sleeper.bench);
        uint32_t asked = weft_load32_acquire(&storm.asked);
        if (asked != seen) {
            seen = asked;
            weft_store32_release(&storm.answered, seen);
            continue;
        }
        storm_sleep(&storm.sleeper.bench, (_i & 4) != 0);
    }
    pthread_join(thread, NULL);
    close_sleeper(&storm.sleeper);
}
END_TEST

START_TEST(the_descriptor_is_readable_while_there_is_something) {
    struct sleeper sleeper;
    if (!open_sleeper(&sleeper, _i, true, true)) {
        return;
    }
    struct bench *bench = &sleeper.bench;
    int fd = bench->io->driver_fd(bench->env, bench->driver);
    ck_assert_int_ge(fd, 0);
    for (uint32_t i = 1; i <= 20; i++) {
        ck_assert(!readable(fd, 0));
        wake(bench);
        ck_assert(readable(fd, 0));
        bench_park(bench, 0);
        bench_poll(bench);
        ck_assert(!readable(fd, 0));
        ck_assert_int_eq(send(sleeper.fds[1], "bytes", 5, 0), 5);
        ck_assert(readable(fd, PATIENCE_MS));
        bench_park(bench, 0); /* a wake is taken by that, a completion is not */
        ck_assert(readable(fd, 0));
        ck_assert_uint_gt(bench_poll(bench), 0);
        ck_assert_uint_eq(sleeper.receive.byte_count, 5 * i);
        bench_park(bench, 0);
        ck_assert(!readable(fd, 0));
        uint64_t start_ns = clock_ns();
        bench_park(bench, start_ns + 2 * MS_NS);
        ck_assert_uint_ge(clock_ns() - start_ns, 2 * MS_NS);
    }
    /* A park sees data that comes while it sleeps. */
    pthread_t thread;
    uint64_t start_ns = clock_ns();
    ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, bench), 0);
    bench_park(bench, UINT64_MAX);
    ck_assert_uint_ge(clock_ns() - start_ns, 10 * MS_NS);
    pthread_join(thread, NULL);
    close_sleeper(&sleeper);
}
END_TEST

START_TEST(the_descriptor_stays_readable_while_results_are_left) {
    enum { COUNT = 700 };
    struct bench bench;
    if (!open_bench(&bench, _i, true)) {
        return;
    }
    bench_attach(&bench);
    int fd = bench.io->driver_fd(bench.env, bench.driver);
    struct watch *sends = calloc(COUNT, sizeof(*sends));
    for (uint32_t i = 0; i < COUNT; i += 2) {
        int fds[2];
        open_pair(SOCK_STREAM, fds);
        for (uint32_t j = i; j < i + 2; j++) {
            watch_start(&sends[j], &bench, WEFT_IO_OP_SEND, fds[j - i]);
            watch_send(&sends[j], "x", 1);
        }
    }
    uint32_t delivered = 0;
    bench_park(&bench, 0); /* passes on what was submitted */
    while (delivered < COUNT) {
        ck_assert(readable(fd, PATIENCE_MS));
        delivered += bench_poll(&bench);
    }
    bench_park(&bench, 0);
    ck_assert(!readable(fd, 0));
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(sends[i].last, 1);
        shut(&bench, sends[i].op.fd);
    }
    free(sends);
    bench_close(&bench);
}
END_TEST

static void *own_and_use(void *arg) {
    struct bench *bench = arg;
    bench_attach(bench);
    run_echo(bench, "127.0.0.1:0");
    bench->io->detach(bench->env, bench->driver);
    return NULL;
}

START_TEST(a_driver_made_on_one_thread_serves_another) {
    for (uint32_t i = 0; i < 10; i++) {
        struct bench bench;
        if (!open_bench(&bench, _i & 1, (_i & 2) != 0)) {
            return;
        }
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, own_and_use, &bench), 0);
        pthread_join(thread, NULL);
        ck_assert_uint_eq(weft_load64_relaxed(&bench.core.buffers), 0);
        bench.io->driver_destroy(bench.env, bench.driver);
        weft__core_fini(&bench.core);
        weft_env_os_destroy(&bench.env);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("io_park");
    TCase *tcase = tcase_create("sleeping");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, a_wake_ends_one_park_and_is_not_lost, 0, SLEEPERS);
    tcase_add_loop_test(tcase, a_park_ends_at_its_deadline, 0, SLEEPERS);
    tcase_add_loop_test(tcase, no_wake_of_many_is_lost, 0, SLEEPERS);
    tcase_add_loop_test(tcase, the_descriptor_is_readable_while_there_is_something, 0, DRIVERS);
    tcase_add_loop_test(tcase, the_descriptor_stays_readable_while_results_are_left, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_driver_made_on_one_thread_serves_another, 0, 2 * DRIVERS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
