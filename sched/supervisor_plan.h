/* SPDX-License-Identifier: MIT
 *
 * What a supervisor does next: the rules of OTP's supervisor as a state machine, and nothing else.
 * No actor, no clock, no allocation: children are records in an array of the caller's, named by
 * their index; what happened goes in through functions, what is to be done comes out of
 * weft__plan_next, one thing at a time. sched/supervisor.c does it.
 *
 * A plan does one operation at a time (enum weft__plan_purpose), a walk back over children that are
 * stopped, then a walk forward over children that are started. Children that end meanwhile wait,
 * in the order they ended, until the plan is idle; so do those that could not be started again.
 * Whoever has something else waiting (requests) gives it a number from weft__plan_number, and
 * compares. Nothing here takes longer than the steps it is allowed.
 */
#ifndef WEFT_SCHED_SUPERVISOR_PLAN_H
#define WEFT_SCHED_SUPERVISOR_PLAN_H

#include "core/defs.h"
#include <weft/supervisor.h>

/* Two records at the beginning of the array are the heads of lists. */
enum { WEFT__PLAN_NONE = 0, WEFT__PLAN_RETRIES = 1, WEFT__PLAN_FIRST = 2 };

enum weft__plan_status {
    WEFT__PLAN_STOPPED = 0,
    WEFT__PLAN_STARTING = 1,   /* is being started, nothing was heard of its init */
    WEFT__PLAN_RUNNING = 2,    /* has started */
    WEFT__PLAN_STOPPING = 3,   /* was told to end */
    WEFT__PLAN_ENDED = 4,      /* has ended by itself, and waits to be judged */
    WEFT__PLAN_RESTARTING = 5, /* could not be started again, and waits for the next attempt */
};

struct weft__plan_child {
    uint64_t order;       /* grows from child to child */
    uint64_t wait_number; /* when it began to wait */
    uint32_t previous;    /* in the order of starting; 0 is the head */
    uint32_t next;
    uint32_t wait_previous; /* in the list it waits in: head 0 (ended) or 1 (retries) */
    uint32_t wait_next;
    uint8_t status;  /* enum weft__plan_status */
    uint8_t restart; /* enum weft_restart */
    bool significant;
    bool in_order; /* ENDED: it ended in order: normal or shutdown */
};

/* Times of restarts, the newest of them at first + count - 1, around the end. */
struct weft__plan_window {
    uint64_t *times; /* the caller's */
    uint64_t period_ns;
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    uint32_t limit; /* intensity */
};

enum weft__plan_purpose {
    WEFT__PLAN_IDLE = 0,
    WEFT__PLAN_BEGIN = 1,     /* all are started; a failure ends the supervisor */
    WEFT__PLAN_RESTART = 2,   /* after an end, or another attempt */
    WEFT__PLAN_START_ONE = 3, /* on request */
    WEFT__PLAN_ADD_ONE = 4,   /* the same, and forgotten if it cannot be started */
    WEFT__PLAN_STOP_ONE = 5,  /* on request */
    WEFT__PLAN_END = 6,       /* all are stopped, then it ends */
};

enum weft__plan_walk {
    WEFT__PLAN_STAND = 0,
    WEFT__PLAN_BACK = 1,    /* stops */
    WEFT__PLAN_FORWARD = 2, /* starts */
    WEFT__PLAN_KILL = 3,    /* tells those once more that were told to end */
};

struct weft__plan {
    struct weft__plan_child *children; /* the caller's, who may move them between two calls */
    struct weft__plan_window window;
    uint64_t order;  /* last given out */
    uint64_t number; /* last given out */
    uint64_t due;    /* retries with a number up to it are due */
    uint32_t strategy;
    uint32_t auto_shutdown;
    uint32_t purpose;
    uint32_t walk;
    uint32_t cursor; /* the child the walk comes to next, 0: it is through */
    uint32_t bound;  /* the last child of the walk, 0: there is none but the end of the order */
    uint32_t from;   /* where the walk forward begins after the walk back, 0: with the first */
    uint32_t busy;   /* the child that is being started or stopped, 0: none */
    uint32_t told;   /* simple_one_for_one at its end: told to end, and have not */
    uint32_t total;  /* children in the order */
    uint32_t active; /* of them RUNNING */
    uint32_t restarting;
    uint32_t significant; /* significant ones that are not STOPPED */
    bool ending;          /* ends as soon as the one it waits for has stopped */
    bool failed;          /* the first children could not all be started */
    bool ended;
};

/* children: room for WEFT__PLAN_FIRST records at least. The def's counts and children do not
 * matter; an intensity of 0 with a period of 0 is 1 in 5 s. */
void weft__plan_init(struct weft__plan *plan, const weft_supervisor_def *def,
                     struct weft__plan_child *children);

/* ---- children ------------------------------------------------------------------------------ */

/* A STOPPED child behind all others. Any index from WEFT__PLAN_FIRST that is free. */
void weft__plan_add(struct weft__plan *plan, uint32_t child, uint32_t restart, bool significant);
/* Takes a STOPPED child out. */
void weft__plan_remove(struct weft__plan *plan, uint32_t child);

/* ---- what is to be done -------------------------------------------------------------------- */

enum weft__plan_verb {
    WEFT__PLAN_DO_NOTHING = 0, /* idle: look for an event */
    WEFT__PLAN_DO_WAIT = 1,    /* for a child */
    WEFT__PLAN_DO_YIELD = 2,   /* steps are used up: ask again later */
    WEFT__PLAN_DO_START = 3,   /* child: then say up, ignored or failed */
    WEFT__PLAN_DO_STOP = 4,    /* child: then say exited */
    WEFT__PLAN_DO_KILL = 5,    /* child: it was told already */
    WEFT__PLAN_DO_FORGET = 6,  /* child: it is in no list any more */
    WEFT__PLAN_DO_END = 7,     /* there are no children any more */
};

struct weft__plan_action {
    enum weft__plan_verb verb;
    uint32_t child;
};

/* steps: how many children may be looked at; counted down. */
struct weft__plan_action weft__plan_next(struct weft__plan *plan, uint32_t *steps);

/* ---- what happened to a child -------------------------------------------------------------- */
/* Each answers whether the child is to be forgotten: it is in no list any more. */

/* Its init has succeeded. */
void weft__plan_up(struct weft__plan *plan, uint32_t child);
/* It does not want to run. */
bool weft__plan_ignored(struct weft__plan *plan, uint32_t child);
/* It could not be started. */
bool weft__plan_failed(struct weft__plan *plan, uint32_t child);
/* It has ended; of one that is STARTING ignored or failed is said instead. In order: with normal
 * or shutdown. Said twice, the second time does nothing. */
bool weft__plan_exited(struct weft__plan *plan, uint32_t child, bool in_order);

/* ---- operations ---------------------------------------------------------------------------- */

/* Starts all. Idle only, as all but weft__plan_end. */
void weft__plan_begin(struct weft__plan *plan);
/* Starts a STOPPED child. new: it is forgotten if it cannot be. */
void weft__plan_start_one(struct weft__plan *plan, uint32_t child, bool new);
/* Stops a child and ends attempts to restart it. */
void weft__plan_stop_one(struct weft__plan *plan, uint32_t child);
/* Stops all and ends, at any time. */
void weft__plan_end(struct weft__plan *plan);
/* simple_one_for_one, at its end: those that were told to end and have not are to be killed. */
void weft__plan_kill(struct weft__plan *plan);

/* ---- what waits ---------------------------------------------------------------------------- */

/* A number for something else that waits. */
uint64_t weft__plan_number(struct weft__plan *plan);
/* Children that wait for another attempt now are due for it. */
void weft__plan_retry(struct weft__plan *plan);
/* Is there one that is not due? */
bool weft__plan_has_retries(const struct weft__plan *plan);
/* The child that waits longest, and since when; 0: none. */
uint32_t weft__plan_waiting(const struct weft__plan *plan, uint64_t *ret_number);

enum weft__plan_fate {
    WEFT__PLAN_KEEP = 0,     /* it stays, STOPPED */
    WEFT__PLAN_AGAIN = 1,    /* it is started again, by itself or with others */
    WEFT__PLAN_TOO_MANY = 2, /* it would be, but the limit is reached: the supervisor ends */
    WEFT__PLAN_AUTO = 3,     /* it is significant: the supervisor ends because of it */
};

struct weft__plan_verdict {
    enum weft__plan_fate fate;
    bool forget; /* it is in no list any more */
};

/* Idle only: what becomes of a child that waits. The window has room, see below. */
struct weft__plan_verdict weft__plan_judge(struct weft__plan *plan, uint32_t child,
                                           uint64_t now_ns);

/* ---- the window ---------------------------------------------------------------------------- */

/* The capacity it should have before one more restart is judged; what it has: that will do. Lets
 * go of what is too old. */
uint32_t weft__plan_window_wants(struct weft__plan_window *window, uint64_t now_ns);
/* Moves it to larger memory; the old is the caller's again. */
void weft__plan_window_move(struct weft__plan_window *window, uint64_t *times, uint32_t capacity);
/* One more restart; true: that is more than the limit allows, and is not noted. */
bool weft__plan_window_add(struct weft__plan_window *window, uint64_t now_ns);

#endif
