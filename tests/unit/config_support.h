/* SPDX-License-Identifier: MIT
 *
 * What the tests of the configuration share: an empty one, and one with a key that was set.
 */
#ifndef WEFT_TESTS_UNIT_CONFIG_SUPPORT_H
#define WEFT_TESTS_UNIT_CONFIG_SUPPORT_H

#include "core/config.h"

#include <check.h>
#include <string.h>

enum { ERROR_BYTES = 512 };

static inline weft_config config_init(void) {
    weft_config config;
    memset(&config, 0, sizeof(config));
    config.struct_size = WEFT_CONFIG_INIT;
    return config;
}

/* Sets a key that must be right, in an empty configuration. */
static inline weft_config config_with(const char *key, const char *value) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    int result = weft_config_set(&config, key, value, error, sizeof(error));
    ck_assert_msg(result == 0, "%s = %s: %s", key, value, error);
    ck_assert_str_eq(error, "");
    return config;
}

#endif
