/* SPDX-License-Identifier: MIT
 *
 * A scheduler's beginning and end, on the thread that creates and destroys the runtime, and the
 * cells it lays aside for stopping actors when memory is used up. What it does in between is in
 * scheduler.c.
 */
#include "sched/process.h"

enum { RESERVE_CELLS = 32 };

weft_msg *weft__scheduler_reserve(struct weft__scheduler *s) {
    if (s->reserve == 0) {
        return NULL;
    }
    weft_msg *msg = weft__arena_msg(s->messages, s->reserve);
    s->reserve = msg->weft__next;
    weft_counter_add(&s->pool.allocated, 1); /* in use from now on */
    return msg;
}

/* Lays cells aside; they count as free. */
static int fill_reserve(struct weft__scheduler *s) {
    for (int i = 0; i < RESERVE_CELLS; i++) {
        weft_msg *msg = weft__pool_alloc(&s->pool, 0);
        if (msg == NULL) {
            return -ENOMEM;
        }
        weft_counter_add(&s->pool.freed, 1);
        msg->weft__next = s->reserve;
        s->reserve = weft__arena_index(s->messages, msg);
    }
    return 0;
}

static uint32_t rank_ring_size(const struct weft__scheduler *s) {
    uint32_t size = s->runtime->config.ring_size;
    return size < WEFT__RANK_RING ? size : WEFT__RANK_RING;
}

/* The rings of high and low actors. */
static int make_ranks(struct weft__scheduler *s) {
    uint32_t size = rank_ring_size(s);
    for (int i = 0; i < 2; i++) {
        weft_atomic_u32 *entries = weft__alloc(s->core, size * sizeof(*entries), "ring");
        if (entries == NULL) {
            return -ENOMEM;
        }
        weft__runq_init(&s->rank[i].ring, entries, size);
    }
    return 0;
}

/* What it parks on, with all that its sockets will need of the kernel. */
static int create_driver(struct weft__scheduler *s) {
    const weft_runtime *runtime = s->runtime;
    weft_env *env = s->core->env;
    int result = runtime->drivers.create(env, s->driven, &s->driver);
    if (result != 0 || env->io == NULL || env->io->reserve == NULL) {
        return result;
    }
    return env->io->reserve(env, s->driver, runtime->config.io_buffers);
}

int weft__scheduler_create(weft_runtime *runtime, uint32_t id, struct weft__scheduler **ret) {
    struct weft__core *core = &runtime->core;
    const weft_config *config = &runtime->config;
    struct weft__scheduler *s = weft__alloc_aligned(core, sizeof(*s), "scheduler");
    if (s == NULL) {
        return -ENOMEM;
    }
    s->runtime = runtime;
    s->core = core;
    s->messages = &core->messages;
    s->slots = &runtime->slots;
    s->barrier = runtime->idle.barrier;
    s->slot_count = (uint32_t)(runtime->slots.bytes / sizeof(struct weft_ctx));
    s->node = runtime->node;
    s->id = id;
    s->budget = config->budget;
    s->lifo_max = config->lifo_none ? 0 : config->lifo_max;
    s->alone = runtime->count == 1;
    s->traced = core->env->trace != NULL;
    s->driven = config->driven && id == 0;
    s->runs_max = s->traced ? 1 : WEFT__RUNS_PER_STEP;
    s->drawn_to = -1;
    s->sample = WEFT__SAMPLE_MASK + 1;
    weft__prng_init(&s->prng, core->seed, id);
    s->now_ns = weft__now(core);
    weft__wheel_init(&s->wheel, core, &runtime->entries, s->now_ns);
    weft__wheel_set_home(&s->wheel, runtime->entry_homes, (uint16_t)id);
    *ret = s;
    size_t ring_bytes = config->ring_size * sizeof(weft_atomic_u32);
    weft_atomic_u32 *entries = weft__alloc(core, ring_bytes, "ring");
    if (entries == NULL) {
        return -ENOMEM;
    }
    weft__runq_init(&s->ring, entries, config->ring_size);
    int result = make_ranks(s);
    if (result != 0) {
        return result;
    }
    result = weft__pool_init(&s->pool, core, runtime->pools, runtime->count + 1, id + 1,
                             config->pool_bytes);
    if (result != 0) {
        return result;
    }
    weft__stacks_init(&s->stacks, weft__stack_pool_of(runtime, config->process_stack_bytes),
                      config->process_stacks_none ? 0 : config->process_stacks);
    result = fill_reserve(s);
    return result != 0 ? result : create_driver(s);
}

void weft__scheduler_destroy(struct weft__scheduler **scheduler) {
    struct weft__scheduler *s = *scheduler;
    if (s == NULL) {
        return;
    }
    struct weft__core *core = s->core;
    if (s->upper != NULL) {
        s->upper->calls->destroy(s->upper);
    }
    if (s->driver != NULL) {
        s->runtime->drivers.destroy(core->env, s->driver);
    }
    weft__stacks_fini(&s->stacks);
    weft__pool_fini(&s->pool);
    weft__free(core, s->ring.entries, s->runtime->config.ring_size * sizeof(weft_atomic_u32),
               "ring");
    for (int i = 0; i < 2; i++) {
        weft__free(core, s->rank[i].ring.entries, rank_ring_size(s) * sizeof(weft_atomic_u32),
                   "ring");
    }
    weft__free_aligned(core, s, sizeof(*s), "scheduler");
    *scheduler = NULL;
}
