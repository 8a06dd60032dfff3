/* SPDX-License-Identifier: MIT
 *
 * Addresses as text: see weft/address.h. Called on any thread; pure functions.
 *
 * Invariants: an address that was parsed has every byte defined, those that its family does not
 * use are zero. What parse accepts, format writes in one canonical form, and parsing that gives an
 * equal address. Numbers are decimal without leading zeroes, so that no two readers can disagree
 * about "010". "*" is the IPv6 address [::]: a listener there takes IPv4 as well.
 */
#define _GNU_SOURCE 1

#include "core/defs.h"
#include "core/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <weft/address.h>

enum {
    HOST_BYTES = 64, /* an IPv6 address with a scope, and the zero */
    IPV4_BYTES = 4,
    IPV6_BYTES = 16,
};
_Static_assert(HOST_BYTES > INET6_ADDRSTRLEN + 11, "room for '%' and a scope");

static const char unix_prefix[] = "unix:";
enum { UNIX_PREFIX_BYTES = sizeof(unix_prefix) - 1 };
_Static_assert(UNIX_PREFIX_BYTES + WEFT_ADDRESS_PATH_BYTES < WEFT_ADDRESS_TEXT_BYTES,
               "WEFT_ADDRESS_TEXT_BYTES are always enough");

/* ---- parse --------------------------------------------------------------------------------- */

/* A whole decimal number of at most max. */
static bool parse_number(const char *text, uint64_t max, uint32_t *ret_number) {
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    uint64_t number = 0;
    for (const char *at = text; *at != '\0'; at++) { /* bounded: ends when it exceeds max */
        if (*at < '0' || *at > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(*at - '0');
        if (number > max) {
            return false;
        }
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool parse_unix(const char *name, weft_address *address) {
    size_t length = strnlen(name, WEFT_ADDRESS_PATH_BYTES + 1);
    bool is_abstract = name[0] == '@';
    /* The kernel wants a zero after a path; an abstract name ends by its length. */
    size_t length_max = is_abstract ? WEFT_ADDRESS_PATH_BYTES : WEFT_ADDRESS_PATH_BYTES - 1;
    if (length < (is_abstract ? 2u : 1u) || length > length_max) {
        return false;
    }
    address->family = WEFT_FAMILY_UNIX;
    address->path_length = (uint32_t)length;
    memcpy(address->u.path, name, length);
    if (is_abstract) {
        address->u.path[0] = '\0';
    }
    return true;
}

/* "::1" or "fe80::1%3", without the brackets; host is overwritten. */
static bool parse_ipv6(char *host, weft_address *address) {
    char *percent = strchr(host, '%');
    if (percent != NULL) {
        *percent = '\0';
        if (!parse_number(percent + 1, UINT32_MAX, &address->scope)) {
            return false;
        }
    }
    address->family = WEFT_FAMILY_IPV6;
    return inet_pton(AF_INET6, host, address->u.ip) == 1;
}

static bool parse_ipv4(const char *host, weft_address *address) {
    address->family = WEFT_FAMILY_IPV4;
    return inet_pton(AF_INET, host, address->u.ip) == 1; /* refuses leading zeroes */
}

static bool parse_host(char *host, size_t length, weft_address *address) {
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        return parse_ipv6(host + 1, address);
    }
    if (strcmp(host, "*") == 0) {
        address->family = WEFT_FAMILY_IPV6;
        return true;
    }
    return parse_ipv4(host, address);
}

static bool parse_ip(const char *text, weft_address *address) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= HOST_BYTES) {
        return false;
    }
    uint32_t port = 0;
    if (!parse_number(colon + 1, UINT16_MAX, &port)) {
        return false;
    }
    address->port = (uint16_t)port;
    char host[HOST_BYTES];
    size_t length = (size_t)(colon - text);
    memcpy(host, text, length);
    host[length] = '\0';
    return parse_host(host, length, address);
}

int weft_address_parse(const char *text, weft_address *ret_address) {
    if (text == NULL || ret_address == NULL ||
        strnlen(text, WEFT_ADDRESS_TEXT_BYTES) == WEFT_ADDRESS_TEXT_BYTES) {
        return -EINVAL;
    }
    weft_address address;
    memset(&address, 0, sizeof(address));
    bool done = strncmp(text, unix_prefix, UNIX_PREFIX_BYTES) == 0
                    ? parse_unix(text + UNIX_PREFIX_BYTES, &address)
                    : parse_ip(text, &address);
    if (!done) {
        return -EINVAL;
    }
    memcpy(ret_address, &address, sizeof(address));
    return 0;
}

/* ---- format -------------------------------------------------------------------------------- */

static void put_port(weft__text *text, const weft_address *address) {
    weft__text_put_char(text, ':');
    weft__text_put_u64(text, address->port);
}

/* Zero bytes of an abstract name become '@', as in /proc/net/unix. A peer chooses its name, so it
 * may hold anything else; the log escapes what it shows. */
static void put_unix(weft__text *text, const weft_address *address) {
    weft__text_put(text, unix_prefix);
    uint64_t length = weft_min_u64(address->path_length, WEFT_ADDRESS_PATH_BYTES);
    for (uint64_t i = 0; i < length; i++) {
        char byte = address->u.path[i];
        weft__text_put_char(text, byte == '\0' ? '@' : byte);
    }
}

static void put_ipv6(weft__text *text, const weft_address *address) {
    char host[INET6_ADDRSTRLEN];
    const char *done = inet_ntop(AF_INET6, address->u.ip, host, sizeof(host));
    weft_assert(done != NULL);
    weft__text_put_char(text, '[');
    weft__text_put(text, host);
    if (address->scope != 0) {
        weft__text_put_char(text, '%');
        weft__text_put_u64(text, address->scope);
    }
    weft__text_put_char(text, ']');
    put_port(text, address);
}

static void put_ipv4(weft__text *text, const weft_address *address) {
    char host[INET_ADDRSTRLEN];
    const char *done = inet_ntop(AF_INET, address->u.ip, host, sizeof(host));
    weft_assert(done != NULL);
    weft__text_put(text, host);
    put_port(text, address);
}

int weft_address_format(const weft_address *address, char *bytes, size_t size) {
    if (address == NULL || (bytes == NULL && size != 0)) {
        return -EINVAL;
    }
    weft__text text;
    weft__text_init(&text, bytes, size);
    switch (address->family) {
    case WEFT_FAMILY_UNIX:
        put_unix(&text, address);
        break;
    case WEFT_FAMILY_IPV4:
        put_ipv4(&text, address);
        break;
    case WEFT_FAMILY_IPV6:
        put_ipv6(&text, address);
        break;
    default:
        weft__text_put(&text, "none");
        break;
    }
    return (int)text.length;
}

/* ---- equal --------------------------------------------------------------------------------- */

static bool is_same_path(const weft_address *left, const weft_address *right) {
    return left->path_length == right->path_length &&
           left->path_length <= WEFT_ADDRESS_PATH_BYTES &&
           memcmp(left->u.path, right->u.path, left->path_length) == 0;
}

/* Compares what the family uses and nothing else: a program may have filled the rest with
 * anything. An IPv4 address and the IPv6 one it is mapped into are two: sockets tell them apart. */
bool weft_address_equal(const weft_address *left, const weft_address *right) {
    if (left == NULL || right == NULL || left->family != right->family) {
        return false;
    }
    switch (left->family) {
    case WEFT_FAMILY_UNIX:
        return is_same_path(left, right);
    case WEFT_FAMILY_IPV4:
        return left->port == right->port && memcmp(left->u.ip, right->u.ip, IPV4_BYTES) == 0;
    case WEFT_FAMILY_IPV6:
        return left->port == right->port && left->scope == right->scope &&
               memcmp(left->u.ip, right->u.ip, IPV6_BYTES) == 0;
    default:
        return true;
    }
}
