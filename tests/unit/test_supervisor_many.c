/* SPDX-License-Identifier: MIT
 *
 * Large families: tens of thousands of children of one supervisor start, restart and stop, and
 * meanwhile others get their turns on the same scheduler. See test_supervisor.c.
 */
#include "tests/unit/support.h"

#if defined(WEFT_TSAN)
enum { MANY = 5000 };
#elif defined(__SANITIZE_ADDRESS__)
enum { MANY = 20000 };
#else
enum { MANY = 50000 };
#endif
enum { TAG_TICK = 1, TAG_CRASH = 2 };

static struct rig rig;
static weft_atomic_u32 living;
static weft_atomic_u32 starts;
static weft_atomic_u32 ticks;

static void child_gone(void *arg) {
    (void)arg;
    (void)weft_add32_acq_rel(&living, UINT32_MAX);
}

static int child_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_defer(ctx, child_gone, NULL), 0);
    (void)weft_add32_acq_rel(&living, 1);
    (void)weft_add32_acq_rel(&starts, 1);
    return WEFT_CONTINUE;
}

static int child_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    return weft_msg_tag(msg) == TAG_CRASH ? -EIO : WEFT_CONTINUE;
}

/* Runs all the time: how often it gets its turn tells whether its scheduler is held up. */
static int ticker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    (void)msg;
    (void)weft_add32_acq_rel(&ticks, 1);
    (void)weft_send(ctx, weft_self(ctx), TAG_TICK, NULL, 0);
    return WEFT_CONTINUE;
}

static const weft_type *begin(void) {
    rig = rig_start(1);
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "ticker", .receive = ticker_receive};
    weft_pid ticker;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig_type(&rig, &def), NULL, &ticker), 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, ticker, TAG_TICK, NULL, 0), 0);
    def = (weft_type_def){.struct_size = WEFT_TYPE_DEF_INIT,
                          .name = "child",
                          .init = child_init,
                          .receive = child_receive};
    return rig_type(&rig, &def);
}

static int ask(weft_pid pid, uint32_t verb, uint32_t index, weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .index = index};
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(rig.runtime, pid, &request, 100 * S_NS, answer);
}

/* Stops a supervisor with all its children; the ticker has had many turns until they are gone. */
static void stop_all(weft_pid pid) {
    uint32_t before = weft_load32_acquire(&ticks);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    while (is_alive(&rig, pid)) {
        sleep_ns(100000);
    }
    ck_assert_uint_eq(weft_load32_acquire(&living), 0);
    ck_assert_uint_gt(weft_load32_acquire(&ticks) - before, MANY / 250);
}

START_TEST(tens_of_thousands_of_children_start_restart_and_stop_in_order) {
    const weft_type *type = begin();
    weft_child_spec *specs = calloc(MANY, sizeof(*specs));
    char(*ids)[8] = calloc(MANY, sizeof(*ids));
    weft_supervisor_answer answer;
    weft_pid pid;
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "%u", i);
        specs[i] =
            (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT, .id = ids[i], .type = type};
    }
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = (uint32_t)_i,
                               .intensity = 10,
                               .period_ns = 3600 * S_NS,
                               .child_count = MANY,
                               .children = specs};
    ck_assert_int_eq(weft_runtime_supervisor(rig.runtime, &def, &pid), 0);
    ck_assert_int_eq(ask(pid, WEFT_SUPERVISOR_COUNT, 0, &answer), 0);
    ck_assert_uint_eq(answer.active, MANY);
    ck_assert_int_eq(ask(pid, WEFT_SUPERVISOR_WHICH, MANY / 2, &answer), 0);
    ck_assert(strcmp(answer.id, ids[MANY / 2]) == 0);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, answer.pid, TAG_CRASH, NULL, 0), 0);
    static const uint32_t more[] = {1, MANY, MANY - MANY / 2};
    while (weft_load32_acquire(&starts) < MANY + more[_i]) {
        sleep_ns(100000);
    }
    ck_assert_int_eq(ask(pid, WEFT_SUPERVISOR_COUNT, 0, &answer), 0);
    ck_assert_uint_eq(answer.active, MANY);
    ck_assert_uint_eq(weft_load32_acquire(&starts), MANY + more[_i]);
    ck_assert_uint_eq(weft_load32_acquire(&living), MANY);
    stop_all(pid);
    rig_stop(&rig);
    free(specs);
    free(ids);
}
END_TEST

/* A process that starts many children of a simple_one_for_one. */
static weft_pid simple;
static weft_atomic_u32 done;

static int starter_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    weft_supervisor_request request = {.struct_size = WEFT_SUPERVISOR_REQUEST_INIT,
                                       .verb = WEFT_SUPERVISOR_START};
    for (uint32_t i = 0; i < MANY; i++) {
        weft_supervisor_answer answer = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
        ck_assert_int_eq(weft_supervisor_call_wait(ctx, simple, &request, 100 * S_NS, &answer), 0);
        ck_assert(!weft_pid_is_none(answer.pid));
    }
    weft_store32_release(&done, 1);
    return WEFT_CONTINUE;
}

START_TEST(tens_of_thousands_of_simple_children_start_and_are_stopped_at_once) {
    const weft_type *type = begin();
    weft_supervisor_answer answer;
    weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT, .type = type};
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_SIMPLE_ONE_FOR_ONE,
                               .child_count = 1,
                               .children = &spec};
    ck_assert_int_eq(weft_runtime_supervisor(rig.runtime, &def, &simple), 0);
    weft_type_def starter = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "starter", .process = starter_run};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, rig_type(&rig, &starter), NULL, &pid), 0);
    while (weft_load32_acquire(&done) == 0) {
        sleep_ns(100000);
    }
    ck_assert_int_eq(ask(simple, WEFT_SUPERVISOR_COUNT, 0, &answer), 0);
    ck_assert_uint_eq(answer.active, MANY);
    stop_all(simple);
    rig_stop(&rig);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("supervisor many");
    TCase *tcase = tcase_create("supervisor many");
    tcase_set_timeout(tcase, 200);
    tcase_add_loop_test(tcase, tens_of_thousands_of_children_start_restart_and_stop_in_order, 0, 3);
    tcase_add_test(tcase, tens_of_thousands_of_simple_children_start_and_are_stopped_at_once);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
