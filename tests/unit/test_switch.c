/* SPDX-License-Identifier: MIT
 *
 * Fibres: what travels with a switch and what is kept across it, alignment, the end that unwinders
 * see, other threads, fibres within fibres, and those that are dropped in the middle. The stacks
 * come from malloc, where the address sanitizer sees what lies beside them.
 */
#define _GNU_SOURCE
#include "core/prng.h"
#include "sched/switch.h"
#include "tests/unit/support.h"

#include <unwind.h>

enum { STACK = 128 << 10 };

/* The library looks for this one, which a C++ program has. */
static _Thread_local struct weft__exceptions thread_exceptions;
struct weft__exceptions *__cxa_get_globals(void) {
    return &thread_exceptions;
}

static void fibre_start(struct weft__fibre *fibre, weft__fibre_fn entry) {
    char *low = malloc(STACK);
    ck_assert_ptr_nonnull(low);
    weft__fibre_init(fibre, low, STACK, entry);
}

static void fibre_stop(struct weft__fibre *fibre) {
    char *low = fibre->low;
    weft__fibre_fini(fibre);
    memset(low, 0x5a, STACK); /* the address sanitizer looks whether all of it may be used */
    free(low);
}

static void *number(uintptr_t value) {
    return (void *)value;
}

static void *enter(struct weft__fibre *fibre, uintptr_t value) {
    return weft__fibre_enter(fibre, number(value));
}

/* ---- values ---------------------------------------------------------------------------------- */

static void *add_up(struct weft__fibre *fibre, void *value) {
    uintptr_t sum = (uintptr_t)value;
    while (sum < 1000) {
        sum += (uintptr_t)weft__fibre_leave(fibre, number(sum));
    }
    return number(sum + 1000000);
}

START_TEST(values_travel_both_ways) {
    struct weft__fibre fibre;
    fibre_start(&fibre, add_up);
    ck_assert_ptr_eq(enter(&fibre, 1), number(1));
    ck_assert_ptr_eq(enter(&fibre, 10), number(11));
    ck_assert_ptr_eq(enter(&fibre, 100), number(111));
    ck_assert(!fibre.ended);
    ck_assert_ptr_eq(enter(&fibre, 1000), number(1001111));
    ck_assert(fibre.ended);
    fibre_stop(&fibre);
}
END_TEST

START_TEST(a_fibre_can_be_given_up_at_any_point) {
    struct weft__fibre fibre;
    fibre_start(&fibre, add_up);
    fibre_stop(&fibre);
    fibre_start(&fibre, add_up);
    ck_assert_ptr_eq(enter(&fibre, 1), number(1));
    fibre_stop(&fibre);
}
END_TEST

/* ---- registers ------------------------------------------------------------------------------- */

enum { LIVE = 14 };

/* More values than there are registers that a call preserves, alive across each leave or enter. */
static WEFT_NOINLINE uint64_t live_values(struct weft__fibre *fibre, uint64_t seed, bool inside) {
    uint64_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13, f = seed * 17;
    uint64_t g = seed * 19, h = seed * 23, i = seed * 29, j = seed * 31;
    double p = (double)seed, q = p * 2, r = p * 3, s = p * 5, t = p * 7, u = p * 11, v = p * 13;
    for (uint32_t round = 0; round < 100; round++) {
        (void)(inside ? weft__fibre_leave(fibre, NULL) : weft__fibre_enter(fibre, NULL));
        a += 3, b += 5, c += 7, d += 11, e += 13, f += 17, g += 19, h += 23, i += 29, j += 31;
        p += 1, q += 2, r += 3, s += 5, t += 7, u += 11, v += 13;
    }
    ck_assert(p == (double)(seed + 100));
    ck_assert(q == 2 * p && r == 3 * p && s == 5 * p && t == 7 * p && u == 11 * p && v == 13 * p);
    uint64_t n = seed + 100;
    ck_assert(a == 3 * n && b == 5 * n && c == 7 * n && d == 11 * n && e == 13 * n);
    ck_assert(f == 17 * n && g == 19 * n && h == 23 * n && i == 29 * n && j == 31 * n);
    return n;
}

static void *live_inside(struct weft__fibre *fibre, void *value) {
    (void)value;
    return number(live_values(fibre, 1000, true));
}

START_TEST(registers_are_preserved_on_both_sides) {
    struct weft__fibre fibre;
    fibre_start(&fibre, live_inside);
    ck_assert_ptr_null(enter(&fibre, 0));
    ck_assert_uint_eq(live_values(&fibre, 5, false), 105);
    ck_assert(fibre.ended);
    fibre_stop(&fibre);
}
END_TEST

/* Control words of floating point: of a calculation, and how it rounds. */
#if defined(__x86_64__)
struct controls {
    uint32_t mxcsr;
    uint16_t x87;
};
static struct controls controls_now(void) {
    struct controls controls;
    __asm__ __volatile__("stmxcsr %0" : "=m"(controls.mxcsr));
    __asm__ __volatile__("fnstcw %0" : "=m"(controls.x87));
    controls.mxcsr &= 0xffc0;
    return controls;
}
static void controls_set(struct controls controls) {
    __asm__ __volatile__("ldmxcsr %0" : : "m"(controls.mxcsr));
    __asm__ __volatile__("fldcw %0" : : "m"(controls.x87));
}
static struct controls controls_other(uint32_t which) {
    struct controls controls = controls_now();
    controls.mxcsr = (which & 1) != 0 ? controls.mxcsr ^ 0x6000 : controls.mxcsr;
    controls.x87 = (which & 2) != 0 ? (uint16_t)(controls.x87 ^ 0x0c00) : controls.x87;
    return controls;
}
static bool controls_equal(struct controls left, struct controls right) {
    return left.mxcsr == right.mxcsr && left.x87 == right.x87;
}
#else
struct controls {
    uint64_t fpcr;
};
static struct controls controls_now(void) {
    struct controls controls;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(controls.fpcr));
    return controls;
}
static void controls_set(struct controls controls) {
    __asm__ __volatile__("msr fpcr, %0" : : "r"(controls.fpcr));
}
static struct controls controls_other(uint32_t which) {
    struct controls controls = controls_now();
    controls.fpcr ^= (uint64_t)which << 22;
    return controls;
}
static bool controls_equal(struct controls left, struct controls right) {
    return left.fpcr == right.fpcr;
}
#endif

static void *round_otherwise(struct weft__fibre *fibre, void *value) {
    struct controls before = controls_now();
    struct controls other = controls_other((uint32_t)(uintptr_t)value);
    ck_assert(!controls_equal(before, other));
    controls_set(other);
    for (uint32_t i = 0; i < 10; i++) {
        (void)weft__fibre_leave(fibre, NULL);
        ck_assert(controls_equal(controls_now(), other));
    }
    return NULL;
}

START_TEST(rounding_is_each_ones_own) {
    struct weft__fibre fibre;
    struct controls before = controls_now();
    fibre_start(&fibre, round_otherwise);
    for (uint32_t i = 0; i < 11; i++) {
        (void)enter(&fibre, (uintptr_t)_i + 1);
        ck_assert(controls_equal(controls_now(), before));
    }
    ck_assert(fibre.ended);
    fibre_stop(&fibre);
}
END_TEST

static void *report_controls(struct weft__fibre *fibre, void *value) {
    (void)fibre;
    *(struct controls *)value = controls_now();
    return NULL;
}

START_TEST(a_fibre_begins_with_the_rounding_of_who_made_it) {
    struct weft__fibre fibre;
    struct controls before = controls_now();
    struct controls other = controls_other(3);
    controls_set(other);
    fibre_start(&fibre, report_controls);
    controls_set(before);
    struct controls seen;
    (void)weft__fibre_enter(&fibre, &seen);
    ck_assert(controls_equal(seen, other));
    ck_assert(controls_equal(controls_now(), before));
    fibre_stop(&fibre);
}
END_TEST

/* ---- the stack ------------------------------------------------------------------------------- */

static void *report_alignment(struct weft__fibre *fibre, void *value) {
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    ck_assert_ptr_eq(value, number(7));
    ck_assert_uint_ge(frame, (uintptr_t)fibre->low);
    ck_assert_uint_lt(frame, (uintptr_t)fibre->low + fibre->bytes);
    return number(frame % 16);
}

START_TEST(the_stack_is_aligned_wherever_it_ends) {
    char *low = malloc(STACK);
    ck_assert_ptr_nonnull(low);
    for (size_t cut = 0; cut < 40; cut++) {
        struct weft__fibre fibre;
        weft__fibre_init(&fibre, low, STACK - cut, report_alignment);
        ck_assert_ptr_eq(enter(&fibre, 7), number(0));
        weft__fibre_fini(&fibre);
    }
    free(low);
}
END_TEST

START_TEST(a_fibre_may_lie_above_its_own_stack) {
    char *low = aligned_alloc(64, STACK);
    ck_assert_ptr_nonnull(low);
    size_t bytes = STACK - (sizeof(struct weft__fibre) + 63) / 64 * 64;
    struct weft__fibre *fibre = (struct weft__fibre *)(void *)(low + bytes);
    weft__fibre_init(fibre, low, bytes, add_up);
    ck_assert_ptr_eq(enter(fibre, 1), number(1));
    ck_assert_ptr_eq(enter(fibre, 1000), number(1001001));
    weft__fibre_fini(fibre);
    free(low);
}
END_TEST

struct walk {
    struct weft__fibre *fibre;
    uint32_t frames;
    uint32_t outside;
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *arg) {
    struct walk *walk = arg;
    uintptr_t frame = _Unwind_GetCFA(context) - (uintptr_t)walk->fibre->low;
    walk->frames++;
    walk->outside += frame > walk->fibre->bytes ? 1 : 0;
    return walk->frames < 100 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static WEFT_NOINLINE void walk_deeper(struct walk *walk, uint32_t depth) {
    if (depth > 0) {
        walk_deeper(walk, depth - 1);
        __asm__ __volatile__(""); /* no tail call */
        return;
    }
    ck_assert_int_eq(_Unwind_Backtrace(walk_frame, walk), _URC_END_OF_STACK);
}

static void *walk_up(struct weft__fibre *fibre, void *value) {
    (void)value;
    struct walk walk = {.fibre = fibre};
    walk_deeper(&walk, 5);
    (void)weft__fibre_leave(fibre, number(walk.outside * 1000 + walk.frames));
    walk = (struct walk){.fibre = fibre};
    walk_deeper(&walk, 5);
    return number(walk.outside * 1000 + walk.frames);
}

START_TEST(unwinders_stop_at_the_start_of_the_fibre) {
    struct weft__fibre fibre;
    fibre_start(&fibre, walk_up);
    for (uint32_t i = 0; i < 2; i++) {
        uintptr_t frames = (uintptr_t)enter(&fibre, 0);
        ck_assert_uint_ge(frames, 8); /* six of the walk, entry, start */
        ck_assert_uint_le(frames, 11);
    }
    fibre_stop(&fibre);
}
END_TEST

/* ---- C++ exceptions that are being handled ---------------------------------------------------- */

static void *handle(struct weft__fibre *fibre, void *value) {
    (void)value;
    ck_assert_uint_eq(thread_exceptions.caught, 0);
    ck_assert_uint_eq(thread_exceptions.uncaught, 0);
    thread_exceptions = (struct weft__exceptions){.caught = 5, .uncaught = 2};
    (void)weft__fibre_leave(fibre, NULL);
    ck_assert_uint_eq(thread_exceptions.caught, 5);
    ck_assert_uint_eq(thread_exceptions.uncaught, 2);
    thread_exceptions = (struct weft__exceptions){0};
    return NULL;
}

START_TEST(exceptions_in_flight_stay_with_their_fibre) {
    struct weft__fibre first;
    struct weft__fibre second;
    fibre_start(&first, handle);
    fibre_start(&second, handle);
    thread_exceptions = (struct weft__exceptions){.caught = 3, .uncaught = 1};
    for (uint32_t i = 0; i < 2; i++) {
        (void)enter(&first, 0);
        (void)enter(&second, 0);
        ck_assert_uint_eq(thread_exceptions.caught, 3);
        ck_assert_uint_eq(thread_exceptions.uncaught, 1);
    }
    ck_assert(first.ended);
    ck_assert(second.ended);
    fibre_stop(&first);
    fibre_stop(&second);
}
END_TEST

/* ---- fibres within fibres -------------------------------------------------------------------- */

static void *pass_on(struct weft__fibre *fibre, void *value) {
    struct weft__fibre *inner = value;
    for (uint32_t i = 1; !inner->ended; i++) {
        uintptr_t got = (uintptr_t)enter(inner, i * 100);
        (void)weft__fibre_leave(fibre, number(got + 1));
    }
    return NULL;
}

START_TEST(a_fibre_enters_another) {
    struct weft__fibre outer;
    struct weft__fibre inner;
    fibre_start(&outer, pass_on);
    fibre_start(&inner, add_up);
    ck_assert_ptr_eq(weft__fibre_enter(&outer, &inner), number(101));
    ck_assert_ptr_eq(enter(&inner, 50), number(150)); /* and this one directly in between */
    ck_assert_ptr_eq(enter(&outer, 0), number(351));
    ck_assert_ptr_eq(enter(&outer, 0), number(651));
    ck_assert_ptr_eq(enter(&outer, 0), number(1001051));
    ck_assert_ptr_null(enter(&outer, 0));
    ck_assert(outer.ended);
    fibre_stop(&outer);
    fibre_stop(&inner);
}
END_TEST

/* ---- dropped --------------------------------------------------------------------------------- */

static WEFT_NOINLINE uint64_t use_frames(struct weft__fibre *fibre, uint32_t depth) {
    volatile char frame[200];
    memset((char *)frame, (int)depth, sizeof(frame));
    if (depth == 0) {
        (void)weft__fibre_leave(fibre, NULL);
    }
    uint64_t sum = depth == 0 ? 0 : use_frames(fibre, depth - 1);
    return sum + (uint64_t)frame[depth % sizeof(frame)];
}

static void *use_stack(struct weft__fibre *fibre, void *value) {
    return number(use_frames(fibre, (uint32_t)(uintptr_t)value));
}

START_TEST(a_stack_serves_again_after_its_fibre_was_dropped) {
    char *low = malloc(STACK);
    ck_assert_ptr_nonnull(low);
    for (uintptr_t round = 0; round < 100; round++) {
        struct weft__fibre fibre;
        weft__fibre_init(&fibre, low, STACK, use_stack);
        (void)enter(&fibre, round % 37);
        ck_assert(!fibre.ended);
        if (round % 3 == 0) {
            uintptr_t depth = round % 37;
            ck_assert_ptr_eq(enter(&fibre, 0), number(depth * (depth + 1) / 2));
            ck_assert(fibre.ended);
        }
        weft__fibre_fini(&fibre);
        memset(low, (int)round, STACK);
    }
    free(low);
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

struct visit {
    struct weft__fibre *fibre;
    pthread_t self;
    uint64_t seen;
};

/* Asked anew each time: pthread_self is declared constant, so compilers would ask it once. */
static WEFT_NOINLINE void note_thread(pthread_t *ret_thread) {
    *ret_thread = pthread_self();
    __asm__ __volatile__("" ::: "memory");
}

static void *report_thread(struct weft__fibre *fibre, void *value) {
    while (value != NULL) {
        note_thread(value);
        value = weft__fibre_leave(fibre, NULL);
    }
    return NULL;
}

static void *visit_run(void *arg) {
    struct visit *visit = arg;
    pthread_t seen;
    (void)weft__fibre_enter(visit->fibre, &seen);
    ck_assert(pthread_equal(seen, pthread_self()));
    return NULL;
}

START_TEST(a_fibre_goes_on_where_it_is_entered) {
    struct weft__fibre fibre;
    struct visit visit = {.fibre = &fibre};
    fibre_start(&fibre, report_thread);
    for (uint32_t i = 0; i < 5; i++) {
        pthread_t thread;
        (void)visit_run(&visit);
        ck_assert_int_eq(pthread_create(&thread, NULL, visit_run, &visit), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    fibre_stop(&fibre);
}
END_TEST

enum { THREADS = 3, FIBRES = 24, TURNS = 300 };

struct crowd {
    weft_atomic_u64 waiting[FIBRES]; /* fibres nobody has entered. Released by who left them */
    weft_atomic_u32 ended;
    struct weft__fibre fibres[FIBRES];
    uint64_t turns[FIBRES]; /* of whoever has the fibre */
};

struct member {
    struct crowd *crowd;
    uint32_t number;
};

static void *take_turns(struct weft__fibre *fibre, void *value) {
    struct crowd *crowd = value;
    uint32_t index = (uint32_t)(fibre - crowd->fibres);
    for (uint32_t i = 0; i < TURNS; i++) {
        crowd->turns[index]++;
        ck_assert_ptr_eq(weft__fibre_leave(fibre, crowd), crowd);
    }
    return NULL;
}

static void *member_run(void *arg) {
    struct member *member = arg;
    struct crowd *crowd = member->crowd;
    struct weft__prng prng;
    weft__prng_init(&prng, 1, member->number);
    while (weft_load32_acquire(&crowd->ended) < FIBRES) {
        weft_atomic_u64 *place = &crowd->waiting[weft__prng_below(&prng, FIBRES)];
        uint64_t taken = weft_exchange64_acq_rel(place, 0);
        if (taken == 0) {
            continue;
        }
        struct weft__fibre *fibre = (struct weft__fibre *)(uintptr_t)taken;
        (void)weft__fibre_enter(fibre, crowd);
        if (fibre->ended) {
            (void)weft_add32_acq_rel(&crowd->ended, 1);
            continue;
        }
        while (taken != 0) { /* to any free place: there are as many as fibres */
            place = &crowd->waiting[weft__prng_below(&prng, FIBRES)];
            uint64_t nobody = 0;
            taken = weft_cas64_acq_rel(place, &nobody, taken) ? 0 : taken;
        }
    }
    return NULL;
}

START_TEST(threads_take_fibres_from_each_other) {
    static struct crowd crowd;
    static struct member members[THREADS];
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < FIBRES; i++) {
        fibre_start(&crowd.fibres[i], take_turns);
        weft_store64_release(&crowd.waiting[i], (uint64_t)(uintptr_t)&crowd.fibres[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        members[i] = (struct member){.crowd = &crowd, .number = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, member_run, &members[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t i = 0; i < FIBRES; i++) {
        ck_assert_uint_eq(crowd.turns[i], TURNS);
        fibre_stop(&crowd.fibres[i]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("switch");
    TCase *tcase = tcase_create("switch");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, values_travel_both_ways);
    tcase_add_test(tcase, a_fibre_can_be_given_up_at_any_point);
    tcase_add_test(tcase, registers_are_preserved_on_both_sides);
    tcase_add_loop_test(tcase, rounding_is_each_ones_own, 0, 3);
    tcase_add_test(tcase, a_fibre_begins_with_the_rounding_of_who_made_it);
    tcase_add_test(tcase, the_stack_is_aligned_wherever_it_ends);
    tcase_add_test(tcase, a_fibre_may_lie_above_its_own_stack);
    tcase_add_test(tcase, unwinders_stop_at_the_start_of_the_fibre);
    tcase_add_test(tcase, exceptions_in_flight_stay_with_their_fibre);
    tcase_add_test(tcase, a_fibre_enters_another);
    tcase_add_test(tcase, a_stack_serves_again_after_its_fibre_was_dropped);
    tcase_add_test(tcase, a_fibre_goes_on_where_it_is_entered);
    tcase_add_test(tcase, threads_take_fibres_from_each_other);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
