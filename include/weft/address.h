/* SPDX-License-Identifier: MIT
 *
 * Addresses of sockets, as values: IPv4, IPv6 and Unix. Text forms: "127.0.0.1:80", "[::1]:80",
 * "[fe80::1%3]:80" (the scope is a number), "*:80" (every IPv6 and IPv4 interface), "0.0.0.0:80",
 * "unix:/path", "unix:@name" (abstract). Host names are for weft_connect only.
 * Stability: stable.
 */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H

#include <weft/defs.h>

WEFT_BEGIN_DECLS

enum weft_family {
    WEFT_FAMILY_NONE = 0,
    WEFT_FAMILY_UNIX = 1,
    WEFT_FAMILY_IPV4 = 4,
    WEFT_FAMILY_IPV6 = 6,
};

enum { WEFT_ADDRESS_PATH_BYTES = 108, WEFT_ADDRESS_TEXT_BYTES = 128 };

typedef struct weft_address {
    uint16_t family;      /* enum weft_family */
    uint16_t port;        /* host order */
    uint32_t scope;       /* IPv6: interface index, 0: none */
    uint32_t path_length; /* Unix: bytes used of path; an abstract name starts with a zero byte */
    union {
        unsigned char ip[16]; /* network order; IPv4 uses the first four */
        char path[WEFT_ADDRESS_PATH_BYTES];
    } u;
} weft_address;

/* Reads a text form. 0, or -EINVAL. *ret_address is untouched on error. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_address_parse(const char *text, weft_address *ret_address);

/* Writes the text form with a terminating zero, cut at size. Returns the length it would have, as
 * snprintf; WEFT_ADDRESS_TEXT_BYTES are always enough. Any thread. */
WEFT_API int weft_address_format(const weft_address *address, char *text, size_t size);

/* True when both name the same endpoint. */
WEFT_API bool weft_address_equal(const weft_address *left, const weft_address *right);

WEFT_END_DECLS

#endif
