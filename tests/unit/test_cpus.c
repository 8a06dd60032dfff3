/* SPDX-License-Identifier: MIT
 *
 * CPU lists, cgroup texts, and the walk through a cgroup hierarchy, which is built below a
 * temporary folder for it. One test asks the real machine.
 */
#define _GNU_SOURCE 1

#include "core/cpus.h"

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft/config.h>

enum { PATH_BYTES = 1024 };

/* ---- lists --------------------------------------------------------------------------------- */

static weft__cpu_set parsed(const char *list) {
    weft__cpu_set set;
    memset(&set, 0xff, sizeof(set));
    ck_assert_msg(weft__cpus_parse(list, &set) == 0, "%s", list);
    return set;
}

static void assert_list_answers(const char *list, int result) {
    weft__cpu_set set = parsed("5");
    ck_assert_msg(weft__cpus_parse(list, &set) == result, "%s", list);
    ck_assert_uint_eq(set.count, 1);
    ck_assert(weft__cpus_has(&set, 5));
}

START_TEST(a_list_holds_numbers_and_ranges) {
    weft__cpu_set set = parsed("0-3,6,8-15");
    ck_assert_uint_eq(set.count, 13);
    ck_assert_uint_eq(set.quota, 0);
    for (uint32_t cpu = 0; cpu < 20; cpu++) {
        bool wanted = cpu <= 3 || cpu == 6 || (cpu >= 8 && cpu <= 15);
        ck_assert_int_eq(weft__cpus_has(&set, cpu), wanted);
    }
    ck_assert_uint_eq(parsed("0").count, 1);
    ck_assert_uint_eq(parsed("3-3").count, 1);
    ck_assert_uint_eq(parsed("007").count, 1);
    ck_assert(weft__cpus_at(&(weft__cpu_set){.count = 0}, 0) == -1);
}
END_TEST

START_TEST(order_and_repetition_do_not_matter) {
    weft__cpu_set left = parsed("3,0-2,1,2-3");
    weft__cpu_set right = parsed("0-3");
    ck_assert_mem_eq(&left, &right, sizeof(left));
}
END_TEST

START_TEST(the_largest_cpu_is_taken_and_the_next_is_not) {
    weft__cpu_set set = parsed("8191");
    ck_assert(weft__cpus_has(&set, 8191));
    ck_assert(!weft__cpus_has(&set, 8192));
    ck_assert(!weft__cpus_has(&set, UINT32_MAX));
    ck_assert_uint_eq(parsed("0-8191").count, WEFT__CPUS_MAX);
    assert_list_answers("8192", -ERANGE);
    assert_list_answers("0-8192", -ERANGE);
    assert_list_answers("4294967296", -ERANGE);
    assert_list_answers("18446744073709551616", -ERANGE);
    assert_list_answers("0-99999999999999999999999", -ERANGE);
}
END_TEST

START_TEST(what_is_no_list_is_refused_and_changes_nothing) {
    static const char *const bad[] = {"",    ",",   "0,",   ",0",   "0,,1", "-",     "0-",
                                      "-3",  "3-0", "0-1-", "0--1", "a",    "0a",    "0-3a",
                                      " 0",  "0 ",  "0, 1", "0;1",  "0.1",  "0x1",   "+1",
                                      "0-a", "all", "0\n",  "0:1",  "\xff", "0-3,6-"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_list_answers(bad[i], -EINVAL);
    }
}
END_TEST

START_TEST(cpus_are_numbered_in_ascending_order) {
    weft__cpu_set set = parsed("64,2,130,0");
    static const int wanted[] = {0, 2, 64, 130, -1, -1};
    for (uint32_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        ck_assert_int_eq(weft__cpus_at(&set, i), wanted[i]);
    }
    ck_assert_int_eq(weft__cpus_at(&set, UINT32_MAX), -1);
}
END_TEST

START_TEST(a_set_is_restricted_to_a_list_within_it) {
    weft__cpu_set set = parsed("0-7");
    set.quota = 3;
    ck_assert_int_eq(weft__cpus_restrict(&set, ""), 0);
    ck_assert_uint_eq(set.count, 8);
    ck_assert_int_eq(weft__cpus_restrict(&set, "2-3,7"), 0);
    ck_assert_uint_eq(set.count, 3);
    ck_assert_uint_eq(set.quota, 3);
    ck_assert_int_eq(weft__cpus_restrict(&set, "2,4"), -ENODEV);
    ck_assert_int_eq(weft__cpus_restrict(&set, "8000"), -ENODEV);
    ck_assert_int_eq(weft__cpus_restrict(&set, "2-"), -EINVAL);
    ck_assert_int_eq(weft__cpus_restrict(&set, "9000"), -ERANGE);
    ck_assert_uint_eq(set.count, 3);
}
END_TEST

START_TEST(schedulers_are_cpus_within_quota_and_bounds) {
    weft__cpu_set set = parsed("0-7");
    ck_assert_uint_eq(weft__cpus_schedulers(&set), 8);
    set.quota = 2;
    ck_assert_uint_eq(weft__cpus_schedulers(&set), 2);
    set.quota = 100;
    ck_assert_uint_eq(weft__cpus_schedulers(&set), 8);
    set = parsed("0-1023");
    ck_assert_uint_eq(weft__cpus_schedulers(&set), WEFT_SCHEDULERS_MAX);
    set.count = 0;
    ck_assert_uint_eq(weft__cpus_schedulers(&set), 1);
}
END_TEST

/* ---- cgroup texts -------------------------------------------------------------------------- */

static void assert_v2(const char *text, int result, uint32_t cpus) {
    uint32_t answer = 77;
    ck_assert_msg(weft__cgroup_quota_v2(text, &answer) == result, "%s", text);
    ck_assert_uint_eq(answer, result == 0 ? cpus : 77);
}

static void assert_v1(const char *quota, const char *period, int result, uint32_t cpus) {
    uint32_t answer = 77;
    ck_assert_msg(weft__cgroup_quota_v1(quota, period, &answer) == result, "%s", quota);
    ck_assert_uint_eq(answer, result == 0 ? cpus : 77);
}

START_TEST(a_quota_is_rounded_up_to_whole_cpus) {
    assert_v2("max 100000\n", 0, 0);
    assert_v2("100000 100000\n", 0, 1);
    assert_v2("100000 100000", 0, 1);
    assert_v2("150000 100000\n", 0, 2);
    assert_v2("200000 100000\n", 0, 2);
    assert_v2("200001 100000\n", 0, 3);
    assert_v2("1000 100000\n", 0, 1);
    assert_v2("6400000 100000\n", 0, 64);
    assert_v2("18446744073709551615 1\n", 0, UINT32_MAX);
    assert_v1("-1\n", "100000\n", 0, 0);
    assert_v1("150000\n", "100000\n", 0, 2);
    assert_v1("50000", "100000", 0, 1);
}
END_TEST

START_TEST(what_is_no_quota_is_refused) {
    static const char *const bad[] = {"",         "max",      "max\n",         "maximum 1",
                                      "100000",   "100000\n", "100000 ",       "100000 0\n",
                                      "0 100000", "-1 1",     "1 1 1",         "1 1\n\n",
                                      "a 1",      "1 a",      "100000  100000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_v2(bad[i], -EINVAL, 0);
    }
    assert_v1("", "100000", -EINVAL, 0);
    assert_v1("-2\n", "100000", -EINVAL, 0);
    assert_v1("-1x", "100000", -EINVAL, 0);
    assert_v1("0\n", "100000", -EINVAL, 0);
    assert_v1("100000\n", "", -EINVAL, 0);
    assert_v1("100000\n", "0\n", -EINVAL, 0);
    assert_v1("100000\n", "x\n", -EINVAL, 0);
    assert_v1("100000 \n", "100000\n", -EINVAL, 0);
}
END_TEST

static void assert_path(const char *text, const char *controller, const char *path) {
    weft__cgroup_line line;
    ck_assert_msg(weft__cgroup_find(text, controller, &line) == 0, "%s", text);
    ck_assert_uint_eq(line.path_size, strlen(path));
    ck_assert_mem_eq(line.path, path, line.path_size);
}

START_TEST(the_line_of_a_controller_is_found) {
    static const char mixed[] = "12:cpuset:/set\n4:cpu,cpuacct:/a/b\n3:name=systemd:/s\n0::/u:v\n";
    assert_path(mixed, "cpu", "/a/b");
    assert_path(mixed, "cpuacct", "/a/b");
    assert_path(mixed, "cpuset", "/set");
    assert_path(mixed, "", "/u:v"); /* a path may hold colons */
    assert_path("0::/", "", "/");
}
END_TEST

START_TEST(a_line_that_is_not_there_or_broken_is_not_found) {
    static const char *const texts[] = {"",
                                        "\n\n",
                                        "0::\n",
                                        "0:\n",
                                        "cpu\n",
                                        "::\n",
                                        "4:cpu:relative\n",
                                        "4:cpuset:/x\n",
                                        "4:cpu2,xcpu:/x\n",
                                        "4:,:/x\n"};
    weft__cgroup_line line;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_int_eq(weft__cgroup_find(texts[i], "cpu", &line), -ENOENT);
        ck_assert_int_eq(weft__cgroup_find(texts[i], "", &line), -ENOENT);
    }
}
END_TEST

START_TEST(random_texts_never_crash) {
    static const char alphabet[] = "0123456789-,: \nmax/.cpu";
    uint64_t state = 88172645463325252ull;
    for (uint32_t round = 0; round < 50000; round++) {
        char text[24];
        for (size_t i = 0; i < sizeof(text); i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text[i] = alphabet[state % (sizeof(alphabet) - 1)];
        }
        text[state >> 32 & 15] = '\0';
        text[sizeof(text) - 1] = '\0';
        weft__cpu_set set;
        weft__cgroup_line line;
        uint32_t cpus = 0;
        if (weft__cpus_parse(text, &set) == 0) {
            ck_assert_uint_gt(set.count, 0);
        }
        if (weft__cgroup_quota_v1(text, text, &cpus) == 0) {
            ck_assert_uint_le(cpus, 1); /* the same number twice, or none */
        }
        if (weft__cgroup_quota_v2(text, &cpus) == 0 && text[0] != 'm') {
            ck_assert_uint_gt(cpus, 0);
        }
        if (weft__cgroup_find(text, "cpu", &line) == 0) {
            ck_assert_int_eq(line.path[0], '/');
        }
    }
}
END_TEST

/* ---- the hierarchy ------------------------------------------------------------------------- */

static char root[PATH_BYTES / 2];

static void root_create(void) {
    snprintf(root, sizeof(root), "/tmp/weft-cpus-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where) {
    (void)about;
    (void)type;
    (void)where;
    return remove(path);
}

static void root_remove(void) {
    ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A file below root, with the folders it needs. */
static void put(const char *name, const char *text) {
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; *at != '\0'; at++) {
        if (*at == '/') {
            *at = '\0';
            ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
            *at = '/';
        }
    }
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(without_cgroups_there_is_no_quota) {
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
    put("/proc/self/cgroup", "0::/a\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
    ck_assert_uint_eq(weft__cpus_quota("/nonexistent"), 0);
}
END_TEST

START_TEST(the_smallest_quota_up_to_the_root_wins) {
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
    put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 3);
    put("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 3);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "100000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 1);
    put("/sys/fs/cgroup/other/cpu.max", "1 100000\n");
    put("/sys/fs/cgroup/a/b/c/d/cpu.max", "1 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 1);
}
END_TEST

START_TEST(a_container_whose_path_is_the_hosts_finds_its_own_limit) {
    put("/proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 2);
}
END_TEST

START_TEST(a_path_that_leaves_the_mount_is_not_followed) {
    put("/proc/self/cgroup", "0::/../../outside\n");
    put("/sys/outside/cpu.max", "100000 100000\n");
    put("/sys/fs/outside/cpu.max", "100000 100000\n");
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 4);
    put("/proc/self/cgroup", "0::/..\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 4);
    put("/proc/self/cgroup", "0::/..a\n");
    put("/sys/fs/cgroup/..a/cpu.max", "200000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 2);
}
END_TEST

START_TEST(version_1_is_read_too) {
    put("/proc/self/cgroup", "5:cpu,cpuacct:/x/y\n0::/z\n");
    put("/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_period_us", "100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
    put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "350000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 0); /* no period: not understood */
    put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 4);
    put("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "50000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 2);
    put("/sys/fs/cgroup/unified/cpu.max", "10000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 1);
}
END_TEST

START_TEST(what_is_not_understood_does_not_limit) {
    char line[5000];
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/cpu.max", "rubbish\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    ck_assert_uint_eq(weft__cpus_quota(root), 2);
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    memcpy(line, "0::/", 4);
    put("/proc/self/cgroup", line); /* longer than any path */
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/cpu.max", line); /* longer than such a file is */
    ck_assert_uint_eq(weft__cpus_quota(root), 0);
}
END_TEST

START_TEST(the_allowed_cpus_are_those_of_the_affinity_mask) {
    weft__cpu_set set;
    cpu_set_t mask;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(mask), &mask), 0);
    ck_assert_int_eq(weft__cpus_allowed(&set), 0);
    ck_assert_uint_eq(set.count, (unsigned)CPU_COUNT(&mask));
    int first = weft__cpus_at(&set, 0);
    ck_assert_int_ge(first, 0);
    ck_assert(CPU_ISSET(first, &mask));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_int_eq(weft__cpus_allowed(&set), 0);
    ck_assert_uint_eq(set.count, 1);
    ck_assert_uint_eq(weft__cpus_schedulers(&set), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(mask), &mask), 0);
}
END_TEST

static Suite *cpus_suite(void) {
    Suite *suite = suite_create("cpus");
    TCase *lists = tcase_create("lists");
    tcase_add_test(lists, a_list_holds_numbers_and_ranges);
    tcase_add_test(lists, order_and_repetition_do_not_matter);
    tcase_add_test(lists, the_largest_cpu_is_taken_and_the_next_is_not);
    tcase_add_test(lists, what_is_no_list_is_refused_and_changes_nothing);
    tcase_add_test(lists, cpus_are_numbered_in_ascending_order);
    tcase_add_test(lists, a_set_is_restricted_to_a_list_within_it);
    tcase_add_test(lists, schedulers_are_cpus_within_quota_and_bounds);
    suite_add_tcase(suite, lists);
    TCase *texts = tcase_create("cgroup texts");
    tcase_add_test(texts, a_quota_is_rounded_up_to_whole_cpus);
    tcase_add_test(texts, what_is_no_quota_is_refused);
    tcase_add_test(texts, the_line_of_a_controller_is_found);
    tcase_add_test(texts, a_line_that_is_not_there_or_broken_is_not_found);
    tcase_add_test(texts, random_texts_never_crash);
    suite_add_tcase(suite, texts);
    TCase *hierarchy = tcase_create("hierarchy");
    tcase_add_checked_fixture(hierarchy, root_create, root_remove);
    tcase_add_test(hierarchy, without_cgroups_there_is_no_quota);
    tcase_add_test(hierarchy, the_smallest_quota_up_to_the_root_wins);
    tcase_add_test(hierarchy, a_container_whose_path_is_the_hosts_finds_its_own_limit);
    tcase_add_test(hierarchy, a_path_that_leaves_the_mount_is_not_followed);
    tcase_add_test(hierarchy, version_1_is_read_too);
    tcase_add_test(hierarchy, what_is_not_understood_does_not_limit);
    suite_add_tcase(suite, hierarchy);
    TCase *machine = tcase_create("machine");
    tcase_add_test(machine, the_allowed_cpus_are_those_of_the_affinity_mask);
    suite_add_tcase(suite, machine);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(cpus_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
