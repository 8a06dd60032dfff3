/* SPDX-License-Identifier: MIT
 *
 * w7: calls. A server holds an integer, adds what a call brings and answers the new value; a
 * client has one call in flight.
 *   w7_call_1x1           one client actor, one server
 *   w7_call_1x1_blocking  the client is the main thread, which blocks for each answer
 *   w7_call_64x1000       64 clients, each call to one of 1,000 servers chosen by xorshift, each
 *                         call clocked by its client before and after
 * w7_process_1x1 and w7_process_64x1000 are the same with processes on both sides, which wait for
 * each request and each answer.
 * Calls have the default timeout, as a user's do. Every answer is looked at, and at the end the
 * servers' integers must sum to the calls made. Fairness is the most calls of a client over the
 * fewest, at the moment when the first client is done: one is perfectly fair.
 */
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#include "perf.h"

enum { PROCESSES = 1 }; /* perf->parameter */
enum { TAG_START = 1, TAG_ADD = 2, TAG_VALUE = 3 };

enum {
    SINGLE_CALLS = 3000000,
    BLOCKING_CALLS = 200000,
    CLIENTS = 64,
    SERVERS = 1000,
    CLIENT_CALLS = 50000,
    SEED_STEP = 7919,
};

/* One client's, written by it alone; done is also read by the first client that ends. */
struct client {
    alignas(PERF_CACHE_PAIR) uint64_t seed;
    uint64_t sent_ns;
    uint64_t *latencies; /* of each call; NULL: not clocked */
    struct call_job *job;
    _Atomic uint64_t done; /* calls answered; relaxed: advisory, a snapshot for fairness */
};

struct call_job {
    /* const while the clients run */
    const weft_pid *servers;
    uint64_t server_count;
    uint64_t calls; /* of each client */
    struct client *clients;
    uint32_t client_count;
    /* the first client that ends, found by ended */
    atomic_bool ended;
    double fairness;
    struct perf_gate gate;
};

static int server_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t *value = state;

    *value += perf_value(msg);
    perf_check(weft_reply(ctx, &msg, TAG_VALUE, value, sizeof(*value)), "reply");
    return WEFT_CONTINUE;
}

static int client_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size); /* a pointer to its struct client */
    return WEFT_CONTINUE;
}

static void client_call(weft_ctx *ctx, struct client *client) {
    const struct call_job *job = client->job;
    uint64_t index = job->server_count == 1 ? 0 : perf_random(&client->seed) % job->server_count;
    uint64_t one = 1;

    if (client->latencies != NULL) {
        client->sent_ns = perf_clock_ns();
    }
    perf_check(
        weft_call(ctx, job->servers[index], TAG_ADD, &one, sizeof(one), WEFT_TIMEOUT_DEFAULT, 0),
        "call");
}

static void client_fairness(struct call_job *job) {
    uint64_t fewest = UINT64_MAX;
    uint64_t most = 0;

    for (uint32_t i = 0; i < job->client_count; i++) {
        uint64_t done = atomic_load_explicit(&job->clients[i].done, memory_order_relaxed);

        fewest = done < fewest ? done : fewest;
        most = done > most ? done : most;
    }
    job->fairness = (double)most / (double)(fewest != 0 ? fewest : 1);
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = *(struct client **)state;
    uint64_t done = atomic_load_explicit(&client->done, memory_order_relaxed); /* owner-only */

    if (__builtin_expect(weft_msg_kind(msg) == WEFT_MSG_REPLY, 1)) {
        perf_check(weft_msg_status(msg), "a call's answer");
        if (client->latencies != NULL) {
            client->latencies[done] = perf_clock_ns() - client->sent_ns;
        }
        if (perf_value(msg) == 0) {
            perf_die("w7: a server answered zero");
        }
        done++;
        atomic_store_explicit(&client->done, done, memory_order_relaxed);
        if (done == client->job->calls) {
            if (!atomic_exchange_explicit(&client->job->ended, true, memory_order_relaxed)) {
                client_fairness(client->job);
            }
            perf_gate_pass(&client->job->gate);
            return WEFT_STOP;
        }
    }
    client_call(ctx, client);
    return WEFT_CONTINUE;
}

static int server_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_msg *msg = NULL;

    (void)arg;
    (void)arg_size;
    while (weft_receive(ctx, WEFT_FOREVER, &msg) == 0) { /* until it is stopped */
        (void)server_receive(ctx, state, msg);
    }
    return WEFT_STOP;
}

/* Makes one call and looks at the answer. */
static void client_call_wait(weft_ctx *ctx, struct client *client, uint64_t done) {
    const struct call_job *job = client->job;
    uint64_t index = job->server_count == 1 ? 0 : perf_random(&client->seed) % job->server_count;
    uint64_t begin_ns = client->latencies != NULL ? perf_clock_ns() : 0;
    uint64_t one = 1;
    weft_msg *reply = NULL;

    perf_check(weft_call_wait(ctx, job->servers[index], TAG_ADD, &one, sizeof(one),
                              WEFT_TIMEOUT_DEFAULT, &reply),
               "call");
    if (client->latencies != NULL) {
        client->latencies[done] = perf_clock_ns() - begin_ns;
    }
    if (perf_value(reply) == 0) {
        perf_die("w7: a server answered zero");
    }
    weft_msg_release(ctx, &reply);
}

static int client_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct client *client = *(struct client **)state;
    weft_msg *msg = NULL;

    (void)arg;
    (void)arg_size;
    perf_check(weft_receive(ctx, WEFT_FOREVER, &msg), "receive");
    for (uint64_t done = 0; done < client->job->calls; done++) {
        client_call_wait(ctx, client, done);
        atomic_store_explicit(&client->done, done + 1, memory_order_relaxed);
    }
    if (!atomic_exchange_explicit(&client->job->ended, true, memory_order_relaxed)) {
        client_fairness(client->job);
    }
    perf_gate_pass(&client->job->gate);
    return WEFT_STOP;
}

static const weft_type_def server_process_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                                 .name = "perf-server-process",
                                                 .state_size = sizeof(uint64_t),
                                                 .process = server_process};
static const weft_type_def client_process_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                                 .name = "perf-client-process",
                                                 .state_size = sizeof(struct client *),
                                                 .init = client_init,
                                                 .process = client_process};
static const weft_type_def server_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-server",
                                         .state_size = sizeof(uint64_t),
                                         .receive = server_receive};
static const weft_type_def client_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-client",
                                         .state_size = sizeof(struct client *),
                                         .init = client_init,
                                         .receive = client_receive};

/* Calls a server from the main thread; the new value. */
static uint64_t outside_call(struct perf *perf, weft_pid server, uint64_t add) {
    weft_msg *reply = NULL;
    uint64_t value;

    perf_check(weft_runtime_call(perf->runtime, server, TAG_ADD, &add, sizeof(add),
                                 WEFT_TIMEOUT_DEFAULT, &reply),
               "call from outside");
    value = perf_value(reply);
    weft_runtime_msg_release(perf->runtime, &reply);
    return value;
}

/* Asks all servers for their integers and ends them. */
static void servers_close(struct perf *perf, const weft_pid *servers, uint64_t count,
                          uint64_t calls) {
    uint64_t sum = 0;

    for (uint64_t i = 0; i < count; i++) {
        sum += outside_call(perf, servers[i], 0);
    }
    if (sum != calls) {
        perf_die("w7: the servers' sum is wrong");
    }
    perf_stop_all(perf, servers, count);
}

static weft_pid *servers_open(struct perf *perf, uint64_t count) {
    weft_pid *servers = perf_alloc(count, sizeof(*servers));
    const weft_type_def *def = perf->parameter == PROCESSES ? &server_process_def : &server_def;

    for (uint64_t i = 0; i < count; i++) {
        servers[i] = perf_spawn(perf, perf_type(perf, def), NULL, 0);
    }
    return servers;
}

/* Runs the clients of a job; nanoseconds from the first call to the last answer. */
static uint64_t job_run(struct perf *perf, struct call_job *job, const char *name) {
    weft_pid *pids = perf_alloc(job->client_count, sizeof(*pids));
    const weft_type_def *def = perf->parameter == PROCESSES ? &client_process_def : &client_def;
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&job->gate, job->client_count);
    for (uint32_t i = 0; i < job->client_count; i++) {
        struct client *client = &job->clients[i];

        client->job = job;
        client->seed = (uint64_t)i * SEED_STEP + 1;
        pids[i] = perf_spawn(perf, perf_type(perf, def), &client, sizeof(client));
    }
    begin = perf_clock_ns();
    for (uint32_t i = 0; i < job->client_count; i++) {
        perf_post(perf, pids[i], TAG_START, 0);
    }
    perf_gate_wait(&job->gate, name);
    elapsed = perf_clock_ns() - begin;
    free(pids);
    return elapsed;
}

void perf_w7_call_1x1(struct perf *perf) {
    weft_pid *servers = servers_open(perf, 1);
    struct call_job job = {.servers = servers,
                           .server_count = 1,
                           .calls = perf_count(perf, SINGLE_CALLS),
                           .client_count = 1};
    uint64_t elapsed;

    job.clients = perf_alloc_aligned(1, sizeof(*job.clients));
    elapsed = job_run(perf, &job, perf->name);
    servers_close(perf, servers, 1, job.calls);
    perf_emit(perf, perf->name, perf_rate(job.calls, elapsed), "calls/s");
    free(job.clients);
    free(servers);
}

void perf_w7_call_1x1_blocking(struct perf *perf) {
    weft_pid *servers = servers_open(perf, 1);
    uint64_t calls = perf_count(perf, BLOCKING_CALLS);
    uint64_t begin = perf_clock_ns();
    uint64_t elapsed;

    for (uint64_t i = 0; i < calls; i++) {
        if (outside_call(perf, servers[0], 1) != i + 1) {
            perf_die("w7_call_1x1_blocking: another value came back");
        }
    }
    elapsed = perf_clock_ns() - begin;
    servers_close(perf, servers, 1, calls);
    perf_emit(perf, "w7_call_1x1_blocking", perf_rate(calls, elapsed), "calls/s");
    free(servers);
}

/* A figure whose name begins with the workload's. */
static void emit_part(struct perf *perf, const char *part, double value, const char *unit) {
    char name[PERF_NAME_BYTES];

    (void)snprintf(name, sizeof(name), "%s_%s", perf->name, part); /* fits */
    perf_emit(perf, name, value, unit);
}

void perf_w7_call_64x1000(struct perf *perf) {
    weft_pid *servers = servers_open(perf, SERVERS);
    struct call_job job = {.servers = servers,
                           .server_count = SERVERS,
                           .calls = perf_count(perf, CLIENT_CALLS),
                           .client_count = CLIENTS};
    uint64_t total = CLIENTS * job.calls;
    uint64_t *latencies = perf_alloc(total, sizeof(*latencies));
    uint64_t elapsed;

    job.clients = perf_alloc_aligned(CLIENTS, sizeof(*job.clients));
    for (uint32_t i = 0; i < CLIENTS; i++) {
        job.clients[i].latencies = latencies + i * job.calls;
    }
    elapsed = job_run(perf, &job, perf->name);
    servers_close(perf, servers, SERVERS, total);
    perf_sort(latencies, total);
    perf_emit(perf, perf->name, perf_rate(total, elapsed), "calls/s");
    emit_part(perf, "p50", (double)perf_quantile(latencies, total, 500) / 1e3, "us");
    emit_part(perf, "p99", (double)perf_quantile(latencies, total, 990) / 1e3, "us");
    emit_part(perf, "p999", (double)perf_quantile(latencies, total, 999) / 1e3, "us");
    emit_part(perf, "max", (double)latencies[total - 1] / 1e3, "us");
    emit_part(perf, "fair", job.fairness, "x");
    free(job.clients);
    free(latencies);
    free(servers);
}
