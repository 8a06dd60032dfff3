/* SPDX-License-Identifier: MIT
 *
 * Budgets: see budget.h.
 */
#include "budget.h"

#include <errno.h>
#include <stdlib.h>

struct budget {
    /* never changes */
    budgets *all;
    budget_bucket *bucket;
    weft_pid client;
    /* with the bucket's lock */
    budget *next;
    uint64_t bytes;
    uint64_t references; /* the connection's, and one for each reply that is charged */
    bool put_off;        /* a request was */
    bool held;           /* counted in the bucket's held and in that of all */
};

static void lock(budget_bucket *bucket) {
    (void)pthread_mutex_lock(&bucket->lock); /* fails for nothing that is done here */
}

static void unlock(budget_bucket *bucket) {
    (void)pthread_mutex_unlock(&bucket->lock); /* the same */
}

void budgets_init(budgets *self) {
    atomic_init(&self->held, 0);
    for (size_t i = 0; i < BUDGET_BUCKETS; i++) {
        budget_bucket *bucket = &self->buckets[i];
        (void)pthread_mutex_init(&bucket->lock, NULL); /* an ordinary one needs nothing */
        bucket->first = NULL;
        atomic_init(&bucket->held, 0);
    }
}

void budgets_fini(budgets *self) {
    for (size_t i = 0; i < BUDGET_BUCKETS; i++) {
        (void)pthread_mutex_destroy(&self->buckets[i].lock); /* nobody has it */
    }
}

static budget_bucket *bucket_of(budgets *self, weft_pid client) {
    return &self->buckets[weft_pid_hash(client) % BUDGET_BUCKETS];
}

static budget *find(const budget_bucket *bucket, weft_pid client) {
    budget *found = bucket->first;
    while (found != NULL && !weft_pid_equal(found->client, client)) { /* clients of a bucket */
        found = found->next;
    }
    return found;
}

static void update_held(budget *self) {
    bool held = self->put_off || self->bytes > BUDGET_BYTES_MAX;
    if (held != self->held) {
        self->held = held;
        (void)atomic_fetch_add_explicit(&self->bucket->held, held ? 1 : UINT32_MAX,
                                        memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&self->all->held, held ? 1 : UINT32_MAX,
                                        memory_order_relaxed);
    }
}

/* Lets the lock go, and one reference when it is the last one the budget, too. */
static void unreference(budget *self) {
    budget_bucket *bucket = self->bucket;
    bool last = --self->references == 0;
    unlock(bucket);
    if (last) {
        free(self);
    }
}

/* ---- the connection -------------------------------------------------------------------------- */

int budget_join(budgets *self, weft_pid client, budget **ret_budget) {
    budget *joined = calloc(1, sizeof(*joined));
    if (joined == NULL) {
        return -ENOMEM;
    }
    joined->all = self;
    joined->bucket = bucket_of(self, client);
    joined->client = client;
    joined->references = 1;
    lock(joined->bucket);
    joined->next = joined->bucket->first;
    joined->bucket->first = joined;
    unlock(joined->bucket);
    *ret_budget = joined;
    return 0;
}

void budget_leave(budget **self) {
    budget *left = *self;
    if (left == NULL) {
        return;
    }
    *self = NULL;
    lock(left->bucket);
    budget **place = &left->bucket->first;
    while (*place != left) { /* clients of a bucket */
        place = &(*place)->next;
    }
    *place = left->next;
    left->put_off = false;
    update_held(left);
    unreference(left);
}

bool budget_has_put_off(budget *self) {
    if (!budgets_are_held(self->all)) {
        return false;
    }
    lock(self->bucket);
    bool has = self->put_off;
    unlock(self->bucket);
    return has;
}

void budget_go_on(budget *self) {
    lock(self->bucket);
    self->put_off = false;
    update_held(self);
    unlock(self->bucket);
}

/* ---- the key --------------------------------------------------------------------------------- */

/* That a client is held back is seen by the key that charged it, and by a key whose request comes
 * after the charge; a key that sees it later makes one reply more. put_off, which the order of
 * requests stands on, is set and read by the same actor. */
bool budget_puts_off(budgets *self, weft_pid client) {
    budget_bucket *bucket = bucket_of(self, client);
    if (atomic_load_explicit(&bucket->held, memory_order_relaxed) == 0) {
        return false;
    }
    lock(bucket);
    budget *found = find(bucket, client);
    bool held = found != NULL && found->held;
    if (held) {
        found->put_off = true;
    }
    unlock(bucket);
    return held;
}

budget *budget_charge(budgets *self, weft_pid client, size_t size) {
    budget_bucket *bucket = bucket_of(self, client);
    lock(bucket);
    budget *found = find(bucket, client);
    if (found != NULL) {
        found->references++;
        found->bytes += size;
        update_held(found);
    }
    unlock(bucket);
    return found;
}

void budget_release(budget *self, size_t size) {
    lock(self->bucket);
    self->bytes -= size;
    update_held(self);
    unreference(self);
}
