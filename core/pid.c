/* SPDX-License-Identifier: MIT
 *
 * Hash and text of a pid. Pure functions of the value, called on any thread. The hash is XXH3
 * (64 bit, no seed) over the 16 bytes node, slot, gen in little-endian order, so that it is the
 * same on every platform and in every version; its value never changes.
 */
#include "core/defs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <weft/pid.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PID_BYTES = 16 };

_Static_assert(sizeof(weft_pid) == PID_BYTES, "a pid is 16 bytes");
_Static_assert(WEFT_PID_TEXT_BYTES >= 16 + 1 + 8 + 1 + 8 + 1, "the longest pid fits");

static void store_le(unsigned char *bytes, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
}

uint64_t weft_pid_hash(weft_pid pid) {
    unsigned char bytes[PID_BYTES];
    store_le(bytes, pid.node, 8);
    store_le(bytes + 8, pid.slot, 4);
    store_le(bytes + 12, pid.gen, 4);
    return XXH3_64bits(bytes, sizeof(bytes));
}

int weft_pid_format(weft_pid pid, char *text, size_t size) {
    char whole[WEFT_PID_TEXT_BYTES];
    int length = snprintf(whole, sizeof(whole), "%" PRIx64 ".%" PRIx32 ".%" PRIx32, pid.node,
                          pid.slot, pid.gen);
    weft_assert(length > 0);
    weft_assert((size_t)length < sizeof(whole));
    if (text == NULL || size <= (size_t)length) {
        return -ENOSPC;
    }
    memcpy(text, whole, (size_t)length + 1);
    return length;
}
