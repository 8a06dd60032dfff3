/* SPDX-License-Identifier: MIT
 *
 * See table.h. A slot of the index has the hash of a key, so that growing needs no key and most
 * probes end without a look at an entry, and the number of its entry, counted from 1: 0 is a free
 * slot. Slots are at most three quarters full. A slot that becomes free is filled with the next one
 * that may lie there: there are no tombstones.
 */
#include "table.h"

#include <stdlib.h>

enum { SMALL_MAX = 16, CAPACITY_MIN = 2, CAPACITY_MAX = 1 << 30 };

struct table_slot {
    uint32_t hash;
    uint32_t entry; /* index + 1; 0: free */
};

struct table *table_create(uint32_t entry_size, const uint64_t seed[2]) {
    struct table *self = calloc(1, sizeof(*self));
    if (self != NULL) {
        self->entry_size = entry_size;
        self->seed[0] = seed[0];
        self->seed[1] = seed[1];
    }
    return self;
}

static struct text *key_at(const struct table *self, uint32_t index) {
    return table_at(self, index);
}

void table_destroy(struct table *self) {
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        text_free(key_at(self, i));
    }
    free(self->entries);
    free(self->slots);
    free(self);
}

/* ---- SipHash-1-3 ------------------------------------------------------------------------------ */

static uint64_t rotate(uint64_t word, int bits) {
    return word << bits | word >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint32_t hash_of(const struct table *self, slice key) {
    uint64_t v[4] = {
        self->seed[0] ^ UINT64_C(0x736f6d6570736575), self->seed[1] ^ UINT64_C(0x646f72616e646f6d),
        self->seed[0] ^ UINT64_C(0x6c7967656e657261), self->seed[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;
    size_t at = 0;
    for (; key.size - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, key.data + at, sizeof(word));
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)key.size << 56;
    for (uint32_t i = 0; at + i < key.size; i++) { /* at most 7 */
        word |= (uint64_t)(uint8_t)key.data[at + i] << (8 * i);
    }
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* ---- index ------------------------------------------------------------------------------------ */

/* The hash is not there yet, or for another entry. */
static void index_add(struct table *self, uint32_t hash, uint32_t entry_index) {
    uint32_t at = hash & self->slot_mask;
    while (self->slots[at].entry != 0) { /* ends: a quarter is free */
        at = (at + 1) & self->slot_mask;
    }
    self->slots[at] = (struct table_slot){hash, entry_index + 1};
}

/* The slot of an entry that is there. */
static uint32_t index_find(const struct table *self, uint32_t entry_index) {
    uint32_t at = hash_of(self, text_slice(key_at(self, entry_index))) & self->slot_mask;
    while (self->slots[at].entry != entry_index + 1) { /* ends: it is there */
        at = (at + 1) & self->slot_mask;
    }
    return at;
}

static void index_remove(struct table *self, uint32_t free_at) {
    uint32_t mask = self->slot_mask;
    uint32_t at = (free_at + 1) & mask;
    while (self->slots[at].entry != 0) { /* ends: a quarter is free */
        /* How far it lies from where it wants to be: it may move if that is not behind the gap. */
        uint32_t distance = (at - self->slots[at].hash) & mask;
        if (distance >= ((at - free_at) & mask)) {
            self->slots[free_at] = self->slots[at];
            free_at = at;
        }
        at = (at + 1) & mask;
    }
    self->slots[free_at] = (struct table_slot){0, 0};
}

/* A new index with room for that many entries. false: out of memory, the old one stays. */
static bool index_build(struct table *self, uint64_t entries) {
    uint64_t slot_count = 2 * SMALL_MAX;
    while (slot_count / 4 * 3 < entries) { /* at most 32 times */
        slot_count *= 2;
    }
    struct table_slot *old_slots = self->slots;
    uint64_t old_count = old_slots == NULL ? 0 : (uint64_t)self->slot_mask + 1;
    struct table_slot *slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    self->slots = slots;
    self->slot_mask = (uint32_t)(slot_count - 1);
    for (uint64_t i = 0; i < old_count; i++) {
        if (old_slots[i].entry != 0) {
            index_add(self, old_slots[i].hash, old_slots[i].entry - 1);
        }
    }
    for (uint32_t i = 0; old_slots == NULL && i < self->count; i++) {
        index_add(self, hash_of(self, text_slice(key_at(self, i))), i);
    }
    free(old_slots);
    return true;
}

/* ---- entries ---------------------------------------------------------------------------------- */

void *table_find(const struct table *self, slice key) {
    if (self->slots == NULL) {
        for (uint32_t i = 0; i < self->count; i++) {
            if (text_equals(key_at(self, i), key)) {
                return table_at(self, i);
            }
        }
        return NULL;
    }
    uint32_t hash = hash_of(self, key);
    uint32_t at = hash & self->slot_mask;
    for (; self->slots[at].entry != 0; at = (at + 1) & self->slot_mask) {
        uint32_t entry_index = self->slots[at].entry - 1;
        if (self->slots[at].hash == hash && text_equals(key_at(self, entry_index), key)) {
            return table_at(self, entry_index);
        }
    }
    return NULL;
}

static bool set_capacity(struct table *self, uint32_t capacity) {
    char *entries = realloc(self->entries, (size_t)capacity * self->entry_size);
    if (entries == NULL) {
        return false;
    }
    self->entries = entries;
    self->capacity = capacity;
    return true;
}

bool table_reserve(struct table *self, uint32_t more) {
    uint64_t needed = (uint64_t)self->count + more;
    if (needed > CAPACITY_MAX) {
        return false;
    }
    if (needed > self->capacity) {
        uint64_t doubled = self->capacity == 0 ? CAPACITY_MIN : (uint64_t)self->capacity * 2;
        if (!set_capacity(self, (uint32_t)(needed > doubled ? needed : doubled))) {
            return false;
        }
    }
    if (needed <= SMALL_MAX && self->slots == NULL) {
        return true;
    }
    bool has_room = self->slots != NULL && needed <= ((uint64_t)self->slot_mask + 1) / 4 * 3;
    return has_room || index_build(self, needed);
}

void table_push(struct table *self, const void *entry) {
    void *to = table_at(self, self->count);
    if (to != entry) {
        memcpy(to, entry, self->entry_size);
    }
    if (self->slots != NULL) {
        index_add(self, hash_of(self, text_slice(to)), self->count);
    }
    self->count++;
}

/* While there is no index the others move up and keep their order; else the last one fills in. */
static void close_gap(struct table *self, uint32_t gap) {
    uint32_t last = self->count - 1;
    if (self->slots == NULL) {
        memmove(table_at(self, gap), table_at(self, gap + 1),
                (size_t)(last - gap) * self->entry_size);
    } else if (gap != last) {
        self->slots[index_find(self, last)].entry = gap + 1;
        memcpy(table_at(self, gap), table_at(self, last), self->entry_size);
    }
    self->count--;
}

void table_remove(struct table *self, void *entry) {
    uint32_t gap = (uint32_t)((size_t)((char *)entry - self->entries) / self->entry_size);
    if (self->slots != NULL) {
        index_remove(self, index_find(self, gap));
    }
    text_free(entry);
    close_gap(self, gap);
}

/* Without memory for the smaller one, things stay as they are. */
void table_shrink(struct table *self) {
    if (self->capacity <= 4 * CAPACITY_MIN || self->count > self->capacity / 4) {
        return;
    }
    uint32_t capacity = self->count * 2 < CAPACITY_MIN ? CAPACITY_MIN : self->count * 2;
    (void)set_capacity(self, capacity);
    if (self->slots == NULL) {
        return;
    }
    if (self->count <= SMALL_MAX / 2) {
        free(self->slots);
        self->slots = NULL;
    } else if (self->count < self->slot_mask / 8) {
        (void)index_build(self, capacity);
    }
}

size_t table_bytes(const struct table *self) {
    size_t bytes = sizeof(*self) + (size_t)self->capacity * self->entry_size;
    if (self->slots != NULL) {
        bytes += ((size_t)self->slot_mask + 1) * sizeof(*self->slots);
    }
    /* A sample is enough: this is asked often. */
    uint32_t sample = self->count < 16 ? self->count : 16;
    size_t heap_bytes = 0;
    for (uint32_t i = 0; i < sample; i++) {
        heap_bytes += text_heap_bytes(key_at(self, i));
    }
    return bytes + (sample == 0 ? 0 : heap_bytes / sample * self->count);
}
