/* SPDX-License-Identifier: MIT
 *
 * Connecting: addresses and names, several addresses of one name, what goes wrong, and when. Then
 * what a runtime does with its connections when it stops, and two runtimes that talk to each other.
 */
#define _GNU_SOURCE 1
#include "stream_support.h"

#include <poll.h>

static struct line *line_new(void) {
    struct line *line = calloc(1, sizeof(*line));
    ck_assert_ptr_nonnull(line);
    line_make(line);
    return line;
}

/* ---- that it works ----------------------------------------------------------------------------- */

/* Connects a line to an echo and sends it a hundred thousand bytes. */
static void expect_echo(struct net *net, weft_connect_options options) {
    struct line *line = line_new();
    line->handler = line_pumps;
    line->number = 100000;
    (void)net_connect_with(net, options, line);
    struct line now = line_closed(line, 0);
    ck_assert_uint_eq(now.bytes, 100000);
    free(line);
}

START_TEST(addresses_and_names_are_connected_to) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    char text[64];
    uint16_t port = net_listen(&net, gate, NULL);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    expect_echo(&net, connect_options(&net, text));
    snprintf(text, sizeof(text), "localhost:%u", port);
    expect_echo(&net, connect_options(&net, text));
    weft_listen_options options = listen_options(&net, &gate);
    options.address = "[::1]:0";
    weft_address address;
    if (weft_listen(net.rig.runtime, &options, NULL, &address) == 0) {
        snprintf(text, sizeof(text), "[::1]:%u", address.port);
        expect_echo(&net, connect_options(&net, text));
    }
    char name[64];
    snprintf(name, sizeof(name), "unix:@weft-connect-%d", (int)getpid());
    options.address = name;
    ck_assert_int_eq(weft_listen(net.rig.runtime, &options, NULL, NULL), 0);
    expect_echo(&net, connect_options(&net, name));
    weft_connect_options slow = connect_options(&net, text); /* what needs no sight of its own */
    slow.stream.flags = WEFT_STREAM_DELAY;
    slow.stream.keepalive_ns = 10 * S_NS;
    slow.stream.idle_ns = WEFT_STREAM_NEVER;
    slow.stream.linger_ns = WEFT_STREAM_NEVER;
    slow.timeout_ns = UINT64_MAX;
    expect_echo(&net, slow);
    slow.address = name; /* no TCP: the options mean nothing */
    expect_echo(&net, slow);
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(the_local_address_and_the_scheduler_are_chosen) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 3)) {
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", net_listen(&net, gate, NULL));
    struct line *line = line_new();
    weft_connect_options options = connect_options(&net, text);
    options.local = "127.0.0.5:0";
    options.scheduler = 3;
    (void)net_connect_with(&net, options, line);
    ck_assert_uint_eq(line_open(line).scheduler, 3);
    weft_stream_info info;
    ck_assert(line_act(&net, line, do_inspect, &info));
    ck_assert(!info.accepted);
    ck_assert_uint_eq(info.local.u.ip[3], 5);
    (void)line_open(&gate->lines[0]);
    ck_assert(line_act(&net, &gate->lines[0], do_inspect, &info));
    ck_assert(info.accepted);
    ck_assert_uint_eq(info.peer.u.ip[3], 5);
    line_do(&net, line, do_close);
    (void)line_closed(line, 0);
    (void)line_closed(&gate->lines[0], 0);
    net_stop(&net);
    free(gate);
    free(line);
}
END_TEST

/* An actor's own connection is its child, on its scheduler. */
struct dialer {
    struct net *net;
    const char *address;
    struct line *line;
    weft_pid pid;
    uint32_t scheduler;
};

static void do_connect(weft_ctx *ctx, void *arg) {
    struct dialer *dialer = arg;
    struct line_arg line = line_arg(dialer->line);
    weft_connect_options options = connect_options(dialer->net, dialer->address);
    options.arg = &line;
    options.arg_size = sizeof(line.bytes);
    ck_assert_int_eq(weft_connect(NULL, &options, &dialer->pid), -EINVAL);
    ck_assert_int_eq(weft_connect(ctx, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_connect(ctx, &options, &dialer->pid), 0);
    memset(line.bytes, 0, sizeof(line.bytes)); /* it was copied */
    dialer->scheduler = weft_scheduler_of(ctx);
}

START_TEST(an_actor_connects_a_child_on_its_scheduler) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    if (!net_start(&net, _i, 3)) {
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", net_listen(&net, gate, NULL));
    struct dialer dialer = {.net = &net, .address = text, .line = line_new()};
    weft_pid puppet = rig_spawn(&net.rig, NULL);
    act(&net.rig, puppet, do_connect, &dialer);
    struct line line = line_open(dialer.line);
    ck_assert(weft_pid_equal(line.parent, puppet));
    ck_assert(weft_pid_equal(line.pid, dialer.pid));
    ck_assert_uint_eq(line.scheduler, dialer.scheduler);
    line_do(&net, dialer.line, do_close);
    (void)line_closed(dialer.line, 0);
    net_stop(&net);
    free(gate);
    free(dialer.line);
}
END_TEST

/* A port that is taken, so that nobody else gets it, and where nobody listens. */
static int deaf_open(uint16_t *ret_port) {
    int fd = far_open(0);
    struct sockaddr_in address = far_address(0);
    socklen_t size = sizeof(address);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* ---- what goes wrong --------------------------------------------------------------------------- */

static void expect_failure(struct net *net, const char *address, int status) {
    struct line *line = line_new();
    weft_connect_options options = connect_options(net, address);
    options.timeout_ns = status == -ETIMEDOUT ? 300 * MS_NS : SOON_NS;
    (void)net_connect_with(net, options, line);
    struct line now = line_closed(line, status);
    ck_assert_uint_eq(now.order_count, 1); /* CLOSED and nothing else */
    free(line);
}

START_TEST(a_refused_connection_says_so) {
    uint16_t port;
    int fd = deaf_open(&port);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    expect_failure(&net, text, -ECONNREFUSED);
    expect_failure(&net, "unix:@weft-nobody-listens-here", -ECONNREFUSED);
    expect_failure(&net, "unix:/nowhere/at/all", -ENOENT);
    net_stop(&net);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(a_name_that_is_unknown_says_so) {
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    struct line *line = line_new();
    (void)net_connect_with(&net, connect_options(&net, "no-such-host.invalid:80"), line);
    (void)line_closed(line, WEFT_E_RESOLVE);
    net_stop(&net);
    free(line);
}
END_TEST

START_TEST(a_silent_address_times_out) {
    struct silent silent;
    silent_make(&silent);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", silent.port);
    uint64_t start_ns = clock_ns();
    expect_failure(&net, text, -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns() - start_ns, 200 * MS_NS); /* a turn's clock is old */
    ck_assert_uint_le(clock_ns() - start_ns, 8 * S_NS);    /* the default takes 10 */
    ck_assert_uint_eq(rig_stats(&net.rig).io_timeouts, 1);
    net_stop(&net);
    silent_end(&silent);
}
END_TEST

START_TEST(wrong_options_are_refused) {
    struct net net;
    struct net other;
    if (!net_start(&net, _i, 1)) {
        return;
    }
    ck_assert(net_start(&other, _i, 1));
    weft_runtime *runtime = net.rig.runtime;
    weft_pid pid;
    char name[300];
    memset(name, 'a', sizeof(name));
    memcpy(name + 290, ":80", 4);
    const char *const bad[] = {NULL,          "",       ":80",        "host",
                               "host:",       "host:0", "host:65536", "host:80x",
                               "127.0.0.1:0", "::1:80", "a:b:80",     name};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        weft_connect_options options = connect_options(&net, bad[i]);
        options.type = net.rig.puppet; /* which takes any argument */
        ck_assert_msg(weft_runtime_connect(runtime, &options, &pid) == -EINVAL, "address %zu", i);
    }
    ck_assert_int_eq(weft_runtime_connect(runtime, NULL, &pid), -EINVAL);
    for (uint32_t i = 0; i < 9; i++) {
        weft_connect_options options = connect_options(&net, "127.0.0.1:80");
        options.type = net.rig.puppet;
        switch (i) {
        case 0:
            options.struct_size = 1;
            break;
        case 1:
            options.type = NULL;
            break;
        case 2:
            options.type = other.type;
            break;
        case 3:
            options.arg_size = 1;
            break;
        case 4:
            options.scheduler = 2;
            break;
        case 5:
            options.local = "here";
            break;
        case 6:
            options.stream.flags = 128;
            break;
        case 7:
            options.stream.send_low = 1000;
            options.stream.send_high = 999;
            break;
        default:
            options.stream.send_max = 5;
            options.stream.send_high = 6;
            break;
        }
        ck_assert_msg(weft_runtime_connect(runtime, &options, &pid) == -EINVAL, "case %u", i);
    }
    weft_connect_options options = connect_options(&net, "127.0.0.1:80");
    ck_assert_int_eq(weft_runtime_connect(NULL, &options, &pid), -EINVAL);
    ck_assert_uint_eq(rig_gauges(&net.rig).io_open, 0);
    net_stop(&other);
    net_stop(&net);
}
END_TEST

START_TEST(the_limit_of_connections_is_for_connecting_as_well) {
    struct gate *gate = gate_make(NULL);
    struct net net;
    weft_config config = net_config(1);
    config.io_connections = 1;
    if (!net_start_with(&net, _i, &config)) {
        return;
    }
    uint16_t port;
    int listener = far_listen(8, &port);
    net.fds++;
    struct line *line = line_new();
    (void)net_connect(&net, port, line);
    (void)line_open(line);
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    weft_connect_options options = connect_options(&net, text);
    weft_pid pid;
    ck_assert_int_eq(weft_runtime_connect(net.rig.runtime, &options, &pid), WEFT_E_LIMIT);
    line_do(&net, line, do_abort);
    (void)line_closed(line, -ECONNABORTED);
    eventually(rig_gauges(&net.rig).io_open == 0);
    struct line *again = line_new();
    (void)net_connect(&net, port, again);
    (void)line_open(again);
    net_stop(&net);
    ck_assert_int_eq(close(listener), 0);
    free(gate);
    free(line);
    free(again);
}
END_TEST

/* Closed and aborted before it is connected: nobody is told anything else. */
static int init_ends_it(weft_ctx *ctx, struct line *line, weft_msg *msg) {
    (void)msg;
    ck_assert_int_eq(line->number == 0 ? weft_stream_close(ctx) : weft_stream_abort(ctx), 0);
    return WEFT_CONTINUE;
}

START_TEST(closing_before_it_is_connected_is_enough) {
    struct silent silent;
    silent_make(&silent);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    for (uint32_t way = 0; way < 4; way++) {
        struct line *line = line_new();
        line->number = way % 2;
        line->init = way < 2 ? init_ends_it : NULL;
        (void)net_connect(&net, silent.port, line);
        if (way >= 2) {
            sleep_ns(10 * MS_NS);
            line_do(&net, line, way == 2 ? do_close : do_abort);
        }
        struct line now = line_closed(line, way % 2 == 0 ? 0 : -ECONNABORTED);
        ck_assert_uint_eq(now.order_count, 1);
        free(line);
    }
    net_stop(&net);
    silent_end(&silent);
}
END_TEST

/* ---- names with several addresses -------------------------------------------------------------- */

/* The environment of the operating system, but the name "many.test" has the addresses given. */
static struct {
    weft_env_io io;
    const weft_env_io *real;
    weft_address addresses[4];
    uint32_t count;
    weft_atomic_u32 held; /* answers wait */
} fake;

static int fake_resolve(weft_env *env, const char *name, uint16_t port, weft_address *addresses,
                        uint32_t max) {
    if (strcmp(name, "many.test") != 0) {
        return fake.real->resolve(env, name, port, addresses, max);
    }
    while (weft_load32_acquire(&fake.held) != 0) { /* the test sees to it */
        sleep_ns(MS_NS);
    }
    ck_assert_uint_le(fake.count, max);
    for (uint32_t i = 0; i < fake.count; i++) {
        addresses[i] = fake.addresses[i];
        addresses[i].port = fake.addresses[i].port != 0 ? fake.addresses[i].port : port;
    }
    return (int)fake.count;
}

static bool fake_start(struct net *net, int number, weft_env **ret_env) {
    *net = (struct net){.fds = count_fds()};
    ck_assert_int_eq(weft_env_os_create(ret_env), 0);
    int result =
        weft_env_os_io(*ret_env, number == 0 ? WEFT_IO_DRIVER_URING : WEFT_IO_DRIVER_EPOLL, NULL);
    if (result != 0) {
        ck_assert_int_eq(number, 0);
        weft_env_os_destroy(ret_env);
        skip_uring(result);
        return false;
    }
    fake.real = (*ret_env)->io;
    fake.io = *fake.real;
    fake.io.resolve = fake_resolve;
    (*ret_env)->io = &fake.io;
    weft_config config = net_config(2);
    ck_assert_int_eq(weft_runtime_create_env(&config, *ret_env, &net->rig.runtime), 0);
    weft_type_def line = line_def();
    net->type = rig_type(&net->rig, &line);
    ck_assert_int_eq(weft_runtime_start(net->rig.runtime), 0);
    return true;
}

/* The environment goes after the runtime: only then are all descriptors closed. */
static void fake_stop(struct net *net, weft_env **env) {
    ck_assert_int_eq(weft_runtime_stop(net->rig.runtime, 30 * S_NS), 0);
    rig_stop(&net->rig);
    (*env)->io = fake.real;
    weft_env_os_destroy(env);
    ck_assert_uint_eq(count_fds(), net->fds);
}

static void fake_add(const char *text, uint16_t port) {
    weft_address *address = &fake.addresses[fake.count++];
    ck_assert_int_eq(weft_address_parse(text, address), 0);
    address->port = port;
}

START_TEST(the_next_address_is_tried) {
    struct silent silent;
    silent_make(&silent);
    uint16_t closed;
    int fd = deaf_open(&closed);
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net net;
    weft_env *env;
    if (!fake_start(&net, _i, &env)) {
        return;
    }
    uint16_t port = net_listen(&net, gate, NULL);
    fake_add("127.0.0.1:1", closed);      /* refuses */
    fake_add("127.0.0.1:1", silent.port); /* answers nothing: its share of the time */
    fake_add("127.0.0.1:1", port);
    weft_connect_options options = connect_options(&net, "many.test:80");
    options.timeout_ns = 4 * S_NS; /* its share is a half: with all of it there would be no echo */
    uint64_t start_ns = clock_ns();
    expect_echo(&net, options);
    ck_assert_uint_ge(clock_ns() - start_ns, 1900 * MS_NS); /* a turn's clock is old */
    fake.count = 1;                                         /* all refuse: the last one's reason */
    expect_failure(&net, "many.test:80", -ECONNREFUSED);
    fake.count = 2;
    expect_failure(&net, "many.test:80", -ETIMEDOUT);
    fake.count = 0;
    expect_failure(&net, "many.test:80", WEFT_E_RESOLVE);
    fake_stop(&net, &env);
    silent_end(&silent);
    ck_assert_int_eq(close(fd), 0);
    free(gate);
}
END_TEST

static void *answer_later(void *arg) {
    sleep_ns(200 * MS_NS);
    weft_store32_release(&fake.held, 0);
    return arg;
}

START_TEST(looking_up_counts_against_the_timeout_and_may_be_left) {
    struct net net;
    weft_env *env;
    if (!fake_start(&net, _i, &env)) {
        return;
    }
    weft_store32_release(&fake.held, 1);
    fake_add("127.0.0.1:1", 1);
    expect_failure(&net, "many.test:80", -ETIMEDOUT); /* after 300 ms, and before the answer */
    struct line *line = line_new();
    (void)net_connect_with(&net, connect_options(&net, "many.test:80"), line);
    line_do(&net, line, do_close);
    (void)line_closed(line, 0);
    struct line *killed = line_new();
    weft_pid pid = net_connect_with(&net, connect_options(&net, "many.test:80"), killed);
    eventually(line_now(killed).inits == 1);
    ck_assert_int_eq(weft_runtime_kill_actor(net.rig.runtime, pid), 0);
    struct line *stopped = line_new();
    (void)net_connect_with(&net, connect_options(&net, "many.test:80"), stopped);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_later, NULL), 0);
    fake_stop(&net, &env); /* while it is looked up */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    free(line);
    free(killed);
    free(stopped);
}
END_TEST

/* ---- runtimes that stop ------------------------------------------------------------------------ */

enum { MANY = 500 };

struct crowd {
    struct net net;
    weft_atomic_u32 open;
};

static int crowd_init(weft_ctx *ctx, void *state, const void *arg, size_t size) {
    (void)ctx;
    ck_assert_uint_eq(size, sizeof(void *));
    memcpy(state, arg, size);
    return 0;
}

/* Sends back and forth without an end when it is busy. */
static int crowd_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct crowd *crowd;
    memcpy(&crowd, state, sizeof(crowd));
    if (weft_msg_kind(msg) != WEFT_MSG_IO) {
        return WEFT_CONTINUE;
    }
    if (weft_msg_tag(msg) == WEFT_IO_OPEN) {
        (void)weft_add32_acq_rel(&crowd->open, 1);
        (void)weft_stream_write(ctx, "busy", 4);
    } else if (weft_msg_tag(msg) == WEFT_IO_DATA) {
        (void)weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg));
    }
    return WEFT_CONTINUE;
}

static int crowd_silent(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct crowd *crowd;
    (void)ctx;
    memcpy(&crowd, state, sizeof(crowd));
    if (weft_msg_kind(msg) == WEFT_MSG_IO && weft_msg_tag(msg) == WEFT_IO_OPEN) {
        (void)weft_add32_acq_rel(&crowd->open, 1);
    }
    return WEFT_CONTINUE;
}

/* A thousand ends in one runtime; idle and busy. */
START_TEST(a_runtime_with_a_thousand_connections_stops_soon) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (uint32_t busy = 0; busy < 2; busy++) {
        struct crowd *crowd = calloc(1, sizeof(*crowd));
        if (!net_start(&crowd->net, _i, 2)) {
            return;
        }
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = "crowd",
                             .state_size = sizeof(void *),
                             .init = crowd_init,
                             .receive = busy != 0 ? crowd_receive : crowd_silent};
        const weft_type *type = rig_type(&crowd->net.rig, &def);
        weft_listen_options listen = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                      .address = "127.0.0.1:0",
                                      .type = type,
                                      .arg = &crowd,
                                      .arg_size = sizeof(crowd),
                                      .stream = {.linger_ns = 60 * S_NS}};
        char text[64];
        snprintf(text, sizeof(text), "127.0.0.1:%u", net_listen_with(&crowd->net, &listen, NULL));
        weft_connect_options connect = {.struct_size = WEFT_CONNECT_OPTIONS_INIT,
                                        .address = text,
                                        .type = type,
                                        .arg = &crowd,
                                        .arg_size = sizeof(crowd),
                                        .stream = {.linger_ns = 60 * S_NS}};
        for (uint32_t i = 0; i < MANY; i++) {
            weft_pid pid;
            ck_assert_int_eq(weft_runtime_connect(crowd->net.rig.runtime, &connect, &pid), 0);
        }
        eventually(weft_load32_acquire(&crowd->open) == 2 * MANY);
        uint64_t start_ns = clock_ns();
        ck_assert_int_eq(weft_runtime_stop(crowd->net.rig.runtime, 2 * SOON_NS), 0);
        ck_assert_uint_le(clock_ns() - start_ns, SOON_NS);
        net_stop(&crowd->net);
        free(crowd);
    }
}
END_TEST

/* ... whose peers are somebody else's, and who take no notice. */
START_TEST(peers_that_do_not_end_do_not_hold_up_a_stop) {
    struct line model = {.handler = line_pumps, .number = 4 << 20};
    struct gate *gate = gate_make(&model);
    struct silent silent;
    silent_make(&silent);
    struct net net;
    if (!net_start(&net, _i, 2)) {
        return;
    }
    weft_stream_options stream = {.linger_ns = 2 * S_NS}; /* the stop would allow for more */
    uint16_t port = net_listen(&net, gate, &stream);
    int fds[50];
    for (uint32_t i = 0; i < 50; i++) {
        fds[i] = far_connect(port);
    }
    eventually(gate_count(gate) == 50);
    struct line *line = line_new();
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", silent.port);
    weft_connect_options connect = connect_options(&net, text);
    connect.timeout_ns = 60 * S_NS;
    (void)net_connect_with(&net, connect, line); /* it is still connecting */
    sleep_ns(50 * MS_NS);
    uint64_t start_ns = clock_ns();
    net.fds += 50;
    ck_assert_int_eq(weft_runtime_stop(net.rig.runtime, 2 * SOON_NS), 0);
    ck_assert_uint_le(clock_ns() - start_ns, SOON_NS);
    net_stop(&net);
    for (uint32_t i = 0; i < 50; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    silent_end(&silent);
    free(line);
    free(gate);
}
END_TEST

START_TEST(two_runtimes_talk_to_each_other) {
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    struct net server;
    struct net client;
    if (!net_start(&server, _i, 2)) {
        return;
    }
    uint16_t port = net_listen(&server, gate, NULL);
    if (!net_start(&client, 1 - _i, 2)) { /* on the other driver */
        return;
    }
    struct line *line = line_new();
    line->handler = line_pumps;
    line->number = 5 << 20;
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    weft_connect_options options = connect_options(&client, text);
    /* Two ends that both stop reading while they are full would wait for each other. */
    options.stream.flags = WEFT_STREAM_READ_ALWAYS;
    (void)net_connect_with(&client, options, line);
    ck_assert_uint_eq(line_closed(line, 0).bytes, 5 << 20);
    ck_assert_uint_eq(line_closed(&gate->lines[0], 0).bytes, 5 << 20);
    net_stop(&client);
    net_stop(&server);
    free(gate);
    free(line);
}
END_TEST

/* ---- driven ------------------------------------------------------------------------------------ */

static void *drive_far(void *arg) {
    uint16_t port;
    memcpy(&port, arg, sizeof(port));
    int fd = far_connect(port);
    for (uint64_t i = 0; i < 50; i++) {
        far_write(fd, i * 20000, 20000);
        far_read(fd, i * 20000, 20000);
    }
    far_shut(fd);
    far_end(fd);
    ck_assert_int_eq(close(fd), 0);
    return NULL;
}

/* The program's own loop: polls the descriptor, or lets weft sleep. */
START_TEST(a_driven_scheduler_serves_sockets) {
    for (uint32_t polls = 0; polls < 2; polls++) {
        struct line model = {.handler = line_echo};
        struct gate *gate = gate_make(&model);
        struct net net;
        weft_config config = net_config(1);
        config.driven = true;
        if (!net_start_with(&net, _i, &config)) {
            return;
        }
        weft_runtime *runtime = net.rig.runtime;
        uint16_t port = net_listen(&net, gate, NULL);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, drive_far, &port), 0);
        uint64_t until_ns = clock_ns() + 60 * S_NS;
        while (line_now(&gate->lines[0]).ends == 0) {
            uint64_t start_ns = clock_ns();
            ck_assert_uint_lt(start_ns, until_ns);
            if (polls == 0) {
                ck_assert_int_ge(weft_runtime_drive(runtime, 0, S_NS), 0);
                continue;
            }
            ck_assert_int_ge(weft_runtime_drive(runtime, 0, 0), 0);
            uint64_t due_ns = weft_runtime_drive_deadline(runtime);
            uint64_t wait_ns = due_ns > start_ns ? due_ns - start_ns : 0;
            struct pollfd poller = {.fd = weft_runtime_drive_fd(runtime), .events = POLLIN};
            int timeout = wait_ns > SOON_NS ? 20000 : (int)(wait_ns / MS_NS + 1);
            bool over = line_now(&gate->lines[0]).ends != 0;
            int ready = over ? 1 : poll(&poller, 1, timeout);
            ck_assert(ready >= 0 || errno == EINTR);
            ck_assert_msg(ready != 0 || clock_ns() - start_ns < SOON_NS, "slept through");
        }
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(line_now(&gate->lines[0]).bytes, 1000000);
        net_stop(&net);
        free(gate);
    }
}
END_TEST

static Suite *connect_suite(void) {
    Suite *suite = suite_create("stream_connect");
    TCase *connecting = tcase_create("connecting");
    tcase_add_loop_test(connecting, addresses_and_names_are_connected_to, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, the_local_address_and_the_scheduler_are_chosen, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, an_actor_connects_a_child_on_its_scheduler, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, a_refused_connection_says_so, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, a_name_that_is_unknown_says_so, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, a_silent_address_times_out, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, wrong_options_are_refused, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, the_limit_of_connections_is_for_connecting_as_well, 0,
                        NET_DRIVERS);
    tcase_add_loop_test(connecting, closing_before_it_is_connected_is_enough, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, the_next_address_is_tried, 0, NET_DRIVERS);
    tcase_add_loop_test(connecting, looking_up_counts_against_the_timeout_and_may_be_left, 0,
                        NET_DRIVERS);
    suite_add_tcase(suite, connecting);
    TCase *runtimes = tcase_create("runtimes");
    tcase_add_loop_test(runtimes, a_runtime_with_a_thousand_connections_stops_soon, 0, NET_DRIVERS);
    tcase_add_loop_test(runtimes, peers_that_do_not_end_do_not_hold_up_a_stop, 0, NET_DRIVERS);
    tcase_add_loop_test(runtimes, two_runtimes_talk_to_each_other, 0, NET_DRIVERS);
    tcase_add_loop_test(runtimes, a_driven_scheduler_serves_sockets, 0, NET_DRIVERS);
    suite_add_tcase(suite, runtimes);
    return suite;
}

int main(void) {
    return run_suite(connect_suite());
}
