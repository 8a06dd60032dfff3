/* SPDX-License-Identifier: MIT
 *
 * A server of the Redis protocol in which every key is a virtual actor: see docs/resp.md. Options,
 * signals and results: see server.h.
 */
#include "connection.h"

#include "../server.h"
#include "channel.h"
#include "key.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum {
    REQUEST_SLACK = 65536,
    MALLOC_BLOCK_MAX = 4 * 1024 * 1024, /* larger blocks are mappings of their own */
    MALLOC_FREE_MAX = 8 * 1024 * 1024,  /* more free memory at an arena's end goes back */
};
#define BULK_MAX (UINT64_C(512) * 1024 * 1024)

static int prepare(weft_runtime *runtime, void *arg) {
    static const char hex[] = "0123456789abcdef";
    resp *self = (resp *)arg;
    uint64_t bits = weft_runtime_node(runtime);
    for (size_t i = 0; i + 1 < sizeof(self->run_id); i++) {
        self->run_id[i] = hex[bits >> 60];
        bits = bits * UINT64_C(6364136223846793005) + 1;
    }
    self->runtime = runtime;
    self->started_ms = resp_now_ms();
    self->limits = (parser_limits){.bulk_max = BULK_MAX, .request_max = BULK_MAX + REQUEST_SLACK};
    int rc = weft_capability_add(runtime, "resp", &self->capability);
    weft_type_def keys = key_type;
    keys.cookie = self;
    rc = rc < 0 ? rc : weft_type_register(runtime, &keys, &self->key);
    rc = rc < 0 ? rc : weft_type_register(runtime, &channel_type, &self->channel);
    return rc < 0 ? rc : weft_type_register(runtime, &walk_type, &self->walk);
}

/* A message holds what one argument may. */
static void configure(weft_config *config) {
    config->message_bytes_max = BULK_MAX + 2 * REQUEST_SLACK;
}

/* Large values and replies come and go. Left to itself, glibc's malloc raises its limits to the largest
 * block that was ever freed, at most 32 MiB, and from then on keeps as much free memory of each of
 * its arenas, for ever. With fixed limits memory goes back to the system once it is free; blocks
 * below the first limit are still reused, and do not cost a page fault for each page every time. */
static void limit_free_memory(void) {
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, MALLOC_BLOCK_MAX); /* what it refuses stays as it was */
    (void)mallopt(M_TRIM_THRESHOLD, MALLOC_FREE_MAX);
#endif
}

int main(int argc, char **argv) {
    resp *shared = aligned_alloc(alignof(resp), sizeof(*shared));
    if (shared == NULL) {
        return 1;
    }
    memset(shared, 0, sizeof(*shared));
    limit_free_memory();
    budgets_init(&shared->budgets);
    const server program = {.name = "resp",
                            .port = "6379",
                            .type = connection_type,
                            .stream = connection_stream,
                            .configure = configure,
                            .prepare = prepare,
                            .arg = shared};
    int status = server_main(&program, argc, argv);
    budgets_fini(&shared->budgets);
    free(shared);
    return status;
}
