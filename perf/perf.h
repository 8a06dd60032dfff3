/* SPDX-License-Identifier: MIT
 *
 * weft-perf: what its files share. One process measures one workload once: the parent starts
 * itself again for every repetition, so that pools and resident memory are those of a fresh
 * process, reads the child's lines and prints medians. A workload uses the public headers only,
 * as any program would.
 *
 * The main thread of a child creates actors, opens the gate they report to and reads the clock;
 * handlers run on the schedulers. Whatever fails ends the process with status 1 and a line on
 * stderr: a figure is printed only after its answer was verified.
 */
#ifndef WEFT_PERF_H
#define WEFT_PERF_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <weft/weft.h>

enum {
    PERF_SETS_MAX = 64,    /* --set on one command line */
    PERF_NAMES_MAX = 128,  /* workloads on one command line */
    PERF_FIGURES_MAX = 64, /* figures of one workload */
    PERF_REPS_MAX = 1000,
    PERF_NAME_BYTES = 64,
    PERF_UNIT_BYTES = 24,
    PERF_CACHE_PAIR = 128, /* two lines: the prefetcher fetches them together */
};

/* ---- command line (main.c) ----------------------------------------------------------------- */

struct perf_options {
    double scale;                    /* multiplies the counts of every workload */
    uint32_t reps;                   /* fresh processes per workload */
    bool json;                       /* one array at the end instead of lines */
    bool verbose;                    /* with the comment also for one repetition */
    const char *child;               /* measure this one in this process; NULL: be the parent */
    const char *peer;                /* be the other process of an I/O workload (io.h) */
    const char *config;              /* INI file; NULL: none */
    const char *sets[PERF_SETS_MAX]; /* "key=value" */
    uint32_t set_count;
    const char *names[PERF_NAMES_MAX];
    uint32_t name_count;
};

/* ---- one measuring process (child.c) ------------------------------------------------------- */

struct perf {
    const char *name; /* of the workload */
    weft_runtime *runtime;
    weft_env *env;      /* runtimes are created on it; NULL: as a program's would be */
    weft_config config; /* what runtime was made with */
    double scale;
    uint32_t parameter; /* of the workload */
    bool muted;         /* the warm-up: nothing is printed */
    /* NULL, or: nothing is printed, and the figure of this name is kept */
    const char *captured_name;
    double captured;
};

struct perf_workload {
    const char *name;
    const char *text;    /* what it measures, for --list */
    const char *figures; /* what it prints besides its own name, separated by spaces */
    void (*run)(struct perf *perf);
    void (*configure)(weft_config *config); /* before file and --set; may be NULL */
    uint32_t parameter;
    bool standard; /* runs when no workload is named */
    bool warm;     /* run at 1/50 of the scale before, in the same runtime */
};

/* Measures options->child in this process and prints its lines. Returns the exit status. */
int perf_child(const struct perf_options *options);

/* Creates and starts a runtime from perf->config; stops and frees it. */
void perf_runtime_start(struct perf *perf);
void perf_runtime_stop(struct perf *perf);

/* The table, ended by an entry without name (workloads.c). */
extern const struct perf_workload perf_workloads[];
/* By exact name, or NULL. */
const struct perf_workload *perf_workload_find(const char *name);

/* ---- the parent (parent.c, report.c) ------------------------------------------------------- */

/* Runs the chosen workloads in processes of their own. Returns the exit status. */
int perf_parent(const struct perf_options *options);

/* How far apart the two cores were around the runs: bits, so that several runs add up. */
enum perf_distance { PERF_NEAR = 1, PERF_FAR = 2, PERF_ONE_CORE = 4 };

/* One figure of one workload over all repetitions. */
struct perf_figure {
    char name[PERF_NAME_BYTES];
    char unit[PERF_UNIT_BYTES];
    double values[PERF_REPS_MAX];
    uint32_t count;
    uint32_t distance; /* enum perf_distance, of all its runs */
};

/* Distance of the two cores now. */
uint32_t perf_distance_now(void);
/* `weft <workload> <value> <unit>`, with the spread as a comment when asked for. */
void perf_report_line(const struct perf_figure *figure, bool comment);
/* One object of the JSON array; perf_report_open and _close print the brackets. */
void perf_report_open(void);
void perf_report_json(const struct perf_figure *figure, bool first);
void perf_report_close(void);

/* ---- helpers of workloads (common.c) ------------------------------------------------------- */

/* CLOCK_MONOTONIC, read now. */
uint64_t perf_clock_ns(void);
/* Prints to stderr and ends the process with status 1. Any thread. */
_Noreturn void perf_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Dies when a library call failed. */
static inline void perf_check(int result, const char *what) {
    if (__builtin_expect(result < 0, 0)) {
        perf_die("%s: %s", what, weft_strerror(result));
    }
}
/* Zeroed memory, or death. */
void *perf_alloc(size_t count, size_t size);
/* The same on its own cache lines, for arrays whose elements have different writers. */
void *perf_alloc_aligned(size_t count, size_t size);

/* count times the scale, at least 1. */
uint64_t perf_count(const struct perf *perf, uint64_t count);
/* Prints a figure, unless this is the warm-up or figures are captured. */
void perf_emit(struct perf *perf, const char *name, double value, const char *unit);
/* A figure per second of a phase. */
double perf_rate(uint64_t count, uint64_t elapsed_ns);
/* Ascending. */
void perf_sort(uint64_t *values, uint64_t count);
/* The value below which per_mille/1000 of the sorted ones lie, as the peers take it:
 * sorted[count * per_mille / 1000], 1000 being the last. */
uint64_t perf_quantile(const uint64_t *sorted, uint64_t count, uint32_t per_mille);

/* VmRSS or VmHWM of this process in bytes. */
int64_t perf_status_bytes(const char *key);

/* xorshift, the generator the peers use. */
static inline uint64_t perf_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* What the main thread waits for: count passes, by any thread. */
struct perf_gate {
    sem_t open;
    _Atomic uint64_t left; /* written by whoever passes; the last one opens */
};
void perf_gate_init(struct perf_gate *gate, uint64_t count);
/* After its last pass a gate may be gone: touch nothing that hangs off it. */
void perf_gate_pass(struct perf_gate *gate);
/* Waits and frees the gate; dies after two minutes. */
void perf_gate_wait(struct perf_gate *gate, const char *what);

/* Registers a type, or finds the one the warm-up registered. */
const weft_type *perf_type(struct perf *perf, const weft_type_def *def);
/* Spawn from the main thread, or die. */
weft_pid perf_spawn(struct perf *perf, const weft_type *type, const void *arg, size_t arg_size);
weft_pid perf_spawn_with(struct perf *perf, const weft_type *type,
                         const weft_spawn_options *options);
/* Asks actors that would stay to end. */
void perf_stop_all(struct perf *perf, const weft_pid *pids, uint64_t count);
void perf_sleep_ns(uint64_t duration_ns);

/* Every message of a workload carries one integer of 8 bytes, as the peers' do. */
void perf_post(struct perf *perf, weft_pid target, uint32_t tag, uint64_t value);
static inline void perf_send(weft_ctx *ctx, weft_pid target, uint32_t tag, uint64_t value) {
    perf_check(weft_send(ctx, target, tag, &value, sizeof(value)), "send");
}
static inline uint64_t perf_value(const weft_msg *msg) {
    uint64_t value = 0;

    if (__builtin_expect(weft_msg_size(msg) != sizeof(value), 0)) {
        perf_die("a message of %zu bytes came", weft_msg_size(msg));
    }
    memcpy(&value, weft_msg_data(msg), sizeof(value));
    return value;
}

/* ---- floors (limits.c) --------------------------------------------------------------------- */

/* The first two CPUs of this process; false when there is only one. */
bool perf_two_cpus(int cpus[2]);
/* Nanoseconds for one cache line to go to the other core and back; 0 when there is one core. */
double perf_limit_cacheline_ns(void);
/* Median nanoseconds from before a futex wake to the woken thread's first clock read, on two
 * cores, the woken one asleep; 0 when there is one core. */
double perf_limit_futex_ns(uint32_t samples);

/* ---- pairs (pairs.c), also used by others --------------------------------------------------- */

/* Actors in pairs, one message in flight per pair. */
struct perf_pairs_plan {
    uint64_t pairs;
    uint64_t rounds;         /* round trips of each pair */
    uint32_t ping_scheduler; /* pinned there; 0: not pinned */
    uint32_t pong_scheduler;
};
/* Runs the plan; nanoseconds from the first message to the end of the last pair. */
uint64_t perf_pairs_run(struct perf *perf, const struct perf_pairs_plan *plan);
/* Starts pairs that go on until they are stopped: background load. */
struct perf_pairs_load {
    weft_pid *pids;
    uint64_t count;
};
void perf_pairs_load_start(struct perf *perf, uint64_t pairs, struct perf_pairs_load *ret_load);
void perf_pairs_load_stop(struct perf *perf, struct perf_pairs_load *load);

/* ---- workloads ------------------------------------------------------------------------------ */

void perf_w1_pingpong(struct perf *perf);
void perf_w2_pairs(struct perf *perf);
void perf_scaling(struct perf *perf);
void perf_w3_fanin(struct perf *perf);
void perf_w3_fanin_bounded(struct perf *perf);
void perf_w4_spawn(struct perf *perf);
void perf_w4_idle(struct perf *perf);
void perf_spawn_memory(struct perf *perf);
void perf_w5_skynet(struct perf *perf);
void perf_w6_ring(struct perf *perf);
void perf_w7_call_1x1(struct perf *perf);
void perf_w7_call_1x1_blocking(struct perf *perf);
void perf_w7_call_64x1000(struct perf *perf);
void perf_otp_switch(struct perf *perf);
void perf_otp_link_ring(struct perf *perf);
void perf_otp_restart(struct perf *perf);
void perf_otp_process_rss(struct perf *perf);
void perf_x1_chameneos(struct perf *perf);
void perf_cross_running(struct perf *perf);
void perf_cross_running_configure(weft_config *config);
void perf_cross_sleeping(struct perf *perf);
void perf_cross_sleeping_configure(weft_config *config);
void perf_stuck(struct perf *perf);
void perf_stuck_configure(weft_config *config);
void perf_mailbox_wait(struct perf *perf);
void perf_call_open(struct perf *perf);
void perf_timers(struct perf *perf);
void perf_timers_late(struct perf *perf);
void perf_io_compare(struct perf *perf);
void perf_io_configure(weft_config *config);
void perf_io_configure_sleep(weft_config *config);
void perf_io_configure_spin(weft_config *config);
void perf_io_idle(struct perf *perf);
void perf_io_epoll_ratio(struct perf *perf);
void perf_driver_ratio(struct perf *perf);

#endif
