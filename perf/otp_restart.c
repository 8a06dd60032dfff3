/* SPDX-License-Identifier: MIT
 *
 * otp_restart: how long a supervisor needs to start a child again. The child's init sends itself a
 * message, and at that it ends with an error; so one life follows the other, 1,000,000 of them, under
 * an intensity that allows it. A restart is everything from the error to the init of the next one:
 * the end of the actor, the signal to the supervisor, its decision, the spawn, the report.
 *
 * otp_restart_window: the same with a limit, so that the times of all restarts are kept, where
 * otp_restart has none.
 */
#include "perf.h"

#include <errno.h>

enum { TAG_FAIL = 1, LIVES = 1000000 };

struct restart {
    struct perf_gate gate;
    uint64_t left;
};

static int mortal_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct restart *restart;

    (void)state;
    (void)arg_size;
    memcpy(&restart, arg, sizeof(restart));
    if (restart->left == 0) {
        perf_gate_pass(&restart->gate);
        return WEFT_CONTINUE;
    }
    restart->left--;
    perf_send(ctx, weft_self(ctx), TAG_FAIL, 0);
    return WEFT_CONTINUE;
}

static int mortal_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    return weft_msg_tag(msg) == TAG_FAIL ? -EIO : WEFT_CONTINUE;
}

static const weft_type_def mortal_def = {.struct_size = WEFT_TYPE_DEF_INIT,
                                         .name = "perf-mortal",
                                         .init = mortal_init,
                                         .receive = mortal_receive};

static void measure(struct perf *perf, const weft_type *type, uint32_t intensity,
                    const char *name) {
    uint64_t lives = perf_count(perf, LIVES);
    struct restart restart = {.left = lives};
    struct restart *arg = &restart;
    weft_child_spec child = {.struct_size = WEFT_CHILD_SPEC_INIT,
                             .id = "mortal",
                             .type = type,
                             .arg = &arg,
                             .arg_size = sizeof(struct restart *)};
    weft_supervisor_def def = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_ONE_FOR_ONE,
                               .intensity = intensity,
                               .period_ns = UINT64_MAX,
                               .child_count = 1,
                               .children = &child};
    weft_pid supervisor;
    uint64_t begin;
    uint64_t elapsed;

    perf_gate_init(&restart.gate, 1);
    begin = perf_clock_ns();
    perf_check(weft_runtime_supervisor(perf->runtime, &def, &supervisor), "supervisor");
    perf_gate_wait(&restart.gate, name);
    elapsed = perf_clock_ns() - begin;
    perf_stop_all(perf, &supervisor, 1);
    perf_emit(perf, name, (double)elapsed / (double)lives, "ns");
}

void perf_otp_restart(struct perf *perf) {
    const weft_type *type = perf_type(perf, &mortal_def);

    measure(perf, type, WEFT_INTENSITY_UNLIMITED, "otp_restart");
    measure(perf, type, 2 * LIVES, "otp_restart_window");
}
