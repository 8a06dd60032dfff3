/* SPDX-License-Identifier: MIT
 *
 * Chains of blocked callers: see sched/chain.h. Everything runs on the scheduler of the actor in
 * question, except weft__chain_drop, which frees on any thread.
 *
 * How a cell is used as a node: weft__seq counts references, weft__stamp is the mark, weft__from is
 * the actor that waits, weft__ref and weft__value are the reference and the deadline of its call,
 * weft__size is the parent's index (0: none), weft__tag the number of nodes down from the first
 * call, weft__next the next of the same actor; struct place is where a payload would be. weft__flags
 * and weft__owner stay the pool's. A pusher that reads the seq of a cell that has become a node
 * meanwhile takes it as a hint only (sched/mailbox.h, I3).
 */
#include "sched/chain.h"
#include "sched/process.h"
#include "sched/tracing.h"

enum {
    HELD_LOOKED = 64, /* messages a serial actor holds that are looked at for a chain */
    BRANCHES = 32, /* actors with several calls on one way ahead whose others are looked at too */
    OWN_SLACK = 8, /* nodes of ended calls an actor keeps until it looks through them */
    LOGGED = 8,    /* pids of a circle that the log shows */
    AWAIT_LOOKED = 64, /* calls pending at most, among which an await looks for its own */
    /* the mark, bits */
    ENDED = 1,
    DORMANT = 2, /* nobody waits for the call yet */
    TOUCHED = 4, /* its request is stuck, or one further down. Set under chain_lock */
};

/* What its maker's list holds of a node; a reference is 1. */
static const uint32_t OWN_SHARE = UINT32_C(1) << 31;

/* What a node has where a message has its payload. Under chain_lock, but for prune. */
struct place {
    uint32_t slot;     /* the actor behind which the request is stuck that carries the node */
    uint32_t episode;  /* of that slot; another one by now: it is stuck there no more */
    uint64_t until_ns; /* when that request expires */
    uint32_t children; /* nodes whose parent this is, as far as they were seen in a chain that is
                          stuck */
    uint32_t next;     /* child of the same parent */
    uint32_t previous;
    uint32_t linked; /* is among the children of its parent */
    uint32_t round;  /* the search that has seen it last */
    uint32_t work;   /* what that search looks at next */
};
enum { NODE_CLASS = 1 };
_Static_assert(WEFT__WIDE_BYTES + sizeof(struct place) <= (WEFT__CELL_BYTES << NODE_CLASS),
               "a node's cell");

static uint32_t *chain_at(weft_msg *msg) {
    size_t bytes = weft__class_bytes(msg->weft__flags & WEFT__CLASS_MASK);
    return (uint32_t *)(void *)((unsigned char *)msg + bytes - WEFT__CHAIN_BYTES);
}
_Static_assert((int)WEFT__CHAIN_BYTES == (int)sizeof(uint32_t), "an index");

static weft_atomic_u32 *references_at(weft_msg *node) {
    return weft__msg_seq(node);
}

static weft_atomic_u32 *mark_at(weft_msg *node) {
    return (weft_atomic_u32 *)(void *)&node->weft__stamp;
}

static struct place *place_at(weft_msg *node) {
    return (struct place *)(void *)node->weft__u.weft__r.weft__wide;
}

static void lock(weft_runtime *runtime) {
    weft__lock_enter(&runtime->chain_lock, runtime->core.env);
}

static void unlock(weft_runtime *runtime) {
    weft__lock_leave(&runtime->chain_lock);
}

/* Has the call ended for which a node stands? What is further up waits for something else then. */
static bool is_over(const struct weft__scheduler *s, weft_msg *node) {
    return (weft_load32_relaxed(mark_at(node)) & ENDED) != 0 || /* H2 */
           (uint64_t)node->weft__u.weft__r.weft__value <= s->now_ns;
}

/* Does nobody wait for the call yet? Then no way leads over its node. H3: what touched it before
 * has seen, or will be seen by, who wakes it: both change this one word (wake). */
static bool is_dormant(weft_msg *node) {
    return (weft_load32_relaxed(mark_at(node)) & DORMANT) != 0; /* H3 */
}

/* Changes a mark; what it was. An ended node stays ended. */
static uint32_t change_mark(weft_msg *node, uint32_t clear, uint32_t set) {
    uint32_t mark = weft_load32_relaxed(mark_at(node)); /* the swap decides */
    while ((mark & ENDED) == 0 && /* bounded by who changes it: its owner, lock holders, its end */
           !weft_cas32_acq_rel(mark_at(node), &mark, (mark & ~clear) | set)) {
    }
    return mark;
}

/* ---- references ---------------------------------------------------------------------------- */

static void ref(const struct weft__arena *arena, uint32_t index) {
    uint32_t before = weft_add32_acq_rel(references_at(weft__arena_msg(arena, index)), 1);
    weft_assert(before != 0);
}

/* Under chain_lock. */
static void link_child(const struct weft__arena *arena, weft_msg *node) {
    uint32_t index = weft__arena_index(arena, node);
    struct place *place = place_at(node);
    struct place *parent = place_at(weft__arena_msg(arena, node->weft__size));
    place->next = parent->children;
    place->previous = 0;
    place->linked = 1;
    if (parent->children != 0) {
        place_at(weft__arena_msg(arena, parent->children))->previous = index;
    }
    parent->children = index;
}

/* Under chain_lock. */
static void unlink_child(const struct weft__arena *arena, weft_msg *node) {
    struct place *place = place_at(node);
    if (place->next != 0) {
        place_at(weft__arena_msg(arena, place->next))->previous = place->previous;
    }
    if (place->previous != 0) {
        place_at(weft__arena_msg(arena, place->previous))->next = place->next;
    } else {
        place_at(weft__arena_msg(arena, node->weft__size))->children = place->next;
    }
    place->linked = 0;
}

/* Drops a share, 1 or OWN_SHARE, and what hangs on it alone. */
static void unref(weft_runtime *runtime, struct weft__scheduler *s, uint32_t index,
                  uint32_t share) {
    struct weft__arena *arena = &runtime->core.messages;
    while (index != 0) { /* bounded by WEFT__CHAIN_MAX */
        weft_msg *node = weft__arena_msg(arena, index);
        /* H1: who drops the last reference has seen what all others did; pairs with itself. */
        uint32_t before = weft_load32_acquire(references_at(node)); /* H1 */
        if (before != share) { /* else nobody is left who could add one */
            before = weft_add32_acq_rel(references_at(node), 0 - share);
        }
        weft_assert(before >= share);
        if (before != share) {
            return;
        }
        share = 1;
        if (place_at(node)->linked != 0) { /* who linked it had a share */
            lock(runtime);
            unlink_child(arena, node);
            unlock(runtime);
        }
        index = node->weft__size;
        if (s != NULL) {
            weft__pool_free(&s->pool, node);
        } else {
            weft__pool_free_outside(&runtime->shared_pool, node);
        }
    }
}

void weft__chain_drop(weft_runtime *runtime, struct weft__scheduler *s, weft_msg *msg) {
    if ((msg->weft__flags & WEFT__MSG_CHAIN) == 0) {
        return;
    }
    msg->weft__flags &= (uint8_t)~WEFT__MSG_CHAIN;
    uint32_t index = *chain_at(msg);
    weft_msg *node = weft__arena_msg(&runtime->core.messages, index);
    if (node->weft__from == msg->weft__from &&
        node->weft__u.weft__r.weft__ref == msg->weft__u.weft__r.weft__ref) {
        /* H2: nobody waits for it any more, nor those further up because of it. Read in is_over;
         * advisory: who reads it too late sees the circle that there was a moment ago. */
        weft_store32_relaxed(mark_at(node), ENDED);
    }
    unref(runtime, s, index, 1);
}

/* ---- making -------------------------------------------------------------------------------- */

/* The newest request with a chain that the actor holds, or NULL. from: only one of that caller; 0:
 * of any. */
static weft_msg *held_of(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                         uint64_t from) {
    uint32_t index = ctx->held;
    for (uint32_t looked = 0; index != 0 && looked < HELD_LOOKED; looked++) {
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if ((msg->weft__flags & WEFT__MSG_CHAIN) != 0 && (from == 0 || msg->weft__from == from)) {
            return msg;
        }
        index = msg->weft__next;
    }
    return NULL;
}

static weft_msg *newest_held(const struct weft__scheduler *s, const struct weft_ctx *ctx) {
    return held_of(s, ctx, 0);
}

/* The chain of what the actor serves, or 0: of the message at hand, also if it was taken just now.
 * An actor that is blocked keeps everybody waiting whose request it holds: one of the target itself
 * goes before others, or else the newest stands for all. */
static uint32_t served(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                       uint64_t target) {
    if (weft_unlikely(ctx->held != 0) && target != 0 && weft__chain_owns(ctx)) {
        weft_msg *own = held_of(s, ctx, target);
        if (own != NULL) {
            return *chain_at(own);
        }
    }
    if (s->msg != NULL && (s->msg->weft__flags & WEFT__MSG_CHAIN) != 0) {
        return *chain_at(s->msg);
    }
    if (!weft__chain_owns(ctx) && (ctx->life & WEFT__LIFE_TAKEN) == 0) {
        return 0;
    }
    weft_msg *held = newest_held(s, ctx);
    return held == NULL ? 0 : *chain_at(held);
}

void weft__chain_untake(struct weft__scheduler *s, struct weft_ctx *ctx, const weft_msg *msg) {
    if ((ctx->life & WEFT__LIFE_TAKEN) != 0 && newest_held(s, ctx) == msg) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_TAKEN; /* what comes now is not for its sake */
    }
}

/* Cuts off what a node that is held by nobody else need not remember. Without that, requests that
 * are passed on for ever by calls, each answered when the next is made, would carry a chain that
 * only the bound stops from growing. */
static void prune(struct weft__scheduler *s, weft_msg *node) {
    uint32_t parent = node->weft__size;
    uint32_t shares = weft_load32_acquire(references_at(node)) & ~OWN_SHARE; /* H1 */
    if (parent == 0 || shares != 1 || !is_over(s, weft__arena_msg(s->messages, parent))) {
        return;
    }
    if (place_at(node)->linked != 0) { /* by somebody who had a share then, and has none now */
        lock(s->runtime);
        unlink_child(s->messages, node);
        unlock(s->runtime);
    }
    node->weft__size = 0;
    node->weft__tag = 1;
    unref(s->runtime, s, parent, 1);
}

/* ---- an actor's own nodes ------------------------------------------------------------------ */

/* Takes the nodes of ended calls, or all, out of the actor's list. Returns them as a list. */
static uint32_t own_take(struct weft__scheduler *s, struct weft_ctx *ctx, bool all) {
    uint32_t taken = 0;
    uint32_t *link = &ctx->own;
    while (*link != 0) { /* bounded by own_count */
        uint32_t index = *link;
        weft_msg *node = weft__arena_msg(s->messages, index);
        if (!all && !is_over(s, node)) {
            link = &node->weft__next;
            continue;
        }
        *link = node->weft__next;
        node->weft__next = taken;
        taken = index;
        ctx->own_count--;
    }
    return taken;
}

/* The calls of these nodes have ended. */
static void own_drop(struct weft__scheduler *s, uint32_t index) {
    while (index != 0) { /* bounded by the list */
        weft_msg *node = weft__arena_msg(s->messages, index);
        uint32_t next = node->weft__next;
        weft_store32_relaxed(mark_at(node), ENDED); /* H2 */
        unref(s->runtime, s, index, OWN_SHARE);
        index = next;
    }
}

static void own_add(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t index) {
    bool shown = ctx->episode != 0;
    uint32_t ended = 0;
    if (shown) {
        lock(s->runtime);
    }
    if (ctx->own_count > 2 * ctx->ext->calls.count + OWN_SLACK) {
        ended = own_take(s, ctx, false); /* calls overlap without end: amortized */
    }
    weft__arena_msg(s->messages, index)->weft__next = ctx->own;
    ctx->own = index;
    ctx->own_count++;
    if (shown) {
        unlock(s->runtime);
    }
    own_drop(s, ended);
    ctx->life |= WEFT__LIFE_BLOCKED;
}

void weft__chain_unblock(struct weft__scheduler *s, struct weft_ctx *ctx) {
    bool shown = ctx->episode != 0;
    if (shown) {
        lock(s->runtime);
        ctx->episode = 0;
    }
    uint32_t ended = own_take(s, ctx, true);
    if (shown) {
        unlock(s->runtime);
    }
    own_drop(s, ended);
    ctx->life &= ~(uint32_t)WEFT__LIFE_BLOCKED;
}

/* Is the call of a reference pending? */
static bool is_pending(const struct weft__calls *calls, uint64_t reference) {
    uint32_t index = (uint32_t)reference;
    return index < calls->used && (reference >> 32 & 1) == 1 &&
           calls->records[index].seq == reference >> 32;
}

void weft__chain_give_up(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t index = ctx->own;
    while (index != 0) { /* bounded by own_count */
        weft_msg *node = weft__arena_msg(s->messages, index);
        if (!is_pending(&ctx->ext->calls, node->weft__u.weft__r.weft__ref)) {
            weft_store32_relaxed(mark_at(node), ENDED); /* H2 */
        }
        index = node->weft__next;
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

/* A node for a call that the actor is about to make: all but its reference and its deadline. */
static int make_node(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t target,
                     uint32_t *ret_index) {
    weft_msg *node = weft__pool_alloc(&s->pool, NODE_CLASS);
    if (weft_unlikely(node == NULL)) {
        return -ENOMEM;
    }
    uint32_t parent = served(s, ctx, target);
    uint32_t depth = 1;
    if (parent != 0) {
        weft_msg *up = weft__arena_msg(s->messages, parent);
        prune(s, up);
        if (up->weft__tag < WEFT__CHAIN_MAX) {
            depth = up->weft__tag + 1;
            ref(s->messages, parent);
        } else {
            parent = 0;
        }
    }
    node->weft__kind = WEFT_MSG_USER;
    node->weft__from = weft__from(ctx);
    node->weft__size = parent;
    node->weft__tag = depth;
    node->weft__u.weft__r.weft__ref = 0;
    node->weft__u.weft__r.weft__value = INT64_MAX;
    *place_at(node) = (struct place){0};
    weft_store32_relaxed(mark_at(node), weft__chain_blocks(ctx) ? 0 : DORMANT);
    weft_store32_relaxed(references_at(node), OWN_SHARE + 1); /* its list's and the request's */
    *ret_index = weft__arena_index(s->messages, node);
    own_add(s, ctx, *ret_index);
    return 0;
}

int weft__chain_request(struct weft__scheduler *s, struct weft_ctx *ctx,
                        const struct weft__draft *draft, uint64_t target, weft_msg **ret_msg) {
    struct weft__draft chained = *draft;
    chained.chained = true;
    bool small = draft->size <= WEFT__CELL_BYTES - WEFT__WIDE_BYTES - WEFT__CHAIN_BYTES;
    weft_msg *msg = small ? weft__msg_small(s, ctx, draft) : NULL;
    int result = msg != NULL ? 0 : weft__msg_make(s->runtime, s, &chained, &msg);
    if (result != 0) {
        return result;
    }
    msg->weft__from = weft__from(ctx);
    *ret_msg = msg;
    uint32_t index;
    if (!weft__chain_owns(ctx)) {
        index = served(s, ctx, target);
        if (index == 0) {
            return 0;
        }
        ref(s->messages, index);
    } else {
        result = make_node(s, ctx, target, &index);
        if (result != 0) {
            weft__msg_free(s->runtime, s, msg);
            return result;
        }
    }
    *chain_at(msg) = index;
    msg->weft__flags |= WEFT__MSG_CHAIN;
    return 0;
}

/* A number for an episode or a search, never 0. Under chain_lock. */
static uint32_t next_number(weft_runtime *runtime) {
    runtime->chain_number += runtime->chain_number == UINT32_MAX ? 2 : 1;
    return runtime->chain_number;
}

/* Notes where a request is stuck, and that those further up wait for it. Under chain_lock. */
static void put_note(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg) {
    weft_msg *node = weft__arena_msg(s->messages, *chain_at(msg));
    struct place *place = place_at(node);
    place->slot = ctx->index;
    place->episode = ctx->episode;
    place->until_ns = (uint64_t)msg->weft__u.weft__r.weft__value;
    (void)change_mark(node, 0, TOUCHED);                  /* H3 */
    while (node->weft__size != 0 && place->linked == 0) { /* bounded by WEFT__CHAIN_MAX */
        link_child(s->messages, node);
        node = weft__arena_msg(s->messages, node->weft__size);
        place = place_at(node);
        (void)change_mark(node, 0, TOUCHED); /* H3 */
    }
}

/* ---- what an actor holds -------------------------------------------------------------------- */

/* Does this request keep its caller waiting until the actor is unblocked, without being what its
 * call is made for (parent)? A serial actor answers others in between, so there only those count
 * whose note ends with their answer: the node is their own. */
static bool waits_beside(const struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg,
                         uint32_t parent) {
    if ((msg->weft__flags & WEFT__MSG_CHAIN) == 0 || *chain_at(msg) == parent) {
        return false;
    }
    const weft_msg *node = weft__arena_msg(s->messages, *chain_at(msg));
    return (ctx->life & WEFT__LIFE_PROCESS) != 0 ||
           (node->weft__from == msg->weft__from &&
            node->weft__u.weft__r.weft__ref == msg->weft__u.weft__r.weft__ref);
}

static bool holds_beside(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                         uint32_t parent) {
    uint32_t index = ctx->held;
    for (uint32_t looked = 0; index != 0 && looked < HELD_LOOKED; looked++) {
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (waits_beside(s, ctx, msg, parent)) {
            return true;
        }
        index = msg->weft__next;
    }
    return false;
}

/* The requests an actor holds besides that one are stuck behind it: a node has one parent. Under
 * chain_lock. */
static void note_held(struct weft__scheduler *s, const struct weft_ctx *ctx, uint32_t parent) {
    uint32_t index = ctx->held;
    for (uint32_t looked = 0; index != 0 && looked < HELD_LOOKED; looked++) {
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (waits_beside(s, ctx, msg, parent)) {
            put_note(s, ctx, msg);
        }
        index = msg->weft__next;
    }
}

/* A process begins to wait: what was stuck behind it in an earlier wait may have been handled, or
 * passed on, since. Those that are stuck still are noted anew by whoever looks. Under chain_lock. */
static void begin_episode(struct weft__scheduler *s, struct weft_ctx *ctx) {
    if (ctx->episode == 0 || (ctx->life & WEFT__LIFE_PROCESS) != 0) {
        ctx->episode = next_number(s->runtime);
    }
}

void weft__chain_enter(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    if (!weft__chain_owns(ctx)) {
        return; /* the chain is another's */
    }
    weft_msg *node = weft__arena_msg(s->messages, *chain_at(msg));
    bool blocks = weft__chain_blocks(ctx);
    bool beside = ctx->held != 0 && blocks && holds_beside(s, ctx, node->weft__size);
    bool shown = ctx->episode != 0 || beside; /* others may be looking at it already */
    if (shown) {
        lock(s->runtime);
    }
    node->weft__u.weft__r.weft__ref = msg->weft__u.weft__r.weft__ref;
    node->weft__u.weft__r.weft__value = msg->weft__u.weft__r.weft__value;
    if (shown) {
        if (blocks) {
            begin_episode(s, ctx);
        }
        if (beside) { /* before the request is sent: so whoever gets it finds the notes */
            note_held(s, ctx, node->weft__size);
        }
        unlock(s->runtime);
    }
}

void weft__chain_pass_on(struct weft__scheduler *s, const struct weft_ctx *ctx, weft_msg *msg) {
    lock(s->runtime);
    struct place *place = place_at(weft__arena_msg(s->messages, *chain_at(msg)));
    if (place->slot == ctx->index) {
        place->episode = 0;
    }
    unlock(s->runtime);
}

/* ---- looking ------------------------------------------------------------------------------- */

/* A circle for the log: the actor that closes it, and the latest caller's node. */
struct circle {
    struct weft_ctx *ctx;
    weft_msg *refused; /* the request that closes it; NULL: none does */
    uint32_t index;
};

static void tell_circle(void *arg) {
    const struct circle *circle = arg;
    const struct weft_ctx *ctx = circle->ctx;
    const struct weft__scheduler *s = ctx->runner;
    uint32_t index = circle->index;
    char self[WEFT_PID_TEXT_BYTES] = "";
    char callers[LOGGED * (WEFT_PID_TEXT_BYTES + 1) + 4] = "";
    size_t at = 0;
    (void)weft_pid_format(weft_self(ctx), self, sizeof(self)); /* fits */
    for (uint32_t i = 0; i < LOGGED && index != 0; i++) {
        weft_msg *node = weft__arena_msg(s->messages, index);
        weft_pid pid = {.node = s->node,
                        .slot = (uint32_t)(node->weft__from >> 32),
                        .gen = (uint32_t)node->weft__from};
        at += i == 0 ? 0 : 1;
        callers[at == 0 ? 0 : at - 1] = ' ';
        (void)weft_pid_format(pid, callers + at, WEFT_PID_TEXT_BYTES); /* fits */
        at += strlen(callers + at);
        index = node->weft__from == weft__from(ctx) ? 0 : node->weft__size;
    }
    if (index != 0) {
        memcpy(callers + at, " ...", 5);
    }
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = ctx->type->name},
        {.key = "pid", .kind = WEFT_LOG_TEXT, .text = self},
        {.key = "callers", .kind = WEFT_LOG_TEXT, .text = callers}, /* the latest first */
    };
    weft__log(s->core, WEFT_LOG_WARN, "call.circle", fields, 3);
}

/* On the scheduler's stack: the hook may need much. */
static void log_circle(struct weft_ctx *ctx, uint32_t index) {
    struct circle circle = {.ctx = ctx, .index = index};
    weft__on_scheduler(ctx, tell_circle, &circle);
}

/* Back: is a pending call of the actor in the request's chain? */
static bool waits_for_itself(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                             weft_msg *msg) {
    uint32_t index = *chain_at(msg);
    while (index != 0) { /* bounded by WEFT__CHAIN_MAX */
        weft_msg *node = weft__arena_msg(s->messages, index);
        if (is_over(s, node) || is_dormant(node)) { /* H3: if not for long, the search finds it */
            return false;
        }
        if (node->weft__from == weft__from(ctx)) {
            /* Answered or given up meanwhile: what waits for it waits no more. */
            return is_pending(&ctx->ext->calls, node->weft__u.weft__r.weft__ref);
        }
        index = node->weft__size;
    }
    return false;
}

/* The actor behind which a node's call is stuck, or NULL. Under chain_lock. */
static const struct weft_ctx *stuck_behind(const struct weft__scheduler *s, weft_msg *node) {
    const struct place *place = place_at(node);
    if (place->episode == 0 || place->until_ns <= s->now_ns) {
        return NULL;
    }
    const struct weft_ctx *slot = weft__slot_at(s->slots, place->slot);
    return slot->episode == place->episode ? slot : NULL;
}

struct search {
    uint32_t round;
    uint32_t work; /* nodes to look at, by place.work */
    uint32_t left; /* how many more it may see */
};

/* Adds a node that the search has not seen and whose call is pending. */
static void search_add(const struct weft__scheduler *s, struct search *search, uint32_t index) {
    weft_msg *node = weft__arena_msg(s->messages, index);
    struct place *place = place_at(node);
    if (place->round == search->round || is_over(s, node) || is_dormant(node)) {
        return;
    }
    place->round = search->round;
    place->work = search->work;
    search->work = index;
}

/* Is it a node of this actor that somebody waits for? */
static bool is_own_awake(const struct weft__scheduler *s, uint64_t self, uint32_t index) {
    weft_msg *node = weft__arena_msg(s->messages, index);
    return node->weft__from == self && !is_over(s, node) && !is_dormant(node);
}

/* Ahead: do the actor's own calls lead back to it, or (self: the actor) to one of them? Under
 * chain_lock. */
static bool leads_back(struct weft__scheduler *s, const struct weft_ctx *ctx, uint64_t self) {
    struct search search = {.round = next_number(s->runtime), .left = WEFT__CHAIN_MAX};
    const struct weft_ctx *slot = ctx;
    uint32_t child = 0;
    for (;;) { /* bounded by search.left */
        uint32_t own = slot == NULL ? 0 : slot->own;
        for (; own != 0 && search.left > 0; search.left--) {
            search_add(s, &search, own);
            own = weft__arena_msg(s->messages, own)->weft__next;
        }
        for (; child != 0 && search.left > 0; search.left--) {
            search_add(s, &search, child);
            if (is_own_awake(s, self, child)) {
                return true;
            }
            child = place_at(weft__arena_msg(s->messages, child))->next;
        }
        if (search.work == 0) {
            return false;
        }
        weft_msg *node = weft__arena_msg(s->messages, search.work);
        search.work = place_at(node)->work;
        slot = stuck_behind(s, node);
        child = place_at(node)->children;
        if (slot == ctx) {
            return true;
        }
    }
}

bool weft__chain_stick(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    bool closes = waits_for_itself(s, ctx, msg);
    if (!closes && ctx->own != 0) {
        lock(s->runtime);
        if (ctx->episode == 0) {
            ctx->episode = next_number(s->runtime);
        }
        put_note(s, ctx, msg);
        closes = leads_back(s, ctx, 0);
        if (closes) {
            place_at(weft__arena_msg(s->messages, *chain_at(msg)))->episode = 0;
        }
        unlock(s->runtime);
    }
    return closes;
}

static void tell_refused(void *arg) {
    struct circle *circle = arg;
    tell_circle(arg);
    weft__trace_dropped(circle->ctx->runner, circle->ctx, circle->refused, -EDEADLK);
}

void weft__chain_refuse(struct weft__scheduler *s, struct weft_ctx *ctx, weft_msg *msg) {
    struct circle circle = {.ctx = ctx, .index = *chain_at(msg), .refused = msg};
    weft__on_scheduler(ctx, tell_refused, &circle);
    weft__answer(s, ctx, msg, -EDEADLK);
}

/* ---- awaiting ------------------------------------------------------------------------------ */

/* The node of the actor's pending call with a token; 0: there is none, or no such call, or there
 * are several, any of which ends the wait. */
static uint32_t node_of(const struct weft__scheduler *s, const struct weft_ctx *ctx,
                        uint64_t token) {
    const struct weft__calls *calls = &ctx->ext->calls;
    uint64_t reference = 0;
    uint32_t cursor = 0;
    uint64_t another;
    if (calls->count > AWAIT_LOOKED || !weft__calls_find(calls, token, &cursor, &reference) ||
        weft__calls_find(calls, token, &cursor, &another)) {
        return 0;
    }
    uint32_t index = ctx->own;
    while (index != 0) { /* bounded by own_count */
        const weft_msg *node = weft__arena_msg(s->messages, index);
        if (node->weft__u.weft__r.weft__ref == reference) {
            return index;
        }
        index = node->weft__next;
    }
    return 0;
}

/* The actor has begun to wait, and somebody may be stuck because of it: does it wait for itself? */
static bool closes_now(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t parent) {
    lock(s->runtime);
    begin_episode(s, ctx);
    note_held(s, ctx, parent);
    uint32_t index = ctx->ext->process->saved;
    while (index != 0) { /* bounded by what is saved */
        weft_msg *msg = weft__arena_msg(s->messages, index);
        if (weft__is_request(msg) && (msg->weft__flags & WEFT__MSG_CHAIN) != 0) {
            put_note(s, ctx, msg);
        }
        index = msg->weft__next;
    }
    bool closes = leads_back(s, ctx, weft__from(ctx));
    unlock(s->runtime);
    return closes;
}

bool weft__chain_await(struct weft__scheduler *s, struct weft_ctx *ctx, uint64_t token) {
    struct weft__process *process = ctx->ext->process;
    uint32_t index = node_of(s, ctx, token);
    if (index == 0) {
        return false;
    }
    weft_msg *node = weft__arena_msg(s->messages, index);
    process->awaited = index;
    bool touched = (change_mark(node, DORMANT, 0) & TOUCHED) != 0; /* H3 */
    bool looks = touched || process->saved_chains != 0 || ctx->episode != 0 ||
                 (ctx->held != 0 && holds_beside(s, ctx, node->weft__size));
    if (!looks || !closes_now(s, ctx, node->weft__size)) {
        return false;
    }
    log_circle(ctx, index);
    weft__chain_awaited(s, process);
    return true;
}

void weft__chain_awaited(struct weft__scheduler *s, struct weft__process *process) {
    if (process->awaited != 0) { /* its node is in the list still, until the turn looks around */
        (void)change_mark(weft__arena_msg(s->messages, process->awaited), 0, DORMANT);
        process->awaited = 0;
    }
}

/* ---- room ---------------------------------------------------------------------------------- */

void weft__chain_move(weft_msg *source, weft_msg *target) {
    if ((source->weft__flags & WEFT__MSG_CHAIN) != 0) {
        *chain_at(target) = *chain_at(source);
        source->weft__flags &= (uint8_t)~WEFT__MSG_CHAIN;
        target->weft__flags |= WEFT__MSG_CHAIN;
    }
}

bool weft__chain_is_over(const struct weft__scheduler *s, weft_msg *msg) {
    return (msg->weft__flags & WEFT__MSG_CHAIN) != 0 &&
           is_over(s, weft__arena_msg(s->messages, *chain_at(msg)));
}

/* Does the actor handle nothing but answers just now? */
static bool is_blocked(const struct weft_ctx *ctx) {
    return (ctx->life & WEFT__LIFE_PROCESS) != 0 ? weft__process_blocked(ctx->ext->process)
                                                 : ctx->ext->calls.count != 0;
}

void weft__chain_stick_waiters(struct weft__scheduler *s, struct weft_ctx *ctx) {
    uint32_t *link = &ctx->waiters;
    if (ctx->own == 0 || !is_blocked(ctx)) {
        return;
    }
    /* Their stamp says in which episode they were looked at; those behind were before. */
    while (*link != 0) { /* bounded by those that came since */
        weft_msg *msg = weft__arena_msg(s->messages, *link);
        if (msg->weft__stamp != 0 && msg->weft__stamp == ctx->episode) {
            break;
        }
        if ((msg->weft__flags & WEFT__MSG_CHAIN) != 0 && weft__chain_stick(s, ctx, msg)) {
            *link = msg->weft__next;
            msg->weft__stamp = 0;
            weft__chain_refuse(s, ctx, msg);
            continue;
        }
        msg->weft__stamp = ctx->episode;
        link = &msg->weft__next;
    }
    if (ctx->waiters == 0) {
        ctx->life &= ~(uint32_t)WEFT__LIFE_WAITERS;
    }
}
