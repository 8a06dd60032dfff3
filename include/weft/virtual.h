/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: actors reached by name. An address is {capability, type, id}; the first message
 * to an address activates an actor of that type, later ones find it, from any thread of any node.
 * Nobody creates or destroys them: an actor that is passivated, stops or crashes is activated again
 * by the next message, with a new pid.
 *
 *   - An address has at most one activation. Callers that race for a new one make one and lose
 *     nothing; what one sender sends to one address arrives in order, from its first message on.
 *   - init is the actor's first turn and runs before any message. If it fails, everything that
 *     waits is answered with its result, and the next message tries again. While it runs it holds a
 *     scheduler, as any handler: a slow one delays only its own key as long as another scheduler is
 *     free, and as many as there are schedulers hold up everybody. One that has to wait has somebody
 *     else do it: weft_blocking, a call to a process from a serial type, or a store whose get answers
 *     later (docs/virtual-actors.md, "An init that has to wait").
 *   - A crash answers what waits with WEFT_E_CRASHED at once and concerns no other actor. An actor
 *     that stops by itself (WEFT_STOP) loses nothing: what has come meanwhile activates it again.
 *   - What else follows a crash, and how many are too many, is up to its type: weft_type_def.crash_*.
 *   - init_arg is used by the first activation that brings one along and whose init succeeds, and is
 *     remembered: later activations of the address get the same one, whatever they bring along,
 *     until weft_forget. restore is not given it.
 *   - Passivation ends an actor that nobody uses. It has to be idle: no message waits, no call,
 *     timer or blocking work of its own is pending, no request is held. A type with save and restore
 *     keeps its state over it (weft/store.h); no message is lost at the edge.
 *
 *   - When the runtime stops, actors with save save their state first: weft_runtime_stop waits for
 *     the store, for each at most store_timeout_ns.
 *
 * What an actor type needs to be virtual is in its weft_type_def: idle_ns, active_max, save, ... A
 * type of processes cannot be.
 * The message a virtual actor gets is an ordinary one: answered with weft_reply, its sender a pid.
 *
 * Stability: unstable until there are clusters; structs are append-only.
 */
#ifndef WEFT_VIRTUAL_H
#define WEFT_VIRTUAL_H

#include <weft/actor.h>
#include <weft/runtime.h>

WEFT_BEGIN_DECLS

/* ---- capabilities -------------------------------------------------------------------------- */

/* A name for something nodes can do, such as "chat". An actor of a capability lives on a node that
 * has registered it. Known names are valid as long as the runtime, registered or not. */
typedef struct weft_capability weft_capability;

enum { WEFT_CAPABILITY_NAME_MAX = 255, WEFT_CAPABILITIES_MAX = 4096 };

/* Before or after start, all of these. This node offers these too; those it offers already stay. All
 * or none. An empty list is fine.
 * Errors: -EINVAL (a name must have 1..255 bytes), WEFT_E_LIMIT, -ENOMEM. Any thread. */
WEFT_API int weft_capability_register(weft_runtime *runtime, const char *const *names,
                                      uint32_t count);
/* The same for one, with its handle [out]; ret_capability may be NULL. */
WEFT_API int weft_capability_add(weft_runtime *runtime, const char *name,
                                 const weft_capability **ret_capability);
/* This node no longer offers these. New calls are answered WEFT_E_NOCAPABILITY at once; their
 * actors end with WEFT_E_REBALANCING soon, those with save after their state is saved. Names that
 * are not registered are ignored. -EINVAL; -ENOMEM: some may not know yet that they are to end, call
 * again. */
WEFT_API int weft_capability_unregister(weft_runtime *runtime, const char *const *names,
                                        uint32_t count);
/* This node offers exactly these: unregisters the others, then registers. */
WEFT_API int weft_capability_replace(weft_runtime *runtime, const char *const *names,
                                     uint32_t count);

/* The handle of a name that was ever registered, or NULL. Any thread. */
WEFT_API const weft_capability *weft_capability_find(weft_runtime *runtime, const char *name);
WEFT_API const char *weft_capability_name(const weft_capability *capability);

/* Every name some node offers, sorted, each once: fills at most max, returns how many there are.
 * The strings live as long as the runtime. Any thread. */
WEFT_API int weft_all_capabilities(weft_runtime *runtime, const char **ret_names, uint32_t max);

/* ---- calls --------------------------------------------------------------------------------- */

enum { WEFT_ID_MAX = 65535 };

enum weft_vrequest_flags {
    /* Does not activate: WEFT_E_INACTIVE when there is no actor. One that is just ending counts as
     * active, and has a successor then: its sender may have sent something before. */
    WEFT_ONLY_IF_ACTIVE = 1,
};

/* One message to an address. Everything is [borrow], copied where it outlives the call. */
typedef struct weft_vrequest {
    size_t struct_size; /* WEFT_VREQUEST_INIT */
    const weft_capability *capability;
    const weft_type *type;
    const void *id; /* any bytes, 0..WEFT_ID_MAX; NULL when id_size is 0 */
    size_t id_size;
    uint32_t tag;
    uint32_t flags;      /* enum weft_vrequest_flags */
    const void *payload; /* may be NULL */
    size_t payload_size;
    weft_buf *payload_buf; /* when the payload lies in it: sent without copying; may be NULL */
    const void *init_arg;  /* for init, when this activates the actor for the first time; or NULL */
    size_t init_arg_size;  /* at most WEFT_ID_MAX */
    uint64_t timeout_ns;   /* calls only; 0: the configured default */
} weft_vrequest;

#define WEFT_VREQUEST_INIT sizeof(weft_vrequest)

/* Sends a request; exactly one REPLY message with this token follows when it answers 0: see
 * weft_call. *ret_pid (may be NULL): who got it. Neither waits for anything.
 * Errors: WEFT_E_NOCAPABILITY (no node offers it), WEFT_E_REBALANCING, WEFT_E_INACTIVE
 * (with WEFT_ONLY_IF_ACTIVE), WEFT_E_BREAKER (it crashed too often), -EBUSY (its mailbox is full),
 * -EDEADLK (a serial actor calls itself), -EINVAL (the request; or a strategy of the program gives
 * the shard to no node), -EMSGSIZE, -ENOMEM, WEFT_E_LIMIT, WEFT_E_SHUTDOWN. In the REPLY: what init
 * answered when it failed, what the store answered when the state could not be loaded,
 * WEFT_E_CRASHED, -EDEADLK (the call would close a circle of at most 1,024 serial actors; a longer
 * one is left to its timeout), WEFT_E_NOREPLY, WEFT_E_SHUTDOWN, WEFT_E_REBALANCING, -ETIMEDOUT, or
 * what the actor gave to weft_reply_error. Actor only. */
WEFT_API int weft_vcall(weft_ctx *ctx, const weft_vrequest *request, uint64_t token,
                        weft_pid *ret_pid);
/* The same in a process, suspended until the answer comes: 0 and the reply [out], for
 * weft_msg_release (ret_reply NULL: released), or an error of either; see weft_call_wait. */
WEFT_API int weft_vcall_wait(weft_ctx *ctx, const weft_vrequest *request, weft_msg **ret_reply,
                             weft_pid *ret_pid);
/* The same without an answer: an enqueue. */
WEFT_API int weft_vcast(weft_ctx *ctx, const weft_vrequest *request, weft_pid *ret_pid);

/* From any other thread: calls and blocks for the answer, see weft_runtime_call. */
WEFT_API WEFT_MUSTUSE int weft_runtime_vcall(weft_runtime *runtime, const weft_vrequest *request,
                                             weft_msg **ret_reply, weft_pid *ret_pid);
WEFT_API int weft_runtime_vcast(weft_runtime *runtime, const weft_vrequest *request,
                                weft_pid *ret_pid);
/* Calls, with the answer as a completion: see weft_cq_call. */
WEFT_API WEFT_MUSTUSE int weft_cq_vcall(weft_cq *queue, const weft_vrequest *request,
                                        uint64_t token, weft_pid *ret_pid);

/* ---- life, from inside the actor ----------------------------------------------------------- */

/* An activation, as the tables have it. */
typedef struct weft_ventry {
    size_t struct_size; /* WEFT_VENTRY_INIT, set by the caller */
    const weft_capability *capability;
    const weft_type *type;
    const void *id; /* valid as said by who gives it */
    size_t id_size;
    uint32_t shard;
    weft_pid pid;
    uint64_t bytes;   /* state and what weft_account says */
    uint64_t idle_ns; /* since its last message, about */
} weft_ventry;

#define WEFT_VENTRY_INIT sizeof(weft_ventry)

/* Who this actor is; the id is valid as long as the actor. -ENOENT: not a virtual one. */
WEFT_API int weft_virtual_self(weft_ctx *ctx, weft_ventry *ret_entry);

/* Asks for this actor's passivation: it happens soon after the handler has returned, if the actor is
 * idle then; if it is not, nothing happens. 0, -ENOENT, -ENOMEM. Actor only. */
WEFT_API int weft_passivate(weft_ctx *ctx);
/* The same from anywhere, for any virtual actor. 0: asked. WEFT_E_NOPROC, -ENOMEM. Any thread. */
WEFT_API int weft_runtime_passivate(weft_runtime *runtime, weft_pid pid);
/* While on, neither idle time nor limits passivate this actor. Actor only. 0 or -ENOENT. */
WEFT_API int weft_keep_alive(weft_ctx *ctx, bool on);
/* This actor uses that many bytes beside its state: counts against active_bytes_max. Replaces what
 * was said before; at most 1 TiB counts. Actor only. 0, -ENOENT, -ENOMEM. */
WEFT_API int weft_account(weft_ctx *ctx, uint64_t bytes);
/* What is kept for this actor's address (saved state, init_arg) is deleted and the actor ends
 * normally: when the handler returns, or when the store has answered. Should the store fail, the actor
 * goes on with its state (logged), or ends with WEFT_E_VERSION. 0, -ENOENT, or why the deletion could
 * not be started. Actor only. */
WEFT_API int weft_forget(weft_ctx *ctx);

/* Forgets the crashes of an address: it is not refused any more, and counts anew. 0, -ENOENT (it has
 * none), -EINVAL. Any thread. */
WEFT_API int weft_virtual_forgive(weft_runtime *runtime, const weft_capability *capability,
                                  const weft_type *type, const void *id, size_t id_size);

/* ---- tables -------------------------------------------------------------------------------- */
/* What is active on this node. Nothing here activates anything. Wrong arguments are answered -EINVAL.
 * Any thread. */

/* The pid of an active address: 0, or WEFT_E_INACTIVE. */
WEFT_API int weft_virtual_get(weft_runtime *runtime, const weft_capability *capability,
                              const weft_type *type, const void *id, size_t id_size,
                              weft_pid *ret_pid);
/* The address of a pid. At most id_max bytes of its id are copied to id, where entry->id then
 * points; entry->id_size is the whole size. 0; WEFT_E_NOPROC: no such virtual actor. */
WEFT_API int weft_virtual_key(weft_runtime *runtime, weft_pid pid, void *id, size_t id_max,
                              weft_ventry *ret_entry);
/* How many are active, of a type (NULL: of all). About, while actors come and go. */
WEFT_API uint64_t weft_virtual_count(weft_runtime *runtime, const weft_type *type);

/* Goes through all activations, a table of a shard at a time: what is active during the whole walk
 * is seen exactly once. Memory is that of one table. One thread at a time. */
typedef struct weft_vcursor weft_vcursor;
/* [out]; type NULL: all types. Errors: -EINVAL, -ENOMEM. */
WEFT_API WEFT_MUSTUSE int weft_vcursor_create(weft_runtime *runtime, const weft_type *type,
                                              weft_vcursor **ret_cursor);
/* 1 and the next one, whose id is valid until the next call; 0: there are no more; -ENOMEM. */
WEFT_API int weft_vcursor_next(weft_vcursor *cursor, weft_ventry *ret_entry);
WEFT_API void weft_vcursor_destroy(weft_vcursor **cursor);

WEFT_END_DECLS

#endif
