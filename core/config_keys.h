/* SPDX-License-Identifier: MIT
 *
 * The table of configuration keys: what core/config_keys.c says of each key, and core/config.c
 * works with. Const; any thread.
 */
#ifndef WEFT_CORE_CONFIG_KEYS_H
#define WEFT_CORE_CONFIG_KEYS_H

#include "core/config.h"

enum weft__key_kind {
    WEFT__KEY_U32,      /* a count */
    WEFT__KEY_U64,      /* a count */
    WEFT__KEY_SIZE,     /* bytes, uint64_t */
    WEFT__KEY_DURATION, /* nanoseconds, uint64_t */
    WEFT__KEY_WORD,     /* one of words, uint32_t */
    WEFT__KEY_FLAG,     /* one of words, bool */
    WEFT__KEY_CPUS,     /* text, "" is auto */
};

struct weft__word {
    const char *text; /* NULL ends a list */
    uint64_t value;
};

struct weft__key {
    weft_config_key about;
    enum weft__key_kind kind;
    size_t offset;                  /* of the field in weft_config */
    size_t none;                    /* of its *_none flag, or 0 */
    uint64_t min;                   /* of the field, when it is neither none nor default */
    uint64_t max;                   /* ... */
    uint64_t fallback;              /* what zero stands for */
    const struct weft__word *words; /* texts that stand for values; NULL: none */
    bool power_of_two;
};

/* By index, in the order of weft_config_describe. The keys of a section stand together. */
extern const struct weft__key weft__config_keys[WEFT__CONFIG_KEYS];

#endif
