/* SPDX-License-Identifier: MIT
 *
 * Sorted sets: ZRANGE in its forms, ZRANGEBYSCORE, ZREVRANGE and ZCOUNT.
 */
#include "execute.h"
#include "number.h"
#include "zset.h"

#define ERROR_NOT_SCORES "ERR min or max is not a float"
#define ERROR_NOT_WORDS  "ERR min or max not valid string range item"

enum range_kind {
    RANGE_ANY, /* ZRANGE before its options are read */
    RANGE_RANK,
    RANGE_SCORE,
    RANGE_WORD, /* BYLEX */
};

/* One end of a range of scores or of words. */
struct bound {
    bool is_open; /* the bound itself is outside */
    int infinite; /* of words: -1 is before, 1 after every word */
    double score;
    slice word;
};

struct range {
    enum range_kind kind;
    bool reverse;
    bool with_scores;
    int64_t offset;
    int64_t limit; /* negative: no limit */
    /* by rank */
    int64_t start;
    int64_t stop;
    /* by score or word */
    struct bound min;
    struct bound max;
};

/* ---- bounds ----------------------------------------------------------------------------------- */

static bool parse_score(slice from, struct bound *bound) {
    *bound = (struct bound){.is_open = from.size != 0 && from.data[0] == '('};
    if (bound->is_open) {
        from = (slice){from.data + 1, from.size - 1};
    }
    return number_parse_bound(from, &bound->score);
}

static bool parse_word(slice from, struct bound *bound) {
    char sign = from.size == 0 ? '\0' : from.data[0];
    *bound = (struct bound){.is_open = sign != '['};
    if (sign == '-' || sign == '+') {
        bound->infinite = sign == '-' ? -1 : 1;
        return from.size == 1 || from.data[1] == '\0';
    }
    if (sign != '(' && sign != '[') {
        return false;
    }
    bound->word = (slice){from.data + 1, from.size - 1};
    return true;
}

static bool parse_bounds(slice min, slice max, struct range *range, reply *out) {
    if (range->kind == RANGE_SCORE) {
        if (!parse_score(min, &range->min) || !parse_score(max, &range->max)) {
            reply_error(out, ERROR_NOT_SCORES);
            return false;
        }
    } else if (!parse_word(min, &range->min) || !parse_word(max, &range->max)) {
        reply_error(out, ERROR_NOT_WORDS);
        return false;
    }
    return true;
}

/* The order of a node and a bound: negative, 0 or positive. */
static int compare(const struct node *node, const struct bound *bound, enum range_kind kind) {
    if (kind == RANGE_SCORE) {
        return (node->score > bound->score) - (node->score < bound->score);
    }
    if (bound->infinite != 0) {
        return -bound->infinite;
    }
    return slice_compare(text_slice(&node->member), bound->word);
}

static bool is_below(const struct node *node, const void *cookie) {
    const struct range *range = cookie;
    int order = compare(node, &range->min, range->kind);
    return order < 0 || (order == 0 && range->min.is_open);
}

static bool is_above(const struct node *node, const void *cookie) {
    const struct range *range = cookie;
    int order = compare(node, &range->max, range->kind);
    return order > 0 || (order == 0 && range->max.is_open);
}

static bool is_not_above(const struct node *node, const void *cookie) {
    return !is_above(node, cookie);
}

/* ---- nodes of a range ------------------------------------------------------------------------- */

/* A range of words means something only where all scores are equal. Where they are not, Redis's
 * answer comes from how it searches; in small sets that is one by one from an end, and so do we. */
static struct node *first_not_below(const struct zset *set, const struct range *range) {
    struct node *node = skiplist_first(&set->nodes);
    if (!set->is_small) {
        struct node *below = skiplist_last_where(&set->nodes, is_below, range);
        return below == NULL ? node : skiplist_next(below);
    }
    while (node != NULL && is_below(node, range)) {
        node = skiplist_next(node);
    }
    return node;
}

static struct node *last_not_above(const struct zset *set, const struct range *range) {
    if (!set->is_small) {
        return skiplist_last_where(&set->nodes, is_not_above, range);
    }
    struct node *node = set->nodes.tail;
    while (node != NULL && is_above(node, range)) {
        node = node->previous;
    }
    return node;
}

static bool bounds_are_crossed(const struct range *range) {
    const struct bound *min = &range->min;
    const struct bound *max = &range->max;
    int order;
    if (range->kind == RANGE_SCORE) {
        order = (min->score > max->score) - (min->score < max->score);
    } else if (min->infinite != 0 || max->infinite != 0) {
        order = min->infinite - max->infinite;
    } else {
        order = slice_compare(min->word, max->word);
    }
    return order > 0 || (order == 0 && (min->is_open || max->is_open));
}

static bool is_inside(const struct node *node, const struct range *range) {
    return node != NULL && !is_below(node, range) && !is_above(node, range);
}

/* The node the range begins with, in its direction; NULL: it is empty. */
static struct node *begin_of(const struct zset *set, const struct range *range) {
    if (bounds_are_crossed(range) || is_below(set->nodes.tail, range) ||
        is_above(skiplist_first(&set->nodes), range)) {
        return NULL;
    }
    struct node *node = range->reverse ? last_not_above(set, range) : first_not_below(set, range);
    return is_inside(node, range) ? node : NULL;
}

static struct node *step(const struct node *node, const struct range *range) {
    return range->reverse ? node->previous : skiplist_next(node);
}

/* The node that is `offset` after it. */
static struct node *skip(const struct skiplist *nodes, struct node *node,
                         const struct range *range) {
    if (node == NULL || range->offset == 0) {
        return node;
    }
    int64_t rank = skiplist_rank(nodes, node);
    int64_t room = range->reverse ? rank : (int64_t)nodes->count - 1 - rank;
    if (range->offset < 0 || range->offset > room) {
        return NULL; /* before the beginning there is nothing either, says Redis */
    }
    rank += range->reverse ? -range->offset : range->offset;
    return skiplist_at(nodes, (uint64_t)rank);
}

/* How many there are from this one on; for the head of the reply. The end on the far side decides:
 * this is the only one Redis looks at from here on. */
static uint64_t count_from(const struct node *node, const struct range *range) {
    uint64_t limit = range->limit < 0 ? UINT64_MAX : (uint64_t)range->limit;
    uint64_t count = 0;
    while (node != NULL && count < limit &&
           !(range->reverse ? is_below(node, range) : is_above(node, range))) {
        node = step(node, range);
        count++;
    }
    return count;
}

/* ---- replies ---------------------------------------------------------------------------------- */

/* Pairs lie in one array in RESP2; in RESP3 each is an array of its own. */
static void reply_nodes(const struct node *node, uint64_t count, const struct range *range,
                        reply *out) {
    bool nested = range->with_scores && out->protocol >= 3;
    reply_array(out, range->with_scores && !nested ? count * 2 : count);
    for (uint64_t i = 0; i < count; i++) {
        slice member = text_slice(&node->member);
        if (nested) {
            reply_array(out, 2);
        }
        reply_bulk(out, member.data, member.size);
        if (range->with_scores) {
            reply_double(out, node->score);
        }
        node = step(node, range);
    }
}

static void reply_range(const struct zset *set, const struct range *range, reply *out) {
    const struct skiplist *nodes = &set->nodes;
    if (range->kind != RANGE_RANK) {
        const struct node *node = skip(nodes, begin_of(set, range), range);
        reply_nodes(node, count_from(node, range), range, out);
        return;
    }
    span part = span_of(range->start, range->stop, nodes->count);
    int64_t rank = range->reverse ? (int64_t)nodes->count - 1 - part.start : part.start;
    const struct node *node = part.count == 0 ? NULL : skiplist_at(nodes, (uint64_t)rank);
    reply_nodes(node, (uint64_t)part.count, range, out);
}

/* ---- commands --------------------------------------------------------------------------------- */

static bool take_limit(struct range *range, const slice *numbers, reply *out) {
    return argument_integer(numbers[0], &range->offset, out) &&
           argument_integer(numbers[1], &range->limit, out);
}

/* may_change: ZRANGE may be told its kind and direction, the older commands may not. */
static bool parse_options(const call *request, bool may_change, struct range *range, reply *out) {
    for (uint32_t i = 2; i < request->count; i++) {
        slice option = request->args[i];
        if (argument_is(option, "withscores")) {
            range->with_scores = true;
        } else if (argument_is(option, "limit") && i + 2 < request->count) {
            if (!take_limit(range, &request->args[i + 1], out)) {
                return false;
            }
            i += 2;
        } else if (may_change && !range->reverse && argument_is(option, "rev")) {
            range->reverse = true;
        } else if (range->kind == RANGE_ANY && argument_is(option, "bylex")) {
            range->kind = RANGE_WORD;
        } else if (range->kind == RANGE_ANY && argument_is(option, "byscore")) {
            range->kind = RANGE_SCORE;
        } else {
            reply_error(out, ERROR_SYNTAX);
            return false;
        }
    }
    range->kind = range->kind == RANGE_ANY ? RANGE_RANK : range->kind;
    if (range->limit != -1 && range->kind == RANGE_RANK) {
        reply_error(out, "ERR syntax error, LIMIT is only supported in combination with either "
                         "BYSCORE or BYLEX");
        return false;
    }
    if (range->with_scores && range->kind == RANGE_WORD) {
        reply_error(out, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

static bool parse_ends(const call *request, struct range *range, reply *out) {
    slice first = request->args[0];
    slice second = request->args[1];
    if (range->kind == RANGE_RANK) {
        return argument_integer(first, &range->start, out) &&
               argument_integer(second, &range->stop, out);
    }
    return range->reverse ? parse_bounds(second, first, range, out)
                          : parse_bounds(first, second, range, out);
}

static void zrange(value *self, const call *request, struct range range, reply *out) {
    bool may_change = range.kind == RANGE_ANY;
    range.limit = -1;
    if (!parse_options(request, may_change, &range, out) || !parse_ends(request, &range, out) ||
        !argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    if (self->type == VALUE_NONE) {
        reply_array(out, 0);
    } else {
        reply_range(self->as.zset, &range, out);
    }
}

void execute_zrange(value *self, const call *request, reply *out) {
    zrange(self, request, (struct range){.kind = RANGE_ANY}, out);
}

void execute_zrevrange(value *self, const call *request, reply *out) {
    zrange(self, request, (struct range){.kind = RANGE_RANK, .reverse = true}, out);
}

void execute_zrangebyscore(value *self, const call *request, reply *out) {
    zrange(self, request, (struct range){.kind = RANGE_SCORE}, out);
}

void execute_zcount(value *self, const call *request, reply *out) {
    struct range range = {.kind = RANGE_SCORE};
    if (!parse_bounds(request->args[0], request->args[1], &range, out) ||
        !argument_type(self, VALUE_ZSET, out)) {
        return;
    }
    const struct zset *set = self->type == VALUE_NONE ? NULL : self->as.zset;
    const struct node *first = set == NULL ? NULL : begin_of(set, &range);
    if (first == NULL) {
        reply_integer(out, 0);
        return;
    }
    const struct node *last = last_not_above(set, &range);
    uint32_t before = skiplist_rank(&set->nodes, first);
    reply_integer(out, (int64_t)skiplist_rank(&set->nodes, last) - before + 1);
}
