/* SPDX-License-Identifier: MIT
 *
 * Sockets of the operating system without a driver: how they are made, set up and closed, and the
 * blocking calls that helper threads make. See io/socket.h for the callers and weft/env.h for the
 * contract of each function.
 *
 * Every descriptor made here is non-blocking and close-on-exec from its birth, and is closed again
 * when a later step of making it fails.
 */
#define _GNU_SOURCE 1

#include "io/socket.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <weft/file.h>

enum {
    BACKLOG_DEFAULT = 1024,
    FILE_MODE = 0644,
    FILE_BYTES_MAX = 0x7ffff000, /* what Linux reads or writes in one call; fits in int */
    INTERRUPTED_MAX = 1000,      /* signals in a row; helper threads have them blocked */
    PORT_TEXT_BYTES = 8,
    KEEPALIVE_PROBES = 3, /* unanswered ones, and the peer has gone */
};

static const socklen_t path_offset = offsetof(struct sockaddr_un, sun_path);
_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == WEFT_ADDRESS_PATH_BYTES,
               "Unix paths are as long as the kernel's");

static int result_of(int status) {
    return status < 0 ? -errno : status;
}

/* ---- addresses ----------------------------------------------------------------------------- */

static socklen_t unix_sockaddr_of(const weft_address *address, struct sockaddr_storage *ret_raw) {
    uint32_t length = address->path_length;
    if (length > WEFT_ADDRESS_PATH_BYTES) {
        return 0;
    }
    bool is_path = length > 0 && address->u.path[0] != '\0';
    if (is_path && length == WEFT_ADDRESS_PATH_BYTES) {
        return 0; /* no room for the zero at its end */
    }
    struct sockaddr_un raw = {.sun_family = AF_UNIX};
    memcpy(raw.sun_path, address->u.path, length);
    memcpy(ret_raw, &raw, sizeof(raw));
    return path_offset + (socklen_t)length + (is_path ? 1 : 0);
}

socklen_t weft__sockaddr_of(const weft_address *address, struct sockaddr_storage *ret_raw) {
    if (address == NULL) {
        return 0;
    }
    if (address->family == WEFT_FAMILY_IPV4) {
        struct sockaddr_in raw = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&raw.sin_addr, address->u.ip, sizeof(raw.sin_addr));
        memcpy(ret_raw, &raw, sizeof(raw));
        return sizeof(raw);
    }
    if (address->family == WEFT_FAMILY_IPV6) {
        struct sockaddr_in6 raw = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(address->port),
                                   .sin6_scope_id = address->scope};
        memcpy(&raw.sin6_addr, address->u.ip, sizeof(raw.sin6_addr));
        memcpy(ret_raw, &raw, sizeof(raw));
        return sizeof(raw);
    }
    return address->family == WEFT_FAMILY_UNIX ? unix_sockaddr_of(address, ret_raw) : 0;
}

static void address_of_unix(const struct sockaddr_storage *from, socklen_t length,
                            weft_address *address) {
    struct sockaddr_un raw;
    memcpy(&raw, from, sizeof(raw));
    address->family = WEFT_FAMILY_UNIX;
    size_t size = length - path_offset;
    if (size > WEFT_ADDRESS_PATH_BYTES) {
        size = WEFT_ADDRESS_PATH_BYTES; /* a path of 108 bytes is reported with a zero behind it */
    }
    if (size > 0 && raw.sun_path[0] != '\0') {
        size = strnlen(raw.sun_path, size);
    }
    address->path_length = (uint32_t)size;
    memcpy(address->u.path, raw.sun_path, size);
}

void weft__address_of(const struct sockaddr_storage *from, socklen_t length,
                      weft_address *ret_address) {
    memset(ret_address, 0, sizeof(*ret_address));
    if (length < sizeof(sa_family_t)) {
        return;
    }
    if (from->ss_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in raw;
        memcpy(&raw, from, sizeof(raw));
        ret_address->family = WEFT_FAMILY_IPV4;
        ret_address->port = ntohs(raw.sin_port);
        memcpy(ret_address->u.ip, &raw.sin_addr, sizeof(raw.sin_addr));
    } else if (from->ss_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 raw;
        memcpy(&raw, from, sizeof(raw));
        ret_address->family = WEFT_FAMILY_IPV6;
        ret_address->port = ntohs(raw.sin6_port);
        ret_address->scope = raw.sin6_scope_id;
        memcpy(ret_address->u.ip, &raw.sin6_addr, sizeof(raw.sin6_addr));
    } else if (from->ss_family == AF_UNIX && length >= path_offset) {
        address_of_unix(from, length, ret_address);
    }
}

/* ---- open ---------------------------------------------------------------------------------- */

static int set_int(int fd, int level, int name, int value) {
    return result_of(setsockopt(fd, level, name, &value, sizeof(value)));
}

/* True when path is a socket that nobody listens to: its process ended without removing it.
 * Between bind and listen a socket of a living process looks the same, and so does the moment
 * between this look and the unlink: two servers started on one path at once may both believe they
 * have it, the later one does. */
static bool is_stale(const struct sockaddr_storage *raw, socklen_t length) {
    struct sockaddr_un path;
    memcpy(&path, raw, sizeof(path));
    struct stat status;
    if (path.sun_path[0] == '\0' || lstat(path.sun_path, &status) != 0 ||
        !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool refused = connect(fd, (const struct sockaddr *)raw, length) < 0 && errno == ECONNREFUSED;
    (void)close(fd); /* nothing was sent on it */
    return refused;
}

static int bind_listener(int fd, const struct sockaddr_storage *raw, socklen_t length) {
    int result = result_of(bind(fd, (const struct sockaddr *)raw, length));
    if (result != -EADDRINUSE || raw->ss_family != AF_UNIX || !is_stale(raw, length)) {
        return result;
    }
    struct sockaddr_un path;
    memcpy(&path, raw, sizeof(path));
    if (unlink(path.sun_path) < 0 && errno != ENOENT) {
        return -errno;
    }
    return result_of(bind(fd, (const struct sockaddr *)raw, length));
}

/* Options that must be set before bind. */
static int prepare(int fd, sa_family_t family, const weft_io_socket *what) {
    if (family == AF_UNIX) {
        return 0;
    }
    int result = 0;
    if (family == AF_INET6) { /* always: what it is else depends on the machine's settings */
        result = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, what->ipv6_only ? 1 : 0);
    }
    /* A listener may be opened again while connections of its predecessor still time out; for a
     * datagram socket the same option would let anybody take over its port. */
    bool reuse_address =
        what->kind == WEFT_IO_LISTEN || (what->kind == WEFT_IO_DATAGRAM_SOCKET && what->reuse_port);
    if (result == 0 && reuse_address) {
        result = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (result == 0 && what->reuse_port && what->kind != WEFT_IO_STREAM) {
        result = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    return result;
}

static int bind_local(int fd, sa_family_t family, const weft_address *local) {
    struct sockaddr_storage raw;
    socklen_t length = weft__sockaddr_of(local, &raw);
    if (length == 0 || raw.ss_family != family) {
        return -EINVAL;
    }
    if (family != AF_UNIX && local->port == 0) {
        /* Lets connect choose the port, which then need only differ per peer. Kernels without the
         * option choose it here. */
        (void)set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    }
    return result_of(bind(fd, (const struct sockaddr *)&raw, length));
}

static int set_up(int fd, const struct sockaddr_storage *raw, socklen_t length,
                  const weft_io_socket *what) {
    int result = prepare(fd, raw->ss_family, what);
    if (result != 0) {
        return result;
    }
    if (what->kind == WEFT_IO_STREAM) {
        return what->local == NULL ? 0 : bind_local(fd, raw->ss_family, what->local);
    }
    if (what->kind == WEFT_IO_DATAGRAM_SOCKET) {
        return result_of(bind(fd, (const struct sockaddr *)raw, length));
    }
    result = bind_listener(fd, raw, length);
    uint32_t backlog = what->backlog == 0 ? BACKLOG_DEFAULT : what->backlog;
    if (result == 0) {
        result = result_of(listen(fd, backlog > INT32_MAX ? INT32_MAX : (int)backlog));
    }
    return result;
}

static int open_at(const weft_address *address, const weft_io_socket *what, int *ret_fd) {
    struct sockaddr_storage raw;
    socklen_t length = weft__sockaddr_of(address, &raw);
    bool is_datagram = what->kind == WEFT_IO_DATAGRAM_SOCKET;
    if (length == 0 || (is_datagram && raw.ss_family == AF_UNIX)) {
        return -EINVAL;
    }
    int type = is_datagram ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(raw.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result = set_up(fd, &raw, length, what);
    if (result != 0) {
        (void)close(fd); /* nothing was sent on it */
        return result;
    }
    *ret_fd = fd;
    return 0;
}

/* True for [::], which stands for every IPv4 interface too unless that was excluded. */
static bool is_any_ipv6(const weft_io_socket *what) {
    static const unsigned char zeroes[16];
    return what->address->family == WEFT_FAMILY_IPV6 && !what->ipv6_only &&
           what->kind != WEFT_IO_STREAM && memcmp(what->address->u.ip, zeroes, sizeof(zeroes)) == 0;
}

int weft__socket_open(weft_env *env, const weft_io_socket *what, int *ret_fd) {
    (void)env;
    if (what->address == NULL || what->kind < WEFT_IO_LISTEN ||
        what->kind > WEFT_IO_DATAGRAM_SOCKET) {
        return -EINVAL;
    }
    int result = open_at(what->address, what, ret_fd);
    if ((result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL) && is_any_ipv6(what)) {
        /* A machine without IPv6: what is left of "every interface" is IPv4. */
        weft_address any = {.family = WEFT_FAMILY_IPV4, .port = what->address->port};
        result = open_at(&any, what, ret_fd);
    }
    return result;
}

/* ---- options ------------------------------------------------------------------------------- */

/* The system's own interval and count would notice a dead peer eleven minutes after the first probe
 * only; with these it takes twice the time until that. */
static int set_keepalive(int fd, int seconds) {
    int result = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, seconds > 0 ? 1 : 0);
    if (result != 0 || seconds <= 0) {
        return result;
    }
    int interval = seconds / KEEPALIVE_PROBES;
    result = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    if (result == 0) {
        result = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval > 1 ? interval : 1);
    }
    return result != 0 ? result : set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static int set_membership(int fd, int name, int interface_index, const weft_address *group) {
    struct group_req request;
    memset(&request, 0, sizeof(request));
    socklen_t length = weft__sockaddr_of(group, &request.gr_group);
    if (length == 0 || request.gr_group.ss_family == AF_UNIX || interface_index < 0) {
        return -EINVAL;
    }
    request.gr_interface = (uint32_t)interface_index;
    int level = request.gr_group.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    return result_of(setsockopt(fd, level, name, &request, sizeof(request)));
}

static int set_multicast(int fd, enum weft_io_option option, int value) {
    int family = 0;
    socklen_t size = sizeof(family);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) {
        return -errno;
    }
    bool is_ipv6 = family == AF_INET6;
    if (!is_ipv6 && family != AF_INET) {
        return -EINVAL;
    }
    int level = is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
    switch (option) {
    case WEFT_IO_MULTICAST_HOPS:
        return set_int(fd, level, is_ipv6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, value);
    case WEFT_IO_MULTICAST_LOOP:
        return set_int(fd, level, is_ipv6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, value);
    default:
        break;
    }
    if (is_ipv6) {
        return set_int(fd, level, IPV6_MULTICAST_IF, value);
    }
    struct ip_mreqn interface = {.imr_ifindex = value};
    return result_of(setsockopt(fd, level, IP_MULTICAST_IF, &interface, sizeof(interface)));
}

int weft__socket_option(weft_env *env, int fd, enum weft_io_option option, int value,
                        const weft_address *address) {
    (void)env;
    struct linger reset = {.l_onoff = value != 0 ? 1 : 0};
    switch (option) {
    case WEFT_IO_NODELAY:
        return set_int(fd, IPPROTO_TCP, TCP_NODELAY, value);
    case WEFT_IO_KEEPALIVE:
        return set_keepalive(fd, value);
    case WEFT_IO_RESET:
        return result_of(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
    case WEFT_IO_JOIN:
        return set_membership(fd, MCAST_JOIN_GROUP, value, address);
    case WEFT_IO_LEAVE:
        return set_membership(fd, MCAST_LEAVE_GROUP, value, address);
    case WEFT_IO_MULTICAST_INTERFACE:
    case WEFT_IO_MULTICAST_HOPS:
    case WEFT_IO_MULTICAST_LOOP:
        return set_multicast(fd, option, value);
    default:
        return -EINVAL;
    }
}

/* ---- the rest of a socket's life ----------------------------------------------------------- */

int weft__socket_local(weft_env *env, int fd, weft_address *ret_address) {
    (void)env;
    struct sockaddr_storage raw = {0};
    socklen_t length = sizeof(raw);
    if (getsockname(fd, (struct sockaddr *)&raw, &length) < 0) {
        return -errno;
    }
    weft__address_of(&raw, length, ret_address);
    return 0;
}

int weft__socket_peer(weft_env *env, int fd, weft_address *ret_address) {
    (void)env;
    struct sockaddr_storage raw = {0};
    socklen_t length = sizeof(raw);
    if (getpeername(fd, (struct sockaddr *)&raw, &length) < 0) {
        return -errno;
    }
    weft__address_of(&raw, length, ret_address);
    return 0;
}

int weft__socket_shutdown(weft_env *env, int fd, bool both) {
    (void)env;
    return result_of(shutdown(fd, both ? SHUT_RDWR : SHUT_WR));
}

void weft__socket_close(weft_env *env, int fd) {
    (void)env;
    int result = close(fd);
    /* Whatever else close answers, Linux has given the number back. */
    weft_assert(result == 0 || errno != EBADF);
}

void weft__socket_unlink(weft_env *env, const weft_address *address) {
    (void)env;
    struct sockaddr_storage raw;
    if (address == NULL || address->family != WEFT_FAMILY_UNIX ||
        weft__sockaddr_of(address, &raw) == 0) {
        return;
    }
    struct sockaddr_un path;
    memcpy(&path, &raw, sizeof(path));
    struct stat status;
    if (path.sun_path[0] != '\0' && lstat(path.sun_path, &status) == 0 &&
        S_ISSOCK(status.st_mode)) {
        (void)unlink(path.sun_path); /* what stays is stale, and the next listener replaces it */
    }
}

/* ---- for helper threads -------------------------------------------------------------------- */

int weft__socket_resolve(weft_env *env, const char *name, uint16_t port,
                         weft_address *ret_addresses, uint32_t max) {
    (void)env;
    char service[PORT_TEXT_BYTES];
    weft__text text;
    weft__text_init(&text, service, sizeof(service));
    weft__text_put_u64(&text, port);
    /* Not AI_ADDRCONFIG: on a machine that has only its loopback interface up it hides addresses of
     * that. Connecting tries all of them anyway. */
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    if (getaddrinfo(name, service, &hints, &list) != 0) {
        return WEFT_E_RESOLVE;
    }
    uint32_t count = 0;
    for (struct addrinfo *at = list; at != NULL && count < max; at = at->ai_next) {
        if (at->ai_addrlen > sizeof(struct sockaddr_storage)) {
            continue;
        }
        struct sockaddr_storage raw = {0};
        memcpy(&raw, at->ai_addr, at->ai_addrlen);
        weft__address_of(&raw, at->ai_addrlen, &ret_addresses[count]);
        uint16_t family = ret_addresses[count].family;
        count += family == WEFT_FAMILY_IPV4 || family == WEFT_FAMILY_IPV6 ? 1 : 0;
    }
    freeaddrinfo(list);
    return count == 0 ? WEFT_E_RESOLVE : (int)count;
}

static int open_once(const char *path, int mode) {
    int result = -EINTR;
    for (uint32_t i = 0; i < INTERRUPTED_MAX && result == -EINTR; i++) {
        result = result_of(open(path, mode, FILE_MODE));
    }
    return result;
}

static int file_open(const weft_io_file *call) {
    static const struct {
        uint32_t ours;
        int theirs;
    } flags[] = {
        {WEFT_FILE_CREATE, O_CREAT},
        {WEFT_FILE_EXCLUSIVE, O_EXCL},
        {WEFT_FILE_TRUNCATE, O_TRUNC},
        {WEFT_FILE_APPEND, O_APPEND},
    };
    bool reads = (call->flags & WEFT_FILE_READ) != 0;
    bool writes = (call->flags & WEFT_FILE_WRITE) != 0;
    if (call->path == NULL || (!reads && !writes)) {
        return -EINVAL;
    }
    int mode = O_CLOEXEC | (reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        mode |= (call->flags & flags[i].ours) != 0 ? flags[i].theirs : 0;
    }
    /* Not blocking at first: a FIFO without a writer, or a device, must not hold a helper for ever.
     * A regular file that somebody has a lease on answers -EAGAIN so, and is worth waiting for. */
    int result = open_once(call->path, mode | O_NONBLOCK);
    struct stat about;
    if (result == -EAGAIN && stat(call->path, &about) == 0 && S_ISREG(about.st_mode)) {
        return open_once(call->path, mode);
    }
    if (result >= 0 && fstat(result, &about) == 0 && S_ISREG(about.st_mode)) {
        (void)fcntl(result, F_SETFL, mode & O_APPEND); /* it would change how the ring reads it */
    }
    return result;
}

/* Goes on after what was moved until all is, the file ends or a call fails. The failure is only
 * told when nothing was moved: the next call meets it again. */
static int file_move(const weft_io_file *call) {
    size_t size = call->size > FILE_BYTES_MAX ? FILE_BYTES_MAX : call->size;
    unsigned char *bytes = call->data;
    size_t done = 0;
    uint32_t interrupted = 0;
    while (done < size) { /* bounded: each turn moves a byte, is counted or is the last */
        off_t offset = (off_t)(call->offset + done);
        ssize_t moved = call->call == WEFT_IO_FILE_READ
                            ? pread(call->fd, bytes + done, size - done, offset)
                            : pwrite(call->fd, bytes + done, size - done, offset);
        if (moved < 0 && errno == EINTR && interrupted < INTERRUPTED_MAX) {
            interrupted++;
            continue;
        }
        if (moved < 0 && done == 0) {
            return -errno;
        }
        if (moved <= 0) {
            break;
        }
        done += (size_t)moved;
    }
    return (int)done;
}

static int file_sync(int fd) {
    int result = -EINTR;
    for (uint32_t i = 0; i < INTERRUPTED_MAX && result == -EINTR; i++) {
        result = result_of(fdatasync(fd));
    }
    return result;
}

int weft__file_call(weft_env *env, const weft_io_file *call) {
    (void)env;
    switch (call->call) {
    case WEFT_IO_FILE_OPEN:
        return file_open(call);
    case WEFT_IO_FILE_READ:
    case WEFT_IO_FILE_WRITE:
        return file_move(call);
    case WEFT_IO_FILE_SYNC:
        return file_sync(call->fd);
    default:
        return -EINVAL;
    }
}
