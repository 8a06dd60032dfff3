/* SPDX-License-Identifier: MIT
 *
 * Listeners: addresses, what they refuse, where connections go, how many there may be, and what
 * happens when the process runs out of descriptors.
 */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "net_support.h"
#include "stream_support.h"

#include <sys/stat.h>

/* ---- addresses --------------------------------------------------------------------------------- */

static int listen_at(struct net *net, struct gate *gate, const char *address, weft_address *ret) {
    weft_listen_options options = listen_options(net, &gate);
    options.address = address;
    weft_pid pid;
    int result = weft_listen(net->rig.runtime, &options, &pid, ret);
    return result;
}

START_TEST(bad_addresses_are_refused) {
    static const char *const bad[] = {"",         "127.0.0.1",       "127.0.0.1:",  ":80",
                                      "host:80",  "127.0.0.1:65536", "[::1]",       "[::1:80",
                                      "1.2.3:80", "unix:",           "127.0.0.1:x", "::1:80"};
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(listen_at(&net, gate, bad[i], NULL) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(listen_at(&net, gate, "192.0.2.1:0", NULL), -EADDRNOTAVAIL);
    ck_assert_int_eq(listen_at(&net, gate, "unix:/nowhere/at/all", NULL), -ENOENT);
    char text[300] = "unix:/";
    memset(text + 6, 'a', 200);
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), -EINVAL);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(wrong_options_are_refused) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    struct net other;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    ck_assert(net_start(&other, _i, 1));
    weft_runtime *runtime = net.rig.runtime;
    ck_assert_int_eq(weft_listen(NULL, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_listen(runtime, NULL, NULL, NULL), -EINVAL);
    for (uint32_t i = 0; i < 13; i++) {
        weft_listen_options options = listen_options(&net, &gate);
        switch (i) {
        case 0:
            options.struct_size = 8;
            break;
        case 1:
            options.address = NULL;
            break;
        case 2:
            options.type = NULL;
            break;
        case 3:
            options.type = other.type;
            break;
        case 4:
            options.arg = NULL;
            break;
        case 5:
            options.scheduler = 3;
            break;
        case 6:
            options.flags = 4;
            break;
        case 7:
            options.stream.flags = 16;
            break;
        case 8:
            options.stream.send_high = 100;
            options.stream.send_low = 101;
            break;
        case 9:
            options.stream.send_high = 100;
            options.stream.send_max = 99;
            break;
        case 10:
            options.stream.send_max = 1;
            options.stream.send_low = 2;
            break;
        case 11:
            options.flags = UINT32_MAX;
            break;
        default:
            options.stream.flags = UINT32_MAX;
            break;
        }
        ck_assert_msg(weft_listen(runtime, &options, NULL, NULL) == -EINVAL, "case %u", i);
    }
    net_stop(&other);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(a_port_in_use_is_refused_and_free_again_after_the_end) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    weft_listen_options options = listen_options(&net, &gate);
    weft_pid pid;
    uint16_t port = net_listen_with(&net, &options, &pid);
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), -EADDRINUSE);
    int fd = far_connect(port);
    (void)line_open(&gate->lines[0]);
    ck_assert_int_eq(weft_runtime_stop_actor(net.rig.runtime, pid, 0), 0);
    weft_address address;
    eventually(listen_at(&net, gate, text, &address) == 0);
    ck_assert_uint_eq(address.port, port);
    ck_assert_int_eq(close(fd), 0);
    (void)line_closed(&gate->lines[0], 0);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(a_privileged_port_is_refused) {
    struct gate *gate = gate_make(NULL);
    if (geteuid() == 0) {
        ck_assert_int_eq(setuid(65534), 0); /* this child only */
    }
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    int result = listen_at(&net, gate, "127.0.0.1:1", NULL);
    ck_assert(result == -EACCES || result == 0); /* a namespace may allow all ports */
    net_stop(&net);
    free(gate);
}
END_TEST

/* Connects by IPv4 or IPv6; 0 or -errno. */
static int dial(int family, uint16_t port, int *ret_fd) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    six.sin6_addr = in6addr_loopback;
    struct sockaddr_in four = far_address(port);
    *ret_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(*ret_fd, 0);
    far_patience(*ret_fd);
    return family == AF_INET6 ? far_join(*ret_fd, &six, sizeof(six))
                              : far_join(*ret_fd, &four, sizeof(four));
}

static void expect_reach(struct net *net, uint16_t port, int family, int expected) {
    int fd;
    if (family == AF_INET6 && !has_ipv6()) {
        ck_assert(expected != 0);
        return;
    }
    weft_stats before = {.struct_size = WEFT_STATS_INIT};
    weft_stats after = {.struct_size = WEFT_STATS_INIT};
    ck_assert_int_eq(weft_stats_read(net->rig.runtime, WEFT_STATS_ALL, &before), 0);
    int result = dial(family, port, &fd);
    if (result == 0 && expected != 0) { /* another program may have the port of that family */
        sleep_ns(100 * MS_NS);
        ck_assert_int_eq(weft_stats_read(net->rig.runtime, WEFT_STATS_ALL, &after), 0);
        ck_assert_uint_eq(after.io_accepts, before.io_accepts);
        ck_assert_int_eq(close(fd), 0);
        return;
    }
    ck_assert_int_eq(result, expected);
    if (result == 0) {
        far_write(fd, 0, 100);
        far_read(fd, 0, 100);
        far_shut(fd);
        far_end(fd);
    }
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(ipv4_ipv6_and_both) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    weft_address address;
    ck_assert_int_eq(listen_at(&net, gate, "127.0.0.1:0", &address), 0);
    expect_reach(&net, address.port, AF_INET, 0);
    expect_reach(&net, address.port, AF_INET6, -ECONNREFUSED);
    if (listen_at(&net, gate, "[::1]:0", &address) == 0) { /* a machine may have no IPv6 */
        ck_assert_uint_eq(address.family, WEFT_FAMILY_IPV6);
        expect_reach(&net, address.port, AF_INET6, 0);
        expect_reach(&net, address.port, AF_INET, -ECONNREFUSED);
        ck_assert_int_eq(listen_at(&net, gate, "*:0", &address), 0);
        expect_reach(&net, address.port, AF_INET6, 0);
        expect_reach(&net, address.port, AF_INET, 0);
        weft_listen_options options = listen_options(&net, &gate);
        options.address = "[::]:0";
        options.flags = WEFT_LISTEN_IPV6_ONLY;
        uint16_t port = net_listen_with(&net, &options, NULL);
        expect_reach(&net, port, AF_INET6, 0);
        expect_reach(&net, port, AF_INET, -ECONNREFUSED);
    }
    ck_assert_int_eq(listen_at(&net, gate, "0.0.0.0:0", &address), 0);
    expect_reach(&net, address.port, AF_INET, 0);
    net_stop(&net);
    free(gate);
}
END_TEST

static int dial_unix(const char *path, bool abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    memcpy(address.sun_path + (abstract ? 1 : 0), path, length);
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1); /* a zero, or in front */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    far_patience(fd);
    int result = far_join(fd, &address, size);
    if (result != 0) {
        close(fd);
    }
    return result == 0 ? fd : result;
}

static void expect_echo(int fd) {
    ck_assert_int_ge(fd, 0);
    far_write(fd, 0, 100000);
    far_read(fd, 0, 100000);
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(a_unix_path_is_replaced_when_stale_and_removed_at_the_end) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    char folder[] = "/tmp/weft-listen-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    char path[64];
    char text[80];
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(text, sizeof(text), "unix:%s", path);
    struct sockaddr_un stale = {.sun_family = AF_UNIX};
    memcpy(stale.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&stale, sizeof(stale)), 0);
    ck_assert_int_eq(close(fd), 0); /* the path stays */
    weft_listen_options options = listen_options(&net, &gate);
    options.address = text;
    options.flags = WEFT_LISTEN_REUSE_PORT; /* means nothing here */
    weft_pid pid;
    (void)net_listen_with(&net, &options, &pid);
    expect_echo(dial_unix(path, false));
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), -EADDRINUSE); /* alive */
    expect_echo(dial_unix(path, false));
    ck_assert_int_eq(weft_runtime_stop_actor(net.rig.runtime, pid, 0), 0);
    struct stat status;
    eventually(stat(path, &status) != 0);
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), 0); /* and again */
    expect_echo(dial_unix(path, false));
    net_stop(&net);
    ck_assert(stat(path, &status) != 0);
    /* What is no socket is left alone. */
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert(net_start(&net, _i, 1));
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), -EADDRINUSE);
    net_stop(&net);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    free(gate);
}
END_TEST

START_TEST(an_abstract_name_works) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    char name[64];
    char text[80];
    snprintf(name, sizeof(name), "weft-listen-%d", (int)getpid());
    snprintf(text, sizeof(text), "unix:@%s", name);
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), 0);
    ck_assert_int_eq(listen_at(&net, gate, text, NULL), -EADDRINUSE);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    far_patience(fd);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    ck_assert_int_eq(far_join(fd, &address, size), 0);
    expect_echo(fd);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(without_io_or_a_running_runtime_nobody_listens) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    weft_address address;
    ck_assert_int_eq(weft_runtime_stop(net.rig.runtime, 10 * S_NS), 0);
    ck_assert_int_eq(listen_at(&net, gate, "127.0.0.1:0", &address), WEFT_E_SHUTDOWN);
    weft_connect_options options = connect_options(&net, "127.0.0.1:80");
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_connect(net.rig.runtime, &options, &pid), WEFT_E_SHUTDOWN);
    net_stop(&net);
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0); /* without weft_env_os_io */
    weft_config config = net_config(1);
    struct net plain = {.fds = net.fds};
    ck_assert_int_eq(weft_runtime_create_env(&config, env, &plain.rig.runtime), 0);
    weft_type_def def = line_def();
    plain.type = rig_type(&plain.rig, &def);
    ck_assert_int_eq(listen_at(&plain, gate, "127.0.0.1:0", &address), -ENOSYS);
    options.type = plain.type;
    ck_assert_int_eq(weft_runtime_connect(plain.rig.runtime, &options, &pid), -ENOSYS);
    ck_assert_int_eq(weft_runtime_destroy(&plain.rig.runtime), 0);
    weft_env_os_destroy(&env);
    free(gate);
}
END_TEST

/* ---- where connections go ---------------------------------------------------------------------- */

enum { SPREAD = 200, SCHEDULERS = 4 };

/* Opens SPREAD connections one after the other and counts them by scheduler. */
static void spread(struct gate *gate, uint16_t port, int fds[SPREAD], uint32_t counts[SCHEDULERS]) {
    for (uint32_t i = 0; i < SPREAD; i++) {
        fds[i] = far_connect(port);
        eventually(gate_count(gate) == i + 1);
        counts[line_open(&gate->lines[i]).scheduler - 1]++;
    }
}

static void unspread(struct gate *gate, int fds[SPREAD]) {
    for (uint32_t i = 0; i < SPREAD; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    for (uint32_t i = 0; i < SPREAD; i++) {
        (void)line_closed(&gate->lines[i], 0);
    }
}

/* 0: spread by number; 1: by the kernel; 2: all on one. */
START_TEST(connections_go_where_they_are_wanted) {
    for (uint32_t way = 0; way < 3; way++) {
        struct gate *gate = gate_make(NULL);
        struct net net;
        if (!net_start(&net, _i, SCHEDULERS)) {
            return;
        }
        weft_listen_options options = listen_options(&net, &gate);
        options.flags = way == 1 ? WEFT_LISTEN_REUSE_PORT : 0;
        options.scheduler = way == 2 ? 3 : 0;
        int fds[SPREAD];
        uint32_t counts[SCHEDULERS] = {0};
        spread(gate, net_listen_with(&net, &options, NULL), fds, counts);
        for (uint32_t i = 0; i < SCHEDULERS; i++) {
            if (way == 2) {
                ck_assert_uint_eq(counts[i], i == 2 ? SPREAD : 0);
            } else if (way == 1) {
                ck_assert_uint_gt(counts[i], 0);
            } else {
                ck_assert_uint_ge(counts[i] + 1, SPREAD / SCHEDULERS);
                ck_assert_uint_le(counts[i], SPREAD / SCHEDULERS + 1);
            }
        }
        unspread(gate, fds);
        net_stop(&net);
        free(gate);
    }
}
END_TEST

/* ---- how many ---------------------------------------------------------------------------------- */

/* True: the connection was reset at once. */
static bool is_refused(int fd) {
    char byte;
    ssize_t done = far_recv(fd, &byte, 1);
    ck_assert(done <= 0);
    return done < 0 && errno == ECONNRESET;
}

/* 0: the listener's limit; 1: the runtime's. */
START_TEST(too_many_are_refused_and_others_are_not_harmed) {
    for (uint32_t way = 0; way < 2; way++) {
        struct line model = {.handler = line_echo};
        struct gate *gate = gate_make(&model);
        struct net net;
        weft_config config = net_config(2);
        config.io_connections = way == 1 ? 10 : 0;
        if (!net_start_with(&net, _i, &config)) {
            return;
        }
        weft_listen_options options = listen_options(&net, &gate);
        options.connections_max = way == 0 ? 10 : 0;
        uint16_t port = net_listen_with(&net, &options, NULL);
        int fds[30];
        for (uint32_t i = 0; i < 30; i++) {
            fds[i] = far_connect(port);
            eventually(rig_stats(&net.rig).io_accepts + rig_stats(&net.rig).io_refused == i + 1);
        }
        ck_assert_uint_eq(rig_stats(&net.rig).io_accepts, 10);
        ck_assert_uint_eq(rig_stats(&net.rig).io_refused, 20);
        for (uint32_t i = 10; i < 30; i++) {
            ck_assert(is_refused(fds[i]));
            ck_assert_int_eq(close(fds[i]), 0);
        }
        for (uint32_t i = 0; i < 10; i++) {
            far_write(fds[i], 0, 1000);
            far_read(fds[i], 0, 1000);
        }
        ck_assert_int_eq(close(fds[0]), 0);             /* room for one */
        eventually(rig_gauges(&net.rig).io_open == 10); /* nine, and the listener */
        fds[0] = far_connect(port);
        far_write(fds[0], 0, 1000);
        far_read(fds[0], 0, 1000);
        for (uint32_t i = 0; i < 10; i++) {
            ck_assert_int_eq(close(fds[i]), 0);
        }
        net_stop(&net);
        free(gate);
    }
}
END_TEST

/* The listener ends, its connections stay; its arg was copied; it is their parent. */
START_TEST(connections_outlive_their_listener) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct gate *copied = gate;
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    for (uint32_t flags = 0; flags <= WEFT_LISTEN_REUSE_PORT; flags++) {
        uint32_t first = gate_count(gate);
        weft_listen_options options = listen_options(&net, &copied);
        options.flags = flags;
        weft_pid pid;
        uint16_t port = net_listen_with(&net, &options, &pid);
        copied = NULL;
        int fds[8];
        for (uint32_t i = 0; i < 8; i++) {
            fds[i] = far_connect(port);
            eventually(gate_count(gate) == first + i + 1);
            struct line line = line_open(&gate->lines[first + i]);
            ck_assert(flags != 0 || weft_pid_equal(line.parent, pid));
            ck_assert(!weft_pid_is_none(line.parent));
        }
        ck_assert_int_eq(weft_runtime_stop_actor(net.rig.runtime, pid, 0), 0);
        eventually(rig_gauges(&net.rig).io_open == 8); /* its siblings end, too */
        int fd = far_open(0);
        struct sockaddr_in address = far_address(port);
        ck_assert(far_join(fd, &address, sizeof(address)) != 0);
        ck_assert_int_eq(close(fd), 0);
        for (uint32_t i = 0; i < 8; i++) {
            far_write(fds[i], 0, 1000);
            far_read(fds[i], 0, 1000);
            ck_assert_int_eq(close(fds[i]), 0);
            (void)line_over(&gate->lines[first + i]);
        }
        copied = gate;
    }
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(a_listener_before_start_serves_after_it) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_create(&net, _i, net_config(2))) {
        return;
    }
    weft_listen_options options = listen_options(&net, &gate);
    uint16_t first = net_listen_with(&net, &options, NULL);
    options.flags = WEFT_LISTEN_REUSE_PORT;
    uint16_t second = net_listen_with(&net, &options, NULL);
    ck_assert(first != second);
    int fds[2] = {far_connect(first), far_connect(second)};
    far_write(fds[0], 0, 1000); /* the kernel's queue has it */
    ck_assert_int_eq(weft_runtime_start(net.rig.runtime), 0);
    far_read(fds[0], 0, 1000);
    far_write(fds[1], 0, 1000);
    far_read(fds[1], 0, 1000);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(a_listener_of_a_runtime_that_never_starts_is_freed) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_create(&net, _i, net_config(2))) {
        return;
    }
    weft_listen_options options = listen_options(&net, &gate);
    (void)net_listen_with(&net, &options, NULL);
    options.flags = WEFT_LISTEN_REUSE_PORT;
    (void)net_listen_with(&net, &options, NULL);
    ck_assert_int_eq(weft_runtime_destroy(&net.rig.runtime), 0);
    ck_assert_uint_eq(count_fds(), net.fds);
    free(gate);
}
END_TEST

static uint32_t count_connected(const int *fds, uint32_t count) {
    uint32_t connected = 0;
    for (uint32_t i = 0; i < count; i++) {
        connected += far_connected(fds[i]) ? 1 : 0;
    }
    return connected;
}

/* The scheduler does not accept: the kernel keeps backlog of them, and no more. */
START_TEST(the_backlog_is_what_was_asked_for) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_create(&net, _i, net_config(1))) {
        return;
    }
    weft_listen_options options = listen_options(&net, &gate);
    options.backlog = 4;
    struct sockaddr_in address = far_address(net_listen_with(&net, &options, NULL));
    int fds[16];
    for (uint32_t i = 0; i < 16; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert(connect(fds[i], (struct sockaddr *)&address, sizeof(address)) != 0);
    }
    eventually(count_connected(fds, 16) >= 4);
    sleep_ns(100 * MS_NS);
    ck_assert_uint_le(count_connected(fds, 16), 6);
    for (uint32_t i = 0; i < 16; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    ck_assert_int_eq(weft_runtime_start(net.rig.runtime), 0);
    net_stop(&net);
    free(gate);
}
END_TEST

/* ---- descriptors ------------------------------------------------------------------------------- */

static void count_warnings(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    if (level == WEFT_LOG_WARN && strcmp(event->name, "io.accept") == 0) {
        (void)weft_add32_acq_rel(cookie, 1);
    }
}

START_TEST(without_descriptors_those_who_knock_wait) {
    weft_atomic_u32 warnings = {0};
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    weft_config config = net_config(2);
    config.log = (weft_log_hook){.cookie = &warnings, .cb = count_warnings};
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    int fds[20];
    for (uint32_t i = 0; i < 20; i++) { /* the far ends first: they need descriptors as well */
        fds[i] = far_open(0);
    }
    int top = dup(fds[0]);
    ck_assert_int_eq(close(top), 0);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit low = {.rlim_cur = (rlim_t)top + 9, .rlim_max = limit.rlim_max};
    struct rlimit none = {.rlim_cur = (rlim_t)top, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(listen_at(&net, gate, "127.0.0.1:0", NULL), -EMFILE);
    /* Before it listens: an accept that goes on keeps to the limit it began with. */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint16_t port = net_listen(&net, gate, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        far_dial(fds[i], port);
        far_write(fds[i], 0, 1000);
    }
    eventually(rig_stats(&net.rig).io_accept_errors != 0);
    eventually(gate_count(gate) == 8);
    uint64_t before = rig_stats(&net.rig).io_accept_errors;
    uint64_t before_ns = clock_ns();
    sleep_ns(300 * MS_NS); /* does not spin meanwhile */
    uint64_t errors = rig_stats(&net.rig).io_accept_errors - before;
    ck_assert_uint_le(errors, 20 * (1 + (clock_ns() - before_ns) / (300 * MS_NS)));
    ck_assert_uint_ge(weft_load32_acquire(&warnings), 1);
    ck_assert_uint_eq(rig_stats(&net.rig).io_accepts, 8);
    far_read(fds[0], 0, 1000); /* those that are in get on */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (uint32_t i = 1; i < 20; i++) {
        far_read(fds[i], 0, 1000);
    }
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    net_stop(&net);
    free(gate);
}
END_TEST

static Suite *listen_suite(void) {
    Suite *suite = suite_create("stream_listen");
    TCase *addresses = tcase_create("addresses");
    tcase_add_loop_test(addresses, bad_addresses_are_refused, 0, NET_DRIVERS);
    tcase_add_loop_test(addresses, wrong_options_are_refused, 0, NET_DRIVERS);
    tcase_add_loop_test(addresses, a_port_in_use_is_refused_and_free_again_after_the_end, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(addresses, a_privileged_port_is_refused, 0, NET_DRIVERS);
    tcase_add_loop_test(addresses, ipv4_ipv6_and_both, 0, NET_DRIVERS);
    tcase_add_loop_test(addresses, a_unix_path_is_replaced_when_stale_and_removed_at_the_end, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(addresses, an_abstract_name_works, 0, NET_DRIVERS);
    tcase_add_loop_test(addresses, without_io_or_a_running_runtime_nobody_listens, 0, NET_DRIVERS);
    suite_add_tcase(suite, addresses);
    TCase *places = tcase_create("places");
    tcase_add_loop_test(places, connections_go_where_they_are_wanted, 0, NET_DRIVERS);
    tcase_add_loop_test(places, too_many_are_refused_and_others_are_not_harmed, 0, NET_DRIVERS);
    tcase_add_loop_test(places, connections_outlive_their_listener, 0, NET_DRIVERS);
    tcase_add_loop_test(places, a_listener_before_start_serves_after_it, 0, NET_DRIVERS);
    tcase_add_loop_test(places, a_listener_of_a_runtime_that_never_starts_is_freed, 0, NET_DRIVERS);
    tcase_add_loop_test(places, the_backlog_is_what_was_asked_for, 0, NET_DRIVERS);
    tcase_add_loop_test(places, without_descriptors_those_who_knock_wait, 0, NET_DRIVERS);
    suite_add_tcase(suite, places);
    return suite;
}

int main(void) {
    return run_suite(listen_suite());
}
