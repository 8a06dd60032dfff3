/* SPDX-License-Identifier: MIT
 *
 * What the tests of supervisors share. A kid is a child whose life is written into a journal, a
 * text such as "+a +b -b -a": a plus when its init has succeeded, a minus when its terminate runs,
 * an exclamation mark when it ended without one. What it does at each start, and when it is told
 * to stop, is set before; a message says how it is to end.
 */
#ifndef WEFT_TESTS_UNIT_SUPERVISOR_SUPPORT_H
#define WEFT_TESTS_UNIT_SUPERVISOR_SUPPORT_H

#include "tests/unit/support.h"

enum { KIDS_MAX = 16, JOURNAL_BYTES = 8192 };
enum { TAG_FAIL = 1, TAG_DONE = 2, TAG_SHUT = 3, TAG_UNLINK = 4, TAG_FAIL_LATER = 5 };

struct journal {
    pthread_mutex_t lock;
    char text[JOURNAL_BYTES]; /* under lock */
    size_t used;              /* under lock */
};

struct kid {
    struct journal *journal;
    const char *name;
    /* any thread */
    weft_atomic_u32 starts;   /* inits, also those that fail */
    weft_atomic_u32 refuse;   /* so many of the next inits fail with -EIO */
    weft_atomic_u32 ignore;   /* so many of the next ones return WEFT_STOP */
    weft_atomic_u32 fall;     /* so many end with -EIO right after they have started */
    weft_atomic_u32 runs;     /* those that live */
    weft_atomic_u64 slot_gen; /* the newest */
    uint64_t linger_ns;       /* a process: how long it takes to end; UINT64_MAX: for ever */
    weft_atomic_u64 arg_size; /* of the last init */
};

/* An EXIT the parent got. */
struct heard {
    weft_pid pid;
    int code;
    char text[200]; /* the reason's data */
};

enum { HEARD_MAX = 64 };

struct family {
    struct heard heard[HEARD_MAX]; /* under probe.lock */
    uint32_t heard_count;          /* under probe.lock */
    struct rig rig;
    struct journal journal;
    struct kid kids[KIDS_MAX];
    const weft_type *handler; /* kids of a handler's type */
    const weft_type *process; /* of a process's, which trap exits */
    struct probe probe;       /* of the parent */
    weft_pid parent;          /* a puppet that traps exits */
};

static inline void journal_add(struct journal *journal, char mark, const char *name) {
    pthread_mutex_lock(&journal->lock);
    ck_assert(journal->used + strlen(name) + 3 < JOURNAL_BYTES);
    if (journal->used != 0) {
        journal->text[journal->used++] = ' ';
    }
    journal->text[journal->used++] = mark;
    memcpy(journal->text + journal->used, name, strlen(name) + 1);
    journal->used += strlen(name);
    pthread_mutex_unlock(&journal->lock);
}

static inline bool journal_is(struct journal *journal, const char *text) {
    pthread_mutex_lock(&journal->lock);
    bool same = strcmp(journal->text, text) == 0;
    pthread_mutex_unlock(&journal->lock);
    return same;
}

static inline void journal_clear(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    journal->used = 0;
    journal->text[0] = '\0';
    pthread_mutex_unlock(&journal->lock);
}

/* Waits until the journal is this text. */
static inline void journal_becomes(struct journal *journal, const char *text) {
    uint64_t until_ns = clock_ns() + SOON_NS;
    while (!journal_is(journal, text)) {
        if (clock_ns() > until_ns) {
            ck_abort_msg("the journal is \"%s\", not \"%s\"", journal->text, text);
        }
        sleep_ns(100000);
    }
}

#define ck_assert_journal(family, expected)                                                        \
    do {                                                                                           \
        if (!journal_is(&(family)->journal, (expected))) {                                         \
            ck_abort_msg("the journal is \"%s\", not \"%s\"", (family)->journal.text, (expected)); \
        }                                                                                          \
    } while (0)

/* ---- kids ---------------------------------------------------------------------------------- */

struct kid_state {
    struct kid *kid;
    struct kid_end *end;
};

/* What a kid's cleanup knows. */
struct kid_end {
    struct kid *kid;
    bool terminated;
};

static inline void kid_cleanup(void *arg) {
    struct kid_end *end = arg;
    if (!end->terminated) {
        journal_add(end->kid->journal, '!', end->kid->name);
    }
    (void)weft_add32_acq_rel(&end->kid->runs, UINT32_MAX);
    free(end);
}

/* One less of a count; false: it is 0. Several supervisors may start the same kid. */
static inline bool kid_counts_down(weft_atomic_u32 *count) {
    uint32_t left = weft_load32_acquire(count);
    while (left != 0 && !weft_cas32_acq_rel(count, &left, left - 1)) {
    }
    return left != 0;
}

static inline int kid_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct kid_state *self = state;
    ck_assert_uint_ge(arg_size, sizeof(self->kid));
    memcpy(&self->kid, arg, sizeof(self->kid));
    struct kid *kid = self->kid;
    weft_store64_release(&kid->arg_size, arg_size);
    (void)weft_add32_acq_rel(&kid->starts, 1);
    if (kid_counts_down(&kid->refuse)) {
        return -EIO;
    }
    if (kid_counts_down(&kid->ignore)) {
        return WEFT_STOP;
    }
    self->end = malloc(sizeof(*self->end));
    ck_assert_ptr_nonnull(self->end);
    *self->end = (struct kid_end){.kid = kid};
    if (weft_defer(ctx, kid_cleanup, self->end) != 0) {
        free(self->end);
        self->end = NULL;
        return -ENOMEM;
    }
    (void)weft_add32_acq_rel(&kid->runs, 1);
    weft_pid pid = weft_self(ctx);
    weft_store64_release(&kid->slot_gen, (uint64_t)pid.slot << 32 | pid.gen);
    journal_add(kid->journal, '+', kid->name);
    if (kid_counts_down(&kid->fall)) {
        (void)weft_send(ctx, pid, TAG_FAIL, NULL, 0);
    }
    return WEFT_CONTINUE;
}

static inline int kid_told(weft_ctx *ctx, const weft_msg *msg) {
    switch (weft_msg_tag(msg)) {
    case TAG_FAIL:
        return -EIO;
    case TAG_DONE:
        return WEFT_STOP;
    case TAG_SHUT:
        return WEFT_E_SHUTDOWN;
    case TAG_UNLINK:
        ck_assert_int_eq(weft_unlink(ctx, weft_parent(ctx)), 0);
        return WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

static inline int kid_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        weft_msg *request = msg;
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        return WEFT_CONTINUE;
    }
    return weft_msg_kind(msg) == WEFT_MSG_USER ? kid_told(ctx, msg) : WEFT_CONTINUE;
}

static inline void kid_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    struct kid_state *self = state;
    if (self->end != NULL) { /* else it did not want to run */
        journal_add(self->kid->journal, '-', self->kid->name);
        self->end->terminated = true;
    }
}

/* A kid that is a process and takes its time when it is told to stop. */
static inline int kid_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)arg;
    (void)arg_size;
    struct kid_state *self = state;
    (void)weft_trap_exit(ctx, true);
    for (;;) {
        weft_msg *msg;
        int result = weft_receive(ctx, WEFT_FOREVER, &msg);
        ck_assert_int_eq(result, 0);
        if (weft_msg_kind(msg) == WEFT_MSG_EXIT) {
            uint64_t linger_ns = self->kid->linger_ns;
            if (linger_ns == UINT64_MAX) {
                continue;
            }
            int reason = weft_msg_status(msg);
            (void)weft_sleep(ctx, linger_ns);
            return reason;
        }
        result = kid_receive(ctx, state, msg);
        if (result != WEFT_CONTINUE) {
            return result;
        }
    }
}

static inline weft_pid kid_pid(struct family *family, uint32_t number) {
    uint64_t slot_gen = weft_load64_acquire(&family->kids[number].slot_gen);
    return (weft_pid){.node = weft_runtime_node(family->rig.runtime),
                      .slot = (uint32_t)(slot_gen >> 32),
                      .gen = (uint32_t)slot_gen};
}

static inline void kid_tell(struct family *family, uint32_t number, uint32_t tag) {
    ck_assert_int_eq(weft_runtime_send(family->rig.runtime, kid_pid(family, number), tag, NULL, 0),
                     0);
}

/* ---- a family ------------------------------------------------------------------------------ */

static inline int parent_hears(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct family *family = probe->user;
    weft_reason reason;
    if (weft_msg_kind(msg) != WEFT_MSG_EXIT || !weft_msg_reason(ctx, msg, &reason)) {
        return WEFT_CONTINUE;
    }
    pthread_mutex_lock(&family->probe.lock); /* probe may be another */
    ck_assert_uint_lt(family->heard_count, HEARD_MAX);
    struct heard *heard = &family->heard[family->heard_count++];
    *heard = (struct heard){.pid = weft_sender(ctx, msg), .code = reason.code};
    ck_assert_uint_lt(reason.size, sizeof(heard->text));
    if (reason.size != 0) {
        memcpy(heard->text, reason.data, reason.size);
    }
    pthread_mutex_unlock(&family->probe.lock);
    return WEFT_CONTINUE;
}

static inline void act_trap(weft_ctx *ctx, void *arg) {
    (void)arg;
    (void)weft_trap_exit(ctx, true);
}

static inline void family_start_with(struct family *family, const weft_config *config) {
    static const char *const names[KIDS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                                "i", "j", "k", "l", "m", "n", "o", "p"};
    memset(family, 0, sizeof(*family));
    pthread_mutex_init(&family->journal.lock, NULL);
    pthread_mutex_init(&family->probe.lock, NULL);
    for (uint32_t i = 0; i < KIDS_MAX; i++) {
        family->kids[i].journal = &family->journal;
        family->kids[i].name = names[i];
    }
    family->rig = rig_start_with(config);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "kid",
                         .state_size = sizeof(struct kid_state),
                         .init = kid_init,
                         .receive = kid_receive,
                         .terminate = kid_terminate};
    family->handler = rig_type(&family->rig, &def);
    def.name = "kid.process";
    def.receive = NULL;
    def.process = kid_run;
    family->process = rig_type(&family->rig, &def);
    family->probe.handler = parent_hears;
    family->probe.user = family;
    family->parent = rig_spawn(&family->rig, &family->probe);
    act(&family->rig, family->parent, act_trap, NULL);
}

static inline void family_start(struct family *family, uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    family_start_with(family, &config);
}

static inline void family_stop(struct family *family) {
    rig_stop(&family->rig);
    for (uint32_t i = 0; i < KIDS_MAX; i++) {
        ck_assert_uint_eq(weft_load32_acquire(&family->kids[i].runs), 0);
    }
    probe_fini(&family->probe);
}

/* ---- definitions --------------------------------------------------------------------------- */

/* A definition and the memory it needs. */
struct house {
    weft_supervisor_def def;
    weft_child_spec specs[KIDS_MAX];
    struct kid *args[KIDS_MAX];
};

static inline void house_init(struct house *house, uint32_t strategy) {
    memset(house, 0, sizeof(*house));
    house->def = (weft_supervisor_def){.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                                       .strategy = strategy,
                                       .intensity = 100,
                                       .period_ns = 3600 * S_NS,
                                       .children = house->specs};
}

/* A specification of a kid; arg is where its argument lies. */
static inline weft_child_spec kid_spec(struct family *family, uint32_t number, uint32_t restart,
                                       struct kid **arg) {
    *arg = &family->kids[number];
    return (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                             .id = family->kids[number].name,
                             .type = family->handler,
                             .arg = arg,
                             .arg_size = sizeof(*arg),
                             .restart = restart};
}

static inline weft_child_spec *house_add(struct family *family, struct house *house,
                                         uint32_t number, uint32_t restart) {
    uint32_t at = house->def.child_count++;
    ck_assert_uint_lt(at, KIDS_MAX);
    house->specs[at] = kid_spec(family, number, restart, &house->args[at]);
    return &house->specs[at];
}

static inline weft_child_spec *house_add_below(struct house *house, const char *id,
                                               const struct house *below, uint32_t restart) {
    weft_child_spec *spec = &house->specs[house->def.child_count++];
    *spec = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                              .id = id,
                              .supervisor = &below->def,
                              .restart = restart};
    return spec;
}

/* ---- supervisors --------------------------------------------------------------------------- */

struct raising {
    const weft_supervisor_def *def;
    weft_pid pid;
    int result;
};

static inline void act_raise(weft_ctx *ctx, void *arg) {
    struct raising *raising = arg;
    raising->result = weft_supervisor_start(ctx, raising->def, &raising->pid);
}

/* A supervisor of the parent's. */
static inline int try_raise(struct family *family, const weft_supervisor_def *def,
                            weft_pid *ret_pid) {
    struct raising raising = {.def = def};
    act(&family->rig, family->parent, act_raise, &raising);
    *ret_pid = raising.pid;
    return raising.result;
}

static inline int ask(struct family *family, weft_pid supervisor, uint32_t verb, const char *id,
                      weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .id = id};
    weft_supervisor_answer unused = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    if (answer != NULL) {
        *answer = unused;
    }
    return weft_runtime_supervisor_call(family->rig.runtime, supervisor, &request, SOON_NS,
                                        answer == NULL ? &unused : answer);
}

/* One whose children have started. */
static inline weft_pid raise_house(struct family *family, const struct house *house) {
    weft_pid pid;
    ck_assert_int_eq(try_raise(family, &house->def, &pid), 0);
    ck_assert_int_eq(ask(family, pid, WEFT_SUPERVISOR_COUNT, NULL, NULL), 0);
    return pid;
}

/* What the parent has heard of this actor's end; false: nothing. */
static inline bool find_exit(struct family *family, weft_pid pid, struct heard *ret_heard) {
    bool found = false;
    pthread_mutex_lock(&family->probe.lock);
    for (uint32_t i = 0; i < family->heard_count && !found; i++) {
        found = weft_pid_equal(family->heard[i].pid, pid);
        if (found) {
            *ret_heard = family->heard[i];
        }
    }
    pthread_mutex_unlock(&family->probe.lock);
    return found;
}

/* Waits for the end of a supervisor of the parent's; its reason. */
static inline int end_of(struct family *family, weft_pid pid) {
    struct heard heard;
    eventually(find_exit(family, pid, &heard));
    return heard.code;
}

static inline void stop_supervisor(struct family *family, weft_pid pid) {
    ck_assert_int_eq(weft_runtime_stop_actor(family->rig.runtime, pid, WEFT_E_SHUTDOWN), 0);
    ck_assert_int_eq(end_of(family, pid), WEFT_E_SHUTDOWN);
}

/* Until the supervisor has heard of the ends of children: so many live. An actor cannot be found any
 * more, and its journal has its end, before those with bonds to it are told. */
static inline void active_becomes(struct family *family, weft_pid pid, uint32_t active) {
    weft_supervisor_answer answer;
    eventually(ask(family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer) == 0 &&
               answer.active == active);
}

/* Until the supervisor has nothing to do: everything that came before is done. */
static inline void calm(struct family *family, weft_pid pid) {
    ck_assert_int_eq(ask(family, pid, WEFT_SUPERVISOR_COUNT, NULL, NULL), 0);
}

/* ---- requests ------------------------------------------------------------------------------ */

static inline int send_request(struct family *family, weft_pid pid,
                               const weft_supervisor_request *request,
                               weft_supervisor_answer *answer) {
    *answer = (weft_supervisor_answer){.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    return weft_runtime_supervisor_call(family->rig.runtime, pid, request, SOON_NS, answer);
}

static inline int ask_pid(struct family *family, weft_pid pid, uint32_t verb, weft_pid child,
                          weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = verb, .pid = child};
    return send_request(family, pid, &request, answer);
}

static inline int ask_index(struct family *family, weft_pid pid, uint32_t index,
                            weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_WHICH, .index = index};
    return send_request(family, pid, &request, answer);
}

static inline int start_spec(struct family *family, weft_pid pid, const weft_child_spec *spec,
                             weft_supervisor_answer *answer) {
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_START, .spec = spec};
    return send_request(family, pid, &request, answer);
}

static inline int start_number(struct family *family, weft_pid pid, uint32_t number,
                               uint32_t restart, weft_supervisor_answer *answer) {
    struct kid *arg;
    weft_child_spec spec = kid_spec(family, number, restart, &arg);
    return start_spec(family, pid, &spec, answer);
}

static inline void counts(struct family *family, weft_pid pid, uint32_t specs, uint32_t active) {
    weft_supervisor_answer answer;
    ck_assert_int_eq(ask(family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer), 0);
    ck_assert_uint_eq(answer.specs, specs);
    ck_assert_uint_eq(answer.active, active);
}

static inline int add_simple(struct family *family, weft_pid pid, uint32_t number,
                             weft_supervisor_answer *answer) {
    struct kid *arg = &family->kids[number];
    weft_child_spec spec = {
        .struct_size = WEFT_CHILD_SPEC_INIT, .arg = &arg, .arg_size = sizeof(struct kid *)};
    return start_spec(family, pid, &spec, answer);
}

#endif
