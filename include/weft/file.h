/* SPDX-License-Identifier: MIT
 *
 * Files, without blocking a scheduler. Each call answers at once; its outcome follows as one
 * WEFT_MSG_IO message with tag WEFT_IO_FILE, the caller's token and a status: the result, or a
 * negative errno. A file belongs to the actor that opened it and is closed when that ends; nobody
 * else may use it. On the ring where there is one, else on helper threads; operations of one file
 * may be carried out in any order, so what depends on another one waits for its outcome.
 *
 * What was started is carried out also when the file is closed or its actor ends meanwhile. When
 * the runtime stops, what still waits for a helper thread is not: its status is WEFT_E_SHUTDOWN.
 * Meant for regular files: FIFOs and devices are opened without waiting for their other end, and
 * answer -EAGAIN where they would wait. What an actor still has in its mailbox when its runtime stops
 * is not written: before stopping, call it with a request that it answers when its last outcome has
 * come.
 * Stability: stable.
 */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include <weft/actor.h>

WEFT_BEGIN_DECLS

typedef struct weft_file weft_file;

enum weft_file_flags {
    WEFT_FILE_READ = 1,
    WEFT_FILE_WRITE = 2,
    WEFT_FILE_CREATE = 4,    /* make it when there is none, mode 0644 */
    WEFT_FILE_EXCLUSIVE = 8, /* with CREATE: -EEXIST when there is one */
    WEFT_FILE_TRUNCATE = 16, /* these two with WRITE */
    WEFT_FILE_APPEND = 32,   /* writes go to the end, whatever their offset */
};

/* Opens path [borrow] and gives the handle at once [out]; operations may be started before the
 * outcome (status 0 or why not) arrives, they then wait for it, and end with the same status if it
 * is an error. A handle whose opening has failed is closed as any other. Errors: -EINVAL (flags
 * that make no sense together), -ENAMETOOLONG, -ENOMEM, -EBUSY (helpers' queue full), WEFT_E_SHUTDOWN,
 * -ENOSYS (an environment without files). Actor only, as all of these. */
WEFT_API WEFT_MUSTUSE int weft_file_open(weft_ctx *ctx, const char *path, uint32_t flags,
                                         uint64_t token, weft_file **ret_file);
/* Reads up to size bytes at offset; they are the message's payload and weft_msg_status their
 * number, less than size only at the end of the file, or at an error, which the next read there
 * meets again. Errors: -EINVAL (not opened with READ, not this actor's, beyond the largest offset),
 * -ENOMEM, -EBUSY (helpers' queue full, or 4096 operations of this file under way), -EMSGSIZE
 * (above message_max), WEFT_E_SHUTDOWN. */
WEFT_API WEFT_MUSTUSE int weft_file_read(weft_ctx *ctx, weft_file *file, uint64_t offset,
                                         size_t size, uint64_t token);
/* Writes all of buf [borrow, a reference is added] at offset; the status is their number, less than
 * all only if an error came after some, which the next write meets again. Errors as weft_file_read;
 * -EMSGSIZE above 2G. */
WEFT_API WEFT_MUSTUSE int weft_file_write(weft_ctx *ctx, weft_file *file, uint64_t offset,
                                          weft_buf *buf, uint64_t token);
/* Makes lasting what was written, as far as the outcomes have arrived (fdatasync). Errors as
 * weft_file_read. */
WEFT_API WEFT_MUSTUSE int weft_file_sync(weft_ctx *ctx, weft_file *file, uint64_t token);
/* Closes [take]; *file is NULL afterwards. Operations under way go on and their outcomes still
 * arrive; then the descriptor is closed, of which no message tells. */
WEFT_API void weft_file_close(weft_ctx *ctx, weft_file **file);

WEFT_END_DECLS

#endif
