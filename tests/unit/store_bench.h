/* SPDX-License-Identifier: MIT
 *
 * What the tests of stores without actors share. The source of the store in memory is compiled into
 * the test, with memory that fails when the test says so, and with a weft_store_complete that only
 * notes the answer: in the struct answer that weft__target of the operation points to. A bench is
 * a runtime that never runs and a store.
 */
#ifndef WEFT_TESTS_UNIT_STORE_BENCH_H
#define WEFT_TESTS_UNIT_STORE_BENCH_H

#define _GNU_SOURCE
#define weft_store_complete note_answer

#include <stdlib.h>

/* Under test: the n-th allocation from now on fails, and all after it until it is set anew. */
static _Thread_local unsigned allocations_left = ~0u;
static inline void *test_malloc(size_t size) {
    return allocations_left == 0 ? NULL : (allocations_left--, malloc(size));
}
static inline void *test_calloc(size_t count, size_t size) {
    return allocations_left == 0 ? NULL : (allocations_left--, calloc(count, size));
}
static inline void *test_aligned_alloc(size_t alignment, size_t size) {
    return allocations_left == 0 ? NULL : (allocations_left--, aligned_alloc(alignment, size));
}
#define malloc        test_malloc
#define calloc        test_calloc
#define aligned_alloc test_aligned_alloc
#include "shard/store_memory.c"
#undef malloc
#undef calloc
#undef aligned_alloc

#include "tests/unit/store_support.h"

/* ---- answers ------------------------------------------------------------------------------- */

struct answer {
    int calls;
    int status;
    uint64_t version;
    weft_buf *value;
    void (*then)(void *cookie); /* inside the completion */
    void *cookie;
    pthread_t thread;
};

int note_answer(const weft_store_op *op, int status, uint64_t version, weft_buf *value) {
    struct answer *answer = (struct answer *)(uintptr_t)op->weft__target;
    answer->calls++;
    answer->status = status;
    answer->version = version;
    answer->value = value;
    answer->thread = pthread_self();
    if (answer->then != NULL) {
        answer->then(answer->cookie);
    }
    return op->weft__reference == 0 ? 0 : WEFT_E_NOPROC;
}

struct bench {
    weft_runtime *runtime;
    weft_store *store;
};

static inline weft_runtime *runtime_new(void) {
    weft_config config = rig_config(1);
    weft_runtime *runtime = NULL;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    return runtime;
}

static inline struct bench bench_start(uint64_t bytes_max) {
    struct bench bench = {.runtime = runtime_new()};
    ck_assert_int_eq(weft_store_memory_create(bytes_max, &bench.store), 0);
    return bench;
}

static inline void runtime_end(weft_runtime **runtime) {
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    ck_assert_int_eq(weft_gauges_read(*runtime, &gauges), 0);
    ck_assert_uint_eq(gauges.buffers, 0);
    ck_assert_int_eq(weft_runtime_destroy(runtime), 0);
}

static inline void bench_stop(struct bench *bench) {
    weft_store_memory_destroy(&bench->store);
    ck_assert_ptr_null(bench->store);
    runtime_end(&bench->runtime);
}

static inline weft_store_key key_of(const char *id) {
    return (weft_store_key){.capability = "chat", .type = "room", .id = id, .id_size = strlen(id)};
}

static inline weft_store_op op_of(struct bench *bench, struct answer *answer) {
    return (weft_store_op){.runtime = bench->runtime,
                           .deadline_ns = UINT64_MAX,
                           .weft__target = (uint64_t)(uintptr_t)answer};
}

static inline weft_buf *buf_of(struct bench *bench, const void *bytes, size_t size) {
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(bench->runtime, size, &buf), 0);
    if (size != 0) {
        memcpy(weft_buf_data(buf), bytes, size);
    }
    return buf;
}

/* The status; *version is what is expected before and what there is afterwards. */
static inline int put_bytes(struct bench *bench, weft_store_key key, const void *bytes, size_t size,
                            uint64_t *version) {
    struct answer answer = {0};
    weft_store_op op = op_of(bench, &answer);
    weft_buf *value = buf_of(bench, bytes, size);
    ck_assert_int_eq(bench->store->calls->put(bench->store, &key, value, *version, &op), 0);
    weft_buf_unref(value);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_ptr_null(answer.value);
    if (answer.status == 0) {
        ck_assert_uint_ne(answer.version, 0);
        *version = answer.version;
    }
    return answer.status;
}

static inline int put(struct bench *bench, weft_store_key key, const char *text,
                      uint64_t *version) {
    return put_bytes(bench, key, text, strlen(text), version);
}

static inline int take(struct bench *bench, weft_store_key key, uint64_t expected) {
    struct answer answer = {0};
    weft_store_op op = op_of(bench, &answer);
    ck_assert_int_eq(bench->store->calls->remove(bench->store, &key, expected, &op), 0);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_ptr_null(answer.value);
    return answer.status;
}

static inline struct answer get(struct bench *bench, weft_store_key key) {
    struct answer answer = {0};
    weft_store_op op = op_of(bench, &answer);
    ck_assert_int_eq(bench->store->calls->get(bench->store, &key, &op), 0);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert((answer.status == 0) == (answer.value != NULL));
    return answer;
}

static inline void assert_holds(struct bench *bench, weft_store_key key, const char *text,
                                uint64_t version) {
    struct answer answer = get(bench, key);
    if (text == NULL) {
        ck_assert_int_eq(answer.status, -ENOENT);
        return;
    }
    ck_assert_int_eq(answer.status, 0);
    ck_assert_uint_eq(answer.version, version);
    ck_assert_uint_eq(weft_buf_size(answer.value), strlen(text));
    ck_assert_mem_eq(weft_buf_data(answer.value), text, strlen(text));
    weft_buf_unref(answer.value);
}

#endif
