/* SPDX-License-Identifier: MIT
 *
 * Peers: the other processes of the I/O workloads. The measuring process starts one with a plan,
 * reads the numbers it prints, and ends it; a peer is this program with --peer. Used by the main
 * thread of either side only.
 *
 * No peer outlives its use: an alarm ends it after PERF_PEER_SECONDS, the kernel ends it with the
 * measuring process, and a role that holds connections ends when its stdin does.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"

enum { PLAN_BYTES = 160, PLAN_FIELDS = 8, END_WAIT_MS = 5000 };

/* ---- the measuring process ------------------------------------------------------------------ */

static void plan_write(const struct perf_peer_plan *plan, char text[PLAN_BYTES]) {
    (void)snprintf(text, PLAN_BYTES, "%u,%u,%u,%d,%u,%u,%" PRIu64 ",%" PRIu64, plan->role,
                   plan->flags, plan->port, plan->cpu, plan->connections, plan->depth, plan->count,
                   plan->duration_ns);
}

/* execv does not write to its arguments, its type is older than const. */
static char *argument(const char *text) {
    return (char *)(uintptr_t)text;
}

/* Between fork and exec of a program with threads: system calls only. */
static void peer_exec(const char *text, int input, int output) {
    char *arguments[] = {argument("weft-perf"), argument("--peer"), argument(text), NULL};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || dup2(input, STDIN_FILENO) < 0 ||
        dup2(output, STDOUT_FILENO) < 0) {
        _exit(1);
    }
    (void)execv("/proc/self/exe", arguments); /* returns only on error */
    _exit(1);
}

void perf_peer_start(const struct perf_peer_plan *plan, struct perf_peer *ret_peer) {
    struct perf_peer peer = {.due_ns = perf_clock_ns() + (uint64_t)PERF_PEER_SECONDS * 1000000000U};
    char text[PLAN_BYTES];
    int input[2];
    int output[2];

    plan_write(plan, text);
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) {
        perf_die("pipe2: %s", strerror(errno));
    }
    peer.pid = fork();
    if (peer.pid < 0) {
        perf_die("cannot start a process: %s", strerror(errno));
    }
    if (peer.pid == 0) {
        peer_exec(text, input[0], output[1]);
    }
    (void)close(input[0]); /* the peer's ends */
    (void)close(output[1]);
    peer.hold = input[1];
    peer.lines = output[0];
    *ret_peer = peer;
}

static _Noreturn void peer_fail(struct perf_peer *peer, const char *what, const char *why) {
    (void)kill(peer->pid, SIGKILL); /* it may have ended already */
    perf_die("%s: %s", what, why);
}

/* Waits until there is more to read; dies at the peer's end and when it is due. */
static void peer_fill(struct perf_peer *peer, const char *what) {
    uint64_t now = perf_clock_ns();
    struct pollfd poller = {.fd = peer->lines, .events = POLLIN};
    ssize_t got;

    if (now >= peer->due_ns) {
        peer_fail(peer, what, "the peer said nothing in time");
    }
    if (poll(&poller, 1, (int)((peer->due_ns - now) / 1000000U) + 1) <= 0) {
        return; /* interrupted, or due: the caller's loop comes back */
    }
    got =
        read(peer->lines, peer->buffer + peer->buffer_end, sizeof(peer->buffer) - peer->buffer_end);
    if (got <= 0) {
        peer_fail(peer, what, got == 0 ? "the peer has ended" : strerror(errno));
    }
    peer->buffer_end += (uint32_t)got;
}

uint64_t perf_peer_number(struct perf_peer *peer, const char *what) {
    const char *end;
    uint64_t number;

    /* Bounded by when the peer is due and by the buffer, which no line fills. */
    while ((end = memchr(peer->buffer, '\n', peer->buffer_end)) == NULL) {
        if (peer->buffer_end == sizeof(peer->buffer)) {
            peer_fail(peer, what, "the peer said something else");
        }
        peer_fill(peer, what);
    }
    number = strtoull(peer->buffer, NULL, 10);
    end++;
    peer->buffer_end -= (uint32_t)(end - peer->buffer);
    memmove(peer->buffer, end, peer->buffer_end);
    return number;
}

static void peer_close(struct perf_peer *peer) {
    (void)close(peer->hold); /* pipes: nothing is lost */
    (void)close(peer->lines);
}

void perf_peer_end(struct perf_peer *peer) {
    int status = 0;

    peer_close(peer);
    for (uint32_t waited = 0; waitpid(peer->pid, &status, WNOHANG) == 0; waited++) {
        if (waited == END_WAIT_MS) {
            peer_fail(peer, "a peer", "does not end");
        }
        perf_sleep_ns(1000000);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        perf_die("a peer failed");
    }
}

void perf_peer_kill(struct perf_peer *peer) {
    peer_close(peer);
    (void)kill(peer->pid, SIGKILL); /* it may have ended already */
    while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

uint64_t perf_files_raise(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        perf_die("getrlimit: %s", strerror(errno));
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        perf_die("setrlimit: %s", strerror(errno));
    }
    return limit.rlim_cur;
}

/* ---- the peer ------------------------------------------------------------------------------- */

static void plan_read(const char *text, struct perf_peer_plan *ret_plan) {
    struct perf_peer_plan plan;

    if (sscanf(text, "%u,%u,%u,%d,%u,%u,%" SCNu64 ",%" SCNu64, &plan.role, &plan.flags, &plan.port,
               &plan.cpu, &plan.connections, &plan.depth, &plan.count,
               &plan.duration_ns) != PLAN_FIELDS) {
        perf_die("--peer %s: not a plan", text);
    }
    *ret_plan = plan;
}

static void peer_pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perf_die("cannot run on CPU %d: %s", cpu, strerror(errno));
    }
}

void perf_peer_say(uint64_t number) {
    if (printf("%" PRIu64 "\n", number) < 0 || fflush(stdout) != 0) {
        perf_die("a peer cannot write");
    }
}

int perf_peer_main(const char *text) {
    struct perf_peer_plan plan;
    sigset_t none;

    (void)alarm(PERF_PEER_SECONDS); /* there was none before */
    (void)sigemptyset(&none);       /* cannot fail; exec keeps the mask of the thread before it */
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        perf_die("signals: %s", strerror(errno));
    }
    plan_read(text, &plan);
    if (plan.cpu >= 0) {
        peer_pin(plan.cpu);
    }
    if (plan.role < PERF_PEER_CLIENTS_END) {
        perf_client_run(&plan);
    } else {
        perf_floor_run(&plan);
    }
    return 0;
}
