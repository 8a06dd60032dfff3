/* SPDX-License-Identifier: MIT
 *
 * The simulator's core: who runs next, what time it is, and the hash of all that. Runtimes reach
 * it through the environment in sim_env.c only; tests through weft/sim.h. One OS thread.
 *
 * How a seed becomes a schedule. Every thread has a weight, so that some are slow for a while; a
 * thread that is chosen may be held back instead, as by a busy machine, while time goes on and the
 * others overtake it; one seed in four also wakes parked threads for nothing, which the environment
 * allows. Inside a step, at the points of a build with WEFT_SIM_POINTS, a burst of steps of other
 * threads may run; each seed has its own set of points that do so. Nesting ends at
 * options.nest_max, and a thread that is being stepped is never stepped again on top of itself, so
 * the C stack holds at most as many steps as there are threads.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_internal.h"

enum { SIM_MAGIC = 0x73696d31, SIM_THREAD_MAGIC = 0x73696d32 };

enum sim_stream {
    SIM_STREAM_SCHEDULE = 1,
    SIM_STREAM_TIME = 2,
    SIM_STREAM_PAUSE = 3,
    SIM_STREAM_RUNTIME = 4,
    SIM_STREAM_TEST = 5,
    SIM_STREAM_SHAPE = 6,
};

void weft__sim_fatal(const weft_sim *sim, const char *what) {
    (void)fprintf(stderr, "weft-sim: seed %llu, step %llu: %s\n",
                  (unsigned long long)sim->options.seed, (unsigned long long)sim->steps, what);
    abort();
}

void weft__sim_fold(weft_sim *sim, uint32_t event, uint64_t first, uint64_t second) {
    if (sim->observe != NULL) {
        sim->observe(sim->observe_cookie, event, first, second);
    }
    uint64_t hash = sim->hash;
    hash = sim_mix64(hash ^ event) + UINT64_C(0x9e3779b97f4a7c15);
    hash = sim_mix64(hash ^ first) + UINT64_C(0x9e3779b97f4a7c15);
    sim->hash = sim_mix64(hash ^ second);
}

void weft__sim_observe(weft_sim *sim, sim_observe_fn observe, void *cookie) {
    sim->observe = observe;
    sim->observe_cookie = cookie;
}

/* ---- places of threads --------------------------------------------------------------------- */

static int list_reserve(sim_list *list, uint32_t count) {
    if (count <= list->room) {
        return 0;
    }
    uint32_t room = list->room == 0 ? 16 : list->room * 2;
    sim_thread **items = realloc(list->items, room * sizeof(*items));
    if (items == NULL) {
        return -ENOMEM;
    }
    list->items = items;
    list->room = room;
    return 0;
}

static void ready_add(sim_thread *thread) {
    sim_list *ready = &thread->sim->ready;
    thread->place = SIM_READY;
    thread->parked = false;
    thread->place_index = ready->count;
    ready->items[ready->count++] = thread;
}

static void ready_remove(sim_thread *thread) {
    sim_list *ready = &thread->sim->ready;
    sim_thread *last = ready->items[--ready->count];
    ready->items[thread->place_index] = last;
    last->place_index = thread->place_index;
}

static bool heap_before(const sim_thread *left, const sim_thread *right) {
    return left->due_ns != right->due_ns ? left->due_ns < right->due_ns : left->tie < right->tie;
}

static void heap_set(sim_list *heap, uint32_t index, sim_thread *thread) {
    heap->items[index] = thread;
    thread->place_index = index;
}

static void heap_up(sim_list *heap, uint32_t index) {
    sim_thread *thread = heap->items[index];
    while (index > 0 && heap_before(thread, heap->items[(index - 1) / 2])) {
        heap_set(heap, index, heap->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_set(heap, index, thread);
}

static void heap_down(sim_list *heap, uint32_t index) {
    sim_thread *thread = heap->items[index];
    for (uint32_t child = 2 * index + 1; child < heap->count; child = 2 * index + 1) {
        if (child + 1 < heap->count && heap_before(heap->items[child + 1], heap->items[child])) {
            child++;
        }
        if (!heap_before(heap->items[child], thread)) {
            break;
        }
        heap_set(heap, index, heap->items[child]);
        index = child;
    }
    heap_set(heap, index, thread);
}

static void sleepers_add(sim_thread *thread, uint64_t due_ns) {
    weft_sim *sim = thread->sim;
    thread->place = SIM_SLEEPING;
    thread->due_ns = due_ns;
    thread->tie = sim_prng_next(&sim->schedule);
    sim->sleepers.items[sim->sleepers.count] = thread;
    heap_up(&sim->sleepers, sim->sleepers.count++);
}

static void sleepers_remove(sim_thread *thread) {
    sim_list *heap = &thread->sim->sleepers;
    uint32_t index = thread->place_index;
    sim_thread *last = heap->items[--heap->count];
    if (last == thread) {
        return;
    }
    heap_set(heap, index, last);
    heap_down(heap, index);
    heap_up(heap, last->place_index);
}

/* ---- threads ------------------------------------------------------------------------------- */

int weft__sim_thread_add(weft_sim *sim, const weft_env_thread *body, sim_thread **ret_thread) {
    uint32_t count = sim->threads.count + 1;
    if (count > SIM_THREADS_MAX) {
        return -EAGAIN;
    }
    if (list_reserve(&sim->threads, count) < 0 || list_reserve(&sim->ready, count) < 0 ||
        list_reserve(&sim->sleepers, count) < 0) {
        return -ENOMEM;
    }
    sim_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        return -ENOMEM;
    }
    thread->magic = SIM_THREAD_MAGIC;
    thread->sim = sim;
    thread->id = sim->threads_made++;
    thread->body = *body;
    (void)snprintf(thread->name, sizeof(thread->name), "%s", body->name != NULL ? body->name : "");
    thread->body.name = thread->name;
    thread->weight = (uint32_t)sim_prng_magnitude(&sim->schedule, 4);
    static const uint32_t share[4] = {0, 50, 100, 200};
    thread->pause_percent =
        sim->options.pause_percent * share[sim_prng_below(&sim->pause, 4)] / 100;
    sim->threads.items[sim->threads.count++] = thread;
    if (body->driver != NULL) {
        ((sim_driver *)body->driver)->owner = thread;
    }
    ready_add(thread);
    weft__sim_fold(sim, SIM_EVENT_START, thread->id, (uint64_t)body->kind);
    *ret_thread = thread;
    return 0;
}

void weft__sim_thread_forget(sim_thread *thread) {
    weft_sim *sim = thread->sim;
    for (uint32_t i = 0; i < sim->threads.count; i++) {
        if (sim->threads.items[i] == thread) {
            sim->threads.items[i] = sim->threads.items[--sim->threads.count];
            break;
        }
    }
    thread->magic = 0;
    free(thread);
}

void weft__sim_thread_wake(sim_thread *thread) {
    if (thread->magic != SIM_THREAD_MAGIC || !thread->parked) {
        weft__sim_fatal(thread->sim, "woken thread is not parked");
    }
    sim_driver *driver = thread->body.driver;
    if (driver != NULL) {
        driver->sleeper = NULL;
    }
    if (thread->place == SIM_SLEEPING) {
        sleepers_remove(thread);
    }
    ready_add(thread);
}

/* Its driver belongs to whoever uses it next. */
static void thread_leave(sim_thread *thread) {
    sim_driver *driver = thread->body.driver;
    if (driver != NULL && driver->owner == thread) {
        driver->owner = NULL;
    }
}

static void thread_park(sim_thread *thread, uint64_t deadline_ns) {
    sim_driver *driver = thread->body.driver;
    if (driver != NULL && (driver->token || driver->ready_count > 0)) {
        driver->token = false;
        ready_add(thread);
        return;
    }
    if (driver != NULL) {
        if (driver->sleeper != NULL) {
            weft__sim_fatal(thread->sim, "two threads park on one driver");
        }
        driver->sleeper = thread;
    }
    thread->parked = true;
    thread->place = SIM_PARKED;
    if (deadline_ns != UINT64_MAX) {
        sleepers_add(thread, deadline_ns);
    }
}

/* ---- time ---------------------------------------------------------------------------------- */

void weft__sim_due(weft_sim *sim) {
    weft__sim_net_advance(sim);
    while (sim->sleepers.count > 0 && sim->sleepers.items[0]->due_ns <= sim->now_ns) {
        sim_thread *thread = sim->sleepers.items[0];
        if (thread->parked) {
            weft__sim_thread_wake(thread);
        } else {
            sleepers_remove(thread);
            ready_add(thread);
        }
    }
}

bool weft__sim_jump(weft_sim *sim, uint64_t until_ns) {
    uint64_t due_ns = weft__sim_net_due_ns(sim);
    if (sim->sleepers.count > 0 && sim->sleepers.items[0]->due_ns < due_ns) {
        due_ns = sim->sleepers.items[0]->due_ns;
    }
    if (due_ns == UINT64_MAX) {
        return false;
    }
    due_ns = due_ns < until_ns ? due_ns : until_ns;
    if (due_ns > sim->now_ns) {
        weft__sim_fold(sim, SIM_EVENT_JUMP, sim->now_ns, due_ns);
        sim->now_ns = due_ns;
    }
    weft__sim_due(sim);
    return true;
}

/* ---- choice -------------------------------------------------------------------------------- */

/* Holds a chosen thread back for a while: true when it was. */
static bool choose_hold(weft_sim *sim, sim_thread *thread) {
    if (thread->pause_percent == 0 || !sim_prng_percent(&sim->pause, thread->pause_percent)) {
        return false;
    }
    uint64_t pause_ns = sim_prng_magnitude(&sim->pause, SIM_PAUSE_BITS) * sim->options.step_ns;
    ready_remove(thread);
    sleepers_add(thread, sim->now_ns + pause_ns);
    weft__sim_fold(sim, SIM_EVENT_HOLD, thread->id, thread->due_ns);
    return true;
}

/* A parked thread may wake for nothing; the runtimes must bear it. */
static void choose_stray(weft_sim *sim) {
    if (!sim->stray_wakes || sim_prng_below(&sim->pause, 256) != 0) {
        return;
    }
    sim_thread *thread = sim->threads.items[sim_prng_below(&sim->pause, sim->threads.count)];
    if (thread->parked) {
        weft__sim_fold(sim, SIM_EVENT_STRAY, thread->id, 0);
        weft__sim_thread_wake(thread);
    }
}

/* A ready thread by weight, or NULL. */
static sim_thread *choose(weft_sim *sim) {
    for (uint32_t tries = 0; sim->ready.count > 0; tries++) {
        sim_thread *thread = sim->ready.items[sim_prng_below(&sim->schedule, sim->ready.count)];
        if (tries < SIM_CHOICES_MAX) {
            if (sim->ready.count > 1 &&
                sim_prng_below(&sim->schedule, SIM_WEIGHT_MAX) >= thread->weight) {
                continue;
            }
            if (choose_hold(sim, thread)) {
                continue;
            }
        }
        if (sim_prng_below(&sim->schedule, 128) == 0) {
            thread->weight = (uint32_t)sim_prng_magnitude(&sim->schedule, 4);
        }
        return thread;
    }
    return NULL;
}

bool weft__sim_step(weft_sim *sim) {
    choose_stray(sim);
    sim_thread *thread = choose(sim);
    if (thread == NULL) {
        return false;
    }
    ready_remove(thread);
    thread->place = SIM_RUNNING;
    uint64_t deadline_ns = UINT64_MAX;
    sim_thread *below = sim->running;
    sim->running = thread;
    sim->depth++;
    sim->steps++;
    enum weft_step answer = thread->body.step(thread->body.arg, &deadline_ns);
    sim->depth--;
    sim->running = below;
    if (sim->depth == 0) {
        sim->relaxed = 0;
    }
    sim->now_ns += sim_prng_below(&sim->time, sim->options.step_ns + 1);
    weft__sim_fold(sim, SIM_EVENT_STEP, ((uint64_t)sim->depth << 32) | thread->id,
                   (sim->now_ns << 2) | (uint64_t)answer);
    switch (answer) {
    case WEFT_STEP_RAN:
    case WEFT_STEP_IDLE:
        ready_add(thread);
        break;
    case WEFT_STEP_PARK:
        thread_park(thread, deadline_ns);
        break;
    case WEFT_STEP_EXIT:
        thread->place = SIM_EXITED;
        thread_leave(thread);
        break;
    default:
        weft__sim_fatal(sim, "a step answered something else");
    }
    weft__sim_due(sim);
    return true;
}

/* ---- public -------------------------------------------------------------------------------- */

/* Each seed has its own set of points where others may come in between, some often, some rarely. */
static void create_points(weft_sim *sim) {
    static const uint32_t permille[8] = {0, 0, 0, 10, 30, 100, 300, 600};
    struct sim_prng shape;
    sim_prng_init(&shape, sim->options.seed, SIM_STREAM_SHAPE);
    for (uint32_t i = 0; i < SIM_POINTS; i++) {
        sim->point_permille[i] = permille[sim_prng_below(&shape, 8)];
    }
    sim->stray_wakes = sim->options.pause_percent > 0 && sim_prng_below(&shape, 4) == 0;
    sim->wall_offset_ns =
        UINT64_C(1700000000000000000) + sim_prng_below(&shape, UINT64_C(1000000000000000));
}

static int create_options(const weft_sim_options *options, weft_sim_options *ret_options) {
    static const weft_sim_options zero;
    *ret_options = zero;
    if (options == NULL) {
        return 0;
    }
    size_t size = options->struct_size;
    if (size < sizeof(size)) {
        return -EINVAL;
    }
    if (size > sizeof(*options)) {
        const unsigned char *bytes = (const unsigned char *)options;
        for (size_t i = sizeof(*options); i < size; i++) {
            if (bytes[i] != 0) {
                return -E2BIG;
            }
        }
        size = sizeof(*options);
    }
    memcpy(ret_options, options, size);
    const uint32_t permille[] = {
        ret_options->short_permille,     ret_options->starve_permille,
        ret_options->rearm_permille,     ret_options->reset_permille,
        ret_options->connect_permille,   ret_options->accept_permille,
        ret_options->late_permille,      ret_options->open_permille,
        ret_options->file_permille,      ret_options->loss_permille,
        ret_options->duplicate_permille, ret_options->reorder_permille,
        ret_options->offset_permille,
    };
    for (size_t i = 0; i < sizeof(permille) / sizeof(permille[0]); i++) {
        if (permille[i] > 1000) {
            return -EINVAL;
        }
    }
    return ret_options->pause_percent > 100 ? -EINVAL : 0;
}

int weft_sim_create(const weft_sim_options *options, weft_sim **ret_sim) {
    if (ret_sim == NULL) {
        return -EINVAL;
    }
    weft_sim_options copy;
    int status = create_options(options, &copy);
    if (status < 0) {
        return status;
    }
    weft_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL) {
        return -ENOMEM;
    }
    sim->magic = SIM_MAGIC;
    sim->options = copy;
    sim->options.step_ns = copy.step_ns != 0 ? copy.step_ns : 200;
    sim->now_ns = copy.start_ns != 0 ? copy.start_ns : UINT64_C(1000000000);
    sim->hash = sim_mix64(copy.seed);
    sim_prng_init(&sim->schedule, copy.seed, SIM_STREAM_SCHEDULE);
    sim_prng_init(&sim->time, copy.seed, SIM_STREAM_TIME);
    sim_prng_init(&sim->pause, copy.seed, SIM_STREAM_PAUSE);
    sim_prng_init(&sim->runtime, copy.seed, SIM_STREAM_RUNTIME);
    sim_prng_init(&sim->test, copy.seed, SIM_STREAM_TEST);
    create_points(sim);
    weft__sim_env_init(sim);
    if (weft__sim_net_init(sim) < 0) {
        free(sim);
        return -ENOMEM;
    }
    *ret_sim = sim;
    return 0;
}

void weft_sim_destroy(weft_sim **sim) {
    if (sim == NULL || *sim == NULL) {
        return;
    }
    weft_sim *old = *sim;
    if (old->magic != SIM_MAGIC || old->depth != 0) {
        weft__sim_fatal(old, "destroyed twice or from inside");
    }
    if (old->threads.count != 0) {
        weft__sim_fatal(old, "destroyed while a runtime still has threads");
    }
    if (old->drivers_alive != 0) {
        weft__sim_fatal(old, "destroyed while a runtime still has drivers");
    }
    weft__sim_net_fini(old);
    free(old->threads.items);
    free(old->ready.items);
    free(old->sleepers.items);
    old->magic = 0;
    free(old);
    *sim = NULL;
}

weft_env *weft_sim_env(weft_sim *sim) {
    return &sim->env;
}

uint64_t weft_sim_now_ns(const weft_sim *sim) {
    return sim->now_ns;
}

uint64_t weft_sim_hash(const weft_sim *sim) {
    return sim->hash;
}

uint64_t weft_sim_random(weft_sim *sim) {
    return sim_prng_next(&sim->test);
}

enum weft_sim_result weft_sim_run(weft_sim *sim, uint64_t max_steps, uint64_t until_ns,
                                  bool (*until)(void *arg), void *arg) {
    if (sim->depth != 0) {
        weft__sim_fatal(sim, "weft_sim_run called from inside a step");
    }
    if (until != NULL && until(arg)) {
        return WEFT_SIM_DONE;
    }
    for (uint64_t step = 0; step < max_steps;) {
        if (sim->now_ns >= until_ns) {
            return WEFT_SIM_TIME;
        }
        if (!weft__sim_step(sim)) {
            if (!weft__sim_jump(sim, until_ns)) {
                if (until_ns == UINT64_MAX) {
                    return WEFT_SIM_QUIET;
                }
                sim->now_ns =
                    until_ns; /* what waits outside, as a weft_cq does, has deadlines too */
            }
            continue;
        }
        step++;
        if (until != NULL && until(arg)) {
            return WEFT_SIM_DONE;
        }
    }
    return WEFT_SIM_STEPS;
}

int weft_sim_stop(weft_sim *sim, weft_runtime *runtime, uint64_t max_steps) {
    for (uint64_t steps = 0;;) {
        int status = weft_runtime_stop(runtime, 0);
        if (status != -ETIMEDOUT || steps >= max_steps) {
            return status;
        }
        enum weft_sim_result result = weft_sim_run(sim, SIM_STOP_STEPS, UINT64_MAX, NULL, NULL);
        steps = result == WEFT_SIM_QUIET ? max_steps : steps + SIM_STOP_STEPS;
    }
}
