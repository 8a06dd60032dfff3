/* SPDX-License-Identifier: MIT
 *
 * Files, without blocking a scheduler. Each call answers at once; its outcome follows as one
 * WEFT_MSG_IO message with tag WEFT_IO_FILE, the caller's token and a status: the result, or a
 * negative errno. A file belongs to the actor that opened it and is closed when that ends. On the
 * ring where there is one, else on helper threads; operations of one file may be carried out in
 * any order.
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
    WEFT_FILE_TRUNCATE = 16,
    WEFT_FILE_APPEND = 32, /* writes go to the end, whatever their offset */
};

/* Opens path [borrow] and gives the handle at once [out]; operations may be started before the
 * outcome (status 0 or why not) arrives, they then wait for it. Errors: -EINVAL, -ENOMEM, -EBUSY
 * (helpers' queue full), -ENOSYS. Actor only. */
WEFT_API WEFT_MUSTUSE int weft_file_open(weft_ctx *ctx, const char *path, uint32_t flags,
                                         uint64_t token, weft_file **ret_file);
/* Reads up to size bytes at offset; they are the message's payload and weft_msg_status their
 * number, less than size only at the end of the file. Errors: -EINVAL, -ENOMEM, -EBUSY, -EMSGSIZE
 * (above message_max). */
WEFT_API WEFT_MUSTUSE int weft_file_read(weft_ctx *ctx, weft_file *file, uint64_t offset,
                                         size_t size, uint64_t token);
/* Writes all of buf [borrow, a reference is added] at offset; the status is their number. */
WEFT_API WEFT_MUSTUSE int weft_file_write(weft_ctx *ctx, weft_file *file, uint64_t offset,
                                          weft_buf *buf, uint64_t token);
/* Makes what was written lasting (fdatasync). */
WEFT_API WEFT_MUSTUSE int weft_file_sync(weft_ctx *ctx, weft_file *file, uint64_t token);
/* Closes [take], when the operations under way are over. No message follows. */
WEFT_API void weft_file_close(weft_ctx *ctx, weft_file **file);

WEFT_END_DECLS

#endif
