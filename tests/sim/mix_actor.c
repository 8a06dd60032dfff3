/* SPDX-License-Identifier: MIT
 *
 * The callbacks of the mix's actors: check what they are given against the ledger, then do a few
 * things drawn from the seed (mix_act.c). All types share them; they differ in mailbox and flags.
 * Called by the runtime from simulated schedulers.
 */
#include <errno.h>
#include <string.h>

#include "mix.h"

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
        /* Short timeouts count from a clock read for them, which is later than the turn's. */
        if (weft_deadline(msg) < deadline_ns) {
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
    if (way < 8 && self->taken_count < MIX_TAKEN && mix_timer_start(self, ctx, MIX_TIMER_LATER)) {
        self->taken[self->taken_count++] = weft_msg_take(ctx, msg);
        if (weft_current(ctx) != NULL) {
            mix_fail(mix, "a taken message is still current");
        }
        return;
    }
    request_answer(self, ctx, &msg);
}

/* ---- one turn ------------------------------------------------------------------------------ */

static int actor_acts(struct mix_actor *self, weft_ctx *ctx) {
    struct mix *mix = self->mix;
    int result = WEFT_CONTINUE;
    uint64_t count = mix_below(mix, (uint64_t)mix->profile.acts_per_turn + 1);
    for (uint64_t i = 0; i < count && mix->profile.budget > 0 && !mix->stopping; i++) {
        mix->profile.budget--;
        result = mix_act(self, ctx, result);
    }
    if (result != WEFT_CONTINUE) {
        mix_exiting(self, result == WEFT_STOP ? 0 : result);
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
    struct mix_spawn_arg given;
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
        mix_act_send(self, ctx);
    }
    mix_point(given.mix);
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
        mix_timer_cancel(self, ctx, timer);
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
    mix_point(mix);
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
    case WEFT_MSG_IO:
        mix_fail(mix, "actor %u has no socket, and hears of one", self->number);
        break;
    case WEFT_MSG_EXIT:
    case WEFT_MSG_DOWN:
    case WEFT_MSG_UP:
        mix_fail(mix, "actor %u is tied to nobody, and hears of an end", self->number);
        break;
    }
    int result = self->kind == MIX_KIND_DEAD ? WEFT_CONTINUE : actor_acts(self, ctx);
    mix_point(mix);
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
        mix_act_send(self, ctx);
    }
    mix_point(mix);
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
