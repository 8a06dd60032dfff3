/* SPDX-License-Identifier: MIT
 *
 * A counter that several clients count up: spawn, send, call, timers, a late answer, a graceful
 * stop, statistics. Usage: counter [config.ini]; WEFT_SCHEDULER_COUNT=1 ./counter works too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <weft/weft.h>

enum { CLIENTS = 4, TICKS = 20, ADDS_PER_TICK = 500, GOAL = CLIENTS * TICKS * ADDS_PER_TICK };
#define SECOND_NS UINT64_C(1000000000)

enum { ADD = 1, GET = 2, WAIT = 3 }; /* to the counter: ADD is sent, GET and WAIT are called */

/* ---- the counter: handles one message at a time, so it needs no lock ------------------------- */

typedef struct counter {
    uint64_t total;
    weft_msg *waiting; /* the WAIT request, answered when the goal is reached */
} counter;

static int counter_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    counter *self = (counter *)state;
    switch (weft_msg_tag(msg)) {
    case ADD:
        self->total += *(const uint32_t *)weft_msg_data(msg);
        break;
    case GET:
        (void)weft_reply(ctx, &msg, GET, &self->total, sizeof(self->total)); /* may be gone */
        break;
    case WAIT:
        if (self->waiting == NULL) { /* a second one is answered WEFT_E_NOREPLY */
            self->waiting = weft_msg_take(ctx, msg);
        }
        break;
    }
    if (self->waiting != NULL && self->total == GOAL) {
        (void)weft_reply(ctx, &self->waiting, WAIT, &self->total, sizeof(self->total));
    }
    return WEFT_CONTINUE;
}

/* ---- a client: counts on every tick, then asks for the total --------------------------------- */

typedef struct client {
    weft_pid counter;
    weft_timer timer;
    uint64_t ticks;
} client;

static int client_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    client *self = (client *)state;
    if (arg_size != sizeof(self->counter)) {
        return -EINVAL; /* this actor ends with that reason */
    }
    self->counter = *(const weft_pid *)arg;
    return weft_timer_repeat(ctx, SECOND_NS / 100, 0, 0, &self->timer);
}

static int client_tick(weft_ctx *ctx, client *self) {
    const uint32_t one = 1;
    if (++self->ticks == TICKS) {
        (void)weft_timer_cancel(ctx, self->timer);
    }
    for (int i = 0; i < ADDS_PER_TICK; i++) {
        int rc = weft_send(ctx, self->counter, ADD, &one, sizeof(one));
        if (rc < 0) {
            return rc; /* -EBUSY: the mailbox is full; a READY message would say when to go on */
        }
    }
    /* The answer comes as a message; what was sent before the call is counted before it. */
    return weft_call(ctx, self->counter, GET, NULL, 0, WEFT_TIMEOUT_DEFAULT, self->ticks);
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    client *self = (client *)state;
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        return client_tick(ctx, self);
    }
    if (weft_msg_status(msg) < 0) {
        return weft_msg_status(msg); /* no answer: this client crashes, the others go on */
    }
    return weft_msg_token(msg) < TICKS ? WEFT_CONTINUE : WEFT_STOP;
}

/* ---- the program ----------------------------------------------------------------------------- */

static int run(weft_runtime *runtime) {
    const weft_type_def counters = {.struct_size = WEFT_TYPE_DEF_INIT,
                                    .name = "counter",
                                    .state_size = sizeof(counter),
                                    .receive = counter_receive};
    const weft_type_def clients = {.struct_size = WEFT_TYPE_DEF_INIT,
                                   .name = "client",
                                   .state_size = sizeof(client),
                                   .init = client_init,
                                   .receive = client_receive};
    const weft_type *counter_type = NULL, *client_type = NULL;
    weft_pid pid = weft_pid_none(), ignored;
    int rc = weft_type_register(runtime, &counters, &counter_type);
    rc = rc < 0 ? rc : weft_type_register(runtime, &clients, &client_type);
    rc = rc < 0 ? rc : weft_runtime_start(runtime);
    rc = rc < 0 ? rc : weft_runtime_spawn(runtime, counter_type, NULL, &pid);
    for (int i = 0; i < CLIENTS && rc == 0; i++) {
        const weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &pid, .arg_size = sizeof(pid)};
        rc = weft_runtime_spawn(runtime, client_type, &options, &ignored);
    }
    weft_msg *reply = NULL; /* this thread is not a scheduler's, so it may wait for it */
    rc = rc < 0 ? rc : weft_runtime_call(runtime, pid, WAIT, NULL, 0, 0, &reply);
    if (rc == 0) {
        printf("counted to %" PRIu64 "\n", *(const uint64_t *)weft_msg_data(reply));
        weft_runtime_msg_release(runtime, &reply);
    }
    return rc;
}

static void print_statistics(weft_runtime *runtime) {
    weft_stats stats = {.struct_size = sizeof(stats)};
    weft_histogram wait;
    if (weft_stats_read(runtime, WEFT_STATS_ALL, &stats) < 0 ||
        weft_histogram_read(runtime, WEFT_STATS_ALL, WEFT_HISTOGRAM_MAILBOX_WAIT, &wait) < 0) {
        return;
    }
    printf("%" PRIu64 " messages handled in %" PRIu64 " turns, %" PRIu64 " timers fired\n",
           stats.messages_handled, stats.runs, stats.timers_fired);
    printf("in the mailbox: median %" PRIu64 " ns, 99 %% %" PRIu64 " ns, max %" PRIu64 " ns\n",
           weft_histogram_quantile(&wait, 500), weft_histogram_quantile(&wait, 990), wait.max);
}

int main(int argc, char **argv) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .log = {NULL, weft_log_stderr}};
    weft_runtime *runtime;
    char error[256] = "";
    int rc = weft_config_load(&config, argc > 1 ? argv[1] : NULL, error, sizeof(error));
    if (rc < 0 || (rc = weft_runtime_create(&config, &runtime)) < 0) {
        fprintf(stderr, "counter: %s\n", error[0] != '\0' ? error : weft_strerror(rc));
        return 1;
    }
    rc = run(runtime);
    print_statistics(runtime);
    int stopped = weft_runtime_stop(runtime, 2 * SECOND_NS); /* terminate of every actor runs */
    if (stopped < 0 || weft_runtime_destroy(&runtime) < 0 || rc < 0) {
        fprintf(stderr, "counter: %s\n", weft_strerror(rc < 0 ? rc : stopped));
        return 1;
    }
    return 0;
}
