/* SPDX-License-Identifier: MIT
 *
 * Blocking work: see sched/blocking.h.
 */
#include "sched/blocking.h"
#include "sched/actor.h"
#include <string.h>

struct job {
    weft_blocking_fn fn;
    void *arg;
    void (*discard)(void *arg); /* instead of fn when it is never run; or NULL */
    weft_msg *done; /* the DONE message, filled but for its status; NULL: none is wanted */
    uint64_t target;
    uint64_t queued_ns;
};

struct helper {
    struct weft__blocking *pool;
    void *driver;
    void *thread;
    uint32_t next_asleep; /* index plus one; under lock */
    bool asleep;          /* under lock */
};

struct weft__blocking {
    weft_runtime *runtime;
    uint32_t helper_count;
    uint32_t capacity;
    struct weft__lock lock;
    uint32_t head;         /* under lock */
    uint32_t queued;       /* under lock */
    uint32_t running;      /* under lock */
    uint32_t asleep;       /* under lock: top of the stack of sleeping helpers, index plus one */
    weft_histogram waited; /* under lock */
    struct job *jobs;
    struct helper *helpers;
};

int weft__blocking_create(weft_runtime *runtime) {
    struct weft__core *core = &runtime->core;
    struct weft__blocking *pool = weft__alloc(core, sizeof(*pool), "blocking");
    if (pool == NULL) {
        return -ENOMEM;
    }
    runtime->blocking = pool;
    pool->runtime = runtime;
    pool->helper_count = runtime->config.blocking_threads;
    pool->capacity = runtime->config.blocking_queue;
    pool->jobs = weft__alloc(core, pool->capacity * sizeof(*pool->jobs), "jobs");
    pool->helpers = weft__alloc(core, pool->helper_count * sizeof(*pool->helpers), "helpers");
    if (pool->jobs == NULL || pool->helpers == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < pool->helper_count; i++) {
        pool->helpers[i].pool = pool;
        int result = core->env->driver_create(core->env, false, &pool->helpers[i].driver);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

/* Takes a helper off the stack of sleepers. Bounded by the helpers. Under lock. */
static void leave_stack(struct weft__blocking *pool, struct helper *helper) {
    uint32_t *link = &pool->asleep;
    while (*link != (uint32_t)(helper - pool->helpers) + 1) {
        link = &pool->helpers[*link - 1].next_asleep;
    }
    *link = helper->next_asleep;
    helper->asleep = false;
}

/* The next job, or false: the helper is on the stack of sleepers then. */
static bool take_job(struct weft__blocking *pool, struct helper *helper, struct job *ret_job) {
    weft_env *env = pool->runtime->core.env;
    uint64_t now_ns = env->now_mono_ns(env);
    weft__lock_enter(&pool->lock, env);
    bool found = pool->queued != 0;
    if (found && helper->asleep) {
        leave_stack(pool, helper); /* woken spuriously: nobody has popped it */
    }
    if (found) {
        *ret_job = pool->jobs[pool->head];
        pool->head = (pool->head + 1) % pool->capacity;
        pool->queued--;
        pool->running++;
        weft_histogram_add(&pool->waited, now_ns - ret_job->queued_ns);
    } else if (!helper->asleep) {
        helper->asleep = true;
        helper->next_asleep = pool->asleep;
        pool->asleep = (uint32_t)(helper - pool->helpers) + 1;
    }
    weft__lock_leave(&pool->lock);
    return found;
}

static void deliver(struct weft__blocking *pool, const struct job *job, int status) {
    weft_runtime *runtime = pool->runtime;
    if (job->done != NULL) {
        job->done->weft__u.weft__r.weft__value = status;
        if (weft__post_outside(runtime, job->target, job->done, false) != 0) {
            weft__msg_free(runtime, NULL, job->done); /* the actor is gone */
        }
    }
    weft__lock_enter(&pool->lock, runtime->core.env);
    pool->running--;
    weft__lock_leave(&pool->lock);
}

static int run_job(const struct job *job, uint32_t phase) {
    if (phase < WEFT__RUNTIME_STOPPING) {
        return job->fn(job->arg);
    }
    if (job->discard != NULL) {
        job->discard(job->arg);
    }
    return WEFT_E_SHUTDOWN;
}

static enum weft_step helper_step(void *arg, uint64_t *deadline_ns) {
    struct helper *helper = arg;
    struct weft__blocking *pool = helper->pool;
    struct job job;
    *deadline_ns = UINT64_MAX;
    uint32_t phase = weft__phase(pool->runtime);
    if (!take_job(pool, helper, &job)) {
        return phase >= WEFT__RUNTIME_LEAVING ? WEFT_STEP_EXIT : WEFT_STEP_PARK;
    }
    deliver(pool, &job, run_job(&job, phase));
    if (phase >= WEFT__RUNTIME_STOPPING && weft__blocking_done(pool->runtime)) {
        weft__wake(pool->runtime, 0); /* scheduler 1 looks whether the runtime can leave */
    }
    return WEFT_STEP_RAN;
}

static int submit(struct weft__blocking *pool, const struct job *job) {
    weft_env *env = pool->runtime->core.env;
    struct helper *woken = NULL;
    weft__lock_enter(&pool->lock, env);
    bool full = pool->queued == pool->capacity;
    if (!full) {
        pool->jobs[(pool->head + pool->queued) % pool->capacity] = *job;
        pool->queued++;
        if (pool->asleep != 0) {
            woken = &pool->helpers[pool->asleep - 1];
            pool->asleep = woken->next_asleep;
            woken->asleep = false;
        }
    }
    weft__lock_leave(&pool->lock);
    if (woken != NULL) {
        env->driver_wake(env, woken->driver);
    }
    return full ? -EBUSY : 0;
}

/* The message of a job, before it is accepted: so its result can always be delivered. */
static int make_done(struct weft__scheduler *s, const struct weft__work *work, weft_msg **ret_msg) {
    struct weft__draft draft = {.kind = work->kind, .wide = true};
    int result = weft__msg_make(s->runtime, s, &draft, ret_msg);
    if (result == 0) {
        (*ret_msg)->weft__u.weft__r.weft__ref = work->token;
    }
    return result;
}

int weft__blocking_run(struct weft__scheduler *s, const struct weft__work *work) {
    weft_runtime *runtime = s->runtime;
    if (weft__phase(runtime) >= WEFT__RUNTIME_STOPPING) {
        return WEFT_E_SHUTDOWN;
    }
    struct job job = {
        .fn = work->fn, .arg = work->arg, .discard = work->discard, .target = work->target};
    int result = work->kind == WEFT__WORK_SILENT ? 0 : make_done(s, work, &job.done);
    if (result != 0) {
        return result;
    }
    job.queued_ns = weft__now(s->core);
    result = submit(runtime->blocking, &job);
    if (result != 0) {
        if (job.done != NULL) {
            weft__msg_free(runtime, s, job.done);
        }
        WEFT__COUNT(runtime, NULL, blocking_rejected, 1);
        return result;
    }
    WEFT__COUNT(runtime, NULL, blocking_jobs, 1);
    return 0;
}

int weft_blocking(weft_ctx *ctx, weft_blocking_fn fn, void *arg, uint64_t token) {
    if (fn == NULL) {
        return -EINVAL;
    }
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    struct weft__work work = {
        .fn = fn, .arg = arg, .target = weft__from(ctx), .token = token, .kind = WEFT_MSG_DONE};
    int result = weft__blocking_run(ctx->runner, &work);
    ext->jobs += result == 0 ? 1 : 0;
    return result;
}

bool weft__blocking_done(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    weft__lock_enter(&pool->lock, runtime->core.env);
    bool done = pool->queued == 0 && pool->running == 0;
    weft__lock_leave(&pool->lock);
    return done;
}

uint64_t weft__blocking_queued(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    weft__lock_enter(&pool->lock, runtime->core.env);
    uint64_t queued = pool->queued;
    weft__lock_leave(&pool->lock);
    return queued;
}

void weft__blocking_wait_times(weft_runtime *runtime, weft_histogram *ret_histogram) {
    struct weft__blocking *pool = runtime->blocking;
    weft__lock_enter(&pool->lock, runtime->core.env);
    *ret_histogram = pool->waited;
    weft__lock_leave(&pool->lock);
}

int weft__blocking_start(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    for (uint32_t i = 0; i < pool->helper_count; i++) {
        weft_env_thread thread = {.name = "weft-helper",
                                  .kind = WEFT_THREAD_HELPER,
                                  .index = i,
                                  .cpu = -1,
                                  .driver = pool->helpers[i].driver,
                                  .step = helper_step,
                                  .arg = &pool->helpers[i]};
        int result =
            runtime->core.env->thread_start(runtime->core.env, &thread, &pool->helpers[i].thread);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

void weft__blocking_wake_all(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    for (uint32_t i = 0; i < pool->helper_count; i++) {
        runtime->core.env->driver_wake(runtime->core.env, pool->helpers[i].driver);
    }
}

void weft__blocking_step(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    for (uint32_t i = 0; i < pool->helper_count; i++) {
        if (pool->helpers[i].thread == NULL) {
            uint64_t deadline_ns;
            (void)helper_step(&pool->helpers[i], &deadline_ns);
        }
    }
}

void weft__blocking_join(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    weft__blocking_wake_all(runtime);
    for (uint32_t i = 0; i < pool->helper_count; i++) {
        if (pool->helpers[i].thread != NULL) {
            runtime->core.env->thread_join(runtime->core.env, pool->helpers[i].thread);
            pool->helpers[i].thread = NULL;
        }
    }
}

void weft__blocking_destroy(weft_runtime *runtime) {
    struct weft__blocking *pool = runtime->blocking;
    if (pool == NULL) {
        return;
    }
    struct weft__core *core = &runtime->core;
    for (uint32_t i = 0; pool->helpers != NULL && i < pool->helper_count; i++) {
        if (pool->helpers[i].driver != NULL) {
            core->env->driver_destroy(core->env, pool->helpers[i].driver);
        }
    }
    weft__free(core, pool->jobs, pool->capacity * sizeof(*pool->jobs), "jobs");
    weft__free(core, pool->helpers, pool->helper_count * sizeof(*pool->helpers), "helpers");
    weft__free(core, pool, sizeof(*pool), "blocking");
    runtime->blocking = NULL;
}
