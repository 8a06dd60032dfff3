/* SPDX-License-Identifier: MIT
 *
 * Lines of callers for the tests of deadlines and cancellation. Each stage of a line asks the next
 * one for the sake of the request it was asked with, and passes on the outcome; the last one holds
 * its requests until it is told to answer. A stage is a handler or a process, and writes down what
 * it sees. Who asks the first stage is a puppet.
 */
#ifndef WEFT_TESTS_UNIT_SCOPE_SUPPORT_H
#define WEFT_TESTS_UNIT_SCOPE_SUPPORT_H

#include "tests/unit/support.h"

enum {
    STAGES = 6,
    HELD = 16,
    TAG_ASK = 1,
    TAG_LOOK = 2,   /* looks at what it holds */
    TAG_ANSWER = 3, /* answers what it holds */
    TAG_LATER = 4,  /* asks now for what it took before */
    TOKEN = 77,
};

/* How a stage asks the next one. */
enum way {
    WAY_CALL, /* weft_call, weft_call_wait */
    WAY_MULTI,
    WAY_VIRTUAL,
    WAY_AWAIT,  /* processes: weft_call, then weft_await */
    WAY_NOBODY, /* handlers: weft_work_for(NULL) first */
    WAY_LATER,  /* handlers: takes, and asks in a later handler for it */
    WAY_AGAIN,  /* handlers: asks once more when the first answer has come */
    WAY_EARLY,  /* handlers: answers first, and asks once more for nobody */
    WAY_FORWARD /* handlers: asks, then passes its request on to the last stage */
};

struct stage {
    struct line *line;
    uint32_t at;
    enum way way;
    bool process;
    uint64_t timeout_ns; /* of what it asks */
    uint64_t busy_ns;    /* before it asks */
    weft_pid pid;
    /* what it has seen */
    weft_atomic_u32 begun;
    weft_atomic_u32 replies;
    weft_atomic_u32 status;   /* of the last one, negated */
    weft_atomic_u64 asked_ns; /* weft_deadline of the last request */
    weft_atomic_u64 works_ns; /* weft_work_deadline at it */
    weft_atomic_u64 after_ns; /* weft_work_deadline at the last REPLY */
    weft_atomic_u32 holds;    /* requests */
    weft_atomic_u32 looks;
    weft_atomic_u32 cancelled; /* of what it holds, at the last look */
    weft_atomic_u32 later;     /* handlers that were to ask later */
    weft_atomic_u32 ended;
};

struct line {
    struct rig rig;
    const weft_type *handler;
    const weft_type *process;
    const weft_type *shard;
    const weft_capability *capability;
    uint32_t count;
    struct stage stages[STAGES];
    struct probe probe; /* of who asks */
    weft_pid asker;
    int result; /* of what it did last */
};

/* ---- what a stage does ----------------------------------------------------------------------- */

struct node {
    struct stage *stage;
    weft_msg *request;    /* that it asks for */
    weft_msg *held[HELD]; /* by the last stage */
    uint32_t count;
};

static inline struct stage *next_of(struct stage *stage) {
    return &stage->line->stages[stage->at + 1];
}

static inline bool is_last(const struct stage *stage) {
    return stage->at + 1 == stage->line->count;
}

static inline void note_request(weft_ctx *ctx, struct stage *stage, const weft_msg *msg) {
    weft_store64_relaxed(&stage->asked_ns, weft_deadline(msg));
    weft_store64_relaxed(&stage->works_ns, weft_work_deadline(ctx));
    (void)weft_add32_acq_rel(&stage->begun, 1);
}

static inline void note_reply(weft_ctx *ctx, struct stage *stage, int status) {
    weft_store32_relaxed(&stage->status, (uint32_t)-status);
    weft_store64_relaxed(&stage->after_ns, weft_work_deadline(ctx));
    (void)weft_add32_acq_rel(&stage->replies, 1);
}

/* The address a stage has as a virtual actor. */
static inline weft_vrequest address_of(const struct stage *stage) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = stage->line->capability,
                           .type = stage->line->shard,
                           .id = &stage->at,
                           .id_size = sizeof(stage->at),
                           .tag = TAG_ASK};
}

/* Asks the next stage without waiting. */
static inline int ask_next(weft_ctx *ctx, struct stage *stage) {
    struct stage *next = next_of(stage);
    if (stage->way == WAY_MULTI) {
        weft_multi_request request = {.struct_size = WEFT_MULTI_REQUEST_INIT,
                                      .targets = &next->pid,
                                      .count = 1,
                                      .tag = TAG_ASK,
                                      .timeout_ns = stage->timeout_ns};
        int result = weft_multi_call(ctx, &request, TOKEN);
        return result < 0 ? result : 0;
    }
    if (stage->way == WAY_VIRTUAL) {
        weft_vrequest request = address_of(next);
        request.timeout_ns = stage->timeout_ns;
        return weft_vcall(ctx, &request, TOKEN, NULL);
    }
    return weft_call(ctx, next->pid, TAG_ASK, "", 0, stage->timeout_ns, TOKEN);
}

static inline void stage_busy(const struct stage *stage) {
    if (stage->busy_ns != 0) {
        sleep_ns(stage->busy_ns);
    }
}

static inline void pass_on(weft_ctx *ctx, weft_msg **request, int status) {
    if (*request == NULL) {
        return;
    }
    if (status == 0) {
        (void)weft_reply(ctx, request, TAG_ASK, "", 0); /* perhaps nobody waits any more */
    } else {
        (void)weft_reply_error(ctx, request, status);
    }
}

/* What the last stage does with a message; true: it was one of these. */
static inline bool node_told(weft_ctx *ctx, struct node *node, const weft_msg *msg) {
    struct stage *stage = node->stage;
    if (weft_msg_kind(msg) != WEFT_MSG_USER || weft_msg_tag(msg) == TAG_LATER) {
        return false;
    }
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        cancelled += weft_deadline(node->held[i]) == 0 ? 1 : 0;
        if (weft_msg_tag(msg) == TAG_ANSWER) {
            pass_on(ctx, &node->held[i], 0);
        }
    }
    node->count = weft_msg_tag(msg) == TAG_ANSWER ? 0 : node->count;
    weft_store32_relaxed(&stage->cancelled, cancelled);
    (void)weft_add32_acq_rel(&stage->looks, 1);
    return true;
}

static inline void node_hold(weft_ctx *ctx, struct node *node, weft_msg *msg) {
    ck_assert_uint_lt(node->count, HELD);
    node->held[node->count++] = weft_msg_take(ctx, msg);
    weft_store32_release(&node->stage->holds, node->count);
}

/* ---- handlers -------------------------------------------------------------------------------- */

static inline int node_asked(weft_ctx *ctx, struct node *node, weft_msg *msg) {
    struct stage *stage = node->stage;
    note_request(ctx, stage, msg);
    if (is_last(stage)) {
        node_hold(ctx, node, msg);
        return WEFT_CONTINUE;
    }
    stage_busy(stage);
    if (stage->way == WAY_LATER) {
        node->request = weft_msg_take(ctx, msg);
        return weft_send(ctx, weft_self(ctx), TAG_LATER, "", 0);
    }
    if (stage->way == WAY_NOBODY) {
        ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
        ck_assert_uint_eq(weft_work_deadline(ctx), UINT64_MAX);
    }
    int result = ask_next(ctx, stage);
    if (result != 0) {
        note_reply(ctx, stage, result);
        pass_on(ctx, &msg, result);
    } else if (stage->way == WAY_FORWARD) {
        return weft_send_msg(ctx, stage->line->stages[stage->line->count - 1].pid, &msg);
    } else if (stage->way == WAY_EARLY) {
        pass_on(ctx, &msg, 0);
    } else {
        node->request = weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

static inline int node_later(weft_ctx *ctx, struct node *node) {
    struct stage *stage = node->stage;
    ck_assert_uint_eq(weft_work_deadline(ctx), UINT64_MAX);
    ck_assert_int_eq(weft_work_for(ctx, node->request), 0);
    ck_assert_uint_eq(weft_work_deadline(ctx), weft_deadline(node->request));
    (void)weft_add32_acq_rel(&stage->later, 1);
    int result = ask_next(ctx, stage);
    if (result != 0) {
        note_reply(ctx, stage, result);
        pass_on(ctx, &node->request, result);
    }
    return WEFT_CONTINUE;
}

static inline int node_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct node *node = state;
    struct stage *stage = node->stage;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        return node_asked(ctx, node, msg);
    }
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        int status = weft_msg_status(msg);
        note_reply(ctx, stage, status);
        bool again = (stage->way == WAY_AGAIN || stage->way == WAY_EARLY) && status == 0;
        if (!again || ask_next(ctx, stage) != 0) {
            pass_on(ctx, &node->request, status);
        }
        return WEFT_CONTINUE;
    }
    if (!node_told(ctx, node, msg) && weft_msg_tag(msg) == TAG_LATER) {
        return node_later(ctx, node);
    }
    return WEFT_CONTINUE;
}

static inline void node_over(void *arg) {
    struct stage *stage = arg;
    (void)weft_add32_acq_rel(&stage->ended, 1);
}

static inline int node_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct node *node = state;
    struct line *line = weft_type_cookie(weft_type_of(ctx));
    if (arg_size == sizeof(node->stage)) {
        memcpy(&node->stage, arg, sizeof(node->stage));
    } else { /* a virtual one */
        weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
        ck_assert_int_eq(weft_virtual_self(ctx, &entry), 0);
        uint32_t at;
        memcpy(&at, entry.id, sizeof(at));
        node->stage = &line->stages[at];
        node->stage->pid = weft_self(ctx);
    }
    return weft_defer(ctx, node_over, node->stage);
}

/* ---- processes ------------------------------------------------------------------------------- */

static inline int wait_many(weft_ctx *ctx, struct stage *stage) {
    weft_multi_result result = {0};
    weft_multi_request request = {.struct_size = WEFT_MULTI_REQUEST_INIT,
                                  .targets = &next_of(stage)->pid,
                                  .count = 1,
                                  .tag = TAG_ASK,
                                  .timeout_ns = stage->timeout_ns};
    int answered = weft_multi_call_wait(ctx, &request, &result);
    weft_msg_release(ctx, &result.reply);
    return answered < 0 ? answered : result.status;
}

static inline int wait_awaited(weft_ctx *ctx, struct stage *stage) {
    weft_msg *reply = NULL;
    int result = ask_next(ctx, stage);
    if (result == 0) {
        ck_assert_int_eq(weft_await(ctx, TOKEN, WEFT_FOREVER, &reply), 0);
        result = weft_msg_status(reply);
        weft_msg_release(ctx, &reply);
    }
    return result;
}

static inline int ask_and_wait(weft_ctx *ctx, struct stage *stage) {
    weft_vrequest request;
    switch (stage->way) {
    case WAY_MULTI:
        return wait_many(ctx, stage);
    case WAY_VIRTUAL:
        request = address_of(next_of(stage));
        request.timeout_ns = stage->timeout_ns;
        return weft_vcall_wait(ctx, &request, NULL, NULL);
    case WAY_AWAIT:
        return wait_awaited(ctx, stage);
    default:
        return weft_call_wait(ctx, next_of(stage)->pid, TAG_ASK, "", 0, stage->timeout_ns, NULL);
    }
}

static inline int node_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct node *node = state;
    struct stage *stage = node->stage;
    weft_msg *msg;
    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) { /* until it is stopped */
        if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
            (void)node_told(ctx, node, msg);
            continue;
        }
        note_request(ctx, stage, msg);
        if (is_last(stage)) {
            node_hold(ctx, node, msg);
            continue;
        }
        if (stage->busy_ns != 0) {
            ck_assert_int_eq(weft_sleep(ctx, stage->busy_ns), 0);
        }
        int status = ask_and_wait(ctx, stage);
        note_reply(ctx, stage, status);
        pass_on(ctx, &msg, status);
    }
    return WEFT_CONTINUE;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static inline weft_pid line_spawn(struct line *line, const weft_type *type, const void *arg,
                                  size_t arg_size, bool pin) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = arg,
                                  .arg_size = arg_size,
                                  .scheduler = pin ? 1 : WEFT_ANY_SCHEDULER,
                                  .pin = pin};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(line->rig.runtime, type, &options, &pid), 0);
    return pid;
}

/* A line of so many stages; processes: bit n makes stage n one. Fields of the stages may be set
 * before it is asked. */
static inline void line_open(struct line *line, uint32_t count, uint32_t processes) {
    struct weft_type_def handler = {.struct_size = WEFT_TYPE_DEF_INIT,
                                    .name = "stage.handler",
                                    .state_size = sizeof(struct node),
                                    .init = node_init,
                                    .receive = node_receive,
                                    .cookie = line};
    struct weft_type_def process = handler;
    process.name = "stage.process";
    process.receive = NULL;
    process.process = node_process;
    struct weft_type_def shard = handler;
    shard.name = "stage.virtual";
    line->handler = rig_type(&line->rig, &handler);
    line->process = rig_type(&line->rig, &process);
    line->shard = rig_type(&line->rig, &shard);
    ck_assert_int_eq(weft_capability_add(line->rig.runtime, "stages", &line->capability), 0);
    line->count = count;
    line->probe = (struct probe)PROBE_INIT;
    line->asker = rig_spawn(&line->rig, &line->probe);
    for (uint32_t i = 0; i < count; i++) {
        struct stage *stage = &line->stages[i];
        *stage = (struct stage){.line = line, .at = i, .timeout_ns = SOON_NS};
        stage->process = (processes >> i & 1) != 0;
        stage->pid = line_spawn(line, stage->process ? line->process : line->handler, &stage,
                                sizeof(void *), false);
    }
}

static inline void line_start(struct line *line, uint32_t schedulers, uint32_t count,
                              uint32_t processes) {
    memset(line, 0, sizeof(*line));
    line->rig = rig_start(schedulers);
    line_open(line, count, processes);
}

static inline void line_stop(struct line *line) {
    rig_stop(&line->rig);
    probe_fini(&line->probe);
}

/* What the asker does, in its own context; nobody is worked for. */
struct asking {
    struct line *line;
    weft_pid target;
    uint64_t timeout_ns;
    uint64_t token;
};

static inline void do_ask(weft_ctx *ctx, void *arg) {
    struct asking *asking = arg;
    ck_assert_int_eq(weft_work_for(ctx, NULL), 0);
    asking->line->result =
        weft_call(ctx, asking->target, TAG_ASK, "", 0, asking->timeout_ns, asking->token);
}

static inline void do_cancel(weft_ctx *ctx, void *arg) {
    struct asking *asking = arg;
    asking->line->result = weft_call_cancel(ctx, asking->token);
}

static inline void line_ask_token(struct line *line, uint64_t timeout_ns, uint64_t token) {
    struct asking asking = {
        .line = line, .target = line->stages[0].pid, .timeout_ns = timeout_ns, .token = token};
    act(&line->rig, line->asker, do_ask, &asking);
    ck_assert_int_eq(line->result, 0);
}

static inline void line_ask(struct line *line, uint64_t timeout_ns) {
    line_ask_token(line, timeout_ns, 1);
}

static inline void line_cancel(struct line *line) {
    struct asking asking = {.line = line, .token = 1};
    act(&line->rig, line->asker, do_cancel, &asking);
    ck_assert_int_eq(line->result, 1);
}

static inline struct stage *last_of(struct line *line) {
    return &line->stages[line->count - 1];
}

/* The last stage holds so many requests. */
static inline void line_reached(struct line *line, uint32_t count) {
    eventually(weft_load32_acquire(&last_of(line)->holds) == count);
}

/* How many of what the last stage holds were cancelled, when it is looked at now. */
static inline uint32_t line_cancelled(struct line *line) {
    struct stage *last = last_of(line);
    uint32_t looks = weft_load32_acquire(&last->looks);
    ck_assert_int_eq(weft_runtime_send(line->rig.runtime, last->pid, TAG_LOOK, "", 0), 0);
    eventually(weft_load32_acquire(&last->looks) != looks);
    return weft_load32_relaxed(&last->cancelled);
}

static inline void line_answer(struct line *line) {
    ck_assert_int_eq(weft_runtime_send(line->rig.runtime, last_of(line)->pid, TAG_ANSWER, "", 0),
                     0);
}

/* A stage has had so many outcomes, the last one with this status. */
static inline void stage_had(struct stage *stage, uint32_t replies, int status) {
    eventually(weft_load32_acquire(&stage->replies) == replies);
    ck_assert_int_eq(-(int)weft_load32_relaxed(&stage->status), status);
}

static inline uint64_t stage_deadline(const struct stage *stage) {
    uint64_t asked_ns = weft_load64_relaxed(&stage->asked_ns);
    ck_assert_uint_eq(weft_load64_relaxed(&stage->works_ns), asked_ns);
    return asked_ns;
}

static inline uint32_t line_schedulers(int number) {
    static const uint32_t counts[] = {1, 2, 8, 64};
    return counts[number % 4];
}

#endif
