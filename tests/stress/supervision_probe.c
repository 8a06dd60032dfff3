/* SPDX-License-Identifier: MIT
 *
 * The half of the supervision program that looks: tests/stress/supervision.h. First at a tree that
 * has just been raged in, until it is as specified; then at what the end of one worker or house does
 * in it. Nothing else happens meanwhile, so what each end must do is known exactly.
 */
#include "supervision.h"

/* ---- what must be so when it is quiet ------------------------------------------------------- */

static bool is_settled(const struct worker *worker) {
    uint32_t lives = atomic_load(&worker->lives);
    return lives == 1 || (lives == 0 && worker->restart != WEFT_RESTART_PERMANENT);
}

/* Requests may have left permanent ones stopped: they are started again. Nobody else is, and not
 * those of a house that has been started again since, which runs all of them. */
static void mend_house(uint32_t house) {
    weft_pid pid = supervision_house(house);
    for (uint32_t i = 0; i < HOUSE && strategy_of(house) != WEFT_SIMPLE_ONE_FOR_ONE; i++) {
        const struct worker *worker = &world.workers[house * HOUSE + i];
        if (worker->restart == WEFT_RESTART_PERMANENT && atomic_load(&worker->lives) == 0 &&
            worker->stopper == slot_gen(pid)) {
            supervision_order(pid, WEFT_SUPERVISOR_RESTART, world.ids[house * HOUSE + i]);
        }
    }
}

static bool all_settled(void) {
    bool settled = true;
    for (uint32_t house = 0; house < world.houses; house++) {
        weft_supervisor_answer answer;
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_COUNT};
        weft_pid pid = supervision_house(house);
        settled = settled && !weft_pid_is_none(pid) &&
                  supervision_ask(pid, request, &answer) == 0 && answer.restarting == 0;
    }
    for (uint32_t i = 0; i < world.count && settled; i++) {
        settled = is_settled(&world.workers[i]);
        if (!settled) {
            mend_house(i / HOUSE);
        }
    }
    return settled;
}

/* What was sent during the rage may still wait in a worker, which crashes when it comes to it: so
 * these say no, and are asked again until the deadline. */

/* Has a worker of this number gone for good? */
static bool is_over(uint32_t number) {
    return world.workers[number].restart == WEFT_RESTART_TEMPORARY &&
           atomic_load(&world.workers[number].lives) == 0;
}

/* Is a child the worker of this number? One of a house that was killed may have run its init, and
 * died, after its successor of the next house: then the worker has the wrong pid, and is asked. */
static bool is_worker(weft_pid pid, uint32_t number) {
    uint64_t known = atomic_load(&world.workers[number].pid);
    if (slot_gen(pid) == known) {
        return true;
    }
    weft_msg *reply;
    if (weft_runtime_call(world.runtime, pid, TAG_WHO, NULL, 0, 60 * S_NS, &reply) != 0) {
        return false;
    }
    bool same = memcmp(weft_msg_data(reply), &number, sizeof(number)) == 0;
    weft_runtime_msg_release(world.runtime, &reply);
    if (same) { /* unless it has been started again meanwhile */
        (void)atomic_compare_exchange_strong(&world.workers[number].pid, &known, slot_gen(pid));
    }
    return same;
}

/* The children of a house in their order, beside what lives. */
static bool is_named_right(uint32_t house, weft_pid pid, uint32_t count) {
    uint32_t number = house * HOUSE;
    bool right = true;
    for (uint32_t i = 0; i < count && right; i++, number++) {
        weft_supervisor_answer answer;
        weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_WHICH, .index = i};
        if (supervision_ask(pid, request, &answer) != 0) {
            return false;
        }
        while (number < (house + 1) * HOUSE && strcmp(answer.id, world.ids[number]) != 0 &&
               is_over(number)) {
            number++;
        }
        if (number == (house + 1) * HOUSE || strcmp(answer.id, world.ids[number]) != 0) {
            return false;
        }
        const struct worker *worker = &world.workers[number];
        bool lives = atomic_load(&worker->lives) == 1;
        right = (answer.state == WEFT_CHILD_RUNNING) == lives &&
                (!lives || is_worker(answer.pid, number));
    }
    return right;
}

static bool is_whole(uint32_t house) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_COUNT};
    weft_pid pid = supervision_house(house);
    uint32_t living = 0;
    for (uint32_t i = 0; i < HOUSE; i++) {
        living += atomic_load(&world.workers[house * HOUSE + i].lives);
    }
    if (supervision_ask(pid, request, &answer) != 0 || answer.active != living) {
        return false;
    }
    if (strategy_of(house) != WEFT_SIMPLE_ONE_FOR_ONE) {
        return is_named_right(house, pid, answer.specs);
    }
    return answer.workers == living;
}

static bool are_whole(void) {
    bool whole = true;
    for (uint32_t house = 0; house < world.houses && whole; house++) {
        whole = is_whole(house);
    }
    return whole;
}

/* Everybody who lives is sent an echo, behind all that was sent before. */
static bool are_drained(void) {
    bool drained = true;
    for (uint32_t i = 0; i < world.count; i++) {
        struct worker *worker = &world.workers[i];
        atomic_store(&worker->echo, 0);
        if (atomic_load(&worker->lives) != 0) {
            drained =
                drained && weft_runtime_send(world.runtime, pid_of(worker), TAG_ECHO, NULL, 0) == 0;
        }
    }
    uint64_t until_ns = now_ns() + 20 * S_NS;
    for (uint32_t i = 0; i < world.count && drained; i++) {
        const struct worker *worker = &world.workers[i];
        while (atomic_load(&worker->lives) != 0 && atomic_load(&worker->echo) == 0 && drained) {
            drained = now_ns() < until_ns;
            sleep_ns(50000);
        }
    }
    return drained;
}

/* Until nothing is under way any more, and all is as it must be. When nobody has been started or has
 * ended for long and it is not, it will not be. */
void supervision_be_quiet(void) {
    uint64_t until_ns = now_ns() + 120 * S_NS;
    uint64_t stuck_ns = now_ns() + 20 * S_NS;
    do {
        uint64_t starts = atomic_load(&world.starts);
        uint64_t ends = atomic_load(&world.ends);
        bool right = all_settled() && are_whole() && are_drained();
        bool still = starts == atomic_load(&world.starts) && ends == atomic_load(&world.ends);
        if (right && still) {
            return;
        }
        sleep_ns(10000000);
        stuck_ns = still ? stuck_ns : now_ns() + 20 * S_NS;
    } while (now_ns() < until_ns && now_ns() < stuck_ns);
    for (uint32_t i = 0; i < world.count; i++) {
        if (!is_settled(&world.workers[i])) {
            supervision_fail("worker %u of strategy %u lives %u times", i, strategy_of(i / HOUSE),
                             atomic_load(&world.workers[i].lives));
        }
    }
    supervision_fail("the tree is not as its supervisors say");
}

/* ---- single ends in the quiet tree ----------------------------------------------------------- */

static void remember(uint32_t house, struct past *past) {
    past->house = supervision_house(house);
    past->starts = atomic_load(&world.starts);
    past->ends = atomic_load(&world.ends);
    for (uint32_t i = 0; i < HOUSE; i++) {
        past->pids[i] = atomic_load(&world.workers[house * HOUSE + i].pid);
        past->lives[i] = atomic_load(&world.workers[house * HOUSE + i].lives);
    }
}

/* A permanent worker of a house ends, in one way or another, and lives again. */
static uint32_t end_one(uint32_t house, const struct past *past) {
    uint64_t drawn = random_next(&world.random);
    uint32_t place = (uint32_t)(drawn >> 32) % HOUSE;
    place -= place % 10 >= 8 ? 2 : 0; /* of each ten the last two are not permanent */
    struct worker *worker = &world.workers[house * HOUSE + place];
    must(worker->restart == WEFT_RESTART_PERMANENT && past->lives[place] == 1);
    if (drawn % 4 == 0) {
        must(weft_runtime_kill_actor(world.runtime, pid_of(worker)) == 0);
    } else {
        must(weft_runtime_send(world.runtime, pid_of(worker), TAG_CRASH + drawn % 3, NULL, 0) == 0);
    }
    eventually(atomic_load(&worker->pid) != past->pids[place] && atomic_load(&worker->lives) == 1);
    return place;
}

/* Waits until a house, wherever it stands, has done what it had to. */
static weft_pid settled_house(uint32_t house) {
    weft_supervisor_answer answer;
    weft_supervisor_request request = {.verb = WEFT_SUPERVISOR_COUNT};
    weft_pid pid;
    eventually(!weft_pid_is_none(pid = supervision_house(house)) &&
               supervision_ask(pid, request, &answer) == 0);
    return pid;
}

static bool is_taken_along(uint32_t strategy, uint32_t place, uint32_t ended) {
    return strategy == WEFT_ONE_FOR_ALL || place == ended ||
           (strategy == WEFT_REST_FOR_ONE && place > ended);
}

/* After one has ended and its house has not: who was to go has gone, in reverse, and has come
 * again, in order; nothing happened to the others. */
static void check_row(uint32_t house, uint32_t ended, const struct past *past) {
    uint64_t started = past->starts;
    uint64_t gone = UINT64_MAX;
    for (uint32_t i = 0; i < HOUSE; i++) {
        const struct worker *worker = &world.workers[house * HOUSE + i];
        uint32_t lives = atomic_load(&worker->lives);
        bool same = atomic_load(&worker->pid) == past->pids[i];
        if (!is_taken_along(strategy_of(house), i, ended)) {
            must(same && lives == past->lives[i]);
            continue;
        }
        if (i != ended && past->lives[i] == 1) {
            must(atomic_load(&worker->gone) > past->ends && atomic_load(&worker->gone) < gone);
            gone = atomic_load(&worker->gone);
        }
        if (worker->restart == WEFT_RESTART_TEMPORARY) {
            must(lives == 0);
        } else {
            must(!same && lives == 1 && atomic_load(&worker->started) > started);
            started = atomic_load(&worker->started);
        }
    }
}

/* After a house has been started again all of its workers are others. */
static void check_fresh(uint32_t house, const struct past *past) {
    uint64_t started = past->starts;
    for (uint32_t i = 0; i < HOUSE; i++) {
        const struct worker *worker = &world.workers[house * HOUSE + i];
        must(atomic_load(&worker->lives) == 1 && atomic_load(&worker->pid) != past->pids[i]);
        must(atomic_load(&worker->started) > started);
        started = atomic_load(&worker->started);
    }
}

static void probe_row(uint32_t house) {
    struct past past;
    remember(house, &past);
    uint32_t ended = end_one(house, &past);
    must(weft_pid_equal(settled_house(house), past.house));
    check_row(house, ended, &past);
}

/* A house that is a child among others of its street has ended: what of the others? */
static void check_street(uint32_t ended, const weft_pid *houses) {
    uint32_t first = ended / STREET * STREET;
    uint32_t strategy = street_strategy_of(ended / STREET);
    for (uint32_t i = 0; i < STREET; i++) {
        bool same = weft_pid_equal(settled_house(first + i), houses[i]);
        must(same == !is_taken_along(strategy, i, ended - first));
    }
}

static void remember_street(uint32_t house, weft_pid *houses) {
    for (uint32_t i = 0; i < STREET; i++) {
        houses[i] = supervision_house(house / STREET * STREET + i);
    }
}

/* Workers of a house end until it does; from then on it bears exactly so many. */
static void probe_limit(uint32_t house) {
    struct past past;
    weft_pid houses[STREET];
    weft_msg *reply = NULL;
    uint32_t restarts = 0;
    do {
        must(restarts++ <= LIMIT);
        remember(house, &past);
        (void)end_one(house, &past);
    } while (weft_pid_equal(settled_house(house), past.house));
    for (uint32_t i = 0; i < LIMIT; i++) {
        probe_row(house);
    }
    remember(house, &past);
    if (is_in_street(house)) {
        remember_street(house, houses);
    }
    must(weft_runtime_call(world.runtime, world.watcher, TAG_WATCH, &past.house, sizeof(past.house),
                           60 * S_NS, &reply) == 0);
    weft_runtime_msg_release(world.runtime, &reply);
    (void)end_one(house, &past);
    must(!weft_pid_equal(settled_house(house), past.house));
    eventually(atomic_load(&world.ended_pid) == slot_gen(past.house));
    must(atomic_load(&world.ended_status) == WEFT_E_SHUTDOWN);
    check_fresh(house, &past);
    if (is_in_street(house)) {
        check_street(house, houses);
    }
}

static void probe_street(uint32_t house) {
    weft_pid houses[STREET];
    uint32_t place = house % STREET;
    remember_street(house, houses);
    must(weft_runtime_stop_actor(world.runtime, houses[place], WEFT_E_SHUTDOWN) == 0);
    eventually(!weft_pid_equal(settled_house(house), houses[place]));
    check_street(house, houses);
}

void supervision_probe(void) {
    uint32_t rows[4] = {0};
    uint32_t limits[4] = {0};
    uint32_t streets[4] = {0};
    uint64_t first = random_next(&world.random);
    for (uint32_t i = 0; i < world.houses; i++) {
        uint32_t house = (uint32_t)((first + i) % world.houses);
        uint32_t strategy = strategy_of(house);
        if (is_in_street(house) && i % 3 == 0 &&
            streets[street_strategy_of(house / STREET)]++ < LIMIT_PROBES) {
            probe_street(house);
        }
        if (strategy == WEFT_SIMPLE_ONE_FOR_ONE) {
            continue;
        }
        if (is_limited(house) && limits[strategy]++ < LIMIT_PROBES) {
            probe_limit(house);
        } else if (!is_limited(house) && rows[strategy]++ < PROBES) {
            probe_row(house);
        }
    }
}
