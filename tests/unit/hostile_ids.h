/* SPDX-License-Identifier: MIT
 *
 * Ids that somebody chose who has read the source of XXH3: as many as one likes with one
 * XXH3_64bits, and therefore also in one shard, whatever the number of shards.
 *
 * For 17..128 bytes XXH3 adds up, over pieces of 16 bytes, the folded product of (first 8 bytes ^ a
 * constant) and (last 8 bytes ^ another constant). When the first 8 bytes equal the constant the
 * product is 0, and the last 8 bytes may be anything. The constants are the library's own as long
 * as no key is given.
 */
#ifndef WEFT_TESTS_UNIT_HOSTILE_IDS_H
#define WEFT_TESTS_UNIT_HOSTILE_IDS_H

#include <stdint.h>
#include <string.h>

enum { HOSTILE_ID_BYTES = 32 };

/* The id of a number; two numbers never have the same. */
static inline void hostile_id(uint64_t number, unsigned char id[HOSTILE_ID_BYTES]) {
    static const unsigned char constant[8] = {0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe};
    memset(id, 'x', HOSTILE_ID_BYTES);
    memcpy(id, constant, sizeof(constant));
    for (int i = 0; i < 8; i++) {
        id[8 + i] = (unsigned char)(number >> (8 * i));
    }
}

#endif
