/* SPDX-License-Identifier: MIT
 *
 * Datagram sockets on a driver that refuses, fails or holds back operations: what passes by itself
 * is tried again, what does not ends the socket, and nothing waits for ever. The driver is a real
 * one whose table of calls was changed on the way; the changes act on its scheduler's thread.
 */
#define _GNU_SOURCE
#include "datagram_support.h"

static weft_env_io refusing;
static const weft_env_io *willing;
static _Atomic uint32_t submits;
static _Atomic uint32_t refusal;   /* of four submits, how many answer -EAGAIN */
static _Atomic int receive_submit; /* what submitting a receive answers; 0: as usual */
static _Atomic int receive_result; /* what a receive ends with at once; 0: as usual */
static _Atomic uint32_t receive_times;
static _Atomic bool hold_sends; /* until they are cancelled */
static weft_io_op *stub;        /* a receive that was not passed on */
static weft_io_op *held;        /* a send that was not */
static bool held_cancelled;

static int refusing_submit(weft_env *env, void *driver, weft_io_op *op) {
    bool receives = op->kind == WEFT_IO_OP_RECEIVE_FROM;
    if (receives && atomic_load(&receive_submit) != 0) {
        return atomic_load(&receive_submit);
    }
    if (receives && atomic_load(&receive_result) != 0 && atomic_load(&receive_times) != 0) {
        atomic_fetch_sub(&receive_times, 1);
        stub = op;
        return 0;
    }
    if (op->kind == WEFT_IO_OP_SEND_TO && atomic_load(&hold_sends)) {
        held = op;
        held_cancelled = false;
        return 0;
    }
    uint32_t turn = atomic_fetch_add(&submits, 1);
    return turn % 4 < atomic_load(&refusal) ? -EAGAIN : willing->submit(env, driver, op);
}

static void refusing_cancel(weft_env *env, void *driver, weft_io_op *op) {
    if (op == held) {
        held_cancelled = true;
    } else if (op != stub) {
        willing->cancel(env, driver, op);
    }
}

static uint32_t refusing_poll(weft_env *env, void *driver) {
    uint32_t done = 0;
    if (stub != NULL) {
        weft_io_op *op = stub;
        stub = NULL;
        op->complete(op, &(weft_io_result){.result = atomic_load(&receive_result)});
        done++;
    }
    if (held != NULL && held_cancelled) {
        weft_io_op *op = held;
        held = NULL;
        op->complete(op, &(weft_io_result){.result = -ECANCELED});
        done++;
    }
    return done + willing->poll(env, driver);
}

/* False: there is no such driver. */
static bool faults_start(struct rig *rig, int number, weft_env **ret_env) {
    weft_config config = net_config(number, 1);
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    int result = weft_env_os_io(env, (enum weft_io_driver)config.io_driver, NULL);
    if (result != 0) {
        ck_assert_int_eq(number, 0);
        weft_env_os_destroy(&env);
        skip_uring(result);
        return false;
    }
    willing = env->io;
    refusing = *willing;
    refusing.submit = refusing_submit;
    refusing.cancel = refusing_cancel;
    refusing.poll = refusing_poll;
    env->io = &refusing;
    *rig = (struct rig){0};
    ck_assert_int_eq(weft_runtime_create_env(&config, env, &rig->runtime), 0);
    weft_type_def def = puppet_def("puppet");
    rig->puppet = rig_type(rig, &def);
    ck_assert_int_eq(weft_runtime_start(rig->runtime), 0);
    *ret_env = env;
    return true;
}

static void faults_stop(struct rig *rig, weft_env *env) {
    net_stop(rig);
    weft_env_os_destroy(&env);
}

/* What it sends to itself arrives. */
static void check_works(struct rig *rig, struct end *end) {
    uint32_t before = inbox_count(end->inbox);
    struct sending sending = {.target = end->address, .data = "again", .size = 5, .times = 20};
    act(rig, end->pid, do_send, &sending);
    ck_assert_uint_eq(sending.accepted, 20);
    eventually(inbox_count(end->inbox) == before + 20);
}

static void check_closed(struct rig *rig, struct end *end, int status) {
    eventually(!is_alive(rig, end->pid));
    ck_assert_uint_eq(inbox_count(end->inbox), 2);
    ck_assert_uint_eq(inbox_at(end->inbox, 1).tag, WEFT_IO_CLOSED);
    ck_assert_int_eq(inbox_at(end->inbox, 1).status, status);
}

START_TEST(a_driver_that_refuses_is_asked_again) {
    struct rig rig;
    weft_env *env;
    if (!faults_start(&rig, _i, &env)) {
        return;
    }
    atomic_store(&refusal, 3);
    struct end end = open_end(&rig, "127.0.0.1:0");
    check_works(&rig, &end);
    faults_stop(&rig, env);
    inbox_free(end.inbox);
}
END_TEST

START_TEST(errors_that_pass_are_waited_for) {
    static const int errors[] = {-ENOBUFS,      -ENOMEM,       -EAGAIN,   -EINTR,
                                 -ECONNREFUSED, -EHOSTUNREACH, -ENETDOWN, -ECANCELED};
    struct rig rig;
    weft_env *env;
    if (!faults_start(&rig, _i, &env)) {
        return;
    }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        atomic_store(&receive_times, 3);
        atomic_store(&receive_result, errors[i]);
        struct end end = open_end(&rig, "127.0.0.1:0");
        check_works(&rig, &end);
        ck_assert_uint_eq(atomic_load(&receive_times), 0);
        atomic_store(&receive_result, 0);
        ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, end.pid, 0), 0);
        eventually(weft_load32_acquire(&end.inbox->probe.terminations) != 0);
        inbox_free(end.inbox);
    }
    faults_stop(&rig, env);
}
END_TEST

START_TEST(errors_that_stay_end_the_socket) {
    struct rig rig;
    weft_env *env;
    if (!faults_start(&rig, _i, &env)) {
        return;
    }
    atomic_store(&receive_submit, -EBADF);
    struct end first = open_end(&rig, "127.0.0.1:0");
    check_closed(&rig, &first, -EBADF);
    atomic_store(&receive_submit, 0);
    atomic_store(&receive_times, 1);
    atomic_store(&receive_result, -ENOTSOCK);
    struct end second = open_end(&rig, "127.0.0.1:0");
    check_closed(&rig, &second, -ENOTSOCK);
    faults_stop(&rig, env);
    inbox_free(first.inbox);
    inbox_free(second.inbox);
}
END_TEST

/* A network that takes nothing does not keep a socket from closing, nor a runtime from stopping. */
START_TEST(a_send_that_hangs_is_given_up) {
    struct rig rig;
    weft_env *env;
    if (!faults_start(&rig, _i, &env)) {
        return;
    }
    struct end end = open_end(&rig, "127.0.0.1:0");
    atomic_store(&hold_sends, true);
    ck_assert_int_eq(send_from(&rig, &end, &end.address, "x", 1), 0);
    ck_assert_int_eq(send_from(&rig, &end, &end.address, "y", 1), 0);
    int result = -1;
    uint64_t start_ns = clock_ns();
    act(&rig, end.pid, do_close, &result);
    ck_assert_int_eq(result, 0);
    check_closed(&rig, &end, 0);
    ck_assert_uint_lt(clock_ns() - start_ns, SOON_NS);
    struct end last = open_end(&rig, "127.0.0.1:0");
    ck_assert_int_eq(send_from(&rig, &last, &last.address, "x", 1), 0);
    faults_stop(&rig, env);
    inbox_free(end.inbox);
    inbox_free(last.inbox);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("datagram_faults");
    TCase *tcase = tcase_create("datagram_faults");
    tcase_add_loop_test(tcase, a_driver_that_refuses_is_asked_again, 0, DRIVERS);
    tcase_add_loop_test(tcase, errors_that_pass_are_waited_for, 0, DRIVERS);
    tcase_add_loop_test(tcase, errors_that_stay_end_the_socket, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_send_that_hangs_is_given_up, 0, DRIVERS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
