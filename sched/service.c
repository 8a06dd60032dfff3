/* SPDX-License-Identifier: MIT
 *
 * Services: see weft/service.h. A service is a type whose receive is the dispatcher here; its
 * operations hang off the type (struct weft__type_extra), const once it is registered. What is
 * looked up is found in one or two steps: two hash tables, at most half full, with sizes and
 * function in the entry.
 *
 * The idle time costs no timer per message: a message only ends the waiting (a bit in life), a new
 * one moves the time, and the timer that was armed for an earlier time looks when it fires how much
 * is left.
 */
#include "sched/actor.h"

#include "core/config.h"

#include <weft/service.h>

enum {
    IDLE_TAG = 0x49444c45,
    IDLE_AGAIN_NS =
        1000000, /* messages that wait go first; if none was for the actor: this later */
    TABLE_MIN = 4,
};

/* One operation. A payload fits when its size less size_min is at most size_span. */
struct operation {
    uint32_t tag;
    uint32_t size_min;
    uint32_t size_span;
    const char *name;
    union {
        weft_service_call_fn call; /* NULL: no entry */
        weft_service_cast_fn cast;
    } fn;
};
_Static_assert(sizeof(weft_service_call_fn) == sizeof(weft_service_cast_fn), "either is NULL");

/* The calls, or the casts. */
struct table {
    struct operation *entries;
    uint32_t mask;
    uint32_t shift; /* the hash is the upper bits of a product */
};

struct service {
    struct table calls;
    struct table casts;
    weft_receive_fn other;
    weft_receive_fn idle;
    size_t bytes; /* of this and its entries, one allocation */
};

/* ---- dispatch ------------------------------------------------------------------------------ */

WEFT_INLINE uint32_t first_place(const struct table *table, uint32_t tag) {
    return (tag * UINT32_C(0x9e3779b1)) >> table->shift;
}

/* NULL: none. Bounded by the entries in a row, of a table at most half full. */
WEFT_INLINE const struct operation *find(const struct table *table, uint32_t tag) {
    uint32_t at = first_place(table, tag);
    while (weft_unlikely(table->entries[at].tag != tag)) {
        if (table->entries[at].fn.call == NULL) {
            return NULL;
        }
        at = (at + 1) & table->mask;
    }
    return table->entries[at].fn.call == NULL ? NULL : &table->entries[at];
}

WEFT_INLINE bool fits(const struct operation *operation, const weft_msg *msg) {
    return msg->weft__size - operation->size_min <= operation->size_span;
}

static const struct service *service_of(const struct weft_ctx *ctx);

static WEFT_COLD void log_refused(struct weft_ctx *ctx, const struct operation *operation,
                                  const weft_msg *msg, int status) {
    struct weft__core *core = ctx->runner->core;
    if (core->log_level < WEFT_LOG_DEBUG) {
        return; /* before anything is formatted: anybody can make these */
    }
    char pid[WEFT_PID_TEXT_BYTES] = "";
    (void)weft_pid_format(weft_self(ctx), pid, sizeof(pid)); /* fits */
    const char *name = operation != NULL && operation->name != NULL ? operation->name : "";
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = ctx->type->name},
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = pid},
        {.key = "tag", .kind = WEFT_LOG_U64, .u64 = msg->weft__tag},
        {.key = "operation", .kind = WEFT_LOG_TEXT, .text = name},
        {.key = "size", .kind = WEFT_LOG_U64, .u64 = msg->weft__size},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(status)},
    };
    weft__log(core, WEFT_LOG_DEBUG, "service.refused", fields, 6);
}

/* A message no operation takes: its caller is told, or it is a dead letter. */
static WEFT_COLD int refuse(struct weft_ctx *ctx, const struct operation *operation,
                            weft_msg *msg) {
    struct weft__scheduler *s = ctx->runner;
    int status = operation == NULL ? -ENOSYS : -EBADMSG;
    log_refused(ctx, operation, msg, status);
    if (weft__is_request(msg)) {
        (void)weft_reply_error(ctx, &msg, status); /* a caller that is gone is counted there */
        return WEFT_CONTINUE;
    }
    /* It has been counted as handled on its way here, and counts as dead. */
    weft_counter_add(&s->counters.messages_handled, UINT64_MAX);
    weft__msg_own(s, ctx, msg);
    weft__dead_letter(s->runtime, s, msg, status);
    return WEFT_CONTINUE;
}

static int idle_fired(struct weft_ctx *ctx, void *state, weft_msg *msg);

/* Is it the timer of the idle time? No token of a program's is the address of its record. */
WEFT_INLINE bool is_idle_timer(const struct weft_ctx *ctx, const weft_msg *msg) {
    return msg->weft__tag == IDLE_TAG && weft_msg_token(msg) == (uintptr_t)&ctx->ext->idle;
}

static WEFT_NOINLINE int dispatch_other(struct weft_ctx *ctx, void *state, weft_msg *msg) {
    const struct service *service = service_of(ctx);
    if (msg->weft__kind == WEFT_MSG_TIMER && is_idle_timer(ctx, msg)) {
        return idle_fired(ctx, state, msg);
    }
    ctx->life &= ~(uint32_t)WEFT__LIFE_IDLE;
    return service->other != NULL ? service->other(ctx, state, msg) : WEFT_CONTINUE;
}

/* The receive function of all services. */
static int dispatch(weft_ctx *ctx, void *state, weft_msg *msg) {
    const struct service *service = ctx->type->extra.data;
    if (weft_likely(msg->weft__kind <= WEFT_MSG_REQUEST)) {
        bool call = msg->weft__kind == WEFT_MSG_REQUEST;
        const struct operation *operation =
            find(call ? &service->calls : &service->casts, msg->weft__tag);
        if (weft_unlikely((ctx->life & WEFT__LIFE_IDLE) != 0)) {
            ctx->life &= ~(uint32_t)WEFT__LIFE_IDLE;
        }
        if (weft_unlikely(operation == NULL || !fits(operation, msg))) {
            return refuse(ctx, operation, msg);
        }
        return call ? operation->fn.call(ctx, state, msg) : operation->fn.cast(ctx, state, msg);
    }
    return dispatch_other(ctx, state, msg);
}
_Static_assert((int)WEFT_MSG_USER == 0 && (int)WEFT_MSG_REQUEST == 1, "all others are above");

static const struct service *service_of(const struct weft_ctx *ctx) {
    return ctx->type->extra.receive == dispatch ? ctx->type->extra.data : NULL;
}

/* ---- the idle time ------------------------------------------------------------------------- */

static int arm(struct weft_ctx *ctx, uint64_t delay_ns) {
    struct weft__idle_wait *idle = &ctx->ext->idle;
    int result = weft_timer_start(ctx, delay_ns, IDLE_TAG, (uintptr_t)idle, &idle->timer);
    if (result != 0) {
        idle->timer = 0;
        ctx->life &= ~(uint32_t)WEFT__LIFE_IDLE;
        return result;
    }
    /* weft_timer_start has read the clock. */
    idle->due_ns = weft_add_saturated(ctx->runner->now_ns, delay_ns);
    return 0;
}

/* Has a message come that was not handled yet? */
static bool has_mail(struct weft_ctx *ctx) {
    return ctx->batch != 0 || weft__mailbox_newest(&ctx->mailbox, ctx->anchor) != 0;
}

static int idle_fired(struct weft_ctx *ctx, void *state, weft_msg *msg) {
    struct weft__idle_wait *idle = &ctx->ext->idle;
    uint64_t now_ns = ctx->runner->now_ns; /* of the timer's arrival */
    idle->timer = 0;
    if ((ctx->life & WEFT__LIFE_IDLE) == 0) {
        return WEFT_CONTINUE;
    }
    bool early = now_ns < idle->until_ns;
    if (early || has_mail(ctx)) {
        /* As with a repeating timer: one that silently stops would be worse than an end. */
        int result = arm(ctx, early ? idle->until_ns - now_ns : IDLE_AGAIN_NS);
        return result == 0 ? WEFT_CONTINUE : -ENOMEM;
    }
    ctx->life &= ~(uint32_t)WEFT__LIFE_IDLE;
    msg->weft__tag = 0;
    msg->weft__u.weft__r.weft__ref = 0;
    return service_of(ctx)->idle(ctx, state, msg);
}

int weft_service_idle(weft_ctx *ctx, uint64_t timeout_ns) {
    struct weft__scheduler *s = ctx->runner;
    const struct service *service = service_of(ctx);
    if (service == NULL || service->idle == NULL) {
        return -EINVAL;
    }
    ctx->life &= ~(uint32_t)WEFT__LIFE_IDLE;
    if (timeout_ns == WEFT_FOREVER) {
        return 0; /* the timer, if there is one, will find nothing to do */
    }
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    struct weft__idle_wait *idle = &ext->idle;
    idle->until_ns = weft__due_ns(s, timeout_ns);
    ctx->life |= WEFT__LIFE_IDLE;
    if (idle->timer != 0 && idle->due_ns <= idle->until_ns) {
        return 0;
    }
    if (idle->timer != 0) {
        (void)weft_timer_cancel(ctx, idle->timer); /* fired already: its signal matches nothing */
    }
    return arm(ctx, timeout_ns);
}

/* ---- registration -------------------------------------------------------------------------- */

static int check_operation(const weft_operation *operation) {
    if ((operation->call == NULL) == (operation->cast == NULL)) {
        return -EINVAL;
    }
    if (operation->size_min > UINT32_MAX ||
        (operation->size_max != 0 && operation->size_max < operation->size_min)) {
        return -EINVAL;
    }
    return 0;
}

/* Entries of a table for so many operations. */
static uint32_t table_size(uint32_t count) {
    uint32_t size = TABLE_MIN;
    while (size < 2 * count) { /* bounded by WEFT_OPERATIONS_MAX */
        size *= 2;
    }
    return size;
}

static void table_init(struct table *table, struct operation *entries, uint32_t size) {
    table->entries = entries;
    table->mask = size - 1;
    table->shift = (uint32_t)__builtin_clz(size) + 1; /* 32 less the bits of an index */
}

static int table_add(struct table *table, const weft_operation *operation) {
    uint32_t at = first_place(table, operation->tag);
    while (table->entries[at].fn.call != NULL) { /* bounded: half of them stay free */
        if (table->entries[at].tag == operation->tag) {
            return -EINVAL;
        }
        at = (at + 1) & table->mask;
    }
    size_t size_max = operation->size_max == 0 || operation->size_max > UINT32_MAX
                          ? UINT32_MAX
                          : operation->size_max;
    struct operation *entry = &table->entries[at];
    entry->tag = operation->tag;
    entry->size_min = (uint32_t)operation->size_min;
    entry->size_span = (uint32_t)(size_max - operation->size_min);
    entry->name = operation->name;
    if (operation->call != NULL) {
        entry->fn.call = operation->call;
    } else {
        entry->fn.cast = operation->cast;
    }
    return 0;
}

static void service_destroy(struct weft__core *core, void *data) {
    struct service *service = data;
    weft__free(core, service, service->bytes, "service");
}

static int service_create(struct weft__core *core, const weft_service_def *def,
                          struct service **ret_service) {
    uint32_t calls = 0;
    for (uint32_t i = 0; i < def->operation_count; i++) {
        int result = check_operation(&def->operations[i]);
        if (result != 0) {
            return result;
        }
        calls += def->operations[i].call != NULL ? 1 : 0;
    }
    uint32_t call_size = table_size(calls);
    uint32_t cast_size = table_size(def->operation_count - calls);
    size_t bytes =
        sizeof(struct service) + (size_t)(call_size + cast_size) * sizeof(struct operation);
    struct service *service = weft__alloc(core, bytes, "service");
    if (service == NULL) {
        return -ENOMEM;
    }
    service->bytes = bytes;
    service->other = def->other;
    service->idle = def->idle;
    struct operation *entries = (struct operation *)(void *)(service + 1);
    table_init(&service->calls, entries, call_size);
    table_init(&service->casts, entries + call_size, cast_size);
    for (uint32_t i = 0; i < def->operation_count; i++) {
        const weft_operation *operation = &def->operations[i];
        int result =
            table_add(operation->call != NULL ? &service->calls : &service->casts, operation);
        if (result != 0) {
            service_destroy(core, service);
            return result;
        }
    }
    *ret_service = service;
    return 0;
}

/* A definition of any version as one of this version, checked. */
static int copy_def(const weft_service_def *source, weft_service_def *ret_def) {
    static const weft__struct_rule rule = {
        .known = sizeof(weft_service_def),
        .first = offsetof(weft_service_def, idle) + sizeof(weft_receive_fn), /* does not change */
    };
    if (source == NULL) {
        return -EINVAL;
    }
    int result = weft__struct_copy(&rule, source, ret_def);
    if (result < 0) {
        return result;
    }
    if (ret_def->type == NULL || ret_def->operation_count > WEFT_OPERATIONS_MAX ||
        (ret_def->operations == NULL && ret_def->operation_count != 0)) {
        return -EINVAL;
    }
    return 0;
}

int weft_service_register(weft_runtime *runtime, const weft_service_def *def,
                          const weft_type **ret_type) {
    weft_service_def copy;
    int result = runtime == NULL || ret_type == NULL ? -EINVAL : copy_def(def, &copy);
    if (result != 0) {
        return result;
    }
    struct service *service;
    result = service_create(&runtime->core, &copy, &service);
    if (result != 0) {
        return result;
    }
    struct weft__type_extra extra = {
        .receive = dispatch, .data = service, .destroy = service_destroy};
    result = weft__type_register(runtime, copy.type, &extra, ret_type);
    if (result != 0) {
        service_destroy(&runtime->core, service);
    }
    return result;
}
