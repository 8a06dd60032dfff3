/* SPDX-License-Identifier: MIT
 *
 * io_idle_rss: what an open connection on which nothing happens costs this process in resident
 * memory: 10,000 of them, (VmRSS with all open - VmRSS before the first) / their number. Whatever
 * grows once, as the first use of a receive ring does, is in the figure. io_tls_idle_rss: the same
 * with TLS, after the handshakes. The clients are another process; what the kernel keeps for a
 * socket is not counted. Default configuration, all schedulers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "io.h"

enum {
    CONNECTIONS = 10000,
    FILES_BESIDE = 256,    /* descriptors that are no connections */
    SETTLE_NS = 500000000, /* what is freed lazily is */
    LOOKS = 10,
};

/* The number of connections both sides can have. */
static uint64_t idle_count(const struct perf *perf) {
    uint64_t count = perf_count(perf, CONNECTIONS);
    uint64_t files = perf_files_raise();

    if (count + FILES_BESIDE > files) {
        (void)fprintf(stderr, "weft-perf: %s: only %llu descriptors\n", perf->name,
                      (unsigned long long)files);
        if (files <= FILES_BESIDE) {
            perf_die("that is too few");
        }
        count = files - FILES_BESIDE;
    }
    return count;
}

static double idle_measure(struct perf *perf, struct perf_service *service,
                           const struct perf_peer_plan *plan) {
    int64_t before = perf_status_bytes("VmRSS");
    struct perf_peer client;
    int64_t after;

    perf_peer_start(plan, &client);
    if (perf_peer_number(&client, perf->name) != plan->connections) {
        perf_die("the client has opened another number of connections");
    }
    (void)perf_peer_number(&client, perf->name); /* the time it took */
    perf_serve_await_opened(service, plan->connections);
    perf_sleep_ns(SETTLE_NS);
    after = perf_status_bytes("VmRSS");
    if (atomic_load_explicit(&service->closed, memory_order_relaxed) != 0) {
        perf_die("connections were closed meanwhile");
    }
    perf_peer_kill(&client);
    perf_serve_await_closed(service, plan->connections);
    return (double)(after - before) / (double)plan->connections;
}

void perf_io_idle(struct perf *perf) {
    bool tls = perf->parameter != 0;
    struct perf_service *service = perf_alloc_aligned(1, sizeof(*service));
    struct perf_peer_plan plan = {.role = PERF_PEER_IDLE_CLIENT, .cpu = -1};

    if (tls && !perf_tls_built()) {
        (void)fprintf(stderr, "weft-perf: %s: this build has no TLS\n", perf->name);
        return;
    }
    plan.connections = (uint32_t)idle_count(perf);
    plan.flags = tls ? PERF_PEER_TLS | perf_serve_suite() : 0;
    perf_serve_start(perf, PERF_SERVE_HOLD, tls, service);
    plan.port = service->port;
    perf_emit(perf, perf->name, idle_measure(perf, service, &plan), "bytes/conn");
    perf_serve_stop(perf, service);
    free(service);
}
