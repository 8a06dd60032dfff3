/* SPDX-License-Identifier: MIT
 *
 * Services: actors that answer requests of known kinds, by a table of operations in place of one
 * receive function; the pattern of gen_server of Erlang/OTP. And calls to many actors at once.
 *
 * Every call has a reference of its own, so a late answer is never taken for the answer to
 * another call: it is dropped and counted (replies_late). Stability: stable.
 */
#ifndef WEFT_SERVICE_H
#define WEFT_SERVICE_H

#include <weft/actor.h>
#include <weft/process.h>
#include <weft/runtime.h>

WEFT_BEGIN_DECLS

/* ---- services ------------------------------------------------------------------------------ */

/* An operation that is called. request [borrow]: answer it now (weft_reply, weft_reply_error), or
 * weft_msg_take it and answer later, also from another callback; not answered and not taken: the
 * caller gets WEFT_E_NOREPLY. Results as weft_receive_fn. */
typedef int (*weft_service_call_fn)(weft_ctx *ctx, void *state, weft_msg *request);
/* One that is cast (weft_send). */
typedef int (*weft_service_cast_fn)(weft_ctx *ctx, void *state, const weft_msg *msg);

typedef struct weft_operation {
    uint32_t tag;              /* unique among the calls, and among the casts */
    const char *name;          /* for the log; [borrow], as long as the runtime; may be NULL */
    size_t size_min;           /* a payload outside is refused: -EBADMSG to a caller, a cast is */
    size_t size_max;           /* a dead letter; size_max 0: no upper limit */
    weft_service_call_fn call; /* one of the two */
    weft_service_cast_fn cast;
} weft_operation;

enum { WEFT_OPERATIONS_MAX = 4096 };

typedef struct weft_service_def {
    size_t struct_size;               /* WEFT_SERVICE_DEF_INIT */
    const weft_type_def *type;        /* [borrow]; all but receive and process, which are NULL */
    const weft_operation *operations; /* [borrow], copied */
    uint32_t operation_count;         /* at most WEFT_OPERATIONS_MAX; 0: only other */
    weft_receive_fn other; /* all other messages: timers, EXIT, DOWN, replies...; NULL: ignored.
                              Calls with an unknown tag are answered -ENOSYS, casts are dead
                              letters */
    weft_receive_fn idle;  /* see weft_service_idle; msg is a TIMER message */
} weft_service_def;
#define WEFT_SERVICE_DEF_INIT sizeof(weft_service_def)

/* Registers the type of a service: spawned, called, supervised and made virtual as any type. What
 * a service refuses is logged (service.refused, debug). Errors as weft_type_register. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_service_register(weft_runtime *runtime, const weft_service_def *def,
                                                const weft_type **ret_type);

/* In a service: idle is called once when nothing is received for so long from now on. Whatever it
 * receives, and calling this again, ends the waiting; WEFT_FOREVER: only that. A message that waits
 * already goes before idle. Cheap enough for every message: the timer is set anew only when it
 * fires too early. Counted on the clock of weft_now_ns. Actor only. 0, -ENOMEM, WEFT_E_LIMIT (timers), -EINVAL: no service, or without
 * idle. On error the waiting has ended. */
WEFT_API int weft_service_idle(weft_ctx *ctx, uint64_t timeout_ns);

/* ---- calls to many ------------------------------------------------------------------------- */

typedef struct weft_multi_request {
    size_t struct_size;      /* WEFT_MULTI_REQUEST_INIT */
    const weft_pid *targets; /* [borrow]; one that is there twice is called twice */
    uint32_t count;
    uint32_t tag;
    const void *data; /* [borrow], copied */
    size_t size;
    uint64_t timeout_ns; /* for all together; 0: the configured default */
} weft_multi_request;
#define WEFT_MULTI_REQUEST_INIT sizeof(weft_multi_request)

typedef struct weft_multi_result {
    int status;      /* 0, or why there is no reply, as with weft_call and its REPLY */
    weft_msg *reply; /* [out] with status 0, for weft_msg_release; else NULL */
} weft_multi_result;

/* Calls all without waiting. Number i of targets is called with token + i, and exactly one REPLY
 * with that token follows, also for those that could not be called: its status says why. Returns
 * count; or an error, and then nobody was called and no REPLY follows: -EINVAL, -ENOMEM, -EMSGSIZE,
 * WEFT_E_LIMIT (pending calls). Actor only. */
WEFT_API int weft_multi_call(weft_ctx *ctx, const weft_multi_request *request, uint64_t token);

/* The same, but suspends the process until all have answered or the time is over. ret_results has
 * count places, in the order of targets. Returns how many answered, or an error as above, or
 * -EPERM: no process (ret_results is untouched then). */
WEFT_API int weft_multi_call_wait(weft_ctx *ctx, const weft_multi_request *request,
                                  weft_multi_result *ret_results);

/* The same from a thread that is no scheduler's; replies are for weft_runtime_msg_release. Errors
 * of all: -EINVAL, -ENOMEM, -EMSGSIZE, -EDEADLK and WEFT_E_SHUTDOWN as weft_runtime_call. */
WEFT_API int weft_runtime_multi_call(weft_runtime *runtime, const weft_multi_request *request,
                                     weft_multi_result *ret_results);

WEFT_END_DECLS

#endif
