/* SPDX-License-Identifier: MIT
 *
 * weft: virtual actors on a work-stealing actor runtime. This header includes everything but
 * sim.h.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <weft/actor.h>
#include <weft/address.h>
#include <weft/config.h>
#include <weft/datagram.h>
#include <weft/defs.h>
#include <weft/error.h>
#include <weft/file.h>
#include <weft/job.h>
#include <weft/link.h>
#include <weft/log.h>
#include <weft/msg.h>
#include <weft/name.h>
#include <weft/pid.h>
#include <weft/process.h>
#include <weft/runtime.h>
#include <weft/service.h>
#include <weft/shard.h>
#include <weft/stats.h>
#include <weft/store.h>
#include <weft/stream.h>
#include <weft/supervisor.h>
#include <weft/tls.h>
#include <weft/virtual.h>

#endif
