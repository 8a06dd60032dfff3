/* SPDX-License-Identifier: MIT
 *
 * Actors: types, spawn, send, call, timers, exit. Everything that takes a weft_ctx is "actor
 * only": callable only inside a callback of that actor, on its thread. The same things from
 * threads that are not schedulers: weft/runtime.h.
 *
 * Everything one actor sends to another arrives in the order it was sent, replies included.
 * Stability: stable.
 */
#ifndef WEFT_ACTOR_H
#define WEFT_ACTOR_H

#include <weft/defs.h>
#include <weft/error.h>
#include <weft/msg.h>
#include <weft/pid.h>

WEFT_BEGIN_DECLS

/* ---- types --------------------------------------------------------------------------------- */

/* Return values of init and receive besides errors. */
enum { WEFT_CONTINUE = 0, WEFT_STOP = 1 };

/* The actor's first turn. arg is a copy of the spawn argument, valid during the call. state is
 * zeroed. A negative result ends the actor with that reason; terminate is then not called, what was
 * given to weft_defer is. */
typedef int (*weft_init_fn)(weft_ctx *ctx, void *state, const void *arg, size_t arg_size);

/* Handles one message [borrow]. WEFT_CONTINUE, WEFT_STOP (ends normally), or a negative reason
 * (ends as a crash). Must not block: see weft_blocking. */
typedef int (*weft_receive_fn)(weft_ctx *ctx, void *state, weft_msg *msg);

/* The actor ends, for whatever reason, after init had succeeded: 0 is normal. The mailbox is
 * already closed. */
typedef void (*weft_terminate_fn)(weft_ctx *ctx, void *state, int reason);

/* What happens to a message when the mailbox holds mailbox_max of them. Signals, replies and
 * timers are never refused. The bound is approximate: at most 64 messages early, or one message
 * per concurrent sender late. So a bound of 16 or less may refuse a sender on another thread for a
 * moment although nothing waits. */
enum weft_mailbox_policy {
    WEFT_MAILBOX_REJECT = 0, /* the send answers -EBUSY; one READY follows at the low-water mark */
    WEFT_MAILBOX_DROP_NEW = 1, /* the send answers 0, the message is dropped and counted */
    WEFT_MAILBOX_DROP_OLD = 2, /* the oldest are dropped when the actor runs; -EBUSY at twice */
    WEFT_MAILBOX_WAIT = 3, /* a process that sends or calls is suspended until there is room: see
                                  weft_send; everybody else is answered as with REJECT */
};

#define WEFT_MAILBOX_UNBOUNDED UINT32_MAX

/* For types of virtual actors (weft/virtual.h). save makes a buffer of the state [out]; it must hold
 * everything restore needs, and nothing is changed by it: the actor may go on afterwards. *ret_saved
 * left NULL: there is nothing to keep. A negative result: the actor stays active. It is called when
 * the actor is idle. */
typedef int (*weft_save_fn)(weft_ctx *ctx, void *state, weft_buf **ret_saved);
/* Instead of init, when there is something saved: data [borrow] and the save_version of the type
 * that saved it. Results as init. */
typedef int (*weft_restore_fn)(weft_ctx *ctx, void *state, const void *data, size_t size,
                               uint32_t version);

#define WEFT_IDLE_NEVER UINT64_MAX

/* What a process does: its code, on its own stack, once init has succeeded. arg is a copy of the
 * spawn argument, valid until the process ends. WEFT_CONTINUE and WEFT_STOP end it normally,
 * a negative result is its reason. */
typedef int (*weft_process_fn)(weft_ctx *ctx, void *state, const void *arg, size_t arg_size);

enum weft_type_flags {
    /* User messages and requests wait while a call of the actor's own is pending. Replies, timers,
     * signals and what happens to its stream (WEFT_MSG_IO) do not. */
    WEFT_TYPE_SERIAL = 1,
    /* With SERIAL: a request whose caller waits because of what this actor waits for is handled at
     * once, in between, where it would be answered -EDEADLK. The state must be fit for it wherever
     * the actor calls. */
    WEFT_TYPE_REENTRANT = 2,
};

/* Which of a scheduler's actors goes first when several can run. Nobody starves:
 *  - HIGH goes before NORMAL and LOW. But while NORMAL ones wait, 8 turns of HIGH ones in a row, or
 *    10 ms of them, are followed by a turn of a NORMAL one.
 *  - LOW goes when nothing else can. But while LOW ones wait, 64 turns of others in a row, or 10 ms
 *    of them, are followed by a turn of a LOW one.
 * This is looked at between turns: none is interrupted. Idle schedulers steal HIGH actors first and
 * LOW ones last. An actor keeps its priority for life; messages have none, and a call does not lend
 * the caller's. HIGH is for few actors with short turns. */
enum weft_priority {
    WEFT_PRIORITY_NORMAL = 0,
    WEFT_PRIORITY_HIGH = 1,
    WEFT_PRIORITY_LOW = 2,
};

/* What follows a crash of a virtual actor: of one that ends with another reason than normal,
 * shutdown or rebalancing, or whose init or restore fails. What waits for it is answered
 * WEFT_E_CRASHED (or what init answered) in any case, monitors and links see its reason, and no
 * other actor is concerned. */
enum weft_crash_policy {
    WEFT_CRASH_LAZY = 0,    /* the next message activates it again */
    WEFT_CRASH_RESTART = 1, /* it is activated again at once, without a message */
};

typedef struct weft_type_def {
    size_t struct_size;          /* sizeof(weft_type_def): use WEFT_TYPE_DEF_INIT */
    const char *name;            /* unique in the runtime, 1..63 bytes; copied */
    size_t state_size;           /* bytes of state per actor, zeroed at spawn; up to 48 are free */
    weft_init_fn init;           /* may be NULL */
    weft_receive_fn receive;     /* required, unless process is set */
    weft_terminate_fn terminate; /* may be NULL */
    uint32_t mailbox_max;        /* 0: the configured default */
    uint32_t mailbox_policy;     /* enum weft_mailbox_policy */
    uint32_t flags;              /* enum weft_type_flags */
    uint32_t mailbox_low;        /* low-water mark for READY; 0: half of mailbox_max */

    /* of virtual actors only */
    uint64_t idle_ns;          /* passivate after this long without a message; 0: the configured
                                  default (shard.idle, off); WEFT_IDLE_NEVER */
    uint64_t active_max;       /* passivate the least recently used above so many; 0: no limit */
    uint64_t active_bytes_max; /* the same for states and what weft_account says; 0: no limit */
    weft_save_fn save;         /* with restore and store, or all three NULL */
    weft_restore_fn restore;
    weft_store *store;         /* [borrow], must outlive the runtime */
    uint64_t store_timeout_ns; /* of one operation; 0: the configured default, 5s */
    uint32_t save_version;     /* what restore will be told */

    void *cookie; /* [borrow] whatever the program wants its actors to find: weft_type_cookie */

    /* of processes only: see weft/process.h */
    weft_process_fn process; /* in the place of receive */
    size_t stack_bytes;      /* with its guard; 0: the configured default, 64K */

    uint32_t priority; /* enum weft_priority: of its actors, unless their spawn says otherwise */

    /* of virtual actors only: crashes of one address */
    uint32_t crash_policy; /* enum weft_crash_policy */
    uint32_t crash_max;    /* more than so many within crash_window_ns: for crash_pause_ns messages
                                 to the address are refused with WEFT_E_BREAKER, and it is not
                                 activated. After that one activation is a trial: if that crashes as
                                 well within crash_window_ns, the next pause begins. At most 10,000;
                                 0: no limit, with WEFT_CRASH_RESTART 10 */
    uint64_t crash_window_ns; /* 0: 10 s */
    uint64_t crash_pause_ns;  /* 0: 60 s; UINT64_MAX: until weft_virtual_forgive */
} weft_type_def;

#define WEFT_TYPE_DEF_INIT sizeof(weft_type_def)

/* Registers a type [borrow]; before or after start. Errors: -EINVAL, -EEXIST, -ENOMEM. Any
 * thread. */
WEFT_API WEFT_MUSTUSE int weft_type_register(weft_runtime *runtime, const weft_type_def *def,
                                             const weft_type **ret_type);

/* A registered type by name, or NULL. Any thread. */
WEFT_API const weft_type *weft_type_find(weft_runtime *runtime, const char *name);
WEFT_API const char *weft_type_name(const weft_type *type);
WEFT_API void *weft_type_cookie(const weft_type *type);

/* ---- spawn --------------------------------------------------------------------------------- */

enum { WEFT_ANY_SCHEDULER = 0 };

enum weft_spawn_flags {
    WEFT_SPAWN_LINK = 1,    /* linked to its parent from the first: weft_link */
    WEFT_SPAWN_MONITOR = 2, /* monitored by its parent from the first: weft_monitor */
    WEFT_SPAWN_REPORT = 4,  /* its parent gets an UP message when its init has succeeded (of a type
                               without init: when it first runs) */
};

typedef struct weft_spawn_options {
    size_t struct_size; /* WEFT_SPAWN_OPTIONS_INIT */
    const void *arg;    /* init argument [borrow], copied; may be NULL */
    size_t arg_size;
    uint32_t scheduler; /* 1..n: start on that one; WEFT_ANY_SCHEDULER: the caller's */
    bool pin;           /* stay there for life: never stolen */

    /* for weft_spawn_with only */
    uint32_t flags;        /* enum weft_spawn_flags */
    uint64_t token;        /* of the DOWN and UP messages */
    uint64_t *ret_monitor; /* a weft_monitor_ref; may be NULL */

    uint32_t priority; /* enum weft_priority; 0: the type's */
} weft_spawn_options;

#define WEFT_SPAWN_OPTIONS_INIT sizeof(weft_spawn_options)

/* Creates an actor; init runs as its first turn, before any message. The pid is valid at once.
 * Errors: -EINVAL, -ENOMEM, WEFT_E_LIMIT (actors_max; the stacks of processes, see weft/process.h),
 * WEFT_E_SHUTDOWN. Actor only. */
WEFT_API WEFT_MUSTUSE int weft_spawn(weft_ctx *ctx, const weft_type *type, const void *arg,
                                     size_t arg_size, weft_pid *ret_pid);
WEFT_API WEFT_MUSTUSE int weft_spawn_with(weft_ctx *ctx, const weft_type *type,
                                          const weft_spawn_options *options, weft_pid *ret_pid);

/* ---- this actor ---------------------------------------------------------------------------- */

WEFT_API weft_pid weft_self(const weft_ctx *ctx);
/* Who spawned it, or none when it was spawned from outside. */
WEFT_API weft_pid weft_parent(const weft_ctx *ctx);
WEFT_API void *weft_state(weft_ctx *ctx);
/* The message being handled [borrow], or NULL in init and terminate and once it was taken. */
WEFT_API weft_msg *weft_current(weft_ctx *ctx);
/* Who sent a message; none for messages from outside the runtime. */
WEFT_API weft_pid weft_sender(weft_ctx *ctx, const weft_msg *msg);
WEFT_API weft_runtime *weft_runtime_of(weft_ctx *ctx);
WEFT_API const weft_type *weft_type_of(weft_ctx *ctx);
/* Index, 1..n, of the scheduler that runs this actor just now. */
WEFT_API uint32_t weft_scheduler_of(weft_ctx *ctx);
/* The scheduler's clock, nanoseconds, which never goes back for one actor, read at most a few dozen
 * short handlers ago: use it for logic, not to time code. */
WEFT_API uint64_t weft_now_ns(weft_ctx *ctx);
/* 64 random bits from the scheduler's generator; reproducible in the simulator. Not for keys. */
WEFT_API uint64_t weft_random(weft_ctx *ctx);

/* ---- send ---------------------------------------------------------------------------------- */

/* Copies size bytes and sends them. 0; -EBUSY (mailbox full, policy reject: one READY message
 * follows, once, when it has room again); WEFT_E_NOPROC; -EMSGSIZE (above message_max);
 * -ENOMEM; WEFT_E_NOCONN. With policy wait, in a process: it is suspended until there is room, and
 * the answer is 0; WEFT_E_NOPROC when the target ends; -EDEADLK at once when the target waits for
 * this process (nothing is sent; answer it first); -ETIMEDOUT or -ECANCELED when the request it
 * works for ends: see weft_work_for; WEFT_E_LIMIT (the wait counts as a pending call). Actor only. */
WEFT_API int weft_send(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data, size_t size);

/* A message to fill through weft_msg_body and to send without copying [out]. Up to 224 bytes are
 * inline, above that it owns a buffer. Actor only. */
WEFT_API WEFT_MUSTUSE int weft_msg_create(weft_ctx *ctx, uint32_t tag, size_t size,
                                          weft_msg **ret_msg);

/* Sends a message [take]: *msg is NULL afterwards, also on error (it is then a dead letter).
 * Forwarding a request this way keeps its caller: whoever has it last answers. Errors as
 * weft_send. Actor only. */
WEFT_API int weft_send_msg(weft_ctx *ctx, weft_pid target, weft_msg **msg);

/* Sends size bytes of buf from offset on, without copying; adds a reference [borrow]. */
WEFT_API int weft_send_buf(weft_ctx *ctx, weft_pid target, uint32_t tag, weft_buf *buf,
                           size_t offset, size_t size);

/* The handler keeps the current message [out]; release, send or reply to it later. Taken messages
 * an actor still holds when it ends are released for it. Returns msg. Actor only. */
WEFT_API weft_msg *weft_msg_take(weft_ctx *ctx, weft_msg *msg);

/* Releases a message [take]; *msg is NULL afterwards. A request is answered WEFT_E_NOREPLY. */
WEFT_API void weft_msg_release(weft_ctx *ctx, weft_msg **msg);

/* ---- request and reply --------------------------------------------------------------------- */

enum { WEFT_TIMEOUT_DEFAULT = 0 };
#define WEFT_TIMEOUT_NEVER UINT64_MAX

/* Sends a request and returns. Exactly one REPLY message with this token follows: the answer, or
 * its status says why there is none. When this returns an error no REPLY follows. timeout_ns 0 is
 * the configured default. Errors as weft_send (a full mailbox refuses a request whatever its
 * policy; READY follows for policies reject and wait only; a process waits with policy wait, as in
 * weft_send, at most timeout_ns), and WEFT_E_LIMIT (pending calls), -EDEADLK (a serial actor calls
 * itself), -ETIMEDOUT and -ECANCELED (the request it works for has expired, or was cancelled: see
 * weft_work_for). Actor only. */
WEFT_API int weft_call(weft_ctx *ctx, weft_pid target, uint32_t tag, const void *data, size_t size,
                       uint64_t timeout_ns, uint64_t token);

/* Cancels the calls with this token: their replies will be dropped, also those a process has not
 * received yet; a request that was not handled yet never will be; what was asked for its sake is
 * cancelled too (weft_work_for); a job (weft/job.h) is ended. Returns how many. */
WEFT_API int weft_call_cancel(weft_ctx *ctx, uint64_t token);

/* Deadlines and cancellation follow the calls. An actor works for the request it handles, from
 * when the handler is entered (a process: received it) until it is answered, passed on or the
 * handler returns (a process: receives the next message); when a handler is given the REPLY to a
 * call it made for a request it holds still, it works for that one again; a process says so itself.
 * Calls, jobs and multi-calls it makes meanwhile end no later than that request, whatever their own
 * timeout, and when that request is cancelled they are answered -ECANCELED, and so on down the
 * chain. A request is cancelled by weft_call_cancel, or when its caller ends. A message to that end
 * is sent to whom the request was sent; one passed on with weft_send_msg meanwhile is not reached by
 * it, nor one that was left to the next activation of a virtual actor before: its deadline holds.
 *
 * This sets by hand whom this actor works for, as if it had received that request just now: one it
 * holds, or NULL for nobody, so that what it starts now outlives the request. 0, -EINVAL: no
 * request. Actor only. */
WEFT_API int weft_work_for(weft_ctx *ctx, const weft_msg *request);
/* When what this actor works for ends, on the clock of weft_now_ns; UINT64_MAX: it works for nobody,
 * or for one who waits for ever; 0: it was cancelled. Actor only. */
WEFT_API uint64_t weft_work_deadline(weft_ctx *ctx);

/* Answers a request [take], now or after weft_msg_take at any later time; data may point into the
 * request itself. *request is NULL afterwards. 0; WEFT_E_NOPROC when nobody waits any more;
 * -EINVAL when it is no request (it is released); -EMSGSIZE, -ENOMEM (the caller gets that as
 * status). Actor only. */
WEFT_API int weft_reply(weft_ctx *ctx, weft_msg **request, uint32_t tag, const void *data,
                        size_t size);
WEFT_API int weft_reply_buf(weft_ctx *ctx, weft_msg **request, uint32_t tag, weft_buf *buf,
                            size_t offset, size_t size);
/* Answers with a negative status and no payload [take]. */
WEFT_API int weft_reply_error(weft_ctx *ctx, weft_msg **request, int status);

/* When the request's caller stops waiting, on the clock of weft_now_ns; UINT64_MAX: never; 0: it was
 * cancelled. */
WEFT_API uint64_t weft_deadline(const weft_msg *request);

/* ---- timers -------------------------------------------------------------------------------- */

/* Names one timer of one actor; 0 is none. */
typedef uint64_t weft_timer;

/* After delay_ns this actor gets a TIMER message with this tag and token. ret_timer may be NULL.
 * Errors: -ENOMEM, WEFT_E_LIMIT. Actor only. */
WEFT_API int weft_timer_start(weft_ctx *ctx, uint64_t delay_ns, uint32_t tag, uint64_t token,
                              weft_timer *ret_timer);
/* The same every interval_ns (at least 1000) until cancelled. Ticks that were missed because the
 * actor did not get to run are skipped, the phase is kept. */
WEFT_API int weft_timer_repeat(weft_ctx *ctx, uint64_t interval_ns, uint32_t tag, uint64_t token,
                               weft_timer *ret_timer);
/* After delay_ns the message goes to target, from this actor. It is dropped when this actor ends
 * before. Data is copied. */
WEFT_API int weft_send_after(weft_ctx *ctx, uint64_t delay_ns, weft_pid target, uint32_t tag,
                             const void *data, size_t size, weft_timer *ret_timer);
/* True: it had not fired and its message will never arrive. False: it had, or is unknown. */
WEFT_API bool weft_timer_cancel(weft_ctx *ctx, weft_timer timer);

/* ---- exit ---------------------------------------------------------------------------------- */

/* Ends this actor when the current callback returns; 0 is normal, an error is negative (a positive
 * number counts as -EINVAL), the first reason wins. */
WEFT_API void weft_exit(weft_ctx *ctx, int reason);
/* Asks another actor to end with a reason, before its queued user messages; its terminate runs. A
 * process that traps exits gets an EXIT message and ends by itself: weft/link.h. 0, WEFT_E_NOPROC,
 * -EINVAL (reason above 0), -ENOMEM. Actor only. */
WEFT_API int weft_stop(weft_ctx *ctx, weft_pid target, int reason);
/* The same with reason WEFT_E_KILLED, without terminate (cleanups do run). */
WEFT_API int weft_kill(weft_ctx *ctx, weft_pid target);

typedef void (*weft_cleanup_fn)(void *arg);
/* Calls fn(arg) when this actor ends, in reverse order, also on crash and kill, after terminate.
 * fn must not block. Errors: -ENOMEM. Actor only. */
WEFT_API int weft_defer(weft_ctx *ctx, weft_cleanup_fn fn, void *arg);

/* ---- blocking work ------------------------------------------------------------------------- */

/* Runs on a helper thread; may block. Returns the status of the DONE message. */
typedef int (*weft_blocking_fn)(void *arg);

/* Runs fn(arg) on a bounded pool of helper threads. Exactly one DONE message with this token
 * follows. 0; -EBUSY (queue full); -ENOMEM; WEFT_E_SHUTDOWN. arg must stay valid until then, even
 * if the actor ends. Actor only. */
WEFT_API int weft_blocking(weft_ctx *ctx, weft_blocking_fn fn, void *arg, uint64_t token);

/* ---- dead letters -------------------------------------------------------------------------- */

/* From now on target gets a DEAD message (tag, sender and payload of the original, status: why)
 * for every user message that could not be delivered after its send had succeeded or had taken it.
 * Requests are counted but not given to target: their callers are told. None to stop. Dead letters
 * about dead letters are only counted. Any thread. */
WEFT_API int weft_dead_letters(weft_runtime *runtime, weft_pid target);

WEFT_END_DECLS

#endif
