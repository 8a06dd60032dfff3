/* SPDX-License-Identifier: MIT
 *
 * Faults of streams that a review and hostile peers have found and that are mended: cases that fail
 * on the code as it was, and bounds beside them. Those that need TLS are in
 * test_stream_mended_tls.c; what else streams do is in test_stream*.c.
 */
#include "stream_support.h"

enum {
    LUMP = 8 << 20,
    SMALL_WINDOW = 65536,
};

/* Stopping may take so long: far less than any time limit of the streams in these cases, and far
 * more than the quarter of a second a peer is given that has taken everything. */
#define QUICK_NS SOON_NS

/* The program's end; returns with all of its actors gone, in good time. */
static void stop_quickly(struct net *net) {
    uint64_t start_ns = clock_ns();
    ck_assert_int_eq(weft_runtime_stop(net->rig.runtime, 2 * QUICK_NS), 0);
    ck_assert_uint_le(clock_ns() - start_ns, QUICK_NS);
}

/* ---- handlers ---------------------------------------------------------------------------------- */

/* Writes number bytes at once when it opens. */
static int writes_lump(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_OPEN) {
        unsigned char *lump = malloc(line->number);
        ck_assert_ptr_nonnull(lump);
        pattern_fill(lump, 0, line->number);
        ck_assert_int_ge(weft_stream_write(ctx, lump, line->number), 0);
        free(lump);
    }
    return WEFT_CONTINUE;
}

/* Writes a byte when it opens, and ends. */
static int greets_and_ends(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_OPEN) {
        ck_assert_int_eq(weft_stream_write(ctx, "x", 1), 0);
        return WEFT_STOP;
    }
    return WEFT_CONTINUE;
}

/* ---- sending ----------------------------------------------------------------------------------- */

/* The kernel ends a waiting send when the peer shuts its sending side down. */
START_TEST(who_half_closes_while_a_send_waits_gets_all) {
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    struct line model = {.handler = writes_lump, .number = LUMP};
    struct gate *gate = gate_make(&model);
    int fd = far_open(SMALL_WINDOW);
    far_dial(fd, net_listen(&net, gate, NULL));
    (void)line_open(&gate->lines[0]);
    sleep_ns(100 * MS_NS); /* now it waits for room */
    far_shut(fd);
    sleep_ns(100 * MS_NS);
    int error;
    ck_assert_uint_eq(far_drain(fd, 0, &error), LUMP);
    ck_assert_int_eq(error, 0);
    ck_assert_int_eq(close(fd), 0);
    (void)line_closed(&gate->lines[0], 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Who gets a part must not take it for the whole. */
START_TEST(an_idle_end_with_bytes_left_is_a_reset) {
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    struct line model = {.handler = writes_lump, .number = LUMP};
    struct gate *gate = gate_make(&model);
    weft_stream_options stream = {.idle_ns = 200 * MS_NS};
    int fd = far_open(SMALL_WINDOW);
    far_dial(fd, net_listen(&net, gate, &stream));
    (void)line_open(&gate->lines[0]);
    (void)line_closed(&gate->lines[0], -ETIMEDOUT);
    int error;
    ck_assert_uint_lt(far_drain(fd, 0, &error), LUMP);
    ck_assert_int_eq(error, ECONNRESET);
    ck_assert_int_eq(close(fd), 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- stopping ---------------------------------------------------------------------------------- */

START_TEST(stop_does_not_wait_for_peers_of_actors_that_ended_before) {
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    struct line model = {.handler = greets_and_ends};
    struct gate *gate = gate_make(&model);
    weft_stream_options stream = {.linger_ns = WEFT_STREAM_NEVER};
    uint16_t port = net_listen(&net, gate, &stream);
    int fds[4];
    for (uint32_t i = 0; i < 4; i++) { /* they say nothing and do not close */
        fds[i] = far_connect(port);
        (void)line_over(&gate->lines[i]);
    }
    sleep_ns(20 * MS_NS);
    stop_quickly(&net);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    net_stop(&net);
    free(gate);
}
END_TEST

/* Connects a line that has written in its init and ends when it is told to. */
static void dial_patiently(struct net *net, const char *address, struct line *line) {
    line_make(line);
    line->init = line_greets;
    line->handler = line_ends;
    weft_connect_options options = connect_options(net, address);
    options.timeout_ns = 60 * S_NS;
    options.stream.linger_ns = WEFT_STREAM_NEVER;
    (void)net_connect_with(net, options, line);
}

START_TEST(stop_does_not_wait_for_who_connects_without_an_actor) {
    struct silent silent;
    silent_make(&silent);
    struct net net;
    if (net_start(&net, _i, 1)) {
        char text[64];
        snprintf(text, sizeof(text), "127.0.0.1:%u", silent.port);
        struct line line;
        dial_patiently(&net, text, &line);
        sleep_ns(20 * MS_NS); /* it connects */
        line_tell(&net, &line);
        stop_quickly(&net);
        net_stop(&net);
    }
    silent_end(&silent);
}
END_TEST

/* Keeps the only helper busy until it is released. */
static int helper_waits(void *arg) {
    weft_atomic_u32 *released = arg;
    while (weft_load32_acquire(released) == 0) { /* the test releases it */
        sleep_ns(100000);
    }
    return 0;
}

static void do_occupy(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_blocking(ctx, helper_waits, arg, 1), 0);
}

START_TEST(who_ends_while_its_name_is_looked_up_is_gone) {
    struct net net;
    weft_config config = net_config(1);
    config.blocking_threads = 1;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    struct gate *gate = gate_make(NULL);
    weft_atomic_u32 released = {0};
    struct probe probe = PROBE_INIT;
    weft_pid helper = rig_spawn(&net.rig, &probe);
    act(&net.rig, helper, do_occupy, &released);
    char text[64];
    snprintf(text, sizeof(text), "localhost:%u", net_listen(&net, gate, NULL));
    struct line line;
    dial_patiently(&net, text, &line);
    line_tell(&net, &line);
    weft_store32_release(&released, 1);
    eventually(probe_count_kind(&probe, WEFT_MSG_DONE) == 1);
    eventually(rig_gauges(&net.rig).io_open <= 1); /* the listener */
    stop_quickly(&net);
    probe_fini(&probe);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- receiving --------------------------------------------------------------------------------- */

START_TEST(buffers_larger_than_a_message_may_be_are_no_fault) {
    struct net net;
    weft_config config = net_config(1);
    config.message_bytes_max = 1024;
    config.io_buffer_bytes = 16384;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    int fd = far_connect(net_listen(&net, gate, NULL));
    for (uint64_t at = 0; at < 20; at++) {
        far_write(fd, at * 20000, 20000);
        far_read(fd, at * 20000, 20000);
    }
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_uint_eq(line_closed(&gate->lines[0], 0).bytes, 400000);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Memory that refuses receive buffers while it is told to. */
static void *refusing_alloc(void *cookie, size_t size, const char *tag) {
    bool refuses = weft_load32_acquire(cookie) != 0 && strcmp(tag, "receive buffer") == 0;
    return refuses ? NULL : malloc(size);
}

static void refusing_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

static uint64_t cpu_ns(void) {
    struct timespec used;
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (uint64_t)used.tv_sec * S_NS + (uint64_t)used.tv_nsec;
}

START_TEST(who_finds_no_buffer_waits_without_spinning) {
    struct net net;
    weft_atomic_u32 refuses = {0};
    weft_config config = net_config(1);
    config.io_buffers = 8;
    config.allocator =
        (weft_allocator){.cookie = &refuses, .alloc = refusing_alloc, .free = refusing_free};
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    uint16_t port = net_listen(&net, gate, NULL);
    weft_store32_release(&refuses, 1);
    int fd = far_connect(port);
    (void)line_open(&gate->lines[0]);
    far_write(fd, 0, 200000);
    eventually(rig_stats(&net.rig).io_starved != 0);
    uint64_t before = rig_stats(&net.rig).io_starved;
    uint64_t before_ns = clock_ns();
    uint64_t used_ns = cpu_ns();
    sleep_ns(500 * MS_NS);
    used_ns = cpu_ns() - used_ns;
    uint64_t times = rig_stats(&net.rig).io_starved - before;
    uint64_t took_ns = clock_ns() - before_ns;
    ck_assert_uint_lt(used_ns, took_ns * 2 / 5);
    ck_assert_uint_lt(times, took_ns / (5 * MS_NS / 2)); /* one in 10 ms */
    weft_store32_release(&refuses, 0);
    far_read(fd, 0, 200000);
    ck_assert_int_eq(close(fd), 0);
    (void)line_over(&gate->lines[0]);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Takes its time, and finds out how much was read ahead of it at most. */
static int handles_slowly(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    weft_stream_info info;
    do_inspect(ctx, &info);
    uint64_t ahead = info.received - line->bytes; /* what is handled now is in both */
    line->number = ahead > line->number ? ahead : line->number;
    sleep_ns(MS_NS);
    return WEFT_CONTINUE;
}

enum { AHEAD = 65536, RING = 16, RING_BUFFER = 16384, FLOOD = 4 << 20 };

/* A first piece that is small says nothing about what comes. */
START_TEST(a_flood_after_a_trickle_is_read_one_ring_too_far_at_most) {
    struct net net;
    weft_config config = net_config(1);
    config.budget = 1;
    config.io_buffers = RING;
    config.io_buffer_bytes = RING_BUFFER;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    struct line model = {.handler = handles_slowly};
    struct gate *gate = gate_make(&model);
    weft_stream_options stream = {.receive_ahead = AHEAD};
    int fd = far_connect(net_listen(&net, gate, &stream));
    far_write(fd, 0, 1);
    eventually(line_now(&gate->lines[0]).bytes == 1);
    sleep_ns(5 * MS_NS); /* it waits for more */
    far_write(fd, 1, FLOOD);
    far_shut(fd);
    ck_assert_uint_eq(line_closed(&gate->lines[0], 0).bytes, FLOOD + 1);
    ck_assert_uint_gt(gate->lines[0].number, RING_BUFFER);
    ck_assert_uint_le(gate->lines[0].number, AHEAD + RING * RING_BUFFER);
    ck_assert_int_eq(close(fd), 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- options ----------------------------------------------------------------------------------- */

START_TEST(an_argument_above_the_largest_message_is_refused) {
    struct net net;
    weft_config config = net_config(1);
    config.message_bytes_max = 1024;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    static const char argument[2000];
    weft_listen_options listening = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                     .address = "127.0.0.1:0",
                                     .type = net.rig.puppet,
                                     .arg = argument,
                                     .arg_size = 1025};
    weft_pid pid;
    ck_assert_int_eq(weft_listen(net.rig.runtime, &listening, &pid, NULL), -EINVAL);
    weft_connect_options options = connect_options(&net, "127.0.0.1:1");
    options.type = net.rig.puppet;
    options.arg = argument;
    options.arg_size = 1025;
    ck_assert_int_eq(weft_runtime_connect(net.rig.runtime, &options, &pid), -EINVAL);
    listening.arg_size = 1024; /* as large as a message may be */
    ck_assert_int_eq(weft_listen(net.rig.runtime, &listening, &pid, NULL), 0);
    net_stop(&net);
}
END_TEST

/* ---- a clean stop and slow readers -------------------------------------------------------------- */

struct stopper {
    struct net *net;
    uint64_t timeout_ns;
    uint64_t took_ns;
    int result;
};

static void *stop_beside(void *arg) {
    struct stopper *stopper = arg;
    uint64_t start_ns = clock_ns();
    stopper->result = weft_runtime_stop(stopper->net->rig.runtime, stopper->timeout_ns);
    stopper->took_ns = clock_ns() - start_ns;
    return NULL;
}

/* A second passes before it reads at all, which was four times what it had. */
START_TEST(a_slow_reader_gets_all_that_was_written_before_the_stop) {
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    struct line model = {.handler = writes_lump, .number = LUMP};
    struct gate *gate = gate_make(&model);
    weft_stream_options stream = {.linger_ns = 60 * S_NS};
    int fd = far_open(SMALL_WINDOW);
    far_dial(fd, net_listen(&net, gate, &stream));
    (void)line_open(&gate->lines[0]);
    struct stopper stopper = {.net = &net, .timeout_ns = 60 * S_NS};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_beside, &stopper), 0);
    sleep_ns(S_NS);
    int error;
    ck_assert_uint_eq(far_drain(fd, 0, &error), LUMP);
    ck_assert_int_eq(error, 0);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(stopper.result, 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Who reads nothing is reset: when linger_ns is over, or in time for the stop. */
START_TEST(who_reads_nothing_holds_up_a_stop_for_a_bounded_time) {
    bool lingers = _i / NET_DRIVERS == 0;
    struct net net;
    if (!net_start(&net, _i % NET_DRIVERS, 2)) {
        return;
    }
    struct line model = {.handler = writes_lump, .number = LUMP};
    struct gate *gate = gate_make(&model);
    weft_stream_options stream = {.linger_ns = lingers ? S_NS : WEFT_STREAM_NEVER};
    int fd = far_open(SMALL_WINDOW);
    far_dial(fd, net_listen(&net, gate, &stream));
    (void)line_open(&gate->lines[0]);
    struct stopper stopper = {.net = &net, .timeout_ns = lingers ? 2 * SOON_NS : 3 * S_NS};
    (void)stop_beside(&stopper);
    if (lingers) {
        ck_assert_int_eq(stopper.result, 0);
        ck_assert_uint_lt(stopper.took_ns, SOON_NS);
        ck_assert_uint_ge(stopper.took_ns, 500 * MS_NS);
    } else { /* the stop may be over first where the machine is busy */
        ck_assert(stopper.result == 0 || stopper.result == -ETIMEDOUT);
        ck_assert_uint_ge(stopper.took_ns, 2 * S_NS);
    }
    net.fds++; /* the far end's */
    net_stop(&net);
    int error;
    ck_assert_uint_lt(far_drain(fd, 0, &error), LUMP);
    ck_assert_int_eq(error, ECONNRESET);
    ck_assert_int_eq(close(fd), 0);
    free(gate);
}
END_TEST

/* ---- what is counted, and what the kernel is told ----------------------------------------------- */

START_TEST(resets_by_the_peer_are_counted) {
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    struct gate *gate = gate_make(NULL);
    uint16_t port = net_listen(&net, gate, NULL);
    int orderly = far_connect(port);
    (void)line_open(&gate->lines[0]);
    ck_assert_int_eq(close(orderly), 0);
    (void)line_closed(&gate->lines[0], 0);
    ck_assert_uint_eq(rig_stats(&net.rig).io_resets, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        int fd = far_connect(port);
        (void)line_open(&gate->lines[i]);
        far_reset(fd);
        (void)line_closed(&gate->lines[i], -ECONNRESET);
        ck_assert_uint_eq(rig_stats(&net.rig).io_resets, i);
    }
    char *text = malloc(1 << 20);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_lt(weft_stats_prometheus(net.rig.runtime, text, 1 << 20), 1 << 20);
    ck_assert_ptr_nonnull(strstr(text, "io_resets"));
    free(text);
    net_stop(&net);
    free(gate);
}
END_TEST

/* The descriptor of this process that is connected to port on the loopback. */
static int find_accepted(uint16_t far_port) {
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == far_port) {
            return fd;
        }
    }
    ck_abort_msg("no such connection");
    return -1;
}

static int tcp_option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

START_TEST(the_kernel_probes_silent_peers_as_it_is_told) {
    static const struct {
        uint64_t keepalive_ns;
        int idle, interval;
    } cases[] = {
        {0, 0, 0},
        {1, 1, 1},
        {S_NS, 1, 1},
        {S_NS + 1, 2, 1},
        {9 * S_NS, 9, 3},
        {60 * S_NS, 60, 20},
        {UINT64_MAX, 32767, 10922},
    };
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gate *gate = gate_make(NULL);
        weft_stream_options stream = {.keepalive_ns = cases[i].keepalive_ns};
        int fd = far_connect(net_listen(&net, gate, &stream));
        (void)line_open(&gate->lines[0]);
        struct sockaddr_in own;
        socklen_t size = sizeof(own);
        ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&own, &size), 0);
        int accepted = find_accepted(ntohs(own.sin_port));
        bool probes = cases[i].idle != 0;
        ck_assert_int_eq(tcp_option(accepted, SOL_SOCKET, SO_KEEPALIVE), probes);
        if (probes) {
            ck_assert_int_eq(tcp_option(accepted, IPPROTO_TCP, TCP_KEEPIDLE), cases[i].idle);
            ck_assert_int_eq(tcp_option(accepted, IPPROTO_TCP, TCP_KEEPINTVL), cases[i].interval);
            ck_assert_int_eq(tcp_option(accepted, IPPROTO_TCP, TCP_KEEPCNT), 3);
        }
        ck_assert_int_eq(close(fd), 0);
        (void)line_closed(&gate->lines[0], 0);
        (void)line_over(&gate->lines[0]);
        free(gate);
    }
    net_stop(&net);
}
END_TEST

static Suite *mended_suite(void) {
    Suite *suite = suite_create("stream_mended");
    TCase *sending = tcase_create("sending");
    tcase_add_loop_test(sending, who_half_closes_while_a_send_waits_gets_all, 0, NET_DRIVERS);
    tcase_add_loop_test(sending, an_idle_end_with_bytes_left_is_a_reset, 0, NET_DRIVERS);
    suite_add_tcase(suite, sending);
    TCase *stopping = tcase_create("stopping");
    tcase_add_loop_test(stopping, stop_does_not_wait_for_peers_of_actors_that_ended_before, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(stopping, stop_does_not_wait_for_who_connects_without_an_actor, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(stopping, who_ends_while_its_name_is_looked_up_is_gone, 0, NET_DRIVERS);
    tcase_add_loop_test(stopping, a_slow_reader_gets_all_that_was_written_before_the_stop, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(stopping, who_reads_nothing_holds_up_a_stop_for_a_bounded_time, 0,
                        2 * NET_DRIVERS);
    suite_add_tcase(suite, stopping);
    TCase *told = tcase_create("told");
    tcase_add_loop_test(told, resets_by_the_peer_are_counted, 0, NET_DRIVERS);
    tcase_add_loop_test(told, the_kernel_probes_silent_peers_as_it_is_told, 0, NET_DRIVERS);
    suite_add_tcase(suite, told);
    TCase *receiving = tcase_create("receiving");
    tcase_add_loop_test(receiving, buffers_larger_than_a_message_may_be_are_no_fault, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(receiving, who_finds_no_buffer_waits_without_spinning, 0, NET_DRIVERS);
    tcase_add_loop_test(receiving, a_flood_after_a_trickle_is_read_one_ring_too_far_at_most, 0,
                        NET_DRIVERS);
    suite_add_tcase(suite, receiving);
    TCase *options = tcase_create("options");
    tcase_add_loop_test(options, an_argument_above_the_largest_message_is_refused, 0, NET_DRIVERS);
    suite_add_tcase(suite, options);
    return suite;
}

int main(void) {
    return run_suite(mended_suite());
}
