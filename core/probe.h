/* SPDX-License-Identifier: MIT
 *
 * Trace points for perf, bpftrace and SystemTap (build option usdt): one no-op instruction each,
 * nothing at all without the option. None is on the path of a message; docs/tuning.md says how to
 * use them.
 */
#ifndef WEFT_CORE_PROBE_H
#define WEFT_CORE_PROBE_H

#ifdef WEFT_USDT
#include <sys/sdt.h>
#define WEFT_PROBE2(name, first, second)        DTRACE_PROBE2(weft, name, first, second)
#define WEFT_PROBE3(name, first, second, third) DTRACE_PROBE3(weft, name, first, second, third)
#else
#define WEFT_PROBE2(name, first, second)        ((void)(first), (void)(second))
#define WEFT_PROBE3(name, first, second, third) ((void)(first), (void)(second), (void)(third))
#endif

#endif
