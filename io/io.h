/* SPDX-License-Identifier: MIT
 *
 * The I/O layer's state: what a runtime shares (weft__net) and what each scheduler has (weft__io).
 * A scheduler's state is made when its first socket comes, so a runtime without sockets pays one
 * pointer comparison per step.
 *
 * One step: io_poll (io.c) starts the sends of all streams that were written to, polls the driver,
 * whose completions push messages to actors, and fires alarms. Handlers run after that.
 */
#ifndef WEFT_IO_IO_H
#define WEFT_IO_IO_H

#include "io/alarm.h"
#include "io/buffers.h"
#include "sched/actor.h"
#include <weft/stream.h>

struct weft__stream;

/* What a runtime's sockets share. */
struct weft__net {
    /* const after init */
    weft_runtime *runtime;
    /* any thread */
    weft_atomic_u32 streams;                    /* open, of io.connections */
    weft_atomic_u32 round_robin;                /* where the next connection is placed first */
    weft_atomic_u32 loads[WEFT_SCHEDULERS_MAX]; /* streams per scheduler */
};

/* A list of streams through their next and previous. */
struct weft__stream_list {
    struct weft__stream *first;
    struct weft__stream *last;
    uint32_t count;
};

struct weft__segment;

/* Handshakes begun in one poll at most: each signs, which takes 0.1 ms and more. */
enum { WEFT__BEGUN_MAX = 8 };

enum weft__spare { WEFT__SPARE_SMALL = 0, WEFT__SPARE_LARGE = 1, WEFT__SPARES = 2 };

struct weft__io {
    struct weft__upper upper;
    /* const after init */
    weft_runtime *runtime;
    struct weft__net *net;
    struct weft__scheduler *s;
    struct weft__core *core;
    weft_env *env;
    const weft_env_io *calls;
    void *driver;
    weft_io_host host;
    uint32_t handshakes_max;
    /* its thread only */
    struct weft__buffers buffers;
    struct weft__alarms alarms;
    struct weft__stream_list dirty;   /* have something to send */
    struct weft__stream_list starved; /* found no receive buffer */
    struct weft__stream_list shaking; /* wait until fewer handshakes are under way */
    struct weft__stream_list active;  /* handshakes under way, oldest first */
    struct weft__stream_list orphans; /* actors have ended, the streams not yet */
    struct weft__stream_list ended;   /* to be freed at the end of a poll */
    uint32_t begun;                   /* handshakes, in this poll */
    bool stopping;                    /* the runtime does, and orphans were told to be quick */
    /* Send segments to use again, small and large. */
    struct weft__segment *spare[WEFT__SPARES];
    uint32_t spare_count[WEFT__SPARES];
    weft_buf *plain;   /* TLS: where the next bytes are decrypted to */
    uint64_t retry_ns; /* when to look at starved again; 0: at once */
};

/* The shared state, made on first use. NULL: no memory. Any thread. */
struct weft__net *weft__net_of(weft_runtime *runtime);
/* This scheduler's, made on first use. NULL: no memory, or the driver refuses. Its thread. */
struct weft__io *weft__io_of(struct weft__scheduler *s);
/* The scheduler, from 0, that a new connection goes to. Any thread. */
uint32_t weft__net_place(struct weft__net *net);
/* Options of a public call are wrong: logs what. Answers -EINVAL. Any thread. */
int weft__io_refuse(weft_runtime *runtime, const char *call, const char *what);
/* One stream more; false: io.connections are open. Any thread. */
bool weft__net_enter(struct weft__net *net);
void weft__net_leave(struct weft__net *net);

WEFT_INLINE uint64_t weft__io_now(const struct weft__io *io) {
    return io->s->now_ns;
}

/* Something happened that an actor is told. */
struct weft__news {
    uint64_t owner; /* slot and generation */
    uint32_t tag;   /* enum weft_io_event */
    int status;
    uint64_t token;
};
/* Tells it. 0 or -ENOMEM. */
int weft__io_tell(struct weft__io *io, const struct weft__news *news);
/* Gives received bytes to an actor: copied when they are few, or when too many buffers are out,
 * else lent. The reference to buf is used up [take]. 0, or -ENOMEM. */
struct weft__received {
    uint64_t owner;
    weft_buf *buf;
    uint32_t offset;
    uint32_t size;
    uint32_t tag;
    uint64_t address[2]; /* DATAGRAM: of who sent it, with from */
    uint64_t from;
};
int weft__io_give(struct weft__io *io, const struct weft__received *received);

/* Segments of send queues, used again. NULL: none is kept; false: enough are. */
struct weft__segment *weft__segment_take(struct weft__io *io, enum weft__spare spare);
bool weft__segment_keep(struct weft__io *io, enum weft__spare spare, struct weft__segment *segment);

/* ---- lists of streams ---------------------------------------------------------------------- */

enum weft__stream_link {
    WEFT__LINK_DIRTY = 0,
    WEFT__LINK_WAIT = 1,   /* starved, shaking or ended: never two of them */
    WEFT__LINK_SHAKE = 2,  /* its handshake is under way */
    WEFT__LINK_ORPHAN = 3, /* its actor has ended */
    WEFT__LINKS = 4,
};

#endif
