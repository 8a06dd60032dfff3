/* SPDX-License-Identifier: MIT
 *
 * The edge's model of crashes: which policy a type has, how often an address has crashed, when it
 * pauses, who may be refused, who must not begin. It hears of crashes from the callbacks of the
 * actors, of pauses from the log, and forgives addresses now and then. What it draws comes from a
 * generator of its own, so that runs without a policy are what they are without all of this.
 *
 * A crash is entered by the library at some time between a callback of the actor and its terminate,
 * and a kill may have no callback at all. So the model says what must be and what may be, and
 * checks both; where it does not know it lets pass.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "edge.h"

typedef unsigned long long number_text;

enum { POLICY_PERCENT = 60, FORGIVE_PERCENT = 3, ID_SHOWN = 48 };

void edge_crash_draw(struct edge *edge, uint64_t seed) {
    struct sim_prng *prng = &edge->crash_prng;
    const struct edge_profile *profile = &edge->profile;
    sim_prng_init(prng, seed, 0x63726173);
    bool crashes = profile->weights[EDGE_ACT_CRASH] != 0 || profile->fail_percent != 0;
    edge->forgives = false;
    for (uint32_t kind = 0; kind < EDGE_KINDS; kind++) {
        struct edge_policy *policy = &edge->policies[kind];
        *policy = (struct edge_policy){0};
        if (!crashes || !sim_prng_percent(prng, POLICY_PERCENT)) {
            continue;
        }
        edge->forgives = true;
        policy->restarts = sim_prng_percent(prng, 50);
        policy->max = (uint32_t)sim_prng_magnitude(prng, 3);
        policy->window_ns = sim_prng_magnitude(prng, 28);
        policy->pause_ns = sim_prng_magnitude(prng, 26);
        if (sim_prng_percent(prng, 15)) {
            policy->window_ns = UINT64_MAX;
        }
        if (sim_prng_percent(prng, 15)) {
            policy->pause_ns = UINT64_MAX;
        }
    }
}

void edge_crash_define(const struct edge *edge, enum edge_kind kind, weft_type_def *def) {
    const struct edge_policy *policy = &edge->policies[kind];
    def->crash_policy = policy->restarts ? WEFT_CRASH_RESTART : WEFT_CRASH_LAZY;
    def->crash_max = policy->max;
    def->crash_window_ns = policy->window_ns;
    def->crash_pause_ns = policy->pause_ns;
}

static const struct edge_policy *policy_of(const struct edge_address *address) {
    return &address->edge->policies[address->kind];
}

/* Can the model tell what happens to it? */
static bool is_watched(const struct edge_address *address) {
    return policy_of(address)->max != 0 && !address->crashes.has_twin;
}

static uint64_t saturated(uint64_t left, uint64_t right) {
    return left + right < left ? UINT64_MAX : left + right;
}

static uint64_t now(const struct edge_address *address) {
    return weft_sim_now_ns(address->edge->sim);
}

/* ---- crashes ----------------------------------------------------------------------------------- */

/* Everything about the address is forgotten, or may have been. */
static void reset(struct edge_address *address) {
    struct edge_crashes *crashes = &address->crashes;
    crashes->count = 0;
    crashes->paused = false;
    crashes->pending = false;
    crashes->returns = false;
    crashes->forgiven_ns = now(address);
    crashes->released_ns = now(address);
}

/* How many of those seen count still at a time: at least, if sure, else at most. */
static uint32_t count_in_window(const struct edge_address *address, uint64_t at_ns, bool sure) {
    const struct edge_crashes *crashes = &address->crashes;
    uint32_t count = 0;
    for (uint32_t i = 0; i < crashes->count; i++) {
        uint64_t seen_ns = sure ? crashes->times[i].first_ns : crashes->times[i].last_ns;
        count += saturated(seen_ns, policy_of(address)->window_ns) >= at_ns ? 1 : 0;
    }
    return count;
}

static void note(struct edge_crashes *crashes, uint64_t first_ns, uint64_t last_ns) {
    if (crashes->count == EDGE_CRASHES) {
        crashes->count--;
        memmove(&crashes->times[0], &crashes->times[1], crashes->count * sizeof(crashes->times[0]));
    }
    crashes->times[crashes->count].first_ns = first_ns;
    crashes->times[crashes->count++].last_ns = last_ns;
}

/* Must this crash, entered no later than last_ns, have begun a pause? */
static bool is_last_straw(const struct edge_address *address, uint64_t last_ns) {
    const struct edge_crashes *crashes = &address->crashes;
    const struct edge_policy *policy = policy_of(address);
    if (crashes->paused) { /* a trial, if it began in time and has not outlived its window */
        return crashes->begun_ns <= saturated(crashes->until_ns, policy->pause_ns) &&
               last_ns <= saturated(crashes->until_ns, policy->window_ns);
    }
    return count_in_window(address, last_ns, true) >= policy->max;
}

/* The crash that was seen has been entered by now, without a pause if none was logged. */
static void settle(struct edge_address *address) {
    struct edge_crashes *crashes = &address->crashes;
    bool pending = crashes->pending;
    uint64_t last_ns = now(address);
    crashes->pending = false;
    if (!pending || address->edge->stopping) {
        return;
    }
    if (is_last_straw(address, last_ns)) {
        edge_fail(address->edge, "address %u has crashed too often and does not pause",
                  address->number);
    }
    if (crashes->paused) { /* what may have been a trial was none: it is the first one */
        crashes->paused = false;
        crashes->released_ns = last_ns;
        crashes->count = 0;
    }
    crashes->returns = policy_of(address)->restarts;
    note(crashes, crashes->pending_ns, last_ns);
}

void edge_crash_seen(struct edge_address *address, uint64_t first_ns, bool is_over) {
    struct edge_crashes *crashes = &address->crashes;
    const struct edge *edge = address->edge;
    if (!is_watched(address) || crashes->pauses != crashes->pauses_begun) {
        return; /* it has been logged already */
    }
    if (edge->stopping || !edge->offered[address->capability] || crashes->forgiven_ns >= first_ns) {
        crashes->unsure++;
        return;
    }
    crashes->pending = true;
    crashes->pending_ns = first_ns;
    if (is_over) {
        settle(address);
    }
}

void edge_crash_begins(struct edge_address *address) {
    struct edge_crashes *crashes = &address->crashes;
    uint64_t now_ns = now(address);
    if (!is_watched(address)) {
        return;
    }
    settle(address);
    if (crashes->paused && now_ns < crashes->until_ns) {
        edge_fail(address->edge, "address %u begins at %llu, and pauses until %llu",
                  address->number, (number_text)now_ns, (number_text)crashes->until_ns);
    }
    crashes->returns = false;
    crashes->begun_ns = now_ns;
    crashes->pauses_begun = crashes->pauses;
}

void edge_crash_ends_well(struct edge_address *address, bool forgets) {
    if (forgets || address->crashes.paused) { /* that was a trial */
        reset(address);
    }
}

/* ---- pauses ------------------------------------------------------------------------------------ */

static void pause_begins(struct edge_address *address, uint64_t crashed) {
    struct edge_crashes *crashes = &address->crashes;
    const struct edge_policy *policy = policy_of(address);
    uint64_t now_ns = now(address);
    /* Kills and ends that nobody saw may be among them, and crashes that were not sure. */
    uint64_t known =
        count_in_window(address, now_ns, false) + 1 + address->kills_asked + crashes->unsure;
    if (crashed != 1 && crashed != (uint64_t)policy->max + 1) {
        edge_fail(address->edge, "address %u pauses after %llu crashes, the limit is %u",
                  address->number, (number_text)crashed, policy->max);
    }
    if (crashed != 1 && known < crashed) {
        edge_fail(address->edge, "address %u pauses after %llu crashes, seen were %llu",
                  address->number, (number_text)crashed, (number_text)known);
    }
    if (crashed == 1 && !crashes->paused) {
        edge_fail(address->edge, "address %u pauses as after a trial", address->number);
    }
    crashes->unsure = 0;
    crashes->count = 0;
    crashes->pending = false;
    crashes->returns = false;
    crashes->paused = true;
    crashes->pauses++;
    crashes->until_ns = saturated(now_ns, policy->pause_ns);
}

/* As the library shows an id. */
static void id_text(const struct edge_address *address, char *text, size_t size) {
    uint32_t shown = address->id_size < ID_SHOWN ? address->id_size : ID_SHOWN;
    size_t at = 0;
    for (uint32_t i = 0; i < shown && at + 8 < size; i++) {
        unsigned char byte = address->id[i];
        bool plain = byte >= ' ' && byte <= '~' && byte != '\\';
        at += (size_t)snprintf(text + at, size - at, plain ? "%c" : "\\x%02x", byte);
    }
    (void)snprintf(text + at, size - at, "%s", shown < address->id_size ? "..." : "");
}

/* Two addresses of one type and one id, of different capabilities, look the same in the log. */
void edge_crash_find_twins(struct edge *edge) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        struct edge_address *address = &edge->addresses[i];
        for (uint32_t j = 0; j < edge->profile.addresses; j++) {
            const struct edge_address *other = &edge->addresses[j];
            bool same = i != j && address->kind == other->kind &&
                        address->id_size == other->id_size &&
                        memcmp(address->id, other->id, address->id_size) == 0;
            address->crashes.has_twin = address->crashes.has_twin || same;
        }
    }
}

void edge_crash_logged(struct edge *edge, const weft_log_event *event) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        struct edge_address *address = &edge->addresses[i];
        const char *type = weft_type_name(edge->types[address->kind]);
        char text[4 * ID_SHOWN + 16];
        id_text(address, text, sizeof(text));
        if (strcmp(event->fields[0].text, type) == 0 && strcmp(event->fields[1].text, text) == 0) {
            if (is_watched(address)) {
                pause_begins(address, event->fields[2].u64);
            } else if (!address->crashes.has_twin) {
                edge_fail(edge, "address %u pauses without a policy", address->number);
            }
            return;
        }
    }
    edge_fail(edge, "nobody is logged as \"%s\"", event->fields[1].text);
}

bool edge_crash_refuses(const struct edge_address *address, uint64_t asked_ns) {
    const struct edge_crashes *crashes = &address->crashes;
    if (!is_watched(address)) {
        return crashes->has_twin && policy_of(address)->max != 0;
    }
    return crashes->pauses > 0 && asked_ns < crashes->until_ns &&
           (crashes->paused || crashes->released_ns >= asked_ns);
}

/* ---- forgetting -------------------------------------------------------------------------------- */

void edge_crash_unregistered(struct edge *edge, uint32_t capability) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        if (edge->addresses[i].capability == capability) {
            reset(&edge->addresses[i]);
        }
    }
}

void edge_crash_forgive(struct edge *edge) {
    if (!edge->forgives || !sim_prng_percent(&edge->crash_prng, FORGIVE_PERCENT)) {
        return;
    }
    uint64_t drawn = sim_prng_below(&edge->crash_prng, edge->profile.addresses);
    struct edge_address *address = &edge->addresses[drawn];
    bool pauses = address->crashes.paused && now(address) < address->crashes.until_ns;
    int status = weft_virtual_forgive(edge->runtime, edge->capabilities[address->capability],
                                      edge->types[address->kind], address->id, address->id_size);
    if (status != 0 && (status != -ENOENT || pauses)) {
        edge_fail(edge, "forgiving address %u, which pauses: %d, answered %d", address->number,
                  pauses, status);
    }
    reset(address);
}

/* ---- rest -------------------------------------------------------------------------------------- */

void edge_crash_check_quiet(struct edge *edge) {
    for (uint32_t i = 0; i < edge->profile.addresses; i++) {
        struct edge_address *address = &edge->addresses[i];
        bool seen = address->kind != EDGE_BARE; /* whose beginning is its first message */
        bool moved = edge->unregisters[address->capability] > 0;
        bool unread = address->load_failures > 0 || edge->load_timeouts > 0;
        if (!is_watched(address)) {
            continue;
        }
        settle(address);
        if (seen && !moved && !unread && address->crashes.returns && !address->alive &&
            address->kills_asked == 0) {
            edge_fail(edge, "address %u has crashed and did not begin again", i);
        }
    }
}
