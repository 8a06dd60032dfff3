/* SPDX-License-Identifier: MIT
 *
 * What others ask of a supervisor: the three ways of asking, the form a request and its answer have
 * on their way, and how requests are served. See weft/supervisor.h.
 *
 * A request has addresses in it (types, functions), so it is for this process only, and says so by
 * a number that others do not know. It is served when the supervisor is idle and everything that
 * came before it is done; until then it waits in a ring, with its message taken.
 */
#include "core/config.h"
#include "sched/supervisor.h"
#include <weft/process.h>
#include <weft/stats.h>

enum { TAG_REQUEST = 0x77656674, SMALL_BYTES = 512, QUEUE_MIN = 8 };

#define REQUEST_MAGIC UINT64_C(0x7765667472657175)
#define ANSWER_MAGIC  UINT64_C(0x77656674616e7377)

static const char tag[] = "supervisor";

enum form {
    FORM_NOTHING = 0,
    FORM_ARG = 1,  /* the body is an argument */
    FORM_BOOK = 2, /* the body is a book of one child */
};

/* A request on its way: this and its body. */
struct wire {
    alignas(16) uint64_t magic;
    uint32_t verb;
    uint32_t index;
    weft_pid pid;
    uint32_t form;
    uint32_t size;                  /* of the body */
    char id[WEFT_CHILD_ID_MAX + 1]; /* empty: none */
};
_Static_assert(sizeof(struct wire) % 16 == 0, "the body is aligned");

struct wire_answer {
    uint64_t magic;
    int64_t status;
    weft_supervisor_answer answer;
};

/* ---- making a request ---------------------------------------------------------------------- */

/* A request as bytes, here or on the heap. */
struct packed {
    weft_runtime *runtime;
    unsigned char *data;
    size_t size;
    alignas(16) unsigned char small[SMALL_BYTES];
};

static void packed_fini(struct packed *packed) {
    if (packed->data != packed->small) {
        weft__free(&packed->runtime->core, packed->data, packed->size, tag);
    }
}

static int pack(struct packed *packed, struct wire *wire, const void *body, size_t size) {
    if (size > UINT32_MAX / 2) {
        return -E2BIG;
    }
    wire->magic = REQUEST_MAGIC ^ packed->runtime->core.seed;
    wire->size = (uint32_t)size;
    packed->size = sizeof(*wire) + size;
    packed->data = packed->small;
    if (packed->size > SMALL_BYTES) {
        packed->data = weft__alloc(&packed->runtime->core, packed->size, tag);
        if (packed->data == NULL) {
            return -ENOMEM;
        }
    }
    memcpy(packed->data, wire, sizeof(*wire));
    if (size != 0) {
        memcpy(packed->data + sizeof(*wire), body, size);
    }
    return 0;
}

/* The child of a START. Without an id it can only be one of a simple_one_for_one. */
static int pack_spec(struct packed *packed, struct wire *wire, const weft_child_spec *spec) {
    static const weft__struct_rule rule = {.known = sizeof(weft_child_spec),
                                           .first = sizeof(weft_child_spec)};
    weft_child_spec copy;
    weft_buf *book;
    int result = weft__struct_copy(&rule, spec, &copy);
    if (result != 0) {
        return result;
    }
    if (copy.id == NULL) {
        wire->form = FORM_ARG;
        return copy.arg == NULL && copy.arg_size != 0 ? -EINVAL
                                                      : pack(packed, wire, copy.arg, copy.arg_size);
    }
    result = weft__book_make_child(packed->runtime, &copy, &book);
    if (result == 0) {
        wire->form = FORM_BOOK;
        result = pack(packed, wire, weft_buf_data(book), weft_buf_size(book));
        weft_buf_unref(book);
    }
    return result;
}

static bool is_named_right(const weft_supervisor_request *request) {
    bool named = request->id != NULL;
    if (named &&
        (request->id[0] == '\0' || memchr(request->id, '\0', WEFT_CHILD_ID_MAX + 1) == NULL)) {
        return false;
    }
    switch (request->verb) {
    case WEFT_SUPERVISOR_START:
    case WEFT_SUPERVISOR_COUNT:
    case WEFT_SUPERVISOR_WHICH:
        return true;
    case WEFT_SUPERVISOR_TERMINATE:
        return named || !weft_pid_is_none(request->pid);
    case WEFT_SUPERVISOR_RESTART:
    case WEFT_SUPERVISOR_DELETE:
        return named;
    default:
        return false;
    }
}

/* 0: to be given to packed_fini. */
static int pack_request(weft_runtime *runtime, const weft_supervisor_request *request,
                        struct packed *packed) {
    static const weft__struct_rule rule = {.known = sizeof(weft_supervisor_request),
                                           .first = sizeof(weft_supervisor_request)};
    weft_supervisor_request copy;
    int result = request == NULL ? -EINVAL : weft__struct_copy(&rule, request, &copy);
    if (result == 0 && !is_named_right(&copy)) {
        result = -EINVAL;
    }
    if (result != 0) {
        return result;
    }
    struct wire wire = {.verb = copy.verb, .index = copy.index, .pid = copy.pid};
    if (copy.id != NULL) {
        memcpy(wire.id, copy.id, strlen(copy.id)); /* checked: it fits */
    }
    packed->runtime = runtime;
    return copy.verb == WEFT_SUPERVISOR_START && copy.spec != NULL
               ? pack_spec(packed, &wire, copy.spec)
               : pack(packed, &wire, NULL, 0);
}

/* ---- the three ways of asking -------------------------------------------------------------- */

int weft_supervisor_call(weft_ctx *ctx, weft_pid supervisor, const weft_supervisor_request *request,
                         uint64_t timeout_ns, uint64_t token) {
    struct packed packed;
    int result = pack_request(ctx->runner->runtime, request, &packed);
    if (result == 0) {
        result =
            weft_call(ctx, supervisor, TAG_REQUEST, packed.data, packed.size, timeout_ns, token);
        packed_fini(&packed);
    }
    return result;
}

int weft_supervisor_answer_of(const weft_msg *reply, weft_supervisor_answer *ret_answer) {
    struct wire_answer wire;
    if (reply == NULL || weft_msg_kind(reply) != WEFT_MSG_REPLY) {
        return -EINVAL;
    }
    int result = weft_msg_status(reply);
    if (result != 0) {
        return result;
    }
    if (weft_msg_size(reply) != sizeof(wire)) {
        return -EINVAL;
    }
    memcpy(&wire, weft_msg_data(reply), sizeof(wire));
    if (wire.magic != ANSWER_MAGIC ||
        (ret_answer != NULL && ret_answer->struct_size != sizeof(*ret_answer))) {
        return -EINVAL;
    }
    if (ret_answer != NULL && (wire.status == 0 || wire.status == -EEXIST)) {
        *ret_answer = wire.answer;
    }
    return (int)wire.status;
}

int weft_supervisor_call_wait(weft_ctx *ctx, weft_pid supervisor,
                              const weft_supervisor_request *request, uint64_t timeout_ns,
                              weft_supervisor_answer *ret_answer) {
    struct packed packed;
    weft_msg *reply = NULL;
    int result = pack_request(ctx->runner->runtime, request, &packed);
    if (result == 0) {
        result = weft_call_wait(ctx, supervisor, TAG_REQUEST, packed.data, packed.size, timeout_ns,
                                &reply);
        packed_fini(&packed);
    }
    if (result == 0) {
        result = weft_supervisor_answer_of(reply, ret_answer);
        weft_msg_release(ctx, &reply);
    }
    return result;
}

int weft_runtime_supervisor_call(weft_runtime *runtime, weft_pid supervisor,
                                 const weft_supervisor_request *request, uint64_t timeout_ns,
                                 weft_supervisor_answer *ret_answer) {
    struct packed packed;
    weft_msg *reply = NULL;
    int result = runtime == NULL ? -EINVAL : pack_request(runtime, request, &packed);
    if (result == 0) {
        result = weft_runtime_call(runtime, supervisor, TAG_REQUEST, packed.data, packed.size,
                                   timeout_ns, &reply);
        packed_fini(&packed);
    }
    if (result == 0) {
        result = weft_supervisor_answer_of(reply, ret_answer);
        weft_runtime_msg_release(runtime, &reply);
    }
    return result;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static int queue_grow(struct weft__supervisor *supervisor) {
    uint32_t old = supervisor->queue_capacity;
    uint32_t capacity = old == 0 ? QUEUE_MIN : old * 2;
    struct weft__waiting *queue = weft__alloc(supervisor->core, capacity * sizeof(*queue), tag);
    if (queue == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < supervisor->queue_count; i++) {
        queue[i] = supervisor->queue[(supervisor->queue_first + i) & (old - 1)];
    }
    weft__free(supervisor->core, supervisor->queue, old * sizeof(*queue), tag);
    supervisor->queue = queue;
    supervisor->queue_capacity = capacity;
    supervisor->queue_first = 0;
    return 0;
}

void weft__supervisor_ask(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                          weft_msg *msg) {
    uint32_t bound = ctx->type->bound == 0 ? UINT32_MAX / 2 : ctx->type->bound;
    int result = supervisor->queue_count >= bound ? -EBUSY : 0;
    if (result == 0 && supervisor->queue_count == supervisor->queue_capacity) {
        result = queue_grow(supervisor);
    }
    if (result != 0) {
        (void)weft_reply_error(ctx, &msg, result); /* its caller may be gone */
        return;
    }
    uint32_t at =
        (supervisor->queue_first + supervisor->queue_count++) & (supervisor->queue_capacity - 1);
    supervisor->queue[at] = (struct weft__waiting){.msg = weft_msg_take(ctx, msg),
                                                   .number = weft__plan_number(&supervisor->plan)};
}

/* ---- answering ----------------------------------------------------------------------------- */

static void reply(struct weft_ctx *ctx, weft_msg *request, int status,
                  const weft_supervisor_answer *answer) {
    struct wire_answer wire;
    memset(&wire, 0, sizeof(wire));
    wire.magic = ANSWER_MAGIC;
    wire.status = status;
    if (answer != NULL) {
        wire.answer = *answer;
    }
    wire.answer.struct_size = sizeof(wire.answer);
    (void)weft_reply(ctx, &request, 0, &wire, sizeof(wire)); /* its caller may be gone */
}

static enum weft_child_state state_of(const struct weft__plan_child *step) {
    switch ((enum weft__plan_status)step->status) {
    case WEFT__PLAN_STOPPED:
        return WEFT_CHILD_STOPPED;
    case WEFT__PLAN_RESTARTING:
        return WEFT_CHILD_RESTARTING;
    default:
        return WEFT_CHILD_RUNNING;
    }
}

/* All about a child; 0: about nobody. */
static void describe(const struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                     uint32_t child, weft_supervisor_answer *answer) {
    memset(answer, 0, sizeof(*answer));
    if (child == 0) {
        return;
    }
    const struct weft__child *record = &supervisor->children[child];
    answer->state = state_of(&supervisor->steps[child]);
    if (answer->state == WEFT_CHILD_RUNNING) {
        answer->pid = (weft_pid){.node = ctx->runner->node,
                                 .slot = (uint32_t)(record->target >> 32),
                                 .gen = (uint32_t)record->target};
    }
    memcpy(answer->id, weft__child_id(supervisor, child),
           strlen(weft__child_id(supervisor, child)) + 1);
    answer->restart = record->spec->restart;
    answer->shutdown_ns = record->spec->shutdown_ns;
    answer->is_supervisor = record->spec->def != 0;
    answer->significant = record->spec->significant;
}

static void reply_child(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                        weft_msg *request, int status, uint32_t child) {
    weft_supervisor_answer answer;
    describe(ctx, supervisor, child, &answer);
    reply(ctx, request, status, &answer);
}

void weft__supervisor_answer(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    weft_msg *request = supervisor->request;
    supervisor->request = NULL;
    reply_child(ctx, supervisor, request, supervisor->request_status, supervisor->request_child);
    supervisor->request_child = 0;
}

/* ---- serving ------------------------------------------------------------------------------- */

/* A request that was taken apart. */
struct asked {
    struct wire wire;
    const unsigned char *body;
    weft_msg *msg;
};

/* False: it is none of ours. */
static bool unpack(const struct weft__supervisor *supervisor, weft_msg *msg,
                   struct asked *ret_asked) {
    size_t size = weft_msg_size(msg);
    if (weft_msg_tag(msg) != TAG_REQUEST || size < sizeof(struct wire)) {
        return false;
    }
    ret_asked->msg = msg;
    ret_asked->body = (const unsigned char *)weft_msg_data(msg) + sizeof(struct wire);
    memcpy(&ret_asked->wire, weft_msg_data(msg), sizeof(struct wire));
    return ret_asked->wire.magic == (REQUEST_MAGIC ^ supervisor->core->seed) &&
           ret_asked->wire.size == size - sizeof(struct wire) &&
           memchr(ret_asked->wire.id, '\0', sizeof(ret_asked->wire.id)) != NULL;
}

/* An operation begins, and answers when it is over. */
static void operate(struct weft__supervisor *supervisor, weft_msg *msg, uint32_t child) {
    supervisor->request = msg;
    supervisor->request_child = child;
    supervisor->request_status = 0;
}

/* What is in the way of starting a child that has a specification, or 0. */
static int not_stopped(const struct weft__supervisor *supervisor, uint32_t child, int restarting,
                       int running) {
    switch (state_of(&supervisor->steps[child])) {
    case WEFT_CHILD_STOPPED:
        return 0;
    case WEFT_CHILD_RESTARTING:
        return restarting;
    default:
        return running;
    }
}

/* A copy of bytes of the body. */
static int copy_body(const struct weft__supervisor *supervisor, const void *data, size_t size,
                     weft_buf **ret_buf) {
    int result = weft__buf_create(supervisor->core, size, ret_buf);
    if (result == 0) {
        memcpy(weft_buf_data(*ret_buf), data, size);
    }
    return result;
}

/* The argument a START has for a child of a simple_one_for_one. *ret_buf NULL: an empty one. */
static int take_arg(const struct weft__supervisor *supervisor, const struct asked *asked,
                    weft_buf **ret_buf) {
    weft_buf *book;
    *ret_buf = NULL;
    if (asked->wire.form != FORM_BOOK) {
        return asked->wire.size == 0
                   ? 0
                   : copy_body(supervisor, asked->body, asked->wire.size, ret_buf);
    }
    int result = copy_body(supervisor, asked->body, asked->wire.size, &book);
    if (result != 0) {
        return result;
    }
    const struct weft__spec *spec = weft__book_spec(weft__book_of(book), 0);
    if (spec->arg_size != 0) {
        result = copy_body(supervisor, weft__book_at(weft__book_of(book), spec->arg_at),
                           spec->arg_size, ret_buf);
    }
    weft_buf_unref(book);
    return result;
}

/* START of a simple_one_for_one. Negative: why not. */
static int start_simple(struct weft__supervisor *supervisor, const struct asked *asked,
                        uint32_t *ret_child) {
    const struct weft__spec *spec =
        weft__book_spec(weft__book_of(supervisor->buf), supervisor->def->spec_first);
    weft_buf *arg;
    int result = take_arg(supervisor, asked, &arg);
    if (result == 0 && spec->def != 0 && arg != NULL) {
        weft_buf_unref(arg);
        result = -EINVAL; /* supervisors have no argument */
    }
    if (result == 0) {
        result = weft__child_create(supervisor, spec, arg, ret_child);
    }
    if (result == 0) {
        supervisor->children[*ret_child].has_arg = asked->wire.form != FORM_NOTHING;
    }
    return result;
}

/* START of another. -EEXIST, -EALREADY: *ret_child is the one that has the id. */
static int start_named(struct weft__supervisor *supervisor, const struct asked *asked,
                       uint32_t *ret_child) {
    weft_buf *book;
    if (asked->wire.form != FORM_BOOK) {
        return -EINVAL;
    }
    int result = copy_body(supervisor, asked->body, asked->wire.size, &book);
    if (result != 0) {
        return result;
    }
    const struct weft__spec *spec = weft__book_spec(weft__book_of(book), 0);
    *ret_child = weft__child_by_id(supervisor, weft__book_at(weft__book_of(book), spec->id_at));
    if (spec->significant && supervisor->def->auto_shutdown == WEFT_AUTO_NEVER) {
        result = -EINVAL;
    } else if (*ret_child != 0) {
        result = not_stopped(supervisor, *ret_child, -EALREADY, -EEXIST);
        result = result == 0 ? -EALREADY : result;
    }
    if (result != 0) {
        weft_buf_unref(book);
        return result;
    }
    return weft__child_create(supervisor, spec, book, ret_child);
}

static void serve_start(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                        const struct asked *asked) {
    uint32_t child = 0;
    int result = asked->wire.form == FORM_BOOK &&
                         !weft__book_check(supervisor->core, asked->body, asked->wire.size)
                     ? -EINVAL
                 : weft__supervisor_is_simple(supervisor) ? start_simple(supervisor, asked, &child)
                                                          : start_named(supervisor, asked, &child);
    if (result != 0) {
        reply_child(ctx, supervisor, asked->msg, result, result == -EEXIST ? child : 0);
        return;
    }
    operate(supervisor, asked->msg, child);
    weft__plan_start_one(&supervisor->plan, child, true);
}

/* Does the pid name an actor of this node that lives? */
static bool is_alive(const struct weft_ctx *ctx, weft_pid pid) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    return weft_inspect(ctx->runner->runtime, pid, &info) == 0;
}

static void serve_terminate(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                            const struct asked *asked) {
    bool simple = weft__supervisor_is_simple(supervisor);
    bool named = asked->wire.id[0] != '\0';
    if (simple && named) {
        reply(ctx, asked->msg, -EPERM, NULL);
        return;
    }
    uint32_t child = 0;
    if (named) {
        child = weft__child_by_id(supervisor, asked->wire.id);
    } else if (simple && asked->wire.pid.node == ctx->runner->node) {
        child = weft__child_by_pid(supervisor, weft__target(asked->wire.pid));
    }
    if (child == 0) { /* a child that has ended already is what was wanted */
        reply(ctx, asked->msg,
              simple && asked->wire.pid.node == ctx->runner->node && !is_alive(ctx, asked->wire.pid)
                  ? 0
                  : -ENOENT,
              NULL);
        return;
    }
    operate(supervisor, asked->msg, child);
    weft__plan_stop_one(&supervisor->plan, child);
}

/* RESTART and DELETE. */
static void serve_stopped(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                          const struct asked *asked) {
    bool restart = asked->wire.verb == WEFT_SUPERVISOR_RESTART;
    if (weft__supervisor_is_simple(supervisor)) {
        reply(ctx, asked->msg, -EPERM, NULL);
        return;
    }
    uint32_t child = weft__child_by_id(supervisor, asked->wire.id);
    int result =
        child == 0 ? -ENOENT : not_stopped(supervisor, child, -EAGAIN, restart ? -EEXIST : -EBUSY);
    if (result != 0) {
        reply_child(ctx, supervisor, asked->msg, result, result == -EEXIST ? child : 0);
    } else if (restart) {
        operate(supervisor, asked->msg, child);
        weft__plan_start_one(&supervisor->plan, child, false);
    } else {
        weft__plan_remove(&supervisor->plan, child);
        weft__child_forget(supervisor, child);
        reply(ctx, asked->msg, 0, NULL);
    }
}

static void serve_count(struct weft_ctx *ctx, const struct weft__supervisor *supervisor,
                        weft_msg *msg) {
    const struct weft__plan *plan = &supervisor->plan;
    weft_supervisor_answer answer;
    memset(&answer, 0, sizeof(answer));
    answer.specs = weft__supervisor_is_simple(supervisor) ? 1 : plan->total;
    answer.active = plan->active;
    answer.restarting = plan->restarting;
    answer.supervisors = supervisor->supervisors;
    answer.workers = plan->total - supervisor->supervisors;
    reply(ctx, msg, 0, &answer);
}

/* The child number index: from the one asked for last, or from the beginning, forward; 0: none. */
static uint32_t child_at(struct weft__supervisor *supervisor, uint32_t index) {
    const struct weft__plan_child *steps = supervisor->steps;
    if (index >= supervisor->plan.total) {
        return 0;
    }
    if (supervisor->which_child == 0 || supervisor->which_index > index) {
        supervisor->which_child = steps[0].next;
        supervisor->which_index = 0;
    }
    while (supervisor->which_index < index) { /* bounded by the children */
        supervisor->which_child = steps[supervisor->which_child].next;
        supervisor->which_index++;
    }
    return supervisor->which_child;
}

static void serve_which(struct weft_ctx *ctx, struct weft__supervisor *supervisor,
                        const struct asked *asked) {
    uint32_t child = 0;
    if (asked->wire.id[0] != '\0') {
        if (weft__supervisor_is_simple(supervisor)) {
            reply(ctx, asked->msg, -EPERM, NULL);
            return;
        }
        child = weft__child_by_id(supervisor, asked->wire.id);
    } else if (weft_pid_is_none(asked->wire.pid)) {
        child = child_at(supervisor, asked->wire.index);
    } else if (asked->wire.pid.node == ctx->runner->node) {
        child = weft__child_by_pid(supervisor, weft__target(asked->wire.pid));
        bool stopped = child != 0 && state_of(&supervisor->steps[child]) == WEFT_CHILD_STOPPED;
        child = stopped ? 0 : child; /* it was that once */
    }
    reply_child(ctx, supervisor, asked->msg, child == 0 ? -ENOENT : 0, child);
}

void weft__supervisor_serve(struct weft_ctx *ctx, struct weft__supervisor *supervisor) {
    weft_msg *msg = supervisor->queue[supervisor->queue_first].msg;
    supervisor->queue_first = (supervisor->queue_first + 1) & (supervisor->queue_capacity - 1);
    supervisor->queue_count--;
    struct asked asked;
    if (weft_deadline(msg) <= weft_now_ns(ctx)) {
        weft_msg_release(ctx, &msg); /* nobody waits any more: it is not done behind their back */
        return;
    }
    if (!unpack(supervisor, msg, &asked)) {
        (void)weft_reply_error(ctx, &msg, -EINVAL); /* its caller may be gone */
        return;
    }
    switch (asked.wire.verb) {
    case WEFT_SUPERVISOR_START:
        serve_start(ctx, supervisor, &asked);
        return;
    case WEFT_SUPERVISOR_TERMINATE:
        serve_terminate(ctx, supervisor, &asked);
        return;
    case WEFT_SUPERVISOR_RESTART:
    case WEFT_SUPERVISOR_DELETE:
        serve_stopped(ctx, supervisor, &asked);
        return;
    case WEFT_SUPERVISOR_COUNT:
        serve_count(ctx, supervisor, msg);
        return;
    default:
        serve_which(ctx, supervisor, &asked);
    }
}
