/* SPDX-License-Identifier: MIT
 *
 * The supervisor's actor: messages in, and what the plan says out. See sched/supervisor.h and
 * weft/supervisor.h.
 *
 * Nothing is waited for: a handler does what can be done now, up to WEFT__SUPERVISOR_STEPS things,
 * and if there is more sends itself a message, the tick, so that others get their turns, and
 * requests between two attempts to start a child. What hangs off the state is freed by a cleanup:
 * a supervisor that is killed runs no terminate.
 */
#include "sched/supervisor.h"
#include "sched/bonds.h"
#include <weft/stats.h>

enum { TAG_TICK = 1 };

#define ARG_MAGIC UINT64_C(0x7765667473757076)

/* ---- its end ------------------------------------------------------------------------------- */

void weft__supervisor_end(struct weft__supervisor *supervisor, int reason) {
    if (!supervisor->plan.ending && supervisor->plan.purpose != WEFT__PLAN_END) {
        supervisor->reason = reason;
    }
    supervisor->begun = true;
    weft__plan_end(&supervisor->plan);
}

/* All children are gone. */
static void leave(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    weft_reason reason = {.code = supervisor->reason};
    if (supervisor->reason_msg != NULL) {
        weft_reason given;
        bool known = weft_msg_reason(ctx, supervisor->reason_msg, &given);
        weft_assert(known);
        reason.data = given.data;
        reason.size = given.size;
    } else if (supervisor->text[0] != '\0') {
        reason.data = supervisor->text;
        reason.size = strlen(supervisor->text);
    }
    weft_exit_with(ctx, &reason);
}

/* ---- the tick ------------------------------------------------------------------------------ */

static int make_spare(struct weft_ctx *ctx, uint8_t kind, weft_msg **ret_msg) {
    struct weft__draft draft = {.kind = kind, .wide = true, .tag = TAG_TICK};
    int result = weft__msg_make(ctx->runner->runtime, ctx->runner, &draft, ret_msg);
    if (result == 0) {
        (*ret_msg)->weft__u.weft__r.weft__ref = 0;
        (*ret_msg)->weft__u.weft__r.weft__value = 0;
        weft__held_add(ctx, ctx->runner, *ret_msg);
    }
    return result;
}

/* Posts a message that was made beforehand; a target that is gone does not matter. */
static void post_spare(struct weft_ctx *ctx, weft_msg **spare, uint64_t target) {
    struct weft__scheduler *s = ctx->runner;
    weft_msg *msg = *spare;
    *spare = NULL;
    weft__msg_own(s, ctx, msg);
    msg->weft__from = weft__from(ctx);
    if (weft__post(s, target, msg, false) != 0) {
        weft__msg_free(s->runtime, s, msg);
    }
}

/* There is more to do, when others have had their turn. */
static void go_on_later(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    if (!supervisor->ticking) {
        supervisor->ticking = true;
        post_spare(ctx, &supervisor->tick, weft__from(ctx));
    }
}

/* The tick has come; the next one needs a cell: another, or at last this one. */
static void on_tick(struct weft_ctx *ctx, struct weft__supervisor *supervisor, weft_msg *msg) {
    if (!supervisor->ticking || msg->weft__from != weft__from(ctx) ||
        weft_msg_tag(msg) != TAG_TICK) {
        return; /* of something a child's start function did */
    }
    supervisor->ticking = false;
    if (make_spare(ctx, WEFT_MSG_DONE, &supervisor->tick) != 0) {
        supervisor->tick = weft_msg_take(ctx, msg);
    }
    weft__plan_retry(&supervisor->plan);
}

/* ---- events -------------------------------------------------------------------------------- */

/* Specs of the book become children, some at a time. True: all have. */
static bool load(struct weft__supervisor *supervisor) {
    const struct weft__book *book = weft__book_of(supervisor->buf);
    const struct weft__def *def = supervisor->def;
    uint32_t count = weft__supervisor_is_simple(supervisor) ? 0 : def->spec_count;
    uint32_t steps = WEFT__SUPERVISOR_STEPS * 4; /* these are quick */
    while (supervisor->loaded < count && steps-- > 0) {
        uint32_t child;
        const struct weft__spec *spec = weft__book_spec(book, def->spec_first + supervisor->loaded);
        if (weft__child_create(supervisor, spec, NULL, &child) != 0) {
            weft__supervisor_end(supervisor, -ENOMEM);
            return true;
        }
        supervisor->loaded++;
    }
    return supervisor->loaded == count;
}

/* The window has room for one restart more. */
static int reserve_restart(struct weft__supervisor *supervisor) {
    struct weft__plan_window *window = &supervisor->plan.window;
    uint32_t wanted = weft__plan_window_wants(window, supervisor->now_ns);
    if (weft_likely(wanted == window->capacity)) {
        return 0;
    }
    uint64_t *old = window->times;
    uint32_t old_capacity = window->capacity;
    uint64_t *times = weft__alloc(supervisor->core, wanted * sizeof(*times), "supervisor");
    if (times == NULL) {
        return -ENOMEM;
    }
    weft__plan_window_move(window, times, wanted);
    weft__free(supervisor->core, old, old_capacity * sizeof(*old), "supervisor");
    return 0;
}

/* A child that waits gets its verdict. */
static void judge(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child) {
    uint64_t now_ns = weft_now_ns(ctx);
    supervisor->now_ns = weft_max_u64(supervisor->now_ns, now_ns);
    if (reserve_restart(supervisor) != 0) {
        weft__supervisor_end(supervisor, -ENOMEM);
        return;
    }
    struct weft__plan_verdict verdict =
        weft__plan_judge(&supervisor->plan, child, supervisor->now_ns);
    switch (verdict.fate) {
    case WEFT__PLAN_KEEP:
        break;
    case WEFT__PLAN_AGAIN:
        weft__child_log(ctx, supervisor, child, "supervisor.restart", 0);
        break;
    case WEFT__PLAN_TOO_MANY:
        weft__child_log(ctx, supervisor, child, "supervisor.restart_limit", WEFT_E_SHUTDOWN);
        break;
    case WEFT__PLAN_AUTO:
        break;
    }
    if (verdict.forget) {
        weft__child_forget(supervisor, child);
    }
}

/* The plan is idle: what waits longest gets its turn. False: nothing waits. */
static bool take_event(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    uint64_t number = UINT64_MAX;
    uint32_t child = weft__plan_waiting(&supervisor->plan, &number);
    if (weft_unlikely(supervisor->queue_count != 0) &&
        supervisor->queue[supervisor->queue_first].number < number) {
        weft__supervisor_serve(ctx, supervisor);
        return true;
    }
    if (child != 0) {
        judge(ctx, supervisor, child);
    }
    return child != 0;
}

/* An operation is over, if one was under way. */
static void settle(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    if (weft_unlikely(!supervisor->reported)) {
        supervisor->reported = true;
        if (supervisor->up != NULL) {
            post_spare(ctx, &supervisor->up, weft_load64_relaxed(&ctx->parent));
        }
    }
    if (supervisor->request != NULL) {
        weft__supervisor_answer(ctx, supervisor);
    }
}

/* Waits for children: all of a simple_one_for_one that ends have a common deadline. */
static void wait(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    if (supervisor->plan.told != 0 && !supervisor->timed && supervisor->plan.cursor == 0) {
        const struct weft__book *book = weft__book_of(supervisor->buf);
        supervisor->timed = true;
        weft__child_deadline(ctx, supervisor,
                             weft__book_spec(book, supervisor->def->spec_first)->shutdown_ns);
    }
}

/* What the plan wants done about a child. */
static void act(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                const struct weft__plan_action *action) {
    switch (action->verb) {
    case WEFT__PLAN_DO_START:
        weft__child_start(ctx, supervisor, action->child);
        break;
    case WEFT__PLAN_DO_STOP:
        weft__child_stop(ctx, supervisor, action->child);
        break;
    case WEFT__PLAN_DO_KILL:
        weft__child_kill(ctx, supervisor, action->child);
        break;
    default:
        weft_assert(action->verb == WEFT__PLAN_DO_FORGET);
        weft__child_forget(supervisor, action->child);
    }
}

/* Does what there is to do, up to a number of things. */
static void go_on(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    if (weft_unlikely(!supervisor->begun)) {
        if (!load(supervisor)) {
            go_on_later(ctx, supervisor);
            return;
        }
        if (!supervisor->begun) { /* else it ends already */
            supervisor->begun = true;
            weft__plan_begin(&supervisor->plan);
        }
    }
    uint32_t steps = WEFT__SUPERVISOR_STEPS;
    while ((ctx->life & WEFT__LIFE_EXITING) == 0) { /* bounded by steps */
        struct weft__plan_action action = weft__plan_next(&supervisor->plan, &steps);
        switch (action.verb) {
        case WEFT__PLAN_DO_NOTHING:
            settle(ctx, supervisor);
            if (steps == 0 || weft__plan_has_retries(&supervisor->plan)) {
                go_on_later(ctx, supervisor);
            }
            if (steps == 0 || !take_event(ctx, supervisor)) {
                return;
            }
            steps--;
            break;
        case WEFT__PLAN_DO_WAIT:
            wait(ctx, supervisor);
            return;
        case WEFT__PLAN_DO_YIELD:
            go_on_later(ctx, supervisor);
            return;
        case WEFT__PLAN_DO_END:
            leave(ctx, supervisor);
            return;
        default:
            act(ctx, supervisor, &action);
        }
    }
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Told to end, or its parent has. */
static void on_stop(struct weft_ctx *ctx, struct weft__supervisor *supervisor, weft_msg *msg) {
    bool first = !supervisor->plan.ending && supervisor->plan.purpose != WEFT__PLAN_END;
    weft_reason reason;
    bool known = weft_msg_reason(ctx, msg, &reason);
    weft_assert(known);
    weft__supervisor_end(supervisor, reason.code);
    if (first && reason.data != NULL) {
        supervisor->reason_msg = weft_msg_take(ctx, msg);
    }
}

/* Does an actor of this node live? */
static bool is_alive(struct weft_ctx *ctx, uint64_t target) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    weft_pid pid = {
        .node = ctx->runner->node, .slot = (uint32_t)(target >> 32), .gen = (uint32_t)target};
    return weft_inspect(ctx->runner->runtime, pid, &info) == 0;
}

static void on_exit(struct weft_ctx *ctx, struct weft__supervisor *supervisor, weft_msg *msg) {
    uint64_t from = msg->weft__from;
    uint64_t source = msg->weft__u.weft__r.weft__ref;
    uint64_t parent = weft_load64_relaxed(&ctx->parent);
    if (source == WEFT__EXIT_STOP || (parent != 0 && from == parent)) {
        on_stop(ctx, supervisor, msg);
        return;
    }
    uint32_t child = weft__child_who(supervisor, from);
    /* A signal that a child has sent says nothing about its own end; that it could not be linked
     * to, because it is gone, does. */
    if (child != 0 && (source == WEFT__EXIT_LINK || !is_alive(ctx, from))) {
        weft__child_gone(ctx, supervisor, child, weft_msg_status(msg));
    }
}

static void on_up(struct weft__supervisor *supervisor, const weft_msg *msg) {
    uint32_t child = weft__child_who(supervisor, msg->weft__from);
    if (child != 0) {
        weft__child_up(supervisor, child);
    }
}

static int supervisor_receive(struct weft_ctx *ctx, void *state, weft_msg *msg) {
    struct weft__supervisor *supervisor = state;
    uint32_t child;
    weft_assert(supervisor->magic == WEFT__SUPERVISOR_MAGIC);
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_EXIT:
        on_exit(ctx, supervisor, msg);
        break;
    case WEFT_MSG_UP:
        on_up(supervisor, msg);
        break;
    case WEFT_MSG_DOWN:
        child = weft__child_who(supervisor, msg->weft__from);
        if (child != 0) {
            weft__child_gone(ctx, supervisor, child, weft_msg_status(msg));
        }
        break;
    case WEFT_MSG_REQUEST:
        weft__supervisor_ask(ctx, supervisor, msg);
        break;
    case WEFT_MSG_TIMER:
        if (supervisor->timer != 0 && weft_msg_token(msg) == supervisor->timer_token) {
            supervisor->timer = 0;
            weft__child_late(ctx, supervisor);
        }
        break;
    case WEFT_MSG_DONE:
        on_tick(ctx, supervisor, msg);
        break;
    default:
        return WEFT_CONTINUE; /* nobody has anything else to say to it */
    }
    go_on(ctx, supervisor);
    return WEFT_CONTINUE;
}

/* ---- birth --------------------------------------------------------------------------------- */

static void supervisor_cleanup(void *arg) {
    struct weft__supervisor *supervisor = arg;
    weft__children_fini(supervisor);
    weft__free(supervisor->core, supervisor->queue,
               supervisor->queue_capacity * sizeof(*supervisor->queue), "supervisor");
    weft__free(supervisor->core, supervisor->plan.window.times,
               supervisor->plan.window.capacity * sizeof(uint64_t), "supervisor");
    weft_buf_unref(supervisor->buf);
    supervisor->magic = 0;
}

/* What can fail, before anything has happened. */
static int prepare(struct weft_ctx *ctx, struct weft__supervisor *supervisor, bool report) {
    int result = make_spare(ctx, WEFT_MSG_DONE, &supervisor->tick);
    if (result == 0 && report) {
        result = make_spare(ctx, WEFT_MSG_UP, &supervisor->up);
    }
    return result == 0 ? weft__children_init(supervisor) : result;
}

static int supervisor_init(struct weft_ctx *ctx, void *state, const void *data, size_t size) {
    struct weft__supervisor *supervisor = state;
    struct weft__supervisor_arg arg;
    if (size != sizeof(arg)) {
        return -EINVAL; /* somebody has spawned the type by hand */
    }
    memcpy(&arg, data, sizeof(arg));
    if (arg.magic != (ARG_MAGIC ^ ctx->runner->core->seed)) {
        return -EINVAL;
    }
    supervisor->magic = WEFT__SUPERVISOR_MAGIC;
    supervisor->core = ctx->runner->core;
    supervisor->buf = arg.buf;
    supervisor->def = &weft__book_of(arg.buf)->defs[arg.def];
    supervisor->used = WEFT__PLAN_FIRST;
    supervisor->reason = WEFT_E_SHUTDOWN; /* unless somebody says otherwise */
    if (weft_defer(ctx, supervisor_cleanup, supervisor) != 0) {
        weft_buf_unref(arg.buf);
        return -ENOMEM;
    }
    int result = prepare(ctx, supervisor, arg.report);
    if (result != 0) {
        return result;
    }
    weft_supervisor_def def = {.strategy = supervisor->def->strategy,
                               .intensity = supervisor->def->intensity,
                               .period_ns = supervisor->def->period_ns,
                               .auto_shutdown = supervisor->def->auto_shutdown};
    weft__plan_init(&supervisor->plan, &def, supervisor->steps);
    (void)weft_trap_exit(ctx, true); /* what was set before does not matter */
    go_on(ctx, supervisor);
    return WEFT_CONTINUE;
}

int weft__supervisor_type(weft_runtime *runtime, const weft_type **ret_type) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "weft.supervisor",
                         .state_size = sizeof(struct weft__supervisor),
                         .init = supervisor_init,
                         .receive = supervisor_receive};
    return weft__type_library(runtime, &def, WEFT__TRAIT_DEFERS_STOP, ret_type);
}

int weft__supervisor_spawn(struct weft_ctx *ctx, weft_runtime *runtime,
                           const struct weft__supervisor_birth *birth, weft_pid *ret_pid) {
    const weft_type *type;
    int result = weft__supervisor_type(runtime, &type);
    if (result != 0) {
        return result;
    }
    struct weft__supervisor_arg arg = {.magic = ARG_MAGIC ^ runtime->core.seed,
                                       .buf = weft_buf_ref(birth->buf),
                                       .def = birth->def,
                                       .report = birth->report};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &arg,
                                  .arg_size = sizeof(arg),
                                  .flags = ctx != NULL ? WEFT_SPAWN_LINK : 0};
    result = ctx != NULL ? weft_spawn_with(ctx, type, &options, ret_pid)
                         : weft_runtime_spawn(runtime, type, &options, ret_pid);
    if (result != 0) {
        weft_buf_unref(birth->buf);
    }
    return result;
}

static int start(struct weft_ctx *ctx, weft_runtime *runtime, const weft_supervisor_def *def,
                 weft_pid *ret_pid) {
    struct weft__supervisor_birth birth = {0};
    int result = ret_pid == NULL ? -EINVAL : weft__book_make(runtime, def, &birth.buf);
    if (result == 0) {
        result = weft__supervisor_spawn(ctx, runtime, &birth, ret_pid);
        weft_buf_unref(birth.buf);
    }
    return result;
}

int weft_supervisor_start(weft_ctx *ctx, const weft_supervisor_def *def, weft_pid *ret_pid) {
    return start(ctx, ctx->runner->runtime, def, ret_pid);
}

int weft_runtime_supervisor(weft_runtime *runtime, const weft_supervisor_def *def,
                            weft_pid *ret_pid) {
    return runtime == NULL ? -EINVAL : start(NULL, runtime, def, ret_pid);
}
