/* SPDX-License-Identifier: MIT
 *
 * What the parts of the library need to know of jobs (weft/job.h). A job is a process of type
 * "weft.job" that its starter has called: the answer is the job's result. The starter keeps for
 * each call of this kind, by its reference, the cell of a KILL signal for the job, so that ending
 * one never needs memory. Everything here belongs to the scheduler that runs the starter.
 *
 *   J1  ext->jobs_started has an entry exactly while the call is pending. Whoever takes the call out
 *       of the table says so here: an answer (weft__job_over), the time or weft_call_cancel
 *       (weft__job_kill), the starter's end (weft__jobs_end).
 *   J2  A job serves the request of its parent and no other, whatever else is sent to it.
 */
#ifndef WEFT_SCHED_JOB_H
#define WEFT_SCHED_JOB_H

#include "sched/actor.h"

#include <weft/job.h>

struct weft__job_draft {
    weft_job_fn fn;
    const void *arg;
    size_t arg_size;
    uint64_t timeout_ns;
    uint64_t token;
};
/* As weft_job_start; the reference of the call [out]. */
int weft__job_start(weft_ctx *ctx, const struct weft__job_draft *draft, uint64_t *ret_reference);

/* The call of this reference, perhaps a job's, was answered: the job ends by itself. */
void weft__job_over(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t reference);
/* Nobody waits for the answer to this call any more: if it was a job's, the job is killed. */
void weft__job_kill(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t reference);
/* The same for all pending calls with a token. */
void weft__jobs_cancel(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token);
/* The actor ends: all its jobs are killed. */
void weft__jobs_end(struct weft__scheduler *s, struct weft_ctx *ctx);

#endif
