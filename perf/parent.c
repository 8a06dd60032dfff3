/* SPDX-License-Identifier: MIT
 *
 * The parent: chooses workloads, runs each in fresh processes of this same program, reads their
 * lines and hands the figures to the report. It has no runtime of its own. A workload that fails
 * is named, the others still run, and the status is 1.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf.h"

enum { LINE_BYTES = 256, ARGUMENTS_MAX = 2 * PERF_SETS_MAX + 8, SCALE_BYTES = 32 };

/* The figures of one workload. */
struct figures {
    struct perf_figure *items;
    uint32_t count;
    uint32_t reported; /* of all workloads so far */
};

/* ---- choosing ------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A name chooses the workload of that name, else all of whose names or figures it is the start. */
static bool name_chooses(const char *name, const struct perf_workload *workload) {
    const char *figure = workload->figures;

    if (strcmp(name, "all") == 0 || strcmp(name, workload->name) == 0) {
        return true;
    }
    if (perf_workload_find(name) != NULL) {
        return false;
    }
    if (starts_with(workload->name, name)) {
        return true;
    }
    while (figure != NULL) {
        if (starts_with(figure, name)) {
            return true;
        }
        figure = strchr(figure, ' ');
        figure = figure == NULL ? NULL : figure + 1;
    }
    return false;
}

static bool is_chosen(const struct perf_options *options, const struct perf_workload *workload) {
    if (options->name_count == 0) {
        return workload->standard;
    }
    for (uint32_t i = 0; i < options->name_count; i++) {
        if (name_chooses(options->names[i], workload)) {
            return true;
        }
    }
    return false;
}

/* Each name must choose something: a misspelt one would otherwise measure nothing, silently. */
static bool names_are_known(const struct perf_options *options) {
    for (uint32_t i = 0; i < options->name_count; i++) {
        const struct perf_workload *workload = perf_workloads;

        while (workload->name != NULL && !name_chooses(options->names[i], workload)) {
            workload++;
        }
        if (workload->name == NULL) {
            (void)fprintf(stderr, "weft-perf: no workload %s; see --list\n", options->names[i]);
            return false;
        }
    }
    return true;
}

/* ---- running -------------------------------------------------------------------------------- */

static struct perf_figure *figures_find(struct figures *figures, const char *name,
                                        const char *unit) {
    struct perf_figure *figure;

    for (uint32_t i = 0; i < figures->count; i++) {
        if (strcmp(figures->items[i].name, name) == 0) {
            return &figures->items[i];
        }
    }
    if (figures->count == PERF_FIGURES_MAX) {
        perf_die("more than %d figures", (int)PERF_FIGURES_MAX);
    }
    figure = &figures->items[figures->count];
    figures->count++;
    memset(figure, 0, sizeof(*figure));
    (void)snprintf(figure->name, sizeof(figure->name), "%s", name);
    (void)snprintf(figure->unit, sizeof(figure->unit), "%s", unit);
    return figure;
}

static void figures_add(struct figures *figures, const char *line) {
    char name[PERF_NAME_BYTES];
    char unit[PERF_UNIT_BYTES];
    struct perf_figure *figure;
    double value;

    if (sscanf(line, "weft %63s %lf %23s", name, &value, unit) != 3) {
        perf_die("a measuring process said: %s", line);
    }
    figure = figures_find(figures, name, unit);
    figure->values[figure->count] = value;
    figure->count++;
}

/* execv does not write to its arguments, its type is older than const. */
static char *argument(const char *text) {
    return (char *)(uintptr_t)text;
}

static void child_exec(const struct perf_options *options, const char *name) {
    char *arguments[ARGUMENTS_MAX];
    char scale[SCALE_BYTES];
    uint32_t count = 0;

    (void)snprintf(scale, sizeof(scale), "%.17g", options->scale);
    arguments[count++] = argument("weft-perf");
    arguments[count++] = argument("--child");
    arguments[count++] = argument(name);
    arguments[count++] = argument("--scale");
    arguments[count++] = scale;
    if (options->config != NULL) {
        arguments[count++] = argument("--config");
        arguments[count++] = argument(options->config);
    }
    for (uint32_t i = 0; i < options->set_count; i++) {
        arguments[count++] = argument("--set");
        arguments[count++] = argument(options->sets[i]);
    }
    arguments[count] = NULL;
    (void)execv("/proc/self/exe", arguments); /* returns only on error */
    perf_die("/proc/self/exe: %s", strerror(errno));
}

/* Runs one repetition; false when it failed, having said why on stderr. */
static bool child_run(const struct perf_options *options, const char *name,
                      struct figures *figures) {
    char line[LINE_BYTES];
    FILE *lines;
    int fds[2];
    int status = 0;
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) != 0 || (child = fork()) < 0) {
        perf_die("cannot start a process: %s", strerror(errno));
    }
    if (child == 0) {
        if (dup2(fds[1], STDOUT_FILENO) < 0) {
            perf_die("dup2: %s", strerror(errno));
        }
        child_exec(options, name);
    }
    (void)close(fds[1]); /* the child's end */
    lines = fdopen(fds[0], "r");
    if (lines == NULL) {
        perf_die("fdopen: %s", strerror(errno));
    }
    /* Until the child ends, which its gates bound. */
    while (fgets(line, sizeof(line), lines) != NULL) {
        figures_add(figures, line);
    }
    (void)fclose(lines); /* it was only read */
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "weft-perf: %s: killed by signal %d\n", name, WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* All repetitions of one workload. */
static bool workload_run(const struct perf_options *options, const struct perf_workload *workload,
                         struct figures *figures) {
    bool comment = options->reps > 1 || options->verbose;
    uint32_t distance = 0;

    figures->count = 0;
    for (uint32_t i = 0; i < options->reps; i++) {
        distance |= comment || options->json ? perf_distance_now() : 0;
        if (!child_run(options, workload->name, figures)) {
            (void)fprintf(stderr, "weft-perf: %s failed\n", workload->name);
            return false;
        }
    }
    distance |= comment || options->json ? perf_distance_now() : 0;
    for (uint32_t i = 0; i < figures->count; i++) {
        figures->items[i].distance = distance;
        if (options->json) {
            perf_report_json(&figures->items[i], figures->reported == 0);
        } else {
            perf_report_line(&figures->items[i], comment);
        }
        figures->reported++;
    }
    return true;
}

int perf_parent(const struct perf_options *options) {
    struct figures figures = {.count = 0};
    int status = 0;

    if (!names_are_known(options)) {
        return 1;
    }
    figures.items = perf_alloc(PERF_FIGURES_MAX, sizeof(*figures.items));
    if (options->json) {
        perf_report_open();
    }
    for (const struct perf_workload *workload = perf_workloads; workload->name != NULL;
         workload++) {
        if (is_chosen(options, workload) && !workload_run(options, workload, &figures)) {
            status = 1;
        }
    }
    if (options->json) {
        perf_report_close();
    }
    free(figures.items);
    return status;
}
