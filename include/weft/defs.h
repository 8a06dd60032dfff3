/* SPDX-License-Identifier: MIT
 *
 * Macros every public header uses: version, symbol visibility, attributes.
 * Stability: stable.
 */
#ifndef WEFT_DEFS_H
#define WEFT_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION       "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define WEFT_API     __attribute__((visibility("default")))
#define WEFT_MUSTUSE __attribute__((warn_unused_result))
#else
#define WEFT_API
#define WEFT_MUSTUSE
#endif

#ifdef __cplusplus
#define WEFT_BEGIN_DECLS extern "C" {
#define WEFT_END_DECLS   }
#else
#define WEFT_BEGIN_DECLS
#define WEFT_END_DECLS
#endif

WEFT_BEGIN_DECLS

/* A running runtime: schedulers, actors, pools. Several may live in one process. */
typedef struct weft_runtime weft_runtime;
/* The actor a callback runs for. Valid only inside that callback, only on its thread. */
typedef struct weft_ctx weft_ctx;
/* A registered actor type. Valid as long as its runtime. */
typedef struct weft_type weft_type;
/* One message. See weft/msg.h for who owns it when. */
typedef struct weft_msg weft_msg;
/* A reference-counted, immutable payload. */
typedef struct weft_buf weft_buf;
/* Where virtual actors keep their state: see weft/store.h. */
typedef struct weft_store weft_store;

/* The version of the library that is linked, "0.1.0". Any thread. */
WEFT_API const char *weft_version(void);

WEFT_END_DECLS

#endif
