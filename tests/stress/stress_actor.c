/* SPDX-License-Identifier: MIT
 *
 * What actors of the stress program do. Each has a repeating timer whose ticks begin everything;
 * what a message causes is less than one message on average, so the load stays bounded. All that
 * an actor began and that has not ended yet is in its state; its cleanup, which also runs when it
 * is killed, writes it off.
 */
#define _GNU_SOURCE
#include "stress.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    OPEN = 16,    /* calls, timers, jobs under way */
    HELD = 4,     /* requests to answer later */
    STREAMS = 16, /* receivers it numbers its messages for */
    SEEN = 64,    /* senders it checks */
    STATE_MAGIC = 0x73747265,
    BURST = 500,
    ERROR_TEST = -77,
};

struct seen {
    uint64_t stream;
    uint64_t seq;
    uint64_t exact;
};

struct open_timer {
    uint64_t token;
    uint64_t due_ns;
    weft_timer timer;
};

struct actor {
    uint32_t magic;
    enum stress_kind kind;
    struct stress *stress;
    uint64_t self;
    uint64_t tokens;
    weft_timer tick;
    uint64_t calls[OPEN]; /* tokens; 0: free */
    uint64_t jobs[OPEN];
    struct open_timer timers[OPEN];
    uint64_t owed[OPEN]; /* targets that owe a READY */
    weft_msg *held[HELD];
    struct stress_stream streams[STREAMS];
    struct seen seen[SEEN];
};

struct init_arg {
    struct stress *stress;
    enum stress_kind kind;
};

static uint64_t mix(uint64_t value) {
    return stress_random(&value);
}

/* ---- notes --------------------------------------------------------------------------------- */

uint32_t stress_size(uint64_t random) {
    uint32_t least = sizeof(struct stress_note);
    switch (random % 16) {
    case 0:
        return least + (uint32_t)(random >> 8) % (STRESS_NOTE_MAX - least);
    case 1:
    case 2:
    case 3:
        return least + (uint32_t)(random >> 8) % 200;
    default:
        return least;
    }
}

struct stress_stream *stress_stream_to(struct stress *stress, struct stress_stream *streams,
                                       uint32_t count, uint64_t target) {
    struct stress_stream *stream = &streams[mix(target) % count];
    if (stream->target != target) {
        *stream = (struct stress_stream){.target = target,
                                         .id = atomic_fetch_add(&stress->streams, 1) + 1};
    }
    return stream;
}

void stress_note_fill(unsigned char *bytes, const struct stress_stream *stream, uint32_t size,
                      uint64_t from, uint64_t token) {
    struct stress_note note = {.stream = stream->id,
                               .seq = stream->seq + 1,
                               .exact = token == 0 ? stream->exact + 1 : 0,
                               .to = stream->target,
                               .from = from,
                               .token = token,
                               .size = size,
                               .magic = STRESS_NOTE_MAGIC};
    memcpy(bytes, &note, sizeof(note));
    memset(bytes + sizeof(note), (int)(note.seq & 0xff), size - sizeof(note));
}

void stress_note_sent(struct stress_stream *stream, bool request) {
    stream->seq++;
    stream->exact += request ? 0 : 1;
}

void stress_note_read(const weft_msg *msg, struct stress_note *ret_note) {
    if (weft_msg_size(msg) < sizeof(*ret_note)) {
        stress_fail("a note of %zu bytes", weft_msg_size(msg));
    }
    const unsigned char *bytes = weft_msg_data(msg);
    memcpy(ret_note, bytes, sizeof(*ret_note));
    if (ret_note->magic != STRESS_NOTE_MAGIC || ret_note->size != weft_msg_size(msg)) {
        stress_fail("a note is damaged: magic %x, size %u of %zu", ret_note->magic, ret_note->size,
                    weft_msg_size(msg));
    }
    for (size_t i = sizeof(*ret_note); i < ret_note->size; i++) {
        if (bytes[i] != (ret_note->seq & 0xff)) {
            stress_fail("byte %zu of a note is %02x, not %02x", i, bytes[i],
                        (unsigned)(ret_note->seq & 0xff));
        }
    }
}

/* In the order it was sent, and nothing missing where nothing may get lost. */
static void check_order(struct actor *self, const struct stress_note *note) {
    struct seen *seen = &self->seen[mix(note->stream) % SEEN];
    bool lossless = self->kind != STRESS_DROP_NEW && self->kind != STRESS_DROP_OLD;
    if (seen->stream != note->stream) {
        *seen = (struct seen){.stream = note->stream};
    } else if (note->seq <= seen->seq) {
        stress_fail("order: stream %llu: %llu came after %llu (kind %d)",
                    (unsigned long long)note->stream, (unsigned long long)note->seq,
                    (unsigned long long)seen->seq, (int)self->kind);
    } else if (lossless && note->exact != 0 && seen->exact != 0 && note->exact != seen->exact + 1) {
        stress_fail("loss: stream %llu: message %llu came after %llu (kind %d)",
                    (unsigned long long)note->stream, (unsigned long long)note->exact,
                    (unsigned long long)seen->exact, (int)self->kind);
    }
    seen->seq = note->seq;
    if (note->exact != 0) {
        seen->exact = note->exact;
    }
}

/* ---- lists of what is under way ------------------------------------------------------------- */

static bool put(uint64_t *list, uint64_t value) {
    for (int i = 0; i < OPEN; i++) {
        if (list[i] == 0) {
            list[i] = value;
            return true;
        }
    }
    return false;
}

static bool drop(uint64_t *list, uint64_t value) {
    for (int i = 0; i < OPEN; i++) {
        if (list[i] == value) {
            list[i] = 0;
            return true;
        }
    }
    return false;
}

static uint64_t count_open(const uint64_t *list) {
    uint64_t count = 0;
    for (int i = 0; i < OPEN; i++) {
        count += list[i] != 0 ? 1 : 0;
    }
    return count;
}

static bool has_room(const uint64_t *list) {
    return count_open(list) < OPEN;
}

/* ---- acts ---------------------------------------------------------------------------------- */

struct victim {
    uint64_t address;
    enum stress_kind kind;
};

static struct victim draw(struct actor *self, weft_ctx *ctx) {
    uint64_t random = weft_random(ctx);
    struct victim victim = {.kind = (enum stress_kind)(random % STRESS_KINDS)};
    /* A few get most of the messages. */
    uint32_t range = (random >> 8) % 4 == 0 ? STRESS_BOOK : 8;
    victim.address = atomic_load(&self->stress->book[victim.kind][(random >> 16) % range]);
    return victim;
}

/* A send answered an error: is it one that may happen, and what follows from it? */
static void refused(struct actor *self, const struct victim *victim, int result) {
    if (result == -EBUSY) {
        if (victim->kind == STRESS_PLAIN || victim->kind == STRESS_PINNED) {
            stress_fail("a mailbox without a small bound answered -EBUSY");
        }
        if (victim->kind == STRESS_DROP_NEW) {
            return; /* a request: no READY follows */
        }
        for (int i = 0; i < OPEN; i++) {
            if (self->owed[i] == victim->address) {
                return; /* the one READY that is owed serves this too */
            }
        }
        if (!put(self->owed, victim->address)) {
            stress_fail("too many full mailboxes at once");
        }
        stress_add(self->stress, STRESS_READIES, 1);
    } else if (result != WEFT_E_NOPROC && result != -EDEADLK) {
        stress_fail("a send answered %d", result);
    }
}

static void act_send(struct actor *self, weft_ctx *ctx, struct victim victim) {
    unsigned char bytes[STRESS_NOTE_MAX];
    uint64_t random = weft_random(ctx);
    struct stress_stream *stream =
        stress_stream_to(self->stress, self->streams, STREAMS, victim.address);
    uint32_t size = stress_size(random);
    stress_note_fill(bytes, stream, size, self->self, 0);
    weft_pid target = stress_pid(self->stress, victim.address);
    int result;
    weft_buf *buf;
    weft_msg *msg;
    switch (random >> 60) {
    case 0:
        if (weft_msg_create(ctx, STRESS_TAG_NOTE, size, &msg) != 0) {
            stress_fail("a message could not be created");
        }
        memcpy(weft_msg_body(msg), bytes, size);
        result = weft_send_msg(ctx, target, &msg);
        break;
    case 1:
        if (weft_buf_create(self->stress->runtime, size + 5, &buf) != 0) {
            stress_fail("a buffer could not be created");
        }
        memcpy((char *)weft_buf_data(buf) + 3, bytes, size);
        result = weft_send_buf(ctx, target, STRESS_TAG_NOTE, buf, 3, size);
        weft_buf_unref(buf);
        break;
    default:
        result = weft_send(ctx, target, STRESS_TAG_NOTE, bytes, size);
        break;
    }
    if (result == 0) {
        stress_note_sent(stream, false);
    } else {
        refused(self, &victim, result);
    }
}

static void act_tiny(struct actor *self, weft_ctx *ctx) {
    struct victim victim = draw(self, ctx);
    if (count_open(self->owed) < OPEN / 2) {
        int result =
            weft_send(ctx, stress_pid(self->stress, victim.address), STRESS_TAG_TINY, NULL, 0);
        if (result != 0) {
            refused(self, &victim, result);
        }
    }
}

static void act_call(struct actor *self, weft_ctx *ctx) {
    if (!has_room(self->calls) || count_open(self->owed) >= OPEN / 2) {
        return;
    }
    unsigned char bytes[STRESS_NOTE_MAX];
    uint64_t random = weft_random(ctx);
    struct victim victim = draw(self, ctx);
    struct stress_stream *stream =
        stress_stream_to(self->stress, self->streams, STREAMS, victim.address);
    uint64_t token = ++self->tokens;
    uint32_t size = stress_size(random);
    stress_note_fill(bytes, stream, size, self->self, token);
    uint64_t timeout_ns = 100000 + (random >> 20) % 60000000;
    (void)weft_work_for(ctx, NULL); /* its time is its own */
    int result = weft_call(ctx, stress_pid(self->stress, victim.address), STRESS_TAG_NOTE, bytes,
                           size, timeout_ns, token);
    if (result != 0) {
        refused(self, &victim, result);
        return;
    }
    stress_note_sent(stream, true);
    (void)put(self->calls, token);
    stress_add(self->stress, STRESS_CALLS, 1);
}

static void act_call_cancel(struct actor *self, weft_ctx *ctx) {
    int at = (int)(weft_random(ctx) % OPEN);
    if (self->calls[at] != 0) {
        int cancelled = weft_call_cancel(ctx, self->calls[at]);
        if (cancelled != 1) {
            stress_fail("%d calls cancelled, not 1", cancelled);
        }
        self->calls[at] = 0;
        stress_add(self->stress, STRESS_CALLS_DONE, 1);
    }
}

static void act_timer(struct actor *self, weft_ctx *ctx) {
    uint64_t random = weft_random(ctx);
    struct open_timer *open = &self->timers[random % OPEN];
    if (open->token != 0) {
        /* The record is the actor's: as long as no TIMER message came, cancelling succeeds. */
        if (!weft_timer_cancel(ctx, open->timer)) {
            stress_fail("a timer that has not fired could not be cancelled");
        }
        if (weft_timer_cancel(ctx, open->timer)) {
            stress_fail("a timer was cancelled twice");
        }
        open->token = 0;
        stress_add(self->stress, STRESS_TIMERS_DONE, 1);
        return;
    }
    uint64_t delay_ns = (random >> 8) % 30000000;
    open->token = ++self->tokens;
    open->due_ns = weft_now_ns(ctx) + delay_ns;
    if (weft_timer_start(ctx, delay_ns, 5, open->token, &open->timer) != 0) {
        stress_fail("a timer could not be started");
    }
    stress_add(self->stress, STRESS_TIMERS, 1);
}

static void act_send_after(struct actor *self, weft_ctx *ctx) {
    uint64_t random = weft_random(ctx);
    struct victim victim = draw(self, ctx);
    weft_timer timer;
    int result = weft_send_after(ctx, random % 5000000, stress_pid(self->stress, victim.address),
                                 STRESS_TAG_TINY, "later", 5, &timer);
    if (result != 0 && result != WEFT_E_NOPROC) {
        stress_fail("weft_send_after answered %d", result);
    }
    if (result == 0 && random >> 62 == 0 && !weft_timer_cancel(ctx, timer)) {
        stress_fail("a delayed send could not be cancelled at once");
    }
}

/* Runs on a helper. */
static int job(void *arg) {
    uintptr_t number = (uintptr_t)arg;
    if (number % 7 == 0) {
        struct timespec time = {.tv_nsec = 200000};
        (void)nanosleep(&time, NULL);
    }
    return (int)(number & 0xff);
}

static void act_job(struct actor *self, weft_ctx *ctx) {
    if (!has_room(self->jobs)) {
        return;
    }
    uint64_t token = ++self->tokens;
    int result = weft_blocking(ctx, job, (void *)(uintptr_t)token, token);
    if (result == 0) {
        (void)put(self->jobs, token);
        stress_add(self->stress, STRESS_JOBS, 1);
    } else if (result != -EBUSY && result != WEFT_E_SHUTDOWN) {
        stress_fail("weft_blocking answered %d", result);
    }
}

/* In every other round all are normal. */
static uint32_t draw_priority(const struct stress *stress, uint64_t random) {
    return stress->seed % 2 == 0 ? 0 : (uint32_t)(random >> 40) % (WEFT_PRIORITY_LOW + 1);
}

static void act_spawn(struct actor *self, weft_ctx *ctx) {
    struct stress *stress = self->stress;
    if (stress_get(stress, STRESS_SPAWNED) - stress_get(stress, STRESS_CLEANED) >
        stress->alive_max) {
        return;
    }
    uint64_t random = weft_random(ctx);
    struct init_arg arg = {.stress = stress, .kind = (enum stress_kind)(random % STRESS_KINDS)};
    weft_spawn_options options = {
        .struct_size = WEFT_SPAWN_OPTIONS_INIT, .arg = &arg, .arg_size = sizeof(arg)};
    options.pin = arg.kind == STRESS_PINNED;
    options.scheduler = (random >> 8) % 4 == 0 || options.pin
                            ? (uint32_t)(random >> 16) % stress->schedulers + 1
                            : WEFT_ANY_SCHEDULER;
    options.priority = draw_priority(stress, random);
    weft_pid pid;
    int result = weft_spawn_with(ctx, stress->types[arg.kind], &options, &pid);
    if (result == 0) {
        stress_add(stress, STRESS_SPAWNED, 1);
        act_send(self, ctx, (struct victim){.address = stress_address(pid), .kind = arg.kind});
    } else if (result != WEFT_E_SHUTDOWN) {
        stress_fail("weft_spawn_with answered %d", result);
    }
}

static void act_end_another(struct actor *self, weft_ctx *ctx) {
    struct victim victim = draw(self, ctx);
    weft_pid target = stress_pid(self->stress, victim.address);
    int result =
        weft_random(ctx) % 2 == 0 ? weft_stop(ctx, target, -ECANCELED) : weft_kill(ctx, target);
    if (result != 0 && result != WEFT_E_NOPROC) {
        stress_fail("ending another actor answered %d", result);
    }
}

/* Fills one mailbox. */
static void act_burst(struct actor *self, weft_ctx *ctx) {
    struct victim victim = draw(self, ctx);
    uint32_t count = (uint32_t)(weft_random(ctx) % BURST);
    for (uint32_t i = 0; i < count && count_open(self->owed) < OPEN / 2; i++) {
        act_send(self, ctx, victim);
    }
}

static void answer(struct actor *self, weft_ctx *ctx, weft_msg **request) {
    struct stress_note note;
    stress_note_read(*request, &note);
    uint64_t random = weft_random(ctx);
    int result;
    switch (random % 8) {
    case 0:
        weft_msg_release(ctx, request);
        return;
    case 1:
        result = weft_reply_error(ctx, request, ERROR_TEST);
        break;
    default: /* the note itself, of another size at times */
        result = weft_reply(ctx, request, STRESS_TAG_REPLY, weft_msg_data(*request),
                            random % 4 == 0 ? sizeof(note) : note.size);
        break;
    }
    if ((result != 0 && result != WEFT_E_NOPROC) || *request != NULL) {
        stress_fail("a reply answered %d", result);
    }
    (void)self;
}

static void act_answer_held(struct actor *self, weft_ctx *ctx) {
    for (int i = 0; i < HELD; i++) {
        if (self->held[i] != NULL) {
            answer(self, ctx, &self->held[i]);
        }
    }
}

static void act(struct actor *self, weft_ctx *ctx) {
    uint64_t random = weft_random(ctx) % 1000;
    if (random < 380) {
        struct victim victim = draw(self, ctx);
        if (count_open(self->owed) < OPEN / 2) {
            act_send(self, ctx, victim);
        }
    } else if (random < 420) {
        act_tiny(self, ctx);
    } else if (random < 640) {
        act_call(self, ctx);
    } else if (random < 670) {
        act_call_cancel(self, ctx);
    } else if (random < 760) {
        act_timer(self, ctx);
    } else if (random < 790) {
        act_send_after(self, ctx);
    } else if (random < 830) {
        act_job(self, ctx);
    } else if (random < 890) {
        act_spawn(self, ctx);
    } else if (random < 900) {
        act_end_another(self, ctx);
    } else if (random < 910) {
        act_burst(self, ctx);
    } else if (random < 920) {
        weft_exit(ctx, random % 2 == 0 ? 0 : -EIO);
    } else {
        act_answer_held(self, ctx);
    }
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static void cleanup(void *arg) {
    struct actor *self = arg;
    struct stress *stress = self->stress;
    if (self->magic != STATE_MAGIC) {
        stress_fail("a cleanup found a state that is not there");
    }
    uint64_t timers = 0;
    for (int i = 0; i < OPEN; i++) {
        timers += self->timers[i].token != 0 ? 1 : 0;
    }
    stress_add(stress, STRESS_CALLS_DONE, count_open(self->calls));
    stress_add(stress, STRESS_JOBS_DONE, count_open(self->jobs));
    stress_add(stress, STRESS_TIMERS_DONE, timers);
    stress_add(stress, STRESS_READIES_DONE, count_open(self->owed));
    stress_add(stress, STRESS_CLEANED, 1);
    self->magic = 0;
}

static int init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    struct actor *self = state;
    struct init_arg given;
    if (arg_size != sizeof(given) || self->magic != 0) {
        stress_fail("init got %zu bytes, or a used state", arg_size);
    }
    memcpy(&given, arg, sizeof(given));
    struct stress *stress = given.stress;
    stress_add(stress, STRESS_INITS, 1);
    *self = (struct actor){.magic = STATE_MAGIC,
                           .kind = given.kind,
                           .stress = stress,
                           .self = stress_address(weft_self(ctx))};
    uint64_t random = weft_random(ctx);
    if (weft_defer(ctx, cleanup, self) != 0 ||
        weft_timer_repeat(ctx, 200000 + random % 8000000, 1, 0, &self->tick) != 0) {
        stress_fail("init could not defer or start its timer");
    }
    if (random >> 58 == 0) {
        return -EPERM;
    }
    stress_add(stress, STRESS_BEGUN, 1);
    atomic_store(&stress->book[self->kind][(random >> 32) % STRESS_BOOK], self->self);
    if ((random >> 40) % 4 == 0) {
        atomic_store(&stress->book[self->kind][(random >> 32) % 8], self->self);
    }
    return WEFT_CONTINUE;
}

static void terminate(weft_ctx *ctx, void *state, int reason) {
    struct actor *self = state;
    (void)reason;
    if (self->magic != STATE_MAGIC) {
        stress_fail("terminate found a state that is not there");
    }
    if (weft_random(ctx) % 4 == 0) {
        act_answer_held(self, ctx); /* else the runtime answers them */
    }
}

static void got_note(struct actor *self, weft_ctx *ctx, weft_msg *msg) {
    struct stress_note note;
    stress_note_read(msg, &note);
    stress_add(self->stress, STRESS_NOTES_SEEN, 1);
    bool request = weft_msg_kind(msg) == WEFT_MSG_REQUEST;
    bool first_hand =
        note.to == self->self && (request || stress_address(weft_sender(ctx, msg)) == note.from);
    if (first_hand) {
        check_order(self, &note);
    }
    uint64_t random = weft_random(ctx);
    bool quiet = atomic_load(&self->stress->quiet) != 0;
    if (first_hand && random % 32 == 0 && !quiet) {
        struct victim victim = draw(self, ctx);
        if (victim.address != self->self && count_open(self->owed) < OPEN / 2) {
            weft_msg *taken = (random >> 8) % 2 == 0 ? weft_msg_take(ctx, msg) : msg;
            int result = weft_send_msg(ctx, stress_pid(self->stress, victim.address), &taken);
            if (result != 0) {
                refused(self, &victim, result);
            }
            return;
        }
    }
    if (request) {
        weft_msg **held = &self->held[(random >> 16) % HELD];
        if (random % 8 == 1 && *held == NULL && !quiet) {
            *held = weft_msg_take(ctx, msg);
        } else {
            answer(self, ctx, &msg);
        }
    }
    if (random >> 62 == 0 && !quiet) {
        act(self, ctx);
    }
}

static void got_reply(struct actor *self, const weft_msg *msg) {
    int status = weft_msg_status(msg);
    uint64_t token = weft_msg_token(msg);
    if (!drop(self->calls, token)) {
        stress_fail("a reply with status %d to a call that is not pending", status);
    }
    stress_add(self->stress, STRESS_CALLS_DONE, 1);
    if (status == 0) {
        struct stress_note note;
        if (weft_msg_size(msg) < sizeof(note) || weft_msg_tag(msg) != STRESS_TAG_REPLY) {
            stress_fail("a reply of %zu bytes with tag %u", weft_msg_size(msg), weft_msg_tag(msg));
        }
        memcpy(&note, weft_msg_data(msg), sizeof(note));
        if (note.token != token || note.from != self->self) {
            stress_fail("the reply of another call");
        }
    } else if (status != -ETIMEDOUT && status != WEFT_E_NOPROC && status != WEFT_E_NOREPLY &&
               status != WEFT_E_OVERLOAD && status != -EBUSY && status != -EDEADLK &&
               status != ERROR_TEST) {
        stress_fail("a reply with status %d", status);
    }
}

static void got_timer(struct actor *self, weft_ctx *ctx, const weft_msg *msg) {
    uint64_t token = weft_msg_token(msg);
    if (token == 0) {
        if (atomic_load(&self->stress->quiet) != 0) {
            act_answer_held(self, ctx);
            if (!weft_timer_cancel(ctx, self->tick)) {
                stress_fail("a repeating timer could not be cancelled");
            }
            return;
        }
        uint32_t count = (uint32_t)(weft_random(ctx) % 5);
        for (uint32_t i = 0; i < count; i++) {
            act(self, ctx);
        }
        return;
    }
    for (int i = 0; i < OPEN; i++) {
        if (self->timers[i].token == token) {
            if (weft_now_ns(ctx) < self->timers[i].due_ns) {
                stress_fail("a timer fired too early");
            }
            self->timers[i].token = 0;
            stress_add(self->stress, STRESS_TIMERS_DONE, 1);
            return;
        }
    }
    stress_fail("a timer that was cancelled, or fired before, fired");
}

static void got_done(struct actor *self, const weft_msg *msg) {
    uint64_t token = weft_msg_token(msg);
    int status = weft_msg_status(msg);
    if (!drop(self->jobs, token)) {
        stress_fail("the end of a job that was not begun");
    }
    if (status != (int)(token & 0xff) && status != WEFT_E_SHUTDOWN) {
        stress_fail("a job answered %d", status);
    }
    stress_add(self->stress, STRESS_JOBS_DONE, 1);
}

static int receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct actor *self = state;
    if (self->magic != STATE_MAGIC || self->self != stress_address(weft_self(ctx))) {
        stress_fail("a message for a state that is not there");
    }
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_USER:
    case WEFT_MSG_REQUEST:
        if (weft_msg_tag(msg) == STRESS_TAG_NOTE) {
            got_note(self, ctx, msg);
        }
        break;
    case WEFT_MSG_REPLY:
        got_reply(self, msg);
        break;
    case WEFT_MSG_TIMER:
        got_timer(self, ctx, msg);
        break;
    case WEFT_MSG_READY:
        if (!drop(self->owed, stress_address(weft_sender(ctx, msg)))) {
            stress_fail("a READY that nobody asked for");
        }
        stress_add(self->stress, STRESS_READIES_DONE, 1);
        break;
    case WEFT_MSG_DONE:
        got_done(self, msg);
        break;
    default:
        stress_fail("a message of kind %d", (int)weft_msg_kind(msg));
    }
    return WEFT_CONTINUE;
}

/* ---- the subscriber of dead letters --------------------------------------------------------- */

static int dead_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)arg_size;
    memcpy(state, arg, sizeof(struct stress *));
    return WEFT_CONTINUE;
}

static int dead_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    struct stress *stress = *(struct stress **)state;
    (void)ctx;
    if (weft_msg_kind(msg) != WEFT_MSG_DEAD || weft_msg_status(msg) >= 0) {
        stress_fail("a dead letter of kind %d, status %d", (int)weft_msg_kind(msg),
                    weft_msg_status(msg));
    }
    if (weft_msg_tag(msg) == STRESS_TAG_NOTE) {
        struct stress_note note;
        stress_note_read(msg, &note);
    }
    stress_add(stress, STRESS_DEAD_SEEN, 1);
    return WEFT_CONTINUE;
}

/* ---- types --------------------------------------------------------------------------------- */

weft_spawn_options stress_spawn_options(struct stress **arg, enum stress_kind kind,
                                        uint64_t random) {
    static _Thread_local struct init_arg given;
    given = (struct init_arg){.stress = *arg, .kind = kind};
    weft_spawn_options options = {.struct_size = WEFT_SPAWN_OPTIONS_INIT,
                                  .arg = &given,
                                  .arg_size = sizeof(given),
                                  .pin = kind == STRESS_PINNED};
    if (random % 2 == 0) {
        options.scheduler = (uint32_t)(random >> 8) % (*arg)->schedulers + 1;
    }
    options.priority = draw_priority(*arg, random);
    return options;
}

int stress_types_register(struct stress *stress) {
    static const struct {
        const char *name;
        uint32_t mailbox_max;
        enum weft_mailbox_policy policy;
        uint32_t flags;
    } kinds[STRESS_KINDS] = {
        [STRESS_PLAIN] = {"plain", WEFT_MAILBOX_UNBOUNDED, WEFT_MAILBOX_REJECT, 0},
        [STRESS_REJECT] = {"reject", 100, WEFT_MAILBOX_REJECT, 0},
        [STRESS_DROP_NEW] = {"drop-new", 100, WEFT_MAILBOX_DROP_NEW, 0},
        [STRESS_DROP_OLD] = {"drop-old", 100, WEFT_MAILBOX_DROP_OLD, 0},
        [STRESS_SERIAL] = {"serial", 400, WEFT_MAILBOX_REJECT, WEFT_TYPE_SERIAL},
        [STRESS_PINNED] = {"pinned", WEFT_MAILBOX_UNBOUNDED, WEFT_MAILBOX_REJECT, 0},
    };
    int result = 0;
    for (int kind = 0; kind < STRESS_KINDS && result == 0; kind++) {
        weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                             .name = kinds[kind].name,
                             .state_size = sizeof(struct actor),
                             .init = init,
                             .receive = receive,
                             .terminate = terminate,
                             .mailbox_max = kinds[kind].mailbox_max,
                             .mailbox_policy = kinds[kind].policy,
                             .flags = kinds[kind].flags};
        result = weft_type_register(stress->runtime, &def, &stress->types[kind]);
    }
    weft_type_def def = {.struct_size = WEFT_TYPE_DEF_INIT,
                         .name = "dead",
                         .state_size = sizeof(struct stress *),
                         .init = dead_init,
                         .receive = dead_receive};
    return result != 0 ? result : weft_type_register(stress->runtime, &def, &stress->dead_type);
}
