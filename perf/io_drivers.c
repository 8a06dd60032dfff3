/* SPDX-License-Identifier: MIT
 *
 * The drivers beside each other, in turns.
 *   io_epoll_ratio   io_echo_many and io_echo_sleep with io.driver = epoll and = uring; the ratio
 *                    is that of speeds, epoll/uring, so that one is "as fast" for both
 *   w_driver_ratio   workloads without I/O on a runtime whose schedulers park on a futex and have
 *                    no sockets, and on a default one, whose schedulers park in their I/O driver;
 *                    the ratio is that of rates, default/futex
 * A pair of values is measured one right after the other and its ratio taken; what is printed are
 * medians. Main thread of the measuring process.
 */
#include <stdio.h>

#include "io.h"

enum { ROUNDS = 3, DRIVER_ROUNDS = 5, WARM_UP_DIVISOR = 50, SCALE_DIVISOR = 4 };

/* ---- io_epoll_ratio ------------------------------------------------------------------------- */

static double driver_value(struct perf *perf, const struct perf_io_case *chosen,
                           const char *driver) {
    double value;

    perf_runtime_stop(perf);
    perf_io_set(perf, "io.driver", driver);
    perf_runtime_start(perf);
    value = perf_io_weft(perf, chosen).value;
    return value;
}

static void epoll_ratio(struct perf *perf, const char *name) {
    const struct perf_io_case *chosen = perf_io_case_find(name);
    const char *rest = name + sizeof("io_") - 1;
    char figure[PERF_NAME_BYTES];
    double uring[ROUNDS];
    double epoll[ROUNDS];
    double ratio[ROUNDS];

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uring[i] = driver_value(perf, chosen, "uring");
        epoll[i] = driver_value(perf, chosen, "epoll");
        ratio[i] = chosen->latency ? uring[i] / epoll[i] : epoll[i] / uring[i];
    }
    (void)snprintf(figure, sizeof(figure), "io_uring_%s", rest);
    perf_emit(perf, figure, perf_io_median(uring, ROUNDS), chosen->unit);
    (void)snprintf(figure, sizeof(figure), "io_epoll_%s", rest);
    perf_emit(perf, figure, perf_io_median(epoll, ROUNDS), chosen->unit);
    (void)snprintf(figure, sizeof(figure), "io_epoll_%s_ratio", rest);
    perf_emit(perf, figure, perf_io_median(ratio, ROUNDS), "x");
}

void perf_io_epoll_ratio(struct perf *perf) {
    int cpus[2];

    if (!perf_io_possible(perf->name, cpus)) {
        return;
    }
    epoll_ratio(perf, "io_echo_many");
    perf_io_set(perf, "scheduler.spin", "0");
    perf_io_set(perf, "io.spin", "0");
    epoll_ratio(perf, "io_echo_sleep");
}

/* ---- w_driver_ratio ------------------------------------------------------------------------- */

/* The figure of a workload on a new runtime; the old one is taken down. */
static double workload_value(struct perf *perf, const struct perf_workload *workload,
                             weft_env *env) {
    double scale = perf->scale;

    perf_runtime_stop(perf);
    perf->env = env;
    perf_runtime_start(perf);
    perf->captured_name = workload->name;
    perf->scale = scale / SCALE_DIVISOR / WARM_UP_DIVISOR;
    workload->run(perf);
    perf->scale = scale / SCALE_DIVISOR;
    workload->run(perf);
    perf->scale = scale;
    perf->captured_name = NULL;
    return perf->captured;
}

static void driver_ratio(struct perf *perf, const char *name, weft_env *futex_env) {
    const struct perf_workload *workload = perf_workload_find(name);
    char figure[PERF_NAME_BYTES];
    double futex[DRIVER_ROUNDS];
    double io[DRIVER_ROUNDS];
    double ratio[DRIVER_ROUNDS];

    if (workload == NULL) {
        perf_die("no workload %s", name);
    }
    for (uint32_t i = 0; i < DRIVER_ROUNDS; i++) {
        futex[i] = workload_value(perf, workload, futex_env);
        io[i] = workload_value(perf, workload, NULL);
        ratio[i] = io[i] / futex[i];
    }
    (void)snprintf(figure, sizeof(figure), "w_driver_futex_%s", name);
    perf_emit(perf, figure, perf_io_median(futex, DRIVER_ROUNDS), "1/s");
    (void)snprintf(figure, sizeof(figure), "w_driver_io_%s", name);
    perf_emit(perf, figure, perf_io_median(io, DRIVER_ROUNDS), "1/s");
    (void)snprintf(figure, sizeof(figure), "w_driver_ratio_%s", name);
    perf_emit(perf, figure, perf_io_median(ratio, DRIVER_ROUNDS), "x");
}

void perf_driver_ratio(struct perf *perf) {
    static const char *const names[] = {"w1_pingpong", "w2_pairs", "w3_fanin", "w7_call_1x1",
                                        "w7_call_64x1000"};
    weft_env *futex_env = NULL;

    perf_check(weft_env_os_create(&futex_env), "create an environment");
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        driver_ratio(perf, names[i], futex_env);
    }
    /* The runtime that is left is a default one. */
    weft_env_os_destroy(&futex_env);
}
