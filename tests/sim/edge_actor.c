/* SPDX-License-Identifier: MIT
 *
 * The actors of the edge: senders, which are ordinary ones, the subscriber of dead letters, and the
 * virtual actors, which end in every way there is while others write to them.
 */
#include <errno.h>
#include <string.h>

#include "edge.h"

/* Others may come in here, in the middle of a callback; the same address must not. */
static void point(struct edge *edge) {
    weft_env *env = weft_sim_env(edge->sim);
    env->point(env, EDGE_POINT + (uint32_t)edge_below(edge, 4));
}

static void enter(struct edge_address *address) {
    if (address->inside) {
        edge_fail(address->edge, "address %u runs twice at once", address->number);
    }
    address->inside = true;
    point(address->edge);
}

static void leave(struct edge_address *address) {
    point(address->edge);
    address->inside = false;
}

/* ---- sending ------------------------------------------------------------------------------- */

static struct edge_address *target_draw(struct edge *edge, uint32_t from) {
    uint32_t first = from >= EDGE_VIRTUAL ? from - EDGE_VIRTUAL + 1 : 0;
    if (first >= edge->profile.addresses) {
        return NULL;
    }
    /* Half of all goes to few of them. */
    uint64_t count = edge->profile.addresses - first;
    uint64_t range = count > 4 && edge_percent(edge, 50) ? 4 : count;
    return &edge->addresses[first + edge_below(edge, range)];
}

/* Fills a request; what it points to lies in bytes and arg. */
static weft_vrequest request_draw(struct edge *edge, const struct edge_payload *payload,
                                  unsigned char *bytes, struct edge_arg *arg) {
    struct edge_message *message = &edge->messages[payload->number];
    const struct edge_address *address = &edge->addresses[payload->address];
    size_t size = sizeof(*payload) + edge_magnitude(edge, 8) - 1;
    memset(bytes, (int)(unsigned char)payload->number, size);
    memcpy(bytes, payload, sizeof(*payload));
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = edge->capabilities[address->capability],
                             .type = edge->types[address->kind],
                             .id = address->id,
                             .id_size = address->id_size,
                             .tag = EDGE_TAG,
                             .payload = bytes,
                             .payload_size = size,
                             .timeout_ns = WEFT_TIMEOUT_NEVER};
    if (edge_percent(edge, 10)) {
        request.flags = WEFT_ONLY_IF_ACTIVE;
    }
    if (edge_percent(edge, edge->profile.arg_percent)) {
        *arg = (struct edge_arg){EDGE_ARG_MAGIC, payload->number, payload->address};
        request.init_arg = arg;
        request.init_arg_size = sizeof(*arg);
        message->brought = true;
    }
    if (payload->is_call != 0 && edge_percent(edge, 3)) {
        request.timeout_ns = edge_magnitude(edge, edge->profile.delay_bits);
        message->hasty = true;
    }
    return request;
}

static int send_request(struct edge *edge, weft_ctx *ctx, const weft_vrequest *request,
                        const struct edge_payload *payload) {
    weft_pid *pid = &edge->addresses[payload->address].pid_last;
    if (ctx != NULL) {
        return payload->is_call != 0 ? weft_vcall(ctx, request, payload->number, pid)
                                     : weft_vcast(ctx, request, pid);
    }
    return payload->is_call != 0 ? weft_cq_vcall(edge->queue, request, payload->number, pid)
                                 : weft_runtime_vcast(edge->runtime, request, pid);
}

void edge_send(struct edge *edge, weft_ctx *ctx, uint32_t from, bool is_call) {
    struct edge_address *address = target_draw(edge, from);
    if (edge->budget == 0 || address == NULL) {
        return;
    }
    uint32_t number = edge_message_new(edge, from, address, is_call);
    if (number == 0) {
        edge->budget = 0;
        return;
    }
    edge->budget--;
    struct edge_payload payload = {EDGE_PAYLOAD_MAGIC, number, from, address->number, 0, is_call};
    payload.sequence = ++edge->sent[from][address->number];
    unsigned char bytes[sizeof(payload) + 256];
    struct edge_arg arg;
    weft_vrequest request = request_draw(edge, &payload, bytes, &arg);
    if (is_call && from >= EDGE_VIRTUAL) { /* before the answer can come, and undone if it failed */
        struct edge_address *self = &edge->addresses[from - EDGE_VIRTUAL];
        self->calls[self->calls_open++] = number;
    }
    int status = send_request(edge, ctx, &request, &payload);
    if (is_call && from >= EDGE_VIRTUAL && status != 0) {
        edge->addresses[from - EDGE_VIRTUAL].calls_open--;
    }
    if (is_call && from == EDGE_CALLER && status == 0) {
        edge->queue_calls++;
    }
    edge_message_sent(edge, number, status, request.flags);
}

/* ---- senders ------------------------------------------------------------------------------- */

static int sender_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    memcpy(state, arg, arg_size);
    return weft_timer_start(ctx, 1, EDGE_TAG_TIMER, 0, NULL);
}

static int sender_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct edge_sender *self = state;
    struct edge *edge = self->edge;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        edge_message_answered(edge, (uint32_t)weft_msg_token(msg), weft_msg_status(msg), msg);
        return WEFT_CONTINUE;
    }
    if (weft_msg_kind(msg) == WEFT_MSG_READY) {
        return WEFT_CONTINUE;
    }
    for (uint64_t count = edge_magnitude(edge, 3); count > 0 && !edge->failed; count--) {
        edge_send(edge, ctx, self->number, edge_percent(edge, edge->profile.call_percent));
    }
    if (edge->budget > 0 && !edge->failed) {
        uint64_t delay_ns = edge_magnitude(edge, edge->profile.delay_bits);
        int status = edge_percent(edge, 50)
                         ? weft_send(ctx, weft_self(ctx), EDGE_TAG_GO, NULL, 0)
                         : weft_timer_start(ctx, delay_ns, EDGE_TAG_TIMER, 0, NULL);
        if (status != 0) {
            edge_fail(edge, "a sender cannot go on: %d", status);
        }
    }
    return WEFT_CONTINUE;
}

static int dead_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct edge *edge = weft_type_cookie(weft_type_of(ctx));
    (void)state;
    if (weft_msg_kind(msg) == WEFT_MSG_DEAD && weft_msg_tag(msg) == EDGE_TAG) {
        edge_message_dead(edge, msg);
    }
    return WEFT_CONTINUE;
}

int edge_senders_spawn(struct edge *edge) {
    const weft_type *type = weft_type_find(edge->runtime, "dead");
    weft_pid dead;
    int status = weft_runtime_spawn(edge->runtime, type, NULL, &dead);
    status = status < 0 ? status : weft_dead_letters(edge->runtime, dead);
    type = weft_type_find(edge->runtime, "sender");
    for (uint32_t i = 0; i < edge->profile.senders && status == 0; i++) {
        struct edge_sender sender = {.edge = edge, .number = i};
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &sender, .arg_size = sizeof(sender)};
        status = weft_runtime_spawn(edge->runtime, type, &options, &edge->sender_pids[i]);
    }
    return status;
}

/* ---- virtual actors: begin and end ----------------------------------------------------------- */

static struct edge_address *address_self(struct edge *edge, weft_ctx *ctx) {
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int status = weft_virtual_self(ctx, &entry);
    struct edge_address *address = status == 0 ? edge_address_find(edge, &entry) : NULL;
    if (address == NULL) {
        edge_fail(edge, "an actor has no address: %d", status);
    }
    return address;
}

static void cleanup(void *arg) {
    struct edge_address *address = arg;
    address->violent++; /* it may have been killed: then terminate did not count */
    edge_end(address);
}

/* The first callback of an activation. NULL: the ledger has failed. */
static struct edge_address *virtual_begin(weft_ctx *ctx, struct edge_state *state) {
    struct edge *edge = weft_type_cookie(weft_type_of(ctx));
    struct edge_address *address = address_self(edge, ctx);
    if (address == NULL) {
        return NULL;
    }
    if (state->zero != 0 || state->address != NULL || state->counter != 0) {
        edge_fail(edge, "address %u begins with a state that is not zero", address->number);
    }
    edge_begin(address, weft_self(ctx));
    state->address = address;
    if (edge->profile.deferred && weft_defer(ctx, cleanup, address) != 0) {
        edge_fail(edge, "no cleanup");
    }
    return address;
}

/* init or restore answers this. */
static int begin_result(struct edge_address *address) {
    struct edge *edge = address->edge;
    if (!edge_percent(edge, address->fail_percent)) {
        return WEFT_CONTINUE;
    }
    edge_crash_seen(address, weft_sim_now_ns(edge->sim), false);
    address->violent++;
    address->stops = true;
    if (!edge->profile.deferred) {
        edge_end(address);
    }
    return EDGE_INIT_FAILS;
}

static int virtual_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct edge_address *address = virtual_begin(ctx, state);
    if (address == NULL) {
        return EDGE_CRASH;
    }
    enter(address);
    edge_init_checked(address, arg, arg_size);
    int result = begin_result(address);
    struct edge_arg given = {0};
    if (result == WEFT_CONTINUE && arg_size == sizeof(given)) {
        memcpy(&given, arg, sizeof(given));
        address->arg_known = given.number;
    }
    leave(address);
    return result;
}

static int virtual_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                           uint32_t version) {
    struct edge_address *address = virtual_begin(ctx, state);
    struct edge_saved saved = {0};
    if (address == NULL) {
        return EDGE_CRASH;
    }
    enter(address);
    if (size != sizeof(saved) || version != (uint32_t)address->kind) {
        edge_fail(address->edge, "restore of %zu bytes, version %u", size, version);
    } else {
        memcpy(&saved, data, sizeof(saved));
        edge_restore_checked(address, &saved);
        ((struct edge_state *)state)->counter = saved.counter;
    }
    int result = begin_result(address);
    leave(address);
    return result;
}

static int virtual_save(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    struct edge_state *self = state;
    struct edge_address *address = self->address;
    enter(address);
    if (self->counter > 0) {
        struct edge_saved saved = {EDGE_SAVED_MAGIC, address->number, self->counter};
        int status = weft_buf_create(weft_runtime_of(ctx), sizeof(saved), ret_saved);
        if (status != 0) {
            edge_fail(address->edge, "no buffer: %d", status);
        } else {
            memcpy(weft_buf_data(*ret_saved), &saved, sizeof(saved));
        }
    }
    leave(address);
    return 0;
}

static void virtual_terminate(weft_ctx *ctx, void *state, int reason) {
    struct edge_state *self = state;
    struct edge_address *address = self->address;
    if (address == NULL) { /* a bare one that never handled a message */
        address = address_self(weft_type_cookie(weft_type_of(ctx)), ctx);
        if (address != NULL) {
            address->violent += reason != 0 ? 1 : 0;
            if (reason == 0) {
                edge_crash_ends_well(address, false);
            }
        }
        return;
    }
    enter(address);
    edge_terminated(address, self->counter, reason);
    leave(address);
    if (!address->edge->profile.deferred) {
        edge_end(address);
    }
}

/* ---- virtual actors: messages ---------------------------------------------------------------- */

static struct edge_message *message_of(struct edge *edge, const weft_msg *msg) {
    struct edge_payload payload;
    return edge_payload_read(edge, msg, &payload);
}

/* Answers a request, in one way or another [take]. */
static void answer(struct edge_address *self, weft_ctx *ctx, weft_msg *msg) {
    struct edge *edge = self->edge;
    struct edge_message *message = message_of(edge, msg);
    uint64_t way = edge_below(edge, 20);
    if (message == NULL) {
        return;
    }
    if (way == 0) {
        message->dropped = true;
        weft_msg_release(ctx, &msg);
    } else if (way == 1) {
        message->failed = true;
        (void)weft_reply_error(ctx, &msg, EDGE_ANSWER_FAILS); /* the ledger sees what comes */
    } else {
        message->replied = true;
        (void)weft_reply(ctx, &msg, EDGE_TAG_REPLY, weft_msg_data(msg), weft_msg_size(msg));
    }
}

static void answer_held(struct edge_address *self, weft_ctx *ctx) {
    if (self->held_count > 0) {
        weft_msg *msg = self->held[--self->held_count];
        answer(self, ctx, msg);
    }
}

/* Answers now, or keeps it for later; something has to happen later then. */
static void serve(struct edge_address *self, weft_ctx *ctx, weft_msg *msg) {
    struct edge *edge = self->edge;
    bool hold = self->held_count < EDGE_HELD && edge_percent(edge, edge->profile.hold_percent);
    uint64_t delay_ns = edge_magnitude(edge, edge->profile.delay_bits);
    if (!hold || weft_timer_start(ctx, delay_ns, EDGE_TAG_TIMER, 0, NULL) != 0) {
        answer(self, ctx, msg);
        return;
    }
    struct edge_message *message = message_of(edge, msg);
    self->timers_open++;
    if (message != NULL) {
        message->kept = true;
        self->held[self->held_count++] = weft_msg_take(ctx, msg);
    }
}

static int say_stop(struct edge_address *self, int reason) {
    if (!self->stops) {
        self->stops = true;
        self->stop_reason = reason;
        self->crash_ns = weft_sim_now_ns(self->edge->sim);
        self->violent += reason != 0 ? 1 : 0;
    }
    return reason;
}

static void act_forget(struct edge_address *self, weft_ctx *ctx) {
    if (self->calls_open > 0 || self->stops) {
        return; /* it may take a while, in which others could end it */
    }
    self->forgets = true;
    self->clean = false;
    self->arg_known = 0;
    (void)weft_forget(ctx); /* a store that refuses leaves it as it is */
}

/* Does one thing drawn from the seed. What receive shall answer. */
static int act(struct edge_address *self, weft_ctx *ctx) {
    struct edge *edge = self->edge;
    uint64_t drawn = edge_below(edge, edge->profile.weight_sum);
    uint32_t what = 0;
    while (drawn >= edge->profile.weights[what]) {
        drawn -= edge->profile.weights[what++];
    }
    switch ((enum edge_act)what) {
    case EDGE_ACT_CAST:
        edge_send(edge, ctx, EDGE_VIRTUAL + self->number, false);
        break;
    case EDGE_ACT_CALL:
        if (self->calls_open < EDGE_CALLS) {
            edge_send(edge, ctx, EDGE_VIRTUAL + self->number, true);
        }
        break;
    case EDGE_ACT_TIMER:
        if (weft_timer_start(ctx, edge_magnitude(edge, edge->profile.delay_bits), EDGE_TAG_TIMER, 0,
                             NULL) == 0) {
            self->timers_open++;
        }
        break;
    case EDGE_ACT_STOP:
        (void)say_stop(self, 0);
        return WEFT_STOP;
    case EDGE_ACT_EXIT:
        weft_exit(ctx, say_stop(self, 0));
        break;
    case EDGE_ACT_CRASH:
        return say_stop(self, EDGE_CRASH);
    case EDGE_ACT_PASSIVATE:
        self->asked = true;
        (void)weft_passivate(ctx);
        break;
    case EDGE_ACT_FORGET:
        act_forget(self, ctx);
        break;
    case EDGE_ACT_KEEP:
        self->keep = edge_percent(edge, 30);
        (void)weft_keep_alive(ctx, self->keep);
        break;
    case EDGE_ACT_ACCOUNT:
        (void)weft_account(ctx, edge_magnitude(edge, 12));
        break;
    case EDGE_ACT_COMPLETE:
        (void)edge_store_step(edge);
        break;
    case EDGE_ACTS:
        break;
    }
    return WEFT_CONTINUE;
}

static void call_done(struct edge_address *self, weft_ctx *ctx, const weft_msg *msg) {
    uint32_t number = (uint32_t)weft_msg_token(msg);
    for (uint32_t i = 0; i < self->calls_open; i++) {
        if (self->calls[i] == number) {
            self->calls[i] = self->calls[--self->calls_open];
            edge_message_answered(self->edge, number, weft_msg_status(msg), msg);
            answer_held(self, ctx);
            return;
        }
    }
    edge_fail(self->edge, "address %u got the answer to call %u, not its own", self->number,
              number);
}

static void note_received(struct edge_address *self, weft_ctx *ctx, weft_msg *msg) {
    struct edge_message *message = edge_message_received(self, msg);
    bool request = weft_msg_kind(msg) == WEFT_MSG_REQUEST;
    if (message != NULL && message->is_call != request) {
        edge_fail(self->edge, "a call came as a cast or the other way round");
    } else if (message != NULL && request) {
        serve(self, ctx, msg);
    }
}

static int virtual_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct edge_state *state_self = state;
    struct edge_address *self = state_self->address;
    if (self == NULL) {
        self = virtual_begin(ctx, state);
        if (self == NULL) {
            return EDGE_CRASH;
        }
    }
    struct edge *edge = self->edge;
    int result = WEFT_CONTINUE;
    enter(self);
    if (!self->alive || !weft_pid_equal(self->pid, weft_self(ctx))) {
        edge_fail(edge, "address %u handles a message, alive %d", self->number, self->alive);
    }
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
    case WEFT_MSG_REQUEST:
        state_self->counter++;
        self->counter_high =
            state_self->counter > self->counter_high ? state_self->counter : self->counter_high;
        note_received(self, ctx, msg);
        break;
    case WEFT_MSG_REPLY:
        call_done(self, ctx, msg);
        break;
    case WEFT_MSG_TIMER:
        self->timers_open--;
        answer_held(self, ctx);
        break;
    default: /* READY */
        break;
    }
    for (uint32_t i = 0; i < 3 && result == WEFT_CONTINUE && !edge->failed; i++) {
        if (self->forgets || !edge_percent(edge, edge->profile.act_percent)) {
            break;
        }
        result = act(self, ctx);
    }
    leave(self);
    return result;
}

/* ---- types --------------------------------------------------------------------------------- */

static void limits_draw(struct edge *edge, weft_type_def *def) {
    def->idle_ns = edge_percent(edge, 50) ? WEFT_IDLE_NEVER : edge_magnitude(edge, 25);
    def->active_max = edge_percent(edge, 50) ? 0 : edge_magnitude(edge, 3);
    def->active_bytes_max = edge_percent(edge, 70) ? 0 : edge_magnitude(edge, 13);
    if (edge_percent(edge, 30)) {
        def->flags = WEFT_TYPE_SERIAL;
    }
    if (edge_percent(edge, 20)) {
        def->mailbox_max = (uint32_t)edge_magnitude(edge, 5);
    }
}

int edge_types_register(struct edge *edge) {
    static const char *const names[EDGE_KINDS] = {"bare", "plain", "saved", "kept"};
    const weft_type *type;
    int status = 0;
    for (uint32_t kind = 0; kind < EDGE_KINDS && status == 0; kind++) {
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = names[kind],
                             .state_size = edge_percent(edge, 30) ? EDGE_STATE_LARGE
                                                                  : sizeof(struct edge_state),
                             .init = kind == EDGE_BARE ? NULL : virtual_init,
                             .receive = virtual_receive,
                             .terminate = virtual_terminate,
                             .cookie = edge};
        if (kind >= EDGE_SAVED) {
            def.save = virtual_save;
            def.restore = virtual_restore;
            def.store = &edge->store.store;
            def.store_timeout_ns = UINT64_C(200000000);
            def.save_version = kind;
        }
        limits_draw(edge, &def);
        edge_crash_define(edge, (enum edge_kind)kind, &def);
        edge->bounded[kind] = def.mailbox_max != 0;
        edge->idles[kind] = def.idle_ns != WEFT_IDLE_NEVER;
        status = weft_type_register(edge->runtime, &def, &edge->types[kind]);
    }
    weft_type_def sender = {.struct_size = WEFT_TYPE_DEF_INIT,
                            .name = "sender",
                            .state_size = sizeof(struct edge_sender),
                            .init = sender_init,
                            .receive = sender_receive,
                            .mailbox_max = WEFT_MAILBOX_UNBOUNDED};
    weft_type_def dead = {.struct_size = WEFT_TYPE_DEF_INIT,
                          .name = "dead",
                          .receive = dead_receive,
                          .mailbox_max = WEFT_MAILBOX_UNBOUNDED,
                          .cookie = edge};
    status = status < 0 ? status : weft_type_register(edge->runtime, &sender, &type);
    return status < 0 ? status : weft_type_register(edge->runtime, &dead, &type);
}
