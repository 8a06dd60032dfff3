/* SPDX-License-Identifier: MIT
 *
 * The choice of the I/O driver for an environment of the operating system: io_uring where the
 * kernel lets us and has what is needed, else epoll. Called by weft_runtime_create, and by
 * programs that want a certain one; before a runtime is created on the environment.
 */
#include "core/defs.h"
#include "io/epoll.h"
#include "io/uring.h"
#include <errno.h>

/* The probe, as a thread's body. */
struct probe {
    int result;
    const char *reason;
};

static enum weft_step probe_step(void *arg, uint64_t *deadline_ns) {
    struct probe *probe = arg;
    (void)deadline_ns;
    probe->result = weft__uring_probe(&probe->reason);
    return WEFT_STEP_EXIT;
}

/* On a thread of its own: the end of a ring interrupts system calls of who has made it. */
static int probe_uring(weft_env *env, const char **ret_reason) {
    struct probe probe = {.result = -ENOSYS};
    weft_env_thread thread = {.name = "weft-probe",
                              .kind = WEFT_THREAD_HELPER,
                              .cpu = -1,
                              .step = probe_step,
                              .arg = &probe};
    void *handle;
    if (env->thread_start(env, &thread, &handle) == 0) {
        env->thread_join(env, handle);
    } else {
        probe.result = weft__uring_probe(&probe.reason);
    }
    *ret_reason = probe.reason;
    return probe.result;
}

int weft_env_os_io(weft_env *env, enum weft_io_driver driver, const char **ret_reason) {
    if (env == NULL || env->version != WEFT_ENV_VERSION) {
        return -EINVAL;
    }
    const char *reason = "epoll was asked for";
    int probed = -ENOSYS;
    switch (driver) {
    case WEFT_IO_DRIVER_AUTO:
    case WEFT_IO_DRIVER_URING:
        probed = probe_uring(env, &reason);
        break;
    case WEFT_IO_DRIVER_EPOLL:
        break;
    default:
        return -EINVAL;
    }
    if (ret_reason != NULL) {
        *ret_reason = reason;
    }
    if (probed != 0 && driver == WEFT_IO_DRIVER_URING) {
        return probed;
    }
    env->io = probed == 0 ? weft__uring_io() : weft__epoll_io();
    weft_assert(env->io != NULL);
    return 0;
}
