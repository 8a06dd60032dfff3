/* SPDX-License-Identifier: MIT
 *
 * Data types and key commands of examples/resp, without a runtime: a value and a call are all they
 * need. Exact replies of redis-server are compared in tests/integration; here is what that cannot
 * see: the structures against simple models, memory that runs out at any allocation, time.
 *
 * malloc, calloc and realloc are wrapped by the linker (tests/meson.build).
 */
#include "tests/unit/support.h"

/* After it: names of types here are names of parameters there. */
#include "examples/resp/command.h"
#include "examples/resp/number.h"
#include "examples/resp/table.h"

#include <math.h>

/* ---- memory that runs out --------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static int64_t allocations_left = -1; /* negative: no limit */

static bool runs_out(void) {
    if (allocations_left < 0) {
        return false;
    }
    return allocations_left == 0 || allocations_left-- == 0;
}

void *__wrap_malloc(size_t size) {
    return runs_out() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return runs_out() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return runs_out() ? NULL : __real_realloc(memory, size);
}

/* ---- commands --------------------------------------------------------------------------------- */

enum { ANSWER_MAX = 1 << 20, WORDS_MAX = 4096 };

static uint64_t random_state = 1;

static uint64_t random_next(void *cookie) {
    (void)cookie;
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t word = random_state;
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

static uint32_t random_below(uint32_t bound) {
    return (uint32_t)(random_next(NULL) % bound);
}

struct client {
    value value;
    int protocol;
    int64_t now_ms;
    char answer[ANSWER_MAX]; /* with a zero at the end */
};

static struct client client = {.protocol = 2, .now_ms = 1000000};

static void execute(const char *name, const slice *args, uint32_t count) {
    const command *found = command_find(name, strlen(name));
    ck_assert_ptr_nonnull(found);
    ck_assert_ptr_nonnull(found->execute);
    call request = {.command = found, .args = args, .count = count, .now_ms = client.now_ms};
    request.random = random_next;
    reply out;
    reply_init(&out, client.protocol, client.answer, sizeof(client.answer) - 1);
    value_execute(&client.value, &request, &out);
    ck_assert(!out.failed);
    ck_assert(!out.owned);
    client.answer[out.size] = '\0';
}

/* Words are parted by one space; the first is the command, there is no key. */
static const char *run(const char *line) {
    static char words[1 << 16];
    static slice args[WORDS_MAX];
    uint32_t count = 0;
    size_t size = strlen(line);
    ck_assert_uint_lt(size, sizeof(words));
    memcpy(words, line, size + 1);
    for (char *at = words; at != NULL && count < WORDS_MAX;) {
        char *end = strchr(at, ' ');
        args[count++] = (slice){at, end == NULL ? strlen(at) : (size_t)(end - at)};
        at = end == NULL ? NULL : end + 1;
        if (end != NULL) {
            *end = '\0';
        }
    }
    execute(args[0].data, args + 1, count - 1);
    return client.answer;
}

#define CHECK(line, expected)                                                                      \
    do {                                                                                           \
        const char *answer_ = run(line);                                                           \
        if (strcmp(answer_, expected) != 0) {                                                      \
            ck_abort_msg("%s: %s", line, answer_);                                                 \
        }                                                                                          \
    } while (0)

static void clear(void) {
    value_clear(&client.value);
}

/* ---- table of commands ------------------------------------------------------------------------ */

START_TEST(every_command_is_found_in_any_case) {
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        const char *name = commands[i].name;
        char upper[32] = {0};
        ck_assert_ptr_nonnull(name);
        for (size_t c = 0; name[c] != '\0'; c++) {
            upper[c] = (char)(name[c] - 'a' + 'A');
        }
        ck_assert_ptr_eq(command_find(name, strlen(name)), &commands[i]);
        ck_assert_ptr_eq(command_find(upper, strlen(name)), &commands[i]);
        ck_assert_ptr_ne(command_find(name, strlen(name) - 1), &commands[i]);
        ck_assert_uint_eq(command_number(&commands[i]), i);
        bool has_key = (commands[i].flags & COMMAND_NO_KEY) == 0;
        ck_assert((commands[i].execute != NULL) == has_key);
        ck_assert((commands[i].first_key != 0) == has_key);
    }
    ck_assert_ptr_null(command_find("", 0));
    ck_assert_ptr_null(command_find("get\0", 4));
    ck_assert_ptr_null(command_find("verylongnameofacommand", 22));
}
END_TEST

START_TEST(arity_is_exact_or_a_minimum) {
    const command *get = command_find("get", 3);
    const command *set = command_find("set", 3);
    ck_assert(command_takes(get, 2));
    ck_assert(!command_takes(get, 1));
    ck_assert(!command_takes(get, 3));
    ck_assert(!command_takes(set, 2));
    ck_assert(command_takes(set, 3));
    ck_assert(command_takes(set, 100));
}
END_TEST

/* ---- replies and numbers ---------------------------------------------------------------------- */

static void write_all(reply *out) {
    reply_status(out, "OK");
    reply_error_format(out, "ERR it's %s\r\n", "a\r\nb");
    reply_integer(out, INT64_MIN);
    reply_bulk(out, "a\0b", 3);
    reply_bulk(out, NULL, 0);
    reply_double(out, 0.1);
    reply_double(out, -INFINITY);
    reply_bool(out, true);
    reply_null(out);
    reply_null_array(out);
    reply_verbatim(out, "text", 4);
    reply_map(out, 2);
    reply_set(out, 3);
    reply_push(out, 4);
}

START_TEST(replies_have_the_form_of_the_protocol) {
    static const char two[] =
        "+OK\r\n-ERR it's a  b\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n"
        "$19\r\n0.10000000000000001\r\n$4\r\n-inf\r\n:1\r\n$-1\r\n*-1\r\n"
        "$4\r\ntext\r\n*4\r\n*3\r\n*4\r\n";
    static const char three[] =
        "+OK\r\n-ERR it's a  b\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n"
        ",0.10000000000000001\r\n,-inf\r\n#t\r\n_\r\n_\r\n"
        "=8\r\ntxt:text\r\n%2\r\n~3\r\n>4\r\n";
    char first[64];
    for (size_t first_size = 0; first_size <= sizeof(first); first_size += 16) {
        reply out;
        reply_init(&out, 2, first_size == 0 ? NULL : first, first_size);
        write_all(&out);
        ck_assert_uint_eq(out.size, sizeof(two) - 1);
        ck_assert_mem_eq(out.data, two, out.size);
        reply_free(&out);
        out.protocol = 3;
        write_all(&out);
        ck_assert_uint_eq(out.size, sizeof(three) - 1);
        ck_assert_mem_eq(out.data, three, out.size);
        reply_free(&out);
    }
}
END_TEST

START_TEST(a_reply_without_memory_fails_and_stays_failed) {
    char first[8];
    reply out;
    reply_init(&out, 2, first, sizeof(first));
    allocations_left = 0;
    reply_bulk(&out, "0123456789", 10);
    allocations_left = -1;
    ck_assert(out.failed);
    ck_assert_uint_eq(out.size, 0);
    reply_integer(&out, 1);
    ck_assert_uint_eq(out.size, 0);
    reply_free(&out);
    ck_assert(!out.failed);
}
END_TEST

START_TEST(integers_are_read_strictly) {
    static const char *const good[] = {
        "0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808"};
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "a",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t number = 0;
        char digits[NUMBER_INTEGER_MAX + 1] = {0};
        ck_assert(number_parse_integer((slice){good[i], strlen(good[i])}, &number));
        ck_assert_uint_eq(number_format_integer(digits, number), strlen(good[i]));
        ck_assert(strcmp(digits, good[i]) == 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t number = 0;
        ck_assert(!number_parse_integer((slice){bad[i], strlen(bad[i])}, &number));
    }
}
END_TEST

START_TEST(doubles_are_printed_as_printf_does) {
    for (uint32_t i = 0; i < 200000; i++) {
        double number = 0;
        uint64_t bits = random_next(NULL);
        memcpy(&number, &bits, sizeof(number));
        number = i % 2 == 0 ? number : (double)(int64_t)bits / pow(10, random_below(20));
        number = i % 3 == 0 ? floor(number) : number;
        if (!isfinite(number)) {
            continue;
        }
        char expected[64];
        char actual[NUMBER_DOUBLE_MAX + 1] = {0};
        int size = snprintf(expected, sizeof(expected), "%.17g", number);
        ck_assert_uint_eq(number_format_double(actual, number), (uint64_t)size);
        ck_assert(strcmp(actual, expected) == 0);
        double back = 0;
        bool is_parsed = number_parse_double((slice){actual, (size_t)size}, &back);
        ck_assert(!is_parsed || back == number);
        ck_assert(is_parsed || fabs(number) < 1e-300);
    }
}
END_TEST

/* ---- structures against models ---------------------------------------------------------------- */

START_TEST(a_text_is_what_was_written_to_it) {
    static char model[4096];
    static char letters[512];
    for (uint32_t round = 0; round < 2000; round++) {
        struct text text = {0};
        size_t size = 0;
        memset(model, 0, sizeof(model));
        for (uint32_t step = 0; step < 8; step++) {
            size_t at = random_below(round % 2 == 0 ? 20 : 2000);
            size_t count = random_below(round % 3 == 0 ? 12 : 500);
            memset(letters, (char)('a' + step), count);
            ck_assert(text_write(&text, at, (slice){letters, count}));
            memcpy(model + at, letters, count);
            size = at + count > size ? at + count : size;
            ck_assert_uint_eq(text_slice(&text).size, size);
            ck_assert_mem_eq(text_slice(&text).data, model, size);
        }
        text_free(&text);
    }
}
END_TEST

enum { MODEL_MAX = 600 };

static void check_list(const uint32_t *model, uint32_t count) {
    static slice range[2] = {{"0", 1}, {"-1", 2}};
    static char expected[ANSWER_MAX];
    size_t at = (size_t)snprintf(expected, sizeof(expected), "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        char digits[16];
        int size = snprintf(digits, sizeof(digits), "%u", model[i]);
        at += (size_t)snprintf(expected + at, 32, "$%d\r\n%s\r\n", size, digits);
    }
    execute("lrange", range, 2);
    ck_assert(strcmp(client.answer, expected) == 0);
}

static void push_or_pop(uint32_t *model, uint32_t *count, uint32_t number) {
    char line[64];
    bool front = random_below(2) == 0;
    if (*count < MODEL_MAX && random_below(100) < (number / 2000 % 2 == 0 ? 70 : 30)) {
        snprintf(line, sizeof(line), "%s %u", front ? "lpush" : "rpush", number % 50);
        memmove(model + (front ? 1 : 0), model, *count * sizeof(*model));
        model[front ? 0 : *count] = number % 50;
        ++*count;
    } else {
        snprintf(line, sizeof(line), "%s", front ? "lpop" : "rpop");
        *count -= *count == 0 ? 0 : 1;
        memmove(model, model + (front ? 1 : 0), *count * sizeof(*model));
    }
    run(line);
}

START_TEST(a_list_is_like_an_array) {
    static uint32_t model[MODEL_MAX + 1];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        push_or_pop(model, &count, i);
        if (i % 7 == 0 && count != 0 && count < MODEL_MAX) { /* before the first equal one */
            uint32_t pivot = model[random_below(count)];
            uint32_t at = 0;
            while (model[at] != pivot) {
                at++;
            }
            char line[64];
            snprintf(line, sizeof(line), "linsert before %u %u", pivot, i % 50);
            run(line);
            memmove(model + at + 1, model + at, (count - at) * sizeof(*model));
            model[at] = i % 50;
            count++;
        }
        if (i % 17 == 0 || count < 4) {
            check_list(model, count);
        }
    }
    clear();
}
END_TEST

START_TEST(a_table_finds_what_is_in_it_and_nothing_else) {
    static bool model[2000];
    uint64_t seed[2] = {1, 2};
    struct table *table = table_create(sizeof(struct text), seed);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t number = random_below(i / 20000 % 2 == 0 ? 2000 : 30);
        char name[64];
        int size = snprintf(name, sizeof(name), "a name of some length %u", number);
        slice key = {name, (size_t)size};
        struct text *found = table_find(table, key);
        ck_assert((found != NULL) == model[number]);
        bool removes = i / 10000 % 2 == 1;
        if (found == NULL && !removes) {
            struct text made;
            ck_assert(text_make(&made, key));
            ck_assert(table_reserve(table, 1));
            table_push(table, &made);
            model[number] = true;
            count++;
        } else if (found != NULL && removes) {
            table_remove(table, found);
            table_shrink(table);
            model[number] = false;
            count--;
        }
        ck_assert_uint_eq(table->count, count);
    }
    table_destroy(table);
}
END_TEST

START_TEST(a_small_hash_keeps_the_order_of_its_fields) {
    CHECK("hset c 1 a 2 b 3 d 4", ":4\r\n");
    CHECK("hset a 5", ":0\r\n");
    CHECK("hdel b", ":1\r\n");
    CHECK("hset b 6", ":1\r\n");
    CHECK("hkeys", "*4\r\n$1\r\nc\r\n$1\r\na\r\n$1\r\nd\r\n$1\r\nb\r\n");
    CHECK("hvals", "*4\r\n$1\r\n1\r\n$1\r\n5\r\n$1\r\n4\r\n$1\r\n6\r\n");
    CHECK("hdel a b c d e", ":4\r\n");
    ck_assert(value_is_none(&client.value, client.now_ms));
}
END_TEST

START_TEST(a_sorted_set_is_always_sorted) {
    enum { MEMBERS = 400 };
    static int32_t scores[MEMBERS]; /* -1: not there */
    memset(scores, 0xff, sizeof(scores));
    uint32_t count = 0;
    for (uint32_t i = 0; i < 30000; i++) {
        uint32_t member = random_below(MEMBERS);
        char line[64];
        if (random_below(100) < (i / 5000 % 2 == 0 ? 70 : 30)) {
            int32_t score = (int32_t)random_below(50);
            snprintf(line, sizeof(line), "zadd %d m%03u", score, member);
            CHECK(line, scores[member] < 0 ? ":1\r\n" : ":0\r\n");
            count += scores[member] < 0 ? 1 : 0;
            scores[member] = score;
        } else {
            snprintf(line, sizeof(line), "zrem m%03u", member);
            CHECK(line, scores[member] < 0 ? ":0\r\n" : ":1\r\n");
            count -= scores[member] < 0 ? 0 : 1;
            scores[member] = -1;
        }
        uint32_t wanted = random_below(MEMBERS);
        uint32_t rank = 0;
        for (uint32_t other = 0; other < MEMBERS; other++) {
            bool is_less = scores[other] < scores[wanted] ||
                           (scores[other] == scores[wanted] && other < wanted);
            rank += scores[other] >= 0 && is_less ? 1 : 0;
        }
        char expected[64];
        char reverse[64];
        snprintf(expected, sizeof(expected), scores[wanted] < 0 ? "$-1\r\n" : ":%u\r\n", rank);
        snprintf(reverse, sizeof(reverse), scores[wanted] < 0 ? "$-1\r\n" : ":%u\r\n",
                 count - 1 - rank);
        snprintf(line, sizeof(line), "zrank m%03u", wanted);
        CHECK(line, expected);
        snprintf(line, sizeof(line), "zrevrank m%03u", wanted);
        CHECK(line, reverse);
        if (scores[wanted] >= 0) {
            snprintf(line, sizeof(line), "zrange %u %u", rank, rank);
            snprintf(expected, sizeof(expected), "*1\r\n$4\r\nm%03u\r\n", wanted);
            CHECK(line, expected);
        }
    }
    clear();
}
END_TEST

START_TEST(random_members_are_members_and_all_of_them_come) {
    char line[8192] = "sadd";
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(line + strlen(line), 16, " %u", 1000 + i);
    }
    CHECK(line, ":100\r\n");
    uint32_t seen[100] = {0};
    for (uint32_t i = 0; i < 20000; i++) {
        unsigned member = 0;
        ck_assert(sscanf(run("srandmember"), "$4\r\n%u", &member) == 1);
        seen[member - 1000]++;
    }
    for (uint32_t i = 0; i < 100; i++) { /* 200 expected; 7 standard deviations */
        ck_assert(seen[i] > 100 && seen[i] < 300);
    }
    for (uint32_t count = 0; count <= 101; count++) { /* different ones */
        bool got[100] = {false};
        char ask[32];
        snprintf(ask, sizeof(ask), "srandmember %u", count);
        const char *at = strchr(run(ask), '\n') + 1;
        for (uint32_t i = 0; i < (count < 100 ? count : 100); i++, at += 10) {
            uint32_t member = (uint32_t)strtoul(at + 4, NULL, 10) - 1000;
            ck_assert(!got[member]);
            got[member] = true;
        }
        ck_assert(*at == '\0');
    }
    clear();
}
END_TEST

/* ---- time ------------------------------------------------------------------------------------- */

START_TEST(what_has_expired_is_not_there) {
    client.now_ms = 5000;
    CHECK("set v px 100", "+OK\r\n");
    CHECK("pttl", ":100\r\n");
    CHECK("pexpiretime", ":5100\r\n");
    client.now_ms = 5100;
    CHECK("get", "$1\r\nv\r\n");
    ck_assert(!value_is_none(&client.value, 5100));
    ck_assert(value_is_none(&client.value, 5101));
    client.now_ms = 5101;
    CHECK("incr", ":1\r\n");
    CHECK("ttl", ":-1\r\n");
    CHECK("expire 10", ":1\r\n");
    CHECK("incr", ":2\r\n");
    CHECK("ttl", ":10\r\n");
    client.now_ms = 5101 + 9501;
    CHECK("ttl", ":0\r\n");
    CHECK("set v keepttl", "+OK\r\n");
    CHECK("pttl", ":499\r\n");
    CHECK("pexpire -1", ":1\r\n");
    CHECK("exists", ":0\r\n");
    CHECK("set v exat 1", "+OK\r\n");
    ck_assert(value_is_none(&client.value, client.now_ms));
    CHECK("rpush a", ":1\r\n");
    CHECK("ttl", ":-1\r\n");
    clear();
    client.now_ms = 1000000;
}
END_TEST

/* ---- replies of redis-server 7.0 that are easy to get wrong ------------------------------------ */

START_TEST(scores_are_shown_as_redis_does) {
    CHECK("zadd -0 a 1e17 b 0x10 c inf d", ":4\r\n");
    CHECK("zmscore a b c d e", "*5\r\n$1\r\n0\r\n$5\r\n1e+17\r\n$2\r\n16\r\n$3\r\ninf\r\n$-1\r\n");
    CHECK("zincrby -inf d", "-ERR resulting score is not a number (NaN)\r\n");
    client.protocol = 3;
    CHECK("zpopmin 1", "*1\r\n*2\r\n$1\r\na\r\n,0\r\n");
    CHECK("zpopmax", "*2\r\n$1\r\nd\r\n,inf\r\n");
    CHECK("zrange (16 +inf byscore withscores", "*1\r\n*2\r\n$1\r\nb\r\n,1e+17\r\n");
    client.protocol = 2;
    clear();
}
END_TEST

START_TEST(checks_are_made_in_redis_order) {
    CHECK("rpush x", ":1\r\n");
    CHECK("incrbyfloat abc",
          "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    CHECK("incrby abc", "-ERR value is not an integer or out of range\r\n");
    CHECK("set v nx xx", "-ERR syntax error\r\n");
    CHECK("set v ex 0", "-ERR invalid expire time in 'set' command\r\n");
    CHECK("zadd nx gt 1 a",
          "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n");
    CHECK("expire 1 foo", "-ERR Unsupported option foo\r\n");
    CHECK("lpop 1 2", "-ERR wrong number of arguments for 'lpop' command\r\n");
    CHECK("mget", "$-1\r\n");
    CHECK("set v get", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    clear();
    CHECK("lset 0 a", "-ERR no such key\r\n");
    CHECK("lindex abc", "$-1\r\n");
    CHECK("getrange 5 -9", "$0\r\n\r\n");
    CHECK("setrange 536870912 a",
          "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    CHECK("incrbyfloat 1e-18", "$1\r\n0\r\n");
    clear();
}
END_TEST

START_TEST(a_reply_without_end_fails_and_ends) {
    const command *found = command_find("srandmember", 11);
    slice args[1] = {{"-9223372036854775807", 20}};
    call request = {.command = found, .args = args, .count = 1, .now_ms = 1};
    request.random = random_next;
    char line[1100] = "sadd ";
    memset(line + 5, 'x', 1000);
    CHECK(line, ":1\r\n");
    reply out;
    reply_init(&out, 2, NULL, 0);
    allocations_left = 12; /* as if memory was smaller than the bound of a reply */
    value_execute(&client.value, &request, &out);
    allocations_left = -1;
    ck_assert(out.failed);
    reply_free(&out);
    clear();
}
END_TEST

/* ---- memory that runs out --------------------------------------------------------------------- */

/* What can be seen of the value. */
static const char *describe(char *text, size_t size) {
    static const char *const shows[] = {
        "type", "pttl", "get", "lrange 0 -1", "hgetall", "smembers", "zrange 0 -1 withscores"};
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(shows) / sizeof(shows[0]); i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s", run(shows[i]));
    }
    return text;
}

#define LONG "a-text-that-is-much-too-long-to-lie-in-a-value-itself"

struct scarce {
    const char *prepare; /* NULL: nothing is there */
    const char *command;
};

static const struct scarce scarce[] = {
    {NULL, "set " LONG},
    {"set x px 5000", "set " LONG " get"},
    {"set x px 5000", "getset " LONG},
    {"set " LONG, "append " LONG LONG LONG},
    {"set x", "setrange 100 y"},
    {NULL, "setrange 100 y"},
    {"set 5", "incrbyfloat 1e300"},
    {NULL, "rpush a"},
    {NULL, "rpush " LONG "1 b " LONG "2"},
    {"rpush a b c d", "lpush e " LONG " f " LONG},
    {"rpush a b c d", "linsert before c " LONG},
    {"rpush a", "lset 0 " LONG},
    {NULL, "hset a b " LONG " " LONG},
    {"hset a 1 b 2", "hset a " LONG " " LONG "1 2 " LONG "2 " LONG},
    {"hset a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10 k 11 l 12 m 13 n 14 o 15 p 16", "hset q 17"},
    {"hset a 1", "hincrbyfloat a 1e300"},
    {NULL, "sadd " LONG " a b c " LONG "1"},
    {"sadd a b c d", "sadd a " LONG " e " LONG "1"},
    {"sadd a b c d e f g h i j k l m n o p", "sadd q r s t"},
    {"sadd a b c d e f g h", "srandmember 3"},
    {NULL, "zadd 1 a"},
    {NULL, "zadd 1 a 2 " LONG " 3 b 4 c 5 d 6 e 7 f 8 g 9 h"},
    {"zadd 1 a 2 b", "zadd 5 a 3 c 4 " LONG " 1 " LONG},
    {"zadd 1 a 2 b", "zincrby 5 " LONG},
};

START_TEST(without_memory_a_command_changes_nothing) {
    static char before[ANSWER_MAX];
    static char after[ANSWER_MAX];
    const struct scarce *scene = &scarce[_i];
    if (scene->prepare != NULL) {
        ck_assert(run(scene->prepare)[0] != '-');
    }
    describe(before, sizeof(before));
    for (int64_t left = 0;; left++) { /* ends when there is enough */
        ck_assert_int_eq(left < 100, true);
        allocations_left = left;
        bool is_failed = run(scene->command)[0] == '-';
        allocations_left = -1;
        if (!is_failed) {
            ck_assert_int_eq(left > 0, true);
            break;
        }
        ck_assert(strcmp(client.answer,
                         "-OOM command not allowed when used memory > 'maxmemory'.\r\n") == 0);
        ck_assert(strcmp(describe(after, sizeof(after)), before) == 0);
    }
    clear();
}
END_TEST

START_TEST(shrinking_works_without_memory) {
    char line[8192] = "";
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(line + strlen(line), 32, " %u", 1000 + i);
    }
    static char command_line[8300];
    static const char *const adds[] = {"rpush", "sadd"};
    static const char *const pops[] = {"lpop 290", "spop 290"};
    static const char *const counts[] = {"llen", "scard"};
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(command_line, sizeof(command_line), "%s%s", adds[i], line);
        CHECK(command_line, ":300\r\n");
        allocations_left = 0;
        run(pops[i]);
        allocations_left = -1;
        CHECK(counts[i], ":10\r\n");
        size_t large = value_bytes(&client.value);
        run(i == 0 ? "lpop" : "spop");
        ck_assert_uint_lt(value_bytes(&client.value), large + 1);
        CHECK(counts[i], ":9\r\n");
        clear();
    }
}
END_TEST

static Suite *resp_values_suite(void) {
    Suite *suite = suite_create("resp_values");
    TCase *basics = tcase_create("basics");
    tcase_add_test(basics, every_command_is_found_in_any_case);
    tcase_add_test(basics, arity_is_exact_or_a_minimum);
    tcase_add_test(basics, replies_have_the_form_of_the_protocol);
    tcase_add_test(basics, a_reply_without_memory_fails_and_stays_failed);
    tcase_add_test(basics, integers_are_read_strictly);
    tcase_add_test(basics, doubles_are_printed_as_printf_does);
    suite_add_tcase(suite, basics);
    TCase *types = tcase_create("types");
    tcase_add_test(types, a_text_is_what_was_written_to_it);
    tcase_add_test(types, a_list_is_like_an_array);
    tcase_add_test(types, a_table_finds_what_is_in_it_and_nothing_else);
    tcase_add_test(types, a_small_hash_keeps_the_order_of_its_fields);
    tcase_add_test(types, a_sorted_set_is_always_sorted);
    tcase_add_test(types, random_members_are_members_and_all_of_them_come);
    suite_add_tcase(suite, types);
    TCase *answers = tcase_create("answers");
    tcase_add_test(answers, what_has_expired_is_not_there);
    tcase_add_test(answers, scores_are_shown_as_redis_does);
    tcase_add_test(answers, checks_are_made_in_redis_order);
    tcase_add_test(answers, a_reply_without_end_fails_and_ends);
    suite_add_tcase(suite, answers);
    TCase *memory = tcase_create("memory");
    tcase_add_loop_test(memory, without_memory_a_command_changes_nothing, 0,
                        sizeof(scarce) / sizeof(scarce[0]));
    tcase_add_test(memory, shrinking_works_without_memory);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void) {
    return run_suite(resp_values_suite());
}
