/* SPDX-License-Identifier: MIT
 *
 * weft_config_load: INI files and the environment, which wins, and that every mistake is an error
 * with its line. Files are memory files, opened through /proc/self/fd. Values by themselves:
 * test_config.c.
 */
#define _GNU_SOURCE 1

#include "tests/unit/config_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 64, LINE_MAX_BYTES = 198 };

/* A file with these bytes; the caller closes the descriptor. */
static int file_create(const void *bytes, size_t size, char *path) {
    int fd = memfd_create("weft.ini", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static int load_bytes(weft_config *config, const void *bytes, size_t size, char *error) {
    char path[PATH_BYTES];
    int fd = file_create(bytes, size, path);
    int result = weft_config_load(config, path, error, ERROR_BYTES);
    close(fd);
    return result;
}

/* A file that must be right. */
static weft_config loaded(const char *text) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    int result = load_bytes(&config, text, strlen(text), error);
    ck_assert_msg(result == 0, "%s", error);
    ck_assert_str_eq(error, "");
    return config;
}

/* Bytes that must be refused with ":<line>" behind the path. */
static void assert_bytes_say(const void *bytes, size_t size, const char *line) {
    char path[PATH_BYTES];
    char error[ERROR_BYTES];
    char wanted[ERROR_BYTES];
    weft_config config = config_init();
    config.budget = 77;
    weft_config before = config;
    int fd = file_create(bytes, size, path);
    ck_assert_int_eq(weft_config_load(&config, path, error, sizeof(error)), WEFT_E_CONFIG);
    close(fd);
    snprintf(wanted, sizeof(wanted), "%s:%s", path, line);
    ck_assert_str_eq(error, wanted);
    ck_assert_mem_eq(&config, &before, sizeof(config));
}

static void assert_says(const char *text, const char *line) {
    assert_bytes_say(text, strlen(text), line);
}

static void without_variables(void) {
    ck_assert_int_eq(clearenv(), 0);
}

/* ---- files that are right ------------------------------------------------------------------ */

START_TEST(keys_stand_in_sections_or_with_their_whole_name_before_any) {
    weft_config config = loaded("scheduler.count = 2\n"
                                "log.level=debug\n"
                                "[actor]\n"
                                "max = 1M\n"
                                "call_timeout = 250ms\n"
                                "[watchdog]\n"
                                "period=0\n"
                                "[actor]\n"
                                "calls = 10\n");
    ck_assert_uint_eq(config.schedulers, 2);
    ck_assert_uint_eq(config.log_level, WEFT_LOG_DEBUG);
    ck_assert_uint_eq(config.actors_max, 1 << 20);
    ck_assert_uint_eq(config.call_timeout_ns, 250000000);
    ck_assert(config.watchdog_none);
    ck_assert_uint_eq(config.calls_max, 10);
    ck_assert_uint_eq(config.budget, 0);
}
END_TEST

START_TEST(comments_blank_lines_and_blanks_do_not_matter) {
    weft_config config = loaded("; a comment\n"
                                "# another = one\n"
                                "\n"
                                "   \t\n"
                                "   ; indented\n"
                                "  [scheduler]  ; of the machine\n"
                                "\t count\t=  2  ; two of them\n"
                                "budget=10\n"
                                "lifo : 5\n");
    ck_assert_uint_eq(config.schedulers, 2);
    ck_assert_uint_eq(config.budget, 10);
    ck_assert_uint_eq(config.lifo_max, 5);
}
END_TEST

START_TEST(an_indented_line_is_a_line_of_its_own) {
    weft_config config = loaded("[scheduler]\n"
                                "count = 2\n"
                                "    spin = 10us\n"
                                "\tbudget = 7\n");
    ck_assert_uint_eq(config.schedulers, 2);
    ck_assert_uint_eq(config.spin_ns, 10000);
    ck_assert_uint_eq(config.budget, 7);
}
END_TEST

START_TEST(line_ends_of_other_systems_are_taken) {
    weft_config config = loaded("[scheduler]\r\ncount = 2\r\n\r\nbudget = 3\r\n");
    ck_assert_uint_eq(config.schedulers, 2);
    ck_assert_uint_eq(config.budget, 3);
}
END_TEST

START_TEST(the_last_line_needs_no_end) {
    ck_assert_uint_eq(loaded("[scheduler]\ncount = 2").schedulers, 2);
    ck_assert_uint_eq(loaded("scheduler.count = 2\n[actor]").schedulers, 2);
}
END_TEST

START_TEST(an_empty_file_changes_nothing) {
    weft_config empty = config_init();
    weft_config config = loaded("");
    ck_assert_mem_eq(&config, &empty, sizeof(config));
    config = loaded("\n\n\n");
    ck_assert_mem_eq(&config, &empty, sizeof(config));
    config = loaded("\xEF\xBB\xBF");
    ck_assert_mem_eq(&config, &empty, sizeof(config));
}
END_TEST

START_TEST(a_byte_order_mark_is_skipped) {
    ck_assert_uint_eq(loaded("\xEF\xBB\xBFscheduler.count = 2\n").schedulers, 2);
    ck_assert_uint_eq(loaded("\xEF\xBB\xBF[scheduler]\ncount = 2\n").schedulers, 2);
    ck_assert_uint_eq(loaded("\xEF\xBB\xBF; comment\nscheduler.count = 2\n").schedulers, 2);
}
END_TEST

START_TEST(every_key_can_be_set_in_a_file) {
    char text[4096];
    size_t used = 0;
    weft_config expected = config_init();
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        weft_config_key key;
        ck_assert_int_eq(weft_config_describe(i, &key), 0);
        ck_assert_int_eq(weft_config_set(&expected, key.name, key.default_text, NULL, 0), 0);
        const char *leaf = strchr(key.name, '.') + 1;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "[%.*s]\n%s = %s\n",
                                 (int)(leaf - key.name - 1), key.name, leaf, key.default_text);
        ck_assert_uint_lt(used, sizeof(text));
    }
    weft_config config = loaded(text);
    ck_assert_mem_eq(&config, &expected, sizeof(config));
}
END_TEST

START_TEST(a_file_longer_than_one_read_keeps_its_lines) {
    static char text[40000];
    size_t used = 0;
    while (used < 30000) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "; %zu\n", used);
    }
    size_t lines = 1;
    for (size_t i = 0; i < used; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    snprintf(text + used, sizeof(text) - used, "scheduler.count = two\n");
    char line[ERROR_BYTES];
    snprintf(line, sizeof(line),
             "%zu: scheduler.count = \"two\": accepted is auto or a number from 1 to 256", lines);
    assert_says(text, line);
    snprintf(text + used, sizeof(text) - used, "scheduler.count = 2\n");
    ck_assert_uint_eq(loaded(text).schedulers, 2);
}
END_TEST

/* ---- files that are wrong ------------------------------------------------------------------ */

START_TEST(a_bad_value_names_file_line_key_value_and_what_is_accepted) {
    assert_says("[scheduler]\n\ncount = two\n",
                "3: scheduler.count = \"two\": accepted is auto or a number from 1 to 256");
    assert_says("[scheduler]\ncount =\n",
                "2: scheduler.count = \"\": accepted is auto or a number from 1 to 256");
    assert_says("[scheduler]\ncount = 2 # not a comment\n",
                "2: scheduler.count = \"2 # not a comment\": accepted is auto or a number from 1 "
                "to 256");
    assert_says("[watchdog]\r\nstuck = 5\r\n",
                "2: watchdog.stuck = \"5\": accepted is a duration from 1ms to 60m");
}
END_TEST

START_TEST(an_unknown_key_names_the_nearest) {
    assert_says("[scheduler]\nuont = 2\n",
                "2: unknown key scheduler.uont; the nearest is scheduler.count");
    assert_says("count = 2\n", "1: unknown key count; the nearest is scheduler.count");
    assert_says("[actor]\nscheduler.count = 2\n",
                "2: unknown key actor.scheduler.count; the nearest is scheduler.count");
    assert_says("[log]\n= info\n", "2: unknown key log.; the nearest is log.level");
    assert_says("[log]\nLevel = info\n", "2: unknown key log.Level; the nearest is log.level");
}
END_TEST

START_TEST(an_unknown_section_is_an_error_even_when_it_is_empty) {
    static const char *const sections = "sections are scheduler, actor, memory, blocking, "
                                        "watchdog, log, io, shard, process";
    char line[ERROR_BYTES];
    snprintf(line, sizeof(line), "2: unknown section [shceduler]; %s", sections);
    assert_says("; one\n[shceduler]\n", line);
    snprintf(line, sizeof(line), "1: unknown section [ scheduler ]; %s", sections);
    assert_says("[ scheduler ]\n", line);
    snprintf(line, sizeof(line), "1: unknown section []; %s", sections);
    assert_says("[]\n", line);
    snprintf(line, sizeof(line), "1: unknown section [scheduler.count]; %s", sections);
    assert_says("[scheduler.count]\n", line);
    /* libinih would cut this one at 49 bytes. */
    snprintf(line, sizeof(line), "1: unknown section [%s; %s",
             "schedulerschedulerschedulerschedulerschedulerschedulerscheduler...", sections);
    assert_says("[schedulerschedulerschedulerschedulerschedulerschedulerscheduler]\n", line);
}
END_TEST

START_TEST(a_section_line_holds_nothing_else) {
    assert_says("[scheduler] count = 2\n", "1: a section is [name] and nothing else");
    assert_says("[scheduler\ncount = 2\n", "1: a section is [name] and nothing else");
    assert_says("[\n", "1: a section is [name] and nothing else");
    ck_assert_uint_eq(loaded("[scheduler]; comment\ncount=2\n").schedulers, 2);
    ck_assert_uint_eq(loaded("[scheduler] # comment\ncount=2\n").schedulers, 2);
}
END_TEST

START_TEST(a_line_that_is_nothing_is_an_error) {
    assert_says("[scheduler]\ncount = 2\nbudget\n", "3: neither [section] nor key = value");
    assert_says("hello", "1: neither [section] nor key = value");
}
END_TEST

START_TEST(the_first_error_of_a_file_is_told) {
    assert_says("[scheduler]\nrubbish\n\ncount = two\n", "2: neither [section] nor key = value");
    assert_says("[scheduler]\nrubbish\n\n[nonsense]\n", "2: neither [section] nor key = value");
    assert_says("[scheduler]\ncount = two\nrubbish\n",
                "2: scheduler.count = \"two\": accepted is auto or a number from 1 to 256");
    assert_says("[log]\nlevel = x\nlevel = y\n",
                "2: log.level = \"x\": accepted is error, warn, info or debug");
}
END_TEST

START_TEST(a_key_stands_once) {
    assert_says("[scheduler]\ncount = 2\ncount = 2\n",
                "3: scheduler.count was set on line 2 already");
    assert_says("scheduler.count = 2\n[log]\n[scheduler]\ncount = 3\n",
                "4: scheduler.count was set on line 1 already");
}
END_TEST

START_TEST(a_line_that_is_too_long_is_an_error_and_not_two_lines) {
    char text[2 * LINE_MAX_BYTES];
    /* The longest line: a value of blanks and a comment. */
    memset(text, 'x', sizeof(text));
    memcpy(text, "log.level = info ;", 18);
    memcpy(text + LINE_MAX_BYTES, "\n", 2);
    ck_assert_uint_eq(loaded(text).log_level, WEFT_LOG_INFO);
    memcpy(text + LINE_MAX_BYTES, "x\n", 3);
    assert_says(text, "1: the line is too long: accepted are 198 bytes");
    /* What would be the second half is a line that libinih would take. */
    memset(text, ' ', sizeof(text));
    memcpy(text, "log.level = info", 16);
    memcpy(text + LINE_MAX_BYTES + 1, "log.level = debug\n", 19);
    assert_says(text, "1: the line is too long: accepted are 198 bytes");
}
END_TEST

START_TEST(a_comment_may_be_of_any_length) {
    static char text[20000];
    memset(text, 'x', sizeof(text));
    text[0] = ';';
    memcpy(text + sizeof(text) - 21, "\nscheduler.count = 2", 21);
    ck_assert_uint_eq(loaded(text).schedulers, 2);
    text[0] = '#';
    ck_assert_uint_eq(loaded(text).schedulers, 2);
}
END_TEST

START_TEST(a_nul_byte_is_an_error_anywhere) {
    static const char value[] = "[log]\nlevel = info\0\n";
    static const char comment[] = "; comment\0\n";
    static const char alone[] = "\n\n\0";
    assert_bytes_say(value, sizeof(value) - 1, "2: a NUL byte: this is not a text file");
    assert_bytes_say(comment, sizeof(comment) - 1, "1: a NUL byte: this is not a text file");
    assert_bytes_say(alone, sizeof(alone) - 1, "3: a NUL byte: this is not a text file");
}
END_TEST

START_TEST(a_byte_order_mark_elsewhere_is_an_error) {
    assert_says("\n\xEF\xBB\xBFlog.level = info\n",
                "2: unknown key \xEF\xBB\xBFlog.level; the nearest is log.level");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_answers_its_errno) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    weft_config before = config;
    ck_assert_int_eq(weft_config_load(&config, "/nonexistent/weft.ini", error, sizeof(error)),
                     -ENOENT);
    ck_assert_str_eq(error, "/nonexistent/weft.ini: No such file or directory");
    ck_assert_int_eq(weft_config_load(&config, "/", error, sizeof(error)), -EISDIR);
    ck_assert_str_eq(error, "/: Is a directory");
    ck_assert_int_eq(weft_config_load(&config, "", error, sizeof(error)), -ENOENT);
    ck_assert_int_eq(weft_config_load(&config, "/dev/zero/x", NULL, 0), -ENOTDIR);
    ck_assert_mem_eq(&config, &before, sizeof(config));
}
END_TEST

START_TEST(a_file_that_never_ends_is_too_large) {
    char path[PATH_BYTES];
    char error[ERROR_BYTES];
    weft_config config = config_init();
    char comment[4096];
    memset(comment, '\n', sizeof(comment));
    int fd = file_create("", 0, path);
    for (uint32_t i = 0; i < 300; i++) {
        ck_assert_int_eq(write(fd, comment, sizeof(comment)), (ssize_t)sizeof(comment));
    }
    ck_assert_int_eq(weft_config_load(&config, path, error, sizeof(error)), -EFBIG);
    ck_assert_ptr_nonnull(strstr(error, ": File too large"));
    close(fd);
    ck_assert_int_eq(weft_config_load(&config, "/dev/zero", error, sizeof(error)), WEFT_E_CONFIG);
    ck_assert_str_eq(error, "/dev/zero:1: a NUL byte: this is not a text file");
}
END_TEST

START_TEST(no_descriptor_is_left_open) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    int before = dup(0);
    close(before);
    ck_assert_int_eq(load_bytes(&config, "x", 1, error), WEFT_E_CONFIG);
    ck_assert_int_eq(load_bytes(&config, "log.level=info", 14, error), 0);
    int after = dup(0);
    close(after);
    ck_assert_int_eq(before, after);
}
END_TEST

/* ---- the environment ----------------------------------------------------------------------- */

START_TEST(the_environment_wins_over_the_file_and_the_file_over_the_struct) {
    static const char text[] = "[scheduler]\nbudget = 2\nlifo = 2\nspin = 0\n";
    char error[ERROR_BYTES];
    weft_config config = config_init();
    config.schedulers = 1;
    config.budget = 1;
    config.lifo_max = 1;
    setenv("WEFT_SCHEDULER_LIFO", "3", 1);
    setenv("WEFT_SCHEDULER_SPIN", "5us", 1);
    ck_assert_int_eq(load_bytes(&config, text, sizeof(text) - 1, error), 0);
    ck_assert_uint_eq(config.schedulers, 1);
    ck_assert_uint_eq(config.budget, 2);
    ck_assert_uint_eq(config.lifo_max, 3);
    ck_assert_uint_eq(config.spin_ns, 5000);
    ck_assert(!config.spin_none);
}
END_TEST

START_TEST(the_environment_alone_needs_no_file) {
    weft_config config = config_init();
    setenv("WEFT_SCHEDULER_COUNT", "9", 1);
    setenv("WEFT_ACTOR_CALL_TIMEOUT", "1s", 1);
    setenv("WEFT_MEMORY_HUGE_PAGES", "off", 1);
    ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), 0);
    ck_assert_uint_eq(config.schedulers, 9);
    ck_assert_uint_eq(config.call_timeout_ns, 1000000000);
    ck_assert(config.huge_pages_none);
}
END_TEST

START_TEST(auto_in_the_environment_takes_a_file_back) {
    static const char text[] = "[scheduler]\ncount = 2\ncpus = 0\n";
    char error[ERROR_BYTES];
    weft_config config = config_init();
    setenv("WEFT_SCHEDULER_COUNT", "auto", 1);
    setenv("WEFT_SCHEDULER_CPUS", "auto", 1);
    ck_assert_int_eq(load_bytes(&config, text, sizeof(text) - 1, error), 0);
    ck_assert_uint_eq(config.schedulers, 0);
    ck_assert_str_eq(config.cpus, "");
}
END_TEST

START_TEST(every_key_has_its_variable) {
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        weft_config_key key;
        char name[64] = "WEFT_";
        ck_assert_int_eq(weft_config_describe(i, &key), 0);
        for (size_t j = 0; j <= strlen(key.name); j++) {
            char byte = key.name[j];
            name[5 + j] = byte == '.' ? '_' : byte >= 'a' && byte <= 'z' ? (char)(byte - 32) : byte;
        }
        weft_config expected = config_init();
        weft_config config = config_init();
        ck_assert_int_eq(weft_config_set(&expected, key.name, key.default_text, NULL, 0), 0);
        setenv(name, key.default_text, 1);
        ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), 0);
        ck_assert_mem_eq(&config, &expected, sizeof(config));
        setenv(name, "\x01", 1);
        ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), WEFT_E_CONFIG);
        unsetenv(name);
    }
}
END_TEST

static void assert_variable_says(const char *name, const char *value, const char *line) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    weft_config before = config;
    setenv(name, value, 1);
    ck_assert_int_eq(weft_config_load(&config, NULL, error, sizeof(error)), WEFT_E_CONFIG);
    ck_assert_str_eq(error, line);
    ck_assert_mem_eq(&config, &before, sizeof(config));
    unsetenv(name);
}

START_TEST(a_bad_variable_is_named) {
    assert_variable_says("WEFT_SCHEDULER_COUNT", "two",
                         "WEFT_SCHEDULER_COUNT = \"two\": accepted is auto or a number from 1 to "
                         "256");
    assert_variable_says("WEFT_LOG_LEVEL", "",
                         "WEFT_LOG_LEVEL = \"\": accepted is error, warn, info or debug");
}
END_TEST

START_TEST(an_unknown_variable_names_the_nearest) {
    assert_variable_says("WEFT_SCHEDULER_CUONT", "2",
                         "WEFT_SCHEDULER_CUONT: unknown variable; the nearest is "
                         "WEFT_SCHEDULER_COUNT");
    assert_variable_says("WEFT_CALL_TIMEOUT", "1s",
                         "WEFT_CALL_TIMEOUT: unknown variable; the nearest is "
                         "WEFT_ACTOR_CALL_TIMEOUT");
    assert_variable_says("WEFT_scheduler_count", "2",
                         "WEFT_scheduler_count: unknown variable; the nearest is "
                         "WEFT_SCHEDULER_COUNT");
    assert_variable_says("WEFT_ACTOR_CALL.TIMEOUT", "1s",
                         "WEFT_ACTOR_CALL.TIMEOUT: unknown variable; the nearest is "
                         "WEFT_ACTOR_CALL_TIMEOUT");
}
END_TEST

START_TEST(variables_of_builds_and_tests_and_of_others_are_left_alone) {
    weft_config config = config_init();
    setenv("WEFT_BUILD_DIR", "x", 1);
    setenv("WEFT_TEST_SEED", "1", 1);
    setenv("WEFT_SERVICE_HOST", "10.0.0.1", 1);
    setenv("WEFT_PORT_80_TCP", "tcp://10.0.0.1:80", 1);
    setenv("WEFTY_COUNT", "x", 1);
    setenv("SCHEDULER_COUNT", "x", 1);
    setenv("WEFT", "x", 1);
    ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), 0);
    setenv("WEFT_TESTS", "1", 1);
    ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), WEFT_E_CONFIG);
}
END_TEST

START_TEST(a_variable_of_any_length_is_named_in_one_line) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    static char name[5000];
    memset(name, 'A', sizeof(name) - 1);
    memcpy(name, "WEFT_", 5);
    setenv(name, "1", 1);
    ck_assert_int_eq(weft_config_load(&config, NULL, error, sizeof(error)), WEFT_E_CONFIG);
    ck_assert_uint_lt(strlen(error), 160);
    ck_assert_ptr_nonnull(strstr(error, "AAA...: unknown variable; the nearest is WEFT_"));
}
END_TEST

START_TEST(an_environment_that_names_a_key_twice_or_not_at_all_is_refused) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    char first[] = "WEFT_SCHEDULER_COUNT=2";
    char second[] = "WEFT_SCHEDULER_COUNT=3";
    char bare[] = "WEFT_LOG_LEVEL";
    char *twice[] = {first, second, NULL};
    char *without[] = {bare, NULL};
    char **saved = environ;
    environ = twice;
    int result = weft_config_load(&config, NULL, error, sizeof(error));
    environ = saved;
    ck_assert_int_eq(result, WEFT_E_CONFIG);
    ck_assert_str_eq(error, "WEFT_SCHEDULER_COUNT: the environment has it twice");
    environ = without;
    result = weft_config_load(&config, NULL, error, sizeof(error));
    environ = NULL;
    ck_assert_int_eq(weft_config_load(&config, NULL, NULL, 0), 0);
    environ = saved;
    ck_assert_int_eq(result, WEFT_E_CONFIG);
    ck_assert_uint_eq(config.schedulers, 0);
}
END_TEST

START_TEST(a_wrong_struct_is_told_before_anything_is_read) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    config.struct_size = 8;
    ck_assert_int_eq(weft_config_load(&config, "/nonexistent", error, sizeof(error)), -EINVAL);
    ck_assert_str_eq(error, "weft_config: struct_size is not WEFT_CONFIG_INIT");
    ck_assert_int_eq(weft_config_load(NULL, NULL, error, sizeof(error)), -EINVAL);
}
END_TEST

/* ---- random files -------------------------------------------------------------------------- */

/* xorshift64: the same files in every run. */
static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Loads bytes: it succeeds, or tells one line and changes nothing. */
static void assert_load_is_sane(const void *bytes, size_t size) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    weft_config before = config;
    int result = load_bytes(&config, bytes, size, error);
    ck_assert(result == 0 || result == WEFT_E_CONFIG);
    if (result == 0) {
        ck_assert_str_eq(error, "");
        ck_assert_int_eq(weft_config_resolve(&config, error, sizeof(error)), 0);
        return;
    }
    ck_assert_uint_gt(strlen(error), 0);
    ck_assert_ptr_null(strpbrk(error, "\n\r\t"));
    ck_assert_mem_eq(&config, &before, sizeof(config));
}

START_TEST(random_bytes_never_crash) {
    static const char alphabet[] = "[]=:;# \t\r\n.\"\\scheduleractorlogcountlevel0123456789";
    uint64_t state = 0x9E3779B97F4A7C15ull;
    unsigned char bytes[512];
    for (uint32_t round = 0; round < 5000; round++) {
        size_t size = random_next(&state) % sizeof(bytes);
        bool any = round % 2 == 0;
        for (size_t i = 0; i < size; i++) {
            uint64_t random = random_next(&state);
            bytes[i] = any ? (unsigned char)random
                           : (unsigned char)alphabet[random % (sizeof(alphabet) - 1)];
        }
        assert_load_is_sane(bytes, size);
    }
}
END_TEST

START_TEST(a_right_file_with_random_damage_never_crashes) {
    static const char right[] = "; weft\nlog.level = info\n[scheduler]\ncount = 2\ncpus = 0-3,6\n"
                                "spin = 20us\n  lifo = 0 ; none\n[actor]\nmax = 1M\n"
                                "call_timeout = 5s\n[memory]\narena = 1G\nhuge_pages = off\n";
    uint64_t state = 0xD1B54A32D192ED03ull;
    for (uint32_t round = 0; round < 5000; round++) {
        char bytes[sizeof(right)];
        memcpy(bytes, right, sizeof(right));
        uint64_t damages = 1 + random_next(&state) % 4;
        for (uint64_t i = 0; i < damages; i++) {
            bytes[random_next(&state) % (sizeof(right) - 1)] = (char)random_next(&state);
        }
        assert_load_is_sane(bytes, random_next(&state) % sizeof(right));
    }
}
END_TEST

static TCase *load_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, without_variables, NULL);
    tcase_set_timeout(tcase, 180);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static Suite *load_suite(void) {
    Suite *suite = suite_create("config_load");
    TCase *files = load_case(suite, "files");
    tcase_add_test(files, keys_stand_in_sections_or_with_their_whole_name_before_any);
    tcase_add_test(files, comments_blank_lines_and_blanks_do_not_matter);
    tcase_add_test(files, an_indented_line_is_a_line_of_its_own);
    tcase_add_test(files, line_ends_of_other_systems_are_taken);
    tcase_add_test(files, the_last_line_needs_no_end);
    tcase_add_test(files, an_empty_file_changes_nothing);
    tcase_add_test(files, a_byte_order_mark_is_skipped);
    tcase_add_test(files, every_key_can_be_set_in_a_file);
    tcase_add_test(files, a_file_longer_than_one_read_keeps_its_lines);
    TCase *errors = load_case(suite, "errors");
    tcase_add_test(errors, a_bad_value_names_file_line_key_value_and_what_is_accepted);
    tcase_add_test(errors, an_unknown_key_names_the_nearest);
    tcase_add_test(errors, an_unknown_section_is_an_error_even_when_it_is_empty);
    tcase_add_test(errors, a_section_line_holds_nothing_else);
    tcase_add_test(errors, a_line_that_is_nothing_is_an_error);
    tcase_add_test(errors, the_first_error_of_a_file_is_told);
    tcase_add_test(errors, a_key_stands_once);
    tcase_add_test(errors, a_line_that_is_too_long_is_an_error_and_not_two_lines);
    tcase_add_test(errors, a_comment_may_be_of_any_length);
    tcase_add_test(errors, a_nul_byte_is_an_error_anywhere);
    tcase_add_test(errors, a_byte_order_mark_elsewhere_is_an_error);
    tcase_add_test(errors, a_file_that_cannot_be_read_answers_its_errno);
    tcase_add_test(errors, a_file_that_never_ends_is_too_large);
    tcase_add_test(errors, no_descriptor_is_left_open);
    tcase_add_test(errors, a_wrong_struct_is_told_before_anything_is_read);
    TCase *environment = load_case(suite, "environment");
    tcase_add_test(environment, the_environment_wins_over_the_file_and_the_file_over_the_struct);
    tcase_add_test(environment, the_environment_alone_needs_no_file);
    tcase_add_test(environment, auto_in_the_environment_takes_a_file_back);
    tcase_add_test(environment, every_key_has_its_variable);
    tcase_add_test(environment, a_bad_variable_is_named);
    tcase_add_test(environment, an_unknown_variable_names_the_nearest);
    tcase_add_test(environment, variables_of_builds_and_tests_and_of_others_are_left_alone);
    tcase_add_test(environment, a_variable_of_any_length_is_named_in_one_line);
    tcase_add_test(environment, an_environment_that_names_a_key_twice_or_not_at_all_is_refused);
    TCase *random = load_case(suite, "random");
    tcase_add_test(random, random_bytes_never_crash);
    tcase_add_test(random, a_right_file_with_random_damage_never_crashes);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(load_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
