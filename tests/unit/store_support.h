/* SPDX-License-Identifier: MIT
 *
 * A store for tests that does what stores on a network do: it answers late, in another order, from
 * threads of its own, with errors, after it has done the thing or before, or never. Underneath is
 * the store in memory, which tests can look into through it at once (faulty_peek, faulty_poke).
 *
 * What happens to an operation is its fate. It is drawn from a seed by the percentages of the plan,
 * or said beforehand for the next ones (faulty_next). Delayed ones wait in a list until somebody
 * calls faulty_step, which completes one of them at random; a helper thread can do that.
 *
 *     struct faulty faulty;
 *     faulty_init(&faulty, seed);
 *     faulty_plan(&faulty, (struct faulty_plan){.delay = 50, .fate = {[FAULTY_LOSE] = 10}});
 *     def.store = &faulty.store;
 *     ...
 *     faulty_drop(&faulty);  before the runtime is stopped: what waits holds buffers of it
 *     rig_stop(&rig);
 *     faulty_fini(&faulty);
 *
 * No operation is ever completed twice, nor one that was refused. Any thread.
 */
#ifndef WEFT_TESTS_UNIT_STORE_SUPPORT_H
#define WEFT_TESTS_UNIT_STORE_SUPPORT_H

#include "shard/store_memory.h"
#include "tests/unit/support.h"

enum faulty_kind { FAULTY_GET = 1, FAULTY_PUT = 2, FAULTY_REMOVE = 4, FAULTY_ALL = 7 };

enum faulty_fate {
    FAULTY_GOOD = 0,
    FAULTY_REFUSE,      /* the call itself answers -EIO; nothing is done */
    FAULTY_LOSE,        /* nothing is done, and it never completes */
    FAULTY_LOSE_ANSWER, /* it is done, and it never completes */
    FAULTY_FAIL,        /* nothing is done, it completes with -EIO */
    FAULTY_FAIL_ANSWER, /* it is done, and completes with -EIO */
    FAULTY_VERSION,     /* nothing is done, it completes with WEFT_E_VERSION; gets are good */
    FAULTY_FATES,
};

/* All in percent. */
struct faulty_plan {
    uint32_t fate[FAULTY_FATES]; /* FAULTY_GOOD is the rest */
    uint32_t delay;              /* completes in a later faulty_step; the others in the call */
    uint32_t late;               /* of the delayed: it is also only done then */
};

struct faulty_counts {
    uint64_t gets; /* started */
    uint64_t puts;
    uint64_t removes;
    uint64_t completed;
    uint64_t unwanted; /* of these: nobody waited any more */
    uint64_t fate[FAULTY_FATES];
};

/* One operation. Its own copy of everything, for it outlives the call. */
struct faulty_op {
    enum faulty_kind kind;
    enum faulty_fate fate;
    bool late; /* not done yet */
    weft_store_key key;
    weft_buf *value; /* to put */
    uint64_t expected;
    weft_store_op op;
    /* the answer */
    int status;
    uint64_t version;
    weft_buf *answer;
};

struct faulty {
    weft_store store;
    weft_store *memory;
    pthread_mutex_t lock;
    /* under lock */
    struct faulty_plan plan;
    uint32_t next_kinds; /* of the operations that have their fate already */
    uint32_t next_count;
    enum faulty_fate next_fate;
    uint64_t random;
    struct faulty_op **waiting;
    uint32_t waiting_count;
    uint32_t waiting_max;
    uint32_t completing; /* taken out of waiting, weft_store_complete not yet returned */
    struct faulty_counts counts;
    /* the helper */
    pthread_t helper;
    bool helped;
    uint64_t helper_wait_ns;
    weft_atomic_u32 helper_ends;
};

/* ---- operations: done, and completed ------------------------------------------------------- */

static inline uint64_t faulty_random(struct faulty *faulty) { /* splitmix64; under lock */
    uint64_t value = faulty->random += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static inline bool faulty_chance(struct faulty *faulty, uint32_t percent) { /* under lock */
    return faulty_random(faulty) % 100 < percent;
}

static inline void *faulty_copy(const void *bytes, size_t size) {
    void *copy = malloc(size + 1);
    ck_assert_ptr_nonnull(copy);
    if (size != 0) {
        memcpy(copy, bytes, size);
    }
    ((char *)copy)[size] = '\0';
    return copy;
}

static inline void faulty_op_free(struct faulty_op *op) {
    weft_buf_unref(op->value);
    weft_buf_unref(op->answer);
    free((void *)(uintptr_t)op->key.capability);
    free((void *)(uintptr_t)op->key.type);
    free((void *)(uintptr_t)op->key.id);
    free(op);
}

/* Not under lock: the table has its own, and in the simulator others run while one waits for it. */
static inline void faulty_do(struct faulty *faulty, struct faulty_op *op) {
    struct weft__memory_change change = {op->op.runtime, op->value, op->expected};
    bool done =
        op->fate == FAULTY_GOOD || op->fate == FAULTY_LOSE_ANSWER || op->fate == FAULTY_FAIL_ANSWER;
    if (op->fate == FAULTY_VERSION) {
        op->status = WEFT_E_VERSION;
    } else if (!done) {
        op->status = -EIO;
    } else if (op->kind == FAULTY_GET) {
        op->status =
            weft__memory_read(faulty->memory, &op->key, op->op.runtime, &op->version, &op->answer);
    } else {
        op->status = weft__memory_write(faulty->memory, &op->key, &change, &op->version);
    }
    if (op->fate == FAULTY_FAIL_ANSWER) {
        op->status = -EIO;
    }
    if (op->status != 0) {
        weft_buf_unref(op->answer);
        op->answer = NULL;
        op->version = 0;
    }
}

/* Does it, if it is to be done only now, and ends it. */
static inline void faulty_complete(struct faulty *faulty, struct faulty_op *op) {
    if (op->late) {
        faulty_do(faulty, op);
    }
    if (op->fate != FAULTY_LOSE && op->fate != FAULTY_LOSE_ANSWER) {
        weft_buf *answer = op->answer;
        op->answer = NULL;
        weft_buf_unref(op->value); /* the put has no use for it any more when it is answered */
        op->value = NULL;
        int result = weft_store_complete(&op->op, op->status, op->version, answer);
        ck_assert(result == 0 || result == WEFT_E_NOPROC);
        pthread_mutex_lock(&faulty->lock);
        faulty->counts.completed++;
        faulty->counts.unwanted += result == WEFT_E_NOPROC ? 1 : 0;
        pthread_mutex_unlock(&faulty->lock);
    }
    faulty_op_free(op);
}

static inline enum faulty_fate faulty_draw(struct faulty *faulty, enum faulty_kind kind) {
    uint64_t percent = faulty_random(faulty) % 100;
    if (faulty->next_count != 0 && (faulty->next_kinds & (uint32_t)kind) != 0) {
        faulty->next_count--;
        ck_assert(faulty->next_fate != FAULTY_VERSION || kind != FAULTY_GET);
        return faulty->next_fate;
    }
    uint64_t below = 0;
    for (uint32_t fate = FAULTY_GOOD + 1; fate < FAULTY_FATES; fate++) {
        below += faulty->plan.fate[fate];
        if (percent < below) {
            bool none = fate == FAULTY_VERSION && kind == FAULTY_GET;
            return none ? FAULTY_GOOD : (enum faulty_fate)fate;
        }
    }
    return FAULTY_GOOD;
}

static inline void faulty_wait(struct faulty *faulty, struct faulty_op *op) { /* under lock */
    if (faulty->waiting_count == faulty->waiting_max) {
        faulty->waiting_max = faulty->waiting_max == 0 ? 64 : faulty->waiting_max * 2;
        faulty->waiting = realloc(faulty->waiting, faulty->waiting_max * sizeof(*faulty->waiting));
        ck_assert_ptr_nonnull(faulty->waiting);
    }
    faulty->waiting[faulty->waiting_count++] = op;
}

/* Takes an operation that only kind, value and expected are said of [take]. */
static inline int faulty_start(struct faulty *faulty, const weft_store_key *key,
                               const weft_store_op *op, struct faulty_op *made) {
    made->op = *op;
    made->key = (weft_store_key){
        .capability = faulty_copy(key->capability, strlen(key->capability)),
        .type = faulty_copy(key->type, strlen(key->type)),
        .id = faulty_copy(key->id, key->id_size),
        .id_size = key->id_size,
    };
    pthread_mutex_lock(&faulty->lock);
    made->fate = faulty_draw(faulty, made->kind);
    bool delayed = faulty_chance(faulty, faulty->plan.delay);
    made->late = faulty_chance(faulty, faulty->plan.late) && delayed;
    faulty->counts.gets += made->kind == FAULTY_GET ? 1 : 0;
    faulty->counts.puts += made->kind == FAULTY_PUT ? 1 : 0;
    faulty->counts.removes += made->kind == FAULTY_REMOVE ? 1 : 0;
    faulty->counts.fate[made->fate]++;
    pthread_mutex_unlock(&faulty->lock);
    if (made->fate == FAULTY_REFUSE) {
        faulty_op_free(made);
        return -EIO;
    }
    if (!made->late) {
        faulty_do(faulty, made);
    }
    if (!delayed) {
        faulty_complete(faulty, made);
        return 0;
    }
    pthread_mutex_lock(&faulty->lock);
    faulty_wait(faulty, made);
    pthread_mutex_unlock(&faulty->lock);
    return 0;
}

static inline struct faulty_op *faulty_op_new(enum faulty_kind kind) {
    struct faulty_op *op = calloc(1, sizeof(*op));
    ck_assert_ptr_nonnull(op);
    op->kind = kind;
    return op;
}

static inline int faulty_get(weft_store *store, const weft_store_key *key,
                             const weft_store_op *op) {
    return faulty_start((struct faulty *)(void *)store, key, op, faulty_op_new(FAULTY_GET));
}

static inline int faulty_put(weft_store *store, const weft_store_key *key, weft_buf *value,
                             uint64_t expected, const weft_store_op *op) {
    struct faulty_op *made = faulty_op_new(FAULTY_PUT);
    ck_assert_ptr_nonnull(value);
    made->value = weft_buf_ref(value);
    made->expected = expected;
    return faulty_start((struct faulty *)(void *)store, key, op, made);
}

static inline int faulty_remove(weft_store *store, const weft_store_key *key, uint64_t expected,
                                const weft_store_op *op) {
    struct faulty_op *made = faulty_op_new(FAULTY_REMOVE);
    made->expected = expected;
    return faulty_start((struct faulty *)(void *)store, key, op, made);
}

static const weft_store_calls faulty_calls = {
    .struct_size = WEFT_STORE_CALLS_INIT,
    .get = faulty_get,
    .put = faulty_put,
    .remove = faulty_remove,
};

/* ---- what tests call ----------------------------------------------------------------------- */

/* Everything is good and completes in the call until there is a plan. */
static inline void faulty_init(struct faulty *faulty, uint64_t seed) {
    memset(faulty, 0, sizeof(*faulty));
    faulty->store.calls = &faulty_calls;
    faulty->random = seed;
    pthread_mutex_init(&faulty->lock, NULL);
    ck_assert_int_eq(weft_store_memory_create(0, &faulty->memory), 0);
}

static inline void faulty_plan(struct faulty *faulty, struct faulty_plan plan) {
    pthread_mutex_lock(&faulty->lock);
    faulty->plan = plan;
    pthread_mutex_unlock(&faulty->lock);
}

/* The next count operations of these kinds (enum faulty_kind, or-ed) have this fate. Replaces what
 * was said before. Delay still follows the plan. */
static inline void faulty_next(struct faulty *faulty, uint32_t kinds, enum faulty_fate fate,
                               uint32_t count) {
    pthread_mutex_lock(&faulty->lock);
    faulty->next_kinds = kinds;
    faulty->next_fate = fate;
    faulty->next_count = count;
    pthread_mutex_unlock(&faulty->lock);
}

/* Completes one of the delayed operations, any one. False: there is none. */
static inline bool faulty_step(struct faulty *faulty) {
    pthread_mutex_lock(&faulty->lock);
    if (faulty->waiting_count == 0) {
        pthread_mutex_unlock(&faulty->lock);
        return false;
    }
    uint32_t index = (uint32_t)(faulty_random(faulty) % faulty->waiting_count);
    struct faulty_op *op = faulty->waiting[index];
    faulty->waiting[index] = faulty->waiting[--faulty->waiting_count];
    faulty->completing++;
    pthread_mutex_unlock(&faulty->lock);
    faulty_complete(faulty, op);
    pthread_mutex_lock(&faulty->lock);
    faulty->completing--;
    pthread_mutex_unlock(&faulty->lock);
    return true;
}

/* How many are delayed, those a step of another thread is just completing included. */
static inline uint32_t faulty_waiting(struct faulty *faulty) {
    pthread_mutex_lock(&faulty->lock);
    uint32_t count = faulty->waiting_count + faulty->completing;
    pthread_mutex_unlock(&faulty->lock);
    return count;
}

static inline struct faulty_counts faulty_counts(struct faulty *faulty) {
    pthread_mutex_lock(&faulty->lock);
    struct faulty_counts counts = faulty->counts;
    pthread_mutex_unlock(&faulty->lock);
    return counts;
}

/* Keys it really holds. */
static inline uint64_t faulty_keys(struct faulty *faulty) {
    return weft_store_memory_count(faulty->memory);
}

/* What is really kept for a key, at once: 0 or -ENOENT; the buffer is the caller's. */
static inline int faulty_peek(struct faulty *faulty, weft_runtime *runtime,
                              const weft_store_key *key, uint64_t *ret_version,
                              weft_buf **ret_value) {
    return weft__memory_read(faulty->memory, key, runtime, ret_version, ret_value);
}

/* Puts bytes there (NULL: removes them) whatever is there now, as another node would. Returns the
 * version. Not while others write this key. */
static inline uint64_t faulty_poke(struct faulty *faulty, weft_runtime *runtime,
                                   const weft_store_key *key, const char *bytes) {
    struct weft__memory_change change = {.runtime = runtime};
    weft_buf *old = NULL;
    if (weft__memory_read(faulty->memory, key, runtime, &change.expected, &old) == 0) {
        weft_buf_unref(old);
    }
    if (bytes != NULL) {
        ck_assert_int_eq(weft_buf_create(runtime, strlen(bytes), &change.value), 0);
        memcpy(weft_buf_data(change.value), bytes, strlen(bytes));
    }
    uint64_t version = 0;
    ck_assert_int_eq(weft__memory_write(faulty->memory, key, &change, &version), 0);
    weft_buf_unref(change.value);
    return version;
}

/* Loses what is delayed, without doing it. The plan from now on is to delay nothing. */
static inline void faulty_drop(struct faulty *faulty) {
    faulty_plan(faulty, (struct faulty_plan){0});
    for (;;) { /* ends when none is left: no new ones are delayed */
        pthread_mutex_lock(&faulty->lock);
        struct faulty_op *op =
            faulty->waiting_count == 0 ? NULL : faulty->waiting[--faulty->waiting_count];
        pthread_mutex_unlock(&faulty->lock);
        if (op == NULL) {
            return;
        }
        faulty_op_free(op);
    }
}

/* ---- a thread that completes --------------------------------------------------------------- */

static inline void *faulty_help(void *argument) {
    struct faulty *faulty = argument;
    while (weft_load32_acquire(&faulty->helper_ends) == 0) {
        uint64_t wait_ns = 50000;
        if (faulty_step(faulty)) {
            pthread_mutex_lock(&faulty->lock);
            wait_ns = faulty_random(faulty) % (faulty->helper_wait_ns + 1);
            pthread_mutex_unlock(&faulty->lock);
        }
        if (wait_ns != 0) {
            sleep_ns(wait_ns);
        }
    }
    return NULL;
}

/* Calls faulty_step from a thread of its own, with pauses of 0 to wait_ns between. */
static inline void faulty_helper_start(struct faulty *faulty, uint64_t wait_ns) {
    ck_assert(!faulty->helped);
    faulty->helper_wait_ns = wait_ns;
    weft_store32_release(&faulty->helper_ends, 0);
    ck_assert_int_eq(pthread_create(&faulty->helper, NULL, faulty_help, faulty), 0);
    faulty->helped = true;
}

/* What is delayed stays so. */
static inline void faulty_helper_stop(struct faulty *faulty) {
    if (faulty->helped) {
        weft_store32_release(&faulty->helper_ends, 1);
        ck_assert_int_eq(pthread_join(faulty->helper, NULL), 0);
        faulty->helped = false;
    }
}

/* Nobody uses it any more, and nothing of a runtime that is gone may be delayed. */
static inline void faulty_fini(struct faulty *faulty) {
    faulty_helper_stop(faulty);
    faulty_drop(faulty);
    free(faulty->waiting);
    pthread_mutex_destroy(&faulty->lock);
    weft_store_memory_destroy(&faulty->memory);
}

#endif
