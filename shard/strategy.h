/* SPDX-License-Identifier: MIT
 *
 * Placement, inside view: the owner of one shard without the whole map. Pure, any thread.
 */
#ifndef WEFT_SHARD_STRATEGY_H
#define WEFT_SHARD_STRATEGY_H

#include "core/defs.h"

#include <weft/shard.h>

#define WEFT__NO_OWNER UINT32_MAX

/* What weft_placement_compute would write into ret_owners[shard], for a placement that it accepts,
 * in time proportional to the nodes. WEFT__NO_OWNER: custom has answered no node, or the strategy
 * is WEFT_STRATEGY_BOUNDED, in which a shard depends on those before it (but not with one node). */
uint32_t weft__placement_owner(const weft_placement *placement, uint32_t shard);

#endif
