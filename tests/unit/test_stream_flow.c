/* SPDX-License-Identifier: MIT
 *
 * Streams whose ends are not equally fast: high- and low-water marks, what is refused, how much is
 * read ahead, pausing; and received bytes that outlive their handler: kept, passed on to other
 * schedulers, left behind.
 */
#include "stream_support.h"

#ifdef __SANITIZE_THREAD__
enum { SLICES = 20000 };
#else
enum { SLICES = 200000 };
#endif
enum { KIB = 1 << 10, MIB = 1 << 20, KEPT = 40, SLICE = 100 };

#define STALL_NS (150 * MS_NS)

static uint64_t queued_of(weft_ctx *ctx) {
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    ck_assert_int_eq(weft_stream_inspect(ctx, &info), 0);
    return info.queued;
}

/* Sends the pattern until the other side takes no more for so long; how much it took. */
static uint64_t far_stuff(int fd, uint64_t most, uint64_t stall_ns) {
    unsigned char piece[PIECE_BYTES];
    uint64_t done = 0;
    uint64_t last_ns = clock_ns();
    while (done < most && clock_ns() - last_ns < stall_ns) {
        size_t size = most - done < sizeof(piece) ? (size_t)(most - done) : sizeof(piece);
        pattern_fill(piece, done, size);
        ssize_t sent = send(fd, piece, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            done += (uint64_t)sent;
            last_ns = clock_ns();
        } else {
            ck_assert(errno == EAGAIN || errno == EINTR);
            sleep_ns(MS_NS);
        }
    }
    return done;
}

/* ---- marks ----------------------------------------------------------------------------------- */

enum { HIGH = 64 * KIB, LOW = 16 * KIB };

static int handle_marks(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag != WEFT_IO_OPEN && tag != WEFT_IO_WRITABLE) {
        return WEFT_CONTINUE;
    }
    ck_assert_uint_le(queued_of(ctx), LOW);
    unsigned char piece[1000];
    while (line->written < line->number) {
        pattern_fill(piece, line->written, sizeof(piece));
        line->written += sizeof(piece);
        int result = weft_stream_write(ctx, piece, sizeof(piece));
        uint64_t queued = queued_of(ctx);
        if (result == WEFT_STREAM_FULL) {
            ck_assert(queued > HIGH && queued <= HIGH + sizeof(piece));
            return WEFT_CONTINUE;
        }
        ck_assert_int_eq(result, 0);
        ck_assert_uint_le(queued, HIGH);
    }
    ck_assert_int_eq(weft_stream_end(ctx), 0);
    return WEFT_CONTINUE;
}

START_TEST(full_and_writable_come_at_the_marks) {
    weft_stream_options stream = {.send_high = HIGH, .send_low = LOW};
    struct line model = {.handler = handle_marks, .number = 8000000};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    int fd = far_open(8192);
    far_dial(fd, net_listen(&net, gate, &stream));
    sleep_ns(50 * MS_NS);
    far_read(fd, 0, 8000000);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    struct line line = line_closed(&gate->lines[0], 0);
    ck_assert_uint_gt(line.events[WEFT_IO_WRITABLE], 20);
    net_stop(&net);
    free(gate);
}
END_TEST

enum { MAX = 100 * KIB };

static int handle_refused(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_OPEN) {
        return WEFT_CONTINUE;
    }
    unsigned char bytes[MAX];
    pattern_fill(bytes, 0, sizeof(bytes));
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 60 * KIB), 0);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 40 * KIB + 1), -ENOBUFS);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 50 * KIB, &buf), 0);
    ck_assert_int_eq(weft_stream_write_buf(ctx, buf, 0, 50 * KIB), -ENOBUFS);
    weft_buf_unref(buf);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, SIZE_MAX / 2), -ENOBUFS);
    ck_assert_uint_eq(queued_of(ctx), 60 * KIB);
    ck_assert_int_eq(weft_stream_write(ctx, bytes + 60 * KIB, 40 * KIB), WEFT_STREAM_FULL);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 1), -ENOBUFS);
    ck_assert_int_eq(weft_stream_write(ctx, bytes, 0), WEFT_STREAM_FULL);
    ck_assert_int_eq(weft_stream_end(ctx), 0);
    return WEFT_CONTINUE;
}

START_TEST(nothing_of_a_refused_write_is_sent) {
    weft_stream_options stream = {.send_high = HIGH, .send_max = MAX};
    struct line model = {.handler = handle_refused};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    int fd = far_connect(net_listen(&net, gate, &stream));
    far_read(fd, 0, MAX);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    (void)line_closed(&gate->lines[0], 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- reading stops ----------------------------------------------------------------------------- */

/* The peers send for ever and never read their echo: each costs at most its two bounds and what a
 * receive may bring at once. */
START_TEST(a_peer_that_does_not_read_is_read_no_further) {
    enum { PEERS = 8 };
    weft_stream_options stream = {.send_high = HIGH, .receive_ahead = 32 * KIB};
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    weft_config config = net_config(1);
    config.io_buffers = 16;
    config.io_buffer_bytes = 4096;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    uint16_t port = net_listen(&net, gate, &stream);
    uint64_t before = rig_gauges(&net.rig).heap_bytes;
    int fds[PEERS];
    uint64_t sent[PEERS];
    for (uint32_t i = 0; i < PEERS; i++) {
        fds[i] = far_connect(port);
        sent[i] = far_stuff(fds[i], 100 * MIB, STALL_NS);
        ck_assert_uint_lt(sent[i], 100 * MIB);
    }
    uint64_t heap = rig_gauges(&net.rig).heap_bytes - before;
    /* 16 buffers at once is what stream_receive may overshoot, four rings the pool may hold. */
    ck_assert_uint_lt(heap, PEERS * (HIGH + 32 * KIB + 16 * 4 * KIB + 40 * KIB) + 64 * 4200);
    for (uint32_t i = 0; i < PEERS; i++) {
        far_shut(fds[i]);
        far_read(fds[i], 0, sent[i]);
        far_end(fds[i]);
        ck_assert_int_eq(close(fds[i]), 0);
    }
    net_stop(&net);
    free(gate);
}
END_TEST

/* Waits until a line that pumps can write no more: it stays as it is for some of its turns. */
static void stuffed(struct net *net, struct line *line) {
    weft_stream_info info = {0};
    uint64_t queued = 0;
    uint64_t until_ns = clock_ns() + SOON_NS;
    for (uint32_t turns = 0; turns < 30; turns++) {
        ck_assert_uint_lt(clock_ns(), until_ns);
        sleep_ns(10 * MS_NS);
        ck_assert(line_act(net, line, do_inspect, &info));
        turns = info.queued > HIGH / 4 && info.queued == queued ? turns : 0;
        queued = info.queued;
    }
}

/* The line is full because nobody reads: what comes is read on only with READ_ALWAYS. */
START_TEST(reading_goes_on_above_the_mark_only_when_asked_for) {
    for (uint32_t always = 0; always < 2; always++) {
        weft_stream_options stream = {.send_high = HIGH,
                                      .flags = always != 0 ? WEFT_STREAM_READ_ALWAYS : 0};
        struct line model = {.number = 20 * MIB, .handler = line_pumps};
        struct gate *gate = gate_make(&model);
        struct net net;
        if (!net_start(&net, _i, 1)) {
            return;
        }
        int fd = far_open(8192);
        far_dial(fd, net_listen(&net, gate, &stream));
        struct line *line = &gate->lines[0];
        (void)line_open(line);
        stuffed(&net, line); /* the kernel's buffers are full as well */
        uint64_t sent = far_stuff(fd, 20 * MIB, always != 0 ? SOON_NS : STALL_NS);
        if (always != 0) {
            ck_assert_uint_eq(sent, 20 * MIB);
            eventually(line_now(line).bytes == 20 * MIB);
        } else {
            ck_assert_uint_lt(sent, 20 * MIB);
            ck_assert_uint_eq(line_now(line).bytes, 0);
        }
        far_read(fd, 0, 20 * MIB);
        eventually(line_now(line).bytes == sent);
        ck_assert_int_eq(close(fd), 0);
        (void)line_closed(line, 0);
        net_stop(&net);
        free(gate);
    }
}
END_TEST

/* The handler of OPEN does not return while the peer sends on. */
static int handle_slowly(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)ctx;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        struct probe *probe = line->user;
        if (line_now(line).events[WEFT_IO_DATA] == 1) {
            probe_wait(probe);
        }
    }
    return WEFT_CONTINUE;
}

START_TEST(a_slow_handler_is_not_run_over) {
    struct probe probe = PROBE_INIT;
    weft_stream_options stream = {.receive_ahead = 64 * KIB};
    struct line model = {.handler = handle_slowly, .user = &probe};
    struct gate *gate = gate_make(&model);
    struct net net;
    weft_config config = net_config(2);
    config.io_buffers = 16;
    config.io_buffer_bytes = 4096;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    int fd = far_connect(net_listen(&net, gate, &stream));
    uint64_t sent = far_stuff(fd, 100 * MIB, STALL_NS);
    ck_assert_uint_lt(sent, 100 * MIB);
    /* Behind a handler that sleeps its scheduler does not poll: bounded by one poll as well. */
    ck_assert_uint_le(rig_stats(&net.rig).io_received, 64 * KIB + 2 * 16 * 4 * KIB);
    weft_store32_release(&probe.gate, 1);
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    struct line line = line_closed(&gate->lines[0], 0);
    ck_assert_uint_eq(line.bytes, sent);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Keeps what it is given, up to KEPT messages, and lets it go on request. */
struct keeper {
    weft_msg *kept[KEPT];
    uint64_t positions[KEPT];
    uint32_t count;
    uint64_t position;
};

/* Bytes that wait in the mailbox count, also while the scheduler is free to poll: a timer's worth of
 * work per message lets it do so in between. */
static int handle_with_pauses(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    sleep_ns(MS_NS / 2);
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    ck_assert_int_eq(weft_stream_inspect(ctx, &info), 0);
    ck_assert_uint_le(info.received - line_now(line).bytes, 64 * KIB + 16 * 4 * KIB);
    return WEFT_CONTINUE;
}

START_TEST(what_is_read_ahead_is_bounded_all_the_time) {
    weft_stream_options stream = {.receive_ahead = 64 * KIB};
    struct line model = {.handler = handle_with_pauses};
    struct gate *gate = gate_make(&model);
    struct net net;
    weft_config config = net_config(1);
    config.io_buffers = 16;
    config.io_buffer_bytes = 4096;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    int fd = far_connect(net_listen(&net, gate, &stream));
    far_write(fd, 0, 2 * MIB);
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_uint_eq(line_closed(&gate->lines[0], 0).bytes, 2 * MIB);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- pausing ----------------------------------------------------------------------------------- */

static void do_pause(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_pause(ctx);
}

static void do_resume(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_resume(ctx);
}

START_TEST(a_paused_connection_reads_when_it_is_resumed) {
    weft_stream_options stream = {.flags = WEFT_STREAM_PAUSED};
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    int fd = far_connect(net_listen(&net, gate, &stream));
    struct line *line = &gate->lines[0];
    far_write(fd, 0, 1000);
    (void)line_open(line);
    sleep_ns(50 * MS_NS);
    ck_assert_uint_eq(line_now(line).bytes, 0);
    uint64_t position = 1000;
    for (uint32_t i = 0; i < 50; i++) { /* also faster than the driver can follow */
        line_do(&net, line, do_resume);
        if (i % 2 == 0) {
            eventually(line_now(line).bytes == position);
        }
        line_do(&net, line, do_pause);
        line_do(&net, line, do_resume);
        line_do(&net, line, do_pause);
        if (i % 10 == 0) {
            sleep_ns(20 * MS_NS); /* what was under way has come */
            uint64_t bytes = line_now(line).bytes;
            far_write(fd, position, 3000);
            position += 3000;
            sleep_ns(20 * MS_NS);
            ck_assert_uint_eq(line_now(line).bytes, bytes);
        }
    }
    line_do(&net, line, do_resume);
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_uint_eq(line_closed(line, 0).bytes, position);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- messages that are kept -------------------------------------------------------------------- */

static void keeper_check(const struct keeper *keeper) {
    for (uint32_t i = 0; i < keeper->count; i++) {
        pattern_check(weft_msg_data(keeper->kept[i]), keeper->positions[i],
                      weft_msg_size(keeper->kept[i]));
    }
}

static int handle_keeps(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    struct keeper *keeper = line->user;
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_DATA) {
        uint64_t position = keeper->position;
        keeper->position += weft_msg_size(msg);
        if (keeper->count < KEPT) {
            keeper->positions[keeper->count] = position;
            keeper->kept[keeper->count++] = weft_msg_take(ctx, msg);
        }
    } else if (tag == WEFT_IO_END) {
        keeper_check(keeper);
        for (uint32_t i = 0; line->number == 0 && i < keeper->count; i++) {
            weft_msg_release(ctx, &keeper->kept[i]);
        }
    }
    return WEFT_CONTINUE;
}

/* line->number 0: released by hand; else left for the runtime when the actor ends. */
START_TEST(kept_bytes_stay_what_they_were) {
    for (uint32_t left = 0; left < 2; left++) {
        struct keeper keeper = {0};
        struct line model = {.handler = handle_keeps, .user = &keeper, .number = left};
        struct gate *gate = gate_make(&model);
        struct net net;
        if (!net_start(&net, _i, 1)) {
            return;
        }
        int fd = far_connect(net_listen(&net, gate, NULL));
        far_write(fd, 0, 5 * MIB);
        far_shut(fd);
        far_end(fd);
        ck_assert_int_eq(close(fd), 0);
        ck_assert_uint_eq(line_closed(&gate->lines[0], 0).bytes, 5 * MIB);
        ck_assert_uint_gt(keeper.count, 10);
        eventually(rig_gauges(&net.rig).buffers == 0);
        net_stop(&net);
        free(gate);
    }
}
END_TEST

/* A hoarder that keeps all it gets, however many buffers that would be: others go on. */
struct hoard {
    weft_msg *kept[20000];
    uint32_t count;
};

static int handle_hoards(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    struct hoard *hoard = line->user;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        ck_assert_uint_lt(hoard->count, 20000);
        hoard->kept[hoard->count++] = weft_msg_take(ctx, msg);
    }
    return WEFT_CONTINUE;
}

START_TEST(who_keeps_everything_starves_nobody) {
    struct hoard *hoard = calloc(1, sizeof(*hoard));
    struct line model = {.handler = handle_hoards, .user = hoard};
    struct gate *gate = gate_make(&model);
    gate->lines[1].handler = line_echo;
    struct net net;
    weft_config config = net_config(1);
    config.io_buffers = 16;
    config.io_buffer_bytes = 4096;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    uint16_t port = net_listen(&net, gate, NULL);
    int fd = far_connect(port);
    (void)line_open(&gate->lines[0]);
    int other = far_connect(port);
    far_write(fd, 0, 4 * MIB);
    eventually(line_now(&gate->lines[0]).bytes == 4 * MIB);
    far_write(other, 0, 100000);
    far_read(other, 0, 100000);
    ck_assert_uint_gt(rig_stats(&net.rig).io_copied, 3 * MIB);
    ck_assert_int_eq(close(fd), 0);
    (void)line_closed(&gate->lines[0], 0); /* and what it kept is let go */
    eventually(rig_gauges(&net.rig).buffers == 0);
    far_write(other, 100000, 100000);
    far_read(other, 100000, 100000);
    ck_assert_int_eq(close(other), 0);
    (void)line_over(&gate->lines[1]);
    net_stop(&net);
    free(gate);
    free(hoard);
}
END_TEST

/* ---- bytes that are passed on ------------------------------------------------------------------ */

enum { TAG_SLICE = 5 };

/* line->user: the puppet that gets them; line->number: bytes a slice. */
static int handle_forwards(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_DATA) {
        return WEFT_CONTINUE;
    }
    const weft_pid *target = line->user;
    weft_buf *buf = weft_msg_buf(msg);
    size_t size = weft_msg_size(msg);
    const char *data = weft_msg_data(msg);
    if (buf == NULL) { /* few bytes are in the message itself */
        for (size_t at = 0; at < size; at += line->number) {
            size_t part = size - at < line->number ? size - at : line->number;
            ck_assert_int_eq(weft_send(ctx, *target, TAG_SLICE, data + at, part), 0);
        }
        return WEFT_CONTINUE;
    }
    size_t offset = (size_t)(data - (const char *)weft_buf_data(buf));
    for (size_t at = 0; at < size; at += line->number) {
        size_t part = size - at < line->number ? size - at : line->number;
        ck_assert_int_eq(weft_send_buf(ctx, *target, TAG_SLICE, buf, offset + at, part), 0);
    }
    return WEFT_CONTINUE;
}

/* Checks them, in order, and keeps them all when gate is 0. */
static int probe_slices(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    uint64_t *position = probe->user;
    pattern_check(weft_msg_data(msg), *position, weft_msg_size(msg));
    *position += weft_msg_size(msg);
    if (weft_load32_acquire(&probe->gate) == 0) {
        (void)weft_msg_take(ctx, msg);
    }
    (void)weft_add32_acq_rel(&probe->inside, (uint32_t)weft_msg_size(msg));
    return WEFT_CONTINUE;
}

static weft_pid spawn_slices(struct net *net, struct probe *probe, uint32_t scheduler) {
    weft_type_def def = puppet_def("slices");
    def.mailbox_max = WEFT_MAILBOX_UNBOUNDED;
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &probe,
                                  .arg_size = sizeof(struct probe *),
                                  .scheduler = scheduler,
                                  .pin = true};
    weft_pid pid;
    ck_assert_int_eq(
        weft_runtime_spawn(net->rig.runtime, rig_type(&net->rig, &def), &options, &pid), 0);
    return pid;
}

/* Whole receive buffers go to an actor on another scheduler and come home from there. */
START_TEST(buffers_go_to_another_scheduler_and_come_home) {
    uint64_t position = 0;
    struct probe probe = PROBE_INIT;
    probe.handler = probe_slices;
    probe.user = &position;
    probe.counts_only = true;
    weft_store32_release(&probe.gate, 1); /* keeps nothing */
    weft_pid target;
    struct line model = {.handler = handle_forwards, .user = &target, .number = MIB};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    target = spawn_slices(&net, &probe, 2);
    weft_listen_options options = listen_options(&net, &gate);
    options.scheduler = 1;
    int fd = far_connect(net_listen_with(&net, &options, NULL));
    far_write(fd, 0, 10 * MIB);
    eventually(weft_load32_acquire(&probe.inside) == 10 * MIB);
    eventually(rig_gauges(&net.rig).buffers == 0);
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    (void)line_closed(&gate->lines[0], 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* Small slices that are kept do not keep the buffers they came in. */
START_TEST(small_slices_that_are_kept_hold_no_buffer) {
    uint64_t position = 0;
    struct probe probe = PROBE_INIT;
    probe.handler = probe_slices;
    probe.user = &position;
    probe.counts_only = true;
    weft_pid target;
    struct line model = {.handler = handle_forwards, .user = &target, .number = SLICE};
    struct gate *gate = gate_make(&model);
    gate->lines[1].handler = line_echo;
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    target = spawn_slices(&net, &probe, 2);
    weft_listen_options options = listen_options(&net, &gate);
    options.scheduler = 1;
    uint16_t port = net_listen_with(&net, &options, NULL);
    int fd = far_connect(port);
    (void)line_open(&gate->lines[0]);
    far_write(fd, 0, (size_t)SLICES * SLICE);
    eventually(weft_load32_acquire(&probe.inside) == SLICES * SLICE);
    eventually(rig_gauges(&net.rig).buffers == 0);
    ck_assert_uint_ge(rig_gauges(&net.rig).messages, SLICES); /* they are kept */
    int other = far_connect(port);
    far_write(other, 0, 200000);
    far_read(other, 0, 200000);
    ck_assert_int_eq(close(other), 0);
    ck_assert_int_eq(close(fd), 0);
    (void)line_over(&gate->lines[1]);
    (void)line_closed(&gate->lines[0], 0);
    ck_assert_int_eq(weft_runtime_stop_actor(net.rig.runtime, target, 0), 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* An echo that does not copy: slices of what was received, and one buffer of its own to everybody. */
static int handle_slices_back(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    uint32_t tag = weft_msg_kind(msg) == WEFT_MSG_IO ? weft_msg_tag(msg) : 0;
    if (tag == WEFT_IO_OPEN) {
        weft_buf *shared = line->user;
        ck_assert_int_ge(weft_stream_write_buf(ctx, shared, 0, weft_buf_size(shared)), 0);
    }
    weft_buf *buf = tag == WEFT_IO_DATA ? weft_msg_buf(msg) : NULL;
    if (buf == NULL) {
        return line_echo(ctx, line, msg);
    }
    size_t offset = (size_t)((const char *)weft_msg_data(msg) - (const char *)weft_buf_data(buf));
    ck_assert_int_ge(weft_stream_write_buf(ctx, buf, offset, weft_msg_size(msg)), 0);
    return WEFT_CONTINUE;
}

static void count_free(void *data, size_t size, void *cookie) {
    (void)size;
    free(data);
    (void)weft_add32_acq_rel(cookie, 1);
}

START_TEST(shared_buffers_are_sent_without_copies_and_freed_once) {
    enum { PEERS = 6, SHARED = 500000 };
    weft_atomic_u32 freed = {0};
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    unsigned char *bytes = malloc(SHARED);
    pattern_fill(bytes, 0, SHARED);
    weft_buf *shared = NULL;
    ck_assert_int_eq(weft_buf_wrap(net.rig.runtime, bytes, SHARED, count_free, &freed, &shared), 0);
    struct line model = {.handler = handle_slices_back, .user = shared};
    struct gate *gate = gate_make(&model);
    uint16_t port = net_listen(&net, gate, NULL);
    int fds[PEERS];
    for (uint32_t i = 0; i < PEERS; i++) {
        fds[i] = far_connect(port);
        (void)line_open(&gate->lines[i]);
    }
    weft_buf_unref(shared);
    for (uint32_t i = 0; i < PEERS; i++) {
        far_read(fds[i], 0, SHARED);
        for (uint64_t at = 0; at < 4; at++) {
            far_write(fds[i], at * 100000, 100000);
            far_read(fds[i], at * 100000, 100000);
        }
        ck_assert_int_eq(close(fds[i]), 0);
        (void)line_over(&gate->lines[i]);
    }
    eventually(weft_load32_acquire(&freed) == 1);
    net_stop(&net);
    free(gate);
}
END_TEST

static Suite *flow_suite(void) {
    Suite *suite = suite_create("stream_flow");
    TCase *flow = tcase_create("flow");
    tcase_add_loop_test(flow, full_and_writable_come_at_the_marks, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, nothing_of_a_refused_write_is_sent, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, a_peer_that_does_not_read_is_read_no_further, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, reading_goes_on_above_the_mark_only_when_asked_for, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, a_slow_handler_is_not_run_over, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, what_is_read_ahead_is_bounded_all_the_time, 0, NET_DRIVERS);
    tcase_add_loop_test(flow, a_paused_connection_reads_when_it_is_resumed, 0, NET_DRIVERS);
    suite_add_tcase(suite, flow);
    TCase *messages = tcase_create("messages");
    tcase_add_loop_test(messages, kept_bytes_stay_what_they_were, 0, NET_DRIVERS);
    tcase_add_loop_test(messages, who_keeps_everything_starves_nobody, 0, NET_DRIVERS);
    tcase_add_loop_test(messages, buffers_go_to_another_scheduler_and_come_home, 0, NET_DRIVERS);
    tcase_add_loop_test(messages, small_slices_that_are_kept_hold_no_buffer, 0, NET_DRIVERS);
    tcase_add_loop_test(messages, shared_buffers_are_sent_without_copies_and_freed_once, 0,
                        NET_DRIVERS);
    suite_add_tcase(suite, messages);
    return suite;
}

int main(void) {
    return run_suite(flow_suite());
}
