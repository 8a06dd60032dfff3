/* SPDX-License-Identifier: MIT
 *
 * A runtime on the operating system: the one place where an environment, its I/O driver and a
 * runtime are put together. Any thread.
 */
#include "sched/scheduler.h"
#include <weft/tls.h>

/* Without a runtime there is nobody else to tell why. */
static void log_refused(const weft_config *config, const char *reason, int result) {
    if (config->log.cb == NULL) {
        return;
    }
    weft_log_field fields[] = {
        {.key = "driver", .kind = WEFT_LOG_TEXT, .text = "uring"},
        {.key = "error", .kind = WEFT_LOG_I64, .i64 = result},
        {.key = "reason", .kind = WEFT_LOG_TEXT, .text = reason},
    };
    weft_log_event event = {.name = "io.driver", .fields = fields, .field_count = 3};
    config->log.cb(config->log.cookie, WEFT_LOG_ERROR, &event);
}

static const char *const too_little =
    "io_uring may not lock enough memory for as many rings (RLIMIT_MEMLOCK)";

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
    bool insists = resolved.io_driver == WEFT_IO_DRIVER_URING;
    result = weft_env_os_io(env, (enum weft_io_driver)resolved.io_driver, &reason);
    if (result != 0 && insists) {
        log_refused(&resolved, reason, result);
    } else if (result == 0) {
        result = weft_runtime_create_env(&resolved, env, &runtime);
        if (result == -ENOMEM && insists) {
            log_refused(&resolved, too_little, result);
        }
    }
    if (result == -ENOMEM && resolved.io_driver == WEFT_IO_DRIVER_AUTO) {
        /* Rings and those of receive buffers count as locked memory, of which a user may have
         * little (RLIMIT_MEMLOCK). */
        reason = too_little;
        result = weft_env_os_io(env, WEFT_IO_DRIVER_EPOLL, NULL);
        result = result != 0 ? result : weft_runtime_create_env(&resolved, env, &runtime);
    }
    if (result != 0) {
        weft_env_os_destroy(&env);
        return result;
    }
    runtime->own_env = env;
    runtime->driver_reason = reason;
    runtime->tls_library = weft_tls_library();
    *ret_runtime = runtime;
    return 0;
}
