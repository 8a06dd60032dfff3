/* SPDX-License-Identifier: MIT
 *
 * Deadlines that are inherited and requests that are cancelled, down lines of handlers and processes
 * (scope_support.h). Cases are run with 1, 2, 8 and 64 schedulers, and lines with all mixtures of
 * handlers and processes where it says MIXES. What waits in processes, memory and crowds:
 * test_scope_wait.c.
 */
#include "tests/unit/scope_support.h"

enum { MIXES = 8, CASES = 4 * MIXES };

/* ---- deadlines ----------------------------------------------------------------------------- */

START_TEST(a_deadline_goes_down_the_line) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 4, (uint32_t)_i / 4);
    uint64_t before_ns = clock_ns();
    line_ask(&line, 600 * MS_NS);
    line_reached(&line, 1);
    uint64_t deadline_ns = stage_deadline(&line.stages[0]);
    for (uint32_t i = 1; i < 4; i++) {
        ck_assert_uint_eq(stage_deadline(&line.stages[i]), deadline_ns);
    }
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == 1);
    ck_assert_int_eq(probe_at(&line.probe, 0).status, -ETIMEDOUT);
    for (uint32_t i = 0; i < 3; i++) { /* all of them long before their own time */
        stage_had(&line.stages[i], 1, -ETIMEDOUT);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    line_stop(&line);
}
END_TEST

START_TEST(ones_own_shorter_time_wins) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 4, (uint32_t)_i / 4);
    line.stages[1].timeout_ns = 500 * MS_NS;
    line_ask(&line, SOON_NS / 2);
    line_reached(&line, 1);
    uint64_t first_ns = stage_deadline(&line.stages[0]);
    uint64_t last_ns = stage_deadline(&line.stages[3]);
    ck_assert_uint_eq(stage_deadline(&line.stages[1]), first_ns);
    ck_assert_uint_lt(last_ns, first_ns);
    ck_assert_uint_eq(stage_deadline(&line.stages[2]), last_ns);
    stage_had(&line.stages[1], 1, -ETIMEDOUT);
    stage_had(&line.stages[0], 1, -ETIMEDOUT); /* passed on: its own time was not over */
    ck_assert_uint_eq(weft_load64_relaxed(&line.stages[0].after_ns), first_ns);
    line_stop(&line);
}
END_TEST

START_TEST(who_waits_for_ever_gives_no_deadline) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, (uint32_t)_i / 4);
    line.stages[0].timeout_ns = WEFT_TIMEOUT_NEVER;
    line.stages[1].timeout_ns = WEFT_TIMEOUT_NEVER;
    line_ask(&line, WEFT_TIMEOUT_NEVER);
    line_reached(&line, 1);
    ck_assert_uint_eq(stage_deadline(&line.stages[2]), UINT64_MAX);
    line_cancel(&line);
    stage_had(&line.stages[0], 1, -ECANCELED);
    line_stop(&line);
}
END_TEST

START_TEST(who_is_late_asks_nobody) {
    static const enum way ways[] = {WAY_CALL, WAY_MULTI, WAY_VIRTUAL, WAY_AWAIT};
    static struct line line;
    line_start(&line, line_schedulers(_i), 2, (uint32_t)_i / 4 % 2);
    line.stages[0].way = ways[(uint32_t)_i / 8 % 4];
    line.stages[0].busy_ns = 80 * MS_NS;
    line.stages[0].timeout_ns = 50 * MS_NS; /* short: the clock is read for it */
    uint32_t asked = 0;
    do { /* until it comes in time to begin with it */
        line_ask(&line, 20 * MS_NS);
        asked++;
        eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == asked);
    } while (weft_load32_acquire(&line.stages[0].begun) == 0);
    stage_had(&line.stages[0], 1, -ETIMEDOUT);
    ck_assert_uint_eq(weft_load32_relaxed(&line.stages[1].begun), 0);
    line_stop(&line);
}
END_TEST

/* ---- cancelling ---------------------------------------------------------------------------- */

/* All stages but the last have heard of it, and the last one knows of what it holds. */
static void check_cancelled(struct line *line) {
    for (uint32_t i = 0; i + 1 < line->count; i++) {
        stage_had(&line->stages[i], 1, -ECANCELED);
        ck_assert_uint_eq(weft_load64_relaxed(&line->stages[i].after_ns), 0);
    }
    eventually(line_cancelled(line) == 1);
}

START_TEST(a_cancel_goes_down_the_line) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 4, (uint32_t)_i / 4);
    line_ask(&line, SOON_NS);
    line_reached(&line, 1);
    ck_assert_uint_eq(line_cancelled(&line), 0);
    line_cancel(&line);
    check_cancelled(&line);
    line_answer(&line); /* to nobody */
    settle(&line.rig, line.asker);
    ck_assert_uint_eq(probe_count_kind(&line.probe, WEFT_MSG_REPLY), 0);
    line_stop(&line);
}
END_TEST

START_TEST(all_ways_of_asking_are_cancelled) {
    static const enum way ways[] = {WAY_CALL, WAY_MULTI, WAY_VIRTUAL, WAY_AWAIT};
    static struct line line;
    line_start(&line, line_schedulers(_i), 2, (uint32_t)_i / 4 % 2);
    line.stages[0].way = ways[(uint32_t)_i / 8 % 4];
    line_ask(&line, SOON_NS);
    line_reached(&line, 1);
    line_cancel(&line);
    check_cancelled(&line);
    line_stop(&line);
}
END_TEST

enum { STOPPED, KILLED, CRASHED, ENDED, DEATHS };

static void do_crash(weft_ctx *ctx, void *arg) {
    weft_exit(ctx, *(const int *)arg);
}

START_TEST(whose_caller_ends_is_cancelled) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, (uint32_t)_i / 4);
    line_ask(&line, SOON_NS);
    line_reached(&line, 1);
    switch (_i % DEATHS) {
    case STOPPED:
        ck_assert_int_eq(weft_runtime_stop_actor(line.rig.runtime, line.asker, 0), 0);
        break;
    case KILLED:
        ck_assert_int_eq(weft_runtime_kill_actor(line.rig.runtime, line.asker), 0);
        break;
    default:
        act(&line.rig, line.asker, do_crash, &(int){_i % DEATHS == CRASHED ? -EIO : 0});
        break;
    }
    check_cancelled(&line);
    line_stop(&line);
}
END_TEST

START_TEST(a_link_in_the_middle_ends) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 4, (uint32_t)_i / 4);
    line_ask(&line, SOON_NS);
    line_reached(&line, 1);
    ck_assert_int_eq(weft_runtime_kill_actor(line.rig.runtime, line.stages[1].pid), 0);
    stage_had(&line.stages[0], 1, WEFT_E_NOPROC); /* those above get an answer */
    ck_assert_uint_ne(weft_load64_relaxed(&line.stages[0].after_ns), 0);
    stage_had(&line.stages[2], 1, -ECANCELED); /* those below are cancelled */
    eventually(line_cancelled(&line) == 1);
    line_stop(&line);
}
END_TEST

START_TEST(a_cancelled_request_asks_for_no_more) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 2, 0);
    line.stages[0].way = WAY_AGAIN;
    line_ask(&line, SOON_NS);
    line_reached(&line, 1);
    line_answer(&line);
    eventually(weft_load32_acquire(&line.stages[1].begun) == 2);
    /* The second call was made in the REPLY's handler, for the same request. */
    ck_assert_uint_eq(weft_load64_relaxed(&line.stages[0].after_ns),
                      stage_deadline(&line.stages[0]));
    ck_assert_uint_eq(stage_deadline(&line.stages[1]), stage_deadline(&line.stages[0]));
    line_cancel(&line);
    stage_had(&line.stages[0], 2, -ECANCELED);
    eventually(line_cancelled(&line) == 1);
    line_stop(&line);
}
END_TEST

START_TEST(what_is_done_for_nobody_outlives_the_request) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, 0);
    line.stages[1].way = WAY_NOBODY;
    line_ask(&line, 10 * S_NS);
    line_reached(&line, 1);
    ck_assert_uint_gt(stage_deadline(&line.stages[2]), stage_deadline(&line.stages[1]));
    line_cancel(&line);
    stage_had(&line.stages[0], 1, -ECANCELED);
    settle(&line.rig, line.asker);
    ck_assert_uint_eq(line_cancelled(&line), 0);
    ck_assert_uint_eq(weft_load32_acquire(&line.stages[1].replies), 0);
    line_answer(&line);
    stage_had(&line.stages[1], 1, 0);
    /* Its scope was nobody. */
    ck_assert_uint_eq(weft_load64_relaxed(&line.stages[1].after_ns), UINT64_MAX);
    line_stop(&line);
}
END_TEST

START_TEST(a_later_handler_may_work_for_what_it_took) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, 0);
    line.stages[1].way = WAY_LATER;
    line_ask(&line, SOON_NS / 2);
    line_reached(&line, 1);
    ck_assert_uint_eq(weft_load32_acquire(&line.stages[1].later), 1);
    ck_assert_uint_eq(stage_deadline(&line.stages[2]), stage_deadline(&line.stages[0]));
    line_cancel(&line);
    check_cancelled(&line);
    line_stop(&line);
}
END_TEST

START_TEST(who_has_answered_works_for_nobody) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 2, 0);
    line.stages[0].way = WAY_EARLY;
    line_ask(&line, SOON_NS / 2);
    line_reached(&line, 1);
    ck_assert_uint_eq(stage_deadline(&line.stages[1]), stage_deadline(&line.stages[0]));
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == 1);
    line_answer(&line);
    eventually(weft_load32_acquire(&line.stages[1].begun) == 2);
    ck_assert_uint_eq(weft_load64_relaxed(&line.stages[0].after_ns), UINT64_MAX);
    ck_assert_uint_gt(stage_deadline(&line.stages[1]), stage_deadline(&line.stages[0]));
    line_stop(&line);
}
END_TEST

START_TEST(a_request_that_was_passed_on_is_not_reached) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, 0);
    line.stages[0].way = WAY_FORWARD;
    line.stages[1].way = WAY_CALL;
    line_ask(&line, SOON_NS / 2);
    line_reached(&line, 2); /* what was passed on, and what stage 1 was asked */
    line_cancel(&line);
    for (uint32_t i = 0; i < 3; i++) {
        settle(&line.rig, line.asker);
        ck_assert_uint_eq(line_cancelled(&line), 0);
    }
    ck_assert_uint_eq(weft_load32_acquire(&line.stages[0].replies), 0);
    ck_assert_uint_eq(stage_deadline(&line.stages[1]), stage_deadline(&line.stages[0]));
    line_stop(&line);
}
END_TEST

/* ---- requests that wait -------------------------------------------------------------------- */

/* Calls and cancels while the target, on the same scheduler, cannot run: the request overtakes
 * nothing, the CANCEL overtakes the request. */
struct crowd {
    struct line *line;
    weft_pid target;
    uint32_t count;
    uint32_t kept; /* of them are not cancelled */
};

static void do_call_and_cancel(weft_ctx *ctx, void *arg) {
    struct crowd *crowd = arg;
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    for (uint32_t i = 0; i < crowd->count; i++) {
        uint64_t token = i < crowd->kept ? 1 : 2;
        ck_assert_int_eq(weft_call(ctx, crowd->target, TAG_ASK, "", 0, SOON_NS, token), 0);
    }
    ck_assert_int_eq(weft_call_cancel(ctx, 2), (int)(crowd->count - crowd->kept));
}

static weft_atomic_u32 counted;

static int count_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_add32_acq_rel(&counted, 1);
        (void)weft_reply(ctx, &msg, TAG_ASK, "", 0); /* perhaps nobody waits any more */
    }
    return WEFT_CONTINUE;
}

static int count_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_msg *msg;
    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) {
        (void)count_receive(ctx, state, msg);
    }
    return WEFT_CONTINUE;
}

/* Calls so many of which all but some are cancelled before the target runs; how many it has seen. */
static uint32_t run_crowd(uint32_t schedulers, bool process, uint32_t count, uint32_t kept) {
    static struct line line;
    line_start(&line, schedulers, 1, 0);
    weft_store32_relaxed(&counted, 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "counter"};
    def.receive = process ? NULL : count_receive;
    def.process = process ? count_process : NULL;
    const weft_type *type = rig_type(&line.rig, &def);
    struct probe *probe = &line.probe;
    weft_pid asker = line_spawn(&line, line.rig.puppet, &probe, sizeof(struct probe *), true);
    struct crowd crowd = {.line = &line,
                          .target = line_spawn(&line, type, NULL, 0, true),
                          .count = count,
                          .kept = kept};
    act(&line.rig, asker, do_call_and_cancel, &crowd);
    uint64_t expired;
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == kept);
    eventually((expired = rig_stats(&line.rig).requests_expired) + weft_load32_acquire(&counted) ==
               count);
    uint32_t seen = weft_load32_acquire(&counted);
    line_stop(&line);
    return seen;
}

START_TEST(a_cancel_overtakes_its_request) {
    uint32_t schedulers = line_schedulers(_i);
    bool process = _i >= 4;
    ck_assert_uint_eq(run_crowd(schedulers, process, 1, 0), 0);
    ck_assert_uint_eq(run_crowd(schedulers, process, 2, 1), 1);
    ck_assert_uint_eq(run_crowd(schedulers, process, 100, 40), 40);
    ck_assert_uint_eq(run_crowd(schedulers, process, 1000, 1), 1);
}
END_TEST

START_TEST(what_is_remembered_of_cancels_is_bounded) {
    uint32_t seen = run_crowd(line_schedulers(_i), _i >= 4, 20000, 0);
    ck_assert_uint_le(seen, 20000 - 4096); /* so many are remembered, of any number */
    ck_assert_uint_gt(seen, 0);
}
END_TEST

/* A serial actor, or a process that waits: what it put aside is cancelled there. */
static void hold_back(struct line *line, bool process) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "stage.serial",
                         .state_size = sizeof(struct node),
                         .init = node_init,
                         .receive = node_receive,
                         .flags = WEFT_TYPE_SERIAL,
                         .cookie = line};
    struct stage *first = &line->stages[0];
    if (!process) {
        first->pid = line_spawn(line, rig_type(&line->rig, &def), &first, sizeof(void *), false);
    }
}

START_TEST(a_request_that_was_put_aside_is_cancelled) {
    static struct line line;
    bool process = _i >= 4;
    line_start(&line, line_schedulers(_i), 2, process ? 1 : 0);
    hold_back(&line, process);
    line_ask_token(&line, SOON_NS, 2);
    line_reached(&line, 1); /* the first stage waits now */
    line_ask_token(&line, SOON_NS, 1);
    line_ask_token(&line, SOON_NS, 3);
    line_cancel(&line);
    line_answer(&line);
    eventually(weft_load32_acquire(&line.stages[0].begun) == 2);
    line_reached(&line, 1);
    line_answer(&line);
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == 2);
    ck_assert_uint_eq(weft_load32_acquire(&line.stages[0].begun), 2);
    ck_assert_uint_eq(probe_at(&line.probe, 0).token, 2);
    ck_assert_uint_eq(probe_at(&line.probe, 1).token, 3);
    ck_assert_uint_eq(rig_stats(&line.rig).requests_expired, 1);
    line_stop(&line);
}
END_TEST

/* ---- other shapes -------------------------------------------------------------------------- */

/* Two first stages ask the same last one. */
START_TEST(a_diamond_is_cancelled_on_one_side) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, (uint32_t)_i / 4);
    /* Stage 0 asks stage 1; both sides are lines to stage 2. */
    struct stage *left = &line.stages[1];
    struct asking asking = {.line = &line, .timeout_ns = SOON_NS};
    line_ask(&line, SOON_NS); /* through stage 0 and 1 */
    line_reached(&line, 1);
    asking.target = last_of(&line)->pid;
    asking.token = 2;
    act(&line.rig, line.asker, do_ask, &asking); /* straight to it */
    line_reached(&line, 2);
    line_cancel(&line);
    stage_had(left, 1, -ECANCELED);
    eventually(line_cancelled(&line) == 1);
    line_answer(&line);
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == 1);
    struct seen seen = probe_at(&line.probe, 0);
    ck_assert_uint_eq(seen.token, 2);
    ck_assert_int_eq(seen.status, 0);
    line_stop(&line);
}
END_TEST

START_TEST(a_queue_that_is_destroyed_cancels) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, (uint32_t)_i / 4);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(line.rig.runtime, 10, &queue), 0);
    if (_i % 2 == 0) {
        ck_assert_int_eq(weft_cq_call(queue, line.stages[0].pid, TAG_ASK, "", 0, SOON_NS, 9), 0);
    } else {
        weft_vrequest request = address_of(&line.stages[0]);
        ck_assert_int_eq(weft_cq_vcall(queue, &request, 9, NULL), 0);
    }
    line_reached(&line, 1);
    weft_cq_destroy(&queue);
    check_cancelled(&line);
    line_stop(&line);
}
END_TEST

START_TEST(a_call_from_outside_gives_its_deadline) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 3, (uint32_t)_i / 4);
    weft_msg *reply;
    ck_assert_int_eq(weft_runtime_call(line.rig.runtime, line.stages[0].pid, TAG_ASK, "", 0,
                                       500 * MS_NS, &reply),
                     -ETIMEDOUT);
    stage_had(&line.stages[0], 1, -ETIMEDOUT);
    stage_had(&line.stages[1], 1, -ETIMEDOUT);
    line_stop(&line);
}
END_TEST

static void do_misuse(weft_ctx *ctx, void *arg) {
    weft_msg *own = NULL;
    (void)arg;
    uint64_t deadline_ns = weft_work_deadline(ctx);
    ck_assert_uint_eq(deadline_ns, weft_deadline(weft_current(ctx)));
    ck_assert_int_eq(weft_msg_create(ctx, 1, 8, &own), 0);
    ck_assert_int_eq(weft_work_for(ctx, own), -EINVAL);
    ck_assert_uint_eq(weft_work_deadline(ctx), deadline_ns);
    weft_msg_release(ctx, &own);
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    ck_assert_uint_eq(weft_work_deadline(ctx), UINT64_MAX);
    ck_assert_int_eq(weft_work_for(ctx, weft_current(ctx)), 0);
    ck_assert_uint_eq(weft_work_deadline(ctx), deadline_ns);
    weft_msg *request = weft_msg_take(ctx, weft_current(ctx));
    ck_assert_uint_eq(weft_work_deadline(ctx), deadline_ns);
    ck_assert_int_eq(weft_reply(ctx, &request, TAG_ACT, NULL, 0), 0);
    ck_assert_uint_eq(weft_work_deadline(ctx), UINT64_MAX);
}

START_TEST(only_requests_are_worked_for) {
    struct rig rig = rig_start(line_schedulers(_i));
    weft_pid pid = rig_spawn(&rig, NULL);
    act(&rig, pid, do_misuse, NULL);
    act(&rig, pid, do_misuse, NULL);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scope");
    TCase *lines = tcase_create("lines");
    tcase_set_timeout(lines, 60);
    tcase_add_loop_test(lines, a_deadline_goes_down_the_line, 0, CASES);
    tcase_add_loop_test(lines, ones_own_shorter_time_wins, 0, CASES);
    tcase_add_loop_test(lines, who_waits_for_ever_gives_no_deadline, 0, CASES);
    tcase_add_loop_test(lines, who_is_late_asks_nobody, 0, CASES);
    tcase_add_loop_test(lines, a_cancel_goes_down_the_line, 0, CASES);
    tcase_add_loop_test(lines, all_ways_of_asking_are_cancelled, 0, CASES);
    tcase_add_loop_test(lines, whose_caller_ends_is_cancelled, 0, CASES);
    tcase_add_loop_test(lines, a_link_in_the_middle_ends, 0, CASES);
    tcase_add_loop_test(lines, a_diamond_is_cancelled_on_one_side, 0, CASES);
    tcase_add_loop_test(lines, a_queue_that_is_destroyed_cancels, 0, CASES);
    tcase_add_loop_test(lines, a_call_from_outside_gives_its_deadline, 0, CASES);
    suite_add_tcase(suite, lines);
    TCase *handlers = tcase_create("handlers");
    tcase_set_timeout(handlers, 60);
    tcase_add_loop_test(handlers, a_cancelled_request_asks_for_no_more, 0, 4);
    tcase_add_loop_test(handlers, what_is_done_for_nobody_outlives_the_request, 0, 4);
    tcase_add_loop_test(handlers, a_later_handler_may_work_for_what_it_took, 0, 4);
    tcase_add_loop_test(handlers, who_has_answered_works_for_nobody, 0, 4);
    tcase_add_loop_test(handlers, a_request_that_was_passed_on_is_not_reached, 0, 4);
    tcase_add_loop_test(handlers, only_requests_are_worked_for, 0, 4);
    suite_add_tcase(suite, handlers);
    TCase *waiting = tcase_create("waiting");
    tcase_set_timeout(waiting, 60);
    tcase_add_loop_test(waiting, a_cancel_overtakes_its_request, 0, 8);
    tcase_add_loop_test(waiting, what_is_remembered_of_cancels_is_bounded, 0, 8);
    tcase_add_loop_test(waiting, a_request_that_was_put_aside_is_cancelled, 0, 8);
    suite_add_tcase(suite, waiting);
    return run_suite(suite);
}
