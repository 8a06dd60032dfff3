/* SPDX-License-Identifier: MIT
 *
 * Messages: payloads of every size, sending without a copy, taking, holding, forwarding and
 * releasing them in every order, shared buffers, order, dead letters.
 */
#include "core/prng.h"
#include "tests/unit/support.h"

enum { MEGA = 1 << 20 };

static unsigned char pattern(size_t at, size_t size) {
    return (unsigned char)(at * 7 + size);
}

static void fill(void *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)data)[i] = pattern(i, size);
    }
}

static bool is_filled(const void *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)data)[i] != pattern(i, size)) {
            return false;
        }
    }
    return true;
}

/* ---- sizes --------------------------------------------------------------------------------- */

static int check_payload(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)probe;
    size_t size = weft_msg_size(msg);
    ck_assert_uint_eq(weft_msg_tag(msg), (uint32_t)size);
    ck_assert(size == 0 || weft_msg_data(msg) != NULL);
    ck_assert(is_filled(weft_msg_data(msg), size));
    ck_assert_uint_eq((uintptr_t)weft_msg_data(msg) % 16, 0);
    ck_assert(size <= 224 ? weft_msg_buf(msg) == NULL : weft_msg_buf(msg) != NULL);
    return WEFT_CONTINUE;
}

static const size_t large_sizes[] = {301, 1000, 4095, 4096, 65536, MEGA, MEGA + 1};

struct sending {
    weft_pid target;
    unsigned char *data;
};

static void send_sizes(weft_ctx *ctx, void *arg) {
    const struct sending *sending = arg;
    for (size_t size = 0; size <= 300; size++) {
        fill(sending->data, size);
        ck_assert_int_eq(
            weft_send(ctx, sending->target, (uint32_t)size, size == 0 ? NULL : sending->data, size),
            0);
        memset(sending->data, 0xee, size); /* it was copied */
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_msg_create(ctx, (uint32_t)size, size, &msg), 0);
        ck_assert_uint_eq((uintptr_t)weft_msg_body(msg) % 16, 0);
        fill(weft_msg_body(msg), size);
        ck_assert_int_eq(weft_send_msg(ctx, sending->target, &msg), 0);
        ck_assert_ptr_null(msg);
    }
    for (size_t i = 0; i < sizeof(large_sizes) / sizeof(large_sizes[0]); i++) {
        size_t size = large_sizes[i];
        fill(sending->data, size);
        ck_assert_int_eq(weft_send(ctx, sending->target, (uint32_t)size, sending->data, size), 0);
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_msg_create(ctx, (uint32_t)size, size, &msg), 0);
        fill(weft_msg_body(msg), size);
        ck_assert_int_eq(weft_send_msg(ctx, sending->target, &msg), 0);
    }
}

START_TEST(payloads_of_every_size_arrive_whole_and_aligned) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    probe.handler = check_payload;
    struct sending sending = {.target = rig_spawn(&rig, &probe), .data = malloc(MEGA + 1)};
    act(&rig, rig_spawn(&rig, NULL), send_sizes, &sending);
    for (size_t size = 0; size <= 300; size++) { /* and from outside */
        fill(sending.data, size);
        ck_assert_int_eq(
            weft_runtime_send(rig.runtime, sending.target, (uint32_t)size, sending.data, size), 0);
    }
    fill(sending.data, MEGA);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, sending.target, MEGA, sending.data, MEGA), 0);
    eventually(probe_count(&probe) == 2 * 301 + 2 * 7 + 301 + 1);
    rig_stop(&rig);
    free(sending.data);
    probe_fini(&probe);
}
END_TEST

static void send_too_much(weft_ctx *ctx, void *arg) {
    const struct sending *sending = arg;
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_send(ctx, sending->target, 1, sending->data, 4097), -EMSGSIZE);
    ck_assert_int_eq(weft_msg_create(ctx, 1, 4097, &msg), -EMSGSIZE);
    ck_assert_ptr_null(msg);
    ck_assert_int_eq(weft_call(ctx, sending->target, 1, sending->data, 4097, 0, 1), -EMSGSIZE);
    ck_assert_int_eq(weft_send_after(ctx, 0, sending->target, 1, sending->data, 4097, NULL),
                     -EMSGSIZE);
    ck_assert_int_eq(weft_send(ctx, sending->target, 1, sending->data, 4096), 0);
    ck_assert_int_eq(weft_send(ctx, sending->target, 1, NULL, 1), -EINVAL);
}

START_TEST(more_than_the_limit_is_refused) {
    weft_config config = rig_config(1);
    config.message_bytes_max = 4096;
    struct rig rig = rig_start_with(&config);
    struct probe probe = PROBE_INIT;
    struct sending sending = {.target = rig_spawn(&rig, &probe), .data = calloc(1, 4097)};
    act(&rig, rig_spawn(&rig, NULL), send_too_much, &sending);
    ck_assert_int_eq(weft_runtime_send(rig.runtime, sending.target, 1, sending.data, 4097),
                     -EMSGSIZE);
    weft_msg *reply = NULL;
    ck_assert_int_eq(
        weft_runtime_call(rig.runtime, sending.target, 1, sending.data, 4097, SOON_NS, &reply),
        -EMSGSIZE);
    settle(&rig, sending.target);
    eventually(probe_count(&probe) == 1);
    rig_stop(&rig);
    free(sending.data);
    probe_fini(&probe);
}
END_TEST

/* ---- order --------------------------------------------------------------------------------- */

enum { SENDERS = 5, EACH = 20000 };

static weft_atomic_u32 order_errors;
static uint32_t order_next[SENDERS + 1];

static int check_order(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    uint32_t number;
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    uint32_t sender = weft_msg_tag(msg);
    if (order_next[sender]++ != number) {
        (void)weft_add32_acq_rel(&order_errors, 1);
    }
    if (number % 5 == 0) { /* taking must not disturb the rest */
        weft_msg *taken = weft_msg_take(ctx, msg);
        weft_msg_release(ctx, &taken);
    }
    return WEFT_CONTINUE;
}

struct orderly {
    weft_pid target;
    weft_pid self;
    uint32_t id;
    uint32_t sent;
};

/* Sends some, then reminds itself to go on: so senders and receiver take turns everywhere. */
static int send_orderly(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)msg;
    struct orderly *orderly = probe->user;
    for (uint32_t i = 0; i < 100 && orderly->sent < EACH; i++) {
        int result = weft_send(ctx, orderly->target, orderly->id, &orderly->sent, 4);
        if (result == -EBUSY) {
            break;
        }
        ck_assert_int_eq(result, 0);
        orderly->sent++;
    }
    return orderly->sent == EACH ? WEFT_STOP : weft_send(ctx, weft_self(ctx), 0, NULL, 0);
}

START_TEST(messages_of_one_sender_arrive_in_order) {
    struct rig rig = rig_start(schedulers_of(_i));
    memset(order_next, 0, sizeof(order_next));
    struct probe receiver = {.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
    receiver.handler = check_order;
    weft_pid target = rig_spawn(&rig, &receiver);
    struct probe probes[SENDERS];
    struct orderly orderly[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        probes[i] = (struct probe){.lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true};
        orderly[i] = (struct orderly){.target = target, .id = i};
        probes[i].user = &orderly[i];
        probes[i].handler = send_orderly;
        weft_pid pid = rig_spawn(&rig, &probes[i]);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 0, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < EACH; i++) {
        while (weft_runtime_send(rig.runtime, target, SENDERS, &i, 4) == -EBUSY) {
            sleep_ns(10000);
        }
    }
    eventually(probe_count(&receiver) == (SENDERS + 1) * EACH);
    ck_assert_uint_eq(weft_load32_acquire(&order_errors), 0);
    rig_stop(&rig);
}
END_TEST

/* ---- taking and holding -------------------------------------------------------------------- */

enum { HELD_MAX = 500 };

/* Does something random with every message: keeps, releases, forwards, leaves it. */
struct juggler {
    struct weft__prng prng;
    weft_pid target; /* forwards there */
    weft_msg *held[HELD_MAX];
    uint32_t held_count;
    uint32_t forwarded;
};

static int juggle(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct juggler *juggler = probe->user;
    ck_assert(is_filled(weft_msg_data(msg), weft_msg_size(msg)));
    uint32_t what = weft__prng_below(&juggler->prng, 8);
    if (what < 3 && juggler->held_count < HELD_MAX) {
        juggler->held[juggler->held_count++] = weft_msg_take(ctx, msg);
        ck_assert_ptr_null(weft_current(ctx));
        ck_assert_ptr_eq(weft_msg_take(ctx, msg), msg); /* twice changes nothing */
    } else if (what == 3) {
        weft_msg *sent = msg;
        ck_assert_int_eq(weft_send_msg(ctx, juggler->target, &sent), 0);
        juggler->forwarded++;
    } else if (what == 4) {
        weft_msg *released = msg;
        weft_msg_release(ctx, &released);
        ck_assert_ptr_null(released);
        ck_assert_ptr_null(weft_current(ctx));
    }
    if (juggler->held_count != 0) {
        uint32_t at = weft__prng_below(&juggler->prng, juggler->held_count);
        weft_msg *old = juggler->held[at];
        ck_assert(is_filled(weft_msg_data(old), weft_msg_size(old)));
        what = weft__prng_below(&juggler->prng, 10);
        if (what < 2) {
            weft_msg_release(ctx, &old);
        } else if (what == 2) {
            ck_assert_int_eq(weft_send_msg(ctx, juggler->target, &old), 0);
            juggler->forwarded++;
        } else {
            return WEFT_CONTINUE;
        }
        juggler->held[at] = juggler->held[--juggler->held_count];
    }
    return WEFT_CONTINUE;
}

static int check_filled(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)probe;
    ck_assert(is_filled(weft_msg_data(msg), weft_msg_size(msg)));
    return WEFT_CONTINUE;
}

START_TEST(any_mix_of_taking_holding_forwarding_and_releasing_keeps_every_payload) {
    weft_config config = rig_config(schedulers_of(_i));
    config.mailbox_max = 1 << 20;
    struct rig rig = rig_start_with(&config);
    struct probe last = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true, .handler = check_filled};
    struct juggler juggler = {.target = rig_spawn(&rig, &last)};
    weft__prng_init(&juggler.prng, 21, (uint64_t)_i);
    struct probe first = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .counts_only = true, .handler = juggle};
    first.user = &juggler;
    weft_pid pid = rig_spawn(&rig, &first);
    unsigned char data[400];
    struct weft__prng prng;
    weft__prng_init(&prng, 22, (uint64_t)_i);
    enum { MESSAGES = 40000 };
    for (uint32_t i = 0; i < MESSAGES; i++) {
        size_t size = weft__prng_below(&prng, sizeof(data));
        fill(data, size);
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, i, data, size), 0);
        if (weft__prng_below(&prng, 300) == 0) {
            sleep_ns(100000); /* let it run dry now and then */
        }
    }
    eventually(probe_count(&first) == MESSAGES);
    settle(&rig, pid);
    eventually(probe_count(&last) == juggler.forwarded);
    ck_assert_uint_gt(juggler.held_count, 0);
    rig_stop(&rig); /* what it holds is freed with it */
}
END_TEST

/* Takes everything and sends it on, newest first, when told so by tag 1. */
static int hoard(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct juggler *juggler = probe->user;
    if (weft_msg_tag(msg) != 1) {
        juggler->held[juggler->held_count++] = weft_msg_take(ctx, msg);
        return WEFT_CONTINUE;
    }
    while (juggler->held_count > 0) {
        weft_msg *sent = juggler->held[--juggler->held_count];
        ck_assert_int_eq(weft_send_msg(ctx, juggler->target, &sent), 0);
    }
    return WEFT_CONTINUE;
}

START_TEST(hoarded_messages_go_on_in_the_order_they_are_sent) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe last = PROBE_INIT;
    struct probe first = PROBE_INIT;
    static struct juggler juggler;
    memset(&juggler, 0, sizeof(juggler));
    juggler.target = rig_spawn(&rig, &last);
    first.user = &juggler;
    first.handler = hoard;
    weft_pid pid = rig_spawn(&rig, &first);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 100 + i, &i, 4), 0);
    }
    ck_assert_int_eq(weft_runtime_send(rig.runtime, pid, 1, NULL, 0), 0);
    eventually(probe_count(&last) == 100);
    for (uint32_t i = 0; i < 100; i++) {
        struct seen seen = probe_at(&last, i);
        ck_assert_uint_eq(seen.tag, 199 - i);
        ck_assert(weft_pid_equal(seen.sender, pid)); /* whoever sends it is its sender */
        ck_assert_int_eq(seen.kind, WEFT_MSG_USER);
    }
    rig_stop(&rig);
    probe_fini(&first);
    probe_fini(&last);
}
END_TEST

/* ---- shared buffers ------------------------------------------------------------------------ */

static weft_atomic_u32 frees;

static void count_free(void *data, size_t size, void *cookie) {
    ck_assert_ptr_eq(cookie, &frees);
    ck_assert_uint_eq(size, 1000);
    ck_assert(is_filled(data, size));
    (void)weft_add32_acq_rel(&frees, 1);
}

static int check_slice(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)probe;
    size_t at = weft_msg_tag(msg);
    const unsigned char *data = weft_msg_data(msg);
    ck_assert_ptr_nonnull(weft_msg_buf(msg));
    ck_assert_uint_eq(weft_buf_size(weft_msg_buf(msg)), 1000);
    ck_assert_ptr_eq(data, (unsigned char *)weft_buf_data(weft_msg_buf(msg)) + at);
    for (size_t i = 0; i < weft_msg_size(msg); i++) {
        ck_assert_uint_eq(data[i], pattern(at + i, 1000));
    }
    if (at % 3 == 0) {
        (void)weft_msg_take(ctx, msg); /* some are still held when it ends */
    }
    return WEFT_CONTINUE;
}

struct slices {
    weft_pid targets[4];
    weft_buf *buf;
};

static void send_slices(weft_ctx *ctx, void *arg) {
    struct slices *slices = arg;
    for (size_t at = 0; at <= 1000; at++) {
        size_t size = (1000 - at) / (at % 5 + 1);
        ck_assert_int_eq(
            weft_send_buf(ctx, slices->targets[at % 4], (uint32_t)at, slices->buf, at, size), 0);
    }
    weft_pid target = slices->targets[0];
    ck_assert_int_eq(weft_send_buf(ctx, target, 0, slices->buf, 1001, 0), -EINVAL);
    ck_assert_int_eq(weft_send_buf(ctx, target, 0, slices->buf, 1, 1000), -EINVAL);
    ck_assert_int_eq(weft_send_buf(ctx, target, 0, slices->buf, SIZE_MAX, 2), -EINVAL);
    ck_assert_int_eq(weft_send_buf(ctx, target, 0, NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(weft_send_buf(ctx, weft_pid_none(), 0, slices->buf, 0, 1), WEFT_E_NOPROC);
}

START_TEST(slices_share_one_buffer_that_is_freed_exactly_once) {
    struct rig rig = rig_start(schedulers_of(_i));
    weft_store32_relaxed(&frees, 0);
    static unsigned char data[1000];
    fill(data, sizeof(data));
    struct slices slices;
    ck_assert_int_eq(
        weft_buf_wrap(rig.runtime, data, sizeof(data), count_free, &frees, &slices.buf), 0);
    struct probe probes[4] = {PROBE_INIT, PROBE_INIT, PROBE_INIT, PROBE_INIT};
    for (uint32_t i = 0; i < 4; i++) {
        probes[i].handler = check_slice;
        slices.targets[i] = rig_spawn(&rig, &probes[i]);
    }
    act(&rig, rig_spawn(&rig, NULL), send_slices, &slices);
    ck_assert_int_eq(weft_runtime_send_buf(rig.runtime, slices.targets[1], 1, slices.buf, 1, 9), 0);
    ck_assert_int_eq(weft_runtime_send_buf(rig.runtime, slices.targets[1], 1, slices.buf, 999, 2),
                     -EINVAL);
    weft_buf_unref(slices.buf);
    eventually(probe_count(&probes[0]) + probe_count(&probes[1]) + probe_count(&probes[2]) +
                   probe_count(&probes[3]) ==
               1002);
    ck_assert_uint_eq(weft_load32_acquire(&frees), 0); /* some are held */
    rig_stop(&rig);
    ck_assert_uint_eq(weft_load32_acquire(&frees), 1);
    for (uint32_t i = 0; i < 4; i++) {
        probe_fini(&probes[i]);
    }
}
END_TEST

START_TEST(a_buffer_is_counted_until_its_last_reference_goes) {
    struct rig rig = rig_start(1);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(NULL, 1, &buf), -EINVAL);
    ck_assert_int_eq(weft_buf_create(rig.runtime, 1, NULL), -EINVAL);
    ck_assert_int_eq(weft_buf_wrap(rig.runtime, NULL, 1, NULL, NULL, &buf), -EINVAL);
    ck_assert_int_eq(weft_buf_create(rig.runtime, 12345, &buf), 0);
    ck_assert_uint_eq(weft_buf_size(buf), 12345);
    ck_assert_uint_eq((uintptr_t)weft_buf_data(buf) % 16, 0);
    memset(weft_buf_data(buf), 1, 12345);
    ck_assert_uint_eq(rig_gauges(&rig).buffers, 1);
    ck_assert_ptr_eq(weft_buf_ref(buf), buf);
    weft_buf_unref(buf);
    ck_assert_uint_eq(rig_gauges(&rig).buffers, 1);
    weft_buf_unref(buf);
    ck_assert_uint_eq(rig_gauges(&rig).buffers, 0);
    weft_buf_unref(NULL);
    rig_stop(&rig);
}
END_TEST

/* ---- dead letters -------------------------------------------------------------------------- */

static void send_to_the_dead(weft_ctx *ctx, void *arg) {
    const struct sending *sending = arg;
    /* Refused at once: no dead letter. */
    ck_assert_int_eq(weft_send(ctx, sending->target, 5, "x", 1), WEFT_E_NOPROC);
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_msg_create(ctx, 6, 300, &msg), 0);
    fill(weft_msg_body(msg), 300);
    ck_assert_int_eq(weft_send_msg(ctx, sending->target, &msg), WEFT_E_NOPROC);
    ck_assert_ptr_null(msg);
    ck_assert_int_eq(weft_send_msg(ctx, sending->target, &msg), -EINVAL);
}

static int wait_at_gate(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    (void)msg;
    probe_wait(probe);
    return WEFT_CONTINUE;
}

static void send_one(weft_ctx *ctx, void *arg) {
    const struct sending *sending = arg;
    ck_assert_int_eq(weft_send(ctx, sending->target, 8, "dead letter", 11), 0);
}

/* From two schedulers on: one is busy with the victim. */
START_TEST(undelivered_messages_reach_the_subscriber) {
    struct rig rig = rig_start(schedulers_of(_i));
    struct probe subscriber = PROBE_INIT;
    struct probe victim = PROBE_INIT;
    victim.handler = wait_at_gate;
    weft_pid sender = rig_spawn(&rig, NULL);
    weft_pid listener = rig_spawn(&rig, &subscriber);
    ck_assert_int_eq(weft_dead_letters(rig.runtime, listener), 0);
    struct sending sending = {.target = rig_spawn(&rig, &victim)};
    ck_assert_int_eq(weft_runtime_send(rig.runtime, sending.target, 7, NULL, 0), 0);
    eventually(weft_load32_acquire(&victim.inside) != 0);
    act(&rig, sender, send_one, &sending); /* waits behind the one at the gate */
    ck_assert_int_eq(weft_runtime_send(rig.runtime, sending.target, 9, NULL, 0), 0);
    ck_assert_int_eq(weft_runtime_kill_actor(rig.runtime, sending.target), 0);
    weft_store32_release(&victim.gate, 1);
    eventually(probe_count(&subscriber) == 2);
    struct seen seen = probe_at(&subscriber, 0);
    ck_assert_int_eq(seen.kind, WEFT_MSG_DEAD);
    ck_assert_uint_eq(seen.tag, 8);
    ck_assert_uint_eq(seen.size, 11);
    ck_assert_mem_eq(seen.data, "dead letter", 11);
    ck_assert_int_eq(seen.status, WEFT_E_NOPROC);
    ck_assert(weft_pid_equal(seen.sender, sender));
    seen = probe_at(&subscriber, 1);
    ck_assert_uint_eq(seen.tag, 9);
    ck_assert(weft_pid_is_none(seen.sender));
    act(&rig, sender, send_to_the_dead, &sending);
    eventually(probe_count(&subscriber) == 3);
    seen = probe_at(&subscriber, 2);
    ck_assert_uint_eq(seen.tag, 6);
    ck_assert_uint_eq(seen.size, 300);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 3);
    /* Without a subscriber, or a dead one, they are only counted. */
    ck_assert_int_eq(weft_dead_letters(rig.runtime, weft_pid_none()), 0);
    act(&rig, sender, send_to_the_dead, &sending);
    ck_assert_int_eq(weft_dead_letters(rig.runtime, sending.target), 0);
    act(&rig, sender, send_to_the_dead, &sending);
    settle(&rig, listener);
    ck_assert_uint_eq(probe_count(&subscriber), 3);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 5);
    rig_stop(&rig);
    probe_fini(&subscriber);
    probe_fini(&victim);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("message");
    TCase *tcase = tcase_create("message");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, payloads_of_every_size_arrive_whole_and_aligned, 0, SCHEDULER_CASES);
    tcase_add_test(tcase, more_than_the_limit_is_refused);
    tcase_add_loop_test(tcase, messages_of_one_sender_arrive_in_order, 0, SCHEDULER_CASES);
    tcase_add_loop_test(tcase,
                        any_mix_of_taking_holding_forwarding_and_releasing_keeps_every_payload, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, hoarded_messages_go_on_in_the_order_they_are_sent, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(tcase, slices_share_one_buffer_that_is_freed_exactly_once, 0,
                        SCHEDULER_CASES);
    tcase_add_test(tcase, a_buffer_is_counted_until_its_last_reference_goes);
    tcase_add_loop_test(tcase, undelivered_messages_reach_the_subscriber, 1, SCHEDULER_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
