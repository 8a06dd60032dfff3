/* SPDX-License-Identifier: MIT
 *
 * A world for plans of supervisors, and a model to compare them with. The world has the children
 * that live, and a mailbox; what happens in it is drawn from a seed and from how many children were
 * started and stopped so far, so that two supervisors who do the same see the same.
 *
 * The model is OTP's supervisor written down as it is there: one thing after the other, each start
 * and stop waited for, with a mailbox that is read selectively meanwhile. It knows nothing of
 * steps, walks and numbers, which is what the plan is made of.
 */
#ifndef WEFT_TESTS_UNIT_SUPERVISOR_WORLD_H
#define WEFT_TESTS_UNIT_SUPERVISOR_WORLD_H

#include "core/prng.h"
#include "sched/supervisor_plan.h"
#include "tests/unit/support.h"

enum { IDS_MAX = 512, NOTES_MAX = 4096, TRACE_MAX = 1 << 15, TIMES_MAX = 4096 };

enum note_kind {
    NOTE_UP,
    NOTE_FAILED,
    NOTE_IGNORED,
    NOTE_EXIT,
    NOTE_RETRY,
    NOTE_ADD,
    NOTE_START,
    NOTE_STOP,
    NOTE_DELETE,
    NOTE_END,
};

struct note {
    enum note_kind kind;
    uint32_t id;
    uint32_t pid;
    bool in_order;
    uint32_t restart; /* ADD */
    bool significant; /* ADD */
    uint64_t number;  /* the plan's */
};

/* What the two are compared by. */
enum trace_kind { TRACE_START, TRACE_STOP, TRACE_ANSWER, TRACE_STATE, TRACE_END };
enum answer { ANSWER_OK, ANSWER_RUNS, ANSWER_STOPPED, ANSWER_AGAIN, ANSWER_UNKNOWN, ANSWER_FAILED };

struct world {
    uint64_t seed;
    uint64_t now_ns;
    uint32_t actions;
    uint32_t pids;  /* last given out */
    uint32_t ids;   /* last given out */
    bool requests;  /* some come */
    uint32_t calm;  /* per mille: nothing bad happens with an action */
    uint32_t fails; /* the first so many starts after the first `good` ones fail */
    uint32_t good;
    bool scripted;                /* starts fail by `fails` only, nothing else happens */
    uint32_t living[IDS_MAX + 1]; /* pid by id, 0: does not live */
    struct note notes[NOTES_MAX];
    uint32_t note_first;
    uint32_t note_end;
    uint32_t trace[TRACE_MAX];
    uint32_t traced;
};

static inline void trace(struct world *world, enum trace_kind kind, uint32_t first,
                         uint32_t second) {
    ck_assert_uint_lt(world->traced, TRACE_MAX);
    world->trace[world->traced++] = (uint32_t)kind << 28 | second << 16 | first;
}

static inline struct note *post(struct world *world, enum note_kind kind, uint32_t id) {
    if (world->note_end == NOTES_MAX) {
        uint32_t count = world->note_end - world->note_first;
        memmove(world->notes, world->notes + world->note_first, count * sizeof(*world->notes));
        world->note_first = 0;
        world->note_end = count;
    }
    ck_assert_uint_lt(world->note_end, NOTES_MAX);
    struct note *note = &world->notes[world->note_end++];
    *note = (struct note){.kind = kind, .id = id, .pid = world->living[id]};
    return note;
}

/* A child ends by itself. */
static inline void crash(struct world *world, uint32_t id, bool in_order) {
    ck_assert(world->living[id] != 0);
    post(world, NOTE_EXIT, id)->in_order = in_order;
    world->living[id] = 0;
}

static inline void crash_any(struct world *world, struct weft__prng *prng) {
    uint32_t start = (uint32_t)(weft__prng_next(prng) % (world->ids + 1));
    for (uint32_t i = 0; i <= world->ids; i++) {
        uint32_t id = (start + i) % (world->ids + 1);
        if (world->living[id] != 0) {
            crash(world, id, weft__prng_next(prng) % 2 == 0);
            return;
        }
    }
}

static inline void ask_any(struct world *world, struct weft__prng *prng) {
    enum note_kind kind = (enum note_kind)(NOTE_ADD + weft__prng_next(prng) % 4);
    uint32_t id = 1 + (uint32_t)(weft__prng_next(prng) % (world->ids + 1));
    if (kind == NOTE_ADD && world->ids < IDS_MAX && weft__prng_next(prng) % 4 != 0) {
        id = ++world->ids;
    }
    id = id > world->ids ? 1 : id;
    struct note *note = post(world, kind, id);
    note->restart = (uint32_t)(weft__prng_next(prng) % 3);
    note->significant = note->restart != 0 && weft__prng_next(prng) % 4 == 0;
}

/* Things that happen around an action. */
static inline void happen(struct world *world, struct weft__prng *prng) {
    uint64_t drawn = weft__prng_next(prng) % 1000;
    if (world->scripted || drawn < world->calm) {
        return;
    }
    if (drawn % 3 == 0 && world->requests) {
        ask_any(world, prng);
    } else {
        crash_any(world, prng);
    }
}

static inline struct weft__prng prng_of(const struct world *world) {
    struct weft__prng prng;
    weft__prng_init(&prng, world->seed, world->actions);
    return prng;
}

static inline void world_start(struct world *world, uint32_t id) {
    struct weft__prng prng = prng_of(world);
    trace(world, TRACE_START, id, 0);
    ck_assert_uint_eq(world->living[id], 0);
    uint32_t number = world->actions++;
    happen(world, &prng);
    uint64_t drawn = weft__prng_next(&prng) % 1000;
    if (world->scripted) {
        drawn = number >= world->good && number < world->good + world->fails ? 999 : 0; /* FAILED */
    }
    if (drawn < 700 || drawn < world->calm) {
        world->living[id] = ++world->pids;
        (void)post(world, NOTE_UP, id);
    } else {
        (void)post(world, drawn % 3 == 1 ? NOTE_IGNORED : NOTE_FAILED, id);
    }
    happen(world, &prng);
}

static inline void world_stop(struct world *world, uint32_t id) {
    if (world->living[id] == 0) {
        return; /* it has ended, the note says so */
    }
    struct weft__prng prng = prng_of(world);
    trace(world, TRACE_STOP, id, 0);
    world->actions++;
    happen(world, &prng);
    if (world->living[id] != 0) {
        crash(world, id, true);
    }
    happen(world, &prng);
}

/* ---- the model ----------------------------------------------------------------------------- */

enum { AGAIN = UINT32_MAX }; /* in the place of a pid */

struct modelled {
    uint32_t id;
    uint32_t pid; /* 0: none */
    uint32_t restart;
    bool significant;
    uint32_t attempt; /* the newest of the model that was noted for it */
};

struct model {
    struct world *world;
    uint32_t strategy;
    uint32_t auto_shutdown;
    uint32_t intensity;
    uint64_t period_ns;
    struct modelled children[IDS_MAX];
    uint32_t count;
    uint64_t times[TIMES_MAX];
    uint32_t time_count;
    uint32_t attempts;
    bool ended;
};

static inline struct modelled *model_find(struct model *model, uint32_t id) {
    for (uint32_t i = 0; i < model->count; i++) {
        if (model->children[i].id == id) {
            return &model->children[i];
        }
    }
    return NULL;
}

static inline void model_remove(struct model *model, struct modelled *child) {
    uint32_t at = (uint32_t)(child - model->children);
    memmove(child, child + 1, (model->count - at - 1) * sizeof(*child));
    model->count--;
}

/* Takes the first note that matches out of the mailbox: selective receive. */
static inline bool model_receive(struct model *model, uint32_t id, uint32_t pid, bool exit,
                                 struct note *ret_note) {
    struct world *world = model->world;
    for (uint32_t i = world->note_first; i < world->note_end; i++) {
        struct note note = world->notes[i];
        bool matches = exit ? note.kind == NOTE_EXIT && note.pid == pid
                            : note.kind <= NOTE_IGNORED && note.id == id;
        if (matches) {
            memmove(&world->notes[i], &world->notes[i + 1],
                    (world->note_end - i - 1) * sizeof(note));
            world->note_end--;
            *ret_note = note;
            return true;
        }
    }
    return false;
}

static inline enum note_kind model_start(struct model *model, struct modelled *child) {
    struct note note;
    world_start(model->world, child->id);
    ck_assert(model_receive(model, child->id, 0, false, &note));
    child->pid = note.kind == NOTE_UP ? note.pid : 0;
    return note.kind;
}

static inline void model_stop(struct model *model, struct modelled *child) {
    struct note note;
    if (child->pid != 0 && child->pid != AGAIN) {
        world_stop(model->world, child->id);
        ck_assert(model_receive(model, 0, child->pid, true, &note));
    }
    child->pid = 0;
}

/* Stops children from the end down to the place `from`; temporary ones go. */
static inline void model_stop_many(struct model *model, uint32_t from) {
    for (uint32_t i = model->count; i > from; i--) {
        struct modelled *child = &model->children[i - 1];
        model_stop(model, child);
        if (child->restart == WEFT_RESTART_TEMPORARY) {
            model_remove(model, child);
        }
    }
}

static inline void model_end(struct model *model) {
    if (model->strategy == WEFT_SIMPLE_ONE_FOR_ONE) {
        for (uint32_t i = model->count; i > 0; i--) { /* told all at once, then waited for */
            world_stop(model->world, model->children[i - 1].id);
        }
    } else {
        model_stop_many(model, 0);
    }
    model->count = 0;
    model->ended = true;
    trace(model->world, TRACE_END, 0, 0);
}

static inline bool model_may_restart(struct model *model) {
    uint64_t now_ns = model->world->now_ns;
    uint32_t kept = 0;
    ck_assert_uint_lt(model->time_count, TIMES_MAX);
    model->times[model->time_count++] = now_ns;
    for (uint32_t i = 0; i < model->time_count; i++) {
        if (now_ns - model->times[i] <= model->period_ns) {
            model->times[kept++] = model->times[i];
        }
    }
    model->time_count = kept;
    return model->intensity == WEFT_INTENSITY_UNLIMITED || kept <= model->intensity;
}

/* A child that does not run any more and is not started again. */
static inline void model_lose(struct model *model, struct modelled *child) {
    child->pid = 0;
    if (child->restart == WEFT_RESTART_TEMPORARY || model->strategy == WEFT_SIMPLE_ONE_FOR_ONE) {
        model_remove(model, child);
    }
}

static inline void model_again(struct model *model, struct modelled *child) {
    child->pid = AGAIN;
    child->attempt = ++model->attempts;
    post(model->world, NOTE_RETRY, child->id)->pid = child->attempt;
}

static inline void model_restart(struct model *model, uint32_t id) {
    struct modelled *child = model_find(model, id);
    if (!model_may_restart(model)) {
        model_lose(model, child);
        model_end(model);
        return;
    }
    if (model->strategy == WEFT_ONE_FOR_ONE || model->strategy == WEFT_SIMPLE_ONE_FOR_ONE) {
        enum note_kind outcome = model_start(model, child);
        if (outcome == NOTE_FAILED) {
            model_again(model, child);
        } else if (outcome == NOTE_IGNORED && model->strategy == WEFT_SIMPLE_ONE_FOR_ONE) {
            model_remove(model, child);
        }
        return;
    }
    uint32_t from = model->strategy == WEFT_ONE_FOR_ALL ? 0 : (uint32_t)(child - model->children);
    child->pid = 0;
    model_stop_many(model, from);
    for (uint32_t i = from; i < model->count; i++) {
        if (model_start(model, &model->children[i]) == NOTE_FAILED) {
            model_again(model, &model->children[i]);
            return;
        }
    }
}

static inline void model_exit(struct model *model, const struct note *note) {
    struct modelled *child = NULL;
    for (uint32_t i = 0; i < model->count && child == NULL; i++) {
        child = model->children[i].pid == note->pid ? &model->children[i] : NULL;
    }
    if (child == NULL) {
        return;
    }
    if (child->restart == WEFT_RESTART_PERMANENT ||
        (child->restart == WEFT_RESTART_TRANSIENT && !note->in_order)) {
        model_restart(model, child->id);
        return;
    }
    bool significant = child->significant;
    bool left = false;
    model_lose(model, child);
    for (uint32_t i = 0; i < model->count; i++) {
        left = left || (model->children[i].significant && model->children[i].pid != 0);
    }
    if (significant && (model->auto_shutdown == WEFT_AUTO_ANY ||
                        (model->auto_shutdown == WEFT_AUTO_ALL && !left))) {
        model_end(model);
    }
}

static inline enum answer model_add(struct model *model, const struct note *note) {
    struct modelled *child = model_find(model, note->id);
    if (child != NULL) {
        return child->pid != 0 && child->pid != AGAIN ? ANSWER_RUNS : ANSWER_STOPPED;
    }
    child = &model->children[model->count++];
    *child = (struct modelled){
        .id = note->id, .restart = note->restart, .significant = note->significant};
    switch (model_start(model, child)) {
    case NOTE_FAILED:
        model_remove(model, child);
        return ANSWER_FAILED;
    case NOTE_IGNORED:
        model_lose(model, child);
        return ANSWER_OK;
    default:
        return ANSWER_OK;
    }
}

static inline enum answer model_ask(struct model *model, const struct note *note) {
    struct modelled *child = model_find(model, note->id);
    if (note->kind == NOTE_ADD) {
        return model_add(model, note);
    }
    if (child == NULL) {
        return ANSWER_UNKNOWN;
    }
    if (note->kind == NOTE_STOP) {
        model_stop(model, child);
        model_lose(model, child);
        return ANSWER_OK;
    }
    if (child->pid != 0) {
        return child->pid == AGAIN ? ANSWER_AGAIN : ANSWER_RUNS;
    }
    if (note->kind == NOTE_DELETE) {
        model_remove(model, child);
        return ANSWER_OK;
    }
    enum note_kind outcome = model_start(model, child);
    if (outcome == NOTE_IGNORED) {
        model_lose(model, child);
    }
    return outcome == NOTE_FAILED ? ANSWER_FAILED : ANSWER_OK;
}

/* The first children; false: one could not be started. */
static inline void model_begin(struct model *model) {
    for (uint32_t i = 0; i < model->count;) {
        enum note_kind outcome = model_start(model, &model->children[i]);
        if (outcome == NOTE_FAILED) {
            model_end(model);
            return;
        }
        if (outcome == NOTE_IGNORED && model->children[i].restart == WEFT_RESTART_TEMPORARY) {
            model_remove(model, &model->children[i]);
        } else {
            i++;
        }
    }
}

/* Reads the mailbox until it is empty. */
static inline void model_run(struct model *model) {
    struct world *world = model->world;
    while (world->note_first != world->note_end && !model->ended) {
        struct note note = world->notes[world->note_first++];
        struct modelled *child;
        switch (note.kind) {
        case NOTE_EXIT:
            model_exit(model, &note);
            break;
        case NOTE_RETRY:
            child = model_find(model, note.id);
            /* OTP also takes a note for an earlier attempt that was given up meanwhile. */
            if (child != NULL && child->pid == AGAIN && child->attempt == note.pid) {
                model_restart(model, note.id);
            }
            break;
        case NOTE_END:
            model_end(model);
            break;
        case NOTE_UP:
        case NOTE_FAILED:
        case NOTE_IGNORED:
            ck_abort_msg("a start nobody waits for");
            break;
        default:
            trace(world, TRACE_ANSWER, note.id, (uint32_t)model_ask(model, &note));
        }
    }
}

/* What is left of it, in the order of starting. */
static inline void model_state(struct model *model) {
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t pid = model->children[i].pid;
        trace(model->world, TRACE_STATE, model->children[i].id,
              pid == 0       ? 0
              : pid == AGAIN ? 2
                             : 1);
    }
}

#endif
