/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: what the tables say about who is active, also while others come and go, and what
 * they cost: ids somebody has chosen to collide, and memory after everybody has gone.
 */
#include "tests/unit/virtual_support.h"

#include "tests/unit/hostile_ids.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 10 };
#else
enum { SLOWER = 1 };
#endif

/* ---- one ------------------------------------------------------------------------------------- */

START_TEST(an_active_address_has_a_pid_and_the_pid_has_the_address) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_runtime *runtime = vrig.rig.runtime;
    struct view view = ask(&vrig, "somebody", TAG_ACCOUNT, 1000);
    weft_pid pid;
    ck_assert_int_eq(weft_virtual_get(runtime, vrig.chat, vrig.cell, "somebody", 8, &pid), 0);
    ck_assert(weft_pid_equal(pid, view.pid));
    char id[16] = "................";
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    ck_assert_int_eq(weft_virtual_key(runtime, pid, id, sizeof(id), &entry), 0);
    ck_assert_ptr_eq(entry.capability, vrig.chat);
    ck_assert_ptr_eq(entry.type, vrig.cell);
    ck_assert_ptr_eq(entry.id, id);
    ck_assert_uint_eq(entry.id_size, 8);
    ck_assert_mem_eq(id, "somebody........", 16);
    ck_assert(weft_pid_equal(entry.pid, pid));
    ck_assert_uint_eq(entry.shard, weft_shard_for(runtime, "somebody", 8));
    ck_assert_uint_ge(entry.bytes, sizeof(struct cell) + 1000);
    ck_assert_uint_eq(entry.struct_size, WEFT_VENTRY_INIT);
    (void)ask(&vrig, "somebody", TAG_STOP, 0);
    eventually(!is_active(&vrig, "somebody"));
    eventually(weft_virtual_key(runtime, pid, id, sizeof(id), &entry) == WEFT_E_NOPROC);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(of_a_long_id_so_much_is_given_as_there_is_room_for) {
    struct vrig vrig = vrig_start(1);
    const char *name = "an id with a good many more than 24 bytes";
    size_t size = strlen(name);
    weft_pid pid = ask(&vrig, name, TAG_GET, 0).pid;
    for (size_t room = 0; room <= size + 2; room++) {
        char id[64];
        memset(id, '.', sizeof(id));
        weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
        ck_assert_int_eq(
            weft_virtual_key(vrig.rig.runtime, pid, room == 0 ? NULL : id, room, &entry), 0);
        ck_assert_uint_eq(entry.id_size, size);
        size_t copied = room < size ? room : size;
        ck_assert_mem_eq(id, name, copied);
        ck_assert(id[copied] == '.');
    }
    vrig_stop(&vrig);
}
END_TEST

START_TEST(how_long_nobody_has_used_it_is_known) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    char id[8];
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    /* A turn's clock is old when its thread had to wait for a processor. */
    enum { PAUSE_MS = 300, OLD_MS = 150 };
    uint64_t before_ns = clock_ns();
    weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
    sleep_ns(PAUSE_MS * MS_NS);
    ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, pid, id, 8, &entry), 0);
    ck_assert_uint_ge(entry.idle_ns, (PAUSE_MS - 10) * MS_NS);
    ck_assert_uint_le(entry.idle_ns, clock_ns() - before_ns + OLD_MS * MS_NS);
    before_ns = clock_ns();
    (void)ask(&vrig, "a", TAG_GET, 0);
    ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, pid, id, 8, &entry), 0);
    ck_assert_uint_le(entry.idle_ns, clock_ns() - before_ns + OLD_MS * MS_NS);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(bad_questions_are_refused) {
    struct vrig vrig = vrig_start(1);
    weft_runtime *runtime = vrig.rig.runtime;
    weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
    weft_pid out;
    static char large[WEFT_ID_MAX + 1];
    ck_assert_int_eq(weft_virtual_get(NULL, vrig.chat, vrig.cell, "a", 1, &out), -EINVAL);
    ck_assert_int_eq(weft_virtual_get(runtime, NULL, vrig.cell, "a", 1, &out), -EINVAL);
    ck_assert_int_eq(weft_virtual_get(runtime, vrig.chat, NULL, "a", 1, &out), -EINVAL);
    ck_assert_int_eq(weft_virtual_get(runtime, vrig.chat, vrig.cell, NULL, 1, &out), -EINVAL);
    ck_assert_int_eq(weft_virtual_get(runtime, vrig.chat, vrig.cell, large, sizeof(large), &out),
                     -EINVAL);
    ck_assert_int_eq(weft_virtual_get(runtime, vrig.chat, vrig.cell, NULL, 0, &out),
                     WEFT_E_INACTIVE);
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    weft_ventry unset = {0};
    char id[8];
    ck_assert_int_eq(weft_virtual_key(NULL, pid, id, 8, &entry), -EINVAL);
    ck_assert_int_eq(weft_virtual_key(runtime, pid, NULL, 8, &entry), -EINVAL);
    ck_assert_int_eq(weft_virtual_key(runtime, pid, id, 8, NULL), -EINVAL);
    ck_assert_int_eq(weft_virtual_key(runtime, pid, id, 8, &unset), -EINVAL);
    ck_assert_int_eq(weft_virtual_key(runtime, weft_pid_none(), id, 8, &entry), WEFT_E_NOPROC);
    for (uint32_t slot = 0; slot < 300; slot++) { /* made up ones */
        for (uint32_t gen = 0; gen < 3; gen++) {
            weft_pid guess = {.node = pid.node, .slot = slot, .gen = gen};
            int result = weft_virtual_key(runtime, guess, id, 8, &entry);
            ck_assert_int_eq(result, weft_pid_equal(guess, pid) ? 0 : WEFT_E_NOPROC);
        }
    }
    weft_pid wild = {.node = pid.node, .slot = UINT32_MAX, .gen = UINT32_MAX};
    weft_pid foreign = {.node = pid.node ^ 1, .slot = pid.slot, .gen = pid.gen};
    ck_assert_int_eq(weft_virtual_key(runtime, wild, id, 8, &entry), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_virtual_key(runtime, foreign, id, 8, &entry), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(runtime, wild), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(runtime, foreign), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(NULL, pid), -EINVAL);
    weft_vcursor *cursor = NULL;
    ck_assert_int_eq(weft_vcursor_create(NULL, NULL, &cursor), -EINVAL);
    ck_assert_int_eq(weft_vcursor_create(runtime, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_vcursor_create(runtime, NULL, &cursor), 0);
    ck_assert_int_eq(weft_vcursor_next(cursor, &unset), -EINVAL);
    ck_assert_int_eq(weft_vcursor_next(cursor, NULL), -EINVAL);
    weft_vcursor_destroy(&cursor);
    ck_assert_ptr_null(cursor);
    weft_vcursor_destroy(&cursor);
    weft_vcursor_destroy(NULL);
    ck_assert_uint_eq(weft_virtual_count(NULL, NULL), 0);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_runtime_without_capabilities_has_nobody) {
    struct rig rig = rig_start(1);
    weft_vcursor *cursor = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    char id[8];
    ck_assert_uint_eq(weft_virtual_count(rig.runtime, NULL), 0);
    ck_assert_uint_eq(weft_virtual_count(rig.runtime, rig.puppet), 0);
    ck_assert_int_eq(weft_vcursor_create(rig.runtime, NULL, &cursor), 0);
    ck_assert_int_eq(weft_vcursor_next(cursor, &entry), 0);
    ck_assert_int_eq(weft_vcursor_next(cursor, &entry), 0);
    weft_vcursor_destroy(&cursor);
    weft_pid pid = rig_spawn(&rig, NULL);
    ck_assert_int_eq(weft_virtual_key(rig.runtime, pid, id, 8, &entry), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(rig.runtime, pid), WEFT_E_NOPROC);
    rig_stop(&rig);
}
END_TEST

/* ---- all ------------------------------------------------------------------------------------- */

enum { STABLE = 100000 / SLOWER, COMERS = 4 };

static void activate(struct vrig *vrig, uint64_t first, uint64_t count) {
    for (uint64_t id = first; id < first + count; id++) {
        weft_vrequest request = message_to(vrig, &id, sizeof(id), TAG_SET);
        request.payload = &id;
        request.payload_size = sizeof(id);
        ck_assert_int_eq(weft_runtime_vcast(vrig->rig.runtime, &request, NULL), 0);
    }
}

struct comers {
    struct vrig *vrig;
    _Atomic bool over;
    _Atomic uint64_t next; /* id */
};

/* Others, that come and go: they grow the tables, shrink them, and move what is in them. */
static void *come_and_go(void *arg) {
    struct comers *comers = arg;
    while (!atomic_load(&comers->over)) {
        uint64_t first = STABLE + 500 * atomic_fetch_add(&comers->next, 1);
        activate(comers->vrig, first, 500);
        for (uint64_t id = first; id < first + 500; id++) {
            weft_vrequest request = message_to(comers->vrig, &id, sizeof(id), TAG_STOP);
            bool is_last = id == first + 499; /* waits, so that no more come than can go */
            ck_assert_int_eq(is_last
                                 ? try_request(comers->vrig, &request, NULL)
                                 : weft_runtime_vcast(comers->vrig->rig.runtime, &request, NULL),
                             0);
        }
    }
    return NULL;
}

/* Walks, and everything of the stable set is there once. Returns how many others were. */
static uint64_t walk(struct vrig *vrig, const weft_type *type, uint8_t *seen) {
    weft_vcursor *cursor = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    uint64_t others = 0;
    uint64_t found = 0;
    memset(seen, 0, STABLE);
    ck_assert_int_eq(weft_vcursor_create(vrig->rig.runtime, type, &cursor), 0);
    while (weft_vcursor_next(cursor, &entry) == 1) { /* bounded by what is active */
        uint64_t id;
        ck_assert_uint_eq(entry.id_size, sizeof(id));
        memcpy(&id, entry.id, sizeof(id));
        ck_assert_ptr_eq(entry.capability, vrig->chat);
        ck_assert_ptr_eq(entry.type, vrig->cell);
        ck_assert_uint_eq(entry.shard, weft_shard_for(vrig->rig.runtime, &id, sizeof(id)));
        ck_assert(!weft_pid_is_none(entry.pid));
        if (id < STABLE) {
            ck_assert_uint_eq(seen[id]++, 0);
            found++;
        } else {
            others++;
        }
    }
    ck_assert_int_eq(weft_vcursor_next(cursor, &entry), 0); /* the end stays the end */
    weft_vcursor_destroy(&cursor);
    ck_assert_uint_eq(found, STABLE);
    return others;
}

START_TEST(a_walk_sees_what_stays_exactly_once) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static uint8_t seen[STABLE];
    activate(&vrig, 0, STABLE);
    eventually(atomic_load(&world.handled) == STABLE);
    ck_assert_uint_eq(vrig_count(&vrig), STABLE);
    ck_assert_uint_eq(walk(&vrig, NULL, seen), 0);
    ck_assert_uint_eq(walk(&vrig, vrig.cell, seen), 0);
    struct comers comers = {.vrig = &vrig};
    pthread_t threads[COMERS];
    for (uint32_t i = 0; i < COMERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, &comers), 0);
    }
    for (uint32_t i = 0; i < 5; i++) {
        (void)walk(&vrig, NULL, seen);
    }
    atomic_store(&comers.over, true);
    for (uint32_t i = 0; i < COMERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    eventually(vrig_count(&vrig) == STABLE);
    ck_assert_uint_eq(walk(&vrig, NULL, seen), 0);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_walk_activates_nobody_and_sees_the_asked_for_type_only) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_type_def def = cell_def("other");
    const weft_type *other = rig_type(&vrig.rig, &def);
    for (uint64_t id = 0; id < 1000; id++) {
        weft_vrequest request =
            message_to(&vrig, &id, sizeof(id), id % 5 == 0 ? TAG_STOP : TAG_GET);
        request.type = id % 2 == 0 ? vrig.cell : other;
        ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    }
    eventually(vrig_count(&vrig) == 800);
    const weft_type *types[] = {vrig.cell, other, vrig.rig.puppet, NULL};
    static const uint32_t counts[] = {400, 400, 0, 800};
    for (uint32_t i = 0; i < 4; i++) {
        weft_vcursor *cursor = NULL;
        weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
        uint32_t count = 0;
        ck_assert_int_eq(weft_vcursor_create(vrig.rig.runtime, types[i], &cursor), 0);
        for (; weft_vcursor_next(cursor, &entry) == 1; count++) { /* bounded by what is active */
            uint64_t id;
            memcpy(&id, entry.id, sizeof(id));
            ck_assert_uint_ne(id % 5, 0);
            ck_assert_ptr_eq(entry.type, id % 2 == 0 ? vrig.cell : other);
        }
        weft_vcursor_destroy(&cursor);
        ck_assert_uint_eq(count, counts[i]);
        ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, types[i]), counts[i]);
    }
    ck_assert_uint_eq(atomic_load(&world.inits), 1000);
    ck_assert_uint_eq(vrig_count(&vrig), 800);
    vrig_stop(&vrig);
}
END_TEST

/* ---- ids chosen by an enemy ------------------------------------------------------------------ */

enum { HOSTILE = 50000 / SLOWER };

/* What all threads have used: others on this machine do not count. */
static uint64_t cpu_ns(void) {
    struct timespec used;
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (uint64_t)used.tv_sec * S_NS + (uint64_t)used.tv_nsec;
}

static uint64_t time_to_activate(struct vrig *vrig, bool hostile) {
    uint64_t handled = atomic_load(&world.handled);
    uint64_t before_ns = cpu_ns();
    for (uint32_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < HOSTILE; i++) {
            unsigned char id[HOSTILE_ID_BYTES];
            hostile_id(i, id);
            id[0] ^= hostile ? 0 : 1; /* then it is like any other */
            weft_vrequest request = message_to(vrig, id, sizeof(id), TAG_ADD);
            ck_assert_int_eq(weft_runtime_vcast(vrig->rig.runtime, &request, NULL), 0);
        }
    }
    eventually(atomic_load(&world.handled) == handled + 2 * HOSTILE);
    return cpu_ns() - before_ns;
}

START_TEST(ids_that_collide_on_purpose_take_no_longer_than_others) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    unsigned char id[HOSTILE_ID_BYTES];
    hostile_id(0, id);
    uint32_t shard = weft_shard_for(vrig.rig.runtime, id, sizeof(id));
    for (uint64_t i = 1; i < 100; i++) {
        hostile_id(i, id);
        ck_assert_uint_eq(weft_shard_for(vrig.rig.runtime, id, sizeof(id)), shard);
    }
    uint64_t others_ns = time_to_activate(&vrig, false);
    uint64_t hostile_ns = time_to_activate(&vrig, true);
    ck_assert_uint_eq(vrig_count(&vrig), 2 * HOSTILE);
    ck_assert_uint_eq(atomic_load(&world.inits), 2 * HOSTILE);
    ck_assert_msg(hostile_ns < 10 * others_ns + S_NS, "%llu us, others %llu us",
                  (unsigned long long)hostile_ns / 1000, (unsigned long long)others_ns / 1000);
    vrig_stop(&vrig);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* A scheduler keeps what ended there: so it may take a few rounds until there is enough everywhere. */
START_TEST(tables_that_were_full_once_take_no_more_the_next_time) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_gauges first = {0};
    enum { MANY = 20000 / SLOWER, ROUNDS = 25 };
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t turn = 0; turn < 2; turn++) {
            for (uint64_t i = 0; i < MANY; i++) {
                uint64_t id = round * MANY + i; /* never the same */
                weft_vrequest request =
                    message_to(&vrig, &id, sizeof(id), turn == 0 ? TAG_GET : TAG_STOP);
                ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
            }
            eventually(atomic_load(&world.handled) == (2 * round + turn + 1) * MANY);
        }
        eventually(vrig_count(&vrig) == 0);
        eventually(atomic_load(&world.deaths) == (round + 1) * MANY);
        weft_gauges now = rig_gauges(&vrig.rig);
        first = round == 0 ? now : first;
        ck_assert_uint_le(now.heap_bytes, first.heap_bytes + MANY);
        ck_assert_uint_le(now.slot_bytes, first.slot_bytes * (1 + schedulers_of(_i)));
        ck_assert_uint_le(now.arena_bytes, first.arena_bytes * (1 + schedulers_of(_i)));
    }
    vrig_stop(&vrig);
}
END_TEST

static Suite *tables_suite(void) {
    Suite *suite = suite_create("virtual_tables");
    TCase *one = tcase_create("one");
    TCase *all = tcase_create("all");
    tcase_set_timeout(one, 180);
    tcase_set_timeout(all, 180);
    tcase_add_loop_test(one, an_active_address_has_a_pid_and_the_pid_has_the_address, 0,
                        SCHEDULER_CASES);
    tcase_add_test(one, of_a_long_id_so_much_is_given_as_there_is_room_for);
    tcase_add_loop_test(one, how_long_nobody_has_used_it_is_known, 0, SCHEDULER_CASES);
    tcase_add_test(one, bad_questions_are_refused);
    tcase_add_test(one, a_runtime_without_capabilities_has_nobody);
    tcase_add_loop_test(all, a_walk_sees_what_stays_exactly_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(all, a_walk_activates_nobody_and_sees_the_asked_for_type_only, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(all, ids_that_collide_on_purpose_take_no_longer_than_others, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(all, tables_that_were_full_once_take_no_more_the_next_time, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, one);
    suite_add_tcase(suite, all);
    return suite;
}

int main(void) {
    return run_suite(tables_suite());
}
