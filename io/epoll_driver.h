/* SPDX-License-Identifier: MIT
 *
 * Inside view of the epoll driver, shared by its files: epoll.c (table, poll, park and wake) and
 * epoll_op.c (descriptors and operations).
 *
 * Threads: a driver is created and destroyed on any thread while nothing is in flight, woken from
 * any thread, and everything else happens on its owner's.
 */
#ifndef WEFT_IO_EPOLL_DRIVER_H
#define WEFT_IO_EPOLL_DRIVER_H

#include "core/atomic.h"
#include <sys/epoll.h>
#include <weft/env.h>

enum {
    WEFT__EPOLL_MAGIC = 0x65706f6c,
    WEFT__EPOLL_EVENTS_MAX = 128,  /* taken from the kernel at once */
    WEFT__EPOLL_RESULTS_MAX = 256, /* of a poll, for each of its two halves, about */
    WEFT__EPOLL_PAGE_SLOTS = 256,
};

#define WEFT__EPOLL_DATA_WAKE UINT64_MAX /* events of the eventfd; all others: the descriptor */

/* One descriptor: who reads, who writes, and the events it is in the epoll set for, 0 when it is
 * not. Invariant S in epoll_op.c. */
struct weft__epoll_slot {
    weft_io_op *reader;
    weft_io_op *writer;
    uint32_t mask;
};

struct weft__epoll_page {
    struct weft__epoll_slot slots[WEFT__EPOLL_PAGE_SLOTS];
};

struct weft__epoll {
    /* const after create */
    uint32_t magic;
    int epoll_fd;
    int wake_fd; /* eventfd in the set */
    bool has_fd; /* epoll_fd is polled by others: a wake must make it readable */
    /* any thread: wakers put WOKEN in, the owner takes it and says how it sleeps. E1 in epoll.c */
    alignas(WEFT_CACHELINE) weft_atomic_u32 token;
    /* owner only */
    alignas(WEFT_CACHELINE) const weft_io_host *host;
    weft_buf *spare;        /* taken from the host and not filled */
    weft_io_op *queue_head; /* operations to be tried or ended, linked through them */
    weft_io_op *queue_tail; /* valid unless head is NULL */
    uint64_t turn;          /* counts polls: what is submitted in one is not for that one */
    uint32_t in_flight;     /* operations */
    uint32_t results;       /* delivered by this half of the running poll */
    uint32_t event_next;
    uint32_t event_count; /* events[event_next .. event_count) were fetched and not looked at */
    bool work_shown;      /* has_fd: the eventfd was written because there is work for poll */
    bool no_pwait2;       /* the kernel is older than 5.11, or a filter is */
    struct weft__epoll_page **pages; /* by descriptor; pages never move */
    uint32_t page_count;
    weft_io_counts counts;
    struct epoll_event events[WEFT__EPOLL_EVENTS_MAX];
};

int weft__epoll_op_submit(struct weft__epoll *driver, weft_io_op *op);
void weft__epoll_op_cancel(struct weft__epoll *driver, weft_io_op *op);
/* Tries or ends what was queued when it was called, in order; leaves the rest when
 * WEFT__EPOLL_RESULTS_MAX are reached. */
void weft__epoll_run_queue(struct weft__epoll *driver);
/* Tries what waits for an event. */
void weft__epoll_run_event(struct weft__epoll *driver, const struct epoll_event *event);
void weft__epoll_pages_free(struct weft__epoll *driver);

#endif
