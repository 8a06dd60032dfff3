/* SPDX-License-Identifier: MIT
 *
 * Where virtual actors keep their state while they are not active. A store is asynchronous: each
 * operation is started by a call that must not block, and completes later, by weft_store_complete
 * from any thread. The actor waits without holding up anything else, up to a deadline.
 *
 * Versions make a lost write visible: a key has a version, above 0, that changes with each put; put
 * and delete say which version they expect (0: the key does not exist) and fail with WEFT_E_VERSION
 * when it is another. An actor whose save fails like that has been replaced elsewhere: it ends.
 *
 * Stability: unstable until there are clusters; structs are append-only.
 */
#ifndef WEFT_STORE_H
#define WEFT_STORE_H

#include <weft/actor.h>
#include <weft/runtime.h>

WEFT_BEGIN_DECLS

/* ---- what a store provides ----------------------------------------------------------------- */

/* Key of a state. All [borrow] for the call. */
typedef struct weft_store_key {
    const char *capability;
    const char *type;
    const void *id;
    size_t id_size;
} weft_store_key;

/* One operation under way: a value, to be copied and given to weft_store_complete. */
typedef struct weft_store_op {
    weft_runtime *runtime;
    uint64_t
        deadline_ns; /* on CLOCK_MONOTONIC (the environment's); later completions are ignored */
    uint64_t weft__target; /* who waits */
    uint64_t weft__reference;
} weft_store_op;

/* Each starts an operation and returns 0, after which it must be completed exactly once (also
 * from inside the call), or a negative status, after which it must not. They are called on
 * scheduler threads and must neither block nor use the actor's context. */
typedef struct weft_store_calls {
    size_t struct_size; /* WEFT_STORE_CALLS_INIT */
    /* Completes with 0, value and version; -ENOENT: there is none. */
    int (*get)(weft_store *store, const weft_store_key *key, const weft_store_op *op);
    /* Completes with 0 and the new version; WEFT_E_VERSION. value [borrow]: add a reference to keep
     * it; immutable. */
    int (*put)(weft_store *store, const weft_store_key *key, weft_buf *value, uint64_t expected,
               const weft_store_op *op);
    /* Completes with 0 (also when there is none and expected is 0); WEFT_E_VERSION. */
    int (*remove)(weft_store *store, const weft_store_key *key, uint64_t expected,
                  const weft_store_op *op);
} weft_store_calls;

#define WEFT_STORE_CALLS_INIT sizeof(weft_store_calls)

/* A store starts with this; what follows is its own. It must outlive the runtimes that use it. */
struct weft_store {
    const weft_store_calls *calls;
};

/* Completes an operation. value [take], may be NULL, also on error. 0; WEFT_E_NOPROC when the actor
 * is gone; -ENOMEM: it was not told, its deadline will pass. Any thread, while the runtime exists. */
WEFT_API int weft_store_complete(const weft_store_op *op, int status, uint64_t version,
                                 weft_buf *value);

/* ---- a store in memory --------------------------------------------------------------------- */

/* Keeps values in this process until it is destroyed: for tests, and for state that may be lost
 * with the process. Values are copies, so it may outlive runtimes and serve several. bytes_max 0: no
 * limit; else it counts whole records (key, value and 72 bytes), and puts above it fail with
 * -ENOSPC. */
WEFT_API WEFT_MUSTUSE int weft_store_memory_create(uint64_t bytes_max, weft_store **ret_store);
/* No operation may be under way. */
WEFT_API void weft_store_memory_destroy(weft_store **store);
/* Keys it holds. */
WEFT_API uint64_t weft_store_memory_count(weft_store *store);

WEFT_END_DECLS

#endif
