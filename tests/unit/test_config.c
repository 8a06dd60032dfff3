/* SPDX-License-Identifier: MIT
 *
 * Configuration values: what text each key takes, what zero stands for, which ranges hold and what
 * an error line says. Structs of other sizes: test_config_struct.c; files and the environment:
 * test_config_load.c.
 */
#define _GNU_SOURCE 1

#include "tests/unit/config_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/shard.h>

/* A value that must be refused, with a line that names all, and change nothing. */
static void assert_refused(const char *key, const char *value) {
    char error[ERROR_BYTES];
    char prefix[ERROR_BYTES];
    weft_config config = config_init();
    weft_config before = config;
    int result = weft_config_set(&config, key, value, error, sizeof(error));
    ck_assert_msg(result == WEFT_E_CONFIG, "%s = \"%s\" answered %d", key, value, result);
    ck_assert_mem_eq(&config, &before, sizeof(config));
    snprintf(prefix, sizeof(prefix), "%s = \"", key);
    ck_assert_msg(strncmp(error, prefix, strlen(prefix)) == 0, "%s", error);
    ck_assert_ptr_nonnull(strstr(error, "\": accepted is "));
    ck_assert_ptr_null(strchr(error, '\n'));
}

/* ---- every key ----------------------------------------------------------------------------- */

START_TEST(describe_names_every_key_once_and_then_ends) {
    weft_config_key key;
    weft_config_key other;
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        ck_assert_int_eq(weft_config_describe(i, &key), 0);
        ck_assert_ptr_nonnull(strchr(key.name, '.'));
        ck_assert_uint_gt(strlen(key.accepted), 0);
        ck_assert_uint_gt(strlen(key.default_text), 0);
        ck_assert_int_eq(weft__config_find(key.name), (int)i);
        for (uint32_t j = 0; j < i; j++) {
            ck_assert_int_eq(weft_config_describe(j, &other), 0);
            ck_assert_str_ne(key.name, other.name);
        }
    }
    ck_assert_int_eq(weft_config_describe(WEFT__CONFIG_KEYS, &key), -ENOENT);
    ck_assert_int_eq(weft_config_describe(UINT32_MAX, &key), -ENOENT);
    ck_assert_int_eq(weft_config_describe(0, NULL), -EINVAL);
}
END_TEST

START_TEST(every_default_text_is_what_resolve_fills_in) {
    weft_config resolved = config_init();
    ck_assert_int_eq(weft_config_resolve(&resolved, NULL, 0), 0);
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        weft_config_key key;
        ck_assert_int_eq(weft_config_describe(i, &key), 0);
        weft_config set = config_with(key.name, key.default_text);
        ck_assert_int_eq(weft_config_resolve(&set, NULL, 0), 0);
        ck_assert_mem_eq(&set, &resolved, sizeof(set));
    }
}
END_TEST

START_TEST(resolve_fills_in_the_documented_defaults) {
    weft_config config = config_init();
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    ck_assert_uint_eq(config.struct_size, sizeof(config));
    ck_assert_uint_eq(config.schedulers, 0);
    ck_assert_str_eq(config.cpus, "");
    ck_assert_uint_eq(config.pinning, WEFT_PIN_NONE);
    ck_assert_uint_eq(config.spin_ns, 20000);
    ck_assert_uint_eq(config.budget, 256);
    ck_assert_uint_eq(config.lifo_max, 1);
    ck_assert_uint_eq(config.steal, WEFT_STEAL_HALF);
    ck_assert_uint_eq(config.ring_size, 4096);
    ck_assert(!config.driven);
    ck_assert_uint_eq(config.actors_max, 67108864);
    ck_assert_uint_eq(config.mailbox_max, 100000);
    ck_assert_uint_eq(config.message_bytes_max, 64ull << 20);
    ck_assert_uint_eq(config.call_timeout_ns, 5000000000ull);
    ck_assert_uint_eq(config.calls_max, 65536);
    ck_assert_uint_eq(config.timers_max, 16777216);
    ck_assert_uint_eq(config.arena_bytes, 64ull << 30);
    ck_assert_uint_eq(config.pool_bytes, 16ull << 20);
    ck_assert(!config.huge_pages_none);
    ck_assert_uint_eq(config.blocking_threads, 4);
    ck_assert_uint_eq(config.blocking_queue, 1024);
    ck_assert_uint_eq(config.watchdog_ns, 5000000);
    ck_assert_uint_eq(config.stuck_ns, 100000000);
    ck_assert_uint_eq(config.log_level, WEFT_LOG_INFO);
    ck_assert_uint_eq(config.shards, 4096);
    ck_assert_uint_eq(config.shard_strategy, WEFT_STRATEGY_RENDEZVOUS);
    ck_assert_uint_eq(config.shard_hash, WEFT_SHARD_HASH_XXH3);
    ck_assert_uint_eq(config.shard_weight, 1);
    ck_assert_uint_eq(config.shard_idle_ns, 0);
    ck_assert_uint_eq(config.shard_remember_bytes, 64ull << 20);
    ck_assert_uint_eq(config.shard_store_timeout_ns, 5000000000ull);
}
END_TEST

/* A text for each form of each key, and the text the value is printed as. */
static const struct {
    const char *key;
    const char *value;
    const char *printed;
} round_trips[] = {
    {"scheduler.count", "auto", "auto"},
    {"scheduler.count", "2", "2"},
    {"scheduler.count", "007", "7"},
    {"scheduler.cpus", "auto", "auto"},
    {"scheduler.cpus", "0-3,6,8-15", "0-3,6,8-15"},
    {"scheduler.pin", "on", "on"},
    {"scheduler.pin", "off", "off"},
    {"scheduler.spin", "0", "0"},
    {"scheduler.spin", "0us", "0"},
    {"scheduler.spin", "250us", "250us"},
    {"scheduler.spin", "1500ns", "1500ns"},
    {"scheduler.spin", "1000us", "1ms"},
    {"scheduler.budget", "1K", "1K"},
    {"scheduler.budget", "1000", "1000"},
    {"scheduler.lifo", "0", "0"},
    {"scheduler.lifo", "5", "5"},
    {"scheduler.steal", "half", "half"},
    {"scheduler.steal", "none", "none"},
    {"scheduler.ring", "64K", "64K"},
    {"scheduler.ring", "4", "4"},
    {"scheduler.driven", "on", "on"},
    {"scheduler.driven", "off", "off"},
    {"actor.max", "1G", "1G"},
    {"actor.mailbox", "12345", "12345"},
    {"actor.message", "4096", "4K"},
    {"actor.message", "1025", "1025"},
    {"actor.call_timeout", "10ms", "10ms"},
    {"actor.call_timeout", "2s", "2s"},
    {"actor.call_timeout", "60s", "1m"},
    {"actor.call_timeout", "1440m", "1440m"},
    {"actor.calls", "1", "1"},
    {"actor.timers", "16M", "16M"},
    {"memory.arena", "64M", "64M"},
    {"memory.pool", "1M", "1M"},
    {"memory.huge_pages", "off", "off"},
    {"memory.huge_pages", "on", "on"},
    {"blocking.threads", "16", "16"},
    {"blocking.queue", "10", "10"},
    {"watchdog.period", "0", "0"},
    {"watchdog.period", "1m", "1m"},
    {"watchdog.stuck", "1s", "1s"},
    {"log.level", "error", "error"},
    {"log.level", "warn", "warn"},
    {"log.level", "info", "info"},
    {"log.level", "debug", "debug"},
    {"io.driver", "auto", "auto"},
    {"io.driver", "uring", "uring"},
    {"io.driver", "epoll", "epoll"},
    {"io.buffers", "8", "8"},
    {"io.buffers", "32K", "32K"},
    {"io.buffer", "1K", "1K"},
    {"io.buffer", "1500", "1500"},
    {"io.connections", "10000", "10000"},
    {"io.handshakes", "1", "1"},
    {"io.spin", "0", "0"},
    {"io.spin", "50us", "50us"},
    {"shard.count", "1", "1"},
    {"shard.count", "65536", "64K"},
    {"shard.strategy", "rendezvous", "rendezvous"},
    {"shard.strategy", "bounded", "bounded"},
    {"shard.strategy", "modulo", "modulo"},
    {"shard.hash", "xxh3", "xxh3"},
    {"shard.hash", "phash2", "phash2"},
    {"shard.weight", "10000", "10000"},
    {"shard.idle", "off", "off"},
    {"shard.idle", "1ms", "1ms"},
    {"shard.idle", "600s", "10m"},
    {"shard.remember", "0", "0"},
    {"shard.remember", "1M", "1M"},
    {"shard.store_timeout", "250ms", "250ms"},
    {"process.stack", "16K", "16K"},
    {"process.stack", "131072", "128K"},
    {"process.stacks", "0", "0"},
    {"process.stacks", "64K", "64K"},
};

START_TEST(every_key_round_trips_from_text) {
    bool seen[WEFT__CONFIG_KEYS] = {false};
    for (size_t i = 0; i < sizeof(round_trips) / sizeof(round_trips[0]); i++) {
        char text[ERROR_BYTES];
        weft_config config = config_with(round_trips[i].key, round_trips[i].value);
        int index = weft__config_find(round_trips[i].key);
        ck_assert_int_ge(index, 0);
        seen[index] = true;
        int length = weft__config_format(&config, (uint32_t)index, text, sizeof(text));
        ck_assert_int_eq(length, (int)strlen(text));
        ck_assert_str_eq(text, round_trips[i].printed);
        weft_config again = config_with(round_trips[i].key, text);
        ck_assert_mem_eq(&again, &config, sizeof(config));
        ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        ck_assert_msg(seen[i], "%s", weft__config_name(i));
    }
}
END_TEST

/* Reads "64K" or "10ms" as a number, to step over the bounds that an accepted text names. */
static uint64_t quantity_of(const char *text, bool *ret_time) {
    char *suffix = NULL;
    uint64_t number = strtoull(text, &suffix, 10);
    static const struct {
        const char *suffix;
        uint64_t factor;
        bool time;
    } units[] = {{"ns", 1, true},         {"us", 1000, true},
                 {"ms", 1000000, true},   {"m", 60000000000ull, true},
                 {"s", 1000000000, true}, {"K", 1u << 10, false},
                 {"M", 1u << 20, false},  {"G", 1u << 30, false},
                 {"", 1, false}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(suffix, units[i].suffix) == 0) {
            *ret_time = units[i].time;
            return number * units[i].factor;
        }
    }
    ck_abort_msg("%s", text);
    return 0;
}

static void quantity_print(char *text, size_t size, uint64_t value, bool time) {
    snprintf(text, size, "%llu%s", (unsigned long long)value, time ? "ns" : "");
}

START_TEST(the_accepted_text_tells_the_exact_bounds) {
    uint32_t checked = 0;
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        weft_config_key key;
        ck_assert_int_eq(weft_config_describe(i, &key), 0);
        const char *from = strstr(key.accepted, "from ");
        if (from == NULL) {
            continue;
        }
        char low[32];
        char high[32];
        char text[64];
        bool time = false;
        ck_assert_int_eq(sscanf(from, "from %31s to %31s", low, high), 2);
        (void)config_with(key.name, low);
        (void)config_with(key.name, high);
        quantity_print(text, sizeof(text), quantity_of(high, &time) + 1, time);
        assert_refused(key.name, text);
        uint64_t below = quantity_of(low, &time) - 1;
        quantity_print(text, sizeof(text), below, time);
        if (below != 0 || strncmp(key.accepted, "0 or", 4) != 0) {
            assert_refused(key.name, text);
        }
        checked++;
    }
    ck_assert_uint_ge(checked, 15);
}
END_TEST

START_TEST(a_ring_is_a_power_of_two) {
    for (uint32_t size = 4; size <= 65536; size *= 2) {
        char text[32];
        snprintf(text, sizeof(text), "%u", size);
        ck_assert_uint_eq(config_with("scheduler.ring", text).ring_size, size);
        snprintf(text, sizeof(text), "%u", size + 1);
        assert_refused("scheduler.ring", text);
    }
    assert_refused("scheduler.ring", "2");
    assert_refused("scheduler.ring", "128K");
}
END_TEST

/* ---- bad values ---------------------------------------------------------------------------- */

START_TEST(what_is_not_a_number_is_refused) {
    static const char *const bad[] = {"",
                                      " ",
                                      " 1",
                                      "1 ",
                                      "-1",
                                      "+1",
                                      "0x10",
                                      "1e3",
                                      "1.5",
                                      "two",
                                      "K",
                                      "1KK",
                                      "1k",
                                      "1T",
                                      "1us",
                                      "99999999999999999999",
                                      "18446744073709551616",
                                      "18446744073709551615G",
                                      "1\n",
                                      "\xff\xfe"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused("scheduler.count", bad[i]);
        assert_refused("scheduler.lifo", bad[i]);
        assert_refused("actor.mailbox", bad[i]);
        assert_refused("memory.arena", bad[i]);
        assert_refused("scheduler.steal", bad[i]);
        assert_refused("scheduler.driven", bad[i]);
        assert_refused("scheduler.cpus", bad[i]);
    }
}
END_TEST

START_TEST(what_is_not_a_duration_is_refused) {
    static const char *const bad[] = {"10",  "ms",    "10 ms",  "10h",  "10MS", "1.5ms",
                                      "-1s", "1s1ms", "10msec", "10s ", "0h",   "1K"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused("scheduler.spin", bad[i]);
        assert_refused("actor.call_timeout", bad[i]);
    }
    assert_refused("actor.call_timeout", "0");
    assert_refused("watchdog.stuck", "0");
}
END_TEST

START_TEST(a_product_that_wraps_around_into_the_range_is_refused) {
    assert_refused("actor.message", "18014398509481985K"); /* 2^64 + 1024 */
    assert_refused("actor.message", "17179869185G");       /* 2^64 + 2^30 */
    assert_refused("actor.call_timeout", "307445735m");    /* 2^64 + 26.3 s */
    assert_refused("actor.mailbox", "4294967296");         /* 2^32 */
    assert_refused("scheduler.count", "4294967298");       /* 2^32 + 2 */
}
END_TEST

START_TEST(zero_is_refused_where_it_would_mean_the_default) {
    static const char *const names[] = {
        "scheduler.count",  "scheduler.budget",   "scheduler.ring",   "actor.max",
        "actor.mailbox",    "actor.message",      "actor.calls",      "actor.timers",
        "memory.arena",     "memory.pool",        "blocking.threads", "blocking.queue",
        "scheduler.driven", "log.level",          "shard.count",      "shard.weight",
        "shard.idle",       "shard.store_timeout"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_refused(names[i], "0");
    }
}
END_TEST

START_TEST(words_are_whole_and_lower_case) {
    assert_refused("log.level", "INFO");
    assert_refused("log.level", "information");
    assert_refused("log.level", "inf");
    assert_refused("scheduler.driven", "yes");
    assert_refused("scheduler.pin", "cpus");
    assert_refused("scheduler.steal", "auto");
    assert_refused("memory.huge_pages", "1");
    assert_refused("shard.strategy", "custom"); /* set by the program, with its function */
    assert_refused("shard.strategy", "1");
    assert_refused("shard.hash", "XXH3");
    assert_refused("shard.idle", "none");
}
END_TEST

START_TEST(a_cpu_list_is_checked_and_must_fit) {
    char list[2 * WEFT_CONFIG_TEXT_BYTES];
    assert_refused("scheduler.cpus", "0-");
    assert_refused("scheduler.cpus", "3-0");
    assert_refused("scheduler.cpus", "0,,1");
    assert_refused("scheduler.cpus", "8192");
    memset(list, '1', sizeof(list));
    for (size_t i = 1; i < sizeof(list); i += 2) {
        list[i] = ',';
    }
    list[WEFT_CONFIG_TEXT_BYTES - 1] = '\0';
    list[WEFT_CONFIG_TEXT_BYTES - 2] = '1';
    list[WEFT_CONFIG_TEXT_BYTES - 3] = '1';
    ck_assert_str_eq(config_with("scheduler.cpus", list).cpus, list);
    list[WEFT_CONFIG_TEXT_BYTES - 1] = '1';
    list[WEFT_CONFIG_TEXT_BYTES] = '\0';
    assert_refused("scheduler.cpus", list);
}
END_TEST

START_TEST(a_shorter_cpu_list_leaves_nothing_of_a_longer_one) {
    weft_config config = config_with("scheduler.cpus", "0-3,6,8-15");
    ck_assert_int_eq(weft_config_set(&config, "scheduler.cpus", "1", NULL, 0), 0);
    weft_config fresh = config_with("scheduler.cpus", "1");
    ck_assert_mem_eq(&config, &fresh, sizeof(config));
}
END_TEST

/* ---- zero as a value ----------------------------------------------------------------------- */

START_TEST(zero_sets_the_none_flag_and_a_value_clears_it) {
    weft_config config = config_init();
    ck_assert_int_eq(weft_config_set(&config, "scheduler.spin", "0", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "scheduler.lifo", "0", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "watchdog.period", "0", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "shard.remember", "0", NULL, 0), 0);
    ck_assert(config.shard_remember_none);
    ck_assert(config.spin_none);
    ck_assert(config.lifo_none);
    ck_assert(config.watchdog_none);
    weft_config resolved = config;
    ck_assert_int_eq(weft_config_resolve(&resolved, NULL, 0), 0);
    ck_assert_uint_eq(resolved.spin_ns, 0);
    ck_assert_uint_eq(resolved.lifo_max, 0);
    ck_assert_uint_eq(resolved.watchdog_ns, 0);
    ck_assert_uint_eq(resolved.shard_remember_bytes, 0);
    ck_assert_int_eq(weft_config_set(&config, "scheduler.spin", "1us", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "scheduler.lifo", "1", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "watchdog.period", "1ms", NULL, 0), 0);
    ck_assert_int_eq(weft_config_set(&config, "shard.remember", "2K", NULL, 0), 0);
    ck_assert(!config.shard_remember_none);
    ck_assert(!config.spin_none);
    ck_assert(!config.lifo_none);
    ck_assert(!config.watchdog_none);
    ck_assert_uint_eq(config.spin_ns, 1000);
}
END_TEST

START_TEST(off_is_a_value_that_a_later_one_replaces) {
    weft_config config = config_with("shard.idle", "10m");
    ck_assert_uint_eq(config.shard_idle_ns, 600000000000ull);
    ck_assert_int_eq(weft_config_set(&config, "shard.idle", "off", NULL, 0), 0);
    ck_assert_uint_eq(config.shard_idle_ns, 0);
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    ck_assert_uint_eq(config.shard_idle_ns, 0);
    ck_assert_int_eq(weft_config_set(&config, "shard.idle", "1s", NULL, 0), 0);
    ck_assert_uint_eq(config.shard_idle_ns, 1000000000);
}
END_TEST

START_TEST(a_none_flag_wins_over_a_value_beside_it) {
    weft_config config = config_init();
    config.spin_ns = 5000;
    config.spin_none = true;
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    ck_assert_uint_eq(config.spin_ns, 0);
    ck_assert(config.spin_none);
}
END_TEST

START_TEST(resolve_twice_is_resolve_once) {
    weft_config config = config_with("scheduler.spin", "0");
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    weft_config once = config;
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    ck_assert_mem_eq(&config, &once, sizeof(config));
}
END_TEST

START_TEST(what_was_set_survives_resolve) {
    weft_config config = config_init();
    int marker = 0;
    config.log.cookie = &marker;
    config.allocator.cookie = &marker;
    config.schedulers = 2;
    config.mailbox_max = 7;
    config.huge_pages_none = true;
    ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    ck_assert_ptr_eq(config.log.cookie, &marker);
    ck_assert_ptr_eq(config.allocator.cookie, &marker);
    ck_assert_uint_eq(config.schedulers, 2);
    ck_assert_uint_eq(config.mailbox_max, 7);
    ck_assert(config.huge_pages_none);
}
END_TEST

/* ---- error lines --------------------------------------------------------------------------- */

static void assert_resolve_says(weft_config config, const char *line) {
    char error[ERROR_BYTES];
    weft_config before = config;
    ck_assert_int_eq(weft_config_resolve(&config, error, sizeof(error)), WEFT_E_CONFIG);
    ck_assert_str_eq(error, line);
    ck_assert_mem_eq(&config, &before, sizeof(config));
}

START_TEST(resolve_checks_ranges_and_changes_nothing_on_error) {
    weft_config config = config_init();
    config.schedulers = 257;
    assert_resolve_says(config, "scheduler.count = \"257\": accepted is auto or a number from 1 "
                                "to 256");
    config = config_init();
    config.ring_size = 5000;
    assert_resolve_says(config, "scheduler.ring = \"5000\": accepted is a power of two from 4 to "
                                "64K");
    config = config_init();
    config.pinning = 3;
    assert_resolve_says(config, "scheduler.pin = \"3\": accepted is auto, off or on");
    config = config_init();
    config.spin_ns = 2000000000;
    assert_resolve_says(config, "scheduler.spin = \"2s\": accepted is 0 or a duration from 1ns to "
                                "1s");
    config = config_init();
    config.mailbox_max = UINT32_MAX; /* unbounded is said per type, never for all */
    assert_resolve_says(config, "actor.mailbox = \"4294967295\": accepted is a number from 1 to "
                                "1G");
    config = config_init();
    config.shard_strategy = WEFT_STRATEGY_CUSTOM; /* only weft_strategy_set, with a function */
    assert_resolve_says(config,
                        "shard.strategy = \"4\": accepted is rendezvous, bounded or modulo");
    config = config_init();
    config.shard_idle_ns = 1;
    assert_resolve_says(config, "shard.idle = \"1ns\": accepted is off or a duration from 1ms to "
                                "525600m");
    config = config_init();
    config.log_level = 5;
    assert_resolve_says(config, "log.level = \"5\": accepted is error, warn, info or debug");
}
END_TEST

static void *test_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    return NULL;
}

START_TEST(resolve_checks_the_parts_that_have_no_key) {
    weft_config config = config_init();
    snprintf(config.cpus, sizeof(config.cpus), "1-0");
    assert_resolve_says(config, "scheduler.cpus = \"1-0\": accepted is auto or a list of CPUs such "
                                "as 0-3,6");
    memset(config.cpus, '1', sizeof(config.cpus));
    assert_resolve_says(config, "scheduler.cpus: the text has no terminating zero");
    config = config_init();
    config.allocator.alloc = test_alloc;
    assert_resolve_says(config, "allocator: alloc and free go together");
}
END_TEST

START_TEST(a_bad_value_is_shown_on_one_line_and_cut) {
    char error[ERROR_BYTES];
    char value[1000];
    weft_config config = config_init();
    ck_assert_int_eq(
        weft_config_set(&config, "scheduler.count", "a\"\n\x1b[2J\xff", error, sizeof(error)),
        WEFT_E_CONFIG);
    ck_assert_str_eq(error, "scheduler.count = \"a\\\"\\n\\u001b[2J\\xff\": accepted is auto or a "
                            "number from 1 to 256");
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    ck_assert_int_eq(weft_config_set(&config, "scheduler.count", value, error, sizeof(error)),
                     WEFT_E_CONFIG);
    ck_assert_uint_lt(strlen(error), 160);
    ck_assert_ptr_nonnull(strstr(error, "x...\": accepted is "));
}
END_TEST

START_TEST(an_error_buffer_of_any_size_is_terminated_and_never_overrun) {
    char whole[ERROR_BYTES];
    weft_config config = config_init();
    ck_assert_int_eq(weft_config_set(&config, "log.level", "x", whole, sizeof(whole)),
                     WEFT_E_CONFIG);
    for (size_t size = 1; size <= strlen(whole) + 2; size++) {
        char *error = malloc(size); /* so that a sanitizer sees one byte too much */
        ck_assert_ptr_nonnull(error);
        ck_assert_int_eq(weft_config_set(&config, "log.level", "x", error, size), WEFT_E_CONFIG);
        size_t wanted = size - 1 < strlen(whole) ? size - 1 : strlen(whole);
        ck_assert_uint_eq(strlen(error), wanted);
        ck_assert_mem_eq(error, whole, wanted);
        free(error);
    }
    char untouched = 'x';
    ck_assert_int_eq(weft_config_set(&config, "log.level", "x", &untouched, 0), WEFT_E_CONFIG);
    ck_assert_int_eq(untouched, 'x');
    ck_assert_int_eq(weft_config_set(&config, "log.level", "x", NULL, 100), WEFT_E_CONFIG);
    ck_assert_int_eq(weft_config_set(&config, "log.level", "info", NULL, 100), 0);
}
END_TEST

START_TEST(an_unknown_key_gets_the_nearest_name) {
    static const struct {
        const char *wrong;
        const char *right;
    } names[] = {
        {"scheduler.cuont", "scheduler.count"},
        {"scheduler.counts", "scheduler.count"},
        {"count", "scheduler.count"},
        {"actor.budget", "scheduler.budget"},
        {"Scheduler.Spin", "scheduler.spin"},
        {"actors.max", "actor.max"},
        {"log_level", "log.level"},
        {"actor.calltimeout", "actor.call_timeout"},
        {"scheduler.scheduler.count", "scheduler.count"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char error[ERROR_BYTES];
        char line[ERROR_BYTES];
        weft_config config = config_init();
        ck_assert_int_eq(weft_config_set(&config, names[i].wrong, "1", error, sizeof(error)),
                         WEFT_E_CONFIG);
        snprintf(line, sizeof(line), "unknown key %s; the nearest is %s", names[i].wrong,
                 names[i].right);
        ck_assert_str_eq(error, line);
    }
}
END_TEST

START_TEST(any_name_has_a_nearest_key) {
    char name[300];
    for (size_t length = 0; length < sizeof(name); length++) {
        memset(name, '.', sizeof(name));
        name[length] = '\0';
        ck_assert_uint_lt(weft__config_nearest(name), WEFT__CONFIG_KEYS);
        memset(name, 'a', length);
        ck_assert_uint_lt(weft__config_nearest(name), WEFT__CONFIG_KEYS);
    }
}
END_TEST

START_TEST(missing_arguments_are_invalid) {
    weft_config config = config_init();
    ck_assert_int_eq(weft_config_set(NULL, "log.level", "info", NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_config_set(&config, NULL, "info", NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_config_set(&config, "log.level", NULL, NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_config_resolve(NULL, NULL, 0), -EINVAL);
}
END_TEST

/* ---- random text --------------------------------------------------------------------------- */

/* xorshift64: the same texts in every run. */
static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(random_values_are_taken_or_refused_and_what_is_taken_resolves) {
    static const char alphabet[] = "0123456789KMGmnus-,. autofnhlewrid\x80\xff";
    uint64_t state = 88172645463325252ull;
    for (uint32_t round = 0; round < 50000; round++) {
        char value[16];
        char error[ERROR_BYTES];
        size_t length = random_next(&state) % sizeof(value);
        for (size_t i = 0; i < length; i++) {
            value[i] = alphabet[random_next(&state) % (sizeof(alphabet) - 1)];
        }
        value[length] = '\0';
        uint32_t index = (uint32_t)(random_next(&state) % WEFT__CONFIG_KEYS);
        weft_config config = config_init();
        int result =
            weft_config_set(&config, weft__config_name(index), value, error, sizeof(error));
        ck_assert(result == 0 || result == WEFT_E_CONFIG);
        ck_assert_int_eq(result == 0, error[0] == '\0');
        ck_assert_int_eq(weft_config_resolve(&config, NULL, 0), 0);
    }
}
END_TEST

static Suite *config_suite(void) {
    Suite *suite = suite_create("config");
    TCase *values = tcase_create("values");
    tcase_add_test(values, describe_names_every_key_once_and_then_ends);
    tcase_add_test(values, every_default_text_is_what_resolve_fills_in);
    tcase_add_test(values, resolve_fills_in_the_documented_defaults);
    tcase_add_test(values, every_key_round_trips_from_text);
    tcase_add_test(values, the_accepted_text_tells_the_exact_bounds);
    tcase_add_test(values, a_ring_is_a_power_of_two);
    tcase_add_test(values, what_is_not_a_number_is_refused);
    tcase_add_test(values, what_is_not_a_duration_is_refused);
    tcase_add_test(values, a_product_that_wraps_around_into_the_range_is_refused);
    tcase_add_test(values, zero_is_refused_where_it_would_mean_the_default);
    tcase_add_test(values, words_are_whole_and_lower_case);
    tcase_add_test(values, a_cpu_list_is_checked_and_must_fit);
    tcase_add_test(values, a_shorter_cpu_list_leaves_nothing_of_a_longer_one);
    tcase_add_test(values, zero_sets_the_none_flag_and_a_value_clears_it);
    tcase_add_test(values, off_is_a_value_that_a_later_one_replaces);
    tcase_add_test(values, a_none_flag_wins_over_a_value_beside_it);
    tcase_add_test(values, resolve_twice_is_resolve_once);
    tcase_add_test(values, what_was_set_survives_resolve);
    tcase_add_test(values, random_values_are_taken_or_refused_and_what_is_taken_resolves);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, resolve_checks_ranges_and_changes_nothing_on_error);
    tcase_add_test(errors, resolve_checks_the_parts_that_have_no_key);
    tcase_add_test(errors, a_bad_value_is_shown_on_one_line_and_cut);
    tcase_add_test(errors, an_error_buffer_of_any_size_is_terminated_and_never_overrun);
    tcase_add_test(errors, an_unknown_key_gets_the_nearest_name);
    tcase_add_test(errors, any_name_has_a_nearest_key);
    tcase_add_test(errors, missing_arguments_are_invalid);
    suite_add_tcase(suite, errors);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(config_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
