/* SPDX-License-Identifier: MIT
 *
 * Jobs for tests, and who starts them. A tally counts the jobs that have begun and those that are
 * over, whatever ended them, so a test sees when one runs on for nobody.
 */
#ifndef WEFT_TESTS_UNIT_JOB_SUPPORT_H
#define WEFT_TESTS_UNIT_JOB_SUPPORT_H

#include "tests/unit/support.h"

struct tally {
    weft_atomic_u32 begun;
    weft_atomic_u32 over;    /* their cleanups have run */
    weft_atomic_u32 running; /* of those that say so: task_enter and task_leave */
    weft_atomic_u32 most;    /* of these at a time */
    weft_atomic_u32 gate;
    weft_atomic_u64 pid; /* slot and generation of one */
};

/* The argument of these jobs. */
struct task {
    struct tally *tally;
    size_t give; /* bytes of the result */
    uint64_t delay_ns;
    uint32_t way; /* of waiting */
};

enum { WAYS = 4 };

static inline uint32_t rig_left(struct tally *tally) {
    uint32_t over = weft_load32_acquire(&tally->over); /* first: never below nothing */
    return weft_load32_acquire(&tally->begun) - over;
}

static inline void task_over(void *arg) {
    struct tally *tally = arg;
    (void)weft_add32_acq_rel(&tally->over, 1);
}

/* What every job does first. */
static inline struct task task_of(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task;
    ck_assert_uint_eq(arg_size, sizeof(task));
    memcpy(&task, arg, sizeof(task));
    int result = weft_defer(ctx, task_over, task.tally);
    if (result != 0) {
        ck_assert_int_eq(result, -ENOMEM);
        weft_exit(ctx, result);
    }
    (void)weft_add32_acq_rel(&task.tally->begun, 1);
    return task;
}

static inline void task_enter(struct tally *tally) {
    uint32_t running = weft_add32_acq_rel(&tally->running, 1) + 1;
    uint32_t most = weft_load32_relaxed(&tally->most);
    while (running > most && !weft_cas32_acq_rel(&tally->most, &most, running)) {
    }
}

static inline void task_leave(struct tally *tally) {
    (void)weft_add32_acq_rel(&tally->running, UINT32_MAX);
}

/* Gives so many bytes, after a while. */
static inline int job_give(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task = task_of(ctx, arg, arg_size);
    if (task.delay_ns != 0) {
        int result = weft_sleep(ctx, task.delay_ns);
        if (result != 0) {
            return result;
        }
    }
    if (task.give == 0) {
        return weft_job_result(ctx, NULL, 0);
    }
    unsigned char *bytes = malloc(task.give);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 0x44, task.give);
    int result = weft_job_result(ctx, bytes, task.give);
    free(bytes);
    return result;
}

/* Never gives anything: waits in one of several ways, none of which lets it notice anything. */
static inline int job_waits(weft_ctx *ctx, const void *arg, size_t arg_size) {
    struct task task = task_of(ctx, arg, arg_size);
    weft_msg *msg = NULL;
    int result = 0;
    switch (task.way) {
    case 0:
        result = weft_sleep(ctx, 60 * S_NS);
        break;
    case 1:
        (void)weft_trap_exit(ctx, true); /* that does not save it */
        while (result == 0) {
            result = weft_receive(ctx, WEFT_FOREVER, &msg);
        }
        break;
    case 2:
        result = weft_await(ctx, 1, WEFT_FOREVER, &msg);
        break;
    default:
        while (result == 0) {
            result = weft_yield(ctx);
        }
        break;
    }
    return result != 0 ? result : -EPROTO; /* it was not to come so far, but for want of memory */
}

/* What a puppet is to start or to cancel. */
struct begin {
    weft_job_fn fn;
    const void *arg;
    size_t size;
    uint64_t timeout_ns;
    uint64_t token;
    int result;
    bool cancel; /* at once */
    int cancelled;
};

static inline void cancel_job(weft_ctx *ctx, void *arg) {
    struct begin *begin = arg;
    begin->cancelled = weft_call_cancel(ctx, begin->token);
}

static inline void begin_job(weft_ctx *ctx, void *arg) {
    struct begin *begin = arg;
    uint64_t timeout_ns = begin->timeout_ns == 0 ? 60 * S_NS : begin->timeout_ns;
    begin->result =
        weft_job_start(ctx, begin->fn, begin->arg, begin->size, timeout_ns, begin->token);
    if (begin->cancel) {
        cancel_job(ctx, begin);
    }
}

/* ---- processes ----------------------------------------------------------------------------- */

typedef void (*body_fn)(weft_ctx *ctx, struct tally *tally);
struct body {
    body_fn fn;
    struct tally *tally;
    weft_atomic_u32 *done;
};

static inline int body_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct body body;
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(body));
    memcpy(&body, arg, sizeof(body));
    body.fn(ctx, body.tally);
    weft_store32_release(body.done, 1);
    return WEFT_CONTINUE;
}

static inline weft_pid start_process(struct rig *rig, body_fn fn, struct tally *tally,
                                     weft_atomic_u32 *done) {
    struct body body = {.fn = fn, .tally = tally, .done = done};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "body", .process = body_run};
    const weft_type *type = weft_type_find(rig->runtime, "body");
    if (type == NULL) {
        type = rig_type(rig, &def);
    }
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &body, .arg_size = sizeof(body)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    return pid;
}

/* Runs fn as a process and waits for its end. */
static inline void run_process(struct rig *rig, body_fn fn, struct tally *tally) {
    weft_atomic_u32 done = {0};
    weft_pid pid = start_process(rig, fn, tally, &done);
    eventually(weft_load32_acquire(&done) == 1);
    eventually(!is_alive(rig, pid));
}

#endif
