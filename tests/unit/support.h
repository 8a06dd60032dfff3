/* SPDX-License-Identifier: MIT
 *
 * What the tests of the runtime share. A rig is a runtime that is checked when it stops: nothing
 * may be left, and every message that was sent must have ended somewhere. A puppet is an actor
 * that records what it receives in its probe, and does in its own context what the test asks for
 * (act): so a test is written as one sequence of steps although its actors run elsewhere.
 *
 * Tests run forked (Check's default); a failed assertion on a scheduler's thread ends the child.
 */
#ifndef WEFT_TESTS_UNIT_SUPPORT_H
#define WEFT_TESTS_UNIT_SUPPORT_H

#include "core/atomic.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

enum {
    TAG_ACT = 0x7fff0001, /* a request whose payload is a struct job */
    SEEN_BYTES = 64,
};

#define MS_NS UINT64_C(1000000)
#define S_NS  UINT64_C(1000000000)

/* For what must happen soon: far more than it takes, also on a machine that has other things to do,
 * and less than what it would take otherwise, which each test sees to. */
#define SOON_NS (20 * S_NS)

/* Check sends its parent a message for every assertion, also those that hold; tests here assert in
 * loops and on several threads. These only speak when they fail. */
#undef ck_assert
#define ck_assert(condition)                                                                       \
    do {                                                                                           \
        if (weft_unlikely(!(condition))) {                                                         \
            ck_abort_msg("not so: %s", #condition);                                                \
        }                                                                                          \
    } while (0)
#define ASSERT_UINT(left, op, right)                                                               \
    do {                                                                                           \
        uint64_t left_ = (left);                                                                   \
        uint64_t right_ = (right);                                                                 \
        if (weft_unlikely(!(left_ op right_))) {                                                   \
            ck_abort_msg("not so: %s %s %s: %llu, %llu", #left, #op, #right,                       \
                         (unsigned long long)left_, (unsigned long long)right_);                   \
        }                                                                                          \
    } while (0)
#define ASSERT_INT(left, op, right)                                                                \
    do {                                                                                           \
        int64_t left_ = (left);                                                                    \
        int64_t right_ = (right);                                                                  \
        if (weft_unlikely(!(left_ op right_))) {                                                   \
            ck_abort_msg("not so: %s %s %s: %lld, %lld", #left, #op, #right, (long long)left_,     \
                         (long long)right_);                                                       \
        }                                                                                          \
    } while (0)
#undef ck_assert_uint_eq
#undef ck_assert_uint_ne
#undef ck_assert_uint_lt
#undef ck_assert_uint_le
#undef ck_assert_uint_gt
#undef ck_assert_uint_ge
#undef ck_assert_int_eq
#undef ck_assert_int_ge
#undef ck_assert_ptr_eq
#undef ck_assert_ptr_ne
#undef ck_assert_ptr_null
#undef ck_assert_ptr_nonnull
#undef ck_assert_mem_eq
#define ck_assert_uint_eq(left, right)       ASSERT_UINT(left, ==, right)
#define ck_assert_uint_ne(left, right)       ASSERT_UINT(left, !=, right)
#define ck_assert_uint_lt(left, right)       ASSERT_UINT(left, <, right)
#define ck_assert_uint_le(left, right)       ASSERT_UINT(left, <=, right)
#define ck_assert_uint_gt(left, right)       ASSERT_UINT(left, >, right)
#define ck_assert_uint_ge(left, right)       ASSERT_UINT(left, >=, right)
#define ck_assert_int_eq(left, right)        ASSERT_INT(left, ==, right)
#define ck_assert_int_ge(left, right)        ASSERT_INT(left, >=, right)
#define ck_assert_ptr_eq(left, right)        ck_assert((left) == (right))
#define ck_assert_ptr_ne(left, right)        ck_assert((left) != (right))
#define ck_assert_ptr_null(pointer)          ck_assert((pointer) == NULL)
#define ck_assert_ptr_nonnull(pointer)       ck_assert((pointer) != NULL)
#define ck_assert_mem_eq(left, right, bytes) ck_assert(memcmp(left, right, bytes) == 0)

/* Schedulers of a loop test: case number to count. The last one, far more than there are cores, is
 * left out where it takes minutes: under a sanitizer, and for aarch64, whose tests run emulated. */
enum { SCHEDULERS_MAX = 64 };
static inline uint32_t schedulers_of(int number) {
    static const uint32_t counts[] = {1, 2, 8, SCHEDULERS_MAX};
    return counts[number];
}
#if defined(__SANITIZE_ADDRESS__) || defined(WEFT_TSAN) || !defined(__x86_64__)
enum { SCHEDULER_CASES = 3 };
#else
enum { SCHEDULER_CASES = 4 };
#endif

static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S_NS + (uint64_t)now.tv_nsec;
}

static inline void sleep_ns(uint64_t ns) {
    struct timespec wait = {.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
    nanosleep(&wait, NULL);
}

/* Waits until condition holds; fails after 40 s. */
#define eventually(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ns_ = clock_ns() + 40 * S_NS;                                               \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_ns() < until_ns_, "never: %s", #condition);                        \
            sleep_ns(100000);                                                                      \
        }                                                                                          \
    } while (0)

/* ---- probes -------------------------------------------------------------------------------- */

/* One message as it was received. */
struct seen {
    enum weft_msg_kind kind;
    uint32_t tag;
    uint64_t token;
    int status;
    size_t size;
    weft_pid sender;
    uint64_t at_ns;
    unsigned char data[SEEN_BYTES]; /* the beginning of the payload */
};

struct probe;
/* What a puppet does with a message, after it was recorded. */
typedef int (*probe_fn)(weft_ctx *ctx, struct probe *probe, weft_msg *msg);

struct probe {
    pthread_mutex_t lock;
    struct seen *list; /* under lock */
    uint32_t count;    /* under lock */
    uint32_t capacity; /* under lock */
    /* set before the spawn */
    probe_fn handler; /* may be NULL */
    int init_result;
    bool counts_only; /* do not record, only count */
    void *user;
    /* any thread */
    weft_atomic_u32 inits;
    weft_atomic_u32 terminations;
    weft_atomic_u32 cleanups;
    weft_atomic_u32 reason; /* of the termination */
    weft_atomic_u32 gate;   /* a handler may wait until it is not 0 */
    weft_atomic_u32 inside; /* a handler waits at the gate */
};

#define PROBE_INIT                                                                                 \
    { .lock = PTHREAD_MUTEX_INITIALIZER }

static inline uint32_t probe_count(struct probe *probe) {
    pthread_mutex_lock(&probe->lock);
    uint32_t count = probe->count;
    pthread_mutex_unlock(&probe->lock);
    return count;
}

static inline struct seen probe_at(struct probe *probe, uint32_t index) {
    pthread_mutex_lock(&probe->lock);
    ck_assert_uint_lt(index, probe->count);
    struct seen seen = probe->list[index];
    pthread_mutex_unlock(&probe->lock);
    return seen;
}

/* How many of a kind. */
static inline uint32_t probe_count_kind(struct probe *probe, enum weft_msg_kind kind) {
    uint32_t found = 0;
    pthread_mutex_lock(&probe->lock);
    for (uint32_t i = 0; i < probe->count; i++) {
        found += probe->list[i].kind == kind ? 1 : 0;
    }
    pthread_mutex_unlock(&probe->lock);
    return found;
}

static inline void probe_fini(struct probe *probe) {
    free(probe->list);
    probe->list = NULL;
    probe->count = 0;
    probe->capacity = 0;
}

static inline void probe_record(weft_ctx *ctx, struct probe *probe, const weft_msg *msg) {
    pthread_mutex_lock(&probe->lock);
    if (probe->counts_only) {
        probe->count++;
        pthread_mutex_unlock(&probe->lock);
        return;
    }
    if (probe->count == probe->capacity) {
        probe->capacity = probe->capacity == 0 ? 16 : probe->capacity * 2;
        probe->list = realloc(probe->list, probe->capacity * sizeof(*probe->list));
        ck_assert_ptr_nonnull(probe->list);
    }
    struct seen *seen = &probe->list[probe->count++];
    memset(seen, 0, sizeof(*seen));
    seen->kind = weft_msg_kind(msg);
    seen->tag = weft_msg_tag(msg);
    seen->size = weft_msg_size(msg);
    seen->sender = weft_sender(ctx, msg);
    seen->at_ns = clock_ns();
    if (seen->kind == WEFT_MSG_REPLY || seen->kind == WEFT_MSG_DONE ||
        seen->kind == WEFT_MSG_TIMER) {
        seen->token = weft_msg_token(msg);
    }
    if (seen->kind == WEFT_MSG_REPLY || seen->kind == WEFT_MSG_DONE ||
        seen->kind == WEFT_MSG_DEAD) {
        seen->status = weft_msg_status(msg);
    }
    if (seen->size != 0) {
        memcpy(seen->data, weft_msg_data(msg), seen->size < SEEN_BYTES ? seen->size : SEEN_BYTES);
    }
    pthread_mutex_unlock(&probe->lock);
}

/* A handler stops here until the test opens the gate: what blocks an actor on purpose. */
static inline void probe_wait(struct probe *probe) {
    weft_store32_release(&probe->inside, 1);
    while (weft_load32_acquire(&probe->gate) == 0) {
        sleep_ns(50000);
    }
    weft_store32_release(&probe->inside, 0);
}

/* ---- puppets ------------------------------------------------------------------------------- */

typedef void (*job_fn)(weft_ctx *ctx, void *arg);
struct job {
    job_fn fn;
    void *arg;
};

struct puppet {
    struct probe *probe; /* NULL: only acts */
};

static inline int puppet_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    struct puppet *puppet = state;
    if (arg_size == sizeof(struct probe *)) {
        memcpy(&puppet->probe, arg, sizeof(puppet->probe));
    }
    if (puppet->probe == NULL) {
        return WEFT_CONTINUE;
    }
    (void)weft_add32_acq_rel(&puppet->probe->inits, 1);
    return puppet->probe->init_result;
}

static inline int puppet_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct probe *probe = ((struct puppet *)state)->probe;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST && weft_msg_tag(msg) == TAG_ACT) {
        struct job job;
        memcpy(&job, weft_msg_data(msg), sizeof(job));
        job.fn(ctx, job.arg);
        weft_msg *request = weft_current(ctx);
        if (request != NULL) {
            (void)weft_reply(ctx, &request, TAG_ACT, NULL, 0);
        }
        return WEFT_CONTINUE;
    }
    if (probe == NULL) {
        return WEFT_CONTINUE;
    }
    probe_record(ctx, probe, msg);
    return probe->handler == NULL ? WEFT_CONTINUE : probe->handler(ctx, probe, msg);
}

static inline void puppet_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    struct probe *probe = ((struct puppet *)state)->probe;
    if (probe != NULL) {
        weft_store32_relaxed(&probe->reason, (uint32_t)reason);
        (void)weft_add32_acq_rel(&probe->terminations, 1);
    }
}

/* ---- rigs ---------------------------------------------------------------------------------- */

struct rig {
    weft_runtime *runtime;
    const weft_type *puppet;
};

static inline weft_type_def puppet_def(const char *name) {
    return (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = name,
        .state_size = sizeof(struct puppet),
        .init = puppet_init,
        .receive = puppet_receive,
        .terminate = puppet_terminate,
    };
}

static inline const weft_type *rig_type(struct rig *rig, const weft_type_def *def) {
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_type_register(rig->runtime, def, &type), 0);
    return type;
}

static inline struct rig rig_start_with(const weft_config *config) {
    struct rig rig = {0};
    ck_assert_int_eq(weft_runtime_create(config, &rig.runtime), 0);
    weft_type_def def = puppet_def("puppet");
    rig.puppet = rig_type(&rig, &def);
    ck_assert_int_eq(weft_runtime_start(rig.runtime), 0);
    return rig;
}

static inline weft_config rig_config(uint32_t schedulers) {
    return (weft_config){.struct_size = WEFT_CONFIG_INIT,
                         .schedulers = schedulers,
                         .call_timeout_ns = SOON_NS}; /* calls that name none are answered */
}

static inline struct rig rig_start(uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    return rig_start_with(&config);
}

static inline weft_stats rig_stats(struct rig *rig) {
    weft_stats stats = {.struct_size = sizeof(stats)};
    ck_assert_int_eq(weft_stats_read(rig->runtime, WEFT_STATS_ALL, &stats), 0);
    return stats;
}

static inline weft_gauges rig_gauges(struct rig *rig) {
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    ck_assert_int_eq(weft_gauges_read(rig->runtime, &gauges), 0);
    return gauges;
}

/* Stops and checks that nothing is left and that every message that was sent is accounted for. */
static inline void rig_stop(struct rig *rig) {
    ck_assert_int_eq(weft_runtime_stop(rig->runtime, 30 * S_NS), 0);
    weft_gauges gauges = rig_gauges(rig);
    ck_assert_uint_eq(gauges.actors, 0);
    ck_assert_uint_eq(gauges.messages, 0);
    ck_assert_uint_eq(gauges.timers, 0);
    ck_assert_uint_eq(gauges.buffers, 0);
    weft_stats stats = rig_stats(rig);
    ck_assert_uint_eq(stats.spawns, stats.exits);
    ck_assert_uint_eq(stats.messages_sent, stats.messages_handled + stats.messages_dead +
                                               stats.messages_dropped + stats.requests_expired +
                                               stats.replies_late);
    ck_assert_int_eq(weft_runtime_destroy(&rig->runtime), 0);
    ck_assert_ptr_null(rig->runtime);
}

static inline weft_pid rig_spawn_type(struct rig *rig, const weft_type *type, struct probe *probe) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &probe, .arg_size = sizeof(struct probe *)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    ck_assert(!weft_pid_is_none(pid));
    return pid;
}

static inline weft_pid rig_spawn(struct rig *rig, struct probe *probe) {
    return rig_spawn_type(rig, rig->puppet, probe);
}

/* Runs fn(ctx, arg) in a puppet's context and waits for its end. */
static inline void act(struct rig *rig, weft_pid pid, job_fn fn, void *arg) {
    struct job job = {.fn = fn, .arg = arg};
    weft_msg *reply = NULL;
    ck_assert_int_eq(
        weft_runtime_call(rig->runtime, pid, TAG_ACT, &job, sizeof(job), 60 * S_NS, &reply), 0);
    weft_runtime_msg_release(rig->runtime, &reply);
    ck_assert_ptr_null(reply);
}

static inline void act_nothing(weft_ctx *ctx, void *arg) {
    (void)ctx;
    (void)arg;
}

/* What was sent to pid from outside before is handled when this returns. */
static inline void settle(struct rig *rig, weft_pid pid) {
    act(rig, pid, act_nothing, NULL);
}

static inline bool is_alive(struct rig *rig, weft_pid pid) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    return weft_inspect(rig->runtime, pid, &info) == 0;
}

/* Cases tagged "open" show a fault that is known and not mended yet; they run only when they are
 * asked for, with CK_INCLUDE_TAGS=open. */
static inline int run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_tagged(runner, NULL, NULL, NULL, getenv("CK_INCLUDE_TAGS") == NULL ? "open" : NULL,
                       CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
