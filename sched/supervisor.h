/* SPDX-License-Identifier: MIT
 *
 * A supervisor: an actor of the type "weft.supervisor". Its plan (supervisor_plan.h) says what is
 * to be done; supervisor.c hands messages in and carries that out, supervisor_child.c knows its
 * children, supervisor_call.c what others ask of it. All of it runs in the supervisor's handler.
 *
 * A child has the same index in the plan's array and in ours. What it was started from is a spec
 * in a book: the supervisor's own, or one that came with the request that added it.
 */
#ifndef WEFT_SCHED_SUPERVISOR_H
#define WEFT_SCHED_SUPERVISOR_H

#include "core/map.h"
#include "sched/actor.h"
#include "sched/supervisor_plan.h"
#include "sched/supervisor_spec.h"

enum {
    WEFT__SUPERVISOR_MAGIC = 0x73757076,
    WEFT__SUPERVISOR_STEPS = 16, /* children looked at and events taken in one go */
    WEFT__SUPERVISOR_TEXT = 160,
};

struct weft__child {
    uint64_t target; /* who it is, or was; 0: nobody yet */
    uint64_t before; /* STARTING: who it was last; requests know it by that still */
    const struct weft__spec *spec;
    weft_buf *buf; /* simple_one_for_one: its argument; else the book of its spec, if it has one
                           of its own. A reference, or NULL */
    uint32_t next_same; /* the next child whose id has the same hash; of a free record the next */
    bool has_arg;       /* simple_one_for_one: buf (or nothing) is in the place of the spec's */
};

/* A request that waits until the supervisor is idle. */
struct weft__waiting {
    weft_msg *msg;
    uint64_t number; /* of the plan: when it came */
};

struct weft__supervisor {
    uint32_t magic;
    bool begun;    /* all specs are children; the plan has begun */
    bool reported; /* and the parent knows */
    bool ticking;  /* the tick is under way */
    bool timed;    /* a deadline runs */
    struct weft__core *core;
    weft_buf *buf; /* the book; a reference */
    const struct weft__def *def;
    struct weft__plan plan;
    struct weft__plan_child *steps; /* the plan's records */
    struct weft__child *children;
    uint32_t steps_capacity;
    uint32_t capacity; /* of children */
    uint32_t used;
    uint32_t free; /* first free record, 0: none */
    uint32_t loaded;
    uint32_t supervisors;        /* children that are supervisors */
    struct weft__map pids;       /* from targets to children */
    struct weft__map ids;        /* from hashes of ids to the first child with one */
    struct weft__waiting *queue; /* requests, around the end */
    uint32_t queue_capacity;
    uint32_t queue_first;
    uint32_t queue_count;
    uint32_t which_index; /* the child asked for last by its number, and which that is */
    uint32_t which_child;
    weft_msg *request; /* whose operation is under way; taken */
    uint32_t request_child;
    int request_status;
    weft_msg *tick; /* to itself; made beforehand, so that going on never needs memory */
    weft_msg *up;   /* to its parent, when the first children have started; or NULL */
    weft_timer timer;
    uint64_t timer_token;
    uint64_t now_ns;      /* the latest time seen */
    int reason;           /* why it ends */
    weft_msg *reason_msg; /* an EXIT with the same reason, for its data; taken. Or NULL */
    char text[WEFT__SUPERVISOR_TEXT]; /* what could not be started, and why; or empty */
};

/* What a supervisor's actor is born with. */
struct weft__supervisor_arg {
    uint64_t magic;
    weft_buf *buf; /* a reference; init takes it */
    uint32_t def;  /* its place in the book */
    bool report;   /* its parent waits for UP */
};

WEFT_INLINE bool weft__supervisor_is_simple(const struct weft__supervisor *supervisor) {
    return supervisor->def->strategy == WEFT_SIMPLE_ONE_FOR_ONE;
}

/* ---- supervisor.c -------------------------------------------------------------------------- */

/* The type, registered on first use. 0, -EEXIST, -ENOMEM, WEFT_E_LIMIT. Any thread. */
int weft__supervisor_type(weft_runtime *runtime, const weft_type **ret_type);
/* What to spawn one from. */
struct weft__supervisor_birth {
    weft_buf *buf; /* a book */
    uint32_t def;
    bool report;
};
/* Spawns one, linked to ctx, or (NULL) outside. Errors as weft_spawn. */
int weft__supervisor_spawn(struct weft_ctx *ctx, weft_runtime *runtime,
                           const struct weft__supervisor_birth *birth, weft_pid *ret_pid);
/* The supervisor ends, after its children, for a reason; the first one counts. */
void weft__supervisor_end(struct weft__supervisor *supervisor, int reason);

/* ---- supervisor_child.c -------------------------------------------------------------------- */

/* Room for a few; the heads of the plan's lists. */
int weft__children_init(struct weft__supervisor *supervisor);
/* Accepts what was not initialised. */
void weft__children_fini(struct weft__supervisor *supervisor);
/* A child that does not run yet, in the plan as well. buf [take], also on error. 0 or -ENOMEM. */
int weft__child_create(struct weft__supervisor *supervisor, const struct weft__spec *spec,
                       weft_buf *buf, uint32_t *ret_child);
/* The plan has forgotten it. */
void weft__child_forget(struct weft__supervisor *supervisor, uint32_t child);
/* The child that is this actor just now, not one that was; 0: there is none. */
uint32_t weft__child_who(const struct weft__supervisor *supervisor, uint64_t target);
/* 0: there is none. */
uint32_t weft__child_by_id(const struct weft__supervisor *supervisor, const char *id);
uint32_t weft__child_by_pid(const struct weft__supervisor *supervisor, uint64_t target);
const char *weft__child_id(const struct weft__supervisor *supervisor, uint32_t child);
const struct weft__book *weft__child_book(const struct weft__supervisor *supervisor,
                                          uint32_t child);
/* It has started. */
void weft__child_up(struct weft__supervisor *supervisor, uint32_t child);
/* Carry out what the plan says. */
void weft__child_start(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child);
void weft__child_stop(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child);
void weft__child_kill(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child);
/* It has ended, with this code. */
void weft__child_gone(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child,
                      int code);
/* A deadline for those that were told to end; at once if there is no memory for a timer. */
void weft__child_deadline(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                          uint64_t delay_ns);
void weft__child_late(struct weft_ctx *ctx, struct weft__supervisor *supervisor);
/* Logs an event about a child, if anybody wants it. */
void weft__child_log(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                     uint32_t child, const char *event, int code);

/* ---- supervisor_call.c --------------------------------------------------------------------- */

/* A request arrived: is served, or waits. */
void weft__supervisor_ask(struct weft_ctx *ctx, struct weft__supervisor *supervisor, weft_msg *msg);
/* The request that waits longest is served; there is one, and the plan is idle. */
void weft__supervisor_serve(struct weft_ctx *ctx, struct weft__supervisor *supervisor);
/* What a request asked for is done. */
void weft__supervisor_answer(struct weft_ctx *ctx, struct weft__supervisor *supervisor);

#endif
