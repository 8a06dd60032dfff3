/* SPDX-License-Identifier: MIT
 *
 * Files of the simulator: bytes in memory by path, for as long as the simulator lives. They can be
 * reached in two ways, as in production: as operations of a driver (after files were opened on a
 * helper thread), or, with options.helper_files, by blocking calls of helper threads only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/file.h>

#include "sim_net.h"

enum { FILE_BYTES_MAX = 1 << 28 };

static sim_file *file_find(const sim_net *net, const char *path) {
    for (sim_file *file = net->files; file != NULL; file = file->next) {
        if (strcmp(file->path, path) == 0) {
            return file;
        }
    }
    return NULL;
}

static sim_file *file_add(sim_net *net, const char *path) {
    sim_file *file = weft__net_alloc(net, sizeof(*file));
    size_t length = strlen(path) + 1;
    file->path = weft__net_alloc(net, length);
    memcpy(file->path, path, length);
    file->next = net->files;
    net->files = file;
    return file;
}

static int file_open(sim_net *net, const weft_io_file *call) {
    sim_file *file = file_find(net, call->path);
    bool create = (call->flags & WEFT_FILE_CREATE) != 0;
    if ((call->flags & (WEFT_FILE_READ | WEFT_FILE_WRITE)) == 0) {
        return -EINVAL;
    }
    if (file == NULL && !create) {
        return -ENOENT;
    }
    if (file != NULL && create && (call->flags & WEFT_FILE_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (weft__net_chance(net, net->sim->options.open_permille)) {
        return -EMFILE;
    }
    file = file != NULL ? file : file_add(net, call->path);
    if ((call->flags & WEFT_FILE_TRUNCATE) != 0) {
        file->size = 0;
    }
    sim_socket *socket = weft__net_socket_add(net, SIM_SOCKET_FILE);
    socket->file = file;
    socket->file_flags = call->flags;
    socket->program = true;
    net->open_count++;
    weft__sim_fold(net->sim, SIM_EVENT_OPEN, socket->number, (uint64_t)socket->kind);
    return SIM_NET_FD_BASE + (int)socket->number;
}

static size_t file_short(sim_net *net, size_t size) {
    bool is_short = size > 1 && weft__net_chance(net, net->sim->options.short_permille);
    return is_short ? 1 + (size_t)sim_prng_below(&net->fault, size) : size;
}

static int file_read(sim_net *net, sim_socket *socket, const weft_io_file *call) {
    const sim_file *file = socket->file;
    if ((socket->file_flags & WEFT_FILE_READ) == 0) {
        return -EBADF;
    }
    if (call->offset >= file->size) {
        return 0;
    }
    size_t size = file->size - (size_t)call->offset;
    size = file_short(net, size < call->size ? size : call->size);
    if (size > 0) {
        memcpy(call->data, file->bytes + call->offset, size);
    }
    return (int)size;
}

static int file_write(sim_net *net, sim_socket *socket, const weft_io_file *call) {
    sim_file *file = socket->file;
    if ((socket->file_flags & WEFT_FILE_WRITE) == 0) {
        return -EBADF;
    }
    bool append = (socket->file_flags & WEFT_FILE_APPEND) != 0;
    uint64_t offset = append ? file->size : call->offset;
    size_t size = file_short(net, call->size);
    if (offset > FILE_BYTES_MAX || size > FILE_BYTES_MAX - offset) {
        return -EFBIG;
    }
    size_t end = (size_t)offset + size;
    if (end > file->room) {
        file->room = end > 2 * file->room ? end : 2 * file->room;
        file->bytes = weft__net_realloc(net, file->bytes, file->room);
    }
    if (offset > file->size) {
        memset(file->bytes + file->size, 0, (size_t)offset - file->size);
    }
    if (size > 0) {
        memcpy(file->bytes + offset, call->data, size);
    }
    file->size = end > file->size ? end : file->size;
    return (int)size;
}

static int file_do(sim_net *net, sim_socket *socket, const weft_io_file *call) {
    if (socket->kind != SIM_SOCKET_FILE) {
        weft__sim_fatal(net->sim, "this descriptor is no file");
    }
    if (weft__net_chance(net, net->sim->options.file_permille)) {
        return call->call == WEFT_IO_FILE_WRITE ? -ENOSPC : -EIO;
    }
    switch (call->call) {
    case WEFT_IO_FILE_READ:
        return file_read(net, socket, call);
    case WEFT_IO_FILE_WRITE:
        return file_write(net, socket, call);
    default:
        return 0;
    }
}

int weft__net_file_call(weft_env *env, const weft_io_file *call) {
    sim_net *net = ((weft_sim *)env->impl)->net;
    int result = call->call == WEFT_IO_FILE_OPEN ? file_open(net, call)
                                                 : file_do(net, weft__net_fd(net, call->fd), call);
    weft__sim_fold(net->sim, SIM_EVENT_CALL, (5 << 8) | (uint64_t)call->call,
                   (uint64_t)(int64_t)result);
    return result;
}

/* Span by span; a short one ends it, as the kernel does. */
void weft__net_file_op(sim_net *net, sim_socket *socket, sim_op *op) {
    weft_io_op *source = op->op;
    weft_io_file call = {.call = source->kind == WEFT_IO_OP_READ    ? WEFT_IO_FILE_READ
                                 : source->kind == WEFT_IO_OP_WRITE ? WEFT_IO_FILE_WRITE
                                                                    : WEFT_IO_FILE_SYNC,
                         .fd = source->fd};
    weft__net_op_check(net, op);
    if (call.call == WEFT_IO_FILE_SYNC) {
        weft__net_end(net, op, file_do(net, socket, &call));
        return;
    }
    int total = 0;
    for (uint32_t i = 0; i < source->span_count; i++) {
        call.data = source->spans[i].data;
        call.size = source->spans[i].size;
        call.offset = source->offset + (uint64_t)total;
        int part = file_do(net, socket, &call);
        if (part < 0) {
            total = total > 0 ? total : part;
            break;
        }
        total += part;
        if ((size_t)part < call.size) {
            break;
        }
    }
    weft__net_end(net, op, total);
}

void weft__net_file_fini(sim_net *net) {
    while (net->files != NULL) {
        sim_file *file = net->files;
        net->files = file->next;
        free(file->path);
        free(file->bytes);
        free(file);
    }
}
