/* SPDX-License-Identifier: MIT
 *
 * Floor and weft in turns: each I/O workload that has a floor is a line of the table below. A
 * round runs its client against the floor and then against weft; a workload prints the medians of
 * its rounds: the floor, weft, p99 where there is one, and the ratio weft/floor of each round's
 * two values. A latency's ratio is to be small, a rate's to be large.
 *
 * weft has one scheduler here, pinned to the second CPU, where the floor's server is pinned too;
 * the clients are on the first. Main thread of the measuring process.
 */
#define _GNU_SOURCE 1
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "io.h"

enum { ROUNDS = 3, ECHO_COUNT = 20000, STREAM_NS = 600000000, MANY_NS = 500000000 };

#define ECHO(which, more)                                                                          \
    .name = (which), .unit = "us", .divisor = 1e3, .latency = true,                                \
    .client = PERF_PEER_ECHO_CLIENT, .server = PERF_PEER_ECHO_SERVER, .mode = PERF_SERVE_ECHO,     \
    .count = ECHO_COUNT, .connections = 1, .flags = (more)
#define SEND(which, more)                                                                          \
    .name = (which), .unit = "MB/s", .divisor = 1e6, .client = PERF_PEER_SEND_CLIENT,              \
    .server = PERF_PEER_SINK_SERVER, .mode = PERF_SERVE_SINK, .duration_ns = STREAM_NS,            \
    .connections = 1, .flags = (more)
#define READ(which, more)                                                                          \
    .name = (which), .unit = "MB/s", .divisor = 1e6, .client = PERF_PEER_READ_CLIENT,              \
    .server = PERF_PEER_SOURCE_SERVER, .mode = PERF_SERVE_SOURCE, .duration_ns = STREAM_NS,        \
    .connections = 1, .flags = (more)
#define ACCEPT(which, more)                                                                        \
    .name = (which), .divisor = 1, .client = PERF_PEER_ACCEPT_CLIENT,                              \
    .server = PERF_PEER_ACCEPT_SERVER, .mode = PERF_SERVE_CLOSE, .flags = (more)

static const struct perf_io_case cases[] = {
    {ECHO("io_echo_sleep", 0)},
    {ECHO("io_echo_spin", PERF_PEER_SPIN)},
    {ECHO("io_tls_echo_sleep", PERF_PEER_TLS)},
    {ECHO("io_tls_echo_spin", PERF_PEER_TLS | PERF_PEER_SPIN)},
    {SEND("io_stream", 0)},
    {SEND("io_tls_stream", PERF_PEER_TLS)},
    {READ("io_stream_send", 0)},
    {READ("io_tls_stream_send", PERF_PEER_TLS)},
    {ACCEPT("io_accept", 0), .unit = "conns/s", .count = 10000, .connections = 32, .depth = 1},
    {ACCEPT("io_accept_tls", PERF_PEER_TLS), .unit = "handshakes/s", .count = 1000,
     .connections = 1, .depth = 8},
    {.name = "io_echo_many",
     .unit = "msgs/s",
     .divisor = 1,
     .client = PERF_PEER_MANY_CLIENT,
     .server = PERF_PEER_MANY_SERVER,
     .mode = PERF_SERVE_ECHO,
     .duration_ns = MANY_NS,
     .connections = 64,
     .depth = 16},
};

enum { CASES = sizeof(cases) / sizeof(cases[0]) };

const struct perf_io_case *perf_io_case_find(const char *name) {
    for (uint32_t i = 0; i < CASES; i++) {
        if (strcmp(cases[i].name, name) == 0) {
            return &cases[i];
        }
    }
    perf_die("no case %s", name);
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;

    return a < b ? -1 : (a > b ? 1 : 0);
}

double perf_io_median(double *values, uint32_t count) {
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- configuration -------------------------------------------------------------------------- */

bool perf_io_possible(const char *name, int cpus[2]) {
    if (perf_two_cpus(cpus)) {
        return true;
    }
    (void)fprintf(stderr, "weft-perf: %s needs two CPUs\n", name);
    return false;
}

void perf_io_set(struct perf *perf, const char *key, const char *value) {
    char error[256] = "";

    if (weft_config_set(&perf->config, key, value, error, sizeof(error)) < 0) {
        perf_die("%s", error);
    }
}

void perf_io_configure(weft_config *config) {
    int cpus[2];

    config->schedulers = 1;
    if (perf_two_cpus(cpus)) {
        (void)snprintf(config->cpus, sizeof(config->cpus), "%d", cpus[1]);
        config->pinning = WEFT_PIN_CPUS;
    }
}

void perf_io_configure_sleep(weft_config *config) {
    perf_io_configure(config);
    config->spin_none = true;
    config->io_spin_none = true;
}

void perf_io_configure_spin(weft_config *config) {
    perf_io_configure(config);
    config->spin_ns = 1000000000U; /* no wait of these workloads is as long */
    config->io_spin_ns = config->spin_ns;
}

/* ---- one run -------------------------------------------------------------------------------- */

static struct perf_peer_plan case_plan(const struct perf *perf, const struct perf_io_case *chosen,
                                       uint32_t role) {
    struct perf_peer_plan plan = {
        .role = role,
        .flags = chosen->flags,
        .cpu = -1,
        .connections = chosen->connections,
        .depth = chosen->depth,
        .count = perf_count(perf, chosen->count),
        .duration_ns = perf_count(perf, chosen->duration_ns),
    };
    int cpus[2];

    if ((plan.flags & PERF_PEER_TLS) != 0) {
        plan.flags |= perf_serve_suite();
    }
    if (perf_two_cpus(cpus)) {
        plan.cpu = cpus[role < PERF_PEER_CLIENTS_END ? 0 : 1];
    }
    return plan;
}

/* The numbers of a client, raw. */
struct outcome {
    uint64_t first;
    uint64_t second;
};

static struct outcome client_run(const struct perf *perf, const struct perf_io_case *chosen,
                                 uint32_t port) {
    struct perf_peer_plan plan = case_plan(perf, chosen, chosen->client);
    struct outcome outcome;
    struct perf_peer client;

    plan.port = port;
    perf_peer_start(&plan, &client);
    outcome.first = perf_peer_number(&client, chosen->name);
    outcome.second = perf_peer_number(&client, chosen->name);
    perf_peer_end(&client);
    return outcome;
}

static struct perf_io_value outcome_value(const struct perf_io_case *chosen,
                                          struct outcome outcome) {
    struct perf_io_value value = {.p99 = (double)outcome.second / chosen->divisor};

    value.value = chosen->latency ? (double)outcome.first / chosen->divisor
                                  : perf_rate(outcome.first, outcome.second) / chosen->divisor;
    return value;
}

static struct perf_io_value floor_run(const struct perf *perf, const struct perf_io_case *chosen) {
    struct perf_peer_plan plan = case_plan(perf, chosen, chosen->server);
    struct perf_peer server;
    struct outcome outcome;

    perf_peer_start(&plan, &server);
    outcome = client_run(perf, chosen, (uint32_t)perf_peer_number(&server, chosen->name));
    perf_peer_kill(&server);
    return outcome_value(chosen, outcome);
}

/* What the connections must have counted when the client is done. */
static void service_check(const struct perf *perf, const struct perf_io_case *chosen,
                          struct perf_service *service, struct outcome outcome) {
    bool accepting = chosen->client == PERF_PEER_ACCEPT_CLIENT;
    uint64_t connections = accepting ? perf_count(perf, chosen->count) : chosen->connections;
    uint64_t received;

    perf_serve_await_closed(service, connections);
    received = atomic_load_explicit(&service->received, memory_order_relaxed);
    if (chosen->client == PERF_PEER_SEND_CLIENT && received != outcome.first) {
        perf_die("%s: %llu bytes were sent, %llu came", chosen->name,
                 (unsigned long long)outcome.first, (unsigned long long)received);
    }
}

struct perf_io_value perf_io_weft(struct perf *perf, const struct perf_io_case *chosen) {
    struct perf_service *service = perf_alloc_aligned(1, sizeof(*service));
    struct outcome outcome;

    perf_serve_start(perf, chosen->mode, (chosen->flags & PERF_PEER_TLS) != 0, service);
    outcome = client_run(perf, chosen, service->port);
    service_check(perf, chosen, service, outcome);
    perf_serve_stop(perf, service);
    free(service);
    return outcome_value(chosen, outcome);
}

/* ---- the workloads -------------------------------------------------------------------------- */

struct rounds {
    double floor[ROUNDS];
    double floor_p99[ROUNDS];
    double weft[ROUNDS];
    double weft_p99[ROUNDS];
    double ratio[ROUNDS];
};

/* Prints the median as <prefix><what follows io_ in the workload's name><suffix>. */
static void emit(struct perf *perf, const struct perf_io_case *chosen, const char *prefix,
                 const char *suffix, double *values) {
    const char *unit = strcmp(suffix, "_ratio") == 0 ? "x" : chosen->unit;
    char name[PERF_NAME_BYTES];

    (void)snprintf(name, sizeof(name), "%s%s%s", prefix, chosen->name + sizeof("io_") - 1, suffix);
    perf_emit(perf, name, perf_io_median(values, ROUNDS), unit);
}

static void rounds_emit(struct perf *perf, const struct perf_io_case *chosen,
                        struct rounds *rounds) {
    emit(perf, chosen, "io_floor_", "", rounds->floor);
    emit(perf, chosen, "io_", "", rounds->weft);
    if (chosen->latency) {
        emit(perf, chosen, "io_floor_", "_p99", rounds->floor_p99);
        emit(perf, chosen, "io_", "_p99", rounds->weft_p99);
    }
    emit(perf, chosen, "io_", "_ratio", rounds->ratio);
}

/* The floor runs while no scheduler of ours does: one that spins would be in its way. */
void perf_io_compare(struct perf *perf) {
    const struct perf_io_case *chosen = perf_io_case_find(perf->name);
    struct rounds rounds;
    int cpus[2];

    if (!perf_io_possible(chosen->name, cpus)) {
        return;
    }
    if ((chosen->flags & PERF_PEER_TLS) != 0 && !perf_tls_built()) {
        (void)fprintf(stderr, "weft-perf: %s: this build has no TLS\n", chosen->name);
        return;
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct perf_io_value value;

        perf_runtime_stop(perf);
        value = floor_run(perf, chosen);
        rounds.floor[i] = value.value;
        rounds.floor_p99[i] = value.p99;
        perf_runtime_start(perf);
        value = perf_io_weft(perf, chosen);
        rounds.weft[i] = value.value;
        rounds.weft_p99[i] = value.p99;
        rounds.ratio[i] = rounds.weft[i] / rounds.floor[i];
    }
    rounds_emit(perf, chosen, &rounds);
}
