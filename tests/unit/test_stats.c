/* SPDX-License-Identifier: MIT
 *
 * Statistics, inspection, Prometheus text, the dump for crash handlers.
 */
#define _GNU_SOURCE
#include "support.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- counters -------------------------------------------------------------------------------- */

static int answer(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        return weft_reply(ctx, &msg, 1, NULL, 0);
    }
    return weft_msg_tag(msg) == 99 ? -EIO : WEFT_CONTINUE;
}

struct two {
    weft_pid other;
    weft_pid nobody;
};

static void use_everything(weft_ctx *ctx, void *arg) {
    const struct two *two = arg;
    weft_timer timer;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(weft_send(ctx, two->other, 1, NULL, 0), 0);
        ck_assert_int_eq(weft_call(ctx, two->other, 1, NULL, 0, 0, (uint64_t)i), 0);
    }
    ck_assert_int_eq(weft_send(ctx, two->nobody, 1, NULL, 0), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_timer_start(ctx, MS_NS, 1, 1, NULL), 0);
    ck_assert_int_eq(weft_timer_start(ctx, S_NS, 1, 1, &timer), 0);
    ck_assert(weft_timer_cancel(ctx, timer));
}

START_TEST(counters_count_what_was_done) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    struct probe other = PROBE_INIT;
    other.handler = answer;
    weft_pid pid = rig_spawn(&rig, &probe);
    struct two two = {.other = rig_spawn(&rig, &other), .nobody = rig_spawn(&rig, NULL)};
    settle(&rig, two.nobody);
    ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, two.nobody, 0), 0);
    eventually(!is_alive(&rig, two.nobody));
    act(&rig, pid, use_everything, &two);
    eventually(probe_count(&probe) == 11);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, two.other, 99, NULL, 0), 0);
    eventually(!is_alive(&rig, two.other));
    eventually(rig_stats(&rig).crashes == 1);
    /* What was sent or handled is counted a moment later. */
    eventually(rig_stats(&rig).messages_sent >= 35 && rig_stats(&rig).messages_handled >= 35);
    weft_stats stats = rig_stats(&rig);
    /* settle and act: a request and a reply each; ten sends, ten requests, ten replies, one crash */
    ck_assert_uint_eq(stats.messages_sent, 2 + 2 + 10 + 20 + 1);
    ck_assert_uint_eq(stats.messages_handled, 2 + 2 + 10 + 20 + 1);
    ck_assert_uint_eq(stats.messages_rejected, 1);
    ck_assert_uint_eq(stats.messages_dead, 0);
    ck_assert_uint_eq(stats.spawns, 3);
    ck_assert_uint_eq(stats.exits, 2);
    ck_assert_uint_eq(stats.crashes, 1);
    ck_assert_uint_eq(stats.timers_started, 2);
    ck_assert_uint_eq(stats.timers_cancelled, 1);
    ck_assert_uint_eq(stats.timers_fired, 1);
    ck_assert_uint_ge(stats.signals, 3);
    ck_assert_uint_ge(stats.runs, 4);
    ck_assert_uint_gt(stats.pool_hits + stats.pool_refills, 0);
    ck_assert_uint_eq(rig_gauges(&rig).actors, 1);
    rig_stop(&rig);
    probe_fini(&probe);
    probe_fini(&other);
}
END_TEST

START_TEST(the_sum_of_all_is_the_sum_of_each) {
    struct rig rig = rig_start(3);
    for (int i = 0; i < 300; i++) {
        settle(&rig, rig_spawn(&rig, NULL));
    }
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 10 * S_NS), 0);
    uint64_t sum = 0;
    uint64_t runs = 0;
    for (uint32_t id = 0; id <= 3; id++) {
        weft_stats stats = {.struct_size = sizeof(stats)};
        ck_assert_int_eq(weft_stats_read(rig.runtime, id, &stats), 0);
        sum += stats.messages_sent;
        runs += stats.runs;
    }
    ck_assert_uint_eq(sum, rig_stats(&rig).messages_sent);
    ck_assert_uint_eq(runs, rig_stats(&rig).runs);
    ck_assert_uint_eq(sum, 600);
    rig_stop(&rig);
}
END_TEST

START_TEST(statistics_are_given_as_far_as_the_caller_knows_them) {
    struct rig rig = rig_start(1);
    settle(&rig, rig_spawn(&rig, NULL));
    eventually(rig_stats(&rig).messages_sent == 2); /* the answer is counted after it was sent */
    weft_stats stats;
    memset(&stats, 0xee, sizeof(stats));
    stats.struct_size = offsetof(weft_stats, messages_rejected);
    ck_assert_int_eq(weft_stats_read(rig.runtime, WEFT_STATS_ALL, &stats), 0);
    ck_assert_uint_eq(stats.messages_sent, 2);
    ck_assert_uint_eq(stats.messages_rejected, UINT64_C(0xeeeeeeeeeeeeeeee));
    ck_assert_uint_eq(stats.struct_size, offsetof(weft_stats, messages_rejected));
    for (size_t size = 0; size < sizeof(size_t); size++) {
        stats.struct_size = size;
        ck_assert_int_eq(weft_stats_read(rig.runtime, 0, &stats), -EINVAL);
    }
    stats.struct_size = sizeof(stats) + 8;
    ck_assert_int_eq(weft_stats_read(rig.runtime, 0, &stats), -EINVAL);
    stats.struct_size = sizeof(stats);
    ck_assert_int_eq(weft_stats_read(rig.runtime, 2, &stats), -EINVAL);
    ck_assert_int_eq(weft_stats_read(rig.runtime, 0, NULL), -EINVAL);
    ck_assert_int_eq(weft_stats_read(NULL, 0, &stats), -EINVAL);
    weft_gauges gauges = {.struct_size = 3};
    ck_assert_int_eq(weft_gauges_read(rig.runtime, &gauges), -EINVAL);
    weft_histogram histogram;
    ck_assert_int_eq(weft_histogram_read(rig.runtime, 2, WEFT_HISTOGRAM_HANDLER_TIME, &histogram),
                     -EINVAL);
    ck_assert_int_eq(weft_histogram_read(rig.runtime, 1,
                                         (enum weft_histogram_id)WEFT_HISTOGRAM_COUNT, &histogram),
                     -EINVAL);
    rig_stop(&rig);
}
END_TEST

START_TEST(gauges_show_what_is_there) {
    struct rig rig = rig_start(2);
    weft_gauges before = rig_gauges(&rig);
    ck_assert_uint_gt(before.heap_bytes, 0);
    weft_buf *buf;
    ck_assert_int_eq(weft_buf_create(rig.runtime, 1 << 20, &buf), 0);
    weft_gauges gauges = rig_gauges(&rig);
    ck_assert_uint_eq(gauges.buffers, 1);
    ck_assert_uint_ge(gauges.heap_bytes, before.heap_bytes + (1 << 20));
    weft_buf_unref(buf);
    ck_assert_uint_eq(rig_gauges(&rig).heap_bytes, before.heap_bytes);
    for (int i = 0; i < 10; i++) {
        settle(&rig, rig_spawn(&rig, NULL));
    }
    gauges = rig_gauges(&rig);
    ck_assert_uint_eq(gauges.actors, 10);
    ck_assert_uint_gt(gauges.slot_bytes, 0);
    ck_assert_uint_gt(gauges.arena_bytes, 0);
    eventually(rig_gauges(&rig).schedulers_parked == 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(waits_and_handler_times_are_sampled) {
    struct rig rig = rig_start(1);
    struct probe probe = PROBE_INIT;
    probe.counts_only = true;
    weft_pid pid = rig_spawn(&rig, &probe);
    for (int i = 0; i < 20000; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
        if (i % 10 == 0) {
            settle(&rig, pid);
        }
    }
    weft_histogram wait;
    weft_histogram time;
    ck_assert_int_eq(
        weft_histogram_read(rig.runtime, WEFT_STATS_ALL, WEFT_HISTOGRAM_MAILBOX_WAIT, &wait), 0);
    ck_assert_int_eq(weft_histogram_read(rig.runtime, 1, WEFT_HISTOGRAM_HANDLER_TIME, &time), 0);
    ck_assert_uint_gt(wait.count, 100);
    ck_assert_uint_gt(time.count, 0); /* a turn may last for 256 messages */
    ck_assert_uint_le(weft_histogram_quantile(&wait, 500), weft_histogram_quantile(&wait, 999));
    ck_assert_uint_le(weft_histogram_quantile(&wait, 1000), wait.max);
    rig_stop(&rig);
}
END_TEST

/* ---- inspection ------------------------------------------------------------------------------ */

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

START_TEST(an_actor_can_be_inspected) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    probe.handler = wait_at_gate;
    struct probe *arg = &probe;
    weft_type_def def = puppet_def("bounded");
    def.mailbox_max = 500;
    const weft_type *type = rig_type(&rig, &def);
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &arg,
                                  .arg_size = sizeof(arg),
                                  .scheduler = 2,
                                  .pin = true};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(rig.runtime, type, &options, &pid), 0);
    settle(&rig, pid);
    weft_actor_info info = {.struct_size = sizeof(info)};
    eventually(weft_inspect(rig.runtime, pid, &info) == 0 && info.cell == WEFT_CELL_IDLE);
    ck_assert_ptr_eq(info.type, type);
    ck_assert_uint_eq(info.mailbox, 0);
    ck_assert_uint_eq(info.mailbox_max, 500);
    ck_assert_uint_eq(info.scheduler, 2);
    ck_assert(info.pinned);
    ck_assert(weft_pid_is_none(info.parent));
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    }
    eventually(weft_load32_acquire(&probe.inside) != 0);
    ck_assert_int_eq(weft_inspect(rig.runtime, pid, &info), 0);
    ck_assert_int_eq(info.cell, WEFT_CELL_READY);
    ck_assert_uint_ge(info.mailbox, 19);
    ck_assert_uint_le(info.mailbox, 20);
    info.struct_size = 4;
    ck_assert_int_eq(weft_inspect(rig.runtime, pid, &info), -EINVAL);
    info.struct_size = sizeof(info);
    weft_store32_release(&probe.gate, 1);
    eventually(probe_count(&probe) == 20);
    eventually(weft_inspect(rig.runtime, pid, &info) == 0 && info.messages >= 21);
    ck_assert_int_eq(weft_inspect(rig.runtime, weft_pid_none(), &info), WEFT_E_NOPROC);
    weft_pid strange = pid;
    strange.slot = UINT32_MAX;
    ck_assert_int_eq(weft_inspect(rig.runtime, strange, &info), WEFT_E_NOPROC);
    strange = pid;
    strange.node++;
    ck_assert_int_eq(weft_inspect(rig.runtime, strange, &info), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, pid), 0);
    eventually(weft_inspect(rig.runtime, pid, &info) == WEFT_E_NOPROC);
    rig_stop(&rig);
    probe_fini(&probe);
}
END_TEST

struct race {
    struct rig *rig;
    _Atomic uint64_t slot_gen;
    _Atomic uint32_t end;
    _Atomic uint64_t found;
};

static void *inspect_outside(void *arg) {
    struct race *race = arg;
    while (atomic_load(&race->end) == 0) {
        uint64_t address = atomic_load(&race->slot_gen);
        weft_pid pid = {.node = weft_runtime_node(race->rig->runtime),
                        .slot = (uint32_t)(address >> 32),
                        .gen = (uint32_t)address};
        weft_actor_info info = {.struct_size = sizeof(info)};
        if (weft_inspect(race->rig->runtime, pid, &info) == 0) {
            ck_assert_ptr_eq(info.type, race->rig->puppet);
            ck_assert_uint_le(info.mailbox, 10);
            atomic_fetch_add(&race->found, 1);
        }
    }
    return NULL;
}

START_TEST(an_inspection_races_with_birth_and_death) {
    struct rig rig = rig_start(2);
    struct race race = {.rig = &rig};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, inspect_outside, &race), 0);
    uint64_t from_ns = clock_ns();
    /* On a slow machine an inspection seldom finds anybody there. */
    while (clock_ns() < from_ns + 300 * MS_NS || atomic_load(&race.found) == 0) {
        ck_assert_uint_lt(clock_ns(), from_ns + 40 * S_NS);
        weft_pid pid = rig_spawn(&rig, NULL);
        atomic_store(&race.slot_gen, (uint64_t)pid.slot << 32 | pid.gen);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, "0123456789", 10), 0);
        ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, pid, 0), 0);
        settle(&rig, rig_spawn(&rig, NULL));
    }
    atomic_store(&race.end, 1);
    (void)pthread_join(thread, NULL);
    rig_stop(&rig);
}
END_TEST

/* ---- Prometheus text ------------------------------------------------------------------------- */

enum { TEXT_BYTES = 1 << 20 };

/* A parser for the exposition format: HELP, TYPE, samples of that name, in this order. */
struct parser {
    char name[128];
    char type[32];
    uint32_t metrics;
    uint32_t samples;
    double bucket_count; /* of the last bucket */
    double bucket_limit;
    bool infinite;
    double infinite_count;
};

static void parse_help(struct parser *parser, const char *line) {
    if (strcmp(parser->type, "histogram") == 0) {
        ck_assert_msg(parser->infinite, "no +Inf bucket before %s", line);
    }
    ck_assert_int_eq(sscanf(line, "# HELP %127s ", parser->name), 1);
    ck_assert_ptr_nonnull(strchr(line + 7, ' ')); /* there is a text */
    parser->type[0] = '\0';
    parser->metrics++;
    parser->infinite = false;
    parser->bucket_count = 0;
    parser->bucket_limit = 0;
}

static void parse_type(struct parser *parser, const char *line) {
    char name[128];
    ck_assert_int_eq(sscanf(line, "# TYPE %127s %31s", name, parser->type), 2);
    ck_assert_str_eq(name, parser->name); /* HELP came before */
    ck_assert(strcmp(parser->type, "counter") == 0 || strcmp(parser->type, "gauge") == 0 ||
              strcmp(parser->type, "histogram") == 0);
    size_t length = strlen(name);
    bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;
    ck_assert_int_eq(total, strcmp(parser->type, "counter") == 0);
}

static void parse_bucket(struct parser *parser, const char *labels, double value) {
    char text[64];
    ck_assert_int_eq(sscanf(labels, "{le=\"%63[^\"]\"}", text), 1);
    ck_assert(!parser->infinite); /* +Inf is the last one */
    ck_assert_msg(value >= parser->bucket_count, "%s: %f after %f", parser->name, value,
                  parser->bucket_count);
    parser->bucket_count = value;
    if (strcmp(text, "+Inf") == 0) {
        parser->infinite = true;
        parser->infinite_count = value;
        return;
    }
    double limit = strtod(text, NULL);
    ck_assert(limit > parser->bucket_limit);
    parser->bucket_limit = limit;
}

static void parse_sample(struct parser *parser, const char *line) {
    size_t length = strcspn(line, "{ ");
    size_t base = strlen(parser->name);
    ck_assert_msg(parser->type[0] != '\0', "a sample before its TYPE: %s", line);
    ck_assert_msg(strncmp(line, parser->name, base) == 0, "a strange sample: %s", line);
    const char *value_at = strrchr(line, ' ');
    ck_assert_ptr_nonnull(value_at);
    char *end;
    double value = strtod(value_at + 1, &end);
    ck_assert_int_eq(*end, '\0');
    ck_assert(value >= 0);
    parser->samples++;
    if (strcmp(parser->type, "histogram") != 0) {
        ck_assert_uint_eq(length, base);
    } else if (strncmp(line + base, "_bucket", 7) == 0) {
        parse_bucket(parser, line + length, value);
    } else if (strncmp(line + base, "_count ", 7) == 0) {
        ck_assert(value == parser->infinite_count);
    } else {
        ck_assert_int_eq(strncmp(line + base, "_sum ", 5), 0);
    }
}

static struct parser parse(char *text) {
    struct parser parser = {0};
    size_t length = strlen(text);
    ck_assert(length == 0 || text[length - 1] == '\n');
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            parse_help(&parser, line);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            parse_type(&parser, line);
        } else {
            parse_sample(&parser, line);
        }
    }
    return parser;
}

static char *new_text(void) {
    char *text = malloc(TEXT_BYTES);
    ck_assert_ptr_nonnull(text);
    return text;
}

START_TEST(prometheus_text_is_well_formed) {
    struct rig rig = rig_start(3);
    for (int i = 0; i < 1000; i++) {
        settle(&rig, rig_spawn(&rig, NULL));
    }
    char *text = new_text();
    int length = weft_stats_prometheus(rig.runtime, text, TEXT_BYTES);
    ck_assert_int_eq(length, (int)strlen(text));
    ck_assert_ptr_nonnull(strstr(text, "\nweft_actors 1000\n"));
    ck_assert_ptr_nonnull(strstr(text, "weft_spawns_total{scheduler=\"0\"} 1000\n"));
    ck_assert_ptr_nonnull(strstr(text, "weft_runs_total{scheduler=\"3\"}"));
    ck_assert_ptr_nonnull(strstr(text, "# TYPE weft_mailbox_wait_seconds histogram\n"));
    struct parser parser = parse(text);
    ck_assert_uint_ge(parser.metrics, 40);
    ck_assert_uint_ge(parser.samples, 30 * 4 + 10 + 3 * 10);
    free(text);
    rig_stop(&rig);
}
END_TEST

START_TEST(prometheus_text_is_cut_at_a_whole_line) {
    struct rig rig = rig_start(2);
    settle(&rig, rig_spawn(&rig, NULL));
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, S_NS), 0); /* so that nothing changes */
    char *whole = new_text();
    char *text = new_text();
    int length = weft_stats_prometheus(rig.runtime, whole, TEXT_BYTES);
    ck_assert_int_gt(length, 1000);
    ck_assert_int_eq(weft_stats_prometheus(rig.runtime, NULL, 0), length);
    ck_assert_int_eq(weft_stats_prometheus(rig.runtime, NULL, 1), -EINVAL);
    for (int size = 1; size <= length + 1; size += size < 3000 || size > length - 300 ? 1 : 37) {
        memset(text, 'x', (size_t)size + 1);
        ck_assert_int_eq(weft_stats_prometheus(rig.runtime, text, (size_t)size), length);
        size_t kept = strlen(text);
        ck_assert_uint_lt(kept, (size_t)size);
        ck_assert_int_eq(text[size], 'x'); /* not beyond its end */
        ck_assert_mem_eq(text, whole, kept);
        ck_assert(kept == 0 || text[kept - 1] == '\n');
    }
    ck_assert_str_eq(text, whole);
    free(text);
    free(whole);
    rig_stop(&rig);
}
END_TEST

static int tick_for_ever(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    (void)msg;
    return weft_send(ctx, weft_self(ctx), 1, NULL, 0);
}

START_TEST(prometheus_text_is_well_formed_while_everything_runs) {
    struct rig rig = rig_start(2);
    struct probe probe = PROBE_INIT;
    probe.handler = tick_for_ever;
    probe.counts_only = true;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, rig_spawn(&rig, &probe), 1, NULL, 0), 0);
    }
    char *text = new_text();
    for (int i = 0; i < 300; i++) {
        ck_assert_int_gt(weft_stats_prometheus(rig.runtime, text, TEXT_BYTES), 0);
        (void)parse(text);
    }
    free(text);
    rig_stop(&rig);
}
END_TEST

/* ---- dump ------------------------------------------------------------------------------------ */

static weft_runtime *crashing_runtime;
static int crash_fd;

static void on_crash(int number) {
    weft_runtime_dump(crashing_runtime, crash_fd);
    _exit(100 + number);
}

static void crash_here(weft_ctx *ctx, void *arg) {
    (void)ctx;
    (void)arg;
    volatile uintptr_t nowhere = 8; /* so that the compiler does not see it coming */
    *(volatile int *)nowhere = 1;
}

/* The child: a runtime of its own, whose handler crashes on a scheduler's thread. */
static _Noreturn void crash_in_child(int fd) {
    struct rlimit none = {0};
    (void)setrlimit(RLIMIT_CORE, &none);
    crash_fd = fd;
    struct sigaction action = {.sa_handler = on_crash};
    (void)sigaction(SIGSEGV, &action, NULL);
    struct rig rig = rig_start(3);
    crashing_runtime = rig.runtime;
    for (int i = 0; i < 100; i++) {
        settle(&rig, rig_spawn(&rig, NULL));
    }
    act(&rig, rig_spawn(&rig, NULL), crash_here, NULL);
    _exit(1);
}

START_TEST(a_crash_handler_can_dump_the_runtime) {
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        crash_in_child(fds[1]);
    }
    (void)close(fds[1]);
    char text[8192];
    size_t length = 0;
    ssize_t got;
    while ((got = read(fds[0], text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    text[length] = '\0';
    (void)close(fds[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 100 + SIGSEGV);
    ck_assert_msg(strncmp(text, "weft runtime node=", 18) == 0, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, " schedulers=3 "));
    ck_assert_ptr_nonnull(strstr(text, "weft scheduler id=1 phase="));
    ck_assert_ptr_nonnull(strstr(text, "weft scheduler id=3 phase="));
    ck_assert_ptr_nonnull(strstr(text, " type=puppet")); /* who ran when it crashed */
    ck_assert_int_eq(text[length - 1], '\n');
}
END_TEST

START_TEST(a_dump_of_nothing_is_harmless) {
    weft_runtime_dump(NULL, 2);
    struct rig rig = rig_start(1);
    weft_runtime_dump(rig.runtime, -1);
    rig_stop(&rig);
}
END_TEST

static Suite *stats_suite(void) {
    Suite *suite = suite_create("stats");
    TCase *counters = tcase_create("counters");
    tcase_add_loop_test(counters, counters_count_what_was_done, 0, SCHEDULER_CASES);
    tcase_add_test(counters, the_sum_of_all_is_the_sum_of_each);
    tcase_add_test(counters, statistics_are_given_as_far_as_the_caller_knows_them);
    tcase_add_test(counters, gauges_show_what_is_there);
    tcase_add_test(counters, waits_and_handler_times_are_sampled);
    suite_add_tcase(suite, counters);
    TCase *inspect = tcase_create("inspect");
    tcase_add_test(inspect, an_actor_can_be_inspected);
    tcase_add_test(inspect, an_inspection_races_with_birth_and_death);
    suite_add_tcase(suite, inspect);
    TCase *prometheus = tcase_create("prometheus");
    tcase_add_test(prometheus, prometheus_text_is_well_formed);
    tcase_add_test(prometheus, prometheus_text_is_cut_at_a_whole_line);
    tcase_add_test(prometheus, prometheus_text_is_well_formed_while_everything_runs);
    suite_add_tcase(suite, prometheus);
    TCase *dump = tcase_create("dump");
    tcase_add_test(dump, a_crash_handler_can_dump_the_runtime);
    tcase_add_test(dump, a_dump_of_nothing_is_harmless);
    suite_add_tcase(suite, dump);
    return suite;
}

int main(void) {
    return run_suite(stats_suite());
}
