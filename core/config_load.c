/* SPDX-License-Identifier: MIT
 *
 * weft_config_load: an INI file through libinih, then the WEFT_* environment. The only place in
 * the library that reads either. Called by the program, on its thread, before a runtime exists.
 *
 * libinih is handed one line at a time, because left to itself it is too generous for a file in
 * which every mistake shall be an error with its line: it splits lines over 200 bytes in two, ends
 * a line at a NUL byte, cuts section names at 50 bytes, ignores what follows a section's bracket,
 * and takes an indented line for a continuation of the one before, so that
 *     count = 2
 *       spin = 10us
 * would be the single value "spin = 10us". So the reader below drops blanks at the beginning of
 * lines and the byte order mark, checks section lines, and reports the rest. The behaviour of
 * libinih that a program can change (its ini_* variables) is neither relied on nor changed.
 *
 * Everything is applied to a copy; the caller's struct changes only when all of it was right.
 */
#define _GNU_SOURCE 1

#include "core/config.h"
#include "core/defs.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 4096,
    FILE_BYTES_MAX = 1 << 20, /* a file beyond this is not a configuration */
    SECTION_BYTES_MAX = 32,   /* longer names are no section of ours */
    KEY_BYTES_MAX = 256,      /* longer than any line of libinih */
    VARIABLE_BYTES_MAX = 64,  /* longer than any variable of ours */
    NEWLINE_AND_ZERO = 2,     /* what a line needs besides itself */
    PATH_SHOWN_MAX = 128,     /* bytes of the path in an error line */
    READ_END = -1,            /* next_byte: the file is over */
    READ_FAILED = -2,         /* next_byte: so is the load */
};

/* Some editors put it before the first line. */
static const char byte_order_mark[] = "\xEF\xBB\xBF";
static const char variable_prefix[] = "WEFT_";
/* Variables of builds and tests; they are not configuration. */
static const char *const ignored_prefixes[] = {"WEFT_BUILD_", "WEFT_TEST_",
                                               /* of a Kubernetes service named weft */
                                               "WEFT_SERVICE_", "WEFT_PORT"};

struct load {
    weft_config config; /* the copy that is filled in */
    weft__text *error;
    int result; /* the first error, or 0 */

    /* the file */
    const char *path;
    int fd;
    uint32_t line;                           /* that was handed out last */
    uint32_t result_line;                    /* of result */
    uint32_t set_on_line[WEFT__CONFIG_KEYS]; /* 0: not yet */
    size_t total;                            /* bytes read */
    size_t chunk_at;
    size_t chunk_end;
    char chunk[CHUNK_BYTES];
};

/* ---- errors -------------------------------------------------------------------------------- */

/* Notes an error in the current line and starts its text. The caller goes on with put. */
static weft__text *fail_line(struct load *load, int result) {
    weft_assert(load->result == 0);
    load->result = result;
    load->result_line = load->line;
    weft__text_put_escaped(load->error, load->path, PATH_SHOWN_MAX);
    weft__text_put(load->error, ":");
    weft__text_put_u64(load->error, load->line);
    weft__text_put(load->error, ": ");
    return load->error;
}

/* An error of the whole file, with the text of its errno. */
static void fail_file(struct load *load, int result) {
    weft_assert(load->result == 0);
    load->result = result;
    weft__text_put_escaped(load->error, load->path, PATH_SHOWN_MAX);
    weft__text_put(load->error, ": ");
    weft__text_put(load->error, weft_strerror(result));
}

/* ---- lines --------------------------------------------------------------------------------- */

/* The next byte of the file, READ_END or READ_FAILED. */
static int next_byte(struct load *load) {
    if (load->chunk_at < load->chunk_end) {
        return (unsigned char)load->chunk[load->chunk_at++];
    }
    if (load->total >= FILE_BYTES_MAX) {
        fail_file(load, -EFBIG);
        return READ_FAILED;
    }
    ssize_t got = 0;
    do {
        got = read(load->fd, load->chunk, sizeof(load->chunk));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        fail_file(load, -errno);
        return READ_FAILED;
    }
    if (got == 0) {
        return READ_END;
    }
    load->total += (size_t)got;
    load->chunk_at = 1;
    load->chunk_end = (size_t)got;
    return (unsigned char)load->chunk[0];
}

static bool is_blank(int byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r' && byte != '\n');
}

static bool is_comment(int byte) {
    return byte == ';' || byte == '#';
}

/* Gathers one line without blanks around it; comment lines come out empty, however long they
 * are. False: the file is over, or an error was noted. */
static bool gather_line(struct load *load, char *line, size_t size) {
    size_t length = 0;
    bool comment = false;
    int byte = next_byte(load);
    if (byte < 0) {
        return false;
    }
    load->line++;
    for (; byte >= 0 && byte != '\n'; byte = next_byte(load)) {
        if (byte == '\0') {
            weft__text_put(fail_line(load, WEFT_E_CONFIG), "a NUL byte: this is not a text file");
            return false;
        }
        comment = comment || (length == 0 && is_comment(byte));
        if (comment || (length == 0 && is_blank(byte))) {
            continue;
        }
        if (length >= size) {
            weft__text *error = fail_line(load, WEFT_E_CONFIG);
            weft__text_put(error, "the line is too long: accepted are ");
            weft__text_put_u64(error, size);
            weft__text_put(error, " bytes");
            return false;
        }
        line[length++] = (char)byte;
        if (load->line == 1 && length == 3 && memcmp(line, byte_order_mark, 3) == 0) {
            length = 0;
        }
    }
    if (byte == READ_FAILED) {
        return false;
    }
    while (length > 0 && is_blank((unsigned char)line[length - 1])) {
        length--;
    }
    line[length] = '\0';
    return true;
}

/* ---- sections ------------------------------------------------------------------------------ */

static bool section_exists(const char *name, size_t length) {
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        const char *key = weft__config_name(i);
        if (length > 0 && strncmp(key, name, length) == 0 && key[length] == '.') {
            return true;
        }
    }
    return false;
}

/* "scheduler, actor, memory": the sections, in the order of the table. */
static void put_sections(weft__text *error) {
    const char *before = "";
    size_t before_length = 0;
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        const char *key = weft__config_name(i);
        size_t length = strcspn(key, ".");
        if (length == before_length && strncmp(key, before, length) == 0) {
            continue;
        }
        weft__text_put(error, before_length > 0 ? ", " : "");
        for (size_t j = 0; j < length; j++) {
            weft__text_put_char(error, key[j]);
        }
        before = key;
        before_length = length;
    }
}

/* Checks a line that begins with a bracket. False: an error was noted. */
static bool check_section(struct load *load, const char *line) {
    const char *end = strchr(line, ']');
    const char *rest = end != NULL ? end + 1 : "";
    while (is_blank((unsigned char)*rest)) {
        rest++;
    }
    if (end == NULL || (*rest != '\0' && !is_comment(*rest))) {
        weft__text_put(fail_line(load, WEFT_E_CONFIG), "a section is [name] and nothing else");
        return false;
    }
    size_t length = (size_t)(end - line - 1);
    if (length > SECTION_BYTES_MAX || !section_exists(line + 1, length)) {
        weft__text *error = fail_line(load, WEFT_E_CONFIG);
        weft__text_put(error, "unknown section ");
        weft__text_put_escaped(error, line, WEFT__CONFIG_SHOWN_MAX);
        weft__text_put(error, "; sections are ");
        put_sections(error);
        return false;
    }
    return true;
}

/* ---- callbacks of libinih ------------------------------------------------------------------ */

/* ini_reader: one line into text, with its newline; NULL at the end and after an error. */
static char *read_line(char *text, int size, void *stream) {
    struct load *load = stream;
    weft_assert(size > NEWLINE_AND_ZERO);
    if (load->result < 0 || !gather_line(load, text, (size_t)size - NEWLINE_AND_ZERO)) {
        return NULL;
    }
    if (text[0] == '[' && !check_section(load, text)) {
        return NULL;
    }
    size_t length = strlen(text);
    text[length] = '\n';
    text[length + 1] = '\0';
    return text;
}

/* "scheduler" and "count" as "scheduler.count"; cut if it is longer than any key. */
static void join_key(const char *section, const char *name, char *text, size_t size) {
    weft__text key;
    weft__text_init(&key, text, size);
    weft__text_put(&key, section);
    weft__text_put(&key, section[0] != '\0' ? "." : "");
    weft__text_put(&key, name);
}

static void set_from_file(struct load *load, const char *name, const char *value) {
    int found = weft__config_find(name);
    if (found < 0) {
        weft__text *error = fail_line(load, WEFT_E_CONFIG);
        weft__text_put(error, "unknown key ");
        weft__text_put_escaped(error, name, WEFT__CONFIG_SHOWN_MAX);
        weft__text_put(error, "; the nearest is ");
        weft__text_put(error, weft__config_name(weft__config_nearest(name)));
        return;
    }
    uint32_t index = (uint32_t)found;
    if (load->set_on_line[index] != 0) {
        weft__text *error = fail_line(load, WEFT_E_CONFIG);
        weft__text_put(error, name);
        weft__text_put(error, " was set on line ");
        weft__text_put_u64(error, load->set_on_line[index]);
        weft__text_put(error, " already");
        return;
    }
    load->set_on_line[index] = load->line;
    if (weft__config_store(&load->config, index, value) < 0) {
        weft__config_explain(fail_line(load, WEFT_E_CONFIG), index, name, value);
    }
}

/* ini_handler: one key and its value. Nonzero is success there. */
#if INI_HANDLER_LINENO
static int handle_key(void *user, const char *section, const char *name, const char *value,
                      int line) {
    (void)line; /* counted here: the same for every build of libinih */
#else
static int handle_key(void *user, const char *section, const char *name, const char *value) {
#endif
    struct load *load = user;
    if (load->result < 0) {
        return 0;
    }
    char key[KEY_BYTES_MAX];
    join_key(section, name != NULL ? name : "", key, sizeof(key));
    /* Only a program that set ini_allow_no_value gets NULL here. */
    set_from_file(load, key, value != NULL ? value : "");
    return load->result == 0 ? 1 : 0;
}

/* ---- the file ------------------------------------------------------------------------------ */

/* libinih found a line that is neither a section nor a key. It goes on after one, so the error
 * noted so far, if any, may be of a later line: the first one is told. */
static void fail_syntax(struct load *load, int line) {
    if (load->result < 0 && (uint32_t)line >= load->result_line) {
        return;
    }
    weft__text_init(load->error, load->error->bytes, load->error->size);
    load->result = 0;
    load->line = (uint32_t)line;
    weft__text_put(fail_line(load, WEFT_E_CONFIG), "neither [section] nor key = value");
}

static void load_file(struct load *load) {
    load->fd = open(load->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (load->fd < 0) {
        fail_file(load, -errno);
        return;
    }
    int answer = ini_parse_stream(read_line, load, handle_key, load);
    if (answer > 0) {
        fail_syntax(load, answer);
    } else if (answer < 0 && load->result == 0) {
        fail_file(load, -ENOMEM);
    }
    (void)close(load->fd); /* nothing was written */
}

/* ---- the environment ----------------------------------------------------------------------- */

static char upper(char byte) {
    if (byte == '.') {
        return '_';
    }
    return byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
}

static void put_variable(weft__text *text, uint32_t index) {
    weft__text_put(text, variable_prefix);
    for (const char *at = weft__config_name(index); *at != '\0'; at++) {
        weft__text_put_char(text, upper(*at));
    }
}

/* Index of the key a variable sets, or -ENOENT. */
static int find_variable(const char *name) {
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        char bytes[VARIABLE_BYTES_MAX];
        weft__text variable;
        weft__text_init(&variable, bytes, sizeof(bytes));
        put_variable(&variable, i);
        weft_assert(variable.length < sizeof(bytes));
        if (strcmp(name, bytes) == 0) {
            return (int)i;
        }
    }
    return -ENOENT;
}

/* "WEFT_SCHEDULER_CUONT" as the key it would be, "SCHEDULER.CUONT", to find the nearest. */
static uint32_t nearest_variable(const char *name) {
    char key[VARIABLE_BYTES_MAX];
    weft__text text;
    weft__text_init(&text, key, sizeof(key));
    bool in_section = true;
    for (const char *at = name + sizeof(variable_prefix) - 1; *at != '\0'; at++) {
        bool dot = in_section && *at == '_';
        weft__text_put_char(&text, dot ? '.' : *at);
        in_section = in_section && !dot;
    }
    return weft__config_nearest(key);
}

static bool is_ours(const char *entry) {
    if (strncmp(entry, variable_prefix, sizeof(variable_prefix) - 1) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ignored_prefixes) / sizeof(ignored_prefixes[0]); i++) {
        if (strncmp(entry, ignored_prefixes[i], strlen(ignored_prefixes[i])) == 0) {
            return false;
        }
    }
    return true;
}

/* Applies one NAME=value; set says which keys the environment has set before. */
static void load_variable(struct load *load, const char *entry, bool *set) {
    char name[VARIABLE_BYTES_MAX];
    size_t length = strcspn(entry, "=");
    const char *value = entry[length] == '=' ? entry + length + 1 : "";
    bool fits = length < sizeof(name);
    size_t copied = fits ? length : sizeof(name) - 1;
    memcpy(name, entry, copied);
    name[copied] = '\0';
    int found = fits ? find_variable(name) : -ENOENT;
    if (found < 0) {
        load->result = WEFT_E_CONFIG;
        weft__text_put_escaped(load->error, name, sizeof(name));
        weft__text_put(load->error, fits ? "" : "...");
        weft__text_put(load->error, ": unknown variable; the nearest is ");
        put_variable(load->error, nearest_variable(name));
        return;
    }
    uint32_t index = (uint32_t)found;
    if (set[index]) {
        load->result = WEFT_E_CONFIG;
        weft__text_put(load->error, name);
        weft__text_put(load->error, ": the environment has it twice");
        return;
    }
    set[index] = true;
    load->result = weft__config_store(&load->config, index, value);
    if (load->result < 0) {
        weft__config_explain(load->error, index, name, value);
    }
}

static void load_environment(struct load *load) {
    bool set[WEFT__CONFIG_KEYS] = {false};
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        if (is_ours(*entry)) {
            load_variable(load, *entry, set);
        }
        if (load->result < 0) {
            return;
        }
    }
}

/* ---- public -------------------------------------------------------------------------------- */

int weft_config_load(weft_config *config, const char *path, char *error, size_t error_size) {
    if (config == NULL) {
        return -EINVAL;
    }
    weft__text line;
    struct load load;
    memset(&load, 0, sizeof(load));
    weft__text_init(&line, error, error != NULL ? error_size : 0);
    load.error = &line;
    load.path = path;
    load.result = weft__config_import(config, &load.config, &line);
    if (load.result == 0 && path != NULL) {
        load_file(&load);
    }
    if (load.result == 0) {
        load_environment(&load);
    }
    if (load.result == 0) {
        weft__config_export(&load.config, config);
    }
    return load.result;
}
