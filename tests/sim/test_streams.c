/* SPDX-License-Identifier: MIT
 *
 * The seeded suite for streams: test_streams [first seed [how many]]. Each seed is a world of its
 * own: runtimes, address, limits, faults of the network, what the actors do and what is done to
 * them are drawn. Judged are: bytes received are a prefix of bytes sent, and all of them when both
 * sides ended well; the order of events (in stream_actor.c); that everything ends; that no
 * message, buffer, timer or descriptor is left; and that the same seed gives the same hash.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stream_world.h"

#if defined(__SANITIZE_ADDRESS__) /* several times slower */
enum { SEEDS = 100 };
#else
enum { SEEDS = 300 };
#endif
enum { ENOUGH_SEEDS = 100 }; /* a run of so many is judged as a whole, too */
enum { ROUNDS_MAX = 3000, ROUND_STEPS = 500, STOP_STEPS = 20000000 };

#define END_NS UINT64_C(1000000000000)

static const uint64_t *seed_now;

_Noreturn void stream_fail(const struct world *world, const struct side *side, const char *what) {
    (void)fprintf(stderr, "streams: seed %llu: %s\n", (unsigned long long)world->seed, what);
    if (side != NULL) {
        (void)fprintf(stderr,
                      "  side %u, %s: written %llu of %llu, received %llu, opens %u, ends %u, "
                      "closes %u, status %d, called close %d abort %d exit %d, disturbed %d\n",
                      (unsigned)(side - world->sides), side->server ? "server" : "client",
                      (unsigned long long)side->written, (unsigned long long)side->plan.total,
                      (unsigned long long)side->received, side->opens, side->ends, side->closes,
                      side->status, side->called_close, side->called_abort, side->exited,
                      side->disturbed);
    }
    abort();
}

struct side *stream_side(struct world *world) {
    if (world->side_count == SIDES_MAX) {
        stream_fail(world, NULL, "too many connections");
    }
    struct side *side = &world->sides[world->side_count];
    side->world = world;
    side->number = world->side_count++;
    return side;
}

static uint64_t below(struct world *world, uint64_t bound) {
    return sim_prng_below(&world->prng, bound);
}

static uint32_t some_permille(struct world *world, uint32_t one_in, uint32_t most) {
    return below(world, one_in) == 0 ? (uint32_t)below(world, most) + 1 : 0;
}

void stream_plan(struct world *world, struct plan *ret_plan) {
    *ret_plan = (struct plan){
        .total = HEADER_BYTES + sim_prng_magnitude(&world->prng, 18) - 1,
        .write_max = (uint32_t)(1 + below(world, below(world, 3) == 0 ? 50 : WRITE_MAX)),
        .abort_permille = some_permille(world, 12, 10),
        .close_permille = some_permille(world, 12, 10),
        .exit_permille = some_permille(world, 12, 10),
        .pause_permille = some_permille(world, 2, 300),
        .keep_permille = some_permille(world, 4, 300),
        .flags = (uint32_t)below(world, 16),
        .write_buf = below(world, 3) == 0,
        .close_at_end = below(world, 8) == 0,
    };
    ret_plan->flags |= below(world, 2) == 0 ? WEFT_STREAM_HALF_OPEN : 0;
    if ((ret_plan->flags & WEFT_STREAM_PAUSED) != 0 && below(world, 4) != 0) {
        ret_plan->flags &= ~(uint32_t)WEFT_STREAM_PAUSED;
    }
}

static weft_stream_options stream_options(struct world *world, const struct plan *plan) {
    bool small = below(world, 2) == 0;
    weft_stream_options options = {
        .send_high = small ? sim_prng_magnitude(&world->prng, 14) : 0,
        .receive_ahead = below(world, 2) == 0 ? sim_prng_magnitude(&world->prng, 14) : 0,
        .idle_ns = below(world, 8) == 0 ? sim_prng_magnitude(&world->prng, 36) : 0,
        .linger_ns = below(world, 4) == 0 ? sim_prng_magnitude(&world->prng, 33) : 0,
        .keepalive_ns = below(world, 4) == 0 ? UINT64_C(5000000000) : 0,
        .flags = plan->flags,
    };
    if (small && below(world, 2) == 0) {
        options.send_max = options.send_high + 20 * sim_prng_magnitude(&world->prng, 10);
    }
    return options;
}

/* ---- beginning ----------------------------------------------------------------------------- */

static void world_sim(struct world *world) {
    bool calm = below(world, 4) == 0;
    uint32_t faulty = calm ? 0 : 1;
    weft_sim_options options = {
        .struct_size = WEFT_SIM_OPTIONS_INIT,
        .seed = world->seed,
        .pause_percent = (uint32_t)below(world, 10),
        .latency_ns = sim_prng_magnitude(&world->prng, 26),
        .short_permille = faulty * some_permille(world, 2, 200),
        .offset_permille = faulty * some_permille(world, 2, 500),
        .starve_permille = faulty * some_permille(world, 2, 50),
        .rearm_permille = faulty * some_permille(world, 2, 200),
        .reset_permille = faulty * some_permille(world, 3, 10),
        .connect_permille = faulty * some_permille(world, 3, 200),
        .accept_permille = faulty * some_permille(world, 3, 200),
        .late_permille = faulty * some_permille(world, 2, 50),
        .open_permille = faulty * some_permille(world, 4, 50),
    };
    if (weft_sim_create(&options, &world->sim) < 0) {
        stream_fail(world, NULL, "no simulator");
    }
}

static void world_runtime(struct world *world, uint32_t index) {
    weft_config config = {.struct_size = WEFT_CONFIG_INIT,
                          .schedulers = 1 + (uint32_t)below(world, 3),
                          .io_buffers = UINT32_C(8) << below(world, 4),
                          .io_buffer_bytes = UINT64_C(1024) << below(world, 5)};
    weft_runtime **runtime = &world->runtimes[index];
    if (weft_runtime_create_env(&config, weft_sim_env(world->sim), runtime) < 0 ||
        weft_type_register(*runtime, &stream_type, &world->types[index]) < 0 ||
        weft_runtime_start(*runtime) < 0) {
        stream_fail(world, NULL, "no runtime");
    }
    world->runtime_count = index + 1;
}

static void world_listen(struct world *world) {
    static const char *const addresses[] = {"10.0.0.1:80", "127.0.0.1:0", "unix:/run/weft.sock",
                                            "unix:@weft", "[::1]:0"};
    struct side_arg arg = {.world = world};
    stream_plan(world, &world->server_plan);
    weft_listen_options options = {.struct_size = WEFT_LISTEN_OPTIONS_INIT,
                                   .address = addresses[below(world, 5)],
                                   .type = world->types[0],
                                   .arg = &arg,
                                   .arg_size = sizeof(arg),
                                   .backlog = (uint32_t)below(world, 8),
                                   .connections_max = (uint32_t)(below(world, 4) == 0) * 3,
                                   .stream = stream_options(world, &world->server_plan)};
    if (below(world, 4) == 0) {
        options.flags = WEFT_LISTEN_REUSE_PORT;
    }
    weft_address address;
    for (uint32_t tries = 0; tries < 1000; tries++) {
        int status = weft_listen(world->runtimes[0], &options, &world->listener, &address);
        if (status == 0) {
            (void)weft_address_format(&address, world->address, sizeof(world->address));
            return;
        }
    }
    stream_fail(world, NULL, "no listener");
}

static void world_connect(struct world *world) {
    uint32_t index = (uint32_t)below(world, world->runtime_count);
    if (world->stopped[index] || world->side_count > SIDES_MAX / 4) {
        return;
    }
    struct side *side = stream_side(world);
    struct side_arg arg = {.world = world, .side = side};
    stream_plan(world, &side->plan);
    side->runtime = index;
    weft_connect_options options = {
        .struct_size = WEFT_CONNECT_OPTIONS_INIT,
        .address = world->address,
        .type = world->types[index],
        .arg = &arg,
        .arg_size = sizeof(arg),
        .timeout_ns = below(world, 3) == 0 ? sim_prng_magnitude(&world->prng, 34) : 0,
        .stream = stream_options(world, &side->plan)};
    if (strncmp(world->address, "10.0.0.1", 8) == 0) {
        options.local = "10.0.0.2:0";
        options.address = below(world, 3) == 0 ? "name1:80" : world->address;
    }
    weft_pid pid;
    int status = weft_runtime_connect(world->runtimes[index], &options, &pid);
    if (status < 0) {
        world->connect_errors++;
        side->disturbed = true;
        side->terminated = true;
    } else {
        side->pid = pid;
    }
}

/* ---- disturbances -------------------------------------------------------------------------- */

static void disturb_actor(struct world *world) {
    if (world->side_count == 0) {
        return;
    }
    struct side *side = &world->sides[below(world, world->side_count)];
    if (!side->begun || side->terminated || world->stopped[side->runtime]) {
        return;
    }
    weft_runtime *runtime = world->runtimes[side->runtime];
    side->disturbed = true;
    uint64_t what = below(world, 3);
    int status = what == 0   ? weft_runtime_kill_actor(runtime, side->pid)
                 : what == 1 ? weft_runtime_stop_actor(runtime, side->pid, 0)
                             : weft_runtime_stop_actor(runtime, side->pid, -EINTR);
    (void)status; /* it may have ended by itself just now */
}

static void world_stop(struct world *world, uint32_t index) {
    if (world->stopped[index]) {
        return;
    }
    world->stopped[index] = true;
    for (uint32_t i = 0; i < world->side_count; i++) {
        world->sides[i].disturbed |= world->sides[i].runtime == index;
    }
    /* Connections that are accepted from now on belong to a runtime that stops. */
    if (weft_sim_stop(world->sim, world->runtimes[index], STOP_STEPS) != 0) {
        stream_fail(world, NULL, "a runtime does not stop");
    }
}

static void disturb_network(struct world *world, bool on) {
    weft_address left;
    weft_address right;
    if (weft_address_parse("10.0.0.1:0", &left) < 0 ||
        weft_address_parse("10.0.0.2:0", &right) < 0 ||
        weft_sim_partition(world->sim, &left, &right, on) < 0) {
        stream_fail(world, NULL, "no partition");
    }
}

static void world_disturb(struct world *world) {
    switch (below(world, 40)) {
    case 0:
    case 1:
        disturb_actor(world);
        break;
    case 2:
        disturb_network(world, true);
        break;
    case 3:
    case 4:
        disturb_network(world, false);
        break;
    case 5:
        if (below(world, 10) == 0 && !world->stopped[0]) {
            (void)weft_runtime_stop_actor(world->runtimes[0], world->listener, 0);
        }
        break;
    case 6:
        if (below(world, 20) == 0) {
            world_stop(world, (uint32_t)below(world, world->runtime_count));
        }
        break;
    default:
        break;
    }
}

/* ---- the verdict --------------------------------------------------------------------------- */

static bool sides_are_over(void *arg) {
    struct world *world = arg;
    for (uint32_t i = 0; i < world->side_count; i++) {
        if (!world->sides[i].terminated && !world->sides[i].disturbed) {
            return false;
        }
    }
    return true;
}

static void side_judge(const struct side *side) {
    stream_must(side, side->opens <= 1);
    stream_must(side, side->ends <= 1);
    stream_must(side, side->closes <= 1);
    stream_must(side, side->terminated || side->disturbed);
    stream_must(side, side->closes == 1 || side->exited || side->disturbed);
    const struct side *other = side->other;
    if (other == NULL) {
        return;
    }
    stream_must(side, side->received <= other->written);
    bool well = side->closes == 1 && side->status == 0 && other->closes == 1 && other->status == 0;
    if (well && !side->called_close && !side->called_abort) {
        stream_must(side, side->received == other->written);
        stream_must(side, side->ends == 1);
    }
}

static void runtime_judge(struct world *world, uint32_t index) {
    weft_gauges gauges = {.struct_size = WEFT_GAUGES_INIT};
    if (weft_gauges_read(world->runtimes[index], &gauges) < 0) {
        stream_fail(world, NULL, "no gauges");
    }
    if (gauges.actors != 0 || gauges.messages != 0 || gauges.timers != 0 || gauges.buffers != 0 ||
        gauges.io_open != 0) {
        (void)fprintf(stderr, "actors %llu, messages %llu, timers %llu, buffers %llu, open %u\n",
                      (unsigned long long)gauges.actors, (unsigned long long)gauges.messages,
                      (unsigned long long)gauges.timers, (unsigned long long)gauges.buffers,
                      gauges.io_open);
        stream_fail(world, NULL, "something is left in a stopped runtime");
    }
    weft_stats stats = {.struct_size = WEFT_STATS_INIT};
    if (weft_stats_read(world->runtimes[index], WEFT_STATS_ALL, &stats) < 0) {
        stream_fail(world, NULL, "no statistics");
    }
    world->starved += stats.io_starved;
    if (weft_runtime_destroy(&world->runtimes[index]) != 0) {
        stream_fail(world, NULL, "a runtime is not destroyed");
    }
}

struct report {
    uint64_t hash;
    uint64_t sides;
    uint64_t opens;
    uint64_t well;
    uint64_t bytes;
    uint64_t fulls;
    uint64_t refused; /* writes answered -ENOBUFS */
    uint64_t pauses;
    uint64_t resets;  /* sides told -ECONNRESET */
    uint64_t turned;  /* sides told -ECONNREFUSED */
    uint64_t starved; /* receives that found no buffer */
};

static void world_report(const struct world *world, struct report *ret_report) {
    ret_report->hash = weft_sim_hash(world->sim);
    ret_report->sides += world->side_count;
    ret_report->starved += world->starved;
    for (uint32_t i = 0; i < world->side_count; i++) {
        const struct side *side = &world->sides[i];
        ret_report->opens += side->opens;
        ret_report->well += side->closes == 1 && side->status == 0;
        ret_report->bytes += side->received;
        ret_report->fulls += side->fulls;
        ret_report->refused += side->refused;
        ret_report->pauses += side->pauses;
        ret_report->resets += side->closes == 1 && side->status == -ECONNRESET;
        ret_report->turned += side->closes == 1 && side->status == -ECONNREFUSED;
    }
}

static void world_run(uint64_t seed, struct report *ret_report) {
    static struct world world;
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    sim_prng_init(&world.prng, seed, 100);
    world_sim(&world);
    uint32_t runtimes = 1 + (uint32_t)below(&world, RUNTIMES_MAX);
    for (uint32_t i = 0; i < runtimes; i++) {
        world_runtime(&world, i);
    }
    world_listen(&world);
    uint64_t connects = sim_prng_magnitude(&world.prng, 4);
    for (uint32_t round = 0; round < 60; round++) {
        if (connects > 0 && below(&world, 4) == 0) {
            world_connect(&world);
            connects--;
        }
        uint64_t until_ns = weft_sim_now_ns(world.sim) + sim_prng_magnitude(&world.prng, 28);
        (void)weft_sim_run(world.sim, ROUND_STEPS, until_ns, NULL, NULL);
        world_disturb(&world);
    }
    disturb_network(&world, false);
    if (below(&world, 4) != 0) {
        enum weft_sim_result result = weft_sim_run(
            world.sim, STOP_STEPS, weft_sim_now_ns(world.sim) + END_NS, sides_are_over, &world);
        if (result != WEFT_SIM_DONE) {
            stream_fail(&world, NULL, "connections do not end");
        }
    }
    for (uint32_t i = 0; i < runtimes; i++) {
        world_stop(&world, i);
    }
    for (uint32_t i = 0; i < world.side_count; i++) {
        side_judge(&world.sides[i]);
    }
    for (uint32_t i = 0; i < runtimes; i++) {
        runtime_judge(&world, i);
    }
    world_report(&world, ret_report);
    weft_sim_destroy(&world.sim);
}

/* A failed assert of the library does not know the seed. */
static void aborted(int number) {
    char text[] = "streams: seed 00000000000000000000\n";
    uint64_t seed = *seed_now;
    for (size_t at = sizeof(text) - 3; seed > 0; seed /= 10) {
        text[at--] = (char)('0' + seed % 10);
    }
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        /* nobody to tell */
    }
    (void)signal(number, SIG_DFL);
}

/* A suite in which something never happens has not tested it. True: enough of everything, for so
 * many seeds; about a fifth of what is usual. */
static bool report_enough(const struct report *total, uint64_t count) {
    const struct {
        const char *name;
        uint64_t have;
        uint64_t least;
    } needs[] = {
        {"connections opened", total->opens, count},
        {"connections that ended well", total->well, count / 2},
        {"resets", total->resets, count / 10},
        {"refused connections", total->turned, count / 20},
        {"receives without a buffer", total->starved, count / 10},
        {"writes that filled the queue", total->fulls, count},
        {"writes refused with -ENOBUFS", total->refused, count / 10},
        {"pauses", total->pauses, count / 10},
    };
    bool enough = true;
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (needs[i].have < needs[i].least) {
            (void)fprintf(stderr, "streams: %llu %s in %llu seeds, at least %llu are wanted\n",
                          (unsigned long long)needs[i].have, needs[i].name,
                          (unsigned long long)count, (unsigned long long)needs[i].least);
            enough = false;
        }
    }
    return enough;
}

int main(int argc, char **argv) {
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : SEEDS;
    struct report total = {0};
    static uint64_t seed;
    seed_now = &seed;
    (void)signal(SIGABRT, aborted);
    (void)signal(SIGSEGV, aborted);
    for (seed = first; seed < first + count; seed++) {
        struct report again = {0};
        world_run(seed, &total);
        world_run(seed, &again);
        if (again.hash != total.hash) {
            (void)fprintf(stderr, "streams: seed %llu: %llx, then %llx\n", (unsigned long long)seed,
                          (unsigned long long)total.hash, (unsigned long long)again.hash);
            return EXIT_FAILURE;
        }
    }
    (void)printf(
        "%llu seeds, %llu sides, %llu opened, %llu ended well, %llu bytes, %llu times full, "
        "%llu writes refused, %llu pauses, %llu resets, %llu refused, %llu starved\n",
        (unsigned long long)count, (unsigned long long)total.sides, (unsigned long long)total.opens,
        (unsigned long long)total.well, (unsigned long long)total.bytes,
        (unsigned long long)total.fulls, (unsigned long long)total.refused,
        (unsigned long long)total.pauses, (unsigned long long)total.resets,
        (unsigned long long)total.turned, (unsigned long long)total.starved);
    return count < ENOUGH_SEEDS || report_enough(&total, count) ? EXIT_SUCCESS : EXIT_FAILURE;
}
