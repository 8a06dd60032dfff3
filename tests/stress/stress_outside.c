/* SPDX-License-Identifier: MIT
 *
 * The threads outside: they send, call, use a completion queue, spawn, end and look at actors,
 * and read all statistics, while the runtime runs and while it stops.
 */
#define _GNU_SOURCE
#include "stress.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 64, QUEUE_CALLS = 32, TEXT_BYTES = 1 << 20 };

struct outside {
    struct stress *stress;
    uint64_t random;
    uint32_t index;
    weft_cq *queue;
    uint64_t tokens;
    uint64_t open; /* calls in the queue */
    char *text;
    int null_fd;
    struct stress_stream streams[STREAMS];
};

static uint64_t next(struct outside *self) {
    return stress_random(&self->random);
}

static uint64_t draw(struct outside *self) {
    uint64_t random = next(self);
    uint32_t range = (random >> 8) % 4 == 0 ? STRESS_BOOK : 8;
    return atomic_load(&self->stress->book[random % STRESS_KINDS][(random >> 16) % range]);
}

static void check(int result, const char *what) {
    if (result < 0 && result != WEFT_E_NOPROC && result != WEFT_E_SHUTDOWN && result != -EBUSY &&
        result != WEFT_E_NOREPLY && result != WEFT_E_OVERLOAD && result != -ETIMEDOUT &&
        result != -77) {
        stress_fail("%s from outside answered %d", what, result);
    }
}

static void send_some(struct outside *self) {
    unsigned char bytes[STRESS_NOTE_MAX];
    uint64_t target = draw(self);
    struct stress_stream *stream = stress_stream_to(self->stress, self->streams, STREAMS, target);
    for (uint64_t i = next(self) % 8; i > 0; i--) {
        uint32_t size = stress_size(next(self));
        stress_note_fill(bytes, stream, size, 0, 0);
        int result = weft_runtime_send(self->stress->runtime, stress_pid(self->stress, target),
                                       STRESS_TAG_NOTE, bytes, size);
        check(result, "a send");
        if (result == 0) {
            stress_note_sent(stream, false);
        }
    }
}

static void send_buf(struct outside *self) {
    weft_buf *buf;
    if (weft_buf_create(self->stress->runtime, 1000, &buf) != 0) {
        stress_fail("a buffer could not be created");
    }
    memset(weft_buf_data(buf), 0, 1000);
    for (int i = 0; i < 4; i++) {
        check(weft_runtime_send_buf(self->stress->runtime, stress_pid(self->stress, draw(self)),
                                    STRESS_TAG_TINY, buf, (size_t)i, 900),
              "a send of a buffer");
    }
    weft_buf_unref(buf);
}

/* The reply must repeat the token. */
static void check_reply(const weft_msg *reply, uint64_t token) {
    struct stress_note note;
    if (weft_msg_size(reply) < sizeof(note)) {
        stress_fail("a reply of %zu bytes came outside", weft_msg_size(reply));
    }
    memcpy(&note, weft_msg_data(reply), sizeof(note));
    if (note.token != token || note.from != 0) {
        stress_fail("the reply of another call came outside");
    }
}

static void call(struct outside *self) {
    unsigned char bytes[STRESS_NOTE_MAX];
    uint64_t target = draw(self);
    struct stress_stream *stream = stress_stream_to(self->stress, self->streams, STREAMS, target);
    uint64_t token = ((uint64_t)self->index + 1) << 48 | ++self->tokens;
    uint32_t size = stress_size(next(self));
    stress_note_fill(bytes, stream, size, 0, token);
    weft_msg *reply = NULL;
    int result =
        weft_runtime_call(self->stress->runtime, stress_pid(self->stress, target), STRESS_TAG_NOTE,
                          bytes, size, 20000 + next(self) % 20000000, &reply);
    check(result, "a call");
    /* It may have been pushed and lost its caller: the number counts as used either way. */
    stress_note_sent(stream, true);
    if (result == 0) {
        check_reply(reply, token);
        weft_runtime_msg_release(self->stress->runtime, &reply);
    }
}

static void queue_calls(struct outside *self) {
    uint64_t zero_note_target = draw(self);
    unsigned char bytes[STRESS_NOTE_MAX];
    for (uint64_t i = next(self) % 8; i > 0; i--) {
        struct stress_stream *stream =
            stress_stream_to(self->stress, self->streams, STREAMS, zero_note_target);
        uint64_t token = ((uint64_t)self->index + 1) << 48 | ++self->tokens;
        stress_note_fill(bytes, stream, sizeof(struct stress_note), 0, token);
        int result =
            weft_cq_call(self->queue, stress_pid(self->stress, zero_note_target), STRESS_TAG_NOTE,
                         bytes, sizeof(struct stress_note), 1000000 + next(self) % 20000000, token);
        stress_note_sent(stream, true);
        if (result == -EAGAIN) {
            if (self->open != QUEUE_CALLS) {
                stress_fail("-EAGAIN with %llu calls in flight", (unsigned long long)self->open);
            }
            return;
        }
        check(result, "a queued call");
        self->open += result == 0 ? 1 : 0;
    }
}

/* Takes completions; one only, at times, to see that the descriptor stays readable. */
static void queue_poll(struct outside *self, int wait_ms) {
    struct pollfd fd = {.fd = weft_cq_fd(self->queue), .events = POLLIN};
    if (poll(&fd, 1, wait_ms) < 0) {
        stress_fail("poll answered %d", errno);
    }
    weft_completion completion;
    uint64_t limit = next(self) % 4 == 0 ? 1 : UINT64_MAX;
    while (limit-- > 0 && weft_cq_next(self->queue, &completion) == 1) {
        if (self->open-- == 0) {
            stress_fail("a completion without a call");
        }
        check(completion.status, "a completion");
        if ((completion.status == 0) != (completion.reply != NULL)) {
            stress_fail("a completion with status %d", completion.status);
        }
        if (completion.reply != NULL) {
            check_reply(completion.reply, completion.token);
            weft_runtime_msg_release(self->stress->runtime, &completion.reply);
        }
    }
}

static void spawn(struct outside *self) {
    struct stress *stress = self->stress;
    uint64_t alive = stress_get(stress, STRESS_SPAWNED) - stress_get(stress, STRESS_CLEANED);
    uint64_t count = alive < stress->alive_max / 4 ? 16 : alive < stress->alive_max ? 1 : 0;
    for (uint64_t i = 0; i < count; i++) {
        enum stress_kind kind = (enum stress_kind)(next(self) % STRESS_KINDS);
        weft_spawn_options options = stress_spawn_options(&stress, kind, next(self));
        weft_pid pid;
        int result = weft_runtime_spawn(stress->runtime, stress->types[kind], &options, &pid);
        check(result, "a spawn");
        if (result == 0) {
            stress_add(stress, STRESS_SPAWNED, 1);
        }
    }
}

static void end(struct outside *self) {
    weft_pid target = stress_pid(self->stress, draw(self));
    weft_runtime *runtime = self->stress->runtime;
    check(next(self) % 2 == 0 ? weft_runtime_kill_actor(runtime, target)
                              : weft_runtime_stop_actor(runtime, target, -ECANCELED),
          "an end");
}

static void look(struct outside *self) {
    weft_runtime *runtime = self->stress->runtime;
    weft_actor_info info = {.struct_size = sizeof(info)};
    for (int i = 0; i < 32; i++) {
        int result = weft_inspect(runtime, stress_pid(self->stress, draw(self)), &info);
        check(result, "an inspection");
        if (result == 0 && (weft_type_name(info.type)[0] == '\0' || info.scheduler == 0 ||
                            info.scheduler > self->stress->schedulers)) {
            stress_fail("an inspection shows nonsense");
        }
    }
    weft_stats stats = {.struct_size = sizeof(stats)};
    weft_gauges gauges = {.struct_size = sizeof(gauges)};
    weft_histogram histogram;
    check(weft_stats_read(runtime, WEFT_STATS_ALL, &stats), "reading counters");
    check(weft_gauges_read(runtime, &gauges), "reading gauges");
    check(weft_histogram_read(runtime, WEFT_STATS_ALL, WEFT_HISTOGRAM_MAILBOX_WAIT, &histogram),
          "reading a histogram");
    (void)weft_stats_prometheus(runtime, self->text, TEXT_BYTES);
    weft_runtime_dump(runtime, self->null_fd);
}

static void nap(struct outside *self) {
    struct timespec time = {.tv_nsec = (long)(next(self) % 2000000)};
    (void)nanosleep(&time, NULL);
}

static void act(struct outside *self) {
    switch (next(self) % 16) {
    case 0:
    case 1:
    case 2:
        send_some(self);
        break;
    case 3:
        send_buf(self);
        break;
    case 4:
    case 5:
        call(self);
        break;
    case 6:
        queue_calls(self);
        break;
    case 7:
        queue_poll(self, (int)(next(self) % 2));
        break;
    case 8:
    case 9:
        spawn(self);
        break;
    case 10:
        if (next(self) % 8 == 0) {
            end(self);
        }
        break;
    case 11:
        if (next(self) % 16 == 0) {
            look(self);
        }
        break;
    default:
        nap(self);
        break;
    }
}

/* Every call in the queue has an outcome, timeouts included; nothing else wakes us for those. */
static void finish_queue(struct outside *self) {
    while (self->open > 0) {
        uint64_t before = self->open;
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        uint64_t due_ns = weft_cq_deadline(self->queue);
        if (due_ns == UINT64_MAX) {
            stress_fail("calls in flight without a deadline");
        }
        int wait_ms = due_ns > now_ns ? (int)((due_ns - now_ns) / 1000000 + 1) : 0;
        queue_poll(self, wait_ms);
        if (self->open == before && now_ns > due_ns + 1000000000u) {
            stress_fail("a call did not time out");
        }
    }
}

void *stress_outside(void *arg) {
    const struct stress_thread *thread = arg;
    struct outside *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        stress_fail("out of memory");
    }
    self->stress = thread->stress;
    self->index = thread->index;
    self->random = thread->stress->seed * 1000 + thread->index;
    self->text = malloc(TEXT_BYTES);
    self->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (self->text == NULL ||
        weft_cq_create(self->stress->runtime, QUEUE_CALLS, &self->queue) != 0) {
        stress_fail("a completion queue could not be created");
    }
    while (atomic_load(&self->stress->leaving) == 0) {
        if (atomic_load(&self->stress->quiet) != 0) {
            nap(self);
            look(self);
        } else {
            act(self);
        }
    }
    if (next(self) % 2 == 0) {
        finish_queue(self);
    }
    weft_cq_destroy(&self->queue);
    (void)close(self->null_fd);
    free(self->text);
    free(self);
    return NULL;
}
