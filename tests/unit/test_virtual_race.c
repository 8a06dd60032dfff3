/* SPDX-License-Identifier: MIT
 *
 * Virtual actors under load: who races for a new address finds one actor, and what one sender sends
 * to one address is handled in order, each message once, whatever ends the actor meanwhile. The
 * ledger is an actor that checks that: every message has the number of its sender and a count.
 * What has been seen is kept outside of the actor and without a lock, since an address has at most one
 * activation: ThreadSanitizer sees when there are two.
 */
#include "tests/unit/virtual_support.h"

#if defined(WEFT_TSAN)
enum { SLOWER = 4 };
#else
enum { SLOWER = 1 };
#endif

/* ---- racing for new addresses ---------------------------------------------------------------- */

enum { CLIENTS = 64, RACE_KEYS = 1000 / SLOWER, WINDOW = 8 };

struct race {
    const weft_capability *capability;
    const weft_type *cell;
    _Atomic uint64_t pids[RACE_KEYS]; /* slot and generation of who answered first */
    _Atomic uint32_t answers[RACE_KEYS];
    _Atomic uint32_t total;
};
static struct race race;

struct client {
    uint64_t next; /* key */
};

static void client_ask(struct client *client, weft_ctx *ctx) {
    if (client->next == RACE_KEYS) {
        return;
    }
    uint64_t one = 1;
    uint64_t key = client->next++;
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = race.capability,
                             .type = race.cell,
                             .id = &key,
                             .id_size = sizeof(key),
                             .tag = TAG_ADD,
                             .payload = &one,
                             .payload_size = sizeof(one),
                             .timeout_ns = 25 * S_NS};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_vcall(ctx, &request, key, &pid), 0);
    ck_assert(!weft_pid_is_none(pid));
}

static int client_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct client *client = state;
    if (weft_msg_kind(msg) == WEFT_MSG_USER) {
        for (uint32_t i = 0; i < WINDOW; i++) {
            client_ask(client, ctx);
        }
        return WEFT_CONTINUE;
    }
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_REPLY);
    ck_assert_int_eq(weft_msg_status(msg), 0);
    struct view view = {0};
    uint64_t key = weft_msg_token(msg);
    memcpy(&view, weft_msg_data(msg), sizeof(view));
    uint64_t seen = 0;
    uint64_t mine = (uint64_t)view.pid.gen << 32 | view.pid.slot;
    if (!atomic_compare_exchange_strong(&race.pids[key], &seen, mine)) {
        ck_assert_uint_eq(seen, mine);
    }
    atomic_fetch_add(&race.answers[key], 1);
    atomic_fetch_add(&race.total, 1);
    client_ask(client, ctx);
    return WEFT_CONTINUE;
}

START_TEST(clients_that_race_for_a_new_key_make_one_actor) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    race.capability = vrig.chat;
    race.cell = vrig.cell;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "client",
                         .state_size = sizeof(struct client),
                         .receive = client_receive};
    const weft_type *client = rig_type(&vrig.rig, &def);
    weft_pid pids[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pids[i] = rig_spawn_type(&vrig.rig, client, NULL);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pids[i], 1, NULL, 0), 0);
    }
    eventually(atomic_load(&race.total) == CLIENTS * RACE_KEYS);
    ck_assert_uint_eq(atomic_load(&world.inits), RACE_KEYS);
    ck_assert_uint_eq(vrig_count(&vrig), RACE_KEYS);
    for (uint64_t key = 0; key < RACE_KEYS; key++) {
        struct view view = {0};
        weft_vrequest request = message_to(&vrig, &key, sizeof(key), TAG_GET);
        ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
        ck_assert_uint_eq(view.value, CLIENTS);
        ck_assert_uint_eq(atomic_load(&race.answers[key]), CLIENTS);
    }
    vrig_stop(&vrig);
}
END_TEST

/* ---- pipelined on new keys ------------------------------------------------------------------- */

enum { SETTERS = 16, SET_KEYS = 400 / SLOWER };

struct setters {
    _Atomic uint32_t answers;
};
static struct setters setters;

/* SET k 1, SET k 2, GET k without waiting, for one new key after the other. */
static int setter_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    uint64_t *number = state; /* of the key */
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        uint64_t value;
        ck_assert_int_eq(weft_msg_status(msg), 0);
        memcpy(&value, weft_msg_data(msg), sizeof(value));
        ck_assert_uint_eq(value, weft_msg_tag(msg) == TAG_SET ? 1 : 2);
        atomic_fetch_add(&setters.answers, 1);
        return WEFT_CONTINUE;
    }
    weft_pid self = weft_self(ctx);
    for (uint32_t i = 0; i < 4 && *number < SET_KEYS; i++, ++*number) {
        struct {
            uint64_t slot;
            uint64_t number;
        } id = {self.slot, *number};
        weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                                 .capability = race.capability,
                                 .type = race.cell,
                                 .id = &id,
                                 .id_size = sizeof(id),
                                 .tag = TAG_SET,
                                 .timeout_ns = 25 * S_NS};
        uint64_t values[] = {1, 2};
        request.payload_size = sizeof(uint64_t);
        request.payload = &values[0];
        ck_assert_int_eq(
            i % 2 == 0 ? weft_vcast(ctx, &request, NULL) : weft_vcall(ctx, &request, 1, NULL), 0);
        request.payload = &values[1];
        ck_assert_int_eq(weft_vcast(ctx, &request, NULL), 0);
        request.tag = TAG_GET;
        ck_assert_int_eq(weft_vcall(ctx, &request, 1, NULL), 0);
    }
    return *number == SET_KEYS ? WEFT_CONTINUE : weft_send(ctx, self, 1, NULL, 0);
}

START_TEST(the_second_of_two_pipelined_sets_of_a_new_key_wins) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    race.capability = vrig.chat;
    race.cell = vrig.cell;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "setter",
                         .state_size = sizeof(uint64_t),
                         .receive = setter_receive};
    const weft_type *setter = rig_type(&vrig.rig, &def);
    for (uint32_t i = 0; i < SETTERS; i++) {
        weft_pid pid = rig_spawn_type(&vrig.rig, setter, NULL);
        ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pid, 1, NULL, 0), 0);
    }
    eventually(atomic_load(&setters.answers) == SETTERS * SET_KEYS * 3 / 2);
    ck_assert_uint_eq(atomic_load(&world.inits), SETTERS * SET_KEYS);
    vrig_stop(&vrig);
}
END_TEST

/* ---- ledgers --------------------------------------------------------------------------------- */

/* What a ledger does after every few messages. */
enum ledger_way { NEVER_ENDS, STOPS, EXITS, PASSIVATES, CRASHES, IS_PASSIVATED, LEDGER_WAYS };

enum {
    SENDERS = 8,
    OUTSIDERS = 2, /* threads; the last senders */
    LEDGERS = 4,
    EACH = 4000 / SLOWER, /* from each sender to each ledger */
    BURST = 32,
    FEW = 5,
};

struct entry {
    uint32_t sender;
    uint32_t number; /* from 0, for this ledger */
};

struct book {
    struct vrig *vrig;
    const weft_type *ledger;
    enum ledger_way way;
    uint32_t init_fails;                /* one of so many, 0: none */
    uint32_t flags;                     /* of what actors send; threads activate */
    uint32_t next[LEDGERS][SENDERS];    /* by the activation of that ledger */
    uint32_t handled[LEDGERS][SENDERS]; /* the same */
    uint32_t sent[SENDERS][LEDGERS];    /* by that sender: accepted */
    _Atomic uint32_t live[LEDGERS];
    _Atomic uint64_t births;
    _Atomic uint64_t calls; /* made, from actors */
    _Atomic uint64_t replies;
    _Atomic uint64_t refused; /* replies with an error the way allows */
    _Atomic uint32_t done;    /* senders */
    _Atomic bool over;
    _Atomic uint64_t handled_all;
};
static struct book book;

struct ledger {
    uint32_t number;
    uint32_t count;
};

static int ledger_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct ledger *ledger = state;
    weft_ventry self = {.struct_size = WEFT_VENTRY_INIT};
    ck_assert_int_eq(weft_virtual_self(ctx, &self), 0);
    ck_assert_uint_eq(self.id_size, sizeof(uint32_t));
    memcpy(&ledger->number, self.id, sizeof(uint32_t));
    ck_assert_uint_eq(arg_size, 3);
    ck_assert_mem_eq(arg, "arg", 3);
    uint64_t births = atomic_fetch_add(&book.births, 1) + 1;
    if (book.init_fails != 0 && births % book.init_fails == 0) {
        return -EPERM;
    }
    ck_assert_uint_eq(atomic_exchange(&book.live[ledger->number], 1), 0); /* the only one */
    return WEFT_CONTINUE;
}

static void ledger_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    (void)reason;
    struct ledger *ledger = state;
    ck_assert_uint_eq(atomic_exchange(&book.live[ledger->number], 0), 1);
}

static int ledger_end(weft_ctx *ctx, struct ledger *ledger) {
    if (++ledger->count % FEW != 0) {
        return WEFT_CONTINUE;
    }
    switch (book.way) {
    case STOPS:
        return WEFT_STOP;
    case EXITS:
        weft_exit(ctx, 0);
        return WEFT_CONTINUE;
    case PASSIVATES:
        ck_assert_int_eq(weft_passivate(ctx), 0);
        return WEFT_CONTINUE;
    case CRASHES:
        return -EIO;
    default:
        return WEFT_CONTINUE;
    }
}

static int ledger_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct ledger *ledger = state;
    struct entry entry;
    ck_assert_uint_eq(weft_msg_size(msg), sizeof(entry));
    memcpy(&entry, weft_msg_data(msg), sizeof(entry));
    uint32_t *next = &book.next[ledger->number][entry.sender];
    if (book.way == CRASHES || book.init_fails != 0) {
        ck_assert_uint_ge(entry.number, *next); /* casts may be lost, and nothing else */
    } else {
        ck_assert_uint_eq(entry.number, *next);
    }
    *next = entry.number + 1;
    book.handled[ledger->number][entry.sender]++;
    atomic_fetch_add(&book.handled_all, 1);
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_reply(ctx, &msg, 1, &entry, sizeof(entry));
    }
    return ledger_end(ctx, ledger);
}

static weft_vrequest to_ledger(const uint32_t *number, const struct entry *entry) {
    weft_vrequest request = message_to(book.vrig, number, sizeof(*number), 1);
    request.type = book.ledger;
    request.payload = entry;
    request.payload_size = sizeof(*entry);
    request.init_arg = "arg";
    request.init_arg_size = 3;
    return request;
}

/* What a call may be answered. */
static void check_status(int status) {
    if (status != 0) {
        ck_assert_int_eq(status, book.init_fails != 0 ? -EPERM : WEFT_E_CRASHED);
        ck_assert(book.init_fails != 0 || book.way == CRASHES);
        atomic_fetch_add(&book.refused, 1);
    }
}

/* An actor that sends; after each burst it waits for the answers. */
struct sender {
    uint32_t number;
    uint32_t turn; /* of EACH * LEDGERS, more when some are refused */
    uint32_t pending;
};

static bool sender_is_done(const struct sender *sender) {
    return sender->turn >= EACH * LEDGERS;
}

static void sender_burst(struct sender *sender, weft_ctx *ctx) {
    for (uint32_t i = 0; i < BURST && !sender_is_done(sender); i++, sender->turn++) {
        uint32_t to = sender->turn % LEDGERS;
        uint32_t *sent = &book.sent[sender->number][to];
        struct entry entry = {sender->number, *sent};
        weft_vrequest request = to_ledger(&to, &entry);
        request.flags = book.flags;
        bool calls = i % 8 == 0 || i == BURST - 1;
        int result =
            calls ? weft_vcall(ctx, &request, *sent, NULL) : weft_vcast(ctx, &request, NULL);
        if (result == WEFT_E_INACTIVE && book.flags == WEFT_ONLY_IF_ACTIVE) {
            continue;
        }
        ck_assert_int_eq(result, 0);
        ++*sent;
        sender->pending += calls ? 1 : 0;
        atomic_fetch_add(&book.calls, calls ? 1 : 0);
    }
}

static int sender_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct sender *sender = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY) {
        check_status(weft_msg_status(msg));
        atomic_fetch_add(&book.replies, 1);
        sender->pending--;
    } else {
        memcpy(&sender->number, weft_msg_data(msg), sizeof(sender->number));
    }
    if (sender->pending != 0) {
        return WEFT_CONTINUE;
    }
    if (sender_is_done(sender)) {
        atomic_fetch_add(&book.done, 1);
        return WEFT_STOP;
    }
    sender_burst(sender, ctx);
    return sender->pending != 0 ? WEFT_CONTINUE
                                : weft_send(ctx, weft_self(ctx), 1, &sender->number, 4);
}

/* A thread that sends. */
static void *outsider_run(void *arg) {
    uint32_t number = *(uint32_t *)arg;
    for (uint32_t turn = 0; turn < EACH * LEDGERS; turn++) {
        uint32_t to = turn % LEDGERS;
        uint32_t *sent = &book.sent[number][to];
        struct entry entry = {number, *sent};
        weft_vrequest request = to_ledger(&to, &entry);
        int result;
        if (turn % BURST == 0) {
            weft_msg *reply = NULL;
            result = weft_runtime_vcall(book.vrig->rig.runtime, &request, &reply, NULL);
            if (result == 0) {
                weft_runtime_msg_release(book.vrig->rig.runtime, &reply);
            } else {
                check_status(result);
                result = 0;
            }
        } else {
            result = weft_runtime_vcast(book.vrig->rig.runtime, &request, NULL);
        }
        ck_assert_int_eq(result, 0);
        ++*sent;
    }
    atomic_fetch_add(&book.done, 1);
    return NULL;
}

/* A thread that asks for passivation all the time. */
static void *passivator_run(void *arg) {
    (void)arg;
    weft_runtime *runtime = book.vrig->rig.runtime;
    for (uint32_t number = 0; !atomic_load(&book.over); number = (number + 1) % LEDGERS) {
        weft_pid pid;
        if (weft_virtual_get(runtime, book.vrig->chat, book.ledger, &number, sizeof(number),
                             &pid) == 0) {
            int result = weft_runtime_passivate(runtime, pid);
            ck_assert(result == 0 || result == WEFT_E_NOPROC);
        }
        sleep_ns(20000);
    }
    return NULL;
}

static void run_senders(struct vrig *vrig) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "sender",
                         .state_size = sizeof(struct sender),
                         .receive = sender_receive};
    const weft_type *sender = rig_type(&vrig->rig, &def);
    uint32_t numbers[SENDERS];
    pthread_t threads[OUTSIDERS + 1];
    ck_assert_int_eq(pthread_create(&threads[OUTSIDERS], NULL, passivator_run, NULL), 0);
    for (uint32_t i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        if (i < SENDERS - OUTSIDERS) {
            weft_pid pid = rig_spawn_type(&vrig->rig, sender, NULL);
            ck_assert_int_eq(weft_runtime_send(vrig->rig.runtime, pid, 1, &i, sizeof(i)), 0);
        } else {
            ck_assert_int_eq(pthread_create(&threads[i - (SENDERS - OUTSIDERS)], NULL, outsider_run,
                                            &numbers[i]),
                             0);
        }
    }
    for (uint32_t i = 0; i < OUTSIDERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    eventually(atomic_load(&book.done) == SENDERS);
    atomic_store(&book.over, true);
    ck_assert_int_eq(pthread_join(threads[OUTSIDERS], NULL), 0);
}

static uint64_t all_sent(void) {
    uint64_t sent = 0;
    for (uint32_t i = 0; i < SENDERS; i++) {
        for (uint32_t j = 0; j < LEDGERS; j++) {
            sent += book.sent[i][j];
        }
    }
    return sent;
}

/* Runs senders against ledgers that end in some way. */
static void run_ledgers(struct vrig *vrig, enum ledger_way way) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "ledger",
                         .state_size = sizeof(struct ledger),
                         .init = ledger_init,
                         .receive = ledger_receive,
                         .terminate = ledger_terminate};
    book.vrig = vrig;
    book.way = way;
    book.ledger = rig_type(&vrig->rig, &def);
    atomic_store(&book.over, way != IS_PASSIVATED);
    run_senders(vrig);
    if (way != CRASHES && book.init_fails == 0) { /* the last ones nobody waits for */
        eventually(atomic_load(&book.handled_all) == all_sent());
    }
    ck_assert_uint_eq(atomic_load(&book.calls), atomic_load(&book.replies));
    rig_stop(&vrig->rig);
    for (uint32_t i = 0; i < LEDGERS; i++) {
        ck_assert_uint_eq(atomic_load(&book.live[i]), 0);
    }
}

static void everything_was_handled(void) {
    for (uint32_t i = 0; i < LEDGERS; i++) {
        for (uint32_t j = 0; j < SENDERS; j++) {
            ck_assert_uint_eq(book.handled[i][j], book.sent[j][i]);
            ck_assert_uint_eq(book.next[i][j], book.sent[j][i]);
            bool all = book.flags == 0 || j >= SENDERS - OUTSIDERS;
            ck_assert(book.sent[j][i] == EACH || !all);
        }
    }
    ck_assert_uint_eq(atomic_load(&book.refused), 0);
}

static void lose_nothing(int number, enum ledger_way way) {
    struct vrig vrig = vrig_start(schedulers_of(number));
    run_ledgers(&vrig, way);
    everything_was_handled();
}

START_TEST(messages_of_a_sender_are_handled_in_order_from_the_first_on) {
    lose_nothing(_i, NEVER_ENDS);
    ck_assert_uint_eq(atomic_load(&book.births), LEDGERS);
}
END_TEST

START_TEST(order_survives_actors_that_stop_all_the_time_and_nothing_is_lost) {
    lose_nothing(_i, STOPS);
    ck_assert_uint_gt(atomic_load(&book.births), LEDGERS * EACH / FEW); /* it has stopped often */
}
END_TEST

START_TEST(order_survives_actors_that_exit_normally_and_nothing_is_lost) {
    lose_nothing(_i, EXITS);
    ck_assert_uint_gt(atomic_load(&book.births), LEDGERS * EACH / FEW);
}
END_TEST

START_TEST(order_survives_actors_that_ask_for_passivation_and_nothing_is_lost) {
    lose_nothing(_i, PASSIVATES);
}
END_TEST

START_TEST(order_survives_passivation_from_outside_and_nothing_is_lost) {
    lose_nothing(_i, IS_PASSIVATED);
}
END_TEST

/* Accepted means answered, also at the edge: there is no reply WEFT_E_INACTIVE. */
START_TEST(what_only_active_ones_accept_is_handled) {
    book.flags = WEFT_ONLY_IF_ACTIVE;
    struct vrig vrig = vrig_start(schedulers_of(_i));
    run_ledgers(&vrig, STOPS);
    everything_was_handled();
}
END_TEST

START_TEST(crashes_answer_every_call_and_keep_the_order) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    run_ledgers(&vrig, CRASHES);
    ck_assert_uint_gt(atomic_load(&book.births), EACH / 10);
    for (uint32_t i = 0; i < LEDGERS; i++) {
        for (uint32_t j = 0; j < SENDERS; j++) {
            ck_assert_uint_le(book.handled[i][j], EACH); /* the rest was waiting at a crash */
        }
    }
}
END_TEST

START_TEST(failing_inits_answer_every_call_and_keep_the_order) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    book.init_fails = 2;
    run_ledgers(&vrig, STOPS);
    ck_assert_uint_gt(atomic_load(&book.births), LEDGERS);
}
END_TEST

/* ---- by pid, at the edge --------------------------------------------------------------------- */

/* A pid may have been given away; what it takes must be handled although the actor is passivated all
 * the time. */
START_TEST(what_a_pid_accepts_is_handled_before_the_actor_is_passivated) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    uint64_t accepted = 0;
    uint32_t activations = 0;
    for (uint32_t i = 0; i < 4000 / SLOWER; i++) {
        weft_pid pid = ask(&vrig, "a", TAG_GET, 0).pid;
        accepted++;
        activations++;
        int result = 0;
        for (uint32_t j = 0; j < 50 && result == 0; j++) {
            if (j == i % 7) {
                result = weft_runtime_passivate(vrig.rig.runtime, pid);
                ck_assert(result == 0 || result == WEFT_E_NOPROC); /* by the one before */
            }
            result = weft_runtime_send(vrig.rig.runtime, pid, TAG_ADD, &accepted, 8);
            ck_assert(result == 0 || result == WEFT_E_NOPROC);
            accepted += result == 0 ? 1 : 0;
        }
    }
    eventually(atomic_load(&world.handled) == accepted);
    ck_assert_uint_le(atomic_load(&world.births), activations);
    vrig_stop(&vrig);
    ck_assert_uint_eq(atomic_load(&world.handled), accepted);
}
END_TEST

static Suite *race_suite(void) {
    Suite *suite = suite_create("virtual_race");
    TCase *race_case = tcase_create("race");
    TCase *order = tcase_create("order");
    tcase_set_timeout(race_case, 180);
    tcase_set_timeout(order, 180);
    tcase_add_loop_test(race_case, clients_that_race_for_a_new_key_make_one_actor, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(race_case, the_second_of_two_pipelined_sets_of_a_new_key_wins, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(race_case, what_a_pid_accepts_is_handled_before_the_actor_is_passivated, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(order, messages_of_a_sender_are_handled_in_order_from_the_first_on, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(order, order_survives_actors_that_stop_all_the_time_and_nothing_is_lost, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(order, order_survives_actors_that_exit_normally_and_nothing_is_lost, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(order, order_survives_actors_that_ask_for_passivation_and_nothing_is_lost,
                        0, SCHEDULER_CASES);
    tcase_add_loop_test(order, order_survives_passivation_from_outside_and_nothing_is_lost, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(order, what_only_active_ones_accept_is_handled, 0, SCHEDULER_CASES);
    tcase_add_loop_test(order, crashes_answer_every_call_and_keep_the_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(order, failing_inits_answer_every_call_and_keep_the_order, 0,
                        SCHEDULER_CASES);
    suite_add_tcase(suite, race_case);
    suite_add_tcase(suite, order);
    return suite;
}

int main(void) {
    return run_suite(race_suite());
}
