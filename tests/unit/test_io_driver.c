/* SPDX-License-Identifier: MIT
 *
 * The contract of struct weft_env_io, on both drivers of the operating system: connections, what
 * ends them, cancelling, want of buffers, full queues. Each case runs once for each driver; where
 * the kernel forbids io_uring its cases are left out, as are those for files where the driver has
 * none. How drivers sleep is in test_io_park.c.
 */
#include "tests/unit/driver_support.h"
#include "tests/unit/net_support.h"
#include <fcntl.h>
#include <sys/resource.h>

/* ---- connections --------------------------------------------------------------------------- */

START_TEST(bytes_are_echoed_over_each_kind_of_stream) {
    char name[64]; /* of this process: other tests may run beside it */
    (void)snprintf(name, sizeof(name), "unix:@weft-test-echo-%d", (int)getpid());
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    run_echo(&bench, "127.0.0.1:0");
    run_echo(&bench, name);
    if (has_ipv6()) {
        run_echo(&bench, "[::1]:0");
    }
    weft_io_counts counts = counts_of(&bench);
    ck_assert_uint_gt(counts.enters, 0);
    ck_assert_uint_gt(counts.submitted, (has_ipv6() ? 3 : 2) * ECHO_ROUNDS);
    ck_assert_uint_ge(counts.completed, counts.submitted);
    bench_close(&bench);
}
END_TEST

START_TEST(a_bench_that_does_nothing_closes) {
    struct bench bench;
    if (!open_bench(&bench, _i, false)) {
        return;
    }
    ck_assert_uint_eq(bench_poll(&bench), 0);
    bench.io->driver_destroy(bench.env, bench.driver);
    ck_assert_int_eq(bench.io->driver_create(bench.env, true, &bench.driver), 0);
    bench_attach(&bench);
    ck_assert_uint_eq(bench_poll(&bench), 0);
    bench_close(&bench);
}
END_TEST

START_TEST(one_accept_takes_fifty_connections) {
    enum { COUNT = 50 };
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    weft_address address;
    int listener = open_at(&bench, WEFT_IO_LISTEN, "127.0.0.1:0", &address);
    struct watch accept;
    watch_start(&accept, &bench, WEFT_IO_OP_ACCEPT, listener);
    struct watch connects[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        watch_start(&connects[i], &bench, WEFT_IO_OP_CONNECT,
                    open_socket(&bench, WEFT_IO_STREAM, &address));
        connects[i].op.address = &address;
        watch_submit(&connects[i]);
    }
    bench_until(&bench, accept.accepted_count == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        bench_until(&bench, connects[i].over);
        ck_assert_int_eq(connects[i].last, 0);
        ck_assert((fcntl(accept.accepted[i], F_GETFL) & O_NONBLOCK) != 0);
        ck_assert((fcntl(accept.accepted[i], F_GETFD) & FD_CLOEXEC) != 0);
        shut(&bench, connects[i].op.fd);
        shut(&bench, accept.accepted[i]);
    }
    ck_assert(!accept.over);
    watch_end(&accept);
    ck_assert_int_eq(accept.last, -ECANCELED);
    shut(&bench, listener);
    bench_close(&bench);
}
END_TEST

START_TEST(a_refused_connection_says_so) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    weft_address address;
    int listener = open_at(&bench, WEFT_IO_LISTEN, "127.0.0.1:0", &address);
    shut(&bench, listener); /* nobody is there now */
    int fd = open_socket(&bench, WEFT_IO_STREAM, &address);
    struct watch connect;
    watch_start(&connect, &bench, WEFT_IO_OP_CONNECT, fd);
    connect.op.address = &address;
    watch_submit(&connect);
    bench_until(&bench, connect.over);
    ck_assert_int_eq(connect.last, -ECONNREFUSED);
    shut(&bench, fd);
    bench_close(&bench);
}
END_TEST

/* A connection over TCP: fds[0] was accepted, fds[1] connected. */
static void open_connection(struct bench *bench, int fds[2]) {
    weft_address address;
    int listener = open_at(bench, WEFT_IO_LISTEN, "127.0.0.1:0", &address);
    struct watch accept;
    watch_start(&accept, bench, WEFT_IO_OP_ACCEPT, listener);
    fds[1] = open_socket(bench, WEFT_IO_STREAM, &address);
    struct watch connect;
    watch_start(&connect, bench, WEFT_IO_OP_CONNECT, fds[1]);
    connect.op.address = &address;
    watch_submit(&connect);
    bench_until(bench, connect.over && accept.accepted_count == 1);
    fds[0] = accept.accepted[0];
    watch_end(&accept);
    shut(bench, listener);
}

START_TEST(a_receive_ends_with_the_stream) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_connection(&bench, fds);
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
    ck_assert_int_eq(send(fds[1], "last", 4, 0), 4);
    ck_assert_int_eq(bench.io->shutdown(bench.env, fds[1], false), 0);
    bench_until(&bench, receive.over && receive.last == 0);
    ck_assert_uint_eq(receive.byte_count, 4);
    watch_end(&receive);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

START_TEST(a_reset_is_an_error_of_receive_and_send) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_connection(&bench, fds);
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
    bench_linger(&bench, MS_NS);
    ck_assert_int_eq(bench.io->option(bench.env, fds[1], WEFT_IO_RESET, 1, NULL), 0);
    shut(&bench, fds[1]);
    bench_until(&bench, receive.over);
    ck_assert_int_eq(receive.last, -ECONNRESET);
    ck_assert_uint_eq(receive.calls, 1);
    struct watch send;
    watch_start(&send, &bench, WEFT_IO_OP_SEND, fds[0]);
    watch_send(&send, "late", 4);
    bench_until(&bench, send.over);
    ck_assert_int_eq(send.last, -EPIPE); /* and no signal */
    watch_end(&receive);
    shut(&bench, fds[0]);
    bench_close(&bench);
}
END_TEST

static void send_rest(struct watch *watch, const weft_io_result *result) {
    ck_assert(result->result > 0);
    watch->byte_count += (size_t)result->result;
    watch->span.data = (char *)watch->span.data + result->result;
    watch->span.size -= (size_t)result->result;
    if (watch->span.size > 0) {
        watch_submit(watch);
    }
}

START_TEST(a_big_send_reaches_a_slow_reader_in_parts) {
    enum { SIZE = 8 << 20 };
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_connection(&bench, fds);
    unsigned char *bytes = malloc(SIZE);
    unsigned char *read_bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    struct watch send;
    watch_start(&send, &bench, WEFT_IO_OP_SEND, fds[0]);
    send.hook = send_rest;
    watch_send(&send, bytes, SIZE);
    size_t count = 0;
    uint64_t until_ns = clock_ns() + 60 * S_NS;
    while (count < SIZE) {
        ck_assert(clock_ns() < until_ns);
        bench_poll(&bench);
        bench_park(&bench, clock_ns() + MS_NS);
        ssize_t got = recv(fds[1], read_bytes + count, 65536 < SIZE - count ? 65536 : SIZE - count,
                           MSG_DONTWAIT);
        count += got > 0 ? (size_t)got : 0;
    }
    bench_until(&bench, send.over && send.span.size == 0);
    ck_assert_uint_eq(send.byte_count, SIZE);
    ck_assert_mem_eq(bytes, read_bytes, SIZE);
    free(bytes);
    free(read_bytes);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

START_TEST(spans_are_sent_in_order) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_pair(SOCK_STREAM, fds);
    unsigned char bytes[WEFT_IO_SPANS_MAX * 10];
    weft_io_span spans[WEFT_IO_SPANS_MAX];
    for (uint32_t i = 0; i < WEFT_IO_SPANS_MAX; i++) {
        memset(bytes + i * 10, (int)i, 10);
        spans[i] = (weft_io_span){bytes + i * 10, 10};
    }
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
    struct watch send;
    watch_start(&send, &bench, WEFT_IO_OP_SEND, fds[1]);
    send.op.spans = spans;
    send.op.span_count = WEFT_IO_SPANS_MAX;
    watch_submit(&send);
    ck_assert_uint_eq(send.calls, 0); /* nothing completes before the next poll */
    bench_until(&bench, send.over && receive.byte_count == sizeof(bytes));
    ck_assert_int_eq(send.last, sizeof(bytes));
    ck_assert_mem_eq(receive.bytes, bytes, sizeof(bytes));
    watch_end(&receive);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

START_TEST(an_accept_without_descriptors_says_so_and_goes_on_later) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    weft_address address;
    int listener = open_at(&bench, WEFT_IO_LISTEN, "127.0.0.1:0", &address);
    struct watch accept;
    watch_start(&accept, &bench, WEFT_IO_OP_ACCEPT, listener);
    int fd = open_socket(&bench, WEFT_IO_STREAM, &address);
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct watch connect;
    watch_start(&connect, &bench, WEFT_IO_OP_CONNECT, fd);
    connect.op.address = &address;
    watch_submit(&connect);
    bench_until(&bench, connect.over && accept.over);
    ck_assert_int_eq(accept.last, -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    watch_submit(&accept);
    /* The kernel may have dropped the first connection together with the failure. */
    int fd_next = open_socket(&bench, WEFT_IO_STREAM, &address);
    connect.op.fd = fd_next;
    watch_submit(&connect);
    bench_until(&bench, connect.over && accept.accepted_count >= 1);
    bench_linger(&bench, 5 * MS_NS);
    watch_end(&accept);
    for (uint32_t i = 0; i < accept.accepted_count; i++) {
        shut(&bench, accept.accepted[i]);
    }
    shut(&bench, fd);
    shut(&bench, fd_next);
    shut(&bench, listener);
    bench_close(&bench);
}
END_TEST

/* ---- datagrams ----------------------------------------------------------------------------- */

START_TEST(datagrams_come_whole_with_their_sender) {
    static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    size_t count = has_ipv6() ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        weft_address source;
        weft_address target;
        int fds[2] = {open_at(&bench, WEFT_IO_DATAGRAM_SOCKET, texts[i], &source),
                      open_at(&bench, WEFT_IO_DATAGRAM_SOCKET, texts[i], &target)};
        struct watch receive;
        watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE_FROM, fds[1]);
        struct watch send;
        watch_start(&send, &bench, WEFT_IO_OP_SEND_TO, fds[0]);
        send.op.address = &target;
        for (int size = 0; size < 1400; size += 100) {
            unsigned char bytes[1400];
            memset(bytes, size / 100, sizeof(bytes));
            uint32_t calls = receive.calls;
            size_t before = receive.byte_count;
            watch_send(&send, bytes, (size_t)size);
            bench_until(&bench, send.over && receive.calls == calls + 1);
            ck_assert_int_eq(send.last, size);
            ck_assert_int_eq(receive.last, size);
            ck_assert(size == 0 || memcmp(receive.bytes + before, bytes, (size_t)size) == 0);
            ck_assert(weft_address_equal(&receive.from, &source));
        }
        watch_end(&receive);
        shut(&bench, fds[0]);
        shut(&bench, fds[1]);
    }
    bench_close(&bench);
}
END_TEST

/* ---- cancelling ---------------------------------------------------------------------------- */

START_TEST(a_cancelled_operation_ends_once) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    weft_address address;
    int listener = open_at(&bench, WEFT_IO_LISTEN, "127.0.0.1:0", &address);
    for (uint32_t round = 0; round < 40; round++) {
        bool under_way = round % 2 == 1; /* else cancelled before it was passed on */
        int fds[2];
        open_pair(SOCK_STREAM, fds);
        int fd = open_socket(&bench, WEFT_IO_STREAM, &address);
        struct watch watches[3];
        watch_start(&watches[0], &bench, WEFT_IO_OP_RECEIVE, fds[0]);
        watch_start(&watches[1], &bench, WEFT_IO_OP_ACCEPT, listener);
        watch_start(&watches[2], &bench, WEFT_IO_OP_CONNECT, fd);
        watches[2].op.address = &address;
        if (under_way) {
            bench_poll(&bench);
        }
        watch_submit(&watches[2]);
        for (uint32_t i = 0; i < 3; i++) {
            watch_cancel(&watches[i]);
            watch_cancel(&watches[i]); /* once more does no harm */
        }
        bench_until(&bench, watches[0].over && watches[1].over && watches[2].over);
        ck_assert_uint_eq(watches[0].calls, 1);
        ck_assert_int_eq(watches[0].last, -ECANCELED);
        ck_assert(watches[1].last == -ECANCELED || watches[1].accepted_count > 0);
        ck_assert(watches[2].last == -ECANCELED || watches[2].last == 0);
        ck_assert_uint_eq(watches[2].calls, 1);
        for (uint32_t i = 0; i < watches[1].accepted_count; i++) {
            shut(&bench, watches[1].accepted[i]);
        }
        shut(&bench, fd);
        shut(&bench, fds[0]);
        shut(&bench, fds[1]);
    }
    shut(&bench, listener);
    bench_close(&bench);
}
END_TEST

START_TEST(a_cancel_that_races_the_end_loses_nothing) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    for (uint32_t round = 0; round < 400; round++) {
        int fds[2];
        open_pair(SOCK_STREAM, fds);
        /* The memory goes as soon as it is over: nothing may look at it later. */
        struct watch *receive = malloc(sizeof(*receive));
        watch_start(receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
        receive->again = false;
        if ((round & 1) != 0) {
            bench_poll(&bench);
        }
        ck_assert_int_eq(send(fds[1], "bytes", 5, 0), 5);
        if ((round & 2) != 0) {
            shut(&bench, fds[1]);
        }
        if ((round & 4) != 0) {
            bench_poll(&bench);
        }
        if (!receive->over) {
            watch_cancel(receive);
        }
        bench_until(&bench, receive->over);
        ck_assert(receive->last == -ECANCELED || receive->last == 0 || receive->last == 5);
        /* What was not delivered is still in the socket. */
        char rest[8];
        ssize_t left = recv(fds[0], rest, sizeof(rest), MSG_DONTWAIT);
        ck_assert_uint_eq(receive->byte_count + (size_t)(left > 0 ? left : 0), 5);
        free(receive->bytes);
        free(receive);
        shut(&bench, fds[0]);
        if ((round & 2) == 0) {
            shut(&bench, fds[1]);
        }
    }
    bench_close(&bench);
}
END_TEST

static void resubmit(struct watch *watch, const weft_io_result *result) {
    if (!result->more && watch->calls < 100) {
        watch_submit(watch);
        watch_cancel(watch);
    }
}

START_TEST(an_operation_may_start_again_from_its_own_end) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_pair(SOCK_STREAM, fds);
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
    receive.again = false;
    receive.hook = resubmit;
    watch_cancel(&receive);
    bench_until(&bench, receive.calls == 100);
    ck_assert(receive.over);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

/* ---- want of buffers, full queues ---------------------------------------------------------- */

START_TEST(a_receive_without_buffers_goes_on_later_without_loss) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_pair(SOCK_STREAM, fds);
    unsigned char bytes[BUFFER_BYTES * 5];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i * 7 >> 3);
    }
    bench.budget = 0;
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
    receive.again = false;
    ck_assert_int_eq(send(fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
    bench_until(&bench, receive.over);
    ck_assert_int_eq(receive.last, -ENOBUFS);
    ck_assert_uint_gt(counts_of(&bench).starved, 0);
    uint32_t starved = 1;
    while (receive.byte_count < sizeof(bytes)) {
        bench.budget = 1; /* one at a time */
        watch_submit(&receive);
        bench_until(&bench, receive.over || receive.byte_count == sizeof(bytes));
        starved += receive.over;
        ck_assert_uint_lt(starved, 100);
    }
    ck_assert_mem_eq(receive.bytes, bytes, sizeof(bytes));
    bench.budget = UINT32_MAX;
    receive.again = true;
    if (receive.over) {
        watch_submit(&receive);
    }
    ck_assert_int_eq(send(fds[1], "more", 4, 0), 4);
    bench_until(&bench, receive.byte_count == sizeof(bytes) + 4);
    watch_end(&receive);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

START_TEST(a_receive_in_want_of_buffers_can_be_cancelled) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    for (uint32_t round = 0; round < 50; round++) {
        int fds[2];
        open_pair(SOCK_STREAM, fds);
        bench.budget = round % 3;
        struct watch receive;
        watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[0]);
        receive.again = false;
        char bytes[BUFFER_BYTES * 3] = {0};
        ck_assert_int_eq(send(fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
        if (round % 2 == 0) {
            bench_poll(&bench);
        }
        bench.budget = round % 5;
        if (!receive.over) {
            watch_cancel(&receive);
        }
        bench_until(&bench, receive.over);
        free(receive.bytes);
        shut(&bench, fds[0]);
        shut(&bench, fds[1]);
    }
    bench_close(&bench);
}
END_TEST

START_TEST(a_fast_stream_never_overtakes_its_buffers) {
    enum { SIZE = 4 << 20 };
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    int fds[2];
    open_connection(&bench, fds);
    unsigned char *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    }
    struct watch receive;
    watch_start(&receive, &bench, WEFT_IO_OP_RECEIVE, fds[1]);
    struct watch send;
    watch_start(&send, &bench, WEFT_IO_OP_SEND, fds[0]);
    send.hook = send_rest;
    watch_send(&send, bytes, SIZE);
    bench_until(&bench, receive.byte_count == SIZE || receive.over);
    while (receive.over && receive.last == -ENOBUFS && receive.byte_count < SIZE) {
        watch_submit(&receive); /* bounded by SIZE: each start receives some */
        bench_until(&bench, receive.byte_count == SIZE || receive.over);
    }
    ck_assert_uint_eq(receive.byte_count, SIZE);
    ck_assert_mem_eq(receive.bytes, bytes, SIZE);
    watch_end(&receive);
    free(bytes);
    shut(&bench, fds[0]);
    shut(&bench, fds[1]);
    bench_close(&bench);
}
END_TEST

START_TEST(ten_thousand_operations_between_two_polls_all_end) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint32_t count = limit.rlim_cur > 5100 ? 5000 : ((uint32_t)limit.rlim_cur - 100) / 2 * 2;
    struct watch *sends = calloc(count, sizeof(*sends));
    struct watch *receives = calloc(count, sizeof(*receives));
    for (uint32_t i = 0; i < count; i += 2) {
        int fds[2];
        open_pair(SOCK_STREAM, fds);
        for (uint32_t j = i; j < i + 2; j++) {
            watch_start(&receives[j], &bench, WEFT_IO_OP_RECEIVE, fds[j - i]);
            watch_start(&sends[j], &bench, WEFT_IO_OP_SEND, fds[j - i]);
            watch_send(&sends[j], &sends[j].calls, 1);
        }
    }
    ck_assert_uint_eq(sends[0].calls, 0); /* nothing was delivered so far */
    for (uint32_t i = 0; i < count; i++) {
        bench_until(&bench, sends[i].over && receives[i].byte_count == 1);
        ck_assert_int_eq(sends[i].last, 1);
    }
    ck_assert_uint_ge(counts_of(&bench).completed, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        receives[i].again = false;
        watch_cancel(&receives[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        bench_until(&bench, receives[i].over);
        watch_end(&receives[i]);
        shut(&bench, sends[i].op.fd);
    }
    free(sends);
    free(receives);
    bench_close(&bench);
}
END_TEST

/* ---- files --------------------------------------------------------------------------------- */

START_TEST(a_file_is_written_synced_and_read) {
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    if (!bench.io->files) {
        bench_close(&bench);
        return;
    }
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    struct watch write;
    watch_start(&write, &bench, WEFT_IO_OP_WRITE, fileno(file));
    char first[] = "first";
    char second[] = "second";
    weft_io_span spans[2] = {{first, 5}, {second, 6}};
    write.op.spans = spans;
    write.op.span_count = 2;
    write.op.offset = 100;
    watch_submit(&write);
    bench_until(&bench, write.over);
    ck_assert_int_eq(write.last, 11);
    write.op.offset = 111;
    watch_send(&write, "third", 5);
    bench_until(&bench, write.over);
    ck_assert_int_eq(write.last, 5);
    struct watch sync;
    watch_start(&sync, &bench, WEFT_IO_OP_SYNC, fileno(file));
    bench_until(&bench, sync.over);
    ck_assert_int_eq(sync.last, 0);
    char bytes[32] = {0};
    struct watch read;
    watch_start(&read, &bench, WEFT_IO_OP_READ, fileno(file));
    weft_io_span into[2] = {{bytes, 5}, {bytes + 5, 20}};
    read.op.spans = into;
    read.op.span_count = 2;
    read.op.offset = 100;
    watch_submit(&read);
    bench_until(&bench, read.over);
    ck_assert_int_eq(read.last, 16);
    ck_assert_str_eq(bytes, "firstsecondthird");
    read.op.offset = 116;
    watch_send(&read, bytes, sizeof(bytes));
    bench_until(&bench, read.over);
    ck_assert_int_eq(read.last, 0); /* the end */
    fclose(file);
    bench_close(&bench);
}
END_TEST

START_TEST(a_full_completion_queue_loses_nothing) {
    enum { COUNT = 10000 };
    struct bench bench;
    if (!start_bench(&bench, _i)) {
        return;
    }
    if (!bench.io->files) {
        bench_close(&bench);
        return;
    }
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fputc('x', file), 'x');
    ck_assert_int_eq(fflush(file), 0);
    struct watch *reads = calloc(COUNT, sizeof(*reads));
    for (uint32_t i = 0; i < COUNT; i++) {
        watch_start(&reads[i], &bench, WEFT_IO_OP_READ, fileno(file));
        watch_send(&reads[i], &reads[i].accepted[0], 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        bench_until(&bench, reads[i].over);
        ck_assert_int_eq(reads[i].last, 1);
        ck_assert_uint_eq(reads[i].calls, 1);
    }
    weft_io_counts counts = counts_of(&bench);
    ck_assert_uint_gt(counts.overflows, 0);
    ck_assert_uint_eq(counts.completed, COUNT);
    free(reads);
    fclose(file);
    bench_close(&bench);
}
END_TEST

static void add_streams(TCase *tcase) {
    tcase_add_loop_test(tcase, bytes_are_echoed_over_each_kind_of_stream, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_bench_that_does_nothing_closes, 0, DRIVERS);
    tcase_add_loop_test(tcase, one_accept_takes_fifty_connections, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_refused_connection_says_so, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_receive_ends_with_the_stream, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_reset_is_an_error_of_receive_and_send, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_big_send_reaches_a_slow_reader_in_parts, 0, DRIVERS);
    tcase_add_loop_test(tcase, spans_are_sent_in_order, 0, DRIVERS);
    tcase_add_loop_test(tcase, an_accept_without_descriptors_says_so_and_goes_on_later, 0, DRIVERS);
    tcase_add_loop_test(tcase, datagrams_come_whole_with_their_sender, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_cancelled_operation_ends_once, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_cancel_that_races_the_end_loses_nothing, 0, DRIVERS);
    tcase_add_loop_test(tcase, an_operation_may_start_again_from_its_own_end, 0, DRIVERS);
}

static void add_limits(TCase *tcase) {
    tcase_add_loop_test(tcase, a_receive_without_buffers_goes_on_later_without_loss, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_receive_in_want_of_buffers_can_be_cancelled, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_fast_stream_never_overtakes_its_buffers, 0, DRIVERS);
    tcase_add_loop_test(tcase, ten_thousand_operations_between_two_polls_all_end, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_file_is_written_synced_and_read, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_full_completion_queue_loses_nothing, 0, DRIVERS);
}

int main(void) {
    static const struct {
        const char *name;
        void (*add)(TCase *tcase);
    } cases[] = {{"streams", add_streams}, {"limits", add_limits}};
    Suite *suite = suite_create("io_driver");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TCase *tcase = tcase_create(cases[i].name);
        tcase_set_timeout(tcase, 180);
        cases[i].add(tcase);
        suite_add_tcase(suite, tcase);
    }
    return run_suite(suite);
}
