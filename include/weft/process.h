/* SPDX-License-Identifier: MIT
 *
 * Processes: actors with a stack of their own. Where a handler returns after each message, a
 * process receives, calls, sleeps and awaits in the middle of its code; only itself is suspended,
 * its scheduler runs others meanwhile. Same pids, messages, links and limits; same
 * functions of weft/actor.h, which do not wait. Those that wait end in _wait, or are here.
 *
 * A type is one of processes when weft_type_def.process is set (receive is then NULL). init, if
 * any, runs first, on the scheduler's stack: it must not wait. Then process runs on its own stack
 * until it returns or exits. When the actor is ended from outside (stop, kill, a link) while it
 * waits, its stack is dropped where it is: what must be undone belongs into weft_defer or
 * terminate, which run on the scheduler's stack.
 *
 * Across anything that waits a process may go on on another thread. So there: hold no lock, do not
 * rely on errno, pthread_self, thread-local variables or addresses of them, which compilers keep
 * (weft_spawn_options.pin keeps it on one thread). The stack has a guard below it and does not grow
 * (weft_type_def.stack_bytes): no large arrays on it. Everything here is "actor only", answers
 * -EPERM when the actor is no process, is in init or terminate, and never blocks a scheduler.
 *
 * A process gets its stack in its first turn. Where the kernel has no guard marks (before Linux
 * 6.13, or when a filter refuses them) stacks take two mappings each, and are limited to
 * (vm.max_map_count - 8192) / 2, computed when the runtime is created: 28,669 by default. While
 * that many are out, spawning a process answers WEFT_E_LIMIT; one that was spawned before, and
 * finds none in its first turn, ends with the reason WEFT_E_LIMIT. The log says so with the remedy
 * (process.limit), at most every 10 s.
 *
 * Stability: stable.
 */
#ifndef WEFT_PROCESS_H
#define WEFT_PROCESS_H

#include <weft/actor.h>

WEFT_BEGIN_DECLS

#define WEFT_FOREVER UINT64_MAX

/* The next message [borrow], in the order they came: until the next weft_receive or
 * weft_receive_match, which releases it, unless it was taken, forwarded or replied to. timeout_ns 0:
 * only what is there already. -ETIMEDOUT: none came. Messages of all kinds come this way, but for
 * those that another wait is for. */
WEFT_API WEFT_MUSTUSE int weft_receive(weft_ctx *ctx, uint64_t timeout_ns, weft_msg **ret_msg);

/* Looks at a message that waits [borrow]; true: this one. Must not wait, send or receive. */
typedef bool (*weft_match_fn)(const weft_msg *msg, void *arg);

/* The first message that matches; those it skips stay in their order for later. O(waiting). */
WEFT_API WEFT_MUSTUSE int weft_receive_match(weft_ctx *ctx, uint64_t timeout_ns,
                                             weft_match_fn match, void *arg, weft_msg **ret_msg);

/* Waits for the message of kind REPLY, DONE or TIMER with this token: the outcome of a weft_call,
 * weft_vcall, weft_blocking or timer of this process. 0 and the message [out], for
 * weft_msg_release; look at its status. -ETIMEDOUT: it may still come, and may be awaited again.
 * -EDEADLK at once when the token is that of calls, and whom they wait for waits for this process;
 * they are cancelled then. */
WEFT_API WEFT_MUSTUSE int weft_await(weft_ctx *ctx, uint64_t token, uint64_t timeout_ns,
                                     weft_msg **ret_msg);

/* Of circles: -EDEADLK is what calls answer that wait for each other in a circle, at once. Not
 * seen, and left to the timeouts of their calls, are: a circle of more than 1,024 calls; one
 * through a process that awaits while more than 64 of its calls are pending, or whose token
 * several calls share; and one through a helper thread, that is a process in weft_blocking_wait
 * whose function calls back to it or to who waits for it (weft_runtime_call). So every call has a
 * timeout.
 *
 * A call and its answer. 0 and the reply [out], for weft_msg_release (ret_reply NULL: released); or
 * an error, as weft_call or the reply's status: -ETIMEDOUT, WEFT_E_NOPROC, WEFT_E_NOREPLY, what the
 * callee gave; -EDEADLK at once when those it waits for wait for it; -ECANCELED when the request it
 * works for was cancelled. A late answer is dropped. The message received last stays what it is. */
WEFT_API int weft_call_wait(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data,
                            size_t size, uint64_t timeout_ns, weft_msg **ret_reply);

/* At least so long. */
WEFT_API int weft_sleep(weft_ctx *ctx, uint64_t delay_ns);

/* Others run first. */
WEFT_API int weft_yield(weft_ctx *ctx);

/* weft_blocking and its outcome: runs fn(arg) on a helper thread. What fn returned, or why it was
 * not run (-EBUSY, -ENOMEM, WEFT_E_SHUTDOWN). arg may lie on this stack only if nothing ends the
 * process meanwhile. */
WEFT_API int weft_blocking_wait(weft_ctx *ctx, weft_blocking_fn fn, void *arg);

/* Is this actor a process, on its own stack just now? */
WEFT_API bool weft_is_process(const weft_ctx *ctx);

WEFT_END_DECLS

#endif
