/* SPDX-License-Identifier: MIT
 *
 * Jobs: functions that run as processes of their own and give one result, as Task of Elixir. Any
 * actor starts one; a process awaits it with weft_await, others get its REPLY. Stability: stable.
 */
#ifndef WEFT_JOB_H
#define WEFT_JOB_H

#include <weft/service.h>

WEFT_BEGIN_DECLS

/* Runs as a process; arg is a copy, aligned to 16, valid until it returns. A negative result is the
 * job's failure; the result of one that succeeds is what it gave to weft_job_result, or empty. */
typedef int (*weft_job_fn)(weft_ctx *ctx, const void *arg, size_t arg_size);

/* In a job: its result [borrow], copied; the last one counts. 0, -EMSGSIZE, -ENOMEM (what was given
 * before stays), -EPERM: no job. */
WEFT_API int weft_job_result(weft_ctx *ctx, const void *data, size_t size);

/* Starts fn with a copy of arg. Exactly one REPLY with this token follows: its result, or the status
 * says why there is none: what fn returned or exited with, WEFT_E_NOPROC (it was ended otherwise),
 * -ETIMEDOUT. A job is killed (weft_kill: what it gave to weft_defer runs) when its time is over,
 * when this actor ends, and by weft_call_cancel(token), after which no REPLY follows. It is not
 * linked. timeout_ns 0: the default of calls. Actor only. Errors as weft_spawn and weft_call, -EEXIST
 * (the program has a type named weft.job); then there is neither job nor REPLY. */
WEFT_API WEFT_MUSTUSE int weft_job_start(weft_ctx *ctx, weft_job_fn fn, const void *arg,
                                         size_t arg_size, uint64_t timeout_ns, uint64_t token);

typedef struct weft_job_map_request {
    size_t struct_size; /* WEFT_JOB_MAP_REQUEST_INIT */
    weft_job_fn fn;     /* called for each item: arg is a copy of it */
    const void *items;  /* [borrow] count items of item_size bytes */
    size_t item_size;
    uint32_t count;
    uint32_t concurrency; /* jobs at a time; 0: as many as schedulers */
    uint64_t timeout_ns;  /* for each job */
} weft_job_map_request;
#define WEFT_JOB_MAP_REQUEST_INIT sizeof(weft_job_map_request)

/* Runs fn for all items, so many at a time: results in the order of the items, replies for
 * weft_msg_release. What happens to one job is the status of its item only; also that it could not
 * be started, once no other runs for whose end it could wait. Suspends the process; when that ends
 * meanwhile, its jobs are killed. Returns how many succeeded, or -EINVAL, -EPERM: no process
 * (ret_results is untouched then). */
WEFT_API int weft_job_map_wait(weft_ctx *ctx, const weft_job_map_request *request,
                               weft_multi_result *ret_results);

WEFT_END_DECLS

#endif
