/* SPDX-License-Identifier: MIT
 *
 * Coarse timeouts of one scheduler's sockets: idle, connecting, handshakes, lingering. Exact to
 * WEFT__ALARM_TICK_NS, late rather than early. A ring of 512 lists of intrusive nodes covers four
 * seconds; a node that is due later waits in the list its time falls on and is moved on when that
 * comes round. Arm and cancel are a few instructions, which idle timeouts of a hundred thousand
 * connections need. Its scheduler's thread only.
 */
#ifndef WEFT_IO_ALARM_H
#define WEFT_IO_ALARM_H

#include "core/defs.h"

enum {
    WEFT__ALARM_TICK_NS = 1 << 23, /* 8.4 ms */
    WEFT__ALARM_SLOTS = 512,
};

struct weft__alarm_node {
    struct weft__alarm_node *next; /* NULL: not armed */
    struct weft__alarm_node *previous;
    uint64_t due_tick;
    void (*fire)(struct weft__alarm_node *node); /* called when it is due */
};

struct weft__alarms {
    struct weft__alarm_node slots[WEFT__ALARM_SLOTS]; /* heads of circular lists */
    uint64_t used[WEFT__ALARM_SLOTS / 64];            /* lists that may hold a node */
    uint64_t tick;                                    /* everything before it has fired */
    uint32_t count;
};

void weft__alarms_init(struct weft__alarms *alarms, uint64_t now_ns);
/* Arms a node for due_ns, or again. */
void weft__alarm_set(struct weft__alarms *alarms, struct weft__alarm_node *node, uint64_t due_ns);
/* Takes a node out, if it is armed. */
void weft__alarm_cancel(struct weft__alarms *alarms, struct weft__alarm_node *node);
/* Calls fire of every node that is due; it is not armed any more then, and may be armed again.
 * Returns how many. */
uint32_t weft__alarms_fire(struct weft__alarms *alarms, uint64_t now_ns);
/* When to fire next; UINT64_MAX with nothing armed. May be early. */
uint64_t weft__alarms_next_ns(const struct weft__alarms *alarms);

#endif
