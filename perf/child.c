/* SPDX-License-Identifier: MIT
 *
 * The measuring process: configures a runtime, warms it up, runs one workload, takes the runtime
 * down again. Configuration comes in this order, each overriding the one before: the library's
 * defaults, what the workload needs, the file, WEFT_* variables, --set.
 */
#include <stdio.h>

#include "perf.h"

enum { WARM_UP_DIVISOR = 50, ERROR_BYTES = 256 };

static const uint64_t stop_timeout_ns = UINT64_C(30000000000);

void perf_runtime_start(struct perf *perf) {
    int result = perf->env == NULL
                     ? weft_runtime_create(&perf->config, &perf->runtime)
                     : weft_runtime_create_env(&perf->config, perf->env, &perf->runtime);

    perf_check(result, "create a runtime");
    perf_check(weft_runtime_start(perf->runtime), "start a runtime");
}

void perf_runtime_stop(struct perf *perf) {
    perf_check(weft_runtime_stop(perf->runtime, stop_timeout_ns), "stop a runtime");
    perf_check(weft_runtime_destroy(&perf->runtime), "destroy a runtime");
}

static void child_set(weft_config *config, const char *set) {
    const char *equals = strchr(set, '=');
    char error[ERROR_BYTES] = "";
    char key[PERF_NAME_BYTES];
    size_t size;

    if (equals == NULL || (size = (size_t)(equals - set)) >= sizeof(key)) {
        perf_die("--set %s: key=value expected", set);
    }
    memcpy(key, set, size);
    key[size] = '\0';
    if (weft_config_set(config, key, equals + 1, error, sizeof(error)) < 0) {
        perf_die("--set %s: %s", set, error);
    }
}

static void child_configure(const struct perf_options *options,
                            const struct perf_workload *workload, weft_config *ret_config) {
    char error[ERROR_BYTES] = "";

    if (workload->configure != NULL) {
        workload->configure(ret_config);
    }
    if (weft_config_load(ret_config, options->config, error, sizeof(error)) < 0) {
        perf_die("configuration: %s", error);
    }
    for (uint32_t i = 0; i < options->set_count; i++) {
        child_set(ret_config, options->sets[i]);
    }
}

int perf_child(const struct perf_options *options) {
    const struct perf_workload *workload = perf_workload_find(options->child);
    struct perf perf = {.config = {.struct_size = WEFT_CONFIG_INIT}, .scale = options->scale};

    if (workload == NULL) {
        perf_die("no workload %s", options->child);
    }
    perf.name = workload->name;
    perf.parameter = workload->parameter;
    child_configure(options, workload, &perf.config);
    perf_runtime_start(&perf);
    if (workload->warm) {
        perf.muted = true;
        perf.scale = options->scale / WARM_UP_DIVISOR;
        workload->run(&perf);
        perf.muted = false;
        perf.scale = options->scale;
    }
    workload->run(&perf);
    perf_runtime_stop(&perf);
    if (fflush(stdout) != 0) {
        perf_die("cannot write");
    }
    return 0;
}
