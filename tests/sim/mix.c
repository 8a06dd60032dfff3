/* SPDX-License-Identifier: MIT
 *
 * One run of the mix: settings from the seed, the runtime, operations from outside between bursts
 * of steps, rest, stop, and the rules at each of them. Called by the tests, one run at a time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mix.h"

enum {
    MIX_ROUNDS_MAX = 400,
    MIX_REST_STEPS = 2000000,
    MIX_CQ_CALLS = 64,
};

/* ---- settings ------------------------------------------------------------------------------ */

enum mix_focus { MIX_FOCUS_ALL, MIX_FOCUS_CHURN, MIX_FOCUS_TIMERS, MIX_FOCUS_PILE, MIX_FOCI };

static const uint32_t profile_weights[MIX_FOCI][MIX_ACTS] = {
    [MIX_FOCUS_ALL] = {40, 20, 3, 8, 3, 6, 8, 6, 2, 1, 1, 1, 3, 1},
    [MIX_FOCUS_CHURN] = {40, 10, 1, 2, 1, 2, 1, 20, 10, 4, 3, 3, 1, 0},
    [MIX_FOCUS_TIMERS] = {15, 10, 4, 25, 8, 10, 30, 2, 1, 0, 1, 0, 0, 0},
    [MIX_FOCUS_PILE] = {60, 20, 1, 2, 0, 2, 1, 1, 1, 0, 0, 0, 2, 4},
};

static void profile_draw(struct mix *mix) {
    struct mix_profile *profile = &mix->profile;
    uint64_t focus = mix_below(mix, MIX_FOCI);
    for (uint32_t i = 0; i < MIX_ACTS; i++) {
        uint32_t weight = profile_weights[focus][i];
        profile->weights[i] = i != MIX_ACT_SEND && mix_percent(mix, 15) ? 0 : weight;
        profile->weight_sum += profile->weights[i];
    }
    static const uint32_t kinds[MIX_KINDS] = {8, 4, 2, 2, 3, 0};
    for (uint32_t i = 0; i < MIX_KINDS; i++) {
        profile->kinds[i] = i != MIX_KIND_PLAIN && mix_percent(mix, 25) ? 0 : kinds[i];
        profile->kind_sum += profile->kinds[i];
    }
    static const uint32_t bounds[4] = {1, 4, 70, 200};
    static const uint32_t pins[4] = {0, 10, 10, 70};
    bool churn = focus == MIX_FOCUS_CHURN;
    profile->actors_start = 2 + (uint32_t)mix_below(mix, 10);
    profile->actors_alive_max = churn ? 6 + (uint32_t)mix_below(mix, 10) : 40;
    profile->budget = 100u << mix_below(mix, 5);
    if (churn) {
        profile->budget += 1500; /* a slot is let again only after many others */
    }
    profile->mailbox_max = bounds[mix_below(mix, 4)];
    profile->delay_bits = 8 + (uint32_t)mix_below(mix, 18);
    /* One act a turn keeps little under way: schedulers fall asleep and are woken all the time. */
    profile->acts_per_turn = mix_percent(mix, 30) ? 1 : 2 + (uint32_t)mix_below(mix, 8);
    profile->pin_percent = pins[mix_below(mix, 4)];
    profile->stale_percent = churn ? 30 : (uint32_t)mix_below(mix, 8);
    profile->focus = focus == MIX_FOCUS_PILE || churn ? 1 + (uint32_t)mix_below(mix, 4) : 0;
    profile->fail_permille = mix_percent(mix, 20) ? (uint32_t)mix_magnitude(mix, 6) : 0;
    profile->abrupt = mix_percent(mix, 20);
}

/* The allocator counts, so that everything must be given back. */
static void *heap_alloc(void *cookie, size_t size, const char *tag) {
    struct mix *mix = cookie;
    (void)tag;
    if (mix->memory_fails && mix_below(mix, 1000) < mix->profile.fail_permille) {
        return NULL;
    }
    void *memory = malloc(size);
    if (memory != NULL) {
        mix->heap_bytes += size;
        mix->heap_blocks++;
    }
    return memory;
}

static void heap_free(void *cookie, void *memory, size_t size, const char *tag) {
    struct mix *mix = cookie;
    (void)tag;
    if (memory != NULL) {
        mix->heap_bytes -= size;
        mix->heap_blocks--;
    }
    free(memory);
}

static weft_config config_draw(struct mix *mix, uint32_t schedulers) {
    static const uint32_t budgets[4] = {1, 2, 8, 256};
    static const uint32_t rings[4] = {4, 8, 64, 0};
    uint64_t drawn = 1 + mix_below(mix, 5);
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT,
        .schedulers = schedulers != 0 ? schedulers : (uint32_t)drawn,
        .pinning = WEFT_PIN_NONE,
        .spin_none = mix_percent(mix, 50),
        .spin_ns = 1000,
        .budget = budgets[mix_below(mix, 4)],
        .lifo_none = mix_percent(mix, 25),
        .steal = mix_percent(mix, 15) ? WEFT_STEAL_NONE : WEFT_STEAL_HALF,
        .ring_size = rings[mix_below(mix, 4)],
        .arena_bytes = 64 << 20,
        .huge_pages_none = true,
        .blocking_threads = 1 + (uint32_t)mix_below(mix, 3),
        .blocking_queue = 1 + (uint32_t)mix_below(mix, 8),
        .watchdog_none = true,
        .allocator = {.cookie = mix, .alloc = heap_alloc, .free = heap_free},
    };
    return config;
}

/* ---- from outside -------------------------------------------------------------------------- */

static void outside_spawn(struct mix *mix, enum mix_kind kind) {
    weft_spawn_options options;
    struct mix_actor *actor = mix_spawn_prepare(mix, MIX_OUTSIDE, kind, &options);
    if (actor != NULL) {
        weft_pid pid = weft_pid_none();
        int status = weft_runtime_spawn(mix->runtime, mix->types[kind], &options, &pid);
        mix_spawn_done(actor, status, pid);
    }
}

static void outside_send(struct mix *mix) {
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix_message_new(mix, MIX_OUTSIDE, target->number, &payload) == 0) {
        return;
    }
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(mix, &payload, bytes);
    int status = weft_runtime_send(mix->runtime, target->pid, MIX_TAG, bytes, size);
    mix_message_sent(mix, payload.number, status, false);
}

static void outside_call(struct mix *mix, weft_cq *queue) {
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix->call_count == MIX_CALLS ||
        mix->actors[MIX_OUTSIDE].calls_open >= MIX_CQ_CALLS ||
        mix_message_new(mix, MIX_OUTSIDE, target->number, &payload) == 0) {
        return;
    }
    payload.sequence = 0; /* a queue need not keep order with plain sends */
    payload.call = mix->call_count++;
    mix->calls[payload.call] = (struct mix_call){.caller = MIX_OUTSIDE,
                                                 .message = payload.number,
                                                 .stage = MIX_OPEN,
                                                 .start_ns = weft_sim_now_ns(mix->sim),
                                                 .timeout_ns = WEFT_TIMEOUT_NEVER};
    mix->messages[payload.number].call = payload.call;
    mix->actors[MIX_OUTSIDE].calls_open++;
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(mix, &payload, bytes);
    int status =
        weft_cq_call(queue, target->pid, MIX_TAG, bytes, size, WEFT_TIMEOUT_NEVER, payload.call);
    if (status != 0) {
        mix->calls[payload.call].stage = MIX_REFUSED;
        mix->actors[MIX_OUTSIDE].calls_open--;
    }
    mix_message_sent(mix, payload.number, status, false);
}

static void outside_completions(struct mix *mix, weft_cq *queue) {
    weft_completion completion;
    while (weft_cq_next(queue, &completion) == 1) {
        mix_reply_received(&mix->actors[MIX_OUTSIDE], completion.token, completion.status,
                           completion.reply);
        if ((completion.status == 0) != (completion.reply != NULL)) {
            mix_fail(mix, "completion with status %d and reply %d", completion.status,
                     completion.reply != NULL);
        }
        if (completion.reply != NULL) {
            weft_runtime_msg_release(mix->runtime, &completion.reply);
        }
    }
}

static void outside_end(struct mix *mix) {
    struct mix_actor *target = mix_target_draw(mix);
    if (target == NULL) {
        return;
    }
    uint32_t asked = target->ends_asked;
    bool gone = target->gone;
    int status;
    if (mix_percent(mix, 30)) {
        mix_actor_kill(target);
        status = weft_runtime_kill_actor(mix->runtime, target->pid);
    } else {
        mix_actor_reason(target, -ESRCH);
        status = weft_runtime_stop_actor(mix->runtime, target->pid, -ESRCH);
    }
    mix_end_check(target, asked, gone, status);
}

static void outside_inspect(struct mix *mix) {
    struct mix_actor *target = mix_target_draw(mix);
    if (target == NULL) {
        return;
    }
    bool gone = target->gone;
    weft_actor_info info = {.struct_size = sizeof(info)};
    int status = weft_inspect(mix->runtime, target->pid, &info);
    if (status == 0 && (gone || info.type != mix->types[target->kind])) {
        mix_fail(mix, "actor %u, gone %d, looks like another one", target->number, gone);
    }
    if (status != 0 && !(status == WEFT_E_NOPROC && mix_actor_asked(target))) {
        mix_fail(mix, "inspecting actor %u answered %d", target->number, status);
    }
}

static void outside_round(struct mix *mix, weft_cq *queue) {
    uint64_t count = mix_magnitude(mix, 4);
    for (uint64_t i = 0; i < count && mix->profile.budget > 0; i++) {
        mix->profile.budget--;
        uint64_t way = mix_below(mix, 20);
        if (way < 11) {
            outside_send(mix);
        } else if (way < 15) {
            outside_call(mix, queue);
        } else if (way < 17) {
            outside_spawn(mix, mix_kind_draw(mix));
        } else if (way < 18) {
            outside_end(mix);
        } else {
            outside_inspect(mix);
        }
    }
    outside_completions(mix, queue);
}

/* ---- the run ------------------------------------------------------------------------------- */

static int run_start(struct mix *mix, uint32_t schedulers, weft_cq **ret_queue) {
    weft_config config = config_draw(mix, schedulers);
    int status = weft_runtime_create_env(&config, weft_sim_env(mix->sim), &mix->runtime);
    status = status < 0 ? status : mix_types_register(mix);
    status = status < 0 ? status : weft_runtime_start(mix->runtime);
    status = status < 0 ? status : weft_cq_create(mix->runtime, MIX_CQ_CALLS, ret_queue);
    if (status < 0) {
        mix_fail(mix, "start answered %d (%s)", status, weft_strerror(status));
        return status;
    }
    (void)mix_actor_new(mix, MIX_OUTSIDE, MIX_KIND_PLAIN);
    mix->call_count = 1;
    mix->timer_count = 1;
    mix->job_count = 1;
    mix->message_count = 1;
    outside_spawn(mix, MIX_KIND_DEAD);
    status = weft_dead_letters(mix->runtime, mix->actors[MIX_DEAD].pid);
    if (status < 0) {
        mix_fail(mix, "weft_dead_letters answered %d", status);
    }
    mix->memory_fails = mix_may_fail(mix);
    for (uint32_t i = 0; i < mix->profile.actors_start; i++) {
        outside_spawn(mix, mix_kind_draw(mix));
    }
    return 0;
}

static void run_rounds(struct mix *mix, weft_cq *queue) {
    uint64_t rounds = mix->profile.abrupt ? mix_below(mix, 20) : MIX_ROUNDS_MAX;
    for (uint64_t i = 0; i < rounds && mix->profile.budget > 0 && !mix->failed; i++) {
        outside_round(mix, queue);
        (void)weft_sim_run(mix->sim, mix_magnitude(mix, 10), UINT64_MAX, NULL, NULL);
    }
    if (mix->profile.abrupt || mix->failed) {
        return;
    }
    mix->memory_fails = false;
    enum weft_sim_result result = weft_sim_run(mix->sim, MIX_REST_STEPS, UINT64_MAX, NULL, NULL);
    outside_completions(mix, queue);
    if (result != WEFT_SIM_QUIET) {
        mix_fail(mix, "no rest after %u steps", (unsigned)MIX_REST_STEPS);
        return;
    }
    mix_check_quiet(mix);
}

/* Stops and frees everything. After a failure the runtime may be in any state and is left alone. */
static void run_end(struct mix *mix, weft_cq **queue) {
    if (mix->failed) {
        return;
    }
    mix->stopping = true;
    mix->memory_fails = false;
    int status = weft_sim_stop(mix->sim, mix->runtime, MIX_REST_STEPS);
    if (status != 0) {
        mix_fail(mix, "stop answered %d (%s)", status, weft_strerror(status));
        return;
    }
    outside_completions(mix, *queue);
    weft_cq_destroy(queue);
    mix_check_stopped(mix);
    status = weft_runtime_destroy(&mix->runtime);
    if (status != 0) {
        mix_fail(mix, "destroy answered %d (%s)", status, weft_strerror(status));
        return;
    }
    if (mix->heap_blocks != 0 || mix->heap_bytes != 0) {
        mix_fail(mix, "%llu blocks, %llu bytes were not given back",
                 (unsigned long long)mix->heap_blocks, (unsigned long long)mix->heap_bytes);
    }
}

void mix_run(const mix_options *options, mix_report *ret_report) {
    struct mix *run = calloc(1, sizeof(*run));
    weft_sim_options sim_options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT,
        .seed = options->seed,
        .pause_percent = (uint32_t)(sim_mix64(options->seed ^ 0x70) % 4 * 6),
        .nest_max = options->nest_max,
    };
    memset(ret_report, 0, sizeof(*ret_report));
    if (run == NULL || weft_sim_create(&sim_options, &run->sim) < 0) {
        free(run);
        ret_report->failed = true;
        (void)snprintf(ret_report->text, sizeof(ret_report->text), "out of memory");
        return;
    }
    run->seed = options->seed;
    run->priorities = options->priorities;
    weft__sim_observe(run->sim, options->observe, options->cookie);
    profile_draw(run);
    weft_cq *queue = NULL;
    if (run_start(run, options->schedulers, &queue) == 0) {
        run_rounds(run, queue);
        run_end(run, &queue);
    }
    ret_report->hash = weft_sim_hash(run->sim);
    ret_report->steps = run->sim->steps;
    ret_report->messages = run->message_count;
    ret_report->actors = run->actor_count;
    ret_report->failed = run->failed;
    memcpy(ret_report->text, run->text, sizeof(ret_report->text));
    if (!run->failed) {
        weft_sim_destroy(&run->sim);
        free(run);
    }
}
