/* SPDX-License-Identifier: MIT
 *
 * The watchdog: a thread that samples a run counter per scheduler. It reports handlers that run
 * too long, tells their scheduler that its clock is old, and takes what waits behind them (LIFO
 * slot, claimed batch, inbox, due timers) to the overflow queue, where others find it. It sleeps
 * for good while every scheduler sleeps. Absent in the simulator.
 */
#ifndef WEFT_SCHED_WATCHDOG_H
#define WEFT_SCHED_WATCHDOG_H

#include "sched/scheduler.h"

int weft__watchdog_create(weft_runtime *runtime);
int weft__watchdog_start(weft_runtime *runtime);
/* Ends its thread; the schedulers have ended. */
void weft__watchdog_join(weft_runtime *runtime);
void weft__watchdog_destroy(weft_runtime *runtime);
/* A scheduler woke up: so must the watchdog. Any thread; one load when it is awake. */
void weft__watchdog_poke(weft_runtime *runtime);

#endif
