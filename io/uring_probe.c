/* SPDX-License-Identifier: MIT
 *
 * Whether the io_uring driver can be used here. Asked once, when an environment gets its driver;
 * any thread but a scheduler's. Containers often forbid io_uring (seccomp answers EPERM or ENOSYS),
 * administrators switch it off (kernel.io_uring_disabled), older kernels lack what we need.
 *
 * The floor is Linux 6.1, the first with IORING_SETUP_DEFER_TASKRUN. Multishot receives (6.0) and
 * rings of buffers (5.19) cannot be asked for one by one, they are older than that flag.
 */
#ifdef WEFT_URING

#define _GNU_SOURCE
#include "io/uring.h"
#include "io/uring_ring.h"
#include <errno.h>
#include <stdlib.h>

enum { PROBE_ENTRIES = 8, PROBE_OPERATIONS = 256 };

static const char *reason_of(int result) {
    switch (result) {
    case -ENOSYS:
        return "the kernel has no io_uring";
    case -EPERM:
    case -EACCES:
        return "io_uring is not permitted here (seccomp, or kernel.io_uring_disabled)";
    case -EINVAL:
        return "the kernel's io_uring is older than Linux 6.1";
    case -ENOMEM:
        return "no memory for an io_uring (RLIMIT_MEMLOCK)";
    case -EMFILE:
    case -ENFILE:
        return "no descriptor for an io_uring";
    default:
        return "no io_uring could be made";
    }
}

static int probe_operations(struct io_uring *ring) {
    static const int needed[] = {
        IORING_OP_ACCEPT,   IORING_OP_CONNECT, IORING_OP_RECV,  IORING_OP_SEND,
        IORING_OP_SENDMSG,  IORING_OP_RECVMSG, IORING_OP_READ,  IORING_OP_WRITE,
        IORING_OP_READV,    IORING_OP_WRITEV,  IORING_OP_FSYNC, IORING_OP_ASYNC_CANCEL,
        IORING_OP_POLL_ADD,
    };
    size_t bytes =
        sizeof(struct io_uring_probe) + PROBE_OPERATIONS * sizeof(struct io_uring_probe_op);
    struct io_uring_probe *probe = calloc(1, bytes);
    if (probe == NULL) {
        return -ENOMEM;
    }
    int result = io_uring_register_probe(ring, probe, PROBE_OPERATIONS);
    for (size_t i = 0; result >= 0 && i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!io_uring_opcode_supported(probe, needed[i])) {
            result = -EINVAL;
        }
    }
    free(probe);
    return result < 0 ? result : 0;
}

int weft__uring_probe(const char **ret_reason) {
    struct io_uring ring;
    int result = weft__uring_ring_init(&ring, PROBE_ENTRIES, PROBE_ENTRIES * 2);
    if (result == 0) {
        uint32_t needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG;
        result = (ring.features & needed) == needed ? probe_operations(&ring) : -EINVAL;
        io_uring_queue_exit(&ring);
    }
    *ret_reason =
        result == 0 ? "the kernel has an io_uring that does all we need" : reason_of(result);
    return result;
}

#else
#include "io/uring.h"
#endif
