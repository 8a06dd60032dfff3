/* SPDX-License-Identifier: MIT
 *
 * Fibres: code with a stack of its own that a scheduler enters, that leaves in the middle of what
 * it does, and goes on there when it is entered again, on whatever thread. The switch itself is
 * sched/switch.S; here is what a fibre needs around it: where to come back to, set at each enter
 * because the next one may be on another thread; the C++ exceptions that are being handled, which
 * the C++ library keeps per thread; and what the sanitizers want to be told.
 *
 * Who may call: enter, init and fini the one thread that owns the fibre just now, which hands it
 * over with release and acquire like any other object; leave only code that runs on the fibre.
 * Enters nest: code on a fibre may enter another one, never one that is entered already.
 *
 * What does not move with a fibre: errno, and the address of any thread-local variable, which
 * compilers keep in registers across calls. Code on a fibre reads such a thing before it leaves or
 * after, and passes no pointer to it over a leave.
 */
#ifndef WEFT_SCHED_SWITCH_H
#define WEFT_SCHED_SWITCH_H

#include "core/atomic.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#endif

#if defined(WEFT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(WEFT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

/* switch.S */
typedef void (*weft__switch_fn)(void *argument, void *value);
void *weft__switch(void **save_sp, void *to_sp, void *value);
void *weft__switch_prepare(void *top, weft__switch_fn entry, void *argument);

/* What the C++ ABI keeps per thread (__cxa_eh_globals): a stack of exceptions that are being
 * handled, and how many were thrown and not caught so far, with its padding. NULL in a program
 * without C++. In words, because copying it once as a whole and once by members stalls. */
struct weft__exceptions {
    uint64_t caught;
    uint64_t uncaught;
};
_Static_assert(sizeof(struct weft__exceptions) == sizeof(void *) + sizeof(uint64_t), "the ABI's");
extern struct weft__exceptions *__cxa_get_globals(void) __attribute__((weak));

enum { WEFT__FIBRE_BYTES_MIN = 1024 }; /* a switch and a little more */

struct weft__fibre;
/* The body. value is what the first enter passes; the result is what the last enter answers. */
typedef void *(*weft__fibre_fn)(struct weft__fibre *fibre, void *value);

struct weft__fibre {
    void *sp;        /* where it goes on; valid while it is not entered */
    void *return_sp; /* where its enter goes on; valid while it is entered */
    char *low;       /* its stack, const after init */
    size_t bytes;    /* the same */
    weft__fibre_fn entry;
    struct weft__exceptions exceptions; /* while it is not entered */
    bool ended;                         /* entry came back: not to be entered again */
#if defined(WEFT_ASAN)
    void *fake_stack; /* while it is not entered */
    const void *return_low;
    size_t return_bytes;
#endif
#if defined(WEFT_TSAN)
    void *tsan;
    void *return_tsan;
#endif
};

/* ---- what sanitizers are told ---------------------------------------------------------------- */

/* The current stack is about to be left for the fibre's; *ret_fake_stack goes to _returned. */
WEFT_INLINE void weft__fibre_entering(struct weft__fibre *fibre, void **ret_fake_stack) {
    *ret_fake_stack = NULL;
#if defined(WEFT_ASAN)
    __sanitizer_start_switch_fiber(ret_fake_stack, fibre->low, fibre->bytes);
#endif
#if defined(WEFT_TSAN)
    fibre->return_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fibre->tsan, 0);
#endif
    (void)fibre;
}

/* Back from the fibre. */
WEFT_INLINE void weft__fibre_returned(void *fake_stack) {
#if defined(WEFT_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
    (void)fake_stack;
}

/* The first that is done on the fibre after each enter. */
WEFT_INLINE void weft__fibre_arrived(struct weft__fibre *fibre) {
#if defined(WEFT_ASAN)
    __sanitizer_finish_switch_fiber(fibre->fake_stack, &fibre->return_low, &fibre->return_bytes);
    fibre->fake_stack = NULL;
#endif
    (void)fibre;
}

/* The last that is done on the fibre. Frames of one that has ended are not kept. */
WEFT_INLINE void weft__fibre_leaving(struct weft__fibre *fibre) {
#if defined(WEFT_ASAN)
    __sanitizer_start_switch_fiber(fibre->ended ? NULL : &fibre->fake_stack, fibre->return_low,
                                   fibre->return_bytes);
#endif
#if defined(WEFT_TSAN)
    __tsan_switch_to_fiber(fibre->return_tsan, 0);
#endif
    (void)fibre;
}

/* ---- fibres ---------------------------------------------------------------------------------- */

/* What a fresh stack begins with. */
static inline _Noreturn void weft__fibre_main(void *argument, void *value) {
    struct weft__fibre *fibre = argument;
    weft__fibre_arrived(fibre);
    void *result = fibre->entry(fibre, value);
    fibre->ended = true;
    weft__fibre_leaving(fibre);
    (void)weft__switch(&fibre->sp, fibre->return_sp, result);
    __builtin_trap(); /* entered after its end */
}

/* A fibre on the stack [low, low + bytes), which may hold the fibre itself above that. Takes the
 * floating point control words of the calling thread. */
WEFT_INLINE void weft__fibre_init(struct weft__fibre *fibre, char *low, size_t bytes,
                                  weft__fibre_fn entry) {
    weft_assert(bytes >= WEFT__FIBRE_BYTES_MIN);
    *fibre = (struct weft__fibre){.low = low, .bytes = bytes, .entry = entry};
    fibre->sp = weft__switch_prepare(low + bytes, weft__fibre_main, fibre);
#if defined(WEFT_TSAN)
    fibre->tsan = __tsan_create_fiber(0);
#endif
}

/* Gives up a fibre that is not entered: one that has ended, was never entered, or left in the
 * middle. Of the last nothing on its stack is run or freed. The stack may be used again at once. */
WEFT_INLINE void weft__fibre_fini(struct weft__fibre *fibre) {
#if defined(WEFT_ASAN)
    if (fibre->fake_stack != NULL) {
        /* Only a switch away from the fibre destroys its fake stack: pretend one there and back. */
        void *own_fake_stack = NULL;
        const void *own_low = NULL;
        size_t own_bytes = 0;
        __sanitizer_start_switch_fiber(&own_fake_stack, fibre->low, fibre->bytes);
        __sanitizer_finish_switch_fiber(fibre->fake_stack, &own_low, &own_bytes);
        __sanitizer_start_switch_fiber(NULL, own_low, own_bytes);
        __sanitizer_finish_switch_fiber(own_fake_stack, NULL, NULL);
        fibre->fake_stack = NULL;
    }
    __asan_unpoison_memory_region(fibre->low, fibre->bytes);
#endif
#if defined(WEFT_TSAN)
    __tsan_destroy_fiber(fibre->tsan);
    fibre->tsan = NULL;
#endif
    fibre->sp = NULL;
}

/* Runs the fibre until it leaves or ends (fibre->ended); answers the value it left with. value is
 * what leave answers there, or what entry gets. */
WEFT_INLINE void *weft__fibre_enter(struct weft__fibre *fibre, void *value) {
    weft_assert(!fibre->ended);
    struct weft__exceptions *exceptions = NULL;
    struct weft__exceptions own_exceptions = {0};
    if (__cxa_get_globals != NULL) {
        exceptions = __cxa_get_globals(); /* of this thread, which stays the same up to the end */
        own_exceptions = *exceptions;
        *exceptions = fibre->exceptions;
    }
    void *fake_stack;
    weft__fibre_entering(fibre, &fake_stack);
    void *result = weft__switch(&fibre->return_sp, fibre->sp, value);
    weft__fibre_returned(fake_stack);
    if (exceptions != NULL) {
        fibre->exceptions = *exceptions;
        *exceptions = own_exceptions;
    }
    return result;
}

/* Goes back to where the fibre was entered; answers the value of the next enter. Best as the last
 * that a function does, which then returns this value: the compiler makes it a jump. Each return
 * between here and the code that waits, as behind an enter, is predicted wrongly and costs more
 * than the switch: 12 ns on the machine the switch takes 4 ns on. */
WEFT_INLINE void *weft__fibre_leave(struct weft__fibre *fibre, void *value) {
    weft__fibre_leaving(fibre);
    void *result = weft__switch(&fibre->sp, fibre->return_sp, value);
    weft__fibre_arrived(fibre);
    return result;
}

#endif
