/* SPDX-License-Identifier: MIT
 *
 * The explorer: runs a few threads over a protocol's own source through every interleaving, to
 * the last one. tests/model/explore_atomic.h says what a step and the memory are.
 *
 * How. Threads are coroutines on small stacks. A state is everything that matters: the model's
 * world (one struct), the live part of each stack, the store buffers. The search is depth first
 * over states: copy the state, let one thread make one step, and stop where the result was seen
 * before. States are told apart by a 64-bit hash (two of some 10^6 states collide with
 * probability below 10^-6, which would hide one of them). Loops need no bound: coming round to a
 * state seen before ends them.
 *
 * What fails: EXPLORE_CHECK and weft_assert anywhere; state() and final(); a deadlock (a thread
 * that is no daemon cannot go on and nobody else can either); a state from which no interleaving
 * leads to the end (livelock); a race on a plain field. The interleaving is printed.
 *
 * What a model says when it is done: "complete", or "complete within k preemptions" when it set a
 * bound. A search that ran into the limit on states fails.
 *
 * Model code between two steps runs at once with the step before it; explore_step makes a step of
 * its own. All that threads share must be inside the world. A thread's code before its first step
 * runs when the model starts. No thread may call into libc's I/O (small stacks).
 */
#ifndef TESTS_MODEL_EXPLORE_H
#define TESTS_MODEL_EXPLORE_H

#include "core/atomic.h"

enum { EXPLORE_THREADS_MAX = 6 };

struct explore_model {
    const char *name;
    uint32_t threads;
    const char *const *roles; /* what each thread is called */
    uint32_t daemons;         /* a bit per thread that may wait for ever when the others are done */
    uint32_t preemptions;     /* 0: no bound, else one more than what is allowed */
    int parameter;            /* to init */
    bool heavy; /* uses explore_fence_heavy: entering the store buffer is then a step */
    void *world;
    size_t world_bytes;
    void (*init)(int parameter); /* world is zero */
    void (*body)(uint32_t thread);
    void (*state)(void); /* checked in every state; may be NULL */
    void (*final)(void); /* checked in every end state */
};

#define EXPLORE_CHECK(condition, text)                                                             \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            explore_fail(text);                                                                    \
        }                                                                                          \
    } while (0)

/* Ends this interleaving as a failure. Does not return in a thread; in init, state and final it
 * does, and the first text counts. */
void explore_fail(const char *text);
/* A step of the model; what tells it from others in the printed interleaving. */
void explore_step(const char *what);
/* Goes on in a step in which ready answers true. ready reads the world and changes nothing. */
void explore_wait(bool (*ready)(uint32_t thread), const char *what);
/* Goes on with 0, 1, ... count - 1, each in its own branch. */
uint32_t explore_choose(uint32_t count);
/* Which thread runs. */
uint32_t explore_self(void);
/* A name for the printed interleaving. In init only. */
void explore_name(const void *at, size_t size, const char *name);

/* Explores the models and prints a line for each. Options: --only NAME, and --expect TEXT, with
 * which the run succeeds when a model fails and the failure contains TEXT. Returns the exit code. */
int explore_main(int argc, char **argv, const struct explore_model *models, uint32_t count);

#endif
