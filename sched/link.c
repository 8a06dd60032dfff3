/* SPDX-License-Identifier: MIT
 *
 * Exit reasons, exit signals and links: see sched/bonds.h for the invariants. Runs on the scheduler
 * of the actor in question.
 */
#include "core/buf.h"
#include "sched/bonds.h"
#include "sched/tracing.h"
#include <string.h>

struct weft__bonds *weft__bonds_of(struct weft_ctx *ctx) {
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return NULL;
    }
    if (ext->bonds == NULL) {
        ext->bonds = weft__alloc(ctx->runner->core, sizeof(*ext->bonds), "bonds");
        weft__memory_show(ctx->runner->runtime, ctx);
    }
    return ext->bonds;
}

/* ---- signals ------------------------------------------------------------------------------- */

int weft__signal_make(struct weft__scheduler *s, uint8_t kind, weft_msg **ret_msg) {
    struct weft__draft draft = {.kind = kind, .wide = true};
    return weft__msg_make(s->runtime, s, &draft, ret_msg);
}

void weft__signal_fill(weft_msg *msg, uint64_t from, const struct weft__reason *reason) {
    msg->weft__from = from;
    msg->weft__tag = (uint32_t)(reason->linked >> 32);
    msg->weft__u.weft__r.weft__value =
        (int64_t)((reason->linked & UINT32_MAX) << 32 | (uint32_t)reason->code);
    if (reason->data != NULL) {
        struct weft__msg_slice slice = {.data = reason->data->data,
                                        .buf = weft_buf_ref(reason->data)};
        msg->weft__flags |= WEFT__MSG_BUF;
        msg->weft__size = (uint32_t)reason->data->size;
        memcpy(weft__msg_payload(msg), &slice, sizeof(slice));
    }
}

int weft__signal_post(struct weft__scheduler *s, uint64_t target, weft_msg *msg) {
    int result = weft__post(s, target, msg, false);
    if (result != 0) {
        weft__msg_free(s->runtime, s, msg);
    }
    return result;
}

void weft__signal_keep(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    if (weft__arena_index(s->messages, msg) == ctx->anchor) {
        weft__unanchor(s, ctx);
    }
    weft_store32_relaxed(weft__msg_seq(msg), 0);
}

static void cell_free(struct weft__scheduler *s, uint32_t index) {
    if (index != 0) {
        weft__msg_free(s->runtime, s, weft__arena_msg(s->messages, index));
    }
}

/* Makes an EXIT of a cell that is in no mailbox, and sends it. */
static void send_exit(struct weft__scheduler *s, weft_msg *msg, uint64_t from, uint64_t target,
                      const struct weft__reason *reason) {
    msg->weft__kind = WEFT__SIGNAL_EXIT;
    msg->weft__stamp = 0;
    msg->weft__u.weft__r.weft__ref = WEFT__EXIT_LINK;
    weft__signal_fill(msg, from, reason);
    (void)weft__signal_post(s, target, msg); /* who is gone need not hear */
}

/* ---- reasons ------------------------------------------------------------------------------- */

enum weft_reason_kind weft_reason_kind(const weft_reason *reason) {
    if (!weft_pid_is_none(reason->linked)) {
        return WEFT_REASON_LINKED;
    }
    switch (reason->code) {
    case 0:
        return WEFT_REASON_NORMAL;
    case WEFT_E_SHUTDOWN:
        return WEFT_REASON_SHUTDOWN;
    case WEFT_E_KILLED:
        return WEFT_REASON_KILLED;
    case WEFT_E_NOPROC:
        return WEFT_REASON_NOPROC;
    case WEFT_E_NOCONN:
        return WEFT_REASON_NOCONNECTION;
    case -ETIMEDOUT:
        return WEFT_REASON_TIMEOUT;
    default:
        return reason->code > 0 ? WEFT_REASON_CUSTOM : WEFT_REASON_ERROR;
    }
}

bool weft_msg_reason(const weft_ctx *ctx, const weft_msg *msg, weft_reason *ret_reason) {
    if (msg == NULL || ret_reason == NULL ||
        (msg->weft__kind != WEFT_MSG_EXIT && msg->weft__kind != WEFT_MSG_DOWN)) {
        return false;
    }
    uint64_t value = (uint64_t)msg->weft__u.weft__r.weft__value;
    *ret_reason = (weft_reason){.code = (int)(uint32_t)value};
    if (value >> 32 != 0) {
        ret_reason->linked = (weft_pid){
            .node = ctx->runner->node, .slot = msg->weft__tag, .gen = (uint32_t)(value >> 32)};
    }
    if (msg->weft__size != 0) {
        ret_reason->data = weft_msg_data(msg);
        ret_reason->size = msg->weft__size;
    }
    return true;
}

/* The actor's reason becomes this, unless it has one. data: a reference is added. */
static void set_reason(struct weft_ctx *ctx, const struct weft__reason *reason) {
    if ((ctx->life & WEFT__LIFE_EXITING) != 0) {
        return;
    }
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    if (bonds == NULL && (reason->data != NULL || reason->linked != 0)) {
        bonds = weft__bonds_of(ctx); /* no memory: the code alone */
    }
    if (bonds != NULL) {
        bonds->linked = reason->linked;
        bonds->data = reason->data == NULL ? NULL : weft_buf_ref(reason->data);
    }
    weft__exit_code(ctx, reason->code);
}

static int make_data(struct weft__core *core, const weft_reason *reason, weft_buf **ret_data) {
    *ret_data = NULL;
    if (reason->size == 0 || reason->data == NULL) {
        return 0;
    }
    if (reason->size > WEFT_REASON_BYTES_MAX) {
        return -EMSGSIZE;
    }
    int result = weft__buf_create(core, reason->size, ret_data);
    if (result == 0) {
        memcpy((*ret_data)->data, reason->data, reason->size);
    }
    return result;
}

void weft_exit_with(weft_ctx *ctx, const weft_reason *reason) {
    struct weft__reason given = {.code = reason->code};
    if (make_data(ctx->runner->core, reason, &given.data) != 0) {
        given.data = NULL;
    }
    set_reason(ctx, &given);
    weft_buf_unref(given.data);
    weft__exit_leave(ctx);
}

/* ---- exit signals -------------------------------------------------------------------------- */

int weft_exit_signal(weft_ctx *ctx, weft_pid target, const weft_reason *reason) {
    struct weft__scheduler *s = ctx->runner;
    if (reason == NULL) {
        return -EINVAL;
    }
    if (target.node != s->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    if (weft__is_port(s->slots, target)) {
        return WEFT_E_NOPROC;
    }
    bool self = weft__target(target) == weft__from(ctx);
    if (reason->code == WEFT_E_KILLED && !self) {
        return weft_kill(ctx, target);
    }
    struct weft__reason sent = {.code = reason->code};
    int result = make_data(s->core, reason, &sent.data);
    bool ends = self && ((ctx->life & WEFT__LIFE_TRAP) == 0 || reason->code == WEFT_E_KILLED);
    if (result == 0 && ends) { /* at once: nothing it does afterwards changes the reason */
        ctx->life |= reason->code == WEFT_E_KILLED ? WEFT__LIFE_KILLED : 0;
        set_reason(ctx, &sent);
        weft_buf_unref(sent.data);
        weft__exit_leave(ctx);
        return 0;
    }
    weft_msg *msg = NULL;
    if (result == 0) {
        result = weft__signal_make(s, WEFT__SIGNAL_EXIT, &msg);
    }
    if (result == 0) {
        msg->weft__u.weft__r.weft__ref = WEFT__EXIT_SIGNAL;
        weft__signal_fill(msg, weft__from(ctx), &sent);
        result = weft__signal_post(s, weft__target(target), msg);
    }
    weft_buf_unref(sent.data);
    return result;
}

bool weft_trap_exit(weft_ctx *ctx, bool on) {
    bool before = (ctx->life & WEFT__LIFE_TRAP) != 0;
    ctx->life = on ? ctx->life | WEFT__LIFE_TRAP : ctx->life & ~(uint32_t)WEFT__LIFE_TRAP;
    return before;
}

/* The ACTIVE entry of a peer goes. False: there is none. */
static bool take_active(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t peer) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    uint64_t *value = bonds == NULL ? NULL : weft__map_find(&bonds->links, peer);
    if (value == NULL || *value >> 32 != 0) {
        return false;
    }
    cell_free(s, (uint32_t)*value);
    (void)weft__map_remove(&bonds->links, s->core, peer, NULL);
    weft__memory_show(s->runtime, ctx);
    return true;
}

bool weft__exit_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    uint64_t from = msg->weft__from;
    bool link = msg->weft__u.weft__r.weft__ref == WEFT__EXIT_LINK;
    struct weft__reason reason = {.code = (int)(uint32_t)msg->weft__u.weft__r.weft__value};
    if (link && !take_active(s, ctx, from)) { /* K2 */
        weft__msg_done(s, ctx, msg);
        return false;
    }
    if ((ctx->life & WEFT__LIFE_TRAP) != 0) {
        msg->weft__kind = WEFT_MSG_EXIT;
        return true;
    }
    if (reason.code != 0 || (!link && from == weft__from(ctx))) {
        reason.linked = link ? from : 0;
        reason.data = weft_msg_buf(msg);
        set_reason(ctx, &reason);
    }
    weft__msg_done(s, ctx, msg);
    return false;
}

void weft__exit_from_stop(weft_msg *msg) {
    msg->weft__kind = WEFT_MSG_EXIT;
    msg->weft__tag = 0;
    msg->weft__u.weft__r.weft__ref = WEFT__EXIT_STOP;
    msg->weft__u.weft__r.weft__value &= UINT32_MAX; /* no link */
}

bool weft__bonds_blamed(const struct weft_ctx *ctx) {
    const struct weft__bonds *bonds = weft__bonds_had(ctx);
    return bonds != NULL && bonds->linked != 0;
}

/* ---- links --------------------------------------------------------------------------------- */

/* There is nobody to link to: this actor hears of it as of an end. */
static void tell_self(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg, uint64_t peer,
                      int code) {
    struct weft__reason reason = {.code = code};
    msg->weft__kind = WEFT__SIGNAL_EXIT;
    msg->weft__u.weft__r.weft__ref = WEFT__EXIT_SIGNAL;
    weft__signal_fill(msg, peer, &reason);
    (void)weft__signal_post(s, weft__from(ctx), msg); /* fails only when it ends anyway */
}

/* Both cells of a link; theirs travels. */
static int make_cells(struct weft__scheduler *s, weft_msg **ret_mine, weft_msg **ret_theirs) {
    int result = weft__signal_make(s, WEFT__SIGNAL_LINK, ret_theirs);
    if (result == 0) {
        result = weft__signal_make(s, WEFT__SIGNAL_EXIT, ret_mine);
        if (result != 0) {
            weft__msg_free(s->runtime, s, *ret_theirs);
        }
    }
    return result;
}

int weft_link(weft_ctx *ctx, weft_pid target) {
    struct weft__scheduler *s = ctx->runner;
    uint64_t peer = target.node == s->node ? weft__target(target) : 0;
    if (peer == weft__from(ctx)) {
        return 0;
    }
    struct weft__bonds *bonds = weft__bonds_of(ctx);
    if (bonds == NULL || weft__map_reserve(&bonds->links, s->core) != 0) {
        return -ENOMEM;
    }
    uint64_t *value = peer == 0 ? NULL : weft__map_find(&bonds->links, peer);
    if (value != NULL && *value >> 32 == 0) {
        return 0;
    }
    weft_msg *mine;
    weft_msg *theirs;
    int result = make_cells(s, &mine, &theirs);
    if (result != 0) {
        return result;
    }
    theirs->weft__from = weft__from(ctx);
    int pushed = peer == 0                         ? WEFT_E_NOPROC
                 : weft__is_port(s->slots, target) ? WEFT_E_NOPROC
                                                   : weft__post(s, peer, theirs, false);
    if (pushed == 0) {
        weft__map_put(&bonds->links, peer, weft__arena_index(s->messages, mine));
        weft__memory_show(s->runtime, ctx);
        return 0;
    }
    weft__msg_free(s->runtime, s, theirs);
    (void)weft__map_remove(&bonds->links, s->core, peer, NULL); /* given up, and its peer gone */
    bool remote = target.node != s->node && target.node != 0;
    tell_self(s, ctx, mine, peer, remote ? WEFT_E_NOCONN : WEFT_E_NOPROC);
    return 0;
}

int weft_unlink(weft_ctx *ctx, weft_pid target) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    uint64_t peer = weft__target(target);
    uint64_t *value = bonds == NULL || target.node != s->node || target.gen == 0
                          ? NULL
                          : weft__map_find(&bonds->links, peer);
    if (value != NULL && *value >> 32 == 0) {
        weft_msg *msg = weft__arena_msg(s->messages, (uint32_t)*value); /* no EXIT to send now */
        bonds->unlink_number += bonds->unlink_number == UINT32_MAX ? 2 : 1;
        *value = (uint64_t)bonds->unlink_number << 32;
        msg->weft__kind = WEFT__SIGNAL_UNLINK;
        msg->weft__from = weft__from(ctx);
        msg->weft__u.weft__r.weft__ref = bonds->unlink_number;
        if (weft__signal_post(s, peer, msg) != 0) {
            (void)weft__map_remove(&bonds->links, s->core, peer, NULL);
        }
    }
    weft__process_purge_exit(s, ctx, peer);
    return 0;
}

uint32_t weft_links(weft_ctx *ctx, weft_pid *ret_pids, uint32_t max) {
    const struct weft__bonds *bonds = weft__bonds_had(ctx);
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    uint32_t count = 0;
    while (bonds != NULL && (entry = weft__map_next(&bonds->links, &cursor)) != NULL) {
        if (entry->value >> 32 != 0) {
            continue;
        }
        if (count < max) {
            ret_pids[count] = (weft_pid){.node = ctx->runner->node,
                                         .slot = (uint32_t)(entry->key >> 32),
                                         .gen = (uint32_t)entry->key};
        }
        count++;
    }
    return count;
}

/* Another has linked itself to this actor. */
static void linked(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    uint64_t peer = msg->weft__from;
    struct weft__bonds *bonds = weft__bonds_of(ctx);
    weft__signal_keep(s, ctx, msg);
    if (bonds == NULL || weft__map_reserve(&bonds->links, s->core) != 0) {
        struct weft__reason reason = {.code = -ENOMEM};
        send_exit(s, msg, weft__from(ctx), peer, &reason);
        return;
    }
    if (weft__map_find(&bonds->links, peer) != NULL) { /* both did, or K3 */
        weft__msg_free(s->runtime, s, msg);
        return;
    }
    weft__map_put(&bonds->links, peer, weft__arena_index(s->messages, msg));
    weft__memory_show(s->runtime, ctx);
}

void weft__link_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    uint64_t peer = msg->weft__from;
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    if (msg->weft__kind == WEFT__SIGNAL_LINK) {
        linked(s, ctx, msg);
        return;
    }
    if (msg->weft__kind == WEFT__SIGNAL_UNLINK) {
        (void)take_active(s, ctx, peer); /* K1: if it is not active it was given up here too */
        weft__signal_keep(s, ctx, msg);
        msg->weft__kind = WEFT__SIGNAL_UNLINKED;
        msg->weft__from = weft__from(ctx);
        (void)weft__signal_post(s, peer, msg); /* who is gone need not hear */
        return;
    }
    uint64_t *value = bonds == NULL ? NULL : weft__map_find(&bonds->links, peer);
    if (value != NULL && *value >> 32 == msg->weft__u.weft__r.weft__ref) {
        (void)weft__map_remove(&bonds->links, s->core, peer, NULL);
        weft__memory_show(s->runtime, ctx);
    }
    weft__msg_done(s, ctx, msg);
}

/* ---- birth and end ------------------------------------------------------------------------- */

static int birth_link(struct weft__scheduler *s, struct weft_ctx *parent, struct weft_ctx *slot) {
    struct weft__bonds *mine = weft__bonds_of(parent);
    if (mine == NULL || weft__map_reserve(&mine->links, s->core) != 0 ||
        weft__map_reserve(&slot->ext->bonds->links, s->core) != 0) {
        return -ENOMEM;
    }
    weft_msg *cell;
    weft_msg *theirs;
    int result = make_cells(s, &cell, &theirs);
    if (result == 0) {
        weft__map_put(&mine->links, weft__from(slot), weft__arena_index(s->messages, cell));
        weft__map_put(&slot->ext->bonds->links, weft__from(parent),
                      weft__arena_index(s->messages, theirs));
    }
    return result;
}

static int birth_up(struct weft__scheduler *s, struct weft_ctx *slot, uint64_t token) {
    weft_msg *msg;
    int result = weft__signal_make(s, WEFT_MSG_UP, &msg);
    if (result == 0) {
        msg->weft__from = weft__from(slot);
        msg->weft__u.weft__r.weft__ref = token;
        msg->weft__u.weft__r.weft__value = 0;
        slot->ext->bonds->up = weft__arena_index(s->messages, msg);
    }
    return result;
}

int weft__bonds_birth(struct weft__scheduler *s, struct weft_ctx *parent, struct weft_ctx *slot,
                      const weft_spawn_options *options) {
    uint64_t ref = 0;
    slot->ext->bonds = weft__alloc(s->core, sizeof(*slot->ext->bonds), "bonds");
    int result = slot->ext->bonds == NULL ? -ENOMEM : 0;
    if (result == 0 && (options->flags & WEFT_SPAWN_REPORT) != 0) {
        result = birth_up(s, slot, options->token);
    }
    if (result == 0 && (options->flags & WEFT_SPAWN_MONITOR) != 0) {
        result = weft__monitor_birth(s, parent, slot, options->token, &ref);
    }
    if (result == 0 && (options->flags & WEFT_SPAWN_LINK) != 0) {
        result = birth_link(s, parent, slot);
    }
    if (result != 0) {
        if (ref != 0) {
            (void)weft__monitor_forget(parent, ref);
        }
        weft__bonds_fini(s, slot);
        return result;
    }
    if (options->ret_monitor != NULL) {
        *options->ret_monitor = ref;
    }
    weft__memory_show(s->runtime, slot);
    weft__memory_show(s->runtime, parent);
    return 0;
}

void weft__bonds_up(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    if (bonds == NULL || bonds->up == 0) {
        return;
    }
    weft_msg *msg = weft__arena_msg(s->messages, bonds->up);
    bonds->up = 0;
    (void)weft__signal_post(s, weft_load64_relaxed(&ctx->parent), msg); /* it may be gone */
}

static struct weft__reason reason_of(const struct weft_ctx *ctx) {
    const struct weft__bonds *bonds = weft__bonds_had(ctx);
    struct weft__reason reason = {.code = ctx->reason};
    if (bonds != NULL) {
        reason.linked = bonds->linked;
        reason.data = bonds->data;
    }
    return reason;
}

void weft__bonds_tell(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    if (bonds == NULL) {
        return;
    }
    struct weft__reason reason = reason_of(ctx);
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = weft__map_next(&bonds->links, &cursor)) != NULL) { /* bounded by its links */
        uint32_t cell = (uint32_t)entry->value;
        if (cell != 0) {
            send_exit(s, weft__arena_msg(s->messages, cell), weft__from(ctx), entry->key, &reason);
        }
    }
    weft__map_fini(&bonds->links, s->core);
    weft__monitors_tell(s, ctx, &reason);
}

void weft__bonds_bury(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__reason reason = reason_of(ctx);
    uint64_t from = msg->weft__from;
    switch (msg->weft__kind) {
    case WEFT__SIGNAL_LINK:
        send_exit(s, msg, weft__from(ctx), from, &reason);
        return;
    case WEFT__SIGNAL_UNLINK:
        msg->weft__kind = WEFT__SIGNAL_UNLINKED;
        break;
    case WEFT__SIGNAL_MONITOR:
        msg->weft__kind = WEFT_MSG_DOWN;
        weft__signal_fill(msg, weft__from(ctx), &reason);
        break;
    default:
        weft_assert(!"no bond");
    }
    msg->weft__from = weft__from(ctx);
    (void)weft__signal_post(s, from, msg); /* who is gone need not hear */
}

void weft__bonds_fini(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    if (bonds == NULL) {
        return;
    }
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = weft__map_next(&bonds->links, &cursor)) != NULL) { /* of a failed birth */
        cell_free(s, (uint32_t)entry->value);
    }
    weft__map_fini(&bonds->links, s->core);
    cell_free(s, bonds->up);
    weft__monitors_fini(s, ctx);
    weft_buf_unref(bonds->data);
    weft__free(s->core, bonds, sizeof(*bonds), "bonds");
    ctx->ext->bonds = NULL;
}
