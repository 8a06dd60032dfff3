/* SPDX-License-Identifier: MIT
 *
 * A process: an actor whose receive (weft__process_receive) goes on with code that has a stack of
 * its own and left it in the middle (sched/switch.h), to wait for something.
 *
 * For the rest of the library a process is a handler: its turn, its mailbox, its end are the same.
 * What a process waits for goes to it when it comes; other messages are saved, in order, and count
 * as waiting in its mailbox. Everything here belongs to the scheduler that runs the actor.
 *
 *   P1  inside is set exactly while the process's own code runs. Nothing else may leave its stack.
 *   P2  While the code runs, the message it received last is the scheduler's current message, or
 *       (after a suspension) current here, among those the actor holds; never both.
 *   P3  A wait ends once: by what it waits for, or by its timeout, whose call is taken back then.
 */
#ifndef WEFT_SCHED_PROCESS_H
#define WEFT_SCHED_PROCESS_H

#include "core/stack.h"
#include "sched/actor.h"
#include "sched/switch.h"
#include <weft/process.h>
#include <weft/service.h>

enum { WEFT__PROCESS_MAGIC = 0x70726f63 };

/* What a process waits for. */
enum weft__wait {
    WEFT__WAIT_NOTHING = 0,
    WEFT__WAIT_ANY = 1,      /* any message */
    WEFT__WAIT_MATCH = 2,    /* one that match says yes to */
    WEFT__WAIT_CALL = 3,     /* the answer to the call of call_ref; that may be one for room */
    WEFT__WAIT_TOKEN = 4,    /* REPLY, DONE or TIMER with token */
    WEFT__WAIT_DONE = 5,     /* DONE with token */
    WEFT__WAIT_WRITABLE = 6, /* WRITABLE, or the CLOSED that is put aside */
    WEFT__WAIT_TIME = 7,     /* only the time */
    WEFT__WAIT_MANY = 8,     /* answers to calls with a place in many */
};

/* Calls a process waits for together. It lies on the process's stack: nobody else's. */
struct weft__many {
    weft_multi_result *results; /* by place */
    uint32_t pending;           /* calls with a place that are not answered yet */
    uint32_t enough;            /* the wait ends when only so many are pending */
    uint32_t answered;          /* with status 0 */
};

struct weft__process {
    uint32_t magic;
    enum weft__wait wait;
    struct weft__fibre fibre;
    struct weft_ctx *ctx;
    struct weft__stack *stack;
    weft_msg *start;    /* holds the spawn argument, or NULL */
    weft_msg *current;  /* the message received last, since a suspension; or NULL. P2 */
    weft_msg *scope;    /* whom it works for, with WEFT__LIFE_SCOPED: see scope.h */
    weft_msg *wanted;   /* the message at hand, which was found to be waited for */
    weft_msg *arriving; /* the message at hand, for the process to go on with; or NULL */
    weft_msg **ret_msg; /* where the wait gives its message; NULL: nowhere */
    int answer;         /* what the wait answers */
    int result;         /* what the code returned */
    bool inside;        /* P1 */
    bool lent;          /* the message at hand is its code's own, as if taken: not current */
    weft_match_fn match;
    void *match_arg;
    uint64_t token;
    struct weft__many *many;
    uint64_t call_ref;   /* of the call that is waited for */
    uint64_t unsent_ref; /* that waits for room; of the call whose request does; or 0 */
    uint64_t time_ref;   /* of the call that stands for the timeout, or 0 */
    uint64_t mark;       /* number of the mark that stands for no time at all, or 0 */
    uint64_t marks;      /* last number given out */
    uint64_t arrived;    /* reference of the REPLY or DOWN at hand */
    uint32_t saved;      /* messages nobody waited for when they came, oldest first */
    uint32_t saved_last;
    uint32_t saved_count;
    uint32_t awaited;         /* the node of the call that is awaited, or 0: see chain.h */
    uint32_t saved_chains;    /* requests among them that somebody is blocked on */
    char *touched;            /* start of the lowest page it has waited in, as far as is known */
    struct weft__draft draft; /* of the call that is being made */
    /* work for the scheduler's stack */
    void (*errand)(void *arg);
    void *errand_arg;
};

/* The process whose code runs just now, or NULL. */
WEFT_INLINE struct weft__process *weft__process_inside(const struct weft_ctx *ctx) {
    struct weft__process *process = ctx->ext == NULL ? NULL : ctx->ext->process;
    return process != NULL && process->inside ? process : NULL;
}

/* Runs fn(arg) on the scheduler's stack, at once; any actor. For code that needs much stack or
 * must not run on one that moves. */
void weft__on_scheduler(struct weft_ctx *ctx, void (*fn)(void *arg), void *arg);
/* Its code waits, or has ended, or has an errand. */
void weft__process_left(struct weft__scheduler *s, struct weft_ctx *ctx);
/* The process goes on with the message at hand; with WEFT__LIFE_RESUME, from its turn. Inlined
 * there: each return between a switch and where the turn goes on would be mispredicted. */
WEFT_INLINE void weft__process_resume(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__process *process = ctx->ext->process;
    ctx->life &= ~(uint32_t)WEFT__LIFE_RESUME;
    s->msg = process->arriving;
    if (weft_likely((ctx->life & WEFT__LIFE_EXITING) == 0)) {
        process->inside = true;
        (void)weft__fibre_enter(&process->fibre, (void *)(intptr_t)process->answer);
        process->inside = false;
    }
    if (weft_unlikely(s->msg != NULL || process->errand != NULL || process->fibre.ended)) {
        weft__process_left(s, ctx);
    }
}
/* A message from an actor has come; true: nobody waits for it, it was put aside. */
bool weft__process_aside(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* The cell of the message that was put aside last, or 0. */
WEFT_INLINE uint32_t weft__process_saved_last(const struct weft_ctx *ctx) {
    return ctx->ext->process->saved_last;
}
/* The receive of all process types. */
int weft__process_receive(weft_ctx *ctx, void *state, weft_msg *msg);
/* init has succeeded: a stack, and the first run. start holds the argument [take]. */
void weft__process_begin(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *start);
/* A mark the process sent itself has come: what was sent before has been seen. */
void weft__process_mark(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg);
/* The actor ends: its stack is dropped; returns what it had saved, oldest first. */
uint32_t weft__process_end(struct weft__scheduler *s, struct weft_ctx *ctx);
/* The actor did something with the message it received last, which is among those it holds. */
WEFT_INLINE void weft__process_took(struct weft_ctx *ctx, const weft_msg *msg) {
    struct weft__process *process = ctx->ext == NULL ? NULL : ctx->ext->process;
    if (process != NULL && process->current == msg) {
        process->current = NULL;
    }
}
/* Bytes of its stack that it has used, as far as is known: whole pages down to where it has waited. */
WEFT_INLINE uint64_t weft__process_touched(const struct weft__process *process) {
    return (uint64_t)(process->stack->high - process->touched);
}
/* The pools of all sizes, and the one of a size. */
int weft__stack_pools_init(weft_runtime *runtime);
void weft__stack_pools_fini(weft_runtime *runtime);
struct weft__stack_pool *weft__stack_pool_of(weft_runtime *runtime, size_t bytes);
/* A stack of a size, and back. Errors as weft__stack_pool_get. */
int weft__stack_take(struct weft__scheduler *s, size_t bytes, struct weft__stack **ret_stack);
/* There is no stack for one process more, and none in a cache; logged, but not often. Advisory. Any
 * thread. */
bool weft__stacks_are_spent(weft_runtime *runtime, size_t bytes);
void weft__stack_give(struct weft__scheduler *s, size_t bytes, struct weft__stack *stack);
/* Requests among the saved messages that a function says yes to will not be delivered. */
void weft__process_purge_requests(struct weft__scheduler *s, struct weft_ctx *ctx,
                                  bool (*is_over)(const weft_msg *msg, void *arg), void *arg);
/* The first saved message the process waits for, taken out, or NULL. */
weft_msg *weft__process_find(struct weft__scheduler *s, struct weft__process *process);
/* The message received last, which has been kept over a suspension, is done with. */
void weft__process_drop(struct weft__scheduler *s, struct weft__process *process);
/* The process becomes blocked by a call: those that wait for it already may close a circle. */
void weft__process_stick(struct weft__scheduler *s, struct weft__process *process);
/* Suspends until the call of process->call_ref is answered. The status, and with 0 the reply [out];
 * ret_reply may be NULL. */
int weft__process_await(struct weft__process *process, weft_msg **ret_reply);
/* Suspends until target may have room for msg [borrow], which is not sent yet. call_ref: of the call
 * that msg is the request of, or 0. 0; -EDEADLK: that will never be; -ENOMEM, WEFT_E_LIMIT,
 * WEFT_E_NOPROC; and how the call ended. msg goes with the process, if that ends. */
int weft__process_room(struct weft_ctx *ctx, uint64_t target, weft_msg *msg, uint64_t call_ref);
/* Suspends until its stream's WRITABLE, which is taken, or CLOSED, which is put aside; until due_ns
 * (UINT64_MAX: never), and no longer than the request that is worked for. 0; -EPIPE: CLOSED has
 * come; -ETIMEDOUT, -ECANCELED, -ENOMEM, WEFT_E_LIMIT. */
int weft__process_await_writable(struct weft__process *process, uint64_t due_ns);
/* Is the process blocked until others have answered? */
WEFT_INLINE bool weft__process_blocked(const struct weft__process *process) {
    return process->wait == WEFT__WAIT_CALL || process->wait == WEFT__WAIT_MANY ||
           process->awaited != 0;
}
/* Suspends until enough of many have answered: their places in results are filled. */
void weft__process_await_many(struct weft__process *process, struct weft__many *many);

#endif
