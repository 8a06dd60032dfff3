/* SPDX-License-Identifier: MIT
 *
 * What the ports of OTP's suites (docs/otp-conformance.md) share. A play is a process: it traps
 * exits, starts what its test is about, waits and asks in the blocking style, so that a test reads
 * like the case it ports. Its children are workers: handler actors, or processes when they are to
 * trap exits, that do what their argument says, and whose starts and ends are noted in order.
 *
 * Between the DOWN a play gets and the EXIT the supervisor gets of the same end there is no order:
 * so what a supervisor makes of an end is waited for (until), never assumed.
 */
#ifndef WEFT_TESTS_UNIT_OTP_SUPPORT_H
#define WEFT_TESTS_UNIT_OTP_SUPPORT_H

#include "tests/unit/support.h"

#include <weft/link.h>
#include <weft/name.h>
#include <weft/process.h>
#include <weft/service.h>
#include <weft/supervisor.h>

enum {
    TAG_NORMAL = 1, /* a worker ends normally */
    TAG_CRASH = 2,  /* with CRASH */
    TAG_UNLINK = 3, /* it unlinks its parent */
    TAG_PING = 4,   /* a request: answered with its payload */

    CRASH = -EIO,
    WORKERS_MAX = 64, /* numbers of workers that can be told how to start */
    NOTES_MAX = 512,
    MAILBOX = 10000000, /* never reached; with no bound what is put aside would not be counted */
};

/* However long the machine takes; a play that waits longer has failed. */
#define PATIENCE_NS (20 * S_NS)

enum worker_mode {
    WORKER_PLAIN = 0,    /* does not trap exits */
    WORKER_TRAPS = 1,    /* traps them, and ends with the reason of what comes */
    WORKER_STUBBORN = 2, /* traps and ignores them */
    WORKER_SLOW = 3,     /* traps them, and ends delay_ns later */
    WORKER_REASON = 4,   /* traps them, and ends with reason */
    WORKER_IGNORE = 5,   /* its init gives up quietly */
    WORKER_REFUSE = 6,   /* its init fails with reason */
    WORKER_NAMED = 7,    /* its init takes the name "taken" */
};

struct worker_arg {
    uint32_t number; /* in the notes */
    uint32_t mode;
    int32_t reason;
    uint32_t unused;
    uint64_t delay_ns;
};

struct worker {
    struct worker_arg arg;
};

struct note {
    uint32_t number;
    bool start;
    weft_pid pid;
};

struct stage;
typedef void (*play_fn)(weft_ctx *ctx, struct stage *stage);

struct stage {
    struct rig rig;
    const weft_type *play_type;
    const weft_type *worker;
    const weft_type *worker_process;
    const weft_type *script;
    play_fn play;
    weft_atomic_u32 done;
    weft_atomic_u32 crashes; /* events actor.crash */
    weft_atomic_u32 count;   /* for the test's own use */
    /* how many of the next starts of a worker answer mood */
    weft_atomic_u32 failures[WORKERS_MAX];
    int mood;         /* set while no worker starts */
    uint64_t mood_ns; /* a failing start takes so long */
    pthread_mutex_t lock;
    struct note notes[NOTES_MAX]; /* under lock */
    uint32_t note_count;          /* under lock */
};

static inline struct stage *stage_of(weft_ctx *ctx) {
    return weft_type_cookie(weft_type_of(ctx));
}

/* ---- workers ------------------------------------------------------------------------------- */

static inline void stage_note(struct stage *stage, uint32_t number, bool start, weft_pid pid) {
    pthread_mutex_lock(&stage->lock);
    if (stage->note_count < NOTES_MAX) {
        stage->notes[stage->note_count++] =
            (struct note){.number = number, .start = start, .pid = pid};
    }
    pthread_mutex_unlock(&stage->lock);
}

/* An end, for weft_defer: also of a worker that is killed. */
struct end_note {
    struct stage *stage;
    uint32_t number;
    weft_pid pid;
};

static inline void worker_note_end(void *arg) {
    struct end_note *end = arg;
    stage_note(end->stage, end->number, false, end->pid);
    free(end);
}

/* One failure less, if there are any left. */
static inline bool worker_fails(struct stage *stage, uint32_t number) {
    if (number >= WORKERS_MAX || weft_load32_acquire(&stage->failures[number]) == 0) {
        return false;
    }
    (void)weft_add32_acq_rel(&stage->failures[number], UINT32_MAX);
    return true;
}

static inline int worker_refuses(struct stage *stage, const struct worker_arg *arg, weft_pid self) {
    if (worker_fails(stage, arg->number)) {
        if (stage->mood_ns != 0) {
            sleep_ns(stage->mood_ns);
        }
        return stage->mood;
    }
    switch (arg->mode) {
    case WORKER_IGNORE:
        return WEFT_STOP;
    case WORKER_REFUSE:
        return arg->reason;
    case WORKER_NAMED:
        return weft_name_register(stage->rig.runtime, "taken", 5, self);
    default:
        return WEFT_CONTINUE;
    }
}

static inline int worker_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct worker *worker = state;
    struct stage *stage = stage_of(ctx);
    weft_pid self = weft_self(ctx);
    if (arg_size >= sizeof(worker->arg)) {
        memcpy(&worker->arg, arg, sizeof(worker->arg));
    }
    int result = worker_refuses(stage, &worker->arg, self);
    if (result != WEFT_CONTINUE) {
        return result;
    }
    struct end_note *end = malloc(sizeof(*end));
    ck_assert_ptr_nonnull(end);
    *end = (struct end_note){.stage = stage, .number = worker->arg.number, .pid = self};
    ck_assert_int_eq(weft_defer(ctx, worker_note_end, end), 0);
    stage_note(stage, worker->arg.number, true, self);
    if (worker->arg.mode != WORKER_PLAIN && worker->arg.mode != WORKER_NAMED) {
        (void)weft_trap_exit(ctx, true);
    }
    return WEFT_CONTINUE;
}

static inline int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        weft_msg *request = msg;
        (void)weft_reply(ctx, &request, TAG_PING, weft_msg_data(msg), weft_msg_size(msg));
        return WEFT_CONTINUE;
    }
    switch (weft_msg_tag(msg)) {
    case TAG_NORMAL:
        return WEFT_STOP;
    case TAG_CRASH:
        return CRASH;
    case TAG_UNLINK:
        ck_assert_int_eq(weft_unlink(ctx, weft_parent(ctx)), 0);
        return WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

/* A worker that traps exits hears that it is to end. */
static inline int worker_told(weft_ctx *ctx, const struct worker *worker, const weft_msg *msg) {
    weft_reason reason = {0};
    int code = weft_msg_status(msg);
    switch (worker->arg.mode) {
    case WORKER_TRAPS:
        ck_assert(weft_msg_reason(ctx, msg, &reason));
        weft_exit_with(ctx, &reason);
        return WEFT_CONTINUE;
    case WORKER_SLOW:
        ck_assert_int_eq(weft_sleep(ctx, worker->arg.delay_ns), 0);
        return code == 0 ? WEFT_STOP : code;
    case WORKER_REASON:
        return worker->arg.reason == 0 ? WEFT_STOP : worker->arg.reason;
    default:
        return WEFT_CONTINUE;
    }
}

/* The same as a process: only those are asked by their supervisor when they trap exits. */
static inline int worker_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    weft_msg *msg = NULL;
    for (;;) {
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        int result = weft_msg_kind(msg) == WEFT_MSG_EXIT ? worker_told(ctx, state, msg)
                                                         : worker_receive(ctx, state, msg);
        if (result != WEFT_CONTINUE) {
            return result;
        }
    }
}

/* ---- the stage ----------------------------------------------------------------------------- */

static inline int play_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    struct stage *stage = stage_of(ctx);
    (void)weft_trap_exit(ctx, true);
    stage->play(ctx, stage);
    weft_store32_release(&stage->done, 1);
    return WEFT_CONTINUE;
}

/* A script is another process of a play: it runs a function and ends with its result. */
typedef int (*script_fn)(weft_ctx *ctx, void *arg);

struct script {
    script_fn fn;
    void *arg;
};

static inline int script_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(struct script));
    struct script script;
    memcpy(&script, arg, sizeof(script));
    return script.fn(ctx, script.arg);
}

static inline void stage_types(struct stage *stage) {
    weft_type_def play = {.struct_size = WEFT_TYPE_DEF_INIT,
                          .name = "play",
                          .process = play_run,
                          .cookie = stage,
                          .mailbox_max = MAILBOX,
                          .stack_bytes = 256 * 1024};
    stage->play_type = rig_type(&stage->rig, &play);
    weft_type_def worker = {.struct_size = WEFT_TYPE_DEF_INIT,
                            .name = "worker",
                            .state_size = sizeof(struct worker),
                            .init = worker_init,
                            .receive = worker_receive,
                            .cookie = stage};
    stage->worker = rig_type(&stage->rig, &worker);
    weft_type_def process = worker;
    process.name = "worker_process";
    process.receive = NULL;
    process.process = worker_run;
    stage->worker_process = rig_type(&stage->rig, &process);
    weft_type_def script = play;
    script.name = "script";
    script.process = script_run;
    script.mailbox_max = MAILBOX;
    stage->script = rig_type(&stage->rig, &script);
}

static inline void stage_log(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    (void)level;
    struct stage *stage = cookie;
    if (strcmp(event->name, "actor.crash") == 0) {
        (void)weft_add32_acq_rel(&stage->crashes, 1);
    }
}

/* Runs a play in a runtime of its own; fails when it does not end, or leaves something behind. */
static inline void stage_run(const weft_config *config, play_fn play) {
    struct stage *stage = calloc(1, sizeof(*stage));
    ck_assert_ptr_nonnull(stage);
    pthread_mutex_init(&stage->lock, NULL);
    weft_config logged = *config;
    logged.log = (weft_log_hook){.cookie = stage, .cb = stage_log};
    stage->rig = rig_start_with(&logged);
    stage->play = play;
    stage_types(stage);
    weft_pid pid = weft_pid_none();
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT};
    ck_assert_int_eq(weft_runtime_spawn(stage->rig.runtime, stage->play_type, &options, &pid), 0);
    while (weft_load32_acquire(&stage->done) == 0) {
        bool alive = is_alive(&stage->rig, pid);
        ck_assert_msg(alive || weft_load32_acquire(&stage->done) != 0, "the play was ended");
        sleep_ns(200000);
    }
    rig_stop(&stage->rig);
    pthread_mutex_destroy(&stage->lock);
    free(stage);
}

/* A case: PLAY(name) { body } with ctx and stage; loop tests over schedulers_of. */
#define PLAY(name)                                                                                 \
    static void play_##name(weft_ctx *ctx, struct stage *stage);                                   \
    START_TEST(name) {                                                                             \
        weft_config config = rig_config(schedulers_of(_i));                                        \
        stage_run(&config, play_##name);                                                           \
    }                                                                                              \
    END_TEST                                                                                       \
    static void play_##name(weft_ctx *ctx, __attribute__((unused)) struct stage *stage)

#define ADD(suite, name)                                                                           \
    do {                                                                                           \
        TCase *tcase_ = tcase_create(#name);                                                       \
        tcase_set_timeout(tcase_, 60);                                                             \
        tcase_add_loop_test(tcase_, name, 0, SCHEDULER_CASES);                                     \
        suite_add_tcase(suite, tcase_);                                                            \
    } while (0)

/* Waits, in a play, until condition holds. */
#define until(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ns_ = clock_ns() + PATIENCE_NS;                                             \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_ns() < until_ns_, "never: %s", #condition);                        \
            ck_assert_int_eq(weft_sleep(ctx, 200000), 0);                                          \
        }                                                                                          \
    } while (0)

static inline struct note stage_note_at(struct stage *stage, uint32_t index) {
    pthread_mutex_lock(&stage->lock);
    ck_assert_uint_lt(index, stage->note_count);
    struct note note = stage->notes[index];
    pthread_mutex_unlock(&stage->lock);
    return note;
}

static inline uint32_t stage_note_count(struct stage *stage) {
    pthread_mutex_lock(&stage->lock);
    uint32_t count = stage->note_count;
    pthread_mutex_unlock(&stage->lock);
    return count;
}

/* The notes from index on are these: "+1" a start of number 1, "-1" its end, one digit each. */
static inline void stage_notes_are(struct stage *stage, uint32_t from, const char *expected) {
    uint32_t count = (uint32_t)strlen(expected) / 2;
    char text[2 * NOTES_MAX + 1] = {0};
    uint32_t noted = stage_note_count(stage);
    for (uint32_t i = from; i < noted; i++) {
        struct note note = stage_note_at(stage, i);
        text[2 * (i - from)] = note.start ? '+' : '-';
        text[2 * (i - from) + 1] = (char)('0' + note.number);
    }
    ck_assert_msg(noted == from + count && strcmp(text, expected) == 0, "noted %s, not %s", text,
                  expected);
}

/* ---- waiting ------------------------------------------------------------------------------- */

struct want {
    enum weft_msg_kind kind;
    weft_pid sender; /* none: any */
    uint64_t token;  /* of a DOWN or UP, when sender is none */
    weft_ctx *ctx;
};

static inline bool want_matches(const weft_msg *msg, void *arg) {
    const struct want *want = arg;
    if (weft_msg_kind(msg) != want->kind) {
        return false;
    }
    if (weft_pid_is_none(want->sender)) {
        return want->token == 0 || weft_msg_token(msg) == want->token;
    }
    return weft_pid_equal(weft_sender(want->ctx, msg), want->sender);
}

/* The next EXIT of pid; its reason, with data as long as no other message is received. */
static inline weft_reason next_exit(weft_ctx *ctx, weft_pid pid) {
    struct want want = {.kind = WEFT_MSG_EXIT, .sender = pid, .ctx = ctx};
    weft_msg *msg = NULL;
    int result = weft_receive_match(ctx, PATIENCE_NS, want_matches, &want, &msg);
    ck_assert_int_eq(result, 0);
    weft_reason reason = {0};
    ck_assert(weft_msg_reason(ctx, msg, &reason));
    ck_assert_int_eq(weft_msg_status(msg), reason.code);
    return reason;
}

static inline void expect_exit(weft_ctx *ctx, weft_pid pid, int code) {
    ck_assert_int_eq(next_exit(ctx, pid).code, code);
}

static inline weft_reason next_down(weft_ctx *ctx, uint64_t token) {
    struct want want = {.kind = WEFT_MSG_DOWN, .token = token, .ctx = ctx};
    weft_msg *msg = NULL;
    int result = weft_receive_match(ctx, PATIENCE_NS, want_matches, &want, &msg);
    ck_assert_int_eq(result, 0);
    weft_reason reason = {0};
    ck_assert(weft_msg_reason(ctx, msg, &reason));
    ck_assert_int_eq(weft_msg_status(msg), reason.code);
    return reason;
}

static inline void expect_down(weft_ctx *ctx, uint64_t token, int code) {
    ck_assert_int_eq(next_down(ctx, token).code, code);
}

/* No message at all comes for so long. */
static inline void expect_nothing(weft_ctx *ctx, uint64_t for_ns) {
    weft_msg *msg = NULL;
    int result = weft_receive(ctx, for_ns, &msg);
    ck_assert_msg(result == -ETIMEDOUT, "a message of kind %d, status %d",
                  msg == NULL ? -1 : (int)weft_msg_kind(msg),
                  msg == NULL ? 0 : weft_msg_status(msg));
}

/* A script, with what weft_spawn_flags say. */
static inline weft_pid run_script(weft_ctx *ctx, script_fn fn, void *arg, uint32_t flags,
                                  uint64_t token) {
    struct script script = {.fn = fn, .arg = arg};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(script),
                                  .flags = flags,
                                  .token = token};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage_of(ctx)->script, &options, &pid), 0);
    return pid;
}

/* A worker, likewise. */
static inline weft_pid run_worker(weft_ctx *ctx, struct worker_arg arg, uint32_t flags,
                                  uint64_t token) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &arg,
                                  .arg_size = sizeof(arg),
                                  .flags = flags,
                                  .token = token};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_spawn_with(ctx, stage_of(ctx)->worker, &options, &pid), 0);
    return pid;
}

/* The common script: waits until it is ended. */
static inline int wait_for_ever(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_msg *msg = NULL;
    for (;;) {
        int result = weft_receive(ctx, WEFT_FOREVER, &msg);
        ck_assert_int_eq(result, 0);
    }
}

/* Sends an exit signal. */
static inline void signal_exit(weft_ctx *ctx, weft_pid pid, int code) {
    weft_reason reason = {.code = code};
    ck_assert_int_eq(weft_exit_signal(ctx, pid, &reason), 0);
}

/* What is under way from here to pid, which answers TAG_PING, has been handled. */
static inline void ping(weft_ctx *ctx, weft_pid pid) {
    ck_assert_int_eq(weft_call_wait(ctx, pid, TAG_PING, NULL, 0, PATIENCE_NS, NULL), 0);
}

static inline bool lives(struct stage *stage, weft_pid pid) {
    return is_alive(&stage->rig, pid);
}

enum how { HOW_NORMAL, HOW_CRASH, HOW_KILL, HOW_SHUTDOWN, HOW_SHUTDOWN_DATA };

static inline int how_code(enum how how) {
    static const int codes[] = {0, CRASH, WEFT_E_KILLED, WEFT_E_SHUTDOWN, WEFT_E_SHUTDOWN};
    return codes[how];
}

/* Makes a worker end, and waits for it. */
static inline void end_worker(weft_ctx *ctx, weft_pid pid, enum how how) {
    enum { TOKEN = 0x656e64 };
    weft_reason reason = {.code = how_code(how)};
    ck_assert_int_eq(weft_monitor(ctx, pid, TOKEN, NULL), 0);
    switch (how) {
    case HOW_NORMAL:
        ck_assert_int_eq(weft_send(ctx, pid, TAG_NORMAL, NULL, 0), 0);
        break;
    case HOW_CRASH:
        ck_assert_int_eq(weft_send(ctx, pid, TAG_CRASH, NULL, 0), 0);
        break;
    case HOW_SHUTDOWN_DATA:
        reason.data = "some info";
        reason.size = 9;
        __attribute__((fallthrough));
    default:
        ck_assert_int_eq(weft_exit_signal(ctx, pid, &reason), 0);
        break;
    }
    expect_down(ctx, TOKEN, how_code(how));
}

#endif
