/* SPDX-License-Identifier: MIT
 *
 * Groups: joining, leaving, members, broadcasts; also while members come, go and end, and without
 * memory.
 */
#define _GNU_SOURCE
#include "sched/name.h"
#include "tests/unit/support.h"

#if defined(WEFT_TSAN) || defined(__SANITIZE_ADDRESS__)
enum { CROWD = 10000, SLOW = 4 };
#else
enum { CROWD = 100000, SLOW = 1 };
#endif

static int join(struct rig *rig, const char *group, weft_pid pid) {
    return weft_group_join(rig->runtime, group, strlen(group), pid);
}

static int leave(struct rig *rig, const char *group, weft_pid pid) {
    return weft_group_leave(rig->runtime, group, strlen(group), pid);
}

static uint32_t members(struct rig *rig, const char *group, weft_pid *pids, uint32_t max) {
    return weft_group_members(rig->runtime, group, strlen(group), pids, max);
}

static uint32_t table_count(struct rig *rig) {
    struct weft__names *names = weft__names_of(rig->runtime);
    if (names == NULL) {
        return 0;
    }
    weft__names_enter(names);
    uint32_t count = names->count;
    weft__names_leave(names);
    return count;
}

static void kill_and_wait(struct rig *rig, weft_pid pid) {
    ck_assert_int_eq(weft_runtime_kill_actor(rig->runtime, pid), 0);
    eventually(!is_alive(rig, pid));
}

/* What one actor does for a test. */
struct shout {
    const char *group;
    weft_broadcast what;
    int result;
};

static void shout_it(weft_ctx *ctx, void *arg) {
    struct shout *shout = arg;
    shout->result = weft_group_broadcast(ctx, shout->group, strlen(shout->group), &shout->what);
}

static int broadcast(struct rig *rig, weft_pid from, const char *group, weft_broadcast what) {
    struct shout shout = {.group = group, .what = what};
    shout.what.struct_size = WEFT_BROADCAST_INIT;
    act(rig, from, shout_it, &shout);
    return shout.result;
}

/* ---- joining and leaving --------------------------------------------------------------------- */

START_TEST(who_joined_is_there_until_it_left_as_often) {
    struct rig rig = rig_start(1);
    weft_pid pids[8];
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    ck_assert_uint_eq(members(&rig, "g", pids, 8), 0);
    ck_assert_int_eq(leave(&rig, "g", ann), -ENOENT);
    ck_assert_int_eq(join(&rig, "g", ann), 0);
    ck_assert_int_eq(join(&rig, "g", bob), 0);
    ck_assert_int_eq(join(&rig, "g", ann), 0);
    ck_assert_int_eq(join(&rig, "h", bob), 0);
    ck_assert_uint_eq(members(&rig, "g", pids, 8), 3);
    ck_assert(weft_pid_equal(pids[0], ann));
    ck_assert(weft_pid_equal(pids[1], ann));
    ck_assert(weft_pid_equal(pids[2], bob));
    memset(pids, 0, sizeof(pids));
    ck_assert_uint_eq(members(&rig, "g", pids, 1), 3);
    ck_assert(weft_pid_equal(pids[0], ann));
    ck_assert(weft_pid_is_none(pids[1]));
    ck_assert_uint_eq(members(&rig, "g", NULL, 0), 3);
    ck_assert_uint_eq(members(&rig, "g", NULL, 9), 3);
    ck_assert_uint_eq(members(&rig, "h", pids, 8), 1);
    ck_assert_int_eq(leave(&rig, "g", ann), 0);
    ck_assert_uint_eq(members(&rig, "g", pids, 8), 2);
    ck_assert(weft_pid_equal(pids[0], ann));
    ck_assert(weft_pid_equal(pids[1], bob));
    ck_assert_int_eq(leave(&rig, "g", ann), 0);
    ck_assert_int_eq(leave(&rig, "g", ann), -ENOENT);
    ck_assert_uint_eq(members(&rig, "g", pids, 8), 1);
    ck_assert_int_eq(leave(&rig, "g", bob), 0);
    ck_assert_uint_eq(members(&rig, "g", pids, 8), 0);
    ck_assert_int_eq(leave(&rig, "h", bob), 0);
    ck_assert_uint_eq(table_count(&rig), 0); /* groups that nobody is in are gone */
    rig_stop(&rig);
}
END_TEST

START_TEST(wrong_arguments_are_refused) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    weft_pid dead = rig_spawn(&rig, NULL);
    kill_and_wait(&rig, dead);
    weft_pid far = pid;
    far.node ^= 1;
    char longest[WEFT_NAME_BYTES_MAX + 1];
    memset(longest, 'g', sizeof(longest));
    ck_assert_int_eq(weft_group_join(NULL, "g", 1, pid), -EINVAL);
    ck_assert_int_eq(weft_group_join(rig.runtime, NULL, 1, pid), -EINVAL);
    ck_assert_int_eq(weft_group_join(rig.runtime, "g", 0, pid), -EINVAL);
    ck_assert_int_eq(weft_group_join(rig.runtime, longest, sizeof(longest), pid), -EINVAL);
    ck_assert_int_eq(weft_group_join(rig.runtime, "g", 1, far), -EINVAL);
    ck_assert_int_eq(weft_group_join(rig.runtime, "g", 1, weft_pid_none()), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_group_leave(NULL, "g", 1, pid), -EINVAL);
    ck_assert_int_eq(weft_group_leave(rig.runtime, NULL, 1, pid), -EINVAL);
    ck_assert_int_eq(weft_group_leave(rig.runtime, "g", 0, pid), -EINVAL);
    ck_assert_int_eq(weft_group_leave(rig.runtime, "g", 1, weft_pid_none()), -ENOENT);
    ck_assert_uint_eq(weft_group_members(NULL, "g", 1, NULL, 0), 0);
    ck_assert_uint_eq(weft_group_members(rig.runtime, NULL, 1, NULL, 0), 0);
    ck_assert_uint_eq(weft_group_members(rig.runtime, "g", 0, NULL, 0), 0);
    ck_assert_int_eq(broadcast(&rig, pid, "g", (weft_broadcast){0}), 0); /* nobody */
    ck_assert_ptr_null(weft__names_of(rig.runtime));
    ck_assert_int_eq(weft_group_join(rig.runtime, "g", 1, dead), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_group_join(rig.runtime, longest, WEFT_NAME_BYTES_MAX, pid), 0);
    ck_assert_int_eq(weft_group_leave(rig.runtime, longest, WEFT_NAME_BYTES_MAX, pid), 0);
    ck_assert_uint_eq(table_count(&rig), 0);
    rig_stop(&rig);
}
END_TEST

static void shout_wrongly(weft_ctx *ctx, void *arg) {
    weft_broadcast what = {.struct_size = WEFT_BROADCAST_INIT};
    (void)arg;
    ck_assert_int_eq(weft_group_broadcast(ctx, NULL, 1, &what), -EINVAL);
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 0, &what), -EINVAL);
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 256, &what), -EINVAL);
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 1, NULL), -EINVAL);
    what.size = 1;
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 1, &what), -EINVAL);
    what.data = "";
    what.size = SIZE_MAX / 4;
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 1, &what), -EMSGSIZE);
    what.size = 0;
    what.struct_size = 0;
    ck_assert_int_eq(weft_group_broadcast(ctx, "g", 1, &what), -EINVAL);
}

START_TEST(wrong_broadcasts_are_refused) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    ck_assert_int_eq(join(&rig, "g", pid), 0);
    act(&rig, pid, shout_wrongly, NULL);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_name_and_a_group_may_be_called_the_same) {
    struct rig rig = rig_start(1);
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    weft_pid pid;
    ck_assert_int_eq(weft_name_register(rig.runtime, "same", 4, ann), 0);
    ck_assert_int_eq(join(&rig, "same", bob), 0);
    ck_assert(weft_pid_equal(weft_name_whereis(rig.runtime, "same", 4), ann));
    ck_assert_uint_eq(members(&rig, "same", &pid, 1), 1);
    ck_assert(weft_pid_equal(pid, bob));
    ck_assert_int_eq(weft_name_unregister(rig.runtime, "same", 4), 0);
    ck_assert_uint_eq(members(&rig, "same", &pid, 1), 1);
    rig_stop(&rig);
}
END_TEST

/* An actor of a thousand groups, and one of a thousand names, end. */
START_TEST(who_ends_is_in_no_group) {
    struct rig rig = rig_start(2);
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    char name[32];
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "group %u", i);
        ck_assert_int_eq(join(&rig, name, ann), 0);
        if (i % 2 == 0) {
            ck_assert_int_eq(join(&rig, name, ann), 0);
            ck_assert_int_eq(join(&rig, name, bob), 0);
        }
        ck_assert_int_eq(weft_name_register(rig.runtime, name, strlen(name), ann), 0);
    }
    kill_and_wait(&rig, ann);
    eventually(table_count(&rig) == 1000); /* 500 groups with one member */
    for (uint32_t i = 0; i < 1000; i++) {
        weft_pid pid;
        snprintf(name, sizeof(name), "group %u", i);
        ck_assert_uint_eq(members(&rig, name, &pid, 1), i % 2 == 0 ? 1 : 0);
        ck_assert(i % 2 != 0 || weft_pid_equal(pid, bob));
    }
    kill_and_wait(&rig, bob);
    eventually(table_count(&rig) == 0);
    rig_stop(&rig);
}
END_TEST

/* Parts in the middle go, others stay; the order is that of joining. */
START_TEST(members_stay_in_order_while_others_leave) {
    struct rig rig = rig_start(1);
    enum { COUNT = 300 };
    weft_pid pids[COUNT];
    weft_pid found[COUNT];
    bool in[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pids[i] = rig_spawn(&rig, NULL);
        ck_assert_int_eq(join(&rig, "g", pids[i]), 0);
        in[i] = true;
    }
    uint32_t left = COUNT;
    for (uint32_t step = 0; left > 0; step++) {
        uint32_t i = (step * 7919u) % COUNT;
        if (in[i]) {
            ck_assert_int_eq(leave(&rig, "g", pids[i]), 0);
            in[i] = false;
            left--;
        }
        uint32_t at = 0;
        ck_assert_uint_eq(members(&rig, "g", found, COUNT), left);
        for (uint32_t k = 0; k < COUNT; k++) {
            ck_assert(!in[k] || weft_pid_equal(found[at++], pids[k]));
        }
    }
    ck_assert_uint_eq(table_count(&rig), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(members_that_come_and_go_need_no_more_memory) {
    struct rig rig = rig_start(1);
    weft_pid stays = rig_spawn(&rig, NULL);
    weft_pid goes[5];
    ck_assert_int_eq(join(&rig, "g", stays), 0);
    uint32_t used = 0;
    for (uint32_t i = 0; i < 5; i++) {
        goes[i] = rig_spawn(&rig, NULL);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        for (uint32_t k = 0; k < 5; k++) {
            ck_assert_int_eq(join(&rig, "g", goes[(k + i) % 5]), 0);
        }
        for (uint32_t k = 0; k < 5; k++) {
            ck_assert_int_eq(leave(&rig, "g", goes[k]), 0);
        }
        used = i == 100 ? weft__names_of(rig.runtime)->bump : used;
    }
    ck_assert_uint_eq(weft__names_of(rig.runtime)->bump, used);
    ck_assert_uint_eq(members(&rig, "g", NULL, 0), 1);
    rig_stop(&rig);
}
END_TEST

/* ---- broadcasts ------------------------------------------------------------------------------ */

START_TEST(everybody_gets_a_broadcast_once) {
    struct rig rig = rig_start(schedulers_of(_i));
    enum { COUNT = 1000 };
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    weft_pid pids[COUNT];
    ck_assert_ptr_nonnull(probes);
    for (uint32_t i = 0; i < COUNT; i++) {
        probes[i] = (struct probe)PROBE_INIT;
        pids[i] = rig_spawn(&rig, &probes[i]);
        ck_assert_int_eq(join(&rig, "g", pids[i]), 0);
        if (i % 3 == 0) {
            ck_assert_int_eq(join(&rig, "g", pids[i]), 0);
        }
    }
    weft_broadcast what = {.tag = 1, .data = "first", .size = 5};
    ck_assert_int_eq(broadcast(&rig, pids[0], "g", what), COUNT);
    what = (weft_broadcast){.tag = 2, .except = pids[7]};
    ck_assert_int_eq(broadcast(&rig, pids[0], "g", what), COUNT - 1);
    what = (weft_broadcast){.tag = 3, .except = rig_spawn(&rig, NULL)};
    ck_assert_int_eq(broadcast(&rig, pids[0], "g", what), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t wanted = i == 7 ? 2 : 3;
        eventually(probe_count(&probes[i]) >= wanted);
        settle(&rig, pids[i]);
        ck_assert_uint_eq(probe_count(&probes[i]), wanted);
        struct seen seen = probe_at(&probes[i], 0);
        ck_assert_int_eq(seen.kind, WEFT_MSG_USER);
        ck_assert_uint_eq(seen.tag, 1);
        ck_assert_uint_eq(seen.size, 5);
        ck_assert_mem_eq(seen.data, "first", 5);
        ck_assert(weft_pid_equal(seen.sender, pids[0]));
        ck_assert_uint_eq(probe_at(&probes[i], wanted - 1).tag, 3);
    }
    rig_stop(&rig);
    for (uint32_t i = 0; i < COUNT; i++) {
        probe_fini(&probes[i]);
    }
    free(probes);
}
END_TEST

/* What members note of a large payload: where it lies. */
struct share {
    weft_atomic_u64 at;
    weft_atomic_u32 count;
    weft_atomic_u32 others;
    size_t size;
};

static int share_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    struct share *share = probe->user;
    const unsigned char *data = weft_msg_data(msg);
    ck_assert_uint_eq(weft_msg_size(msg), share->size);
    for (size_t i = 0; i < share->size; i++) {
        ck_assert(data[i] == (unsigned char)i);
    }
    uint64_t first = 0;
    uint64_t at = (uint64_t)(uintptr_t)data;
    if (!weft_cas64_acq_rel(&share->at, &first, at) && first != at) {
        (void)weft_add32_acq_rel(&share->others, 1);
    }
    (void)weft_add32_acq_rel(&share->count, 1);
    return WEFT_CONTINUE;
}

START_TEST(a_large_payload_is_shared) {
    static const size_t sizes[] = {0, 1, 224, 225, 5000, 1000000};
    struct rig rig = rig_start(2);
    struct share share = {0};
    struct probe probe = PROBE_INIT;
    probe.counts_only = true;
    probe.user = &share;
    probe.handler = share_receive;
    weft_pid from = rig_spawn(&rig, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(join(&rig, "g", rig_spawn(&rig, &probe)), 0);
    }
    unsigned char *bytes = malloc(1000000);
    ck_assert_ptr_nonnull(bytes);
    for (uint32_t i = 0; i < 1000000; i++) {
        bytes[i] = (unsigned char)i;
    }
    for (uint32_t i = 0; i < 6; i++) {
        weft_store64_release(&share.at, 0);
        weft_store32_release(&share.count, 0);
        weft_store32_release(&share.others, 0);
        share.size = sizes[i];
        weft_broadcast what = {.data = bytes, .size = sizes[i]};
        ck_assert_int_eq(broadcast(&rig, from, "g", what), 20);
        eventually(weft_load32_acquire(&share.count) == 20);
        ck_assert(sizes[i] <= 224 || weft_load32_acquire(&share.others) == 0);
        eventually(rig_gauges(&rig).buffers == 0);
    }
    free(bytes);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static int hold(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

static bool is_idle(struct rig *rig, weft_pid pid) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    ck_assert_int_eq(weft_inspect(rig->runtime, pid, &info), 0);
    return info.cell == WEFT_CELL_IDLE;
}

/* Mailboxes of one message, behind handlers that are stuck. */
START_TEST(full_mailboxes_are_not_counted_and_no_ready_follows) {
    static const uint32_t policies[] = {WEFT_MAILBOX_REJECT, WEFT_MAILBOX_DROP_NEW,
                                        WEFT_MAILBOX_DROP_OLD};
    struct rig rig = rig_start(4);
    struct probe probes[3] = {PROBE_INIT, PROBE_INIT, PROBE_INIT};
    struct probe from_probe = PROBE_INIT;
    weft_pid from = rig_spawn(&rig, &from_probe);
    static const char *const names[] = {"reject", "drop new", "drop old"};
    weft_pid pids[3];
    for (uint32_t i = 0; i < 3; i++) {
        weft_type_def def = puppet_def(names[i]);
        def.mailbox_max = 1;
        def.mailbox_policy = policies[i];
        probes[i].handler = hold;
        pids[i] = rig_spawn_type(&rig, rig_type(&rig, &def), &probes[i]);
        eventually(weft_load32_acquire(&probes[i].inits) == 1 && is_idle(&rig, pids[i]));
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pids[i], 1, NULL, 0), 0);
        eventually(weft_load32_acquire(&probes[i].inside) == 1);
        ck_assert_int_eq(join(&rig, names[i], pids[i]), 0);
        ck_assert_int_eq(join(&rig, "all", pids[i]), 0);
    }
    ck_assert_int_eq(join(&rig, "all", from), 0);
    weft_broadcast what = {.tag = 2};
    while (broadcast(&rig, from, "reject", what) == 1) { /* the bound is approximate */
    }
    while (broadcast(&rig, from, "drop old", what) == 1) {
    }
    uint64_t rejected = rig_stats(&rig).messages_rejected;
    uint64_t dropped = rig_stats(&rig).messages_dropped;
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(broadcast(&rig, from, "drop new", what), 1);
    }
    ck_assert_uint_gt(rig_stats(&rig).messages_dropped, dropped);
    ck_assert_uint_eq(rig_stats(&rig).messages_rejected, rejected);
    ck_assert_int_eq(broadcast(&rig, from, "all", what), 2);
    ck_assert_uint_eq(rig_stats(&rig).messages_rejected, rejected + 2);
    for (uint32_t i = 0; i < 3; i++) {
        weft_store32_release(&probes[i].gate, 1);
        eventually(weft_runtime_send(rig.runtime, pids[i], 3, NULL, 0) == 0);
        eventually(is_idle(&rig, pids[i]));
    }
    settle(&rig, from);
    ck_assert_uint_eq(probe_count_kind(&from_probe, WEFT_MSG_READY), 0);
    ck_assert_uint_eq(probe_count_kind(&from_probe, WEFT_MSG_USER), 1);
    rig_stop(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        probe_fini(&probes[i]);
    }
    probe_fini(&from_probe);
}
END_TEST

struct crowd {
    weft_atomic_u32 count;
};

static int crowd_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    (void)weft_add32_acq_rel(&((struct crowd *)probe->user)->count, 1);
    return WEFT_CONTINUE;
}

START_TEST(a_crowd_gets_a_broadcast) {
    struct rig rig = rig_start(2);
    struct crowd crowd = {0};
    struct probe probe = PROBE_INIT;
    probe.counts_only = true;
    probe.user = &crowd;
    probe.handler = crowd_receive;
    weft_pid from = rig_spawn(&rig, NULL);
    for (uint32_t i = 0; i < CROWD; i++) {
        ck_assert_int_eq(join(&rig, "g", rig_spawn(&rig, &probe)), 0);
    }
    for (uint32_t i = 1; i <= 3; i++) {
        weft_broadcast what = {.data = "hello", .size = 5};
        ck_assert_int_eq(broadcast(&rig, from, "g", what), CROWD);
        eventually(weft_load32_acquire(&crowd.count) == i * CROWD);
    }
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- broadcasts while members come and go ---------------------------------------------------- */

enum { SHOUTERS = 3, LASTING = 700, FLEETING = 40, SHOUTS = 150 / SLOW };

/* A member, and how often it got each number of each shouter. */
struct member {
    struct commotion *commotion;
    bool lasting;
    weft_atomic_u32 got[SHOUTERS];
    unsigned char seen[SHOUTERS][SHOUTS]; /* its actors' own, one after the other */
};

struct commotion {
    struct rig rig;
    weft_atomic_u32 stop;
    struct member lasting[LASTING];
    struct member fleeting[FLEETING];
    weft_pid pids[FLEETING];
};

struct number {
    uint32_t shouter;
    uint32_t number;
};

static int member_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    struct member *member = *(struct member **)state;
    struct number number;
    ck_assert_uint_eq(weft_msg_size(msg), sizeof(number));
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    member->seen[number.shouter][number.number]++;
    if (member->lasting) { /* each number, in order */
        uint32_t got = weft_add32_acq_rel(&member->got[number.shouter], 1);
        ck_assert_uint_eq(got, number.number);
    }
    ck_assert_uint_eq(member->seen[number.shouter][number.number], 1);
    return WEFT_CONTINUE;
}

static int member_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

struct shouter {
    struct commotion *commotion;
    uint32_t number;
    weft_pid pid;
};

static void *shouter_run(void *arg) {
    struct shouter *shouter = arg;
    struct commotion *commotion = shouter->commotion;
    for (uint32_t i = 0; i < SHOUTS; i++) {
        struct number number = {shouter->number, i};
        weft_broadcast what = {.data = &number, .size = sizeof(number)};
        int sent = broadcast(&commotion->rig, shouter->pid, "g", what);
        ck_assert_int_ge(sent, LASTING);
        ck_assert(sent <= LASTING + FLEETING);
    }
    return NULL;
}

static weft_pid member_spawn(struct commotion *commotion, struct member *member) {
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &member, .arg_size = sizeof(member)};
    weft_pid pid;
    const weft_type *type = weft_type_find(commotion->rig.runtime, "member");
    ck_assert_int_eq(weft_runtime_spawn(commotion->rig.runtime, type, &options, &pid), 0);
    return pid;
}

/* Joins and leaves with all but the lasting; now and then one ends and is replaced. */
static void *mover_run(void *arg) {
    struct commotion *commotion = arg;
    struct rig *rig = &commotion->rig;
    uint64_t random = 5;
    while (weft_load32_acquire(&commotion->stop) == 0) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t i = (uint32_t)(random >> 33) % FLEETING;
        uint32_t what = (uint32_t)(random >> 20) % 64;
        if (what == 0) {
            /* Its successor counts for itself: seen is of one actor at a time. */
            weft_pid old = commotion->pids[i];
            ck_assert_int_eq(weft_runtime_kill_actor(rig->runtime, old), 0);
            eventually(!is_alive(rig, old));
            memset(commotion->fleeting[i].seen, 0, sizeof(commotion->fleeting[i].seen));
            commotion->pids[i] = member_spawn(commotion, &commotion->fleeting[i]);
        } else if (what < 32) {
            ck_assert_int_eq(join(rig, "g", commotion->pids[i]), 0);
        } else {
            int result = leave(rig, "g", commotion->pids[i]);
            ck_assert(result == 0 || result == -ENOENT);
        }
    }
    return NULL;
}

/* Looks at the members all the time: the lasting are among them, once each. */
static void *looker_run(void *arg) {
    struct commotion *commotion = arg;
    enum { MAX = 4 * (LASTING + FLEETING) };
    weft_pid *pids = calloc(MAX, sizeof(*pids));
    ck_assert_ptr_nonnull(pids);
    while (weft_load32_acquire(&commotion->stop) == 0) {
        uint32_t count = members(&commotion->rig, "g", pids, MAX);
        ck_assert_uint_ge(count, LASTING);
        sleep_ns(100000);
    }
    free(pids);
    return NULL;
}

static void commotion_begin(struct commotion *commotion) {
    commotion->rig = rig_start(4);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "member",
                         .state_size = sizeof(struct member *),
                         .init = member_init,
                         .receive = member_receive};
    (void)rig_type(&commotion->rig, &def);
    for (uint32_t i = 0; i < LASTING; i++) {
        if (i % (LASTING / FLEETING) == 0 && i / (LASTING / FLEETING) < FLEETING) {
            uint32_t k = i / (LASTING / FLEETING);
            commotion->pids[k] = member_spawn(commotion, &commotion->fleeting[k]);
            ck_assert_int_eq(join(&commotion->rig, "g", commotion->pids[k]), 0);
        }
        commotion->lasting[i].lasting = true;
        weft_pid pid = member_spawn(commotion, &commotion->lasting[i]);
        ck_assert_int_eq(join(&commotion->rig, "g", pid), 0);
    }
}

START_TEST(nobody_is_missed_and_nobody_gets_it_twice) {
    struct commotion *commotion = calloc(1, sizeof(*commotion));
    ck_assert_ptr_nonnull(commotion);
    commotion_begin(commotion);
    struct shouter shouters[SHOUTERS];
    pthread_t threads[SHOUTERS + 2];
    for (uint32_t i = 0; i < SHOUTERS; i++) {
        shouters[i] = (struct shouter){.commotion = commotion, .number = i};
        shouters[i].pid = rig_spawn(&commotion->rig, NULL);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, shouter_run, &shouters[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&threads[SHOUTERS], NULL, mover_run, commotion), 0);
    ck_assert_int_eq(pthread_create(&threads[SHOUTERS + 1], NULL, looker_run, commotion), 0);
    for (uint32_t i = 0; i < SHOUTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    weft_store32_release(&commotion->stop, 1);
    pthread_join(threads[SHOUTERS], NULL);
    pthread_join(threads[SHOUTERS + 1], NULL);
    for (uint32_t i = 0; i < LASTING; i++) {
        for (uint32_t k = 0; k < SHOUTERS; k++) {
            eventually(weft_load32_acquire(&commotion->lasting[i].got[k]) == SHOUTS);
        }
    }
    rig_stop(&commotion->rig);
    free(commotion);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

struct memory {
    weft_atomic_u32 fails;
    weft_atomic_u64 bytes;
};

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    struct memory *memory = cookie;
    (void)tag;
    if (weft_load32_acquire(&memory->fails) != 0) {
        return NULL;
    }
    (void)weft_add64_acq_rel(&memory->bytes, size);
    return malloc(size);
}

static void memory_free(void *cookie, void *block, size_t size, const char *tag) {
    struct memory *memory = cookie;
    (void)tag;
    (void)weft_add64_acq_rel(&memory->bytes, (uint64_t)0 - size);
    free(block);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)size;
    (void)tag;
    return weft_load32_acquire(&((struct memory *)cookie)->fails) != 0 ? -ENOMEM : 0;
}

static struct rig memory_rig(struct memory *memory) {
    weft_config config = rig_config(1);
    config.allocator = (weft_allocator){
        .cookie = memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    return rig_start_with(&config);
}

START_TEST(without_memory_nothing_is_lost) {
    struct memory memory = {0};
    struct rig rig = memory_rig(&memory);
    weft_pid pid = rig_spawn(&rig, NULL);
    weft_pid other = rig_spawn(&rig, NULL);
    ck_assert_int_eq(join(&rig, "before", other), 0);
    settle(&rig, pid);
    settle(&rig, other);
    char name[WEFT_NAME_BYTES_MAX];
    memset(name, 'g', sizeof(name));
    weft_store32_release(&memory.fails, 1);
    uint32_t count = 0;
    int result = 0;
    for (; result == 0; count++) { /* new groups, of every size */
        ck_assert_uint_lt(count, 100000);
        memcpy(name, &count, sizeof(count));
        result = weft_group_join(rig.runtime, name, 4 + count % 250, pid);
    }
    count--;
    ck_assert_int_eq(result, -ENOMEM);
    ck_assert_uint_gt(count, 1000);
    ck_assert_uint_eq(table_count(&rig), 2 * count + 2);
    memcpy(name, &count, sizeof(count));
    ck_assert_uint_eq(weft_group_members(rig.runtime, name, 4 + count % 250, NULL, 0), 0);
    /* Joining once more needs none. */
    ck_assert_int_eq(join(&rig, "before", other), 0);
    ck_assert_uint_eq(members(&rig, "before", NULL, 0), 2);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(name, &i, sizeof(i));
        ck_assert_uint_eq(weft_group_members(rig.runtime, name, 4 + i % 250, NULL, 0), 1);
    }
    kill_and_wait(&rig, pid);
    eventually(table_count(&rig) == 2);
    ck_assert_uint_eq(members(&rig, "before", NULL, 0), 2);
    for (uint32_t i = 0; i < count; i++) { /* of what was given back */
        memcpy(name, &i, sizeof(i));
        ck_assert_int_eq(weft_group_join(rig.runtime, name, 4 + i % 250, other), 0);
    }
    weft_store32_release(&memory.fails, 0);
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load64_acquire(&memory.bytes), 0);
}
END_TEST

START_TEST(a_broadcast_without_memory_says_so) {
    struct memory memory = {0};
    struct rig rig = memory_rig(&memory);
    struct probe probe = PROBE_INIT;
    probe.counts_only = true;
    weft_pid from = rig_spawn(&rig, NULL);
    for (uint32_t i = 0; i < 400; i++) {
        ck_assert_int_eq(join(&rig, "g", rig_spawn(&rig, &probe)), 0);
    }
    char bytes[5000];
    memset(bytes, 'b', sizeof(bytes));
    weft_broadcast what = {.data = bytes, .size = sizeof(bytes)};
    settle(&rig, from);
    weft_store32_release(&memory.fails, 1);
    ck_assert_int_eq(broadcast(&rig, from, "g", what), -ENOMEM);
    weft_store32_release(&memory.fails, 0);
    settle(&rig, from);
    ck_assert_uint_eq(probe_count(&probe), 0);
    ck_assert_int_eq(broadcast(&rig, from, "g", what), 400);
    eventually(probe_count(&probe) == 400);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

static Suite *group_suite(void) {
    Suite *suite = suite_create("group");
    TCase *members_case = tcase_create("members");
    tcase_add_test(members_case, who_joined_is_there_until_it_left_as_often);
    tcase_add_test(members_case, wrong_arguments_are_refused);
    tcase_add_test(members_case, wrong_broadcasts_are_refused);
    tcase_add_test(members_case, a_name_and_a_group_may_be_called_the_same);
    tcase_add_test(members_case, who_ends_is_in_no_group);
    tcase_add_test(members_case, members_stay_in_order_while_others_leave);
    tcase_add_test(members_case, members_that_come_and_go_need_no_more_memory);
    suite_add_tcase(suite, members_case);
    TCase *broadcasts = tcase_create("broadcasts");
    tcase_set_timeout(broadcasts, 100);
    tcase_add_loop_test(broadcasts, everybody_gets_a_broadcast_once, 0, SCHEDULER_CASES);
    tcase_add_test(broadcasts, a_large_payload_is_shared);
    tcase_add_test(broadcasts, full_mailboxes_are_not_counted_and_no_ready_follows);
    tcase_add_test(broadcasts, a_crowd_gets_a_broadcast);
    tcase_add_test(broadcasts, nobody_is_missed_and_nobody_gets_it_twice);
    suite_add_tcase(suite, broadcasts);
    TCase *memory = tcase_create("memory");
    tcase_add_test(memory, without_memory_nothing_is_lost);
    tcase_add_test(memory, a_broadcast_without_memory_says_so);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void) {
    return run_suite(group_suite());
}
