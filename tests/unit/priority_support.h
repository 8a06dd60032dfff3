/* SPDX-License-Identifier: MIT
 *
 * What test_priority.c stages. A runner is an actor that notes each of its messages in a log, takes
 * as long as it is told, and passes the message on to its partner a number of times. A stage is a
 * rig with runners, and a driver that wakes them all in one turn.
 */
#ifndef WEFT_TESTS_UNIT_PRIORITY_SUPPORT_H
#define WEFT_TESTS_UNIT_PRIORITY_SUPPORT_H

#include "support.h"

enum {
    TAG_GO = 1,
    LOG_MAX = 1 << 16,
    HIGH_MAX = 8, /* turns in a row: what weft/actor.h promises */
    LOW_MAX = 64,
    CROWD = 10000,
};

enum class { HIGH, NORMAL, LOW, CLASSES };

static const uint32_t priorities[CLASSES] = {
    [HIGH] = WEFT_PRIORITY_HIGH,
    [NORMAL] = WEFT_PRIORITY_NORMAL,
    [LOW] = WEFT_PRIORITY_LOW,
};

struct entry {
    enum class class;
    uint32_t number;
    uint32_t scheduler;
};

static struct log {
    weft_atomic_u32 count;            /* may be ahead of the entries */
    weft_atomic_u32 entries[LOG_MAX]; /* class, scheduler, number, in 2, 10 and 20 bits; 0: none */
} log_of_turns;

struct runner {
    enum class class;
    uint32_t number;
    bool asleep; /* only its partner wakes it */
    uint64_t spin_ns;
    weft_atomic_u32 hops;  /* left; its runner writes, the test sets */
    weft_pid partner;      /* who gets the message next */
    struct probe *gate;    /* waits here in its first turn */
    weft_atomic_u32 place; /* in the log, of its last turn, plus one */
    weft_atomic_u64 at_ns; /* of its last turn */
    weft_pid pid;
};

static inline uint32_t log_count(void) {
    return weft_load32_acquire(&log_of_turns.count);
}

static inline struct entry log_at(uint32_t place) {
    weft_atomic_u32 *at = &log_of_turns.entries[place];
    eventually(weft_load32_acquire(at) != 0);
    uint32_t word = weft_load32_acquire(at);
    return (struct entry){
        .class = (enum class)(word & 3), .scheduler = word >> 2 & 1023, .number = word >> 12};
}

static inline void log_add(struct runner *runner, uint32_t scheduler) {
    uint32_t place = weft_add32_acq_rel(&log_of_turns.count, 1);
    if (place < LOG_MAX) {
        weft_store32_release(&log_of_turns.entries[place],
                             (uint32_t)runner->class | scheduler << 2 | runner->number << 12);
    }
    weft_store64_relaxed(&runner->at_ns, clock_ns());
    weft_store32_release(&runner->place, place + 1);
}

static inline void spin(uint64_t ns) {
    uint64_t until_ns = clock_ns() + ns;
    while (clock_ns() < until_ns) {
    }
}

static inline int runner_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    ck_assert_uint_eq(arg_size, sizeof(struct runner *));
    memcpy(state, arg, sizeof(struct runner *));
    return WEFT_CONTINUE;
}

static inline int runner_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct runner *runner;
    memcpy(&runner, state, sizeof(struct runner *));
    (void)msg;
    log_add(runner, weft_scheduler_of(ctx));
    if (runner->gate != NULL) {
        probe_wait(runner->gate);
    }
    if (runner->spin_ns != 0) {
        spin(runner->spin_ns);
    }
    uint32_t hops = weft_load32_relaxed(&runner->hops);
    if (hops != 0) {
        weft_store32_relaxed(&runner->hops, hops == UINT32_MAX ? hops : hops - 1);
        int result = weft_send(ctx, runner->partner, TAG_GO, NULL, 0);
        ck_assert(result == 0 || result == WEFT_E_NOPROC); /* the latter at a stop */
    }
    return WEFT_CONTINUE;
}

static inline const weft_type *runner_type(struct rig *rig, const char *name, uint32_t priority) {
    weft_type_def def = {
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = name,
        .state_size = sizeof(struct runner *),
        .init = runner_init,
        .receive = runner_receive,
        .mailbox_max = WEFT_MAILBOX_UNBOUNDED,
        .priority = priority,
    };
    return rig_type(rig, &def);
}

/* ---- a rig with runners -------------------------------------------------------------------- */

struct stage {
    struct rig rig;
    const weft_type *type;
    weft_pid driver;
    struct runner *runners;
    uint32_t count;
    uint32_t capacity;
};

static inline struct stage stage_start(const weft_config *config, uint32_t capacity) {
    struct stage stage = {.rig = rig_start_with(config), .capacity = capacity};
    weft_store32_release(&log_of_turns.count, 0);
    stage.type = runner_type(&stage.rig, "runner", WEFT_PRIORITY_NORMAL);
    stage.runners = calloc(capacity, sizeof(*stage.runners));
    ck_assert_ptr_nonnull(stage.runners);
    stage.driver = rig_spawn(&stage.rig, NULL);
    return stage;
}

static inline void stage_stop(struct stage *stage) {
    rig_stop(&stage->rig);
    free(stage->runners);
}

struct place {
    uint32_t scheduler; /* 0: any */
    bool pin;
};

/* Its init has run when this returns. */
static inline struct runner *add_at(struct stage *stage, enum class class, struct place place) {
    ck_assert_uint_lt(stage->count, stage->capacity);
    struct runner *runner = &stage->runners[stage->count];
    runner->class = class;
    runner->number = stage->count++;
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT,
        .arg = &runner,
        .arg_size = sizeof(struct runner *),
        .scheduler = place.scheduler,
        .pin = place.pin,
        .priority = priorities[class],
    };
    ck_assert_int_eq(weft_runtime_spawn(stage->rig.runtime, stage->type, &options, &runner->pid),
                     0);
    return runner;
}

static inline struct runner *add(struct stage *stage, enum class class) {
    return add_at(stage, class, (struct place){0});
}

static inline void add_many(struct stage *stage, enum class class, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        (void)add(stage, class);
    }
}

/* Two that pass one message to and fro, so that each entry of the log is a turn; who begins. */
static inline struct runner *add_pair(struct stage *stage, enum class class, uint32_t hops) {
    struct runner *left = add(stage, class);
    struct runner *right = add(stage, class);
    left->partner = right->pid;
    right->partner = left->pid;
    weft_store32_relaxed(&left->hops, hops);
    weft_store32_relaxed(&right->hops, hops);
    right->asleep = true;
    return left;
}

static inline void quiet(struct stage *stage) {
    eventually(rig_stats(&stage->rig).signals > stage->count); /* theirs and the driver's inits */
    settle(&stage->rig, stage->driver);
}

/* Wakes all that are given, in one turn of the driver. */
struct wake {
    struct runner *list;
    uint32_t count;
    struct probe *gate; /* then waits there */
};

static inline void wake_job(weft_ctx *ctx, void *arg) {
    struct wake *wake = arg;
    for (uint32_t i = 0; i < wake->count; i++) {
        if (!wake->list[i].asleep) {
            ck_assert_int_eq(weft_send(ctx, wake->list[i].pid, TAG_GO, NULL, 0), 0);
        }
    }
    if (wake->gate != NULL) {
        probe_wait(wake->gate);
    }
}

static inline void wake_first(struct stage *stage, uint32_t count) {
    struct wake wake = {.list = stage->runners, .count = count};
    quiet(stage);
    act(&stage->rig, stage->driver, wake_job, &wake);
}

static inline void wake_all(struct stage *stage) {
    wake_first(stage, stage->count);
}

/* A job that takes long, on a thread of its own. */
struct acting {
    struct stage *stage;
    job_fn fn;
    void *arg;
    pthread_t thread;
};

static inline void *act_there(void *arg) {
    struct acting *acting = arg;
    act(&acting->stage->rig, acting->stage->driver, acting->fn, acting->arg);
    return NULL;
}

static inline void act_begin(struct acting *acting) {
    ck_assert_int_eq(pthread_create(&acting->thread, NULL, act_there, acting), 0);
}

static inline void act_end(struct acting *acting) {
    ck_assert_int_eq(pthread_join(acting->thread, NULL), 0);
}

/* The driver is pinned from here on. */
static inline void pin_driver(struct stage *stage, uint32_t scheduler) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .scheduler = scheduler, .pin = true};
    ck_assert_int_eq(
        weft_runtime_spawn(stage->rig.runtime, stage->rig.puppet, &options, &stage->driver), 0);
    settle(&stage->rig, stage->driver);
}

static inline uint32_t count_class(enum class class, uint32_t first, uint32_t end) {
    uint32_t found = 0;
    for (uint32_t i = first; i < end; i++) {
        found += log_at(i).class == class ? 1 : 0;
    }
    return found;
}

/* The longest row of others before or between turns of a class. */
static inline uint32_t longest_wait(enum class class, uint32_t end) {
    uint32_t row = 0;
    uint32_t longest = 0;
    for (uint32_t i = 0; i < end; i++) {
        if (log_at(i).class != class) {
            row++;
            continue;
        }
        longest = row > longest ? row : longest;
        row = 0;
    }
    return longest;
}

/* One past the place of a class's last turn. */
static inline uint32_t last_of(enum class class, uint32_t end) {
    while (end > 0 && log_at(end - 1).class != class) {
        end--;
    }
    return end;
}

static inline weft_config lonely_config(void) {
    weft_config config = rig_config(1);
    config.watchdog_none = true;
    return config;
}

#endif
