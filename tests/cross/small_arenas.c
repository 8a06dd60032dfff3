/* SPDX-License-Identifier: MIT
 *
 * For tests under qemu-user, preloaded into them: refuses mappings of more than 1 GiB, so that the
 * runtime's arenas become smaller, which they do where address space is scarce. The emulator keeps
 * a record for every page of a mapping: those of the usual arenas, 64 GiB each, take it longer than
 * a whole test, and gigabytes of memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BYTES_MAX = 1 << 30 };

/* The name programs with 64-bit file offsets call; it is the same function. */
void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (bytes > BYTES_MAX) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    long result = syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    return (void *)result; /* syscall has set errno */
}
