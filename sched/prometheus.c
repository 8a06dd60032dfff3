/* SPDX-License-Identifier: MIT
 *
 * Statistics as Prometheus text, exposition format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Any thread; reads only.
 */
#include "core/text.h"
#include "sched/scheduler.h"
#include <string.h>

/* Text that counts what it would have needed, and is cut at a whole line. */
struct page {
    char *bytes;
    size_t size;
    size_t wanted;
    size_t kept; /* up to the end of the last line that fitted */
};

struct series {
    const char *name;
    const char *help;
    size_t offset;
};
#define SERIES(field, text)                                                                        \
    { "weft_" #field "_total", text, offsetof(weft_stats, field) }

static const struct series counters[] = {
    SERIES(messages_sent, "Messages accepted by a mailbox."),
    SERIES(messages_handled, "Messages given to a receive function."),
    SERIES(messages_rejected, "Sends answered with an error."),
    SERIES(messages_dead, "Dead letters."),
    SERIES(messages_dropped, "Messages dropped by a mailbox policy."),
    SERIES(requests_expired, "Requests dropped because their deadline had passed."),
    SERIES(replies_late, "Replies nobody waited for any more."),
    SERIES(signals, "Signals handled."),
    SERIES(runs, "Turns of actors."),
    SERIES(spawns, "Actors spawned."),
    SERIES(exits, "Actors ended."),
    SERIES(crashes, "Actors ended by an error."),
    SERIES(lifo_runs, "Turns out of the LIFO slot."),
    SERIES(steals, "Successful steals."),
    SERIES(stolen, "Actors gained by stealing."),
    SERIES(steal_misses, "Searches that found nothing."),
    SERIES(overflows, "Actors that did not fit into the run queue."),
    SERIES(parks, "Times a scheduler went to sleep."),
    SERIES(wakes, "Wake-ups sent to schedulers."),
    SERIES(pool_hits, "Messages allocated from a free list."),
    SERIES(pool_refills, "Messages allocated from returns or fresh memory."),
    SERIES(pool_returns, "Messages sent home to another scheduler."),
    SERIES(pool_trims, "Pieces of message memory given back to the system."),
    SERIES(timers_started, "Timers started."),
    SERIES(timers_fired, "Timers fired."),
    SERIES(timers_cancelled, "Timers cancelled."),
    SERIES(blocking_jobs, "Blocking jobs accepted."),
    SERIES(blocking_rejected, "Blocking jobs refused."),
    SERIES(watchdog_stuck, "Handlers reported as running too long."),
    SERIES(rescued, "Actors taken from behind a stuck handler."),
    SERIES(io_accepts, "Connections accepted."),
    SERIES(io_connects, "Connections made."),
    SERIES(io_refused, "Connections closed at once because a limit was reached."),
    SERIES(io_accept_errors, "Accepts that failed."),
    SERIES(io_closes, "Sockets closed."),
    SERIES(io_received, "Bytes received."),
    SERIES(io_sent, "Bytes sent."),
    SERIES(io_starved, "Receives that found no buffer."),
    SERIES(io_enters, "System calls of the I/O driver."),
    SERIES(io_submitted, "Operations given to the I/O driver."),
    SERIES(io_overflows, "Times a completion queue was full; nothing is lost."),
    SERIES(io_copied, "Bytes copied because too many receive buffers were out."),
    SERIES(io_timeouts, "Idle, connect, handshake and linger timeouts."),
    SERIES(tls_handshakes, "TLS handshakes done."),
    SERIES(tls_failures, "TLS handshakes and records that failed, and handshakes that were left."),
    SERIES(virtual_activations, "Virtual actors activated."),
    SERIES(virtual_passivations, "Virtual actors passivated."),
    SERIES(virtual_loads, "States loaded from stores."),
    SERIES(virtual_saves, "States saved to stores."),
    SERIES(virtual_store_errors, "Operations of stores that failed."),
    SERIES(virtual_forgotten, "Init arguments not remembered for want of room."),
    SERIES(runs_high, "Turns of actors of high priority."),
    SERIES(runs_low, "Turns of actors of low priority."),
    SERIES(virtual_breaks, "Pauses of addresses whose actors crashed too often."),
    SERIES(virtual_refused, "Messages refused during such a pause."),
    SERIES(virtual_crashes_lost, "Crashes that did not count for want of room or memory."),
    SERIES(io_resets, "Connections that the peer reset."),
};

#undef SERIES
#define SERIES(field, text)                                                                        \
    { "weft_" #field, text, offsetof(weft_gauges, field) }

static const struct series gauges[] = {
    SERIES(actors, "Living actors."),
    SERIES(messages, "Message cells in use."),
    SERIES(timers, "Pending timers."),
    SERIES(buffers, "Shared buffers alive."),
    SERIES(slots_retired, "Slots whose generations are used up."),
    SERIES(arena_bytes, "Message memory in use or pooled."),
    SERIES(slot_bytes, "Actor memory in use or free."),
    SERIES(heap_bytes, "Memory held from the allocator."),
    SERIES(blocking_queued, "Blocking jobs waiting."),
};

static const struct {
    const char *name;
    const char *help;
    enum weft_histogram_id id;
} histograms[] = {
    {"weft_mailbox_wait_seconds", "From send to handler, one message in 64.",
     WEFT_HISTOGRAM_MAILBOX_WAIT},
    {"weft_handler_time_seconds", "One turn of an actor, one in 64.", WEFT_HISTOGRAM_HANDLER_TIME},
    {"weft_blocking_wait_seconds", "What a blocking job waited for a helper.",
     WEFT_HISTOGRAM_BLOCKING_WAIT},
};

static void put_line(struct page *page, const char *line) {
    size_t length = strlen(line);
    page->wanted += length;
    if (page->kept + length + 1 <= page->size && page->kept + length == page->wanted) {
        memcpy(page->bytes + page->kept, line, length);
        page->kept += length;
        page->bytes[page->kept] = '\0';
    }
}

static void put_head(struct page *page, const char *name, const char *help, const char *type) {
    char bytes[256];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, "# HELP ");
    weft__text_put(&line, name);
    weft__text_put_char(&line, ' ');
    weft__text_put(&line, help);
    weft__text_put(&line, "\n# TYPE ");
    weft__text_put(&line, name);
    weft__text_put_char(&line, ' ');
    weft__text_put(&line, type);
    weft__text_put_char(&line, '\n');
    put_line(page, bytes);
}

/* name{scheduler="n"} value; no label for scheduler WEFT_STATS_ALL. */
static void put_value(struct page *page, const char *name, uint32_t scheduler, uint64_t value) {
    char bytes[256];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, name);
    if (scheduler != WEFT_STATS_ALL) {
        weft__text_put(&line, "{scheduler=\"");
        weft__text_put_u64(&line, scheduler);
        weft__text_put(&line, "\"}");
    }
    weft__text_put_char(&line, ' ');
    weft__text_put_u64(&line, value);
    weft__text_put_char(&line, '\n');
    put_line(page, bytes);
}

static void put_seconds(weft__text *line, uint64_t ns) {
    weft__text_put_u64(line, ns / 1000000000u);
    weft__text_put_char(line, '.');
    weft__text_put_padded(line, ns % 1000000000u, 9);
}

static void put_bucket(struct page *page, const char *name, uint64_t limit_ns, uint64_t count) {
    char bytes[256];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, name);
    weft__text_put(&line, "_bucket{le=\"");
    if (limit_ns == UINT64_MAX) {
        weft__text_put(&line, "+Inf");
    } else {
        put_seconds(&line, limit_ns);
    }
    weft__text_put(&line, "\"} ");
    weft__text_put_u64(&line, count);
    weft__text_put_char(&line, '\n');
    put_line(page, bytes);
}

/* Buckets by powers of four from 256 ns to about 4 s: what a dashboard can use. */
static void put_histogram(struct page *page, const char *name, const weft_histogram *histogram) {
    uint64_t count = 0;
    uint32_t index = 0;
    for (uint64_t limit_ns = 256; limit_ns <= UINT64_C(1) << 32; limit_ns *= 4) {
        while (index < WEFT_HISTOGRAM_BUCKETS && weft_histogram_bucket_max(index) < limit_ns) {
            count += histogram->buckets[index++];
        }
        put_bucket(page, name, limit_ns, count);
    }
    /* Their sum, not histogram->count: that one may have been read a moment earlier, and the last
     * bucket would be smaller than the one before it. */
    while (index < WEFT_HISTOGRAM_BUCKETS) {
        count += histogram->buckets[index++];
    }
    put_bucket(page, name, UINT64_MAX, count);
    char bytes[256];
    weft__text line;
    weft__text_init(&line, bytes, sizeof(bytes));
    weft__text_put(&line, name);
    weft__text_put(&line, "_sum ");
    put_seconds(&line, histogram->sum);
    weft__text_put_char(&line, '\n');
    weft__text_put(&line, name);
    weft__text_put(&line, "_count ");
    weft__text_put_u64(&line, count);
    weft__text_put_char(&line, '\n');
    put_line(page, bytes);
}

static void put_counters(struct page *page, weft_runtime *runtime) {
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        put_head(page, counters[i].name, counters[i].help, "counter");
        for (uint32_t id = 0; id <= runtime->count; id++) {
            weft_stats stats = {.struct_size = sizeof(stats)};
            int result = weft_stats_read(runtime, id, &stats);
            weft_assert(result == 0);
            const char *at = (const char *)&stats + counters[i].offset;
            put_value(page, counters[i].name, id, *(const uint64_t *)(const void *)at);
        }
    }
}

static void put_gauges(struct page *page, weft_runtime *runtime) {
    weft_gauges values = {.struct_size = sizeof(values)};
    int result = weft_gauges_read(runtime, &values);
    weft_assert(result == 0);
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        const char *at = (const char *)&values + gauges[i].offset;
        put_head(page, gauges[i].name, gauges[i].help, "gauge");
        put_value(page, gauges[i].name, WEFT_STATS_ALL, *(const uint64_t *)(const void *)at);
    }
    put_head(page, "weft_io_open", "Connections, sockets and file operations.", "gauge");
    put_value(page, "weft_io_open", WEFT_STATS_ALL, values.io_open);
    put_head(page, "weft_schedulers_parked", "Schedulers asleep.", "gauge");
    put_value(page, "weft_schedulers_parked", WEFT_STATS_ALL, values.schedulers_parked);
}

int weft_stats_prometheus(weft_runtime *runtime, char *text, size_t size) {
    if (runtime == NULL || (text == NULL && size != 0)) {
        return -EINVAL;
    }
    struct page page = {.bytes = text, .size = size};
    if (size != 0) {
        text[0] = '\0';
    }
    put_counters(&page, runtime);
    put_gauges(&page, runtime);
    for (size_t i = 0; i < sizeof(histograms) / sizeof(histograms[0]); i++) {
        weft_histogram histogram;
        int result = weft_histogram_read(runtime, WEFT_STATS_ALL, histograms[i].id, &histogram);
        weft_assert(result == 0);
        put_head(&page, histograms[i].name, histograms[i].help, "histogram");
        put_histogram(&page, histograms[i].name, &histogram);
    }
    return (int)page.wanted;
}
