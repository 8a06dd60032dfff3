/* SPDX-License-Identifier: MIT
 *
 * What may be asked of a supervisor, each request with each of its answers, in the three ways of
 * asking; requests that wait, come too late, or are none. See test_supervisor.c.
 */
#include "tests/unit/supervisor_support.h"

static struct family family;

#define BEGIN() family_start(&family, schedulers_of(_i))
#define END()   family_stop(&family)

static weft_pid raise_some(uint32_t strategy, uint32_t count, uint32_t restart) {
    struct house house;
    house_init(&house, strategy);
    for (uint32_t i = 0; i < count; i++) {
        (void)house_add(&family, &house, i, restart);
    }
    return raise_house(&family, &house);
}

/* ---- START --------------------------------------------------------------------------------- */

START_TEST(start_adds_a_child_behind_the_others) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    ck_assert_int_eq(start_number(&family, pid, 2, WEFT_RESTART_TRANSIENT, &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 2)));
    ck_assert(strcmp(answer.id, "c") == 0);
    ck_assert_uint_eq(answer.restart, WEFT_RESTART_TRANSIENT);
    ck_assert_uint_eq(answer.shutdown_ns, 5 * S_NS);
    kid_tell(&family, 2, TAG_FAIL); /* a full child: it is restarted */
    journal_becomes(&family.journal, "+a +b +c -c +c");
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "+a +b +c -c +c -c -b -a");
    END();
}
END_TEST

START_TEST(start_of_an_id_that_is_there_is_refused) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    ck_assert_int_eq(start_number(&family, pid, 0, 0, &answer), -EEXIST);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 0)));
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "a", NULL), 0);
    ck_assert_int_eq(start_number(&family, pid, 0, 0, &answer), -EALREADY);
    counts(&family, pid, 2, 1);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(start_that_fails_keeps_nothing_and_answers_why) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ALL, 1, WEFT_RESTART_PERMANENT);
    weft_store32_release(&family.kids[1].refuse, 1);
    ck_assert_int_eq(start_number(&family, pid, 1, WEFT_RESTART_PERMANENT, &answer), -EIO);
    counts(&family, pid, 1, 1);
    ck_assert_journal(&family, "+a"); /* it is not tried again, and nobody else is touched */
    ck_assert_int_eq(start_number(&family, pid, 1, WEFT_RESTART_PERMANENT, &answer), 0);
    counts(&family, pid, 2, 2);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(start_of_one_that_does_not_want_to_keeps_it_but_for_temporary_ones) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 0, 0);
    for (uint32_t i = 0; i < 3; i++) {
        weft_store32_release(&family.kids[i].ignore, 1);
        ck_assert_int_eq(start_number(&family, pid, i, i, &answer), 0);
        ck_assert(weft_pid_is_none(answer.pid));
    }
    counts(&family, pid, 2, 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(start_checks_the_specification) {
    BEGIN();
    weft_supervisor_answer answer;
    struct kid *arg;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 0, 0);
    weft_child_spec spec = kid_spec(&family, 0, WEFT_RESTART_TRANSIENT, &arg);
    spec.restart = 9;
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), -EINVAL);
    spec = kid_spec(&family, 0, WEFT_RESTART_TRANSIENT, &arg);
    spec.id = NULL; /* only a simple_one_for_one could do with that */
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), -EINVAL);
    ck_assert_int_eq(start_spec(&family, pid, NULL, &answer), -EINVAL);
    spec = kid_spec(&family, 0, WEFT_RESTART_TRANSIENT, &arg);
    spec.significant = true; /* the supervisor knows nothing of that */
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), -EINVAL);
    spec.struct_size = 1;
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), -EINVAL);
    spec = kid_spec(&family, 0, WEFT_RESTART_TRANSIENT, &arg);
    spec.arg_size = SIZE_MAX / 2;
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), -E2BIG);
    counts(&family, pid, 0, 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(start_takes_significant_children_and_whole_supervisors) {
    BEGIN();
    weft_supervisor_answer answer;
    struct house house;
    struct house below;
    struct kid *arg;
    house_init(&house, WEFT_ONE_FOR_ONE);
    house.def.auto_shutdown = WEFT_AUTO_ANY;
    weft_pid pid = raise_house(&family, &house);
    house_init(&below, WEFT_ONE_FOR_ALL);
    (void)house_add(&family, &below, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &below, 1, WEFT_RESTART_PERMANENT);
    weft_child_spec spec = {.struct_size = WEFT_CHILD_SPEC_INIT,
                            .id = "below",
                            .supervisor = &below.def,
                            .restart = WEFT_RESTART_PERMANENT};
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), 0);
    memset(&below, 0x5a, sizeof(below)); /* it was copied */
    ck_assert(answer.is_supervisor);
    ck_assert_uint_eq(answer.shutdown_ns, WEFT_SHUTDOWN_FOREVER);
    ck_assert_journal(&family, "+a +b");
    ck_assert_int_eq(weft_runtime_kill_actor(family.rig.runtime, answer.pid), 0);
    eventually(weft_load32_acquire(&family.kids[1].starts) == 2);
    spec = kid_spec(&family, 2, WEFT_RESTART_TRANSIENT, &arg);
    spec.significant = true;
    ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), 0);
    ck_assert(answer.significant);
    kid_tell(&family, 2, TAG_DONE);
    ck_assert_int_eq(end_of(&family, pid), WEFT_E_SHUTDOWN);
    END();
}
END_TEST

START_TEST(start_gives_a_large_argument_again_at_every_restart) {
    BEGIN();
    enum { LARGE = 100000 };
    weft_supervisor_answer answer;
    unsigned char *arg = calloc(1, LARGE);
    struct kid *kid = &family.kids[0];
    memcpy(arg, &kid, sizeof(struct kid *));
    for (uint32_t restart = 0; restart < 3; restart++) {
        weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 0, 0);
        weft_child_spec spec = kid_spec(&family, 0, restart, &kid);
        spec.arg = arg;
        spec.arg_size = LARGE;
        ck_assert_int_eq(start_spec(&family, pid, &spec, &answer), 0);
        ck_assert_uint_eq(weft_load64_acquire(&kid->arg_size), LARGE);
        weft_store64_release(&kid->arg_size, 0);
        kid_tell(&family, 0, TAG_FAIL);
        eventually(!is_alive(&family.rig, answer.pid));
        if (restart == WEFT_RESTART_TEMPORARY) {
            active_becomes(&family, pid, 0);
            ck_assert_uint_eq(weft_load64_acquire(&kid->arg_size), 0);
        } else {
            eventually(weft_load64_acquire(&kid->arg_size) == LARGE);
            calm(&family, pid);
        }
        stop_supervisor(&family, pid);
    }
    free(arg);
    END();
}
END_TEST

/* ---- TERMINATE, RESTART, DELETE ------------------------------------------------------------ */

START_TEST(terminate_stops_a_child_and_keeps_its_specification_unless_it_is_temporary) {
    for (uint32_t restart = 0; restart < 3; restart++) {
        BEGIN();
        weft_supervisor_answer answer;
        weft_pid pid = raise_some(WEFT_ONE_FOR_ALL, 3, restart);
        bool kept = restart != WEFT_RESTART_TEMPORARY;
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "b", NULL), 0);
        ck_assert_journal(&family, "+a +b +c -b"); /* the others are not touched */
        counts(&family, pid, kept ? 3 : 2, 2);
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "b", NULL),
                         kept ? 0 : -ENOENT);
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "x", NULL), -ENOENT);
        ck_assert_int_eq(
            ask_pid(&family, pid, WEFT_SUPERVISOR_TERMINATE, kid_pid(&family, 0), &answer),
            -ENOENT); /* by id only */
        stop_supervisor(&family, pid);
        END();
    }
}
END_TEST

START_TEST(terminate_waits_until_the_child_is_gone_or_killed) {
    BEGIN();
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    house_add(&family, &house, 0, WEFT_RESTART_PERMANENT)->type = family.process;
    house.specs[0].shutdown_ns = 40 * MS_NS;
    family.kids[0].linger_ns = UINT64_MAX;
    weft_pid pid = raise_house(&family, &house);
    uint64_t begin_ns = clock_ns();
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "a", NULL), 0);
    ck_assert_uint_ge(clock_ns() - begin_ns, 35 * MS_NS);
    ck_assert_journal(&family, "+a !a");
    counts(&family, pid, 1, 0);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(restart_starts_one_that_does_not_run) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_REST_FOR_ONE, 3, WEFT_RESTART_TRANSIENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", &answer), -EEXIST);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 0)));
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "x", &answer), -ENOENT);
    kid_tell(&family, 0, TAG_DONE);
    journal_becomes(&family.journal, "+a +b +c -a");
    active_becomes(&family, pid, 2);
    weft_store32_release(&family.kids[0].refuse, 1);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", &answer), -EIO);
    counts(&family, pid, 3, 2); /* it is kept, and not tried again */
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_RESTART, "a", &answer), 0);
    ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, 0)));
    ck_assert_journal(&family, "+a +b +c -a +a"); /* the others are not touched */
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "+a +b +c -a +a -c -b -a"); /* its place is what it was */
    END();
}
END_TEST

START_TEST(delete_forgets_one_that_does_not_run) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "a", NULL), -EBUSY);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "x", NULL), -ENOENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "a", NULL), 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "a", NULL), 0);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, "a", NULL), -ENOENT);
    counts(&family, pid, 1, 1);
    ck_assert_int_eq(start_number(&family, pid, 0, 0, &answer), 0); /* last now */
    journal_clear(&family.journal);
    stop_supervisor(&family, pid);
    ck_assert_journal(&family, "-a -b");
    END();
}
END_TEST

/* ---- COUNT, WHICH -------------------------------------------------------------------------- */

START_TEST(count_tells_supervisors_from_workers_whether_they_run_or_not) {
    BEGIN();
    weft_supervisor_answer answer;
    struct house house;
    struct house below;
    house_init(&below, WEFT_ONE_FOR_ONE);
    house_init(&house, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &house, 1, WEFT_RESTART_PERMANENT);
    (void)house_add_below(&house, "below", &below, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t active = 3; active > 1; active--) {
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
        ck_assert_uint_eq(answer.specs, 3);
        ck_assert_uint_eq(answer.active, active);
        ck_assert_uint_eq(answer.supervisors, 1);
        ck_assert_uint_eq(answer.workers, 2);
        ck_assert_uint_eq(answer.restarting, 0);
        ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "below", NULL), 0);
    }
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(which_finds_a_child_by_id_pid_and_number) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 5, WEFT_RESTART_TRANSIENT);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t at = round == 0 ? i : round == 1 ? 4 - i : (i * 3) % 5;
            ck_assert_int_eq(ask_index(&family, pid, at, &answer), 0);
            ck_assert(strcmp(answer.id, family.kids[at].name) == 0);
            ck_assert(weft_pid_equal(answer.pid, kid_pid(&family, at)));
            ck_assert_uint_eq(answer.state, WEFT_CHILD_RUNNING);
            ck_assert(!answer.is_supervisor);
        }
        ck_assert_int_eq(ask_index(&family, pid, 5, &answer), -ENOENT);
    }
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_WHICH, kid_pid(&family, 3), &answer), 0);
    ck_assert(strcmp(answer.id, "d") == 0);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_WHICH, pid, &answer), -ENOENT);
    weft_pid old = kid_pid(&family, 3);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, "d", NULL), 0);
    ck_assert_int_eq(ask_pid(&family, pid, WEFT_SUPERVISOR_WHICH, old, &answer), -ENOENT);
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_WHICH, "d", &answer), 0);
    ck_assert_uint_eq(answer.state, WEFT_CHILD_STOPPED);
    ck_assert(weft_pid_is_none(answer.pid));
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* Children come and go while they are listed by their numbers, against a plain list. */
START_TEST(which_by_number_is_right_while_children_come_and_go) {
    BEGIN();
    weft_supervisor_answer answer;
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 0, 0);
    uint32_t list[KIDS_MAX];
    uint32_t count = 0;
    uint64_t seed = 7 + (uint64_t)_i;
    for (uint32_t step = 0; step < 1500; step++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        uint32_t number = (uint32_t)(seed >> 33) % KIDS_MAX;
        uint32_t at = 0;
        while (at < count && list[at] != number) {
            at++;
        }
        if ((seed >> 40) % 3 == 0 && at == count) {
            ck_assert_int_eq(start_number(&family, pid, number, WEFT_RESTART_PERMANENT, &answer),
                             0);
            list[count++] = number;
        } else if ((seed >> 40) % 3 == 1 && at < count) {
            const char *id = family.kids[number].name;
            ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_TERMINATE, id, NULL), 0);
            ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_DELETE, id, NULL), 0);
            memmove(&list[at], &list[at + 1], (--count - at) * sizeof(*list));
            journal_clear(&family.journal);
        } else {
            at = (uint32_t)(seed >> 50) % (count + 1);
            int result = ask_index(&family, pid, at, &answer);
            ck_assert_int_eq(result, at < count ? 0 : -ENOENT);
            ck_assert(result != 0 || strcmp(answer.id, family.kids[list[at]].name) == 0);
        }
    }
    stop_supervisor(&family, pid);
    END();
}
END_TEST

/* ---- ways of asking ------------------------------------------------------------------------ */

struct asking {
    weft_pid supervisor;
    uint32_t verb;
    const char *id;
    uint64_t timeout_ns;
    uint64_t token;
    int result;
    weft_atomic_u32 done;
    weft_supervisor_answer answer;
};

static weft_supervisor_request request_of(const struct asking *asking) {
    return (weft_supervisor_request){
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = asking->verb, .id = asking->id};
}

static int asker_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg_size;
    struct asking *asking;
    memcpy(&asking, arg, sizeof(asking));
    weft_supervisor_request request = request_of(asking);
    asking->answer.struct_size = WEFT_SUPERVISOR_ANSWER_INIT;
    asking->result = weft_supervisor_call_wait(ctx, asking->supervisor, &request,
                                               asking->timeout_ns, &asking->answer);
    weft_store32_release(&asking->done, 1);
    return WEFT_CONTINUE;
}

static void act_ask(weft_ctx *ctx, void *arg) {
    struct asking *asking = arg;
    weft_supervisor_request request = request_of(asking);
    asking->result =
        weft_supervisor_call(ctx, asking->supervisor, &request, asking->timeout_ns, asking->token);
}

enum { ANSWERS_MAX = 64 };
struct answers {
    struct {
        uint64_t token;
        int status;
        weft_supervisor_answer answer;
    } list[ANSWERS_MAX];
    weft_atomic_u32 count;
};

static int hears_answers(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    struct answers *answers = probe->user;
    weft_supervisor_answer answer = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    if (weft_msg_kind(msg) != WEFT_MSG_REPLY) {
        ck_assert_int_eq(weft_supervisor_answer_of(msg, &answer), -EINVAL);
        return WEFT_CONTINUE;
    }
    uint32_t at = weft_load32_acquire(&answers->count);
    answers->list[at].token = weft_msg_token(msg);
    answers->list[at].status = weft_supervisor_answer_of(msg, &answer);
    answers->list[at].answer = answer;
    weft_store32_release(&answers->count, at + 1);
    return WEFT_CONTINUE;
}

START_TEST(every_way_of_asking_gives_the_same_answer) {
    BEGIN();
    static struct answers answers;
    weft_store32_release(&answers.count, 0);
    struct probe probe = PROBE_INIT;
    probe.handler = hears_answers;
    probe.user = &answers;
    weft_pid handler = rig_spawn(&family.rig, &probe);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "asker", .process = asker_run};
    const weft_type *asker = rig_type(&family.rig, &def);
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_TRANSIENT);
    static const char *const ids[] = {"a", "b", "x", NULL};
    for (uint32_t i = 0; i < 4; i++) {
        weft_supervisor_answer outside;
        struct asking asking = {.supervisor = pid,
                                .verb = i == 3 ? WEFT_SUPERVISOR_COUNT : WEFT_SUPERVISOR_RESTART,
                                .id = ids[i],
                                .token = i};
        struct asking *arg = &asking;
        int result = ask(&family, pid, asking.verb, ids[i], &outside);
        act(&family.rig, handler, act_ask, &asking);
        ck_assert_int_eq(asking.result, 0);
        eventually(weft_load32_acquire(&answers.count) == i + 1);
        ck_assert_uint_eq(answers.list[i].token, i);
        ck_assert_int_eq(answers.list[i].status, result);
        ck_assert_mem_eq(&answers.list[i].answer, &outside, sizeof(outside));
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &arg, .arg_size = sizeof(arg)};
        weft_pid unused;
        ck_assert_int_eq(weft_runtime_spawn(family.rig.runtime, asker, &options, &unused), 0);
        eventually(weft_load32_acquire(&asking.done) == 1);
        ck_assert_int_eq(asking.result, result);
        ck_assert_mem_eq(&asking.answer, &outside, sizeof(outside));
    }
    ck_assert_int_eq(weft_runtime_send(family.rig.runtime, handler, 1, NULL, 0), 0);
    settle(&family.rig, handler);
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

START_TEST(requests_that_come_meanwhile_wait_and_are_served_in_their_order) {
    BEGIN();
    static struct answers answers;
    weft_store32_release(&answers.count, 0);
    struct probe probe = PROBE_INIT;
    probe.handler = hears_answers;
    probe.user = &answers;
    weft_pid asker = rig_spawn(&family.rig, &probe);
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    house_add(&family, &house, 0, WEFT_RESTART_PERMANENT)->type = family.process;
    (void)house_add(&family, &house, 1, WEFT_RESTART_PERMANENT);
    family.kids[0].linger_ns = 50 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    static const struct {
        uint32_t verb;
        const char *id;
        int status;
    } list[] = {{WEFT_SUPERVISOR_TERMINATE, "a", 0},     {WEFT_SUPERVISOR_DELETE, "b", -EBUSY},
                {WEFT_SUPERVISOR_TERMINATE, "b", 0},     {WEFT_SUPERVISOR_DELETE, "b", 0},
                {WEFT_SUPERVISOR_RESTART, "b", -ENOENT}, {WEFT_SUPERVISOR_RESTART, "a", 0},
                {WEFT_SUPERVISOR_TERMINATE, "a", 0},     {WEFT_SUPERVISOR_WHICH, "a", 0},
                {WEFT_SUPERVISOR_COUNT, NULL, 0}};
    enum { COUNT = sizeof(list) / sizeof(list[0]) };
    for (uint32_t i = 0; i < 5 * COUNT; i++) { /* what comes after finds the end of the first */
        struct asking asking = {.supervisor = pid,
                                .verb = i < COUNT ? list[i].verb : WEFT_SUPERVISOR_COUNT,
                                .id = i < COUNT ? list[i].id : NULL,
                                .token = i};
        act(&family.rig, asker, act_ask, &asking);
        ck_assert_int_eq(asking.result, 0);
    }
    eventually(weft_load32_acquire(&answers.count) == 5 * COUNT);
    for (uint32_t i = 0; i < 5 * COUNT; i++) {
        ck_assert_uint_eq(answers.list[i].token, i);
        ck_assert_int_eq(answers.list[i].status, i < COUNT ? list[i].status : 0);
    }
    ck_assert_uint_eq(answers.list[7].answer.state, WEFT_CHILD_STOPPED);
    ck_assert_uint_eq(answers.list[8].answer.specs, 1);
    ck_assert_journal(&family, "+a +b -a -b +a -a");
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

START_TEST(a_request_whose_caller_has_given_up_is_not_carried_out) {
    BEGIN();
    struct probe probe = PROBE_INIT;
    weft_pid asker = rig_spawn(&family.rig, &probe);
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    house_add(&family, &house, 0, WEFT_RESTART_PERMANENT)->type = family.process;
    (void)house_add(&family, &house, 1, WEFT_RESTART_PERMANENT);
    family.kids[0].linger_ns = 200 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    struct asking asking = {
        .supervisor = pid, .verb = WEFT_SUPERVISOR_TERMINATE, .id = "a", .timeout_ns = SOON_NS};
    act(&family.rig, asker, act_ask, &asking);
    asking.id = "b";
    asking.timeout_ns = 20 * MS_NS;
    act(&family.rig, asker, act_ask, &asking);
    calm(&family, pid);
    ck_assert_journal(&family, "+a +b -a");
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

START_TEST(who_waits_for_a_supervisor_that_ends_is_told) {
    BEGIN();
    static struct answers answers;
    weft_store32_release(&answers.count, 0);
    struct probe probe = PROBE_INIT;
    probe.handler = hears_answers;
    probe.user = &answers;
    weft_pid asker = rig_spawn(&family.rig, &probe);
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    house_add(&family, &house, 0, WEFT_RESTART_PERMANENT)->type = family.process;
    family.kids[0].linger_ns = 50 * MS_NS;
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t i = 0; i < 4; i++) {
        struct asking asking = {.supervisor = pid,
                                .verb = i == 0 ? WEFT_SUPERVISOR_TERMINATE : WEFT_SUPERVISOR_COUNT,
                                .id = i == 0 ? "a" : NULL,
                                .token = i};
        act(&family.rig, asker, act_ask, &asking);
    }
    stop_supervisor(&family, pid);
    eventually(weft_load32_acquire(&answers.count) == 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(answers.list[i].status, WEFT_E_NOPROC);
    }
    ck_assert_int_eq(ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, NULL), WEFT_E_NOPROC);
    END();
    probe_fini(&probe);
}
END_TEST

static uint32_t waiting_for(weft_pid pid) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    ck_assert_int_eq(weft_inspect(family.rig.runtime, pid, &info), 0);
    return info.mailbox;
}

START_TEST(more_requests_than_a_mailbox_holds_are_refused) {
    weft_config config = rig_config(schedulers_of(_i));
    config.mailbox_max = 16;
    family_start_with(&family, &config);
    static struct answers answers;
    weft_store32_release(&answers.count, 0);
    struct probe probe = PROBE_INIT;
    probe.handler = hears_answers;
    probe.user = &answers;
    weft_pid asker = rig_spawn(&family.rig, &probe);
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    weft_child_spec *spec = house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    spec->type = family.process;
    spec->shutdown_ns = 5 * SOON_NS;
    family.kids[0].linger_ns = UINT64_MAX; /* until it is told */
    weft_pid pid = raise_house(&family, &house);
    for (uint32_t i = 0; i < 40; i++) {
        struct asking asking = {.supervisor = pid,
                                .verb = i == 0 ? WEFT_SUPERVISOR_TERMINATE : WEFT_SUPERVISOR_COUNT,
                                .id = i == 0 ? "a" : NULL,
                                .token = i};
        act(&family.rig, asker, act_ask, &asking);
        ck_assert_int_eq(asking.result, 0);
        eventually(waiting_for(pid) == 0); /* it takes them out of its mailbox */
    }
    kid_tell(&family, 0, TAG_DONE);
    eventually(weft_load32_acquire(&answers.count) == 40);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 40; i++) {
        refused += answers.list[i].status == -EBUSY ? 1 : 0;
    }
    ck_assert_uint_eq(refused, 40 - 1 - 16);
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

/* ---- what is no request -------------------------------------------------------------------- */

START_TEST(messages_that_are_no_requests_do_no_harm) {
    BEGIN();
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 2, WEFT_RESTART_PERMANENT);
    unsigned char bytes[400];
    uint64_t seed = 99;
    for (uint32_t i = 0; i < 600; i++) {
        for (size_t at = 0; at < sizeof(bytes); at++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            bytes[at] = (unsigned char)(seed >> 56);
        }
        uint32_t tag = i % 2 == 0 ? 0x77656674 : i;
        size_t size = (seed >> 20) % sizeof(bytes);
        weft_msg *reply = NULL;
        ck_assert_int_eq(
            weft_runtime_call(family.rig.runtime, pid, tag, bytes, size, SOON_NS, &reply), -EINVAL);
        ck_assert_int_eq(weft_runtime_send(family.rig.runtime, pid, tag, bytes, size), 0);
    }
    counts(&family, pid, 2, 2);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(requests_that_are_wrong_are_refused_before_they_are_sent) {
    BEGIN();
    static const char long_id[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    weft_pid pid = raise_some(WEFT_ONE_FOR_ONE, 1, WEFT_RESTART_PERMANENT);
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.struct_size = WEFT_SUPERVISOR_REQUEST_INIT};
    ck_assert_int_eq(send_request(&family, pid, NULL, &answer), -EINVAL);
    for (uint32_t verb = 0; verb < 9; verb++) {
        bool needs = verb == WEFT_SUPERVISOR_TERMINATE || verb == WEFT_SUPERVISOR_RESTART ||
                     verb == WEFT_SUPERVISOR_DELETE || verb == 0 || verb > WEFT_SUPERVISOR_WHICH;
        request.verb = verb;
        request.id = NULL;
        ck_assert(!needs || send_request(&family, pid, &request, &answer) == -EINVAL);
        request.id = "";
        ck_assert_int_eq(send_request(&family, pid, &request, &answer), -EINVAL);
        request.id = long_id;
        ck_assert_int_eq(send_request(&family, pid, &request, &answer), -EINVAL);
    }
    request = (weft_supervisor_request){.struct_size = 1, .verb = WEFT_SUPERVISOR_COUNT};
    ck_assert_int_eq(send_request(&family, pid, &request, &answer), -EINVAL);
    request.struct_size = WEFT_SUPERVISOR_REQUEST_INIT;
    answer.struct_size = 1;
    ck_assert_int_eq(
        weft_runtime_supervisor_call(family.rig.runtime, pid, &request, SOON_NS, &answer), -EINVAL);
    ck_assert_int_eq(weft_runtime_supervisor_call(family.rig.runtime, pid, &request, SOON_NS, NULL),
                     0);
    ck_assert_int_eq(weft_runtime_supervisor_call(NULL, pid, &request, SOON_NS, NULL), -EINVAL);
    ck_assert_int_eq(weft_supervisor_answer_of(NULL, &answer), -EINVAL);
    stop_supervisor(&family, pid);
    END();
}
END_TEST

START_TEST(an_answer_of_somebody_else_is_no_answer) {
    BEGIN();
    struct probe probe = PROBE_INIT;
    weft_pid stranger = rig_spawn(&family.rig, &probe); /* releases requests */
    ck_assert_int_eq(ask(&family, stranger, WEFT_SUPERVISOR_COUNT, NULL, NULL), WEFT_E_NOREPLY);
    struct house house;
    house_init(&house, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    weft_pid pid = raise_house(&family, &house);
    ck_assert_int_eq(ask(&family, kid_pid(&family, 0), WEFT_SUPERVISOR_COUNT, NULL, NULL),
                     -EINVAL); /* answers everything with nothing */
    stop_supervisor(&family, pid);
    END();
    probe_fini(&probe);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("supervisor calls");
    TCase *tcase = tcase_create("supervisor calls");
#define ADD(name) tcase_add_loop_test(tcase, name, 0, SCHEDULER_CASES)
    ADD(start_adds_a_child_behind_the_others);
    ADD(start_of_an_id_that_is_there_is_refused);
    ADD(start_that_fails_keeps_nothing_and_answers_why);
    ADD(start_of_one_that_does_not_want_to_keeps_it_but_for_temporary_ones);
    ADD(start_checks_the_specification);
    ADD(start_takes_significant_children_and_whole_supervisors);
    ADD(start_gives_a_large_argument_again_at_every_restart);
    ADD(terminate_stops_a_child_and_keeps_its_specification_unless_it_is_temporary);
    ADD(terminate_waits_until_the_child_is_gone_or_killed);
    ADD(restart_starts_one_that_does_not_run);
    ADD(delete_forgets_one_that_does_not_run);
    ADD(count_tells_supervisors_from_workers_whether_they_run_or_not);
    ADD(which_finds_a_child_by_id_pid_and_number);
    ADD(which_by_number_is_right_while_children_come_and_go);
    ADD(every_way_of_asking_gives_the_same_answer);
    ADD(requests_that_come_meanwhile_wait_and_are_served_in_their_order);
    ADD(a_request_whose_caller_has_given_up_is_not_carried_out);
    ADD(who_waits_for_a_supervisor_that_ends_is_told);
    ADD(more_requests_than_a_mailbox_holds_are_refused);
    ADD(messages_that_are_no_requests_do_no_harm);
    ADD(requests_that_are_wrong_are_refused_before_they_are_sent);
    ADD(an_answer_of_somebody_else_is_no_answer);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
