/* SPDX-License-Identifier: MIT
 *
 * Supervisors: actors that start other actors, their children, and start them again when they end.
 * They follow supervisor of Erlang/OTP (stdlib, "supervisor" and its design principles), whose
 * words are used: strategies, restart types, intensity, shutdown. A supervisor's children are
 * linked to it; it traps exits. Nothing here waits on a scheduler: starting, stopping and
 * restarting go on by messages. docs/supervision.md is the guide.
 *
 * A child has started when its init has succeeded (of a supervisor: when its first children
 * have). Children start one after the other in the order of their specifications and are
 * stopped in the reverse order, the next when the one before is gone. Restarts are immediate; a
 * child that cannot be started again is tried again, each time counts as a restart, and requests
 * are served in between. A child whose init returns WEFT_STOP does not want to run (ignore, in
 * OTP): that is no failure; it is kept without a pid, a temporary one or one of
 * WEFT_SIMPLE_ONE_FOR_ONE is not kept. Stability: stable.
 */
#ifndef WEFT_SUPERVISOR_H
#define WEFT_SUPERVISOR_H

#include <weft/link.h>
#include <weft/runtime.h>

WEFT_BEGIN_DECLS

enum weft_strategy_kind {
    WEFT_ONE_FOR_ONE = 0,       /* who ends is started again */
    WEFT_ONE_FOR_ALL = 1,       /* all others are stopped, then all are started */
    WEFT_REST_FOR_ONE = 2,      /* those behind it are stopped, then it and they are started */
    WEFT_SIMPLE_ONE_FOR_ONE = 3 /* one specification, any number of children, named by pid; they
                                   are stopped all at once, not in order */
};

enum weft_restart {
    WEFT_RESTART_PERMANENT = 0, /* always */
    WEFT_RESTART_TRANSIENT = 1, /* unless its reason was normal or shutdown */
    WEFT_RESTART_TEMPORARY = 2, /* never; its specification goes with it */
};

/* When a supervisor ends by itself because of its significant children (OTP 24). */
enum weft_auto_shutdown {
    WEFT_AUTO_NEVER = 0,
    WEFT_AUTO_ANY = 1, /* one of them has ended by itself, and is not restarted */
    WEFT_AUTO_ALL = 2, /* the last of them has */
};

#define WEFT_SHUTDOWN_DEFAULT    0 /* 5 s; a supervisor: for ever */
#define WEFT_SHUTDOWN_KILL       1 /* weft_kill at once */
#define WEFT_SHUTDOWN_FOREVER    UINT64_MAX
#define WEFT_INTENSITY_UNLIMITED UINT32_MAX

enum { WEFT_CHILD_ID_MAX = 63, WEFT_SUPERVISOR_DEPTH_MAX = 64 };

/* Starts a child in another way than weft_spawn, in the supervisor's context ctx: gives the pid of
 * an actor on this node, which counts as started then; it is linked to the supervisor if it is not
 * yet. None with 0: it does not want to run. Must not wait. A negative result: it cannot be
 * started. */
typedef int (*weft_child_start_fn)(weft_ctx *ctx, const void *arg, size_t arg_size, void *cookie,
                                   weft_pid *ret_pid);

typedef struct weft_child_spec {
    size_t struct_size;    /* WEFT_CHILD_SPEC_INIT */
    const char *id;        /* unique in the supervisor, 1..WEFT_CHILD_ID_MAX bytes; copied. Unused
                              with simple_one_for_one */
    const weft_type *type; /* what to spawn; or start, or supervisor: one of the three */
    const struct weft_supervisor_def *supervisor; /* a supervisor as child [borrow], copied */
    weft_child_start_fn start;
    void *cookie;    /* for start [borrow], must outlive the supervisor */
    const void *arg; /* for init or start [borrow], copied, given again at every restart; not with
                        supervisor */
    size_t arg_size;
    uint32_t restart;     /* enum weft_restart */
    uint64_t shutdown_ns; /* how long it has to end after it was told to; then it is killed */
    bool significant;     /* see enum weft_auto_shutdown; not with permanent */
    bool pin;             /* with type: as in weft_spawn_options */
    uint32_t scheduler;   /* with type: the same */
} weft_child_spec;
#define WEFT_CHILD_SPEC_INIT sizeof(weft_child_spec)

typedef struct weft_supervisor_def {
    size_t struct_size; /* WEFT_SUPERVISOR_DEF_INIT */
    uint32_t strategy;  /* enum weft_strategy_kind */
    /* Restarts allowed within period_ns, a sliding window. One more: it stops all its children and
     * ends with WEFT_E_SHUTDOWN, which its own supervisor sees. Several children that are restarted
     * because of one count once. 0 with period_ns 0: 1 in 5 s. WEFT_INTENSITY_UNLIMITED: no
     * limit. */
    uint32_t intensity;
    uint64_t period_ns;
    uint32_t auto_shutdown;          /* enum weft_auto_shutdown; never with simple_one_for_one */
    uint32_t child_count;            /* exactly one with simple_one_for_one */
    const weft_child_spec *children; /* [borrow], copied; in the order they start */
} weft_supervisor_def;
#define WEFT_SUPERVISOR_DEF_INIT sizeof(weft_supervisor_def)

/* ---- starting ------------------------------------------------------------------------------ */

/* A supervisor, linked to this actor, its parent. The pid is valid at once; its children are being
 * started when this returns. If one cannot be, those started before are stopped and the supervisor
 * ends with WEFT_E_SHUTDOWN, its reason's data says which and why. weft_supervisor_call with
 * WEFT_SUPERVISOR_COUNT is answered when all have started. Errors: -EINVAL (a value that is not
 * allowed, two children with one id, nested deeper than WEFT_SUPERVISOR_DEPTH_MAX), -E2BIG, as
 * weft_spawn. Actor only. */
WEFT_API WEFT_MUSTUSE int weft_supervisor_start(weft_ctx *ctx, const weft_supervisor_def *def,
                                                weft_pid *ret_pid);
/* The same, linked to nobody. Any thread. */
WEFT_API WEFT_MUSTUSE int
weft_runtime_supervisor(weft_runtime *runtime, const weft_supervisor_def *def, weft_pid *ret_pid);

/* A supervisor stops its children in the reverse order, each with WEFT_E_SHUTDOWN, and ends when
 * all are gone: when it is stopped (weft_stop, weft_runtime_stop_actor: with the reason given
 * there) and when its parent has ended (with the parent's reason). Exit signals of others it
 * ignores; weft_kill ends it at once, and its children by their links. weft_runtime_stop stops all
 * actors at once, in no order: for an ordered end stop the topmost supervisor before. */

/* ---- asking -------------------------------------------------------------------------------- */

enum weft_supervisor_verb {
    WEFT_SUPERVISOR_START = 1,     /* spec: adds a child behind the others and starts it; with
                                      simple_one_for_one only arg counts, in the place of the
                                      specification's (spec NULL: that). Answers its pid (none: it
                                      does not want to run); -EEXIST (it runs, answers its pid),
                                      -EALREADY (it does not run, its specification is there),
                                      -EINVAL, what its init answered; after an error it is not
                                      kept */
    WEFT_SUPERVISOR_TERMINATE = 2, /* id, or pid with simple_one_for_one: stops a child, ends
                                      attempts to restart it; its specification stays, but for
                                      temporary ones and simple_one_for_one. 0 also when it does not
                                      run, or is a pid that has ended. -ENOENT */
    WEFT_SUPERVISOR_RESTART = 3,   /* id: starts one that does not run, answers its pid. -ENOENT,
                                      -EEXIST (it runs, answers its pid), -EAGAIN (it is being
                                      restarted), what its init answered: it is kept */
    WEFT_SUPERVISOR_DELETE = 4,    /* id: forgets one that does not run. -ENOENT, -EBUSY (it runs),
                                      -EAGAIN (it is being restarted) */
    WEFT_SUPERVISOR_COUNT = 5,     /* answers specs, active, restarting, supervisors, workers */
    WEFT_SUPERVISOR_WHICH = 6,     /* id; or pid; or index: the child number index in the order of
                                      starting, from 0 (fast when asked one after the other).
                                      Answers all but the counts. -ENOENT */
};
/* With simple_one_for_one RESTART, DELETE and whatever names a child by id answer -EPERM. */

typedef struct weft_supervisor_request {
    size_t struct_size; /* WEFT_SUPERVISOR_REQUEST_INIT */
    uint32_t verb;      /* enum weft_supervisor_verb */
    uint32_t index;     /* WHICH, when id is NULL and pid is none */
    const char *id;
    weft_pid pid;
    const weft_child_spec *spec; /* [borrow] */
} weft_supervisor_request;
#define WEFT_SUPERVISOR_REQUEST_INIT sizeof(weft_supervisor_request)

enum weft_child_state {
    WEFT_CHILD_STOPPED = 0,    /* it does not run: stopped, ended in order, or did not want to */
    WEFT_CHILD_RUNNING = 1,    /* it has a pid */
    WEFT_CHILD_RESTARTING = 2, /* it could not be started again, and is tried again */
};

typedef struct weft_supervisor_answer {
    size_t struct_size; /* WEFT_SUPERVISOR_ANSWER_INIT, set by who asks */
    weft_pid pid;       /* none: it does not run */
    char id[WEFT_CHILD_ID_MAX + 1];
    uint32_t state;       /* enum weft_child_state */
    uint32_t restart;     /* enum weft_restart */
    uint64_t shutdown_ns; /* with the default filled in */
    bool is_supervisor;
    bool significant;
    uint32_t specs;       /* specifications; with simple_one_for_one 1 */
    uint32_t active;      /* children that live */
    uint32_t restarting;  /* children that are tried again */
    uint32_t supervisors; /* specifications of supervisors, whether they run or not; with
                             simple_one_for_one children */
    uint32_t workers;     /* the others */
} weft_supervisor_answer;
#define WEFT_SUPERVISOR_ANSWER_INIT sizeof(weft_supervisor_answer)

/* Asks; the REPLY with this token is for weft_supervisor_answer_of. Errors as weft_call, -EINVAL.
 * A request that comes while the supervisor starts, stops or restarts children waits until that is
 * done; so a child must not wait for an answer of its supervisor in order to start or to end.
 * WEFT_E_NOPROC: it has ended, or ends. Actor only. */
WEFT_API int weft_supervisor_call(weft_ctx *ctx, weft_pid supervisor,
                                  const weft_supervisor_request *request, uint64_t timeout_ns,
                                  uint64_t token);
/* The status of such a REPLY, and with 0 and -EEXIST the answer. -EINVAL: another message. */
WEFT_API int weft_supervisor_answer_of(const weft_msg *reply, weft_supervisor_answer *ret_answer);
/* Both; suspends the process. */
WEFT_API int weft_supervisor_call_wait(weft_ctx *ctx, weft_pid supervisor,
                                       const weft_supervisor_request *request, uint64_t timeout_ns,
                                       weft_supervisor_answer *ret_answer);
/* Both, from a thread that is no scheduler; blocks it. */
WEFT_API int weft_runtime_supervisor_call(weft_runtime *runtime, weft_pid supervisor,
                                          const weft_supervisor_request *request,
                                          uint64_t timeout_ns, weft_supervisor_answer *ret_answer);

WEFT_END_DECLS

#endif
