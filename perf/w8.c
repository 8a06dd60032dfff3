/* SPDX-License-Identifier: MIT
 *
 * The counter and the clients of the workloads of virtual actors: see w8.h. The main thread of a
 * measuring process runs a job; a client's struct is written by its actor only, and read by the
 * main thread after the gate. Every answer is looked at.
 */
#include <stdalign.h>
#include <stdlib.h>

#include "w8.h"

enum {
    TAG_START = 1,
    KEY_BYTES = 32,
    SEED_STEP = 7919,
    WAIT_STEP_NS = 100000,
    WAIT_STEPS = 600000
};

/* One client's. */
struct client {
    alignas(PERF_CACHE_PAIR) struct perf_w8_job *job;
    uint64_t seed;
    uint64_t first; /* of its keys in a pass in order */
    uint64_t index; /* of its first message among all */
    uint64_t count;
    uint64_t done;
    uint64_t turns;
    uint64_t sum;
    uint64_t sent_ns;
    uint64_t add; /* what the payload of request is */
    weft_vrequest request;
    char key[KEY_BYTES];
};

/* ---- the counter ---------------------------------------------------------------------------- */

int perf_w8_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t *value = state;

    if (weft_msg_tag(msg) == PERF_W8_PASSIVATE) {
        perf_check(weft_passivate(ctx), "passivate");
        return WEFT_CONTINUE;
    }
    *value += perf_value(msg);
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        perf_check(weft_reply(ctx, &msg, 0, value, sizeof(*value)), "reply");
    }
    return WEFT_CONTINUE;
}

const weft_type *perf_w8_counter(struct perf *perf) {
    static const weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                      .name = "perf-counter",
                                      .state_size = sizeof(uint64_t),
                                      .receive = perf_w8_receive};

    return perf_type(perf, &def);
}

/* ---- a client ------------------------------------------------------------------------------- */

/* "user:" and the number in decimal, with zeros before it up to digits; the size. */
static uint32_t key_write(char *key, uint64_t number, uint32_t digits) {
    char text[KEY_BYTES];
    uint32_t count = 0;

    do {
        text[count] = (char)('0' + number % 10);
        count++;
        number /= 10;
    } while (number != 0 || count < digits);
    memcpy(key, "user:", 5);
    for (uint32_t i = 0; i < count; i++) {
        key[5 + i] = text[count - 1 - i];
    }
    return 5 + count;
}

/* The next message's key. */
static void client_key(struct client *client) {
    const struct perf_w8_job *job = client->job;
    uint64_t number = job->random != 0 ? job->first + perf_random(&client->seed) % job->keys
                                       : client->first + client->done;

    client->request.id_size = key_write(client->key, number, job->digits);
}

static void client_call(weft_ctx *ctx, struct client *client) {
    const struct perf_w8_job *job = client->job;

    client_key(client);
    if (job->trips != NULL) {
        client->sent_ns = perf_clock_ns();
    }
    perf_check(weft_vcall(ctx, &client->request, 0, NULL), "a call");
    if (job->sends != NULL) {
        job->sends[client->index + client->done] = perf_clock_ns() - client->sent_ns;
    }
}

static void client_answer(struct client *client, const weft_msg *msg) {
    const struct perf_w8_job *job = client->job;
    uint64_t value;

    perf_check(weft_msg_status(msg), "a call's answer");
    if (job->trips != NULL) {
        job->trips[client->index + client->done] = perf_clock_ns() - client->sent_ns;
    }
    value = perf_value(msg);
    if (value < job->least || value > job->most) {
        perf_die("w8: a counter answered %llu", (unsigned long long)value);
    }
    client->sum += value;
    client->done++;
}

static int client_end(struct client *client) {
    perf_gate_pass(&client->job->gate);
    return WEFT_STOP;
}

static int caller_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = *(struct client **)state;

    if (__builtin_expect(weft_msg_kind(msg) == WEFT_MSG_REPLY, 1)) {
        client_answer(client, msg);
    }
    if (client->done == client->count) {
        return client_end(client);
    }
    client_call(ctx, client);
    return WEFT_CONTINUE;
}

/* START and its own message mean the same: another batch. */
static int caster_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = *(struct client **)state;
    uint64_t left = client->count - client->done;
    uint64_t end = client->done + (left < client->job->batch ? left : client->job->batch);

    (void)msg;
    client->turns++;
    for (; client->done < end; client->done++) {
        client_key(client);
        perf_check(weft_vcast(ctx, &client->request, NULL), "a cast");
    }
    if (client->done == client->count) {
        return client_end(client);
    }
    perf_send(ctx, weft_self(ctx), TAG_START, 0);
    return WEFT_CONTINUE;
}

static int client_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    memcpy(state, arg, arg_size); /* a pointer to its struct client */
    return WEFT_CONTINUE;
}

static const weft_type_def caller_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-caller",
                                         .state_size = sizeof(struct client *),
                                         .init = client_init,
                                         .receive = caller_receive};
static const weft_type_def caster_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-caster",
                                         .state_size = sizeof(struct client *),
                                         .init = client_init,
                                         .receive = caster_receive};

/* ---- a job ---------------------------------------------------------------------------------- */

uint64_t perf_w8_count(const struct perf *perf, uint64_t count) {
    uint64_t each = perf_count(perf, count) / PERF_W8_CLIENTS;

    return (each != 0 ? each : 1) * PERF_W8_CLIENTS;
}

static void client_open(struct client *client, struct perf_w8_job *job, uint64_t number) {
    client->job = job;
    client->seed = number * SEED_STEP + 1;
    client->count = job->messages / PERF_W8_CLIENTS;
    client->index = number * client->count;
    client->first = job->first + client->index;
    client->add = job->add;
    client->request = (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                                      .capability = job->capability,
                                      .type = job->type,
                                      .id = client->key,
                                      .tag = job->tag,
                                      .flags = job->flags,
                                      .payload = &client->add,
                                      .payload_size = sizeof(client->add)};
}

static void job_close(struct perf_w8_job *job, const struct client *clients) {
    job->sum = 0;
    job->turns = 0;
    for (uint32_t i = 0; i < PERF_W8_CLIENTS; i++) {
        job->sum += clients[i].sum;
        job->turns += clients[i].turns;
    }
}

uint64_t perf_w8_run(struct perf *perf, struct perf_w8_job *job, const char *name) {
    const weft_type *type = perf_type(perf, job->batch != 0 ? &caster_def : &caller_def);
    struct client *clients = perf_alloc_aligned(PERF_W8_CLIENTS, sizeof(*clients));
    weft_pid pids[PERF_W8_CLIENTS];
    uint64_t elapsed;
    uint64_t begin;

    perf_check(weft_capability_add(perf->runtime, "perf", &job->capability), "a capability");
    job->messages = job->random != 0 ? job->random : job->keys;
    perf_gate_init(&job->gate, PERF_W8_CLIENTS);
    for (uint32_t i = 0; i < PERF_W8_CLIENTS; i++) {
        struct client *client = &clients[i];

        client_open(client, job, i);
        pids[i] = perf_spawn(perf, type, &client, sizeof(client));
    }
    begin = perf_clock_ns();
    for (uint32_t i = 0; i < PERF_W8_CLIENTS; i++) {
        perf_post(perf, pids[i], TAG_START, 0);
    }
    perf_gate_wait(&job->gate, name);
    elapsed = perf_clock_ns() - begin;
    job_close(job, clients);
    free(clients);
    return elapsed;
}

uint64_t perf_w8_activate(struct perf *perf, struct perf_w8_job *job, const char *name) {
    uint64_t elapsed;

    job->random = 0;
    job->batch = 0;
    job->tag = PERF_W8_ADD;
    job->flags = 0;
    job->add = 1;
    job->least = 1;
    job->most = 1;
    elapsed = perf_w8_run(perf, job, name);
    if (job->sum != job->keys) {
        perf_die("%s: the counters' sum is wrong", name);
    }
    return elapsed;
}

void perf_w8_verify(struct perf *perf, const struct perf_w8_job *job, uint64_t sum) {
    struct perf_w8_job asking = {.type = job->type,
                                 .first = job->first,
                                 .keys = job->keys,
                                 .digits = job->digits,
                                 .tag = PERF_W8_ADD,
                                 .flags = WEFT_ONLY_IF_ACTIVE,
                                 .least = 1,
                                 .most = UINT64_MAX};

    (void)perf_w8_run(perf, &asking, perf->name); /* its time is not wanted */
    if (asking.sum != sum) {
        perf_die("%s: the counters' sum is wrong", perf->name);
    }
}

double perf_w8_tail_us(const uint64_t *sorted, uint64_t count, uint64_t part) {
    uint64_t index = count - count / part;

    return (double)sorted[index < count ? index : count - 1] / 1e3;
}

void perf_w8_wait_at_most(struct perf *perf, const weft_type *type, uint64_t count) {
    uint64_t now = 0;

    for (uint32_t i = 0; i < WAIT_STEPS; i++) {
        now = weft_virtual_count(perf->runtime, type);
        if (now <= count) {
            return;
        }
        perf_sleep_ns(WAIT_STEP_NS);
    }
    perf_die("%s: %llu counters are active", perf->name, (unsigned long long)now);
}
