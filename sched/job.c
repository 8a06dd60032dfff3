/* SPDX-License-Identifier: MIT
 *
 * Jobs: see weft/job.h and sched/job.h. weft_job_start runs in the starter's context, job_main on
 * the job's own stack.
 */
#include "sched/job.h"
#include "core/config.h"
#include "sched/bonds.h"
#include "sched/process.h"

#include <weft/job.h>

enum { JOB_TAG = 0x6a6f62 };

/* The state of a job. */
struct job {
    weft_msg *request; /* what it answers; NULL: not come yet, or answered */
    weft_msg *result;  /* a message that was never sent, or NULL: empty */
};

/* ---- the job ------------------------------------------------------------------------------- */

/* J2. arg: the parent. */
static bool is_request(const weft_msg *msg, void *arg) {
    const uint64_t *parent = arg;
    return weft__is_request(msg) && msg->weft__tag == JOB_TAG && msg->weft__from == *parent;
}

static void answer(weft_ctx *ctx, struct job *job, int result) {
    const weft_msg *given = job->result;
    if (result < 0) {
        (void)weft_reply_error(ctx, &job->request, result); /* or nobody waits any more */
    } else if (given == NULL) {
        (void)weft_reply(ctx, &job->request, 0, NULL, 0);
    } else if (weft_msg_buf(given) != NULL) {
        (void)weft_reply_buf(ctx, &job->request, 0, weft_msg_buf(given), 0, weft_msg_size(given));
    } else {
        (void)weft_reply(ctx, &job->request, 0, weft_msg_data(given), weft_msg_size(given));
    }
}

static int job_main(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct job *job = state;
    weft_job_fn fn;
    uint64_t parent = weft_load64_relaxed(&ctx->parent);
    weft_msg *msg;
    if (arg_size != sizeof(fn) || parent == 0) {
        return -EINVAL; /* spawned by somebody who found the type */
    }
    memcpy(&fn, arg, sizeof(fn));
    int result = weft_receive_match(ctx, WEFT_FOREVER, is_request, &parent, &msg);
    if (result != 0) {
        return result;
    }
    job->request = weft_msg_take(ctx, msg);
    result = fn(ctx, weft_msg_data(job->request), weft_msg_size(job->request));
    answer(ctx, job, result);
    return WEFT_CONTINUE;
}

/* It ends before fn has returned: by itself, by a link, by a stop. A kill leaves the request to the
 * runtime, which answers it. */
static void job_terminate(weft_ctx *ctx, void *state, int reason) {
    struct job *job = state;
    if (job->request != NULL && reason < 0) {
        (void)weft_reply_error(ctx, &job->request, reason);
    }
}

static const weft_type_def job_def = {
    .struct_size = WEFT_TYPE_DEF_INIT,
    .name = "weft.job",
    .state_size = sizeof(struct job),
    .terminate = job_terminate,
    .process = job_main,
};

int weft_job_result(weft_ctx *ctx, const void *data, size_t size) {
    if (data == NULL && size != 0) {
        return -EINVAL;
    }
    if (ctx->type->def.process != job_main || weft__process_inside(ctx) == NULL) {
        return -EPERM;
    }
    struct job *job = ctx->state;
    weft_msg *msg = NULL;
    if (size != 0) {
        int result = weft_msg_create(ctx, 0, size, &msg);
        if (result != 0) {
            return result;
        }
        memcpy(weft_msg_body(msg), data, size);
    }
    weft_msg_release(ctx, &job->result);
    job->result = msg;
    return 0;
}

/* ---- starting ------------------------------------------------------------------------------ */

static int job_type(weft_runtime *runtime, const weft_type **ret_type) {
    /* J3: the type was filled before its address; pairs with the release below. */
    const weft_type *type = (void *)(uintptr_t)weft_load64_acquire(&runtime->job_type);
    if (weft_likely(type != NULL)) {
        *ret_type = type;
        return 0;
    }
    int result = weft__type_library(runtime, &job_def, 0, &type);
    if (result == 0) {
        weft_store64_release(&runtime->job_type, (uintptr_t)type); /* J3 */
        *ret_type = type;
    }
    return result;
}

/* What starting needs and may not get, all or nothing. */
struct start {
    const weft_type *type;
    weft_msg *kill;
    struct weft__asked asked;
};

static int start_prepare(weft_ctx *ctx, const struct weft__job_draft *draft, struct start *start) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__ext *ext = weft__ext_of(ctx);
    int result = ext == NULL ? -ENOMEM : job_type(s->runtime, &start->type);
    if (result == 0) {
        result = weft__map_reserve(&ext->jobs_started, s->core);
    }
    if (result == 0) {
        result = weft__signal_make(s, WEFT__SIGNAL_KILL, &start->kill);
    }
    if (result != 0) {
        return result;
    }
    struct weft__draft request = {.data = draft->arg,
                                  .size = draft->arg_size,
                                  .tag = JOB_TAG,
                                  .kind = WEFT_MSG_REQUEST,
                                  .wide = true};
    start->asked.target = 0; /* it is not spawned yet */
    result = weft__call_prepare(ctx, &request, draft->timeout_ns, draft->token, &start->asked);
    if (result != 0) {
        weft__msg_free(s->runtime, s, start->kill);
    }
    return result;
}

static void start_undo(weft_ctx *ctx, const struct start *start) {
    struct weft__scheduler *s = ctx->runner;
    weft__msg_free(s->runtime, s, start->asked.msg);
    weft__msg_free(s->runtime, s, start->kill);
    weft__call_undo(ctx, start->asked.reference);
}

int weft__job_start(weft_ctx *ctx, const struct weft__job_draft *draft, uint64_t *ret_reference) {
    struct weft__scheduler *s = ctx->runner;
    struct start start;
    int result = start_prepare(ctx, draft, &start);
    if (result != 0) {
        return result;
    }
    struct weft__birth birth = {.type = start.type,
                                .arg = &draft->fn,
                                .arg_size = sizeof(draft->fn),
                                .parent = weft__from(ctx),
                                .scheduler = -1};
    weft_pid pid;
    start.asked.msg->weft__from = weft__from(ctx);
    result = weft__spawn(s->runtime, s, &birth, &pid);
    if (result == 0) {
        /* Unbounded: a mailbox may be that small. It fails when the runtime stops just now. */
        result = weft__post(s, weft__target(pid), start.asked.msg, false);
    }
    if (result != 0) {
        start_undo(ctx, &start);
        return result;
    }
    weft_counter_add(&s->counters.messages_sent, 1);
    start.kill->weft__from = weft__from(ctx);
    start.kill->weft__u.weft__r.weft__ref = weft__target(pid);
    weft__map_put(&ctx->ext->jobs_started, start.asked.reference,
                  weft__arena_index(s->messages, start.kill));
    *ret_reference = start.asked.reference;
    return 0;
}

int weft_job_start(weft_ctx *ctx, weft_job_fn fn, const void *arg, size_t arg_size,
                   uint64_t timeout_ns, uint64_t token) {
    if (fn == NULL || (arg == NULL && arg_size != 0)) {
        return -EINVAL;
    }
    struct weft__job_draft draft = {
        .fn = fn, .arg = arg, .arg_size = arg_size, .timeout_ns = timeout_ns, .token = token};
    uint64_t reference; /* its token says who it is */
    return weft__job_start(ctx, &draft, &reference);
}

/* ---- ending -------------------------------------------------------------------------------- */

/* Takes the cell of a job's KILL; NULL: no job's call. */
static weft_msg *take_kill(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t reference) {
    uint64_t index;
    return weft__map_remove(&ctx->ext->jobs_started, s->core, reference, &index)
               ? weft__arena_msg(s->messages, (uint32_t)index)
               : NULL;
}

static void post_kill(struct weft__scheduler *s, weft_msg *kill) {
    uint64_t target = kill->weft__u.weft__r.weft__ref;
    kill->weft__u.weft__r.weft__value = WEFT_E_KILLED;
    (void)weft__signal_post(s, target, kill); /* it may have ended just now */
}

void weft__job_over(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t reference) {
    weft_msg *kill = take_kill(s, ctx, reference);
    if (kill != NULL) {
        weft__msg_free(s->runtime, s, kill);
    }
}

void weft__job_kill(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t reference) {
    weft_msg *kill = take_kill(s, ctx, reference);
    if (kill != NULL) {
        post_kill(s, kill);
    }
}

void weft__jobs_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token) {
    const struct weft__calls *calls = &ctx->ext->calls;
    for (uint32_t index = 0; index < calls->used; index++) {
        const struct weft__call *call = &calls->records[index];
        if ((call->seq & 1) == 1 && call->token == token) {
            weft__job_kill(s, ctx, (uint64_t)call->seq << 32 | index);
        }
    }
}

void weft__jobs_end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    if (ctx->ext == NULL) {
        return;
    }
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = weft__map_next(&ctx->ext->jobs_started, &cursor)) != NULL) {
        post_kill(s, weft__arena_msg(s->messages, (uint32_t)entry->value));
    }
    weft__map_fini(&ctx->ext->jobs_started, s->core);
}
