/* SPDX-License-Identifier: MIT
 *
 * Checks what a program says about supervisors and makes books of it: see sched/supervisor_spec.h.
 * Supervisors within supervisors are taken in breadth, so there is no recursion: the list of defs
 * is the queue of those whose children are still to be looked at.
 */
#include "sched/supervisor_spec.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/map.h"
#include "sched/scheduler.h"
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BOOK_MAGIC         UINT64_C(0x7765667462333031)
#define SHUTDOWN_WORKER_NS UINT64_C(5000000000)

enum { ALIGN = 16, SPECS_MAX = 1 << 24 };

static const char tag[] = "supervisor";

/* Bytes that grow. */
struct heap {
    void *memory;
    size_t used;
    size_t capacity;
};

/* What is being made. */
struct maker {
    weft_runtime *runtime;
    struct heap defs;
    struct heap sources; /* of each def: struct source */
    struct heap specs;
    struct heap bytes;
    uint32_t def_count;
    uint32_t spec_count;
};

struct source {
    alignas(ALIGN) const weft_supervisor_def *given; /* the program's */
    weft_supervisor_def def;
    uint32_t above; /* the def it is a child in; of the first its own */
};

/* ---- memory -------------------------------------------------------------------------------- */

/* Room for size bytes more, aligned, zeroed; *ret_at: where. */
static int heap_add(struct maker *maker, struct heap *heap, size_t size, size_t *ret_at) {
    size_t at = (heap->used + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size > UINT32_MAX || at + size > UINT32_MAX) {
        return -E2BIG;
    }
    if (at + size > heap->capacity) {
        size_t capacity = (size_t)weft_max_u64(2 * (uint64_t)heap->capacity, at + size + 256);
        int result =
            weft__grow(&maker->runtime->core, &heap->memory, heap->capacity, capacity, tag);
        if (result != 0) {
            return result;
        }
        heap->capacity = capacity;
    }
    heap->used = at + size;
    *ret_at = at;
    return 0;
}

static void heap_fini(struct maker *maker, struct heap *heap) {
    weft__free(&maker->runtime->core, heap->memory, heap->capacity, tag);
}

static void *heap_at(const struct heap *heap, size_t at) {
    return (char *)heap->memory + at;
}

/* Arrays of structs whose size is a multiple of ALIGN have no gaps. */
_Static_assert(sizeof(struct weft__def) % ALIGN == 0, "defs stand in a row");
_Static_assert(sizeof(struct weft__spec) % ALIGN == 0, "specs stand in a row");
_Static_assert(sizeof(struct source) % ALIGN == 0, "sources stand in a row");
_Static_assert(sizeof(struct weft__book) % ALIGN == 0, "defs are aligned");

static struct weft__def *def_at(const struct maker *maker, uint32_t place) {
    return (struct weft__def *)maker->defs.memory + place;
}

static struct source *source_at(const struct maker *maker, uint32_t place) {
    return (struct source *)maker->sources.memory + place;
}

static struct weft__spec *spec_at(const struct maker *maker, uint32_t place) {
    return (struct weft__spec *)maker->specs.memory + place;
}

/* ---- checks -------------------------------------------------------------------------------- */

static bool is_def_right(const weft_supervisor_def *def) {
    bool simple = def->strategy == WEFT_SIMPLE_ONE_FOR_ONE;
    bool limited = def->intensity != 0 && def->intensity != WEFT_INTENSITY_UNLIMITED;
    if (def->strategy > WEFT_SIMPLE_ONE_FOR_ONE || def->auto_shutdown > WEFT_AUTO_ALL) {
        return false;
    }
    if ((limited && def->period_ns == 0) || (def->child_count != 0 && def->children == NULL)) {
        return false;
    }
    return !simple || (def->child_count == 1 && def->auto_shutdown == WEFT_AUTO_NEVER);
}

static bool is_id_right(const char *id) {
    return id != NULL && id[0] != '\0' && memchr(id, '\0', WEFT_CHILD_ID_MAX + 1) != NULL;
}

static bool is_spec_right(const weft_runtime *runtime, const weft_child_spec *spec) {
    uint32_t ways = (spec->type != NULL ? 1U : 0U) + (spec->start != NULL ? 1U : 0U) +
                    (spec->supervisor != NULL ? 1U : 0U);
    if (ways != 1 || spec->restart > WEFT_RESTART_TEMPORARY) {
        return false;
    }
    if (spec->type != NULL ? spec->type->runtime != runtime : spec->pin || spec->scheduler != 0) {
        return false;
    }
    if ((spec->arg == NULL || spec->supervisor != NULL) && spec->arg_size != 0) {
        return false;
    }
    return spec->scheduler <= runtime->count &&
           !(spec->significant && spec->restart == WEFT_RESTART_PERMANENT);
}

/* ---- making -------------------------------------------------------------------------------- */

uint64_t weft__book_hash(const struct weft__core *core, const char *id, size_t size) {
    uint64_t hash = XXH3_64bits_withSeed(id, size, core->seed);
    return hash == 0 ? 1 : hash;
}

static int add_bytes(struct maker *maker, const void *data, size_t size, uint64_t *ret_at) {
    size_t at;
    int result = heap_add(maker, &maker->bytes, size, &at);
    if (result == 0) {
        memcpy(heap_at(&maker->bytes, at), data, size);
        *ret_at = at;
    }
    return result;
}

/* A supervisor whose children will be looked at. above: where it is a child. */
static int add_def(struct maker *maker, const weft_supervisor_def *given, uint32_t above) {
    static const weft__struct_rule rule = {.known = sizeof(weft_supervisor_def),
                                           .first = sizeof(weft_supervisor_def)};
    weft_supervisor_def def;
    int result = weft__struct_copy(&rule, given, &def);
    if (result == 0 && !is_def_right(&def)) {
        result = -EINVAL;
    }
    size_t at;
    if (result == 0) {
        result = heap_add(maker, &maker->defs, sizeof(struct weft__def), &at);
    }
    if (result == 0) {
        result = heap_add(maker, &maker->sources, sizeof(struct source), &at);
    }
    if (result != 0) {
        return result;
    }
    uint32_t place = maker->def_count++;
    *def_at(maker, place) = (struct weft__def){.strategy = def.strategy,
                                               .intensity = def.intensity,
                                               .period_ns = def.period_ns,
                                               .auto_shutdown = def.auto_shutdown,
                                               .spec_count = def.child_count};
    *source_at(maker, place) = (struct source){.given = given, .def = def, .above = above};
    return 0;
}

/* The supervisor a child is. Not one that it is below of itself: that would go on for ever. */
static int add_below(struct maker *maker, const weft_supervisor_def *given, uint32_t above) {
    uint32_t depth = def_at(maker, above)->depth + 1;
    if (depth >= WEFT_SUPERVISOR_DEPTH_MAX) {
        return -EINVAL;
    }
    uint32_t place = above;
    for (uint32_t i = 0; i < depth; i++) {
        if (source_at(maker, place)->given == given) {
            return -EINVAL;
        }
        place = source_at(maker, place)->above;
    }
    int result = add_def(maker, given, above);
    if (result == 0) {
        def_at(maker, maker->def_count - 1)->depth = depth;
    }
    return result;
}

/* A checked spec behind the others. above: the def it is of. */
static int add_spec(struct maker *maker, const weft_child_spec *spec, uint32_t above, bool named) {
    struct weft__spec made = {.type = spec->type,
                              .start = spec->start,
                              .cookie = spec->cookie,
                              .shutdown_ns = spec->shutdown_ns,
                              .arg_size = spec->arg_size,
                              .restart = spec->restart,
                              .scheduler = spec->scheduler,
                              .significant = spec->significant,
                              .pin = spec->pin};
    if (spec->shutdown_ns == WEFT_SHUTDOWN_DEFAULT) {
        made.shutdown_ns = spec->supervisor != NULL ? WEFT_SHUTDOWN_FOREVER : SHUTDOWN_WORKER_NS;
    }
    int result = maker->spec_count == SPECS_MAX ? -E2BIG : 0;
    if (result == 0 && named) {
        size_t length = strlen(spec->id);
        made.id_hash = weft__book_hash(&maker->runtime->core, spec->id, length);
        result = add_bytes(maker, spec->id, length + 1, &made.id_at);
    }
    if (result == 0 && spec->arg_size != 0) {
        result = add_bytes(maker, spec->arg, spec->arg_size, &made.arg_at);
    }
    if (result == 0 && spec->supervisor != NULL) {
        result = add_below(maker, spec->supervisor, above);
        made.def = maker->def_count;
    }
    size_t at;
    if (result == 0) {
        result = heap_add(maker, &maker->specs, sizeof(made), &at);
    }
    if (result == 0) {
        *spec_at(maker, maker->spec_count++) = made;
    }
    return result;
}

/* A program's spec, from an array whose element has the size it says. */
static int copy_spec(const struct maker *maker, const void *given, weft_child_spec *ret_spec) {
    static const weft__struct_rule rule = {.known = sizeof(weft_child_spec),
                                           .first = sizeof(weft_child_spec)};
    int result = weft__struct_copy(&rule, given, ret_spec);
    return result == 0 && !is_spec_right(maker->runtime, ret_spec) ? -EINVAL : result;
}

/* Is the id of the newest spec among those from first on? ids: the places of their hashes. */
static int check_twin(struct maker *maker, struct weft__map *ids, uint32_t first) {
    uint32_t newest = maker->spec_count - 1;
    const struct weft__spec *spec = spec_at(maker, newest);
    const char *id = heap_at(&maker->bytes, spec->id_at);
    if (weft__map_find(ids, spec->id_hash) == NULL) {
        int result = weft__map_reserve(ids, &maker->runtime->core);
        if (result == 0) {
            weft__map_put(ids, spec->id_hash, newest);
        }
        return result;
    }
    for (uint32_t i = first; i < newest; i++) { /* two ids with one hash: practically never */
        if (strcmp(heap_at(&maker->bytes, spec_at(maker, i)->id_at), id) == 0) {
            return -EINVAL;
        }
    }
    return 0;
}

/* The children of the def at place. */
static int add_children(struct maker *maker, uint32_t place) {
    weft_supervisor_def def = source_at(maker, place)->def; /* the list may move */
    bool named = def.strategy != WEFT_SIMPLE_ONE_FOR_ONE;
    uint32_t first = maker->spec_count;
    struct weft__map ids = {0};
    int result = 0;
    size_t stride = def.child_count == 0 ? 0 : def.children[0].struct_size;
    def_at(maker, place)->spec_first = first;
    for (uint32_t i = 0; i < def.child_count && result == 0; i++) {
        const void *given = (const char *)(const void *)def.children + i * stride;
        weft_child_spec spec;
        result = copy_spec(maker, given, &spec);
        bool right = result == 0 && (!named || is_id_right(spec.id)) &&
                     !(spec.significant && def.auto_shutdown == WEFT_AUTO_NEVER);
        if (result == 0) {
            result = right ? add_spec(maker, &spec, place, named) : -EINVAL;
        }
        if (result == 0 && named) {
            result = check_twin(maker, &ids, first);
        }
    }
    weft__map_fini(&ids, &maker->runtime->core);
    return result;
}

/* Puts the lists together. */
static int bind(struct maker *maker, weft_buf **ret_book) {
    size_t defs_size = maker->def_count * sizeof(struct weft__def);
    size_t specs_size = maker->spec_count * sizeof(struct weft__spec);
    size_t specs_at = sizeof(struct weft__book) + defs_size;
    size_t bytes_at = specs_at + specs_size;
    size_t size = bytes_at + maker->bytes.used;
    weft_buf *buf;
    int result = weft__buf_create(&maker->runtime->core, size, &buf);
    if (result != 0) {
        return result;
    }
    struct weft__book *book = buf->data;
    *book = (struct weft__book){.magic = BOOK_MAGIC ^ maker->runtime->core.seed,
                                .size = size,
                                .specs_at = specs_at,
                                .def_count = maker->def_count,
                                .spec_count = maker->spec_count};
    if (defs_size != 0) {
        memcpy(book->defs, maker->defs.memory, defs_size);
    }
    for (uint32_t i = 0; i < maker->spec_count; i++) {
        struct weft__spec *spec = spec_at(maker, i);
        spec->id_at += spec->id_hash != 0 ? bytes_at : 0;
        spec->arg_at += bytes_at;
    }
    if (specs_size != 0) {
        memcpy((char *)buf->data + specs_at, maker->specs.memory, specs_size);
    }
    if (maker->bytes.used != 0) {
        memcpy((char *)buf->data + bytes_at, maker->bytes.memory, maker->bytes.used);
    }
    *ret_book = buf;
    return 0;
}

/* The children of all defs, then the book. */
static int finish(struct maker *maker, uint32_t place, int result, weft_buf **ret_book) {
    for (; place < maker->def_count && result == 0; place++) { /* bounded by what is given */
        result = add_children(maker, place);
    }
    if (result == 0) {
        result = bind(maker, ret_book);
    }
    heap_fini(maker, &maker->defs);
    heap_fini(maker, &maker->sources);
    heap_fini(maker, &maker->specs);
    heap_fini(maker, &maker->bytes);
    return result;
}

int weft__book_make(weft_runtime *runtime, const weft_supervisor_def *def, weft_buf **ret_book) {
    struct maker maker = {.runtime = runtime};
    return finish(&maker, 0, def == NULL ? -EINVAL : add_def(&maker, def, 0), ret_book);
}

int weft__book_make_child(weft_runtime *runtime, const weft_child_spec *spec, weft_buf **ret_book) {
    static const weft_supervisor_def nobody = {.struct_size = WEFT_SUPERVISOR_DEF_INIT};
    struct maker maker = {.runtime = runtime};
    weft_child_spec copy;
    int result = copy_spec(&maker, spec, &copy);
    if (result == 0 && !is_id_right(copy.id)) {
        result = -EINVAL;
    }
    if (result == 0) {
        result = add_def(&maker, &nobody, 0); /* the supervisor that will be asked */
    }
    if (result == 0) {
        result = add_spec(&maker, &copy, 0, true);
    }
    return finish(&maker, 1, result, ret_book);
}

void weft__book_trim(struct weft__core *core, weft_buf **book_at) {
    const struct weft__book *book = weft__book_of(*book_at);
    const struct weft__spec *spec = weft__book_spec(book, 0);
    weft_buf *smaller;
    if (spec->arg_size == 0 || spec->arg_at + spec->arg_size != book->size ||
        weft__buf_create(core, spec->arg_at, &smaller) != 0) {
        return; /* it is larger than it needs to be, that is all */
    }
    memcpy(smaller->data, book, spec->arg_at);
    ((struct weft__book *)smaller->data)->size = spec->arg_at;
    ((struct weft__spec *)(void *)((char *)smaller->data + book->specs_at))->arg_size = 0;
    weft_buf_unref(*book_at);
    *book_at = smaller;
}

bool weft__book_check(const struct weft__core *core, const void *data, size_t size) {
    struct weft__book book;
    if (size < sizeof(book)) {
        return false;
    }
    memcpy(&book, data, sizeof(book));
    return book.magic == (BOOK_MAGIC ^ core->seed) && book.size == size && book.spec_count != 0 &&
           book.specs_at + (uint64_t)book.spec_count * sizeof(struct weft__spec) <= size;
}
