/* SPDX-License-Identifier: MIT
 *
 * Inside of the data types: the functions that execute key commands, and what they share: reading
 * arguments, and the errors that many of them have. Only value.c, command.c and the files of the
 * data types need it.
 *
 * The order of checks inside of an execute_ function is Redis's and may not be changed: a wrong
 * option is found before a wrong type in some commands and after it in others.
 */
#ifndef EXAMPLES_RESP_EXECUTE_H
#define EXAMPLES_RESP_EXECUTE_H

#include "value.h"

#define ERROR_SYNTAX        "ERR syntax error"
#define ERROR_NO_KEY        "ERR no such key"
#define ERROR_NO_INDEX      "ERR index out of range"
#define ERROR_NOT_INTEGER   "ERR value is not an integer or out of range"
#define ERROR_NOT_FLOAT     "ERR value is not a valid float"
#define ERROR_OVERFLOW      "ERR increment or decrement would overflow"
#define ERROR_NOT_A_NUMBER  "ERR increment would produce NaN or Infinity"
#define ERROR_OUT_OF_MEMORY "OOM command not allowed when used memory > 'maxmemory'."

/* ---- arguments: false when it is wrong, and the error is written ------------------------------ */

/* Is it this word, in any case? Like Redis it ends at a zero byte. */
bool argument_is(slice argument, const char *word);
bool argument_integer(slice argument, int64_t *ret_number, reply *out);
/* Not negative. */
bool argument_count(slice argument, int64_t *ret_count, reply *out);
bool argument_double(slice argument, double *ret_number, reply *out);
bool argument_long_double(slice argument, long double *ret_number, reply *out);
/* Has the value this type, or is there nothing? */
bool argument_type(const value *self, enum value_type type, reply *out);

void reply_wrong_arity(reply *out, const call *request);
void reply_bad_expire_time(reply *out, const call *request);

/* First and last element of a range given as Redis does: negative ones count from the end. */
typedef struct span {
    int64_t start; /* in 0..count */
    int64_t count; /* 0: empty */
} span;
span span_of(int64_t start, int64_t stop, int64_t count);

/* ---- values ----------------------------------------------------------------------------------- */

/* Replaces what is there; the expiry stays. */
void value_take_string(value *self, struct text *string);

/* ---- commands ---------------------------------------------------------------------------------- */

/* keys of any type */
void execute_del(value *self, const call *request, reply *out);
void execute_exists(value *self, const call *request, reply *out);
void execute_type(value *self, const call *request, reply *out);
void execute_expire(value *self, const call *request, reply *out);
void execute_pexpire(value *self, const call *request, reply *out);
void execute_expireat(value *self, const call *request, reply *out);
void execute_pexpireat(value *self, const call *request, reply *out);
void execute_ttl(value *self, const call *request, reply *out);
void execute_pttl(value *self, const call *request, reply *out);
void execute_expiretime(value *self, const call *request, reply *out);
void execute_pexpiretime(value *self, const call *request, reply *out);
void execute_persist(value *self, const call *request, reply *out);

/* strings */
void execute_set(value *self, const call *request, reply *out);
void execute_get(value *self, const call *request, reply *out);
void execute_getset(value *self, const call *request, reply *out);
void execute_getdel(value *self, const call *request, reply *out);
void execute_getex(value *self, const call *request, reply *out);
void execute_setnx(value *self, const call *request, reply *out);
void execute_setex(value *self, const call *request, reply *out);
void execute_psetex(value *self, const call *request, reply *out);
void execute_mget(value *self, const call *request, reply *out);
void execute_incr(value *self, const call *request, reply *out);
void execute_decr(value *self, const call *request, reply *out);
void execute_incrby(value *self, const call *request, reply *out);
void execute_decrby(value *self, const call *request, reply *out);
void execute_incrbyfloat(value *self, const call *request, reply *out);
void execute_append(value *self, const call *request, reply *out);
void execute_strlen(value *self, const call *request, reply *out);
void execute_getrange(value *self, const call *request, reply *out);
void execute_setrange(value *self, const call *request, reply *out);

/* lists */
void execute_lpush(value *self, const call *request, reply *out);
void execute_rpush(value *self, const call *request, reply *out);
void execute_lpushx(value *self, const call *request, reply *out);
void execute_rpushx(value *self, const call *request, reply *out);
void execute_lpop(value *self, const call *request, reply *out);
void execute_rpop(value *self, const call *request, reply *out);
void execute_llen(value *self, const call *request, reply *out);
void execute_lrange(value *self, const call *request, reply *out);
void execute_lindex(value *self, const call *request, reply *out);
void execute_lset(value *self, const call *request, reply *out);
void execute_lrem(value *self, const call *request, reply *out);
void execute_ltrim(value *self, const call *request, reply *out);
void execute_linsert(value *self, const call *request, reply *out);

/* hashes */
void execute_hset(value *self, const call *request, reply *out);
void execute_hmset(value *self, const call *request, reply *out);
void execute_hsetnx(value *self, const call *request, reply *out);
void execute_hget(value *self, const call *request, reply *out);
void execute_hmget(value *self, const call *request, reply *out);
void execute_hdel(value *self, const call *request, reply *out);
void execute_hgetall(value *self, const call *request, reply *out);
void execute_hkeys(value *self, const call *request, reply *out);
void execute_hvals(value *self, const call *request, reply *out);
void execute_hexists(value *self, const call *request, reply *out);
void execute_hincrby(value *self, const call *request, reply *out);
void execute_hincrbyfloat(value *self, const call *request, reply *out);
void execute_hlen(value *self, const call *request, reply *out);
void execute_hstrlen(value *self, const call *request, reply *out);

/* sets */
void execute_sadd(value *self, const call *request, reply *out);
void execute_srem(value *self, const call *request, reply *out);
void execute_sismember(value *self, const call *request, reply *out);
void execute_smismember(value *self, const call *request, reply *out);
void execute_smembers(value *self, const call *request, reply *out);
void execute_scard(value *self, const call *request, reply *out);
void execute_spop(value *self, const call *request, reply *out);
void execute_srandmember(value *self, const call *request, reply *out);

/* sorted sets */
void execute_zadd(value *self, const call *request, reply *out);
void execute_zscore(value *self, const call *request, reply *out);
void execute_zmscore(value *self, const call *request, reply *out);
void execute_zincrby(value *self, const call *request, reply *out);
void execute_zrange(value *self, const call *request, reply *out);
void execute_zrangebyscore(value *self, const call *request, reply *out);
void execute_zrevrange(value *self, const call *request, reply *out);
void execute_zrank(value *self, const call *request, reply *out);
void execute_zrevrank(value *self, const call *request, reply *out);
void execute_zcount(value *self, const call *request, reply *out);
void execute_zpopmin(value *self, const call *request, reply *out);
void execute_zpopmax(value *self, const call *request, reply *out);
void execute_zrem(value *self, const call *request, reply *out);
void execute_zcard(value *self, const call *request, reply *out);

#endif
