/* SPDX-License-Identifier: MIT
 *
 * The ledger of the edge: what was sent, which activations began and ended, what is saved. Each
 * event is checked against it when it happens, and the whole when everything is quiet.
 */
#include <errno.h>
#include <string.h>

#include "edge.h"

typedef unsigned long long number_text;

uint32_t edge_message_new(struct edge *edge, uint32_t from, struct edge_address *address,
                          bool is_call) {
    if (edge->message_count == EDGE_MESSAGES) {
        return 0;
    }
    uint32_t number = edge->message_count++;
    edge->messages[number] = (struct edge_message){
        .from = from,
        .address = address->number,
        .is_call = is_call,
        .violent = address->violent,
        .asked_ns = weft_sim_now_ns(edge->sim),
    };
    return number;
}

/* Calls that a virtual actor makes while it works for a request end with that: with its deadline,
 * or because its caller has ended. */
static bool is_for_another(const struct edge_message *message) {
    return message->is_call && message->from >= EDGE_VIRTUAL;
}

/* What a send may answer. */
static bool send_allowed(const struct edge *edge, const struct edge_message *message, int status,
                         uint32_t flags) {
    const struct edge_address *address = &edge->addresses[message->address];
    switch (status) {
    case 0:
        return true;
    case WEFT_E_INACTIVE:
        return (flags & WEFT_ONLY_IF_ACTIVE) != 0;
    case WEFT_E_NOCAPABILITY:
        return edge->unregisters[address->capability] > 0;
    case -EBUSY:
        return edge->bounded[address->kind];
    case WEFT_E_SHUTDOWN:
        return edge->stopping;
    case WEFT_E_BREAKER:
        return edge_crash_refuses(address, message->asked_ns);
    case -ECANCELED:
    case -ETIMEDOUT:
        return is_for_another(message);
    default:
        return false;
    }
}

void edge_message_sent(struct edge *edge, uint32_t number, int status, uint32_t flags) {
    struct edge_message *message = &edge->messages[number];
    const struct edge_address *address = &edge->addresses[message->address];
    message->accepted = status == 0;
    message->refused = status != 0;
    if (!send_allowed(edge, message, status, flags)) {
        edge_fail(edge, "message %u to address %u: the send answered %d (%s)", number,
                  address->number, status, weft_strerror(status));
    }
    if (status != 0 && message->received + message->dead + message->answered != 0) {
        edge_fail(edge, "message %u was refused with %d and arrived", number, status);
    }
}

struct edge_message *edge_payload_read(struct edge *edge, const weft_msg *msg,
                                       struct edge_payload *ret_payload) {
    const unsigned char *bytes = weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    if (size < sizeof(*ret_payload)) {
        edge_fail(edge, "a message of %zu bytes", size);
        return NULL;
    }
    memcpy(ret_payload, bytes, sizeof(*ret_payload));
    bool right = ret_payload->magic == EDGE_PAYLOAD_MAGIC &&
                 ret_payload->number < edge->message_count && ret_payload->from < EDGE_FROM &&
                 ret_payload->address < EDGE_ADDRESSES;
    for (size_t i = sizeof(*ret_payload); right && i < size; i++) {
        right = bytes[i] == (unsigned char)ret_payload->number;
    }
    if (!right) {
        edge_fail(edge, "a payload is not what was sent");
        return NULL;
    }
    return &edge->messages[ret_payload->number];
}

struct edge_message *edge_message_received(struct edge_address *self, const weft_msg *msg) {
    struct edge *edge = self->edge;
    struct edge_payload payload;
    struct edge_message *message = edge_payload_read(edge, msg, &payload);
    if (message == NULL) {
        return NULL;
    }
    if (payload.address != self->number) {
        edge_fail(edge, "message %u for address %u came to address %u", payload.number,
                  payload.address, self->number);
        return NULL;
    }
    if (message->refused || message->dead != 0 || message->received++ != 0) {
        edge_fail(edge, "message %u came %u times, refused %d, dead %u", payload.number,
                  message->received, message->refused, message->dead);
    }
    if (message->answered != 0 && !message->hasty && !is_for_another(message)) {
        edge_fail(edge, "message %u came after its answer", payload.number);
    }
    uint32_t *seen = &edge->seen[payload.from][payload.address];
    if (payload.sequence <= *seen) {
        edge_fail(edge, "address %u: number %u of sender %u came after %u", payload.address,
                  payload.sequence, payload.from, *seen);
    }
    *seen = payload.sequence;
    return message;
}

/* Has it had an activation that could not be loaded? */
static bool load_explains(const struct edge_address *address) {
    return address->load_failures > 0 || edge_store_overdue(address) ||
           (address->kind >= EDGE_SAVED && address->edge->load_timeouts > 0);
}

/* May the store have something else than the activations believe? */
static bool is_odd(const struct edge_address *address) {
    return address->store_odd > 0 || address->edge->save_timeouts > 0;
}

/* Has the address had an end since the message was sent that may have cost it? One that is taken
 * away while it loads ends without a callback. */
static bool end_explains(const struct edge *edge, const struct edge_message *message) {
    const struct edge_address *address = &edge->addresses[message->address];
    bool evicted = address->kind >= EDGE_SAVED && edge->unregisters[address->capability] > 0;
    return edge->stopping || evicted || address->violent > message->violent ||
           address->kills_asked > 0 || load_explains(address);
}

void edge_message_dead(struct edge *edge, const weft_msg *msg) {
    struct edge_payload payload;
    struct edge_message *message = edge_payload_read(edge, msg, &payload);
    if (message == NULL) {
        return;
    }
    if (message->is_call || message->refused || message->received != 0 || message->dead++ != 0) {
        edge_fail(edge, "message %u: dead %u times, received %u, refused %d, call %d",
                  payload.number, message->dead, message->received, message->refused,
                  message->is_call);
    }
    const struct edge_address *address = &edge->addresses[message->address];
    bool moved =
        weft_msg_status(msg) == WEFT_E_REBALANCING && edge->unregisters[address->capability] > 0;
    if (!moved && !end_explains(edge, message)) {
        edge_fail(edge, "message %u to address %u is dead (%d), nothing explains it",
                  payload.number, message->address, weft_msg_status(msg));
    }
}

/* Whether a call may have ended like that. */
static bool answer_allowed(const struct edge *edge, const struct edge_message *message,
                           int status) {
    const struct edge_address *address = &edge->addresses[message->address];
    bool violent = end_explains(edge, message);
    switch (status) {
    case 0:
        return message->received == 1 && message->replied;
    case EDGE_ANSWER_FAILS:
        return message->received == 1 && message->failed;
    case -ECANCELED:
        return is_for_another(message);
    case -ETIMEDOUT:
        return message->hasty || is_for_another(message) ||
               (load_explains(address) && message->received == 0);
    case WEFT_E_NOREPLY:
    case WEFT_E_NOPROC: /* its holder ended, normally */
        return message->received == 1 && (message->dropped || message->kept);
    case EDGE_INIT_FAILS:
        return violent && address->fail_percent > 0 && message->received == 0;
    case WEFT_E_CRASHED:
        return violent;
    case WEFT_E_KILLED:
        return address->kills_asked > 0;
    case WEFT_E_REBALANCING:
        return edge->unregisters[address->capability] > 0;
    case WEFT_E_SHUTDOWN:
        return edge->stopping;
    case -EIO: /* of the store */
        return address->load_failures > 0 && message->received == 0;
    default:
        return false;
    }
}

void edge_message_answered(struct edge *edge, uint32_t number, int status, const weft_msg *msg) {
    if (number == 0 || number >= edge->message_count || !edge->messages[number].is_call) {
        edge_fail(edge, "the answer to call %u, which nobody made", number);
        return;
    }
    struct edge_message *message = &edge->messages[number];
    if (message->answered++ != 0 || message->refused || message->abandoned) {
        edge_fail(edge, "call %u was answered %u times, refused %d", number, message->answered,
                  message->refused);
    }
    if (!answer_allowed(edge, message, status)) {
        edge_fail(edge, "call %u to address %u: %d (%s), received %u, replied %d", number,
                  message->address, status, weft_strerror(status), message->received,
                  message->replied);
    }
    struct edge_payload payload;
    if (status == 0 && (msg == NULL || edge_payload_read(edge, msg, &payload) == NULL ||
                        payload.number != number)) {
        edge_fail(edge, "call %u has the answer of another", number);
    }
}

/* ---- activations --------------------------------------------------------------------------- */

void edge_begin(struct edge_address *address, weft_pid pid) {
    struct edge *edge = address->edge;
    if (address->alive || address->inside) {
        edge_fail(edge, "address %u begins again while it lives", address->number);
    }
    edge_crash_begins(address);
    address->alive = true;
    address->begins++;
    address->pid = pid;
    address->keep = false;
    address->asked = false;
    address->stops = false;
    address->forgets = false;
    address->stop_reason = 0;
    address->timers_open = 0;
    address->calls_open = 0;
    address->held_count = 0;
    address->put_failures = 0;
}

void edge_end(struct edge_address *address) {
    if (!address->alive) {
        edge_fail(address->edge, "address %u ends twice", address->number);
    }
    for (uint32_t i = 0; i < address->calls_open; i++) {
        address->edge->messages[address->calls[i]].abandoned = true;
    }
    address->calls_open = 0;
    address->alive = false;
    address->ends++;
}

/* Is there something that explains this reason? */
static bool reason_allowed(const struct edge_address *address, int reason) {
    const struct edge *edge = address->edge;
    if (address->stops && reason == address->stop_reason) {
        return true;
    }
    switch (reason) {
    case WEFT_E_SHUTDOWN:
        return edge->stopping;
    case WEFT_E_REBALANCING:
        return edge->unregisters[address->capability] > 0;
    case WEFT_E_VERSION:
        return is_odd(address);
    case 0:
        return true;
    default:
        return false;
    }
}

/* It was passivated: it had to be idle, and its state had to be saved. */
static void passivation_check(struct edge_address *address, uint64_t counter) {
    struct edge *edge = address->edge;
    if (address->calls_open != 0 || address->timers_open != 0 || address->held_count != 0) {
        edge_fail(edge, "address %u was passivated with %u calls, %u timers, %u requests",
                  address->number, address->calls_open, address->timers_open, address->held_count);
    }
    if (address->keep && !address->asked) {
        edge_fail(edge, "address %u was passivated in spite of keep_alive", address->number);
    }
    uint64_t stored = address->stored ? address->stored_counter : 0;
    if (address->kind >= EDGE_SAVED && stored != counter) {
        edge_fail(edge, "address %u was passivated at %llu, saved is %llu", address->number,
                  (number_text)counter, (number_text)stored);
    }
}

static void forget_check(struct edge_address *address) {
    if (address->stored && !is_odd(address)) {
        edge_fail(address->edge, "address %u is forgotten and still stored", address->number);
    }
    address->arg_known = 0;
}

/* For the model of crashes. */
static void note_crash(struct edge_address *address, int reason, bool forgotten) {
    if (reason == 0) {
        edge_crash_ends_well(address, forgotten);
    } else if (address->stops && reason == address->stop_reason) {
        edge_crash_seen(address, address->crash_ns, true);
    }
}

void edge_terminated(struct edge_address *address, uint64_t counter, int reason) {
    struct edge *edge = address->edge;
    bool saves = address->kind >= EDGE_SAVED;
    bool forgotten = address->forgets && reason == 0;
    bool passivated = reason == 0 && !address->stops && !address->forgets;
    bool put_failed = address->put_failures > 0 || edge->save_timeouts > 0;
    bool leaves = reason == WEFT_E_REBALANCING || reason == WEFT_E_SHUTDOWN;
    if (!address->alive) {
        edge_fail(edge, "terminate of address %u, which is not alive", address->number);
    }
    if (!reason_allowed(address, reason)) {
        edge_fail(edge, "address %u ended with %d (%s)", address->number, reason,
                  weft_strerror(reason));
    }
    if (passivated) {
        passivation_check(address, counter);
    } else if (forgotten) {
        forget_check(address);
    } else if (reason != 0) {
        address->violent++;
    }
    note_crash(address, reason, forgotten);
    uint64_t stored = address->stored ? address->stored_counter : 0;
    if (saves && leaves && stored != counter && !put_failed && !address->stops) {
        edge_fail(edge, "address %u had to leave (%d) at %llu, saved is %llu", address->number,
                  reason, (number_text)counter, (number_text)stored);
    }
    address->clean =
        saves && (passivated || leaves) && stored == counter && (passivated || !put_failed);
    address->clean_counter = counter;
    address->counter_high = counter > address->counter_high ? counter : address->counter_high;
}

/* The argument of an activation is the one that is remembered, or one that a message brought. */
static void arg_check(struct edge_address *address, const void *arg, size_t arg_size) {
    struct edge *edge = address->edge;
    struct edge_arg seen = {0};
    if (arg_size == sizeof(seen)) {
        memcpy(&seen, arg, sizeof(seen));
    }
    bool brought = seen.magic == EDGE_ARG_MAGIC && seen.address == address->number &&
                   seen.number < edge->message_count && edge->messages[seen.number].brought;
    if (arg_size != 0 && !brought) {
        edge_fail(edge, "address %u begins with an init_arg of %zu bytes nobody gave",
                  address->number, arg_size);
    }
    if (address->arg_known != 0 && seen.number != address->arg_known) {
        edge_fail(edge, "address %u begins with init_arg %u, remembered is %u", address->number,
                  seen.number, address->arg_known);
    }
}

void edge_init_checked(struct edge_address *address, const void *arg, size_t arg_size) {
    struct edge *edge = address->edge;
    arg_check(address, arg, arg_size);
    if (address->kind < EDGE_SAVED) {
        return;
    }
    if (address->clean && address->clean_counter > 0) {
        edge_fail(edge, "address %u begins anew, saved was %llu", address->number,
                  (number_text)address->clean_counter);
    }
    if (address->stored && !is_odd(address)) {
        edge_fail(edge, "address %u begins anew, stored is %llu", address->number,
                  (number_text)address->stored_counter);
    }
    address->clean = false;
}

void edge_restore_checked(struct edge_address *address, const struct edge_saved *saved) {
    struct edge *edge = address->edge;
    if (saved->magic != EDGE_SAVED_MAGIC || saved->address != address->number) {
        edge_fail(edge, "address %u is given the state of address %u", address->number,
                  saved->address);
    }
    if (address->clean && saved->counter != address->clean_counter) {
        edge_fail(edge, "address %u goes on at %llu, it ended at %llu", address->number,
                  (number_text)saved->counter, (number_text)address->clean_counter);
    }
    if (saved->counter > address->counter_high) {
        edge_fail(edge, "address %u goes on at %llu, it never was there", address->number,
                  (number_text)saved->counter);
    }
    if (!is_odd(address) && (!address->stored || saved->counter != address->stored_counter)) {
        edge_fail(edge, "address %u goes on at %llu, stored is %llu", address->number,
                  (number_text)saved->counter, (number_text)address->stored_counter);
    }
    address->clean = false;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void check_messages(struct edge *edge) {
    for (uint32_t i = 1; i < edge->message_count && !edge->failed; i++) {
        const struct edge_message *message = &edge->messages[i];
        if (!message->accepted) {
            continue;
        }
        if (!message->is_call && message->received + message->dead != 1) {
            edge_fail(edge,
                      "at rest: message %u from %u to address %u was received %u times, "
                      "dead %u times",
                      i, message->from, message->address, message->received, message->dead);
        }
        if (message->is_call && !message->abandoned && message->answered != 1) {
            edge_fail(edge,
                      "at rest: call %u from %u to address %u was answered %u times, "
                      "received %u times",
                      i, message->from, message->address, message->answered, message->received);
        }
    }
}

/* Goes through the tables: each is listed once, and who is listed lives. */
static void check_walk(struct edge *edge, uint64_t *ret_listed) {
    bool listed[EDGE_ADDRESSES] = {false};
    weft_vcursor *cursor = NULL;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    if (weft_vcursor_create(edge->runtime, NULL, &cursor) != 0) {
        edge_fail(edge, "no cursor");
        return;
    }
    *ret_listed = 0;
    while (weft_vcursor_next(cursor, &entry) == 1) {
        struct edge_address *address = edge_address_find(edge, &entry);
        if (address == NULL || listed[address->number]) {
            edge_fail(edge, "a table lists address %u, found already",
                      address == NULL ? UINT32_MAX : address->number);
            break;
        }
        listed[address->number] = true;
        *ret_listed += 1;
        if (address->kind != EDGE_BARE &&
            (!address->alive || !weft_pid_equal(address->pid, entry.pid))) {
            edge_fail(edge, "address %u is listed, alive %d, or with another pid", address->number,
                      address->alive);
        }
        if (!edge->offered[address->capability]) {
            edge_fail(edge, "address %u is active, its capability is not offered", address->number);
        }
    }
    weft_vcursor_destroy(&cursor);
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        if (edge->addresses[i].alive && !listed[i]) {
            edge_fail(edge, "address %u lives and is not listed", i);
        }
    }
}

bool edge_is_any_kept(const struct edge *edge) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        if (edge->addresses[i].alive && edge->addresses[i].keep) {
            return true;
        }
    }
    return false;
}

void edge_check_quiet(struct edge *edge) {
    uint64_t listed = 0;
    check_messages(edge);
    check_walk(edge, &listed);
    uint64_t count = weft_virtual_count(edge->runtime, NULL);
    if (count != listed) {
        edge_fail(edge, "%llu are listed, the count is %llu", (number_text)listed,
                  (number_text)count);
    }
    edge_crash_check_quiet(edge);
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        const struct edge_address *address = &edge->addresses[i];
        weft_pid pid = weft_pid_none();
        int status =
            weft_virtual_get(edge->runtime, edge->capabilities[address->capability],
                             edge->types[address->kind], address->id, address->id_size, &pid);
        if (address->alive != (status == 0) && address->kind != EDGE_BARE) {
            edge_fail(edge, "address %u, alive %d: weft_virtual_get answers %d", i, address->alive,
                      status);
        }
    }
}

void edge_check_idle(struct edge *edge) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        const struct edge_address *address = &edge->addresses[i];
        if (address->alive && edge->idles[address->kind] && !address->keep) {
            edge_fail(edge, "address %u is idle and will stay for ever", i);
        }
    }
}

/* What was sent is somewhere. */
static void check_sums(struct edge *edge) {
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    if (weft_stats_read(edge->runtime, WEFT_STATS_ALL, &stats) != 0) {
        edge_fail(edge, "no statistics");
        return;
    }
    uint64_t arrived = stats.messages_handled + stats.messages_dead + stats.messages_dropped +
                       stats.requests_expired + stats.replies_late;
    if (stats.messages_sent > arrived) {
        edge_fail(edge, "%llu messages were sent, %llu arrived", (number_text)stats.messages_sent,
                  (number_text)arrived);
    }
    if (stats.spawns != stats.exits) {
        edge_fail(edge, "%llu spawns, %llu exits", (number_text)stats.spawns,
                  (number_text)stats.exits);
    }
}

void edge_check_stopped(struct edge *edge) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        const struct edge_address *address = &edge->addresses[i];
        if (address->alive || address->begins != address->ends) {
            edge_fail(edge, "stopped, and address %u is alive (%llu begins, %llu ends)", i,
                      (number_text)address->begins, (number_text)address->ends);
        }
    }
    uint64_t count = weft_virtual_count(edge->runtime, NULL);
    if (count != 0) {
        edge_fail(edge, "stopped, and %llu are counted as active", (number_text)count);
    }
    check_sums(edge);
}
