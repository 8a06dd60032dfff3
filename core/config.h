/* SPDX-License-Identifier: MIT
 *
 * Inside of the configuration: the keys as config.c (values), config_load.c (files and
 * environment) and the runtime use them; config_keys.h has the table itself. Everything here is pure but weft_config_load; any thread.
 *
 * A key is known by its index in the table, which is also the index of weft_config_describe.
 */
#ifndef WEFT_CORE_CONFIG_H
#define WEFT_CORE_CONFIG_H

#include "core/text.h"

#include <weft/config.h>

enum {
    WEFT__CONFIG_KEYS = 38,
    WEFT__CONFIG_SHOWN_MAX = 64, /* bytes of a bad value or name that an error line shows */
};

/* ---- structs that grow --------------------------------------------------------------------- */

/* Sizes of a public struct that starts with struct_size: today's, and the first that was ever
 * released. */
typedef struct weft__struct_rule {
    size_t known;
    size_t first;
} weft__struct_rule;

/* Copies a caller's struct into a struct of rule->known bytes. Smaller ones are filled up with
 * zeroes; larger ones must hold zeroes where this library knows nothing: else -E2BIG. -EINVAL
 * below the first size. The copy's struct_size is rule->known. */
WEFT_MUSTUSE int weft__struct_copy(const weft__struct_rule *rule, const void *source,
                                   void *ret_struct);

/* The same for a configuration, whose strings and CPU list are checked too; NULL source: all
 * defaults. -EINVAL, -E2BIG, WEFT_E_CONFIG with a line in error (may be NULL). */
WEFT_MUSTUSE int weft__config_copy(const weft_config *source, weft_config *ret_config, char *error,
                                   size_t error_size);
/* The same with an error text that was started before. */
WEFT_MUSTUSE int weft__config_import(const weft_config *source, weft_config *ret_config,
                                     weft__text *error);
/* Back into the caller's struct, as far as that goes; its struct_size stays. */
void weft__config_export(const weft_config *source, weft_config *target);

/* ---- keys ---------------------------------------------------------------------------------- */

/* The name of a key, which must exist. */
const char *weft__config_name(uint32_t index);
/* Index of a key by its whole name, or -ENOENT. */
WEFT_MUSTUSE int weft__config_find(const char *name);
/* The key that a wrong name was most likely meant to be. */
uint32_t weft__config_nearest(const char *name);

/* Sets one key from text. 0 or WEFT_E_CONFIG; config is then unchanged. */
WEFT_MUSTUSE int weft__config_store(weft_config *config, uint32_t index, const char *value);
/* Puts: name = "value": accepted is ... */
void weft__config_explain(weft__text *error, uint32_t index, const char *name, const char *value);

/* Writes the value of a key as text that weft_config_set accepts. Returns the length it would
 * have, as snprintf. */
int weft__config_format(const weft_config *config, uint32_t index, char *text, size_t size);

#endif
