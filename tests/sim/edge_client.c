/* SPDX-License-Identifier: MIT
 *
 * A thread outside, as a simulated one: its steps come in between those of the schedulers, and with
 * points also into their middle. It has a completion queue of its own.
 */
#include "edge.h"

void edge_client_completions(struct edge *edge) {
    weft_completion completion;
    while (weft_cq_next(edge->queue, &completion) == 1) { /* bounded by the calls in the queue */
        edge->queue_calls--;
        edge_message_answered(edge, (uint32_t)completion.token, completion.status,
                              completion.reply);
        if (completion.reply != NULL) {
            weft_runtime_msg_release(edge->runtime, &completion.reply);
        }
    }
}

static struct edge_address *address_draw(struct edge *edge) {
    return &edge->addresses[edge_below(edge, edge->profile.addresses)];
}

static void client_passivate(struct edge *edge) {
    struct edge_address *address = address_draw(edge);
    weft_pid pid = address->pid_last;
    if (edge_percent(edge, 50)) {
        (void)weft_virtual_get(edge->runtime, edge->capabilities[address->capability],
                               edge->types[address->kind], address->id, address->id_size, &pid);
    }
    address->asked = true;
    int status = weft_runtime_passivate(edge->runtime, pid);
    if (status != 0 && status != WEFT_E_NOPROC) {
        edge_fail(edge, "weft_runtime_passivate answered %d", status);
    }
}

static void client_kill(struct edge *edge) {
    struct edge_address *address = address_draw(edge);
    address->kills_asked++;
    int status = weft_runtime_kill_actor(edge->runtime, address->pid_last);
    if (status != 0 && status != WEFT_E_NOPROC) {
        edge_fail(edge, "weft_runtime_kill_actor answered %d", status);
    }
}

/* Takes a capability away, or gives it back. */
static void client_offer(struct edge *edge) {
    uint32_t index = (uint32_t)edge_below(edge, EDGE_CAPABILITIES);
    const char *name = weft_capability_name(edge->capabilities[index]);
    bool offered = edge->offered[index];
    edge->offered[index] = !offered;
    edge->unregisters[index] += offered ? 1 : 0;
    int status = offered ? weft_capability_unregister(edge->runtime, &name, 1)
                         : weft_capability_register(edge->runtime, &name, 1);
    if (status != 0) {
        edge_fail(edge, "(un)registering answered %d", status);
    }
    if (offered) {
        edge_crash_unregistered(edge, index);
    }
}

/* Who is behind a pid: the address, as long as it is that pid's. */
static void client_look(struct edge *edge) {
    const struct edge_address *address = address_draw(edge);
    unsigned char id[EDGE_ID_BYTES];
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int status = weft_virtual_key(edge->runtime, address->pid_last, id, sizeof(id), &entry);
    if (status == 0 && edge_address_find(edge, &entry) != address) {
        edge_fail(edge, "the pid of address %u has another address", address->number);
    }
}

static void client_act(struct edge *edge) {
    const struct edge_profile *profile = &edge->profile;
    uint64_t drawn = edge_below(edge, 100);
    /* What looks which scheduler it is on must not be on top of one. */
    bool alone = edge->sim->depth <= 1;
    if (drawn < profile->kill_percent) {
        client_kill(edge);
    } else if (drawn < profile->kill_percent + profile->unregister_percent) {
        if (alone) {
            client_offer(edge);
        }
    } else if (drawn <
               profile->kill_percent + profile->unregister_percent + profile->passivate_percent) {
        client_passivate(edge);
    } else if (drawn >= 95) {
        client_look(edge);
    } else if (edge->queue_calls < EDGE_QUEUE_CALLS && edge_percent(edge, profile->call_percent)) {
        edge_send(edge, NULL, EDGE_CALLER, true);
    } else {
        edge_send(edge, NULL, EDGE_CASTER, false);
    }
}

enum weft_step edge_client_thread(void *arg, uint64_t *deadline_ns) {
    struct edge *edge = ((struct edge_thread *)arg)->edge;
    if (edge->leaving) {
        return WEFT_STEP_EXIT;
    }
    if (edge->failed || edge->budget == 0 || edge->stopping) {
        return WEFT_STEP_PARK;
    }
    client_act(edge);
    edge_crash_forgive(edge);
    if (edge_percent(edge, 10)) {
        edge_client_completions(edge);
    }
    if (edge_percent(edge, 40)) {
        return WEFT_STEP_RAN;
    }
    *deadline_ns = weft_sim_now_ns(edge->sim) + edge_magnitude(edge, edge->profile.delay_bits);
    return WEFT_STEP_PARK;
}
