/* SPDX-License-Identifier: MIT
 *
 * Circles of serial virtual actors, which call each other by address: the same rules as for those
 * that are called by pid (test_cycle.c). The actors of a ring are numbered; each asks the next one.
 * And a reentrant one whose state is being saved, which handles nothing in between.
 */
#include "tests/unit/store_support.h"

#include <stdatomic.h>

enum {
    TAG_ROUND = 1, /* asks the next one with the same tag, the last one the first */
    TAG_LINE = 2,  /* the same, but the last one answers */
    TAG_NEXT = 3,  /* asks the next one with TAG_LEAF */
    TAG_LEAF = 4,  /* answers */
    RING_MAX = 6,
    PROMPT_S = 30,
};
#define TIMEOUT_NS (60 * S_NS)

struct ring {
    struct rig rig;
    const weft_capability *capability;
    const weft_type *type;
    uint32_t count;
    _Atomic uint32_t refused;
};

struct node {
    uint32_t number;
    weft_msg *held;
};

static weft_vrequest request_to(struct ring *ring, const uint32_t *number, uint32_t tag) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = ring->capability,
                           .type = ring->type,
                           .id = number,
                           .id_size = sizeof(*number),
                           .tag = tag,
                           .timeout_ns = TIMEOUT_NS};
}

static int node_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct node *node = state;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_virtual_self(ctx, &entry), 0);
    ck_assert_uint_eq(entry.id_size, sizeof(node->number));
    memcpy(&node->number, entry.id, sizeof(node->number));
    return WEFT_CONTINUE;
}

static int node_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct node *node = state;
    struct ring *ring = weft_type_cookie(weft_type_of(ctx));
    weft_msg *request = msg;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        atomic_fetch_add(&ring->refused, weft_msg_status(msg) == -EDEADLK ? 1 : 0);
        request = node->held;
        node->held = NULL;
        if (weft_msg_status(msg) < 0) {
            (void)weft_reply_error(ctx, &request, weft_msg_status(msg));
        } else {
            (void)weft_reply(ctx, &request, 0, NULL, 0);
        }
        return WEFT_CONTINUE;
    }
    uint32_t tag = weft_msg_tag(msg);
    uint32_t next = (node->number + 1) % ring->count;
    if (tag == TAG_LEAF || (tag == TAG_LINE && next == 0)) {
        (void)weft_reply(ctx, &request, 0, NULL, 0);
        return WEFT_CONTINUE;
    }
    weft_vrequest ask = request_to(ring, &next, tag == TAG_NEXT ? TAG_LEAF : tag);
    node->held = weft_msg_take(ctx, msg);
    int result = weft_vcall(ctx, &ask, 0, NULL);
    if (result != 0) { /* itself */
        ck_assert_int_eq(result, -EDEADLK);
        request = node->held;
        node->held = NULL;
        (void)weft_reply_error(ctx, &request, result);
    }
    return WEFT_CONTINUE;
}

static void ring_start(struct ring *ring, int number, uint32_t count) {
    memset(ring, 0, sizeof(*ring));
    ring->rig = rig_start(schedulers_of(number));
    ring->count = count;
    ck_assert_int_eq(weft_capability_add(ring->rig.runtime, "ring", &ring->capability), 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "node",
                         .state_size = sizeof(struct node),
                         .init = node_init,
                         .receive = node_receive,
                         .flags = WEFT_TYPE_SERIAL,
                         .idle_ns = WEFT_IDLE_NEVER,
                         .cookie = ring};
    ring->type = rig_type(&ring->rig, &def);
}

static int ask_outside(struct ring *ring, uint32_t number, uint32_t tag) {
    weft_vrequest request = request_to(ring, &number, tag);
    weft_msg *reply = NULL;
    uint64_t before_ns = clock_ns();
    int result = weft_runtime_vcall(ring->rig.runtime, &request, &reply, NULL);
    ck_assert_uint_lt(clock_ns() - before_ns, PROMPT_S * S_NS);
    weft_runtime_msg_release(ring->rig.runtime, &reply);
    return result;
}

START_TEST(test_virtual_circle_is_answered_at_once) {
    for (uint32_t count = 1; count <= RING_MAX; count++) {
        struct ring ring;
        ring_start(&ring, _i, count);
        for (uint32_t round = 0; round < 20; round++) {
            ck_assert_int_eq(ask_outside(&ring, 0, TAG_LINE), 0);
            ck_assert_int_eq(ask_outside(&ring, round % count, TAG_ROUND), -EDEADLK);
        }
        eventually(rig_gauges(&ring.rig).messages == 0);
        rig_stop(&ring.rig);
    }
}
END_TEST

struct asker {
    struct ring *ring;
    uint32_t number;
    pthread_t thread;
};

static void *asker_main(void *arg) {
    struct asker *asker = arg;
    for (uint32_t round = 0; round < 200; round++) {
        int result = ask_outside(asker->ring, asker->number, TAG_NEXT);
        ck_assert_msg(result == 0 || result == -EDEADLK, "%s", weft_strerror(result));
    }
    return NULL;
}

/* Everybody asks the next one at the same time, again and again, from threads outside. */
START_TEST(test_virtual_crossing_calls_end) {
    struct ring ring;
    ring_start(&ring, _i, RING_MAX);
    struct asker askers[RING_MAX];
    for (uint32_t i = 0; i < RING_MAX; i++) {
        askers[i] = (struct asker){.ring = &ring, .number = i};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, asker_main, &askers[i]), 0);
    }
    for (uint32_t i = 0; i < RING_MAX; i++) {
        ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
    }
    eventually(rig_gauges(&ring.rig).messages == 0);
    rig_stop(&ring.rig);
}
END_TEST

/* ---- while the state is saved -------------------------------------------------------------- */

/* A reentrant account asks its partner, and is told to end meanwhile: what the partner would have it
 * add then could not be in the state any more that is on its way to the store. */
enum { TAG_BEGIN = 11, TAG_ADD = 12, TAG_READ = 13, TAG_ASK = 14 };

struct books {
    struct rig rig;
    struct faulty faulty;
    const weft_capability *capability;
    const weft_type *type;
    weft_pid account;
    weft_pid partner;
    weft_atomic_u32 asked;  /* the partner works for a request */
    weft_atomic_u32 gate;   /* it may ask back */
    weft_atomic_u32 added;  /* the account has handled so many TAG_ADD */
    weft_atomic_u32 over;   /* the partner has its answer */
    weft_atomic_u32 status; /* of that, negated */
};

struct account {
    uint32_t value;
};

static int account_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct account *account = state;
    struct books *books = weft_type_cookie(weft_type_of(ctx));
    weft_msg *request = msg;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        return WEFT_CONTINUE;
    }
    if (weft_msg_tag(msg) == TAG_BEGIN) {
        books->account = weft_self(ctx);
        ck_assert_int_eq(weft_call(ctx, books->partner, TAG_ASK, NULL, 0, SOON_NS, 0), 0);
    } else {
        account->value += weft_msg_tag(msg) == TAG_ADD ? 1 : 0;
        (void)weft_add32_acq_rel(&books->added, weft_msg_tag(msg) == TAG_ADD ? 1 : 0);
        (void)weft_reply(ctx, &request, 0, &account->value, sizeof(account->value));
    }
    return WEFT_CONTINUE;
}

static int account_save(weft_ctx *ctx, void *state, weft_buf **ret_buf) {
    const struct account *account = state;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), sizeof(account->value), ret_buf), 0);
    memcpy(weft_buf_data(*ret_buf), &account->value, sizeof(account->value));
    return 0;
}

static int account_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                           uint32_t version) {
    struct account *account = state;
    (void)ctx;
    (void)version;
    ck_assert_uint_eq(size, sizeof(account->value));
    memcpy(&account->value, data, size);
    return 0;
}

/* Asks back for the sake of the request it was asked with, when it is told to. */
static int partner_process(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct books *books = weft_type_cookie(weft_type_of(ctx));
    weft_msg *request = NULL;
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &request), 0);
    ck_assert_int_eq(weft_msg_kind(request), WEFT_MSG_REQUEST);
    weft_store32_release(&books->asked, 1);
    while (weft_load32_acquire(&books->gate) == 0) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS), 0);
    }
    int status = weft_call_wait(ctx, books->account, TAG_ADD, NULL, 0, SOON_NS, NULL);
    weft_store32_relaxed(&books->status, (uint32_t)-status);
    weft_store32_release(&books->over, 1);
    (void)weft_reply(ctx, &request, 0, NULL, 0);
    return WEFT_STOP;
}

static weft_vrequest account_request(struct books *books, const uint32_t *id, uint32_t tag) {
    return (weft_vrequest){.struct_size = WEFT_VREQUEST_INIT,
                           .capability = books->capability,
                           .type = books->type,
                           .id = id,
                           .id_size = sizeof(*id),
                           .tag = tag,
                           .timeout_ns = TIMEOUT_NS};
}

static void books_start(struct books *books, int number) {
    memset(books, 0, sizeof(*books));
    faulty_init(&books->faulty, 1);
    books->rig = rig_start(schedulers_of(number));
    ck_assert_int_eq(weft_capability_add(books->rig.runtime, "books", &books->capability), 0);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "account",
                         .state_size = sizeof(struct account),
                         .receive = account_receive,
                         .save = account_save,
                         .restore = account_restore,
                         .store = &books->faulty.store,
                         .store_timeout_ns = TIMEOUT_NS,
                         .flags = WEFT_TYPE_SERIAL | WEFT_TYPE_REENTRANT,
                         .idle_ns = WEFT_IDLE_NEVER,
                         .cookie = books};
    books->type = rig_type(&books->rig, &def);
    def = (weft_type_def){.struct_size = WEFT_TYPE_DEF_INIT,
                          .name = "partner",
                          .process = partner_process,
                          .cookie = books};
    books->partner = rig_spawn_type(&books->rig, rig_type(&books->rig, &def), NULL);
}

START_TEST(test_nothing_is_handled_in_between_while_the_state_is_saved) {
    struct books books;
    uint32_t id = 1;
    uint32_t value = UINT32_MAX;
    weft_msg *reply = NULL;
    books_start(&books, _i);
    weft_vrequest begin = account_request(&books, &id, TAG_BEGIN);
    ck_assert_int_eq(weft_runtime_vcast(books.rig.runtime, &begin, NULL), 0);
    eventually(weft_load32_acquire(&books.asked) == 1);
    faulty_plan(&books.faulty, (struct faulty_plan){.delay = 100});
    ck_assert_int_eq(weft_runtime_stop_actor(books.rig.runtime, books.account, WEFT_E_SHUTDOWN), 0);
    eventually(faulty_waiting(&books.faulty) == 1); /* the state is on its way */
    weft_store32_release(&books.gate, 1);
    eventually(weft_load32_acquire(&books.over) == 1);
    ck_assert_int_eq(-(int)weft_load32_relaxed(&books.status), -EDEADLK);
    ck_assert_uint_eq(weft_load32_acquire(&books.added), 0);
    faulty_plan(&books.faulty, (struct faulty_plan){0});
    ck_assert(faulty_step(&books.faulty));
    eventually(!is_alive(&books.rig, books.account));
    weft_vrequest read = account_request(&books, &id, TAG_READ);
    ck_assert_int_eq(weft_runtime_vcall(books.rig.runtime, &read, &reply, NULL), 0);
    ck_assert_uint_eq(weft_msg_size(reply), sizeof(value));
    memcpy(&value, weft_msg_data(reply), sizeof(value));
    weft_runtime_msg_release(books.rig.runtime, &reply);
    ck_assert_uint_eq(value, 0); /* as many as were answered with success */
    faulty_drop(&books.faulty);
    rig_stop(&books.rig);
    faulty_fini(&books.faulty);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cycle_virtual");
    TCase *loops = tcase_create("schedulers");
    tcase_set_timeout(loops, 300);
    tcase_add_loop_test(loops, test_virtual_circle_is_answered_at_once, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_virtual_crossing_calls_end, 0, SCHEDULER_CASES);
    tcase_add_loop_test(loops, test_nothing_is_handled_in_between_while_the_state_is_saved, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, loops);
    return run_suite(suite);
}
