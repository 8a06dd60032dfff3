/* SPDX-License-Identifier: MIT
 *
 * w7_call_open: calls at a fixed rate, open loop. One client actor per scheduler calls 1,000
 * servers, first keeping 64 calls in flight, which gives the highest rate, then on a schedule of
 * half of it. Call i is due at begin + i * interval whatever became of those before, and its
 * latency counts from when it was due to its answer: a client that was held up cannot hide what its
 * next calls waited (coordinated omission). Latencies go into a log-linear histogram of the
 * library, 16 buckets per power of two; percentiles are the upper bounds of buckets.
 *
 * A client is pinned and looks at its schedule all the time by a message to itself, so its
 * scheduler never sleeps here.
 */
#include <stdlib.h>

#include "perf.h"

enum { TAG_GO = 1, TAG_ADD = 2 };

enum {
    SERVERS = 1000,
    CALLS = 1500000, /* of all clients together, in each phase */
    IN_FLIGHT = 64,  /* of a client in the first phase */
    PER_TURN = 32,
};

struct open_job;

struct open_client {
    struct open_job *job;
    uint64_t seed;
    uint64_t calls;
    uint64_t sent;
    uint64_t answered;
    weft_histogram latency;
};

struct open_job {
    const weft_pid *servers;
    uint64_t interval_ps; /* between two calls of one client; 0: as fast as answers come */
    uint64_t begin_ns;
    struct open_client *clients;
    struct perf_gate gate;
};

static uint64_t due_ns(const struct open_job *job, uint64_t call) {
    return job->begin_ns + call * job->interval_ps / 1000;
}

static int server_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t *value = state;

    *value += perf_value(msg);
    perf_check(weft_reply(ctx, &msg, TAG_ADD, value, sizeof(*value)), "reply");
    return WEFT_CONTINUE;
}

static int client_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size);
    return WEFT_CONTINUE;
}

/* The token is when the call was due. */
static void client_call(weft_ctx *ctx, struct open_client *client, uint64_t due) {
    uint64_t one = 1;
    weft_pid server = client->job->servers[perf_random(&client->seed) % SERVERS];

    perf_check(weft_call(ctx, server, TAG_ADD, &one, sizeof(one), 0, due), "call");
    client->sent++;
}

static void client_catch_up(weft_ctx *ctx, struct open_client *client) {
    uint64_t now = perf_clock_ns();

    for (int i = 0; i < PER_TURN && client->sent < client->calls; i++) {
        uint64_t due = due_ns(client->job, client->sent);
        if (due > now) {
            break;
        }
        client_call(ctx, client, due);
    }
    if (client->sent < client->calls) {
        perf_send(ctx, weft_self(ctx), TAG_GO, 0);
    }
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct open_client *client = *(struct open_client **)state;
    bool open_loop = client->job->interval_ps != 0;

    if (weft_msg_kind(msg) != WEFT_MSG_REPLY) {
        if (open_loop) {
            client_catch_up(ctx, client);
            return WEFT_CONTINUE;
        }
        for (int i = 0; i < IN_FLIGHT && client->sent < client->calls; i++) {
            client_call(ctx, client, 0);
        }
        return WEFT_CONTINUE;
    }
    perf_check(weft_msg_status(msg), "answer");
    client->answered++;
    if (open_loop) {
        weft_histogram_add(&client->latency, perf_clock_ns() - weft_msg_token(msg));
    } else if (client->sent < client->calls) {
        client_call(ctx, client, 0);
    }
    if (client->answered == client->calls) {
        perf_gate_pass(&client->job->gate);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

static const weft_type_def server_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-open-server",
                                         .state_size = sizeof(uint64_t),
                                         .receive = server_receive};
static const weft_type_def client_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-open-client",
                                         .state_size = sizeof(struct open_client *),
                                         .init = client_init,
                                         .receive = client_receive};

/* One phase; nanoseconds until the last answer. */
static uint64_t phase_run(struct perf *perf, struct open_job *job, uint64_t calls) {
    uint32_t clients = weft_runtime_schedulers(perf->runtime);
    weft_pid *pids = perf_alloc(clients, sizeof(*pids));

    job->clients = perf_alloc_aligned(clients, sizeof(*job->clients));
    perf_gate_init(&job->gate, clients);
    for (uint32_t i = 0; i < clients; i++) {
        struct open_client *client = &job->clients[i];
        weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                      .arg = &client,
                                      .arg_size = sizeof(client),
                                      .scheduler = i + 1,
                                      .pin = true};
        client->job = job;
        client->seed = i * 7919 + 1;
        client->calls = calls / clients;
        pids[i] = perf_spawn_with(perf, perf_type(perf, &client_def), &options);
    }
    job->begin_ns = perf_clock_ns();
    for (uint32_t i = 0; i < clients; i++) {
        perf_post(perf, pids[i], TAG_GO, 0);
    }
    perf_gate_wait(&job->gate, "w7_call_open");
    free(pids);
    return perf_clock_ns() - job->begin_ns;
}

void perf_call_open(struct perf *perf) {
    uint32_t clients = weft_runtime_schedulers(perf->runtime);
    uint64_t calls = perf_count(perf, CALLS) / clients * clients + clients;
    weft_pid *servers = perf_alloc(SERVERS, sizeof(*servers));
    struct open_job fast = {.servers = servers};
    struct open_job slow = {.servers = servers};
    weft_histogram all = {0};
    uint64_t elapsed;

    for (uint32_t i = 0; i < SERVERS; i++) {
        servers[i] = perf_spawn(perf, perf_type(perf, &server_def), NULL, 0);
    }
    elapsed = phase_run(perf, &fast, calls);
    free(fast.clients);
    slow.interval_ps = 2 * elapsed * 1000 / (calls / clients);
    elapsed = phase_run(perf, &slow, calls);
    for (uint32_t i = 0; i < clients; i++) {
        weft_histogram_merge(&all, &slow.clients[i].latency);
    }
    free(slow.clients);
    perf_stop_all(perf, servers, SERVERS);
    free(servers);
    if (all.count != calls) {
        perf_die("w7_call_open: %llu of %llu calls were clocked", (unsigned long long)all.count,
                 (unsigned long long)calls);
    }
    perf_emit(perf, "w7_call_open", perf_rate(calls, elapsed), "calls/s");
    perf_emit(perf, "w7_call_open_p50", (double)weft_histogram_quantile(&all, 500) / 1e3, "us");
    perf_emit(perf, "w7_call_open_p99", (double)weft_histogram_quantile(&all, 990) / 1e3, "us");
    perf_emit(perf, "w7_call_open_p999", (double)weft_histogram_quantile(&all, 999) / 1e3, "us");
    perf_emit(perf, "w7_call_open_max", (double)all.max / 1e3, "us");
}
