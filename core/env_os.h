/* SPDX-License-Identifier: MIT
 *
 * What the drivers of the I/O layer need of the operating system and may not call themselves:
 * sleeping on a word. Implemented in core/env_os.c, the file of all such calls. Any thread.
 */
#ifndef WEFT_CORE_ENV_OS_H
#define WEFT_CORE_ENV_OS_H

#include "core/atomic.h"

/* Sleeps while *word is expected, until a wake or deadline_ns of the monotonic clock (UINT64_MAX:
 * never). Returns at once when the word is another value; may return spuriously. */
void weft__os_futex_wait(weft_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);

/* Wakes one thread that sleeps on the word. */
void weft__os_futex_wake(weft_atomic_u32 *word);

#endif
