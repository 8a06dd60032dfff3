/* SPDX-License-Identifier: MIT
 *
 * The simulated network alone, without runtimes: what streams, datagrams, groups, files and names
 * do when nothing goes wrong, what a cancel and a partition do, and that each mistake in the use of
 * the driver ends the process. Faults: test_sim_net_faults.c.
 */
#include <signal.h>
#include <weft/file.h>
#include <weft/msg.h>

#include "check_run.h"
#include "sim_net_bench.h"

enum { SEEDS = 30, PAYLOAD = 600000 };

/* ---- streams ------------------------------------------------------------------------------- */

START_TEST(test_all_bytes_arrive_and_the_end_after_them) {
    static unsigned char bytes[PAYLOAD];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench;
        bench_seed(&bench, seed);
        weft_address address = ipv4(HOST_A, 80);
        struct pair pair;
        pair_open(&pair, &bench, &address, NULL);
        struct watch receive;
        struct watch send;
        watch_start(&receive, &bench, pair.server, WEFT_IO_OP_RECEIVE);
        for (size_t sent = 0; sent < PAYLOAD; sent += (size_t)send.last) {
            watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND,
                        (weft_io_span){bytes + sent, PAYLOAD - sent});
            watch_submit(&send);
            bench_until(&bench, send.over);
            ck_assert_int_gt(send.last, 0);
        }
        ck_assert_int_eq(bench.io->shutdown(bench.env, pair.client, false), 0);
        bench_until(&bench, receive.over);
        ck_assert_int_eq(receive.last, 0);
        ck_assert_uint_eq(receive.bytes, PAYLOAD);
        pair_close(&pair, &bench);
        (void)bench_close(&bench);
    }
}
END_TEST

START_TEST(test_sender_waits_while_nobody_receives) {
    static unsigned char bytes[PAYLOAD];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench;
        bench_seed(&bench, seed);
        weft_address address = ipv4(HOST_HOME, 80);
        struct pair pair;
        pair_open(&pair, &bench, &address, NULL);
        uint64_t taken = 0;
        struct watch send = {.over = true};
        for (uint32_t sends = 0; sends < 1000 && send.over; sends++) {
            watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND,
                        (weft_io_span){bytes, PAYLOAD});
            watch_submit(&send);
            bench_linger(&bench, S_NS);
            taken += send.over ? (uint64_t)send.last : 0;
        }
        ck_assert(!send.over);
        ck_assert_uint_le(taken, 256 * 1024);
        struct watch receive;
        watch_start(&receive, &bench, pair.server, WEFT_IO_OP_RECEIVE);
        bench_until(&bench, send.over);
        ck_assert_int_gt(send.last, 0);
        bench_until(&bench, receive.bytes == taken + (uint64_t)send.last);
        watch_cancel(&receive);
        bench_until(&bench, receive.over);
        ck_assert_int_eq(receive.last, -ECANCELED);
        pair_close(&pair, &bench);
        (void)bench_close(&bench);
    }
}
END_TEST

static int connect_result(struct bench *bench, const weft_address *address,
                          const weft_address *local) {
    int fd = bench_socket(bench, WEFT_IO_STREAM, address, local);
    ck_assert_int_ge(fd, 0);
    struct watch connect;
    watch_init(&connect, bench, fd, WEFT_IO_OP_CONNECT);
    connect.op.address = address;
    watch_submit(&connect);
    bench_until(bench, connect.over);
    bench->io->close(bench->env, fd);
    return connect.last;
}

START_TEST(test_connecting_to_nobody_is_refused) {
    struct bench bench;
    bench_seed(&bench, 1);
    weft_address address = ipv4(HOST_A, 81);
    weft_address path = unix_path("/run/nobody");
    ck_assert_int_eq(connect_result(&bench, &address, NULL), -ECONNREFUSED);
    ck_assert_int_eq(connect_result(&bench, &path, NULL), -ENOENT);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_addresses_are_bound_and_told) {
    struct bench bench;
    bench_seed(&bench, 2);
    weft_address any = ipv4(HOST_ANY, 80);
    weft_address home = ipv4(HOST_HOME, 80);
    weft_address other = ipv4(HOST_A, 80);
    weft_address local = ipv4(HOST_B, 0);
    weft_address told;
    struct pair pair;
    pair_open(&pair, &bench, &other, &local);
    int fd = bench_socket(&bench, WEFT_IO_LISTEN, &any, NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bench_socket(&bench, WEFT_IO_LISTEN, &home, NULL), -EADDRINUSE);
    ck_assert_int_eq(bench_socket(&bench, WEFT_IO_LISTEN, &other, NULL), -EADDRINUSE);
    bench.io->close(bench.env, fd);
    fd = bench_socket(&bench, WEFT_IO_LISTEN, &local, NULL);
    ck_assert_int_eq(bench.io->local(bench.env, fd, &told), 0);
    ck_assert_uint_ne(told.port, 0);
    ck_assert_int_eq(bench.io->peer(bench.env, fd, &told), -ENOTCONN);
    bench.io->close(bench.env, fd);
    weft_address seen[4];
    ck_assert_int_eq(bench.io->local(bench.env, pair.client, &seen[0]), 0);
    ck_assert_int_eq(bench.io->peer(bench.env, pair.server, &seen[1]), 0);
    ck_assert_int_eq(bench.io->peer(bench.env, pair.client, &seen[2]), 0);
    ck_assert_int_eq(bench.io->local(bench.env, pair.server, &seen[3]), 0);
    ck_assert_mem_eq(&seen[0], &seen[1], sizeof(seen[0]));
    ck_assert_mem_eq(&seen[2], &other, sizeof(other));
    ck_assert_mem_eq(&seen[3], &other, sizeof(other));
    ck_assert_mem_eq(seen[0].u.ip, local.u.ip, 4);
    pair_close(&pair, &bench);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_unix_paths_connect) {
    struct bench bench;
    bench_seed(&bench, 3);
    weft_address path = unix_path("/run/server");
    struct pair pair;
    pair_open(&pair, &bench, &path, NULL);
    pair_close(&pair, &bench);
    bench.io->unlink(bench.env, &path);
    ck_assert_int_eq(connect_result(&bench, &path, NULL), -ENOENT);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_connects_wait_for_room_in_the_backlog) {
    enum { CLIENTS = 12 };
    struct bench bench;
    bench_seed(&bench, 4);
    weft_address address = ipv4(HOST_HOME, 80);
    int listener = bench_socket(&bench, WEFT_IO_LISTEN, &address, NULL);
    struct watch connects[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        int fd = bench_socket(&bench, WEFT_IO_STREAM, &address, NULL);
        watch_init(&connects[i], &bench, fd, WEFT_IO_OP_CONNECT);
        connects[i].op.address = &address;
        watch_submit(&connects[i]);
    }
    bench_linger(&bench, S_NS / 2);
    uint32_t connected = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        connected += connects[i].over && connects[i].last == 0;
    }
    ck_assert_uint_eq(connected, 9); /* the backlog and one more, as the kernel has it */
    struct watch accept;
    watch_start(&accept, &bench, listener, WEFT_IO_OP_ACCEPT);
    bench_until(&bench, accept.accepted_count == CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        bench_until(&bench, connects[i].over);
        ck_assert_int_eq(connects[i].last, 0);
        bench.io->close(bench.env, connects[i].op.fd);
        bench.io->close(bench.env, accept.accepted[i]);
    }
    watch_cancel(&accept);
    bench_until(&bench, accept.over);
    bench.io->close(bench.env, listener);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_closing_with_bytes_unread_resets) {
    static unsigned char bytes[100];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench;
        bench_seed(&bench, seed);
        weft_address address = ipv4(HOST_A, 80);
        struct pair pair;
        pair_open(&pair, &bench, &address, NULL);
        struct watch send;
        struct watch receive;
        watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND, (weft_io_span){bytes, 100});
        watch_submit(&send);
        watch_start(&receive, &bench, pair.client, WEFT_IO_OP_RECEIVE);
        bench_until(&bench, send.over);
        bench.io->close(bench.env, pair.server);
        bench_until(&bench, receive.over);
        ck_assert_int_eq(receive.last, -ECONNRESET);
        watch_submit(&send);
        watch_submit(&receive);
        bench_until(&bench, send.over && receive.over);
        ck_assert_int_eq(send.last, -EPIPE); /* the error was told */
        ck_assert_int_eq(receive.last, 0);
        bench.io->close(bench.env, pair.client);
        bench.io->close(bench.env, pair.listener);
        (void)bench_close(&bench);
    }
}
END_TEST

START_TEST(test_sending_to_a_closed_side_is_reset_later) {
    static unsigned char bytes[100];
    struct bench bench;
    bench_seed(&bench, 7);
    weft_address address = ipv4(HOST_A, 80);
    struct pair pair;
    pair_open(&pair, &bench, &address, NULL);
    bench.io->close(bench.env, pair.server);
    struct watch send;
    struct watch receive;
    watch_start(&receive, &bench, pair.client, WEFT_IO_OP_RECEIVE);
    bench_until(&bench, receive.over);
    ck_assert_int_eq(receive.last, 0);
    watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND, (weft_io_span){bytes, 100});
    watch_submit(&send);
    bench_until(&bench, send.over);
    ck_assert_int_eq(send.last, 100);
    bench_linger(&bench, S_NS);
    watch_submit(&send);
    bench_until(&bench, send.over);
    ck_assert_int_eq(send.last, -ECONNRESET);
    bench.io->close(bench.env, pair.client);
    bench.io->close(bench.env, pair.listener);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_closing_a_listener_resets_its_queue) {
    struct bench bench;
    bench_seed(&bench, 8);
    weft_address address = ipv4(HOST_A, 80);
    int listener = bench_socket(&bench, WEFT_IO_LISTEN, &address, NULL);
    int client = bench_socket(&bench, WEFT_IO_STREAM, &address, NULL);
    struct watch connect;
    struct watch receive;
    watch_init(&connect, &bench, client, WEFT_IO_OP_CONNECT);
    connect.op.address = &address;
    watch_submit(&connect);
    bench_until(&bench, connect.over);
    bench.io->close(bench.env, listener);
    watch_start(&receive, &bench, client, WEFT_IO_OP_RECEIVE);
    bench_until(&bench, receive.over);
    ck_assert_int_eq(receive.last, -ECONNRESET);
    bench.io->close(bench.env, client);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_shutdown_of_a_listener_ends_accepting) {
    struct bench bench;
    bench_seed(&bench, 9);
    weft_address address = ipv4(HOST_A, 80);
    int listener = bench_socket(&bench, WEFT_IO_LISTEN, &address, NULL);
    struct watch accept;
    watch_start(&accept, &bench, listener, WEFT_IO_OP_ACCEPT);
    ck_assert_int_eq(bench.io->shutdown(bench.env, listener, true), 0);
    bench_until(&bench, accept.over);
    ck_assert_int_eq(accept.last, -EINVAL);
    bench.io->close(bench.env, listener);
    (void)bench_close(&bench);
}
END_TEST

/* Whatever is drawn, the connection is the program's or gone; nothing is left open. */
START_TEST(test_cancelled_connect_ends_in_one_way_or_the_other) {
    uint32_t cancelled = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct bench bench;
        bench_seed(&bench, seed);
        weft_address address = ipv4(HOST_A, 80);
        int listener = bench_socket(&bench, WEFT_IO_LISTEN, &address, NULL);
        int client = bench_socket(&bench, WEFT_IO_STREAM, &address, NULL);
        struct watch accept;
        struct watch connect;
        watch_start(&accept, &bench, listener, WEFT_IO_OP_ACCEPT);
        watch_init(&connect, &bench, client, WEFT_IO_OP_CONNECT);
        connect.op.address = &address;
        watch_submit(&connect);
        bench_linger(&bench, seed * 2000);
        if (!connect.over) {
            watch_cancel(&connect);
        }
        bench_until(&bench, connect.over);
        ck_assert(connect.last == 0 || connect.last == -ECANCELED);
        cancelled += connect.last != 0;
        bench.io->close(bench.env, client);
        bench_linger(&bench, S_NS);
        if (accept.accepted_count == 1) {
            struct watch receive;
            watch_start(&receive, &bench, accept.accepted[0], WEFT_IO_OP_RECEIVE);
            bench_until(&bench, receive.over);
            ck_assert_int_eq(receive.last, connect.last == 0 ? 0 : -ECONNRESET);
            bench.io->close(bench.env, accept.accepted[0]);
        }
        watch_cancel(&accept);
        bench_until(&bench, accept.over);
        bench.io->close(bench.env, listener);
        (void)bench_close(&bench);
    }
    ck_assert_uint_gt(cancelled, 10);
    ck_assert_uint_lt(cancelled, 90);
}
END_TEST

START_TEST(test_partition_stalls_then_resets) {
    static unsigned char bytes[100];
    struct bench bench;
    bench_seed(&bench, 10);
    weft_address address = ipv4(HOST_A, 80);
    weft_address local = ipv4(HOST_B, 0);
    struct pair pair;
    pair_open(&pair, &bench, &address, &local);
    ck_assert_int_eq(weft_sim_partition(bench.sim, &address, &local, true), 0);
    struct watch send;
    struct watch receive;
    watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND, (weft_io_span){bytes, 100});
    watch_submit(&send);
    watch_start(&receive, &bench, pair.server, WEFT_IO_OP_RECEIVE);
    bench_linger(&bench, S_NS / 2);
    ck_assert(send.over);
    ck_assert_uint_eq(receive.calls, 0);
    ck_assert_int_eq(weft_sim_partition(bench.sim, &local, &address, false), 0);
    bench_until(&bench, receive.bytes == 100);
    ck_assert_int_eq(weft_sim_partition(bench.sim, &local, &address, true), 0);
    ck_assert_int_eq(connect_result(&bench, &address, &local), -ETIMEDOUT);
    bench_until(&bench, receive.over);
    ck_assert(receive.last == -ECONNRESET || receive.last == -ETIMEDOUT);
    pair_close(&pair, &bench);
    (void)bench_close(&bench);
}
END_TEST

/* ---- datagrams ----------------------------------------------------------------------------- */

static void datagram_send(struct bench *bench, int fd, const weft_address *target, size_t size) {
    static unsigned char bytes[70000];
    struct watch send;
    memset(bytes, (int)size, size);
    watch_bytes(&send, bench, fd, WEFT_IO_OP_SEND_TO, (weft_io_span){bytes, size});
    send.op.address = target;
    watch_submit(&send);
    bench_until(bench, send.over);
    ck_assert_int_eq(send.last, size > 65507 ? -EMSGSIZE : (int)size);
}

START_TEST(test_datagrams_keep_their_bounds) {
    struct bench bench;
    bench_seed(&bench, 11);
    weft_address targets[2] = {ipv4(HOST_A, 4000), ipv4(HOST_ANY, 4001)};
    weft_address home = ipv4(HOST_HOME, 4001);
    int fds[2];
    for (uint32_t i = 0; i < 2; i++) {
        fds[i] = bench_socket(&bench, WEFT_IO_DATAGRAM_SOCKET, &targets[i], NULL);
        ck_assert_int_ge(fds[i], 0);
    }
    struct watch receive;
    watch_start(&receive, &bench, fds[0], WEFT_IO_OP_RECEIVE_FROM);
    static const size_t sizes[] = {0, 1, 1200, 4096, 9000};
    for (uint32_t i = 0; i < 5; i++) {
        datagram_send(&bench, fds[1], &targets[0], sizes[i]);
        bench_until(&bench, receive.calls == i + 1);
        ck_assert_int_eq(receive.last, sizes[i] > 4096 ? 4096 : (int)sizes[i]);
        ck_assert_uint_eq(receive.data_size, (size_t)receive.last);
        ck_assert_mem_eq(&receive.address, &home, sizeof(home));
    }
    datagram_send(&bench, fds[1], &targets[0], 65508);
    datagram_send(&bench, fds[0], &targets[0], 5);
    bench_until(&bench, receive.calls == 6);
    watch_cancel(&receive);
    bench_until(&bench, receive.over);
    bench.io->close(bench.env, fds[0]);
    bench.io->close(bench.env, fds[1]);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_groups_reach_their_members) {
    struct bench bench;
    bench_seed(&bench, 12);
    weft_address any = ipv4(HOST_ANY, 5000);
    weft_address group = ipv4(0xe0000001, 5000);
    weft_io_socket what = {.kind = WEFT_IO_DATAGRAM_SOCKET, .address = &any, .reuse_port = true};
    int fds[3];
    struct watch receives[3];
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(bench.io->open(bench.env, &what, &fds[i]), 0);
        watch_start(&receives[i], &bench, fds[i], WEFT_IO_OP_RECEIVE_FROM);
        if (i > 0) {
            ck_assert_int_eq(bench.io->option(bench.env, fds[i], WEFT_IO_JOIN, 0, &group), 0);
        }
    }
    datagram_send(&bench, fds[0], &group, 10);
    bench_linger(&bench, S_NS);
    ck_assert_int_eq(bench.io->option(bench.env, fds[1], WEFT_IO_LEAVE, 0, &group), 0);
    datagram_send(&bench, fds[0], &group, 10);
    bench_linger(&bench, S_NS);
    ck_assert_int_eq(bench.io->option(bench.env, fds[0], WEFT_IO_MULTICAST_LOOP, 0, NULL), 0);
    datagram_send(&bench, fds[0], &group, 10);
    bench_linger(&bench, S_NS);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(receives[i].calls, i);
        watch_cancel(&receives[i]);
        bench_until(&bench, receives[i].over);
        bench.io->close(bench.env, fds[i]);
    }
    (void)bench_close(&bench);
}
END_TEST

/* ---- files and names ----------------------------------------------------------------------- */

static int file_call(struct bench *bench, enum weft_io_file_call what, int fd, const char *text,
                     uint32_t flags) {
    char bytes[64] = "";
    weft_io_file call = {.call = what, .fd = fd, .path = text, .flags = flags, .data = bytes};
    if (what == WEFT_IO_FILE_WRITE) {
        call.data = (void *)(uintptr_t)text;
        call.size = strlen(text);
    } else if (what == WEFT_IO_FILE_READ) {
        call.size = sizeof(bytes);
    }
    int result = bench->io->file(bench->env, &call);
    if (what == WEFT_IO_FILE_READ && result > 0) {
        ck_assert_mem_eq(bytes, text, (size_t)result);
    }
    return result;
}

START_TEST(test_files_keep_what_was_written) {
    static char bytes[64] = "at ten";
    static char seen[64];
    struct bench bench;
    bench_seed(&bench, 13);
    uint32_t both = WEFT_FILE_READ | WEFT_FILE_WRITE;
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_OPEN, 0, "/a", both), -ENOENT);
    int fd = file_call(&bench, WEFT_IO_FILE_OPEN, 0, "/a", both | WEFT_FILE_CREATE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_OPEN, 0, "/a",
                               both | WEFT_FILE_CREATE | WEFT_FILE_EXCLUSIVE),
                     -EEXIST);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_WRITE, fd, "0123456789", 0), 10);
    struct watch watch;
    watch_bytes(&watch, &bench, fd, WEFT_IO_OP_WRITE, (weft_io_span){bytes, 6});
    watch.op.offset = 10;
    watch_submit(&watch);
    bench_until(&bench, watch.over);
    ck_assert_int_eq(watch.last, 6);
    watch_start(&watch, &bench, fd, WEFT_IO_OP_SYNC);
    bench_until(&bench, watch.over);
    ck_assert_int_eq(watch.last, 0);
    watch_bytes(&watch, &bench, fd, WEFT_IO_OP_READ, (weft_io_span){seen, sizeof(seen)});
    watch.op.offset = 8;
    watch_submit(&watch);
    bench_until(&bench, watch.over);
    ck_assert_int_eq(watch.last, 8);
    ck_assert_mem_eq(seen, "89at ten", 8);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_READ, fd, "0123456789at ten", 0), 16);
    bench.io->close(bench.env, fd);
    fd = file_call(&bench, WEFT_IO_FILE_OPEN, 0, "/a", WEFT_FILE_WRITE | WEFT_FILE_APPEND);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_WRITE, fd, "!", 0), 1);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_READ, fd, "", 0), -EBADF);
    bench.io->close(bench.env, fd);
    fd = file_call(&bench, WEFT_IO_FILE_OPEN, 0, "/a", WEFT_FILE_READ);
    ck_assert_int_eq(file_call(&bench, WEFT_IO_FILE_READ, fd, "0123456789at ten!", 0), 17);
    bench.io->close(bench.env, fd);
    (void)bench_close(&bench);
}
END_TEST

START_TEST(test_names_have_addresses) {
    struct bench bench;
    bench_seed(&bench, 14);
    weft_address found[4];
    ck_assert_int_eq(bench.io->resolve(bench.env, "name258", 80, found, 4), 1);
    weft_address expected = ipv4(0x0a000102, 80);
    ck_assert_mem_eq(&found[0], &expected, sizeof(expected));
    ck_assert_int_eq(bench.io->resolve(bench.env, "nobody", 80, found, 4), WEFT_E_RESOLVE);
    weft_address addresses[2] = {ipv4(HOST_A, 0), ipv4(HOST_B, 0)};
    ck_assert_int_eq(weft_sim_name(bench.sim, "two", &addresses[0]), 0);
    ck_assert_int_eq(weft_sim_name(bench.sim, "two", &addresses[1]), 0);
    ck_assert_int_eq(bench.io->resolve(bench.env, "two", 81, found, 4), 2);
    ck_assert_uint_eq(found[1].port, 81);
    ck_assert_mem_eq(found[1].u.ip, addresses[1].u.ip, 4);
    ck_assert_int_eq(bench.io->resolve(bench.env, "two", 81, found, 1), 1);
    (void)bench_close(&bench);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------------- */

struct sleeper {
    struct bench *bench;
    struct watch accept;
    bool begun;
    bool over;
    int listener;
    uint32_t parks;
};

static enum weft_step sleeper_step(void *arg, uint64_t *deadline_ns) {
    struct sleeper *sleeper = arg;
    struct bench *bench = sleeper->bench;
    if (!sleeper->begun) {
        watch_start(&sleeper->accept, bench, sleeper->listener, WEFT_IO_OP_ACCEPT);
        sleeper->begun = true;
    }
    if (bench->io->poll(bench->env, bench->driver) > 0) {
        return WEFT_STEP_RAN;
    }
    if (sleeper->accept.over) {
        return WEFT_STEP_EXIT;
    }
    if (sleeper->over) {
        watch_cancel(&sleeper->accept);
    }
    sleeper->parks++;
    *deadline_ns = UINT64_MAX;
    return WEFT_STEP_PARK;
}

START_TEST(test_result_wakes_the_thread_that_parks) {
    struct bench bench;
    struct bench other;
    bench_seed(&bench, 15);
    memset(&other, 0, sizeof(other));
    weft_address address = ipv4(HOST_A, 80);
    struct sleeper sleeper = {.bench = &bench};
    sleeper.listener = bench_socket(&bench, WEFT_IO_LISTEN, &address, NULL);
    weft_env_thread body = {.name = "sleeper",
                            .cpu = -1,
                            .driver = bench.driver,
                            .step = sleeper_step,
                            .arg = &sleeper};
    void *thread = NULL;
    ck_assert_int_eq(bench.env->thread_start(bench.env, &body, &thread), 0);
    ck_assert_int_eq(weft_sim_run(bench.sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
    ck_assert_uint_ge(sleeper.parks, 1);
    other.sim = bench.sim;
    other.env = bench.env;
    other.io = bench.io;
    ck_assert_int_eq(other.io->driver_create(other.env, false, &other.driver), 0);
    ck_assert_int_eq(other.io->attach(other.env, other.driver, &bench.host), 0);
    ck_assert_int_eq(connect_result(&other, &address, NULL), 0);
    ck_assert_int_eq(weft_sim_run(bench.sim, 1000, UINT64_MAX, NULL, NULL), WEFT_SIM_QUIET);
    ck_assert_uint_eq(sleeper.accept.accepted_count, 1);
    sleeper.over = true;
    bench.env->driver_wake(bench.env, bench.driver);
    bench.env->thread_join(bench.env, thread);
    bench.io->close(bench.env, sleeper.accept.accepted[0]);
    bench.io->close(bench.env, sleeper.listener);
    other.io->detach(other.env, other.driver);
    other.io->driver_destroy(other.env, other.driver);
    (void)bench_close(&bench);
}
END_TEST

/* ---- mistakes ------------------------------------------------------------------------------ */

static void mistake_begin(struct bench *bench, struct pair *pair, struct watch *receive) {
    weft_address address = ipv4(HOST_A, 80);
    bench_seed(bench, 16);
    pair_open(pair, bench, &address, NULL);
    watch_start(receive, bench, pair->server, WEFT_IO_OP_RECEIVE);
}

/* Each of these ends the process. */
START_TEST(test_mistakes_are_found) {
    static unsigned char bytes[100];
    struct bench bench;
    struct pair pair;
    struct watch receive;
    struct watch send;
    mistake_begin(&bench, &pair, &receive);
    watch_bytes(&send, &bench, pair.client, WEFT_IO_OP_SEND, (weft_io_span){bytes, 100});
    switch (_i) {
    case 0: /* submitted twice */
        (void)bench.io->submit(bench.env, bench.driver, &receive.op);
        break;
    case 1: /* closed under it */
        bench.io->close(bench.env, pair.server);
        break;
    case 2: /* cancelled after its end */
        watch_cancel(&receive);
        bench_until(&bench, receive.over);
        watch_cancel(&receive);
        break;
    case 3: /* destroyed with it */
        bench.io->driver_destroy(bench.env, bench.driver);
        break;
    case 4: /* bytes changed */
        watch_submit(&send);
        bytes[50]++;
        bench_until(&bench, send.over);
        break;
    case 5: /* the operation changed */
        receive.op.offset = 1;
        watch_cancel(&receive);
        bench_until(&bench, receive.over);
        break;
    case 6: /* a descriptor used after its end */
        bench.io->close(bench.env, pair.client);
        (void)bench.io->shutdown(bench.env, pair.client, true);
        break;
    case 7: /* descriptors left over */
        watch_cancel(&receive);
        bench_until(&bench, receive.over);
        (void)bench_close(&bench);
        break;
    case 8: /* detached with it */
        bench.io->detach(bench.env, bench.driver);
        break;
    default: /* a second one on the same stream */
        watch_start(&send, &bench, pair.server, WEFT_IO_OP_RECEIVE);
        break;
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sim net");
    TCase *tcase = tcase_create("net");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_all_bytes_arrive_and_the_end_after_them);
    tcase_add_test(tcase, test_sender_waits_while_nobody_receives);
    tcase_add_test(tcase, test_connecting_to_nobody_is_refused);
    tcase_add_test(tcase, test_addresses_are_bound_and_told);
    tcase_add_test(tcase, test_unix_paths_connect);
    tcase_add_test(tcase, test_connects_wait_for_room_in_the_backlog);
    tcase_add_test(tcase, test_closing_with_bytes_unread_resets);
    tcase_add_test(tcase, test_sending_to_a_closed_side_is_reset_later);
    tcase_add_test(tcase, test_closing_a_listener_resets_its_queue);
    tcase_add_test(tcase, test_shutdown_of_a_listener_ends_accepting);
    tcase_add_test(tcase, test_cancelled_connect_ends_in_one_way_or_the_other);
    tcase_add_test(tcase, test_partition_stalls_then_resets);
    tcase_add_test(tcase, test_datagrams_keep_their_bounds);
    tcase_add_test(tcase, test_groups_reach_their_members);
    tcase_add_test(tcase, test_files_keep_what_was_written);
    tcase_add_test(tcase, test_names_have_addresses);
    tcase_add_test(tcase, test_result_wakes_the_thread_that_parks);
    tcase_add_loop_test_raise_signal(tcase, test_mistakes_are_found, SIGABRT, 0, 10);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
