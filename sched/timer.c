/* SPDX-License-Identifier: MIT
 *
 * Timers of an actor. The record is the actor's and says what the timer is for; the wheel entry
 * only says when to look (core/wheel.h). A TIMER signal that arrives is checked against the
 * record, which is gone once the timer was cancelled: so cancelling is exact, wherever the actor
 * has moved and whatever is under way.
 */
#include "sched/tracing.h"
#include <string.h>

enum {
    CHUNK_FIRST = 4,
    CHUNK_MAX = 1024,
    GROWING_CHUNKS = 8, /* 4, 8, ... 512: 1020 records */
    GROWING_RECORDS = CHUNK_MAX - CHUNK_FIRST,
    INTERVAL_MIN_NS = 1000,
    SEQ_SHIFT = 8,
};

static uint32_t chunk_size(uint32_t chunk) {
    return chunk < GROWING_CHUNKS ? (uint32_t)CHUNK_FIRST << chunk : CHUNK_MAX;
}

static struct weft__timer *record_at(const struct weft__timers *timers, uint32_t index) {
    if (index >= GROWING_RECORDS) {
        uint32_t rest = index - GROWING_RECORDS;
        return &timers->chunks[GROWING_CHUNKS + rest / CHUNK_MAX][rest % CHUNK_MAX];
    }
    uint32_t chunk = 31u - (uint32_t)__builtin_clz(index / CHUNK_FIRST + 1);
    return &timers->chunks[chunk][index - ((uint32_t)CHUNK_FIRST << chunk) + CHUNK_FIRST];
}

static int add_chunk(struct weft__timers *timers, struct weft__core *core) {
    if (timers->chunk_count == timers->chunk_capacity) {
        uint32_t old = timers->chunk_capacity;
        uint32_t capacity = old == 0 ? 4 : old * 2;
        void *chunks = timers->chunks;
        int result = weft__grow(core, &chunks, old * sizeof(*timers->chunks),
                                capacity * sizeof(*timers->chunks), "timers");
        if (result != 0) {
            return result;
        }
        timers->chunks = chunks;
        timers->chunk_capacity = capacity;
    }
    struct weft__timer *chunk =
        weft__alloc(core, chunk_size(timers->chunk_count) * sizeof(struct weft__timer), "timers");
    if (chunk == NULL) {
        return -ENOMEM;
    }
    timers->chunks[timers->chunk_count++] = chunk;
    return 0;
}

static uint32_t capacity_of(const struct weft__timers *timers) {
    uint32_t chunks = timers->chunk_count;
    return chunks <= GROWING_CHUNKS ? ((uint32_t)CHUNK_FIRST << chunks) - CHUNK_FIRST
                                    : GROWING_RECORDS + (chunks - GROWING_CHUNKS) * CHUNK_MAX;
}

uint64_t weft__timers_bytes(const struct weft__timers *timers) {
    return capacity_of(timers) * (uint64_t)sizeof(struct weft__timer) +
           timers->chunk_capacity * sizeof(*timers->chunks) +
           timers->extras * (uint64_t)sizeof(struct weft__timer_extra);
}

static int record_alloc(struct weft__timers *timers, const struct weft__scheduler *s,
                        uint32_t *ret_index) {
    if (timers->count >= s->runtime->config.timers_max) {
        return WEFT_E_LIMIT;
    }
    if (timers->free_head != 0) {
        *ret_index = timers->free_head - 1;
        timers->free_head = record_at(timers, *ret_index)->armed.entry;
    } else {
        if (timers->used == capacity_of(timers)) {
            int result = add_chunk(timers, s->core);
            if (result != 0) {
                return result;
            }
        }
        *ret_index = timers->used++;
    }
    timers->count++;
    return 0;
}

/* Frees the record; its handle and every signal under way are stale from here on. */
static void record_free(struct weft__timers *timers, struct weft__scheduler *s, uint32_t index) {
    struct weft__timer *record = record_at(timers, index);
    if ((record->seq_flags & WEFT__TIMER_EXTRA) != 0) {
        struct weft__timer_extra *extra = (void *)(uintptr_t)record->token;
        if (extra->msg != NULL) {
            weft__msg_free(s->runtime, s, extra->msg);
        }
        weft__free(s->core, extra, sizeof(*extra), "timer");
        timers->extras--;
    }
    record->seq_flags = (record->seq_flags & ~(uint32_t)WEFT__TIMER_FLAGS) + (1u << SEQ_SHIFT);
    record->armed = (struct weft__armed){.entry = timers->free_head};
    timers->free_head = index + 1;
    timers->count--;
}

/* The same, and what it needed more is no longer shown. */
static void record_drop(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t index) {
    uint32_t extras = ctx->ext->timers.extras;
    record_free(&ctx->ext->timers, s, index);
    if (weft_unlikely(extras != ctx->ext->timers.extras)) {
        weft__memory_show(s->runtime, ctx);
    }
}

static int arm(struct weft__scheduler *s, const struct weft_ctx *ctx, uint32_t index,
               uint64_t due_ns, struct weft__armed *ret_armed) {
    struct weft__alarm alarm = {
        .due_ns = due_ns, .slot = ctx->index, .slot_gen = ctx->gen, .timer = index};
    weft__bias_enter(&s->bias, &s->barrier);
    int result = weft__wheel_arm(&s->wheel, &alarm, ret_armed);
    weft__bias_leave(&s->bias);
    return result;
}

/* What to start. extra [take], or NULL. */
struct start {
    uint64_t delay_ns;
    uint64_t token;
    struct weft__timer_extra *extra;
    uint32_t tag;
};

static int start_timer(weft_ctx *ctx, const struct start *start, weft_timer *ret_timer) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    uint32_t index;
    uint32_t chunks = ext->timers.chunk_count;
    int result = record_alloc(&ext->timers, s, &index);
    if (result != 0) {
        return result;
    }
    struct weft__timer *record = record_at(&ext->timers, index);
    s->now_ns = weft__now(s->core); /* not the turn's: a timer is never early */
    uint64_t due_ns = weft_add_saturated(s->now_ns, start->delay_ns);
    struct weft__armed armed;
    result = arm(s, ctx, index, due_ns, &armed);
    if (result != 0) {
        record_free(&ext->timers, s, index);
        return result;
    }
    record->armed = armed;
    record->tag = start->tag;
    record->token = start->token;
    record->seq_flags |= WEFT__TIMER_LIVE;
    if (start->extra != NULL) {
        start->extra->due_ns = due_ns;
        record->token = (uintptr_t)start->extra;
        record->seq_flags |= WEFT__TIMER_EXTRA;
        ext->timers.extras++;
    }
    if (weft_unlikely(start->extra != NULL || chunks != ext->timers.chunk_count)) {
        weft__memory_show(s->runtime, ctx);
    }
    weft_counter_add(&s->counters.timers_started, 1);
    if (ret_timer != NULL) {
        *ret_timer = (uint64_t)((record->seq_flags >> SEQ_SHIFT) + 1) << 32 | index;
    }
    return 0;
}

int weft_timer_start(weft_ctx *ctx, uint64_t delay_ns, uint32_t tag, uint64_t token,
                     weft_timer *ret_timer) {
    struct start start = {.delay_ns = delay_ns, .token = token, .tag = tag};
    return start_timer(ctx, &start, ret_timer);
}

int weft_timer_repeat(weft_ctx *ctx, uint64_t interval_ns, uint32_t tag, uint64_t token,
                      weft_timer *ret_timer) {
    if (interval_ns < INTERVAL_MIN_NS) {
        return -EINVAL;
    }
    struct weft__timer_extra *extra = weft__alloc(ctx->runner->core, sizeof(*extra), "timer");
    if (extra == NULL) {
        return -ENOMEM;
    }
    extra->interval_ns = interval_ns;
    extra->token = token;
    struct start start = {.delay_ns = interval_ns, .extra = extra, .tag = tag};
    int result = start_timer(ctx, &start, ret_timer);
    if (result != 0) {
        weft__free(ctx->runner->core, extra, sizeof(*extra), "timer");
    }
    return result;
}

int weft_send_after(weft_ctx *ctx, uint64_t delay_ns, weft_pid target, uint32_t tag,
                    const void *data, size_t size, weft_timer *ret_timer) {
    if (data == NULL && size != 0) {
        return -EINVAL;
    }
    struct weft__scheduler *s = ctx->runner;
    if (target.node != s->node) {
        return target.node == 0 ? WEFT_E_NOPROC : WEFT_E_NOCONN;
    }
    struct weft__timer_extra *extra = weft__alloc(s->core, sizeof(*extra), "timer");
    if (extra == NULL) {
        return -ENOMEM;
    }
    extra->target = target;
    struct weft__draft draft = {.data = data, .size = size, .tag = tag, .kind = WEFT_MSG_USER};
    int result = weft__msg_make(s->runtime, s, &draft, &extra->msg);
    if (result == 0) {
        extra->msg->weft__from = weft__from(ctx);
        struct start start = {.delay_ns = delay_ns, .extra = extra, .tag = tag};
        result = start_timer(ctx, &start, ret_timer);
        if (result != 0) {
            weft__msg_free(s->runtime, s, extra->msg);
        }
    }
    if (result != 0) {
        weft__free(s->core, extra, sizeof(*extra), "timer");
    }
    return result;
}

bool weft_timer_cancel(weft_ctx *ctx, weft_timer timer) {
    struct weft__ext *ext = ctx->ext;
    uint32_t index = (uint32_t)timer;
    if (ext == NULL || timer == 0 || index >= ext->timers.used) {
        return false;
    }
    struct weft__timer *record = record_at(&ext->timers, index);
    if ((record->seq_flags & WEFT__TIMER_LIVE) == 0 ||
        (record->seq_flags >> SEQ_SHIFT) + 1 != (uint32_t)(timer >> 32)) {
        return false;
    }
    struct weft__scheduler *s = ctx->runner;
#ifdef WEFT_PLANT_TIMER_CANCEL
    struct weft__armed planted = record->armed;
#endif
    /* Whether the entry was still in the wheel does not matter: the record decides. */
    (void)weft__wheel_cancel(weft__wheel_home(s, &record->armed), &record->armed);
    record_drop(s, ctx, index);
#ifdef WEFT_PLANT_TIMER_CANCEL
    record->armed.state = planted.state; /* a signal under way still matches */
#endif
    weft_counter_add(&s->counters.timers_cancelled, 1);
    return true;
}

/* A repeating timer goes on: the first due time ahead that keeps the phase. */
static void rearm(struct weft__scheduler *s, struct weft_ctx *ctx, uint32_t index) {
    struct weft__timer *record = record_at(&ctx->ext->timers, index);
    struct weft__timer_extra *extra = (void *)(uintptr_t)record->token;
    uint64_t late_ns = s->now_ns > extra->due_ns ? s->now_ns - extra->due_ns : 0;
    extra->due_ns += (late_ns / extra->interval_ns + 1) * extra->interval_ns;
    struct weft__armed armed;
    if (arm(s, ctx, index, extra->due_ns, &armed) == 0) {
        record->armed = armed;
    } else {
        /* The entry was freed a moment ago, so this needs a thief of the last one. Ending the
         * actor says so; a timer that silently stops would not. */
        weft_exit(ctx, -ENOMEM);
    }
}

/* A delayed send is due: the message goes on its way. */
static void forward(struct weft__scheduler *s, struct weft__timer_extra *extra) {
    weft_msg *msg = extra->msg;
    extra->msg = NULL;
    weft_counter_add(&s->counters.messages_sent, 1);
    int result = weft__post(s, weft__target(extra->target), msg, true);
    if (result != 0) {
        weft__dead_letter(s->runtime, s, msg, result);
    }
}

enum weft__timer_outcome weft__timer_arrived(struct weft__scheduler *s, struct weft_ctx *ctx,
                                             weft_msg *msg) {
    struct weft__ext *ext = ctx->ext;
    uint64_t reference = msg->weft__u.weft__r.weft__ref;
    struct weft__armed armed = {.entry = (uint32_t)(reference >> 32), .state = (uint32_t)reference};
    uint32_t index = msg->weft__tag;
    if (ext == NULL) {
        return WEFT__TIMER_NONE;
    }
    if (index == WEFT__WHEEL_CALLS) {
        if (ext->call_alarm.entry != armed.entry || ext->call_alarm.state != armed.state) {
            return WEFT__TIMER_NONE;
        }
        ext->call_alarm.entry = 0;
        return WEFT__TIMER_CALLS;
    }
    if (index >= ext->timers.used) {
        return WEFT__TIMER_NONE;
    }
    struct weft__timer *record = record_at(&ext->timers, index);
#ifdef WEFT_PLANT_TIMER_CANCEL
    if (record->armed.state != armed.state) {
        return WEFT__TIMER_NONE;
    }
#else
    if ((record->seq_flags & WEFT__TIMER_LIVE) == 0 || record->armed.entry != armed.entry ||
        record->armed.state != armed.state) {
        return WEFT__TIMER_NONE;
    }
#endif
    weft_counter_add(&s->counters.timers_fired, 1);
    msg->weft__kind = WEFT_MSG_TIMER;
    msg->weft__tag = record->tag;
    msg->weft__u.weft__r.weft__ref = record->token;
    msg->weft__u.weft__r.weft__value = 0;
    if ((record->seq_flags & WEFT__TIMER_EXTRA) == 0) {
        if ((record->seq_flags & WEFT__TIMER_LIVE) != 0) {
            record_free(&ext->timers, s, index);
        }
        return WEFT__TIMER_DELIVER;
    }
    struct weft__timer_extra *extra = (void *)(uintptr_t)record->token;
    if (extra->interval_ns == 0) {
        forward(s, extra);
        record_drop(s, ctx, index);
        return WEFT__TIMER_NONE;
    }
    msg->weft__u.weft__r.weft__ref = extra->token;
    rearm(s, ctx, index);
    return WEFT__TIMER_DELIVER;
}

void weft__timers_fini(struct weft__scheduler *s, struct weft_ctx *ctx) {
    struct weft__ext *ext = ctx->ext;
    struct weft__timers *timers = &ext->timers;
    if (ext->call_alarm.entry != 0) {
        (void)weft__wheel_cancel(weft__wheel_home(s, &ext->call_alarm), &ext->call_alarm);
    }
    for (uint32_t index = 0; index < timers->used; index++) { /* bounded by the actor's timers */
        struct weft__timer *record = record_at(timers, index);
        if ((record->seq_flags & WEFT__TIMER_LIVE) != 0) {
            (void)weft__wheel_cancel(weft__wheel_home(s, &record->armed), &record->armed);
            record_free(timers, s, index);
        }
    }
    for (uint32_t chunk = 0; chunk < timers->chunk_count; chunk++) {
        weft__free(s->core, timers->chunks[chunk], chunk_size(chunk) * sizeof(struct weft__timer),
                   "timers");
    }
    weft__free(s->core, timers->chunks, timers->chunk_capacity * sizeof(*timers->chunks), "timers");
    memset(timers, 0, sizeof(*timers));
}
