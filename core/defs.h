/* SPDX-License-Identifier: MIT
 *
 * What every internal file includes: compiler attributes behind names, the two grades of assert,
 * small arithmetic. Internal; no state.
 */
#ifndef WEFT_CORE_DEFS_H
#define WEFT_CORE_DEFS_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/defs.h>
#include <weft/error.h>

#define WEFT_CACHELINE 64

#define weft_likely(x)             __builtin_expect(!!(x), 1)
#define weft_unlikely(x)           __builtin_expect(!!(x), 0)
#define WEFT_INLINE                static inline __attribute__((always_inline))
#define WEFT_NOINLINE              __attribute__((noinline))
#define WEFT_COLD                  __attribute__((cold, noinline))
/* For what only weft_verify uses. */
#define WEFT_UNUSED                __attribute__((unused))
#define WEFT_FALLTHROUGH           __attribute__((fallthrough))
#define WEFT_PRINTF(format, first) __attribute__((format(printf, format, first)))
#define weft_prefetch(address)     __builtin_prefetch((address), 0, 3)
/* The line for writing: without it a load followed by a compare-and-swap fetches the line twice
 * from another core, first shared, then exclusive. The builtin gives a plain prefetch unless the
 * compiler is told of the instruction; processors without it treat it as a no-op. */
#if defined(__x86_64__)
#define weft_prefetch_write(address)                                                               \
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)(const void *)(address)))
#else
#define weft_prefetch_write(address) __builtin_prefetch((address), 1, 3)
#endif

/* Programmer errors: on in release builds, so only cheap conditions. Reports through a fixed
 * message and traps; there is nothing sensible to continue with. */
WEFT_COLD _Noreturn void weft__assert_failed(const char *file, int line, const char *what);
#define weft_assert(condition)                                                                     \
    do {                                                                                           \
        if (weft_unlikely(!(condition))) {                                                         \
            weft__assert_failed(__FILE__, __LINE__, #condition);                                   \
        }                                                                                          \
    } while (0)

/* Walks and other expensive checks: only with -Dverify=true. */
#ifdef WEFT_VERIFY
#define weft_verify(condition) weft_assert(condition)
#else
#define weft_verify(condition) ((void)sizeof(condition))
#endif

#define weft_container_of(pointer, type, member)                                                   \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

WEFT_INLINE bool weft_is_pow2(uint64_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

WEFT_INLINE uint64_t weft_min_u64(uint64_t left, uint64_t right) {
    return left < right ? left : right;
}

WEFT_INLINE uint64_t weft_max_u64(uint64_t left, uint64_t right) {
    return left > right ? left : right;
}

/* Sum that stops at the largest value: deadlines "never" stay never. */
WEFT_INLINE uint64_t weft_add_saturated(uint64_t left, uint64_t right) {
    return left > UINT64_MAX - right ? UINT64_MAX : left + right;
}

#endif
