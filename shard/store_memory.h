/* SPDX-License-Identifier: MIT
 *
 * The store in memory, without its operations: read and change a key at once and get the result
 * back. shard/store_memory.c makes operations of them; stores for tests do, too, so that they can
 * decide when and how each one completes. Any thread.
 */
#ifndef WEFT_SHARD_STORE_MEMORY_H
#define WEFT_SHARD_STORE_MEMORY_H

#include <weft/store.h>

struct weft__memory_change {
    weft_runtime *runtime; /* of whoever changes it: lends its environment to a waiting thread */
    weft_buf *value;       /* [borrow]; NULL: remove */
    uint64_t expected;     /* version; 0: there is none */
};

/* 0, the version and a copy of the value, in a buffer of this runtime [out]; -ENOENT; -EINVAL;
 * -ENOMEM. */
WEFT_MUSTUSE int weft__memory_read(weft_store *store, const weft_store_key *key,
                                   weft_runtime *runtime, uint64_t *ret_version,
                                   weft_buf **ret_value);

/* 0 and the new version (0 when it was removed); WEFT_E_VERSION; -ENOSPC; -EINVAL; -ENOMEM. */
WEFT_MUSTUSE int weft__memory_write(weft_store *store, const weft_store_key *key,
                                    const struct weft__memory_change *change,
                                    uint64_t *ret_version);

#endif
