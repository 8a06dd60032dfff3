/* SPDX-License-Identifier: MIT
 *
 * The connection actor of the seeded suite for streams: writes what its plan says in pieces of any
 * size, checks what arrives and in which order, pauses, keeps messages, ends in every way there
 * is. A clock ticks so that nothing waits for good; in the end it gives up by itself.
 */
#include <errno.h>
#include <string.h>

#include "stream_world.h"

#define TICK_NS UINT64_C(20000000)

enum { TICKS_MAX = 6000, TAG_TICK = 77 };

struct state {
    struct side *side;
    weft_msg *kept;
    uint32_t ticks;
    bool paused;
};

static bool chance(weft_ctx *ctx, uint32_t permille) {
    return permille != 0 && (weft_random(ctx) >> 11) % 1000 < permille;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void bytes_fill(const struct side *side, unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint64_t at = side->written + i;
        bool header = !side->server && at < HEADER_BYTES;
        bytes[i] =
            header ? (unsigned char)(side->number >> (8 * at)) : stream_byte(side->server, at);
    }
}

static int write_piece(weft_ctx *ctx, struct side *side, size_t size) {
    static unsigned char bytes[WRITE_MAX];
    if (!side->plan.write_buf) {
        bytes_fill(side, bytes, size);
        return weft_stream_write(ctx, bytes, size);
    }
    weft_buf *buf = NULL;
    size_t offset = weft_random(ctx) % 16;
    int status = weft_buf_create(weft_runtime_of(ctx), size + offset, &buf);
    if (status < 0) {
        return status;
    }
    bytes_fill(side, (unsigned char *)weft_buf_data(buf) + offset, size);
    status = weft_stream_write_buf(ctx, buf, offset, size);
    weft_buf_unref(buf);
    return status;
}

static void write_end(weft_ctx *ctx, struct side *side) {
    int status;
    if (side->plan.close_at_end) {
        side->called_close = true;
        status = weft_stream_close(ctx);
    } else {
        status = weft_stream_end(ctx);
    }
    side->writing_over = true;
    stream_must(side, status == 0 || status == -EPIPE || status == -ENOTCONN);
}

static void pump(weft_ctx *ctx, struct side *side) {
    uint32_t pieces = 1 + (uint32_t)(weft_random(ctx) % 16);
    while (!side->writing_over && !side->full && side->written < side->plan.total && pieces-- > 0) {
        uint64_t left = side->plan.total - side->written;
        uint64_t most = left < side->plan.write_max ? left : side->plan.write_max;
        uint64_t size = 1 + (weft_random(ctx) >> 11) % most;
        int status = write_piece(ctx, side, (size_t)size);
        if (status == -ENOBUFS) {
            side->refused++;
            return;
        }
        if (status == -EPIPE || status == -ENOTCONN) {
            side->writing_over = true;
            return;
        }
        stream_must(side, status == 0 || status == WEFT_STREAM_FULL);
        side->written += size;
        side->full = status == WEFT_STREAM_FULL;
        side->fulls += side->full;
    }
    if (!side->writing_over && side->written == side->plan.total) {
        write_end(ctx, side);
    }
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void header_check(struct side *side, const unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size && side->received + i < HEADER_BYTES; i++) {
        uint32_t at = (uint32_t)(side->received + i);
        side->number |= (uint32_t)bytes[i] << (8 * at);
        if (at + 1 == HEADER_BYTES) {
            stream_must(side, side->number < side->world->side_count);
            side->other = &side->world->sides[side->number];
            stream_must(side, !side->other->server);
            stream_must(side, side->other->other == NULL);
            side->other->other = side;
        }
    }
}

static void data_check(struct side *side, weft_msg *msg) {
    const unsigned char *bytes = weft_msg_data(msg);
    size_t size = weft_msg_size(msg);
    stream_must(side, size > 0);
    stream_must(side, side->opens == 1);
    stream_must(side, side->ends == 0);
    if (side->server && side->received < HEADER_BYTES) {
        header_check(side, bytes, size);
    }
    for (size_t i = 0; i < size; i++) {
        uint64_t at = side->received + i;
        if (side->server && at < HEADER_BYTES) {
            continue;
        }
        stream_must(side, bytes[i] == stream_byte(!side->server, at));
    }
    side->received += size;
    if (side->other != NULL) {
        stream_must(side, side->received <= side->other->written);
    }
}

static void pause_some(weft_ctx *ctx, struct state *state) {
    struct side *side = state->side;
    if (chance(ctx, side->plan.pause_permille)) {
        state->paused = weft_stream_pause(ctx) == 0;
        side->pauses++;
    }
}

/* The ways to go before it is over. Returns what the handler returns. */
static int leave_some(weft_ctx *ctx, struct side *side) {
    if (chance(ctx, side->plan.close_permille)) {
        side->called_close = true;
        side->writing_over = true;
        (void)weft_stream_close(ctx); /* -ENOTCONN when it is over already */
    }
    if (chance(ctx, side->plan.abort_permille)) {
        side->called_abort = true;
        side->writing_over = true;
        (void)weft_stream_abort(ctx); /* likewise */
    }
    if (chance(ctx, side->plan.exit_permille)) {
        side->exited = true;
        return chance(ctx, 500) ? WEFT_STOP : -EINTR;
    }
    return WEFT_CONTINUE;
}

static void info_check(weft_ctx *ctx, struct side *side) {
    weft_stream_info info = {.struct_size = WEFT_STREAM_INFO_INIT};
    int status = weft_stream_inspect(ctx, &info);
    stream_must(side, status == 0 || status == -ENOTCONN);
    if (status == 0) {
        stream_must(side, info.accepted == side->server);
        stream_must(side, info.received >= side->received);
        stream_must(side, info.queued <= side->written);
        stream_must(side, info.sent <= side->written);
        stream_must(side, !info.tls);
    }
}

static int io_receive(weft_ctx *ctx, struct state *state, weft_msg *msg) {
    struct side *side = state->side;
    switch (weft_msg_tag(msg)) {
    case WEFT_IO_OPEN:
        stream_must(side, ++side->opens == 1);
        pump(ctx, side);
        break;
    case WEFT_IO_DATA:
        stream_must(side, !side->called_close);
        stream_must(side, !side->called_abort);
        data_check(side, msg);
        pause_some(ctx, state);
        if (state->kept == NULL && chance(ctx, side->plan.keep_permille)) {
            state->kept = weft_msg_take(ctx, msg);
        }
        if (chance(ctx, 300)) {
            pump(ctx, side);
        }
        break;
    case WEFT_IO_END:
        stream_must(side, ++side->ends == 1);
        stream_must(side, side->opens == 1);
        break;
    case WEFT_IO_WRITABLE:
        stream_must(side, side->full);
        side->full = false;
        pump(ctx, side);
        break;
    case WEFT_IO_CLOSED:
        side->closes++;
        side->status = weft_msg_status(msg);
        return WEFT_CONTINUE;
    default:
        stream_fail(side->world, side, "an event that is none");
    }
    return leave_some(ctx, side);
}

static int tick(weft_ctx *ctx, struct state *state) {
    struct side *side = state->side;
    info_check(ctx, side);
    if (state->kept != NULL) {
        weft_msg_release(ctx, &state->kept);
    }
    if (state->paused && chance(ctx, 500)) {
        state->paused = false;
        (void)weft_stream_resume(ctx); /* -ENOTCONN when it is over */
    }
    if (side->opens > 0) {
        pump(ctx, side);
    }
    /* Who is closed by the peer's end only, and never ends itself, closes in the end. */
    if (side->ends > 0 && side->writing_over && !side->called_close &&
        (side->plan.flags & WEFT_STREAM_HALF_OPEN) != 0) {
        side->called_close = true;
        (void)weft_stream_close(ctx);
    }
    if (++state->ticks == TICKS_MAX) {
        side->called_abort = true;
        (void)weft_stream_abort(ctx);
    }
    return state->ticks > 2 * TICKS_MAX ? (stream_fail(side->world, side, "CLOSED never came"), 0)
                                        : leave_some(ctx, side);
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static int side_init(weft_ctx *ctx, void *memory, const void *arg, size_t arg_size) {
    struct state *state = memory;
    struct side_arg given;
    if (arg_size != sizeof(given)) {
        abort();
    }
    memcpy(&given, arg, sizeof(given));
    struct side *side = given.side != NULL ? given.side : stream_side(given.world);
    state->side = side;
    if (given.side == NULL) {
        side->server = true;
        side->number = 0;
        side->plan = given.world->server_plan;
    }
    stream_must(side, !side->begun);
    side->begun = true;
    side->disturbed |= side->world->stopped[side->runtime];
    side->pid = weft_self(ctx);
    int status = weft_timer_repeat(ctx, TICK_NS, TAG_TICK, 0, NULL);
    if (status < 0) {
        side->terminated = true;
        return status;
    }
    if (side->server && chance(ctx, 500)) {
        pump(ctx, side);
    }
    if (side->server && chance(ctx, 5)) {
        side->exited = true;
        side->terminated = true;
        return -EINTR;
    }
    return 0;
}

static int side_receive(weft_ctx *ctx, void *memory, weft_msg *msg) {
    struct state *state = memory;
    struct side *side = state->side;
    stream_must(side, !side->terminated);
    if (weft_msg_kind(msg) == WEFT_MSG_IO) {
        stream_must(side, side->closes == 0);
        return io_receive(ctx, state, msg);
    }
    if (weft_msg_kind(msg) == WEFT_MSG_TIMER) {
        stream_must(side, side->closes == 0);
        return tick(ctx, state);
    }
    return WEFT_CONTINUE;
}

static void side_terminate(weft_ctx *ctx, void *memory, int reason) {
    struct side *side = ((struct state *)memory)->side;
    (void)ctx;
    stream_must(side, !side->terminated);
    side->terminated = true;
    bool own = side->exited || side->disturbed;
    stream_must(side, own || side->closes == 1);
    stream_must(side, own || reason == 0);
}

const weft_type_def stream_type = {
    .struct_size = WEFT_TYPE_DEF_INIT,
    .name = "side",
    .state_size = sizeof(struct state),
    .init = side_init,
    .receive = side_receive,
    .terminate = side_terminate,
};
