/* SPDX-License-Identifier: MIT
 *
 * The log hook. The library never prints; it hands events with key/value fields to a hook, which
 * formats them. weft_log_stderr is a ready hook that writes one logfmt line per event.
 * Events: runtime.start and runtime.stop (info: version, schedulers, io, io_reason,
 * asymmetric_barrier, tls), io.accept (warn: error, connections), io.options (warn: call, error),
 * actor.crash (warn: type, pid, reason, error), watchdog.stuck (warn: scheduler, slot, type, stuck_ms),
 * config.invalid (error: error), io.driver (error: driver, error, reason; there is no io_uring and the
 * configuration insists on it), store.failure (warn: type, operation, error), call.circle
 * (warn: type, pid, callers), supervisor.child_failed, supervisor.start_failed,
 * supervisor.stop_failed and supervisor.restart_limit (warn: supervisor, child, pid, reason, error),
 * supervisor.restart (info: supervisor, child, pid), service.refused (debug: type, pid, tag,
 * operation, size, error), actor.trace (info: pid, type, way, kind, tag, size, peer, status, ref),
 * virtual.breaker (warn: type, id, crashes, error), process.limit (error: stacks_max, max_map_count,
 * reason, remedy; no stack for one process more, at most every 10 s).
 *
 * actor.trace, see weft_trace: way is receive, send, drop (its code never sees the message, or has
 * crashed with it; status says why: -ETIMEDOUT an expired request, WEFT_E_OVERLOAD a mailbox policy, WEFT_E_NOPROC the
 * actor's end, -EDEADLK a circle, -ECANCELED a cancelled request; a late reply keeps its own) or end
 * (the last event; status is the reason). kind: user, request, reply, timer, ready, done, dead, io,
 * exit, down, up, start, stop, kill, link, unlink, monitor, demonitor, passivate, cancel, end. peer:
 * who sent it or to whom it goes; none: nobody with a pid. status: of what is received, what
 * weft_msg_status says, of a stop its reason; of what is sent, what became of it (WEFT_E_OVERLOAD:
 * dropped by the mailbox policy), and if it went, of a reply or exit what it says. ref: the same
 * number in a request and its reply, unique among its caller's; of timer, done, down, up the token.
 * Stability: stable; event ids and keys are append-only.
 */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include <weft/defs.h>

WEFT_BEGIN_DECLS

enum weft_log_level {
    WEFT_LOG_DEFAULT = 0,
    WEFT_LOG_ERROR = 1,
    WEFT_LOG_WARN = 2,
    WEFT_LOG_INFO = 3,
    WEFT_LOG_DEBUG = 4,
};

enum weft_log_kind { WEFT_LOG_TEXT, WEFT_LOG_U64, WEFT_LOG_I64 };

typedef struct weft_log_field {
    const char *key;
    enum weft_log_kind kind;
    const char *text;
    uint64_t u64;
    int64_t i64;
} weft_log_field;

typedef struct weft_log_event {
    const char *name; /* static: "actor.crash", "runtime.start", "watchdog.stuck", ... */
    uint64_t mono_ns; /* the runtime's monotonic clock */
    uint64_t wall_ns; /* since 1970 */
    const weft_log_field *fields;
    uint32_t field_count;
} weft_log_event;

/* Called on any thread, also a scheduler's: must not block for long and must not call back into
 * the runtime. The event is valid during the call only. */
typedef void (*weft_log_fn)(void *cookie, enum weft_log_level level, const weft_log_event *event);

typedef struct weft_log_hook {
    void *cookie;
    weft_log_fn cb;
} weft_log_hook;

/* Writes an event as one logfmt line with a terminating zero, cut at size. Returns the length it
 * would have, as snprintf. Any thread. */
WEFT_API int weft_log_format(enum weft_log_level level, const weft_log_event *event, char *text,
                             size_t size);

/* A hook for programs: one write(2) of a logfmt line to standard error per event. */
WEFT_API void weft_log_stderr(void *cookie, enum weft_log_level level, const weft_log_event *event);

WEFT_END_DECLS

#endif
