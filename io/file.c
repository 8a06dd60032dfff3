/* SPDX-License-Identifier: MIT
 *
 * Files: weft/file.h. An operation goes to the driver of the scheduler its actor runs on just now
 * where that has files, and completes inside a poll there; else, and whenever the driver takes
 * nothing more, it is a job of the helper threads. Opening is always a job. What is asked for
 * before a file is open waits in a list of the file, and the helper that has opened it does that
 * too, in order.
 *
 * The message with the outcome, and with it the memory of a read, is made when the operation is
 * accepted, so that it can always be delivered.
 *
 * A file is referred to by its actor's handle and by each of its operations; whoever drops it last,
 * on whichever thread, closes the descriptor. All files of an actor are in one list, which a single
 * cleanup closes when the actor ends, so that opening and closing for ever costs no memory.
 */
#include "io/io.h"
#include "sched/blocking.h"
#include <string.h>
#include <weft/file.h>

enum {
    FILE_MAGIC = 0x66696c65,
    OPERATION_MAGIC = 0x66696f70,
    PATH_BYTES_MAX = 4096, /* with its zero; Linux takes no longer one */
    OPERATIONS_MAX = 4096, /* of one file under way */
    FLAGS_KNOWN = WEFT_FILE_READ | WEFT_FILE_WRITE | WEFT_FILE_CREATE | WEFT_FILE_EXCLUSIVE |
                  WEFT_FILE_TRUNCATE | WEFT_FILE_APPEND,
};

/* The open files of one actor; the argument of its cleanup. Its actor only. */
struct files {
    struct weft__core *core;
    weft_file *first;
};

struct operation {
    weft_io_op op;
    weft_io_span span;
    uint32_t magic;
    /* const while it is under way */
    enum weft_io_file_call call;
    weft_file *file; /* a reference */
    uint64_t target;
    weft_buf *buf;             /* WRITE: a reference; else NULL */
    struct weft__scheduler *s; /* that started it */
    unsigned char *data;
    size_t size;
    uint64_t offset;
    /* whoever carries it out: the scheduler, or a helper */
    weft_msg *msg; /* the outcome */
    size_t done;   /* bytes moved */
    int fd;
    struct operation *next; /* in the list of those that wait; under the file's lock */
};

struct weft_file {
    uint32_t magic;
    weft_atomic_u32 references; /* the handle and each operation; any thread. The last closes */
    /* const after it was made */
    weft_runtime *runtime;
    uint64_t owner;
    uint32_t flags;
    /* its actor only */
    struct files *files;
    weft_file *next;
    weft_file *previous;
    /* under lock while opening, const from then on */
    struct weft__lock lock;
    bool opening;
    int fd;     /* -1: not open */
    int status; /* why it could not be opened */
    struct operation *first;
    struct operation *last;
    size_t path_size;
    char path[];
};

/* What an operation is to do. */
struct plan {
    enum weft_io_file_call call;
    uint64_t offset;
    size_t size;
    weft_buf *buf; /* WRITE */
    uint64_t token;
};

/* ---- references ---------------------------------------------------------------------------- */

static void file_unref(weft_file *file) {
    struct weft__core *core = &file->runtime->core;
    weft_assert(file->magic == FILE_MAGIC);
    if (weft_add32_acq_rel(&file->references, UINT32_MAX) != 1) {
        return;
    }
    weft_assert(file->first == NULL);
    if (file->fd >= 0) {
        core->env->io->close(core->env, file->fd);
    }
    file->magic = 0;
    weft__free(core, file, sizeof(*file) + file->path_size, "file");
}

/* ---- operations: begin and end ------------------------------------------------------------- */

static int operation_make(weft_ctx *ctx, weft_file *file, const struct plan *plan,
                          struct operation **ret_operation) {
    struct weft__scheduler *s = ctx->runner;
    struct weft__ext *ext = weft__ext_of(ctx);
    if (ext == NULL) {
        return -ENOMEM;
    }
    struct operation *operation = weft__alloc(s->core, sizeof(*operation), "file operation");
    if (operation == NULL) {
        return -ENOMEM;
    }
    bool reads = plan->call == WEFT_IO_FILE_READ;
    struct weft__draft draft = {
        .size = reads ? plan->size : 0, .tag = WEFT_IO_FILE, .kind = WEFT_MSG_IO, .wide = true};
    int result = weft__msg_make(s->runtime, s, &draft, &operation->msg);
    if (result != 0) {
        weft__free(s->core, operation, sizeof(*operation), "file operation");
        return result;
    }
    operation->msg->weft__u.weft__r.weft__ref = plan->token;
    operation->magic = OPERATION_MAGIC;
    operation->call = plan->call;
    operation->file = file;
    operation->target = weft__from(ctx);
    operation->s = s;
    operation->size = plan->size;
    operation->offset = plan->offset;
    operation->fd = -1;
    if (plan->buf != NULL) {
        operation->buf = weft_buf_ref(plan->buf);
        operation->data = weft_buf_data(plan->buf);
    } else if (reads) {
        operation->data = weft_msg_body(operation->msg);
    }
    (void)weft_add32_acq_rel(&file->references, 1);
    (void)weft_add32_acq_rel(&s->runtime->upper_busy, 1);
    ext->jobs++; /* until its message is handled */
    *ret_operation = operation;
    return 0;
}

/* Everything but the message and its place in upper_busy. */
static void operation_free(struct operation *operation) {
    struct weft__core *core = &operation->file->runtime->core;
    weft_assert(operation->magic == OPERATION_MAGIC);
    weft_buf_unref(operation->buf);
    file_unref(operation->file);
    operation->magic = 0;
    weft__free(core, operation, sizeof(*operation), "file operation");
}

/* It could not be started, and its actor knows. */
static void operation_drop(weft_ctx *ctx, struct operation *operation) {
    struct weft__scheduler *s = operation->s;
    ctx->ext->jobs--;
    weft__msg_free(s->runtime, s, operation->msg);
    operation_free(operation);
    (void)weft_add32_acq_rel(&s->runtime->upper_busy, UINT32_MAX);
}

/* It is over: tells the actor. s: the scheduler of this thread, NULL: a helper. The operation goes
 * first, so that a file whose last outcome was told is closed as soon as its actor asks for it. */
static void settle(struct operation *operation, struct weft__scheduler *s, int status) {
    weft_runtime *runtime = operation->file->runtime;
    weft_msg *msg = operation->msg;
    uint64_t target = operation->target;
    bool payload = operation->call == WEFT_IO_FILE_READ && status > 0;
    if (!payload) {
        weft__msg_drop_payload(msg);
    }
    msg->weft__size = payload ? (uint32_t)status : 0;
    msg->weft__u.weft__r.weft__value = status;
    operation_free(operation);
    int result = s != NULL ? weft__post(s, target, msg, false)
                           : weft__post_outside(runtime, target, msg, false);
    if (result != 0) {
        weft__msg_free(runtime, s, msg); /* the actor has ended */
    }
    (void)weft_add32_acq_rel(&runtime->upper_busy, UINT32_MAX);
}

/* What an operation that is stopped by an error, or ends, answers: what it moved, if anything. An
 * error that came after that is met again by the next operation. */
static int status_of(const struct operation *operation, int result) {
    return operation->done != 0 ? (int)operation->done : result;
}

/* The bytes that are still to be moved. */
static weft_io_span rest_of(const struct operation *operation) {
    return (weft_io_span){.data =
                              operation->data == NULL ? NULL : operation->data + operation->done,
                          .size = operation->size - operation->done};
}

/* A call answered result. True: the operation goes on, else its status is in *ret_status. */
static bool advance(struct operation *operation, int result, int *ret_status) {
    bool moves = operation->call == WEFT_IO_FILE_READ || operation->call == WEFT_IO_FILE_WRITE;
    if (moves && result > 0) {
        weft_assert((size_t)result <= operation->size - operation->done);
        operation->done += (size_t)result;
        if (operation->done < operation->size) {
            return true;
        }
    }
    *ret_status = status_of(operation, result);
    return false;
}

/* ---- on helper threads --------------------------------------------------------------------- */

/* Carries an operation out. */
static int operation_job(void *arg) {
    struct operation *operation = arg;
    weft_assert(operation->magic == OPERATION_MAGIC);
    weft_env *env = operation->file->runtime->core.env;
    int status = 0;
    int result;
    do { /* bounded by the bytes: each turn moves some, or is the last */
        weft_io_span rest = rest_of(operation);
        weft_io_file call = {.call = operation->call,
                             .fd = operation->fd,
                             .data = rest.data,
                             .size = rest.size,
                             .offset = operation->offset + operation->done};
        result = env->io->file(env, &call);
    } while (advance(operation, result, &status));
    settle(operation, NULL, status);
    return 0;
}

static void operation_discard(void *arg) {
    struct operation *operation = arg;
    settle(operation, NULL, status_of(operation, WEFT_E_SHUTDOWN));
}

/* A file is open, or will never be: what waited for that. */
static void run_waiting(weft_file *file, struct operation *waiting) {
    while (waiting != NULL) { /* bounded by OPERATIONS_MAX */
        struct operation *operation = waiting;
        waiting = operation->next;
        operation->fd = file->fd;
        if (file->fd < 0) {
            settle(operation, NULL, file->status);
        } else if (weft__phase(file->runtime) >= WEFT__RUNTIME_STOPPING) {
            operation_discard(operation);
        } else {
            (void)operation_job(operation); /* tells by itself */
        }
    }
}

/* The outcome of opening: a descriptor or an error. The actor gets it before any other outcome,
 * because until then everything else waits. */
static void opened(struct operation *operation, int result) {
    weft_file *file = operation->file;
    weft_env *env = file->runtime->core.env;
    (void)weft_add32_acq_rel(&file->references, 1); /* the operation's goes */
    weft__lock_enter(&file->lock, env);
    file->fd = result >= 0 ? result : -1;
    file->status = result < 0 ? result : 0;
    weft__lock_leave(&file->lock);
    settle(operation, NULL, result < 0 ? result : 0);
    weft__lock_enter(&file->lock, env);
    file->opening = false;
    struct operation *waiting = file->first;
    file->first = NULL;
    file->last = NULL;
    weft__lock_leave(&file->lock);
    run_waiting(file, waiting);
    file_unref(file);
}

static int open_job(void *arg) {
    struct operation *operation = arg;
    weft_assert(operation->magic == OPERATION_MAGIC);
    const weft_file *file = operation->file;
    weft_env *env = file->runtime->core.env;
    weft_io_file call = {
        .call = WEFT_IO_FILE_OPEN, .fd = -1, .path = file->path, .flags = file->flags};
    opened(operation, env->io->file(env, &call));
    return 0;
}

static void open_discard(void *arg) {
    opened(arg, WEFT_E_SHUTDOWN);
}

/* ---- on the scheduler ---------------------------------------------------------------------- */

static int start_helper(struct operation *operation) {
    bool opens = operation->call == WEFT_IO_FILE_OPEN;
    struct weft__work work = {.fn = opens ? open_job : operation_job,
                              .arg = operation,
                              .discard = opens ? open_discard : operation_discard,
                              .kind = WEFT__WORK_SILENT};
    return weft__blocking_run(operation->s, &work);
}

static void completed(weft_io_op *op, const weft_io_result *result);

static int start_driver(struct operation *operation) {
    struct weft__io *io = weft__io_of(operation->s);
    if (io == NULL) {
        return -ENOMEM;
    }
    operation->span = rest_of(operation);
    weft_io_op *op = &operation->op;
    op->complete = completed;
    op->fd = operation->fd;
    op->kind = operation->call == WEFT_IO_FILE_READ    ? WEFT_IO_OP_READ
               : operation->call == WEFT_IO_FILE_WRITE ? WEFT_IO_OP_WRITE
                                                       : WEFT_IO_OP_SYNC;
    op->spans = &operation->span;
    op->span_count = op->kind == WEFT_IO_OP_SYNC ? 0 : 1;
    op->offset = op->kind == WEFT_IO_OP_SYNC ? 0 : operation->offset + operation->done;
    return io->calls->submit(io->env, io->driver, op);
}

/* Starts an operation, or the rest of it, on an open file. The helpers take what the driver does
 * not. */
static int start(struct operation *operation) {
    if (operation->s->core->env->io->files && start_driver(operation) == 0) {
        return 0;
    }
    return start_helper(operation);
}

static void completed(weft_io_op *op, const weft_io_result *result) {
    struct operation *operation = (struct operation *)(void *)op; /* its first member */
    weft_assert(operation->magic == OPERATION_MAGIC);
    int status = result->result;
    int started;
    if (status == -EAGAIN || status == -EINTR) {
        started = start_helper(operation); /* where it may block */
    } else if (advance(operation, status, &status)) {
        started = start(operation);
    } else {
        settle(operation, operation->s, status);
        return;
    }
    if (started != 0) {
        settle(operation, operation->s, status_of(operation, started));
    }
}

/* Waits with those that wait for the file to open; false: it is open, or never will be. */
static bool enlist(weft_file *file, struct operation *operation) {
    weft__lock_enter(&file->lock, file->runtime->core.env);
    bool opening = file->opening;
    if (opening) {
        if (file->last != NULL) {
            file->last->next = operation;
        } else {
            file->first = operation;
        }
        file->last = operation;
    }
    weft__lock_leave(&file->lock);
    return opening;
}

/* Makes an operation of a file and starts it. */
static int begin(weft_ctx *ctx, weft_file *file, const struct plan *plan) {
    /* The handle is one of the references. Others only go meanwhile. */
    if (weft_load32_relaxed(&file->references) > OPERATIONS_MAX) {
        return -EBUSY;
    }
    struct operation *operation;
    int result = operation_make(ctx, file, plan, &operation);
    if (result != 0 || enlist(file, operation)) {
        return result;
    }
    if (file->fd < 0) {
        settle(operation, operation->s, file->status);
        return 0;
    }
    operation->fd = file->fd;
    result = start(operation);
    if (result != 0) {
        operation_drop(ctx, operation);
    }
    return result;
}

/* ---- an actor's files ---------------------------------------------------------------------- */

static void unlink_file(weft_file *file) {
    if (file->previous != NULL) {
        file->previous->next = file->next;
    } else {
        file->files->first = file->next;
    }
    if (file->next != NULL) {
        file->next->previous = file->previous;
    }
    file->files = NULL;
}

static void link_file(struct files *files, weft_file *file) {
    file->files = files;
    file->previous = NULL;
    file->next = files->first;
    if (files->first != NULL) {
        files->first->previous = file;
    }
    files->first = file;
}

/* The actor ends. */
static void close_all(void *arg) {
    struct files *files = arg;
    while (files->first != NULL) { /* bounded by what it has opened */
        weft_file *file = files->first;
        unlink_file(file);
        file_unref(file);
    }
    weft__free(files->core, files, sizeof(*files), "files");
}

/* The list of the actor's files, made on first use. NULL: no memory. */
static struct files *files_of(weft_ctx *ctx) {
    const struct weft__ext *ext = ctx->ext;
    for (uint32_t i = 0; ext != NULL && i < ext->cleanup_count; i++) {
        if (ext->cleanups[i].fn == close_all) {
            return ext->cleanups[i].arg;
        }
    }
    struct weft__core *core = ctx->runner->core;
    struct files *files = weft__alloc(core, sizeof(*files), "files");
    if (files == NULL) {
        return NULL;
    }
    files->core = core;
    if (weft_defer(ctx, close_all, files) != 0) {
        weft__free(core, files, sizeof(*files), "files");
        return NULL;
    }
    return files;
}

/* ---- public -------------------------------------------------------------------------------- */

static int check_open(const weft_ctx *ctx, const char *path, uint32_t flags) {
    uint32_t access = flags & (WEFT_FILE_READ | WEFT_FILE_WRITE);
    bool writes = (flags & WEFT_FILE_WRITE) != 0;
    if (ctx == NULL || path == NULL || (flags & ~(uint32_t)FLAGS_KNOWN) != 0 || access == 0) {
        return -EINVAL;
    }
    if (!writes && (flags & (WEFT_FILE_TRUNCATE | WEFT_FILE_APPEND)) != 0) {
        return -EINVAL;
    }
    if ((flags & WEFT_FILE_EXCLUSIVE) != 0 && (flags & WEFT_FILE_CREATE) == 0) {
        return -EINVAL;
    }
    const weft_env *env = ctx->runner->core->env;
    return env->io == NULL || env->io->file == NULL ? -ENOSYS : 0;
}

/* A file that is being opened, with the handle's reference. NULL: no memory. */
static weft_file *file_make(weft_ctx *ctx, const char *path, size_t path_size, uint32_t flags) {
    weft_runtime *runtime = ctx->runner->runtime;
    weft_file *file = weft__alloc(&runtime->core, sizeof(*file) + path_size, "file");
    if (file == NULL) {
        return NULL;
    }
    file->magic = FILE_MAGIC;
    weft_store32_relaxed(&file->references, 1);
    file->runtime = runtime;
    file->owner = weft__from(ctx);
    file->flags = flags;
    file->opening = true;
    file->fd = -1;
    file->path_size = path_size;
    memcpy(file->path, path, path_size);
    return file;
}

int weft_file_open(weft_ctx *ctx, const char *path, uint32_t flags, uint64_t token,
                   weft_file **ret_file) {
    int result = ret_file == NULL ? -EINVAL : check_open(ctx, path, flags);
    if (result != 0) {
        return result;
    }
    size_t path_size = strlen(path) + 1;
    if (path_size > PATH_BYTES_MAX) {
        return -ENAMETOOLONG;
    }
    struct files *files = files_of(ctx);
    weft_file *file = files != NULL ? file_make(ctx, path, path_size, flags) : NULL;
    if (file == NULL) {
        return -ENOMEM;
    }
    struct plan plan = {.call = WEFT_IO_FILE_OPEN, .token = token};
    struct operation *operation;
    result = operation_make(ctx, file, &plan, &operation);
    if (result == 0) {
        result = start_helper(operation);
        if (result != 0) {
            operation_drop(ctx, operation);
        }
    }
    if (result != 0) {
        file_unref(file);
        return result;
    }
    link_file(files, file);
    *ret_file = file;
    return 0;
}

/* Is it a file of this actor, opened with this flag (0: any), and are these bytes a file's? */
static int check_use(const weft_ctx *ctx, const weft_file *file, uint32_t flag,
                     const struct plan *plan) {
    if (ctx == NULL || file == NULL) {
        return -EINVAL;
    }
    weft_assert(file->magic == FILE_MAGIC);
    if (file->owner != weft__from(ctx) || (file->flags & flag) != flag) {
        return -EINVAL;
    }
    if (plan->size > INT32_MAX) {
        return -EMSGSIZE; /* the status could not tell it */
    }
    return plan->offset > (uint64_t)INT64_MAX - plan->size ? -EINVAL : 0;
}

int weft_file_read(weft_ctx *ctx, weft_file *file, uint64_t offset, size_t size, uint64_t token) {
    struct plan plan = {.call = WEFT_IO_FILE_READ, .offset = offset, .size = size, .token = token};
    int result = check_use(ctx, file, WEFT_FILE_READ, &plan);
    if (result == 0 && size > ctx->runner->runtime->config.message_bytes_max) {
        result = -EMSGSIZE;
    }
    return result != 0 ? result : begin(ctx, file, &plan);
}

int weft_file_write(weft_ctx *ctx, weft_file *file, uint64_t offset, weft_buf *buf,
                    uint64_t token) {
    if (file == NULL || buf == NULL) {
        return -EINVAL;
    }
    bool appends = (file->flags & WEFT_FILE_APPEND) != 0;
    struct plan plan = {.call = WEFT_IO_FILE_WRITE,
                        .offset = appends ? 0 : offset,
                        .size = weft_buf_size(buf),
                        .buf = buf,
                        .token = token};
    int result = check_use(ctx, file, WEFT_FILE_WRITE, &plan);
    return result != 0 ? result : begin(ctx, file, &plan);
}

int weft_file_sync(weft_ctx *ctx, weft_file *file, uint64_t token) {
    struct plan plan = {.call = WEFT_IO_FILE_SYNC, .token = token};
    int result = check_use(ctx, file, 0, &plan);
    return result != 0 ? result : begin(ctx, file, &plan);
}

void weft_file_close(weft_ctx *ctx, weft_file **file) {
    if (ctx == NULL || file == NULL || *file == NULL) {
        return;
    }
    weft_file *closed = *file;
    weft_assert(closed->magic == FILE_MAGIC);
    weft_assert(closed->owner == weft__from(ctx));
    *file = NULL;
    unlink_file(closed);
    file_unref(closed);
}
