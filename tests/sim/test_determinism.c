/* SPDX-License-Identifier: MIT
 *
 * The same seed gives the same hash, and other seeds give other hashes. When two runs of a seed
 * part, the first event in which they differ is printed: something in the runtime then depends on
 * an address, on uninitialised memory or on the machine.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_run.h"
#include "mix.h"

enum { SEEDS = 500, SEEDS_DISTINCT_MIN = 490, EVENTS_MAX = 1 << 21 };

struct event {
    uint32_t event;
    uint64_t first;
    uint64_t second;
};

struct events {
    uint64_t count;
    struct event *list;
};

static void events_add(void *cookie, uint32_t event, uint64_t first, uint64_t second) {
    struct events *events = cookie;
    if (events->count < EVENTS_MAX) {
        events->list[events->count] = (struct event){event, first, second};
    }
    events->count++;
}

static mix_report seed_run(uint64_t seed, struct events *events) {
    mix_options options = {.seed = seed,
                           .schedulers = 4,
                           .nest_max = (uint32_t)(seed % 3),
                           .observe = events != NULL ? events_add : NULL,
                           .cookie = events};
    mix_report report;
    mix_run(&options, &report);
    ck_assert_msg(!report.failed, "seed %llu: %s", (unsigned long long)seed, report.text);
    return report;
}

/* Runs a seed twice more and says where the runs part. */
static void difference_print(uint64_t seed) {
    struct events events[2] = {{0, NULL}, {0, NULL}};
    for (uint32_t round = 0; round < 2; round++) {
        events[round].list = calloc(EVENTS_MAX, sizeof(struct event));
        ck_assert_ptr_nonnull(events[round].list);
        (void)seed_run(seed, &events[round]);
    }
    for (uint64_t i = 0; i < EVENTS_MAX && i < events[0].count && i < events[1].count; i++) {
        const struct event *left = &events[0].list[i];
        const struct event *right = &events[1].list[i];
        if (left->event != right->event || left->first != right->first ||
            left->second != right->second) {
            printf("seed %llu: event %llu is %#x(%#llx, %#llx), then %#x(%#llx, %#llx)\n",
                   (unsigned long long)seed, (unsigned long long)i, left->event,
                   (unsigned long long)left->first, (unsigned long long)left->second, right->event,
                   (unsigned long long)right->first, (unsigned long long)right->second);
            break;
        }
    }
    free(events[0].list);
    free(events[1].list);
}

static int hash_compare(const void *left, const void *right) {
    uint64_t first = *(const uint64_t *)left;
    uint64_t second = *(const uint64_t *)right;
    return first < second ? -1 : first > second;
}

START_TEST(test_hash_depends_on_the_seed_alone) {
    static uint64_t hashes[SEEDS];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        mix_report first = seed_run(seed, NULL);
        void *shift = malloc(1 + seed * 64); /* addresses of the second run are others */
        mix_report second = seed_run(seed, NULL);
        free(shift);
        hashes[seed] = first.hash;
        if (first.hash != second.hash) {
            difference_print(seed);
        }
        ck_assert_msg(first.hash == second.hash, "seed %llu: %llx, then %llx",
                      (unsigned long long)seed, (unsigned long long)first.hash,
                      (unsigned long long)second.hash);
        ck_assert_uint_eq(first.steps, second.steps);
    }
    qsort(hashes, SEEDS, sizeof(hashes[0]), hash_compare);
    uint32_t distinct = 1;
    for (uint32_t i = 1; i < SEEDS; i++) {
        distinct += hashes[i] != hashes[i - 1];
    }
    ck_assert_uint_ge(distinct, SEEDS_DISTINCT_MIN);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("determinism");
    TCase *tcase = tcase_create("hash");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, test_hash_depends_on_the_seed_alone);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
