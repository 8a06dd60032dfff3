/* SPDX-License-Identifier: MIT
 *
 * Sorted sets: commands that change one, and those that ask for one member. A sorted set without
 * members is no longer there.
 *
 * ZADD makes the nodes of all members it may add first, and reserves room in the table: so it needs
 * no memory any more when it begins to change something.
 */
#include "zset.h"

#include "execute.h"

#include <math.h>
#include <stdlib.h>

static struct zset *create(const call *request) {
    uint64_t seed[2] = {request->random(request->random_cookie),
                        request->random(request->random_cookie)};
    struct zset *self = calloc(1, sizeof(*self));
    if (self != NULL) {
        self->is_small = true;
        self->members = table_create(sizeof(struct zset_entry), seed);
    }
    if (self == NULL || self->members == NULL) {
        free(self);
        return NULL;
    }
    return self;
}

void zset_destroy(struct zset *self) {
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->members->count; i++) {
        node_destroy(((struct zset_entry *)table_at(self->members, i))->node);
    }
    table_destroy(self->members);
    free(self);
}

size_t zset_bytes(const struct zset *self) {
    size_t node_bytes = sizeof(struct node) + 4 * sizeof(struct link) / 3; /* on average */
    return sizeof(*self) + table_bytes(self->members) + self->nodes.count * node_bytes;
}

static uint32_t count_of(const value *self) {
    return self->type == VALUE_NONE ? 0 : self->as.zset->nodes.count;
}

static struct node *find(const value *self, slice member) {
    const struct zset_entry *entry =
        self->type == VALUE_NONE ? NULL : table_find(self->as.zset->members, member);
    return entry == NULL ? NULL : entry->node;
}

static void remove_node(struct zset *self, struct node *node) {
    skiplist_remove(&self->nodes, node);
    table_remove(self->members, table_find(self->members, text_slice(&node->member)));
    node_destroy(node);
}

static void shrink_or_clear(value *self) {
    if (count_of(self) == 0) {
        value_clear(self);
    } else {
        table_shrink(self->as.zset->members);
    }
}

/* ---- ZADD: arguments -------------------------------------------------------------------------- */

enum { BATCH_FEW = 8 };

struct add_options {
    bool only_new;      /* NX */
    bool only_existing; /* XX */
    bool only_greater;  /* GT */
    bool only_less;     /* LT */
    bool count_changes; /* CH */
    bool increment;     /* INCR */
};

/* One pair of score and member, and the node to add for it. */
struct addition {
    double score;
    slice member;
    struct node *node; /* NULL: it was there already, or is not needed any more */
};

static bool take_option(struct add_options *options, slice option) {
    if (argument_is(option, "nx")) {
        options->only_new = true;
    } else if (argument_is(option, "xx")) {
        options->only_existing = true;
    } else if (argument_is(option, "gt")) {
        options->only_greater = true;
    } else if (argument_is(option, "lt")) {
        options->only_less = true;
    } else if (argument_is(option, "ch")) {
        options->count_changes = true;
    } else if (argument_is(option, "incr")) {
        options->increment = true;
    } else {
        return false;
    }
    return true;
}

static bool check_options(const struct add_options *options, uint32_t words, reply *out) {
    bool one_direction = !(options->only_greater && options->only_less);
    bool any_direction = options->only_greater || options->only_less;
    if (words == 0 || words % 2 != 0) {
        reply_error(out, ERROR_SYNTAX);
    } else if (options->only_new && options->only_existing) {
        reply_error(out, "ERR XX and NX options at the same time are not compatible");
    } else if ((any_direction && options->only_new) || !one_direction) {
        reply_error(out, "ERR GT, LT, and/or NX options at the same time are not compatible");
    } else if (options->increment && words > 2) {
        reply_error(out, "ERR INCR option supports a single increment-element pair");
    } else {
        return true;
    }
    return false;
}

/* What one ZADD adds. */
struct batch {
    struct add_options options;
    uint32_t count;
    struct addition *additions; /* few, or from malloc */
    struct addition few[BATCH_FEW];
};

static bool batch_init(struct batch *self, uint32_t count) {
    self->count = count;
    self->additions = count <= BATCH_FEW ? self->few : malloc(count * sizeof(*self->additions));
    return self->additions != NULL;
}

static void batch_fini(struct batch *self) {
    if (self->additions != self->few) {
        free(self->additions);
    }
}

static bool parse_pairs(struct batch *batch, const slice *pairs, reply *out) {
    for (uint32_t i = 0; i < batch->count; i++) {
        struct addition *addition = &batch->additions[i];
        *addition = (struct addition){.member = pairs[2 * i + 1]};
        if (!argument_double(pairs[2 * i], &addition->score, out)) {
            return false;
        }
    }
    return true;
}

/* ---- ZADD: changes ---------------------------------------------------------------------------- */

static void drop_addition(struct addition *addition) {
    if (addition->node != NULL) {
        text_free(&addition->node->member);
        node_destroy(addition->node);
        addition->node = NULL;
    }
}

static bool make_node(const call *request, struct addition *addition) {
    addition->node = node_create(request->random(request->random_cookie));
    if (addition->node == NULL) {
        return false;
    }
    if (!text_make(&addition->node->member, addition->member)) {
        drop_addition(addition);
        return false;
    }
    return true;
}

/* Nodes for those that will be added, and room in the table for them. */
static bool make_nodes(struct zset *self, const call *request, struct batch *batch) {
    uint32_t missing = 0;
    bool made = true;
    for (uint32_t i = 0; i < batch->count && made && !batch->options.only_existing; i++) {
        if (table_find(self->members, batch->additions[i].member) == NULL) {
            missing++;
            made = make_node(request, &batch->additions[i]);
        }
    }
    made = made && table_reserve(self->members, missing);
    for (uint32_t i = 0; i < batch->count && !made; i++) {
        drop_addition(&batch->additions[i]);
    }
    return made;
}

enum outcome {
    OUTCOME_NOTHING, /* an option forbids it */
    OUTCOME_SAME,    /* the score is what it was */
    OUTCOME_UPDATED,
    OUTCOME_ADDED,
    OUTCOME_NOT_A_NUMBER,
};

/* As it is stored. */
static double stored(const struct zset *self, double score) {
    return self->is_small && score == 0 ? 0 : score;
}

static void add_node(struct zset *self, struct addition *addition) {
    if (self->nodes.count >= ZSET_SMALL_COUNT || addition->member.size > ZSET_SMALL_BYTES) {
        self->is_small = false;
    }
    addition->node->score = stored(self, addition->score);
    struct zset_entry entry = {.member = addition->node->member, .node = addition->node};
    table_push(self->members, &entry);
    skiplist_insert(&self->nodes, addition->node);
    addition->node = NULL;
}

/* *score becomes the new one where it counts as done. */
static enum outcome change_score(struct zset *self, struct node *node,
                                 const struct add_options *options, double *score) {
    double wanted = options->increment ? node->score + *score : *score;
    if (isnan(wanted)) {
        return OUTCOME_NOT_A_NUMBER;
    }
    if ((options->only_less && wanted >= node->score) ||
        (options->only_greater && wanted <= node->score)) {
        return OUTCOME_NOTHING;
    }
    *score = wanted;
    if (wanted == node->score) {
        return OUTCOME_SAME;
    }
    skiplist_remove(&self->nodes, node);
    node->score = stored(self, wanted);
    skiplist_insert(&self->nodes, node);
    return OUTCOME_UPDATED;
}

static enum outcome add(struct zset *self, const struct add_options *options,
                        struct addition *addition) {
    const struct zset_entry *entry = table_find(self->members, addition->member);
    if (entry != NULL) {
        return options->only_new ? OUTCOME_NOTHING
                                 : change_score(self, entry->node, options, &addition->score);
    }
    if (options->only_existing) {
        return OUTCOME_NOTHING;
    }
    add_node(self, addition);
    return OUTCOME_ADDED;
}

static void add_all(value *self, struct batch *batch, reply *out) {
    uint32_t outcomes[OUTCOME_NOT_A_NUMBER + 1] = {0};
    for (uint32_t i = 0; i < batch->count; i++) {
        outcomes[add(self->as.zset, &batch->options, &batch->additions[i])]++;
        drop_addition(&batch->additions[i]); /* a member that was named twice */
    }
    shrink_or_clear(self);
    if (outcomes[OUTCOME_NOT_A_NUMBER] != 0) {
        reply_error(out, "ERR resulting score is not a number (NaN)");
    } else if (!batch->options.increment) {
        uint32_t updated = batch->options.count_changes ? outcomes[OUTCOME_UPDATED] : 0;
        reply_integer(out, (int64_t)outcomes[OUTCOME_ADDED] + updated);
    } else if (outcomes[OUTCOME_NOTHING] != 0) {
        reply_null(out);
    } else {
        reply_double(out, batch->additions[0].score);
    }
}

/* The arguments are right, and so is the type. */
static void add_batch(value *self, const call *request, struct batch *batch, reply *out) {
    struct zset *zset = self->type == VALUE_NONE ? create(request) : self->as.zset;
    if (zset == NULL || !make_nodes(zset, request, batch)) {
        if (self->type == VALUE_NONE) {
            zset_destroy(zset);
        }
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    self->type = VALUE_ZSET;
    self->as.zset = zset;
    add_all(self, batch, out);
}

static void zadd(value *self, const call *request, bool increment, reply *out) {
    struct batch batch;
    batch.options = (struct add_options){.increment = increment};
    uint32_t at = 0;
    while (at < request->count && take_option(&batch.options, request->args[at])) {
        at++;
    }
    if (!check_options(&batch.options, request->count - at, out)) {
        return;
    }
    if (!batch_init(&batch, (request->count - at) / 2)) {
        reply_error(out, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (parse_pairs(&batch, request->args + at, out) && argument_type(self, VALUE_ZSET, out)) {
        add_batch(self, request, &batch, out);
    }
    batch_fini(&batch);
}

void execute_zadd(value *self, const call *request, reply *out) {
    zadd(self, request, false, out);
}

/* Redis reads options here too, where the increment is expected. */
void execute_zincrby(value *self, const call *request, reply *out) {
    zadd(self, request, true, out);
}

/* ---- ZREM, ZPOPMIN, ZPOPMAX ------------------------------------------------------------------- */

void execute_zrem(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    uint32_t before = count_of(self);
    for (uint32_t i = 0; i < request->count && count_of(self) != 0; i++) {
        struct node *node = find(self, request->args[i]);
        if (node != NULL) {
            remove_node(self->as.zset, node);
        }
    }
    reply_integer(out, before - count_of(self));
    shrink_or_clear(self);
}

/* Pairs lie in one array, but for a count in RESP3: there each pair is an array of its own. */
static void pop(value *self, const call *request, bool greatest, reply *out) {
    int64_t most = 1;
    bool has_count = request->count != 0;
    if (request->count > 1) {
        reply_error(out, ERROR_SYNTAX);
        return;
    }
    if (has_count && !argument_count(request->args[0], &most, out)) {
        return;
    }
    if (!argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    bool nested = has_count && out->protocol >= 3;
    uint32_t pops = most < count_of(self) ? (uint32_t)most : count_of(self);
    reply_array(out, nested ? pops : (uint64_t)pops * 2);
    for (uint32_t i = 0; i < pops; i++) {
        struct skiplist *nodes = &self->as.zset->nodes;
        struct node *node = greatest ? nodes->tail : skiplist_first(nodes);
        slice member = text_slice(&node->member);
        if (nested) {
            reply_array(out, 2);
        }
        reply_bulk(out, member.data, member.size);
        reply_double(out, node->score);
        remove_node(self->as.zset, node);
    }
    shrink_or_clear(self);
}

void execute_zpopmin(value *self, const call *request, reply *out) {
    pop(self, request, false, out);
}

void execute_zpopmax(value *self, const call *request, reply *out) {
    pop(self, request, true, out);
}

/* ---- one member ------------------------------------------------------------------------------- */

void execute_zcard(value *self, const call *request, reply *out) {
    (void)request;
    if (argument_type(self, VALUE_ZSET, out)) {
        reply_integer(out, count_of(self));
    }
}

static void reply_score(const struct node *node, reply *out) {
    if (node == NULL) {
        reply_null(out);
    } else {
        reply_double(out, node->score);
    }
}

void execute_zscore(value *self, const call *request, reply *out) {
    if (argument_type(self, VALUE_ZSET, out)) {
        reply_score(find(self, request->args[0]), out);
    }
}

void execute_zmscore(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    reply_array(out, request->count);
    for (uint32_t i = 0; i < request->count; i++) {
        reply_score(find(self, request->args[i]), out);
    }
}

void execute_zrank(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    const struct node *node = find(self, request->args[0]);
    if (node == NULL) {
        reply_null(out);
    } else {
        reply_integer(out, skiplist_rank(&self->as.zset->nodes, node));
    }
}

void execute_zrevrank(value *self, const call *request, reply *out) {
    if (!argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    const struct node *node = find(self, request->args[0]);
    if (node == NULL) {
        reply_null(out);
    } else {
        uint32_t rank = skiplist_rank(&self->as.zset->nodes, node);
        reply_integer(out, (int64_t)count_of(self) - 1 - rank);
    }
}
