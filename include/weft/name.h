/* SPDX-License-Identifier: MIT
 *
 * Names and groups of one node. A name stands for one actor, a group for any number; both are
 * 1..255 bytes of any value, and do not get in each other's way. Only actors of this node can have
 * them. What an actor has is given up when it ends: after its DOWN or EXIT has been seen, its names
 * are free and it is in no group. Looking a name up takes no lock and writes nothing. Any thread,
 * unless it says otherwise. -EINVAL everywhere: a NULL or a size that cannot be. Guide:
 * docs/names.md. Stability: stable.
 */
#ifndef WEFT_NAME_H
#define WEFT_NAME_H

#include <weft/actor.h>

WEFT_BEGIN_DECLS

enum { WEFT_NAME_BYTES_MAX = 255 };

/* ---- names --------------------------------------------------------------------------------- */

/* Gives an actor a name [borrow], beside those it has. 0; -EEXIST: another (living) actor has it,
 * or this one; WEFT_E_NOPROC; -EINVAL (also: an actor of another node); -ENOMEM. On error nothing
 * has changed. */
WEFT_API int weft_name_register(weft_runtime *runtime, const char *name, size_t size, weft_pid pid);
/* Takes a name away, whoever has it. 0; -ENOENT: nobody has it; -EINVAL. */
WEFT_API int weft_name_unregister(weft_runtime *runtime, const char *name, size_t size);
/* Who has a name, or none. Lock-free. It may have ended since. */
WEFT_API weft_pid weft_name_whereis(weft_runtime *runtime, const char *name, size_t size);
/* Looks up and sends: as weft_send, WEFT_E_NOPROC when nobody has the name. name ends with a zero
 * byte, which is no part of it. Actor only. */
WEFT_API int weft_name_send(weft_ctx *ctx, const char *name, uint32_t tag, const void *data,
                            size_t size);
/* The same for weft_call. Actor only. */
WEFT_API int weft_name_call(weft_ctx *ctx, const char *name, uint32_t tag, const void *data,
                            size_t size, uint64_t timeout_ns, uint64_t token);
/* A name of an actor: number index (from 0) of those it has, in no order, into text, with a zero
 * byte behind it if that fits. Returns its length; -ENOENT: it has not so many, or has ended;
 * -ENOSPC; -EINVAL. O(index). */
WEFT_API int weft_name_of(weft_runtime *runtime, weft_pid pid, uint32_t index, char *text,
                          size_t size);

/* ---- groups -------------------------------------------------------------------------------- */

/* Joins an actor to a group, which comes into being. Joining several times counts: it has to leave
 * as often. 0; WEFT_E_NOPROC; -EINVAL (also: an actor of another node); -ENOMEM. On error nothing
 * has changed. */
WEFT_API int weft_group_join(weft_runtime *runtime, const char *group, size_t size, weft_pid pid);
/* 0; -ENOENT: it is not in the group; -EINVAL. A group that nobody is in is gone. */
WEFT_API int weft_group_leave(weft_runtime *runtime, const char *group, size_t size, weft_pid pid);
/* Writes up to max members (one that joined twice is there twice), in the order they joined;
 * returns how many there are. Whoever is in the group all the time meanwhile is written, if there
 * is room. */
WEFT_API uint32_t weft_group_members(weft_runtime *runtime, const char *group, size_t size,
                                     weft_pid *ret_pids, uint32_t max);
/* What is sent to all. */
typedef struct weft_broadcast {
    size_t struct_size; /* WEFT_BROADCAST_INIT */
    weft_pid except;    /* this member gets nothing; none: all do, this actor too if it is one */
    uint32_t tag;
    const void *data; /* [borrow], copied; above 224 bytes once, for all */
    size_t size;
} weft_broadcast;
#define WEFT_BROADCAST_INIT sizeof(weft_broadcast)
/* Sends to every member, once each, from this actor, in the order they joined. Who is in the group
 * all the time meanwhile gets it; who joins or leaves may or may not, and not twice. Returns to how
 * many weft_send would have answered 0 (a full mailbox refuses, is not counted, and no READY
 * follows); -EINVAL; -EMSGSIZE; -ENOMEM: some may have got it. O(members), within this turn. Actor
 * only. */
WEFT_API int weft_group_broadcast(weft_ctx *ctx, const char *group, size_t size,
                                  const weft_broadcast *what);

WEFT_END_DECLS

#endif
