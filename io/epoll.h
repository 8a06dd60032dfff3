/* SPDX-License-Identifier: MIT
 *
 * The epoll driver: struct weft_env_io where io_uring is not to be had. See io/epoll.c.
 */
#ifndef WEFT_IO_EPOLL_H
#define WEFT_IO_EPOLL_H

#include <weft/env.h>

/* Constant, for every environment of the operating system. Any thread. */
const weft_env_io *weft__epoll_io(void);

#endif
