#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a mutated copy of what a model is built from, which the explorer must find to be wrong.

Usage: mutate.py NAME MODEL SOURCE_ROOT OUTPUT.c

Applies the patches of NAME to copies of the files below OUTPUT.c.d/, and writes OUTPUT.c, which
includes the model. With -I OUTPUT.c.d before -I SOURCE_ROOT the copies are what the model sees.
Fails when a text to replace is not found exactly as often as the patch says: then the header has
changed, and the mutation has to follow it.
"""
import os
import sys

MAILBOX = "sched/mailbox.h"
RUNQ = "sched/runq.h"
INBOX = "sched/inbox.h"
BIAS = "sched/bias.h"
IDLE = "sched/idle.h"
BARRIER = "sched/barrier.h"
MODEL_MAILBOX = "tests/model/model_mailbox.c"
MODEL_INBOX = "tests/model/model_inbox.c"
MODEL_DETACH = "tests/model/model_detach.c"
MODEL_PARK = "tests/model/model_park.c"

# Not a mutation: every access of a plain field of a message is a step (explore_atomic.h).
PLAIN = (MAILBOX, "msg->weft__next", "(*explore_plain(&msg->weft__next))", 3)

LIGHT_REMOVED = (BARRIER, """    if (barrier->asymmetric) {
        weft_fence_light();
    } else {
        weft_fence_full();
    }""", "    (void)barrier;")
HEAVY_REMOVED = (BARRIER, "explore_fence_heavy(); /*", "weft_fence_full(); /*")

# name: patches of (file, search, replacement[, how often])
MUTATIONS = {
    "plain": [PLAIN],
    # ---- mailbox
    "idle_store": [(MAILBOX, """    return weft_cas64_acq_rel(&mailbox->word, &word, \
weft__mailbox_word(gen, WEFT__MAILBOX_IDLE));""",
                    """    bool same = weft_load64_acquire(&mailbox->word) == word;
    if (same) {
        weft_store64_release(&mailbox->word, weft__mailbox_word(gen, WEFT__MAILBOX_IDLE));
    }
    return same;""")],
    "push_unchecked": [(MAILBOX, "(uint32_t)(word >> 32) != gen || head", "head")],
    "push_into_closed": [(MAILBOX, " || head == WEFT__MAILBOX_CLOSED", "")],
    "push_links_late": [(MAILBOX, "        msg->weft__next = head;\n", ""),
                        (MAILBOX, "            return head == WEFT__MAILBOX_IDLE;",
                         "            msg->weft__next = head;\n"
                         "            return head == WEFT__MAILBOX_IDLE;"),
                        PLAIN],
    "push_schedules_active": [(MAILBOX, "return head == WEFT__MAILBOX_IDLE;",
                               "return head <= WEFT__MAILBOX_ACTIVE;")],
    "bound_off_by_one": [(MAILBOX, ">= (int32_t)bound", "> (int32_t)bound")],
    "close_load_store": [(MAILBOX, "    uint32_t head = (uint32_t)weft_exchange64_acq_rel("
                          "&mailbox->word, word); /* pairs with M1 */",
                          "    uint32_t head = (uint32_t)weft_load64_acquire(&mailbox->word);\n"
                          "    weft_store64_release(&mailbox->word, word);")],
    "close_idle": [(MAILBOX, "weft__mailbox_word(gen + 1, WEFT__MAILBOX_CLOSED)",
                        "weft__mailbox_word(gen + 1, WEFT__MAILBOX_IDLE)")],
    "detach_store": [(MAILBOX, "    return weft_cas64_acq_rel(&mailbox->word, &word, "
                      "weft__mailbox_word(gen, WEFT__MAILBOX_ACTIVE));",
                      """    bool same = weft_load64_acquire(&mailbox->word) == word;
    if (same) {
        weft_store64_release(&mailbox->word, weft__mailbox_word(gen, WEFT__MAILBOX_ACTIVE));
    }
    return same;""")],
    "anchor_freed_early": [(MODEL_MAILBOX, """    if (anchor != 0) {
        cells_give(anchor);
    }
    uint32_t index""", "    uint32_t index"),
                           (MODEL_MAILBOX, """    handle(batch.last);
    return""", """    handle(batch.last);
    cells_give(batch.last);
    return"""),
                           (MODEL_MAILBOX, """                explore_step("free the anchor");
                cells_give(anchor);""", """                explore_step("free the anchor");""")],
    "next_after_free": [(MODEL_MAILBOX, """        uint32_t next = cells_next(index);
        handle(index);
        cells_give(index);
        index = next;""", """        handle(index);
        cells_give(index);
        index = cells_next(index);""")],
    "consumed_never": [(MODEL_MAILBOX, "    weft_store32_relaxed(&world.mailbox.consumed, "
                        "world.last_seq);\n", "")],
    "forward_attached": [(MODEL_DETACH,
                          "if (weft__mailbox_detach(&actor->mailbox, actor->gen, anchor)) {",
                          "if (anchor != 0) {")],
    # ---- run queue
    "publish_first": [(RUNQ, """    weft_store32_relaxed(&queue->entries[tail & queue->mask], entry);
    weft_store64_release(&queue->tail, tail + 1); /* R1 */
""", """    weft_store64_release(&queue->tail, tail + 1);
    weft_store32_relaxed(&queue->entries[tail & queue->mask], entry);
""")],
    "take_load_store": [(RUNQ, """    if (!weft_cas64_acq_rel(&queue->head, &head, head + count)) { /* R2 */
        return 0;
    }
""", """    if (weft_load64_acquire(&queue->head) != head) {
        return 0;
    }
    weft_store64_release(&queue->head, head + count);
""")],
    "push_laps": [(RUNQ, "weft_load64_acquire(&queue->head) > queue->mask",
                   "weft_load64_acquire(&queue->head) > queue->mask + 1")],
    # ---- inbox
    "link_once": [(INBOX, """    do {
        weft_store32_relaxed(link, head);
    } while (""", """    weft_store32_relaxed(link, head);
    do {
    } while (""")],
    "hurry_looks_first": [(INBOX, "    return weft_exchange32_acq_rel(&inbox->head, 0); "
                           "/* pairs with N1, both ways */",
                           "    return weft__inbox_take(inbox);")],
    "hurry_lowered_late": [(INBOX, "    weft_store32_relaxed(hurry, 0);\n", ""),
                           (INBOX, "    return weft_exchange32_acq_rel(&inbox->head, 0); "
                            "/* pairs with N1, both ways */",
                            "    uint32_t index = weft_exchange32_acq_rel(&inbox->head, 0);\n"
                            "    weft_store32_relaxed(hurry, 0);\n    return index;")],
    "hurry_raised_early": [(MODEL_INBOX, """        weft__inbox_push(&world.inbox, index, \
&world.links[index]);
        world.pushed++;
        if (hurried) {
            weft__inbox_hurry(&world.hurry);
        }""", """        if (hurried) {
            weft__inbox_hurry(&world.hurry);
        }
        weft__inbox_push(&world.inbox, index, &world.links[index]);
        world.pushed++;""")],
    "take_all_load_store": [(INBOX, "    return weft_exchange32_acq_rel(&inbox->head, 0); "
                             "/* pairs with N1 */",
                             """    uint32_t all = weft_load32_acquire(&inbox->head);
    weft_store32_release(&inbox->head, 0);
    return all;""")],
    # ---- biased lock
    "bias_light_removed": [LIGHT_REMOVED],
    "bias_heavy_removed": [HEAVY_REMOVED],
    "bias_waits_once": [(BIAS, "    } while (weft_load32_acquire(&bias->visitor) != 0); "
                         "/* pairs with B3 */", "    } while (false);")],
    "bias_visitor_stays": [(BIAS, """    if (weft_load32_acquire(&bias->inside) != 0) { \
/* pairs with B1 and B4 */
        weft_store32_release(&bias->visitor, 0);
""", "    if (weft_load32_acquire(&bias->inside) != 0) {\n")],
    "bias_looks_first": [(BIAS, """    if (!weft_cas32_acq_rel(&bias->visitor, &nobody, 1)) { /* B2 */
        return false;
    }
    weft__barrier_heavy(barrier);
    if (weft_load32_acquire(&bias->inside) != 0) { /* pairs with B1 and B4 */
        weft_store32_release(&bias->visitor, 0);
        return false;
    }
""", """    weft__barrier_heavy(barrier);
    if (weft_load32_acquire(&bias->inside) != 0) {
        return false;
    }
    if (!weft_cas32_acq_rel(&bias->visitor, &nobody, 1)) {
        return false;
    }
""")],
    # ---- park and wake
    "park_light_removed": [LIGHT_REMOVED],
    "park_heavy_removed": [HEAVY_REMOVED],
    "announce_no_barrier": [(IDLE, """    (void)weft_or64_acq_rel(&idle->sleepers[id / 64], (uint64_t)1 << (id % 64)); /* P2 */
    if (searching) {
        (void)weft_add32_acq_rel(&idle->searching, UINT32_MAX); /* P1 */
    }
    weft__barrier_heavy(&idle->barrier);
""", """    (void)weft_or64_acq_rel(&idle->sleepers[id / 64], (uint64_t)1 << (id % 64)); /* P2 */
    if (searching) {
        (void)weft_add32_acq_rel(&idle->searching, UINT32_MAX); /* P1 */
    }
""")],
    "found_never_last": [(IDLE, """    weft_fence_full(); /* pairs with the one in weft__idle_published */
    return true;
""", "    return false;\n")],
    "published_no_fence": [(IDLE, "        weft_fence_full(); /* pairs with the one in "
                            "weft__idle_found */\n", "")],
    "published_looks_once": [(IDLE, """        if (weft_load32_acquire(&idle->searching) != 0) {
            return -1;
        }
""", "        return -1;\n")],
    "retract_unchecked": [(IDLE, "    return weft__idle_clear(idle->sleepers, id) || "
                           "weft__idle_clear(idle->nappers, id);",
                           """    (void)(weft__idle_clear(idle->sleepers, id) || weft__idle_clear(idle->nappers, id));
    return true;""")],
    "clear_unchecked": [(IDLE, "           (weft_and64_acq_rel(&set[id / 64], ~bit) & bit) != 0;",
                         "           (weft_and64_acq_rel(&set[id / 64], ~bit) | bit) != 0;")],
    "try_never_again": [(IDLE, "        *ret_again = true;\n", "        (void)ret_again;\n")],
    "try_counts_late": [(IDLE, """    (void)weft_add32_acq_rel(&idle->searching, 1);
    if (weft__idle_retract(idle, id)) {
        return true;
    }
    if (weft_add32_acq_rel(&idle->searching, UINT32_MAX) == 1) {
        *ret_again = true;
    }
""", """    (void)ret_again;
    if (weft__idle_retract(idle, id)) {
        (void)weft_add32_acq_rel(&idle->searching, 1);
        return true;
    }
""")],
    "try_keeps_count": [(IDLE, """    if (weft_add32_acq_rel(&idle->searching, UINT32_MAX) == 1) {
        *ret_again = true;
    }
""", "    (void)ret_again;\n")],
    "look_skipped": [(MODEL_PARK, "    if (work_seen(id)) {", "    if (false) {")],
    "look_before_announce": [(MODEL_PARK, """    weft__idle_announce(&world.idle, id, searching);
    if (work_seen(id)) {""", """    bool seen = work_seen(id);
    weft__idle_announce(&world.idle, id, searching);
    if (seen) {""")],
    "look_forgotten": [(MODEL_PARK, "weft__idle_found(&world.idle) : look)",
                        "weft__idle_found(&world.idle) : false)")],
    "look_nap_forgotten": [(MODEL_PARK, "    if (searching && work_seen(schedulers)) {",
                            "    if (false) {")],
    "found_nap_forgotten": [(MODEL_PARK, "weft__idle_found(&world.idle) && work_seen(id)",
                             "weft__idle_found(&world.idle) && !world.napped[id] && "
                             "work_seen(id)")],
    "wake_not_sticky": [(MODEL_PARK, """    explore_wait(park_ready, "for a driver wake");""",
                         """    world.tokens[id] = 0;
    explore_wait(park_ready, "for a driver wake");""")],
}


def patched(name, root, out):
    texts = {}
    for path, search, replacement, *times in MUTATIONS[name]:
        if path not in texts:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                texts[path] = file.read()
        wanted = times[0] if times else 1
        found = texts[path].count(search)
        if found != wanted:
            sys.exit(f"mutate.py: {name}: found {found} times, not {wanted}, in {path}:\n{search}")
        texts[path] = texts[path].replace(search, replacement)
    for path, text in texts.items():
        copy = os.path.join(out, path)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(copy, "w", encoding="utf-8") as file:
            file.write(text)


def main():
    name, model, root, output = sys.argv[1:]
    patched(name, root, output + ".d")
    with open(output, "w", encoding="utf-8") as file:
        if PLAIN in MUTATIONS[name]:
            file.write("#define MUTATE_PLAIN 1\n")
        file.write(f'#include "tests/model/model_{model}.c"\n')


if __name__ == "__main__":
    main()
