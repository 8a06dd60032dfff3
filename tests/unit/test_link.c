/* SPDX-License-Identifier: MIT
 *
 * Exit reasons, links, exit signals, monitors, as weft/link.h says.
 */
#include "tests/unit/support.h"

/* What an actor is told to do to another, and what came of it. */
struct deed {
    weft_pid target;
    weft_reason reason;
    uint64_t token;
    weft_monitor_ref ref;
    uint32_t flags;
    const weft_type *type;
    struct probe *probe;
    int result;
    bool trapped;
};

static void do_link(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = weft_link(ctx, deed->target);
}

static void do_unlink(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = weft_unlink(ctx, deed->target);
}

static void do_trap(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->trapped = weft_trap_exit(ctx, true);
}

static void do_monitor(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = weft_monitor(ctx, deed->target, deed->token, &deed->ref);
}

static void do_demonitor(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = weft_demonitor(ctx, deed->ref) ? 1 : 0;
}

static void do_exit(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    weft_exit_with(ctx, &deed->reason);
}

static void do_signal(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = weft_exit_signal(ctx, deed->target, &deed->reason);
}

static void do_spawn(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &deed->probe,
                                  .arg_size = sizeof(struct probe *),
                                  .flags = deed->flags,
                                  .token = deed->token,
                                  .ret_monitor = &deed->ref};
    deed->result = weft_spawn_with(ctx, deed->type, &options, &deed->target);
}

static void do_count_links(weft_ctx *ctx, void *arg) {
    struct deed *deed = arg;
    deed->result = (int)weft_links(ctx, &deed->target, 1);
}

static void link_actors(struct rig *rig, weft_pid one, weft_pid other) {
    struct deed deed = {.target = other};
    act(rig, one, do_link, &deed);
    ck_assert_int_eq(deed.result, 0);
}

static void trap(struct rig *rig, weft_pid pid) {
    struct deed deed = {0};
    act(rig, pid, do_trap, &deed);
}

static void end_with(struct rig *rig, weft_pid pid, int code, const char *text) {
    struct deed deed = {.reason = {.code = code, .data = text, .size = text ? strlen(text) : 0}};
    act(rig, pid, do_exit, &deed);
}

/* The reason of every EXIT and DOWN, as it was received. */
struct told {
    weft_reason reasons[64];
    char texts[64][32];
    weft_pid senders[64];
    uint64_t tokens[64];
    weft_atomic_u32 count;
};

static int note_reason(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct told *told = probe->user;
    uint32_t at = weft_load32_relaxed(&told->count);
    if (at < 64 && weft_msg_reason(ctx, msg, &told->reasons[at])) {
        size_t size = told->reasons[at].size < 31 ? told->reasons[at].size : 31;
        if (size != 0) {
            memcpy(told->texts[at], told->reasons[at].data, size);
        }
        told->senders[at] = weft_sender(ctx, msg);
        told->tokens[at] = weft_msg_token(msg);
        weft_store32_release(&told->count, at + 1);
    }
    return WEFT_CONTINUE;
}

static struct rig noting_rig(int schedulers, struct probe *probe, struct told *told) {
    probe->handler = note_reason;
    probe->user = told;
    return rig_start(schedulers_of(schedulers));
}

START_TEST(a_crash_ends_the_linked_and_says_whose) {
    struct told told = {0};
    struct probe watch = PROBE_INIT;
    struct probe end = PROBE_INIT;
    struct rig rig = noting_rig(_i, &watch, &told);
    weft_pid watcher = rig_spawn(&rig, &watch);
    weft_pid first = rig_spawn(&rig, NULL);
    weft_pid second = rig_spawn(&rig, &end);
    link_actors(&rig, first, second);
    settle(&rig, second);
    struct deed monitor = {.target = second, .token = 77};
    act(&rig, watcher, do_monitor, &monitor);
    end_with(&rig, first, -EIO, "disk");
    eventually(weft_load32_acquire(&told.count) == 1);
    ck_assert_int_eq(told.reasons[0].code, -EIO);
    ck_assert(weft_pid_equal(told.reasons[0].linked, first));
    ck_assert(weft_pid_equal(told.senders[0], second));
    ck_assert_int_eq(strcmp(told.texts[0], "disk"), 0);
    ck_assert_uint_eq(told.tokens[0], 77);
    ck_assert_int_eq(weft_reason_kind(&told.reasons[0]), WEFT_REASON_LINKED);
    ck_assert_uint_eq(weft_load32_relaxed(&end.terminations), 1);
    ck_assert_uint_eq(rig_stats(&rig).crashes, 1); /* the one that is not another's fault */
    rig_stop(&rig);
    probe_fini(&watch);
    probe_fini(&end);
}
END_TEST

static int links_of(struct rig *rig, weft_pid pid) {
    struct deed deed = {0};
    act(rig, pid, do_count_links, &deed);
    return deed.result;
}

START_TEST(a_normal_end_leaves_the_linked_alone) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_pid first = rig_spawn(&rig, NULL);
    weft_pid second = rig_spawn(&rig, NULL);
    link_actors(&rig, first, second);
    end_with(&rig, first, 0, NULL);
    eventually(links_of(&rig, second) == 0); /* it hears of the end after nobody finds first */
    ck_assert(!is_alive(&rig, first));
    settle(&rig, second);
    rig_stop(&rig);
}
END_TEST

START_TEST(who_traps_exits_gets_a_message_of_normal_ends_too) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid trapping = rig_spawn(&rig, &probe);
    trap(&rig, trapping);
    static const int codes[] = {0, -EIO, WEFT_E_SHUTDOWN, 42, -ETIMEDOUT};
    static const enum weft_reason_kind kinds[] = {WEFT_REASON_NORMAL, WEFT_REASON_ERROR,
                                                  WEFT_REASON_SHUTDOWN, WEFT_REASON_CUSTOM,
                                                  WEFT_REASON_TIMEOUT};
    for (uint32_t i = 0; i < 5; i++) {
        weft_pid other = rig_spawn(&rig, NULL);
        link_actors(&rig, i % 2 == 0 ? other : trapping, i % 2 == 0 ? trapping : other);
        settle(&rig, other);
        settle(&rig, trapping);
        end_with(&rig, other, codes[i], "why");
        eventually(weft_load32_acquire(&told.count) == i + 1);
        ck_assert_int_eq(told.reasons[i].code, codes[i]);
        ck_assert_int_eq(weft_reason_kind(&told.reasons[i]), kinds[i]);
        ck_assert_int_eq(strcmp(told.texts[i], "why"), 0);
        ck_assert(weft_pid_equal(told.senders[i], other));
        ck_assert(weft_pid_is_none(told.reasons[i].linked));
    }
    ck_assert_uint_eq(probe_count_kind(&probe, WEFT_MSG_EXIT), 5);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(killed_cannot_be_trapped_but_its_echo_can) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid trapping = rig_spawn(&rig, &probe);
    weft_pid victim = rig_spawn(&rig, NULL);
    trap(&rig, trapping);
    trap(&rig, victim);
    link_actors(&rig, trapping, victim);
    settle(&rig, victim);
    struct deed kill = {.target = victim, .reason = {.code = WEFT_E_KILLED}};
    act(&rig, trapping, do_signal, &kill);
    ck_assert_int_eq(kill.result, 0);
    eventually(weft_load32_acquire(&told.count) == 1);
    ck_assert_int_eq(weft_reason_kind(&told.reasons[0]), WEFT_REASON_KILLED);
    ck_assert(is_alive(&rig, trapping));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(linking_to_the_dead_is_an_exit_signal_noproc) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid dead = rig_spawn(&rig, NULL);
    end_with(&rig, dead, 0, NULL);
    eventually(!is_alive(&rig, dead));
    weft_pid plain = rig_spawn(&rig, NULL);
    link_actors(&rig, plain, dead);
    eventually(!is_alive(&rig, plain));
    weft_pid trapping = rig_spawn(&rig, &probe);
    trap(&rig, trapping);
    link_actors(&rig, trapping, dead);
    eventually(weft_load32_acquire(&told.count) == 1);
    ck_assert_int_eq(weft_reason_kind(&told.reasons[0]), WEFT_REASON_NOPROC);
    ck_assert(weft_pid_equal(told.senders[0], dead));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(links_are_idempotent_and_unlinking_ends_them_both_ways) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_pid first = rig_spawn(&rig, NULL);
    weft_pid second = rig_spawn(&rig, NULL);
    struct deed deed = {.target = second};
    for (uint32_t i = 0; i < 5; i++) {
        link_actors(&rig, first, second);
        link_actors(&rig, second, first);
        act(&rig, first, do_count_links, &deed);
        ck_assert_int_eq(deed.result, 1);
        ck_assert(weft_pid_equal(deed.target, second));
        act(&rig, first, do_unlink, &deed);
        ck_assert_int_eq(deed.result, 0);
        act(&rig, first, do_count_links, &deed);
        ck_assert_int_eq(deed.result, 0);
        settle(&rig, second);
        struct deed back = {0};
        act(&rig, second, do_count_links, &back);
        ck_assert_int_eq(back.result, 0);
    }
    end_with(&rig, first, -EIO, NULL);
    eventually(!is_alive(&rig, first));
    settle(&rig, second);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_monitor_tells_exactly_once) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid watcher = rig_spawn(&rig, &probe);
    weft_pid target = rig_spawn(&rig, NULL);
    struct deed deeds[10];
    for (uint32_t i = 0; i < 10; i++) {
        deeds[i] = (struct deed){.target = target, .token = i};
        act(&rig, watcher, do_monitor, &deeds[i]);
        ck_assert_int_eq(deeds[i].result, 0);
    }
    for (uint32_t i = 0; i < 10; i += 2) {
        act(&rig, watcher, do_demonitor, &deeds[i]);
        ck_assert_int_eq(deeds[i].result, 1);
        act(&rig, watcher, do_demonitor, &deeds[i]);
        ck_assert_int_eq(deeds[i].result, 0);
    }
    end_with(&rig, target, 7, "seven");
    eventually(weft_load32_acquire(&told.count) == 5);
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(weft_reason_kind(&told.reasons[i]), WEFT_REASON_CUSTOM);
        ck_assert(weft_pid_equal(told.senders[i], target));
        tokens |= 1u << told.tokens[i];
    }
    ck_assert_uint_eq(tokens, 0x2aa);
    struct deed late = {.target = target, .token = 99};
    act(&rig, watcher, do_monitor, &late);
    eventually(weft_load32_acquire(&told.count) == 6);
    ck_assert_int_eq(weft_reason_kind(&told.reasons[5]), WEFT_REASON_NOPROC);
    ck_assert_uint_eq(told.tokens[5], 99);
    act(&rig, watcher, do_demonitor, &late);
    ck_assert_int_eq(late.result, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_child_may_be_linked_monitored_and_reported_from_the_first) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct probe child = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid parent = rig_spawn(&rig, &probe);
    trap(&rig, parent);
    for (uint32_t round = 0; round < 50; round++) {
        struct deed deed = {.type = rig.puppet,
                            .probe = &child,
                            .token = 5,
                            .flags = WEFT_SPAWN_LINK | WEFT_SPAWN_MONITOR | WEFT_SPAWN_REPORT};
        act(&rig, parent, do_spawn, &deed);
        ck_assert_int_eq(deed.result, 0);
        ck_assert_uint_ne(deed.ref, 0);
        eventually(probe_count_kind(&probe, WEFT_MSG_UP) == round + 1);
        end_with(&rig, deed.target, -EIO, NULL);
        eventually(probe_count_kind(&probe, WEFT_MSG_DOWN) == round + 1);
        eventually(probe_count_kind(&probe, WEFT_MSG_EXIT) == round + 1);
    }
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&child);
}
END_TEST

START_TEST(a_child_whose_init_fails_is_told_of_and_never_up) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct probe child = PROBE_INIT;
    child.init_result = -EBADF;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid parent = rig_spawn(&rig, &probe);
    trap(&rig, parent);
    struct deed deed = {
        .type = rig.puppet, .probe = &child, .flags = WEFT_SPAWN_LINK | WEFT_SPAWN_REPORT};
    act(&rig, parent, do_spawn, &deed);
    eventually(weft_load32_acquire(&told.count) == 1);
    ck_assert_int_eq(told.reasons[0].code, -EBADF);
    ck_assert_uint_eq(probe_count_kind(&probe, WEFT_MSG_UP), 0);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&child);
}
END_TEST

/* A ring: each is linked to the next. */
START_TEST(a_ring_of_links_that_breaks_dies_completely) {
    enum { RING = 10000 };
    static weft_pid pids[RING];
    struct rig rig = rig_start(schedulers_of(_i));
    for (uint32_t i = 0; i < RING; i++) {
        pids[i] = rig_spawn(&rig, NULL);
    }
    for (uint32_t i = 0; i < RING; i++) {
        link_actors(&rig, pids[i], pids[(i + 1) % RING]);
    }
    end_with(&rig, pids[RING / 3], -EIO, "the first");
    eventually(rig_gauges(&rig).actors == 0);
    ck_assert_uint_eq(rig_stats(&rig).exits, RING);
    ck_assert_uint_eq(rig_stats(&rig).crashes, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(exit_signals_follow_the_table_of_exit_2) {
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid sender = rig_spawn(&rig, NULL);
    weft_pid plain = rig_spawn(&rig, NULL);
    struct deed normal = {.target = plain};
    act(&rig, sender, do_signal, &normal); /* normal to another: nothing */
    settle(&rig, plain);
    struct deed error = {.target = plain, .reason = {.code = -EIO}};
    act(&rig, sender, do_signal, &error);
    eventually(!is_alive(&rig, plain));
    act(&rig, sender, do_signal, &error);
    ck_assert_int_eq(error.result, WEFT_E_NOPROC);
    weft_pid trapping = rig_spawn(&rig, &probe);
    trap(&rig, trapping);
    struct deed trapped = {.target = trapping, .reason = {.code = 0}};
    act(&rig, sender, do_signal, &trapped);
    trapped.reason.code = -EIO;
    act(&rig, sender, do_signal, &trapped);
    eventually(weft_load32_acquire(&told.count) == 2);
    ck_assert_int_eq(told.reasons[0].code, 0);
    ck_assert_int_eq(told.reasons[1].code, -EIO);
    struct deed self = {.target = sender};
    act(&rig, sender, do_signal, &self); /* normal to itself: it ends */
    eventually(!is_alive(&rig, sender));
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

START_TEST(reasons_that_do_not_fit_are_refused_or_cut) {
    static char large[WEFT_REASON_BYTES_MAX + 1];
    struct told told = {0};
    struct probe probe = PROBE_INIT;
    struct rig rig = noting_rig(_i, &probe, &told);
    weft_pid watcher = rig_spawn(&rig, &probe);
    weft_pid target = rig_spawn(&rig, NULL);
    struct deed monitor = {.target = target};
    act(&rig, watcher, do_monitor, &monitor);
    struct deed deed = {.target = target,
                        .reason = {.code = -EIO, .data = large, .size = sizeof(large)}};
    act(&rig, watcher, do_signal, &deed);
    ck_assert_int_eq(deed.result, -EMSGSIZE);
    act(&rig, target, do_exit, &deed);
    eventually(weft_load32_acquire(&told.count) == 1);
    ck_assert_int_eq(told.reasons[0].code, -EIO);
    ck_assert_uint_eq(told.reasons[0].size, 0);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("link");
    TCase *cases = tcase_create("all");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, a_crash_ends_the_linked_and_says_whose, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_normal_end_leaves_the_linked_alone, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, who_traps_exits_gets_a_message_of_normal_ends_too, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, killed_cannot_be_trapped_but_its_echo_can, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, linking_to_the_dead_is_an_exit_signal_noproc, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, links_are_idempotent_and_unlinking_ends_them_both_ways, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_monitor_tells_exactly_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_child_may_be_linked_monitored_and_reported_from_the_first, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_child_whose_init_fails_is_told_of_and_never_up, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(cases, a_ring_of_links_that_breaks_dies_completely, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, exit_signals_follow_the_table_of_exit_2, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, reasons_that_do_not_fit_are_refused_or_cut, 0, SCHEDULER_CASES);
    suite_add_tcase(s, cases);
    return s;
}

int main(void) {
    return run_suite(suite());
}
