/* SPDX-License-Identifier: MIT
 *
 * Datagram sockets as the program sees them, over both drivers of the operating system: what
 * arrives and from whom, what is refused, bounds in both directions, multicast, and ends of every
 * kind. The other end is a second socket actor or a plain socket of the test's own.
 */
#define _GNU_SOURCE
#include "datagram_support.h"

/* ---- there and back -------------------------------------------------------------------------- */

static void check_round(struct rig *rig, struct end *left, struct end *right, size_t size) {
    static unsigned char bytes[LARGEST];
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(i * 7 + size);
    }
    uint32_t there = inbox_count(right->inbox);
    uint32_t back = inbox_count(left->inbox);
    ck_assert_int_eq(send_from(rig, left, &right->address, bytes, size), 0);
    eventually(inbox_count(right->inbox) == there + 1 && inbox_count(left->inbox) == back + 1);
    struct arrival first = inbox_at(right->inbox, there);
    struct arrival second = inbox_at(left->inbox, back);
    ck_assert_uint_eq(first.tag, WEFT_IO_DATAGRAM);
    ck_assert_uint_eq(first.size, size);
    ck_assert_uint_eq(second.size, size);
    ck_assert(weft_address_equal(&first.from, &left->address));
    ck_assert(weft_address_equal(&second.from, &right->address));
    ck_assert_mem_eq(first.bytes, bytes, size);
    ck_assert_mem_eq(second.bytes, bytes, size);
}

static void check_there_and_back(const weft_config *config, const char *address, size_t largest) {
    static const size_t sizes[] = {0, 1, 31, 192, 193, 1400, 9000, 16000, LARGEST};
    struct rig rig;
    if (!net_start(&rig, config)) {
        return;
    }
    struct end left = open_end(&rig, address);
    struct end right = open_end(&rig, address);
    atomic_store(&right.inbox->echo, true);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && sizes[i] <= largest; i++) {
        check_round(&rig, &left, &right, sizes[i]);
    }
    net_stop(&rig);
    inbox_free(left.inbox);
    inbox_free(right.inbox);
}

START_TEST(datagrams_go_there_and_back) {
    weft_config config = net_config(_i, 2);
    check_there_and_back(&config, "127.0.0.1:0", 16000);
}
END_TEST

START_TEST(datagrams_go_there_and_back_over_ipv6) {
    weft_config config = net_config(_i, 2);
    if (has_ipv6()) {
        check_there_and_back(&config, "[::1]:0", 16000);
    }
}
END_TEST

START_TEST(the_largest_datagram_arrives_whole) {
    weft_config config = net_config(_i, 1);
    config.io_buffer_bytes = 66 << 10;
    config.io_buffers = 8;
    check_there_and_back(&config, "127.0.0.1:0", LARGEST);
}
END_TEST

START_TEST(a_datagram_larger_than_a_buffer_is_dropped_not_cut) {
    weft_config config = net_config(_i, 1);
    config.io_buffer_bytes = 4096;
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    static unsigned char bytes[LARGEST];
    struct end end = open_end(&rig, "127.0.0.1:0");
    static const size_t sizes[] = {4096 - 63, 4096 - 48, 4096, 4097, 60000, 4096 - 64};
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(send_from(&rig, &end, &end.address, bytes, sizes[i]), 0);
    }
    eventually(inbox_count(end.inbox) == 2);
    ck_assert_uint_eq(inbox_at(end.inbox, 1).size, 4096 - 64);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

START_TEST(a_socket_for_both_families_answers_both) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end both = open_end(&rig, "*:0");
    struct end four = open_end(&rig, "127.0.0.1:0");
    atomic_store(&both.inbox->echo, true);
    weft_address target = loopback(both.address.port);
    ck_assert_int_eq(send_from(&rig, &four, &target, "four", 4), 0);
    eventually(inbox_count(four.inbox) == 2);
    if (both.address.family == WEFT_FAMILY_IPV6) {
        ck_assert_int_eq(send_from(&rig, &both, &four.address, "four", 4), -EINVAL);
        ck_assert_uint_eq(inbox_at(both.inbox, 1).from.family, WEFT_FAMILY_IPV6);
    }
    net_stop(&rig);
    inbox_free(both.inbox);
    inbox_free(four.inbox);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

START_TEST(what_cannot_be_opened_is_refused) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    weft_datagram_options good = options_of(&rig, NULL, "127.0.0.1:0");
    good.arg_size = 0;
    weft_datagram_options bad = good;
    ck_assert_int_eq(weft_datagram_open(NULL, &good, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_datagram_open(rig.runtime, NULL, NULL, NULL), -EINVAL);
    bad.struct_size = 8;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EINVAL);
    bad = good;
    bad.type = NULL;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EINVAL);
    bad = good;
    bad.scheduler = 2;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EINVAL);
    bad = good;
    bad.arg_size = 1;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EINVAL);
    static const char *const addresses[] = {NULL,         "",           "nonsense",   "127.0.0.1",
                                            "unix:/none", "unix:@none", "localhost:1"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        bad = good;
        bad.address = addresses[i];
        ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EINVAL);
    }
    bad.address = "192.0.2.1:0";
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EADDRNOTAVAIL);
    struct end end = open_end(&rig, "127.0.0.1:0");
    char text[WEFT_ADDRESS_TEXT_BYTES];
    (void)weft_address_format(&end.address, text, sizeof(text));
    bad.address = text;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &bad, NULL, NULL), -EADDRINUSE);
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &good, NULL, NULL), 0);
    ck_assert_int_eq(weft_runtime_stop(rig.runtime, 20 * S_NS), 0);
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &good, NULL, NULL), WEFT_E_SHUTDOWN);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

static void do_outside(weft_ctx *ctx, void *arg) {
    const weft_address *target = arg;
    weft_address address;
    ck_assert_int_eq(weft_datagram_send(ctx, target, "x", 1), -ENOTCONN);
    ck_assert_int_eq(weft_datagram_sender(ctx, weft_current(ctx), &address), -ENOTCONN);
    ck_assert_int_eq(weft_datagram_join(ctx, target, 0), -ENOTCONN);
    ck_assert_int_eq(weft_datagram_leave(ctx, target, 0), -ENOTCONN);
    ck_assert_int_eq(weft_datagram_multicast(ctx, 0, 1, true), -ENOTCONN);
    ck_assert_int_eq(weft_datagram_close(ctx), -ENOTCONN);
}

static void do_inside(weft_ctx *ctx, void *arg) {
    const weft_address *target = arg;
    static unsigned char bytes[LARGEST + 1];
    weft_address other = *target;
    ck_assert_int_eq(weft_datagram_send(ctx, NULL, "x", 1), -EINVAL);
    ck_assert_int_eq(weft_datagram_send(ctx, target, NULL, 1), -EINVAL);
    ck_assert_int_eq(weft_datagram_send(ctx, target, bytes, LARGEST + 1), -EMSGSIZE);
    ck_assert_int_eq(weft_datagram_send(ctx, target, bytes, SIZE_MAX), -EMSGSIZE);
    other.port = 0;
    ck_assert_int_eq(weft_datagram_send(ctx, &other, "x", 1), -EINVAL);
    other.port = 1;
    other.family = WEFT_FAMILY_IPV6;
    ck_assert_int_eq(weft_datagram_send(ctx, &other, "x", 1), -EINVAL);
    ck_assert_int_eq(weft_datagram_join(ctx, &other, 0), -EINVAL);
    other.family = WEFT_FAMILY_UNIX;
    ck_assert_int_eq(weft_datagram_send(ctx, &other, "x", 1), -EINVAL);
    ck_assert_int_eq(weft_datagram_sender(ctx, weft_current(ctx), &other), -EINVAL);
    ck_assert_int_eq(weft_datagram_sender(ctx, NULL, &other), -EINVAL);
    ck_assert_int_eq(weft_datagram_join(ctx, NULL, 0), -EINVAL);
    ck_assert_int_eq(weft_datagram_join(ctx, target, 0), -EINVAL); /* no group */
    ck_assert_int_eq(weft_datagram_join(ctx, target, UINT32_MAX), -EINVAL);
    ck_assert_int_eq(weft_datagram_multicast(ctx, 0, 256, true), -EINVAL);
    ck_assert_int_eq(weft_datagram_multicast(ctx, UINT32_MAX, 1, true), -EINVAL);
    ck_assert(weft_datagram_multicast(ctx, 0x7ffffff0, 1, true) < 0); /* no such interface */
    ck_assert_int_eq(weft_datagram_multicast(ctx, 0, 0, false), 0);
}

START_TEST(what_makes_no_sense_is_refused) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end end = open_end(&rig, "127.0.0.1:0");
    weft_pid other = rig_spawn(&rig, NULL);
    act(&rig, other, do_outside, &end.address);
    act(&rig, end.pid, do_inside, &end.address);
    ck_assert_int_eq(send_from(&rig, &end, &end.address, "fine", 4), 0);
    eventually(inbox_count(end.inbox) == 2);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

START_TEST(nobody_there_does_no_harm) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end end = open_end(&rig, "127.0.0.1:0");
    uint16_t port;
    int fd = plain_open(&port);
    close(fd); /* nobody has this port now */
    struct sending sending = {.target = loopback(port), .data = "x", .size = 1, .times = 50};
    act(&rig, end.pid, do_send, &sending);
    weft_address nowhere = {.family = WEFT_FAMILY_IPV4, .port = 9, .u.ip = {255, 255, 255, 255}};
    ck_assert_int_eq(send_from(&rig, &end, &nowhere, "x", 1), 0); /* EACCES later: dropped */
    ck_assert_int_eq(send_from(&rig, &end, &end.address, "fine", 4), 0);
    eventually(inbox_count(end.inbox) == 2);
    ck_assert_uint_eq(inbox_at(end.inbox, 1).size, 4);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

/* ---- bounds ---------------------------------------------------------------------------------- */

static void do_send_numbers(weft_ctx *ctx, void *arg) {
    struct sending *sending = arg;
    unsigned char bytes[100] = {0};
    for (uint32_t i = 0; i < sending->times; i++) {
        memcpy(bytes, &sending->accepted, sizeof(uint32_t));
        sending->result = weft_datagram_send(ctx, &sending->target, bytes, sizeof(bytes));
        if (sending->result != 0) {
            ck_assert_int_eq(sending->result, -ENOBUFS);
            break;
        }
        sending->accepted++;
    }
}

START_TEST(sending_is_bounded_and_in_order) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    weft_datagram_options options = options_of(&rig, NULL, "127.0.0.1:0");
    options.send_max = 164 * 300;
    struct end end = open_with(&rig, options);
    uint16_t port;
    int fd = plain_open(&port);
    int room = 212992; /* twice of it: 300 datagrams fit while this thread does not get to run */
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
    for (uint32_t round = 0; round < 5; round++) {
        struct sending sending = {.target = loopback(port), .times = 1000};
        act(&rig, end.pid, do_send_numbers, &sending);
        ck_assert_int_eq(sending.result, -ENOBUFS);
        ck_assert_uint_eq(sending.accepted, 300);
        for (uint32_t i = 0; i < 300; i++) {
            unsigned char bytes[100];
            uint32_t number;
            ck_assert_int_eq(plain_receive(fd, bytes, sizeof(bytes)), 100);
            memcpy(&number, bytes, sizeof(number));
            ck_assert_uint_eq(number, i);
        }
        settle(&rig, end.pid);
    }
    close(fd);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

/* Sends more than a slow actor handles, for a while; then it is fast again. */
static void flood(int number, size_t size, bool keep) {
    weft_config config = net_config(number, 1);
    config.budget = 1; /* a step brings more than a turn handles */
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    weft_datagram_options options = options_of(&rig, NULL, "127.0.0.1:0");
    options.receive_ahead = 64 << 10;
    struct end end = open_with(&rig, options);
    inbox_only_count(end.inbox);
    atomic_store(&end.inbox->delay_ns, 300000);
    uint16_t port;
    int fd = plain_open(&port);
    static unsigned char bytes[2000];
    uint64_t most = 0;
    uint64_t bound = (64 << 10) / (size + 64) + 2 * 128 + 32; /* and what a poll brings at once */
    uint64_t until_ns = clock_ns() + 600 * MS_NS;
    uint64_t patience_ns = until_ns + SOON_NS;
    for (uint32_t i = 0; clock_ns() < until_ns || atomic_load(&end.inbox->datagrams) == 0; i++) {
        ck_assert_uint_lt(clock_ns(), patience_ns);
        plain_send(fd, &end.address, bytes, size);
        if (i % 64 == 0) {
            uint64_t messages = rig_gauges(&rig).messages;
            most = messages > most ? messages : most;
        }
    }
    ck_assert_uint_lt(most, bound);
    uint32_t before;
    atomic_store(&end.inbox->delay_ns, 0);
    atomic_store(&end.inbox->keep, keep);
    settle(&rig, end.pid);
    for (uint32_t i = 0; i < 1000; i++) { /* it goes on, also with messages that are kept */
        before = atomic_load(&end.inbox->datagrams);
        plain_send(fd, &end.address, bytes, size);
        eventually(atomic_load(&end.inbox->datagrams) != before);
    }
    close(fd);
    net_stop(&rig);
    inbox_free(end.inbox);
}

START_TEST(a_flood_of_small_datagrams_is_bounded) {
    flood(_i, 20, false);
}
END_TEST

START_TEST(a_flood_of_large_datagrams_is_bounded) {
    flood(_i, 1400, false);
}
END_TEST

START_TEST(datagrams_that_are_kept_do_not_stop_others) {
    flood(_i, 1400, true);
}
END_TEST

START_TEST(a_flood_of_empty_datagrams_is_bounded) {
    flood(_i, 0, false);
}
END_TEST

/* ---- multicast ------------------------------------------------------------------------------- */

struct membership {
    weft_address group;
    uint32_t interface_index;
    bool leave;
    int result;
};

static void do_membership(weft_ctx *ctx, void *arg) {
    struct membership *membership = arg;
    membership->result =
        membership->leave
            ? weft_datagram_leave(ctx, &membership->group, membership->interface_index)
            : weft_datagram_join(ctx, &membership->group, membership->interface_index);
}

static void do_multicast(weft_ctx *ctx, void *arg) {
    ck_assert_int_eq(weft_datagram_multicast(ctx, *(uint32_t *)arg, 1, true), 0);
}

/* Does a datagram to this IPv6 group come back over this interface? Loopback has no route for it on
 * most machines. */
static bool loops_back(const weft_address *group, uint32_t interface_index) {
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 raw = {.sin6_family = AF_INET6};
    socklen_t length = sizeof(raw);
    struct ipv6_mreq request = {.ipv6mr_interface = interface_index};
    memcpy(&request.ipv6mr_multiaddr, group->u.ip, 16);
    struct timeval wait = {.tv_usec = 200000};
    int index = (int)interface_index;
    bool able = fd >= 0 && bind(fd, (struct sockaddr *)&raw, length) == 0 &&
                getsockname(fd, (struct sockaddr *)&raw, &length) == 0 &&
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 &&
                setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)) == 0 &&
                setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) == 0;
    memcpy(&raw.sin6_addr, group->u.ip, 16);
    char byte = 0;
    able = able && sendto(fd, "x", 1, 0, (struct sockaddr *)&raw, length) == 1 &&
           plain_receive(fd, &byte, 1) == 1;
    if (fd >= 0) {
        close(fd);
    }
    return able;
}

/* An interface for the group, 0: this machine has none. */
static uint32_t interface_for(const weft_address *group) {
    if (group->family == WEFT_FAMILY_IPV4) {
        return if_nametoindex("lo");
    }
    struct if_nameindex *names = if_nameindex();
    uint32_t found = 0;
    for (uint32_t i = 0; names != NULL && names[i].if_index != 0 && found == 0; i++) {
        found = loops_back(group, names[i].if_index) ? names[i].if_index : 0;
    }
    if_freenameindex(names);
    return found;
}

static void check_multicast(int number, const char *any, const char *group_text) {
    weft_config config = net_config(number, 2);
    struct membership membership = {0};
    ck_assert_int_eq(weft_address_parse(group_text, &membership.group), 0);
    uint32_t interface_index = interface_for(&membership.group);
    struct rig rigs[2];
    if (interface_index == 0 || !net_start(&rigs[0], &config) || !net_start(&rigs[1], &config)) {
        return;
    }
    membership.interface_index = interface_index;
    struct end ends[3]; /* two of one runtime, one of the other, all of the same port */
    char text[WEFT_ADDRESS_TEXT_BYTES];
    const char *address = any;
    for (uint32_t i = 0; i < 3; i++) {
        weft_datagram_options options = options_of(&rigs[i / 2], NULL, address);
        options.reuse_port = true;
        ends[i] = open_with(&rigs[i / 2], options);
        (void)weft_address_format(&ends[i].address, text, sizeof(text));
        address = text;
    }
    membership.group.port = ends[0].address.port;
    for (uint32_t i = 0; i < 3; i++) {
        act(&rigs[i / 2], ends[i].pid, do_membership, &membership);
        ck_assert_int_eq(membership.result, 0);
    }
    act(&rigs[0], ends[0].pid, do_membership, &membership);
    ck_assert_int_eq(membership.result, -EADDRINUSE);
    act(&rigs[0], ends[0].pid, do_multicast, &interface_index);
    ck_assert_int_eq(send_from(&rigs[0], &ends[0], &membership.group, "all", 3), 0);
    for (uint32_t i = 0; i < 3; i++) {
        eventually(inbox_count(ends[i].inbox) == 2);
        ck_assert_uint_eq(inbox_at(ends[i].inbox, 1).from.port, ends[0].address.port);
    }
    membership.leave = true;
    act(&rigs[0], ends[1].pid, do_membership, &membership);
    ck_assert_int_eq(membership.result, 0);
    act(&rigs[0], ends[1].pid, do_membership, &membership);
    ck_assert_int_eq(membership.result, -EADDRNOTAVAIL);
    ck_assert_int_eq(send_from(&rigs[0], &ends[0], &membership.group, "two", 3), 0);
    eventually(inbox_count(ends[0].inbox) == 3 && inbox_count(ends[2].inbox) == 3);
    net_stop(&rigs[0]);
    net_stop(&rigs[1]);
    for (uint32_t i = 0; i < 3; i++) {
        inbox_free(ends[i].inbox);
    }
}

START_TEST(a_group_reaches_sockets_of_all_runtimes) {
    check_multicast(_i, "0.0.0.0:0", "239.77.1.2:1");
}
END_TEST

START_TEST(an_ipv6_group_reaches_sockets_of_all_runtimes) {
    check_multicast(_i, "[::]:0", "[ff01::7712]:1");
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------ */

struct closing {
    struct sending sending;
    int result;
    int after;
    int again;
};

static void do_send_and_close(weft_ctx *ctx, void *arg) {
    struct closing *closing = arg;
    do_send(ctx, &closing->sending);
    closing->result = weft_datagram_close(ctx);
    closing->after = weft_datagram_send(ctx, &closing->sending.target, "x", 1);
    closing->again = weft_datagram_close(ctx);
}

START_TEST(close_sends_what_is_queued_and_tells) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end end = open_end(&rig, "127.0.0.1:0");
    uint16_t port;
    int fd = plain_open(&port);
    struct closing closing = {
        .sending = {.target = loopback(port), .data = "bye", .size = 3, .times = 20}};
    act(&rig, end.pid, do_send_and_close, &closing);
    ck_assert_uint_eq(closing.sending.accepted, 20);
    ck_assert_int_eq(closing.result, 0);
    ck_assert_int_eq(closing.after, -EPIPE);
    ck_assert_int_eq(closing.again, 0);
    for (uint32_t i = 0; i < 20; i++) {
        char bytes[8];
        ck_assert_int_eq(plain_receive(fd, bytes, sizeof(bytes)), 3);
    }
    eventually(!is_alive(&rig, end.pid));
    ck_assert_uint_eq(inbox_count(end.inbox), 2);
    ck_assert_uint_eq(inbox_at(end.inbox, 1).tag, WEFT_IO_CLOSED);
    ck_assert_int_eq(inbox_at(end.inbox, 1).status, 0);
    ck_assert_uint_eq(weft_load32_relaxed(&end.inbox->probe.reason), 0);
    close(fd);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

static void do_send_and_exit(weft_ctx *ctx, void *arg) {
    do_send(ctx, arg);
    weft_exit(ctx, 0);
}

START_TEST(what_was_sent_before_a_normal_end_arrives) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end end = open_end(&rig, "127.0.0.1:0");
    uint16_t port;
    int fd = plain_open(&port);
    struct sending sending = {.target = loopback(port), .data = "bye", .size = 3, .times = 20};
    act(&rig, end.pid, do_send_and_exit, &sending);
    for (uint32_t i = 0; i < 20; i++) {
        char bytes[8];
        ck_assert_int_eq(plain_receive(fd, bytes, sizeof(bytes)), 3);
    }
    close(fd);
    eventually(rig_gauges(&rig).io_open == 0);
    net_stop(&rig);
    inbox_free(end.inbox);
}
END_TEST

static void do_send_and_crash(weft_ctx *ctx, void *arg) {
    do_send(ctx, arg);
    weft_exit(ctx, -EIO);
}

/* Sockets end in every way while they send to each other. */
START_TEST(actors_may_end_with_operations_in_flight) {
    weft_config config = net_config(_i, 2);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct end steady = open_end(&rig, "127.0.0.1:0");
    inbox_only_count(steady.inbox);
    atomic_store(&steady.inbox->echo, true);
    static unsigned char bytes[1000];
    for (uint32_t i = 0; i < 100; i++) {
        struct end end = open_end(&rig, "127.0.0.1:0");
        struct sending sending = {
            .target = steady.address, .data = bytes, .size = i * 10, .times = 50};
        act(&rig, end.pid, i % 4 == 0 ? do_send_and_crash : do_send, &sending);
        if (i % 4 == 1) {
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, end.pid, 0), 0);
        } else if (i % 4 == 2) {
            ck_assert_int_eq(weft_runtime_stop_actor(rig.runtime, end.pid, -EPERM), 0);
        } else if (i % 4 == 3) {
            int result;
            act(&rig, end.pid, do_close, &result);
            ck_assert_int_eq(result, 0);
        }
        eventually(weft_load32_acquire(&end.inbox->probe.terminations) != 0);
        inbox_free(end.inbox);
    }
    eventually(rig_gauges(&rig).io_open == 1);
    net_stop(&rig);
    inbox_free(steady.inbox);
}
END_TEST

START_TEST(a_runtime_stops_under_a_flood) {
    for (uint32_t round = 0; round < 10; round++) {
        weft_config config = net_config(_i, 2);
        struct rig rig;
        if (!net_start(&rig, &config)) {
            return;
        }
        struct end ends[8];
        static unsigned char bytes[1400];
        for (uint32_t i = 0; i < 8; i++) {
            ends[i] = open_end(&rig, "127.0.0.1:0");
            inbox_only_count(ends[i].inbox);
            atomic_store(&ends[i].inbox->echo, true);
        }
        for (uint32_t i = 0; i < 8; i++) { /* they echo each other's for ever */
            struct sending sending = {
                .target = ends[(i + 1) % 8].address, .data = bytes, .size = i * 200, .times = 100};
            act(&rig, ends[i].pid, do_send, &sending);
        }
        net_stop(&rig);
        for (uint32_t i = 0; i < 8; i++) {
            inbox_free(ends[i].inbox);
        }
    }
}
END_TEST

START_TEST(init_may_fail_or_close) {
    weft_config config = net_config(_i, 1);
    struct rig rig;
    if (!net_start(&rig, &config)) {
        return;
    }
    struct probe probe = PROBE_INIT;
    struct probe *at = &probe;
    probe.init_result = -EACCES;
    weft_datagram_options options = options_of(&rig, NULL, "127.0.0.1:0");
    options.arg = &at;
    weft_pid pid;
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(weft_datagram_open(rig.runtime, &options, &pid, NULL), 0);
        eventually(!is_alive(&rig, pid));
    }
    probe.init_result = WEFT_STOP;
    ck_assert_int_eq(weft_datagram_open(rig.runtime, &options, &pid, NULL), 0);
    eventually(!is_alive(&rig, pid));
    eventually(rig_gauges(&rig).io_open == 0);
    net_stop(&rig);
    probe_fini(&probe);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

static _Atomic uint64_t requests;
static _Atomic uint64_t fail_from; /* UINT64_MAX: none fails */
static _Atomic uint64_t fail_to;

static void *meager_alloc(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)tag;
    uint64_t number = atomic_fetch_add(&requests, 1);
    bool fails = number >= atomic_load(&fail_from) && number < atomic_load(&fail_to);
    return fails ? NULL : malloc(size);
}

static void meager_free(void *cookie, void *memory, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    free(memory);
}

static void meager_round(struct rig *rig, struct inbox *inbox) {
    struct probe *probe = &inbox->probe;
    weft_datagram_options options = options_of(rig, &probe, "127.0.0.1:0");
    weft_pid pid;
    weft_address address;
    int result = weft_datagram_open(rig->runtime, &options, &pid, &address);
    if (result == 0) {
        struct job job = {.fn = do_send};
        struct sending sending = {.target = address, .data = "data", .size = 4, .times = 10};
        job.arg = &sending;
        weft_msg *reply = NULL;
        (void)!weft_runtime_call(rig->runtime, pid, TAG_ACT, &job, sizeof(job), SOON_NS, &reply);
        weft_runtime_msg_release(rig->runtime, &reply);
    } else {
        ck_assert_int_eq(result, -ENOMEM);
    }
}

START_TEST(any_request_for_memory_may_fail) {
    for (uint64_t nth = 0; nth < 60; nth++) {
        weft_config config = net_config(_i, 1);
        config.allocator = (weft_allocator){.alloc = meager_alloc, .free = meager_free};
        config.io_buffers = 8;
        atomic_store(&fail_from, UINT64_MAX);
        struct rig rig;
        if (!net_start(&rig, &config)) {
            return;
        }
        struct inbox *inbox = inbox_new();
        uint64_t now = atomic_load(&requests);
        atomic_store(&fail_to, now + nth + (nth % 2 == 0 ? 1 : 40));
        atomic_store(&fail_from, now + nth);
        meager_round(&rig, inbox);
        atomic_store(&fail_from, UINT64_MAX);
        struct end end = open_end(&rig, "127.0.0.1:0"); /* and then all is well */
        ck_assert_int_eq(send_from(&rig, &end, &end.address, "fine", 4), 0);
        eventually(inbox_count(end.inbox) == 2);
        net_stop(&rig);
        inbox_free(end.inbox);
        inbox_free(inbox);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("datagram");
    TCase *tcase = tcase_create("datagram");
    tcase_add_loop_test(tcase, datagrams_go_there_and_back, 0, DRIVERS);
    tcase_add_loop_test(tcase, datagrams_go_there_and_back_over_ipv6, 0, DRIVERS);
    tcase_add_loop_test(tcase, the_largest_datagram_arrives_whole, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_datagram_larger_than_a_buffer_is_dropped_not_cut, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_socket_for_both_families_answers_both, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_cannot_be_opened_is_refused, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_makes_no_sense_is_refused, 0, DRIVERS);
    tcase_add_loop_test(tcase, nobody_there_does_no_harm, 0, DRIVERS);
    tcase_add_loop_test(tcase, sending_is_bounded_and_in_order, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_flood_of_small_datagrams_is_bounded, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_flood_of_large_datagrams_is_bounded, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_flood_of_empty_datagrams_is_bounded, 0, DRIVERS);
    tcase_add_loop_test(tcase, datagrams_that_are_kept_do_not_stop_others, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_group_reaches_sockets_of_all_runtimes, 0, DRIVERS);
    tcase_add_loop_test(tcase, an_ipv6_group_reaches_sockets_of_all_runtimes, 0, DRIVERS);
    tcase_add_loop_test(tcase, close_sends_what_is_queued_and_tells, 0, DRIVERS);
    tcase_add_loop_test(tcase, what_was_sent_before_a_normal_end_arrives, 0, DRIVERS);
    tcase_add_loop_test(tcase, actors_may_end_with_operations_in_flight, 0, DRIVERS);
    tcase_add_loop_test(tcase, a_runtime_stops_under_a_flood, 0, DRIVERS);
    tcase_add_loop_test(tcase, init_may_fail_or_close, 0, DRIVERS);
    tcase_add_loop_test(tcase, any_request_for_memory_may_fail, 0, DRIVERS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
