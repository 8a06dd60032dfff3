/* SPDX-License-Identifier: MIT
 *
 * The mix's ledger: every message, call, timer, job and actor, and the rules they must keep. Called
 * from actors' callbacks and from the test between steps, all on the simulator's thread. A record
 * is made before the operation it describes, because with nested steps the other side may see the
 * message before its send has returned.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mix.h"

void mix_fail(struct mix *mix, const char *format, ...) {
    if (mix->failed) {
        return;
    }
    mix->failed = true;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(mix->text, sizeof(mix->text), format, list);
    va_end(list);
}

uint64_t mix_below(struct mix *mix, uint64_t bound) {
    return bound == 0 ? 0 : (weft_sim_random(mix->sim) >> 11) % bound;
}

bool mix_percent(struct mix *mix, uint32_t percent) {
    return mix_below(mix, 100) < percent;
}

uint64_t mix_magnitude(struct mix *mix, uint32_t bits) {
    return 1 + mix_below(mix, UINT64_C(1) << mix_below(mix, (uint64_t)bits + 1));
}

/* ---- actors -------------------------------------------------------------------------------- */

struct mix_actor *mix_actor_new(struct mix *mix, uint32_t parent, enum mix_kind kind) {
    if (mix->actor_count == MIX_ACTORS) {
        return NULL;
    }
    struct mix_actor *actor = &mix->actors[mix->actor_count];
    actor->mix = mix;
    actor->number = mix->actor_count++;
    actor->parent = parent;
    actor->kind = kind;
    return actor;
}

void mix_actor_reason(struct mix_actor *actor, int reason) {
    actor->ends_asked++;
    for (uint32_t i = 0; i < actor->reason_count; i++) {
        if (actor->reasons[i] == reason) {
            return;
        }
    }
    if (actor->reason_count < MIX_REASONS) {
        actor->reasons[actor->reason_count++] = reason;
    }
}

bool mix_actor_asked(const struct mix_actor *actor) {
    return actor->ends_asked > 0;
}

void mix_actor_kill(struct mix_actor *actor) {
    actor->ends_asked++;
    actor->kill_asked = true;
}

void mix_end_check(struct mix_actor *target, uint32_t asked_before, bool gone_before, int status) {
    bool others = asked_before > 0 || target->ends_asked > asked_before + 1;
    bool no_memory = status == -ENOMEM && mix_may_fail(target->mix);
    if ((status == 0 && gone_before) || (status != 0 && status != WEFT_E_NOPROC && !no_memory) ||
        (status == WEFT_E_NOPROC && !others && !target->mix->stopping &&
         !mix_may_fail(target->mix))) {
        mix_fail(target->mix, "ending actor %u, gone %d, answered %d (%s)", target->number,
                 gone_before, status, weft_strerror(status));
    }
}

bool mix_actor_lives(const struct mix_actor *actor) {
    return actor->ready && !actor->gone;
}

/* ---- messages ------------------------------------------------------------------------------ */

uint32_t mix_message_new(struct mix *mix, uint32_t from, uint32_t to,
                         struct mix_payload *ret_payload) {
    if (mix->message_count == MIX_MESSAGES) {
        return 0;
    }
    uint32_t number = mix->message_count++;
    struct mix_message *message = &mix->messages[number];
    message->from = from;
    message->to = to;
    enum mix_kind kind = mix->actors[to].kind;
    message->lossy = kind == MIX_KIND_DROP_NEW || kind == MIX_KIND_DROP_OLD;
    message->stale = mix->actors[to].gone;
    *ret_payload = (struct mix_payload){.magic = MIX_PAYLOAD_MAGIC,
                                        .number = number,
                                        .from = from,
                                        .to = to,
                                        .sequence = ++mix->sent[from][to]};
    return number;
}

void mix_message_sent(struct mix *mix, uint32_t number, int status, bool taken) {
    struct mix_message *message = &mix->messages[number];
    struct mix_actor *target = &mix->actors[message->to];
    if (status == 0) {
        message->accepted = true;
        if (message->stale) {
            mix_fail(mix, "actor %u was gone and message %u was accepted", message->to, number);
        }
        return;
    }
    message->refused = true;
    message->taken_anyway = taken;
    if (message->received != 0 || (message->dead != 0 && !taken)) {
        mix_fail(mix, "message %u arrived although its send answered %d", number, status);
    }
    bool to_itself = message->call != 0 && message->from == message->to &&
                     target->kind == MIX_KIND_SERIAL && status == -EDEADLK;
    if (!to_itself) {
        mix_refusal_check(mix, message->from, message->to, status);
    }
}

void mix_refusal_check(struct mix *mix, uint32_t from, uint32_t to, int status) {
    struct mix_actor *target = &mix->actors[to];
    bool may_be_full = target->kind == MIX_KIND_REJECT || target->kind == MIX_KIND_DROP_OLD;
    if (status == -EBUSY && may_be_full) {
        mix->busy[from][to]++;
        mix->ready_owed[from][to] = true;
        return;
    }
    if (status == -EBUSY && target->kind == MIX_KIND_DROP_NEW) {
        return; /* a call: dropping it would leave its caller waiting */
    }
    if (status == WEFT_E_NOPROC &&
        (mix_actor_asked(target) || mix->stopping || mix_may_fail(mix))) {
        return;
    }
    if (status == WEFT_E_SHUTDOWN && mix->stopping) {
        return;
    }
    if (status == -ENOMEM && mix_may_fail(mix)) {
        return;
    }
    mix_fail(mix, "a send from %u to %u answered %d (%s)", from, to, status, weft_strerror(status));
}

bool mix_payload_read(struct mix *mix, const weft_msg *msg, struct mix_payload *ret_payload) {
    const unsigned char *bytes = weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    struct mix_payload payload = {0};
    memcpy(&payload, bytes, size < sizeof(payload) ? size : sizeof(payload));
    if (size < sizeof(payload) || payload.magic != MIX_PAYLOAD_MAGIC ||
        payload.number >= mix->message_count || payload.from >= mix->actor_count ||
        payload.to >= mix->actor_count || payload.call >= mix->call_count) {
        mix_fail(mix, "a message of %zu bytes, kind %d, has a foreign payload", size,
                 (int)weft_msg_kind(msg));
        return false;
    }
    for (size_t i = sizeof(payload); i < size; i++) {
        if (bytes[i] != (unsigned char)payload.number) {
            mix_fail(mix, "message %u is damaged at byte %zu", payload.number, i);
            return false;
        }
    }
    *ret_payload = payload;
    return true;
}

void mix_sequence_check(struct mix_actor *self, const struct mix_payload *payload, bool reply) {
    if (payload->sequence == 0 || payload->to != self->number) {
        return;
    }
    /* A serial actor holds user messages back while replies pass. */
    uint32_t lane = reply && self->kind == MIX_KIND_SERIAL;
    uint32_t *seen = &self->mix->seen[lane][payload->from][self->number];
    if (payload->sequence <= *seen) {
        mix_fail(self->mix, "order: from %u to %u came %u after %u", payload->from, self->number,
                 payload->sequence, *seen);
    }
    *seen = payload->sequence;
}

void mix_message_received(struct mix_actor *self, weft_ctx *ctx, const weft_msg *msg) {
    struct mix *mix = self->mix;
    struct mix_payload payload;
    if (!mix_payload_read(mix, msg, &payload)) {
        return;
    }
    struct mix_message *message = &mix->messages[payload.number];
    message->received++;
    if (payload.to != self->number && message->forwards == 0) {
        mix_fail(mix, "message %u for actor %u reached actor %u", payload.number, payload.to,
                 self->number);
    }
    if (message->received > 1 + message->forwards || message->refused) {
        mix_fail(mix, "message %u was received %u times, forwarded %u times%s", payload.number,
                 message->received, message->forwards, message->refused ? ", refused" : "");
    }
    if (message->dead != 0) {
        mix_fail(mix, "message %u was a dead letter and is received", payload.number);
    }
    if (message->delayed && weft_sim_now_ns(mix->sim) < message->due_ns) {
        mix_fail(mix, "message %u came %llu ns early", payload.number,
                 (unsigned long long)(message->due_ns - weft_sim_now_ns(mix->sim)));
    }
    weft_pid sender = weft_sender(ctx, msg);
    if (message->forwards == 0 && !weft_pid_equal(sender, mix->actors[payload.from].pid)) {
        mix_fail(mix, "message %u from %u has the sender %u.%u", payload.number, payload.from,
                 sender.slot, sender.gen);
    }
    if (message->forwards == 0) {
        mix_sequence_check(self, &payload, false);
    }
}

void mix_message_dead(struct mix *mix, const weft_msg *msg) {
    if (weft_msg_tag(msg) == MIX_TAG_REPLY) {
        return; /* an answer nobody waited for */
    }
    struct mix_payload payload;
    if (!mix_payload_read(mix, msg, &payload)) {
        return;
    }
    struct mix_message *message = &mix->messages[payload.number];
    message->dead++;
    if (message->received > message->forwards) {
        mix_fail(mix, "message %u was received and is a dead letter", payload.number);
    }
    if (message->dead > 1) {
        mix_fail(mix, "message %u is a dead letter twice", payload.number);
    }
    if (weft_msg_status(msg) >= 0) {
        mix_fail(mix, "dead letter %u does not say why", payload.number);
    }
}

void mix_ready_received(struct mix_actor *self, weft_ctx *ctx, const weft_msg *msg) {
    struct mix *mix = self->mix;
    weft_pid sender = weft_sender(ctx, msg);
    for (uint32_t i = 1; i < mix->actor_count; i++) {
        if (!weft_pid_equal(mix->actors[i].pid, sender) || weft_pid_is_none(sender)) {
            continue;
        }
        mix->ready_owed[self->number][i] = false;
        if (++mix->readies[self->number][i] > mix->busy[self->number][i]) {
            mix_fail(mix, "actor %u got READY number %u of %u after only %u times -EBUSY",
                     self->number, mix->readies[self->number][i], i, mix->busy[self->number][i]);
        }
        return;
    }
    mix_fail(mix, "READY of nobody");
}

/* ---- calls --------------------------------------------------------------------------------- */

static bool reply_status_allowed(const struct mix *mix, const struct mix_call *call, int status) {
    const struct mix_message *message = &mix->messages[call->message];
    const struct mix_actor *target = &mix->actors[message->to];
    bool gone =
        mix_actor_asked(target) || message->forwards > 0 || mix->stopping || mix_may_fail(mix);
    bool full = target->kind == MIX_KIND_DROP_NEW || target->kind == MIX_KIND_DROP_OLD ||
                message->forwards > 0;
    switch (status) {
    case 0:
    case -EDOM: /* what the callee gave */
    case WEFT_E_NOREPLY:
        return message->received > 0;
    case -ETIMEDOUT:
        return call->timeout_ns != WEFT_TIMEOUT_NEVER &&
               weft_sim_now_ns(mix->sim) - call->start_ns >= call->timeout_ns;
    case WEFT_E_NOPROC:
        return gone;
    case WEFT_E_OVERLOAD:
    case -EBUSY:
        return full;
    case WEFT_E_SHUTDOWN:
        return mix->stopping;
    case -EDEADLK: /* a circle of serial actors, one of which held the request back */
        return message->forwards > 0 || (target->kind == MIX_KIND_SERIAL && message->received == 0);
    case -ENOMEM:
        return mix_may_fail(mix);
    default:
        return false;
    }
}

void mix_reply_received(struct mix_actor *self, uint64_t token, int status, const weft_msg *msg) {
    struct mix *mix = self->mix;
    if (token == 0 || token >= mix->call_count) {
        mix_fail(mix, "a reply has the unknown token %llu", (unsigned long long)token);
        return;
    }
    struct mix_call *call = &mix->calls[token];
    if (call->caller != self->number || call->stage != MIX_OPEN) {
        mix_fail(mix, "reply to call %llu of actor %u, stage %d, reached actor %u",
                 (unsigned long long)token, call->caller, (int)call->stage, self->number);
        return;
    }
    call->stage = MIX_DONE;
    self->calls_open--;
    if (!reply_status_allowed(mix, call, status)) {
        mix_fail(mix, "call %llu of %u to %u answered %d (%s)", (unsigned long long)token,
                 self->number, mix->messages[call->message].to, status, weft_strerror(status));
        return;
    }
    if (status != 0) {
        return;
    }
    struct mix_payload payload;
    if (!mix_payload_read(mix, msg, &payload)) {
        return;
    }
    if (payload.call != token || weft_msg_tag(msg) != MIX_TAG_REPLY) {
        mix_fail(mix, "call %llu was answered with the reply to %u", (unsigned long long)token,
                 payload.call);
    }
    if (payload.number == 0) {
        mix_sequence_check(self, &payload, true);
    }
}

/* ---- timers and jobs ----------------------------------------------------------------------- */

struct mix_timer *mix_timer_fired(struct mix_actor *self, const weft_msg *msg) {
    struct mix *mix = self->mix;
    uint64_t token = weft_msg_token(msg);
    if (token == 0 || token >= mix->timer_count || weft_msg_tag(msg) != MIX_TAG_TIMER) {
        mix_fail(mix, "a timer has the unknown token %llu", (unsigned long long)token);
        return NULL;
    }
    struct mix_timer *timer = &mix->timers[token];
    if (timer->owner != self->number || timer->stage != MIX_OPEN) {
        mix_fail(mix, "timer %llu of actor %u, %s, fired at actor %u", (unsigned long long)token,
                 timer->owner, timer->stage == MIX_CANCELLED ? "cancelled" : "over", self->number);
        return NULL;
    }
    timer->ticks++;
    uint64_t due_ns = timer->start_ns + timer->delay_ns * timer->ticks;
    if (weft_sim_now_ns(mix->sim) < due_ns) {
        mix_fail(mix, "timer %llu fired %llu ns early", (unsigned long long)token,
                 (unsigned long long)(due_ns - weft_sim_now_ns(mix->sim)));
    }
    if (timer->purpose != MIX_TIMER_REPEAT) {
        timer->stage = MIX_DONE;
    }
    return timer;
}

void mix_job_done(struct mix_actor *self, const weft_msg *msg) {
    struct mix *mix = self->mix;
    uint64_t token = weft_msg_token(msg);
    if (token == 0 || token >= mix->job_count) {
        mix_fail(mix, "DONE has the unknown token %llu", (unsigned long long)token);
        return;
    }
    struct mix_job *job = &mix->jobs[token];
    bool right = job->ran == 1 && weft_msg_status(msg) == (int)token;
    bool refused = job->ran == 0 && weft_msg_status(msg) == WEFT_E_SHUTDOWN && mix->stopping;
    if (job->owner != self->number || job->stage != MIX_OPEN || (!right && !refused)) {
        mix_fail(mix, "job %llu of actor %u: stage %d, ran %u, status %d, told to %u",
                 (unsigned long long)token, job->owner, (int)job->stage, job->ran,
                 weft_msg_status(msg), self->number);
    }
    job->stage = MIX_DONE;
}

/* ---- the rules at the end ------------------------------------------------------------------ */

static bool actor_lives(const struct mix *mix, uint32_t number) {
    return number == MIX_OUTSIDE || mix_actor_lives(&mix->actors[number]);
}

/* A request that did not run is answered instead, which quiet_calls sees to. */
static void quiet_messages(struct mix *mix, uint64_t *ret_lost) {
    for (uint32_t i = 1; i < mix->message_count; i++) {
        const struct mix_message *message = &mix->messages[i];
        uint32_t expected = (message->accepted || message->taken_anyway) + message->forwards;
        uint32_t arrived = message->received + message->dead;
        if (arrived == expected) {
            continue;
        }
        bool excused = message->lossy || message->delayed || message->call != 0 ||
                       mix_may_fail(mix); /* a dead letter needs memory */
        *ret_lost += message->lossy && message->accepted && message->call == 0;
        if (arrived > expected + message->delayed || !excused) {
            mix_fail(mix,
                     "lost: message %u from %u to %u, accepted %d, received %u, dead %u, "
                     "forwarded %u",
                     i, message->from, message->to, message->accepted, message->received,
                     message->dead, message->forwards);
        }
    }
}

static void quiet_calls(struct mix *mix) {
    for (uint32_t i = 1; i < mix->call_count; i++) {
        const struct mix_call *call = &mix->calls[i];
        if (call->stage == MIX_OPEN && actor_lives(mix, call->caller)) {
            mix_fail(mix, "call %u of actor %u to actor %u got no reply", i, call->caller,
                     mix->messages[call->message].to);
        }
    }
}

static void quiet_timers(struct mix *mix) {
    for (uint32_t i = 1; i < mix->timer_count; i++) {
        const struct mix_timer *timer = &mix->timers[i];
        if (timer->stage != MIX_OPEN || !actor_lives(mix, timer->owner)) {
            continue;
        }
        const struct mix_message *message = &mix->messages[timer->message];
        if (timer->purpose != MIX_TIMER_AFTER) {
            mix_fail(mix, "timer %u of actor %u never fired", i, timer->owner);
        } else if (actor_lives(mix, message->to) &&
                   mix->actors[message->to].kind == MIX_KIND_PLAIN && message->received == 0) {
            mix_fail(mix, "delayed message %u from %u to %u never came", timer->message,
                     timer->owner, message->to);
        }
    }
}

static void quiet_actors(struct mix *mix) {
    for (uint32_t i = 1; i < mix->actor_count; i++) {
        const struct mix_actor *actor = &mix->actors[i];
        bool asked = mix_actor_asked(actor);
        if (actor->spawned && !actor->ready && !asked) {
            mix_fail(mix, "init of actor %u never ran", i);
        }
        if ((actor->ready || actor->init_failed) && asked && !actor->gone && !actor->no_cleanup) {
            mix_fail(mix, "actor %u was to end and lives", i);
        }
        if (actor->gone && !asked) {
            mix_fail(mix, "actor %u ended without a reason", i);
        }
        for (uint32_t k = 1; k < mix->actor_count; k++) {
            if (mix->ready_owed[i][k] && actor_lives(mix, i) && actor_lives(mix, k)) {
                mix_fail(mix, "actor %u got no READY of actor %u", i, k);
            }
        }
    }
    for (uint32_t i = 1; i < mix->job_count; i++) {
        const struct mix_job *job = &mix->jobs[i];
        if (job->stage == MIX_OPEN && (job->ran != 1 || actor_lives(mix, job->owner))) {
            mix_fail(mix, "job %u of actor %u ran %u times and is not done", i, job->owner,
                     job->ran);
        }
    }
}

static void quiet_stats(struct mix *mix, uint64_t lost) {
    weft_stats stats = {.struct_size = sizeof(stats)};
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    if (weft_stats_read(mix->runtime, WEFT_STATS_ALL, &stats) < 0 ||
        weft_gauges_read(mix->runtime, &gauges) < 0) {
        mix_fail(mix, "statistics cannot be read");
        return;
    }
    uint32_t alive = 0;
    for (uint32_t i = 1; i < mix->actor_count; i++) {
        alive += mix_actor_lives(&mix->actors[i]);
    }
    uint64_t ended = stats.messages_handled + stats.messages_dead + stats.messages_dropped +
                     stats.requests_expired + stats.replies_late;
    if (stats.messages_sent != ended) {
        mix_fail(
            mix, "sent %llu != handled %llu + dead %llu + dropped %llu + expired %llu + late %llu",
            (unsigned long long)stats.messages_sent, (unsigned long long)stats.messages_handled,
            (unsigned long long)stats.messages_dead, (unsigned long long)stats.messages_dropped,
            (unsigned long long)stats.requests_expired, (unsigned long long)stats.replies_late);
    }
    if (lost > stats.messages_dropped && !mix_may_fail(mix)) {
        mix_fail(mix, "%llu messages were dropped, counted %llu", (unsigned long long)lost,
                 (unsigned long long)stats.messages_dropped);
    }
    if (stats.spawns - stats.exits != gauges.actors || gauges.actors != alive) {
        mix_fail(mix, "%llu spawns, %llu exits, %llu actors counted, %u alive",
                 (unsigned long long)stats.spawns, (unsigned long long)stats.exits,
                 (unsigned long long)gauges.actors, alive);
    }
    if (gauges.timers != 0 || gauges.blocking_queued != 0) {
        mix_fail(mix, "at rest: %llu timers, %llu jobs", (unsigned long long)gauges.timers,
                 (unsigned long long)gauges.blocking_queued);
    }
}

void mix_check_quiet(struct mix *mix) {
    uint64_t lost = 0;
    quiet_actors(mix);
    quiet_messages(mix, &lost);
    quiet_calls(mix);
    quiet_timers(mix);
    quiet_stats(mix, lost);
}

void mix_check_stopped(struct mix *mix) {
    for (uint32_t i = 1; i < mix->actor_count; i++) {
        const struct mix_actor *actor = &mix->actors[i];
        if (actor->inside) {
            mix_fail(mix, "actor %u is inside a callback after the end", i);
        }
        if (actor->ready && !actor->gone) {
            mix_fail(mix, "cleanup of actor %u did not run", i);
        }
        if (actor->terminated && !actor->gone) {
            mix_fail(mix, "actor %u terminated and did not end", i);
        }
        if (actor->ready && !actor->terminated && !actor->kill_asked) {
            mix_fail(mix, "terminate of actor %u did not run", i);
        }
    }
    for (uint32_t i = 1; i < mix->job_count; i++) {
        if (mix->jobs[i].ran > 1) {
            mix_fail(mix, "job %u ran %u times", i, mix->jobs[i].ran);
        }
    }
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    if (weft_gauges_read(mix->runtime, &gauges) < 0) {
        mix_fail(mix, "gauges cannot be read");
    }
    if (gauges.actors + gauges.messages + gauges.timers + gauges.buffers + gauges.blocking_queued !=
        0) {
        mix_fail(mix, "left: %llu actors, %llu messages, %llu timers, %llu buffers, %llu jobs",
                 (unsigned long long)gauges.actors, (unsigned long long)gauges.messages,
                 (unsigned long long)gauges.timers, (unsigned long long)gauges.buffers,
                 (unsigned long long)gauges.blocking_queued);
    }
}
