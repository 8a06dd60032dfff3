/* SPDX-License-Identifier: MIT
 *
 * Crashes of virtual actors: how often an address has crashed lately, and when that was too often.
 * For types with crash_max; others never come here.
 *
 * What is remembered lies in stripes by the secret hash of the address, each with a lock, buckets, a
 * list by age and a bound in bytes: when that is used up the oldest go. It is made with the first
 * crash of the runtime, and nobody looks while crash_count says that nothing is remembered.
 *
 * A crash is entered by the actor that crashes, before its mailbox closes: while it is open there is
 * no other activation of the address, and who finds it closed sees the crash (the order is that of
 * the mailbox's word). Whether an address may be activated is asked under its token, which makes
 * one trial of any number of senders. Stripes are locked inside tokens, never the other way round.
 *
 * An entry is in one of three states. COUNTING: at_ns is its last crash, times are those that still
 * count. PAUSED: until at_ns; from then on the next activation is a trial. TRIAL: since at_ns. It is
 * as good as gone when nothing depends on it any more (is_over); the keeper takes it out later.
 */
#include "shard/shard.h"
#include <string.h>

enum {
    STRIPES = 16,
    BUCKETS = 1024, /* of a stripe */
    STRIPE_BYTES = 512 << 10,
    WALK_BUCKETS = 64, /* looked through under one lock */
    TIMES_FIRST = 4,   /* room for times in a new entry */
    ROUNDS_MAX = 4,    /* looks at an entry, each with more room in hand */
    ID_SHOWN = 48,
};

#define WALK_NS UINT64_C(1000000000) /* a stripe is looked through no more often */

enum state { COUNTING, PAUSED, TRIAL };

/* One address. All of it under the lock of its stripe. */
struct crash {
    struct crash *next; /* in its bucket, or in a list of what is to be freed */
    struct crash *older;
    struct crash *newer;
    uint64_t hash;
    uint64_t at_ns;
    enum state state;
    uint32_t name;
    uint32_t id_size;
    uint32_t capacity; /* of times */
    uint32_t first;    /* the oldest of times, a ring */
    uint32_t count;
    uint64_t times[]; /* then the id */
};

struct stripe {
    alignas(WEFT_CACHELINE) struct weft__lock lock;
    /* under lock */
    struct crash *oldest;
    struct crash *newest;
    uint64_t bytes;
    uint64_t due_ns;   /* when one may be over, at the earliest */
    uint64_t floor_ns; /* and it is not looked through before */
    struct crash *buckets[BUCKETS];
};

struct weft__crashes {
    struct stripe stripes[STRIPES];
};

_Static_assert(sizeof(struct crash) + WEFT__CRASH_MAX * sizeof(uint64_t) + WEFT_ID_MAX <
                   STRIPE_BYTES / 2,
               "the largest entry fits");

/* ---- entries ------------------------------------------------------------------------------- */

static struct weft__crashes *crashes_of(const struct weft__shards *shards) {
    /* Pairs with Q1. */
    return (struct weft__crashes *)(uintptr_t)weft_load64_acquire(&shards->crashes);
}

/* Is anything remembered at all? Relaxed: who must see the crash of an address sees this with it,
 * as it was counted before; for others it is advisory. */
static bool is_empty(const struct weft__shards *shards) {
    return weft_load64_relaxed(&shards->crash_count) == 0;
}

static struct stripe *stripe_of(const struct weft__shards *shards, uint64_t hash) {
    return &crashes_of(shards)->stripes[hash % STRIPES];
}

static struct crash **bucket_of(struct stripe *stripe, uint64_t hash) {
    return &stripe->buckets[hash / STRIPES % BUCKETS];
}

static size_t crash_bytes(const struct crash *crash) {
    return sizeof(*crash) + crash->capacity * sizeof(crash->times[0]) + crash->id_size;
}

static unsigned char *id_of(struct crash *crash) {
    return (unsigned char *)&crash->times[crash->capacity];
}

static bool is_of(struct crash *crash, const struct weft__vkey *key) {
    return crash->hash == key->hash && crash->name == key->name && crash->id_size == key->id_size &&
           memcmp(id_of(crash), key->id, key->id_size) == 0;
}

static struct crash *find(struct stripe *stripe, const struct weft__vkey *key) {
    struct crash *crash = *bucket_of(stripe, key->hash);
    while (crash != NULL && !is_of(crash, key)) { /* bounded: some 4 to a bucket when it is full */
        crash = crash->next;
    }
    return crash;
}

/* The next one after which nothing depends on it. A pause that is over still makes the next
 * activation a trial, for as long as the pause was. */
static uint64_t due_of(const struct weft__shards *shards, const struct crash *crash) {
    const weft_type_def *def = &weft__name_type(shards, crash->name)->def;
    uint64_t wait_ns = crash->state == PAUSED
                           ? weft_max_u64(def->crash_window_ns, def->crash_pause_ns)
                           : def->crash_window_ns;
    return weft_add_saturated(crash->at_ns, wait_ns);
}

static bool is_over(const struct weft__shards *shards, const struct crash *crash, uint64_t now_ns) {
    return due_of(shards, crash) < now_ns;
}

static struct crash *crash_make(struct weft__shards *shards, const struct weft__vkey *key,
                                uint32_t capacity) {
    size_t bytes = sizeof(struct crash) + capacity * sizeof(uint64_t) + key->id_size;
    struct crash *crash = weft__alloc(shards->core, bytes, "crash");
    if (crash != NULL) {
        crash->hash = key->hash;
        crash->name = key->name;
        crash->id_size = key->id_size;
        crash->capacity = capacity;
        memcpy(id_of(crash), key->id, key->id_size);
    }
    return crash;
}

/* Frees entries that are in no bucket, linked by next. Not under a lock. */
static void crash_free(struct weft__shards *shards, struct crash *gone) {
    while (gone != NULL) { /* bounded by what a stripe can hold */
        struct crash *next = gone->next;
        weft__free(shards->core, gone, crash_bytes(gone), "crash");
        gone = next;
    }
}

/* ---- the lists of a stripe, under its lock --------------------------------------------------- */

static void list_add(struct stripe *stripe, struct crash *crash) {
    crash->newer = NULL;
    crash->older = stripe->newest;
    if (stripe->newest != NULL) {
        stripe->newest->newer = crash;
    } else {
        stripe->oldest = crash;
    }
    stripe->newest = crash;
}

static void list_remove(struct stripe *stripe, struct crash *crash) {
    *(crash->older != NULL ? &crash->older->newer : &stripe->oldest) = crash->newer;
    *(crash->newer != NULL ? &crash->newer->older : &stripe->newest) = crash->older;
}

static void enter(struct weft__shards *shards, struct stripe *stripe, struct crash *crash) {
    struct crash **bucket = bucket_of(stripe, crash->hash);
    crash->next = *bucket;
    *bucket = crash;
    list_add(stripe, crash);
    stripe->bytes += crash_bytes(crash);
    (void)weft_add64_acq_rel(&shards->crash_count, 1);
}

/* Takes an entry out and puts it in front of those to be freed. */
static void take_out(struct weft__shards *shards, struct stripe *stripe, struct crash *crash,
                     struct crash **gone) {
    struct crash **link = bucket_of(stripe, crash->hash);
    while (*link != crash) { /* bounded: it is in its bucket */
        link = &(*link)->next;
    }
    *link = crash->next;
    list_remove(stripe, crash);
    stripe->bytes -= crash_bytes(crash);
    crash->next = *gone;
    *gone = crash;
    (void)weft_add64_acq_rel(&shards->crash_count, UINT64_MAX);
}

/* The entry has changed: it is the newest, and says when it will be over. Returns when somebody
 * has to look; UINT64_MAX: never. */
static uint64_t touch(struct weft__shards *shards, struct stripe *stripe, struct crash *crash) {
    list_remove(stripe, crash);
    list_add(stripe, crash);
    uint64_t due_ns = weft_max_u64(due_of(shards, crash), stripe->floor_ns);
    stripe->due_ns = weft_min_u64(stripe->due_ns, due_ns);
    return due_ns;
}

/* ---- counting ------------------------------------------------------------------------------ */

/* A crash, and what came of it. */
struct verdict {
    const struct weft__vkey *key;
    const weft_type *type;
    uint64_t now_ns;
    uint64_t due_ns;   /* when to look at the stripe */
    uint32_t crashes;  /* that led to a pause; 0: there is none */
    uint32_t lost;     /* entries that had to go for this one */
    bool is_counted;   /* it could be */
    bool is_unoffered; /* the capability is not this node's any more */
};

/* Makes the stripes if there are none. False: no memory. */
static bool make_stripes(struct weft__shards *shards) {
    if (weft_likely(crashes_of(shards) != NULL)) {
        return true;
    }
    struct weft__crashes *made = weft__alloc_aligned(shards->core, sizeof(*made), "crashes");
    if (made == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < STRIPES; i++) {
        made->stripes[i].due_ns = UINT64_MAX;
    }
    uint64_t none = 0;
    /* Q1: publishes the stripes; pairs with the load in crashes_of. */
    if (!weft_cas64_acq_rel(&shards->crashes, &none, (uint64_t)(uintptr_t)made)) {
        weft__free_aligned(shards->core, made, sizeof(*made), "crashes");
    }
    return true;
}

/* Lets go of times that do not count any more. */
static void prune(struct crash *crash, const struct verdict *verdict) {
    uint64_t window_ns = verdict->type->def.crash_window_ns;
    while (crash->count != 0 &&
           weft_add_saturated(crash->times[crash->first], window_ns) < verdict->now_ns) {
        crash->first = (crash->first + 1) % crash->capacity;
        crash->count--;
    }
}

/* For how many times an entry is lacking that can be made use of; 0: none is. */
static uint32_t lacking(const struct crash *crash, uint32_t crash_max) {
    if (crash == NULL) {
        return crash_max < TIMES_FIRST ? crash_max : TIMES_FIRST;
    }
    if (crash->state != COUNTING || crash->count == crash_max || crash->count < crash->capacity) {
        return 0;
    }
    return crash_max / 2 < crash->capacity ? crash_max : crash->capacity * 2;
}

/* Puts one with more room in the place of crash (NULL: of none). The oldest go if need be. */
static void put_in_place(struct weft__shards *shards, struct stripe *stripe, struct crash *crash,
                         struct crash *larger, struct crash **gone, struct verdict *verdict) {
    if (crash != NULL) {
        for (uint32_t i = 0; i < crash->count; i++) {
            larger->times[i] = crash->times[(crash->first + i) % crash->capacity];
        }
        larger->state = crash->state;
        larger->at_ns = crash->at_ns;
        larger->count = crash->count;
        take_out(shards, stripe, crash, gone);
    }
    while (stripe->oldest != NULL && stripe->bytes + crash_bytes(larger) > STRIPE_BYTES) {
        verdict->lost += is_over(shards, stripe->oldest, verdict->now_ns) ? 0 : 1;
        take_out(shards, stripe, stripe->oldest, gone); /* bounded by the entries of the stripe */
    }
    enter(shards, stripe, larger);
}

/* What follows from one more crash. */
static void judge(struct crash *crash, struct verdict *verdict) {
    const weft_type_def *def = &verdict->type->def;
    if (crash->state == COUNTING && crash->count < def->crash_max) {
        weft_assert(crash->count < crash->capacity);
        crash->times[(crash->first + crash->count) % crash->capacity] = verdict->now_ns;
        crash->count++;
        crash->at_ns = verdict->now_ns;
        return;
    }
    verdict->crashes = crash->state == COUNTING ? crash->count + 1 : 1;
    crash->state = PAUSED;
    crash->count = 0;
    crash->first = 0;
    crash->at_ns = weft_add_saturated(verdict->now_ns, def->crash_pause_ns);
}

/* One look at the entry, with *spare to be used. 0: the crash is entered, or need not be; else the
 * room for times that is lacking. */
static uint32_t try_count(struct weft__shards *shards, struct stripe *stripe, struct crash **spare,
                          struct crash **gone, struct verdict *verdict) {
    /* Who takes the capability away goes through the stripes afterwards. */
    if (weft_load32_acquire(&shards->capabilities[verdict->key->name >> 16]->offered) == 0) {
        verdict->is_unoffered = true;
        return 0;
    }
    struct crash *crash = find(stripe, verdict->key);
    if (crash != NULL && is_over(shards, crash, verdict->now_ns)) {
        crash->state = COUNTING;
        crash->count = 0;
    }
    if (crash != NULL) {
        prune(crash, verdict);
    }
    uint32_t wanted = lacking(crash, verdict->type->def.crash_max);
    if (wanted != 0) {
        if (*spare == NULL || (*spare)->capacity < wanted) {
            return wanted;
        }
        put_in_place(shards, stripe, crash, *spare, gone, verdict);
        crash = *spare;
        *spare = NULL;
    }
    judge(crash, verdict);
    verdict->due_ns = touch(shards, stripe, crash);
    verdict->is_counted = true;
    return 0;
}

static void count_crash(struct weft__shards *shards, struct verdict *verdict) {
    if (!make_stripes(shards)) {
        return;
    }
    struct stripe *stripe = stripe_of(shards, verdict->key->hash);
    struct crash *spare = NULL;
    struct crash *gone = NULL;
    uint32_t wanted = 1;
    for (uint32_t round = 0; wanted != 0 && round < ROUNDS_MAX; round++) {
        weft__lock_enter(&stripe->lock, shards->core->env);
        wanted = try_count(shards, stripe, &spare, &gone, verdict);
        weft__lock_leave(&stripe->lock);
        if (wanted != 0) {
            crash_free(shards, spare);
            spare = crash_make(shards, verdict->key, wanted);
            if (spare == NULL) {
                break;
            }
        }
    }
    crash_free(shards, spare);
    crash_free(shards, gone);
}

/* ---- the log ------------------------------------------------------------------------------- */

/* An id as text: what is not printable as \xNN, a long one cut. text has 4 * ID_SHOWN + 4 bytes. */
static void show_id(const struct weft__vkey *key, char *text) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *id = key->id;
    uint32_t shown = key->id_size < ID_SHOWN ? key->id_size : ID_SHOWN;
    for (uint32_t i = 0; i < shown; i++) {
        if (id[i] >= ' ' && id[i] <= '~' && id[i] != '\\') {
            *text++ = (char)id[i];
        } else {
            *text++ = '\\';
            *text++ = 'x';
            *text++ = digits[id[i] >> 4];
            *text++ = digits[id[i] & 15];
        }
    }
    memcpy(text, "...", 4);
    text[shown == key->id_size ? 0 : 3] = 0;
}

static void log_breaker(struct weft__shards *shards, const struct verdict *verdict, int reason) {
    if (shards->core->log.cb == NULL || WEFT_LOG_WARN > shards->core->log_level) {
        return;
    }
    char id[4 * ID_SHOWN + 4];
    show_id(verdict->key, id);
    weft_log_field fields[] = {
        {.key = "type", .kind = WEFT_LOG_TEXT, .text = verdict->type->name},
        {.key = "id", .kind = WEFT_LOG_TEXT, .text = id},
        {.key = "crashes", .kind = WEFT_LOG_U64, .u64 = verdict->crashes},
        {.key = "error", .kind = WEFT_LOG_TEXT, .text = weft_strerror(reason)},
    };
    weft__log(shards->core, WEFT_LOG_WARN, "virtual.breaker", fields, 4);
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* Takes out the entry of an address. True: there was one that counts. only_trial: if it is one. */
static bool drop(struct weft__shards *shards, const struct weft__vkey *key, uint64_t now_ns,
                 bool only_trial) {
    struct stripe *stripe = stripe_of(shards, key->hash);
    struct crash *gone = NULL;
    weft__lock_enter(&stripe->lock, shards->core->env);
    struct crash *crash = find(stripe, key);
    bool known = crash != NULL && !is_over(shards, crash, now_ns);
    if (crash != NULL && (!only_trial || crash->state == TRIAL)) {
        take_out(shards, stripe, crash, &gone);
    }
    weft__lock_leave(&stripe->lock);
    crash_free(shards, gone);
    return known;
}

static bool is_crash(const struct weft__record *record, const struct weft_ctx *ctx) {
    return ctx->reason != 0 && ctx->reason != WEFT_E_SHUTDOWN &&
           ctx->reason != WEFT_E_REBALANCING && (record->owner_flags & WEFT__RECORD_BLAMELESS) == 0;
}

static void crashed(struct weft__shards *shards, struct weft__scheduler *s, struct weft_ctx *ctx,
                    const struct weft__vkey *key) {
    struct verdict verdict = {.key = key, .type = ctx->type, .now_ns = weft__now(shards->core)};
    count_crash(shards, &verdict);
    if (verdict.is_unoffered) {
        return;
    }
    uint32_t lost = verdict.lost + (verdict.is_counted ? 0 : 1);
    weft_counter_add(&s->counters.virtual_crashes_lost, lost);
    if (verdict.crashes != 0) {
        weft_counter_add(&s->counters.virtual_breaks, 1);
        log_breaker(shards, &verdict, ctx->reason);
    } else if (ctx->type->def.crash_policy == WEFT_CRASH_RESTART && lost == 0) {
        /* Not when crashes were lost: then nothing might ever end its restarts. */
        weft__record_at(shards, ctx->index)->owner_flags |= WEFT__RECORD_RESTART;
    }
    if (verdict.is_counted && verdict.due_ns != UINT64_MAX) {
        weft__keeper_poke(shards, s, verdict.due_ns);
    }
}

void weft__virtual_closing(struct weft__scheduler *s, struct weft_ctx *ctx) {
    if (weft_likely(ctx->type->def.crash_max == 0) ||
        weft__phase(s->runtime) >= WEFT__RUNTIME_STOPPING) {
        return;
    }
    struct weft__shards *shards = weft__shards_of(s->runtime);
    struct weft__record *record = weft__record_at(shards, ctx->index);
    struct weft__vkey key;
    if (is_crash(record, ctx)) {
        weft__vkey_of(shards, record, &key);
        crashed(shards, s, ctx, &key);
    } else if (ctx->reason == 0 && !is_empty(shards)) {
        /* A trial that ends well, or an address that begins anew. */
        weft__vkey_of(shards, record, &key);
        bool forgets = (record->owner_flags & WEFT__RECORD_FORGET) != 0;
        (void)drop(shards, &key, 0, !forgets);
    }
}

/* ---- beginnings ---------------------------------------------------------------------------- */

/* Is the address refused at a time? Under its stripe's lock. */
static bool is_refused(const struct crash *crash, uint64_t now_ns) {
    return crash != NULL && crash->state == PAUSED && now_ns < crash->at_ns;
}

bool weft__crash_refuses(struct weft__shards *shards, const struct weft__vkey *key) {
    if (weft_likely(is_empty(shards))) {
        return false;
    }
    uint64_t now_ns = weft__now(shards->core);
    struct stripe *stripe = stripe_of(shards, key->hash);
    weft__lock_enter(&stripe->lock, shards->core->env);
    bool refused = is_refused(find(stripe, key), now_ns);
    weft__lock_leave(&stripe->lock);
    return refused;
}

bool weft__crash_admits(struct weft__shards *shards, const struct weft__vkey *key) {
    if (weft_likely(is_empty(shards))) {
        return true;
    }
    uint64_t now_ns = weft__now(shards->core);
    struct stripe *stripe = stripe_of(shards, key->hash);
    weft__lock_enter(&stripe->lock, shards->core->env);
    struct crash *crash = find(stripe, key);
    bool refused = is_refused(crash, now_ns);
    /* One in the state of a trial already is one whose activation has failed. */
    if (crash != NULL && !refused && crash->state != COUNTING && !is_over(shards, crash, now_ns)) {
        crash->state = TRIAL;
        crash->at_ns = now_ns;
        (void)touch(shards, stripe, crash); /* the keeper will look, if only later than it could */
    }
    weft__lock_leave(&stripe->lock);
    return !refused;
}

int weft_virtual_forgive(weft_runtime *runtime, const weft_capability *capability,
                         const weft_type *type, const void *id, size_t id_size) {
    struct weft__vkey key;
    int result = weft__vkey_given(capability, type, id, id_size, &key);
    if (result != 0 || type->runtime != runtime) {
        return -EINVAL;
    }
    struct weft__shards *shards = capability->shards;
    bool known = !is_empty(shards) && drop(shards, &key, weft__now(shards->core), false);
    return known ? 0 : -ENOENT;
}

/* ---- all of them --------------------------------------------------------------------------- */

/* Whom a walk takes out: those of a capability, else those that are over. */
struct walk {
    const weft_capability *capability;
    uint64_t now_ns;
    uint64_t due_ns; /* of those that stay, the earliest */
};

static void walk_buckets(struct weft__shards *shards, struct stripe *stripe, uint32_t from,
                         struct walk *walk) {
    struct crash *gone = NULL;
    weft__lock_enter(&stripe->lock, shards->core->env);
    for (uint32_t i = from; i < from + WALK_BUCKETS; i++) {
        struct crash *next = NULL;
        for (struct crash *crash = stripe->buckets[i]; crash != NULL; crash = next) {
            next = crash->next;
            bool out = walk->capability != NULL ? crash->name >> 16 == walk->capability->index
                                                : is_over(shards, crash, walk->now_ns);
            if (out) {
                take_out(shards, stripe, crash, &gone);
            } else {
                walk->due_ns = weft_min_u64(walk->due_ns, due_of(shards, crash));
            }
        }
    }
    weft__lock_leave(&stripe->lock);
    crash_free(shards, gone);
}

static void walk_stripe(struct weft__shards *shards, struct stripe *stripe, struct walk *walk) {
    _Static_assert(BUCKETS % WALK_BUCKETS == 0, "slices of equal size");
    for (uint32_t i = 0; i < BUCKETS; i += WALK_BUCKETS) {
        walk_buckets(shards, stripe, i, walk);
    }
}

void weft__crashes_drop(struct weft__shards *shards, const weft_capability *capability) {
    struct weft__crashes *crashes = crashes_of(shards);
    struct walk walk = {.capability = capability, .due_ns = UINT64_MAX};
    for (uint32_t i = 0; crashes != NULL && i < STRIPES; i++) {
        walk_stripe(shards, &crashes->stripes[i], &walk);
    }
}

/* Takes out of a stripe who is over, if somebody may be. Returns when to look again. */
static uint64_t sweep_stripe(struct weft__shards *shards, struct stripe *stripe, uint64_t now_ns,
                             bool *may_walk) {
    struct walk walk = {.now_ns = now_ns, .due_ns = UINT64_MAX};
    weft__lock_enter(&stripe->lock, shards->core->env);
    uint64_t due_ns = stripe->due_ns;
    bool walks = due_ns <= now_ns && *may_walk;
    if (walks) { /* others may bring it forward again while this goes on */
        stripe->floor_ns = now_ns + WALK_NS;
        stripe->due_ns = UINT64_MAX;
    }
    weft__lock_leave(&stripe->lock);
    if (!walks) {
        return due_ns;
    }
    *may_walk = false;
    walk_stripe(shards, stripe, &walk);
    weft__lock_enter(&stripe->lock, shards->core->env);
    if (walk.due_ns != UINT64_MAX) {
        due_ns = weft_max_u64(walk.due_ns, stripe->floor_ns);
        stripe->due_ns = weft_min_u64(stripe->due_ns, due_ns);
    }
    due_ns = stripe->due_ns;
    weft__lock_leave(&stripe->lock);
    return due_ns;
}

uint64_t weft__crashes_sweep(struct weft__shards *shards, uint64_t now_ns, bool *ret_more) {
    struct weft__crashes *crashes = crashes_of(shards);
    uint64_t wait_ns = UINT64_MAX;
    bool may_walk = true; /* one at a time: others get their turn in between */
    for (uint32_t i = 0; crashes != NULL && i < STRIPES; i++) {
        uint64_t due_ns = sweep_stripe(shards, &crashes->stripes[i], now_ns, &may_walk);
        if (due_ns <= now_ns) {
            *ret_more = true;
        } else if (due_ns != UINT64_MAX) {
            wait_ns = weft_min_u64(wait_ns, weft_max_u64(due_ns - now_ns, WEFT__LOOK_NS));
        }
    }
    return wait_ns;
}

void weft__crashes_fini(struct weft__shards *shards) {
    struct weft__crashes *crashes = crashes_of(shards);
    for (uint32_t i = 0; crashes != NULL && i < STRIPES; i++) {
        struct crash *gone = NULL;
        while (crashes->stripes[i].oldest != NULL) {
            take_out(shards, &crashes->stripes[i], crashes->stripes[i].oldest, &gone);
        }
        crash_free(shards, gone);
    }
    if (crashes != NULL) {
        weft__free_aligned(shards->core, crashes, sizeof(*crashes), "crashes");
    }
}
