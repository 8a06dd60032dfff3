/* SPDX-License-Identifier: MIT
 *
 * The report: medians, spread and the machine, as lines or as JSON. Median, minimum, maximum and
 * median absolute deviation, since one slow run says nothing about the others. Beside them how
 * far apart the two cores were: a virtual machine's host moves them, and that moves the figures.
 * Main thread of the parent only.
 */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "perf.h"

enum { CPU_BYTES = 128, LINE_BYTES = 256 };

/* One cache line there and back was seen at 55 to 230 ns between near cores, at 320 and more
 * between far ones. As in perf/peers/lib.sh. */
static const double near_max_ns = 250.0;

struct spread {
    double median;
    double min;
    double max;
    double mad;
};

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;

    return a < b ? -1 : (a > b ? 1 : 0);
}

/* Sorts values. */
static double median_of(double *values, uint32_t count) {
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static struct spread spread_of(const struct perf_figure *figure) {
    double values[PERF_REPS_MAX];
    struct spread spread;

    memcpy(values, figure->values, figure->count * sizeof(*values));
    spread.median = median_of(values, figure->count);
    spread.min = values[0];
    spread.max = values[figure->count - 1];
    for (uint32_t i = 0; i < figure->count; i++) {
        double deviation = figure->values[i] - spread.median;

        values[i] = deviation < 0 ? -deviation : deviation;
    }
    spread.mad = median_of(values, figure->count);
    return spread;
}

uint32_t perf_distance_now(void) {
    double line_ns = perf_limit_cacheline_ns();

    if (line_ns <= 0) {
        return PERF_ONE_CORE;
    }
    return line_ns < near_max_ns ? PERF_NEAR : PERF_FAR;
}

static const char *distance_text(uint32_t distance) {
    switch (distance) {
    case PERF_NEAR:
        return "near";
    case PERF_FAR:
        return "far";
    case PERF_ONE_CORE:
        return "one-core";
    default:
        return "mixed";
    }
}

/* The digits a figure has in a line. */
static int decimals(double value) {
    return value < 1000.0 ? 4 : 0;
}

void perf_report_line(const struct perf_figure *figure, bool comment) {
    struct spread spread = spread_of(figure);

    (void)printf("weft %s %.*f %s", figure->name, decimals(spread.median), spread.median,
                 figure->unit);
    if (comment) {
        (void)printf("   # median of %u, min %.5g, max %.5g, %s", figure->count, spread.min,
                     spread.max, distance_text(figure->distance));
    }
    (void)putchar('\n');
    if (fflush(stdout) != 0) {
        perf_die("cannot write");
    }
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* The text of a JSON string; what would need an escape is left out. */
static void json_text(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text >= ' ' && *text != '"' && *text != '\\') {
            (void)putchar(*text);
        }
    }
}

static void machine_cpu(char *ret_cpu, size_t size) {
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[LINE_BYTES];

    (void)snprintf(ret_cpu, size, "unknown");
    if (file == NULL) {
        return;
    }
    /* Bounded by the file: some 30 lines a CPU, and the first CPU has what is looked for. */
    while (fgets(line, sizeof(line), file) != NULL) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(ret_cpu, size, "%.100s", colon + 2);
            break;
        }
    }
    (void)fclose(file); /* it was only read */
}

static void json_machine(void) {
    char cpu[CPU_BYTES];
    struct utsname name;

    machine_cpu(cpu, sizeof(cpu));
    (void)printf("\"machine\": {\"cpu\": \"");
    json_text(cpu);
    (void)printf("\", \"kernel\": \"");
    json_text(uname(&name) == 0 ? name.release : "unknown");
    (void)printf("\", \"cores\": %ld}", sysconf(_SC_NPROCESSORS_ONLN));
}

void perf_report_open(void) {
    (void)putchar('[');
}

void perf_report_json(const struct perf_figure *figure, bool first) {
    struct spread spread = spread_of(figure);

    (void)printf("%s  {\"workload\": \"", first ? "\n" : ",\n");
    json_text(figure->name);
    (void)printf("\", \"unit\": \"");
    json_text(figure->unit);
    (void)printf("\", \"median\": %.10g, \"min\": %.10g, \"max\": %.10g, \"mad\": %.10g, ",
                 spread.median, spread.min, spread.max, spread.mad);
    (void)printf("\"reps\": %u, \"cores\": \"%s\",\n   ", figure->count,
                 distance_text(figure->distance));
    json_machine();
    (void)putchar('}');
}

void perf_report_close(void) {
    (void)printf("\n]\n");
    if (fflush(stdout) != 0) {
        perf_die("cannot write");
    }
}
