/* SPDX-License-Identifier: MIT
 *
 * See command.h. Flags and key positions are those that redis-server 7.0 gives with COMMAND INFO.
 *
 * A new command needs its number in command.h, a row in `commands`, and its place in `by_size`: names
 * are looked up among those of the same length, the most frequent ones first. The unit test finds a
 * name that was forgotten.
 */
#include "command.h"

#include "execute.h"

#include <string.h>

/* What most rows have, by a short name. */
enum {
    READS = COMMAND_READONLY | COMMAND_NEVER_CREATES,
    CREATES = COMMAND_WRITE | COMMAND_DENYOOM,
    REMOVES = COMMAND_WRITE | COMMAND_NEVER_CREATES,
    ONLY_IF_THERE = COMMAND_NEVER_CREATES,
    FAST = COMMAND_FAST,
    MANY = COMMAND_MANY_KEYS,
    NO_KEY = COMMAND_NO_KEY,
    ANYTIME = COMMAND_LOADING | COMMAND_STALE,
    OPEN = COMMAND_NOSCRIPT | COMMAND_NO_AUTH | COMMAND_ALLOW_BUSY,
    CHANNELS = COMMAND_IS_PUBSUB,
};

/* name, arity, first key, last key, key step, flags, function */
const command commands[COMMAND_COUNT] = {
    /* keys of any type */
    [COMMAND_DEL] = {"del", -2, 1, -1, 1, REMOVES | MANY, execute_del},
    [COMMAND_UNLINK] = {"unlink", -2, 1, -1, 1, REMOVES | MANY | FAST, execute_del},
    [COMMAND_EXISTS] = {"exists", -2, 1, -1, 1, READS | MANY | FAST, execute_exists},
    [COMMAND_TOUCH] = {"touch", -2, 1, -1, 1, READS | MANY | FAST, execute_exists},
    [COMMAND_TYPE] = {"type", 2, 1, 1, 1, READS | FAST, execute_type},
    [COMMAND_EXPIRE] = {"expire", -3, 1, 1, 1, REMOVES | FAST, execute_expire},
    [COMMAND_PEXPIRE] = {"pexpire", -3, 1, 1, 1, REMOVES | FAST, execute_pexpire},
    [COMMAND_EXPIREAT] = {"expireat", -3, 1, 1, 1, REMOVES | FAST, execute_expireat},
    [COMMAND_PEXPIREAT] = {"pexpireat", -3, 1, 1, 1, REMOVES | FAST, execute_pexpireat},
    [COMMAND_TTL] = {"ttl", 2, 1, 1, 1, READS | FAST, execute_ttl},
    [COMMAND_PTTL] = {"pttl", 2, 1, 1, 1, READS | FAST, execute_pttl},
    [COMMAND_EXPIRETIME] = {"expiretime", 2, 1, 1, 1, READS | FAST, execute_expiretime},
    [COMMAND_PEXPIRETIME] = {"pexpiretime", 2, 1, 1, 1, READS | FAST, execute_pexpiretime},
    [COMMAND_PERSIST] = {"persist", 2, 1, 1, 1, REMOVES | FAST, execute_persist},
    /* strings */
    [COMMAND_SET] = {"set", -3, 1, 1, 1, CREATES, execute_set},
    [COMMAND_GET] = {"get", 2, 1, 1, 1, READS | FAST, execute_get},
    [COMMAND_GETSET] = {"getset", 3, 1, 1, 1, CREATES | FAST, execute_getset},
    [COMMAND_GETDEL] = {"getdel", 2, 1, 1, 1, REMOVES | FAST, execute_getdel},
    [COMMAND_GETEX] = {"getex", -2, 1, 1, 1, REMOVES | FAST, execute_getex},
    [COMMAND_SETNX] = {"setnx", 3, 1, 1, 1, CREATES | FAST, execute_setnx},
    [COMMAND_SETEX] = {"setex", 4, 1, 1, 1, CREATES, execute_setex},
    [COMMAND_PSETEX] = {"psetex", 4, 1, 1, 1, CREATES, execute_psetex},
    [COMMAND_MGET] = {"mget", -2, 1, -1, 1, READS | MANY | FAST, execute_mget},
    [COMMAND_MSET] = {"mset", -3, 1, -1, 2, CREATES | MANY, execute_set},
    [COMMAND_INCR] = {"incr", 2, 1, 1, 1, CREATES | FAST, execute_incr},
    [COMMAND_DECR] = {"decr", 2, 1, 1, 1, CREATES | FAST, execute_decr},
    [COMMAND_INCRBY] = {"incrby", 3, 1, 1, 1, CREATES | FAST, execute_incrby},
    [COMMAND_DECRBY] = {"decrby", 3, 1, 1, 1, CREATES | FAST, execute_decrby},
    [COMMAND_INCRBYFLOAT] = {"incrbyfloat", 3, 1, 1, 1, CREATES | FAST, execute_incrbyfloat},
    [COMMAND_APPEND] = {"append", 3, 1, 1, 1, CREATES | FAST, execute_append},
    [COMMAND_STRLEN] = {"strlen", 2, 1, 1, 1, READS | FAST, execute_strlen},
    [COMMAND_GETRANGE] = {"getrange", 4, 1, 1, 1, READS, execute_getrange},
    [COMMAND_SUBSTR] = {"substr", 4, 1, 1, 1, READS, execute_getrange},
    [COMMAND_SETRANGE] = {"setrange", 4, 1, 1, 1, CREATES, execute_setrange},
    /* lists */
    [COMMAND_LPUSH] = {"lpush", -3, 1, 1, 1, CREATES | FAST, execute_lpush},
    [COMMAND_RPUSH] = {"rpush", -3, 1, 1, 1, CREATES | FAST, execute_rpush},
    [COMMAND_LPUSHX] = {"lpushx", -3, 1, 1, 1, CREATES | FAST | ONLY_IF_THERE, execute_lpushx},
    [COMMAND_RPUSHX] = {"rpushx", -3, 1, 1, 1, CREATES | FAST | ONLY_IF_THERE, execute_rpushx},
    [COMMAND_LPOP] = {"lpop", -2, 1, 1, 1, REMOVES | FAST, execute_lpop},
    [COMMAND_RPOP] = {"rpop", -2, 1, 1, 1, REMOVES | FAST, execute_rpop},
    [COMMAND_LLEN] = {"llen", 2, 1, 1, 1, READS | FAST, execute_llen},
    [COMMAND_LRANGE] = {"lrange", 4, 1, 1, 1, READS, execute_lrange},
    [COMMAND_LINDEX] = {"lindex", 3, 1, 1, 1, READS, execute_lindex},
    [COMMAND_LSET] = {"lset", 4, 1, 1, 1, CREATES | ONLY_IF_THERE, execute_lset},
    [COMMAND_LREM] = {"lrem", 4, 1, 1, 1, REMOVES, execute_lrem},
    [COMMAND_LTRIM] = {"ltrim", 4, 1, 1, 1, REMOVES, execute_ltrim},
    [COMMAND_LINSERT] = {"linsert", 5, 1, 1, 1, CREATES | ONLY_IF_THERE, execute_linsert},
    /* hashes */
    [COMMAND_HSET] = {"hset", -4, 1, 1, 1, CREATES | FAST, execute_hset},
    [COMMAND_HMSET] = {"hmset", -4, 1, 1, 1, CREATES | FAST, execute_hmset},
    [COMMAND_HSETNX] = {"hsetnx", 4, 1, 1, 1, CREATES | FAST, execute_hsetnx},
    [COMMAND_HGET] = {"hget", 3, 1, 1, 1, READS | FAST, execute_hget},
    [COMMAND_HMGET] = {"hmget", -3, 1, 1, 1, READS | FAST, execute_hmget},
    [COMMAND_HDEL] = {"hdel", -3, 1, 1, 1, REMOVES | FAST, execute_hdel},
    [COMMAND_HGETALL] = {"hgetall", 2, 1, 1, 1, READS, execute_hgetall},
    [COMMAND_HKEYS] = {"hkeys", 2, 1, 1, 1, READS, execute_hkeys},
    [COMMAND_HVALS] = {"hvals", 2, 1, 1, 1, READS, execute_hvals},
    [COMMAND_HEXISTS] = {"hexists", 3, 1, 1, 1, READS | FAST, execute_hexists},
    [COMMAND_HINCRBY] = {"hincrby", 4, 1, 1, 1, CREATES | FAST, execute_hincrby},
    [COMMAND_HINCRBYFLOAT] = {"hincrbyfloat", 4, 1, 1, 1, CREATES | FAST, execute_hincrbyfloat},
    [COMMAND_HLEN] = {"hlen", 2, 1, 1, 1, READS | FAST, execute_hlen},
    [COMMAND_HSTRLEN] = {"hstrlen", 3, 1, 1, 1, READS | FAST, execute_hstrlen},
    /* sets */
    [COMMAND_SADD] = {"sadd", -3, 1, 1, 1, CREATES | FAST, execute_sadd},
    [COMMAND_SREM] = {"srem", -3, 1, 1, 1, REMOVES | FAST, execute_srem},
    [COMMAND_SISMEMBER] = {"sismember", 3, 1, 1, 1, READS | FAST, execute_sismember},
    [COMMAND_SMISMEMBER] = {"smismember", -3, 1, 1, 1, READS | FAST, execute_smismember},
    [COMMAND_SMEMBERS] = {"smembers", 2, 1, 1, 1, READS, execute_smembers},
    [COMMAND_SCARD] = {"scard", 2, 1, 1, 1, READS | FAST, execute_scard},
    [COMMAND_SPOP] = {"spop", -2, 1, 1, 1, REMOVES | FAST, execute_spop},
    [COMMAND_SRANDMEMBER] = {"srandmember", -2, 1, 1, 1, READS, execute_srandmember},
    /* sorted sets */
    [COMMAND_ZADD] = {"zadd", -4, 1, 1, 1, CREATES | FAST, execute_zadd},
    [COMMAND_ZSCORE] = {"zscore", 3, 1, 1, 1, READS | FAST, execute_zscore},
    [COMMAND_ZMSCORE] = {"zmscore", -3, 1, 1, 1, READS | FAST, execute_zmscore},
    [COMMAND_ZINCRBY] = {"zincrby", 4, 1, 1, 1, CREATES | FAST, execute_zincrby},
    [COMMAND_ZRANGE] = {"zrange", -4, 1, 1, 1, READS, execute_zrange},
    [COMMAND_ZRANGEBYSCORE] = {"zrangebyscore", -4, 1, 1, 1, READS, execute_zrangebyscore},
    [COMMAND_ZREVRANGE] = {"zrevrange", -4, 1, 1, 1, READS, execute_zrevrange},
    [COMMAND_ZRANK] = {"zrank", 3, 1, 1, 1, READS | FAST, execute_zrank},
    [COMMAND_ZREVRANK] = {"zrevrank", 3, 1, 1, 1, READS | FAST, execute_zrevrank},
    [COMMAND_ZCOUNT] = {"zcount", 4, 1, 1, 1, READS | FAST, execute_zcount},
    [COMMAND_ZPOPMIN] = {"zpopmin", -2, 1, 1, 1, REMOVES | FAST, execute_zpopmin},
    [COMMAND_ZPOPMAX] = {"zpopmax", -2, 1, 1, 1, REMOVES | FAST, execute_zpopmax},
    [COMMAND_ZREM] = {"zrem", -3, 1, 1, 1, REMOVES | FAST, execute_zrem},
    [COMMAND_ZCARD] = {"zcard", 2, 1, 1, 1, READS | FAST, execute_zcard},
    /* no key */
    [COMMAND_PING] = {"ping", -1, 0, 0, 0, FAST | NO_KEY, NULL},
    [COMMAND_ECHO] = {"echo", 2, 0, 0, 0, ANYTIME | FAST | NO_KEY, NULL},
    [COMMAND_SELECT] = {"select", 2, 0, 0, 0, ANYTIME | FAST | NO_KEY, NULL},
    [COMMAND_QUIT] = {"quit", -1, 0, 0, 0, ANYTIME | OPEN | FAST | NO_KEY, NULL},
    [COMMAND_HELLO] = {"hello", -1, 0, 0, 0, ANYTIME | OPEN | FAST | NO_KEY, NULL},
    [COMMAND_AUTH] = {"auth", -2, 0, 0, 0, ANYTIME | OPEN | FAST | NO_KEY, NULL},
    [COMMAND_RESET] = {"reset", 1, 0, 0, 0, ANYTIME | OPEN | FAST | NO_KEY, NULL},
    [COMMAND_CLIENT] = {"client", -2, 0, 0, 0, NO_KEY, NULL},
    [COMMAND_CONFIG] = {"config", -2, 0, 0, 0, NO_KEY, NULL},
    [COMMAND_COMMAND] = {"command", -1, 0, 0, 0, ANYTIME | NO_KEY, NULL},
    [COMMAND_INFO] = {"info", -1, 0, 0, 0, ANYTIME | NO_KEY, NULL},
    [COMMAND_DBSIZE] = {"dbsize", 1, 0, 0, 0, FAST | NO_KEY | COMMAND_READONLY, NULL},
    [COMMAND_FLUSHALL] = {"flushall", -1, 0, 0, 0, NO_KEY | COMMAND_WRITE, NULL},
    [COMMAND_FLUSHDB] = {"flushdb", -1, 0, 0, 0, NO_KEY | COMMAND_WRITE, NULL},
    [COMMAND_TIME] = {"time", 1, 0, 0, 0, ANYTIME | FAST | NO_KEY, NULL},
    [COMMAND_KEYS] = {"keys", 2, 0, 0, 0, NO_KEY | COMMAND_READONLY, NULL},
    [COMMAND_SCAN] = {"scan", -2, 0, 0, 0, NO_KEY | COMMAND_READONLY, NULL},
    [COMMAND_SUBSCRIBE] = {"subscribe", -2, 0, 0, 0, ANYTIME | CHANNELS | NO_KEY | COMMAND_NOSCRIPT,
                           NULL},
    [COMMAND_UNSUBSCRIBE] = {"unsubscribe", -1, 0, 0, 0,
                             ANYTIME | CHANNELS | NO_KEY | COMMAND_NOSCRIPT, NULL},
    [COMMAND_PUBLISH] = {"publish", 3, 0, 0, 0, ANYTIME | FAST | CHANNELS | NO_KEY, NULL},
};

/* ---- lookup ----------------------------------------------------------------------------------- */

enum { NAME_MAX_SIZE = 13, SAME_SIZE_MAX = 28 };

/* Numbers of the commands whose names have that many letters. */
static const struct {
    uint8_t count;
    uint8_t numbers[SAME_SIZE_MAX];
} by_size[NAME_MAX_SIZE + 1] = {
    [3] = {4, {COMMAND_GET, COMMAND_SET, COMMAND_DEL, COMMAND_TTL}},
    [4] = {28, {COMMAND_MGET, COMMAND_MSET, COMMAND_INCR, COMMAND_DECR, COMMAND_HSET, COMMAND_HGET,
                COMMAND_LPOP, COMMAND_RPOP, COMMAND_SADD, COMMAND_SPOP, COMMAND_ZADD, COMMAND_PING,
                COMMAND_TYPE, COMMAND_PTTL, COMMAND_LLEN, COMMAND_LSET, COMMAND_LREM, COMMAND_HDEL,
                COMMAND_HLEN, COMMAND_SREM, COMMAND_ZREM, COMMAND_ECHO, COMMAND_QUIT, COMMAND_AUTH,
                COMMAND_INFO, COMMAND_TIME, COMMAND_KEYS, COMMAND_SCAN}},
    [5] = {16,
           {COMMAND_LPUSH, COMMAND_RPUSH, COMMAND_TOUCH, COMMAND_GETEX, COMMAND_SETNX,
            COMMAND_SETEX, COMMAND_LTRIM, COMMAND_HMSET, COMMAND_HMGET, COMMAND_HKEYS,
            COMMAND_HVALS, COMMAND_SCARD, COMMAND_ZRANK, COMMAND_ZCARD, COMMAND_HELLO,
            COMMAND_RESET}},
    [6] = {23, {COMMAND_UNLINK, COMMAND_EXISTS, COMMAND_EXPIRE, COMMAND_GETSET, COMMAND_GETDEL,
                COMMAND_PSETEX, COMMAND_INCRBY, COMMAND_DECRBY, COMMAND_APPEND, COMMAND_STRLEN,
                COMMAND_SUBSTR, COMMAND_LPUSHX, COMMAND_RPUSHX, COMMAND_LRANGE, COMMAND_LINDEX,
                COMMAND_HSETNX, COMMAND_ZSCORE, COMMAND_ZRANGE, COMMAND_ZCOUNT, COMMAND_SELECT,
                COMMAND_CLIENT, COMMAND_CONFIG, COMMAND_DBSIZE}},
    [7] = {14,
           {COMMAND_PEXPIRE, COMMAND_PERSIST, COMMAND_LINSERT, COMMAND_HGETALL, COMMAND_HEXISTS,
            COMMAND_HINCRBY, COMMAND_HSTRLEN, COMMAND_ZMSCORE, COMMAND_ZINCRBY, COMMAND_ZPOPMIN,
            COMMAND_ZPOPMAX, COMMAND_COMMAND, COMMAND_FLUSHDB, COMMAND_PUBLISH}},
    [8] = {6,
           {COMMAND_EXPIREAT, COMMAND_GETRANGE, COMMAND_SETRANGE, COMMAND_SMEMBERS,
            COMMAND_ZREVRANK, COMMAND_FLUSHALL}},
    [9] = {4, {COMMAND_PEXPIREAT, COMMAND_SISMEMBER, COMMAND_ZREVRANGE, COMMAND_SUBSCRIBE}},
    [10] = {2, {COMMAND_EXPIRETIME, COMMAND_SMISMEMBER}},
    [11] = {4,
            {COMMAND_PEXPIRETIME, COMMAND_INCRBYFLOAT, COMMAND_SRANDMEMBER, COMMAND_UNSUBSCRIBE}},
    [12] = {1, {COMMAND_HINCRBYFLOAT}},
    [13] = {1, {COMMAND_ZRANGEBYSCORE}},
};

_Static_assert(COMMAND_COUNT <= UINT8_MAX, "a number fits one byte");

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

const command *command_find(const char *name, size_t size) {
    char wanted[NAME_MAX_SIZE];
    if (size > NAME_MAX_SIZE) {
        return NULL;
    }
    for (size_t i = 0; i < size; i++) {
        wanted[i] = lower(name[i]);
    }
    for (uint32_t i = 0; i < by_size[size].count; i++) {
        const command *found = &commands[by_size[size].numbers[i]];
        if (found->name[0] == wanted[0] && memcmp(found->name, wanted, size) == 0) {
            return found;
        }
    }
    return NULL;
}
