/* SPDX-License-Identifier: MIT
 *
 * A runtime on the operating system: the one place where an environment, its I/O driver and a
 * runtime are put together. Any thread.
 */
#include "sched/scheduler.h"

int weft_runtime_create(const weft_config *config, weft_runtime **ret_runtime) {
    if (ret_runtime == NULL) {
        return -EINVAL;
    }
    weft_config resolved;
    weft_env *env = NULL;
    const char *reason = NULL;
    int result = weft__runtime_config(config, &resolved);
    if (result == 0) {
        result = weft_env_os_create(&env);
    }
    if (result != 0) {
        return result;
    }
    weft_runtime *runtime;
    result = weft_env_os_io(env, (enum weft_io_driver)resolved.io_driver, &reason);
    if (result == 0) {
        result = weft_runtime_create_env(&resolved, env, &runtime);
    }
    if (result == -ENOMEM && resolved.io_driver == WEFT_IO_DRIVER_AUTO) {
        /* Rings count as locked memory, of which a user may have little (RLIMIT_MEMLOCK). */
        reason = "io_uring may not lock enough memory for as many rings";
        result = weft_env_os_io(env, WEFT_IO_DRIVER_EPOLL, NULL);
        result = result != 0 ? result : weft_runtime_create_env(&resolved, env, &runtime);
    }
    if (result != 0) {
        weft_env_os_destroy(&env);
        return result;
    }
    runtime->own_env = env;
    runtime->driver_reason = reason;
    *ret_runtime = runtime;
    return 0;
}
