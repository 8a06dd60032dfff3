/* SPDX-License-Identifier: MIT
 *
 * Statistics: read at any time, from any thread, without stopping anything. Counters only grow;
 * each is written by one thread, so a set of them is not a snapshot of one instant.
 * Stability: stable, append-only.
 */
#ifndef WEFT_STATS_H
#define WEFT_STATS_H

#include <weft/defs.h>
#include <weft/pid.h>

WEFT_BEGIN_DECLS

/* Counters of one scheduler, or of everything outside the schedulers (index 0). */
typedef struct weft_stats {
    size_t struct_size;
    uint64_t messages_sent;     /* accepted user messages, requests, replies */
    uint64_t messages_handled;  /* given to a receive */
    uint64_t messages_rejected; /* sends answered with an error */
    uint64_t messages_dead;     /* dead letters */
    uint64_t messages_dropped;  /* by a mailbox policy */
    uint64_t requests_expired;  /* dropped before they ran */
    uint64_t replies_late;      /* nobody waited any more */
    uint64_t signals;           /* stop, kill, timer and READY signals handled */
    uint64_t runs;              /* turns of actors */
    uint64_t spawns;
    uint64_t exits;
    uint64_t crashes; /* exits with another reason than normal, shutdown, rebalancing, but for those
                         that a link has brought */
    uint64_t lifo_runs;    /* runs out of the LIFO slot */
    uint64_t steals;       /* successful steals */
    uint64_t stolen;       /* actors gained by them */
    uint64_t steal_misses; /* searches that found nothing */
    uint64_t overflows;    /* run-queue overflows */
    uint64_t parks;        /* times it went to sleep */
    uint64_t wakes;        /* wake-ups it sent */
    uint64_t pool_hits;    /* messages from the free list */
    uint64_t pool_refills; /* messages from returns or fresh memory */
    uint64_t pool_returns; /* messages sent home to another scheduler */
    uint64_t pool_trims;   /* pieces of memory given back to the system */
    uint64_t timers_started;
    uint64_t timers_fired;
    uint64_t timers_cancelled;
    uint64_t blocking_jobs;     /* index 0 only */
    uint64_t blocking_rejected; /* index 0 only */
    uint64_t watchdog_stuck;    /* index 0 only: times a handler ran too long */
    uint64_t rescued;           /* actors taken from behind a stuck handler */
    uint64_t io_accepts;        /* connections accepted */
    uint64_t io_connects;       /* connections made */
    uint64_t io_refused;        /* connections closed at once: a limit was reached */
    uint64_t io_accept_errors;  /* accepts that failed, for want of descriptors most often */
    uint64_t io_closes;         /* sockets closed */
    uint64_t io_received;       /* bytes */
    uint64_t io_sent;           /* bytes */
    uint64_t io_starved;        /* receives that found no buffer */
    uint64_t io_copied;         /* bytes received and copied because too many buffers were out */
    uint64_t io_timeouts;       /* idle, connect, handshake and linger timeouts */
    uint64_t tls_handshakes;    /* that succeeded */
    uint64_t io_enters;         /* system calls of the I/O driver */
    uint64_t io_submitted;      /* operations given to it */
    uint64_t io_overflows;      /* times its completion queue was full; nothing is lost */
    uint64_t tls_failures;      /* records that were wrong, handshakes too, and those in which the
                                   peer left */
    uint64_t virtual_activations;
    uint64_t virtual_passivations; /* activations ended because nobody used them, or on request */
    uint64_t virtual_loads;        /* states loaded from stores */
    uint64_t virtual_saves;        /* states saved */
    uint64_t virtual_store_errors; /* operations of stores that failed or timed out */
    uint64_t virtual_forgotten;    /* init arguments not remembered: shard.remember is used up */
    uint64_t runs_high;            /* turns of actors of high priority */
    uint64_t runs_low;             /* of low priority */
    uint64_t virtual_breaks;       /* pauses of addresses that crashed too often */
    uint64_t virtual_refused;      /* messages refused with WEFT_E_BREAKER */
    uint64_t virtual_crashes_lost; /* crashes that do not count for want of room or memory */
    uint64_t io_resets; /* connections that ended with -ECONNRESET: the peer reset them, or with TLS
                           left without a word */
} weft_stats;
#define WEFT_STATS_INIT sizeof(weft_stats) /* for struct_size, which the caller sets */

/* Values of the moment. */
typedef struct weft_gauges {
    size_t struct_size;
    uint64_t actors;          /* living */
    uint64_t messages;        /* message cells not in a free list */
    uint64_t timers;          /* pending */
    uint64_t buffers;         /* weft_buf alive */
    uint64_t slots_retired;   /* slots whose generations are used up */
    uint64_t arena_bytes;     /* message memory in use or pooled */
    uint64_t slot_bytes;      /* actor memory in use or free */
    uint64_t heap_bytes;      /* what the allocator holds for this runtime */
    uint64_t blocking_queued; /* jobs waiting for a helper */
    uint32_t schedulers_parked;
    uint32_t io_open; /* connections and sockets, until they are closed and their actors have ended,
                         and file operations under way */
} weft_gauges;
#define WEFT_GAUGES_INIT sizeof(weft_gauges) /* for struct_size, which the caller sets */

enum weft_histogram_id {
    WEFT_HISTOGRAM_MAILBOX_WAIT = 0,  /* ns from send to handler, sampled 1 in 64 */
    WEFT_HISTOGRAM_HANDLER_TIME = 1,  /* ns of one turn of an actor, sampled 1 in 64 */
    WEFT_HISTOGRAM_BLOCKING_WAIT = 2, /* ns a job waited for a helper */
    WEFT_HISTOGRAM_COUNT = 3,
};

/* A log-linear histogram: 16 buckets per power of two, at most 6.25 % wide; values in ns. */
enum { WEFT_HISTOGRAM_BUCKETS = 976 };
typedef struct weft_histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[WEFT_HISTOGRAM_BUCKETS];
} weft_histogram;

/* Adds one value. One thread at a time; readers may read meanwhile. */
WEFT_API void weft_histogram_add(weft_histogram *histogram, uint64_t value);
/* Adds all of source. */
WEFT_API void weft_histogram_merge(weft_histogram *histogram, const weft_histogram *source);
/* The value below or at which per_mille/1000 of all values lie (upper bound of its bucket, at
 * most max); 0 when empty. */
WEFT_API uint64_t weft_histogram_quantile(const weft_histogram *histogram, uint32_t per_mille);
/* The largest value bucket number index holds. */
WEFT_API uint64_t weft_histogram_bucket_max(uint32_t index);

/* Counters of scheduler 1..n, 0 for outside, or WEFT_STATS_ALL for the sum. -EINVAL. */
#define WEFT_STATS_ALL UINT32_MAX
WEFT_API int weft_stats_read(weft_runtime *runtime, uint32_t scheduler, weft_stats *ret_stats);
WEFT_API int weft_gauges_read(weft_runtime *runtime, weft_gauges *ret_gauges);
WEFT_API int weft_histogram_read(weft_runtime *runtime, uint32_t scheduler,
                                 enum weft_histogram_id id, weft_histogram *ret_histogram);

/* Everything as Prometheus text, version 0.0.4, with a terminating zero. Returns the length it
 * would have, as snprintf; cut at a whole line when size is too small. */
WEFT_API int weft_stats_prometheus(weft_runtime *runtime, char *text, size_t size);

enum weft_actor_cell {
    WEFT_CELL_IDLE = 0,   /* nothing to do */
    WEFT_CELL_READY = 1,  /* queued or running */
    WEFT_CELL_CLOSED = 2, /* ending or gone */
};

typedef struct weft_actor_info {
    size_t struct_size;
    const weft_type *type;
    enum weft_actor_cell cell;
    uint32_t mailbox; /* messages waiting, about, with those put aside */
    uint32_t mailbox_max;
    uint32_t scheduler; /* ran there last */
    bool pinned;
    uint64_t messages; /* handled so far, with its start, timers and other signals */
    weft_pid parent;
    uint64_t sent;         /* messages, requests and replies it sent so far */
    uint32_t aside;        /* messages it has received and put aside: a process, a serial actor */
    uint32_t traced;       /* weft_trace is on */
    uint64_t memory_bytes; /* its slot, state and what the library keeps for it on the heap (calls,
                              timers, links, monitors, cleanups), up to 63 bytes too much; of its
                              stack the pages down to the deepest point at which it has waited, so
                              what it used only in between is missing. Without messages, what its
                              stream or its init_arg takes, and what it allocated */
} weft_actor_info;
#define WEFT_ACTOR_INFO_INIT sizeof(weft_actor_info) /* for struct_size, which the caller sets */

/* What an actor looks like just now. 0 or WEFT_E_NOPROC. */
WEFT_API int weft_inspect(weft_runtime *runtime, weft_pid pid, weft_actor_info *ret_info);

/* From now on every message this actor handles or sends goes to the log hook as an event
 * actor.trace, at level info, whatever log.level says; on false: no more, but for what it handles
 * just now. Handlers are not slower for it while they are not traced. It goes before all that waits in the actor's mailbox, also its
 * start: so what waits is traced already, and so is all that this thread sends to it afterwards.
 * Sizes are told, never what is in a message. A runtime without log hook: 0, nothing happens.
 * 0, WEFT_E_NOPROC, -ENOMEM, -EINVAL. Any thread. */
WEFT_API int weft_trace(weft_runtime *runtime, weft_pid pid, bool on);

/* Writes what every scheduler does to a file descriptor with write(2) only: callable from a
 * signal handler, also while the process is crashing. */
WEFT_API void weft_runtime_dump(weft_runtime *runtime, int fd);

WEFT_END_DECLS

#endif
