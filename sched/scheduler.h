/* SPDX-License-Identifier: MIT
 *
 * A scheduler and the runtime it belongs to. A scheduler is a step function around a run queue
 * (scheduler.c); the thread that calls it comes from the environment. Everything in weft__scheduler
 * belongs to that thread except what says otherwise.
 */
#ifndef WEFT_SCHED_SCHEDULER_H
#define WEFT_SCHED_SCHEDULER_H

#include "core/hist.h"
#include "core/pool.h"
#include "core/prng.h"
#include "core/stack.h"
#include "core/wheel.h"
#include "sched/bias.h"
#include "sched/idle.h"
#include "sched/inbox.h"
#include "sched/runq.h"
#include "sched/slot.h"
#include "sched/upper.h"
#include <errno.h>
#include <weft/runtime.h>
#include <weft/stats.h>

enum {
    WEFT__CLAIM_MAX = 16,     /* actors the owner takes from its ring at once */
    WEFT__STEAL_MAX = 256,    /* actors a thief takes at once */
    WEFT__RUNS_PER_STEP = 64, /* actors run between two looks at clock, inbox and overflow */
    WEFT__SAMPLE_MASK = 63,   /* one in 64 messages and turns is timed */
    WEFT__TIMERS_PER_TURN = 256,
    WEFT__BUDGET_BOOST = 16,      /* budgets an actor with a long mailbox may use in one turn */
    WEFT__MAILBOX_LONG = 2048,    /* messages that make a mailbox long */
    WEFT__SLOT_FIFO_MIN = 64,     /* free slots rest until so many wait with them */
    WEFT__SLOT_SHARE_MAX = 16384, /* more free slots than twice this are shared */
    WEFT__RANK_RING = 1024,       /* entries of a ring of high or low actors, at most */
};

/* In the order in which they run. */
enum weft__rank_id {
    WEFT__RANK_HIGH = 0,
    WEFT__RANK_NORMAL = 1,
    WEFT__RANK_LOW = 2,
    WEFT__RANKS = 3,
};

/* Trace events, for the simulator's hash. */
enum weft__trace {
    WEFT__TRACE_RUN = 1,
    WEFT__TRACE_STEAL = 2,
    WEFT__TRACE_PARK = 3,
    WEFT__TRACE_TIMER = 4,
    WEFT__TRACE_SPAWN = 5,
    WEFT__TRACE_EXIT = 6,
    WEFT__TRACE_WAKE = 7,
};

/* Places inside a step where the simulator may run other threads. */
enum weft__point {
    WEFT__POINT_SEND = 1,
    WEFT__POINT_PUSHED = 2,
    WEFT__POINT_IDLE = 3,
    WEFT__POINT_CLOSE = 4,
    WEFT__POINT_HANDLER = 5,
    WEFT__POINT_SPAWN = 6,
    WEFT__POINT_TIMER = 7,
    WEFT__POINT_PARK = 8,
    /* of virtual actors; none may lie under a lock */
    WEFT__POINT_ROUTE = 9,  /* the capability was looked at */
    WEFT__POINT_LOOK = 10,  /* a reader without the token is among entries and records */
    WEFT__POINT_TOKEN = 11, /* before one is taken */
    WEFT__POINT_LEFT = 12,  /* one was left */
    WEFT__POINT_CLEAR = 13, /* an activation has lost its entry, its record is next */
    WEFT__POINT_SAVE = 14,  /* between a decision to leave and what comes of it */
    WEFT__POINT_ASK = 15,   /* somebody was chosen to leave */
    WEFT__POINT_OFFER = 16, /* a capability is no longer offered, its actors still are there */
};

#ifdef WEFT_SIM_POINTS
#define WEFT__POINT(core, id)                                                                      \
    do {                                                                                           \
        if ((core)->env->point != NULL) {                                                          \
            (core)->env->point((core)->env, (id));                                                 \
        }                                                                                          \
    } while (0)
#else
#define WEFT__POINT(core, id) ((void)0)
#endif

/* Written by one thread each, read by anybody. Same order as weft_stats. */
struct weft__counters {
    weft_counter messages_sent;
    weft_counter messages_handled;
    weft_counter messages_rejected;
    weft_counter messages_dead;
    weft_counter messages_dropped;
    weft_counter requests_expired;
    weft_counter replies_late;
    weft_counter signals;
    weft_counter runs;
    weft_counter spawns;
    weft_counter exits;
    weft_counter crashes;
    weft_counter lifo_runs;
    weft_counter steals;
    weft_counter stolen;
    weft_counter steal_misses;
    weft_counter overflows;
    weft_counter parks;
    weft_counter wakes;
    weft_counter timers_started;
    weft_counter timers_fired;
    weft_counter timers_cancelled;
    weft_counter blocking_jobs;
    weft_counter blocking_rejected;
    weft_counter watchdog_stuck;
    weft_counter rescued;
    weft_counter io_accepts;
    weft_counter io_connects;
    weft_counter io_refused;
    weft_counter io_accept_errors;
    weft_counter io_closes;
    weft_counter io_received;
    weft_counter io_sent;
    weft_counter io_starved;
    weft_counter io_enters;
    weft_counter io_submitted;
    weft_counter io_overflows;
    weft_counter io_copied;
    weft_counter io_timeouts;
    weft_counter tls_handshakes;
    weft_counter tls_failures;
    weft_counter virtual_activations;
    weft_counter virtual_passivations;
    weft_counter virtual_loads;
    weft_counter virtual_saves;
    weft_counter virtual_store_errors;
    weft_counter virtual_forgotten;
    weft_counter runs_high; /* counted as they begin */
    weft_counter runs_low;
    weft_counter virtual_breaks;
    weft_counter virtual_refused;
    weft_counter virtual_crashes_lost;
    weft_counter io_resets;
};

/* A list of actors through weft_ctx.link. */
struct weft__slots {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

/* weft__scheduler.ranks: why the next pick is not just that of a normal actor. */
enum {
    WEFT__RANKS_HIGH = 1,   /* high ones wait here; a hint, for thieves may have taken them */
    WEFT__RANKS_LOW = 2,    /* the same of low ones */
    WEFT__RANKS_ROW = 4,    /* high ones ran last, although others waited */
    WEFT__RANKS_UNRUNG = 8, /* nobody was woken for what came last: it may run next, right here */
    WEFT__RANKS_WAIT = WEFT__RANKS_HIGH | WEFT__RANKS_LOW,
};

/* Where the actors of a scheduler wait that have high, or low, priority; see rank.c. */
struct weft__rank {
    /* its thread only */
    struct weft__slots pinned;
    uint32_t pinned_owed; /* as the scheduler's */
    /* any thread */
    struct weft__runq ring;
};

enum weft__phase {
    WEFT__PHASE_RUN = 0,      /* runs actors */
    WEFT__PHASE_SEARCH = 1,   /* found nothing: looks around for spin_ns */
    WEFT__PHASE_ANNOUNCE = 2, /* about to announce that it sleeps */
    WEFT__PHASE_RECHECK = 3,  /* announced: looks once more */
    WEFT__PHASE_PARKED = 4,   /* was told to park */
    WEFT__PHASE_EXITED = 5,
};

struct weft__type_info;

struct weft__scheduler {
    /* const after init */
    weft_runtime *runtime;
    struct weft__core *core;
    struct weft__arena *messages; /* copies: one indirection less on every send */
    struct weft__arena *slots;
    struct weft__barrier barrier;
    uint32_t slot_count; /* indices below it are in the arena */
    uint64_t node;
    uint32_t id; /* from 0 */
    uint32_t budget;
    uint32_t lifo_max;
    bool alone;  /* the only scheduler */
    bool traced; /* one actor a step, every choice reported */
    bool driven;
    void *driver;
    struct weft__upper *upper; /* set once, by its thread; NULL: no I/O so far */

    /* its thread only: the turn */
    alignas(WEFT_CACHELINE) struct weft_ctx *current;
    weft_msg *msg; /* being handled; NULL once taken */
    uint64_t now_ns;
    uint32_t published;                   /* run-queue pushes since the last doorbell */
    uint32_t doorbell_last;               /* 1 + the scheduler whose inbox was pushed last */
    uint64_t doorbells[WEFT__IDLE_WORDS]; /* schedulers to wake at the end of the run */
    uint32_t sample;    /* sends until one is looked at: sampled, or told of (tracing.h) */
    uint32_t runs_max;  /* actors per step: follows how long they take */
    uint32_t lifo_runs; /* in a row */
    enum weft__phase phase;
    bool searching;           /* counted in idle.searching */
    uint64_t search_until_ns; /* 0: the search has just begun */
    uint64_t steal_after_ns;
    uint64_t stolen_at_ns; /* when the last steal was made; 0: its worth was judged */
    uint32_t stolen_count; /* how many actors that steal brought */
    uint32_t drawn_away;   /* turns since then that fed an overloaded actor elsewhere */
    uint64_t nap_ns;       /* how long to leave others' queues alone; 0: steals are worth it */
    uint64_t nap_until_ns; /* 0: not now */
    uint64_t run_ns;       /* what one actor's turn takes, about */
    uint64_t trim_at_ns;   /* when to give memory back if still idle; 0: nothing to give */
    uint32_t balance_steps;
    uint32_t flush_steps;
    uint32_t ran_last; /* actors in the last step */
    bool called;       /* woken by somebody: may steal in spite of a nap */
    int drawn_to;      /* scheduler of an overloaded actor the current one feeds, or -1 */
    struct weft__slots pinned;
    uint32_t pinned_owed; /* others to run before the next pinned actor */
    uint32_t high_row;    /* turns of high actors since one of the others that wait */
    uint32_t low_row;     /* turns of others since one of the low ones that wait */
    uint64_t high_row_ns; /* when these rows began */
    uint64_t low_row_ns;
    struct weft__prng prng;
    struct weft__slots free_slots;
    uint64_t slot_bump;
    uint64_t slot_bump_end;
    uint32_t slot_pieces;
    uint32_t credits;      /* actors this scheduler may spawn before it asks the runtime */
    uint32_t reserve;      /* message cells for STOP signals when memory is used up, linked */
    uint64_t stop_pass_ns; /* when to sweep again while stopping */
    uint64_t sweep_ns;     /* when to sweep on although there is other work */
    uint32_t sweep_owed;   /* actors to run before that */
    struct weft__pool pool;
    struct weft__stacks stacks; /* of processes of the configured size */
    weft_msg *scope;            /* whom a handler works for, with WEFT__LIFE_SCOPED: see scope.h */

    /* under bias: its thread outside handlers, else a visitor */
    alignas(WEFT_CACHELINE) struct weft__bias bias;
    uint32_t lifo;         /* slot, 0: none */
    uint32_t ranks;        /* its thread only; here because each pick looks at it */
    weft_atomic_u32 hurry; /* set by who puts a high actor into the inbox, cleared here; see
                              inbox.h; for the same reason here */
    uint32_t claim_at;
    uint32_t claim_count;
    uint32_t claim[WEFT__CLAIM_MAX];
    struct weft__wheel wheel;

    /* written by its thread, read by anybody */
    alignas(WEFT_CACHELINE) struct weft__counters counters;
    weft_atomic_u64 run_seq;     /* counts handler runs; the watchdog compares */
    weft_atomic_u32 running;     /* slot in its handler, 0: none */
    weft_atomic_u32 phase_shown; /* for statistics and dump */
    weft_histogram mailbox_wait;
    weft_histogram handler_time;

    /* any thread */
    struct weft__runq ring;
    struct weft__rank rank[2]; /* high, low */
    alignas(WEFT_CACHELINE) struct weft__inbox inbox;
    weft_atomic_u32 clock_stale; /* set by the watchdog, cleared here: read the clock anew */
    weft_atomic_u32 stuck;       /* set and cleared by the watchdog: others avoid its inbox */
    void *thread;                /* handle; runtime.c */
};

/* What the library itself hangs onto a type, set before the type can be found. */
struct weft__type_extra {
    weft_receive_fn receive; /* in the place of the definition's, which is NULL then; or NULL */
    uint32_t traits;         /* more of them */
    void *data;
    void (*destroy)(struct weft__core *core, void *data); /* with the runtime; NULL: nothing */
};

/* A registered type; id is its place in the registry. */
struct weft_type {
    weft_type_def def;
    char name[64];
    uint32_t id;
    uint32_t bound;
    uint32_t low;
    uint32_t traits;
    bool small; /* state fits into the slot */
    weft_runtime *runtime;
    struct weft__type_extra extra;
};

/* As weft_type_register; on error extra->data stays the caller's. context.c */
int weft__type_register(weft_runtime *runtime, const weft_type_def *def,
                        const struct weft__type_extra *extra, const weft_type **ret_type);
/* The library's own type of this name, registered by whoever needs it first. -EEXIST: the program
 * has one of that name. Errors else as weft_type_register. context.c */
int weft__type_library(weft_runtime *runtime, const weft_type_def *def, uint32_t traits,
                       const weft_type **ret_type);

struct weft__overflow {
    struct weft__lock lock;
    struct weft__slots lists[WEFT__RANKS]; /* under lock */
    weft_atomic_u32 count; /* of all; written under lock, read by anybody; advisory */
};

enum { WEFT__TYPES_MAX = 4096, WEFT__STACK_SIZES = 13, WEFT__CRASH_MAX = 10000 };

enum weft__runtime_phase {
    WEFT__RUNTIME_CREATED = 0,
    WEFT__RUNTIME_RUNNING = 1,
    WEFT__RUNTIME_STOPPING = 2, /* actors are being stopped */
    WEFT__RUNTIME_LEAVING = 3,  /* no actors left: threads end */
    WEFT__RUNTIME_STOPPED = 4,
};

struct weft__blocking;
struct weft__watchdog;
struct weft__port;

/* What schedulers park on: the environment's I/O drivers, or its plain ones. */
struct weft__driver_calls {
    int (*create)(weft_env *env, bool want_fd, void **ret_driver);
    void (*destroy)(weft_env *env, void *driver);
    void (*park)(weft_env *env, void *driver, uint64_t deadline_ns);
    void (*wake)(weft_env *env, void *driver);
    int (*fd)(weft_env *env, void *driver);
};

struct weft_runtime {
    struct weft__core core;
    /* const after init */
    weft_config config;
    weft_env *own_env; /* made for it, destroyed with it */
    struct weft__driver_calls drivers;
    const char *driver_reason; /* why it is this driver; static, or NULL */
    const char *tls_library;   /* for the log; static, or NULL: none */
    uint64_t node;
    uint32_t count;         /* schedulers */
    weft_atomic_u32 ranked; /* set before the first actor of high or low priority is born, by any
                               thread: nobody looks for such before. Never cleared */
    struct weft__scheduler **schedulers;
    struct weft__pool **pools; /* [0] shared, then one per scheduler */
    struct weft__arena slots;
    struct weft__arena looks; /* struct weft__look by slot: committed where one is written */
    struct weft__arena entries;
    uint16_t *entry_homes; /* per piece of entries; written by who claims it */
    uint32_t entry_pieces;
    struct weft__pool shared_pool;
    struct weft__blocking *blocking;
    struct weft__watchdog *watchdog;
    int cpus[WEFT_SCHEDULERS_MAX]; /* to bind to, or -1 */
    /* any thread */
    struct weft__idle idle;
    struct weft__overflow overflow;
    struct weft__counters outside; /* under outside_lock */
    struct weft__lock outside_lock;
    struct weft__lock slots_lock;  /* free_slots, and slot pieces of outside spawns */
    struct weft__slots free_slots; /* under slots_lock: shared ones */
    weft_atomic_u32 free_shown;    /* how many; written under slots_lock; advisory: who sees too
                                      few takes fresh memory */
    weft_atomic_u64 retired;       /* slots used up */
    weft_atomic_u32 phase;         /* enum weft__runtime_phase; moves forward only. V1 */
    weft_atomic_u32 alive_threads; /* scheduler threads that did not exit yet */
    weft_atomic_u64 stop_cursor;   /* sweep of all slots while stopping */
    weft_atomic_u64 dead_target;   /* slot and generation of the dead-letter subscriber */
    weft_atomic_u64 credits;       /* of actors_max, not given out to schedulers; any thread */
    weft_atomic_u32 round_robin;   /* for spawns from outside */
    struct weft__lock types_lock;
    weft_atomic_u32 type_count; /* T1: publishes types[] */
    weft_type *types[WEFT__TYPES_MAX];
    weft_atomic_u64 job_type;   /* address of the type of jobs, once one was started. J3, job.c */
    weft_atomic_u32 queues;     /* completion queues that exist; any thread adds */
    weft_atomic_u32 upper_busy; /* things of upper layers that must end before threads leave; any
                                   thread adds, the thread of the thing takes away */
    struct weft__stack_pool stack_pools[WEFT__STACK_SIZES]; /* of 16K, 32K, ... */
    weft_atomic_u32 stacks_guarded; /* any thread: stacks of all pools, see stack.h */
    weft_atomic_u64 stacks_told_ns; /* any thread: when process.limit was logged last; 0: never */
    struct weft__lock chain_lock;   /* who is stuck behind whom: see chain.h */
    uint32_t chain_number;          /* last given out; under chain_lock */
    struct weft__lock upper_lock;
    void *upper_shared;                           /* the layer above's, under upper_lock */
    void (*upper_destroy)(weft_runtime *runtime); /* the same */
    const struct weft__virtual_calls *virtuals;   /* the same; set before the first such actor */
    void *shards;                                 /* of the layer of virtual actors; the same */
    weft_atomic_u64 shards_shown; /* the same as an address, for those without the lock. H1 */
    weft_atomic_u64 names;        /* struct weft__names *, or 0: nothing was ever registered. Z1 */
    struct weft__lock ports_lock;
    struct weft__port *free_ports; /* under ports_lock */
    struct weft__port *all_ports;  /* under ports_lock */
    weft_atomic_u32 outside_busy;  /* spawns outside that are under way. V2: see runtime.c */
    weft_atomic_u32 stopper;       /* somebody is in weft_runtime_stop */
    weft_atomic_u64 stop_by_ns;    /* and waits so long; the stopper writes it */
    void *stop_driver;             /* the stopping thread parks here */
    bool start_failed;             /* not all schedulers have a thread; stopper only */
    void *memory;                  /* what the runtime was made in */
    size_t memory_bytes;
};

WEFT_INLINE uint32_t weft__phase(const weft_runtime *runtime) {
    return weft_load32_acquire(&runtime->phase);
}

WEFT_INLINE void weft__trace(const struct weft__scheduler *s, enum weft__trace event,
                             uint64_t first, uint64_t second) {
    if (weft_unlikely(s->traced)) {
        s->core->env->trace(s->core->env, event, first, second);
    }
}

/* The scheduler this thread steps just now, or NULL. Not inlined: a process may have moved. */
struct weft__scheduler *weft__scheduler_current(void);

/* scheduler.c */
int weft__scheduler_create(weft_runtime *runtime, uint32_t id, struct weft__scheduler **ret);
void weft__scheduler_destroy(struct weft__scheduler **scheduler);
enum weft_step weft__scheduler_step(void *arg, uint64_t *deadline_ns);
/* The rare ways of weft__schedule. */
void weft__schedule_slow(struct weft__scheduler *s, struct weft_ctx *slot);
void weft__schedule_evicted(struct weft__scheduler *s, uint32_t index);
/* An actor whose mailbox was idle has a message now: it takes the LIFO slot, and who was there
 * goes to the ring. Pinned ones and those of high or low priority have queues of their own. On this
 * scheduler's thread. */
WEFT_INLINE void weft__schedule(struct weft__scheduler *s, struct weft_ctx *slot) {
    if (weft_unlikely((weft_load32_relaxed(&slot->traits) & WEFT__TRAITS_SPECIAL) != 0 ||
                      s->current == NULL || s->lifo_max == 0)) {
        weft__schedule_slow(s, slot);
        return;
    }
    weft__bias_enter(&s->bias, &s->barrier);
    uint32_t evicted = s->lifo;
    s->lifo = slot->index;
    weft__bias_leave(&s->bias);
    if (evicted != 0) {
        weft__schedule_evicted(s, evicted);
    }
}
/* The same on any other thread. */
void weft__schedule_outside(weft_runtime *runtime, struct weft_ctx *slot);
/* Puts an actor into the inbox of scheduler id, for which the caller rings. Any thread. */
void weft__inbox_give(weft_runtime *runtime, uint32_t id, struct weft_ctx *slot);
/* A cell of the reserve, or NULL. */
weft_msg *weft__scheduler_reserve(struct weft__scheduler *s);
/* Wakes whom the runs since the last call made work for. */
void weft__doorbells_ring(struct weft__scheduler *s);
WEFT_INLINE void weft__doorbells(struct weft__scheduler *s) {
    if ((s->published | s->doorbell_last) != 0) {
        weft__doorbells_ring(s);
    }
}
/* Reads the clock if the last reading may be old. */
void weft__refresh_clock(struct weft__scheduler *s);
enum { WEFT__EXACT_NS = 100000000 }; /* shorter times are counted from a clock read for them */
/* When a time is over that begins now: for others than those the turn's clock will do, which is at
 * most a step or a watchdog period old. */
WEFT_INLINE uint64_t weft__due_ns(struct weft__scheduler *s, uint64_t after_ns) {
    if (weft_unlikely(after_ns < WEFT__EXACT_NS)) {
        s->now_ns = weft__now(s->core);
    } else {
        weft__refresh_clock(s);
    }
    return weft_add_saturated(s->now_ns, after_ns);
}
/* Who fires timers: a scheduler, or (s NULL) a thread outside. */
struct weft__fire {
    weft_runtime *runtime;
    struct weft__scheduler *s;
};
/* A wheel entry is due: pushes its signal. arg: a struct weft__fire. */
bool weft__fire_timer(void *arg, const struct weft__entry *entry, uint32_t index, uint32_t state);
/* Queues an actor where any scheduler finds it. Any thread. */
void weft__overflow_push(weft_runtime *runtime, struct weft_ctx *slot);
void weft__wake(weft_runtime *runtime, int id);

/* Back to the end of the queue: its budget is used up. Under bias. */
void weft__requeue(struct weft__scheduler *s, struct weft_ctx *slot, uint32_t index);

/* rank.c: the traits of a priority (enum weft_priority); the runtime knows from then on that there
 * are such actors. */
uint32_t weft__rank_traits(weft_runtime *runtime, uint32_t priority);
/* Moves high actors from behind a stuck handler to where busy schedulers find them too. Any
 * thread. Returns how many. */
uint32_t weft__rank_rescue(weft_runtime *runtime, struct weft__scheduler *s);
/* How many wait in all rings of a scheduler. Advisory. Any thread. */
uint32_t weft__rings_length(const struct weft__scheduler *s);

/* run.c: one turn of one actor. */
void weft__run(struct weft__scheduler *s, uint32_t index);

/* runtime.c: a caller's configuration, checked, with every default filled in; what is wrong with it
 * is logged. */
int weft__runtime_config(const weft_config *config, weft_config *ret_config);

/* runtime.c: sweeps slots while the runtime stops; a scheduler's thread has ended. */
void weft__stop_sweep(struct weft__scheduler *s);
/* The same after a step that ran some actors, if it is time. */
void weft__stop_turn(struct weft__scheduler *s, uint32_t ran);
bool weft__stop_done(struct weft__scheduler *s);
void weft__thread_left(weft_runtime *runtime);

#endif
