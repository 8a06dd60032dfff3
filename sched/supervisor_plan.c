/* SPDX-License-Identifier: MIT
 *
 * The rules of a supervisor: see sched/supervisor_plan.h. Everything here is a pure function of
 * the plan and the children's records; it runs on whatever thread runs the supervisor, and in
 * tests without any. Lists are circular, through records 0 and 1, so that no case is special.
 *
 * Invariants: busy is STARTING or STOPPING; without an operation nobody is; a child that is ENDED
 * or RESTARTING is in the list of those that wait, no other is; the cursor is 0 or in the order.
 */
#include "sched/supervisor_plan.h"

enum { DEFAULT_INTENSITY = 1, WINDOW_MIN = 4 };
#define DEFAULT_PERIOD_NS UINT64_C(5000000000)

static bool is_simple(const struct weft__plan *plan) {
    return plan->strategy == WEFT_SIMPLE_ONE_FOR_ONE;
}

static bool is_temporary(const struct weft__plan_child *child) {
    return child->restart == WEFT_RESTART_TEMPORARY;
}

/* ---- lists --------------------------------------------------------------------------------- */

static void wait_append(struct weft__plan *plan, uint32_t list, uint32_t child) {
    struct weft__plan_child *children = plan->children;
    uint32_t last = children[list].wait_previous;
    children[child].wait_number = ++plan->number;
    children[child].wait_previous = last;
    children[child].wait_next = list;
    children[last].wait_next = child;
    children[list].wait_previous = child;
}

static void wait_remove(struct weft__plan *plan, uint32_t child) {
    struct weft__plan_child *children = plan->children;
    children[children[child].wait_previous].wait_next = children[child].wait_next;
    children[children[child].wait_next].wait_previous = children[child].wait_previous;
}

void weft__plan_add(struct weft__plan *plan, uint32_t child, uint32_t restart, bool significant) {
    struct weft__plan_child *children = plan->children;
    uint32_t last = children[0].previous;
    weft_assert(child >= WEFT__PLAN_FIRST);
    children[child] = (struct weft__plan_child){.order = ++plan->order,
                                                .previous = last,
                                                .next = 0,
                                                .status = WEFT__PLAN_STOPPED,
                                                .restart = (uint8_t)restart,
                                                .significant = significant};
    children[last].next = child;
    children[0].previous = child;
    plan->total++;
}

void weft__plan_remove(struct weft__plan *plan, uint32_t child) {
    struct weft__plan_child *children = plan->children;
    weft_assert(children[child].status == WEFT__PLAN_STOPPED);
    weft_assert(child != plan->busy);
    if (plan->cursor == child) {
        plan->cursor =
            plan->walk == WEFT__PLAN_BACK ? children[child].previous : children[child].next;
    }
    children[children[child].previous].next = children[child].next;
    children[children[child].next].previous = children[child].previous;
    plan->total--;
}

/* All changes of a status go through here, so that the counts follow. */
static void set_status(struct weft__plan *plan, uint32_t child, enum weft__plan_status status) {
    struct weft__plan_child *record = &plan->children[child];
    enum weft__plan_status old = (enum weft__plan_status)record->status;
    plan->active += (status == WEFT__PLAN_RUNNING ? 1U : 0U);
    plan->active -= (old == WEFT__PLAN_RUNNING ? 1U : 0U);
    plan->restarting += (status == WEFT__PLAN_RESTARTING ? 1U : 0U);
    plan->restarting -= (old == WEFT__PLAN_RESTARTING ? 1U : 0U);
    if (record->significant) {
        plan->significant += (status != WEFT__PLAN_STOPPED ? 1U : 0U);
        plan->significant -= (old != WEFT__PLAN_STOPPED ? 1U : 0U);
    }
    if (old == WEFT__PLAN_ENDED || old == WEFT__PLAN_RESTARTING) {
        wait_remove(plan, child);
    }
    record->status = (uint8_t)status;
    if (status == WEFT__PLAN_ENDED || status == WEFT__PLAN_RESTARTING) {
        wait_append(plan, status == WEFT__PLAN_ENDED ? WEFT__PLAN_NONE : WEFT__PLAN_RETRIES, child);
    }
}

/* A child does not run any more, or did not begin to. True: it leaves the order. */
static bool drop(struct weft__plan *plan, uint32_t child, bool forget) {
    set_status(plan, child, WEFT__PLAN_STOPPED);
    if (forget) {
        weft__plan_remove(plan, child);
    }
    return forget;
}

/* Does a child that was stopped leave? */
static bool leaves_stopped(const struct weft__plan *plan, uint32_t child) {
    return plan->purpose == WEFT__PLAN_END || is_simple(plan) ||
           is_temporary(&plan->children[child]);
}

/* ---- the window ---------------------------------------------------------------------------- */

/* Lets go of times that are older than the period. A clock read on another thread may be a little
 * behind: that is no age. */
static void window_age(struct weft__plan_window *window, uint64_t now_ns) {
    while (window->count != 0) { /* bounded by what was added */
        uint64_t oldest_ns = window->times[window->first];
        if (now_ns <= oldest_ns || now_ns - oldest_ns <= window->period_ns) {
            return;
        }
        window->first = window->first + 1 == window->capacity ? 0 : window->first + 1;
        window->count--;
    }
}

uint32_t weft__plan_window_wants(struct weft__plan_window *window, uint64_t now_ns) {
    if (window->limit == WEFT_INTENSITY_UNLIMITED) {
        return window->capacity;
    }
    window_age(window, now_ns);
    if (window->count < window->capacity || window->capacity >= window->limit) {
        return window->capacity;
    }
    uint64_t wanted = weft_max_u64(WINDOW_MIN, 2 * (uint64_t)window->capacity);
    return (uint32_t)weft_min_u64(wanted, window->limit);
}

void weft__plan_window_move(struct weft__plan_window *window, uint64_t *times, uint32_t capacity) {
    weft_assert(capacity >= window->count);
    uint32_t at = window->first;
    for (uint32_t i = 0; i < window->count; i++) {
        times[i] = window->times[at];
        at = at + 1 == window->capacity ? 0 : at + 1;
    }
    window->times = times;
    window->capacity = capacity;
    window->first = 0;
}

bool weft__plan_window_add(struct weft__plan_window *window, uint64_t now_ns) {
    if (window->limit == WEFT_INTENSITY_UNLIMITED) {
        return false;
    }
    window_age(window, now_ns);
    if (window->count >= window->limit) {
        return true;
    }
    weft_assert(window->count < window->capacity);
    uint64_t at = (uint64_t)window->first + window->count++;
    window->times[at >= window->capacity ? at - window->capacity : at] = now_ns;
    return false;
}

/* ---- walks --------------------------------------------------------------------------------- */

static void walk(struct weft__plan *plan, enum weft__plan_walk direction, uint32_t cursor,
                 uint32_t bound) {
    plan->walk = direction;
    plan->cursor = cursor;
    plan->bound = bound;
}

static void operate(struct weft__plan *plan, enum weft__plan_purpose purpose) {
    weft_assert(plan->purpose == WEFT__PLAN_IDLE);
    weft_assert(plan->busy == 0);
    plan->purpose = purpose;
}

static void be_idle(struct weft__plan *plan) {
    weft_assert(plan->purpose != WEFT__PLAN_END);
    plan->purpose = WEFT__PLAN_IDLE;
    walk(plan, WEFT__PLAN_STAND, 0, 0);
}

/* The child at the cursor, which moves on. */
static uint32_t step(struct weft__plan *plan) {
    uint32_t child = plan->cursor;
    const struct weft__plan_child *record = &plan->children[child];
    uint32_t next = plan->walk == WEFT__PLAN_BACK ? record->previous : record->next;
    plan->cursor = child == plan->bound ? 0 : next;
    return child;
}

static struct weft__plan_action act(enum weft__plan_verb verb, uint32_t child) {
    return (struct weft__plan_action){.verb = verb, .child = child};
}

/* One child of a walk back. DO_NOTHING: there is nothing to be done for it. */
static struct weft__plan_action stop_step(struct weft__plan *plan) {
    uint32_t child = step(plan);
    switch ((enum weft__plan_status)plan->children[child].status) {
    case WEFT__PLAN_STARTING:
    case WEFT__PLAN_RUNNING:
        set_status(plan, child, WEFT__PLAN_STOPPING);
        if (plan->purpose == WEFT__PLAN_END && is_simple(plan)) {
            plan->told++; /* all at once: it is not waited for */
        } else {
            plan->busy = child;
        }
        return act(WEFT__PLAN_DO_STOP, child);
    case WEFT__PLAN_STOPPED:
    case WEFT__PLAN_ENDED:
    case WEFT__PLAN_RESTARTING:
        return drop(plan, child, leaves_stopped(plan, child)) ? act(WEFT__PLAN_DO_FORGET, child)
                                                              : act(WEFT__PLAN_DO_NOTHING, 0);
    case WEFT__PLAN_STOPPING:
        break;
    }
    weft_assert(!"a child is stopped twice");
    return act(WEFT__PLAN_DO_NOTHING, 0);
}

static struct weft__plan_action start_step(struct weft__plan *plan) {
    uint32_t child = step(plan);
    weft_assert(plan->children[child].status == WEFT__PLAN_STOPPED);
    set_status(plan, child, WEFT__PLAN_STARTING);
    plan->busy = child;
    return act(WEFT__PLAN_DO_START, child);
}

/* One child of a walk of those that are to be killed: some have ended meanwhile. */
static struct weft__plan_action kill_step(struct weft__plan *plan) {
    uint32_t child = step(plan);
    bool told = plan->children[child].status == WEFT__PLAN_STOPPING;
    return act(told ? WEFT__PLAN_DO_KILL : WEFT__PLAN_DO_NOTHING, child);
}

/* A walk is through: the next one begins, or the operation is over. */
static void arrive(struct weft__plan *plan) {
    if (plan->purpose == WEFT__PLAN_END) {
        weft_assert(plan->total == 0);
        plan->ended = true;
    } else if (plan->purpose == WEFT__PLAN_RESTART && plan->walk == WEFT__PLAN_BACK) {
        uint32_t first = plan->from != 0 ? plan->from : plan->children[0].next;
        walk(plan, WEFT__PLAN_FORWARD, first, 0);
    } else {
        be_idle(plan);
    }
}

/* Whatever is under way is given up for the end, but for a child that is being stopped. */
static bool turn_to_end(struct weft__plan *plan) {
    if (plan->busy != 0 && plan->children[plan->busy].status == WEFT__PLAN_STOPPING) {
        return false;
    }
    plan->busy = 0; /* if it is being started, the walk will come to it */
    plan->ending = false;
    plan->purpose = WEFT__PLAN_END;
    walk(plan, WEFT__PLAN_BACK, plan->children[0].previous, 0);
    return true;
}

/* What keeps a plan from going on, whatever the children; DO_START: nothing does. */
static enum weft__plan_verb held_up(struct weft__plan *plan) {
    if (plan->ended) {
        return WEFT__PLAN_DO_END;
    }
    if (plan->ending && !turn_to_end(plan)) {
        return WEFT__PLAN_DO_WAIT;
    }
    if (plan->busy != 0 || (plan->cursor == 0 && plan->told != 0)) {
        return WEFT__PLAN_DO_WAIT;
    }
    return plan->purpose == WEFT__PLAN_IDLE ? WEFT__PLAN_DO_NOTHING : WEFT__PLAN_DO_START;
}

struct weft__plan_action weft__plan_next(struct weft__plan *plan, uint32_t *steps) {
    for (;;) { /* bounded by steps, and by two walks */
        enum weft__plan_verb verb = held_up(plan);
        if (verb != WEFT__PLAN_DO_START) {
            return act(verb, 0);
        }
        if (plan->cursor == 0) {
            arrive(plan);
            continue;
        }
        if (*steps == 0) {
            return act(WEFT__PLAN_DO_YIELD, 0);
        }
        (*steps)--;
        struct weft__plan_action action = plan->walk == WEFT__PLAN_BACK      ? stop_step(plan)
                                          : plan->walk == WEFT__PLAN_FORWARD ? start_step(plan)
                                                                             : kill_step(plan);
        if (action.verb != WEFT__PLAN_DO_NOTHING) {
            return action;
        }
    }
}

/* ---- what happened to a child -------------------------------------------------------------- */

void weft__plan_up(struct weft__plan *plan, uint32_t child) {
    if (plan->children[child].status != WEFT__PLAN_STARTING) {
        return; /* it was told to stop meanwhile */
    }
    set_status(plan, child, WEFT__PLAN_RUNNING);
    plan->busy = plan->busy == child ? 0 : plan->busy;
}

bool weft__plan_ignored(struct weft__plan *plan, uint32_t child) {
    weft_assert(plan->children[child].status == WEFT__PLAN_STARTING);
    plan->busy = plan->busy == child ? 0 : plan->busy;
    return drop(plan, child, is_simple(plan) || is_temporary(&plan->children[child]));
}

bool weft__plan_failed(struct weft__plan *plan, uint32_t child) {
    weft_assert(plan->children[child].status == WEFT__PLAN_STARTING);
    plan->busy = plan->busy == child ? 0 : plan->busy;
    switch ((enum weft__plan_purpose)plan->purpose) {
    case WEFT__PLAN_BEGIN:
        plan->failed = true;
        plan->ending = true;
        break;
    case WEFT__PLAN_RESTART:
        set_status(plan, child, WEFT__PLAN_RESTARTING);
        be_idle(plan);
        return false;
    case WEFT__PLAN_ADD_ONE:
        be_idle(plan);
        return drop(plan, child, true);
    case WEFT__PLAN_START_ONE:
        be_idle(plan);
        break;
    case WEFT__PLAN_END:
        break;
    case WEFT__PLAN_IDLE:
    case WEFT__PLAN_STOP_ONE:
        weft_assert(!"nobody is being started");
    }
    return drop(plan, child, false);
}

bool weft__plan_exited(struct weft__plan *plan, uint32_t child, bool in_order) {
    struct weft__plan_child *record = &plan->children[child];
    weft_assert(record->status != WEFT__PLAN_STARTING);
    if (record->status == WEFT__PLAN_RUNNING) {
        record->in_order = in_order;
        set_status(plan, child, WEFT__PLAN_ENDED);
        return false;
    }
    if (record->status != WEFT__PLAN_STOPPING) {
        return false;
    }
    if (plan->busy == child) {
        plan->busy = 0;
    } else {
        weft_assert(plan->told != 0);
        plan->told--;
    }
    return drop(plan, child, leaves_stopped(plan, child));
}

/* ---- operations ---------------------------------------------------------------------------- */

void weft__plan_begin(struct weft__plan *plan) {
    operate(plan, WEFT__PLAN_BEGIN);
    walk(plan, WEFT__PLAN_FORWARD, plan->children[0].next, 0);
}

void weft__plan_start_one(struct weft__plan *plan, uint32_t child, bool new) {
    operate(plan, new ? WEFT__PLAN_ADD_ONE : WEFT__PLAN_START_ONE);
    walk(plan, WEFT__PLAN_FORWARD, child, child);
}

void weft__plan_stop_one(struct weft__plan *plan, uint32_t child) {
    operate(plan, WEFT__PLAN_STOP_ONE);
    walk(plan, WEFT__PLAN_BACK, child, child);
}

void weft__plan_end(struct weft__plan *plan) {
    plan->ending = plan->purpose != WEFT__PLAN_END;
}

void weft__plan_kill(struct weft__plan *plan) {
    weft_assert(plan->purpose == WEFT__PLAN_END);
    weft_assert(plan->cursor == 0); /* all were told */
    walk(plan, WEFT__PLAN_KILL, plan->children[0].next, 0);
}

/* ---- what waits ---------------------------------------------------------------------------- */

uint64_t weft__plan_number(struct weft__plan *plan) {
    return ++plan->number;
}

void weft__plan_retry(struct weft__plan *plan) {
    struct weft__plan_child *children = plan->children;
    uint32_t child = WEFT__PLAN_RETRIES;
    uint32_t before = children[child].wait_previous;
    while (before != WEFT__PLAN_RETRIES && children[before].wait_number > plan->due) {
        child = before; /* bounded by the failures since the last time */
        before = children[child].wait_previous;
    }
    for (; child != WEFT__PLAN_RETRIES; child = children[child].wait_next) { /* the same */
        children[child].wait_number = ++plan->number; /* behind what came meanwhile */
    }
    plan->due = plan->number;
}

bool weft__plan_has_retries(const struct weft__plan *plan) {
    uint32_t newest = plan->children[WEFT__PLAN_RETRIES].wait_previous;
    return newest != WEFT__PLAN_RETRIES && plan->children[newest].wait_number > plan->due;
}

uint32_t weft__plan_waiting(const struct weft__plan *plan, uint64_t *ret_number) {
    const struct weft__plan_child *children = plan->children;
    uint32_t ended = children[WEFT__PLAN_NONE].wait_next;
    uint32_t retry = children[WEFT__PLAN_RETRIES].wait_next;
    if (retry == WEFT__PLAN_RETRIES || children[retry].wait_number > plan->due) {
        retry = 0;
    }
    uint32_t child =
        ended == 0 || (retry != 0 && children[retry].wait_number < children[ended].wait_number)
            ? retry
            : ended;
    if (child != 0) {
        *ret_number = children[child].wait_number;
    }
    return child;
}

/* A child is to be started again, with those its strategy takes with it. */
static void restart(struct weft__plan *plan, uint32_t child) {
    operate(plan, WEFT__PLAN_RESTART);
    switch ((enum weft_strategy_kind)plan->strategy) {
    case WEFT_ONE_FOR_ONE:
    case WEFT_SIMPLE_ONE_FOR_ONE:
        walk(plan, WEFT__PLAN_FORWARD, child, child);
        return;
    case WEFT_ONE_FOR_ALL:
        plan->from = 0;
        walk(plan, WEFT__PLAN_BACK, plan->children[0].previous, 0);
        return;
    case WEFT_REST_FOR_ONE:
        plan->from = child;
        walk(plan, WEFT__PLAN_BACK, plan->children[0].previous, child);
        return;
    }
    weft_assert(!"unknown strategy");
}

/* Does the end of a child, which does not run any more, end the supervisor? */
static bool ends_all(const struct weft__plan *plan, bool significant) {
    return significant && (plan->auto_shutdown == WEFT_AUTO_ANY ||
                           (plan->auto_shutdown == WEFT_AUTO_ALL && plan->significant == 0));
}

struct weft__plan_verdict weft__plan_judge(struct weft__plan *plan, uint32_t child,
                                           uint64_t now_ns) {
    const struct weft__plan_child *record = &plan->children[child];
    weft_assert(plan->purpose == WEFT__PLAN_IDLE);
    weft_assert(record->status == WEFT__PLAN_ENDED || record->status == WEFT__PLAN_RESTARTING);
    bool again = record->status == WEFT__PLAN_RESTARTING ||
                 record->restart == WEFT_RESTART_PERMANENT ||
                 (record->restart == WEFT_RESTART_TRANSIENT && !record->in_order);
    bool significant = record->significant;
    struct weft__plan_verdict verdict = {.fate = WEFT__PLAN_KEEP};
    if (again && !weft__plan_window_add(&plan->window, now_ns)) {
        set_status(plan, child, WEFT__PLAN_STOPPED);
        restart(plan, child);
        verdict.fate = WEFT__PLAN_AGAIN;
        return verdict;
    }
    verdict.forget = drop(plan, child, is_simple(plan) || is_temporary(record));
    if (again) {
        verdict.fate = WEFT__PLAN_TOO_MANY;
    } else if (ends_all(plan, significant)) {
        verdict.fate = WEFT__PLAN_AUTO;
    }
    plan->ending = verdict.fate != WEFT__PLAN_KEEP;
    return verdict;
}

void weft__plan_init(struct weft__plan *plan, const weft_supervisor_def *def,
                     struct weft__plan_child *children) {
    bool defaults = def->intensity == 0 && def->period_ns == 0;
    *plan = (struct weft__plan){
        .children = children,
        .strategy = def->strategy,
        .auto_shutdown = def->auto_shutdown,
        .window = {.limit = defaults ? DEFAULT_INTENSITY : def->intensity,
                   .period_ns = defaults ? DEFAULT_PERIOD_NS : def->period_ns},
    };
    children[WEFT__PLAN_NONE] = (struct weft__plan_child){0};
    children[WEFT__PLAN_RETRIES] = (struct weft__plan_child){.wait_previous = WEFT__PLAN_RETRIES,
                                                             .wait_next = WEFT__PLAN_RETRIES};
}
