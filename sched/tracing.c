/* SPDX-License-Identifier: MIT
 *
 * The trace of an actor, and what is shown of its memory: see sched/tracing.h. Only weft_trace is
 * called on any thread. What a message carries is not logged, only how much.
 */
#include "sched/tracing.h"
#include "sched/bonds.h"
#include "sched/process.h"
#include "sched/scope.h"

enum { KINDS = 64, UNIT_BYTES = 64 };

/* What there is an event of; the rest is between the runtime and itself. */
static const char *const kinds[KINDS] = {
    [WEFT_MSG_USER] = "user",
    [WEFT_MSG_REQUEST] = "request",
    [WEFT_MSG_REPLY] = "reply",
    [WEFT_MSG_TIMER] = "timer",
    [WEFT_MSG_READY] = "ready",
    [WEFT_MSG_DONE] = "done",
    [WEFT_MSG_DEAD] = "dead",
    [WEFT_MSG_IO] = "io",
    [WEFT_MSG_EXIT] = "exit",
    [WEFT_MSG_DOWN] = "down",
    [WEFT_MSG_UP] = "up",
    [WEFT__SIGNAL_START] = "start",
    [WEFT__SIGNAL_STOP] = "stop",
    [WEFT__SIGNAL_KILL] = "kill",
    [WEFT__SIGNAL_LINK] = "link",
    [WEFT__SIGNAL_UNLINK] = "unlink",
    [WEFT__SIGNAL_MONITOR] = "monitor",
    [WEFT__SIGNAL_DEMONITOR] = "demonitor",
    [WEFT__SIGNAL_EXIT] = "exit",
    [WEFT__SIGNAL_CANCEL] = "cancel",
    [WEFT__SIGNAL_PASSIVATE] = "passivate",
};

static const char *kind_name(uint8_t kind) {
    return kind < KINDS ? kinds[kind] : NULL;
}

/* ---- events -------------------------------------------------------------------------------- */

struct entry {
    struct weft_ctx *ctx;
    const char *way;
    const char *kind;
    uint64_t reference;
    weft_pid peer;
    int status;
    uint32_t tag;
    uint32_t size;
};

static void emit(void *arg) {
    const struct entry *entry = arg;
    struct weft__core *core = entry->ctx->runner->core;
    char pid[WEFT_PID_TEXT_BYTES] = "";
    char peer[WEFT_PID_TEXT_BYTES] = "none";
    (void)weft_pid_format(weft_self(entry->ctx), pid, sizeof(pid)); /* these fit */
    if (!weft_pid_is_none(entry->peer)) {
        (void)weft_pid_format(entry->peer, peer, sizeof(peer));
    }
    weft_log_field fields[] = {
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = pid},
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = entry->ctx->type->name},
        {.key = "way", .kind = WEFT_LOG_TEXT, .text = entry->way},
        {.key = "kind", .kind = WEFT_LOG_TEXT, .text = entry->kind},
        {.key = "tag", .kind = WEFT_LOG_U64, .u64 = entry->tag},
        {.key = "size", .kind = WEFT_LOG_U64, .u64 = entry->size},
        {.key = "peer", .kind = WEFT_LOG_TEXT, .text = peer},
        {.key = "status", .kind = WEFT_LOG_I64, .i64 = entry->status},
        {.key = "ref", .kind = WEFT_LOG_U64, .u64 = entry->reference},
    };
    weft_log_event event = {
        .name = "actor.trace",
        .mono_ns = core->env->now_mono_ns(core->env),
        .wall_ns = core->env->now_wall_ns(core->env),
        .fields = fields,
        .field_count = sizeof(fields) / sizeof(fields[0]),
    };
    core->log.cb(core->log.cookie, WEFT_LOG_INFO, &event); /* whatever level is asked for */
}

/* The pid of an actor, or nobody's: threads outside that wait for answers have none to show. */
static weft_pid pid_of(const struct weft__scheduler *s, uint64_t actor) {
    weft_pid pid = {.node = s->node, .slot = (uint32_t)(actor >> 32), .gen = (uint32_t)actor};
    return pid.gen == 0 || weft__is_port(s->slots, pid) ? weft_pid_none() : pid;
}

/* What a message says of an outcome. Only those with room for it have that. */
static int status_of(const weft_msg *msg) {
    switch (msg->weft__kind) {
    case WEFT_MSG_REPLY:
    case WEFT_MSG_DONE:
    case WEFT_MSG_DEAD:
    case WEFT_MSG_IO:
    case WEFT_MSG_EXIT:
    case WEFT_MSG_DOWN:
    case WEFT__SIGNAL_STOP:
    case WEFT__SIGNAL_KILL:
    case WEFT__SIGNAL_EXIT:
    case WEFT__SIGNAL_PASSIVATE:
        return weft_msg_status(msg);
    default:
        return 0;
    }
}

/* What answers are matched by: the reference of a request and its reply, else the token. */
static uint64_t reference_of(const weft_msg *msg) {
    switch (msg->weft__kind) {
    case WEFT_MSG_REQUEST:
    case WEFT_MSG_REPLY:
    case WEFT_MSG_TIMER:
    case WEFT_MSG_DONE:
    case WEFT_MSG_DOWN:
    case WEFT_MSG_UP:
    case WEFT__SIGNAL_CANCEL:
        return msg->weft__u.weft__r.weft__ref;
    default:
        return 0;
    }
}

static void fill(const struct weft__scheduler *s, const weft_msg *msg, struct entry *entry) {
    bool has_sender = msg->weft__kind != WEFT_MSG_IO && msg->weft__kind != WEFT_MSG_TIMER;
    bool is_exit = msg->weft__kind == WEFT_MSG_EXIT || msg->weft__kind == WEFT__SIGNAL_EXIT;
    entry->kind = kind_name(msg->weft__kind);
    entry->peer = has_sender ? pid_of(s, msg->weft__from) : weft_pid_none();
    entry->reference = reference_of(msg);
    entry->status = status_of(msg);
    entry->tag = is_exit || msg->weft__kind == WEFT_MSG_DOWN ? 0 : msg->weft__tag;
    entry->size = msg->weft__size;
}

void weft__trace_receive(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg,
                         uint64_t reference) {
    struct entry entry = {.ctx = ctx, .way = "receive"};
    fill(s, msg, &entry);
    bool told = msg->weft__kind == WEFT_MSG_EXIT && /* as a stop */
                msg->weft__u.weft__r.weft__ref == WEFT__EXIT_STOP;
    if (entry.kind == NULL || told) {
        return;
    }
    entry.reference = msg->weft__kind == WEFT_MSG_REPLY ? reference : entry.reference;
    emit(&entry);
}

void weft__trace_signal(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    bool trapped = msg->weft__kind == WEFT__SIGNAL_EXIT && (ctx->life & WEFT__LIFE_TRAP) != 0;
    if (!trapped) { /* else it is a message, and told of when that is given to the actor */
        weft__trace_receive(s, ctx, msg, 0);
    }
}

void weft__trace_drop(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg,
                      int why) {
    struct entry entry = {.ctx = ctx, .way = "drop"};
    fill(s, msg, &entry);
    entry.status = why;
    if (entry.kind != NULL) {
        emit(&entry);
    }
}

void weft__trace_post(const weft_msg *msg, uint64_t target, struct weft__posted *ret_posted) {
    *ret_posted = (struct weft__posted){
        .target = target,
        .reference = reference_of(msg),
        .tag = msg->weft__kind == WEFT__SIGNAL_EXIT || msg->weft__kind == WEFT_MSG_DOWN
                   ? 0
                   : msg->weft__tag,
        .size = msg->weft__size,
        .status = status_of(msg),
        .kind = msg->weft__kind,
    };
}

/* Perhaps in the middle of a process, whose stack may be small. */
static void emit_sent(struct entry *entry) {
    weft__on_scheduler(entry->ctx, emit, entry);
}

void weft__trace_posted(struct weft__scheduler *s, const struct weft__posted *posted, int result) {
    struct entry entry = {
        .ctx = s->current,
        .way = "send",
        .kind = kind_name(posted->kind),
        .reference = posted->reference,
        .peer = pid_of(s, posted->target),
        .status = result != 0 ? result : posted->status,
        .tag = posted->tag,
        .size = posted->size,
    };
    if (entry.kind != NULL) {
        emit_sent(&entry);
    }
}

void weft__trace_refused(struct weft_ctx *ctx, const struct weft__draft *draft, weft_pid target,
                         int result) {
    struct entry entry = {
        .ctx = ctx,
        .way = "send",
        .kind = kind_name(draft->kind),
        .peer = target,
        .status = result,
        .tag = draft->tag,
        .size = (uint32_t)weft_min_u64(draft->size, UINT32_MAX),
    };
    emit_sent(&entry);
}

void weft__trace_end(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct entry entry = {.ctx = ctx, .way = "end", .kind = "end", .status = ctx->reason};
    (void)s;
    emit(&entry);
}

/* ---- on and off ---------------------------------------------------------------------------- */

void weft__trace_switch(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    bool on = msg->weft__u.weft__r.weft__value != 0;
    uint32_t traits =
        weft_load32_relaxed(&ctx->traits); /* shown there; C1 of name.h or-s as well */
    uint32_t wanted;
    do {
        wanted = on ? traits | WEFT__TRAIT_TRACED : traits & ~(uint32_t)WEFT__TRAIT_TRACED;
    } while (!weft_cas32_acq_rel(&ctx->traits, &traits, wanted)); /* at most once a registration */
    ctx->life = on ? ctx->life | WEFT__LIFE_TRACED : ctx->life & ~(uint32_t)WEFT__LIFE_TRACED;
    weft__trace_turn(s, ctx);
}

int weft_trace(weft_runtime *runtime, weft_pid pid, bool on) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    if (runtime->core.log.cb == NULL) {
        return 0;
    }
    if (pid.node != runtime->node || pid.gen == 0 || weft__is_port(&runtime->slots, pid)) {
        return WEFT_E_NOPROC;
    }
    struct weft__scheduler *s = weft__scheduler_current();
    if (s != NULL && (s->runtime != runtime || s->current == NULL)) {
        s = NULL; /* of another runtime, or in a hook of somewhere */
    }
    struct weft__draft draft = {.kind = WEFT__SIGNAL_TRACE, .wide = true};
    weft_msg *msg;
    int result = weft__msg_make(runtime, s, &draft, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__u.weft__r.weft__value = on ? 1 : 0;
    result = s != NULL ? weft__post(s, weft__target(pid), msg, false)
                       : weft__post_outside(runtime, weft__target(pid), msg, false);
    if (result != 0) {
        weft__msg_free(runtime, s, msg);
    }
    return result;
}

/* ---- for inspection ------------------------------------------------------------------------ */

static uint64_t map_bytes(const struct weft__map *map) {
    return map->capacity * sizeof(struct weft__map_entry);
}

static uint64_t bonds_bytes(const struct weft__bonds *bonds) {
    return bonds == NULL ? 0
                         : sizeof(*bonds) + map_bytes(&bonds->links) + map_bytes(&bonds->watchers) +
                               bonds->watch_capacity * sizeof(*bonds->watches);
}

static uint64_t calls_bytes(const struct weft__calls *calls) {
    return calls->lent != 0
               ? 0
               : calls->capacity * (uint64_t)(sizeof(struct weft__call) + sizeof(uint32_t));
}

static uint64_t ext_bytes(const struct weft__ext *ext) {
    uint64_t bytes = sizeof(*ext) + WEFT_CACHELINE + sizeof(char *); /* weft__alloc_aligned */
    bytes += calls_bytes(&ext->calls) + weft__timers_bytes(&ext->timers) + bonds_bytes(ext->bonds) +
             map_bytes(&ext->jobs_started) + weft__cancels_bytes(&ext->cancels);
    bytes += ext->cleanup_capacity * sizeof(*ext->cleanups);
    bytes += ext->busy_capacity * sizeof(*ext->busy);
    if (ext->process != NULL) {
        bytes += weft__process_touched(ext->process);
    }
    return bytes;
}

void weft__memory_show(const weft_runtime *runtime, const struct weft_ctx *ctx) {
    struct weft__look *look = weft__look_at(runtime, ctx->index);
    if (look == NULL || ctx->ext == NULL) {
        return;
    }
    uint64_t units = (ext_bytes(ctx->ext) + UNIT_BYTES - 1) / UNIT_BYTES;
    weft_store32_relaxed(&look->memory, (uint32_t)weft_min_u64(units, UINT32_MAX));
}

void weft__memory_gone(const weft_runtime *runtime, const struct weft_ctx *ctx) {
    struct weft__look *look = weft__look_at(runtime, ctx->index);
    if (look != NULL) {
        weft_store32_relaxed(&look->memory, 0);
    }
}

void weft__sent_wrap(const weft_runtime *runtime, struct weft_ctx *ctx) {
    struct weft__look *look = weft__look_at(runtime, ctx->index);
    uint32_t traits = weft_load32_relaxed(&ctx->traits);
    if (look == NULL) {
        return;
    }
    /* The first time what an earlier tenant has left there is replaced, before it is shown. */
    bool first = (traits & WEFT__TRAIT_SENT_MUCH) == 0;
    weft_store32_relaxed(&look->sent_high, first ? 1 : weft_load32_relaxed(&look->sent_high) + 1);
    while (!weft_cas32_acq_rel(&ctx->traits, &traits, traits | WEFT__TRAIT_SENT_MUCH)) {
    } /* at most once a registration */
}
