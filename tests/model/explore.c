/* SPDX-License-Identifier: MIT
 *
 * The explorer's engine: coroutines, the step of a thread, the search. See explore.h. One thread
 * of the operating system; the only state is the engine below. x86-64 only: the switch of stacks
 * is written by hand, so that what a coroutine holds in registers lies on its stack.
 */
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS, clock_gettime */
#include "tests/model/explore.h"

#include "tests/model/explore_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    STACK_BYTES = 4096,
    STACK_GUARD = 64,
    BUFFER_MAX = 6,
    CHOICES_MAX = 32,
    EVENTS_MAX = 64,
    NAMES_MAX = 64,
    DEPTH_MAX = 1 << 20,
    STATES_MAX = 12000000,
};
static const size_t SNAPSHOTS_BYTES = (size_t)2 << 30; /* address space; touched as needed */

struct entry {
    void *at;
    uint64_t value;
    uint32_t size;
};

struct thread {
    char *sp;
    const void *at; /* what the next step touches */
    bool (*ready)(uint32_t thread);
    enum explore_kind next;
    uint32_t alternatives;
    bool paused;
    bool done;
    uint32_t stores;
    struct entry buffer[BUFFER_MAX];
};

/* One thing a step did, kept only while an interleaving is printed. */
struct event {
    enum explore_kind kind;
    const void *at;
    const char *what;
    uint64_t from;
    uint64_t to;
    bool done;
};

struct frame {
    uint32_t id;
    uint32_t next;
    uint32_t count;
    uint16_t choices[CHOICES_MAX];
    size_t snapshot; /* offset in engine.snapshots */
};

struct name {
    const char *at;
    size_t size;
    const char *name;
};

/* What a state consists of beside the world and the stacks. */
struct machine {
    struct thread threads[EXPLORE_THREADS_MAX];
    uint32_t last; /* with a bound: who ran last, and how often somebody was preempted */
    uint32_t preempted;
};

static struct engine {
    const struct explore_model *model;
    struct machine machine;
    int current; /* the thread that runs, -1: the engine */
    uint32_t alternative;
    char *main_sp;
    const char *failure;
    bool tracing;
    uint32_t events_count;
    struct event events[EVENTS_MAX];
    uint32_t names_count;
    struct name names[NAMES_MAX];
    struct frame *frames;
    uint32_t depth;
    uint32_t depth_most;
    char *snapshots;
    struct explore_table table;
    uint64_t steps;
    uint64_t ends;
} engine;

static alignas(4096) char stacks[EXPLORE_THREADS_MAX][STACK_BYTES];

/* ---- coroutines ---------------------------------------------------------------------------- */

/* Saves the callee's registers on the stack, its pointer in *ret_from, and goes on at to. */
void explore_switch(char **ret_from, char *to);
__asm__(".text\n"
        ".globl explore_switch\n"
        ".type explore_switch,@function\n"
        "explore_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size explore_switch,.-explore_switch\n");

static struct thread *self(void) {
    return &engine.machine.threads[engine.current];
}

static void leave(void) {
    explore_switch(&self()->sp, engine.main_sp);
}

static void thread_main(void) {
    engine.model->body((uint32_t)engine.current);
    self()->done = true;
    for (;;) { /* never resumed */
        leave();
    }
}

/* Lets thread run until its next step is due. What lies below its stack pointer is cleared first,
 * so that what a dead slot of a later frame holds depends on the state alone. */
static void resume(uint32_t thread) {
    struct thread *it = &engine.machine.threads[thread];
    char *stack = stacks[thread];
    memset(stack, 0, (size_t)(it->sp - stack));
    engine.current = (int)thread;
    explore_switch(&engine.main_sp, it->sp);
    engine.current = -1;
    for (uint32_t i = 0; i < STACK_GUARD; i++) {
        if (stack[i] != 0) {
            fprintf(stderr, "explore: the stack of a thread is used up\n");
            abort();
        }
    }
}

static void thread_init(uint32_t thread) {
    struct thread *it = &engine.machine.threads[thread];
    memset(stacks[thread], 0, STACK_BYTES);
    uint64_t *top = (uint64_t *)(void *)(stacks[thread] + STACK_BYTES - 16);
    top[-1] = 0; /* as after a call: thread_main never returns */
    top[-2] = (uint64_t)(uintptr_t)thread_main;
    it->sp = (char *)(top - 2 - 6);
}

/* ---- one step ------------------------------------------------------------------------------ */

void explore_fail(const char *text) {
    if (engine.failure == NULL) {
        engine.failure = text;
    }
    if (engine.current >= 0) {
        leave();
    }
}

_Noreturn void weft__assert_failed(const char *file, int line, const char *what) {
    explore_fail(what);
    fprintf(stderr, "explore: %s:%d: assertion outside a thread: %s\n", file, line, what);
    abort();
}

/* Returns when the explorer has chosen this step. */
static void step(enum explore_kind kind, const void *at) {
    if (engine.current >= 0) {
        self()->next = kind;
        self()->at = at;
        leave();
    }
}

static void note(struct event event) {
    if (engine.tracing && engine.events_count < EVENTS_MAX) {
        engine.events[engine.events_count++] = event;
    }
}

static uint64_t memory_load(const void *at, uint32_t size) {
    uint64_t wide;
    uint32_t narrow;
    if (size == 8) {
        memcpy(&wide, at, 8);
        return wide;
    }
    memcpy(&narrow, at, 4);
    return narrow;
}

static void memory_store(void *at, uint32_t size, uint64_t value) {
    uint32_t narrow = (uint32_t)value;
    memcpy(at, size == 8 ? (const void *)&value : (const void *)&narrow, size);
}

static void flush_one(struct thread *it) {
    struct entry first = it->buffer[0];
    it->stores--;
    memmove(&it->buffer[0], &it->buffer[1], it->stores * sizeof it->buffer[0]);
    memset(&it->buffer[it->stores], 0, sizeof it->buffer[0]);
    note((struct event){.kind = EXPLORE_FLUSH,
                        .at = first.at,
                        .from = memory_load(first.at, first.size),
                        .to = first.value});
    memory_store(first.at, first.size, first.value);
}

static void flush_all(struct thread *it) {
    while (it->stores > 0) {
        flush_one(it);
    }
}

uint64_t explore_load(const void *at, uint32_t size) {
    if (engine.current < 0) {
        return memory_load(at, size);
    }
    step(EXPLORE_LOAD, at);
    uint64_t value = memory_load(at, size);
    struct thread *it = self();
    for (uint32_t i = 0; i < it->stores; i++) {
        if (it->buffer[i].at == at) {
            value = it->buffer[i].value;
        }
    }
    note((struct event){.kind = EXPLORE_LOAD, .at = at, .from = value});
    return value;
}

void explore_store(void *at, uint32_t size, uint64_t value) {
    if (engine.current < 0) {
        memory_store(at, size, value);
        return;
    }
    /* Without heavy fences nobody else can tell when a store enters the buffer. */
    if (engine.model->heavy || self()->stores == BUFFER_MAX) {
        step(EXPLORE_STORE, at);
    }
    struct thread *it = self();
    it->buffer[it->stores++] = (struct entry){.at = at, .value = value, .size = size};
    note((struct event){.kind = EXPLORE_STORE, .at = at, .to = value});
}

bool explore_cas(void *at, uint32_t size, uint64_t *expected, uint64_t desired) {
    step(EXPLORE_CAS, at);
    if (engine.current >= 0) {
        flush_all(self());
    }
    uint64_t value = memory_load(at, size);
    bool done = value == *expected;
    if (done) {
        memory_store(at, size, desired);
    }
    note((struct event){.kind = EXPLORE_CAS, .at = at, .from = value, .to = desired, .done = done});
    *expected = value;
    return done;
}

uint64_t explore_modify(enum explore_kind kind, void *at, uint32_t size, uint64_t value) {
    step(kind, at);
    if (engine.current >= 0) {
        flush_all(self());
    }
    uint64_t old = memory_load(at, size);
    uint64_t result = value;
    if (kind == EXPLORE_ADD) {
        result = old + value;
    } else if (kind == EXPLORE_OR) {
        result = old | value;
    } else if (kind == EXPLORE_AND) {
        result = old & value;
    }
    result = size == 4 ? (uint32_t)result : result;
    memory_store(at, size, result);
    note((struct event){.kind = kind, .at = at, .from = old, .to = result});
    return old;
}

void explore_special(enum explore_kind kind) {
    if (engine.current < 0) {
        return;
    }
    if (kind == EXPLORE_PAUSE) {
        self()->paused = true;
    }
    step(kind, NULL);
    note((struct event){.kind = kind});
    if (kind == EXPLORE_FENCE_FULL) {
        flush_all(self());
    } else if (kind == EXPLORE_FENCE_HEAVY) {
        for (uint32_t i = 0; i < engine.model->threads; i++) {
            flush_all(&engine.machine.threads[i]);
        }
    }
}

uint32_t *explore_plain(uint32_t *at) {
    step(EXPLORE_PLAIN, at);
    note((struct event){.kind = EXPLORE_PLAIN, .at = at, .from = memory_load(at, 4)});
    return at;
}

void explore_step(const char *what) {
    step(EXPLORE_STEP, NULL);
    note((struct event){.kind = EXPLORE_STEP, .what = what});
}

void explore_wait(bool (*ready)(uint32_t thread), const char *what) {
    self()->ready = ready;
    step(EXPLORE_WAIT, NULL);
    self()->ready = NULL;
    note((struct event){.kind = EXPLORE_WAIT, .what = what});
}

uint32_t explore_choose(uint32_t count) {
    self()->alternatives = count;
    step(EXPLORE_CHOOSE, NULL);
    self()->alternatives = 0;
    note((struct event){.kind = EXPLORE_CHOOSE, .to = engine.alternative});
    return engine.alternative;
}

uint32_t explore_self(void) {
    return (uint32_t)engine.current;
}

void explore_name(const void *at, size_t size, const char *name) {
    if (engine.names_count < NAMES_MAX) {
        engine.names[engine.names_count++] =
            (struct name){.at = (const char *)at, .size = size, .name = name};
    }
}

/* ---- states -------------------------------------------------------------------------------- */

static size_t stack_live(uint32_t thread) {
    return (size_t)(stacks[thread] + STACK_BYTES - engine.machine.threads[thread].sp);
}

/* A state written down at to; returns its size. */
static size_t state_save(char *to) {
    char *start = to;
    memcpy(to, &engine.machine, sizeof engine.machine);
    to += sizeof engine.machine;
    memcpy(to, engine.model->world, engine.model->world_bytes);
    to += engine.model->world_bytes;
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        if (!engine.machine.threads[i].done) {
            memcpy(to, engine.machine.threads[i].sp, stack_live(i));
            to += stack_live(i);
        }
    }
    return (size_t)(to - start);
}

static void state_load(const char *from) {
    memcpy(&engine.machine, from, sizeof engine.machine);
    from += sizeof engine.machine;
    memcpy(engine.model->world, from, engine.model->world_bytes);
    from += engine.model->world_bytes;
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        if (!engine.machine.threads[i].done) {
            memcpy(engine.machine.threads[i].sp, from, stack_live(i));
            from += stack_live(i);
        }
    }
}

/* A choice in 16 bits: thread, flush or run, alternative. */
static uint16_t choice_make(uint32_t thread, bool flush, uint32_t alternative) {
    return (uint16_t)(thread | (flush ? 8u : 0u) | alternative << 4);
}

static bool thread_enabled(uint32_t thread) {
    const struct thread *it = &engine.machine.threads[thread];
    if (it->done || it->paused) {
        return false;
    }
    if (it->next == EXPLORE_WAIT) {
        return it->ready(thread);
    }
    return it->next != EXPLORE_STORE || it->stores < BUFFER_MAX;
}

static bool thread_preempts(uint32_t thread) {
    uint32_t last = engine.machine.last;
    return last != thread && last < engine.model->threads && thread_enabled(last);
}

/* What can happen next. */
static uint32_t choices_list(uint16_t *ret_choices) {
    const struct explore_model *model = engine.model;
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->threads; i++) {
        const struct thread *it = &engine.machine.threads[i];
        if (it->stores > 0) {
            ret_choices[count++] = choice_make(i, true, 0);
        }
        if (!thread_enabled(i)) {
            continue;
        }
        if (model->preemptions != 0 && thread_preempts(i) &&
            engine.machine.preempted + 1 >= model->preemptions) {
            continue;
        }
        uint32_t alternatives = it->next == EXPLORE_CHOOSE ? it->alternatives : 1;
        for (uint32_t j = 0; j < alternatives && count < CHOICES_MAX - 2; j++) {
            ret_choices[count++] = choice_make(i, false, j);
        }
    }
    return count;
}

/* Nobody else can make a step: those who pause look again. When that leads nowhere, the state
 * comes round without an end, which is a livelock. True: somebody was pausing. */
static bool unpause(void) {
    bool some = false;
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        some = some || engine.machine.threads[i].paused;
        engine.machine.threads[i].paused = false;
    }
    return some;
}

static void choice_run(uint16_t choice) {
    uint32_t thread = choice & 7u;
    bool flush = (choice & 8u) != 0;
    if (!flush && engine.model->preemptions != 0) {
        engine.machine.preempted += thread_preempts(thread) ? 1 : 0;
        engine.machine.last = thread;
    }
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        engine.machine.threads[i].paused = false;
    }
    if (flush) {
        flush_one(&engine.machine.threads[thread]);
    } else {
        engine.alternative = choice >> 4;
        resume(thread);
    }
}

static void check_races(void) {
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        const struct thread *left = &engine.machine.threads[i];
        for (uint32_t j = i + 1; j < engine.model->threads; j++) {
            const struct thread *right = &engine.machine.threads[j];
            if (!left->done && !right->done && left->next == EXPLORE_PLAIN &&
                right->next == EXPLORE_PLAIN && left->at == right->at) {
                explore_fail("race on a plain field");
            }
        }
    }
}

/* Nothing can happen any more. */
static void check_end(void) {
    for (uint32_t i = 0; i < engine.model->threads; i++) {
        if (!engine.machine.threads[i].done && (engine.model->daemons >> i & 1) == 0) {
            explore_fail("deadlock");
            return;
        }
    }
    engine.ends++;
    engine.model->final();
}

/* ---- the search ---------------------------------------------------------------------------- */

static void model_start(void) {
    const struct explore_model *model = engine.model;
    memset(&engine.machine, 0, sizeof engine.machine);
    engine.machine.last = EXPLORE_THREADS_MAX;
    engine.names_count = 0;
    memset(model->world, 0, model->world_bytes);
    model->init(model->parameter);
    for (uint32_t i = 0; i < model->threads; i++) {
        thread_init(i);
        resume(i);
    }
}

/* The state that was just reached, by choice from the state parent: looks whether it is new, and
 * then makes it the top of the search. */
static void state_enter(uint32_t parent, uint16_t choice) {
    struct frame *frame = &engine.frames[engine.depth];
    frame->snapshot = engine.depth == 0 ? 0 : frame->snapshot;
    size_t size = state_save(engine.snapshots + frame->snapshot);
    bool fresh;
    frame->id =
        explore_table_find(&engine.table, engine.snapshots + frame->snapshot, size,
                           (struct explore_origin){.parent = parent, .choice = choice}, &fresh);
    if (engine.depth != 0) {
        explore_table_edge(&engine.table, parent, frame->id);
    }
    if (!fresh) {
        return;
    }
    check_races();
    if (engine.model->state != NULL) {
        engine.model->state();
    }
    frame->next = 0;
    frame->count = choices_list(frame->choices);
    if (frame->count == 0 && unpause()) {
        (void)state_save(engine.snapshots + frame->snapshot);
        frame->count = choices_list(frame->choices);
    }
    if (frame->count == 0 && engine.failure == NULL) {
        check_end();
        explore_table_end(&engine.table, frame->id);
    }
    engine.depth++;
    if (engine.depth > engine.depth_most) {
        engine.depth_most = engine.depth;
    }
    engine.frames[engine.depth].snapshot = (frame->snapshot + size + 15) & ~(size_t)15;
}

/* False: a limit was hit. */
static bool search(void) {
    model_start();
    state_enter(0, 0);
    while (engine.depth > 0 && engine.failure == NULL) {
        struct frame *frame = &engine.frames[engine.depth - 1];
        if (frame->next == frame->count) {
            engine.depth--;
            continue;
        }
        if (engine.table.count >= STATES_MAX || engine.depth >= DEPTH_MAX - 2 ||
            frame->snapshot + 8 * sizeof stacks > SNAPSHOTS_BYTES) {
            return false;
        }
        state_load(engine.snapshots + frame->snapshot);
        uint16_t choice = frame->choices[frame->next++];
        choice_run(choice);
        engine.steps++;
        if (engine.failure != NULL) {
            break;
        }
        state_enter(frame->id, choice);
    }
    return true;
}

/* ---- printing ------------------------------------------------------------------------------ */

static void print_place(const void *at) {
    const char *place = at;
    for (uint32_t i = 0; i < engine.names_count; i++) {
        const struct name *name = &engine.names[i];
        if (place >= name->at && place < name->at + name->size) {
            printf("%s", name->name);
            if (place != name->at) {
                printf("+%zu", (size_t)(place - name->at));
            }
            return;
        }
    }
    printf("world+%zd", place - (const char *)engine.model->world);
}

static void print_event(const struct event *event) {
    static const char *const kinds[] = {
        [EXPLORE_LOAD] = "load",
        [EXPLORE_STORE] = "store",
        [EXPLORE_CAS] = "cas",
        [EXPLORE_EXCHANGE] = "exchange",
        [EXPLORE_ADD] = "add",
        [EXPLORE_OR] = "or",
        [EXPLORE_AND] = "and",
        [EXPLORE_FENCE_FULL] = "full fence",
        [EXPLORE_FENCE_HEAVY] = "barrier",
        [EXPLORE_PAUSE] = "pause",
        [EXPLORE_STEP] = "step",
        [EXPLORE_WAIT] = "wait",
        [EXPLORE_CHOOSE] = "choose",
        [EXPLORE_PLAIN] = "plain",
        [EXPLORE_FLUSH] = "flush",
    };
    printf("  %s ", kinds[event->kind]);
    if (event->what != NULL) {
        printf("%s", event->what);
    }
    if (event->at != NULL) {
        print_place(event->at);
    }
    switch (event->kind) {
    case EXPLORE_LOAD:
    case EXPLORE_PLAIN:
        printf(" = %#llx", (unsigned long long)event->from);
        break;
    case EXPLORE_CAS:
        printf(event->done ? " %#llx -> %#llx" : " failed: %#llx, wanted to write %#llx",
               (unsigned long long)event->from, (unsigned long long)event->to);
        break;
    case EXPLORE_EXCHANGE:
    case EXPLORE_ADD:
    case EXPLORE_OR:
    case EXPLORE_AND:
    case EXPLORE_FLUSH:
        printf(" %#llx -> %#llx", (unsigned long long)event->from, (unsigned long long)event->to);
        break;
    case EXPLORE_STORE:
    case EXPLORE_CHOOSE:
        printf(" := %#llx", (unsigned long long)event->to);
        break;
    default:
        break;
    }
}

/* Runs the choices again from the start and prints what each did. */
static void print_interleaving(const uint16_t *choices, uint32_t count) {
    const char *failure = engine.failure;
    engine.tracing = true;
    model_start();
    for (uint32_t i = 0; i < count; i++) {
        engine.events_count = 0;
        engine.failure = NULL;
        choice_run(choices[i]);
        printf("  %4u  %s:", i + 1, engine.model->roles[choices[i] & 7u]);
        for (uint32_t j = 0; j < engine.events_count; j++) {
            print_event(&engine.events[j]);
        }
        printf("\n");
    }
    engine.tracing = false;
    engine.failure = failure;
}

static void print_failure(void) {
    uint16_t *choices = calloc(engine.depth + 1, sizeof *choices);
    for (uint32_t i = 0; choices != NULL && i < engine.depth; i++) {
        const struct frame *frame = &engine.frames[i];
        choices[i] = frame->next == 0 ? 0 : frame->choices[frame->next - 1];
    }
    if (choices != NULL) {
        /* The top has no choice of its own when the failure is one of the state itself. */
        bool state = engine.depth > 0 && engine.frames[engine.depth - 1].next == 0;
        print_interleaving(choices, engine.depth - (state ? 1 : 0));
    }
    free(choices);
}

/* The way to a state from which the end cannot be reached. */
static void print_livelock(uint32_t id) {
    uint32_t length = 0;
    for (uint32_t at = id; at != 0; at = engine.table.origins[at].parent) {
        length++;
    }
    uint16_t *choices = calloc(length + 1, sizeof *choices);
    if (choices == NULL) {
        return;
    }
    uint32_t fill = length;
    for (uint32_t at = id; at != 0; at = engine.table.origins[at].parent) {
        choices[--fill] = engine.table.origins[at].choice;
    }
    print_interleaving(choices, length);
    free(choices);
}

/* ---- a run --------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* always there on Linux */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Searches one model. NULL: nothing failed. */
static const char *model_run(const struct explore_model *model, bool quiet) {
    double start = seconds();
    engine.model = model;
    engine.current = -1;
    engine.failure = NULL;
    engine.depth = 0;
    engine.depth_most = 0;
    engine.steps = 0;
    engine.ends = 0;
    explore_table_clear(&engine.table);
    bool all = search();
    uint32_t stuck = 0;
    if (engine.failure != NULL) {
        printf("%s: %s\n", model->name, engine.failure);
        print_failure();
    } else if (!all) {
        engine.failure = "hit the limit on states: not complete";
    } else if (explore_table_stuck(&engine.table, &stuck)) {
        engine.failure = "livelock: the end cannot be reached any more";
        printf("%s: %s\n", model->name, engine.failure);
        print_livelock(stuck);
    }
    char bound[48] = "complete";
    if (model->preemptions != 0) {
        (void)snprintf(bound, sizeof bound, "complete within %u preemptions",
                       model->preemptions - 1);
    }
    if (!quiet || engine.failure != NULL) {
        printf("%-28s %9u states %10llu steps %7llu ends  depth %5u  %6.2f s  %s\n", model->name,
               engine.table.count, (unsigned long long)engine.steps,
               (unsigned long long)engine.ends, engine.depth_most, seconds() - start,
               engine.failure != NULL ? engine.failure : bound);
        (void)fflush(stdout);
    }
    return engine.failure;
}

/* Address space of which only what is touched costs memory. */
static void *space_map(size_t bytes) {
    void *space = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return space == MAP_FAILED ? NULL : space;
}

static bool engine_init(void) {
    engine.frames = space_map(DEPTH_MAX * sizeof *engine.frames);
    engine.snapshots = space_map(SNAPSHOTS_BYTES);
    return engine.frames != NULL && engine.snapshots != NULL && explore_table_init(&engine.table);
}

static void engine_fini(void) {
    explore_table_fini(&engine.table);
    (void)munmap(engine.frames, DEPTH_MAX * sizeof *engine.frames); /* the program ends */
    (void)munmap(engine.snapshots, SNAPSHOTS_BYTES);
}

int explore_main(int argc, char **argv, const struct explore_model *models, uint32_t count) {
    const char *only = NULL;
    const char *expect = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--only") == 0) {
            only = argv[i + 1];
        } else if (strcmp(argv[i], "--expect") == 0) {
            expect = argv[i + 1];
        }
    }
    if (!engine_init()) {
        fprintf(stderr, "explore: no memory\n");
        return 2;
    }
    bool good = expect == NULL;
    uint32_t ran = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(only, models[i].name) != 0) {
            continue;
        }
        ran++;
        const char *failure = model_run(&models[i], false);
        if (expect == NULL && failure != NULL) {
            good = false;
        } else if (expect != NULL && failure != NULL) {
            good = strstr(failure, expect) != NULL;
            break;
        }
    }
    engine_fini();
    if (expect != NULL && !good) {
        printf("the mutation was not caught by \"%s\"\n", expect);
    }
    return good && ran > 0 ? 0 : 1;
}
