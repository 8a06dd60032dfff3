/* SPDX-License-Identifier: MIT
 *
 * Groups: joining, leaving, looking through the members, broadcasts. See weft/name.h and
 * sched/name.h; all of it under the lock of names but for sending.
 *
 * Members stand in parts, lists of twelve, in the order they joined. A membership has one place for
 * all its life and a number that grows with the places, and neither is used twice. Whoever looks
 * through a group (a walker) notes the next number when it begins, and goes from part to part
 * with the lock held for at most WEFT__WALK_MEMBERS members and WEFT__WALK_PARTS parts at a time.
 * In between it pins the part it is in, which therefore stays, with its place in the list.
 *  G1 Who is a member from the walker's begin to its end has one place all the time, with a number
 *     below the noted one, and the walker passes it once. So it is met, and once.
 *  G2 Who leaves and joins again gets a number that is not below the noted one: it is not met a
 *     second time. So nobody is met twice, and a walk is over after what was there when it began.
 * A group is there as long as it has members or walkers. A part is there as long as it has members
 * or walkers, and while new members go into it. Parts of which one place of twelve is left cost a
 * walker as much as full ones.
 */
#include "sched/name.h"
#include <limits.h>
#include <string.h>

enum { MEMBER_BYTES = 16 }; /* what a membership is found by; words[2] lies in the same unit */

/* What is looked for when a membership is. */
struct member_key {
    uint64_t words[2];
    struct weft__name_key key;
};
_Static_assert(sizeof(((struct member_key *)0)->words) == MEMBER_BYTES, "group and pid");

WEFT_INLINE struct weft__group *group_at(const struct weft__names *names, uint32_t index) {
    struct weft__named *record = weft__named_at(names, index);
    return (struct weft__group *)(void *)&record->words[(weft__named_size(record) + 7) / 8];
}

static void member_key_init(const struct weft__names *names, uint32_t group, uint64_t target,
                            struct member_key *ret_key) {
    ret_key->words[0] = group;
    ret_key->words[1] = target;
    weft__name_key_init(names, WEFT__NAME_MEMBER, ret_key->words, MEMBER_BYTES, &ret_key->key);
}

/* The membership of an actor, 0: none. */
static uint32_t member_of(const struct weft__names *names, uint32_t group, uint64_t target) {
    struct member_key key;
    member_key_init(names, group, target, &key);
    return weft__names_search(names, &key.key);
}

/* How often a member has joined. Owner of the lock only. */
WEFT_INLINE weft_atomic_u64 *joins_of(struct weft__named *member) {
    return &member->words[2];
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Frees a part that nobody needs any more. */
static void part_tidy(struct weft__names *names, struct weft__group *group, uint32_t index) {
    struct weft__group_part *part = weft__part_at(names, index);
    if (part->live != 0 || part->pins != 0 || index == group->last) {
        return;
    }
    /* It is not the last one, so there is one behind it. */
    weft__part_at(names, part->next)->previous = part->previous;
    if (part->previous != 0) {
        weft__part_at(names, part->previous)->next = part->next;
    } else {
        group->first = part->next;
    }
    weft__names_give(names, 0, 0, index);
}

/* Frees a group that nobody is in or looks at. */
static void group_tidy(struct weft__names *names, uint32_t index) {
    struct weft__group *group = group_at(names, index);
    if (group->members != 0 || group->walkers != 0) {
        return;
    }
    weft_assert(group->first == group->last); /* all others have gone, and are not pinned */
    weft_assert(group->joins == 0);
    weft__names_give(names, 0, 0, group->last);
    weft__names_remove(names, index);
}

static bool is_full(const struct weft__names *names, const struct weft__group *group) {
    return group->last == 0 || weft__part_at(names, group->last)->fill == WEFT__PART_FILL;
}

static void part_append(struct weft__names *names, struct weft__group *group, uint32_t index) {
    uint32_t previous = group->last;
    struct weft__group_part *part = weft__part_at(names, index);
    *part = (struct weft__group_part){.previous = previous, .base = group->number};
    group->last = index;
    if (previous == 0) {
        group->first = index;
        return;
    }
    weft__part_at(names, previous)->next = index;
    part_tidy(names, group, previous);
}

/* ---- joining and leaving ------------------------------------------------------------------- */

/* What a join may need. */
struct join {
    struct weft__name_key key;
    uint64_t target;
    uint32_t group; /* index of a record, new or old */
    uint32_t part;  /* for a group whose last one is full, else 0 */
    uint32_t member;
    bool is_new; /* the group is */
};

/* Memory for all of it, or for none. */
static bool join_take(struct weft__names *names, struct join *join) {
    join->is_new = join->group == 0;
    bool wants_part = join->is_new || is_full(names, group_at(names, join->group));
    if (join->is_new) {
        join->group = weft__names_take(names, WEFT__NAME_GROUP, join->key.size);
    }
    join->part = wants_part ? weft__names_take(names, 0, 0) : 0;
    join->member = weft__names_take(names, WEFT__NAME_MEMBER, MEMBER_BYTES);
    if (join->group != 0 && join->member != 0 && (join->part != 0 || !wants_part)) {
        return true;
    }
    if (join->is_new && join->group != 0) {
        weft__names_give(names, WEFT__NAME_GROUP, join->key.size, join->group);
    }
    if (join->part != 0) {
        weft__names_give(names, 0, 0, join->part);
    }
    if (join->member != 0) {
        weft__names_give(names, WEFT__NAME_MEMBER, MEMBER_BYTES, join->member);
    }
    return false;
}

/* Enters a member; everything is there. */
static void join_enter(struct weft__names *names, const struct join *join) {
    if (join->is_new) {
        weft__names_insert(names, &join->key, join->group, 1);
        *group_at(names, join->group) = (struct weft__group){0};
    }
    struct weft__group *group = group_at(names, join->group);
    if (join->part != 0) {
        part_append(names, group, join->part);
    }
    struct weft__group_part *part = weft__part_at(names, group->last);
    struct member_key key;
    member_key_init(names, join->group, join->target, &key);
    weft__names_insert(names, &key.key, join->member, (uint64_t)group->last << 32 | part->fill);
    weft_store64_relaxed(joins_of(weft__named_at(names, join->member)), 1); /* under the lock */
    weft__names_own(names, join->target, join->member);
    part->pids[part->fill++] = join->target;
    part->live++;
    group->number++;
    group->joins++;
    group->members++;
}

/* 1: there is no memory for it under the lock. */
static int join_locked(struct weft__names *names, struct join *join) {
    if (!weft__names_claim(names, join->target)) {
        return WEFT_E_NOPROC;
    }
    join->group = weft__names_search(names, &join->key);
    uint32_t index = join->group != 0 ? member_of(names, join->group, join->target) : 0;
    if (index == 0) {
        if (!join_take(names, join)) {
            return 1;
        }
        join_enter(names, join);
        return 0;
    }
    struct weft__named *member = weft__named_at(names, index);
    uint64_t place = weft_load64_relaxed(&member->value);
    uint64_t joins = weft_load64_relaxed(joins_of(member));
    weft_store64_relaxed(joins_of(member), joins + 1);
    weft__part_at(names, (uint32_t)(place >> 32))->repeated |= 1u << (uint32_t)place;
    group_at(names, join->group)->joins++;
    return 0;
}

int weft_group_join(weft_runtime *runtime, const char *group, size_t size, weft_pid pid) {
    struct weft__names *names;
    int result = weft__names_check(runtime, group, size, pid);
    if (result == 0) {
        result = weft__names_get(runtime, &names);
    }
    if (result != 0) {
        return result;
    }
    struct join join = {.target = weft__target(pid)};
    weft__name_key_init(names, WEFT__NAME_GROUP, group, (uint32_t)size, &join.key);
    weft__names_widen(names);
    do { /* bounded by memory: again only when some was added and others took it */
        WEFT__POINT(names->core, WEFT__POINT_TOKEN);
        weft__names_enter(names);
        result = join_locked(names, &join);
        weft__names_leave(names);
    } while (result == 1 && (result = weft__names_grow(names)) == 0);
    return result;
}

void weft__group_drop(struct weft__names *names, uint32_t member) {
    struct weft__named *record = weft__named_at(names, member);
    uint64_t place = weft_load64_relaxed(&record->value);
    uint32_t group_index = (uint32_t)weft_load64_relaxed(&record->words[0]);
    uint64_t target = weft_load64_relaxed(&record->words[1]);
    struct weft__group *group = group_at(names, group_index);
    struct weft__group_part *part = weft__part_at(names, (uint32_t)(place >> 32));
    weft_assert(part->pids[(uint32_t)place] == target);
    part->pids[(uint32_t)place] = 0;
    part->live--;
    group->members--;
    group->joins -= weft_load64_relaxed(joins_of(record));
    weft__names_disown(names, target, member);
    weft__names_remove(names, member);
    part_tidy(names, group, (uint32_t)(place >> 32));
    group_tidy(names, group_index);
}

static int leave_locked(struct weft__names *names, const struct weft__name_key *key,
                        uint64_t target) {
    uint32_t group = weft__names_search(names, key);
    uint32_t index = group != 0 ? member_of(names, group, target) : 0;
    if (index == 0) {
        return -ENOENT;
    }
    struct weft__named *member = weft__named_at(names, index);
    uint64_t joins = weft_load64_relaxed(joins_of(member));
    if (joins == 1) {
        weft__group_drop(names, index);
        return 0;
    }
    weft_store64_relaxed(joins_of(member), joins - 1);
    group_at(names, group)->joins--;
    return 0;
}

int weft_group_leave(weft_runtime *runtime, const char *group, size_t size, weft_pid pid) {
    int result = weft__names_check(runtime, group, size, pid);
    if (result == -EINVAL) {
        return result;
    }
    struct weft__names *names = weft__names_of(runtime);
    if (names == NULL || result != 0) {
        return -ENOENT;
    }
    struct weft__name_key key;
    weft__name_key_init(names, WEFT__NAME_GROUP, group, (uint32_t)size, &key);
    weft__names_enter(names);
    result = leave_locked(names, &key, weft__target(pid));
    weft__names_leave(names);
    return result;
}

/* ---- walks --------------------------------------------------------------------------------- */

/* Who looks through a group, and what it met last. */
struct walk {
    struct weft__names *names;
    uint64_t limit; /* numbers below this one */
    uint32_t group; /* 0: the walk is over */
    uint32_t part;  /* pinned */
    uint32_t place;
    bool counts; /* joins is wanted */
    uint32_t count;
    uint64_t pids[WEFT__WALK_MEMBERS];
    uint32_t joins[WEFT__WALK_MEMBERS];
};

static void walk_begin(struct walk *walk, const struct weft__name_key *key) {
    walk->group = weft__names_search(walk->names, key);
    if (walk->group != 0) {
        struct weft__group *group = group_at(walk->names, walk->group);
        group->walkers++;
#ifdef WEFT_PLANT_GROUP_LIMIT
        walk->limit = UINT64_MAX;
#else
        walk->limit = group->number;
#endif
        walk->part = group->first;
        walk->place = 0;
#ifndef WEFT_PLANT_GROUP_PIN
        weft__part_at(walk->names, walk->part)->pins++;
#endif
    }
}

/* Leaves the part it is in, for next (0: for good). */
static void walk_move(struct walk *walk, uint32_t next) {
    struct weft__group *group = group_at(walk->names, walk->group);
    uint32_t left = walk->part;
    walk->part = next;
    walk->place = 0;
#ifndef WEFT_PLANT_GROUP_PIN
    if (next != 0) {
        weft__part_at(walk->names, next)->pins++;
    }
    weft__part_at(walk->names, left)->pins--;
    part_tidy(walk->names, group, left);
#else
    (void)group;
    (void)left;
#endif
}

static void walk_end(struct walk *walk) {
    if (walk->group != 0) {
        walk_move(walk, 0);
        group_at(walk->names, walk->group)->walkers--;
        group_tidy(walk->names, walk->group);
        walk->group = 0;
    }
}

static void walk_meet(struct walk *walk, const struct weft__group_part *part) {
    uint64_t target = part->pids[walk->place];
    uint64_t joins = 1;
    if (walk->counts && (part->repeated & 1u << walk->place) != 0) {
        uint32_t member = member_of(walk->names, walk->group, target);
        joins = weft_load64_relaxed(joins_of(weft__named_at(walk->names, member)));
    }
    walk->pids[walk->count] = target;
    walk->joins[walk->count] = (uint32_t)weft_min_u64(joins, UINT32_MAX);
    walk->count++;
}

/* Meets the next members; ends the walk behind the last one. */
static void walk_on(struct walk *walk) {
    uint32_t parts = 0;
    while (walk->group != 0 && parts < WEFT__WALK_PARTS) { /* or until so many are met */
        const struct weft__group_part *part = weft__part_at(walk->names, walk->part);
        if (part->next != 0) {
            weft_prefetch(weft__part_at(walk->names, part->next));
        }
        while (walk->place < part->fill && part->base + walk->place < walk->limit) {
            if (walk->count == WEFT__WALK_MEMBERS) {
                return;
            }
            if (part->pids[walk->place] != 0) {
                walk_meet(walk, part);
            }
            walk->place++;
        }
        if (part->next == 0 || part->base + walk->place >= walk->limit) {
            walk_end(walk);
            return;
        }
        walk_move(walk, part->next);
        parts++;
    }
}

/* One hold of the lock. False: the walk was over before. */
static bool walk_step(struct walk *walk, const struct weft__name_key *key) {
    walk->count = 0;
    if (key == NULL && walk->group == 0) {
        return false;
    }
    WEFT__POINT(walk->names->core, WEFT__POINT_TOKEN);
    weft__names_enter(walk->names);
    if (key != NULL) {
        walk_begin(walk, key);
    }
    walk_on(walk);
    weft__names_leave(walk->names);
    return true;
}

/* Copies what was met; returns how many are written then. */
static uint32_t members_write(const struct walk *walk, weft_pid *ret_pids, uint32_t written,
                              uint32_t max) {
    for (uint32_t i = 0; i < walk->count; i++) {
        for (uint32_t n = 0; n < walk->joins[i] && written < max; n++) {
            ret_pids[written++] = (weft_pid){.node = walk->names->runtime->node,
                                             .slot = (uint32_t)(walk->pids[i] >> 32),
                                             .gen = (uint32_t)walk->pids[i]};
        }
    }
    return written;
}

/* How many there are now; ends the walk, if it is not over. */
static uint32_t members_count(struct walk *walk, const struct weft__name_key *key) {
    weft__names_enter(walk->names);
    uint32_t group = weft__names_search(walk->names, key);
    uint64_t joins = group != 0 ? group_at(walk->names, group)->joins : 0;
    walk_end(walk);
    weft__names_leave(walk->names);
    return (uint32_t)weft_min_u64(joins, UINT32_MAX);
}

uint32_t weft_group_members(weft_runtime *runtime, const char *group, size_t size,
                            weft_pid *ret_pids, uint32_t max) {
    struct walk walk;
    struct weft__name_key key;
    if (runtime == NULL || group == NULL || size == 0 || size > WEFT_NAME_BYTES_MAX ||
        weft__names_of(runtime) == NULL) {
        return 0;
    }
    max = ret_pids != NULL ? max : 0;
    walk.names = weft__names_of(runtime);
    walk.group = 0;
    walk.counts = true;
    weft__name_key_init(walk.names, WEFT__NAME_GROUP, group, (uint32_t)size, &key);
    uint32_t written = 0;
    const struct weft__name_key *first = &key;
    while (written < max && walk_step(&walk, first)) { /* bounded by the members */
        written = members_write(&walk, ret_pids, written, max);
        first = NULL;
    }
    if (written < max) {
        return written;
    }
    uint32_t count = members_count(&walk, &key);
    return count > written ? count : written;
}

/* ---- broadcasts ---------------------------------------------------------------------------- */

/* A broadcast under way. */
struct cast {
    struct weft__scheduler *s;
    struct weft_ctx *ctx;
    struct weft__draft draft;
    uint64_t except;
    weft_msg *msg; /* made, not sent yet */
    uint64_t sent; /* answers 0 of a send */
};

static int cast_make(struct cast *cast) {
    if (cast->msg != NULL) {
        return 0;
    }
    cast->msg = weft__msg_small(cast->s, cast->ctx, &cast->draft);
    if (weft_likely(cast->msg != NULL)) {
        return 0;
    }
    int result = weft__msg_make(cast->s->runtime, cast->s, &cast->draft, &cast->msg);
    if (result == 0) {
        cast->msg->weft__from = weft__from(cast->ctx);
    }
    return result;
}

/* As weft_send, but that nobody is asked for a READY: of a thousand full mailboxes each would have
 * to be remembered. The message stays if it did not go. */
static int cast_send(struct cast *cast, uint64_t target) {
    struct weft__scheduler *s = cast->s;
    int result = cast_make(cast);
    if (weft_unlikely(result != 0)) {
        return result;
    }
    result = weft__post(s, target, cast->msg, true);
    if (weft_likely(result == 0)) {
        cast->msg = NULL;
    } else if (result == -EBUSY &&
               (weft_load32_relaxed(&weft__slot_at(s->slots, (uint32_t)(target >> 32))->traits) &
                WEFT__TRAIT_DROP_NEW) != 0) {
        weft_counter_add(&s->counters.messages_dropped, 1);
    } else {
        weft_counter_add(&s->counters.messages_rejected, 1);
        return 0;
    }
    weft_counter_add(&s->counters.messages_sent, 1);
    cast->sent++;
    return 0;
}

/* Sends to whom one hold of the lock has met. */
static int cast_batch(struct cast *cast, const struct walk *walk) {
    for (uint32_t i = 0; i < walk->count; i++) {
        if (i + 4 < walk->count) {
            uint64_t ahead = walk->pids[i + 4];
            weft_prefetch_write(&weft__slot_at(cast->s->slots, (uint32_t)(ahead >> 32))->mailbox);
        }
        int result = walk->pids[i] != cast->except ? cast_send(cast, walk->pids[i]) : 0;
        if (weft_unlikely(result != 0)) {
            return result;
        }
    }
    return 0;
}

/* A payload that does not fit into a message is copied once, for all. */
static int cast_share(struct cast *cast, const weft_broadcast *what, weft_buf **ret_buf) {
    *ret_buf = NULL;
    if (what->size <= 256 - (size_t)WEFT__HEADER_BYTES) {
        return 0;
    }
    int result = weft__buf_create(&cast->s->runtime->core, what->size, ret_buf);
    if (result == 0) {
        memcpy((*ret_buf)->data, what->data, what->size);
        cast->draft.data = (*ret_buf)->data;
        cast->draft.buf = *ret_buf;
    }
    return result;
}

static int cast_run(struct cast *cast, struct walk *walk, const struct weft__name_key *key) {
    int result = 0;
    while (result == 0 && walk_step(walk, key)) { /* bounded by the members */
        result = cast_batch(cast, walk);
        weft__doorbells(cast->s); /* others may begin with what they got */
        key = NULL;
    }
    if (walk->group != 0) { /* memory is used up */
        weft__names_enter(walk->names);
        walk_end(walk);
        weft__names_leave(walk->names);
    }
    if (cast->msg != NULL) {
        weft__msg_free(cast->s->runtime, cast->s, cast->msg);
    }
    return result;
}

int weft_group_broadcast(weft_ctx *ctx, const char *group, size_t size,
                         const weft_broadcast *what) {
    struct weft__scheduler *s = ctx->runner;
    if (group == NULL || size == 0 || size > WEFT_NAME_BYTES_MAX || what == NULL ||
        what->struct_size != sizeof(*what) || (what->data == NULL && what->size != 0)) {
        return -EINVAL;
    }
    if (what->size > s->runtime->config.message_bytes_max || what->size > UINT32_MAX) {
        return -EMSGSIZE;
    }
    struct walk walk = {.names = weft__names_of(s->runtime)};
    if (walk.names == NULL) {
        return 0;
    }
    struct cast cast = {
        .s = s,
        .ctx = ctx,
        .draft = {.data = what->size != 0 ? what->data : "",
                  .size = what->size,
                  .tag = what->tag,
                  .kind = WEFT_MSG_USER},
        .except = what->except.node == s->node ? weft__target(what->except) : 0,
    };
    weft_buf *buf;
    int result = cast_share(&cast, what, &buf);
    if (result == 0) {
        struct weft__name_key key;
        weft__name_key_init(walk.names, WEFT__NAME_GROUP, group, (uint32_t)size, &key);
        result = cast_run(&cast, &walk, &key);
        weft_buf_unref(buf);
    }
    return result != 0 ? result : (int)weft_min_u64(cast.sent, INT_MAX);
}
