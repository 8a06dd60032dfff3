/* SPDX-License-Identifier: MIT
 *
 * The store of the edge. What it keeps lies in the addresses of the ledger. An operation is good
 * and completes in the call, or it waits, is refused, fails or gets lost, as the seed wants; what
 * waits is completed by a simulated thread of its own, or by a handler of some actor.
 */
#include <errno.h>
#include <string.h>

#include "edge.h"

static uint64_t saved_counter(const struct edge_op *op) {
    struct edge_saved saved = {0};
    if (op->value_size >= sizeof(saved)) {
        memcpy(&saved, op->value + op->value_size - sizeof(saved), sizeof(saved));
    }
    return saved.counter;
}

/* Does it, as far as its fate lets it. */
static void op_do(struct edge *edge, struct edge_op *op) {
    struct edge_address *address = op->address;
    uint64_t has = address->stored ? address->stored_version : 0;
    op->status = 0;
    op->version = 0;
    if (op->fate == EDGE_VERSION || op->fate == EDGE_LOSE || op->fate == EDGE_FAIL) {
        op->status = op->fate == EDGE_VERSION ? WEFT_E_VERSION : -EIO;
    } else if (op->operation == EDGE_GET) {
        op->status = address->stored ? 0 : -ENOENT;
        op->version = has;
        op->value_size = address->stored ? address->value_size : 0;
        memcpy(op->value, address->value, op->value_size);
    } else if (op->expected != has) {
        op->status = WEFT_E_VERSION;
    } else if (op->operation == EDGE_PUT) {
        address->stored = true;
        address->stored_version = ++edge->store.version;
        address->stored_counter = saved_counter(op);
        address->value_size = op->value_size;
        memcpy(address->value, op->value, op->value_size);
        op->version = address->stored_version;
    } else {
        address->stored = false;
    }
    if (op->fate == EDGE_FAIL_ANSWER) {
        op->status = -EIO;
    }
}

/* It did not go as the actor wished, or may not have. */
static void op_failed(struct edge_op *op) {
    if (op->operation == EDGE_GET) {
        op->address->load_failures++;
    } else {
        op->address->put_failures++;
        op->address->store_odd++;
    }
}

/* Ends it. */
static void op_complete(struct edge *edge, struct edge_op *op) {
    if (op->late) {
        op_do(edge, op);
    }
    struct edge_op done = *op;
    op->used = false; /* the completion may start the next one */
    weft_buf *value = NULL;
    uint64_t now_ns = weft_sim_now_ns(edge->sim);
    bool slow = now_ns - done.start_ns >= (done.op.deadline_ns - done.start_ns) / 2;
    if (done.status != 0 && !(done.operation == EDGE_GET && done.status == -ENOENT)) {
        op_failed(&done);
    } else if (slow) {
        op_failed(&done);
    }
    if (done.operation == EDGE_GET && done.status == 0) {
        if (weft_buf_create(edge->runtime, done.value_size, &value) != 0) {
            edge_fail(edge, "no buffer");
            return;
        }
        memcpy(weft_buf_data(value), done.value, done.value_size);
    }
    int result = weft_store_complete(&done.op, done.status, done.version, value);
    if (result != 0 && result != WEFT_E_NOPROC) {
        edge_fail(edge, "completing an operation answered %d", result);
    }
}

static enum edge_fate fate_draw(struct edge *edge, enum edge_operation operation) {
    uint64_t percent = edge_below(edge, 100);
    uint64_t below = 0;
    for (uint32_t fate = EDGE_GOOD + 1; fate < EDGE_FATES; fate++) {
        below += edge->profile.fate_percent[fate];
        if (percent < below) {
            return fate == EDGE_VERSION && operation == EDGE_GET ? EDGE_FAIL : (enum edge_fate)fate;
        }
    }
    return EDGE_GOOD;
}

static struct edge_op *op_new(struct edge *edge) {
    for (uint32_t i = 0; i < EDGE_OPS; i++) {
        if (!edge->store.ops[i].used) {
            return &edge->store.ops[i];
        }
    }
    return NULL;
}

static struct edge_address *address_of(struct edge *edge, const weft_store_key *key) {
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT,
                         .capability = weft_capability_find(edge->runtime, key->capability),
                         .type = weft_type_find(edge->runtime, key->type),
                         .id = key->id,
                         .id_size = key->id_size};
    return edge_address_find(edge, &entry);
}

/* What an operation is asked to do. */
struct wish {
    enum edge_operation operation;
    const void *value;
    size_t value_size;
    uint64_t expected;
};

static int op_start(weft_store *store, const weft_store_key *key, const struct wish *wish,
                    const weft_store_op *op) {
    struct edge *edge = ((struct edge_store *)(void *)store)->edge;
    struct edge_address *address = address_of(edge, key);
    struct edge_op *made = op_new(edge);
    if (address == NULL || made == NULL || wish->value_size > EDGE_VALUE_BYTES) {
        edge_fail(edge, "an operation for nobody, or of %zu bytes", wish->value_size);
        return -EIO;
    }
    *made = (struct edge_op){.used = true,
                             .operation = wish->operation,
                             .fate = fate_draw(edge, wish->operation),
                             .address = address,
                             .start_ns = weft_sim_now_ns(edge->sim),
                             .expected = wish->expected,
                             .op = *op,
                             .value_size = (uint32_t)wish->value_size};
    memcpy(made->value, wish->value, wish->value_size);
    if (made->fate == EDGE_REFUSE) {
        made->used = false;
        op_failed(made);
        return -EIO;
    }
    bool delayed = edge_percent(edge, edge->profile.store_delay_percent);
    made->late = delayed && edge_percent(edge, edge->profile.store_late_percent);
    if (!made->late) {
        op_do(edge, made);
    }
    if (made->fate == EDGE_LOSE || made->fate == EDGE_LOSE_ANSWER) {
        op_failed(made);
        made->used = false;
    } else if (!delayed) {
        op_complete(edge, made);
    } else {
        made->due_ns =
            weft_sim_now_ns(edge->sim) + edge_magnitude(edge, edge->profile.store_delay_bits);
        weft_env *env = weft_sim_env(edge->sim);
        env->driver_wake(env, edge->store_thread.driver);
    }
    return 0;
}

static int store_get(weft_store *store, const weft_store_key *key, const weft_store_op *op) {
    struct wish wish = {.operation = EDGE_GET, .value = ""};
    return op_start(store, key, &wish, op);
}

static int store_put(weft_store *store, const weft_store_key *key, weft_buf *value,
                     uint64_t expected, const weft_store_op *op) {
    struct wish wish = {.operation = EDGE_PUT,
                        .value = weft_buf_data(value),
                        .value_size = weft_buf_size(value),
                        .expected = expected};
    return op_start(store, key, &wish, op);
}

static int store_remove(weft_store *store, const weft_store_key *key, uint64_t expected,
                        const weft_store_op *op) {
    struct wish wish = {.operation = EDGE_REMOVE, .value = "", .expected = expected};
    return op_start(store, key, &wish, op);
}

static const weft_store_calls store_calls = {
    .struct_size = WEFT_STORE_CALLS_INIT,
    .get = store_get,
    .put = store_put,
    .remove = store_remove,
};

void edge_store_init(struct edge *edge) {
    edge->store.store.calls = &store_calls;
    edge->store.edge = edge;
}

bool edge_store_step(struct edge *edge) {
    uint64_t now_ns = weft_sim_now_ns(edge->sim);
    uint64_t first = edge_below(edge, EDGE_OPS);
    for (uint64_t i = 0; i < EDGE_OPS; i++) {
        struct edge_op *op = &edge->store.ops[(first + i) % EDGE_OPS];
        if (op->used && op->due_ns != 0 && op->due_ns <= now_ns) {
            op_complete(edge, op);
            return true;
        }
    }
    return false;
}

uint64_t edge_store_due_ns(const struct edge *edge) {
    uint64_t due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < EDGE_OPS; i++) {
        const struct edge_op *op = &edge->store.ops[i];
        if (op->used && op->due_ns != 0 && op->due_ns < due_ns) {
            due_ns = op->due_ns;
        }
    }
    return due_ns;
}

bool edge_store_overdue(const struct edge_address *address) {
    const struct edge *edge = address->edge;
    uint64_t now_ns = weft_sim_now_ns(edge->sim);
    for (uint32_t i = 0; i < EDGE_OPS; i++) {
        const struct edge_op *op = &edge->store.ops[i];
        if (op->used && op->address == address && op->op.deadline_ns <= now_ns) {
            return true;
        }
    }
    return false;
}

/* Its steps may be made on top of a scheduler's, in the middle of anything that scheduler does, and
 * what completes an operation looks which scheduler it is on: then it waits. */
enum weft_step edge_store_thread(void *arg, uint64_t *deadline_ns) {
    struct edge *edge = ((struct edge_thread *)arg)->edge;
    if (edge->leaving) {
        return WEFT_STEP_EXIT;
    }
    if (edge->sim->depth > 1) {
        return WEFT_STEP_IDLE;
    }
    if (edge_store_step(edge)) {
        return WEFT_STEP_RAN;
    }
    *deadline_ns = edge_store_due_ns(edge);
    return WEFT_STEP_PARK;
}
