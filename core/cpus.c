/* SPDX-License-Identifier: MIT
 *
 * The CPUs of this process: affinity mask, cgroup quota, CPU lists. See core/cpus.h. Called when a
 * configuration is checked and when a runtime is created, on the caller's thread.
 *
 * The quota: a container with "--cpus 2" on a 64-CPU host sees 64 CPUs in its affinity mask, and
 * 64 schedulers would spend each period's quota in its first milliseconds and then all stand
 * still. So the limits of every cgroup from this one up to the root are read and the smallest
 * wins. Inside a container the path in /proc/self/cgroup may be the host's, of which only the last
 * part is mounted; levels that do not exist are skipped, and the walk ends at the mount's root,
 * which then is the container's own group.
 */
#define _GNU_SOURCE 1

#include "core/cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <weft/config.h>

_Static_assert(sizeof(unsigned long) == sizeof(uint64_t), "the kernel's mask has our words");

enum {
    PATH_BYTES = 4096 + 256,     /* a cgroup path and what stands around it */
    CGROUP_FILE_BYTES = 128,     /* cpu.max and its like */
    CGROUP_LIST_BYTES = 1 << 14, /* /proc/self/cgroup: about one line per controller */
    LEVELS_MAX = 256,            /* of a cgroup hierarchy */
};

/* ---- sets ---------------------------------------------------------------------------------- */

static void set_recount(weft__cpu_set *set) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < WEFT__CPUS_WORDS; i++) {
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    }
    set->count = count;
}

bool weft__cpus_has(const weft__cpu_set *set, uint32_t cpu) {
    return cpu < WEFT__CPUS_MAX && (set->words[cpu / 64] >> (cpu % 64) & 1) != 0;
}

int weft__cpus_at(const weft__cpu_set *set, uint32_t index) {
    uint32_t left = index;
    for (uint32_t cpu = 0; cpu < WEFT__CPUS_MAX; cpu++) {
        if (!weft__cpus_has(set, cpu)) {
            continue;
        }
        if (left == 0) {
            return (int)cpu;
        }
        left--;
    }
    return -1;
}

uint32_t weft__cpus_schedulers(const weft__cpu_set *set) {
    uint64_t count = set->count;
    if (set->quota > 0) {
        count = weft_min_u64(count, set->quota);
    }
    return (uint32_t)weft_max_u64(1, weft_min_u64(count, WEFT_SCHEDULERS_MAX));
}

/* ---- lists --------------------------------------------------------------------------------- */

/* Reads a number at *at and moves *at behind it. Saturates; -EINVAL when there is no digit. */
static int parse_number(const char **at, uint64_t *ret_value) {
    const char *digit = *at;
    uint64_t value = 0;
    if (*digit < '0' || *digit > '9') {
        return -EINVAL;
    }
    while (*digit >= '0' && *digit <= '9') {
        uint64_t low = (uint64_t)(*digit - '0');
        value = value > (UINT64_MAX - low) / 10 ? UINT64_MAX : value * 10 + low;
        digit++;
    }
    *at = digit;
    *ret_value = value;
    return 0;
}

/* Reads "3" or "0-3" at *at, adds it to set and moves *at behind it. */
static int parse_range(const char **at, weft__cpu_set *set) {
    uint64_t first = 0;
    int result = parse_number(at, &first);
    if (result < 0) {
        return result;
    }
    uint64_t last = first;
    if (**at == '-') {
        (*at)++;
        result = parse_number(at, &last);
        if (result < 0) {
            return result;
        }
    }
    if (last < first) {
        return -EINVAL;
    }
    if (last >= WEFT__CPUS_MAX) {
        return -ERANGE;
    }
    for (uint64_t cpu = first; cpu <= last; cpu++) {
        set->words[cpu / 64] |= 1ull << (cpu % 64);
    }
    return 0;
}

int weft__cpus_parse(const char *list, weft__cpu_set *ret_set) {
    weft__cpu_set set;
    memset(&set, 0, sizeof(set));
    const char *at = list;
    for (;;) { /* ends at the latest at the terminating zero */
        int result = parse_range(&at, &set);
        if (result < 0) {
            return result;
        }
        if (*at == '\0') {
            break;
        }
        if (*at != ',') {
            return -EINVAL;
        }
        at++;
    }
    set_recount(&set);
    *ret_set = set;
    return 0;
}

int weft__cpus_restrict(weft__cpu_set *set, const char *list) {
    if (list[0] == '\0') {
        return 0;
    }
    weft__cpu_set wanted;
    int result = weft__cpus_parse(list, &wanted);
    if (result < 0) {
        return result;
    }
    for (uint32_t i = 0; i < WEFT__CPUS_WORDS; i++) {
        if ((wanted.words[i] & ~set->words[i]) != 0) {
            return -ENODEV;
        }
    }
    wanted.quota = set->quota;
    *set = wanted;
    return 0;
}

/* ---- cgroup texts -------------------------------------------------------------------------- */

static bool is_end(const char *at) {
    return at[0] == '\0' || (at[0] == '\n' && at[1] == '\0');
}

static int quota_to_cpus(uint64_t quota, uint64_t period, uint32_t *ret_cpus) {
    if (quota == 0 || period == 0) {
        return -EINVAL;
    }
    uint64_t cpus = quota / period + (quota % period != 0 ? 1 : 0);
    *ret_cpus = (uint32_t)weft_min_u64(cpus, UINT32_MAX);
    return 0;
}

int weft__cgroup_quota_v2(const char *text, uint32_t *ret_cpus) {
    const char *at = text;
    uint64_t quota = 0;
    uint64_t period = 0;
    bool unlimited = strncmp(at, "max", 3) == 0;
    if (unlimited) {
        at += 3;
    } else if (parse_number(&at, &quota) < 0) {
        return -EINVAL;
    }
    if (*at != ' ') {
        return -EINVAL;
    }
    at++;
    if (parse_number(&at, &period) < 0 || !is_end(at)) {
        return -EINVAL;
    }
    if (unlimited) {
        *ret_cpus = 0;
        return 0;
    }
    return quota_to_cpus(quota, period, ret_cpus);
}

int weft__cgroup_quota_v1(const char *quota, const char *period, uint32_t *ret_cpus) {
    if (strncmp(quota, "-1", 2) == 0 && is_end(quota + 2)) {
        *ret_cpus = 0;
        return 0;
    }
    uint64_t quota_us = 0;
    uint64_t period_us = 0;
    if (parse_number(&quota, &quota_us) < 0 || !is_end(quota)) {
        return -EINVAL;
    }
    if (parse_number(&period, &period_us) < 0 || !is_end(period)) {
        return -EINVAL;
    }
    return quota_to_cpus(quota_us, period_us, ret_cpus);
}

/* True when controller is one of the comma-separated names of line; "" only if it has none. */
static bool line_has(const weft__cgroup_line *line, const char *controller) {
    size_t wanted = strlen(controller);
    const char *at = line->controllers;
    const char *end = at + line->controllers_size;
    if (wanted == 0) {
        return at == end;
    }
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - at) == wanted && memcmp(at, controller, wanted) == 0) {
            return true;
        }
        at = stop + 1;
    }
    return false;
}

/* "4:cpu,cpuacct:/path", without its newline. */
static bool line_parse(const char *line, size_t size, weft__cgroup_line *ret_line) {
    const char *end = line + size;
    const char *first = memchr(line, ':', size);
    if (first == NULL) {
        return false;
    }
    const char *second = memchr(first + 1, ':', (size_t)(end - first - 1));
    if (second == NULL) {
        return false;
    }
    ret_line->controllers = first + 1;
    ret_line->controllers_size = (size_t)(second - first - 1);
    ret_line->path = second + 1;
    ret_line->path_size = (size_t)(end - second - 1);
    return ret_line->path_size > 0 && ret_line->path[0] == '/';
}

int weft__cgroup_find(const char *text, const char *controller, weft__cgroup_line *ret_line) {
    const char *at = text;
    while (*at != '\0') {
        size_t size = strcspn(at, "\n");
        weft__cgroup_line line;
        if (line_parse(at, size, &line) && line_has(&line, controller)) {
            *ret_line = line;
            return 0;
        }
        at += size;
        at += *at == '\n' ? 1 : 0;
    }
    return -ENOENT;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Reads a file of less than size bytes, terminated. False: not there, or not as small as that. */
static bool read_small(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t used = 0;
    ssize_t got = 0;
    do {
        got = read(fd, text + used, size - used);
        used += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && used < size) || (got < 0 && errno == EINTR));
    (void)close(fd); /* nothing was written */
    if (got < 0 || used >= size) {
        return false;
    }
    text[used] = '\0';
    return true;
}

static bool read_in(const char *directory, const char *name, char *text, size_t size) {
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    return length > 0 && (size_t)length < sizeof(path) && read_small(path, text, size);
}

/* The quota of one cgroup; 0: none, or not readable. */
static uint32_t quota_of_group(const char *directory) {
    char quota[CGROUP_FILE_BYTES];
    char period[CGROUP_FILE_BYTES];
    uint32_t cpus = 0;
    if (read_in(directory, "cpu.max", quota, sizeof(quota))) {
        return weft__cgroup_quota_v2(quota, &cpus) == 0 ? cpus : 0;
    }
    if (read_in(directory, "cpu.cfs_quota_us", quota, sizeof(quota)) &&
        read_in(directory, "cpu.cfs_period_us", period, sizeof(period))) {
        return weft__cgroup_quota_v1(quota, period, &cpus) == 0 ? cpus : 0;
    }
    return 0;
}

static uint32_t smaller_quota(uint32_t left, uint32_t right) {
    if (left == 0 || right == 0) {
        return left == 0 ? right : left;
    }
    return left < right ? left : right;
}

/* True for "/../x": the group lies outside what is mounted here, and following it would read the
 * limits of somebody else. */
static bool has_parent_part(const weft__cgroup_line *line) {
    for (size_t i = 0; i + 3 <= line->path_size; i++) {
        bool whole = i + 3 == line->path_size || line->path[i + 3] == '/';
        if (whole && memcmp(line->path + i, "/..", 3) == 0) {
            return true;
        }
    }
    return false;
}

/* The smallest quota from the line's group up to the root of the mount. */
static uint32_t quota_of_mount(const char *mount, const weft__cgroup_line *line) {
    char directory[PATH_BYTES];
    size_t mount_size = strlen(mount);
    size_t path_size = has_parent_part(line) ? 0 : line->path_size;
    if (mount_size + path_size >= sizeof(directory)) {
        return 0;
    }
    memcpy(directory, mount, mount_size + 1);
    memcpy(directory + mount_size, line->path, path_size);
    directory[mount_size + path_size] = '\0';
    uint32_t smallest = 0;
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        smallest = smaller_quota(smallest, quota_of_group(directory));
        char *slash = strrchr(directory + mount_size, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return smallest;
}

uint32_t weft__cpus_quota(const char *root) {
    /* Where distributions mount the hierarchies: version 2 alone, version 2 beside 1, and the cpu
     * controller of version 1 (which may be one with cpuacct). */
    static const struct {
        const char *controller;
        const char *mount;
    } places[] = {
        {"", "/sys/fs/cgroup"},
        {"", "/sys/fs/cgroup/unified"},
        {"cpu", "/sys/fs/cgroup/cpu"},
        {"cpu", "/sys/fs/cgroup/cpu,cpuacct"},
    };
    char path[PATH_BYTES];
    char list[CGROUP_LIST_BYTES];
    int length = snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (length < 0 || (size_t)length >= sizeof(path) || !read_small(path, list, sizeof(list))) {
        return 0;
    }
    uint32_t smallest = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        weft__cgroup_line line;
        if (weft__cgroup_find(list, places[i].controller, &line) < 0) {
            continue;
        }
        length = snprintf(path, sizeof(path), "%s%s", root, places[i].mount);
        if (length > 0 && (size_t)length < sizeof(path)) {
            smallest = smaller_quota(smallest, quota_of_mount(path, &line));
        }
    }
    return smallest;
}

int weft__cpus_allowed(weft__cpu_set *ret_set) {
    weft__cpu_set set;
    memset(&set, 0, sizeof(set));
    if (sched_getaffinity(0, sizeof(set.words), (cpu_set_t *)(void *)set.words) < 0) {
        return -errno;
    }
    set_recount(&set);
    set.quota = weft__cpus_quota("");
    *ret_set = set;
    return 0;
}
