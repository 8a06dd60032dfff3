/* SPDX-License-Identifier: MIT
 *
 * What tests ask about the machine's network.
 */
#ifndef WEFT_TESTS_UNIT_NET_SUPPORT_H
#define WEFT_TESTS_UNIT_NET_SUPPORT_H

#include "support.h"

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
    if (!has) {
        printf("no IPv6 loopback: skipped\n");
    }
    return has;
}

/* There is no io_uring for a test: it may be left out, but not without a word, and where
 * WEFT_TEST_NEED_URING is 1, as on machines that are known to have it, that is a failure; a build
 * without liburing never has it. Why is what making a driver or a runtime answered. */
static inline void skip_uring(int why) {
#ifdef WEFT_URING
    const char *need = getenv("WEFT_TEST_NEED_URING");
    if (need != NULL && strcmp(need, "1") == 0) {
        ck_abort_msg("no io_uring: %s", weft_strerror(why));
    }
#endif
    printf("no io_uring: skipped (%s)\n", weft_strerror(why));
}

#endif
