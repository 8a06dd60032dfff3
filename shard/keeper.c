/* SPDX-License-Identifier: MIT
 *
 * The keeper: an actor of the runtime's own that asks virtual actors to leave that are idle too
 * long, or too many where nobody could go at once, and forgets crashes that count no more. It has a timer for the time the next one can be
 * due, and none while there is nobody to watch.
 */
#include "shard/shard.h"

enum { TAG_POKE = 1, TAG_TIME = 2 };

#define WAIT_MAX_NS  UINT64_C(60000000000)
#define SLACK_NS     UINT64_C(2000000) /* later than this is late */
#define WAIT_MORE_NS UINT64_C(1000)    /* others get their turn */

static struct weft__kind *policies(struct weft__shards *shards) {
    /* Pairs with K2. */
    return (struct weft__kind *)(uintptr_t)weft_load64_acquire(&shards->policies);
}

/* When to look again; UINT64_MAX: nobody is listed. */
static uint64_t sweep(struct weft__shards *shards, weft_ctx *ctx) {
    bool more = false;
    uint64_t wait_ns = weft__crashes_sweep(shards, ctx->runner->now_ns, &more);
    for (struct weft__kind *kind = policies(shards); kind != NULL; kind = kind->next) {
        uint64_t due_ns = weft__age_sweep(shards, ctx->runner, kind, &more);
        wait_ns = weft_min_u64(wait_ns, due_ns);
    }
    return more ? WAIT_MORE_NS : wait_ns;
}

struct keeper {
    weft_timer timer; /* 0: none is under way */
};

/* Says when it looks next: at due_ns, or earlier if somebody has asked for that meanwhile. */
static void announce(struct weft__shards *shards, uint64_t due_ns) {
    uint64_t known = weft_load64_relaxed(&shards->keeper_due); /* advisory: the swap decides */
    while (due_ns < known && !weft_cas64_acq_rel(&shards->keeper_due, &known, due_ns)) {
    }
}

/* Looks again after wait_ns. */
static void wait_for(struct weft__shards *shards, weft_ctx *ctx, struct keeper *self,
                     uint64_t wait_ns) {
    (void)weft_timer_cancel(ctx, self->timer);
    self->timer = 0;
    if (weft_timer_start(ctx, wait_ns, TAG_TIME, 0, &self->timer) != 0) {
        (void)weft_exchange64_acq_rel(&shards->keeper_due, UINT64_MAX); /* the next poke tries */
    }
}

static int keeper_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct keeper *self = state;
    struct weft__shards *shards = weft__shards_of(weft_runtime_of(ctx));
    weft_assert(shards != NULL);
    uint64_t now_ns = weft__now(shards->core);
    ctx->runner->now_ns = now_ns;
    uint64_t due_ns = weft_load64_acquire(&shards->keeper_due);
    if (weft_msg_kind(msg) == WEFT_MSG_USER && due_ns != UINT64_MAX && due_ns > now_ns) {
        wait_for(shards, ctx, self, due_ns - now_ns); /* a poke is for later */
        return WEFT_CONTINUE;
    }
    /* P1: whoever is listed from here on and does not get looked at below finds nothing announced,
     * and pokes. */
    (void)weft_exchange64_acq_rel(&shards->keeper_due, UINT64_MAX);
    uint64_t wait_ns = sweep(shards, ctx);
    if (wait_ns != UINT64_MAX) {
        wait_ns = weft_min_u64(wait_ns, WAIT_MAX_NS);
        announce(shards, now_ns + wait_ns);
        wait_for(shards, ctx, self, wait_ns);
    }
    return WEFT_CONTINUE;
}

/* The keeper's type, under a name that no type of the program's has. NULL: it cannot be made. */
static const weft_type *keeper_type(struct weft__shards *shards) {
    static const char *const names[] = {"weft.keeper", "weft.keeper.2", "weft.keeper.3"};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = names[i],
                             .state_size = sizeof(struct keeper),
                             .receive = keeper_receive,
                             .mailbox_max = WEFT_MAILBOX_UNBOUNDED};
        const weft_type *type;
        int result = weft_type_register(shards->runtime, &def, &type);
        if (result == -EEXIST) {
            type = weft_type_find(shards->runtime, names[i]);
            result = type->def.receive == keeper_receive ? 0 : result;
        }
        if (result != -EEXIST) {
            return result == 0 ? type : NULL;
        }
    }
    return NULL;
}

/* The keeper's pid as a target, 0: it cannot be made just now. */
static uint64_t keeper_of(struct weft__shards *shards, struct weft__scheduler *s) {
    uint64_t keeper = weft_load64_acquire(&shards->keeper); /* pairs with K3 */
    if (weft_likely(keeper != 0)) {
        return keeper;
    }
    const weft_type *type = keeper_type(shards);
    if (type == NULL) {
        return 0;
    }
    struct weft__birth birth = {.type = type, .scheduler = -1};
    weft_pid pid;
    int result = s != NULL ? weft__spawn(shards->runtime, s, &birth, &pid)
                           : weft__spawn_outside(shards->runtime, &birth, &pid);
    if (result != 0) {
        return 0;
    }
    uint64_t none = 0;
    /* K3: publishes whom to poke; pairs with the load above. */
    if (weft_cas64_acq_rel(&shards->keeper, &none, weft__target(pid))) {
        return weft__target(pid);
    }
    /* Another thread was quicker: this one idles until the runtime stops. */
    return none;
}

void weft__keeper_poke(struct weft__shards *shards, struct weft__scheduler *s, uint64_t due_ns) {
    uint64_t known = weft_load64_acquire(&shards->keeper_due); /* pairs with P1 */
    do {
        if (weft_likely(known <= weft_add_saturated(due_ns, SLACK_NS))) {
            return;
        }
    } while (!weft_cas64_acq_rel(&shards->keeper_due, &known, due_ns));
    uint64_t keeper = keeper_of(shards, s);
    struct weft__draft draft = {.kind = WEFT_MSG_USER, .tag = TAG_POKE};
    weft_msg *msg = NULL;
    int result = keeper == 0 ? -ENOMEM : weft__msg_make(shards->runtime, s, &draft, &msg);
    if (result == 0) {
        msg->weft__from = 0;
        result = s != NULL ? weft__post(s, keeper, msg, false)
                           : weft__post_outside(shards->runtime, keeper, msg, false);
        if (result != 0) {
            weft__msg_free(shards->runtime, s, msg);
        }
    }
    if (result != 0) {
        (void)weft_exchange64_acq_rel(&shards->keeper_due, UINT64_MAX); /* the next one tries */
        return;
    }
    WEFT__COUNT(shards->runtime, s, messages_sent, 1);
}
