/* SPDX-License-Identifier: MIT
 *
 * A set: a table whose entries are nothing but a member.
 */
#ifndef EXAMPLES_RESP_SET_H
#define EXAMPLES_RESP_SET_H

#include "table.h"

void set_destroy(struct table *self);
size_t set_bytes(const struct table *self);

#endif
