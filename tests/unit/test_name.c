/* SPDX-License-Identifier: MIT
 *
 * Names: registering, looking up, what ends with an actor, many names, names that somebody chose
 * to collide, memory that runs out. What threads do at the same time: test_name_race.c.
 */
#define _GNU_SOURCE
#include "sched/name.h"
#include "tests/unit/hostile_ids.h"
#include "tests/unit/support.h"

static weft_pid whereis(struct rig *rig, const char *name) {
    return weft_name_whereis(rig->runtime, name, strlen(name));
}

static int name_it(struct rig *rig, const char *name, weft_pid pid) {
    return weft_name_register(rig->runtime, name, strlen(name), pid);
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

static weft_pid wait_gone(struct rig *rig, weft_pid pid) {
    ck_assert_int_eq(weft_runtime_kill_actor(rig->runtime, pid), 0);
    eventually(!is_alive(rig, pid));
    return pid;
}

/* ---- what the header says -------------------------------------------------------------------- */

START_TEST(a_name_finds_its_actor_until_it_is_taken_away) {
    struct rig rig = rig_start(2);
    ck_assert(weft_pid_is_none(whereis(&rig, "ann"))); /* of a runtime without names */
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    ck_assert_int_eq(name_it(&rig, "ann", ann), 0);
    ck_assert_int_eq(name_it(&rig, "bob", bob), 0);
    ck_assert_int_eq(name_it(&rig, "robert", bob), 0);
    ck_assert(weft_pid_equal(whereis(&rig, "ann"), ann));
    ck_assert(weft_pid_equal(whereis(&rig, "bob"), bob));
    ck_assert(weft_pid_equal(whereis(&rig, "robert"), bob));
    ck_assert(weft_pid_is_none(whereis(&rig, "an")));
    ck_assert(weft_pid_is_none(whereis(&rig, "anna")));
    ck_assert_int_eq(weft_name_unregister(rig.runtime, "bob", 3), 0);
    ck_assert(weft_pid_is_none(whereis(&rig, "bob")));
    ck_assert(weft_pid_equal(whereis(&rig, "robert"), bob));
    ck_assert_int_eq(name_it(&rig, "bob", ann), 0);
    ck_assert(weft_pid_equal(whereis(&rig, "bob"), ann));
    rig_stop(&rig);
}
END_TEST

START_TEST(names_are_bytes_of_any_value_and_every_length) {
    struct rig rig = rig_start(1);
    char bytes[WEFT_NAME_BYTES_MAX + 1];
    weft_pid pids[4];
    for (uint32_t i = 0; i < 4; i++) {
        pids[i] = rig_spawn(&rig, NULL);
    }
    static const char fills[] = {'\0', 'x', '\xff', '\x01'};
    for (int round = 0; round < 3; round++) { /* memory of all sizes is used again */
        for (uint32_t fill = 0; fill < 4; fill++) {
            memset(bytes, fills[fill], sizeof(bytes));
            for (uint32_t size = 1; size <= WEFT_NAME_BYTES_MAX; size++) {
                ck_assert_int_eq(weft_name_register(rig.runtime, bytes, size, pids[fill]), 0);
            }
        }
        ck_assert_uint_eq(table_count(&rig), 4 * WEFT_NAME_BYTES_MAX);
        for (uint32_t fill = 0; fill < 4; fill++) {
            memset(bytes, fills[fill], sizeof(bytes));
            for (uint32_t size = 1; size <= WEFT_NAME_BYTES_MAX; size++) {
                weft_pid pid = weft_name_whereis(rig.runtime, bytes, size);
                ck_assert(weft_pid_equal(pid, pids[fill]));
                bytes[size - 1] ^= 64;
                ck_assert(weft_pid_is_none(weft_name_whereis(rig.runtime, bytes, size)));
                bytes[size - 1] ^= 64;
                ck_assert_int_eq(weft_name_unregister(rig.runtime, bytes, size), 0);
                ck_assert(weft_pid_is_none(weft_name_whereis(rig.runtime, bytes, size)));
            }
        }
        ck_assert_uint_eq(table_count(&rig), 0);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(wrong_arguments_are_refused) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    char longest[WEFT_NAME_BYTES_MAX + 1];
    memset(longest, 'n', sizeof(longest));
    ck_assert_int_eq(weft_name_register(NULL, "a", 1, pid), -EINVAL);
    ck_assert_int_eq(weft_name_register(rig.runtime, NULL, 1, pid), -EINVAL);
    ck_assert_int_eq(weft_name_register(rig.runtime, "a", 0, pid), -EINVAL);
    ck_assert_int_eq(weft_name_register(rig.runtime, longest, sizeof(longest), pid), -EINVAL);
    weft_pid far = pid;
    far.node ^= 1;
    ck_assert_int_eq(weft_name_register(rig.runtime, "a", 1, far), -EINVAL);
    ck_assert_int_eq(weft_name_unregister(NULL, "a", 1), -EINVAL);
    ck_assert_int_eq(weft_name_unregister(rig.runtime, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_name_unregister(rig.runtime, "a", 0), -EINVAL);
    ck_assert_int_eq(weft_name_unregister(rig.runtime, longest, sizeof(longest)), -EINVAL);
    ck_assert_int_eq(weft_name_unregister(rig.runtime, "a", 1), -ENOENT);
    ck_assert(weft_pid_is_none(weft_name_whereis(NULL, "a", 1)));
    ck_assert(weft_pid_is_none(weft_name_whereis(rig.runtime, NULL, 1)));
    ck_assert(weft_pid_is_none(weft_name_whereis(rig.runtime, "a", 0)));
    ck_assert_ptr_null(weft__names_of(rig.runtime)); /* nothing of it has cost memory */
    ck_assert_int_eq(weft_name_register(rig.runtime, longest, WEFT_NAME_BYTES_MAX, pid), 0);
    ck_assert(weft_pid_is_none(weft_name_whereis(rig.runtime, longest, sizeof(longest))));
    ck_assert_int_eq(weft_name_unregister(rig.runtime, "a", 1), -ENOENT);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_name_that_somebody_has_is_refused) {
    struct rig rig = rig_start(1);
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    ck_assert_int_eq(name_it(&rig, "ann", ann), 0);
    ck_assert_int_eq(name_it(&rig, "ann", bob), -EEXIST);
    ck_assert_int_eq(name_it(&rig, "ann", ann), -EEXIST);
    ck_assert(weft_pid_equal(whereis(&rig, "ann"), ann));
    ck_assert_uint_eq(table_count(&rig), 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(only_living_actors_get_names) {
    struct rig rig = rig_start(1);
    weft_pid living = rig_spawn(&rig, NULL);
    weft_pid dead = wait_gone(&rig, rig_spawn(&rig, NULL));
    settle(&rig, living); /* a call: there is a port now */
    ck_assert_int_eq(name_it(&rig, "dead", dead), WEFT_E_NOPROC);
    ck_assert_int_eq(name_it(&rig, "none", weft_pid_none()), WEFT_E_NOPROC);
    uint32_t named = 0;
    for (uint32_t slot = 0; slot < 200000; slot++) { /* beyond what there is, among them the port */
        weft_pid pid = {.node = living.node, .slot = slot, .gen = 1};
        int result = name_it(&rig, "made up", pid);
        ck_assert(result == WEFT_E_NOPROC || weft_pid_equal(pid, living));
        named += result == 0 ? 1 : 0;
    }
    ck_assert_uint_eq(named, 1);
    weft_pid beyond = {.node = living.node, .slot = UINT32_MAX, .gen = 1};
    ck_assert_int_eq(name_it(&rig, "beyond", beyond), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_name_of(rig.runtime, beyond, 0, NULL, 0), -ENOENT);
    rig_stop(&rig);
}
END_TEST

START_TEST(an_actor_tells_its_names) {
    struct rig rig = rig_start(1);
    weft_pid ann = rig_spawn(&rig, NULL);
    weft_pid bob = rig_spawn(&rig, NULL);
    char text[WEFT_NAME_BYTES_MAX + 1];
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 0, text, sizeof(text)), -ENOENT);
    ck_assert_int_eq(weft_group_join(rig.runtime, "group", 5, ann), 0);
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 0, text, sizeof(text)), -ENOENT);
    uint32_t seen[256] = {0};
    for (uint32_t size = 1; size < 256; size++) {
        memset(text, (int)size, size);
        ck_assert_int_eq(weft_name_register(rig.runtime, text, size, ann), 0);
    }
    ck_assert_int_eq(weft_group_join(rig.runtime, "other", 5, ann), 0);
    for (uint32_t i = 0; i < 255; i++) {
        memset(text, 0, sizeof(text));
        int size = weft_name_of(rig.runtime, ann, i, text, sizeof(text));
        ck_assert(size > 0 && size < 256);
        seen[size]++;
        for (int at = 0; at < size; at++) {
            ck_assert((unsigned char)text[at] == size);
        }
        ck_assert(text[size] == 0);
        ck_assert_int_eq(weft_name_of(rig.runtime, ann, i, text, (size_t)size - 1), -ENOSPC);
        ck_assert_int_eq(weft_name_of(rig.runtime, ann, i, text, (size_t)size), size);
    }
    for (uint32_t size = 1; size < 256; size++) {
        ck_assert_uint_eq(seen[size], 1);
    }
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 255, text, sizeof(text)), -ENOENT);
    ck_assert_int_eq(weft_name_of(rig.runtime, bob, 0, text, sizeof(text)), -ENOENT);
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 0, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 0, NULL, 0), -ENOSPC);
    ck_assert_int_eq(weft_name_of(NULL, ann, 0, text, 1), -EINVAL);
    ann.node ^= 1;
    ck_assert_int_eq(weft_name_of(rig.runtime, ann, 0, text, sizeof(text)), -ENOENT);
    rig_stop(&rig);
}
END_TEST

/* ---- sending --------------------------------------------------------------------------------- */

struct sends {
    const char *name;
    int send;
    int call;
    int unknown_send;
    int unknown_call;
    int wrong[6];
};

static void send_by_name(weft_ctx *ctx, void *arg) {
    struct sends *sends = arg;
    char longest[WEFT_NAME_BYTES_MAX + 2];
    memset(longest, 'n', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    sends->send = weft_name_send(ctx, sends->name, 7, "hello", 5);
    sends->call = weft_name_call(ctx, sends->name, 8, "ask", 3, S_NS, 99);
    sends->unknown_send = weft_name_send(ctx, "nobody", 7, "hello", 5);
    sends->unknown_call = weft_name_call(ctx, "nobody", 8, "ask", 3, S_NS, 98);
    sends->wrong[0] = weft_name_send(ctx, NULL, 7, NULL, 0);
    sends->wrong[1] = weft_name_send(ctx, "", 7, NULL, 0);
    sends->wrong[2] = weft_name_send(ctx, longest, 7, NULL, 0);
    sends->wrong[3] = weft_name_call(ctx, NULL, 7, NULL, 0, 0, 97);
    sends->wrong[4] = weft_name_call(ctx, "", 7, NULL, 0, 0, 96);
    sends->wrong[5] = weft_name_send(ctx, sends->name, 7, NULL, 1);
}

static int answer(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        ck_assert_int_eq(weft_reply(ctx, &msg, 9, "answer", 6), 0);
    }
    return WEFT_CONTINUE;
}

START_TEST(messages_and_calls_reach_a_name) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe from = PROBE_INIT;
    struct probe to = PROBE_INIT;
    to.handler = answer;
    char longest[WEFT_NAME_BYTES_MAX + 1];
    memset(longest, 'n', sizeof(longest));
    longest[WEFT_NAME_BYTES_MAX] = '\0';
    weft_pid sender = rig_spawn(&rig, &from);
    weft_pid target = rig_spawn(&rig, &to);
    ck_assert_int_eq(name_it(&rig, longest, target), 0);
    struct sends sends = {.name = longest};
    act(&rig, sender, send_by_name, &sends);
    ck_assert_int_eq(sends.send, 0);
    ck_assert_int_eq(sends.call, 0);
    ck_assert_int_eq(sends.unknown_send, WEFT_E_NOPROC);
    ck_assert_int_eq(sends.unknown_call, WEFT_E_NOPROC);
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(sends.wrong[i], -EINVAL);
    }
    eventually(probe_count_kind(&from, WEFT_MSG_REPLY) == 1);
    ck_assert_uint_eq(probe_count(&to), 2);
    struct seen seen = probe_at(&to, 0);
    ck_assert_uint_eq(seen.tag, 7);
    ck_assert_mem_eq(seen.data, "hello", 5);
    ck_assert(weft_pid_equal(seen.sender, sender));
    seen = probe_at(&from, probe_count(&from) - 1);
    ck_assert_uint_eq(seen.token, 99);
    ck_assert_int_eq(seen.status, 0);
    ck_assert_mem_eq(seen.data, "answer", 6);
    wait_gone(&rig, target);
    eventually(weft_pid_is_none(whereis(&rig, longest)));
    act(&rig, sender, send_by_name, &sends);
    ck_assert_int_eq(sends.send, WEFT_E_NOPROC);
    ck_assert_int_eq(sends.call, WEFT_E_NOPROC);
    rig_stop(&rig);
    probe_fini(&from);
    probe_fini(&to);
}
END_TEST

/* ---- the end of an actor --------------------------------------------------------------------- */

struct last_words {
    struct rig *rig;
    weft_atomic_u32 asked;
    weft_pid found;
    int registered;
    int joined;
};

static struct last_words *last_words; /* of the one test in this process */

static void speak(weft_ctx *ctx, void *state, int reason) {
    (void)state;
    (void)reason;
    weft_runtime *runtime = weft_runtime_of(ctx);
    last_words->found = weft_name_whereis(runtime, "mortal", 6);
    last_words->registered = weft_name_register(runtime, "late", 4, weft_self(ctx));
    last_words->joined = weft_group_join(runtime, "late", 4, weft_self(ctx));
    weft_store32_release(&last_words->asked, 1);
}

START_TEST(an_actor_has_its_names_in_terminate_and_gets_no_more) {
    struct rig rig = rig_start(1);
    struct last_words words = {.rig = &rig};
    last_words = &words;
    weft_type_def def = puppet_def("mortal");
    def.terminate = speak;
    weft_pid pid = rig_spawn_type(&rig, rig_type(&rig, &def), NULL);
    ck_assert_int_eq(name_it(&rig, "mortal", pid), 0);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, 0), 0);
    eventually(weft_load32_acquire(&words.asked) == 1);
    ck_assert(weft_pid_equal(words.found, pid));
    ck_assert_int_eq(words.registered, WEFT_E_NOPROC);
    ck_assert_int_eq(words.joined, WEFT_E_NOPROC);
    eventually(table_count(&rig) == 0);
    rig_stop(&rig);
}
END_TEST

/* A watcher hears DOWN and asks at once; then it gives the name to somebody else. */
struct watch {
    weft_atomic_u32 downs;
    weft_atomic_u32 found; /* names and memberships that were still there */
    weft_pid next;
};

static int watch_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct watch *watch = probe->user;
    if (weft_msg_kind(msg) == WEFT_MSG_DOWN) {
        weft_runtime *runtime = weft_runtime_of(ctx);
        weft_pid pid;
        bool named = !weft_pid_is_none(weft_name_whereis(runtime, "watched", 7));
        bool member = weft_group_members(runtime, "watched", 7, &pid, 1) != 0;
        int result = weft_name_register(runtime, "watched", 7, watch->next);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(weft_name_unregister(runtime, "watched", 7), 0);
        (void)weft_add32_acq_rel(&watch->found, (named ? 1 : 0) + (member ? 1 : 0));
        (void)weft_add32_acq_rel(&watch->downs, 1);
    }
    return WEFT_CONTINUE;
}

static void monitor_it(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_monitor(ctx, *(const weft_pid *)arg, 5, NULL), 0);
}

START_TEST(a_name_is_free_when_the_end_is_heard_of) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct watch watch = {0};
    struct probe probe = PROBE_INIT;
    probe.handler = watch_receive;
    probe.counts_only = true;
    probe.user = &watch;
    weft_pid watcher = rig_spawn(&rig, &probe);
    watch.next = rig_spawn(&rig, NULL);
    for (uint32_t i = 0; i < 200; i++) {
        weft_pid pid = rig_spawn(&rig, NULL);
        ck_assert_int_eq(name_it(&rig, "watched", pid), 0);
        ck_assert_int_eq(weft_group_join(rig.runtime, "watched", 7, pid), 0);
        act(&rig, watcher, monitor_it, &pid);
        ck_assert_int_eq(i % 2 == 0 ? weft_runtime_kill_actor(rig.runtime, pid)
                                    : weft_runtime_stop_actor(rig.runtime, pid, -EIO),
                         0);
        eventually(weft_load32_acquire(&watch.downs) == i + 1);
    }
    ck_assert_uint_eq(weft_load32_acquire(&watch.found), 0);
    ck_assert_uint_eq(table_count(&rig), 0);
    rig_stop(&rig);
}
END_TEST

/* ---- many ------------------------------------------------------------------------------------ */

#if defined(WEFT_TSAN)
enum { MANY = 50000 };
#elif defined(__SANITIZE_ADDRESS__)
enum { MANY = 200000 };
#else
enum { MANY = 1000000 };
#endif
enum { MANY_ACTORS = 10 };

static int many_name(uint32_t number, char name[32]) {
    return snprintf(name, 32, "name-%u", number);
}

static weft_pid many_find(struct rig *rig, uint32_t number) {
    char name[32];
    int size = many_name(number, name);
    return weft_name_whereis(rig->runtime, name, (size_t)size);
}

START_TEST(a_million_names_are_found_and_given_up) {
    struct rig rig = rig_start(2);
    weft_pid pids[MANY_ACTORS];
    char name[32];
    for (uint32_t i = 0; i < MANY_ACTORS; i++) {
        pids[i] = rig_spawn(&rig, NULL);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        int size = many_name(i, name);
        int result = weft_name_register(rig.runtime, name, (size_t)size, pids[i % MANY_ACTORS]);
        ck_assert_int_eq(result, 0);
        ck_assert(weft_pid_equal(many_find(&rig, i / 2), pids[i / 2 % MANY_ACTORS]));
    }
    for (uint32_t i = 0; i < MANY; i += 2) { /* those of even actors */
        int size = many_name(i, name);
        ck_assert_int_eq(weft_name_unregister(rig.runtime, name, (size_t)size), 0);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        weft_pid wanted = i % 2 == 0 ? weft_pid_none() : pids[i % MANY_ACTORS];
        ck_assert(weft_pid_equal(many_find(&rig, i), wanted));
    }
    ck_assert_uint_eq(table_count(&rig), MANY / 2);
    wait_gone(&rig, pids[1]);
    eventually(table_count(&rig) == MANY / 2 - MANY / MANY_ACTORS);
    for (uint32_t i = 0; i < MANY; i++) {
        bool found = i % 2 == 1 && i % MANY_ACTORS != 1;
        weft_pid wanted = found ? pids[i % MANY_ACTORS] : weft_pid_none();
        ck_assert(weft_pid_equal(many_find(&rig, i), wanted));
    }
    for (uint32_t i = 2; i < MANY_ACTORS; i++) {
        wait_gone(&rig, pids[i]);
    }
    eventually(table_count(&rig) == 0);
    rig_stop(&rig);
}
END_TEST

/* Memory is used again: names that come and go need no more than there are at a time. */
START_TEST(names_that_come_and_go_need_no_more_memory) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    char name[WEFT_NAME_BYTES_MAX];
    memset(name, 'n', sizeof(name));
    uint64_t used = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        int size = snprintf(name, 32, "%u", i * 2654435761u);
        name[size] = 'n';
        size += (int)(i % 200);
        ck_assert_int_eq(weft_name_register(rig.runtime, name, (size_t)size, pid), 0);
        ck_assert_int_eq(weft_name_unregister(rig.runtime, name, (size_t)size), 0);
        const struct weft__names *names = weft__names_of(rig.runtime);
        if (i == 1000) {
            used = names->bump;
        }
        ck_assert_uint_le(weft_load32_relaxed(&names->bucket_count), 3);
    }
    ck_assert_uint_eq(weft__names_of(rig.runtime)->bump, used);
    rig_stop(&rig);
}
END_TEST

/* The longest way from a bucket to the next one. */
static uint32_t longest_chain(const struct weft__names *names) {
    uint32_t longest = 0;
    for (uint32_t b = 0; b < weft_load32_relaxed(&names->bucket_count); b++) {
        const weft_atomic_u64 *bucket = (const weft_atomic_u64 *)(void *)names->buckets.base + b;
        uint64_t link = weft_load64_relaxed(bucket);
        uint32_t length = 0;
        while (link != 0 && ((uint32_t)link & 0x80000000u) == 0) {
            link = weft_load64_relaxed(&weft__named_at(names, (uint32_t)link)->next);
            length++;
        }
        longest = length > longest ? length : longest;
    }
    return longest;
}

START_TEST(hostile_names_do_not_collide) {
    struct rig rig = rig_start(1);
    weft_pid pid = rig_spawn(&rig, NULL);
    for (uint64_t i = 0; i < 20000; i++) {
        unsigned char id[HOSTILE_ID_BYTES];
        hostile_id(i, id);
        ck_assert_int_eq(weft_name_register(rig.runtime, (const char *)id, sizeof(id), pid), 0);
    }
    const struct weft__names *names = weft__names_of(rig.runtime);
    ck_assert_uint_ge(weft_load32_relaxed(&names->bucket_count), 20000);
    ck_assert_uint_le(longest_chain(names), 16);
    rig_stop(&rig);
}
END_TEST

START_TEST(two_runtimes_hash_the_same_names_differently) {
    uint64_t keys[2];
    for (int i = 0; i < 2; i++) {
        struct rig rig = rig_start(1);
        ck_assert_int_eq(name_it(&rig, "a", rig_spawn(&rig, NULL)), 0);
        struct weft__name_key key;
        weft__name_key_init(weft__names_of(rig.runtime), WEFT__NAME_PLAIN, "a", 1, &key);
        keys[i] = key.key;
        rig_stop(&rig);
    }
    ck_assert(keys[0] != keys[1]);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* Refuses what it is asked for while fails is set, or once at a number. */
struct memory {
    weft_atomic_u32 fails;
    weft_atomic_u32 fail_at; /* from 1; 0: none */
    weft_atomic_u32 asked;
    weft_atomic_u64 bytes;
};

static bool refuses(struct memory *memory) {
    uint32_t number = weft_add32_acq_rel(&memory->asked, 1) + 1;
    return weft_load32_acquire(&memory->fails) != 0 ||
           number == weft_load32_acquire(&memory->fail_at);
}

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    (void)tag;
    struct memory *memory = cookie;
    if (refuses(memory)) {
        return NULL;
    }
    (void)weft_add64_acq_rel(&memory->bytes, size);
    return malloc(size);
}

static void memory_free(void *cookie, void *block, size_t size, const char *tag) {
    (void)tag;
    struct memory *memory = cookie;
    (void)weft_add64_acq_rel(&memory->bytes, (uint64_t)0 - size);
    free(block);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)size;
    (void)tag;
    return refuses(cookie) ? -ENOMEM : 0;
}

static struct rig memory_rig(struct memory *memory) {
    weft_config config = rig_config(1);
    config.allocator = (weft_allocator){
        .cookie = memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    return rig_start_with(&config);
}

START_TEST(the_first_name_may_find_no_memory) {
    for (uint32_t at = 1;; at++) {
        ck_assert_uint_lt(at, 20);
        struct memory memory = {0};
        struct rig rig = memory_rig(&memory);
        weft_pid pid = rig_spawn(&rig, NULL);
        settle(&rig, pid);
        uint64_t bytes = weft_load64_acquire(&memory.bytes);
        weft_store32_release(&memory.asked, 0);
        weft_store32_release(&memory.fail_at, at);
        int result =
            _i == 0 ? name_it(&rig, "first", pid) : weft_group_join(rig.runtime, "first", 5, pid);
        bool failed = weft_load32_acquire(&memory.asked) >= at;
        weft_store32_release(&memory.fail_at, 0);
        ck_assert_int_eq(result, failed ? -ENOMEM : 0);
        if (failed && weft__names_of(rig.runtime) == NULL) {
            ck_assert_uint_eq(weft_load64_acquire(&memory.bytes), bytes);
        }
        ck_assert_uint_eq(table_count(&rig), failed ? 0 : 1 + (uint32_t)_i);
        result =
            _i == 0 ? name_it(&rig, "first", pid) : weft_group_join(rig.runtime, "first", 5, pid);
        ck_assert_int_eq(result, failed || _i == 1 ? 0 : -EEXIST);
        rig_stop(&rig);
        ck_assert_uint_eq(weft_load64_acquire(&memory.bytes), 0);
        if (!failed) {
            return;
        }
    }
}
END_TEST

/* Memory is used up, names of every size are refused at some time, all others go on to be found;
 * what one gives back another gets; with more memory it goes on. */
START_TEST(without_memory_nothing_is_lost) {
    struct memory memory = {0};
    struct rig rig = memory_rig(&memory);
    weft_pid pid = rig_spawn(&rig, NULL);
    weft_pid other = rig_spawn(&rig, NULL);
    char name[WEFT_NAME_BYTES_MAX];
    memset(name, 'n', sizeof(name));
    ck_assert_int_eq(name_it(&rig, "before", pid), 0);
    settle(&rig, pid);
    settle(&rig, other);
    weft_store32_release(&memory.fails, 1);
    uint32_t count = 0;
    for (;; count++) {
        ck_assert_uint_lt(count, 100000);
        memcpy(name, &count, sizeof(count));
        size_t size = 4 + count % (WEFT_NAME_BYTES_MAX - 4);
        int result = weft_name_register(rig.runtime, name, size, pid);
        ck_assert(result == 0 || result == -ENOMEM);
        if (result != 0) {
            break;
        }
    }
    ck_assert_uint_gt(count, 1000);
    ck_assert_uint_eq(table_count(&rig), count + 1);
    ck_assert(weft_pid_equal(whereis(&rig, "before"), pid));
    ck_assert_int_eq(name_it(&rig, "before", other), -EEXIST);
    for (uint32_t i = 0; i <= count; i++) {
        memcpy(name, &i, sizeof(i));
        size_t size = 4 + i % (WEFT_NAME_BYTES_MAX - 4);
        weft_pid found = weft_name_whereis(rig.runtime, name, size);
        ck_assert(weft_pid_equal(found, i < count ? pid : weft_pid_none()));
    }
    uint32_t first = 0;
    memcpy(name, &first, sizeof(first));
    ck_assert_int_eq(weft_name_unregister(rig.runtime, name, 4), 0);
    ck_assert_int_eq(weft_name_register(rig.runtime, name, 4, other), 0);
    weft_store32_release(&memory.fails, 0);
    memcpy(name, &count, sizeof(count));
    size_t size = 4 + count % (WEFT_NAME_BYTES_MAX - 4);
    ck_assert_int_eq(weft_name_register(rig.runtime, name, size, other), 0);
    ck_assert_uint_eq(table_count(&rig), count + 2);
    weft_store32_release(&memory.fails, 1); /* an end needs none */
    wait_gone(&rig, pid);
    eventually(table_count(&rig) == 2);
    weft_store32_release(&memory.fails, 0);
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load64_acquire(&memory.bytes), 0);
}
END_TEST

static Suite *name_suite(void) {
    Suite *suite = suite_create("name");
    TCase *header = tcase_create("header");
    tcase_add_test(header, a_name_finds_its_actor_until_it_is_taken_away);
    tcase_add_test(header, names_are_bytes_of_any_value_and_every_length);
    tcase_add_test(header, wrong_arguments_are_refused);
    tcase_add_test(header, a_name_that_somebody_has_is_refused);
    tcase_add_test(header, only_living_actors_get_names);
    tcase_add_test(header, an_actor_tells_its_names);
    tcase_add_loop_test(header, messages_and_calls_reach_a_name, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, header);
    TCase *end = tcase_create("end");
    tcase_add_test(end, an_actor_has_its_names_in_terminate_and_gets_no_more);
    tcase_add_loop_test(end, a_name_is_free_when_the_end_is_heard_of, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, end);
    TCase *many = tcase_create("many");
    tcase_set_timeout(many, 100);
    tcase_add_test(many, a_million_names_are_found_and_given_up);
    tcase_add_test(many, names_that_come_and_go_need_no_more_memory);
    tcase_add_test(many, hostile_names_do_not_collide);
    tcase_add_test(many, two_runtimes_hash_the_same_names_differently);
    suite_add_tcase(suite, many);
    TCase *memory = tcase_create("memory");
    tcase_add_loop_test(memory, the_first_name_may_find_no_memory, 0, 2);
    tcase_add_test(memory, without_memory_nothing_is_lost);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void) {
    return run_suite(name_suite());
}
