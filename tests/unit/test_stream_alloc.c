/* SPDX-License-Identifier: MIT
 *
 * Want of memory while connections are accepted, made, used and closed: the n-th request for memory
 * fails, for every n, alone and with all further ones for a while. Nothing crashes, hangs or leaks;
 * both ends of every connection come to an end.
 */
#include "stream_support.h"

#include <stdatomic.h>

/* ---- memory that runs out -------------------------------------------------------------------- */

struct memory {
    _Atomic uint64_t requests;
    _Atomic uint64_t fail_at; /* 0: never */
    bool fail_further;
    _Atomic uint64_t failed;
    _Atomic int64_t blocks;
    _Atomic int64_t bytes;
};

struct header {
    _Alignas(64) size_t size;
    const char *tag;
};

static bool fails(struct memory *memory) {
    uint64_t number = atomic_fetch_add(&memory->requests, 1) + 1;
    uint64_t fail_at = atomic_load(&memory->fail_at);
    bool fail = fail_at != 0 && (number == fail_at || (memory->fail_further && number > fail_at));
    if (fail) {
        atomic_fetch_add(&memory->failed, 1);
    }
    return fail;
}

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    struct memory *memory = cookie;
    if (fails(memory)) {
        return NULL;
    }
    struct header *header = aligned_alloc(64, (sizeof(*header) + size + 63) & ~(size_t)63);
    ck_assert_ptr_nonnull(header);
    *header = (struct header){.size = size, .tag = tag};
    memset(header + 1, 0xa5, size);
    atomic_fetch_add(&memory->blocks, 1);
    atomic_fetch_add(&memory->bytes, (int64_t)size);
    return header + 1;
}

static void memory_free(void *cookie, void *block, size_t size, const char *tag) {
    struct memory *memory = cookie;
    struct header *header = (struct header *)block - 1;
    ck_assert_msg(header->size == size && strcmp(header->tag, tag) == 0,
                  "%zu bytes of %s freed as %zu of %s", header->size, header->tag, size, tag);
    atomic_fetch_sub(&memory->blocks, 1);
    atomic_fetch_sub(&memory->bytes, (int64_t)size);
    memset(block, 0x5a, size);
    free(header);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)size;
    (void)tag;
    return fails(cookie) ? -ENOMEM : 0;
}

/* ---- the scenario ---------------------------------------------------------------------------- */

enum { BYTES = 20000 };

struct run {
    struct memory memory;
    struct net net;
    struct gate *gate;
    struct line connecting; /* until the runtime is destroyed: terminate comes late */
    bool tolerant;          /* something fails: results may be errors */
    atomic_bool over;
};

static bool accept_result(const struct run *run, int result) {
    ck_assert_msg(result == 0 || run->tolerant, "answered %s", weft_strerror(result));
    ck_assert_msg(result == 0 || result == -ENOMEM || result == WEFT_E_LIMIT, "answered %s",
                  weft_strerror(result));
    return result == 0;
}

/* As line_echo and line_pumps, but a write may fail. */
static int echo_tolerant(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_DATA) {
        int result = weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
        ck_assert(result >= 0 || result == -EPIPE || result == -ENOMEM);
    }
    return WEFT_CONTINUE;
}

static int pump_tolerant(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)line;
    if (weft_msg_kind(msg) != WEFT_MSG_IO || weft_msg_tag(msg) != WEFT_IO_OPEN) {
        return WEFT_CONTINUE;
    }
    weft_buf *buf = NULL;
    if (weft_buf_create(weft_runtime_of(ctx), BYTES / 2, &buf) != 0) {
        return -ENOMEM;
    }
    pattern_fill(weft_buf_data(buf), 0, BYTES / 2);
    int result = weft_stream_write_buf(ctx, buf, 0, BYTES / 2);
    weft_buf_unref(buf);
    unsigned char bytes[BYTES / 2];
    pattern_fill(bytes, BYTES / 2, sizeof(bytes));
    result = result < 0 ? result : weft_stream_write(ctx, bytes, sizeof(bytes));
    ck_assert(result >= 0 || result == -EPIPE || result == -ENOMEM);
    result = weft_stream_end(ctx);
    ck_assert(result == 0 || result == -ENOTCONN);
    return WEFT_CONTINUE;
}

/* A plain client; whatever becomes of its connection, it is something. */
static void run_far(struct run *run, uint16_t port) {
    unsigned char bytes[BYTES];
    int fd = far_open(0);
    struct sockaddr_in address = far_address(port);
    int result = far_join(fd, &address, sizeof(address));
    ck_assert(result == 0 || (run->tolerant && (result == -ECONNREFUSED || result == -ECONNRESET)));
    if (result == 0) {
        pattern_fill(bytes, 0, sizeof(bytes));
        (void)far_send(fd, bytes, sizeof(bytes)); /* it may have been reset */
        (void)shutdown(fd, SHUT_WR);
        uint64_t count = 0;
        ssize_t done;
        while ((done = far_recv(fd, bytes, sizeof(bytes))) > 0) {
            pattern_check(bytes, count, (size_t)done);
            count += (uint64_t)done;
        }
        ck_assert_msg(done == 0 || errno == ECONNRESET, "hangs: %s", strerror(errno));
        ck_assert(run->tolerant || (done == 0 && count == BYTES));
    }
    ck_assert_int_eq(close(fd), 0);
}

static void check_line(struct line *line) {
    struct line now = line_now(line);
    ck_assert_uint_le(now.events[WEFT_IO_CLOSED], 1);
    ck_assert_uint_le(now.ends, now.inits);
}

/* A connection of weft to itself, by name. */
static void run_connect(struct run *run, uint16_t port) {
    struct line *line = &run->connecting;
    line->handler = pump_tolerant;
    struct line_arg arg = line_arg(line);
    char text[64];
    snprintf(text, sizeof(text), "localhost:%u", port);
    weft_connect_options options = connect_options(&run->net, text);
    options.arg = &arg;
    options.arg_size = sizeof(arg.bytes);
    weft_pid pid;
    if (accept_result(run, weft_runtime_connect(run->net.rig.runtime, &options, &pid))) {
        eventually(!is_alive(&run->net.rig, pid));
        if (!run->tolerant) {
            ck_assert_uint_eq(line_closed(line, 0).bytes, BYTES);
        }
    }
}

/* Memory is out from the first failure on, for a few milliseconds. */
static void *give_memory_back(void *arg) {
    struct run *run = arg;
    while (atomic_load(&run->memory.failed) == 0 && !atomic_load(&run->over)) {
        sleep_ns(MS_NS / 10);
    }
    sleep_ns(5 * MS_NS);
    atomic_store(&run->memory.fail_at, 0);
    return NULL;
}

static void run_inside(struct run *run) {
    weft_type_def def = line_def();
    if (!accept_result(run, weft_type_register(run->net.rig.runtime, &def, &run->net.type)) ||
        !accept_result(run, weft_runtime_start(run->net.rig.runtime))) {
        return;
    }
    weft_listen_options options = listen_options(&run->net, &run->gate);
    weft_address address;
    if (!accept_result(run, weft_listen(run->net.rig.runtime, &options, NULL, &address))) {
        return;
    }
    run_far(run, address.port);
    run_connect(run, address.port);
}

/* Runs the scenario; how many requests for memory it made. UINT64_MAX: there is no such driver. */
static uint64_t scenario(int number, uint64_t fail_at, bool fail_further) {
    struct run *run = calloc(1, sizeof(*run));
    ck_assert_ptr_nonnull(run);
    struct line model = {.handler = echo_tolerant};
    run->gate = gate_make(&model);
    line_make(&run->connecting);
    run->tolerant = fail_at != 0;
    atomic_store(&run->memory.fail_at, fail_at);
    run->memory.fail_further = fail_further;
    weft_config config = net_config(2);
    config.io_driver = number == 0 ? WEFT_IO_DRIVER_URING : WEFT_IO_DRIVER_EPOLL;
    config.io_buffers = 8;
    config.io_buffer_bytes = 4096;
    config.ring_size = 16;
    config.blocking_threads = 1;
    config.allocator = (weft_allocator){.cookie = &run->memory,
                                        .alloc = memory_alloc,
                                        .free = memory_free,
                                        .commit = memory_commit};
    pthread_t thread;
    if (fail_further) {
        ck_assert_int_eq(pthread_create(&thread, NULL, give_memory_back, run), 0);
    }
    uint64_t requests = UINT64_MAX;
    int result = weft_runtime_create(&config, &run->net.rig.runtime);
    if (result == 0) {
        run_inside(run);
        atomic_store(&run->memory.fail_at, 0);
        ck_assert_int_eq(weft_runtime_stop(run->net.rig.runtime, 20 * S_NS), 0);
        weft_gauges gauges = rig_gauges(&run->net.rig);
        ck_assert_uint_eq(gauges.actors + gauges.messages + gauges.buffers + gauges.io_open, 0);
        for (uint32_t i = 0; i < gate_count(run->gate); i++) {
            check_line(&run->gate->lines[i]);
        }
        check_line(&run->connecting);
        ck_assert_int_eq(weft_runtime_destroy(&run->net.rig.runtime), 0);
    }
    if (result != 0 && result != -ENOMEM) {
        ck_assert_int_eq(number, 0);
        skip_uring(result);
    } else {
        requests = atomic_load(&run->memory.requests);
    }
    atomic_store(&run->over, true);
    if (fail_further) {
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    ck_assert_int_eq(atomic_load(&run->memory.blocks), 0);
    ck_assert_int_eq(atomic_load(&run->memory.bytes), 0);
    free(run->gate);
    free(run);
    return requests;
}

START_TEST(connections_work_with_enough_memory) {
    uint64_t requests = scenario(_i, 0, false);
    ck_assert(requests == UINT64_MAX || requests > 40);
}
END_TEST

/* The number of requests differs from run to run: go on until none failed in three. */
static void fail_each(int number, bool fail_further) {
    uint32_t fds = count_fds();
    uint32_t passed = 0;
    for (uint64_t n = 1; passed < 3; n++) {
        ck_assert_uint_lt(n, 1000);
        passed = scenario(number, n, fail_further) < n ? passed + 1 : 0;
        if (n == 1 && scenario(number, 0, false) == UINT64_MAX) {
            return;
        }
    }
    ck_assert_uint_eq(count_fds(), fds);
}

START_TEST(every_single_failure_ends_well) {
    fail_each(_i, false);
}
END_TEST

START_TEST(memory_that_is_out_for_a_while_ends_well) {
    fail_each(_i, true);
}
END_TEST

static Suite *alloc_suite(void) {
    Suite *suite = suite_create("stream_alloc");
    TCase *memory = tcase_create("memory");
    tcase_set_timeout(memory, 300);
    tcase_add_loop_test(memory, connections_work_with_enough_memory, 0, NET_DRIVERS);
    tcase_add_loop_test(memory, every_single_failure_ends_well, 0, NET_DRIVERS);
    tcase_add_loop_test(memory, memory_that_is_out_for_a_while_ends_well, 0, NET_DRIVERS);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void) {
    return run_suite(alloc_suite());
}
