/* SPDX-License-Identifier: MIT
 *
 * The edge: one seeded workload around the window in which a virtual actor ends, and the ledger
 * that knows what has to come out. Used by test_virtual.c and planted.c, in the manner of the mix,
 * whose options and report it shares. One run is one simulator with one runtime:
 *   edge.c         settings from the seed, addresses, the run, the end
 *   edge_actor.c   callbacks of senders and of virtual actors, and what they do
 *   edge_client.c  a thread outside: sends, calls, passivates, kills, takes capabilities away
 *   edge_store.c   a store that answers late, in another order, wrongly, or never
 *   edge_ledger.c  what was sent, begun and saved; what must and what must not have happened
 *   edge_crash.c   policies for crashes, who pauses, who may be refused
 *
 * Every message carries its number in the ledger, its sender, its address, and its position in the
 * sequence from that sender to that address. A sequence goes on over activations, on either side. A
 * broken rule is written into the report, the first one only; nothing aborts.
 */
#ifndef WEFT_TESTS_SIM_EDGE_H
#define WEFT_TESTS_SIM_EDGE_H

#include "mix.h"

enum {
    EDGE_ADDRESSES = 64,
    EDGE_SENDERS = 12, /* ordinary actors */
    EDGE_CASTER = 12,  /* the client's casts */
    EDGE_CALLER = 13,  /* its calls, on a completion queue: a sequence of their own */
    EDGE_VIRTUAL = 14, /* and from here on the addresses as senders */
    EDGE_FROM = EDGE_VIRTUAL + EDGE_ADDRESSES,
    EDGE_MESSAGES = 8192,
    EDGE_CAPABILITIES = 2,
    EDGE_HELD = 3,
    EDGE_CALLS = 4, /* pending at once of one activation */
    EDGE_OPS = 128,
    EDGE_QUEUE_CALLS = 64,
    EDGE_ID_BYTES = 64,
    EDGE_VALUE_BYTES = 160,
    EDGE_STATE_LARGE = 200,
    EDGE_POINT = 52, /* the points inside handlers, beside those of the mix */
    EDGE_STEPS = 3000000,
    EDGE_CRASHES = 16, /* remembered of an address */
};

/* Types. What else they are (serial, bounded, limits) is drawn. */
enum edge_kind {
    EDGE_BARE = 0,  /* no init: it begins with its first message */
    EDGE_PLAIN = 1, /* init, no store */
    EDGE_SAVED = 2,
    EDGE_KEPT = 3, /* saved, too, with other settings */
    EDGE_KINDS = 4,
};

enum edge_act {
    EDGE_ACT_CAST, /* to an address behind this one, so that there are no circles */
    EDGE_ACT_CALL,
    EDGE_ACT_TIMER,
    EDGE_ACT_STOP,
    EDGE_ACT_EXIT,
    EDGE_ACT_CRASH,
    EDGE_ACT_PASSIVATE,
    EDGE_ACT_FORGET,
    EDGE_ACT_KEEP,
    EDGE_ACT_ACCOUNT,
    EDGE_ACT_COMPLETE, /* completes an operation of the store, on this scheduler */
    EDGE_ACTS,
};

enum { EDGE_TAG = 3, EDGE_TAG_REPLY = 4, EDGE_TAG_TIMER = 5, EDGE_TAG_GO = 6 };
enum { EDGE_CRASH = -99, EDGE_INIT_FAILS = -77, EDGE_ANSWER_FAILS = -66 };
enum {
    EDGE_PAYLOAD_MAGIC = 0x65646765,
    EDGE_ARG_MAGIC = 0x61726765,
    EDGE_SAVED_MAGIC = 0x73617665
};

struct edge;

/* What a message carries; then bytes up to its size, each the low byte of number. */
struct edge_payload {
    uint32_t magic;
    uint32_t number;
    uint32_t from;
    uint32_t address;
    uint32_t sequence;
    uint32_t is_call;
};

/* An init_arg: the message that brought it along. */
struct edge_arg {
    uint32_t magic;
    uint32_t number;
    uint32_t address;
};

/* What save makes. */
struct edge_saved {
    uint32_t magic;
    uint32_t address;
    uint64_t counter;
};

/* State of an activation; the rest is in its address, for it has only one at a time. */
struct edge_state {
    uint64_t zero;
    struct edge_address *address;
    uint64_t counter; /* messages handled in the life of the state */
};

/* Of a type; max 0: none. */
struct edge_policy {
    bool restarts;
    uint32_t max;
    uint64_t window_ns;
    uint64_t pause_ns;
};

/* What the model knows of an address's crashes. */
struct edge_crashes {
    struct {
        uint64_t first_ns; /* it happened no earlier */
        uint64_t last_ns;  /* and no later */
    } times[EDGE_CRASHES];
    uint32_t count;
    uint32_t unsure;       /* more of them, since the last pause, that may count or not */
    uint32_t pauses;       /* since ever */
    uint32_t pauses_begun; /* when the last activation began */
    bool has_twin;         /* looks as another in the log: nothing is checked */
    bool paused;           /* pauses, or has, and the trial may be still to come or under way */
    bool pending;          /* a crash was seen; a pause that follows has not been logged yet */
    bool returns;          /* has crashed and has to begin again by itself */
    uint64_t pending_ns;   /* of that crash, at the earliest */
    uint64_t until_ns;     /* the end of the last pause */
    uint64_t forgiven_ns;  /* when all was forgotten last */
    uint64_t released_ns;  /* when it has ceased to be paused, for whatever reason */
    uint64_t begun_ns;     /* the last activation */
};

struct edge_address {
    struct edge *edge;
    uint32_t number;
    enum edge_kind kind;
    uint32_t capability;
    unsigned char id[EDGE_ID_BYTES];
    uint32_t id_size;
    uint32_t fail_percent; /* of its inits */
    weft_pid pid_last;     /* who got a message last */

    /* the activation */
    bool alive; /* from its begin to its end; the rule is that this is never set twice */
    bool inside;
    bool keep;
    bool asked; /* somebody asked for its passivation, or might have */
    bool stops; /* it said that it ends, and stop_reason */
    bool forgets;
    int stop_reason;
    weft_pid pid;
    uint32_t timers_open;
    uint32_t calls_open;
    uint32_t calls[EDGE_CALLS];
    uint32_t held_count;
    weft_msg *held[EDGE_HELD];
    uint32_t put_failures; /* operations of this activation that went wrong or took long */

    /* over all activations */
    uint64_t begins;
    uint64_t ends;
    uint64_t violent;     /* ends that may answer or bury messages */
    uint64_t kills_asked; /* since ever */
    uint64_t load_failures;
    uint64_t store_odd; /* puts and removes that may have been done without a good answer */
    uint32_t arg_known; /* the init_arg that is remembered: its number. 0: not known */

    /* saved state */
    bool stored;             /* the store has one */
    uint64_t stored_counter; /* as bytes: value */
    uint64_t stored_version;
    uint32_t value_size;
    unsigned char value[EDGE_VALUE_BYTES];
    bool clean; /* the last activation ended with all its state saved */
    uint64_t clean_counter;
    uint64_t counter_high; /* the largest any activation had */
    struct edge_crashes crashes;
    uint64_t crash_ns; /* when the activation decided to crash, at the earliest */
};

struct edge_message {
    uint32_t from;
    uint32_t address;
    uint32_t received;
    uint32_t dead;
    uint32_t answered;
    bool is_call;
    bool accepted;
    bool refused;
    bool brought;     /* an init_arg */
    bool hasty;       /* a short timeout */
    bool kept;        /* its handler took it */
    bool replied;     /* with status 0 */
    bool failed;      /* with EDGE_ANSWER_FAILS */
    bool dropped;     /* its handler gave no answer */
    bool abandoned;   /* the caller has ended */
    uint64_t violent; /* of the address, when it was sent */
    uint64_t asked_ns;
};

enum edge_operation { EDGE_GET, EDGE_PUT, EDGE_REMOVE };

enum edge_fate {
    EDGE_GOOD,
    EDGE_REFUSE,
    EDGE_LOSE,        /* nothing is done, it never completes */
    EDGE_LOSE_ANSWER, /* it is done and never completes */
    EDGE_FAIL,
    EDGE_FAIL_ANSWER, /* it is done and fails */
    EDGE_VERSION,
    EDGE_FATES,
};

struct edge_op {
    bool used;
    bool late; /* is done when it completes */
    enum edge_operation operation;
    enum edge_fate fate;
    struct edge_address *address;
    uint64_t start_ns;
    uint64_t due_ns; /* 0: it completes in the call */
    uint64_t expected;
    weft_store_op op;
    uint32_t value_size; /* to put, or that was got */
    unsigned char value[EDGE_VALUE_BYTES];
    int status;
    uint64_t version;
};

struct edge_store {
    weft_store store;
    struct edge *edge;
    uint64_t version;
    struct edge_op ops[EDGE_OPS];
};

/* A simulated thread of the test's own. */
struct edge_thread {
    struct edge *edge;
    void *driver;
    void *handle;
};

/* What a seed draws once. */
struct edge_profile {
    uint32_t weights[EDGE_ACTS];
    uint32_t weight_sum;
    uint32_t act_percent; /* messages that make a virtual actor do something */
    uint32_t addresses;
    uint32_t senders;
    uint32_t budget; /* messages of one phase */
    uint32_t phases;
    uint32_t delay_bits;
    uint32_t arg_percent;
    uint32_t call_percent;
    uint32_t fail_percent; /* inits of one address in four */
    uint32_t hold_percent;
    uint32_t kill_percent; /* of the client's acts */
    uint32_t unregister_percent;
    uint32_t passivate_percent;
    uint32_t store_delay_percent;
    uint32_t store_delay_bits;
    uint32_t store_late_percent;
    uint32_t fate_percent[EDGE_FATES];
    bool deferred; /* activations have a cleanup */
    bool crowded;  /* all addresses in one table */
    bool abrupt;
};

struct edge_sender {
    struct edge *edge;
    uint32_t number;
};

struct edge {
    weft_sim *sim;
    weft_runtime *runtime;
    weft_cq *queue;
    const weft_capability *capabilities[EDGE_CAPABILITIES];
    bool offered[EDGE_CAPABILITIES];
    uint64_t unregisters[EDGE_CAPABILITIES];
    uint64_t load_timeouts; /* as logged: an answer may come in time and be seen too late */
    uint64_t save_timeouts;
    const weft_type *types[EDGE_KINDS];
    bool bounded[EDGE_KINDS];
    bool idles[EDGE_KINDS]; /* idle time ends them */
    struct edge_policy policies[EDGE_KINDS];
    struct sim_prng crash_prng;
    bool forgives; /* some type has a policy */
    struct edge_profile profile;
    struct edge_store store;
    struct edge_thread store_thread;
    struct edge_thread client_thread;
    bool leaving; /* the threads end */
    bool stopping;
    bool failed;
    char text[256];
    uint64_t heap_bytes;
    uint64_t heap_blocks;
    uint32_t budget;
    uint64_t rest_ns; /* when everything under way is over */
    uint32_t message_count;
    uint32_t queue_calls;
    weft_pid sender_pids[EDGE_SENDERS];
    struct edge_address addresses[EDGE_ADDRESSES];
    struct edge_message messages[EDGE_MESSAGES];
    uint32_t sent[EDGE_FROM][EDGE_ADDRESSES];
    uint32_t seen[EDGE_FROM][EDGE_ADDRESSES];
};

/* Runs one seed from creation to destruction. A failed run leaks what could not be stopped. */
void edge_run(const mix_options *options, mix_report *ret_report);

/* ---- edge.c -------------------------------------------------------------------------------- */

void edge_fail(struct edge *edge, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t edge_below(struct edge *edge, uint64_t bound);
bool edge_percent(struct edge *edge, uint32_t percent);
/* 1..2^bits, every magnitude equally likely. */
uint64_t edge_magnitude(struct edge *edge, uint32_t bits);
struct edge_address *edge_address_find(struct edge *edge, const weft_ventry *entry);

/* ---- edge_ledger.c ------------------------------------------------------------------------- */

/* The number of a new message, 0: the ledger is full. */
uint32_t edge_message_new(struct edge *edge, uint32_t from, struct edge_address *address,
                          bool is_call);
void edge_message_sent(struct edge *edge, uint32_t number, int status, uint32_t flags);
/* The header of a payload; NULL, and a failure, when the bytes are not what was sent. */
struct edge_message *edge_payload_read(struct edge *edge, const weft_msg *msg,
                                       struct edge_payload *ret_payload);
/* A handler has it. NULL: it is not as it should be. */
struct edge_message *edge_message_received(struct edge_address *self, const weft_msg *msg);
void edge_message_dead(struct edge *edge, const weft_msg *msg);
/* The outcome of a call; msg: where the payload is, or NULL. */
void edge_message_answered(struct edge *edge, uint32_t number, int status, const weft_msg *msg);
/* An activation begins, with init, restore or its first message. */
void edge_begin(struct edge_address *address, weft_pid pid);
/* It has ended: nothing of it may run any more. */
void edge_end(struct edge_address *address);
/* Its terminate runs. */
void edge_terminated(struct edge_address *address, uint64_t counter, int reason);
void edge_init_checked(struct edge_address *address, const void *arg, size_t arg_size);
void edge_restore_checked(struct edge_address *address, const struct edge_saved *saved);
/* Is any activation with weft_keep_alive listed for its idle time? */
bool edge_is_any_kept(const struct edge *edge);
/* Everything that must hold when nothing will ever happen any more. */
void edge_check_quiet(struct edge *edge);
/* The same when not even a timer runs any more. */
void edge_check_idle(struct edge *edge);
void edge_check_stopped(struct edge *edge);

/* ---- edge_store.c -------------------------------------------------------------------------- */

void edge_store_init(struct edge *edge);
/* Completes one operation that is due. False: none is. May be called by any thread that is on a
 * scheduler only inside a handler. */
bool edge_store_step(struct edge *edge);
/* When the next one is due. */
uint64_t edge_store_due_ns(const struct edge *edge);
/* One of its operations may have run out of time. */
bool edge_store_overdue(const struct edge_address *address);
enum weft_step edge_store_thread(void *arg, uint64_t *deadline_ns);

/* ---- edge_crash.c -------------------------------------------------------------------------- */

void edge_crash_draw(struct edge *edge, uint64_t seed);
void edge_crash_find_twins(struct edge *edge);
void edge_crash_define(const struct edge *edge, enum edge_kind kind, weft_type_def *def);
/* An activation ends with a crash that was decided at first_ns or later; is_over: it has. */
void edge_crash_seen(struct edge_address *address, uint64_t first_ns, bool is_over);
void edge_crash_begins(struct edge_address *address);
/* It ended normally. */
void edge_crash_ends_well(struct edge_address *address, bool forgets);
/* The event virtual.breaker. */
void edge_crash_logged(struct edge *edge, const weft_log_event *event);
/* May a message have been refused that was sent at asked_ns? */
bool edge_crash_refuses(const struct edge_address *address, uint64_t asked_ns);
void edge_crash_unregistered(struct edge *edge, uint32_t capability);
/* Forgives an address now and then. */
void edge_crash_forgive(struct edge *edge);
void edge_crash_check_quiet(struct edge *edge);

/* ---- edge_client.c ------------------------------------------------------------------------- */

enum weft_step edge_client_thread(void *arg, uint64_t *deadline_ns);
void edge_client_completions(struct edge *edge);

/* ---- edge_actor.c -------------------------------------------------------------------------- */

int edge_types_register(struct edge *edge);
/* One message to an address, from ctx or (NULL) from outside. */
void edge_send(struct edge *edge, weft_ctx *ctx, uint32_t from, bool is_call);
/* Spawns the senders and the dead letters' subscriber. */
int edge_senders_spawn(struct edge *edge);

#endif
