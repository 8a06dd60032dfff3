/* SPDX-License-Identifier: MIT
 *
 * A hash: a table whose entries are a field and its value.
 */
#ifndef EXAMPLES_RESP_HASH_H
#define EXAMPLES_RESP_HASH_H

#include "table.h"

void hash_destroy(struct table *self);
size_t hash_bytes(const struct table *self);

#endif
