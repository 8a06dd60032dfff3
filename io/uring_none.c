/* SPDX-License-Identifier: MIT
 *
 * What stands for the io_uring driver in builds without liburing (WEFT_URING undefined): no table,
 * and a probe that says so. Any thread; no state. With liburing this file is empty but for its
 * includes.
 */
#include "io/uring.h"
#include <errno.h>

#ifndef WEFT_URING

const weft_env_io *weft__uring_io(void) {
    return NULL;
}

int weft__uring_probe(const char **ret_reason) {
    *ret_reason = "built without liburing";
    return -ENOSYS;
}

#endif
