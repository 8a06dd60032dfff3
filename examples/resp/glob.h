/* SPDX-License-Identifier: MIT
 *
 * Patterns of KEYS, SCAN and CONFIG GET: * ? [abc] [^a-z] and \ before a byte that means itself.
 */
#ifndef EXAMPLES_RESP_GLOB_H
#define EXAMPLES_RESP_GLOB_H

#include "value.h"

/* Takes at most the product of both sizes. */
bool glob_matches(const slice *pattern, const slice *text, bool any_case);

#endif
