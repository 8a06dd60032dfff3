/* SPDX-License-Identifier: MIT
 *
 * The mailbox: one 8-byte word per actor, {generation, index of the newest message}. Any thread
 * pushes with one compare-and-swap; the actor's current runner (the owner) consumes. The word also
 * says whether the actor is scheduled, so the push that finds it idle is the one that schedules it,
 * and carries the generation, so the same compare-and-swap fails when the actor is gone.
 *
 * Low half of the word:
 *   IDLE    no messages, in no run queue; the next push schedules the actor
 *   ACTIVE  no messages, but scheduled or running
 *   CLOSED  no tenant, or one that is ending
 *   other   message index: scheduled or running, newest message first
 *
 * The owner does not unlink what it reads. It walks from the newest message down to where it
 * stopped before, handles the batch oldest first, and only the newest one (the anchor) has to stay
 * allocated until it is no longer in the word. Going idle is then one compare-and-swap from the
 * anchor to IDLE: a message costs two locked instructions in all, one at each end.
 *
 * Invariants.
 *  I1 Only the push that replaced IDLE schedules; only the owner leaves a scheduled state. So an
 *     actor is in at most one run queue and has at most one owner.
 *  I2 A message in the word or below it down to the anchor is neither freed nor pushed again
 *     (weft__mailbox_detach first). So "word still equals the anchor" means nothing was pushed.
 *  I3 Message cells are type-stable (core/arena.h): reading the seq of a head that was freed
 *     meanwhile gives a stale number, never a fault, and only the bound is off by it.
 *  I4 seq counts pushes, consumed is the seq of the last message the owner is done with; their
 *     difference is the length. It is short by what was handled while a push was under way (that
 *     push's seq is then too low) until the owner is done with that message, and off by anything in
 *     the race of I3. So a bound is approximate, and never wrong for ever.
 */
#ifndef WEFT_SCHED_MAILBOX_H
#define WEFT_SCHED_MAILBOX_H

#include "core/arena.h"
#include "core/atomic.h"
#include <errno.h>
#include <weft/msg.h>

enum {
    WEFT__MAILBOX_IDLE = 0,
    WEFT__MAILBOX_ACTIVE = 1,
    WEFT__MAILBOX_CLOSED = 2,
    WEFT__MAILBOX_FIRST = 4, /* the lowest message index */
};

struct weft__mailbox {
    weft_atomic_u64 word;     /* any thread; see above. M1: a push publishes its message */
    weft_atomic_u32 consumed; /* written by the owner, read by pushers; advisory: bounds only */
    weft_atomic_u32 sent;     /* not of the mailbox, there is just room here: how many messages its
                                 owner has sent, lower half; the owner writes; for inspection */
};

WEFT_INLINE uint64_t weft__mailbox_word(uint32_t gen, uint32_t low) {
    return (uint64_t)gen << 32 | low;
}

WEFT_INLINE weft_atomic_u32 *weft__msg_seq(weft_msg *msg) {
    return (weft_atomic_u32 *)(void *)&msg->weft__seq;
}

/* A new tenant. low is IDLE or the first message. Owner only, while CLOSED. */
WEFT_INLINE void weft__mailbox_open(struct weft__mailbox *mailbox, uint32_t gen, uint32_t low) {
    /* M0: publishes the slot's fields; pairs with the acquire of the compare-and-swap in push. */
    weft_store64_release(&mailbox->word, weft__mailbox_word(gen, low));
}

/* Pushes one message. 1: it was idle, the caller must schedule the actor; 0: it was not;
 * WEFT_E_NOPROC; -EBUSY when bound (0: none) messages wait. On error nothing happened. */
WEFT_INLINE int weft__mailbox_push(struct weft__mailbox *mailbox, const struct weft__arena *arena,
                                   uint32_t gen, uint32_t index, uint32_t bound) {
    weft_msg *msg = weft__arena_msg(arena, index);
    uint64_t word = weft_load64_relaxed(&mailbox->word); /* advisory: the swap below decides */
    for (;;) {
        uint32_t head = (uint32_t)word;
#ifdef WEFT_PLANT_STALE_PID
        gen = (uint32_t)(word >> 32);
#endif
        if (weft_unlikely((uint32_t)(word >> 32) != gen || head == WEFT__MAILBOX_CLOSED)) {
            return WEFT_E_NOPROC;
        }
        uint32_t consumed = weft_load32_relaxed(&mailbox->consumed);
        uint32_t last = head < WEFT__MAILBOX_FIRST
                            ? consumed
                            : weft_load32_acquire(weft__msg_seq(weft__arena_msg(arena, head)));
        if (weft_unlikely(bound != 0 && (int32_t)(last - consumed) >= (int32_t)bound)) {
            /* I3: nobody is refused because of a number that belongs to another message by now. */
            uint64_t again = weft_load64_acquire(&mailbox->word);
            if (again != word) {
                word = again;
                continue;
            }
            return -EBUSY;
        }
        msg->weft__next = head;
        weft_store32_relaxed(weft__msg_seq(msg), last + 1);
        /* M1: publishes the message; pairs with the acquire in weft__mailbox_newest. */
        if (weft_likely(
                weft_cas64_acq_rel(&mailbox->word, &word, weft__mailbox_word(gen, index)))) {
            return head == WEFT__MAILBOX_IDLE;
        }
    }
}

/* The newest message, or 0 when nothing was pushed above anchor (0: no anchor). Owner only. */
WEFT_INLINE uint32_t weft__mailbox_newest(struct weft__mailbox *mailbox, uint32_t anchor) {
    uint32_t head = (uint32_t)weft_load64_acquire(&mailbox->word); /* pairs with M1 */
    return head < WEFT__MAILBOX_FIRST || head == anchor ? 0 : head;
}

/* Goes idle if nothing was pushed above anchor (0: none). True: the actor is no longer ours and
 * the anchor may be freed. Owner only. */
WEFT_INLINE bool weft__mailbox_idle(struct weft__mailbox *mailbox, uint32_t gen, uint32_t anchor) {
    uint64_t word = weft__mailbox_word(gen, anchor != 0 ? anchor : WEFT__MAILBOX_ACTIVE);
    /* M2: hands the actor's state to the next owner; pairs with the push that finds IDLE. */
    return weft_cas64_acq_rel(&mailbox->word, &word, weft__mailbox_word(gen, WEFT__MAILBOX_IDLE));
}

/* Takes the anchor out of the word, so that it can be pushed elsewhere. False: something was
 * pushed above it; take that first, which leaves a new anchor. Owner only. */
WEFT_INLINE bool weft__mailbox_detach(struct weft__mailbox *mailbox, uint32_t gen,
                                      uint32_t anchor) {
    uint64_t word = weft__mailbox_word(gen, anchor);
    return weft_cas64_acq_rel(&mailbox->word, &word, weft__mailbox_word(gen, WEFT__MAILBOX_ACTIVE));
}

/* The same, leaving another message in its place (0: none) that the owner has taken and will
 * handle: that one is the anchor then. Owner only. */
WEFT_INLINE bool weft__mailbox_detach_to(struct weft__mailbox *mailbox, uint32_t gen,
                                         uint32_t anchor, uint32_t next) {
    uint64_t word = weft__mailbox_word(gen, anchor);
    uint32_t low = next != 0 ? next : (uint32_t)WEFT__MAILBOX_ACTIVE;
    return weft_cas64_acq_rel(&mailbox->word, &word, weft__mailbox_word(gen, low)); /* M1 */
}

/* Ends the tenancy: every later push with gen fails. Returns the newest message left, 0 for none
 * above anchor. Owner only. */
WEFT_INLINE uint32_t weft__mailbox_close(struct weft__mailbox *mailbox, uint32_t gen,
                                         uint32_t anchor) {
    uint64_t word = weft__mailbox_word(gen + 1, WEFT__MAILBOX_CLOSED);
    uint32_t head = (uint32_t)weft_exchange64_acq_rel(&mailbox->word, word); /* pairs with M1 */
    return head < WEFT__MAILBOX_FIRST || head == anchor ? 0 : head;
}

/* A batch in the order it was sent. Links are message indices in weft__next, 0 ends. */
struct weft__batch {
    uint32_t first;
    uint32_t last; /* the newest: the new anchor */
    uint8_t kinds; /* all kinds or-ed: has a signal when WEFT__KIND_SIGNAL is in it */
};

enum { WEFT__KIND_SIGNAL = 32 }; /* bit of weft__kind: for the runtime, not for the user */

/* Turns the chain from newest down to anchor (exclusive) or the bottom around. Bounded by the
 * mailbox's length, about 2 ns a message. Owner only. */
WEFT_INLINE struct weft__batch weft__mailbox_reverse(const struct weft__arena *arena,
                                                     uint32_t newest, uint32_t anchor) {
    struct weft__batch batch = {.first = 0, .last = newest};
    uint32_t index = newest;
    while (index >= WEFT__MAILBOX_FIRST && index != anchor) {
        weft_msg *msg = weft__arena_msg(arena, index);
        uint32_t older = msg->weft__next;
        msg->weft__next = batch.first;
        batch.kinds |= msg->weft__kind;
        batch.first = index;
        index = older;
    }
    return batch;
}

/* Messages waiting, about. Any thread. */
WEFT_INLINE uint32_t weft__mailbox_length(struct weft__mailbox *mailbox,
                                          const struct weft__arena *arena) {
    uint32_t head = (uint32_t)weft_load64_acquire(&mailbox->word);
    if (head < WEFT__MAILBOX_FIRST) {
        return 0;
    }
    uint32_t last = weft_load32_relaxed(weft__msg_seq(weft__arena_msg(arena, head)));
    int32_t length = (int32_t)(last - weft_load32_relaxed(&mailbox->consumed));
    return length > 0 ? (uint32_t)length : 0;
}

#endif
