/* SPDX-License-Identifier: MIT
 *
 * What an actor asks about itself, and the registry of types. See weft/actor.h.
 */
#include "sched/actor.h"
#include "sched/process.h"

#include "core/config.h"

#include <string.h>
#include <weft/store.h>

enum { CRASH_MAX_DEFAULT = 10 };

#define CRASH_WINDOW_NS UINT64_C(10000000000)
#define CRASH_PAUSE_NS  UINT64_C(60000000000)

weft_pid weft_self(const weft_ctx *ctx) {
    return (weft_pid){.node = ctx->runner->node, .slot = ctx->index, .gen = ctx->gen};
}

static weft_pid pid_of(const struct weft__scheduler *s, uint64_t from) {
    if (from == 0) {
        return weft_pid_none();
    }
    return (weft_pid){.node = s->node, .slot = (uint32_t)(from >> 32), .gen = (uint32_t)from};
}

weft_pid weft_parent(const weft_ctx *ctx) {
    return pid_of(ctx->runner, weft_load64_relaxed(&ctx->parent));
}

void *weft_state(weft_ctx *ctx) {
    return ctx->state;
}

weft_msg *weft_current(weft_ctx *ctx) {
    weft_msg *msg = ctx->runner->msg;
    if ((ctx->life & WEFT__LIFE_PROCESS) != 0 && (msg == NULL || ctx->ext->process->lent)) {
        msg = ctx->ext->process->current;
    }
    return msg;
}

weft_pid weft_sender(weft_ctx *ctx, const weft_msg *msg) {
    const struct weft__scheduler *s = ctx->runner;
    uint64_t from = msg->weft__kind == WEFT_MSG_IO ? 0 : msg->weft__from; /* an address there */
    const struct weft_ctx *slot = weft__slot_at(s->slots, (uint32_t)(from >> 32));
    if (from != 0 && (weft_load32_relaxed(&slot->traits) & WEFT__TRAIT_PORT) != 0) {
        return weft_pid_none(); /* a thread outside, which only a reply can reach */
    }
    return pid_of(s, from);
}

weft_runtime *weft_runtime_of(weft_ctx *ctx) {
    return ctx->runner->runtime;
}

const weft_type *weft_type_of(weft_ctx *ctx) {
    return ctx->type;
}

uint32_t weft_scheduler_of(weft_ctx *ctx) {
    return ctx->runner->id + 1;
}

uint64_t weft_now_ns(weft_ctx *ctx) {
    struct weft__scheduler *s = ctx->runner;
    if (weft_unlikely((ctx->life & WEFT__LIFE_MOVED) != 0)) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_MOVED;
        s->now_ns = weft__now(s->core);
    }
    weft__refresh_clock(s);
    return s->now_ns;
}

uint64_t weft_random(weft_ctx *ctx) {
    return weft__prng_next(&ctx->runner->prng);
}

/* ---- types --------------------------------------------------------------------------------- */

static const weft_type *find(weft_runtime *runtime, const char *name) {
    uint32_t count = weft_load32_acquire(&runtime->type_count); /* pairs with T1 */
    for (uint32_t id = 0; id < count; id++) {
        if (strcmp(runtime->types[id]->name, name) == 0) {
            return runtime->types[id];
        }
    }
    return NULL;
}

const weft_type *weft_type_find(weft_runtime *runtime, const char *name) {
    return runtime == NULL || name == NULL ? NULL : find(runtime, name);
}

const char *weft_type_name(const weft_type *type) {
    return type->name;
}

void *weft_type_cookie(const weft_type *type) {
    return type->def.cookie;
}

/* The store's operations are const, so they are checked once, here. */
static bool is_store_complete(const weft_store *store) {
    const weft_store_calls *calls = store->calls;
    return calls != NULL && calls->struct_size >= sizeof(*calls) && calls->get != NULL &&
           calls->put != NULL && calls->remove != NULL;
}

static int check_saving(const weft_type_def *def) {
    bool any = def->save != NULL || def->restore != NULL || def->store != NULL;
    bool all = def->save != NULL && def->restore != NULL && def->store != NULL;
    return any && (!all || !is_store_complete(def->store)) ? -EINVAL : 0;
}

/* A process is no virtual actor. */
static int check_crashes(const weft_type_def *def) {
    bool any = def->crash_policy != WEFT_CRASH_LAZY || def->crash_max != 0;
    bool right = def->crash_policy <= WEFT_CRASH_RESTART && def->crash_max <= WEFT__CRASH_MAX;
    return right && (!any || def->process == NULL) ? 0 : -EINVAL;
}

static int check_def(const weft_type_def *def) {
    if (def->name == NULL || (def->receive == NULL) == (def->process == NULL) ||
        def->mailbox_policy > WEFT_MAILBOX_WAIT ||
        (def->flags & ~(uint32_t)(WEFT_TYPE_SERIAL | WEFT_TYPE_REENTRANT)) != 0) {
        return -EINVAL;
    }
    if ((def->flags & (WEFT_TYPE_SERIAL | WEFT_TYPE_REENTRANT)) == WEFT_TYPE_REENTRANT) {
        return -EINVAL;
    }
    size_t length = strlen(def->name);
    if (length == 0 || length > 63) {
        return -EINVAL;
    }
    if (def->mailbox_max != WEFT_MAILBOX_UNBOUNDED && def->mailbox_max > INT32_MAX / 2) {
        return -EINVAL;
    }
    if (def->state_size > UINT32_MAX || def->priority > WEFT_PRIORITY_LOW) {
        return -EINVAL;
    }
    bool stack_fits = def->stack_bytes == 0 || (def->stack_bytes >= WEFT__STACK_BYTES_MIN &&
                                                def->stack_bytes <= WEFT__STACK_BYTES_MAX);
    if (!stack_fits || (def->stack_bytes != 0 && def->process == NULL)) {
        return -EINVAL;
    }
    if (def->process != NULL && (def->flags != 0 || def->save != NULL)) {
        return -EINVAL;
    }
    int result = check_crashes(def);
    return result != 0 ? result : check_saving(def);
}

/* A definition of any version as one of this version, checked. */
static int copy_def(const weft_type_def *source, const struct weft__type_extra *extra,
                    weft_type_def *ret_def) {
    /* The first version ended before what virtual actors need; this line does not change. */
    static const weft__struct_rule rule = {
        .known = sizeof(weft_type_def),
        .first = offsetof(weft_type_def, idle_ns),
    };
    if (source == NULL) {
        return -EINVAL;
    }
    int result = weft__struct_copy(&rule, source, ret_def);
    if (result >= 0 && extra->receive != NULL) {
        if (ret_def->receive != NULL || ret_def->process != NULL) {
            return -EINVAL;
        }
        ret_def->receive = extra->receive;
    }
    return result < 0 ? result : check_def(ret_def);
}

static void fill_crashes(weft_type_def *def) {
    if (def->crash_policy == WEFT_CRASH_RESTART && def->crash_max == 0) {
        def->crash_max = CRASH_MAX_DEFAULT; /* who begins at once must end some time */
    }
    def->crash_window_ns = def->crash_window_ns == 0 ? CRASH_WINDOW_NS : def->crash_window_ns;
    def->crash_pause_ns = def->crash_pause_ns == 0 ? CRASH_PAUSE_NS : def->crash_pause_ns;
}

static void fill_type(weft_runtime *runtime, weft_type *type, const weft_type_def *def) {
    type->def = *def;
    memcpy(type->name, def->name, strlen(def->name) + 1);
    type->def.name = type->name;
    if (def->idle_ns == 0) {
        uint64_t idle_ns = runtime->config.shard_idle_ns;
        type->def.idle_ns = idle_ns == 0 ? WEFT_IDLE_NEVER : idle_ns;
    }
    if (def->store_timeout_ns == 0) {
        type->def.store_timeout_ns = runtime->config.shard_store_timeout_ns;
    }
    fill_crashes(&type->def);
    if (def->process != NULL) {
        type->def.receive = weft__process_receive;
        type->def.stack_bytes =
            def->stack_bytes == 0 ? runtime->config.process_stack_bytes : def->stack_bytes;
    }
    type->runtime = runtime;
    type->small = def->state_size <= WEFT__STATE_INLINE;
    uint32_t max = def->mailbox_max == 0 ? runtime->config.mailbox_max : def->mailbox_max;
    type->bound = max == WEFT_MAILBOX_UNBOUNDED ? 0 : max;
    type->low =
        def->mailbox_low != 0 && def->mailbox_low < max ? def->mailbox_low : type->bound / 2;
    if (def->mailbox_policy == WEFT_MAILBOX_DROP_NEW) {
        type->traits |= WEFT__TRAIT_DROP_NEW;
    }
    if (def->mailbox_policy == WEFT_MAILBOX_DROP_OLD && type->bound != 0) {
        type->traits |= WEFT__TRAIT_DROP_OLD;
        /* Senders are refused at twice the bound; the owner keeps half. */
        type->bound = type->bound > INT32_MAX / 2 ? INT32_MAX - 1 : type->bound * 2;
    }
    if (def->mailbox_policy == WEFT_MAILBOX_WAIT) {
        type->traits |= WEFT__TRAIT_WAITS;
    }
    if ((def->flags & WEFT_TYPE_SERIAL) != 0) {
        type->traits |= WEFT__TRAIT_SERIAL;
    }
    if ((def->flags & WEFT_TYPE_REENTRANT) != 0) {
        type->traits |= WEFT__TRAIT_REENTRANT;
    }
    type->traits |= weft__rank_traits(runtime, def->priority);
}

int weft__type_register(weft_runtime *runtime, const weft_type_def *def,
                        const struct weft__type_extra *extra, const weft_type **ret_type) {
    weft_type_def copy;
    int result = runtime == NULL || ret_type == NULL ? -EINVAL : copy_def(def, extra, &copy);
    if (result != 0) {
        return result;
    }
    weft_type *type = weft__alloc(&runtime->core, sizeof(*type), "type");
    if (type == NULL) {
        return -ENOMEM;
    }
    fill_type(runtime, type, &copy);
    type->extra = *extra;
    type->traits |= extra->traits;
    weft__lock_enter(&runtime->types_lock, runtime->core.env);
    uint32_t count = weft_load32_relaxed(&runtime->type_count);
    if (find(runtime, def->name) != NULL) {
        result = -EEXIST;
    } else if (count == WEFT__TYPES_MAX) {
        result = WEFT_E_LIMIT;
    } else {
        type->id = count;
        runtime->types[count] = type;
        weft_store32_release(&runtime->type_count, count + 1); /* T1 */
    }
    weft__lock_leave(&runtime->types_lock);
    if (result != 0) {
        weft__free(&runtime->core, type, sizeof(*type), "type");
        return result;
    }
    *ret_type = type;
    return 0;
}

int weft_type_register(weft_runtime *runtime, const weft_type_def *def,
                       const weft_type **ret_type) {
    static const struct weft__type_extra none;
    return weft__type_register(runtime, def, &none, ret_type);
}

int weft__type_library(weft_runtime *runtime, const weft_type_def *def, uint32_t traits,
                       const weft_type **ret_type) {
    const struct weft__type_extra extra = {.traits = traits};
    int result = weft__type_register(runtime, def, &extra, ret_type);
    if (result != -EEXIST) {
        return result;
    }
    const weft_type *type = weft_type_find(runtime, def->name); /* types stay */
    bool ours = def->process != NULL ? type->def.process == def->process
                                     : type->def.receive == def->receive;
    if (ours) {
        *ret_type = type;
    }
    return ours ? 0 : -EEXIST;
}
