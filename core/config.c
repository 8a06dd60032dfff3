/* SPDX-License-Identifier: MIT
 *
 * Configuration values: everything that follows from the table of keys (core/config_keys.c):
 * parsing a value, printing it, filling in defaults, checking ranges, finding the key a wrong name
 * was meant to be. core/config_load.c reads files and the environment with it. All functions are
 * pure, any thread.
 *
 * Zero in a field of weft_config is the default. Where zero is a value of its own (no spinning, no
 * LIFO slot, no watchdog), the field has a *_none flag beside it, and text "0" sets the flag. After
 * weft_config_resolve such a field is zero exactly when the flag is set.
 *
 * Nothing of a caller's struct changes on error: every function works on a copy of its own.
 */
#define _GNU_SOURCE 1

#include "core/config.h"

#include "core/config_keys.h"
#include "core/cpus.h"
#include "core/defs.h"

#include <errno.h>
#include <string.h>

/* Version 0.1.0 ended with the allocator. New fields go behind it; this line does not change. */
static const weft__struct_rule config_rule = {
    .known = sizeof(weft_config),
    .first = offsetof(weft_config, allocator) + sizeof(weft_allocator),
};

/* Units from the largest to the smallest; a value is printed in the largest that divides it. */
struct unit {
    const char *suffix;
    uint64_t factor;
};
static const struct unit units_binary[] = {
    {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}, {"", 1}};
static const struct unit units_time[] = {
    {"m", 60000000000ull}, {"s", 1000000000ull}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};

enum {
    UNITS_BINARY = sizeof(units_binary) / sizeof(units_binary[0]),
    UNITS_TIME = sizeof(units_time) / sizeof(units_time[0]),
    NAME_COMPARED_MAX = 48, /* bytes of a wrong name that are compared with the right ones */
    OTHER_SECTION_COST = 3, /* what a right name in a wrong section counts, in edits */
};

/* ---- fields -------------------------------------------------------------------------------- */

static uint64_t field_load(const weft_config *config, const struct weft__key *key) {
    const char *field = (const char *)config + key->offset;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    bool flag = false;
    switch (key->kind) {
    case WEFT__KEY_U32:
    case WEFT__KEY_WORD:
        memcpy(&narrow, field, sizeof(narrow));
        return narrow;
    case WEFT__KEY_U64:
    case WEFT__KEY_SIZE:
    case WEFT__KEY_DURATION:
        memcpy(&wide, field, sizeof(wide));
        return wide;
    case WEFT__KEY_FLAG:
        memcpy(&flag, field, sizeof(flag));
        return flag ? 1 : 0;
    case WEFT__KEY_CPUS:
        break;
    }
    return 0;
}

static void field_store(weft_config *config, const struct weft__key *key, uint64_t value) {
    char *field = (char *)config + key->offset;
    uint32_t narrow = (uint32_t)value;
    bool flag = value != 0;
    switch (key->kind) {
    case WEFT__KEY_U32:
    case WEFT__KEY_WORD:
        weft_assert(value <= UINT32_MAX);
        memcpy(field, &narrow, sizeof(narrow));
        break;
    case WEFT__KEY_U64:
    case WEFT__KEY_SIZE:
    case WEFT__KEY_DURATION:
        memcpy(field, &value, sizeof(value));
        break;
    case WEFT__KEY_FLAG:
        memcpy(field, &flag, sizeof(flag));
        break;
    case WEFT__KEY_CPUS:
        break;
    }
}

static bool none_load(const weft_config *config, const struct weft__key *key) {
    bool flag = false;
    if (key->none != 0) {
        memcpy(&flag, (const char *)config + key->none, sizeof(flag));
    }
    return flag;
}

static void none_store(weft_config *config, const struct weft__key *key, bool flag) {
    if (key->none != 0) {
        memcpy((char *)config + key->none, &flag, sizeof(flag));
    }
}

static bool in_range(const struct weft__key *key, uint64_t value) {
    if (value < key->min || value > key->max) {
        return false;
    }
    return !key->power_of_two || weft_is_pow2(value);
}

/* ---- text to value ------------------------------------------------------------------------- */

/* Decimal digits from the beginning of text. Returns what follows them, NULL without a digit or
 * when the number does not fit. */
static const char *parse_digits(const char *text, uint64_t *ret_value) {
    uint64_t value = 0;
    const char *at = text;
    while (*at >= '0' && *at <= '9') {
        uint64_t low = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - low) / 10) {
            return NULL;
        }
        value = value * 10 + low;
        at++;
    }
    *ret_value = value;
    return at == text ? NULL : at;
}

static bool parse_quantity(const struct weft__key *key, const char *text, uint64_t *ret_value) {
    bool time = key->kind == WEFT__KEY_DURATION;
    const struct unit *units = time ? units_time : units_binary;
    uint32_t count = time ? UNITS_TIME : UNITS_BINARY;
    uint64_t number = 0;
    const char *suffix = parse_digits(text, &number);
    if (suffix == NULL) {
        return false;
    }
    if (*suffix == '\0' && number == 0) {
        *ret_value = 0; /* a duration of zero needs no unit */
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(suffix, units[i].suffix) == 0) {
            *ret_value = number * units[i].factor;
            return number <= UINT64_MAX / units[i].factor;
        }
    }
    return false;
}

static bool parse_word(const struct weft__key *key, const char *text, uint64_t *ret_value) {
    for (const struct weft__word *word = key->words; word != NULL && word->text != NULL; word++) {
        if (strcmp(text, word->text) == 0) {
            *ret_value = word->value;
            return true;
        }
    }
    return false;
}

static int store_cpus(weft_config *config, const char *value) {
    char field[WEFT_CONFIG_TEXT_BYTES];
    weft__cpu_set set;
    memset(field, 0, sizeof(field));
    if (strcmp(value, "auto") != 0) {
        size_t length = strlen(value);
        if (length >= sizeof(field) || weft__cpus_parse(value, &set) < 0) {
            return WEFT_E_CONFIG;
        }
        memcpy(field, value, length);
    }
    memcpy(config->cpus, field, sizeof(field));
    return 0;
}

int weft__config_store(weft_config *config, uint32_t index, const char *value) {
    weft_assert(index < WEFT__CONFIG_KEYS);
    const struct weft__key *key = &weft__config_keys[index];
    uint64_t number = 0;
    if (key->kind == WEFT__KEY_CPUS) {
        return store_cpus(config, value);
    }
    if (parse_word(key, value, &number)) {
        field_store(config, key, number);
        return 0;
    }
    if (key->kind == WEFT__KEY_WORD || key->kind == WEFT__KEY_FLAG ||
        !parse_quantity(key, value, &number)) {
        return WEFT_E_CONFIG;
    }
    bool none = number == 0 && key->none != 0;
    if (!none && !in_range(key, number)) {
        return WEFT_E_CONFIG;
    }
    field_store(config, key, number);
    none_store(config, key, none);
    return 0;
}

/* ---- value to text ------------------------------------------------------------------------- */

static void put_quantity(weft__text *text, const struct weft__key *key, uint64_t value) {
    bool time = key->kind == WEFT__KEY_DURATION;
    const struct unit *unit = time ? units_time : units_binary;
    while (unit->factor > 1 && value % unit->factor != 0) {
        unit++;
    }
    weft__text_put_u64(text, value / unit->factor);
    weft__text_put(text, unit->suffix);
}

static void put_value(weft__text *text, const struct weft__key *key, uint64_t value) {
    for (const struct weft__word *word = key->words; word != NULL && word->text != NULL; word++) {
        if (word->value == value) {
            weft__text_put(text, word->text);
            return;
        }
    }
    if (value == 0) {
        weft__text_put(text, "0");
        return;
    }
    put_quantity(text, key, value);
}

int weft__config_format(const weft_config *config, uint32_t index, char *text, size_t size) {
    weft_assert(index < WEFT__CONFIG_KEYS);
    const struct weft__key *key = &weft__config_keys[index];
    weft__text line;
    weft__text_init(&line, text, size);
    if (key->kind == WEFT__KEY_CPUS) {
        weft__text_put(&line, config->cpus[0] != '\0' ? config->cpus : "auto");
    } else if (none_load(config, key)) {
        weft__text_put(&line, "0");
    } else {
        uint64_t value = field_load(config, key);
        put_value(&line, key, value != 0 ? value : key->fallback);
    }
    return (int)line.length;
}

void weft__config_explain(weft__text *error, uint32_t index, const char *name, const char *value) {
    weft_assert(index < WEFT__CONFIG_KEYS);
    weft__text_put(error, name);
    weft__text_put(error, " = \"");
    weft__text_put_escaped(error, value, WEFT__CONFIG_SHOWN_MAX);
    weft__text_put(error, "\": accepted is ");
    weft__text_put(error, weft__config_keys[index].about.accepted);
}

/* ---- names --------------------------------------------------------------------------------- */

const char *weft__config_name(uint32_t index) {
    weft_assert(index < WEFT__CONFIG_KEYS);
    return weft__config_keys[index].about.name;
}

int weft__config_find(const char *name) {
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        if (strcmp(name, weft__config_keys[i].about.name) == 0) {
            return (int)i;
        }
    }
    return -ENOENT;
}

static uint32_t min_u32(uint32_t left, uint32_t right) {
    return left < right ? left : right;
}

/* Upper case and the dot say less than letters: LOG_LEVEL is near to log.level. */
static char folded(char byte) {
    if (byte == '.') {
        return '_';
    }
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static bool is_same(char left, char right) {
    return folded(left) == folded(right);
}

/* Insertions, deletions, replacements and swaps of neighbours that turn left into right (optimal
 * string alignment). Only the first NAME_COMPARED_MAX bytes are looked at. */
static uint32_t edit_distance(const char *left, const char *right) {
    uint32_t rows[3][NAME_COMPARED_MAX + 1];
    uint32_t left_size = (uint32_t)strnlen(left, NAME_COMPARED_MAX);
    uint32_t right_size = (uint32_t)strnlen(right, NAME_COMPARED_MAX);
    for (uint32_t j = 0; j <= right_size; j++) {
        rows[0][j] = j;
    }
    for (uint32_t i = 1; i <= left_size; i++) {
        const uint32_t *above = rows[(i - 1) % 3];
        uint32_t *row = rows[i % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= right_size; j++) {
            bool same = is_same(left[i - 1], right[j - 1]);
            row[j] = min_u32(above[j - 1] + (same ? 0 : 1), min_u32(above[j], row[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && is_same(left[i - 1], right[j - 2]) &&
                           is_same(left[i - 2], right[j - 1]);
            if (swapped) {
                row[j] = min_u32(row[j], rows[(i - 2) % 3][j - 2] + 1);
            }
        }
    }
    return rows[left_size % 3][right_size];
}

/* What follows the first dot, or the whole name without one. */
static const char *name_without_section(const char *name) {
    const char *dot = strchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

uint32_t weft__config_nearest(const char *name) {
    uint32_t nearest = 0;
    uint32_t smallest = UINT32_MAX;
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        const char *right = weft__config_keys[i].about.name;
        uint32_t whole = edit_distance(name, right);
        const char *right_part = name_without_section(right);
        /* The section may be wrong, or missing. */
        uint32_t part = min_u32(edit_distance(name_without_section(name), right_part),
                                edit_distance(name, right_part));
        uint32_t distance = min_u32(whole, part + OTHER_SECTION_COST);
        if (distance < smallest) {
            smallest = distance;
            nearest = i;
        }
    }
    return nearest;
}

int weft_config_describe(uint32_t index, weft_config_key *ret_key) {
    if (ret_key == NULL) {
        return -EINVAL;
    }
    if (index >= WEFT__CONFIG_KEYS) {
        return -ENOENT;
    }
    *ret_key = weft__config_keys[index].about;
    return 0;
}

/* ---- structs that grow --------------------------------------------------------------------- */

int weft__struct_copy(const weft__struct_rule *rule, const void *source, void *ret_struct) {
    /* A size that was never set is most often huge; nothing may be read by it. The kernel draws
     * the same line for openat2, at a page. */
    enum { STRUCT_BYTES_MAX = 4096 };
    weft_assert(rule->first <= rule->known);
    weft_assert(rule->known <= STRUCT_BYTES_MAX);
    size_t size = 0;
    memcpy(&size, source, sizeof(size));
    if (size < rule->first) {
        return -EINVAL;
    }
    if (size > STRUCT_BYTES_MAX) {
        return -E2BIG;
    }
    for (size_t i = rule->known; i < size; i++) {
        if (((const unsigned char *)source)[i] != 0) {
            return -E2BIG;
        }
    }
    size_t copied = (size_t)weft_min_u64(size, rule->known);
    memcpy(ret_struct, source, copied);
    memset((char *)ret_struct + copied, 0, rule->known - copied);
    memcpy(ret_struct, &rule->known, sizeof(rule->known));
    return 0;
}

/* Values that came in the struct itself and that no range says anything about. */
static int check_struct(const weft_config *config, weft__text *error) {
    weft__cpu_set set;
    bool ended = memchr(config->cpus, '\0', sizeof(config->cpus)) != NULL;
    if (!ended) {
        weft__text_put(error, "scheduler.cpus: the text has no terminating zero");
        return WEFT_E_CONFIG;
    }
    if (config->cpus[0] != '\0' && weft__cpus_parse(config->cpus, &set) < 0) {
        int index = weft__config_find("scheduler.cpus");
        weft_assert(index >= 0);
        weft__config_explain(error, (uint32_t)index, "scheduler.cpus", config->cpus);
        return WEFT_E_CONFIG;
    }
    if ((config->allocator.alloc == NULL) != (config->allocator.free == NULL)) {
        weft__text_put(error, "allocator: alloc and free go together");
        return WEFT_E_CONFIG;
    }
    return 0;
}

int weft__config_import(const weft_config *source, weft_config *ret_config, weft__text *error) {
    weft_config copy;
    memset(&copy, 0, sizeof(copy));
    copy.struct_size = sizeof(copy);
    if (source != NULL) {
        int result = weft__struct_copy(&config_rule, source, &copy);
        if (result < 0) {
            weft__text_put(error, result == -E2BIG
                                      ? "weft_config: made for a newer version of the library"
                                      : "weft_config: struct_size is not WEFT_CONFIG_INIT");
            return result;
        }
    }
    int result = check_struct(&copy, error);
    if (result < 0) {
        return result;
    }
    *ret_config = copy;
    return 0;
}

void weft__config_export(const weft_config *source, weft_config *target) {
    size_t target_size = target->struct_size;
    memcpy(target, source, (size_t)weft_min_u64(target_size, sizeof(*source)));
    target->struct_size = target_size;
}

int weft__config_copy(const weft_config *source, weft_config *ret_config, char *error,
                      size_t error_size) {
    weft__text line;
    weft__text_init(&line, error, error != NULL ? error_size : 0);
    return weft__config_import(source, ret_config, &line);
}

/* ---- public -------------------------------------------------------------------------------- */

int weft_config_set(weft_config *config, const char *key, const char *value, char *error,
                    size_t error_size) {
    if (config == NULL || key == NULL || value == NULL) {
        return -EINVAL;
    }
    weft__text line;
    weft__text_init(&line, error, error != NULL ? error_size : 0);
    weft_config copy;
    int result = weft__config_import(config, &copy, &line);
    if (result < 0) {
        return result;
    }
    int index = weft__config_find(key);
    if (index < 0) {
        weft__text_put(&line, "unknown key ");
        weft__text_put_escaped(&line, key, WEFT__CONFIG_SHOWN_MAX);
        weft__text_put(&line, "; the nearest is ");
        weft__text_put(&line, weft__config_name(weft__config_nearest(key)));
        return WEFT_E_CONFIG;
    }
    result = weft__config_store(&copy, (uint32_t)index, value);
    if (result < 0) {
        weft__config_explain(&line, (uint32_t)index, key, value);
        return result;
    }
    weft__config_export(&copy, config);
    return 0;
}

/* Fills in the default of one key and checks its range. */
static int resolve_key(weft_config *config, uint32_t index, weft__text *error) {
    const struct weft__key *key = &weft__config_keys[index];
    if (key->kind == WEFT__KEY_CPUS || key->kind == WEFT__KEY_FLAG) {
        return 0; /* checked when it was copied; every flag is in range */
    }
    uint64_t value = field_load(config, key);
    if (none_load(config, key)) {
        value = 0;
    } else if (value == 0) {
        value = key->fallback;
    } else if (!in_range(key, value)) {
        char shown[WEFT_CONFIG_TEXT_BYTES];
        (void)weft__config_format(config, index, shown, sizeof(shown)); /* numbers are short */
        weft__config_explain(error, index, key->about.name, shown);
        return WEFT_E_CONFIG;
    }
    field_store(config, key, value);
    return 0;
}

int weft_config_resolve(weft_config *config, char *error, size_t error_size) {
    if (config == NULL) {
        return -EINVAL;
    }
    weft__text line;
    weft__text_init(&line, error, error != NULL ? error_size : 0);
    weft_config copy;
    int result = weft__config_import(config, &copy, &line);
    if (result < 0) {
        return result;
    }
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        result = resolve_key(&copy, i, &line);
        if (result < 0) {
            return result;
        }
    }
    weft__config_export(&copy, config);
    return 0;
}
