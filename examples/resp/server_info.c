/* SPDX-License-Identifier: MIT
 *
 * What the server says about itself: see server_info.h.
 */
#define _GNU_SOURCE 1
#include "server_info.h"

#include "execute.h"
#include "glob.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SETTING_BYTES = 32 };

/* Names of commands are in capital letters in these texts. */
void server_info_unknown(const slice *name, const slice *word, reply *out) {
    char upper[16];
    size_t size = name->size < sizeof(upper) ? name->size : sizeof(upper);
    for (size_t i = 0; i < size; i++) {
        upper[i] = (char)toupper((unsigned char)name->data[i]);
    }
    reply_error_format(out, "ERR unknown subcommand '%.*s'. Try %.*s HELP.",
                       (int)(word->size < 128 ? word->size : 128), word->data, (int)size, upper);
}

/* In the form and the words of Redis, but with what there is here. */
void server_info_help(const parser *request, const char *const *lines, reply *out) {
    const char *last[] = {"HELP", "    Prints this help."};
    const command *which = command_find(request->args[0].data, request->args[0].size);
    const char *name = which != NULL ? which->name : "";
    char first[80];
    char upper[16] = "";
    uint64_t count = 0;
    if (request->count != 2) {
        reply_error_format(out, "ERR wrong number of arguments for '%s|help' command", name);
        return;
    }
    for (size_t i = 0; i < sizeof(upper) - 1 && name[i] != '\0'; i++) {
        upper[i] = (char)toupper((unsigned char)name[i]);
    }
    while (lines[count] != NULL) { /* bounded by the caller's table */
        count++;
    }
    (void)snprintf(first, sizeof(first),
                   "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", upper);
    reply_array(out, 1 + count + 2);
    reply_status(out, first);
    for (uint64_t i = 0; i < count; i++) {
        reply_status(out, lines[i]);
    }
    reply_status(out, last[0]);
    reply_status(out, last[1]);
}

void server_info_hello(uint64_t client_id, reply *out) {
    reply_map(out, 7);
    reply_bulk_text(out, "server");
    reply_bulk_text(out, "redis");
    reply_bulk_text(out, "version");
    reply_bulk_text(out, SERVER_INFO_VERSION);
    reply_bulk_text(out, "proto");
    reply_integer(out, out->protocol);
    reply_bulk_text(out, "id");
    reply_integer(out, (int64_t)client_id);
    reply_bulk_text(out, "mode");
    reply_bulk_text(out, "standalone");
    reply_bulk_text(out, "role");
    reply_bulk_text(out, "master");
    reply_bulk_text(out, "modules");
    reply_array(out, 0);
}

/* ---- INFO ------------------------------------------------------------------------------------ */

typedef struct totals {
    int64_t keys;
    int64_t commands;
    int64_t clients;
    int64_t connections;
} totals;

static int64_t load(const _Atomic int64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static totals add_up(const resp *shared) {
    totals sum = {0};
    for (uint32_t i = 0; i <= weft_runtime_schedulers(shared->runtime); i++) {
        sum.keys += load(&shared->counts[i].keys);
        sum.commands += load(&shared->counts[i].commands);
        sum.clients += load(&shared->counts[i].clients);
        sum.connections += load(&shared->counts[i].connections);
    }
    return sum;
}

static uint64_t resident_bytes(void) {
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    int found = fscanf(file, "%llu %llu", &size, &resident);
    (void)fclose(file); /* only read */
    return found == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void add_text(reply *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_text(reply *text, const char *format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (size > 0) {
        reply_raw(text, line, (size_t)size < sizeof(line) ? (size_t)size : sizeof(line) - 1);
    }
}

static void add_server(weft_ctx *ctx, const resp *shared, reply *text) {
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    char local[WEFT_ADDRESS_TEXT_BYTES] = "";
    const char *port = NULL;
    if (weft_stream_inspect(ctx, &info) == 0) {
        (void)weft_address_format(&info.local, local, sizeof(local)); /* always room */
        port = strrchr(local, ':');
    }
    int64_t up = (resp_now_ms() - shared->started_ms) / 1000;
    add_text(text, "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\n",
             SERVER_INFO_VERSION);
    add_text(text, "weft_version:%s\r\nschedulers:%" PRIu32 "\r\narch_bits:%zu\r\n", weft_version(),
             weft_runtime_schedulers(shared->runtime), 8 * sizeof(void *));
    add_text(text, "process_id:%ld\r\nrun_id:%s\r\ntcp_port:%s\r\n", (long)getpid(), shared->run_id,
             port != NULL ? port + 1 : "0");
    add_text(text, "uptime_in_seconds:%" PRId64 "\r\nuptime_in_days:%" PRId64 "\r\n\r\n", up,
             up / 86400);
}

static void add_memory(const resp *shared, reply *text) {
    weft_gauges gauges = {.struct_size = WEFT_GAUGES_INIT};
    (void)weft_gauges_read(shared->runtime, &gauges); /* cannot fail */
    uint64_t bytes = resident_bytes();
    add_text(text, "# Memory\r\nused_memory:%" PRIu64 "\r\nused_memory_rss:%" PRIu64 "\r\n", bytes,
             bytes);
    add_text(text, "weft_slot_bytes:%" PRIu64 "\r\nweft_arena_bytes:%" PRIu64 "\r\n",
             gauges.slot_bytes, gauges.arena_bytes);
    add_text(text, "weft_heap_bytes:%" PRIu64 "\r\nmaxmemory:0\r\n", gauges.heap_bytes);
    add_text(text, "maxmemory_policy:noeviction\r\nmem_allocator:libc\r\n\r\n");
}

static void add_stats(const resp *shared, const totals *sum, reply *text) {
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    (void)weft_stats_read(shared->runtime, WEFT_STATS_ALL, &stats); /* cannot fail */
    add_text(text, "# Stats\r\ntotal_connections_received:%" PRId64 "\r\n", sum->connections);
    add_text(text, "total_commands_processed:%" PRId64 "\r\n", sum->commands);
    add_text(text, "total_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n",
             stats.io_received, stats.io_sent);
    add_text(text, "weft_messages:%" PRIu64 "\r\nweft_spawns:%" PRIu64 "\r\n", stats.messages_sent,
             stats.spawns);
    add_text(text, "weft_exits:%" PRIu64 "\r\nweft_crashes:%" PRIu64 "\r\n", stats.exits,
             stats.crashes);
    add_text(text, "weft_steals:%" PRIu64 "\r\nweft_io_enters:%" PRIu64 "\r\n\r\n", stats.steals,
             stats.io_enters);
}

/* Is a section asked for? Without arguments, and with some words, all are. */
static bool wants(const parser *request, const char *section) {
    bool found = request->count == 1;
    for (uint32_t i = 1; i < request->count && !found; i++) {
        const slice *arg = &request->args[i];
        found = argument_is(*arg, section) || argument_is(*arg, "all") ||
                argument_is(*arg, "everything") || argument_is(*arg, "default");
    }
    return found;
}

static void info(weft_ctx *ctx, const connection *self, reply *out) {
    const parser *request = &self->parser;
    const totals sum = add_up(self->shared);
    char first[2048];
    reply text;
    reply_init(&text, 2, first, sizeof(first));
    if (wants(request, "server")) {
        add_server(ctx, self->shared, &text);
    }
    if (wants(request, "clients")) {
        add_text(&text, "# Clients\r\nconnected_clients:%" PRId64 "\r\nblocked_clients:0\r\n\r\n",
                 sum.clients);
    }
    if (wants(request, "memory")) {
        add_memory(self->shared, &text);
    }
    if (wants(request, "persistence")) {
        add_text(&text, "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:0\r\n\r\n");
    }
    if (wants(request, "stats")) {
        add_stats(self->shared, &sum, &text);
    }
    if (wants(request, "replication")) {
        add_text(&text, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n");
    }
    if (wants(request, "cluster")) {
        add_text(&text, "# Cluster\r\ncluster_enabled:0\r\n\r\n");
    }
    if (wants(request, "keyspace")) {
        add_text(&text, "# Keyspace\r\n");
        if (sum.keys > 0) {
            add_text(&text, "db0:keys=%" PRId64 ",expires=0,avg_ttl=0\r\n", sum.keys);
        }
    }
    size_t size = text.size; /* sections have an empty line between them, not behind them */
    size -= size > 4 && memcmp(text.data + size - 4, "\r\n\r\n", 4) == 0 ? 2 : 0;
    out->failed = out->failed || text.failed;
    reply_verbatim(out, text.data, size);
    reply_free(&text);
}

/* ---- CONFIG ---------------------------------------------------------------------------------- */

typedef struct setting {
    const char *name;
    const char *value; /* NULL: the limits of the parser */
} setting;

static const setting settings[] = {
    {"appendonly", "no"},
    {"client-query-buffer-limit", NULL},
    {"cluster-enabled", "no"},
    {"databases", "1"},
    {"maxmemory", "0"},
    {"maxmemory-policy", "noeviction"},
    {"proto-max-bulk-len", NULL},
    {"save", ""},
    {"timeout", "0"},
};
enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

static bool is_asked(const parser *request, const setting *one) {
    const slice name = {one->name, strlen(one->name)};
    bool found = false;
    for (uint32_t i = 2; i < request->count && !found; i++) {
        found = glob_matches(&request->args[i], &name, true);
    }
    return found;
}

static void config_get(const connection *self, reply *out) {
    const parser *request = &self->parser;
    const parser_limits *limits = &self->shared->limits;
    bool asked[SETTINGS];
    uint64_t count = 0;
    for (size_t i = 0; i < SETTINGS; i++) {
        asked[i] = is_asked(request, &settings[i]);
        count += asked[i] ? 1 : 0;
    }
    reply_map(out, count);
    for (size_t i = 0; i < SETTINGS; i++) {
        char text[SETTING_BYTES];
        const setting *one = &settings[i];
        bool bulk = one->name[0] == 'p';
        if (!asked[i]) {
            continue;
        }
        (void)snprintf(text, sizeof(text), "%" PRIu64,
                       bulk ? limits->bulk_max : limits->request_max);
        reply_bulk_text(out, one->name);
        reply_bulk_text(out, one->value != NULL ? one->value : text);
    }
}

/* Settings are read when the program starts: see docs/tuning.md. */
static void config_set(const connection *self, reply *out) {
    const slice *name = &self->parser.args[2];
    bool known = false;
    for (size_t i = 0; i < SETTINGS; i++) {
        known = known || argument_is(*name, settings[i].name);
    }
    int size = (int)(name->size < 128 ? name->size : 128);
    if (known) {
        reply_error_format(out,
                           "ERR CONFIG SET failed (possibly related to argument '%.*s') - can't "
                           "set immutable config",
                           size, name->data);
    } else {
        reply_error_format(out, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                           size, name->data);
    }
}

static const char *const config_lines[] = {
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    NULL,
};

static void config(const connection *self, reply *out) {
    const parser *request = &self->parser;
    const slice *word = &request->args[1];
    bool get = argument_is(*word, "get"), set = argument_is(*word, "set");
    if (argument_is(*word, "help")) {
        server_info_help(request, config_lines, out);
    } else if (argument_is(*word, "resetstat") && request->count == 2) {
        reply_status(out, "OK"); /* counters only grow; who wants a rate takes the difference */
    } else if (!get && !set && !argument_is(*word, "resetstat")) {
        server_info_unknown(&request->args[0], word, out);
    } else if ((get && request->count < 3) || (set && request->count < 4) || (!get && !set)) {
        reply_error_format(out, "ERR wrong number of arguments for 'config|%s' command",
                           get   ? "get"
                           : set ? "set"
                                 : "resetstat");
    } else if (get) {
        config_get(self, out);
    } else {
        config_set(self, out);
    }
}

/* ---- COMMAND --------------------------------------------------------------------------------- */

static const struct {
    uint32_t flag;
    const char *name;
} flag_names[] = {
    {COMMAND_WRITE, "write"},
    {COMMAND_READONLY, "readonly"},
    {COMMAND_DENYOOM, "denyoom"},
    {COMMAND_ADMIN, "admin"},
    {COMMAND_IS_PUBSUB, "pubsub"},
    {COMMAND_NOSCRIPT, "noscript"},
    {COMMAND_LOADING, "loading"},
    {COMMAND_STALE, "stale"},
    {COMMAND_FAST, "fast"},
    {COMMAND_NO_AUTH, "no_auth"},
    {COMMAND_ALLOW_BUSY, "allow_busy"},
};
enum { FLAG_NAMES = sizeof(flag_names) / sizeof(flag_names[0]) };

/* Categories of access control lists, as Redis puts commands into them. */
static const char *const categories[] = {"keyspace",  "string",     "list",     "hash",  "set",
                                         "sortedset", "pubsub",     "read",     "write", "fast",
                                         "slow",      "connection", "dangerous"};
enum { CATEGORIES = sizeof(categories) / sizeof(categories[0]), DATA_TYPES = 6 };

/* The first command of each group, in the order of the categories; what has no key comes last. */
static const enum command_number group_starts[DATA_TYPES + 1] = {
    COMMAND_DEL,  COMMAND_SET,  COMMAND_LPUSH, COMMAND_HSET,
    COMMAND_SADD, COMMAND_ZADD, COMMAND_PING};

static bool is_about_all_keys(enum command_number number) {
    return number == COMMAND_FLUSHALL || number == COMMAND_FLUSHDB || number == COMMAND_KEYS;
}

static bool is_in_category(const command *which, size_t category) {
    enum command_number number = command_number(which);
    if (category < DATA_TYPES) {
        bool in_group = number >= group_starts[category] && number < group_starts[category + 1];
        return in_group || (category == 0 && (is_about_all_keys(number) ||
                                              number == COMMAND_DBSIZE || number == COMMAND_SCAN));
    }
    switch (category - DATA_TYPES) {
    case 0:
        return (which->flags & COMMAND_IS_PUBSUB) != 0;
    case 1:
        return (which->flags & COMMAND_READONLY) != 0;
    case 2:
        return (which->flags & COMMAND_WRITE) != 0;
    case 3:
        return (which->flags & COMMAND_FAST) != 0;
    case 4:
        return (which->flags & COMMAND_FAST) == 0;
    case 5:
        return (number >= COMMAND_PING && number < COMMAND_CLIENT) || number == COMMAND_COMMAND;
    default:
        return is_about_all_keys(number) || number == COMMAND_INFO;
    }
}

static void describe_categories(const command *which, reply *out) {
    uint64_t count = 0;
    for (size_t i = 0; i < CATEGORIES; i++) {
        count += is_in_category(which, i) ? 1 : 0;
    }
    reply_set(out, count);
    for (size_t i = 0; i < CATEGORIES; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "@%s", categories[i]);
        if (is_in_category(which, i)) {
            reply_status(out, text);
        }
    }
}

static void describe(const command *which, reply *out) {
    uint64_t flags = 0;
    for (size_t i = 0; i < FLAG_NAMES; i++) {
        flags += (which->flags & flag_names[i].flag) != 0 ? 1 : 0;
    }
    reply_array(out, 10);
    reply_bulk_text(out, which->name);
    reply_integer(out, which->arity);
    reply_set(out, flags);
    for (size_t i = 0; i < FLAG_NAMES; i++) {
        if ((which->flags & flag_names[i].flag) != 0) {
            reply_status(out, flag_names[i].name);
        }
    }
    reply_integer(out, which->first_key);
    reply_integer(out, which->last_key);
    reply_integer(out, which->key_step);
    describe_categories(which, out);
    reply_array(out, 0); /* tips */
    reply_array(out, 0); /* where keys are, once more */
    reply_array(out, 0); /* subcommands */
}

static void describe_named(const parser *request, reply *out) {
    reply_array(out, request->count - 2);
    for (uint32_t i = 2; i < request->count; i++) {
        const command *found = command_find(request->args[i].data, request->args[i].size);
        if (found != NULL) {
            describe(found, out);
        } else {
            reply_null(out);
        }
    }
}

static void describe_all(reply *out) {
    reply_array(out, COMMAND_COUNT);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        describe(&commands[i], out);
    }
}

static bool is_listed(const command *which, const slice *filter, const slice *wanted) {
    const slice name = {which->name, strlen(which->name)};
    if (argument_is(*filter, "pattern")) {
        return glob_matches(wanted, &name, true);
    }
    bool found = false; /* there are no modules */
    for (size_t i = 0; i < CATEGORIES && argument_is(*filter, "aclcat") && !found; i++) {
        found = argument_is(*wanted, categories[i]) && is_in_category(which, i);
    }
    return found;
}

/* COMMAND LIST [FILTERBY MODULE|ACLCAT|PATTERN what] */
static void list_names(const parser *request, reply *out) {
    const slice *args = request->args;
    bool all = request->count == 2, listed[COMMAND_COUNT];
    uint64_t count = 0;
    if (!all && (request->count != 5 || !argument_is(args[2], "filterby") ||
                 !(argument_is(args[3], "module") || argument_is(args[3], "aclcat") ||
                   argument_is(args[3], "pattern")))) {
        reply_error(out, ERROR_SYNTAX);
        return;
    }
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        listed[i] = all || is_listed(&commands[i], &args[3], &args[4]);
        count += listed[i] ? 1 : 0;
    }
    reply_array(out, count);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (listed[i]) {
            reply_bulk_text(out, commands[i].name);
        }
    }
}

static const char *const command_lines[] = {
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    NULL,
};

static void command_command(const parser *request, reply *out) {
    slice word = request->count > 1 ? request->args[1] : (slice){"info", 4};
    bool count = argument_is(word, "count");
    if (argument_is(word, "info")) {
        if (request->count <= 2) {
            describe_all(out);
        } else {
            describe_named(request, out);
        }
    } else if (count && request->count > 2) {
        reply_error(out, "ERR wrong number of arguments for 'command|count' command");
    } else if (count) {
        reply_integer(out, COMMAND_COUNT);
    } else if (argument_is(word, "list")) {
        list_names(request, out);
    } else if (argument_is(word, "help")) {
        server_info_help(request, command_lines, out);
    } else if (argument_is(word, "docs")) {
        reply_map(out, 0); /* clients then go by their own */
    } else {
        server_info_unknown(&request->args[0], &word, out);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

bool server_info_execute(weft_ctx *ctx, connection *self, const command *which, reply *out) {
    switch (command_number(which)) {
    case COMMAND_INFO:
        info(ctx, self, out);
        return true;
    case COMMAND_CONFIG:
        config(self, out);
        return true;
    case COMMAND_COMMAND:
        command_command(&self->parser, out);
        return true;
    case COMMAND_DBSIZE:
        reply_integer(out, add_up(self->shared).keys);
        return true;
    default:
        return false;
    }
}
