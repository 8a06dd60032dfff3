/* SPDX-License-Identifier: MIT
 *
 * Coarse timeouts: see io/alarm.h.
 */
#include "io/alarm.h"

enum { TICK_SHIFT = 23, SLOT_MASK = WEFT__ALARM_SLOTS - 1 };
_Static_assert(1 << TICK_SHIFT == WEFT__ALARM_TICK_NS, "the tick is a power of two");

void weft__alarms_init(struct weft__alarms *alarms, uint64_t now_ns) {
    *alarms = (struct weft__alarms){.tick = now_ns >> TICK_SHIFT};
    for (uint32_t i = 0; i < WEFT__ALARM_SLOTS; i++) {
        alarms->slots[i].next = &alarms->slots[i];
        alarms->slots[i].previous = &alarms->slots[i];
    }
}

static void link_node(struct weft__alarms *alarms, struct weft__alarm_node *node) {
    uint32_t slot = (uint32_t)node->due_tick & SLOT_MASK;
    struct weft__alarm_node *head = &alarms->slots[slot];
    node->next = head;
    node->previous = head->previous;
    head->previous->next = node;
    head->previous = node;
    alarms->used[slot / 64] |= (uint64_t)1 << (slot % 64);
    alarms->count++;
}

void weft__alarm_cancel(struct weft__alarms *alarms, struct weft__alarm_node *node) {
    if (node->next == NULL) {
        return;
    }
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = NULL;
    alarms->count--;
}

void weft__alarm_set(struct weft__alarms *alarms, struct weft__alarm_node *node, uint64_t due_ns) {
    weft__alarm_cancel(alarms, node);
    uint64_t due_tick = (due_ns >> TICK_SHIFT) + 1; /* never early */
    node->due_tick = due_tick > alarms->tick ? due_tick : alarms->tick;
    link_node(alarms, node);
}

/* Everything in one list: fires what is due at now_tick, moves the rest to the end. */
static uint32_t fire_slot(struct weft__alarms *alarms, uint32_t slot, uint64_t now_tick) {
    struct weft__alarm_node *head = &alarms->slots[slot];
    struct weft__alarm_node due = {.next = head->next, .previous = head->previous};
    if (head->next == head) {
        alarms->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
        return 0;
    }
    /* Onto a list of our own: fire may arm and cancel whatever it likes. */
    due.next->previous = &due;
    due.previous->next = &due;
    head->next = head;
    head->previous = head;
    alarms->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    uint32_t fired = 0;
    while (due.next != &due) { /* bounded by what was armed */
        struct weft__alarm_node *node = due.next;
        weft__alarm_cancel(alarms, node);
        if (node->due_tick > now_tick) {
            link_node(alarms, node);
            continue;
        }
        node->fire(node);
        fired++;
    }
    return fired;
}

uint32_t weft__alarms_fire(struct weft__alarms *alarms, uint64_t now_ns) {
    uint64_t now_tick = now_ns >> TICK_SHIFT;
    uint32_t fired = 0;
    if (now_tick < alarms->tick) {
        return 0;
    }
    if (alarms->count == 0) {
        alarms->tick = now_tick + 1;
        return 0;
    }
    uint64_t first = alarms->tick;
    if (now_tick - first >= WEFT__ALARM_SLOTS) {
        first = now_tick - SLOT_MASK; /* every list once */
    }
    alarms->tick = now_tick + 1; /* what is armed meanwhile comes after all of these */
    for (uint64_t tick = first; tick <= now_tick; tick++) { /* bounded by the slots */
        uint32_t slot = (uint32_t)tick & SLOT_MASK;
        if ((alarms->used[slot / 64] >> (slot % 64) & 1) != 0) {
            fired += fire_slot(alarms, slot, now_tick);
        }
    }
    return fired;
}

uint64_t weft__alarms_next_ns(const struct weft__alarms *alarms) {
    if (alarms->count == 0) {
        return UINT64_MAX;
    }
    for (uint32_t ahead = 0; ahead < WEFT__ALARM_SLOTS;) { /* bounded by the slots */
        uint32_t slot = (uint32_t)(alarms->tick + ahead) & SLOT_MASK;
        uint64_t bits = alarms->used[slot / 64] >> (slot % 64);
        if (bits != 0) {
            ahead += (uint32_t)__builtin_ctzll(bits);
            /* Beyond the end of the ring it is a list of the next round: look at it in time. */
            return (alarms->tick + ahead) << TICK_SHIFT;
        }
        ahead += 64 - slot % 64;
    }
    return (alarms->tick + WEFT__ALARM_SLOTS) << TICK_SHIFT;
}
