/* SPDX-License-Identifier: MIT
 *
 * Completion queues: calls from a program with its own event loop.
 */
#include "tests/unit/support.h"
#include <poll.h>

/* Holds every request until it is told to answer (tag 0), then answers all, oldest first. */
struct holder {
    struct probe probe;
    weft_msg *held[1000];
    uint32_t count;
    weft_pid pid;
};

static int hold(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct holder *holder = probe->user;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == 1) {
        weft_msg *request = msg;
        ck_assert_int_eq(weft_reply(ctx, &request, 1, weft_msg_data(msg), weft_msg_size(msg)), 0);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        ck_assert_uint_lt(holder->count, 1000);
        holder->held[holder->count++] = weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

static void answer_all(weft_ctx *ctx, void *arg) {
    struct holder *holder = arg;
    for (uint32_t i = 0; i < holder->count; i++) {
        weft_msg *request = holder->held[i];
        (void)weft_reply(ctx, &request, 2, weft_msg_data(request), weft_msg_size(request));
    }
    holder->count = 0;
}

static void holder_start(struct rig *rig, struct holder *holder) {
    memset(holder, 0, sizeof(*holder));
    holder->probe = (struct probe)PROBE_INIT;
    holder->probe.user = holder;
    holder->probe.handler = hold;
    holder->pid = rig_spawn(rig, &holder->probe);
}

static bool readable(const weft_cq *queue, int wait_ms) {
    struct pollfd poll_fd = {.fd = weft_cq_fd(queue), .events = POLLIN};
    return poll(&poll_fd, 1, wait_ms) == 1;
}

static int call(weft_cq *queue, weft_pid target, uint32_t tag, uint64_t timeout_ns,
                uint64_t token) {
    return weft_cq_call(queue, target, tag, &token, sizeof(token), timeout_ns, token);
}

/* The next completion as an event loop gets it: one per readable descriptor. */
static weft_completion next(struct rig *rig, weft_cq *queue) {
    weft_completion done = {0};
    for (;;) {
        ck_assert(readable(queue, 10000));
        if (weft_cq_next(queue, &done) == 1) {
            break;
        }
    }
    if (done.status == 0) {
        uint64_t data;
        ck_assert_uint_eq(weft_msg_size(done.reply), sizeof(data));
        memcpy(&data, weft_msg_data(done.reply), sizeof(data));
        ck_assert_uint_eq(data, done.token);
        weft_runtime_msg_release(rig->runtime, &done.reply);
    }
    ck_assert_ptr_null(done.reply);
    return done;
}

START_TEST(every_call_completes_once_with_its_token) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder holder;
    holder_start(&rig, &holder);
    holder.probe.counts_only = true;
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 64, &queue), 0);
    weft_completion none;
    ck_assert_int_eq(weft_cq_next(queue, &none), 0);
    enum { CALLS = 20000 };
    static uint8_t completed[CALLS];
    memset(completed, 0, sizeof(completed));
    uint32_t started = 0;
    uint32_t finished = 0;
    while (finished < CALLS) {
        while (started < CALLS && started - finished < 64) {
            ck_assert_int_eq(call(queue, holder.pid, 1, 20 * S_NS, started), 0);
            started++;
        }
        weft_completion done = next(&rig, queue); /* only one per look at the descriptor */
        ck_assert_int_eq(done.status, 0);
        ck_assert_uint_lt(done.token, CALLS);
        ck_assert_uint_eq(completed[done.token]++, 0);
        finished++;
    }
    ck_assert_int_eq(weft_cq_next(queue, &none), 0);
    ck_assert(!readable(queue, 0));
    ck_assert_uint_eq(weft_cq_deadline(queue), UINT64_MAX);
    weft_cq_destroy(&queue);
    ck_assert_ptr_null(queue);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
}
END_TEST

START_TEST(more_than_the_limit_answers_eagain) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder holder;
    holder_start(&rig, &holder);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 0, &queue), -EINVAL);
    ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_int_eq(call(queue, holder.pid, 2, 20 * S_NS, i), 0);
    }
    ck_assert_int_eq(call(queue, holder.pid, 2, 20 * S_NS, 10), -EAGAIN);
    act(&rig, holder.pid, answer_all, &holder);
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(next(&rig, queue).token, i);
    }
    ck_assert_int_eq(call(queue, holder.pid, 1, 20 * S_NS, 10), 0);
    ck_assert_uint_eq(next(&rig, queue).token, 10);
    ck_assert_int_eq(call(queue, weft_pid_none(), 1, 20 * S_NS, 11), WEFT_E_NOPROC);
    ck_assert_uint_eq(weft_cq_deadline(queue), UINT64_MAX); /* a refused call is not in flight */
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&holder.probe);
}
END_TEST

START_TEST(calls_that_time_out_complete_by_their_deadline) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder holder;
    holder_start(&rig, &holder);
    weft_cq *queue = NULL;
    weft_completion done;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
    ck_assert_int_eq(call(queue, holder.pid, 2, 3600 * S_NS, 3), 0);
    ck_assert_int_eq(weft_cq_next(queue, &done), 0); /* nothing is due for long */
    uint64_t before_ns = clock_ns();
    ck_assert_int_eq(call(queue, holder.pid, 2, 60 * MS_NS, 1), 0);
    ck_assert_int_eq(call(queue, holder.pid, 2, 20 * MS_NS, 2), 0);
    for (uint64_t token = 2; token >= 1; token--) {
        uint64_t deadline_ns = weft_cq_deadline(queue);
        ck_assert_uint_ge(deadline_ns, before_ns + (token == 1 ? 60 : 20) * MS_NS);
        ck_assert_uint_lt(deadline_ns, before_ns + SOON_NS);
        while (clock_ns() < deadline_ns) {
            sleep_ns(MS_NS);
        }
        ck_assert_int_eq(weft_cq_next(queue, &done), 1);
        ck_assert_uint_eq(done.token, token);
        ck_assert_int_eq(done.status, -ETIMEDOUT);
        ck_assert_ptr_null(done.reply);
    }
    act(&rig, holder.pid, answer_all, &holder); /* too late for these two */
    ck_assert_uint_eq(next(&rig, queue).token, 3);
    ck_assert_int_eq(weft_cq_next(queue, &done), 0);
    weft_stats stats = rig_stats(&rig); /* a request may have expired before it got its turn */
    ck_assert_uint_eq(stats.replies_late + stats.requests_expired, 2);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&holder.probe);
}
END_TEST

START_TEST(a_dying_callee_completes_its_calls) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder holder;
    holder_start(&rig, &holder);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_int_eq(call(queue, holder.pid, 2, 60 * S_NS, i), 0);
    }
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, holder.pid), 0);
    uint64_t before_ns = clock_ns();
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_int_eq(next(&rig, queue).status, WEFT_E_NOPROC);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&holder.probe);
}
END_TEST

START_TEST(answers_to_a_destroyed_queue_never_reach_its_successor) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder first;
    static struct holder second;
    holder_start(&rig, &first);
    holder_start(&rig, &second);
    for (uint32_t round = 0; round < 20; round++) {
        weft_cq *queue = NULL;
        ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
        uint32_t calls = round % 10 + 1;
        for (uint64_t i = 0; i < calls; i++) {
            ck_assert_int_eq(call(queue, first.pid, 2, 60 * S_NS, i), 0);
        }
        settle(&rig, first.pid);
        weft_cq_destroy(&queue); /* with calls in flight */
        ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
        for (uint64_t i = 0; i < 10; i++) {
            ck_assert_int_eq(call(queue, second.pid, 2, 60 * S_NS, 1000 + i), 0);
        }
        act(&rig, first.pid, answer_all, &first); /* for the first queue */
        weft_completion done;
        ck_assert_int_eq(weft_cq_next(queue, &done), 0);
        settle(&rig, second.pid);
        act(&rig, second.pid, answer_all, &second);
        for (uint64_t i = 0; i < 10; i++) {
            ck_assert_uint_eq(next(&rig, queue).token, 1000 + i);
        }
        weft_cq_destroy(&queue);
    }
    rig_stop(&rig);
    probe_fini(&first.probe);
    probe_fini(&second.probe);
}
END_TEST

START_TEST(a_stopped_runtime_starts_no_calls_and_completes_those_in_flight) {
    struct rig rig = rig_start(schedulers_of(_i));
    static struct holder holder;
    holder_start(&rig, &holder);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(rig.runtime, 10, &queue), 0);
    ck_assert_int_eq(call(queue, holder.pid, 2, 60 * S_NS, 1), 0);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 10 * S_NS), 0);
    weft_completion done = next(&rig, queue);
    ck_assert_uint_eq(done.token, 1);
    ck_assert_int_eq(done.status, WEFT_E_NOPROC);
    ck_assert_int_eq(call(queue, holder.pid, 2, 60 * S_NS, 2), WEFT_E_SHUTDOWN);
    weft_cq_destroy(&queue);
    rig_stop(&rig);
    probe_fini(&holder.probe);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cq");
    TCase *tcase = tcase_create("cq");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, every_call_completes_once_with_its_token, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, more_than_the_limit_answers_eagain, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, calls_that_time_out_complete_by_their_deadline, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_dying_callee_completes_its_calls, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase, answers_to_a_destroyed_queue_never_reach_its_successor, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, a_stopped_runtime_starts_no_calls_and_completes_those_in_flight, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
