/* SPDX-License-Identifier: MIT
 *
 * Types of actors: which definitions are taken, those of other versions too, and their names.
 */
#include "sched/actor.h"
#include "tests/unit/support.h"

#include <weft/store.h>

START_TEST(bad_definitions_are_invalid) {
    struct rig rig = rig_start(1);
    const weft_type_def good = puppet_def("good");
    const weft_type *type = NULL;
    char long_name[65];
    memset(long_name, 'n', 64);
    long_name[64] = '\0';
    weft_type_def def = good;
    def.struct_size = 0;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def.struct_size = SIZE_MAX;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -E2BIG);
    def = good;
    def.name = NULL;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def.name = "";
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def.name = long_name;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def = good;
    def.receive = NULL;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def = good;
    def.mailbox_policy = 4;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    def = good;
    def.flags = 2;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    ck_assert_int_eq(weft_type_register(rig.runtime, NULL, &type), -EINVAL);
    ck_assert_int_eq(weft_type_register(rig.runtime, &good, NULL), -EINVAL);
    ck_assert_int_eq(weft_type_register(NULL, &good, &type), -EINVAL);
    ck_assert_ptr_null(type);
    rig_stop(&rig);
}
END_TEST

/* What a program of a later version would pass. */
struct later_type_def {
    weft_type_def def;
    uint64_t news;
};

START_TEST(a_definition_of_another_version_is_taken_if_it_asks_for_nothing_unknown) {
    struct rig rig = rig_start(1);
    const weft_type *type = NULL;
    weft_type_def older = puppet_def("older");
    older.struct_size = offsetof(weft_type_def, idle_ns); /* before there were virtual actors */
    memset((char *)&older + older.struct_size, 0xff, sizeof(older) - older.struct_size);
    (void)rig_type(&rig, &older); /* what is behind its end is not looked at */
    older.name = "too old";
    older.struct_size--;
    ck_assert_int_eq(weft_type_register(rig.runtime, &older, &type), -EINVAL);
    struct later_type_def later = {.def = puppet_def("later")};
    later.def.struct_size = sizeof(later);
    (void)rig_type(&rig, &later.def);
    later.def.name = "too new";
    later.news = 1;
    ck_assert_int_eq(weft_type_register(rig.runtime, &later.def, &type), -E2BIG);
    ck_assert_ptr_null(type);
    ck_assert_ptr_null(weft_type_find(rig.runtime, "too old"));
    ck_assert_ptr_null(weft_type_find(rig.runtime, "too new"));
    rig_stop(&rig);
}
END_TEST

static int save_nothing(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    (void)ctx;
    (void)state;
    (void)ret_saved;
    return 0;
}

static int restore_nothing(weft_ctx *ctx, void *state, const void *data, size_t size,
                           uint32_t version) {
    (void)ctx;
    (void)state;
    (void)data;
    (void)size;
    (void)version;
    return WEFT_CONTINUE;
}

static int get_nothing(weft_store *store, const weft_store_key *key, const weft_store_op *op) {
    (void)store;
    (void)key;
    (void)op;
    return -EIO;
}

static int put_nothing(weft_store *store, const weft_store_key *key, weft_buf *value,
                       uint64_t expected, const weft_store_op *op) {
    (void)store;
    (void)key;
    (void)value;
    (void)expected;
    (void)op;
    return -EIO;
}

static int remove_nothing(weft_store *store, const weft_store_key *key, uint64_t expected,
                          const weft_store_op *op) {
    (void)store;
    (void)key;
    (void)expected;
    (void)op;
    return -EIO;
}

START_TEST(save_restore_and_store_go_together) {
    struct rig rig = rig_start(1);
    const weft_type *type = NULL;
    weft_store_calls calls = {WEFT_STORE_CALLS_INIT, get_nothing, put_nothing, remove_nothing};
    weft_store store = {&calls};
    for (unsigned which = 1; which < 7; which++) {
        weft_type_def def = puppet_def("partly");
        def.save = (which & 1) != 0 ? save_nothing : NULL;
        def.restore = (which & 2) != 0 ? restore_nothing : NULL;
        def.store = (which & 4) != 0 ? &store : NULL;
        ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    }
    weft_type_def def = puppet_def("saved");
    def.save = save_nothing;
    def.restore = restore_nothing;
    def.store = &store;
    calls.struct_size = 0;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    calls.struct_size = WEFT_STORE_CALLS_INIT;
    calls.put = NULL;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &type), -EINVAL);
    calls.put = put_nothing;
    (void)rig_type(&rig, &def);
    rig_stop(&rig);
}
END_TEST

static weft_type_def def_of(const weft_config *config, uint64_t idle_ns, uint64_t timeout_ns) {
    struct rig rig = rig_start_with(config);
    weft_type_def def = puppet_def("timed");
    def.idle_ns = idle_ns;
    def.store_timeout_ns = timeout_ns;
    weft_type_def filled = rig_type(&rig, &def)->def;
    rig_stop(&rig);
    return filled;
}

START_TEST(times_that_a_definition_leaves_out_are_the_configured_ones) {
    weft_config config = rig_config(1);
    weft_type_def def = def_of(&config, 0, 0);
    ck_assert_uint_eq(def.idle_ns, WEFT_IDLE_NEVER);
    ck_assert_uint_eq(def.store_timeout_ns, 5 * S_NS);
    config.shard_idle_ns = 7 * S_NS;
    config.shard_store_timeout_ns = 3 * S_NS;
    def = def_of(&config, 0, 0);
    ck_assert_uint_eq(def.idle_ns, 7 * S_NS);
    ck_assert_uint_eq(def.store_timeout_ns, 3 * S_NS);
    def = def_of(&config, WEFT_IDLE_NEVER, 2 * S_NS);
    ck_assert_uint_eq(def.idle_ns, WEFT_IDLE_NEVER);
    ck_assert_uint_eq(def.store_timeout_ns, 2 * S_NS);
    def = def_of(&config, S_NS, 0);
    ck_assert_uint_eq(def.idle_ns, S_NS);
}
END_TEST

START_TEST(a_type_is_found_by_its_name_and_a_name_is_given_once) {
    struct rig rig = rig_start(1);
    char name[64];
    memset(name, 'n', 63);
    name[63] = '\0';
    weft_type_def def = puppet_def(name);
    const weft_type *type = rig_type(&rig, &def);
    name[0] = 'x'; /* the name was copied */
    ck_assert_int_eq(weft_type_name(type)[0], 'n');
    ck_assert_ptr_null(weft_type_find(rig.runtime, name));
    ck_assert_ptr_null(weft_type_find(rig.runtime, NULL));
    name[0] = 'n';
    ck_assert_ptr_eq(weft_type_find(rig.runtime, name), type);
    const weft_type *again = NULL;
    ck_assert_int_eq(weft_type_register(rig.runtime, &def, &again), -EEXIST);
    ck_assert_ptr_null(again);
    rig_stop(&rig);
}
END_TEST

static Suite *type_suite(void) {
    Suite *suite = suite_create("type");
    TCase *types = tcase_create("types");
    tcase_add_test(types, bad_definitions_are_invalid);
    tcase_add_test(types, a_definition_of_another_version_is_taken_if_it_asks_for_nothing_unknown);
    tcase_add_test(types, save_restore_and_store_go_together);
    tcase_add_test(types, times_that_a_definition_leaves_out_are_the_configured_ones);
    tcase_add_test(types, a_type_is_found_by_its_name_and_a_name_is_given_once);
    suite_add_tcase(suite, types);
    return suite;
}

int main(void) {
    return run_suite(type_suite());
}
