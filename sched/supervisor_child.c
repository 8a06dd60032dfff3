/* SPDX-License-Identifier: MIT
 *
 * The children of a supervisor: their records, how they are found, started and stopped. See
 * sched/supervisor.h. Every event about one child takes the same time, however many there are.
 *
 * A child is found by its pid from its spawn until the next one in its place has started, or it is
 * forgotten; what is heard of an actor counts only if it is the child just now, and the plan says
 * that the child runs, or is being started or stopped.
 */
#include "sched/bonds.h"
#include "sched/supervisor.h"
#include <stdio.h>

static const char tag[] = "supervisor";

static enum weft__plan_status status_of(const struct weft__supervisor *supervisor, uint32_t child) {
    return (enum weft__plan_status)supervisor->steps[child].status;
}

static weft_pid pid_of(const struct weft_ctx *ctx, uint64_t target) {
    return (weft_pid){
        .node = ctx->runner->node, .slot = (uint32_t)(target >> 32), .gen = (uint32_t)target};
}

/* ---- records ------------------------------------------------------------------------------- */

/* Doubles an array. */
static int grow(struct weft__supervisor *supervisor, void **array, uint32_t *capacity,
                size_t size) {
    uint32_t wanted = *capacity == 0 ? 4 : *capacity * 2;
    if (wanted < *capacity) {
        return -ENOMEM;
    }
    int result = weft__grow(supervisor->core, array, *capacity * size, wanted * size, tag);
    if (result == 0) {
        *capacity = wanted;
    }
    return result;
}

/* Both arrays have a record at this index. */
static int reserve_record(struct weft__supervisor *supervisor, uint32_t index) {
    int result = 0;
    if (index >= supervisor->capacity) {
        void *children = supervisor->children;
        result = grow(supervisor, &children, &supervisor->capacity, sizeof(struct weft__child));
        supervisor->children = children;
    }
    if (result == 0 && index >= supervisor->steps_capacity) {
        void *steps = supervisor->steps;
        result =
            grow(supervisor, &steps, &supervisor->steps_capacity, sizeof(struct weft__plan_child));
        supervisor->steps = steps;
        supervisor->plan.children = steps;
    }
    return result;
}

int weft__children_init(struct weft__supervisor *supervisor) {
    supervisor->used = WEFT__PLAN_FIRST;
    return reserve_record(supervisor, WEFT__PLAN_FIRST);
}

void weft__children_fini(struct weft__supervisor *supervisor) {
    /* After an end in order there are none any more. */
    for (uint32_t i = WEFT__PLAN_FIRST; i < supervisor->used && supervisor->plan.total != 0; i++) {
        weft_buf_unref(supervisor->children[i].buf); /* of free ones it is NULL */
    }
    weft__free(supervisor->core, supervisor->children,
               supervisor->capacity * sizeof(*supervisor->children), tag);
    weft__free(supervisor->core, supervisor->steps,
               supervisor->steps_capacity * sizeof(*supervisor->steps), tag);
    weft__map_fini(&supervisor->pids, supervisor->core);
    weft__map_fini(&supervisor->ids, supervisor->core);
}

/* Whatever can fail about a new record: afterwards there is one, and room for its id. */
static int reserve_child(struct weft__supervisor *supervisor) {
    int result = supervisor->free != 0 ? 0 : reserve_record(supervisor, supervisor->used);
    if (result == 0 && !weft__supervisor_is_simple(supervisor)) {
        result = weft__map_reserve(&supervisor->ids, supervisor->core);
    }
    return result;
}

int weft__child_create(struct weft__supervisor *supervisor, const struct weft__spec *spec,
                       weft_buf *buf, uint32_t *ret_child) {
    int result = reserve_child(supervisor);
    if (result != 0) {
        weft_buf_unref(buf);
        return result;
    }
    uint32_t child = supervisor->free;
    if (child != 0) {
        supervisor->free = supervisor->children[child].next_same;
    } else {
        child = supervisor->used++;
    }
    struct weft__child *record = &supervisor->children[child];
    *record = (struct weft__child){.spec = spec, .buf = buf};
    if (!weft__supervisor_is_simple(supervisor)) {
        uint64_t *same = weft__map_find(&supervisor->ids, spec->id_hash);
        record->next_same = same == NULL ? 0 : (uint32_t)*same;
        weft__map_put(&supervisor->ids, spec->id_hash, child);
    }
    supervisor->supervisors += spec->def != 0 ? 1U : 0U;
    weft__plan_add(&supervisor->plan, child, spec->restart, spec->significant);
    *ret_child = child;
    return 0;
}

/* Takes a child out of the chain of its id's hash. */
static void unlist(struct weft__supervisor *supervisor, uint32_t child) {
    const struct weft__child *record = &supervisor->children[child];
    uint64_t hash = record->spec->id_hash;
    uint64_t *first = weft__map_find(&supervisor->ids, hash);
    weft_assert(first != NULL);
    if (*first != child) {
        uint32_t at = (uint32_t)*first;
        while (supervisor->children[at].next_same != child) { /* bounded by equal hashes */
            at = supervisor->children[at].next_same;
        }
        supervisor->children[at].next_same = record->next_same;
    } else if (record->next_same != 0) {
        *first = record->next_same;
    } else {
        (void)weft__map_remove(&supervisor->ids, supervisor->core, hash, NULL);
    }
}

/* The child asked for last by its number may go, or one before it. */
static void move_which(struct weft__supervisor *supervisor, uint32_t child) {
    const struct weft__plan_child *steps = supervisor->steps;
    if (supervisor->which_child == 0 || steps[child].order > steps[supervisor->which_child].order) {
        return;
    }
    if (supervisor->which_child == child) {
        supervisor->which_child = steps[child].next; /* takes its number; 0: begin anew */
    } else {
        supervisor->which_index--;
    }
}

/* A child is not found by this pid any more. */
static void unname(struct weft__supervisor *supervisor, uint64_t *target) {
    if (*target != 0) {
        (void)weft__map_remove(&supervisor->pids, supervisor->core, *target, NULL);
        *target = 0;
    }
}

void weft__child_forget(struct weft__supervisor *supervisor, uint32_t child) {
    struct weft__child *record = &supervisor->children[child];
    move_which(supervisor, child);
    unname(supervisor, &record->before);
    unname(supervisor, &record->target);
    if (!weft__supervisor_is_simple(supervisor)) {
        unlist(supervisor, child);
    }
    supervisor->supervisors -= record->spec->def != 0 ? 1U : 0U;
    weft_buf_unref(record->buf);
    *record = (struct weft__child){.next_same = supervisor->free};
    supervisor->free = child;
    if (supervisor->request_child == child) {
        supervisor->request_child = 0;
    }
}

/* ---- finding ------------------------------------------------------------------------------- */

uint32_t weft__child_by_pid(const struct weft__supervisor *supervisor, uint64_t target) {
    const uint64_t *found = target == 0 ? NULL : weft__map_find(&supervisor->pids, target);
    return found == NULL ? 0 : (uint32_t)*found;
}

uint32_t weft__child_who(const struct weft__supervisor *supervisor, uint64_t target) {
    uint32_t child = weft__child_by_pid(supervisor, target);
    return child != 0 && supervisor->children[child].target == target ? child : 0;
}

const struct weft__book *weft__child_book(const struct weft__supervisor *supervisor,
                                          uint32_t child) {
    const struct weft__child *record = &supervisor->children[child];
    bool own = record->buf != NULL && !weft__supervisor_is_simple(supervisor);
    return weft__book_of(own ? record->buf : supervisor->buf);
}

const char *weft__child_id(const struct weft__supervisor *supervisor, uint32_t child) {
    uint64_t at = supervisor->children[child].spec->id_at;
    return at == 0 ? "" : weft__book_at(weft__child_book(supervisor, child), at);
}

uint32_t weft__child_by_id(const struct weft__supervisor *supervisor, const char *id) {
    const uint64_t *first =
        weft__map_find(&supervisor->ids, weft__book_hash(supervisor->core, id, strlen(id)));
    uint32_t child = first == NULL ? 0 : (uint32_t)*first;
    while (child != 0 && strcmp(weft__child_id(supervisor, child), id) != 0) {
        child = supervisor->children[child].next_same; /* bounded by equal hashes */
    }
    return child;
}

/* ---- log ----------------------------------------------------------------------------------- */

void weft__child_log(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                     uint32_t child, const char *event, int code) {
    struct weft__core *core = supervisor->core;
    if (weft_likely(core->log.cb == NULL)) {
        return;
    }
    bool again = strcmp(event, "supervisor.restart") == 0;
    enum weft_log_level level = again ? WEFT_LOG_INFO : WEFT_LOG_WARN;
    if ((uint32_t)level > core->log_level ||
        weft__phase(ctx->runner->runtime) >= WEFT__RUNTIME_STOPPING) {
        return;
    }
    char own[WEFT_PID_TEXT_BYTES] = "";
    char pid[WEFT_PID_TEXT_BYTES] = "";
    uint64_t target = supervisor->children[child].target;
    (void)weft_pid_format(weft_self(ctx), own, sizeof(own)); /* fits */
    if (target != 0) {
        (void)weft_pid_format(pid_of(ctx, target), pid, sizeof(pid)); /* fits */
    }
    weft_log_field fields[] = {
        {.key = "supervisor", .kind = WEFT_LOG_TEXT, .text = own},
        {.key = "child", .kind = WEFT_LOG_TEXT, .text = weft__child_id(supervisor, child)},
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = pid},
        {.key = "reason", .kind = WEFT_LOG_I64, .i64 = code},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(code)},
    };
    weft__log(core, level, event, fields, again ? 3 : 5);
}

/* ---- starting ------------------------------------------------------------------------------ */

/* A child has not started; code 0: it does not want to. */
static void not_started(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child,
                        int code) {
    struct weft__child *record = &supervisor->children[child];
    bool forget;
    if (record->before != 0) {
        unname(supervisor, &record->target);
        record->target = record->before;
        record->before = 0;
    }
    if (code == 0) {
        forget = weft__plan_ignored(&supervisor->plan, child);
    } else {
        weft__child_log(ctx, supervisor, child, "supervisor.start_failed", code);
        if (supervisor->plan.purpose == WEFT__PLAN_BEGIN && supervisor->text[0] == '\0') {
            (void)snprintf(supervisor->text, sizeof(supervisor->text),
                           "failed to start child %s: %s", weft__child_id(supervisor, child),
                           weft_strerror(code)); /* cut if it is too long */
        }
        if (supervisor->request != NULL && supervisor->request_child == child) {
            supervisor->request_status = code > 0 ? -EINVAL : code; /* as of weft_exit */
        }
        forget = weft__plan_failed(&supervisor->plan, child);
    }
    if (forget) {
        weft__child_forget(supervisor, child);
    }
}

/* The argument for init or start. */
static const void *arg_of(const struct weft__supervisor *supervisor, uint32_t child,
                          size_t *ret_size) {
    const struct weft__child *record = &supervisor->children[child];
    if (record->has_arg) {
        *ret_size = record->buf == NULL ? 0 : weft_buf_size(record->buf);
        return record->buf == NULL ? NULL : weft_buf_data(record->buf);
    }
    *ret_size = record->spec->arg_size;
    return *ret_size == 0
               ? NULL
               : weft__book_at(weft__child_book(supervisor, child), record->spec->arg_at);
}

/* By the program's function: its pid is linked and counts as started. None: it does not want to. */
static int start_by_function(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                             uint32_t child, weft_pid *ret_pid) {
    const struct weft__spec *spec = supervisor->children[child].spec;
    size_t size;
    const void *arg = arg_of(supervisor, child, &size);
    int result = spec->start(ctx, arg, size, spec->cookie, ret_pid);
    if (result < 0 || weft_pid_is_none(*ret_pid)) {
        return result < 0 ? result : 0;
    }
    if (ret_pid->node != ctx->runner->node || weft_pid_equal(*ret_pid, weft_self(ctx))) {
        return -EINVAL;
    }
    if (weft__child_by_pid(supervisor, weft__target(*ret_pid)) != 0) {
        return -EEXIST;
    }
    result = weft_link(ctx, *ret_pid); /* nothing if it is linked; one that is gone is heard of */
    if (result != 0) {
        (void)weft_kill(ctx, *ret_pid); /* best effort: there is no memory */
    }
    return result;
}

static int spawn(struct weft_ctx *ctx, const struct weft__supervisor *supervisor, uint32_t child,
                 weft_pid *ret_pid) {
    const struct weft__child *record = &supervisor->children[child];
    const struct weft__spec *spec = record->spec;
    if (spec->start != NULL) {
        return start_by_function(ctx, supervisor, child, ret_pid);
    }
    if (spec->def != 0) {
        bool own = record->buf != NULL && !weft__supervisor_is_simple(supervisor);
        struct weft__supervisor_birth birth = {
            .buf = own ? record->buf : supervisor->buf, .def = spec->def - 1, .report = true};
        return weft__supervisor_spawn(ctx, ctx->runner->runtime, &birth, ret_pid);
    }
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .scheduler = spec->scheduler,
                                  .pin = spec->pin,
                                  .flags = WEFT_SPAWN_LINK | WEFT_SPAWN_REPORT};
    options.arg = arg_of(supervisor, child, &options.arg_size);
    return weft_spawn_with(ctx, spec->type, &options, ret_pid);
}

/* A temporary child has been started: its argument will not be needed again. */
static void drop_arg(const struct weft__supervisor *supervisor, struct weft__child *record) {
    if (weft__supervisor_is_simple(supervisor)) {
        weft_buf_unref(record->buf);
        record->buf = NULL;
        return;
    }
    weft__book_trim(supervisor->core, &record->buf);
    record->spec = weft__book_spec(weft__book_of(record->buf), 0);
}

void weft__child_start(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child) {
    weft_pid pid = weft_pid_none();
    int result = weft__map_reserve(&supervisor->pids, supervisor->core);
    if (result == 0) {
        result = spawn(ctx, supervisor, child, &pid);
    }
    if (weft_unlikely(result != 0) && weft__phase(ctx->runner->runtime) >= WEFT__RUNTIME_STOPPING) {
        weft__supervisor_end(supervisor, WEFT_E_SHUTDOWN); /* nothing can be started any more */
    }
    if (weft_unlikely(result != 0 || weft_pid_is_none(pid))) {
        not_started(ctx, supervisor, child, result);
        return;
    }
    struct weft__child *record = &supervisor->children[child];
    record->before = record->target;
    record->target = weft__target(pid);
    weft__map_put(&supervisor->pids, record->target, child);
    if (record->buf != NULL && record->spec->restart == WEFT_RESTART_TEMPORARY) {
        drop_arg(supervisor, record);
    }
    if (record->spec->start != NULL) {
        weft__child_up(supervisor, child);
    }
}

void weft__child_up(struct weft__supervisor *supervisor, uint32_t child) {
    unname(supervisor, &supervisor->children[child].before);
    weft__plan_up(&supervisor->plan, child);
}

/* ---- stopping ------------------------------------------------------------------------------ */

/* A child that cannot be stopped for lack of memory: the supervisor ends, and its links with it. */
static void give_up(struct weft_ctx *ctx) {
    weft_exit(ctx, -ENOMEM);
}

void weft__child_kill(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child) {
    int result = weft_kill(ctx, pid_of(ctx, supervisor->children[child].target));
    if (result != 0 && result != WEFT_E_NOPROC) { /* who is gone is heard of */
        give_up(ctx);
    }
}

/* Will its end be heard of? It may have given its link up, so it is monitored as well. */
static bool will_be_heard(struct weft_ctx *ctx, uint64_t target) {
    if (weft_likely(weft_monitor(ctx, pid_of(ctx, target), 0, NULL) == 0)) {
        return true;
    }
    const struct weft__bonds *bonds = weft__bonds_had(ctx);
    const uint64_t *link = bonds == NULL ? NULL : weft__map_find(&bonds->links, target);
    return link != NULL && *link >> 32 == 0; /* K1: active */
}

void weft__child_deadline(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                          uint64_t delay_ns) {
    if (delay_ns == WEFT_SHUTDOWN_FOREVER || delay_ns == WEFT_SHUTDOWN_KILL) {
        return;
    }
    supervisor->timer_token++;
    if (weft_timer_start(ctx, delay_ns, 0, supervisor->timer_token, &supervisor->timer) != 0) {
        supervisor->timer = 0;
        weft__child_late(ctx, supervisor); /* rather now than never */
    }
}

void weft__child_late(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    struct weft__plan *plan = &supervisor->plan;
    if (plan->busy != 0 && status_of(supervisor, plan->busy) == WEFT__PLAN_STOPPING) {
        weft__child_kill(ctx, supervisor, plan->busy);
    } else if (plan->told != 0) {
        weft__plan_kill(plan);
    }
}

void weft__child_stop(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child) {
    const struct weft__child *record = &supervisor->children[child];
    uint64_t shutdown_ns = record->spec->shutdown_ns;
    if (!will_be_heard(ctx, record->target)) {
        give_up(ctx);
        return;
    }
    if (shutdown_ns == WEFT_SHUTDOWN_KILL ||
        weft_stop(ctx, pid_of(ctx, record->target), WEFT_E_SHUTDOWN) == -ENOMEM) {
        weft__child_kill(ctx, supervisor, child);
        return;
    }
    if (supervisor->plan.busy == child) {
        weft__child_deadline(ctx, supervisor, shutdown_ns);
    }
}

/* A child that was told to end has; is that how it should have ended? */
static void check_stopped(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                          uint32_t child, int code) {
    const struct weft__spec *spec = supervisor->children[child].spec;
    bool right = code == WEFT_E_SHUTDOWN || code == 0 || code == WEFT_E_NOPROC ||
                 (code == WEFT_E_KILLED && spec->shutdown_ns == WEFT_SHUTDOWN_KILL);
    if (!right) {
        weft__child_log(ctx, supervisor, child, "supervisor.stop_failed", code);
    }
}

void weft__child_gone(struct weft_ctx *ctx, struct weft__supervisor *supervisor, uint32_t child,
                      int code) {
    const struct weft__spec *spec = supervisor->children[child].spec;
    bool in_order = code == 0 || code == WEFT_E_SHUTDOWN;
    switch (status_of(supervisor, child)) {
    case WEFT__PLAN_STARTING:
        not_started(ctx, supervisor, child, code);
        return;
    case WEFT__PLAN_STOPPING:
        if (supervisor->timer != 0 && supervisor->plan.busy == child) {
            (void)weft_timer_cancel(ctx, supervisor->timer); /* if it fired, its token is old */
            supervisor->timer = 0;
        }
        check_stopped(ctx, supervisor, child, code);
        break;
    case WEFT__PLAN_RUNNING:
        if (!in_order || spec->restart == WEFT_RESTART_PERMANENT) {
            weft__child_log(ctx, supervisor, child, "supervisor.child_failed", code);
        }
        break;
    default:
        return; /* its end is known: the monitor's message, or the link's */
    }
    if (weft__plan_exited(&supervisor->plan, child, in_order)) {
        weft__child_forget(supervisor, child);
    }
}
