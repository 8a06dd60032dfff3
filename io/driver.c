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

int weft_env_os_io(weft_env *env, enum weft_io_driver driver, const char **ret_reason) {
    if (env == NULL || env->version != WEFT_ENV_VERSION) {
        return -EINVAL;
    }
    const char *reason = "epoll was asked for";
    int probed = -ENOSYS;
    switch (driver) {
    case WEFT_IO_DRIVER_AUTO:
    case WEFT_IO_DRIVER_URING:
        probed = weft__uring_probe(&reason);
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
