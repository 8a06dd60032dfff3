/* SPDX-License-Identifier: MIT
 *
 * Monitors: see sched/bonds.h. The watching side has a record per monitor, found by its reference
 * {sequence, index}; the watched side has the cell that will be the DOWN, found by who watches. A
 * DOWN whose record is gone is dropped. Runs on the scheduler of the actor in question.
 */
#include "sched/bonds.h"
#include "sched/tracing.h"

enum { WATCHES_MIN = 2, WATCHES_MAX = 1 << 28 };

/* ---- the watching side --------------------------------------------------------------------- */

static int watch_reserve(struct weft__scheduler *s, struct weft__bonds *bonds) {
    if (bonds->watch_free != 0 || bonds->watch_used < bonds->watch_capacity) {
        return 0;
    }
    uint32_t capacity = bonds->watch_capacity == 0 ? WATCHES_MIN : bonds->watch_capacity * 2;
    if (capacity > WATCHES_MAX) {
        return -ENOMEM;
    }
    void *watches = bonds->watches;
    int result = weft__grow(s->core, &watches, bonds->watch_capacity * sizeof(*bonds->watches),
                            capacity * sizeof(*bonds->watches), "watches");
    if (result == 0) {
        bonds->watches = watches;
        bonds->watch_capacity = capacity;
    }
    return result;
}

/* After watch_reserve. */
static uint64_t watch_add(struct weft__bonds *bonds, uint64_t target, uint64_t token) {
    uint32_t index = bonds->watch_used;
    if (bonds->watch_free != 0) {
        index = bonds->watch_free - 1;
        bonds->watch_free = bonds->watches[index].next_free;
    } else {
        bonds->watch_used++;
    }
    struct weft__watch *watch = &bonds->watches[index];
    watch->target = target;
    watch->token = token;
    watch->seq++;
    weft_assert((watch->seq & 1) == 1);
    bonds->watch_count++;
    return (uint64_t)watch->seq << 32 | index;
}

static struct weft__watch *watch_find(const struct weft__bonds *bonds, uint64_t ref) {
    uint32_t index = (uint32_t)ref;
    if (bonds == NULL || index >= bonds->watch_used || (ref >> 32 & 1) == 0 ||
        bonds->watches[index].seq != ref >> 32) {
        return NULL;
    }
    return &bonds->watches[index];
}

static void watch_remove(struct weft__bonds *bonds, struct weft__watch *watch) {
    watch->seq++;
    watch->next_free = bonds->watch_free;
    bonds->watch_free = (uint32_t)(watch - bonds->watches) + 1;
    bonds->watch_count--;
}

bool weft__monitor_forget(struct weft_ctx *ctx, uint64_t ref) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    struct weft__watch *watch = watch_find(bonds, ref);
    if (watch == NULL) {
        return false;
    }
    watch_remove(bonds, watch);
    return true;
}

int weft_monitor(weft_ctx *ctx, weft_pid target, uint64_t token, weft_monitor_ref *ret_ref) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__bonds *bonds = weft__bonds_of(ctx);
    weft_msg *msg;
    if (bonds == NULL || watch_reserve(s, bonds) != 0 ||
        weft__signal_make(s, WEFT__SIGNAL_MONITOR, &msg) != 0) {
        return -ENOMEM;
    }
    bool local = target.node == s->node && !weft__is_port(s->slots, target);
    uint64_t peer = local ? weft__target(target) : 0;
    uint64_t ref = watch_add(bonds, peer, token);
    weft__memory_show(s->runtime, ctx);
    msg->weft__from = weft__from(ctx);
    msg->weft__u.weft__r.weft__ref = ref;
    if (peer == 0 || weft__post(s, peer, msg, false) != 0) {
        bool remote = target.node != s->node && target.node != 0;
        struct weft__reason reason = {.code = remote ? WEFT_E_NOCONN : WEFT_E_NOPROC};
        msg->weft__kind = WEFT_MSG_DOWN;
        weft__signal_fill(msg, weft__target(target), &reason);
        (void)weft__signal_post(s, weft__from(ctx), msg); /* fails only when it ends anyway */
    }
    if (ret_ref != NULL) {
        *ret_ref = ref;
    }
    return 0;
}

/* Tells a target that its cell is not needed any more. Without memory it keeps it until it ends. */
static void send_demonitor(struct weft__scheduler *s, const struct weft_ctx *ctx, uint64_t target,
                           uint64_t ref) {
    weft_msg *msg;
    if (target == 0 || weft__signal_make(s, WEFT__SIGNAL_DEMONITOR, &msg) != 0) {
        return;
    }
    msg->weft__from = weft__from(ctx);
    msg->weft__u.weft__r.weft__ref = ref;
    (void)weft__signal_post(s, target, msg); /* it may have ended */
}

bool weft_demonitor(weft_ctx *ctx, weft_monitor_ref ref) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    struct weft__watch *watch = watch_find(bonds, ref);
    if (watch == NULL) {
        return weft__process_purge_down(s, ctx, ref);
    }
    uint64_t target = watch->target;
    watch_remove(bonds, watch);
    send_demonitor(s, ctx, target, ref);
    return true;
}

bool weft__monitor_down(struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    struct weft__watch *watch = watch_find(bonds, msg->weft__u.weft__r.weft__ref);
    if (watch == NULL) {
        return false;
    }
    msg->weft__u.weft__r.weft__ref = watch->token;
    watch_remove(bonds, watch);
    return true;
}

/* ---- the watched side ---------------------------------------------------------------------- */

static void watched(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct weft__bonds *bonds = weft__bonds_of(ctx);
    uint64_t from = msg->weft__from;
    weft__signal_keep(s, ctx, msg);
    if (bonds == NULL || weft__map_reserve(&bonds->watchers, s->core) != 0) {
        struct weft__reason reason = {.code = -ENOMEM};
        msg->weft__kind = WEFT_MSG_DOWN;
        weft__signal_fill(msg, weft__from(ctx), &reason);
        (void)weft__signal_post(s, from, msg); /* it may have ended */
        return;
    }
    uint64_t *first = weft__map_find(&bonds->watchers, from);
    msg->weft__next = first == NULL ? 0 : (uint32_t)*first;
    weft__map_put(&bonds->watchers, from, weft__arena_index(s->messages, msg));
    weft__memory_show(s->runtime, ctx);
}

static void unwatched(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t from,
                      uint64_t ref) {
    struct weft__bonds *bonds = weft__bonds_had(ctx);
    uint64_t *first = bonds == NULL ? NULL : weft__map_find(&bonds->watchers, from);
    if (first == NULL) {
        return;
    }
    uint32_t index = (uint32_t)*first;
    uint32_t before = 0;
    while (index != 0) { /* bounded by the monitors of one watcher */
        weft_msg *cell = weft__arena_msg(s->messages, index);
        uint32_t next = cell->weft__next;
        if (cell->weft__u.weft__r.weft__ref != ref) {
            before = index;
            index = next;
            continue;
        }
        if (before != 0) {
            weft__arena_msg(s->messages, before)->weft__next = next;
        } else if (next != 0) {
            *first = next;
        } else {
            (void)weft__map_remove(&bonds->watchers, s->core, from, NULL);
            weft__memory_show(s->runtime, ctx);
        }
        weft__msg_free(s->runtime, s, cell);
        return;
    }
}

void weft__monitor_signal(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    if (msg->weft__kind == WEFT__SIGNAL_MONITOR) {
        watched(s, ctx, msg);
        return;
    }
    unwatched(s, ctx, msg->weft__from, msg->weft__u.weft__r.weft__ref);
    weft__msg_done(s, ctx, msg);
}

/* ---- birth and end ------------------------------------------------------------------------- */

int weft__monitor_birth(struct weft__scheduler *s, struct weft_ctx *parent, struct weft_ctx *slot,
                        uint64_t token, uint64_t *ret_ref) {
    struct weft__bonds *mine = weft__bonds_of(parent);
    struct weft__bonds *theirs = slot->ext->bonds;
    weft_msg *cell;
    if (mine == NULL || watch_reserve(s, mine) != 0 ||
        weft__map_reserve(&theirs->watchers, s->core) != 0 ||
        weft__signal_make(s, WEFT__SIGNAL_MONITOR, &cell) != 0) {
        return -ENOMEM;
    }
    *ret_ref = watch_add(mine, weft__from(slot), token);
    cell->weft__from = weft__from(parent);
    cell->weft__u.weft__r.weft__ref = *ret_ref;
    cell->weft__next = 0;
    weft__map_put(&theirs->watchers, weft__from(parent), weft__arena_index(s->messages, cell));
    return 0;
}

void weft__monitors_tell(struct weft__scheduler *s, struct weft_ctx *ctx,
                         const struct weft__reason *reason) {
    struct weft__bonds *bonds = ctx->ext->bonds;
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = weft__map_next(&bonds->watchers, &cursor)) != NULL) { /* bounded by watchers */
        uint32_t index = (uint32_t)entry->value;
        while (index != 0) { /* bounded by the monitors of one watcher */
            weft_msg *msg = weft__arena_msg(s->messages, index);
            index = msg->weft__next;
            msg->weft__kind = WEFT_MSG_DOWN;
            msg->weft__stamp = 0;
            weft__signal_fill(msg, weft__from(ctx), reason);
            (void)weft__signal_post(s, entry->key, msg); /* it may have ended */
        }
    }
    weft__map_fini(&bonds->watchers, s->core);
    for (uint32_t i = 0; i < bonds->watch_used && bonds->watch_count > 0; i++) {
        struct weft__watch *watch = &bonds->watches[i];
        if ((watch->seq & 1) == 1) {
            send_demonitor(s, ctx, watch->target, (uint64_t)watch->seq << 32 | i);
            watch_remove(bonds, watch);
        }
    }
}

void weft__monitors_fini(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__bonds *bonds = ctx->ext->bonds;
    const struct weft__map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = weft__map_next(&bonds->watchers, &cursor)) != NULL) { /* of a failed birth */
        weft__msg_free(s->runtime, s, weft__arena_msg(s->messages, (uint32_t)entry->value));
    }
    weft__map_fini(&bonds->watchers, s->core);
    weft__free(s->core, bonds->watches, bonds->watch_capacity * sizeof(*bonds->watches), "watches");
    bonds->watches = NULL;
}
