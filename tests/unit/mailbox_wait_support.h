/* SPDX-License-Identifier: MIT
 *
 * What the tests of mailbox policy wait share: processes that run a script, and boxes, which are
 * processes that take nothing until their gate is opened; what they take then is numbered, so that
 * order and losses show.
 */
#ifndef WEFT_TESTS_UNIT_MAILBOX_WAIT_SUPPORT_H
#define WEFT_TESTS_UNIT_MAILBOX_WAIT_SUPPORT_H

#include "tests/unit/support.h"

enum {
    BOUND = 8,
    MANY = 300,
    TAG_NUMBER = 1,
    TAG_END = 2, /* the box ends by itself */
    TAG_CALL = 3,
    CASES = 4,
};

static inline uint32_t cases_of(int number) {
    static const uint32_t counts[] = {1, 2, 8, 64};
    return counts[number];
}

/* ---- processes that run a script ----------------------------------------------------------- */

typedef int (*script_fn)(weft_ctx *ctx, void *user);
struct script {
    script_fn fn;
    script_fn init;
    weft_pid pid; /* of an actor it talks to */
    weft_pid other;
    void *user;
    int result; /* of what it tried */
    int init_result;
    weft_atomic_u32 step;
    weft_atomic_u32 done;
};

static inline int script_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct script *script;
    ck_assert_uint_eq(arg_size, sizeof(struct script *));
    memcpy(&script, arg, sizeof(struct script *));
    memcpy(state, &script, sizeof(struct script *));
    return script->init == NULL ? WEFT_CONTINUE : script->init(ctx, script);
}

static inline int script_run(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct script *script = *(struct script **)state;
    (void)arg;
    (void)arg_size;
    int result = script->fn(ctx, script);
    weft_store32_release(&script->done, 1);
    return result;
}

static inline weft_pid start_as(struct rig *rig, const weft_type *type, struct script *script) {
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &script,
                                  .arg_size = sizeof(struct script *)};
    weft_pid pid = weft_pid_none();
    ck_assert_int_eq(weft_runtime_spawn(rig->runtime, type, &options, &pid), 0);
    return pid;
}

/* A process; bound 0: with the default mailbox. */
static inline weft_pid start(struct rig *rig, struct script *script, uint32_t bound) {
    char name[32];
    snprintf(name, sizeof(name), "script %u", bound);
    const weft_type *type = weft_type_find(rig->runtime, name);
    if (type == NULL) {
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = name,
                             .state_size = sizeof(struct script *),
                             .init = script_init,
                             .process = script_run,
                             .mailbox_max = bound,
                             .mailbox_policy = WEFT_MAILBOX_WAIT};
        type = rig_type(rig, &def);
    }
    return start_as(rig, type, script);
}

#define finished(script) (weft_load32_acquire(&(script)->done) != 0)
#define step_of(script)  weft_load32_acquire(&(script)->step)

static inline void step(struct script *script) {
    (void)weft_add32_acq_rel(&script->step, 1);
}

/* ---- boxes --------------------------------------------------------------------------------- */

struct box {
    struct script script;
    weft_atomic_u32 gate;
    weft_atomic_u32 taken; /* numbered messages and calls */
    uint32_t next;         /* number that is due, of one sender */
    bool ordered;          /* there is one sender */
    uint32_t slow_every;   /* sleeps a little after so many; 0: never */
    uint32_t ready;        /* READY messages received */
    uint32_t others;
};

static inline void box_take(weft_ctx *ctx, struct box *box, weft_msg *msg) {
    uint32_t number = UINT32_MAX;
    if (weft_msg_kind(msg) == WEFT_MSG_READY) {
        box->ready++;
        return;
    }
    if (weft_msg_tag(msg) != TAG_NUMBER && weft_msg_tag(msg) != TAG_CALL) {
        box->others++;
        return;
    }
    memcpy(&number, weft_msg_data(msg), sizeof(number));
    if (box->ordered) {
        ck_assert_uint_eq(number, box->next);
    }
    box->next++;
    (void)weft_add32_acq_rel(&box->taken, 1);
    if (weft_msg_kind(msg) == WEFT_MSG_REQUEST) {
        (void)weft_reply(ctx, &msg, TAG_CALL, &number, sizeof(number));
    }
    if (box->slow_every != 0 && box->next % box->slow_every == 0) {
        ck_assert_int_eq(weft_sleep(ctx, MS_NS / 10), 0);
    }
}

static inline void wait_gate(weft_ctx *ctx, const struct box *box) {
    while (weft_load32_acquire(&box->gate) == 0) {
        int result = weft_sleep(ctx, MS_NS / 4);
        ck_assert(result == 0 || result == -ENOMEM); /* some tests let memory run out */
    }
}

static inline int box_run(weft_ctx *ctx, void *user) {
    struct box *box = weft_container_of((struct script *)user, struct box, script);
    wait_gate(ctx, box);
    for (;;) {
        weft_msg *msg = NULL;
        ck_assert_int_eq(weft_receive(ctx, WEFT_FOREVER, &msg), 0);
        if (weft_msg_kind(msg) == WEFT_MSG_USER && weft_msg_tag(msg) == TAG_END) {
            return 0;
        }
        box_take(ctx, box, msg);
    }
}

/* Ends when the gate is opened, without taking anything. */
static inline int box_end(weft_ctx *ctx, void *user) {
    struct box *box = weft_container_of((struct script *)user, struct box, script);
    wait_gate(ctx, box);
    return 0;
}

static inline weft_pid box_start(struct rig *rig, struct box *box) {
    box->script.fn = box->script.fn == NULL ? box_run : box->script.fn;
    return start(rig, &box->script, BOUND);
}

static inline void box_open(struct box *box) {
    weft_store32_release(&box->gate, 1);
}

static inline uint32_t box_aside(struct rig *rig, weft_pid pid) {
    weft_actor_info info = {.struct_size = sizeof(info)};
    ck_assert_int_eq(weft_inspect(rig->runtime, pid, &info), 0);
    return info.aside;
}

/* Sends numbers from outside until the box, which is closed, is full for good; how many. It may say
 * so early while it is about to put some aside. */
static inline uint32_t box_fill(struct rig *rig, weft_pid pid) {
    uint32_t number = 0;
    while (number < BOUND) {
        int result = weft_runtime_send(rig->runtime, pid, TAG_NUMBER, &number, sizeof(number));
        ck_assert(result == 0 || result == -EBUSY);
        number += result == 0 ? 1 : 0;
        eventually(box_aside(rig, pid) == number);
    }
    return number;
}

/* Until the script has come as far as it can: into the wait. */
static inline void until_it_waits(struct script *script) {
    uint32_t last = UINT32_MAX;
    eventually(step_of(script) != 0);
    while (step_of(script) != last) {
        last = step_of(script);
        sleep_ns(5 * MS_NS);
    }
    ck_assert(!finished(script));
}

/* ---- filling ------------------------------------------------------------------------------- */

struct refused {
    weft_pid target;
    uint32_t accepted;
    int result;
};

static inline void fill(weft_ctx *ctx, void *arg) {
    struct refused *refused = arg;
    uint32_t number = 0;
    refused->result = 0;
    for (refused->accepted = 0; refused->result == 0; refused->accepted++) {
        ck_assert_uint_le(refused->accepted, BOUND);
        refused->result = weft_send(ctx, refused->target, TAG_NUMBER, &number, sizeof(number));
        number++;
    }
}

#endif
