/* SPDX-License-Identifier: MIT
 *
 * A supervisor with three children, the second of which crashes twice: "rest for one", so the one
 * behind it, which depends on it, is stopped and started with it. Prints what happens; the library
 * itself prints nothing.
 */
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { TAG_CRASH = 1, CRASH = -5 };

/* Children are handlers like all others; they know nothing of the supervisor. */
struct child {
    const char *name;
};

static int child_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    struct child *child = state;
    (void)arg_size;
    memcpy(&child->name, arg, sizeof(child->name));
    printf("%s starts\n", child->name);
    return WEFT_CONTINUE;
}

static int child_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    const struct child *child = state;
    if (weft_msg_kind(msg) == WEFT_MSG_USER && weft_msg_tag(msg) == TAG_CRASH) {
        printf("%s crashes\n", child->name);
        return CRASH;
    }
    return WEFT_CONTINUE;
}

static void child_terminate(weft_ctx *ctx, void *state, int reason) {
    (void)ctx;
    printf("%s ends: %s\n", ((struct child *)state)->name, weft_strerror(reason));
}

/* The child's pid, once the supervisor has nothing else to do; none when it does not run. */
static weft_pid find(weft_runtime *runtime, weft_pid supervisor, const char *id) {
    weft_supervisor_answer answer = {.struct_size = WEFT_SUPERVISOR_ANSWER_INIT};
    weft_supervisor_request request = {
        .struct_size = WEFT_SUPERVISOR_REQUEST_INIT, .verb = WEFT_SUPERVISOR_WHICH, .id = id};
    int result =
        weft_runtime_supervisor_call(runtime, supervisor, &request, WEFT_TIMEOUT_DEFAULT, &answer);
    return result == 0 ? answer.pid : weft_pid_none();
}

/* Lets the child crash, and waits until the supervisor has put another in its place. */
static void crash(weft_runtime *runtime, weft_pid supervisor, const char *id) {
    weft_pid before = find(runtime, supervisor, id);
    if (weft_runtime_send(runtime, before, TAG_CRASH, NULL, 0) != 0) {
        return;
    }
    weft_pid now;
    do { /* until it has, which takes a microsecond */
        now = find(runtime, supervisor, id);
    } while (weft_pid_is_none(now) || weft_pid_equal(now, before));
}

static int run(weft_runtime *runtime) {
    static const char *const names[] = {"store", "cache", "web"};
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "child",
                         .state_size = sizeof(struct child),
                         .init = child_init,
                         .receive = child_receive,
                         .terminate = child_terminate};
    const weft_type *type;
    int result = weft_type_register(runtime, &def, &type);
    if (result == 0) {
        result = weft_runtime_start(runtime);
    }
    if (result != 0) {
        return result;
    }
    weft_child_spec children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = (weft_child_spec){.struct_size = WEFT_CHILD_SPEC_INIT,
                                        .id = names[i],
                                        .type = type,
                                        .arg = &names[i],
                                        .arg_size = sizeof(names[i])};
    }
    weft_supervisor_def top = {.struct_size = WEFT_SUPERVISOR_DEF_INIT,
                               .strategy = WEFT_REST_FOR_ONE,
                               .intensity = 3, /* a fourth crash within 10 s would end it */
                               .period_ns = UINT64_C(10000000000),
                               .child_count = 3,
                               .children = children};
    weft_pid supervisor;
    result = weft_runtime_supervisor(runtime, &top, &supervisor);
    if (result == 0) {
        crash(runtime, supervisor, "cache");
        crash(runtime, supervisor, "cache");
        result = weft_runtime_stop_actor(runtime, supervisor, WEFT_E_SHUTDOWN);
        while (!weft_pid_is_none(find(runtime, supervisor, "store"))) { /* until it has ended */
        }
    }
    return result;
}

int main(void) {
    weft_runtime *runtime = NULL;
    int result = weft_runtime_create(NULL, &runtime);
    if (result == 0) {
        result = run(runtime);
        int stopped = weft_runtime_stop(runtime, UINT64_MAX);
        result = result == 0 ? stopped : result;
        (void)weft_runtime_destroy(&runtime); /* it has stopped */
    }
    if (result != 0) {
        fprintf(stderr, "%s\n", weft_strerror(result));
    }
    return result == 0 ? 0 : 1;
}
