/* SPDX-License-Identifier: MIT
 *
 * Looking at what is active: one address, one pid, all of them. Nothing here activates anything.
 */
#include "shard/shard.h"
#include <string.h>

static void fill(struct weft__shards *shards, weft_pid pid, const struct weft__vkey *key,
                 weft_ventry *ret_entry) {
    uint32_t index = pid.slot;
    const struct weft_ctx *slot = weft__slot_at(&shards->runtime->slots, index);
    struct weft__record *record = weft__record_at(shards, index);
    const weft_type *type = weft__name_type(shards, key->name);
    uint64_t now_ns = weft__now(shards->core);
    uint64_t active_ns = weft_load64_relaxed(&slot->active_ns); /* advisory, as account below */
    *ret_entry = (weft_ventry){
        .struct_size = ret_entry->struct_size,
        .capability = shards->capabilities[key->name >> 16],
        .type = type,
        .id = key->id,
        .id_size = key->id_size,
        .shard = key->shard,
        .pid = pid,
        .bytes = type->def.state_size +
                 (record->extra == NULL ? 0 : weft_load64_relaxed(&record->extra->account)),
        .idle_ns = now_ns > active_ns ? now_ns - active_ns : 0,
    };
}

static bool check(const weft_ventry *entry) {
    return entry != NULL && entry->struct_size == sizeof(*entry);
}

int weft_virtual_self(weft_ctx *ctx, weft_ventry *ret_entry) {
    if (!check(ret_entry)) {
        return -EINVAL;
    }
    if (!weft__is_virtual(ctx)) {
        return -ENOENT;
    }
    struct weft__shards *shards = weft__shards_of(ctx->runner->runtime);
    struct weft__record *record = weft__record_at(shards, ctx->index);
    struct weft__vkey key;
    weft__vkey_of(shards, record, &key);
    fill(shards, weft_self(ctx), &key, ret_entry);
    if (key.id == key.words) {
        ret_entry->id = &record->words; /* it lives as long as the actor */
    }
    return 0;
}

int weft_virtual_get(weft_runtime *runtime, const weft_capability *capability,
                     const weft_type *type, const void *id, size_t id_size, weft_pid *ret_pid) {
    struct weft__vkey key;
    int result = weft__vkey_given(capability, type, id, id_size, &key);
    if (result != 0 || type->runtime != runtime || ret_pid == NULL) {
        return -EINVAL;
    }
    struct weft__shards *shards = capability->shards;
    weft__token_enter(shards, key.sub);
    uint32_t index = weft__table_find_sure(shards, &key);
    uint32_t gen = index == 0 ? 0 : weft_load32_relaxed(&weft__record_at(shards, index)->gen);
    bool open = index != 0 && weft__is_open(shards, index, gen);
    weft__token_leave(key.sub);
    if (!open) {
        return WEFT_E_INACTIVE;
    }
    *ret_pid = (weft_pid){.node = runtime->node, .slot = index, .gen = gen};
    return 0;
}

/* Reads the record of a slot of that generation, if it has it. */
static bool read_record(struct weft__shards *shards, weft_pid pid, void *id, size_t id_max,
                        weft_ventry *ret_entry) {
    struct weft__record *record = weft__record_at(shards, pid.slot);
    struct weft__lock *lock = weft__record_lock(shards, pid.slot);
    struct weft__vkey key;
    weft__lock_enter(lock, shards->core->env);
    bool found = weft_load32_acquire(&record->gen) == pid.gen; /* pairs with R1 */
    if (found) {
        weft__vkey_of(shards, record, &key);
        if (id_max > 0) {
            memcpy(id, key.id, key.id_size < id_max ? key.id_size : id_max);
        }
        fill(shards, pid, &key, ret_entry); /* not what it is by now */
        ret_entry->id = id;
    }
    weft__lock_leave(lock);
    return found;
}

int weft_virtual_key(weft_runtime *runtime, weft_pid pid, void *id, size_t id_max,
                     weft_ventry *ret_entry) {
    if (runtime == NULL || !check(ret_entry) || (id == NULL && id_max != 0)) {
        return -EINVAL;
    }
    struct weft__shards *shards = weft__shards_of(runtime);
    uint64_t end = ((uint64_t)pid.slot + 1) * sizeof(struct weft__record);
    if (shards == NULL || pid.node != runtime->node || pid.gen == 0 ||
        end > weft_load64_acquire(&shards->records.used)) {
        return WEFT_E_NOPROC;
    }
    return read_record(shards, pid, id, id_max, ret_entry) ? 0 : WEFT_E_NOPROC;
}

static uint64_t count_kind(const struct weft__kind *kind) {
    uint64_t count = 0;
    for (uint32_t i = 0; kind != NULL && i < WEFT__COUNT_STRIPES; i++) { /* advisory: a gauge */
        count += weft_load64_relaxed(&kind->counts[i].count);
    }
    return (int64_t)count < 0 ? 0 : count;
}

uint64_t weft_virtual_count(weft_runtime *runtime, const weft_type *type) {
    struct weft__shards *shards = runtime == NULL ? NULL : weft__shards_of(runtime);
    if (shards == NULL || (type != NULL && type->runtime != runtime)) {
        return 0;
    }
    uint32_t first = type == NULL ? 0 : type->id;
    uint32_t end = type == NULL ? weft_load32_acquire(&runtime->type_count) : first + 1;
    uint64_t count = 0;
    for (uint32_t i = first; i < end; i++) {
        count += count_kind(
            (const struct weft__kind *)(uintptr_t)weft_load64_acquire(&shards->kinds[i]));
    }
    return count;
}

/* ---- all of them --------------------------------------------------------------------------- */

enum { CURSOR_MAGIC = 0x72756377 /* wcur */ };

struct weft_vcursor {
    uint32_t magic;
    struct weft__shards *shards;
    const weft_type *type;
    uint32_t sub; /* the next one */
    uint32_t at;  /* the next of pids */
    uint32_t count;
    uint32_t capacity;
    uint64_t *pids;    /* slot and generation, of one subtable */
    unsigned char *id; /* of the last entry given */
    struct weft__core *core;
};

int weft_vcursor_create(weft_runtime *runtime, const weft_type *type, weft_vcursor **ret_cursor) {
    if (runtime == NULL || ret_cursor == NULL || (type != NULL && type->runtime != runtime)) {
        return -EINVAL;
    }
    weft_vcursor *cursor = weft__alloc(&runtime->core, sizeof(*cursor), "cursor");
    if (cursor == NULL) {
        return -ENOMEM;
    }
    cursor->id = weft__alloc(&runtime->core, WEFT_ID_MAX, "cursor");
    if (cursor->id == NULL) {
        weft__free(&runtime->core, cursor, sizeof(*cursor), "cursor");
        return -ENOMEM;
    }
    cursor->magic = CURSOR_MAGIC;
    cursor->shards = weft__shards_of(runtime);
    cursor->type = type;
    cursor->core = &runtime->core;
    *ret_cursor = cursor;
    return 0;
}

static int make_room(weft_vcursor *cursor, uint32_t count) {
    void *pids = cursor->pids;
    uint32_t capacity = count + count / 4 + 16;
    int result = weft__grow(cursor->core, &pids, 0, capacity * sizeof(*cursor->pids), "cursor");
    if (result == 0) {
        cursor->pids = pids;
        cursor->capacity = capacity;
    }
    return result;
}

/* Copies the pids of the next subtable that has any. 1, 0: there is none left; -ENOMEM. */
static int next_sub(weft_vcursor *cursor) {
    struct weft__shards *shards = cursor->shards;
    while (shards != NULL && cursor->sub < shards->sub_count) { /* bounded: one each, or grows */
        struct weft__subtable *sub = &shards->subs[cursor->sub];
        weft__token_enter(shards, sub);
        uint32_t count = weft__table_pids(shards, sub, cursor->pids, cursor->capacity);
        weft__token_leave(sub);
        if (count > cursor->capacity) {
            int result = make_room(cursor, count);
            if (result != 0) {
                return result;
            }
            continue;
        }
        cursor->sub++;
        cursor->at = 0;
        cursor->count = count;
        if (count > 0) {
            return 1;
        }
    }
    return 0;
}

int weft_vcursor_next(weft_vcursor *cursor, weft_ventry *ret_entry) {
    if (cursor == NULL || !check(ret_entry)) {
        return -EINVAL;
    }
    weft_assert(cursor->magic == CURSOR_MAGIC);
    for (;;) { /* bounded by what is active */
        weft_assert(cursor->at <= cursor->count);
        if (cursor->at == cursor->count) {
            int result = next_sub(cursor);
            if (result != 1) {
                return result;
            }
        }
        uint64_t target = cursor->pids[cursor->at++];
        weft_pid pid = {.node = cursor->shards->runtime->node,
                        .slot = (uint32_t)(target >> 32),
                        .gen = (uint32_t)target};
        if (read_record(cursor->shards, pid, cursor->id, WEFT_ID_MAX, ret_entry) &&
            (cursor->type == NULL || cursor->type == ret_entry->type)) {
            return 1;
        }
    }
}

void weft_vcursor_destroy(weft_vcursor **cursor_at) {
    if (cursor_at == NULL || *cursor_at == NULL) {
        return;
    }
    weft_vcursor *cursor = *cursor_at;
    weft_assert(cursor->magic == CURSOR_MAGIC);
    cursor->magic = 0;
    weft__free(cursor->core, cursor->pids, cursor->capacity * sizeof(*cursor->pids), "cursor");
    weft__free(cursor->core, cursor->id, WEFT_ID_MAX, "cursor");
    weft__free(cursor->core, cursor, sizeof(*cursor), "cursor");
    *cursor_at = NULL;
}
