/* SPDX-License-Identifier: MIT
 *
 * The seam: everything nondeterministic a runtime uses. Production fills it with the operating
 * system (weft_env_os), the simulator (weft/sim.h) with virtual time, a seeded generator and
 * threads that it steps itself. Nothing in the library reads a clock, draws a random byte, starts
 * or parks a thread except through this object.
 * Stability: unstable; version tells layouts apart.
 */
#ifndef WEFT_ENV_H
#define WEFT_ENV_H

#include <weft/address.h>
#include <weft/defs.h>

WEFT_BEGIN_DECLS

enum { WEFT_ENV_VERSION = 2 };

/* What a step of a thread's body answers. */
enum weft_step {
    WEFT_STEP_RAN = 0,  /* did something: step again */
    WEFT_STEP_IDLE = 1, /* found nothing, still looking: step again */
    WEFT_STEP_PARK = 2, /* may sleep until its driver is woken or until *deadline_ns */
    WEFT_STEP_EXIT = 3, /* the body is over: do not step again */
};

enum weft_thread_kind {
    WEFT_THREAD_SCHEDULER = 0,
    WEFT_THREAD_HELPER = 1,
    WEFT_THREAD_WATCHDOG = 2,
};

typedef struct weft_env weft_env;

/* A thread the runtime wants. The environment calls step until it answers WEFT_STEP_EXIT, and on
 * WEFT_STEP_PARK lets the thread sleep on driver, a thing made by driver_create. */
typedef struct weft_env_thread {
    const char *name; /* at most 15 bytes */
    enum weft_thread_kind kind;
    uint32_t index;
    int cpu;      /* bind to this CPU, -1: to none */
    void *driver; /* what it parks on */
    void (*park)(weft_env *env, void *driver, uint64_t deadline_ns); /* and how */
    enum weft_step (*step)(void *arg, uint64_t *deadline_ns);
    void *arg;
} weft_env_thread;

/* ---- I/O ----------------------------------------------------------------------------------- */
/* Operations are started by submit and end with calls of complete from inside poll, on the thread
 * of the driver. There are three drivers: io_uring, epoll, and the simulator's. */

enum { WEFT_ENV_IO_VERSION = 2 };

enum weft_io_kind {
    WEFT_IO_OP_ACCEPT = 1,  /* goes on: each result is a new descriptor, address its peer */
    WEFT_IO_OP_CONNECT = 2, /* to address */
    WEFT_IO_OP_RECEIVE = 3, /* goes on: result bytes in buf; 0: end of stream, then it is over */
    WEFT_IO_OP_SEND = 4,    /* spans; result: bytes taken, possibly fewer than all */
    WEFT_IO_OP_RECEIVE_FROM = 5, /* goes on: result bytes in buf, address: who sent them */
    WEFT_IO_OP_SEND_TO = 6,      /* spans as one datagram to address */
    WEFT_IO_OP_READ = 7,         /* file: into spans at offset */
    WEFT_IO_OP_WRITE = 8,        /* file: from spans at offset */
    WEFT_IO_OP_SYNC = 9,         /* file: fdatasync */
};

/* As struct iovec. */
typedef struct weft_io_span {
    void *data;
    size_t size;
} weft_io_span;

typedef struct weft_io_op weft_io_op;

/* One outcome of an operation. */
typedef struct weft_io_result {
    int result;    /* 0 or more, or negative errno; -ENOBUFS: no receive buffer was to be had */
    bool more;     /* the operation goes on; false: it is over, the op may be used again */
    weft_buf *buf; /* RECEIVE*, with a result above 0 (RECEIVE_FROM: 0 or more) [out]; else NULL */
    uint32_t offset;             /* where in buf the bytes begin */
    const weft_address *address; /* ACCEPT (may be NULL), RECEIVE_FROM; valid during the call */
} weft_io_result;

/* May submit, also the same op when result->more is false; must not cancel other ops of the same
 * descriptor unless it checks that they are in flight. */
typedef void (*weft_io_complete_fn)(weft_io_op *op, const weft_io_result *result);

enum { WEFT_IO_SPANS_MAX = 64, WEFT_IO_ONCE = 1 };

/* Memory of the caller, in place and unchanged, with what it points to, until it is over. */
struct weft_io_op {
    weft_io_complete_fn complete;
    int fd;
    uint16_t kind;       /* enum weft_io_kind */
    uint16_t span_count; /* at most WEFT_IO_SPANS_MAX */
    const weft_io_span *spans;
    const weft_address *address;
    uint64_t offset;    /* files; RECEIVE: WEFT_IO_ONCE asks to end it after one result */
    uint64_t driver[6]; /* the driver's, while it is in flight; zeroed before the first submit */
};

/* Where a driver gets receive buffers from. Its thread only. NULL: none just now. What take gave
 * and no completion handed on is dropped with weft_buf_unref. */
typedef struct weft_io_host {
    void *cookie;
    weft_buf *(*take)(void *cookie);
    uint32_t ring_count; /* how many a ring may hold in advance, a power of two */
} weft_io_host;

enum weft_io_socket_kind { WEFT_IO_LISTEN = 1, WEFT_IO_STREAM = 2, WEFT_IO_DATAGRAM_SOCKET = 3 };

/* A socket to make: non-blocking, close-on-exec. */
typedef struct weft_io_socket {
    enum weft_io_socket_kind kind;
    const weft_address *address; /* LISTEN, DATAGRAM: to bind to; STREAM: its family */
    const weft_address *local;   /* STREAM: to bind to, or NULL */
    uint32_t backlog;
    bool reuse_port;
    bool ipv6_only;
} weft_io_socket;

enum weft_io_option {
    WEFT_IO_NODELAY = 1,   /* value 0 or 1 */
    WEFT_IO_KEEPALIVE = 2, /* value: seconds until the first of three probes, a third of it apart */
    WEFT_IO_RESET = 3,     /* closing resets the connection */
    WEFT_IO_JOIN = 4,      /* address: group; value: interface index */
    WEFT_IO_LEAVE = 5,
    WEFT_IO_MULTICAST_INTERFACE = 6,
    WEFT_IO_MULTICAST_HOPS = 7,
    WEFT_IO_MULTICAST_LOOP = 8,
};

enum weft_io_file_call {
    WEFT_IO_FILE_OPEN = 1,
    WEFT_IO_FILE_READ,
    WEFT_IO_FILE_WRITE,
    WEFT_IO_FILE_SYNC
};

/* A blocking file operation, for helper threads where the driver has no files. */
typedef struct weft_io_file {
    enum weft_io_file_call call;
    int fd;
    const char *path; /* OPEN */
    uint32_t flags;   /* OPEN: enum weft_file_flags */
    void *data;       /* READ, WRITE */
    size_t size;
    uint64_t offset;
} weft_io_file;

/* Counted by a driver since it was made. */
typedef struct weft_io_counts {
    uint64_t enters;    /* system calls made for submitting and waiting */
    uint64_t submitted; /* operations */
    uint64_t completed; /* results */
    uint64_t overflows; /* the completion queue was full for a while; nothing was lost */
    uint64_t starved;   /* receives that found no buffer */
} weft_io_counts;

typedef struct weft_env_io {
    uint32_t version; /* WEFT_ENV_IO_VERSION */
    bool files;       /* READ, WRITE and SYNC can be submitted */
    const char *name; /* "uring", "epoll", "sim" */
    /* As the plain drivers above: created and destroyed on any thread, while nothing is in flight;
     * park and everything below up to open: on one thread, the driver's own. park also returns when
     * there may be something for poll; what was submitted is under way before it sleeps. */
    int (*driver_create)(weft_env *env, bool want_fd, void **ret_driver);
    void (*driver_destroy)(weft_env *env, void *driver);
    void (*driver_park)(weft_env *env, void *driver, uint64_t deadline_ns);
    void (*driver_wake)(weft_env *env, void *driver); /* any thread */
    int (*driver_fd)(weft_env *env, void *driver);
    /* After driver_create, any thread: takes from the kernel what receive buffers will need, so
     * that a limit shows when a runtime is created and not at its first socket. ring_count: that of
     * the host to come. NULL: nothing to take. 0 or -errno. */
    int (*reserve)(weft_env *env, void *driver, uint32_t ring_count);
    /* Before the first submit: where buffers come from [borrow], for the driver's life. 0 or
     * -errno. */
    int (*attach)(weft_env *env, void *driver, const weft_io_host *host);
    /* Returns receive buffers the driver holds in advance; nothing is submitted any more. */
    void (*detach)(weft_env *env, void *driver);
    /* Starts an operation; nothing completes before the next poll. 0, or -errno and nothing
     * follows. */
    int (*submit)(weft_env *env, void *driver, weft_io_op *op);
    /* Asks an operation in flight to end early: it completes soon, with -ECANCELED or with what it
     * had reached by then. */
    void (*cancel)(weft_env *env, void *driver, weft_io_op *op);
    /* Passes on what was submitted and delivers what is complete, without waiting; at most a few
     * hundred results, further ones the next time. Returns how many. */
    uint32_t (*poll)(weft_env *env, void *driver);
    void (*counts)(weft_env *env, void *driver, weft_io_counts *ret_counts);
    /* Any thread, without waiting. */
    int (*open)(weft_env *env, const weft_io_socket *what, int *ret_fd);
    int (*option)(weft_env *env, int fd, enum weft_io_option option, int value,
                  const weft_address *address);
    int (*local)(weft_env *env, int fd, weft_address *ret_address);
    int (*peer)(weft_env *env, int fd, weft_address *ret_address);
    int (*shutdown)(weft_env *env, int fd, bool both); /* the sending side, or both */
    void (*close)(weft_env *env, int fd);              /* nothing may be in flight on it */
    /* Removes the path of a Unix listener. */
    void (*unlink)(weft_env *env, const weft_address *address);
    /* Helper threads; may block. resolve: "name", port -> up to max addresses; their number, or
     * WEFT_E_RESOLVE. file: the result or negative errno. */
    int (*resolve)(weft_env *env, const char *name, uint16_t port, weft_address *ret_addresses,
                   uint32_t max);
    int (*file)(weft_env *env, const weft_io_file *call);
} weft_env_io;

struct weft_env {
    uint32_t version; /* WEFT_ENV_VERSION */
    void *impl;
    /* Clocks, ns. Any thread. The monotonic one never goes back. */
    uint64_t (*now_mono_ns)(weft_env *env);
    uint64_t (*now_wall_ns)(weft_env *env);
    /* Random bytes; used for seeds and incarnations only. Any thread. */
    void (*random)(weft_env *env, void *bytes, size_t size);
    /* 0 and a handle for thread_join, or negative errno. */
    int (*thread_start)(weft_env *env, const weft_env_thread *thread, void **ret_handle);
    void (*thread_join)(weft_env *env, void *handle);
    /* What a thread parks on. park returns when woken, when deadline_ns has passed
     * (UINT64_MAX: never) or spuriously; a wake before the park is not lost. wake: any thread.
     * fd: a descriptor that is readable while a wake is pending, or -1; only asked of a driver
     * made with want_fd. */
    int (*driver_create)(weft_env *env, bool want_fd, void **ret_driver);
    void (*driver_destroy)(weft_env *env, void *driver);
    void (*driver_park)(weft_env *env, void *driver, uint64_t deadline_ns);
    void (*driver_wake)(weft_env *env, void *driver);
    int (*driver_fd)(weft_env *env, void *driver);
    /* What schedulers park on and do their I/O with; NULL: they park as all others, and there are
     * no sockets. Const once a runtime was created. */
    const weft_env_io *io;
    /* Makes every other thread of the process execute a full memory barrier (membarrier(2));
     * NULL: not available, the fast sides then use full barriers themselves. */
    void (*heavy_barrier)(weft_env *env);
    /* A thread that waits for another for a short time calls this between looks. */
    void (*relax)(weft_env *env);
    /* Simulator only, else NULL. trace: every choice the runtime makes, for the trace hash.
     * point: a place inside a step where other threads may be stepped (nested); only called in
     * builds with WEFT_SIM_POINTS. No watchdog is started when trace is set. */
    void (*trace)(weft_env *env, uint32_t event, uint64_t first, uint64_t second);
    void (*point)(weft_env *env, uint32_t point);
};

/* The operating system as environment: a new one [out], and its end. -ENOMEM. Any thread. */
WEFT_API WEFT_MUSTUSE int weft_env_os_create(weft_env **ret_env);
WEFT_API void weft_env_os_destroy(weft_env **env);

enum weft_io_driver { WEFT_IO_DRIVER_AUTO = 0, WEFT_IO_DRIVER_URING = 1, WEFT_IO_DRIVER_EPOLL = 2 };

/* Gives such an environment I/O: AUTO takes io_uring where the kernel lets us and has what is
 * needed (6.1), else epoll. ret_reason (may be NULL): a static text that says why it is this one.
 * weft_runtime_create does this by itself. 0; with URING why not: -ENOSYS, -EPERM, ... Before a
 * runtime is created on it. */
WEFT_API WEFT_MUSTUSE int weft_env_os_io(weft_env *env, enum weft_io_driver driver,
                                         const char **ret_reason);

WEFT_END_DECLS

#endif
