/* SPDX-License-Identifier: MIT
 *
 * The table of all commands: what COMMAND INFO says of them (name, arity, flags, where the keys are)
 * and, for commands of one key, the function that executes them. Constant data; any thread.
 *
 * Commands of several keys (DEL, UNLINK, EXISTS, TOUCH, MGET, MSET) have a function too: it does the
 * part of one key. Its call has no arguments (MSET: the value alone) and its reply is :1 or :0,
 * a bulk or null, or +OK; the connection joins the parts.
 */
#ifndef EXAMPLES_RESP_COMMAND_H
#define EXAMPLES_RESP_COMMAND_H

#include "value.h"

/* The number of a command is its place in the table. */
enum command_number {
    /* keys of any type */
    COMMAND_DEL,
    COMMAND_UNLINK,
    COMMAND_EXISTS,
    COMMAND_TOUCH,
    COMMAND_TYPE,
    COMMAND_EXPIRE,
    COMMAND_PEXPIRE,
    COMMAND_EXPIREAT,
    COMMAND_PEXPIREAT,
    COMMAND_TTL,
    COMMAND_PTTL,
    COMMAND_EXPIRETIME,
    COMMAND_PEXPIRETIME,
    COMMAND_PERSIST,
    /* strings */
    COMMAND_SET,
    COMMAND_GET,
    COMMAND_GETSET,
    COMMAND_GETDEL,
    COMMAND_GETEX,
    COMMAND_SETNX,
    COMMAND_SETEX,
    COMMAND_PSETEX,
    COMMAND_MGET,
    COMMAND_MSET,
    COMMAND_INCR,
    COMMAND_DECR,
    COMMAND_INCRBY,
    COMMAND_DECRBY,
    COMMAND_INCRBYFLOAT,
    COMMAND_APPEND,
    COMMAND_STRLEN,
    COMMAND_GETRANGE,
    COMMAND_SUBSTR,
    COMMAND_SETRANGE,
    /* lists */
    COMMAND_LPUSH,
    COMMAND_RPUSH,
    COMMAND_LPUSHX,
    COMMAND_RPUSHX,
    COMMAND_LPOP,
    COMMAND_RPOP,
    COMMAND_LLEN,
    COMMAND_LRANGE,
    COMMAND_LINDEX,
    COMMAND_LSET,
    COMMAND_LREM,
    COMMAND_LTRIM,
    COMMAND_LINSERT,
    /* hashes */
    COMMAND_HSET,
    COMMAND_HMSET,
    COMMAND_HSETNX,
    COMMAND_HGET,
    COMMAND_HMGET,
    COMMAND_HDEL,
    COMMAND_HGETALL,
    COMMAND_HKEYS,
    COMMAND_HVALS,
    COMMAND_HEXISTS,
    COMMAND_HINCRBY,
    COMMAND_HINCRBYFLOAT,
    COMMAND_HLEN,
    COMMAND_HSTRLEN,
    /* sets */
    COMMAND_SADD,
    COMMAND_SREM,
    COMMAND_SISMEMBER,
    COMMAND_SMISMEMBER,
    COMMAND_SMEMBERS,
    COMMAND_SCARD,
    COMMAND_SPOP,
    COMMAND_SRANDMEMBER,
    /* sorted sets */
    COMMAND_ZADD,
    COMMAND_ZSCORE,
    COMMAND_ZMSCORE,
    COMMAND_ZINCRBY,
    COMMAND_ZRANGE,
    COMMAND_ZRANGEBYSCORE,
    COMMAND_ZREVRANGE,
    COMMAND_ZRANK,
    COMMAND_ZREVRANK,
    COMMAND_ZCOUNT,
    COMMAND_ZPOPMIN,
    COMMAND_ZPOPMAX,
    COMMAND_ZREM,
    COMMAND_ZCARD,
    /* no key: execute is NULL, the connection answers them */
    COMMAND_PING,
    COMMAND_ECHO,
    COMMAND_SELECT,
    COMMAND_QUIT,
    COMMAND_HELLO,
    COMMAND_AUTH,
    COMMAND_RESET,
    COMMAND_CLIENT,
    COMMAND_CONFIG,
    COMMAND_COMMAND,
    COMMAND_INFO,
    COMMAND_DBSIZE,
    COMMAND_FLUSHALL,
    COMMAND_FLUSHDB,
    COMMAND_TIME,
    COMMAND_KEYS,
    COMMAND_SCAN,
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_PUBLISH,
    COMMAND_COUNT
};

/* The first ones are Redis's own flags of these names; the last three are for the connection. */
enum command_flag {
    COMMAND_WRITE = 1 << 0,
    COMMAND_READONLY = 1 << 1,
    COMMAND_DENYOOM = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_IS_PUBSUB = 1 << 4,
    COMMAND_NOSCRIPT = 1 << 5,
    COMMAND_LOADING = 1 << 6,
    COMMAND_STALE = 1 << 7,
    COMMAND_FAST = 1 << 8,
    COMMAND_NO_AUTH = 1 << 9,
    COMMAND_ALLOW_BUSY = 1 << 10,
    /* Never creates a key: executed on nothing it leaves nothing, so a key without an actor is
     * answered by executing it on an empty value, without waking an actor. */
    COMMAND_NEVER_CREATES = 1 << 16,
    /* Any number of keys, from first_key by key_step; each part is executed by itself. */
    COMMAND_MANY_KEYS = 1 << 17,
    COMMAND_NO_KEY = 1 << 18,
};

typedef void (*command_fn)(value *self, const call *request, reply *out);

typedef struct command {
    const char *name; /* in lower case */
    int16_t arity;    /* with the name; negative: at least as many */
    int16_t first_key;
    int16_t last_key; /* negative: counted from the end */
    int16_t key_step;
    uint32_t flags;
    command_fn execute; /* NULL for commands without a key */
} command;

extern const command commands[COMMAND_COUNT];

/* In any case of letters; NULL if there is none. */
const command *command_find(const char *name, size_t size);
/* count: words of the request, with the name. */
static inline bool command_takes(const command *self, uint32_t count) {
    return self->arity >= 0 ? count == (uint32_t)self->arity : count >= (uint32_t)-self->arity;
}
static inline uint32_t command_number(const command *self) {
    return (uint32_t)(self - commands);
}

#endif
