/* SPDX-License-Identifier: MIT
 *
 * Deadlines and cancellation, further: jobs, crowds of calls, serial actors, virtual ones that stop,
 * and memory that runs out where it is needed for a CANCEL. The lines are those of scope_support.h.
 */
#include "tests/unit/memory_support.h"
#include "tests/unit/scope_support.h"

#include <weft/job.h>

enum { ITEMS = 6, CROWD = 10000 };

/* ---- jobs ---------------------------------------------------------------------------------- */

/* A starter starts jobs that never end by themselves for each request it gets. */
struct starter {
    weft_atomic_u32 begun; /* jobs */
    weft_atomic_u32 over;
    weft_atomic_u32 replies;
    weft_atomic_u32 cancelled; /* outcomes that say so */
    weft_atomic_u32 late;      /* and these */
    weft_atomic_u64 deadline_ns;
    uint64_t timeout_ns;
    uint64_t busy_ns;
};
static struct starter starter;

static void job_over(void *arg) {
    (void)arg;
    (void)weft_add32_acq_rel(&starter.over, 1);
}

static int endless(weft_ctx *ctx, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_defer(ctx, job_over, NULL), 0);
    weft_store64_relaxed(&starter.deadline_ns, weft_work_deadline(ctx));
    (void)weft_add32_acq_rel(&starter.begun, 1);
    return weft_sleep(ctx, 1000 * S_NS);
}

static void outcome(int status) {
    (void)weft_add32_acq_rel(&starter.cancelled, status == -ECANCELED ? 1 : 0);
    (void)weft_add32_acq_rel(&starter.late, status == -ETIMEDOUT ? 1 : 0);
    (void)weft_add32_acq_rel(&starter.replies, 1);
}

static int start_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        outcome(weft_msg_status(msg));
    }
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    if (starter.busy_ns != 0) {
        sleep_ns(starter.busy_ns);
    }
    for (uint32_t i = 0; i < ITEMS; i++) {
        int result = weft_job_start(ctx, endless, NULL, 0, starter.timeout_ns, i);
        if (result != 0) {
            outcome(result);
        }
    }
    (void)weft_msg_take(ctx, msg);
    return WEFT_CONTINUE;
}

static int start_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_msg *msg;
    (void)state;
    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) {
        weft_multi_result results[ITEMS];
        weft_job_map_request request = {.struct_size = WEFT_JOB_MAP_REQUEST_INIT,
                                        .fn = endless,
                                        .count = ITEMS,
                                        .concurrency = ITEMS / 2,
                                        .timeout_ns = starter.timeout_ns};
        if (starter.busy_ns != 0) {
            ck_assert_int_eq(weft_sleep(ctx, starter.busy_ns), 0);
        }
        ck_assert_int_eq(weft_job_map_wait(ctx, &request, results), 0);
        for (uint32_t i = 0; i < ITEMS; i++) {
            outcome(results[i].status);
        }
    }
    return WEFT_CONTINUE;
}

/* A line whose first stage is a starter. */
static void starter_start(struct line *line, int number) {
    bool process = number >= 4;
    memset(&starter, 0, sizeof(starter));
    starter.timeout_ns = SOON_NS;
    line_start(line, line_schedulers(number), 1, 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "starter"};
    def.receive = process ? NULL : start_receive;
    def.process = process ? start_process : NULL;
    line->stages[0].pid = line_spawn(line, rig_type(&line->rig, &def), NULL, 0, false);
}

START_TEST(jobs_are_cancelled) {
    static struct line line;
    starter_start(&line, _i);
    uint32_t most = _i >= 4 ? ITEMS / 2 : ITEMS;
    line_ask(&line, SOON_NS / 2);
    eventually(weft_load32_acquire(&starter.begun) == most);
    ck_assert_uint_lt(weft_load64_relaxed(&starter.deadline_ns), clock_ns() + SOON_NS / 2);
    line_cancel(&line);
    eventually(weft_load32_acquire(&starter.replies) == ITEMS);
    ck_assert_uint_eq(weft_load32_relaxed(&starter.cancelled), ITEMS);
    eventually(weft_load32_acquire(&starter.over) == most);
    ck_assert_uint_eq(weft_load32_relaxed(&starter.begun), most);
    line_stop(&line);
}
END_TEST

START_TEST(jobs_end_with_the_time_of_the_request) {
    static struct line line;
    starter_start(&line, _i);
    line_ask(&line, 600 * MS_NS);
    eventually(weft_load32_acquire(&starter.replies) == ITEMS);
    ck_assert_uint_eq(weft_load32_relaxed(&starter.late), ITEMS);
    eventually(weft_load32_acquire(&starter.over) == weft_load32_acquire(&starter.begun));
    line_stop(&line);
}
END_TEST

START_TEST(jobs_are_not_started_late) {
    static struct line line;
    starter_start(&line, _i);
    starter.busy_ns = 80 * MS_NS;
    starter.timeout_ns = 50 * MS_NS;
    uint32_t asked = 0;
    do { /* until it comes in time to begin with it */
        line_ask(&line, 20 * MS_NS);
        asked++;
        eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == asked);
        sleep_ns(100 * MS_NS);
    } while (weft_load32_acquire(&starter.replies) == 0);
    eventually(weft_load32_acquire(&starter.replies) >= ITEMS);
    ck_assert_uint_eq(weft_load32_relaxed(&starter.late), weft_load32_relaxed(&starter.replies));
    ck_assert_uint_eq(weft_load32_acquire(&starter.begun), 0);
    line_stop(&line);
}
END_TEST

/* ---- crowds -------------------------------------------------------------------------------- */

static weft_atomic_u32 held;
static weft_atomic_u32 cancelled; /* among them, when they were looked at last */
static weft_atomic_u32 looked;
static weft_atomic_u32 outcomes; /* that say -ECANCELED */

struct keeper {
    weft_msg **held;
    uint32_t count;
};

static void keeper_free(void *arg) {
    free(arg);
}

static int keeper_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct keeper *keeper = state;
    (void)arg;
    (void)arg_size;
    keeper->held = malloc(CROWD * sizeof(*keeper->held));
    ck_assert_ptr_nonnull(keeper->held);
    return weft_defer(ctx, keeper_free, keeper->held);
}

static int keeper_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct keeper *keeper = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        ck_assert_uint_lt(keeper->count, CROWD);
        keeper->held[keeper->count++] = weft_msg_take(ctx, msg);
        weft_store32_release(&held, keeper->count);
        return WEFT_CONTINUE;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < keeper->count; i++) {
        count += weft_deadline(keeper->held[i]) == 0 ? 1 : 0;
    }
    weft_store32_relaxed(&cancelled, count);
    (void)weft_add32_acq_rel(&looked, 1);
    return WEFT_CONTINUE;
}

static weft_pid keeper_pid;

/* Asks the keeper as often as can be, for one request. */
static int proxy_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        ck_assert_int_eq(weft_msg_status(msg), -ECANCELED);
        (void)weft_add32_acq_rel(&outcomes, 1);
    } else if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        for (uint32_t i = 0; i < CROWD; i++) {
            ck_assert_int_eq(weft_call(ctx, keeper_pid, TAG_ASK, "", 0, SOON_NS * 2, i), 0);
        }
        (void)weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

static void crowd_start(struct line *line, uint32_t schedulers) {
    line_start(line, schedulers, 1, 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "keeper",
                         .state_size = sizeof(struct keeper),
                         .init = keeper_init,
                         .receive = keeper_receive};
    keeper_pid = line_spawn(line, rig_type(&line->rig, &def), NULL, 0, false);
    def = (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "proxy", .receive = proxy_receive};
    line->stages[0].pid = line_spawn(line, rig_type(&line->rig, &def), NULL, 0, false);
    weft_store32_relaxed(&held, 0);
    weft_store32_relaxed(&outcomes, 0);
}

static uint32_t crowd_cancelled(struct line *line) {
    uint32_t before = weft_load32_acquire(&looked);
    ck_assert_int_eq(weft_runtime_send(line->rig.runtime, keeper_pid, TAG_LOOK, "", 0), 0);
    eventually(weft_load32_acquire(&looked) != before);
    return weft_load32_relaxed(&cancelled);
}

START_TEST(ten_thousand_calls_are_cancelled_with_their_request) {
    static struct line line;
    crowd_start(&line, line_schedulers(_i));
    line_ask(&line, SOON_NS);
    eventually(weft_load32_acquire(&held) == CROWD);
    ck_assert_uint_eq(crowd_cancelled(&line), 0);
    line_cancel(&line);
    eventually(weft_load32_acquire(&outcomes) == CROWD);
    eventually(crowd_cancelled(&line) == CROWD);
    line_stop(&line);
}
END_TEST

START_TEST(ten_thousand_calls_are_cancelled_with_their_caller) {
    static struct line line;
    crowd_start(&line, line_schedulers(_i));
    line_ask(&line, SOON_NS);
    eventually(weft_load32_acquire(&held) == CROWD);
    ck_assert_int_eq(weft_runtime_kill_actor(line.rig.runtime, line.stages[0].pid), 0);
    eventually(crowd_cancelled(&line) == CROWD);
    line_stop(&line);
}
END_TEST

/* ---- serial actors ------------------------------------------------------------------------- */

/* What a serial line was blocked by is let go: it serves the next one, and sees no circle. */
START_TEST(a_serial_line_goes_on_after_a_cancel) {
    static struct line line;
    line_start(&line, line_schedulers(_i), 4, 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "stage.serial",
                         .state_size = sizeof(struct node),
                         .init = node_init,
                         .receive = node_receive,
                         .flags = WEFT_TYPE_SERIAL,
                         .cookie = &line};
    const weft_type *serial = rig_type(&line.rig, &def);
    for (uint32_t i = 0; i < 3; i++) {
        struct stage *stage = &line.stages[i];
        stage->pid = line_spawn(&line, serial, &stage, sizeof(void *), false);
    }
    for (uint32_t round = 1; round <= 5; round++) {
        line_ask_token(&line, SOON_NS, 1);
        line_reached(&line, round);
        line_cancel(&line);
        for (uint32_t i = 0; i < 3; i++) {
            stage_had(&line.stages[i], round, -ECANCELED);
        }
        eventually(line_cancelled(&line) == round);
    }
    line_ask_token(&line, SOON_NS, 2);
    line_reached(&line, 6);
    line_answer(&line);
    eventually(probe_count_kind(&line.probe, WEFT_MSG_REPLY) == 1);
    ck_assert_int_eq(probe_at(&line.probe, 0).status, 0);
    line_stop(&line);
}
END_TEST

/* ---- heirs --------------------------------------------------------------------------------- */

/* A virtual actor that stops after each message: what waits goes on to the next activation. */
enum { ASKED = 4, CANCELLED = 3 };

struct heirs {
    struct rig rig;
    struct probe probe; /* of who asks */
    weft_pid asker;
    const weft_capability *capability;
    const weft_type *type;
    bool at_once; /* what is cancelled is cancelled before the first one is handled */
    weft_atomic_u32 inside;
    weft_atomic_u32 gate;
    weft_atomic_u32 handled[ASKED + 1]; /* by tag */
};

static int heir_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct heirs *heirs = weft_type_cookie(weft_type_of(ctx));
    uint32_t tag = weft_msg_tag(msg);
    (void)state;
    ck_assert_uint_le(tag, ASKED);
    (void)weft_add32_acq_rel(&heirs->handled[tag], 1);
    weft_store32_release(&heirs->inside, 1);
    while (weft_load32_acquire(&heirs->gate) == 0) {
        sleep_ns(50000);
    }
    (void)weft_reply(ctx, &msg, 0, NULL, 0);
    return WEFT_STOP;
}

static void heirs_ask(weft_ctx *ctx, struct heirs *heirs, uint32_t tag) {
    uint32_t id = 1;
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = heirs->capability,
                             .type = heirs->type,
                             .id = &id,
                             .id_size = sizeof(id),
                             .tag = tag,
                             .timeout_ns = SOON_NS};
    ck_assert_int_eq(weft_vcall(ctx, &request, tag, NULL), 0);
}

static void do_cancel_one(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_call_cancel(ctx, CANCELLED), 1);
}

static void do_ask_heirs(weft_ctx *ctx, void *arg) {
    struct heirs *heirs = arg;
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    for (uint32_t tag = 1; tag < ASKED; tag++) {
        heirs_ask(ctx, heirs, tag);
    }
    if (heirs->at_once) {
        do_cancel_one(ctx, NULL);
    }
}

/* What is asked last is handled last. */
static void do_ask_last(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    heirs_ask(ctx, arg, ASKED);
}

START_TEST(an_heir_does_not_handle_what_was_cancelled) {
    static struct heirs heirs;
    heirs = (struct heirs){.rig = rig_start(line_schedulers(_i)), .probe = PROBE_INIT};
    heirs.at_once = line_schedulers(_i) == 1; /* nobody else runs while a handler is at the gate */
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "heir",
                         .receive = heir_receive,
                         .idle_ns = WEFT_IDLE_NEVER,
                         .cookie = &heirs};
    heirs.type = rig_type(&heirs.rig, &def);
    ck_assert_int_eq(weft_capability_add(heirs.rig.runtime, "heirs", &heirs.capability), 0);
    heirs.asker = rig_spawn(&heirs.rig, &heirs.probe);
    weft_store32_release(&heirs.gate, heirs.at_once ? 1 : 0);
    act(&heirs.rig, heirs.asker, do_ask_heirs, &heirs);
    if (!heirs.at_once) {
        eventually(weft_load32_acquire(&heirs.inside) == 1);
        act(&heirs.rig, heirs.asker, do_cancel_one, NULL);
        weft_store32_release(&heirs.gate, 1);
    }
    act(&heirs.rig, heirs.asker, do_ask_last, &heirs);
    eventually(probe_count_kind(&heirs.probe, WEFT_MSG_REPLY) == ASKED - 1);
    for (uint32_t tag = 1; tag <= ASKED; tag++) {
        ck_assert_uint_eq(weft_load32_acquire(&heirs.handled[tag]), tag == CANCELLED ? 0 : 1);
    }
    rig_stop(&heirs.rig);
    probe_fini(&heirs.probe);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------- */

static struct memory memory;

static void fail_from(uint64_t number, bool further) {
    memory.fail_further = further;
    atomic_store(&memory.fail_at, atomic_load(&memory.requests) + number);
}

struct failing {
    uint64_t number; /* which request for memory fails */
    bool further;
};

static void do_cancel_failing(weft_ctx *ctx, void *arg) {
    const struct failing *failing = arg;
    fail_from(failing->number, failing->further);
    ck_assert_int_eq(weft_call_cancel(ctx, 1), 1);
}

/* Without memory to remember a CANCEL it is looked for at once. Cells there are. */
START_TEST(a_cancel_needs_no_memory_where_it_arrives) {
    static struct line line;
    bool over = false;
    for (uint64_t n = 1; !over; n++) {
        memset(&line, 0, sizeof(line));
        memset(&memory, 0, sizeof(memory));
        weft_config config = memory_config(&memory);
        line.rig = rig_start_with(&config);
        line_open(&line, 4, (uint32_t)_i / 2);
        line_ask(&line, SOON_NS);
        line_reached(&line, 1);
        struct failing failing = {.number = n, .further = _i % 2 == 1};
        act(&line.rig, line.asker, do_cancel_failing, &failing);
        for (uint32_t i = 0; i < 3; i++) {
            stage_had(&line.stages[i], 1, -ECANCELED);
        }
        sleep_ns(MS_NS);
        atomic_store(&memory.fail_at, 0);
        eventually(line_cancelled(&line) == 1);
        over = atomic_load(&memory.failed) == 0;
        line_stop(&line);
        ck_assert_int_eq(atomic_load(&memory.blocks), 0);
    }
}
END_TEST

/* Takes all cells there are, cancels, and gives them back. */
static void do_cancel_without_cells(weft_ctx *ctx, void *arg) {
    weft_msg *first = NULL;
    weft_msg *msg;
    uint64_t count = 0;
    (void)arg;
    while (weft_msg_create(ctx, 1, 100, &msg) == 0) { /* bounded by the arena */
        memcpy(weft_msg_body(msg), &first, sizeof(first));
        first = msg;
        count++;
    }
    while (weft_msg_create(ctx, 1, 8, &msg) == 0) {
        memcpy(weft_msg_body(msg), &first, sizeof(first));
        first = msg;
        count++;
    }
    ck_assert_uint_gt(count, 1000);
    ck_assert_int_eq(weft_call_cancel(ctx, 1), 1);
    while (first != NULL) {
        msg = first;
        memcpy(&first, weft_msg_data(msg), sizeof(first));
        weft_msg_release(ctx, &msg);
    }
}

START_TEST(without_a_cell_for_a_cancel_the_deadline_holds) {
    static struct line line;
    memset(&line, 0, sizeof(line));
    weft_config config = rig_config(line_schedulers(_i));
    config.arena_bytes = 256 << 20;
    line.rig = rig_start_with(&config);
    line_open(&line, 3, 0);
    line_ask(&line, S_NS);
    line_reached(&line, 1);
    act(&line.rig, line.asker, do_cancel_without_cells, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        stage_had(&line.stages[i], 1, -ETIMEDOUT);
    }
    ck_assert_uint_eq(line_cancelled(&line), 0);
    line_stop(&line);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scope wait");
    TCase *jobs = tcase_create("jobs");
    tcase_set_timeout(jobs, 60);
    tcase_add_loop_test(jobs, jobs_are_cancelled, 0, 8);
    tcase_add_loop_test(jobs, jobs_end_with_the_time_of_the_request, 0, 8);
    tcase_add_loop_test(jobs, jobs_are_not_started_late, 0, 8);
    suite_add_tcase(suite, jobs);
    TCase *crowds = tcase_create("crowds");
    tcase_set_timeout(crowds, 120);
    tcase_add_loop_test(crowds, ten_thousand_calls_are_cancelled_with_their_request, 0, 4);
    tcase_add_loop_test(crowds, ten_thousand_calls_are_cancelled_with_their_caller, 0, 4);
    tcase_add_loop_test(crowds, a_serial_line_goes_on_after_a_cancel, 0, 4);
    suite_add_tcase(suite, crowds);
    TCase *ends = tcase_create("heirs");
    tcase_set_timeout(ends, 60);
    tcase_add_loop_test(ends, an_heir_does_not_handle_what_was_cancelled, 0, 4);
    suite_add_tcase(suite, ends);
    TCase *without = tcase_create("without memory");
    tcase_set_timeout(without, 120);
    tcase_add_loop_test(without, a_cancel_needs_no_memory_where_it_arrives, 0, 16);
    tcase_add_loop_test(without, without_a_cell_for_a_cancel_the_deadline_holds, 0, 4);
    suite_add_tcase(suite, without);
    return run_suite(suite);
}
