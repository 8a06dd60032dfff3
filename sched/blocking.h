/* SPDX-License-Identifier: MIT
 *
 * The pool of helper threads for work that blocks. A bounded ring of jobs under a lock, a stack of
 * helpers that sleep. The DONE message of a job is made when the job is accepted, so that its
 * result can always be delivered.
 */
#ifndef WEFT_SCHED_BLOCKING_H
#define WEFT_SCHED_BLOCKING_H

#include "sched/scheduler.h"

/* A kind: no message follows; fn, or discard, does the telling. */
enum { WEFT__WORK_SILENT = 0 };

/* Work for a helper thread; exactly one message of this kind follows, if the target lives. */
struct weft__work {
    weft_blocking_fn fn;
    void *arg;
    void (*discard)(void *arg); /* called instead of fn when that is never run; or NULL */
    uint64_t target;            /* slot and generation of the actor that is told */
    uint64_t token;
    uint8_t kind;
};
/* As weft_blocking. */
int weft__blocking_run(struct weft__scheduler *s, const struct weft__work *work);

int weft__blocking_create(weft_runtime *runtime);
int weft__blocking_start(weft_runtime *runtime);
/* Every accepted job has delivered its DONE. Any thread. */
bool weft__blocking_done(weft_runtime *runtime);
/* Tells helpers to look at the runtime's phase. */
void weft__blocking_wake_all(weft_runtime *runtime);
/* Does what helpers that never got a thread would do while the runtime stops: answers jobs. */
void weft__blocking_step(weft_runtime *runtime);
void weft__blocking_join(weft_runtime *runtime);
void weft__blocking_destroy(weft_runtime *runtime);
uint64_t weft__blocking_queued(weft_runtime *runtime);
void weft__blocking_wait_times(weft_runtime *runtime, weft_histogram *ret_histogram);

#endif
