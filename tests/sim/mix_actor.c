/* SPDX-License-Identifier: MIT
 *
 * What the mix's actors do: check what they are given against the ledger, then do a few things
 * drawn from the seed. All types share the callbacks; they differ in mailbox and flags. Called by
 * the runtime from simulated schedulers.
 */
#include <errno.h>
#include <string.h>

#include "mix.h"

/* What a spawn gives to init. */
struct spawn_arg {
    struct mix *mix;
    uint32_t number;
    bool fail;
};

/* Other threads may come in here, in the middle of a callback: the same actor must not. */
static void actor_point(struct mix *mix) {
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
    actor_point(self->mix);
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

static void act_send(struct mix_actor *self, weft_ctx *ctx) {
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

static bool timer_start(struct mix_actor *self, weft_ctx *ctx, enum mix_purpose purpose) {
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

static void timer_cancel(struct mix_actor *self, weft_ctx *ctx, struct mix_timer *timer) {
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
            timer_cancel(self, ctx, timer);
            return;
        }
    }
    if (weft_timer_cancel(ctx, 0)) {
        mix_fail(mix, "the timer with the name 0 could be cancelled");
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static int reply_shared(struct mix *mix, weft_ctx *ctx, weft_msg **request, const void *bytes,
                        size_t size) {
    weft_buf *buf = NULL;
    int status = weft_buf_create(mix->runtime, size, &buf);
    if (status < 0) {
        return weft_reply(ctx, request, MIX_TAG_REPLY, bytes, size);
    }
    memcpy(weft_buf_data(buf), bytes, size);
    status = weft_reply_buf(ctx, request, MIX_TAG_REPLY, buf, 0, size);
    weft_buf_unref(buf);
    return status;
}

static void request_answer(struct mix_actor *self, weft_ctx *ctx, weft_msg **request) {
    struct mix *mix = self->mix;
    struct mix_payload asked;
    if (!mix_payload_read(mix, *request, &asked)) {
        weft_msg_release(ctx, request);
        return;
    }
    uint32_t caller = mix->calls[asked.call].caller;
    uint64_t way = mix_below(mix, 8);
    int status = 0;
    if (way == 0) {
        status = weft_reply_error(ctx, request, -EDOM);
    } else if (way == 1) {
        weft_msg_release(ctx, request);
    } else if (way == 2) {
        status = weft_reply(ctx, request, MIX_TAG_REPLY, weft_msg_data(*request),
                            weft_msg_size(*request));
    } else {
        struct mix_payload payload = {.magic = MIX_PAYLOAD_MAGIC,
                                      .from = self->number,
                                      .to = caller,
                                      .sequence = ++mix->sent[self->number][caller],
                                      .call = asked.call};
        unsigned char bytes[MIX_BYTES_MAX];
        size_t size = mix_payload_fill(mix, &payload, bytes);
        status = way == 3 ? reply_shared(mix, ctx, request, bytes, size)
                          : weft_reply(ctx, request, MIX_TAG_REPLY, bytes, size);
    }
    bool no_memory = status == -ENOMEM && mix_may_fail(mix);
    if (status != 0 && status != WEFT_E_NOPROC && !no_memory) {
        mix_fail(mix, "a reply answered %d (%s)", status, weft_strerror(status));
    }
    if (*request != NULL) {
        mix_fail(mix, "a reply did not take its request");
    }
}

static void taken_answer(struct mix_actor *self, weft_ctx *ctx) {
    while (self->taken_count > 0) {
        uint64_t index = mix_below(self->mix, self->taken_count);
        weft_msg *request = self->taken[index];
        self->taken[index] = self->taken[--self->taken_count];
        request_answer(self, ctx, &request);
    }
}

/* Passes a message on: true when it went. */
static bool message_forward(struct mix_actor *self, weft_ctx *ctx, weft_msg *msg) {
    struct mix *mix = self->mix;
    struct mix_actor *target = mix_target_draw(mix);
    struct mix_payload payload;
    if (target == NULL || mix->profile.budget == 0 || !mix_payload_read(mix, msg, &payload)) {
        return false;
    }
    mix->profile.budget--;
    struct mix_message *message = &mix->messages[payload.number];
    message->forwards++;
    message->lossy |= target->kind == MIX_KIND_DROP_NEW || target->kind == MIX_KIND_DROP_OLD;
    bool stale = target->gone;
    int status = weft_send_msg(ctx, target->pid, &msg);
    if (status == 0 && stale) {
        mix_fail(mix, "actor %u was gone and took message %u", target->number, payload.number);
    }
    if (status != 0) {
        mix_refusal_check(mix, self->number, target->number, status);
    }
    return true;
}

static void request_handle(struct mix_actor *self, weft_ctx *ctx, weft_msg *msg) {
    struct mix *mix = self->mix;
    uint64_t way = mix_below(mix, 16);
    struct mix_payload asked;
    if (mix_payload_read(mix, msg, &asked)) {
        const struct mix_call *call = &mix->calls[asked.call];
        uint64_t deadline_ns =
            call->timeout_ns == WEFT_TIMEOUT_NEVER ? UINT64_MAX : call->start_ns + call->timeout_ns;
        if (weft_deadline(msg) != deadline_ns) {
            mix_fail(mix, "the deadline of call %u is off by %lld ns", asked.call,
                     (long long)(weft_deadline(msg) - deadline_ns));
        }
    }
    if (way < 2 && message_forward(self, ctx, msg)) {
        return;
    }
    if (way < 4) {
        return; /* the runtime answers WEFT_E_NOREPLY */
    }
    if (way < 8 && self->taken_count < MIX_TAKEN && timer_start(self, ctx, MIX_TIMER_LATER)) {
        self->taken[self->taken_count++] = weft_msg_take(ctx, msg);
        if (weft_current(ctx) != NULL) {
            mix_fail(mix, "a taken message is still current");
        }
        return;
    }
    request_answer(self, ctx, &msg);
}

/* ---- other actors -------------------------------------------------------------------------- */

static struct spawn_arg spawn_argument; /* one thread; copied by the spawn at once */

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
    spawn_argument = (struct spawn_arg){
        .mix = mix, .number = actor->number, .fail = kind != MIX_KIND_DEAD && mix_percent(mix, 5)};
    *ret_options = (weft_spawn_options){
        .struct_size = WEFT_SPAWN_OPTIONS_INIT,
        .arg = &spawn_argument,
        .arg_size = sizeof(spawn_argument),
        .scheduler = (uint32_t)mix_below(mix, (uint64_t)weft_runtime_schedulers(mix->runtime) + 1),
        .pin = mix_percent(mix, 10),
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
    actor_point(job->mix);
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

static void actor_exiting(struct mix_actor *self, int reason) {
    mix_actor_reason(self, reason);
    if (!self->exiting) {
        self->exiting = true;
        self->exit_reason = reason;
    }
}

/* Does one thing; what receive shall return so far. */
static int act(struct mix_actor *self, weft_ctx *ctx, int result) {
    struct mix *mix = self->mix;
    uint32_t what = draw_weighted(mix, mix->profile.weights, mix->profile.weight_sum);
    switch ((enum mix_act)what) {
    case MIX_ACT_SEND:
        act_send(self, ctx);
        break;
    case MIX_ACT_CALL:
        act_call(self, ctx);
        break;
    case MIX_ACT_CALL_CANCEL:
        act_call_cancel(self, ctx);
        break;
    case MIX_ACT_TIMER:
        (void)timer_start(self, ctx, MIX_TIMER_PLAIN);
        break;
    case MIX_ACT_REPEAT:
        (void)timer_start(self, ctx, MIX_TIMER_REPEAT);
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
        actor_exiting(self, reason);
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

static int actor_acts(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    int result = WEFT_CONTINUE;
    uint64_t count = mix_below(mix, (uint64_t)mix->profile.acts_per_turn + 1);
    for (uint64_t i = 0; i < count && mix->profile.budget > 0 && !mix->stopping; i++) {
        mix->profile.budget--;
        result = act(self, ctx, result);
    }
    if (result != WEFT_CONTINUE) {
        actor_exiting(self, result == WEFT_STOP ? 0 : result);
    }
    return result;
}

/* ---- callbacks ----------------------------------------------------------------------------- */

/* The record of the actor whose callback begins, or NULL when the state is not its own. */
static struct mix_actor *actor_enter(weft_ctx *ctx, struct mix_state *state) {
    struct mix_actor *self = state->record;
    if (self == NULL) {
        return NULL;
    }
    struct mix *mix = self->mix;
    if (self->inside) {
        mix_fail(mix, "actor %u runs twice at once", self->number);
    }
    if (self->gone || self->state != state || weft_state(ctx) != state ||
        state->number != self->number || !weft_pid_equal(weft_self(ctx), self->pid)) {
        mix_fail(mix, "actor %u: gone %d, or not its own state or pid", self->number, self->gone);
    }
    if (weft_now_ns(ctx) > weft_sim_now_ns(mix->sim)) {
        mix_fail(mix, "the clock of actor %u is ahead", self->number);
    }
    self->inside = true;
    return self;
}

static void actor_cleanup(void *arg) {
    struct mix_actor *self = arg;
    if (self->gone || self->inside) {
        mix_fail(self->mix, "cleanup of actor %u: gone %d, inside %d", self->number, self->gone,
                 self->inside);
    }
    self->gone = true;
}

static int actor_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct mix_state *own = state;
    struct spawn_arg given;
    if (arg_size != sizeof(given)) {
        return -EINVAL;
    }
    memcpy(&given, arg, sizeof(given));
    struct mix_actor *self = &given.mix->actors[given.number];
    if (own->zero != 0 || own->record != NULL || own->number != 0 || self->state != NULL) {
        mix_fail(given.mix, "actor %u: state is not zero, or init runs twice", given.number);
    }
    own->zero = UINT64_MAX;
    own->record = self;
    own->number = self->number;
    self->state = state;
    self->spawned = true;
    if (weft_pid_is_none(self->pid)) {
        self->pid = weft_self(ctx);
    }
    (void)actor_enter(ctx, own);
    if (!weft_pid_equal(weft_parent(ctx), given.mix->actors[self->parent].pid) ||
        weft_current(ctx) != NULL || weft_runtime_of(ctx) != given.mix->runtime) {
        mix_fail(given.mix, "actor %u: parent, message or runtime is wrong", self->number);
    }
    int status = weft_defer(ctx, actor_cleanup, self);
    if (status == -ENOMEM && mix_may_fail(given.mix)) {
        self->no_cleanup = true;
        self->inside = false;
        self->init_failed = true;
        self->ends_asked++;
        return status;
    }
    if (status != 0) {
        mix_fail(given.mix, "weft_defer answered %d", status);
    }
    if (self->kind != MIX_KIND_DEAD && mix_percent(given.mix, 25)) {
        act_send(self, ctx);
    }
    actor_point(given.mix);
    self->inside = false;
    self->init_failed = given.fail;
    self->ends_asked += given.fail;
    self->ready = !given.fail;
    return given.fail ? -EACCES : WEFT_CONTINUE;
}

static void receive_timer(struct mix_actor *self, weft_ctx *ctx, const weft_msg *msg) {
    struct mix_timer *timer = mix_timer_fired(self, msg);
    if (timer == NULL) {
        return;
    }
    if (timer->purpose == MIX_TIMER_LATER) {
        taken_answer(self, ctx);
    }
    if (timer->purpose == MIX_TIMER_REPEAT && (timer->ticks == 4 || mix_percent(self->mix, 20))) {
        timer_cancel(self, ctx, timer);
    }
}

static int actor_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct mix_actor *self = actor_enter(ctx, state);
    if (self == NULL) {
        return -EINVAL;
    }
    struct mix *mix = self->mix;
    enum weft_msg_kind kind = weft_msg_kind(msg);
    if (!self->ready || self->terminated || self->exiting || weft_current(ctx) != msg) {
        mix_fail(mix, "actor %u receives: ready %d, terminated %d, exiting %d", self->number,
                 self->ready, self->terminated, self->exiting);
    }
    bool held = kind == WEFT_MSG_USER || kind == WEFT_MSG_REQUEST;
    if (self->kind == MIX_KIND_SERIAL && self->calls_open > 0 && held) {
        mix_fail(mix, "serial actor %u got a message while %u calls are open", self->number,
                 self->calls_open);
    }
    actor_point(mix);
    switch (kind) {
    case WEFT_MSG_USER:
        mix_message_received(self, ctx, msg);
        if (mix_percent(mix, 5) && message_forward(self, ctx, msg)) {
            msg = NULL;
        }
        break;
    case WEFT_MSG_REQUEST:
        mix_message_received(self, ctx, msg);
        request_handle(self, ctx, msg);
        break;
    case WEFT_MSG_REPLY:
        mix_reply_received(self, weft_msg_token(msg), weft_msg_status(msg), msg);
        break;
    case WEFT_MSG_TIMER:
        receive_timer(self, ctx, msg);
        break;
    case WEFT_MSG_READY:
        mix_ready_received(self, ctx, msg);
        break;
    case WEFT_MSG_DONE:
        mix_job_done(self, msg);
        break;
    case WEFT_MSG_DEAD:
        mix_message_dead(mix, msg);
        break;
    }
    int result = self->kind == MIX_KIND_DEAD ? WEFT_CONTINUE : actor_acts(self, ctx);
    actor_point(mix);
    self->inside = false;
    return result;
}

static bool terminate_reason_right(struct mix_actor *self, int reason) {
    if (self->exiting) {
        return reason == self->exit_reason;
    }
    if (self->mix->stopping && reason == WEFT_E_SHUTDOWN) {
        return true;
    }
    if (reason == -ENOMEM && mix_may_fail(self->mix)) {
        self->ends_asked++; /* no memory for the alarm of a call or a repeating timer */
        return true;
    }
    for (uint32_t i = 0; i < self->reason_count; i++) {
        if (self->reasons[i] == reason) {
            return true;
        }
    }
    return false;
}

static void actor_terminate(weft_ctx *ctx, void *state, int reason) {
    struct mix_actor *self = actor_enter(ctx, state);
    if (self == NULL) {
        return;
    }
    struct mix *mix = self->mix;
    if (self->terminated || !self->ready || !terminate_reason_right(self, reason)) {
        mix_fail(mix, "actor %u terminates: ready %d, terminated %d, reason %d", self->number,
                 self->ready, self->terminated, reason);
    }
    self->terminated = true;
    if (mix->profile.budget > 0 && self->kind != MIX_KIND_DEAD && mix_percent(mix, 25)) {
        act_send(self, ctx);
    }
    actor_point(mix);
    self->inside = false;
}

int mix_types_register(struct mix *mix) {
    static const char *const names[MIX_KINDS] = {"plain",    "reject", "drop-new",
                                                 "drop-old", "serial", "dead"};
    static const uint32_t policies[MIX_KINDS] = {
        [MIX_KIND_REJECT] = WEFT_MAILBOX_REJECT,
        [MIX_KIND_DROP_NEW] = WEFT_MAILBOX_DROP_NEW,
        [MIX_KIND_DROP_OLD] = WEFT_MAILBOX_DROP_OLD,
    };
    for (uint32_t kind = 0; kind < MIX_KINDS; kind++) {
        bool bounded =
            kind == MIX_KIND_REJECT || kind == MIX_KIND_DROP_NEW || kind == MIX_KIND_DROP_OLD;
        weft_type_def def = {
            .struct_size = WEFT_TYPE_DEF_INIT,
            .name = names[kind],
            .state_size = sizeof(struct mix_state) + kind * 40,
            .init = actor_init,
            .receive = actor_receive,
            .terminate = actor_terminate,
            .mailbox_max = bounded ? mix->profile.mailbox_max : WEFT_MAILBOX_UNBOUNDED,
            .mailbox_policy = policies[kind],
            .flags = kind == MIX_KIND_SERIAL ? WEFT_TYPE_SERIAL : 0,
        };
        int status = weft_type_register(mix->runtime, &def, &mix->types[kind]);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}
