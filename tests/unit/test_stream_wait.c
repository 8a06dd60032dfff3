/* SPDX-License-Identifier: MIT
 *
 * Processes that write as they read: weft_stream_write_wait on both drivers, plain and over TLS. The
 * far end is a line that reads slowly, or not at all before it is told to. And what a process puts
 * aside while it waits: it is read no further, and the peer's end does not overtake it.
 */
#include "tests/unit/stream_support.h"

#include <weft/process.h>

enum {
    CASES = 2 * NET_DRIVERS,
    HIGH = 16384,
    SLACK = 4096,     /* of records */
    LARGE = 24 << 20, /* more than the kernel takes for a reader that does not read */
    OTHERS = 50,
    TAG_LAST = OTHERS,
};

struct writer {
    /* set by the test before */
    uint64_t bytes;
    size_t piece;
    uint64_t timeout_ns;
    bool waits_for_request;
    unsigned char *data; /* the pattern, all of it */
    /* its actor only, until done */
    uint64_t written;
    int result; /* of the write that failed, or 0 */
    uint64_t queued_max;
    uint32_t events[EVENT_MAX];
    int closed; /* the status of CLOSED */
    uint32_t others;
    bool in_order;
    weft_atomic_u32 begun;
    weft_atomic_u32 failed;
    weft_atomic_u32 done;
};

struct scene {
    struct net net;
    weft_tls *tls;
    struct gate *gate;
    struct writer writer;
    weft_pid pid;
};

/* ---- the writer ---------------------------------------------------------------------------- */

/* From where it is to the end; stops at the first that fails. */
static int write_rest(weft_ctx *ctx, struct writer *writer, uint64_t timeout_ns) {
    int result = 0;
    while (result == 0 && writer->written < writer->bytes) {
        uint64_t left = writer->bytes - writer->written;
        size_t size = left < writer->piece ? (size_t)left : writer->piece;
        size_t done = SIZE_MAX;
        result =
            weft_stream_write_wait(ctx, writer->data + writer->written, size, timeout_ns, &done);
        ck_assert(result == 0 ? done == size : done < size);
        writer->written += done;
        weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
        if (weft_stream_inspect(ctx, &info) == 0 && info.queued > writer->queued_max) {
            writer->queued_max = info.queued;
        }
    }
    return result;
}

/* Takes one message; false: none came for some time, or it was the last. */
static bool take_one(weft_ctx *ctx, struct writer *writer) {
    weft_msg *msg;
    if (weft_receive(ctx, 10 * S_NS, &msg) != 0) {
        return false;
    }
    if (weft_msg_kind(msg) == WEFT_MSG_IO) {
        writer->events[weft_msg_tag(msg)]++;
        writer->closed = weft_msg_status(msg);
        return weft_msg_tag(msg) != WEFT_IO_CLOSED;
    }
    if (weft_msg_kind(msg) == WEFT_MSG_USER) {
        writer->in_order = writer->in_order && weft_msg_tag(msg) == ++writer->others;
    }
    return weft_msg_kind(msg) != WEFT_MSG_USER || weft_msg_tag(msg) != TAG_LAST;
}

static int write_all(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct writer *writer = NULL;
    weft_msg *msg = NULL;
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(struct line *) + 1);
    memcpy(&writer, arg, sizeof(writer));
    while (writer->waits_for_request && (msg == NULL || weft_msg_kind(msg) != WEFT_MSG_REQUEST)) {
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    }
    weft_store32_release(&writer->begun, 1);
    int result = write_rest(ctx, writer, writer->timeout_ns);
    writer->result = result;
    weft_store32_release(&writer->failed, 1);
    if (result == -ETIMEDOUT && !writer->waits_for_request) {
        ck_assert_int_eq(write_rest(ctx, writer, 0), -ETIMEDOUT);
        result = write_rest(ctx, writer, WEFT_FOREVER); /* goes on where it was */
        ck_assert_int_eq(result, 0);
    }
    if (result == 0) {
        ck_assert_int_eq(weft_stream_write_wait(ctx, NULL, 1, 0, NULL), -EINVAL);
        ck_assert_int_eq(weft_stream_write_wait(ctx, NULL, 0, 0, NULL), 0);
        ck_assert_int_eq(weft_stream_end(ctx), 0);
        ck_assert_int_eq(weft_stream_write_wait(ctx, "x", 1, WEFT_FOREVER, NULL), -EPIPE);
    }
    while (!writer->waits_for_request && take_one(ctx, writer)) {
    }
    weft_store32_release(&writer->done, 1);
    return WEFT_STOP;
}

/* ---- the scene ----------------------------------------------------------------------------- */

static void scene_connect(struct scene *scene, uint16_t port) {
    struct line_arg arg = line_arg((struct line *)(void *)&scene->writer);
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT, .name = "writer", .process = write_all};
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    weft_connect_options connect = {.struct_size = WEFT_CONNECT_OPTIONS_INIT,
                                    .address = address,
                                    .type = rig_type(&scene->net.rig, &def),
                                    .arg = &arg,
                                    .arg_size = sizeof(arg.bytes),
                                    .tls = scene->tls,
                                    .tls_name = "server.test",
                                    .stream = {.send_high = HIGH, .send_max = HIGH}};
    ck_assert_int_eq(weft_runtime_connect(scene->net.rig.runtime, &connect, &scene->pid), 0);
}

/* The reader is paused, or does what handler does. False: there is no such driver, or no TLS. */
static bool scene_set(struct scene *scene, int number, line_fn handler,
                      const struct writer *writer) {
    bool secure = number / NET_DRIVERS == 1;
    *scene = (struct scene){.writer = *writer};
    if ((secure && strcmp(weft_tls_library(), "none") == 0) ||
        !net_start(&scene->net, number % NET_DRIVERS, 2)) {
        return false;
    }
    if (secure) {
        weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT,
                                    .self_name = "server.test",
                                    .verify = WEFT_TLS_VERIFY_NONE};
        ck_assert_int_eq(weft_tls_create(scene->net.rig.runtime, &options, &scene->tls, NULL), 0);
    }
    scene->writer.in_order = true;
    scene->writer.data = malloc(writer->bytes);
    ck_assert_ptr_nonnull(scene->writer.data);
    pattern_fill(scene->writer.data, 0, writer->bytes);
    struct line model = {.handler = handler};
    scene->gate = gate_make(&model);
    weft_listen_options listen = listen_options(&scene->net, &scene->gate);
    listen.tls = scene->tls;
    listen.stream.flags = handler == NULL ? WEFT_STREAM_PAUSED : 0;
    listen.stream.receive_ahead = HIGH;
    scene_connect(scene, net_listen_with(&scene->net, &listen, NULL));
    return true;
}

static struct line *scene_reader(struct scene *scene) {
    eventually(gate_count(scene->gate) == 1);
    return &scene->gate->lines[0];
}

static void scene_clear(struct scene *scene) {
    weft_tls_unref(scene->tls);
    net_stop(&scene->net);
    free(scene->writer.data);
    free(scene->gate);
}

static void do_resume(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_resume(ctx);
}

/* Nothing moves any more: the writer waits. */
static void until_stuck(struct scene *scene) {
    eventually(weft_load32_acquire(&scene->writer.begun) == 1);
    uint64_t before;
    uint64_t now = rig_stats(&scene->net.rig).io_sent;
    do { /* bounded by what the kernel takes */
        before = now;
        sleep_ns(100 * MS_NS);
        now = rig_stats(&scene->net.rig).io_sent;
    } while (now == 0 || now != before);
    ck_assert_uint_eq(weft_load32_acquire(&scene->writer.failed), 0);
}

static int reads_slowly(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)ctx;
    (void)line;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        sleep_ns(20000);
    }
    return WEFT_CONTINUE;
}

/* All has come, in order and well, and the connection has ended well. */
static void check_all(struct scene *scene) {
    struct line *reader = scene_reader(scene);
    eventually(weft_load32_acquire(&scene->writer.done) == 1);
    eventually(line_now(reader).ends == 1);
    ck_assert_uint_eq(scene->writer.written, scene->writer.bytes);
    ck_assert_uint_eq(line_now(reader).bytes, scene->writer.bytes);
    ck_assert_int_eq(line_now(reader).status, 0);
    ck_assert_uint_le(scene->writer.queued_max, HIGH + SLACK);
    ck_assert_uint_gt(scene->writer.queued_max, 0);
}

/* ---- tests --------------------------------------------------------------------------------- */

START_TEST(ten_megabytes_pass_through_a_small_queue) {
    static const size_t pieces[] = {10 << 20, 1000, 70001};
    for (uint32_t i = 0; i < 3; i++) {
        struct scene scene;
        struct writer writer = {
            .bytes = 10 << 20, .piece = pieces[i], .timeout_ns = i == 0 ? WEFT_FOREVER : 60 * S_NS};
        if (!scene_set(&scene, _i, reads_slowly, &writer)) {
            return;
        }
        check_all(&scene);
        ck_assert_int_eq(scene.writer.result, 0);
        ck_assert_uint_eq(scene.writer.events[WEFT_IO_WRITABLE], 0);
        ck_assert_uint_eq(scene.writer.events[WEFT_IO_OPEN], 1);
        ck_assert_uint_eq(scene.writer.events[WEFT_IO_CLOSED], 1);
        scene_clear(&scene);
    }
}
END_TEST

START_TEST(a_timeout_tells_how_much_was_written) {
    struct scene scene;
    struct writer writer = {.bytes = LARGE, .piece = LARGE, .timeout_ns = 700 * MS_NS};
    if (!scene_set(&scene, _i, NULL, &writer)) {
        return;
    }
    eventually(weft_load32_acquire(&scene.writer.failed) == 1);
    ck_assert_int_eq(scene.writer.result, -ETIMEDOUT);
    line_do(&scene.net, scene_reader(&scene), do_resume);
    check_all(&scene);
    scene_clear(&scene);
}
END_TEST

START_TEST(a_reset_ends_the_wait) {
    struct scene scene;
    struct writer writer = {.bytes = LARGE, .piece = LARGE, .timeout_ns = WEFT_FOREVER};
    if (!scene_set(&scene, _i, NULL, &writer)) {
        return;
    }
    until_stuck(&scene);
    line_do(&scene.net, scene_reader(&scene), do_abort);
    eventually(weft_load32_acquire(&scene.writer.done) == 1);
    ck_assert_int_eq(scene.writer.result, -EPIPE);
    ck_assert_int_eq(scene.writer.closed, -ECONNRESET);
    ck_assert_uint_eq(scene.writer.events[WEFT_IO_CLOSED], 1);
    ck_assert_uint_gt(scene.writer.written, 0);
    scene_clear(&scene);
}
END_TEST

START_TEST(who_waits_can_be_killed) {
    struct scene scene;
    struct writer writer = {.bytes = LARGE, .piece = LARGE, .timeout_ns = 600 * S_NS};
    if (!scene_set(&scene, _i, NULL, &writer)) {
        return;
    }
    until_stuck(&scene);
    ck_assert_int_eq(weft_runtime_kill_actor(scene.net.rig.runtime, scene.pid), 0);
    eventually(!is_alive(&scene.net.rig, scene.pid));
    ck_assert_uint_eq(weft_load32_acquire(&scene.writer.failed), 0);
    line_do(&scene.net, scene_reader(&scene), do_resume);
    eventually(line_now(scene_reader(&scene)).ends == 1);
    ck_assert_int_ne(line_now(scene_reader(&scene)).status, 0);
    scene_clear(&scene);
}
END_TEST

/* A request that the writer shall work for, with this time. */
struct ask {
    weft_pid pid;
    uint64_t timeout_ns;
    int result;
};

static void do_ask(weft_ctx *ctx, void *arg) {
    struct ask *ask = arg;
    ask->result = weft_call(ctx, ask->pid, 1, NULL, 0, ask->timeout_ns, 5);
}

static void do_give_up(weft_ctx *ctx, void *arg) {
    struct ask *ask = arg;
    ask->result = weft_call_cancel(ctx, 5);
}

START_TEST(the_wait_ends_with_the_request_it_is_for) {
    for (uint32_t i = 0; i < 4; i++) {
        bool cancels = i % 2 == 1;
        struct scene scene;
        struct probe probe = {.count = 0};
        struct writer writer = {.bytes = LARGE,
                                .piece = LARGE,
                                .waits_for_request = true,
                                .timeout_ns = i < 2 ? WEFT_FOREVER : 600 * S_NS};
        if (!scene_set(&scene, _i, NULL, &writer)) {
            return;
        }
        weft_pid caller = rig_spawn(&scene.net.rig, &probe);
        struct ask ask = {.pid = scene.pid, .timeout_ns = cancels ? 600 * S_NS : 600 * MS_NS};
        act(&scene.net.rig, caller, do_ask, &ask);
        ck_assert_int_eq(ask.result, 0);
        if (cancels) {
            until_stuck(&scene);
            act(&scene.net.rig, caller, do_give_up, &ask);
            ck_assert_int_eq(ask.result, 1);
        }
        eventually(weft_load32_acquire(&scene.writer.done) == 1);
        ck_assert_int_eq(scene.writer.result, cancels ? -ECANCELED : -ETIMEDOUT);
        ck_assert_uint_gt(scene.writer.written, 0);
        scene_clear(&scene);
        probe_fini(&probe);
    }
}
END_TEST

START_TEST(messages_of_others_keep_their_order) {
    struct scene scene;
    struct writer writer = {.bytes = LARGE, .piece = LARGE, .timeout_ns = WEFT_FOREVER};
    if (!scene_set(&scene, _i, NULL, &writer)) {
        return;
    }
    until_stuck(&scene);
    for (uint32_t tag = 1; tag <= OTHERS; tag++) {
        ck_assert_int_eq(weft_runtime_send(scene.net.rig.runtime, scene.pid, tag, NULL, 0), 0);
    }
    line_do(&scene.net, scene_reader(&scene), do_resume);
    check_all(&scene);
    ck_assert(scene.writer.in_order);
    ck_assert_uint_eq(scene.writer.others, OTHERS);
    ck_assert_uint_eq(scene.writer.events[WEFT_IO_WRITABLE], 0);
    scene_clear(&scene);
}
END_TEST

static void do_write_wait(weft_ctx *ctx, void *arg) {
    *(int *)arg = weft_stream_write_wait(ctx, "x", 1, WEFT_FOREVER, NULL);
}

static int write_without_stream(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_atomic_u32 *said;
    (void)state;
    ck_assert_uint_eq(arg_size, sizeof(said));
    memcpy(&said, arg, sizeof(said));
    size_t written = 1;
    int result = weft_stream_write_wait(ctx, "x", 1, WEFT_FOREVER, &written);
    ck_assert_uint_eq(written, 0);
    weft_store32_release(said, (uint32_t)-result);
    return WEFT_STOP;
}

static int write_in_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_stream_write_wait(ctx, "x", 1, WEFT_FOREVER, NULL), -EPERM);
    return WEFT_CONTINUE;
}

START_TEST(who_cannot_wait_is_told) {
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    struct gate *gate = gate_make(NULL);
    struct line line;
    line_make(&line);
    line.handler = line_ends;
    (void)net_connect(&net, net_listen(&net, gate, NULL), &line);
    int result = 0;
    ck_assert(line_act(&net, &line, do_write_wait, &result));
    ck_assert_int_eq(result, -EPERM);
    weft_atomic_u32 said;
    weft_store32_release(&said, 0);
    weft_atomic_u32 *arg = &said;
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "no_stream",
                         .init = write_in_init,
                         .process = write_without_stream};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &arg, .arg_size = sizeof(arg)};
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_spawn(net.rig.runtime, rig_type(&net.rig, &def), &options, &pid),
                     0);
    eventually(weft_load32_acquire(&said) == ENOTCONN);
    line_tell(&net, &line);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- what is put aside --------------------------------------------------------------------- */

struct sleeper {
    struct net net;
    uint64_t received; /* when it awoke */
    weft_atomic_u32 slept;
    weft_atomic_u64 bytes;
    weft_atomic_u32 answered;
};

/* Sleeps, and then reads: answers once, when it has read all. */
static int sleep_and_read(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct sleeper *sleeper = weft_type_cookie(weft_type_of(ctx));
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_int_eq(weft_sleep(ctx, 400 * MS_NS), 0);
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    ck_assert_int_eq(weft_stream_inspect(ctx, &info), 0);
    sleeper->received = info.received;
    weft_store32_release(&sleeper->slept, 1);
    weft_msg *msg;
    uint32_t tag = 0;
    while (tag != WEFT_IO_CLOSED) {
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        tag = weft_msg_tag(msg);
        bool first = weft_load64_relaxed(&sleeper->bytes) == 0;
        if (tag == WEFT_IO_DATA && first) {
            ck_assert_int_eq(weft_stream_write_wait(ctx, "yes", 3, S_NS, NULL), 0);
            weft_store32_release(&sleeper->answered, 1);
        }
        if (tag == WEFT_IO_DATA) {
            pattern_check(weft_msg_data(msg), weft_load64_relaxed(&sleeper->bytes),
                          weft_msg_size(msg));
            (void)weft_add64_acq_rel(&sleeper->bytes, weft_msg_size(msg));
        }
    }
    return WEFT_STOP;
}

static int sleeper_connect(struct sleeper *sleeper) {
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "sleeper",
                         .process = sleep_and_read,
                         .cookie = sleeper};
    weft_listen_options listen = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                  .address = "127.0.0.1:0",
                                  .type = rig_type(&sleeper->net.rig, &def),
                                  .stream = {.receive_ahead = HIGH}};
    return far_connect(net_listen_with(&sleeper->net, &listen, NULL));
}

/* How much a socket takes without waiting. */
static uint64_t far_fill(int fd) {
    unsigned char piece[PIECE_BYTES];
    uint64_t position = 0;
    uint64_t until_ns = clock_ns() + 300 * MS_NS;
    while (position < LARGE && clock_ns() < until_ns) {
        pattern_fill(piece, position, sizeof(piece));
        ssize_t done = send(fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        position += done > 0 ? (uint64_t)done : 0;
        if (done <= 0) {
            sleep_ns(MS_NS);
        }
    }
    return position;
}

START_TEST(a_process_that_does_not_receive_is_read_no_further) {
    static struct sleeper sleeper;
    sleeper = (struct sleeper){.received = 0};
    if (!net_start(&sleeper.net, _i, 1)) {
        return;
    }
    int fd = sleeper_connect(&sleeper);
    uint64_t sent = far_fill(fd);
    eventually(weft_load32_acquire(&sleeper.slept) == 1);
    ck_assert_uint_gt(sent, 1 << 20);
    ck_assert_uint_le(sleeper.received, 1 << 20);
    far_shut(fd);
    char answer[4] = "";
    ck_assert_int_eq(far_recv(fd, answer, 3), 3);
    eventually(weft_load64_acquire(&sleeper.bytes) == sent);
    ck_assert_int_eq(close(fd), 0);
    net_stop(&sleeper.net);
}
END_TEST

START_TEST(an_end_that_is_put_aside_does_not_close) {
    static struct sleeper sleeper;
    sleeper = (struct sleeper){.received = 0};
    if (!net_start(&sleeper.net, _i, 1)) {
        return;
    }
    int fd = sleeper_connect(&sleeper);
    far_write(fd, 0, 100);
    far_shut(fd);
    char answer[4] = "";
    ck_assert_int_eq(far_recv(fd, answer, 3), 3);
    ck_assert_int_eq(memcmp(answer, "yes", 3), 0);
    ck_assert_int_eq(far_recv(fd, answer, 3), 0);
    ck_assert_uint_eq(weft_load64_acquire(&sleeper.bytes), 100);
    ck_assert_int_eq(close(fd), 0);
    net_stop(&sleeper.net);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("stream_wait");
    TCase *cases = tcase_create("writing");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, ten_megabytes_pass_through_a_small_queue, 0, CASES);
    tcase_add_loop_test(cases, a_timeout_tells_how_much_was_written, 0, CASES);
    tcase_add_loop_test(cases, a_reset_ends_the_wait, 0, CASES);
    tcase_add_loop_test(cases, who_waits_can_be_killed, 0, CASES);
    tcase_add_loop_test(cases, the_wait_ends_with_the_request_it_is_for, 0, CASES);
    tcase_add_loop_test(cases, messages_of_others_keep_their_order, 0, CASES);
    tcase_add_loop_test(cases, who_cannot_wait_is_told, 0, NET_DRIVERS);
    tcase_add_loop_test(cases, a_process_that_does_not_receive_is_read_no_further, 0, NET_DRIVERS);
    tcase_add_loop_test(cases, an_end_that_is_put_aside_does_not_close, 0, NET_DRIVERS);
    suite_add_tcase(s, cases);
    return s;
}

int main(void) {
    return run_suite(suite());
}
