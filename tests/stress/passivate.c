/* SPDX-License-Identifier: MIT
 *
 * passivate [--seconds N] [--schedulers N] [--seed N]
 *
 * Real threads around the window in which a virtual actor ends: limits so tight, idle times so short
 * and actors so eager to leave that activations and passivations race all the time. Nothing here
 * crashes, so the ledger is exact: each message is handled once, each call answered with 0, what
 * one sender sends to one address comes in order and, until the runtime stops, without a gap, saved
 * counters go on where they were, and never do two activations of an address live at once.
 *
 * What an address knows is written by its activations only, as plain memory: that one activation has
 * ended before the next one begins is also what ThreadSanitizer checks here. Rounds with an odd seed
 * stop in the middle. Every broken rule ends the program with a line that names it and the seed.
 */
#define _GNU_SOURCE
#include "rounds.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum {
    ADDRESSES = 1024,
    HOT = 16,
    SENDERS = 64, /* at most: actors, then threads outside */
    OUTSIDE = 3,
    WINDOW = 32, /* calls of one sender under way */
    ACTIVE_MAX = 48,
    TAG = 1,
    TAG_GO = 2,
    TAG_REPLY = 3,
};

enum kind { KIND_PLAIN, KIND_SAVED, KIND_SERIAL, KINDS };

struct note {
    uint32_t address;
    uint32_t sender;
    uint32_t sequence;
    uint32_t is_call;
};

struct address {
    _Atomic uint32_t alive;
    _Atomic uint32_t begins;
    _Atomic uint32_t ends;
    /* whoever is activated; plain on purpose */
    uint64_t handled;
    uint64_t saved; /* counter when the last activation ended */
    uint32_t seen[SENDERS];
};

struct world {
    weft_runtime *runtime;
    const weft_capability *capability;
    const weft_type *types[KINDS];
    const weft_type *sender_type;
    weft_store *store;
    uint64_t seed;
    uint32_t schedulers;
    uint32_t actors; /* senders that are actors */
    _Atomic uint32_t quiet;
    _Atomic uint32_t leaving;
    _Atomic uint64_t calls;
    _Atomic uint64_t answers;
    _Atomic uint64_t casts;
    _Atomic uint64_t cast_handled;
    struct address addresses[ADDRESSES];
    uint32_t sent[SENDERS][ADDRESSES]; /* each row its sender's */
};

static uint64_t current_seed;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "passivate: seed %llu: %s\n", (unsigned long long)current_seed, text);
    abort();
}

/* splitmix64 */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- an allocator that keeps books ---------------------------------------------------------- */

struct books {
    _Atomic uint64_t blocks;
    _Atomic uint64_t bytes;
};

static void *books_alloc(void *cookie, size_t size, const char *tag) {
    struct books *books = cookie;
    (void)tag;
    void *memory = malloc(size);
    if (memory != NULL) {
        atomic_fetch_add_explicit(&books->blocks, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&books->bytes, size, memory_order_relaxed);
    }
    return memory;
}

static void books_free(void *cookie, void *memory, size_t size, const char *tag) {
    struct books *books = cookie;
    (void)tag;
    if (memory != NULL) {
        atomic_fetch_sub_explicit(&books->blocks, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&books->bytes, size, memory_order_relaxed);
    }
    free(memory);
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Addresses have ids of 4 to 35 bytes: long ones are found in another way. */
static size_t id_of(uint32_t address, unsigned char *id) {
    size_t size = 4 + address % 32;
    memset(id, 0, size);
    memcpy(id, &address, sizeof(address));
    return size;
}

/* What a request points to. */
struct draft {
    struct note note;
    unsigned char id[36];
    weft_vrequest request;
};

/* The next message of a sender to some address; its number is used up only if it is accepted. */
static void draft_fill(struct world *world, struct draft *draft, uint32_t sender, uint64_t random) {
    uint32_t address =
        (uint32_t)(random % 2 == 0 ? (random >> 8) % HOT : (random >> 8) % ADDRESSES);
    draft->note = (struct note){.address = address,
                                .sender = sender,
                                .sequence = world->sent[sender][address] + 1,
                                .is_call = (random >> 40) % 2 == 0};
    draft->request = (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                                     .capability = world->capability,
                                     .type = world->types[address % KINDS],
                                     .id = draft->id,
                                     .id_size = id_of(address, draft->id),
                                     .tag = TAG,
                                     .payload = &draft->note,
                                     .payload_size = sizeof(draft->note),
                                     .timeout_ns = WEFT_TIMEOUT_NEVER,
                                     .flags = (random >> 41) % 8 == 0 ? WEFT_ONLY_IF_ACTIVE : 0};
    if ((random >> 44) % 2 == 0) {
        draft->request.init_arg = draft->id;
        draft->request.init_arg_size = draft->request.id_size;
    }
}

/* True: it was accepted. */
static bool draft_sent(struct world *world, const struct draft *draft, int result) {
    if (result == WEFT_E_INACTIVE && draft->request.flags == WEFT_ONLY_IF_ACTIVE) {
        return false;
    }
    if (result == WEFT_E_SHUTDOWN && atomic_load(&world->leaving) != 0) {
        return false;
    }
    if (result != 0) {
        fail("a send to address %u answered %d (%s)", draft->note.address, result,
             weft_strerror(result));
    }
    world->sent[draft->note.sender][draft->note.address]++;
    return true;
}

static bool is_over(struct world *world) {
    return atomic_load_explicit(&world->quiet, memory_order_relaxed) != 0;
}

/* ---- senders ------------------------------------------------------------------------------- */

struct sender {
    struct world *world;
    uint64_t random;
    uint32_t number;
    uint32_t open;
};

static void sender_send(weft_ctx *ctx, struct sender *self) {
    struct world *world = self->world;
    struct draft draft;
    draft_fill(world, &draft, self->number, random_next(&self->random));
    /* Counted before, so that the end of a round never sees more answers than calls. */
    atomic_fetch_add(draft.note.is_call != 0 ? &world->calls : &world->casts, 1);
    int result = draft.note.is_call != 0 ? weft_vcall(ctx, &draft.request, 0, NULL)
                                         : weft_vcast(ctx, &draft.request, NULL);
    if (!draft_sent(world, &draft, result)) {
        atomic_fetch_sub(draft.note.is_call != 0 ? &world->calls : &world->casts, 1);
    } else {
        self->open += draft.note.is_call;
    }
}

static int sender_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    memcpy(state, arg, arg_size);
    return weft_send(ctx, weft_self(ctx), TAG_GO, NULL, 0);
}

static int sender_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct sender *self = state;
    struct world *world = self->world;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        int status = weft_msg_status(msg);
        if (status != 0 && !(status == WEFT_E_SHUTDOWN && atomic_load(&world->leaving) != 0)) {
            fail("a call was answered %d (%s)", status, weft_strerror(status));
        }
        self->open--;
        atomic_fetch_add(&world->answers, 1);
    }
    if (is_over(world)) {
        return WEFT_CONTINUE;
    }
    for (uint32_t i = 0; i < 8 && self->open < WINDOW; i++) {
        sender_send(ctx, self);
    }
    if (self->open == 0) { /* nothing will wake it */
        return weft_send(ctx, weft_self(ctx), TAG_GO, NULL, 0);
    }
    return WEFT_CONTINUE;
}

/* ---- virtual actors ------------------------------------------------------------------------ */

struct state {
    struct address *address;
    uint64_t counter;
    uint64_t random;
};

static int begin(weft_ctx *ctx, struct state *self) {
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    uint32_t number = 0;
    if (weft_virtual_self(ctx, &entry) != 0 || entry.id_size < sizeof(number)) {
        fail("an actor has no address");
    }
    memcpy(&number, entry.id, sizeof(number));
    struct address *address = &world->addresses[number % ADDRESSES];
    if (atomic_exchange_explicit(&address->alive, 1, memory_order_relaxed) != 0) {
        fail("address %u has two activations", number);
    }
    atomic_fetch_add_explicit(&address->begins, 1, memory_order_relaxed);
    self->address = address;
    self->random = world->seed * 7919 + number * 31 + address->handled;
    return WEFT_CONTINUE;
}

static int virtual_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct state *self = state;
    int result = begin(ctx, self);
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    (void)weft_virtual_self(ctx, &entry); /* worked above */
    if (arg_size != 0 && (arg_size != entry.id_size || memcmp(arg, entry.id, arg_size) != 0)) {
        fail("an actor got the init_arg of another one");
    }
    if (self->address->saved != 0) {
        fail("a state of %llu is lost", (unsigned long long)self->address->saved);
    }
    return result;
}

static int saved_save(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    const struct state *self = state;
    if (self->counter == 0) {
        return 0;
    }
    int result = weft_buf_create(weft_runtime_of(ctx), sizeof(self->counter), ret_saved);
    if (result == 0) {
        memcpy(weft_buf_data(*ret_saved), &self->counter, sizeof(self->counter));
    }
    return result;
}

static int saved_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                         uint32_t version) {
    struct state *self = state;
    int result = begin(ctx, self);
    (void)version;
    if (size != sizeof(self->counter)) {
        fail("a state of %zu bytes", size);
    }
    memcpy(&self->counter, data, size);
    if (self->counter != self->address->saved) {
        fail("a state goes on at %llu, it was at %llu", (unsigned long long)self->counter,
             (unsigned long long)self->address->saved);
    }
    return result;
}

static void virtual_terminate(weft_ctx *ctx, void *state, int reason) {
    struct state *self = state;
    struct address *address = self->address;
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    if (reason != 0 && !(reason == WEFT_E_SHUTDOWN && atomic_load(&world->leaving) != 0)) {
        fail("an activation ended with %d (%s)", reason, weft_strerror(reason));
    }
    address->saved = weft_type_of(ctx) == world->types[KIND_SAVED] ? self->counter : 0;
    atomic_fetch_add_explicit(&address->ends, 1, memory_order_relaxed);
    if (atomic_exchange_explicit(&address->alive, 0, memory_order_relaxed) != 1) {
        fail("an address ended twice");
    }
}

static void check_note(struct world *world, struct state *self, const weft_msg *msg) {
    struct note note;
    struct address *address = self->address;
    if (weft_msg_size(msg) != sizeof(note)) {
        fail("a message of %zu bytes", weft_msg_size(msg));
    }
    memcpy(&note, weft_msg_data(msg), sizeof(note));
    if (note.sender >= SENDERS || note.address >= ADDRESSES ||
        address != &world->addresses[note.address]) {
        fail("a message for address %u came to another one", note.address);
    }
    /* A runtime that stops refuses what waits; an activation that was under way then may still begin,
     * and handle what was sent behind that: a gap, but no other order. */
    uint32_t seen = address->seen[note.sender];
    bool gap = note.sequence > seen && atomic_load(&world->leaving) != 0;
    if (note.sequence != seen + 1 && !gap) {
        fail("address %u: number %u of sender %u came after %u", note.address, note.sequence,
             note.sender, seen);
    }
    address->seen[note.sender] = note.sequence;
    address->handled++;
    self->counter++;
    if (note.is_call == 0) {
        atomic_fetch_add_explicit(&world->cast_handled, 1, memory_order_relaxed);
    }
}

static int virtual_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct state *self = state;
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    if (weft_msg_kind(msg) != WEFT_MSG_USER && weft_msg_kind(msg) != WEFT_MSG_REQUEST) {
        fail("a message of kind %d", (int)weft_msg_kind(msg));
    }
    check_note(world, self, msg);
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        int result = weft_reply(ctx, &msg, TAG_REPLY, NULL, 0);
        if (result != 0 && atomic_load(&world->leaving) == 0) {
            fail("a reply answered %d", result);
        }
    }
    uint64_t random = random_next(&self->random);
    bool saved = weft_type_of(ctx) == world->types[KIND_SAVED];
    if (!saved && random % 8 == 0) {
        return WEFT_STOP; /* one that is saved would lose what is not */
    }
    if ((random >> 8) % 4 != 0) {
        (void)weft_passivate(ctx); /* whether it can is checked by what comes of it */
    }
    return WEFT_CONTINUE;
}

/* ---- threads outside ----------------------------------------------------------------------- */

struct outside {
    struct world *world;
    uint32_t number;
    uint64_t random;
};

static void outside_send(struct outside *self) {
    struct world *world = self->world;
    struct draft draft;
    draft_fill(world, &draft, self->number, random_next(&self->random));
    atomic_fetch_add(draft.note.is_call != 0 ? &world->calls : &world->casts, 1);
    int result;
    if (draft.note.is_call != 0) {
        weft_msg *reply = NULL;
        result = weft_runtime_vcall(world->runtime, &draft.request, &reply, NULL);
        if (reply != NULL) {
            weft_runtime_msg_release(world->runtime, &reply);
        }
        atomic_fetch_add(&world->answers, 1);
        (void)draft_sent(world, &draft, result);
        return;
    }
    result = weft_runtime_vcast(world->runtime, &draft.request, NULL);
    if (!draft_sent(world, &draft, result)) {
        atomic_fetch_sub(&world->casts, 1);
    }
}

static void outside_passivate(struct outside *self) {
    struct world *world = self->world;
    unsigned char id[36];
    uint32_t address = (uint32_t)(random_next(&self->random) % HOT);
    weft_pid pid;
    size_t size = id_of(address, id);
    int result = weft_virtual_get(world->runtime, world->capability, world->types[address % KINDS],
                                  id, size, &pid);
    if (result == 0) {
        result = weft_runtime_passivate(world->runtime, pid);
        if (result != 0 && result != WEFT_E_NOPROC) {
            fail("weft_runtime_passivate answered %d", result);
        }
    } else if (result != WEFT_E_INACTIVE) {
        fail("weft_virtual_get answered %d", result);
    }
}

/* A walk sees nobody twice who has stayed, and nothing that is no address. */
static void outside_walk(struct outside *self) {
    struct world *world = self->world;
    weft_vcursor *cursor;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    if (weft_vcursor_create(world->runtime, NULL, &cursor) != 0) {
        fail("no cursor");
    }
    while (weft_vcursor_next(cursor, &entry) == 1) { /* bounded by what is active */
        uint32_t address = 0;
        memcpy(&address, entry.id, sizeof(address));
        if (address >= ADDRESSES || entry.id_size != 4 + address % 32 ||
            entry.type != world->types[address % KINDS]) {
            fail("a walk shows no address");
        }
    }
    weft_vcursor_destroy(&cursor);
}

static void *outside_run(void *arg) {
    struct outside *self = arg;
    while (atomic_load(&self->world->leaving) == 0) {
        uint64_t what = random_next(&self->random) % 64;
        if (is_over(self->world)) {
            sleep_ns(200000);
        } else if (what == 0) {
            outside_walk(self);
        } else if (what < 16) {
            outside_passivate(self);
        } else {
            outside_send(self);
        }
    }
    return NULL;
}

/* ---- a round ------------------------------------------------------------------------------- */

static int register_types(struct world *world) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "plain",
                         .state_size = sizeof(struct state),
                         .init = virtual_init,
                         .receive = virtual_receive,
                         .terminate = virtual_terminate,
                         .idle_ns = 1000000,
                         .active_max = ACTIVE_MAX,
                         .cookie = world};
    int result = weft_type_register(world->runtime, &def, &world->types[KIND_PLAIN]);
    def.name = "serial";
    def.flags = WEFT_TYPE_SERIAL;
    def.idle_ns = WEFT_IDLE_NEVER;
    def.active_max = 0;
    result =
        result != 0 ? result : weft_type_register(world->runtime, &def, &world->types[KIND_SERIAL]);
    def.name = "saved";
    def.flags = 0;
    def.idle_ns = 2000000;
    def.active_max = ACTIVE_MAX;
    def.save = saved_save;
    def.restore = saved_restore;
    def.store = world->store;
    result =
        result != 0 ? result : weft_type_register(world->runtime, &def, &world->types[KIND_SAVED]);
    weft_type_def sender = {.struct_size = WEFT_TYPE_DEF_INIT,
                            .name = "sender",
                            .state_size = sizeof(struct sender),
                            .init = sender_init,
                            .receive = sender_receive,
                            .mailbox_max = WEFT_MAILBOX_UNBOUNDED};
    return result != 0 ? result : weft_type_register(world->runtime, &sender, &world->sender_type);
}

static void spawn_senders(struct world *world) {
    for (uint32_t i = 0; i < world->actors; i++) {
        struct sender sender = {.world = world, .random = world->seed * 1000 + i, .number = i};
        weft_spawn_options options = {
            .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &sender, .arg_size = sizeof(sender)};
        weft_pid pid;
        int result = weft_runtime_spawn(world->runtime, world->sender_type, &options, &pid);
        if (result != 0) {
            fail("a sender could not be spawned: %d", result);
        }
    }
}

static void round_begin(struct world *world, struct books *books) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = world->schedulers,
                          .budget = world->seed % 3 == 0 ? 4 : 0,
                          .arena_bytes = UINT64_C(4) << 30,
                          .actors_max = 1 << 20,
                          .watchdog_ns = 1000000,
                          .allocator = {.cookie = books, .alloc = books_alloc, .free = books_free}};
    int result = weft_store_memory_create(0, &world->store);
    result = result != 0 ? result : weft_runtime_create(&config, &world->runtime);
    result = result != 0 ? result : register_types(world);
    result =
        result != 0 ? result : weft_capability_add(world->runtime, "stress", &world->capability);
    result = result != 0 ? result : weft_runtime_start(world->runtime);
    if (result != 0) {
        fail("the runtime could not be started: %d (%s)", result, weft_strerror(result));
    }
    spawn_senders(world);
}

static bool all_over(struct world *world) {
    return atomic_load(&world->calls) == atomic_load(&world->answers) &&
           atomic_load(&world->casts) == atomic_load(&world->cast_handled);
}

static void wait_quiet(struct world *world) {
    uint64_t until_ns = now_ns() + ROUND_PATIENCE_NS;
    atomic_store(&world->quiet, 1);
    while (!all_over(world)) {
        if (now_ns() > until_ns) {
            weft_runtime_dump(world->runtime, 2);
            fail("quietly: %llu calls, %llu answers, %llu casts, %llu handled",
                 (unsigned long long)atomic_load(&world->calls),
                 (unsigned long long)atomic_load(&world->answers),
                 (unsigned long long)atomic_load(&world->casts),
                 (unsigned long long)atomic_load(&world->cast_handled));
        }
        sleep_ns(1000000);
    }
    if (!all_over(world)) {
        fail("something came after the last one");
    }
}

static void round_stop(struct world *world) {
    uint64_t until_ns = now_ns() + ROUND_PATIENCE_NS;
    int result;
    while ((result = weft_runtime_stop(world->runtime, 100000000)) == -ETIMEDOUT) {
        if (now_ns() > until_ns) {
            weft_runtime_dump(world->runtime, 2);
            fail("the runtime does not stop");
        }
    }
    if (result != 0) {
        fail("stop answered %d", result);
    }
}

static uint64_t check_addresses(struct world *world) {
    uint64_t begins = 0;
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        struct address *address = &world->addresses[i];
        if (atomic_load(&address->alive) != 0 ||
            atomic_load(&address->begins) != atomic_load(&address->ends)) {
            fail("address %u: alive %u, %u begins, %u ends", i, atomic_load(&address->alive),
                 atomic_load(&address->begins), atomic_load(&address->ends));
        }
        begins += atomic_load(&address->begins);
    }
    if (weft_virtual_count(world->runtime, NULL) != 0) {
        fail("%llu are counted as active",
             (unsigned long long)weft_virtual_count(world->runtime, NULL));
    }
    return begins;
}

static void round_check(struct world *world, bool quiet, uint64_t run_ns) {
    uint64_t begins = check_addresses(world);
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    weft_gauges gauges = {.struct_size = WEFT_GAUGES_INIT};
    if (weft_stats_read(world->runtime, WEFT_STATS_ALL, &stats) != 0 ||
        weft_gauges_read(world->runtime, &gauges) != 0) {
        fail("statistics could not be read");
    }
    if (stats.spawns != stats.exits || gauges.actors != 0 || gauges.messages != 0 ||
        gauges.buffers != 0) {
        fail("left: %llu spawns, %llu exits, %llu actors, %llu messages, %llu buffers",
             (unsigned long long)stats.spawns, (unsigned long long)stats.exits,
             (unsigned long long)gauges.actors, (unsigned long long)gauges.messages,
             (unsigned long long)gauges.buffers);
    }
    uint64_t run_ms = run_ns / 1000000 + 1;
    (void)printf("seed %llu: %s end, %llu activations, %llu passivations (%llu a second), %llu "
                 "loads, %llu saves, %llu calls, %llu casts\n",
                 (unsigned long long)world->seed, quiet ? "quiet" : "abrupt",
                 (unsigned long long)begins, (unsigned long long)stats.virtual_passivations,
                 (unsigned long long)(stats.virtual_passivations * 1000 / run_ms),
                 (unsigned long long)stats.virtual_loads, (unsigned long long)stats.virtual_saves,
                 (unsigned long long)atomic_load(&world->calls),
                 (unsigned long long)atomic_load(&world->casts));
    (void)fflush(stdout);
}

static void round_end(struct world *world, struct books *books) {
    if (weft_runtime_destroy(&world->runtime) != 0) {
        fail("the runtime could not be destroyed");
    }
    weft_store_memory_destroy(&world->store);
    if (atomic_load(&books->blocks) != 0 || atomic_load(&books->bytes) != 0) {
        fail("%llu blocks, %llu bytes were not freed",
             (unsigned long long)atomic_load(&books->blocks),
             (unsigned long long)atomic_load(&books->bytes));
    }
    free(world);
}

static void run_round(uint64_t seed, uint32_t schedulers, uint64_t run_ns) {
    struct books books = {0};
    struct world *world = calloc(1, sizeof(*world));
    if (world == NULL) {
        fail("out of memory");
    }
    current_seed = seed;
    world->seed = seed;
    world->schedulers = schedulers;
    world->actors = schedulers * 4 < SENDERS - OUTSIDE ? schedulers * 4 : SENDERS - OUTSIDE;
    round_begin(world, &books);
    struct outside outsides[OUTSIDE];
    pthread_t threads[OUTSIDE];
    for (uint32_t i = 0; i < OUTSIDE; i++) {
        outsides[i] = (struct outside){world, world->actors + i, seed * 77 + i};
        if (pthread_create(&threads[i], NULL, outside_run, &outsides[i]) != 0) {
            fail("a thread could not be started");
        }
    }
    sleep_ns(run_ns);
    bool quiet = seed % 2 == 0;
    if (quiet) {
        wait_quiet(world);
    }
    atomic_store(&world->leaving, 1);
    round_stop(world);
    for (uint32_t i = 0; i < OUTSIDE; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    round_check(world, quiet, run_ns);
    round_end(world, &books);
}

int main(int argc, char **argv) {
    return rounds_main(argc, argv, "passivate", run_round);
}
