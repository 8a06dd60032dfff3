/* SPDX-License-Identifier: MIT
 *
 * Books: what a program said about supervisors and their children, checked and copied into one
 * shared buffer, which never changes afterwards. A supervisor reads its own part of it; so do the
 * supervisors among its children, each with a reference, on whatever thread they run.
 *
 * A book lists supervisors (defs), the topmost first; each has its children (specs) in a row. Texts
 * and arguments stand behind them. It has addresses of this process in it: it is for this runtime
 * only.
 */
#ifndef WEFT_SCHED_SUPERVISOR_SPEC_H
#define WEFT_SCHED_SUPERVISOR_SPEC_H

#include "core/core.h"
#include <weft/supervisor.h>

struct weft__spec {
    const weft_type *type;
    weft_child_start_fn start;
    void *cookie;
    uint64_t shutdown_ns; /* the default filled in */
    uint64_t id_at;       /* in the book; ends with a zero byte. 0: it has none */
    uint64_t arg_at;
    uint64_t arg_size;
    uint64_t id_hash;
    uint32_t def; /* one more than its place in the book, of a supervisor; else 0 */
    uint32_t restart;
    uint32_t scheduler;
    bool significant;
    bool pin;
};

struct weft__def {
    uint32_t strategy;
    uint32_t intensity;
    uint64_t period_ns;
    uint32_t auto_shutdown;
    uint32_t spec_first;
    uint32_t spec_count;
    uint32_t depth;
};

struct weft__book {
    uint64_t magic;
    uint64_t size; /* of the whole */
    uint64_t specs_at;
    uint32_t def_count;
    uint32_t spec_count;
    struct weft__def defs[];
};

/* A book [out] of a supervisor and all below it. -EINVAL, -E2BIG, -ENOMEM. Any thread. */
int weft__book_make(weft_runtime *runtime, const weft_supervisor_def *def, weft_buf **ret_book);
/* The same of one child: its spec is the first. Whether it may be significant is not checked. */
int weft__book_make_child(weft_runtime *runtime, const weft_child_spec *spec, weft_buf **ret_book);
/* The first child's argument will not be needed again: a smaller book, if there is memory. The only
 * reference to it is the caller's. */
void weft__book_trim(struct weft__core *core, weft_buf **book);
/* Is this a book, as far as can be told? */
bool weft__book_check(const struct weft__core *core, const void *data, size_t size);
/* Of an id; never 0. */
uint64_t weft__book_hash(const struct weft__core *core, const char *id, size_t size);

WEFT_INLINE const struct weft__book *weft__book_of(weft_buf *buf) {
    return weft_buf_data(buf);
}

WEFT_INLINE const void *weft__book_at(const struct weft__book *book, uint64_t offset) {
    return (const char *)(const void *)book + offset;
}

WEFT_INLINE const struct weft__spec *weft__book_spec(const struct weft__book *book,
                                                     uint32_t place) {
    return (const struct weft__spec *)weft__book_at(book, book->specs_at) + place;
}

#endif
