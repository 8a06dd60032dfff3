/* SPDX-License-Identifier: MIT
 *
 * How much memory the replies of a client may take. A client may have many requests under way, and
 * who executes one cannot know how long the replies of the others are: those are other actors. So
 * every connection has a budget that the keys it asks can find by its pid. A key charges each long
 * reply to it, and the memory of the reply gives that back when it is freed: written, dropped with
 * the connection, or never taken, no path can forget it.
 *
 * Once more than BUDGET_BYTES_MAX are charged the client is held back: a key that is asked executes
 * nothing for it and says "later" (key.h), and goes on to do so until the connection says
 * budget_go_on. That keeps the order of what one client asks of one key: when a request was put
 * off, so is everything behind it. What a client can take is then BUDGET_BYTES_MAX and the replies
 * that are being made just now, at most one a scheduler.
 *
 * Any thread. While nobody is held back, a command whose reply is short reads one word here.
 */
#ifndef EXAMPLES_RESP_BUDGET_H
#define EXAMPLES_RESP_BUDGET_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <weft/pid.h>

enum { BUDGET_BUCKETS = 1024, BUDGET_BYTES_MAX = 4 * 1024 * 1024 };

typedef struct budget budget;

/* The budgets whose pids have one hash. */
typedef struct budget_bucket {
    alignas(64) pthread_mutex_t lock; /* of everything in it; held for a few instructions only */
    budget *first;
    _Atomic uint32_t held; /* clients in it that are held back */
} budget_bucket;

typedef struct budgets {
    _Atomic uint32_t held; /* the same, of all; changes rarely */
    budget_bucket buckets[BUDGET_BUCKETS];
} budgets;

void budgets_init(budgets *self);
/* There are no budgets any more. */
void budgets_fini(budgets *self);

/* ---- the connection -------------------------------------------------------------------------- */

/* A client comes [out]; leave with budget_leave. -ENOMEM. */
int budget_join(budgets *self, weft_pid client, budget **ret_budget);
/* It goes; replies that are charged to it may stay longer. NULL is allowed. */
void budget_leave(budget **self);
/* Was a request put off? Its key may have no actor, though it will have a value then. */
bool budget_has_put_off(budget *self);
/* Everything that was put off has been executed, and nothing is under way. */
void budget_go_on(budget *self);

/* ---- the key --------------------------------------------------------------------------------- */

/* Is anybody held back? If not, budget_puts_off needs not be asked. */
static inline bool budgets_are_held(const budgets *self) {
    return atomic_load_explicit(&self->held, memory_order_relaxed) > 0;
}
/* Must this client wait? Then its connection has to be told, and will say budget_go_on. */
bool budget_puts_off(budgets *self, weft_pid client);
/* Charges a reply; give it back with budget_release. NULL: there is no such client, or not any
 * more. */
budget *budget_charge(budgets *self, weft_pid client, size_t size);
void budget_release(budget *self, size_t size);

#endif
