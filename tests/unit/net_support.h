/* SPDX-License-Identifier: MIT
 *
 * What tests ask about the machine's network.
 */
#ifndef WEFT_TESTS_UNIT_NET_SUPPORT_H
#define WEFT_TESTS_UNIT_NET_SUPPORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Has this machine an IPv6 loopback? Containers often have none. */
static inline bool has_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    address.sin6_addr = in6addr_loopback;
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return has;
}

#endif
