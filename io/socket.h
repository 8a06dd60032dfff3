/* SPDX-License-Identifier: MIT
 *
 * What both drivers of the operating system share: addresses as the kernel has them, and the
 * functions of struct weft_env_io that need no driver (weft/env.h is their contract). They fit
 * into the table as they are; env is not used by any of them.
 *
 * Any thread, without waiting, except weft__socket_resolve and weft__file_call, which may block
 * and belong on helper threads. Nothing here keeps state; global errno is set by the calls but
 * never read across two of them.
 */
#ifndef WEFT_IO_SOCKET_H
#define WEFT_IO_SOCKET_H

#include "core/defs.h"
#include <sys/socket.h>
#include <weft/env.h>

/* Fills *ret_raw and returns its length; 0 when address is NULL, has no family the kernel knows or
 * a path that is too long. */
socklen_t weft__sockaddr_of(const weft_address *address, struct sockaddr_storage *ret_raw);

/* Reads what the kernel filled in, length bytes of it (which may be more than there is room for, as
 * accept says it). A family that weft does not know, or no address at all, becomes
 * WEFT_FAMILY_NONE. */
void weft__address_of(const struct sockaddr_storage *raw, socklen_t length,
                      weft_address *ret_address);

int weft__socket_open(weft_env *env, const weft_io_socket *what, int *ret_fd);
int weft__socket_option(weft_env *env, int fd, enum weft_io_option option, int value,
                        const weft_address *address);
int weft__socket_local(weft_env *env, int fd, weft_address *ret_address);
int weft__socket_peer(weft_env *env, int fd, weft_address *ret_address);
int weft__socket_shutdown(weft_env *env, int fd, bool both);
void weft__socket_close(weft_env *env, int fd);
void weft__socket_unlink(weft_env *env, const weft_address *address);
int weft__socket_resolve(weft_env *env, const char *name, uint16_t port,
                         weft_address *ret_addresses, uint32_t max);
int weft__file_call(weft_env *env, const weft_io_file *call);

#endif
