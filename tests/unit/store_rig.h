/* SPDX-License-Identifier: MIT
 *
 * What the tests of virtual actors with a store share: a vrig whose cells are saved in a faulty
 * store (store_support.h), of which there is one, as tests run forked.
 */
#ifndef WEFT_TESTS_UNIT_STORE_RIG_H
#define WEFT_TESTS_UNIT_STORE_RIG_H

#include "tests/unit/store_support.h"
#include "tests/unit/virtual_support.h"

enum { SAVE_VERSION = 3 };

static struct faulty faulty;

static inline weft_type_def saved_def(void) {
    weft_type_def def = cell_def("cell");
    def.save = cell_save;
    def.restore = cell_restore;
    def.store = &faulty.store;
    def.save_version = SAVE_VERSION;
    def.store_timeout_ns = 20 * S_NS;
    return def;
}

static inline struct vrig start_saving(int number) {
    faulty_init(&faulty, 1);
    weft_type_def def = saved_def();
    return vrig_start_def(schedulers_of(number), &def);
}

static inline void stop_saving(struct vrig *vrig) {
    faulty_helper_stop(&faulty);
    faulty_drop(&faulty);
    vrig_stop(vrig);
    faulty_fini(&faulty);
}

/* From now on operations wait for a step. */
static inline void hold_store(void) {
    faulty_plan(&faulty, (struct faulty_plan){.delay = 100});
}

/* One of those that wait is done, and from now on the others at once. */
static inline void step_on(void) {
    faulty_plan(&faulty, (struct faulty_plan){0});
    ck_assert(faulty_step(&faulty));
}

static inline void passivate(struct vrig *vrig, const char *id) {
    (void)ask(vrig, id, TAG_PASSIVATE, 0);
    eventually(!is_active(vrig, id));
}

#endif
