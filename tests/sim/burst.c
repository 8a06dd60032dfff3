/* SPDX-License-Identifier: MIT
 *
 * The burst: while all schedulers sleep, one actor makes many others runnable in a single turn, and
 * the first of those then does not end its turn before another one has run elsewhere. With work
 * queued behind a long handler and schedulers asleep, somebody has to have been woken. A runtime
 * that loses no work but wakes nobody passes the mix and fails here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mix.h"

enum {
    BURST_WORKERS = 30,
    BURST_ROUNDS = 4,
    BURST_LOOKS_MAX = 20000, /* how long the first worker waits for help */
    BURST_STEPS_MAX = 200000,
    BURST_TAG = 1,
};

struct burst {
    weft_sim *sim;
    weft_runtime *runtime;
    weft_pid workers[BURST_WORKERS];
    uint32_t received;
    uint32_t first_scheduler; /* where the first worker of this round runs; 0: none yet */
    bool helped;              /* another one ran elsewhere */
    bool failed;
    char text[256];
};

static void burst_fail(struct burst *burst, const char *what, int number) {
    if (!burst->failed) {
        burst->failed = true;
        (void)snprintf(burst->text, sizeof(burst->text), "burst: %s (%d)", what, number);
    }
}

static int burst_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)arg_size;
    memcpy(state, arg, sizeof(struct burst *));
    return WEFT_CONTINUE;
}

static int hub_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct burst *burst = *(struct burst **)state;
    (void)msg;
    for (uint32_t i = 0; i < BURST_WORKERS; i++) {
        int status = weft_send(ctx, burst->workers[i], BURST_TAG, NULL, 0);
        if (status != 0) {
            burst_fail(burst, "a send failed", status);
        }
    }
    return WEFT_CONTINUE;
}

static int worker_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct burst *burst = *(struct burst **)state;
    weft_env *env = weft_sim_env(burst->sim);
    (void)msg;
    burst->received++;
    if (burst->first_scheduler == 0) {
        burst->first_scheduler = weft_scheduler_of(ctx);
        for (uint32_t looks = 0; !burst->helped && looks < BURST_LOOKS_MAX; looks++) {
            env->relax(env);
        }
        if (!burst->helped) {
            burst_fail(burst, "work waited behind a long handler, nobody was woken",
                       (int)burst->received);
        }
    } else if (weft_scheduler_of(ctx) != burst->first_scheduler) {
        burst->helped = true;
    }
    return WEFT_CONTINUE;
}

static int burst_start(struct burst *burst, uint64_t seed, weft_pid *ret_hub) {
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT,
        .schedulers = 2 + (uint32_t)(seed % 3),
        .pinning = WEFT_PIN_NONE,
        .spin_none = (seed & 4) != 0,
        .spin_ns = 2000,
        .lifo_none = (seed & 8) != 0,
        .arena_bytes = 64 << 20,
        .huge_pages_none = true,
    };
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "worker",
                         .state_size = sizeof(struct burst *),
                         .init = burst_init,
                         .receive = worker_receive};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &burst, .arg_size = sizeof(struct burst *)};
    const weft_type *type = NULL;
    int status = weft_runtime_create_env(&config, weft_sim_env(burst->sim), &burst->runtime);
    status = status < 0 ? status : weft_type_register(burst->runtime, &def, &type);
    status = status < 0 ? status : weft_runtime_start(burst->runtime);
    for (uint32_t i = 0; status == 0 && i < BURST_WORKERS; i++) {
        status = weft_runtime_spawn(burst->runtime, type, &options, &burst->workers[i]);
    }
    def.name = "hub";
    def.receive = hub_receive;
    status = status < 0 ? status : weft_type_register(burst->runtime, &def, &type);
    return status < 0 ? status : weft_runtime_spawn(burst->runtime, type, &options, ret_hub);
}

static void burst_rounds(struct burst *burst, weft_pid hub) {
    for (uint32_t round = 0; round <= BURST_ROUNDS && !burst->failed; round++) {
        enum weft_sim_result result =
            weft_sim_run(burst->sim, BURST_STEPS_MAX, UINT64_MAX, NULL, NULL);
        if (result != WEFT_SIM_QUIET || burst->received != round * BURST_WORKERS) {
            burst_fail(burst, "at rest, but not everything was received", (int)burst->received);
        }
        if (round == BURST_ROUNDS || burst->failed) {
            return;
        }
        burst->first_scheduler = 0;
        burst->helped = false;
        int status = weft_runtime_send(burst->runtime, hub, BURST_TAG, NULL, 0);
        if (status != 0) {
            burst_fail(burst, "the send to the hub failed", status);
        }
    }
}

static void burst_end(struct burst *burst) {
    int status = weft_sim_stop(burst->sim, burst->runtime, BURST_STEPS_MAX);
    status = status != 0 ? status : weft_runtime_destroy(&burst->runtime);
    if (status != 0) {
        burst_fail(burst, "it could not be stopped", status);
        return;
    }
    weft_sim_destroy(&burst->sim);
}

void burst_run(const mix_options *options, mix_report *ret_report) {
    struct burst burst = {0};
    /* Not nested: a helper in the middle of a step below the waiting one could not help. */
    weft_sim_options sim_options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT,
        .seed = options->seed,
    };
    weft_pid hub = weft_pid_none();
    memset(ret_report, 0, sizeof(*ret_report));
    int status = weft_sim_create(&sim_options, &burst.sim);
    status = status < 0 ? status : burst_start(&burst, options->seed, &hub);
    if (status < 0) {
        burst_fail(&burst, "start failed", status);
    } else {
        burst_rounds(&burst, hub);
        ret_report->hash = weft_sim_hash(burst.sim);
        ret_report->steps = burst.sim->steps;
        if (!burst.failed) {
            burst_end(&burst);
        }
    }
    ret_report->failed = burst.failed;
    memcpy(ret_report->text, burst.text, sizeof(ret_report->text));
}
