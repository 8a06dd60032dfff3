/* SPDX-License-Identifier: MIT
 *
 * What tests of traces share: a log hook that keeps the events actor.trace, and ways to ask what it
 * has seen. Everything else that is logged must not pass the level the rig sets.
 */
#ifndef WEFT_TESTS_UNIT_TRACE_SUPPORT_H
#define WEFT_TESTS_UNIT_TRACE_SUPPORT_H

#include "tests/unit/support.h"

enum { TOLD_MAX = 1 << 16, TOLD_TEXT = 40 };

/* One event. */
struct told {
    char pid[TOLD_TEXT];
    char type[TOLD_TEXT];
    char way[TOLD_TEXT];
    char kind[TOLD_TEXT];
    char peer[TOLD_TEXT];
    uint64_t tag;
    uint64_t size;
    uint64_t ref;
    int64_t status;
};

struct record {
    pthread_mutex_t lock;
    struct told *list; /* under lock */
    uint32_t count;    /* under lock; more than TOLD_MAX are only counted */
    /* set before the rig starts */
    uint64_t delay_ns;   /* the hook takes so long */
    size_t stack_bytes;  /* and so much stack */
    const char *only;    /* the one pid that may be told of; NULL: any. Under lock */
    weft_atomic_u32 bad; /* events of others */
};

static inline void told_field(struct told *told, const weft_log_field *field) {
    static const struct {
        const char *key;
        size_t at;
        enum weft_log_kind kind;
    } places[] = {
        {"pid", offsetof(struct told, pid), WEFT_LOG_TEXT},
        {"type", offsetof(struct told, type), WEFT_LOG_TEXT},
        {"way", offsetof(struct told, way), WEFT_LOG_TEXT},
        {"kind", offsetof(struct told, kind), WEFT_LOG_TEXT},
        {"tag", offsetof(struct told, tag), WEFT_LOG_U64},
        {"size", offsetof(struct told, size), WEFT_LOG_U64},
        {"peer", offsetof(struct told, peer), WEFT_LOG_TEXT},
        {"status", offsetof(struct told, status), WEFT_LOG_I64},
        {"ref", offsetof(struct told, ref), WEFT_LOG_U64},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (strcmp(places[i].key, field->key) != 0) {
            continue;
        }
        ck_assert_int_eq(field->kind, places[i].kind);
        char *at = (char *)told + places[i].at;
        if (field->kind == WEFT_LOG_TEXT) {
            (void)snprintf(at, TOLD_TEXT, "%s", field->text);
        } else {
            memcpy(at, field->kind == WEFT_LOG_U64 ? (const void *)&field->u64 : &field->i64, 8);
        }
        return;
    }
    ck_abort_msg("unknown key %s", field->key);
}

/* Touches so much stack, a page at a time. */
static inline void use_stack(size_t bytes) {
    volatile char *block = __builtin_alloca(bytes + 1);
    for (size_t i = 0; i < bytes; i += 1024) {
        block[i] = (char)i;
    }
}

static inline void record_event(void *cookie, enum weft_log_level level,
                                const weft_log_event *event) {
    struct record *record = cookie;
    if (strcmp(event->name, "actor.trace") != 0) {
        ck_assert_int_eq(level, WEFT_LOG_ERROR);
        return;
    }
    ck_assert_int_eq(level, WEFT_LOG_INFO);
    ck_assert_uint_eq(event->field_count, 9);
    ck_assert_uint_gt(event->mono_ns, 0);
    use_stack(record->stack_bytes);
    struct told told = {.tag = 0};
    for (uint32_t i = 0; i < event->field_count; i++) {
        told_field(&told, &event->fields[i]);
    }
    pthread_mutex_lock(&record->lock);
    if (record->list != NULL && record->count < TOLD_MAX) {
        record->list[record->count] = told;
    }
    record->count++;
    bool bad = record->only != NULL && strcmp(record->only, told.pid) != 0;
    pthread_mutex_unlock(&record->lock);
    if (bad) {
        (void)weft_add32_acq_rel(&record->bad, 1);
    }
    if (record->delay_ns != 0) {
        sleep_ns(record->delay_ns);
    }
}

#define RECORD_INIT                                                                                \
    { .lock = PTHREAD_MUTEX_INITIALIZER, .list = calloc(TOLD_MAX, sizeof(struct told)) }

static inline void record_fini(struct record *record) {
    free(record->list);
    record->list = NULL;
}

static inline weft_config record_config(struct record *record, uint32_t schedulers) {
    weft_config config = rig_config(schedulers);
    config.log = (weft_log_hook){.cookie = record, .cb = record_event};
    config.log_level = WEFT_LOG_ERROR; /* a trace passes all the same */
    return config;
}

static inline struct rig record_rig(struct record *record, uint32_t schedulers) {
    weft_config config = record_config(record, schedulers);
    return rig_start_with(&config);
}

static inline uint32_t told_count(struct record *record) {
    pthread_mutex_lock(&record->lock);
    uint32_t count = record->count;
    pthread_mutex_unlock(&record->lock);
    return count;
}

static inline struct told told_at(struct record *record, uint32_t index) {
    pthread_mutex_lock(&record->lock);
    ck_assert_uint_lt(index, record->count);
    struct told told = record->list[index];
    pthread_mutex_unlock(&record->lock);
    return told;
}

/* The first event from *at on with this way and kind, of this pid (none: of any); *at moves behind
 * it. False: there is none yet. */
static inline bool told_find(struct record *record, const char *what, uint32_t *at,
                             struct told *ret_told) {
    char way[TOLD_TEXT] = "";
    char kind[TOLD_TEXT] = "";
    ck_assert_int_eq(sscanf(what, "%39s %39s", way, kind), 2);
    uint32_t count = told_count(record);
    for (uint32_t i = *at; i < count; i++) {
        struct told told = told_at(record, i);
        if (strcmp(told.way, way) == 0 && strcmp(told.kind, kind) == 0) {
            *at = i + 1;
            *ret_told = told;
            return true;
        }
    }
    return false;
}

/* The same, and it must come. */
static inline struct told told_wait(struct record *record, const char *what, uint32_t *at) {
    struct told told;
    uint64_t until_ns = clock_ns() + 40 * S_NS;
    while (!told_find(record, what, at, &told)) {
        if (clock_ns() > until_ns) {
            for (uint32_t i = 0; i < told_count(record); i++) {
                struct told other = told_at(record, i);
                printf("%u: %s %s tag %llu status %lld\n", i, other.way, other.kind,
                       (unsigned long long)other.tag, (long long)other.status);
            }
            ck_abort_msg("never told from %u on: %s", *at, what);
        }
        sleep_ns(100000);
    }
    return told;
}

/* How many of these there are. */
static inline uint32_t told_total(struct record *record, const char *what) {
    struct told told;
    uint32_t at = 0;
    uint32_t total = 0;
    while (told_find(record, what, &at, &told)) {
        total++;
    }
    return total;
}

static inline void trace(struct rig *rig, weft_pid pid, bool on) {
    ck_assert_int_eq(weft_trace(rig->runtime, pid, on), 0);
}

static inline bool is_peer(const struct told *told, weft_pid pid) {
    char text[WEFT_PID_TEXT_BYTES];
    ck_assert_int_ge(weft_pid_format(pid, text, sizeof(text)), 0);
    return strcmp(text, told->peer) == 0;
}

/* The next event must be this. */
static inline struct told told_next(struct record *record, const char *what, uint32_t *at) {
    eventually(told_count(record) > *at);
    struct told told = told_at(record, (*at)++);
    char text[2 * TOLD_TEXT + 2];
    (void)snprintf(text, sizeof(text), "%s %s", told.way, told.kind);
    ck_assert_msg(strcmp(text, what) == 0, "event %u: %s (tag %llu), wanted %s", *at - 1, text,
                  (unsigned long long)told.tag, what);
    return told;
}

#endif
