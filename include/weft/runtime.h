/* SPDX-License-Identifier: MIT
 *
 * The runtime, and what threads that are not schedulers may do with it. A runtime is created,
 * its types are registered, it is started, stopped and destroyed. Several may live in one process.
 * Signals are blocked in all threads the library starts. After fork the child must not use a
 * runtime of its parent, except _exit and exec. C++ exceptions must not leave a callback.
 * Stability: stable.
 */
#ifndef WEFT_RUNTIME_H
#define WEFT_RUNTIME_H

#include <weft/actor.h>
#include <weft/config.h>
#include <weft/defs.h>
#include <weft/env.h>
#include <weft/error.h>

WEFT_BEGIN_DECLS

/* ---- life ---------------------------------------------------------------------------------- */

/* A runtime that is not running yet [out]. config [borrow], NULL for defaults. With io_uring, later
 * system calls of the calling thread may be interrupted (EINTR); also after weft_runtime_destroy.
 * Errors: -EINVAL, -E2BIG (a larger config struct than this library knows), -ENOMEM,
 * WEFT_E_CONFIG, and with io.driver = uring why there is none: -ENOSYS, -EPERM, ... */
WEFT_API WEFT_MUSTUSE int weft_runtime_create(const weft_config *config,
                                              weft_runtime **ret_runtime);

/* The same on an environment of the caller's [borrow], which must outlive it: see weft/env.h. */
WEFT_API WEFT_MUSTUSE int weft_runtime_create_env(const weft_config *config, weft_env *env,
                                                  weft_runtime **ret_runtime);

/* Starts the threads; once in a runtime's life. Actors may be spawned and sent to before, they run
 * from now on. 0, -EALREADY, or what starting a thread answered; after an error the
 * runtime may only be destroyed. */
WEFT_API WEFT_MUSTUSE int weft_runtime_start(weft_runtime *runtime);

/* Stops: no new actor is spawned, every actor is stopped with WEFT_E_SHUTDOWN and its terminate
 * runs, threads end. 0; -ETIMEDOUT when something still runs after timeout_ns (call again, with
 * any timeout; until it answers 0 nothing may be destroyed); -EBUSY while another thread stops it;
 * -EDEADLK on a scheduler's thread. What was written to connections is sent meanwhile, as far as the
 * first call's timeout and linger_ns allow (weft/stream.h).
 * Idempotent. A program that drives a scheduler itself calls this on the driving thread. */
WEFT_API WEFT_MUSTUSE int weft_runtime_stop(weft_runtime *runtime, uint64_t timeout_ns);

/* Frees a runtime that is not running and NULLs *runtime. NULL is allowed. 0, or -EBUSY while it
 * runs, or while a buffer (weft_buf), a completion queue or a weft_tls of it is left. Replies are to be
 * released before. A runtime that was never started stops first, on this thread: its actors end as
 * with weft_runtime_stop, what they were sent before may be handled. */
WEFT_API int weft_runtime_destroy(weft_runtime **runtime);

/* This runtime's incarnation: the node field of its pids. */
WEFT_API uint64_t weft_runtime_node(const weft_runtime *runtime);
WEFT_API uint32_t weft_runtime_schedulers(const weft_runtime *runtime);

/* ---- from outside -------------------------------------------------------------------------- */
/* Any thread, also a scheduler's unless it says otherwise. */

WEFT_API WEFT_MUSTUSE int weft_runtime_spawn(weft_runtime *runtime, const weft_type *type,
                                             const weft_spawn_options *options, weft_pid *ret_pid);

/* As weft_send; on -EBUSY no READY follows. */
WEFT_API int weft_runtime_send(weft_runtime *runtime, weft_pid target, uint32_t tag,
                               const void *data, size_t size);
WEFT_API int weft_runtime_send_buf(weft_runtime *runtime, weft_pid target, uint32_t tag,
                                   weft_buf *buf, size_t offset, size_t size);
/* As weft_stop and weft_kill. */
WEFT_API int weft_runtime_stop_actor(weft_runtime *runtime, weft_pid target, int reason);
WEFT_API int weft_runtime_kill_actor(weft_runtime *runtime, weft_pid target);

/* Calls and blocks for the answer. 0 and the reply [out], to release with
 * weft_runtime_msg_release; or an error: as weft_send, -ETIMEDOUT, WEFT_E_NOREPLY, the status the
 * callee gave, WEFT_E_SHUTDOWN (not running); -EDEADLK inside a handler; *ret_reply is NULL then.
 * timeout_ns 0: the default. Not on the thread that drives the only scheduler: nobody would answer,
 * use a weft_cq there. */
WEFT_API WEFT_MUSTUSE int weft_runtime_call(weft_runtime *runtime, weft_pid target, uint32_t tag,
                                            const void *data, size_t size, uint64_t timeout_ns,
                                            weft_msg **ret_reply);
/* Releases a message from outside [take]; *msg is NULL afterwards. */
WEFT_API void weft_runtime_msg_release(weft_runtime *runtime, weft_msg **msg);

/* ---- completion queue: calls from a program with its own event loop ------------------------- */

typedef struct weft_cq weft_cq;

typedef struct weft_completion {
    uint64_t token;
    int status;      /* 0, or why there is no reply */
    weft_msg *reply; /* [out] with status 0, for weft_runtime_msg_release; else NULL */
} weft_completion;

/* A queue for at most calls_max calls in flight. One thread at a time may use it. */
WEFT_API WEFT_MUSTUSE int weft_cq_create(weft_runtime *runtime, uint32_t calls_max,
                                         weft_cq **ret_queue);
/* Calls in flight are forgotten; their replies are dropped. */
WEFT_API void weft_cq_destroy(weft_cq **queue);
/* Readable while completions may be waiting; owned by the queue. Reading it is left to
 * weft_cq_next. */
WEFT_API int weft_cq_fd(const weft_cq *queue);
/* Starts a call; exactly one completion with this token follows when it answers 0. Errors: as
 * weft_send, -EAGAIN when calls_max are in flight. */
WEFT_API WEFT_MUSTUSE int weft_cq_call(weft_cq *queue, weft_pid target, uint32_t tag,
                                       const void *data, size_t size, uint64_t timeout_ns,
                                       uint64_t token);
/* The next completion: 1, or 0 when there is none just now. Also finds calls that timed out; to
 * see those in time, call it again by weft_cq_deadline. */
WEFT_API int weft_cq_next(weft_cq *queue, weft_completion *ret_completion);
/* Earliest deadline of a call in flight on CLOCK_MONOTONIC, UINT64_MAX for none. */
WEFT_API uint64_t weft_cq_deadline(const weft_cq *queue);

/* ---- driving scheduler 1 from the program's own loop (config.driven) ------------------------ */
/* The loop: poll weft_runtime_drive_fd with a timeout from weft_runtime_drive_deadline, then drive.
 * While the program does not drive, actors pinned to scheduler 1 and its timers wait; all others
 * run on the other schedulers, if there are any. */

/* Runs scheduler 1 on this thread until it has nothing to do, and then sleeps up to wait_ns for
 * something (0: does not sleep). Always the same thread. Returns 1 when something ran, 0 when not,
 * WEFT_E_SHUTDOWN once stopped. About run_ns are spent running at most (0: until idle, which an
 * actor that keeps itself busy never lets it be); the descriptor stays readable when that was not
 * all. */
WEFT_API int weft_runtime_drive(weft_runtime *runtime, uint64_t run_ns, uint64_t wait_ns);
/* Readable when weft_runtime_drive has something to do. Owned by the runtime. */
WEFT_API int weft_runtime_drive_fd(const weft_runtime *runtime);
/* When the next timer of scheduler 1 is due on CLOCK_MONOTONIC, UINT64_MAX for none. Driving
 * thread only. */
WEFT_API uint64_t weft_runtime_drive_deadline(weft_runtime *runtime);

WEFT_END_DECLS

#endif
