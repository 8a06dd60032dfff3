/* SPDX-License-Identifier: MIT
 *
 * What the mix's actors can do: send, call, start and cancel timers, spawn, end each other, hand
 * work to helpers. Each makes its ledger record first and checks the answer. Called from the
 * callbacks in mix_actor.c, on simulated schedulers, and for spawns from mix.c.
 */
#include <errno.h>
#include <string.h>

#include "mix.h"

/* Other threads may come in here, in the middle of a callback: the same actor must not. */
void mix_point(struct mix *mix) {
#ifdef WEFT_SIM_POINTS
    weft_env *env = weft_sim_env(mix->sim);
    env->point(env, MIX_POINT + (uint32_t)mix_below(mix, 8));
#else
    (void)mix;
#endif
}

/* ---- drawing ------------------------------------------------------------------------------- */

static uint32_t draw_weighted(struct mix *mix, const uint32_t *weights, uint32_t sum) {
    uint64_t at = mix_below(mix, sum);
    uint32_t index = 0;
    while (at >= weights[index]) {
        at -= weights[index++];
    }
    return index;
}

enum mix_kind mix_kind_draw(struct mix *mix) {
    return (enum mix_kind)draw_weighted(mix, mix->profile.kinds, mix->profile.kind_sum);
}

struct mix_actor *mix_target_draw(struct mix *mix) {
    bool stale = mix_percent(mix, mix->profile.stale_percent);
    uint32_t first = MIX_DEAD + 1;
    uint32_t room = mix->actor_count - first;
    if (mix->profile.focus > 0 && room > mix->profile.focus && mix_percent(mix, 90)) {
        first += room - mix->profile.focus; /* the youngest */
        room = mix->profile.focus;
    }
    for (uint32_t tries = 0; tries < 16 && room > 0; tries++) {
        struct mix_actor *actor = &mix->actors[first + mix_below(mix, room)];
        if (!weft_pid_is_none(actor->pid) && actor->gone == stale) {
            return actor;
        }
    }
    return NULL;
}

size_t mix_payload_fill(struct mix *mix, const struct mix_payload *payload, unsigned char *bytes) {
    static const size_t more[8] = {0, 0, 0, 8, 70, 190, 260, 1100};
    size_t size = sizeof(*payload) + more[mix_below(mix, 8)];
    memset(bytes, (int)(payload->number & 0xff), size);
    memcpy(bytes, payload, sizeof(*payload));
    return size;
}

static uint64_t draw_delay_ns(struct mix *mix) {
    return mix_magnitude(mix, mix->profile.delay_bits) - 1;
}

/* ---- sending ------------------------------------------------------------------------------- */

static void send_in_place(struct mix_actor *self, weft_ctx *ctx, weft_pid pid,
                          const struct mix_payload *payload) {
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(self->mix, payload, bytes);
    weft_msg *msg = NULL;
    int status = weft_msg_create(ctx, MIX_TAG, size, &msg);
    if (status < 0) {
        mix_message_sent(self->mix, payload->number, status, false);
        return;
    }
    memcpy(weft_msg_body(msg), bytes, size);
    mix_point(self->mix);
    status = weft_send_msg(ctx, pid, &msg);
    if (msg != NULL) {
        mix_fail(self->mix, "weft_send_msg did not take");
    }
    mix_message_sent(self->mix, payload->number, status, true);
}

static void send_shared(struct mix_actor *self, weft_ctx *ctx, weft_pid pid,
                        const struct mix_payload *payload) {
    enum { OFFSET = 5 };
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(self->mix, payload, bytes);
    weft_buf *buf = NULL;
    int status = weft_buf_create(self->mix->runtime, size + OFFSET, &buf);
    if (status < 0) {
        mix_message_sent(self->mix, payload->number, status, false);
        return;
    }
    memcpy((unsigned char *)weft_buf_data(buf) + OFFSET, bytes, size);
    status = weft_send_buf(ctx, pid, MIX_TAG, buf, OFFSET, size);
    weft_buf_unref(buf);
    mix_message_sent(self->mix, payload->number, status, false);
}

void mix_act_send(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix_message_new(mix, self->number, target->number, &payload) == 0) {
        return;
    }
    uint64_t way = mix_below(mix, 8);
    if (way == 0) {
        send_in_place(self, ctx, target->pid, &payload);
        return;
    }
    if (way == 1) {
        send_shared(self, ctx, target->pid, &payload);
        return;
    }
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(mix, &payload, bytes);
    int status = weft_send(ctx, target->pid, MIX_TAG, bytes, size);
    mix_message_sent(mix, payload.number, status, false);
}

/* Many small messages to one actor in a row. */
static void act_flood(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    uint64_t count = mix_magnitude(mix, 12);
    for (uint64_t i = 0; target != NULL && i < count; i++) {
        if (mix_message_new(mix, self->number, target->number, &payload) == 0) {
            return;
        }
        int status = weft_send(ctx, target->pid, MIX_TAG, &payload, sizeof(payload));
        mix_message_sent(mix, payload.number, status, false);
    }
}

static uint64_t draw_timeout_ns(struct mix_actor *self) {
    uint64_t way = mix_below(self->mix, 4);
    if (self->kind == MIX_KIND_SERIAL || way == 0) {
        return 1 + draw_delay_ns(self->mix);
    }
    return way == 1 ? WEFT_TIMEOUT_DEFAULT : WEFT_TIMEOUT_NEVER;
}

static void act_call(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix->call_count == MIX_CALLS ||
        mix_message_new(mix, self->number, target->number, &payload) == 0) {
        return;
    }
    payload.call = mix->call_count++;
    uint64_t timeout_ns = draw_timeout_ns(self);
    struct mix_call *call = &mix->calls[payload.call];
    *call = (struct mix_call){
        .caller = self->number,
        .message = payload.number,
        .stage = MIX_OPEN,
        .start_ns = weft_now_ns(ctx),
        .timeout_ns = timeout_ns != WEFT_TIMEOUT_DEFAULT ? timeout_ns : UINT64_C(5000000000),
    };
    mix->messages[payload.number].call = payload.call;
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(mix, &payload, bytes);
    self->calls_open++;
    (void)weft_work_for(ctx, NULL); /* its time is its own: test_scope.c has the others */
    int status = weft_call(ctx, target->pid, MIX_TAG, bytes, size, timeout_ns, payload.call);
    if (status != 0) {
        call->stage = MIX_REFUSED;
        self->calls_open--;
    }
    mix_message_sent(mix, payload.number, status, false);
}

static void act_call_cancel(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    for (uint32_t tries = 0; tries < 32; tries++) {
        uint64_t token = 1 + mix_below(mix, mix->call_count - 1);
        struct mix_call *call = &mix->calls[token];
        if (token >= mix->call_count || call->caller != self->number) {
            continue;
        }
        int count = weft_call_cancel(ctx, token);
        if (count < 0 || count > (call->stage == MIX_OPEN)) {
            mix_fail(mix, "call %llu in stage %d: cancel answered %d", (unsigned long long)token,
                     (int)call->stage, count);
        }
        if (count == 1) {
            call->stage = MIX_CANCELLED;
            self->calls_open--;
        }
        return;
    }
}

/* ---- timers -------------------------------------------------------------------------------- */

static struct mix_timer *timer_new(struct mix_actor *self, weft_ctx *ctx, enum mix_purpose purpose,
                                   uint64_t delay_ns) {
    struct mix *mix = self->mix;
    if (mix->timer_count == MIX_TIMERS) {
        return NULL;
    }
    struct mix_timer *timer = &mix->timers[mix->timer_count++];
    *timer = (struct mix_timer){.owner = self->number,
                                .purpose = purpose,
                                .stage = MIX_OPEN,
                                .start_ns = weft_now_ns(ctx),
                                .delay_ns = delay_ns};
    return timer;
}

static void timer_check(struct mix *mix, struct mix_timer *timer, int status) {
    if (status != 0) {
        timer->stage = MIX_REFUSED;
        if (status == -ENOMEM && mix_may_fail(mix)) {
            return;
        }
        mix_fail(mix, "starting a timer answered %d (%s)", status, weft_strerror(status));
    } else if (timer->handle == 0) {
        mix_fail(mix, "a timer has the name 0");
    }
}

bool mix_timer_start(struct mix_actor *self, weft_ctx *ctx, enum mix_purpose purpose) {
    struct mix *mix = self->mix;
    uint64_t delay_ns = draw_delay_ns(mix);
    delay_ns = purpose == MIX_TIMER_REPEAT ? delay_ns + 1000 : delay_ns;
    struct mix_timer *timer = timer_new(self, ctx, purpose, delay_ns);
    if (timer == NULL) {
        return false;
    }
    uint64_t token = (uint64_t)(timer - mix->timers);
    int status = purpose == MIX_TIMER_REPEAT
                     ? weft_timer_repeat(ctx, delay_ns, MIX_TAG_TIMER, token, &timer->handle)
                     : weft_timer_start(ctx, delay_ns, MIX_TAG_TIMER, token, &timer->handle);
    timer_check(mix, timer, status);
    return status == 0;
}

static void act_after(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix->timer_count == MIX_TIMERS ||
        mix_message_new(mix, self->number, target->number, &payload) == 0) {
        return;
    }
    payload.sequence = 0;
    struct mix_timer *timer = timer_new(self, ctx, MIX_TIMER_AFTER, draw_delay_ns(mix));
    timer->message = payload.number;
    struct mix_message *message = &mix->messages[payload.number];
    message->delayed = true;
    message->due_ns = timer->start_ns + timer->delay_ns;
    unsigned char bytes[MIX_BYTES_MAX];
    size_t size = mix_payload_fill(mix, &payload, bytes);
    int status =
        weft_send_after(ctx, timer->delay_ns, target->pid, MIX_TAG, bytes, size, &timer->handle);
    timer_check(mix, timer, status);
}

void mix_timer_cancel(struct mix_actor *self, weft_ctx *ctx, struct mix_timer *timer) {
    struct mix *mix = self->mix;
    bool cancelled = weft_timer_cancel(ctx, timer->handle);
    if (cancelled && timer->stage != MIX_OPEN) {
        mix_fail(mix, "a timer in stage %d could be cancelled", (int)timer->stage);
    }
    if (timer->purpose == MIX_TIMER_REPEAT && timer->stage == MIX_OPEN && !cancelled) {
        mix_fail(mix, "a repeating timer could not be cancelled");
    }
    if (!cancelled) {
        return;
    }
    timer->stage = MIX_CANCELLED;
    if (timer->purpose == MIX_TIMER_AFTER) {
        struct mix_message *message = &mix->messages[timer->message];
        message->refused = true;
        if (message->received + message->dead > 0) {
            mix_fail(mix, "message %u arrived and could be cancelled", timer->message);
        }
    }
}

static void act_timer_cancel(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    for (uint32_t back = 1; back < mix->timer_count && back < 128; back++) {
        struct mix_timer *timer = &mix->timers[mix->timer_count - back];
        bool wanted = timer->owner == self->number && timer->purpose != MIX_TIMER_LATER &&
                      timer->handle != 0 && (timer->stage == MIX_OPEN || mix_percent(mix, 5));
        if (wanted && mix_percent(mix, 70)) {
            mix_timer_cancel(self, ctx, timer);
            return;
        }
    }
    if (weft_timer_cancel(ctx, 0)) {
        mix_fail(mix, "the timer with the name 0 could be cancelled");
    }
}

/* ---- other actors -------------------------------------------------------------------------- */

static struct mix_spawn_arg spawn_argument; /* one thread; copied by the spawn at once */

struct mix_actor *mix_spawn_prepare(struct mix *mix, uint32_t parent, enum mix_kind kind,
                                    weft_spawn_options *ret_options) {
    uint32_t alive = 0;
    for (uint32_t i = 0; i < mix->actor_count; i++) {
        alive += mix->actors[i].spawned && !mix->actors[i].gone;
    }
    if (alive >= mix->profile.actors_alive_max) {
        return NULL;
    }
    struct mix_actor *actor = mix_actor_new(mix, parent, kind);
    if (actor == NULL) {
        return NULL;
    }
    spawn_argument = (struct mix_spawn_arg){
        .mix = mix, .number = actor->number, .fail = kind != MIX_KIND_DEAD && mix_percent(mix, 5)};
    *ret_options = (weft_spawn_options){
        .struct_size = WEFT_SPAWN_OPTIONS_INIT,
        .arg = &spawn_argument,
        .arg_size = sizeof(spawn_argument),
        .scheduler = (uint32_t)mix_below(mix, (uint64_t)weft_runtime_schedulers(mix->runtime) + 1),
        .pin = mix_percent(mix, mix->profile.pin_percent),
        .priority = mix->priorities ? (uint32_t)mix_below(mix, 3) : 0,
    };
    return actor;
}

void mix_spawn_done(struct mix_actor *actor, int status, weft_pid pid) {
    struct mix *mix = actor->mix;
    if (status < 0) {
        bool expected = (status == WEFT_E_SHUTDOWN && mix->stopping) ||
                        (status == -ENOMEM && mix_may_fail(mix));
        if (!expected || actor->spawned) {
            mix_fail(mix, "a spawn answered %d (%s)", status, weft_strerror(status));
        }
        return;
    }
    if (actor->spawned && !weft_pid_equal(actor->pid, pid)) {
        mix_fail(mix, "actor %u has another pid than its spawn said", actor->number);
    }
    actor->spawned = true;
    actor->pid = pid;
}

static void act_spawn(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    weft_spawn_options options;
    enum mix_kind kind = mix_kind_draw(mix);
    struct mix_actor *actor = mix_spawn_prepare(mix, self->number, kind, &options);
    if (actor != NULL) {
        weft_pid pid = weft_pid_none();
        int status = mix_percent(mix, 30)
                         ? weft_spawn(ctx, mix->types[kind], options.arg, options.arg_size, &pid)
                         : weft_spawn_with(ctx, mix->types[kind], &options, &pid);
        mix_spawn_done(actor, status, pid);
    }
}

static void act_end(struct mix_actor *self, weft_ctx *ctx, bool kill) {
    struct mix *mix = self->mix;
    static const int reasons[4] = {0, -EPERM, -EIO, WEFT_E_OVERLOAD};
    struct mix_actor *target = mix_target_draw(mix);
    if (target == NULL) {
        return;
    }
    uint32_t asked = target->ends_asked;
    bool gone = target->gone;
    int reason = reasons[mix_below(mix, 4)];
    int status;
    if (kill) {
        mix_actor_kill(target);
        status = weft_kill(ctx, target->pid);
    } else {
        mix_actor_reason(target, reason);
        status = weft_stop(ctx, target->pid, reason);
    }
    mix_end_check(target, asked, gone, status);
}

static int job_run(void *arg) {
    struct mix_job *job = arg;
    job->ran++;
    mix_point(job->mix);
    return (int)(job - job->mix->jobs);
}

static void act_blocking(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    if (mix->job_count == MIX_JOBS) {
        return;
    }
    uint64_t token = mix->job_count++;
    struct mix_job *job = &mix->jobs[token];
    *job = (struct mix_job){.mix = mix, .owner = self->number, .stage = MIX_OPEN};
    int status = weft_blocking(ctx, job_run, job, token);
    if (status != 0) {
        job->stage = MIX_REFUSED;
        bool no_memory = status == -ENOMEM && mix_may_fail(mix);
        if (job->ran != 0 || (status != WEFT_E_SHUTDOWN && status != -EBUSY && !no_memory)) {
            mix_fail(mix, "weft_blocking answered %d, ran %u", status, job->ran);
        }
    }
}

/* ---- one turn ------------------------------------------------------------------------------ */

void mix_exiting(struct mix_actor *self, int reason) {
    mix_actor_reason(self, reason);
    if (!self->exiting) {
        self->exiting = true;
        self->exit_reason = reason;
    }
}

/* Does one thing; what receive shall return so far. */
int mix_act(struct mix_actor *self, weft_ctx *ctx, int result) {
    struct mix *mix = self->mix;
    uint32_t what = draw_weighted(mix, mix->profile.weights, mix->profile.weight_sum);
    switch ((enum mix_act)what) {
    case MIX_ACT_SEND:
        mix_act_send(self, ctx);
        break;
    case MIX_ACT_CALL:
        act_call(self, ctx);
        break;
    case MIX_ACT_CALL_CANCEL:
        act_call_cancel(self, ctx);
        break;
    case MIX_ACT_TIMER:
        (void)mix_timer_start(self, ctx, MIX_TIMER_PLAIN);
        break;
    case MIX_ACT_REPEAT:
        (void)mix_timer_start(self, ctx, MIX_TIMER_REPEAT);
        break;
    case MIX_ACT_AFTER:
        act_after(self, ctx);
        break;
    case MIX_ACT_TIMER_CANCEL:
        act_timer_cancel(self, ctx);
        break;
    case MIX_ACT_SPAWN:
        act_spawn(self, ctx);
        break;
    case MIX_ACT_STOP:
        act_end(self, ctx, false);
        break;
    case MIX_ACT_KILL:
        act_end(self, ctx, true);
        break;
    case MIX_ACT_EXIT: {
        int reason = mix_percent(mix, 50) ? 0 : -ENOTTY;
        mix_exiting(self, reason);
        weft_exit(ctx, reason);
        break;
    }
    case MIX_ACT_CRASH:
        result = result != WEFT_CONTINUE ? result : mix_percent(mix, 50) ? WEFT_STOP : -EFAULT;
        break;
    case MIX_ACT_BLOCKING:
        act_blocking(self, ctx);
        break;
    case MIX_ACT_FLOOD:
        act_flood(self, ctx);
        break;
    case MIX_ACTS:
        break;
    }
    return result;
}
