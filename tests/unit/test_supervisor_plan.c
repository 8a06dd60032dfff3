/* SPDX-License-Identifier: MIT
 *
 * The rules of supervisors. A plan in a world beside the model in the same world
 * (supervisor_world.h): all strategies, restart types, positions, reasons and limits with up to
 * four children, and long random runs, must give the same starts and stops in the same order, the
 * same answers, and leave the same children. What the model does not know, steps, walks that are
 * given up and the window, has tests of its own.
 */
#include "tests/unit/supervisor_world.h"

enum { RECORDS = IDS_MAX + 1 + WEFT__PLAN_FIRST, QUEUE_MAX = 1024 };

/* ---- a plan in a world --------------------------------------------------------------------- */

struct driver {
    struct world *world;
    struct weft__plan plan;
    struct weft__plan_child children[RECORDS];
    uint64_t times[TIMES_MAX];
    uint32_t pids[IDS_MAX + 1]; /* by id: of the last one that was up */
    bool known[IDS_MAX + 1];
    struct note queue[QUEUE_MAX]; /* requests that wait */
    uint32_t queue_first;
    uint32_t queue_end;
    struct note request; /* under way */
    bool asked;
    enum answer answer;
    uint32_t steps; /* allowed at once */
};

static uint32_t index_of(uint32_t id) {
    return id - 1 + WEFT__PLAN_FIRST;
}

static uint32_t id_of(uint32_t child) {
    return child + 1 - WEFT__PLAN_FIRST;
}

/* The counts of a plan are those of its children, and nobody waits who should not. */
static void check_counts(struct driver *driver) {
    struct weft__plan *plan = &driver->plan;
    struct weft__plan_child *children = driver->children;
    uint32_t total = 0;
    uint32_t active = 0;
    uint32_t restarting = 0;
    uint32_t significant = 0;
    uint32_t waiting = 0;
    for (uint32_t i = children[0].next; i != 0; i = children[i].next) {
        uint8_t status = children[i].status;
        ck_assert_uint_eq(children[children[i].next].previous, i);
        total++;
        active += status == WEFT__PLAN_RUNNING ? 1 : 0;
        restarting += status == WEFT__PLAN_RESTARTING ? 1 : 0;
        significant += children[i].significant && status != WEFT__PLAN_STOPPED ? 1 : 0;
        waiting += status == WEFT__PLAN_ENDED || status == WEFT__PLAN_RESTARTING ? 1 : 0;
    }
    ck_assert_uint_eq(plan->total, total);
    ck_assert_uint_eq(plan->active, active);
    ck_assert_uint_eq(plan->restarting, restarting);
    ck_assert_uint_eq(plan->significant, significant);
    for (uint32_t list = 0; list < 2; list++) {
        for (uint32_t i = children[list].wait_next; i != list; i = children[i].wait_next) {
            waiting--;
        }
    }
    ck_assert_uint_eq(waiting, 0);
}

static void forget(struct driver *driver, uint32_t child, bool forgotten) {
    if (forgotten) {
        ck_assert(driver->known[id_of(child)]);
        driver->known[id_of(child)] = false;
        driver->pids[id_of(child)] = 0;
    }
}

static void failed(struct driver *driver, uint32_t child) {
    forget(driver, child, weft__plan_failed(&driver->plan, child));
    if (driver->known[id_of(child)] && driver->children[child].status == WEFT__PLAN_RESTARTING) {
        (void)post(driver->world, NOTE_RETRY, id_of(child));
    }
    if (driver->asked) {
        driver->answer = ANSWER_FAILED;
    }
}

/* A request's turn. */
static void serve(struct driver *driver, const struct note *note) {
    struct weft__plan *plan = &driver->plan;
    uint32_t child = index_of(note->id);
    bool known = driver->known[note->id];
    uint8_t status = known ? driver->children[child].status : 0;
    driver->request = *note;
    driver->asked = true;
    driver->answer = ANSWER_OK;
    if (note->kind == NOTE_ADD && !known) {
        driver->known[note->id] = true;
        weft__plan_add(plan, child, note->restart, note->significant);
        weft__plan_start_one(plan, child, true);
    } else if (note->kind == NOTE_ADD) {
        driver->answer = status == WEFT__PLAN_STOPPED || status == WEFT__PLAN_RESTARTING
                             ? ANSWER_STOPPED
                             : ANSWER_RUNS;
    } else if (!known) {
        driver->answer = ANSWER_UNKNOWN;
    } else if (note->kind == NOTE_STOP) {
        weft__plan_stop_one(plan, child);
    } else if (status != WEFT__PLAN_STOPPED) {
        driver->answer = status == WEFT__PLAN_RESTARTING ? ANSWER_AGAIN : ANSWER_RUNS;
    } else if (note->kind == NOTE_DELETE) {
        weft__plan_remove(plan, child);
        forget(driver, child, true);
    } else {
        weft__plan_start_one(plan, child, false);
    }
}

/* The plan is idle: the event that waits longest. False: there is none. */
static bool take_event(struct driver *driver) {
    uint64_t number = 0;
    uint32_t child = weft__plan_waiting(&driver->plan, &number);
    if (driver->asked) {
        trace(driver->world, TRACE_ANSWER, driver->request.id, (uint32_t)driver->answer);
        driver->asked = false;
    }
    if (driver->queue_first != driver->queue_end &&
        (child == 0 || driver->queue[driver->queue_first].number < number)) {
        serve(driver, &driver->queue[driver->queue_first++]);
        return true;
    }
    if (child == 0) {
        return false;
    }
    struct weft__plan_verdict verdict =
        weft__plan_judge(&driver->plan, child, driver->world->now_ns);
    forget(driver, child, verdict.forget);
    return true;
}

static void act_out(struct driver *driver, const struct weft__plan_action *action) {
    uint32_t id = id_of(action->child);
    ck_assert(driver->known[id]);
    switch (action->verb) {
    case WEFT__PLAN_DO_START:
        world_start(driver->world, id);
        break;
    case WEFT__PLAN_DO_STOP:
        world_stop(driver->world, id);
        break;
    default:
        ck_assert_int_eq(action->verb, WEFT__PLAN_DO_FORGET);
        forget(driver, action->child, true);
    }
}

/* Does what is to be done until there is nothing. False: the supervisor has ended. */
static bool pump(struct driver *driver) {
    for (;;) {
        uint32_t steps = driver->steps;
        struct weft__plan_action action = weft__plan_next(&driver->plan, &steps);
        switch (action.verb) {
        case WEFT__PLAN_DO_WAIT:
            return true;
        case WEFT__PLAN_DO_YIELD:
            ck_assert_uint_eq(steps, 0);
            break;
        case WEFT__PLAN_DO_END:
            return false;
        case WEFT__PLAN_DO_NOTHING:
            if (!take_event(driver)) {
                return true;
            }
            break;
        default:
            act_out(driver, &action);
        }
    }
}

static void take_note(struct driver *driver, struct note *note) {
    struct weft__plan *plan = &driver->plan;
    uint32_t child = index_of(note->id);
    switch (note->kind) {
    case NOTE_UP:
        driver->pids[note->id] = note->pid;
        weft__plan_up(plan, child);
        return;
    case NOTE_FAILED:
        failed(driver, child);
        return;
    case NOTE_IGNORED:
        forget(driver, child, weft__plan_ignored(plan, child));
        return;
    case NOTE_EXIT:
        if (driver->known[note->id] && driver->pids[note->id] == note->pid) {
            forget(driver, child, weft__plan_exited(plan, child, note->in_order));
        }
        return;
    case NOTE_RETRY:
        weft__plan_retry(plan);
        return;
    case NOTE_END:
        weft__plan_end(plan);
        return;
    default:
        ck_assert_uint_lt(driver->queue_end, QUEUE_MAX);
        note->number = weft__plan_number(plan);
        driver->queue[driver->queue_end++] = *note;
    }
}

/* Reads the mailbox until it is empty. False: the supervisor has ended. */
static bool driver_run(struct driver *driver) {
    struct world *world = driver->world;
    bool goes_on = pump(driver);
    while (goes_on && world->note_first != world->note_end) {
        struct note note = world->notes[world->note_first++];
        take_note(driver, &note);
        goes_on = pump(driver);
    }
    if (!goes_on) {
        ck_assert_uint_eq(driver->plan.total, 0);
        trace(world, TRACE_END, 0, 0);
    }
    check_counts(driver);
    return goes_on;
}

static void driver_state(struct driver *driver) {
    struct weft__plan_child *children = driver->children;
    for (uint32_t i = children[0].next; i != 0; i = children[i].next) {
        ck_assert(children[i].next == 0 || children[children[i].next].order > children[i].order);
        uint8_t status = children[i].status;
        ck_assert(status == WEFT__PLAN_STOPPED || status == WEFT__PLAN_RUNNING ||
                  status == WEFT__PLAN_RESTARTING);
        trace(driver->world, TRACE_STATE, id_of(i),
              status == WEFT__PLAN_STOPPED   ? 0
              : status == WEFT__PLAN_RUNNING ? 1
                                             : 2);
    }
}

/* ---- one run of both ----------------------------------------------------------------------- */

struct blow {
    uint32_t id; /* 0: any */
    bool in_order;
};

struct setting {
    uint64_t seed;
    weft_supervisor_def def;
    uint32_t count;
    uint32_t restarts[8];
    bool significant[8];
    uint32_t fails; /* scripted */
    bool scripted;
    uint32_t calm;
    uint32_t blows;
    struct blow blow; /* scripted */
};

static struct world worlds[2];
static struct driver driver;
static struct model model;

static void world_begin(struct world *world, const struct setting *setting) {
    world->seed = setting->seed;
    world->now_ns = 1000;
    world->actions = 0;
    world->pids = 0;
    world->ids = setting->count;
    world->requests = !setting->scripted;
    world->calm = setting->calm;
    world->scripted = setting->scripted;
    world->fails = setting->fails;
    world->good = setting->count;
    world->note_first = 0;
    world->note_end = 0;
    world->traced = 0;
    memset(world->living, 0, sizeof(world->living));
}

static void driver_begin(const struct setting *setting) {
    driver.world = &worlds[0];
    weft__plan_init(&driver.plan, &setting->def, driver.children);
    driver.plan.window.times = driver.times;
    driver.plan.window.capacity = TIMES_MAX;
    memset(driver.pids, 0, sizeof(driver.pids));
    memset(driver.known, 0, sizeof(driver.known));
    driver.queue_first = 0;
    driver.queue_end = 0;
    driver.asked = false;
    driver.steps = 1 + (uint32_t)(setting->seed % 3);
    for (uint32_t i = 0; i < setting->count; i++) {
        driver.known[i + 1] = true;
        weft__plan_add(&driver.plan, index_of(i + 1), setting->restarts[i],
                       setting->significant[i]);
    }
    weft__plan_begin(&driver.plan);
}

static void model_start_up(const struct setting *setting) {
    model.world = &worlds[1];
    model.strategy = setting->def.strategy;
    model.auto_shutdown = setting->def.auto_shutdown;
    model.intensity = setting->def.intensity;
    model.period_ns = setting->def.period_ns;
    model.count = setting->count;
    model.time_count = 0;
    model.ended = false;
    for (uint32_t i = 0; i < setting->count; i++) {
        model.children[i] = (struct modelled){
            .id = i + 1, .restart = setting->restarts[i], .significant = setting->significant[i]};
    }
    model_begin(&model);
}

/* Something happens from outside, while nothing is under way. */
static void strike(struct world *world, const struct setting *setting, uint32_t number) {
    struct weft__prng prng;
    weft__prng_init(&prng, setting->seed, number + 1000000);
    world->now_ns += weft__prng_next(&prng) % 100;
    if (setting->scripted) {
        if (world->living[setting->blow.id] != 0) {
            crash(world, setting->blow.id, setting->blow.in_order);
        }
        return;
    }
    uint64_t drawn = weft__prng_next(&prng) % 100;
    if (drawn < 50) {
        crash_any(world, &prng);
    }
    if (drawn > 40 && drawn < 98) {
        ask_any(world, &prng);
    }
    if (drawn == 99) {
        (void)post(world, NOTE_END, 0);
    }
}

static void print_trace(const struct world *world, const char *name) {
    static const char *const kinds[] = {"start", "stop", "answer", "state", "end"};
    fprintf(stderr, "%s:", name);
    for (uint32_t i = 0; i < world->traced; i++) {
        fprintf(stderr, " %s %u/%u", kinds[world->trace[i] >> 28], world->trace[i] & 0xffff,
                world->trace[i] >> 16 & 0xfff);
    }
    fprintf(stderr, "\n");
}

static void compare(const struct setting *setting) {
    if (worlds[0].traced == worlds[1].traced &&
        memcmp(worlds[0].trace, worlds[1].trace, worlds[0].traced * sizeof(uint32_t)) == 0) {
        return;
    }
    print_trace(&worlds[0], "plan ");
    print_trace(&worlds[1], "model");
    ck_abort_msg("seed %llu, strategy %u, count %u, intensity %u, auto %u: they differ",
                 (unsigned long long)setting->seed, setting->def.strategy, setting->count,
                 setting->def.intensity, setting->def.auto_shutdown);
}

static void run_both(const struct setting *setting) {
    world_begin(&worlds[0], setting);
    world_begin(&worlds[1], setting);
    driver_begin(setting);
    bool goes_on = driver_run(&driver);
    model_start_up(setting);
    model_run(&model);
    compare(setting);
    for (uint32_t i = 0; i < setting->blows && goes_on; i++) {
        strike(&worlds[0], setting, i);
        goes_on = driver_run(&driver);
        strike(&worlds[1], setting, i);
        model_run(&model);
        driver_state(&driver);
        model_state(&model);
        compare(setting);
        ck_assert_int_eq(!goes_on, model.ended);
        if (!setting->scripted) { /* what was compared need not be kept */
            worlds[0].traced = 0;
            worlds[1].traced = 0;
        }
    }
}

/* ---- exhaustive ---------------------------------------------------------------------------- */

static const uint32_t limits[] = {0, 1, 3, WEFT_INTENSITY_UNLIMITED};

/* Who dies, why, and how many of the starts that follow fail. */
static void run_blows(struct setting *setting) {
    for (uint32_t victim = 1; victim <= setting->count; victim++) {
        for (uint32_t kind = 0; kind < 8; kind++) {
            setting->blow = (struct blow){.id = victim, .in_order = kind % 2 == 0};
            setting->fails = kind / 2;
            run_both(setting);
        }
    }
}

static void run_significant(struct setting *setting) {
    uint32_t masks = setting->def.auto_shutdown == WEFT_AUTO_NEVER ? 1 : 1U << setting->count;
    for (uint32_t mask = 0; mask < masks; mask++) {
        for (uint32_t i = 0; i < setting->count; i++) {
            setting->significant[i] =
                (mask >> i & 1) != 0 && setting->restarts[i] != WEFT_RESTART_PERMANENT;
        }
        for (uint32_t limit = 0; limit < sizeof(limits) / sizeof(limits[0]); limit++) {
            setting->def.intensity = limits[limit];
            run_blows(setting);
        }
    }
}

static uint32_t power(uint32_t base, uint32_t exponent) {
    uint32_t result = 1;
    while (exponent-- > 0) {
        result *= base;
    }
    return result;
}

START_TEST(every_case_with_few_children_is_as_in_the_model) {
    struct setting setting = {.scripted = true, .blows = 2, .def = {.period_ns = 1000000}};
    setting.def.strategy = (uint32_t)_i / 3;
    setting.def.auto_shutdown = (uint32_t)_i % 3;
    uint32_t count_max = setting.def.auto_shutdown == WEFT_AUTO_NEVER ? 4 : 3;
    for (setting.count = 1; setting.count <= count_max; setting.count++) {
        for (uint32_t types = 0; types < power(3, setting.count); types++) {
            for (uint32_t i = 0, rest = types; i < setting.count; i++, rest /= 3) {
                setting.restarts[i] = rest % 3;
            }
            setting.seed++;
            run_significant(&setting);
        }
    }
}
END_TEST

/* The first start of one of the children fails, at each place. */
START_TEST(a_failed_first_start_is_as_in_the_model) {
    for (uint32_t count = 1; count <= 5; count++) {
        for (uint32_t place = 0; place < count; place++) {
            struct setting setting = {.scripted = true, .count = count, .fails = 1};
            setting.def.strategy = (uint32_t)_i;
            world_begin(&worlds[0], &setting);
            world_begin(&worlds[1], &setting);
            worlds[0].good = place;
            worlds[1].good = place;
            driver_begin(&setting);
            ck_assert(!driver_run(&driver));
            ck_assert(driver.plan.failed);
            model_start_up(&setting);
            ck_assert(model.ended);
            compare(&setting);
            ck_assert_uint_eq(worlds[0].traced, 2 * place + 2); /* starts, stops, failure, end */
        }
    }
}
END_TEST

/* ---- random -------------------------------------------------------------------------------- */

static uint32_t seeds(void) {
    const char *text = getenv("WEFT_SEEDS");
    return text == NULL ? 3000 : (uint32_t)strtoul(text, NULL, 10);
}

START_TEST(random_runs_are_as_in_the_model) {
    static const uint32_t calms[] = {999, 950, 800, 500};
    uint32_t ends = 0;
    for (uint32_t seed = 0; seed < seeds(); seed++) {
        struct weft__prng prng;
        weft__prng_init(&prng, seed, (uint64_t)_i);
        struct setting setting = {.seed = seed * 4 + (uint64_t)_i, .blows = 60};
        setting.def.strategy = (uint32_t)_i;
        setting.def.intensity = (uint32_t)(weft__prng_next(&prng) % 8) << seed % 4;
        setting.def.period_ns = 1 + weft__prng_next(&prng) % 300;
        setting.def.auto_shutdown = _i == WEFT_SIMPLE_ONE_FOR_ONE ? WEFT_AUTO_NEVER : seed % 3;
        setting.calm = calms[seed / 3 % 4];
        setting.count = _i == WEFT_SIMPLE_ONE_FOR_ONE ? 0 : (uint32_t)(weft__prng_next(&prng) % 8);
        for (uint32_t i = 0; i < setting.count; i++) {
            setting.restarts[i] = (uint32_t)(weft__prng_next(&prng) % 3);
            setting.significant[i] = setting.restarts[i] != 0 && weft__prng_next(&prng) % 4 == 0;
        }
        run_both(&setting);
        ends += driver.plan.ended ? 1 : 0;
    }
    ck_assert_uint_gt(ends, 0);
}
END_TEST

/* ---- the end, at any time ------------------------------------------------------------------ */

static struct weft__plan plan;
static struct weft__plan_child children[RECORDS];
static uint64_t times[8];

static void plan_of(uint32_t strategy, uint32_t count) {
    weft_supervisor_def def = {.strategy = strategy, .intensity = 5, .period_ns = 100};
    weft__plan_init(&plan, &def, children);
    plan.window.times = times;
    plan.window.capacity = 8;
    for (uint32_t i = 0; i < count; i++) {
        weft__plan_add(&plan, WEFT__PLAN_FIRST + i, WEFT_RESTART_PERMANENT, false);
    }
}

#define expect(verb_expected, child_expected)                                                      \
    do {                                                                                           \
        uint32_t steps_ = 1000;                                                                    \
        struct weft__plan_action action_ = weft__plan_next(&plan, &steps_);                        \
        ck_assert_int_eq(action_.verb, (verb_expected));                                           \
        ck_assert_uint_eq(action_.child, (child_expected));                                        \
    } while (0)

static void start_all(uint32_t count) {
    weft__plan_begin(&plan);
    for (uint32_t i = 0; i < count; i++) {
        expect(WEFT__PLAN_DO_START, WEFT__PLAN_FIRST + i);
        expect(WEFT__PLAN_DO_WAIT, 0);
        weft__plan_up(&plan, WEFT__PLAN_FIRST + i);
    }
    expect(WEFT__PLAN_DO_NOTHING, 0);
}

START_TEST(an_end_stops_a_child_that_is_being_started_as_well) {
    plan_of(WEFT_ONE_FOR_ONE, 3);
    weft__plan_begin(&plan);
    expect(WEFT__PLAN_DO_START, 2);
    weft__plan_up(&plan, 2);
    expect(WEFT__PLAN_DO_START, 3);
    weft__plan_end(&plan);
    weft__plan_end(&plan);
    expect(WEFT__PLAN_DO_FORGET, 4);
    expect(WEFT__PLAN_DO_STOP, 3);
    expect(WEFT__PLAN_DO_WAIT, 0);
    weft__plan_up(&plan, 3); /* under way when it was told */
    expect(WEFT__PLAN_DO_WAIT, 0);
    ck_assert(weft__plan_exited(&plan, 3, true));
    expect(WEFT__PLAN_DO_STOP, 2);
    ck_assert(weft__plan_exited(&plan, 2, false));
    expect(WEFT__PLAN_DO_END, 0);
    expect(WEFT__PLAN_DO_END, 0);
}
END_TEST

START_TEST(a_start_that_fails_or_is_ignored_during_the_end_is_not_tried_again) {
    for (uint32_t outcome = 0; outcome < 3; outcome++) {
        plan_of(WEFT_REST_FOR_ONE, 2);
        start_all(2);
        ck_assert(!weft__plan_exited(&plan, 2, false));
        ck_assert_int_eq(weft__plan_judge(&plan, 2, 1).fate, WEFT__PLAN_AGAIN);
        expect(WEFT__PLAN_DO_STOP, 3);
        ck_assert(!weft__plan_exited(&plan, 3, true));
        expect(WEFT__PLAN_DO_START, 2);
        weft__plan_end(&plan);
        uint32_t steps = 1; /* the walk has not come to it yet */
        ck_assert_int_eq(weft__plan_next(&plan, &steps).verb, WEFT__PLAN_DO_FORGET);
        if (outcome == 0) {
            ck_assert(!weft__plan_failed(&plan, 2));
        } else if (outcome == 1) {
            ck_assert(!weft__plan_ignored(&plan, 2));
        } else {
            weft__plan_up(&plan, 2);
            expect(WEFT__PLAN_DO_STOP, 2);
            ck_assert(weft__plan_exited(&plan, 2, true));
            expect(WEFT__PLAN_DO_END, 0);
            continue;
        }
        expect(WEFT__PLAN_DO_FORGET, 2);
        expect(WEFT__PLAN_DO_END, 0);
    }
}
END_TEST

START_TEST(an_end_waits_for_the_child_that_is_being_stopped_first) {
    plan_of(WEFT_ONE_FOR_ONE, 3);
    start_all(3);
    weft__plan_stop_one(&plan, 2);
    expect(WEFT__PLAN_DO_STOP, 2);
    weft__plan_end(&plan);
    expect(WEFT__PLAN_DO_WAIT, 0);
    ck_assert(!weft__plan_exited(&plan, 3, false)); /* ends by itself meanwhile */
    expect(WEFT__PLAN_DO_WAIT, 0);
    ck_assert(!weft__plan_exited(&plan, 2, true));
    expect(WEFT__PLAN_DO_STOP, 4);
    ck_assert(weft__plan_exited(&plan, 4, true));
    expect(WEFT__PLAN_DO_FORGET, 3);
    expect(WEFT__PLAN_DO_FORGET, 2);
    expect(WEFT__PLAN_DO_END, 0);
}
END_TEST

START_TEST(an_end_gives_up_attempts_to_restart) {
    plan_of(WEFT_ONE_FOR_ONE, 2);
    start_all(2);
    ck_assert(!weft__plan_exited(&plan, 2, false));
    (void)weft__plan_judge(&plan, 2, 1);
    expect(WEFT__PLAN_DO_START, 2);
    ck_assert(!weft__plan_failed(&plan, 2));
    ck_assert_uint_eq(plan.restarting, 1);
    weft__plan_retry(&plan);
    weft__plan_end(&plan);
    expect(WEFT__PLAN_DO_STOP, 3);
    ck_assert(weft__plan_exited(&plan, 3, true));
    expect(WEFT__PLAN_DO_FORGET, 2);
    expect(WEFT__PLAN_DO_END, 0);
    ck_assert_uint_eq(plan.restarting, 0);
}
END_TEST

START_TEST(an_end_of_a_supervisor_without_children_is_immediate) {
    for (uint32_t strategy = 0; strategy < 4; strategy++) {
        plan_of(strategy, 0);
        weft__plan_begin(&plan);
        expect(WEFT__PLAN_DO_NOTHING, 0);
        weft__plan_end(&plan);
        expect(WEFT__PLAN_DO_END, 0);
    }
}
END_TEST

START_TEST(simple_children_are_told_all_at_once_and_killed_after_the_deadline) {
    plan_of(WEFT_SIMPLE_ONE_FOR_ONE, 0);
    for (uint32_t child = 2; child < 7; child++) {
        weft__plan_add(&plan, child, WEFT_RESTART_PERMANENT, false);
        weft__plan_start_one(&plan, child, true);
        expect(WEFT__PLAN_DO_START, child);
        weft__plan_up(&plan, child);
        expect(WEFT__PLAN_DO_NOTHING, 0);
    }
    ck_assert(!weft__plan_exited(&plan, 4, false));
    weft__plan_end(&plan);
    expect(WEFT__PLAN_DO_STOP, 6);
    expect(WEFT__PLAN_DO_STOP, 5);
    ck_assert(weft__plan_exited(&plan, 6, true));
    expect(WEFT__PLAN_DO_FORGET, 4);
    expect(WEFT__PLAN_DO_STOP, 3);
    expect(WEFT__PLAN_DO_STOP, 2);
    expect(WEFT__PLAN_DO_WAIT, 0);
    weft__plan_kill(&plan);
    expect(WEFT__PLAN_DO_KILL, 2);
    ck_assert(weft__plan_exited(&plan, 3, true)); /* the next one of the walk goes */
    memset(&children[3], 0xff, sizeof(children[3]));
    expect(WEFT__PLAN_DO_KILL, 5);
    expect(WEFT__PLAN_DO_WAIT, 0);
    ck_assert(weft__plan_exited(&plan, 5, true));
    ck_assert(weft__plan_exited(&plan, 2, true));
    expect(WEFT__PLAN_DO_END, 0);
}
END_TEST

/* ---- steps, windows ------------------------------------------------------------------------ */

START_TEST(no_call_takes_more_than_its_steps) {
    plan_of(WEFT_ONE_FOR_ALL, 500);
    weft__plan_begin(&plan);
    for (uint32_t i = 0; i < 500; i++) { /* all but the last do not want to run */
        expect(WEFT__PLAN_DO_START, WEFT__PLAN_FIRST + i);
        if (i == 499) {
            weft__plan_up(&plan, WEFT__PLAN_FIRST + i);
        } else {
            ck_assert(!weft__plan_ignored(&plan, WEFT__PLAN_FIRST + i));
        }
    }
    expect(WEFT__PLAN_DO_NOTHING, 0);
    ck_assert(!weft__plan_exited(&plan, 501, false));
    (void)weft__plan_judge(&plan, 501, 1);
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t steps = 10;
        ck_assert_int_eq(weft__plan_next(&plan, &steps).verb, WEFT__PLAN_DO_YIELD);
        ck_assert_uint_eq(steps, 0);
    }
    expect(WEFT__PLAN_DO_START, 2);
}
END_TEST

START_TEST(the_default_limit_is_one_restart_in_five_seconds) {
    weft_supervisor_def def = {.strategy = WEFT_ONE_FOR_ONE};
    weft__plan_init(&plan, &def, children);
    ck_assert_uint_eq(plan.window.limit, 1);
    ck_assert_uint_eq(plan.window.period_ns, 5 * S_NS);
    def.period_ns = 1;
    weft__plan_init(&plan, &def, children);
    ck_assert_uint_eq(plan.window.limit, 0);
}
END_TEST

START_TEST(a_window_slides) {
    struct weft__plan_window window = {.times = times, .capacity = 8, .limit = 2, .period_ns = 10};
    ck_assert(!weft__plan_window_add(&window, 100));
    ck_assert(!weft__plan_window_add(&window, 105));
    ck_assert(weft__plan_window_add(&window, 110));  /* exactly a period old still counts */
    ck_assert(!weft__plan_window_add(&window, 111)); /* 105, 111 */
    ck_assert(weft__plan_window_add(&window, 115));
    ck_assert(!weft__plan_window_add(&window, 116));
    ck_assert(!weft__plan_window_add(&window, 122));
    for (uint64_t now = 200; now < 1200; now += 6) { /* two in a period, for ever */
        ck_assert(!weft__plan_window_add(&window, now));
    }
}
END_TEST

START_TEST(a_clock_that_goes_back_a_little_makes_no_restart_old) {
    struct weft__plan_window window = {.times = times, .capacity = 8, .limit = 2, .period_ns = 10};
    ck_assert(!weft__plan_window_add(&window, 100));
    ck_assert(!weft__plan_window_add(&window, 95));
    ck_assert(weft__plan_window_add(&window, 97));
}
END_TEST

START_TEST(a_window_grows_up_to_its_limit_and_keeps_its_times) {
    static uint64_t memory[2][1024];
    struct weft__plan_window window = {.limit = 700, .period_ns = 1000000};
    uint32_t side = 0;
    uint32_t moves = 0;
    for (uint64_t now = 0; now < 5000; now++) {
        uint32_t wanted = weft__plan_window_wants(&window, now * 2000);
        ck_assert_uint_le(wanted, 700);
        if (wanted != window.capacity) {
            ck_assert_uint_gt(wanted, window.capacity);
            weft__plan_window_move(&window, memory[side], wanted);
            side = 1 - side;
            moves++;
        }
        ck_assert(!weft__plan_window_add(&window, now * 2000)); /* 501 in a period at most */
        for (uint32_t i = 0; i < window.count; i++) {
            uint32_t at = (window.first + i) % window.capacity;
            ck_assert_uint_eq(window.times[at], (now + 1 - window.count + i) * 2000);
        }
    }
    ck_assert_uint_eq(window.count, 501);
    ck_assert_uint_eq(window.capacity, 512);
    ck_assert_uint_eq(moves, 8);
}
END_TEST

START_TEST(an_unlimited_window_notes_nothing) {
    struct weft__plan_window window = {.limit = WEFT_INTENSITY_UNLIMITED};
    for (uint64_t now = 0; now < 1000; now++) {
        ck_assert_uint_eq(weft__plan_window_wants(&window, now), 0);
        ck_assert(!weft__plan_window_add(&window, now));
    }
    window.limit = 0;
    ck_assert_uint_eq(weft__plan_window_wants(&window, 1), 0);
    ck_assert(weft__plan_window_add(&window, 1));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("supervisor plan");
    TCase *tcase = tcase_create("supervisor plan");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_case_with_few_children_is_as_in_the_model, 0, 9);
    tcase_add_loop_test(tcase, a_failed_first_start_is_as_in_the_model, 0, 3);
    tcase_add_loop_test(tcase, random_runs_are_as_in_the_model, 0, 4);
    tcase_add_test(tcase, an_end_stops_a_child_that_is_being_started_as_well);
    tcase_add_test(tcase, a_start_that_fails_or_is_ignored_during_the_end_is_not_tried_again);
    tcase_add_test(tcase, an_end_waits_for_the_child_that_is_being_stopped_first);
    tcase_add_test(tcase, an_end_gives_up_attempts_to_restart);
    tcase_add_test(tcase, an_end_of_a_supervisor_without_children_is_immediate);
    tcase_add_test(tcase, simple_children_are_told_all_at_once_and_killed_after_the_deadline);
    tcase_add_test(tcase, no_call_takes_more_than_its_steps);
    tcase_add_test(tcase, the_default_limit_is_one_restart_in_five_seconds);
    tcase_add_test(tcase, a_window_slides);
    tcase_add_test(tcase, a_clock_that_goes_back_a_little_makes_no_restart_old);
    tcase_add_test(tcase, a_window_grows_up_to_its_limit_and_keeps_its_times);
    tcase_add_test(tcase, an_unlimited_window_notes_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
