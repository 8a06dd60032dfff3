/* SPDX-License-Identifier: MIT
 *
 * Connections whose actors are processes, on both ends, plain and over TLS: they read by
 * weft_receive, write, wait for room, and close. With TLS its library runs on the scheduler's stack:
 * a process's would not do.
 */
#include "tests/unit/support.h"

enum { BYTES = 300000, CHUNK = 1000, SECRET = 32 };

struct world {
    struct rig rig;
    weft_tls *tls;
    weft_atomic_u32 served;
    weft_atomic_u32 asked;
};

static unsigned char byte_at(uint64_t position) {
    return (unsigned char)(position * 31 + (position >> 8));
}

static void export_secret(weft_ctx *ctx, const struct world *world) {
    static const unsigned char none[SECRET];
    unsigned char secret[SECRET] = {0};
    weft_tls_export what = {.label = "test", .secret = secret, .secret_size = SECRET};
    weft_tls_info info = {.struct_size = WEFT_TLS_INFO_INIT};
    if (world->tls != NULL) {
        ck_assert_int_eq(weft_stream_tls_export(ctx, &what), 0);
        ck_assert_int_eq(weft_stream_tls_inspect(ctx, &info), 0);
        ck_assert(info.suite[0] != '\0');
        ck_assert(memcmp(secret, none, SECRET) != 0);
    }
}

/* The next event of the connection; other messages are not expected. */
static weft_msg *next_event(weft_ctx *ctx) {
    weft_msg *msg = NULL;
    ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
    ck_assert_int_eq(weft_msg_kind(msg), WEFT_MSG_IO);
    return msg;
}

static int serve(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    (void)state;
    (void)arg;
    (void)arg_size;
    for (;;) {
        weft_msg *msg = next_event(ctx);
        if (weft_msg_tag(msg) == WEFT_IO_OPEN) {
            export_secret(ctx, world);
        }
        if (weft_msg_tag(msg) == WEFT_IO_DATA) {
            ck_assert_int_ge(weft_stream_write(ctx, weft_msg_data(msg), weft_msg_size(msg)), 0);
        }
        if (weft_msg_tag(msg) == WEFT_IO_CLOSED) {
            ck_assert_int_eq(weft_msg_status(msg), 0);
            (void)weft_add32_acq_rel(&world->served, 1);
            return WEFT_STOP;
        }
    }
}

/* Takes what comes until something of this kind has come. */
static uint64_t read_until(weft_ctx *ctx, uint32_t tag, uint64_t position) {
    for (;;) {
        weft_msg *msg = next_event(ctx);
        const unsigned char *data = weft_msg_data(msg);
        if (weft_msg_tag(msg) == WEFT_IO_DATA) {
            for (size_t i = 0; i < weft_msg_size(msg); i++) {
                ck_assert_uint_eq(data[i], byte_at(position + i));
            }
            position += weft_msg_size(msg);
        }
        if (weft_msg_tag(msg) == tag) {
            return position;
        }
        ck_assert_uint_ne(weft_msg_tag(msg), WEFT_IO_CLOSED);
    }
}

static int ask(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct world *world = weft_type_cookie(weft_type_of(ctx));
    uint64_t back = 0;
    (void)state;
    (void)arg;
    (void)arg_size;
    ck_assert_uint_eq(read_until(ctx, WEFT_IO_OPEN, 0), 0);
    export_secret(ctx, world);
    for (uint64_t sent = 0; sent < BYTES; sent += CHUNK) {
        unsigned char chunk[CHUNK];
        for (uint32_t i = 0; i < CHUNK; i++) {
            chunk[i] = byte_at(sent + i);
        }
        int result = weft_stream_write(ctx, chunk, CHUNK);
        ck_assert_int_ge(result, 0);
        if (result == WEFT_STREAM_FULL) {
            back = read_until(ctx, WEFT_IO_WRITABLE, back);
        }
    }
    while (back < BYTES) {
        back = read_until(ctx, WEFT_IO_DATA, back);
    }
    ck_assert_uint_eq(back, BYTES);
    ck_assert_int_eq(weft_stream_close(ctx), 0);
    (void)read_until(ctx, WEFT_IO_CLOSED, back);
    (void)weft_add32_acq_rel(&world->asked, 1);
    return WEFT_STOP;
}

static void talk(int number, bool tls) {
    enum { CLIENTS = 8 };
    static struct world world;
    world = (struct world){.rig = rig_start(schedulers_of(number))};
    weft_type_def server = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "server", .process = serve, .cookie = &world};
    weft_type_def client = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "client", .process = ask, .cookie = &world};
    weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT,
                                .self_name = "server.test",
                                .verify = WEFT_TLS_VERIFY_NONE};
    if (tls) {
        ck_assert_int_eq(weft_tls_create(world.rig.runtime, &options, &world.tls, NULL), 0);
    }
    weft_listen_options listen = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                  .address = "127.0.0.1:0",
                                  .type = rig_type(&world.rig, &server),
                                  .tls = world.tls,
                                  .stream = {.send_high = 16384}};
    weft_address address;
    ck_assert_int_eq(weft_listen(world.rig.runtime, &listen, NULL, &address), 0);
    char text[64];
    ck_assert_int_ge(weft_address_format(&address, text, sizeof(text)), 0);
    weft_connect_options connect = {.struct_size = WEFT_CONNECT_OPTIONS_INIT,
                                    .address = text,
                                    .type = rig_type(&world.rig, &client),
                                    .tls = world.tls,
                                    .tls_name = "server.test",
                                    .stream = {.send_high = 16384}};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        weft_pid pid;
        ck_assert_int_eq(weft_runtime_connect(world.rig.runtime, &connect, &pid), 0);
    }
    eventually(weft_load32_acquire(&world.asked) == CLIENTS);
    eventually(weft_load32_acquire(&world.served) == CLIENTS);
    weft_tls_unref(world.tls);
    rig_stop(&world.rig);
}

START_TEST(processes_talk_over_streams) {
    talk(_i, false);
}
END_TEST

START_TEST(processes_talk_over_tls) {
    if (strcmp(weft_tls_library(), "none") != 0) {
        talk(_i, true);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("process_stream");
    TCase *cases = tcase_create("all");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, processes_talk_over_streams, 0, SCHEDULER_CASES);
    tcase_add_loop_test(cases, processes_talk_over_tls, 0, SCHEDULER_CASES);
    suite_add_tcase(s, cases);
    return s;
}

int main(void) {
    return run_suite(suite());
}
