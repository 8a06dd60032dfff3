/* SPDX-License-Identifier: MIT
 *
 * The io_uring driver's ring: how it is made and gets its owner, and its receive buffers.
 *
 * The ring is made disabled, on whichever thread makes the driver, and enabled by the owner on its
 * first operation: with one issuer and deferred work the kernel takes system calls from that thread
 * alone. A driver that is only slept on never enables its ring.
 *
 * Receive buffers come from the host and are laid into a ring that the kernel picks from when data
 * is there. That ring is locked memory and so made together with the other: a limit then shows when
 * a runtime is created, which can still take epoll, and not at a scheduler's first socket. Each is named by a small id, the slot that holds its address. A completion empties a
 * slot; empty slots are filled again before the owner polls or sleeps, while there are receives.
 */
#ifdef WEFT_URING

#define _GNU_SOURCE
#include "io/uring_ring.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <weft/msg.h>

enum { BUFFER_GROUP = 0, BUFFER_BYTES_MAX = 1 << 30, PAGE_BYTES = 4096 };

/* Sleeps a little longer each time. False: that was enough. */
static bool wait_for_memory(size_t turn) {
    static const int waits_ms[] = {1, 2, 4, 8, 16, 32, 64, 64};
    if (turn == sizeof(waits_ms) / sizeof(waits_ms[0])) {
        return false;
    }
    (void)poll(NULL, 0, waits_ms[turn]); /* a short sleep is fine as well */
    return true;
}

int weft__uring_ring_init(struct io_uring *ring, unsigned entries, unsigned completions) {
    int result = -ENOMEM;
    for (size_t turn = 0;; turn++) { /* bounded by the waits */
        struct io_uring_params params = {.flags = WEFT__URING_FLAGS, .cq_entries = completions};
        result = io_uring_queue_init_params(entries, ring, &params);
        if (result != -ENOMEM || !wait_for_memory(turn)) {
            return result;
        }
    }
}

int weft__uring_enable(struct weft__uring *driver) {
    if (driver->enabled) {
        return 0;
    }
    unsigned ring_fd = (unsigned)driver->ring.ring_fd;
    int result = io_uring_register(ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (result < 0) {
        return result;
    }
    driver->enabled = true;
    if (driver->has_fd) {
        return io_uring_register_eventfd(&driver->ring, driver->wake_fd);
    }
    /* Saves a look-up per system call, works without just as well. Not on a thread of the program,
     * which has few places for such rings. */
    (void)io_uring_register_ring_fd(&driver->ring);
    return 0;
}

static void release(struct weft__uring_buffers *buffers) {
    for (uint32_t i = 0; buffers->slots != NULL && i < buffers->count; i++) {
        weft_buf_unref(buffers->slots[i]);
    }
    free(buffers->ring);
    free(buffers->slots);
    free(buffers->free_ids);
    *buffers = (struct weft__uring_buffers){0};
}

int weft__uring_buffers_reserve(struct weft__uring *driver, uint32_t count) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    if (count > WEFT__URING_RING_MAX || !weft_is_pow2(count) || buffers->ring != NULL) {
        return -EINVAL;
    }
    size_t bytes = count * sizeof(struct io_uring_buf);
    bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    buffers->ring = aligned_alloc(PAGE_BYTES, bytes);
    if (buffers->ring == NULL) {
        return -ENOMEM;
    }
    (void)memset(buffers->ring, 0, bytes);
    buffers->count = count;
    int result = -ENOMEM;
    for (size_t turn = 0;; turn++) { /* bounded by the waits */
        struct io_uring_buf_reg registration = {
            .ring_addr = (uint64_t)(uintptr_t)buffers->ring,
            .ring_entries = count,
            .bgid = BUFFER_GROUP,
        };
        result = io_uring_register_buf_ring(&driver->ring, &registration, 0);
        if (result != -ENOMEM || driver->enabled || !wait_for_memory(turn)) {
            break; /* an owner does not wait: it may be a scheduler */
        }
    }
    if (result < 0) {
        release(buffers);
    }
    return result;
}

int weft__uring_buffers_init(struct weft__uring *driver, const weft_io_host *host) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    int result = 0;
    if (buffers->ring == NULL) {
        result = weft__uring_buffers_reserve(driver, host->ring_count);
    } else if (buffers->count != host->ring_count) {
        result = -EINVAL;
    }
    if (result != 0) {
        return result;
    }
    uint32_t count = buffers->count;
    buffers->slots = calloc(count, sizeof(*buffers->slots));
    buffers->free_ids = calloc(count, sizeof(*buffers->free_ids));
    if (buffers->slots == NULL || buffers->free_ids == NULL) {
        free(buffers->slots);
        free(buffers->free_ids);
        buffers->slots = NULL;
        buffers->free_ids = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        buffers->free_ids[i] = (uint16_t)(count - 1 - i);
    }
    buffers->free_count = count;
    buffers->host = host;
    return 0;
}

void weft__uring_buffers_fini(struct weft__uring *driver) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    if (buffers->ring == NULL) {
        return;
    }
    weft_assert(driver->receives == 0); /* the kernel would write into memory of others */
    /* Fails on another thread than the owner's; the ring is closed next then. */
    (void)io_uring_unregister_buf_ring(&driver->ring, BUFFER_GROUP);
    release(buffers);
}

/* Lays the buffer of a slot into the ring, offset places behind its end. */
static void lay(struct weft__uring_buffers *buffers, uint16_t id, uint32_t offset) {
    weft_buf *buf = buffers->slots[id];
    size_t size = weft_buf_size(buf);
    io_uring_buf_ring_add(buffers->ring, weft_buf_data(buf),
                          size > BUFFER_BYTES_MAX ? BUFFER_BYTES_MAX : (unsigned)size, id,
                          io_uring_buf_ring_mask(buffers->count), (int)offset);
}

void weft__uring_buffers_fill(struct weft__uring *driver) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    uint32_t added = 0;
    while (buffers->free_count > 0) { /* bounded by the slots */
        weft_buf *buf = buffers->host->take(buffers->host->cookie);
        if (buf == NULL) {
            break;
        }
        uint16_t id = buffers->free_ids[--buffers->free_count];
        weft_assert(buffers->slots[id] == NULL);
        buffers->slots[id] = buf;
        lay(buffers, id, added++);
    }
    if (added > 0) {
        io_uring_buf_ring_advance(buffers->ring, (int)added);
    }
}

static uint16_t id_of(const struct weft__uring_buffers *buffers, uint32_t cqe_flags) {
    weft_assert((cqe_flags & IORING_CQE_F_BUFFER) != 0);
    uint32_t id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
    weft_assert(id < buffers->count);
    weft_assert(buffers->slots[id] != NULL);
    return (uint16_t)id;
}

weft_buf *weft__uring_buffers_take(struct weft__uring *driver, uint32_t cqe_flags) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    uint16_t id = id_of(buffers, cqe_flags);
    weft_buf *buf = buffers->slots[id];
    buffers->slots[id] = NULL;
    buffers->free_ids[buffers->free_count++] = id;
    return buf;
}

void weft__uring_buffers_return(struct weft__uring *driver, uint32_t cqe_flags) {
    struct weft__uring_buffers *buffers = &driver->buffers;
    lay(buffers, id_of(buffers, cqe_flags), 0);
    io_uring_buf_ring_advance(buffers->ring, 1);
}

#else
#include "io/uring.h"
#endif
