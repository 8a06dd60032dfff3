/* SPDX-License-Identifier: MIT
 *
 * Files as the program sees them, over both drivers of the operating system: with the ring, and
 * with helper threads. Every test works in a folder of its own and counts the descriptors that are
 * open before and after.
 */
#define _GNU_SOURCE
#include "file_support.h"

/* ---- what a file does ------------------------------------------------------------------------ */

START_TEST(opening_obeys_its_flags) {
    weft_config config = file_config(_i, 2);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    uint32_t before = open_descriptors();
    struct worker worker = worker_new(&rig);
    weft_file *file = NULL;
    const uint32_t both = WEFT_FILE_READ | WEFT_FILE_WRITE;
    const char *path = path_of("one");
    ck_assert_int_eq(open_file(&worker, path, both, &file), -ENOENT);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, "", both, &file), -ENOENT);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, place, WEFT_FILE_WRITE, &file), -EISDIR);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, path, both | WEFT_FILE_CREATE, &file), 0);
    ck_assert_int_eq(write_file(&worker, file, 0, "hello world"), 11);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777 & ~0644u, 0);
    close_file(&worker, &file);
    check_content(path, "hello world");
    ck_assert_int_eq(open_file(&worker, path, both | WEFT_FILE_CREATE | WEFT_FILE_EXCLUSIVE, &file),
                     -EEXIST);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_WRITE | WEFT_FILE_APPEND, &file), 0);
    ck_assert_int_eq(write_file(&worker, file, 0, "!"), 1);
    ck_assert_int_eq(write_file(&worker, file, UINT64_MAX, "?"), 1);
    close_file(&worker, &file);
    check_content(path, "hello world!?");
    ck_assert_int_eq(open_file(&worker, path, both | WEFT_FILE_TRUNCATE, &file), 0);
    check_content(path, "");
    ck_assert_int_eq(write_file(&worker, file, 3, "x"), 1);
    ck_assert_int_eq(read_file(&worker, file, 0, 100), 4);
    ck_assert_mem_eq(worker.desk->last, "\0\0\0x", 4);
    ck_assert_int_eq(finish(&worker, (struct call){.what = SYNC, .file = &file}), 0);
    close_file(&worker, &file);
    ck_assert_uint_eq(open_descriptors(), before);
    file_stop(&rig);
    worker_free(&worker);
    clean_up();
}
END_TEST

START_TEST(errors_of_the_file_system_are_told) {
    weft_config config = file_config(_i, 1);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    weft_file *file = NULL;
    (void)path_of("");
    ck_assert_int_eq(open_file(&worker, place, WEFT_FILE_READ, &file), 0);
    ck_assert_int_eq(read_file(&worker, file, 0, 100), -EISDIR);
    ck_assert_int_eq(read_file(&worker, file, 0, 100000), -EISDIR);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, "/dev/full", WEFT_FILE_WRITE, &file), 0);
    ck_assert_int_eq(write_file(&worker, file, 0, "x"), -ENOSPC);
    close_file(&worker, &file);
    file_stop(&rig);
    worker_free(&worker);
    clean_up();
}
END_TEST

START_TEST(reads_end_at_the_end_of_the_file) {
    static const size_t sizes[] = {0, 1, 16, 100, 200, 208, 209, 1000, 70000};
    weft_config config = file_config(_i, 1);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        weft_file *file = NULL;
        const char *path = make_file("some", sizes[i]);
        ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_READ, &file), 0);
        for (size_t at = 0; at <= sizes[i] + 2; at += sizes[i] / 3 + 1) {
            for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
                size_t left = at < sizes[i] ? sizes[i] - at : 0;
                size_t expected = left < sizes[j] ? left : sizes[j];
                ck_assert_int_eq(read_file(&worker, file, at, sizes[j]), (int)expected);
                ck_assert_uint_eq(worker.desk->size[worker.token], expected);
                for (size_t k = 0; k < expected && k < 256; k++) {
                    ck_assert_uint_eq(worker.desk->last[k], byte_at(at + k));
                }
            }
        }
        ck_assert_int_eq(read_file(&worker, file, INT64_MAX - 10, 10), 0);
        close_file(&worker, &file);
    }
    file_stop(&rig);
    worker_free(&worker);
    clean_up();
}
END_TEST

static void do_foreign(weft_ctx *ctx, void *arg) {
    weft_file *file = arg;
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 1, &buf), 0);
    ck_assert_int_eq(weft_file_read(ctx, file, 0, 1, 1), -EINVAL);
    ck_assert_int_eq(weft_file_write(ctx, file, 0, buf, 1), -EINVAL);
    ck_assert_int_eq(weft_file_sync(ctx, file, 1), -EINVAL);
    ck_assert_int_eq(weft_file_read(ctx, NULL, 0, 1, 1), -EINVAL);
    ck_assert_int_eq(weft_file_write(ctx, NULL, 0, buf, 1), -EINVAL);
    ck_assert_int_eq(weft_file_write(ctx, file, 0, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_file_sync(ctx, NULL, 1), -EINVAL);
    weft_file_close(ctx, NULL);
    weft_file *none = NULL;
    weft_file_close(ctx, &none);
    weft_buf_unref(buf);
}

START_TEST(what_makes_no_sense_is_refused) {
    weft_config config = file_config(_i, 1);
    config.message_bytes_max = 100000;
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    weft_file *file = NULL;
    static const uint32_t flags[] = {0,
                                     WEFT_FILE_CREATE,
                                     WEFT_FILE_READ | WEFT_FILE_TRUNCATE,
                                     WEFT_FILE_READ | WEFT_FILE_APPEND,
                                     WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_EXCLUSIVE,
                                     WEFT_FILE_READ | 64,
                                     UINT32_MAX};
    const char *path = make_file("some", 10);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        ck_assert_int_eq(open_file(&worker, path, flags[i], &file), -EINVAL);
    }
    ck_assert_int_eq(open_file(&worker, NULL, WEFT_FILE_READ, &file), -EINVAL);
    ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_READ, NULL), -EINVAL);
    char *name = malloc(5001);
    memset(name, 'x', 5000);
    name[5000] = '\0';
    ck_assert_int_eq(open_file(&worker, name, WEFT_FILE_READ, &file), -ENAMETOOLONG);
    name[300] = '\0';
    ck_assert_int_eq(open_file(&worker, name, WEFT_FILE_READ, &file), -ENAMETOOLONG); /* outcome */
    close_file(&worker, &file);
    free(name);
    ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_READ, &file), 0);
    ck_assert_int_eq(write_file(&worker, file, 0, "x"), -EINVAL);
    ck_assert_int_eq(read_file(&worker, file, 0, 100001), -EMSGSIZE);
    ck_assert_int_eq(read_file(&worker, file, 0, SIZE_MAX), -EMSGSIZE);
    ck_assert_int_eq(read_file(&worker, file, 0, 100000), 10);
    ck_assert_int_eq(read_file(&worker, file, UINT64_MAX, 1), -EINVAL);
    ck_assert_int_eq(read_file(&worker, file, INT64_MAX, 1), -EINVAL);
    struct worker other = worker_new(&rig);
    act(&rig, other.pid, do_foreign, file);
    close_file(&worker, &file);
    ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_WRITE, &file), 0);
    ck_assert_int_eq(read_file(&worker, file, 0, 1), -EINVAL);
    ck_assert_int_eq(write_file(&worker, file, UINT64_MAX, "x"), -EINVAL);
    file_stop(&rig);
    worker_free(&worker);
    worker_free(&other);
    clean_up();
}
END_TEST

/* ---- much at once ---------------------------------------------------------------------------- */

enum { TOTAL = 10 << 20, CHUNK = 16 << 10, CHUNKS = TOTAL / CHUNK };

struct bulk {
    struct desk *desk;
    weft_file *file;
    unsigned char *bytes;
    uint32_t order[CHUNKS];
    bool write;
};

static void do_bulk(weft_ctx *ctx, void *arg) {
    struct bulk *bulk = arg;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        uint64_t offset = (uint64_t)bulk->order[i] * CHUNK;
        bulk->desk->offsets[10 + i] = offset;
        if (!bulk->write) {
            ck_assert_int_eq(weft_file_read(ctx, bulk->file, offset, CHUNK, 10 + i), 0);
            continue;
        }
        weft_buf *buf = NULL;
        ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), CHUNK, &buf), 0);
        memcpy(weft_buf_data(buf), bulk->bytes + offset, CHUNK);
        ck_assert_int_eq(weft_file_write(ctx, bulk->file, offset, buf, 10 + i), 0);
        weft_buf_unref(buf);
    }
}

static void shuffle(uint32_t *order, uint32_t count) {
    uint64_t state = 12345;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (uint32_t i = count - 1; i > 0; i--) {
        state = state * UINT64_C(6364136223846793005) + 1;
        uint32_t other = (uint32_t)(state >> 33) % (i + 1);
        uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

START_TEST(ten_megabytes_in_random_order) {
    weft_config config = file_config(_i, 2);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    struct bulk *bulk = calloc(1, sizeof(*bulk));
    bulk->desk = worker.desk;
    bulk->bytes = malloc(TOTAL);
    for (uint32_t i = 0; i < TOTAL; i++) {
        bulk->bytes[i] = byte_at(i);
    }
    const uint32_t flags = WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE;
    ck_assert_int_eq(open_file(&worker, path_of("large"), flags, &bulk->file), 0);
    for (uint32_t turn = 0; turn < 2; turn++) {
        shuffle(bulk->order, CHUNKS);
        bulk->write = turn == 0;
        worker.desk->check_from = bulk->bytes;
        atomic_store(&worker.desk->outcomes, 0);
        act(&rig, worker.pid, do_bulk, bulk);
        eventually(atomic_load(&worker.desk->outcomes) == CHUNKS);
        for (uint32_t i = 0; i < CHUNKS; i++) {
            ck_assert_int_eq(worker.desk->status[10 + i], CHUNK);
            ck_assert_uint_eq(worker.desk->times[10 + i], turn + 1);
        }
    }
    memset(worker.desk->offsets, 0, sizeof(worker.desk->offsets));
    ck_assert_int_eq(read_file(&worker, bulk->file, 0, TOTAL + 5), TOTAL); /* in one piece */
    file_stop(&rig);
    free(bulk->bytes);
    free(bulk);
    worker_free(&worker);
    clean_up();
}
END_TEST

/* Many actors that move between schedulers, each with one operation after the other. */
struct chain {
    struct probe probe;
    weft_file *file;
    uint32_t turns;
    _Atomic bool over;
};

static int chain_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    struct chain *chain = probe->user;
    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        return WEFT_CONTINUE;
    }
    uint64_t token = weft_msg_token(msg);
    if (token != 0) {
        const unsigned char *bytes = weft_msg_data(msg);
        ck_assert_int_eq(weft_msg_status(msg), (int)(token % 700 + 1));
        ck_assert_uint_eq(bytes[0], byte_at(token * 13));
        ck_assert_uint_eq(bytes[token % 700], byte_at(token * 13 + token % 700));
    } else {
        ck_assert_int_eq(weft_msg_status(msg), 0);
    }
    if (++token > chain->turns) {
        weft_file_close(ctx, &chain->file);
        atomic_store(&chain->over, true);
        return WEFT_STOP;
    }
    ck_assert_int_eq(weft_file_read(ctx, chain->file, token * 13, token % 700 + 1, token), 0);
    return WEFT_CONTINUE;
}

struct chain_start {
    struct chain *chain;
    const char *path;
};

static void do_chain(weft_ctx *ctx, void *arg) {
    struct chain_start *start = arg;
    ck_assert_int_eq(weft_file_open(ctx, start->path, WEFT_FILE_READ, 0, &start->chain->file), 0);
}

START_TEST(actors_that_move_keep_their_files) {
    enum { ACTORS = 16 };
    weft_config config = file_config(_i, 4);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    uint32_t before = open_descriptors();
    struct chain *chains = calloc(ACTORS, sizeof(*chains));
    const char *path = make_file("some", 20000);
    for (uint32_t i = 0; i < ACTORS; i++) {
        pthread_mutex_init(&chains[i].probe.lock, NULL);
        chains[i].probe.counts_only = true;
        chains[i].probe.handler = chain_receive;
        chains[i].probe.user = &chains[i];
        chains[i].turns = 300;
        struct chain_start start = {.chain = &chains[i], .path = path};
        act(&rig, rig_spawn(&rig, &chains[i].probe), do_chain, &start);
    }
    for (uint32_t i = 0; i < ACTORS; i++) {
        eventually(atomic_load(&chains[i].over));
    }
    eventually(open_descriptors() == before);
    file_stop(&rig);
    for (uint32_t i = 0; i < ACTORS; i++) {
        probe_fini(&chains[i].probe);
    }
    free(chains);
    clean_up();
}
END_TEST

/* ---- before the file is open ----------------------------------------------------------------- */

struct early {
    const char *path;
    uint32_t flags;
    weft_file *file;
    bool close;
    uint32_t count;
    int result; /* of the last */
};

/* Opens and goes on at once: token 0 opens, 1 writes, 2 reads, 3 syncs, further ones read. */
static void do_early(weft_ctx *ctx, void *arg) {
    struct early *early = arg;
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 5, &buf), 0);
    memcpy(weft_buf_data(buf), "early", 5);
    ck_assert_int_eq(weft_file_open(ctx, early->path, early->flags, 0, &early->file), 0);
    ck_assert_int_eq(weft_file_write(ctx, early->file, 0, buf, 1), 0);
    ck_assert_int_eq(weft_file_read(ctx, early->file, 0, 5, 2), 0);
    ck_assert_int_eq(weft_file_sync(ctx, early->file, 3), 0);
    for (uint32_t i = 4; i < early->count; i++) {
        early->result = weft_file_read(ctx, early->file, 0, 1, i);
    }
    if (early->close) {
        weft_file_close(ctx, &early->file);
    }
    weft_buf_unref(buf);
}

START_TEST(what_comes_before_the_file_is_open_waits) {
    const uint32_t both = WEFT_FILE_READ | WEFT_FILE_WRITE;
    weft_config config = file_config(_i, 2);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    (void)make_file("some", 5); /* the file may be open before the last of them is asked for */
    uint32_t before = open_descriptors();
    for (uint32_t round = 0; round < 40; round++) {
        bool missing = round % 4 >= 2;
        struct worker worker = worker_new(&rig);
        worker.token = 100;
        struct early early = {.path = path_of(missing ? "folder/none" : "some"),
                              .flags = both | WEFT_FILE_CREATE,
                              .close = round % 2 == 1};
        act(&rig, worker.pid, do_early, &early);
        for (uint32_t i = 0; i < 4; i++) {
            int expected = missing ? -ENOENT : i % 3 == 0 ? 0 : 5;
            ck_assert_int_eq(wait_for(worker.desk, i), expected);
        }
        ck_assert_uint_eq(worker.desk->order[0], 0);
        if (!missing) {
            check_content(early.path, "early");
        }
        if (early.file != NULL) { /* a failed one goes on failing */
            ck_assert_int_eq(read_file(&worker, early.file, 0, 5), missing ? -ENOENT : 5);
        }
        ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, worker.pid, 0), 0);
        eventually(weft_load32_acquire(&worker.desk->probe.terminations) != 0);
        worker_free(&worker);
    }
    eventually(open_descriptors() == before);
    file_stop(&rig);
    clean_up();
}
END_TEST

static _Atomic bool gate;

static int gate_job(void *arg) {
    (void)arg;
    while (!atomic_load(&gate)) {
        sleep_ns(1000000);
    }
    return 0;
}

static void do_block(weft_ctx *ctx, void *arg) {
    (void)arg;
    ck_assert_int_eq(weft_blocking(ctx, gate_job, NULL, 0), 0);
}

static void do_open_busy(weft_ctx *ctx, void *arg) {
    weft_file *file = NULL;
    ck_assert_int_eq(weft_file_open(ctx, arg, WEFT_FILE_READ, 7000, &file), -EBUSY);
    ck_assert_ptr_null(file);
}

START_TEST(operations_under_way_are_bounded) {
    enum { MOST = 4096 };
    weft_config config = file_config(_i, 1);
    config.blocking_threads = 1;
    config.blocking_queue = 1;
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    atomic_store(&gate, false);
    act(&rig, worker.pid, do_block, NULL);
    weft_gauges gauges;
    do { /* until the helper has it */
        gauges = rig_gauges(&rig);
    } while (gauges.blocking_queued != 0);
    struct early early = {
        .path = make_file("some", 10), .flags = WEFT_FILE_READ | WEFT_FILE_WRITE, .count = MOST};
    act(&rig, worker.pid, do_early, &early); /* the opening is one of them */
    ck_assert_int_eq(early.result, 0);
    ck_assert_int_eq(ask(&worker, (struct call){.what = READ, .file = &early.file, .size = 1}),
                     -EBUSY);
    act(&rig, worker.pid, do_open_busy, (void *)(uintptr_t)early.path);
    atomic_store(&gate, true);
    eventually(atomic_load(&worker.desk->outcomes) == MOST);
    file_stop(&rig);
    worker_free(&worker);
    clean_up();
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------ */

enum { BUSY = 60 };

struct busy {
    weft_file *file;
    const char *path;
    enum { GOES_ON, CLOSES, CRASHES, STOPS } then;
};

static void do_busy(weft_ctx *ctx, void *arg) {
    struct busy *busy = arg;
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), 50000, &buf), 0);
    memset(weft_buf_data(buf), 'b', 50000);
    for (uint32_t i = 0; i < BUSY; i++) {
        uint64_t offset = (uint64_t)i * 50000;
        int result = i % 3 == 0   ? weft_file_write(ctx, busy->file, offset, buf, 100 + i)
                     : i % 3 == 1 ? weft_file_read(ctx, busy->file, offset, 50000, 100 + i)
                                  : weft_file_sync(ctx, busy->file, 100 + i);
        ck_assert_int_eq(result, 0);
    }
    weft_buf_unref(buf);
    if (busy->then == CLOSES) {
        weft_file_close(ctx, &busy->file);
    } else if (busy->then == CRASHES || busy->then == STOPS) {
        weft_exit(ctx, busy->then == CRASHES ? -EIO : 0);
    }
}

START_TEST(files_may_end_with_operations_under_way) {
    weft_config config = file_config(_i, 2);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    uint32_t before = open_descriptors();
    for (uint32_t round = 0; round < 24; round++) {
        struct worker worker = worker_new(&rig);
        struct busy busy = {.path = path_of("some"), .then = round % 4};
        ck_assert_int_eq(open_file(&worker, busy.path,
                                   WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE, &busy.file),
                         0);
        act(&rig, worker.pid, do_busy, &busy);
        if (busy.then == GOES_ON || busy.then == CLOSES) {
            eventually(atomic_load(&worker.desk->outcomes) == BUSY + 1);
            for (uint32_t i = 0; i < BUSY; i += 3) {
                ck_assert_int_eq(worker.desk->status[100 + i], 50000);
            }
        }
        if (busy.then == GOES_ON) {
            close_file(&worker, &busy.file);
        } else {
            ck_assert(busy.then != CLOSES || busy.file == NULL);
        }
        if (busy.then == GOES_ON || busy.then == CLOSES) {
            eventually(open_descriptors() == before);
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, worker.pid, -EPERM), 0);
        }
        eventually(weft_load32_acquire(&worker.desk->probe.terminations) != 0);
        eventually(open_descriptors() == before);
        eventually(rig_gauges(&rig).io_open == 0);
        worker_free(&worker);
    }
    file_stop(&rig);
    clean_up();
}
END_TEST

START_TEST(a_runtime_stops_with_operations_under_way) {
    for (uint32_t round = 0; round < 10; round++) {
        weft_config config = file_config(_i, 2);
        struct rig rig;
        uint32_t before = open_descriptors();
        if (!file_start(&rig, &config)) {
            return;
        }
        struct worker workers[6];
        struct busy busy[6];
        struct early early = {.path = path_of("early"),
                              .flags = WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE,
                              .count = 1000};
        for (uint32_t i = 0; i < 6; i++) {
            workers[i] = worker_new(&rig);
            busy[i] = (struct busy){.path = path_of("some")};
            ck_assert_int_eq(open_file(&workers[i], busy[i].path,
                                       WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE,
                                       &busy[i].file),
                             0);
        }
        for (uint32_t i = 0; i < 5; i++) {
            act(&rig, workers[i].pid, do_busy, &busy[i]);
        }
        act(&rig, workers[5].pid, do_early, &early);
        file_stop(&rig);
        ck_assert_uint_eq(open_descriptors(), before);
        for (uint32_t i = 0; i < 6; i++) {
            worker_free(&workers[i]);
        }
    }
    clean_up();
}
END_TEST

START_TEST(opening_and_closing_for_ever_costs_no_memory) {
    weft_config config = file_config(_i, 1);
    struct rig rig;
    if (!file_start(&rig, &config)) {
        return;
    }
    struct worker worker = worker_new(&rig);
    const char *path = make_file("some", 10);
    uint64_t before = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        weft_file *file = NULL;
        ck_assert_int_eq(open_file(&worker, path, WEFT_FILE_READ, &file), 0);
        close_file(&worker, &file);
        if (i == 10) {
            before = rig_gauges(&rig).heap_bytes;
        }
    }
    ck_assert_uint_eq(rig_gauges(&rig).heap_bytes, before);
    file_stop(&rig);
    worker_free(&worker);
    clean_up();
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

static _Atomic uint64_t requests;
static _Atomic uint64_t fail_from; /* UINT64_MAX: none fails */
static _Atomic uint64_t fail_to;

static void *meager_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    uint64_t number = atomic_fetch_add(&requests, 1);
    bool fails = number >= atomic_load(&fail_from) && number < atomic_load(&fail_to);
    return fails ? NULL : malloc(size);
}

static void meager_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

struct meager {
    const char *path;
    uint32_t accepted;
};

static bool accepted(struct meager *meager, int result) {
    ck_assert(result == 0 || result == -ENOMEM);
    meager->accepted += result == 0 ? 1 : 0;
    return result == 0;
}

static void do_meager(weft_ctx *ctx, void *arg) {
    struct meager *meager = arg;
    weft_file *file = NULL;
    if (!accepted(meager,
                  weft_file_open(ctx, meager->path, WEFT_FILE_READ | WEFT_FILE_WRITE, 0, &file))) {
        return;
    }
    (void)accepted(meager, weft_file_read(ctx, file, 0, 100, 1));
    (void)accepted(meager, weft_file_read(ctx, file, 0, 10000, 2));
    (void)accepted(meager, weft_file_sync(ctx, file, 3));
}

/* Everything that was accepted gets its outcome, whatever there is no memory for later. */
START_TEST(any_request_for_memory_may_fail) {
    for (uint64_t nth = 0; nth < 40; nth++) {
        weft_config config = file_config(_i, 1);
        config.allocator = (weft_allocator){.alloc = meager_alloc, .free = meager_free};
        atomic_store(&fail_from, UINT64_MAX);
        struct rig rig;
        if (!file_start(&rig, &config)) {
            return;
        }
        uint32_t before = open_descriptors();
        struct worker worker = worker_new(&rig);
        struct meager meager = {.path = make_file("some", 20000)};
        settle(&rig, worker.pid);
        uint64_t now = atomic_load(&requests);
        atomic_store(&fail_to, now + nth + (nth % 2 == 0 ? 1 : 100));
        atomic_store(&fail_from, now + nth);
        act(&rig, worker.pid, do_meager, &meager);
        eventually(atomic_load(&worker.desk->outcomes) == meager.accepted);
        atomic_store(&fail_from, UINT64_MAX);
        if (atomic_load(&worker.desk->times[2]) != 0) {
            ck_assert_int_eq(worker.desk->status[2], 10000);
        }
        atomic_store(&worker.desk->outcomes, 0);
        meager.accepted = 0;
        act(&rig, worker.pid, do_meager, &meager); /* and then all is well */
        ck_assert_uint_eq(meager.accepted, 4);
        eventually(atomic_load(&worker.desk->outcomes) == 4);
        file_stop(&rig);
        (void)before;
        worker_free(&worker);
    }
    clean_up();
}
END_TEST

/* ---- a system that does everything by halves ------------------------------------------------- */

static weft_env_io halves;
static const weft_env_io *whole;
static weft_io_complete_fn whole_complete;
static _Atomic uint32_t submits;
static _Atomic uint32_t results;

static void halves_complete(weft_io_op *op, const weft_io_result *result) {
    weft_io_result other = *result;
    if (result->result > 0 && atomic_fetch_add(&results, 1) % 4 == 0) {
        other.result = -EAGAIN; /* what was moved is moved again */
    }
    whole_complete(op, &other);
}

static int halves_submit(weft_env *env, void *driver, weft_io_op *op) {
    if (atomic_fetch_add(&submits, 1) % 5 == 0) {
        return -EAGAIN;
    }
    weft_io_span *span = (weft_io_span *)(uintptr_t)op->spans;
    if (op->span_count != 0 && span->size > 777) {
        span->size = 777;
    }
    whole_complete = op->complete;
    op->complete = halves_complete;
    return whole->submit(env, driver, op);
}

static int halves_file(weft_env *env, const weft_io_file *call) {
    weft_io_file less = *call;
    less.size = less.size > 555 ? 555 : less.size;
    return whole->file(env, &less);
}

START_TEST(what_is_done_by_halves_is_carried_on) {
    weft_config config = file_config(_i, 1);
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    int result = weft_env_os_io(env, (enum weft_io_driver)config.io_driver, NULL);
    if (result != 0) {
        ck_assert_int_eq(_i, 0);
        skip_uring(result);
    } else {
        whole = env->io;
        halves = *whole;
        halves.submit = halves_submit;
        halves.file = halves_file;
        env->io = &halves;
        struct rig rig = {0};
        ck_assert_int_eq(weft_runtime_create_env(&config, env, &rig.runtime), 0);
        weft_type_def def = puppet_def("puppet");
        rig.puppet = rig_type(&rig, &def);
        ck_assert_int_eq(weft_runtime_start(rig.runtime), 0);
        struct worker worker = worker_new(&rig);
        weft_file *file = NULL;
        const uint32_t flags = WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE;
        ck_assert_int_eq(open_file(&worker, path_of("halves"), flags, &file), 0);
        unsigned char *bytes = malloc(20000);
        for (uint32_t i = 0; i < 20000; i++) {
            bytes[i] = byte_at(i);
        }
        worker.desk->check_from = bytes;
        for (uint32_t round = 0; round < 10; round++) {
            struct call call = {.what = WRITE, .file = &file, .data = bytes, .size = 20000};
            ck_assert_int_eq(finish(&worker, call), 20000);
            ck_assert_int_eq(read_file(&worker, file, 0, 20000), 20000);
            ck_assert_int_eq(read_file(&worker, file, 0, 30000), 20000);
            ck_assert_int_eq(finish(&worker, (struct call){.what = SYNC, .file = &file}), 0);
        }
        file_stop(&rig);
        free(bytes);
        worker_free(&worker);
    }
    weft_env_os_destroy(&env);
    clean_up();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("file");
    TCase *tcase = tcase_create("file");
    tcase_add_loop_test(tcase, opening_obeys_its_flags, 0, DRIVERS);
    tcase_add_loop_test(tcase, errors_of_the_file_system_are_told, 0, DRIVERS);
    tcase_add_loop_test(tcase, reads_end_at_the_end_of_the_file, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_makes_no_sense_is_refused, 0, DRIVERS);
    tcase_add_loop_test(tcase, ten_megabytes_in_random_order, 0, DRIVERS);
    tcase_add_loop_test(tcase, actors_that_move_keep_their_files, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_comes_before_the_file_is_open_waits, 0, DRIVERS);
    tcase_add_loop_test(tcase, operations_under_way_are_bounded, 0, DRIVERS);
    tcase_add_loop_test(tcase, files_may_end_with_operations_under_way, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_runtime_stops_with_operations_under_way, 0, DRIVERS);
    tcase_add_loop_test(tcase, opening_and_closing_for_ever_costs_no_memory, 0, DRIVERS);
    tcase_add_loop_test(tcase, any_request_for_memory_may_fail, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_is_done_by_halves_is_carried_on, 0, DRIVERS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
