/* SPDX-License-Identifier: MIT
 *
 * The mix: one seeded workload that uses everything an actor can do, and the ledger that knows
 * what has to come out. Used by test_mix.c, test_determinism.c and planted.c. One run is one
 * simulator with one runtime:
 *   mix.c         settings from the seed, operations from outside, the run, the end
 *   mix_act.c     what actors can do
 *   mix_actor.c   their callbacks
 *   mix_ledger.c  what was sent, called, started; what must and what must not have happened
 *
 * Every message carries its number in the ledger, who sent it, for whom it is, and its position
 * in the sequence from that sender to that receiver. A broken rule is written into the report,
 * the first one only; nothing aborts, because planted.c wants to go on with the next seed.
 */
#ifndef WEFT_TESTS_SIM_MIX_H
#define WEFT_TESTS_SIM_MIX_H

#include <weft/sim.h>
#include <weft/weft.h>

#include "sim_internal.h"

enum {
    MIX_ACTORS = 448, /* ever spawned; number 0 is the outside, number 1 takes dead letters */
    MIX_MESSAGES = 32768,
    MIX_CALLS = 4096,
    MIX_TIMERS = 4096,
    MIX_JOBS = 128,
    MIX_TAKEN = 4,
    MIX_REASONS = 8,
    MIX_BYTES_MAX = 1200,
    MIX_OUTSIDE = 0,
    MIX_DEAD = 1,
    MIX_POINT = 48, /* the first of the points inside handlers, away from the runtime's own */
};

enum mix_kind {
    MIX_KIND_PLAIN = 0,    /* unbounded */
    MIX_KIND_REJECT = 1,   /* small mailbox, -EBUSY and READY */
    MIX_KIND_DROP_NEW = 2, /* small mailbox */
    MIX_KIND_DROP_OLD = 3, /* small mailbox */
    MIX_KIND_SERIAL = 4,   /* one call of its own at a time */
    MIX_KIND_DEAD = 5,     /* the dead letters' subscriber */
    MIX_KINDS = 6,
};

enum mix_act {
    MIX_ACT_SEND,
    MIX_ACT_CALL,
    MIX_ACT_CALL_CANCEL,
    MIX_ACT_TIMER,
    MIX_ACT_REPEAT,
    MIX_ACT_AFTER,
    MIX_ACT_TIMER_CANCEL,
    MIX_ACT_SPAWN,
    MIX_ACT_STOP,
    MIX_ACT_KILL,
    MIX_ACT_EXIT,
    MIX_ACT_CRASH,
    MIX_ACT_BLOCKING,
    MIX_ACT_FLOOD,
    MIX_ACTS,
};

struct mix;

/* State of one actor of the runtime; the rest is in its record. */
struct mix_state {
    uint64_t zero; /* must be zero in init */
    struct mix_actor *record;
    uint32_t number;
};

struct mix_actor {
    struct mix *mix;
    uint32_t number;
    uint32_t parent;
    enum mix_kind kind;
    weft_pid pid; /* none until known */
    void *state;
    bool spawned; /* spawn answered 0, or init ran */
    bool inside;  /* one of its callbacks runs */
    bool ready;   /* init answered 0 */
    bool init_failed;
    bool terminated;
    bool gone;       /* its cleanup ran */
    bool no_cleanup; /* there was no memory for one */
    bool kill_asked;
    uint32_t ends_asked; /* how often anything was done that ends it */
    bool exiting;        /* it said itself how it ends: exit_reason */
    int exit_reason;
    uint32_t reason_count;
    int reasons[MIX_REASONS]; /* why it may end */
    uint32_t calls_open;
    uint32_t taken_count;
    weft_msg *taken[MIX_TAKEN];
};

struct mix_message {
    uint32_t from;
    uint32_t to;
    uint32_t call; /* 0: no request */
    uint32_t received;
    uint32_t dead;
    uint32_t forwards;
    bool accepted;     /* its send answered 0 */
    bool refused;      /* its send answered an error */
    bool taken_anyway; /* an error took it: it is a dead letter */
    bool delayed;      /* weft_send_after */
    bool stale;        /* its receiver was known to be gone */
    bool lossy;        /* went through a mailbox that may drop or refuse it */
    uint64_t due_ns;
};

enum mix_stage { MIX_NEW, MIX_OPEN, MIX_DONE, MIX_CANCELLED, MIX_REFUSED };

struct mix_call {
    uint32_t caller;
    uint32_t message;
    enum mix_stage stage;
    uint64_t start_ns;
    uint64_t timeout_ns;
};

enum mix_purpose { MIX_TIMER_PLAIN, MIX_TIMER_LATER, MIX_TIMER_REPEAT, MIX_TIMER_AFTER };

struct mix_timer {
    uint32_t owner;
    enum mix_purpose purpose;
    enum mix_stage stage;
    uint32_t message; /* MIX_TIMER_AFTER */
    uint32_t ticks;
    uint64_t start_ns;
    uint64_t delay_ns;
    weft_timer handle;
};

struct mix_job {
    struct mix *mix;
    uint32_t owner;
    uint32_t ran;
    enum mix_stage stage;
};

/* What a seed draws once, so that seeds differ in kind and not only in order. */
struct mix_profile {
    uint32_t weights[MIX_ACTS];
    uint32_t kinds[MIX_KINDS];
    uint32_t weight_sum;
    uint32_t kind_sum;
    uint32_t actors_start;
    uint32_t actors_alive_max;
    uint32_t budget;
    uint32_t mailbox_max;
    uint32_t delay_bits;    /* delays up to 2^bits ns */
    uint32_t acts_per_turn; /* 0..acts in every turn */
    uint32_t pin_percent;   /* actors that are pinned */
    uint32_t stale_percent; /* sends that go to actors known to be gone */
    uint32_t focus;         /* this many actors get most of the messages; 0: all alike */
    uint32_t fail_permille; /* allocations that fail; 0: none */
    bool abrupt;            /* stops in the middle */
};

struct mix {
    weft_sim *sim;
    weft_runtime *runtime;
    const weft_type *types[MIX_KINDS];
    struct mix_profile profile;
    uint64_t seed;
    bool priorities;
    bool stopping;
    bool failed;
    char text[256];
    bool memory_fails; /* just now */
    uint64_t heap_bytes;
    uint64_t heap_blocks;

    uint32_t actor_count;
    uint32_t message_count;
    uint32_t call_count;
    uint32_t timer_count;
    uint32_t job_count;
    struct mix_actor actors[MIX_ACTORS];
    struct mix_message messages[MIX_MESSAGES];
    struct mix_call calls[MIX_CALLS];
    struct mix_timer timers[MIX_TIMERS];
    struct mix_job jobs[MIX_JOBS];
    /* per sender and receiver; replies to serial actors are a sequence of their own */
    uint32_t sent[MIX_ACTORS][MIX_ACTORS];
    uint32_t seen[2][MIX_ACTORS][MIX_ACTORS];
    uint32_t busy[MIX_ACTORS][MIX_ACTORS];    /* -EBUSY answers */
    uint32_t readies[MIX_ACTORS][MIX_ACTORS]; /* READY messages */
    bool ready_owed[MIX_ACTORS][MIX_ACTORS];  /* none since the last -EBUSY */
};

/* What a message carries; then bytes up to its size, each the low byte of number. */
struct mix_payload {
    uint32_t magic;
    uint32_t number; /* in the ledger; 0 in a reply */
    uint32_t from;
    uint32_t to;
    uint32_t sequence; /* 0: not part of a sequence */
    uint32_t call;
};

/* Whether an operation may answer -ENOMEM in this run. */
static inline bool mix_may_fail(const struct mix *mix) {
    return mix->profile.fail_permille > 0;
}

enum { MIX_PAYLOAD_MAGIC = 0x6d697831, MIX_TAG = 7, MIX_TAG_REPLY = 8, MIX_TAG_TIMER = 9 };

typedef struct mix_options {
    uint64_t seed;
    uint32_t schedulers;    /* 0: drawn */
    uint32_t nest_max;      /* builds with points */
    bool priorities;        /* actors draw one; false: all are normal */
    sim_observe_fn observe; /* may be NULL */
    void *cookie;
} mix_options;

typedef struct mix_report {
    uint64_t hash;
    uint64_t steps;
    uint32_t messages;
    uint32_t actors;
    bool failed;
    char text[256];
} mix_report;

/* Runs one seed from creation to destruction. A failed run leaks what could not be stopped. */
void mix_run(const mix_options *options, mix_report *ret_report);
/* The scenario of burst.c, with the same report. */
void burst_run(const mix_options *options, mix_report *ret_report);

/* ---- mix_ledger.c -------------------------------------------------------------------------- */

void mix_fail(struct mix *mix, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t mix_below(struct mix *mix, uint64_t bound);
bool mix_percent(struct mix *mix, uint32_t percent);
uint64_t mix_magnitude(struct mix *mix, uint32_t bits);

struct mix_actor *mix_actor_new(struct mix *mix, uint32_t parent, enum mix_kind kind);
void mix_actor_reason(struct mix_actor *actor, int reason);
void mix_actor_kill(struct mix_actor *actor);
/* What a stop or kill answered; asked_before and gone_before are from before its own request. */
void mix_end_check(struct mix_actor *target, uint32_t asked_before, bool gone_before, int status);
/* Whether there is a reason for it to be gone. */
bool mix_actor_asked(const struct mix_actor *actor);
bool mix_actor_lives(const struct mix_actor *actor);
/* The number of a new message, 0 when the ledger is full, and its payload. */
uint32_t mix_message_new(struct mix *mix, uint32_t from, uint32_t to,
                         struct mix_payload *ret_payload);
/* What its send answered; taken: the message went although that was an error. */
void mix_message_sent(struct mix *mix, uint32_t number, int status, bool taken);
/* A send of from to the mailbox of to answered this error. */
void mix_refusal_check(struct mix *mix, uint32_t from, uint32_t to, int status);
/* The header of a message's payload; false, and a failure, when the bytes are not what was sent. */
bool mix_payload_read(struct mix *mix, const weft_msg *msg, struct mix_payload *ret_payload);
void mix_message_received(struct mix_actor *self, weft_ctx *ctx, const weft_msg *msg);
void mix_message_dead(struct mix *mix, const weft_msg *msg);
void mix_sequence_check(struct mix_actor *self, const struct mix_payload *payload, bool reply);
void mix_ready_received(struct mix_actor *self, weft_ctx *ctx, const weft_msg *msg);
/* The outcome of a call; msg may be NULL when status is not 0. */
void mix_reply_received(struct mix_actor *self, uint64_t token, int status, const weft_msg *msg);
/* The timer that fired, or NULL when that is wrong. */
struct mix_timer *mix_timer_fired(struct mix_actor *self, const weft_msg *msg);
void mix_job_done(struct mix_actor *self, const weft_msg *msg);
/* Everything that must hold when nothing will ever happen any more. */
void mix_check_quiet(struct mix *mix);
/* Everything that must hold once the runtime has stopped. */
void mix_check_stopped(struct mix *mix);

/* ---- mix_act.c ----------------------------------------------------------------------------- */

/* What a spawn gives to init. */
struct mix_spawn_arg {
    struct mix *mix;
    uint32_t number;
    bool fail;
};

/* Other threads may come in here, in the middle of a callback: the same actor must not. */
void mix_point(struct mix *mix);
void mix_act_send(struct mix_actor *self, weft_ctx *ctx);
/* False: there is no timer. */
bool mix_timer_start(struct mix_actor *self, weft_ctx *ctx, enum mix_purpose purpose);
void mix_timer_cancel(struct mix_actor *self, weft_ctx *ctx, struct mix_timer *timer);
/* The actor says itself that it ends; the first reason counts. */
void mix_exiting(struct mix_actor *self, int reason);
/* Does one thing drawn from the seed; what receive shall answer so far. */
int mix_act(struct mix_actor *self, weft_ctx *ctx, int result);
/* A record for an actor to be spawned, with what its init wants to know in ret_options. */
struct mix_actor *mix_spawn_prepare(struct mix *mix, uint32_t parent, enum mix_kind kind,
                                    weft_spawn_options *ret_options);
void mix_spawn_done(struct mix_actor *actor, int status, weft_pid pid);
enum mix_kind mix_kind_draw(struct mix *mix);
/* Somebody to talk to, or NULL. */
struct mix_actor *mix_target_draw(struct mix *mix);
/* Fills bytes with the payload and padding; the size. */
size_t mix_payload_fill(struct mix *mix, const struct mix_payload *payload, unsigned char *bytes);

/* ---- mix_actor.c --------------------------------------------------------------------------- */

int mix_types_register(struct mix *mix);

#endif
