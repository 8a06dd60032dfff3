/* SPDX-License-Identifier: MIT
 *
 * The io_uring driver, seen from outside: its table and whether it can be used here. Without
 * liburing (WEFT_URING undefined) there is no table and the probe says why (io/uring_none.c).
 */
#ifndef WEFT_IO_URING_H
#define WEFT_IO_URING_H

#include <weft/env.h>

/* Constant, for every environment of the operating system; NULL: built without. Any thread. */
const weft_env_io *weft__uring_io(void);

/* Makes and drops a small ring. 0: the kernel lets us and has everything that is needed; else a
 * negative errno. *ret_reason is set in both cases, to a static text. May sleep for some
 * milliseconds. Any thread but a scheduler's. */
int weft__uring_probe(const char **ret_reason);

#endif
