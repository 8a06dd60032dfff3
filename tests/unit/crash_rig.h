/* SPDX-License-Identifier: MIT
 *
 * What the tests of crashing virtual actors share: a vrig on an environment whose clock the test can
 * move forward, and a log hook that keeps the events of the breaker. Threads and everything else are
 * the operating system's, so any number of schedulers runs. Times in definitions are hours, against
 * which what a test itself takes does not count.
 */
#ifndef WEFT_TESTS_UNIT_CRASH_RIG_H
#define WEFT_TESTS_UNIT_CRASH_RIG_H

#include "tests/unit/store_rig.h"

#define HOUR_NS   (3600 * S_NS)
#define WINDOW_NS (10 * HOUR_NS)
#define PAUSE_NS  (100 * HOUR_NS)

enum { CRASH_MAX = 3, EVENT_TEXT = 256 };

/* ---- the clock ------------------------------------------------------------------------------- */

struct moved {
    weft_env env;
    weft_env *os;
    _Atomic uint64_t ahead_ns;
};

static struct moved moved;

static inline uint64_t moved_now(weft_env *env) {
    (void)env;
    return moved.os->now_mono_ns(moved.os) + atomic_load(&moved.ahead_ns);
}

static inline void moved_park(weft_env *env, void *driver, uint64_t deadline_ns) {
    (void)env;
    uint64_t ahead_ns = atomic_load(&moved.ahead_ns);
    if (deadline_ns != UINT64_MAX) {
        deadline_ns = deadline_ns > ahead_ns ? deadline_ns - ahead_ns : 0;
    }
    moved.os->driver_park(moved.os, driver, deadline_ns);
}

static inline weft_env *moved_start(void) {
    ck_assert_int_eq(weft_env_os_create(&moved.os), 0);
    moved.env = *moved.os;
    moved.env.now_mono_ns = moved_now;
    moved.env.driver_park = moved_park;
    return &moved.env;
}

static inline void pass(uint64_t ns) {
    atomic_fetch_add(&moved.ahead_ns, ns);
}

/* ---- the log --------------------------------------------------------------------------------- */

struct breaker_log {
    pthread_mutex_t lock;
    uint32_t count; /* of pauses; under lock, as the rest, which is of the last one */
    uint64_t crashes;
    char type[EVENT_TEXT];
    char id[EVENT_TEXT];
    char error[EVENT_TEXT];
};

static struct breaker_log breaker_log = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void log_text(char *to, const weft_log_field *field) {
    ck_assert_int_eq(field->kind, WEFT_LOG_TEXT);
    ck_assert_uint_lt(strlen(field->text), EVENT_TEXT);
    memcpy(to, field->text, strlen(field->text) + 1);
}

static inline void log_seen(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct breaker_log *seen = cookie;
    if (strcmp(event->name, "virtual.breaker") != 0) {
        return;
    }
    static const char *const keys[] = {"type", "id", "crashes", "error"};
    ck_assert_int_eq(level, WEFT_LOG_WARN);
    ck_assert_uint_eq(event->field_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(strcmp(event->fields[i].key, keys[i]) == 0);
    }
    pthread_mutex_lock(&seen->lock);
    seen->count++;
    log_text(seen->type, &event->fields[0]);
    log_text(seen->id, &event->fields[1]);
    ck_assert_int_eq(event->fields[2].kind, WEFT_LOG_U64);
    seen->crashes = event->fields[2].u64;
    log_text(seen->error, &event->fields[3]);
    pthread_mutex_unlock(&seen->lock);
}

static inline uint32_t breaks_logged(void) {
    pthread_mutex_lock(&breaker_log.lock);
    uint32_t count = breaker_log.count;
    pthread_mutex_unlock(&breaker_log.lock);
    return count;
}

/* ---- rigs ------------------------------------------------------------------------------------ */

enum { CRASH_CASES = 4 };

static inline uint32_t crash_schedulers(int number) {
    static const uint32_t counts[CRASH_CASES] = {1, 2, 8, 64};
    return counts[number];
}

static inline weft_type_def crash_def(void) {
    weft_type_def def = cell_def("cell");
    def.crash_max = CRASH_MAX;
    def.crash_window_ns = WINDOW_NS;
    def.crash_pause_ns = PAUSE_NS;
    return def;
}

/* The same type with a store. */
static inline void make_saved(weft_type_def *def) {
    weft_type_def saved = saved_def();
    def->save = saved.save;
    def->restore = saved.restore;
    def->store = saved.store;
    def->save_version = saved.save_version;
}

static inline struct vrig crash_start_config(weft_config config, const weft_type_def *def) {
    struct vrig vrig = {0};
    config.log = (weft_log_hook){.cookie = &breaker_log, .cb = log_seen};
    ck_assert_int_eq(weft_runtime_create_env(&config, moved_start(), &vrig.rig.runtime), 0);
    weft_type_def puppet = puppet_def("puppet");
    vrig.rig.puppet = rig_type(&vrig.rig, &puppet);
    ck_assert_int_eq(weft_runtime_start(vrig.rig.runtime), 0);
    vrig.cell = rig_type(&vrig.rig, def);
    vrig.chat = vrig_capability(&vrig, "chat");
    return vrig;
}

/* number: of the case, 0 to CRASH_CASES - 1. */
static inline struct vrig crash_start(int number, const weft_type_def *def) {
    weft_config config = rig_config(crash_schedulers(number));
    return crash_start_config(config, def);
}

static inline void crash_stop(struct vrig *vrig) {
    vrig_stop(vrig);
    weft_env_os_destroy(&moved.os);
}

/* The same when some were killed, or their ends are not all seen for another reason. */
static inline void crash_stop_uneven(struct vrig *vrig) {
    rig_stop(&vrig->rig);
    weft_env_os_destroy(&moved.os);
}

static inline int try_get(struct vrig *vrig, const char *id) {
    return try_ask(vrig, id, TAG_GET, 0);
}

/* Crashes an address, which answers, count times. */
static inline void crash(struct vrig *vrig, const char *id, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(try_ask(vrig, id, TAG_CRASH, 0), WEFT_E_CRASHED);
    }
}

/* It crashes once too often, and pauses. */
static inline void break_it(struct vrig *vrig, const char *id) {
    crash(vrig, id, CRASH_MAX + 1);
    ck_assert_int_eq(try_get(vrig, id), WEFT_E_BREAKER);
}

static inline int forgive(struct vrig *vrig, const char *id) {
    return weft_virtual_forgive(vrig->rig.runtime, vrig->chat, vrig->cell, id, strlen(id));
}

#endif
