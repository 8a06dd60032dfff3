/* SPDX-License-Identifier: MIT
 *
 * Supervisors of supervisors, significant children, children that a function starts, definitions
 * that are refused, and what is logged. See test_supervisor.c.
 */
#include "tests/unit/supervisor_support.h"

static struct family family;

/* The same for 1, 2 and 8 schedulers. */
#define BEGIN() family_start(&family, schedulers_of(_i))
#define END()   family_stop(&family)

static void house_of(struct house *house, uint32_t strategy, uint32_t count, uint32_t restart) {
    house_init(house, strategy);
    for (uint32_t i = 0; i < count; i++) {
        (void)house_add(&family, house, i, restart);
    }
}

/* ---- trees --------------------------------------------------------------------------------- */

START_TEST(a_supervisor_has_started_when_its_children_have) {
    BEGIN();
    struct house top;
    struct house middle;
    struct house low;
    house_init(&low, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &low, 2, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &low, 3, WEFT_RESTART_PERMANENT);
    house_init(&middle, WEFT_ONE_FOR_ALL);
    (void)house_add(&family, &middle, 1, WEFT_RESTART_PERMANENT);
    (void)house_add_below(&middle, "low", &low, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &middle, 4, WEFT_RESTART_PERMANENT);
    house_init(&top, WEFT_REST_FOR_ONE);
    (void)house_add(&family, &top, 0, WEFT_RESTART_PERMANENT);
    (void)house_add_below(&top, "middle", &middle, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &top, 5, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &top);
    ck_assert_journal(&family, "+a +b +c +d +e +f");
    journal_clear(&family.journal);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "-f -e -d -c -b -a");
    END();
}
END_TEST

START_TEST(a_failure_deep_below_fails_the_start_of_all_above) {
    BEGIN();
    struct house top;
    struct house low;
    weft_pid pid;
    house_init(&low, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &low, 1, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &low, 2, WEFT_RESTART_PERMANENT);
    house_init(&top, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &top, 0, WEFT_RESTART_PERMANENT);
    (void)house_add_below(&top, "low", &low, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &top, 3, WEFT_RESTART_PERMANENT);
    weft_store32_release(&family.kids[2].refuse, 1);
    ck_assert_int_eq(try_raise(&family, &top.def, &pid), 0);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    ck_assert_journal(&family, "+a +b -b -a");
    END();
}
END_TEST

START_TEST(a_limit_that_is_reached_escalates_by_the_restart_type) {
    for (uint32_t restart = 0; restart < 3; restart++) {
        BEGIN();
        struct house top;
        struct house low;
        weft_supervisor_answer answer;
        house_init(&low, WEFT_ONE_FOR_ONE);
        (void)house_add(&family, &low, 1, WEFT_RESTART_PERMANENT);
        low.def.intensity = 0;
        house_init(&top, WEFT_ONE_FOR_ONE);
        (void)house_add(&family, &top, 0, WEFT_RESTART_PERMANENT);
        (void)house_add_below(&top, "low", &low, restart);
        weft_pid pid = raise_house(&family, &top);
        kid_tell(&family, 1, TAG_FAIL);
        if (restart == WEFT_RESTART_PERMANENT) {
            journal_becomes(&family.journal, "+a +b -b +b");
        } else {
            eventually(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "low", &answer) != 0 ||
                       answer.state == WEFT_CHILD_STOPPED);
            ck_assert_journal(&family, "+a +b -b");
        }
        calm(&family, pid);
        stop_supervisor(&family, pid);
        END();
    }
}
END_TEST

START_TEST(a_tree_survives_the_kill_of_a_supervisor_in_it) {
    BEGIN();
    struct house top;
    struct house low;
    weft_supervisor_answer answer;
    house_init(&low, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &low, 1, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &low, 2, WEFT_RESTART_PERMANENT);
    house_init(&top, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &top, 0, WEFT_RESTART_PERMANENT);
    (void)house_add_below(&top, "low", &low, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &top);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "low", &answer), 0);
    ck_assert(answer.is_supervisor);
    ck_assert_int_eq(weft_runtime_kill_actor(family.rig.runtime, answer.pid), 0);
    eventually(weft_load32_acquire(&family.kids[2].starts) == 2);
    calm(&family, pid);
    eventually(weft_load32_acquire(&family.kids[1].runs) == 1 &&
               weft_load32_acquire(&family.kids[2].runs) == 1);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- significant children ------------------------------------------------------------------ */

static void house_of_significant(struct house *house, uint32_t auto_shutdown) {
    house_init(house, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, house, 0, WEFT_RESTART_PERMANENT);
    house_add(&family, house, 1, WEFT_RESTART_TRANSIENT)->significant = true;
    house_add(&family, house, 2, WEFT_RESTART_TEMPORARY)->significant = true;
    house->def.auto_shutdown = auto_shutdown;
}

START_TEST(any_significant_child_that_ends_ends_the_supervisor) {
    for (uint32_t which = 1; which < 3; which++) {
        BEGIN();
        struct house house;
        house_of_significant(&house, WEFT_AUTO_ANY);
        weft_pid pid = raise_house(&family, &house);
        kid_tell(&family, 1, TAG_FAIL); /* is restarted */
        eventually(weft_load32_acquire(&family.kids[1].starts) == 2);
        calm(&family, pid);
        journal_clear(&family.journal);
        kid_tell(&family, which, which == 1 ? TAG_DONE : TAG_FAIL);
        ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
        ck_assert_journal(&family, which == 1 ? "-b -c -a" : "-c -b -a");
        END();
    }
}
END_TEST

START_TEST(the_last_significant_child_that_ends_ends_the_supervisor) {
    BEGIN();
    struct house house;
    house_of_significant(&house, WEFT_AUTO_ALL);
    weft_pid pid = raise_house(&family, &house);
    kid_tell(&family, 1, TAG_DONE);
    journal_becomes(&family.journal, "+a +b +c -b");
    calm(&family, pid);
    kid_tell(&family, 2, TAG_SHUT);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    ck_assert_journal(&family, "+a +b +c -b -c -a");
    END();
}
END_TEST

START_TEST(significant_children_that_are_stopped_end_nothing) {
    BEGIN();
    struct house house;
    house_of_significant(&house, WEFT_AUTO_ANY);
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "b", NULL), 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "c", NULL), 0);
    calm(&family, pid);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- children started by a function -------------------------------------------------------- */

struct starting {
    weft_atomic_u32 calls;
    weft_atomic_u32 mode;
    const weft_type *type;
};

enum { START_UNLINKED, START_LINKED, START_NOBODY, START_REFUSED, START_DEAD, START_SELF };

static int start_kid(weft_ctx *ctx, const void *arg, size_t arg_size, void *cookie,
                     weft_pid *ret_pid) {
    struct starting *starting = cookie;
    (void)weft_add32_acq_rel(&starting->calls, 1);
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = arg,
                                  .arg_size = arg_size,
                                  .flags = WEFT_SPAWN_LINK};
    switch (weft_load32_acquire(&starting->mode)) {
    case START_UNLINKED:
        return weft_spawn(ctx, starting->type, arg, arg_size, ret_pid);
    case START_LINKED:
        return weft_spawn_with(ctx, starting->type, &options, ret_pid);
    case START_NOBODY:
        return 0;
    case START_DEAD:
        *ret_pid = (weft_pid){.node = weft_self(ctx).node, .slot = 1, .gen = 4000000000U};
        return 0;
    case START_SELF:
        *ret_pid = weft_self(ctx);
        return 0;
    default:
        return -EACCES;
    }
}

static void house_of_function(struct house *house, struct starting *starting) {
    starting->type = family.handler;
    house_of(house, WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    house->specs[0].type = NULL;
    house->specs[0].start = start_kid;
    house->specs[0].cookie = starting;
}

START_TEST(a_child_may_be_started_by_a_function_which_need_not_link_it) {
    for (uint32_t mode = START_UNLINKED; mode <= START_LINKED; mode++) {
        BEGIN();
        struct house house;
        struct starting starting = {0};
        weft_store32_release(&starting.mode, mode);
        house_of_function(&house, &starting);
        weft_pid pid = raise_house(&family, &house);
        eventually(weft_load32_acquire(&family.kids[0].runs) == 1);
        kid_tell(&family, 0, TAG_FAIL);
        eventually(weft_load32_acquire(&family.kids[0].starts) == 2);
        calm(&family, pid);
        eventually(weft_load32_acquire(&family.kids[0].runs) == 1);
        stop_supervisor(&family, pid);
        eventually(weft_load32_acquire(&family.kids[0].runs) == 0);
        ck_assert_uint_eq(weft_load32_acquire(&starting.calls), 2);
        END();
    }
}
END_TEST

START_TEST(a_function_may_refuse_to_start_a_child_or_start_none) {
    BEGIN();
    struct house house;
    struct starting starting = {0};
    weft_pid pid;
    weft_store32_release(&starting.mode, START_REFUSED);
    house_of_function(&house, &starting);
    ck_assert_int_eq(try_raise(&family, &house.def, &pid), 0);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    weft_store32_release(&starting.mode, START_NOBODY);
    pid = raise_house(&family, &house);
    ck_assert_journal(&family, "+b");
    weft_store32_release(&starting.mode, START_SELF);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL), -EINVAL);
    weft_store32_release(&starting.mode, START_REFUSED);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL), -EACCES);
    weft_store32_release(&starting.mode, START_DEAD); /* starts, ends, is tried up to the limit */
    (void)ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", NULL);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    ck_assert_uint_eq(weft_load32_acquire(&starting.calls), 2 + 2 + 101);
    END();
}
END_TEST

/* ---- definitions --------------------------------------------------------------------------- */

static void is_refused(const struct house *house, const char *why) {
    weft_pid pid = weft_pid_none();
    int result = try_raise(&family, &house->def, &pid);
    ck_assert_msg(result == -EINVAL, "%s: %d", why, result);
    result = weft_runtime_supervisor(family.rig.runtime, &house->def, &pid);
    ck_assert_msg(result == -EINVAL, "%s: %d", why, result);
}

#define REFUSED(change)                                                                            \
    do {                                                                                           \
        struct house house;                                                                        \
        house_of(&house, WEFT_ONE_FOR_ONE, 3, WEFT_RESTART_TRANSIENT);                             \
        weft_child_spec *spec = &house.specs[1];                                                   \
        weft_supervisor_def *def = &house.def;                                                     \
        (void)spec;                                                                                \
        (void)def;                                                                                 \
        change;                                                                                    \
        is_refused(&house, #change);                                                               \
    } while (0)

START_TEST(definitions_that_are_wrong_are_refused_before_anything_starts) {
    static const char long_id[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    BEGIN();
    struct rig other = rig_start(1);
    REFUSED(def->struct_size = 3);
    REFUSED(def->strategy = 4);
    REFUSED(def->auto_shutdown = 3);
    REFUSED(def->period_ns = 0);
    REFUSED(def->children = NULL);
    REFUSED(def->strategy = WEFT_SIMPLE_ONE_FOR_ONE); /* three specifications */
    REFUSED((def->strategy = WEFT_SIMPLE_ONE_FOR_ONE, def->child_count = 0));
    REFUSED((def->strategy = WEFT_SIMPLE_ONE_FOR_ONE, def->child_count = 1,
             def->auto_shutdown = WEFT_AUTO_ANY));
    REFUSED(spec->struct_size = 0);
    REFUSED(spec->id = NULL);
    REFUSED(spec->id = "");
    REFUSED(spec->id = long_id);
    REFUSED(spec->id = "a"); /* twice */
    REFUSED(spec->type = NULL);
    REFUSED(spec->type = other.puppet);
    REFUSED(spec->start = start_kid);
    REFUSED(spec->supervisor = def);
    REFUSED((spec->type = NULL, spec->arg_size = 0, spec->supervisor = def)); /* itself */
    REFUSED((spec->type = NULL, spec->start = start_kid, spec->pin = true));
    REFUSED(spec->arg = NULL);
    REFUSED(spec->restart = 3);
    REFUSED(spec->scheduler = SCHEDULERS_MAX + 1);
    REFUSED(spec->significant = true); /* auto_shutdown is never */
    REFUSED((def->auto_shutdown = WEFT_AUTO_ALL, spec->significant = true,
             spec->restart = WEFT_RESTART_PERMANENT));
    ck_assert_journal(&family, "");
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_supervisor(NULL, NULL, &pid), -EINVAL);
    ck_assert_int_eq(weft_runtime_supervisor(family.rig.runtime, NULL, &pid), -EINVAL);
    rig_stop(&other);
    END();
}
END_TEST

START_TEST(supervisors_may_be_nested_up_to_a_depth) {
    BEGIN();
    static struct house houses[WEFT_SUPERVISOR_DEPTH_MAX + 1];
    for (uint32_t i = 0; i <= WEFT_SUPERVISOR_DEPTH_MAX; i++) {
        house_init(&houses[i], WEFT_ONE_FOR_ONE);
        if (i == 0) {
            (void)house_add(&family, &houses[0], 0, WEFT_RESTART_PERMANENT);
        } else {
            (void)house_add_below(&houses[i], "below", &houses[i - 1], WEFT_RESTART_PERMANENT);
        }
    }
    is_refused(&houses[WEFT_SUPERVISOR_DEPTH_MAX], "too deep");
    weft_pid pid = raise_house(&family, &houses[WEFT_SUPERVISOR_DEPTH_MAX - 1]);
    ck_assert_journal(&family, "+a");
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(the_type_cannot_be_spawned_by_hand) {
    BEGIN();
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    const weft_type *type = weft_type_find(family.rig.runtime, "weft.supervisor");
    ck_assert_ptr_nonnull(type);
    unsigned char bytes[64] = {0};
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = bytes, .arg_size = size};
        weft_pid forged;
        ck_assert_int_eq(weft_runtime_spawn(family.rig.runtime, type, &options, &forged), 0);
        eventually(!is_alive(&family.rig, forged));
    }
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- log ----------------------------------------------------------------------------------- */

struct log {
    pthread_mutex_t lock;
    char text[4096]; /* under lock */
};

static void log_event(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct log *log = cookie;
    if (strncmp(event->name, "supervisor.", 11) != 0) {
        return;
    }
    ck_assert_int_eq(level, strcmp(event->name, "supervisor.restart") == 0 ? WEFT_LOG_INFO
                                                                           : WEFT_LOG_WARN);
    pthread_mutex_lock(&log->lock);
    size_t used = strlen(log->text);
    (void)snprintf(log->text + used, sizeof(log->text) - used, "%s(%s,%s) ", event->name + 11,
                   event->fields[1].text, event->field_count > 3 ? event->fields[4].text : "-");
    pthread_mutex_unlock(&log->lock);
}

START_TEST(failures_restarts_and_limits_are_logged) {
    static struct log log = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weft_config config = rig_config(schedulers_of(_i));
    config.log = (weft_log_hook){.cookie = &log, .cb = log_event};
    memset(log.text, 0, sizeof(log.text));
    family_start_with(&family, &config);
    struct house house;
    house_of(&house, WEFT_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    house.def.intensity = 2;
    weft_pid pid = raise_house(&family, &house);
    weft_store32_release(&family.kids[0].refuse, 1);
    kid_tell(&family, 0, TAG_FAIL);
    eventually(weft_load32_acquire(&family.kids[0].starts) == 3);
    calm(&family, pid);
    kid_tell(&family, 0, TAG_DONE);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    char expected[512];
    const char *io = weft_strerror(-EIO);
    (void)snprintf(expected, sizeof(expected),
                   "child_failed(a,%s) restart(a,-) start_failed(a,%s) restart(a,-) "
                   "child_failed(a,%s) restart_limit(a,%s) ",
                   io, io, weft_strerror(0), weft_strerror(WEFT_E_SHUTDOWN));
    ck_assert_msg(strcmp(log.text, expected) == 0, "logged: %s", log.text);
    END();
}
END_TEST

/* -------------------------------------------------------------------------------------------- */

int main(void) {
    Suite *suite = suite_create("supervisor tree");
    TCase *tcase = tcase_create("supervisor tree");
#define ADD(name) tcase_add_loop_test(tcase, name, 0, SCHEDULER_CASES)
    ADD(a_supervisor_has_started_when_its_children_have);
    ADD(a_failure_deep_below_fails_the_start_of_all_above);
    ADD(a_limit_that_is_reached_escalates_by_the_restart_type);
    ADD(a_tree_survives_the_kill_of_a_supervisor_in_it);
    ADD(any_significant_child_that_ends_ends_the_supervisor);
    ADD(the_last_significant_child_that_ends_ends_the_supervisor);
    ADD(significant_children_that_are_stopped_end_nothing);
    ADD(a_child_may_be_started_by_a_function_which_need_not_link_it);
    ADD(a_function_may_refuse_to_start_a_child_or_start_none);
    ADD(definitions_that_are_wrong_are_refused_before_anything_starts);
    ADD(supervisors_may_be_nested_up_to_a_depth);
    ADD(the_type_cannot_be_spawned_by_hand);
    ADD(failures_restarts_and_limits_are_logged);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
