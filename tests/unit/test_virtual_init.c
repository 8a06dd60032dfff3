/* SPDX-License-Identifier: MIT
 *
 * Virtual actors that need something slow before they can begin. An init that blocks its thread
 * holds a scheduler, so as many of them as there are schedulers hold up everybody. One that has
 * somebody else wait delays only its own key, however many there are: a process that it calls, when
 * its type is serial, or a helper thread, when it keeps what comes meanwhile.
 */
#include "tests/unit/virtual_support.h"

enum { LOAD_TOKEN = 99, LOADED = 100, ASKS = 3, QUIET = 20, MORE = 2, WAYS = 2 };

static _Atomic int load_result;

struct patient {
    struct cell cell; /* the first, for what cells do */
    weft_msg *waiting[CELL_HELD_MAX];
    uint32_t count;
    bool ready;
};

/* ---- a serial type that calls a process ------------------------------------------------------ */

/* Waits at the gate, as long as it takes, without holding a scheduler. */
static int load(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)state;
    (void)arg;
    (void)arg_size;
    weft_msg *request = NULL;
    int result = weft_receive(ctx, WEFT_FOREVER, &request);
    while (result == 0 && atomic_load(&world.gate) == 0) {
        result = weft_sleep(ctx, MS_NS);
    }
    if (result == 0) {
        result = atomic_load(&load_result);
    }
    return result == 0 ? weft_reply(ctx, &request, 0, NULL, 0)
                       : weft_reply_error(ctx, &request, result);
}

static int caller_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    weft_pid loader = weft_pid_none();
    const weft_type *type = weft_type_find(weft_runtime_of(ctx), "loader");
    int result = cell_init(ctx, state, arg, arg_size);
    if (result == 0) {
        result = weft_spawn(ctx, type, NULL, 0, &loader);
    }
    return result == 0 ? weft_call(ctx, loader, 0, NULL, 0, 25 * S_NS, LOAD_TOKEN) : result;
}

static int caller_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct patient *patient = state;
    if (weft_msg_kind(msg) == WEFT_MSG_REPLY && weft_msg_token(msg) == LOAD_TOKEN) {
        patient->cell.view.value = LOADED;
        patient->ready = true;
        return weft_msg_status(msg); /* when it failed, this is a crash */
    }
    ck_assert(patient->ready); /* others wait, as the type is serial */
    return cell_receive(ctx, state, msg);
}

/* ---- a type that has a helper thread wait ---------------------------------------------------- */

static int load_on_a_thread(void *arg) {
    (void)arg;
    cell_wait();
    return atomic_load(&load_result);
}

static int keeper_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    int result = cell_init(ctx, state, arg, arg_size);
    return result == 0 ? weft_blocking(ctx, load_on_a_thread, NULL, LOAD_TOKEN) : result;
}

static int keeper_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct patient *patient = state;
    if (weft_msg_kind(msg) == WEFT_MSG_DONE) {
        patient->cell.view.value = LOADED;
        patient->ready = true;
        int result = weft_msg_status(msg);
        for (uint32_t i = 0; i < patient->count && result == 0; i++) {
            result = cell_receive(ctx, state, patient->waiting[i]);
        }
        return result;
    }
    if (!patient->ready) {
        ck_assert_uint_lt(patient->count, CELL_HELD_MAX);
        patient->waiting[patient->count++] = weft_msg_take(ctx, msg);
        return WEFT_CONTINUE;
    }
    return cell_receive(ctx, state, msg);
}

/* ---- tests ----------------------------------------------------------------------------------- */

struct clinic {
    struct vrig vrig;
    const weft_type *patient;
    struct probe probe;
    weft_pid puppet;
};

static void clinic_start(struct clinic *clinic, uint32_t schedulers, int way) {
    weft_type_def patient = cell_def("patient");
    patient.state_size = sizeof(struct patient);
    patient.init = way == 0 ? caller_init : keeper_init;
    patient.receive = way == 0 ? caller_receive : keeper_receive;
    patient.flags = way == 0 ? WEFT_TYPE_SERIAL : 0;
    weft_type_def loader = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "loader", .state_size = 1, .process = load};
    *clinic = (struct clinic){.vrig = vrig_start(schedulers), .probe = PROBE_INIT};
    clinic->patient = rig_type(&clinic->vrig.rig, &patient);
    (void)rig_type(&clinic->vrig.rig, &loader);
    clinic->puppet = rig_spawn(&clinic->vrig.rig, &clinic->probe);
}

static void clinic_stop(struct clinic *clinic) {
    vrig_stop(&clinic->vrig);
    probe_fini(&clinic->probe);
}

static struct view patient_ask(struct clinic *clinic, const char *id, uint32_t tag) {
    weft_vrequest request = message(&clinic->vrig, id, tag, NULL);
    struct view view = {0};
    request.type = clinic->patient;
    ck_assert_int_eq(try_request(&clinic->vrig, &request, &view), 0);
    return view;
}

/* So many patients, each asked ASKS times to add one. */
static void admit(struct clinic *clinic, uint32_t count) {
    uint64_t one = 1;
    for (uint32_t i = 0; i < count * ASKS; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i % count);
        weft_vrequest request = message(&clinic->vrig, id, TAG_ADD, &one);
        request.type = clinic->patient;
        (void)puppet_ask(&clinic->vrig, clinic->puppet, &request, i);
    }
    eventually(atomic_load(&world.inits) == count);
}

static void all_answered(struct clinic *clinic, uint32_t count, int status) {
    eventually(probe_count(&clinic->probe) >= count * ASKS);
    for (uint32_t i = 0; i < count * ASKS; i++) {
        ck_assert_int_eq(reply_at(&clinic->probe, i).status, status);
    }
}

START_TEST(inits_that_have_somebody_wait_delay_only_their_keys) {
    struct clinic clinic;
    uint32_t schedulers = schedulers_of(_i / WAYS), count = schedulers * MORE;
    clinic_start(&clinic, schedulers, _i % WAYS);
    admit(&clinic, count);
    uint64_t before_ns = clock_ns();
    for (uint32_t i = 0; i < QUIET; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "quiet %u", i);
        ck_assert_uint_eq(ask(&clinic.vrig, id, TAG_ADD, 5).value, 5);
    }
    ck_assert_uint_lt(clock_ns() - before_ns, SOON_NS);
    ck_assert_uint_eq(probe_count(&clinic.probe), 0);
    atomic_store(&world.gate, 1);
    all_answered(&clinic, count, 0);
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i);
        ck_assert_uint_eq(patient_ask(&clinic, id, TAG_GET).value, LOADED + ASKS);
    }
    clinic_stop(&clinic);
}
END_TEST

START_TEST(who_waited_for_what_failed_is_told_and_the_next_one_tries_again) {
    struct clinic clinic;
    uint32_t schedulers = schedulers_of(_i / WAYS), count = schedulers * MORE;
    clinic_start(&clinic, schedulers, _i % WAYS);
    atomic_store(&load_result, -EIO);
    admit(&clinic, count);
    atomic_store(&world.gate, 1);
    all_answered(&clinic, count, WEFT_E_CRASHED);
    atomic_store(&load_result, 0);
    ck_assert_uint_eq(patient_ask(&clinic, "0", TAG_GET).value, LOADED);
    clinic_stop(&clinic);
}
END_TEST

/* The limit, as the headers say it. */
START_TEST(as_many_blocking_inits_as_schedulers_hold_up_everybody) {
    uint32_t schedulers = schedulers_of(_i);
    struct vrig vrig = vrig_start(schedulers);
    (void)ask(&vrig, "other", TAG_SET, 1);
    uint64_t handled = atomic_load(&world.handled);
    atomic_store(&world.init_waits, true);
    for (uint32_t i = 0; i < schedulers; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", i);
        (void)tell(&vrig, id, TAG_ADD, 1);
    }
    eventually(atomic_load(&world.inside) == schedulers);
    (void)tell(&vrig, "other", TAG_ADD, 1);
    sleep_ns(20 * MS_NS);
    ck_assert_uint_eq(atomic_load(&world.handled), handled);
    atomic_store(&world.init_waits, false);
    atomic_store(&world.gate, 1);
    ck_assert_uint_eq(ask(&vrig, "other", TAG_GET, 0).value, 2);
    vrig_stop(&vrig);
}
END_TEST

/* A type of processes is refused as a virtual one: they have no first turn to be activated in. */
START_TEST(a_type_of_processes_cannot_be_virtual) {
    struct clinic clinic;
    clinic_start(&clinic, 1, 0);
    weft_vrequest request = message(&clinic.vrig, "one", TAG_ADD, NULL);
    request.type = weft_type_find(clinic.vrig.rig.runtime, "loader");
    ck_assert_ptr_nonnull(request.type);
    ck_assert_int_eq(try_request(&clinic.vrig, &request, NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_vcast(clinic.vrig.rig.runtime, &request, NULL), -EINVAL);
    clinic_stop(&clinic);
}
END_TEST

static Suite *init_suite(void) {
    Suite *suite = suite_create("virtual_init");
    TCase *tcase = tcase_create("slow");
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, inits_that_have_somebody_wait_delay_only_their_keys, 0,
                        WAYS * SCHEDULER_CASES);
    tcase_add_loop_test(tcase, who_waited_for_what_failed_is_told_and_the_next_one_tries_again, 0,
                        WAYS * SCHEDULER_CASES);
    tcase_add_loop_test(tcase, as_many_blocking_inits_as_schedulers_hold_up_everybody, 0,
                        SCHEDULER_CASES);
    tcase_add_test(tcase, a_type_of_processes_cannot_be_virtual);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return run_suite(init_suite());
}
