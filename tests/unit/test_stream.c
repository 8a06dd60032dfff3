/* SPDX-License-Identifier: MIT
 *
 * Streams over real sockets, with each driver: which events come, in which order and with which
 * status, and how a connection ends, by its actor's doing and by the peer's. The other programs
 * test_stream_* are about flow, listening, connecting, TLS and want of memory.
 */
#include "stream_support.h"

enum { MIB = 1 << 20, GREETING = 300000 };

/* A net with one listener and one accepted connection. */
struct pair {
    struct net net;
    struct gate *gate;
    struct line *line;
    uint16_t port;
    int fd;
};

/* False: there is no such driver. */
static bool pair_start(struct pair *pair, int number, const struct line *model,
                       const weft_stream_options *stream) {
    if (!net_start(&pair->net, number, 2)) {
        return false;
    }
    pair->gate = gate_make(model);
    pair->line = &pair->gate->lines[0];
    pair->port = net_listen(&pair->net, pair->gate, stream);
    pair->net.fds++; /* the far end's */
    pair->fd = far_connect(pair->port);
    return true;
}

static void pair_stop(struct pair *pair) {
    net_stop(&pair->net);
    ck_assert_int_eq(close(pair->fd), 0);
    free(pair->gate);
}

static void expect_order(const struct line *line, const char *order) {
    static const char names[] = "?ODEWC";
    char text[ORDER_MAX + 1] = {0};
    for (uint32_t i = 0; i < line->order_count; i++) {
        text[i] = names[line->order[i]];
    }
    ck_assert_msg(strcmp(text, order) == 0, "events %s, not %s", text, order);
}

/* ---- events ---------------------------------------------------------------------------------- */

START_TEST(a_connection_that_the_peer_ends_closes_by_itself) {
    struct pair pair;
    if (!pair_start(&pair, _i, NULL, NULL)) {
        return;
    }
    (void)line_open(pair.line); /* also when nothing was sent */
    far_write(pair.fd, 0, 1000);
    far_shut(pair.fd);
    far_end(pair.fd);
    struct line line = line_closed(pair.line, 0);
    expect_order(&line, "ODEC");
    ck_assert_uint_eq(line.bytes, 1000);
    pair_stop(&pair);
}
END_TEST

static void *write_on(void *arg) {
    struct pair *pair = arg;
    static const size_t sizes[] = {1, 2, 1000, 65536, 7, 16384, 4095, 200000};
    uint64_t done = 0;
    for (uint32_t i = 0; done < 5 * MIB; i++) {
        size_t size = sizes[i % 8];
        size = 5 * MIB - done < size ? (size_t)(5 * MIB - done) : size;
        far_write(pair->fd, done, size);
        done += size;
    }
    far_shut(pair->fd);
    return NULL;
}

START_TEST(five_megabytes_go_both_ways_at_once) {
    struct line model = {.handler = line_pumps, .number = 5 * MIB};
    weft_stream_options stream = {.flags = WEFT_STREAM_HALF_OPEN};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, &stream)) {
        return;
    }
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, &pair), 0);
    far_read(pair.fd, 0, 5 * MIB);
    far_end(pair.fd);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    struct line line = line_closed(pair.line, 0);
    ck_assert_uint_eq(line.bytes, 5 * MIB);
    ck_assert_uint_eq(line.events[WEFT_IO_END], 1);
    pair_stop(&pair);
}
END_TEST

START_TEST(an_echo_of_five_megabytes_is_whole) {
    struct line model = {.handler = line_echo};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, &pair), 0);
    far_read(pair.fd, 0, 5 * MIB);
    far_end(pair.fd);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    (void)line_closed(pair.line, 0);
    pair_stop(&pair);
}
END_TEST

static int handle_half_open(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_END) {
        unsigned char piece[5000];
        pattern_fill(piece, 0, sizeof(piece));
        ck_assert_int_eq(weft_stream_write(ctx, piece, sizeof(piece)), 0);
        line->written = sizeof(piece);
    }
    return WEFT_CONTINUE;
}

START_TEST(half_open_goes_on_writing_after_the_end) {
    struct line model = {.handler = handle_half_open, .number = 100000};
    weft_stream_options stream = {.flags = WEFT_STREAM_HALF_OPEN};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, &stream)) {
        return;
    }
    far_write(pair.fd, 0, 10);
    far_shut(pair.fd);
    far_read(pair.fd, 0, 5000);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(line_events(pair.line, WEFT_IO_CLOSED), 0);
    ck_assert(line_act(&pair.net, pair.line, do_pump, pair.line)); /* and ends */
    far_read(pair.fd, 5000, 95000);
    far_end(pair.fd);
    struct line line = line_closed(pair.line, 0);
    expect_order(&line, "ODEC");
    pair_stop(&pair);
}
END_TEST

START_TEST(a_reset_is_told_once_with_its_status) {
    struct pair pair;
    if (!pair_start(&pair, _i, NULL, NULL)) {
        return;
    }
    far_write(pair.fd, 0, 100);
    eventually(line_now(pair.line).bytes == 100);
    far_reset(pair.fd);
    struct line line = line_closed(pair.line, -ECONNRESET);
    expect_order(&line, "ODC");
    pair.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair_stop(&pair);
}
END_TEST

/* Idle: nothing moved. What moves in either direction puts it off. */
START_TEST(an_idle_connection_times_out) {
    weft_stream_options stream = {.idle_ns = 600 * MS_NS};
    struct line model = {.handler = line_echo};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, &stream)) {
        return;
    }
    (void)line_open(pair.line);
    uint64_t start_ns = clock_ns();
    uint64_t last_ns = start_ns;
    uint64_t sent = 0;
    while (last_ns - start_ns < 700 * MS_NS) {
        sleep_ns(70 * MS_NS);
        if (clock_ns() - last_ns > 300 * MS_NS) {
            break; /* a machine that is busy with other things: it may time out by now */
        }
        last_ns = clock_ns();
        far_write(pair.fd, sent, 1);
        far_read(pair.fd, sent++, 1);
    }
    struct line line = line_closed(pair.line, -ETIMEDOUT);
    ck_assert_uint_ge(line.closed_ns - last_ns, 500 * MS_NS); /* a turn's clock is old */
    ck_assert_uint_le(line.closed_ns - last_ns, SOON_NS);
    ck_assert_uint_eq(line.bytes, sent);
    ck_assert_uint_eq(rig_stats(&pair.net.rig).io_timeouts, 1);
    pair_stop(&pair);
}
END_TEST

/* ---- writing before it is open ---------------------------------------------------------------- */

static int init_greets(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)msg;
    unsigned char *greeting = malloc(GREETING);
    ck_assert_ptr_nonnull(greeting);
    pattern_fill(greeting, 0, GREETING);
    ck_assert_int_eq(weft_stream_write(ctx, greeting, 1000), 0);
    ck_assert_int_eq(weft_stream_write(ctx, greeting + 1000, GREETING - 1000), WEFT_STREAM_FULL);
    free(greeting);
    line->written = GREETING;
    return (int)line->number;
}

START_TEST(init_may_write) {
    struct line model = {.init = init_greets};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    far_read(pair.fd, 0, GREETING);
    far_shut(pair.fd);
    far_end(pair.fd);
    struct line line = line_closed(pair.line, 0);
    expect_order(&line, "OWEC");
    pair_stop(&pair);
}
END_TEST

START_TEST(an_actor_that_stops_in_init_still_greets) {
    struct line model = {.init = init_greets, .number = WEFT_STOP};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    far_read(pair.fd, 0, GREETING);
    far_end(pair.fd);
    struct line line = line_over(pair.line);
    ck_assert_int_eq(line.reason, 0);
    ck_assert_uint_eq(line.order_count, 0);
    far_shut(pair.fd);
    eventually(rig_gauges(&pair.net.rig).io_open == 1); /* the listener */
    pair_stop(&pair);
}
END_TEST

static int init_fails(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)msg;
    (void)line;
    ck_assert_int_eq(weft_stream_write(ctx, "no", 2), 0);
    return -EIO;
}

START_TEST(an_error_of_init_resets_the_connection) {
    struct line model = {.init = init_fails};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    int error;
    ck_assert_uint_eq(far_drain(pair.fd, 0, &error), 0);
    ck_assert_int_eq(error, ECONNRESET);
    eventually(rig_gauges(&pair.net.rig).io_open == 1);
    struct line line = line_now(pair.line);
    ck_assert_uint_eq(line.order_count, 0);
    ck_assert_uint_eq(line.ends, 0); /* terminate is not called */
    pair_stop(&pair);
}
END_TEST

/* A connecting actor writes in init, before anybody has answered. */
START_TEST(a_connecting_actor_may_write_before_it_is_open) {
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    uint16_t port;
    int listener = far_listen(16, &port);
    net.fds++;
    struct line *line = calloc(1, sizeof(*line));
    line_make(line);
    line->init = init_greets;
    (void)net_connect(&net, port, line);
    int fd = far_accept(listener);
    far_read(fd, 0, GREETING);
    (void)line_open(line);
    ck_assert_int_eq(close(fd), 0);
    struct line now = line_closed(line, 0);
    expect_order(&now, "OWEC");
    net_stop(&net);
    ck_assert_int_eq(close(listener), 0);
    free(line);
}
END_TEST

/* ---- an actor that ends ------------------------------------------------------------------------ */

static int handle_ends(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_OPEN) {
        return WEFT_CONTINUE;
    }
    unsigned char *bytes = malloc(MIB);
    ck_assert_ptr_nonnull(bytes);
    pattern_fill(bytes, 0, MIB);
    ck_assert_int_ge(weft_stream_write(ctx, bytes, MIB), 0);
    free(bytes);
    return (int)(int64_t)line->number;
}

START_TEST(what_an_actor_has_written_arrives_when_it_stops) {
    struct line model = {.handler = handle_ends, .number = WEFT_STOP};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    sleep_ns(20 * MS_NS);
    far_read(pair.fd, 0, MIB);
    far_end(pair.fd);
    struct line line = line_over(pair.line);
    expect_order(&line, "O");
    far_shut(pair.fd);
    eventually(rig_gauges(&pair.net.rig).io_open == 1);
    pair_stop(&pair);
}
END_TEST

START_TEST(an_actor_that_crashes_resets_its_connection) {
    struct line model = {.handler = handle_ends, .number = (uint64_t)(int64_t)-EIO};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    (void)line_over(pair.line);
    int error;
    ck_assert_uint_lt(far_drain(pair.fd, 0, &error), MIB);
    ck_assert_int_eq(error, ECONNRESET);
    eventually(rig_gauges(&pair.net.rig).io_open == 1);
    pair_stop(&pair);
}
END_TEST

/* Stopped from elsewhere: in order; killed: with a reset. */
START_TEST(stop_sends_what_is_queued_and_kill_resets) {
    for (uint32_t kill = 0; kill < 2; kill++) {
        struct line model = {.handler = handle_ends};
        struct pair pair;
        if (!pair_start(&pair, _i, &model, NULL)) {
            return;
        }
        weft_runtime *runtime = pair.net.rig.runtime;
        weft_pid pid = line_open(pair.line).pid;
        ck_assert_int_eq(kill != 0 ? weft_runtime_kill_actor(runtime, pid)
                                   : weft_runtime_stop_actor(runtime, pid, 0),
                         0);
        eventually(!is_alive(&pair.net.rig, pid));
        int error;
        uint64_t count = far_drain(pair.fd, 0, &error);
        ck_assert_int_eq(error, kill != 0 ? ECONNRESET : 0);
        ck_assert(kill != 0 ? count < MIB : count == MIB);
        far_shut(pair.fd);
        eventually(rig_gauges(&pair.net.rig).io_open == 1);
        pair_stop(&pair);
    }
}
END_TEST

/* ---- closing ----------------------------------------------------------------------------------- */

enum { CLOSING_BYTES = 10 * MIB };

/* Writes it all at once and closes. */
static int handle_writes_and_closes(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_OPEN) {
        return WEFT_CONTINUE;
    }
    (void)line;
    unsigned char *bytes = malloc(CLOSING_BYTES);
    ck_assert_ptr_nonnull(bytes);
    pattern_fill(bytes, 0, CLOSING_BYTES);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, CLOSING_BYTES), WEFT_STREAM_FULL);
    free(bytes);
    ck_assert_int_eq(weft_stream_close(ctx), 0);
    ck_assert_int_eq(weft_stream_close(ctx), 0); /* twice does no harm */
    ck_assert_int_eq(weft_stream_write(ctx, "x", 1), -EPIPE);
    return WEFT_CONTINUE;
}

START_TEST(closing_sends_ten_megabytes_to_a_slow_reader) {
    struct line model = {.handler = handle_writes_and_closes};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    for (uint64_t i = 0; i < 10; i++) {
        far_read(pair.fd, i * MIB, MIB);
        sleep_ns(20 * MS_NS);
    }
    far_end(pair.fd);
    ck_assert_uint_eq(line_events(pair.line, WEFT_IO_CLOSED), 0); /* we have not ended */
    far_shut(pair.fd);
    struct line line = line_closed(pair.line, 0);
    expect_order(&line, "OC");
    pair_stop(&pair);
}
END_TEST

START_TEST(closing_waits_no_longer_than_it_was_told) {
    struct line model = {.handler = handle_writes_and_closes};
    weft_stream_options stream = {.linger_ns = 300 * MS_NS};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, &stream)) {
        return;
    }
    struct line line = line_closed(pair.line, -ETIMEDOUT);         /* nobody reads */
    ck_assert_uint_ge(line.closed_ns - line.open_ns, 200 * MS_NS); /* a turn's clock is old */
    ck_assert_uint_le(line.closed_ns - line.open_ns, 4 * S_NS);    /* the default takes 5 */
    expect_order(&line, "OC");
    int error;
    ck_assert_uint_lt(far_drain(pair.fd, 0, &error), CLOSING_BYTES);
    ck_assert_int_eq(error, ECONNRESET);
    pair_stop(&pair);
}
END_TEST

/* Everything was sent, only the peer does not end: closed in order, after linger. */
START_TEST(a_peer_that_does_not_end_is_left) {
    weft_stream_options stream = {.linger_ns = 200 * MS_NS};
    struct pair pair;
    if (!pair_start(&pair, _i, NULL, &stream)) {
        return;
    }
    (void)line_open(pair.line);
    line_do(&pair.net, pair.line, do_close);
    far_end(pair.fd);
    (void)line_closed(pair.line, 0);
    pair_stop(&pair);
}
END_TEST

static int handle_closes_at_data(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_OPEN) {
        sleep_ns(50 * MS_NS); /* more than one DATA shall be in the mailbox */
    } else if (tag == WEFT_IO_DATA) {
        ck_assert_uint_eq(line_events(line, WEFT_IO_DATA), 1);
        ck_assert_int_eq(line->number == 0 ? weft_stream_close(ctx) : weft_stream_abort(ctx), 0);
    }
    return WEFT_CONTINUE;
}

START_TEST(after_close_and_abort_nothing_comes_but_closed) {
    for (uint32_t way = 0; way < 4; way++) { /* also when the peer has reset it meanwhile */
        struct line model = {.handler = handle_closes_at_data, .number = way % 2};
        struct pair pair;
        if (!pair_start(&pair, _i, &model, NULL)) {
            return;
        }
        for (uint64_t i = 0; i < 20; i++) {
            unsigned char bytes[1000];
            pattern_fill(bytes, i * 1000, sizeof(bytes));
            (void)far_send(pair.fd, bytes, sizeof(bytes)); /* on a slow machine it is closed */
            sleep_ns(MS_NS);
        }
        if (way >= 2) {
            far_reset(pair.fd);
            pair.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        } else {
            far_shut(pair.fd);
        }
        struct line line = line_over(pair.line);
        ck_assert_uint_eq(line.events[WEFT_IO_DATA], 1);
        ck_assert_uint_eq(line.events[WEFT_IO_END], 0);
        ck_assert_uint_eq(line.events[WEFT_IO_CLOSED], 1);
        ck_assert(way >= 2 || line.status == (way == 0 ? 0 : -ECONNABORTED));
        pair_stop(&pair);
    }
}
END_TEST

START_TEST(end_is_seen_by_the_peer_and_reading_goes_on) {
    struct line model = {.number = 100000};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    (void)line_open(pair.line);
    ck_assert(line_act(&pair.net, pair.line, do_pump, pair.line));
    far_read(pair.fd, 0, 100000);
    far_end(pair.fd);
    for (uint64_t i = 0; i < 10; i++) {
        far_write(pair.fd, i * 50000, 50000);
        sleep_ns(MS_NS);
    }
    far_shut(pair.fd);
    struct line line = line_closed(pair.line, 0);
    ck_assert_uint_eq(line.bytes, 500000);
    expect_order(&line, "ODEC");
    pair_stop(&pair);
}
END_TEST

static void do_write_after_end(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_stream_write(ctx, "last", 4), 0);
    ck_assert_int_eq(weft_stream_end(ctx), 0);
    ck_assert_int_eq(weft_stream_end(ctx), 0);
    ck_assert_int_eq(weft_stream_write(ctx, "more", 4), -EPIPE);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 5000, &buf), 0);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 0, 5000), -EPIPE);
    weft_buf_unref(buf);
}

START_TEST(nothing_can_be_written_after_the_end) {
    struct pair pair;
    struct line model = {.any_bytes = true};
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    (void)line_open(pair.line);
    ck_assert(line_act(&pair.net, pair.line, do_write_after_end, NULL));
    char bytes[8];
    ck_assert_int_eq(far_recv(pair.fd, bytes, 4), 4);
    ck_assert_mem_eq(bytes, "last", 4);
    far_shut(pair.fd);
    far_end(pair.fd);
    (void)line_closed(pair.line, 0);
    pair_stop(&pair);
}
END_TEST

START_TEST(abort_resets) {
    struct line model = {.number = 10 * MIB};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    (void)line_open(pair.line);
    ck_assert(line_act(&pair.net, pair.line, do_pump, pair.line));
    line_do(&pair.net, pair.line, do_abort);
    struct line line = line_closed(pair.line, -ECONNABORTED);
    ck_assert_uint_eq(line.events[WEFT_IO_CLOSED], 1);
    int error;
    ck_assert_uint_lt(far_drain(pair.fd, 0, &error), 10 * MIB);
    ck_assert_int_eq(error, ECONNRESET);
    pair_stop(&pair);
}
END_TEST

/* Whatever the peer sends on is dropped: it neither comes nor keeps the connection open. */
START_TEST(a_peer_that_goes_on_sending_does_not_hold_up_closing) {
    for (uint32_t paused = 0; paused < 2; paused++) {
        weft_stream_options stream = {.linger_ns = 300 * MS_NS,
                                      .flags = paused != 0 ? WEFT_STREAM_PAUSED : 0};
        struct pair pair;
        if (!pair_start(&pair, _i, NULL, &stream)) {
            return;
        }
        (void)line_open(pair.line);
        line_do(&pair.net, pair.line, do_close);
        uint64_t start_ns = clock_ns();
        char bytes[1000] = {0};
        while (line_now(pair.line).ends == 0) {
            (void)far_send(pair.fd, bytes, sizeof(bytes));     /* an error in the end */
            ck_assert_uint_lt(clock_ns() - start_ns, SOON_NS); /* else it goes on for ever */
        }
        ck_assert_uint_eq(line_closed(pair.line, 0).bytes, 0);
        pair_stop(&pair);
    }
}
END_TEST

static int init_closes(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)msg;
    unsigned char bytes[5000];
    pattern_fill(bytes, 0, sizeof(bytes));
    if (line->number % 2 == 1) {
        ck_assert_int_eq(weft_stream_write(ctx, bytes, sizeof(bytes)), 0);
    }
    if (line->number == 4) {
        ck_assert_int_eq(weft_stream_abort(ctx), 0);
        return WEFT_CONTINUE;
    }
    ck_assert_int_eq(line->number < 2 ? weft_stream_close(ctx) : weft_stream_end(ctx), 0);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 1), -EPIPE);
    return WEFT_CONTINUE;
}

/* Closed or ended, with and without a word, and aborted, all in init. */
START_TEST(init_may_close_and_end_and_abort) {
    for (uint64_t way = 0; way < 5; way++) {
        struct line model = {.init = init_closes, .number = way};
        struct pair pair;
        if (!pair_start(&pair, _i, &model, NULL)) {
            return;
        }
        int error;
        ck_assert_uint_eq(far_drain(pair.fd, 0, &error), way % 2 == 1 ? 5000 : 0);
        ck_assert_int_eq(error, way == 4 ? ECONNRESET : 0);
        far_shut(pair.fd);
        (void)line_closed(pair.line, way == 4 ? -ECONNABORTED : 0);
        pair_stop(&pair);
    }
}
END_TEST

/* ---- where the functions answer what ------------------------------------------------------------ */

static void expect_no_stream(weft_ctx *ctx) {
    ck_assert_int_eq(weft_stream_write(ctx, "x", 1), -ENOTCONN);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 5000, &buf), 0);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 0, 5000), -ENOTCONN);
    weft_buf_unref(buf);
    ck_assert_int_eq(weft_stream_end(ctx), -ENOTCONN);
    ck_assert_int_eq(weft_stream_close(ctx), -ENOTCONN);
    ck_assert_int_eq(weft_stream_abort(ctx), -ENOTCONN);
    ck_assert_int_eq(weft_stream_pause(ctx), -ENOTCONN);
    ck_assert_int_eq(weft_stream_resume(ctx), -ENOTCONN);
    ck_assert_int_eq(weft_stream_tls_rekey(ctx), -ENOTCONN);
}

static void do_nothing_connected(weft_ctx *ctx, void *arg) {
    (void)arg;
    expect_no_stream(ctx);
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    ck_assert_int_eq(weft_stream_inspect(ctx, &info), -ENOTCONN);
    weft_tls_error error;
    ck_assert_int_eq(weft_stream_tls_error(ctx, &error), -ENOTCONN);
}

static int handle_closed(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_CLOSED) {
        expect_no_stream(ctx);
        line->number = 1;
    }
    return WEFT_CONTINUE;
}

START_TEST(without_a_connection_it_is_not_connected) {
    struct line model = {.handler = handle_closed};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    weft_pid puppet = rig_spawn(&pair.net.rig, NULL);
    act(&pair.net.rig, puppet, do_nothing_connected, NULL);
    far_shut(pair.fd);
    (void)line_closed(pair.line, 0);
    ck_assert_uint_eq(pair.line->number, 1); /* it has ended: nobody writes it any more */
    pair_stop(&pair);
}
END_TEST

/* The peer has reset it, and CLOSED waits behind DATA in the mailbox: a broken pipe, for the actor
 * cannot know more. */
static int handle_late(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_OPEN) {
        sleep_ns(100 * MS_NS);
    } else if (tag == WEFT_IO_DATA) {
        sleep_ns(20 * MS_NS);
        int result = weft_stream_write(ctx, "x", 1);
        ck_assert_msg(result >= 0 || result == -EPIPE, "write answers %d", result);
        line->number++;
    }
    return WEFT_CONTINUE;
}

START_TEST(a_write_after_the_peers_reset_is_a_broken_pipe) {
    struct line model = {.handler = handle_late};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    for (uint64_t i = 0; i < 5; i++) {
        far_write(pair.fd, i * 300, 300);
        sleep_ns(5 * MS_NS);
    }
    sleep_ns(50 * MS_NS);
    far_reset(pair.fd);
    (void)line_closed(pair.line, -ECONNRESET);
    pair.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair_stop(&pair);
}
END_TEST

static void do_wrong_arguments(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_stream_write(ctx, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_stream_write(ctx, NULL, 0), 0);
    ck_assert_int_eq(weft_stream_write_buf(ctx, NULL, 0, 0), -EINVAL);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 100, &buf), 0);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 101, 0), -EINVAL);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 50, 51), -EINVAL);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, SIZE_MAX, 2), -EINVAL);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 100, 0), 0);
    weft_buf_unref(buf);
    weft_stream_info info = {.struct_size = 1};
    ck_assert_int_eq(weft_stream_inspect(ctx, &info), -EINVAL);
    ck_assert_int_eq(weft_stream_inspect(ctx, NULL), -EINVAL);
    weft_tls_info tls = {.struct_size = WEFT_TLS_INFO_INIT};
    ck_assert_int_eq(weft_stream_tls_inspect(ctx, &tls), -ENOSYS);
    const void *der;
    size_t size;
    ck_assert_int_eq(weft_stream_tls_peer(ctx, &der, &size), -ENOSYS);
    ck_assert_int_eq(weft_stream_tls_rekey(ctx), -ENOSYS);
    ck_assert_int_eq(weft_stream_tls_error(ctx, NULL), -ENOSYS);
}

START_TEST(wrong_arguments_are_refused_and_it_can_be_inspected) {
    struct line model = {.handler = line_echo};
    struct pair pair;
    if (!pair_start(&pair, _i, &model, NULL)) {
        return;
    }
    far_write(pair.fd, 0, 1000);
    far_read(pair.fd, 0, 1000);
    ck_assert(line_act(&pair.net, pair.line, do_wrong_arguments, NULL));
    weft_stream_info info;
    ck_assert(line_act(&pair.net, pair.line, do_inspect, &info));
    ck_assert_uint_eq(info.received, 1000);
    ck_assert_uint_eq(info.sent, 1000);
    ck_assert_uint_eq(info.queued, 0);
    ck_assert(info.accepted && !info.tls);
    ck_assert_uint_eq(info.local.port, pair.port);
    ck_assert_uint_eq(info.local.family, WEFT_FAMILY_IPV4);
    struct sockaddr_in here;
    socklen_t size = sizeof(here);
    ck_assert_int_eq(getsockname(pair.fd, (struct sockaddr *)&here, &size), 0);
    ck_assert_uint_eq(info.peer.port, ntohs(here.sin_port));
    far_shut(pair.fd);
    (void)line_closed(pair.line, 0);
    eventually(rig_stats(&pair.net.rig).io_accepts == 1); /* counted by another scheduler */
    weft_stats stats = rig_stats(&pair.net.rig);
    ck_assert_uint_eq(stats.io_received, 1000);
    ck_assert_uint_eq(stats.io_sent, 1000);
    pair_stop(&pair);
}
END_TEST

static Suite *stream_suite(void) {
    Suite *suite = suite_create("stream");
    TCase *events = tcase_create("events");
    tcase_add_loop_test(events, a_connection_that_the_peer_ends_closes_by_itself, 0, NET_DRIVERS);
    tcase_add_loop_test(events, five_megabytes_go_both_ways_at_once, 0, NET_DRIVERS);
    tcase_add_loop_test(events, an_echo_of_five_megabytes_is_whole, 0, NET_DRIVERS);
    tcase_add_loop_test(events, half_open_goes_on_writing_after_the_end, 0, NET_DRIVERS);
    tcase_add_loop_test(events, a_reset_is_told_once_with_its_status, 0, NET_DRIVERS);
    tcase_add_loop_test(events, an_idle_connection_times_out, 0, NET_DRIVERS);
    tcase_add_loop_test(events, init_may_write, 0, NET_DRIVERS);
    tcase_add_loop_test(events, an_actor_that_stops_in_init_still_greets, 0, NET_DRIVERS);
    tcase_add_loop_test(events, an_error_of_init_resets_the_connection, 0, NET_DRIVERS);
    tcase_add_loop_test(events, a_connecting_actor_may_write_before_it_is_open, 0, NET_DRIVERS);
    suite_add_tcase(suite, events);
    TCase *ends = tcase_create("ends");
    tcase_add_loop_test(ends, what_an_actor_has_written_arrives_when_it_stops, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, an_actor_that_crashes_resets_its_connection, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, stop_sends_what_is_queued_and_kill_resets, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, closing_sends_ten_megabytes_to_a_slow_reader, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, closing_waits_no_longer_than_it_was_told, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, a_peer_that_does_not_end_is_left, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, after_close_and_abort_nothing_comes_but_closed, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, end_is_seen_by_the_peer_and_reading_goes_on, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, nothing_can_be_written_after_the_end, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, abort_resets, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, a_peer_that_goes_on_sending_does_not_hold_up_closing, 0, NET_DRIVERS);
    tcase_add_loop_test(ends, init_may_close_and_end_and_abort, 0, NET_DRIVERS);
    suite_add_tcase(suite, ends);
    TCase *calls = tcase_create("calls");
    tcase_add_loop_test(calls, without_a_connection_it_is_not_connected, 0, NET_DRIVERS);
    tcase_add_loop_test(calls, a_write_after_the_peers_reset_is_a_broken_pipe, 0, NET_DRIVERS);
    tcase_add_loop_test(calls, wrong_arguments_are_refused_and_it_can_be_inspected, 0, NET_DRIVERS);
    suite_add_tcase(suite, calls);
    return suite;
}

int main(void) {
    return run_suite(stream_suite());
}
