/* SPDX-License-Identifier: MIT
 *
 * What the tests of files share: runtimes with one of the two drivers, a folder of the test's own,
 * and workers: actors that do what the test asks for and record the outcomes by token.
 */
#ifndef WEFT_TESTS_UNIT_FILE_SUPPORT_H
#define WEFT_TESTS_UNIT_FILE_SUPPORT_H

#include "net_support.h"
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <weft/file.h>
#include <weft/stream.h>

enum { DRIVERS = 2, TOKENS = 8192, PATH_SPACE = 384 };

/* ---- rigs ------------------------------------------------------------------------------------ */

static inline weft_config file_config(int number, uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.io_driver = number == 0 ? WEFT_IO_DRIVER_URING : WEFT_IO_DRIVER_EPOLL;
    return config;
}

/* False: this machine does not let us have that driver, and it was said. */
static inline bool file_start(struct rig *rig, const weft_config *config) {
    weft_runtime *runtime = NULL;
    int result = weft_runtime_create(config, &runtime);
    if (result != 0) {
        ck_assert_uint_eq(config->io_driver, WEFT_IO_DRIVER_URING);
        skip_uring(result);
        return false;
    }
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    *rig = rig_start_with(config);
    return true;
}

static inline void file_stop(struct rig *rig) {
    ck_assert_int_eq(weft_runtime_stop(rig->runtime, 20 * S_NS), 0);
    weft_gauges gauges = rig_gauges(rig);
    ck_assert_uint_eq(gauges.actors, 0);
    ck_assert_uint_eq(gauges.messages, 0);
    ck_assert_uint_eq(gauges.buffers, 0);
    ck_assert_uint_eq(gauges.io_open, 0);
    ck_assert_int_eq(weft_runtime_destroy(&rig->runtime), 0);
}

static inline uint32_t open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    uint32_t count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static char place[64]; /* the folder of this test; the child's own */

static inline const char *path_of(const char *name) {
    static char paths[8][PATH_SPACE];
    static uint32_t next;
    char *path = paths[next++ % 8];
    if (place[0] == '\0') {
        snprintf(place, sizeof(place), "%s/weft-file-XXXXXX",
                 getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 40 ? getenv("TMPDIR")
                                                                           : P_tmpdir);
        ck_assert_ptr_nonnull(mkdtemp(place));
    }
    snprintf(path, PATH_SPACE, "%s/%s", place, name);
    return path;
}

static inline void clean_up(void) {
    if (place[0] == '\0') {
        return;
    }
    DIR *folder = opendir(place);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            (void)remove(path_of(entry->d_name));
        }
    }
    closedir(folder);
    (void)rmdir(place);
    place[0] = '\0';
}

/* A file of size bytes, each byte_at its offset. */
static inline unsigned char byte_at(uint64_t offset) {
    return (unsigned char)(offset * 31 + (offset >> 8) * 7 + (offset >> 16));
}

static inline const char *make_file(const char *name, size_t size) {
    const char *path = path_of(name);
    unsigned char *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = byte_at(i);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
    free(bytes);
    return path;
}

/* ---- an actor with outcomes by token --------------------------------------------------------- */

struct desk {
    struct probe probe; /* its user is the desk */
    _Atomic int status[TOKENS];
    _Atomic uint32_t times[TOKENS];
    size_t size[TOKENS];
    _Atomic uint32_t outcomes;
    unsigned char *check_from; /* reads: what the file must hold, by offset */
    uint64_t offsets[TOKENS];
    unsigned char last[256]; /* the beginning of the latest payload */
    _Atomic uint32_t order[4];
    _Atomic uint32_t ordered;
};

static inline int desk_receive(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    struct desk *desk = probe->user;
    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        return WEFT_CONTINUE;
    }
    ck_assert_uint_eq(weft_msg_tag(msg), WEFT_IO_FILE);
    uint64_t token = weft_msg_token(msg);
    ck_assert_uint_lt(token, TOKENS);
    size_t size = weft_msg_size(msg);
    int status = weft_msg_status(msg);
    ck_assert(size == 0 || size == (size_t)status);
    if (size != 0 && desk->check_from != NULL) {
        ck_assert_mem_eq(weft_msg_data(msg), desk->check_from + desk->offsets[token], size);
    }
    if (size != 0) {
        memcpy(desk->last, weft_msg_data(msg), size < 256 ? size : 256);
    }
    uint32_t at = atomic_fetch_add(&desk->ordered, 1);
    if (at < 4) {
        atomic_store(&desk->order[at], (uint32_t)token);
    }
    desk->size[token] = size;
    atomic_store(&desk->status[token], status);
    atomic_fetch_add(&desk->times[token], 1);
    atomic_fetch_add(&desk->outcomes, 1);
    return WEFT_CONTINUE;
}

static inline struct desk *desk_new(void) {
    struct desk *desk = calloc(1, sizeof(*desk));
    pthread_mutex_init(&desk->probe.lock, NULL);
    desk->probe.handler = desk_receive;
    desk->probe.counts_only = true;
    desk->probe.user = desk;
    return desk;
}

static inline int wait_for(struct desk *desk, uint64_t token) {
    eventually(atomic_load(&desk->times[token]) == 1);
    return atomic_load(&desk->status[token]);
}

/* ---- in the actor's context ------------------------------------------------------------------ */

enum what { OPEN, READ, WRITE, SYNC, CLOSE };

struct call {
    enum what what;
    weft_file **file;
    const char *path;
    uint32_t flags;
    uint64_t offset;
    const void *data;
    size_t size;
    uint64_t token;
    int result;
};

static inline void do_call(weft_ctx *ctx, void *arg) {
    struct call *call = arg;
    weft_buf *buf = NULL;
    switch (call->what) {
    case OPEN:
        call->result = weft_file_open(ctx, call->path, call->flags, call->token, call->file);
        break;
    case READ:
        call->result = weft_file_read(ctx, *call->file, call->offset, call->size, call->token);
        break;
    case WRITE:
        ck_assert_int_eq(weft_buf_create(weft_runtime_of(ctx), call->size, &buf), 0);
        if (call->size != 0) {
            memcpy(weft_buf_data(buf), call->data, call->size);
        }
        call->result = weft_file_write(ctx, *call->file, call->offset, buf, call->token);
        weft_buf_unref(buf);
        break;
    case SYNC:
        call->result = weft_file_sync(ctx, *call->file, call->token);
        break;
    case CLOSE:
        weft_file_close(ctx, call->file);
        call->result = *call->file == NULL ? 0 : -1;
        break;
    }
}

struct worker {
    struct rig *rig;
    weft_pid pid;
    struct desk *desk;
    uint64_t token; /* of the latest call */
};

static inline struct worker worker_new(struct rig *rig) {
    struct worker worker = {.rig = rig, .desk = desk_new()};
    worker.pid = rig_spawn(rig, &worker.desk->probe);
    return worker;
}

static inline void worker_free(struct worker *worker) {
    probe_fini(&worker->desk->probe);
    free(worker->desk);
}

static inline int ask(struct worker *worker, struct call call) {
    call.token = ++worker->token;
    act(worker->rig, worker->pid, do_call, &call);
    return call.result;
}

static inline int finish(struct worker *worker, struct call call) {
    int result = ask(worker, call);
    return result != 0 ? result : wait_for(worker->desk, worker->token);
}

static inline int open_file(struct worker *worker, const char *path, uint32_t flags,
                            weft_file **file) {
    return finish(worker, (struct call){.what = OPEN, .file = file, .path = path, .flags = flags});
}

static inline int read_file(struct worker *worker, weft_file *file, uint64_t offset, size_t size) {
    return finish(worker,
                  (struct call){.what = READ, .file = &file, .offset = offset, .size = size});
}

static inline int write_file(struct worker *worker, weft_file *file, uint64_t offset,
                             const char *text) {
    return finish(
        worker,
        (struct call){
            .what = WRITE, .file = &file, .offset = offset, .data = text, .size = strlen(text)});
}

static inline void close_file(struct worker *worker, weft_file **file) {
    ck_assert_int_eq(ask(worker, (struct call){.what = CLOSE, .file = file}), 0);
    worker->token--; /* tells nothing */
}

static inline void check_content(const char *path, const char *expected) {
    char bytes[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ssize_t got = read(fd, bytes, sizeof(bytes) - 1);
    close(fd);
    ck_assert_int_eq(got, (ssize_t)strlen(expected));
    ck_assert_mem_eq(bytes, expected, strlen(expected));
}

#endif
