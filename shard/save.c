/* SPDX-License-Identifier: MIT
 *
 * The turns of a virtual actor's life that are not its messages: the first one, and the one in
 * which it is asked to leave; for types with a store the answers of the store. All of it runs on
 * the scheduler that runs the actor.
 *
 * While an operation of a store is under way (WEFT__LIFE_HOLD) user messages are held back. It is a
 * call of the actor, with the record's address as token, so the deadline of calls ends it too.
 *
 * A saved state is a header of 16 bytes (magic, save_version, size of init_arg; little endian), the
 * init_arg and what the type's save made.
 */
#include "shard/shard.h"
#include <string.h>

enum { HEADER_BYTES = 16, MAGIC = 0x31736677 /* wfs1 */, LOOKS_MAX = 64 };

#ifdef WEFT_PLANT_OLD_SAVE
enum { RECORD_SAVED = 0x8000 }; /* one more of owner_flags: was saved, and stayed */
#endif

static uint32_t load_u32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store_u32(unsigned char *at, uint32_t value) {
    for (uint32_t i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static void log_failure(struct weft__shards *shards, const struct weft_ctx *ctx, const char *what,
                        int status) {
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = ctx->type->name},
        {.key = "operation", .kind = WEFT_LOG_TEXT, .text = what},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(status)},
    };
    weft__log(shards->core, WEFT_LOG_WARN, "store.failure", fields, 3);
}

/* ---- completions --------------------------------------------------------------------------- */

/* What an answer of a store carries. */
struct stored {
    uint64_t version;
    weft_buf *value;
};

static void stored_free(void *data, size_t size, void *cookie) {
    weft_runtime *runtime = cookie;
    struct stored *stored = data;
    weft_buf_unref(stored->value);
    weft__free(&runtime->core, stored, size, "stored");
}

/* A message that carries the answer, or NULL. value [take]. */
static weft_msg *make_answer(const weft_store_op *op, uint64_t version, weft_buf *value) {
    weft_runtime *runtime = op->runtime;
    struct stored *stored = weft__alloc(&runtime->core, sizeof(*stored), "stored");
    if (stored == NULL) {
        weft_buf_unref(value);
        return NULL;
    }
    *stored = (struct stored){.version = version, .value = value};
    weft_buf *buf;
    if (weft_buf_wrap(runtime, stored, sizeof(*stored), stored_free, runtime, &buf) != 0) {
        stored_free(stored, sizeof(*stored), runtime);
        return NULL;
    }
    struct weft__draft draft = {.data = stored,
                                .size = sizeof(*stored),
                                .buf = buf,
                                .kind = WEFT_MSG_REPLY,
                                .wide = true,
                                .lend = true};
    weft_msg *msg;
    if (weft__msg_make(runtime, NULL, &draft, &msg) != 0) {
        weft_buf_unref(buf);
        return NULL;
    }
    return msg;
}

int weft_store_complete(const weft_store_op *op, int status, uint64_t version, weft_buf *value) {
    if (op == NULL || op->runtime == NULL || status > 0) {
        weft_buf_unref(value);
        return -EINVAL;
    }
    weft_msg *msg = make_answer(op, version, value);
    if (msg == NULL) {
        return -ENOMEM; /* the actor will see its deadline pass */
    }
    msg->weft__from = 0;
    msg->weft__u.weft__r.weft__ref = op->weft__reference;
    msg->weft__u.weft__r.weft__value = status;
    struct weft__scheduler *s = weft__scheduler_current();
    int result;
    if (s != NULL && s->runtime == op->runtime && s->current != NULL) {
        result = weft__post(s, op->weft__target, msg, false);
    } else {
        result = weft__post_outside(op->runtime, op->weft__target, msg, false);
    }
    if (result != 0) {
        weft__msg_free(op->runtime, NULL, msg);
    } else {
        WEFT__COUNT(op->runtime, NULL, messages_sent, 1);
    }
    return result;
}

/* ---- operations ---------------------------------------------------------------------------- */

static struct weft__record *record_of(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    weft_assert(weft__is_virtual(ctx));
    return weft__record_at(weft__shards_of(s->runtime), ctx->index);
}

/* Starts one: put with value [borrow], else remove or get, as flag says. */
static int start(struct weft__scheduler *s, struct weft_ctx *ctx, uint16_t flag, weft_buf *value) {
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__record *record = record_of(s, ctx);
    weft_store *store = ctx->type->def.store;
    weft_assert(store != NULL);
    weft_assert((ctx->life & WEFT__LIFE_HOLD) == 0); /* one at a time */
    weft_store_op op = {.runtime = s->runtime, .weft__target = weft__from(ctx)};
    struct weft__vkey key;
    weft__vkey_of(shards, record, &key);
    weft_store_key name = {.capability = shards->capabilities[key.name >> 16]->name,
                           .type = ctx->type->name,
                           .id = key.id,
                           .id_size = key.id_size};
    s->now_ns = weft__now(s->core);
    op.deadline_ns = weft_add_saturated(s->now_ns, ctx->type->def.store_timeout_ns);
    int result =
        weft__call_enter(ctx, op.deadline_ns, (uint64_t)(uintptr_t)record, &op.weft__reference);
    if (result != 0) {
        return result;
    }
    uint64_t expected = record->extra == NULL ? 0 : record->extra->version;
    ctx->life |= WEFT__LIFE_HOLD;
    record->owner_flags |= flag;
    WEFT__POINT(s->core, WEFT__POINT_SAVE);
    if (flag == WEFT__RECORD_LOADING) {
        result = store->calls->get(store, &name, &op);
    } else if (value != NULL) {
        result = store->calls->put(store, &name, value, expected, &op);
    } else {
        result = store->calls->remove(store, &name, expected, &op);
    }
    if (result < 0) {
        weft__call_undo(ctx, op.weft__reference);
        ctx->life &= ~(uint32_t)WEFT__LIFE_HOLD;
        record->owner_flags &= (uint16_t)~flag;
        return result;
    }
    return 0;
}

/* ---- the first turn ------------------------------------------------------------------------ */

static void run_init(struct weft__scheduler *s, struct weft_ctx *ctx) {
    const struct weft__extra *extra = record_of(s, ctx)->extra;
    weft__init_run(s, ctx, extra == NULL ? NULL : extra->arg, extra == NULL ? 0 : extra->arg_size);
}

/* Its state cannot be had, or the store has another: it ends, and that is not its own fault. */
static void exit_blameless(struct weft__scheduler *s, struct weft_ctx *ctx, int status) {
    record_of(s, ctx)->owner_flags |= WEFT__RECORD_BLAMELESS;
    weft_exit(ctx, status);
}

void weft__virtual_begin(struct weft__scheduler *s, struct weft_ctx *ctx) {
    if (ctx->type->def.store == NULL) {
        run_init(s, ctx);
        return;
    }
    int result = start(s, ctx, WEFT__RECORD_LOADING, NULL);
    if (result < 0) {
        weft_counter_add(&s->counters.virtual_store_errors, 1);
        log_failure(weft__shards_of(s->runtime), ctx, "get", result);
        exit_blameless(s, ctx, result);
    }
}

/* The saved init_arg takes the place of what a sender may have brought along. */
static int take_arg(struct weft__shards *shards, struct weft__extra *extra,
                    const unsigned char *arg, uint32_t arg_size) {
    void *copy = NULL;
    if (arg_size != 0) {
        copy = weft__alloc(shards->core, arg_size, "init_arg");
        if (copy == NULL) {
            return -ENOMEM;
        }
        memcpy(copy, arg, arg_size);
    }
    weft__extra_drop_arg(shards, extra);
    extra->arg = copy;
    extra->arg_size = arg_size;
    return 0;
}

/* A value came: its init_arg becomes the actor's. The size of that, or negative: it cannot be used. */
static int unpack(struct weft__shards *shards, struct weft__extra *extra,
                  const struct stored *stored) {
    const unsigned char *data = stored->value == NULL ? NULL : weft_buf_data(stored->value);
    size_t size = stored->value == NULL ? 0 : weft_buf_size(stored->value);
    if (extra == NULL) {
        return -ENOMEM;
    }
    if (size < HEADER_BYTES || load_u32(data) != MAGIC ||
        load_u32(data + 8) > size - HEADER_BYTES || load_u32(data + 8) > WEFT_ID_MAX) {
        return -EBADMSG;
    }
    uint32_t arg_size = load_u32(data + 8);
    int result = take_arg(shards, extra, data + HEADER_BYTES, arg_size);
    return result != 0 ? result : (int)arg_size;
}

/* The same, and its state goes to restore. */
static void restore(struct weft__scheduler *s, struct weft_ctx *ctx, const struct stored *stored) {
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__extra *extra = weft__extra_of(shards, ctx->index);
    int arg_size = unpack(shards, extra, stored);
    if (arg_size < 0) {
        exit_blameless(s, ctx, arg_size);
        return;
    }
    const unsigned char *data = weft_buf_data(stored->value);
    size_t before = HEADER_BYTES + (size_t)arg_size;
    extra->version = stored->version;
    s->msg = NULL;
    weft_counter_add(&s->counters.virtual_loads, 1);
    weft__init_done(ctx, ctx->type->def.restore(ctx, ctx->state, data + before,
                                                weft_buf_size(stored->value) - before,
                                                load_u32(data + 4)));
}

static void loaded(struct weft__scheduler *s, struct weft_ctx *ctx, int status,
                   const struct stored *stored) {
    if (status == -ENOENT) {
        run_init(s, ctx);
        return;
    }
    if (status == 0 && stored != NULL) {
        restore(s, ctx, stored);
        return;
    }
    status = status == 0 ? -EBADMSG : status;
    weft_counter_add(&s->counters.virtual_store_errors, 1);
    log_failure(weft__shards_of(s->runtime), ctx, "get", status);
    exit_blameless(s, ctx, status);
}

/* ---- leaving ------------------------------------------------------------------------------- */

/* Is there anything for the user in a chain of messages, down to (exclusive) the one it ends with?
 * Signals are the runtime's. Bounded: a long chain has something. */
static bool has_mail(const struct weft__scheduler *s, uint32_t first, uint32_t end) {
    uint32_t index = first;
    for (uint32_t looks = 0; index >= WEFT__MAILBOX_FIRST && index != end; looks++) {
        const weft_msg *msg = weft__arena_msg(s->messages, index);
        if ((msg->weft__kind & WEFT__KIND_SIGNAL) == 0 || looks == LOOKS_MAX) {
            return true;
        }
        index = msg->weft__next;
    }
    return false;
}

/* Nothing waits, nothing is pending, nothing is owed. */
static bool is_idle(const struct weft__scheduler *s, struct weft_ctx *ctx) {
    const struct weft__ext *ext = ctx->ext;
    uint32_t newest = weft__mailbox_newest(&ctx->mailbox, ctx->anchor);
    if (ctx->held != 0 || ctx->waiters != 0 || has_mail(s, ctx->batch, 0) ||
        has_mail(s, newest, ctx->anchor)) {
        return false;
    }
    return ext == NULL || (ext->calls.count == 0 && ext->timers.count == 0 &&
                           ext->stash_count == 0 && ext->busy_count == 0 && ext->jobs == 0);
}

/* It was asked, and does not go. Somebody else may have to, but not at once: it could be asked
 * again before it has handled what keeps it. */
static void stay(struct weft__scheduler *s, const struct weft_ctx *ctx) {
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__kind *kind = weft__kind_of(shards, ctx->type);
    if (kind->stripes != NULL) {
        weft__keeper_watch(shards, s, kind);
        if (weft__age_stay(shards, kind, ctx->index, s->now_ns)) {
            weft__keeper_poke(shards, s, s->now_ns + WEFT__AGAIN_NS);
        }
    }
}

static void depart(struct weft__scheduler *s, struct weft_ctx *ctx, int reason) {
    WEFT__POINT(s->core, WEFT__POINT_SAVE);
    if (reason == 0) {
        weft_counter_add(&s->counters.virtual_passivations, 1);
    }
    weft_exit(ctx, reason);
}

/* What save made, behind a header. value [take]. NULL: no memory. */
static weft_buf *with_header(struct weft__scheduler *s, const struct weft_ctx *ctx,
                             weft_buf *state) {
    const struct weft__extra *extra = record_of(s, ctx)->extra;
    uint32_t arg_size = extra == NULL ? 0 : extra->arg_size;
    weft_buf *value;
    if (weft_buf_create(s->runtime, HEADER_BYTES + arg_size + weft_buf_size(state), &value) != 0) {
        value = NULL;
    } else {
        unsigned char *to = weft_buf_data(value);
        store_u32(to, MAGIC);
        store_u32(to + 4, ctx->type->def.save_version);
        store_u32(to + 8, arg_size);
        store_u32(to + 12, 0);
        if (arg_size != 0) {
            memcpy(to + HEADER_BYTES, extra->arg, arg_size);
        }
        if (weft_buf_size(state) != 0) {
            memcpy(to + HEADER_BYTES + arg_size, weft_buf_data(state), weft_buf_size(state));
        }
    }
    weft_buf_unref(state);
    return value;
}

/* Begins to save. 1: there is nothing to do; 0: begun; negative: it could not. */
static int save(struct weft__scheduler *s, struct weft_ctx *ctx) {
    const struct weft__extra *extra = record_of(s, ctx)->extra;
    weft_buf *state = NULL;
    s->msg = NULL;
    int result = ctx->type->def.save(ctx, ctx->state, &state);
    bool over = (ctx->life & (WEFT__LIFE_EXITING | WEFT__LIFE_HOLD)) != 0; /* weft_forget in it */
    if (result < 0 || over) {
        weft_buf_unref(state);
        return over ? 0 : result;
    }
    if (state == NULL) {
        bool has_any = extra != NULL && extra->version != 0;
        return has_any ? start(s, ctx, WEFT__RECORD_SAVING, NULL) : 1;
    }
    weft_buf *value = with_header(s, ctx, state);
    if (value == NULL) {
        return -ENOMEM;
    }
    result = start(s, ctx, WEFT__RECORD_SAVING, value);
    weft_buf_unref(value);
    return result;
}

/* It could not be saved. Who must leave leaves all the same. */
static void save_failed(struct weft__scheduler *s, struct weft_ctx *ctx, int status) {
    struct weft__shards *shards = weft__shards_of(s->runtime);
    const struct weft__extra *extra = record_of(s, ctx)->extra;
    weft_counter_add(&s->counters.virtual_store_errors, 1);
    log_failure(shards, ctx, "save", status);
    if (status == WEFT_E_VERSION) {
        ctx->life |= WEFT__LIFE_REPLACED;
        exit_blameless(s, ctx, status); /* somebody else goes on with another state */
    } else if (extra != NULL && extra->leave_reason != 0) {
        weft_exit(ctx, extra->leave_reason);
    } else {
        stay(s, ctx);
    }
}

void weft__virtual_passivate(struct weft__scheduler *s, struct weft_ctx *ctx, int reason) {
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__record *record = record_of(s, ctx);
    if (reason < 0) {
        struct weft__extra *extra = weft__extra_of(shards, ctx->index);
        if (extra == NULL) {
            weft_exit(ctx, reason);
            return;
        }
        extra->leave_reason = reason;
    }
    if ((ctx->life & WEFT__LIFE_HOLD) != 0) {
        if (reason >= 0) {
            stay(s, ctx);
        } else if ((record->owner_flags & WEFT__RECORD_LOADING) != 0) {
            weft_exit(ctx, reason); /* there is no state to lose */
        }
        return; /* else it is looked at when the store has answered */
    }
    /* Who was activated just now will get the message it was activated for. */
    bool kept = reason == WEFT__LEAVE_UNUSED && ((record->owner_flags & WEFT__RECORD_KEEP) != 0 ||
                                                 weft_load64_relaxed(&ctx->handled) == 0);
    if (reason >= 0 && (kept || !is_idle(s, ctx))) {
        stay(s, ctx);
        return;
    }
    reason = reason < 0 ? reason : 0;
    if (ctx->type->def.save == NULL || (ctx->life & WEFT__LIFE_INITED) == 0) {
        depart(s, ctx, reason);
        return;
    }
#ifdef WEFT_PLANT_OLD_SAVE
    int result = (record->owner_flags & RECORD_SAVED) != 0 ? 1 : save(s, ctx);
#else
    int result = save(s, ctx);
#endif
    if (result == 1) {
        depart(s, ctx, reason);
    } else if (result < 0) {
        save_failed(s, ctx, result);
    }
}

static void removed(struct weft__scheduler *s, struct weft_ctx *ctx, int status) {
    struct weft__record *record = record_of(s, ctx);
    if (status == 0 || status == -ENOENT) {
        weft_exit(ctx, 0);
        return;
    }
    record->owner_flags &= (uint16_t)~WEFT__RECORD_FORGET;
    weft_counter_add(&s->counters.virtual_store_errors, 1);
    log_failure(weft__shards_of(s->runtime), ctx, "remove", status);
    const struct weft__extra *extra = record->extra;
    int reason = extra == NULL ? 0 : extra->leave_reason;
    if (status == WEFT_E_VERSION) {
        exit_blameless(s, ctx, status);
    } else if (reason != 0) {
        weft_exit(ctx, reason);
    }
}

/* weft_forget was called while a save was under way: what it has written goes. */
static void forget_saved(struct weft__scheduler *s, struct weft_ctx *ctx) {
    const struct weft__extra *extra = record_of(s, ctx)->extra;
    if (extra == NULL || extra->version == 0) {
        weft_exit(ctx, 0);
        return;
    }
    int result = start(s, ctx, WEFT__RECORD_REMOVING, NULL);
    if (result < 0) {
        removed(s, ctx, result);
    }
}

static void saved(struct weft__scheduler *s, struct weft_ctx *ctx, int status,
                  const struct stored *stored) {
    struct weft__extra *extra = weft__extra_of(weft__shards_of(s->runtime), ctx->index);
#ifdef WEFT_PLANT_FAILED_SAVE
    status = status == -EIO ? 0 : status;
#endif
    if (status == 0 && extra != NULL) {
        extra->version = stored == NULL ? 0 : stored->version;
        weft_counter_add(&s->counters.virtual_saves, 1);
    }
    if ((record_of(s, ctx)->owner_flags & WEFT__RECORD_FORGET) != 0) {
        forget_saved(s, ctx);
        return;
    }
    if (status != 0 || extra == NULL) {
        save_failed(s, ctx, status != 0 ? status : -ENOMEM);
        return;
    }
    if (extra->leave_reason != 0) {
        depart(s, ctx, extra->leave_reason);
    } else if (is_idle(s, ctx)) {
        depart(s, ctx, 0);
    } else {
        stay(s, ctx); /* something came: what was saved is no harm */
#ifdef WEFT_PLANT_OLD_SAVE
        record_of(s, ctx)->owner_flags |= RECORD_SAVED; /* and need not be saved again */
#endif
    }
}

bool weft__virtual_stored(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    struct weft__record *record = record_of(s, ctx);
    if (weft_msg_token(msg) != (uint64_t)(uintptr_t)record) {
        return false;
    }
    weft_assert((ctx->life & WEFT__LIFE_HOLD) != 0);
    int status = weft_msg_status(msg);
    struct stored copy = {0};
    const struct stored *stored = NULL;
    if (status == 0 && weft_msg_size(msg) == sizeof(copy)) {
        memcpy(&copy, weft_msg_data(msg), sizeof(copy));
        stored = &copy;
    }
    uint16_t flags = record->owner_flags;
    uint16_t under_way = WEFT__RECORD_LOADING | WEFT__RECORD_SAVING | WEFT__RECORD_REMOVING;
    record->owner_flags = (uint16_t)(flags & ~under_way);
    ctx->life &= ~(uint32_t)WEFT__LIFE_HOLD;
    weft__calls_disarm(s, ctx);
    if ((flags & WEFT__RECORD_LOADING) != 0) {
        loaded(s, ctx, status, stored);
        int reason = record->extra == NULL ? 0 : record->extra->leave_reason;
        if (reason != 0 && (ctx->life & WEFT__LIFE_EXITING) == 0) {
            weft__virtual_passivate(s, ctx, reason);
        }
    } else if ((flags & WEFT__RECORD_SAVING) != 0) {
        saved(s, ctx, status, stored);
    } else {
        removed(s, ctx, status);
    }
    return true;
}

/* ---- from inside the actor ------------------------------------------------------------------ */

int weft_forget(weft_ctx *ctx) {
    if (!weft__is_virtual(ctx)) {
        return -ENOENT;
    }
    struct weft__scheduler *s = ctx->runner;
    struct weft__record *record = record_of(s, ctx);
    record->owner_flags |= WEFT__RECORD_FORGET;
    if ((ctx->life & WEFT__LIFE_INITED) == 0) {
        ctx->life |= WEFT__LIFE_BARREN; /* in init: the next one would forget as well */
    }
    if ((ctx->life & WEFT__LIFE_HOLD) != 0) {
        return 0; /* when what is under way has been answered */
    }
    if (record->extra == NULL || record->extra->version == 0) {
        weft_exit(ctx, 0);
        return 0;
    }
    int result = start(s, ctx, WEFT__RECORD_REMOVING, NULL);
    if (result < 0) {
        record->owner_flags &= (uint16_t)~WEFT__RECORD_FORGET;
    }
    return result;
}

int weft_keep_alive(weft_ctx *ctx, bool on) {
    if (!weft__is_virtual(ctx)) {
        return -ENOENT;
    }
    struct weft__record *record = record_of(ctx->runner, ctx);
    uint16_t others = record->owner_flags & (uint16_t)~WEFT__RECORD_KEEP;
    record->owner_flags = on ? others | WEFT__RECORD_KEEP : others;
    return 0;
}

int weft_account(weft_ctx *ctx, uint64_t bytes) {
    if (!weft__is_virtual(ctx)) {
        return -ENOENT;
    }
    struct weft__scheduler *s = ctx->runner;
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__extra *extra = weft__extra_of(shards, ctx->index);
    if (extra == NULL) {
        return -ENOMEM;
    }
    struct weft__kind *kind = weft__kind_of(shards, ctx->type);
    weft__age_account(shards, kind, ctx->index, bytes);
    if (kind->stripes != NULL) {
        weft__age_enforce(shards, s, kind, ctx->index);
    }
    return 0;
}

int weft_passivate(weft_ctx *ctx) {
    if (!weft__is_virtual(ctx)) {
        return -ENOENT;
    }
    return weft__ask_to_leave(ctx->runner->runtime, ctx->runner, weft__from(ctx),
                              WEFT__LEAVE_ASKED);
}

int weft_runtime_passivate(weft_runtime *runtime, weft_pid pid) {
    if (runtime == NULL) {
        return -EINVAL;
    }
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int result = weft_virtual_key(runtime, pid, NULL, 0, &entry);
    return result != 0 ? result
                       : weft__ask_to_leave(runtime, NULL, weft__target(pid), WEFT__LEAVE_ASKED);
}
