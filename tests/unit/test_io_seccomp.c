/* SPDX-License-Identifier: MIT
 *
 * Where io_uring is forbidden, as in many containers: a filter of system calls answers EPERM or
 * ENOSYS. The runtime then has epoll, and can say why; who insists on io_uring is told. The same where
 * a user may lock too little memory for the rings, or for those of receive buffers.
 */
#define _GNU_SOURCE 1
#include "tests/unit/driver_support.h"
#include "tests/unit/stream_support.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <weft/runtime.h>

/* From here on this process gets error from io_uring_setup. */
static void forbid(uint32_t error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

/* What is logged last, and what it says of the driver. */
struct said {
    char event[32];
    char io[16];
    char reason[128];
};

static void hear(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct said *said = cookie;
    (void)level;
    (void)snprintf(said->event, sizeof(said->event), "%s", event->name);
    for (uint32_t i = 0; i < event->field_count; i++) {
        const weft_log_field *field = &event->fields[i];
        char *to = strcmp(field->key, "io") == 0          ? said->io
                   : strstr(field->key, "reason") != NULL ? said->reason
                                                          : NULL;
        if (to != NULL) {
            (void)snprintf(to, to == said->io ? sizeof(said->io) : sizeof(said->reason), "%s",
                           field->text);
        }
    }
}

static const int errors[] = {EPERM, ENOSYS};

START_TEST(a_forbidden_ring_makes_it_epoll_with_a_reason) {
    forbid((uint32_t)errors[_i]);
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    const char *reason = NULL;
    ck_assert_int_eq(weft_env_os_io(env, WEFT_IO_DRIVER_AUTO, &reason), 0);
    ck_assert_ptr_nonnull(env->io);
    ck_assert_str_eq(env->io->name, "epoll");
    ck_assert_ptr_nonnull(reason);
#ifdef WEFT_URING
    ck_assert_ptr_nonnull(strstr(reason, errors[_i] == EPERM ? "not permitted" : "no io_uring"));
#endif
    struct bench bench;
    bench_open(&bench, env, false);
    bench_attach(&bench);
    run_echo(&bench, "127.0.0.1:0");
    char name[64]; /* of this process: other tests may run beside it */
    (void)snprintf(name, sizeof(name), "unix:@weft-test-seccomp-%d", (int)getpid());
    run_echo(&bench, name);
    bench_close(&bench);
}
END_TEST

START_TEST(who_insists_on_a_forbidden_ring_is_told) {
    forbid((uint32_t)errors[_i]);
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    const char *reason = NULL;
#ifdef WEFT_URING
    ck_assert_int_eq(weft_env_os_io(env, WEFT_IO_DRIVER_URING, &reason), -errors[_i]);
#else
    ck_assert_int_eq(weft_env_os_io(env, WEFT_IO_DRIVER_URING, &reason), -ENOSYS);
#endif
    ck_assert_ptr_nonnull(reason);
    ck_assert_ptr_null(env->io);
    weft_env_os_destroy(&env);
    struct said said = {0};
    weft_config config = {
        .struct_size = WEFT_CONFIG_INIT, .io_driver = WEFT_IO_DRIVER_URING, .log = {&said, hear}};
    weft_runtime *runtime = NULL;
    ck_assert_int_lt(weft_runtime_create(&config, &runtime), 0);
    ck_assert_str_eq(said.event, "io.driver");
    ck_assert_str_eq(said.reason, reason);
}
END_TEST

/* The limit binds all but root, and counts what a user's processes have together. */
static void become(uint32_t id) {
    if (getuid() == 0) {
        ck_assert_int_eq(setresgid(id, id, id), 0);
        ck_assert_int_eq(setresuid(id, id, id), 0);
    }
}

START_TEST(little_locked_memory_makes_it_epoll_with_a_reason) {
    const struct rlimit little = {.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    become(65534);
    struct said said = {0};
    weft_config config = {.struct_size = WEFT_CONFIG_INIT, .schedulers = 4, .log = {&said, hear}};
    weft_runtime *runtime = NULL;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    ck_assert_int_eq(weft_runtime_start(runtime), 0);
    ck_assert_str_eq(said.io, "epoll");
#ifdef WEFT_URING
    ck_assert_ptr_nonnull(strstr(said.reason, "may not lock enough memory"));
    weft_runtime *insisting = NULL;
    config.io_driver = WEFT_IO_DRIVER_URING;
    ck_assert_int_eq(weft_runtime_create(&config, &insisting), -ENOMEM);
    ck_assert_str_eq(said.event, "io.driver");
    ck_assert_ptr_nonnull(strstr(said.reason, "RLIMIT_MEMLOCK"));
#endif
    ck_assert_int_eq(weft_runtime_stop(runtime, UINT64_C(5000000000)), 0);
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
}
END_TEST

/* The rings fit, and those of receive buffers do not: that shows when the runtime is created. Seen at
 * the first socket only, it was a listener that died, or connections that were reset. */
START_TEST(receive_buffers_beyond_locked_memory_make_it_epoll) {
    static const uint32_t buffers[] = {32768, 16384, 8192};
    const struct rlimit little = {.rlim_cur = 512 << 10, .rlim_max = 512 << 10};
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    become(61000 + (uint32_t)_i); /* its own locked memory */
    struct said said = {0};
    weft_config config = net_config(_i == 0 ? 1 : 4);
    config.io_buffers = buffers[_i];
    config.log = (weft_log_hook){&said, hear};
    struct net net;
    ck_assert(net_start_with(&net, NET_AUTO, &config));
#ifdef WEFT_URING
    if (strcmp(said.io, "epoll") == 0) {
        ck_assert_ptr_nonnull(strstr(said.reason, "may not lock enough memory"));
        weft_runtime *insisting = NULL;
        config.io_driver = WEFT_IO_DRIVER_URING;
        ck_assert_int_eq(weft_runtime_create(&config, &insisting), -ENOMEM);
    } /* else it is a kernel that does not count them */
#endif
    struct line model = {.handler = line_echo};
    struct gate *gate = gate_make(&model);
    uint16_t port = net_listen(&net, gate, NULL);
    int fds[16];
    for (uint32_t i = 0; i < 16; i++) {
        fds[i] = far_connect(port);
        far_write(fds[i], 0, 100);
        far_read(fds[i], 0, 100);
    }
    for (uint32_t i = 0; i < 16; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    net_stop(&net);
    free(gate);
}
END_TEST

START_TEST(without_a_filter_it_is_what_the_probe_says) {
    weft_env *env = NULL;
    ck_assert_int_eq(weft_env_os_create(&env), 0);
    const char *reason = NULL;
    int probed = weft__uring_probe(&reason);
    ck_assert_ptr_nonnull(reason);
    ck_assert_int_eq(weft_env_os_io(env, WEFT_IO_DRIVER_AUTO, NULL), 0);
    ck_assert_str_eq(env->io->name, probed == 0 ? "uring" : "epoll");
    ck_assert_int_eq(weft_env_os_io(env, WEFT_IO_DRIVER_EPOLL, &reason), 0);
    ck_assert_str_eq(env->io->name, "epoll");
    ck_assert_int_eq(weft_env_os_io(env, (enum weft_io_driver)9, &reason), -EINVAL);
    ck_assert_int_eq(weft_env_os_io(NULL, WEFT_IO_DRIVER_AUTO, &reason), -EINVAL);
    weft_env_os_destroy(&env);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("io_seccomp");
    TCase *tcase = tcase_create("choice");
    tcase_add_loop_test(tcase, a_forbidden_ring_makes_it_epoll_with_a_reason, 0, 2);
    tcase_add_loop_test(tcase, who_insists_on_a_forbidden_ring_is_told, 0, 2);
    tcase_add_test(tcase, little_locked_memory_makes_it_epoll_with_a_reason);
    tcase_add_loop_test(tcase, receive_buffers_beyond_locked_memory_make_it_epoll, 0, 3);
    tcase_add_test(tcase, without_a_filter_it_is_what_the_probe_says);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
