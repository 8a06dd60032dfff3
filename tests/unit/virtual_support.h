/* SPDX-License-Identifier: MIT
 *
 * What the tests of virtual actors share. A vrig is a rig that offers the capability "chat" and
 * knows the type "cell": an actor that holds a number and does what the tag of a message says. What
 * happens to cells is counted in the world, of which there is one, as tests run forked: a
 * type has no cookie, and the init argument is one of the things that are tested.
 *
 * A test reaches a cell from outside (ask, tell), or from a puppet (puppet_ask, puppet_tell), whose
 * probe then has the replies. Ids are strings unless a test says otherwise.
 */
#ifndef WEFT_TESTS_UNIT_VIRTUAL_SUPPORT_H
#define WEFT_TESTS_UNIT_VIRTUAL_SUPPORT_H

#include "tests/unit/support.h"

#include <stdatomic.h>
#include <weft/shard.h>
#include <weft/store.h>
#include <weft/virtual.h>

enum {
    TAG_GET = 1,    /* these four: a request is answered with the view; a number is the payload */
    TAG_SET,        /* value = number */
    TAG_ADD,        /* value += number */
    TAG_STOP,       /* then ends by itself, by WEFT_STOP */
    TAG_CRASH,      /* the handler answers -EIO */
    TAG_HOLD,       /* a request is taken, to be answered at TAG_LET_GO */
    TAG_LET_GO,     /* answers all that are held */
    TAG_GATE,       /* the handler blocks its thread until world.gate is open */
    TAG_IGNORE,     /* released without an answer */
    TAG_FORGET,     /* weft_forget */
    TAG_PASSIVATE,  /* weft_passivate */
    TAG_KEEP,       /* weft_keep_alive(number != 0) */
    TAG_ACCOUNT,    /* weft_account(number) */
    TAG_TIMER,      /* starts a timer of number ns */
    TAG_WORK,       /* weft_blocking for number ns */
    TAG_LISTEN_HERE /* a call of its own to a silent puppet, the pid in the payload */
};

enum { CELL_HELD_MAX = 16, CELL_SILENT_TOKEN = 77, ENDS_MAX = 8192, ID_SHOWN = 32 };

/* ---- the world ------------------------------------------------------------------------------- */

/* An activation that ended after a successful init. */
struct end {
    char id[ID_SHOWN]; /* the beginning of its id */
    int reason;
    uint64_t at_ns;
    uint64_t quiet_ns; /* since its last message */
    weft_pid pid;
};

struct world {
    _Atomic uint64_t inits; /* begun */
    _Atomic uint64_t restores;
    _Atomic uint64_t saves;
    _Atomic uint64_t births; /* inits and restores that succeeded */
    _Atomic uint64_t deaths;
    _Atomic uint64_t handled;
    _Atomic uint64_t timers; /* TIMER messages cells have got */
    _Atomic uint64_t works;  /* DONE messages */
    _Atomic uint64_t replies;
    _Atomic int init_result;    /* what init answers */
    _Atomic int restore_result; /* what restore answers */
    _Atomic int save_result;
    _Atomic bool save_nothing; /* save keeps nothing */
    _Atomic bool init_waits;   /* at the gate */
    _Atomic int may_fail;      /* what cells do may answer this */
    _Atomic uint32_t gate;
    _Atomic uint32_t inside; /* handlers at the gate */
    pthread_mutex_t lock;
    struct end ends[ENDS_MAX]; /* under lock */
    uint32_t end_count;        /* under lock */
};

static struct world world = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline uint32_t world_ends(void) {
    pthread_mutex_lock(&world.lock);
    uint32_t count = world.end_count;
    pthread_mutex_unlock(&world.lock);
    return count;
}

/* The end number index, which must come: an answer may overtake it. */
static inline struct end end_at(uint32_t index) {
    eventually(world_ends() > index);
    pthread_mutex_lock(&world.lock);
    struct end end = world.ends[index];
    pthread_mutex_unlock(&world.lock);
    return end;
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* The answer of a cell. */
struct view {
    uint64_t value;
    uint64_t birth; /* number of this activation, from 1 */
    uint64_t arg;   /* the first 8 bytes of its init argument */
    uint64_t arg_size;
    uint64_t restored; /* restore was called instead of init */
    uint64_t version;  /* what restore was told */
    weft_pid pid;
    uint64_t handled; /* messages of this activation, this one included; not in a puppet's probe */
};

struct cell {
    struct view view;
    uint64_t last_ns;
    weft_msg *held[CELL_HELD_MAX];
    uint32_t held_count;
};

/* At the gate: blocks its thread. */
static inline void cell_wait(void) {
    atomic_fetch_add(&world.inside, 1);
    while (atomic_load(&world.gate) == 0) {
        sleep_ns(50000);
    }
    atomic_fetch_sub(&world.inside, 1);
}

static inline int cell_born(weft_ctx *ctx, struct cell *cell) {
    cell->view.pid = weft_self(ctx);
    cell->view.birth = atomic_fetch_add(&world.births, 1) + 1;
    cell->last_ns = clock_ns();
    return WEFT_CONTINUE;
}

static inline int cell_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct cell *cell = state;
    ck_assert_uint_eq(cell->view.value, 0); /* zeroed */
    ck_assert_uint_eq(cell->view.birth, 0);
    atomic_fetch_add(&world.inits, 1);
    if (arg_size != 0) {
        ck_assert_ptr_nonnull(arg);
        memcpy(&cell->view.arg, arg, arg_size < sizeof(uint64_t) ? arg_size : sizeof(uint64_t));
    }
    cell->view.arg_size = arg_size;
    if (atomic_load(&world.init_waits)) {
        cell_wait();
    }
    int result = atomic_load(&world.init_result);
    return result != 0 ? result : cell_born(ctx, cell);
}

static inline int cell_save(weft_ctx *ctx, void *state, weft_buf **ret_saved) {
    struct cell *cell = state;
    atomic_fetch_add(&world.saves, 1);
    ck_assert_uint_eq(cell->held_count, 0); /* it is idle */
    int result = atomic_load(&world.save_result);
    if (result != 0 || atomic_load(&world.save_nothing)) {
        return result;
    }
    weft_buf *buf = NULL;
    result = weft_buf_create(weft_runtime_of(ctx), sizeof(uint64_t), &buf);
    if (result != 0) {
        return result;
    }
    memcpy(weft_buf_data(buf), &cell->view.value, sizeof(uint64_t));
    *ret_saved = buf;
    return 0;
}

static inline int cell_restore(weft_ctx *ctx, void *state, const void *data, size_t size,
                               uint32_t version) {
    struct cell *cell = state;
    ck_assert_uint_eq(cell->view.birth, 0);
    atomic_fetch_add(&world.restores, 1);
    int result = atomic_load(&world.restore_result);
    if (result != 0) {
        return result;
    }
    if (size != sizeof(uint64_t)) {
        return -EBADMSG;
    }
    memcpy(&cell->view.value, data, sizeof(uint64_t));
    cell->view.restored = 1;
    cell->view.version = version;
    return cell_born(ctx, cell);
}

static inline void cell_terminate(weft_ctx *ctx, void *state, int reason) {
    struct cell *cell = state;
    weft_ventry self = {.struct_size = WEFT_VENTRY_INIT};
    struct end end = {.reason = reason, .at_ns = clock_ns(), .pid = weft_self(ctx)};
    end.quiet_ns = end.at_ns - cell->last_ns;
    if (weft_virtual_self(ctx, &self) == 0) {
        memcpy(end.id, self.id, self.id_size < ID_SHOWN ? self.id_size : ID_SHOWN - 1);
    }
    pthread_mutex_lock(&world.lock);
    if (world.end_count < ENDS_MAX) {
        world.ends[world.end_count++] = end;
    }
    pthread_mutex_unlock(&world.lock);
    atomic_fetch_add(&world.deaths, 1);
}

static inline int cell_sleep(void *arg) {
    sleep_ns((uint64_t)(uintptr_t)arg);
    return 0;
}

static inline void cell_let_go(weft_ctx *ctx, struct cell *cell) {
    while (cell->held_count > 0) {
        weft_msg *request = cell->held[--cell->held_count];
        (void)weft_reply(ctx, &request, TAG_LET_GO, &cell->view, sizeof(cell->view));
    }
}

static inline void cell_act(weft_ctx *ctx, weft_msg *msg) {
    struct job job;
    memcpy(&job, weft_msg_data(msg), sizeof(job));
    job.fn(ctx, job.arg);
}

static inline void cell_did(int result) {
    ck_assert(result == 0 || result == atomic_load(&world.may_fail));
}

/* What does not end the actor. */
static inline void cell_do(weft_ctx *ctx, struct cell *cell, uint32_t tag, uint64_t number) {
    switch (tag) {
    case TAG_SET:
        cell->view.value = number;
        break;
    case TAG_ADD:
        cell->view.value += number;
        break;
    case TAG_LET_GO:
        cell_let_go(ctx, cell);
        break;
    case TAG_GATE:
        cell_wait();
        break;
    case TAG_FORGET:
        cell_did(weft_forget(ctx));
        break;
    case TAG_PASSIVATE:
        cell_did(weft_passivate(ctx));
        break;
    case TAG_KEEP:
        cell_did(weft_keep_alive(ctx, number != 0));
        break;
    case TAG_ACCOUNT:
        cell_did(weft_account(ctx, number));
        break;
    case TAG_TIMER:
        cell_did(weft_timer_start(ctx, number, TAG_TIMER, 1, NULL));
        break;
    case TAG_WORK:
        cell_did(weft_blocking(ctx, cell_sleep, (void *)(uintptr_t)number, 1));
        break;
    default:
        break;
    }
}

static inline int cell_serve(weft_ctx *ctx, struct cell *cell, weft_msg *msg) {
    uint32_t tag = weft_msg_tag(msg);
    bool is_request = weft_msg_kind(msg) == WEFT_MSG_REQUEST;
    uint64_t number = 0;
    cell->view.handled++;
    atomic_fetch_add(&world.handled, 1);
    if (weft_msg_size(msg) >= sizeof(number)) {
        memcpy(&number, weft_msg_data(msg), sizeof(number));
    }
    if (tag == TAG_CRASH) {
        return -EIO;
    }
    if (tag == TAG_HOLD && is_request) {
        ck_assert_uint_lt(cell->held_count, CELL_HELD_MAX);
        cell->held[cell->held_count++] = weft_msg_take(ctx, msg);
        return WEFT_CONTINUE;
    }
    if (tag == TAG_LISTEN_HERE) {
        weft_pid silent;
        memcpy(&silent, weft_msg_data(msg), sizeof(silent));
        ck_assert_int_eq(weft_call(ctx, silent, 1, NULL, 0, WEFT_TIMEOUT_NEVER, CELL_SILENT_TOKEN),
                         0);
    } else if (tag == TAG_ACT) {
        cell_act(ctx, msg);
    } else {
        cell_do(ctx, cell, tag, number);
    }
    if (is_request && tag != TAG_IGNORE) {
        (void)weft_reply(ctx, &msg, tag, &cell->view, sizeof(cell->view));
    }
    return tag == TAG_STOP ? WEFT_STOP : WEFT_CONTINUE;
}

static inline int cell_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct cell *cell = state;
    cell->last_ns = clock_ns();
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
    case WEFT_MSG_REQUEST:
        return cell_serve(ctx, cell, msg);
    case WEFT_MSG_TIMER:
        atomic_fetch_add(&world.timers, 1);
        return WEFT_CONTINUE;
    case WEFT_MSG_DONE:
        atomic_fetch_add(&world.works, 1);
        return WEFT_CONTINUE;
    case WEFT_MSG_REPLY:
        atomic_fetch_add(&world.replies, 1);
        return WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

static inline weft_type_def cell_def(const char *name) {
    return (weft_type_def){
        .struct_size = WEFT_TYPE_DEF_INIT,
        .name = name,
        .state_size = sizeof(struct cell),
        .init = cell_init,
        .receive = cell_receive,
        .terminate = cell_terminate,
    };
}

/* ---- vrigs ----------------------------------------------------------------------------------- */

struct vrig {
    struct rig rig;
    const weft_capability *chat;
    const weft_type *cell;
};

static inline const weft_capability *vrig_capability(struct vrig *vrig, const char *name) {
    const weft_capability *capability = NULL;
    ck_assert_int_eq(weft_capability_add(vrig->rig.runtime, name, &capability), 0);
    ck_assert_ptr_nonnull(capability);
    return capability;
}

static inline struct vrig vrig_start_config(const weft_config *config, const weft_type_def *def) {
    struct vrig vrig = {.rig = rig_start_with(config)};
    vrig.cell = rig_type(&vrig.rig, def);
    vrig.chat = vrig_capability(&vrig, "chat");
    return vrig;
}

static inline struct vrig vrig_start_def(uint32_t schedulers, const weft_type_def *def) {
    weft_config config = rig_config(schedulers);
    return vrig_start_config(&config, def);
}

static inline struct vrig vrig_start(uint32_t schedulers) {
    weft_type_def def = cell_def("cell");
    return vrig_start_def(schedulers, &def);
}

static inline uint64_t vrig_count(struct vrig *vrig) {
    return weft_virtual_count(vrig->rig.runtime, NULL);
}

/* Stops, and nothing of virtual actors is left either. */
static inline void vrig_stop(struct vrig *vrig) {
    ck_assert_int_eq(weft_runtime_stop(vrig->rig.runtime, 30 * S_NS), 0);
    ck_assert_uint_eq(vrig_count(vrig), 0);
    ck_assert_uint_eq(atomic_load(&world.births), atomic_load(&world.deaths));
    rig_stop(&vrig->rig);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A message to any bytes, without a payload. */
static inline weft_vrequest message_to(const struct vrig *vrig, const void *id, size_t id_size,
                                       uint32_t tag) {
    return (weft_vrequest){
        .struct_size = WEFT_VREQUEST_INIT,
        .capability = vrig->chat,
        .type = vrig->cell,
        .id = id,
        .id_size = id_size,
        .tag = tag,
        .timeout_ns = 25 * S_NS,
    };
}

/* A message with a number to an id that is a string. */
static inline weft_vrequest message(const struct vrig *vrig, const char *id, uint32_t tag,
                                    const uint64_t *number) {
    weft_vrequest request = message_to(vrig, id, strlen(id), tag);
    request.payload = number;
    request.payload_size = number == NULL ? 0 : sizeof(*number);
    return request;
}

/* Calls from outside; the pid and the view when it was answered. */
static inline int try_request(struct vrig *vrig, const weft_vrequest *request,
                              struct view *ret_view) {
    weft_msg *reply = NULL;
    weft_pid pid = weft_pid_none();
    int result = weft_runtime_vcall(vrig->rig.runtime, request, &reply, &pid);
    if (result != 0) {
        ck_assert_ptr_null(reply);
        return result;
    }
    struct view view;
    ck_assert_uint_eq(weft_msg_size(reply), sizeof(view));
    memcpy(&view, weft_msg_data(reply), sizeof(view));
    weft_runtime_msg_release(vrig->rig.runtime, &reply);
    ck_assert(!weft_pid_is_none(pid));
    if (ret_view != NULL) {
        *ret_view = view;
    }
    return 0;
}

static inline int try_ask(struct vrig *vrig, const char *id, uint32_t tag, uint64_t number) {
    weft_vrequest request = message(vrig, id, tag, &number);
    return try_request(vrig, &request, NULL);
}

/* Calls an id from outside, and it is answered. */
static inline struct view ask(struct vrig *vrig, const char *id, uint32_t tag, uint64_t number) {
    struct view view = {0};
    weft_vrequest request = message(vrig, id, tag, &number);
    ck_assert_int_eq(try_request(vrig, &request, &view), 0);
    return view;
}

static inline struct view ask_arg(struct vrig *vrig, const char *id, uint32_t tag,
                                  const char *arg) {
    struct view view = {0};
    weft_vrequest request = message(vrig, id, tag, NULL);
    request.init_arg = arg;
    request.init_arg_size = arg == NULL ? 0 : strlen(arg);
    ck_assert_int_eq(try_request(vrig, &request, &view), 0);
    return view;
}

/* Casts to an id from outside; who got it. */
static inline weft_pid tell(struct vrig *vrig, const char *id, uint32_t tag, uint64_t number) {
    weft_pid pid = weft_pid_none();
    weft_vrequest request = message(vrig, id, tag, &number);
    ck_assert_int_eq(weft_runtime_vcast(vrig->rig.runtime, &request, &pid), 0);
    ck_assert(!weft_pid_is_none(pid));
    return pid;
}

/* Runs fn(ctx, arg) inside a cell. */
static inline void act_in(struct vrig *vrig, const char *id, job_fn fn, void *arg) {
    struct job job = {.fn = fn, .arg = arg};
    weft_vrequest request = message(vrig, id, TAG_ACT, NULL);
    request.payload = &job;
    request.payload_size = sizeof(job);
    ck_assert_int_eq(try_request(vrig, &request, NULL), 0);
}

/* Whether an id is active. */
static inline bool is_active(struct vrig *vrig, const char *id) {
    weft_pid pid;
    int result = weft_virtual_get(vrig->rig.runtime, vrig->chat, vrig->cell, id, strlen(id), &pid);
    ck_assert(result == 0 || result == WEFT_E_INACTIVE);
    return result == 0;
}

/* ---- from puppets ---------------------------------------------------------------------------- */

/* One request a puppet makes, and what came of it at once. */
struct asking {
    weft_vrequest request;
    uint64_t token;
    uint64_t at_ns; /* the puppet's clock, which may be older than that outside */
    int result;
    weft_pid pid;
};

static inline void puppet_ask_job(weft_ctx *ctx, void *arg) {
    struct asking *asking = arg;
    asking->at_ns = weft_now_ns(ctx);
    asking->result = weft_vcall(ctx, &asking->request, asking->token, &asking->pid);
}

static inline void puppet_tell_job(weft_ctx *ctx, void *arg) {
    struct asking *asking = arg;
    asking->result = weft_vcast(ctx, &asking->request, &asking->pid);
}

static inline weft_pid puppet_ask(struct vrig *vrig, weft_pid puppet, const weft_vrequest *request,
                                  uint64_t token) {
    struct asking asking = {.request = *request, .token = token};
    act(&vrig->rig, puppet, puppet_ask_job, &asking);
    ck_assert_int_eq(asking.result, 0);
    ck_assert(!weft_pid_is_none(asking.pid));
    return asking.pid;
}

static inline weft_pid puppet_tell(struct vrig *vrig, weft_pid puppet,
                                   const weft_vrequest *request) {
    struct asking asking = {.request = *request};
    act(&vrig->rig, puppet, puppet_tell_job, &asking);
    ck_assert_int_eq(asking.result, 0);
    ck_assert(!weft_pid_is_none(asking.pid));
    return asking.pid;
}

/* The reply a puppet has recorded as number index, which must come. */
static inline struct seen reply_at(struct probe *probe, uint32_t index) {
    eventually(probe_count(probe) > index);
    struct seen seen = probe_at(probe, index);
    ck_assert_int_eq(seen.kind, WEFT_MSG_REPLY);
    return seen;
}

/* ---- ids of one shard ------------------------------------------------------------------------ */

enum { NEIGHBOUR_BYTES = 16 };

/* Fills ids with strings of one shard, that of the first. */
static inline void neighbours(struct vrig *vrig, char (*ids)[NEIGHBOUR_BYTES], uint32_t count) {
    uint32_t found = 0;
    uint32_t shard = 0;
    for (uint32_t i = 0; found < count; i++) {
        char id[NEIGHBOUR_BYTES];
        ck_assert_uint_lt(i, UINT32_C(100000000));
        int size = snprintf(id, sizeof(id), "n%u", i);
        uint32_t at = weft_shard_for(vrig->rig.runtime, id, (size_t)size);
        shard = found == 0 ? at : shard;
        if (at == shard) {
            memcpy(ids[found++], id, sizeof(id));
        }
    }
}

#endif
