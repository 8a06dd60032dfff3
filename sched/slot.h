/* SPDX-License-Identifier: MIT
 *
 * An actor: three cache lines in the slot arena, of the senders, of the owner (the scheduler that
 * runs it just now) and the cold one with small user states; what most actors lack hangs off ext.
 * weft_ctx, the handle callbacks get, is the slot itself.
 *
 * Slots are type-stable: a stale pid reads a slot of another tenant, or of none, and the mailbox's
 * generation tells. Free slots are reused first in, first out; a slot whose 2^32 generations are
 * used up is retired.
 */
#ifndef WEFT_SCHED_SLOT_H
#define WEFT_SCHED_SLOT_H

#include "core/wheel.h"
#include "sched/mailbox.h"
#include <weft/actor.h>

enum {
    WEFT__SLOT_PIECE_BYTES = 6 << 20, /* 32,768 slots, three huge pages */
    WEFT__STATE_INLINE = 48,
};

/* weft_ctx.traits: const per tenant, read by senders */
enum {
    WEFT__TRAIT_PINNED = 1,
    WEFT__TRAIT_PORT = 2,     /* no actor: a thread outside waits here (port.h) */
    WEFT__TRAIT_DROP_NEW = 4, /* mailbox policy */
    WEFT__TRAIT_DROP_OLD = 8,
    WEFT__TRAIT_SERIAL = 16,
    WEFT__TRAIT_VIRTUAL = 32, /* reached by name: see weft__virtual_calls */
    WEFT__TRAIT_HIGH = 64,    /* priority; neither: normal */
    WEFT__TRAIT_LOW = 128,
    WEFT__TRAIT_WAITS = 256,     /* mailbox policy: processes that send to it wait */
    WEFT__TRAIT_REENTRANT = 512, /* with SERIAL */
    WEFT__TRAITS_RANKED = WEFT__TRAIT_HIGH | WEFT__TRAIT_LOW,
    /* not for the LIFO slot */
    WEFT__TRAITS_SPECIAL = WEFT__TRAIT_PINNED | WEFT__TRAIT_PORT | WEFT__TRAITS_RANKED,
    WEFT__TRAIT_DEFERS_STOP = 1 << 16, /* of the library: a stop comes as an EXIT message */
    WEFT__TRAIT_NAMED = 1 << 17,       /* has names or groups. Or-ed by who registers: name.h, C1 */
    WEFT__TRAIT_TRACED = 1 << 18,      /* as WEFT__LIFE_TRACED; changed by its runner, atomically */
    WEFT__TRAIT_SENT_MUCH = 1 << 19,   /* mailbox.sent has wrapped: see tracing.h. The same */
};

/* weft_ctx.life: owner only */
enum {
    WEFT__LIFE_INITED = 1,         /* init succeeded: terminate is due at the end */
    WEFT__LIFE_EXITING = 2,        /* reason is set: ends when the callback returns */
    WEFT__LIFE_KILLED = 4,         /* without terminate */
    WEFT__LIFE_CLOSED = 8,         /* the mailbox is closed, ending */
    WEFT__LIFE_WAITERS = 16,       /* senders wait for a READY */
    WEFT__LIFE_ANCHOR_DONE = 64,   /* the anchor was handled before others of its batch */
    WEFT__LIFE_STASH = 32,         /* a serial actor, or one with HOLD, holds messages back */
    WEFT__LIFE_FRESH = 128,        /* virtual: its first turn is to come, and init with it */
    WEFT__LIFE_HOLD = 256,         /* virtual: loads or saves; its one call is the store's */
    WEFT__LIFE_BARREN = 2048,      /* virtual: has no heir */
    WEFT__LIFE_REPLACED = 4096,    /* virtual: the store has a newer state: has an heir */
    WEFT__LIFE_CREDIT_GONE = 8192, /* virtual: its place under actors_max is its heir's */
    WEFT__LIFE_PURE = 16384,       /* virtual: all of batch is from users: see keep_left */
    WEFT__LIFE_IDLE = 1 << 15,     /* a service waits for its idle time: see service.c */
    WEFT__LIFE_TAKEN = 512,        /* took the request at hand, which has a chain: see chain.h */
    WEFT__LIFE_BLOCKED = 1024,     /* serial, and has made calls: own is set */
    WEFT__LIFE_TRAP = 1 << 16,     /* exits come as messages */
    WEFT__LIFE_PROCESS = 1 << 17,  /* has a stack: ext->process is set */
    WEFT__LIFE_CHAINS = 1 << 18,   /* process: is about to wait for the call it makes */
    WEFT__LIFE_YIELD = 1 << 19,    /* process: its turn ends, others run first */
    WEFT__LIFE_RESUME = 1 << 20,   /* process: its wait is over, it goes on */
    WEFT__LIFE_SCOPED = 1 << 21,   /* works for a request that is not at hand: see scope.h */
    WEFT__LIFE_CANCELS = 1 << 22,  /* requests that wait for it may have been cancelled: the same */
    WEFT__LIFE_TRACED = 1 << 23,   /* its messages go to the log hook: see tracing.h */
    WEFT__LIFE_MOVED = 1 << 24,    /* to a scheduler whose clock may be behind what it has seen */
    /* what has to be looked at after a message */
    WEFT__LIFE_ATTENTION = WEFT__LIFE_EXITING | WEFT__LIFE_WAITERS | WEFT__LIFE_STASH |
                           WEFT__LIFE_TAKEN | WEFT__LIFE_BLOCKED | WEFT__LIFE_YIELD |
                           WEFT__LIFE_RESUME | WEFT__LIFE_SCOPED | WEFT__LIFE_CANCELS,
};

struct weft__ext;
struct weft__scheduler;

struct weft_ctx {
    /* any thread */
    alignas(WEFT_CACHELINE) struct weft__mailbox mailbox;
    weft_atomic_u32 bound;     /* mailbox_max; 0: none. Written before the mailbox opens */
    weft_atomic_u32 traits;    /* as bound */
    weft_atomic_u32 link;      /* of whoever queues the actor: inbox, overflow, pinned, free list */
    weft_atomic_u32 scheduler; /* index from 0 of where it ran last; written by its runner */
    weft_atomic_u32 type_id;   /* for inspection; as bound */
    uint32_t names;            /* what it has registered, 0: nothing; under that lock: name.h */
    weft_counter handled;      /* messages; owner writes, inspection reads */
    weft_atomic_u64 parent;    /* slot and generation; for inspection; as bound */
    weft_atomic_u64 active_ns; /* when it ran last; its runner writes; advisory: passivation */

    /* the scheduler that runs it */
    alignas(WEFT_CACHELINE) const weft_type *type;
    void *state;
    struct weft__ext *ext;
    struct weft__scheduler *runner; /* set at every run, invalid in between */
    uint32_t batch;                 /* messages taken and not handled yet, oldest first */
    uint32_t anchor;                /* newest message read: may still be in the word */
    uint32_t gen;
    uint32_t index;
    int32_t reason;
    uint32_t life;
    uint32_t held;    /* messages the actor took, linked both ways */
    uint32_t waiters; /* WANT_READY signals to answer at the low-water mark */

    /* small user states live here, with what little is rare */
    alignas(WEFT_CACHELINE) unsigned char small_state[WEFT__STATE_INLINE];
    uint32_t batch_last; /* newest message of batch, while there is one; its runner's */
    uint32_t own;        /* chain nodes of a serial actor's calls, by weft__next; its runner's, and
                            read by others under chain_lock while episode is set */
    uint32_t own_count;
    uint32_t episode; /* its runner writes it under chain_lock, where others read it; see chain.h */
};
_Static_assert(sizeof(struct weft_ctx) == 3 * WEFT_CACHELINE, "three cache lines an actor");
_Static_assert(offsetof(struct weft_ctx, type) == WEFT_CACHELINE, "owner's line");
_Static_assert(offsetof(struct weft_ctx, small_state) % 16 == 0, "state alignment");

WEFT_INLINE struct weft_ctx *weft__slot_at(const struct weft__arena *slots, uint32_t index) {
    return (struct weft_ctx *)(void *)(slots->base + (uint64_t)index * sizeof(struct weft_ctx));
}

/* Messages between the runtime and itself: kinds no user sees. Handled before queued user
 * messages. */
enum {
    WEFT__SIGNAL_START = WEFT__KIND_SIGNAL, /* run init; payload: its argument */
    WEFT__SIGNAL_STOP = 33,                 /* weft__value: reason */
    WEFT__SIGNAL_KILL = 34,
    WEFT__SIGNAL_TIMER = 35,      /* weft__ref: entry and its state; weft__tag: timer */
    WEFT__SIGNAL_WANT_READY = 36, /* from a sender whose message was refused */
    WEFT__SIGNAL_WANT_ROOM = 47,  /* the same from a process that waits; answered like a request */
    WEFT__SIGNAL_UPPER = 37,      /* for the actor's attachment; token and status */
    WEFT__SIGNAL_LINK = 39,       /* these six: see bonds.h */
    WEFT__SIGNAL_UNLINK = 40,
    WEFT__SIGNAL_UNLINKED = 41, /* weft__ref: number of the unlinking */
    WEFT__SIGNAL_MONITOR = 42,  /* weft__ref: reference */
    WEFT__SIGNAL_DEMONITOR = 43,
    WEFT__SIGNAL_EXIT = 44,
    WEFT__SIGNAL_CANCEL = 45,    /* weft__from, weft__ref: of the request; see scope.h */
    WEFT__SIGNAL_TRACE = 46,     /* weft__value: on or off; see tracing.h */
    WEFT__SIGNAL_PASSIVATE = 38, /* virtual; weft__value: the reason, see weft__virtual_calls */
};

/* In order among users' messages, but for the runtime: a process's note to itself. */
enum { WEFT__MSG_MARK = 31 };

/* Who a message is from: slot and generation of a local actor, 0 for outside. One load where
 * integers are little-endian, hence the order of the two fields. */
WEFT_INLINE uint64_t weft__from(const struct weft_ctx *ctx) {
    return (uint64_t)ctx->index << 32 | ctx->gen;
}

#endif
