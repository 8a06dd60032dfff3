/* SPDX-License-Identifier: MIT
 *
 * Which CPUs this process may use, and how many schedulers that is worth. Read once, when a
 * runtime is created, on the creating thread. The parsers are pure functions of their text; only
 * weft__cpus_allowed and weft__cpus_quota read from the operating system.
 *
 * Invariant of a weft__cpu_set: count is the number of bits set; quota is what a cgroup grants, in
 * whole CPUs rounded up, or 0 when nothing limits it.
 */
#ifndef WEFT_CORE_CPUS_H
#define WEFT_CORE_CPUS_H

#include "core/defs.h"

enum {
    WEFT__CPUS_MAX = 8192, /* as many as a Linux kernel can be built for */
    WEFT__CPUS_WORDS = WEFT__CPUS_MAX / 64,
};

typedef struct weft__cpu_set {
    uint32_t count;
    uint32_t quota;
    uint64_t words[WEFT__CPUS_WORDS];
} weft__cpu_set;

/* The CPUs of this thread's affinity mask and the CPU quota of its cgroups. -errno. */
WEFT_MUSTUSE int weft__cpus_allowed(weft__cpu_set *ret_set);

/* The smallest quota of this process's cgroups (version 2 and 1) and of those above it, in whole
 * CPUs rounded up; 0: none. root is put before /proc and /sys: "" but in tests. What cannot be
 * read or understood does not limit. */
uint32_t weft__cpus_quota(const char *root);

/* Parses "0-3,6,8-15" to the end of list. -EINVAL: empty, no number, reversed range or trailing
 * text; -ERANGE: a CPU above WEFT__CPUS_MAX - 1. */
WEFT_MUSTUSE int weft__cpus_parse(const char *list, weft__cpu_set *ret_set);

/* Restricts set to the CPUs of list; an empty list leaves it. Errors of weft__cpus_parse, and
 * -ENODEV when list names a CPU that is not in set; set is then unchanged. */
WEFT_MUSTUSE int weft__cpus_restrict(weft__cpu_set *set, const char *list);

bool weft__cpus_has(const weft__cpu_set *set, uint32_t cpu);
/* CPU number index, from 0 in ascending order; -1 when there are not so many. */
int weft__cpus_at(const weft__cpu_set *set, uint32_t index);

/* How many schedulers scheduler.count = auto means: as many as CPUs, no more than the quota,
 * within 1..WEFT_SCHEDULERS_MAX. */
uint32_t weft__cpus_schedulers(const weft__cpu_set *set);

/* The text of cpu.max (version 2: "max 100000", "150000 100000"), in whole CPUs rounded up; 0:
 * no limit. -EINVAL. */
WEFT_MUSTUSE int weft__cgroup_quota_v2(const char *text, uint32_t *ret_cpus);
/* The same from cpu.cfs_quota_us ("-1": none) and cpu.cfs_period_us (version 1). */
WEFT_MUSTUSE int weft__cgroup_quota_v1(const char *quota, const char *period, uint32_t *ret_cpus);

/* One line of /proc/self/cgroup. The strings lie inside the text and are not terminated. */
typedef struct weft__cgroup_line {
    const char *controllers; /* "cpu,cpuacct"; empty: version 2 */
    size_t controllers_size;
    const char *path; /* "/system.slice/a.service" */
    size_t path_size;
} weft__cgroup_line;

/* Finds the line of a controller ("cpu"), or of version 2 (""), in the text of /proc/self/cgroup.
 * -ENOENT. */
WEFT_MUSTUSE int weft__cgroup_find(const char *text, const char *controller,
                                   weft__cgroup_line *ret_line);

#endif
