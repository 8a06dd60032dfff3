/* SPDX-License-Identifier: MIT
 *
 * The simulated network and its files, inside view. sim_net.c keeps what will happen (a heap of
 * events in virtual time), sockets and addresses; sim_net_op.c operations, results and drivers;
 * sim_net_stream.c listeners and connections; sim_net_datagram.c datagrams and groups;
 * sim_net_file.c files. One thread, as everything in the simulator.
 *
 * Events name sockets and operations by numbers that are never used twice, so that an event for
 * something that is gone finds nothing. No event calls the library: results are kept in their
 * operation until the driver's thread polls. Nothing here depends on an address of memory, so a
 * seed gives the same network each time.
 *
 * A descriptor is never used twice either: a call with one that was closed is a mistake, and is
 * reported as such.
 */
#ifndef WEFT_SIM_NET_H
#define WEFT_SIM_NET_H

#include "sim_internal.h"

enum {
    SIM_NET_NONE = 0, /* the number of no socket */
    SIM_NET_FD_BASE = 1000,
    SIM_NET_PORT_FIRST = 32768, /* ephemeral ports */
    SIM_NET_PORT_COUNT = 28232,
    SIM_NET_NAME_BYTES = 64,
    SIM_NET_NAME_ADDRESSES = 8,
    SIM_NET_GROUPS_MAX = 16, /* per socket */
};

enum sim_net_event_kind {
    SIM_NET_OP = 1,      /* the operation may get on */
    SIM_NET_VISIBLE,     /* its next result may be seen by poll */
    SIM_NET_CANCEL,      /* it is asked to end */
    SIM_NET_FLOW,        /* something sent to the socket may have arrived */
    SIM_NET_RESET,       /* a reset arrives, detail: which error it becomes */
    SIM_NET_CUT,         /* a partition has lasted too long for the socket */
    SIM_NET_SYN,         /* its wish to connect arrives; detail: how often it was sent */
    SIM_NET_ESTABLISHED, /* the answer arrives; detail: the socket on the other side */
    SIM_NET_REFUSED,     /* connecting fails; detail: error */
    SIM_NET_DATAGRAM,    /* payload arrives */
};

typedef struct sim_datagram {
    struct sim_datagram *next;
    weft_address source;
    weft_address target;
    uint32_t sender; /* socket */
    bool loop;       /* a copy for the sender's own host, too */
    size_t size;
    unsigned char bytes[];
} sim_datagram;

typedef struct sim_net_event {
    uint64_t due_ns;
    uint64_t order;  /* among equal ones: first made, first served */
    uint64_t target; /* number of a socket, or of an operation */
    enum sim_net_event_kind kind;
    uint32_t slot; /* of an operation */
    int64_t detail;
    sim_datagram *payload;
} sim_net_event;

/* Bytes on their way to a socket, or waiting there. */
typedef struct sim_chunk {
    struct sim_chunk *next;
    uint64_t due_ns;
    size_t size;
    size_t used;
    bool end; /* of the stream; size is 0 */
    bool arrived;
    unsigned char bytes[];
} sim_chunk;

typedef struct sim_file {
    struct sim_file *next;
    char *path;
    unsigned char *bytes;
    size_t size;
    size_t room;
} sim_file;

enum sim_socket_kind {
    SIM_SOCKET_LISTEN = 1,
    SIM_SOCKET_STREAM,
    SIM_SOCKET_DATAGRAM,
    SIM_SOCKET_FILE
};

enum sim_stream_state { SIM_STATE_NEW, SIM_STATE_CONNECTING, SIM_STATE_OPEN, SIM_STATE_OVER };

typedef struct sim_socket {
    uint32_t number;
    enum sim_socket_kind kind;
    bool program; /* the program has the descriptor; false: waits in a listener's queue */
    bool bound;
    bool reuse_port;
    bool ipv6_only;
    weft_address local;
    weft_address peer;
    struct sim_op *ops; /* in flight, oldest first */
    /* LISTEN */
    uint32_t backlog;
    uint32_t *queue;
    uint32_t queue_count;
    bool stopped; /* by shutdown */
    /* STREAM */
    enum sim_stream_state state;
    uint32_t other; /* number of the socket on the other side; it may be gone */
    bool reset_on_close;
    bool send_over;    /* shut down */
    bool receive_over; /* shut down */
    bool ended;        /* the end of the stream was received */
    int error;         /* for the next operation that asks */
    size_t capacity;   /* of what is inbound */
    size_t inbound;    /* bytes on their way or waiting */
    uint64_t last_due_ns;
    sim_chunk *chunks; /* those that have arrived come first */
    sim_chunk *chunks_last;
    sim_chunk *chunks_coming; /* the first that has not arrived */
    /* DATAGRAM; inbound and capacity as above */
    sim_datagram *datagrams;
    sim_datagram *datagrams_last;
    weft_address groups[SIM_NET_GROUPS_MAX];
    uint32_t group_count;
    bool loop;
    /* FILE */
    sim_file *file;
    uint32_t file_flags;
} sim_socket;

typedef struct sim_result {
    struct sim_result *next;
    int result;
    bool more;
    bool has_address;
    weft_buf *buf;
    uint32_t offset;
    uint64_t sum; /* hash of the bytes */
    weft_address address;
} sim_result;

typedef struct sim_op {
    uint64_t number;
    uint32_t slot;
    uint32_t socket;
    weft_io_op *op;
    sim_driver *driver;
    struct sim_op *next; /* on the socket */
    uint64_t sum;        /* of the operation and what it points to, as it was submitted */
    uint64_t try_due_ns; /* when it gets on; UINT64_MAX: nothing is planned */
    uint64_t last_due_ns;
    bool over;     /* its last result is among the following */
    bool readable; /* ringless: poll is to try it */
    bool cancelled;
    sim_result *results;
    sim_result *results_last;
    uint32_t visible;     /* of results */
    bool listed;          /* in the driver's ready */
    uint32_t ready_index; /* there */
} sim_op;

typedef struct sim_name {
    char name[SIM_NET_NAME_BYTES];
    weft_address addresses[SIM_NET_NAME_ADDRESSES];
    uint32_t count;
} sim_name;

typedef struct sim_cut {
    weft_address left;
    weft_address right;
} sim_cut;

typedef struct sim_net {
    weft_sim *sim;
    weft_env_io io;
    struct sim_prng prng;  /* latencies and sizes */
    struct sim_prng fault; /* what goes wrong */
    sim_net_event *events; /* binary heap by (due_ns, order) */
    uint32_t event_count;
    uint32_t event_room;
    uint64_t event_order;
    sim_socket **sockets; /* by number; NULL: gone */
    uint32_t socket_count;
    uint32_t socket_room;
    uint32_t open_count; /* descriptors the program has */
    sim_op **ops;        /* by slot */
    uint32_t op_room;
    uint64_t op_order;
    sim_name *names;
    uint32_t name_count;
    sim_cut *cuts;
    uint32_t cut_count;
    sim_file *files;
} sim_net;

/* ---- sim_net.c ----------------------------------------------------------------------------- */

/* Memory of the simulator; it ends the process when there is none. */
void *weft__net_alloc(sim_net *net, size_t size);
void *weft__net_realloc(sim_net *net, void *memory, size_t size);
bool weft__net_chance(sim_net *net, uint32_t permille);
uint64_t weft__net_hash(uint64_t hash, const void *data, size_t size);
void weft__net_event(sim_net *net, const sim_net_event *event);
/* Something for a socket after delay_ns. */
void weft__net_after(sim_net *net, uint64_t delay_ns, enum sim_net_event_kind kind, uint32_t socket,
                     int64_t detail);
/* One way between two hosts. */
uint64_t weft__net_latency(sim_net *net, const weft_address *left, const weft_address *right);
bool weft__net_cut(const sim_net *net, const weft_address *left, const weft_address *right);

sim_socket *weft__net_socket(const sim_net *net, uint32_t number);
/* The socket of a descriptor of the program; anything else is fatal. */
sim_socket *weft__net_fd(const sim_net *net, int fd);
sim_socket *weft__net_socket_add(sim_net *net, enum sim_socket_kind kind);
void weft__net_socket_free(sim_net *net, sim_socket *socket);

bool weft__net_is_wildcard(const weft_address *address);
bool weft__net_is_loopback(const weft_address *address);
bool weft__net_is_group(const weft_address *address);
bool weft__net_same_host(const weft_address *left, const weft_address *right);
bool weft__net_same(const weft_address *left, const weft_address *right);
/* True when what is sent to target reaches a socket bound to local. */
bool weft__net_reaches(const sim_socket *socket, const weft_address *target);
/* A port nobody uses. */
uint16_t weft__net_port(sim_net *net);

/* ---- sim_net_op.c -------------------------------------------------------------------------- */

void weft__net_op_vtable(weft_env_io *io);
/* The operations of a kind on a socket may get on after delay_ns. */
void weft__net_kick(sim_net *net, sim_socket *socket, enum weft_io_kind kind, uint64_t delay_ns);
/* Adds a result [take]. */
void weft__net_result(sim_net *net, sim_op *op, const sim_result *result);
/* The same, for the last one and nothing but a number. */
void weft__net_end(sim_net *net, sim_op *op, int result);
/* The first operation of a kind that is in flight and not over, or NULL. */
sim_op *weft__net_op_find(const sim_socket *socket, enum weft_io_kind kind);
/* A receive buffer or NULL. */
weft_buf *weft__net_buffer(sim_net *net, sim_driver *driver);
void weft__net_op_event(sim_net *net, const sim_net_event *event);
/* Ends the process when what the operation points to is not what was submitted. */
void weft__net_op_check(const sim_net *net, const sim_op *op);
/* Bytes of all spans; copies part of them. */
size_t weft__net_spans_size(const weft_io_op *op);
void weft__net_spans_copy(const weft_io_op *op, size_t skip, unsigned char *bytes, size_t size);

/* ---- sim_net_stream.c ---------------------------------------------------------------------- */

void weft__net_stream_event(sim_net *net, const sim_net_event *event);
/* Each tries what its operation wants; the operation is not over. */
void weft__net_accept(sim_net *net, sim_socket *socket, sim_op *op);
void weft__net_connect(sim_net *net, sim_socket *socket, sim_op *op);
void weft__net_receive(sim_net *net, sim_socket *socket, sim_op *op);
void weft__net_send(sim_net *net, sim_socket *socket, sim_op *op);
/* A cancelled connect: the socket can only be closed. */
void weft__net_connect_cancel(sim_socket *socket);
int weft__net_stream_shutdown(sim_net *net, sim_socket *socket, bool both);
void weft__net_stream_close(sim_net *net, sim_socket *socket);
/* A partition begins: what crosses it is reset when it lasts. */
void weft__net_stream_cut(sim_net *net, const sim_cut *cut);

/* ---- sim_net_datagram.c -------------------------------------------------------------------- */

void weft__net_datagram_event(sim_net *net, const sim_net_event *event);
void weft__net_receive_from(sim_net *net, sim_socket *socket, sim_op *op);
void weft__net_send_to(sim_net *net, sim_socket *socket, sim_op *op);
int weft__net_datagram_option(sim_socket *socket, enum weft_io_option option, int value,
                              const weft_address *address);
void weft__net_datagram_fini(sim_socket *socket);

/* ---- sim_net_file.c ------------------------------------------------------------------------ */

void weft__net_file_op(sim_net *net, sim_socket *socket, sim_op *op);
int weft__net_file_call(weft_env *env, const weft_io_file *call);
void weft__net_file_fini(sim_net *net);

#endif
