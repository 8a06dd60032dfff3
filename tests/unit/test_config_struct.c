/* SPDX-License-Identifier: MIT
 *
 * Structs that grow from version to version: which sizes are taken, what is read of them, and that
 * a configuration made for another version keeps what this one does not know.
 */
#define _GNU_SOURCE 1

#include "tests/unit/config_support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- structs of other sizes ---------------------------------------------------------------- */

struct small {
    size_t struct_size;
    uint64_t first;
};
struct grown {
    size_t struct_size;
    uint64_t first;
    uint64_t second;
};
struct newer {
    struct grown grown;
    unsigned char tail[16];
};

static const weft__struct_rule grown_rule = {sizeof(struct grown), sizeof(struct small)};

START_TEST(a_smaller_struct_is_filled_up_with_zeroes) {
    struct grown copy;
    memset(&copy, 0xff, sizeof(copy));
    struct small source = {sizeof(source), 5};
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), 0);
    ck_assert_uint_eq(copy.struct_size, sizeof(copy));
    ck_assert_uint_eq(copy.first, 5);
    ck_assert_uint_eq(copy.second, 0);
    source.struct_size--;
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), -EINVAL);
    source.struct_size = 0;
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), -EINVAL);
    ck_assert_uint_eq(copy.first, 5);
}
END_TEST

START_TEST(a_larger_struct_must_hold_zeroes_behind_the_known) {
    struct grown copy;
    struct newer source;
    memset(&source, 0, sizeof(source));
    source.grown.struct_size = sizeof(source);
    source.grown.second = 9;
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), 0);
    ck_assert_uint_eq(copy.second, 9);
    ck_assert_uint_eq(copy.struct_size, sizeof(copy));
    for (size_t i = 0; i < sizeof(source.tail); i++) {
        source.tail[i] = 1;
        ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), -E2BIG);
        source.tail[i] = 0;
    }
}
END_TEST

START_TEST(a_size_that_was_never_set_is_not_read_by) {
    struct grown copy;
    struct small source = {SIZE_MAX, 0};
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), -E2BIG);
    source.struct_size = 4097;
    ck_assert_int_eq(weft__struct_copy(&grown_rule, &source, &copy), -E2BIG);
}
END_TEST

START_TEST(a_configuration_is_copied_by_the_same_rule) {
    char error[ERROR_BYTES];
    weft_config copy;
    weft_config source = config_with("scheduler.count", "3");
    ck_assert_int_eq(weft__config_copy(&source, &copy, error, sizeof(error)), 0);
    ck_assert_mem_eq(&copy, &source, sizeof(copy));
    source.struct_size = 0;
    ck_assert_int_eq(weft__config_copy(&source, &copy, error, sizeof(error)), -EINVAL);
    ck_assert_str_eq(error, "weft_config: struct_size is not WEFT_CONFIG_INIT");
    source.struct_size = offsetof(weft_config, io_driver) - 1;
    ck_assert_int_eq(weft__config_copy(&source, &copy, NULL, 0), -EINVAL);
    source.struct_size = offsetof(weft_config, io_driver); /* as it was before there was [io] */
    source.io_buffers = 7;
    ck_assert_int_eq(weft__config_copy(&source, &copy, NULL, 0), 0);
    ck_assert_uint_eq(copy.io_buffers, 0);
    source.io_buffers = 0;
    source.struct_size = offsetof(weft_config, shard_idle_ns); /* ... [shard] */
    source.shards = 7;
    ck_assert_int_eq(weft__config_copy(&source, &copy, NULL, 0), 0);
    ck_assert_uint_eq(copy.shards, 0);
    source.shards = 0;
    source.struct_size = SIZE_MAX;
    ck_assert_int_eq(weft__config_copy(&source, &copy, error, sizeof(error)), -E2BIG);
    ck_assert_int_eq(weft__config_copy(NULL, &copy, error, sizeof(error)), 0);
    weft_config empty = config_init();
    ck_assert_mem_eq(&copy, &empty, sizeof(copy));
}
END_TEST

START_TEST(a_newer_program_keeps_its_size_and_its_tail) {
    struct {
        weft_config config;
        uint64_t tail[4];
    } newer;
    memset(&newer, 0, sizeof(newer));
    newer.config.struct_size = sizeof(newer);
    ck_assert_int_eq(weft_config_set(&newer.config, "scheduler.count", "4", NULL, 0), 0);
    ck_assert_uint_eq(newer.config.schedulers, 4);
    ck_assert_uint_eq(newer.config.struct_size, sizeof(newer));
    ck_assert_int_eq(weft_config_resolve(&newer.config, NULL, 0), 0);
    ck_assert_uint_eq(newer.config.struct_size, sizeof(newer));
    newer.tail[3] = 1;
    ck_assert_int_eq(weft_config_set(&newer.config, "scheduler.count", "5", NULL, 0), -E2BIG);
    ck_assert_int_eq(weft_config_resolve(&newer.config, NULL, 0), -E2BIG);
    ck_assert_uint_eq(newer.config.schedulers, 4);
}
END_TEST

static Suite *config_struct_suite(void) {
    Suite *suite = suite_create("config_struct");
    TCase *structs = tcase_create("structs");
    tcase_add_test(structs, a_smaller_struct_is_filled_up_with_zeroes);
    tcase_add_test(structs, a_larger_struct_must_hold_zeroes_behind_the_known);
    tcase_add_test(structs, a_size_that_was_never_set_is_not_read_by);
    tcase_add_test(structs, a_configuration_is_copied_by_the_same_rule);
    tcase_add_test(structs, a_newer_program_keeps_its_size_and_its_tail);
    suite_add_tcase(suite, structs);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(config_struct_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
