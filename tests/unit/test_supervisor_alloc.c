/* SPDX-License-Identifier: MIT
 *
 * Supervisors without memory. A scenario uses everything they do once, while the n-th request for
 * memory fails, or all from then on, for every n; and a tree lives through crashes and a stop while
 * an actor holds all message cells but k, for every small k. Whatever happens, nothing may leak or
 * hang, every request is answered, and in the end the tree either is as specified or has ended as a
 * whole. See test_supervisor.c.
 */
#include "tests/unit/supervisor_support.h"

/* ---- an allocator that fails once, or from then on ------------------------------------------- */

struct memory {
    weft_atomic_u64 fail_at; /* which request fails, from 1; 0: none */
    bool fail_further;       /* and all after it */
    weft_atomic_u64 requests;
    weft_atomic_u64 failed;
    weft_atomic_u64 blocks;
    weft_atomic_u32 full; /* no more message cells than there are */
};

static bool fails(struct memory *memory) {
    uint64_t number = weft_add64_acq_rel(&memory->requests, 1) + 1;
    uint64_t fail_at = weft_load64_acquire(&memory->fail_at);
    bool fail = fail_at != 0 && (number == fail_at || (memory->fail_further && number > fail_at));
    if (fail) {
        (void)weft_add64_acq_rel(&memory->failed, 1);
    }
    return fail;
}

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    (void)tag;
    struct memory *memory = cookie;
    if (fails(memory)) {
        return NULL;
    }
    size_t *block = malloc(size + 16);
    ck_assert_ptr_nonnull(block);
    *block = size;
    memset(block + 2, 0xa5, size);
    (void)weft_add64_acq_rel(&memory->blocks, 1);
    return block + 2;
}

static void memory_free(void *cookie, void *memory_block, size_t size, const char *tag) {
    struct memory *memory = cookie;
    size_t *block = (size_t *)memory_block - 2;
    ck_assert_msg(*block == size, "%zu bytes freed as %zu of %s", *block, size, tag);
    memset(memory_block, 0x5a, size);
    (void)weft_add64_acq_rel(&memory->blocks, UINT64_MAX);
    free(block);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    struct memory *of = cookie;
    (void)size;
    (void)tag;
    return weft_load32_acquire(&of->full) != 0 || fails(of) ? -ENOMEM : 0;
}

/* ---- the scenario ---------------------------------------------------------------------------- */

static struct family family;
static struct memory memory;

/* Only what the API names for want of memory, or for what is missing because of it. */
static bool accept(int result) {
    ck_assert_msg(result == 0 || result == -ENOMEM || result == WEFT_E_NOPROC ||
                      result == WEFT_E_LIMIT || result == WEFT_E_SHUTDOWN || result == -ENOENT ||
                      result == -EALREADY || result == -EAGAIN || result == -EEXIST ||
                      result == -EBUSY,
                  "answered %d: %s", result, weft_strerror(result));
    return result == 0;
}

static bool asks(weft_pid pid, uint32_t verb, const char *id) {
    return accept(ask(&family, pid, verb, id, NULL));
}

/* It ends in the end, and so do all kids. */
static void ends(weft_pid pid) {
    weft_store64_release(&memory.fail_at, 0);
    (void)weft_runtime_stop_actor(family.rig.runtime, pid, WEFT_E_SHUTDOWN); /* if it lives */
    eventually(!is_alive(&family.rig, pid));
    for (uint32_t i = 0; i < KIDS_MAX; i++) {
        eventually(weft_load32_acquire(&family.kids[i].runs) == 0);
    }
}

/* After everything that went wrong: all its children run, or it has ended. */
static void is_whole(weft_pid pid, uint32_t active) {
    weft_supervisor_answer answer;
    weft_store64_release(&memory.fail_at, 0);
    uint64_t until_ns = clock_ns() + SOON_NS;
    do {
        ck_assert(clock_ns() < until_ns);
        sleep_ns(100000);
        if (ask(&family, pid, WEFT_SUPERVISOR_COUNT, NULL, &answer) != 0) {
            ck_assert(!is_alive(&family.rig, pid));
            return;
        }
    } while (answer.active < active || answer.restarting != 0);
}

static void use_tree(void) {
    struct house house;
    struct house below;
    weft_supervisor_answer answer;
    weft_pid pid = weft_pid_none();
    house_init(&below, WEFT_ONE_FOR_ONE);
    (void)house_add(&family, &below, 2, WEFT_RESTART_PERMANENT);
    house_init(&house, WEFT_ONE_FOR_ALL);
    (void)house_add(&family, &house, 0, WEFT_RESTART_PERMANENT);
    (void)house_add(&family, &house, 1, WEFT_RESTART_TRANSIENT);
    (void)house_add_below(&house, "below", &below, WEFT_RESTART_PERMANENT);
    if (!accept(weft_runtime_supervisor(family.rig.runtime, &house.def, &pid))) {
        return;
    }
    if (asks(pid, WEFT_SUPERVISOR_COUNT, NULL)) {
        (void)weft_runtime_send(family.rig.runtime, kid_pid(&family, 1), TAG_FAIL, NULL, 0);
        (void)asks(pid, WEFT_SUPERVISOR_COUNT, NULL);
        struct kid *arg;
        weft_child_spec spec = kid_spec(&family, 3, WEFT_RESTART_PERMANENT, &arg);
        (void)accept(start_spec(&family, pid, &spec, &answer));
        (void)asks(pid, WEFT_SUPERVISOR_TERMINATE, "d");
        (void)asks(pid, WEFT_SUPERVISOR_DELETE, "d");
        (void)asks(pid, WEFT_SUPERVISOR_RESTART, "b");
        spec = kid_spec(&family, 4, WEFT_RESTART_TEMPORARY, &arg);
        (void)accept(start_spec(&family, pid, &spec, &answer));
        (void)asks(pid, WEFT_SUPERVISOR_TERMINATE, "e");
        is_whole(pid, 3);
    }
    ends(pid);
}

static void use_simple(void) {
    struct house house;
    weft_supervisor_answer answer;
    weft_pid pid = weft_pid_none();
    house_init(&house, WEFT_SIMPLE_ONE_FOR_ONE);
    (void)house_add(&family, &house, 5, WEFT_RESTART_PERMANENT);
    if (!accept(weft_runtime_supervisor(family.rig.runtime, &house.def, &pid))) {
        return;
    }
    uint32_t started = 0;
    for (uint32_t i = 5; i < 12; i++) {
        started += accept(add_simple(&family, pid, i, &answer)) ? 1 : 0;
    }
    (void)weft_runtime_send(family.rig.runtime, kid_pid(&family, 6), TAG_FAIL, NULL, 0);
    is_whole(pid, started);
    ends(pid);
}

static weft_config memory_config(void) {
    memset(&memory, 0, sizeof(memory));
    weft_config config = rig_config(1);
    config.allocator = (weft_allocator){
        .cookie = &memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    return config;
}

/* Runs a part; how many requests for memory it made. */
static uint64_t scenario(void (*use)(void), uint64_t fail_at, bool fail_further) {
    weft_config config = memory_config();
    family_start_with(&family, &config);
    weft_store64_release(&memory.requests, 0);
    memory.fail_further = fail_further;
    weft_store64_release(&memory.fail_at, fail_at);
    use();
    weft_store64_release(&memory.fail_at, 0);
    uint64_t requests = weft_load64_acquire(&memory.requests);
    family_stop(&family);
    ck_assert_uint_eq(weft_load64_acquire(&memory.blocks), 0);
    return requests;
}

static void every_failure(void (*use)(void), bool fail_further) {
    uint32_t passed = 0;
    ck_assert_uint_gt(scenario(use, 0, false), 50); /* it does test something */
    for (uint64_t n = 1; passed < 3; n++) {         /* until none failed in three */
        ck_assert_uint_lt(n, 2000);
        passed = scenario(use, n, fail_further) < n ? passed + 1 : 0;
    }
}

START_TEST(every_single_failure_leaves_a_tree_whole_or_ended) {
    every_failure(use_tree, false);
}
END_TEST

START_TEST(every_single_failure_leaves_simple_children_whole_or_ended) {
    every_failure(use_simple, false);
}
END_TEST

START_TEST(memory_that_stays_out_leaves_a_tree_whole_or_ended) {
    every_failure(use_tree, true);
}
END_TEST

START_TEST(memory_that_stays_out_leaves_simple_children_whole_or_ended) {
    every_failure(use_simple, true);
}
END_TEST

/* ---- without message cells ------------------------------------------------------------------- */

enum { TAG_HOARD = 100, TAG_GIVE = 101, HELD_MAX = 1 << 18 };

struct hoard {
    weft_msg **list; /* on the heap: HELD_MAX */
    uint32_t count;
    uint32_t leave; /* so many cells of each size are left */
};

/* Takes all cells of a size. */
static void hoard_size(weft_ctx *ctx, struct hoard *hoard, size_t size) {
    uint32_t first = hoard->count;
    while (hoard->count < HELD_MAX &&
           weft_msg_create(ctx, 0, size, &hoard->list[hoard->count]) == 0) {
        hoard->count++;
    }
    ck_assert_uint_lt(hoard->count, HELD_MAX);
    for (uint32_t i = 0; i < hoard->leave && hoard->count > first; i++) {
        weft_msg_release(ctx, &hoard->list[--hoard->count]);
    }
}

static int hoarder_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct hoard *hoard = probe->user;
    if (weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        return WEFT_CONTINUE;
    }
    if (weft_msg_tag(msg) == TAG_HOARD) {
        memcpy(&hoard->leave, weft_msg_data(msg), sizeof(hoard->leave));
        hoard_size(ctx, hoard, 200);
        hoard_size(ctx, hoard, 80);
        hoard_size(ctx, hoard, 8);
    } else {
        while (hoard->count > 0) {
            weft_msg_release(ctx, &hoard->list[--hoard->count]);
        }
    }
    weft_msg *request = msg;
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return WEFT_CONTINUE;
}

static void hoard(weft_pid hoarder, uint32_t tag, uint32_t leave) {
    weft_msg *reply = NULL;
    int result =
        weft_runtime_call(family.rig.runtime, hoarder, tag, &leave, sizeof(leave), SOON_NS, &reply);
    ck_assert(result == 0 || result == -ENOMEM); /* done, but without a cell to say so */
    weft_runtime_msg_release(family.rig.runtime, &reply);
}

static void live_without_cells(uint32_t leave, bool stop) {
    weft_config config = memory_config();
    struct hoard kept = {.list = calloc(HELD_MAX, sizeof(weft_msg *))};
    struct probe probe = PROBE_INIT;
    struct house house;
    family_start_with(&family, &config);
    probe.handler = hoarder_receive;
    probe.user = &kept;
    probe.counts_only = true;
    weft_pid hoarder = rig_spawn(&family.rig, &probe);
    house_init(&house, (uint32_t)leave % 3);
    for (uint32_t i = 0; i < 4; i++) {
        (void)house_add(&family, &house, i, WEFT_RESTART_PERMANENT);
    }
    house.def.intensity = 1000;
    weft_pid pid = raise_house(&family, &house);
    weft_store32_release(&memory.full, 1);
    hoard(hoarder, TAG_HOARD, leave);
    ck_assert_int_eq(weft_runtime_send(family.rig.runtime, kid_pid(&family, 1), TAG_FAIL, NULL, 0),
                     0);
    if (stop) {
        (void)weft_runtime_stop_actor(family.rig.runtime, pid, WEFT_E_SHUTDOWN);
    }
    sleep_ns(2 * MS_NS);
    hoard(hoarder, TAG_GIVE, 0);
    if (!stop) {
        is_whole(pid, 4);
    }
    ends(pid);
    family_stop(&family);
    free(kept.list);
    probe_fini(&probe);
}

START_TEST(a_tree_without_message_cells_is_whole_afterwards_or_has_ended) {
    for (uint32_t leave = 0; leave < 20; leave++) {
        live_without_cells(leave, false);
    }
}
END_TEST

START_TEST(a_tree_without_message_cells_can_be_stopped) {
    for (uint32_t leave = 0; leave < 20; leave++) {
        live_without_cells(leave, true);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("supervisor alloc");
    TCase *tcase = tcase_create("supervisor alloc");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, every_single_failure_leaves_a_tree_whole_or_ended);
    tcase_add_test(tcase, every_single_failure_leaves_simple_children_whole_or_ended);
    tcase_add_test(tcase, memory_that_stays_out_leaves_a_tree_whole_or_ended);
    tcase_add_test(tcase, memory_that_stays_out_leaves_simple_children_whole_or_ended);
    tcase_add_test(tcase, a_tree_without_message_cells_is_whole_afterwards_or_has_ended);
    tcase_add_test(tcase, a_tree_without_message_cells_can_be_stopped);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
