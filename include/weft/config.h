/* SPDX-License-Identifier: MIT
 *
 * Configuration: a struct, an INI file, WEFT_* environment variables, each overriding the one
 * before. Nothing is read unless weft_config_load is called. docs/tuning.md says for each key what
 * it does, when to change it and what was measured.
 * Stability: stable, append-only; struct_size tells versions apart.
 */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include <weft/defs.h>
#include <weft/error.h>
#include <weft/log.h>

WEFT_BEGIN_DECLS

enum {
    WEFT_SCHEDULERS_MAX = 256,
    WEFT_CONFIG_TEXT_BYTES = 256,
};

enum weft_pinning { WEFT_PIN_DEFAULT = 0, WEFT_PIN_NONE = 1, WEFT_PIN_CPUS = 2 };
enum weft_steal { WEFT_STEAL_DEFAULT = 0, WEFT_STEAL_HALF = 1, WEFT_STEAL_NONE = 2 };

/* Memory of the runtime. Every call names its size and a static tag for what it is. All three are
 * called from any thread; NULL alloc means malloc and free. commit, which may be NULL, is asked
 * before a piece of an arena is used for the first time; a negative result is out of memory. */
typedef struct weft_allocator {
    void *cookie;
    void *(*alloc)(void *cookie, size_t size, const char *tag);
    void (*free)(void *cookie, void *memory, size_t size, const char *tag);
    int (*commit)(void *cookie, size_t size, const char *tag);
} weft_allocator;

/* Zero in a field is the documented default. Durations in nanoseconds here, as "250us", "10ms",
 * "2s" in files and variables; sizes take the suffixes K, M and G there. */
typedef struct weft_config {
    size_t struct_size;

    /* [scheduler] */
    uint32_t schedulers; /* scheduler.count: 1..256; 0: allowed CPUs, cgroup quota kept */
    char cpus[WEFT_CONFIG_TEXT_BYTES]; /* scheduler.cpus: "0-3,6"; "": the process's own */
    uint32_t pinning;                  /* scheduler.pin = auto | off | on; auto: off */
    uint64_t spin_ns;   /* scheduler.spin: look for work this long before sleeping; 20us */
    bool spin_none;     /* scheduler.spin = 0: sleep at once */
    uint32_t budget;    /* scheduler.budget: messages per turn of one actor; 256 */
    uint32_t lifo_max;  /* scheduler.lifo: runs from the LIFO slot in a row; 1 */
    bool lifo_none;     /* scheduler.lifo = 0 */
    uint32_t steal;     /* scheduler.steal = half | none */
    uint32_t ring_size; /* scheduler.ring: run-queue entries, power of two; 4096 */
    bool driven;        /* scheduler.driven: the program drives scheduler 1 itself */

    /* [actor] */
    uint64_t actors_max;        /* actor.max: living and dead slots; 67108864 */
    uint32_t mailbox_max;       /* actor.mailbox: default bound of a type; 100000 */
    uint64_t message_bytes_max; /* actor.message: largest payload; 64M */
    uint64_t call_timeout_ns;   /* actor.call_timeout: 5s */
    uint32_t calls_max;         /* actor.calls: pending calls of one actor; 65536 */
    uint32_t timers_max;        /* actor.timers: timers of one actor; 16777216 */

    /* [memory] */
    uint64_t arena_bytes; /* memory.arena: address space for messages; 64G */
    uint64_t pool_bytes;  /* memory.pool: free messages a scheduler keeps; 16M */
    bool huge_pages_none; /* memory.huge_pages = off: do not ask for huge pages */

    /* [blocking] */
    uint32_t blocking_threads; /* blocking.threads: helper threads at most; 4 */
    uint32_t blocking_queue;   /* blocking.queue: jobs waiting at most; 1024 */

    /* [watchdog] */
    uint64_t watchdog_ns; /* watchdog.period: sampling period; 5ms */
    bool watchdog_none;   /* watchdog.period = 0: no watchdog */
    uint64_t stuck_ns;    /* watchdog.stuck: report a handler that runs longer; 100ms */

    /* [log] */
    uint32_t log_level; /* log.level = error | warn | info | debug; info */

    /* not in files */
    weft_log_hook log;        /* called on any thread; NULL cb: no log */
    weft_allocator allocator; /* const for the life of the runtime */

    /* [io] */
    uint32_t io_driver;       /* io.driver = auto | uring | epoll: enum weft_io_driver; auto */
    uint32_t io_buffers;      /* io.buffers: receive buffers a scheduler keeps ready; 128 */
    uint64_t io_buffer_bytes; /* io.buffer: size of each; 16K */
    uint32_t io_connections;  /* io.connections: streams open at once at most; 1M */
    uint32_t io_handshakes;   /* io.handshakes: of clients, at once per scheduler; 256 */
    uint64_t io_spin_ns;      /* io.spin: scheduler.spin of a scheduler that has sockets; 5us */
    bool io_spin_none;        /* io.spin = 0 */

    /* [shard] */
    uint64_t
        shard_idle_ns; /* shard.idle: virtual actors not used for so long are passivated; off */
    uint64_t shard_remember_bytes;   /* shard.remember: init arguments of inactive actors; 64M */
    uint64_t shard_store_timeout_ns; /* shard.store_timeout: of one operation of a store; 5s */
    uint32_t shards;                 /* shard.count: 1..65536, the same on all nodes; 4096 */
    uint32_t shard_strategy;  /* shard.strategy = rendezvous | bounded | modulo: rendezvous */
    uint32_t shard_hash;      /* shard.hash = xxh3 | phash2: enum weft_shard_hash; xxh3 */
    uint32_t shard_weight;    /* shard.weight: this node's share beside others, 1..10000; 1 */
    bool shard_remember_none; /* shard.remember = 0 */

    /* [process] */
    uint64_t process_stack_bytes; /* process.stack: address space for one, with its guard; 64K */
    uint32_t process_stacks;      /* process.stacks: free ones a scheduler keeps with what memory
                                     they have; 256 */
    bool process_stacks_none;     /* process.stacks = 0 */
} weft_config;

#define WEFT_CONFIG_INIT sizeof(weft_config)

/* Fills config [in, out] from the INI file at path (NULL: none), then from WEFT_* variables
 * (WEFT_SCHEDULER_COUNT for scheduler.count). What neither names stays as it is. On error nothing
 * of config changes, WEFT_E_CONFIG or -errno is returned and error (which may be NULL), receives
 * one line naming the file and line, or the variable, and what is accepted. Reads the environment:
 * not while another thread changes it. */
WEFT_API WEFT_MUSTUSE int weft_config_load(weft_config *config, const char *path, char *error,
                                           size_t error_size);

/* Sets one key ("scheduler.count") from text, with the same rules and errors. */
WEFT_API WEFT_MUSTUSE int weft_config_set(weft_config *config, const char *key, const char *value,
                                          char *error, size_t error_size);

/* Replaces zeroes by the defaults and checks every range, as weft_runtime_create does. */
WEFT_API WEFT_MUSTUSE int weft_config_resolve(weft_config *config, char *error, size_t error_size);

/* Describes key number index (from 0): name, accepted values and default. 0, or -ENOENT after the
 * last. The strings are static. Any thread. */
typedef struct weft_config_key {
    const char *name;
    const char *accepted;
    const char *default_text;
} weft_config_key;
WEFT_API int weft_config_describe(uint32_t index, weft_config_key *ret_key);

WEFT_END_DECLS

#endif
